//! Batches that are not dense rows of what kernels compute in: a few rows at a time are copied to some of the stack, worked on there, and
//! copied back.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use crate::backend::{Backend, Isa, Operation};
use crate::batch::{Back, Batch, BatchMut};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::kernel::tree::{Merge, split_point};
use crate::lines::Room;
use crate::outputs::RowOutputs;
use crate::rows::{FirstRow, Rows, RowsMut, Split};
use crate::targets::{Answers, Distributions, Flat, Probs, Targets};

/// Bytes of the stack: of the stacks of threads that there are, 128 KiB is the smallest that is common.
const ROOM: usize = 64 << 10;

/// Elements that are copied together, if their rows are short: half of a first-level cache. (A power of two.)
const TILE: usize = 4096;

/// Bytes that are allocated for rows that lie beside each other at most, unless one alone needs more.
#[cfg(feature = "alloc")]
const ALLOCATED: usize = 16 << 20;

/// Rows that are contiguous and have so many elements are not worth a copy, if they need none.
const LONG: usize = 256;

/// Data of a kernel that computes in `R`, as it lies in memory.
pub trait Tiled<R: Real>: Split {
    /// As the kernel takes it.
    type Dense;
    /// What brings results back from copies.
    type Back;

    /// Whether it is as the kernel takes it.
    fn is_dense(&self) -> bool;
    /// Whether each row by itself is.
    fn has_dense_rows(&self) -> bool;
    /// The data, which [is dense](Self::is_dense).
    fn into_dense(self) -> Self::Dense;
    /// How many rows lie beside each other, class by class: then sixteen are copied at a time.
    fn rows_beside(&self) -> usize {
        1
    }
    /// How many elements of room a row takes.
    fn room_of_a_row(&self) -> usize;
    /// Copies what is not as the kernel takes it.
    ///
    /// # Safety
    /// What is returned must not be used when the room has another use, or is no more.
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, R>) -> (Self::Dense, Self::Back);
    /// Brings results back.
    ///
    /// # Safety
    /// The room must be as the kernel left it, which has written all results.
    unsafe fn scatter(isa: Isa, back: Self::Back);
}

/// Runs a kernel over data, wherever it lies.
#[inline]
pub fn run<R: Real, D: Tiled<R>, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D::Dense, Output: Merge>,
{
    if data.is_dense() {
        return backend.run(kernel, data.into_dense());
    }
    in_tiles(backend, kernel, data)
}

/// How many rows are best copied together, a power of two: those that share lines of the cache.
#[cfg(feature = "alloc")]
pub fn together<R: Real>(data: &impl Tiled<R>) -> usize {
    1 << data.rows_beside().clamp(1, 16).ilog2()
}

/// Checks that there is room for a row.
///
/// # Errors
/// If it needs a copy that is longer than the room, and none can be made for it.
pub fn check<R: Real>(data: &impl Tiled<R>) -> Result<(), Error> {
    let (elements, room) = (data.room_of_a_row(), ROOM / size_of::<R>());
    if cfg!(feature = "alloc") || data.has_dense_rows() || elements <= room {
        Ok(())
    } else {
        Err(Error::Room { elements, room })
    }
}

/// Runs a kernel over copies. Out of line, so that nobody else has room for them on the stack.
#[inline(never)]
fn in_tiles<R: Real, D: Tiled<R>, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D::Dense, Output: Merge>,
{
    let row = data.room_of_a_row().max(1);
    #[expect(clippy::large_stack_arrays, reason = "nothing is allocated for copies")]
    let mut stack = [MaybeUninit::<u64>::uninit(); ROOM / size_of::<u64>()];
    let room = cast_room(&mut stack);
    let most = if data.rows_beside() > 1 {
        room.len()
    } else {
        TILE
    };
    let rows = if data.has_dense_rows() && row >= LONG {
        1
    } else {
        1 << (most / row).max(1).ilog2()
    };
    #[cfg(feature = "alloc")]
    if !data.has_dense_rows() {
        let most = (ALLOCATED / size_of::<R>() / row).clamp(1, together(&data));
        let wanted = 1 << data.rows().clamp(1, most).ilog2();
        if wanted * row > room.len() {
            let mut heap = Vec::with_capacity(wanted * row);
            return tiles(backend, kernel, data, wanted, heap.spare_capacity_mut());
        }
    }
    tiles(backend, kernel, data, rows, room)
}

