//! The rows of a batch in one slice: where they are, and how they are copied to dense rows of what they are computed in, and back.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use crate::element::Element;
use crate::element::sealed::Float;
use crate::error::Error;
use crate::rows::{CHUNK, assert_layout, steps};
use crate::shape::Shape;
use crate::simd::{Kernel, Simd, Vector};

/// Where the rows of a part of a batch are in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub classes: usize,
    /// Rows that lie beside each other, class by class; or 1.
    pub inner: usize,
    /// How far apart rows begin, or `inner` of them.
    pub stride: usize,
    /// The number of the first row of the part, from the beginning of the slice.
    pub first: usize,
    /// How many rows the part has.
    pub count: usize,
    /// How many elements. Only of a flat slice may the last row be shorter.
    pub len: usize,
}

impl Layout {
    /// Of a slice of that length.
    #[inline]
    pub fn new(shape: Shape, stride: Option<usize>, len: usize) -> Result<Self, Error> {
        let (classes, inner) = (shape.classes, shape.inner);
        let slab = classes.checked_mul(inner);
        let wrong = match (slab, stride) {
            (Some(_), None) if inner == 1 => Error::Shape { len, classes },
            _ => Error::Layout {
                len,
                classes,
                inner,
                stride: stride.or(slab).unwrap_or(usize::MAX),
            },
        };
        let slab = slab.ok_or(wrong)?;
        let stride = stride.unwrap_or(slab);
        if stride < slab {
            return Err(Error::Stride {
                stride,
                least: slab,
            });
        }
        // Rows without elements are nowhere, however many.
        let stride = if slab == 0 { 0 } else { stride };
        let slabs = if slab == 0 {
            // Their number is known from elsewhere, if there are any.
            0
        } else if len <= stride {
            // A call for one short row has no time for a division.
            usize::from(len > 0)
        } else {
            // What follows the last one may be left out.
            len.div_ceil(stride)
        };
        let least = slabs.saturating_sub(1) * stride + slab.min(len);
        if len < least || (slab == 0 && len != 0) || (len > 0 && len < slab) {
            return Err(wrong);
        }
        let count = slabs * inner;
        Ok(Self {
            classes,
            inner,
            stride,
            first: 0,
            count,
            len: count * classes,
        })
    }

    /// Of a slice of that length in rows of [`CHUNK`].
    pub fn flat(len: usize) -> Self {
        Self {
            classes: CHUNK,
            inner: 1,
            stride: CHUNK,
            first: 0,
            count: len.div_ceil(CHUNK),
            len,
        }
    }

    /// Whether the rows follow each other without a gap.
    pub fn is_dense(&self) -> bool {
        self.inner == 1 && (self.stride == self.classes || self.count < 2)
    }

    /// Where row `row` of the part begins.
    #[inline(always)]
    pub fn offset(&self, row: usize) -> usize {
        let row = self.first + row;
        if self.inner < 2 {
            // Without the divisions.
            return row * self.stride;
        }
        row / self.inner * self.stride + row % self.inner
    }

    pub fn split_at(self, row: usize) -> (Self, Self) {
        let row = row.min(self.count);
        let len = (row * self.classes).min(self.len);
        (
            Self {
                count: row,
                len,
                ..self
            },
            Self {
                first: self.first + row,
                count: self.count - row,
                len: self.len - len,
                ..self
            },
        )
    }

    /// Contiguous runs of rows that do not lie beside each other: where each begins, and where its elements are in dense rows.
    fn runs(self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (count, len) = if self.is_dense() {
            (self.count.min(1), self.len)
        } else {
            (self.count, self.classes)
        };
        (0..count).map(move |row| {
            let start = row * self.classes;
            (self.offset(row), start..self.len.min(start + len))
        })
    }

