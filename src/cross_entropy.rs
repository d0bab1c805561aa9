//! Softmax cross-entropy: the loss of a batch of rows and its gradient, fused; with a class for each row, or a distribution.

use crate::batch::{Batch, BatchMut};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::cross_entropy::Data;
use crate::kernel::reduce::Sum;
use crate::kernel::scale::Scale;
use crate::kernel::soft_cross_entropy::{Mass, SoftCrossEntropy};
use crate::kernel::wide::{Wide, WideFloat};
use crate::kernel::{self, MaskedRows, rounded};
use crate::operations::SoftBatch;
use crate::options;
use crate::output::Output;
use crate::outputs::{Outputs as _, RowOutputs};
use crate::rows::{Split, same_length};
use crate::shape::Shape;
use crate::targets::sealed::Integer;
use crate::targets::{Answers, Distributions, Given, Target, Targets};

/// How the losses of the rows become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean: over the rows that are not ignored, each counted as the weight of its class (or as its weighted distribution adds up to), or over all elements of a binary
    /// cross-entropy. Or the sum, divided by a normaliser that the caller gives.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// What the mean of no loss is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyMean {
    /// NaN, as in `PyTorch`: 0 divided by 0.
    #[default]
    Nan,
    /// 0.
    Zero,
}

impl Reduction {
    /// What every gradient is multiplied by, where the losses have this divisor.
    pub(crate) fn scale<W: WideFloat>(self, divisor: W) -> W {
        match self {
            Self::Mean if divisor == W::ZERO => W::ZERO,
            Self::Mean => W::ONE / divisor,
            Self::Sum => W::ONE,
        }
    }

    /// The loss of rows whose losses add up to `sum`.
    pub(crate) fn reduce<T: Real>(self, sum: Wide<T>, divisor: Wide<T>, empty: EmptyMean) -> T {
        let has_no_mean = self == Self::Mean && divisor == Wide::<T>::ZERO;
        match self {
            _ if has_no_mean && empty == EmptyMean::Nan => T::NAN,
            _ if has_no_mean => T::ZERO,
            Self::Mean => rounded(sum / divisor),
            Self::Sum => rounded(sum),
        }
    }
}

