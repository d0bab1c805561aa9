//! Softmax, log-softmax, log-sum-exp and fused softmax cross-entropy for rows of floats: accurate
//! to the last bits, the same bits on every fused-multiply-add instruction set and any number of
//! threads, and at the speed of the vector units.
//!
//! ```
//! use softlane::CrossEntropy;
//!
//! let logits = [1.0_f32, 2.0, 3.0, /* second row */ 1.0, 0.0, -1.0];
//!
//! let mut probs = [0.0; 6];
//! softlane::softmax(&logits, 3, &mut probs)?;
//! assert_eq!(probs[2], 0.66524094);
//!
//! let mut grad = [0.0; 6];
//! let loss = CrossEntropy::new().loss_and_grad(&logits, 3, &[2_u8, 0], &mut grad)?;
//! assert_eq!(loss, 0.40760598);
//! # Ok::<(), softlane::Error>(())
//! ```
//!
//! | to | call |
//! | --- | --- |
//! | turn rows of logits into probabilities | [`softmax`], [`softmax_in_place`] |
//! | ... into log-probabilities, or one number a row | [`log_softmax`], [`log_softmax_in_place`], [`logsumexp`] |
//! | train or score a classifier whose classes exclude each other | [`CrossEntropy`] |
//! | ... and score rows, or find the likeliest class, the entropy | [`CrossEntropy::loss_with`], [`RowOutputs`] |
//! | ... by its features and weights, without ever holding all logits | `LinearCrossEntropy` (feature `linear`) |
//! | ... whose labels do not | [`BinaryCrossEntropy`], [`sigmoid`] |
//! | propagate a gradient through a softmax | [`softmax_backward`], [`log_softmax_backward`] |
//! | have a row in pieces, or its classes on several machines | [`RowState`] |
//! | work on a slice | [`exp`], [`max`], [`sum`] |
//! | choose the instruction set, or stay on one thread | [`Exec`], [`Backend`] |
//! | scale, mask, or give a sink to rows of attention scores | [`Softmax`] |
//! | choose what a fully masked row becomes | [`Softmax`], [`MaskedRows`] |
//!
//! Batches are row-major slices: `classes` logits a row, one row after the other; or rows that lie otherwise ([`Shape`]). Elements are [`f32`],
//! or 16-bit floats ([`Element`]). Every operation
//! returns a `Result`, checks lengths before it writes, and allocates nothing (the first call reads the
//! environment; a batch that is spread over threads allocates a little to call them; so do long rows that have to be copied, of which those along an axis are long
//! beyond 1024 classes ([`Shape`]); and `LinearCrossEntropy` has a budget).
//!
//! # The mathematics
//!
//! **Softmax** turns `k` real logits `x` into probabilities of `k` classes that exclude each other:
//!
//! ```text
//! p_i = e^x_i / S,    S = sum_j e^x_j
//! ```
//!
//! Adding a constant to all logits changes nothing, so any reference may be subtracted; and
//! log-sum-exp, `ln S`, is what log-probabilities are measured from: `ln p_i = x_i - ln S`.
//!
//! **Cross-entropy** measures probabilities against a target distribution `t`:
//!
//! ```text
//! L = -sum_i t_i ln p_i = ln S - sum_i t_i x_i        (as sum_i t_i = 1)
//! ```
//!
//! For one target class, `L = -ln p_t`.
//!
//! **Its gradient is `p - t`.** In the second form only `ln S` needs the chain rule:
//!
//! ```text
//! d ln S / dx_i = (1 / S) dS / dx_i = e^x_i / S = p_i
//! d (sum_j t_j x_j) / dx_i = t_i
//! dL / dx_i = p_i - t_i
//! ```
//!
//! For one target class that is `p_i` for every other class and `p_t - 1` at the target. The
//! gradient costs the exponentials that the loss needs anyway, so [`CrossEntropy`] gives both in
//! one go.
//!
//! **Softmax regression** is `x = W f + b` for a feature vector `f`, trained with this gradient:
//! `dL/dW` is the outer product of `p - t` and `f`, and `dL/db` is `p - t`.
//!
//! **The backward pass** of softmax alone, for a gradient `g = dL/dp`, and of log-softmax, for a
//! gradient `g = dL/d ln p`:
//!
//! ```text
//! dp_j / dx_i = p_j ([i = j] - p_i),    dL/dx_i = p_i (g_i - sum_j p_j g_j)
//! d ln p_j / dx_i = [i = j] - p_i,      dL/dx_i = g_i - p_i sum_j g_j
//! ```
//!
//! # One softmax, or k independent logistic classifiers?
//!
//! One softmax over `k` classes, if exactly one of them is true of every example: which digit is
//! this? Its probabilities add up to 1, so evidence for one class is evidence against the others.
//!
//! `k` logistic classifiers, if any number of labels may be true at once: is the digit even? prime?
//! at least 5? Each label has a probability of its own, the sigmoid of its logit, and a loss of its
//! own:
//!
//! ```text
//! s(x) = 1 / (1 + e^-x)
//! L = -t ln s(x) - (1 - t) ln s(-x),    dL / dx = s(x) - t
//! ```
//!
//! A softmax over such labels must share one unit of probability among those that are true, and
//! cannot say "none". With two exclusive classes the two are the same: the softmax of `[x, y]` is
//! the sigmoid of their difference, `p = s(x - y)`. The example `digits` trains both on the same
//! images.
//!
//! # How the numbers are kept right
//!
//! The usual formula rounds `x - max` first, and the exponential magnifies that: half an ULP of the
//! difference is up to 64 ULP of the probability. Here the exponential is taken of `x` itself, as
//! `2^n e^r` with an integer `n` (a table makes `r` small), and the row's reference enters as an
//! integer `N`: the weight of an element is `2^(n - N) e^r`, whose scaling is exact. No rounding
//! depends on the reference.
//!
//! The sum is one of weights before they are rounded. So the error of a probability, in units of
//! 2^-24 (an ULP, where its mantissa is near 2), has these parts at most:
//!
//! | part | units | from |
//! | --- | --- | --- |
//! | its weight, against those in the sum | 1.24 | all arguments, `all_weights_are_accurate` in `kernel/shift.rs` |
//! | the addition of the weights, of up to 64 classes | 0.37 | derived in `kernel/total.rs` |
//! | the addition of the weights, of more than 64 classes | 0.19 | derived in `kernel/running.rs` |
//! | the last rounding | 0.5 | |
//! | together, in almost every row of finite logits | 2.2 | |
//! | a correction, if the largest probability is near a power of two | 0.71 | derived in `kernel/weights.rs` |
//! | **together, in every row of finite logits** | **2.9** | |
//! | below 2^-122, where a product is rounded as a subnormal number | 0.5 more | |
//!
//! The sum alone enters a log-probability, a log-sum-exp and a loss, with 0.55 units, and the
//! logarithm is taken in `f64`: with two roundings that is 1.6 ULP, with one 0.8 (of `max(|result|,
//! 1)`) and 1.1.
//!
//! Measured errors are in the README: of a probability, below 2 ULP for every kind of row.
//!
//! **The bounds that this documentation states are those of the backends whose multiply-add is
//! fused** ([`Backend::is_fused`]). Without, a weight is good to 1.8 units and the sum is one of
//! rounded weights, so a probability is good to 4.7 (5.2 below 2^-122); the README has the measured
//! errors. The scalar path has the errors of the usual formula.
//!
//! What is near 1 is computed from what is missing to 1: the loss of a confident row is `ln(1 +
//! others / w_t)` and its target gradient `-others / S`, where `others` is the sum of the weights
//! without the target, never a difference.
//!
//! # Element types
//!
//! Rows are of `f32`, of 16-bit floats that are computed as such ([`Element`]), or with the feature `f64` of `f64`; all functions take any of them, but for
//! [`RowState`], which has no `f64`. The numbers in this documentation are those of `f32`. The kernels are the same for `f64`, with constants of its own, and so are the bounds, in ULP of `f64`: a unit is 2^-53, 2^-122 is 2^-969, and where
//! sums of a row, and what is done once a row, are taken in `f64`, they are pairs of `f64` then, of some 100 bits. Errors against arithmetic of 192 bits are in `tests/f64.rs`.
//!
//! There is no wider type for the ends of the range of `f64`. Where `f32` has the right result, `f64` may overflow: in
//! sums over a row or batch, in the square of a log-sum-exp, and in the difference of two logits before it is multiplied by a scale,
//! a class weight or a share. The backward passes lose what products of probabilities and gradients have below 2^-1022; sums from 2^960 on are not as
//! accurate there where multiply-add is not fused.
//!
//! # The environment
//!
//! All this assumes the default floating-point environment: rounding to nearest, subnormal numbers
//! not flushed. C code that was linked with `-ffast-math` may change that for the whole process.
//!
//! # The same bits
//!
//! A row's result does not depend on the number of threads, on the batch that it is in, on the
//! alignment of its slice, on whether it is computed in place, nor on which instruction set with
//! fused multiply-add computes it ([`Backend::is_fused`]). Sixteen lanes, chunks of 4096 elements
//! and a fixed binary tree over the chunks make the order of additions a matter of the number of
//! classes alone; parts of a row that begin at multiples of a chunk come together to the same ones ([`RowState`]). The portable backend without fused multiply-add (SSE2, wasm) and the scalar path
//! give bits of their own.
//!
//! # How it is built
//!
//! A call goes straight down. Six files lead `softmax` from its public function to the instruction:
//! `softmax.rs` (arguments), `kernel/softmax.rs` and `kernel/row.rs` (the passes over a row), `kernel/weights.rs`
//! with `kernel/shift.rs`, `kernel/running.rs` and `kernel/total.rs` (weights and their sum), `simd/avx2.rs` (the instructions). Short rows go sixteen
//! at a time, by `kernel/block.rs` or `kernel/abreast.rs`. Between the first two, a line each hands the call on: `batch.rs` checks shapes, `operations.rs` lists the kernels,
//! `exec.rs`, `parallel.rs` (rows), `shared.rs` (one row) and `helpers.rs` choose threads, `tile.rs` copies rows that are not dense `f32` ones (by `lines.rs`) to
//! where they are, `backend.rs` enters the instruction set.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod backend;
mod backward;
#[expect(
    unsafe_code,
    reason = "batches are pointers: source and destination may be one"
)]
mod batch;
mod binary_cross_entropy;
mod cross_entropy;
mod element;
mod elementwise;
mod error;
mod exec;
#[cfg(feature = "rayon")]
#[expect(
    unsafe_code,
    reason = "threads of a pool are lent what the caller has borrowed"
)]
mod helpers;
mod kernel;
#[cfg(feature = "linear")]
mod linear;
#[cfg(feature = "linear")]
mod linear_cross_entropy;
#[expect(unsafe_code, reason = "rows to copy are pointers")]
mod lines;
mod logsumexp;
mod operations;
mod options;
#[expect(unsafe_code, reason = "memory that is not initialised")]
mod output;
mod outputs;
#[cfg(feature = "rayon")]
mod parallel;
#[expect(unsafe_code, reason = "memory that is not initialised")]
mod partly;
mod reduce;
mod row_state;
#[expect(
    unsafe_code,
    reason = "rows are pointers: source and destination may be one"
)]
mod rows;
#[cfg(feature = "std")]
mod scalar;
mod shape;
#[cfg(feature = "rayon")]
mod shared;
#[expect(
    unsafe_code,
    reason = "tokens prove instruction sets; loads and stores"
)]
mod simd;
mod softmax;
mod targets;
#[expect(unsafe_code, reason = "kernels see copies for as long as these last")]
mod tile;

pub use backend::Backend;
pub use backward::{
    log_softmax_backward, log_softmax_backward_in_place, softmax_backward,
    softmax_backward_in_place,
};
pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::{CrossEntropy, EmptyMean, Reduction};
pub use element::{Element, Real};
pub use elementwise::{exp, exp_in_place, sigmoid, sigmoid_in_place};
pub use error::{BackendName, Error};
pub use exec::Exec;
pub use kernel::MaskedRows;
#[cfg(feature = "linear")]
pub use linear_cross_entropy::{LinearCrossEntropy, LinearGrads};
pub use logsumexp::logsumexp;
pub use output::Output;
pub use outputs::RowOutputs;
pub use reduce::{max, sum};
pub use row_state::RowState;
pub use shape::Shape;
pub use softmax::{Softmax, log_softmax, log_softmax_in_place, softmax, softmax_in_place};
pub use targets::Target;

/// Runs the examples of the README as tests.
#[cfg(all(doctest, feature = "half"))]
#[doc = include_str!("../README.md")]
struct Readme;
