//! Dense rows, as the kernels see them: made of pointers once (`batch.rs`), and then handed down.
//!
//! A row operation reads one or two sources and writes one destination, which may be one of the
//! sources (in place). The kernels see safe methods only.

use core::marker::PhantomData;

use crate::element::Real;
use crate::error::Error;
use crate::outputs::RowOutputs;
use crate::partly::Partly;
use crate::simd::Vector;
use crate::targets::{Answers, Distributions, Flat, Probs, Targets};

/// Elements that are summed together before their sum joins the tree over the chunks of a row. The
/// bits of every sum depend on it. 16 KiB of `f32`: half of a first-level cache.
pub const CHUNK: usize = 4096;

/// Work on many rows that can be done in two parts.
pub trait Split: Sized + Send {
    /// Rows left.
    fn rows(&self) -> usize;
    /// Elements left, of one source.
    fn elements(&self) -> usize;
    /// The first `row` rows and the others.
    fn split_at(self, row: usize) -> (Self, Self);
}

/// A row whose vectors a kernel passes over: read only ([`Row`]) or with a destination
/// ([`RowMut`]). A kernel written over this trait serves both.
pub trait Pass<T: Real, const N: usize>: Sized {
    /// Whether there is a destination.
    const WRITES: bool;
    /// Elements in the row.
    fn len(&self) -> usize;
    /// Real `i` of a source.
    fn get(&self, source: usize, i: usize) -> T;
    /// The sources alone.
    fn source(&self) -> Row<'_, T, N>;
    /// Elements `start..end`.
    fn part(&mut self, start: usize, end: usize) -> impl Pass<T, N>;
    /// Calls `f` with the index of each vector and the sources' lanes, `fill` where the last one
    /// is short, and writes what it returns, if there is a destination.
    #[inline(always)]
    fn map<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        fill: [T; N],
        f: impl FnMut(usize, [V; N]) -> V,
    ) {
        self.map_by::<V, 1>(simd, fill, OneByOne(f));
    }
    /// The same with four whole vectors at once, where these are to go [side by side](Vector::SIDE_BY_SIDE), and then with one at a time.
    #[inline(always)]
    fn map_several<V: Vector<Elem = T>>(&mut self, simd: V::Simd, fill: [T; N], f: impl Map<V, N>) {
        if V::SIDE_BY_SIDE {
            self.map_by::<V, 4>(simd, fill, f);
        } else {
            self.map_by::<V, 1>(simd, fill, f);
        }
    }
    /// The same with `G` at once.
    fn map_by<V: Vector<Elem = T>, const G: usize>(
        &mut self,
        simd: V::Simd,
        fill: [T; N],
        f: impl Map<V, N>,
    );
    /// Writes vector `block` of the destination, if there is one: as much of it as the row has.
    fn put<V: Vector<Elem = T>>(&mut self, block: usize, y: V);
    /// Replaces each vector of the destination, if there is one, given its index.
    fn update<V: Vector<Elem = T>>(&mut self, simd: V::Simd, f: impl FnMut(usize, V) -> V);
    /// Replaces element `i` of the destination, if there is one.
    fn replace(&mut self, i: usize, f: impl FnOnce(T) -> T);
    /// Writes element `i` of the destination, if there is one.
    fn set(&mut self, i: usize, x: T);
    /// Writes every element of the destination, if there is one.
    fn fill(&mut self, x: T) {
        for i in 0..self.len() {
            self.set(i, x);
        }
    }
}

/// What is done with some vectors of `N` sources at once.
pub trait Map<V: Vector, const N: usize> {
    /// Given the index of the first.
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; N]; G]) -> [V; G];
}

/// The lanes of the first of the sources.
#[inline(always)]
pub fn of_first<V: Copy, const N: usize, const G: usize>(x: [[V; N]; G]) -> [V; G] {
    let mut y = [x[0][0]; G];
    for (y, x) in y.iter_mut().zip(x) {
        *y = x[0];
    }
    y
}

/// What is done with each by itself.
struct OneByOne<F>(F);

impl<V: Vector, const N: usize, F: FnMut(usize, [V; N]) -> V> Map<V, N> for OneByOne<F> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; N]; G]) -> [V; G] {
        let mut y = [x[0][0]; G];
        for (i, y) in y.iter_mut().enumerate() {
            *y = (self.0)(first + i, x[i]);
        }
        y
    }
}

/// How many elements before they are looked at, or written, memory is asked for them: eight kilobytes, and four of each of two sources of a pass, as these, a destination and
/// the rows themselves share the first-level cache (`docs/performance.md`).
#[inline(always)]
const fn ahead<T, const N: usize>() -> usize {
    8192 / N / size_of::<T>()
}

/// The longest rows that can be had by columns.
pub const FEW: usize = 64;

/// A batch whose first sixteen rows a kernel can have by columns, if they are short ([`FEW`]).
pub trait Columns<T: Real>: Split {
    /// Whether there is a destination.
    const WRITES: bool;
    /// Elements in a row.
    fn classes(&self) -> usize;
    /// Takes all rows that are left, and leaves none.
    ///
    /// A batch that goes out of line is taken there. Moved into a closure, it would be copied by vectors from where it was just written number by number, for which
    /// processors wait until that is in the cache: with one row of 10 classes, a call took 94 ns for 51 (`docs/performance.md`).
    fn take_all(&mut self) -> Self;
    /// Reads the columns of the first sixteen rows of a source, as many as rows have elements and as there is room for, which is at least
    /// four: lane `r` of vector `k` is element `k` of row `r`, or 0 if there are fewer rows. What is in further columns is not said.
    fn read<V: Vector<Elem = T>>(&self, simd: V::Simd, source: usize, columns: &mut [V]);
    /// Writes as many columns as rows have elements, which are there, and four at least, to as many rows as there are, if there is a
    /// destination.
    fn write<V: Vector<Elem = T>>(&mut self, simd: V::Simd, columns: &[V]);
    /// The columns of the first sixteen rows of the first source, which are there, and have `C` elements, two at least.
    fn read_few<V: Vector<Elem = T>, const C: usize>(&self, simd: V::Simd) -> [V; C];
    /// Writes them, if there is a destination.
    fn write_few<V: Vector<Elem = T>, const C: usize>(&mut self, simd: V::Simd, columns: [V; C]);
}

