//! Cross-entropy of a row and its target class, and its gradient.
//!
//! With logits `z = s x`, the share `h` of the target `t` and `b_k` of every class, and `M = h + sum b`:
//!
//! `L = M lse - h z_t - sum b_k z_k + c lse^2`, `dL/dx_k = s ((M + 2 c lse) p_k - b_k - h [k = t])`
//!
//! Without label smoothing `b` is 0 and `h` the weight of the class `t`, 1 by default: `L = -ln p_t`, and `p - 1` at the target. With
//! smoothing `e` and `K` classes, `h = (1 - e) w_t` and `b_k = e w_k / K`, as in `PyTorch`. `c` is the weight of the z-loss.
//!
//! The target is left out of the sum of weights. So where `p_t` is near 1, `-ln p_t = ln(1 + others / w_t)` and `p_t - 1 = -others /
//! sum` keep full relative accuracy, down to the last row that is not quite sure. What smoothing and z-loss add there are terms of
//! their own.
//!
//! Errors, in `u = 2^-24`, of which an ULP is at least one. A loss is rounded once, and its log-sum-exp off by the 0.6 of the sum of
//! weights: 1.1 ULP of the largest term, 1.8 with its square, where `lse - z_k` and `lse` count as 1 at least. Gradient with smoothing or z-loss, of the larger of the
//! two that are subtracted: the weight 1.1, the sum 0.6, that of `lse` in the factor 0.6, `b_k` rounded 1, and the difference 0.5: 3.8.

use super::abreast::{self, Abreast, LeavesOut, Seen};
use super::block::{Block, ROWS, Work, column, has_nan};
use super::chunks::Chunks;
use super::entropy::Known;
use super::row::{self, LeftOut, Ordinary, Outcome, RowWork};
use super::scale::Scale;
use super::shift::{Shift, Shifts};
use super::step::{Open, Shared, Weighing};
use super::weights::{Extent, Factor, lightest, scale, scales};
use super::wide::{Wide, WideFloat};
use super::{MaskedRows, entropy, log, rounded, tree};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::outputs::{Found, Outputs, Wanted};
use crate::rows::{Columns, Pass, Peek, Recut, Row, Rows, RowsMut};
use crate::simd::{Kernel, Simd, Vector};
use crate::targets::Answers;

/// The sum of the losses of the rows; the losses one by one, where there is a slice for them; and
/// the gradient, where the rows have a destination.
///
/// `PLAIN`: no option is on, but that for masked rows: known when the kernel is compiled, so that options cost nothing.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a, T: Float, const PLAIN: bool> {
    pub masked_rows: MaskedRows,
    /// What every gradient is multiplied by.
    pub grad_scale: Wide<T>,
    /// The factor of the logits.
    pub scale: Scale<T>,
    /// The weight of the square of the log-sum-exp.
    pub z_loss: f64,
    /// The share of the target, and that of every class, before they are multiplied by the weight of the class.
    pub shares: [Wide<T>; 2],
    /// One a class, their sum, and the largest.
    pub class_weights: Option<&'a [T]>,
    pub total_weight: Wide<T>,
    pub largest_weight: f64,
}

/// What is done with a batch: its rows, their targets, and where to write their losses; perhaps more that is known of them.
pub type Data<'a, R, T, O = Option<&'a mut [T]>> = (R, Answers<'a, T>, O);

impl<T: Real, O: Outputs<T>, const PLAIN: bool> Kernel<Data<'_, Rows<'_, T, 1>, T, O>>
    for CrossEntropy<'_, T, PLAIN>
{
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: Data<'_, Rows<'_, T, 1>, T, O>) -> Wide<T> {
        self.batch::<T::Vector<S>, _, _>(simd, data)
    }
}

impl<T: Real, O: Outputs<T>, const PLAIN: bool> Kernel<Data<'_, RowsMut<'_, T, 1>, T, O>>
    for CrossEntropy<'_, T, PLAIN>
{
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: Data<'_, RowsMut<'_, T, 1>, T, O>) -> Wide<T> {
        self.batch::<T::Vector<S>, _, _>(simd, data)
    }
}

