//! The functions of rows of `f32`. The test `header` derives those of the other types from this file: the element type is
//! written `f32`, and so is that of results, of which the name is `loss`, `lse`, `max` or `sum`.
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says what it asks for"
)]

use core::ptr::null;

use super::binary_cross_entropy;
use super::cross_entropy::{self, Batch};
use super::options::{
    softlane_binary_cross_entropy, softlane_cross_entropy, softlane_softmax_options,
};
use super::slices;
use super::softmax;
use super::status::softlane_status;

/// y[i] = exp(x[i]), of n elements, within 0.9 ULP, subnormal results included. -inf gives 0, +inf gives +inf, NaN gives NaN. y may be x.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_exp_f32(x: *const f32, y: *mut f32, n: usize) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::exp::<f32>(x, y, n) }
}

/// y[i] = 1 / (1 + exp(-x[i])), of n elements, within 1.5 ULP, subnormal results included. -inf gives 0, +inf gives 1, NaN gives NaN. y may be x.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sigmoid_f32(
    x: *const f32,
    y: *mut f32,
    n: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sigmoid::<f32>(x, y, n) }
}

/// *max is the largest of n elements: NaN if there is one, -inf for no elements; +0 is above -0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_max_f32(
    x: *const f32,
    n: usize,
    max: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::max::<f32>(x, n, max) }
}

/// *sum is the sum of n elements, rounded once, 0 for none. Infinities and NaN flow through; partial sums do not overflow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sum_f32(
    x: *const f32,
    n: usize,
    sum: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sum::<f32>(x, n, sum) }
}

/// The probabilities of each row: y[i] = exp(x[i]) / sum_j exp(x[j]), within 2.9 ULP of the exact ones whatever the row (below 2^-122 within 0.5
/// more; backends without fused multiply-add have other bounds). y may be x.
///
/// -inf has probability exactly 0. A row with +inf or NaN is NaN throughout, and so is one of -inf alone; its neighbours are not touched by it.
///
/// torch.softmax(x, -1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_f32(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f32>(x, y, rows, classes, null()) }
}

/// The log-probabilities of each row: y[i] = x[i] - ln sum_j exp(x[j]), within 1.6 ULP, near 0 too. y may be x. -inf gives -inf; otherwise special
/// rows are as in softlane_softmax_f32.
///
/// torch.log_softmax(x, -1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_f32(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f32>(x, y, rows, classes, null()) }
}

/// The log-sum-exp of each row: lse[r] = ln sum_j exp(x[j]), one number for each of the rows, within 0.8 ULP of max(|lse|, 1). A row with NaN gives
/// NaN, one with +inf gives +inf, and one of -inf alone, or of no classes, gives -inf.
///
/// torch.logsumexp(x, -1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_logsumexp_f32(
    x: *const f32,
    lse: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::logsumexp::<f32>(x, lse, rows, classes) }
}

/// The gradient with respect to logits, from the probabilities y that softlane_softmax_f32 gave and the gradient dy with respect to them: dx[i] =
/// y[i] (dy[i] - sum_j y[j] dy[j]), within 1.5 ULP of the larger term (2 below 2^-124). Where y is 0, dx is 0; NaN makes its row NaN.
///
/// dx may be dy, or y, of which a copy is made then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_f32(
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f32>(y, dy, dx, rows, classes, null()) }
}

/// The gradient with respect to logits, from the log-probabilities y that softlane_log_softmax_f32 gave and the gradient dy with respect to them: dx[i]
/// = dy[i] - exp(y[i]) sum_j dy[j], within 2.8 ULP of the larger term (3.3 where exp(y[i]) is subnormal, and counts as the least normal number).
///
/// dx may be dy, or y, of which a copy is made then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_f32(
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f32>(y, dy, dx, rows, classes, null()) }
}

/// softlane_softmax_f32 with options, of which NULL are the default ones:
///
///   z[i] = s x[i] + m[i], or -inf where class i takes no part
///   y[i] = exp(z[i]) / (exp(b) + sum_j exp(z[j]))
///
/// A class takes part if every mask says so. One that does not by bool_mask or causal_queries is not looked at, and has probability exactly 0.
///
/// The softmax of torch.nn.functional.scaled_dot_product_attention.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_with_f32(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f32>(x, y, rows, classes, options) }
}

/// softlane_log_softmax_f32 with options, of which NULL are the default ones: y[i] = z[i] - ln(exp(b) + sum_j exp(z[j])), with z as in
/// softlane_softmax_with_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_with_f32(
    x: *const f32,
    y: *mut f32,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f32>(x, y, rows, classes, options) }
}

