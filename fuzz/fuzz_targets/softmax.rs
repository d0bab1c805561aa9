//! Softmax, log-softmax, log-sum-exp and the backward passes, against an `f64` oracle and each other.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use softlane::{Error, Exec, MaskedRows, Softmax};
use softlane_fuzz::check::{
    blank, check, length_error, outcome, output, probability, rows_error, shape_error, within,
};
use softlane_fuzz::input::{Floats, Lengths, Shape};
use softlane_fuzz::oracle;
use softlane_fuzz::ulp::{Want, ulp};

#[derive(Arbitrary, Debug)]
struct Input {
    operation: Operation,
    /// Lengths that may not fit: then only that is looked at.
    misfit: Option<Lengths>,
    shape: Shape,
    offset: u8,
    masked_rows_are_zero: bool,
    x: Floats,
    dy: Floats,
    /// For the backward passes, in place of the results that belong to `x`.
    y: Option<Floats>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    Softmax,
    LogSoftmax,
    LogSumExp,
    SoftmaxBackward,
    LogSoftmaxBackward,
}

fuzz_target!(|input: Input| {
    match input.operation {
        Operation::Softmax => forward(
            &input,
            probabilities,
            Softmax::probs,
            Softmax::probs_in_place,
        ),
        Operation::LogSoftmax => forward(
            &input,
            log_probabilities,
            Softmax::log_probs,
            Softmax::log_probs_in_place,
        ),
        Operation::LogSumExp => logsumexp(&input),
        Operation::SoftmaxBackward => backward(
            &input,
            probabilities,
            softmax_backward,
            Exec::softmax_backward,
            Exec::softmax_backward_in_place,
        ),
        Operation::LogSoftmaxBackward => backward(
            &input,
            log_probabilities,
            log_softmax_backward,
            Exec::log_softmax_backward,
            Exec::log_softmax_backward_in_place,
        ),
    }
});

// The bounds that the documentation states, in ULP.
const LOG_SOFTMAX: f64 = 2.5;
const LOG_SUM_EXP: f64 = 1.5;
const SOFTMAX_BACKWARD: f64 = 2.0;
const LOG_SOFTMAX_BACKWARD: f64 = 3.0;

impl Input {
    fn offset(&self) -> usize {
        usize::from(self.offset % 4)
    }

    fn softmax(&self) -> Softmax {
        Softmax::new().masked_rows(if self.masked_rows_are_zero {
            MaskedRows::Zero
        } else {
            MaskedRows::Nan
        })
    }
}

/// The rows of a batch; none if they are empty.
fn rows(x: &[f32], classes: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(classes.max(1))
}

/// Rows that are worth a call each, beside one for all.
fn few(shape: Shape) -> bool {
    shape.classes > 0 && shape.rows <= 20
}

fn forward(
    input: &Input,
    want: fn(&[f32], bool) -> Vec<Want>,
    call: fn(Softmax, &[f32], usize, &mut [f32]) -> Result<(), Error>,
    in_place: fn(Softmax, &mut [f32], usize) -> Result<(), Error>,
) {
    let softmax = input.softmax();
    if let Some(misfit) = input.misfit {
        let (classes, [len, out, _]) = (misfit.classes(), misfit.slices());
        let x = input.x.take(len);
        let shape = shape_error(len, classes);
        outcome(shape.or(length_error(len, out)), &blank(out), |y| {
            call(softmax, &x, classes, y)
        });
        outcome(shape, &x, |x| in_place(softmax, x, classes));
        return;
    }
    let (classes, offset) = (input.shape.classes, input.offset());
    let x = input.x.take(input.shape.len());
    let want: Vec<_> = rows(&x, classes)
        .flat_map(|row| want(row, input.masked_rows_are_zero))
        .collect();
    check(Some(&want), |exec| {
        let softmax = softmax.exec(exec);
        let (y, ()) = output(&blank(x.len()), offset, |y| call(softmax, &x, classes, y));
        let (over_x, ()) = output(&x, offset, |x| in_place(softmax, x, classes));
        let mut forms = vec![y, over_x];
        if few(input.shape) {
            let (each, ()) = output(&x, offset, |x| {
                x.chunks_exact_mut(classes)
                    .try_for_each(|row| in_place(softmax, row, classes))
            });
            forms.push(each);
        }
        forms
    });
}

fn logsumexp(input: &Input) {
    if let Some(misfit) = input.misfit {
        let (classes, [len, out, _]) = (misfit.classes(), misfit.slices());
        let x = input.x.take(len);
        let error = shape_error(len, classes).or(rows_error(len, classes, out));
        outcome(error, &blank(out), |lse| {
            softlane::logsumexp(&x, classes, lse)
        });
        return;
    }
    let Shape { rows, classes } = input.shape;
    let x = input.x.take(input.shape.len());
    let want: Vec<_> = (0..rows)
        .map(|row| {
            let lse = oracle::logsumexp(&x[row * classes..][..classes]);
            within(LOG_SUM_EXP, Want::ulp_of(lse, lse.abs().max(1.0)))
        })
        .collect();
    check(Some(&want), |exec| {
        let call = |lse: &mut [f32]| exec.logsumexp(&x, classes, lse);
        let (batch, ()) = output(&blank(rows), input.offset(), call);
        let mut forms = vec![batch];
        if few(input.shape) {
            let (each, ()) = output(&blank(rows), input.offset(), |lse| {
                x.chunks_exact(classes)
                    .zip(lse.chunks_exact_mut(1))
                    .try_for_each(|(row, lse)| exec.logsumexp(row, classes, lse))
            });
            forms.push(each);
        }
        forms
    });
}

