//! Classes that exclude each other: which of the ten digits an image shows, by softmax regression.

use std::error::Error;

use ndarray::Array2;
use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads, Reduction};

use crate::data::{DIGITS, Images};
use crate::linear::{Linear, of_logits};

/// A bound of the second derivative, `diag p - p p'`: its eigenvalues are at most 1/2.
const CURVATURE: f32 = 0.5;

/// Trains one softmax over the ten digits.
pub fn train(
    images: &Images,
    watch: impl FnMut(usize, f32, &Linear) -> Result<(), Box<dyn Error>>,
) -> Result<Linear, Box<dyn Error>> {
    let loss = CrossEntropy::new().reduction(Reduction::Sum);
    let loss_and_grad = |x: &mut [f32]| loss.loss_and_grad_in_place(x, DIGITS, &images.digits);
    Linear::train(images, DIGITS, CURVATURE, of_logits(loss_and_grad), watch)
}

/// Trains the same model by a loss that takes the products with features and weights itself, and never holds all logits.
pub fn train_fused(
    images: &Images,
    watch: impl FnMut(usize, f32, &Linear) -> Result<(), Box<dyn Error>>,
) -> Result<Linear, Box<dyn Error>> {
    let layer = LinearCrossEntropy::new(CrossEntropy::new().reduction(Reduction::Sum));
    let loss_and_grad = |features: &Array2<f32>, weights: &Array2<f32>| {
        let (rows, w) = (features.as_slice(), weights.as_slice());
        let (rows, w) = rows.zip(w).ok_or("features or weights not row by row")?;
        let mut grad = vec![0.0; w.len()];
        let (size, grads) = (weights.dim().into(), LinearGrads::new().weights(&mut grad));
        let loss = layer.loss_and_grads(rows, w, size, &images.digits, grads)?;
        Ok((loss, Array2::from_shape_vec(weights.dim(), grad)?))
    };
    Linear::train(images, DIGITS, CURVATURE, loss_and_grad, watch)
}

/// The share of images whose likeliest digit is the right one.
pub fn accuracy(model: &Linear, images: &Images) -> f32 {
    let logits = model.logits(images);
    let right = logits
        .chunks(DIGITS)
        .zip(&images.digits)
        .filter(|(x, digit)| {
            let likeliest = (0..DIGITS).max_by(|&i, &j| x[i].total_cmp(&x[j]));
            likeliest == Some(usize::from(**digit))
        });
    right.count() as f32 / images.digits.len() as f32
}

/// The mean of `-ln p` of the right digit.
pub fn log_loss(model: &Linear, images: &Images) -> Result<f32, softlane::Error> {
    CrossEntropy::new().loss(&model.logits(images), DIGITS, &images.digits)
}
