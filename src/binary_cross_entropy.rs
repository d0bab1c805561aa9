//! Binary cross-entropy with logits: k independent logistic classifiers, loss and gradient.

use crate::batch::{Batch, BatchMut};
use crate::cross_entropy::{EmptyMean, Reduction};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::binary_cross_entropy as kernel;
use crate::kernel::weighted_binary::{WeightedBinary, WeightedElementLosses};
use crate::kernel::wide::{Wide, WideFloat as _};
use crate::options;
use crate::output::Output;
use crate::rows::Split as _;
use crate::targets::Flat;

/// Binary cross-entropy of independent yes-or-no questions, each with a logit `x` and a label `t`:
/// `L = -t ln s(x) - (1 - t) ln s(-x)` with the sigmoid `s(x) = 1 / (1 + e^-x)`, and its gradient
/// with respect to the logit, `s(x) - t`.
///
/// With all options, each of which is off unless it is called:
///
/// ```text
/// t' = (1 - e) t + e / 2
/// L = w (-q t' ln s(x) - (1 - t') ln s(-x))     dL/dx = w ((1 - t') s(x) - q t' s(-x))
/// ```
///
/// | | option | in `PyTorch`'s `binary_cross_entropy_with_logits` |
/// | --- | --- | --- |
/// | `q` | [`pos_weights`](Self::pos_weights) | `pos_weight` |
/// | `w` | [`label_weights`](Self::label_weights) | `weight` |
/// | `e` | [`label_smoothing`](Self::label_smoothing) | none |
///
/// The mean divides the sum of the losses by the number of elements that are not ignored, weights or not, as `PyTorch` does;
/// [`normaliser`](Self::normaliser) puts another number there.
///
/// The choice when labels do not exclude each other; when they do, it is
/// [`CrossEntropy`](crate::CrossEntropy).
///
/// Logits and labels come as rows of `labels_per_row`, one after the other, in slices of one
/// length. Labels are floats, 0 for no and 1 for yes; what lies between is a soft label. They are
/// data, so they are not checked: others follow the formula.
///
/// With labels 0 and 1, each element's loss and its gradient in the sum are within 1.5 ULP of the exact ones, at
/// both ends: the loss at logit -100 with label 0 is `e^-100`. With soft labels, a loss is within 2.6 ULP; a
/// gradient, of the mean too, within 3 ULP of the larger of its terms; with weights or smoothing, 8.1 and 6.3, where
/// what is less than the least normal number before it is weighted counts as that. A sum of losses that are not negative, and its mean, are within twice what a loss is and 0.5
/// ULP more: losses are rounded before they are added, and what is half an ULP of one number may be one of another. At an infinite logit they are the limits: 0 or infinite loss.
///
/// ```
/// use softlane::BinaryCrossEntropy;
///
/// let (logits, labels) = ([0.0_f32, -100.0], [1.0, 0.0]);
/// let mut losses = [0.0; 2];
/// BinaryCrossEntropy::new().loss_per_element(&logits, 2, &labels, &mut losses)?;
/// assert_eq!(losses, [core::f32::consts::LN_2, 3.783506e-44]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct BinaryCrossEntropy<'a, T = f32> {
    exec: Exec,
    reduction: Reduction,
    empty_mean: EmptyMean,
    pos_weights: Option<&'a [T]>,
    label_weights: Option<&'a [T]>,
    label_smoothing: f64,
    ignore_mask: Option<&'a [bool]>,
    normaliser: Option<f64>,
}

