//! Matrices of `f32` as they lie in memory, and their product, which is that of the crate `matrixmultiply`.

use core::marker::PhantomData;
use core::ops::Range;

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// From its first element on. All that the size and the strides reach are there.
    elements: &'a [f32],
    /// Rows and columns.
    size: [usize; 2],
    /// How far apart rows begin, and columns.
    strides: [usize; 2],
}

/// A matrix to write: dense rows, or a tile of such.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    first: *mut f32,
    size: [usize; 2],
    /// How far apart rows begin.
    stride: usize,
    lifetime: PhantomData<&'a mut f32>,
}

// SAFETY: it stands for elements of a `&'a mut [f32]`, which nothing else reaches.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> Matrix<'a> {
    /// Dense rows.
    pub fn new(elements: &'a [f32], size: [usize; 2]) -> Self {
        assert_eq!(Some(elements.len()), size[0].checked_mul(size[1]));
        Self {
            elements,
            size,
            strides: [size[1], 1],
        }
    }

    /// Some of its rows.
    pub fn rows(self, rows: Range<usize>) -> Self {
        self.cut(0, rows)
    }

    /// Some of its columns.
    pub fn columns(self, columns: Range<usize>) -> Self {
        self.cut(1, columns)
    }

    fn cut(mut self, axis: usize, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.size[axis]);
        // Where nothing is left, the first element may be none.
        let start = (range.start * self.strides[axis]).min(self.elements.len());
        self.elements = &self.elements[start..];
        self.size[axis] = range.len();
        self
    }

    /// Its rows as columns.
    pub fn transposed(mut self) -> Self {
        self.size.reverse();
        self.strides.reverse();
        self
    }
}

impl<'a> MatrixMut<'a> {
    /// Dense rows.
    pub fn new(elements: &'a mut [f32], size: [usize; 2]) -> Self {
        assert_eq!(Some(elements.len()), size[0].checked_mul(size[1]));
        Self {
            first: elements.as_mut_ptr(),
            size,
            stride: size[1],
            lifetime: PhantomData,
        }
    }

    /// All of it, in tiles of at most this size.
    pub fn tiles(self, size: [usize; 2]) -> Tiles<'a> {
        assert!(size[0] > 0 && size[1] > 0);
        Tiles {
            matrix: self,
            size,
            next: [0, 0],
        }
    }

    /// Sets each row to this one.
    pub fn fill(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.size[1]);
        for i in 0..self.size[0] {
            // SAFETY: a row of the matrix, which has as many elements and which nothing else reaches.
            let to = unsafe {
                core::slice::from_raw_parts_mut(self.first.add(i * self.stride), row.len())
            };
            to.copy_from_slice(row);
        }
    }

    /// Adds the product `a b`. Each element is the sum of the products in their order, from 0 on, in runs of 256 that are rounded and
    /// added one after the other: a matter of `a` and `b` alone, whatever tile the element is in.
    pub fn add_product(&mut self, a: Matrix<'_>, b: Matrix<'_>) {
        let ([m, k], [_, n]) = (a.size, b.size);
        assert_eq!((a.size, b.size), ([self.size[0], k], [k, self.size[1]]));
        let ([row_a, column_a], [row_b, column_b]) = (
            a.strides.map(usize::cast_signed),
            b.strides.map(usize::cast_signed),
        );
        // SAFETY: all elements of `a` and `b` are in their slices, and those of the destination are its own: rows do not overlap.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.elements.as_ptr(),
                row_a,
                column_a,
                b.elements.as_ptr(),
                row_b,
                column_b,
                1.0,
                self.first,
                self.stride.cast_signed(),
                1,
            );
        }
    }
}

/// The tiles of a matrix.
#[derive(Debug)]
pub struct Tiles<'a> {
    matrix: MatrixMut<'a>,
    size: [usize; 2],
    /// Where the next one begins.
    next: [usize; 2],
}

/// A tile of a matrix.
#[derive(Debug)]
pub struct Tile<'a> {
    /// The rows that it has of the matrix.
    pub rows: Range<usize>,
    /// And the columns.
    pub columns: Range<usize>,
    pub matrix: MatrixMut<'a>,
}