/// Softmax cross-entropy with target classes, or a target distribution, and its gradient with respect to the logits. By default `L = -ln p_t`, and
/// the gradient is `p - t`: the probability of each class, less 1 at the target, or less its target.
///
/// Logits come as rows, of which a number of classes or a [`Shape`] says where they lie; targets as one integer per row, of any type that is a
/// [`Target`], or as one probability per logit, of the type of the logits (soft labels, for distillation or mixup).
///
/// With all options, each of which is off unless it is called, a row with logits `x` and the target class `t` has
///
/// ```text
/// z = s x     lse = ln sum_k e^z_k     p_k = e^z_k / sum_k e^z_k
/// L = (1 - e) w_t (lse - z_t) + e / K sum_k w_k (lse - z_k) + c lse^2
/// dL/dx_k = s ((M + 2 c lse) p_k - e / K w_k - (1 - e) w_t [k = t])     M = (1 - e) w_t + e / K sum_k w_k
/// ```
///
/// and one with the target distribution `t`, of which a class is the special case that is 1 there and 0 elsewhere:
///
/// ```text
/// q_k = w_k ((1 - e) t_k + e / K)     L = sum_k q_k (lse - z_k) + c lse^2
/// dL/dx_k = s ((M + 2 c lse) p_k - q_k)     M = sum_k q_k
/// ```
///
/// for `K` classes:
///
/// | | option | in `PyTorch`'s `cross_entropy` |
/// | --- | --- | --- |
/// | `s` | [`logit_scale`](Self::logit_scale), the inverse of a temperature | none: a product before |
/// | `w` | [`class_weights`](Self::class_weights) | `weight` |
/// | `e` | [`label_smoothing`](Self::label_smoothing) | `label_smoothing` |
/// | `c` | [`z_loss`](Self::z_loss) | none |
/// | | [`ignore_index`](Self::ignore_index), [`reduction`](Self::reduction) | the same |
/// | | [`normaliser`](Self::normaliser) | none: the sum, divided afterwards |
/// | | [`upstream_grad`](Self::upstream_grad) | the argument of `backward` |
///
/// The mean divides the sum of the losses by that of the `w_t` of the rows that are not ignored, as `PyTorch` does, smoothing or not;
/// [`normaliser`](Self::normaliser) puts another number there. For distributions that is the sum of `w_k t_k` over all rows, so that they have the mean of
/// classes (`PyTorch` divides by the number of rows, whatever their weights, which is the same where there are none and each row adds up to 1). That sum costs a pass over
/// the targets, which a normaliser saves.
///
/// Distributions are data: nothing checks that they are not negative, or add up to 1. A row whose targets are all 0 counts for nothing, whatever it holds:
/// its loss and its gradient are 0, and smoothing and z-loss leave it out (`PyTorch` smooths it). A target of 0 has no part of a logit of `-inf`; infinite targets, and
/// negative ones of a logit of `-inf`, may give NaN where the formula has an infinity. Products of weights and targets are numbers of the element type: those
/// below its least normal number, 2^-126, have fewer digits.
///
/// Without smoothing and z-loss, each row's loss is within 1.1 ULP of the exact one, and each gradient within 2.9 (3.4 below
/// 2^-122; 0.1 more with a logit scale), however sure the row is. The sum of the losses and their mean are within 1.1 ULP as well: losses are added before they are rounded, and none is
/// negative. The target is left out of the sum of the others, so a confident
/// row has loss `ln(1 + others / w_t)` and target gradient `-others / sum`, where `-ln p_t` and `p_t - 1` in the same
/// precision are exactly 0. With them, a loss is within 1.8 ULP of the largest of its terms, where `lse - z_k` and `lse` count as 1
/// at least, and a gradient within 3.8 ULP of the larger of what is subtracted. What has less than 2^-188 of a row's
/// probability may count as that or as nothing.
///
/// With a distribution that is not negative, a loss is within 1.1 ULP (1 more with weights, and if the largest scaled logit is beyond 65 536; with a z-loss, 0.7 more, of the largest of its terms), and a gradient within
/// 3.2 ULP of the larger of what is subtracted (1 more with weights, with smoothing, and with both together, 0.6 with a z-loss; 0.1 more with a logit scale). A row
/// whose only target has the largest logit has the loss that it has with a class, bit for bit, unless there is smoothing.
///
/// Special rows: one with `+inf` or NaN has loss and gradient NaN; a target with `-inf` has loss
/// `+inf` and gradient -1 (times the row's factor); a row of `-inf` alone is NaN
/// ([`CrossEntropy::masked_rows`]); an ignored row has loss and gradient 0, whatever it holds, and
/// does not count in the mean. A weight of 0 times an infinite loss is 0 (NaN in `PyTorch`).
///
/// ```
/// use softlane::CrossEntropy;
///
/// let logits = [20.0_f32, 0.0, 1.0, 2.0];
/// let mut grad = [0.0; 4];
/// let loss = CrossEntropy::new().loss_and_grad(&logits, 4, &[0_u8], &mut grad)?;
/// assert_eq!((loss, grad[0]), (2.289393e-8, -2.2893929e-8));
///
/// let soft = CrossEntropy::new().loss(&[0.0_f32; 4], 2, &[0.5_f32, 0.5, 0.25, 0.75])?;
/// assert_eq!(soft, core::f32::consts::LN_2);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct CrossEntropy<'a, T = f32> {
    pub(crate) exec: Exec,
    pub(crate) reduction: Reduction,
    ignore_index: Option<i64>,
    masked_rows: MaskedRows,
    pub(crate) empty_mean: EmptyMean,
    logit_scale: Option<f64>,
    class_weights: Option<&'a [T]>,
    label_smoothing: f64,
    z_loss: f64,
    normaliser: Option<f64>,
    pub(crate) upstream_grad: Option<&'a [T]>,
}

