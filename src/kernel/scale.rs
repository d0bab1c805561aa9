//! A factor of the logits: the constants of `e^(s x)`.
//!
//! The product `s x` is never rounded, which alone would cost up to `|s x|` ULP of a probability. The reduction and the
//! polynomial of the exponential work on `x` itself: with the step `ln 2 / (8 s)` in place of `ln 2 / 8`, `x = n step + r`, and the
//! coefficients of the powers of `r` contain those of `s`. So a factor costs no instruction. Its first power is rounded, by half of
//! `u = 2^-24`, and so is `s r`, which is at most 0.0434, or 0.347 where multiply-add is not fused: errors of a weight are larger by 0.05 u, or
//! 0.2 u (`weights_of_scaled_logits_are_accurate` in `shift.rs`).
//!
//! That needs powers of `s` that are floats. A factor far from 1 is therefore a power of two, by which the elements are
//! multiplied first, which rounds nothing that counts, and one near 1.

use super::exp::ExpConstants;
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float;

/// The constants of `e^(s x)`.
#[derive(Clone, Copy, Debug)]
pub struct Scale<T: Float> {
    /// `s`.
    pub factor: f64,
    /// A power of two by which elements are multiplied first: all that follows is of the others' product. 1, unless the factor is
    /// far from that.
    pub first: T,
    /// `s log2 e`, and eight times as much.
    pub log2_e: T,
    pub table_log2_e: T,
    /// `ln 2 / s`.
    pub ln2: T,
    /// An eighth of it in two parts, for a fused multiply-add; all of it in two parts, the first with trailing zeros.
    pub table_ln2: [T; 2],
    pub ln2_short: [T; 2],
    /// The coefficients of the polynomials in `x` in place of `s x`, highest power first.
    table_poly: T::Coefficients,
    poly: T::Coefficients,
    /// [`ExpConstants::reach`].
    pub reach: [T; 2],
}

/// A factor of the logits, known when a kernel is compiled ([`One`]) or when it runs.
pub trait LogitScale<T: Float>: Copy + Sync {
    /// Whether it is known to be 1.
    const NONE: bool = false;
    /// The factor.
    fn scale(&self) -> Scale<T>;
    /// Whether it is 1.
    fn is_one(&self) -> bool;
}

/// No factor, so that what has none does not pay for it.
#[derive(Clone, Copy, Debug)]
pub struct One;

impl<T: Real> LogitScale<T> for One {
    const NONE: bool = true;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        Scale::one()
    }

    #[inline(always)]
    fn is_one(&self) -> bool {
        true
    }
}

impl<T: Real> LogitScale<T> for Scale<T> {
    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        *self
    }

    #[inline(always)]
    #[expect(clippy::float_cmp, reason = "any other factor is one")]
    fn is_one(&self) -> bool {
        self.factor == 1.0
    }
}

/// Factors up to this, and down to its inverse, need no power of two apart.
const NEAR: f64 = 65_536.0;

/// The largest `|s x|` within the reach, with a factor that is not 1: its constants are rounded more than those that
/// happen to be near floats.
const REACH: f64 = 4096.0;

impl<T: Real> Scale<T> {
    /// The factor.
    #[inline(always)]
    pub fn wide_factor(&self) -> Wide<T> {
        Wide::<T>::of(self.factor)
    }

    /// No factor.
    #[inline(always)]
    pub fn one() -> Self {
        Self::of(1.0, T::ONE, 1.0, T::EXP.reach)
    }

    /// A factor, which is a positive number of the type, if rounded.
    #[expect(clippy::float_cmp, reason = "any other factor is one")]
    pub fn new(factor: f64) -> Self {
        if factor == 1.0 {
            return Self::one();
        }
        let reach = T::EXP.reach.map(
            #[inline(always)]
            |reach| T::from_f64(reach.to_f64().min(REACH) / factor),
        );
        if (1.0 / NEAR..=NEAR).contains(&factor) {
            return Self::of(factor, T::ONE, factor, reach);
        }
        // Within the range of the type, with a mantissa of 0; of a subnormal factor, the least normal one.
        let power = f64::from_bits(factor.to_bits() >> 52 << 52).max(f64::MIN_POSITIVE);
        // Unless it is rounded to the least of it.
        let power = if T::from_f64(power) == T::ZERO {
            2.0 * power
        } else {
            power
        };
        Self::of(factor, T::from_f64(power), factor / power, reach)
    }

