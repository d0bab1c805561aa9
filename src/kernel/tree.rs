//! The fixed binary tree along which partial results are combined, so that the order of additions
//! depends on their number only: not on threads, batches or instruction sets.
//!
//! A tree over `n` leaves has the largest power of two below `n` on its left. So nodes that cover
//! `2^k` leaves from a multiple of `2^k` on are the same in every tree that is large enough, and
//! work that is cut at [`split_point`]s merges to the bits of the whole.

use super::wide::WideFloat;
use crate::partly::Partly;

/// Results of two adjacent parts that combine. They borrow nothing of the parts.
pub trait Merge: 'static {
    /// The result of both.
    #[must_use]
    fn merge(self, right: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) {}
}

impl Merge for f64 {
    fn merge(self, right: Self) -> Self {
        self + right
    }
}

/// Sums of the same leaves.
impl<W: WideFloat, const N: usize> Merge for [W; N] {
    #[inline(always)]
    fn merge(mut self, right: Self) -> Self {
        for (left, right) in self.iter_mut().zip(right) {
            *left += right;
        }
        self
    }
}

/// Leaves on the left of a tree over `leaves`, of which there are at least two.
pub fn split_point(leaves: usize) -> usize {
    1 << (leaves - 1).ilog2()
}

/// A sum along the tree whose leaves come one by one.
#[derive(Debug)]
pub struct Sum<W: WideFloat> {
    /// Complete nodes, largest first: the binary digits of the number of leaves so far.
    nodes: Partly<W, { usize::BITS as usize }>,
    leaves: usize,
}

impl<W: WideFloat> Sum<W> {
    /// No leaves.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            nodes: Partly::none(),
            leaves: 0,
        }
    }

    /// One more leaf.
    #[inline(always)]
    pub fn push(&mut self, leaf: W) {
        self.push_node(leaf, 0);
    }

    /// Sixteen more leaves, after a multiple of sixteen.
    #[inline(always)]
    pub fn push_sixteen(&mut self, mut leaves: [W; 16]) {
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
            }
        }
        self.push_node(leaves[0], 4);
    }

    /// As many of sixteen more leaves, after a multiple of sixteen.
    #[inline(always)]
    pub fn push_first(&mut self, leaves: [W; 16], count: usize) {
        if count >= leaves.len() {
            return self.push_sixteen(leaves);
        }
        for &leaf in &leaves[..count] {
            self.push(leaf);
        }
    }

    /// A complete node over `2^level` leaves, after a multiple of as many.
    #[inline(always)]
    fn push_node(&mut self, mut node: W, level: u32) {
        for _ in 0..(self.leaves >> level).trailing_ones() {
            let last = self.nodes.pop();
            debug_assert!(last.is_some(), "a node for each binary digit");
            node += last.unwrap_or(W::ZERO);
        }
        self.nodes.push(node);
        self.leaves += 1 << level;
    }

    /// The sum of all leaves; 0 for none.
    #[inline(always)]
    pub fn total(&self) -> W {
        let [rest @ .., last] = &*self.nodes else {
            return W::ZERO;
        };
        let mut total = *last;
        for &node in rest.iter().rev() {
            total += node;
        }
        total
    }
}

/// The sum of `leaf(0)` to `leaf(leaves - 1)`, called in that order, added along the tree. 0 for no
/// leaves.
#[inline(always)]
pub fn sum<W: WideFloat>(leaves: usize, mut leaf: impl FnMut(usize) -> W) -> W {
    if leaves == 1 {
        return leaf(0);
    }
    let mut sum = Sum::new();
    for i in 0..leaves {
        sum.push(leaf(i));
    }
    sum.total()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Sum, split_point, sum};

    fn recursive(leaves: &[f64]) -> f64 {
        match leaves {
            [] => 0.0,
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split_point(leaves.len()));
                recursive(left) + recursive(right)
            }
        }
    }

    #[test]
    fn iterative_is_recursive() {
        // Terms whose sum depends on the order of addition.
        let leaves: Vec<f64> = (0..300)
            .map(|i| f64::from(i * i % 97) * 0.1 + 1e-9)
            .collect();
        for n in 0..leaves.len() {
            assert_eq!(
                sum(n, |i| leaves[i]).to_bits(),
                recursive(&leaves[..n]).to_bits(),
                "{n} leaves"
            );
        }
    }

    #[test]
    fn sixteen_at_a_time_are_one_by_one() {
        let leaves: Vec<f64> = (0..350)
            .map(|i| f64::from(i * i % 97) * 0.1 + 1e-9)
            .collect();
        // Even and odd numbers of sixteens, and what may follow them.
        for n in 0..leaves.len() {
            let mut sixteen = Sum::new();
            let (blocks, rest) = leaves[..n].as_chunks::<16>();
            for &block in blocks {
                sixteen.push_first(block, 16);
            }
            let mut last = [f64::NAN; 16];
            last[..rest.len()].copy_from_slice(rest);
            sixteen.push_first(last, rest.len());
            let total = sixteen.total();
            assert_eq!(total.to_bits(), recursive(&leaves[..n]).to_bits(), "{n}");
        }
    }

    #[test]
    fn splits_at_powers_of_two() {
        assert_eq!([2, 3, 4, 5, 8, 9].map(split_point), [1, 2, 2, 4, 4, 8]);
    }
}
