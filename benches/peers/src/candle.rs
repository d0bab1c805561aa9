//! The tensor operations of `candle-core` and `candle-nn` on the processor.
#![expect(clippy::missing_errors_doc, reason = "all are the library's own")]

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::{loss, ops};

/// Of every element.
pub fn exp(x: &[f32]) -> Result<Vec<f32>> {
    slice(x)?.exp()?.to_vec1()
}

/// Of every element.
pub fn sigmoid(x: &[f32]) -> Result<Vec<f32>> {
    ops::sigmoid(&slice(x)?)?.to_vec1()
}

/// Of a slice.
pub fn max(x: &[f32]) -> Result<f32> {
    slice(x)?.max_all()?.to_scalar()
}

/// Of a slice.
pub fn sum(x: &[f32]) -> Result<f32> {
    slice(x)?.sum_all()?.to_scalar()
}

/// Of every row.
pub fn softmax(x: &[f32], classes: usize) -> Result<Vec<f32>> {
    values(&ops::softmax_last_dim(&rows(x, classes)?)?)
}

/// Of every row.
pub fn log_softmax(x: &[f32], classes: usize) -> Result<Vec<f32>> {
    values(&ops::log_softmax(&rows(x, classes)?, D::Minus1)?)
}

/// Of every row.
pub fn logsumexp(x: &[f32], classes: usize) -> Result<Vec<f32>> {
    rows(x, classes)?.log_sum_exp(D::Minus1)?.to_vec1()
}

/// The mean over the rows.
pub fn cross_entropy(x: &[f32], classes: usize, targets: &[u32]) -> Result<f32> {
    loss::cross_entropy(&rows(x, classes)?, &indices(targets)?)?.to_scalar()
}

/// The gradient of the mean, by its backward pass.
pub fn cross_entropy_gradient(x: &[f32], classes: usize, targets: &[u32]) -> Result<Vec<f32>> {
    let targets = indices(targets)?;
    gradient(x, classes, |x| loss::cross_entropy(x, &targets))
}

/// The mean over the elements.
pub fn binary_cross_entropy(x: &[f32], classes: usize, labels: &[f32]) -> Result<f32> {
    loss::binary_cross_entropy_with_logit(&rows(x, classes)?, &rows(labels, classes)?)?.to_scalar()
}

/// The gradient of the mean, by its backward pass.
pub fn binary_cross_entropy_gradient(
    x: &[f32],
    classes: usize,
    labels: &[f32],
) -> Result<Vec<f32>> {
    let labels = rows(labels, classes)?;
    gradient(x, classes, |x| {
        loss::binary_cross_entropy_with_logit(x, &labels)
    })
}

fn slice(x: &[f32]) -> Result<Tensor> {
    Tensor::from_slice(x, x.len(), &Device::Cpu)
}

fn rows(x: &[f32], classes: usize) -> Result<Tensor> {
    Tensor::from_slice(x, (x.len() / classes, classes), &Device::Cpu)
}

fn indices(targets: &[u32]) -> Result<Tensor> {
    Tensor::from_slice(targets, targets.len(), &Device::Cpu)
}

fn values(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all()?.to_vec1()
}

/// Of a loss, with respect to the logits.
fn gradient(
    x: &[f32],
    classes: usize,
    loss: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Vec<f32>> {
    let x = Var::from_tensor(&rows(x, classes)?)?;
    let gradients = loss(&x)?.backward()?;
    values(gradients.get(&x).unwrap_or(&x.zeros_like()?))
}
