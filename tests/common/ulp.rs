//! Errors of `f32` results against exact values, in units in the last place (ULP).

/// The one NaN that results have.
pub const NAN_BITS: u32 = 0x7fc0_0000;

/// The spacing of `f32` around `x`: `2^(e - 23)` for `2^e <= |x| < 2^(e + 1)`, and `2^-149` for
/// zero and subnormal numbers. Beyond the range it is that of the last binade.
pub fn ulp(x: f64) -> f64 {
    let biased = (x.to_bits() >> 52) & 0x7ff;
    // From -126 to 127 as an exponent of `f32`, less 23: still a normal `f64`.
    f64::from_bits((biased.clamp(1023 - 126, 1023 + 127) - 23) << 52)
}

/// An exact result, and the unit that an error counts in.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// The result, in more precision than the library has.
    pub value: f64,
    /// What an error is divided by; 0 where only the value itself will do.
    pub unit: f64,
}

impl Want {
    /// The error counts in ULP of the result.
    pub fn ulp(value: f64) -> Self {
        Self::ulp_of(value, value)
    }

    /// The error counts in ULP of `operand`: of the larger operand of a difference, of the sum of
    /// the magnitudes, of `max(|result|, 1)`.
    pub fn ulp_of(value: f64, operand: f64) -> Self {
        Self {
            value,
            unit: ulp(operand),
        }
    }

    /// Nothing else will do.
    pub fn exactly(value: f64) -> Self {
        Self { value, unit: 0.0 }
    }

    /// The error of `got`, infinite where only agreement counts: NaN (which must be the canonical
    /// one), infinities, exact values.
    ///
    /// Infinity stands for `2^128` where the exact result is finite: to round there is an error
    /// like any other, of less than one ULP if the result is just below.
    pub fn error(self, got: f32) -> f64 {
        const OVERFLOW: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0; // 2^128
        let Self { value, unit } = self;
        if value.is_nan() || got.is_nan() {
            return agree(value.is_nan() && got.to_bits() == NAN_BITS);
        }
        let exact = f64::from(got);
        if unit == 0.0 || value.is_infinite() {
            return agree(exact.total_cmp(&value).is_eq() || (exact == 0.0 && value == 0.0));
        }
        if got.is_infinite() {
            let beyond = value * exact.signum();
            return (OVERFLOW - beyond).max(0.0) / unit;
        }
        (exact - value).abs() / unit
    }
}

fn agree(agree: bool) -> f64 {
    if agree { 0.0 } else { f64::INFINITY }
}