    /// Sixteen rows that lie beside each other, or up to four, again and again: the first, and how many.
    fn groups(self) -> impl Iterator<Item = (usize, usize)> {
        let mut row = 0;
        let least = if self.classes >= BESIDE {
            MANY
        } else {
            usize::MAX
        };
        core::iter::from_fn(move || {
            let first = row;
            if first == self.count {
                return None;
            }
            let left = self.inner - (self.first + first) % self.inner;
            let left = left.min(self.count - first);
            let rows = if left >= least {
                MANY
            } else {
                BESIDE.min(left)
            };
            row += rows;
            Some((first, rows))
        })
    }
}

/// Room for copies of rows.
#[derive(Debug)]
pub struct Room<'r, R>(pub &'r mut [MaybeUninit<R>]);

impl<'r, R> Room<'r, R> {
    /// Room for so many elements.
    pub fn take(&mut self, len: usize) -> &'r mut [MaybeUninit<R>] {
        let (head, tail) = core::mem::take(&mut self.0).split_at_mut(len);
        self.0 = tail;
        head
    }
}

/// The rows of one source.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a, E> {
    src: *const E,
    layout: Layout,
    lifetime: PhantomData<&'a E>,
}

impl<E> Lines<'_, E> {
    /// # Safety
    /// The rows lie within a slice that begins there and lives as long.
    pub unsafe fn new(src: *const E, layout: Layout) -> Self {
        Self {
            src,
            layout,
            lifetime: PhantomData,
        }
    }
}

/// The rows of a destination.
#[derive(Debug)]
pub struct LinesMut<'a, D> {
    dst: *mut D,
    layout: Layout,
    lifetime: PhantomData<&'a mut D>,
}

impl<D> LinesMut<'_, D> {
    /// # Safety
    /// The rows lie within a slice that begins there and lives as long, and nothing else reaches them until they are written.
    pub unsafe fn new(dst: *mut D, layout: Layout) -> Self {
        Self {
            dst,
            layout,
            lifetime: PhantomData,
        }
    }

    /// How many elements they have.
    pub fn len(&self) -> usize {
        self.layout.len
    }
}

/// So many rows that lie beside each other are copied together, a row in a lane: a line of the cache of `f32`.
const MANY: usize = 16;

/// Or so many, if there are fewer; and this is how many columns of sixteen the vectors turn into rows at a time.
const BESIDE: usize = 4;

/// So many classes of theirs are copied together, or of sixteen rows that [`transpose`] turns: as many as a vector has lanes.
const CLASSES: usize = 16;

/// The vector of what an element is computed in.
type VectorOf<E, S> = <<E as Element>::Real as Float>::Vector<S>;

/// Copies rows to dense rows.
#[derive(Clone, Copy, Debug)]
pub struct Gather;

/// Copies dense rows to where they belong, rounded if need be.
#[derive(Clone, Copy, Debug)]
pub struct Scatter;

