//! Cross-entropy of a row and a distribution over its classes, and its gradient.
//!
//! With logits `z = s x`, the share `q_k` of every class and `M = sum q`:
//!
//! `L = sum q_k (lse - z_k) + c lse^2`, `dL/dx_k = s ((M + 2 c lse) p_k - q_k)`
//!
//! With the target `t`, class weights `w` and the label smoothing `e` of `K` classes, `q_k = w_k ((1 - e) t_k + e / K)`, as in `PyTorch`. A row
//! whose `t` is 0 throughout counts for nothing.
//!
//! The largest logit is left out of the sum of weights, as in log-softmax, and of that of shares. So with `p` of it, `others` its rivals' weights,
//! and `rest` their shares, `L = M (-ln p) + sum q_k (max - z_k)`, where no term is negative if no share is, and its gradient is `s (rest -
//! M others / sum)`: full relative accuracy where a row is sure of its target, and the numbers that an index has, if the distribution is one.
//!
//! The second sum is `max rest - sum q_k z_k`, in `f64` with exact products. What it loses there does not show: over a chunk, 256 additions
//! in each lane lose `2^-45 |max| rest`, where `|max|` is at most `2^16`. If `max - z_k` is more than 1/2, that is `2^-28` of it, and if it is
//! less, the first term is at least 0.4 `rest`. Beyond, the maximum is subtracted first, as in the weights: an error of 1 more, where an element is less
//! than half of it.
//!
//! Errors, in `u = 2^-24`, of which an ULP is at least one. A loss of shares that are not negative: 0.6 for the sum of weights, 1 for the products
//! of weights and probabilities, if there are weights, and 0.5 for itself: 1.1 ULP, or 2.1 (1 more beyond `2^16`); with a z-loss, of the largest of its terms, and 0.7 more, as in
//! `cross_entropy.rs`. A gradient, in ULP of the larger of the two that are subtracted: the weight 1.1, the sum 0.6, the share 0.5, and two sums 0.5
//! each: 3.2. With smoothing, `e / K` and its sum 0.5 each, with weights 1 for each of two products, with a z-loss 0.6 for `lse`: 6.8 in all. (The product of a weight and a probability that is less than `2^-126` is rounded as a
//! subnormal number, by `2^-150`, before it is multiplied by the factor of gradients.)

use super::block::{self, Block, ROWS, Work, column};
use super::chunks::Chunks;
use super::cross_entropy::{
    CrossEntropy, LARGEST_LSE, is_moderate, is_moderate_share, share, write_one_by_one,
};
use super::entropy::Known;
use super::row::{self, LeftOut, Ordinary, Outcome, RowWork};
use super::scale::Scale;
use super::shift::{Shift, Shifts};
use super::step::{Open, Shared, Weighing};
use super::weights::{Extent, Factor};
use super::wide::{Wide, WideFloat};
use super::{entropy, rounded, tree};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::outputs::{Found, Outputs as _, RowOutputs, Wanted};
use crate::rows::{Columns, Pass, Peek, Recut, Row, Rows, RowsMut, Split as _};
use crate::simd::{Kernel, Simd, Vector};
use crate::targets::{Answers, Probs};

/// What [`CrossEntropy`] does, with the same options.
#[derive(Clone, Copy, Debug)]
pub struct SoftCrossEntropy<'a, T: Float>(pub CrossEntropy<'a, T, false>);

/// What is done with a batch: its rows, their targets, and where to write what is found of them.
pub type SoftData<'a, R, T> = (R, Answers<'a, T, Probs<'a, T>>, RowOutputs<'a, T>);

impl<T: Real> Kernel<SoftData<'_, Rows<'_, T, 1>, T>> for SoftCrossEntropy<'_, T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: SoftData<'_, Rows<'_, T, 1>, T>) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, data)
    }
}

impl<T: Real> Kernel<SoftData<'_, RowsMut<'_, T, 1>, T>> for SoftCrossEntropy<'_, T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: SoftData<'_, RowsMut<'_, T, 1>, T>) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, data)
    }
}

