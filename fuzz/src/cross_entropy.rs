//! Softmax cross-entropy: every form, every type of target, every option.

use softlane::{CrossEntropy, Error, MaskedRows, Target};

use crate::bounds;
use crate::check::{
    Expected, blank, check, joined, length_error, outcome, output, rows_error, shape_error,
};
use crate::code::coded;
use crate::input::{Batch, Floats, Lengths, Offsets, Placed, Shape};
use crate::oracle;
use crate::reducing::Reducing;
use crate::softmax::is_masked;
use crate::ulp::Want;

coded! {
    /// A call.
    pub struct Input {
        pub integer: Integer,
        pub ignore_index: Ignore,
        pub masked_rows_are_zero: bool,
        pub reducing: Reducing,
        /// Lengths that may not fit: then only that is looked at.
        pub misfit: Option<Lengths>,
        pub shape: Shape,
        pub offsets: Offsets,
        /// Over and over.
        pub targets: Vec<Choice>,
        pub x: Floats,
    }
}

coded! {
    /// The type of the targets.
    pub enum Integer {
        1 => U8,
        1 => U16,
        1 => U32,
        1 => U64,
        1 => Usize,
        1 => I8,
        1 => I16,
        1 => I32,
        1 => I64,
        1 => Isize,
    }
}

coded! {
    /// A target: most are classes.
    pub enum Choice {
        12 => Class(class: u16),
        2 => First,
        2 => Last,
        3 => Ignored,
        1 => Any(target: i64),
    }
}

coded! {
    pub enum Ignore {
        2 => Default,
        1 => None,
        2 => Some(index: u8),
        1 => Any(index: i64),
    }
}

/// Fills losses, one per row, and returns the gradient beside them.
type WithLosses<'a> = dyn Fn(&mut [f32]) -> Result<Vec<f32>, Error> + 'a;

impl Input {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        if let Some(misfit) = &self.misfit {
            return self.misfit(misfit);
        }
        let targets = self.targets();
        // As many targets in the type, wrapped where they do not fit.
        macro_rules! typed {
            ($integer:ty) => {{
                let targets: Vec<_> = targets.iter().map(|&t| t as $integer).collect();
                let values: Vec<_> = targets.iter().map(|&t| t as i128).collect();
                self.fit(&targets, &values);
            }};
        }
        match self.integer {
            Integer::U8 => typed!(u8),
            Integer::U16 => typed!(u16),
            Integer::U32 => typed!(u32),
            Integer::U64 => typed!(u64),
            Integer::Usize => typed!(usize),
            Integer::I8 => typed!(i8),
            Integer::I16 => typed!(i16),
            Integer::I32 => typed!(i32),
            Integer::I64 => typed!(i64),
            Integer::Isize => typed!(isize),
        }
    }

    fn masked_rows(&self) -> MaskedRows {
        if self.masked_rows_are_zero {
            MaskedRows::Zero
        } else {
            MaskedRows::Nan
        }
    }

    fn ignored(&self) -> Option<i64> {
        match self.ignore_index {
            Ignore::Default => Some(-100),
            Ignore::None => None,
            Ignore::Some(index) => Some(i64::from(index)),
            Ignore::Any(index) => Some(index),
        }
    }

    fn targets(&self) -> Vec<i64> {
        let Batch { rows, classes } = self.shape.batch();
        let classes = classes.max(1) as i64;
        let choices = self.targets.iter().chain(&[Choice::First]).cycle();
        let target = |choice: &Choice| match *choice {
            Choice::Class(class) => i64::from(class) % classes,
            Choice::First => 0,
            Choice::Last => classes - 1,
            Choice::Ignored => self.ignored().unwrap_or(0),
            Choice::Any(target) => target,
        };
        choices.map(target).take(rows).collect()
    }

    fn loss(&self) -> CrossEntropy<'_> {
        let loss = CrossEntropy::new()
            .masked_rows(self.masked_rows())
            .reduction(self.reducing.reduction())
            .empty_mean(self.reducing.empty_mean());
        match self.ignore_index {
            Ignore::Default => loss,
            _ => loss.ignore_index(self.ignored()),
        }
    }

    fn fit<I: Target>(&self, targets: &[I], values: &[i128]) {
        let batch = self.shape.batch();
        let Batch { rows, classes } = batch;
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let loss = self.loss();
        let counted = match counted(values, classes, self.ignored()) {
            Ok(counted) => counted,
            Err(error) => {
                let errors = [Some(error); 4];
                return outcomes(loss, &x, classes, targets, x.len(), rows, errors);
            }
        };

        let expected = batch.exact(|| self.expected(&x, &counted));
        let (reduced, per_row) = expected.unzip();
        let offset = self.offsets.output();
        check(batch, reduced.as_deref(), |exec| {
            let loss = loss.exec(exec);
            let (grad, value) = output(&blank(x.len()), offset, |grad| {
                loss.loss_and_grad(&x, classes, targets, grad)
            });
            let (over_x, in_place) = output(&x, offset, |x| {
                loss.loss_and_grad_in_place(x, classes, targets)
            });
            let alone = loss.loss(&x, classes, targets);
            vec![
                joined(&[value], &grad),
                joined(&[in_place], &over_x),
                joined(&[alone.expect("a loss")], &grad),
            ]
        });
        check(batch, per_row.as_deref(), |exec| {
            let loss = loss.exec(exec);
            let losses = |call: &WithLosses<'_>| {
                let (losses, grad) = output(&blank(rows), offset, call);
                joined(&losses, &grad)
            };
            let separate = losses(&|losses| {
                let (grad, ()) = output(&blank(x.len()), offset, |grad| {
                    loss.loss_per_row_and_grad(&x, classes, targets, losses, grad)
                });
                Ok(grad)
            });
            let in_place = losses(&|losses| {
                let (over_x, ()) = output(&x, offset, |x| {
                    loss.loss_per_row_and_grad_in_place(x, classes, targets, losses)
                });
                Ok(over_x)
            });
            let grad = || separate[rows..].to_vec();
            let alone = losses(&|losses| {
                loss.loss_per_row(&x, classes, targets, losses)?;
                Ok(grad())
            });
            let mut forms = vec![in_place, alone];
            if batch.has_few_rows() {
                forms.push(losses(&|losses| {
                    let rows = batch.rows_of(&x).zip(targets.chunks_exact(1));
                    for ((x, target), one) in rows.zip(losses.chunks_exact_mut(1)) {
                        loss.loss_per_row(x, classes, target, one)?;
                    }
                    Ok(grad())
                }));
            }
            forms.push(separate);
            forms
        });
    }

    /// The reduced loss and its gradient; and the losses of the rows and their gradients.
    fn expected(&self, x: &[f32], counted: &[Option<usize>]) -> (Vec<Expected>, Vec<Expected>) {
        let classes = self.shape.batch().classes;
        let count = counted.iter().flatten().count();
        let scale = self.reducing.scale(count);
        let (mut losses, mut grads, mut reduced_grads) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &target) in counted.iter().enumerate() {
            let x = &x[row * classes..][..classes];
            losses.push(expected_loss(x, target, self.masked_rows()));
            grads.extend(expected_gradient(x, target, 1.0, self.masked_rows()));
            reduced_grads.extend(expected_gradient(x, target, scale, self.masked_rows()));
        }
        let sum = oracle::sum(losses.iter().map(|loss| loss.value));
        let value = self.reducing.reduced(sum, count);
        let mut reduced = vec![match count {
            0 => Expected::exactly(value),
            // The losses are not rounded before they are summed.
            _ => bounds::REDUCED_LOSS.around(Want::ulp(value)),
        }];
        reduced.extend(reduced_grads);
        losses.extend(grads);
        (reduced, losses)
    }

    fn misfit(&self, misfit: &Lengths) {
        let (classes, [len, targets, out]) = (misfit.classes(), misfit.slices());
        let x = self.x.take(len);
        let shape = shape_error(len, classes);
        let targets_fit = rows_error(len, classes, targets);
        let losses_fit = length_error(targets, out);
        let alone = shape.or(targets_fit);
        let with_grad = shape.or(length_error(len, out)).or(targets_fit);
        let per_row = alone.or(losses_fit);
        // Every row is ignored, so that no target can be wrong.
        let targets = vec![-100_i32; targets];
        let errors = [alone, with_grad, alone, per_row];
        outcomes(CrossEntropy::new(), &x, classes, &targets, out, out, errors);
    }
}

