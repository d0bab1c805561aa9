//! Rows wherever they lie, and of whatever type of elements, give what rows of the same numbers give that lie one after the other and are of the type that
//! they are computed in: the same bits, or those of the nearest element.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(clippy::float_cmp, reason = "results are the same bits, or exact")]

#[macro_use]
mod common;

use core::mem::MaybeUninit;

use common::calls::{Call, Destinations, Gives, Sources, Tested, all_calls};
use common::guard::Guarded;
use common::inputs::{CLASSES, Rng};
use common::places::{Place, places, takes_shape};
use softlane::{Backend, CrossEntropy, Error, Exec, RowOutputs, Shape, Softmax};

/// Rows and classes.
const SIZES: &[(usize, usize)] = &[
    (0, 3),
    (1, 1),
    (3, 1),
    (40, 2),
    (12, 3),
    (20, 10),
    (36, 17),
    (24, 40),
    (18, 64),
    (18, 65),
    (6, 255),
    (6, 256),
    (4, 1000),
    (2, 4096),
    (3, 5003),
    (2, 9000),
    (2, 17_001),
    // Rows that lie beside each other, of which lines of the cache are half a page apart: with room on the stack, and without.
    (20, 512),
    (20, 1536),
    // And of which they are not.
    (20, 1027),
];

/// Whether it has the divisor of a mean over distributions, which is added up in another order.
fn has_divisor<E: Tested>(call: &Call<E>) -> bool {
    let is_mean = |output: common::calls::Output| {
        output.name.contains("distributions") && output.name.contains("mean")
    };
    call.outputs().any(is_mean)
}

/// What a call reads, and what comes of it.
struct Batch<E> {
    x: Vec<E>,
    y: Vec<E>,
    targets: Vec<i64>,
}

struct Results<E: Tested> {
    number: E::Real,
    per_row: Vec<E::Real>,
    out: Vec<E>,
}

fn batch<E: Tested>(rows: usize, classes: usize, seed: u64) -> Batch<E> {
    let mut rng = Rng::new(seed);
    let mut x = Vec::new();
    for row in 0..rows {
        let kind = (7 * row + seed as usize) % CLASSES.len();
        x.extend(CLASSES[kind].row_of(rng.bits(), classes, E::rounded));
    }
    Batch {
        x,
        y: (0..rows * classes)
            .map(|_| E::rounded(rng.uniform()))
            .collect(),
        targets: (0..rows)
            .map(|_| i64::try_from(rng.below(classes)).unwrap())
            .collect(),
    }
}

/// Runs a call.
fn run<E: Tested>(
    call: &Call<E>,
    exec: Exec,
    b: &Batch<E>,
    classes: usize,
    place: Option<Place>,
) -> Results<E> {
    let rows = b.targets.len();
    let dense = Place {
        classes,
        inner: 1,
        gaps: [0, 0],
    };
    let at = place.unwrap_or(dense);
    let [read, mut written] = at.gaps;
    if call.is_in_place() {
        written = read;
    }
    let (x, y) = call.reads.of(&b.x, &b.y);
    let (x, y) = (at.put(x, read), at.put(y, read));
    let mut number = E::Real::UNTOUCHED;
    let mut per_row = vec![number; rows];
    let mut out = if call.is_in_place() {
        x.clone()
    } else {
        vec![E::UNTOUCHED; at.len(rows, written)]
    };
    let sources = Sources {
        classes,
        shape: place.map(Place::shape),
        x: &x,
        y: &y,
        targets: &b.targets,
    };
    let destinations = Destinations {
        number: &mut number,
        per_row: &mut per_row,
        out: &mut out,
    };
    let context = || format!("{call}, {exec:?}, {rows} x {classes}, {place:?}");
    call.run(exec, sources, destinations)
        .unwrap_or_else(|error| panic!("{error}: {}", context()));
    let writes = call
        .gives
        .iter()
        .any(|gives| matches!(gives, Gives::Out(_) | Gives::Over(_)));
    let out = if writes {
        at.take(out, rows, written, &context())
    } else {
        Vec::new()
    };
    Results {
        number,
        per_row,
        out,
    }
}

