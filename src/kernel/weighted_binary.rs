//! Binary cross-entropy with weights, label smoothing and ignored elements.
//!
//! With the smoothed label `t' = (1 - e) t + e / 2`, the weight `q` of its yes and `w` of all:
//! `L = w (-q t' ln s(x) - (1 - t') ln s(-x))`, `dL/dx = w ((1 - t') s(x) - q t' s(-x))`
//!
//! As without (`binary_cross_entropy.rs`), `L = w (m |x| + (q t' + 1 - t') ln(1 + e^-|x|))`, where `m` is `1 - t'` for positive `x` and `q t'` for
//! negative: no term is negative, so errors count by the result. In `u = 2^-24`, of which an ULP is at least one: the logarithm
//! 2.1; `t'`, `1 - t'`, `q t'`, their sum and a product 1 each, of terms that they are parts of; the result and `w` 0.5 ULP each: 8.1. Of a gradient, by the larger
//! term: `e` 1.3, `t'` and `q t'` or `1 - t'` 1 each, the difference 1, the result and `w` 0.5 each: 6.3.
//!
//! Without fused multiply-add: the logarithm 3.9, its product 1, and of the gradient, `e` 1.7, each term two roundings more: 11 and 10.

use super::backward::canonical;
use super::binary_cross_entropy::{gradient, ln_1p};
use super::elementwise::Logistic;
use super::tree;
use super::weights::Factor;
use super::wide::{Wide, WideFloat as _};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{Pass, Row, Rows, RowsMut, Split};
use crate::simd::{Kernel, Simd, Vector};
use crate::targets::Flat;

/// The sum of the losses of all elements, and the gradient, where the rows have a destination.
#[derive(Clone, Copy, Debug)]
pub struct WeightedBinary<'a, T: Float> {
    /// What every gradient is multiplied by.
    pub grad_scale: Wide<T>,
    pub smoothing: f64,
    /// Of the labels of a row: `q`, and `w`.
    pub pos_weights: Option<&'a [T]>,
    pub label_weights: Option<&'a [T]>,
}

/// The loss of each element.
#[derive(Clone, Copy, Debug)]
pub struct WeightedElementLosses<'a, T: Float>(pub WeightedBinary<'a, T>);

impl<T: Real> Kernel<(Rows<'_, T, 2>, Flat<'_>)> for WeightedBinary<'_, T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, flat): (Rows<'_, T, 2>, Flat<'_>)) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, rows, flat, false)
    }
}

impl<T: Real> Kernel<(RowsMut<'_, T, 2>, Flat<'_>)> for WeightedBinary<'_, T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, flat): (RowsMut<'_, T, 2>, Flat<'_>)) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, rows, flat, false)
    }
}

impl<T: Real> Kernel<(RowsMut<'_, T, 2>, Flat<'_>)> for WeightedElementLosses<'_, T> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, flat): (RowsMut<'_, T, 2>, Flat<'_>)) {
        self.0.batch::<T::Vector<S>, _>(simd, rows, flat, true);
    }
}

