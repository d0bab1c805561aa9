//! Cross-entropy, binary cross-entropy and the sigmoid, against an `f64` oracle and each other.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use softlane::{
    BinaryCrossEntropy, CrossEntropy, EmptyMean, Error, Exec, MaskedRows, Reduction, Target,
};
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
    sum: bool,
    empty_mean_is_zero: bool,
    x: Floats,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    CrossEntropy {
        integer: Integer,
        targets: Vec<Choice>,
        ignore_index: Ignore,
        masked_rows_are_zero: bool,
    },
    BinaryCrossEntropy {
        labels: Floats,
        /// Labels beyond 0 and 1 are allowed, but what they give is not known.
        any_label: bool,
    },
    Sigmoid,
}

/// The type of the targets.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Integer {
    U8,
    U16,
    U32,
    U64,
    Usize,
    I32,
    I64,
}

/// A target: most are classes.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Choice {
    Class(u16),
    First,
    Last,
    Ignored,
    Any(i64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Ignore {
    Default,
    None,
    Some(u8),
    Any(i64),
}

fuzz_target!(|input: Input| {
    match (&input.operation, input.misfit) {
        (Operation::CrossEntropy { .. }, Some(misfit)) => cross_entropy_misfit(&input, misfit),
        (Operation::BinaryCrossEntropy { .. }, Some(misfit)) => binary_misfit(&input, misfit),
        (Operation::Sigmoid, Some(misfit)) => sigmoid_misfit(&input, misfit),
        (
            Operation::CrossEntropy {
                integer,
                targets,
                ignore_index,
                masked_rows_are_zero,
            },
            None,
        ) => {
            let (ignore, loss) = cross_entropy_options(*ignore_index, *masked_rows_are_zero);
            let targets = input.targets(targets, ignore);
            let zero = *masked_rows_are_zero;
            // As many targets in the type, wrapped where they do not fit.
            macro_rules! typed {
                ($integer:ty) => {{
                    let targets: Vec<_> = targets.iter().map(|&t| t as $integer).collect();
                    let values: Vec<_> = targets.iter().map(|&t| t as i128).collect();
                    cross_entropy(&input, loss, &targets, &values, ignore, zero);
                }};
            }
            match integer {
                Integer::U8 => typed!(u8),
                Integer::U16 => typed!(u16),
                Integer::U32 => typed!(u32),
                Integer::U64 => typed!(u64),
                Integer::Usize => typed!(usize),
                Integer::I32 => typed!(i32),
                Integer::I64 => typed!(i64),
            }
        }
        (Operation::BinaryCrossEntropy { labels, any_label }, None) => {
            let len = input.shape.len();
            if *any_label {
                binary_cross_entropy(&input, &labels.take(len), false);
            } else {
                binary_cross_entropy(&input, &labels.take_labels(len), true);
            }
        }
        (Operation::Sigmoid, None) => sigmoid(&input),
    }
});

// The bounds that the documentation states, in ULP.
const CROSS_ENTROPY: f64 = 3.0;
// Soft labels included, whose larger term may be below the result.
const BINARY_CROSS_ENTROPY: f64 = 3.5;
const SIGMOID: f64 = 2.5;

impl Input {
    fn offset(&self) -> usize {
        usize::from(self.offset % 4)
    }

    fn reduction(&self) -> Reduction {
        if self.sum {
            Reduction::Sum
        } else {
            Reduction::Mean
        }
    }

    fn empty_mean(&self) -> EmptyMean {
        if self.empty_mean_is_zero {
            EmptyMean::Zero
        } else {
            EmptyMean::Nan
        }
    }

    /// What the gradient of each of `count` losses is multiplied by.
    fn scale(&self, count: usize) -> f64 {
        if self.sum { 1.0 } else { 1.0 / count as f64 }
    }

    /// The reduced loss of `count` losses with that sum.
    fn reduced(&self, sum: f64, count: usize) -> f64 {
        if count == 0 && self.empty_mean_is_zero {
            0.0
        } else {
            sum * self.scale(count)
        }
    }

    fn targets(&self, choices: &[Choice], ignore: Option<i64>) -> Vec<i64> {
        let classes = self.shape.classes.max(1) as i64;
        let choices = choices.iter().chain(&[Choice::First]).cycle();
        let target = |choice: &Choice| match *choice {
            Choice::Class(class) => i64::from(class) % classes,
            Choice::First => 0,
            Choice::Last => classes - 1,
            Choice::Ignored => ignore.unwrap_or(0),
            Choice::Any(target) => target,
        };
        choices.map(target).take(self.shape.rows).collect()
    }
}

fn cross_entropy_options(
    ignore: Ignore,
    masked_rows_are_zero: bool,
) -> (Option<i64>, CrossEntropy) {
    let loss = CrossEntropy::new().masked_rows(if masked_rows_are_zero {
        MaskedRows::Zero
    } else {
        MaskedRows::Nan
    });
    let ignore = match ignore {
        Ignore::Default => return (Some(-100), loss),
        Ignore::None => None,
        Ignore::Some(index) => Some(i64::from(index)),
        Ignore::Any(index) => Some(index),
    };
    (ignore, loss.ignore_index(ignore))
}

fn cross_entropy<I: Target>(
    input: &Input,
    loss: CrossEntropy,
    targets: &[I],
    values: &[i128],
    ignore: Option<i64>,
    masked_rows_are_zero: bool,
) {
    let Shape { rows, classes } = input.shape;
    let x = input.x.take(input.shape.len());
    let loss = loss
        .reduction(input.reduction())
        .empty_mean(input.empty_mean());

    // The target of each row that is not ignored.
    let mut counted = Vec::new();
    for (row, &target) in values.iter().enumerate() {
        counted.push(match usize::try_from(target) {
            _ if ignore.is_some_and(|ignore| i128::from(ignore) == target) => None,
            Ok(class) if class < classes => Some(class),
            _ => {
                let error = Some(Error::Target {
                    row,
                    target,
                    classes,
                });
                return cross_entropy_outcomes(
                    loss,
                    &x,
                    classes,
                    targets,
                    x.len(),
                    rows,
                    [error; 4],
                );
            }
        });
    }

    let count = counted.iter().flatten().count();
    let scale = input.scale(count);
    let (mut losses, mut grads, mut reduced_grads) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &target) in counted.iter().enumerate() {
        let x = &x[row * classes..][..classes];
        let want = |scale| row_want(x, target, scale, masked_rows_are_zero);
        let (loss, grad) = want(1.0);
        losses.push(loss);
        grads.extend(grad);
        reduced_grads.extend(want(scale).1);
    }
    let sum = oracle::sum(losses.iter().map(|loss| loss.value));
    let value = input.reduced(sum, count);
    let mut reduced = vec![match count {
        0 => Want::exactly(value),
        // The losses are not rounded before they are summed.
        _ => within(CROSS_ENTROPY, Want::ulp(value)),
    }];
    reduced.extend(reduced_grads);
    let mut per_row = losses;
    per_row.extend(grads);

    let offset = input.offset();
    check(Some(&reduced), |exec| {
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
            joined(&[alone.unwrap()], &grad),
        ]
    });
    check(Some(&per_row), |exec| {
        let loss = loss.exec(exec);
        let losses = |call: &dyn Fn(&mut [f32]) -> Result<Vec<f32>, Error>| {
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
        if rows <= 20 {
            forms.push(losses(&|losses| {
                for (row, one) in losses.chunks_exact_mut(1).enumerate() {
                    let x = &x[row * classes..][..classes];
                    loss.loss_per_row(x, classes, &targets[row..=row], one)?;
                }
                Ok(grad())
            }));
        }
        forms.push(separate);
        forms
    });
}