impl<T: Real, const PLAIN: bool> CrossEntropy<'_, T, PLAIN> {
    #[inline(always)]
    fn batch<V: Vector<Elem = T>, R, O: Outputs<T>>(
        &self,
        simd: V::Simd,
        mut data: Data<'_, R, T, O>,
    ) -> Wide<T>
    where
        R: Columns<T> + Peek<T, 1, Item: Pass<T, 1>>,
    {
        let (rows, answers, outputs) = &mut data;
        let mut batch = Batch {
            options: self,
            upcoming: [0; ROWS],
            wanted: outputs.wanted(),
            answers,
            outputs,
            sum: tree::Sum::new(),
            unfinished: None,
            read: 0,
            done: 0,
        };
        abreast::each::<V, R, _, 4>(simd, rows, &mut batch);
        debug_assert!(batch.unfinished.is_none(), "losses that are lost");
        batch.sum.total()
    }

    /// Whether the gradients of a row whose loss has the gradient `g`, and whose target the share `hard`, are so moderate that
    /// vectors of elements hold them and the parts that they are made of. Others are made one by one, so this may depend on
    /// nothing that a block of rows does not know as well.
    #[inline(always)]
    fn is_moderate(&self, g: Wide<T>, hard: Wide<T>) -> bool {
        let (g, hard) = (g.nearest(), hard.nearest());
        let share = g * self.shares[1].nearest();
        // The log-sum-exp, which is multiplied by twice its weight, is below 2^17.
        PLAIN
            || is_moderate(g * hard)
                & is_moderate(share * self.total_weight.nearest())
                & is_moderate(g * self.z_loss * LARGEST_LSE)
                & is_moderate_share(share, self.largest_weight)
    }

    /// The factor of the logits.
    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        if PLAIN { Scale::one() } else { self.scale }
    }

    /// The gradient with respect to the loss of a row, times the factor of the logits.
    #[inline(always)]
    pub fn grad(&self) -> Wide<T> {
        if PLAIN {
            self.grad_scale
        } else {
            self.grad_scale * self.scale.wide_factor()
        }
    }

    /// The weights of the classes, if they have any.
    #[inline(always)]
    fn class_weights(&self) -> Option<&[T]> {
        self.class_weights.filter(|_| !PLAIN)
    }

    /// Whether classes other than the target have a share.
    #[inline(always)]
    fn is_smooth(&self) -> bool {
        !PLAIN && self.shares[1] != Wide::<T>::ZERO
    }

    /// Whether the square of the log-sum-exp counts.
    #[inline(always)]
    fn has_z_loss(&self) -> bool {
        !PLAIN && self.z_loss != 0.0
    }

    /// The weight of a class.
    #[inline(always)]
    pub fn class_weight(&self, class: usize) -> Wide<T> {
        match self.class_weights() {
            Some(weights) => weights[class].to_wide(),
            None => Wide::<T>::ONE,
        }
    }

    /// `h`, of a target with this weight.
    #[inline(always)]
    fn hard(&self, class_weight: Wide<T>) -> Wide<T> {
        if PLAIN {
            class_weight
        } else {
            self.shares[0] * class_weight
        }
    }

    /// `M`, given `h`.
    #[inline(always)]
    fn mass(&self, hard: Wide<T>) -> Wide<T> {
        if PLAIN {
            hard
        } else {
            hard + self.shares[1] * self.total_weight
        }
    }

    /// What a row whose log-sum-exp is `offset + log` has beside its target's loss. `beside` is what [`RowWork::beside`] has found.
    #[inline(always)]
    fn other_loss(&self, log: Wide<T>, offset: Wide<T>, beside: Wide<T>) -> Wide<T> {
        let mut loss = Wide::<T>::ZERO;
        if self.is_smooth() {
            loss = self.shares[1] * (self.total_weight * log - self.scale.wide_factor() * beside);
        }
        if self.has_z_loss() {
            loss += Wide::<T>::of(self.z_loss) * ((offset + log) * (offset + log));
        }
        loss
    }

    /// Whether there is such a loss.
    #[inline(always)]
    fn has_other_loss(&self) -> bool {
        self.is_smooth() || self.has_z_loss()
    }

    /// What the probabilities of a row are multiplied by, and its gradient at the target; both times the gradient `g` with respect to
    /// its loss. `[others, weight]` are the weights of the other classes and of the target.
    #[inline(always)]
    fn gradient(
        &self,
        g: Wide<T>,
        class_weight: Wide<T>,
        [others, weight]: [Wide<T>; 2],
        lse: Wide<T>,
    ) -> [Wide<T>; 2] {
        let hard = self.hard(class_weight);
        let unit = g / (others + weight);
        let (mut factor, mut at_target) = (unit * hard, -(others * (unit * hard)));
        if self.has_other_loss() {
            let rest = unit * (self.mass(Wide::<T>::ZERO) + Wide::<T>::of(2.0 * self.z_loss) * lse);
            factor += rest;
            at_target += weight * rest - g * (self.shares[1] * class_weight);
        }
        [factor, at_target]
    }
}

/// Weights and their sums are from `2^-125` to about `2^90`, and a class without probability has the lightest one: times more than
/// this, it would show. Factors that are less than its inverse, or not much less, have normal numbers as their low parts.
const LARGE: f64 = 68_719_476_736.0; // 2^36
const SMALL: f64 = 1.0 / (1_u64 << 40) as f64;
pub const LARGEST_LSE: f64 = 131_072.0;
/// A share, before it is multiplied by the weight of its class, is a finite number, and its low part a normal one.
const LEAST_SHARE: f64 = 1.0 / (1_u128 << 96) as f64;

/// Whether vectors hold this share of every class, and its products with weights up to the largest.
#[inline(always)]
pub fn is_moderate_share(share: f64, largest_weight: f64) -> bool {
    ((share * largest_weight).abs() <= LARGE)
        & (share == 0.0 || (LEAST_SHARE..=1.0 / LEAST_SHARE).contains(&share.abs()))
}

/// Whether it is 0, or neither large nor small.
pub fn is_moderate(x: f64) -> bool {
    x == 0.0 || (SMALL..=LARGE).contains(&x.abs())
}