impl<T: Real> SoftCrossEntropy<'_, T> {
    #[inline(always)]
    fn batch<V: Vector<Elem = T>, R>(&self, simd: V::Simd, mut data: SoftData<'_, R, T>) -> Wide<T>
    where
        R: Columns<T> + Peek<T, 1, Item: Pass<T, 1>>,
    {
        let (rows, answers, outputs) = &mut data;
        let mut batch = Batch {
            kernel: self,
            wanted: outputs.wanted(),
            answers,
            outputs,
            sum: tree::Sum::new(),
            read: 0,
            done: 0,
        };
        block::each::<V, R, _, 1, 2>(simd, rows, &mut batch);
        batch.sum.total()
    }

    /// The gradient with respect to the loss of a row, times the factor of the logits.
    #[inline(always)]
    fn grad(&self, answers: &Answers<'_, T, Probs<'_, T>>, row: usize) -> Wide<T> {
        let grad = self.0.grad();
        match answers.upstream {
            Some(upstream) => grad * upstream[row].to_wide(),
            None => grad,
        }
    }

    /// Whether a row of no target mass would count, if it were not left out.
    #[inline(always)]
    fn counts_all(&self) -> bool {
        self.0.shares[1] != Wide::<T>::ZERO || self.0.z_loss != 0.0
    }

    /// Whether the gradients of a row of this mass are so moderate that vectors of elements hold them and the parts that they are
    /// made of. Others are made one by one, so this may depend on nothing that a block of rows does not know as well.
    #[inline(always)]
    fn is_moderate(&self, g: Wide<T>, mass: Wide<T>) -> bool {
        let (g, mass) = (g.nearest(), mass.nearest());
        let share = g * self.0.shares[1].nearest();
        let is_moderate_share = is_moderate_share(share, self.0.largest_weight);
        // Shares are numbers of the element type, and with them their products with weights.
        let range = LEAST_MASS..=1.0 / LEAST_MASS;
        let z_loss = g * self.0.z_loss * LARGEST_LSE;
        is_moderate_share
            & is_moderate(g * mass)
            & is_moderate(z_loss)
            & (mass == 0.0 || range.contains(&mass.abs()))
            & (g == 0.0 || range.contains(&g.abs()))
    }

    /// What the probabilities of a row are multiplied by, and its gradient at the largest logit.
    #[inline(always)]
    fn gradient(
        &self,
        g: Wide<T>,
        [others, weight]: [Wide<T>; 2],
        shares: &RowShares<T>,
        lse: Wide<T>,
    ) -> [Wide<T>; 2] {
        let unit = g / (others + weight);
        let pull = unit * (Wide::<T>::of(2.0 * self.0.z_loss) * lse);
        let factor = unit * shares.mass();
        [
            factor + pull,
            (g * shares.rest - factor * others) + pull * weight,
        ]
    }

    /// The loss of a row, of which the largest logit has this negative log-likelihood.
    #[inline(always)]
    fn loss(&self, nll: Wide<T>, shares: &RowShares<T>, lse: Wide<T>) -> Wide<T> {
        let loss = share(shares.mass(), nll) + self.0.scale.wide_factor() * shares.distances;
        loss + Wide::<T>::of(self.0.z_loss) * (lse * lse)
    }

    /// The log-probability of the target: `nll` is that of [`loss`](Self::loss), and the numbers are as in [`shares`](Self::shares), but without weights.
    #[inline(always)]
    fn log_prob(
        nll: Wide<T>,
        [rest, dot, top]: [Wide<T>; 3],
        factor: Wide<T>,
        max: Wide<T>,
    ) -> Wide<T> {
        -(share(rest + top, nll) + factor * (max * rest - dot))
    }

    /// Whether sums without weights are wanted as well.
    #[inline(always)]
    fn sums_twice(&self, wanted: Wanted) -> bool {
        wanted.log_probs && self.0.class_weights.is_some()
    }

    /// What is known of the shares of a row, from its sums beside the weights, the weight of the class with the largest logit, and that logit, less the
    /// offset. The sums are, of all classes but that: of weighted probabilities, of these times logits, of weights times logits, of weights; and the
    /// weighted probability of that class comes before the last.
    #[inline(always)]
    fn shares(
        &self,
        [rest, dot, even_dot, top, even_rest]: [Wide<T>; 5],
        top_weight: Wide<T>,
        max: Wide<T>,
    ) -> RowShares<T> {
        let [keep, add] = self.0.shares;
        let mut shares = RowShares {
            rest: keep * rest,
            top: keep * top,
            distances: share(keep, max * rest - dot),
        };
        if add != Wide::<T>::ZERO {
            shares.rest += add * even_rest;
            shares.top += add * top_weight;
            shares.distances += add * (max * even_rest - even_dot);
        }
        shares
    }
}

/// What is known of the shares of a row.
#[derive(Clone, Copy, Debug)]
struct RowShares<T: Float> {
    /// The sum of those of all classes but the one of the largest logit, and that one's.
    rest: Wide<T>,
    top: Wide<T>,
    /// The sum of all, each times its distance from the largest logit.
    distances: Wide<T>,
}

impl<T: Real> RowShares<T> {
    /// Of nothing.
    #[inline(always)]
    fn new() -> Self {
        let zero = Wide::<T>::ZERO;
        Self {
            rest: zero,
            top: zero,
            distances: zero,
        }
    }

    #[inline(always)]
    fn mass(&self) -> Wide<T> {
        self.rest + self.top
    }
}

