//! Softmax and log-softmax of rows with masks, causal rows and sinks: of the logits `z = s x + m`, or `-inf` where a class takes no
//! part, with one more term `e^sink` in the sum.
//!
//! Short rows without sinks go sixteen at a time, as those without masks, and masks by columns as well; or their logits are made in the destination first, and they are worked on there
//! as rows without masks. Of other rows, one after the other, the logits are written to the destination first, and the row is done in place there. (To
//! make them of the elements twice, for the maximum and for the weights, takes as long or longer.) Without
//! a mask, the factor is in the constants of the exponential. Of a causal row only the prefix that it
//! sees is read: the bits are those of a row that ends there, in blocks as well. (Those of the whole row with `-inf` in the other classes are the same, or differ in the last place: how a sum is taken
//! depends on how many classes there are.)
//!
//! The weight of the sink is `e^(sink - s offset)` in `f64`, within `2^-36` of itself, added to an `f64` sum: it adds nothing to the error of a sum,
//! and the bounds of probabilities and log-probabilities are those without. (Of a row beyond the reach with a factor `s` that is not 1, `s offset`
//! is rounded by `2^-53` of itself: 1/16 u of the weight up to `|s x| = 2^25`.) They need weights whose factor, 1 over the sum, is a pair of
//! normal numbers. So the weights are measured from the sink if that is larger than every logit. In log-softmax, the sink is among
//! the others of the maximum, so what is near 0 is computed from what is missing, as without.

use super::abreast;
use super::block::{self, Block, OfBlock, ROWS, Work, column, max_of};
use super::chunks::Chunks;
use super::log_softmax::LogSoftmax;
use super::masks::{Flags, Masks, of_row, sixteen, starts_of_rows};
use super::row::{self, LeftOut, Ordinary, Outcome, RowWork};
use super::scale::{LogitScale, Scale};
use super::shift::{Shift, Shifts};
use super::softmax::Softmax;
use super::weights::Extent;
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::partly::Partly;
use crate::rows::{
    Columns as _, FEW, FirstRow, Pass, Peek as _, Row, RowMut, Rows, RowsMut, Split as _,
};
use crate::simd::{Kernel, Simd, Vector};

/// The work on each row, and the options of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'a, T, W> {
    /// With the factor of the logits, if there is no `mask`.
    pub work: W,
    pub masks: Masks<'a>,
    /// What is added to the logits: as many rows of it as there are, over and over. And what they are multiplied by before.
    pub mask: Option<(&'a [T], T)>,
    /// What joins the sum, and how many rows each is for.
    pub sinks: Option<(&'a [T], usize)>,
}

/// The work on rows of logits, which may have a sink beside them.
pub trait OfLogits<T: Real>:
    RowWork<T> + OfBlock<T> + for<'r> Kernel<RowsMut<'r, T, 1>, Output = ()> + Copy + Sync
{
    /// The result for a class that takes no part.
    const NOTHING: T;

    /// The results of a row that is masked throughout.
    fn of_masked_row(&self) -> T;

    /// The results of a part of a row beside whose sink its elements have no weight; the log-sum-exp, less the scaled offset, is
    /// that of the sink.
    fn nothing_beside<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        shift: &Shift<T>,
        log_sum: Wide<T>,
    );
}

impl<T: Real, S: LogitScale<T>> OfLogits<T> for Softmax<S> {
    const NOTHING: T = T::ZERO;

    #[inline(always)]
    fn of_masked_row(&self) -> T {
        if self.masked_rows.gives_zeros(Extent::<T>::Masked) {
            Self::NOTHING
        } else {
            T::NAN
        }
    }

    #[inline(always)]
    fn nothing_beside<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        _: V::Simd,
        part: &mut P,
        _: &Shift<T>,
        _: Wide<T>,
    ) {
        part.fill(T::ZERO);
    }
}

impl<T: Real, S: LogitScale<T>> OfLogits<T> for LogSoftmax<S> {
    const NOTHING: T = T::NEG_INFINITY;

    #[inline(always)]
    fn of_masked_row(&self) -> T {
        if self.masked_rows.gives_zeros(Extent::<T>::Masked) {
            Self::NOTHING
        } else {
            T::NAN
        }
    }

    #[inline(always)]
    fn nothing_beside<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        shift: &Shift<T>,
        log_sum: Wide<T>,
    ) {
        self.write::<V, P>(simd, part, shift, log_sum);
    }
}

