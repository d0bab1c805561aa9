//! The one place where pointers become slices, and are checked before: those of a call, against each other.
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "whoever makes a `Memory` promises what the pointers will be: `Memory::new`"
)]

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;
use core::slice;

use super::failure::Failure;

/// The memory that the pointers of a call point to.
#[derive(Debug)]
pub struct Memory<'a> {
    spans: [Span; MOST],
    len: usize,
    lent: PhantomData<&'a mut [u8]>,
}

/// Arrays that a call has at most.
const MOST: usize = 12;

/// An array.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: &'static str,
    start: usize,
    bytes: usize,
    is_written: bool,
}

/// A source, and a destination that may take its place.
#[derive(Debug)]
pub enum Pair<'a, T> {
    /// Two arrays.
    Apart(&'a [T], &'a mut [T]),
    /// One.
    Same(&'a mut [T]),
}

/// Options that a caller may have an older version of.
///
/// # Safety
/// It is `repr(C)`, begins with its size, a `usize`, has a length that is a multiple of 8 and no padding, and any bytes are a value of it. A field
/// of 8 bytes begins at a multiple of 8.
pub unsafe trait Options: Copy {
    /// What it is called in the header.
    const NAME: &'static str;
    /// What the caller gets who gives none.
    const DEFAULT: Self;
}

/// `rows * classes`, if that many elements of `T` can be in memory.
///
/// # Errors
/// [`Failure::Size`] otherwise.
pub fn elements<T>(rows: usize, classes: usize) -> Result<usize, Failure> {
    rows.checked_mul(classes)
        .filter(|&n| bytes::<T>(n).is_some())
        .ok_or(Failure::Size { rows, classes })
}

/// The size of so many elements, if they can be in memory.
fn bytes<T>(n: usize) -> Option<usize> {
    n.checked_mul(size_of::<T>())
        .filter(|&bytes| isize::try_from(bytes).is_ok())
}

/// Checks the size of options.
fn known_size<O: Options>(size: usize) -> Result<(), Failure> {
    const UNIT: usize = 8;
    if size == 0 || size > size_of::<O>() || !size.is_multiple_of(UNIT) {
        return Err(Failure::StructSize {
            name: O::NAME,
            size,
            known: size_of::<O>(),
        });
    }
    Ok(())
}

/// Writes as much of the default options as a caller has room for who knows a struct of this size.
///
/// # Errors
/// If the pointer is null or not aligned, or no version has that size.
///
/// # Safety
/// There is room for as many bytes, unless the pointer is null, which nobody else uses.
pub unsafe fn write_default<O: Options>(pointer: *mut O, size: usize) -> Result<(), Failure> {
    span("options", pointer, 1)?;
    known_size::<O>(size)?;
    let default = O::DEFAULT;
    // SAFETY: it is neither null nor unaligned, and there is room for these bytes, a size at first.
    unsafe {
        ptr::copy_nonoverlapping((&raw const default).cast::<u8>(), pointer.cast(), size);
        pointer.cast::<usize>().write(size);
    }
    Ok(())
}

/// Whether two pointers are one.
pub fn is_same<T>(a: *const T, b: *const T) -> bool {
    ptr::addr_eq(a, b)
}

impl<'a> Memory<'a> {
    /// Of no call yet.
    ///
    /// # Safety
    /// As long as `'a` lasts, each pointer that its methods are given and that is not null has to point to as many elements as they are told (options, to as many
    /// bytes as their first word says), which nobody else writes to, nor reads if they are written here. What comes from C counts as initialised, whatever it holds.
    #[must_use]
    pub unsafe fn new() -> Self {
        let none = Span {
            name: "",
            start: 0,
            bytes: 0,
            is_written: false,
        };
        Self {
            spans: [none; MOST],
            len: 0,
            lent: PhantomData,
        }
    }

