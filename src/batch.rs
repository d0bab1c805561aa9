//! A batch of rows as it lies in memory: the only place where shapes are checked, and where sources and a destination meet.
//!
//! Kernels take dense rows of the type that they compute in ([`Rows`], [`RowsMut`]), and most batches are just that. Of others, a few
//! rows at a time are copied to where they are, and back: `tile.rs`.
//!
//! A row operation reads one or two sources and writes one destination, which may be one of the sources (in place). Two Rust slices
//! over the same memory would be undefined behaviour, so both forms become pointers here.

use core::marker::PhantomData;

use crate::backend::Isa;
use crate::element::Element;
use crate::error::Error;
use crate::lines::{Gather, Layout, Lines, LinesMut, Room, Scatter};
use crate::output::Output;
use crate::rows::{CHUNK, Rows, RowsMut, Split, same_length};
use crate::shape::Shape;

/// A batch of rows to read.
#[derive(Debug)]
pub struct Batch<'a, E, const N: usize> {
    src: [*const E; N],
    layout: Layout,
    lifetime: PhantomData<&'a E>,
}

/// A batch of rows to read, and where to write.
#[derive(Debug)]
pub struct BatchMut<'a, E, const N: usize, D = E> {
    src: Batch<'a, E, N>,
    dst: *mut D,
    /// How far apart rows begin there, or groups of them.
    stride: usize,
    /// The source that is written over, if one is.
    over: Option<usize>,
    lifetime: PhantomData<&'a mut D>,
}

// SAFETY: `Batch` stands for `N` slices `&'a [E]`.
unsafe impl<E: Sync, const N: usize> Send for Batch<'_, E, N> {}
// SAFETY: `BatchMut` stands for slices `&'a [E]` and rows of one `&'a mut [D]`, which may be one of them: no other value reaches these
// rows of the latter.
unsafe impl<E: Sync, const N: usize, D: Send> Send for BatchMut<'_, E, N, D> {}

impl<'a, E, const N: usize> Batch<'a, E, N> {
    /// Rows of that shape in slices of equal length.
    ///
    /// # Errors
    /// If the lengths differ, or are not those of a whole number of rows.
    #[inline(always)]
    pub fn new(src: [&'a [E]; N], shape: Shape) -> Result<Self, Error> {
        let len = src[0].len();
        for other in src {
            same_length(len, other.len())?;
        }
        Self::from_pointers(src.map(<[E]>::as_ptr), len, shape)
    }

    fn from_pointers(src: [*const E; N], len: usize, shape: Shape) -> Result<Self, Error> {
        let stride = shape.strides.map(|[read, _]| read);
        Ok(Self {
            src,
            layout: Layout::new(shape, stride, len)?,
            lifetime: PhantomData,
        })
    }

    /// Checks that there are `rows` rows. Rows without classes take their number from here.
    ///
    /// # Errors
    /// If there is another number of rows.
    #[inline(always)]
    pub fn expect_rows(mut self, rows: usize) -> Result<Self, Error> {
        if self.layout.classes == 0 {
            self.layout.count = rows;
        }
        same_length(self.layout.count, rows)?;
        Ok(self)
    }

    /// The same batch, if it is dense, as one flat slice, in rows of [`CHUNK`] elements, the last one as long as it comes.
    #[must_use]
    pub fn in_chunks(mut self) -> Self {
        assert!(
            self.layout.is_dense() && self.layout.first == 0,
            "rows with gaps"
        );
        self.layout = Layout::flat(self.layout.len);
        self
    }

    /// Elements in a row.
    pub fn classes(&self) -> usize {
        self.layout.classes
    }

    /// How many rows lie beside each other, class by class.
    pub fn rows_beside(&self) -> usize {
        self.layout.inner
    }

    /// How many elements of room copies of a row take; of no rows, none.
    pub fn room_of_a_row(&self) -> usize {
        N * self.layout.classes.min(self.layout.len)
    }
}

impl<'a, E> Batch<'a, E, 1> {
    /// A slice of any length as rows of [`CHUNK`] elements, the last one as long as it comes.
    pub fn flat(src: &'a [E]) -> Self {
        Self {
            src: [src.as_ptr()],
            layout: Layout::flat(src.len()),
            lifetime: PhantomData,
        }
    }
}

impl<'a, E, const N: usize, D> BatchMut<'a, E, N, D> {
    /// Rows of that shape in slices of equal length, and in a destination where they may be further apart, or less.
    ///
    /// # Errors
    /// If the lengths differ, or are not those of a whole number of rows.
    #[inline(always)]
    pub fn new(
        src: [&'a [E]; N],
        shape: Shape,
        dst: &'a mut (impl Output<D> + ?Sized),
    ) -> Result<Self, Error> {
        let src = Batch::new(src, shape)?;
        let dst = dst.elements();
        let stride = match shape.strides {
            None => {
                same_length(src.layout.len, dst.len())?;
                src.layout.stride
            }
            Some([_, stride]) => {
                let there = Layout::new(shape, Some(stride), dst.len())?;
                let (read, written) = (src.layout.count, there.count);
                if read != written {
                    return Err(Error::Rows { read, written });
                }
                there.stride
            }
        };
        Ok(Self {
            src,
            dst: dst.cast(),
            stride,
            over: None,
            lifetime: PhantomData,
        })
    }

    /// Checks that there are `rows` rows. Rows without classes take their number from here.
    ///
    /// # Errors
    /// If there is another number of rows.
    #[inline(always)]
    pub fn expect_rows(mut self, rows: usize) -> Result<Self, Error> {
        self.src = self.src.expect_rows(rows)?;
        Ok(self)
    }

    /// The same batch, if it is dense, as one flat slice, in rows of [`CHUNK`] elements, the last one as long as it comes.
    #[must_use]
    pub fn in_chunks(mut self) -> Self {
        assert!(self.stride == self.src.layout.stride, "rows with gaps");
        self.src = self.src.in_chunks();
        self.stride = CHUNK;
        self
    }

    /// Elements in a row.
    pub fn classes(&self) -> usize {
        self.src.layout.classes
    }

    /// How many rows lie beside each other, class by class.
    pub fn rows_beside(&self) -> usize {
        self.src.rows_beside()
    }

    /// How many elements of room copies of a row take; of no rows, none.
    pub fn room_of_a_row(&self) -> usize {
        self.src.room_of_a_row()
    }
}

impl<'a, E> BatchMut<'a, E, 1> {
    /// Rows of that shape, written over themselves.
    ///
    /// # Errors
    /// If the length is not that of a whole number of rows.
    pub fn in_place(x: &'a mut [E], shape: Shape) -> Result<Self, Error> {
        let len = x.len();
        // The source is read through the pointer that also writes.
        let dst = x.as_mut_ptr();
        let src = Batch::from_pointers([dst], len, shape)?;
        Ok(Self::over(0, src, dst))
    }

