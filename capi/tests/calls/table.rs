//! The functions of each element type, and every call of them as a line in a table: what it reads and writes, and what the Rust
//! function gives.

use core::ffi::c_void;
use core::ptr::null;

use softlane::{BinaryCrossEntropy, CrossEntropy, Exec, Reduction, Target};

use super::library::options::{
    SOFTLANE_MEAN, SOFTLANE_NONE, SOFTLANE_SUM, softlane_binary_cross_entropy,
    softlane_binary_cross_entropy_default, softlane_cross_entropy, softlane_cross_entropy_default,
    softlane_softmax_options,
};
use super::library::status::softlane_status;
use super::library::{self, Element};
use Slot::{Loss, Out, Targets, X, Y};

type Map<T> = unsafe extern "C" fn(*const T, *mut T, usize) -> softlane_status;
type Reduce<T, R> = unsafe extern "C" fn(*const T, usize, *mut R) -> softlane_status;
type Rows<T, R> = unsafe extern "C" fn(*const T, *mut R, usize, usize) -> softlane_status;
type With<T> = unsafe extern "C" fn(
    *const T,
    *mut T,
    usize,
    usize,
    *const softlane_softmax_options,
) -> softlane_status;
type Back<T> = unsafe extern "C" fn(*const T, *const T, *mut T, usize, usize) -> softlane_status;
type BackWith<T> = unsafe extern "C" fn(
    *const T,
    *const T,
    *mut T,
    usize,
    usize,
    *const softlane_softmax_options,
) -> softlane_status;
type Losses<T, I, O, R> = unsafe extern "C" fn(
    *const T,
    *const I,
    usize,
    usize,
    *const O,
    *mut R,
    *mut T,
) -> softlane_status;

/// The functions of a type.
pub struct Api<T: Element> {
    pub exp: Map<T>,
    pub sigmoid: Map<T>,
    pub max: Reduce<T, T::Real>,
    pub sum: Reduce<T, T::Real>,
    pub softmax: Rows<T, T>,
    pub log_softmax: Rows<T, T>,
    pub logsumexp: Rows<T, T::Real>,
    pub softmax_backward: Back<T>,
    pub log_softmax_backward: Back<T>,
    pub softmax_with: With<T>,
    pub log_softmax_with: With<T>,
    pub softmax_backward_with: BackWith<T>,
    pub log_softmax_backward_with: BackWith<T>,
    pub cross_entropy: Losses<T, i64, softlane_cross_entropy, T::Real>,
    pub cross_entropy_soft: Losses<T, T, softlane_cross_entropy, T::Real>,
    pub binary_cross_entropy: Losses<T, T, softlane_binary_cross_entropy, T::Real>,
}

/// A type, its functions, and numbers of it.
pub trait Number: Element {
    const API: Api<Self>;
    const NAME: &'static str;
    fn of(x: f64) -> Self;
    fn real(x: f64) -> Self::Real;
}

impl Number for f32 {
    const API: Api<Self> = Api {
        exp: library::f32::softlane_exp_f32,
        sigmoid: library::f32::softlane_sigmoid_f32,
        max: library::f32::softlane_max_f32,
        sum: library::f32::softlane_sum_f32,
        softmax: library::f32::softlane_softmax_f32,
        log_softmax: library::f32::softlane_log_softmax_f32,
        logsumexp: library::f32::softlane_logsumexp_f32,
        softmax_backward: library::f32::softlane_softmax_backward_f32,
        log_softmax_backward: library::f32::softlane_log_softmax_backward_f32,
        softmax_with: library::f32::softlane_softmax_with_f32,
        log_softmax_with: library::f32::softlane_log_softmax_with_f32,
        softmax_backward_with: library::f32::softlane_softmax_backward_with_f32,
        log_softmax_backward_with: library::f32::softlane_log_softmax_backward_with_f32,
        cross_entropy: library::f32::softlane_cross_entropy_f32,
        cross_entropy_soft: library::f32::softlane_cross_entropy_soft_f32,
        binary_cross_entropy: library::f32::softlane_binary_cross_entropy_f32,
    };
    const NAME: &'static str = "f32";
    fn of(x: f64) -> Self {
        x as Self
    }
    fn real(x: f64) -> f32 {
        x as f32
    }
}

