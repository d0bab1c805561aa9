//! Options: the bits of the Rust functions with the same, each alone and together; what older callers give; and what is refused.

use core::ffi::CStr;
use core::ptr;

use softlane::{BinaryCrossEntropy, CrossEntropy, EmptyMean, MaskedRows, Reduction, Softmax};

use super::library::f32::*;
use super::library::general::softlane_last_error;
use super::library::options::*;
use super::library::status::*;

const ROWS: usize = 6;
const CLASSES: usize = 5;
const N: usize = ROWS * CLASSES;
const UNTOUCHED: f32 = f32::from_bits(0x7FC5_A5A5);

fn logits() -> [f32; N] {
    core::array::from_fn(|i| (i * 17 % 23) as f32 * 0.5 - 4.0)
}

/// From 0 to 1.
fn unit() -> [f32; N] {
    core::array::from_fn(|i| (i * 7 % 11) as f32 / 11.0)
}

const TARGETS: [i64; ROWS] = [0, 4, 2, -7, 3, 2];
const WEIGHTS: [f32; CLASSES] = [0.5, 2.0, 1.0, 0.0, 3.0];
const UPSTREAM: [f32; ROWS] = [1.0, -2.0, 0.5, 3.0, 0.0, 0.25];

fn last_error() -> &'static str {
    unsafe { CStr::from_ptr(softlane_last_error()) }
        .to_str()
        .unwrap()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// Which of `count` options are on, in turn: none, each alone, all.
fn choices(count: usize) -> impl Iterator<Item = Vec<bool>> {
    let one = move |on| (0..count).map(|i| i == on).collect();
    let all = vec![true; count];
    (0..=count).map(one).chain([all])
}

#[test]
fn cross_entropy() {
    // A row of nothing but -inf, which an option is about.
    let mut logits = logits();
    logits[2 * CLASSES..3 * CLASSES].fill(f32::NEG_INFINITY);
    let probs = unit();
    for on in choices(7) {
        for reduction in [SOFTLANE_MEAN, SOFTLANE_SUM, SOFTLANE_NONE] {
            let mut c = softlane_cross_entropy_default();
            c.reduction = reduction;
            c.ignore_index = -7;
            let mut rust = CrossEntropy::new().ignore_index(Some(-7));
            if reduction == SOFTLANE_SUM {
                rust = rust.reduction(Reduction::Sum);
            }
            if on[0] {
                c.class_weights = WEIGHTS.as_ptr().cast();
                rust = rust.class_weights(&WEIGHTS);
            }
            if on[1] {
                c.label_smoothing = 0.25;
                rust = rust.label_smoothing(0.25);
            }
            if on[2] {
                c.z_loss = 0.125;
                rust = rust.z_loss(0.125);
            }
            if on[3] {
                c.logit_scale = 0.75;
                rust = rust.logit_scale(0.75);
            }
            if on[4] {
                c.normaliser = 3.0;
                rust = rust.normaliser(3.0);
            }
            if on[5] {
                c.upstream_grad = UPSTREAM.as_ptr().cast();
                rust = rust.upstream_grad(&UPSTREAM);
            }
            if on[6] {
                c.masked_rows = SOFTLANE_ZERO;
                rust = rust.masked_rows(MaskedRows::Zero);
            }
            for is_soft in [false, true] {
                let (mut loss, mut grad) = (vec![UNTOUCHED; ROWS], vec![UNTOUCHED; N]);
                let (x, l, g) = (logits.as_ptr(), loss.as_mut_ptr(), grad.as_mut_ptr());
                let status = if is_soft {
                    let t = probs.as_ptr();
                    unsafe { softlane_cross_entropy_soft_f32(x, t, ROWS, CLASSES, &c, l, g) }
                } else {
                    let t = TARGETS.as_ptr();
                    unsafe { softlane_cross_entropy_f32(x, t, ROWS, CLASSES, &c, l, g) }
                };
                assert_eq!(status, SOFTLANE_OK, "{on:?}: {}", last_error());
                let (mut losses, mut expected) = (vec![UNTOUCHED; ROWS], vec![UNTOUCHED; N]);
                let (l, g) = (&mut losses[..], &mut expected[..]);
                if reduction == SOFTLANE_NONE {
                    if is_soft {
                        rust.loss_per_row_and_grad(&logits, CLASSES, &probs, l, g)
                    } else {
                        rust.loss_per_row_and_grad(&logits, CLASSES, &TARGETS, l, g)
                    }
                    .unwrap();
                } else {
                    l[0] = if is_soft {
                        rust.loss_and_grad(&logits, CLASSES, &probs, g)
                    } else {
                        rust.loss_and_grad(&logits, CLASSES, &TARGETS, g)
                    }
                    .unwrap();
                }
                let what = format!("{on:?}, reduction {reduction}, soft: {is_soft}");
                assert_eq!(bits(&loss), bits(&losses), "{what}");
                assert_eq!(bits(&grad), bits(&expected), "{what}");
            }
        }
    }
}

