//! How many times faster than the scalar path each backend is, as a Markdown table: the backends
//! take turns in one process, in random order, so that whatever else the machine does meets all of
//! them. Everything is measured twice, in about a minute.
//! `cargo bench --bench ratios -- softmax/1000` measures a part.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

mod common;
#[path = "common/processor.rs"]
mod processor;
#[path = "common/turns.rs"]
mod turns;

use std::hint::black_box;
use std::time::Duration;
use std::{env, thread};

use common::batch::Batch;
use common::{IN_CACHE, WORKLOADS};
use processor::processor;
use softlane::{Backend, Exec};
use turns::medians;

/// Operation, elements, classes.
type Work = (&'static str, usize, usize);

/// A way to execute, and what it is called.
type Contestant = (String, Backend, Exec);

/// Elements of a batch that no second-level cache holds.
const LARGE: usize = 4 * 1024 * 1024;

/// On one thread.
const SERIAL: [Work; 26] = [
    ("softmax", IN_CACHE, 2),
    ("softmax", IN_CACHE, 3),
    ("softmax", IN_CACHE, 10),
    ("softmax", IN_CACHE, 32),
    ("softmax", IN_CACHE, 64),
    ("softmax", IN_CACHE, 1000),
    ("softmax", IN_CACHE, 4096),
    ("softmax", IN_CACHE, 128_256),
    ("softmax", LARGE, 32768),
    ("log-softmax", IN_CACHE, 10),
    ("log-softmax", IN_CACHE, 1000),
    ("logsumexp", IN_CACHE, 10),
    ("logsumexp", IN_CACHE, 1000),
    ("softmax-backward", IN_CACHE, 10),
    ("softmax-backward", IN_CACHE, 1000),
    ("log-softmax-backward", IN_CACHE, 10),
    ("log-softmax-backward", IN_CACHE, 1000),
    ("cross-entropy", IN_CACHE, 10),
    ("cross-entropy", IN_CACHE, 1000),
    ("cross-entropy-grad", IN_CACHE, 10),
    ("cross-entropy-grad", IN_CACHE, 1000),
    ("binary-cross-entropy-grad", IN_CACHE, 10),
    ("exp", IN_CACHE, 4096),
    ("sigmoid", IN_CACHE, 4096),
    ("max", IN_CACHE, 4096),
    ("sum", IN_CACHE, 4096),
];

/// On one thread and on all.
const THREADED: [Work; 4] = [
    ("softmax", LARGE / 4, 1000),
    ("softmax", LARGE, 1000),
    ("cross-entropy-grad", LARGE / 4, 1000),
    ("cross-entropy-grad", LARGE, 1000),
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
    let wanted = |work: &[Work]| -> Vec<Work> {
        let id = |(name, _, classes): &Work| format!("{name}/{classes}");
        let is_wanted = |work: &&Work| filter.is_none_or(|filter| id(work).contains(filter));
        work.iter().filter(is_wanted).copied().collect()
    };

    let serial = Exec::new().serial();
    let backends: Vec<_> = Backend::available()
        .map(|backend| (backend.name().to_owned(), backend, serial.backend(backend)))
        .collect();
    let title = format!("{}, 1 thread", processor());
    table(&title, &wanted(&SERIAL), &backends, time);

    let threads = thread::available_parallelism().map_or(1, usize::from);
    let active = Backend::active().unwrap();
    let threads = [
        ("1 thread".to_owned(), active, serial),
        (format!("{threads} threads"), active, Exec::new()),
    ];
    let title = format!("Backend {}", active.name());
    table(&title, &wanted(&THREADED), &threads, time);
}

/// A row for each work; a column for a copy of the logits, and for each way to execute.
fn table(title: &str, works: &[Work], execs: &[Contestant], time: Duration) {
    if works.is_empty() {
        return;
    }
    let first = &execs[0].0;
    println!(
        "{title}: nanoseconds per element (how many times the speed of {first}, measured twice)\n"
    );
    let names: Vec<_> = execs.iter().map(|(name, ..)| name.as_str()).collect();
    println!(
        "| operation | rows x classes | copy | {} |",
        names.join(" | ")
    );
    println!("| --- | --- |{}", " --- |".repeat(1 + names.len()));
    for &(name, elements, classes) in works {
        let workload = WORKLOADS.iter().find(|w| w.name == name).unwrap();
        let rows = workload.rows(elements, classes);
        let batch = Batch::new(rows, classes);
        let mut memory = batch.memory();
        let y = batch.results(&mut memory);
        for &(_, backend, exec) in execs {
            workload.check(backend, exec, &batch, y);
        }
        let mut run = |who: usize| {
            let batch = black_box(&batch);
            match who.checked_sub(1) {
                None => black_box(&mut *y).copy_from_slice(&batch.x),
                Some(exec) => {
                    black_box((workload.run)(execs[exec].2, batch, y)).unwrap();
                }
            }
        };
        let measured = [(); 2].map(|()| medians(1 + execs.len(), time, &mut run));
        let cells: Vec<_> = (0..=execs.len())
            .map(|who| {
                let [a, b] = [0, 1].map(|i| measured[i][who]);
                let each = 1e9 * f64::midpoint(a, b) / (rows * classes) as f64;
                match who {
                    0 | 1 => format!("{each:.2}"),
                    _ => format!(
                        "{each:.2} ({:.1}, {:.1})",
                        measured[0][1] / a,
                        measured[1][1] / b
                    ),
                }
            })
            .collect();
        println!("| {name} | {rows} x {classes} | {} |", cells.join(" | "));
    }
    println!();
}
