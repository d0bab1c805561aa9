//! Softmax cross-entropy: every form, every type of target, every option.

use std::ops::Range;

use softlane::{CrossEntropy, Error, MaskedRows, Target};

use crate::check::{
    Expected, blank, check, joined, length_error, outcome, output, rows_error, shape_error,
};
use crate::code::coded;
use crate::combined;
use crate::formula::{Exact, Shares};
use crate::input::{Batch, Floats, Lengths, Offsets, Placed, Shape};
use crate::options::{self, Data, Number, Weights, factor_error, share_error};
use crate::oracle;
use crate::reducing::Reducing;

coded! {
    /// A call.
    pub struct Input {
        pub targets: Targets,
        pub masked_rows_are_zero: bool,
        pub reducing: Reducing,
        /// Lengths that may not fit: then only that is looked at.
        pub misfit: Option<Lengths>,
        pub shape: Shape,
        pub offsets: Offsets,
        pub x: Floats,
        pub options: Options,
    }
}

coded! {
    pub enum Targets {
        3 => Classes(classes: Classes),
        1 => Probs(probs: Probs),
    }
}

coded! {
    /// A class for each row.
    pub struct Classes {
        pub integer: Integer,
        pub ignore_index: Ignore,
        /// Over and over.
        pub choices: Vec<Choice>,
    }
}

coded! {
    /// A distribution for each row.
    pub struct Probs {
        /// Whatever that gives, beside what is in order.
        pub any: bool,
        pub probs: Floats,
        /// Every so many rows, one that counts for nothing; none, if it is 0.
        pub gap: u8,
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

coded! {
    /// Those that are on.
    pub struct Options {
        pub logit_scale: Option<Number>,
        pub class_weights: Option<Weights>,
        pub label_smoothing: Option<Number>,
        pub z_loss: Option<Number>,
        pub normaliser: Option<Number>,
        pub upstream_grad: Option<Data>,
    }
}

impl Options {
    /// None.
    pub fn none() -> Self {
        Self {
            logit_scale: None,
            class_weights: None,
            label_smoothing: None,
            z_loss: None,
            normaliser: None,
            upstream_grad: None,
        }
    }

    /// Their values, for so many classes and rows.
    fn values(&self, classes: usize, rows: usize) -> combined::Options {
        let number = |of: &Option<Number>| of.as_ref().map(Number::get);
        combined::Options {
            scale: number(&self.logit_scale).unwrap_or(1.0),
            smoothing: number(&self.label_smoothing).unwrap_or(0.0),
            z_loss: number(&self.z_loss).unwrap_or(0.0),
            normaliser: number(&self.normaliser),
            weights: self.class_weights.as_ref().map(|w| w.take(classes)),
            upstream: self.upstream_grad.as_ref().map(|data| data.take(rows)),
        }
    }

    /// What is wrong with them, if anything is.
    fn error(&self, values: &combined::Options, classes: usize, rows: usize) -> Option<Error> {
        let not_negative = values.z_loss.is_finite() && values.z_loss >= 0.0;
        let divisor = values.normaliser.unwrap_or(1.0);
        let positive = divisor.is_finite() && divisor > 0.0 && divisor.recip().is_finite();
        let weights = values.weights.as_ref();
        let upstream = values.upstream.as_ref();
        share_error("label_smoothing", values.smoothing)
            .or(options::range_error("z_loss", values.z_loss, not_negative))
            .or(factor_error("logit_scale", values.scale))
            .or(options::range_error("normaliser", divisor, positive))
            .or_else(|| options::weights_error("class_weights", weights?, classes))
            .or_else(|| options::length_error("upstream_grad", rows, upstream?.len()))
    }

    /// The loss with them. (Those that are off are not set: calls without any are others.)
    fn set<'a>(
        &self,
        values: &'a combined::Options,
        mut loss: CrossEntropy<'a>,
    ) -> CrossEntropy<'a> {
        if self.logit_scale.is_some() {
            loss = loss.logit_scale(values.scale);
        }
        if self.label_smoothing.is_some() {
            loss = loss.label_smoothing(values.smoothing);
        }
        if self.z_loss.is_some() {
            loss = loss.z_loss(values.z_loss);
        }
        if let Some(divisor) = values.normaliser {
            loss = loss.normaliser(divisor);
        }
        if let Some(weights) = &values.weights {
            loss = loss.class_weights(weights);
        }
        if let Some(upstream) = &values.upstream {
            loss = loss.upstream_grad(upstream);
        }
        loss
    }
}

/// Targets of any kind, as the checks see them.
struct Given<'a, T> {
    targets: &'a [T],
    /// How many of them a row has.
    each: usize,
    values: &'a combined::Options,
    /// Of each row, unless it is ignored; nothing if not known.
    shares: Option<Vec<Option<Shares>>>,
    /// Of the mean.
    divisor: f64,
}