/// What goes with the rows of a batch, and how many are done.
struct Batch<'a, T: Float, O, const PLAIN: bool> {
    options: &'a CrossEntropy<'a, T, PLAIN>,
    answers: &'a Answers<'a, T>,
    /// The targets of the next sixteen rows to read. Had just before they are used, they would be waited for.
    upcoming: [i32; ROWS],
    outputs: &'a mut O,
    wanted: Wanted,
    sum: tree::Sum<Wide<T>>,
    unfinished: Option<Unfinished<Wide<T>>>,
    /// Rows that are read in blocks, and those that are finished, but for the losses of the unfinished.
    read: usize,
    done: usize,
}

/// Sixteen rows, or less, whose losses are left to be made of these: nothing else of a block waits for them, and beside the next block there is
/// something to do meanwhile. (Without options.)
#[derive(Clone, Copy)]
struct Unfinished<W> {
    /// 0 for a row that is ignored, and a weight of 1: its loss is 0.
    others: [W; ROWS],
    weights: [W; ROWS],
    ln_unit: [W; ROWS],
    logit: [W; ROWS],
    /// The first of them.
    first: usize,
    /// How many there are.
    count: usize,
}

/// Whether losses are left. (With few registers, loss and gradient of 10 classes took 1.2 times as long.)
const fn are_left<V: Vector>() -> bool {
    V::REGISTERS >= 8
}

/// Of sixteen rows: the shifts, the targets' columns (-1 for an ignored row) and logits, the sum of the
/// others' weights, and what is beside it; and what else is wanted of them.
#[derive(Clone, Copy)]
struct Prepared<V: Vector> {
    known: Option<Known<V>>,
    shifts: Shifts<V>,
    target: V,
    logit: V,
    others: [Wide<V::Elem>; ROWS],
    beside: [Wide<V::Elem>; ROWS],
}

/// As [`CrossEntropy::gradient`] of sixteen rows without options.
#[inline(always)]
fn gradients_of_rows<W: WideFloat>(
    simd: impl Simd,
    g: &[W; ROWS],
    [others, weights]: [&[W; ROWS]; 2],
) -> [[W; ROWS]; 2] {
    let totals = W::sums_of_rows(simd, others, weights);
    let units = W::quotients_of_rows(simd, g, &totals);
    let mut at_target = W::products_of_rows(simd, others, &units);
    for grad in &mut at_target {
        *grad = -*grad;
    }
    [units, at_target]
}

/// A share of a loss, which may be infinite: a share of 0 has none.
#[inline(always)]
pub fn share<W: WideFloat>(hard: W, nll: W) -> W {
    log::by_mask(hard == W::ZERO, W::ZERO, hard * nll)
}

impl<T: Real, O: Outputs<T>, const PLAIN: bool> Batch<'_, T, O, PLAIN> {
    /// Makes losses of what is unfinished, and leaves nothing.
    #[inline(always)]
    fn finish_losses(&mut self, simd: impl Simd) {
        if let Some(rows) = self.unfinished.take() {
            self.finish_those(simd, rows);
        }
    }

    #[inline(always)]
    fn finish_those(&mut self, simd: impl Simd, rows: Unfinished<Wide<T>>) {
        let Unfinished {
            others,
            weights,
            ln_unit,
            logit,
            first,
            count,
        } = rows;
        let losses = WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &logit);
        self.put_losses(losses, first, count);
    }

    /// Leaves the losses of sixteen rows, of which these count, until [`finish_losses`](Self::finish_losses), and finishes those before.
    #[inline(always)]
    fn leave<V: Vector>(
        &mut self,
        simd: V::Simd,
        mut rows: Unfinished<Wide<T>>,
        counted: [bool; ROWS],
    ) {
        if const { are_left::<V>() } {
            self.finish_losses(simd);
        }
        for (i, counts) in counted.into_iter().enumerate() {
            if !counts {
                rows.others[i] = Wide::<T>::ZERO;
                rows.weights[i] = Wide::<T>::ONE;
            }
        }
        if const { are_left::<V>() } {
            self.unfinished = Some(rows);
        } else {
            self.finish_those(simd, rows);
        }
    }

    /// The losses of sixteen rows, or of the `count` first of them, which are the last of the batch.
    #[inline(always)]
    fn put_losses(&mut self, losses: [Wide<T>; ROWS], first: usize, count: usize) {
        if let Some(slice) = self.outputs.losses_mut() {
            for (to, loss) in slice[first..].iter_mut().zip(losses) {
                *to = rounded(loss);
            }
        }
        self.sum.push_first(losses, count);
    }

    /// The weights of the classes of sixteen targets, and the gradient with respect to the loss of each row, times the factor of
    /// the logits; from row `first` on.
    #[inline(always)]
    #[expect(clippy::cast_sign_loss, reason = "what is negative becomes 0")]
    fn marks(&self, targets: &[Wide<T>; ROWS], first: usize) -> [[Wide<T>; ROWS]; 2] {
        let mut class_weights = [Wide::<T>::ONE; ROWS];
        if let Some(weights) = self.options.class_weights() {
            for (weight, &target) in class_weights.iter_mut().zip(targets) {
                // That of the first class for a row that is ignored: it does not count.
                *weight = weights[target.nearest() as usize].to_wide();
            }
        }
        let mut g = [self.options.grad(); ROWS];
        if let Some(upstream) = self.answers.upstream.filter(|_| !PLAIN) {
            for (g, &upstream) in g.iter_mut().zip(&upstream[first..]) {
                *g *= upstream.to_wide();
            }
        }
        [class_weights, g]
    }

    /// The targets of the next sixteen rows, which count as read; `None`, unless their gradients are moderate.
    #[inline(always)]
    fn next_targets(&mut self, simd: impl Simd) -> Option<[Wide<T>; ROWS]> {
        let mut targets = [Wide::<T>::ZERO; ROWS];
        for (target, class) in targets.iter_mut().zip(self.upcoming) {
            *target = Wide::<T>::of(f64::from(class));
        }
        let are_moderate = self.are_moderate(&targets);
        self.read += ROWS;
        self.look_ahead(simd);
        are_moderate.then_some(targets)
    }

    /// Fetches the targets of the next rows to read. (Out of line: there is one way for each type of integers.)
    #[inline(always)]
    fn look_ahead(&mut self, simd: impl Simd) {
        let (targets, read) = (&self.answers.targets, self.read);
        self.upcoming = simd.out_of_line(
            #[inline(always)]
            || targets.sixteen(read),
        );
    }

    /// Whether the gradients of a block of rows, the next to be read, are moderate.
    #[inline(always)]
    fn are_moderate(&self, targets: &[Wide<T>; ROWS]) -> bool {
        let options = self.options;
        if PLAIN || options.class_weights.is_none() && self.answers.upstream.is_none() {
            return options.is_moderate(options.grad(), options.hard(Wide::<T>::ONE));
        }
        let [class_weights, g] = self.marks(targets, self.read);
        let mut are_moderate = true;
        for (weight, g) in class_weights.into_iter().zip(g) {
            are_moderate &= options.is_moderate(g, options.hard(weight));
        }
        are_moderate
    }
}

