//! What holds of every type that is computed in itself, here of `R`.

use std::fmt::{Arguments, Debug};

use softlane::{
    Backend, BinaryCrossEntropy, CrossEntropy, EmptyMean, Error, Exec, MaskedRows, Reduction,
    Softmax, Target,
};

use super::{NANS, R};
use crate::guard::{Guarded, guarded};

/// The one NaN that results have.
pub const NAN: R = NANS[0];
pub const INF: R = R::INFINITY;

/// Whole vectors, tails of every length, around the chunks of 4096, and enough for threads.
pub fn lengths() -> impl Iterator<Item = usize> {
    (0..=70).chain([127, 128, 1000, 4095, 4096, 4097, 20_000])
}

/// Where to put a special element: everywhere in a short row, at the seams of a long one.
pub fn places(n: usize) -> Vec<usize> {
    if n <= 70 {
        return (0..n).collect();
    }
    let seams = [0, 15, 16, 4095, 4096, n - 17, n - 1];
    seams.into_iter().filter(|&i| i < n).collect()
}

/// Each backend.
pub fn execs() -> impl Iterator<Item = Exec> {
    Backend::available().map(|backend| Exec::new().backend(backend))
}

/// A row without anything special, from -4 to 4.
pub fn ordinary(n: usize) -> Vec<R> {
    let x = |i: usize| ((i * 7919 + n * 31 + 17) % 1009) as R / 126.0 - 4.0;
    (0..n).map(x).collect()
}

fn blank(n: usize) -> Vec<R> {
    vec![R::UNTOUCHED; n]
}

#[track_caller]
pub fn assert_bits(got: &[R], expected: &[R], context: Arguments<'_>) {
    assert_eq!(got.len(), expected.len(), "{context}: length");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let (g, e) = (got.to_bits(), expected.to_bits());
        assert_eq!(
            g, e,
            "{context}: element {i} is {got:e} ({g:#010x}), expected {expected:e} ({e:#010x})"
        );
    }
}

/// The result of both forms of an operation, which must agree.
#[track_caller]
fn both(
    x: &[R],
    apart: impl FnOnce(&mut [R]) -> Result<(), Error>,
    in_place: impl FnOnce(&mut [R]) -> Result<(), Error>,
) -> Vec<R> {
    let (y, result) = guarded(&blank(x.len()), 0, apart);
    result.unwrap();
    let (z, result) = guarded(x, 0, in_place);
    result.unwrap();
    assert_bits(&z, &y, format_args!("in place against apart"));
    y
}

#[track_caller]
pub fn exp(exec: Exec, x: &[R]) -> Vec<R> {
    both(x, |y| exec.exp(x, y), |x| exec.exp_in_place(x))
}

#[track_caller]
fn sigmoid(exec: Exec, x: &[R]) -> Vec<R> {
    both(x, |y| exec.sigmoid(x, y), |x| exec.sigmoid_in_place(x))
}

#[track_caller]
fn softmax_backward(exec: Exec, y: &[R], dy: &[R], classes: usize) -> Vec<R> {
    both(
        dy,
        |dx| exec.softmax_backward(y, dy, classes, dx),
        |dy| exec.softmax_backward_in_place(y, dy, classes),
    )
}

#[track_caller]
pub fn log_softmax_backward(exec: Exec, y: &[R], dy: &[R], classes: usize) -> Vec<R> {
    both(
        dy,
        |dx| exec.log_softmax_backward(y, dy, classes, dx),
        |dy| exec.log_softmax_backward_in_place(y, dy, classes),
    )
}

/// The reduced loss and its gradient, from all forms, which must agree.
#[track_caller]
fn reduced<I: Target<R>>(
    options: CrossEntropy<'_, R>,
    x: &[R],
    classes: usize,
    targets: &[I],
) -> (R, Vec<R>) {
    let loss = options.loss(x, classes, targets).unwrap();
    let (grad, loss_apart) = guarded(&blank(x.len()), 0, |grad| {
        options.loss_and_grad(x, classes, targets, grad)
    });
    let (grad_in_place, loss_in_place) = guarded(x, 0, |x| {
        options.loss_and_grad_in_place(x, classes, targets)
    });
    let losses = [loss_apart.unwrap(), loss_in_place.unwrap()];
    assert_bits(&losses, &[loss; 2], format_args!("loss with gradient"));
    assert_bits(&grad_in_place, &grad, format_args!("in place"));
    (loss, grad)
}

/// The loss of each row and its gradient, from all forms, which must agree.
#[track_caller]
fn per_row<I: Target<R>>(
    options: CrossEntropy<'_, R>,
    x: &[R],
    classes: usize,
    targets: &[I],
) -> (Vec<R>, Vec<R>) {
    let empty = blank(targets.len());
    let (losses, result) = guarded(&empty, 0, |losses| {
        options.loss_per_row(x, classes, targets, losses)
    });
    result.unwrap();
    let (grad, (losses_apart, result)) = guarded(&blank(x.len()), 0, |grad| {
        guarded(&empty, 0, |losses| {
            options.loss_per_row_and_grad(x, classes, targets, losses, grad)
        })
    });
    result.unwrap();
    let (grad_in_place, (losses_in_place, result)) = guarded(x, 0, |x| {
        guarded(&empty, 0, |losses| {
            options.loss_per_row_and_grad_in_place(x, classes, targets, losses)
        })
    });
    result.unwrap();
    assert_bits(&losses_apart, &losses, format_args!("loss with gradient"));
    assert_bits(&losses_in_place, &losses, format_args!("loss in place"));
    assert_bits(&grad_in_place, &grad, format_args!("gradient in place"));
    (losses, grad)
}

