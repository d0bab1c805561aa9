//! Cross-entropy of a row and its target class `t`, `L = -ln p_t`, and its gradient `p - t`.
//!
//! The target is left out of the sum. So where `p_t` is near 1, `L = ln(1 + others / w_t)` and
//! `dL/dx_t = p_t - 1 = -others / sum` keep full relative accuracy, down to the last row that is
//! not quite sure.

use super::block::{self, Block, ROWS, Work, column};
use super::row::{self, LeftOut, Ordinary, Outcome, RowWork};
use super::shift::Shifts;
use super::step::{Open, Shared};
use super::weights::{Extent, scale, scales};
use super::{MaskedRows, log, rounded, tree};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Columns, Pass, Peek, Recut, Row, Rows, RowsMut};
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
            upcoming: targets.sixteen(0),
            targets,
            losses,
            sum: tree::Sum::new(),
            prepared: 0,
            done: 0,
        };
        block::each::<V, R, _, 1>(simd, rows, &mut batch);
        batch.sum.total()
    }
}

/// What goes with the rows of a batch, and how many are done.
struct Batch<'a, T> {
    options: CrossEntropy,
    targets: Targets<'a>,
    /// The targets of the next sixteen rows to prepare. Had just before they are used, they would be waited for: they are written one
    /// by one, and read as vectors.
    upcoming: [i32; ROWS],
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
    const LEAST: usize = 6;
    type Prepared = Prepared<V>;

    #[inline(always)]
    fn prepare(&mut self, simd: V::Simd, block: &mut Block<V>, rows: &R) -> Option<Prepared<V>> {
        let mut target = [0.0; ROWS];
        for (target, class) in target.iter_mut().zip(self.upcoming) {
            *target = f64::from(class);
        }
        self.prepared += ROWS;
        self.upcoming = self.targets.sixteen(self.prepared);
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
            let (others, weight) = (others[i], weights[i]);
            let loss =
                log::negative_log_likelihood(log::by_mask, others, weight, ln_unit[i], logit[i]);
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
            for (to, loss) in slice[self.done..].iter_mut().zip(losses) {
                *to = rounded(loss);
            }
        }
        self.sum.push_first(losses, rows.rows());
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
            let work = self.options.toward(target, row.get(0, target));
            let (outcome, next_max) = row::row(simd, &mut row, &work, max, ahead);
            (self.options.loss::<V>(&outcome), next_max)
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
    /// The work on a row with this target and its logit.
    #[inline(always)]
    fn toward<T: Element>(&self, target: usize, logit: T) -> Toward<T> {
        Toward {
            options: *self,
            target,
            logit,
        }
    }

    /// The loss of a row.
    #[inline(always)]
    fn loss<V: Vector>(&self, outcome: &Outcome<V::Elem>) -> f64 {
        match *outcome {
            Outcome::Ordinary(row) => row.loss::<V>(),
            Outcome::Special(extent) if self.masked_rows.gives_zeros(extent) => f64::INFINITY,
            Outcome::Special(_) => f64::NAN,
        }
    }
}

/// The work on one row with a target, whose logit is known.
#[derive(Clone, Copy, Debug)]
pub struct Toward<T> {
    options: CrossEntropy,
    target: usize,
    logit: T,
}

impl<T: Element> RowWork<T> for Toward<T> {
    const KEEPS_WEIGHTS: bool = true;

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Element(self.target, self.logit)
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        let factor = self.options.grad_scale / (weighed.sum + weighed.apart.weight);
        scale::<V, _>(simd, part, weighed.heaviest, factor);
        self.set(part, start, rounded(-(weighed.sum * factor)));
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, start: usize, extent: Extent<T>) {
        // No probability for any class, the target's included.
        if self.options.masked_rows.gives_zeros(extent) {
            part.fill(T::ZERO);
            self.set(part, start, rounded(-self.options.grad_scale));
        } else {
            part.fill(T::NAN);
        }
    }
}

impl<T: Element> Toward<T> {
    /// Writes the gradient at the target, if that is in the part.
    #[inline(always)]
    fn set(&self, part: &mut impl Pass<T, 1>, start: usize, grad: T) {
        let target = self.target.wrapping_sub(start);
        if target < part.len() {
            part.set(target, grad);
        }
    }
}

impl<'a, T: Element, R> Shared<(R, Targets<'a>, Option<&'a mut [T]>)> for CrossEntropy
where
    Self: Kernel<(R, Targets<'a>, Option<&'a mut [T]>), Output = f64>,
    R: Columns<T> + Peek<T, 1> + Recut,
{
    type Elem = T;
    type Work = Toward<T>;
    type Rows = R;
    type Rest = Option<&'a mut [T]>;

    fn open(
        &self,
        (mut row, targets, losses): (R, Targets<'a>, Option<&'a mut [T]>),
    ) -> Result<Open<(R, Targets<'a>, Option<&'a mut [T]>), Self>, f64> {
        if let Some(target) = targets.get(0) {
            let logit = row.peek().get(0, target);
            return Ok(Open {
                work: self.toward(target, logit),
                chunks: row.in_chunks(),
                rest: losses,
            });
        }
        row.whole().fill(T::ZERO);
        if let Some(losses) = losses {
            losses.fill(T::ZERO);
        }
        Err(0.0)
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(&self, outcome: &Outcome<T>, losses: Self::Rest) -> f64 {
        let loss = self.loss::<V>(outcome);
        if let Some(losses) = losses {
            losses.fill(rounded(loss));
        }
        loss
    }
}
