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

    /// What the gradient of each loss is multiplied by, where the divisor of the mean is that.
    pub fn scale(&self, divisor: f64) -> f64 {
        if self.sum {
            1.0
        } else if divisor == 0.0 {
            0.0
        } else {
            1.0 / divisor
        }
    }

    /// The reduced loss of losses with that sum.
    pub fn reduced(&self, sum: f64, divisor: f64) -> f64 {
        match (self.sum, divisor == 0.0) {
            (true, _) => sum,
            (false, true) if self.empty_mean_is_zero => 0.0,
            (false, true) => f64::NAN,
            (false, false) => sum / divisor,
        }
    }
}