/// Rows that can be seen before they are taken.
pub trait Peek<T: Real, const N: usize>: Iterator {
    /// The sources of all rows that are left, as one.
    fn peek(&self) -> Row<'_, T, N>;
    /// Where they are.
    #[inline(always)]
    fn places(&self) -> Places<T, N> {
        self.peek().places()
    }
    /// All rows that are left, as one.
    #[cfg_attr(not(feature = "rayon"), allow(dead_code, reason = "of use to threads"))]
    fn whole(&mut self) -> impl Pass<T, N>;
}

/// What makes it sound to see `V::LANES` elements as a `V::Array`.
pub const fn assert_layout<V: Vector>() {
    assert!(size_of::<V::Array>() == V::LANES * size_of::<V::Elem>());
    assert!(align_of::<V::Array>() <= align_of::<V::Elem>());
}

/// A batch of rows to read.
#[derive(Debug)]
pub struct Rows<'a, T, const N: usize> {
    src: [*const T; N],
    /// Elements left in each source.
    len: usize,
    /// Elements in each row; the last one of a flat slice may be shorter.
    classes: usize,
    /// Rows left, which the length does not tell where rows are empty.
    count: usize,
    lifetime: PhantomData<&'a T>,
}

/// A batch of rows to read, and where to write.
#[derive(Debug)]
pub struct RowsMut<'a, T, const N: usize> {
    src: Rows<'a, T, N>,
    dst: *mut T,
    lifetime: PhantomData<&'a mut T>,
}

/// One row to read.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, T, const N: usize> {
    src: [*const T; N],
    len: usize,
    lifetime: PhantomData<&'a T>,
}

/// Where elements are and results will be, to ask for that memory and not to look at it.
#[derive(Clone, Copy, Debug)]
pub struct Places<T, const N: usize> {
    src: [*const T; N],
    /// That of a source where there is no destination.
    dst: *const T,
}

/// One row to read, and where to write.
#[derive(Debug)]
pub struct RowMut<'a, T, const N: usize> {
    src: Row<'a, T, N>,
    dst: *mut T,
    lifetime: PhantomData<&'a mut T>,
}

// SAFETY: `Rows` stands for `N` slices `&'a [T]`.
unsafe impl<T: Sync, const N: usize> Send for Rows<'_, T, N> {}
// SAFETY: `RowsMut` stands for slices `&'a [T]` and one `&'a mut [T]`, which may be one of them: no
// other value reaches the memory of the latter.
unsafe impl<T: Send + Sync, const N: usize> Send for RowsMut<'_, T, N> {}

/// Checks that two slices which belong together have one length.
pub fn same_length(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Length { expected, found })
    }
}

impl<T, const N: usize> Rows<'_, T, N> {
    /// Pointers to `len` elements each, in `count` rows of `classes`.
    ///
    /// # Safety
    /// As many elements lie there, which live as long, and are not written meanwhile but through these rows. All rows have `classes` of
    /// them, but for the last one, which may have less.
    pub unsafe fn from_raw(src: [*const T; N], len: usize, classes: usize, count: usize) -> Self {
        Self {
            src,
            len,
            classes,
            count,
            lifetime: PhantomData,
        }
    }

    /// Where the elements of a source are.
    pub fn pointer(&self, source: usize) -> *const T {
        self.src[source]
    }
}

impl<'a, T> Rows<'a, T, 1> {
    /// A slice in whole rows of `classes`.
    pub fn of(src: &'a [T], classes: usize) -> Self {
        let count = src.len().checked_div(classes).unwrap_or(0);
        Self {
            src: [src.as_ptr()],
            len: count * classes,
            classes,
            count,
            lifetime: PhantomData,
        }
    }

    /// All elements.
    pub fn into_slice(self) -> &'a [T] {
        // SAFETY: they lie there, and live as long.
        unsafe { core::slice::from_raw_parts(self.src[0], self.len) }
    }
}

impl<'a, T, const N: usize> RowsMut<'a, T, N> {
    /// Rows to read, and where to write.
    ///
    /// # Safety
    /// There is room for as many elements, which nothing else reaches, but for the source that begins there, if one does.
    pub unsafe fn from_raw(src: Rows<'a, T, N>, dst: *mut T) -> Self {
        Self {
            src,
            dst,
            lifetime: PhantomData,
        }
    }

    /// Elements in a row.
    pub fn classes(&self) -> usize {
        self.src.classes
    }
}

impl<'a, T> RowMut<'a, T, 1> {
    /// A slice, to be written over.
    pub fn of(x: &'a mut [T]) -> Self {
        let (len, dst) = (x.len(), x.as_mut_ptr());
        Self {
            src: Row {
                src: [dst.cast_const()],
                len,
                lifetime: PhantomData,
            },
            dst,
            lifetime: PhantomData,
        }
    }
}

/// Rows that can be cut anew.
pub trait Recut {
    /// The same batch as one flat slice, in rows of [`CHUNK`] elements, the last one as long as it comes.
    #[must_use]
    fn in_chunks(self) -> Self;
}

impl<T, const N: usize> Recut for Rows<'_, T, N> {
    fn in_chunks(mut self) -> Self {
        self.classes = CHUNK;
        self.count = self.len.div_ceil(CHUNK);
        self
    }
}

impl<T, const N: usize> Recut for RowsMut<'_, T, N> {
    fn in_chunks(mut self) -> Self {
        self.src = self.src.in_chunks();
        self
    }
}

/// As the tests of the kernels make them.
#[cfg(all(test, feature = "std"))]
mod made {
    use super::{Rows, RowsMut};
    use crate::batch::{Batch, BatchMut};
    use crate::element::Real;
    use crate::error::Error;

    impl<'a, T: Real, const N: usize> Rows<'a, T, N> {
        pub fn new(src: [&'a [T]; N], classes: usize) -> Result<Self, Error> {
            Ok(Batch::new(src, classes.into())?.into_dense())
        }
    }

    impl<'a, T: Real> Rows<'a, T, 1> {
        pub fn flat(src: &'a [T]) -> Self {
            Batch::flat(src).into_dense()
        }
    }

