//! Sixteen short rows at once as they lie: a row in some vectors, and what is done once a row for sixteen at a time, a row in a lane.
//!
//! Of the two ways to have sixteen rows at once this is the faster one where rows fill their vectors: [by columns](super::block), every element
//! changes its place twice, and here only what is left of them does, one vector a row. What is made of the rows before is written
//! row by row beside the weights of these: so the processor has something to store while it computes. Longer rows, which are not done by columns, would
//! wait one by one for what is done once a row.
//!
//! The bits are those of the same rows one by one, or by columns: the elements of a row are added in the same order ([`Totals`]), and every
//! other step is that of a lane.

use super::block::{self, ROWS, Work};
use super::log;
use super::narrow;
use super::running::RunningTotal;
use super::scale::Scale;
use super::shift::{Shift, Shifts, Weigh, Weights};
use super::total::{Total, Totals};
use super::weights;
use super::wide::{Wide, WideFloat as _};
use crate::element::sealed::Float as _;
use crate::partly::Partly;
use crate::rows::{Columns, FEW, Map, Pass, Peek, Row, of_first};
use crate::simd::{Simd as _, Vector};

/// Vectors in the longest rows: with more, what is done once a row is little. (256 classes of which nothing is written take 0.69 to 0.91 of the time that they take one by one.)
const VECTORS: usize = 16;

/// Vectors in the longest rows whose results are written: what is read, written and kept of some rows fills the first-level cache. (192 classes take 0.68 to 0.91 of the time, and 256 up to
/// 0.97, but for log-softmax.)
const KEPT: usize = 12;

/// Instead of a number of vectors: as many as there are, and more than [`Total`] takes.
const ANY: usize = 0;

/// Work on rows that is done sixteen at a time as they lie, where that is faster. `K` is how many numbers of a row its results are made with.
pub trait Abreast<V: Vector, R, const K: usize>: Work<V, R, 1, 1>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    /// Whether any rows are done like that.
    const APPLIES: bool = true;
    /// Longer rows are faster one by one, or not slower.
    const MOST_CLASSES: usize = if R::WRITES {
        KEPT * ROWS
    } else {
        VECTORS * ROWS
    };
    /// Whether results are made of weights, or of elements.
    const KEEPS_WEIGHTS: bool;
    /// The elements whose weights are not summed with the others.
    const LEAVES_OUT: LeavesOut;
    /// Whether [`settle`](Self::settle) is little more than waiting for one result after the other, so that rows of [few classes](super::narrow) are written after the next ones are
    /// settled.
    const WAITS: bool = true;

    /// Looks at the first sixteen rows, which have these maxima, and of which `logits` has the elements with these numbers, or the largest where a number is negative. The next call is for the
    /// next ones. `None`: they will be done one by one.
    fn look(&mut self, simd: V::Simd, max: V, logits: impl FnOnce(V) -> V) -> Option<Seen<V>>;

    /// Does what is done once a row, given the sums of the weights, and returns what results are made with, if they are written. Rows are settled in the order
    /// of the batch.
    fn settle(&mut self, simd: V::Simd, seen: Seen<V>, sums: [Wide<V::Elem>; ROWS]) -> [V; K];

    /// The results of some elements, or of their weights, which have these numbers in their rows.
    fn result(simd: V::Simd, row: [V; K], numbers: V, x: V) -> V;
}

/// The elements whose weights are not summed with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeavesOut {
    /// All are summed.
    Nothing,
    /// The first of the largest of each row.
    Maximum,
    /// Those that the work says.
    Others,
}

/// What is known of sixteen rows before they are weighed, a row in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Seen<V: Vector> {
    pub shifts: Shifts<V>,
    /// The number of the element that is left out, negative if none is. (Of the maximum it is found afterwards.)
    pub left_out: V,
    /// That element.
    pub logit: V,
}