type Backward = fn(Exec, &[f32], &[f32], usize, &mut [f32]) -> Result<(), Error>;
type BackwardInPlace = fn(Exec, &[f32], &mut [f32], usize) -> Result<(), Error>;

fn backward(
    input: &Input,
    results: fn(&[f32], bool) -> Vec<Want>,
    want: fn(&[f32], &[f32]) -> Option<Vec<Want>>,
    call: Backward,
    in_place: BackwardInPlace,
) {
    if let Some(misfit) = input.misfit {
        let (classes, [len, second, out]) = (misfit.classes(), misfit.slices());
        let (y, dy) = (input.x.take(len), input.dy.take(second));
        let error = length_error(len, second).or(shape_error(len, classes));
        outcome(error.or(length_error(len, out)), &blank(out), |dx| {
            call(Exec::new(), &y, &dy, classes, dx)
        });
        outcome(error, &dy, |dy| in_place(Exec::new(), &y, dy, classes));
        return;
    }
    let (classes, offset) = (input.shape.classes, input.offset());
    let dy = input.dy.take(input.shape.len());
    // Results that belong to logits have known gradients. Of others, only what does not depend on
    // their meaning is checked.
    let (y, want) = if let Some(y) = &input.y {
        (y.take(input.shape.len()), None)
    } else {
        let x = input.x.take(input.shape.len());
        let y: Vec<_> = rows(&x, classes)
            .flat_map(|row| results(row, input.masked_rows_are_zero))
            .map(|y| y.value as f32)
            .collect();
        let pairs = rows(&y, classes).zip(rows(&dy, classes));
        let want: Option<Vec<_>> = pairs.map(|(y, dy)| want(y, dy)).collect();
        (y, want.map(|want| want.concat()))
    };
    check(want.as_deref(), |exec| {
        let (dx, ()) = output(&blank(y.len()), offset, |dx| {
            call(exec, &y, &dy, classes, dx)
        });
        let (over_dy, ()) = output(&dy, offset, |dy| in_place(exec, &y, dy, classes));
        let mut forms = vec![dx, over_dy];
        if few(input.shape) {
            let (each, ()) = output(&dy, offset, |dy| {
                rows(&y, classes)
                    .zip(dy.chunks_exact_mut(classes))
                    .try_for_each(|(y, dy)| in_place(exec, y, dy, classes))
            });
            forms.push(each);
        }
        forms
    });
}

fn is_masked(row: &[f32]) -> bool {
    row.iter().all(|&x| x == f32::NEG_INFINITY)
}

fn probabilities(x: &[f32], masked_rows_are_zero: bool) -> Vec<Want> {
    if masked_rows_are_zero && is_masked(x) {
        return vec![Want::exactly(0.0); x.len()];
    }
    let want = |(p, &x): (f64, &f32)| match x {
        f32::NEG_INFINITY => Want::exactly(p),
        _ => probability(p),
    };
    oracle::softmax(x).into_iter().zip(x).map(want).collect()
}

fn log_probabilities(x: &[f32], masked_rows_are_zero: bool) -> Vec<Want> {
    if masked_rows_are_zero && is_masked(x) {
        return vec![Want::exactly(f64::NEG_INFINITY); x.len()];
    }
    let want = |log_p| within(LOG_SOFTMAX, Want::ulp(log_p));
    oracle::log_softmax(x).into_iter().map(want).collect()
}

fn softmax_backward(y: &[f32], dy: &[f32]) -> Option<Vec<Want>> {
    let slack = summation_error(oracle::products(y, dy));
    let want = |((value, operand), &y): ((f64, f64), &f32)| match y {
        0.0 => Want::exactly(value),
        _ => within(
            SOFTMAX_BACKWARD,
            difference(value, operand, f64::from(y) * slack),
        ),
    };
    Some(
        oracle::softmax_backward(y, dy)
            .into_iter()
            .zip(y)
            .map(want)
            .collect(),
    )
}

/// Not known where an infinite sum meets probabilities so small that they may round to 0.
fn log_softmax_backward(y: &[f32], dy: &[f32]) -> Option<Vec<Want>> {
    if dy.iter().any(|dy| dy.is_infinite()) {
        return None;
    }
    let slack = summation_error(dy.iter().map(|&dy| f64::from(dy)));
    let want = |((value, operand), &y): ((f64, f64), &f32)| {
        let slack = oracle::exp(y) * slack;
        within(LOG_SOFTMAX_BACKWARD, difference(value, operand, slack))
    };
    Some(
        oracle::log_softmax_backward(y, dy)
            .into_iter()
            .zip(y)
            .map(want)
            .collect(),
    )
}

/// A difference whose larger operand is that, and whose smaller may be off by `slack`.
fn difference(value: f64, operand: f64, slack: f64) -> Want {
    Want {
        value,
        unit: ulp(operand) + slack,
    }
}

/// How far off a sum in `f64` may be: terms that cancel leave the rounding of the partial sums. 0 where
/// the sum is no number.
fn summation_error(terms: impl Iterator<Item = f64>) -> f64 {
    let (count, magnitudes) = terms.fold((0.0, 0.0), |(n, sum), x| (n + 1.0, sum + x.abs()));
    let error = count * magnitudes * f64::EPSILON / 2.0;
    if error.is_finite() { error } else { 0.0 }
}
