//! The work on one row in steps, each of which parts of the row can do by themselves: for a row that threads share.
//!
//! A part begins at a multiple of [`CHUNK`](crate::rows::CHUNK), so its sum is a node of the tree over the chunks of the
//! row, and the sum of all parts has the bits of that of the whole row.

use super::chunks::Chunks;
use super::row::{Apart, Beside, LeftOut, Ordinary, Outcome, RowWork, Top, first_of_special};
use super::scale::Scale;
use super::shift::Shift;
use super::tree::Merge;
use super::weights::{Counted, Extent, Heaviest, NONE, extent, has_nan};
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{Columns, Pass, Peek, Recut as _, Row, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// A kernel one of whose rows threads can share.
pub trait Shared<D>: Kernel<D> {
    type Elem: Real;
    type Work: InSteps<Self::Elem, Self::Rows>;
    type Rows: Columns<Self::Elem>;
    /// What goes with the row.
    type Rest;

    /// What there is to do with a batch of one row. Or what comes of it, if there is nothing to share.
    fn open(&self, data: D) -> Result<Open<D, Self>, Self::Output>;

    /// What comes of the batch, when all parts of the work are done.
    fn close<V: Vector<Elem = Self::Elem>>(
        &self,
        work: &Self::Work,
        outcome: &OutcomeOf<D, Self>,
        rest: Self::Rest,
    ) -> Self::Output;
}

/// What a row that a kernel shares turned out to be.
pub type OutcomeOf<D, K> =
    <<K as Shared<D>>::Work as InSteps<<K as Shared<D>>::Elem, <K as Shared<D>>::Rows>>::Outcome;

/// Where rows are read and written, nothing goes with them, and the kernel itself says what to do.
impl<'a, T: Real, K> Shared<RowsMut<'a, T, 1>> for K
where
    K: Kernel<RowsMut<'a, T, 1>, Output = ()> + RowWork<T> + Copy + Sync,
{
    type Elem = T;
    type Work = Weighing<Self>;
    type Rows = RowsMut<'a, T, 1>;
    type Rest = ();

    fn open(&self, row: RowsMut<'a, T, 1>) -> Result<Open<RowsMut<'a, T, 1>, Self>, ()> {
        Ok(Open {
            work: Weighing(*self),
            chunks: row.in_chunks(),
            rest: (),
        })
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(&self, _: &Weighing<Self>, _: &Outcome<T>, (): ()) {}
}

/// The same of two sources.
impl<'a, T: Real, K> Shared<RowsMut<'a, T, 2>> for K
where
    K: Kernel<RowsMut<'a, T, 2>, Output = ()> + InSteps<T, RowsMut<'a, T, 2>, Outcome = ()> + Copy,
{
    type Elem = T;
    type Work = Self;
    type Rows = RowsMut<'a, T, 2>;
    type Rest = ();

    fn open(&self, row: RowsMut<'a, T, 2>) -> Result<Open<RowsMut<'a, T, 2>, Self>, ()> {
        Ok(Open {
            work: *self,
            chunks: row.in_chunks(),
            rest: (),
        })
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(&self, _: &Self, (): &(), (): ()) {}
}

/// Work on a row in steps: each part of it does a step by itself, and all parts have done one before the next begins.
pub trait InSteps<T: Real, R>: Sync {
    /// What the parts of a row are to do next, knowing what all of them have found.
    type Step: Copy + Send;
    /// What a part finds in a step.
    type Found: Merge + Send;
    /// What the row turns out to be.
    type Outcome;

    fn first(&self) -> Self::Step;
    /// The step after this one, in which the parts have found that. `None` if this was the last.
    fn next(&self, step: Self::Step, found: Self::Found) -> Option<Self::Step>;
    /// Whether it is the last one, in which results are written.
    fn is_last(step: &Self::Step) -> bool;
    /// A step of the part of a row that begins at `start`.
    fn of_part<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        step: Self::Step,
        part: &mut R,
        start: usize,
    ) -> Self::Found;
    /// What the row turned out to be, if this was the last step.
    fn outcome<V: Vector<Elem = T>>(&self, last: Self::Step) -> Self::Outcome;
}

/// A row that threads are to share.
pub struct Open<D, K: Shared<D> + ?Sized> {
    /// The work on it.
    pub work: K::Work,
    /// Its elements, in rows of [`CHUNK`](crate::rows::CHUNK).
    pub chunks: K::Rows,
    /// What goes with it.
    pub rest: K::Rest,
}

/// A step of a row that is weighed.
#[derive(Clone, Copy, Debug)]
pub enum Step<T: Float> {
    /// Find the largest element.
    Extent,
    /// Find whether there is a NaN, since there is `+inf`.
    Nan,
    /// Find where the first of the largest elements is.
    Maximum(T),
    /// Sum the weights of a row with this maximum, but for one element; write them, if wanted. And where the maximum is, if that was asked
    /// for.
    Weights(T, (usize, T), Top),
    /// Write the results; the sum of those weights, of what is beside them, and the heaviest.
    Results(T, (usize, T), Top, (Wide<T>, Beside<T>, Heaviest<T>)),
    /// Find where the first of the largest elements is in a row without weights.
    Top(Extent<T>),
    /// Write the results of such a row.
    Special(Extent<T>, Top),
}

/// What a part of one has found.
#[derive(Clone, Copy, Debug)]
pub enum Found<T: Float> {
    Extent(Extent<T>),
    Maximum(usize),
    Weights(Wide<T>, Beside<T>, Heaviest<T>),
    Nothing,
}

impl<T: Real> Found<T> {
    /// An element of the part that begins at `start`, or none.
    #[inline(always)]
    fn at(start: usize, i: Option<usize>) -> Self {
        Self::Maximum(i.map_or(
            usize::MAX,
            #[inline(always)]
            |i| start + i,
        ))
    }
}

impl<T: Real> Merge for Found<T> {
    fn merge(self, right: Self) -> Self {
        match (self, right) {
            (Self::Extent(a), Self::Extent(b)) => Self::Extent(a.merge(b)),
            (Self::Maximum(a), Self::Maximum(b)) => Self::Maximum(a.min(b)),
            // The heaviest weight is that of the row, whatever part has it.
            (Self::Weights(a, x, heaviest), Self::Weights(b, y, _)) => {
                Self::Weights(a + b, x.merge(y), heaviest)
            }
            // All parts do the same step.
            _ => Self::Nothing,
        }
    }
}

/// Work on rows that are weighed.
#[derive(Clone, Copy, Debug)]
pub struct Weighing<W>(pub W);

impl<W> Weighing<W> {
    /// The step after it is known what the maximum is, and where, if that matters.
    fn weights<T: Real>(&self, max: T, top: Top) -> Step<T>
    where
        W: RowWork<T>,
    {
        let left_out = match self.0.left_out() {
            LeftOut::Nothing => (NONE, max),
            LeftOut::Maximum => (top, max),
            LeftOut::Real(i, x) => (i, x),
        };
        Step::Weights(max, left_out, top)
    }

    /// The step after it is known that there are no weights.
    fn special<T: Real>(&self, extent: Extent<T>) -> Step<T>
    where
        W: RowWork<T>,
    {
        // Of equal elements, which are all `-inf`, the first.
        if self.0.finds_top() && extent != Extent::Masked {
            Step::Top(extent)
        } else {
            Step::Special(extent, 0)
        }
    }
}

impl<T: Real, W: RowWork<T> + Sync, R: Peek<T, 1>> InSteps<T, R> for Weighing<W> {
    type Step = Step<T>;
    type Found = Found<T>;
    type Outcome = Outcome<T>;

    fn first(&self) -> Step<T> {
        Step::Extent
    }

    fn next(&self, step: Step<T>, found: Found<T>) -> Option<Step<T>> {
        let next = match (step, found) {
            (Step::Extent, Found::Extent(Extent::Finite(max))) => {
                if self.0.finds_top() || matches!(self.0.left_out(), LeftOut::Maximum) {
                    Step::Maximum(max)
                } else {
                    self.weights(max, 0)
                }
            }
            (Step::Extent, Found::Extent(Extent::Infinite)) => Step::Nan,
            (_, Found::Extent(extent)) => self.special(extent),
            (Step::Maximum(max), Found::Maximum(i)) => self.weights(max, i),
            // The sum does not tell of what is left out.
            (Step::Weights(_, (_, x), _), Found::Weights(sum, ..))
                if sum.is_nan() || x.is_nan() =>
            {
                self.special(Extent::Nan)
            }
            (Step::Weights(max, left_out, top), Found::Weights(sum, beside, heaviest)) => {
                Step::Results(max, left_out, top, (sum, beside, heaviest))
            }
            (Step::Top(extent), Found::Maximum(i)) => Step::Special(extent, i),
            _ => return None,
        };
        Some(next)
    }

    fn is_last(step: &Step<T>) -> bool {
        matches!(step, Step::Results(..) | Step::Special(..))
    }

    #[inline(always)]
    fn of_part<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        step: Step<T>,
        part: &mut R,
        start: usize,
    ) -> Found<T> {
        let mut part = part.whole();
        match step {
            Step::Extent => Found::Extent(extent::<V>(simd, part.source(), None)),
            Step::Nan if has_nan::<V>(simd, part.source()) => Found::Extent(Extent::Nan),
            Step::Nan => Found::Extent(Extent::Infinite),
            Step::Maximum(max) => Found::at(start, part.source().find::<V>(simd, max)),
            Step::Top(extent) => Found::at(start, first_of_special(part.source(), extent)),
            Step::Weights(max, (left_out, _), _) => {
                let shift = Shift::new::<V>(max, &self.0.scale());
                let counted = Counted {
                    left_out: left_out.wrapping_sub(start),
                    maxima: None,
                    chunks: &mut Chunks::unknown(),
                };
                let ahead = Row::empty();
                let (weighed, beside) = self
                    .0
                    .weigh::<V, _>(simd, &mut part, start, &shift, counted, ahead);
                Found::Weights(weighed.sum, beside, weighed.heaviest)
            }
            Step::Results(..) | Step::Special(..) => {
                match outcome::<V>(step, &self.0.scale()) {
                    Outcome::Ordinary(row) => {
                        self.0.write_results::<V, _>(simd, &mut part, start, &row);
                    }
                    Outcome::Special(extent, _) => self.0.special(&mut part, start, extent),
                }
                Found::Nothing
            }
        }
    }

    #[inline(always)]
    fn outcome<V: Vector<Elem = T>>(&self, last: Step<T>) -> Outcome<T> {
        outcome::<V>(last, &self.0.scale())
    }
}

/// What a row turned out to be whose last step this is.
#[inline(always)]
fn outcome<V: Vector>(last: Step<V::Elem>, scale: &Scale<V::Elem>) -> Outcome<V::Elem> {
    match last {
        Step::Results(max, (index, x), top, (sum, beside, heaviest)) => {
            let shift = Shift::new::<V>(max, scale);
            Outcome::Ordinary(Ordinary {
                top,
                shift,
                sum,
                beside,
                heaviest,
                apart: Apart::new::<V>(&shift, index, x),
            })
        }
        Step::Special(extent, top) => Outcome::Special(extent, top),
        _ => Outcome::Special(Extent::Nan, 0),
    }
}

/// A step of the part of a row that begins at `start`.
pub struct OfPart<'a, T: Real, R, W: InSteps<T, R>> {
    pub work: &'a W,
    pub step: W::Step,
    pub start: usize,
}

impl<T: Real, R, W: InSteps<T, R>> Kernel<&mut R> for OfPart<'_, T, R, W> {
    type Output = W::Found;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, part: &mut R) -> W::Found {
        self.work
            .of_part::<T::Vector<S>>(simd, self.step, part, self.start)
    }
}

