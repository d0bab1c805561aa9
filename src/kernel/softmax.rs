//! Softmax: `p_i = w_i / sum w`.

use super::MaskedRows;
use super::block::{self, Block, ROWS, Work};
use super::shift::{Shift, Shifts};
use super::weights::{Extent, NONE, extent, scale, scales, weigh};
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
    fn row(&mut self, simd: V::Simd, row: RowMut<'a, V::Elem, 1>) {
        self.alone::<V>(simd, row);
    }
}

impl Softmax {
    #[inline(always)]
    fn alone<V: Vector>(self, simd: V::Simd, mut row: RowMut<'_, V::Elem, 1>) {
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
