//! The calls of `candle-core` and `candle-nn`.

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::{loss, ops};

use crate::call::{Call, Peer, Values, boxed};
use crate::common::batch::Batch;

pub const PEER: Peer = Peer {
    name: "candle",
    package: "candle-core",
    note: "a call allocates the result and every intermediate tensor, and frees them. Its vectors
  are those of the compiler's target: SSE2, unless `RUSTFLAGS` say more. `cross-entropy-grad` is the
  loss and its backward pass.",
    call,
};

fn call<'a>(operation: &str, b: &'a Batch) -> Option<Box<dyn Call + 'a>> {
    let call: fn(&Tensor) -> Result<Tensor> = match operation {
        "exp" => Tensor::exp,
        "sigmoid" => ops::sigmoid,
        "max" => Tensor::max_all,
        "sum" => Tensor::sum_all,
        "softmax" => ops::softmax_last_dim,
        "log-softmax" => |x| ops::log_softmax(x, D::Minus1),
        "logsumexp" => |x| x.log_sum_exp(D::Minus1),
        "cross-entropy" => {
            let (x, targets) = (rows(b), targets(b));
            return Some(boxed(move |_| loss::cross_entropy(&x, &targets).unwrap()));
        }
        "cross-entropy-grad" => {
            let (x, targets) = (Var::from_tensor(&rows(b)).unwrap(), targets(b));
            return Some(boxed(move |_| {
                let loss = loss::cross_entropy(&x, &targets).unwrap();
                loss.backward().unwrap().remove(&x).unwrap()
            }));
        }
        _ => return None,
    };
    let x = rows(b);
    Some(boxed(move |_| call(&x).unwrap()))
}

impl Values for Tensor {
    fn values(self, _: &[f32]) -> Vec<f32> {
        self.flatten_all().unwrap().to_vec1().unwrap()
    }
}

fn rows(b: &Batch) -> Tensor {
    Tensor::from_slice(&b.x, (b.targets.len(), b.classes), &Device::Cpu).unwrap()
}

fn targets(b: &Batch) -> Tensor {
    let targets = b.targets.iter().map(|&target| target as u32);
    Tensor::from_iter(targets, &Device::Cpu).unwrap()
}
