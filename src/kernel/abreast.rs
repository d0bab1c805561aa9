//! Sixteen short rows at once as they lie: a row in some vectors, and what is done once a row for sixteen at a time, a row in a lane.
//!
//! Of the two ways to have sixteen rows at once this is the faster one where rows fill their vectors: [by columns](super::block), every element
//! changes its place twice, and here only what is left of them does, one vector a row. What is made of the rows before is written
//! row by row beside the weights of these: so the processor has something to store while it computes.
//!
//! The bits are those of the same rows one by one, or by columns: the elements of a row are added in the same order ([`Totals`]), and every
//! other step is that of a lane.

use super::block::{self, ROWS, Work};
use super::scale::Scale;
use super::shift::{Shifts, Weigh};
use super::total::{Total, Totals};
use super::wide::{Wide, WideFloat as _};
use crate::element::sealed::Float as _;
use crate::partly::Partly;
use crate::rows::{Columns, FEW, Pass, Peek, Row};
use crate::simd::{Simd as _, Vector};

/// Vectors in the longest rows.
const VECTORS: usize = FEW / ROWS;

/// Work on rows that is done sixteen at a time as they lie, where that is faster. `K` is how many numbers of a row its results are made with.
pub trait Abreast<V: Vector, R, const K: usize>: Work<V, R, 1, 1>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    /// Whether any rows are done like that.
    const APPLIES: bool = true;
    /// Whether results are made of weights, or of elements.
    const KEEPS_WEIGHTS: bool;
    /// The elements whose weights are not summed with the others.
    const LEAVES_OUT: LeavesOut;
    /// What is known of sixteen rows, beside what all work knows.
    type More;

    /// Looks at the first sixteen rows, which have these maxima. The next call is for the next ones. `None`: they will be done one by one.
    fn look(&mut self, simd: V::Simd, rows: &R, max: V) -> Option<Seen<V, Self::More>>;

    /// Does what is done once a row, given the sums of the weights, and returns what results are made with, if they are written. Rows are settled in the order
    /// of the batch.
    fn settle(
        &mut self,
        simd: V::Simd,
        seen: Seen<V, Self::More>,
        sums: [Wide<V::Elem>; ROWS],
    ) -> [V; K];

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
pub struct Seen<V: Vector, M> {
    pub shifts: Shifts<V>,
    /// The number of the element that is left out. (Of the maximum it is found afterwards.)
    pub left_out: V,
    pub more: M,
}

impl<V: Vector> Seen<V, ()> {
    /// Of rows with these maxima, of which nothing else is to be known; `None`, as of [`Shifts::new`].
    #[inline(always)]
    pub fn new(simd: V::Simd, max: V, scale: &Scale<V::Elem>) -> Option<Self> {
        let shifts = Shifts::new(simd, max, scale)?;
        Some(Self {
            shifts,
            left_out: max,
            more: (),
        })
    }
}

