//! The fixed binary tree along which partial results are combined, so that the order of additions
//! depends on their number only: not on threads, batches or instruction sets.
//!
//! A tree over `n` leaves has the largest power of two below `n` on its left. So nodes that cover
//! `2^k` leaves from a multiple of `2^k` on are the same in every tree that is large enough, and
//! work that is cut at [`split_point`]s merges to the bits of the whole.

/// Results of two adjacent parts that combine.
pub trait Merge {
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

/// Leaves on the left of a tree over `leaves`, of which there are at least two.
pub fn split_point(leaves: usize) -> usize {
    1 << (leaves - 1).ilog2()
}

/// The sum of `leaf(0)` to `leaf(leaves - 1)`, called in that order, added along the tree. 0 for no
/// leaves.
#[inline(always)]
pub fn sum(leaves: usize, mut leaf: impl FnMut(usize) -> f64) -> f64 {
    match leaves {
        0 => 0.0,
        1 => leaf(0),
        _ => {
            // Complete nodes, largest first: the binary digits of the number of leaves so far.
            let mut nodes = [0.0; usize::BITS as usize];
            let mut depth = 0;
            for i in 0..leaves {
                let mut node = leaf(i);
                for _ in 0..i.trailing_ones() {
                    depth -= 1;
                    node += nodes[depth];
                }
                nodes[depth] = node;
                depth += 1;
            }
            let mut total = nodes[depth - 1];
            for &node in nodes[..depth - 1].iter().rev() {
                total += node;
            }
            total
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{split_point, sum};

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
    fn splits_at_powers_of_two() {
        assert_eq!([2, 3, 4, 5, 8, 9].map(split_point), [1, 2, 2, 4, 4, 8]);
    }
}
