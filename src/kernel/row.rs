//! One row of a softmax-like operation: its extent, its weights and their sum, its results.

use super::chunks::Chunks;
use super::scale::Scale;
use super::shift::Shift;
use super::tree;
use super::tree::Merge;
use super::weights::{Counted, Extent, Heaviest, NONE, Weighed, extent, weigh};
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{CHUNK, Pass, Row};
use crate::simd::{Simd as _, Vector};

/// What an operation makes of a row.
pub trait RowWork<T: Real> {
    /// Whether the results are made of weights, which then are written first, or of the elements.
    const KEEPS_WEIGHTS: bool;

    /// Whether something else is summed in the same sweep: [`beside`](Self::beside).
    const SUMS_BESIDE: bool = false;

    /// Whether the sweeps over a row are [out of line](crate::simd::Simd::out_of_line), once for whole rows and for parts of them: of long code, to which a
    /// call is nothing.
    const OUT_OF_LINE: bool = false;

    /// The factor of the logits.
    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        Scale::one()
    }

    /// How the elements of a row with this maximum become weights.
    #[inline(always)]
    fn shift<V: Vector<Elem = T>>(&self, max: T) -> Shift<T> {
        Shift::new::<V>(max, &self.scale())
    }

    /// The element whose weight is not summed with the others.
    fn left_out(&self) -> LeftOut<T>;

    /// Whether [`Outcome`] is to tell where the first of the largest elements is.
    #[inline(always)]
    fn finds_top(&self) -> bool {
        false
    }

    /// Sums the weights of a row, or of a part of it from element `start` on, that are counted.
    #[inline(always)]
    fn weigh<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        shift: &Shift<T>,
        counted: Counted<'_, V>,
        ahead: Row<'_, T, 1>,
    ) -> (Weighed<V>, Beside<T>) {
        if shift.is_far() {
            self.weigh_as::<V, P, true>(simd, part, start, shift, counted, ahead)
        } else {
            self.weigh_as::<V, P, false>(simd, part, start, shift, counted, ahead)
        }
    }

    /// The same of a row whose shift is far, or is not: each out of line, if the [sweeps are](Self::OUT_OF_LINE).
    #[inline(always)]
    fn weigh_as<V: Vector<Elem = T>, P: Pass<T, 1>, const FAR: bool>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        shift: &Shift<T>,
        counted: Counted<'_, V>,
        ahead: Row<'_, T, 1>,
    ) -> (Weighed<V>, Beside<T>) {
        if Self::OUT_OF_LINE {
            // Copies to refer to: the caller has what it works on in registers.
            let (len, shift) = (part.len(), *shift);
            let mut part = part.part(0, len);
            return simd.out_of_line(
                #[inline(always)]
                || {
                    let mut part = part.part(0, len);
                    self.weigh_here::<V, _, FAR>(simd, &mut part, start, &shift, counted, ahead)
                },
            );
        }
        self.weigh_here::<V, P, FAR>(simd, part, start, shift, counted, ahead)
    }

    /// The same, inline.
    #[inline(always)]
    fn weigh_here<V: Vector<Elem = T>, P: Pass<T, 1>, const FAR: bool>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        shift: &Shift<T>,
        mut counted: Counted<'_, V>,
        ahead: Row<'_, T, 1>,
    ) -> (Weighed<V>, Beside<T>) {
        let mut sums = (Sums::new(), Sums::new());
        let before =
            sum_beside::<T, V, Self>(simd, self, start, shift, counted.left_out, &mut sums);
        let weighed = if Self::KEEPS_WEIGHTS {
            weigh::<V, _, FAR>(simd, part, shift, &mut counted, ahead, before)
        } else {
            weigh::<V, _, FAR>(simd, &mut part.source(), shift, &mut counted, ahead, before)
        };
        let mut beside = Beside::new();
        if Self::SUMS_BESIDE {
            beside.sums = sums.0.total();
            if self.sums_more() {
                beside.more = sums.1.total();
            }
        }
        (weighed, beside)
    }

    /// Whether [`more`](Self::more) is summed as well.
    #[inline(always)]
    fn sums_more(&self) -> bool {
        false
    }

    /// What is to be summed beside the weights, of elements that begin at `start`. One of them, counted from there, may be the one
    /// that is left out.
    #[inline(always)]
    fn beside<V: Vector<Elem = T>>(
        &self,
        _: V::Simd,
        _: Row<'_, T, 1>,
        _: usize,
        _: &Shift<T>,
        _left_out: usize,
    ) -> [Wide<T>; 5] {
        [Wide::<T>::ZERO; 5]
    }

    /// What else is, if it is wanted.
    #[inline(always)]
    fn more<V: Vector<Elem = T>>(
        &self,
        _: V::Simd,
        _: Row<'_, T, 1>,
        _: usize,
        _: &Shift<T>,
        _left_out: usize,
    ) -> [Wide<T>; 6] {
        [Wide::<T>::ZERO; 6]
    }

    /// Writes the [results](Self::results), out of line if the sweeps are, and there is a destination.
    #[inline(always)]
    fn write_results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        if Self::OUT_OF_LINE && P::WRITES {
            // As above.
            let len = part.len();
            let mut part = part.part(0, len);
            return simd.out_of_line(
                #[inline(always)]
                || {
                    let mut part = part.part(0, len);
                    self.results::<V, _>(simd, &mut part, start, weighed);
                },
            );
        }
        self.results::<V, P>(simd, part, start, weighed);
    }

    /// Writes the results of a part of a row, from element `start` on.
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    );

    /// The same for a row that has no weights.
    fn special<P: Pass<T, 1>>(&self, part: &mut P, start: usize, extent: Extent<T>);
}