impl<T: Real, W: OfLogits<T>> Kernel<(RowsMut<'_, T, 1>, FirstRow)> for Masked<'_, T, W> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut data: (RowsMut<'_, T, 1>, FirstRow)) {
        let (rows, FirstRow(index)) = &mut data;
        let (classes, index) = (rows.classes(), *index);
        let enough =
            block::enough::<T::Vector<S>, 1, 2, RowsMut<'_, T, 1>, InOrder<'_, T, W>>(classes);
        // A block by itself is not worth it for the longest.
        let enough = if classes > 2 * ROWS {
            enough.max(2 * ROWS)
        } else {
            enough
        };
        if T::Vector::<S>::BY_COLUMNS && rows.rows() >= enough && self.sinks.is_none() {
            let mut in_order = InOrder {
                masked: self,
                read: index,
                done: index,
                room: Partly::none(),
            };
            let room = ROWS * classes.next_multiple_of(ROWS);
            in_order.room.refill(T::ZERO, room);
            return block::each::<T::Vector<S>, _, _, 1, 2>(simd, rows, &mut in_order);
        }
        let mut done = 0;
        if T::Vector::<S>::ABREAST && self.is_tiled(rows.rows(), classes) {
            done = self.in_tiles(simd, rows, index);
        }
        self.alone(simd, rows, index + done);
    }
}

/// Rows whose logits are made before they are worked on together: of the longest, 16 KiB of `f32`, half of a first-level cache.
const TILE: usize = 2 * ROWS;

impl<T: Real, W: OfLogits<T>> Masked<'_, T, W> {
    /// Whether rows are done in [tiles](Self::in_tiles): those that would be done sixteen at a time [as they lie](abreast) without masks, and are not by columns. (Measured: rows of 32
    /// to 56 take 0.9 to 1.05 of the time that they take by columns.)
    #[inline(always)]
    fn is_tiled(&self, rows: usize, classes: usize) -> bool {
        let has_length = classes > FEW * 7 / 8 && classes <= 2 * FEW;
        let is_plain = self.sinks.is_none() && self.masks.causal.is_none();
        has_length && is_plain && abreast::is_worth(rows, classes, true)
    }

    /// Makes the logits of some rows in the destination, and does the work there, while there are sixteen. Returns how many rows are done.
    #[inline(always)]
    fn in_tiles<S: Simd>(&self, simd: S, rows: &mut RowsMut<'_, T, 1>, index: usize) -> usize {
        let (mut left, classes) = (rows.take_all(), rows.classes());
        let mut done = 0;
        while left.rows() >= ROWS {
            let (mut tile, rest) = left.split_at(TILE);
            left = rest;
            for r in 0..tile.rows() {
                let logits = self.logits(index + done + r, classes, classes);
                let mut all = tile.whole();
                let mut row = all.part(r * classes, (r + 1) * classes);
                logits.write::<T::Vector<S>, _>(simd, &mut row);
            }
            done += tile.rows();
            self.work.simd(simd, tile.over_itself());
        }
        *rows = left;
        done
    }

    /// Does the work on all rows, one after the other, out of line; `index` is the number of the first.
    #[inline(always)]
    fn alone<S: Simd>(&self, simd: S, rows: &mut RowsMut<'_, T, 1>, index: usize) {
        simd.out_of_line(
            #[inline(always)]
            || self.one_by_one(simd, rows.take_all(), index),
        );
    }

    #[inline(always)]
    fn one_by_one<S: Simd>(&self, simd: S, mut rows: RowsMut<'_, T, 1>, mut index: usize) {
        let classes = rows.classes();
        let mut max = None;
        while let Some(row) = rows.next() {
            let seen = self.masks.seen(index, classes);
            let ahead = rows.peek();
            let ahead = ahead.first(self.masks.seen(index + 1, classes));
            max = self.row::<T::Vector<S>>(simd, row, (index, seen), max, ahead);
            index += 1;
        }
    }
}

/// The work on rows that are told apart by their place in the batch.
struct InOrder<'m, T, W> {
    masked: &'m Masked<'m, T, W>,
    /// The number of the next row to be read in a block.
    read: usize,
    /// That of the next row to be finished, in a block or alone.
    done: usize,
    /// For masks.
    room: Partly<T, { ROWS * FEW }>,
}

