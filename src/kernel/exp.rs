//! The exponential of a vector, over the whole range.
//!
//! `e^x = 2^n e^r` with `n = rint(x log2 e)` and `r = x - n ln 2`, `|r| <= 0.347`. Adding
//! `1.5 * 2^23` rounds `x log2 e` to an integer and leaves it in the low bits of the sum; shifted
//! left by 23, they are the power of two.
//!
//! The first step of the reduction is exact. Where multiply-add is fused, `n ln2_hi` is not rounded
//! and the difference is exact by Sterbenz's lemma; elsewhere `ln2_hi` has trailing zeros enough
//! for an exact product, within a smaller range of `n`.
//!
//! `e^r = 1 + r + r^2 Q(r)`, with the two first coefficients exactly 1. The other five minimise the
//! relative error over the interval, 2^-28.2 (a minimax fit in rounded coefficients); five is the
//! fewest with which the approximation does not show (with four it is 2^-23).
//!
//! Worst error over all 2^32 arguments, fused: 0.891 ULP (`tests/elements.rs`).

use super::wide::Wide;
use super::{polynomials, side_by_side};
use crate::element::sealed::Float;
use crate::simd::Vector;

/// What the exponential needs to know of an element type.
#[derive(Clone, Copy, Debug)]
pub struct ExpConstants<T: Float> {
    /// `log2 e`, rounded.
    pub log2_e: T,
    /// `1.5 * 2^(mantissa bits)`: adding it rounds to an integer, which then stands in the low
    /// bits.
    pub round: T,
    /// The bias of the exponent.
    pub bias: T,
    /// `ln 2` rounded, and what that leaves out. For a fused multiply-add.
    pub ln2: [T; 2],
    /// `ln 2` with trailing zeros, and what that leaves out. For a multiplication that rounds.
    pub ln2_short: [T; 2],
    /// The significant bits of the first of them.
    pub short: u32,
    /// The coefficients of `e^r`, highest power first.
    pub poly: &'static [T],
    /// `unit 2^(j / 8)`, rounded, for each `j`: see `shift.rs`.
    pub table: [T; 8],
    /// The factor of the table, and its natural logarithm.
    pub unit: [Wide<T>; 2],
    /// The coefficients of `(e^r - 1) / r` within 1/16 of an octave, highest power first.
    pub table_poly: &'static [T],
    /// Beyond these, `e^x` overflows or rounds to 0.
    pub range: [T; 2],
    /// The largest `|x|` of which `n` is right and the first step of the reduction exact: fused,
    /// and not.
    pub reach: [T; 2],
    /// `2^lift`, times the unit of the table, is the weight of the reference of a row.
    pub lift: T,
    /// `n` of the lightest weight, above which all are normal numbers.
    pub lightest: T,
    /// A scaled distance from the largest logit, a little less than that of the lightest weight.
    pub farthest: f64,
}

/// The constants of `f32`.
///
/// Fused, `n ln2_hi` may have any length; up to `|x| = 2^16` the rounding of `log2 e` moves `x log2
/// e` by less than 0.002, and `r` stays in the interval. Not fused, `ln2_hi` has 9 significant
/// bits, so products with `|n| < 2^15` are exact; the product with `ln2_lo` is rounded, by less
/// than 2^-27 up to `|x| = 512`.
///
/// A weight has the factor `2^64`. So the lightest of them, `2^-125`, is `2^-189` of a row's
/// largest: it is 0 once scaled, as is the sum of `2^38` of them, and neither it nor anything
/// heavier is a subnormal number before.
pub const F32: ExpConstants<f32> = ExpConstants {
    log2_e: core::f32::consts::LOG2_E,
    round: 12_582_912.0,
    bias: 127.0,
    // 0x1.62e43p-1 and -0x1.05c61p-29
    ln2: [core::f32::consts::LN_2, -1.904_654_3e-9],
    // 0x1.63p-1 and -0x1.bd0106p-13
    ln2_short: [0.693_359_4, -2.121_944_4e-4],
    short: 9,
    // 0x1.6a5c5ep-10, 0x1.123ae4p-7, 0x1.5558a4p-5, 0x1.55549p-3, 0x1.fffffcp-2, 1, 1
    poly: &[
        1.382_296_8e-3,
        8.368_837e-3,
        4.166_824_4e-2,
        1.666_652e-1,
        4.999_999_4e-1,
        1.0,
        1.0,
    ],
    // 0x1.feb052p-1, 0x1.16747cp0, 0x1.2fa848p0, 0x1.4b2404p0, 0x1.691c8ap0, 0x1.89cb7cp0, 0x1.ad6fb4p0,
    // 0x1.d44dbcp0
    table: [
        0.997_438_97,
        1.087_714_9,
        1.186_161_5,
        1.293_518_3,
        1.410_591_7,
        1.538_261_2,
        1.677_485_7,
        1.829_311_1,
    ],
    // 1 - 42967 * 2^-24
    unit: [0.997_438_967_227_935_8, -0.002_564_317_826_447_279],
    // 0x1.555e8p-5, 0x1.555d3p-3, 1/2, 1
    table_poly: &[0.041_671_038, 0.166_681_65, 0.5, 1.0],
    range: [-104.0, 89.0],
    reach: [65_536.0, 512.0],
    lift: 64.0,
    lightest: -189.0,
    farthest: 130.0,
};