    impl<'a, T: Real> RowsMut<'a, T, 1> {
        pub fn in_place(x: &'a mut [T], classes: usize) -> Result<Self, Error> {
            Ok(BatchMut::in_place(x, classes.into())?.into_dense())
        }
    }
}

impl<T: Sync, const N: usize> Split for Rows<'_, T, N> {
    fn rows(&self) -> usize {
        self.count
    }

    fn elements(&self) -> usize {
        self.len
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let row = row.min(self.count);
        let at = (row * self.classes).min(self.len);
        let head = Self {
            len: at,
            count: row,
            ..self
        };
        let tail = Self {
            // SAFETY: `at` is within the slices that `self` stands for.
            src: self.src.map(
                #[inline(always)]
                |p| unsafe { p.add(at) },
            ),
            len: self.len - at,
            count: self.count - row,
            ..self
        };
        (head, tail)
    }
}

impl<T: Send + Sync, const N: usize> Split for RowsMut<'_, T, N> {
    fn rows(&self) -> usize {
        self.src.count
    }

    fn elements(&self) -> usize {
        self.src.len
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.src.split_at(row);
        // SAFETY: the destination is as long as the sources, and the head ends within them.
        let dst = unsafe { self.dst.add(head.len) };
        (
            Self { src: head, ..self },
            Self {
                src: tail,
                dst,
                ..self
            },
        )
    }
}

impl<T: Send> Split for &mut [T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn elements(&self) -> usize {
        self.len()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        self.split_at_mut(row)
    }
}

impl<T: Sync> Split for &[T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn elements(&self) -> usize {
        self.len()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        <[T]>::split_at(self, row)
    }
}

impl<T: Sync, A: Split> Split for Answers<'_, T, A> {
    fn rows(&self) -> usize {
        self.targets.rows()
    }

    fn elements(&self) -> usize {
        self.targets.elements()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let ((a, x), (b, y)) = (self.targets, self.upstream).split_at(row);
        let answers = |targets, upstream| Answers { targets, upstream };
        (answers(a, x), answers(b, y))
    }
}

impl<T: Sync> Split for Probs<'_, T> {
    fn rows(&self) -> usize {
        self.probs.len().checked_div(self.classes).unwrap_or(0)
    }

    fn elements(&self) -> usize {
        self.probs.len()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let at = row.saturating_mul(self.classes).min(self.probs.len());
        let (head, tail) = self.probs.split_at(at);
        let part = |probs| Self { probs, ..self };
        (part(head), part(tail))
    }
}

impl<E: Sync> Split for Distributions<'_, E> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn elements(&self) -> usize {
        self.0.elements()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(row);
        (Self(head), Self(tail))
    }
}

impl<T: Send> Split for RowOutputs<'_, T> {
    fn rows(&self) -> usize {
        // As many as the batch that it goes with.
        usize::MAX
    }

    fn elements(&self) -> usize {
        0
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (losses, lse) = (self.losses.split_at(row), self.log_sum_exps.split_at(row));
        let (log_probs, entropies) = (self.log_probs.split_at(row), self.entropies.split_at(row));
        let argmax = self.argmax.split_at(row);
        (
            Self {
                losses: losses.0,
                log_sum_exps: lse.0,
                log_probs: log_probs.0,
                entropies: entropies.0,
                argmax: argmax.0,
            },
            Self {
                losses: losses.1,
                log_sum_exps: lse.1,
                log_probs: log_probs.1,
                entropies: entropies.1,
                argmax: argmax.1,
            },
        )
    }
}

/// The number of the first row of a part of a batch, where rows are told apart by their place.
#[derive(Clone, Copy, Debug)]
pub struct FirstRow(pub usize);

/// It has as many rows as the batch that it goes with.
impl Split for FirstRow {
    fn rows(&self) -> usize {
        usize::MAX
    }

    fn elements(&self) -> usize {
        0
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        (self, Self(self.0.saturating_add(row)))
    }
}

impl Split for Flat<'_> {
    fn rows(&self) -> usize {
        self.len.div_ceil(CHUNK)
    }

    fn elements(&self) -> usize {
        self.len
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let at = row.saturating_mul(CHUNK).min(self.len);
        let ignored = self.ignored.map(|ignored| ignored.split_at(at));
        let part = |start, len, ignored| Self {
            start,
            len,
            ignored,
        };
        (
            part(self.start, at, ignored.map(|(head, _)| head)),
            part(
                self.start + at,
                self.len - at,
                ignored.map(|(_, tail)| tail),
            ),
        )
    }
}

impl Split for Targets<'_> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn elements(&self) -> usize {
        self.len()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        Targets::split_at(self, row)
    }
}

/// What may be left out; it then has as many rows as the batch that it goes with.
impl<S: Split> Split for Option<S> {
    fn rows(&self) -> usize {
        self.as_ref().map_or(usize::MAX, Split::rows)
    }

    fn elements(&self) -> usize {
        self.as_ref().map_or(0, Split::elements)
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        self.map_or(
            (None, None),
            #[inline(always)]
            |split| {
                let (a, b) = split.split_at(row);
                (Some(a), Some(b))
            },
        )
    }
}

impl<A: Split, B: Split> Split for (A, B) {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn elements(&self) -> usize {
        self.0.elements()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let ((a, x), (b, y)) = (self.0.split_at(row), self.1.split_at(row));
        ((a, b), (x, y))
    }
}

impl<A: Split, B: Split, C: Split> Split for (A, B, C) {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn elements(&self) -> usize {
        self.0.elements()
    }

    fn split_at(self, row: usize) -> (Self, Self) {
        let (((a, b), c), ((x, y), z)) = ((self.0, self.1), self.2).split_at(row);
        ((a, b, c), (x, y, z))
    }
}

/// Where to take so many columns at a time, of which there are as many at least: the last of them may meet some again.
pub fn steps(classes: usize, columns: usize) -> impl Iterator<Item = usize> {
    (0..classes.div_ceil(columns)).map(move |i| (columns * i).min(classes - columns))
}

/// The distance of short rows, as the vectors take it.
#[expect(clippy::cast_possible_truncation, reason = "as is asserted")]
fn stride(classes: usize) -> u16 {
    assert!(u16::try_from(classes).is_ok(), "rows too long for columns");
    classes as u16
}

