//! The maximum and the sum of a slice.

use crate::batch::Batch;
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::reduce::{Largest, Max, Sum};
use crate::kernel::rounded;

/// The largest element: NaN if there is one, `-inf` for no elements; `+0` is above `-0`.
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// assert_eq!(softlane::max(&[3.0_f32, -1.0])?, 3.0);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn max<T: Element>(x: &[T]) -> Result<T::Real, Error> {
    Exec::new().max(x)
}

/// The sum of all elements, 0 for none. Infinities and NaN flow through.
///
/// Summed in `f64` (elements of `f64`: in pairs of them) and rounded once, so within 0.51 ULP of the sum of the magnitudes up to 2^28
/// elements. Partial sums of `f32` do not overflow. (The scalar backend adds in the element type.)
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// assert_eq!(softlane::sum(&[1e8_f32, 1.0, -1e8])?, 1.0);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn sum<T: Element>(x: &[T]) -> Result<T::Real, Error> {
    Exec::new().sum(x)
}

impl Exec {
    /// [`max`] here.
    ///
    /// # Errors
    /// As there.
    pub fn max<T: Element>(self, x: &[T]) -> Result<T::Real, Error> {
        let Largest(max) = T::max(self, Max, Batch::flat(x))?;
        Ok(max)
    }

    /// [`sum`] here.
    ///
    /// # Errors
    /// As there.
    pub fn sum<T: Element>(self, x: &[T]) -> Result<T::Real, Error> {
        Ok(rounded(T::sum(self, Sum, Batch::flat(x))?))
    }
}
