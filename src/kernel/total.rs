//! The sum of the weights of few vectors, from what they are before they are rounded.
//!
//! A weight is `T + T g`. In `f64`, the sum of `T` has next to no error. The other part, at most 0.0444 of
//! that, is summed in `f32` by one multiply-add a vector, of at most four, and the lanes are added up in `f32` too, by four additions: eight in a row leave an error of at most `8 * 0.0444 u`, 0.36 u of the
//! sum, where `u = 2^-24`. So the sum of rounded weights would be off by their 1.1 u, this one by 0.36 u
//! and the errors of `T + T g`, 0.18 u. (Rows of `f64` have no conversions to save, and a sum of the other part as good as the first.)
//!
//! Of more vectors, `running.rs` has fewer operations.

use super::running::RunningTotal;
use super::shift::Weights;
use super::wide::Wide;
use crate::element::sealed::Float as _;
use crate::simd::Vector;

/// The most vectors that are summed this way.
pub const FEW_VECTORS: usize = 4;

/// A sum of weights, vector by vector.
#[derive(Clone, Copy, Debug)]
pub struct Total<V: Vector> {
    /// Of `T`. Of rounded weights, where multiply-add is not fused.
    sum: V::Sum,
    /// Of `T g`.
    rest: V,
}

impl<V: Vector> Total<V> {
    /// Whether there is another part.
    const IN_PARTS: bool = V::FUSED;
    /// Whether the lanes of that are added up in elements.
    const IN_ELEMENTS: bool = Self::IN_PARTS && size_of::<V::Elem>() == size_of::<f32>();

    /// The sum of nothing.
    #[inline(always)]
    pub fn new(simd: V::Simd) -> Self {
        Self {
            sum: V::sum_zero(simd),
            rest: V::splat(simd, V::Elem::ZERO),
        }
    }

    /// The sum of one vector.
    #[inline(always)]
    pub fn of(simd: V::Simd, weights: Weights<V>) -> Self {
        Self {
            sum: V::sum_of(simd, weights.base),
            rest: weights.base.small_product(simd, weights.growth),
        }
    }

    /// The sum of each lane, of few vectors, as it is [merged](Self::merge).
    #[inline(always)]
    pub fn of_lanes(mut self) -> Self {
        if Self::IN_PARTS && !Self::IN_ELEMENTS {
            self.sum = V::sum_add(self.sum, self.rest);
        }
        self
    }

    /// The sums of both, lane by lane.
    #[inline(always)]
    pub fn merge(self, other: Self) -> Self {
        Self {
            sum: V::sum_merge(self.sum, other.sum),
            rest: if Self::IN_ELEMENTS {
                self.rest + other.rest
            } else {
                self.rest
            },
        }
    }

    /// The numbers that are merged, each of a lane.
    #[inline(always)]
    pub fn lanes(self) -> [Wide<V::Elem>; 16] {
        let mut lanes = V::sum_lanes(self.sum);
        if Self::IN_ELEMENTS {
            for (lane, rest) in lanes.iter_mut().zip(self.rest.widen()) {
                *lane += rest;
            }
        }
        lanes
    }

    /// Adds the weights of one vector more, of [`FEW_VECTORS`] in all.
    #[inline(always)]
    pub fn add(&mut self, weights: Weights<V>) {
        self.sum = V::sum_add(self.sum, weights.base);
        if Self::IN_PARTS {
            self.rest = weights.base.mul_add(weights.growth, self.rest);
        }
    }

    /// The sum of all lanes.
    #[inline(always)]
    pub fn finish(self) -> Wide<V::Elem> {
        if !Self::IN_PARTS {
            V::sum_total(self.sum)
        } else if Self::IN_ELEMENTS {
            V::sum_total(self.sum) + self.rest.reduce_sum().to_wide()
        } else {
            V::sum_total(V::sum_add(self.sum, self.rest))
        }
    }
}

/// The sums of sixteen rows, a row in a vector.
#[derive(Debug)]
pub struct Totals<V: Vector> {
    sums: [V::Sum; 16],
    rests: [V; 16],
}

