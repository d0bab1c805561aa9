//! Softmax: `p_i = w_i / sum w`.

use super::MaskedRows;
use super::block::{self, Block, ROWS, Work};
use super::shift::{Shift, Shifts};
use super::weights::{Extent, NONE, extent, scale, scales, weigh};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, Row, RowMut, RowsMut};
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
        block::each::<T::Vector<S>, _, 1>(simd, rows, &mut { *self });
    }
}

impl<'a, V: Vector> Work<V, RowsMut<'a, V::Elem, 1>> for Softmax {
    type Prepared = (Shifts<V>, [f64; ROWS]);

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: &RowsMut<'a, V::Elem, 1>,
    ) -> Option<Self::Prepared> {
        let shifts = block.read_shifts(simd, rows)?;
        let sums = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |_, x, weights| {
                *x = weights.rounded;
                weights
            },
        )?;
        Some((shifts, sums))
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        mut rows: RowsMut<'a, V::Elem, 1>,
        (shifts, mut factors): Self::Prepared,
    ) {
        for factor in &mut factors {
            *factor = 1.0 / *factor;
        }
        let factors = scales(simd, &shifts, factors);
        for weight in block.columns() {
            *weight = factors.times(*weight);
        }
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: RowMut<'a, V::Elem, 1>,
        max: Option<V>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> Option<V> {
        let max = match extent::<V>(simd, row.source(), max) {
            Extent::Finite(max) => max,
            Extent::Masked if self.masked_rows == MaskedRows::Zero => {
                row.fill(V::Elem::ZERO);
                return None;
            }
            Extent::Masked | Extent::Infinite | Extent::Nan => {
                row.fill(V::Elem::NAN);
                return None;
            }
        };
        let shift = Shift::new::<V>(max);
        let weighed = weigh::<V, _>(simd, &mut row, &shift, NONE, ahead);
        if weighed.sum.is_nan() {
            row.fill(V::Elem::NAN);
        } else {
            scale::<V, _>(simd, &mut row, weighed.heaviest, 1.0 / weighed.sum);
        }
        weighed.next_max
    }
}
