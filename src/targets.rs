//! Target classes of any integer type, as the kernels see them: an index, or nothing for an ignored
//! row.

use crate::error::Error;

/// An integer type of target classes: `u8` to `u64`, `usize`, `i8` to `i64` or `isize`. Sealed.
pub trait Target: sealed::Integer {}

pub(crate) mod sealed {
    use super::Slice;

    pub trait Integer: Copy + Sync {
        fn slice(targets: &[Self]) -> Slice<'_>;
        fn value(self) -> i128;
    }
}
use sealed::Integer as _;

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

            /// Targets `start..start + 16`, which are small; -1 for one that is ignored.
            #[expect(clippy::cast_possible_truncation, reason = "they are small")]
            #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, reason = "they are small")]
            fn sixteen(&self, start: usize, ignore: Option<i64>) -> [i32; 16] {
                let ignore = ignore.map(i128::from);
                let mut columns = [-1; 16];
                match self {
                    $(Self::$variant(targets) => {
                        let targets = targets[start..].iter();
                        for (column, &target) in columns.iter_mut().zip(targets) {
                            if Some(target.value()) != ignore {
                                *column = target as i32;
                            }
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
            impl Target for $integer {}
            impl sealed::Integer for $integer {
                fn slice(targets: &[Self]) -> Slice<'_> {
                    Slice::$variant(targets)
                }

                #[inline]
                #[allow(clippy::cast_lossless, reason = "usize has no lossless conversion")]
                fn value(self) -> i128 {
                    self as i128
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

impl<'a> Targets<'a> {
    /// Checks every target, and counts those that are not ignored.
    ///
    /// # Errors
    /// At the first target that is neither a class nor `ignore`.
    pub fn new<I: Target>(
        targets: &'a [I],
        classes: usize,
        ignore: Option<i64>,
    ) -> Result<(Self, usize), Error> {
        let checked = Self {
            slice: I::slice(targets),
            ignore,
        };
        let mut count = 0;
        for (row, &target) in targets.iter().enumerate() {
            let target = target.value();
            if Some(target) == ignore.map(i128::from) {
                continue;
            }
            if !usize::try_from(target).is_ok_and(|target| target < classes) {
                return Err(Error::Target {
                    row,
                    target,
                    classes,
                });
            }
            count += 1;
        }
        Ok((checked, count))
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
