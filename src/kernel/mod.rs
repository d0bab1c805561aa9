//! The row kernels, each written once over the vector trait: one file an operation, and the
//! mechanisms that they share. No `unsafe`, and `cfg` only here.

pub mod abreast;
pub mod block;
pub mod chunks;
#[cfg(feature = "f64")]
pub mod double;
pub mod entropy;
pub mod exp;
pub mod log;
mod narrow;
#[cfg(feature = "f64")]
pub mod pair;
pub mod row;
mod running;
pub mod scale;
pub mod shift;
#[cfg_attr(not(feature = "rayon"), allow(dead_code, reason = "of use to threads"))]
pub mod step;
pub mod total;
pub mod tree;
pub mod weights;
pub mod wide;

pub mod backward;
pub mod binary_cross_entropy;
pub mod cross_entropy;
pub mod elementwise;
pub mod log_softmax;
pub mod logsumexp;
pub mod masked;
pub mod masked_backward;
pub mod masks;
pub mod partial;
pub mod reduce;
pub mod soft_cross_entropy;
pub mod softmax;
pub mod weighted_binary;
#[cfg(all(feature = "linear", feature = "half"))]
pub mod widen;

use weights::Extent;
use wide::Wide;

use crate::element::Real;
use crate::simd::Vector;

/// What a row gets that has no element to share probability: every logit is `-inf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskedRows {
    /// NaN, as in `PyTorch`: 0 divided by 0.
    #[default]
    Nan,
    /// Every probability 0.
    Zero,
}

impl MaskedRows {
    /// Whether it gives zeros to a row of this extent.
    #[inline(always)]
    fn gives_zeros<T: Real>(self, extent: Extent<T>) -> bool {
        self == Self::Zero && extent == Extent::Masked
    }
}

/// A result of the scalar tail, rounded; NaN is the canonical one, and 0 is positive.
#[inline(always)]
pub fn rounded<T: Real>(x: Wide<T>) -> T {
    let y = T::from_wide(x);
    if y.is_nan() {
        T::NAN
    } else if y == T::ZERO {
        T::ZERO
    } else {
        y
    }
}

/// The polynomial in `x` with these coefficients, highest power first (Horner's scheme).
#[inline(always)]
pub fn polynomial<V: Vector>(simd: V::Simd, coefficients: &[V::Elem], x: V) -> V {
    let [p] = polynomials(simd, coefficients, [x]);
    p
}

/// The same of several vectors, [side by side](side_by_side).
#[inline(always)]
pub fn polynomials<V: Vector, const G: usize>(
    simd: V::Simd,
    coefficients: &[V::Elem],
    x: [V; G],
) -> [V; G] {
    let [first, rest @ ..] = coefficients else {
        return [V::constant(simd, 0.0); G];
    };
    let mut p = [V::splat(simd, *first); G];
    for &c in rest {
        p = side_by_side(
            p,
            #[inline(always)]
            |i, p| p.mul_add(x[i], V::splat(simd, c)),
        );
    }
    p
}

/// One step of several vectors: none takes the next one before all have taken this.
///
/// The steps of one vector wait for each other, and a processor looks only some hundred instructions ahead. If the next vectors come after all
/// steps of this one, few are within its sight; if their steps alternate, there is always one that need not wait. It is for speed alone.
#[inline(always)]
pub fn side_by_side<V: Vector, const G: usize>(
    mut x: [V; G],
    mut step: impl FnMut(usize, V) -> V,
) -> [V; G] {
    for (i, x) in x.iter_mut().enumerate() {
        let y = step(i, *x);
        *x = if const { G > 1 } { y.in_order() } else { y };
    }
    x
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::elementwise::Logistic;
    use super::exp::exps;
    use super::scale::Scale;
    use super::shift::{Shift, Weigh};
    use crate::backend::Backend;
    use crate::rows::Rows;
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    /// Makes exponentials, weights and sigmoids of four vectors, and of each by itself.
    struct SideBySide;

    fn bits<V: Vector<Elem = f32>>(x: V) -> [u32; 16] {
        x.lanes().map(f32::to_bits)
    }

    impl Kernel<Rows<'_, f32, 1>> for SideBySide {
        type Output = ();

        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) {
            for row in rows {
                let four: [_; 4] =
                    core::array::from_fn(|i| row.vector_or::<S::F32>(simd, i, f32::NEG_INFINITY));
                for max in [3.0, 1e6] {
                    let shift = Shift::new::<S::F32>(max, &Scale::one());
                    let (near, far) = (
                        Weigh::<S::F32, false>::new(simd, &shift),
                        Weigh::<S::F32, true>::new(simd, &shift),
                    );
                    let weights = [near.weights_of(simd, four), far.weights_of(simd, four)];
                    for (i, x) in four.into_iter().enumerate() {
                        let single = [near.weights(simd, x), far.weights(simd, x)];
                        for (single, weights) in single.into_iter().zip(weights) {
                            assert_eq!(bits(single.rounded), bits(weights[i].rounded));
                            assert_eq!(bits(single.base), bits(weights[i].base));
                            assert_eq!(bits(single.growth), bits(weights[i].growth));
                        }
                    }
                }
                let (all, logistics) = (exps(simd, four), Logistic::several(simd, four));
                for (i, x) in four.into_iter().enumerate() {
                    let [single] = exps(simd, [x]);
                    assert_eq!(bits(single), bits(all[i]));
                    let (yes, rest) = Logistic::new(simd, x).yes(simd);
                    let (expected, expected_rest) = logistics[i].yes(simd);
                    assert_eq!(bits(yes), bits(expected));
                    assert_eq!(bits(rest), bits(expected_rest));
                }
            }
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for SideBySide {
        fn scalar(&self, _: Rows<'_, f32, 1>) {}
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn four_vectors_are_as_each_by_itself() {
        let mut bits = 1_u32;
        let x: Vec<f32> = (0..64 * 2000)
            .map(|i| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Ordinary logits, and any number; not NaN, whose payload may be of one or of another.
                let x = f32::from_bits(bits);
                if i % 3 == 0 && !x.is_nan() {
                    x
                } else {
                    (bits >> 8) as f32 / (1 << 18) as f32 - 50.0
                }
            })
            .collect();
        for backend in Backend::available() {
            backend.run(&SideBySide, Rows::new([&x], 64).unwrap());
        }
    }
}
