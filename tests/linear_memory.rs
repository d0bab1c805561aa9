//! The loss of a linear layer allocates no more than its budget, on any number of threads.
#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use peak_alloc::PeakAlloc;
use rayon::ThreadPoolBuilder;
use softlane::{CrossEntropy, Element, LinearCrossEntropy, LinearGrads, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes that a call allocates.
fn most(call: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    call();
    MEMORY.peak_usage() - before
}

/// A layer, and what of it is measured.
struct Layer<E> {
    rows: usize,
    size: [usize; 2],
    number: fn(f32) -> E,
}

impl<E: Element<Real = f32> + Target<E>> Layer<E> {
    /// The most bytes that a call on so many threads allocates, with this budget; with distributions as targets, if it is `soft`.
    fn held(&self, threads: usize, budget: Option<usize>, soft: bool) -> usize {
        let (rows, [classes, features]) = (self.rows, self.size);
        let some = |count: usize, x: f32| vec![(self.number)(x); count];
        let (x, w) = (some(rows * features, 0.5), some(classes * features, 0.25));
        let (b, probs) = (some(classes, 0.0), some(rows * classes, 0.5));
        let targets: Vec<usize> = (0..rows).map(|row| row % classes).collect();
        let [mut dx, mut dw, mut db] = [x.len(), w.len(), classes].map(|len| vec![0.0; len]);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut run = |budget: Option<usize>| {
                let layer = LinearCrossEntropy::new(CrossEntropy::new()).bias(&b);
                let layer = budget.map_or(layer, |bytes| layer.budget(bytes));
                let grads = LinearGrads::new()
                    .inputs(&mut dx)
                    .weights(&mut dw)
                    .bias(&mut db);
                most(|| {
                    let loss = if soft {
                        layer.loss_and_grads(&x, &w, self.size, &probs, grads)
                    } else {
                        layer.loss_and_grads(&x, &w, self.size, &targets, grads)
                    };
                    assert!(loss.unwrap().is_finite());
                })
            };
            // The first call makes what threads keep.
            run(None);
            run(budget)
        })
    }

    fn check(&self) {
        for threads in [1, 2, 3] {
            for soft in [false, true] {
                let least = if soft {
                    LinearCrossEntropy::<E>::least_budget::<E>(self.size)
                } else {
                    LinearCrossEntropy::<E>::least_budget::<usize>(self.size)
                };
                for budget in [least, least + (2 << 20), 2 * least, 1 << 30] {
                    let (rows, size) = (self.rows, self.size);
                    let held = self.held(threads, Some(budget), soft);
                    println!("{rows} rows, {size:?}, {threads} threads: {held} of {budget}");
                    assert!(held <= budget, "{held} of {budget}");
                    // The count counts: logits of 64 rows are there.
                    assert!(held >= 4 * self.size[0] * self.rows.min(64));
                }
                let default = (128 << 20) + threads * least;
                assert!(self.held(threads, None, soft) <= default);
            }
        }
    }
}

// One test: the counts are of the whole process.
#[test]
fn no_more_is_allocated_than_the_budget() {
    for (rows, size) in [
        (300, [1500, 300]),
        (70, [5, 3000]),
        (1000, [40, 20]),
        (65, [9000, 30]),
    ] {
        let number = |x: f32| x;
        Layer { rows, size, number }.check();
        #[cfg(feature = "half")]
        let number = half::bf16::from_f32;
        #[cfg(feature = "half")]
        Layer { rows, size, number }.check();
    }
}
