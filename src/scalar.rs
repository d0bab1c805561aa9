//! The scalar path: the textbook formula of every operation, one element at a time, with the
//! exponential of the standard library. The baseline that benchmarks compare with, and the place to
//! check the formulas. It has their error: rounding `x - max` alone costs up to 64 ULP of a
//! probability.
//!
//! Within a row (of a slice: 4096 elements) it shares no arithmetic with the kernels. What is found
//! of many rows it combines as they do, by [`tree::sum`] and [`Merge`]: a batch is cut along that
//! tree for its threads (`parallel.rs`), and with any other order a loss would depend on where.

use crate::element::Real;
use crate::kernel::MaskedRows;
use crate::kernel::backward::Backward;
use crate::kernel::binary_cross_entropy::{BinaryCrossEntropy, ElementLosses};
use crate::kernel::cross_entropy::{CrossEntropy, Data};
use crate::kernel::elementwise::{Exp, Sigmoid};
use crate::kernel::log_softmax::LogSoftmax;
use crate::kernel::logsumexp::LogSumExp;
use crate::kernel::masked::Masked;
use crate::kernel::masked_backward::MaskedBackward;
use crate::kernel::masks::{Masks, of_row};
use crate::kernel::partial::{Arithmetic, Node, Nodes, PartGrad, PartProbs, PartSums, Whole};
use crate::kernel::reduce::{Largest, Max, Sum};
use crate::kernel::scale::LogitScale;
use crate::kernel::soft_cross_entropy::{Mass, SoftCrossEntropy, SoftData};
use crate::kernel::softmax::Softmax;
use crate::kernel::tree::{self, Merge};
use crate::kernel::weighted_binary::{WeightedBinary, WeightedElementLosses};
use crate::kernel::weights::Extent;
use crate::kernel::wide::{Wide, WideFloat as _};
use crate::outputs::{Found, Outputs, RowOutputs};
use crate::rows::{CHUNK, FirstRow, Pass, Row, RowMut, Rows, RowsMut, Split};
use crate::simd::Kernel;
use crate::targets::{Answers, Flat, Probs};

/// The textbook form of a kernel.
pub trait Scalar<D>: Kernel<D> {
    /// Does the work of the kernel.
    fn scalar(&self, data: D) -> Self::Output;
}

/// What is done with a row of logits that has a sink beside them, `-inf` for none.
trait OfLogits<T> {
    fn row(&self, row: &mut RowMut<'_, T, 1>, sink: T);
}

impl<T: Real, S: LogitScale<T>> OfLogits<T> for Softmax<S> {
    fn row(&self, row: &mut RowMut<'_, T, 1>, sink: T) {
        let factor = T::from_f64(self.scale.scale().factor);
        let max = larger(largest(row.source()) * factor, sink);
        if max == T::NEG_INFINITY && self.masked_rows == MaskedRows::Zero {
            return row.fill(T::ZERO);
        }
        let mut sum = weight_of_sink(sink, max);
        for i in 0..row.len() {
            let weight = (row.get(0, i) * factor - max).exp();
            row.set(i, weight);
            sum = sum + weight;
        }
        for i in 0..row.len() {
            row.replace(i, |weight| canonical(weight / sum));
        }
    }
}

impl<T: Real, S: LogitScale<T>> OfLogits<T> for LogSoftmax<S> {
    fn row(&self, row: &mut RowMut<'_, T, 1>, sink: T) {
        let factor = T::from_f64(self.scale.scale().factor);
        let max = larger(largest(row.source()) * factor, sink);
        if max == T::NEG_INFINITY && self.masked_rows == MaskedRows::Zero {
            return row.fill(T::NEG_INFINITY);
        }
        let weight = |i: usize| (row.get(0, i) * factor - max).exp();
        let sink = weight_of_sink(sink, max);
        let log_sum = (0..row.len()).fold(sink, |sum, i| sum + weight(i)).ln();
        for i in 0..row.len() {
            row.set(i, canonical(row.get(0, i) * factor - max - log_sum));
        }
    }
}

/// The larger of two, NaN if either is.
fn larger<T: Real>(a: T, b: T) -> T {
    if b > a || b.is_nan() { b } else { a }
}

fn weight_of_sink<T: Real>(sink: T, max: T) -> T {
    if sink == T::NEG_INFINITY {
        T::ZERO
    } else {
        (sink - max).exp()
    }
}

impl<T: Real, S: LogitScale<T>> Scalar<RowsMut<'_, T, 1>> for Softmax<S> {
    fn scalar(&self, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            self.row(&mut row, T::NEG_INFINITY);
        }
    }
}

