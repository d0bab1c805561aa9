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
//!
//! With a factor `s` of the logits, from `2^-100` to 1, softmax has `a = y (s dy)` with the product in brackets in two parts, of which the second goes to
//! the small part of `b`: 1.5 again. Below `2^-118`, the two steps of that part, the small part of `s sum y dy` and their product with `y`, which is at most 1, are
//! rounded as subnormal numbers, by half of the least one each: 2 more.
//!
//! Everything else ([`wide_results`]) is taken in wide numbers, but for the exponential, and rounded once, which is worth 1: totals that are not
//! moderate, other factors, and any where multiply-add is not fused, which would have to round `s dy`. In log-softmax the exponential is off by 1.3 u
//! besides: 2.3, or 2.8; not fused 2.7 and 3.4.
//!
//! The sums have errors of their terms' magnitudes besides: `2^-29` of an ULP of these for every 16 classes.

use super::block::{self, Block, ROWS, Work};
use super::chunks::Chunks;
use super::exp::exps;
use super::step::InSteps;
use super::tree;
use super::weights::Factor;
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{CHUNK, Map, Pass, Peek, Row, RowMut, RowsMut, of_first};
use crate::simd::{Kernel, Simd, Vector};

/// `dx = y (dy - sum y dy)`, of the sources `y` and `dy`. `LOG`: of log-softmax, `dx = dy - e^y sum dy`.
#[derive(Clone, Copy, Debug)]
pub struct Backward<const LOG: bool>;

impl<T: Real, const LOG: bool> Kernel<RowsMut<'_, T, 2>> for Backward<LOG> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut rows: RowsMut<'_, T, 2>) {
        block::each::<T::Vector<S>, _, _, 2, 2>(simd, &mut rows, &mut { *self });
    }
}

impl<'a, V: Vector, const LOG: bool> Work<V, RowsMut<'a, V::Elem, 2>, 2> for Backward<LOG> {
    const LEAST: usize = 12;
    /// (Measured with AVX2 and SSE2, where 32 classes take as long either way, and 64 by columns 1.2 to 1.35 times as long.)
    const LONGEST: usize = 2 * ROWS - 1;
    /// All that is found: there is nothing to wait for.
    type Read = Option<[Wide<V::Elem>; ROWS]>;
    type Left = ();
    type Prepared = [Wide<V::Elem>; ROWS];

    #[inline(always)]
    fn read(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: &RowsMut<'a, V::Elem, 2>,
    ) -> Self::Read {
        block.read(simd, rows);
        let totals = block.fold(
            simd,
            #[inline(always)]
            |sum, _, sources| add::<V, LOG>(sum, sources),
        );
        ordinary::<V>(&totals).then_some(totals)
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        _: V::Simd,
        _: &mut Block<V, 2>,
        totals: Self::Read,
    ) -> Option<[Wide<V::Elem>; ROWS]> {
        totals
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        mut rows: RowsMut<'a, V::Elem, 2>,
        totals: [Wide<V::Elem>; ROWS],
    ) {
        let less = less(simd, totals);
        block.map(
            #[inline(always)]
            |_, sources| gradient::<V, LOG>(simd, sources, &less),
        );
        block.write(simd, &mut rows);
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: RowMut<'a, V::Elem, 2>,
        _: Option<V>,
        _: &mut Chunks<V::Elem>,
        _: Row<'_, V::Elem, 2>,
    ) -> (Option<()>, Option<V>) {
        let total = settled_total::<V, LOG>(simd, row.source(), all::<V>);
        results::<V, _, LOG>(simd, &mut row, total, None, all::<V>);
        (None, None)
    }

    #[inline(always)]
    fn finish_row(&mut self, _: V::Simd, (): ()) {}
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
            Step::Total if !is_settled::<_, LOG>(total) => Some(Step::WithoutZeros),
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
            Step::Total => total::<V, LOG>(simd, part.source(), false, all::<V>),
            Step::WithoutZeros => total::<V, LOG>(simd, part.source(), true, all::<V>),
            Step::Results(total) => {
                results::<V, _, LOG>(simd, &mut part, total, None, all::<V>);
                Wide::<T>::ZERO
            }
        }]
    }

    #[inline(always)]
    fn outcome<V: Vector<Elem = T>>(&self, _: Self::Step) {}
}

/// Whether a total stands, though there may be classes without probability.
#[inline(always)]
fn is_settled<W: WideFloat, const LOG: bool>(total: W) -> bool {
    LOG || total.is_finite()
}

