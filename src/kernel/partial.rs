//! Part of a row, so that a row can lie in pieces: the sums of complete nodes of the tree over its chunks, and what the whole row
//! says of a part.
//!
//! A part begins at a multiple of [`CHUNK`], and consists of as few complete nodes of the tree over the chunks of its row as cover
//! it. Which ones follows from where it begins and ends. Each node has weights with the reference that its own maximum gives
//! ([`Shift`]), so it is the same however the part has come together; where two nodes become one, or all of them the row, the sums
//! with the lower maximum are multiplied by `2^(N_low - N_high)`.
//!
//! **When that gives the bits of the whole row.** Weights with another `N` are the same numbers times a power of two, and so are their sums,
//! if no weight is moved to the lightest one ([`Weigh`](super::shift::Weigh)), no product with a growth is a subnormal number, and:
//!
//! - The maximum of the row, and those of the chunks that count beside it, are within the reach of the reduction. Beyond, elements are
//!   weighed less the maximum, of the row or of a chunk, and these differences are rounded apart. The factor is `e^(difference)` then,
//!   in `f64`: relative errors of up to 2^-35 where two sums become one, which is some 48 times at most for any weight, so 2^-29. The bounds have 0.05
//!   of `u = 2^-24` to spare, 2^-28.3 (see the table of the crate).
//! - Multiply-add is fused: the rounding constants differ by multiples of 8 then, and halves go to the same integer. Elsewhere they may differ by an
//!   odd number; then a product with `log2 e` that happens to end in one half, one in some 2^14 of logits in the hundreds, is rounded to the other side.
//!   Its weight may then differ by its rounding, within the bounds.
//!
//! What has no weight beside one maximum, `-inf` above all, has the lightest one, and its growth beside that is what is rounded of the least element: of either sign. So
//! in a chunk of at most 64 elements, beside another maximum, it may be added to the sum of growths with the other sign, and decide how the next product in the same lane is rounded,
//! if that ends in one half: `T` has 24 bits, so the growth of such a product has few. Of all logits between -28 and 28, two are known with which that
//! happens, `1.5865577` and `-4.6719308` (`a_tie_beside_nothing` in `tests/row_state.rs`). The sum then differs by one rounding of its growths, `2^-29`, and
//! by one more in each of the four additions of lanes, which may turn out the other way. (In a longer chunk the weight itself is added to what is
//! [rounded off](super::running), and the first of these that counts leaves nothing of it.)
//!
//! The lightest weight is `2^-125`, and products below `2^-126` are rounded to multiples of `2^-149`. So the sum of a chunk may be off by up to
//! `4096 (2^-124 + 2^-149) < 2^-111`, of what is `2^63` at least for the row. A sum of this size shows no such difference (but
//! for one that lies as near to half way between two numbers), and so do those of the chunks that matter to its 53 bits. It shows where
//! the row's maximum is left out, as the target, and all the others together have less than `2^(53 - 111 - 63) < 2^-120` of its weight for each
//! chunk: in a loss below `2^-120` times the number of chunks.
//!
//! With the maximum of the row given beforehand, every chunk is weighed as in the whole row, and there are no such limits.

use super::MaskedRows;
use super::chunks::Chunks;
use super::cross_entropy::{CrossEntropy, Toward};
use super::rounded;
use super::row::{Apart, Beside, Ordinary, RowWork};
use super::scale::{One, Scale};
use super::shift::Shift;
use super::softmax::Softmax;
use super::tree::Merge;
use super::weights::{Counted, Extent, NONE, extent, has_nan, weigh};
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{CHUNK, Pass as _, Row, Rows, RowsMut};
use crate::simd::{Kernel, Simd, Vector};
use crate::targets::Flat;

/// What decides the bits of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Scalar,
    /// Vectors, without and with fused multiply-add.
    Unfused,
    Fused,
}