/// Room for sixteen rows.
type Sixteen<T> = Partly<T, { 16 * FEW }>;

/// Sixteen rows of zeros, of at least four elements each.
fn sixteen<T: Real>(room: &mut Sixteen<T>, classes: usize) -> &mut [T] {
    room.refill(T::ZERO, 16 * classes.max(4));
    room
}

/// Sixteen rows, where a batch has fewer or they are very short: these ones, and zeros.
#[inline(never)]
fn with_zeros<'a, T: Real>(room: &'a mut Sixteen<T>, rows: &[T], classes: usize) -> &'a [T] {
    let room = sixteen(room, classes);
    let len = room.len().min(rows.len());
    room[..len].copy_from_slice(&rows[..len]);
    room
}

/// Reads as many columns of sixteen rows as there is room for, at least four.
#[inline(always)]
fn read_columns<V: Vector>(simd: V::Simd, src: &[V::Elem], classes: usize, columns: &mut [V]) {
    let stride = stride(classes);
    if classes < 4 {
        V::load_columns(simd, src, stride, &mut columns.as_chunks_mut().0[0]);
        return;
    }
    let src = &src[..16 * classes];
    for i in steps(classes.min(columns.len()), 4) {
        let four = &mut columns[i..].as_chunks_mut().0[0];
        V::load_columns(simd, &src[i..], stride, four);
    }
}

/// Writes the columns of sixteen rows, each with room for at least four elements.
#[inline(always)]
fn write_columns<V: Vector>(columns: &[V], dst: &mut [V::Elem], classes: usize) {
    let stride = stride(classes);
    if classes < 4 {
        V::store_columns(&columns.as_chunks().0[0], dst, stride);
        return;
    }
    for i in steps(classes, 4) {
        V::store_columns(&columns[i..].as_chunks().0[0], &mut dst[i..], stride);
    }
}

/// Writes the columns of fewer rows. Out of line, so that whole blocks need not make way for it.
#[inline(never)]
fn write_some<V: Vector>(columns: &[V], dst: &mut [V::Elem], classes: usize) {
    let mut room = Partly::none();
    let room = sixteen(&mut room, classes);
    write_columns(columns, room, classes);
    dst.copy_from_slice(&room[..dst.len()]);
}

/// The longest of very short rows whose columns are best made of whole vectors. (Of more classes, a few elements of each row are read instead. With AVX2, where a vector is two registers, whose halves it has to
/// exchange, four classes take 1.2 times as long this way, and with AVX-512 0.8 times.)
const fn most_interleaved<V: Vector>() -> usize {
    if V::REGISTERS >= 32 { 4 } else { 3 }
}

/// The columns of sixteen rows that fill so many vectors.
#[inline(always)]
fn columns_of<V: Vector, const C: usize>(simd: V::Simd, mut vectors: [V; C]) -> [V; C] {
    match vectors.as_mut_slice() {
        [a, b] => [*a, *b] = V::deinterleave(simd, [*a, *b]),
        [a, b, c] => [*a, *b, *c] = V::deinterleave_3(simd, [*a, *b, *c]),
        [a, b, c, d] => {
            let [even_1, odd_1] = V::deinterleave(simd, [*a, *b]);
            let [even_2, odd_2] = V::deinterleave(simd, [*c, *d]);
            [*a, *c] = V::deinterleave(simd, [even_1, even_2]);
            [*b, *d] = V::deinterleave(simd, [odd_1, odd_2]);
        }
        _ => unreachable!("rows of two, three or four"),
    }
    vectors
}

/// The vectors that sixteen rows with these columns fill.
#[inline(always)]
fn vectors_of<V: Vector, const C: usize>(simd: V::Simd, mut columns: [V; C]) -> [V; C] {
    match columns.as_mut_slice() {
        [a, b] => [*a, *b] = V::interleave(simd, [*a, *b]),
        [a, b, c] => [*a, *b, *c] = V::interleave_3(simd, [*a, *b, *c]),
        [a, b, c, d] => {
            let [even_1, even_2] = V::interleave(simd, [*a, *c]);
            let [odd_1, odd_2] = V::interleave(simd, [*b, *d]);
            [*a, *b] = V::interleave(simd, [even_1, odd_1]);
            [*c, *d] = V::interleave(simd, [even_2, odd_2]);
        }
        _ => unreachable!("rows of two, three or four"),
    }
    columns
}

impl<T: Real, const N: usize> Columns<T> for Rows<'_, T, N> {
    const WRITES: bool = false;

    #[inline(always)]
    fn classes(&self) -> usize {
        self.classes
    }

    #[inline(always)]
    fn take_all(&mut self) -> Self {
        let all = Self { ..*self };
        (self.len, self.count) = (0, 0);
        all
    }

    #[inline(always)]
    fn read<V: Vector<Elem = T>>(&self, simd: V::Simd, source: usize, columns: &mut [V]) {
        let classes = self.classes;
        if classes == 1 && self.count >= 16 {
            // Sixteen rows are a column.
            columns[0] = self.peek().load(simd, 0)[source];
            return;
        }
        let src = self.slice(source);
        let mut room = Partly::none();
        let enough = src.len() >= 15 * classes + classes.max(4);
        let src = if enough {
            src
        } else {
            with_zeros(&mut room, src, classes)
        };
        read_columns(simd, src, classes, columns);
    }

    #[inline(always)]
    fn write<V: Vector<Elem = T>>(&mut self, _: V::Simd, _: &[V]) {}

    #[inline(always)]
    fn read_few<V: Vector<Elem = T>, const C: usize>(&self, simd: V::Simd) -> [V; C] {
        if C > most_interleaved::<V>() {
            let mut columns = [V::splat(simd, T::ZERO); C];
            read_columns(simd, self.slice(0), C, &mut columns);
            return columns;
        }
        let all = self.peek();
        let vectors = core::array::from_fn(
            #[inline(always)]
            |i| all.load(simd, i)[0],
        );
        columns_of(simd, vectors)
    }

    #[inline(always)]
    fn write_few<V: Vector<Elem = T>, const C: usize>(&mut self, _: V::Simd, _: [V; C]) {}
}

