//! Slices that end where memory ends, or begin where it begins: the page beyond may not be touched.

use std::marker::PhantomData;

use region::{Allocation, Protection, page};

/// Where a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its first element is the first one of a page; the page before is protected.
    Start,
    /// Its last element is the last one of a page; the page beyond is protected.
    End,
}

/// Types of which zeros are a value.
pub trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for i64 {}
impl Plain for bool {}

/// Pages of memory, between one protected page and another.
pub struct Fenced<T> {
    memory: Allocation,
    elements: PhantomData<T>,
}

impl<T: Plain> Fenced<T> {
    /// Room for so many elements, rounded up to whole pages.
    pub fn new(elements: usize) -> Self {
        let page = page::size();
        let inner = (elements * size_of::<T>()).next_multiple_of(page).max(page);
        let mut memory = region::alloc(inner + 2 * page, Protection::READ_WRITE).unwrap();
        let first = memory.as_mut_ptr::<u8>();
        for at in [0, page + inner] {
            // SAFETY: nothing refers to these pages yet, and nothing will.
            unsafe { region::protect(first.wrapping_add(at), page, Protection::NONE) }.unwrap();
        }
        Self {
            memory,
            elements: PhantomData,
        }
    }

    /// The slice of that length at that place.
    pub fn slice(&mut self, len: usize, place: Place) -> &mut [T] {
        let page = page::size();
        let room = self.memory.len() - 2 * page;
        let bytes = len * size_of::<T>();
        assert!(bytes <= room, "{len} elements in {room} bytes");
        let offset = match place {
            Place::Start => page,
            Place::End => page + room - bytes,
        };
        let first = self.memory.as_mut_ptr::<u8>().wrapping_add(offset);
        // SAFETY: the bytes lie between the protected pages; they are a multiple of the size of `T`
        // off the boundary of a page, hence aligned; they were zero at first, which is a `T`, and
        // are written as such alone; the slice borrows `self`.
        unsafe { std::slice::from_raw_parts_mut(first.cast(), len) }
    }
}
