//! The exponential and the sigmoid of every element of a slice.

use crate::batch::BatchMut;
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::elementwise::{Exp, Sigmoid};
use crate::output::Output;

/// `y_i = exp(x_i)` of a slice.
///
/// Within 0.9 ULP of the exact value, subnormal results included. `-inf` gives 0, `+inf` gives
/// `+inf`, NaN gives NaN. `exp(0)` is 1.
///
/// # Errors
/// [`Error::Length`] if `y` is not as long as `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names
/// none. `y` is untouched then.
///
/// ```
/// let mut y = [0.0_f32; 3];
/// softlane::exp(&[0.0, 1.0, -200.0], &mut y)?;
/// assert_eq!(y, [1.0, core::f32::consts::E, 0.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn exp<T: Element>(x: &[T], y: &mut (impl Output<T> + ?Sized)) -> Result<(), Error> {
    Exec::new().exp(x, y)
}

/// [`exp`] that writes over its argument.
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// let mut x = [0.0_f32];
/// softlane::exp_in_place(&mut x)?;
/// assert_eq!(x, [1.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn exp_in_place<T: Element>(x: &mut [T]) -> Result<(), Error> {
    Exec::new().exp_in_place(x)
}

/// The sigmoid `y_i = 1 / (1 + exp(-x_i))` of a slice: the probability of "yes" of a logistic
/// classifier.
///
/// Within 1.5 ULP of the exact value, subnormal results included: both `1 + e` and the remainder of
/// the division are accounted for, so the error is that of `e = exp(-|x|)` and of one rounding.
/// `-inf` gives 0, `+inf` gives 1, NaN gives NaN.
///
/// # Errors
/// [`Error::Length`] if `y` is not as long as `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names
/// none. `y` is untouched then.
///
/// ```
/// let mut y = [0.0_f32; 3];
/// softlane::sigmoid(&[0.0, 100.0, -100.0], &mut y)?;
/// assert_eq!(y, [0.5, 1.0, 3.783506e-44]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn sigmoid<T: Element>(x: &[T], y: &mut (impl Output<T> + ?Sized)) -> Result<(), Error> {
    Exec::new().sigmoid(x, y)
}

/// [`sigmoid`] that writes over its argument.
///
/// # Errors
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none.
///
/// ```
/// let mut x = [0.0_f32];
/// softlane::sigmoid_in_place(&mut x)?;
/// assert_eq!(x, [0.5]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn sigmoid_in_place<T: Element>(x: &mut [T]) -> Result<(), Error> {
    Exec::new().sigmoid_in_place(x)
}

impl Exec {
    /// [`exp`] here.
    ///
    /// # Errors
    /// As there.
    pub fn exp<T: Element>(self, x: &[T], y: &mut (impl Output<T> + ?Sized)) -> Result<(), Error> {
        T::exponential(self, Exp, BatchMut::flat(x, y)?)
    }

    /// [`exp_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn exp_in_place<T: Element>(self, x: &mut [T]) -> Result<(), Error> {
        T::exponential(self, Exp, BatchMut::flat_in_place(x))
    }

    /// [`sigmoid`] here.
    ///
    /// # Errors
    /// As there.
    pub fn sigmoid<T: Element>(
        self,
        x: &[T],
        y: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        T::sigmoid(self, Sigmoid, BatchMut::flat(x, y)?)
    }

    /// [`sigmoid_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn sigmoid_in_place<T: Element>(self, x: &mut [T]) -> Result<(), Error> {
        T::sigmoid(self, Sigmoid, BatchMut::flat_in_place(x))
    }
}
