//! Operations on each element by itself: the exponential and the sigmoid.

use super::backward::canonical;
use super::exp::exp;
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// `e^x`.
#[derive(Clone, Copy, Debug)]
pub struct Exp;

/// `1 / (1 + e^-x)`.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl<T: Real> Kernel<RowsMut<'_, T, 1>> for Exp {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            row.map(
                simd,
                [T::ZERO],
                #[inline(always)]
                |_, [x]: [T::Vector<S>; 1]| canonical(simd, exp(simd, x)),
            );
        }
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 1>> for Sigmoid {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            row.map(
                simd,
                [T::ZERO],
                #[inline(always)]
                |_, [x]: [T::Vector<S>; 1]| {
                    let zero = T::Vector::splat(simd, T::ZERO);
                    let logistic = Logistic::new(simd, x);
                    let (large, small) = (logistic.large(simd), logistic.small(simd));
                    let hi = T::Vector::select(x.lt(zero), small.0, large.0);
                    let lo = T::Vector::select(x.lt(zero), small.1, large.1);
                    canonical(simd, hi + lo)
                },
            );
        }
    }
}

/// Both probabilities of a logit `x`: with `e = e^-|x|`, the larger is `1 / (1 + e)` and the
/// smaller `e / (1 + e)`.
///
/// Each is a sum `hi + lo` that is good to a small part of an ULP beyond the error of `e`: the
/// rounding of `1 + e` is known exactly, and the remainder of the division where multiply-add is
/// fused.
#[derive(Clone, Copy, Debug)]
pub struct Logistic<V> {
    /// `e^-|x|`
    pub e: V,
    /// `1 + e`, rounded, and what that leaves out.
    sum: V,
    rest: V,
    /// `1 / sum`
    inverse: V,
}

impl<V: Vector> Logistic<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, x: V) -> Self {
        let one = V::splat(simd, V::Elem::ONE);
        let e = exp(simd, V::splat(simd, V::Elem::ZERO) - x.abs());
        let sum = one + e;
        Self {
            e,
            sum,
            rest: e - (sum - one),
            inverse: one / sum,
        }
    }

    /// The probability of the likelier answer.
    #[inline(always)]
    pub fn large(&self, simd: V::Simd) -> (V, V) {
        self.quotient(simd, V::splat(simd, V::Elem::ONE))
    }

    /// The probability of the other one.
    #[inline(always)]
    pub fn small(&self, simd: V::Simd) -> (V, V) {
        self.quotient(simd, self.e)
    }

    /// The numerator divided by `1 + e`, as a sum.
    #[inline(always)]
    fn quotient(&self, simd: V::Simd, numerator: V) -> (V, V) {
        let (hi, remainder) = if V::FUSED {
            let hi = numerator * self.inverse;
            (hi, hi.neg_mul_add(self.sum, numerator))
        } else {
            // What is left of this division cannot be told.
            (numerator / self.sum, V::splat(simd, V::Elem::ZERO))
        };
        (hi, (remainder - hi * self.rest) * self.inverse)
    }
}
