//! SIMD softmax kernels. (Placeholder until the README stands.)
#![cfg_attr(not(feature = "std"), no_std)]

mod backend;
mod backward;
mod binary_cross_entropy;
mod cross_entropy;
mod element;
mod elementwise;
mod error;
mod exec;
mod kernel;
mod logsumexp;
mod parallel;
mod reduce;
mod rows;
#[cfg(feature = "std")]
mod scalar;
mod simd;
mod softmax;
mod targets;

pub use backend::Backend;
pub use backward::{
    log_softmax_backward, log_softmax_backward_in_place, softmax_backward,
    softmax_backward_in_place,
};
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::{CrossEntropy, EmptyMean, Reduction};
pub use element::Element;
pub use elementwise::{exp, exp_in_place, sigmoid, sigmoid_in_place};
pub use error::{BackendName, Error};
pub use exec::Exec;
pub use kernel::MaskedRows;
pub use logsumexp::logsumexp;
pub use reduce::{max, sum};
pub use softmax::{Softmax, log_softmax, log_softmax_in_place, softmax, softmax_in_place};
pub use targets::Target;
