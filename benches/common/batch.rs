//! A batch of rows to run an operation over.

use super::oracle;

/// Logits, everything that some operation takes besides, and room for results.
pub struct Batch {
    pub classes: usize,
    /// Logits: normal, of scale 3. They serve as gradients too.
    pub x: Vec<f32>,
    pub probs: Vec<f32>,
    pub log_probs: Vec<f32>,
    /// The class of each row.
    pub targets: Vec<usize>,
    /// A 0 or 1 for each logit.
    pub labels: Vec<f32>,
    /// What an operation writes; what it writes over, if it works in place.
    pub y: Vec<f32>,
}

impl Batch {
    pub fn new(rows: usize, classes: usize) -> Self {
        let mut random = Random::new();
        let x: Vec<f32> = (0..rows * classes)
            .map(|_| 3.0 * random.normal() as f32)
            .collect();
        let mut batch = Self {
            classes,
            y: x.clone(),
            labels: x.iter().map(|_| random.below(2) as f32).collect(),
            targets: (0..rows).map(|_| random.below(classes)).collect(),
            probs: Vec::new(),
            log_probs: Vec::new(),
            x,
        };
        batch.probs = rounded(&oracle::softmax(&batch));
        batch.log_probs = rounded(&oracle::log_softmax(&batch));
        batch
    }

    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.x.chunks(self.classes)
    }
}

/// Results of an operation that returns nothing.
fn rounded(exact: &[oracle::Exact]) -> Vec<f32> {
    let written = &exact[..exact.len() - 1];
    written.iter().map(|exact| exact.value as f32).collect()
}

/// Random numbers, always the same (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// An integer from 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Normally distributed (Box and Muller).
    fn normal(&mut self) -> f64 {
        let [u, v] = [(); 2].map(|()| (self.bits() >> 11) as f64 / (1_u64 << 53) as f64);
        (-2.0 * (1.0 - u).ln()).sqrt() * (core::f64::consts::TAU * v).cos()
    }
}