impl<'a, V: Vector, W: OfLogits<V::Elem>> Work<V, RowsMut<'a, V::Elem, 1>, 1, 2>
    for InOrder<'_, V::Elem, W>
{
    const LEAST: usize = 8;
    /// (Measured with AVX2, of which a causal batch that sees half of its elements is the exception: 1.1 times the time at 49. With
    /// SSE2, all short rows are as fast or faster.)
    const LONGEST: usize = FEW * 7 / 8;
    /// And how many classes each row sees.
    type Read = (Option<Shifts<V>>, Option<V::Mask>, V);
    type Left = ();
    /// And the rows that have no class, if some have none.
    type Prepared = (W::Prepared<V>, Option<V::Mask>);

    #[inline(always)]
    fn read(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: &RowsMut<'a, V::Elem, 1>,
    ) -> Self::Read {
        let (index, classes) = (self.read, rows.classes());
        self.read += rows.rows().min(ROWS);
        block.read_first(simd, rows);
        self.masked
            .make_logits::<V>(simd, block, index, &mut self.room);
        let mut seen = [V::Elem::ZERO; ROWS];
        let numbers = self.masked.masks.seen_by_sixteen(index, classes);
        for (seen, number) in seen.iter_mut().zip(numbers) {
            // Few: exactly.
            *seen = V::Elem::from_f64(number as f64);
        }
        let seen = Row::of(&seen).vector_or::<V>(simd, 0, V::Elem::ZERO);
        if self.masked.masks.causal.is_some() {
            let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
            for (k, x) in block.columns().iter_mut().enumerate() {
                *x = replaced(simd, is_beyond(simd, seen, k), lowest, *x);
            }
        }
        let masked = masked_rows(simd, block.columns());
        let shifts = block.shifts(simd, &self.masked.work.scale());
        (shifts, masked, seen)
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        (shifts, masked, seen): Self::Read,
    ) -> Option<Self::Prepared> {
        let prepared = self.masked.work.weigh_block(
            simd,
            block,
            shifts?,
            #[inline(always)]
            |k, weights| weights.without(simd, is_beyond(simd, seen, k)),
        )?;
        Some((prepared, masked))
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        mut rows: RowsMut<'a, V::Elem, 1>,
        (prepared, masked): Self::Prepared,
    ) {
        self.done += rows.rows();
        self.masked.work.finish_block(simd, block, prepared);
        if let Some(masked) = masked {
            let result = V::splat(simd, self.masked.work.of_masked_row());
            for x in block.columns() {
                *x = replaced(simd, masked, result, *x);
            }
        }
        // The compiler would leave the stores alone out of line, each of them.
        simd.out_of_line(
            #[inline(always)]
            || block.write(simd, &mut rows),
        );
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        row: RowMut<'a, V::Elem, 1>,
        _: Option<V>,
        _: &mut Chunks<V::Elem>,
        _: Row<'_, V::Elem, 1>,
    ) -> (Option<()>, Option<V>) {
        let (masked, index) = (self.masked, self.done);
        self.done += 1;
        let seen = masked.masks.seen(index, row.len());
        masked.row::<V>(simd, row, (index, seen), None, Row::empty());
        (None, None)
    }

    #[inline(always)]
    fn finish_row(&mut self, _: V::Simd, (): ()) {}
}

/// The rows of a block that have neither a class that takes part nor NaN, of which there are some where a batch is padded; `None` for none. They become
/// ordinary ones: not of equal elements, for where a probability is a power of two, the factors of all rows are looked at.
#[inline(always)]
fn masked_rows<V: Vector>(simd: V::Simd, columns: &mut [V]) -> Option<V::Mask> {
    let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
    let mut max = max_of(simd, columns);
    if V::bits(max.eq(lowest)) == 0 {
        return None;
    }
    // That may have dropped a NaN.
    let nan = V::splat(simd, V::Elem::NAN);
    for &x in &*columns {
        max = V::select(x.is_nan(), nan, max);
    }
    let masked = max.eq(lowest);
    let mut ordinary = V::splat(simd, V::Elem::ZERO);
    for x in columns {
        *x = replaced(simd, masked, ordinary, *x);
        ordinary = V::constant(simd, -1.0);
    }
    Some(masked)
}

/// `other` where the mask is set, and elsewhere `x`, whose place in memory the result takes. (Of an element as it is, the compiler would make a masked store, which
/// takes dozens of operations on AMD's processors. The maximum with `-inf` is `x`, NaN included.)
#[inline(always)]
fn replaced<V: Vector>(simd: V::Simd, mask: V::Mask, other: V, x: V) -> V {
    let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
    V::select(mask, other, lowest.max(x))
}

