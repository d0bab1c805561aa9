//! The ranges of options: errors that name the option and its value.

use core::ops::Add;

use crate::element::Real;
use crate::error::Error;
use crate::kernel::wide::{Wide, WideFloat as _};

/// Checks a condition on an option.
fn check(
    is_met: bool,
    name: &'static str,
    value: f64,
    expected: &'static str,
) -> Result<(), Error> {
    if is_met {
        return Ok(());
    }
    Err(Error::Option {
        name,
        value,
        expected,
    })
}

/// Checks a share.
pub(crate) fn in_range(name: &'static str, value: f64) -> Result<(), Error> {
    check((0.0..=1.0).contains(&value), name, value, "from 0 to 1")
}

/// Checks the weight of a term.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<(), Error> {
    let is_met = value.is_finite() && value >= 0.0;
    check(is_met, name, value, "a finite number from 0 on")
}

/// Checks a divisor.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<(), Error> {
    // So must be what every gradient is multiplied by.
    let is_met = value.is_finite() && value > 0.0 && value.recip().is_finite();
    check(
        is_met,
        name,
        value,
        "a finite number above 0, as is its inverse",
    )
}

/// Checks a divisor whose inverse is a factor of elements.
pub(crate) fn divisor<T: Real>(name: &'static str, value: f64) -> Result<(), Error> {
    let inverse = T::from_f64(value.recip());
    let is_met = T::ZERO < inverse && inverse < T::INFINITY && value.is_finite();
    let expected = "a number above 0 whose inverse the element type has";
    check(is_met, name, value, expected)
}

/// Checks a factor of elements.
pub(crate) fn scale<T: Real>(name: &'static str, value: f64) -> Result<(), Error> {
    let rounded = T::from_f64(value);
    let is_met = T::ZERO < rounded && rounded < T::INFINITY;
    check(
        is_met,
        name,
        value,
        "a finite number above 0 of the element type",
    )
}

/// Checks that an option has so many numbers.
pub(crate) fn length(name: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::OptionLength {
        name,
        expected,
        found,
    })
}

/// Checks that an option which comes again after so many rows comes out even in a batch.
pub(crate) fn period(name: &'static str, period: usize, rows: usize) -> Result<(), Error> {
    match rows.checked_rem(period) {
        Some(0) => Ok(()),
        None if rows == 0 => Ok(()),
        _ => Err(Error::OptionRows { name, period, rows }),
    }
}

/// Checks an option of so many elements, which are rows that come again.
pub(crate) fn rows(
    name: &'static str,
    len: usize,
    classes: usize,
    rows: usize,
) -> Result<(), Error> {
    match len.checked_rem(classes) {
        Some(0) => period(name, len / classes, rows),
        None if len == 0 => Ok(()),
        _ => Err(Error::OptionShape { name, len, classes }),
    }
}

/// Checks the weights of classes or labels.
pub(crate) fn weights<T: Real>(
    name: &'static str,
    weights: &[T],
    count: usize,
) -> Result<(), Error> {
    length(name, count, weights.len())?;
    let is_weight = |weight: &T| T::ZERO <= *weight && *weight < T::INFINITY;
    // All of them at first, which vectors do.
    if weights
        .iter()
        .fold(true, |all, weight| all & is_weight(weight))
    {
        return Ok(());
    }
    match weights.iter().position(|weight| !is_weight(weight)) {
        None => Ok(()),
        Some(index) => Err(Error::Weight {
            name,
            index,
            value: weights[index].to_f64(),
        }),
    }
}

/// The sum of weights, and the largest of them. Eight at a time, so that they need not wait for each other.
pub(crate) fn total_and_largest<T: Real>(weights: &[T]) -> (Wide<T>, f64) {
    let (mut totals, mut largest) = ([Wide::<T>::ZERO; 8], [0.0_f64; 8]);
    for eight in weights.chunks(8) {
        for (i, weight) in eight.iter().enumerate() {
            totals[i] += weight.to_wide();
            largest[i] = largest[i].max(weight.to_f64());
        }
    }
    (
        totals.into_iter().fold(Wide::<T>::ZERO, Add::add),
        largest.into_iter().fold(0.0, f64::max),
    )
}
