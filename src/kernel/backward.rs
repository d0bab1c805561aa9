//! The backward passes of softmax and log-softmax: from the gradient with respect to the results to
//! the gradient with respect to the logits.
//!
//! Both are a difference `a - b`, and their errors count in ULP of the larger operand, at most twice of
//! which the difference is; so its rounding is worth 1. The total in `b` is an `f64`, used as a pair of floats
//! whose second product is below the last bit. With fused multiply-add:
//!
//! - softmax: `a = y dy` is exact in the last step, `b` is rounded (0.5): 1.5. Below `2^-124`, the second product is
//!   rounded as a subnormal number: 0.5 more.
//! - log-softmax: `a = dy` is given, the exponential in `b` is off by 1.3 u, `u = 2^-24` (`tests/elements.rs`), and `a` plus
//!   the second product is rounded (0.5): 2.8. A subnormal exponential is off by 0.9 of its ULP, which is
//!   1.8 u of the least normal number: 3.3.
//!
//! Without: each product is rounded as well. Softmax: `a` and `b` have 0.5 more each, and 0.25 below
//! `2^-124`: 2.75. Log-softmax: the exponential is off by 1.7 u (1.2 ULP), its product by 0.5: 3.7 (4.4).

use super::block::{self, Block, ROWS, Work};
use super::exp::exp;
use super::weights::Factor;
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{Pass, Row, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// `dx = y (dy - sum y dy)`, of the sources `y` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxBackward;

/// `dx = dy - e^y sum dy`, of the sources `y` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmaxBackward;

impl<T: Real> Kernel<RowsMut<'_, T, 2>> for SoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        block::each::<T::Vector<S>, _, _, 2, 2>(simd, rows, &mut { *self });
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 2>> for LogSoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        block::each::<T::Vector<S>, _, _, 2, 2>(simd, rows, &mut { *self });
    }
}

impl<'a, V: Vector> Work<V, RowsMut<'a, V::Elem, 2>, 2> for SoftmaxBackward {
    const LEAST: usize = ROWS;
    type Prepared = [Wide<V::Elem>; ROWS];

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: &RowsMut<'a, V::Elem, 2>,
    ) -> Option<[Wide<V::Elem>; ROWS]> {
        block.read(simd, rows);
        let dots = block.fold(
            simd,
            #[inline(always)]
            |sum, _, [y, dy]| V::sum_add_product(sum, y, dy),
        );
        ordinary::<V>(&dots).then_some(dots)
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        mut rows: RowsMut<'a, V::Elem, 2>,
        dots: [Wide<V::Elem>; ROWS],
    ) {
        let zero = V::splat(simd, V::Elem::ZERO);
        let less = less(simd, dots);
        block.map(
            #[inline(always)]
            |_, [y, dy]| {
                let dx = y.mul_add(dy, less.times(y));
                canonical(simd, V::select(y.eq(zero), zero, dx))
            },
        );
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        row: RowMut<'a, V::Elem, 2>,
        _: Option<V>,
        _: Row<'_, V::Elem, 2>,
    ) -> Option<V> {
        softmax_row::<V>(simd, row);
        None
    }
}

impl<'a, V: Vector> Work<V, RowsMut<'a, V::Elem, 2>, 2> for LogSoftmaxBackward {
    const LEAST: usize = ROWS;
    type Prepared = [Wide<V::Elem>; ROWS];

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: &RowsMut<'a, V::Elem, 2>,
    ) -> Option<[Wide<V::Elem>; ROWS]> {
        block.read(simd, rows);
        let totals = block.fold(
            simd,
            #[inline(always)]
            |sum, _, [_, dy]| V::sum_add(sum, dy),
        );
        ordinary::<V>(&totals).then_some(totals)
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        mut rows: RowsMut<'a, V::Elem, 2>,
        totals: [Wide<V::Elem>; ROWS],
    ) {
        let zero = V::splat(simd, V::Elem::ZERO);
        let less = less(simd, totals);
        block.map(
            #[inline(always)]
            |_, [y, dy]| {
                let p = exp(simd, y);
                let dx = less.product_added_to(p, dy);
                canonical(simd, V::select(p.eq(zero), dy, dx))
            },
        );
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        row: RowMut<'a, V::Elem, 2>,
        _: Option<V>,
        _: Row<'_, V::Elem, 2>,
    ) -> Option<V> {
        log_softmax_row::<V>(simd, row);
        None
    }
}

/// Whether totals are neither NaN nor so large that [`Less`] must scale anything.
#[inline(always)]
fn ordinary<V: Vector>(totals: &[Wide<V::Elem>; ROWS]) -> bool {
    let mut ordinary = true;
    for total in totals {
        ordinary &= total.abs() < Wide::<V::Elem>::of(V::Elem::LARGE);
    }
    ordinary
}

/// Such totals, negated.
#[inline(always)]
fn less<V: Vector>(simd: V::Simd, mut totals: [Wide<V::Elem>; ROWS]) -> Factor<V> {
    for total in &mut totals {
        *total = -*total;
    }
    Factor::of_rows(simd, &totals)
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
    if dot.is_nan() {
        return row.fill(V::Elem::NAN);
    }
    let less = Less::new(simd, dot);
    row.map(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |_, [y, dy]: [V; 2]| {
            let dx = y.mul_add(dy * less.down, less.total.times(y)) * less.up;
            canonical(simd, V::select(y.eq(zero), zero, dx))
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
    let total = V::sum_total(sum);
    if total.is_nan() {
        return row.fill(V::Elem::NAN);
    }
    let less = Less::new(simd, total);
    row.map(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |_, [y, dy]: [V; 2]| {
            let p = exp(simd, y);
            let dx = less.total.product_added_to(p, dy * less.down) * less.up;
            canonical(simd, V::select(p.eq(zero), dy, dx))
        },
    );
}

/// A negated total that is to be added to something. Where it is so large that it, or a difference
/// from it, could leave the range of an element, it is scaled down; `down` does the same to what it
/// is added to, and `up` undoes it.
struct Less<V> {
    total: Factor<V>,
    down: V,
    up: V,
}

impl<V: Vector> Less<V> {
    #[inline(always)]
    fn new(simd: V::Simd, total: Wide<V::Elem>) -> Self {
        let up = if total.abs() < Wide::<V::Elem>::of(V::Elem::LARGE) {
            1.0
        } else {
            V::Elem::SCALE
        };
        Self {
            total: Factor::new(simd, -total * Wide::<V::Elem>::of(1.0 / up)),
            down: V::constant(simd, 1.0 / up),
            up: V::constant(simd, up),
        }
    }
}

/// With the canonical NaN in place of any other.
#[inline(always)]
pub fn canonical<V: Vector>(simd: V::Simd, x: V) -> V {
    V::select(x.is_nan(), V::splat(simd, V::Elem::NAN), x)
}