/// Adds what is to be summed of each class.
#[inline(always)]
fn add<V: Vector, const LOG: bool>(sum: V::Sum, [y, dy]: [V; 2]) -> V::Sum {
    if LOG {
        V::sum_add(sum, dy)
    } else {
        V::sum_add_product(sum, y, dy)
    }
}

/// The lanes of a vector that take part, given its number in the row: where all do.
#[inline(always)]
pub fn all<V: Vector>(_: usize) -> Option<V::Mask> {
    None
}

/// `x`, and 0 where lanes take no part, if not all do.
#[inline(always)]
fn shown<V: Vector>(simd: V::Simd, lanes: Option<V::Mask>, x: V) -> V {
    match lanes {
        Some(lanes) => V::select(lanes, x, V::splat(simd, V::Elem::ZERO)),
        None => x,
    }
}

/// The sum over a row, or a part of it, of the `lanes` that take part. `without_zeros`: a class without probability takes no part,
/// unless its gradient is NaN.
#[inline(always)]
fn total<V: Vector, const LOG: bool>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 2>,
    without_zeros: bool,
    lanes: impl Fn(usize) -> Option<V::Mask> + Copy,
) -> Wide<V::Elem> {
    let zero = V::splat(simd, V::Elem::ZERO);
    tree::sum(
        row.len().div_ceil(CHUNK),
        #[inline(always)]
        |chunk| {
            let (mut sum, mut i) = (V::sum_zero(simd), chunk * (CHUNK / V::LANES));
            row.chunk(chunk).visit(
                simd,
                [V::Elem::ZERO; 2],
                #[inline(always)]
                |[mut y, mut dy]: [V; 2]| {
                    let lanes = lanes(i);
                    if LOG || without_zeros {
                        dy = shown(simd, lanes, dy);
                    }
                    y = shown(simd, lanes, y);
                    if without_zeros {
                        dy = V::select(y.eq(zero), V::select(dy.is_nan(), dy, zero), dy);
                    }
                    sum = add::<V, LOG>(sum, [y, dy]);
                    i += 1;
                },
            );
            V::sum_total(sum)
        },
    )
}

/// The sum over a whole row that stands.
#[inline(always)]
pub fn settled_total<V: Vector, const LOG: bool>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 2>,
    lanes: impl Fn(usize) -> Option<V::Mask> + Copy,
) -> Wide<V::Elem> {
    let mut without_zeros = false;
    // One place where it is summed: of more, the compiler leaves loads out of line.
    loop {
        let total = total::<V, LOG>(simd, row, without_zeros, lanes);
        if without_zeros || is_settled::<_, LOG>(total) {
            return total;
        }
        without_zeros = true;
    }
}

/// Writes the results of a row with this total, or of a part of it, multiplied by a scale, if there is one; 0 in lanes that take no part.
#[inline(always)]
pub fn results<V: Vector, P: Pass<V::Elem, 2>, const LOG: bool>(
    simd: V::Simd,
    part: &mut P,
    total: Wide<V::Elem>,
    scale: Option<f64>,
    lanes: impl Fn(usize) -> Option<V::Mask> + Copy,
) {
    let is_moderate = total.abs() < Wide::<V::Elem>::of(V::Elem::LARGE);
    let is_simple = scale.is_none_or(
        #[inline(always)]
        |scale| !LOG && V::FUSED && (1.0 / V::Elem::LARGE..=1.0).contains(&scale),
    );
    if !(is_moderate && is_simple) {
        return wide_results::<V, P, LOG>(simd, part, total, scale.unwrap_or(1.0), lanes);
    }
    let factor = scale.map(
        #[inline(always)]
        |scale| Factor::new(simd, Wide::<V::Elem>::of(scale)),
    );
    let less = Factor::new(simd, -total * Wide::<V::Elem>::of(scale.unwrap_or(1.0)));
    if LOG {
        let less = &less;
        return part.map_several::<V>(simd, [V::Elem::ZERO; 2], LogGradients { simd, less, lanes });
    }
    part.map(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |i, [y, dy]: [V; 2]| {
            let lanes = lanes(i);
            let dx = match &factor {
                Some(factor) => scaled_gradient(simd, [y, dy], factor, &less),
                None => gradient::<V, false>(simd, [y, dy], &less),
            };
            shown(simd, lanes, dx)
        },
    );
}

/// Those of log-softmax, from a negated total that is moderate.
struct LogGradients<'a, V: Vector, L> {
    simd: V::Simd,
    less: &'a Factor<V>,
    lanes: L,
}

