//! Times every operation on every backend with criterion, at class counts from 2 to 128256:
//! `softmax/1000/avx2`. One thread; `softmax-threads` has all of them.
//!
//! A batch is as large as fits in the second-level cache, or one row if that is more; `exp`, `max`,
//! `sum` and `sigmoid` take one slice of that length instead of a batch.
//! Each result is compared with the exact one before it is timed.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::batch::Batch;
use common::{IN_CACHE, WORKLOADS, Workload};
use criterion::{BenchmarkId, Criterion, Throughput};
use softlane::{Backend, Exec};

const CLASSES: [usize; 7] = [2, 10, 64, 1000, 4096, 32768, 128_256];

/// Elements of a batch for all threads.
const LARGE: usize = 1024 * 1024;

fn main() {
    // For 400 of them (530 with AVX-512), 10 (13) minutes.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .nresamples(2_000)
        .configure_from_args();
    let serial = Exec::new().serial();
    for workload in WORKLOADS {
        group(&mut criterion, workload.name, workload, serial, IN_CACHE);
        if workload.name == "softmax" {
            group(
                &mut criterion,
                "softmax-threads",
                workload,
                Exec::new(),
                LARGE,
            );
        }
    }
    criterion.final_summary();
}

/// One operation, at every class count on every backend.
fn group(criterion: &mut Criterion, name: &str, workload: Workload, exec: Exec, elements: usize) {
    let mut group = criterion.benchmark_group(name);
    for classes in CLASSES {
        let rows = workload.rows(elements, classes);
        group.throughput(Throughput::Elements((rows * classes) as u64));
        for backend in Backend::available() {
            let exec = exec.backend(backend);
            let id = BenchmarkId::new(classes.to_string(), backend.name());
            // Made and checked when criterion runs it, which a filter may prevent.
            let mut made = None;
            group.bench_function(id, |bencher| {
                let (batch, memory) = made.get_or_insert_with(|| {
                    let batch = Batch::new(rows, classes);
                    let mut memory = batch.memory();
                    workload.check(backend, exec, &batch, batch.results(&mut memory));
                    (batch, memory)
                });
                let y = batch.results(memory);
                bencher.iter(|| (workload.run)(exec, black_box(batch), y));
            });
        }
    }
}
