//! A batch of rows to run an operation over.

use super::shared::inputs::{self, Rng};
use super::shared::oracle;

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
        let rng = &mut Rng::new(0);
        let x = inputs::normal(rng, rows * classes, 0.0, 3.0);
        let each = |f: fn(&[f32]) -> Vec<f64>| {
            let rows = x.chunks(classes).flat_map(f);
            rows.map(|y| y as f32).collect()
        };
        Self {
            classes,
            probs: each(oracle::softmax),
            log_probs: each(oracle::log_softmax),
            targets: (0..rows).map(|_| rng.below(classes)).collect(),
            labels: x.iter().map(|_| rng.below(2) as f32).collect(),
            x,
        }
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
