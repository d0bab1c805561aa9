//! Sixteen short rows at once as they lie: a row in some vectors, and what is done once a row for sixteen at a time, a row in a lane.
//!
//! Of the two ways to have sixteen rows at once this is the faster one where rows fill their vectors: [by columns](super::block), every element
//! changes its place twice, and here only what is left of them does, one vector a row. What is made of the rows before is written
//! row by row beside the weights of these: so the processor has something to store while it computes.
//!
//! The bits are those of the same rows one by one, or by columns: the elements of a row are added in the same order ([`Totals`]), and every
//! other step is that of a lane.

use super::block::{self, ROWS, Work};
use super::running::RunningTotal;
use super::scale::Scale;
use super::shift::{Shift, Shifts, Weigh, Weights};
use super::total::{Total, Totals};
use super::weights;
use super::wide::{Wide, WideFloat as _};
use crate::element::sealed::Float;
use crate::partly::Partly;
use crate::rows::{Columns, FEW, Pass, Peek, Row};
use crate::simd::{Simd as _, Vector};

/// Vectors in the longest rows, and in those whose weights are kept.
const VECTORS: usize = 16;
const KEPT: usize = 12;

/// As many vectors as there are, more than rows have whose sums are [few](super::total): for a number of vectors in a row.
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

    /// Looks at the first sixteen rows, which have these maxima. The next call is for the next ones. `None`: they will be done one by one.
    fn look(&mut self, simd: V::Simd, rows: &R, max: V) -> Option<Seen<V>>;

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

/// Whether rows are done as they lie: if they fill their vectors, or, where there are results to write, most of many; and longer rows, which are not done by columns, if more
/// than sixteen have something to stand beside.
///
/// (Measured: rows of 16 take as long by columns, and of 28 less. Of sixteen rows with results, 128 classes take 0.75 to 1.0 of the time that they take one by one, and 256 up to 1.4.)
#[inline(always)]
fn is_worth(rows: usize, classes: usize, writes: bool) -> bool {
    let whole = classes.next_multiple_of(ROWS);
    let fills_most = classes > 2 * ROWS && 8 * (whole - classes) <= whole;
    let fills = classes > ROWS && (classes == whole || writes && fills_most);
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
    let is_worth = classes <= W::MOST_CLASSES && is_worth(count, classes, R::WRITES);
    if V::ABREAST && W::APPLIES && is_worth {
        match (classes.div_ceil(ROWS), classes % ROWS) {
            (5.., _) => ranks::<V, R, W, K, ANY, false>(simd, rows, work),
            (2, _) => ranks::<V, R, W, K, 2, true>(simd, rows, work),
            (3, 0) => ranks::<V, R, W, K, 3, true>(simd, rows, work),
            (_, 0) => ranks::<V, R, W, K, 4, true>(simd, rows, work),
            (3, _) if R::WRITES => ranks::<V, R, W, K, 3, false>(simd, rows, work),
            _ if R::WRITES => ranks::<V, R, W, K, 4, false>(simd, rows, work),
            // Rows that are not worth it.
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
            for (base, bits) in (0..).step_by(64).zip(bits).skip(1) {
                at = if at == base {
                    base + bits.trailing_zeros()
                } else {
                    at
                };
            }
        }
        *found = Wide::<V::Elem>::of(f64::from(at));
    }
    V::narrow(simd, &found)
}

/// What the weights of sixteen rows are summed below: see [`weights::ceiling`].
#[inline(always)]
fn ceilings<V: Vector>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
    maxima: &[V; ROWS],
    seen: &Seen<V>,
) -> [V::Elem; ROWS] {
    let Seen {
        shifts,
        left_out,
        logit,
    } = *seen;
    let mut ceilings = [Shift::highest_ceiling(); ROWS];
    let (left_out, none) = (left_out.lanes(), left_out.lt(V::splat(simd, V::Elem::ZERO)));
    let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
    let mut others = *maxima;
    for (other, &left_out) in others.iter_mut().zip(&left_out) {
        let lane = V::lane(simd, number(left_out) % ROWS);
        *other = V::select(lane, lowest, *other);
    }
    let is_counted = V::select(none, lowest, logit).lt(shifts.max);
    let other = V::max_of_each(simd, &others);
    let other = V::select(is_counted, shifts.max, other);
    let room = RunningTotal::<V>::room(classes.div_ceil(ROWS));
    let mut far = V::bits(V::constant(simd, f64::from(room)).lt(shifts.octaves_below(simd, other)));
    if far != 0 {
        let max = shifts.max.lanes();
        while far != 0 {
            let r = far.trailing_zeros() as usize;
            far &= far - 1;
            let row = rows.range(r * classes, (r + 1) * classes);
            let shift = Shift::new::<V>(max[r], shifts.scale());
            ceilings[r] = weights::ceiling(simd, row, maxima[r], number(left_out[r]), &shift);
        }
    }
    ceilings
}

