//! Logarithm and exponential in `f64`, for what is done once a row: our own, so that no library
//! decides a bit. Plain multiplications and additions, which round alike on every backend, and no branches, so
//! that the compiler can do many at once.
//!
//! Relative errors: logarithms below 2^-44, `exp` below 2^-36 (checked below). They enter results of 24 bits, and
//! a bound that has 0.01 of their last one to spare, 2^-30.

use core::f64::consts::{LN_2, LOG2_E};

use super::wide::WideFloat;

/// `1 / (2 k + 1)`: `atanh(s) / s` in powers of `s^2`.
const ATANH: [f64; 8] = {
    let mut c = [1.0; 8];
    let mut k = 1;
    while k < c.len() {
        c[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    c
};

/// `1 / k!`: `e^r` in powers of `r`.
const EXP: [f64; 10] = {
    let mut c = [1.0; 10];
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
fn tail<const N: usize>(c: [f64; N], x: f64) -> f64 {
    const { assert!(N.is_multiple_of(2)) };
    let square = x * x;
    let (mut odd, mut even) = (c[N - 1], c[N - 2]);
    for k in (1..N / 2 - 1).rev() {
        odd = odd * square + c[2 * k + 1];
        even = even * square + c[2 * k];
    }
    (odd * square + c[1]) + even * x
}

/// `2 atanh(s)` for `|s| <= 0.172`, where eight terms of the series leave out less than 2^-44 of the result.
#[inline(always)]
fn twice_atanh(s: f64) -> f64 {
    let twice = 2.0 * s;
    let q = s * s;
    twice + twice * (q * tail(ATANH, q))
}

/// `ln(x)` of a positive normal number as `whole + 2 atanh(numerator / denominator)`.
#[inline(always)]
fn ln_parts(x: f64) -> (f64, f64, f64) {
    // x = 2^k m with m from sqrt(1/2) to sqrt(2), so that k is 0 around 1.
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const ONE: u64 = 0x3FF0_0000_0000_0000;
    let bits = x.to_bits() + (ONE - SQRT_HALF);
    let k = (bits >> 52) as i32 - 1023;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + SQRT_HALF);
    (f64::from(k) * LN_2, m - 1.0, m + 1.0)
}

/// `ln(x)` for a positive normal number.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let (whole, numerator, denominator) = ln_parts(x);
    whole + twice_atanh(numerator / denominator)
}

/// `-ln p` of an element with the logit `x`, less the offset of its row, from its weight and the sum of all others;
/// `ln_unit` is that of the row's shift.
///
/// For a likely element, `ln(1 + others / weight)` keeps full relative accuracy however small. For another, it is
/// `ln(others + weight) + ln_unit - x`: its weight may be 0, but the logit is not lost. With `|x|` up to `2^16`, these
/// sums are rounded by `2^-36` at most, and the result is at least `ln 2`.
///
/// `select` is [`by_mask`] in a loop of which the compiler is to make vectors, otherwise [`by_branch`].
#[inline(always)]
pub fn negative_log_likelihood(
    select: impl Fn(bool, f64, f64) -> f64,
    others: f64,
    weight: f64,
    ln_unit: f64,
    x: f64,
) -> f64 {
    let likely = weight > others;
    // Above sqrt(2) - 1: ln 2 + ln((1 + others / weight) / 2).
    let half = others > 0.414 * weight;
    let (whole, numerator, denominator) = ln_parts(others + weight);
    let (all, above, below) = (
        select(half, LN_2, 0.0),
        select(half, others - weight, others),
        others + select(half, 3.0, 2.0) * weight,
    );
    let whole = select(likely, all, whole);
    let numerator = select(likely, above, numerator);
    let denominator = select(likely, below, denominator);
    let log = whole + twice_atanh(numerator / denominator);
    select(likely, log, (log + ln_unit) - x)
}

/// One of two, whichever is needed.
#[inline(always)]
pub fn by_branch<W>(condition: bool, yes: W, no: W) -> W {
    if condition { yes } else { no }
}

/// One of two, both of which are there: with SSE2, the compiler makes no vectors of [`by_branch`].
#[inline(always)]
pub fn by_mask<W: WideFloat>(condition: bool, yes: W, no: W) -> W {
    W::by_mask(condition, yes, no)
}

/// `1.5 * 2^52`: adding it rounds to an integer, which then stands in the low bits.
pub const ROUND: f64 = 6_755_399_441_055_744.0;

/// `e^x` for `x` up to 700, and that of 700 above; 0 below -700; NaN for NaN.
#[inline(always)]
pub fn exp_f64(x: f64) -> f64 {
    // ln 2 with 21 trailing zeros, and what that leaves out.
    const LN_2_HI: f64 = 0.693_147_180_369_123_8;
    const LN_2_LO: f64 = 1.908_214_929_270_587_7e-10;
    let low = x < -700.0;
    let x = if low { -700.0 } else { x };
    let x = if x > 700.0 { 700.0 } else { x };
    let z = x * LOG2_E + ROUND;
    let n = z - ROUND;
    let r = (x - n * LN_2_HI) - n * LN_2_LO;
    // |r| <= 0.347: ten terms of the series leave out less than 2^-36 of the result.
    let p = 1.0 + r * tail(EXP, r);
    // `n` stands in the low bits of `z`. (Of a NaN, anything may.)
    let y = p * f64::from_bits((z.to_bits() + 1023) << 52);
    if low { 0.0 } else { y }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    /// The largest relative difference to the standard library, which is right to 2^-52.
    fn worst(
        ours: impl Fn(f64) -> f64,
        theirs: fn(f64) -> f64,
        x: impl Iterator<Item = f64>,
    ) -> f64 {
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
        // Of a likely element, all of which is known from the quotient of two weights.
        let likely = |z| super::negative_log_likelihood(super::by_mask, z * 1e10, 1e10, 7.0, 5.0);
        let ln_1p = worst(likely, f64::ln_1p, steps(100_000).map(|i| i * 1e-5));
        let tiny = worst(likely, f64::ln_1p, steps(1_000).map(|i| (-i).exp2()));
        // And of an unlikely one.
        let unlikely = worst(
            |z| super::negative_log_likelihood(super::by_mask, z, 1.0, 7.0, 5.0),
            |z| z.ln_1p() + 2.0,
            steps(100_000).map(|i| 1.0 + i),
        );
        // With the largest reference that a row has.
        let far = worst(
            |z| super::negative_log_likelihood(super::by_mask, z, 1.0, 65_536.0, 65_530.0),
            |z| z.ln_1p() + 6.0,
            steps(100_000).map(|i| 1.0 + i),
        );
        assert!(far < (-36_f64).exp2(), "{far:e}");
        let exp = worst(
            super::exp_f64,
            f64::exp,
            steps(140_000).map(|i| i * 0.01 - 700.0),
        );
        println!("ln {ln:e} {small:e}, {ln_1p:e} {tiny:e} {unlikely:e}, exp {exp:e}");
        assert!(ln < (-44_f64).exp2() && small < (-44_f64).exp2());
        assert!(ln_1p < (-44_f64).exp2() && tiny < (-44_f64).exp2());
        assert!(unlikely < (-44_f64).exp2());
        assert!(exp < (-36_f64).exp2());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn ends() {
        assert_eq!(super::ln(1.0), 0.0);
        let certain = super::negative_log_likelihood(super::by_mask, 0.0, 1.0, 7.0, 5.0);
        assert_eq!(certain.to_bits(), 0);
        assert_eq!(super::exp_f64(f64::NEG_INFINITY), 0.0);
        assert_eq!(super::exp_f64(0.0), 1.0);
        assert!(super::exp_f64(f64::NAN).is_nan());
    }
}
