//! Arrays of which as much is written as is needed: to write all of them would take more time than what is done with a little.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

/// `C` arrays of at most `N` elements, all of the same length. One by itself is a slice.
pub struct Partly<T, const N: usize, const C: usize = 1> {
    /// (Not arrays of elements that may not be initialised: these took as long as if they were written throughout.)
    arrays: MaybeUninit<[[T; N]; C]>,
    /// The first ones of each, which have been written: at most `N`.
    len: usize,
}

impl<T: Copy, const N: usize, const C: usize> Partly<T, N, C> {
    /// Room, and no elements.
    #[inline(always)]
    pub fn none() -> Self {
        Self {
            arrays: MaybeUninit::uninit(),
            len: 0,
        }
    }

    /// So many elements of each instead of those that there are. (In place: what is returned may be copied, all of it.)
    ///
    /// # Panics
    /// If there is no room for them.
    #[inline(always)]
    pub fn refill(&mut self, x: T, len: usize) {
        assert!(len <= N, "more elements than there is room for");
        for c in 0..C {
            for i in 0..len {
                // SAFETY: it is element `i < N` of an array.
                unsafe { self.first(c).add(i).write(x) };
            }
        }
        self.len = len;
    }

    /// Where an array begins.
    #[inline(always)]
    fn first(&mut self, c: usize) -> *mut T {
        assert!(c < C, "no such array");
        // SAFETY: it is within the arrays.
        unsafe { self.arrays.as_mut_ptr().cast::<T>().add(c * N) }
    }

    /// One of the arrays.
    #[inline(always)]
    pub fn array(&self, c: usize) -> &[T] {
        assert!(c < C, "no such array");
        // SAFETY: the first `len` elements have been written.
        unsafe {
            let first = self.arrays.as_ptr().cast::<T>().add(c * N);
            core::slice::from_raw_parts(first, self.len)
        }
    }

    /// The same, to be written to.
    #[inline(always)]
    pub fn array_mut(&mut self, c: usize) -> &mut [T] {
        // SAFETY: the first `len` elements have been written.
        unsafe { core::slice::from_raw_parts_mut(self.first(c), self.len) }
    }

    /// The first `len` elements of each.
    ///
    /// # Panics
    /// If there are less.
    #[inline(always)]
    pub fn firsts_mut(&mut self, len: usize) -> [&mut [T]; C] {
        assert!(len <= self.len, "more elements than there are");
        let first = self.first(0);
        core::array::from_fn(
            #[inline(always)]
            // SAFETY: the first `self.len <= N` elements of each have been written, and no two overlap.
            |c| unsafe { core::slice::from_raw_parts_mut(first.add(c * N), len) },
        )
    }
}

impl<T: Copy, const N: usize> Partly<T, N> {
    /// One element more.
    ///
    /// # Panics
    /// If there is no room for it.
    #[inline(always)]
    pub fn push(&mut self, x: T) {
        assert!(self.len < N, "more elements than there is room for");
        // SAFETY: it is element `len < N` of the array.
        unsafe { self.first(0).add(self.len).write(x) };
        self.len += 1;
    }

    /// Takes the last element away, if there is one.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        let last = self.last().copied()?;
        self.len -= 1;
        Some(last)
    }

    /// So many elements instead of those that there are, each as `f` makes it.
    ///
    /// # Panics
    /// If there is no room for them.
    #[inline(always)]
    pub fn refill_with(&mut self, len: usize, mut f: impl FnMut(usize) -> T) -> &mut [T] {
        assert!(len <= N, "more elements than there is room for");
        for i in 0..len {
            // SAFETY: it is element `i < N` of the array.
            unsafe { self.first(0).add(i).write(f(i)) };
        }
        // At the end, so that it is not read for each of them.
        self.len = len;
        self
    }
}

impl<T: Copy, const N: usize> Deref for Partly<T, N> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        self.array(0)
    }
}

impl<T: Copy, const N: usize> DerefMut for Partly<T, N> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        self.array_mut(0)
    }
}

impl<T: Copy + fmt::Debug, const N: usize, const C: usize> fmt::Debug for Partly<T, N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries((0..C).map(|c| self.array(c)))
            .finish()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::Partly;

    #[test]
    fn as_many_as_there_are() {
        let mut some = Partly::<_, 4, 2>::none();
        for len in [0, 4, 1, 3] {
            some.refill(7, len);
            for c in [0, 1] {
                assert_eq!(some.array(c), &[7; 4][..len]);
                for (i, x) in some.array_mut(c).iter_mut().enumerate() {
                    *x = 10 * c + i;
                }
            }
            for some_of_them in 0..=len {
                let [a, b] = some.firsts_mut(some_of_them);
                assert_eq!((a.len(), b.len()), (some_of_them, some_of_them));
                assert!(a.iter().zip(b).all(|(a, b)| *b == *a + 10));
            }
            assert_eq!(
                format!("{some:?}").matches(',').count(),
                1 + 2 * len.saturating_sub(1)
            );
        }
        let mut one = Partly::<_, 4>::none();
        assert_eq!(one.pop(), None);
        one.refill(1, 3);
        one[2] = 5;
        assert_eq!(*one, [1, 1, 5]);
        one.push(6);
        assert_eq!(*one, [1, 1, 5, 6]);
        assert_eq!(
            (one.pop(), one.pop(), &*one),
            (Some(6), Some(5), &[1, 1][..])
        );
        for len in [4, 0, 2] {
            let made: Vec<usize> = (0..len).map(|i| 10 + i).collect();
            assert_eq!(one.refill_with(len, |i| 10 + i), &made[..]);
            assert_eq!(*one, made[..]);
        }
    }

    #[test]
    #[should_panic(expected = "than there is room for")]
    fn no_more_are_made_than_there_is_room_for() {
        Partly::<_, 4>::none().refill_with(5, |i| i);
    }

    #[test]
    #[should_panic(expected = "than there is room for")]
    fn no_more_than_there_is_room_for() {
        Partly::<_, 4>::none().refill(7, 5);
    }

    #[test]
    #[should_panic(expected = "than there is room for")]
    fn none_is_pushed_where_there_is_no_room() {
        let mut full = Partly::<_, 2>::none();
        full.refill(7, 2);
        full.push(8);
    }

    #[test]
    #[should_panic(expected = "than there are")]
    fn no_more_than_there_are() {
        let mut some = Partly::<_, 4, 3>::none();
        some.refill(7, 2);
        some.firsts_mut(3);
    }
}
