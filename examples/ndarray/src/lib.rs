//! Softmax, log-softmax and cross-entropy of `ndarray` arrays and views along any axis, by softlane. This file is all that it takes.
//!
//! `&array`, `&view` and `&array.slice(..)` all go where `&ArrayRef` stands, `&mut array` and `&mut array.slice_mut(..)` where `&mut ArrayRef` does.
//!
//! | layout | out of place | in place |
//! | --- | --- | --- |
//! | standard | one pass into memory that is not initialised | where it is |
//! | without gaps, axes in any order | a copy in the same order, and there | where it is |
//! | gaps (columns of a wider array, every second one), or classes from the last to the first | a copy in standard layout, and there | there, and back |
//!
//! A view with gaps cannot be had as a slice, since what is in the gaps may belong to others. Who has the whole array can do without the copy:
//! [`softmax_columns_in_place`].
//!
//! Results have the bits that softlane gives to the same rows one after the other, and errors are softlane's; then nothing is written.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{Array, ArrayRef, ArrayRef2, Axis, Dimension, s};
use softlane::{CrossEntropy, Element, Error, Shape, Target};

/// The probabilities along an axis.
///
/// # Errors
/// [`Error::Option`] if there is no such axis.
///
/// ```
/// use ndarray::{Axis, array};
///
/// let x = array![[1.0_f32, -200.0], [1.0, 7.0]];
/// let p = softlane_ndarray::softmax(&x, Axis(0))?;
/// assert_eq!(p, array![[0.5, 0.0], [0.5, 1.0]]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax<T: Element, D: Dimension>(
    x: &ArrayRef<T, D>,
    axis: Axis,
) -> Result<Array<T, D>, Error> {
    let shape = rows(x, axis)?;
    // SAFETY: rows of a standard layout are dense.
    let y = unsafe { written(x, |x, y| softlane::softmax(x, shape, y)) }?;
    if let Some(((), y)) = y {
        return Ok(y);
    }
    let mut y = x.to_owned();
    softmax_in_place(&mut y, axis)?;
    Ok(y)
}

/// The same, written over the logits.
///
/// # Errors
/// As [`softmax`].
///
/// ```
/// use ndarray::{Axis, array, s};
///
/// let mut x = array![[0.0_f32, 0.0, 9.0], [5.0, 5.0, 9.0]];
/// softlane_ndarray::softmax_in_place(&mut x.slice_mut(s![.., ..2]), Axis(1))?;
/// assert_eq!(x, array![[0.5, 0.5, 9.0], [0.5, 0.5, 9.0]]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_in_place<T: Element, D: Dimension>(
    x: &mut ArrayRef<T, D>,
    axis: Axis,
) -> Result<(), Error> {
    in_place(x, axis, |x, shape| softlane::softmax_in_place(x, shape))
}

/// The log-probabilities along an axis.
///
/// # Errors
/// As [`softmax`].
///
/// ```
/// use ndarray::{Axis, array};
///
/// // Of `f64`, for which softlane has a feature of that name.
/// let p = softlane_ndarray::log_softmax(&array![[0.0, 30.0]], Axis(1))?;
/// assert_eq!(p[[0, 1]], -9.357622968839737e-14);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax<T: Element, D: Dimension>(
    x: &ArrayRef<T, D>,
    axis: Axis,
) -> Result<Array<T, D>, Error> {
    let shape = rows(x, axis)?;
    // SAFETY: rows of a standard layout are dense.
    let y = unsafe { written(x, |x, y| softlane::log_softmax(x, shape, y)) }?;
    if let Some(((), y)) = y {
        return Ok(y);
    }
    let mut y = x.to_owned();
    log_softmax_in_place(&mut y, axis)?;
    Ok(y)
}

/// The same, written over the logits.
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax_in_place<T: Element, D: Dimension>(
    x: &mut ArrayRef<T, D>,
    axis: Axis,
) -> Result<(), Error> {
    in_place(x, axis, |x, shape| softlane::log_softmax_in_place(x, shape))
}

/// The probabilities along these columns of a wider array in standard layout, written over them where they are; the other columns are not touched. Of few columns,
/// a view to [`softmax_in_place`] is as fast or faster; from 256 on, this saves the copies.
///
/// # Errors
/// [`Error::Part`] if the array does not have these columns.
///
/// ```
/// use ndarray::array;
///
/// let mut x = array![[9.0_f32, 0.0, 0.0], [9.0, 5.0, 5.0]];
/// softlane_ndarray::softmax_columns_in_place(&mut x, 1..3)?;
/// assert_eq!(x, array![[9.0, 0.5, 0.5], [9.0, 0.5, 0.5]]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_columns_in_place<T: Element>(
    x: &mut ArrayRef2<T>,
    columns: Range<usize>,
) -> Result<(), Error> {
    let width = x.ncols();
    if columns.start > columns.end || columns.end > width {
        let part = [columns.start, columns.end];
        let classes = width;
        return Err(Error::Part { part, classes });
    }
    if columns.is_empty() {
        return Ok(());
    }
    let Some(all) = x.as_slice_mut() else {
        return softmax_in_place(&mut x.slice_mut(s![.., columns]), Axis(1));
    };
    // From the first of these columns on; nothing, of no rows.
    let from_first = all.get_mut(columns.start..).unwrap_or_default();
    softlane::softmax_in_place(from_first, Shape::rows(columns.len()).stride(width))
}