    /// An array that is read.
    ///
    /// # Errors
    /// If it is null or not aligned and has elements, or overlaps one that is written.
    pub fn read<T: Copy>(
        &mut self,
        name: &'static str,
        pointer: *const T,
        len: usize,
    ) -> Result<&'a [T], Failure> {
        if len == 0 {
            return Ok(&[]);
        }
        self.add(name, pointer, len, false)?;
        // SAFETY: it is neither null nor unaligned; `new` was promised so many elements that nobody writes, and no slice of this
        // call that is written overlaps it, as `add` has found.
        Ok(unsafe { slice::from_raw_parts(pointer, len) })
    }

    /// An array that is written.
    ///
    /// # Errors
    /// If it is null or not aligned and has elements, or overlaps another.
    pub fn write<T: Copy>(
        &mut self,
        name: &'static str,
        pointer: *mut T,
        len: usize,
    ) -> Result<&'a mut [T], Failure> {
        if len == 0 {
            return Ok(&mut []);
        }
        self.add(name, pointer, len, true)?;
        // SAFETY: it is neither null nor unaligned; `new` was promised so many elements that nobody else uses, and no slice of
        // this call overlaps it, as `add` has found.
        Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
    }

    /// An array that is written, unless its pointer is null.
    ///
    /// # Errors
    /// As [`Memory::write`].
    pub fn write_if_any<T: Copy>(
        &mut self,
        name: &'static str,
        pointer: *mut T,
        len: usize,
    ) -> Result<Option<&'a mut [T]>, Failure> {
        if pointer.is_null() {
            return Ok(None);
        }
        self.write(name, pointer, len).map(Some)
    }

    /// An array of an option, which is off if its pointer is null.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn option<T: Copy>(
        &mut self,
        name: &'static str,
        pointer: *const c_void,
        len: usize,
    ) -> Result<Option<&'a [T]>, Failure> {
        if pointer.is_null() {
            return Ok(None);
        }
        self.read(name, pointer.cast(), len).map(Some)
    }

    /// An array of bytes that are 0 or 1, unless its pointer is null.
    ///
    /// # Errors
    /// As [`Memory::read`], and [`Failure::Flag`] if one is neither.
    pub fn flags(
        &mut self,
        name: &'static str,
        pointer: *const u8,
        len: usize,
    ) -> Result<Option<&'a [bool]>, Failure> {
        if pointer.is_null() {
            return Ok(None);
        }
        let bytes = self.read(name, pointer, len)?;
        // All of them at first, which vectors do.
        if bytes.iter().fold(0, |all, byte| all | byte) > 1 {
            let is_other = |&byte: &u8| byte > 1;
            let index = bytes.iter().position(is_other).unwrap_or_default();
            let value = bytes[index];
            return Err(Failure::Flag { name, index, value });
        }
        // SAFETY: the same bytes, each of which is 0 or 1, and so a `bool`.
        Ok(Some(unsafe {
            slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len())
        }))
    }

    /// A source and a destination, which may be one array.
    ///
    /// # Errors
    /// As [`Memory::read`] and [`Memory::write`].
    pub fn pair<T: Copy>(
        &mut self,
        (source_name, source): (&'static str, *const T),
        (name, destination): (&'static str, *mut T),
        len: usize,
    ) -> Result<Pair<'a, T>, Failure> {
        if is_same(source, destination) {
            return Ok(Pair::Same(self.write(name, destination, len)?));
        }
        let source = self.read(source_name, source, len)?;
        Ok(Pair::Apart(source, self.write(name, destination, len)?))
    }

    /// A copy of an array, whose place is free then.
    ///
    /// # Errors
    /// If it is null or not aligned and has elements, or there is no memory.
    pub fn copy<T: Copy>(
        &self,
        name: &'static str,
        pointer: *const T,
        len: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut copy = Vec::new();
        let bytes = span(name, pointer, len)?.bytes;
        copy.try_reserve_exact(len)
            .map_err(|_| Failure::Memory { bytes })?;
        if len > 0 {
            // SAFETY: it is neither null nor unaligned, and `new` was promised so many elements. This slice ends here; what was made before of
            // the same memory is read only.
            copy.extend_from_slice(unsafe { slice::from_raw_parts(pointer, len) });
        }
        Ok(copy)
    }

    /// Options, of this or an earlier version, or the default ones for null.
    ///
    /// # Errors
    /// If it is not aligned, or its size is none of them.
    pub fn options<O: Options>(&self, pointer: *const O) -> Result<O, Failure> {
        let mut options = O::DEFAULT;
        if pointer.is_null() {
            return Ok(options);
        }
        span("options", pointer, 1)?;
        // SAFETY: it is neither null nor unaligned, and begins with its size, whatever its version.
        let size = unsafe { pointer.cast::<usize>().read() };
        known_size::<O>(size)?;
        // SAFETY: `new` was promised as many bytes as it says. They are whole fields of `O`, of which any bytes are a value.
        unsafe { ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut options).cast(), size) };
        Ok(options)
    }

    /// Notes an array, after checks.
    fn add<T>(
        &mut self,
        name: &'static str,
        pointer: *const T,
        len: usize,
        is_written: bool,
    ) -> Result<(), Failure> {
        let span = Span {
            is_written,
            ..span(name, pointer, len)?
        };
        let (end, others) = (span.start.saturating_add(span.bytes), &self.spans);
        for other in &others[..self.len] {
            let apart = end <= other.start || other.start.saturating_add(other.bytes) <= span.start;
            if !apart && (is_written || other.is_written) {
                return Err(Failure::Overlap {
                    names: [other.name, name],
                });
            }
        }
        self.spans[self.len] = span;
        self.len += 1;
        Ok(())
    }
}

/// An array that is neither null, unless it is empty, nor unaligned.
fn span<T>(name: &'static str, pointer: *const T, len: usize) -> Result<Span, Failure> {
    if len > 0 && pointer.is_null() {
        return Err(Failure::Null { name, len });
    }
    if len > 0 && !pointer.is_aligned() {
        let align = align_of::<T>();
        return Err(Failure::Alignment { name, align });
    }
    Ok(Span {
        name,
        start: pointer.addr(),
        bytes: bytes::<T>(len).ok_or(Failure::Size {
            rows: len,
            classes: 1,
        })?,
        is_written: false,
    })
}