impl<V: Vector, L: Fn(usize) -> Option<V::Mask>> Map<V, 2> for LogGradients<'_, V, L> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 2]; G]) -> [V; G] {
        let mut y = of_first(x);
        let (p, none) = probabilities(self.simd, y);
        for (i, y) in y.iter_mut().enumerate() {
            let dx = log_gradient(self.simd, x[i][1], p[i], none[i], self.less);
            *y = shown(self.simd, (self.lanes)(first + i), dx);
        }
        y
    }
}

/// From a probability that is [`none`](probabilities) in some lanes.
#[inline(always)]
fn log_gradient<V: Vector>(simd: V::Simd, dy: V, p: V, none: V::Mask, less: &Factor<V>) -> V {
    canonical(simd, V::select(none, dy, less.product_added_to(p, dy)))
}

/// The gradients, from a negated total that is moderate.
#[inline(always)]
fn gradient<V: Vector, const LOG: bool>(simd: V::Simd, [y, dy]: [V; 2], less: &Factor<V>) -> V {
    if LOG {
        let ([p], [none]) = probabilities(simd, [y]);
        return log_gradient(simd, dy, p, none, less);
    }
    let zero = V::splat(simd, V::Elem::ZERO);
    let dx = V::select(y.eq(zero), zero, y.mul_add(dy, less.times_ordinary(y)));
    canonical(simd, dx)
}

/// Each `e^y`, and where it is 0 since `y` is below the range. There it is `e^0` instead, not to be used: as a subnormal number on the way to 0, it
/// would take as long as all the rest.
#[inline(always)]
fn probabilities<V: Vector, const G: usize>(
    simd: V::Simd,
    mut y: [V; G],
) -> ([V; G], [V::Mask; G]) {
    let [lowest, _] = V::Elem::EXP.range;
    let (lowest, zero) = (V::splat(simd, lowest), V::splat(simd, V::Elem::ZERO));
    let mut none = [zero.lt(zero); G];
    for (y, none) in y.iter_mut().zip(&mut none) {
        *none = y.lt(lowest);
        *y = V::select(*none, zero, *y);
    }
    (exps(simd, y), none)
}

/// The gradients of softmax, times a factor; it is in the negated total as well. It is not above 1, so that no product overflows, and not so small that a part
/// of it is lost.
#[inline(always)]
fn scaled_gradient<V: Vector>(
    simd: V::Simd,
    [y, dy]: [V; 2],
    factor: &Factor<V>,
    less: &Factor<V>,
) -> V {
    let zero = V::splat(simd, V::Elem::ZERO);
    let [own, more] = factor.times_in_parts(dy);
    let dx = y.mul_add(own, less.less(more).times_ordinary(y));
    canonical(simd, V::select(y.eq(zero), zero, dx))
}

/// [`results`] of any total, in wide numbers that are rounded once.
#[inline(always)]
fn wide_results<V: Vector, P: Pass<V::Elem, 2>, const LOG: bool>(
    simd: V::Simd,
    part: &mut P,
    total: Wide<V::Elem>,
    scale: f64,
    lanes: impl Fn(usize) -> Option<V::Mask> + Copy,
) {
    let (nothing, scale) = (V::sum_zero(simd), Wide::<V::Elem>::of(scale));
    let (is_finite, is_nan) = (total.is_finite(), total.is_nan());
    let (zero, nan) = (V::splat(simd, V::Elem::ZERO), V::splat(simd, V::Elem::NAN));
    part.map(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |i, [y, dy]: [V; 2]| {
            let lanes = lanes(i);
            let p = if LOG {
                let ([p], [none]) = probabilities(simd, [y]);
                V::select(none, zero, p)
            } else {
                y
            };
            let own = if LOG {
                V::sum_add(nothing, dy)
            } else {
                V::sum_add_product(nothing, y, dy)
            };
            let others = V::sum_scale(V::sum_add(nothing, p), -total);
            let dx = V::sum_scale(V::sum_merge(own, others), scale);
            let mut dx = V::sum_narrow(simd, dx);
            if !LOG {
                dx = V::select(p.eq(zero), zero, dx);
            } else if !is_finite {
                // Nothing of it is not a number.
                let own = V::sum_narrow(simd, V::sum_scale(own, scale));
                dx = V::select(p.eq(zero), own, dx);
            }
            let dx = if is_nan { nan } else { canonical(simd, dx) };
            shown(simd, lanes, dx)
        },
    );
}

/// Whether all totals are moderate: neither NaN nor so large that a difference could leave the range of an element.
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

/// With the canonical NaN in place of any other.
#[inline(always)]
pub fn canonical<V: Vector>(simd: V::Simd, x: V) -> V {
    V::select(x.is_nan(), V::splat(simd, V::Elem::NAN), x)
}
