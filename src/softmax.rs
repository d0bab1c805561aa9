//! Softmax and log-softmax of a batch of rows.

use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel;
use crate::kernel::MaskedRows;
use crate::rows::RowsMut;

/// Softmax and log-softmax with options. The functions [`softmax`], [`log_softmax`] and their
/// in-place forms are the same without.
///
/// ```
/// use softlane::{MaskedRows, Softmax};
///
/// let masked = [f32::NEG_INFINITY; 3];
/// let mut p = [9.0; 3];
/// Softmax::new().probs(&masked, 3, &mut p)?;
/// assert!(p.iter().all(|p| p.is_nan()));
/// Softmax::new().masked_rows(MaskedRows::Zero).probs(&masked, 3, &mut p)?;
/// assert_eq!(p, [0.0; 3]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Softmax {
    exec: Exec,
    masked_rows: MaskedRows,
}

impl Softmax {
    /// Default options.
    pub const fn new() -> Self {
        Self {
            exec: Exec::new(),
            masked_rows: MaskedRows::Nan,
        }
    }

    /// Where it runs.
    pub const fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// What a row gets whose logits are all `-inf`: NaN, as in `PyTorch` (the default), or
    /// probabilities 0 and log-probabilities `-inf`.
    pub const fn masked_rows(mut self, masked_rows: MaskedRows) -> Self {
        self.masked_rows = masked_rows;
        self
    }

    /// [`softmax`] with these options.
    ///
    /// # Errors
    /// As there.
    pub fn probs<T: Element>(self, x: &[T], classes: usize, y: &mut [T]) -> Result<(), Error> {
        // Made by the table in `operations.rs`, which hands on to `Exec::run`.
        T::softmax(self.exec, self.kernel(), RowsMut::new([x], classes, y)?)
    }

    /// [`softmax_in_place`] with these options.
    ///
    /// # Errors
    /// As there.
    pub fn probs_in_place<T: Element>(self, x: &mut [T], classes: usize) -> Result<(), Error> {
        T::softmax(self.exec, self.kernel(), RowsMut::in_place(x, classes)?)
    }

    /// [`log_softmax`] with these options.
    ///
    /// # Errors
    /// As there.
    pub fn log_probs<T: Element>(self, x: &[T], classes: usize, y: &mut [T]) -> Result<(), Error> {
        T::log_softmax(self.exec, self.log_kernel(), RowsMut::new([x], classes, y)?)
    }

    /// [`log_softmax_in_place`] with these options.
    ///
    /// # Errors
    /// As there.
    pub fn log_probs_in_place<T: Element>(self, x: &mut [T], classes: usize) -> Result<(), Error> {
        T::log_softmax(self.exec, self.log_kernel(), RowsMut::in_place(x, classes)?)
    }

    fn kernel(self) -> kernel::softmax::Softmax {
        kernel::softmax::Softmax {
            masked_rows: self.masked_rows,
        }
    }

    fn log_kernel(self) -> kernel::log_softmax::LogSoftmax {
        kernel::log_softmax::LogSoftmax {
            masked_rows: self.masked_rows,
        }
    }
}

/// The probabilities `y_i = exp(x_i) / sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of `classes` logits, one after the other; `y` is as long.
///
/// Each probability is within 2.9 ULP of the exact one for every finite row (2.2 unless the largest is a
/// power of two), those below 2^-122 within 0.5 more: see the crate's documentation for the method. Two
/// equal logits have probability 1/2 each, and a class without rivals 1. A row with `+inf` or NaN becomes NaN;
/// `-inf` becomes exactly 0; a row of `-inf` alone becomes NaN ([`Softmax::masked_rows`]). Its
/// neighbours are not touched by it.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Length`] if `y` is not as long as
/// `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `y` is untouched then.
///
/// ```
/// let x = [1.0_f32, 1.0, f32::NEG_INFINITY, 200.0, 100.0, 0.0];
/// let mut y = [0.0; 6];
/// softlane::softmax(&x, 3, &mut y)?;
/// assert_eq!(y[..4], [0.5, 0.5, 0.0, 1.0]);
/// assert_eq!(y[4], 3.783506e-44); // e^-100: a subnormal number
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax<T: Element>(x: &[T], classes: usize, y: &mut [T]) -> Result<(), Error> {
    Softmax::new().probs(x, classes, y)
}

/// [`softmax`] that writes the probabilities over the logits.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Backend`] if `SOFTLANE_BACKEND`
/// names none. `x` is untouched then.
///
/// ```
/// let mut x = [0.0_f32, 0.0, 7.0, 7.0];
/// softlane::softmax_in_place(&mut x, 2)?;
/// assert_eq!(x, [0.5; 4]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_in_place<T: Element>(x: &mut [T], classes: usize) -> Result<(), Error> {
    Softmax::new().probs_in_place(x, classes)
}

/// The log-probabilities `y_i = x_i - ln sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of `classes` logits, one after the other; `y` is as long.
///
/// Each is within 1.6 ULP of the exact one, near 0 too: where a probability is above 1/2, its
/// logarithm is `-ln(1 + (sum of the other weights) / (its own))`, and the others are summed
/// without it. A row with `+inf` or NaN becomes NaN; `-inf` stays `-inf`; a row of `-inf` alone
/// becomes NaN ([`Softmax::masked_rows`]).
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Length`] if `y` is not as long as
/// `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `y` is untouched then.
///
/// ```
/// let mut y = [0.0_f32; 2];
/// softlane::log_softmax(&[20.0, 0.0], 2, &mut y)?;
/// assert_eq!(y, [-2.0611537e-9, -20.0]); // `x - ln sum` gives 0 and -20
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax<T: Element>(x: &[T], classes: usize, y: &mut [T]) -> Result<(), Error> {
    Softmax::new().log_probs(x, classes, y)
}

/// [`log_softmax`] that writes the log-probabilities over the logits.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Backend`] if `SOFTLANE_BACKEND`
/// names none. `x` is untouched then.
///
/// ```
/// let mut x = [5.0_f32];
/// softlane::log_softmax_in_place(&mut x, 1)?;
/// assert_eq!(x, [0.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax_in_place<T: Element>(x: &mut [T], classes: usize) -> Result<(), Error> {
    Softmax::new().log_probs_in_place(x, classes)
}

impl Exec {
    /// [`softmax`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax<T: Element>(self, x: &[T], classes: usize, y: &mut [T]) -> Result<(), Error> {
        Softmax::new().exec(self).probs(x, classes, y)
    }

    /// [`softmax_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax_in_place<T: Element>(self, x: &mut [T], classes: usize) -> Result<(), Error> {
        Softmax::new().exec(self).probs_in_place(x, classes)
    }

    /// [`log_softmax`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax<T: Element>(
        self,
        x: &[T],
        classes: usize,
        y: &mut [T],
    ) -> Result<(), Error> {
        Softmax::new().exec(self).log_probs(x, classes, y)
    }

    /// [`log_softmax_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax_in_place<T: Element>(
        self,
        x: &mut [T],
        classes: usize,
    ) -> Result<(), Error> {
        Softmax::new().exec(self).log_probs_in_place(x, classes)
    }
}