impl<T: Real, const N: usize> Columns<T> for RowsMut<'_, T, N> {
    const WRITES: bool = true;

    #[inline(always)]
    fn classes(&self) -> usize {
        self.src.classes
    }

    #[inline(always)]
    fn take_all(&mut self) -> Self {
        let src = Columns::<T>::take_all(&mut self.src);
        Self { src, ..*self }
    }

    #[inline(always)]
    fn read<V: Vector<Elem = T>>(&self, simd: V::Simd, source: usize, columns: &mut [V]) {
        self.src.read(simd, source, columns);
    }

    #[inline(always)]
    fn write<V: Vector<Elem = T>>(&mut self, _: V::Simd, columns: &[V]) {
        let classes = self.src.classes;
        let len = classes * self.src.count.min(16);
        if classes == 1 && len == 16 {
            columns[0].store(self.all().block::<V>(0));
            return;
        }
        // SAFETY: the batch has rows of that many elements, and the destination is as long as the
        // sources. Nothing else refers to it while `self` is borrowed.
        let dst = unsafe { core::slice::from_raw_parts_mut(self.dst, len) };
        if len < 16 * classes {
            write_some(columns, dst, classes);
        } else if classes < 4 {
            let mut narrow = [T::ZERO; 16 * 4];
            write_columns(columns, &mut narrow, classes);
            for (dst, src) in dst
                .as_chunks_mut::<16>()
                .0
                .iter_mut()
                .zip(narrow.as_chunks().0)
            {
                *dst = *src;
            }
        } else {
            write_columns(columns, dst, classes);
        }
    }

    #[inline(always)]
    fn read_few<V: Vector<Elem = T>, const C: usize>(&self, simd: V::Simd) -> [V; C] {
        self.src.read_few(simd)
    }

    #[inline(always)]
    fn write_few<V: Vector<Elem = T>, const C: usize>(&mut self, simd: V::Simd, columns: [V; C]) {
        let mut all = self.all();
        if C > most_interleaved::<V>() {
            write_columns(&columns, all.slice(), C);
            return;
        }
        for (i, vector) in vectors_of(simd, columns).into_iter().enumerate() {
            vector.store(all.block::<V>(i));
        }
    }
}

impl<T, const N: usize> Rows<'_, T, N> {
    /// What is left of a source.
    #[inline(always)]
    fn slice(&self, source: usize) -> &[T] {
        // SAFETY: it lies within the slice that the source was made from, which nothing writes while the reference lives: kernels write through `&mut` of the batch or of a row.
        unsafe { core::slice::from_raw_parts(self.src[source], self.len) }
    }
}

impl<'a, T, const N: usize> Iterator for Rows<'a, T, N> {
    type Item = Row<'a, T, N>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            return None;
        }
        let row = Row {
            src: self.src,
            len: self.classes.min(self.len),
            lifetime: PhantomData,
        };
        // SAFETY: the row lies within the slices that `self` stands for.
        self.src = self.src.map(
            #[inline(always)]
            |p| unsafe { p.add(row.len) },
        );
        self.len -= row.len;
        self.count -= 1;
        Some(row)
    }
}

impl<'a, T, const N: usize> Iterator for RowsMut<'a, T, N> {
    type Item = RowMut<'a, T, N>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let dst = self.dst;
        let src = self.src.next()?;
        // SAFETY: the destination is as long as the sources.
        self.dst = unsafe { dst.add(src.len) };
        Some(RowMut {
            src,
            dst,
            lifetime: PhantomData,
        })
    }
}

impl<T: Real, const N: usize> Peek<T, N> for Rows<'_, T, N> {
    #[inline(always)]
    fn peek(&self) -> Row<'_, T, N> {
        Row {
            src: self.src,
            len: self.len,
            lifetime: PhantomData,
        }
    }

    #[inline(always)]
    fn whole(&mut self) -> impl Pass<T, N> {
        self.peek()
    }
}

impl<T: Real, const N: usize> Peek<T, N> for RowsMut<'_, T, N> {
    #[inline(always)]
    fn peek(&self) -> Row<'_, T, N> {
        self.src.peek()
    }

    #[inline(always)]
    fn places(&self) -> Places<T, N> {
        Places {
            src: self.src.src,
            dst: self.dst,
        }
    }

    #[inline(always)]
    fn whole(&mut self) -> impl Pass<T, N> {
        self.all()
    }
}

impl<T: Real> RowsMut<'_, T, 1> {
    /// The destinations, to read what was written there, and to write over it.
    #[inline(always)]
    pub fn over_itself(mut self) -> Self {
        // They are read through the pointer that also writes.
        self.src.src = [self.dst];
        self
    }
}

impl<T: Real, const N: usize> RowsMut<'_, T, N> {
    /// All rows that are left, as one.
    #[inline(always)]
    fn all(&mut self) -> RowMut<'_, T, N> {
        RowMut {
            src: self.src.peek(),
            dst: self.dst,
            lifetime: PhantomData,
        }
    }
}

impl<'a, T: Real> Row<'a, T, 1> {
    /// A slice as one row.
    #[inline(always)]
    pub fn of(src: &'a [T]) -> Self {
        Self {
            src: [src.as_ptr()],
            len: src.len(),
            lifetime: PhantomData,
        }
    }

    /// Vector `block`, `fill` where it is short: the last one, or one beyond.
    #[inline(always)]
    pub fn vector_or<V: Vector<Elem = T>>(&self, simd: V::Simd, block: usize, fill: T) -> V {
        let [x] = match self.vector(simd, block) {
            Some(x) => x,
            None => self.load_tail(simd, [fill]),
        };
        x
    }

    /// Combines all vectors with what there is of `none`, in any order, `fill` where the last one is short.
    ///
    /// Four at a time, so that they need not wait for each other.
    #[inline(always)]
    pub fn fold<V: Vector<Elem = T>, A: Copy>(
        &self,
        simd: V::Simd,
        fill: T,
        none: A,
        add: impl Fn(A, V) -> A,
        merge: impl Fn(A, A) -> A,
    ) -> A {
        let mut folded = [none; 4];
        let blocks = self.len / V::LANES;
        for group in 0..blocks / 4 {
            let start = 4 * group * V::LANES;
            let four = self.range(start, start + 4 * V::LANES);
            for (i, folded) in folded.iter_mut().enumerate() {
                let [x] = four.load(simd, i);
                *folded = add(*folded, x);
            }
        }
        let [mut a, b, c, d] = folded;
        for block in blocks / 4 * 4..blocks {
            let [x] = self.load(simd, block);
            a = add(a, x);
        }
        if !self.len.is_multiple_of(V::LANES) {
            let [x] = self.load_tail(simd, [fill]);
            a = add(a, x);
        }
        merge(merge(a, b), merge(c, d))
    }

