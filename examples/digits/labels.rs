//! Labels that do not exclude each other: four of them, by independent logistic classifiers, and by
//! softmax to show that it is the wrong choice here.

use std::error::Error;

use ndarray::{Array1, ArrayView1};
use softlane::{BinaryCrossEntropy, CrossEntropy, Reduction};

use crate::data::Images;
use crate::linear::{Linear, of_logits};

/// The number of labels.
pub const LABELS: usize = 4;
/// Their names.
pub const NAMES: [&str; LABELS] = ["even", "at least 5", "prime", "closed loop"];

/// Which labels a digit has: an 8 three of them, a 1 none.
pub fn labels_of(digit: u8) -> [bool; LABELS] {
    [
        digit.is_multiple_of(2),
        digit >= 5,
        matches!(digit, 2 | 3 | 5 | 7),
        matches!(digit, 0 | 6 | 8 | 9),
    ]
}

/// Trains a logistic classifier for each label.
pub fn train_logistic(
    images: &Images,
    watch: impl FnMut(usize, f32, &Linear) -> Result<(), Box<dyn Error>>,
) -> Result<Linear, Box<dyn Error>> {
    let labels = targets(images);
    let loss = BinaryCrossEntropy::new().reduction(Reduction::Sum);
    let loss_and_grad = |x: &mut [f32]| loss.loss_and_grad_in_place(x, LABELS, &labels);
    // The second derivative is `p (1 - p)`.
    Linear::train(images, LABELS, 0.25, of_logits(loss_and_grad), watch)
}

/// The labels of every image, row by row, as the numbers 0 and 1.
pub fn targets(images: &Images) -> Vec<f32> {
    let labels = images.digits.iter().flat_map(|&digit| labels_of(digit));
    labels.map(|label| f32::from(u8::from(label))).collect()
}

/// Trains one softmax over the labels, as if they were classes: every label that an image has is
/// its target once.
pub fn train_softmax(
    images: &Images,
    watch: impl FnMut(usize, f32, &Linear) -> Result<(), Box<dyn Error>>,
) -> Result<Linear, Box<dyn Error>> {
    const NONE: u8 = u8::MAX;
    let targets: [Vec<u8>; LABELS] = std::array::from_fn(|label| {
        let target = |digit: &u8| {
            if labels_of(*digit)[label] {
                label as u8
            } else {
                NONE
            }
        };
        images.digits.iter().map(target).collect()
    });
    let loss = CrossEntropy::new()
        .reduction(Reduction::Sum)
        .ignore_index(Some(NONE.into()));
    let loss_and_grad = |x: &mut [f32]| {
        let (mut sum, mut grads) = (0.0, Array1::zeros(x.len()));
        let mut grad = vec![0.0; x.len()];
        for targets in &targets {
            sum += loss.loss_and_grad(x, LABELS, targets, &mut grad)?;
            grads += &ArrayView1::from(&grad);
        }
        x.iter_mut().zip(grads).for_each(|(x, grad)| *x = grad);
        Ok(sum)
    };
    // No digit has more than three labels, and the loss of each bends by 1/2 at most.
    Linear::train(images, LABELS, 1.5, of_logits(loss_and_grad), watch)
}

/// The probability of each label of each image, by four sigmoids.
pub fn logistic_probs(model: &Linear, images: &Images) -> Result<Vec<f32>, softlane::Error> {
    let mut x = model.logits(images);
    softlane::sigmoid_in_place(&mut x)?;
    Ok(x)
}

/// The probability of each label of each image, by one softmax.
pub fn softmax_probs(model: &Linear, images: &Images) -> Result<Vec<f32>, softlane::Error> {
    let mut x = model.logits(images);
    softlane::softmax_in_place(&mut x, LABELS)?;
    Ok(x)
}

/// How often an answer is right.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    /// Each label by itself.
    pub labels: [f32; LABELS],
    /// All labels of an image at once.
    pub all: f32,
}

/// How often it is right to say that an image has the labels with a probability of `cut` or more.
pub fn accuracy(probs: &[f32], images: &Images, cut: f32) -> Accuracy {
    let (mut labels, mut all) = ([0; LABELS], 0);
    for (probs, &digit) in probs.chunks(LABELS).zip(&images.digits) {
        let mut every = true;
        for ((p, has), count) in probs.iter().zip(labels_of(digit)).zip(&mut labels) {
            let right = (*p >= cut) == has;
            *count += usize::from(right);
            every &= right;
        }
        all += usize::from(every);
    }
    let share = |count: usize| count as f32 / images.digits.len() as f32;
    Accuracy {
        labels: labels.map(share),
        all: share(all),
    }
}

/// The cut, in hundredths, that makes all labels right most often.
pub fn best_cut(probs: &[f32], images: &Images) -> f32 {
    let all = |cut: &f32| accuracy(probs, images, *cut).all;
    let cuts = (1..100).map(|hundredths| hundredths as f32 / 100.0);
    cuts.max_by(|a, b| all(a).total_cmp(&all(b))).unwrap_or(0.5)
}

/// The mean probability of each label over the images of a digit, if there are any.
pub fn mean_probs(probs: &[f32], images: &Images, digit: u8) -> Option<[f32; LABELS]> {
    let (mut sums, mut count) = ([0.0; LABELS], 0.0);
    for (probs, _) in probs
        .chunks(LABELS)
        .zip(&images.digits)
        .filter(|(_, d)| **d == digit)
    {
        sums.iter_mut().zip(probs).for_each(|(sum, p)| *sum += p);
        count += 1.0;
    }
    (count > 0.0).then(|| sums.map(|sum: f32| sum / count))
}
