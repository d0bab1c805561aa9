//! Log-sum-exp: `ln sum e^x_i`.

use core::slice;

use super::block::{self, Block, ROWS, Work};
use super::shift::{Shift, Shifts};
use super::weights::{Extent, NONE, extent, weigh};
use super::{log, rounded};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Row, Rows};
use crate::simd::{Kernel, Simd, Vector};

/// The log-sum-exp of each row, one result per row.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp;

impl<T: Element> Kernel<(Rows<'_, T, 1>, &mut [T])> for LogSumExp {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, results): (Rows<'_, T, 1>, &mut [T])) {
        block::each::<T::Vector<S>, _, 1>(simd, rows, &mut Results(results.iter_mut()));
    }
}

/// Where the next results go.
struct Results<'a, T>(slice::IterMut<'a, T>);

impl<'a, V: Vector> Work<V, Rows<'a, V::Elem, 1>> for Results<'_, V::Elem> {
    type Prepared = (Shifts<V>, [f64; ROWS]);

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: &Rows<'a, V::Elem, 1>,
    ) -> Option<Self::Prepared> {
        let shifts = block.read_shifts(simd, rows)?;
        let sums = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |_, _, weights| weights,
        )?;
        Some((shifts, sums))
    }

    #[inline(always)]
    fn finish(
        &mut self,
        _: V::Simd,
        _: &mut Block<V>,
        _: Rows<'a, V::Elem, 1>,
        (shifts, mut sums): Self::Prepared,
    ) {
        for (sum, ln_unit) in sums.iter_mut().zip(shifts.ln_unit()) {
            *sum = log::ln(*sum) + ln_unit;
        }
        // The results last: one would be lost if they were asked first.
        for (sum, result) in sums.into_iter().zip(self.0.by_ref()) {
            *result = rounded(sum);
        }
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: Row<'a, V::Elem, 1>,
        max: Option<V>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> Option<V> {
        let (lse, next_max) = match extent::<V>(simd, row, max) {
            Extent::Finite(max) => {
                let shift = Shift::new::<V>(max);
                let weighed = weigh::<V, _>(simd, &mut row, &shift, NONE, ahead);
                let lse = if weighed.sum.is_nan() {
                    V::Elem::NAN
                } else {
                    let log = log::ln(weighed.sum) + shift.ln_unit::<V>();
                    rounded(shift.offset().to_f64() + log)
                };
                (lse, weighed.next_max)
            }
            Extent::Masked => (V::Elem::NEG_INFINITY, None),
            Extent::Infinite => (V::Elem::INFINITY, None),
            Extent::Nan => (V::Elem::NAN, None),
        };
        if let Some(result) = self.0.next() {
            *result = lse;
        }
        next_max
    }
}
