//! What it costs where rows lie, and of what type their elements are, as Markdown tables: how many times longer an operation takes than on `f32`
//! rows that lie one after the other. All take turns in one process, in random order, on one thread. Everything is measured twice.
//! `SOFTLANE_BACKEND` names the backend; `cargo bench --bench layouts -- softmax` measures a part.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

#[expect(dead_code, reason = "the workloads are those of other benchmarks")]
mod common;
#[path = "common/processor.rs"]
mod processor;
#[path = "common/turns.rs"]
mod turns;

use std::env;
use std::hint::black_box;
use std::time::Duration;

use common::shared::inputs::{self, Rng};
use processor::processor;
use softlane::{Backend, CrossEntropy, Element, Exec, Shape};
use turns::medians;

/// Rows and classes: in the second-level cache, and beyond it.
const SIZES: [(usize, usize); 8] = [
    (6560, 10),
    (1024, 64),
    (64, 1000),
    (16, 4096),
    (4, 16_384),
    (2, 32_768),
    (1, 128_256),
    (256, 32_768),
];

/// The contestant whose rows lie beside each other by sixteen.
const SIXTEEN: usize = 2;

/// A call that is timed, and what it is called.
type Timed<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// What is called.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Softmax,
    LossAndGrad,
    LogSumExp,
}

fn main() {
    // As criterion has it: with `--test`, or without `--bench` (`cargo test`), see that it runs.
    let options: Vec<String> = env::args().skip(1).collect();
    let has = |name| options.iter().any(|option| option == name);
    let is_measured = has("--bench") && !has("--test");
    let time = if is_measured {
        Duration::from_millis(700)
    } else {
        Duration::ZERO
    };
    let filter = options.iter().find(|option| !option.starts_with('-'));
    let active = Backend::active().unwrap();
    println!("{}, backend {}, 1 thread\n", processor(), active.name());
    let whats = [
        ("softmax", What::Softmax),
        ("loss-and-grad", What::LossAndGrad),
        ("logsumexp", What::LogSumExp),
    ];
    for (name, what) in whats {
        if filter.is_none_or(|filter| filter == name) {
            table(name, what, time);
        }
    }
}

fn table(name: &str, what: What, time: Duration) {
    for (i, &(rows, classes)) in SIZES.iter().enumerate() {
        let mut rng = Rng::new(1);
        let x = inputs::normal(&mut rng, rows * classes, 0.0, 3.0);
        let targets: Vec<u32> = (0..rows).map(|i| (i * 7919 % classes) as u32).collect();
        let with_gaps = [x.as_slice(), &vec![0.0; rows]].concat();
        let (plain, gaps) = (
            Shape::rows(classes),
            Shape::rows(classes).stride(classes + 1),
        );
        let axis = |inner: usize| Shape::axis(classes, inner);
        let mut calls: Vec<Timed<'_>> = vec![
            ("f32", timed(what, plain, &x, &targets)),
            ("stride", timed(what, gaps, &with_gaps, &targets)),
        ];
        if rows % 16 == 0 {
            calls.push(("axis, 16 inside", timed(what, axis(16), &x, &targets)));
            calls.push(("axis, all inside", timed(what, axis(rows), &x, &targets)));
        } else {
            calls.push(("axis, 16 inside", Box::new(|| ())));
            calls.push(("axis, all inside", timed(what, axis(rows), &x, &targets)));
        }
        #[cfg(feature = "half")]
        {
            use half::slice::HalfFloatSliceExt as _;
            let mut halves = vec![half::f16::ZERO; x.len()];
            halves.convert_from_f32_slice(&x);
            calls.push(("f16", timed(what, plain, &halves, &targets)));
            let mut halves = vec![half::bf16::ZERO; x.len()];
            halves.convert_from_f32_slice(&x);
            calls.push(("bf16", timed(what, plain, &halves, &targets)));
            calls.push((
                "bf16, axis, all inside",
                timed(what, axis(rows), &halves, &targets),
            ));
        }
        let mut copy = vec![0.0; x.len()];
        calls.push((
            "a copy of f32",
            Box::new(move || black_box(&mut copy).copy_from_slice(black_box(&x))),
        ));
        if i == 0 {
            let names: Vec<_> = calls[1..].iter().map(|(name, _)| *name).collect();
            println!("{name}: nanoseconds per element, and parts of that time (measured twice)\n");
            println!("| rows x classes | f32 | {} |", names.join(" | "));
            println!("| --- |{}", " --- |".repeat(1 + names.len()));
        }
        let count = calls.len();
        let mut run = |who: usize| calls[who].1();
        let measured = [(); 2].map(|()| medians(count, time, &mut run));
        let part = |who: usize| {
            if who == SIXTEEN && rows % 16 != 0 {
                // There is no such place for them.
                return String::new();
            }
            let [a, b] = [0, 1].map(|i| measured[i][who] / measured[i][0]);
            format!("{a:.2}, {b:.2}")
        };
        let each = 1e9 * f64::midpoint(measured[0][0], measured[1][0]) / (rows * classes) as f64;
        let cells: Vec<_> = (1..measured[0].len()).map(part).collect();
        println!("| {rows} x {classes} | {each:.2} | {} |", cells.join(" | "));
    }
    println!();
}

/// The call, with copies of what it reads, and results of its own.
fn timed<'a, E: Element<Real = f32>>(
    what: What,
    shape: Shape,
    x: &[E],
    targets: &'a [u32],
) -> Box<dyn FnMut() + 'a> {
    let exec = Exec::new().serial();
    let (x, mut y) = (x.to_vec(), x.to_vec());
    match what {
        What::Softmax => Box::new(move || {
            exec.softmax(black_box(&x), shape, black_box(&mut y))
                .unwrap();
        }),
        What::LossAndGrad => Box::new(move || {
            let options = CrossEntropy::new().exec(exec);
            let loss = options.loss_and_grad(black_box(&x), shape, targets, black_box(&mut y));
            black_box(loss.unwrap());
        }),
        What::LogSumExp => {
            let mut results = vec![0.0; targets.len()];
            Box::new(move || {
                exec.logsumexp(black_box(&x), shape, black_box(&mut results))
                    .unwrap();
            })
        }
    }
}
