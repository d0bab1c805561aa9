//! Targets, as the kernels see them: the index of a class, of any integer type, or nothing for an ignored row; or the
//! probability of each class.

use core::ops::Add;

use crate::batch::Batch;
use crate::element::{Element, Real};
use crate::error::Error;
use crate::kernel::wide::{Wide, WideFloat as _};
#[cfg(doc)]
use crate::rows::CHUNK;

/// What the targets of [`CrossEntropy`](crate::CrossEntropy) are made of: an integer type (`u8` to `u64`, `usize`, `i8` to `i64` or `isize`), one
/// class a row; or the element type `T` of the logits, one probability for each of them. Sealed.
pub trait Target<T = f32>: sealed::Given<T> {}

pub(crate) mod sealed {
    use super::{Given as Kind, Slice};

    pub trait Given<T>: Copy + Sync {
        /// The targets, unchecked.
        fn given(targets: &[Self]) -> Kind<'_, T, Self::Integer>;
        /// The type of classes; any, if these are probabilities.
        type Integer: Integer;
    }

    pub trait Integer: Copy + PartialEq + Sync {
        fn slice(targets: &[Self]) -> Slice<'_>;
        fn value(self) -> i128;
        /// The value; that of a negative number is larger than any number of classes.
        fn bits(self) -> u64;
        /// This number, if the type has it.
        fn exactly(x: i64) -> Option<Self>;
    }
}
use sealed::Integer;

/// Targets that are not checked.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a, T, I> {
    /// A class for each row.
    Classes(&'a [I]),
    /// A probability for each logit.
    Probs(&'a [T]),
}

impl<T: Element> Target<T> for T {}
impl<T: Element> sealed::Given<T> for T {
    type Integer = usize;
    fn given(targets: &[T]) -> Given<'_, T, usize> {
        Given::Probs(targets)
    }
}

/// The integer types, once.
macro_rules! integers {
    ($($variant:ident $integer:ident)*) => {
        /// Targets as the caller has them.
        #[derive(Clone, Copy, Debug)]
        pub enum Slice<'a> {
            $($variant(&'a [$integer]),)*
        }

        impl Slice<'_> {
            fn len(&self) -> usize {
                match self {
                    $(Self::$variant(targets) => targets.len(),)*
                }
            }

            fn value(&self, i: usize) -> i128 {
                match self {
                    $(Self::$variant(targets) => targets[i].value(),)*
                }
            }

            /// Targets `start..start + 16`, which are small; -1 for one that is ignored, and where there is none.
            #[expect(clippy::cast_possible_truncation, reason = "they are small")]
            #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, reason = "they are small")]
            fn sixteen(&self, start: usize, ignore: Option<i64>) -> [i32; 16] {
                let mut columns = [-1; 16];
                match self {
                    $(Self::$variant(targets) => {
                        // In their own type, without a branch for each.
                        let ignore = ignore.and_then(<$integer as sealed::Integer>::exactly);
                        let (ignores, ignored) = (ignore.is_some(), ignore.unwrap_or_default());
                        let targets = targets[start.min(targets.len())..].iter();
                        for (column, &target) in columns.iter_mut().zip(targets) {
                            let is_ignored = ignores & (target == ignored);
                            *column = if is_ignored { -1 } else { target as i32 };
                        }
                    })*
                }
                columns
            }

            fn split_at(self, i: usize) -> (Self, Self) {
                match self {
                    $(Self::$variant(targets) => {
                        let (a, b) = targets.split_at(i);
                        (Self::$variant(a), Self::$variant(b))
                    })*
                }
            }
        }

        $(
            impl<T: Element> Target<T> for $integer {}
            impl<T: Element> sealed::Given<T> for $integer {
                type Integer = Self;
                fn given(targets: &[Self]) -> Given<'_, T, Self> {
                    Given::Classes(targets)
                }
            }
            impl sealed::Integer for $integer {
                fn slice(targets: &[Self]) -> Slice<'_> {
                    Slice::$variant(targets)
                }

                #[inline]
                #[allow(clippy::cast_lossless, reason = "usize has no lossless conversion")]
                fn value(self) -> i128 {
                    self as i128
                }

                #[inline]
                #[allow(clippy::cast_lossless, clippy::cast_sign_loss, reason = "negative numbers become large")]
                fn bits(self) -> u64 {
                    self as u64
                }

                #[inline]
                fn exactly(x: i64) -> Option<Self> {
                    Self::try_from(x).ok()
                }
            }
        )*
    };
}
integers! {
    U8 u8 U16 u16 U32 u32 U64 u64 Usize usize
    I8 i8 I16 i16 I32 i32 I64 i64 Isize isize
}

