//! What is called takes no more of a thread's stack than it has, with room for the caller: in a program that is not optimised as well, where every value of a kernel
//! has a place of its own there (`cargo test --profile dev --features f64 --test stack`).

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

#[macro_use]
mod common;

use std::thread;

use common::calls::{Destinations, Sources, Tested};
use common::places::takes_shape;
use softlane::{
    Backend, CrossEntropy, Exec, LinearCrossEntropy, LinearGrads, RowOutputs, RowState, Shape,
};

/// Threads have 2 MiB, of which a quarter is left to the caller.
const MOST: usize = 3 << 19;

/// Rows one by one, in blocks in registers, by columns and as they lie, in tiles, and in chunks.
const SHAPES: [(usize, usize); 9] = [
    (1, 10),
    (20, 3),
    (20, 8),
    (20, 10),
    (20, 40),
    (20, 48),
    (33, 100),
    (33, 192),
    (1, 4100),
];

/// Added to the logits. With the others, blocks of rows are begun, and then done one by one.
const LEVELS: [f64; 3] = [0.0, 100_000.0, f64::NAN];

fn in_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let small = thread::Builder::new().stack_size(MOST);
    small.spawn(test).unwrap().join().unwrap();
}

fn logits<E: Tested>(n: usize, level: f64) -> Vec<E> {
    let logit = |i| E::rounded(level + (i % 97) as f64 * 0.1);
    (0..n).map(logit).collect()
}

/// Every call, with rows one after the other, and beside each other, which are copied.
fn each<E: Tested>() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend).serial();
        for call in E::calls().iter().chain(E::calls_with_options()) {
            for ((rows, classes), level) in SHAPES.iter().flat_map(|&s| LEVELS.map(|l| (s, l))) {
                let n = rows * classes;
                let x = logits::<E>(n, level);
                let y: Vec<E> = (0..n).map(|i| E::rounded((i % 2) as f64)).collect();
                let targets: Vec<i64> = (0..rows).map(|i| (i % classes) as i64).collect();
                let beside = takes_shape(call).then_some(Shape::axis(classes, rows));
                for shape in [None, beside] {
                    let zero = E::Real::rounded(0.0);
                    let mut per_row = vec![zero; rows];
                    let mut out = x.clone();
                    let sources = Sources {
                        shape,
                        classes,
                        x: &x,
                        y: &y,
                        targets: &targets,
                    };
                    let destinations = Destinations {
                        number: &mut { zero },
                        per_row: &mut per_row,
                        out: &mut out,
                    };
                    // With `--nocapture`, the last line tells what overflows.
                    println!("{call}, {backend:?}, {rows} x {classes}, {level}, {shape:?}");
                    call.run(exec, sources, destinations).unwrap();
                }
            }
        }
    }
}

#[test]
fn three_quarters_of_a_stack_are_enough() {
    fn of<E: Tested>() {
        in_a_small_stack(each::<E>);
    }
    each_tested!(of());
}

/// Toward distributions, with all that can be found of a row besides.
fn with_outputs<E: Tested>() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend).serial();
        let loss = CrossEntropy::new().exec(exec).z_loss(0.01);
        for ((rows, classes), level) in SHAPES.iter().flat_map(|&s| LEVELS.map(|l| (s, l))) {
            let n = rows * classes;
            let x = logits::<E>(n, level);
            let probs: Vec<E> = (0..n).map(|i| E::rounded((i % 2) as f64)).collect();
            let mut found = [(); 4].map(|()| vec![E::Real::rounded(0.0); rows]);
            let [losses, log_sum_exps, log_probs, entropies] = &mut found;
            let mut argmax = vec![0; rows];
            let outputs = RowOutputs::new()
                .losses(&mut losses[..])
                .log_sum_exps(&mut log_sum_exps[..])
                .log_probs(&mut log_probs[..])
                .entropies(&mut entropies[..])
                .argmax(&mut argmax[..]);
            let mut grad = x.clone();
            println!("{backend:?}, {rows} x {classes}, {level}");
            loss.loss_and_grad_with(&x, Shape::axis(classes, rows), &probs, &mut grad, outputs)
                .unwrap();
        }
    }
}

#[test]
fn with_all_that_is_known_of_rows() {
    fn of<E: Tested>() {
        in_a_small_stack(with_outputs::<E>);
    }
    each_computed!(of());
}

#[test]
fn rows_in_parts() {
    in_a_small_stack(|| {
        let x = logits::<f32>(5000, 0.0);
        let mut out = x.clone();
        for backend in Backend::available() {
            let exec = Exec::new().backend(backend).serial();
            let mut state = RowState::new(0, Some(3)).unwrap().exec(exec);
            state.update(&x).unwrap();
            state.probs(&x, &mut out).unwrap();
            state.grad(0, &x, 1.0, &mut out).unwrap();
        }
    });
}

#[test]
fn layers() {
    in_a_small_stack(|| {
        let (x, w) = (logits::<f32>(20 * 30, 0.0), logits::<f32>(100 * 30, 0.0));
        let targets: Vec<i64> = (0..20).collect();
        let (mut dx, mut dw) = (x.clone(), w.clone());
        for backend in Backend::available() {
            let exec = Exec::new().backend(backend).serial();
            let layer = LinearCrossEntropy::new(CrossEntropy::new().exec(exec));
            let grads = LinearGrads::new().inputs(&mut dx[..]).weights(&mut dw[..]);
            layer
                .loss_and_grads(&x, &w, [100, 30], &targets, grads)
                .unwrap();
        }
    });
}

/// Each of the threads has as little, and they share a batch, and a row.
#[cfg(feature = "rayon")]
#[test]
fn on_threads() {
    fn of<E: Tested>() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .stack_size(MOST);
        pool.build().unwrap().install(|| {
            for backend in Backend::available() {
                let exec = Exec::new().backend(backend);
                for (rows, classes) in [(2000, 100), (1, 200_000)] {
                    let x = logits::<E>(rows * classes, 0.0);
                    let targets: Vec<i64> = (0..rows).map(|i| (i % classes) as i64).collect();
                    let mut out = x.clone();
                    println!("{backend:?}, {rows} x {classes}");
                    exec.softmax(&x, classes, &mut out).unwrap();
                    exec.log_softmax(&x, classes, &mut out).unwrap();
                    let loss = CrossEntropy::new().exec(exec).label_smoothing(0.1);
                    loss.loss_and_grad(&x, classes, &targets, &mut out).unwrap();
                }
            }
        });
    }
    each_computed!(of());
}
