//! The wide number of `f64`: a sum of two, of about 106 bits.
//!
//! What an addition or a multiplication of two floats leaves out is a float itself, and plain arithmetic finds it (Knuth 1969, Dekker 1971). No multiply-add is
//! used, so the bits are the same on every backend.
//!
//! Out of line, as it is for what is done once a row, in many places: to compile it once costs less than the calls.
//!
//! Relative errors: sums, products and quotients below 2^-100 (a sum of both signs: of the larger), logarithms below 2^-62 and `exp` below
//! 2^-65. They enter results of 53 bits. Where the second number is not a normal one, or beyond 2^996, it has fewer bits, down to none.

use core::f64::consts::{LN_2, LOG2_E, SQRT_2};
use core::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::tree::Merge;
use super::wide::WideFloat;

/// The sum of two numbers, of which the second is at most half an ULP of the first. 0 if the first is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Pair {
    hi: f64,
    lo: f64,
}

/// `a + b` and what its rounding leaves out.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let taken = sum - a;
    (sum, (a - (sum - taken)) + (b - taken))
}

/// The same where `b` is not the larger.
#[inline(always)]
fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// A number as the sum of two of 26 bits. Beyond 2^996, they are none.
#[inline(always)]
fn halves(x: f64) -> (f64, f64) {
    let product = x * 134_217_729.0; // 2^27 + 1
    let hi = product - (product - x);
    (hi, x - hi)
}

/// `a b` and what its rounding leaves out.
#[inline(always)]
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let rest = left_out(product, halves(a), halves(b));
    if rest.is_finite() {
        (product, rest)
    } else {
        (product, left_out_of_large(product, a, b))
    }
}

#[inline(always)]
fn left_out(product: f64, (a_hi, a_lo): (f64, f64), (b_hi, b_lo): (f64, f64)) -> f64 {
    ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo
}

/// The same where a half is beyond the range, or a number is not finite: 0 at the end of the range.
#[cold]
fn left_out_of_large(product: f64, a: f64, b: f64) -> f64 {
    const DOWN: f64 = 1.0 / (1_u64 << 28) as f64;
    let scaled_halves = |x: f64| {
        if x.abs() < 1.0 {
            return halves(x);
        }
        let (hi, _) = halves(x * DOWN);
        let hi = hi * (1.0 / DOWN);
        (hi, x - hi)
    };
    let rest = left_out(product, scaled_halves(a), scaled_halves(b));
    if rest.is_finite() { rest } else { 0.0 }
}

impl Pair {
    /// The sum of two numbers, of which the second is not the larger.
    #[inline(always)]
    pub fn of_sum(hi: f64, lo: f64) -> Self {
        let (sum, rest) = fast_two_sum(hi, lo);
        if sum.is_finite() {
            Self { hi: sum, lo: rest }
        } else if hi.is_finite() {
            Self { hi: sum, lo: 0.0 }
        } else {
            Self { hi, lo: 0.0 }
        }
    }

    /// The two numbers.
    #[inline(always)]
    pub fn parts(self) -> [f64; 2] {
        [self.hi, self.lo]
    }

    /// A constant, in two parts.
    pub const fn constant(hi: f64, lo: f64) -> Self {
        Self { hi, lo }
    }

    /// The product with a power of two, within the range of normal numbers.
    #[inline(always)]
    fn times_power(self, power: f64) -> Self {
        Self {
            hi: self.hi * power,
            lo: self.lo * power,
        }
    }
}

impl From<f64> for Pair {
    #[inline(always)]
    fn from(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }
}

impl Add for Pair {
    type Output = Self;
    #[inline(never)]
    fn add(self, other: Self) -> Self {
        let (hi, rest) = two_sum(self.hi, other.hi);
        if !hi.is_finite() {
            return Self::from(hi);
        }
        let (lo, least) = two_sum(self.lo, other.lo);
        let (hi, lo) = fast_two_sum(hi, rest + lo);
        Self::of_sum(hi, lo + least)
    }
}

