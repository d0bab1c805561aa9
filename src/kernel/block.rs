//! Sixteen short rows at once: a column of them in a vector, a row in a lane. So no lane is wasted on rows
//! that are shorter than a vector, and what is done once a row is done for sixteen at a time.
//!
//! The bits are those of the same rows one by one: the elements of a row are added in the same order
//! ([`Block::sum_lanes`]), and every other step is that of a lane.

use super::chunks::Chunks;
use super::scale::Scale;
use super::shift::{Shifts, Weigh, Weights};
use super::total::{FEW_VECTORS, Total};
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::partly::Partly;
use crate::rows::{Columns, FEW, Peek, Places, Row};
use crate::simd::{Simd as _, Vector};

/// Rows in a block.
pub const ROWS: usize = 16;

/// Half of them.
const HALF: usize = ROWS / 2;

/// Columns that there is room for: more than there ever are, so that those of two blocks or sources are not a multiple of 4096 bytes apart. Of
/// two such, processors take one for the other at first, and what is read waits for what was written.
const ROOM: usize = FEW + ROWS;

/// How many rows are worth a block, of which the other lanes are idle: some that are as much work as what is done for a block at a
/// time, and more if they are longer. (Measured; with few registers, rows one by one are slower than sixteen at once by more.)
/// None are if they are longer than [`FEW`], or what the work says: around 100 classes, rows one by one become as fast with AVX, and around 64
/// with SSE2 (`cargo bench --bench ratios`).
pub fn enough<V: Vector, const N: usize, const C: usize, R, W: Work<V, R, N, C>>(
    classes: usize,
) -> usize
where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    if !(V::BY_COLUMNS || W::OF_F64) || !(1..=W::LONGEST).contains(&classes) {
        return usize::MAX;
    }
    let least = if V::REGISTERS < 8 {
        W::LEAST * 2 / 3
    } else {
        W::LEAST
    };
    ROWS.min(least + classes / 4)
}

/// As many elements are in the second-level cache, or most of them. Of more, each block is asked for while the one before it is worked on, and the memory of its results. (Measured with 16 000 000 of `f32`, AVX2 and AVX-512:
/// rows of 10 and 28 classes take 0.73 to 0.91 of the time where results are written, 0.97 to 1.01 where not; of 2 classes, without their results, 0.98 to 1.04. In cache, it costs up to 0.03.)
pub const NEAR: usize = 1 << 18;

/// Work on a batch that is done row by row, or in blocks.
///
/// `N` is the number of sources, and `C` that of what a block has columns of: those, and perhaps something that goes with them.
pub trait Work<
    V: Vector,
    R: Columns<V::Elem> + Peek<V::Elem, N>,
    const N: usize = 1,
    const C: usize = N,
>
{
    /// Whether blocks are made of rows of `f64` too. (Of `f32` they are for all work; what is not compiled for `f64` costs no time.)
    const OF_F64: bool = false;
    /// As many very short rows take as much time as a block.
    const LEAST: usize;
    /// Longer rows are faster one by one. At most [`FEW`].
    const LONGEST: usize = FEW;
    /// What is known of a block that is read.
    type Read;
    /// What is known of it before its rows are finished.
    type Prepared;
    /// Some time before the first block is read, and perhaps again later, when all rows that were read are done.
    #[inline(always)]
    fn begin(&mut self, _: V::Simd) {}
    /// When no block is left, and before a row is done one by one. Perhaps more than once.
    #[inline(always)]
    fn end(&mut self, _: V::Simd) {}
    /// Reads the first sixteen rows, or as many as there are. The next call is for the next ones.
    fn read(&mut self, simd: V::Simd, block: &mut Block<V, C>, rows: &R) -> Self::Read;
    /// Prepares the rows that were read last. `None`: they will be done one by one.
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        read: Self::Read,
    ) -> Option<Self::Prepared>;
    /// Finishes the rows of an earlier `prepare`. Blocks and rows are finished in the order of the batch.
    fn finish(&mut self, simd: V::Simd, block: &mut Block<V, C>, rows: R, prepared: Self::Prepared);
    /// What is left to be done with one row.
    type Left;
    /// Does one row, but for what is left. What is `ahead` of it, perhaps nothing, may be looked at meanwhile, and the maximum of each lane of
    /// the next row returned; it comes back as `max` with that row, and what is known of its `chunks`.
    fn row(
        &mut self,
        simd: V::Simd,
        row: R::Item,
        max: Option<V>,
        chunks: &mut Chunks<V::Elem>,
        ahead: Row<'_, V::Elem, N>,
    ) -> (Option<Self::Left>, Option<V>);
    /// Does what is left.
    fn finish_row(&mut self, simd: V::Simd, left: Self::Left);
}