/// The sum of the losses, each loss, and the gradient of the sum, from all forms, which must agree.
#[track_caller]
fn binary_cross_entropy(exec: Exec, x: &[R], labels: &[R]) -> (R, Vec<R>, Vec<R>) {
    let options = BinaryCrossEntropy::new()
        .exec(exec)
        .reduction(Reduction::Sum);
    let loss = options.loss(x, 1, labels).unwrap();
    let (losses, result) = guarded(&blank(x.len()), 0, |losses| {
        options.loss_per_element(x, 1, labels, losses)
    });
    result.unwrap();
    let (grad, loss_apart) = guarded(&blank(x.len()), 0, |grad| {
        options.loss_and_grad(x, 1, labels, grad)
    });
    let (grad_in_place, loss_in_place) =
        guarded(x, 0, |x| options.loss_and_grad_in_place(x, 1, labels));
    let reduced = [loss_apart.unwrap(), loss_in_place.unwrap()];
    assert_bits(&reduced, &[loss; 2], format_args!("loss with gradient"));
    assert_bits(&grad_in_place, &grad, format_args!("in place"));
    (loss, losses, grad)
}

/// What the softmax-like operations make of a batch.
#[derive(Clone)]
pub struct Results {
    pub probs: Vec<R>,
    pub log_probs: Vec<R>,
    pub grad: Vec<R>,
    pub lse: Vec<R>,
    pub losses: Vec<R>,
}

impl Results {
    #[track_caller]
    pub fn new(exec: Exec, masked: MaskedRows, x: &[R], classes: usize, targets: &[i64]) -> Self {
        let softmax = Softmax::new().exec(exec).masked_rows(masked);
        let probs = both(
            x,
            |y| softmax.probs(x, classes, y),
            |x| softmax.probs_in_place(x, classes),
        );
        let log_probs = both(
            x,
            |y| softmax.log_probs(x, classes, y),
            |x| softmax.log_probs_in_place(x, classes),
        );
        let (lse, result) = guarded(&blank(targets.len()), 0, |lse| {
            exec.logsumexp(x, classes, lse)
        });
        result.unwrap();
        let loss = CrossEntropy::new().exec(exec).masked_rows(masked);
        let (losses, grad) = per_row(loss, x, classes, targets);
        Self {
            probs,
            log_probs,
            grad,
            lse,
            losses,
        }
    }

    /// Of a row that has no probabilities.
    fn nan(n: usize) -> Self {
        Self {
            probs: vec![NAN; n],
            log_probs: vec![NAN; n],
            grad: vec![NAN; n],
            lse: vec![NAN],
            losses: vec![NAN],
        }
    }

    fn row(&self, i: usize) -> Self {
        let n = self.probs.len() / self.lse.len();
        let part = |of: &[R]| of[i * n..(i + 1) * n].to_vec();
        Self {
            probs: part(&self.probs),
            log_probs: part(&self.log_probs),
            grad: part(&self.grad),
            lse: vec![self.lse[i]],
            losses: vec![self.losses[i]],
        }
    }

    #[track_caller]
    fn assert(&self, expected: &Self, context: Arguments<'_>) {
        let pairs = [
            ("probability", &self.probs, &expected.probs),
            ("log-probability", &self.log_probs, &expected.log_probs),
            ("gradient", &self.grad, &expected.grad),
            ("log-sum-exp", &self.lse, &expected.lse),
            ("loss", &self.losses, &expected.losses),
        ];
        for (name, got, expected) in pairs {
            assert_bits(got, expected, format_args!("{context}: {name}"));
        }
    }
}

/// Puts a special row between two ordinary ones, which it must leave as they are alone; returns
/// what becomes of it.
#[track_caller]
fn in_a_batch(
    exec: Exec,
    masked: MaskedRows,
    special: &[R],
    target: usize,
    context: Arguments<'_>,
) -> Results {
    const MANY: usize = 33;
    const AT: usize = 20;
    let n = special.len();
    let (row, t) = (ordinary(n), (n / 3) as i64);
    let batch = [&row, special, &row].concat();
    let results = Results::new(exec, masked, &batch, n, &[t, target as i64, t]);
    let alone = Results::new(exec, masked, &row, n, &[t]);
    for neighbour in [0, 2] {
        let context = format_args!("{context}: neighbour {neighbour}");
        results.row(neighbour).assert(&alone, context);
    }
    // Short rows go sixteen at a time: among so many, in the second block.
    if n > 64 {
        return results.row(1);
    }
    let mut many = row.repeat(MANY);
    many[AT * n..(AT + 1) * n].copy_from_slice(special);
    let mut targets = [t; MANY];
    targets[AT] = target as i64;
    let among = Results::new(exec, masked, &many, n, &targets);
    for i in 0..MANY {
        let expected = if i == AT {
            results.row(1)
        } else {
            results.row(0)
        };
        among
            .row(i)
            .assert(&expected, format_args!("{context}: row {i} of {MANY}"));
    }
    results.row(1)
}

#[test]
fn an_element_minus_inf() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 1) {
            for lane in places(n) {
                let mut x = ordinary(n);
                x[lane] = -INF;
                let target = (lane + 1) % n;
                let context = format_args!("{exec:?}, {n} classes, -inf at {lane}");
                let got = in_a_batch(exec, MaskedRows::Nan, &x, target, context);
                let at_lane = [got.probs[lane], got.log_probs[lane], got.grad[lane]];
                assert_bits(&at_lane, &[0.0, -INF, 0.0], context);
                for i in (0..n).filter(|&i| i != lane) {
                    assert!(
                        got.probs[i] > 0.0 && got.probs[i] <= 1.0 && got.log_probs[i].is_finite(),
                        "{context}: element {i}"
                    );
                }
                assert!(
                    got.losses[0].is_finite() && got.lse[0].is_finite(),
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn every_element_but_one_minus_inf() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            for lane in places(n) {
                // Within and beyond the range in which the maximum is not subtracted.
                for top in [0.0, -1e30] {
                    let mut x = vec![-INF; n];
                    x[lane] = top;
                    let context = format_args!("{exec:?}, {n} classes, {top} at {lane}");
                    let got = in_a_batch(exec, MaskedRows::Nan, &x, lane, context);
                    let mut expected = Results {
                        probs: vec![0.0; n],
                        log_probs: vec![-INF; n],
                        grad: vec![0.0; n],
                        lse: vec![top],
                        losses: vec![0.0],
                    };
                    expected.probs[lane] = 1.0;
                    expected.log_probs[lane] = 0.0;
                    got.assert(&expected, context);
                }
            }
        }
    }
}