/// The end of the work on a row whose last step this is.
pub struct Close<'a, D, K: Shared<D>> {
    pub kernel: &'a K,
    pub work: &'a K::Work,
    pub last: <K::Work as InSteps<K::Elem, K::Rows>>::Step,
}

impl<D, K: Shared<D>> Kernel<K::Rest> for Close<'_, D, K> {
    type Output = K::Output;

    #[inline(always)]
    fn simd<S: Simd>(&self, _: S, rest: K::Rest) -> K::Output {
        let outcome = self
            .work
            .outcome::<<K::Elem as Float>::Vector<S>>(self.last);
        self.kernel
            .close::<<K::Elem as Float>::Vector<S>>(self.work, &outcome, rest)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Extent, Found, Merge as _};

    #[test]
    fn parts_find_together_what_the_row_has() {
        let extents = [
            Extent::Masked,
            Extent::Finite(-1.0_f32),
            Extent::Finite(2.0),
            Extent::Infinite,
            Extent::Nan,
        ];
        // Each counts for more than those before it.
        for (i, a) in extents.into_iter().enumerate() {
            for (j, b) in extents.into_iter().enumerate() {
                assert_eq!(a.merge(b), extents[i.max(j)], "{a:?}, {b:?}");
            }
        }
        for (a, b) in [(3, 7), (7, 3), (usize::MAX, 3), (3, usize::MAX)] {
            let first = Found::<f32>::Maximum(a).merge(Found::Maximum(b));
            assert!(matches!(first, Found::Maximum(3)), "{a}, {b}");
        }
    }
}