impl<V: Vector, R, O: Outputs<V::Elem>, const PLAIN: bool> Work<V, R>
    for Batch<'_, V::Elem, O, PLAIN>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1, Item: Pass<V::Elem, 1>>,
{
    const OF_F64: bool = PLAIN;
    const LEAST: usize = 6;
    /// And the targets.
    type Read = Option<(Shifts<V>, V)>;
    type Left = ();
    type Prepared = Prepared<V>;

    #[inline(always)]
    fn begin(&mut self, simd: V::Simd) {
        self.look_ahead(simd);
    }

    #[inline(always)]
    fn end(&mut self, simd: V::Simd) {
        if PLAIN && const { are_left::<V>() } && self.unfinished.is_some() {
            simd.out_of_line(
                #[inline(always)]
                || self.finish_losses(simd),
            );
        }
    }

    #[inline(always)]
    fn read(&mut self, simd: V::Simd, block: &mut Block<V>, rows: &R) -> Self::Read {
        let target = self.next_targets(simd)?;
        let shifts = block.read_shifts(simd, rows, &self.options.scale())?;
        Some((shifts, V::narrow(simd, &target)))
    }

    #[inline(always)]
    fn prepare(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        read: Self::Read,
    ) -> Option<Prepared<V>> {
        let (shifts, target) = read?;
        self.prepare_columns(simd, block, shifts, target)
    }

    #[inline(always)]
    fn finish(&mut self, simd: V::Simd, block: &mut Block<V>, mut rows: R, prepared: Prepared<V>) {
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
        let (loss, next_max) = if let Some(work) =
            self.options
                .toward(self.answers, i, wanted, |target| row.get(0, target))
        {
            let (outcome, next_max) = row::row(simd, &mut row, &work, max, chunks, ahead);
            if !PLAIN && wanted.any {
                self.outputs.put(i, &work.found::<V>(&outcome));
            }
            (work.loss::<V>(&outcome), next_max)
        } else {
            row.fill(V::Elem::ZERO);
            if !PLAIN && wanted.any {
                self.outputs.put(i, &Found::default());
            }
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

impl<V: Vector, R, O: Outputs<V::Elem>, const PLAIN: bool> Abreast<V, R, 4>
    for Batch<'_, V::Elem, O, PLAIN>
where
    R: Columns<V::Elem> + Peek<V::Elem, 1, Item: Pass<V::Elem, 1>>,
{
    // Options have more sums, and more that is made of them.
    const APPLIES: bool = PLAIN;
    const KEEPS_WEIGHTS: bool = R::WRITES;
    const LEAVES_OUT: LeavesOut = LeavesOut::Others;
    /// Beside it are the losses of the rows before.
    const WAITS: bool = false;

    #[inline(always)]
    fn look(&mut self, simd: V::Simd, max: V, logits: impl FnOnce(V) -> V) -> Option<Seen<V>> {
        let left_out = V::narrow(simd, &self.next_targets(simd)?);
        let shifts = Shifts::new(simd, max, &self.options.scale())?;
        let logit = logits(left_out);
        // The sums do not tell of the targets.
        (V::bits(logit.is_nan()) == 0).then_some(Seen {
            shifts,
            left_out,
            logit,
        })
    }

    #[inline(always)]
    fn settle(&mut self, simd: V::Simd, seen: Seen<V>, others: [Wide<V::Elem>; ROWS]) -> [V; 4] {
        let Seen {
            shifts,
            left_out,
            logit,
        } = seen;
        let prepared = Prepared {
            known: None,
            shifts,
            target: left_out,
            logit,
            others,
            beside: [Wide::<V::Elem>::ZERO; ROWS],
        };
        match self.settle_here(simd, ROWS, R::WRITES, &prepared) {
            Some(made) => {
                let [hi, lo] = made.factors.parts();
                [hi, lo, made.target, made.at_target]
            }
            // Nothing is written.
            None => [left_out; 4],
        }
    }

    #[inline(always)]
    fn result(simd: V::Simd, [hi, lo, target, at_target]: [V; 4], numbers: V, weights: V) -> V {
        let factors = Factor::of_parts([hi, lo]);
        Gradients {
            factors,
            shares: None,
            target,
            at_target,
        }
        .at(simd, numbers, weights)
    }
}

/// What is done with sixteen rows between reading and writing them: with options out of line, once for rows that have a destination and for those
/// that have none.
impl<T: Real, O: Outputs<T>, const PLAIN: bool> Batch<'_, T, O, PLAIN> {
    #[inline(always)]
    fn prepare_columns<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        block: &mut Block<V>,
        shifts: Shifts<V>,
        target: V,
    ) -> Option<Prepared<V>> {
        if PLAIN {
            return self.prepare_here(simd, block, shifts, target);
        }
        simd.out_of_line(
            #[inline(always)]
            move || self.prepare_here(simd, block, shifts, target),
        )
    }

    #[inline(always)]
    fn finish_columns<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: usize,
        writes: bool,
        prepared: &Prepared<V>,
    ) {
        if PLAIN {
            return self.finish_here(simd, block, rows, writes, prepared);
        }
        simd.out_of_line(
            #[inline(always)]
            move || self.finish_here(simd, block, rows, writes, prepared),
        );
    }

    #[inline(always)]
    fn prepare_here<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        block: &mut Block<V>,
        shifts: Shifts<V>,
        target: V,
    ) -> Option<Prepared<V>> {
        let known = if PLAIN {
            None
        } else {
            Known::of_block(simd, block, &shifts, self.wanted)
        };
        let mut beside = [Wide::<V::Elem>::ZERO; ROWS];
        if self.options.is_smooth() {
            beside = block.fold(
                simd,
                #[inline(always)]
                |sum, k, [x]| match self.options.class_weights() {
                    Some(weights) => V::sum_add_product(sum, V::splat(simd, weights[k]), x),
                    None => V::sum_add(sum, x),
                },
            );
            // The weight 0 of a class that has -inf.
            if has_nan(&beside) {
                return None;
            }
        }
        let mut logit = shifts.max;
        let others = block.sum_weights(
            simd,
            &shifts,
            #[inline(always)]
            |k, x, weights| {
                let is_target = column::<V>(simd, k).eq(target);
                logit = V::select(is_target, *x, logit);
                *x = weights.rounded;
                weights.without(simd, is_target)
            },
        )?;
        // The sums do not tell of the targets.
        if V::bits(logit.is_nan()) != 0 {
            return None;
        }
        Some(Prepared {
            known,
            shifts,
            target,
            logit,
            others,
            beside,
        })
    }

    #[inline(always)]
    fn finish_here<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        block: &mut Block<V>,
        rows: usize,
        writes: bool,
        prepared: &Prepared<V>,
    ) {
        let Some(made) = self.settle_here(simd, rows, writes, prepared) else {
            return;
        };
        let zero = V::splat(simd, V::Elem::ZERO);
        let columns = block.columns().iter_mut().enumerate();
        if let Some(shares) = made.shares {
            for (k, weight) in columns {
                let class_weight = match self.options.class_weights() {
                    Some(weights) => weights[k],
                    None => V::Elem::ONE,
                };
                let share = shares.times(simd, V::splat(simd, class_weight));
                let p = made.factors.product_added_to(*weight, share) + zero;
                *weight = V::select(column::<V>(simd, k).eq(made.target), made.at_target, p);
            }
        } else {
            for (k, weight) in columns {
                let grad = made.at(simd, column(simd, k), *weight);
                // A zero without a sign, which options may give it.
                *weight = if PLAIN { grad } else { grad + zero };
            }
        }
    }

    /// What the gradients of sixteen rows are made with, given the weights of their targets, their [`marks`](Self::marks), which of them count, and their log-sum-exp if it does.
    #[inline(always)]
    fn gradients<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        prepared: &Prepared<V>,
        weights: &[Wide<T>; ROWS],
        [class_weights, g]: &[[Wide<T>; ROWS]; 2],
        counted: &[bool; ROWS],
        lse: &[Wide<T>; ROWS],
    ) -> Gradients<V> {
        let Prepared {
            shifts,
            target,
            others,
            ..
        } = prepared;
        let (options, zero) = (self.options, Wide::<T>::ZERO);
        let [mut factors, mut at_target] = [[zero; ROWS]; 2];
        if PLAIN {
            [factors, at_target] = gradients_of_rows(simd, g, [others, weights]);
        } else {
            for i in 0..ROWS {
                let sums = [others[i], weights[i]];
                [factors[i], at_target[i]] = options.gradient(g[i], class_weights[i], sums, lse[i]);
            }
        }
        let mut shares = [zero; ROWS];
        for i in 0..ROWS {
            factors[i] = if counted[i] { factors[i] } else { zero };
            if options.is_smooth() && counted[i] {
                shares[i] = g[i] * -options.shares[1];
            }
        }
        Gradients {
            factors: if options.is_smooth() {
                Factor::of_rows(simd, &factors)
            } else {
                scales(simd, shifts, factors)
            },
            shares: options.is_smooth().then(
                #[inline(always)]
                || Factor::of_rows(simd, &shares),
            ),
            target: *target,
            at_target: V::narrow(simd, &at_target) + V::splat(simd, V::Elem::ZERO),
        }
    }

    /// What is done with sixteen rows but for their elements; and what gradients are made with, if they are written.
    #[inline(always)]
    fn settle_here<V: Vector<Elem = T>>(
        &mut self,
        simd: V::Simd,
        rows: usize,
        writes: bool,
        prepared: &Prepared<V>,
    ) -> Option<Gradients<V>> {
        let Prepared {
            known,
            shifts,
            target,
            logit,
            others,
            beside,
        } = *prepared;
        let options = self.options;
        let logit = if PLAIN {
            logit.widen()
        } else {
            shifts.logits(simd, logit)
        };
        let ln_unit = shifts.ln_unit(simd);
        let weights = Shifts::<V>::accurate_weights(simd, &logit, &ln_unit);
        let targets = target.widen();
        let counted = targets.map(
            #[inline(always)]
            |target| target >= Wide::<V::Elem>::ZERO,
        );
        let marks = self.marks(&targets, self.done);
        let zero = Wide::<V::Elem>::ZERO;
        let mut losses = [zero; ROWS];
        if PLAIN {
            let unfinished = Unfinished {
                others,
                weights,
                ln_unit,
                logit,
                first: self.done,
                count: rows,
            };
            self.leave::<V>(simd, unfinished, counted);
        } else {
            losses = WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &logit);
            for i in 0..ROWS {
                let loss = share(options.hard(marks[0][i]), losses[i]);
                losses[i] = if counted[i] { loss } else { zero };
            }
        }
        let mut lse = [zero; ROWS];
        if options.has_other_loss() {
            for i in 0..ROWS {
                lse[i] = others[i] + weights[i];
            }
            WideFloat::ln_of_rows(simd, &mut lse);
            for i in 0..ROWS {
                lse[i] += ln_unit[i];
                let loss = losses[i] + options.other_loss(lse[i], zero, beside[i]);
                losses[i] = if counted[i] { loss } else { zero };
            }
        }
        let made = writes.then(
            #[inline(always)]
            || self.gradients(simd, prepared, &weights, &marks, &counted, &lse),
        );
        if let Some(known) = known.filter(|_| !PLAIN) {
            let mut sums = others;
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight;
            }
            let mut found = known.found(simd, &shifts, sums);
            // Once more: to keep them would cost those who do not want them.
            let nlls =
                WideFloat::negative_log_likelihoods(simd, &others, &weights, &ln_unit, &logit);
            for i in 0..ROWS.min(rows) {
                found[i].log_prob = -nlls[i];
                if !counted[i] {
                    found[i] = Found::default();
                }
                self.outputs.put(self.done + i, &found[i]);
            }
        }
        if !PLAIN {
            self.put_losses(losses, self.done, rows);
        }
        self.done += ROWS;
        made
    }
}