#[test]
fn every_element_minus_inf() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            let (x, target) = (vec![-INF; n], n / 2);
            let context = format_args!("{exec:?}, {n} classes, NaN asked for");
            let mut expected = Results::nan(n);
            expected.lse = vec![-INF];
            in_a_batch(exec, MaskedRows::Nan, &x, target, context).assert(&expected, context);

            let context = format_args!("{exec:?}, {n} classes, zero asked for");
            let mut expected = Results {
                probs: vec![0.0; n],
                log_probs: vec![-INF; n],
                grad: vec![0.0; n],
                lse: vec![-INF],
                losses: vec![INF],
            };
            expected.grad[target] = -1.0;
            in_a_batch(exec, MaskedRows::Zero, &x, target, context).assert(&expected, context);
        }
    }
}

/// A masked row counts in the mean: its gradient has the factor of the others.
#[test]
fn mean_with_a_masked_row() {
    for exec in execs() {
        let options = CrossEntropy::new().exec(exec).masked_rows(MaskedRows::Zero);
        let x = [-INF, -INF, 0.0, 0.0];
        let (loss, grad) = reduced(options, &x, 2, &[0, 0]);
        let context = format_args!("{exec:?}");
        assert_bits(&[loss], &[INF], context);
        assert_bits(&grad, &[-0.5, 0.0, -0.25, 0.25], context);
    }
}

#[test]
fn any_plus_inf() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            for lane in places(n) {
                // Beside ordinary elements, and beside masked ones.
                for mut x in [ordinary(n), vec![-INF; n], vec![INF; n]] {
                    x[lane] = INF;
                    for target in [lane, n - 1 - lane] {
                        let context = format_args!("{exec:?}, {n} classes, +inf at {lane}");
                        let mut expected = Results::nan(n);
                        expected.lse = vec![INF];
                        in_a_batch(exec, MaskedRows::Zero, &x, target, context)
                            .assert(&expected, context);
                    }
                }
            }
        }
    }
}

#[test]
fn any_nan() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            for lane in places(n) {
                // Beside ordinary elements, masked ones, and infinite ones.
                for (i, mut x) in [ordinary(n), vec![-INF; n], vec![INF; n]]
                    .into_iter()
                    .enumerate()
                {
                    x[lane] = NANS[(lane + i) % NANS.len()];
                    for target in [lane, n - 1 - lane] {
                        let context = format_args!("{exec:?}, {n} classes, NaN at {lane}");
                        in_a_batch(exec, MaskedRows::Zero, &x, target, context)
                            .assert(&Results::nan(n), context);
                    }
                }
            }
        }
    }
}

/// Calls every form with these targets, of which that of `row` is `value` and none of the
/// classes.
#[track_caller]
fn assert_refused<I: Target<R> + Debug>(
    options: CrossEntropy<'_, R>,
    targets: &[I],
    classes: usize,
    row: usize,
    value: i128,
) {
    let x = ordinary(targets.len() * classes);
    let empty = blank(targets.len());
    let error = Error::Target {
        row,
        target: value,
        classes,
    };
    let text = error.to_string();
    for part in [value, row as i128, classes as i128] {
        assert!(text.contains(&part.to_string()), "{text:?} names {part}");
    }
    let context = format_args!("{options:?}, targets {targets:?}");
    assert_eq!(
        options.loss(&x, classes, targets).unwrap_err(),
        error,
        "{context}"
    );
    let (losses, result) = guarded(&empty, 0, |losses| {
        options.loss_per_row(&x, classes, targets, losses)
    });
    assert_eq!(result.unwrap_err(), error, "{context}");
    assert_bits(&losses, &empty, context);

    let (grad, result) = guarded(&blank(x.len()), 0, |grad| {
        options.loss_and_grad(&x, classes, targets, grad)
    });
    assert_eq!(result.unwrap_err(), error, "{context}");
    assert_bits(&grad, &blank(x.len()), context);

    let (grad, result) = guarded(&x, 0, |x| {
        options.loss_and_grad_in_place(x, classes, targets)
    });
    assert_eq!(result.unwrap_err(), error, "{context}");
    assert_bits(&grad, &x, context);

    let (grad, (losses, result)) = guarded(&blank(x.len()), 0, |grad| {
        guarded(&empty, 0, |losses| {
            options.loss_per_row_and_grad(&x, classes, targets, losses, grad)
        })
    });
    assert_eq!(result.unwrap_err(), error, "{context}");
    assert_bits(&grad, &blank(x.len()), context);
    assert_bits(&losses, &empty, context);

    let (grad, (losses, result)) = guarded(&x, 0, |x| {
        guarded(&empty, 0, |losses| {
            options.loss_per_row_and_grad_in_place(x, classes, targets, losses)
        })
    });
    assert_eq!(result.unwrap_err(), error, "{context}");
    assert_bits(&grad, &x, context);
    assert_bits(&losses, &empty, context);
}

#[test]
fn target_out_of_range() {
    for exec in execs() {
        let options = CrossEntropy::new().exec(exec);
        for bad in [-1, -99, -101, 10, 11, i64::MIN, i64::MAX] {
            for row in 0..3 {
                let mut targets = [3, -100, 9];
                targets[row] = bad;
                assert_refused(options, &targets, 10, row, bad.into());
            }
        }
        assert_refused(options, &[0, 255_u8], 255, 1, 255);
        assert_refused(options, &[0, u16::MAX], 10, 1, u16::MAX.into());
        assert_refused(options, &[0, u32::MAX], 10, 1, u32::MAX.into());
        assert_refused(options, &[0, u64::MAX], 10, 1, u64::MAX.into());
        assert_refused(options, &[0, usize::MAX], 10, 1, usize::MAX as i128);
        assert_refused(options, &[0, i8::MIN], 10, 1, i8::MIN.into());
        assert_refused(options, &[0, i16::MIN], 10, 1, i16::MIN.into());
        assert_refused(options, &[0, i32::MIN], 10, 1, i32::MIN.into());
        assert_refused(options, &[0, isize::MAX], 10, 1, isize::MAX as i128);
        // The bits of -100, but not its value.
        assert_refused(options, &[0, u64::MAX - 99], 10, 1, (u64::MAX - 99).into());
        assert_refused(options, &[0, u32::MAX - 99], 10, 1, (u32::MAX - 99).into());
        // The first of several.
        assert_refused(options, &[0, 12, -1, 11], 10, 1, 12);
        // The last of a batch that is otherwise spread over threads.
        let mut targets = vec![2; 70_000];
        targets[69_999] = 4;
        assert_refused(options, &targets, 4, 69_999, 4);
        // Nothing is ignored, or something else.
        assert_refused(options.ignore_index(None), &[0, -100], 10, 1, -100);
        assert_refused(options.ignore_index(Some(-1)), &[-1, -100], 10, 1, -100);
    }
}

