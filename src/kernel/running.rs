//! The sum of the weights of many vectors, in two elements for each lane: as good as one in `f64`, with fewer operations.
//!
//! A sum that is never less than what is added to it tells exactly what it rounds off (Dekker's fast two-sum): of `s' = fl(s + w)`,
//! `w - (s' - s)`. So each lane begins at a power of two above all weights, the *ceiling*, which is subtracted in the end, and what is rounded off
//! has a sum of its own. Where multiply-add is fused, it is that of the weight `T + T g` before it was rounded to `w`: `(T - (s' - s)) + T g`.
//!
//! **Error**, with `u = 2^-24` and `v` vectors, at most 256 ([`CHUNK`](crate::rows::CHUNK)). Let `s` be the ceiling and the weights of a lane. What is rounded off one weight is at most `u s`, and the
//! rounding of that weight; of `i` weights it is at most `(i + 1) u s`. Two roundings of each, and one of each of their sums, leave a lane off by at most
//! `u (2 + ... + (v + 1) + 2 v) u s < (v + 3.5)^2 / 2 u^2 s`. Let the ceiling be at most 2.9 times `r` times the largest
//! weight: then all 16 lanes are off by at most `(v + 3.5)^2 / 2 u^2 (16 * 2.9 r + 1)` of the sum. With `r = 1`, where that weight gave the ceiling, this is 0.10 u of 256 vectors, and less of fewer.
//! If another one gave it, which is not summed, `r` may be up to [`room`](RunningTotal::room): 0.19 u. (Far below the ceiling, only the sum of what is rounded off would have them.)

use super::shift::Weights;
use super::wide::Wide;
use crate::element::sealed::Float as _;
use crate::simd::Vector;

/// A sum of weights, vector by vector.
#[derive(Clone, Copy, Debug)]
pub struct RunningTotal<V> {
    /// Where `high` began.
    ceiling: V,
    /// The ceiling and the weights, rounded.
    high: V,
    /// What was rounded off.
    low: V,
}

impl<V: Vector> RunningTotal<V> {
    /// `log2` of the largest `r` above, of so many vectors, at most 256: 1 of 256, and more of fewer as the square.
    #[inline(always)]
    pub fn room(vectors: usize) -> u32 {
        const MOST: usize = 256 + 4;
        1 + (MOST * MOST / ((vectors + 4) * (vectors + 4))).ilog2()
    }

    /// The sum of nothing, to which weights below the ceiling can be added. It is a power of two.
    #[inline(always)]
    pub fn new(simd: V::Simd, ceiling: V::Elem) -> Self {
        let ceiling = V::splat(simd, ceiling);
        Self {
            ceiling,
            high: ceiling,
            low: V::splat(simd, V::Elem::ZERO),
        }
    }

    #[inline(always)]
    pub fn add(&mut self, weights: Weights<V>) {
        let high = self.high + weights.rounded;
        let added = high - self.high;
        let left = if V::FUSED {
            let Weights { base, growth, .. } = weights;
            base.mul_add(growth, base - added)
        } else {
            weights.rounded - added
        };
        self.low = self.low + left;
        self.high = high;
    }

    /// The sum of each lane.
    #[inline(always)]
    pub fn of_lanes(self, simd: V::Simd) -> V::Sum {
        // Exact: a multiple of what the ceiling is one of, and no larger than the sum.
        let high = self.high - self.ceiling;
        V::sum_add(V::sum_of(simd, high), self.low)
    }

