//! The backward passes of softmax and log-softmax.

use crate::batch::BatchMut;
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::backward::Backward;
use crate::output::Output;
use crate::shape::Shape;

/// The gradient with respect to the logits, from the probabilities `y` that
/// [`softmax`](crate::softmax) gave and the gradient `dy` with respect to them: `dx_i = y_i (dy_i -
/// sum_j y_j dy_j)`.
///
/// All three hold as many rows, and those that are read have one length; `shape` is a number of classes, if rows lie one after the other, or a [`Shape`].
///
/// The error is at most 1.5 ULP of the larger of `y_i dy_i` and `y_i sum_j y_j dy_j` (2 below
/// `2^-124`), for probabilities `y`: a product and a difference are rounded once each. The sum is taken
/// in `f64`; where its terms cancel, its error is `2^-29` of an ULP of their magnitudes for every 16 classes. Where `y` is 0, `dx` is 0, even for an infinite `dy`; a NaN makes
/// its row NaN.
///
/// # Errors
/// [`Error::Shape`] if `y` is no whole number of rows, [`Error::Length`] if the lengths differ,
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `dx` is untouched then.
///
/// ```
/// let mut dx = [0.0_f32; 2];
/// softlane::softmax_backward(&[0.5, 0.5], &[1.0, 0.0], 2, &mut dx)?;
/// assert_eq!(dx, [0.25, -0.25]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_backward<T: Element>(
    y: &[T],
    dy: &[T],
    shape: impl Into<Shape>,
    dx: &mut (impl Output<T> + ?Sized),
) -> Result<(), Error> {
    Exec::new().softmax_backward(y, dy, shape, dx)
}

/// [`softmax_backward`] that writes over the gradient `dy`.
///
/// # Errors
/// As there; `dy` is untouched then.
///
/// ```
/// let mut dy = [1.0_f32, 0.0];
/// softlane::softmax_backward_in_place(&[0.5, 0.5], &mut dy, 2)?;
/// assert_eq!(dy, [0.25, -0.25]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_backward_in_place<T: Element>(
    y: &[T],
    dy: &mut [T],
    shape: impl Into<Shape>,
) -> Result<(), Error> {
    Exec::new().softmax_backward_in_place(y, dy, shape)
}

/// The gradient with respect to the logits, from the log-probabilities `y` that
/// [`log_softmax`](crate::log_softmax) gave and the gradient `dy` with respect to them: `dx_i =
/// dy_i - e^y_i sum_j dy_j`.
///
/// All three hold as many rows, and those that are read have one length; `shape` is a number of classes, if rows lie one after the other, or a [`Shape`].
///
/// The error is at most 2.8 ULP of the larger of `dy_i` and `e^y_i sum_j dy_j`: the exponential has
/// 1.3 units of `2^-24`, and two additions are rounded. A probability `e^y_i` below the normal numbers counts
/// as the least of them, with 3.3 ULP. The sum is taken in `f64`, as in [`softmax_backward`]. Where `y` is `-inf`, `dx` is `dy`; a
/// NaN among `dy` makes its row NaN.
///
/// # Errors
/// [`Error::Shape`] if `y` is no whole number of rows, [`Error::Length`] if the lengths differ,
/// [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `dx` is untouched then.
///
/// ```
/// let mut dx = [0.0_f32; 2];
/// softlane::log_softmax_backward(&[0.0, f32::NEG_INFINITY], &[1.0, 2.0], 2, &mut dx)?;
/// assert_eq!(dx, [-2.0, 2.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax_backward<T: Element>(
    y: &[T],
    dy: &[T],
    shape: impl Into<Shape>,
    dx: &mut (impl Output<T> + ?Sized),
) -> Result<(), Error> {
    Exec::new().log_softmax_backward(y, dy, shape, dx)
}

/// [`log_softmax_backward`] that writes over the gradient `dy`.
///
/// # Errors
/// As there; `dy` is untouched then.
///
/// ```
/// let mut dy = [1.0_f32, 2.0];
/// softlane::log_softmax_backward_in_place(&[0.0, f32::NEG_INFINITY], &mut dy, 2)?;
/// assert_eq!(dy, [-2.0, 2.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax_backward_in_place<T: Element>(
    y: &[T],
    dy: &mut [T],
    shape: impl Into<Shape>,
) -> Result<(), Error> {
    Exec::new().log_softmax_backward_in_place(y, dy, shape)
}

impl Exec {
    /// [`softmax_backward`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax_backward<T: Element>(
        self,
        y: &[T],
        dy: &[T],
        shape: impl Into<Shape>,
        dx: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let rows = BatchMut::new([y, dy], shape.into(), dx)?;
        T::softmax_backward(self, Backward, rows)
    }

    /// [`softmax_backward_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax_backward_in_place<T: Element>(
        self,
        y: &[T],
        dy: &mut [T],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        let rows = BatchMut::over_second(y, dy, shape.into())?;
        T::softmax_backward(self, Backward, rows)
    }

    /// [`log_softmax_backward`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax_backward<T: Element>(
        self,
        y: &[T],
        dy: &[T],
        shape: impl Into<Shape>,
        dx: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        let rows = BatchMut::new([y, dy], shape.into(), dx)?;
        T::log_softmax_backward(self, Backward, rows)
    }

    /// [`log_softmax_backward_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax_backward_in_place<T: Element>(
        self,
        y: &[T],
        dy: &mut [T],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        let rows = BatchMut::over_second(y, dy, shape.into())?;
        T::log_softmax_backward(self, Backward, rows)
    }
}
