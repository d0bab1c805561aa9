//! Log-softmax: `ln p_i = x_i - lse`.
//!
//! An element with `p > 1/2` has its logarithm near 0, where that difference is all rounding: it
//! gets `-ln(1 + others / w)` instead. Only the maximum can be such an element, so it is left out
//! of the sum.
//!
//! With a factor `s` of the logits, `s x - lse` is taken in `f64` and rounded once.

use super::abreast::{self, Abreast, LeavesOut, Seen};
use super::block::{Block, OfBlock, ROWS, Work, column};
use super::chunks::Chunks;
use super::row::{self, LeftOut, Ordinary, RowWork};
use super::scale::{LogitScale, Scale};
use super::shift::{Shift, Shifts, Weights};
use super::weights::{Extent, Factor};
use super::wide::{Wide, WideFloat};
use super::{MaskedRows, rounded};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, Row, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// The log-probabilities of each row.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmax<S> {
    pub masked_rows: MaskedRows,
    /// The factor of the logits.
    pub scale: S,
}

impl<T: Real, L: LogitScale<T>> Kernel<RowsMut<'_, T, 1>> for LogSoftmax<L> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut rows: RowsMut<'_, T, 1>) {
        abreast::each::<T::Vector<S>, _, _, 4>(simd, &mut rows, &mut { *self });
    }
}

/// Of sixteen rows: the shifts, where the maximum is, and the sum of the others' weights.
type Prepared<V> = (Shifts<V>, V, [Wide<<V as Vector>::Elem>; ROWS]);

impl<'a, V: Vector, S: LogitScale<V::Elem>> Work<V, RowsMut<'a, V::Elem, 1>> for LogSoftmax<S> {
    const OF_F64: bool = S::NONE;
    const LEAST: usize = 4;
    type Read = Option<Shifts<V>>;
    type Left = (RowMut<'a, V::Elem, 1>, Ordinary<V::Elem>);
    type Prepared = Prepared<V>;

    #[inline(always)]
    fn read(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: &RowsMut<'a, V::Elem, 1>,
    ) -> Option<Shifts<V>> {
        block.read_shifts(simd, rows, &self.scale.scale())
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        shifts: Option<Shifts<V>>,
    ) -> Option<Prepared<V>> {
        self.weigh_block(
            simd,
            block,
            shifts?,
            #[inline(always)]
            |_, weights| weights,
        )
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        mut rows: RowsMut<'a, V::Elem, 1>,
        prepared: Prepared<V>,
    ) {
        self.finish_block(simd, block, prepared);
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: RowMut<'a, V::Elem, 1>,
        max: Option<V>,
        chunks: &mut Chunks<V::Elem>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> (Option<Self::Left>, Option<V>) {
        let (outcome, next_max) = row::weighed_row(simd, &mut row, self, max, chunks, ahead);
        (
            outcome.ordinary().map(
                #[inline(always)]
                |weighed| (row, weighed),
            ),
            next_max,
        )
    }

    #[inline(always)]
    fn finish_row(&mut self, simd: V::Simd, (mut row, weighed): Self::Left) {
        self.write_results::<V, _>(simd, &mut row, 0, &weighed);
    }
}

impl<T: Real, S: LogitScale<T>> OfBlock<T> for LogSoftmax<S> {
    type Prepared<V: Vector<Elem = T>> = Prepared<V>;

    #[inline(always)]
    fn weigh_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        shifts: Shifts<V>,
        counted: impl Fn(usize, Weights<V>) -> Weights<V>,
    ) -> Option<Prepared<V>> {
        let top = block.top(simd, shifts.max);
        let others = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |k, _, weights| counted(k, weights).without(simd, column::<V>(simd, k).eq(top)),
        )?;
        Some((shifts, top, others))
    }

    #[inline(always)]
    fn finish_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        (shifts, top, others): Prepared<V>,
    ) {
        let (log_sum, near, top) = self.logs(simd, &shifts, top, others);
        if self.scale.is_one() {
            let log_sum = Factor::of_rows(simd, &log_sum);
            for (k, x) in block.columns().iter_mut().enumerate() {
                let y = log_sum.subtracted_from(*x);
                *x = V::select(column::<V>(simd, k).eq(top), near, y);
            }
        } else {
            let factor = self.scale.scale().wide_factor();
            for (k, x) in block.columns().iter_mut().enumerate() {
                let mut logits = x.widen();
                for (x, log_sum) in logits.iter_mut().zip(log_sum) {
                    *x = *x * factor - log_sum;
                }
                let y = V::narrow(simd, &logits);
                *x = V::select(column::<V>(simd, k).eq(top), near, y);
            }
        }
    }
}