impl<V: Vector> Seen<V> {
    /// Of rows with these maxima, of which nothing is left out but perhaps those; `None`, as of [`Shifts::new`].
    #[inline(always)]
    pub fn new(simd: V::Simd, max: V, scale: &Scale<V::Elem>) -> Option<Self> {
        let shifts = Shifts::new(simd, max, scale)?;
        Some(Self {
            shifts,
            left_out: V::constant(simd, -1.0),
            logit: max,
        })
    }
}

/// Whether rows are done as they lie. Rows of up to 64 classes are, if the alternative, columns, would leave no lane idle that this does: if they fill two to four vectors. Where results are
/// written, an eighth of three or four vectors may be idle. Longer rows always are; but of the longest that are written, sixteen alone, with nothing to stand beside their weights, are not.
///
/// (Measured: rows of 16 take as long by columns, and of 28 less. Of sixteen rows with results, 128 classes take 0.72 to 0.97 of the time that they take one by one, and 256 up to 1.4.)
#[inline(always)]
pub fn is_worth(rows: usize, classes: usize, writes: bool) -> bool {
    let whole = classes.next_multiple_of(ROWS);
    let fills_most = writes && classes > 2 * ROWS && 8 * (whole - classes) <= whole;
    let fills = classes > ROWS && (classes == whole || fills_most);
    let least = if writes && classes > 2 * FEW {
        2 * ROWS
    } else {
        ROWS
    };
    rows >= least && (fills || classes > FEW)
}

/// Does the work on all rows of a batch, in order, and leaves none.
#[inline(always)]
pub fn each<V: Vector, R, W: Abreast<V, R, K>, const K: usize>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    const { assert!(V::LANES == ROWS && FEW == 4 * ROWS) };
    const { assert!(W::MOST_CLASSES <= if W::KEEPS_WEIGHTS { KEPT } else { VECTORS } * ROWS) };
    let (count, classes) = (rows.rows(), rows.classes());
    // (Constants in front: so nothing is compiled of what does not apply.)
    if V::ABREAST && W::APPLIES && count >= ROWS {
        match classes {
            2 => narrow::each::<V, R, W, K, 2>(simd, rows, work),
            3 => narrow::each::<V, R, W, K, 3>(simd, rows, work),
            4 => narrow::each::<V, R, W, K, 4>(simd, rows, work),
            5 => narrow::each::<V, R, W, K, 5>(simd, rows, work),
            6 => narrow::each::<V, R, W, K, 6>(simd, rows, work),
            7 => narrow::each::<V, R, W, K, 7>(simd, rows, work),
            8 => narrow::each::<V, R, W, K, 8>(simd, rows, work),
            _ => {}
        }
    }
    let is_worth = classes <= W::MOST_CLASSES && is_worth(count, classes, R::WRITES);
    if V::ABREAST && W::APPLIES && is_worth {
        match (classes.div_ceil(ROWS), classes % ROWS) {
            (5.., _) => ranks::<V, R, W, K, ANY, false>(simd, rows, work),
            (2, 0) => ranks::<V, R, W, K, 2, true>(simd, rows, work),
            (3, 0) => ranks::<V, R, W, K, 3, true>(simd, rows, work),
            (4, 0) => ranks::<V, R, W, K, 4, true>(simd, rows, work),
            (3, _) if R::WRITES => ranks::<V, R, W, K, 3, false>(simd, rows, work),
            (4, _) if R::WRITES => ranks::<V, R, W, K, 4, false>(simd, rows, work),
            // No other rows are worth it.
            _ => {}
        }
    }
    block::each::<V, R, W, 1, 1>(simd, rows, work);
}

/// [`in_ranks`], out of line.
#[inline(always)]
fn ranks<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const N: usize, const WHOLE: bool>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    simd.out_of_line(
        #[inline(always)]
        || in_ranks::<V, R, W, K, N, WHOLE>(simd, rows, work),
    );
}

