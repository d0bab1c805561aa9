//! Which classes of a row take part, by the row's place in the batch.

use crate::simd::Vector;

/// The boolean and causal masks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Masks<'a> {
    /// Whether each class takes part: as many rows of them as there are, over and over.
    pub flags: Option<&'a [bool]>,
    pub causal: Option<Causal>,
}

/// Row `i` of every `queries` rows sees `i + offset + 1` classes.
#[derive(Clone, Copy, Debug)]
pub struct Causal {
    pub queries: usize,
    pub offset: usize,
}

impl<'a> Masks<'a> {
    /// How many classes a row sees. The others are not looked at.
    #[inline(always)]
    pub fn seen(&self, row: usize, classes: usize) -> usize {
        let Some(Causal { queries, offset }) = self.causal else {
            return classes;
        };
        let query = row.checked_rem(queries).unwrap_or_default();
        classes.min(query.saturating_add(offset).saturating_add(1))
    }

    /// How many classes each of sixteen rows sees.
    #[inline(always)]
    pub fn seen_by_sixteen(&self, row: usize, classes: usize) -> [usize; 16] {
        let mut seen = [classes; 16];
        let Some(Causal { queries, offset }) = self.causal else {
            return seen;
        };
        // One division for all of them.
        let mut query = row.checked_rem(queries).unwrap_or_default();
        for seen in &mut seen {
            *seen = classes.min(query.saturating_add(offset).saturating_add(1));
            query += 1;
            if query == queries {
                query = 0;
            }
        }
        seen
    }

    /// Which classes of a row take part, and what lies behind; if not all do.
    #[inline(always)]
    pub fn flags(&self, row: usize, classes: usize) -> Option<&'a [bool]> {
        let flags = self.flags?;
        Some(&flags[start_of_row(flags, row, classes)..])
    }
}

/// Where a row of the batch finds its own among rows that are there over and over.
#[inline(always)]
fn start_of_row<T>(all: &[T], row: usize, classes: usize) -> usize {
    let rows = all.len().checked_div(classes).unwrap_or_default();
    row.checked_rem(rows).unwrap_or_default() * classes
}

/// Where sixteen rows of the batch, from one on, find their own among rows that are there over and over.
#[inline(always)]
pub fn starts_of_rows<T>(all: &[T], row: usize, classes: usize) -> [usize; 16] {
    let mut starts = [start_of_row(all, row, classes); 16];
    for i in 1..starts.len() {
        let next = starts[i - 1] + classes;
        starts[i] = if next == all.len() { 0 } else { next };
    }
    starts
}

/// What a row of the batch has of rows that are there over and over: the first `len` of its classes.
#[inline(always)]
pub fn of_row<T>(all: &[T], row: usize, classes: usize, len: usize) -> &[T] {
    let start = start_of_row(all, row, classes);
    &all[start..start + len]
}

/// Which elements of a row take part.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a> {
    /// Those of whole vectors.
    whole: &'a [[bool; 16]],
    /// Those of the last one; beyond the row, any.
    last: [bool; 16],
}

impl<'a> Flags<'a> {
    /// The first `len` of these.
    #[inline(always)]
    pub fn new(flags: &'a [bool], len: usize) -> Self {
        let (whole, tail) = flags.split_at(len - len % 16);
        let last = sixteen(tail);
        let whole = whole.as_chunks().0;
        Self { whole, last }
    }

    /// The lanes of a vector that take part.
    #[inline(always)]
    pub fn lanes<V: Vector>(&self, simd: V::Simd, block: usize) -> V::Mask {
        const { assert!(V::LANES == 16) };
        // Of a choice between two addresses, the compiler makes one for each byte with SSE2.
        match self.whole.get(block) {
            Some(flags) => V::lanes_of(simd, flags),
            None => V::lanes_of(simd, &self.last),
        }
    }
}

/// The first sixteen, or as many as there are.
#[inline(always)]
pub fn sixteen(flags: &[bool]) -> [bool; 16] {
    if let Some(flags) = flags.first_chunk() {
        return *flags;
    }
    // At the end of all rows.
    let mut last = [false; 16];
    for (i, last) in last.iter_mut().enumerate() {
        *last = i < flags.len() && flags[i];
    }
    last
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Causal, Masks, of_row, starts_of_rows};

    #[test]
    fn rows_see_what_was_before_them() {
        let seen = |causal, rows, classes| -> Vec<usize> {
            let masks = Masks {
                flags: None,
                causal,
            };
            (0..rows).map(|row| masks.seen(row, classes)).collect()
        };
        let causal = |queries, offset| Some(Causal { queries, offset });
        assert_eq!(seen(None, 3, 5), [5; 3]);
        assert_eq!(seen(causal(3, 0), 6, 5), [1, 2, 3, 1, 2, 3]);
        assert_eq!(seen(causal(3, 2), 3, 5), [3, 4, 5]);
        assert_eq!(seen(causal(4, 0), 4, 2), [1, 2, 2, 2]);
        assert_eq!(seen(causal(1, usize::MAX), 2, 5), [5; 2]);
        for causal in [None, causal(1, 0), causal(3, 1), causal(40, 2)] {
            let masks = Masks {
                flags: None,
                causal,
            };
            let one_by_one = |row: usize| core::array::from_fn(|i| masks.seen(row + i, 9));
            for row in 0..50 {
                assert_eq!(masks.seen_by_sixteen(row, 9), one_by_one(row));
            }
        }
    }

    #[test]
    fn rows_of_a_mask_come_again() {
        let mask = [0, 1, 2, 3, 4, 5];
        let rows = [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]];
        for (row, want) in rows.into_iter().enumerate() {
            assert_eq!(of_row(&mask, row, 3, 3), want);
            assert_eq!(of_row(&mask, row, 3, 2), &want[..2]);
        }
        for first in [0, 5] {
            let want = |i: usize| (first + i) % 2 * 3;
            assert_eq!(starts_of_rows(&mask, first, 3), core::array::from_fn(want));
        }
    }
}