/// softlane_softmax_backward_f32 with the options that softlane_softmax_with_f32 had: dx[i] = s y[i] (dy[i] - sum_j y[j] dy[j]), and 0 where class i
/// takes no part, whatever dy holds there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_with_f32(
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f32>(y, dy, dx, rows, classes, options) }
}

/// softlane_log_softmax_backward_f32 with the options that softlane_log_softmax_with_f32 had: dx[i] = s (dy[i] - exp(y[i]) sum_j dy[j]), the sum over
/// the classes that take part, and 0 where class i takes no part, whatever dy holds there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_with_f32(
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f32>(y, dy, dx, rows, classes, options) }
}

/// Softmax cross-entropy with a class t = targets[r], from 0 on, for each row r, and its gradient with respect to the logits. With the default options (NULL),
/// the mean over the rows of L = -ln p[t], and p[k] - [k = t], divided by the number of rows. With all:
///
///   z = s x     lse = ln sum_k exp(z[k])     p[k] = exp(z[k] - lse)     K classes
///   L = (1 - e) w[t] (lse - z[t]) + e / K sum_k w[k] (lse - z[k]) + c lse^2
///   dL/dx[k] = s ((M + 2 c lse) p[k] - e / K w[k] - (1 - e) w[t] [k = t])     M = (1 - e) w[t] + e / K sum_k w[k]
///
/// loss gets 1 number, or one for each row if reduction is SOFTLANE_NONE (grad is then that of each row's own loss); grad gets rows * classes elements, and may be
/// logits. Either may be NULL, and is not computed then. The mean divides by the sum of the w[t] of the rows that are not ignored.
///
/// Without e and c, each row's loss is within 1.1 ULP and each gradient within 2.9 (3.4 below 2^-122; 0.1 more with s), however sure the row
/// is: a loss is not 0 before its true value is.
///
/// A row with +inf or NaN has loss and gradient NaN; a target of -inf has loss +inf and gradient -1; a row of -inf alone is NaN (masked_rows); a mean of
/// no rows is NaN (empty_mean). SOFTLANE_ERROR_TARGET if a target is neither a class nor ignored.
///
/// torch.nn.functional.cross_entropy, and its backward.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_f32(
    logits: *const f32,
    targets: *const i64,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe {
        let shape = [rows, classes];
        let batch = Batch {
            logits,
            shape,
            options,
            loss,
            grad,
        };
        cross_entropy::classes::<f32>(batch, targets)
    }
}

/// The same with a distribution t = target_probs, as many elements as logits has, in place of a class:
///
///   q[k] = w[k] ((1 - e) t[k] + e / K)     L = sum_k q[k] (lse - z[k]) + c lse^2
///   dL/dx[k] = s ((M + 2 c lse) p[k] - q[k])     M = sum_k q[k]
///
/// The mean divides by the sum of w[k] t[k] over all rows. A row whose targets are all 0 counts for nothing. Targets are data: nothing checks that they add
/// up to 1. ignore_index plays no part.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_soft_f32(
    logits: *const f32,
    target_probs: *const f32,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe {
        let shape = [rows, classes];
        let batch = Batch {
            logits,
            shape,
            options,
            loss,
            grad,
        };
        cross_entropy::distributions::<f32>(batch, target_probs)
    }
}

/// Binary cross-entropy of independent yes-or-no questions, rows of so many labels: a logit x and a target t for each, 0 for no, 1 for yes, or between. With S
/// the sigmoid and the default options (NULL), the mean over all elements of L = -t ln S(x) - (1 - t) ln S(-x), and S(x) - t, divided by their number. With all:
///
///   t' = (1 - e) t + e / 2
///   L = w (-q t' ln S(x) - (1 - t') ln S(-x))     dL/dx = w ((1 - t') S(x) - q t' S(-x))
///
/// loss gets 1 number, or one for each element if reduction is SOFTLANE_NONE (grad is then that of each element's own loss); grad gets rows * labels elements, and may be
/// logits. Either may be NULL, and is not computed then.
///
/// With targets 0 and 1 and no other options, loss and gradient of an element are within 1.5 ULP, at both ends. At an infinite logit they are the limits.
///
/// torch.nn.functional.binary_cross_entropy_with_logits, and its backward.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_binary_cross_entropy_f32(
    logits: *const f32,
    targets: *const f32,
    rows: usize,
    labels: usize,
    options: *const softlane_binary_cross_entropy,
    loss: *mut f32,
    grad: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe {
        let shape = [rows, labels];
        let batch = Batch {
            logits,
            shape,
            options,
            loss,
            grad,
        };
        binary_cross_entropy::labels::<f32>(batch, targets)
    }
}
