//! The numbers that sums over a row, and what is done once a row, are taken in: of about twice as many bits as elements have.

use core::fmt::Debug;
use core::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::{log, masked};
use crate::element::sealed::Float;
use crate::simd::Simd;

/// The wide numbers of an element type.
pub type Wide<T> = <T as Float>::Wide;

/// A wide number. Sums and products are plain arithmetic, whose bits are the same on every backend.
pub trait WideFloat:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    const LN_2: Self;

    /// That number.
    fn of(x: f64) -> Self;
    /// The nearest `f64`.
    fn nearest(self) -> f64;
    fn is_nan(self) -> bool;
    fn is_finite(self) -> bool;
    fn abs(self) -> Self;
    /// The larger of two numbers, neither of which is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers, neither of which is NaN.
    fn min(self, other: Self) -> Self;
    /// `self * s + m` of numbers that are elements, so that it rounds to an element as the exact result does (in pairs, but for one that is within 2^-100 of the middle between two).
    fn product_plus(self, s: Self, m: Self) -> Self;
    /// One of two, both of which are there: see [`log::by_mask`].
    fn by_mask(condition: bool, yes: Self, no: Self) -> Self;

    /// `e^self` up to 700, and that of 700 above; 0 below -700; NaN for NaN.
    fn exp(self) -> Self;
    /// `ln` of a positive normal number.
    fn ln(self) -> Self;
    /// `self ln 2 + rest` of an integer up to 2^17 and less than `ln 2`, as logarithms are added up: that of a power of two is this, bit for bit.
    fn times_ln_2_plus(self, rest: Self) -> Self;
    /// `-ln p` of an element: see [`log::negative_log_likelihood`].
    fn negative_log_likelihood(others: Self, weight: Self, ln_unit: Self, x: Self) -> Self;

    // Those of sixteen rows, with the bits of each. (On the instruction set of a kernel: what is not inlined into it would be compiled for none.)

    fn exp_of_rows(simd: impl Simd, rows: &mut [Self; 16]);
    fn ln_of_rows(simd: impl Simd, rows: &mut [Self; 16]);
    /// (In place: by [`sums_of_rows`](Self::sums_of_rows), log-sum-exp of 2 and 3 classes took 1.11 to 1.15 of the time.)
    fn add_to_rows(simd: impl Simd, rows: &mut [Self; 16], more: [Self; 16]);
    fn sums_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16];
    fn differences_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16];
    fn products_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16];
    fn quotients_of_rows(simd: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16];
    fn negative_log_likelihoods(
        simd: impl Simd,
        others: &[Self; 16],
        weights: &[Self; 16],
        ln_units: &[Self; 16],
        x: &[Self; 16],
    ) -> [Self; 16];
}

impl WideFloat for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LN_2: Self = core::f64::consts::LN_2;

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn nearest(self) -> f64 {
        self
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        f64::max(self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        f64::min(self, other)
    }
    #[inline(always)]
    fn product_plus(self, s: Self, m: Self) -> Self {
        masked::product_plus(self, s, m)
    }
    #[inline(always)]
    fn by_mask(condition: bool, yes: Self, no: Self) -> Self {
        let mask = u64::from(condition).wrapping_neg();
        f64::from_bits(yes.to_bits() & mask | no.to_bits() & !mask)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        log::exp_f64(self)
    }
    #[inline(always)]
    fn exp_of_rows(_: impl Simd, rows: &mut [Self; 16]) {
        for x in rows {
            *x = log::exp_f64(*x);
        }
    }
    #[inline(always)]
    fn ln(self) -> Self {
        log::ln(self)
    }
    #[inline(always)]
    fn ln_of_rows(_: impl Simd, rows: &mut [Self; 16]) {
        for x in rows {
            *x = log::ln(*x);
        }
    }
    #[inline(always)]
    fn times_ln_2_plus(self, rest: Self) -> Self {
        self * Self::LN_2 + rest
    }
    #[inline(always)]
    fn negative_log_likelihood(others: Self, weight: Self, ln_unit: Self, x: Self) -> Self {
        log::negative_log_likelihood(log::by_branch, others, weight, ln_unit, x)
    }
    #[inline(always)]
    fn add_to_rows(_: impl Simd, rows: &mut [Self; 16], more: [Self; 16]) {
        for (x, more) in rows.iter_mut().zip(more) {
            *x += more;
        }
    }
    #[inline(always)]
    fn sums_of_rows(_: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        let mut rows = *a;
        for i in 0..16 {
            rows[i] = a[i] + b[i];
        }
        rows
    }
    #[inline(always)]
    fn differences_of_rows(_: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        let mut rows = *a;
        for i in 0..16 {
            rows[i] = a[i] - b[i];
        }
        rows
    }
    #[inline(always)]
    fn products_of_rows(_: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        let mut rows = *a;
        for i in 0..16 {
            rows[i] = a[i] * b[i];
        }
        rows
    }
    #[inline(always)]
    fn quotients_of_rows(_: impl Simd, a: &[Self; 16], b: &[Self; 16]) -> [Self; 16] {
        let mut rows = *a;
        for i in 0..16 {
            rows[i] = a[i] / b[i];
        }
        rows
    }
    #[inline(always)]
    fn negative_log_likelihoods(
        _: impl Simd,
        others: &[Self; 16],
        weights: &[Self; 16],
        ln_units: &[Self; 16],
        x: &[Self; 16],
    ) -> [Self; 16] {
        let mut rows = *others;
        for i in 0..16 {
            let (others, weight, ln_unit, x) = (others[i], weights[i], ln_units[i], x[i]);
            rows[i] = log::negative_log_likelihood(log::by_mask, others, weight, ln_unit, x);
        }
        rows
    }
}
