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
            let places = row.source().places();
            row.map(
                simd,
                [T::ZERO],
                #[inline(always)]
                |i, [x]: [T::Vector<S>; 1]| {
                    places.ask_ahead::<T::Vector<S>>(simd, i);
                    canonical(simd, exp(simd, x))
                },
            );
        }
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 1>> for Sigmoid {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            let places = row.source().places();
            row.map(
                simd,
                [T::ZERO],
                #[inline(always)]
                |i, [x]: [T::Vector<S>; 1]| {
                    places.ask_ahead::<T::Vector<S>>(simd, i);
                    let (hi, lo) = Logistic::new(simd, x).yes(simd);
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
pub struct Logistic<V: Vector> {
    /// `e^-|x|`
    pub e: V,
    is_negative: V::Mask,
    /// `1 + e`, rounded, and what that leaves out.
    sum: V,
    rest: V,
    /// `1 / sum`
    inverse: V,
}

impl<V: Vector> Logistic<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, x: V) -> Self {
        let (zero, one) = (V::splat(simd, V::Elem::ZERO), V::splat(simd, V::Elem::ONE));
        let e = exp(simd, zero - x.abs());
        let sum = one + e;
        Self {
            e,
            is_negative: x.lt(zero),
            sum,
            rest: e - (sum - one),
            inverse: one / sum,
        }
    }

    /// The probability of "yes".
    #[inline(always)]
    pub fn yes(&self, simd: V::Simd) -> (V, V) {
        let one = V::splat(simd, V::Elem::ONE);
        self.quotient(simd, V::select(self.is_negative, self.e, one))
    }

    /// The probability of "no".
    #[inline(always)]
    pub fn no(&self, simd: V::Simd) -> (V, V) {
        let one = V::splat(simd, V::Elem::ONE);
        self.quotient(simd, V::select(self.is_negative, one, self.e))
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