/// Masses and gradients from this on, and up to its inverse, have products with floats near 1 that are normal numbers.
const LEAST_MASS: f64 = 1.0 / (1_u64 << 60) as f64;

/// The shares of classes, times a factor.
#[derive(Clone, Copy, Debug)]
struct Shares<V> {
    /// What the target's probabilities are multiplied by, and what is added; before the weights are.
    keep: Factor<V>,
    add: V,
}

impl<V: Vector> Shares<V> {
    #[inline(always)]
    fn new(simd: V::Simd, [keep, add]: [Wide<V::Elem>; 2], factor: Wide<V::Elem>) -> Self {
        Self {
            keep: Factor::new(simd, factor * keep),
            add: V::splat(simd, V::Elem::from_wide(factor * add)),
        }
    }

    /// Of sixteen rows, a row in a lane.
    #[inline(always)]
    fn of_rows(
        simd: V::Simd,
        [keep, add]: [Wide<V::Elem>; 2],
        factors: [Wide<V::Elem>; ROWS],
    ) -> Self {
        let (mut keeps, mut adds) = (factors, factors);
        for i in 0..ROWS {
            keeps[i] = factors[i] * keep;
            adds[i] = factors[i] * add;
        }
        Self {
            keep: Factor::of_rows(simd, &keeps),
            add: V::narrow(simd, &adds),
        }
    }

    /// Of a vector of the target's probabilities, and the weights of its classes.
    #[inline(always)]
    fn of(&self, target: V, weights: Option<V>) -> V {
        let (target, add) = match weights {
            Some(weights) => (weights * target, weights * self.add),
            None => (target, self.add),
        };
        self.keep.product_added_to(target, add)
    }
}

/// A probability times the weight of its class, if it has one.
#[inline(always)]
fn weighted<V: Vector>(target: V, weights: Option<V>) -> V {
    match weights {
        Some(weights) => weights * target,
        None => target,
    }
}

/// Logits, where they have a share: a share of 0 has no part of an infinite one.
#[inline(always)]
fn counted<V: Vector>(zero: V, share: V, x: V) -> V {
    V::select(share.eq(zero), zero, x)
}

/// What goes with the rows of a batch, and how many are done.
struct Batch<'a, 'b, T: Float> {
    kernel: &'a SoftCrossEntropy<'a, T>,
    answers: &'a Answers<'b, T, Probs<'b, T>>,
    outputs: &'a mut RowOutputs<'b, T>,
    wanted: Wanted,
    sum: tree::Sum<Wide<T>>,
    /// Rows that are read in blocks, and those that are finished.
    read: usize,
    done: usize,
}

/// Of sixteen rows: the shifts, the columns of the largest logits, the sum of the others' weights, the shares, the gradients with respect to the losses, and
/// whether there is any target mass; and what else is wanted of them.
#[derive(Clone, Copy)]
struct Prepared<V: Vector> {
    known: Option<Known<V>>,
    shifts: Shifts<V>,
    top: V,
    others: [Wide<V::Elem>; ROWS],
    shares: [RowShares<V::Elem>; ROWS],
    /// Of log-probabilities: see [`SoftCrossEntropy::log_prob`].
    dots: [[Wide<V::Elem>; ROWS]; 3],
    grad: [Wide<V::Elem>; ROWS],
    counts: [bool; ROWS],
}

impl<T: Real> Batch<'_, '_, T> {
    /// The weight of a class, in each lane.
    #[inline(always)]
    fn weight<V: Vector<Elem = T>>(&self, simd: V::Simd, class: usize) -> Option<V> {
        self.kernel.0.class_weights.map(
            #[inline(always)]
            |weights| V::splat(simd, weights[class]),
        )
    }

    /// The gradients with respect to the losses of sixteen rows, times the factor of the logits.
    #[inline(always)]
    fn grads(&self, first: usize) -> [Wide<T>; ROWS] {
        let mut grads = [self.kernel.0.grad(); ROWS];
        if let Some(upstream) = self.answers.upstream {
            for (grad, &upstream) in grads.iter_mut().zip(&upstream[first..]) {
                *grad *= upstream.to_wide();
            }
        }
        grads
    }
}

impl<V: Vector, R> Work<V, R, 1, 2> for Batch<'_, '_, V::Elem>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1, Item: Pass<V::Elem, 1>>,
{
    const LEAST: usize = 6;
    /// And the first row.
    type Read = Option<(Shifts<V>, usize)>;
    type Left = ();
    type Prepared = Prepared<V>;

