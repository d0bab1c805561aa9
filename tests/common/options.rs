//! The options of cross-entropy, and those that tests combine.

use softlane::{CrossEntropy, Exec};

use super::bounds::Bound;
use super::inputs::Rng;

/// What is on.
#[derive(Clone, Debug)]
pub struct Options {
    pub scale: f64,
    pub smoothing: f64,
    pub z_loss: f64,
    pub normaliser: Option<f64>,
    pub weights: Option<Vec<f32>>,
    pub upstream: Option<Vec<f32>>,
}

impl Options {
    pub fn none() -> Self {
        Self {
            scale: 1.0,
            smoothing: 0.0,
            z_loss: 0.0,
            normaliser: None,
            weights: None,
            upstream: None,
        }
    }

    pub fn builder(&self, exec: Exec) -> CrossEntropy<'_> {
        let mut builder = CrossEntropy::new()
            .exec(exec)
            .logit_scale(self.scale)
            .label_smoothing(self.smoothing)
            .z_loss(self.z_loss);
        if let Some(divisor) = self.normaliser {
            builder = builder.normaliser(divisor);
        }
        if let Some(weights) = &self.weights {
            builder = builder.class_weights(weights);
        }
        if let Some(upstream) = &self.upstream {
            builder = builder.upstream_grad(upstream);
        }
        builder
    }

    pub fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[class].into())
    }

    /// Whether results are differences, or sums of unlike terms.
    pub fn mixes(&self) -> bool {
        self.smoothing != 0.0 || self.z_loss != 0.0
    }
}

/// The options that are combined, for so many classes and rows.
pub fn products(classes: usize, rows: usize, rng: &mut Rng) -> Vec<Options> {
    let mut products = vec![];
    for scale in [1.0, 0.37, 3.5, 1.0 / 1024.0, 40_000.0, 1e-9, 1e15] {
        for smoothing in [0.0, 0.1, 1.0] {
            for z_loss in [0.0, 1e-4, 0.7] {
                for has in 0..4 {
                    // Weights of 0 among them.
                    let weight = |rng: &mut Rng| {
                        if rng.below(5) == 0 {
                            0.0
                        } else {
                            rng.between(0.1, 8.0) as f32
                        }
                    };
                    let weights =
                        (has & 1 != 0).then(|| (0..classes).map(|_| weight(rng)).collect());
                    let upstream = |rng: &mut Rng| rng.between(-2.0, 2.0) as f32;
                    let upstream =
                        (has & 2 != 0).then(|| (0..rows).map(|_| upstream(rng)).collect());
                    let normaliser = rng.coin().then(|| rng.between(0.5, 100.0));
                    products.push(Options {
                        scale,
                        smoothing,
                        z_loss,
                        normaliser,
                        weights,
                        upstream,
                    });
                }
            }
        }
    }
    products
}

/// What a factor of the logits adds to the errors of a weight and of the sum: derived in `src/kernel/scale.rs`.
pub const SCALED: Bound = Bound {
    fused: 0.1,
    unfused: 0.4,
};

/// That of the textbook formula, in ULP of what errors count by: each `z` is off by half an ULP of itself twice, which is so much of
/// its weight; a sum of `n` terms by as many halves; what is left is rounded some ten times.
pub fn textbook(options: &Options, x: &[f32]) -> f64 {
    let finite = || x.iter().filter(|x| x.is_finite()).map(|&x| f64::from(x));
    let spread = finite().fold(f64::MIN, f64::max) - finite().fold(f64::MAX, f64::min);
    // What lies lower has no weight, but counts in the loss where that is smooth, by itself.
    let reach = (options.scale * spread).min(104.0);
    2.0 * reach + 2.0 * x.len() as f64 + 16.0
}