#[test]
fn every_type_of_target() {
    for exec in execs() {
        let options = CrossEntropy::new().exec(exec).ignore_index(Some(4));
        let x = ordinary(15);
        let expected = per_row(options, &x, 5, &[1_i64, 4, 3]);
        let check = |(losses, grad): (Vec<R>, Vec<R>)| {
            assert_bits(&losses, &expected.0, format_args!("{exec:?}: losses"));
            assert_bits(&grad, &expected.1, format_args!("{exec:?}: gradient"));
        };
        check(per_row(options, &x, 5, &[1_u8, 4, 3]));
        check(per_row(options, &x, 5, &[1_u16, 4, 3]));
        check(per_row(options, &x, 5, &[1_u32, 4, 3]));
        check(per_row(options, &x, 5, &[1_u64, 4, 3]));
        check(per_row(options, &x, 5, &[1_usize, 4, 3]));
        check(per_row(options, &x, 5, &[1_i8, 4, 3]));
        check(per_row(options, &x, 5, &[1_i16, 4, 3]));
        check(per_row(options, &x, 5, &[1_i32, 4, 3]));
        check(per_row(options, &x, 5, &[1_isize, 4, 3]));
    }
}

#[test]
fn target_equal_to_ignore_index() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            // An ignored row may hold anything.
            for special in [ordinary(n), vec![-INF; n], vec![INF; n], vec![NANS[1]; n]] {
                let row = ordinary(n);
                let x = [&row[..], &special, &row].concat();
                let t = (n / 2) as i64;
                for (ignore, ignored) in [(Some(-100), -100), (Some(-1), -1), (Some(7), 7)] {
                    let context = format_args!("{exec:?}, {n} classes, {ignored} ignored");
                    let t = if t == ignored { t - 1 } else { t };
                    let options = CrossEntropy::new().exec(exec).ignore_index(ignore);
                    let (losses, grad) = per_row(options, &x, n, &[t, ignored, t]);
                    let (loss_alone, grad_alone) = per_row(options, &row, n, &[t]);
                    let loss = loss_alone[0];
                    assert_bits(&losses, &[loss, 0.0, loss], context);
                    let zero = vec![0.0; n];
                    assert_bits(
                        &grad,
                        &[&grad_alone[..], &zero, &grad_alone].concat(),
                        context,
                    );

                    // Two rows count, so the mean of equal losses is one of them, and the
                    // gradients are halved, which is exact.
                    let (mean, grad) = reduced(options, &x, n, &[t, ignored, t]);
                    assert_bits(&[mean], &[loss], context);
                    let half: Vec<R> = grad_alone.iter().map(|g| g / 2.0).collect();
                    assert_bits(&grad, &[&half[..], &zero, &half].concat(), context);
                    let sum = options.reduction(Reduction::Sum);
                    let (sum, grad) = reduced(sum, &x, n, &[t, ignored, t]);
                    assert_bits(&[sum], &[2.0 * loss], context);
                    assert_bits(
                        &grad,
                        &[&grad_alone[..], &zero, &grad_alone].concat(),
                        context,
                    );
                }
            }
        }
    }
}

#[test]
fn mean_without_divisor() {
    let means = [(EmptyMean::Nan, NAN), (EmptyMean::Zero, 0.0)];
    for exec in execs() {
        for (empty, expected) in means {
            for rows in [0, 1, 3, 20_000] {
                let options = CrossEntropy::new().exec(exec).empty_mean(empty);
                let context = format_args!("{exec:?}, {rows} rows, {empty:?}");
                // Ignored by default, or because their class is.
                for (ignore, targets) in [(-100, vec![-100; rows]), (2, vec![2; rows])] {
                    let options = options.ignore_index(Some(ignore));
                    let (loss, grad) = reduced(options, &vec![NAN; rows * 4], 4, &targets);
                    assert_bits(&[loss], &[expected], context);
                    assert_bits(&grad, &vec![0.0; rows * 4], context);
                    let sum = options.reduction(Reduction::Sum);
                    let (loss, grad) = reduced(sum, &vec![NAN; rows * 4], 4, &targets);
                    assert_bits(&[loss], &[0.0], context);
                    assert_bits(&grad, &vec![0.0; rows * 4], context);
                }
            }
            let options = BinaryCrossEntropy::new().exec(exec).empty_mean(empty);
            let losses = [
                options.loss::<R>(&[], 3, &[]),
                options.loss_and_grad(&[], 3, &[], &mut [INF; 0]),
                options.loss_and_grad_in_place::<R>(&mut [], 3, &[]),
                options.loss::<R>(&[], 0, &[]),
            ];
            let context = format_args!("{exec:?}, no elements, {empty:?}");
            assert_bits(&losses.map(Result::unwrap), &[expected; 4], context);
            let sum = options.reduction(Reduction::Sum);
            let loss = sum.loss::<R>(&[], 3, &[]).unwrap();
            assert_bits(&[loss], &[0.0], context);
        }
    }
}