/// Sums beside that of the weights.
#[derive(Clone, Copy, Debug)]
pub struct Beside<T: Float> {
    /// What the loss takes.
    pub sums: [Wide<T>; 5],
    /// What else is [wanted](RowWork::sums_more).
    pub more: [Wide<T>; 6],
}

impl<T: Real> Beside<T> {
    /// Of nothing.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            sums: [Wide::<T>::ZERO; 5],
            more: [Wide::<T>::ZERO; 6],
        }
    }
}

impl<T: Real> Merge for Beside<T> {
    fn merge(self, right: Self) -> Self {
        Self {
            sums: self.sums.merge(right.sums),
            more: self.more.merge(right.more),
        }
    }
}

/// Some sums whose leaves come chunk by chunk.
#[derive(Debug)]
struct Sums<W: WideFloat, const N: usize> {
    first: [W; N],
    /// From the second chunk on.
    trees: Option<[tree::Sum<W>; N]>,
    chunks: usize,
}

impl<W: WideFloat, const N: usize> Sums<W, N> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            first: [W::ZERO; N],
            trees: None,
            chunks: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, leaves: [W; N]) {
        self.chunks += 1;
        if self.chunks == 1 {
            self.first = leaves;
        } else {
            self.push_to_trees(leaves);
        }
    }

    #[inline(never)]
    fn push_to_trees(&mut self, leaves: [W; N]) {
        let first = self.first;
        let trees = self.trees.get_or_insert_with(|| {
            first.map(|leaf| {
                let mut tree = tree::Sum::new();
                tree.push(leaf);
                tree
            })
        });
        for (tree, leaf) in trees.iter_mut().zip(leaves) {
            tree.push(leaf);
        }
    }

    #[inline(always)]
    fn total(&self) -> [W; N] {
        let mut totals = self.first;
        if let Some(trees) = &self.trees {
            for (total, tree) in totals.iter_mut().zip(trees) {
                *total = tree.total();
            }
        }
        totals
    }
}

/// What adds up [`RowWork::beside`] of each chunk.
#[inline(always)]
fn sum_beside<'a, T: Real, V: Vector<Elem = T>, W: RowWork<T> + ?Sized>(
    simd: V::Simd,
    work: &'a W,
    start: usize,
    shift: &'a Shift<T>,
    left_out: usize,
    (sums, more): &'a mut (Sums<Wide<T>, 5>, Sums<Wide<T>, 6>),
) -> impl FnMut(Row<'_, T, 1>, usize) + use<'a, T, V, W> {
    #[inline(always)]
    move |chunk, at| {
        if W::SUMS_BESIDE {
            let left_out = left_out.wrapping_sub(at);
            sums.push(work.beside::<V>(simd, chunk, start + at, shift, left_out));
            if work.sums_more() {
                more.push(work.more::<V>(simd, chunk, start + at, shift, left_out));
            }
        }
    }
}

/// The element whose weight is not summed with the others.
#[derive(Clone, Copy, Debug)]
pub enum LeftOut<T> {
    /// All are summed.
    Nothing,
    /// The first of the largest.
    Maximum,
    /// The element at an index, and what it is.
    Real(usize, T),
}

/// What a row turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<T: Float> {
    /// Weighed.
    Ordinary(Ordinary<T>),
    /// Without weights. Never [`Extent::Finite`].
    Special(Extent<T>, Top),
}