/// Numbers of sixteen rows, to be had row by row.
#[derive(Debug)]
struct ByRow<V: Vector, const K: usize>([[V::Elem; ROWS]; K]);

impl<V: Vector, const K: usize> ByRow<V, K> {
    #[inline(always)]
    fn new(rows: [V; K]) -> Self {
        let mut lanes = [[V::Elem::ZERO; ROWS]; K];
        for (lanes, x) in lanes.iter_mut().zip(rows) {
            *lanes = x.lanes();
        }
        Self(lanes)
    }

    /// Those of a row, each in all lanes.
    #[inline(always)]
    fn row(&self, simd: V::Simd, row: usize) -> [V; K] {
        let mut all = [V::splat(simd, V::Elem::ZERO); K];
        for (x, lanes) in all.iter_mut().zip(&self.0) {
            *x = V::splat(simd, lanes[row]);
        }
        all
    }
}

/// Calls `f` for each of the `N` vectors of a row, with `fill` where the last one is short.
#[inline(always)]
fn each_vector<V: Vector, const N: usize>(
    simd: V::Simd,
    mut row: Row<'_, V::Elem, 1>,
    fill: V::Elem,
    mut f: impl FnMut(usize, V),
) {
    if N == ANY {
        row.map(
            simd,
            [fill],
            #[inline(always)]
            |i, [x]: [V; 1]| {
                f(i, x);
                x
            },
        );
    }
    for i in 0..N {
        f(i, row.vector_or(simd, i, fill));
    }
}

/// The maxima of the lanes of the first sixteen rows, which may drop a NaN.
#[inline(always)]
fn maxima<V: Vector, const N: usize>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
) -> [V; ROWS] {
    let lowest = V::Elem::NEG_INFINITY;
    let mut maxima = [V::splat(simd, lowest); ROWS];
    for (r, max) in maxima.iter_mut().enumerate() {
        each_vector::<V, N>(
            simd,
            rows.range(r * classes, (r + 1) * classes),
            lowest,
            #[inline(always)]
            |_, x| *max = x.max(*max),
        );
    }
    maxima
}

/// The numbers of the first elements of sixteen rows that are equal to these. (Without a branch: where they are cannot be foreseen.)
#[inline(always)]
fn find_each<V: Vector, const N: usize>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
    wanted: V,
) -> V {
    let wanted = ByRow::new([wanted]);
    let mut found = [Wide::<V::Elem>::ZERO; ROWS];
    for (r, found) in found.iter_mut().enumerate() {
        let [wanted] = wanted.row(simd, r);
        let mut bits = [0_u64; VECTORS / 4];
        each_vector::<V, N>(
            simd,
            rows.range(r * classes, (r + 1) * classes),
            V::Elem::NAN,
            #[inline(always)]
            |i, x| bits[i / 4] |= u64::from(V::bits(x.eq(wanted))) << (i % 4 * ROWS),
        );
        let mut at = bits[0].trailing_zeros();
        if N == ANY {
            let mut base = 64;
            for bits in &bits[1..] {
                at = if at == base {
                    base + bits.trailing_zeros()
                } else {
                    at
                };
                base += 64;
            }
        }
        *found = Wide::<V::Elem>::of(f64::from(at));
    }
    V::narrow(simd, &found)
}

/// The elements of the first sixteen rows that have these numbers, or what there is `instead` of those that are negative.
#[inline(always)]
fn elements<V: Vector>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
    numbers: V,
    instead: V,
) -> V {
    let mut elements = instead.widen();
    for (r, (element, at)) in elements.iter_mut().zip(integers(numbers)).enumerate() {
        if at != NONE {
            *element = rows.get(0, r * classes + at).to_wide();
        }
    }
    V::narrow(simd, &elements)
}