/// The target of each row that is not ignored, or what is wrong with the first that is no class.
fn counted(
    targets: &[i128],
    classes: usize,
    ignored: Option<i64>,
) -> Result<Vec<Option<usize>>, Error> {
    let counted = |(row, &target)| match usize::try_from(target) {
        _ if ignored.is_some_and(|ignored| i128::from(ignored) == target) => Ok(None),
        Ok(class) if class < classes => Ok(Some(class)),
        _ => Err(Error::Target {
            row,
            target,
            classes,
        }),
    };
    targets.iter().enumerate().map(counted).collect()
}

fn expected_loss(x: &[f32], target: Option<usize>, masked_rows: MaskedRows) -> Expected {
    match target {
        None => Expected::exactly(0.0),
        Some(_) if is_masked(x, masked_rows) => Expected::exactly(f64::INFINITY),
        Some(target) => bounds::LOSS.around(Want::ulp(oracle::cross_entropy(x, target))),
    }
}

fn expected_gradient(
    x: &[f32],
    target: Option<usize>,
    scale: f64,
    masked_rows: MaskedRows,
) -> Vec<Expected> {
    let zero = Expected::exactly(0.0);
    let Some(target) = target else {
        return vec![zero; x.len()];
    };
    if is_masked(x, masked_rows) {
        let mut grad = vec![zero; x.len()];
        grad[target] = Expected::probability(-scale);
        return grad;
    }
    let grad = oracle::cross_entropy_gradient(x, target, scale).into_iter();
    let expected = |(i, (grad, &x))| match x {
        f32::NEG_INFINITY if i != target => Expected::exactly(grad),
        _ => Expected::probability(grad),
    };
    grad.zip(x).enumerate().map(expected).collect()
}

/// What becomes of the loss alone, the gradient, the gradient in place, and the losses one by one.
fn outcomes<I: Target>(
    loss: CrossEntropy<'_>,
    x: &[f32],
    classes: usize,
    targets: &[I],
    grads: usize,
    losses: usize,
    [alone, with_grad, in_place, per_row]: [Option<Error>; 4],
) {
    outcome(alone, &[], |_| loss.loss(x, classes, targets));
    outcome(with_grad, &blank(grads), |grad| {
        loss.loss_and_grad(x, classes, targets, grad)
    });
    outcome(in_place, x, |x| {
        loss.loss_and_grad_in_place(x, classes, targets)
    });
    outcome(per_row, &blank(losses), |losses| {
        loss.loss_per_row(x, classes, targets, losses)
    });
    // Both outputs in one slice, the losses first.
    outcome(with_grad.or(per_row), &blank(losses + grads), |both| {
        let (losses, grad) = both.split_at_mut(losses);
        loss.loss_per_row_and_grad(x, classes, targets, losses, grad)
    });
    outcome(per_row, &joined(&blank(losses), x), |both| {
        let (losses, x) = both.split_at_mut(losses);
        loss.loss_per_row_and_grad_in_place(x, classes, targets, losses)
    });
}