impl<T: Real> Default for BinaryCrossEntropy<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Real> BinaryCrossEntropy<'a, T> {
    /// The mean over all elements.
    pub const fn new() -> Self {
        Self {
            exec: Exec::new(),
            reduction: Reduction::Mean,
            empty_mean: EmptyMean::Nan,
            pos_weights: None,
            label_weights: None,
            label_smoothing: 0.0,
            ignore_mask: None,
            normaliser: None,
        }
    }

    /// Where it runs.
    pub const fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// How the losses of the elements become one. (For one loss per element:
    /// [`BinaryCrossEntropy::loss_per_element`].)
    pub const fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// What the mean over no elements is.
    pub const fn empty_mean(mut self, empty_mean: EmptyMean) -> Self {
        self.empty_mean = empty_mean;
        self
    }

    /// What the loss of a yes is multiplied by, one number for each label of a row: finite, and not negative. The ratio of noes to
    /// yeses, for instance, where yeses are rare.
    ///
    /// ```
    /// let rare = softlane::BinaryCrossEntropy::new().pos_weights(&[3.0]);
    /// assert_eq!(rare.loss(&[0.0_f32], 1, &[1.0])?, 3.0 * core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn pos_weights(mut self, weights: &'a [T]) -> Self {
        self.pos_weights = Some(weights);
        self
    }

    /// What the loss is multiplied by, one number for each label of a row: finite, and not negative.
    ///
    /// ```
    /// use softlane::{BinaryCrossEntropy, Reduction};
    ///
    /// let first = BinaryCrossEntropy::new().reduction(Reduction::Sum).label_weights(&[2.0, 0.0]);
    /// assert_eq!(first.loss(&[0.0_f32; 2], 2, &[1.0; 2])?, 2.0 * core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn label_weights(mut self, weights: &'a [T]) -> Self {
        self.label_weights = Some(weights);
        self
    }

    /// The share of a label that is taken from it and spread over yes and no: from 0 to 1.
    ///
    /// ```
    /// let smooth = softlane::BinaryCrossEntropy::new().label_smoothing(0.5);
    /// let mut grad = [9.0_f32];
    /// smooth.loss_and_grad(&[0.0], 1, &[1.0], &mut grad)?;
    /// assert_eq!(grad, [-0.25]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    ///
    /// Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, section 7, for two classes.
    pub const fn label_smoothing(mut self, smoothing: f64) -> Self {
        self.label_smoothing = smoothing;
        self
    }

    /// Elements that are true here, one for each logit, have loss and gradient 0, whatever they hold, and do not count in the
    /// mean.
    ///
    /// ```
    /// let known = softlane::BinaryCrossEntropy::new().ignore_mask(&[false, true]);
    /// assert_eq!(known.loss(&[0.0, f32::NAN], 2, &[1.0; 2])?, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn ignore_mask(mut self, mask: &'a [bool]) -> Self {
        self.ignore_mask = Some(mask);
        self
    }

    /// The divisor of the mean, in place of the number of elements that count: a positive number whose inverse the element type
    /// has. As
    /// [`CrossEntropy::normaliser`](crate::CrossEntropy::normaliser).
    ///
    /// ```
    /// let half = softlane::BinaryCrossEntropy::new().normaliser(2.0);
    /// assert_eq!(half.loss(&[0.0_f32], 1, &[1.0])?, 0.5 * core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn normaliser(mut self, divisor: f64) -> Self {
        self.normaliser = Some(divisor);
        self
    }

    /// The reduced loss.
    ///
    /// # Errors
    /// [`Error::Shape`] if the logits are no whole number of rows, [`Error::Length`] if there is
    /// another number of labels, [`Error::Option`], [`Error::OptionLength`] or [`Error::Weight`] if an option is out of its range, [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
    ///
    /// ```
    /// let loss = softlane::BinaryCrossEntropy::new().loss(&[0.0_f32; 6], 3, &[1.0; 6])?;
    /// assert_eq!(loss, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss<E: Element<Real = T>>(
        self,
        logits: &[E],
        labels_per_row: usize,
        labels: &[E],
    ) -> Result<T, Error> {
        let rows = Batch::new([logits, labels], labels_per_row.into())?;
        let (flat, divisor) = self.check(rows.elements(), labels_per_row)?;
        let rows = rows.in_chunks();
        let sum = if self.is_plain() {
            let kernel = kernel::BinaryCrossEntropy {
                grad_scale: Wide::<T>::ONE,
            };
            E::binary_loss(self.exec, kernel, rows)?
        } else {
            E::weighted_binary_loss(self.exec, self.kernel(Wide::<T>::ONE), (rows, flat))?
        };
        Ok(self.reduction.reduce(sum, divisor, self.empty_mean))
    }

    /// The reduced loss, and its gradient with respect to the logits, which fills `grad`.
    ///
    /// # Errors
    /// As [`BinaryCrossEntropy::loss`], and [`Error::Length`] if `grad` is not as long as the
    /// logits. `grad` is untouched then.
    ///
    /// ```
    /// use softlane::{BinaryCrossEntropy, Reduction};
    ///
    /// let sum = BinaryCrossEntropy::new().reduction(Reduction::Sum);
    /// let mut grad = [0.0_f32; 2];
    /// sum.loss_and_grad(&[0.0, 0.0], 2, &[1.0, 0.0], &mut grad)?;
    /// assert_eq!(grad, [-0.5, 0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad<E: Element<Real = T>>(
        self,
        logits: &[E],
        labels_per_row: usize,
        labels: &[E],
        grad: &mut (impl Output<E> + ?Sized),
    ) -> Result<T, Error> {
        let rows = BatchMut::new([logits, labels], labels_per_row.into(), grad)?;
        self.reduced(rows, labels_per_row)
    }

    /// The reduced loss, and its gradient with respect to the logits, which takes their place.
    ///
    /// # Errors
    /// As [`BinaryCrossEntropy::loss`]. The logits are untouched then.
    ///
    /// ```
    /// let mut x = [0.0_f32];
    /// softlane::BinaryCrossEntropy::new().loss_and_grad_in_place(&mut x, 1, &[1.0])?;
    /// assert_eq!(x, [-0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grad_in_place<E: Element<Real = T>>(
        self,
        logits: &mut [E],
        labels_per_row: usize,
        labels: &[E],
    ) -> Result<T, Error> {
        self.reduced(
            BatchMut::over_first(logits, labels, labels_per_row.into())?,
            labels_per_row,
        )
    }

    /// The loss of each element, unreduced, which fills `losses`.
    ///
    /// # Errors
    /// As [`BinaryCrossEntropy::loss`], and [`Error::Length`] if `losses` is not as long as the
    /// logits. `losses` is untouched then.
    ///
    /// ```
    /// let mut loss = [0.0_f32];
    /// softlane::BinaryCrossEntropy::new().loss_per_element(&[0.0_f32], 1, &[0.5], &mut loss)?;
    /// assert_eq!(loss, [core::f32::consts::LN_2]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_per_element<E: Element<Real = T>>(
        self,
        logits: &[E],
        labels_per_row: usize,
        labels: &[E],
        losses: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let rows = BatchMut::new([logits, labels], labels_per_row.into(), losses)?;
        let (flat, _) = self.check(rows.elements(), labels_per_row)?;
        let rows = rows.in_chunks();
        if self.is_plain() {
            return E::binary_losses(self.exec, kernel::ElementLosses, rows);
        }
        let kernel = WeightedElementLosses(self.kernel(Wide::<T>::ONE));
        E::weighted_binary_losses(self.exec, kernel, (rows, flat))
    }

    fn reduced<E: Element<Real = T>>(
        self,
        rows: BatchMut<'_, E, 2>,
        labels_per_row: usize,
    ) -> Result<T, Error> {
        let (flat, divisor) = self.check(rows.elements(), labels_per_row)?;
        let grad_scale = self.reduction.scale(divisor);
        let rows = rows.in_chunks();
        let sum = if self.is_plain() {
            let kernel = kernel::BinaryCrossEntropy { grad_scale };
            E::binary_loss_and_grad(self.exec, kernel, rows)?
        } else {
            E::weighted_binary_loss_and_grad(self.exec, self.kernel(grad_scale), (rows, flat))?
        };
        Ok(self.reduction.reduce(sum, divisor, self.empty_mean))
    }

    /// Checks the options. Returns what is ignored of so many elements, and the divisor of the mean.
    fn check(&self, elements: usize, labels_per_row: usize) -> Result<(Flat<'a>, Wide<T>), Error> {
        options::in_range("label_smoothing", self.label_smoothing)?;
        if let Some(divisor) = self.normaliser {
            options::divisor::<T>("normaliser", divisor)?;
        }
        if let Some(weights) = self.pos_weights {
            options::weights("pos_weights", weights, labels_per_row)?;
        }
        if let Some(weights) = self.label_weights {
            options::weights("label_weights", weights, labels_per_row)?;
        }
        let mut counted = elements;
        if let Some(ignored) = self.ignore_mask {
            options::length("ignore_mask", elements, ignored.len())?;
            counted -= ignored.iter().filter(|&&ignored| ignored).count();
        }
        let flat = Flat {
            start: 0,
            len: elements,
            ignored: self.ignore_mask,
        };
        let divisor = self.normaliser.unwrap_or(counted as f64);
        Ok((flat, Wide::<T>::of(divisor)))
    }

    /// Whether no option of the elements is on.
    fn is_plain(&self) -> bool {
        let is_weighted = self.pos_weights.is_some() || self.label_weights.is_some();
        !is_weighted && self.label_smoothing == 0.0 && self.ignore_mask.is_none()
    }

    fn kernel(&self, grad_scale: Wide<T>) -> WeightedBinary<'a, T> {
        WeightedBinary {
            grad_scale,
            smoothing: self.label_smoothing,
            pos_weights: self.pos_weights,
            label_weights: self.label_weights,
        }
    }
}