impl<T: Float> Outcome<T> {
    /// If it is weighed.
    #[inline(always)]
    pub fn ordinary(self) -> Option<Ordinary<T>> {
        match self {
            Self::Ordinary(weighed) => Some(weighed),
            Self::Special(..) => None,
        }
    }
}

/// Where the first of the largest elements is, of which NaN is one, if that was asked for.
pub type Top = usize;

/// A row that is weighed.
#[derive(Clone, Copy, Debug)]
pub struct Ordinary<T: Float> {
    pub top: Top,
    pub shift: Shift<T>,
    /// The sum of the weights, but for the one left out.
    pub sum: Wide<T>,
    /// What was summed beside them.
    pub beside: Beside<T>,
    pub heaviest: Heaviest<T>,
    pub apart: Apart<T>,
}

/// The element that is left out, if any.
#[derive(Clone, Copy, Debug)]
pub struct Apart<T: Float> {
    /// Where it is, or [`NONE`].
    pub index: usize,
    /// What it is, less the offset, times the factor.
    pub logit: Wide<T>,
    /// Its weight.
    pub weight: Wide<T>,
}

impl<T: Real> Apart<T> {
    /// The element at this index, which is `x`.
    #[inline(always)]
    pub fn new<V: Vector<Elem = T>>(shift: &Shift<T>, index: usize, x: T) -> Self {
        let weight = if index == NONE {
            Wide::<T>::ZERO
        } else {
            shift.accurate_weight::<V>(x)
        };
        Self {
            index,
            logit: shift.logit(x),
            weight,
        }
    }
}

impl<T: Real> Ordinary<T> {
    /// The log-sum-exp, less the scaled offset.
    #[inline(always)]
    pub fn log<V: Vector<Elem = T>>(&self) -> Wide<T> {
        (self.sum + self.apart.weight).ln() + self.shift.ln_unit::<V>()
    }

    /// `-ln p` of the element that is left out.
    #[inline(always)]
    pub fn loss<V: Vector<Elem = T>>(&self) -> Wide<T> {
        let Apart { weight, logit, .. } = self.apart;
        WideFloat::negative_log_likelihood(self.sum, weight, self.shift.ln_unit::<V>(), logit)
    }
}

/// Does a row, of which `max` may be the maximum of each lane, and then `chunks` is what is known of its chunks. Returns what it was, and the same of the
/// next row, if that is `ahead` and not shorter.
#[inline(always)]
pub fn row<V: Vector, P: Pass<V::Elem, 1>>(
    simd: V::Simd,
    row: &mut P,
    work: &impl RowWork<V::Elem>,
    max: Option<V>,
    chunks: &mut Chunks<V::Elem>,
    ahead: Row<'_, V::Elem, 1>,
) -> (Outcome<V::Elem>, Option<V>) {
    let (outcome, next_max) = weighed_row(simd, row, work, max, chunks, ahead);
    if let Outcome::Ordinary(ordinary) = &outcome {
        work.write_results::<V, P>(simd, row, 0, ordinary);
    }
    (outcome, next_max)
}

