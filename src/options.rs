//! The ranges of options: errors that name the option and its value.

use crate::element::Element;
use crate::error::Error;
use crate::rows::same_length;

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
    let is_met = value.is_finite() && value > 0.0;
    check(is_met, name, value, "a finite number above 0")
}

/// Checks a factor of elements.
pub(crate) fn scale<T: Element>(name: &'static str, value: f64) -> Result<(), Error> {
    let rounded = T::from_f64(value);
    let is_met = T::ZERO < rounded && rounded < T::INFINITY;
    check(
        is_met,
        name,
        value,
        "a finite number above 0 of the element type",
    )
}

/// Checks the weights of classes or labels.
pub(crate) fn weights<T: Element>(
    name: &'static str,
    weights: &[T],
    count: usize,
) -> Result<(), Error> {
    same_length(count, weights.len())?;
    let is_weight = |weight: &T| T::ZERO <= *weight && *weight < T::INFINITY;
    match weights.iter().position(|weight| !is_weight(weight)) {
        None => Ok(()),
        Some(index) => Err(Error::Weight {
            name,
            index,
            value: weights[index].to_f64(),
        }),
    }
}