/// The loss of a row, and its gradient.
fn row_want(
    x: &[f32],
    target: Option<usize>,
    scale: f64,
    masked_rows_are_zero: bool,
) -> (Want, Vec<Want>) {
    let Some(target) = target else {
        return (Want::exactly(0.0), vec![Want::exactly(0.0); x.len()]);
    };
    if masked_rows_are_zero && x.iter().all(|&x| x == f32::NEG_INFINITY) {
        let mut grad = vec![Want::exactly(0.0); x.len()];
        grad[target] = probability(-scale);
        return (Want::exactly(f64::INFINITY), grad);
    }
    let grad = oracle::cross_entropy_gradient(x, target, scale)
        .into_iter()
        .zip(x)
        .enumerate();
    let grad = grad.map(|(i, (grad, &x))| match x {
        f32::NEG_INFINITY if i != target => Want::exactly(grad),
        _ => probability(grad),
    });
    let loss = Want::ulp(oracle::cross_entropy(x, target));
    (within(CROSS_ENTROPY, loss), grad.collect())
}

fn joined(a: &[f32], b: &[f32]) -> Vec<f32> {
    [a, b].concat()
}

fn cross_entropy_misfit(input: &Input, misfit: Lengths) {
    let (classes, [len, targets, out]) = (misfit.classes(), misfit.slices());
    let x = input.x.take(len);
    let shape = shape_error(len, classes);
    let targets_fit = rows_error(len, classes, targets);
    let losses_fit = length_error(targets, out);
    let alone = shape.or(targets_fit);
    let with_grad = shape.or(length_error(len, out)).or(targets_fit);
    let per_row = alone.or(losses_fit);
    // Every row is ignored, so that no target can be wrong.
    let targets = vec![-100_i32; targets];
    let errors = [alone, with_grad, alone, per_row];
    cross_entropy_outcomes(CrossEntropy::new(), &x, classes, &targets, out, out, errors);
}