impl<V: Vector> Totals<V> {
    /// Sums of nothing.
    #[inline(always)]
    pub fn new(simd: V::Simd) -> Self {
        let Total { sum, rest } = Total::new(simd);
        Self {
            sums: [sum; 16],
            rests: [rest; 16],
        }
    }

    /// Sets that of a row.
    #[inline(always)]
    pub fn set(&mut self, row: usize, total: Total<V>) {
        let Total { sum, rest } = total.of_lanes();
        (self.sums[row], self.rests[row]) = (sum, rest);
    }

    /// Sets that of a row of many vectors.
    #[inline(always)]
    pub fn set_running(&mut self, simd: V::Simd, row: usize, total: RunningTotal<V>) {
        self.sums[row] = total.of_lanes(simd);
    }

    /// [`RunningTotal::finish`] of each.
    #[inline(always)]
    pub fn finish_running(&self) -> [Wide<V::Elem>; 16] {
        V::totals(&self.sums)
    }

    /// [`Total::finish`] of each.
    #[inline(always)]
    pub fn finish(&self, simd: V::Simd) -> [Wide<V::Elem>; 16] {
        let mut totals = V::totals(&self.sums);
        if Total::<V>::IN_ELEMENTS {
            let rests = V::sum_of_each(simd, &self.rests).widen();
            for (total, rest) in totals.iter_mut().zip(rests) {
                *total += rest;
            }
        }
        totals
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{FEW_VECTORS, Total};
    use crate::backend::Backend;
    use crate::kernel::scale::Scale;
    use crate::kernel::shift::{Shift, Weigh};
    use crate::rows::{Pass as _, Rows};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    /// The largest relative error of the sum of a row, in units of `2^-24`.
    struct Error;

    impl Kernel<Rows<'_, f32, 1>> for Error {
        type Output = f64;

        #[inline(always)]
        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> f64 {
            let weigh =
                Weigh::<S::F32, false>::new(simd, &Shift::new::<S::F32>(0.0, &Scale::one()));
            let mut worst = 0.0_f64;
            for mut row in rows {
                let (mut total, mut exact) = (Total::new(simd), 0.0);
                row.map(simd, [0.0], |_, [x]: [S::F32; 1]| {
                    let weights = weigh.weights(simd, x);
                    total.add(weights);
                    let (mut base, mut growth) = ([0.0; 16], [0.0; 16]);
                    weights.base.store_prefix(&mut base);
                    weights.growth.store_prefix(&mut growth);
                    for (base, growth) in base.into_iter().zip(growth) {
                        exact += f64::from(base) * (1.0 + f64::from(growth));
                    }
                    x
                });
                let error = (total.finish() / exact - 1.0) * f64::from(1 << 24);
                worst = worst.max(error.abs());
            }
            worst
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Error {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> f64 {
            unreachable!("the scalar path has no weights")
        }
    }

    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn errors(name: &str, x: &[f32], len: usize) -> impl Iterator<Item = f64> {
        Backend::available()
            .filter(|backend| backend.is_fused())
            .map(move |backend| {
                let error = backend.run(&Error, Rows::new([x], len).unwrap());
                println!("{backend:?}, {name}, {len}: {error:.3} u");
                error
            })
    }

    /// Short rows, whose growths are added up in elements: with growths of one sign as large as they come, and of both.
    /// (Of 0.36 u that are derived, 0.10 are found.)
    #[test]
    fn little_is_lost_between_the_lanes() {
        const ROWS: usize = 2000;
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        // Eighths of an octave, and from there to where the growth is largest.
        let step = core::f32::consts::LN_2 / 8.0;
        for len in [16, 32, 48, FEW_VECTORS * 16] {
            for (name, spread) in [("large", 0.05), ("any", 1.0)] {
                let x: Vec<f32> = (0..ROWS * len)
                    .map(|_| ((random() * -4.0).round() + 0.49 - spread * random()) * step)
                    .collect();
                assert!(errors(name, &x, len).all(|error| error < 0.15));
            }
        }
    }
}
