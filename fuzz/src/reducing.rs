//! How losses become one: the options that both kinds of cross-entropy have.

use softlane::{EmptyMean, Reduction};

use crate::code::coded;

coded! {
    pub struct Reducing {
        pub sum: bool,
        pub empty_mean_is_zero: bool,
    }
}

impl Reducing {
    /// The option of that name.
    pub fn reduction(&self) -> Reduction {
        if self.sum {
            Reduction::Sum
        } else {
            Reduction::Mean
        }
    }

    /// The option of that name.
    pub fn empty_mean(&self) -> EmptyMean {
        if self.empty_mean_is_zero {
            EmptyMean::Zero
        } else {
            EmptyMean::Nan
        }
    }

    /// What the gradient of each of `count` losses is multiplied by.
    pub fn scale(&self, count: usize) -> f64 {
        if self.sum { 1.0 } else { 1.0 / count as f64 }
    }

    /// The reduced loss of `count` losses with that sum.
    pub fn reduced(&self, sum: f64, count: usize) -> f64 {
        if count == 0 && self.empty_mean_is_zero {
            0.0
        } else {
            sum * self.scale(count)
        }
    }
}
