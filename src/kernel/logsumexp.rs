//! Log-sum-exp: `ln sum e^x_i`.

use core::slice;

use super::abreast::{self, Abreast, LeavesOut, Seen};
use super::block::{Block, ROWS, Work};
use super::chunks::Chunks;
use super::rounded;
use super::row::{self, LeftOut, Ordinary, Outcome, RowWork};
use super::scale::Scale;
use super::shift::Shifts;
use super::step::{Open, Shared, Weighing};
use super::weights::Extent;
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::rows::{Pass, Recut as _, Row, Rows};
use crate::simd::{Kernel, Simd, Vector};

/// The log-sum-exp of each row, one result per row.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp;

impl<T: Real> Kernel<(Rows<'_, T, 1>, &mut [T])> for LogSumExp {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut data: (Rows<'_, T, 1>, &mut [T])) {
        let (rows, results) = &mut data;
        abreast::each::<T::Vector<S>, _, _, 0>(simd, rows, &mut Results(results.iter_mut()));
    }
}

/// Where the next results go.
struct Results<'a, T>(slice::IterMut<'a, T>);

impl<'a, V: Vector> Work<V, Rows<'a, V::Elem, 1>> for Results<'_, V::Elem> {
    const OF_F64: bool = true;
    const LEAST: usize = 4;
    type Read = Option<Shifts<V>>;
    type Left = ();
    type Prepared = (Shifts<V>, [Wide<V::Elem>; ROWS]);

    #[inline(always)]
    fn read(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: &Rows<'a, V::Elem, 1>,
    ) -> Option<Shifts<V>> {
        block.read_shifts(simd, rows, &Scale::one())
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        shifts: Option<Shifts<V>>,
    ) -> Option<Self::Prepared> {
        let shifts = shifts?;
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
        simd: V::Simd,
        _: &mut Block<V>,
        _: Rows<'a, V::Elem, 1>,
        (shifts, sums): Self::Prepared,
    ) {
        self.put(simd, &shifts, sums);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: Row<'a, V::Elem, 1>,
        max: Option<V>,
        chunks: &mut Chunks<V::Elem>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> (Option<()>, Option<V>) {
        let (outcome, next_max) = row::row(simd, &mut row, &LogSumExp, max, chunks, ahead);
        if let Some(result) = self.0.next() {
            *result = LogSumExp::of::<V>(&outcome);
        }
        (None, next_max)
    }

    #[inline(always)]
    fn finish_row(&mut self, _: V::Simd, (): ()) {}
}

impl<T: Real> Results<'_, T> {
    /// The results of sixteen rows, as many as there are, with these sums of weights.
    #[inline(always)]
    fn put<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        shifts: &Shifts<V>,
        mut sums: [Wide<T>; ROWS],
    ) {
        WideFloat::ln_of_rows(simd, &mut sums);
        WideFloat::add_to_rows(simd, &mut sums, shifts.ln_unit(simd));
        // The results last: one would be lost if they were asked first.
        for (log, result) in sums.into_iter().zip(self.0.by_ref()) {
            *result = rounded(log);
        }
    }
}

impl<V: Vector> Abreast<V, Rows<'_, V::Elem, 1>, 0> for Results<'_, V::Elem> {
    const KEEPS_WEIGHTS: bool = false;
    const LEAVES_OUT: LeavesOut = LeavesOut::Nothing;

    #[inline(always)]
    fn look(&mut self, simd: V::Simd, max: V, _: impl FnOnce(V) -> V) -> Option<Seen<V>> {
        Seen::new(simd, max, &Scale::one())
    }

    #[inline(always)]
    fn settle(&mut self, simd: V::Simd, seen: Seen<V>, sums: [Wide<V::Elem>; ROWS]) -> [V; 0] {
        self.put(simd, &seen.shifts, sums);
        []
    }

    #[inline(always)]
    fn result(_: V::Simd, _: [V; 0], _: V, x: V) -> V {
        x
    }
}

impl LogSumExp {
    #[inline(always)]
    fn of<V: Vector>(outcome: &Outcome<V::Elem>) -> V::Elem {
        match outcome {
            Outcome::Ordinary(row) => {
                let log = row.log::<V>();
                rounded(row.shift.scaled_offset() + log)
            }
            Outcome::Special(extent, _) => rounded(of_special(*extent)),
        }
    }
}

/// The log-sum-exp of a row without weights.
#[inline(always)]
pub fn of_special<T: Real>(extent: Extent<T>) -> Wide<T> {
    match extent {
        Extent::Masked => T::NEG_INFINITY.to_wide(),
        Extent::Infinite => T::INFINITY.to_wide(),
        _ => T::NAN.to_wide(),
    }
}

impl<T: Real> RowWork<T> for LogSumExp {
    const KEEPS_WEIGHTS: bool = false;

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Nothing
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        _: V::Simd,
        _: &mut P,
        _: usize,
        _: &Ordinary<T>,
    ) {
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, _: &mut P, _: usize, _: Extent<T>) {}
}

impl<'a, T: Real> Shared<(Rows<'a, T, 1>, &'a mut [T])> for LogSumExp {
    type Elem = T;
    type Work = Weighing<Self>;
    type Rows = Rows<'a, T, 1>;
    type Rest = &'a mut [T];

    fn open(
        &self,
        (row, results): (Rows<'a, T, 1>, &'a mut [T]),
    ) -> Result<Open<(Rows<'a, T, 1>, &'a mut [T]), Self>, ()> {
        Ok(Open {
            work: Weighing(*self),
            chunks: row.in_chunks(),
            rest: results,
        })
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(
        &self,
        _: &Weighing<Self>,
        outcome: &Outcome<T>,
        results: &'a mut [T],
    ) {
        results.fill(Self::of::<V>(outcome));
    }
}