impl Number for f64 {
    const API: Api<Self> = Api {
        exp: library::f64::softlane_exp_f64,
        sigmoid: library::f64::softlane_sigmoid_f64,
        max: library::f64::softlane_max_f64,
        sum: library::f64::softlane_sum_f64,
        softmax: library::f64::softlane_softmax_f64,
        log_softmax: library::f64::softlane_log_softmax_f64,
        logsumexp: library::f64::softlane_logsumexp_f64,
        softmax_backward: library::f64::softlane_softmax_backward_f64,
        log_softmax_backward: library::f64::softlane_log_softmax_backward_f64,
        softmax_with: library::f64::softlane_softmax_with_f64,
        log_softmax_with: library::f64::softlane_log_softmax_with_f64,
        softmax_backward_with: library::f64::softlane_softmax_backward_with_f64,
        log_softmax_backward_with: library::f64::softlane_log_softmax_backward_with_f64,
        cross_entropy: library::f64::softlane_cross_entropy_f64,
        cross_entropy_soft: library::f64::softlane_cross_entropy_soft_f64,
        binary_cross_entropy: library::f64::softlane_binary_cross_entropy_f64,
    };
    const NAME: &'static str = "f64";
    fn of(x: f64) -> Self {
        x
    }
    fn real(x: f64) -> f64 {
        x
    }
}

impl Number for half::f16 {
    const API: Api<Self> = Api {
        exp: library::f16::softlane_exp_f16,
        sigmoid: library::f16::softlane_sigmoid_f16,
        max: library::f16::softlane_max_f16,
        sum: library::f16::softlane_sum_f16,
        softmax: library::f16::softlane_softmax_f16,
        log_softmax: library::f16::softlane_log_softmax_f16,
        logsumexp: library::f16::softlane_logsumexp_f16,
        softmax_backward: library::f16::softlane_softmax_backward_f16,
        log_softmax_backward: library::f16::softlane_log_softmax_backward_f16,
        softmax_with: library::f16::softlane_softmax_with_f16,
        log_softmax_with: library::f16::softlane_log_softmax_with_f16,
        softmax_backward_with: library::f16::softlane_softmax_backward_with_f16,
        log_softmax_backward_with: library::f16::softlane_log_softmax_backward_with_f16,
        cross_entropy: library::f16::softlane_cross_entropy_f16,
        cross_entropy_soft: library::f16::softlane_cross_entropy_soft_f16,
        binary_cross_entropy: library::f16::softlane_binary_cross_entropy_f16,
    };
    const NAME: &'static str = "f16";
    fn of(x: f64) -> Self {
        Self::from_f64(x)
    }
    fn real(x: f64) -> f32 {
        x as f32
    }
}

impl Number for half::bf16 {
    const API: Api<Self> = Api {
        exp: library::bf16::softlane_exp_bf16,
        sigmoid: library::bf16::softlane_sigmoid_bf16,
        max: library::bf16::softlane_max_bf16,
        sum: library::bf16::softlane_sum_bf16,
        softmax: library::bf16::softlane_softmax_bf16,
        log_softmax: library::bf16::softlane_log_softmax_bf16,
        logsumexp: library::bf16::softlane_logsumexp_bf16,
        softmax_backward: library::bf16::softlane_softmax_backward_bf16,
        log_softmax_backward: library::bf16::softlane_log_softmax_backward_bf16,
        softmax_with: library::bf16::softlane_softmax_with_bf16,
        log_softmax_with: library::bf16::softlane_log_softmax_with_bf16,
        softmax_backward_with: library::bf16::softlane_softmax_backward_with_bf16,
        log_softmax_backward_with: library::bf16::softlane_log_softmax_backward_with_bf16,
        cross_entropy: library::bf16::softlane_cross_entropy_bf16,
        cross_entropy_soft: library::bf16::softlane_cross_entropy_soft_bf16,
        binary_cross_entropy: library::bf16::softlane_binary_cross_entropy_bf16,
    };
    const NAME: &'static str = "bf16";
    fn of(x: f64) -> Self {
        Self::from_f64(x)
    }
    fn real(x: f64) -> f32 {
        x as f32
    }
}

