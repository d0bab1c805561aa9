//! What is wanted of a row beside its loss: its log-sum-exp, its largest class, and the entropy of its probabilities, in nats.
//!
//! `H = -sum p_k ln p_k = ln(1 + others / w) + sum_k p_k (max - z_k)`, where `w` is the weight of the largest logit, and `others` the sum of those of the
//! others: no term is negative, so a row that is sure of one class keeps full relative accuracy.
//!
//! The weights are computed once more. Errors, in `u = 2^-24`: a weight 1.1, the difference `max - z_k` 1, the sum of rounded weights 1.1, and 0.5 for the result: 3.7 ULP (0.1 more with a factor of the logits).

use super::block::{Block, ROWS};
use super::row::{Ordinary, Top};
use super::shift::{Shift, Shifts, Weigh};
use super::weights::Extent;
use super::wide::{Wide, WideFloat};
use super::{MaskedRows, logsumexp};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::outputs::{Found, Wanted};
use crate::rows::Row;
use crate::simd::{Simd as _, Vector};

/// Beside a maximum up to this, distances are within the range.
const LARGE: f64 = 1.0e30;

/// What the entropy is made of: over the elements that are less than the largest, the sum of their weights, and of these times
/// distances; and how many there are that are not less.
pub type Parts<T> = [Wide<T>; 3];

/// The parts of a vector of elements.
#[derive(Clone, Copy, Debug)]
pub struct Leaves<V> {
    /// Distances from the largest element, 0 for elements that count for nothing.
    away: V,
    /// Weights, 0 for these and for the largest.
    lower: V,
    /// 1 for the largest.
    top: V,
}

impl<V: Vector> Leaves<V> {
    /// Of elements, given their distances from the largest, their weights, and beyond which distance they count for nothing.
    #[inline(always)]
    pub fn new(simd: V::Simd, away: V, weights: V, farthest: V) -> Self {
        let (zero, one) = (V::splat(simd, V::Elem::ZERO), V::splat(simd, V::Elem::ONE));
        let (is_near, is_top) = (away.lt(farthest), away.eq(zero));
        let lower = V::select(is_near, weights, zero);
        Self {
            away: V::select(is_near, away, zero),
            lower: V::select(is_top, zero, lower),
            top: V::select(is_top, one, zero),
        }
    }

    /// Adds them to the sums of the parts.
    #[inline(always)]
    pub fn add_to(self, part: usize, sum: V::Sum) -> V::Sum {
        match part {
            0 => V::sum_add(sum, self.lower),
            1 => V::sum_add_product(sum, self.lower, self.away),
            _ => V::sum_add(sum, self.top),
        }
    }
}

/// Beyond which distance elements count for nothing, before they are scaled.
#[inline(always)]
pub fn farthest<V: Vector>(simd: V::Simd, factor: f64) -> V {
    V::constant(simd, V::Elem::EXP.farthest / factor)
}

/// The parts of a chunk of a row.
#[inline(always)]
pub fn parts<V: Vector>(
    simd: V::Simd,
    part: Row<'_, V::Elem, 1>,
    shift: &Shift<V::Elem>,
) -> Parts<V::Elem> {
    simd.out_of_line(
        #[inline(always)]
        move || parts_here::<V>(simd, part, shift),
    )
}

#[inline(always)]
fn parts_here<V: Vector>(
    simd: V::Simd,
    part: Row<'_, V::Elem, 1>,
    shift: &Shift<V::Elem>,
) -> Parts<V::Elem> {
    // For all rows alike: to subtract an offset of 0, and to multiply by 1, changes nothing.
    let weigh = Weigh::<V, true>::new(simd, shift);
    // A distance may be as large as two elements, but half of a subnormal number is rounded.
    let unit = if shift.max().to_f64().abs() < LARGE {
        1.0
    } else {
        0.5
    };
    let units = V::constant(simd, unit);
    let max = V::splat(simd, shift.max()) * units;
    let farthest = farthest::<V>(simd, shift.factor().nearest() / unit);
    let mut sums = [V::sum_zero(simd); 3];
    part.visit(
        simd,
        [V::Elem::NEG_INFINITY],
        #[inline(always)]
        |[x]: [V; 1]| {
            let away = max - x * units;
            let leaves = Leaves::new(simd, away, weigh.weights(simd, x).rounded, farthest);
            sums[0] = leaves.add_to(0, sums[0]);
            sums[1] = leaves.add_to(1, sums[1]);
            sums[2] = leaves.add_to(2, sums[2]);
        },
    );
    let [lower, distances, tops] = sums;
    // No `map`: the compiler leaves it out of line.
    [
        V::sum_total(lower),
        V::sum_total(distances) / Wide::<V::Elem>::of(unit),
        V::sum_total(tops),
    ]
}

/// The entropy of a row of these parts, whose largest logit `max`, less the offset and times the factor, has this weight.
#[inline(always)]
pub fn entropy<W: WideFloat>(
    [lower, distances, tops]: [W; 3],
    factor: W,
    weight: W,
    ln_unit: W,
    max: W,
) -> W {
    let others = lower + (tops - W::ONE) * weight;
    let nll = W::negative_log_likelihood(others, weight, ln_unit, max);
    nll + factor * distances / (others + weight)
}