    /// A slice of any length as rows of [`CHUNK`] elements, the last one as long as it comes.
    ///
    /// # Errors
    /// If the destination has another length.
    pub fn flat(src: &'a [E], dst: &'a mut (impl Output<E> + ?Sized)) -> Result<Self, Error> {
        Ok(Self::new([src], 1.into(), dst)?.in_chunks())
    }

    /// [`flat`](Self::flat) rows, written over themselves.
    pub fn flat_in_place(x: &'a mut [E]) -> Self {
        let len = x.len();
        let dst = x.as_mut_ptr();
        let src = Batch {
            src: [dst.cast_const()],
            layout: Layout::flat(len),
            lifetime: PhantomData,
        };
        Self::over(0, src, dst)
    }
}

impl<'a, E, const N: usize> BatchMut<'a, E, N> {
    /// Rows whose source `over` is read through this pointer as well.
    fn over(over: usize, src: Batch<'a, E, N>, dst: *mut E) -> Self {
        Self {
            stride: src.layout.stride,
            src,
            dst,
            over: Some(over),
            lifetime: PhantomData,
        }
    }
}

impl<'a, E> BatchMut<'a, E, 2> {
    /// Rows of that shape of two sources, written over the first.
    ///
    /// # Errors
    /// If the lengths differ, or are not those of a whole number of rows.
    pub fn over_first(a: &'a mut [E], b: &'a [E], shape: Shape) -> Result<Self, Error> {
        same_length(a.len(), b.len())?;
        let (len, dst) = (a.len(), a.as_mut_ptr());
        let src = Batch::from_pointers([dst.cast_const(), b.as_ptr()], len, shape)?;
        Ok(Self::over(0, src, dst))
    }

    /// Rows of that shape of two sources, written over the second.
    ///
    /// # Errors
    /// If the lengths differ, or are not those of a whole number of rows.
    pub fn over_second(a: &'a [E], b: &'a mut [E], shape: Shape) -> Result<Self, Error> {
        same_length(a.len(), b.len())?;
        let (len, dst) = (b.len(), b.as_mut_ptr());
        let src = Batch::from_pointers([a.as_ptr(), dst.cast_const()], len, shape)?;
        Ok(Self::over(1, src, dst))
    }
}

impl<E: Sync, const N: usize> Split for Batch<'_, E, N> {
    fn rows(&self) -> usize {
        self.layout.count
    }

    fn elements(&self) -> usize {
        self.layout.len
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.layout.split_at(row);
        (
            Self {
                layout: head,
                ..self
            },
            Self {
                layout: tail,
                ..self
            },
        )
    }
}

impl<E: Sync, const N: usize, D: Send> Split for BatchMut<'_, E, N, D> {
    fn rows(&self) -> usize {
        self.src.layout.count
    }

    fn elements(&self) -> usize {
        self.src.layout.len
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.src.split_at(row);
        (Self { src: head, ..self }, Self { src: tail, ..self })
    }
}