impl Arithmetic {
    /// That of a vector.
    fn of<V: Vector>() -> Self {
        if V::FUSED { Self::Fused } else { Self::Unfused }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Unfused => "without fused multiply-add",
            Self::Fused => "with fused multiply-add",
        }
    }

    /// What is subtracted from elements beside this maximum, and the `N` of their weights.
    fn reference<T: Real>(self, max: T) -> [T; 2] {
        if self == Self::Scalar {
            return [max, T::ZERO];
        }
        let shift = Shift::of(max, &Scale::one(), self == Self::Fused);
        [shift.offset(), shift.reference()]
    }

    /// What a sum of weights beside one maximum is multiplied by, to be one beside a larger one.
    #[expect(clippy::cast_sign_loss, reason = "a biased exponent is positive")]
    fn factor<T: Real>(self, from: T, to: T) -> Wide<T> {
        if from == to {
            return Wide::<T>::ONE;
        }
        let ([from, n_from], [to, n_to]) = (self.reference(from), self.reference(to));
        let octaves = n_from.to_f64() - n_to.to_f64();
        if from != to {
            let octaves = Wide::<T>::of(octaves) * Wide::<T>::LN_2;
            ((from.to_wide() - to.to_wide()) + octaves).exp()
        } else if octaves < -1000.0 {
            // So that what is left of a sum is no subnormal number: none of its weights counts.
            Wide::<T>::ZERO
        } else {
            // At most 0, as the larger maximum has the larger reference.
            Wide::<T>::of(f64::from_bits(((1023.0 + octaves) as u64) << 52))
        }
    }
}

/// Chunks of the longest row.
pub const MAX_CHUNKS: usize = 1 << 24;

/// The most nodes that a part of it consists of: at each level one on either side, but for the two highest.
pub const MAX_NODES: usize = 2 * MAX_CHUNKS.ilog2() as usize - 2;

/// A complete node of the tree over the chunks of a row.
#[derive(Clone, Copy, Debug)]
pub struct Node<T: Float> {
    /// A NaN does not hide here.
    pub extent: Extent<T>,
    /// The sum of the weights, and that without the target's. With the reference that the maximum gives, or the one that is given. 0 where
    /// there are none.
    pub sums: [Wide<T>; 2],
}

impl<T: Real> Node<T> {
    /// Without weights.
    pub const fn special(extent: Extent<T>) -> Self {
        Self {
            extent,
            sums: [Wide::<T>::ZERO; 2],
        }
    }
}

/// The nodes of a part of a row.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<T: Float> {
    /// From left to right.
    list: [Node<T>; MAX_NODES],
    count: usize,
    /// The first chunk, and the one after the last.
    start: usize,
    end: usize,
    arithmetic: Arithmetic,
    /// The maximum of the row, if that was given.
    given: Option<T>,
}

impl<T: Real> Nodes<T> {
    /// Of a part without chunks.
    #[inline(always)]
    pub fn new(start: usize, arithmetic: Arithmetic, given: Option<T>) -> Self {
        Self {
            list: [Node::special(Extent::Masked); MAX_NODES],
            count: 0,
            start,
            end: start,
            arithmetic,
            given,
        }
    }

