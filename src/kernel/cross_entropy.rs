//! Cross-entropy of a row and its target class `t`, `L = -ln p_t`, and its gradient `p - t`.
//!
//! The target is left out of the sum. So where `p_t` is near 1, `L = ln(1 + others / w_t)` and
//! `dL/dx_t = p_t - 1 = -others / sum` keep full relative accuracy, down to the last row that is
//! not quite sure.

use super::shift::Shift;
use super::weights::{Extent, extent, scale, weigh};
use super::{MaskedRows, log, rounded, tree};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, Rows, RowsMut, Split};
use crate::simd::{Kernel, Simd, Vector};
use crate::targets::Targets;

/// The sum of the losses of the rows; the losses one by one, where there is a slice for them; and
/// the gradient, where the rows have a destination.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    pub masked_rows: MaskedRows,
    /// What every gradient is multiplied by.
    pub grad_scale: f64,
}

impl<T: Element> Kernel<(Rows<'_, T, 1>, Targets<'_>, Option<&mut [T]>)> for CrossEntropy {
    type Output = f64;

    #[inline(always)]
    fn simd<S: Simd>(
        &self,
        simd: S,
        (rows, targets, losses): (Rows<'_, T, 1>, Targets<'_>, Option<&mut [T]>),
    ) -> f64 {
        self.batch::<T::Vector<S>, _>(simd, rows, targets, losses)
    }
}

impl<T: Element> Kernel<(RowsMut<'_, T, 1>, Targets<'_>, Option<&mut [T]>)> for CrossEntropy {
    type Output = f64;

    #[inline(always)]
    fn simd<S: Simd>(
        &self,
        simd: S,
        (rows, targets, losses): (RowsMut<'_, T, 1>, Targets<'_>, Option<&mut [T]>),
    ) -> f64 {
        self.batch::<T::Vector<S>, _>(simd, rows, targets, losses)
    }
}

impl CrossEntropy {
    #[inline(always)]
    fn batch<V: Vector, P: Pass<V::Elem, 1>>(
        self,
        simd: V::Simd,
        mut rows: impl Split + Iterator<Item = P>,
        targets: Targets<'_>,
        mut losses: Option<&mut [V::Elem]>,
    ) -> f64 {
        tree::sum(
            targets.len(),
            #[inline(always)]
            |i| {
                let Some(mut row) = rows.next() else {
                    return 0.0;
                };
                let loss = if let Some(target) = targets.get(i) {
                    self.row::<V, _>(simd, &mut row, target)
                } else {
                    row.fill(V::Elem::ZERO);
                    0.0
                };
                if let Some(losses) = &mut losses {
                    losses[i] = rounded(loss);
                }
                loss
            },
        )
    }

    #[inline(always)]
    fn row<V: Vector, P: Pass<V::Elem, 1>>(self, simd: V::Simd, row: &mut P, target: usize) -> f64 {
        let max = match extent::<V>(simd, row.source()) {
            Extent::Finite(max) => max,
            // No probability for any class, the target's included.
            Extent::Masked if self.masked_rows == MaskedRows::Zero => {
                row.fill(V::Elem::ZERO);
                row.set(target, rounded(-self.grad_scale));
                return f64::INFINITY;
            }
            Extent::Masked | Extent::Infinite | Extent::Nan => {
                row.fill(V::Elem::NAN);
                return f64::NAN;
            }
        };
        let shift = Shift::new::<V>(max);
        let x = row.get(0, target);
        let weight = shift.accurate_weight::<V>(x);
        let (others, heaviest) = weigh::<V, _>(simd, row, &shift, target);
        let sum = others + weight;
        if sum.is_nan() {
            row.fill(V::Elem::NAN);
            return f64::NAN;
        }
        scale::<V, _>(simd, row, heaviest, self.grad_scale / sum);
        row.set(target, rounded(-self.grad_scale * (others / sum)));
        if weight > others {
            log::ln_1p(others / weight)
        } else {
            // The weight may be 0 here; the element itself is not lost.
            (log::ln(sum) + shift.ln_unit::<V>()) - (x.to_f64() - shift.offset().to_f64())
        }
    }
}