/// An array of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    X,
    Y,
    Targets,
    Out,
    Loss,
}

pub const SLOTS: [Slot; 5] = [X, Y, Targets, Out, Loss];

/// Where the arrays are.
#[derive(Clone, Copy, Debug)]
pub struct Pointers(pub [*mut c_void; 5]);

impl Pointers {
    fn of<T>(&self, slot: Slot) -> *mut T {
        self.0[slot as usize].cast()
    }
}

/// What a call reads: rows of logits `x`, numbers `y` from 0 to 1, and classes.
#[derive(Clone, Debug)]
pub struct Data<T> {
    pub shape: [usize; 2],
    pub x: Vec<T>,
    pub y: Vec<T>,
    pub targets: Vec<i64>,
}

impl<T: Number> Data<T> {
    pub fn new(shape: [usize; 2]) -> Self {
        let [rows, classes] = shape;
        let n = rows * classes;
        let spread = |i: usize, by: usize| (i * by % 1009) as f64 / 1009.0;
        let class = |r: usize| {
            let class = (r * 31).checked_rem(classes);
            class
                .filter(|_| r % 7 < 6)
                .map_or(-100, |class| i64::try_from(class).unwrap())
        };
        Self {
            shape,
            x: (0..n)
                .map(|i| T::of(20.0 * spread(i, 617) - 10.0))
                .collect(),
            y: (0..n).map(|i| T::of(spread(i, 421))).collect(),
            targets: (0..rows).map(class).collect(),
        }
    }
}

/// How many elements an output has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Len {
    One,
    Rows,
    All,
}

/// A call.
pub struct Case<T: Number> {
    pub name: &'static str,
    pub reads: &'static [Slot],
    pub writes: &'static [Slot],
    pub loss_len: Len,
    /// Sources in whose place `Out` may be.
    pub over: &'static [Slot],
    pub call: fn(&Pointers, [usize; 2]) -> softlane_status,
    /// Fills the output and the losses.
    pub rust: fn(&Data<T>, &mut [T], &mut [T::Real]),
}