    /// Of a part from chunk `start` to before `end`, if these are its nodes.
    pub fn from_parts(
        start: usize,
        end: usize,
        arithmetic: Arithmetic,
        given: Option<T>,
        list: [Node<T>; MAX_NODES],
    ) -> Self {
        Self {
            list,
            count: count(start, end),
            end,
            ..Self::new(start, arithmetic, given)
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node<T>] {
        &self.list[..self.count]
    }

    /// What weighed them.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The levels of the nodes, 0 for a chunk. They ascend, then descend.
    pub fn levels(&self) -> impl Iterator<Item = u32> {
        levels(self.start, self.end).into_iter().take(self.count)
    }

    /// A node of this level, behind the others. Out of line, once a chunk, so that kernels have no loop over single numbers.
    #[inline(never)]
    pub fn push(&mut self, mut node: Node<T>, mut level: u32) {
        let mut at = self.end;
        self.end += 1 << level;
        // A right half, whose left half is the last node if it is there at all.
        while (at >> level) & 1 == 1 && at - self.start >= 1 << level {
            self.count -= 1;
            node = self.joined(self.list[self.count], node);
            at -= 1 << level;
            level += 1;
        }
        self.list[self.count] = node;
        self.count += 1;
    }

    /// The nodes of a part that begins where this one ends, which has been weighed alike, behind these.
    pub fn append(&mut self, right: &Self) {
        for (node, level) in right.nodes().iter().zip(right.levels()) {
            self.push(*node, level);
        }
    }

    /// The sums of two parts of a row.
    fn joined(&self, left: Node<T>, right: Node<T>) -> Node<T> {
        let extent = left.extent.merge(right.extent);
        let mut sums = [Wide::<T>::ZERO; 2];
        for node in [left, right] {
            let factor = match (self.given, node.extent, extent) {
                (Some(_), ..) => Wide::<T>::ONE,
                (_, Extent::Finite(from), Extent::Finite(to)) => self.arithmetic.factor(from, to),
                _ => Wide::<T>::ZERO,
            };
            sums[0] += node.sums[0] * factor;
            sums[1] += node.sums[1] * factor;
        }
        Node { extent, sums }
    }

    /// The row, if the part is one: as [`tree::Sum`](super::tree::Sum) adds its nodes.
    pub fn total(&self) -> Node<T> {
        let mut total = Node::special(Extent::Masked);
        if let [rest @ .., last] = self.nodes() {
            total = *last;
            for &node in rest.iter().rev() {
                total = self.joined(node, total);
            }
        }
        total
    }
}

impl<T: Real> Merge for Nodes<T> {
    fn merge(mut self, right: Self) -> Self {
        self.append(&right);
        self
    }
}

/// The levels of the nodes of a part, from left to right, and 0.
fn levels(start: usize, end: usize) -> [u32; MAX_NODES] {
    let (mut levels, mut count, mut at) = ([0; MAX_NODES], 0, end);
    while at > start && count < MAX_NODES {
        let level = at.trailing_zeros().min((at - start).ilog2());
        levels[count] = level;
        count += 1;
        at -= 1 << level;
    }
    levels[..count].reverse();
    levels
}

/// How many nodes a part consists of.
pub fn count(start: usize, end: usize) -> usize {
    let (mut count, mut at) = (0, end);
    while at > start {
        at -= 1 << at.trailing_zeros().min((at - start).ilog2());
        count += 1;
    }
    count
}

/// Finds the nodes of a part.
#[derive(Clone, Copy, Debug)]
pub struct PartSums<T> {
    /// The target's class in the row, or [`NONE`].
    pub target: usize,
    /// The maximum of the row, if that is given.
    pub given: Option<T>,
}

impl<T: Real> PartSums<T> {
    /// The maximum beside which a chunk of this extent is weighed, if it is.
    #[inline(always)]
    pub fn reference(&self, extent: Extent<T>) -> Option<T> {
        match (self.given, extent) {
            (None, Extent::Finite(max)) => Some(max),
            (Some(given), Extent::Finite(max)) if max <= given && given < T::INFINITY => {
                Some(given)
            }
            // As in the row, where elements without a weight have the lightest one.
            (Some(given), Extent::Masked) if T::NEG_INFINITY < given && given < T::INFINITY => {
                Some(given)
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn node<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        mut chunk: Row<'_, T, 1>,
        target: usize,
        scale: &Scale<T>,
    ) -> Node<T> {
        let maxima = chunk.max::<V>(simd);
        let extent = extent::<V>(simd, chunk, Some(maxima));
        let Some(max) = self.reference(extent) else {
            // What is given is not the maximum, if it is that of a row without weights. A NaN would show in the sum of these only.
            let is_hidden = matches!(extent, Extent::Finite(_)) && has_nan::<V>(simd, chunk);
            return Node::special(if is_hidden { Extent::Nan } else { extent });
        };
        let shift = Shift::new::<V>(max, scale);
        let mut sums = [Wide::<T>::ZERO; 2];
        // The second one only where the target is.
        for (i, left_out) in [NONE, target].into_iter().enumerate() {
            if i == 1 && target >= chunk.len() {
                sums[1] = sums[0];
                break;
            }
            let counted = &mut Counted {
                left_out,
                maxima: Some(maxima),
                chunks: &mut Chunks::unknown(),
            };
            let none = Row::empty();
            let weighed = if shift.is_far() {
                weigh::<V, _, true>(simd, &mut chunk, &shift, counted, none, |_, _| {})
            } else {
                weigh::<V, _, false>(simd, &mut chunk, &shift, counted, none, |_, _| {})
            };
            sums[i] = weighed.sum;
        }
        if sums[0].is_nan() {
            return Node::special(Extent::Nan);
        }
        Node { extent, sums }
    }
}

impl<T: Real> Kernel<(Rows<'_, T, 1>, Flat<'_>)> for PartSums<T> {
    type Output = Nodes<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, flat): (Rows<'_, T, 1>, Flat<'_>)) -> Nodes<T> {
        let arithmetic = Arithmetic::of::<T::Vector<S>>();
        let mut nodes = Nodes::new(flat.start / CHUNK, arithmetic, self.given);
        let (mut start, scale) = (flat.start, Scale::one());
        for chunk in rows {
            let len = chunk.len();
            let target = self.target.wrapping_sub(start);
            nodes.push(self.node::<T::Vector<S>>(simd, chunk, target, &scale), 0);
            start += len;
        }
        nodes
    }
}

/// A row that is whole.
#[derive(Clone, Copy, Debug)]
pub struct Whole<T: Float> {
    /// Of all nodes.
    pub node: Node<T>,
    pub arithmetic: Arithmetic,
}

impl<T: Real> Whole<T> {
    /// What is weighed beside this maximum, on vectors.
    fn shift(&self, max: T) -> Shift<T> {
        Shift::of(max, &Scale::one(), self.is_fused())
    }