/// Compares a call, with rows in all these places, with that of rows one after the other of the type that they are computed in.
fn compare<E: Tested>(
    call: &Call<E>,
    of_real: &Call<E::Real>,
    exec: Exec,
    (rows, classes): (usize, usize),
    places: impl IntoIterator<Item = Option<Place>>,
) {
    let b = batch::<E>(rows, classes, (rows + classes) as u64);
    let wide = |x: &[E]| x.iter().map(|x| x.real()).collect();
    let want: Batch<E::Real> = Batch {
        x: wide(&b.x),
        y: wide(&b.y),
        targets: b.targets.clone(),
    };
    let want = run(of_real, exec.serial(), &want, classes, None);
    for place in places {
        let found = run(call, exec, &b, classes, place);
        let context = || format!("{call}, {exec:?}, {rows} x {classes}, {place:?}");
        // Sums over the batch in another order, by as many roundings.
        let is_scalar = exec == exec.backend(Backend::named("scalar").unwrap());
        let last = match (place.is_some() && has_divisor(call), is_scalar) {
            (true, true) => rows * classes,
            (true, false) => 1,
            (false, _) => 0,
        };
        let differs = |a: u64, b: u64, last: usize| a.abs_diff(b) > last as u64;
        let (number, expected) = (found.number, want.number);
        let last_of_number = if is_scalar { last.max(rows) } else { last };
        let wrong = differs(number.bits(), expected.bits(), last_of_number);
        assert!(!wrong, "{number:?} for {expected:?}: {}", context());
        for (row, (found, want)) in found.per_row.iter().zip(&want.per_row).enumerate() {
            let same = found.bits() == want.bits();
            assert!(same, "row {row}: {found:?} for {want:?}: {}", context());
        }
        for (i, (found, want)) in found.out.iter().zip(&want.out).enumerate() {
            let want = E::of_real(*want);
            let wrong = differs(found.bits(), want.bits(), last);
            assert!(!wrong, "element {i}: {found:?} for {want:?}: {}", context());
        }
    }
}

/// Every call, wherever the rows lie.
fn everywhere<E: Tested>() {
    for (call, of_real) in all_calls::<E>().zip(all_calls::<E::Real>()) {
        for backend in Backend::available() {
            let exec = Exec::new().backend(backend).serial();
            for &(rows, classes) in SIZES {
                let mut everywhere = vec![None];
                if takes_shape(call) {
                    everywhere.extend(places(rows, classes).into_iter().map(Some));
                }
                compare(call, of_real, exec, (rows, classes), everywhere);
            }
        }
    }
}

#[test]
fn f32_rows_everywhere() {
    everywhere::<f32>();
}

#[cfg(feature = "f64")]
#[test]
fn f64_rows_everywhere() {
    everywhere::<f64>();
}

#[cfg(feature = "half")]
#[test]
fn f16_rows_everywhere() {
    everywhere::<half::f16>();
}

#[cfg(feature = "half")]
#[test]
fn bf16_rows_everywhere() {
    everywhere::<half::bf16>();
}

/// More than a thread does alone.
#[test]
fn on_many_threads() {
    fn one<E: Tested>() {
        let exec = Exec::new().backend(Backend::active().unwrap());
        for (call, of_real) in all_calls::<E>().zip(all_calls::<E::Real>()) {
            for size in [(3000, 100), (2, 130_000)] {
                let mut everywhere = vec![None];
                if takes_shape(call) {
                    for (inner, gaps) in [(1, [4, 4]), (2, [0, 0])] {
                        everywhere.push(Some(Place {
                            classes: size.1,
                            inner,
                            gaps,
                        }));
                    }
                }
                compare(call, of_real, exec, size, everywhere);
            }
        }
    }
    each_tested!(one());
}

/// The same probability for each of so many, a subnormal `f16`; and sums of them.
#[cfg(feature = "half")]
#[test]
fn many_equal_elements() {
    use half::{bf16, f16};

    const MANY: usize = 65_536;
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let mut y = vec![f16::ZERO; MANY];
        exec.softmax(&vec![f16::from_f32(3.0); MANY], MANY, &mut y)
            .unwrap();
        assert!(
            y.iter().all(|&y| y == f16::from_f32(1.0 / MANY as f32)),
            "{backend:?}"
        );
        let mut y = vec![bf16::ZERO; MANY];
        exec.softmax(&vec![bf16::from_f32(-3.0); MANY], MANY, &mut y)
            .unwrap();
        assert!(
            y.iter().all(|&y| y == bf16::from_f32(1.0 / MANY as f32)),
            "{backend:?}"
        );
        assert_eq!(
            exec.sum(&vec![f16::from_f32(3.0); MANY]),
            Ok(3.0 * MANY as f32),
            "{backend:?}"
        );
        assert_eq!(
            exec.max(&vec![bf16::from_f32(3.0); MANY]),
            Ok(3.0),
            "{backend:?}"
        );
    }
}