/// `(z, e^r)` for `x = n ln 2 + r`, with `z = magic + n`, where `magic` is the rounding constant
/// plus what is to be added to `n`.
#[inline(always)]
fn reduce_and_evaluate<V: Vector, const G: usize>(
    simd: V::Simd,
    x: [V; G],
    magic: V,
) -> ([V; G], [V; G]) {
    let constants = V::Elem::EXP;
    let ln2 = if V::FUSED {
        constants.ln2
    } else {
        constants.ln2_short
    };
    let (z, r) = reduce(simd, x, magic, constants.log2_e, ln2);
    (z, polynomials(simd, constants.poly, r))
}

/// `(z, r)` of each `x = n ln2 + r`, with `z = magic + n` and `n` near `x log2_e`; `ln2` is in two parts, and so may be any
/// step that `log2_e` is the inverse of. [Side by side](side_by_side).
#[inline(always)]
pub fn reduce<V: Vector, const G: usize>(
    simd: V::Simd,
    x: [V; G],
    magic: V,
    log2_e: V::Elem,
    [hi, lo]: [V::Elem; 2],
) -> ([V; G], [V; G]) {
    let z = side_by_side(
        x,
        #[inline(always)]
        |_, x| x.mul_add(V::splat(simd, log2_e), magic),
    );
    let n = side_by_side(
        z,
        #[inline(always)]
        |_, z| z - magic,
    );
    let r = side_by_side(
        x,
        #[inline(always)]
        |i, x| n[i].neg_mul_add(V::splat(simd, hi), x),
    );
    let r = side_by_side(
        r,
        #[inline(always)]
        |i, r| n[i].neg_mul_add(V::splat(simd, lo), r),
    );
    (z, r)
}

/// `e^x`, for every `x`: 0 below the range, infinity above, NaN for NaN. Subnormal results are
/// rounded once. [Side by side](side_by_side).
#[inline(always)]
pub fn exps<V: Vector, const G: usize>(simd: V::Simd, x: [V; G]) -> [V; G] {
    let constants = V::Elem::EXP;
    let [low, high] = constants.range;
    let (low, high) = (V::splat(simd, low), V::splat(simd, high));
    let x = side_by_side(
        x,
        #[inline(always)]
        |_, x| high.min(low.max(x)),
    );
    let round = V::splat(simd, constants.round);
    let (z, p) = reduce_and_evaluate(simd, x, round);
    // 2^n in two halves, since one float cannot hold it at either end of the range.
    let biased = round + V::splat(simd, constants.bias);
    let n = side_by_side(
        z,
        #[inline(always)]
        |_, z| z - round,
    );
    let half = side_by_side(
        n,
        #[inline(always)]
        |_, n| n.mul_add(V::constant(simd, 0.5), biased),
    );
    let rest = side_by_side(
        n,
        #[inline(always)]
        |i, n| n - (half[i] - biased) + biased,
    );
    side_by_side(
        p,
        #[inline(always)]
        |i, p| p * half[i].exponent() * rest[i].exponent(),
    )
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::f64::consts::LN_2;

    use super::F32;

    /// The polynomial in `f64`, which rounds next to nothing.
    fn value(coefficients: &[f32], r: f64) -> f64 {
        let horner = |p: f64, &c: &f32| p * r + f64::from(c);
        coefficients.iter().fold(0.0, horner)
    }

    /// The largest relative error of an approximation of `e^r`, up to `|r| = width`: as a power of two.
    fn error(width: f64, approximation: impl Fn(f64) -> f64) -> f64 {
        let steps = (-10_000..=10_000).map(|i| width * f64::from(i) / 10_000.0);
        let errors = steps.map(|r| (approximation(r) / r.exp() - 1.0).abs());
        errors.fold(0.0, f64::max).log2()
    }

    /// No coefficient can be changed noticeably without a worse fit.
    #[test]
    fn the_polynomials_fit_as_well_as_they_can() {
        let exp = error(LN_2 / 2.0, |r| value(F32.poly, r));
        assert!((-28.23..-28.226).contains(&exp), "2^{exp}");
        let table = error(LN_2 / 16.0, |r| 1.0 + r * value(F32.table_poly, r));
        assert!((-32.11..-32.108).contains(&table), "2^{table}");
    }
}
