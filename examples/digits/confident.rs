//! A confident row: the loss and the gradient at the target when its probability is nearly 1, by
//! the usual formula and by softlane.

use softlane::CrossEntropy;

/// By softlane.
pub fn softlane(logits: &[f32], target: usize) -> Result<(f32, f32), softlane::Error> {
    let mut grad = vec![0.0; logits.len()];
    let loss = CrossEntropy::new().loss_and_grad(logits, logits.len(), &[target], &mut grad)?;
    Ok((loss, grad[target]))
}

/// By the usual formula, in `f32`: `L = ln sum_j exp(x_j - max) - (x_t - max)`, `dL/dx_t = p_t - 1`.
/// The others are lost beside the target's 1 in the sum.
pub fn plain(logits: &[f32], target: usize) -> (f32, f32) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|x| (x - max).exp()).sum();
    let shifted = logits[target] - max;
    (sum.ln() - shifted, shifted.exp() / sum - 1.0)
}

/// The reference, in `f64` and without cancellation: with `o = sum_{j != t} exp(x_j - x_t)`,
/// `L = ln(1 + o)` and `dL/dx_t = -o / (1 + o)`.
pub fn exact(logits: &[f32], target: usize) -> (f64, f64) {
    let weight = |x: &f32| (f64::from(*x) - f64::from(logits[target])).exp();
    let others = logits[..target].iter().chain(&logits[target + 1..]);
    let others: f64 = others.map(weight).sum();
    (others.ln_1p(), -others / (1.0 + others))
}