impl<'a, T> Given<'a, T> {
    fn of(&self, row: usize) -> (&'a [T], Option<&'a [f32]>) {
        let at = |each: usize| -> Range<usize> { row * each..(row + 1) * each };
        let upstream = self.values.upstream.as_ref();
        (
            &self.targets[at(self.each)],
            upstream.map(|all| &all[at(1)]),
        )
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
        let classes = match &self.targets {
            Targets::Classes(classes) => classes,
            Targets::Probs(probs) => return self.toward_probs(probs),
        };
        let targets = classes.take(self.shape.batch());
        // As many targets in the type, wrapped where they do not fit.
        macro_rules! typed {
            ($integer:ty) => {{
                let targets: Vec<_> = targets.iter().map(|&t| t as $integer).collect();
                let values: Vec<_> = targets.iter().map(|&t| t as i128).collect();
                self.toward_classes(&targets, &values, classes);
            }};
        }
        match classes.integer {
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

    fn x(&self) -> Placed {
        let len = self.shape.batch().len();
        Placed::new(&self.x.take(len), self.offsets.source())
    }

    fn loss<'a>(&self, values: &'a combined::Options) -> CrossEntropy<'a> {
        let mut loss = CrossEntropy::new()
            .masked_rows(self.masked_rows())
            .reduction(self.reducing.reduction())
            .empty_mean(self.reducing.empty_mean());
        if let Targets::Classes(classes) = &self.targets
            && classes.ignore_index != Ignore::Default
        {
            loss = loss.ignore_index(classes.ignored());
        }
        self.options.set(values, loss)
    }

    fn toward_classes<I: Target>(&self, targets: &[I], indices: &[i128], of: &Classes) {
        let batch = self.shape.batch();
        let Batch { rows, classes } = batch;
        let values = self.options.values(classes, rows);
        let wrong = self.options.error(&values, classes, rows);
        let counted = match (wrong, counted(indices, classes, of.ignored())) {
            (None, Ok(counted)) => counted,
            (wrong, counted) => {
                let errors = [wrong.or(counted.err()); 4];
                return self.outcomes(&values, targets, errors);
            }
        };
        let weight = |target: &usize| values.weight(*target);
        let divisor = oracle::sum(counted.iter().flatten().map(weight));
        let shares = |target: &Option<usize>| {
            target.map(|target| Shares::of_class(&values, target, classes))
        };
        let shares = batch.exact(|| counted.iter().map(shares).collect());
        self.fit(&Given {
            targets,
            each: 1,
            values: &values,
            shares,
            divisor: values.normaliser.unwrap_or(divisor),
        });
    }

    fn toward_probs(&self, of: &Probs) {
        let batch = self.shape.batch();
        let Batch { rows, classes } = batch;
        let mut values = self.options.values(classes, rows);
        if classes == 0 {
            // Nothing tells how many there are, where losses are not asked for.
            values.upstream = None;
        }
        let targets = of.take(batch);
        if let Some(wrong) = self.options.error(&values, classes, rows) {
            return self.outcomes(&values, &targets, [Some(wrong); 4]);
        }
        let weighted = |(i, &t): (usize, &f32)| values.weight(i % classes) * f64::from(t);
        let divisor = oracle::sum(targets.iter().enumerate().map(weighted));
        let shares = |target: &[f32]| {
            if oracle::has_mass(target) {
                Shares::of_distribution(&values, target).map(Some)
            } else {
                Some(None)
            }
        };
        // Of rows of no class too, which no chunks of the targets tell of.
        let of_row = |row| shares(&targets[row * classes..][..classes]);
        let shares = batch.exact(|| (0..rows).map(of_row).collect());
        self.fit(&Given {
            targets: &targets,
            each: classes,
            values: &values,
            shares: shares.flatten(),
            divisor: values.normaliser.unwrap_or(divisor),
        });
    }

