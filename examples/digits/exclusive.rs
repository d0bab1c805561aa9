//! Classes that exclude each other: which of the ten digits an image shows, by softmax regression.

use std::error::Error;

use softlane::{CrossEntropy, Reduction};

use crate::data::{DIGITS, Images};
use crate::linear::Linear;

/// Trains one softmax over the ten digits.
pub fn train(
    images: &Images,
    watch: impl FnMut(usize, f32, &Linear) -> Result<(), Box<dyn Error>>,
) -> Result<Linear, Box<dyn Error>> {
    let loss = CrossEntropy::new().reduction(Reduction::Sum);
    let loss_and_grad = |x: &mut [f32]| loss.loss_and_grad_in_place(x, DIGITS, &images.digits);
    // The second derivative is `diag p - p p'`, whose eigenvalues are at most 1/2.
    Linear::train(images, DIGITS, 0.5, loss_and_grad, watch)
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