impl Neg for Pair {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for Pair {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Pair {
    type Output = Self;
    #[inline(never)]
    fn mul(self, other: Self) -> Self {
        let (hi, rest) = two_product(self.hi, other.hi);
        Self::of_sum(hi, rest + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div for Pair {
    type Output = Self;
    #[inline(never)]
    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        if !first.is_finite() || first == 0.0 || !other.hi.is_finite() {
            return Self::from(first);
        }
        // What a long division leaves after its first digit, exactly but for the low parts.
        let (product, rest) = two_product(first, other.hi);
        if product.abs() > 1.071_508_607_186_267_3e301 {
            // Beyond 2^1000: of a quotient that is rounded up, the product may be infinite, or a product of halves.
            const UP: f64 = 18_446_744_073_709_551_616.0; // 2^64
            let quotient = self.times_power(1.0 / UP) / other;
            return Self::of_sum(quotient.hi * UP, quotient.lo * UP);
        }
        let left = ((self.hi - product) - rest) + (self.lo - first * other.lo);
        Self::of_sum(first, left / other.hi)
    }
}

impl AddAssign for Pair {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Pair {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl MulAssign for Pair {
    #[inline(always)]
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl Merge for Pair {
    fn merge(self, right: Self) -> Self {
        self + right
    }
}

/// `1 / (2 k + 7)`: what comes in `atanh(s) / s` after the power `s^4`.
const ATANH_TAIL: [f64; 10] = {
    let mut c = [0.0; 10];
    let mut k = 0;
    while k < c.len() {
        c[k] = 1.0 / (2 * k + 7) as f64;
        k += 1;
    }
    c
};

/// `1 / (k + 3)!`
const EXP_TAIL: [f64; 8] = {
    let mut c = [1.0 / 6.0; 8];
    let mut k = 1;
    while k < c.len() {
        c[k] = c[k - 1] / (k + 3) as f64;
        k += 1;
    }
    c
};

/// `2^(j/8)`
const EIGHTHS: [Pair; 8] = [
    Pair::constant(1.0, 0.0),
    Pair::constant(1.090_507_732_665_257_7, -3.046_782_079_812_471e-17),
    Pair::constant(1.189_207_115_002_721, 3.982_015_231_465_646e-17),
    Pair::constant(1.296_839_554_651_009_6, 2.538_250_279_488_831_5e-17),
    Pair::constant(SQRT_2, -9.667_293_313_452_913e-17),
    Pair::constant(1.542_210_825_407_940_7, 7.949_834_809_697_621e-17),
    Pair::constant(1.681_792_830_507_429, 8.199_010_020_581_497e-17),
    Pair::constant(1.834_008_086_409_342_4, 3.283_107_224_245_627e-17),
];

/// The polynomial with these coefficients, lowest first.
#[inline(always)]
fn polynomial<const N: usize>(c: &[f64; N], x: f64) -> f64 {
    let mut p = 0.0;
    for c in c.iter().rev() {
        p = p * x + c;
    }
    p
}

/// `1.5 * 2^52`: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `2^n` of an `n` in this range.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "a biased exponent is positive")]
fn power_of_two(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

impl WideFloat for Pair {
    const ZERO: Self = Self::constant(0.0, 0.0);
    const ONE: Self = Self::constant(1.0, 0.0);
    const LN_2: Self = Self::constant(LN_2, 2.319_046_813_846_299_6e-17);

    #[inline(always)]
    fn of(x: f64) -> Self {
        Self::from(x)
    }
    #[inline(always)]
    fn nearest(self) -> f64 {
        self.hi
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.hi.is_nan()
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.hi.is_finite()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        if self.hi.is_sign_negative() {
            -self
        } else {
            self
        }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }
    /// The product is exact, and so is the sum but for its last bits: if those leave it in the middle between two elements, it may round to the other one.
    #[inline(always)]
    fn product_plus(self, s: Self, m: Self) -> Self {
        self * s + m
    }
    #[inline(always)]
    fn by_mask(condition: bool, yes: Self, no: Self) -> Self {
        Self {
            hi: f64::by_mask(condition, yes.hi, no.hi),
            lo: f64::by_mask(condition, yes.lo, no.lo),
        }
    }

    #[inline(never)]
    fn ln_parts(self) -> (Self, Self, Self) {
        // As in `log.rs`: x = 2^k m with m from sqrt(1/2) to sqrt(2).
        const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
        const ONE: u64 = 0x3FF0_0000_0000_0000;
        // Of a number that no logarithm is taken of, too.
        let bits = self.hi.to_bits().wrapping_add(ONE - SQRT_HALF);
        let k = (bits >> 52) as i32 - 1023;
        // In two steps, as one factor may be no normal number.
        let half = k / 2;
        let m = self.times_power(power_of_two(-half));
        let m = m.times_power(power_of_two(half - k));
        let whole = Self::from(f64::from(k)) * Self::LN_2;
        // The difference is exact, as `m` is that near to 1.
        let numerator = Self::of_sum(m.hi - 1.0, m.lo);
        let (sum, rest) = two_sum(1.0, m.hi);
        (whole, numerator, Self::of_sum(sum, rest + m.lo))
    }

    /// `2 s (1 + q / 3 + q^2 T)` with `q = s^2`, at most 2^-5: `q^2 T` is at most 2^-12 of the result, so that 53 bits of it are enough; the eleven terms of
    /// `T` leave out less than 2^-70.
    #[inline(never)]
    fn twice_atanh(self) -> Self {
        const THIRD: Pair = Pair::constant(1.0 / 3.0, 1.850_371_707_708_594e-17);
        let (q, q_lo) = two_product(self.hi, self.hi);
        let q_lo = q_lo + 2.0 * self.hi * self.lo;
        let (third, third_lo) = two_product(q, THIRD.hi);
        let tail = q * q * (0.2 + q * polynomial(&ATANH_TAIL, q));
        let (p, p_lo) = fast_two_sum(third, tail + (third_lo + (q * THIRD.lo + q_lo * THIRD.hi)));
        let twice = self.times_power(2.0);
        let (more, more_lo) = two_product(twice.hi, p);
        let more_lo = more_lo + (twice.hi * p_lo + twice.lo * p);
        let (sum, rest) = fast_two_sum(twice.hi, more);
        Self::of_sum(sum, rest + (twice.lo + more_lo))
    }

    /// `e^x = 2^(n/8) e^r` with `r = x - n ln 2 / 8`, at most 0.0434. Of `e^r`, the terms from `r^3` on are at most 2^-16, so that 53 bits of them are enough.
    #[inline(never)]
    fn exp(self) -> Self {
        let low = self.hi < -700.0;
        let x = if low { Self::from(-700.0) } else { self };
        let x = if x.hi > 700.0 { Self::from(700.0) } else { x };
        let z = x.hi * (8.0 * LOG2_E) + ROUND;
        let n = z - ROUND;
        let step = Self::LN_2.times_power(0.125);
        let (steps, rest) = two_product(n, step.hi);
        let (r, r_lo) = two_sum(x.hi, -steps);
        let (r, r_lo) = fast_two_sum(r, r_lo + (x.lo - (rest + n * step.lo)));
        let (square, square_lo) = two_product(r, r);
        let square_lo = square_lo + 2.0 * r * r_lo;
        let tail = r * square * polynomial(&EXP_TAIL, r);
        let (growth, growth_lo) = fast_two_sum(r, 0.5 * square);
        let growth_lo = growth_lo + (r_lo + (0.5 * square_lo + tail));
        let (sum, rest) = fast_two_sum(1.0, growth);
        // Of a NaN, any.
        let n = n as i32;
        let y = Self::of_sum(sum, rest + growth_lo) * EIGHTHS[(n & 7).unsigned_abs() as usize];
        let y = y.times_power(power_of_two(n >> 3));
        if low { Self::ZERO } else { y }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{EIGHTHS, Pair, WideFloat};
    use crate::kernel::log;

    fn pair(hi: f64, lo: f64) -> Pair {
        Pair::of_sum(hi, lo)
    }

    /// How far a number is from another, of that.
    fn difference(a: Pair, b: Pair) -> f64 {
        ((a - b) / b).abs().nearest()
    }

    fn numbers() -> impl Iterator<Item = Pair> {
        let mut seed = 1_u64;
        let mut uniform = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..20_000).map(move |i| {
            let scale = f64::from(i % 41 - 20).exp2();
            pair(scale * (uniform() + 0.5), scale * 1e-17 * (uniform() - 0.5))
        })
    }

    /// What they undo, they undo to the last bits.
    #[test]
    fn inverses() {
        let bound = (-100_f64).exp2();
        let (mut sum, mut product, mut logarithm) = (0.0_f64, 0.0_f64, 0.0_f64);
        let all: Vec<Pair> = numbers().collect();
        for (&a, &b) in all.iter().zip(&all[1..]) {
            sum = sum.max(((a + b) - b - a).abs().nearest() / (a + b).nearest());
            product = product.max(difference(a * b / b, a));
            logarithm = logarithm.max(difference(log::ln(a).exp(), a));
        }
        println!("{sum:e} {product:e} {logarithm:e}");
        assert!(sum < bound && product < bound, "{sum:e} {product:e}");
        assert!(logarithm < (-64_f64).exp2(), "{logarithm:e}");
    }

    /// As often as it takes, they come back to where they were.
    #[test]
    fn eighths() {
        for (j, eighth) in EIGHTHS.into_iter().enumerate() {
            let square = |x: Pair| x * x;
            let eight_times = square(square(square(eighth)));
            let power = Pair::of((1_u32 << j).into());
            assert!(difference(eight_times, power) < (-100_f64).exp2(), "{j}");
        }
    }

    /// Of numbers that are known: `e`, `ln 10` (in two parts, as given by mpmath).
    #[test]
    fn constants() {
        let e = pair(core::f64::consts::E, 1.445_646_891_729_250_2e-16);
        let ln_10 = pair(core::f64::consts::LN_10, -2.170_756_223_382_249_4e-16);
        let bound = (-66_f64).exp2();
        assert!(difference(Pair::ONE.exp(), e) < bound);
        assert!(difference(log::ln(Pair::of(10.0)), ln_10) < (-62_f64).exp2());
        assert!(difference(log::ln(e), Pair::ONE) < (-62_f64).exp2());
        assert!(difference(Pair::of(690.0).exp() * Pair::of(-690.0).exp(), Pair::ONE) < bound);
    }

    /// The logarithm of the exponential, near 0 too, where it is taken of what is above 1.
    #[test]
    fn likely_elements() {
        for i in 1..300 {
            let x = Pair::of((-f64::from(i)).exp2());
            let nll =
                log::negative_log_likelihood(log::by_mask, x, Pair::ONE, Pair::ZERO, Pair::ZERO);
            // ln(1 + x) = x - x^2 / 2 + x^3 / 3 - ..., as far as it shows.
            let mut want = Pair::ZERO;
            for k in (1..120).rev() {
                let term = Pair::ONE / Pair::of(f64::from(k));
                want = (if k % 2 == 1 { term } else { -term }) + want * x;
            }
            assert!(difference(nll, want * x) < (-62_f64).exp2(), "2^-{i}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn ends() {
        let (inf, max) = (Pair::of(f64::INFINITY), Pair::of(f64::MAX));
        assert_eq!((max + max).nearest(), f64::INFINITY);
        assert_eq!((inf + Pair::ONE).nearest(), f64::INFINITY);
        assert_eq!((inf * pair(2.0, 1e-17)).nearest(), f64::INFINITY);
        assert_eq!((Pair::ONE / inf).nearest(), 0.0);
        assert_eq!((Pair::ONE / Pair::ZERO).nearest(), f64::INFINITY);
        assert_eq!((max * Pair::ONE).nearest(), f64::MAX);
        assert_eq!((max / max).nearest(), 1.0);
        for k in 1..100 {
            let k = f64::from(k);
            assert_eq!((max / Pair::of(k)).nearest(), f64::MAX / k);
        }
        assert!((inf - inf).is_nan() && (inf * Pair::ZERO).is_nan());
        assert!(Pair::of(f64::NAN).exp().is_nan());
        assert_eq!(Pair::of(f64::NEG_INFINITY).exp(), Pair::ZERO);
        assert_eq!(Pair::ZERO.exp(), Pair::ONE);
        assert_eq!(log::ln(Pair::ONE), Pair::ZERO);
        assert_eq!(pair(1.0, -1e-17).abs(), pair(-1.0, 1e-17).abs());
    }
}