/// What the work on a block does between its reading and its writing.
pub trait OfBlock<T: Real> {
    /// What is known of a block before its rows are finished.
    type Prepared<V: Vector<Elem = T>>;
    /// Weighs the elements of a block with these shifts, of whose columns each counts in the sums as `counted` says. `None`: its rows are to
    /// be done one by one.
    fn weigh_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        shifts: Shifts<V>,
        counted: impl Fn(usize, Weights<V>) -> Weights<V>,
    ) -> Option<Self::Prepared<V>>;
    /// Puts the results in the place of the elements.
    fn finish_block<V: Vector<Elem = T>, const C: usize>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, C>,
        prepared: Self::Prepared<V>,
    );
}

/// Does the work on all rows of a batch, in order, and leaves none.
#[inline(always)]
pub fn each<V: Vector, R, W: Work<V, R, N, C>, const N: usize, const C: usize>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    const { assert!(V::LANES == ROWS && W::LONGEST <= FEW && FEW <= FEW_VECTORS * ROWS) };
    let enough = enough::<V, N, C, R, W>(rows.classes());
    if (V::BY_COLUMNS || W::OF_F64) && rows.rows() >= enough {
        while simd.out_of_line(
            #[inline(always)]
            || in_blocks(simd, rows, work, enough),
        ) {
            refused(simd, rows, work);
        }
    }
    if rows.rows() > 0 {
        alone(simd, rows, work);
    } else {
        work.end(simd);
    }
}

/// Does the rows of a block that is refused, the first sixteen, one by one. From [`in_blocks`] it would be simpler, but in a program that is not optimised every value of a function has a
/// place on the stack, and those of both would be there. (Out of line: else the caller had to keep room for both batches, one row of 10 classes too.)
#[inline(always)]
fn refused<V: Vector, R, const N: usize, const C: usize>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut impl Work<V, R, N, C>,
) where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    simd.out_of_line(
        #[inline(always)]
        || {
            let (mut first, rest) = rows.take_all().split_at(ROWS);
            alone(simd, &mut first, work);
            *rows = rest;
        },
    );
}

/// [`one_by_one`], out of line: code that stands once.
#[inline(always)]
pub fn alone<V: Vector, R, const N: usize, const C: usize>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut impl Work<V, R, N, C>,
) where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    work.end(simd);
    simd.out_of_line(
        #[inline(always)]
        || one_by_one(simd, rows.take_all(), work),
    );
}

