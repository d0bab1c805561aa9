//! The constants of `f64`, which are to it what those beside the code are to `f32`.

use super::exp::ExpConstants;
use super::pair::Pair;

/// `Float::EXP`
///
/// As those of `f32`, with five bits more of everything: `e^r = 1 + r + r^2 Q(r)` to 2^-60.2 with eleven coefficients of `Q`, and the growth to 2^-60.3
/// with eight, two of which are exact. `ln2_hi` has 32 significant bits where it is not fused, so products with `|n| < 2^21` are exact, and the product
/// with `ln2_lo` is rounded by less than 2^-68 within the reach.
///
/// A weight has the factor `2^256`. So the lightest of them, `2^-864`, is `2^-1120` of a row's largest: it is 0 once scaled, as is
/// the sum of `2^44` of them, and neither it nor its products with growths are subnormal numbers before.
pub const EXP: ExpConstants<f64> = ExpConstants {
    log2_e: core::f64::consts::LOG2_E,
    round: 6_755_399_441_055_744.0,
    bias: 1023.0,
    // 0x1.62e42fefa39efp-1 and 0x1.abc9e3b39803fp-56
    ln2: [core::f64::consts::LN_2, 2.319_046_813_846_299_6e-17],
    // 0x1.62e42ffp-1 and -0x1.718432a1b0e26p-35
    ln2_short: [0.693_147_180_601_954_5, -4.200_915_072_681_084_6e-11],
    short: 32,
    // 0x1.20398b81e435ep-29, 0x1.af73013dcab7cp-26, 0x1.27e4505680ce6p-22, 0x1.71ddeb0e5d41fp-19, 0x1.a01a01e7d6ba7p-16,
    // 0x1.a01a01b5e28b8p-13, 0x1.6c16c16c0a499p-10, 0x1.111111110e55ap-7, 0x1.555555555556cp-5, 0x1.555555555555dp-3, 1/2, 1, 1
    poly: &[
        2.097_111_318_753_837_6e-9,
        2.511_365_092_894_244_6e-8,
        2.755_707_603_498_497e-7,
        2.755_722_909_581_720_3e-6,
        2.480_158_755_644_901_6e-5,
        1.984_126_990_318_185_6e-4,
        1.388_888_888_877_815e-3,
        8.333_333_333_313_92e-3,
        4.166_666_666_666_682_4e-2,
        1.666_666_666_666_668_8e-1,
        0.5,
        1.0,
        1.0,
    ],
    // 0x1.ffffffc2f4e0ap-1, 0x1.172b83a68c57fp0, 0x1.306fe07ecf8p0, 0x1.4bfdad2bcdb3p0, 0x1.6a09e63cc9b17p0,
    // 0x1.8ace53f397e51p0, 0x1.ae89f96258704p0, 0x1.d5818d97c026p0
    table: [
        0.999_999_992_893_607_4,
        1.090_507_724_915_681_6,
        1.189_207_106_551_748_4,
        1.296_839_545_435_158_7,
        1.414_213_552_323_138_3,
        1.542_210_814_448_385_3,
        1.681_792_818_555_949,
        1.834_008_073_376_161,
    ],
    // 1 - 64008694 * 2^-53, and its logarithm, as that of pairs is
    unit: [
        Pair::constant(0.999_999_992_893_607_4, 0.0),
        Pair::constant(-7.106_392_610_749_019e-9, -6.392_693_360_380_84e-26),
    ],
    // 0x1.6e136ef7c475fp-16, 0x1.a01e33a178127p-13, 0x1.6c17575b7f17ep-10, 0x1.1111110e5ba0bp-7, 0x1.555555547fb17p-5,
    // 0x1.5555555555546p-3, 1/2, 1
    table_poly: &[
        2.181_982_469_468_630_6e-5,
        1.984_205_128_300_411_4e-4,
        1.388_897_616_265_344e-3,
        8.333_333_328_406_153e-3,
        4.166_666_666_059_464_6e-2,
        1.666_666_666_666_662_4e-1,
        0.5,
        1.0,
    ],
    range: [-746.0, 710.0],
    reach: [65_536.0, 65_536.0],
    lift: 256.0,
    lightest: -1120.0,
    farthest: 775.0,
};