#[test]
fn target_class_minus_inf() {
    for exec in execs() {
        let options = CrossEntropy::new().exec(exec);
        for n in lengths().filter(|&n| n > 1) {
            for target in places(n) {
                let mut special = ordinary(n);
                special[target] = -INF;
                let context = format_args!("{exec:?}, {n} classes, target {target}");
                let got = in_a_batch(exec, MaskedRows::Nan, &special, target, context);
                assert_bits(&[got.losses[0], got.grad[target]], &[INF, -1.0], context);
                // The others share the probability as if the target were not there.
                assert!(
                    (0..n).all(|i| i == target || got.grad[i] > 0.0),
                    "{context}"
                );

                // One of three rows, one of which is ignored: the factor is 1/2. Of three: 1/3.
                let x = [&ordinary(n)[..], &special, &ordinary(n)].concat();
                for (targets, factor) in [
                    ([0, target as i64, -100], 0.5),
                    ([0, target as i64, 0], 1.0 / 3.0),
                ] {
                    let (loss, grad) = reduced(options, &x, n, &targets);
                    assert_bits(&[loss, grad[n + target]], &[INF, -factor], context);
                }
            }
        }
    }
}

#[test]
fn zero_rows() {
    for exec in execs() {
        for classes in [0, 1, 3, 16, 5000] {
            for masked in [MaskedRows::Nan, MaskedRows::Zero] {
                let got = Results::new(exec, masked, &[], classes, &[]);
                assert!(got.probs.is_empty() && got.losses.is_empty());
            }
            assert!(softmax_backward(exec, &[], &[], classes).is_empty());
            assert!(log_softmax_backward(exec, &[], &[], classes).is_empty());
        }
        assert!(exp(exec, &[]).is_empty() && sigmoid(exec, &[]).is_empty());
        let (loss, losses, grad) = binary_cross_entropy(exec, &[], &[]);
        assert_bits(&[loss], &[0.0], format_args!("{exec:?}"));
        assert!(losses.is_empty() && grad.is_empty());
    }
}

#[test]
fn zero_classes() {
    for exec in execs() {
        for rows in [1, 3, 100_000] {
            let context = format_args!("{exec:?}, {rows} rows");
            let (lse, result) = guarded(&blank(rows), 0, |lse| exec.logsumexp(&[INF; 0], 0, lse));
            result.unwrap();
            assert_bits(&lse, &vec![-INF; rows], context);

            // No class can be a target.
            let options = CrossEntropy::new().exec(exec);
            assert_refused(options, &vec![0; rows], 0, 0, 0);
            let ignored = vec![-100; rows];
            let (losses, _) = per_row(options, &[], 0, &ignored);
            assert_bits(&losses, &vec![0.0; rows], context);
            let (loss, _) = reduced(options, &[], 0, &ignored);
            assert_bits(&[loss], &[NAN], context);
        }
    }
}

#[test]
fn sigmoid_at_infinity() {
    for exec in execs() {
        for n in lengths() {
            for lane in places(n) {
                let specials = [(INF, 1.0), (-INF, 0.0), (0.0, 0.5), (-0.0, 0.5)];
                for (special, expected) in specials.into_iter().chain(NANS.map(|x| (x, NAN))) {
                    let context = format_args!("{exec:?}, {n} elements, {special} at {lane}");
                    let mut x = ordinary(n);
                    let mut y = sigmoid(exec, &x);
                    x[lane] = special;
                    y[lane] = expected;
                    assert_bits(&sigmoid(exec, &x), &y, context);
                }
            }
        }
    }
}

#[test]
fn binary_cross_entropy_at_infinity() {
    // Logit, label, loss, gradient.
    let infinite = [
        (INF, 1.0, 0.0, 0.0),
        (INF, 0.5, INF, 0.5),
        (INF, 0.0, INF, 1.0),
        (-INF, 1.0, INF, -1.0),
        (-INF, 0.5, INF, -0.5),
        (-INF, 0.0, 0.0, 0.0),
    ];
    let nan = NANS.map(|nan| (nan, 0.0, NAN, NAN));
    let nan_label = NANS.map(|nan| (1.0, nan, NAN, NAN));
    let specials = [&infinite[..], &nan, &nan_label].concat();
    for exec in execs() {
        for n in lengths() {
            let ordinary_labels: Vec<R> = (0..n).map(|i| (i % 3) as R / 2.0).collect();
            let (_, losses, grad) = binary_cross_entropy(exec, &ordinary(n), &ordinary_labels);
            for lane in places(n) {
                for &(logit, label, loss, slope) in &specials {
                    let context =
                        format_args!("{exec:?}, {n} elements, {logit}, {label} at {lane}");
                    let (mut x, mut labels) = (ordinary(n), ordinary_labels.clone());
                    (x[lane], labels[lane]) = (logit, label);
                    let (mut losses, mut grad) = (losses.clone(), grad.clone());
                    (losses[lane], grad[lane]) = (loss, slope);
                    let (sum, got_losses, got_grad) = binary_cross_entropy(exec, &x, &labels);
                    assert_bits(&got_losses, &losses, context);
                    assert_bits(&got_grad, &grad, context);
                    if loss != 0.0 {
                        assert_bits(&[sum], &[loss], context);
                    }
                }
            }
        }
    }
}

#[test]
fn softmax_backward_where_y_is_0() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 1) {
            for lane in places(n) {
                let context = format_args!("{exec:?}, {n} classes, 0 at {lane}");
                let (row, dy) = (ordinary(n), ordinary(n));
                let mut y = vec![0.0; n];
                exec.softmax(&row, n, &mut y).unwrap();
                for zero in [0.0, -0.0] {
                    y[lane] = zero;
                    let mut dy_0 = dy.clone();
                    dy_0[lane] = 0.0;
                    let expected = softmax_backward(exec, &y, &dy_0, n);
                    assert_bits(&[expected[lane]], &[0.0], context);
                    for special in [INF, -INF, R::MAX, -1.0] {
                        // The neighbours have an ordinary gradient there.
                        let mut dy_1 = dy.clone();
                        dy_1[lane] = special;
                        let batch = [&dy[..], &dy_1, &dy].concat();
                        let dx = softmax_backward(exec, &y.repeat(3), &batch, n);
                        assert_bits(&dx[n..2 * n], &expected, context);
                        let alone = softmax_backward(exec, &y, &dy, n);
                        assert_bits(&dx[..n], &alone, context);
                        assert_bits(&dx[2 * n..], &alone, context);
                    }
                    // Two that would cancel to NaN.
                    let other = (lane + 1) % n;
                    let (mut y, mut dy) = (y.clone(), dy_0);
                    y[other] = zero;
                    dy[other] = 0.0;
                    let expected = softmax_backward(exec, &y, &dy, n);
                    (dy[lane], dy[other]) = (INF, -INF);
                    assert_bits(&softmax_backward(exec, &y, &dy, n), &expected, context);
                }
            }
        }
    }
}

