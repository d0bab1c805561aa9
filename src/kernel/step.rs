//! The work on one row in steps, each of which parts of the row can do by themselves: for a row that threads share.
//!
//! A part begins at a multiple of [`CHUNK`](crate::rows::CHUNK), so its sum is a node of the tree over the chunks of the
//! row, and the sum of all parts has the bits of that of the whole row.

use super::row::{Apart, Beside, LeftOut, Ordinary, Outcome, RowWork};
use super::scale::Scale;
use super::shift::Shift;
use super::tree::Merge;
use super::weights::{Extent, Heaviest, NONE, extent, has_nan};
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{Columns, Pass, Peek, Recut as _, Row, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// A kernel one of whose rows threads can share.
pub trait Shared<D>: Kernel<D> {
    type Elem: Real;
    type Work: RowWork<Self::Elem> + Sync;
    type Rows: Columns<Self::Elem> + Peek<Self::Elem, 1>;
    /// What goes with the row.
    type Rest;

    /// What there is to do with a batch of one row. Or what comes of it, if there is nothing to share.
    fn open(&self, data: D) -> Result<Open<D, Self>, Self::Output>;

    /// What comes of the batch, when all parts of the work are done.
    fn close<V: Vector<Elem = Self::Elem>>(
        &self,
        work: &Self::Work,
        outcome: &Outcome<Self::Elem>,
        rest: Self::Rest,
    ) -> Self::Output;
}

/// Where rows are read and written, nothing goes with them, and the kernel itself says what to do.
impl<'a, T: Real, K> Shared<RowsMut<'a, T, 1>> for K
where
    K: Kernel<RowsMut<'a, T, 1>, Output = ()> + RowWork<T> + Copy + Sync,
{
    type Elem = T;
    type Work = Self;
    type Rows = RowsMut<'a, T, 1>;
    type Rest = ();

    fn open(&self, row: RowsMut<'a, T, 1>) -> Result<Open<RowsMut<'a, T, 1>, Self>, ()> {
        Ok(Open {
            work: *self,
            chunks: row.in_chunks(),
            rest: (),
        })
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(&self, _: &Self, _: &Outcome<T>, (): ()) {}
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

/// What the parts of a row are to do next, knowing what all of them have found.
#[derive(Clone, Copy, Debug)]
pub enum Step<T: Float> {
    /// Find the largest element.
    Extent,
    /// Find whether there is a NaN, since there is `+inf`.
    Nan,
    /// Find where the first of the largest elements is.
    Maximum(T),
    /// Sum the weights of a row with this maximum, but for one element; write them, if wanted.
    Weights(T, (usize, T)),
    /// Write the results; the sum of those weights, of what is beside them, and the heaviest.
    Results(T, (usize, T), (Wide<T>, Beside<T>, Heaviest<T>)),
    /// The same where there are no weights.
    Special(Extent<T>),
}

/// What a part has found in a step.
#[derive(Clone, Copy, Debug)]
pub enum Found<T: Float> {
    Extent(Extent<T>),
    Maximum(usize),
    Weights(Wide<T>, Beside<T>, Heaviest<T>),
    Nothing,
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

impl<T: Real> Step<T> {
    /// The step after this one, in which the parts have found that. `None` if this was the last.
    pub fn next<W: RowWork<T>>(self, work: &W, found: Found<T>) -> Option<Self> {
        let next = match (self, found) {
            (Self::Extent, Found::Extent(Extent::Finite(max))) => match work.left_out() {
                LeftOut::Nothing => Self::Weights(max, (NONE, max)),
                LeftOut::Maximum => Self::Maximum(max),
                LeftOut::Real(i, x) => Self::Weights(max, (i, x)),
            },
            (Self::Extent, Found::Extent(Extent::Infinite)) => Self::Nan,
            (_, Found::Extent(extent)) => Self::Special(extent),
            (Self::Maximum(max), Found::Maximum(i)) => Self::Weights(max, (i, max)),
            // The sum does not tell of what is left out.
            (Self::Weights(_, (_, x)), Found::Weights(sum, ..)) if sum.is_nan() || x.is_nan() => {
                Self::Special(Extent::Nan)
            }
            (Self::Weights(max, left_out), Found::Weights(sum, beside, heaviest)) => {
                Self::Results(max, left_out, (sum, beside, heaviest))
            }
            _ => return None,
        };
        Some(next)
    }

    /// Whether it is the last one, in which results are written.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Results(..) | Self::Special(_))
    }

    /// What the row turned out to be, if this is the last step.
    #[inline(always)]
    fn outcome<V: Vector<Elem = T>>(&self, scale: &Scale<T>) -> Outcome<T> {
        match *self {
            Self::Results(max, (index, x), (sum, beside, heaviest)) => {
                let shift = Shift::new::<V>(max, scale);
                Outcome::Ordinary(Ordinary {
                    top: 0,
                    shift,
                    sum,
                    beside,
                    heaviest,
                    apart: Apart::new::<V>(&shift, index, x),
                })
            }
            Self::Special(extent) => Outcome::Special(extent, 0),
            _ => Outcome::Special(Extent::Nan, 0),
        }
    }
}

/// A step of the part of a row that begins at `start`.
#[derive(Debug)]
pub struct OfPart<'a, W, T: Float> {
    pub work: &'a W,
    pub step: Step<T>,
    pub start: usize,
}

impl<T: Real, W: RowWork<T>, R: Peek<T, 1>> Kernel<&mut R> for OfPart<'_, W, T> {
    type Output = Found<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, part: &mut R) -> Found<T> {
        let mut part = part.whole();
        match self.step {
            Step::Extent => Found::Extent(extent::<T::Vector<S>>(simd, part.source(), None)),
            Step::Nan if has_nan::<T::Vector<S>>(simd, part.source()) => Found::Extent(Extent::Nan),
            Step::Nan => Found::Extent(Extent::Infinite),
            Step::Maximum(max) => {
                let at = part.source().find::<T::Vector<S>>(simd, max);
                Found::Maximum(at.map_or(
                    usize::MAX,
                    #[inline(always)]
                    |i| self.start + i,
                ))
            }
            Step::Weights(max, (left_out, _)) => {
                let shift = Shift::new::<T::Vector<S>>(max, &self.work.scale());
                let left_out = left_out.wrapping_sub(self.start);
                let work = self.work;
                let ahead = Row::empty();
                let (weighed, beside) = work
                    .weigh::<T::Vector<S>, _>(simd, &mut part, self.start, &shift, left_out, ahead);
                Found::Weights(weighed.sum, beside, weighed.heaviest)
            }
            Step::Results(..) | Step::Special(_) => {
                match self.step.outcome::<T::Vector<S>>(&self.work.scale()) {
                    Outcome::Ordinary(row) => {
                        self.work
                            .write_results::<T::Vector<S>, _>(simd, &mut part, self.start, &row);
                    }
                    Outcome::Special(extent, _) => self.work.special(&mut part, self.start, extent),
                }
                Found::Nothing
            }
        }
    }
}

/// The end of the work on a row whose last step this is.
#[derive(Debug)]
pub struct Close<'a, K, W, T: Float> {
    pub kernel: &'a K,
    pub work: &'a W,
    pub last: Step<T>,
}

impl<D, K: Shared<D>> Kernel<(core::marker::PhantomData<D>, K::Rest)>
    for Close<'_, K, K::Work, K::Elem>
{
    type Output = K::Output;

    #[inline(always)]
    fn simd<S: Simd>(&self, _: S, (_, rest): (core::marker::PhantomData<D>, K::Rest)) -> K::Output {
        let scale = self.work.scale();
        let outcome = self.last.outcome::<<K::Elem as Float>::Vector<S>>(&scale);
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
