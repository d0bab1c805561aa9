//! Every form of every operation as one call, over slices that the test has put where it wants them;
//! and the batches to try.

use softlane::{BinaryCrossEntropy, CrossEntropy, Error, Exec, MaskedRows, Softmax};

use crate::inputs::{self, Rng};

/// The memory of a call. What it does not use may be anything.
#[derive(Debug)]
pub struct Slices<'a> {
    pub classes: usize,
    /// Logits, or what else an operation is given first.
    pub x: &'a [f32],
    /// The labels or the gradient that go with them.
    pub y: &'a [f32],
    /// One a row.
    pub targets: &'a [i64],
    /// As long as `x`; what is written over, in place.
    pub out: &'a mut [f32],
    /// One a row.
    pub per_row: &'a mut [f32],
}

/// What a call uses of [`Slices`], as bits.
pub const X: u8 = 1;
pub const Y: u8 = 2;
pub const TARGETS: u8 = 4;
pub const PER_ROW: u8 = 8;
/// The output, when it is written only.
pub const OUT: u8 = 16;
/// The output, when it holds the logits before.
pub const OVER: u8 = 32;

/// One form of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub name: &'static str,
    pub uses: u8,
    pub run: fn(Exec, Slices<'_>) -> Result<(), Error>,
}