/// What becomes of the loss alone, the gradient, the gradient in place, and the losses one by one.
fn cross_entropy_outcomes<I: Target>(
    loss: CrossEntropy,
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

fn binary_cross_entropy(input: &Input, labels: &[f32], known: bool) {
    let Shape { rows, classes } = input.shape;
    let x = input.x.take(input.shape.len());
    let loss = BinaryCrossEntropy::new()
        .reduction(input.reduction())
        .empty_mean(input.empty_mean());

    let scale = input.scale(x.len());
    let pairs = || x.iter().zip(labels);
    let losses = pairs().map(|(&x, &t)| oracle::binary_cross_entropy(x, t));
    let grads = pairs().map(|(&x, &t)| oracle::binary_cross_entropy_gradient(x, t, scale));
    let want = |(value, term)| within(BINARY_CROSS_ENTROPY, Want::ulp_of(value, term));
    let losses: Vec<_> = losses.map(want).collect();
    let sum = oracle::sum(losses.iter().map(|loss| loss.value));
    let errors: f64 = losses.iter().map(|loss| loss.unit).sum();
    let value = input.reduced(sum, x.len());
    let mut reduced = vec![match x.len() {
        0 => Want::exactly(value),
        // The losses are rounded before they are summed, and the sum once more.
        _ => Want {
            value,
            unit: errors * scale + ulp(value) / 2.0,
        },
    }];
    reduced.extend(grads.map(want));

    let offset = input.offset();
    check(known.then_some(&reduced[..]), |exec| {
        let loss = loss.exec(exec);
        let (grad, value) = output(&blank(x.len()), offset, |grad| {
            loss.loss_and_grad(&x, classes, labels, grad)
        });
        let (over_x, in_place) = output(&x, offset, |x| {
            loss.loss_and_grad_in_place(x, classes, labels)
        });
        let alone = loss.loss(&x, classes, labels);
        vec![
            joined(&[value], &grad),
            joined(&[in_place], &over_x),
            joined(&[alone.unwrap()], &grad),
        ]
    });
    check(known.then_some(&losses[..]), |exec| {
        let loss = loss.exec(exec);
        let (batch, ()) = output(&blank(x.len()), offset, |losses| {
            loss.loss_per_element(&x, classes, labels, losses)
        });
        let mut forms = vec![batch];
        if classes > 0 && rows <= 20 {
            let (each, ()) = output(&blank(x.len()), offset, |losses| {
                (losses.chunks_exact_mut(classes).enumerate()).try_for_each(|(row, losses)| {
                    let row = row * classes..(row + 1) * classes;
                    loss.loss_per_element(&x[row.clone()], classes, &labels[row], losses)
                })
            });
            forms.push(each);
        }
        forms
    });
}

fn binary_misfit(input: &Input, misfit: Lengths) {
    let (classes, [len, labels, out]) = (misfit.classes(), misfit.slices());
    let (x, labels) = (input.x.take(len), input.x.take(labels));
    let loss = BinaryCrossEntropy::new();
    let alone = length_error(len, labels.len()).or(shape_error(len, classes));
    let with_output = alone.or(length_error(len, out));
    outcome(alone, &[], |_| loss.loss(&x, classes, &labels));
    outcome(with_output, &blank(out), |grad| {
        loss.loss_and_grad(&x, classes, &labels, grad)
    });
    outcome(alone, &x, |x| {
        loss.loss_and_grad_in_place(x, classes, &labels)
    });
    outcome(with_output, &blank(out), |losses| {
        loss.loss_per_element(&x, classes, &labels, losses)
    });
}

fn sigmoid(input: &Input) {
    let x = input.x.take(input.shape.len());
    let want = |&x: &f32| within(SIGMOID, Want::ulp(oracle::sigmoid(x)));
    let want: Vec<_> = x.iter().map(want).collect();
    check(Some(&want), |exec: Exec| {
        let (y, ()) = output(&blank(x.len()), input.offset(), |y| exec.sigmoid(&x, y));
        let (over_x, ()) = output(&x, input.offset(), |x| exec.sigmoid_in_place(x));
        vec![y, over_x]
    });
}

fn sigmoid_misfit(input: &Input, misfit: Lengths) {
    let [len, out, _] = misfit.slices();
    let x = input.x.take(len);
    outcome(length_error(len, out), &blank(out), |y| {
        softlane::sigmoid(&x, y)
    });
}
