//! The wide number of `f64`: a sum of two, of about 106 bits.
//!
//! What an addition or a multiplication of two floats leaves out is a float itself, and plain arithmetic finds it (Knuth 1969, Dekker 1971). No multiply-add is
//! used, so the bits are the same on every backend.
//!
//! Out of line, as it is for what is done once a row, in many places: to compile it once costs less than the calls. What is done for sixteen rows at once is compiled for each instruction set, of
//! which it takes the vectors.
//!
//! Relative errors: sums, products and quotients below 2^-100 (a sum of both signs: of the larger), logarithms below 2^-57.9 and `exp` below
//! 2^-61.9. They enter results of 53 bits. Where the second number is not a normal one, or beyond 2^996, it has fewer bits, down to none.

use core::f64::consts::LOG2_E;
use core::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::log::ROUND;
use super::tree::Merge;
use super::wide::WideFloat;
use crate::simd::Simd;

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

    /// The same without a branch, of a sum that is finite if both numbers are; of others, the first.
    #[inline(always)]
    fn of_moderate_sum(hi: f64, lo: f64) -> Self {
        let (sum, rest) = fast_two_sum(hi, lo);
        let is_finite = hi.abs() < f64::INFINITY;
        Self {
            hi: select(is_finite, sum, hi),
            lo: select(is_finite, rest, 0.0),
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

/// `2^480`: nothing on the way to a product or quotient of numbers up to this, and from its inverse on, leaves the range, and what is left out of it is a normal number, or 0.
const LARGE: f64 = 3.121_748_550_315_992_3e144;

#[inline(always)]
fn is_not_large(x: f64) -> bool {
    x.abs() <= LARGE
}

#[inline(always)]
fn is_moderate(x: f64) -> bool {
    is_not_large(x) & (x.abs() >= 1.0 / LARGE)
}

/// The sum of two numbers that are not large, without a branch.
#[inline(always)]
fn moderate_sum(a: Pair, b: Pair) -> Pair {
    let (hi, rest) = two_sum(a.hi, b.hi);
    let (lo, least) = two_sum(a.lo, b.lo);
    let (hi, lo) = fast_two_sum(hi, rest + lo);
    let (hi, lo) = fast_two_sum(hi, lo + least);
    Pair { hi, lo }
}

/// The product of two that are moderate, or 0.
#[inline(always)]
fn moderate_product(a: Pair, b: Pair) -> Pair {
    let product = a.hi * b.hi;
    let rest = left_out(product, halves(a.hi), halves(b.hi));
    let (hi, lo) = fast_two_sum(product, rest + (a.hi * b.lo + a.lo * b.hi));
    Pair { hi, lo }
}

/// The quotient of two that are moderate.
#[inline(always)]
fn moderate_quotient(a: Pair, b: Pair) -> Pair {
    let first = a.hi / b.hi;
    let product = first * b.hi;
    let rest = left_out(product, halves(first), halves(b.hi));
    let left = ((a.hi - product) - rest) + (a.lo - first * b.lo);
    let (hi, lo) = fast_two_sum(first, left / b.hi);
    Pair { hi, lo }
}

/// What `exact` makes of each of sixteen pairs of numbers; `simple` makes the same of those that it is right for, without a branch.
#[inline(always)]
fn of_rows(
    simd: impl Simd,
    a: &[Pair; 16],
    b: &[Pair; 16],
    is_simple: impl Fn(f64) -> bool,
    simple: impl Fn(Pair, Pair) -> Pair,
    exact: impl Fn(Pair, Pair) -> Pair,
) -> [Pair; 16] {
    simd.out_of_line(
        #[inline(always)]
        || {
            let (mut rows, mut all) = (*a, true);
            for i in 0..16 {
                rows[i] = simple(a[i], b[i]);
                all &= is_simple(a[i].hi) & is_simple(b[i].hi);
            }
            if !all {
                for i in 0..16 {
                    rows[i] = exact(a[i], b[i]);
                }
            }
            rows
        },
    )
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

/// `ln 2`, the first part of 36 bits: a product with an integer of 17 is exact, and the sum of both is right to 2^-90.
const LN_2: [f64; 2] = [0.693_147_180_558_298_7, 1.646_594_958_289_708_2e-12];

/// `2^(j/8)`, the first part of 26 bits.
const EIGHTHS: [[f64; 2]; 8] = [
    [1.0, 0.0],
    [1.090_507_745_742_797_9, -1.307_754_019_235_549e-8],
    [1.189_207_106_828_689_6, 8.174_031_491_522_187e-9],
    [1.296_839_565_038_681, -1.038_767_136_433_968_4e-8],
    [1.414_213_567_972_183_2, -5.599_088_178_737_374e-9],
    [1.542_210_817_337_036_1, 8.070_904_690_799_792e-9],
    [1.681_792_825_460_434, 5.046_995_126_101_313e-9],
    [1.834_008_097_648_620_6, -1.123_927_814_198_166_8e-8],
];

/// `1 / (2 k + 3)`: what comes in `atanh(s) / s` after 1, in powers of `s^2` and times it.
const ATANH_TAIL: [f64; 12] = {
    let mut c = [0.0; 12];
    let mut k = 0;
    while k < c.len() {
        c[k] = 1.0 / (2 * k + 3) as f64;
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

/// The polynomial with these coefficients, lowest first. Even and odd powers apart, so that each half waits for half as many additions.
#[inline(always)]
fn polynomial<const N: usize>(c: &[f64; N], x: f64) -> f64 {
    const { assert!(N.is_multiple_of(2)) };
    let square = x * x;
    let (mut even, mut odd) = (c[N - 2], c[N - 1]);
    for k in (0..N / 2 - 1).rev() {
        even = even * square + c[2 * k];
        odd = odd * square + c[2 * k + 1];
    }
    even + odd * x
}

/// The first 26 bits of a number.
#[inline(always)]
fn leading(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & !0x7FF_FFFF)
}

/// One of two, without a branch.
#[inline(always)]
fn select(condition: bool, yes: f64, no: f64) -> f64 {
    f64::by_mask(condition, yes, no)
}

// Logarithm and exponential have no branches, and need no product that is not exact as it stands: of numbers of 26 bits, or of one that is short. So the
// compiler makes vectors of those of sixteen rows.

/// As [`WideFloat::exp`]: `e^x = 2^(n/8) e^r` with `r = x - n ln 2 / 8`, at most 0.0434. Of `e^r`, the terms from `r^2` on are at most 2^-10, so that 53 bits of
/// them are enough.
#[inline(always)]
fn exp(x: Pair) -> Pair {
    let (low, high) = (x.hi < -700.0, x.hi > 700.0);
    let hi = select(low, -700.0, select(high, 700.0, x.hi));
    let lo = select(low | high, 0.0, x.lo);
    let z = hi * (8.0 * LOG2_E) + ROUND;
    let n = z - ROUND;
    // The first difference is exact.
    let (r, r_lo) = fast_two_sum(hi - n * (LN_2[0] / 8.0), lo - n * (LN_2[1] / 8.0));
    let tail = r * r * (0.5 + r * polynomial(&EXP_TAIL, r));
    let (growth, growth_lo) = fast_two_sum(r, tail + (r_lo + r * r_lo));
    // `n` stands in the low bits. (Of a NaN, anything may.)
    let n = z.to_bits();
    let [e, e_lo] = EIGHTHS[(n % 8) as usize];
    let short = leading(growth);
    let (sum, rest) = fast_two_sum(e, e * short);
    let lo = rest + (e_lo + (e * ((growth - short) + growth_lo) + e_lo * growth));
    let power = f64::from_bits(n.wrapping_add(8 * 1023) >> 3 << 52);
    let power = select(low, 0.0, power);
    Pair::of_moderate_sum(sum * power, lo * power)
}

/// `2 atanh(numerator / denominator)` as a sum, up to 0.172 in magnitude. All terms but the first are at most 2^-6.6 of the result, so that 53 bits of them are enough;
/// the twelve of them leave out less than 2^-65.
#[inline(always)]
fn twice_atanh(numerator: Pair, denominator: Pair) -> (f64, f64) {
    // A long division, with a first digit of 26 bits.
    let digit = leading(numerator.hi / denominator.hi);
    let divisor = leading(denominator.hi);
    let left = (numerator.hi - digit * divisor) - digit * (denominator.hi - divisor);
    let left = left + (numerator.lo - digit * denominator.lo);
    let (s, s_lo) = fast_two_sum(digit, left / denominator.hi);
    let q = s * s;
    let more = s * (q * polynomial(&ATANH_TAIL, q)) + (s_lo + s_lo * q);
    (2.0 * s, 2.0 * more)
}

/// `ln(x)` of a positive normal number as `whole ln 2 + 2 atanh(numerator / denominator)`.
#[inline(always)]
fn ln_parts(x: Pair) -> (f64, Pair, Pair) {
    // As in `log.rs`: x = 2^k m with m from sqrt(1/2) to sqrt(2).
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const ONE: u64 = 0x3FF0_0000_0000_0000;
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let bits = x.hi.to_bits().wrapping_add(ONE - SQRT_HALF);
    let biased = bits >> 52;
    let whole = f64::from_bits(TWO_52.to_bits() | biased) - (TWO_52 + 1023.0);
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + SQRT_HALF);
    // By 2^-k in two steps, as one factor may be no normal number.
    let half = biased / 2;
    let power = |bits: u64| f64::from_bits(bits << 52);
    let m_lo = x.lo * power(1023 + 512 - half) * power(1023 + 511 - (biased - half));
    let (sum, rest) = fast_two_sum(1.0, m);
    let numerator = Pair {
        hi: m - 1.0,
        lo: m_lo,
    };
    let denominator = Pair {
        hi: sum,
        lo: rest + m_lo,
    };
    (whole, numerator, denominator)
}

/// `whole ln 2` and such a sum, which is less than that, if it is not 0.
#[inline(always)]
fn ln_of_parts(whole: f64, (atanh, atanh_lo): (f64, f64)) -> Pair {
    let (sum, rest) = fast_two_sum(whole * LN_2[0], atanh);
    let (hi, lo) = fast_two_sum(sum, rest + (atanh_lo + whole * LN_2[1]));
    Pair { hi, lo }
}

#[inline(always)]
fn ln(x: Pair) -> Pair {
    let (whole, numerator, denominator) = ln_parts(x);
    ln_of_parts(whole, twice_atanh(numerator, denominator))
}

/// As that of [`log`](super::log).
#[inline(always)]
fn negative_log_likelihood(others: Pair, weight: Pair, ln_unit: Pair, x: Pair) -> Pair {
    let likely = weight.hi > others.hi;
    let half = others.hi > 0.414 * weight.hi;
    let (hi, rest) = two_sum(others.hi, weight.hi);
    let (hi, lo) = fast_two_sum(hi, rest + (others.lo + weight.lo));
    let (whole, numerator, denominator) = ln_parts(Pair { hi, lo });
    // The others, or those less the weight.
    let less = select(half, weight.hi, 0.0);
    let (above, rest) = two_sum(others.hi, -less);
    let above_lo = rest + (others.lo - select(half, weight.lo, 0.0));
    // The sum and one more weight, or two.
    let times = select(half, 2.0, 1.0);
    let (below, rest) = two_sum(hi, weight.hi * times);
    let below_lo = rest + (lo + weight.lo * times);
    let whole = select(likely, select(half, 1.0, 0.0), whole);
    let numerator = Pair {
        hi: select(likely, above, numerator.hi),
        lo: select(likely, above_lo, numerator.lo),
    };
    let denominator = Pair {
        hi: select(likely, below, denominator.hi),
        lo: select(likely, below_lo, denominator.lo),
    };
    let log = ln_of_parts(whole, twice_atanh(numerator, denominator));
    let (sum, rest) = two_sum(log.hi, ln_unit.hi);
    let (difference, more) = two_sum(sum, -x.hi);
    let difference_lo = more + ((rest + log.lo) + (ln_unit.lo - x.lo));
    Pair::of_moderate_sum(
        select(likely, log.hi, difference),
        select(likely, log.lo, difference_lo),
    )
}

impl WideFloat for Pair {
    const ZERO: Self = Self::constant(0.0, 0.0);
    const ONE: Self = Self::constant(1.0, 0.0);
    const LN_2: Self = Self::constant(core::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);

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
    fn exp(self) -> Self {
        exp(self)
    }
    #[inline(always)]
    fn exp_of_rows(simd: impl Simd, rows: &mut [Self; 16]) {
        simd.out_of_line(
            #[inline(always)]
            || {
                for x in rows {
                    *x = exp(*x);
                }
            },
        );
    }
    #[inline(never)]
    fn ln(self) -> Self {
        ln(self)
    }
    #[inline(always)]
    fn ln_of_rows(simd: impl Simd, rows: &mut [Self; 16]) {
        simd.out_of_line(
            #[inline(always)]
            || {
                for x in rows {
                    *x = ln(*x);
                }
            },
        );
    }
    #[inline(always)]
    fn add_to_rows(simd: impl Simd, rows: &mut [Self; 16], more: [Self; 16]) {
        *rows = Self::sums_of_rows(simd, rows, &more);
    }
    #[inline(always)]
    fn sums_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        of_rows(simd, a, b, is_not_large, moderate_sum, Add::add)
    }
    #[inline(always)]
    fn differences_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        of_rows(
            simd,
            a,
            b,
            is_not_large,
            #[inline(always)]
            |a, b| moderate_sum(a, -b),
            Sub::sub,
        )
    }
    #[inline(always)]
    fn products_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        of_rows(
            simd,
            a,
            b,
            #[inline(always)]
            |x| is_moderate(x) || x == 0.0,
            moderate_product,
            Mul::mul,
        )
    }
    #[inline(always)]
    fn quotients_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        of_rows(simd, a, b, is_moderate, moderate_quotient, Div::div)
    }
    #[inline(always)]
    fn times_ln_2_plus(self, rest: Self) -> Self {
        ln_of_parts(self.hi, (rest.hi, rest.lo))
    }
    #[inline(never)]
    fn negative_log_likelihood(others: Self, weight: Self, ln_unit: Self, x: Self) -> Self {
        negative_log_likelihood(others, weight, ln_unit, x)
    }
    #[inline(always)]
    fn negative_log_likelihoods(
        simd: impl Simd,
        others: &[Self; 16],
        weights: &[Self; 16],
        ln_units: &[Self; 16],
        x: &[Self; 16],
    ) -> [Self; 16] {
        simd.out_of_line(
            #[inline(always)]
            || {
                let mut rows = *others;
                for i in 0..16 {
                    rows[i] = negative_log_likelihood(others[i], weights[i], ln_units[i], x[i]);
                }
                rows
            },
        )
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{EIGHTHS, Pair, WideFloat};
    use crate::backend::Backend;
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd};

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
            logarithm = logarithm.max(difference(a.ln().exp(), a));
        }
        println!("{sum:e} {product:e} {logarithm:e}");
        assert!(sum < bound && product < bound, "{sum:e} {product:e}");
        // That of a series for the logarithm, of at most 0.347, and that of `exp`.
        assert!(logarithm < (-59.1_f64).exp2(), "{logarithm:e}");
    }

    /// As often as it takes, they come back to where they were.
    #[test]
    fn eighths() {
        for (j, [hi, lo]) in EIGHTHS.into_iter().enumerate() {
            assert_eq!(hi.to_bits(), super::leading(hi).to_bits(), "{j}");
            let square = |x: Pair| x * x;
            let eight_times = square(square(square(pair(hi, lo))));
            let power = Pair::of((1_u32 << j).into());
            assert!(difference(eight_times, power) < (-76_f64).exp2(), "{j}");
        }
    }

    /// What is made of sixteen rows: arithmetic, or logarithms and exponentials.
    struct Arithmetic;
    struct Functions;

    impl Kernel<[&[Pair; 16]; 2]> for Arithmetic {
        type Output = [[Pair; 16]; 4];

        fn simd<S: Simd>(&self, simd: S, [a, b]: [&[Pair; 16]; 2]) -> Self::Output {
            [
                Pair::sums_of_rows(simd, a, b),
                Pair::differences_of_rows(simd, a, b),
                Pair::products_of_rows(simd, a, b),
                Pair::quotients_of_rows(simd, a, b),
            ]
        }
    }

    impl Scalar<[&[Pair; 16]; 2]> for Arithmetic {
        fn scalar(&self, _: [&[Pair; 16]; 2]) -> Self::Output {
            unreachable!("the scalar path has no sixteen rows")
        }
    }

    impl Kernel<[&[Pair; 16]; 4]> for Functions {
        type Output = [[Pair; 16]; 3];

        fn simd<S: Simd>(&self, simd: S, [a, b, c, d]: [&[Pair; 16]; 4]) -> Self::Output {
            let (mut exps, mut logs) = (*a, *a);
            Pair::exp_of_rows(simd, &mut exps);
            Pair::ln_of_rows(simd, &mut logs);
            let losses = Pair::negative_log_likelihoods(simd, a, b, c, d);
            [exps, logs, losses]
        }
    }

    impl Scalar<[&[Pair; 16]; 4]> for Functions {
        fn scalar(&self, _: [&[Pair; 16]; 4]) -> Self::Output {
            unreachable!("the scalar path has no sixteen rows")
        }
    }

    fn bits(x: Pair) -> [u64; 2] {
        x.parts().map(f64::to_bits)
    }

    fn vector_backends() -> impl Iterator<Item = Backend> {
        Backend::available().filter(|backend| backend.name() != "scalar")
    }

    #[test]
    fn functions_of_rows_are_those_of_each() {
        let all: Vec<Pair> = numbers().collect();
        let (sixteens, _) = all.as_chunks::<16>();
        for backend in vector_backends() {
            for [a, b, c, d] in sixteens.as_chunks::<4>().0 {
                let [exps, logs, losses] = backend.run(&Functions, [a, b, c, d]);
                for i in 0..16 {
                    assert_eq!(bits(exps[i]), bits(a[i].exp()), "{backend:?}");
                    assert_eq!(bits(logs[i]), bits(a[i].ln()), "{backend:?}");
                    let loss = Pair::negative_log_likelihood(a[i], b[i], c[i], d[i]);
                    assert_eq!(bits(losses[i]), bits(loss), "{backend:?}");
                }
            }
        }
    }

    /// At the ends of what is done without a branch, and of the range, too.
    #[test]
    fn arithmetic_of_rows_is_that_of_each() {
        let all: Vec<Pair> = numbers().collect();
        let ends = [
            0.0, -0.0, 1e-310, 1e-290, 3.2e-145, 3.3e-145, 3.1e144, 3.2e144,
        ];
        let beyond = [
            1e300,
            -1e305,
            f64::MAX,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            -1.5,
        ];
        for backend in vector_backends() {
            let check = |a: &[Pair; 16], b: &[Pair; 16]| {
                let found = backend.run(&Arithmetic, [a, b]);
                for i in 0..16 {
                    let (a, b) = (a[i], b[i]);
                    for (found, want) in found.iter().zip([a + b, a - b, a * b, a / b]) {
                        let is_same = bits(found[i]) == bits(want)
                            || found[i].hi.is_nan() && want.hi.is_nan();
                        assert!(is_same, "{backend:?}: {a:?}, {b:?}: {want:?}");
                    }
                }
            };
            for [a, b] in all.as_chunks::<16>().0.as_chunks::<2>().0 {
                check(a, b);
                for (i, end) in ends.into_iter().chain(beyond).enumerate() {
                    let mut with = *a;
                    with[i] = pair(end, 0.0);
                    check(&with, b);
                    check(b, &with);
                    with[i] = pair(end, end * 1e-17);
                    check(&with, b);
                    check(b, &with);
                    check(&with, &with);
                }
            }
        }
    }

    /// Of numbers that are known: `e`, `ln 10` (in two parts, as given by mpmath).
    #[test]
    fn constants() {
        let e = pair(core::f64::consts::E, 1.445_646_891_729_250_2e-16);
        let ln_10 = pair(core::f64::consts::LN_10, -2.170_756_223_382_249_4e-16);
        let [exp, ln] = [(-61.9_f64).exp2(), (-57.9_f64).exp2()];
        assert!(difference(Pair::ONE.exp(), e) < exp);
        assert!(difference(Pair::of(10.0).ln(), ln_10) < ln);
        assert!(difference(e.ln(), Pair::ONE) < ln);
        assert!(difference(Pair::of(690.0).exp() * Pair::of(-690.0).exp(), Pair::ONE) < 2.0 * exp);
    }

    /// The logarithm of the exponential, near 0 too, where it is taken of what is above 1.
    #[test]
    fn likely_elements() {
        for i in 1..300 {
            let x = Pair::of((-f64::from(i)).exp2());
            let nll = Pair::negative_log_likelihood(x, Pair::ONE, Pair::ZERO, Pair::ZERO);
            // ln(1 + x) = x - x^2 / 2 + x^3 / 3 - ..., as far as it shows.
            let mut want = Pair::ZERO;
            for k in (1..120).rev() {
                let term = Pair::ONE / Pair::of(f64::from(k));
                want = (if k % 2 == 1 { term } else { -term }) + want * x;
            }
            assert!(difference(nll, want * x) < (-57.9_f64).exp2(), "2^-{i}");
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
        assert_eq!(Pair::ONE.ln(), Pair::ZERO);
        assert_eq!(pair(1.0, -1e-17).abs(), pair(-1.0, 1e-17).abs());
    }
}