    #[inline(always)]
    fn read(&mut self, simd: V::Simd, block: &mut Block<V, 2>, rows: &R) -> Self::Read {
        let first = self.read;
        self.read += ROWS;
        let kernel = self.kernel;
        if kernel.sums_twice(self.wanted) {
            return None;
        }
        let shifts = block.read_shifts(simd, rows, &kernel.0.scale)?;
        let targets = Rows::of(self.answers.targets.from(first), rows.classes());
        block.read_beside(simd, &targets);
        Some((shifts, first))
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        read: Self::Read,
    ) -> Option<Prepared<V>> {
        let (shifts, first) = read?;
        self.prepare_columns(simd, block, shifts, first)
    }

    #[inline(always)]
    fn finish(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        mut rows: R,
        prepared: Prepared<V>,
    ) {
        let count = rows.rows();
        self.finish_columns(simd, block, count, R::WRITES, &prepared);
        if R::WRITES {
            block.write(simd, &mut rows);
        }
    }

    #[inline(always)]
    fn row(
        &mut self,
        simd: V::Simd,
        mut row: R::Item,
        max: Option<V>,
        chunks: &mut Chunks<V::Elem>,
        ahead: Row<'_, V::Elem, 1>,
    ) -> (Option<()>, Option<V>) {
        let i = self.done;
        let wanted = self.wanted;
        let (loss, next_max) = if let Some(work) = self.kernel.toward(self.answers, i, wanted) {
            let (outcome, next_max) = row::row(simd, &mut row, &work, max, chunks, ahead);
            if wanted.any {
                self.outputs.put(i, &work.found::<V>(&outcome));
            }
            (work.loss::<V>(&outcome), next_max)
        } else {
            row.fill(V::Elem::ZERO);
            self.outputs.put(i, &Found::default());
            (Wide::<V::Elem>::ZERO, None)
        };
        if let Some(losses) = self.outputs.losses_mut() {
            losses[i] = rounded(loss);
        }
        self.sum.push(loss);
        self.done += 1;
        (None, next_max)
    }

    #[inline(always)]
    fn finish_row(&mut self, _: V::Simd, (): ()) {}
}