#[test]
fn binary_cross_entropy() {
    let (logits, labels) = (logits(), unit());
    let ignored: [bool; N] = core::array::from_fn(|i| i % 3 == 1);
    let mask = ignored.map(u8::from);
    let twice = WEIGHTS.map(|weight| 2.0 * weight);
    for on in choices(5) {
        for reduction in [SOFTLANE_MEAN, SOFTLANE_SUM, SOFTLANE_NONE] {
            let mut c = softlane_binary_cross_entropy_default();
            c.reduction = reduction;
            let mut rust = BinaryCrossEntropy::new();
            if reduction != SOFTLANE_MEAN {
                rust = rust.reduction(Reduction::Sum);
            }
            if on[0] {
                c.pos_weights = WEIGHTS.as_ptr().cast();
                rust = rust.pos_weights(&WEIGHTS);
            }
            if on[1] {
                c.label_weights = twice.as_ptr().cast();
                rust = rust.label_weights(&twice);
            }
            if on[2] {
                c.label_smoothing = 0.25;
                rust = rust.label_smoothing(0.25);
            }
            if on[3] {
                c.normaliser = 3.0;
                rust = rust.normaliser(3.0);
            }
            if on[4] {
                c.ignore_mask = mask.as_ptr();
                rust = rust.ignore_mask(&ignored);
            }
            let (mut loss, mut grad) = (vec![UNTOUCHED; N], vec![UNTOUCHED; N]);
            let (x, t, l, g) = (
                logits.as_ptr(),
                labels.as_ptr(),
                loss.as_mut_ptr(),
                grad.as_mut_ptr(),
            );
            let status =
                unsafe { softlane_binary_cross_entropy_f32(x, t, ROWS, CLASSES, &c, l, g) };
            assert_eq!(status, SOFTLANE_OK, "{on:?}: {}", last_error());
            let (mut losses, mut expected) = (vec![UNTOUCHED; N], vec![UNTOUCHED; N]);
            let reduced = rust
                .loss_and_grad(&logits, CLASSES, &labels, &mut expected)
                .unwrap();
            if reduction == SOFTLANE_NONE {
                rust.loss_per_element(&logits, CLASSES, &labels, &mut losses)
                    .unwrap();
            } else {
                losses[0] = reduced;
            }
            let what = format!("{on:?}, reduction {reduction}");
            assert_eq!(bits(&loss), bits(&losses), "{what}");
            assert_eq!(bits(&grad), bits(&expected), "{what}");
        }
    }
}

