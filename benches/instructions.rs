//! How many instructions every operation executes for an element, as a Markdown table: counted by callgrind, which knows no
//! AVX-512, so the same at every run. Takes five minutes. `cargo bench --bench instructions -- softmax` counts a part.
//!
//! A process of its own makes one call, and another one three: half of the difference is one call.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not counted")]

mod common;

use std::env;
use std::hint::black_box;
use std::process::Command;

use common::batch::Batch;
use common::{IN_CACHE, WORKLOADS, Workload};
use softlane::{Backend, Exec};

/// Elements of a batch.
const ELEMENTS: usize = IN_CACHE / 4;

/// Of a row, or of the slice of an operation on one. What is done once a row is most of the first.
const CLASSES: [usize; 3] = [10, 100, 1000];

const BACKENDS: [&str; 3] = ["scalar", "portable", "avx2"];

fn main() {
    let options: Vec<String> = env::args().skip(1).collect();
    if let [call, name, backend, classes, calls] = &options[..]
        && call == "--call"
    {
        return make(
            name,
            backend,
            classes.parse().unwrap(),
            calls.parse().unwrap(),
        );
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions are not counted: it takes valgrind");
        return;
    }
    // As criterion has it: with `--test`, or without `--bench` (`cargo test`), see that it runs.
    let has = |name| options.iter().any(|option| option == name);
    let is_test = has("--test") || !has("--bench");
    let filter = options.iter().find(|option| !option.starts_with('-'));
    let backends = BACKENDS.map(|name| Backend::named(name).ok());
    let backends: Vec<_> = backends.into_iter().flatten().collect();
    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    println!("| operation | classes | {} |", names.join(" | "));
    println!("| --- | --- |{}", " --- |".repeat(names.len()));
    let wanted = |w: &&Workload| filter.is_none_or(|filter| w.name.contains(filter.as_str()));
    let most = if is_test { 1 } else { usize::MAX };
    for workload in WORKLOADS.iter().filter(wanted).take(most) {
        for classes in CLASSES.into_iter().take(most) {
            let batch = Batch::new(workload.rows(ELEMENTS, classes), classes);
            let mut memory = batch.memory();
            let y = batch.results(&mut memory);
            for &backend in &backends {
                let exec = Exec::new().serial().backend(backend);
                workload.check(backend, exec, &batch, y);
            }
            let elements = batch.x.len() as f64;
            let cells = names.iter().map(|backend| {
                let [one, three] =
                    [1, 3].map(|calls| count(workload.name, backend, classes, calls));
                format!("{:.2}", (three - one) / 2.0 / elements)
            });
            let cells = cells.collect::<Vec<_>>().join(" | ");
            println!("| {} | {classes} | {cells} |", workload.name);
        }
    }
}

/// Instructions of a process that makes so many calls.
fn count(name: &str, backend: &str, classes: usize, calls: usize) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["--call", name, backend])
        .args([classes, calls].map(|number| number.to_string()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let (_, count) = text.split_once("Collected : ").unwrap();
    count.split_whitespace().next().unwrap().parse().unwrap()
}

/// Makes calls.
fn make(name: &str, backend: &str, classes: usize, calls: usize) {
    let workload = WORKLOADS.iter().find(|w| w.name == name).unwrap();
    let batch = Batch::new(workload.rows(ELEMENTS, classes), classes);
    let mut memory = batch.memory();
    let y = batch.results(&mut memory);
    let exec = Exec::new()
        .serial()
        .backend(Backend::named(backend).unwrap());
    for _ in 0..calls {
        black_box((workload.run)(exec, black_box(&batch), y)).unwrap();
    }
}
