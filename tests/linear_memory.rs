//! The loss of a linear layer allocates no more than its budget, on any number of threads.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rayon::ThreadPoolBuilder;
use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads};

/// Counts the bytes that there are, and the most that there have been.
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[global_allocator]
static MEMORY: Counting = Counting {
    now: AtomicUsize::new(0),
    most: AtomicUsize::new(0),
};

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = self.now.fetch_add(layout.size(), SeqCst) + layout.size();
        self.most.fetch_max(now, SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The most bytes that a call allocates.
fn most(call: impl FnOnce()) -> usize {
    let before = MEMORY.now.load(SeqCst);
    MEMORY.most.store(before, SeqCst);
    call();
    MEMORY.most.load(SeqCst) - before
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
                let layer = LinearCrossEntropy::<f32>::new(CrossEntropy::new());
                let least = if soft {
                    layer.least_budget::<f32>(size)
                } else {
                    layer.least_budget::<usize>(size)
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
