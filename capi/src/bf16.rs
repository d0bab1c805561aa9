//! The functions of rows of `bf16`, derived from `f32.rs` by the test `header`.
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says what it asks for"
)]

use core::ptr::null;

use half::bf16;

use super::binary_cross_entropy;
use super::cross_entropy::{self, Batch};
use super::options::{
    softlane_binary_cross_entropy, softlane_cross_entropy, softlane_softmax_options,
};
use super::slices;
use super::softmax;
use super::status::softlane_status;

/// As softlane_exp_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_exp_bf16(
    x: *const bf16,
    y: *mut bf16,
    n: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::exp::<bf16>(x, y, n) }
}

/// As softlane_sigmoid_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sigmoid_bf16(
    x: *const bf16,
    y: *mut bf16,
    n: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sigmoid::<bf16>(x, y, n) }
}

/// As softlane_max_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_max_bf16(
    x: *const bf16,
    n: usize,
    max: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::max::<bf16>(x, n, max) }
}

/// As softlane_sum_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_sum_bf16(
    x: *const bf16,
    n: usize,
    sum: *mut f32,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::sum::<bf16>(x, n, sum) }
}

/// As softlane_softmax_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_bf16(
    x: *const bf16,
    y: *mut bf16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<bf16>(x, y, rows, classes, null()) }
}

/// As softlane_log_softmax_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_bf16(
    x: *const bf16,
    y: *mut bf16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<bf16>(x, y, rows, classes, null()) }
}

/// As softlane_logsumexp_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_logsumexp_bf16(
    x: *const bf16,
    lse: *mut f32,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { slices::logsumexp::<bf16>(x, lse, rows, classes) }
}

/// As softlane_softmax_backward_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_bf16(
    y: *const bf16,
    dy: *const bf16,
    dx: *mut bf16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<bf16>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_log_softmax_backward_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_bf16(
    y: *const bf16,
    dy: *const bf16,
    dx: *mut bf16,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<bf16>(y, dy, dx, rows, classes, null()) }
}

/// As softlane_softmax_with_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_with_bf16(
    x: *const bf16,
    y: *mut bf16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax::<bf16>(x, y, rows, classes, options) }
}

/// As softlane_log_softmax_with_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_with_bf16(
    x: *const bf16,
    y: *mut bf16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax::<bf16>(x, y, rows, classes, options) }
}

/// As softlane_softmax_backward_with_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_backward_with_bf16(
    y: *const bf16,
    dy: *const bf16,
    dx: *mut bf16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::softmax_backward::<bf16>(y, dy, dx, rows, classes, options) }
}

/// As softlane_log_softmax_backward_with_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_log_softmax_backward_with_bf16(
    y: *const bf16,
    dy: *const bf16,
    dx: *mut bf16,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { softmax::log_softmax_backward::<bf16>(y, dy, dx, rows, classes, options) }
}

/// As softlane_cross_entropy_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_bf16(
    logits: *const bf16,
    targets: *const i64,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut bf16,
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
        cross_entropy::classes::<bf16>(batch, targets)
    }
}

/// As softlane_cross_entropy_soft_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_soft_bf16(
    logits: *const bf16,
    target_probs: *const bf16,
    rows: usize,
    classes: usize,
    options: *const softlane_cross_entropy,
    loss: *mut f32,
    grad: *mut bf16,
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
        cross_entropy::distributions::<bf16>(batch, target_probs)
    }
}

/// As softlane_binary_cross_entropy_f32, for bits of bf16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_binary_cross_entropy_bf16(
    logits: *const bf16,
    targets: *const bf16,
    rows: usize,
    labels: usize,
    options: *const softlane_binary_cross_entropy,
    loss: *mut f32,
    grad: *mut bf16,
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
        binary_cross_entropy::labels::<bf16>(batch, targets)
    }
}