/// What the weights of sixteen rows are summed below: what [`weights::ceiling`] finds of each. Most rows have the highest: where the largest element is counted, or another lane has one that is near
/// enough by the same comparison, of numbers that are rounded alike. The others are left to that function.
#[inline(always)]
fn ceilings<V: Vector>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
    maxima: &[V; ROWS],
    seen: &Seen<V>,
    lane_numbers: V,
) -> [V::Elem; ROWS] {
    let Seen {
        shifts,
        left_out,
        logit,
    } = *seen;
    let mut ceilings = [Shift::highest_ceiling(); ROWS];
    let none = left_out.lt(V::splat(simd, V::Elem::ZERO));
    let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
    // Some lane where nothing is left out: then the largest is counted.
    let lanes = ByRow::new([lanes_of(simd, left_out)]);
    let mut others = *maxima;
    for (r, other) in others.iter_mut().enumerate() {
        let [lane] = lanes.row(simd, r);
        *other = V::select(lane.eq(lane_numbers), lowest, *other);
    }
    let is_counted = V::select(none, lowest, logit).lt(shifts.max);
    let other = V::max_of_each(simd, &others);
    let other = V::select(is_counted, shifts.max, other);
    let room = RunningTotal::<V>::room(classes.div_ceil(ROWS));
    let mut far = V::bits(V::constant(simd, f64::from(room)).lt(shifts.octaves_below(simd, other)));
    if far != 0 {
        let (max, left_out) = (shifts.max.lanes(), integers(left_out));
        while far != 0 {
            let r = far.trailing_zeros() as usize;
            far &= far - 1;
            let row = rows.range(r * classes, (r + 1) * classes);
            let shift = Shift::new::<V>(max[r], shifts.scale());
            ceilings[r] = weights::ceiling(simd, row, maxima[r], left_out[r], &shift);
        }
    }
    ceilings
}

/// What -1 becomes as a [number](integers).
const NONE: usize = usize::MAX;

/// Numbers of elements, -1 included. (Without the tests of a conversion that is right for all numbers, so that the compiler makes vectors of it.)
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of few elements"
)]
fn integers<V: Vector>(x: V) -> [usize; ROWS] {
    let mut integers = [0; ROWS];
    for (integer, x) in integers.iter_mut().zip(x.widen()) {
        *integer = (x.nearest() + log::ROUND).to_bits() as i32 as isize as usize;
    }
    integers
}

/// The lanes of elements with these numbers.
#[inline(always)]
fn lanes_of<V: Vector>(simd: V::Simd, numbers: V) -> V {
    let (sixteenth, least) = (V::constant(simd, 0.0625), V::constant(simd, 15.0 / 32.0));
    let round = V::splat(simd, V::Elem::EXP.round);
    // Rounded down, as it has no more than sixteenths.
    let vectors = ((numbers * sixteenth - least) + round) - round;
    numbers - vectors * V::constant(simd, ROWS as f64)
}

/// The numbers of the elements of a row of so many vectors.
#[inline(always)]
fn numbers<V: Vector>(simd: V::Simd, vectors: usize) -> [V; VECTORS] {
    let mut first = [Wide::<V::Elem>::ZERO; ROWS];
    for (lane, number) in first.iter_mut().enumerate() {
        *number = Wide::<V::Elem>::of(lane as f64);
    }
    let first = V::narrow(simd, &first);
    let mut all = [first; VECTORS];
    for (i, numbers) in all.iter_mut().enumerate().take(vectors) {
        *numbers = first + block::column(simd, i * ROWS);
    }
    all
}

/// The sum of a row of `N` vectors, of which one of the two is used.
struct RowSum<V: Vector, const N: usize> {
    few: Total<V>,
    many: RunningTotal<V>,
}

impl<V: Vector, const N: usize> RowSum<V, N> {
    #[inline(always)]
    fn new(simd: V::Simd, ceiling: V::Elem) -> Self {
        Self {
            few: Total::new(simd),
            many: RunningTotal::new(simd, ceiling),
        }
    }