impl<S> LogSoftmax<S> {
    /// Of sixteen rows, given where the maximum is and the sum of the others' weights: the log-sum-exp, and, where the maximum has more weight than all others,
    /// its logarithm and where it is.
    #[inline(always)]
    fn logs<V: Vector>(
        &self,
        simd: V::Simd,
        shifts: &Shifts<V>,
        top: V,
        others: [Wide<V::Elem>; ROWS],
    ) -> ([Wide<V::Elem>; ROWS], V, V)
    where
        S: LogitScale<V::Elem>,
    {
        let max = if self.scale.is_one() {
            shifts.max.widen()
        } else {
            shifts.logits(simd, shifts.max)
        };
        let ln_unit = shifts.ln_unit(simd);
        let weights = Shifts::<V>::accurate_weights(simd, &max, &ln_unit);
        let losses = WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &max);
        let log_sum = WideFloat::sums_of_rows(simd, &max, &losses);
        let mut near = others;
        for i in 0..ROWS {
            let loss = losses[i];
            // 1 is no logarithm of a probability.
            near[i] = if weights[i] > others[i] {
                -loss
            } else {
                Wide::<V::Elem>::ONE
            };
        }
        let near = V::narrow(simd, &near);
        let zero = V::splat(simd, V::Elem::ZERO);
        let is_near = near.lt(V::splat(simd, V::Elem::ONE));
        let near = near + zero;
        let nowhere = V::constant(simd, -1.0);
        (log_sum, near, V::select(is_near, top, nowhere))
    }
}

impl<V: Vector, S: LogitScale<V::Elem>> Abreast<V, RowsMut<'_, V::Elem, 1>, 4> for LogSoftmax<S> {
    // With a factor, logits are taken in wide numbers.
    const APPLIES: bool = S::NONE;
    // (Measured: where registers are few, 128 classes take 0.96 of the time that they take one by one, and 160 1.0 to 1.05.)
    const MOST_CLASSES: usize = if V::REGISTERS >= 32 { 192 } else { 128 };
    const KEEPS_WEIGHTS: bool = false;
    const LEAVES_OUT: LeavesOut = LeavesOut::Maximum;

    #[inline(always)]
    fn look(&mut self, simd: V::Simd, max: V, _: impl FnOnce(V) -> V) -> Option<Seen<V>> {
        Seen::new(simd, max, &self.scale.scale())
    }

    #[inline(always)]
    fn settle(&mut self, simd: V::Simd, seen: Seen<V>, others: [Wide<V::Elem>; ROWS]) -> [V; 4] {
        let (log_sum, near, top) = self.logs(simd, &seen.shifts, seen.left_out, others);
        let [hi, lo] = Factor::of_rows(simd, &log_sum).parts();
        [hi, lo, near, top]
    }

    #[inline(always)]
    fn result(_: V::Simd, [hi, lo, near, top]: [V; 4], numbers: V, x: V) -> V {
        let y = Factor::of_parts([hi, lo]).subtracted_from(x);
        V::select(numbers.eq(top), near, y)
    }
}

impl<S> LogSoftmax<S> {
    /// Writes the scaled logits less what their offset leaves of the log-sum-exp.
    #[inline(always)]
    pub fn write<V: Vector, P: Pass<V::Elem, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        shift: &Shift<V::Elem>,
        log_sum: Wide<V::Elem>,
    ) where
        S: LogitScale<V::Elem>,
    {
        if self.scale.is_one() {
            let log_sum = Factor::new(simd, log_sum);
            let offset = V::splat(simd, shift.offset());
            part.map(
                simd,
                [V::Elem::ZERO],
                #[inline(always)]
                |_, [x]: [V; 1]| log_sum.subtracted_from(x - offset),
            );
        } else {
            let factor = self.scale.scale().wide_factor();
            let one = V::sum_add(V::sum_zero(simd), V::splat(simd, V::Elem::ONE));
            let offset = V::sum_scale(one, -shift.offset().to_wide());
            let log_sum = V::sum_scale(one, -log_sum);
            part.map(
                simd,
                [V::Elem::ZERO],
                #[inline(always)]
                |_, [x]: [V; 1]| {
                    let logits = V::sum_scale(V::sum_add(offset, x), factor);
                    V::sum_narrow(simd, V::sum_merge(logits, log_sum))
                },
            );
        }
    }
}

impl<T: Real, S: LogitScale<T>> RowWork<T> for LogSoftmax<S> {
    const KEEPS_WEIGHTS: bool = false;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        self.scale.scale()
    }

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Maximum
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        let loss = weighed.loss::<V>();
        self.write::<V, P>(simd, part, &weighed.shift, weighed.apart.logit + loss);
        let top = weighed.apart.index.wrapping_sub(start);
        if weighed.apart.weight > weighed.sum && top < part.len() {
            part.set(top, rounded(-loss));
        }
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, _: usize, extent: Extent<T>) {
        part.fill(if self.masked_rows.gives_zeros(extent) {
            // The logarithm of 0.
            T::NEG_INFINITY
        } else {
            T::NAN
        });
    }
}
