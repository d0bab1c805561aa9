//! The log-sum-exp of each row of a batch.

use crate::element::Real;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::logsumexp::LogSumExp;
use crate::rows::Rows;

/// `ln sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of `classes` logits, one after the other; `results` has one element per row.
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
/// softlane::logsumexp(&[0.0, 0.0, 1000.0, 1000.0], 2, &mut lse)?;
/// assert_eq!(lse, [0.6931472, 1000.6932]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn logsumexp<T: Real>(x: &[T], classes: usize, results: &mut [T]) -> Result<(), Error> {
    Exec::new().logsumexp(x, classes, results)
}

impl Exec {
    /// [`logsumexp`] here.
    ///
    /// # Errors
    /// As there.
    pub fn logsumexp<T: Real>(
        self,
        x: &[T],
        classes: usize,
        results: &mut [T],
    ) -> Result<(), Error> {
        let rows = Rows::new([x], classes)?.expect_rows(results.len())?;
        T::logsumexp(self, LogSumExp, (rows, results))
    }
}