    #[inline(always)]
    fn add(&mut self, weights: Weights<V>) {
        if N == ANY {
            self.many.add(weights);
        } else {
            self.few.add(weights);
        }
    }

    /// As that of a row among sixteen.
    #[inline(always)]
    fn put(self, simd: V::Simd, totals: &mut Totals<V>, row: usize) {
        if N == ANY {
            totals.set_running(simd, row, self.many);
        } else {
            totals.set(row, self.few);
        }
    }

    /// Those of sixteen rows.
    #[inline(always)]
    fn finish(simd: V::Simd, totals: &Totals<V>) -> [Wide<V::Elem>; ROWS] {
        if N == ANY {
            totals.finish_running()
        } else {
            totals.finish(simd)
        }
    }
}

/// Weighs a row of `N` vectors. If the last of them is a whole one is known when this is compiled (`WHOLE`), unless `N` is not. `keep` is given the weights of each vector as they are
/// written, and `add` those that are summed: without the element whose number is `left_out`, beside the numbers of all.
#[inline(always)]
fn weigh_row<V: Vector, const N: usize, const WHOLE: bool>(
    simd: V::Simd,
    mut row: Row<'_, V::Elem, 1>,
    weigh: &Weigh<V, false>,
    left_out: Option<(&[V; VECTORS], V)>,
    keep: impl FnMut(usize, V),
    add: impl FnMut(Weights<V>),
) {
    let mut weighing = Weighing::<V, _, _, N, WHOLE> {
        simd,
        weigh,
        left_out,
        len: row.len(),
        keep,
        add,
    };
    let lowest = V::Elem::NEG_INFINITY;
    if N == ANY {
        row.map_several::<V>(simd, [lowest], weighing);
    } else {
        for i in 0..N {
            weighing.vectors(i, [[row.vector_or(simd, i, lowest)]]);
        }
    }
}

/// What [`weigh_row`] does with each vector.
struct Weighing<'a, V: Vector, A, B, const N: usize, const WHOLE: bool> {
    simd: V::Simd,
    weigh: &'a Weigh<V, false>,
    left_out: Option<(&'a [V; VECTORS], V)>,
    len: usize,
    keep: A,
    add: B,
}

impl<V: Vector, A: FnMut(usize, V), B: FnMut(Weights<V>), const N: usize, const WHOLE: bool>
    Map<V, 1> for Weighing<'_, V, A, B, N, WHOLE>
{
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 1]; G]) -> [V; G] {
        let simd = self.simd;
        let (whole, tail) = (self.len / ROWS, self.len % ROWS);
        let y = of_first(x);
        for (i, mut weights) in self.weigh.weights_of(simd, y).into_iter().enumerate() {
            let i = first + i;
            (self.keep)(i, weights.rounded);
            if let Some((numbers, left_out)) = self.left_out {
                weights = weights.without(simd, numbers[i].eq(left_out));
            }
            let is_tail = if N == ANY {
                i == whole
            } else {
                !WHOLE && i + 1 == N
            };
            if is_tail {
                weights = weights.without(simd, V::lanes_from(simd, tail));
            }
            (self.add)(weights);
        }
        y
    }
}

/// Writes what `f` makes of each of the `N` vectors of a row.
#[inline(always)]
fn write_row<V: Vector, P: Pass<V::Elem, 1>, const N: usize>(
    simd: V::Simd,
    row: &mut P,
    f: impl Fn(usize, V) -> V,
) {
    let fill = V::Elem::ZERO;
    if N == ANY {
        row.map(
            simd,
            [fill],
            #[inline(always)]
            |i, [x]: [V; 1]| f(i, x),
        );
    }
    for i in 0..N {
        let x = row.source().vector_or(simd, i, fill);
        row.put(i, f(i, x));
    }
}