#[test]
fn softmax() {
    let (x, dy) = (logits(), unit());
    let add: [f32; 2 * CLASSES] = core::array::from_fn(|i| i as f32 * 0.25 - 1.0);
    let part: [bool; 3 * CLASSES] = core::array::from_fn(|i| i % 4 != 1);
    let bytes = part.map(u8::from);
    let sinks = [0.5_f32, f32::NEG_INFINITY];
    for on in choices(6) {
        let mut c = softlane_softmax_options_default();
        let mut rust = Softmax::new();
        if on[0] {
            c.logit_scale = 0.75;
            rust = rust.logit_scale(0.75);
        }
        if on[1] {
            (c.mask, c.mask_rows) = (add.as_ptr().cast(), 2);
            rust = rust.mask(&add);
        }
        if on[2] {
            (c.bool_mask, c.bool_mask_rows) = (bytes.as_ptr(), 3);
            rust = rust.bool_mask(&part);
        }
        if on[3] {
            (c.causal_queries, c.causal_offset) = (3, 1);
            rust = rust.causal(3, 1);
        }
        if on[4] {
            (c.sinks, c.sinks_len, c.sinks_rows_each) = (sinks.as_ptr().cast(), 2, 3);
            rust = rust.sinks(&sinks, 3);
        }
        if on[5] {
            c.masked_rows = SOFTLANE_ZERO;
            rust = rust.masked_rows(MaskedRows::Zero);
        }
        let mut found = [[UNTOUCHED; N]; 4];
        let mut expected = [[UNTOUCHED; N]; 4];
        let [p, q, dp, dq] = &mut found;
        let x_dy = (x.as_ptr(), dy.as_ptr());
        let statuses = unsafe {
            let o = &raw const c;
            [
                softlane_softmax_with_f32(x_dy.0, p.as_mut_ptr(), ROWS, CLASSES, o),
                softlane_log_softmax_with_f32(x_dy.0, q.as_mut_ptr(), ROWS, CLASSES, o),
                softlane_softmax_backward_with_f32(
                    p.as_ptr(),
                    x_dy.1,
                    dp.as_mut_ptr(),
                    ROWS,
                    CLASSES,
                    o,
                ),
                softlane_log_softmax_backward_with_f32(
                    q.as_ptr(),
                    x_dy.1,
                    dq.as_mut_ptr(),
                    ROWS,
                    CLASSES,
                    o,
                ),
            ]
        };
        assert_eq!(statuses, [SOFTLANE_OK; 4], "{on:?}: {}", last_error());
        let [p, q, dp, dq] = &mut expected;
        rust.probs(&x, CLASSES, p).unwrap();
        rust.log_probs(&x, CLASSES, q).unwrap();
        rust.probs_backward(p, &dy, CLASSES, dp).unwrap();
        rust.log_probs_backward(q, &dy, CLASSES, dq).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(bits(found), bits(expected), "{on:?}");
        }
    }
}

/// The mean of nothing.
#[test]
fn empty_means() {
    let ignored = [1_u8; 2];
    for (empty, rust) in [
        (SOFTLANE_NAN, EmptyMean::Nan),
        (SOFTLANE_ZERO, EmptyMean::Zero),
    ] {
        let (x, t, mut loss) = ([0.0_f32; 2], [-100_i64], UNTOUCHED);
        let mut c = softlane_cross_entropy_default();
        c.empty_mean = empty;
        let status = unsafe {
            let no_grad = ptr::null_mut();
            softlane_cross_entropy_f32(x.as_ptr(), t.as_ptr(), 1, 2, &c, &mut loss, no_grad)
        };
        let expected = CrossEntropy::new()
            .empty_mean(rust)
            .loss(&x, 2, &t)
            .unwrap();
        assert_eq!((status, loss.to_bits()), (SOFTLANE_OK, expected.to_bits()));
        let mut c = softlane_binary_cross_entropy_default();
        (c.empty_mean, c.ignore_mask) = (empty, ignored.as_ptr());
        loss = UNTOUCHED;
        let status = unsafe {
            let no_grad = ptr::null_mut();
            softlane_binary_cross_entropy_f32(x.as_ptr(), x.as_ptr(), 1, 2, &c, &mut loss, no_grad)
        };
        assert_eq!((status, loss.to_bits()), (SOFTLANE_OK, expected.to_bits()));
    }
}

/// Calls with options, and checks that nothing is written unless it succeeds.
#[track_caller]
fn cross_entropy_with(c: *const softlane_cross_entropy) -> (softlane_status, Vec<u32>) {
    let (x, mut loss, mut grad) = (logits(), [UNTOUCHED; ROWS], [UNTOUCHED; N]);
    let (t, l, g) = ([1_i64; ROWS], loss.as_mut_ptr(), grad.as_mut_ptr());
    let status =
        unsafe { softlane_cross_entropy_f32(x.as_ptr(), t.as_ptr(), ROWS, CLASSES, c, l, g) };
    let written = loss
        .iter()
        .chain(&grad)
        .any(|x| x.to_bits() != UNTOUCHED.to_bits());
    assert_eq!(written, status == SOFTLANE_OK);
    (status, bits(&loss))
}

