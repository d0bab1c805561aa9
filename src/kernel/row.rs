//! One row of a softmax-like operation: its extent, its weights and their sum, its results.

use super::scale::Scale;
use super::shift::Shift;
use super::weights::{Extent, Heaviest, NONE, Weighed, extent, weigh};
use super::{log, tree};
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, Row};
use crate::simd::Vector;

/// What an operation makes of a row.
pub trait RowWork<T: Element> {
    /// Whether the results are made of weights, which then are written first, or of the elements.
    const KEEPS_WEIGHTS: bool;

    /// Whether something else is summed in the same sweep: [`beside`](Self::beside).
    const SUMS_BESIDE: bool = false;

    /// The factor of the logits.
    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        Scale::one()
    }

    /// The element whose weight is not summed with the others.
    fn left_out(&self) -> LeftOut<T>;

    /// Sums the weights of a row, or of a part of it from element `start` on, but for one element.
    #[inline(always)]
    fn weigh<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        shift: &Shift<T>,
        left_out: usize,
        ahead: Row<'_, T, 1>,
    ) -> (Weighed<V>, f64) {
        // A tree of its own: of one with two numbers at each node, the compiler makes short vectors.
        let mut beside = tree::Sum::new();
        let before = sum_beside::<T, V, Self>(simd, self, start, shift, &mut beside);
        let weighed = if Self::KEEPS_WEIGHTS {
            weigh::<V, _>(simd, part, shift, left_out, ahead, before)
        } else {
            weigh::<V, _>(simd, &mut part.source(), shift, left_out, ahead, before)
        };
        let beside = if Self::SUMS_BESIDE {
            beside.total()
        } else {
            0.0
        };
        (weighed, beside)
    }

    /// What is to be summed beside the weights, of elements that begin at `start`.
    #[inline(always)]
    fn beside<V: Vector<Elem = T>>(
        &self,
        _: V::Simd,
        _: Row<'_, T, 1>,
        _: usize,
        _: &Shift<T>,
    ) -> f64 {
        0.0
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

/// What adds up [`RowWork::beside`] of each chunk.
#[inline(always)]
fn sum_beside<'a, T: Element, V: Vector<Elem = T>, W: RowWork<T> + ?Sized>(
    simd: V::Simd,
    work: &'a W,
    start: usize,
    shift: &'a Shift<T>,
    sum: &'a mut tree::Sum,
) -> impl FnMut(Row<'_, T, 1>, usize) + use<'a, T, V, W> {
    #[inline(always)]
    move |chunk, at| {
        if W::SUMS_BESIDE {
            sum.push(work.beside::<V>(simd, chunk, start + at, shift));
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
    Element(usize, T),
}

/// What a row turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<T> {
    /// Weighed.
    Ordinary(Ordinary<T>),
    /// Without weights. Never [`Extent::Finite`].
    Special(Extent<T>),
}

/// A row that is weighed.
#[derive(Clone, Copy, Debug)]
pub struct Ordinary<T> {
    pub shift: Shift<T>,
    /// The sum of the weights, but for the one left out.
    pub sum: f64,
    /// What was summed beside them.
    pub beside: f64,
    pub heaviest: Heaviest,
    pub apart: Apart,
}

/// The element that is left out, if any.
#[derive(Clone, Copy, Debug)]
pub struct Apart {
    /// Where it is, or [`NONE`].
    pub index: usize,
    /// What it is, less the offset, times the factor.
    pub logit: f64,
    /// Its weight.
    pub weight: f64,
}

impl Apart {
    /// The element at this index, which is `x`.
    #[inline(always)]
    pub fn new<V: Vector>(shift: &Shift<V::Elem>, index: usize, x: V::Elem) -> Self {
        let weight = if index == NONE {
            0.0
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

impl<T: Element> Ordinary<T> {
    /// The log-sum-exp, less the scaled offset.
    #[inline(always)]
    pub fn log<V: Vector<Elem = T>>(&self) -> f64 {
        log::ln(self.sum + self.apart.weight) + self.shift.ln_unit::<V>()
    }

    /// `-ln p` of the element that is left out.
    #[inline(always)]
    pub fn loss<V: Vector<Elem = T>>(&self) -> f64 {
        let Apart { weight, logit, .. } = self.apart;
        log::negative_log_likelihood(
            log::by_branch,
            self.sum,
            weight,
            self.shift.ln_unit::<V>(),
            logit,
        )
    }
}

/// Does a row, of which `max` may be the maximum of each lane. Returns what it was, and the maximum of each lane of the
/// next row, if that is `ahead`.
#[inline(always)]
pub fn row<V: Vector, P: Pass<V::Elem, 1>>(
    simd: V::Simd,
    row: &mut P,
    work: &impl RowWork<V::Elem>,
    max: Option<V>,
    ahead: Row<'_, V::Elem, 1>,
) -> (Outcome<V::Elem>, Option<V>) {
    let max = match extent::<V>(simd, row.source(), max) {
        Extent::Finite(max) => max,
        extent => {
            work.special(row, 0, extent);
            return (Outcome::Special(extent), None);
        }
    };
    let shift = Shift::new::<V>(max, &work.scale());
    let (index, x) = match work.left_out() {
        LeftOut::Nothing => (NONE, max),
        // There is one: the maximum was found in the row.
        LeftOut::Maximum => (row.source().find::<V>(simd, max).unwrap_or_default(), max),
        LeftOut::Element(i, x) => (i, x),
    };
    // Before the other weights, which then hide how long it takes.
    let apart = Apart::new::<V>(&shift, index, x);
    let (weighed, beside) = work.weigh::<V, P>(simd, row, 0, &shift, index, ahead);
    let Weighed {
        sum,
        heaviest,
        next_max,
    } = weighed;
    // The sum does not tell of what is left out.
    if sum.is_nan() || x.is_nan() {
        work.special(row, 0, Extent::Nan);
        return (Outcome::Special(Extent::Nan), next_max);
    }
    let ordinary = Ordinary {
        shift,
        sum,
        beside,
        heaviest,
        apart,
    };
    work.results::<V, P>(simd, row, 0, &ordinary);
    (Outcome::Ordinary(ordinary), next_max)
}
