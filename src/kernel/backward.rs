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
use super::step::InSteps;
use super::tree;
use super::weights::Factor;
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{CHUNK, Pass, Peek, Row, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// `dx = y (dy - sum y dy)`, of the sources `y` and `dy`. `LOG`: of log-softmax, `dx = dy - e^y sum dy`.
#[derive(Clone, Copy, Debug)]
pub struct Backward<const LOG: bool>;

impl<T: Real, const LOG: bool> Kernel<RowsMut<'_, T, 2>> for Backward<LOG> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        block::each::<T::Vector<S>, _, _, 2, 2>(simd, rows, &mut { *self });
    }
}

impl<'a, V: Vector, const LOG: bool> Work<V, RowsMut<'a, V::Elem, 2>, 2> for Backward<LOG> {
    const LEAST: usize = 12;
    /// (Measured with AVX2 and SSE2, where 32 classes take as long either way, and 64 by columns 1.2 to 1.35 times as long.)
    const LONGEST: usize = 2 * ROWS - 1;
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
            |sum, _, sources| Self::add::<V>(sum, sources),
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
                let dx = if LOG {
                    let p = exp(simd, y);
                    V::select(p.eq(zero), dy, less.product_added_to(p, dy))
                } else {
                    V::select(y.eq(zero), zero, y.mul_add(dy, less.times(y)))
                };
                canonical(simd, dx)
            },
        );
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: RowMut<'a, V::Elem, 2>,
        _: Option<V>,
        _: Row<'_, V::Elem, 2>,
    ) -> Option<V> {
        let mut total = Self::total::<V, false>(simd, row.source());
        if !Self::is_settled(total) {
            total = Self::total::<V, true>(simd, row.source());
        }
        Self::results::<V, _>(simd, &mut row, total);
        None
    }
}

/// A step of a row.
#[derive(Clone, Copy, Debug)]
pub enum Step<W> {
    Total,
    /// Since the first one is not finite: without the classes that take no part.
    WithoutZeros,
    /// Write the results, of that total.
    Results(W),
}

impl<T: Real, R: Peek<T, 2>, const LOG: bool> InSteps<T, R> for Backward<LOG> {
    type Step = Step<Wide<T>>;
    type Found = [Wide<T>; 1];
    type Outcome = ();

    fn first(&self) -> Self::Step {
        Step::Total
    }

    fn next(&self, step: Self::Step, [total]: Self::Found) -> Option<Self::Step> {
        match step {
            Step::Total if !Self::is_settled(total) => Some(Step::WithoutZeros),
            Step::Total | Step::WithoutZeros => Some(Step::Results(total)),
            Step::Results(_) => None,
        }
    }

    fn is_last(step: &Self::Step) -> bool {
        matches!(step, Step::Results(_))
    }

    #[inline(always)]
    fn of_part<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        step: Self::Step,
        part: &mut R,
        _: usize,
    ) -> Self::Found {
        let mut part = part.whole();
        [match step {
            Step::Total => Self::total::<V, false>(simd, part.source()),
            Step::WithoutZeros => Self::total::<V, true>(simd, part.source()),
            Step::Results(total) => {
                Self::results::<V, _>(simd, &mut part, total);
                Wide::<T>::ZERO
            }
        }]
    }

    #[inline(always)]
    fn outcome<V: Vector<Elem = T>>(&self, _: Self::Step) {}
}

impl<const LOG: bool> Backward<LOG> {
    /// Whether a total stands, though there may be classes without probability.
    #[inline(always)]
    fn is_settled(total: impl WideFloat) -> bool {
        LOG || total.is_finite()
    }

    /// Adds what is to be summed of each class.
    #[inline(always)]
    fn add<V: Vector>(sum: V::Sum, [y, dy]: [V; 2]) -> V::Sum {
        if LOG {
            V::sum_add(sum, dy)
        } else {
            V::sum_add_product(sum, y, dy)
        }
    }

    /// The sum over a row, or a part of it. `WITHOUT_ZEROS`: a class without probability takes no part, unless its gradient
    /// is NaN.
    #[inline(always)]
    fn total<V: Vector, const WITHOUT_ZEROS: bool>(
        simd: V::Simd,
        row: Row<'_, V::Elem, 2>,
    ) -> Wide<V::Elem> {
        let zero = V::splat(simd, V::Elem::ZERO);
        tree::sum(
            row.len().div_ceil(CHUNK),
            #[inline(always)]
            |i| {
                let mut sum = V::sum_zero(simd);
                row.chunk(i).visit(
                    simd,
                    [V::Elem::ZERO; 2],
                    #[inline(always)]
                    |[y, mut dy]: [V; 2]| {
                        if WITHOUT_ZEROS {
                            dy = V::select(y.eq(zero), V::select(dy.is_nan(), dy, zero), dy);
                        }
                        sum = Self::add::<V>(sum, [y, dy]);
                    },
                );
                V::sum_total(sum)
            },
        )
    }

    /// Writes the results of a row with this total, or of a part of it.
    #[inline(always)]
    fn results<V: Vector, P: Pass<V::Elem, 2>>(simd: V::Simd, part: &mut P, total: Wide<V::Elem>) {
        if total.is_nan() {
            return part.fill(V::Elem::NAN);
        }
        let zero = V::splat(simd, V::Elem::ZERO);
        let less = Less::new(simd, total);
        part.map(
            simd,
            [V::Elem::ZERO; 2],
            #[inline(always)]
            |_, [y, dy]: [V; 2]| {
                let dy_down = dy * less.down;
                let dx = if LOG {
                    let p = exp(simd, y);
                    let dx = less.total.product_added_to(p, dy_down) * less.up;
                    V::select(p.eq(zero), dy, dx)
                } else {
                    let dx = y.mul_add(dy_down, less.total.times(y)) * less.up;
                    V::select(y.eq(zero), zero, dx)
                };
                canonical(simd, dx)
            },
        );
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