/// `Float::ATANH`: a minimax fit, whose error is 2^-64.
pub const ATANH: [f64; 11] = [
    8.200_209_463_081_69e-2,
    3.518_305_794_254_947e-2,
    5.480_493_464_110_13e-2,
    5.858_874_404_471_546_6e-2,
    6.668_315_652_323_59e-2,
    7.692_231_451_196_713e-2,
    9.090_911_377_679_214e-2,
    0.111_111_110_685_043_63,
    0.142_857_142_861_667_9,
    0.199_999_999_999_976_92,
    0.333_333_333_333_333_37,
];

#[cfg(all(test, feature = "std"))]
mod tests {
    use core::f64::consts::LN_2;

    use super::{ATANH, EXP, Pair};
    use crate::kernel::wide::WideFloat as _;

    /// As for `f32`: the largest relative error of an approximation of `e^r`, as a power of two, by its series in pairs.
    fn error(width: f64, first: Pair, coefficients: &[f64]) -> f64 {
        let steps = (-10_000..=10_000).filter(|&i| i != 0);
        let errors = steps.map(|i| {
            let r = Pair::of(width * f64::from(i) / 10_000.0);
            let horner = |p: Pair, &c: &f64| p * r + Pair::of(c);
            let p = coefficients.iter().fold(Pair::ZERO, horner);
            let term = |sum: Pair, k: u32| Pair::ONE + r * sum / Pair::of(k.into());
            let exact = (1..=25).rev().fold(Pair::ONE, term);
            ((first + p * r - exact) / exact).abs().nearest()
        });
        errors.fold(0.0, f64::max).log2()
    }

    #[test]
    fn the_exponentials_fit_as_well_as_is_said() {
        let [poly @ .., one] = EXP.poly else {
            unreachable!("there are some")
        };
        let exp = error(LN_2 / 2.0, Pair::of(*one), poly);
        assert!((-60.31..-60.27).contains(&exp), "2^{exp}");
        let table = error(LN_2 / 16.0, Pair::ONE, EXP.table_poly);
        assert!((-60.33..-60.28).contains(&table), "2^{table}");
        // As many trailing zeros of the first part of ln 2 as an exact product needs; both pairs of parts are ln 2.
        let [hi, lo] = EXP.ln2_short;
        assert_eq!(hi.to_bits() % (1 << (53 - EXP.short)), 0);
        for [hi, lo] in [[hi, lo], EXP.ln2] {
            let error = Pair::of(hi) + Pair::of(lo) - Pair::LN_2;
            assert!(error.abs().nearest() < (-87_f64).exp2());
        }
    }

    /// By the series `atanh(s) = s (1 + q / 3 + q^2 / 5 + ...)`, in pairs.
    #[test]
    fn the_inverse_tangent_fits_as_well_as_is_said() {
        let errors = (1..=10_000).map(|i| {
            let s = Pair::of((f64::from(i) / 10_000.0).sqrt() / 3.0);
            let q = s * s;
            let horner = |p: Pair, &c: &f64| p * q + Pair::of(c);
            let found = Pair::ONE + q * ATANH.iter().fold(Pair::ZERO, horner);
            let term = |sum: Pair, k: u32| sum * q + Pair::ONE / Pair::of((2 * k + 1).into());
            let exact = (0..40).rev().fold(Pair::ZERO, term);
            ((found - exact) / exact).abs().nearest()
        });
        let error = errors.fold(0.0, f64::max).log2();
        assert!((-64.6..-64.4).contains(&error), "2^{error}");
    }
}
