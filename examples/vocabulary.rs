//! Softmax regression with 50 000 classes, in a budget of memory that the logits would not fit into: the loss of the layer turns some
//! rows of them after the other into gradients.
//!
//! ```text
//! cargo run --release --features linear --example vocabulary
//! ```
//!
//! The data are made up: words as rare as those of a language, each with a direction of its own, and contexts that are these with noise.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peak_alloc::PeakAlloc;
use softlane::{Backend, CrossEntropy, LinearCrossEntropy, LinearGrads, RowOutputs};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const WORDS: usize = 50_000;
const FEATURES: usize = 128;
/// Rows of a step: their logits would take 195 MiB, as would their gradients.
const ROWS: usize = 1024;
const STEPS: usize = 40;
/// Bytes that the loss may allocate.
const BUDGET: usize = 32 << 20;
/// How much of a feature is noise.
const NOISE: f32 = 0.5;
const STEP_SIZE: f32 = 300.0;
const MIB: f64 = (1 << 20) as f64;

/// Numbers that look random, the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From 0 to 1.
    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// A feature: mean 0, and 1 in the square.
    fn feature(&mut self) -> f32 {
        (self.uniform() - 0.5) * 12_f32.sqrt()
    }

    /// A word: the logarithm of its rank is uniform, so that its frequency falls as the inverse of the rank.
    fn word(&mut self) -> usize {
        let rank = (WORDS as f32).powf(self.uniform());
        #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
        let rank = rank as usize;
        rank.clamp(1, WORDS) - 1
    }
}

/// The directions of the words.
fn directions() -> Vec<f32> {
    let mut random = Random(1);
    (0..WORDS * FEATURES).map(|_| random.feature()).collect()
}

/// Fills some rows with contexts of words, and returns the words.
fn contexts(random: &mut Random, directions: &[f32], rows: &mut [f32]) -> Vec<u32> {
    let rows = rows.chunks_mut(FEATURES);
    let word = |row: &mut [f32]| {
        let word = random.word();
        let length = (FEATURES as f32).sqrt();
        for (to, direction) in row.iter_mut().zip(&directions[word * FEATURES..]) {
            *to = (direction + NOISE * random.feature()) / length;
        }
        word as u32
    };
    rows.map(word).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = stdout();
    let all = (ROWS * WORDS * size_of::<f32>()) as f64 / MIB;
    writeln!(
        out,
        "softlane, backend {}: softmax regression, {WORDS} words, {FEATURES} features, {ROWS} contexts a step ({all:.0} MiB of logits)",
        Backend::active()?.name()
    )?;
    let directions = directions();
    let (mut w, mut b) = (vec![0.0; WORDS * FEATURES], vec![0.0; WORDS]);
    let (mut dw, mut db) = (w.clone(), b.clone());
    let (mut x, mut random) = (vec![0.0; ROWS * FEATURES], Random(2));
    let (size, mut extra) = ([WORDS, FEATURES], 0);
    let mut extra_of =
        |before: usize| extra = MEMORY.peak_usage().saturating_sub(before).max(extra);

    let bar = ProgressBar::with_draw_target(Some(STEPS as u64), ProgressDrawTarget::stdout());
    bar.set_style(ProgressStyle::with_template("   {bar:20} {msg}")?);
    let mut seconds = 0.0;
    for step in 1..=STEPS {
        let words = contexts(&mut random, &directions, &mut x);
        let layer = LinearCrossEntropy::new(CrossEntropy::new())
            .bias(&b)
            .budget(BUDGET);
        let grads = LinearGrads::new().weights(&mut dw).bias(&mut db);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        let loss = layer.loss_and_grads(&x, &w, size, &words, grads)?;
        seconds += start.elapsed().as_secs_f64();
        extra_of(before);
        for (parameters, grads) in [(&mut w, &dw), (&mut b, &db)] {
            for (parameter, grad) in parameters.iter_mut().zip(grads) {
                *parameter -= STEP_SIZE * grad;
            }
        }
        let rate = (step * ROWS) as f64 / seconds;
        let state = format!("step {step:3}   loss {loss:.4}   {rate:.0} contexts/s");
        if !bar.is_hidden() {
            bar.set_message(state);
            bar.set_position(step as u64);
        } else if step == 1 || step.is_multiple_of(10) {
            writeln!(out, "   {state}")?;
        }
    }
    bar.abandon();

    let words = contexts(&mut Random(3), &directions, &mut x);
    let layer = LinearCrossEntropy::new(CrossEntropy::new())
        .bias(&b)
        .budget(BUDGET);
    let mut best = vec![0; ROWS];
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let loss = layer.loss_with(&x, &w, size, &words, RowOutputs::new().argmax(&mut best))?;
    extra_of(before);
    let right = best
        .iter()
        .zip(&words)
        .filter(|&(&best, &word)| best == word as usize)
        .count();
    let accuracy = right as f64 / ROWS as f64;
    writeln!(
        out,
        "new contexts: loss {loss:.4}, accuracy {accuracy:.3}, perplexity {:.0}",
        loss.exp()
    )?;
    let (extra, budget) = (extra as f64 / MIB, BUDGET as f64 / MIB);
    writeln!(
        out,
        "extra memory: {extra:.1} MiB of a budget of {budget:.1} MiB"
    )?;
    Ok(())
}