#[test]
fn backward_of_nan() {
    type Backward = fn(Exec, &[R], &[R], usize) -> Vec<R>;
    for exec in execs() {
        for n in lengths().filter(|&n| n > 0) {
            let (row, dy) = (ordinary(n), ordinary(n));
            let (mut probs, mut log_probs) = (vec![0.0; n], vec![0.0; n]);
            exec.softmax(&row, n, &mut probs).unwrap();
            exec.log_softmax(&row, n, &mut log_probs).unwrap();
            let passes: [(Backward, &[R], R); 2] = [
                (softmax_backward, &probs, 0.0),
                (log_softmax_backward, &log_probs, -INF),
            ];
            for (backward, y, nothing) in passes {
                let alone = backward(exec, y, &dy, n);
                for lane in places(n) {
                    let other = n - 1 - lane;
                    let nan = NANS[lane % NANS.len()];
                    let context = format_args!("{exec:?}, {n} classes, NaN at {lane}");
                    // Whatever the probability is, there or elsewhere.
                    for (at, p) in [(lane, y[lane]), (lane, nothing), (other, nothing)] {
                        let (mut special_y, mut special_dy) = (y.to_vec(), dy.clone());
                        special_y[at] = p;
                        special_dy[lane] = nan;
                        let batch = [y, &special_y, y].concat();
                        let batch_dy = [&dy[..], &special_dy, &dy].concat();
                        let dx = backward(exec, &batch, &batch_dy, n);
                        let expected = [&alone[..], &vec![NAN; n], &alone].concat();
                        assert_bits(&dx, &expected, context);
                    }
                }
            }
            for lane in places(n) {
                let context = format_args!("{exec:?}, {n} classes, probability NaN at {lane}");
                probs[lane] = NANS[lane % NANS.len()];
                let dx = softmax_backward(exec, &probs, &dy, n);
                assert_bits(&dx, &vec![NAN; n], context);
            }
        }
    }
}

#[test]
fn log_softmax_backward_where_y_is_minus_inf() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 1) {
            for lane in places(n) {
                let context = format_args!("{exec:?}, {n} classes, -inf at {lane}");
                let (mut x, dy) = (ordinary(n), ordinary(n));
                x[lane] = -INF;
                let mut y = vec![0.0; n];
                exec.log_softmax(&x, n, &mut y).unwrap();
                let dx = log_softmax_backward(exec, &y, &dy, n);
                assert_bits(&[dx[lane]], &[dy[lane]], context);
                assert!(dx.iter().all(|dx| dx.is_finite()), "{context}");
            }
        }
    }
}

/// However large the gradients beside it: they are scaled, and this one must not be.
#[test]
fn log_softmax_backward_where_y_is_minus_inf_and_the_sum_is_huge() {
    for exec in execs() {
        let dx = log_softmax_backward(exec, &[0.0, -INF, -INF], &[2e30, 1e-30, -1e-45], 3);
        assert_bits(&dx[1..], &[1e-30, -1e-45], format_args!("{exec:?}"));
    }
}

/// The sum is `1 + 0.98 u`, which an element cannot hold, and what it leaves out is seen.
#[test]
fn log_softmax_backward_takes_the_sum_before_it_is_rounded() {
    let u = R::EPSILON / 2.0;
    let dy = [-0.96 * u, 1.0, 1.94 * u];
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let exec = Exec::new().backend(backend);
        let dx = log_softmax_backward(exec, &[0.0, -INF, -INF], &dy, 3);
        let expected = [-1.0 - R::EPSILON, dy[1], dy[2]];
        assert_bits(&dx, &expected, format_args!("{backend:?}"));
    }
}

/// The formulas by IEEE rules, as in `PyTorch`.
#[test]
fn infinite_gradients_flow() {
    for exec in execs() {
        for n in lengths().filter(|&n| n > 1) {
            for lane in places(n) {
                for infinity in [INF, -INF] {
                    let context = format_args!("{exec:?}, {n} classes, {infinity} at {lane}");
                    let mut dy = ordinary(n);
                    dy[lane] = infinity;
                    let mut expected = vec![-infinity; n];
                    expected[lane] = NAN;
                    let mut y = vec![0.0; n];
                    exec.softmax(&ordinary(n), n, &mut y).unwrap();
                    assert_bits(&softmax_backward(exec, &y, &dy, n), &expected, context);
                    exec.log_softmax(&ordinary(n), n, &mut y).unwrap();
                    assert_bits(&log_softmax_backward(exec, &y, &dy, n), &expected, context);
                }
            }
        }
    }
}

/// Runs a call that must be refused: the error, both numbers in its message, nothing written.
#[track_caller]
fn refuse(content: &[R], error: Error, call: &dyn Fn(&mut [R]) -> Result<(), Error>) {
    let (after, result) = guarded(content, 0, call);
    assert_eq!(result, Err(error));
    assert_bits(&after, content, format_args!("{error}"));
    let (a, b) = match error {
        Error::Shape { len, classes } => (len, classes),
        Error::Length { expected, found } => (expected, found),
        _ => unreachable!("{error}"),
    };
    let text = error.to_string();
    let numbers: Vec<&str> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| !number.is_empty())
        .collect();
    assert_eq!(numbers, [a.to_string(), b.to_string()], "{text}");
}