impl<'a> Iterator for Tiles<'a> {
    type Item = Tile<'a>;

    fn next(&mut self) -> Option<Tile<'a>> {
        let ([row, column], [rows, columns]) = (self.next, self.matrix.size);
        if row >= rows || column >= columns {
            return None;
        }
        let end = [
            rows.min(row.saturating_add(self.size[0])),
            columns.min(column.saturating_add(self.size[1])),
        ];
        self.next = if end[1] < columns {
            [row, end[1]]
        } else {
            [end[0], 0]
        };
        let stride = self.matrix.stride;
        let matrix = MatrixMut {
            // SAFETY: an element of the matrix.
            first: unsafe { self.matrix.first.add(row * stride + column) },
            // No element of another tile.
            size: [end[0] - row, end[1] - column],
            stride,
            lifetime: PhantomData,
        };
        Some(Tile {
            rows: row..end[0],
            columns: column..end[1],
            matrix,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{Matrix, MatrixMut};

    /// `(2 i + 3 j) mod 7`, as dense rows: products have exact sums.
    fn numbers([rows, columns]: [usize; 2]) -> Vec<f32> {
        let number = |k| ((2 * (k / columns) + 3 * (k % columns)) % 7) as f32;
        (0..rows * columns).map(number).collect()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are integers")]
    fn tiles_together_are_the_whole_product() {
        for ([m, k, n], tile) in [
            ([5, 3, 7], [2, 3]),
            ([1, 1, 1], [9, 9]),
            ([17, 300, 9], [16, 8]),
        ] {
            let (a, b) = (numbers([m, k]), numbers([n, k]));
            let (a, b) = (Matrix::new(&a, [m, k]), Matrix::new(&b, [n, k]));
            let mut c = vec![1.0; m * n];
            for mut tile in MatrixMut::new(&mut c, [m, n]).tiles(tile) {
                let columns = b.rows(tile.columns).transposed();
                tile.matrix.add_product(a.rows(tile.rows), columns);
            }
            for (index, &found) in c.iter().enumerate() {
                let (i, j) = (index / n, index % n);
                let term = |l: usize| ((2 * i + 3 * l) % 7 * ((2 * j + 3 * l) % 7)) as f64;
                let expected = 1.0 + (0..k).map(term).sum::<f64>();
                assert_eq!(found, expected as f32, "{m} {k} {n}: {i}, {j}");
            }
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "copies")]
    fn parts_are_where_they_should_be() {
        let x = numbers([4, 6]);
        let part = Matrix::new(&x, [4, 6])
            .rows(1..3)
            .columns(2..5)
            .transposed();
        let mut y = [0.0; 6];
        let unit = Matrix::new(&[1.0, 0.0, 0.0, 1.0], [2, 2]);
        MatrixMut::new(&mut y, [3, 2]).add_product(part, unit);
        assert_eq!(y, [1.0, 3.0, 4.0, 6.0, 0.0, 2.0]);
        for mut tile in MatrixMut::new(&mut y, [3, 2]).tiles([2, 1]) {
            let sum = (tile.rows.start * 2 + tile.columns.start) as f32;
            tile.matrix.fill(&[sum]);
        }
        assert_eq!(y, [0.0, 1.0, 0.0, 1.0, 4.0, 5.0]);
    }

    #[test]
    fn nothing_is_fine() {
        let none = Matrix::new(&[], [0, 3]);
        let mut y = [7.0; 4];
        // No products: the sums are 0.
        MatrixMut::new(&mut y, [2, 2])
            .add_product(Matrix::new(&[], [2, 0]), Matrix::new(&[], [0, 2]));
        MatrixMut::new(&mut [], [0, 2]).add_product(none, Matrix::new(&[1.0; 6], [3, 2]));
        assert_eq!(MatrixMut::new(&mut [], [0, 2]).tiles([1, 1]).count(), 0);
        assert_eq!(MatrixMut::new(&mut [], [2, 0]).tiles([1, 1]).count(), 0);
        assert!(y.iter().all(|&y| y.to_bits() == 7.0_f32.to_bits()));
        let _ = none.rows(0..0).columns(3..3);
    }
}