#[track_caller]
fn binary_with(c: *const softlane_binary_cross_entropy) -> softlane_status {
    let (x, mut loss, mut grad) = (logits(), [UNTOUCHED; N], [UNTOUCHED; N]);
    let (x, l, g) = (x.as_ptr(), loss.as_mut_ptr(), grad.as_mut_ptr());
    let status = unsafe { softlane_binary_cross_entropy_f32(x, x, ROWS, CLASSES, c, l, g) };
    let written = loss
        .iter()
        .chain(&grad)
        .any(|x| x.to_bits() != UNTOUCHED.to_bits());
    assert_eq!(written, status == SOFTLANE_OK);
    status
}

#[track_caller]
fn softmax_with(c: *const softlane_softmax_options) -> softlane_status {
    let (x, mut y) = (logits(), [UNTOUCHED; N]);
    let status = unsafe { softlane_softmax_with_f32(x.as_ptr(), y.as_mut_ptr(), ROWS, CLASSES, c) };
    let written = y.iter().any(|x| x.to_bits() != UNTOUCHED.to_bits());
    assert_eq!(written, status == SOFTLANE_OK);
    status
}

/// Defaults for a caller who was compiled with fewer fields, or knows more.
#[test]
fn defaults_of_every_size() {
    let known = size_of::<softlane_cross_entropy>();
    for size in 0..=known + 8 {
        let mut options = softlane_cross_entropy {
            reserved: 7,
            ..softlane_cross_entropy_default()
        };
        let before = unsafe { ptr::from_ref(&options).cast::<[u8; 80]>().read() };
        let status = unsafe { softlane_cross_entropy_init(&raw mut options, size) };
        let after = unsafe { ptr::from_ref(&options).cast::<[u8; 80]>().read() };
        if (8..=known).contains(&size) && size % 8 == 0 {
            assert_eq!(status, SOFTLANE_OK);
            assert_eq!(options.struct_size, size);
            assert_eq!(before[size..], after[size..]);
        } else {
            assert_eq!(status, SOFTLANE_ERROR_STRUCT_SIZE, "{size}");
            assert_eq!(before, after, "{size}");
        }
    }
    unsafe {
        let mut binary = softlane_binary_cross_entropy_default();
        let mut softmax = softlane_softmax_options_default();
        let sizes = [size_of_val(&binary), size_of_val(&softmax)];
        let ok = softlane_binary_cross_entropy_init(&raw mut binary, sizes[0]);
        assert_eq!((ok, binary.struct_size), (SOFTLANE_OK, sizes[0]));
        let ok = softlane_softmax_options_init(&raw mut softmax, sizes[1]);
        assert_eq!((ok, softmax.struct_size), (SOFTLANE_OK, sizes[1]));
        let null = softlane_softmax_options_init(ptr::null_mut(), 8);
        assert_eq!(null, SOFTLANE_ERROR_NULL);
    }
}