/// What the gradients of sixteen rows are made with.
#[derive(Clone, Copy)]
struct Gradients<V> {
    /// What weights are multiplied by.
    factors: Factor<V>,
    /// With label smoothing, what is added, but for the weight of the class.
    shares: Option<Factor<V>>,
    target: V,
    at_target: V,
}

impl<V: Vector> Gradients<V> {
    /// Of elements with these numbers in their rows and these weights, without smoothing.
    #[inline(always)]
    fn at(&self, simd: V::Simd, numbers: V, weights: V) -> V {
        V::select(
            numbers.eq(self.target),
            self.at_target,
            self.factors.times(simd, weights),
        )
    }
}

impl<'a, T: Real, const PLAIN: bool> CrossEntropy<'a, T, PLAIN> {
    /// The work on a row, whose logits `get` knows; none if it is ignored.
    #[inline(always)]
    fn toward(
        &self,
        answers: &Answers<'_, T>,
        row: usize,
        wanted: Wanted,
        get: impl Fn(usize) -> T,
    ) -> Option<Toward<'a, T, PLAIN>> {
        let target = answers.targets.get(row)?;
        let upstream = answers
            .upstream
            .map_or(Wide::<T>::ONE, |upstream| upstream[row].to_wide());
        Some(Toward {
            options: *self,
            target,
            logit: get(target),
            class_weight: self.class_weight(target),
            grad: self.grad() * upstream,
            wanted,
        })
    }
}

