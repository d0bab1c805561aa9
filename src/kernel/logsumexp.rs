//! Log-sum-exp: `ln sum e^x_i`.

use super::shift::Shift;
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
        for (row, result) in rows.zip(results) {
            *result = log_sum_exp::<T::Vector<S>>(simd, row);
        }
    }
}

#[inline(always)]
fn log_sum_exp<V: Vector>(simd: V::Simd, mut row: Row<'_, V::Elem, 1>) -> V::Elem {
    match extent::<V>(simd, row) {
        Extent::Finite(max) => {
            let shift = Shift::new::<V>(max);
            let (sum, _) = weigh::<V, _>(simd, &mut row, &shift, NONE);
            if sum.is_nan() {
                V::Elem::NAN
            } else {
                rounded(shift.offset().to_f64() + (log::ln(sum) + shift.ln_unit::<V>()))
            }
        }
        Extent::Masked => V::Elem::NEG_INFINITY,
        Extent::Infinite => V::Elem::INFINITY,
        Extent::Nan => V::Elem::NAN,
    }
}