/// What a kernel is given: dense rows of the type that it computes in.
impl<'a, E: Element, const N: usize> Batch<'a, E, N> {
    /// Whether the batch is that already.
    pub fn is_dense(&self) -> bool {
        E::IS_REAL && self.layout.is_dense()
    }

    /// Whether each row by itself is.
    pub fn has_dense_rows(&self) -> bool {
        E::IS_REAL && self.layout.inner == 1
    }

    /// The batch as it is, which [is dense](Self::is_dense).
    pub fn into_dense(self) -> Rows<'a, E::Real, N> {
        assert!(self.is_dense(), "rows of other elements, or with gaps");
        let offset = self.layout.offset(0);
        let src = self.src.map(
            #[inline(always)]
            |p| p.wrapping_add(offset).cast(),
        );
        let Layout {
            classes,
            count,
            len,
            ..
        } = self.layout;
        // SAFETY: the elements are of type `E::Real` (`IS_REAL`), and those of the part follow each other, from the offset on, in
        // slices that live for `'a`.
        unsafe { Rows::from_raw(src, len, classes, count) }
    }

    /// Copies of the rows, in some of the room.
    ///
    /// # Safety
    /// They must not be used when the room has another use, or is no more.
    pub unsafe fn gather(&self, isa: Isa, room: &mut Room<'_, E::Real>) -> Rows<'a, E::Real, N> {
        let src = core::array::from_fn(|source| {
            let copies = room.take(self.layout.len);
            // They are read, and perhaps written, through this pointer, so it comes before the slice that they are copied to.
            let p = copies.as_mut_ptr();
            // SAFETY: the same memory, of which the slice is not used again.
            let copies = unsafe { core::slice::from_raw_parts_mut(p, self.layout.len) };
            // SAFETY: the rows of the layout lie within the slice that the source was made from, which lives for `'a`.
            let lines = unsafe { Lines::new(self.src[source], self.layout) };
            isa.run(&Gather, (lines, copies));
            p.cast::<E::Real>().cast_const()
        });
        let Layout {
            classes,
            count,
            len,
            ..
        } = self.layout;
        // SAFETY: as many elements have been written there.
        unsafe { Rows::from_raw(src, len, classes, count) }
    }
}

impl<'a, E: Element, const N: usize, D: Element<Real = E::Real>> BatchMut<'a, E, N, D> {
    /// Whether the batch is dense, of elements that kernels compute in.
    pub fn is_dense(&self) -> bool {
        self.src.is_dense() && D::IS_REAL && self.written().is_dense()
    }

    /// Whether each row by itself is.
    pub fn has_dense_rows(&self) -> bool {
        self.src.has_dense_rows() && D::IS_REAL
    }

    /// The batch as it is, which [is dense](Self::is_dense).
    pub fn into_dense(self) -> RowsMut<'a, E::Real, N> {
        assert!(self.is_dense(), "rows of other elements, or with gaps");
        let dst = self.dst.wrapping_add(self.written().offset(0)).cast();
        let src = self.src.into_dense();
        // SAFETY: the elements are of type `E::Real` (`IS_REAL`), and those of the part follow each other, from the offset on, in a
        // slice that lives for `'a`, and that nothing else reaches but the source that it is.
        unsafe { RowsMut::from_raw(src, dst) }
    }

    /// Copies of the rows, in some of the room, where they are to be written over; and what brings them back from there.
    ///
    /// # Safety
    /// They must not be used when the room has another use, or is no more.
    pub unsafe fn gather(
        self,
        isa: Isa,
        room: &mut Room<'_, E::Real>,
    ) -> (RowsMut<'a, E::Real, N>, Back<'a, D>) {
        // SAFETY: the rows of the layout lie within the slice that the destination was made from, which lives for `'a`, and nothing else
        // reaches them but the source that it is, which is not read any more when they are written.
        let lines = unsafe { LinesMut::new(self.dst, self.written()) };
        // SAFETY: as the caller promises.
        let src = unsafe { self.src.gather(isa, room) };
        let dst = src.pointer(self.over.unwrap_or(0)).cast_mut();
        // SAFETY: the copies are there to be written over, and the room is borrowed.
        let rows = unsafe { RowsMut::from_raw(src, dst) };
        (rows, Back { copies: dst, lines })
    }

    /// Where the rows of the destination are.
    fn written(&self) -> Layout {
        Layout {
            stride: self.stride,
            ..self.src.layout
        }
    }
}

/// What brings results to their places.
#[derive(Debug)]
pub struct Back<'a, D: Element> {
    copies: *mut D::Real,
    lines: LinesMut<'a, D>,
}

impl<D: Element> Back<'_, D> {
    /// # Safety
    /// The room that the copies are in must be as it was left by the kernel.
    pub unsafe fn scatter(self, isa: Isa) {
        let len = self.lines.len();
        // SAFETY: there are as many copies, all of them written.
        let copies = unsafe { core::slice::from_raw_parts(self.copies.cast_const(), len) };
        isa.run(&Scatter, (copies, self.lines));
    }
}