/// Does the work on blocks while there are `enough` rows, and leaves the others. Returns whether it has stopped at a block that is refused: the first sixteen of the
/// rows that are left.
///
/// A block is finished between the reading of the next one and its weights: each of these is some hundred cycles of waiting for one result
/// after the other, and the processor sees no further than about one of them ahead, so what stands beside each should be of another block.
#[inline(always)]
fn in_blocks<V: Vector, R, W: Work<V, R, N, C>, const N: usize, const C: usize>(
    simd: V::Simd,
    left: &mut R,
    work: &mut W,
    enough: usize,
) -> bool
where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    let mut rows = left.take_all();
    let classes = rows.classes();
    // Else it would be waited for when the next block is read, with nothing beside.
    let prefetches = classes >= 4 && rows.elements() > NEAR;
    work.begin(simd);
    let mut blocks = [Block::none(), Block::none()];
    for block in &mut blocks {
        block.clear(simd, classes);
    }
    let (mut turn, mut waiting) = (0, None);
    let mut is_refused = false;
    // One place where blocks are finished: with another after the loop, the compiler leaves some of it out of line.
    while waiting.is_some() || rows.rows() >= enough {
        let mut read = None;
        if rows.rows() >= enough {
            // Where the rows after these can be seen: the last columns of very short ones reach into them.
            read = Some(work.read(simd, &mut blocks[turn], &rows));
            if prefetches && rows.rows() > ROWS {
                let places = rows.places();
                for i in (ROWS * classes..2 * ROWS * classes).step_by(ROWS) {
                    ask::<V, R, N>(simd, places, i);
                }
            }
        }
        if let Some((first, prepared)) = waiting.take() {
            work.finish(simd, &mut blocks[1 - turn], first, prepared);
        }
        if let Some(read) = read {
            let Some(prepared) = work.prepare(simd, &mut blocks[turn], read) else {
                is_refused = true;
                break;
            };
            let (first, rest) = rows.split_at(ROWS);
            rows = rest;
            waiting = Some((first, prepared));
        }
        turn = 1 - turn;
    }
    *left = rows;
    is_refused
}

/// Asks for element `i` of rows, and where its result will be.
#[inline(always)]
pub fn ask<V: Vector, R: Columns<V::Elem>, const N: usize>(
    simd: V::Simd,
    places: Places<V::Elem, N>,
    i: usize,
) {
    places.ask::<V>(simd, i);
    if R::WRITES {
        places.ask_destination::<V>(simd, i);
    }
}

/// Does the work on all rows, one after the other.
///
/// What is left of a short row ([`LAG`]) is done after the next one, beside whose weights its sum has time to become a factor. Long rows would have left the
/// cache by then, and wait little beside what they take.
#[inline(always)]
fn one_by_one<V: Vector, R, const N: usize, const C: usize>(
    simd: V::Simd,
    mut rows: R,
    work: &mut impl Work<V, R, N, C>,
) where
    R: Columns<V::Elem> + Peek<V::Elem, N>,
{
    let lags =
        V::REGISTERS >= 8 && size_of::<V::Elem>() == size_of::<f32>() && rows.classes() <= LAG;
    let (mut max, mut chunks, mut waiting) = (None, Chunks::unknown(), None);
    loop {
        let row = rows.next();
        let is_last = row.is_none();
        let mut left = None;
        if let Some(row) = row {
            (left, max) = work.row(simd, row, max, &mut chunks, rows.peek());
        }
        // One place where rows are finished.
        if lags {
            core::mem::swap(&mut left, &mut waiting);
        }
        if let Some(left) = left {
            work.finish_row(simd, left);
        }
        if is_last {
            return;
        }
    }
}

/// The longest row of `f32` that is finished after the next one is weighed. What is read and written for two rows, and looked at of a third, is to be in
/// the first-level cache: rows of 4096 take up to 1.08 times as long that way, of 2048 0.96 to 1.04. (Of rows of `f64` there is more to keep meanwhile: 1.02 to 1.09
/// times as long for 128 classes. With few registers, single rows of 10 classes took 1.09 times as long, for 0.91 to 0.98 at 128 to 512.)
const LAG: usize = 1536;

/// Whether the sum of a row is NaN. (Of all of them, without a branch for each.)
#[inline(always)]
pub fn has_nan<W: WideFloat>(sums: &[W; ROWS]) -> bool {
    let mut nan = false;
    for i in 0..HALF {
        nan |= sums[i].is_nan() | sums[i + HALF].is_nan();
    }
    nan
}