/// The cross-entropy of logits whose classes are along an axis, and its gradient, in standard layout. Targets are one class for each row, in an array without
/// that axis (for logits `(n, c, d1, d2)` and `Axis(1)`: `(n, d1, d2)`), or one probability for each logit.
///
/// # Errors
/// As [`softmax`], [`Error::Length`] if targets have another shape, and what [`CrossEntropy::loss_and_grad`] returns.
///
/// ```
/// use ndarray::{Axis, array};
/// use softlane::CrossEntropy;
///
/// let (x, targets) = (array![[0.0_f32, 0.0], [0.0, 0.0]], array![0_u8, 1]);
/// let (loss, grad) = softlane_ndarray::cross_entropy(CrossEntropy::new(), &x, Axis(1), &targets)?;
/// assert_eq!(loss, core::f32::consts::LN_2);
/// assert_eq!(grad, array![[-0.25, 0.25], [0.25, -0.25]]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn cross_entropy<T: Element, I: Target<T>, D: Dimension, E: Dimension>(
    loss: CrossEntropy<'_, T::Real>,
    x: &ArrayRef<T, D>,
    axis: Axis,
    targets: &ArrayRef<I, E>,
) -> Result<(T::Real, Array<T, D>), Error> {
    let shape = rows(x, axis)?;
    let mut lengths = x.shape().to_vec();
    lengths.remove(axis.index());
    let found = targets.shape();
    if found != lengths && found != x.shape() {
        // The first that differ, or how many there are.
        let mut pairs = lengths.iter().zip(found).map(|(&a, &b)| (a, b));
        let (expected, found) = pairs
            .find(|(a, b)| a != b)
            .unwrap_or((lengths.len(), found.len()));
        return Err(Error::Length { expected, found });
    }
    let classes = targets.as_slice().map_or_else(
        || Cow::Owned(targets.iter().copied().collect()),
        Cow::Borrowed,
    );
    // SAFETY: rows of a standard layout are dense.
    match unsafe { written(x, |x, y| loss.loss_and_grad(x, shape, &classes, y)) }? {
        Some(loss_and_grad) => Ok(loss_and_grad),
        // Rows and targets are in one order only if that is the standard one.
        None => cross_entropy(loss, &x.as_standard_layout(), axis, targets),
    }
}

/// The rows along an axis of an array without gaps, in the order of memory: what is between two classes is as many rows.
fn rows<T, D: Dimension>(x: &ArrayRef<T, D>, axis: Axis) -> Result<Shape, Error> {
    let axis = axis.index();
    let (Some(&classes), Some(stride)) = (x.shape().get(axis), x.strides().get(axis)) else {
        return Err(Error::Option {
            name: "axis",
            value: axis as f64,
            expected: "one of the array",
        });
    };
    // Strides of an axis of one element, and those of empty arrays, say nothing.
    let inner = if classes > 1 {
        stride.unsigned_abs().max(1)
    } else {
        1
    };
    Ok(Shape::axis(classes, inner))
}

/// What a call returns, and the array that it wrote.
type Written<R, T, D> = (R, Array<T, D>);

/// An array like one in standard layout, whose elements are what `write` puts there. Nothing, if the layout is another.
///
/// # Safety
/// `write` writes every element, or fails: as a call of softlane on dense rows does.
unsafe fn written<T: Element, D: Dimension, R>(
    x: &ArrayRef<T, D>,
    write: impl FnOnce(&[T], &mut [MaybeUninit<T>]) -> Result<R, Error>,
) -> Result<Option<Written<R, T, D>>, Error> {
    let Some(from) = x.as_slice() else {
        return Ok(None);
    };
    let mut y = Array::uninit(x.raw_dim());
    let Some(to) = y.as_slice_mut() else {
        return Ok(None);
    };
    let result = write(from, to)?;
    // SAFETY: all of them have been written, as this function asks for.
    Ok(Some((result, unsafe { y.assume_init() })))
}

/// Runs `over` where the array is, or else over a copy.
fn in_place<T: Element, D: Dimension>(
    x: &mut ArrayRef<T, D>,
    axis: Axis,
    over: impl FnOnce(&mut [T], Shape) -> Result<(), Error>,
) -> Result<(), Error> {
    let shape = rows(x, axis)?;
    let is_forward = x.stride_of(axis) >= 0;
    if let Some(elements) = x.as_slice_memory_order_mut().filter(|_| is_forward) {
        return over(elements, shape);
    }
    let mut copy = x.as_standard_layout().into_owned();
    in_place(&mut copy, axis, over)?;
    x.assign(&copy);
    Ok(())
}