/// `f32` losses of half rows, not rounded to their type.
#[cfg(feature = "half")]
#[test]
fn losses_of_half_rows_are_f32() {
    use half::f16;
    use softlane::BinaryCrossEntropy;

    let x = [20.0_f32, 0.0, 1.0, 2.0];
    let half = x.map(f16::from_f32);
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let loss = CrossEntropy::new().exec(exec).loss(&half, 4, &[0]).unwrap();
        let want = CrossEntropy::new().exec(exec).loss(&x, 4, &[0]);
        assert_eq!(loss, want.unwrap(), "{backend:?}");
        let is_right = (2.28e-8..2.3e-8).contains(&loss);
        assert!(is_right || backend.name() == "scalar", "{loss:e}");
        let (mut found, mut want) = ([0.0_f32; 4], [0.0_f32; 4]);
        let (zeros, half_zeros) = ([0.0_f32; 4], [f16::ZERO; 4]);
        let binary = BinaryCrossEntropy::new().exec(exec);
        let result = binary.loss_per_element(&half, 1, &half_zeros, &mut found);
        result.unwrap();
        let result = binary.loss_per_element(&x, 1, &zeros, &mut want);
        result.unwrap();
        assert_eq!(found, want, "{backend:?}");
    }
}

/// Masks and sinks go by the number of a row, wherever it lies.
#[test]
fn options_go_by_the_number_of_a_row() {
    const KEYS: usize = 40;
    let b = batch::<f32>(24, KEYS, 5);
    let mask: Vec<f32> = (0..6 * KEYS).map(|i| (i % 7) as f32 * 0.3).collect();
    let flags: Vec<bool> = (0..12 * KEYS).map(|i| i % 5 != 0).collect();
    let sinks = [0.5, 1.0, -3.0];
    let options = Softmax::new()
        .logit_scale(0.7)
        .mask(&mask)
        .bool_mask(&flags)
        .causal(8, 30)
        .sinks(&sinks, 4);
    for backend in Backend::available() {
        let options = options.exec(Exec::new().backend(backend));
        let mut want = vec![0.0; b.x.len()];
        options.probs(&b.x, KEYS, &mut want).unwrap();
        for place in places(24, KEYS) {
            let x = place.put(&b.x, place.gaps[0]);
            let mut y = vec![f32::UNTOUCHED; place.len(24, place.gaps[1])];
            options.probs(&x, place.shape(), &mut y).unwrap();
            let y = place.take(y, 24, place.gaps[1], "attention");
            assert!(
                y.iter()
                    .zip(&want)
                    .all(|(y, want)| y.to_bits() == want.to_bits()),
                "{backend:?}, {place:?}"
            );
        }
    }
}

/// Longer than the distance that vectors have of their rows, and than what is allocated for sixteen.
#[test]
fn very_long_rows_along_an_axis() {
    for (rows, classes) in [(17, 66_001), (16, 300_007)] {
        let mut rng = Rng::new(11);
        let x: Vec<f32> = (0..rows * classes).map(|_| rng.normal() as f32).collect();
        let turned = |x: &[f32]| -> Vec<u32> {
            let of_class = |k: usize| (0..rows).map(move |row| x[row * classes + k].to_bits());
            (0..classes).flat_map(of_class).collect()
        };
        // On one thread sixteen rows are together, or eight; threads may take less.
        for exec in [Exec::new().serial(), Exec::new()] {
            let mut p = vec![0.0; x.len()];
            exec.softmax(&x, classes, &mut p).unwrap();
            let mut along: Vec<f32> = turned(&x).into_iter().map(f32::from_bits).collect();
            exec.softmax_in_place(&mut along, Shape::axis(classes, rows))
                .unwrap();
            let is_same = along.iter().map(|p| p.to_bits()).eq(turned(&p));
            assert!(is_same, "{rows} x {classes}, {exec:?}");
        }
    }
}

/// What follows the last row may be left out.
#[test]
fn the_last_gap_is_optional() {
    let mut y = [9.0_f32; 7];
    let shape = Shape::rows(2).stride(5);
    softlane::softmax(&[0.0, 0.0, 7.0, 7.0, 7.0, 3.0, 3.0], shape, &mut y).unwrap();
    assert_eq!(y, [0.5, 0.5, 9.0, 9.0, 9.0, 0.5, 0.5]);
    // One row of two.
    let mut y = [9.0_f32; 4];
    softlane::softmax_in_place(&mut y, Shape::rows(2).stride(5)).unwrap();
    assert_eq!(y, [0.5, 0.5, 9.0, 9.0]);
}