/// What is done with sixteen rows between reading and writing them: out of line, once for rows that have a destination and for those that have none.
impl<T: Real> Batch<'_, '_, T> {
    #[inline(always)]
    fn prepare_columns<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        shifts: Shifts<V>,
        first: usize,
    ) -> Option<Prepared<V>> {
        simd.out_of_line(
            #[inline(always)]
            move || self.prepare_here(simd, block, shifts, first),
        )
    }

    #[inline(always)]
    fn finish_columns<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: usize,
        writes: bool,
        prepared: &Prepared<V>,
    ) {
        simd.out_of_line(
            #[inline(always)]
            move || self.finish_here(simd, block, rows, writes, prepared),
        );
    }

    #[inline(always)]
    fn prepare_here<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        shifts: Shifts<V>,
        first: usize,
    ) -> Option<Prepared<V>> {
        let kernel = self.kernel;
        let top = block.top(simd, shifts.max);
        let (zero, one) = (V::splat(simd, V::Elem::ZERO), V::splat(simd, V::Elem::ONE));
        let rest = block.fold(
            simd,
            #[inline(always)]
            |sum, k, [_, target]| {
                let share = weighted(target, self.weight(simd, k));
                V::sum_add(sum, V::select(column::<V>(simd, k).eq(top), zero, share))
            },
        );
        let dot = block.fold(
            simd,
            #[inline(always)]
            |sum, k, [x, target]| {
                let share = weighted(target, self.weight(simd, k));
                let share = V::select(column::<V>(simd, k).eq(top), zero, share);
                V::sum_add_product(sum, share, counted(zero, share, x))
            },
        );
        let nothing = [Wide::<V::Elem>::ZERO; ROWS];
        let (mut even_dot, mut even_rest) = (nothing, nothing);
        if kernel.0.shares[1] != Wide::<V::Elem>::ZERO {
            even_rest = block.fold(
                simd,
                #[inline(always)]
                |sum, k, _| {
                    let weight = weighted(one, self.weight(simd, k));
                    V::sum_add(sum, V::select(column::<V>(simd, k).eq(top), zero, weight))
                },
            );
            even_dot = block.fold(
                simd,
                #[inline(always)]
                |sum, k, [x, _]| {
                    let weight = weighted(one, self.weight(simd, k));
                    let weight = V::select(column::<V>(simd, k).eq(top), zero, weight);
                    V::sum_add_product(sum, weight, counted(zero, weight, x))
                },
            );
        }
        let (mut top_share, mut top_weight, mut largest) = (zero, one, zero);
        for k in 0..block.columns().len() {
            let ([_, target], weight) = (block.column(k), self.weight(simd, k));
            let is_top = column::<V>(simd, k).eq(top);
            top_share = V::select(is_top, weighted(target, weight), top_share);
            top_weight = V::select(is_top, weighted(one, weight), top_weight);
            largest = target.abs().max(largest);
        }
        let mut counts = [true; ROWS];
        if kernel.counts_all() | self.wanted.any {
            for (counts, largest) in counts.iter_mut().zip(largest.widen()) {
                *counts = largest > Wide::<V::Elem>::ZERO;
            }
        }
        let (top_share, top_weight) = (top_share.widen(), top_weight.widen());
        let (max, grad) = (shifts.max.widen(), self.grads(first));
        let mut shares = [RowShares::new(); ROWS];
        let mut is_ordinary = true;
        for i in 0..ROWS {
            let sums = [rest[i], dot[i], even_dot[i], top_share[i], even_rest[i]];
            let of_row = kernel.shares(sums, top_weight[i], max[i]);
            is_ordinary &= kernel.is_moderate(grad[i], of_row.mass()) & !of_row.distances.is_nan();
            shares[i] = of_row;
        }
        if !is_ordinary {
            return None;
        }
        let known = Known::of_block(simd, block, &shifts, self.wanted);
        let others = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |k, x, weights| {
                *x = weights.rounded;
                weights.without(simd, column::<V>(simd, k).eq(top))
            },
        )?;
        Some(Prepared {
            known,
            shifts,
            top,
            others,
            shares,
            dots: [rest, dot, top_share],
            grad,
            counts,
        })
    }

    #[inline(always)]
    fn finish_here<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V, 2>,
        rows: usize,
        writes: bool,
        prepared: &Prepared<V>,
    ) {
        let Prepared {
            known,
            shifts,
            top,
            others,
            shares,
            dots: [rest, dot, top_share],
            grad,
            counts,
        } = *prepared;
        let kernel = self.kernel;
        let (logit, ln_unit) = (shifts.logits(simd, shifts.max), shifts.ln_unit(simd));
        let weights = Shifts::<V>::accurate_weights(simd, &logit, &ln_unit);
        let zero = Wide::<V::Elem>::ZERO;
        let mut lse = [zero; ROWS];
        if kernel.0.z_loss != 0.0 {
            for i in 0..ROWS {
                lse[i] = others[i] + weights[i];
            }
            WideFloat::ln_of_rows(simd, &mut lse);
            for i in 0..ROWS {
                lse[i] += ln_unit[i];
            }
        }
        let mut losses =
            WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &logit);
        for i in 0..ROWS {
            let loss = kernel.loss(losses[i], &shares[i], lse[i]);
            losses[i] = if counts[i] { loss } else { zero };
        }
        if writes {
            let (mut factors, mut at_top, mut less) = (others, others, others);
            for i in 0..ROWS {
                let sums = [others[i], weights[i]];
                let [factor, grad_at_top] = kernel.gradient(grad[i], sums, &shares[i], lse[i]);
                factors[i] = if counts[i] { factor } else { zero };
                at_top[i] = if counts[i] { grad_at_top } else { zero };
                less[i] = if counts[i] { -grad[i] } else { zero };
            }
            let zero = V::splat(simd, V::Elem::ZERO);
            let at_top = V::narrow(simd, &at_top) + zero;
            let factors = Factor::of_rows(simd, &factors);
            let shares = Shares::of_rows(simd, kernel.0.shares, less);
            block.map(
                #[inline(always)]
                |k, [weight, target]| {
                    let share = shares.of(target, self.weight(simd, k));
                    let grad = factors.product_added_to(weight, share) + zero;
                    V::select(column::<V>(simd, k).eq(top), at_top, grad)
                },
            );
        }
        if let Some(known) = known {
            let mut sums = others;
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight;
            }
            let mut found = known.found(simd, &shifts, sums);
            let max = shifts.max.widen();
            // Once more: to keep them would cost those who do not want them.
            let mut log_probs =
                WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &logit);
            for i in 0..ROWS {
                let (nll, max) = (log_probs[i], max[i]);
                let dots = [rest[i], dot[i], top_share[i]];
                log_probs[i] =
                    SoftCrossEntropy::<V::Elem>::log_prob(nll, dots, shifts.factor(), max);
            }
            for i in 0..ROWS.min(rows) {
                found[i].log_prob = log_probs[i];
                if !counts[i] {
                    found[i] = Found::default();
                }
                self.outputs.put(self.done + i, &found[i]);
            }
        }
        if let Some(slice) = self.outputs.losses_mut() {
            for (to, loss) in slice[self.done..].iter_mut().zip(losses) {
                *to = rounded(loss);
            }
        }
        self.sum.push_first(losses, rows);
        self.done += ROWS;
    }
}