/// The work on one row with a target.
#[derive(Clone, Copy, Debug)]
pub struct Toward<'a, T: Float, const PLAIN: bool> {
    options: CrossEntropy<'a, T, PLAIN>,
    target: usize,
    /// Of the target.
    logit: T,
    class_weight: Wide<T>,
    /// The gradient with respect to the loss of the row, times the factor of the logits.
    grad: Wide<T>,
    wanted: Wanted,
}

impl<'a, T: Real, const PLAIN: bool> Toward<'a, T, PLAIN> {
    /// Toward a target with this logit.
    #[inline(always)]
    pub fn new(options: CrossEntropy<'a, T, PLAIN>, target: usize, logit: T) -> Self {
        Self {
            target,
            logit,
            class_weight: options.class_weight(target),
            grad: options.grad(),
            options,
            wanted: Wanted::default(),
        }
    }
}

impl<T: Real, const PLAIN: bool> Toward<'_, T, PLAIN> {
    /// What is wanted beside the loss.
    #[inline(always)]
    fn found<V: Vector<Elem = T>>(&self, outcome: &Outcome<T>) -> Found<T> {
        match outcome {
            Outcome::Ordinary(row) => Found {
                log_prob: -row.loss::<V>(),
                ..row.found::<V>(self.wanted)
            },
            &Outcome::Special(extent, top) => Found::special(extent, top, self.options.masked_rows),
        }
    }

    /// The loss of the row.
    #[inline(always)]
    fn loss<V: Vector<Elem = T>>(&self, outcome: &Outcome<T>) -> Wide<T> {
        let hard = self.options.hard(self.class_weight);
        match *outcome {
            Outcome::Ordinary(row) => {
                let loss = share(hard, row.loss::<V>());
                if self.options.has_other_loss() {
                    let offset = row.shift.scaled_offset();
                    loss + self
                        .options
                        .other_loss(row.log::<V>(), offset, row.beside.sums[0])
                } else {
                    loss
                }
            }
            Outcome::Special(extent, _) if self.options.masked_rows.gives_zeros(extent) => {
                // Of the square of the log-sum-exp too.
                let mass = self.options.mass(hard) + Wide::<T>::of(self.options.z_loss);
                share(if PLAIN { hard } else { mass }, T::INFINITY.to_wide())
            }
            Outcome::Special(..) => T::NAN.to_wide(),
        }
    }

    /// What the gradients of a part of the row, of `len` elements from `start` on, have less than a multiple of the probabilities,
    /// negated: vector by vector, 0 after the last class.
    #[inline(always)]
    fn shares<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        start: usize,
        len: usize,
    ) -> impl Fn(usize) -> V {
        let share = Factor::new(simd, -(self.grad * self.options.shares[1]));
        let one = V::splat(simd, T::ONE);
        let weights = self.options.class_weights().map(
            #[inline(always)]
            |weights| Row::of(&weights[start..start + len]),
        );
        #[inline(always)]
        move |i| match weights {
            None => share.times(simd, one),
            Some(weights) => share.times(simd, weights.vector_or(simd, i, T::ZERO)),
        }
    }

    /// The sum of the elements of a part, less the offset, each times the weight of its class.
    #[inline(always)]
    fn smoothed<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        offset: T,
    ) -> Wide<T> {
        let Some(weights) = self.options.class_weights() else {
            return sum_less(
                simd,
                part,
                offset,
                #[inline(always)]
                |sum, _, x| V::sum_add(sum, x),
            );
        };
        let weights = Row::of(&weights[start..start + part.len()]);
        let sum = sum_less(
            simd,
            part,
            offset,
            #[inline(always)]
            |sum, i, x| V::sum_add_product(sum, weights.vector_or(simd, i, T::ZERO), x),
        );
        if !sum.is_nan() {
            return sum;
        }
        // A class of weight 0 has -inf, or there is a NaN, of which the sum of the weights will tell.
        let zero = V::splat(simd, T::ZERO);
        sum_less(
            simd,
            part,
            offset,
            #[inline(always)]
            |sum, i, x: V| {
                let weight = weights.vector_or(simd, i, T::ZERO);
                V::sum_add_product(sum, weight, V::select(weight.eq(zero), zero, x))
            },
        )
    }

    /// Writes the gradient at the target, if that is in the part.
    #[inline(always)]
    fn set(&self, part: &mut impl Pass<T, 1>, start: usize, grad: T) {
        let target = self.target.wrapping_sub(start);
        if target < part.len() {
            part.set(target, grad);
        }
    }
}

