//! What the options of the losses cost: the time of loss and gradient with each of them as part of that without any, as Markdown tables. All take turns in one
//! process, in random order, on one thread. `SOFTLANE_BACKEND` chooses the backend.

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
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Exec, RowOutputs};
use turns::medians;

/// Elements of a batch that a second-level cache holds, with targets and results.
const ELEMENTS: usize = 64 * 1024;

/// A call that is timed, and what it is called.
type Timed<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Makes the calls of a table, each with a slice for its results.
type Calls = for<'a> fn(&'a Inputs, Vec<&'a mut [f32]>) -> Vec<Timed<'a>>;

/// All that the calls read.
struct Inputs {
    classes: usize,
    x: Vec<f32>,
    targets: Vec<usize>,
    /// One for each element, and for each class.
    probs: Vec<f32>,
    ignored: Vec<bool>,
    weights: Vec<f32>,
    /// One for each row.
    upstream: Vec<f32>,
}

impl Inputs {
    fn new(classes: usize) -> Self {
        let (rows, mut rng) = (ELEMENTS / classes, Rng::new(1));
        let elements = rows * classes;
        Self {
            classes,
            x: inputs::normal(&mut rng, elements, 0.0, 3.0),
            targets: (0..rows).map(|_| rng.below(classes)).collect(),
            probs: (0..elements).map(|_| rng.uniform() as f32).collect(),
            ignored: (0..elements).map(|_| rng.below(8) == 0).collect(),
            weights: (0..classes).map(|_| rng.between(0.5, 2.0) as f32).collect(),
            upstream: (0..rows).map(|_| rng.between(0.5, 2.0) as f32).collect(),
        }
    }
}

fn main() {
    // As criterion has it: with `--test`, or without `--bench` (`cargo test`), see that it runs.
    let options: Vec<String> = env::args().skip(1).collect();
    let has = |name| options.iter().any(|option| option == name);
    let (time, classes): (_, &[usize]) = if has("--bench") && !has("--test") {
        (
            Duration::from_millis(1500),
            &[2, 10, 64, 100, 1000, 4096, 32_768],
        )
    } else {
        (Duration::ZERO, &[10])
    };
    println!(
        "{}, {}, 1 thread\n",
        processor(),
        Backend::active().unwrap().name()
    );
    let tables: [(&str, usize, Calls); 3] = [
        (
            "Loss and gradient, as parts of the time without options",
            9,
            gradients,
        ),
        ("Losses of rows, as parts of their time alone", 7, losses),
        (
            "Binary loss and gradient, as parts of the time without options",
            6,
            binary,
        ),
    ];
    for (title, count, calls) in tables {
        table(title, count, calls, classes, time);
    }
}

/// A row for each number of classes, a column for each call but the first: its time as part of that of the first, measured twice.
fn table(title: &str, count: usize, calls: Calls, classes: &[usize], time: Duration) {
    for (i, &classes) in classes.iter().enumerate() {
        let inputs = Inputs::new(classes);
        let mut memory = vec![vec![0.0; inputs.x.len()]; count];
        let results = memory.iter_mut().map(Vec::as_mut_slice).collect();
        let mut calls = calls(&inputs, results);
        if i == 0 {
            let names: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
            println!("{title}:\n\n| classes | {} |", names.join(" | "));
            println!("| --- |{}", " --- |".repeat(names.len()));
        }
        let count = calls.len();
        let mut run = |who: usize| (calls[who].1)();
        let [a, b] = [(); 2].map(|()| medians(count, time, &mut run));
        let rows = inputs.targets.len();
        let alone = 1e9 * f64::midpoint(a[0], b[0]) / (rows * classes) as f64;
        let parts = (1..count).map(|who| format!("{:.2}, {:.2}", a[who] / a[0], b[who] / b[0]));
        let cells: Vec<_> = parts.collect();
        println!("| {classes} | {alone:.2} ns | {} |", cells.join(" | "));
    }
    println!();
}

