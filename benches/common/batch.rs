//! A batch of rows to run an operation over.

use super::oracle;

/// Elements of a page.
const PAGE: usize = 4096 / size_of::<f32>();

/// Logits, and everything that some operation takes besides.
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
}

impl Batch {
    pub fn new(rows: usize, classes: usize) -> Self {
        let mut random = Random::new();
        let x: Vec<f32> = (0..rows * classes)
            .map(|_| 3.0 * random.normal() as f32)
            .collect();
        let mut batch = Self {
            classes,
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

    /// Memory to take [`Batch::results`] from.
    pub fn memory(&self) -> Vec<f32> {
        vec![0.0; self.x.len() + PAGE]
    }

    /// Room for results, half a page further than the logits as far as places within a page go.
    /// Some processors tell loads from stores by that place alone, and take those just behind a
    /// store for conflicts; a copy can take ten times as long.
    pub fn results<'a>(&self, memory: &'a mut [f32]) -> &'a mut [f32] {
        let place = |x: &[f32]| x.as_ptr().addr() / size_of::<f32>() % PAGE;
        let start = (place(&self.x) + PAGE / 2 + PAGE - place(memory)) % PAGE;
        &mut memory[start..start + self.x.len()]
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
