//! The maximum and the sum of a slice.

use super::tree::{self, Merge};
use super::wide::Wide;
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{Pass as _, Row, Rows, Split as _};
use crate::simd::{Kernel, Simd, Vector};

/// The sum of all elements, before it is rounded.
#[derive(Clone, Copy, Debug)]
pub struct Sum;

/// The largest element.
#[derive(Clone, Copy, Debug)]
pub struct Max;

/// The largest element of a part: `-inf` for none, NaN if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Largest<T>(pub T);

impl<T: Real> Merge for Largest<T> {
    /// Of zeros, the positive one.
    #[inline(always)]
    fn merge(self, Self(b): Self) -> Self {
        let Self(a) = self;
        let takes_b = a < b || b.is_nan() || (a == b && b.to_f64().is_sign_positive());
        Self(if a.is_nan() || !takes_b { a } else { b })
    }
}

impl<T: Real> Kernel<Rows<'_, T, 1>> for Sum {
    type Output = Wide<T>;
    const LIGHTNESS: usize = 8;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut rows: Rows<'_, T, 1>) -> Wide<T> {
        tree::sum(
            rows.rows(),
            #[inline(always)]
            |_| {
                let mut sum = T::Vector::<S>::sum_zero(simd);
                if let Some(row) = rows.next() {
                    row.visit(
                        simd,
                        [T::ZERO],
                        #[inline(always)]
                        |[x]: [T::Vector<S>; 1]| {
                            sum = T::Vector::sum_add(sum, x);
                        },
                    );
                }
                T::Vector::<S>::sum_total(sum)
            },
        )
    }
}

impl<T: Real> Kernel<Rows<'_, T, 1>> for Max {
    type Output = Largest<T>;
    const LIGHTNESS: usize = 8;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, T, 1>) -> Largest<T> {
        let mut largest = Largest(T::NEG_INFINITY);
        for row in rows {
            let max = largest_of::<T::Vector<S>>(simd, row);
            largest = largest.merge(Largest(max));
        }
        largest
    }
}

/// The largest element of a row, NaN if there is one.
#[inline(always)]
fn largest_of<V: Vector>(simd: V::Simd, row: Row<'_, V::Elem, 1>) -> V::Elem {
    let lowest = V::Elem::NEG_INFINITY;
    let none = V::splat(simd, lowest);
    let (max, nan) = row.fold(
        simd,
        lowest,
        (none, none.is_nan()),
        #[inline(always)]
        |(max, nan), x: V| (x.max(max), V::or(nan, x.is_nan())),
        #[inline(always)]
        |(a, nan_in_a), (b, nan_in_b)| (a.max(b), V::or(nan_in_a, nan_in_b)),
    );
    let max = max.reduce_max();
    if V::bits(nan) != 0 {
        V::Elem::NAN
    } else if max == V::Elem::ZERO {
        // The vector maximum takes any zero: look whether there is a positive one.
        let is_positive = (0..row.len()).any(
            #[inline(always)]
            |i| {
                let x = row.get(0, i).to_f64();
                x == 0.0 && x.is_sign_positive()
            },
        );
        if is_positive {
            V::Elem::ZERO
        } else {
            -V::Elem::ZERO
        }
    } else {
        max
    }
}
