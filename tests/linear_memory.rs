//! The loss of a linear layer allocates no more than its budget, on any number of threads.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peak_alloc::PeakAlloc;
use rayon::ThreadPoolBuilder;
use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes that a call allocates.
fn most(call: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    call();
    MEMORY.peak_usage() - before
}

// One test: the counts are of the whole process.
#[test]
fn no_more_is_allocated_than_the_budget() {
    for (rows, [classes, features]) in [
        (300, [1500, 300]),
        (70, [5, 3000]),
        (1000, [40, 20]),
        (65, [9000, 30]),
    ] {
        let size = [classes, features];
        let (x, w) = (
            vec![0.5_f32; rows * features],
            vec![0.25_f32; classes * features],
        );
        let b = vec![0.0_f32; classes];
        let targets: Vec<usize> = (0..rows).map(|row| row % classes).collect();
        let probs = vec![0.5_f32; rows * classes];
        let (mut dx, mut dw, mut db) = (x.clone(), w.clone(), b.clone());
        for threads in [1, 2, 3] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let mut run = |budget: usize, soft: bool| {
                let layer = LinearCrossEntropy::new(CrossEntropy::new())
                    .bias(&b)
                    .budget(budget);
                let grads = LinearGrads::new()
                    .inputs(&mut dx)
                    .weights(&mut dw)
                    .bias(&mut db);
                pool.install(|| {
                    most(|| {
                        let loss = if soft {
                            layer.loss_and_grads(&x, &w, size, &probs, grads)
                        } else {
                            layer.loss_and_grads(&x, &w, size, &targets, grads)
                        };
                        assert!(loss.unwrap().is_finite());
                    })
                })
            };
            // The first calls make what threads keep.
            run(1 << 30, false);
            run(1 << 30, true);
            for soft in [false, true] {
                let least = if soft {
                    LinearCrossEntropy::<f32>::least_budget::<f32>(size)
                } else {
                    LinearCrossEntropy::<f32>::least_budget::<usize>(size)
                };
                for budget in [least, least + (2 << 20), 2 * least, 1 << 30] {
                    let held = run(budget, soft);
                    println!("{rows} rows, {size:?}, {threads} threads: {held} of {budget}");
                    assert!(held <= budget, "{held} of {budget}");
                    // The count counts: logits of 64 rows are there.
                    assert!(held >= 4 * classes * rows.min(64));
                }
            }
        }
    }
}