/// Every function, and every form of it, without options or with those of reductions.
pub fn cases<T: Number>() -> Vec<Case<T>> {
    let mut cases: Vec<Case<T>> = Vec::new();
    let mut add = |name, reads, call, rust| {
        cases.push(Case {
            name,
            reads,
            writes: &[Out],
            loss_len: Len::One,
            over: reads,
            call,
            rust,
        });
    };
    add(
        "exp",
        &[X],
        |p, [r, c]| unsafe { (T::API.exp)(p.of(X), p.of(Out), r * c) },
        |d, y, _| Exec::new().exp(&d.x, y).unwrap(),
    );
    add(
        "sigmoid",
        &[X],
        |p, [r, c]| unsafe { (T::API.sigmoid)(p.of(X), p.of(Out), r * c) },
        |d, y, _| Exec::new().sigmoid(&d.x, y).unwrap(),
    );
    add(
        "softmax",
        &[X],
        |p, [r, c]| unsafe { (T::API.softmax)(p.of(X), p.of(Out), r, c) },
        |d, y, _| Exec::new().softmax(&d.x, d.shape[1], y).unwrap(),
    );
    add(
        "log_softmax",
        &[X],
        |p, [r, c]| unsafe { (T::API.log_softmax)(p.of(X), p.of(Out), r, c) },
        |d, y, _| Exec::new().log_softmax(&d.x, d.shape[1], y).unwrap(),
    );
    add(
        "softmax_with",
        &[X],
        |p, [r, c]| unsafe { (T::API.softmax_with)(p.of(X), p.of(Out), r, c, null()) },
        |d, y, _| Exec::new().softmax(&d.x, d.shape[1], y).unwrap(),
    );
    add(
        "log_softmax_with",
        &[X],
        |p, [r, c]| unsafe { (T::API.log_softmax_with)(p.of(X), p.of(Out), r, c, null()) },
        |d, y, _| Exec::new().log_softmax(&d.x, d.shape[1], y).unwrap(),
    );
    add(
        "softmax_backward",
        &[X, Y],
        |p, [r, c]| unsafe { (T::API.softmax_backward)(p.of(Y), p.of(X), p.of(Out), r, c) },
        |d, dx, _| {
            Exec::new()
                .softmax_backward(&d.y, &d.x, d.shape[1], dx)
                .unwrap();
        },
    );
    add(
        "log_softmax_backward",
        &[X, Y],
        |p, [r, c]| unsafe { (T::API.log_softmax_backward)(p.of(X), p.of(Y), p.of(Out), r, c) },
        |d, dx, _| {
            Exec::new()
                .log_softmax_backward(&d.x, &d.y, d.shape[1], dx)
                .unwrap();
        },
    );
    add(
        "softmax_backward_with",
        &[X, Y],
        |p, [r, c]| unsafe {
            (T::API.softmax_backward_with)(p.of(Y), p.of(X), p.of(Out), r, c, null())
        },
        |d, dx, _| {
            Exec::new()
                .softmax_backward(&d.y, &d.x, d.shape[1], dx)
                .unwrap();
        },
    );
    add(
        "log_softmax_backward_with",
        &[X, Y],
        |p, [r, c]| unsafe {
            (T::API.log_softmax_backward_with)(p.of(X), p.of(Y), p.of(Out), r, c, null())
        },
        |d, dx, _| {
            Exec::new()
                .log_softmax_backward(&d.x, &d.y, d.shape[1], dx)
                .unwrap();
        },
    );
    cases.extend(reductions());
    cases.extend(losses());
    cases
}

fn reductions<T: Number>() -> [Case<T>; 3] {
    let max = Case {
        name: "max",
        reads: &[X],
        writes: &[Loss],
        loss_len: Len::One,
        over: &[],
        call: |p, [r, c]| unsafe { (T::API.max)(p.of(X), r * c, p.of(Loss)) },
        rust: |d: &Data<T>, _, y| y[0] = Exec::new().max(&d.x).unwrap(),
    };
    let sum = Case {
        name: "sum",
        call: |p, [r, c]| unsafe { (T::API.sum)(p.of(X), r * c, p.of(Loss)) },
        rust: |d: &Data<T>, _, y| y[0] = Exec::new().sum(&d.x).unwrap(),
        ..max
    };
    let logsumexp = Case {
        name: "logsumexp",
        reads: &[X],
        writes: &[Loss],
        loss_len: Len::Rows,
        over: &[],
        call: |p, [r, c]| unsafe { (T::API.logsumexp)(p.of(X), p.of(Loss), r, c) },
        rust: |d: &Data<T>, _, y| Exec::new().logsumexp(&d.x, d.shape[1], y).unwrap(),
    };
    [max, sum, logsumexp]
}

/// Options with this reduction.
pub fn reduced(reduction: i32) -> softlane_cross_entropy {
    softlane_cross_entropy {
        reduction,
        ..softlane_cross_entropy_default()
    }
}

/// The same of binary cross-entropy.
pub fn binary_reduced(reduction: i32) -> softlane_binary_cross_entropy {
    softlane_binary_cross_entropy {
        reduction,
        ..softlane_binary_cross_entropy_default()
    }
}

