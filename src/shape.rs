//! How rows lie in a slice.

/// How the rows of a batch lie in slices: their number of classes, and where they are. A number of classes alone stands for rows one
/// after the other; every function that takes a shape takes that as well.
///
/// | | elements of row `r` | rows |
/// | --- | --- | --- |
/// | `classes`, [`rows`](Self::rows) | `x[r * classes..][..classes]` | `x.len() / classes` |
/// | [`stride`](Self::stride) | `x[r * stride..][..classes]` | as many as there are; what follows the last one may be left out |
/// | [`axis`](Self::axis) | `x[o * classes * inner + c * inner + i]` for each class `c`, where `r = o * inner + i` | `x.len() / classes` |
///
/// [`Error::Stride`](crate::Error::Stride) says that rows would overlap, [`Error::Shape`](crate::Error::Shape) or [`Error::Layout`](crate::Error::Layout) that a slice is not that of whole rows,
/// [`Error::Rows`](crate::Error::Rows) that results of other rows were asked for.
///
/// Whatever the shape, rows have the bits that they have one after the other, targets and results of rows go by their number, and the
/// elements between rows are neither read nor written. (But a mean over distributions has as its divisor a sum that is taken in another order.)
///
/// Rows that are not contiguous are copied to 64 KiB of the stack and back, a few at a time; longer ones (than 16 384 classes, or 8192 where two slices are read; half as many of `f64`) with the
/// feature `alloc` to memory that is allocated for them, and without it, they are an error. Rows along an axis are copied sixteen at a time, if there are as many, which takes as much
/// room: beyond a sixteenth of those numbers it is allocated too, up to 16 MiB for each thread, or, without `alloc`, they are copied fewer at a time, which is slower. (Compiled without optimisation,
/// kernels take up to 1.5 MiB of the stack, these copies included: `tests/stack.rs`.)
///
/// ```
/// use softlane::{Shape, softmax};
///
/// // The two rows are the columns here.
/// let mut p = [0.0_f32; 4];
/// softmax(&[0.0, 9.0, 0.0, -200.0], Shape::axis(2, 2), &mut p)?;
/// assert_eq!(p, [0.5, 1.0, 0.5, 0.0]);
///
/// // Rows of two in the first columns of three.
/// let mut p = [7.0_f32; 6];
/// softmax(&[0.0, 0.0, 5.0, 1.0, 1.0, 5.0], Shape::rows(2).stride(3), &mut p)?;
/// assert_eq!(p, [0.5, 0.5, 7.0, 0.5, 0.5, 7.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) classes: usize,
    /// Rows that lie beside each other, class by class.
    pub(crate) inner: usize,
    /// How far apart rows begin, or `inner` of them: in what is read, and in what is written. Dense, if that is not given.
    pub(crate) strides: Option<[usize; 2]>,
}

impl Shape {
    /// Rows of that many classes, one after the other.
    #[must_use]
    pub const fn rows(classes: usize) -> Self {
        Self::axis(classes, 1)
    }

    /// The rows along any axis of a dense array: that axis has `classes` elements, and the axes after it have `inner` all together
    /// (as many as the product of their lengths). For `(N, C, d1, d2)` in `PyTorch` and ONNX: `axis(C, d1 * d2)`.
    #[must_use]
    pub const fn axis(classes: usize, inner: usize) -> Self {
        Self {
            classes,
            inner,
            strides: None,
        }
    }

    /// Rows that begin `stride` elements apart, at least as many as they have classes. In every slice.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        self.strides(stride, stride)
    }

    /// The same where slices that are read and the one that is written differ. (In place, and where no rows are written, the second one does not count.)
    #[must_use]
    pub const fn strides(mut self, read: usize, written: usize) -> Self {
        self.strides = Some([read, written]);
        self
    }

    /// Whether rows follow each other without a gap in what is read.
    pub(crate) fn is_dense(&self) -> bool {
        self.inner == 1 && self.strides.is_none_or(|[read, _]| read == self.classes)
    }
}

impl From<usize> for Shape {
    fn from(classes: usize) -> Self {
        Self::rows(classes)
    }
}
