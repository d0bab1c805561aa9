//! No operation allocates on the serial path, whatever the size: all scratch is on the stack.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Error, Exec, MaskedRows, Softmax};

/// Rows and classes: nothing, one, a few, some beyond a chunk, and sizes that other calls would
/// spread over threads.
const SHAPES: [(usize, usize); 9] = [
    (0, 0),
    (0, 5),
    (1, 1),
    (3, 10),
    (64, 1000),
    (5, 4097),
    (20_000, 10),
    (70_000, 1),
    (1, 128_256),
];

#[track_caller]
fn assert_none(name: &str, call: impl FnOnce() -> Result<(), Error>) {
    let mut result = Ok(());
    let allocated = measure(|| result = call());
    result.unwrap();
    assert_eq!(allocated.count_total, 0, "{name}: {allocated:?}");
}

/// Calls every operation.
fn each(exec: Exec, rows: usize, classes: usize) {
    let n = rows * classes;
    let x = &(0..n)
        .map(|i| (i % 97) as f32 * 0.1 - 5.0)
        .collect::<Vec<_>>();
    let labels = &(0..n).map(|i| (i % 2) as f32).collect::<Vec<_>>();
    let targets = &(0..rows).map(|i| i % classes).collect::<Vec<_>>();
    let y = &mut vec![0.0_f32; n];
    let per_row = &mut vec![0.0_f32; rows];
    let assert_none = |name: &str, call: &mut dyn FnMut() -> Result<(), Error>| {
        assert_none(&format!("{name}, {exec:?}, {rows} x {classes}"), call);
    };

    assert_none("max", &mut || exec.max(x).map(drop));
    assert_none("sum", &mut || exec.sum(x).map(drop));
    assert_none("exp", &mut || exec.exp(x, y));
    assert_none("exp in place", &mut || exec.exp_in_place(y));
    assert_none("sigmoid", &mut || exec.sigmoid(x, y));
    assert_none("sigmoid in place", &mut || exec.sigmoid_in_place(y));
    assert_none("softmax", &mut || exec.softmax(x, classes, y));
    assert_none("softmax in place", &mut || {
        exec.softmax_in_place(y, classes)
    });
    assert_none("log-softmax", &mut || exec.log_softmax(x, classes, y));
    assert_none("log-softmax in place", &mut || {
        exec.log_softmax_in_place(y, classes)
    });
    assert_none("log-sum-exp", &mut || exec.logsumexp(x, classes, per_row));
    assert_none("softmax backward", &mut || {
        exec.softmax_backward(x, labels, classes, y)
    });
    assert_none("softmax backward in place", &mut || {
        exec.softmax_backward_in_place(x, y, classes)
    });
    assert_none("log-softmax backward", &mut || {
        exec.log_softmax_backward(x, labels, classes, y)
    });
    assert_none("log-softmax backward in place", &mut || {
        exec.log_softmax_backward_in_place(x, y, classes)
    });

    let options = Softmax::new().exec(exec).masked_rows(MaskedRows::Zero);
    assert_none("probabilities", &mut || options.probs(x, classes, y));
    assert_none("probabilities in place", &mut || {
        options.probs_in_place(y, classes)
    });
    assert_none("log-probabilities", &mut || {
        options.log_probs(x, classes, y)
    });
    assert_none("log-probabilities in place", &mut || {
        options.log_probs_in_place(y, classes)
    });

    let options = CrossEntropy::new().exec(exec);
    assert_none("cross-entropy", &mut || {
        options.loss(x, classes, targets).map(drop)
    });
    assert_none("with gradient", &mut || {
        options.loss_and_grad(x, classes, targets, y).map(drop)
    });
    assert_none("with gradient in place", &mut || {
        options
            .loss_and_grad_in_place(y, classes, targets)
            .map(drop)
    });
    assert_none("per row", &mut || {
        options.loss_per_row(x, classes, targets, per_row)
    });
    assert_none("per row, with gradient", &mut || {
        options.loss_per_row_and_grad(x, classes, targets, per_row, y)
    });
    assert_none("per row, with gradient in place", &mut || {
        options.loss_per_row_and_grad_in_place(y, classes, targets, per_row)
    });

    let options = BinaryCrossEntropy::new().exec(exec);
    assert_none("binary cross-entropy", &mut || {
        options.loss(x, classes, labels).map(drop)
    });
    assert_none("binary, with gradient", &mut || {
        options.loss_and_grad(x, classes, labels, y).map(drop)
    });
    assert_none("binary, with gradient in place", &mut || {
        options.loss_and_grad_in_place(y, classes, labels).map(drop)
    });
    assert_none("binary, per element", &mut || {
        options.loss_per_element(x, classes, labels, y)
    });
}

#[test]
fn nothing_allocates_on_one_thread() {
    for backend in Backend::available() {
        for (rows, classes) in SHAPES {
            each(Exec::new().backend(backend).serial(), rows, classes);
        }
    }
}

/// Small batches stay on the calling thread without being told to.
#[test]
fn small_calls_do_not_allocate() {
    // The first call reads the environment.
    Backend::active().unwrap();
    for (rows, classes) in [(0, 5), (1, 1), (1, 10), (30, 1000)] {
        each(Exec::new(), rows, classes);
    }
}

#[test]
fn errors_do_not_allocate() {
    let mut result = Ok(());
    let allocated = measure(|| result = softlane::softmax(&[0.0_f32; 10], 3, &mut [0.0; 10]));
    assert!(result.is_err());
    let named = measure(|| assert!(Backend::named("nonsense").is_err()));
    assert_eq!((allocated.count_total, named.count_total), (0, 0));
}

#[test]
fn the_counter_counts() {
    let mut x = vec![];
    let allocated = measure(|| x = vec![1.0_f32; 100]);
    assert_eq!((allocated.count_total, allocated.bytes_total), (1, 400));
    assert_eq!(x.len(), 100);
}