/// What a caller gives who was compiled with fewer fields.
#[test]
fn structs_that_have_grown() {
    let mut full = softlane_cross_entropy_default();
    full.ignore_index = 1;
    full.reduction = SOFTLANE_NONE;
    full.logit_scale = 0.5;
    full.label_smoothing = 0.5;
    // With every row ignored.
    assert_eq!(cross_entropy_with(&full), (SOFTLANE_OK, bits(&[0.0; ROWS])));
    for size in 0..=size_of::<softlane_cross_entropy>() + 8 {
        let mut given = full;
        given.struct_size = size;
        // What such a caller has there is something else.
        let (status, loss) = cross_entropy_with(&given);
        if size == 0 || size > size_of::<softlane_cross_entropy>() || size % 8 != 0 {
            assert_eq!(status, SOFTLANE_ERROR_STRUCT_SIZE, "{size}");
            let text = format!(
                "softlane_cross_entropy: struct_size is {size}, which is no multiple of 8 from 8 to 80"
            );
            assert_eq!(last_error(), text);
            continue;
        }
        let mut same = softlane_cross_entropy_default();
        if size >= 24 {
            same.label_smoothing = 0.5;
        }
        if size >= 40 {
            same.ignore_index = 1;
        }
        if size >= 48 {
            same.reduction = SOFTLANE_NONE;
        }
        if size >= 56 {
            same.logit_scale = 0.5;
        }
        assert_eq!((status, loss), cross_entropy_with(&same), "{size}");
    }
    for size in 0..=size_of::<softlane_binary_cross_entropy>() + 8 {
        let mut c = softlane_binary_cross_entropy_default();
        c.struct_size = size;
        let known = (8..=size_of_val(&c)).step_by(8).any(|known| known == size);
        let expected = if known {
            SOFTLANE_OK
        } else {
            SOFTLANE_ERROR_STRUCT_SIZE
        };
        assert_eq!(binary_with(&c), expected, "{size}");
    }
    for size in 0..=size_of::<softlane_softmax_options>() + 8 {
        let mut c = softlane_softmax_options_default();
        c.struct_size = size;
        let known = (8..=size_of_val(&c)).step_by(8).any(|known| known == size);
        let expected = if known {
            SOFTLANE_OK
        } else {
            SOFTLANE_ERROR_STRUCT_SIZE
        };
        assert_eq!(softmax_with(&c), expected, "{size}");
    }
    // Nothing beyond the size is read.
    let small = Box::new(8_usize);
    let (status, _) = cross_entropy_with(ptr::from_ref::<usize>(&small).cast());
    assert_eq!(status, SOFTLANE_OK);
}

