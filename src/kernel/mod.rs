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
    let [first, rest @ ..] = coefficients else {
        return V::constant(simd, 0.0);
    };
    let mut p = V::splat(simd, *first);
    for &c in rest {
        p = p.mul_add(x, V::splat(simd, c));
    }
    p
}
