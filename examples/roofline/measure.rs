//! The speed of every operation on every backend, and of the limits.

use std::hint::black_box;
use std::time::Duration;

use softlane::{Backend, Exec};

use crate::common::batch::Batch;
use crate::common::{IN_CACHE, WORKLOADS, Workload};
use crate::limits::LIMITS;
use crate::progress::Progress;
use crate::turns::medians;

/// Bytes of a cache line.
const LINE: usize = 64;

/// How much is measured.
#[derive(Debug)]
pub struct Mode {
    pub classes: &'static [usize],
    /// For each operation at each class count.
    pub time: Duration,
}

/// A speed, in elements per nanosecond, at each class count.
pub type Speeds = Vec<f64>;

/// An operation on each backend: over batches of rows of so many classes, or over one slice of as many elements.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub speeds: Vec<Speeds>,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Measured {
    pub classes: &'static [usize],
    /// Slowest first.
    pub backends: Vec<&'static str>,
    /// In batches as large as those of the operations.
    pub limits: Vec<Speeds>,
    pub operations: Vec<Operation>,
}

impl Measured {
    pub fn new(mode: &Mode) -> Self {
        let backends: Vec<_> = Backend::available().collect();
        let steps = mode.classes.len() * (1 + WORKLOADS.len());
        let progress = Progress::new(steps as u64);
        let mut measured = Self {
            classes: mode.classes,
            backends: backends.iter().map(|backend| backend.name()).collect(),
            limits: vec![Speeds::new(); LIMITS.len()],
            operations: WORKLOADS
                .iter()
                .map(|workload| Operation {
                    name: workload.name,
                    speeds: vec![Speeds::new(); backends.len()],
                })
                .collect(),
        };
        for &classes in mode.classes {
            let batch = Batch::new((IN_CACHE / classes).max(1), classes);
            progress.next("limits", classes);
            append(&mut measured.limits, limits(&batch, mode.time));
            for (workload, operation) in WORKLOADS.iter().zip(&mut measured.operations) {
                progress.next(workload.name, classes);
                let slice = (workload.rows(2, 1) == 1).then(|| Batch::new(1, classes));
                let batch = slice.as_ref().unwrap_or(&batch);
                append(
                    &mut operation.speeds,
                    speeds(workload, &backends, batch, mode.time),
                );
            }
        }
        measured.level();
        measured
    }

    /// Takes as a limit of all batches of one size what the luckiest of them reached. Where their
    /// pages happen to lie in the caches makes a quarter of a copy's speed.
    fn level(&mut self) {
        let same = self.classes.partition_point(|&classes| classes <= IN_CACHE);
        for line in &mut self.limits {
            let best = line[..same].iter().copied().fold(0.0, f64::max);
            line[..same].fill(best);
        }
    }
}

/// Adds another class count.
fn append(lines: &mut [Speeds], speeds: Vec<f64>) {
    for (line, speed) in lines.iter_mut().zip(speeds) {
        line.push(speed);
    }
}

/// Of as much memory as the batch and its results take.
fn limits(batch: &Batch, time: Duration) -> Vec<f64> {
    let mut memory = batch.memory();
    let y = batch.results(&mut memory);
    y.copy_from_slice(&batch.x);
    // From the start of a cache line in both, wherever the batch lies: stores that cross from one
    // line to the next make two thirds of the speed.
    let start = batch.x.as_ptr().align_offset(LINE);
    let (x, y) = (&batch.x[start..], &mut y[start..]);
    let seconds = medians(LIMITS.len(), time, |who| {
        (LIMITS[who].run)(black_box(x), black_box(&mut *y));
    });
    per_nanosecond(x.len(), seconds)
}

/// On each backend, after its results are compared with the exact ones.
fn speeds(workload: &Workload, backends: &[Backend], batch: &Batch, time: Duration) -> Vec<f64> {
    let serial = Exec::new().serial();
    let mut memory = batch.memory();
    let y = batch.results(&mut memory);
    for &backend in backends {
        workload.check(backend, serial.backend(backend), batch, y);
    }
    let seconds = medians(backends.len(), time, |who| {
        let exec = serial.backend(backends[who]);
        black_box((workload.run)(exec, black_box(batch), y)).unwrap();
    });
    per_nanosecond(batch.x.len(), seconds)
}

fn per_nanosecond(elements: usize, seconds: Vec<f64>) -> Vec<f64> {
    let per_second = seconds.into_iter().map(|s| elements as f64 / s);
    per_second.map(|speed| speed / 1e9).collect()
}
