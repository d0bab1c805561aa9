//! Guard pages: the loss of a linear layer on slices that end where memory ends, or begin where it begins. What reads or writes beyond one faults, which
//! ends the process; the line before says where (`-- --nocapture`).

#![cfg(any(unix, windows))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "guard_pages/fence.rs"]
mod fence;

use fence::{Fenced, Place, Plain};
use rayon::ThreadPoolBuilder;
use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads, RowOutputs};

/// Rows, classes, features: below, at and beyond the ends of vectors, pieces of rows and panels of classes.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [1, 7, 3],
    [3, 17, 9],
    [63, 10, 64],
    [64, 16, 8],
    [65, 15, 33],
    [129, 513, 31],
    [70, 511, 257],
    [5, 1025, 17],
    [200, 600, 300],
    [2, 40, 1030],
    [66, 3, 255],
];

/// Calls it with everything at that place, and returns the loss.
fn call([rows, classes, features]: [usize; 3], place: Place, soft: bool) -> f32 {
    fn filled<T: Plain>(len: usize, place: Place, number: impl Fn(usize) -> T) -> Fenced<T> {
        let mut memory = Fenced::new(len);
        for (i, to) in memory.slice(len, place).iter_mut().enumerate() {
            *to = number(i);
        }
        memory
    }
    let some = |len: usize| filled(len, place, |i| (i * 7919 % 64) as f32 / 64.0 - 0.5);
    let (mut x, mut w, mut b) = (
        some(rows * features),
        some(classes * features),
        some(classes),
    );
    let mut targets = filled(rows, place, |row| i64::from((row % classes) as u32));
    let mut losses = some(rows);
    let mut probs = some(rows * classes);
    let (mut dx, mut dw, mut db) = (
        some(rows * features),
        some(classes * features),
        some(classes),
    );

    let grads = LinearGrads::new()
        .inputs(dx.slice(rows * features, place))
        .weights(dw.slice(classes * features, place))
        .bias(db.slice(classes, place));
    let outputs = RowOutputs::new().losses(losses.slice(rows, place));
    let layer = LinearCrossEntropy::new(CrossEntropy::new()).bias(b.slice(classes, place));
    let (x, w) = (
        x.slice(rows * features, place),
        w.slice(classes * features, place),
    );
    let size = [classes, features];
    let loss = if soft {
        let probs = probs.slice(rows * classes, place);
        layer.loss_and_grads_with(x, w, size, probs, grads, outputs)
    } else {
        let targets = targets.slice(rows, place);
        layer.loss_and_grads_with(x, w, size, targets, grads, outputs)
    };
    loss.unwrap()
}

#[test]
fn nothing_beyond_the_slices_is_touched() {
    for threads in [1, 2] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            for size in SIZES {
                for soft in [false, true] {
                    println!("next: {size:?}, {threads} threads, distributions: {soft}");
                    let losses = [Place::Start, Place::End].map(|place| call(size, place, soft));
                    assert_eq!(losses[0].to_bits(), losses[1].to_bits(), "another place");
                }
            }
        });
    }
}
