//! Log-softmax: `ln p_i = x_i - lse`.
//!
//! An element with `p > 1/2` has its logarithm near 0, where that difference is all rounding: it
//! gets `-ln(1 + others / w)` instead. Only the maximum can be such an element, so it is left out
//! of the sum.

use super::shift::Shift;
use super::weights::{Extent, Factor, extent, weigh};
use super::{MaskedRows, log, rounded};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// The log-probabilities of each row.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmax {
    pub masked_rows: MaskedRows,
}

impl<T: Element> Kernel<RowsMut<'_, T, 1>> for LogSoftmax {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 1>) {
        for row in rows {
            self.row::<T::Vector<S>>(simd, row);
        }
    }
}

impl LogSoftmax {
    #[inline(always)]
    fn row<V: Vector>(self, simd: V::Simd, mut row: RowMut<'_, V::Elem, 1>) {
        let max = match extent::<V>(simd, row.source()) {
            Extent::Finite(max) => max,
            // The logarithm of 0.
            Extent::Masked if self.masked_rows == MaskedRows::Zero => {
                return row.fill(V::Elem::NEG_INFINITY);
            }
            Extent::Masked | Extent::Infinite | Extent::Nan => return row.fill(V::Elem::NAN),
        };
        // There is one: the maximum was found in the row.
        let top = row.source().find::<V>(simd, max).unwrap_or_default();
        let shift = Shift::new::<V>(max);
        let (others, _) = weigh::<V, _>(simd, &mut row.source(), &shift, top);
        let weight = shift.accurate_weight::<V>(max);
        if others.is_nan() {
            return row.fill(V::Elem::NAN);
        }
        let log_sum = log::ln(others + weight) + shift.ln_unit::<V>();
        let log_sum = Factor::new(simd, log_sum);
        let offset = V::splat(simd, shift.offset());
        row.map(
            simd,
            [V::Elem::ZERO],
            #[inline(always)]
            |_, [x]: [V; 1]| log_sum.subtracted_from(x - offset),
        );
        if weight > others {
            row.set(top, rounded(-log::ln_1p(others / weight)));
        }
    }
}