const fn call(
    name: &'static str,
    uses: u8,
    run: fn(Exec, Slices<'_>) -> Result<(), Error>,
) -> Call {
    Call { name, uses, run }
}

fn zero(exec: Exec) -> Softmax {
    Softmax::new().exec(exec).masked_rows(MaskedRows::Zero)
}

fn index(exec: Exec) -> CrossEntropy {
    CrossEntropy::new().exec(exec)
}

fn binary(exec: Exec) -> BinaryCrossEntropy {
    BinaryCrossEntropy::new().exec(exec)
}

/// All of them.
pub const CALLS: &[Call] = &[
    call("max", X, |e, s| e.max(s.x).map(drop)),
    call("sum", X, |e, s| e.sum(s.x).map(drop)),
    call("exp", X | OUT, |e, s| e.exp(s.x, s.out)),
    call("exp_in_place", OVER, |e, s| e.exp_in_place(s.out)),
    call("sigmoid", X | OUT, |e, s| e.sigmoid(s.x, s.out)),
    call("sigmoid_in_place", OVER, |e, s| e.sigmoid_in_place(s.out)),
    call("softmax", X | OUT, |e, s| e.softmax(s.x, s.classes, s.out)),
    call("softmax_in_place", OVER, |e, s| {
        e.softmax_in_place(s.out, s.classes)
    }),
    call("log_softmax", X | OUT, |e, s| {
        e.log_softmax(s.x, s.classes, s.out)
    }),
    call("log_softmax_in_place", OVER, |e, s| {
        e.log_softmax_in_place(s.out, s.classes)
    }),
    call("logsumexp", X | PER_ROW, |e, s| {
        e.logsumexp(s.x, s.classes, s.per_row)
    }),
    // The backward passes take any numbers for (log-)probabilities.
    call("softmax_backward", X | Y | OUT, |e, s| {
        e.softmax_backward(s.x, s.y, s.classes, s.out)
    }),
    call("softmax_backward_in_place", Y | OVER, |e, s| {
        e.softmax_backward_in_place(s.y, s.out, s.classes)
    }),
    call("log_softmax_backward", X | Y | OUT, |e, s| {
        e.log_softmax_backward(s.x, s.y, s.classes, s.out)
    }),
    call("log_softmax_backward_in_place", Y | OVER, |e, s| {
        e.log_softmax_backward_in_place(s.y, s.out, s.classes)
    }),
    call("Softmax::probs", X | OUT, |e, s| {
        zero(e).probs(s.x, s.classes, s.out)
    }),
    call("Softmax::probs_in_place", OVER, |e, s| {
        zero(e).probs_in_place(s.out, s.classes)
    }),
    call("Softmax::log_probs", X | OUT, |e, s| {
        zero(e).log_probs(s.x, s.classes, s.out)
    }),
    call("Softmax::log_probs_in_place", OVER, |e, s| {
        zero(e).log_probs_in_place(s.out, s.classes)
    }),
    call("CrossEntropy::loss", X | TARGETS, |e, s| {
        index(e).loss(s.x, s.classes, s.targets).map(drop)
    }),
    call("CrossEntropy::loss_and_grad", X | TARGETS | OUT, |e, s| {
        let loss = index(e).loss_and_grad(s.x, s.classes, s.targets, s.out);
        loss.map(drop)
    }),
    call(
        "CrossEntropy::loss_and_grad_in_place",
        TARGETS | OVER,
        |e, s| {
            let loss = index(e).loss_and_grad_in_place(s.out, s.classes, s.targets);
            loss.map(drop)
        },
    ),
    call(
        "CrossEntropy::loss_per_row",
        X | TARGETS | PER_ROW,
        |e, s| index(e).loss_per_row(s.x, s.classes, s.targets, s.per_row),
    ),
    call(
        "CrossEntropy::loss_per_row_and_grad",
        X | TARGETS | PER_ROW | OUT,
        |e, s| index(e).loss_per_row_and_grad(s.x, s.classes, s.targets, s.per_row, s.out),
    ),
    call(
        "CrossEntropy::loss_per_row_and_grad_in_place",
        TARGETS | PER_ROW | OVER,
        |e, s| index(e).loss_per_row_and_grad_in_place(s.out, s.classes, s.targets, s.per_row),
    ),
    call("BinaryCrossEntropy::loss", X | Y, |e, s| {
        binary(e).loss(s.x, s.classes, s.y).map(drop)
    }),
    call("BinaryCrossEntropy::loss_and_grad", X | Y | OUT, |e, s| {
        let loss = binary(e).loss_and_grad(s.x, s.classes, s.y, s.out);
        loss.map(drop)
    }),
    call(
        "BinaryCrossEntropy::loss_and_grad_in_place",
        Y | OVER,
        |e, s| {
            let loss = binary(e).loss_and_grad_in_place(s.out, s.classes, s.y);
            loss.map(drop)
        },
    ),
    call(
        "BinaryCrossEntropy::loss_per_element",
        X | Y | OUT,
        |e, s| binary(e).loss_per_element(s.x, s.classes, s.y, s.out),
    ),
];

/// Kinds of rows that take different ways through the kernels: the usual one, that of logits whose
/// reference is subtracted first, masked lanes, one probability near 1, and no answer.
pub const KINDS: [&str; 5] = [
    "normal 3",
    "offset 1e5",
    "masked half",
    "confident",
    "all -inf",
];

/// The contents of a batch.
#[derive(Debug)]
pub struct Contents {
    pub x: Vec<f32>,
    pub y: Vec<f32>,
    pub targets: Vec<i64>,
}

impl Contents {
    pub fn new(rows: usize, classes: usize, kind: &str) -> Self {
        let seed = (rows * 1_000_003 + classes) as u64;
        let mut rng = Rng::new(seed);
        let row = |i: usize| match kind {
            "all -inf" => vec![f32::NEG_INFINITY; classes],
            name => inputs::named(name).unwrap().row(seed + i as u64, classes),
        };
        Self {
            x: (0..rows).flat_map(row).collect(),
            y: (0..rows * classes).map(|_| rng.uniform() as f32).collect(),
            // Some rows are ignored; the others have any class, above all the last.
            targets: (0..rows)
                .map(|_| match rng.below(8) {
                    0 => -100,
                    _ if classes == 0 => -100,
                    1..4 => classes as i64 - 1,
                    _ => rng.below(classes) as i64,
                })
                .collect(),
        }
    }
}

/// Rows and classes to try on one thread: every length around every seam of vectors, groups of
/// vectors and chunks; then batches of few classes and of more.
///
/// `SOFTLANE_TEST_SHAPES=few` leaves out most of them, for tools under which a program takes some
/// hundred times as long. Says how many there are.
pub fn shapes() -> Vec<(usize, usize)> {
    let few = match std::env::var("SOFTLANE_TEST_SHAPES").as_deref() {
        Err(_) => false,
        Ok(value) => {
            assert_eq!(value, "few", "SOFTLANE_TEST_SHAPES");
            true
        }
    };
    let mut shapes = vec![(0, 0), (0, 5), (3, 0)];
    if few {
        let lengths = [0, 1, 15, 16, 17, 37, 64, 81];
        shapes.extend(lengths.map(|classes| (1, classes)));
        shapes.extend([(5, 3), (2, 17)]);
    } else {
        let seams = [4095, 4096, 4097, 4112, 4113, 8191, 8193];
        let lengths = (0..=300).chain(seams);
        shapes.extend(lengths.map(|classes| (1, classes)));
        for rows in [2, 3, 15, 16, 17, 33] {
            shapes.extend((1..=33).map(|classes| (rows, classes)));
        }
        for classes in [48, 63, 64, 65, 100, 255, 256, 257, 1000] {
            shapes.extend([(2, classes), (7, classes)]);
        }
        shapes.push((2, 4097));
    }
    println!(
        "{} shapes{}",
        shapes.len(),
        if few {
            ", SOFTLANE_TEST_SHAPES=few"
        } else {
            ""
        }
    );
    shapes
}
