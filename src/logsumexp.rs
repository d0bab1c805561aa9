//! The log-sum-exp of each row of a batch.

use crate::batch::Batch;
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::logsumexp::LogSumExp;
use crate::output::Output;
use crate::shape::Shape;

/// `ln sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of logits, as `shape` says: a number of classes, if they lie one after the other, or a [`Shape`]. `results` has one
/// element per row.
///
/// Each result is within 0.8 ULP of `max(|result|, 1)`. A row with NaN gives NaN, one with `+inf`
/// gives `+inf`, and a row of `-inf` alone, or of no classes, gives `-inf`.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Length`] if `results` has another
/// number of rows, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `results` is untouched
/// then.
///
/// ```
/// let mut lse = [0.0_f32; 2];
/// softlane::logsumexp(&[0.0_f32, 0.0, 1000.0, 1000.0], 2, &mut lse)?;
/// assert_eq!(lse, [0.6931472, 1000.6932]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn logsumexp<T: Element>(
    x: &[T],
    shape: impl Into<Shape>,
    results: &mut (impl Output<T::Real> + ?Sized),
) -> Result<(), Error> {
    Exec::new().logsumexp(x, shape, results)
}

impl Exec {
    /// [`logsumexp`] here.
    ///
    /// # Errors
    /// As there.
    pub fn logsumexp<T: Element>(
        self,
        x: &[T],
        shape: impl Into<Shape>,
        results: &mut (impl Output<T::Real> + ?Sized),
    ) -> Result<(), Error> {
        let rows = Batch::new([x], shape.into())?.expect_rows(results.elements().len())?;
        let results = results.or(T::Real::ZERO);
        T::logsumexp(self, LogSumExp, (rows, results))
    }
}