/// Writes gradients that are not moderate, one by one: products of the weights and the factor, less the share of each element.
#[inline(never)]
pub fn write_one_by_one<T: Real, P: Pass<T, 1>>(
    part: &mut P,
    factor: Wide<T>,
    share: impl Fn(usize) -> Wide<T>,
) {
    let lightest = Wide::<T>::of(lightest::<T>());
    for i in 0..part.len() {
        let share = share(i);
        part.replace(
            i,
            #[inline(always)]
            |weight| {
                let weight = weight.to_wide();
                // What has the lightest weight has none, though such a gradient may show it.
                let p = if weight < lightest {
                    Wide::<T>::ZERO
                } else {
                    factor * weight
                };
                rounded(p - share)
            },
        );
    }
}

/// Adds up what `add` adds for each vector of elements less the offset, given its index; 0 where the last one is short.
#[inline(always)]
fn sum_less<V: Vector>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 1>,
    offset: V::Elem,
    mut add: impl FnMut(V::Sum, usize, V) -> V::Sum,
) -> Wide<V::Elem> {
    let (mut sum, mut i) = (V::sum_zero(simd), 0);
    // Beyond the reach, the difference may be as large as two elements.
    let part = if offset == V::Elem::ZERO { 1.0 } else { 0.5 };
    let (scale, less) = (V::constant(simd, part), V::splat(simd, offset));
    let less = less * scale;
    row.visit(
        simd,
        [offset],
        #[inline(always)]
        |[x]: [V; 1]| {
            sum = add(sum, i, x * scale - less);
            i += 1;
        },
    );
    V::sum_total(sum) / Wide::<V::Elem>::of(part)
}

