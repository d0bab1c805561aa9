//! How many ULP each operation may be off on the vector backends. (The scalar path has the errors of its
//! formulas: `textbook.rs`.)

use softlane::Backend;

/// What an error stays below.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Where multiply-add is fused.
    pub fused: f64,
    /// And where it is not: `portable` on SSE2 or wasm.
    pub unfused: f64,
}

impl Bound {
    /// That of a backend, which is not `scalar`.
    pub fn on(self, backend: Backend) -> f64 {
        if backend.is_fused() {
            self.fused
        } else {
            self.unfused
        }
    }

    /// The same in other units.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        bound(f(self.fused), f(self.unfused))
    }
}

/// The bounds of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Over the corpus (`corpus.rs`). Fused: what is promised. Not fused: the worst that `accuracy.rs` or a longer
    /// search found, rounded up to a quarter. There, every product that enters a sum is rounded first, in
    /// the polynomial of the exponential above all: a weight is off by up to 1.8 u, and so is the sum of
    /// the others, the other way.
    pub corpus: Bound,
    /// For every input. Fused: what the documentation states. Not fused: what is derived here, in
    /// `u = 2^-24`, which is an ULP where a mantissa is near 2. An exponential is off by up to 1.7 u there, a
    /// weight by 1.8 and a sum of weights by 1.9, or 2.0 if the largest is left out (its additions: `src/kernel/running.rs`), and each rounding by 0.5 ULP, or, if a factor follows, which may
    /// move the mantissa from 1 to 2, by 1.
    pub derived: Bound,
}

const fn bound(fused: f64, unfused: f64) -> Bound {
    Bound { fused, unfused }
}

const fn bounds(corpus: Bound, derived: Bound) -> Bounds {
    // What holds for every input holds over the corpus.
    assert!(corpus.fused <= derived.fused && corpus.unfused <= derived.unfused);
    Bounds { corpus, derived }
}

/// The error is 0 or infinite.
pub const EXACT: Bound = bound(1.0, 1.0);

/// In ULP of the result, of all arguments (`elements.rs`).
pub const EXP: Bounds = bounds(bound(0.9, 1.2), bound(0.9, 1.2));

/// In ULP of the sum of the magnitudes. It is taken in `f64` everywhere.
pub const SUM: Bounds = bounds(bound(0.51, 0.51), bound(0.51, 0.51));

/// In ULP of the result, of all arguments (`elements.rs`).
pub const SIGMOID: Bounds = bounds(bound(1.5, 2.1), bound(1.5, 2.1));

/// A probability, or a multiple of one, which a gradient is, in ULP of the result; not fused: a weight 1.8,
/// the sum of all 1.9, and each of two products with the factor 0.5. Derived for all but [small ones](SMALL_PROBABILITY).
pub const PROBABILITY: Bounds = bounds(bound(2.0, 3.5), bound(2.9, 4.7));

/// The same below 2^-122, where the low part of the factor gives a subnormal number.
pub const SMALL_PROBABILITY: Bound = bound(3.4, 5.2);

/// What is derived for a result of this size.
pub fn probability(p: f64) -> Bound {
    const SMALL: f64 = 16.0 * f32::MIN_POSITIVE as f64;
    if p.abs() < SMALL {
        SMALL_PROBABILITY
    } else {
        PROBABILITY.derived
    }
}

/// In ULP of the result; not fused: the sum 2.0 (the result is at least ln 2, or `ln(1 + others)`), two
/// subtractions 1.
pub const LOG_PROBABILITY: Bounds = bounds(bound(1.6, 1.75), bound(1.6, 3.0));

/// In ULP of the larger of the result and 1; not fused: the sum 1.0 (0.95 where nothing is left out), the result 0.5.
pub const LOG_SUM_EXP: Bounds = bounds(bound(0.8, 1.25), bound(0.8, 1.5));

/// In ULP of the larger operand: derived in `src/kernel/backward.rs`.
pub const SOFTMAX_BACKWARD: Bounds = bounds(bound(2.0, 2.75), bound(2.0, 2.75));

/// In ULP of the larger operand: derived there, subnormal exponentials included.
pub const LOG_SOFTMAX_BACKWARD: Bounds = bounds(bound(2.5, 3.25), bound(3.3, 4.4));

/// Of a row, in ULP of the result; not fused: the sum 2.0, the result 0.5.
pub const LOSS: Bounds = bounds(bound(1.1, 1.5), bound(1.1, 2.5));

/// Of a batch: the losses are not rounded before they are summed.
pub const REDUCED_LOSS: Bounds = bounds(bound(1.1, 1.5), LOSS.derived);

/// The gradient of a row's loss at the target, which is a sum of weights over another, in ULP of the result.
pub const TARGET_GRADIENT: Bound = LOSS.derived;

/// Of a distribution that is not negative, a row or a batch: derived in `src/kernel/soft_cross_entropy.rs`. The corpus has rows beyond `2^16`, which have one
/// rounding more.
pub const SOFT_LOSS: Bounds = bounds(bound(1.5, 1.75), bound(2.1, 3.5));

/// Of a distribution that is not negative, in ULP of the larger of what is subtracted: derived in `src/kernel/soft_cross_entropy.rs`. Without fused multiply-add, a
/// weight is off by 1.8 and the sum by 2.0, and products are rounded.
pub const SOFT_GRADIENT: Bounds = bounds(bound(2.5, 4.0), bound(3.2, 6.3));

/// In ULP of the result, of labels from 0 to 1: derived in `src/kernel/binary_cross_entropy.rs`.
pub const BINARY_LOSS: Bounds = bounds(bound(2.5, 3.25), bound(2.6, 4.4));

/// With labels 0 and 1, of all arguments (`elements.rs`).
pub const HARD_BINARY_LOSS: Bound = bound(1.5, 2.9);

/// Of a batch, over the corpus, in ULP of the result. The losses are rounded before they are summed, and the sum
/// once more.
pub const REDUCED_BINARY_LOSS: Bound = bound(2.0, 2.5);

/// In ULP of the larger term: derived in `src/kernel/binary_cross_entropy.rs`.
pub const BINARY_GRADIENT: Bounds = bounds(bound(2.0, 3.25), bound(3.0, 6.7));

/// Of the mean, which has the factor.
pub const MEAN_BINARY_GRADIENT: Bounds = bounds(bound(2.5, 4.0), BINARY_GRADIENT.derived);

/// With labels 0 and 1, in ULP of the result, of all arguments (`elements.rs`).
pub const HARD_BINARY_GRADIENT: Bound = bound(1.5, 2.1);

/// The same of the mean, from what that test finds relative to a result, in `u`: the product is rounded once more, and
/// may be a subnormal number.
pub const HARD_MEAN_BINARY_GRADIENT: Bound = bound(2.5, 4.0);