    /// The maximum of each lane. A NaN may be dropped.
    #[inline(always)]
    pub fn max<V: Vector<Elem = T>>(&self, simd: V::Simd) -> V {
        let lowest = T::NEG_INFINITY;
        let none = V::splat(simd, lowest);
        // A NaN in the second operand is kept.
        self.fold(
            simd,
            lowest,
            none,
            #[inline(always)]
            |max: V, x: V| x.max(max),
            V::max,
        )
    }

    /// Where the first element equal to `x` is.
    #[inline(always)]
    pub fn find<V: Vector<Elem = T>>(&self, simd: V::Simd, x: T) -> Option<usize> {
        let x = V::splat(simd, x);
        let blocks = self.len / V::LANES;
        for block in 0..blocks {
            let [y] = self.load::<V>(simd, block);
            let bits = V::bits(y.eq(x));
            if bits != 0 {
                return Some(block * V::LANES + bits.trailing_zeros() as usize);
            }
        }
        let [y] = self.load_tail::<V>(simd, [T::NAN]);
        let bits = V::bits(y.eq(x));
        (bits != 0).then(
            #[inline(always)]
            || blocks * V::LANES + bits.trailing_zeros() as usize,
        )
    }
}

impl<T: Real, const N: usize> Places<T, N> {
    /// Asks for element `i` of the sources, which need not be there: without a branch, so it is done beyond the end as well.
    #[inline(always)]
    pub fn ask<V: Vector<Elem = T>>(self, simd: V::Simd, i: usize) {
        for p in self.src {
            V::prefetch(simd, p.wrapping_add(i));
        }
    }

    /// Asks for element `i` of the destination.
    #[inline(always)]
    pub fn ask_destination<V: Vector<Elem = T>>(self, simd: V::Simd, i: usize) {
        V::prefetch(simd, self.dst.wrapping_add(i));
    }

    /// Asks for what lies [`ahead`] of vector `block` of the sources.
    #[inline(always)]
    pub fn ask_ahead<V: Vector<Elem = T>>(self, simd: V::Simd, block: usize) {
        self.ask::<V>(simd, block * V::LANES + ahead::<T, N>());
    }

    /// The same of `G` vectors, from `block` on.
    #[inline(always)]
    pub fn ask_ahead_of<V: Vector<Elem = T>, const G: usize>(self, simd: V::Simd, block: usize) {
        for i in 0..G {
            self.ask_ahead::<V>(simd, block + i);
        }
    }
}

impl<T: Real, const N: usize> Row<'_, T, N> {
    /// A row of no elements.
    pub fn empty() -> Self {
        Self {
            src: [core::ptr::NonNull::dangling().as_ptr(); N],
            len: 0,
            lifetime: PhantomData,
        }
    }

    /// Calls `f` with the lanes of each vector, `fill` where the last one is short. Meanwhile what lies ahead is asked for.
    #[inline(always)]
    pub fn visit<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        fill: [T; N],
        mut f: impl FnMut([V; N]),
    ) {
        for block in 0..self.len / V::LANES {
            self.places().ask_ahead::<V>(simd, block);
            f(self.load(simd, block));
        }
        if !self.len.is_multiple_of(V::LANES) {
            f(self.load_tail(simd, fill));
        }
    }

    /// Elements `start..end`.
    #[inline(always)]
    pub fn range(&self, start: usize, end: usize) -> Self {
        assert!(start <= end && end <= self.len, "range beyond the row");
        Self {
            src: self.src.map(
                #[inline(always)]
                // SAFETY: the range begins within the row.
                |p| unsafe { p.add(start) },
            ),
            len: end - start,
            lifetime: PhantomData,
        }
    }

    /// The elements of chunk `i`.
    #[inline(always)]
    pub fn chunk(&self, i: usize) -> Self {
        self.range(i * CHUNK, self.len.min((i + 1) * CHUNK))
    }

    /// Vector `block` of every source.
    #[inline(always)]
    fn load<V: Vector<Elem = T>>(&self, simd: V::Simd, block: usize) -> [V; N] {
        let [x] = self.load_several(simd, block);
        x
    }

    /// `G` vectors of every source, from `block` on.
    #[inline(always)]
    fn load_several<V: Vector<Elem = T>, const G: usize>(
        &self,
        simd: V::Simd,
        block: usize,
    ) -> [[V; N]; G] {
        const { assert_layout::<V>() };
        assert!(self.has_vectors::<V, G>(block), "vector beyond the row");
        let mut x = [[V::splat(simd, T::ZERO); N]; G];
        for (i, x) in x.iter_mut().enumerate() {
            for (x, p) in x.iter_mut().zip(self.src) {
                // SAFETY: the vectors lie within the row, which lies within the slice that the source
                // was made from; `V::Array` is `LANES` elements. Nothing writes while the reference
                // lives, which is until `V::load` returns.
                *x = V::load(simd, unsafe { &*p.add((block + i) * V::LANES).cast() });
            }
        }
        x
    }

    /// Whether there are `G` whole vectors from `block` on.
    #[inline(always)]
    fn has_vectors<V: Vector<Elem = T>, const G: usize>(&self, block: usize) -> bool {
        let blocks = self.len / V::LANES;
        if G == 1 {
            block < blocks
        } else {
            block <= blocks && G <= blocks - block
        }
    }

    /// As many elements as `len`, or all.
    #[inline(always)]
    pub fn first(&self, len: usize) -> Self {
        Self {
            len: self.len.min(len),
            ..*self
        }
    }

    /// Where it is.
    #[inline(always)]
    pub fn places(&self) -> Places<T, N> {
        Places {
            src: self.src,
            dst: self.src[0],
        }
    }

    /// Vector `block` of every source, if the row has as many whole ones.
    #[inline(always)]
    pub fn vector<V: Vector<Elem = T>>(&self, simd: V::Simd, block: usize) -> Option<[V; N]> {
        (block < self.len / V::LANES).then(
            #[inline(always)]
            || self.load(simd, block),
        )
    }

    /// `G` vectors of every source from `block` on, if the row has as many whole ones.
    #[inline(always)]
    pub fn vectors<V: Vector<Elem = T>, const G: usize>(
        &self,
        simd: V::Simd,
        block: usize,
    ) -> Option<[[V; N]; G]> {
        self.has_vectors::<V, G>(block).then(
            #[inline(always)]
            || self.load_several(simd, block),
        )
    }

    /// What is left of every source after the whole vectors, then `fill`.
    #[inline(always)]
    pub fn load_tail<V: Vector<Elem = T>>(&self, simd: V::Simd, fill: [T; N]) -> [V; N] {
        let whole = self.len - self.len % V::LANES;
        // A loop, since the compiler leaves the functions that make arrays out of line.
        let mut tails = [V::splat(simd, T::ZERO); N];
        for (i, lanes) in tails.iter_mut().enumerate() {
            // SAFETY: the tail lies within the row. Nothing writes while the reference lives,
            // which is until `V::load_or` returns.
            let tail =
                unsafe { core::slice::from_raw_parts(self.src[i].add(whole), self.len - whole) };
            *lanes = V::load_or(simd, tail, fill[i]);
        }
        tails
    }
}

