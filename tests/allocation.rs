//! No operation allocates on the serial path, whatever the size: all scratch is on the stack.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

#[macro_use]
mod common;

use allocation_counter::measure;
use common::calls::{self, Call, Destinations, Sources, Tested};
use softlane::{Backend, Exec, RowState};

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

/// Calls every operation.
fn each<'a, E: Tested>(
    calls: impl IntoIterator<Item = &'a Call<E>>,
    exec: Exec,
    rows: usize,
    classes: usize,
) {
    let n = rows * classes;
    let x: Vec<E> = (0..n)
        .map(|i| E::rounded((i % 97) as f64 * 0.1 - 5.0))
        .collect();
    let labels: Vec<E> = (0..n).map(|i| E::rounded((i % 2) as f64)).collect();
    let targets: Vec<i64> = (0..rows).map(|i| (i % classes) as i64).collect();
    let zero = E::Real::rounded(0.0);
    let mut per_row = vec![zero; rows];
    for call in calls {
        let sources = Sources {
            shape: None,
            classes,
            x: &x,
            y: &labels,
            targets: &targets,
        };
        let mut out = x.clone();
        let destinations = Destinations {
            number: &mut { zero },
            per_row: &mut per_row,
            out: &mut out,
        };
        let mut result = Ok(());
        let allocated = measure(|| result = call.run(exec, sources, destinations));
        assert_eq!(result, Ok(()), "{call}");
        let count = allocated.count_total;
        assert_eq!(
            count, 0,
            "{call}, {exec:?}, {rows} x {classes}: {allocated:?}"
        );
    }
}

#[test]
fn nothing_allocates_on_one_thread() {
    fn of<E: Tested>() {
        for backend in Backend::available() {
            let exec = Exec::new().backend(backend).serial();
            for (rows, classes) in SHAPES {
                each(E::calls(), exec, rows, classes);
            }
        }
    }
    each_computed!(of());
}

/// Rows that are copied are copied to the stack, if there is room for them.
#[cfg(feature = "half")]
#[test]
fn rows_of_halves_do_not_allocate() {
    // The losses of elements are none of `f16`: the test has to make room for them.
    let calls = || {
        half::f16::calls()
            .iter()
            .filter(|call| !call.name.ends_with("loss_per_element"))
    };
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend).serial();
        for (rows, classes) in [(0, 5), (3, 10), (20_000, 10), (64, 1000), (5, 8192)] {
            each(calls(), exec, rows, classes);
        }
    }
}

/// Small batches stay on the calling thread without being told to.
#[test]
fn small_calls_do_not_allocate() {
    fn of<E: Tested>() {
        let functions = calls::functions();
        for (rows, classes) in [(0, 5), (1, 1), (1, 10), (30, 1000)] {
            let calls = E::calls().iter().chain(&functions);
            each(calls, Exec::new(), rows, classes);
        }
    }
    // The first call reads the environment.
    Backend::active().unwrap();
    each_computed!(of());
}

#[test]
fn row_states_do_not_allocate() {
    let x = vec![0.5_f32; 3 * 4096 + 5];
    let mut y = vec![0.0; x.len()];
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend).serial();
        let mut loss = 0.0;
        let allocated = measure(|| {
            let (left, right) = x.split_at(4096);
            let mut head = RowState::new(0, Some(9)).unwrap().exec(exec);
            head.update(left).unwrap();
            let mut tail = RowState::new(4096, Some(9)).unwrap().exec(exec);
            tail.update(right).unwrap();
            let row = tail.merge(RowState::from_bytes(&head.to_bytes()).unwrap());
            let row = row.unwrap();
            loss = row.loss().unwrap();
            row.probs(&x, &mut y).unwrap();
            row.grad(0, &x, 1.0, &mut y).unwrap();
        });
        assert!(loss > 0.0);
        assert_eq!(allocated.count_total, 0, "{backend:?}");
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