/// Whether rows are done as they lie: if they fill their vectors, or, where there are results to write, most of many.
///
/// (Measured: rows of 16 take as long by columns, and of 28 less.)
#[inline(always)]
fn is_worth(classes: usize, writes: bool) -> bool {
    let whole = classes.next_multiple_of(ROWS);
    let fills_most = classes > 2 * ROWS && 8 * (whole - classes) <= whole;
    (classes == whole || writes && fills_most) && (ROWS + 1..=FEW).contains(&classes)
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
    const { assert!(V::LANES == ROWS && VECTORS == 4) };
    let is_worth = is_worth(rows.classes(), R::WRITES) && rows.rows() >= ROWS;
    if V::ABREAST && W::APPLIES && is_worth {
        match (rows.classes().div_ceil(ROWS), rows.classes() % ROWS) {
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

/// The maxima of the first sixteen rows, of `N` vectors each, which may drop a NaN.
#[inline(always)]
fn maxima<V: Vector, const N: usize>(
    simd: V::Simd,
    rows: Row<'_, V::Elem, 1>,
    classes: usize,
) -> V {
    let lowest = V::Elem::NEG_INFINITY;
    let mut maxima = [V::splat(simd, lowest); ROWS];
    for (r, max) in maxima.iter_mut().enumerate() {
        let row = rows.range(r * classes, (r + 1) * classes);
        for i in 0..N {
            *max = row.vector_or::<V>(simd, i, lowest).max(*max);
        }
    }
    V::max_of_each(simd, &maxima)
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
        let row = rows.range(r * classes, (r + 1) * classes);
        let [wanted] = wanted.row(simd, r);
        let mut bits = 0;
        for i in 0..N {
            let x = row.vector_or::<V>(simd, i, V::Elem::NAN);
            bits |= u64::from(V::bits(x.eq(wanted))) << (i * ROWS);
        }
        *found = Wide::<V::Elem>::of(f64::from(bits.trailing_zeros()));
    }
    V::narrow(simd, &found)
}

/// The numbers of the elements of a row, vector by vector.
#[inline(always)]
fn numbers<V: Vector>(simd: V::Simd) -> [V; VECTORS] {
    let mut all = [V::splat(simd, V::Elem::ZERO); VECTORS];
    for (i, numbers) in all.iter_mut().enumerate() {
        let mut wide = [Wide::<V::Elem>::ZERO; ROWS];
        for (lane, wide) in wide.iter_mut().enumerate() {
            *wide = Wide::<V::Elem>::of((i * ROWS + lane) as f64);
        }
        *numbers = V::narrow(simd, &wide);
    }
    all
}

/// Weighs a row of `N` vectors, the last of which may not be `WHOLE`, but for the element with the number that is left out. `keep` is given the weights, as they
/// are written, of each vector.
#[inline(always)]
fn weigh_row<V: Vector, const N: usize, const WHOLE: bool>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 1>,
    weigh: &Weigh<V, false>,
    left_out: Option<(&[V; VECTORS], V)>,
    mut keep: impl FnMut(usize, V),
) -> Total<V> {
    let tail = row.len() % ROWS;
    let mut total = Total::new(simd);
    for i in 0..N {
        let x = row.vector_or(simd, i, V::Elem::NEG_INFINITY);
        let mut weights = weigh.weights(simd, x);
        keep(i, weights.rounded);
        if let Some((numbers, left_out)) = left_out {
            weights = weights.without(simd, numbers[i].eq(left_out));
        }
        if !WHOLE && i + 1 == N {
            weights = weights.without(simd, V::lanes_from(simd, tail));
        }
        total.add(weights);
    }
    total
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
    work.begin();
    let numbers = numbers::<V>(simd);
    let mut weights = [Partly::<V, { ROWS * VECTORS }>::none(), Partly::none()];
    if W::KEEPS_WEIGHTS {
        for weights in &mut weights {
            weights.refill(V::splat(simd, V::Elem::ZERO), ROWS * N);
        }
    }
    let [mut new, mut old] = weights.each_mut();
    let mut totals = Totals::new(simd);
    let mut waiting = None;
    while waiting.is_some() || rows.rows() >= ROWS {
        let (mut next, mut refused) = (None, None);
        if rows.rows() >= ROWS {
            let max = maxima::<V, N>(simd, rows.peek(), classes);
            let seen = work.look(simd, &rows, max);
            let (first, rest) = rows.split_at(ROWS);
            rows = rest;
            if let Some(mut seen) = seen {
                if W::LEAVES_OUT == LeavesOut::Maximum {
                    seen.left_out = find_each::<V, N>(simd, first.peek(), classes, max);
                }
                next = Some((first, seen));
            } else {
                refused = Some(first);
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
                let weigh = weigh.of_row([lowest, magic]);
                let leaves_out = W::LEAVES_OUT != LeavesOut::Nothing;
                let total = weigh_row::<V, N, WHOLE>(
                    simd,
                    rows.range(start, end),
                    &weigh,
                    leaves_out.then_some((&numbers, left_out)),
                    #[inline(always)]
                    |i, weights| {
                        if W::KEEPS_WEIGHTS {
                            new[r * N + i] = weights;
                        }
                    },
                );
                totals.set(r, total);
            }
            if let Some((rows, made)) = before.as_mut().filter(|_| R::WRITES) {
                let made = made.row(simd, r);
                rows.whole().part(start, end).map(
                    simd,
                    [V::Elem::ZERO],
                    #[inline(always)]
                    |i, [x]: [V; 1]| {
                        let x = if W::KEEPS_WEIGHTS { old[r * N + i] } else { x };
                        W::result(simd, made, numbers[i], x)
                    },
                );
            }
        }
        if let Some((first, seen)) = next {
            let sums = totals.finish(simd);
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
