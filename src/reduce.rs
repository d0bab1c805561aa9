//! The maximum and the sum of a slice.

use crate::element::Real;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::reduce::{Largest, Max, Sum};
use crate::kernel::rounded;
use crate::rows::Rows;

/// The largest element: NaN if there is one, `-inf` for no elements; `+0` is above `-0`.
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// assert_eq!(softlane::max(&[3.0_f32, -1.0])?, 3.0);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn max<T: Real>(x: &[T]) -> Result<T, Error> {
    Exec::new().max(x)
}

/// The sum of all elements, 0 for none. Infinities and NaN flow through.
///
/// Summed in `f64` and rounded once, so within 0.51 ULP of the sum of the magnitudes up to 2^28
/// elements. Partial sums do not overflow. (The scalar backend adds in the element type.)
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// assert_eq!(softlane::sum(&[1e8_f32, 1.0, -1e8])?, 1.0);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn sum<T: Real>(x: &[T]) -> Result<T, Error> {
    Exec::new().sum(x)
}

impl Exec {
    /// [`max`] here.
    ///
    /// # Errors
    /// As there.
    pub fn max<T: Real>(self, x: &[T]) -> Result<T, Error> {
        let Largest(max) = T::max(self, Max, Rows::flat(x))?;
        Ok(max)
    }

    /// [`sum`] here.
    ///
    /// # Errors
    /// As there.
    pub fn sum<T: Real>(self, x: &[T]) -> Result<T, Error> {
        Ok(rounded(T::sum(self, Sum, Rows::flat(x))?))
    }
}