/// The same memory as room for other elements, which need no more alignment.
fn cast_room<R: Real>(room: &mut [MaybeUninit<u64>]) -> &mut [MaybeUninit<R>] {
    const { assert!(align_of::<R>() <= align_of::<u64>()) };
    let len = size_of_val(room) / size_of::<R>();
    // SAFETY: as many elements are as long, and need not be initialised.
    unsafe { core::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), len) }
}

/// Runs a kernel over copies of so many rows at a time, a power of two: so what comes of them merges along the tree over the rows.
fn tiles<R: Real, D: Tiled<R>, K>(
    backend: Backend,
    kernel: &K,
    data: D,
    rows: usize,
    room: &mut [MaybeUninit<R>],
) -> K::Output
where
    K: Operation<D::Dense, Output: Merge>,
{
    if data.is_dense() {
        return backend.run(kernel, data.into_dense());
    }
    if data.rows() > rows {
        let at = split_point(data.rows().div_ceil(rows)) * rows;
        let (head, tail) = data.split_at(at);
        let head = tiles(backend, kernel, head, rows, room);
        return head.merge(tiles(backend, kernel, tail, rows, room));
    }
    let isa = backend.copies_with();
    // SAFETY: the kernel is done with the copies when it returns, since its output borrows nothing (`Merge`), and the room has no other use until they are
    // brought back.
    unsafe {
        let (dense, back) = data.gather(isa, &mut Room(room));
        let output = backend.run(kernel, dense);
        D::scatter(isa, back);
        output
    }
}

impl<'a, E: Element, const N: usize> Tiled<E::Real> for Batch<'a, E, N> {
    type Dense = Rows<'a, E::Real, N>;
    type Back = ();

    fn is_dense(&self) -> bool {
        self.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        self.into_dense()
    }
    fn rows_beside(&self) -> usize {
        self.rows_beside()
    }
    fn room_of_a_row(&self) -> usize {
        self.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, E::Real>) -> (Self::Dense, ()) {
        // SAFETY: as the caller promises.
        (unsafe { Batch::gather(&self, isa, room) }, ())
    }
    unsafe fn scatter(_: Isa, (): ()) {}
}

impl<'a, E: Element, const N: usize, D> Tiled<E::Real> for BatchMut<'a, E, N, D>
where
    D: Element<Real = E::Real>,
{
    type Dense = RowsMut<'a, E::Real, N>;
    type Back = Back<'a, D>;

    fn is_dense(&self) -> bool {
        self.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        self.into_dense()
    }
    fn rows_beside(&self) -> usize {
        self.rows_beside()
    }
    fn room_of_a_row(&self) -> usize {
        self.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, E::Real>) -> (Self::Dense, Self::Back) {
        // SAFETY: as the caller promises.
        unsafe { BatchMut::gather(self, isa, room) }
    }
    unsafe fn scatter(isa: Isa, back: Self::Back) {
        // SAFETY: as the caller promises.
        unsafe { back.scatter(isa) }
    }
}

impl<'a, E: Element> Tiled<E::Real> for Distributions<'a, E> {
    type Dense = Probs<'a, E::Real>;
    type Back = ();

    fn is_dense(&self) -> bool {
        self.0.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.0.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        Probs {
            classes: self.0.classes(),
            probs: self.0.into_dense().into_slice(),
        }
    }
    fn room_of_a_row(&self) -> usize {
        self.0.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, E::Real>) -> (Self::Dense, ()) {
        // SAFETY: as the caller promises.
        let copies = unsafe { Batch::gather(&self.0, isa, room) };
        let probs = Probs {
            classes: self.0.classes(),
            probs: copies.into_slice(),
        };
        (probs, ())
    }
    unsafe fn scatter(_: Isa, (): ()) {}
}

