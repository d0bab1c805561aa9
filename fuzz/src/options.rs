//! What options are made of: numbers, and one for each class or row; in range more often than not.

use softlane::Error;

use crate::code::coded;
use crate::input::{Float, Floats};

coded! {
    /// An `f64`.
    pub enum Number {
        /// From 0 to 1.
        8 => Share(units: u8),
        /// From 2^-8 to 256.
        8 => Medium(units: u16),
        /// Any magnitude that `f32` has.
        4 => Power(exponent: i8),
        2 => Float(float: Float),
        1 => Any(bits: u64),
    }
}

impl Number {
    /// It.
    pub fn get(&self) -> f64 {
        match *self {
            Self::Share(units) => f64::from(units) / 255.0,
            Self::Medium(units) => (f64::from(units) + 1.0) / 256.0,
            Self::Power(exponent) => f64::from(exponent).exp2(),
            Self::Float(ref float) => float.get().into(),
            Self::Any(bits) => f64::from_bits(bits),
        }
    }
}

impl From<f64> for Number {
    fn from(x: f64) -> Self {
        Self::Any(x.to_bits())
    }
}

coded! {
    /// Weights, one for each of something.
    pub enum Weights {
        14 => Proper(weights: Floats),
        1 => Any(weights: Floats),
        /// Another number of them.
        1 => Count(weights: Floats, count: u8),
    }
}

impl Weights {
    /// For so many.
    pub fn take(&self, count: usize) -> Vec<f32> {
        match self {
            Self::Proper(weights) => {
                let proper = |x: f32| if x.is_finite() { x.abs() } else { 0.0 };
                weights.take(count).into_iter().map(proper).collect()
            }
            Self::Any(weights) => weights.take(count),
            Self::Count(weights, count) => weights.take(usize::from(*count)),
        }
    }
}

coded! {
    /// Any numbers, one for each of something.
    pub enum Data {
        15 => Fit(data: Floats),
        /// Another number of them.
        1 => Count(data: Floats, count: u8),
    }
}

impl Data {
    /// For so many.
    pub fn take(&self, count: usize) -> Vec<f32> {
        match self {
            Self::Fit(data) => data.take(count),
            Self::Count(data, count) => data.take(usize::from(*count)),
        }
    }
}

/// The error for an option that is not in its range. (What is said to be expected is not compared.)
pub fn range_error(name: &'static str, value: f64, is_in_range: bool) -> Option<Error> {
    let expected = "";
    (!is_in_range).then_some(Error::Option {
        name,
        value,
        expected,
    })
}

/// The error for a share.
pub fn share_error(name: &'static str, value: f64) -> Option<Error> {
    range_error(name, value, (0.0..=1.0).contains(&value))
}

/// The error for a factor of elements.
pub fn factor_error(name: &'static str, value: f64) -> Option<Error> {
    let rounded = value as f32;
    range_error(name, value, rounded > 0.0 && rounded.is_finite())
}

/// The error for another number of numbers.
pub fn length_error(name: &'static str, expected: usize, found: usize) -> Option<Error> {
    (expected != found).then_some(Error::OptionLength {
        name,
        expected,
        found,
    })
}

/// The error for weights of so many.
pub fn weights_error(name: &'static str, weights: &[f32], count: usize) -> Option<Error> {
    let is_weight = |weight: f32| weight >= 0.0 && weight.is_finite();
    let wrong = || {
        let index = weights.iter().position(|&weight| !is_weight(weight))?;
        let value = weights[index].into();
        Some(Error::Weight { name, index, value })
    };
    length_error(name, count, weights.len()).or_else(wrong)
}
