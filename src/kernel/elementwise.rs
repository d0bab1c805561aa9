//! Operations on each element by itself: the exponential and the sigmoid.

use super::backward::canonical;
use super::exp::exps;
use super::side_by_side;
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{Map, Pass, Places, RowsMut, of_first};
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
            row.map_several::<T::Vector<S>>(simd, [T::ZERO], Exps { simd, places });
        }
    }
}

/// The exponential of each element of a slice, which is asked for ahead.
struct Exps<V: Vector> {
    simd: V::Simd,
    places: Places<V::Elem, 1>,
}

impl<V: Vector> Map<V, 1> for Exps<V> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 1]; G]) -> [V; G] {
        self.places.ask_ahead_of::<V, G>(self.simd, first);
        side_by_side(
            exps(self.simd, of_first(x)),
            #[inline(always)]
            |_, y| canonical(self.simd, y),
        )
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 1>> for Sigmoid {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            let places = row.source().places();
            row.map_several::<T::Vector<S>>(simd, [T::ZERO], Sigmoids { simd, places });
        }
    }
}

/// The sigmoid of each.
struct Sigmoids<V: Vector> {
    simd: V::Simd,
    places: Places<V::Elem, 1>,
}

impl<V: Vector> Map<V, 1> for Sigmoids<V> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 1]; G]) -> [V; G] {
        self.places.ask_ahead_of::<V, G>(self.simd, first);
        let mut y = of_first(x);
        let logistics = Logistic::several(self.simd, y);
        for (y, logistic) in y.iter_mut().zip(logistics) {
            let (hi, lo) = logistic.yes(self.simd);
            *y = canonical(self.simd, hi + lo);
        }
        y
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
        let zero = V::splat(simd, V::Elem::ZERO);
        let [e] = exps(simd, [zero - x.abs()]);
        Self::of(simd, x, e)
    }

    /// Those of several logits, whose exponentials are made side by side.
    #[inline(always)]
    pub fn several<const G: usize>(simd: V::Simd, x: [V; G]) -> [Self; G] {
        let zero = V::splat(simd, V::Elem::ZERO);
        let e = exps(
            simd,
            side_by_side(
                x,
                #[inline(always)]
                |_, x| zero - x.abs(),
            ),
        );
        let mut all = [Self::of(simd, x[0], e[0]); G];
        for i in 1..G {
            all[i] = Self::of(simd, x[i], e[i]);
        }
        all
    }

    #[inline(always)]
    fn of(simd: V::Simd, x: V, e: V) -> Self {
        let (zero, one) = (V::splat(simd, V::Elem::ZERO), V::splat(simd, V::Elem::ONE));
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
