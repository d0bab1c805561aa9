//! The calls of `burn-tensor` on the backend of `burn-ndarray`.

use burn_autodiff::Autodiff;
use burn_ndarray::{NdArray, NdArrayDevice};
use burn_tensor::activation::{log_softmax, sigmoid, softmax};
use burn_tensor::backend::Backend;
use burn_tensor::{Int, Tensor, TensorData};

use crate::call::{Call, Peer, Values, boxed};
use crate::common::batch::Batch;

pub const PEER: Peer = Peer {
    name: "burn-ndarray",
    package: "burn-ndarray",
    note: "with its `simd`, without its `multi-threads`. A call allocates the result and every
  intermediate tensor, and frees them. `cross-entropy` is log-softmax, a gather and a mean;
  `cross-entropy-grad` is that and its backward pass.",
    call,
};

fn call<'a>(operation: &str, b: &'a Batch) -> Option<Box<dyn Call + 'a>> {
    let (x, targets) = (rows(b), targets(b));
    // A copy of a tensor is another handle to it.
    Some(match operation {
        "exp" => boxed(move |_| x.clone().exp()),
        "sigmoid" => boxed(move |_| sigmoid(x.clone())),
        "max" => boxed(move |_| x.clone().max()),
        "sum" => boxed(move |_| x.clone().sum()),
        "softmax" => boxed(move |_| softmax(x.clone(), 1)),
        "log-softmax" => boxed(move |_| log_softmax(x.clone(), 1)),
        "cross-entropy" => boxed(move |_| cross_entropy(x.clone(), targets.clone())),
        "cross-entropy-grad" => boxed(move |_| {
            let x = Tensor::<Autodiff<NdArray>, 2>::from_inner(x.clone()).require_grad();
            let targets = Tensor::from_inner(targets.clone());
            let mut gradients = cross_entropy(x.clone(), targets).backward();
            x.grad_remove(&mut gradients).unwrap()
        }),
        _ => return None,
    })
}

/// The mean over the rows.
fn cross_entropy<B: Backend>(x: Tensor<B, 2>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
    log_softmax(x, 1).gather(1, targets).mean().neg()
}

impl<const D: usize> Values for Tensor<NdArray, D> {
    fn values(self, _: &[f32]) -> Vec<f32> {
        self.into_data().to_vec().unwrap()
    }
}

fn rows(b: &Batch) -> Tensor<NdArray, 2> {
    let x = TensorData::new(b.x.clone(), [b.targets.len(), b.classes]);
    Tensor::from_data(x, &NdArrayDevice::Cpu)
}

fn targets(b: &Batch) -> Tensor<NdArray, 2, Int> {
    let targets = b.targets.iter().map(|&target| target as u32).collect();
    let targets = TensorData::new(targets, [b.targets.len(), 1]);
    Tensor::from_data(targets, &NdArrayDevice::Cpu)
}