    fn is_fused(&self) -> bool {
        self.arithmetic == Arithmetic::Fused
    }

    /// The log-sum-exp, if vectors have weighed the row.
    pub fn log_sum_exp(&self) -> T {
        match self.node.extent {
            Extent::Finite(max) => {
                let shift = self.shift(max);
                let log = self.node.sums[0].ln() + shift.ln_unit_of(self.is_fused());
                rounded(shift.scaled_offset() + log)
            }
            Extent::Masked => T::NEG_INFINITY,
            Extent::Infinite => T::INFINITY,
            Extent::Nan => T::NAN,
        }
    }

    /// The loss of a target with this logit, if vectors have weighed the row.
    pub fn loss(&self, logit: T) -> T {
        let Extent::Finite(max) = self.node.extent else {
            return T::NAN;
        };
        let (shift, fused) = (self.shift(max), self.is_fused());
        rounded(WideFloat::negative_log_likelihood(
            self.node.sums[1],
            shift.accurate_weight_of(logit, fused),
            shift.ln_unit_of(fused),
            shift.logit(logit),
        ))
    }

    /// Writes what the work makes of a part of the row.
    #[inline(always)]
    fn write<V: Vector<Elem = T>>(
        &self,
        simd: V::Simd,
        (rows, flat): (RowsMut<'_, T, 1>, Flat<'_>),
        work: &impl RowWork<T>,
        (target, logit): (usize, T),
    ) {
        let Node { extent, sums } = self.node;
        let mut start = flat.start;
        let Extent::Finite(max) = extent else {
            for mut chunk in rows {
                work.special(&mut chunk, start, extent);
                start += chunk.len();
            }
            return;
        };
        let shift = Shift::new::<V>(max, &work.scale());
        let sum = sums[usize::from(target != NONE)];
        let apart = Apart::new::<V>(&shift, target, logit);
        for mut chunk in rows {
            let ahead = Row::empty();
            // The sum of all parts is known, so that this one is not used, whatever it is summed below.
            let counted = Counted {
                left_out: NONE,
                maxima: Some(V::splat(simd, max)),
                chunks: &mut Chunks::unknown(),
            };
            let (weighed, _) = work.weigh::<V, _>(simd, &mut chunk, start, &shift, counted, ahead);
            let row = Ordinary {
                shift,
                sum,
                beside: Beside::new(),
                top: 0,
                heaviest: weighed.heaviest,
                apart,
            };
            work.write_results::<V, _>(simd, &mut chunk, start, &row);
            start += chunk.len();
        }
    }
}

/// Writes the probabilities of a part of a row.
#[derive(Clone, Copy, Debug)]
pub struct PartProbs<T: Float>(pub Whole<T>);

impl<T: Real> Kernel<(RowsMut<'_, T, 1>, Flat<'_>)> for PartProbs<T> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: (RowsMut<'_, T, 1>, Flat<'_>)) {
        let masked_rows = MaskedRows::Nan;
        let work = Softmax {
            masked_rows,
            scale: One,
        };
        self.0
            .write::<T::Vector<S>>(simd, data, &work, (NONE, T::ZERO));
    }
}

