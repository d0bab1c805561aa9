//! The model `x = W f + b`: the logits of an image from its features, and how it is trained.

use std::error::Error;

use ndarray::{Array2, s};

use crate::data::{Images, PIXELS};

/// Steps of a training run: enough for the loss to settle to the precision of `f32`.
pub const STEPS: usize = 500;

/// A trained model: a row of weights for each output. Its last column is the bias `b`: that of the feature that is always 1.
#[derive(Debug)]
pub struct Linear {
    weights: Array2<f32>,
}

/// What some weights come to: the loss, summed over the images, and its gradient with respect to the weights.
pub type LossAndGrad = Result<(f32, Array2<f32>), Box<dyn Error>>;

/// That of a loss which is one of logits: `loss_and_grad` takes those of all images, puts the gradient in their place, and
/// returns the loss.
pub fn of_logits(
    loss_and_grad: impl Fn(&mut [f32]) -> Result<f32, softlane::Error>,
) -> impl Fn(&Array2<f32>, &Array2<f32>) -> LossAndGrad {
    move |features, weights| {
        let mut logits = features.dot(&weights.t());
        let loss = loss_and_grad(logits.as_slice_mut().ok_or("logits not row by row")?)?;
        // They now hold the gradient.
        Ok((loss, logits.t().dot(features)))
    }
}

impl Linear {
    /// The logits of every image, row by row.
    pub fn logits(&self, images: &Images) -> Vec<f32> {
        images.features.dot(&self.weights.t()).into_iter().collect()
    }

    /// The model that minimises the loss of the images plus the penalty `|W|^2 / 2`: scikit-learn's
    /// `C = 1`.
    ///
    /// `loss_and_grad` takes the features of all images and the weights. `curvature` bounds the second
    /// derivative of an image's loss. `watch` sees every step: its number, the loss with the penalty,
    /// and the model after it.
    ///
    /// Gradient descent with Nesterov's momentum. The step is the inverse of a bound of the
    /// curvature, so it needs no tuning; the momentum starts anew when it leads uphill
    /// (O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015).
    pub fn train(
        images: &Images,
        outputs: usize,
        curvature: f32,
        loss_and_grad: impl Fn(&Array2<f32>, &Array2<f32>) -> LossAndGrad,
        mut watch: impl FnMut(usize, f32, &Self) -> Result<(), Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let features = &images.features;
        // No eigenvalue of F'F exceeds its Frobenius norm. The penalty adds a curvature of 1.
        let gram = features.t().dot(features);
        let step_size = 1.0 / (curvature * (&gram * &gram).sum().sqrt() + 1.0);

        let mut model = Self {
            weights: Array2::zeros((outputs, features.ncols())),
        };
        let mut ahead = model.weights.clone(); // where the momentum leads
        let mut run = 0.0; // steps since the momentum was 0
        for step in 1..=STEPS {
            let (mut loss, mut grad) = loss_and_grad(features, &ahead)?;

            let penalised = ahead.slice(s![.., ..PIXELS]); // all but the bias
            loss += 0.5 * (&penalised * &penalised).sum();
            let mut grad_of_penalised = grad.slice_mut(s![.., ..PIXELS]);
            grad_of_penalised += &penalised;

            let next = &ahead - &grad * step_size;
            let moved = &next - &model.weights;
            let uphill = (&grad * &moved).sum() > 0.0;
            run = if uphill { 0.0 } else { run + 1.0 };
            ahead = &next + moved * (run / (run + 3.0));
            model.weights = next;
            watch(step, loss, &model)?;
        }
        Ok(model)
    }
}