/// The number of a column, as it stands in the lanes of what says which column is special to a row.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "columns are few")]
pub fn column<V: Vector>(simd: V::Simd, k: usize) -> V {
    // Of 64 bits without a sign, x86 has no conversion.
    V::constant(simd, f64::from(k as u32))
}

/// The maxima of columns, which may drop a NaN: of every fourth column by itself, as what comes next waits for them.
#[inline(always)]
pub fn max_of<V: Vector>(simd: V::Simd, columns: &[V]) -> V {
    let (fours, rest) = columns.as_chunks::<4>();
    let mut max = [V::splat(simd, V::Elem::NEG_INFINITY); 4];
    for four in fours {
        for i in 0..4 {
            max[i] = four[i].max(max[i]);
        }
    }
    for i in 0..rest.len() {
        max[i] = rest[i].max(max[i]);
    }
    let [a, b, c, d] = max;
    a.max(b).max(c.max(d))
}

/// The first column that is equal to these, which each row has.
#[inline(always)]
pub fn top_of<V: Vector>(simd: V::Simd, columns: &[V], max: V) -> V {
    let mut top = max;
    for (k, x) in columns.iter().enumerate().rev() {
        top = V::select(x.eq(max), column(simd, k), top);
    }
    top
}

/// Column `k` of each.
#[inline(always)]
fn column_of<V: Vector, const C: usize>(columns: &[&mut [V]; C], k: usize) -> [V; C] {
    core::array::from_fn(
        #[inline(always)]
        |source| columns[source][k],
    )
}

/// Sixteen rows by columns: of each source, or of each and of what goes with it.
#[derive(Debug)]
pub struct Block<V: Vector, const C: usize = 1> {
    columns: Partly<V, ROOM, C>,
    classes: usize,
}

impl<V: Vector, const C: usize> Block<V, C> {
    /// Room, and nothing in it.
    #[inline(always)]
    pub fn none() -> Self {
        Self {
            columns: Partly::none(),
            classes: 0,
        }
    }

    /// Makes room for rows of that many classes.
    #[inline(always)]
    pub fn clear(&mut self, simd: V::Simd, classes: usize) {
        // They are read four at a time.
        let zero = V::splat(simd, V::Elem::ZERO);
        self.columns.refill(zero, classes.max(4));
        self.classes = classes;
    }

    /// Reads the first rows of the batch, which has as many sources.
    #[inline(always)]
    pub fn read(&mut self, simd: V::Simd, rows: &impl Columns<V::Elem>) {
        for source in 0..C {
            rows.read(simd, source, self.columns.array_mut(source));
        }
    }

    /// Reads the first source alone.
    #[inline(always)]
    pub fn read_first(&mut self, simd: V::Simd, rows: &impl Columns<V::Elem>) {
        rows.read(simd, 0, self.columns.array_mut(0));
    }

    /// Reads what goes with the source of the first rows, and has rows of its own.
    #[inline(always)]
    pub fn read_beside(&mut self, simd: V::Simd, rows: &impl Columns<V::Elem>) {
        rows.read(simd, 0, self.columns.array_mut(C - 1));
    }

    /// The columns of the rows of the first source.
    #[inline(always)]
    pub fn columns(&mut self) -> &mut [V] {
        &mut self.columns.array_mut(0)[..self.classes]
    }

    /// Column `k` of each source.
    #[inline(always)]
    pub fn column(&self, k: usize) -> [V; C] {
        core::array::from_fn(
            #[inline(always)]
            |source| self.columns.array(source)[k],
        )
    }

    /// Puts what `f` makes of the sources in the place of the first.
    #[inline(always)]
    pub fn map(&mut self, mut f: impl FnMut(usize, [V; C]) -> V) {
        let classes = self.classes;
        let columns = self.columns.firsts_mut(classes);
        for k in 0..classes {
            columns[0][k] = f(k, column_of(&columns, k));
        }
    }

