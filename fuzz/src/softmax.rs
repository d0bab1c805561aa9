//! Softmax, log-softmax, log-sum-exp and the backward passes of rows.

use softlane::{Error, Exec, MaskedRows, Softmax};

use crate::bounds;
use crate::check::{
    Expected, blank, check, fits_f32, length_error, outcome, output, rows_error, shape_error,
    summation_error,
};
use crate::code::coded;
use crate::input::{Floats, Lengths, Offsets, Placed, Shape};
use crate::oracle;
use crate::ulp::Want;

coded! {
    /// A call.
    pub struct Input {
        pub operation: Operation,
        /// Lengths that may not fit: then only that is looked at.
        pub misfit: Option<Lengths>,
        pub shape: Shape,
        pub offsets: Offsets,
        pub masked_rows_are_zero: bool,
        pub x: Floats,
        pub dy: Floats,
        /// For the backward passes, in place of the results that belong to `x`.
        pub y: Option<Floats>,
    }
}

coded! {
    pub enum Operation {
        1 => Softmax,
        1 => LogSoftmax,
        1 => LogSumExp,
        1 => SoftmaxBackward,
        1 => LogSoftmaxBackward,
    }
}

impl Input {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match self.operation {
            Operation::Softmax => {
                self.forward(probabilities, Softmax::probs, Softmax::probs_in_place);
            }
            Operation::LogSoftmax => self.forward(
                log_probabilities,
                Softmax::log_probs,
                Softmax::log_probs_in_place,
            ),
            Operation::LogSumExp => self.logsumexp(),
            Operation::SoftmaxBackward => self.backward(
                probabilities,
                softmax_backward,
                Exec::softmax_backward,
                Exec::softmax_backward_in_place,
            ),
            Operation::LogSoftmaxBackward => self.backward(
                log_probabilities,
                log_softmax_backward,
                Exec::log_softmax_backward,
                Exec::log_softmax_backward_in_place,
            ),
        }
    }

    fn masked_rows(&self) -> MaskedRows {
        if self.masked_rows_are_zero {
            MaskedRows::Zero
        } else {
            MaskedRows::Nan
        }
    }

    fn forward(
        &self,
        expected: fn(&[f32], MaskedRows) -> Vec<Expected>,
        call: Forward,
        in_place: ForwardInPlace,
    ) {
        let softmax = Softmax::new().masked_rows(self.masked_rows());
        if let Some(misfit) = &self.misfit {
            let (classes, [len, out, _]) = (misfit.classes(), misfit.slices());
            let x = self.x.take(len);
            let shape = shape_error(len, classes);
            outcome(shape.or(length_error(len, out)), &blank(out), |y| {
                call(softmax, &x, classes, y)
            });
            outcome(shape, &x, |x| in_place(softmax, x, classes));
            return;
        }
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let classes = batch.classes;
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let expected = batch.exact(|| {
            let rows = batch.rows_of(&x);
            rows.flat_map(|row| expected(row, self.masked_rows()))
                .collect::<Vec<_>>()
        });
        check(batch, expected.as_deref(), |exec| {
            let softmax = softmax.exec(exec);
            let (y, ()) = output(&blank(x.len()), offset, |y| call(softmax, &x, classes, y));
            let (over_x, ()) = output(&x, offset, |x| in_place(softmax, x, classes));
            let mut forms = vec![y, over_x];
            if batch.has_few_rows() {
                let (each, ()) = output(&x, offset, |x| {
                    x.chunks_exact_mut(classes)
                        .try_for_each(|row| in_place(softmax, row, classes))
                });
                forms.push(each);
            }
            forms
        });
    }

    fn logsumexp(&self) {
        if let Some(misfit) = &self.misfit {
            let (classes, [len, out, _]) = (misfit.classes(), misfit.slices());
            let x = self.x.take(len);
            let error = shape_error(len, classes).or(rows_error(len, classes, out));
            outcome(error, &blank(out), |lse| {
                softlane::logsumexp(&x, classes, lse)
            });
            return;
        }
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let (rows, classes) = (batch.rows, batch.classes);
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let expected = batch.exact(|| {
            let lse = (0..rows).map(|row| oracle::logsumexp(&x[row * classes..][..classes]));
            lse.map(|lse| bounds::LOG_SUM_EXP.around(Want::ulp_of(lse, lse.abs().max(1.0))))
                .collect::<Vec<_>>()
        });
        check(batch, expected.as_deref(), |exec| {
            let call = |lse: &mut [f32]| exec.logsumexp(&x, classes, lse);
            let (all, ()) = output(&blank(rows), offset, call);
            let mut forms = vec![all];
            if batch.has_few_rows() {
                let (each, ()) = output(&blank(rows), offset, |lse| {
                    batch
                        .rows_of(&x)
                        .zip(lse.chunks_exact_mut(1))
                        .try_for_each(|(row, lse)| exec.logsumexp(row, classes, lse))
                });
                forms.push(each);
            }
            forms
        });
    }

    fn backward(
        &self,
        results: fn(&[f32], MaskedRows) -> Vec<Expected>,
        expected: fn(&[f32], &[f32]) -> Option<Vec<Expected>>,
        call: Backward,
        in_place: BackwardInPlace,
    ) {
        if let Some(misfit) = &self.misfit {
            let (classes, [len, second, out]) = (misfit.classes(), misfit.slices());
            let (y, dy) = (self.x.take(len), self.dy.take(second));
            let error = length_error(len, second).or(shape_error(len, classes));
            outcome(error.or(length_error(len, out)), &blank(out), |dx| {
                call(Exec::new(), &y, &dy, classes, dx)
            });
            outcome(error, &dy, |dy| in_place(Exec::new(), &y, dy, classes));
            return;
        }
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let classes = batch.classes;
        let dy = self.dy.take(batch.len());
        // Results that belong to logits have known gradients. Of others, only what does not depend on
        // their meaning is checked.
        let (y, expected) = if let Some(y) = &self.y {
            (y.take(batch.len()), None)
        } else {
            let x = self.x.take(batch.len());
            let y: Vec<_> = batch
                .rows_of(&x)
                .flat_map(|row| results(row, self.masked_rows()))
                .map(|y| y.value as f32)
                .collect();
            let pairs = batch.rows_of(&y).zip(batch.rows_of(&dy));
            let expected = batch.exact(|| pairs.map(|(y, dy)| expected(y, dy)).collect());
            let expected: Option<Vec<_>> = expected.flatten();
            (y, expected.map(|rows| rows.concat()))
        };
        let y = Placed::new(&y, self.offsets.source());
        check(batch, expected.as_deref(), |exec| {
            let (dx, ()) = output(&blank(y.len()), offset, |dx| {
                call(exec, &y, &dy, classes, dx)
            });
            let (over_dy, ()) = output(&dy, offset, |dy| in_place(exec, &y, dy, classes));
            let mut forms = vec![dx, over_dy];
            if batch.has_few_rows() {
                let (each, ()) = output(&dy, offset, |dy| {
                    batch
                        .rows_of(&y)
                        .zip(dy.chunks_exact_mut(classes))
                        .try_for_each(|(y, dy)| in_place(exec, y, dy, classes))
                });
                forms.push(each);
            }
            forms
        });
    }
}