    /// The sum of all lanes.
    #[inline(always)]
    pub fn finish(self, simd: V::Simd) -> Wide<V::Elem> {
        V::sum_total(self.of_lanes(simd))
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::RunningTotal;
    use crate::backend::Backend;
    use crate::kernel::row::tests::Summing;
    use crate::kernel::row::{LeftOut, Ordinary};
    use crate::kernel::shift::Weigh;
    use crate::rows::{CHUNK, Pass as _, Rows};
    use crate::scalar::Scalar;
    use crate::simd::portable::Portable;
    use crate::simd::{Kernel, Simd, Vector};

    /// The largest relative error of the sum of a row, in units of `2^-24`.
    struct Error(Summing);

    impl Kernel<Rows<'_, f32, 1>> for Error {
        type Output = f64;

        #[inline(always)]
        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> f64 {
            let mut worst = 0.0_f64;
            for row in rows {
                let Ordinary {
                    shift, sum, apart, ..
                } = self.0.row::<S::F32>(simd, row);
                assert!(!shift.is_far());
                let weigh = Weigh::<S::F32, false>::new(simd, &shift);
                let (mut exact, mut i) = (0.0, 0);
                row.visit(simd, [0.0], |[x]: [S::F32; 1]| {
                    let weights = weigh.weights(simd, x);
                    let (mut base, mut growth) = ([0.0; 16], [0.0; 16]);
                    weights.base.store_prefix(&mut base);
                    weights.growth.store_prefix(&mut growth);
                    for (base, growth) in base.into_iter().zip(growth) {
                        if i < row.len() && i != apart.index {
                            exact += f64::from(base) * (1.0 + f64::from(growth));
                        }
                        i += 1;
                    }
                });
                worst = worst.max(((sum / exact - 1.0) * f64::from(1 << 24)).abs());
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
    fn assert_within(bound: f64, left_out: LeftOut<f32>, name: &str, x: &[f32], len: usize) -> f64 {
        let mut worst = 0.0_f64;
        for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
            let rows = Rows::new([x], len).unwrap();
            let error = backend.run(&Error(Summing(left_out)), rows);
            assert!(
                error <= bound,
                "{backend:?}, {name}, {len}: {error:.3} u beyond {bound}"
            );
            worst = worst.max(error);
        }
        worst
    }

    /// The bounds at the head of this file.
    #[test]
    fn there_is_room_within_the_bound() {
        for vectors in 1..=CHUNK / 16 {
            let bound = |r: f64| {
                let v = vectors as f64;
                (v + 3.5) * (v + 3.5) / 2.0 * (16.0 * 2.9 * r + 1.0) / f64::from(1 << 24)
            };
            let room = RunningTotal::<<Portable as Simd>::F32>::room(vectors);
            assert!(bound(1.0) <= 0.10 && bound(f64::from(1 << room)) <= 0.19);
            assert!(0.19 < bound(f64::from(4 << room)), "more than is needed");
        }
    }

    /// Rows of equal elements, where many additions err to the same side, and of any. (Of 0.10 u that are derived, 0.0001 are found.)
    #[test]
    fn little_is_lost_of_all_weights() {
        let equal = (0..200).map(|i| i as f32 / -100.0);
        let equal: Vec<f32> = equal.flat_map(|x| [x; CHUNK]).collect();
        let mut random = random();
        let any: Vec<f32> = (0..50 * CHUNK).map(|_| 20.0 * random()).collect();
        let mut worst = 0.0_f64;
        for (name, x) in [("equal", equal), ("any", any)] {
            for len in [65, 100, 1000, CHUNK] {
                let x = &x[..x.len() / len * len];
                worst = worst.max(assert_within(0.002, LeftOut::Nothing, name, x, len));
            }
        }
        println!("{worst:.4} u");
    }

    /// Of what lies below an element that is not summed, within the room and beyond. (Of 0.19 u that are derived, 0.0006 are found.)
    #[test]
    fn little_is_lost_beside_what_is_left_out() {
        let mut random = random();
        let mut worst = [0.0_f64; 2];
        for len in [65, 100, 128, 129, 256, 500, 1000, 1024, 2000, CHUNK] {
            for (name, spread) in [("equal", 0.0), ("octave", 0.7), ("wide", 14.0)] {
                for far in [0, 1] {
                    let mut rows = Vec::new();
                    for step in 0..80 {
                        // Quarters of an octave, beyond all room.
                        let gap = std::f32::consts::LN_2 / 4.0 * (step as f32) * (1.0 + far as f32);
                        let top = (step * 31 + 7 * far) % len;
                        let center = 10.0 * random();
                        // At first without a gap: the largest may be another one.
                        rows.extend((0..len).map(|i| {
                            let below = if i % 97 == 3 { 0.0 } else { spread * random() };
                            center - if i == top { 0.0 } else { gap + below }
                        }));
                    }
                    let error = assert_within(0.002, LeftOut::Maximum, name, &rows, len);
                    worst[far] = worst[far].max(error);
                }
            }
        }
        println!("{worst:.4?} u");
    }

    fn random() -> impl FnMut() -> f32 {
        let mut state = 1_u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        }
    }
}