    /// Writes the columns of the first source to the first rows of the batch.
    #[inline(always)]
    pub fn write(&self, simd: V::Simd, rows: &mut impl Columns<V::Elem>) {
        rows.write(simd, self.columns.array(0));
    }

    /// The sum over each row of what `add` adds for column `k` of each source.
    #[inline(always)]
    pub fn fold(
        &mut self,
        simd: V::Simd,
        mut add: impl FnMut(V::Sum, usize, [V; C]) -> V::Sum,
    ) -> [Wide<V::Elem>; ROWS] {
        V::sum_lanes(self.sum_lanes(
            #[inline(always)]
            |columns, lane, end| {
                let (mut sum, mut k) = (V::sum_zero(simd), lane);
                while k < end {
                    sum = add(sum, k, column_of(columns, k));
                    k += V::LANES;
                }
                sum
            },
            #[inline(always)]
            |a, b| V::sum_merge(a, b),
        ))
    }

    /// The sums of the rows from those of what would be one lane of each, given the lane's first column and where they end:
    /// merged in the order in which the lanes of one row are, halves first.
    #[inline(always)]
    fn sum_lanes<L: Copy>(
        &mut self,
        mut lane_sum: impl FnMut(&mut [&mut [V]; C], usize, usize) -> L,
        merge: impl Fn(L, L) -> L,
    ) -> L {
        let classes = self.classes;
        let columns = &mut self.columns.firsts_mut(classes);
        // A lane beyond the row adds nothing, neither here nor to the row alone.
        let left = classes.min(HALF);
        let mut sums = Partly::<L, HALF>::none();
        let sums = sums.refill_with(
            left,
            #[inline(always)]
            |lane| {
                let other = lane + HALF;
                // With one column in each lane, there are no loops over them.
                if classes > V::LANES {
                    let one = lane_sum(columns, lane, classes);
                    return merge(one, lane_sum(columns, other, classes));
                }
                let one = lane_sum(columns, lane, lane + 1);
                if other < classes {
                    merge(one, lane_sum(columns, other, other + 1))
                } else {
                    one
                }
            },
        );
        merged(sums, merge)
    }
}

/// The sums of what would be lanes of a row, of at most eight, merged in the order in which these are.
#[inline(always)]
pub fn merged<L: Copy>(lanes: &mut [L], merge: impl Fn(L, L) -> L) -> L {
    let mut left = lanes.len();
    for half in [4, 2, 1] {
        for i in half..left {
            lanes[i - half] = merge(lanes[i - half], lanes[i]);
        }
        left = left.min(half);
    }
    lanes[0]
}

/// As [`merged`], each as soon as it can be: of eight, three are kept at a time. (With the number known when this is compiled. An array of sums was in memory, and with AVX2 cleared by a call.)
#[inline(always)]
pub fn merged_in_turn<L>(
    count: usize,
    mut lane: impl FnMut(usize) -> L,
    merge: impl Fn(L, L) -> L,
) -> L {
    let one = merged_fours(0, count, &mut lane, &merge);
    if count > 1 {
        merge(one, merged_fours(1, count, &mut lane, &merge))
    } else {
        one
    }
}

/// Lane `k` and every second one after it.
#[inline(always)]
fn merged_fours<L>(
    k: usize,
    count: usize,
    lane: &mut impl FnMut(usize) -> L,
    merge: &impl Fn(L, L) -> L,
) -> L {
    let one = merged_pairs(k, count, lane, merge);
    if k + 2 < count {
        merge(one, merged_pairs(k + 2, count, lane, merge))
    } else {
        one
    }
}

/// Lane `k` and the fourth after it.
#[inline(always)]
fn merged_pairs<L>(
    k: usize,
    count: usize,
    lane: &mut impl FnMut(usize) -> L,
    merge: &impl Fn(L, L) -> L,
) -> L {
    let one = lane(k);
    if k + 4 < count {
        merge(one, lane(k + 4))
    } else {
        one
    }
}