fn of_classes<T: Number, const R: i32>(p: &Pointers, [r, c]: [usize; 2]) -> softlane_status {
    let (x, t, o) = (p.of(X), p.of(Targets), &reduced(R));
    unsafe { (T::API.cross_entropy)(x, t, r, c, o, p.of(Loss), p.of(Out)) }
}

fn of_distributions<T: Number, const R: i32>(p: &Pointers, [r, c]: [usize; 2]) -> softlane_status {
    let (x, t, o) = (p.of(X), p.of(Y), &reduced(R));
    unsafe { (T::API.cross_entropy_soft)(x, t, r, c, o, p.of(Loss), p.of(Out)) }
}

fn of_labels<T: Number, const R: i32>(p: &Pointers, [r, c]: [usize; 2]) -> softlane_status {
    let (x, t, o) = (p.of(X), p.of(Y), &binary_reduced(R));
    unsafe { (T::API.binary_cross_entropy)(x, t, r, c, o, p.of(Loss), p.of(Out)) }
}

fn rust_classes<T: Number, const R: i32>(d: &Data<T>, grad: &mut [T], loss: &mut [T::Real]) {
    rust_losses::<T, R>(d, &d.targets, grad, loss);
}

fn rust_distributions<T: Number, const R: i32>(d: &Data<T>, grad: &mut [T], loss: &mut [T::Real]) {
    rust_losses::<T, R>(d, &d.y, grad, loss);
}

fn rust_losses<T: Number, const R: i32>(
    d: &Data<T>,
    targets: &[impl Target<T>],
    grad: &mut [T],
    loss: &mut [T::Real],
) {
    let (function, classes) = (CrossEntropy::new(), d.shape[1]);
    if R == SOFTLANE_NONE {
        function
            .loss_per_row_and_grad(&d.x, classes, targets, loss, grad)
            .unwrap();
    } else {
        let function = function.reduction(reduction::<R>());
        loss[0] = function
            .loss_and_grad(&d.x, classes, targets, grad)
            .unwrap();
    }
}

fn rust_labels<T: Number, const R: i32>(d: &Data<T>, grad: &mut [T], loss: &mut [T::Real]) {
    let (function, labels) = (BinaryCrossEntropy::new(), d.shape[1]);
    let function = function.reduction(reduction::<R>());
    let reduced = function.loss_and_grad(&d.x, labels, &d.y, grad).unwrap();
    if R == SOFTLANE_NONE {
        function.loss_per_element(&d.x, labels, &d.y, loss).unwrap();
    } else {
        loss[0] = reduced;
    }
}

/// Gradients of single losses are those of the sum.
fn reduction<const R: i32>() -> Reduction {
    if R == SOFTLANE_MEAN {
        Reduction::Mean
    } else {
        Reduction::Sum
    }
}

fn losses<T: Number>() -> Vec<Case<T>> {
    const MEAN: i32 = SOFTLANE_MEAN;
    const SUM: i32 = SOFTLANE_SUM;
    const NONE: i32 = SOFTLANE_NONE;
    let mut cases = Vec::new();
    let forms: [&[Slot]; 3] = [&[Out, Loss], &[Loss], &[Out]];
    for writes in forms {
        let mut add = |name, reads, loss_len, call, rust| {
            cases.push(Case {
                name,
                reads,
                writes,
                loss_len,
                over: &[X],
                call,
                rust,
            });
        };
        let (one, rows, all) = (Len::One, Len::Rows, Len::All);
        let (name, reads) = ("cross_entropy", &[X, Targets]);
        add(
            name,
            reads,
            one,
            of_classes::<T, MEAN>,
            rust_classes::<T, MEAN>,
        );
        add(
            name,
            reads,
            one,
            of_classes::<T, SUM>,
            rust_classes::<T, SUM>,
        );
        add(
            name,
            reads,
            rows,
            of_classes::<T, NONE>,
            rust_classes::<T, NONE>,
        );
        let (name, reads) = ("cross_entropy_soft", &[X, Y]);
        add(
            name,
            reads,
            one,
            of_distributions::<T, MEAN>,
            rust_distributions::<T, MEAN>,
        );
        add(
            name,
            reads,
            one,
            of_distributions::<T, SUM>,
            rust_distributions::<T, SUM>,
        );
        add(
            name,
            reads,
            rows,
            of_distributions::<T, NONE>,
            rust_distributions::<T, NONE>,
        );
        let name = "binary_cross_entropy";
        add(
            name,
            reads,
            one,
            of_labels::<T, MEAN>,
            rust_labels::<T, MEAN>,
        );
        add(name, reads, one, of_labels::<T, SUM>, rust_labels::<T, SUM>);
        add(
            name,
            reads,
            all,
            of_labels::<T, NONE>,
            rust_labels::<T, NONE>,
        );
    }
    cases
}

