//! Softmax, log-softmax, log-sum-exp and the backward passes of rows.

use softlane::{Error, MaskedRows, Softmax};

use crate::attention::{Options, Values};
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
        /// Of all but log-sum-exp.
        pub options: Options,
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
            Operation::Softmax => self.forward(
                false,
                |softmax, x, classes, y| softmax.probs(x, classes, y),
                |softmax, x, classes| softmax.probs_in_place(x, classes),
            ),
            Operation::LogSoftmax => self.forward(
                true,
                |softmax, x, classes, y| softmax.log_probs(x, classes, y),
                |softmax, x, classes| softmax.log_probs_in_place(x, classes),
            ),
            Operation::LogSumExp => self.logsumexp(),
            Operation::SoftmaxBackward => self.backward(
                false,
                softmax_backward,
                |softmax, y, dy, classes, dx| softmax.probs_backward(y, dy, classes, dx),
                |softmax, y, dy, classes| softmax.probs_backward_in_place(y, dy, classes),
            ),
            Operation::LogSoftmaxBackward => self.backward(
                true,
                log_softmax_backward,
                |softmax, y, dy, classes, dx| softmax.log_probs_backward(y, dy, classes, dx),
                |softmax, y, dy, classes| softmax.log_probs_backward_in_place(y, dy, classes),
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

    /// The results for logits, if that can be told; log-probabilities if `is_log`.
    fn results(&self, values: &Values, x: &[f32], is_log: bool) -> Vec<Expected> {
        let batch = self.shape.batch();
        let of_row = |(row, x): (usize, &[f32])| {
            let values = values.of_row(row, batch.classes);
            values.expected(x, self.masked_rows(), is_log)
        };
        batch.rows_of(x).enumerate().flat_map(of_row).collect()
    }

    fn forward(&self, is_log: bool, call: Forward, in_place: ForwardInPlace) {
        if let Some(misfit) = &self.misfit {
            let (classes, [len, out, _]) = (misfit.classes(), misfit.slices());
            let x = self.x.take(len);
            let (shape, softmax) = (shape_error(len, classes), Softmax::new());
            outcome(shape.or(length_error(len, out)), &blank(out), |y| {
                call(softmax, &x, classes, y)
            });
            outcome(shape, &x, |x| in_place(softmax, x, classes));
            return;
        }
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let (rows, classes) = (batch.rows, batch.classes);
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let values = self.options.values(rows, classes);
        let softmax = values.builder(self.masked_rows());
        if let Some(error) = values.error(rows, classes) {
            outcome(Some(error), &blank(x.len()), |y| {
                call(softmax, &x, classes, y)
            });
            outcome(Some(error), &x, |x| in_place(softmax, x, classes));
            return;
        }
        let expected = batch.exact(|| self.results(&values, &x, is_log));
        check(batch, expected.as_deref(), |exec| {
            let softmax = softmax.exec(exec);
            let (y, ()) = output(&blank(x.len()), offset, |y| call(softmax, &x, classes, y));
            let (over_x, ()) = output(&x, offset, |x| in_place(softmax, x, classes));
            let mut forms = vec![y, over_x];
            if batch.has_few_rows() {
                let (each, ()) = output(&x, offset, |x| {
                    let mut rows = x.chunks_exact_mut(classes).enumerate();
                    rows.try_for_each(|(row, x)| {
                        let values = values.of_row(row, classes);
                        let softmax = values.builder(self.masked_rows()).exec(exec);
                        in_place(softmax, x, classes)
                    })
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
        is_log: bool,
        plain: fn(&[f32], &[f32]) -> Option<Vec<Expected>>,
        call: Backward,
        in_place: BackwardInPlace,
    ) {
        if let Some(misfit) = &self.misfit {
            let (classes, [len, second, out]) = (misfit.classes(), misfit.slices());
            let (y, dy) = (self.x.take(len), self.dy.take(second));
            let error = length_error(len, second).or(shape_error(len, classes));
            let softmax = Softmax::new();
            outcome(error.or(length_error(len, out)), &blank(out), |dx| {
                call(softmax, &y, &dy, classes, dx)
            });
            outcome(error, &dy, |dy| in_place(softmax, &y, dy, classes));
            return;
        }
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let (rows, classes) = (batch.rows, batch.classes);
        let dy = self.dy.take(batch.len());
        let values = self.options.values(rows, classes);
        let softmax = values.builder(self.masked_rows());
        if let Some(error) = values.error(rows, classes) {
            outcome(Some(error), &blank(dy.len()), |dx| {
                call(softmax, &dy, &dy, classes, dx)
            });
            outcome(Some(error), &dy, |x| in_place(softmax, &dy, x, classes));
            return;
        }
        // Results that belong to logits have known gradients. Of others, only what does not depend on
        // their meaning is checked.
        let is_known = self.y.is_none();
        let y = if let Some(y) = &self.y {
            y.take(batch.len())
        } else {
            let x = self.x.take(batch.len());
            let results = self.results(&values, &x, is_log).into_iter();
            results.map(|y| y.value as f32).collect()
        };
        let y = Placed::new(&y, self.offsets.source());
        let expected = |(row, (y, dy))| {
            if values.have_plain_gradient() {
                is_known.then(|| plain(y, dy)).flatten()
            } else {
                let values = values.of_row(row, classes);
                Some(values.expected_gradients(y, dy, is_log, is_known))
            }
        };
        let pairs = batch.rows_of(&y).zip(batch.rows_of(&dy)).enumerate();
        let expected = batch.exact(|| pairs.map(expected).collect());
        let expected: Option<Vec<_>> = expected.flatten();
        let expected = expected.map(|rows| rows.concat());
        check(batch, expected.as_deref(), |exec| {
            let softmax = softmax.exec(exec);
            let (dx, ()) = output(&blank(y.len()), offset, |dx| {
                call(softmax, &y, &dy, classes, dx)
            });
            let (over_dy, ()) = output(&dy, offset, |dy| in_place(softmax, &y, dy, classes));
            let mut forms = vec![dx, over_dy];
            if batch.has_few_rows() {
                let (each, ()) = output(&dy, offset, |dy| {
                    let rows = batch.rows_of(&y).zip(dy.chunks_exact_mut(classes));
                    rows.enumerate().try_for_each(|(row, (y, dy))| {
                        let values = values.of_row(row, classes);
                        let softmax = values.builder(self.masked_rows()).exec(exec);
                        in_place(softmax, y, dy, classes)
                    })
                });
                forms.push(each);
            }
            forms
        });
    }
}

type Forward = for<'a> fn(Softmax<'a>, &[f32], usize, &mut [f32]) -> Result<(), Error>;
type ForwardInPlace = for<'a> fn(Softmax<'a>, &mut [f32], usize) -> Result<(), Error>;
type Backward = for<'a> fn(Softmax<'a>, &[f32], &[f32], usize, &mut [f32]) -> Result<(), Error>;
type BackwardInPlace = for<'a> fn(Softmax<'a>, &[f32], &mut [f32], usize) -> Result<(), Error>;

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