impl<E: Element> Kernel<(Lines<'_, E>, &mut [MaybeUninit<E::Real>])> for Gather {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (lines, dst): (Lines<'_, E>, &mut [MaybeUninit<E::Real>])) {
        let Lines { src, layout, .. } = lines;
        if layout.inner <= 1 {
            for (offset, run) in layout.runs() {
                // SAFETY: the run lies within the slice that the lines stand for.
                let src = unsafe { core::slice::from_raw_parts(src.add(offset), run.len()) };
                widen(simd, src, &mut dst[run]);
            }
            return;
        }
        for (first, rows) in layout.groups() {
            let src = src.wrapping_add(layout.offset(first));
            let dst = &mut dst[first * layout.classes..][..rows * layout.classes];
            if rows == MANY {
                // SAFETY: sixteen rows have each class of the steps, all of which are less than `classes`, beside each other.
                let class = |k: usize| unsafe { sixteen(src.wrapping_add(k * layout.inner)) };
                if let Some(stride) = stride::<E::Real>(layout.classes) {
                    let mut columns = [VectorOf::<E, S>::splat(simd, E::Real::ZERO); BESIDE];
                    for start in steps(layout.classes, BESIDE) {
                        for (i, column) in columns.iter_mut().enumerate() {
                            *column = E::load(simd, class(start + i));
                        }
                        // SAFETY: they are written, and not read.
                        let dst = unsafe { as_written(&mut dst[start..]) };
                        VectorOf::<E, S>::store_columns(&columns, dst, stride);
                    }
                } else {
                    let mut block = [E::Real::ZERO; CLASSES * MANY];
                    for start in steps(layout.classes, CLASSES) {
                        transpose::<VectorOf<E, S>>(
                            simd,
                            &mut block,
                            #[inline(always)]
                            |i| E::load(simd, class(start + i)),
                            #[inline(always)]
                            |row, x| write(x, &mut dst[row * layout.classes + start..][..CLASSES]),
                        );
                    }
                }
                continue;
            }
            for start in (0..layout.classes).step_by(CLASSES) {
                let classes = CLASSES.min(layout.classes - start);
                let mut near = [E::EMPTY; CLASSES * BESIDE];
                for (i, near) in near.as_chunks_mut().0[..classes].iter_mut().enumerate() {
                    let src = src.wrapping_add((start + i) * layout.inner);
                    // SAFETY: as many rows have this class, beside each other.
                    unsafe { read(src, rows, near) };
                }
                let mut wide = [E::Real::ZERO; CLASSES * BESIDE];
                for (near, wide) in near.as_chunks().0.iter().zip(wide.as_chunks_mut().0) {
                    store::<VectorOf<E, S>>(E::load(simd, near), wide);
                }
                let mut columns = [VectorOf::<E, S>::splat(simd, E::Real::ZERO); BESIDE];
                VectorOf::<E, S>::load_columns(simd, &wide, 4, &mut columns);
                for (row, &column) in columns[..rows].iter().enumerate() {
                    let start = row * layout.classes + start;
                    write(column, &mut dst[start..start + classes]);
                }
            }
        }
    }
}

impl<D: Element> Kernel<(&[D::Real], LinesMut<'_, D>)> for Scatter {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (src, lines): (&[D::Real], LinesMut<'_, D>)) {
        let LinesMut { dst, layout, .. } = lines;
        if layout.inner <= 1 {
            for (offset, run) in layout.runs() {
                let dst = dst.wrapping_add(offset).cast();
                // SAFETY: the run lies within the rows that the lines stand for, which nothing else reaches.
                let dst = unsafe { core::slice::from_raw_parts_mut(dst, run.len()) };
                narrow::<D, S>(simd, &src[run], dst);
            }
            return;
        }
        for (first, rows) in layout.groups() {
            let dst = dst.wrapping_add(layout.offset(first));
            let src = &src[first * layout.classes..][..rows * layout.classes];
            if rows == MANY {
                // SAFETY: as in `Gather`, and nothing else reaches them; they are written, and not read.
                let class = |k: usize| unsafe { sixteen_mut(dst.wrapping_add(k * layout.inner)) };
                if let Some(stride) = stride::<D::Real>(layout.classes) {
                    let mut columns = [VectorOf::<D, S>::splat(simd, D::Real::ZERO); BESIDE];
                    for start in steps(layout.classes, BESIDE) {
                        VectorOf::<D, S>::load_columns(simd, &src[start..], stride, &mut columns);
                        for (i, &column) in columns.iter().enumerate() {
                            D::store(simd, column, class(start + i));
                        }
                    }
                } else {
                    let mut block = [D::Real::ZERO; CLASSES * MANY];
                    for start in steps(layout.classes, CLASSES) {
                        transpose::<VectorOf<D, S>>(
                            simd,
                            &mut block,
                            #[inline(always)]
                            |row| load(simd, &src[row * layout.classes + start..][..CLASSES]),
                            #[inline(always)]
                            |i, x| D::store(simd, x, class(start + i)),
                        );
                    }
                }
                continue;
            }
            for start in (0..layout.classes).step_by(CLASSES) {
                let classes = CLASSES.min(layout.classes - start);
                let mut columns = [VectorOf::<D, S>::splat(simd, D::Real::ZERO); BESIDE];
                for (row, column) in columns[..rows].iter_mut().enumerate() {
                    let start = row * layout.classes + start;
                    *column = load(simd, &src[start..start + classes]);
                }
                let mut wide = [D::Real::ZERO; CLASSES * BESIDE];
                VectorOf::<D, S>::store_columns(&columns, &mut wide, 4);
                let mut near = [D::EMPTY; CLASSES * BESIDE];
                for (wide, near) in wide.as_chunks::<16>().0.iter().zip(near.as_chunks_mut().0) {
                    D::store(simd, load(simd, wide), near);
                }
                for (i, near) in near.as_chunks().0[..classes].iter().enumerate() {
                    let dst = dst.wrapping_add((start + i) * layout.inner);
                    // SAFETY: as many rows have this class, beside each other, and nothing else reaches them.
                    unsafe { put(near, dst, rows) };
                }
            }
        }
    }
}

