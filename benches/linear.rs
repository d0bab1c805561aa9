//! The loss of a linear layer with all its gradients: time, what of it the products take at the speed that they have by themselves, and memory.
//!
//! ```text
//! cargo bench --bench linear                          # two sizes of language models, at several budgets
//! cargo bench --bench linear -- 1024x768x50257 256    # rows x features x classes, and a budget in MiB: one line, of the best call
//! ```

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

use std::time::Instant;
use std::{env, fs};

use peak_alloc::PeakAlloc;
use rayon::ThreadPoolBuilder;
use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Rows, features, classes.
const SIZES: [[usize; 3]; 2] = [[1024, 768, 50_257], [2048, 512, 128_256]];
/// In MiB.
const BUDGETS: [usize; 4] = [64, 128, 256, 1024];
const MIB: usize = 1 << 20;

/// A layer with numbers that any will do.
struct Layer {
    size: [usize; 3],
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    targets: Vec<usize>,
    /// Written once, so that they are there.
    grads: [Vec<f32>; 3],
}

/// What a call takes.
struct Cost {
    seconds: f64,
    bytes: usize,
    loss: f32,
}

impl Layer {
    fn new(size: [usize; 3]) -> Self {
        let [rows, features, classes] = size;
        let some = |count: usize, scale: f32, seed: u64| -> Vec<f32> {
            let hash = |i: usize| {
                let x = (i as u64 + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (x ^ x >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
            };
            let number = |i: usize| scale * (hash(i) as f32 / 8_388_608.0 - 1.0);
            (0..count).map(number).collect()
        };
        Self {
            size,
            x: some(rows * features, 1.0, 1),
            w: some(classes * features, 0.2, 2),
            b: some(classes, 0.1, 3),
            targets: (0..rows).map(|row| row * 7919 % classes).collect(),
            grads: [rows * features, classes * features, classes].map(|len| vec![1.0; len]),
        }
    }

    fn run(&mut self, budget: usize) -> Cost {
        let [_, features, classes] = self.size;
        let [dx, dw, db] = &mut self.grads;
        let grads = LinearGrads::new().inputs(dx).weights(dw).bias(db);
        let layer = LinearCrossEntropy::new(CrossEntropy::new())
            .bias(&self.b)
            .budget(budget);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        let loss =
            layer.loss_and_grads(&self.x, &self.w, [classes, features], &self.targets, grads);
        Cost {
            seconds: start.elapsed().as_secs_f64(),
            bytes: MEMORY.peak_usage() - before,
            loss: loss.unwrap(),
        }
    }

    /// Operations of the three products.
    fn operations(&self) -> f64 {
        6.0 * self.size.iter().map(|&n| n as f64).product::<f64>()
    }
}

/// The seconds that the sweep over all rows takes by itself, of as many at a time.
fn sweep([rows, _, classes]: [usize; 3]) -> f64 {
    const PIECE: usize = 64;
    let mut x: Vec<f32> = (0..PIECE * classes)
        .map(|i| (i % 89) as f32 / 9.0)
        .collect();
    let targets = [1_usize; PIECE];
    let mut run = || {
        let start = Instant::now();
        for _ in 0..rows.div_ceil(PIECE) {
            CrossEntropy::new()
                .loss_and_grad_in_place(&mut x, classes, &targets)
                .unwrap();
        }
        start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| run()).fold(f64::MAX, f64::min)
}

/// Bytes of memory that this process holds, or has held at most.
fn resident(name: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(1024 * kibibytes)
}

/// The best of a few calls.
fn best(layer: &mut Layer, budget: usize) -> Cost {
    let runs = (0..2).map(|_| layer.run(budget));
    runs.min_by(|a, b| a.seconds.total_cmp(&b.seconds)).unwrap()
}

fn table() {
    println!(
        "| rows x features x classes | budget, MiB | held, MiB | threads | seconds | of these the sweep | GFLOP/s of the rest, the products |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for size in SIZES {
        let mut layer = Layer::new(size);
        for threads in [1, 2] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let sweep = pool.install(|| sweep(size));
            for budget in BUDGETS {
                let cost = pool.install(|| best(&mut layer, budget * MIB));
                let (held, rest) = (cost.bytes as f64 / MIB as f64, cost.seconds - sweep);
                let speed = layer.operations() / rest / 1e9;
                let [rows, features, classes] = size;
                println!(
                    "| {rows} x {features} x {classes} | {budget} | {held:.1} | {threads} | {:.2} | {sweep:.2} | {speed:.0} |",
                    cost.seconds
                );
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if env::args().any(|word| word == "--test") {
        // Once, without times: the loss is that of logits which are near 0.
        let loss = Layer::new([70, 16, 500]).run(16 * MIB).loss;
        assert!((loss - 500_f32.ln()).abs() < 1.0, "{loss}");
        return;
    }
    match &arguments[..] {
        [size, budget] => {
            let size: Vec<usize> = size.split('x').map(|n| n.parse().unwrap()).collect();
            let mut layer = Layer::new(size.try_into().unwrap());
            // Where there is the file: what is held of memory, by the system's count.
            let before = resident("VmRSS:");
            let cost = best(&mut layer, budget.parse::<usize>().unwrap() * MIB);
            let held = resident("VmHWM:")
                .zip(before)
                .map(|(most, before)| most - before);
            println!(
                "{} {} {}",
                cost.seconds,
                held.unwrap_or(cost.bytes),
                cost.loss
            );
        }
        _ => table(),
    }
}
