//! The backward passes of softmax and log-softmax with masks, causal rows and a factor `s` of the logits: `dx = s y (dy - sum y dy)` and `dx = s
//! (dy - e^y sum dy)`, sums over the classes that take part, and 0 for the others.
//!
//! All of it but the exponential is taken in `f64` and rounded once. Errors, in ULP of the larger of the two that are subtracted,
//! at most twice of which the difference is: the last rounding is worth 1. In log-softmax, the exponential is off by 1.3 u, `u = 2^-24`, besides: 2.3;
//! a subnormal one by 0.9 of its ULP, which is 1.8 u of the least normal number: 2.8. (Where multiply-add is not fused, by 1.7 u, and 1.2 of its ULP: 2.7 and
//! 3.4.) The sums have errors of their terms' magnitudes besides: `2^-29` of an ULP of these for every 16 classes.

use super::backward::canonical;
use super::exp::exp;
use super::masked::fill;
use super::masks::{Flags, Masks};
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{FirstRow, Pass, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// Of the sources `y` and `dy`. `LOG`: of log-softmax.
#[derive(Clone, Copy, Debug)]
pub struct MaskedBackward<'a, const LOG: bool> {
    pub masks: Masks<'a>,
    /// `s`
    pub scale: f64,
}

impl<T: Real, const LOG: bool> Kernel<(RowsMut<'_, T, 2>, FirstRow)> for MaskedBackward<'_, LOG> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, first): (RowsMut<'_, T, 2>, FirstRow)) {
        let classes = rows.classes();
        let FirstRow(mut index) = first;
        for row in rows {
            self.row::<T::Vector<S>>(simd, row, index, classes);
            index += 1;
        }
    }
}

impl<const LOG: bool> MaskedBackward<'_, LOG> {
    #[inline(always)]
    fn row<V: Vector>(
        &self,
        simd: V::Simd,
        mut row: RowMut<'_, V::Elem, 2>,
        index: usize,
        classes: usize,
    ) {
        let seen = self.masks.seen(index, classes);
        let mut part = row.part(0, seen);
        match self.masks.flags(index, classes) {
            None => self.seen::<V, _>(
                simd,
                &mut part,
                #[inline(always)]
                |_| None,
            ),
            Some(flags) => {
                let flags = Flags::new(flags, seen);
                self.seen::<V, _>(
                    simd,
                    &mut part,
                    #[inline(always)]
                    |i| Some(flags.lanes::<V>(simd, i)),
                );
            }
        }
        drop(part);
        if seen < classes {
            fill::<V, _, 2>(simd, &mut row.part(seen, classes), V::Elem::ZERO);
        }
    }

    /// The gradients of the classes that a row sees. `lanes` are those of a vector that take part, if not all do.
    #[inline(always)]
    fn seen<V: Vector, P: Pass<V::Elem, 2>>(
        &self,
        simd: V::Simd,
        row: &mut P,
        lanes: impl Fn(usize) -> Option<V::Mask>,
    ) {
        let zero = V::splat(simd, V::Elem::ZERO);
        let nothing = if LOG {
            V::splat(simd, V::Elem::NEG_INFINITY)
        } else {
            zero
        };
        // One place where it is summed: of more, the compiler leaves loads out of line.
        let mut is_careful = LOG;
        let total = loop {
            let total = sum::<V, P>(
                simd,
                row,
                #[inline(always)]
                |sum, i, [y, dy]| {
                    let lanes = lanes(i);
                    let dy = select(lanes, dy, zero);
                    if LOG {
                        return V::sum_add(sum, dy);
                    }
                    let y = select(lanes, y, zero);
                    let counted = if is_careful {
                        // A class without probability takes no part, unless its gradient is NaN.
                        V::select(y.eq(zero), V::select(dy.is_nan(), dy, zero), dy)
                    } else {
                        dy
                    };
                    V::sum_add_product(sum, y, counted)
                },
            );
            if is_careful || total.is_finite() {
                break total;
            }
            is_careful = true;
        };
        let (none, scale) = (V::sum_zero(simd), Wide::<V::Elem>::of(self.scale));
        let (is_finite, is_nan) = (total.is_finite(), total.is_nan());
        let nan = V::splat(simd, V::Elem::NAN);
        row.map(
            simd,
            [V::Elem::ZERO; 2],
            #[inline(always)]
            |i, [y, dy]: [V; 2]| {
                let lanes = lanes(i);
                let (y, dy) = (select(lanes, y, nothing), select(lanes, dy, zero));
                let p = if LOG { exp(simd, y) } else { y };
                let own = if LOG {
                    V::sum_add(none, dy)
                } else {
                    V::sum_add_product(none, y, dy)
                };
                let others = V::sum_scale(V::sum_add(none, p), -total);
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
                select(lanes, dx, zero)
            },
        );
    }
}

/// A vector, and the other where lanes are not set, if there are some that are not.
#[inline(always)]
fn select<V: Vector>(lanes: Option<V::Mask>, x: V, other: V) -> V {
    match lanes {
        Some(lanes) => V::select(lanes, x, other),
        None => x,
    }
}

/// Adds up what `add` adds for each vector of the sources, given its index.
#[inline(always)]
fn sum<V: Vector, P: Pass<V::Elem, 2>>(
    simd: V::Simd,
    row: &P,
    add: impl Fn(V::Sum, usize, [V; 2]) -> V::Sum,
) -> Wide<V::Elem> {
    let (mut sum, mut i) = (V::sum_zero(simd), 0);
    row.source().visit(
        simd,
        [V::Elem::ZERO; 2],
        #[inline(always)]
        |sources: [V; 2]| {
            sum = add(sum, i, sources);
            i += 1;
        },
    );
    V::sum_total(sum)
}