impl<'a, T: Real> SoftCrossEntropy<'a, T> {
    /// The work on a row; none if it counts for nothing, though it would have a loss.
    #[inline(always)]
    fn toward(
        &self,
        answers: &Answers<'a, T, Probs<'a, T>>,
        row: usize,
        wanted: Wanted,
    ) -> Option<Toward<'a, T>> {
        let toward = Toward {
            kernel: *self,
            target: answers.targets.row(row),
            grad: self.grad(answers, row),
            wanted,
        };
        if (self.counts_all() | wanted.any) && !toward.has_mass() {
            return None;
        }
        Some(toward)
    }
}

/// What is subtracted from the logits of a row before they are multiplied by shares: nothing within `2^16`, of all scaled ones, where the head of
/// this file says that it need not be.
#[inline(always)]
fn offset_of<T: Real>(shift: &Shift<T>) -> T {
    const WITHIN: f64 = 65_536.0;
    if shift.factor().nearest() * shift.max().to_f64().abs() <= WITHIN {
        T::ZERO
    } else {
        shift.offset()
    }
}

/// The largest logit of a row, less that.
#[inline(always)]
fn max_of<T: Real>(row: &Ordinary<T>) -> Wide<T> {
    row.shift.max().to_wide() - offset_of(&row.shift).to_wide()
}

/// The work on one row.
#[derive(Clone, Copy, Debug)]
pub struct Toward<'a, T: Float> {
    kernel: SoftCrossEntropy<'a, T>,
    target: &'a [T],
    /// The gradient with respect to the loss of the row, times the factor of the logits.
    grad: Wide<T>,
    wanted: Wanted,
}