impl<T: Real> Default for CrossEntropy<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Real> CrossEntropy<'a, T> {
    /// The mean over the rows, of which those with target -100 are ignored.
    pub const fn new() -> Self {
        Self {
            exec: Exec::new(),
            reduction: Reduction::Mean,
            ignore_index: Some(-100),
            masked_rows: MaskedRows::Nan,
            empty_mean: EmptyMean::Nan,
            logit_scale: None,
            class_weights: None,
            label_smoothing: 0.0,
            z_loss: 0.0,
            normaliser: None,
            upstream_grad: None,
        }
    }

    /// Where it runs.
    pub const fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// How the losses of the rows become one. (For one loss per row:
    /// [`CrossEntropy::loss_per_row`].)
    pub const fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Rows with this target class are ignored; with `None`, no row is. (Of distributions, those that are 0 throughout are.)
    pub const fn ignore_index(mut self, ignore_index: Option<i64>) -> Self {
        self.ignore_index = ignore_index;
        self
    }

    /// What a row is whose logits are all `-inf`: NaN (the default), or one without any
    /// probability, so that its loss is `+inf` and its gradient -1 at the target and 0 elsewhere.
    pub const fn masked_rows(mut self, masked_rows: MaskedRows) -> Self {
        self.masked_rows = masked_rows;
        self
    }

    /// What the mean is when its divisor is 0: every row is ignored, there is none, all weights are 0, or distributions add up to 0. The gradient is 0
    /// either way.
    pub const fn empty_mean(mut self, empty_mean: EmptyMean) -> Self {
        self.empty_mean = empty_mean;
        self
    }

    /// What every logit is multiplied by, exactly (no product is rounded): 1 over the temperature. A positive number that the
    /// element type has, if rounded.
    ///
    /// ```
    /// let cold = softlane::CrossEntropy::new().logit_scale(2.0);
    /// let loss = cold.loss(&[0.5_f32, 0.0], 2, &[0])?;
    /// assert_eq!(loss, softlane::CrossEntropy::new().loss(&[1.0_f32, 0.0], 2, &[0])?);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn logit_scale(mut self, scale: f64) -> Self {
        self.logit_scale = Some(scale);
        self
    }

    /// What the loss of a row is multiplied by, one number for each class that a target may be: finite, and not negative. (Of a distribution, what each of its
    /// probabilities is multiplied by.)
    ///
    /// ```
    /// use softlane::{CrossEntropy, Reduction};
    ///
    /// let mean = CrossEntropy::new().class_weights(&[3.0, 1.0]);
    /// // (3 ln 2 + 0) / (3 + 1)
    /// let loss = mean.loss(&[0.0_f32, 0.0, f32::NEG_INFINITY, 0.0], 2, &[0, 1])?;
    /// assert_eq!(loss, 0.75 * core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn class_weights(mut self, weights: &'a [T]) -> Self {
        self.class_weights = Some(weights);
        self
    }

    /// The share of the target that is taken from it and spread over all classes, itself included: from 0 to 1.
    ///
    /// ```
    /// let smooth = softlane::CrossEntropy::new().label_smoothing(0.5);
    /// let mut grad = [0.0_f32; 2];
    /// smooth.loss_and_grad(&[0.0; 2], 2, &[0], &mut grad)?;
    /// assert!((grad[0] + 0.25).abs() < 1e-7);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    ///
    /// Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, section 7. (Some programs
    /// spread the share over the other classes only.)
    pub const fn label_smoothing(mut self, smoothing: f64) -> Self {
        self.label_smoothing = smoothing;
        self
    }

    /// The weight of the square of the log-sum-exp in the loss, which keeps the logits from drifting: finite, and not negative. Class
    /// weights do not apply to it.
    ///
    /// ```
    /// let z = softlane::CrossEntropy::new().z_loss(1.0);
    /// assert_eq!(z.loss(&[2.0_f32], 1, &[0])?, 4.0);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    ///
    /// Source: Chowdhery et al., "`PaLM`: Scaling Language Modeling with Pathways", 2022, section 5.
    pub const fn z_loss(mut self, weight: f64) -> Self {
        self.z_loss = weight;
        self
    }

    /// The divisor of the mean, in place of what counts in this batch: a finite, positive number. (It is of no account for sums and
    /// single rows.) With that of all batches
    /// together, losses and gradients of their parts add up to those of the whole (gradient accumulation).
    ///
    /// ```
    /// let half = softlane::CrossEntropy::new().normaliser(2.0);
    /// assert_eq!(half.loss(&[0.0_f32; 2], 2, &[0])?, 0.5 * core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn normaliser(mut self, divisor: f64) -> Self {
        self.normaliser = Some(divisor);
        self
    }

    /// The gradient of what follows with respect to the loss of each row, one number per row: every gradient of the row is
    /// multiplied by it, no loss is. (In `PyTorch`, the argument of `backward` where the reduction is none.) It is data: a row
    /// whose upstream gradient is not finite has gradients of NaN.
    ///
    /// ```
    /// use softlane::CrossEntropy;
    ///
    /// let (mut losses, mut grad) = ([0.0_f32; 2], [0.0; 4]);
    /// let rows = CrossEntropy::new().upstream_grad(&[2.0, 0.0]);
    /// rows.loss_per_row_and_grad(&[0.0_f32; 4], 2, &[0, 1], &mut losses, &mut grad)?;
    /// assert_eq!(grad, [-1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn upstream_grad(mut self, grad: &'a [T]) -> Self {
        self.upstream_grad = Some(grad);
        self
    }

    /// The reduced loss.
    ///
    /// # Errors
    /// [`Error::Shape`] if the logits are no whole number of rows, [`Error::Length`] if there is
    /// another number of targets (of classes: than rows; of probabilities: than logits), [`Error::Target`] if a target is neither a class nor ignored, [`Error::Option`],
    /// [`Error::OptionLength`] or [`Error::Weight`] if an option is out of its range, [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
    ///
    /// ```
    /// let loss = softlane::CrossEntropy::new().loss(&[0.0_f32; 4], 2, &[0_i64, 1])?;
    /// assert_eq!(loss, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced(
            (shape, Batch::new([logits], shape)?),
            targets,
            RowOutputs::new(),
        )
    }

    /// The reduced loss, and its gradient with respect to the logits, which fills `grad`.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss`], and [`Error::Length`] if `grad` is not as long as the logits.
    /// `grad` is untouched then.
    ///
    /// ```
    /// use softlane::{CrossEntropy, Reduction};
    ///
    /// let sum = CrossEntropy::new().reduction(Reduction::Sum);
    /// let mut grad = [0.0_f32; 4];
    /// let loss = sum.loss_and_grad(&[0.0; 4], 2, &[0_usize, 1], &mut grad)?;
    /// assert_eq!(loss, 2.0 * core::f32::consts::LN_2);
    /// assert_eq!(grad, [-0.5, 0.5, 0.5, -0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        grad: &mut (impl Output<E> + ?Sized),
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced(
            (shape, BatchMut::new([logits], shape, grad)?),
            targets,
            RowOutputs::new(),
        )
    }

    /// The reduced loss, and its gradient with respect to the logits, which takes their place.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss`]. The logits are untouched then.
    ///
    /// ```
    /// let mut x = [0.0_f32, 0.0];
    /// softlane::CrossEntropy::new().loss_and_grad_in_place(&mut x, 2, &[1_u32])?;
    /// assert_eq!(x, [0.5, -0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad_in_place<E: Element<Real = T>>(
        self,
        logits: &mut [E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced(
            (shape, BatchMut::in_place(logits, shape)?),
            targets,
            RowOutputs::new(),
        )
    }

    /// [`loss`](Self::loss), and what else the same sweep finds of each row: see [`RowOutputs`]. What is not asked for costs nothing. An ignored row, or one without target mass, has 0
    /// everywhere. For rows of few classes, log-sum-exps and log-probabilities take up to 1.8 times the time of the losses alone; long rows, next to nothing
    /// (`cargo bench --bench options`).
    ///
    /// # Errors
    /// As [`CrossEntropy::loss`], and [`Error::OptionLength`] if an output has another number of rows. All outputs are untouched then.
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let (mut lse, mut best) = ([0.0_f32; 1], [0; 1]);
    /// let outputs = RowOutputs::new().log_sum_exps(&mut lse).argmax(&mut best);
    /// CrossEntropy::new().loss_with(&[1000.0_f32, 1000.0], 2, &[1], outputs)?;
    /// assert_eq!((lse, best), ([1000.6932], [0]));
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_with<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        outputs: RowOutputs<'_, T>,
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced((shape, Batch::new([logits], shape)?), targets, outputs)
    }

    /// [`loss_and_grad`](Self::loss_and_grad), and what else the same sweep finds of each row, as [`loss_with`](Self::loss_with).
    ///
    /// # Errors
    /// As there, and as [`CrossEntropy::loss_and_grad`].
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let (mut grad, mut best) = ([0.0_f32; 2], [9; 1]);
    /// let outputs = RowOutputs::new().argmax(&mut best);
    /// CrossEntropy::new().loss_and_grad_with(&[0.0, 0.0], 2, &[1], &mut grad, outputs)?;
    /// assert_eq!((grad, best), ([0.5, -0.5], [0]));
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad_with<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        grad: &mut (impl Output<E> + ?Sized),
        outputs: RowOutputs<'_, T>,
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced(
            (shape, BatchMut::new([logits], shape, grad)?),
            targets,
            outputs,
        )
    }

    /// [`loss_and_grad_in_place`](Self::loss_and_grad_in_place), and what else the same sweep finds of each row, as [`loss_with`](Self::loss_with).
    ///
    /// # Errors
    /// As there. The logits are untouched then too.
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let (mut x, mut best) = ([0.0_f32, 0.0], [9; 1]);
    /// let outputs = RowOutputs::new().argmax(&mut best);
    /// CrossEntropy::new().loss_and_grad_in_place_with(&mut x, 2, &[1], outputs)?;
    /// assert_eq!((x, best), ([0.5, -0.5], [0]));
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad_in_place_with<E: Element<Real = T>>(
        self,
        logits: &mut [E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        outputs: RowOutputs<'_, T>,
    ) -> Result<T, Error> {
        let shape = shape.into();
        self.reduced(
            (shape, BatchMut::in_place(logits, shape)?),
            targets,
            outputs,
        )
    }

    /// The loss of each row, unreduced, which fills `losses`.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss`], and [`Error::Length`] if `losses` has another number of rows.
    /// `losses` is untouched then.
    ///
    /// ```
    /// let mut losses = [9.0_f32; 2];
    /// softlane::CrossEntropy::new().loss_per_row(&[0.0_f32; 4], 2, &[1, -100], &mut losses)?;
    /// assert_eq!(losses, [core::f32::consts::LN_2, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_per_row<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        losses: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let shape = shape.into();
        self.per_row((shape, Batch::new([logits], shape)?), targets, losses)
    }

    /// The loss of each row, unreduced, and its gradient: of the row's own loss, so the reduction
    /// plays no part.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss_per_row`] and [`CrossEntropy::loss_and_grad`].
    ///
    /// ```
    /// let (mut losses, mut grad) = ([0.0_f32; 1], [0.0; 2]);
    /// let loss = softlane::CrossEntropy::new();
    /// loss.loss_per_row_and_grad(&[0.0_f32; 2], 2, &[1_u8], &mut losses, &mut grad)?;
    /// assert_eq!(grad, [0.5, -0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_per_row_and_grad<E: Element<Real = T>>(
        self,
        logits: &[E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        losses: &mut (impl Output<T> + ?Sized),
        grad: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        let shape = shape.into();
        let rows = (shape, BatchMut::new([logits], shape, grad)?);
        self.per_row(rows, targets, losses)
    }

    /// The loss of each row, unreduced, and its gradient, which takes the place of the logits.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss_per_row`]. The logits are untouched then too.
    ///
    /// ```
    /// let (mut losses, mut x) = ([0.0_f32; 1], [0.0_f32; 2]);
    /// let loss = softlane::CrossEntropy::new();
    /// loss.loss_per_row_and_grad_in_place(&mut x, 2, &[0_u8], &mut losses)?;
    /// assert_eq!(x, [-0.5, 0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_per_row_and_grad_in_place<E: Element<Real = T>>(
        self,
        logits: &mut [E],
        shape: impl Into<Shape>,
        targets: &[impl Target<E>],
        losses: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let shape = shape.into();
        self.per_row((shape, BatchMut::in_place(logits, shape)?), targets, losses)
    }

    fn reduced<E: Element<Real = T>, B: Form<E>>(
        self,
        rows: (Shape, B),
        targets: &[impl Target<E>],
        outputs: RowOutputs<'_, T>,
    ) -> Result<T, Error> {
        let [sum, divisor] = self.run(rows, targets, outputs, false)?;
        Ok(self.reduction.reduce(sum, divisor, self.empty_mean))
    }

    fn per_row<E: Element<Real = T>, B: Form<E>>(
        self,
        rows: (Shape, B),
        targets: &[impl Target<E>],
        losses: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let losses = losses.or(T::ZERO);
        self.run(rows, targets, RowOutputs::new().losses(losses), true)?;
        Ok(())
    }

    /// Checks everything, and runs the kernel. Returns the sum of the losses, and the divisor of their mean. With `is_per_row`, gradients are those of the
    /// rows' own losses.
    fn run<E: Element<Real = T>, B: Form<E>, I: Target<E>>(
        self,
        (shape, rows): (Shape, B),
        targets: &[I],
        outputs: RowOutputs<'_, T>,
        is_per_row: bool,
    ) -> Result<[Wide<T>; 2], Error> {
        let targets = I::given(targets);
        let losses = outputs.losses.as_ref().filter(|_| is_per_row);
        let rows = match targets {
            Given::Classes(targets) => rows.expect_rows(targets.len())?,
            Given::Probs(probs) => {
                if shape.strides.is_none() {
                    same_length(rows.elements(), probs.len())?;
                }
                same_length(rows.rows(), Batch::new([probs], shape)?.rows())?;
                match outputs.rows() {
                    // Those of no class are told by them.
                    Some(count) if rows.classes() == 0 => rows.expect_rows(count)?,
                    _ => rows,
                }
            }
        };
        let (classes, count) = (rows.classes(), rows.rows());
        if let Some(losses) = losses {
            same_length(count, losses.len())?;
        }
        outputs.check(count)?;
        self.check(classes, count)?;
        match targets {
            Given::Classes(targets) => {
                let (targets, divisor) = self.counted(targets, classes)?;
                let upstream = self.upstream_grad;
                let answers = Answers { targets, upstream };
                let scale = self.grad_scale(divisor, is_per_row);
                let sum = self.class_losses(rows, answers, outputs, scale)?;
                Ok([sum, divisor])
            }
            Given::Probs(probs) => {
                let divisor = self.soft_divisor(probs, shape, is_per_row)?;
                let answers = Answers {
                    targets: Distributions(Batch::new([probs], shape)?),
                    upstream: self.upstream_grad,
                };
                let scale = self.grad_scale(divisor, is_per_row);
                let sum = self.soft_losses(rows, answers, outputs, scale)?;
                Ok([sum, divisor])
            }
        }
    }

    /// Checks target classes, and gives the divisor of the mean.
    pub(crate) fn counted<'t, I: Integer>(
        &self,
        targets: &'t [I],
        classes: usize,
    ) -> Result<(Targets<'t>, Wide<T>), Error> {
        let weights = self.class_weights;
        let (targets, counted) = Targets::new(targets, classes, self.ignore_index, weights)?;
        Ok((targets, self.normaliser.map_or(counted, Wide::<T>::of)))
    }

    /// The sum of the losses of rows whose targets have been checked. `scale` is what every gradient is multiplied by.
    #[inline(always)]
    pub(crate) fn class_losses<E: Element<Real = T>, B: Form<E>>(
        self,
        rows: B,
        answers: Answers<'_, T>,
        outputs: RowOutputs<'_, T>,
        scale: Wide<T>,
    ) -> Result<Wide<T>, Error> {
        let classes = rows.classes();
        if self.is_plain() && !outputs.wanted().any {
            let data = (rows, answers, outputs.losses);
            B::losses(self.exec, self.kernel(classes, scale), data)
        } else {
            let data = (rows, answers, outputs);
            B::modified_losses(self.exec, self.kernel(classes, scale), data)
        }
    }

    /// The same toward distributions.
    pub(crate) fn soft_losses<E: Element<Real = T>, B: Form<E>>(
        self,
        rows: B,
        answers: Answers<'_, T, Distributions<'_, E>>,
        outputs: RowOutputs<'_, T>,
        scale: Wide<T>,
    ) -> Result<Wide<T>, Error> {
        let kernel = SoftCrossEntropy(self.kernel(rows.classes(), scale));
        B::soft_losses(self.exec, kernel, (rows, answers, outputs))
    }

    /// What every gradient is multiplied by: those of single rows by nothing.
    pub(crate) fn grad_scale(&self, divisor: Wide<T>, is_per_row: bool) -> Wide<T> {
        if is_per_row {
            Wide::<T>::ONE
        } else {
            self.reduction.scale(divisor)
        }
    }

    /// The divisor of the mean, if there is one: the sum of all targets, each as often as its class weighs.
    pub(crate) fn soft_divisor<E: Element<Real = T>>(
        &self,
        probs: &[E],
        shape: Shape,
        is_per_row: bool,
    ) -> Result<Wide<T>, Error> {
        if is_per_row || self.reduction == Reduction::Sum {
            return Ok(Wide::<T>::ONE);
        }
        match (self.normaliser, self.class_weights) {
            (Some(divisor), _) => Ok(Wide::<T>::of(divisor)),
            (None, Some(weights)) => E::mass(self.exec, Mass(weights), Batch::new([probs], shape)?),
            (None, None) if shape.is_dense() => E::sum(self.exec, Sum, Batch::flat(probs)),
            (None, None) => E::sum(self.exec, Sum, Batch::new([probs], shape)?),
        }
    }

    /// Checks the options.
    pub(crate) fn check(&self, classes: usize, rows: usize) -> Result<(), Error> {
        options::in_range("label_smoothing", self.label_smoothing)?;
        options::not_negative("z_loss", self.z_loss)?;
        if let Some(scale) = self.logit_scale {
            options::scale::<T>("logit_scale", scale)?;
        }
        if let Some(divisor) = self.normaliser {
            options::positive("normaliser", divisor)?;
        }
        if let Some(weights) = self.class_weights {
            options::weights("class_weights", weights, classes)?;
        }
        if let Some(upstream) = self.upstream_grad {
            options::length("upstream_grad", rows, upstream.len())?;
        }
        Ok(())
    }

    /// Whether no option of the rows is on.
    fn is_plain(&self) -> bool {
        let is_weighted = self.class_weights.is_some() || self.upstream_grad.is_some();
        let is_smooth = self.label_smoothing != 0.0 || self.z_loss != 0.0;
        let is_scaled = self.logit_scale.is_some() || self.normaliser.is_some();
        !is_weighted && !is_smooth && !is_scaled
    }

    fn kernel<const PLAIN: bool>(
        &self,
        classes: usize,
        grad_scale: Wide<T>,
    ) -> kernel::cross_entropy::CrossEntropy<'a, T, PLAIN> {
        let count = classes as f64;
        let (total, largest) = match self.class_weights {
            Some(weights) if self.label_smoothing > 0.0 => options::total_and_largest(weights),
            // Of no account where only targets have a share.
            _ => (Wide::<T>::of(count), 1.0),
        };
        kernel::cross_entropy::CrossEntropy {
            masked_rows: self.masked_rows,
            grad_scale,
            scale: self.logit_scale.map_or_else(Scale::one, Scale::new),
            z_loss: self.z_loss,
            shares: [
                Wide::<T>::ONE - Wide::<T>::of(self.label_smoothing),
                Wide::<T>::of(self.label_smoothing) / Wide::<T>::of(count),
            ],
            class_weights: self.class_weights,
            total_weight: total,
            largest_weight: largest,
        }
    }
}

