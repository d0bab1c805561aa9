//! Cross-entropy with all options: the formula of its documentation in `f64`, and how far off a result may be.

use softlane::MaskedRows;

use crate::bounds::{self, Bound};
use crate::check::Expected;
use crate::combined::{Options, SCALED};
use crate::oracle::{self, sum};
use crate::ulp::Want;

/// With terms that differ: derived at the head of `src/kernel/cross_entropy.rs`, and as in `tests/options.rs`.
const MIXED_LOSS: Bound = both(1.8, 4.5);
const MIXED_GRADIENT: Bound = both(3.8, 7.5);

// What options add to the errors of a distribution: derived at the head of `src/kernel/soft_cross_entropy.rs`, and as in
// `tests/soft_targets.rs`.
const WEIGHTED: f64 = 1.0;
const FAR: f64 = 1.0;
const SMOOTHED: Bound = both(1.0, 1.5);
const Z_LOSS: [f64; 2] = [0.7, 0.6];

const fn both(fused: f64, unfused: f64) -> Bound {
    Bound { fused, unfused }
}

fn plus(a: Bound, b: Bound) -> Bound {
    both(a.fused + b.fused, a.unfused + b.unfused)
}

/// What a row is to have of each class in place of its probabilities.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Weighted and smoothed.
    of_classes: Vec<f64>,
    /// What is spread over all classes, if there is a target class apart from that.
    spread: f64,
    is_class: bool,
}

impl Shares {
    /// Of a target class.
    pub fn of_class(options: &Options, target: usize, classes: usize) -> Self {
        let even = options.smoothing / classes as f64;
        let mut of_classes: Vec<f64> = (0..classes).map(|k| even * options.weight(k)).collect();
        let spread = sum(of_classes.iter().copied());
        of_classes[target] += (1.0 - options.smoothing) * options.weight(target);
        Self {
            of_classes,
            spread,
            is_class: true,
        }
    }

    /// Of a distribution. Nothing of numbers that are none, or whose products with weights, which are numbers of the element type, lose
    /// digits or all.
    pub fn of_distribution(options: &Options, target: &[f32]) -> Option<Self> {
        let fits = |(k, &t): (usize, &f32)| {
            let product = options.weight(k) * f64::from(t);
            let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
            t >= 0.0 && t.is_finite() && (product == 0.0 || range.contains(&product))
        };
        let even = options.smoothing / target.len() as f64;
        let share = |(k, &t): (usize, &f32)| {
            options.weight(k) * ((1.0 - options.smoothing) * f64::from(t) + even)
        };
        target.iter().enumerate().all(fits).then(|| Self {
            of_classes: target.iter().enumerate().map(share).collect(),
            spread: 0.0,
            is_class: false,
        })
    }
}

/// A row that counts, as the formula has it.
#[derive(Clone, Debug)]
pub struct Exact<'a> {
    options: &'a Options,
    pub loss: f64,
    /// The size of its largest term, in which errors count.
    operand: f64,
    gradient: Vec<Gradient>,
    /// What probabilities are multiplied by in the gradient.
    factor: f64,
    is_class: bool,
    /// Whether the largest scaled logit is beyond `2^16`.
    is_far: bool,
}

/// The gradient with respect to a logit, and the larger of what is subtracted there.
#[derive(Clone, Copy, Debug)]
struct Gradient {
    value: f64,
    operand: f64,
    /// Whether neither the row nor the target has anything of the class.
    is_nothing: bool,
}

impl<'a> Exact<'a> {
    /// Of these logits.
    pub fn new(options: &'a Options, masked_rows: MaskedRows, x: &[f32], shares: &Shares) -> Self {
        let (scale, q) = (options.scale, &shares.of_classes);
        let max = oracle::max(x);
        let mass = sum(q.iter().copied());
        let unknown = Gradient {
            value: f64::NAN,
            operand: 0.0,
            is_nothing: false,
        };
        let mut exact = Self {
            options,
            loss: f64::NAN,
            operand: 0.0,
            gradient: vec![unknown; x.len()],
            factor: 0.0,
            is_class: shares.is_class,
            is_far: scale * max.abs() > 65_536.0,
        };
        if max == f64::NEG_INFINITY && masked_rows == MaskedRows::Zero {
            exact.loss = product(mass + options.z_loss, f64::INFINITY);
            let gradient = |&q: &f64| Gradient {
                value: -scale * q,
                operand: scale * q,
                is_nothing: q == 0.0,
            };
            exact.gradient = q.iter().map(gradient).collect();
        }
        if !max.is_finite() {
            return exact;
        }
        let top = x.iter().position(|&x| f64::from(x) >= max).unwrap_or(0);
        let z: Vec<f64> = x.iter().map(|&x| scale * (f64::from(x) - max)).collect();
        let weights: Vec<f64> = z.iter().map(|z| z.exp()).collect();
        let all_but_top = |of: &[f64]| {
            let others = of.iter().enumerate().filter(|&(k, _)| k != top);
            sum(others.map(|(_, &x)| x))
        };
        let (others, rest) = (all_but_top(&weights), all_but_top(q));
        let log = others.ln_1p();
        let lse = scale * max + log;
        let at_least_one = lse.abs().max(1.0);
        let nll = sum(z.iter().zip(q).map(|(z, &q)| product(q, log - z)));
        exact.loss = nll + options.z_loss * lse * lse;
        let square = options.z_loss * at_least_one * at_least_one;
        exact.operand = exact.loss.max(shares.spread).max(square);
        let pull = 2.0 * options.z_loss;
        let gradient = |k: usize| {
            let p = weights[k] / (1.0 + others);
            // At the largest logit, q_k (p_k - 1) is told from what is missing to 1.
            let difference = if k == top {
                rest * p - q[k] * (others / (1.0 + others))
            } else {
                mass * p - q[k]
            };
            Gradient {
                value: scale * (difference + pull * lse * p),
                operand: scale * ((mass + pull * at_least_one) * p).max(q[k]),
                is_nothing: x[k] == f32::NEG_INFINITY && q[k] == 0.0,
            }
        };
        exact.gradient = (0..x.len()).map(gradient).collect();
        exact.factor = scale * (mass + pull * at_least_one);
        exact
    }