impl<T: Real> Toward<'_, T> {
    /// What is wanted beside the loss.
    #[inline(always)]
    fn found<V: Vector<Elem = T>>(&self, outcome: &Outcome<T>) -> Found<T> {
        match outcome {
            Outcome::Ordinary(row) => {
                let mut found = row.found::<V>(self.wanted);
                let [rest, dot, _, top, _] = row.beside.sums;
                let [bare_rest, bare_dot, bare_top, ..] = row.beside.more;
                let dots = if self.kernel.sums_twice(self.wanted) {
                    [bare_rest, bare_dot, bare_top]
                } else {
                    [rest, dot, top]
                };
                let (nll, factor) = (row.loss::<V>(), row.shift.factor());
                found.argmax = row.apart.index;
                found.log_prob = SoftCrossEntropy::<T>::log_prob(nll, dots, factor, max_of(row));
                found
            }
            &Outcome::Special(extent, top) => {
                Found::special(extent, top, self.kernel.0.masked_rows)
            }
        }
    }

    /// Whether the row counts for anything.
    #[inline(never)]
    fn has_mass(&self) -> bool {
        // Most rows say so at once, and vectors look for the one probability of others.
        let some = |probs: &[T]| {
            let zeros = probs.iter().filter(|&&prob| prob == T::ZERO);
            zeros.count() < probs.len()
        };
        self.target.chunks(64).any(some)
    }

    /// The share of a class.
    fn share(&self, class: usize) -> Wide<T> {
        let [keep, add] = self.kernel.0.shares;
        self.kernel.0.class_weight(class) * (keep * self.target[class].to_wide() + add)
    }

    /// The loss of the row.
    #[inline(always)]
    fn loss<V: Vector<Elem = T>>(&self, outcome: &Outcome<T>) -> Wide<T> {
        match *outcome {
            Outcome::Ordinary(row) => {
                let lse = self.lse::<V>(&row);
                self.kernel.loss(row.loss::<V>(), &self.shares(&row), lse)
            }
            Outcome::Special(extent, _) => self.special_loss(extent),
        }
    }

    #[inline(never)]
    fn special_loss(&self, extent: Extent<T>) -> Wide<T> {
        if !self.has_mass() {
            Wide::<T>::ZERO
        } else if self.kernel.0.masked_rows.gives_zeros(extent) {
            let classes = 0..self.target.len();
            let mass = classes.fold(Wide::<T>::ZERO, |mass, class| mass + self.share(class));
            let z_loss = Wide::<T>::of(self.kernel.0.z_loss);
            share(mass + z_loss, T::INFINITY.to_wide())
        } else {
            T::NAN.to_wide()
        }
    }

    #[inline(always)]
    fn shares(&self, row: &Ordinary<T>) -> RowShares<T> {
        let top_weight = self.kernel.0.class_weight(row.apart.index);
        self.kernel.shares(row.beside.sums, top_weight, max_of(row))
    }

    /// The log-sum-exp, if it is of use.
    #[inline(always)]
    fn lse<V: Vector<Elem = T>>(&self, row: &Ordinary<T>) -> Wide<T> {
        if self.kernel.0.z_loss == 0.0 {
            Wide::<T>::ZERO
        } else {
            row.shift.scaled_offset() + row.log::<V>()
        }
    }

    /// The target's probabilities of a part of the row, and the weights of its classes: vector by vector, 0 after the last class.
    #[inline(always)]
    fn targets<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        start: usize,
        len: usize,
        weights: Option<&[T]>,
    ) -> impl Fn(usize) -> (V, Option<V>) {
        let target = Row::of(&self.target[start..start + len]);
        let weights = weights.map(
            #[inline(always)]
            |weights| Row::of(&weights[start..start + len]),
        );
        #[inline(always)]
        move |i| {
            // In every sweep, and beyond the row: the next distribution lies there.
            target.places().ask_ahead::<V>(simd, i);
            let weights = weights.map(
                #[inline(always)]
                |weights| weights.vector_or(simd, i, T::ZERO),
            );
            (target.vector_or(simd, i, T::ZERO), weights)
        }
    }

    /// What [`SoftCrossEntropy::shares`] takes.
    #[inline(always)]
    fn dots<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        shift: &Shift<T>,
        left_out: usize,
        weights: Option<&[T]>,
    ) -> [Wide<T>; 5] {
        simd.out_of_line(
            #[inline(always)]
            move || self.dots_here::<V>(simd, part, start, shift, left_out, weights),
        )
    }

    #[inline(always)]
    fn dots_here<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        shift: &Shift<T>,
        left_out: usize,
        weights: Option<&[T]>,
    ) -> [Wide<T>; 5] {
        let (zero, one) = (V::splat(simd, T::ZERO), V::splat(simd, T::ONE));
        let is_smooth = self.kernel.0.shares[1] != Wide::<T>::ZERO;
        let targets = self.targets::<V>(simd, start, part.len(), weights);
        let offset = offset_of(shift);
        // The difference may be as large as two elements.
        let unit = if offset == T::ZERO { 1.0 } else { 0.5 };
        let units = V::constant(simd, unit);
        let less = V::splat(simd, offset) * units;
        let (block, lane) = (left_out / V::LANES, left_out % V::LANES);
        let (whole, after) = (part.len() / V::LANES, part.len() % V::LANES);
        let nothing = V::sum_zero(simd);
        let (mut rest, mut dot) = (nothing, nothing);
        let (mut even_rest, mut even_dot) = (nothing, nothing);
        let (mut top, mut i) = (zero, 0);
        part.visit(
            simd,
            [offset],
            #[inline(always)]
            |[x]: [V; 1]| {
                let x = x * units - less;
                let (target, weights) = targets(i);
                let mut share = weighted(target, weights);
                if i == block {
                    let is_top = V::lane(simd, lane);
                    top = V::select(is_top, share, zero);
                    share = V::select(is_top, zero, share);
                }
                rest = V::sum_add(rest, share);
                dot = V::sum_add_product(dot, share, counted(zero, share, x));
                if is_smooth {
                    let mut weight = weighted(one, weights);
                    if i == block {
                        weight = V::select(V::lane(simd, lane), zero, weight);
                    }
                    if i == whole {
                        weight = V::select(V::lanes_from(simd, after), zero, weight);
                    }
                    even_rest = V::sum_add(even_rest, weight);
                    even_dot = V::sum_add_product(even_dot, weight, counted(zero, weight, x));
                }
                i += 1;
            },
        );
        let top = V::sum_total(V::sum_add(nothing, top));
        let unit = Wide::<T>::of(unit);
        let (dot, even_dot) = (V::sum_total(dot) / unit, V::sum_total(even_dot) / unit);
        let even_rest = V::sum_total(even_rest);
        [V::sum_total(rest), dot, even_dot, top, even_rest]
    }
}

