//! Sixteen rows of two to eight classes at once, by columns that stay in registers.
//!
//! A [block](super::block) lies in memory, and of few classes it computes less than it waits for what it wrote there. What is done once a row is that of rows [as they
//! lie](super::abreast), and so are the bits those of the same rows one by one.
//!
//! (Measured: softmax of 2 to 8 classes takes 0.5 to 0.85 of the time of blocks.)

use super::abreast::{Abreast, LeavesOut, Seen};
use super::block::{self, ROWS};
use super::shift::Weigh;
use super::total::Total;
use super::wide::Wide;
use crate::rows::{Columns, Peek};
use crate::simd::{Simd as _, Vector, align_stack};

/// Does the work on sixteen rows of `C` classes at a time while there are as many, and leaves the others. Out of line.
#[inline(always)]
pub fn each<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const C: usize>(
    simd: V::Simd,
    rows: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    simd.out_of_line(
        #[inline(always)]
        || in_registers::<V, R, W, K, C>(simd, rows, work),
    );
}

/// Sixteen rows that have been weighed: their columns or weights, what is known of them, and their sums.
type Waiting<R, V, const C: usize> = (R, [V; C], Seen<V>, [Wide<<V as Vector>::Elem>; ROWS]);

/// Sixteen rows of which it is known what their results are made with.
type Settled<R, V, const C: usize, const K: usize> = (R, [V; C], [V; K]);

/// From how many classes on rows are written after the next ones are settled, where a vector is a register. (With AVX-512 softmax and log-softmax of 5 and 8 classes take 0.80 to 0.90 of the time then, of 4 0.94 to 0.98, and of 3
/// 0.96 to 1.01; with AVX2, where they are kept in memory meanwhile, softmax of 5 and 8 classes takes 1.11 and 1.12.)
const WRITTEN_LATER: usize = 4;

/// Sixteen rows are settled after the next ones are weighed, and perhaps [written later](WRITTEN_LATER) still: what waits for their sums, and what waits for what is made of
/// these, has something beside it.
#[inline(always)]
fn in_registers<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const C: usize>(
    simd: V::Simd,
    left: &mut R,
    work: &mut W,
) where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    align_stack();
    let mut rows = left.take_all();
    debug_assert!(rows.classes() == C, "rows of other lengths");
    work.begin(simd);
    let prefetches = rows.elements() > block::NEAR;
    let mut waiting: Option<Waiting<R, V, C>> = None;
    let mut settled: Option<Settled<R, V, C, K>> = None;
    while settled.is_some() || waiting.is_some() || rows.rows() >= ROWS {
        let (mut next, mut refused) = (None, None);
        if rows.rows() >= ROWS {
            let columns: [V; C] = rows.read_few(simd);
            let seen = look(simd, work, &columns);
            let (first, rest) = rows.split_at(ROWS);
            rows = rest;
            if prefetches && rows.rows() > 0 {
                let places = rows.places();
                for i in 0..C {
                    block::ask::<V, R, 1>(simd, places, i * ROWS);
                }
            }
            match seen {
                Some(seen) => next = Some((first, columns, seen)),
                None => refused = Some(first),
            }
        }
        let before = waiting.take();
        if let Some((first, mut columns, mut seen)) = next {
            let sums = weigh::<V, R, W, K, C>(simd, &mut columns, &mut seen).lanes();
            if block::has_nan(&sums) {
                refused = Some(first);
            } else {
                waiting = Some((first, columns, seen, sums));
            }
        }
        let mut ready = settled.take();
        if let Some((first, columns, seen, sums)) = before {
            let now = Some((first, columns, work.settle(simd, seen, sums)));
            // But for sixteen rows alone.
            let has_company = waiting.is_some() || ready.is_some();
            if const { R::WRITES && C >= WRITTEN_LATER && V::SIDE_BY_SIDE && W::WAITS }
                && has_company
            {
                settled = now;
            } else {
                debug_assert!(ready.is_none(), "rows that are not written");
                ready = now;
            }
        }
        if let Some((mut first, mut columns, made)) = ready {
            for (k, x) in columns.iter_mut().enumerate() {
                *x = W::result(simd, made, block::column(simd, k), *x);
            }
            Columns::write_few(&mut first, simd, columns);
        }
        if let Some(mut first) = refused {
            block::alone(simd, &mut first, work);
        }
    }
    *left = rows;
}

/// What is known of sixteen rows before they are weighed.
#[inline(always)]
fn look<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const C: usize>(
    simd: V::Simd,
    work: &mut W,
    columns: &[V; C],
) -> Option<Seen<V>>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    let max = block::merged(
        &mut { *columns },
        #[inline(always)]
        |a, b| V::max(b, a),
    );
    let mut seen = work.look(
        simd,
        max,
        #[inline(always)]
        |left_out| {
            let mut logit = max;
            for (k, &x) in columns.iter().enumerate() {
                logit = V::select(block::column::<V>(simd, k).eq(left_out), x, logit);
            }
            logit
        },
    )?;
    if W::LEAVES_OUT == LeavesOut::Maximum {
        seen.left_out = block::top_of(simd, columns, max);
    }
    Some(seen)
}

/// The sums of the weights of sixteen rows, which take the place of the columns if results are made of them.
#[inline(always)]
fn weigh<V: Vector, R, W: Abreast<V, R, K>, const K: usize, const C: usize>(
    simd: V::Simd,
    columns: &mut [V; C],
    seen: &mut Seen<V>,
) -> Total<V>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1>,
{
    let weigh = Weigh::<V, false>::of_rows(simd, &seen.shifts);
    block::merged_in_turn(
        C,
        #[inline(always)]
        |k| {
            let x = &mut columns[k];
            let mut weights = weigh.weights(simd, *x);
            if W::KEEPS_WEIGHTS {
                // Equal elements have equal weights.
                let is_largest = x.eq(seen.shifts.max);
                seen.shifts.heaviest = Some(match seen.shifts.heaviest {
                    Some(heaviest) => V::select(is_largest, weights.rounded, heaviest),
                    None => weights.rounded,
                });
                *x = weights.rounded;
            }
            if W::LEAVES_OUT != LeavesOut::Nothing {
                weights = weights.without(simd, block::column::<V>(simd, k).eq(seen.left_out));
            }
            Total::of(simd, weights).of_lanes()
        },
        #[inline(always)]
        |a, b| Total::merge(a, b),
    )
}