impl<T: Real, const N: usize> Pass<T, N> for Row<'_, T, N> {
    const WRITES: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn get(&self, source: usize, i: usize) -> T {
        assert!(i < self.len, "element beyond the row");
        // SAFETY: the element lies within the row.
        unsafe { *self.src[source].add(i) }
    }

    #[inline(always)]
    fn source(&self) -> Row<'_, T, N> {
        *self
    }

    #[inline(always)]
    fn part(&mut self, start: usize, end: usize) -> impl Pass<T, N> {
        self.range(start, end)
    }

    #[inline(always)]
    fn map_by<V: Vector<Elem = T>, const G: usize>(
        &mut self,
        simd: V::Simd,
        fill: [T; N],
        mut f: impl Map<V, N>,
    ) {
        let blocks = self.len / V::LANES;
        let mut grouped = 0;
        // A constant: not optimised, a program would else have room on its stack for what `G = 1` never does.
        if const { G > 1 } {
            grouped = blocks - blocks % G;
            for block in (0..grouped).step_by(G) {
                f.vectors::<G>(block, self.load_several(simd, block));
            }
        }
        for block in grouped..blocks {
            f.vectors(block, [self.load(simd, block)]);
        }
        if !self.len.is_multiple_of(V::LANES) {
            f.vectors(blocks, [self.load_tail(simd, fill)]);
        }
    }

    #[inline(always)]
    fn put<V: Vector<Elem = T>>(&mut self, _: usize, _: V) {}

    #[inline(always)]
    fn update<V: Vector<Elem = T>>(&mut self, _: V::Simd, _: impl FnMut(usize, V) -> V) {}

    #[inline(always)]
    fn replace(&mut self, _: usize, _: impl FnOnce(T) -> T) {}

    #[inline(always)]
    fn set(&mut self, _: usize, _: T) {}
}

impl<T: Real> RowMut<'_, T, 1> {
    /// The destination, to read what was written there, and to write over it.
    #[inline(always)]
    pub fn over_itself(mut self) -> Self {
        // It is read through the pointer that also writes.
        self.src.src = [self.dst];
        self
    }
}

impl<T: Real, const N: usize> RowMut<'_, T, N> {
    /// The memory of vector `block` of the destination.
    #[inline(always)]
    fn block<V: Vector<Elem = T>>(&mut self, block: usize) -> &mut V::Array {
        let [one] = self.blocks::<V, 1>(block);
        one
    }

    /// That of `G` vectors, from `block` on.
    #[inline(always)]
    fn blocks<V: Vector<Elem = T>, const G: usize>(&mut self, block: usize) -> &mut [V::Array; G] {
        const { assert_layout::<V>() };
        assert!(self.src.has_vectors::<V, G>(block), "vector beyond the row");
        // SAFETY: the destination is as long as the sources, so the vectors lie within it;
        // `V::Array` is `LANES` elements. Nothing else refers to them while `self` is borrowed.
        unsafe { &mut *self.dst.add(block * V::LANES).cast() }
    }

    /// All of the destination.
    #[inline(always)]
    fn slice(&mut self) -> &mut [T] {
        // SAFETY: the destination is as long as the sources. Nothing else refers to it while `self` is borrowed.
        unsafe { core::slice::from_raw_parts_mut(self.dst, self.src.len) }
    }

    /// What is left of the destination after the whole vectors.
    #[inline(always)]
    fn tail<V: Vector<Elem = T>>(&mut self) -> &mut [T] {
        let rest = self.src.len % V::LANES;
        // SAFETY: the destination is as long as the sources, so the tail lies within it. Nothing
        // else refers to it while `self` is borrowed.
        unsafe { core::slice::from_raw_parts_mut(self.dst.add(self.src.len - rest), rest) }
    }
}