impl<T: Real> RowWork<T> for Toward<'_, T> {
    const KEEPS_WEIGHTS: bool = true;
    const SUMS_BESIDE: bool = true;
    const OUT_OF_LINE: bool = true;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        self.kernel.0.scale
    }

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Maximum
    }

    /// Of special rows: of others it is what is left out.
    #[inline(always)]
    fn finds_top(&self) -> bool {
        self.wanted.argmax
    }

    #[inline(always)]
    fn beside<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        shift: &Shift<T>,
        left_out: usize,
    ) -> [Wide<T>; 5] {
        let weights = self.kernel.0.class_weights;
        self.dots::<V>(simd, part, start, shift, left_out, weights)
    }

    #[inline(always)]
    fn sums_more(&self) -> bool {
        self.wanted.entropies | self.kernel.sums_twice(self.wanted)
    }

    #[inline(always)]
    fn more<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        shift: &Shift<T>,
        left_out: usize,
    ) -> [Wide<T>; 6] {
        let nothing = [Wide::<T>::ZERO; 3];
        let (mut bare, mut parts) = (nothing, nothing);
        if self.kernel.sums_twice(self.wanted) {
            let [rest, dot, _, top, _] = self.dots::<V>(simd, part, start, shift, left_out, None);
            bare = [rest, dot, top];
        }
        if self.wanted.entropies {
            parts = entropy::parts::<V>(simd, part, shift);
        }
        let ([rest, dot, top], [lower, distances, tops]) = (bare, parts);
        [rest, dot, top, lower, distances, tops]
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        if !self.grad.is_finite() {
            return part.fill(if self.has_mass() { T::NAN } else { T::ZERO });
        }
        let lse = self.lse::<V>(weighed);
        let sums = [weighed.sum, weighed.apart.weight];
        let shares = self.shares(weighed);
        let [factor, at_top] = self.kernel.gradient(self.grad, sums, &shares, lse);
        // Only rows beyond the reach, which no block has, have a larger one.
        let is_moderate =
            lse.nearest().abs() <= LARGEST_LSE && self.kernel.is_moderate(self.grad, shares.mass());
        if is_moderate {
            // Added to what a negative gradient leaves of nothing: 0 is positive.
            let zero = V::splat(simd, T::ZERO);
            let shares = Shares::new(simd, self.kernel.0.shares, -self.grad);
            let weights = self.kernel.0.class_weights;
            let targets = self.targets::<V>(simd, start, part.len(), weights);
            let factor = Factor::new(simd, factor);
            part.update(
                simd,
                #[inline(always)]
                |i, weight: V| {
                    let (target, weights) = targets(i);
                    factor.product_added_to(weight, shares.of(target, weights)) + zero
                },
            );
        } else {
            write_one_by_one(
                part,
                factor,
                #[inline(always)]
                |i| self.grad * self.share(start + i),
            );
        }
        let index = weighed.apart.index.wrapping_sub(start);
        if index < part.len() {
            part.set(index, rounded(at_top));
        }
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, start: usize, extent: Extent<T>) {
        if !self.has_mass() {
            return part.fill(T::ZERO);
        }
        // No probability for any class.
        if !self.kernel.0.masked_rows.gives_zeros(extent) || !self.grad.is_finite() {
            return part.fill(T::NAN);
        }
        for i in 0..part.len() {
            part.set(i, rounded(-(self.grad * self.share(start + i))));
        }
    }
}

impl<'a, T: Real, R> Shared<SoftData<'a, R, T>> for SoftCrossEntropy<'a, T>
where
    Self: Kernel<SoftData<'a, R, T>, Output = Wide<T>>,
    R: Columns<T> + Peek<T, 1> + Recut,
{
    type Elem = T;
    type Work = Weighing<Toward<'a, T>>;
    type Rows = R;
    type Rest = RowOutputs<'a, T>;

    fn open(
        &self,
        (mut row, answers, mut outputs): SoftData<'a, R, T>,
    ) -> Result<Open<SoftData<'a, R, T>, Self>, Wide<T>> {
        if let Some(work) = self.toward(&answers, 0, outputs.wanted()) {
            return Ok(Open {
                work: Weighing(work),
                chunks: row.in_chunks(),
                rest: outputs,
            });
        }
        row.whole().fill(T::ZERO);
        outputs.put(0, &Found::default());
        if let Some(losses) = outputs.losses_mut() {
            losses.fill(T::ZERO);
        }
        Err(Wide::<T>::ZERO)
    }

    #[inline(always)]
    fn close<V: Vector<Elem = T>>(
        &self,
        Weighing(work): &Self::Work,
        outcome: &Outcome<T>,
        mut outputs: Self::Rest,
    ) -> Wide<T> {
        let loss = work.loss::<V>(outcome);
        if work.wanted.any {
            outputs.put(0, &work.found::<V>(outcome));
        }
        if let Some(losses) = outputs.losses_mut() {
            losses.fill(rounded(loss));
        }
        loss
    }
}

/// The sum of the elements of rows, each times the weight of its class.
#[derive(Clone, Copy, Debug)]
pub struct Mass<'a, T>(pub &'a [T]);

impl<T: Real> Kernel<Rows<'_, T, 1>> for Mass<'_, T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, mut rows: Rows<'_, T, 1>) -> Wide<T> {
        tree::sum(
            rows.rows(),
            #[inline(always)]
            |_| {
                let (mut sum, mut i) = (T::Vector::<S>::sum_zero(simd), 0);
                if let Some(row) = rows.next() {
                    // As long as the row, so the compiler sees no short vector in the loop.
                    let weights = Row::of(&self.0[..row.len()]);
                    row.visit(
                        simd,
                        [T::ZERO],
                        #[inline(always)]
                        |[x]: [T::Vector<S>; 1]| {
                            let weights = weights.vector_or(simd, i, T::ZERO);
                            sum = T::Vector::<S>::sum_add_product(sum, weights, x);
                            i += 1;
                        },
                    );
                }
                T::Vector::<S>::sum_total(sum)
            },
        )
    }
}
