//! Softmax: `p_i = w_i / sum w`.

use super::MaskedRows;
use super::shift::Shift;
use super::weights::{Extent, NONE, extent, scale, weigh};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// The probabilities of each row.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    pub masked_rows: MaskedRows,
}

impl<T: Element> Kernel<RowsMut<'_, T, 1>> for Softmax {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for row in rows {
            self.row::<T::Vector<S>>(simd, row);
        }
    }
}

impl Softmax {
    #[inline(always)]
    fn row<V: Vector>(self, simd: V::Simd, mut row: RowMut<'_, V::Elem, 1>) {
        let max = match extent::<V>(simd, row.source()) {
            Extent::Finite(max) => max,
            Extent::Masked if self.masked_rows == MaskedRows::Zero => {
                return row.fill(V::Elem::ZERO);
            }
            Extent::Masked | Extent::Infinite | Extent::Nan => return row.fill(V::Elem::NAN),
        };
        let shift = Shift::new::<V>(max);
        let (sum, heaviest) = weigh::<V, _>(simd, &mut row, &shift, NONE);
        if sum.is_nan() {
            return row.fill(V::Elem::NAN);
        }
        scale::<V, _>(simd, &mut row, heaviest, 1.0 / sum);
    }
}