impl<T: Real> Ordinary<T> {
    /// What is wanted of the row, but for its log-probability.
    #[inline(always)]
    pub fn found<V: Vector<Elem = T>>(&self, wanted: Wanted) -> Found<T> {
        let ln_unit = self.shift.ln_unit::<V>();
        let mut found = Found {
            log_sum_exp: self.shift.scaled_offset() + self.log::<V>(),
            argmax: self.top,
            ..Found::default()
        };
        if wanted.entropies {
            let max = self.shift.max();
            let weight = self.shift.accurate_weight::<V>(max);
            let [.., lower, distances, tops] = self.beside.more;
            let parts = [lower, distances, tops];
            let (factor, max) = (self.shift.factor(), self.shift.logit(max));
            found.entropy = entropy(parts, factor, weight, ln_unit, max);
        }
        found
    }
}

impl<T: Real> Found<T> {
    /// Of a row without weights.
    #[inline(always)]
    pub fn special(extent: Extent<T>, top: Top, masked_rows: MaskedRows) -> Self {
        // No class has any probability.
        let zeros = masked_rows.gives_zeros(extent);
        Self {
            log_sum_exp: logsumexp::of_special(extent),
            log_prob: if zeros {
                T::NEG_INFINITY.to_wide()
            } else {
                T::NAN.to_wide()
            },
            entropy: if zeros {
                Wide::<T>::ZERO
            } else {
                T::NAN.to_wide()
            },
            argmax: top,
        }
    }
}

/// What is wanted of sixteen rows, a row in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Known<V: Vector> {
    /// The columns of the largest logits.
    top: V,
    parts: Option<[[Wide<V::Elem>; ROWS]; 3]>,
}

impl<V: Vector> Known<V> {
    /// Of a block, whose first columns are logits.
    #[inline(always)]
    pub fn of_block<const C: usize>(
        simd: V::Simd,
        block: &mut Block<V, C>,
        shifts: &Shifts<V>,
        wanted: Wanted,
    ) -> Option<Self> {
        if !wanted.any {
            return None;
        }
        Some(simd.out_of_line(
            #[inline(always)]
            move || Self::of_block_here(simd, block, shifts, wanted),
        ))
    }

    #[inline(always)]
    fn of_block_here<const C: usize>(
        simd: V::Simd,
        block: &mut Block<V, C>,
        shifts: &Shifts<V>,
        wanted: Wanted,
    ) -> Self {
        let mut known = Self {
            top: shifts.max,
            parts: None,
        };
        if wanted.argmax {
            known.top = block.top(simd, shifts.max);
        }
        if wanted.entropies {
            let mut parts = [[Wide::<V::Elem>::ZERO; ROWS]; 3];
            for (part, sums) in parts.iter_mut().enumerate() {
                *sums = part_of_block(simd, block, shifts, part);
            }
            known.parts = Some(parts);
        }
        known
    }

    /// What is found of the rows, given the sums of their weights, but for their log-probabilities.
    #[inline(always)]
    pub fn found(
        &self,
        simd: V::Simd,
        shifts: &Shifts<V>,
        sums: [Wide<V::Elem>; ROWS],
    ) -> [Found<V::Elem>; ROWS] {
        simd.out_of_line(
            #[inline(always)]
            move || self.found_here(simd, shifts, sums),
        )
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a column is a small number"
    )]
    fn found_here(
        &self,
        simd: V::Simd,
        shifts: &Shifts<V>,
        sums: [Wide<V::Elem>; ROWS],
    ) -> [Found<V::Elem>; ROWS] {
        let (ln_unit, top) = (shifts.ln_unit(simd), self.top.widen());
        let (mut found, mut logs) = ([Found::default(); ROWS], sums);
        WideFloat::ln_of_rows(simd, &mut logs);
        for i in 0..ROWS {
            found[i].log_sum_exp = logs[i] + ln_unit[i];
            found[i].argmax = top[i].nearest() as usize;
        }
        if let Some([lower, distances, tops]) = &self.parts {
            let max = shifts.logits(simd, shifts.max);
            let weights = Shifts::<V>::accurate_weights(simd, &max, &ln_unit);
            for i in 0..ROWS {
                let parts = [lower[i], distances[i], tops[i]];
                let factor = shifts.factor();
                found[i].entropy = entropy(parts, factor, weights[i], ln_unit[i], max[i]);
            }
        }
        found
    }
}

#[inline(always)]
fn part_of_block<V: Vector, const C: usize>(
    simd: V::Simd,
    block: &mut Block<V, C>,
    shifts: &Shifts<V>,
    part: usize,
) -> [Wide<V::Elem>; ROWS] {
    let weigh = Weigh::<V, false>::of_rows(simd, shifts);
    let farthest = farthest::<V>(simd, shifts.factor().nearest());
    block.fold(
        simd,
        #[inline(always)]
        |sum, _, columns| {
            let x = columns[0];
            let weights = weigh.weights(simd, x).rounded;
            Leaves::new(simd, shifts.max - x, weights, farthest).add_to(part, sum)
        },
    )
}