/// The rows of which column `k` is beyond what they see.
#[inline(always)]
fn is_beyond<V: Vector>(simd: V::Simd, seen: V, k: usize) -> V::Mask {
    seen.lt(column::<V>(simd, k) + V::constant(simd, 0.5))
}

impl<T: Real, W: OfLogits<T>> Masked<'_, T, W> {
    /// Does a row that sees so many classes, of the first of which `known` may be the maximum of each lane. Returns the same of the
    /// next row, if that is `ahead` and not shorter.
    #[inline(always)]
    fn row<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        mut row: RowMut<'_, T, 1>,
        (index, seen): (usize, usize),
        known: Option<(V, usize)>,
        ahead: Row<'_, T, 1>,
    ) -> Option<(V, usize)> {
        let classes = row.len();
        let work = WithSink {
            work: self.work,
            sink: self.sink(index),
        };
        if work.sink.is_nan() || work.sink == T::INFINITY {
            row.fill(T::NAN);
            return None;
        }
        let logits = self.logits(index, classes, seen);
        let max = if let Some((max, known)) = known {
            // From a whole vector on, so that each lane keeps its maximum.
            let rest = row.part(known - known % V::LANES, seen);
            rest.source().max::<V>(simd).max(max)
        } else {
            logits.write::<V, _>(simd, &mut row.part(0, seen))
        };
        if !logits.are_given() {
            row = row.over_itself();
        }
        // The next row may see another part of a chunk, and logits that are made are not those that were looked at.
        let chunks = &mut Chunks::unknown();
        let (outcome, next_max) = row::row::<V, _>(
            simd,
            &mut row.part(0, seen),
            &work,
            Some(max),
            chunks,
            ahead,
        );
        if seen < classes {
            let mut unseen = row.part(seen, classes);
            match outcome {
                Outcome::Ordinary(_) => fill::<V, _, 1>(simd, &mut unseen, W::NOTHING),
                Outcome::Special(extent, _) => work.special(&mut unseen, seen, extent),
            }
        }
        // Of logits that are made, nothing is known before.
        let next_max = next_max.filter(|_| logits.are_given());
        next_max.map(
            #[inline(always)]
            |max| (max, seen),
        )
    }

    /// Makes the logits of a block, whose first row is that one of the batch.
    #[inline(always)]
    fn make_logits<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        index: usize,
        room: &mut [T],
    ) {
        let classes = block.columns().len();
        let (zero, lowest) = (V::splat(simd, T::ZERO), V::splat(simd, T::NEG_INFINITY));
        // The additive mask, then the boolean one, each as rows of its own or as one row for all, or not at all. One place where rows of
        // both are read: of more, the compiler leaves some out of line.
        for is_boolean in 0..2 {
            let rows = if is_boolean == 0 {
                self.rows_of_mask::<V>(simd, index, classes, room)
            } else {
                self.rows_of_flags::<V>(simd, index, classes, room)
            };
            let has_rows = rows.is_some();
            if let Some(rows) = rows {
                block.read_beside(simd, &rows);
            }
            match (self.mask, self.masks.flags) {
                (Some((mask, factor)), _) if is_boolean == 0 => {
                    let factor = V::splat(simd, factor);
                    block.map(
                        #[inline(always)]
                        |k, [x, m]| {
                            let m = if has_rows { m } else { V::splat(simd, mask[k]) };
                            logit(simd, x, factor, m)
                        },
                    );
                }
                (_, Some(flags)) if is_boolean == 1 => block.map(
                    #[inline(always)]
                    |k, [x, flag]| {
                        if has_rows {
                            replaced(simd, flag.eq(zero), lowest, x)
                        } else if flags[k] {
                            x
                        } else {
                            lowest
                        }
                    },
                ),
                _ => {}
            }
        }
    }

    /// The rows of the additive mask, as those of a block find them, unless there is one for all of them.
    #[inline(always)]
    fn rows_of_mask<'r, V: Vector<Elem = T>>(
        &'r self,
        simd: V::Simd,
        index: usize,
        classes: usize,
        room: &'r mut [T],
    ) -> Option<Rows<'r, T, 1>> {
        let (mask, _) = self.mask?;
        if mask.len() == classes {
            return None;
        }
        let starts = starts_of_rows(mask, index, classes);
        if let Some(rows) = mask.get(starts[0]..starts[0] + ROWS * classes) {
            return Some(Rows::of(rows, classes));
        }
        let rows = made(
            simd,
            classes,
            room,
            #[inline(always)]
            |row, i| {
                let from = starts[row] + i * V::LANES;
                Row::of(&mask[from..]).vector_or::<V>(simd, 0, T::ZERO)
            },
        );
        Some(rows)
    }

    /// The same of the boolean mask: 1 where a class takes part.
    #[inline(always)]
    fn rows_of_flags<'r, V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        index: usize,
        classes: usize,
        room: &'r mut [T],
    ) -> Option<Rows<'r, T, 1>> {
        let flags = self.masks.flags?;
        if flags.len() == classes {
            return None;
        }
        let starts = starts_of_rows(flags, index, classes);
        let (zero, one) = (V::splat(simd, T::ZERO), V::splat(simd, T::ONE));
        let rows = made(
            simd,
            classes,
            room,
            #[inline(always)]
            |row, i| {
                let flags = sixteen(&flags[starts[row] + i * V::LANES..]);
                V::select(V::lanes_of(simd, &flags), one, zero)
            },
        );
        Some(rows)
    }

    #[inline(always)]
    fn logits(&self, row: usize, classes: usize, seen: usize) -> Logits<'_, T> {
        let mask = self.mask.map(
            #[inline(always)]
            |(mask, factor)| (of_row(mask, row, classes, seen), factor),
        );
        Logits {
            mask,
            flags: self.masks.flags(row, classes),
        }
    }

    /// The sink of a row, `-inf` for none.
    #[inline(always)]
    pub fn sink(&self, row: usize) -> T {
        let Some((sinks, rows_each)) = self.sinks else {
            return T::NEG_INFINITY;
        };
        let number = row.checked_div(rows_each).unwrap_or_default();
        sinks[number % sinks.len()]
    }
}