/// The number of an element, which is beyond all if it is negative.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of few elements"
)]
fn number<T: Float>(x: T) -> usize {
    x.to_f64() as isize as usize
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

/// Weighs a row of `N` vectors, the last of which may not be `WHOLE`. `keep` is given the weights of each vector as they are written, and `add` those that are summed: without
/// the element of that number.
#[inline(always)]
fn weigh_row<V: Vector, const N: usize, const WHOLE: bool>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 1>,
    weigh: &Weigh<V, false>,
    left_out: Option<(&[V; VECTORS], V)>,
    mut keep: impl FnMut(usize, V),
    mut add: impl FnMut(Weights<V>),
) {
    let (whole, tail) = (row.len() / ROWS, row.len() % ROWS);
    each_vector::<V, N>(
        simd,
        row,
        V::Elem::NEG_INFINITY,
        #[inline(always)]
        |i, x| {
            let mut weights = weigh.weights(simd, x);
            keep(i, weights.rounded);
            if let Some((numbers, left_out)) = left_out {
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
            add(weights);
        },
    );
}

/// Looks at the first sixteen rows: what is known of them, and what their weights are summed `below`, if they have [many](ANY) vectors.
#[inline(always)]
fn look<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const N: usize>(
    simd: V::Simd,
    rows: &R,
    work: &mut W,
    classes: usize,
    below: &mut [V::Elem; ROWS],
) -> Option<Seen<V>>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    let maxima = maxima::<V, N>(simd, rows.peek(), classes);
    let max = V::max_of_each(simd, &maxima);
    let mut seen = work.look(simd, rows, max)?;
    if W::LEAVES_OUT == LeavesOut::Maximum {
        seen.left_out = find_each::<V, N>(simd, rows.peek(), classes, max);
    }
    if N == ANY && W::LEAVES_OUT != LeavesOut::Nothing {
        *below = ceilings(simd, rows.peek(), classes, &maxima, &seen);
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
    let vectors = if N == ANY { classes.div_ceil(ROWS) } else { N };
    work.begin();
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
            let seen = look::<V, R, W, K, N>(simd, &rows, work, classes, &mut below);
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
                (first.peek(), weigh, of_row)
            },
        );
        for r in 0..ROWS {
            let (start, end) = (r * classes, (r + 1) * classes);
            if let Some((rows, weigh, of_row)) = &weighing {
                let [lowest, magic, left_out] = of_row.row(simd, r);
                let leaves_out = W::LEAVES_OUT != LeavesOut::Nothing;
                let mut few = Total::new(simd);
                let mut many = RunningTotal::new(simd, below[r]);
                weigh_row::<V, N, WHOLE>(
                    simd,
                    rows.range(start, end),
                    &weigh.of_row([lowest, magic]),
                    leaves_out.then_some((&numbers, left_out)),
                    #[inline(always)]
                    |i, weights| {
                        if W::KEEPS_WEIGHTS {
                            new[r * vectors + i] = weights;
                        }
                    },
                    #[inline(always)]
                    |weights| match N {
                        ANY => many.add(weights),
                        _ => few.add(weights),
                    },
                );
                match N {
                    ANY => totals.set_running(simd, r, many),
                    _ => totals.set(r, few),
                }
            }
            if let Some((rows, made)) = before.as_mut().filter(|_| R::WRITES) {
                let made = made.row(simd, r);
                rows.whole().part(start, end).map(
                    simd,
                    [V::Elem::ZERO],
                    #[inline(always)]
                    |i, [x]: [V; 1]| {
                        let at = r * vectors + i;
                        let x = if W::KEEPS_WEIGHTS { old[at] } else { x };
                        W::result(simd, made, numbers[i], x)
                    },
                );
            }
        }
        if let Some((first, seen)) = next {
            let sums = match N {
                ANY => totals.finish_running(),
                _ => totals.finish(simd),
            };
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