/// Turns sixteen vectors that are read into sixteen that are written, of which vector `i` has lane `i` of each. In a block of its own:
/// where lines of the cache are a power of two apart, it holds but a few of them, and each is read and written whole here.
#[inline(always)]
fn transpose<V: Vector>(
    simd: V::Simd,
    block: &mut [V::Elem; CLASSES * MANY],
    read: impl Fn(usize) -> V,
    mut write: impl FnMut(usize, V),
) {
    for (i, line) in block.as_chunks_mut().0.iter_mut().enumerate() {
        store(read(i), line);
    }
    let mut columns = [V::splat(simd, V::Elem::ZERO); BESIDE];
    for first in (0..MANY).step_by(BESIDE) {
        V::load_columns(simd, &block[first..], 16, &mut columns);
        for (i, &column) in columns.iter().enumerate() {
            write(first + i, column);
        }
    }
}

/// The distance of dense rows, as the vectors take it, if four classes of sixteen rows are to be copied at a time. `None`: sixteen classes are, and
/// there are as many. Where rows begin half a page apart or a multiple of that, their lines have room in a cache for no more than
/// those of sixteen rows at best, and would be fetched for every four classes again.
#[inline(always)]
fn stride<R>(classes: usize) -> Option<u16> {
    let crowded = (classes * size_of::<R>()).is_multiple_of(2048);
    u16::try_from(classes).ok().filter(|_| !crowded)
}

/// Elements of sixteen rows that lie beside each other.
///
/// # Safety
/// There are as many, which live as long.
#[inline(always)]
unsafe fn sixteen<'a, E>(src: *const E) -> &'a [E; MANY] {
    // SAFETY: as the caller promises.
    unsafe { &*src.cast() }
}

/// Where they are written.
///
/// # Safety
/// There is room for as many, which lives as long, and which nothing else reaches; it is not read.
#[inline(always)]
unsafe fn sixteen_mut<'a, D>(dst: *mut D) -> &'a mut [D; MANY] {
    // SAFETY: as the caller promises; a number needs no more.
    unsafe { &mut *dst.cast() }
}

/// Memory that is only written.
///
/// # Safety
/// It is not read.
#[inline(always)]
unsafe fn as_written<T>(memory: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: as the caller promises; a number needs no more.
    unsafe { &mut *(core::ptr::from_mut(memory) as *mut [T]) }
}

/// Reads the first of four elements that lie beside each other.
///
/// # Safety
/// There are as many.
#[inline(always)]
unsafe fn read<E: Element>(src: *const E, count: usize, to: &mut [E; BESIDE]) {
    if count == BESIDE {
        // SAFETY: there are four.
        *to = unsafe { src.cast::<[E; BESIDE]>().read() };
    } else {
        for (i, to) in to.iter_mut().enumerate().take(count) {
            // SAFETY: there are more than `i`.
            *to = unsafe { src.add(i).read() };
        }
    }
}