impl<T: Real> WeightedBinary<'_, T> {
    /// `writes_losses`: instead of gradients.
    #[inline(always)]
    fn batch<V: Vector<Elem = T>, P: Pass<T, 2>>(
        &self,
        simd: V::Simd,
        mut rows: impl Split + Iterator<Item = P>,
        flat: Flat<'_>,
        writes_losses: bool,
    ) -> Wide<T> {
        let (zero, one) = (V::splat(simd, T::ZERO), V::splat(simd, T::ONE));
        let scale = Factor::new(simd, self.grad_scale);
        let (keep, add) = (
            V::constant(simd, 1.0 - self.smoothing),
            V::constant(simd, 0.5 * self.smoothing),
        );
        let mut rooms = [[T::ZERO; ROOM]; 3];
        let [pos_room, label_room, flags] = &mut rooms;
        let pos_weights = repeated(self.pos_weights, pos_room);
        let label_weights = repeated(self.label_weights, label_room);
        // As many elements are done at a time, if labels have weights of their own.
        let period = pos_weights.or(label_weights).map_or(ROOM, <[T]>::len);
        let mut start = 0;
        tree::sum(
            rows.rows(),
            #[inline(always)]
            |_| {
                let Some(mut row) = rows.next() else {
                    return Wide::<T>::ZERO;
                };
                let (mut sum, mut done, len) = (V::sum_zero(simd), 0, row.len());
                while done < len {
                    // To the end of the period, as far as there is room for flags.
                    let phase = (flat.start + start + done).checked_rem(period).unwrap_or(0);
                    let count = (len - done).min(period - phase).min(ROOM);
                    let end = done + count;
                    let pos = part(pos_weights, phase, count);
                    let weight = part(label_weights, phase, count);
                    let ignored = flat.ignored.map(
                        #[inline(always)]
                        |ignored| {
                            for (flag, &ignored) in
                                flags.iter_mut().zip(&ignored[start + done..start + end])
                            {
                                *flag = if ignored { T::ONE } else { T::ZERO };
                            }
                            Row::of(&flags[..count])
                        },
                    );
                    let (whole, rest) = (count / V::LANES, count % V::LANES);
                    let mut part = row.part(done, end);
                    let places = part.source().places();
                    part.map(
                        simd,
                        [T::ZERO; 2],
                        #[inline(always)]
                        |i, [x, label]: [V; 2]| {
                            places.ask_ahead::<V>(simd, i);
                            let at = [i, whole];
                            // Not 1 less the other, which would round by what 1 is.
                            let no = (one - label).mul_add(keep, add);
                            let label = label.mul_add(keep, add);
                            let yes = lanes(simd, pos, at, one) * label;
                            let weight = lanes(simd, weight, at, one);
                            let logistic = Logistic::new(simd, x);
                            let against = V::select(x.lt(zero), yes, no);
                            // A share of 0 is 0, of an infinite logit too.
                            let against = V::select(against.eq(zero), zero, against * x.abs());
                            let loss = (yes + no).mul_add(ln_1p(simd, logistic.e), against);
                            let grad = gradient(simd, yes, [no, zero], &logistic, &scale);
                            let mut loss = share(zero, weight, loss);
                            let mut grad = share(zero, weight, grad) + zero;
                            let counts = lanes(simd, ignored, at, zero).eq(zero);
                            loss = V::select(counts, loss, zero);
                            grad = V::select(counts, grad, zero);
                            if i == whole {
                                loss = V::select(V::lanes_from(simd, rest), zero, loss);
                            }
                            sum = V::sum_add(sum, loss);
                            canonical(simd, if writes_losses { loss } else { grad })
                        },
                    );
                    done = end;
                }
                start += len;
                V::sum_total(sum)
            },
        )
    }
}

/// The weights of the labels of a row as they are repeated, as often as there is room for them.
#[inline(always)]
fn repeated<'a, T: Real>(weights: Option<&'a [T]>, room: &'a mut [T; ROOM]) -> Option<&'a [T]> {
    let weights = weights?;
    // None for rows without labels.
    let times = ROOM.checked_div(weights.len())?;
    if times == 0 {
        return Some(weights);
    }
    let room = &mut room[..times * weights.len()];
    for (to, weight) in room.iter_mut().zip(weights.iter().cycle()) {
        *to = *weight;
    }
    Some(room)
}

/// Room for weights and flags: so many that the last vector of a period, which may be a short one, costs little.
const ROOM: usize = 1024;

/// The product with a weight; a weight of 0 has no part of what is infinite, but of what is NaN.
#[inline(always)]
fn share<V: Vector>(zero: V, weight: V, x: V) -> V {
    let none = V::select(x.is_nan(), x, zero);
    V::select(weight.eq(zero), none, weight * x)
}

/// `count` of the weights, from `start` on.
#[inline(always)]
fn part<T: Real>(weights: Option<&[T]>, start: usize, count: usize) -> Option<Row<'_, T, 1>> {
    Some(Row::of(&weights?[start..start + count]))
}

/// Vector `i` of the row, of which `whole` are not short; `otherwise` where there is no row.
#[inline(always)]
fn lanes<V: Vector>(
    simd: V::Simd,
    row: Option<Row<'_, V::Elem, 1>>,
    [i, whole]: [usize; 2],
    otherwise: V,
) -> V {
    let lanes = match row {
        // So the compiler sees no short one in the loop.
        Some(row) if i < whole => row.vector(simd, i),
        Some(row) => Some(row.load_tail(simd, [V::Elem::ZERO])),
        None => None,
    };
    match lanes {
        Some([lanes]) => lanes,
        None => otherwise,
    }
}