    fn fit<I: Target>(&self, given: &Given<'_, I>) {
        let batch = self.shape.batch();
        let Batch { rows, classes } = batch;
        let (targets, x) = (given.targets, self.x());
        let loss = self.loss(given.values);
        let (reduced, per_row) = self.expected(&x, given).unzip();
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
            let alone = losses(&|losses| {
                loss.loss_per_row(&x, classes, targets, losses)?;
                Ok(separate[rows..].to_vec())
            });
            let mut forms = vec![in_place, alone];
            if batch.has_few_rows() {
                forms.push(losses(&|losses| {
                    let (over_x, ()) = output(&x, offset, |x| {
                        let each = x.chunks_exact_mut(classes).zip(losses.chunks_exact_mut(1));
                        each.enumerate().try_for_each(|(row, (x, one))| {
                            let (targets, upstream) = given.of(row);
                            let loss = upstream.map_or(loss, |one| loss.upstream_grad(one));
                            loss.loss_per_row_and_grad_in_place(x, classes, targets, one)
                        })
                    });
                    Ok(over_x)
                }));
            }
            forms.push(separate);
            forms
        });
    }

    /// The reduced loss and its gradient; and the losses of the rows and their gradients. Nothing if that is not known.
    fn expected<I>(
        &self,
        x: &[f32],
        given: &Given<'_, I>,
    ) -> Option<(Vec<Expected>, Vec<Expected>)> {
        let (values, classes) = (given.values, self.shape.batch().classes);
        let scale = self.reducing.scale(given.divisor);
        let exact = |(row, shares): (usize, &Option<Shares>)| {
            let x = &x[row * classes..][..classes];
            let shares = shares.as_ref()?;
            Some(Exact::new(values, self.masked_rows(), x, shares))
        };
        let rows: Vec<_> = given
            .shares
            .as_ref()?
            .iter()
            .enumerate()
            .map(exact)
            .collect();
        if !rows.iter().flatten().all(Exact::is_known) {
            return None;
        }
        let (mut losses, mut grads, mut reduced_grads) = (Vec::new(), Vec::new(), Vec::new());
        for (row, exact) in rows.iter().enumerate() {
            let Some(exact) = exact else {
                let zeros = [Expected::exactly(0.0)].repeat(classes);
                losses.push(Expected::exactly(0.0));
                grads.extend(&zeros);
                reduced_grads.extend(&zeros);
                continue;
            };
            let upstream = values.upstream.as_ref();
            let upstream = upstream.map_or(1.0, |upstream| upstream[row].into());
            losses.push(exact.expected_loss());
            grads.extend(exact.expected_gradients(upstream));
            reduced_grads.extend(exact.expected_gradients(scale * upstream));
        }
        let sum = oracle::sum(losses.iter().map(|loss| loss.value));
        let value = self.reducing.reduced(sum, given.divisor);
        let divisor = if self.reducing.sum {
            1.0
        } else {
            given.divisor
        };
        let mut reduced = vec![Exact::expected_reduced(&rows, value, divisor)];
        reduced.extend(reduced_grads);
        losses.extend(grads);
        Some((reduced, losses))
    }

    /// What becomes of calls with options or targets that are wrong.
    fn outcomes<I: Target>(
        &self,
        values: &combined::Options,
        targets: &[I],
        errors: [Option<Error>; 4],
    ) {
        let (x, batch) = (self.x(), self.shape.batch());
        let loss = self.loss(values);
        let lengths = [x.len(), batch.rows];
        outcomes(loss, &x, batch.classes, targets, lengths, errors);
    }

    fn misfit(&self, misfit: &Lengths) {
        let (classes, [len, targets, out]) = (misfit.classes(), misfit.slices());
        let x = self.x.take(len);
        let shape = shape_error(len, classes);
        let is_class = matches!(self.targets, Targets::Classes(_));
        let (targets_fit, losses_fit) = if is_class {
            (
                rows_error(len, classes, targets),
                length_error(targets, out),
            )
        } else {
            (length_error(len, targets), rows_error(len, classes, out))
        };
        let alone = shape.or(targets_fit);
        let with_grad = shape.or(length_error(len, out)).or(targets_fit);
        let errors = [alone, with_grad, alone, alone.or(losses_fit)];
        let loss = CrossEntropy::new();
        if is_class {
            // Every row is ignored, so that no target can be wrong.
            let targets = vec![-100_i32; targets];
            outcomes(loss, &x, classes, &targets, [out; 2], errors);
        } else {
            outcomes(loss, &x, classes, &self.x.take(targets), [out; 2], errors);
        }
    }
}

impl Classes {
    fn ignored(&self) -> Option<i64> {
        match self.ignore_index {
            Ignore::Default => Some(-100),
            Ignore::None => None,
            Ignore::Some(index) => Some(i64::from(index)),
            Ignore::Any(index) => Some(index),
        }
    }

    fn take(&self, Batch { rows, classes }: Batch) -> Vec<i64> {
        let classes = classes.max(1) as i64;
        let choices = self.choices.iter().chain(&[Choice::First]).cycle();
        let target = |choice: &Choice| match *choice {
            Choice::Class(class) => i64::from(class) % classes,
            Choice::First => 0,
            Choice::Last => classes - 1,
            Choice::Ignored => self.ignored().unwrap_or(0),
            Choice::Any(target) => target,
        };
        choices.map(target).take(rows).collect()
    }
}

impl Probs {
    fn take(&self, batch: Batch) -> Vec<f32> {
        let mut probs = self.probs.take(batch.len());
        if !self.any {
            for t in &mut probs {
                *t = if t.is_finite() { t.abs() } else { 0.0 };
            }
        }
        let gap = usize::from(self.gap);
        for (i, row) in probs.chunks_exact_mut(batch.classes.max(1)).enumerate() {
            if i.checked_rem(gap) == Some(0) {
                row.fill(0.0);
            }
        }
        probs
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

/// What becomes of the loss alone, the gradient, the gradient in place, and the losses one by one.
fn outcomes<I: Target>(
    loss: CrossEntropy<'_>,
    x: &[f32],
    classes: usize,
    targets: &[I],
    [grads, losses]: [usize; 2],
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