/// Looks at the first sixteen rows: what is known of them, and what their weights are summed `below`, if they have [many](ANY) vectors.
#[inline(always)]
fn look<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const N: usize>(
    simd: V::Simd,
    rows: &R,
    work: &mut W,
    classes: usize,
    numbers: &[V; VECTORS],
    below: &mut [V::Elem; ROWS],
) -> Option<Seen<V>>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    let maxima = maxima::<V, N>(simd, rows.peek(), classes);
    let max = V::max_of_each(simd, &maxima);
    let mut seen = work.look(
        simd,
        max,
        #[inline(always)]
        |at| elements(simd, rows.peek(), classes, at, max),
    )?;
    if W::LEAVES_OUT == LeavesOut::Maximum {
        seen.left_out = find_each::<V, N>(simd, rows.peek(), classes, max);
    }
    if N == ANY && W::LEAVES_OUT != LeavesOut::Nothing {
        *below = ceilings(simd, rows.peek(), classes, &maxima, &seen, numbers[0]);
    }
    Some(seen)
}

/// Does the work on sixteen rows at a time while there are as many, and leaves the others. Rows are those of [`weigh_row`].
#[inline(always)]
fn in_ranks<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const N: usize, const WHOLE: bool>(
    simd: V::Simd,
    left: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    let mut rows = left.take_all();
    let classes = if WHOLE { N * ROWS } else { rows.classes() };
    debug_assert!(
        classes == rows.classes(),
        "rows that do not fill their vectors"
    );
    let vectors = if N == ANY { classes.div_ceil(ROWS) } else { N };
    work.begin(simd);
    let numbers = numbers::<V>(simd, vectors);
    let mut weights = [Partly::<V, { ROWS * KEPT }>::none(), Partly::none()];
    if W::KEEPS_WEIGHTS {
        // Sixteen rows alone need the first only.
        for weights in weights.iter_mut().take(rows.rows() / ROWS) {
            weights.refill(V::splat(simd, V::Elem::ZERO), ROWS * vectors);
        }
    }
    let [mut new, mut old] = weights.each_mut();
    let mut below = [Shift::highest_ceiling(); ROWS];
    let mut totals = Totals::new(simd);
    let mut waiting = None;
    while waiting.is_some() || rows.rows() >= ROWS {
        let (mut next, mut refused) = (None, None);
        if rows.rows() >= ROWS {
            let seen = look::<V, R, W, K, N>(simd, &rows, work, classes, &numbers, &mut below);
            let (first, rest) = rows.split_at(ROWS);
            rows = rest;
            match seen {
                Some(seen) => next = Some((first, seen)),
                None => refused = Some(first),
            }
        }
        let mut before: Option<(R, ByRow<V, K>)> = None;
        if let Some((first, seen, sums)) = waiting.take() {
            before = Some((first, ByRow::new(work.settle(simd, seen, sums))));
        }
        let weighing = next.as_ref().map(
            #[inline(always)]
            |(first, seen)| {
                let weigh = Weigh::<V, false>::of_rows(simd, &seen.shifts);
                let [lowest, magic] = weigh.of_each();
                let of_row = ByRow::new([lowest, magic, seen.left_out]);
                // Of the last rows, what is in the cache.
                let places = if rows.rows() > 0 { &rows } else { first }.places();
                (first.peek(), places, weigh, of_row)
            },
        );
        for r in 0..ROWS {
            let (start, end) = (r * classes, (r + 1) * classes);
            if let Some((these, places, weigh, of_row)) = &weighing {
                let [lowest, magic, left_out] = of_row.row(simd, r);
                let leaves_out = W::LEAVES_OUT != LeavesOut::Nothing;
                let mut sum = RowSum::<V, N>::new(simd, below[r]);
                weigh_row::<V, N, WHOLE>(
                    simd,
                    these.range(start, end),
                    &weigh.of_row([lowest, magic]),
                    leaves_out.then_some((&numbers, left_out)),
                    #[inline(always)]
                    |i, weights| {
                        // Else, out of cache, the maxima of the next rows would wait with nothing beside.
                        block::ask::<V, R, 1>(simd, *places, start + i * ROWS);
                        if W::KEEPS_WEIGHTS {
                            new[r * vectors + i] = weights;
                        }
                    },
                    #[inline(always)]
                    |weights| sum.add(weights),
                );
                sum.put(simd, &mut totals, r);
            }
            if !R::WRITES {
                continue;
            }
            if let Some((rows, made)) = &mut before {
                let made = made.row(simd, r);
                let mut all = rows.whole();
                write_row::<V, _, N>(
                    simd,
                    &mut all.part(start, end),
                    #[inline(always)]
                    |i, x| {
                        let at = r * vectors + i;
                        let x = if W::KEEPS_WEIGHTS { old[at] } else { x };
                        W::result(simd, made, numbers[i], x)
                    },
                );
            }
        }
        if let Some((first, seen)) = next {
            let sums = RowSum::<V, N>::finish(simd, &totals);
            if block::has_nan(&sums) {
                refused = Some(first);
            } else {
                waiting = Some((first, seen, sums));
            }
        }
        if let Some(mut first) = refused {
            block::alone(simd, &mut first, work);
        }
        core::mem::swap(&mut new, &mut old);
    }
    *left = rows;
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{
        ANY, NONE, ROWS, Seen, VECTORS, ceilings, find_each, integers, lanes_of, maxima, numbers,
    };
    use crate::backend::Backend;
    use crate::kernel::scale::Scale;
    use crate::kernel::shift::Shift;
    use crate::kernel::weights::ceiling;
    use crate::rows::{Columns as _, Pass as _, Peek as _, Rows};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    /// The number of the first of the largest elements of each of sixteen rows.
    struct Tops;

    impl Kernel<Rows<'_, f32, 1>> for Tops {
        type Output = [f32; ROWS];

        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> [f32; ROWS] {
            let (all, classes) = (rows.peek(), rows.classes());
            let max = S::F32::max_of_each(simd, &maxima::<S::F32, ANY>(simd, all, classes));
            if classes == 64 {
                return find_each::<S::F32, 4>(simd, all, classes, max).lanes();
            }
            find_each::<S::F32, ANY>(simd, all, classes, max).lanes()
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Tops {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> [f32; ROWS] {
            unreachable!("the scalar path has no vectors")
        }
    }

    fn vector_backends() -> impl Iterator<Item = Backend> {
        Backend::available().filter(|backend| backend.name() != "scalar")
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    #[expect(clippy::float_cmp, reason = "these are numbers of elements")]
    fn the_first_of_equal_maxima() {
        for classes in [64, 65, 128, 189, 256] {
            // In row `r` the largest is at one of the seams, and again later.
            let seams = [0, 1, 15, 16, 63, 64, 70, 127, 128, 130, 188, 191, 192, 255];
            let first = |r: usize| seams[r % seams.len()] % classes;
            let mut x = vec![-1.0; ROWS * classes];
            for (r, row) in x.chunks_exact_mut(classes).enumerate() {
                row[first(r)..].iter_mut().step_by(7).for_each(|x| *x = 2.5);
            }
            for backend in vector_backends() {
                let found = backend.run(&Tops, Rows::new([&x[..]], classes).unwrap());
                let want: [f32; ROWS] = core::array::from_fn(|r| first(r) as f32);
                assert_eq!(found, want, "{backend:?}, {classes}");
            }
        }
    }

    /// The numbers of elements, as integers, and their lanes.
    struct Numbers([f32; ROWS]);

    impl Kernel<()> for Numbers {
        type Output = ([usize; ROWS], [f32; ROWS]);

        fn simd<S: Simd>(&self, simd: S, (): ()) -> Self::Output {
            let numbers = S::F32::load(simd, &self.0);
            (integers(numbers), lanes_of(simd, numbers).lanes())
        }
    }

    impl Scalar<()> for Numbers {
        fn scalar(&self, (): ()) -> Self::Output {
            unreachable!("the scalar path has no vectors")
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are integers")]
    fn numbers_and_lanes() {
        for backend in vector_backends() {
            for first in (0..VECTORS * ROWS).step_by(ROWS) {
                let numbers = core::array::from_fn(|i| (first + i) as f32);
                let (integers, lanes) = backend.run(&Numbers(numbers), ());
                assert_eq!(integers, core::array::from_fn(|i| first + i), "{backend:?}");
                assert_eq!(lanes, core::array::from_fn(|i| i as f32), "{backend:?}");
            }
            let (integers, lanes) = backend.run(&Numbers([-1.0; ROWS]), ());
            assert_eq!(integers, [NONE; ROWS], "{backend:?}");
            assert_eq!(lanes, [15.0; ROWS], "{backend:?}");
        }
    }

    /// The ceilings of sixteen rows, and those of each.
    struct Ceilings([f32; ROWS]);

    impl Kernel<Rows<'_, f32, 1>> for Ceilings {
        type Output = [[f32; ROWS]; 2];

        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> [[f32; ROWS]; 2] {
            let (all, classes, scale) = (rows.peek(), rows.classes(), Scale::one());
            let maxima = maxima::<S::F32, ANY>(simd, all, classes);
            let max = S::F32::max_of_each(simd, &maxima);
            let mut seen = Seen::new(simd, max, &scale).unwrap_or_else(|| unreachable!("moderate"));
            seen.left_out = S::F32::load(simd, &self.0);
            let left_outs = integers(seen.left_out);
            let (mut logits, mut each) = (max.lanes(), [0.0; ROWS]);
            for r in 0..ROWS {
                let row = all.range(r * classes, (r + 1) * classes);
                let left_out = left_outs[r];
                let shift = Shift::new::<S::F32>(max.lanes()[r], &scale);
                each[r] = ceiling(simd, row, maxima[r], left_out, &shift);
                if left_out < classes {
                    logits[r] = row.get(0, left_out);
                }
            }
            seen.logit = S::F32::load(simd, &logits);
            let [lanes, ..] = numbers::<S::F32>(simd, 1);
            [ceilings(simd, all, classes, &maxima, &seen, lanes), each]
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Ceilings {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> [[f32; ROWS]; 2] {
            unreachable!("the scalar path has no weights")
        }
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    #[expect(clippy::float_cmp, reason = "these are powers of two")]
    fn the_ceilings_are_those_of_each_row() {
        let mut state = 1_u64;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        let mut lower = 0;
        for classes in [65, 100, 128, 189, 256] {
            for spread in [0.0, 3.0, 30.0, 90.0] {
                for _ in 0..50 {
                    let mut x = vec![0.0; ROWS * classes];
                    let mut left_out = [-1.0; ROWS];
                    for (row, left_out) in x.chunks_exact_mut(classes).zip(&mut left_out) {
                        for x in &mut *row {
                            *x = -spread * random(1000) as f32 / 1000.0;
                        }
                        let at = random(classes);
                        // The largest, by more and more; any; none.
                        match random(4) {
                            0 => {}
                            1 => *left_out = random(classes) as f32,
                            _ => {
                                row[at] = random(20) as f32 * 0.7;
                                *left_out = at as f32;
                            }
                        }
                        if random(8) == 0 {
                            row.fill(f32::NEG_INFINITY);
                            row[at] = 1.0;
                        }
                    }
                    for backend in vector_backends() {
                        let rows = Rows::new([&x[..]], classes).unwrap();
                        let [found, each] = backend.run(&Ceilings(left_out), rows);
                        assert_eq!(found, each, "{backend:?}, {classes}, {spread}");
                        let highest = Shift::<f32>::highest_ceiling();
                        lower += found.iter().filter(|&&ceiling| ceiling < highest).count();
                    }
                }
            }
        }
        assert!(lower > 1000, "{lower} that are not the highest");
    }
}
