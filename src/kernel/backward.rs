//! The backward passes of softmax and log-softmax: from the gradient with respect to the results to
//! the gradient with respect to the logits.

use super::exp::exp;
use super::weights::Factor;
use crate::element::Element;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// `dx = y (dy - sum y dy)`, of the sources `y` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxBackward;

/// `dx = dy - e^y sum dy`, of the sources `y` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmaxBackward;

impl<T: Element> Kernel<RowsMut<'_, T, 2>> for SoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        for row in rows {
            softmax_row::<T::Vector<S>>(simd, row);
        }
    }
}

impl<T: Element> Kernel<RowsMut<'_, T, 2>> for LogSoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        for row in rows {
            log_softmax_row::<T::Vector<S>>(simd, row);
        }
    }
}

#[inline(always)]
fn softmax_row<V: Vector>(simd: V::Simd, mut row: RowMut<'_, V::Elem, 2>) {
    let zero = V::splat(simd, V::Elem::ZERO);
    let mut sum = V::sum_zero(simd);
    row.source().visit(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |[y, dy]: [V; 2]| {
            sum = V::sum_add_product(sum, y, dy);
        },
    );
    let mut dot = V::sum_total(sum);
    if !dot.is_finite() {
        // A class without probability takes no part, unless its gradient is NaN.
        let mut sum = V::sum_zero(simd);
        row.source().visit(
            simd,
            [V::Elem::ZERO; 2],
            #[inline(always)]
            |[y, dy]: [V; 2]| {
                let dy = V::select(y.eq(zero), V::select(dy.is_nan(), dy, zero), dy);
                sum = V::sum_add_product(sum, y, dy);
            },
        );
        dot = V::sum_total(sum);
    }
    subtract(
        simd,
        &mut row,
        dot,
        #[inline(always)]
        |[y, dy]: [V; 2], less: &Factor<V>| {
            V::select(y.eq(zero), zero, y.mul_add(dy, less.times(y)))
        },
    );
}

#[inline(always)]
fn log_softmax_row<V: Vector>(simd: V::Simd, mut row: RowMut<'_, V::Elem, 2>) {
    let zero = V::splat(simd, V::Elem::ZERO);
    let mut sum = V::sum_zero(simd);
    row.source().visit(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |[_, dy]: [V; 2]| {
            sum = V::sum_add(sum, dy);
        },
    );
    subtract(
        simd,
        &mut row,
        V::sum_total(sum),
        #[inline(always)]
        |[y, dy]: [V; 2], less: &Factor<V>| {
            let p = exp(simd, y);
            V::select(p.eq(zero), dy, less.product_added_to(p, dy))
        },
    );
}

/// Writes `dx([y, dy], -total)`, which is homogeneous in the last two: where the total is so large
/// that it, or a difference from it, could leave the range of an element, both are scaled down and
/// the result back up.
#[inline(always)]
fn subtract<V: Vector>(
    simd: V::Simd,
    row: &mut RowMut<'_, V::Elem, 2>,
    total: f64,
    dx: impl Fn([V; 2], &Factor<V>) -> V,
) {
    // Of `f32`: below 2^100, adding it to the largest number rounds to that number.
    const LARGE: f64 = 1.267_650_600_228_229_4e30; // 2^100
    const DOWN: f64 = 1.0 / 18_446_744_073_709_551_616.0; // 2^-64
    if total.is_nan() {
        return row.fill(V::Elem::NAN);
    }
    let fill = [V::Elem::ZERO; 2];
    if total.abs() < LARGE {
        let less = Factor::new(simd, -total);
        row.map(
            simd,
            fill,
            #[inline(always)]
            |_, [y, dy]| canonical(simd, dx([y, dy], &less)),
        );
    } else {
        let less = Factor::new(simd, -total * DOWN);
        let (down, up) = (V::constant(simd, DOWN), V::constant(simd, 1.0 / DOWN));
        row.map(
            simd,
            fill,
            #[inline(always)]
            |_, [y, dy]| canonical(simd, dx([y, dy * down], &less) * up),
        );
    }
}

/// With the canonical NaN in place of any other.
#[inline(always)]
pub fn canonical<V: Vector>(simd: V::Simd, x: V) -> V {
    V::select(x.is_nan(), V::splat(simd, V::Elem::NAN), x)
}