    /// With the rest `s` of a factor.
    #[inline(always)]
    #[expect(clippy::float_cmp, reason = "what is rounded already is for 1 alone")]
    fn of(factor: f64, first: T, s: f64, reach: [T; 2]) -> Self {
        let ExpConstants {
            ln2,
            poly,
            table_poly,
            log2_e,
            ..
        } = T::EXP;
        let (hi, lo) = (ln2[0].to_wide(), ln2[1].to_wide());
        let ln2 = (hi + lo) / Wide::<T>::of(s);
        let eighth = ln2 * Wide::<T>::of(0.125);
        // For a factor of 1, what is rounded already.
        let log2_e = if s == 1.0 {
            log2_e.to_f64()
        } else {
            core::f64::consts::LOG2_E * s
        };
        let mut scaled = Self {
            factor,
            first,
            log2_e: T::from_f64(log2_e),
            table_log2_e: T::from_f64(8.0 * log2_e),
            ln2: T::from_wide(ln2),
            table_ln2: in_two_parts(eighth, T::from_wide(eighth)),
            ln2_short: in_two_parts(ln2, T::from_f64(short::<T>(ln2.nearest()))),
            table_poly: T::NO_COEFFICIENTS,
            poly: T::NO_COEFFICIENTS,
            reach,
        };
        // The growth is a polynomial times `s x`.
        powers(scaled.table_poly.as_mut(), table_poly, s, s);
        powers(scaled.poly.as_mut(), poly, 1.0, s);
        scaled
    }

    /// The coefficients of [`ExpConstants::table_poly`].
    #[inline(always)]
    pub fn table_poly(&self) -> &[T] {
        &self.table_poly.as_ref()[..T::EXP.table_poly.len()]
    }

    /// The coefficients of [`ExpConstants::poly`].
    #[inline(always)]
    pub fn poly(&self) -> &[T] {
        &self.poly.as_ref()[..T::EXP.poly.len()]
    }
}

/// A number as its rounded value, and what that leaves out.
#[inline(always)]
fn in_two_parts<T: Real>(x: Wide<T>, hi: T) -> [T; 2] {
    [hi, T::from_wide(x - hi.to_wide())]
}

/// A number rounded to as few bits as the first of [`ExpConstants::ln2_short`] has.
#[inline(always)]
fn short<T: Real>(x: f64) -> f64 {
    let rest = 53 - T::EXP.short;
    f64::from_bits((x.to_bits() + (1 << (rest - 1))) >> rest << rest)
}