/// The memory of a call: arrays in the midst of guard values, which must not change.
pub struct Arena {
    words: Vec<u64>,
    /// Where each array begins, and how many bytes it has.
    places: [(usize, usize); 5],
}

const GUARD: u64 = 0xA5A5_A5A5_A5A5_A5A5;
/// Words on either side.
const WIDTH: usize = 32;

/// The bytes of numbers.
pub fn bytes<T: Copy>(numbers: &[T]) -> Vec<u8> {
    let pointer = numbers.as_ptr().cast::<u8>();
    unsafe { core::slice::from_raw_parts(pointer, size_of_val(numbers)) }.to_vec()
}

impl Arena {
    /// With inputs filled, and outputs as guard values.
    pub fn new<T: Number>(case: &Case<T>, data: &Data<T>) -> Self {
        let [rows, classes] = data.shape;
        let n = rows * classes;
        let len = |len| match len {
            Len::One => 1,
            Len::Rows => rows,
            Len::All => n,
        };
        let contents = [
            bytes(&data.x),
            bytes(&data.y),
            bytes(&data.targets),
            vec![],
            vec![],
        ];
        let sizes = [
            contents[0].len(),
            contents[1].len(),
            contents[2].len(),
            n * size_of::<T>(),
            len(case.loss_len) * size_of::<T::Real>(),
        ];
        let mut words = vec![GUARD; WIDTH];
        let places = sizes.map(|size| {
            let start = words.len() * 8;
            words.resize(words.len() + size.div_ceil(8) + WIDTH, GUARD);
            (start, size)
        });
        let mut arena = Self { words, places };
        for (slot, content) in SLOTS.into_iter().zip(&contents) {
            let (start, _) = arena.places[slot as usize];
            arena.bytes_mut()[start..start + content.len()].copy_from_slice(content);
        }
        arena
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.words.len() * 8;
        unsafe { core::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), len) }
    }

    /// All arrays that the call uses; the others are null.
    pub fn pointers<T: Number>(&mut self, case: &Case<T>) -> Pointers {
        let base = self.words.as_mut_ptr().cast::<u8>();
        Pointers(SLOTS.map(|slot| {
            if case.reads.contains(&slot) || case.writes.contains(&slot) {
                base.wrapping_add(self.places[slot as usize].0).cast()
            } else {
                core::ptr::null_mut()
            }
        }))
    }

    /// The bytes of an array.
    pub fn content(&mut self, slot: Slot) -> Vec<u8> {
        let (start, size) = self.places[slot as usize];
        self.bytes_mut()[start..start + size].to_vec()
    }

    /// All bytes.
    pub fn all(&self) -> Vec<u64> {
        self.words.clone()
    }

    /// All bytes but those of some arrays.
    pub fn but(&mut self, slots: &[Slot]) -> Vec<u8> {
        let mut bytes = self.bytes_mut().to_vec();
        for &slot in slots {
            let (start, size) = self.places[slot as usize];
            bytes[start..start + size].fill(0);
        }
        bytes
    }
}