/// Changes one option to what it cannot be.
type Bad<O> = (&'static str, fn(&mut O));

const NEGATIVE: [f32; ROWS] = [0.0, 1.0, -1.0, 0.0, 0.0, 0.0];
static FLAGS: [u8; N] = {
    let mut flags = [1; N];
    flags[7] = 2;
    flags
};

#[test]
fn options_that_cannot_be() {
    let bad: [Bad<softlane_cross_entropy>; 13] = [
        ("label_smoothing is 1.5, which is not from 0 to 1", |c| {
            c.label_smoothing = 1.5;
        }),
        ("label_smoothing is NaN, which is not from 0 to 1", |c| {
            c.label_smoothing = f64::NAN;
        }),
        (
            "z_loss is -1, which is not a finite number from 0 on",
            |c| c.z_loss = -1.0,
        ),
        (
            "logit_scale is 0, which is not a finite number above 0 of the element type",
            |c| {
                c.logit_scale = 0.0;
            },
        ),
        (
            "logit_scale is NaN, which is not a finite number above 0 of the element type",
            |c| {
                c.logit_scale = f64::NAN;
            },
        ),
        (
            "normaliser is -1, which is not a finite number above 0, as is its inverse",
            |c| {
                c.normaliser = -1.0;
            },
        ),
        ("reduction is 3, which is not 0, 1 or 2", |c| {
            c.reduction = 3;
        }),
        ("reduction is -1, which is not 0, 1 or 2", |c| {
            c.reduction = -1;
        }),
        ("masked_rows is 2, which is not 0 or 1", |c| {
            c.masked_rows = 2;
        }),
        ("empty_mean is -1, which is not 0 or 1", |c| {
            c.empty_mean = -1;
        }),
        ("reserved is 1, which is not 0", |c| c.reserved = 1),
        (
            "class_weights[2] is -1, which is not a finite number from 0 on",
            |c| {
                c.class_weights = NEGATIVE.as_ptr().cast();
            },
        ),
        ("class_weights is no multiple of 4", |c| {
            c.class_weights = NEGATIVE.as_ptr().cast::<u8>().wrapping_add(1).cast();
        }),
    ];
    for (text, change) in bad {
        let mut c = softlane_cross_entropy_default();
        change(&mut c);
        let (status, _) = cross_entropy_with(&c);
        let expected = if text.ends_with("of 4") {
            SOFTLANE_ERROR_ALIGNMENT
        } else {
            SOFTLANE_ERROR_OPTION
        };
        assert_eq!((status, last_error()), (expected, text));
    }
}

#[test]
fn binary_options_that_cannot_be() {
    let bad: [Bad<softlane_binary_cross_entropy>; 6] = [
        ("label_smoothing is -0.5, which is not from 0 to 1", |c| {
            c.label_smoothing = -0.5;
        }),
        ("reduction is 3, which is not 0, 1 or 2", |c| {
            c.reduction = 3;
        }),
        ("empty_mean is 2, which is not 0 or 1", |c| c.empty_mean = 2),
        ("ignore_mask[7] is 2, which is not 0 or 1", |c| {
            c.ignore_mask = FLAGS.as_ptr();
        }),
        (
            "pos_weights[2] is -1, which is not a finite number from 0 on",
            |c| {
                c.pos_weights = NEGATIVE.as_ptr().cast();
            },
        ),
        (
            "label_weights[2] is -1, which is not a finite number from 0 on",
            |c| {
                c.label_weights = NEGATIVE.as_ptr().cast();
            },
        ),
    ];
    for (text, change) in bad {
        let mut c = softlane_binary_cross_entropy_default();
        change(&mut c);
        assert_eq!(
            (binary_with(&c), last_error()),
            (SOFTLANE_ERROR_OPTION, text)
        );
    }
}

#[test]
fn softmax_options_that_cannot_be() {
    let bad: [Bad<softlane_softmax_options>; 7] = [
        (
            "logit_scale is -1, which is not a finite number above 0 of the element type",
            |c| {
                c.logit_scale = -1.0;
            },
        ),
        (
            "mask comes again after 4 rows, of which 6 rows are no whole number",
            |c| {
                (c.mask, c.mask_rows) = ([0.0_f32; 4 * CLASSES].as_ptr().cast(), 4);
            },
        ),
        ("bool_mask[7] is 2, which is not 0 or 1", |c| {
            (c.bool_mask, c.bool_mask_rows) = (FLAGS.as_ptr(), 2);
        }),
        (
            "causal comes again after 4 rows, of which 6 rows are no whole number",
            |c| {
                c.causal_queries = 4;
            },
        ),
        (
            "sinks comes again after 4 rows, of which 6 rows are no whole number",
            |c| {
                (c.sinks, c.sinks_len, c.sinks_rows_each) = ([0.0_f32; 2].as_ptr().cast(), 2, 2);
            },
        ),
        ("masked_rows is 7, which is not 0 or 1", |c| {
            c.masked_rows = 7;
        }),
        ("reserved is -1, which is not 0", |c| c.reserved = -1),
    ];
    for (text, change) in bad {
        let mut c = softlane_softmax_options_default();
        change(&mut c);
        assert_eq!(
            (softmax_with(&c), last_error()),
            (SOFTLANE_ERROR_OPTION, text)
        );
    }
    // Too large for any memory, and options that are not where they can be.
    let mut c = softlane_softmax_options_default();
    c.mask_rows = usize::MAX;
    assert_eq!(softmax_with(&c), SOFTLANE_ERROR_SIZE);
    let unaligned = ptr::from_ref(&c).cast::<u8>().wrapping_add(4).cast();
    assert_eq!(softmax_with(unaligned), SOFTLANE_ERROR_ALIGNMENT);
}

/// Arrays of options are among those that outputs may not overlap.
#[test]
fn outputs_over_options() {
    let (x, t) = (logits(), [1_i64; ROWS]);
    let mut grad = [1.0_f32; N];
    let mut c = softlane_cross_entropy_default();
    c.class_weights = grad[3..].as_ptr().cast();
    let status = unsafe {
        let (loss, grad) = (ptr::null_mut(), grad.as_mut_ptr());
        softlane_cross_entropy_f32(x.as_ptr(), t.as_ptr(), ROWS, CLASSES, &c, loss, grad)
    };
    assert_eq!((status, grad), (SOFTLANE_ERROR_OVERLAP, [1.0; N]));
    assert_eq!(last_error(), "class_weights and grad overlap");
}