#[test]
fn elements_that_are_no_whole_number_of_rows() {
    for exec in execs() {
        let softmax = Softmax::new().exec(exec);
        let loss = CrossEntropy::new().exec(exec);
        let binary = BinaryCrossEntropy::new().exec(exec);
        for (len, classes) in [(10, 3), (10, 11), (10, 0), (1, 0), (100_001, 10)] {
            let (x, targets) = (&ordinary(len), &vec![0; 3]);
            let error = Error::Shape { len, classes };
            let apart = |call: &dyn Fn(&mut [R]) -> Result<(), Error>| {
                refuse(&blank(len), error, call);
            };
            let over = |call: &dyn Fn(&mut [R]) -> Result<(), Error>| refuse(x, error, call);
            apart(&|y| exec.softmax(x, classes, y));
            over(&|x| exec.softmax_in_place(x, classes));
            apart(&|y| exec.log_softmax(x, classes, y));
            over(&|x| exec.log_softmax_in_place(x, classes));
            apart(&|y| softmax.probs(x, classes, y));
            over(&|x| softmax.probs_in_place(x, classes));
            apart(&|y| softmax.log_probs(x, classes, y));
            over(&|x| softmax.log_probs_in_place(x, classes));
            apart(&|lse| exec.logsumexp(x, classes, lse));
            apart(&|dx| exec.softmax_backward(x, x, classes, dx));
            over(&|dy| exec.softmax_backward_in_place(x, dy, classes));
            apart(&|dx| exec.log_softmax_backward(x, x, classes, dx));
            over(&|dy| exec.log_softmax_backward_in_place(x, dy, classes));
            over(&|x| loss.loss(x, classes, targets).map(drop));
            apart(&|losses| loss.loss_per_row(x, classes, targets, losses));
            apart(&|grad| loss.loss_and_grad(x, classes, targets, grad).map(drop));
            over(&|x| loss.loss_and_grad_in_place(x, classes, targets).map(drop));
            apart(&|grad| loss.loss_per_row_and_grad(x, classes, targets, &mut [0.0; 3], grad));
            apart(&|losses| {
                loss.loss_per_row_and_grad(x, classes, targets, losses, &mut blank(len))
            });
            over(&|x| loss.loss_per_row_and_grad_in_place(x, classes, targets, &mut [0.0; 3]));
            apart(&|losses| {
                loss.loss_per_row_and_grad_in_place(&mut x.clone(), classes, targets, losses)
            });
            over(&|x| binary.loss(x, classes, x).map(drop));
            apart(&|losses| binary.loss_per_element(x, classes, x, losses));
            apart(&|grad| binary.loss_and_grad(x, classes, x, grad).map(drop));
            over(&|logits| binary.loss_and_grad_in_place(logits, classes, x).map(drop));
        }
    }
}

#[test]
fn outputs_of_another_length() {
    for exec in execs() {
        let softmax = Softmax::new().exec(exec);
        let loss = CrossEntropy::new().exec(exec);
        let binary = BinaryCrossEntropy::new().exec(exec);
        // Too short, too long, none at all; and for a batch of nothing.
        for (expected, found) in [(12, 11), (12, 13), (12, 16), (12, 0), (0, 4), (280_000, 4)] {
            let (x, targets) = (&ordinary(expected), &vec![0; expected / 4]);
            let call = |call: &dyn Fn(&mut [R]) -> Result<(), Error>| {
                refuse(&blank(found), Error::Length { expected, found }, call);
            };
            call(&|y| exec.exp(x, y));
            call(&|y| exec.sigmoid(x, y));
            call(&|y| exec.softmax(x, 4, y));
            call(&|y| exec.log_softmax(x, 4, y));
            call(&|y| softmax.probs(x, 4, y));
            call(&|y| softmax.log_probs(x, 4, y));
            call(&|dx| exec.softmax_backward(x, x, 4, dx));
            call(&|dx| exec.log_softmax_backward(x, x, 4, dx));
            call(&|grad| loss.loss_and_grad(x, 4, targets, grad).map(drop));
            call(&|grad| {
                loss.loss_per_row_and_grad(x, 4, targets, &mut blank(targets.len()), grad)
            });
            call(&|grad| binary.loss_and_grad(x, 4, x, grad).map(drop));
            call(&|losses| binary.loss_per_element(x, 4, x, losses));
            // The second input of two.
            call(&|y| exec.softmax_backward(x, y, 4, &mut blank(expected)));
            call(&|y| exec.softmax_backward_in_place(x, y, 4));
            call(&|y| exec.log_softmax_backward(x, y, 4, &mut blank(expected)));
            call(&|y| exec.log_softmax_backward_in_place(x, y, 4));
            call(&|labels| binary.loss(x, 4, labels).map(drop));
            call(&|labels| binary.loss_per_element(x, 4, labels, &mut blank(expected)));
            call(&|labels| {
                binary
                    .loss_and_grad(x, 4, labels, &mut blank(expected))
                    .map(drop)
            });
            call(&|labels| {
                binary
                    .loss_and_grad_in_place(&mut x.clone(), 4, labels)
                    .map(drop)
            });
            // The in-place form keeps its logits too.
            refuse(x, Error::Length { expected, found }, &|x| {
                binary.loss_and_grad_in_place(x, 4, &blank(found)).map(drop)
            });
        }
    }
}