/// The coefficients of a polynomial in `s x`, highest power first, as those of one in `x`; the last is multiplied by `power`.
#[inline(always)]
fn powers<T: Real>(to: &mut [T], coefficients: &[T], mut power: f64, s: f64) {
    for (to, c) in to[..coefficients.len()].iter_mut().zip(coefficients).rev() {
        *to = T::from_f64(c.to_f64() * power);
        power *= s;
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::Scale;
    use crate::kernel::exp::F32;

    /// So the bits without a factor are those of the constants.
    #[test]
    #[expect(clippy::float_cmp, reason = "these are the same")]
    fn a_factor_of_one_is_none() {
        for scale in [Scale::<f32>::one(), Scale::new(1.0)] {
            let Scale {
                first,
                log2_e,
                table_log2_e,
                ln2,
                table_ln2,
                ln2_short,
                reach,
                ..
            } = scale;
            assert_eq!((first, log2_e, reach), (1.0, F32.log2_e, F32.reach));
            assert_eq!((table_log2_e, ln2), (8.0 * F32.log2_e, F32.ln2[0]));
            assert_eq!(table_ln2, F32.ln2.map(|part| part / 8.0));
            assert_eq!(ln2_short, F32.ln2_short);
            assert_eq!(
                (scale.poly(), scale.table_poly()),
                (F32.poly, F32.table_poly)
            );
        }
    }

    /// Every factor, however far from 1, is a power of two and constants that are normal numbers.
    #[test]
    fn constants_of_every_factor() {
        // Rounded to the least number.
        let least = Scale::<f32>::new(0.9 * (-149_f64).exp2()).first;
        assert_eq!(least.to_bits(), 1);
        for exponent in -149..128 {
            for mantissa in [1.0, 1.3, 1.999_999] {
                let factor = f64::from((mantissa * f64::from(exponent).exp2()) as f32);
                let scale = Scale::<f32>::new(factor);
                assert!(scale.first > 0.0, "{factor:e}");
                let rest = factor / f64::from(scale.first);
                let step = f64::from(scale.table_ln2[0]) + f64::from(scale.table_ln2[1]);
                let whole = f64::from(scale.ln2_short[0]) + f64::from(scale.ln2_short[1]);
                for ln2 in [step * 8.0 * rest, whole * rest, f64::from(scale.ln2) * rest] {
                    assert!(
                        (ln2 / core::f64::consts::LN_2 - 1.0).abs() < 1e-7,
                        "{factor:e}: {ln2}"
                    );
                }
                assert!((step * 8.0 * rest / core::f64::consts::LN_2 - 1.0).abs() < 1e-13);
                // Its product with a number of 15 bits is exact.
                assert_eq!(scale.ln2_short[0].to_bits() % (1 << 15), 0);
                let constants = scale
                    .table_poly()
                    .iter()
                    .chain(scale.poly())
                    .chain(&scale.table_ln2);
                assert!(constants.copied().all(f32::is_normal), "{scale:?}");
            }
        }
    }

    #[cfg(feature = "f64")]
    mod double {
        use super::Scale;
        use crate::kernel::double::EXP;
        use crate::kernel::pair::Pair;
        use crate::kernel::wide::WideFloat as _;

        /// Here factors are wide numbers.
        #[test]
        #[expect(clippy::float_cmp, reason = "these are the same")]
        fn a_factor_of_one_is_none() {
            let scale = Scale::<f64>::one();
            assert_eq!((scale.first, scale.log2_e), (1.0, EXP.log2_e));
            assert_eq!(
                (scale.table_log2_e, scale.ln2),
                (8.0 * EXP.log2_e, EXP.ln2[0])
            );
            assert_eq!(scale.table_ln2, EXP.ln2.map(|part| part / 8.0));
            assert_eq!(scale.ln2_short, EXP.ln2_short);
            assert_eq!(
                (scale.poly(), scale.table_poly()),
                (EXP.poly, EXP.table_poly)
            );
        }

        #[test]
        fn constants_of_every_factor() {
            let bound = (-100_f64).exp2();
            for exponent in -1074..1024 {
                for mantissa in [1.0, 1.3, 1.999_999] {
                    let power = (f64::from(exponent) / 2.0).floor();
                    let factor = mantissa * power.exp2() * (f64::from(exponent) - power).exp2();
                    let scale = Scale::<f64>::new(factor);
                    assert!(scale.first > 0.0, "{factor:e}");
                    let rest = Pair::of(factor / scale.first);
                    let [hi, lo] = scale.table_ln2.map(Pair::of);
                    let step = (hi + lo) * Pair::of(8.0) * rest / Pair::LN_2;
                    assert!((step - Pair::ONE).abs().nearest() < bound, "{factor:e}");
                    let [hi, lo] = scale.ln2_short.map(Pair::of);
                    let whole = (hi + lo) * rest / Pair::LN_2;
                    assert!(
                        (whole - Pair::ONE).abs().nearest() < (-84_f64).exp2(),
                        "{factor:e}"
                    );
                    // Its product with a number of 21 bits is exact.
                    assert_eq!(scale.ln2_short[0].to_bits() % (1 << 21), 0);
                    let constants = scale.table_poly().iter().chain(scale.poly());
                    assert!(
                        constants.chain(&scale.table_ln2).all(|c| c.is_normal()),
                        "{scale:?}"
                    );
                }
            }
        }
    }
}
