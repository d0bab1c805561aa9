//! Logarithm and exponential in `f64`, for the scalar tail of a row: our own, so that no library
//! decides a bit. Plain multiplications and additions, which round alike on every backend.
//!
//! Relative errors: `ln` and `ln_1p` below 2^-51, `exp` below 2^-46 (checked below). They
//! enter results of 24 bits.

use core::f64::consts::{LN_2, LOG2_E};

/// `1 / (2 k + 1)`: `atanh(s) / s` in powers of `s^2`.
const ATANH: [f64; 12] = {
    let mut c = [1.0; 12];
    let mut k = 1;
    while k < c.len() {
        c[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    c
};

/// `1 / k!`: `e^r` in powers of `r`.
const EXP: [f64; 12] = {
    let mut c = [1.0; 12];
    let mut k = 1;
    while k < c.len() {
        c[k] = c[k - 1] / k as f64;
        k += 1;
    }
    c
};

/// The polynomial with these coefficients, lowest first, but without the first: as `x` times what
/// this returns.
///
/// Even and odd powers apart, so that each half waits for half as many additions.
#[inline(always)]
fn tail(c: [f64; 12], x: f64) -> f64 {
    let square = x * x;
    let (mut odd, mut even) = (c[11], c[10]);
    for k in (1..5).rev() {
        odd = odd * square + c[2 * k + 1];
        even = even * square + c[2 * k];
    }
    (odd * square + c[1]) + even * x
}

/// `2 atanh(s)` for `|s| <= 0.172`, where twelve terms of the series leave out less than 2^-64.
#[inline(always)]
fn twice_atanh(s: f64) -> f64 {
    let twice = 2.0 * s;
    let q = s * s;
    twice + twice * (q * tail(ATANH, q))
}

/// `ln(x)` for a positive normal number.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    // x = 2^k m with m from sqrt(1/2) to sqrt(2), so that k is 0 around 1.
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const ONE: u64 = 0x3FF0_0000_0000_0000;
    let bits = x.to_bits() + (ONE - SQRT_HALF);
    let k = (bits >> 52) as i32 - 1023;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + SQRT_HALF);
    f64::from(k) * LN_2 + twice_atanh((m - 1.0) / (m + 1.0))
}

/// `ln(1 + z)` for `z` from 0 to 1, to full relative accuracy however small.
#[inline(always)]
pub fn ln_1p(z: f64) -> f64 {
    // Above sqrt(2) - 1: ln 2 + ln((1 + z) / 2).
    if z > 0.414 {
        LN_2 + twice_atanh((z - 1.0) / (z + 3.0))
    } else {
        twice_atanh(z / (2.0 + z))
    }
}

/// The nearest integer, ties to even, for magnitudes below 2^51.
#[inline(always)]
pub fn round(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    (x + ROUND) - ROUND
}

/// `e^x` for `x` up to 700, and that of 700 above; 0 below -700; NaN for NaN.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    // ln 2 with 21 trailing zeros, and what that leaves out.
    const LN_2_HI: f64 = 0.693_147_180_369_123_8;
    const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;
    if x < -700.0 {
        return 0.0;
    }
    let x = if x > 700.0 { 700.0 } else { x };
    let n = round(x * LOG2_E);
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    // |r| <= 0.347: twelve terms of the series leave out less than 2^-46 of the result.
    let p = 1.0 + r * tail(EXP, r);
    // NaN is 0 as an integer.
    p * f64::from_bits((n as i64 + 1023).cast_unsigned() << 52)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    /// The largest relative difference to the standard library, which is right to 2^-52.
    fn worst(ours: fn(f64) -> f64, theirs: fn(f64) -> f64, x: impl Iterator<Item = f64>) -> f64 {
        x.map(|x| ((ours(x) - theirs(x)) / theirs(x)).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn near_the_standard_library() {
        let steps = |n: i32| (1..n).map(f64::from);
        let ln = worst(super::ln, f64::ln, steps(200_000).map(|i| 1.001 + i * 3.7));
        let small = worst(
            super::ln,
            f64::ln,
            steps(2_000).map(|i| (i - 1_000.5).exp2()),
        );
        let ln_1p = worst(super::ln_1p, f64::ln_1p, steps(100_000).map(|i| i * 1e-5));
        let tiny = worst(super::ln_1p, f64::ln_1p, steps(1_000).map(|i| (-i).exp2()));
        let exp = worst(
            super::exp,
            f64::exp,
            steps(140_000).map(|i| i * 0.01 - 700.0),
        );
        println!("ln {ln:e} {small:e}, ln_1p {ln_1p:e} {tiny:e}, exp {exp:e}");
        assert!(ln < (-51_f64).exp2() && small < (-51_f64).exp2());
        assert!(ln_1p < (-51_f64).exp2() && tiny < (-51_f64).exp2());
        assert!(exp < (-46_f64).exp2());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn ends() {
        assert_eq!(super::ln(1.0), 0.0);
        assert_eq!(super::ln_1p(0.0), 0.0);
        assert_eq!(super::exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(super::exp(0.0), 1.0);
        assert!(super::exp(f64::NAN).is_nan());
    }
}
