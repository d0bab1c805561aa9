//! How fast softlane and other libraries are, side by side, as a Markdown table: all of them take
//! turns in one process, in random order, each on one thread. Everything is measured twice.
//! Six minutes; `-- softmax/1000` measures a part, `--quick` takes half a minute.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

mod burn;
mod call;
mod candle;
#[path = "../../../../common/mod.rs"]
mod common;
mod rten;
#[cfg(test)]
mod tests;
mod tract;
#[path = "../../../../common/turns.rs"]
mod turns;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use call::{Call, PEERS, boxed};
use common::batch::Batch;
use common::{IN_CACHE, WORKLOADS, Workload};
use indicatif::{ProgressBar, ProgressStyle};
use softlane::{Backend, Exec};
use softlane_peers::about;
use turns::medians;

const CLASSES: [usize; 7] = [3, 10, 64, 1000, 4096, 32768, 128_256];

/// Elements of a batch that no second-level cache holds.
const LARGE: usize = 4 * 1024 * 1024;

/// Operations over rows, and over one slice.
const ROWS: [&str; 5] = [
    "softmax",
    "log-softmax",
    "logsumexp",
    "cross-entropy",
    "cross-entropy-grad",
];
const SLICES: [&str; 4] = ["exp", "sigmoid", "max", "sum"];

/// An operation over a batch of so many elements and classes.
struct Work {
    operation: &'static str,
    elements: usize,
    classes: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, filters): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|x| x.starts_with('-'));
    if let Some(flag) = flags.iter().find(|&flag| flag != "--quick") {
        return Err(format!("{flag}: the only option is --quick").into());
    }
    let time = Duration::from_millis(if flags.is_empty() { 3000 } else { 50 });
    let works: Vec<_> = works().filter(|work| work.is_wanted(&filters)).collect();
    if works.is_empty() {
        return Err("no operation has such a name: softmax/1000 is one".into());
    }
    // candle has threads of its own besides rayon's.
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: no other thread is there yet.
        unsafe { env::set_var(name, "1") };
    }
    // From inside its only thread, rayon calls without waking another.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| report(&works, time))?;
    Ok(())
}

fn works() -> impl Iterator<Item = Work> {
    let work = |operation, elements, classes| Work {
        operation,
        elements,
        classes,
    };
    let rows = ROWS.into_iter().flat_map(move |operation| {
        let in_cache = CLASSES.map(|classes| work(operation, IN_CACHE, classes));
        in_cache.into_iter().chain([work(operation, LARGE, 32768)])
    });
    let slices = SLICES.into_iter().flat_map(move |operation| {
        [1000, IN_CACHE, LARGE].map(|length| work(operation, length, length))
    });
    rows.chain(slices)
}

impl Work {
    fn id(&self) -> String {
        format!("{}/{}", self.operation, self.classes)
    }

    fn is_wanted(&self, filters: &[String]) -> bool {
        let id = self.id();
        filters.is_empty() || filters.iter().any(|filter| id.contains(filter))
    }
}

/// The table, a row for each work, and what one must know to read it.
fn report(works: &[Work], time: Duration) -> Result<(), softlane::Error> {
    let backend = Backend::active()?;
    println!(
        "{}, 1 thread: nanoseconds per element (time divided by softlane's, measured twice)\n",
        about::processor()
    );
    let names = PEERS.map(|peer| peer.name).join(" | ");
    println!("| operation | rows x classes | copy | softlane | {names} |");
    println!("| --- | --- | --- | --- |{}", " --- |".repeat(PEERS.len()));
    let style = ProgressStyle::with_template("{msg:25} {bar:40} {pos}/{len}  {eta} left");
    // Draws nothing unless on a terminal.
    let bar = ProgressBar::new(works.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for work in works {
        bar.set_message(work.id());
        let line = line(work, backend, time);
        bar.suspend(|| println!("{line}"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!(
        "
Every side has one thread, and finds its logits in the form that it takes them in. \"Copy\" is a
copy of the logits. A blank is an operation that a library does not have.

- softlane, backend `{}`, one call: writes into memory of the caller. `cross-entropy` is the mean
  loss, `cross-entropy-grad` is that and its gradient.",
        backend.name()
    );
    for peer in PEERS {
        println!(
            "- {} {}: {}",
            peer.name,
            about::version(peer.package),
            peer.note
        );
    }
    Ok(())
}

/// A row of the table.
fn line(work: &Work, backend: Backend, time: Duration) -> String {
    let workload = named(work.operation);
    let rows = workload.rows(work.elements, work.classes);
    let batch = Batch::new(rows, work.classes);
    let mut memory = batch.memory();
    let y = batch.results(&mut memory);
    let exec = Exec::new().serial().backend(backend);
    workload.check(backend, exec, &batch, y);

    let copy = boxed(|y| y.copy_from_slice(&batch.x));
    let softlane = boxed(|y| _ = black_box((workload.run)(exec, &batch, y)).unwrap());
    let peers = PEERS.map(|peer| (peer.call)(work.operation, &batch));
    let columns: Vec<_> = [Some(copy), Some(softlane)]
        .into_iter()
        .chain(peers)
        .collect();
    let calls: Vec<(usize, &dyn Call)> = columns
        .iter()
        .enumerate()
        .filter_map(|(column, call)| Some((column, call.as_deref()?)))
        .collect();
    let measured = [(); 2].map(|()| medians(calls.len(), time, |who| calls[who].1.run(y)));

    let mut cells = vec![String::new(); columns.len()];
    for (who, &(column, _)) in calls.iter().enumerate() {
        let [a, b] = [0, 1].map(|i| measured[i][who]);
        let each = 1e9 * f64::midpoint(a, b) / (rows * work.classes) as f64;
        // The first two are the copy and softlane.
        cells[column] = match who {
            0 | 1 => format!("{each:.2}"),
            _ => format!(
                "{each:.2} ({:.1}, {:.1})",
                a / measured[0][1],
                b / measured[1][1]
            ),
        };
    }
    format!(
        "| {} | {rows} x {} | {} |",
        work.operation,
        work.classes,
        cells.join(" | ")
    )
}

fn named(operation: &str) -> Workload {
    let named = WORKLOADS.into_iter().find(|work| work.name == operation);
    named.unwrap()
}