impl<T: Real, S: LogitScale<T>> Scalar<RowsMut<'_, T, 1>> for LogSoftmax<S> {
    fn scalar(&self, rows: RowsMut<'_, T, 1>) {
        for mut row in rows {
            self.row(&mut row, T::NEG_INFINITY);
        }
    }
}

impl<T: Real, W> Scalar<(RowsMut<'_, T, 1>, FirstRow)> for Masked<'_, T, W>
where
    W: crate::kernel::masked::OfLogits<T> + OfLogits<T>,
{
    fn scalar(&self, (rows, FirstRow(first)): (RowsMut<'_, T, 1>, FirstRow)) {
        let classes = rows.classes();
        for (mut row, index) in rows.zip(first..) {
            let mask = self
                .mask
                .map(|(mask, factor)| (of_row(mask, index, classes, classes), factor));
            for i in 0..classes {
                let x = if !takes_part(&self.masks, index, i, classes) {
                    T::NEG_INFINITY
                } else if let Some((mask, factor)) = mask {
                    let [x, s, m] = [row.get(0, i), factor, mask[i]].map(T::to_wide);
                    T::from_wide(x.product_plus(s, m))
                } else {
                    row.get(0, i)
                };
                row.set(i, x);
            }
            OfLogits::row(&self.work, &mut row.over_itself(), self.sink(index));
        }
    }
}

/// Whether a class takes part in a row.
fn takes_part(masks: &Masks<'_>, row: usize, class: usize, classes: usize) -> bool {
    let flag = |flags| of_row(flags, row, classes, classes)[class];
    class < masks.seen(row, classes) && masks.flags.is_none_or(flag)
}

impl<T: Real> Scalar<(Rows<'_, T, 1>, &mut [T])> for LogSumExp {
    fn scalar(&self, (rows, results): (Rows<'_, T, 1>, &mut [T])) {
        for (row, result) in rows.zip(results) {
            let max = largest(row);
            *result = if max == T::NEG_INFINITY || max == T::INFINITY {
                max
            } else {
                canonical(max + sum_of_weights(row, max).ln())
            };
        }
    }
}

impl<T: Real, O: Outputs<T>, const PLAIN: bool> Scalar<Data<'_, Rows<'_, T, 1>, T, O>>
    for CrossEntropy<'_, T, PLAIN>
{
    fn scalar(&self, (rows, answers, outputs): Data<'_, Rows<'_, T, 1>, T, O>) -> Wide<T> {
        cross_entropy(self, rows, answers, outputs)
    }
}

impl<T: Real, O: Outputs<T>, const PLAIN: bool> Scalar<Data<'_, RowsMut<'_, T, 1>, T, O>>
    for CrossEntropy<'_, T, PLAIN>
{
    fn scalar(&self, (rows, answers, outputs): Data<'_, RowsMut<'_, T, 1>, T, O>) -> Wide<T> {
        cross_entropy(self, rows, answers, outputs)
    }
}

fn cross_entropy<T: Real, P: Pass<T, 1>, const PLAIN: bool>(
    kernel: &CrossEntropy<'_, T, PLAIN>,
    mut rows: impl Iterator<Item = P>,
    answers: Answers<'_, T>,
    mut outputs: impl Outputs<T>,
) -> Wide<T> {
    tree::sum(answers.targets.len(), |i| {
        let Some(mut row) = rows.next() else {
            return Wide::<T>::ZERO;
        };
        let mut found = Found::default();
        let loss = if let Some(target) = answers.targets.get(i) {
            if outputs.wanted().any {
                let one_hot = |class| if class == target { T::ONE } else { T::ZERO };
                found = known(kernel, row.source(), one_hot);
            }
            let upstream = answers.upstream.map_or(T::ONE, |upstream| upstream[i]);
            cross_entropy_row(kernel, &mut row, target, upstream)
        } else {
            row.fill(T::ZERO);
            T::ZERO
        };
        outputs.put(i, &found);
        if let Some(losses) = outputs.losses_mut() {
            losses[i] = loss;
        }
        loss.to_wide()
    })
}

/// What is known of a row and a distribution beside the loss.
fn known<T: Real, const PLAIN: bool>(
    kernel: &CrossEntropy<'_, T, PLAIN>,
    row: Row<'_, T, 1>,
    target: impl Fn(usize) -> T,
) -> Found<T> {
    let elements = || (0..row.len()).map(|i| row.get(0, i));
    let max = largest(row);
    let same = |x: T| x == max || max.is_nan() && x.is_nan();
    let argmax = elements().position(same).unwrap_or_default();
    let extent = Extent::of(max);
    if extent != Extent::Finite(max) {
        return Found::special(extent, argmax, kernel.masked_rows);
    }
    let factor = T::from_f64(kernel.scale.factor);
    let logits = || elements().map(|x| (x - max) * factor);
    let sum = logits().fold(T::ZERO, |sum, z| sum + z.exp());
    let product = |a: T, b: T| if a == T::ZERO { a } else { a * b };
    let (mut log_prob, mut entropy) = (T::ZERO, sum.ln());
    for (class, z) in logits().enumerate() {
        log_prob = log_prob + product(target(class), z - sum.ln());
        entropy = entropy - product(z.exp() / sum, z);
    }
    Found {
        log_sum_exp: (max * factor + sum.ln()).to_wide(),
        log_prob: log_prob.to_wide(),
        entropy: entropy.to_wide(),
        argmax,
    }
}

fn cross_entropy_row<T: Real, P: Pass<T, 1>, const PLAIN: bool>(
    kernel: &CrossEntropy<'_, T, PLAIN>,
    row: &mut P,
    target: usize,
    upstream: T,
) -> T {
    if PLAIN {
        let scale = T::from_wide(kernel.grad_scale) * upstream;
        return plain_row(kernel.masked_rows, row, target, scale);
    }
    let [hard, soft] = kernel.shares.map(T::from_wide);
    let share = |class: usize| {
        let share = if class == target { hard + soft } else { soft };
        kernel
            .class_weights
            .map_or(share, |weights| share * weights[class])
    };
    row_with_shares(kernel, row, share, upstream)
}

/// A row each of whose classes has a share of the target.
fn row_with_shares<T: Real, P: Pass<T, 1>, const PLAIN: bool>(
    kernel: &CrossEntropy<'_, T, PLAIN>,
    row: &mut P,
    share: impl Fn(usize) -> T + Copy,
    upstream: T,
) -> T {
    // An upstream gradient that is not finite.
    if !(T::NEG_INFINITY < upstream && upstream < T::INFINITY) {
        let loss = row_with_shares(kernel, row, share, T::ZERO);
        row.fill(T::NAN);
        return loss;
    }
    let factor = T::from_f64(kernel.scale.factor);
    let scale = T::from_wide(kernel.grad_scale) * upstream * factor;
    let z_loss = (kernel.z_loss != 0.0).then(|| T::from_f64(kernel.z_loss));
    let total = (0..row.len()).fold(T::ZERO, |total, i| total + share(i));
    let max = largest(row.source());
    if max == T::NEG_INFINITY && kernel.masked_rows == MaskedRows::Zero {
        for i in 0..row.len() {
            row.set(i, canonical(T::ZERO - share(i) * scale + T::ZERO));
        }
        // Of the square of the log-sum-exp too.
        let mass = z_loss.map_or(total, |z_loss| total + z_loss);
        return if mass == T::ZERO {
            T::ZERO
        } else {
            canonical(mass * T::INFINITY)
        };
    }
    let (mut sum, mut loss) = (T::ZERO, T::ZERO);
    for i in 0..row.len() {
        let z = (row.get(0, i) - max) * factor;
        let share = share(i);
        if share != T::ZERO {
            loss = loss - share * z;
        }
        let weight = z.exp();
        row.set(i, weight);
        sum = sum + weight;
    }
    loss = loss + total * sum.ln();
    let mut pull = total;
    if let Some(z_loss) = z_loss {
        let lse = max * factor + sum.ln();
        loss = loss + z_loss * lse * lse;
        pull = pull + (z_loss + z_loss) * lse;
    }
    for i in 0..row.len() {
        let share = share(i);
        row.replace(i, |weight| {
            canonical((pull * (weight / sum) - share) * scale + T::ZERO)
        });
    }
    canonical(loss)
}

fn plain_row<T: Real, P: Pass<T, 1>>(
    masked_rows: MaskedRows,
    row: &mut P,
    target: usize,
    scale: T,
) -> T {
    let max = largest(row.source());
    if max == T::NEG_INFINITY && masked_rows == MaskedRows::Zero {
        row.fill(T::ZERO);
        row.set(target, -scale);
        return T::INFINITY;
    }
    let x = row.get(0, target);
    let mut sum = T::ZERO;
    for i in 0..row.len() {
        let weight = (row.get(0, i) - max).exp();
        row.set(i, weight);
        sum = sum + weight;
    }
    for i in 0..row.len() {
        let t = if i == target { T::ONE } else { T::ZERO };
        row.replace(i, |weight| canonical((weight / sum - t) * scale));
    }
    canonical(sum.ln() - (x - max))
}

impl<T: Real> Scalar<SoftData<'_, Rows<'_, T, 1>, T>> for SoftCrossEntropy<'_, T> {
    fn scalar(&self, (rows, answers, outputs): SoftData<'_, Rows<'_, T, 1>, T>) -> Wide<T> {
        soft_cross_entropy(self, rows, answers, outputs)
    }
}

impl<T: Real> Scalar<SoftData<'_, RowsMut<'_, T, 1>, T>> for SoftCrossEntropy<'_, T> {
    fn scalar(&self, (rows, answers, outputs): SoftData<'_, RowsMut<'_, T, 1>, T>) -> Wide<T> {
        soft_cross_entropy(self, rows, answers, outputs)
    }
}

fn soft_cross_entropy<T: Real, P: Pass<T, 1>>(
    SoftCrossEntropy(kernel): &SoftCrossEntropy<'_, T>,
    mut rows: impl Split + Iterator<Item = P>,
    answers: Answers<'_, T, Probs<'_, T>>,
    mut outputs: RowOutputs<'_, T>,
) -> Wide<T> {
    let [keep, add] = kernel.shares.map(T::from_wide);
    tree::sum(rows.rows(), |i| {
        let Some(mut row) = rows.next() else {
            return Wide::<T>::ZERO;
        };
        let target = answers.targets.row(i);
        let mut found = Found::default();
        let loss = if target.iter().any(|&t| t != T::ZERO) {
            if outputs.wanted().any {
                found = known(kernel, row.source(), |class| target[class]);
            }
            let upstream = answers.upstream.map_or(T::ONE, |upstream| upstream[i]);
            let share = |class: usize| {
                let share = keep * target[class] + add;
                kernel
                    .class_weights
                    .map_or(share, |weights| share * weights[class])
            };
            row_with_shares(kernel, &mut row, share, upstream)
        } else {
            row.fill(T::ZERO);
            T::ZERO
        };
        outputs.put(i, &found);
        if let Some(losses) = outputs.losses_mut() {
            losses[i] = loss;
        }
        loss.to_wide()
    })
}

impl<T: Real> Scalar<Rows<'_, T, 1>> for Mass<'_, T> {
    fn scalar(&self, mut rows: Rows<'_, T, 1>) -> Wide<T> {
        tree::sum(rows.rows(), |_| {
            let row = rows.next();
            row.map_or(Wide::<T>::ZERO, |row| {
                let product = |i| row.get(0, i) * self.0[i];
                let sum = (0..row.len()).fold(T::ZERO, |sum, i| sum + product(i));
                sum.to_wide()
            })
        })
    }
}

impl<T: Real> Scalar<(Rows<'_, T, 1>, Flat<'_>)> for PartSums<T> {
    fn scalar(&self, (rows, flat): (Rows<'_, T, 1>, Flat<'_>)) -> Nodes<T> {
        let mut nodes = Nodes::new(flat.start / CHUNK, Arithmetic::Scalar, self.given);
        let mut start = flat.start;
        for row in rows {
            let max = largest(row);
            let extent = Extent::of(max);
            let mut node = Node::special(extent);
            if let Some(max) = self.reference(extent) {
                let others = (0..row.len()).filter(|i| start + i != self.target);
                let others = others.fold(T::ZERO, |sum, i| sum + (row.get(0, i) - max).exp());
                node.sums = [sum_of_weights(row, max).to_wide(), others.to_wide()];
            }
            nodes.push(node, 0);
            start += row.len();
        }
        nodes
    }
}

impl<T: Real> Scalar<(RowsMut<'_, T, 1>, Flat<'_>)> for PartProbs<T> {
    fn scalar(&self, (rows, _): (RowsMut<'_, T, 1>, Flat<'_>)) {
        let (max, sum) = max_and_sum(&self.0);
        for mut row in rows {
            for i in 0..row.len() {
                row.set(i, canonical((row.get(0, i) - max).exp() / sum));
            }
        }
    }
}

impl<T: Real> Scalar<(RowsMut<'_, T, 1>, Flat<'_>)> for PartGrad<T> {
    fn scalar(&self, (rows, flat): (RowsMut<'_, T, 1>, Flat<'_>)) {
        let (max, sum) = max_and_sum(&self.whole);
        let (scale, mut class) = (T::from_f64(self.scale), flat.start);
        let scale = if self.scale.is_finite() {
            scale
        } else {
            T::NAN
        };
        for mut row in rows {
            for i in 0..row.len() {
                let t = if class == self.target.0 {
                    T::ONE
                } else {
                    T::ZERO
                };
                let p = (row.get(0, i) - max).exp() / sum;
                row.set(i, canonical((p - t) * scale + T::ZERO));
                class += 1;
            }
        }
    }
}

/// Of a row in parts; NaN if it has no probabilities.
fn max_and_sum<T: Real>(row: &Whole<T>) -> (T, T) {
    match row.node.extent {
        Extent::Finite(max) => (max, T::from_wide(row.node.sums[0])),
        _ => (T::NAN, T::NAN),
    }
}

impl<T: Real> Whole<T> {
    /// The log-sum-exp of a row in parts.
    pub(crate) fn textbook_log_sum_exp(&self) -> T {
        let (max, sum) = max_and_sum(self);
        match self.node.extent {
            Extent::Infinite => T::INFINITY,
            Extent::Masked => T::NEG_INFINITY,
            _ => canonical(max + sum.ln()),
        }
    }

    /// Its loss, toward a target with this logit.
    pub(crate) fn textbook_loss(&self, logit: T) -> T {
        let (max, sum) = max_and_sum(self);
        canonical(sum.ln() - (logit - max))
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 2>> for Backward<false> {
    fn scalar(&self, rows: RowsMut<'_, T, 2>) {
        for mut row in rows {
            let mut dot = T::ZERO;
            for i in 0..row.len() {
                let (y, dy) = (row.get(0, i), row.get(1, i));
                if y != T::ZERO || dy.is_nan() {
                    dot = dot + y * dy;
                }
            }
            for i in 0..row.len() {
                let (y, dy) = (row.get(0, i), row.get(1, i));
                let dx = if y == T::ZERO && !dot.is_nan() {
                    T::ZERO
                } else {
                    y * (dy - dot)
                };
                row.set(i, canonical(dx));
            }
        }
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 2>> for Backward<true> {
    fn scalar(&self, rows: RowsMut<'_, T, 2>) {
        for mut row in rows {
            let sum = (0..row.len()).fold(T::ZERO, |sum, i| sum + row.get(1, i));
            for i in 0..row.len() {
                let (p, dy) = (row.get(0, i).exp(), row.get(1, i));
                let dx = if p == T::ZERO && !sum.is_nan() {
                    dy
                } else {
                    dy - p * sum
                };
                row.set(i, canonical(dx));
            }
        }
    }
}

impl<T: Real, const LOG: bool> Scalar<(RowsMut<'_, T, 2>, FirstRow)> for MaskedBackward<'_, LOG> {
    fn scalar(&self, (rows, FirstRow(first)): (RowsMut<'_, T, 2>, FirstRow)) {
        let classes = rows.classes();
        let scale = T::from_f64(self.scale.unwrap_or(1.0));
        for (mut row, index) in rows.zip(first..) {
            let takes_part = |i: usize| takes_part(&self.masks, index, i, classes);
            let mut sum = T::ZERO;
            for i in (0..classes).filter(|&i| takes_part(i)) {
                let (y, dy) = (row.get(0, i), row.get(1, i));
                if LOG {
                    sum = sum + dy;
                } else if y != T::ZERO || dy.is_nan() {
                    sum = sum + y * dy;
                }
            }
            for i in 0..classes {
                let (y, dy) = (row.get(0, i), row.get(1, i));
                let p = if LOG { y.exp() } else { y };
                let dx = if !takes_part(i) {
                    T::ZERO
                } else if sum.is_nan() {
                    sum
                } else if LOG {
                    let others = if p == T::ZERO { T::ZERO } else { p * sum };
                    scale * (dy - others)
                } else if y == T::ZERO {
                    T::ZERO
                } else {
                    scale * (y * (dy - sum))
                };
                row.set(i, canonical(dx));
            }
        }
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 1>> for Exp {
    fn scalar(&self, rows: RowsMut<'_, T, 1>) {
        each(rows, |[x]| x.exp());
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 1>> for Sigmoid {
    fn scalar(&self, rows: RowsMut<'_, T, 1>) {
        each(rows, |[x]| sigmoid(x));
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 2>> for ElementLosses {
    fn scalar(&self, rows: RowsMut<'_, T, 2>) {
        each(rows, |[x, label]| binary_cross_entropy(x, label));
    }
}

impl<T: Real> Scalar<Rows<'_, T, 2>> for BinaryCrossEntropy<T> {
    fn scalar(&self, rows: Rows<'_, T, 2>) -> Wide<T> {
        binary_cross_entropies(*self, rows)
    }
}

impl<T: Real> Scalar<RowsMut<'_, T, 2>> for BinaryCrossEntropy<T> {
    fn scalar(&self, rows: RowsMut<'_, T, 2>) -> Wide<T> {
        binary_cross_entropies(*self, rows)
    }
}

fn binary_cross_entropies<T: Real, P: Pass<T, 2>>(
    kernel: BinaryCrossEntropy<T>,
    mut rows: impl Split + Iterator<Item = P>,
) -> Wide<T> {
    let scale = T::from_wide(kernel.grad_scale);
    tree::sum(rows.rows(), |_| {
        let Some(mut row) = rows.next() else {
            return Wide::<T>::ZERO;
        };
        let mut sum = Wide::<T>::ZERO;
        for i in 0..row.len() {
            let (x, label) = (row.get(0, i), row.get(1, i));
            sum += binary_cross_entropy(x, label).to_wide();
            row.set(i, canonical((sigmoid(x) - label) * scale));
        }
        sum
    })
}

impl<T: Real> Scalar<(Rows<'_, T, 2>, Flat<'_>)> for WeightedBinary<'_, T> {
    fn scalar(&self, (rows, flat): (Rows<'_, T, 2>, Flat<'_>)) -> Wide<T> {
        weighted_binary(self, rows, flat, false)
    }
}

impl<T: Real> Scalar<(RowsMut<'_, T, 2>, Flat<'_>)> for WeightedBinary<'_, T> {
    fn scalar(&self, (rows, flat): (RowsMut<'_, T, 2>, Flat<'_>)) -> Wide<T> {
        weighted_binary(self, rows, flat, false)
    }
}

impl<T: Real> Scalar<(RowsMut<'_, T, 2>, Flat<'_>)> for WeightedElementLosses<'_, T> {
    fn scalar(&self, (rows, flat): (RowsMut<'_, T, 2>, Flat<'_>)) {
        weighted_binary(&self.0, rows, flat, true);
    }
}

fn weighted_binary<T: Real, P: Pass<T, 2>>(
    kernel: &WeightedBinary<'_, T>,
    mut rows: impl Split + Iterator<Item = P>,
    flat: Flat<'_>,
    writes_losses: bool,
) -> Wide<T> {
    let scale = T::from_wide(kernel.grad_scale);
    let (keep, add) = (
        T::from_f64(1.0 - kernel.smoothing),
        T::from_f64(0.5 * kernel.smoothing),
    );
    let weight = |weights: Option<&[T]>, i: usize| {
        weights.map_or(T::ONE, |weights| weights[(flat.start + i) % weights.len()])
    };
    let mut done = 0;
    tree::sum(rows.rows(), |_| {
        let Some(mut row) = rows.next() else {
            return Wide::<T>::ZERO;
        };
        let mut sum = Wide::<T>::ZERO;
        for i in 0..row.len() {
            let element = done + i;
            if flat.ignored.is_some_and(|ignored| ignored[element]) {
                row.set(i, T::ZERO);
                continue;
            }
            let (x, label) = (row.get(0, i), row.get(1, i));
            let yes = weight(kernel.pos_weights, element) * (label * keep + add);
            let other = (T::ONE - label) * keep + add;
            let (negative, zero) = (x < T::ZERO, T::ZERO);
            let against = if negative { yes } else { other };
            let magnitude = if negative { -x } else { x };
            let against = if against == zero {
                zero
            } else {
                against * magnitude
            };
            let loss = against + (yes + other) * (-magnitude).exp().ln_1p();
            let grad = (other * sigmoid(x) - yes * sigmoid(-x)) * scale;
            let weight = weight(kernel.label_weights, element);
            let share = |y: T| {
                if weight == zero && !y.is_nan() {
                    zero
                } else {
                    weight * y
                }
            };
            sum += share(loss).to_wide();
            row.set(i, canonical(share(if writes_losses { loss } else { grad })));
        }
        done += row.len();
        sum
    })
}

impl<T: Real> Scalar<Rows<'_, T, 1>> for Sum {
    fn scalar(&self, mut rows: Rows<'_, T, 1>) -> Wide<T> {
        tree::sum(rows.rows(), |_| {
            let row = rows.next();
            row.map_or(Wide::<T>::ZERO, |row| {
                (0..row.len())
                    .fold(T::ZERO, |sum, i| sum + row.get(0, i))
                    .to_wide()
            })
        })
    }
}

impl<T: Real> Scalar<Rows<'_, T, 1>> for Max {
    fn scalar(&self, rows: Rows<'_, T, 1>) -> Largest<T> {
        let mut found = Largest(T::NEG_INFINITY);
        for row in rows {
            let mut max = canonical(largest(row));
            if max == T::ZERO {
                // The first zero. A sum of zeros is +0 if any of them is.
                for i in (0..row.len()).filter(|&i| row.get(0, i) == T::ZERO) {
                    max = max + row.get(0, i);
                }
            }
            found = found.merge(Largest(max));
        }
        found
    }
}

/// The largest element, NaN if there is one.
fn largest<T: Real>(row: Row<'_, T, 1>) -> T {
    (0..row.len()).fold(T::NEG_INFINITY, |max, i| {
        let x = row.get(0, i);
        if x > max || x.is_nan() { x } else { max }
    })
}

fn sum_of_weights<T: Real>(row: Row<'_, T, 1>, max: T) -> T {
    (0..row.len()).fold(T::ZERO, |sum, i| sum + (row.get(0, i) - max).exp())
}

fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

fn binary_cross_entropy<T: Real>(x: T, label: T) -> T {
    let negative = x < T::ZERO;
    let magnitude = if negative { -x } else { x };
    let against = if negative { label } else { T::ONE - label };
    let against = if against == T::ZERO {
        T::ZERO
    } else {
        against * magnitude
    };
    against + (-magnitude).exp().ln_1p()
}

fn each<T: Real, const N: usize>(rows: RowsMut<'_, T, N>, f: impl Fn([T; N]) -> T) {
    for mut row in rows {
        for i in 0..row.len() {
            let x = core::array::from_fn(|source| row.get(source, i));
            row.set(i, canonical(f(x)));
        }
    }
}

/// With the canonical NaN in place of any other.
fn canonical<T: Real>(x: T) -> T {
    if x.is_nan() { T::NAN } else { x }
}
