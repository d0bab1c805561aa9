//! The sum of weights, from what they are before they are rounded.
//!
//! A weight is `T + T g`. In `f64`, the sum of `T` has next to no error. The other part, at most 0.0444 of
//! that, is summed in `f32` by one multiply-add a vector, and moved to the `f64` sum before it has
//! gathered much: eight additions in a row leave an error of at most `8 * 0.0444 u`, 0.36 u of the
//! sum, where `u = 2^-24`. So the sum of rounded weights would be off by their 1.1 u, this one by 0.36 u
//! and the errors of `T + T g`, 0.18 u.

use super::shift::Weights;
use crate::element::sealed::Float as _;
use crate::simd::Vector;

/// Vectors between two moves.
const MOVE: usize = 8;

/// A sum of weights, vector by vector.
#[derive(Clone, Copy, Debug)]
pub struct Total<V: Vector> {
    /// Of `T`, and of what was moved. Of rounded weights, where multiply-add is not fused.
    sum: V::Sum,
    /// Of `T g` since the last move.
    rest: V,
    zero: V,
}

impl<V: Vector> Total<V> {
    /// The sum of nothing.
    #[inline(always)]
    pub fn new(simd: V::Simd) -> Self {
        let zero = V::splat(simd, V::Elem::ZERO);
        Self {
            sum: V::sum_zero(simd),
            rest: zero,
            zero,
        }
    }

    /// Adds the weights of vector `i`, counted from the first one.
    #[inline(always)]
    pub fn add(&mut self, i: usize, weights: Weights<V>) {
        self.sum = V::sum_add(self.sum, weights.base);
        if V::FUSED {
            self.rest = weights.base.mul_add(weights.growth, self.rest);
            if i % MOVE == MOVE - 1 {
                self.sum = V::sum_add(self.sum, self.rest);
                self.rest = self.zero;
            }
        }
    }

    /// The sum of all lanes.
    #[inline(always)]
    pub fn finish(self) -> f64 {
        V::sum_total(if V::FUSED {
            V::sum_add(self.sum, self.rest)
        } else {
            self.sum
        })
    }
}