impl<T: Real, const N: usize> Pass<T, N> for RowMut<'_, T, N> {
    const WRITES: bool = true;

    #[inline(always)]
    fn len(&self) -> usize {
        self.src.len
    }

    #[inline(always)]
    fn get(&self, source: usize, i: usize) -> T {
        self.src.get(source, i)
    }

    #[inline(always)]
    fn source(&self) -> Row<'_, T, N> {
        self.src
    }

    #[inline(always)]
    fn part(&mut self, start: usize, end: usize) -> impl Pass<T, N> {
        RowMut {
            src: self.src.range(start, end),
            // SAFETY: the destination is as long as the sources, and the part begins within them.
            dst: unsafe { self.dst.add(start) },
            lifetime: PhantomData,
        }
    }

    #[inline(always)]
    fn map_by<V: Vector<Elem = T>, const G: usize>(
        &mut self,
        simd: V::Simd,
        fill: [T; N],
        mut f: impl Map<V, N>,
    ) {
        let blocks = self.src.len / V::LANES;
        let places = Places {
            src: self.src.src,
            dst: self.dst,
        };
        let mut grouped = 0;
        if const { G > 1 } {
            grouped = blocks - blocks % G;
            for block in (0..grouped).step_by(G) {
                for i in 0..G {
                    places.ask_destination::<V>(simd, (block + i) * V::LANES + ahead::<T, N>());
                }
                let y = f.vectors::<G>(block, self.src.load_several(simd, block));
                for (y, to) in y.into_iter().zip(self.blocks::<V, G>(block)) {
                    y.store(to);
                }
            }
        }
        for block in grouped..blocks {
            places.ask_destination::<V>(simd, block * V::LANES + ahead::<T, N>());
            let [y] = f.vectors(block, [self.src.load(simd, block)]);
            y.store(self.block::<V>(block));
        }
        if !self.src.len.is_multiple_of(V::LANES) {
            let [y] = f.vectors(blocks, [self.src.load_tail(simd, fill)]);
            y.store_prefix(self.tail::<V>());
        }
    }

    #[inline(always)]
    fn put<V: Vector<Elem = T>>(&mut self, block: usize, y: V) {
        let blocks = self.src.len / V::LANES;
        if block < blocks {
            y.store(self.block::<V>(block));
        } else if block == blocks && !self.src.len.is_multiple_of(V::LANES) {
            y.store_prefix(self.tail::<V>());
        }
    }

    #[inline(always)]
    fn update<V: Vector<Elem = T>>(&mut self, simd: V::Simd, mut f: impl FnMut(usize, V) -> V) {
        let blocks = self.src.len / V::LANES;
        for i in 0..blocks {
            let block = self.block::<V>(i);
            f(i, V::load(simd, block)).store(block);
        }
        if !self.src.len.is_multiple_of(V::LANES) {
            let tail = self.tail::<V>();
            f(blocks, V::load_or(simd, tail, T::ZERO)).store_prefix(tail);
        }
    }

    #[inline(always)]
    fn replace(&mut self, i: usize, f: impl FnOnce(T) -> T) {
        assert!(i < self.src.len, "element beyond the row");
        // SAFETY: the destination is as long as the sources.
        let y = unsafe { &mut *self.dst.add(i) };
        *y = f(*y);
    }

    #[inline(always)]
    fn set(&mut self, i: usize, x: T) {
        assert!(i < self.src.len, "element beyond the row");
        // SAFETY: the destination is as long as the sources.
        unsafe { self.dst.add(i).write(x) }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Columns, Map, Pass as _, Peek as _, Row, RowsMut, Split as _};
    use crate::simd::portable::Portable;
    use crate::simd::{Simd, Vector};

    /// What is [mapped](super::Pass::map_by): the indices of vectors, and their lanes.
    struct Doubled<'s>(&'s mut Vec<(usize, [f32; 16])>);

    impl<V: Vector<Elem = f32>> Map<V, 1> for Doubled<'_> {
        fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 1]; G]) -> [V; G] {
            for (i, [x]) in x.iter().enumerate() {
                self.0.push((first + i, x.lanes()));
            }
            x.map(|[x]| x + x)
        }
    }

    /// Of rows of up to nine vectors, and with tails: the same vectors in the same order, and the same results.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    #[expect(clippy::float_cmp, reason = "small integers")]
    fn several_at_once_are_the_same_one_by_one() {
        type V = <Portable as Simd>::F32;
        fn map<const G: usize>(x: &mut [f32]) -> Vec<(usize, [f32; 16])> {
            let (mut read, mut written) = (Vec::new(), Vec::new());
            Row::of(x).map_by::<V, G>(Portable, [-1.0], Doubled(&mut read));
            let len = x.len();
            let mut row = RowsMut::in_place(x, len).unwrap().next().unwrap();
            row.map_by::<V, G>(Portable, [-1.0], Doubled(&mut written));
            assert_eq!(read, written);
            read
        }
        for len in 1..=9 * 16 + 1_u8 {
            let x: Vec<f32> = (0..len).map(f32::from).collect();
            let (mut one, mut four) = (x.clone(), x.clone());
            let vectors = map::<1>(&mut one);
            assert_eq!(vectors, map::<4>(&mut four));
            assert_eq!(one, four);
            assert!(one.iter().zip(&x).all(|(y, x)| *y == 2.0 * x));
            assert_eq!(vectors.len(), x.len().div_ceil(16));
            for (i, (at, lanes)) in vectors.iter().enumerate() {
                assert_eq!(*at, i);
                for (lane, &found) in lanes.iter().enumerate() {
                    assert_eq!(found, x.get(16 * i + lane).copied().unwrap_or(-1.0));
                }
            }
        }
    }

    /// At the end of a row, and far beyond.
    #[test]
    fn vectors_are_there_or_not() {
        type V = <Portable as Simd>::F32;
        let x = [0.0; 6 * 16 + 5];
        let row = Row::of(&x);
        for (block, one, four) in [
            (0, true, true),
            (2, true, true),
            (3, true, false),
            (5, true, false),
            (6, false, false),
            (7, false, false),
            (usize::MAX, false, false),
        ] {
            assert_eq!(row.has_vectors::<V, 1>(block), one, "{block}");
            assert_eq!(row.has_vectors::<V, 4>(block), four, "{block}");
        }
    }

    /// What is left of a batch that is taken has nothing: two that write to the same rows would be unsound.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn a_batch_is_taken_once() {
        let mut x: Vec<f32> = (0..6_u8).map(f32::from).collect();
        let mut rows = RowsMut::in_place(&mut x, 2).unwrap();
        assert_eq!(rows.next().unwrap().len(), 2);
        let mut taken = Columns::<f32>::take_all(&mut rows);
        assert_eq!((rows.rows(), rows.elements(), rows.peek().len()), (0, 0, 0));
        assert!(rows.next().is_none());
        assert_eq!(
            (taken.rows(), taken.elements(), taken.peek().len()),
            (2, 4, 4)
        );
        taken.next().unwrap().set(0, 7.0);
        taken.next().unwrap().set(1, 8.0);
        assert!(taken.next().is_none());
        assert_eq!(x, [0.0, 1.0, 7.0, 3.0, 4.0, 8.0]);
    }
}
