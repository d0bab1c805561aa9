//! Binary cross-entropy with logits: k independent logistic classifiers, loss and gradient.

use crate::cross_entropy::{EmptyMean, Reduction};
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::binary_cross_entropy as kernel;
use crate::rows::{Recut as _, Rows, RowsMut, Split as _};

/// Binary cross-entropy of independent yes-or-no questions, each with a logit `x` and a label `t`:
/// `L = -t ln s(x) - (1 - t) ln s(-x)` with the sigmoid `s(x) = 1 / (1 + e^-x)`, and its gradient
/// with respect to the logit, `s(x) - t`.
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
/// gradient, of the mean too, within 3 ULP of the larger of its terms. At an infinite logit they are the limits: 0 or infinite loss.
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
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct BinaryCrossEntropy {
    exec: Exec,
    reduction: Reduction,
    empty_mean: EmptyMean,
}

impl BinaryCrossEntropy {
    /// The mean over all elements.
    pub const fn new() -> Self {
        Self {
            exec: Exec::new(),
            reduction: Reduction::Mean,
            empty_mean: EmptyMean::Nan,
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

    /// The reduced loss.
    ///
    /// # Errors
    /// [`Error::Shape`] if the logits are no whole number of rows, [`Error::Length`] if there is
    /// another number of labels, [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
    ///
    /// ```
    /// let loss = softlane::BinaryCrossEntropy::new().loss(&[0.0_f32; 6], 3, &[1.0; 6])?;
    /// assert_eq!(loss, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss<T: Element>(
        self,
        logits: &[T],
        labels_per_row: usize,
        labels: &[T],
    ) -> Result<T, Error> {
        let rows = Rows::new([logits, labels], labels_per_row)?.in_chunks();
        let kernel = kernel::BinaryCrossEntropy { grad_scale: 1.0 };
        let sum = T::binary_loss(self.exec, kernel, rows)?;
        Ok(self
            .reduction
            .reduce(sum, logits.len() as f64, self.empty_mean))
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
    pub fn loss_and_grad<T: Element>(
        self,
        logits: &[T],
        labels_per_row: usize,
        labels: &[T],
        grad: &mut [T],
    ) -> Result<T, Error> {
        let rows = RowsMut::new([logits, labels], labels_per_row, grad)?;
        self.reduced(rows)
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
    pub fn loss_and_grad_in_place<T: Element>(
        self,
        logits: &mut [T],
        labels_per_row: usize,
        labels: &[T],
    ) -> Result<T, Error> {
        self.reduced(RowsMut::over_first(logits, labels, labels_per_row)?)
    }

    /// The loss of each element, unreduced, which fills `losses`.
    ///
    /// # Errors
    /// As [`BinaryCrossEntropy::loss`], and [`Error::Length`] if `losses` is not as long as the
    /// logits. `losses` is untouched then.
    ///
    /// ```
    /// let mut loss = [0.0_f32];
    /// softlane::BinaryCrossEntropy::new().loss_per_element(&[0.0], 1, &[0.5], &mut loss)?;
    /// assert_eq!(loss, [core::f32::consts::LN_2]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_per_element<T: Element>(
        self,
        logits: &[T],
        labels_per_row: usize,
        labels: &[T],
        losses: &mut [T],
    ) -> Result<(), Error> {
        let rows = RowsMut::new([logits, labels], labels_per_row, losses)?.in_chunks();
        T::binary_losses(self.exec, kernel::ElementLosses, rows)
    }

    fn reduced<T: Element>(self, rows: RowsMut<'_, T, 2>) -> Result<T, Error> {
        let elements = rows.elements() as f64;
        let kernel = kernel::BinaryCrossEntropy {
            grad_scale: self.reduction.scale(elements),
        };
        let sum = T::binary_loss_and_grad(self.exec, kernel, rows.in_chunks())?;
        Ok(self.reduction.reduce(sum, elements, self.empty_mean))
    }
}