/// The same, but that the results of an ordinary row are left to be [written](RowWork::write_results).
#[inline(always)]
pub fn weighed_row<V: Vector, P: Pass<V::Elem, 1>>(
    simd: V::Simd,
    row: &mut P,
    work: &impl RowWork<V::Elem>,
    max: Option<V>,
    chunks: &mut Chunks<V::Elem>,
    ahead: Row<'_, V::Elem, 1>,
) -> (Outcome<V::Elem>, Option<V>) {
    let maxima = match max {
        Some(max) => max,
        None => chunks.find(simd, row.source()),
    };
    let max = match extent::<V>(simd, row.source(), Some(maxima)) {
        Extent::Finite(max) => max,
        extent => {
            let top = top_of(work, row.source(), extent);
            work.special(row, 0, extent);
            return (Outcome::Special(extent, top), None);
        }
    };
    let top = if work.finds_top() {
        row.source().find::<V>(simd, max).unwrap_or_default()
    } else {
        0
    };
    let shift = work.shift::<V>(max);
    let (index, x) = match work.left_out() {
        LeftOut::Nothing => (NONE, max),
        // There is one: the maximum was found in the row.
        LeftOut::Maximum => (row.source().find::<V>(simd, max).unwrap_or_default(), max),
        LeftOut::Real(i, x) => (i, x),
    };
    // Before the other weights, which then hide how long it takes.
    let apart = Apart::new::<V>(&shift, index, x);
    let counted = Counted {
        left_out: index,
        maxima: (row.len() <= CHUNK).then_some(maxima),
        chunks,
    };
    let (weighed, beside) = work.weigh::<V, P>(simd, row, 0, &shift, counted, ahead);
    let Weighed {
        sum,
        heaviest,
        next_max,
    } = weighed;
    // The sum does not tell of what is left out.
    if sum.is_nan() || x.is_nan() {
        // Weights that are written over logits are NaN where these are.
        let top = top_of(work, row.source(), Extent::Nan);
        work.special(row, 0, Extent::Nan);
        return (Outcome::Special(Extent::Nan, top), next_max);
    }
    let ordinary = Ordinary {
        top,
        shift,
        sum,
        beside,
        heaviest,
        apart,
    };
    (Outcome::Ordinary(ordinary), next_max)
}

/// Where the first of the largest elements of a row without weights is, if that is asked for.
#[inline(always)]
fn top_of<T: Real>(work: &impl RowWork<T>, row: Row<'_, T, 1>, extent: Extent<T>) -> Top {
    if work.finds_top() {
        // Of equal elements, which are all `-inf`, the first.
        first_of_special(row, extent).unwrap_or_default()
    } else {
        0
    }
}

/// Where the first NaN is, or the first `+inf`, in a row that has one, or a part of it.
#[inline(never)]
pub fn first_of_special<T: Real>(row: Row<'_, T, 1>, extent: Extent<T>) -> Option<Top> {
    let is_top = |x: T| match extent {
        Extent::Nan => x.is_nan(),
        _ => x == T::INFINITY,
    };
    (0..row.len()).find(|&i| is_top(row.get(0, i)))
}

#[cfg(all(test, feature = "std"))]
pub mod tests {
    use super::{LeftOut, Ordinary, RowWork, weighed_row};
    use crate::kernel::chunks::Chunks;
    use crate::kernel::weights::Extent;
    use crate::rows::{Pass, Row};
    use crate::simd::Vector;

    /// Sums the weights of rows, but for one each, and makes nothing of them.
    #[derive(Clone, Copy)]
    pub struct Summing(pub LeftOut<f32>);

    impl Summing {
        /// What is found of a row that has weights.
        pub fn row<V: Vector<Elem = f32>>(
            &self,
            simd: V::Simd,
            mut row: Row<'_, f32, 1>,
        ) -> Ordinary<f32> {
            let chunks = &mut Chunks::unknown();
            let (outcome, _) =
                weighed_row::<V, _>(simd, &mut row, self, None, chunks, Row::empty());
            match outcome.ordinary() {
                Some(ordinary) => ordinary,
                None => unreachable!("these rows have weights"),
            }
        }
    }

    impl RowWork<f32> for Summing {
        const KEEPS_WEIGHTS: bool = false;

        fn left_out(&self) -> LeftOut<f32> {
            self.0
        }

        fn results<V: Vector<Elem = f32>, P: Pass<f32, 1>>(
            &self,
            _: V::Simd,
            _: &mut P,
            _: usize,
            _: &Ordinary<f32>,
        ) {
        }

        fn special<P: Pass<f32, 1>>(&self, _: &mut P, _: usize, extent: Extent<f32>) {
            unreachable!("these rows have weights, and not {extent:?}");
        }
    }
}