#[test]
fn wrong_shapes() {
    let mut y = [9.0_f32; 12];
    let x = [1.0_f32; 12];
    let mut error = |shape: Shape| {
        let error = softlane::softmax(&x, shape, &mut y).unwrap_err();
        assert!(
            y.iter().all(|&y| y.to_bits() == 9.0_f32.to_bits()),
            "{shape:?}"
        );
        error
    };
    let shape = |classes| Error::Shape { len: 12, classes };
    let layout = |classes, inner, stride| Error::Layout {
        len: 12,
        classes,
        inner,
        stride,
    };
    assert_eq!(error(5.into()), shape(5));
    assert_eq!(error(0.into()), shape(0));
    assert_eq!(error(Shape::axis(3, 8)), layout(3, 8, 24));
    assert_eq!(
        error(Shape::axis(usize::MAX, 3)),
        layout(usize::MAX, 3, usize::MAX)
    );
    assert_eq!(error(Shape::axis(3, 0)), layout(3, 0, 0));
    let stride = Error::Stride {
        stride: 5,
        least: 6,
    };
    assert_eq!(error(Shape::axis(3, 2).stride(5)), stride);
    assert_eq!(error(Shape::rows(6).strides(6, 5)), stride);
    // The second row is a short one.
    assert_eq!(error(Shape::rows(4).stride(9)), layout(4, 1, 9));
    // No room for the gaps.
    assert_eq!(error(Shape::rows(4).strides(4, 5)), layout(4, 1, 5));
    let rows = Error::Rows {
        read: 2,
        written: 4,
    };
    assert_eq!(error(Shape::rows(3).strides(6, 3)), rows);
    let length = Error::Length {
        expected: 12,
        found: 11,
    };
    assert_eq!(softlane::softmax(&x, 3, &mut y[..11]), Err(length));
    // No rows of any number of classes.
    for classes in [1 << 40, usize::MAX] {
        for shape in [
            Shape::rows(classes),
            Shape::axis(classes >> 1, 2),
            Shape::rows(classes).stride(usize::MAX),
        ] {
            let none: [f32; 0] = [];
            assert_eq!(
                softlane::softmax(&none, shape, &mut [0.0_f32; 0]),
                Ok(()),
                "{shape:?}"
            );
            let both = softlane::softmax_backward(&none, &none, shape, &mut [0.0_f32; 0]);
            assert_eq!(both, Ok(()), "{shape:?}");
        }
    }
    // Rows without classes, of which there are any number.
    let mut lse = [9.0_f32; 3];
    softlane::logsumexp(&[0.0_f32; 0], Shape::axis(0, 3), &mut lse).unwrap();
    assert_eq!(lse, [f32::NEG_INFINITY; 3]);
    for stride in [5, 1 << 61, usize::MAX] {
        let mut lse = [9.0_f32; 3];
        let shape = Shape::rows(0).stride(stride);
        softlane::logsumexp(&[0.0_f32; 0], shape, &mut lse).unwrap();
        assert_eq!(lse, [f32::NEG_INFINITY; 3]);
    }
}

/// Outputs that are not initialised hold every result afterwards.
#[test]
fn outputs_that_are_not_initialised() {
    let b = batch::<f32>(20, 10, 3);
    let mut want = vec![0.0; 200];
    softlane::softmax(&b.x, 10, &mut want).unwrap();
    let mut memory: Vec<f32> = Vec::with_capacity(200);
    softlane::softmax(&b.x, 10, &mut memory.spare_capacity_mut()[..200]).unwrap();
    // SAFETY: all of them have been written.
    unsafe { memory.set_len(200) };
    assert_eq!(memory, want);

    let mut lse = [MaybeUninit::uninit(); 20];
    softlane::logsumexp(&b.x, 10, &mut lse).unwrap();
    let mut grad = [MaybeUninit::<f32>::uninit(); 200];
    CrossEntropy::new()
        .loss_and_grad(&b.x, 10, &b.targets, &mut grad)
        .unwrap();
    let (mut want_lse, mut want_grad) = ([0.0; 20], [0.0; 200]);
    softlane::logsumexp(&b.x, 10, &mut want_lse).unwrap();
    CrossEntropy::new()
        .loss_and_grad(&b.x, 10, &b.targets, &mut want_grad)
        .unwrap();
    let mut log_probs = [MaybeUninit::<f32>::uninit(); 20];
    let mut best = Box::<[usize]>::new_uninit_slice(20);
    let outputs = RowOutputs::new()
        .log_probs(&mut log_probs)
        .argmax(&mut best);
    let ce = CrossEntropy::new();
    ce.loss_with(&b.x, 10, &b.targets, outputs).unwrap();
    let (mut want_log_probs, mut want_best) = ([0.0; 20], [99; 20]);
    let outputs = RowOutputs::new()
        .log_probs(&mut want_log_probs)
        .argmax(&mut want_best);
    ce.loss_with(&b.x, 10, &b.targets, outputs).unwrap();
    // SAFETY: all of them have been written.
    let (log_probs, best) = unsafe { (log_probs.map(|x| x.assume_init()), best.assume_init()) };
    assert_eq!((log_probs, &best[..]), (want_log_probs, &want_best[..]));

    // SAFETY: all of them have been written.
    let (lse, grad) = unsafe { (lse.map(|x| x.assume_init()), grad.map(|x| x.assume_init())) };
    assert_eq!((lse, grad), (want_lse, want_grad));
}