impl<'a, R: Real, A: Tiled<R, Back = ()>> Tiled<R> for Answers<'a, R, A> {
    type Dense = Answers<'a, R, A::Dense>;
    type Back = ();

    fn is_dense(&self) -> bool {
        self.targets.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.targets.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        Answers {
            targets: self.targets.into_dense(),
            upstream: self.upstream,
        }
    }
    fn room_of_a_row(&self) -> usize {
        self.targets.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, R>) -> (Self::Dense, ()) {
        // SAFETY: as the caller promises.
        let (targets, ()) = unsafe { self.targets.gather(isa, room) };
        let upstream = self.upstream;
        (Answers { targets, upstream }, ())
    }
    unsafe fn scatter(_: Isa, (): ()) {}
}

/// Data that needs no copy.
macro_rules! as_it_is {
    ($($data:ty;)*) => {$(
        impl<R: Real> Tiled<R> for $data {
            type Dense = Self;
            type Back = ();

            fn is_dense(&self) -> bool {
                true
            }
            fn has_dense_rows(&self) -> bool {
                true
            }
            fn into_dense(self) -> Self {
                self
            }
            fn room_of_a_row(&self) -> usize {
                0
            }
            unsafe fn gather(self, _: Isa, _: &mut Room<'_, R>) -> (Self, ()) {
                (self, ())
            }
            unsafe fn scatter(_: Isa, (): ()) {}
        }
    )*};
}
as_it_is! {
    Targets<'_>;
    Flat<'_>;
    FirstRow;
    &mut [R];
    Option<&mut [R]>;
    RowOutputs<'_, R>;
}

impl<R: Real, A: Tiled<R>, B: Tiled<R>> Tiled<R> for (A, B) {
    type Dense = (A::Dense, B::Dense);
    type Back = (A::Back, B::Back);

    fn is_dense(&self) -> bool {
        self.0.is_dense() && self.1.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.0.has_dense_rows() && self.1.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        (self.0.into_dense(), self.1.into_dense())
    }
    fn rows_beside(&self) -> usize {
        self.0.rows_beside()
    }
    fn room_of_a_row(&self) -> usize {
        self.0.room_of_a_row() + self.1.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, R>) -> (Self::Dense, Self::Back) {
        // SAFETY: as the caller promises.
        let ((a, back_a), (b, back_b)) =
            unsafe { (self.0.gather(isa, room), self.1.gather(isa, room)) };
        ((a, b), (back_a, back_b))
    }
    unsafe fn scatter(isa: Isa, (a, b): Self::Back) {
        // SAFETY: as the caller promises.
        unsafe {
            A::scatter(isa, a);
            B::scatter(isa, b);
        }
    }
}

impl<R: Real, A: Tiled<R>, B: Tiled<R>, C: Tiled<R>> Tiled<R> for (A, B, C) {
    type Dense = (A::Dense, B::Dense, C::Dense);
    type Back = ((A::Back, B::Back), C::Back);

    fn is_dense(&self) -> bool {
        self.0.is_dense() && self.1.is_dense() && self.2.is_dense()
    }
    fn has_dense_rows(&self) -> bool {
        self.0.has_dense_rows() && self.1.has_dense_rows() && self.2.has_dense_rows()
    }
    fn into_dense(self) -> Self::Dense {
        (
            self.0.into_dense(),
            self.1.into_dense(),
            self.2.into_dense(),
        )
    }
    fn rows_beside(&self) -> usize {
        self.0.rows_beside()
    }
    fn room_of_a_row(&self) -> usize {
        self.0.room_of_a_row() + self.1.room_of_a_row() + self.2.room_of_a_row()
    }
    unsafe fn gather(self, isa: Isa, room: &mut Room<'_, R>) -> (Self::Dense, Self::Back) {
        // SAFETY: as the caller promises.
        let (((a, b), c), back) = unsafe { ((self.0, self.1), self.2).gather(isa, room) };
        ((a, b, c), back)
    }
    unsafe fn scatter(isa: Isa, back: Self::Back) {
        // SAFETY: as the caller promises.
        unsafe { <((A, B), C)>::scatter(isa, back) }
    }
}
