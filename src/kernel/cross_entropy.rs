//! Cross-entropy of a row and its target class `t`, `L = -ln p_t`, and its gradient `p - t`.
//!
//! The target is left out of the sum. So where `p_t` is near 1, `L = ln(1 + others / w_t)` and
//! `dL/dx_t = p_t - 1 = -others / sum` keep full relative accuracy, down to the last row that is
//! not quite sure.

use super::block::{self, Block, ROWS, Work, column};
use super::shift::{Shift, Shifts};
use super::weights::{Extent, extent, scale, scales, weigh};
use super::{MaskedRows, log, rounded, tree};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Columns, Pass, Peek, Row, Rows, RowsMut};
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
    fn batch<V: Vector, R>(
        self,
        simd: V::Simd,
        rows: R,
        targets: Targets<'_>,
        losses: Option<&mut [V::Elem]>,
    ) -> f64
    where
        R: Columns<V::Elem> + Peek<V::Elem, 1, Item: Pass<V::Elem, 1>>,
    {
        let mut batch = Batch {
            options: self,
            targets,
            losses,
            sum: tree::Sum::new(),
            prepared: 0,
            done: 0,
        };
        block::each::<V, R, 1>(simd, rows, &mut batch);
        batch.sum.total()
    }
}

/// What goes with the rows of a batch, and how many are done.
struct Batch<'a, T> {
    options: CrossEntropy,
    targets: Targets<'a>,
    losses: Option<&'a mut [T]>,
    sum: tree::Sum,
    /// Rows that are prepared, and those that are finished.
    prepared: usize,
    done: usize,
}

/// Of sixteen rows: the shifts, the targets' columns (-1 for an ignored row) and logits, and the sum of the
/// others' weights.
struct Prepared<V> {
    shifts: Shifts<V>,
    target: V,
    logit: V,
    others: [f64; ROWS],
}

impl<V: Vector, R> Work<V, R> for Batch<'_, V::Elem>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1, Item: Pass<V::Elem, 1>>,
{
    type Prepared = Prepared<V>;

    #[inline(always)]
    fn prepare(&mut self, simd: V::Simd, block: &mut Block<V>, rows: &R) -> Option<Prepared<V>> {
        let mut target = [0.0; ROWS];
        let classes = self.targets.sixteen(self.prepared);
        for (target, class) in target.iter_mut().zip(classes) {
            *target = f64::from(class);
        }
        self.prepared += ROWS;
        let target = V::narrow(simd, &target);
        let shifts = block.read_shifts(simd, rows)?;
        let mut logit = shifts.max;
        let others = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |k, x, weights| {
                let is_target = column::<V>(simd, k).eq(target);
                logit = V::select(is_target, *x, logit);
                *x = weights.rounded;
                weights.without(simd, is_target)
            },
        )?;
        // The sums do not tell of the targets.
        if V::bits(logit.is_nan()) != 0 {
            return None;
        }
        Some(Prepared {
            shifts,
            target,
            logit,
            others,
        })
    }

    #[inline(always)]
    fn finish(&mut self, simd: V::Simd, block: &mut Block<V>, mut rows: R, prepared: Prepared<V>) {
        let Prepared {
            shifts,
            target,
            logit,
            others,
        } = prepared;
        let (logit, ln_unit) = (logit.widen(), shifts.ln_unit());
        let weights = shifts.accurate_weights(logit);
        let counted = target.widen().map(
            #[inline(always)]
            |target| target >= 0.0,
        );
        let mut losses = others;
        for i in 0..ROWS {
            let loss = log::negative_log_likelihood(others[i], weights[i], ln_unit[i], logit[i]);
            losses[i] = if counted[i] { loss } else { 0.0 };
        }
        if R::WRITES {
            let scale = self.options.grad_scale;
            let (mut factors, mut at_target) = (others, others);
            for i in 0..ROWS {
                let factor = scale / (others[i] + weights[i]);
                factors[i] = if counted[i] { factor } else { 0.0 };
                at_target[i] = -(others[i] * factor);
            }
            let factors = scales(simd, &shifts, factors);
            let at_target = V::narrow(simd, &at_target) + V::splat(simd, V::Elem::ZERO);
            for (k, weight) in block.columns().iter_mut().enumerate() {
                let p = factors.times(*weight);
                *weight = V::select(column::<V>(simd, k).eq(target), at_target, p);
            }
            block.write(simd, &mut rows);
        }
        if let Some(slice) = &mut self.losses {
            let slice = &mut slice[self.done..self.done + ROWS];
            for (to, loss) in slice.iter_mut().zip(losses) {
                *to = rounded(loss);
            }
        }
        self.sum.push_sixteen(losses);
        self.done += ROWS;
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: R::Item,
        max: Option<V>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> Option<V> {
        let i = self.done;
        let (loss, next_max) = if let Some(target) = self.targets.get(i) {
            self.options.row::<V, _>(simd, &mut row, target, max, ahead)
        } else {
            row.fill(V::Elem::ZERO);
            (0.0, None)
        };
        if let Some(losses) = &mut self.losses {
            losses[i] = rounded(loss);
        }
        self.sum.push(loss);
        self.done += 1;
        next_max
    }
}

impl CrossEntropy {
    #[inline(always)]
    fn row<V: Vector, P: Pass<V::Elem, 1>>(
        self,
        simd: V::Simd,
        row: &mut P,
        target: usize,
        max: Option<V>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> (f64, Option<V>) {
        let max = match extent::<V>(simd, row.source(), max) {
            Extent::Finite(max) => max,
            // No probability for any class, the target's included.
            Extent::Masked if self.masked_rows == MaskedRows::Zero => {
                row.fill(V::Elem::ZERO);
                row.set(target, rounded(-self.grad_scale));
                return (f64::INFINITY, None);
            }
            Extent::Masked | Extent::Infinite | Extent::Nan => {
                row.fill(V::Elem::NAN);
                return (f64::NAN, None);
            }
        };
        let shift = Shift::new::<V>(max);
        let x = row.get(0, target);
        let weight = shift.accurate_weight::<V>(x);
        let weighed = weigh::<V, _>(simd, row, &shift, target, ahead);
        let others = weighed.sum;
        let sum = others + weight;
        if sum.is_nan() {
            row.fill(V::Elem::NAN);
            return (f64::NAN, weighed.next_max);
        }
        let factor = self.grad_scale / sum;
        scale::<V, _>(simd, row, weighed.heaviest, factor);
        row.set(target, rounded(-(others * factor)));
        let x = x.to_f64() - shift.offset().to_f64();
        let loss = log::negative_log_likelihood(others, weight, shift.ln_unit::<V>(), x);
        (loss, weighed.next_max)
    }
}