/// One target per row, every one of them checked.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    slice: Slice<'a>,
    ignore: Option<i64>,
}

/// One probability for each class of each row.
#[derive(Clone, Copy, Debug)]
pub struct Probs<'a, T> {
    pub probs: &'a [T],
    /// Of a row.
    pub classes: usize,
}

/// The same as it lies in memory.
#[derive(Debug)]
pub struct Distributions<'a, E>(pub Batch<'a, E, 1>);

impl<'a, T> Probs<'a, T> {
    /// Those of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [T] {
        &self.probs[row * self.classes..][..self.classes]
    }

    /// Those of all rows from this one on.
    #[inline(always)]
    pub fn from(&self, row: usize) -> &'a [T] {
        let start = row.saturating_mul(self.classes);
        &self.probs[start.min(self.probs.len())..]
    }
}

/// What is known of each row of a batch: `A` is [`Targets`] or [`Probs`].
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a, T, A = Targets<'a>> {
    pub targets: A,
    /// The gradient of what follows with respect to its loss, if that is not the same for all.
    pub upstream: Option<&'a [T]>,
}

/// What is known of the elements of a flat batch, in rows of [`CHUNK`].
#[derive(Clone, Copy, Debug)]
pub struct Flat<'a> {
    /// Which is the first.
    pub start: usize,
    /// How many there are.
    pub len: usize,
    /// Whether each is ignored, if any are.
    pub ignored: Option<&'a [bool]>,
}

impl<'a> Targets<'a> {
    /// Checks every target, and counts those that are not ignored; each as `weights` has its class, if that is given.
    ///
    /// # Errors
    /// At the first target that is neither a class nor `ignore`.
    pub fn new<I: Integer, T: Real>(
        targets: &'a [I],
        classes: usize,
        ignore: Option<i64>,
        weights: Option<&[T]>,
    ) -> Result<(Self, Wide<T>), Error> {
        let checked = Self {
            slice: I::slice(targets),
            ignore,
        };
        let ignored = ignore.and_then(I::exactly);
        let is_ignored = |target: I| Some(target) == ignored;
        let is_class = |target: I| target.bits() < classes as u64;
        let mut count = 0;
        let mut all = true;
        for &target in targets {
            all &= is_ignored(target) | is_class(target);
            count += usize::from(!is_ignored(target));
        }
        if all {
            let Some(weights) = weights else {
                return Ok((checked, Wide::<T>::of(count as f64)));
            };
            // None of a negative target, or of any that is ignored.
            let weight = |&target: &I| {
                let weight = usize::try_from(target.bits())
                    .ok()
                    .and_then(|i| weights.get(i));
                weight.map_or(Wide::<T>::ZERO, |weight| weight.to_wide())
            };
            let counted = targets.iter().filter(|&&target| !is_ignored(target));
            let sum = counted.map(weight).fold(Wide::<T>::ZERO, Add::add);
            return Ok((checked, sum));
        }
        let is_wrong = |target: I| !is_ignored(target) && !is_class(target);
        let row = targets.iter().position(|&target| is_wrong(target));
        let row = row.unwrap_or_default();
        Err(Error::Target {
            row,
            target: targets[row].value(),
            classes,
        })
    }

    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// The target of a row, unless the row is ignored.
    #[inline]
    pub fn get(&self, row: usize) -> Option<usize> {
        let target = self.slice.value(row);
        if Some(target) == self.ignore.map(i128::from) {
            return None;
        }
        usize::try_from(target).ok()
    }

    /// The targets of sixteen rows of few classes, -1 where a row is ignored.
    #[inline]
    pub fn sixteen(&self, row: usize) -> [i32; 16] {
        self.slice.sixteen(row, self.ignore)
    }

    pub fn split_at(self, row: usize) -> (Self, Self) {
        let (a, b) = self.slice.split_at(row.min(self.len()));
        (Self { slice: a, ..self }, Self { slice: b, ..self })
    }
}