#[test]
fn another_number_of_rows() {
    for exec in execs() {
        let loss = CrossEntropy::new().exec(exec);
        // Three rows of four, no row of four, two rows of nothing, nothing at all.
        for (expected, classes, found) in [
            (3, 4, 2),
            (3, 4, 4),
            (3, 4, 0),
            (0, 4, 1),
            (2, 0, 3),
            (0, 0, 3),
        ] {
            let x = &ordinary(expected * classes);
            let error = Error::Length { expected, found };
            let call = |call: &dyn Fn(&mut [R]) -> Result<(), Error>| {
                refuse(&blank(found), error, call);
            };
            // Losses: as many as there are targets.
            let targets = &vec![-100; expected];
            call(&|losses| loss.loss_per_row(x, classes, targets, losses));
            call(&|losses| {
                loss.loss_per_row_and_grad(x, classes, targets, losses, &mut blank(x.len()))
            });
            refuse(&blank(x.len()), error, &|grad| {
                loss.loss_per_row_and_grad(x, classes, targets, &mut blank(found), grad)
            });
            call(&|losses| {
                loss.loss_per_row_and_grad_in_place(&mut x.clone(), classes, targets, losses)
            });
            refuse(x, error, &|x| {
                loss.loss_per_row_and_grad_in_place(x, classes, targets, &mut blank(found))
            });
            if classes == 0 {
                continue; // The rows come from the targets, or from the results.
            }
            call(&|lse| exec.logsumexp(x, classes, lse));
            let targets = &vec![-100; found];
            refuse(x, error, &|x| loss.loss(x, classes, targets).map(drop));
            call(&|losses| loss.loss_per_row(x, classes, targets, losses));
            refuse(x, error, &|x| {
                loss.loss_and_grad_in_place(x, classes, targets).map(drop)
            });
            refuse(&blank(x.len()), error, &|grad| {
                loss.loss_and_grad(x, classes, targets, grad).map(drop)
            });
            refuse(&blank(x.len()), error, &|grad| {
                loss.loss_per_row_and_grad(x, classes, targets, &mut blank(found), grad)
            });
            refuse(x, error, &|x| {
                loss.loss_per_row_and_grad_in_place(x, classes, targets, &mut blank(found))
            });
        }
    }
}

#[test]
fn max_of_a_slice() {
    for exec in execs() {
        let max = |x: &[R]| exec.max(x).unwrap();
        assert_bits(&[max(&[])], &[-INF], format_args!("{exec:?}: empty"));
        for n in lengths().filter(|&n| n > 0) {
            for lane in places(n) {
                for (others, special, expected) in [
                    (-1.0, 2.0, 2.0),
                    (-1.0, INF, INF),
                    (-INF, -INF, -INF),
                    (-INF, R::MIN, R::MIN),
                    (-0.0, 0.0, 0.0),
                    (0.0, -0.0, if n == 1 { -0.0 } else { 0.0 }),
                    (-0.0, -0.0, -0.0),
                    (-1.0, -0.0, -0.0),
                    (-1e-45, -0.0, -0.0),
                    (INF, NANS[0], NAN),
                    (-INF, NANS[1], NAN),
                    (0.0, NANS[2], NAN),
                    (1.0, NANS[3], NAN),
                ] {
                    let mut x = vec![others; n];
                    x[lane] = special;
                    let context = format_args!("{exec:?}, {n} times {others}, {special} at {lane}");
                    assert_bits(&[max(&x)], &[expected], context);
                }
            }
        }
    }
}

#[test]
fn sum_of_a_slice() {
    for exec in execs() {
        let sum = |x: &[R]| exec.sum(x).unwrap();
        assert_bits(&[sum(&[])], &[0.0], format_args!("{exec:?}: empty"));
        for n in lengths().filter(|&n| n > 0) {
            for lane in places(n) {
                for (others, special, expected) in [
                    (0.0, 1.5, 1.5),
                    (1.0, 1.0, n as R),
                    (1.0, INF, INF),
                    (1.0, -INF, -INF),
                    (-INF, INF, if n == 1 { INF } else { NAN }),
                    (1.0, NANS[lane % 4], NAN),
                    (INF, NANS[lane % 4], NAN),
                    (-0.0, -0.0, 0.0),
                ] {
                    let mut x = vec![others; n];
                    x[lane] = special;
                    let context = format_args!("{exec:?}, {n} times {others}, {special} at {lane}");
                    assert_bits(&[sum(&x)], &[expected], context);
                }
            }
        }
        assert_bits(&[sum(&[R::MAX; 2])], &[INF], format_args!("{exec:?}"));
    }
}

/// Rows that systems of this kind have stumbled over, as their users reported.
#[test]
fn rows_that_others_got_wrong() {
    for exec in execs() {
        let probs = |x: &[R], expected: &[R]| {
            let got = Results::new(exec, MaskedRows::Nan, x, x.len(), &[0]);
            assert_bits(&got.probs, expected, format_args!("{exec:?}, {x:?}"));
            got
        };
        for n in [1, 7, 8, 15, 16, 17, 127, 128] {
            probs(&vec![-INF; n], &vec![NAN; n]);
        }
        probs(&[0.0, INF], &[NAN; 2]);
        probs(&[INF, INF], &[NAN; 2]);
        probs(&[-INF, 0.0, INF], &[NAN; 3]);
        probs(&[1e8; 2], &[0.5; 2]);
        probs(&[1e20; 2], &[0.5; 2]);
        probs(&[-1e10; 11], &[1.0 / 11.0; 11]);
        probs(&[R::MAX; 4], &[0.25; 4]);
        probs(&[R::MIN; 4], &[0.25; 4]);
        probs(&[R::MAX, R::MIN], &[1.0, 0.0]);
        probs(&[890.25, -2174.7, 0.0], &[1.0, 0.0, 0.0]);
        probs(&vec![1.0; 4096], &vec![1.0 / 4096.0; 4096]);
        probs(&[-3.0; 512], &[1.0 / 512.0; 512]);
        // Far below zero, where a fixed floor would take the place of the row.
        let got = probs(&[-2e4, -2e4], &[0.5; 2]);
        let ln_2 = R::ln(2.0);
        assert_bits(&got.losses, &[ln_2], format_args!("{exec:?}"));
        // 1 x 1: a certain row.
        let got = probs(&[5.0], &[1.0]);
        let certain = [got.losses[0], got.grad[0], got.log_probs[0]];
        assert_bits(&certain, &[0.0; 3], format_args!("{exec:?}"));
    }
}

#[test]
fn unaligned_slices() {
    for exec in execs() {
        let (n, rows) = (37, 5);
        let (x, targets) = (ordinary(n * rows), [0, 36, -100, 15, 16]);
        let expected = Results::new(exec, MaskedRows::Nan, &x, n, &targets);
        for offset in 0..17 {
            let (_, results) = guarded(&x, offset, |x| {
                Results::new(exec, MaskedRows::Nan, x, n, &targets)
            });
            results.assert(&expected, format_args!("{exec:?}, offset {offset}"));
        }
    }
}