/// Sixteen rows of as many whole vectors as so many classes take, which `make` makes, given the number of the row and that of the vector.
#[inline(always)]
fn made<V: Vector>(
    simd: V::Simd,
    classes: usize,
    room: &mut [V::Elem],
    make: impl Fn(usize, usize) -> V,
) -> Rows<'_, V::Elem, 1> {
    // So that each vector is stored at once.
    let len = classes.next_multiple_of(V::LANES);
    let room = &mut room[..ROWS * len];
    for (row, to) in room.chunks_exact_mut(len).enumerate() {
        RowMut::of(to).map(
            simd,
            [V::Elem::ZERO],
            #[inline(always)]
            |i, _: [V; 1]| make(row, i),
        );
    }
    Rows::of(room, len)
}

/// Writes every element, by vectors.
#[inline(always)]
pub fn fill<V: Vector, P: Pass<V::Elem, N>, const N: usize>(
    simd: V::Simd,
    part: &mut P,
    x: V::Elem,
) {
    let everywhere = V::splat(simd, x);
    part.map(
        simd,
        [x; N],
        #[inline(always)]
        |_, _: [V; N]| everywhere,
    );
}

/// What makes logits of the elements of a row.
#[derive(Clone, Copy, Debug)]
struct Logits<'a, T> {
    /// What is added, after the elements are multiplied.
    mask: Option<(&'a [T], T)>,
    /// Which of them take part, and what lies behind.
    flags: Option<&'a [bool]>,
}

impl<T: Real> Logits<'_, T> {
    /// Whether they are the elements.
    #[inline(always)]
    fn are_given(&self) -> bool {
        self.mask.is_none() && self.flags.is_none()
    }

    /// Writes those that are not the elements. Returns the largest in each lane.
    #[inline(always)]
    fn write<V: Vector<Elem = T>, P: Pass<T, 1>>(&self, simd: V::Simd, row: &mut P) -> V {
        let lowest = V::splat(simd, T::NEG_INFINITY);
        let flags = self.flags.map(
            #[inline(always)]
            |flags| Flags::new(flags, row.len()),
        );
        let Some((mask, factor)) = self.mask else {
            let Some(flags) = flags else {
                return row.source().max::<V>(simd);
            };
            return map_max(
                simd,
                row,
                #[inline(always)]
                |i, x| V::select(flags.lanes::<V>(simd, i), x, lowest),
            );
        };
        let (mask, factor) = (Row::of(mask), V::splat(simd, factor));
        // Before the loop, which is free of calls then.
        let [last] = mask.load_tail::<V>(simd, [T::ZERO]);
        let Some(flags) = flags else {
            return map_max(
                simd,
                row,
                #[inline(always)]
                |i, x| logit(simd, x, factor, vector(simd, &mask, i, last)),
            );
        };
        map_max(
            simd,
            row,
            #[inline(always)]
            |i, x| {
                let z = logit(simd, x, factor, vector(simd, &mask, i, last));
                V::select(flags.lanes::<V>(simd, i), z, lowest)
            },
        )
    }
}

