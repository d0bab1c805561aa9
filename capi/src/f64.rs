//! The functions of rows of `f64`, derived from `f32.rs` by the test `header`.
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

/// As softlane_exp_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_exp_f64(x: *const f64, y: *mut f64, n: usize) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::exp::<f64>(x, y, n) }
}

/// As softlane_sigmoid_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sigmoid_f64(
    x: *const f64,
    y: *mut f64,
    n: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sigmoid::<f64>(x, y, n) }
}

/// As softlane_max_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_max_f64(
    x: *const f64,
    n: usize,
    max: *mut f64,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::max::<f64>(x, n, max) }
}

/// As softlane_sum_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sum_f64(
    x: *const f64,
    n: usize,
    sum: *mut f64,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sum::<f64>(x, n, sum) }
}

/// As softlane_softmax_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_f64(
    x: *const f64,
    y: *mut f64,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f64>(x, y, rows, classes, null()) }
}

/// As softlane_log_softmax_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_f64(
    x: *const f64,
    y: *mut f64,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f64>(x, y, rows, classes, null()) }
}

/// As softlane_logsumexp_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_logsumexp_f64(
    x: *const f64,
    lse: *mut f64,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::logsumexp::<f64>(x, lse, rows, classes) }
}

/// As softlane_softmax_backward_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_f64(
    y: *const f64,
    dy: *const f64,
    dx: *mut f64,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f64>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_log_softmax_backward_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_f64(
    y: *const f64,
    dy: *const f64,
    dx: *mut f64,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f64>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_softmax_with_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_with_f64(
    x: *const f64,
    y: *mut f64,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f64>(x, y, rows, classes, options) }
}

/// As softlane_log_softmax_with_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_with_f64(
    x: *const f64,
    y: *mut f64,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f64>(x, y, rows, classes, options) }
}

/// As softlane_softmax_backward_with_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_with_f64(
    y: *const f64,
    dy: *const f64,
    dx: *mut f64,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f64>(y, dy, dx, rows, classes, options) }
}

/// As softlane_log_softmax_backward_with_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_with_f64(
    y: *const f64,
    dy: *const f64,
    dx: *mut f64,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f64>(y, dy, dx, rows, classes, options) }
}

/// As softlane_cross_entropy_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_f64(
    logits: *const f64,
    targets: *const i64,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f64,
    grad: *mut f64,
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
        cross_entropy::classes::<f64>(batch, targets)
    }
}

/// As softlane_cross_entropy_soft_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_soft_f64(
    logits: *const f64,
    target_probs: *const f64,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f64,
    grad: *mut f64,
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
        cross_entropy::distributions::<f64>(batch, target_probs)
    }
}

/// As softlane_binary_cross_entropy_f32, for double.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_binary_cross_entropy_f64(
    logits: *const f64,
    targets: *const f64,
    rows: usize,
    labels: usize,
    options: *const softlane_binary_cross_entropy,
    loss: *mut f64,
    grad: *mut f64,
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
        binary_cross_entropy::labels::<f64>(batch, targets)
    }
}
