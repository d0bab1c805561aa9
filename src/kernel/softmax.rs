//! Softmax: `p_i = w_i / sum w`.

use super::MaskedRows;
use super::abreast::{self, Abreast, LeavesOut, Seen};
use super::block::{Block, OfBlock, ROWS, Work};
use super::chunks::Chunks;
use super::row::{self, LeftOut, Ordinary, RowWork};
use super::scale::{LogitScale, Scale};
use super::shift::{Shifts, Weights};
use super::weights::{Extent, Factor, scale, scales};
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::rows::{Pass, Row, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// The probabilities of each row.
#[derive(Clone, Copy, Debug)]
pub struct Softmax<S> {
    pub masked_rows: MaskedRows,
    /// The factor of the logits.
    pub scale: S,
}

impl<T: Real, L: LogitScale<T>> Kernel<RowsMut<'_, T, 1>> for Softmax<L> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut rows: RowsMut<'_, T, 1>) {
        abreast::each::<T::Vector<S>, _, _, 2>(simd, &mut rows, &mut { *self });
    }
}

impl<'a, V: Vector, S: LogitScale<V::Elem>> Work<V, RowsMut<'a, V::Elem, 1>> for Softmax<S> {
    const OF_F64: bool = S::NONE;
    const LEAST: usize = 5;
    type Read = Option<Shifts<V>>;
    type Left = (RowMut<'a, V::Elem, 1>, Ordinary<V::Elem>);
    type Prepared = <Self as OfBlock<V::Elem>>::Prepared<V>;

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
    ) -> Option<Self::Prepared> {
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
        prepared: Self::Prepared,
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

impl<T: Real, S: LogitScale<T>> OfBlock<T> for Softmax<S> {
    type Prepared<V: Vector<Elem = T>> = (Shifts<V>, [Wide<T>; ROWS]);

    #[inline(always)]
    fn weigh_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        shifts: Shifts<V>,
        counted: impl Fn(usize, Weights<V>) -> Weights<V>,
    ) -> Option<Self::Prepared<V>> {
        let sums = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |k, x, weights| {
                *x = weights.rounded;
                counted(k, weights)
            },
        )?;
        Some((shifts, sums))
    }

    #[inline(always)]
    fn finish_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        (shifts, sums): Self::Prepared<V>,
    ) {
        let factors = factors(simd, &shifts, sums);
        for weight in block.columns() {
            *weight = factors.times(simd, *weight);
        }
    }
}

/// What the weights of sixteen rows are multiplied by, given their sums.
#[inline(always)]
fn factors<V: Vector>(simd: V::Simd, shifts: &Shifts<V>, sums: [Wide<V::Elem>; ROWS]) -> Factor<V> {
    let ones = [Wide::<V::Elem>::ONE; ROWS];
    scales(
        simd,
        shifts,
        Wide::<V::Elem>::quotients_of_rows(simd, &ones, &sums),
    )
}

impl<V: Vector, S: LogitScale<V::Elem>> Abreast<V, RowsMut<'_, V::Elem, 1>, 2> for Softmax<S> {
    const KEEPS_WEIGHTS: bool = true;
    const LEAVES_OUT: LeavesOut = LeavesOut::Nothing;

    #[inline(always)]
    fn look(&mut self, simd: V::Simd, max: V, _: impl FnOnce(V) -> V) -> Option<Seen<V>> {
        Seen::new(simd, max, &self.scale.scale())
    }

    #[inline(always)]
    fn settle(&mut self, simd: V::Simd, seen: Seen<V>, sums: [Wide<V::Elem>; ROWS]) -> [V; 2] {
        factors(simd, &seen.shifts, sums).parts()
    }

    #[inline(always)]
    fn result(simd: V::Simd, factor: [V; 2], _: V, weights: V) -> V {
        Factor::of_parts(factor).times(simd, weights)
    }
}

impl<T: Real, S: LogitScale<T>> RowWork<T> for Softmax<S> {
    const KEEPS_WEIGHTS: bool = true;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        self.scale.scale()
    }

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Nothing
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        _: usize,
        weighed: &Ordinary<T>,
    ) {
        scale::<V, _>(simd, part, weighed.heaviest, Wide::<T>::ONE / weighed.sum);
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, _: usize, extent: Extent<T>) {
        part.fill(if self.masked_rows.gives_zeros(extent) {
            T::ZERO
        } else {
            T::NAN
        });
    }
}