impl<T: Real, const PLAIN: bool> RowWork<T> for Toward<'_, T, PLAIN> {
    const KEEPS_WEIGHTS: bool = true;
    const SUMS_BESIDE: bool = !PLAIN;
    const OUT_OF_LINE: bool = !PLAIN;

    #[inline(always)]
    fn scale(&self) -> Scale<T> {
        self.options.scale()
    }

    #[inline(always)]
    fn left_out(&self) -> LeftOut<T> {
        LeftOut::Real(self.target, self.logit)
    }

    #[inline(always)]
    fn finds_top(&self) -> bool {
        !PLAIN && self.wanted.argmax
    }

    #[inline(always)]
    fn beside<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        start: usize,
        shift: &Shift<T>,
        _: usize,
    ) -> [Wide<T>; 5] {
        let mut sums = [Wide::<T>::ZERO; 5];
        if self.options.is_smooth() {
            sums[0] = self.smoothed::<V>(simd, part, start, shift.offset());
        }
        sums
    }

    #[inline(always)]
    fn sums_more(&self) -> bool {
        !PLAIN && self.wanted.entropies
    }

    #[inline(always)]
    fn more<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        part: Row<'_, T, 1>,
        _: usize,
        shift: &Shift<T>,
        _: usize,
    ) -> [Wide<T>; 6] {
        let [lower, distances, tops] = entropy::parts::<V>(simd, part, shift);
        let zero = Wide::<T>::ZERO;
        [zero, zero, zero, lower, distances, tops]
    }

    #[inline(always)]
    fn results<V: Vector<Elem = T>, P: Pass<T, 1>>(
        &self,
        simd: V::Simd,
        part: &mut P,
        start: usize,
        weighed: &Ordinary<T>,
    ) {
        if !PLAIN && !self.grad.is_finite() {
            return part.fill(T::NAN);
        }
        let lse = if self.options.has_z_loss() {
            weighed.shift.scaled_offset() + weighed.log::<V>()
        } else {
            Wide::<T>::ZERO
        };
        let sums = [weighed.sum, weighed.apart.weight];
        let [factor, at_target] = self
            .options
            .gradient(self.grad, self.class_weight, sums, lse);
        let hard = self.options.hard(self.class_weight);
        // Added to what a negative gradient leaves of nothing: 0 is positive.
        let zero = V::splat(simd, T::ZERO);
        // Only rows beyond the reach, which no block has, have a larger one.
        let is_moderate =
            lse.nearest().abs() <= LARGEST_LSE && self.options.is_moderate(self.grad, hard);
        if !PLAIN && !is_moderate {
            write_one_by_one(
                part,
                factor,
                #[inline(always)]
                |i| {
                    let share = self.options.shares[1] * self.options.class_weight(start + i);
                    self.grad * share
                },
            );
        } else if self.options.is_smooth() {
            let shares = self.shares::<V>(simd, start, part.len());
            let factor = Factor::new(simd, factor);
            part.update(
                simd,
                #[inline(always)]
                |i, weights: V| factor.product_added_to(weights, shares(i)) + zero,
            );
        } else if !PLAIN {
            let factor = weighed.heaviest.factor::<V>(simd, factor);
            part.update(
                simd,
                #[inline(always)]
                |_, weights: V| factor.times(simd, weights) + zero,
            );
        } else {
            scale::<V, _>(simd, part, weighed.heaviest, factor);
        }
        self.set(part, start, rounded(at_target));
    }

    #[inline(always)]
    fn special<P: Pass<T, 1>>(&self, part: &mut P, start: usize, extent: Extent<T>) {
        let options = &self.options;
        // No probability for any class, the target's included.
        if !options.masked_rows.gives_zeros(extent) || !self.grad.is_finite() {
            return part.fill(T::NAN);
        }
        let share = |class: usize| self.grad * (options.shares[1] * options.class_weight(class));
        for i in 0..part.len() {
            part.set(i, rounded(-share(start + i)));
        }
        let target = self.grad * options.hard(self.class_weight) + share(self.target);
        self.set(part, start, rounded(-target));
    }
}

impl<'a, T: Real, R, O: Outputs<T>, const PLAIN: bool> Shared<Data<'a, R, T, O>>
    for CrossEntropy<'a, T, PLAIN>
where
    Self: Kernel<Data<'a, R, T, O>, Output = Wide<T>>,
    R: Columns<T> + Peek<T, 1> + Recut,
{
    type Elem = T;
    type Work = Weighing<Toward<'a, T, PLAIN>>;
    type Rows = R;
    type Rest = O;

    fn open(
        &self,
        (mut row, answers, mut outputs): Data<'a, R, T, O>,
    ) -> Result<Open<Data<'a, R, T, O>, Self>, Wide<T>> {
        let work = {
            let logits = row.peek();
            self.toward(&answers, 0, outputs.wanted(), |target| {
                logits.get(0, target)
            })
        };
        if let Some(work) = work {
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
        mut outputs: O,
    ) -> Wide<T> {
        let loss = work.loss::<V>(outcome);
        if !PLAIN && work.wanted.any {
            outputs.put(0, &work.found::<V>(outcome));
        }
        if let Some(losses) = outputs.losses_mut() {
            losses.fill(rounded(loss));
        }
        loss
    }
}
