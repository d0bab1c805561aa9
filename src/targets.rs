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

    pub trait Integer: Copy + Default + PartialEq + Sync {
        fn slice(targets: &[Self]) -> Slice<'_>;
        fn value(self) -> i128;
        /// The value; that of a negative number is larger than any number of classes.
        fn bits(self) -> u64;
        /// The value of a small number.
        fn small(self) -> i32;
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

            /// Those of [`sixteen`], from `start` on.
            #[inline(always)]
            fn sixteen(&self, start: usize, ignore: Option<i64>) -> [i32; 16] {
                match self {
                    $(Self::$variant(targets) => sixteen(&targets[start.min(targets.len())..], ignore),)*
                }
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
                #[allow(clippy::cast_lossless, clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
                fn small(self) -> i32 {
                    self as i32
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

/// The first sixteen targets, which are small; -1 for one that is ignored, and where there is none.
#[inline(always)]
fn sixteen<I: Integer>(targets: &[I], ignore: Option<i64>) -> [i32; 16] {
    // In their own type, without a branch for each.
    let ignore = ignore.and_then(I::exactly);
    let (ignores, ignored) = (ignore.is_some(), ignore.unwrap_or_default());
    let mut columns = [-1; 16];
    if let Some(targets) = targets.first_chunk::<16>() {
        // Of a number that is known, the compiler makes vectors.
        for (column, &target) in columns.iter_mut().zip(targets) {
            *column = column_of(target, ignores, ignored);
        }
    } else {
        for (column, &target) in columns.iter_mut().zip(targets) {
            *column = column_of(target, ignores, ignored);
        }
    }
    columns
}

/// The column of a target, -1 if it is ignored.
#[inline(always)]
fn column_of<I: Integer>(target: I, ignores: bool, ignored: I) -> i32 {
    if ignores && target == ignored {
        -1
    } else {
        target.small()
    }
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
        // Negative targets stand beyond.
        let classes_below = (classes as u64).min(1 << 63);
        // The highest bit tells of one that is negative, or beyond the last: SSE2 does not tell which of two numbers of 64 bits is larger.
        let last = classes_below.wrapping_sub(1);
        let beyond = |target: I| target.bits() | last.wrapping_sub(target.bits());
        let mut wrong = 0;
        let count = if let Some(ignored) = ignored {
            let mut count = 0;
            for &target in targets {
                let counts = u64::from(target != ignored);
                wrong |= beyond(target) & counts.wrapping_neg();
                count += counts;
            }
            count
        } else {
            for &target in targets {
                wrong |= beyond(target);
            }
            targets.len() as u64
        };
        if wrong >> 63 == 0 {
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
        let is_wrong = |target: I| !is_ignored(target) && target.bits() >= classes_below;
        let row = targets.iter().position(|&target| is_wrong(target));
        debug_assert!(row.is_some(), "none of the targets is wrong");
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
    #[inline(always)]
    pub fn sixteen(&self, row: usize) -> [i32; 16] {
        self.slice.sixteen(row, self.ignore)
    }

    pub fn split_at(self, row: usize) -> (Self, Self) {
        let (a, b) = self.slice.split_at(row.min(self.len()));
        (Self { slice: a, ..self }, Self { slice: b, ..self })
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::sealed::Integer;
    use super::{Error, Targets};

    /// What the checks find of targets, one by one: the first that is neither a class nor ignored, or how many are not ignored.
    fn expected<I: Integer>(
        targets: &[I],
        classes: usize,
        ignore: Option<i64>,
    ) -> Result<f64, usize> {
        let mut count = 0.0;
        for (i, target) in targets.iter().enumerate() {
            let value = target.value();
            if Some(value) == ignore.map(i128::from) {
                continue;
            }
            // (There are no more than 2^63 classes to have.)
            if !(0..(classes as i128).min(1 << 63)).contains(&value) {
                return Err(i);
            }
            count += 1.0;
        }
        Ok(count)
    }

    fn check<I: Integer>(values: &[I], mut allowed: impl FnMut(&Result<f64, usize>)) {
        let ignores = [
            None,
            Some(-100),
            Some(0),
            Some(7),
            Some(i64::MIN),
            Some(i64::MAX),
        ];
        let large = [
            1 << 31,
            1 << (usize::BITS - 2),
            isize::MAX as usize,
            usize::MAX,
        ];
        for classes in [0, 1, 2, 7, 128, 200, 256].into_iter().chain(large) {
            for ignore in ignores {
                // Each by itself, and at each place among classes that there are.
                for &value in values {
                    for (len, at) in [(1, 0), (3, 2), (19, 0), (19, 11), (19, 18)] {
                        let mut targets = vec![I::default(); len];
                        targets[at] = value;
                        let want = expected(&targets, classes, ignore);
                        let found = match Targets::new::<I, f32>(&targets, classes, ignore, None) {
                            Ok((_, count)) => Ok(count),
                            Err(Error::Target { row, .. }) => Err(row),
                            Err(_) => Err(usize::MAX),
                        };
                        assert_eq!(found, want, "{:?} in {classes}, {ignore:?}", value.value());
                        allowed(&want);
                    }
                }
            }
        }
    }

    #[test]
    fn targets_are_classes_or_ignored() {
        let (mut right, mut wrong) = (0, 0);
        let mut count = |result: &Result<f64, usize>| match result {
            Ok(_) => right += 1,
            Err(_) => wrong += 1,
        };
        let small: Vec<u8> = (0..=255).collect();
        check(&small, &mut count);
        check(
            &small.iter().map(|&x| x.cast_signed()).collect::<Vec<_>>(),
            &mut count,
        );
        check(
            &[0, 1, 7, 199, 200, i16::MAX, -1, -100, i16::MIN],
            &mut count,
        );
        check(&[0, 1, 7, 199, 200, u16::MAX], &mut count);
        check(&[0, 1, 7, i32::MAX, -1, -100, i32::MIN], &mut count);
        check(&[0, 1, 7, 1 << 31, u32::MAX], &mut count);
        check(
            &[0, 1, 7, 1 << 32, i64::MAX, i64::MAX - 1, -1, -100, i64::MIN],
            &mut count,
        );
        check(&[0, 1, 7, 1 << 63, (1 << 63) - 1, u64::MAX], &mut count);
        check(&[0, 1, 7, usize::MAX], &mut count);
        check(&[0, 1, 7, isize::MAX, isize::MIN, -1], &mut count);
        assert!(
            right > 10_000 && wrong > 10_000,
            "{right} right, {wrong} wrong"
        );
    }

    /// Of targets that are small, or ignored.
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn check_sixteen<I: Integer>(small: impl Fn(u8) -> I, ignores: &[I]) {
        let none = I::exactly(0).unwrap();
        for ignored in core::iter::once(none).chain(ignores.iter().copied()) {
            let row = |i: u8| if i % 5 == 3 { ignored } else { small(i % 7) };
            let targets: Vec<I> = (0..40).map(row).collect();
            // None is ignored, or a number that the type may not have, or that one.
            let ignored = i64::try_from(ignored.value()).ok();
            for ignore in [None, Some(-1000), ignored] {
                let checked = Targets::new::<_, f32>(&targets, 7, ignore, None);
                // Wrong where what is no class is not ignored either.
                let is_right = ignore == ignored || ignored.is_some_and(|x| (0..7).contains(&x));
                assert_eq!(checked.is_ok(), is_right, "{ignored:?}, {ignore:?}");
                let Ok((checked, _)) = checked else { continue };
                for start in 0..50 {
                    for (i, column) in (start..).zip(checked.sixteen(start)) {
                        let class = if i < targets.len() {
                            checked.get(i)
                        } else {
                            None
                        };
                        assert_eq!(usize::try_from(column).ok(), class, "{i} from {start} on");
                    }
                }
            }
        }
    }

    #[test]
    fn sixteen_targets_are_those_of_each_row() {
        check_sixteen(|x| x, &[3, 255]);
        check_sixteen(u16::from, &[3, u16::MAX]);
        check_sixteen(u32::from, &[3, u32::MAX]);
        check_sixteen(u64::from, &[3, 1 << 32, (1 << 63) - 1]);
        check_sixteen(usize::from, &[3, isize::MAX.cast_unsigned()]);
        check_sixteen(u8::cast_signed, &[3, -100, i8::MIN]);
        check_sixteen(i16::from, &[3, -100, i16::MIN]);
        check_sixteen(i32::from, &[3, -100, i32::MIN, i32::MAX]);
        check_sixteen(i64::from, &[3, -100, i64::MIN, i64::MAX, 1 << 32]);
        check_sixteen(isize::from, &[3, -100, isize::MIN, isize::MAX]);
    }
}