/// Writes the gradient of the loss with respect to a part of a row.
#[derive(Clone, Copy, Debug)]
pub struct PartGrad<T: Float> {
    pub whole: Whole<T>,
    /// The target's class and its logit.
    pub target: (usize, T),
    /// What it is multiplied by.
    pub scale: f64,
}

impl<T: Real> Kernel<(RowsMut<'_, T, 1>, Flat<'_>)> for PartGrad<T> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, data: (RowsMut<'_, T, 1>, Flat<'_>)) {
        // Not the plain one, whose factors are moderate.
        let options = CrossEntropy::<'_, T, false> {
            masked_rows: MaskedRows::Nan,
            grad_scale: Wide::<T>::of(self.scale),
            scale: Scale::one(),
            z_loss: 0.0,
            shares: [Wide::<T>::ONE, Wide::<T>::ZERO],
            class_weights: None,
            total_weight: Wide::<T>::ONE,
            largest_weight: 1.0,
        };
        let (target, logit) = self.target;
        let work = Toward::new(options, target, logit);
        self.whole
            .write::<T::Vector<S>>(simd, data, &work, self.target);
    }
}

#[cfg(all(test, feature = "std"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{
        Arithmetic, CHUNK, Extent, MAX_CHUNKS, MAX_NODES, NONE, Node, Nodes, PartSums, count,
    };
    use crate::backend::Backend;
    use crate::kernel::row::LeftOut;
    use crate::kernel::row::tests::Summing;
    use crate::kernel::tree;
    use crate::rows::{Row, Rows};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd};
    use crate::targets::Flat;

    /// Sums whose sum depends on the order of additions.
    fn leaf(i: usize) -> f64 {
        ((i * i) % 97) as f64 * 0.1 + 1e-9
    }

    /// Chunks `start..end`, one by one. With a maximum given, sums are added as they are.
    fn chunks(start: usize, end: usize, given: Option<f32>) -> Nodes<f32> {
        let mut nodes = Nodes::new(start, Arithmetic::Fused, given);
        for i in start..end {
            // A maximum that tells which chunk has it.
            let extent = Extent::Finite(((i * 37) % 101) as f32 - 80.0);
            nodes.push(
                Node {
                    extent,
                    sums: [leaf(i), 0.0],
                },
                0,
            );
        }
        nodes
    }

    fn bits(nodes: &Nodes<f32>) -> Vec<(String, u64)> {
        let bits = |node: &Node<f32>| (format!("{:?}", node.extent), node.sums[0].to_bits());
        nodes.nodes().iter().map(bits).collect()
    }

    /// Wherever a part begins, ends, and is cut.
    #[test]
    fn parts_are_the_nodes_of_the_tree() {
        const MOST: usize = 40;
        for given in [None, Some(100.0)] {
            for start in 0..MOST {
                for end in start..=MOST {
                    let whole = chunks(start, end, given);
                    assert_eq!(whole.nodes().len(), count(start, end));
                    assert_eq!(
                        whole.levels().map(|level| 1 << level).sum::<usize>(),
                        end - start
                    );
                    for cut in start..=end {
                        let mut parts = chunks(start, cut, given);
                        parts.append(&chunks(cut, end, given));
                        assert_eq!(bits(&parts), bits(&whole), "{start}, {cut}, {end}");
                    }
                }
            }
        }
        for n in 0..300 {
            let total = chunks(0, n, Some(100.0)).total().sums[0];
            assert_eq!(total.to_bits(), tree::sum(n, leaf).to_bits(), "{n} chunks");
        }
    }

    #[test]
    fn there_is_room_for_the_nodes_of_every_part() {
        // By trying all parts of rows of few chunks.
        for levels in 2..10 {
            let chunks = 1_usize << levels;
            let most =
                (0..chunks).flat_map(|start| (start..=chunks).map(move |end| count(start, end)));
            assert_eq!(most.max(), Some(2 * levels - 2));
        }
        // The worst of them, in the longest row.
        assert_eq!(count(1, MAX_CHUNKS - 1), MAX_NODES);
    }

    /// The sum of the weights of a row that is whole, in `f64`, but for one.
    struct Sum(Summing);

    impl Sum {
        fn without(x: &[f32], left_out: usize) -> Self {
            Self(Summing(if left_out == NONE {
                LeftOut::Nothing
            } else {
                LeftOut::Real(left_out, x[left_out])
            }))
        }
    }

    impl Kernel<Row<'_, f32, 1>> for Sum {
        type Output = f64;

        #[inline(always)]
        fn simd<S: Simd>(&self, simd: S, row: Row<'_, f32, 1>) -> f64 {
            self.0.row::<S::F32>(simd, row).sum
        }
    }

    impl Scalar<Row<'_, f32, 1>> for Sum {
        fn scalar(&self, _: Row<'_, f32, 1>) -> f64 {
            unreachable!("the scalar path has no weights")
        }
    }

    /// What the head of this file says of weights that are next to nothing: beside a target that has nearly all of the probability.
    #[test]
    fn light_weights_differ_by_little() {
        let mut differ = 0;
        for backend in Backend::available().filter(|b| b.name() != "scalar") {
            for depth in [60.0, 88.0, 100.0, 120.0, 131.0, 140.0, 200.0] {
                let chunks = 5;
                let x: Vec<f32> = (0..chunks * CHUNK)
                    .map(|i| match i % 3 {
                        _ if i == 0 => 7.0,
                        0 => f32::NEG_INFINITY,
                        // Some of which are moved to the lightest weight beside the target, but not beside each other.
                        1 => -(depth + (i % 101) as f32),
                        _ => -depth,
                    })
                    .collect();
                let sums = PartSums {
                    target: 0,
                    given: None,
                };
                let flat = Flat {
                    start: 0,
                    len: x.len(),
                    ignored: None,
                };
                let [all, others] = backend.run(&sums, (Rows::flat(&x), flat)).total().sums;
                let whole = |left_out| {
                    let row = Rows::new([&x[..]], x.len()).unwrap().next().unwrap();
                    backend.run(&Sum::without(&x, left_out), row)
                };
                assert_eq!(all.to_bits(), whole(NONE).to_bits(), "{backend:?}, {depth}");
                let difference = (others - whole(0)).abs();
                println!("{backend:?}, {depth}: {others:e} is off by {difference:e}");
                differ += usize::from(difference > 0.0);
                assert!(difference <= chunks as f64 * (-111_f64).exp2());
            }
        }
        assert!(differ > 0, "there is nothing to tell of");
    }

    /// Before they are rounded to `f32`, where hardly any difference shows. Chunks have maxima that differ by up to `spread`.
    #[test]
    fn sums_of_parts_are_those_of_the_row() {
        let mut seed = 1_u32;
        let mut uniform = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed) / f64::from(u32::MAX)
        };
        for backend in Backend::available().filter(|b| b.name() != "scalar") {
            for (spread, center) in [(0.0, 0.0), (3.0, 20.0), (40.0, -300.0), (70.0, 3.0)] {
                for len in [1, 100, 4095, 4096, 4097, 3 * CHUNK + 17, 23 * CHUNK + 5] {
                    let mut offset = 0.0;
                    let mut x: Vec<f32> = (0..len)
                        .map(|i| {
                            if i % CHUNK == 0 {
                                offset = center + spread * uniform();
                            }
                            (offset - 20.0 * uniform()) as f32
                        })
                        .collect();
                    let target = len / 3;
                    // Often the largest, and sometimes by far.
                    x[target] += (40.0 * uniform() * uniform()) as f32;
                    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    for given in [None, Some(max)] {
                        let sums = PartSums { target, given };
                        let flat = Flat {
                            start: 0,
                            len,
                            ignored: None,
                        };
                        let nodes = backend.run(&sums, (Rows::flat(&x), flat));
                        let total = nodes.total();
                        assert_eq!(total.extent, Extent::Finite(max));
                        for (left_out, sum) in [NONE, target].into_iter().zip(total.sums) {
                            let row = Rows::new([&x[..]], len).unwrap().next().unwrap();
                            let whole = backend.run(&Sum::without(&x, left_out), row);
                            assert_eq!(
                                sum.to_bits(),
                                whole.to_bits(),
                                "{backend:?}: {len} below {center} + {spread}, {given:?}: {sum} {whole}"
                            );
                        }
                    }
                }
            }
        }
    }
}
