//! Elements as what they are computed in.

use crate::element::Element;
use crate::simd::{Kernel, Simd, Vector as _};

/// Copies elements to as many of what they are computed in.
#[derive(Clone, Copy, Debug)]
pub struct Widen;

impl<E: Element<Real = f32>> Kernel<(&[E], &mut [f32])> for Widen {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (src, dst): (&[E], &mut [f32])) {
        let (src, tail) = src.as_chunks();
        let (dst, last) = dst.as_chunks_mut();
        for (src, dst) in src.iter().zip(dst) {
            E::load(simd, src).store(dst);
        }
        for (src, dst) in tail.iter().zip(last) {
            *dst = src.to_real();
        }
    }
}
