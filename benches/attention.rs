//! What the options of softmax cost, as Markdown tables: how many times longer each takes than softmax without options, or than its
//! backward pass; beside them, rows without options that have `-inf`, or probability 0, where the boolean mask hides a class. All of
//! them take turns in one process, in random order, on one thread. Everything is measured twice, in about a minute. `SOFTLANE_BACKEND` names the backend; `cargo bench --bench attention -- forward` measures a part.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

#[allow(dead_code, reason = "operations without options are timed elsewhere")]
mod common;
#[path = "common/processor.rs"]
mod processor;
#[path = "common/turns.rs"]
mod turns;

use std::env;
use std::hint::black_box;
use std::time::Duration;

use common::IN_CACHE;
use common::batch::Batch;
use processor::processor;
use softlane::{Backend, Error, Exec, Softmax};
use turns::medians;

/// Rows and classes, which a second-level cache holds: a causal batch sees half of its elements.
const SHAPES: [(usize, usize); 5] = [(6550, 10), (1024, 64), (256, 256), (64, 1024), (16, 4096)];

type Call = fn(Softmax<'_>, &Batch, &mut [f32]) -> Result<(), Error>;

/// What is called, and what the tables are of.
const CALLS: [(&str, Call); 4] = [
    ("forward", |softmax, b, y| softmax.probs(&b.x, b.classes, y)),
    ("log-forward", |softmax, b, y| {
        softmax.log_probs(&b.x, b.classes, y)
    }),
    ("backward", |softmax, b, y| {
        softmax.probs_backward(&b.probs, &b.x, b.classes, y)
    }),
    ("log-backward", |softmax, b, y| {
        softmax.log_probs_backward(&b.log_probs, &b.x, b.classes, y)
    }),
];

fn main() {
    // As criterion has it: with `--test`, or without `--bench` (`cargo test`), see that it runs.
    let options: Vec<String> = env::args().skip(1).collect();
    let has = |name| options.iter().any(|option| option == name);
    let time = if has("--bench") && !has("--test") {
        Duration::from_millis(1200)
    } else {
        Duration::ZERO
    };
    let filter = options.iter().find(|option| !option.starts_with('-'));
    let active = Backend::active().unwrap();
    println!("{}, backend {}, 1 thread\n", processor(), active.name());
    for (name, call) in CALLS {
        if filter.is_none_or(|filter| filter == name) {
            table(name, call, time);
        }
    }
}

fn table(name: &str, call: Call, time: Duration) {
    let names = [
        "scale",
        "mask",
        "scale and mask",
        "boolean mask",
        "-inf instead",
        "causal",
        "sinks",
        "all",
    ];
    println!("{name}: nanoseconds per element, and parts of that time (measured twice)\n");
    println!("| rows x classes | none | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(1 + names.len()));
    for (rows, classes) in SHAPES {
        let batch = Batch::new(rows, classes);
        let mut memory = batch.memory();
        let y = batch.results(&mut memory);
        let queries = rows.min(classes);
        let offset = (classes - queries) / 2;
        // A row of the masks for each query, the same for all heads; every other class takes part, in no order.
        let mask = &batch.labels[..queries * classes];
        let flags: Vec<bool> = mask.iter().map(|&label| label > 0.0).collect();
        let sinks = vec![1.0; rows / queries];
        let plain = Softmax::new().exec(Exec::new().serial());
        let scaled = plain.logit_scale(0.125);
        let contestants = [
            plain,
            scaled,
            plain.mask(mask),
            scaled.mask(mask),
            plain.bool_mask(&flags),
            plain,
            plain.causal(queries, offset),
            plain.sinks(&sinks, queries),
            scaled
                .mask(mask)
                .bool_mask(&flags)
                .causal(queries, offset)
                .sinks(&sinks, queries),
        ];
        let mut hidden = Batch::new(rows, classes);
        for i in (0..rows * classes).filter(|i| !flags[i % flags.len()]) {
            // Backward, these are gradients.
            if name.ends_with("forward") {
                hidden.x[i] = f32::NEG_INFINITY;
            }
            hidden.probs[i] = 0.0;
            hidden.log_probs[i] = f32::NEG_INFINITY;
        }
        let instead = names.iter().position(|&name| name == "-inf instead");
        let mut run = |who: usize| {
            let is_hidden = who.checked_sub(1) == instead;
            let batch = black_box(if is_hidden { &hidden } else { &batch });
            call(contestants[who], batch, black_box(&mut *y)).unwrap();
        };
        let measured = [(); 2].map(|()| medians(contestants.len(), time, &mut run));
        let part = |who: usize| {
            let [a, b] = [0, 1].map(|i| measured[i][who] / measured[i][0]);
            format!("{a:.2}, {b:.2}")
        };
        let each = 1e9 * f64::midpoint(measured[0][0], measured[1][0]) / batch.x.len() as f64;
        let cells: Vec<_> = (1..contestants.len()).map(part).collect();
        println!("| {rows} x {classes} | {each:.2} | {} |", cells.join(" | "));
    }
    println!();
}

const _: () = assert!(SHAPES[0].0 * SHAPES[0].1 <= IN_CACHE);