type Forward = fn(Softmax<'static>, &[f32], usize, &mut [f32]) -> Result<(), Error>;
type ForwardInPlace = fn(Softmax<'static>, &mut [f32], usize) -> Result<(), Error>;
type Backward = fn(Exec, &[f32], &[f32], usize, &mut [f32]) -> Result<(), Error>;
type BackwardInPlace = fn(Exec, &[f32], &mut [f32], usize) -> Result<(), Error>;

/// Whether a row has no probabilities, and shall have none.
pub fn is_masked(x: &[f32], masked_rows: MaskedRows) -> bool {
    masked_rows == MaskedRows::Zero && x.iter().all(|&x| x == f32::NEG_INFINITY)
}

fn probabilities(x: &[f32], masked_rows: MaskedRows) -> Vec<Expected> {
    if is_masked(x, masked_rows) {
        return vec![Expected::exactly(0.0); x.len()];
    }
    let expected = |(p, &x): (f64, &f32)| match x {
        f32::NEG_INFINITY => Expected::exactly(p),
        _ => Expected::probability(p),
    };
    oracle::softmax(x)
        .into_iter()
        .zip(x)
        .map(expected)
        .collect()
}

fn log_probabilities(x: &[f32], masked_rows: MaskedRows) -> Vec<Expected> {
    if is_masked(x, masked_rows) {
        return vec![Expected::exactly(f64::NEG_INFINITY); x.len()];
    }
    let expected = |log_p| bounds::LOG_PROBABILITY.around(Want::ulp(log_p));
    oracle::log_softmax(x).into_iter().map(expected).collect()
}

fn softmax_backward(y: &[f32], dy: &[f32]) -> Option<Vec<Expected>> {
    // What the smaller operand of the difference may be off by.
    let slack = summation_error(oracle::products(y, dy));
    let expected = |((value, operand), &y): ((f64, f64), &f32)| match y {
        0.0 => Expected::exactly(value),
        _ => bounds::SOFTMAX_BACKWARD
            .around(Want::ulp_of(value, operand))
            .or(f64::from(y) * slack),
    };
    let fits = fits_f32(oracle::products(y, dy));
    let exact = oracle::softmax_backward(y, dy).into_iter().zip(y);
    Some(exact.map(|pair| expected(pair).of_sum(fits)).collect())
}

/// Not known where an infinite sum meets probabilities so small that they may round to 0.
fn log_softmax_backward(y: &[f32], dy: &[f32]) -> Option<Vec<Expected>> {
    if dy.iter().any(|dy| dy.is_infinite()) {
        return None;
    }
    let slack = summation_error(dy.iter().map(|&dy| f64::from(dy)));
    let expected = |((value, operand), &y): ((f64, f64), &f32)| {
        bounds::LOG_SOFTMAX_BACKWARD
            .around(Want::ulp_of(value, operand))
            .or(oracle::exp(y) * slack)
    };
    let exact = oracle::log_softmax_backward(y, dy);
    Some(exact.into_iter().zip(y).map(expected).collect())
}