/// Vector `i` of a row, `last` where it is short.
#[inline(always)]
fn vector<V: Vector>(simd: V::Simd, row: &Row<'_, V::Elem, 1>, i: usize, last: V) -> V {
    match row.vector(simd, i) {
        Some([x]) => x,
        None => last,
    }
}

/// Replaces each vector of a row, given its index. Returns the largest element in each lane.
#[inline(always)]
fn map_max<V: Vector, P: Pass<V::Elem, 1>>(
    simd: V::Simd,
    row: &mut P,
    f: impl Fn(usize, V) -> V,
) -> V {
    let lowest = V::Elem::NEG_INFINITY;
    let mut max = V::splat(simd, lowest);
    row.map(
        simd,
        [lowest],
        #[inline(always)]
        |i, [x]: [V; 1]| {
            let z = f(i, x);
            max = z.max(max);
            z
        },
    );
    max
}

/// `s x + m`, rounded once.
#[inline(always)]
fn logit<V: Vector>(simd: V::Simd, x: V, s: V, m: V) -> V {
    if V::FUSED {
        return x.mul_add(s, m);
    }
    let (mut z, s, m) = (x.widen(), s.widen(), m.widen());
    for i in 0..z.len() {
        z[i] = z[i].product_plus(s[i], m[i]);
    }
    V::narrow(simd, &z)
}

/// `s x + m` of numbers that are elements, as an `f64` that rounds to an element as the exact result does: rounded to odd, so that what it lacks is not
/// forgotten. (The product is exact.)
#[inline(always)]
pub fn product_plus(x: f64, s: f64, m: f64) -> f64 {
    let product = x * s;
    let sum = product + m;
    // What the sum has lost (Knuth).
    let taken = sum - product;
    let lost = (product - (sum - taken)) + (m - taken);
    let bits = sum.to_bits();
    if !sum.is_finite() || lost == 0.0 || bits & 1 == 1 {
        return sum;
    }
    // One step toward the exact sum, which is not 0.
    let grows = (lost > 0.0) == (sum > 0.0);
    f64::from_bits(if grows { bits + 1 } else { bits - 1 })
}

/// Beside this, no element has a probability, and no sum of weights shows.
const FAR_ABOVE: f64 = 600.0;

/// The work on a row beside whose weights stands that of a sink, which is no element.
#[derive(Clone, Copy, Debug)]
struct WithSink<W, T> {
    work: W,
    /// Finite, or `-inf` for none.
    sink: T,
}

impl<T: Real, W: OfLogits<T>> RowWork<T> for WithSink<W, T> {
    const KEEPS_WEIGHTS: bool = W::KEEPS_WEIGHTS;
    const OUT_OF_LINE: bool = W::OUT_OF_LINE;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        self.work.scale()
    }

    #[inline(always)]
    fn shift<V: Vector<Elem = T>>(&self, max: T) -> Shift<T> {
        let shift = Shift::new::<V>(max, &self.work.scale());
        let sink = self.sink.to_wide() - shift.scaled_offset();
        if sink > shift.logit(max) {
            shift.raised(sink)
        } else {
            shift
        }
    }

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        self.work.left_out()
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        let mut weighed = *weighed;
        if self.sink > T::NEG_INFINITY {
            let shift = &weighed.shift;
            let sink = self.sink.to_wide() - shift.scaled_offset();
            let log_weight = sink - shift.ln_unit::<V>();
            if log_weight > Wide::<T>::of(FAR_ABOVE) {
                return self
                    .work
                    .nothing_beside::<V, P>(simd, part, &weighed.shift, sink);
            }
            weighed.sum += log_weight.exp();
        }
        self.work.results::<V, P>(simd, part, start, &weighed);
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, start: usize, extent: Extent<T>) {
        if extent == Extent::Masked && self.sink > T::NEG_INFINITY {
            // All of the probability is the sink's.
            part.fill(W::NOTHING);
        } else {
            self.work.special(part, start, extent);
        }
    }
}
