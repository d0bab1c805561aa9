//! The functions of rows of `f16`, derived from `f32.rs` by the test `header`.
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says what it asks for"
)]

use core::ptr::null;

use half::f16;

use super::binary_cross_entropy;
use super::cross_entropy::{self, Batch};
use super::options::{
    softlane_binary_cross_entropy, softlane_cross_entropy, softlane_softmax_options,
};
use super::slices;
use super::softmax;
use super::status::softlane_status;

/// As softlane_exp_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_exp_f16(x: *const f16, y: *mut f16, n: usize) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::exp::<f16>(x, y, n) }
}

/// As softlane_sigmoid_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sigmoid_f16(
    x: *const f16,
    y: *mut f16,
    n: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sigmoid::<f16>(x, y, n) }
}

/// As softlane_max_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_max_f16(
    x: *const f16,
    n: usize,
    max: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::max::<f16>(x, n, max) }
}

/// As softlane_sum_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sum_f16(
    x: *const f16,
    n: usize,
    sum: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sum::<f16>(x, n, sum) }
}

/// As softlane_softmax_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_f16(
    x: *const f16,
    y: *mut f16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f16>(x, y, rows, classes, null()) }
}

/// As softlane_log_softmax_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_f16(
    x: *const f16,
    y: *mut f16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f16>(x, y, rows, classes, null()) }
}

/// As softlane_logsumexp_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_logsumexp_f16(
    x: *const f16,
    lse: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::logsumexp::<f16>(x, lse, rows, classes) }
}

/// As softlane_softmax_backward_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_f16(
    y: *const f16,
    dy: *const f16,
    dx: *mut f16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f16>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_log_softmax_backward_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_f16(
    y: *const f16,
    dy: *const f16,
    dx: *mut f16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f16>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_softmax_with_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_with_f16(
    x: *const f16,
    y: *mut f16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<f16>(x, y, rows, classes, options) }
}

/// As softlane_log_softmax_with_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_with_f16(
    x: *const f16,
    y: *mut f16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<f16>(x, y, rows, classes, options) }
}

/// As softlane_softmax_backward_with_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_with_f16(
    y: *const f16,
    dy: *const f16,
    dx: *mut f16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<f16>(y, dy, dx, rows, classes, options) }
}

/// As softlane_log_softmax_backward_with_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_with_f16(
    y: *const f16,
    dy: *const f16,
    dx: *mut f16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<f16>(y, dy, dx, rows, classes, options) }
}

/// As softlane_cross_entropy_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_f16(
    logits: *const f16,
    targets: *const i64,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut f16,
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
        cross_entropy::classes::<f16>(batch, targets)
    }
}

/// As softlane_cross_entropy_soft_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_soft_f16(
    logits: *const f16,
    target_probs: *const f16,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut f16,
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
        cross_entropy::distributions::<f16>(batch, target_probs)
    }
}

/// As softlane_binary_cross_entropy_f32, for bits of f16 (IEEE 754 binary16).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_binary_cross_entropy_f16(
    logits: *const f16,
    targets: *const f16,
    rows: usize,
    labels: usize,
    options: *const softlane_binary_cross_entropy,
    loss: *mut f32,
    grad: *mut f16,
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
        binary_cross_entropy::labels::<f16>(batch, targets)
    }
}