/// What is done with rows: they are read only, or their gradient is written.
pub(crate) trait Form<E: Element>: Split {
    fn classes(&self) -> usize;
    fn expect_rows(self, rows: usize) -> Result<Self, Error>;
    fn losses(
        exec: Exec,
        kernel: Kernel<'_, E, true>,
        data: Data<'_, Self, E::Real>,
    ) -> Result<Wide<E::Real>, Error>;
    fn modified_losses(
        exec: Exec,
        kernel: Kernel<'_, E, false>,
        data: Data<'_, Self, E::Real, RowOutputs<'_, E::Real>>,
    ) -> Result<Wide<E::Real>, Error>;
    fn soft_losses(
        exec: Exec,
        kernel: SoftCrossEntropy<'_, E::Real>,
        data: SoftBatch<'_, Self, E>,
    ) -> Result<Wide<E::Real>, Error>;
}

/// What computes them.
pub(crate) type Kernel<'a, E, const PLAIN: bool> =
    kernel::cross_entropy::CrossEntropy<'a, <E as Element>::Real, PLAIN>;

/// The operations of the table that do it.
macro_rules! form {
    ($batch:ident: $losses:ident, $modified_losses:ident, $soft_losses:ident) => {
        impl<E: Element> Form<E> for $batch<'_, E, 1> {
            fn classes(&self) -> usize {
                self.classes()
            }
            #[inline(always)]
            fn expect_rows(self, rows: usize) -> Result<Self, Error> {
                self.expect_rows(rows)
            }
            #[inline(always)]
            fn losses(
                exec: Exec,
                kernel: Kernel<'_, E, true>,
                data: Data<'_, Self, E::Real>,
            ) -> Result<Wide<E::Real>, Error> {
                E::$losses(exec, kernel, data)
            }
            fn modified_losses(
                exec: Exec,
                kernel: Kernel<'_, E, false>,
                data: Data<'_, Self, E::Real, RowOutputs<'_, E::Real>>,
            ) -> Result<Wide<E::Real>, Error> {
                E::$modified_losses(exec, kernel, data)
            }
            fn soft_losses(
                exec: Exec,
                kernel: SoftCrossEntropy<'_, E::Real>,
                data: SoftBatch<'_, Self, E>,
            ) -> Result<Wide<E::Real>, Error> {
                E::$soft_losses(exec, kernel, data)
            }
        }
    };
}
form!(Batch: losses, modified_losses, soft_losses);
form!(BatchMut: losses_and_grad, modified_losses_and_grad, soft_losses_and_grad);