/// Writes the first of four elements beside each other.
///
/// # Safety
/// There is room for as many, which nothing else reaches.
#[inline(always)]
unsafe fn put<D: Element>(from: &[D; BESIDE], dst: *mut D, count: usize) {
    if count == BESIDE {
        // SAFETY: there is room for four.
        unsafe { dst.cast::<[D; BESIDE]>().write(*from) };
    } else {
        for (i, &from) in from.iter().enumerate().take(count) {
            // SAFETY: there is room for more than `i`.
            unsafe { dst.add(i).write(from) };
        }
    }
}

/// Asks for memory two kilobytes beyond, which need not be any.
#[inline(always)]
fn ask_ahead<T, V: Vector>(simd: V::Simd, p: *const T) {
    V::prefetch(simd, p.wrapping_byte_add(2048).cast());
}

/// A run of elements, as what they are computed in.
#[inline(always)]
fn widen<E: Element, S: Simd>(simd: S, src: &[E], dst: &mut [MaybeUninit<E::Real>]) {
    let (whole, rest) = src.as_chunks();
    let (to, to_rest) = dst.as_chunks_mut::<16>();
    for (src, dst) in whole.iter().zip(to) {
        ask_ahead::<E, VectorOf<E, S>>(simd, src.as_ptr());
        write(E::load(simd, src), dst);
    }
    if !rest.is_empty() {
        let mut last = [E::EMPTY; 16];
        last[..rest.len()].copy_from_slice(rest);
        write(E::load(simd, &last), to_rest);
    }
}

/// A run of results, rounded.
#[inline(always)]
fn narrow<D: Element, S: Simd>(simd: S, src: &[D::Real], dst: &mut [MaybeUninit<D>]) {
    let (whole, rest) = src.as_chunks::<16>();
    let (to, to_rest) = dst.as_chunks_mut::<16>();
    for (src, dst) in whole.iter().zip(to) {
        ask_ahead::<_, VectorOf<D, S>>(simd, dst.as_ptr());
        // SAFETY: there is room for sixteen; it is written, and not read.
        let dst = unsafe { &mut *dst.as_mut_ptr().cast() };
        D::store(simd, load(simd, src), dst);
    }
    if !rest.is_empty() {
        let mut last = [D::EMPTY; 16];
        D::store(simd, load(simd, rest), &mut last);
        for (to, &from) in to_rest.iter_mut().zip(&last) {
            to.write(from);
        }
    }
}

/// Up to sixteen numbers, then zeros.
#[inline(always)]
fn load<V: Vector>(simd: V::Simd, src: &[V::Elem]) -> V {
    const { assert_layout::<V>() };
    if src.len() == 16 {
        // SAFETY: there are sixteen, which is what `V::Array` is.
        V::load(simd, unsafe { &*src.as_ptr().cast() })
    } else {
        V::load_or(simd, src, V::Elem::ZERO)
    }
}

/// The first lanes.
#[inline(always)]
fn write<V: Vector>(x: V, dst: &mut [MaybeUninit<V::Elem>]) {
    const { assert_layout::<V>() };
    if dst.len() == 16 {
        // SAFETY: there is room for sixteen, which is what `V::Array` is; it is written, and not read.
        x.store(unsafe { &mut *dst.as_mut_ptr().cast() });
    } else {
        let mut lanes = [V::Elem::ZERO; 16];
        store(x, &mut lanes);
        for (to, &from) in dst.iter_mut().zip(&lanes) {
            to.write(from);
        }
    }
}

/// All lanes.
#[inline(always)]
fn store<V: Vector>(x: V, dst: &mut [V::Elem; 16]) {
    const { assert_layout::<V>() };
    // SAFETY: `V::Array` is sixteen elements.
    x.store(unsafe { &mut *dst.as_mut_ptr().cast() });
}