fn gradients<'a>(inputs: &'a Inputs, results: Vec<&'a mut [f32]>) -> Vec<Timed<'a>> {
    let plain = CrossEntropy::new().exec(Exec::new().serial());
    let weights = plain.class_weights(&inputs.weights);
    let all = weights
        .logit_scale(0.7)
        .label_smoothing(0.1)
        .z_loss(1e-4)
        .upstream_grad(&inputs.upstream);
    let options = [
        ("none", plain),
        ("class weights", weights),
        ("logit scale", plain.logit_scale(0.7)),
        ("z-loss", plain.z_loss(1e-4)),
        ("upstream gradients", plain.upstream_grad(&inputs.upstream)),
        ("smoothing", plain.label_smoothing(0.1)),
        ("all of these", all),
        // The normaliser saves the pass over the targets for the divisor.
        ("a distribution", plain.normaliser(1.0)),
        ("a distribution, all", all.normaliser(1.0)),
    ];
    let call =
        |((name, loss), grad): ((&'static str, CrossEntropy<'a>), &'a mut [f32])| -> Timed<'a> {
            let Inputs {
                classes,
                x,
                targets,
                probs,
                ..
            } = inputs;
            let is_soft = name.starts_with("a distribution");
            (
                name,
                Box::new(move || {
                    let x = black_box(x);
                    let returned = if is_soft {
                        loss.loss_and_grad(x, *classes, probs, grad)
                    } else {
                        loss.loss_and_grad(x, *classes, targets, grad)
                    };
                    black_box(returned.unwrap());
                }),
            )
        };
    options.into_iter().zip(results).map(call).collect()
}

fn losses<'a>(inputs: &'a Inputs, results: Vec<&'a mut [f32]>) -> Vec<Timed<'a>> {
    type Make = for<'b> fn(&'b mut [f32], &'b mut [usize]) -> RowOutputs<'b>;
    let makes: [(&'static str, Make); 5] = [
        ("losses alone", |y, _| RowOutputs::new().losses(y)),
        ("log-sum-exps", |y, _| RowOutputs::new().log_sum_exps(y)),
        ("log-probabilities", |y, _| RowOutputs::new().log_probs(y)),
        ("largest classes", |_, best| RowOutputs::new().argmax(best)),
        ("entropies", |y, _| RowOutputs::new().entropies(y)),
    ];
    let Inputs {
        classes,
        x,
        targets,
        probs,
        ..
    } = inputs;
    let (loss, rows) = (
        CrossEntropy::new().exec(Exec::new().serial()),
        targets.len(),
    );
    let mut results = results.into_iter();
    let mut calls: Vec<Timed<'a>> = vec![];
    for ((name, make), y) in makes.into_iter().zip(results.by_ref()) {
        let mut best = vec![0; rows];
        calls.push((
            name,
            Box::new(move || {
                let outputs = make(&mut y[..rows], &mut best);
                black_box(
                    loss.loss_with(black_box(x), *classes, targets, outputs)
                        .unwrap(),
                );
            }),
        ));
    }
    for (y, normaliser) in results.zip([1.0, 0.0]) {
        let name = if normaliser > 0.0 {
            "a distribution"
        } else {
            "a distribution, mean"
        };
        let loss = if normaliser > 0.0 {
            loss.normaliser(normaliser)
        } else {
            loss
        };
        calls.push((
            name,
            Box::new(move || {
                let outputs = RowOutputs::new().losses(&mut y[..rows]);
                black_box(
                    loss.loss_with(black_box(x), *classes, probs, outputs)
                        .unwrap(),
                );
            }),
        ));
    }
    calls
}

fn binary<'a>(inputs: &'a Inputs, results: Vec<&'a mut [f32]>) -> Vec<Timed<'a>> {
    let plain = BinaryCrossEntropy::new().exec(Exec::new().serial());
    let weights = plain.pos_weights(&inputs.weights);
    let options = [
        ("none", plain),
        ("weights of yes", weights),
        ("label weights", plain.label_weights(&inputs.weights)),
        ("smoothing", plain.label_smoothing(0.1)),
        ("ignored elements", plain.ignore_mask(&inputs.ignored)),
        (
            "all of these",
            weights
                .label_weights(&inputs.weights)
                .label_smoothing(0.1)
                .ignore_mask(&inputs.ignored),
        ),
    ];
    let call = |((name, loss), grad): ((&'static str, BinaryCrossEntropy<'a>), &'a mut [f32])| -> Timed<'a> {
        let Inputs { classes, x, probs, .. } = inputs;
        (name, Box::new(move || {
            black_box(loss.loss_and_grad(black_box(x), *classes, probs, grad).unwrap());
        }))
    };
    options.into_iter().zip(results).map(call).collect()
}