impl<V: Vector, const C: usize> Block<V, C> {
    /// Reads the first rows of the batch, which has one source, and finds their [`shifts`](Self::shifts).
    #[inline(always)]
    pub fn read_shifts(
        &mut self,
        simd: V::Simd,
        rows: &impl Columns<V::Elem>,
        scale: &Scale<V::Elem>,
    ) -> Option<Shifts<V>> {
        self.read_first(simd, rows);
        self.shifts(simd, scale)
    }

    /// The shifts of the rows; `None`, unless all of them have a finite maximum, and are weighed without an offset. There may be NaN
    /// elements besides: their row's sum is NaN.
    #[inline(always)]
    pub fn shifts(&mut self, simd: V::Simd, scale: &Scale<V::Elem>) -> Option<Shifts<V>> {
        let max = max_of(simd, self.columns());
        Shifts::new(simd, max, scale)
    }

    /// The column in which each row has its maximum first.
    #[inline(always)]
    pub fn top(&self, simd: V::Simd, max: V) -> V {
        top_of(simd, &self.columns.array(0)[..self.classes], max)
    }

    /// The sum of the weights of each row, as `leaf` has them of a column. `None` if there is a NaN.
    #[inline(always)]
    pub fn sum_weights(
        &mut self,
        simd: V::Simd,
        shifts: &Shifts<V>,
        mut leaf: impl FnMut(usize, &mut V, Weights<V>) -> Weights<V>,
    ) -> Option<[Wide<V::Elem>; ROWS]> {
        let weigh = &Weigh::<V, false>::of_rows(simd, shifts);
        let sums = self.sum_lanes(
            #[inline(always)]
            |columns, lane, end| {
                let x = &mut columns[0][lane];
                let weights = weigh.weights(simd, *x);
                let mut total = Total::of(simd, leaf(lane, x, weights));
                let mut k = lane + V::LANES;
                while k < end {
                    let x = &mut columns[0][k];
                    let weights = weigh.weights(simd, *x);
                    total.add(leaf(k, x, weights));
                    k += V::LANES;
                }
                total.of_lanes()
            },
            #[inline(always)]
            |a, b| Total::merge(a, b),
        );
        let sums = sums.lanes();
        (!has_nan(&sums)).then_some(sums)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Block, ROWS};
    use crate::backend::Backend;
    use crate::rows::{Columns as _, Rows};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    /// The columns in which sixteen rows have their maximum.
    struct Tops;

    impl Kernel<Rows<'_, f32, 1>> for Tops {
        type Output = Vec<f64>;

        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> Vec<f64> {
            let mut block = Block::<S::F32>::none();
            block.clear(simd, rows.classes());
            block.read(simd, &rows);
            let columns = block.columns();
            let max = columns.iter().fold(columns[0], |max, &x| x.max(max));
            block.top(simd, max).widen().to_vec()
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Tops {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> Vec<f64> {
            unreachable!("the scalar path has no blocks")
        }
    }

    /// As a row alone finds it: which of equal elements is left out of a sum shows in the order of its additions.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn the_first_of_equal_maxima() {
        for classes in [1, 3, 5, 64] {
            // Row `r` has its maximum in columns `r`, `r + 1` and `r + 4`, as far as there are such.
            let row = |r: usize| (0..classes).map(move |k| [r, r + 1, r + 4].contains(&k));
            let rows: Vec<Vec<bool>> = (0..ROWS).map(|r| row(r % classes).collect()).collect();
            let x: Vec<f32> = rows.iter().flatten().map(|&top| f32::from(top)).collect();
            let first = |row: &Vec<bool>| row.iter().position(|&top| top).unwrap() as f64;
            let want: Vec<f64> = rows.iter().map(first).collect();
            for backend in Backend::available().filter(|b| b.name() != "scalar") {
                let rows = Rows::new([&x[..]], classes).unwrap();
                assert_eq!(backend.run(&Tops, rows), want, "{backend:?}, {classes}");
            }
        }
    }
}