    /// Whether nothing overflowed on the way.
    pub fn is_known(&self) -> bool {
        self.factor.is_finite() && self.operand < f64::MAX || self.loss == f64::INFINITY
    }

    /// Its loss.
    pub fn expected_loss(&self) -> Expected {
        let operand = if self.has_terms() {
            self.operand
        } else {
            self.loss
        };
        self.around(self.loss_bound(), self.loss, operand, self.least_loss())
    }

    /// The loss of a batch of such rows, which is `value`: their sum divided by `divisor`.
    pub fn expected_reduced(rows: &[Option<Self>], value: f64, divisor: f64) -> Expected {
        let counted = || rows.iter().flatten();
        let Some(first) = counted().next() else {
            return Expected::exactly(value);
        };
        let worst = counted().find(|row| row.is_far).unwrap_or(first);
        let operand = if first.has_terms() {
            sum(counted().map(|row| row.operand)) / divisor
        } else {
            value
        };
        let least = sum(counted().map(Self::least_loss)) / divisor;
        worst.around(worst.loss_bound(), value, operand, least)
    }

    /// Its gradients, times `g`.
    pub fn expected_gradients(&self, g: f64) -> impl Iterator<Item = Expected> {
        let mut least = self.lightest() * (g * self.factor).abs();
        if !self.is_class && self.options.weights.is_some() {
            // The product of a weight and a probability may be a subnormal number, which is multiplied then.
            least = least.max((-149_f64).exp2() * (g * self.options.scale).abs());
        }
        let expected = move |gradient: &Gradient| {
            let value = g * gradient.value;
            if !g.is_finite() {
                return Expected::exactly(f64::NAN).on_vectors();
            }
            if gradient.is_nothing {
                return self.around(bounds::EXACT, 0.0, 0.0, 0.0);
            }
            let operand = if self.has_terms() {
                g.abs() * gradient.operand
            } else {
                value.abs()
            };
            self.around(self.gradient_bound(value), value, operand, least)
        };
        self.gradient.iter().map(expected)
    }

    /// Whether results are differences, or sums of unlike terms.
    fn has_terms(&self) -> bool {
        !self.is_class || self.options.mixes()
    }

    /// What has less than `2^-188` of the weight counts as that, or as nothing.
    fn lightest(&self) -> f64 {
        (-188_f64).exp2() * self.gradient.len() as f64
    }

    /// What becomes of it in the loss.
    fn least_loss(&self) -> f64 {
        self.lightest() * self.factor / self.options.scale
    }

    fn loss_bound(&self) -> Bound {
        if self.is_class && self.options.mixes() {
            return MIXED_LOSS;
        }
        if self.is_class {
            return bounds::LOSS.derived;
        }
        let on = [
            (self.options.weights.is_some(), WEIGHTED),
            (self.options.z_loss != 0.0, Z_LOSS[0]),
            (self.is_far, FAR),
        ];
        let more: f64 = on.iter().filter(|on| on.0).map(|on| on.1).sum();
        plus(bounds::LOSS.derived, self.scaled()).map(|ulps| ulps + more)
    }

    fn gradient_bound(&self, value: f64) -> Bound {
        if self.is_class && self.options.mixes() {
            return MIXED_GRADIENT;
        }
        if self.is_class {
            return plus(bounds::probability(value), self.scaled());
        }
        let (is_weighted, is_smooth) = (
            self.options.weights.is_some(),
            self.options.smoothing != 0.0,
        );
        let smoothed = if is_smooth { SMOOTHED } else { both(0.0, 0.0) };
        let on = [
            (is_weighted, WEIGHTED),
            // The product with what is spread has one more.
            (is_weighted && is_smooth, WEIGHTED),
            (self.options.z_loss != 0.0, Z_LOSS[1]),
        ];
        let more: f64 = on.iter().filter(|on| on.0).map(|on| on.1).sum();
        let bound = plus(bounds::SOFT_GRADIENT.derived, smoothed);
        plus(bound, self.scaled()).map(|ulps| ulps + more)
    }

    /// What a factor of the logits adds.
    fn scaled(&self) -> Bound {
        if self.options.scale == 1.0 {
            both(0.0, 0.0)
        } else {
            SCALED
        }
    }

    /// A result that may be off by that, in ULP of the operand.
    fn around(&self, bound: Bound, value: f64, operand: f64, least: f64) -> Expected {
        let mut want = Want::ulp_of(value, operand);
        // Beyond the range too.
        if operand > f32::MAX.into() {
            want.unit = want.unit.max(operand * (-24_f64).exp2());
        }
        want.unit = want.unit.max(least);
        let expected = bound.around(want);
        // The scalar path multiplies numbers that overflow.
        let is_plain = self.is_class
            && !self.options.mixes()
            && self.options.scale == 1.0
            && self.options.weights.is_none()
            && self.options.upstream.is_none();
        if is_plain || value.is_nan() {
            expected
        } else {
            expected.on_vectors()
        }
    }
}

/// A share of something that may be infinite: a share of 0 has none.
fn product(share: f64, of: f64) -> f64 {
    if share == 0.0 { 0.0 } else { share * of }
}
