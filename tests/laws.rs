//! Laws that results obey for any input. How exactly follows from the bounds of the results that a
//! law connects: two of them within `a` and `b` of one number are within `a + b` of each other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

mod common;

use common::bounds::{self, Bound};
use common::ulp::{NAN_BITS, ulp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Error, Exec, Reduction};

/// How far results of a backend may be off.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    backend: Backend,
    exec: Exec,
    /// In place of every bound, for `scalar`.
    textbook: Option<f64>,
}

impl Bounds {
    /// The textbook formula. With `d = x - max` down to `-spread`, the rounding of `d` costs `spread`
    /// units of `2^-24` in a weight, and as much in the sum of the weights, which has one more for
    /// each addition. Exponential, division, logarithm (up to `ln n`) and differences: 2 each.
    fn textbook(x: &[f32]) -> f64 {
        let finite = || x.iter().copied().filter(|x| x.is_finite()).map(f64::from);
        let spread = finite().fold(f64::MIN, f64::max) - finite().fold(f64::MAX, f64::min);
        // Beyond 104, a weight is 0.
        let n = x.len() as f64;
        2.0 * spread.clamp(0.0, 104.0) + n + 2.0 * n.ln() + 8.0
    }

    /// The bounds of each backend for a row.
    fn each(x: &[f32]) -> impl Iterator<Item = Self> {
        Backend::available().map(|backend| Self {
            backend,
            exec: Exec::new().backend(backend),
            textbook: (backend.name() == "scalar").then(|| Self::textbook(x)),
        })
    }

    /// The error of a result near `x`, in whose ULP the bound is.
    fn of(self, bound: Bound, x: f64) -> f64 {
        let ulps = self.textbook.unwrap_or(bound.on(self.backend));
        ulps * ulp_near(x)
    }

    /// The same of a difference: below 1, the error of the textbook formula is that of a number near 1.
    fn of_difference(self, bound: Bound, x: f64) -> f64 {
        let floor = if self.textbook.is_some() { 1.0 } else { 0.0 };
        self.of(bound, x.abs().max(floor))
    }

    fn of_probability(self, p: f32) -> f64 {
        self.of(near_probability(p), p.into())
    }

    fn of_log_probability(self, y: f32) -> f64 {
        self.of_difference(bounds::LOG_PROBABILITY.derived, y.into())
    }

    fn of_loss(self, loss: f32) -> f64 {
        self.of_difference(bounds::LOSS.derived, loss.into())
    }

    fn of_gradient(self, g: f32) -> f64 {
        self.of_difference(near_probability(g), g.into())
    }

    /// In ULP of `max(|result|, 1)`.
    fn of_lse(self, lse: f32) -> f64 {
        self.of(bounds::LOG_SUM_EXP.derived, f64::from(lse).abs().max(1.0))
    }
}

/// The bound of a probability of which a near one is given: it may be on the other side of a threshold.
fn near_probability(p: f32) -> Bound {
    bounds::probability(f64::from(p) * (1.0 - 1e-4))
}

/// The ULP of an exact number of which a near one is given: it may be in the next binade.
fn ulp_near(x: f64) -> f64 {
    ulp(x * (1.0 + 1e-4))
}

/// Whether two results are within `error`, or infinite both.
fn within(a: f32, b: f32, error: f64) -> bool {
    a.to_bits() == b.to_bits() || (f64::from(a) - f64::from(b)).abs() <= error
}

/// A row of logits with at least one that is finite: some orders of spread, some elements masked.
fn logits() -> impl Strategy<Value = Vec<f32>> {
    let row = |spread: f32| {
        let logit = prop_oneof![15 => -spread..spread, 1 => Just(f32::NEG_INFINITY)];
        (-spread..spread, 0..100_usize, vec(logit, 0..100)).prop_map(|(first, at, mut row)| {
            row.insert(at.min(row.len()), first);
            row
        })
    };
    prop_oneof![row(1.0), row(10.0), row(100.0), row(1000.0), row(1e9)]
}

/// A row of logits, a second row in the place of a gradient, and a target.
fn logits_and_more() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
    logits().prop_flat_map(|x| {
        let n = x.len();
        (Just(x), vec(-10.0_f32..10.0, n), 0..n)
    })
}

/// Multiples of 1/64 up to 256, and a shift: their sums are exact.
fn shifted() -> impl Strategy<Value = (Vec<f32>, f32, usize)> {
    let row = vec(
        (-16_384..=16_384_i16).prop_map(|k| f32::from(k) / 64.0),
        1..100,
    );
    // Beyond 2^16, the kernels take another way.
    let shift = prop_oneof![-1000..1000_i32, -100_000..100_000_i32].prop_map(|k| k as f32);
    (row, shift).prop_flat_map(|(x, shift)| {
        let n = x.len();
        (Just(x), Just(shift), 0..n)
    })
}

/// Any bits at all, and often ordinary or special numbers.
fn any_bits() -> impl Strategy<Value = f32> {
    let special = [
        0.0,
        -0.0,
        1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
    ];
    prop_oneof![
        8 => any::<u32>().prop_map(f32::from_bits),
        8 => -100.0_f32..100.0,
        1 => proptest::sample::select(special.to_vec()),
    ]
}

/// Any row, now and then one that is masked throughout.
fn any_row() -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        15 => vec(any_bits(), 1..80),
        1 => vec(Just(f32::NEG_INFINITY), 1..80),
    ]
}

fn result<const N: usize>(call: impl FnOnce(&mut [f32; N]) -> Result<(), Error>) -> [f32; N] {
    let mut y = [0.0; N];
    call(&mut y).unwrap();
    y
}

fn results(len: usize, call: impl FnOnce(&mut [f32]) -> Result<(), Error>) -> Vec<f32> {
    let mut y = vec![0.0; len];
    call(&mut y).unwrap();
    y
}

/// Without the scalar path; and whether multiply-add is fused.
fn vector_backends() -> impl Iterator<Item = (Exec, bool)> {
    Backend::available()
        .filter(|backend| backend.name() != "scalar")
        .map(|backend| (Exec::new().backend(backend), backend.is_fused()))
}

fn probs(exec: Exec, x: &[f32]) -> Vec<f32> {
    results(x.len(), |y| exec.softmax(x, x.len(), y))
}

fn log_probs(exec: Exec, x: &[f32]) -> Vec<f32> {
    results(x.len(), |y| exec.log_softmax(x, x.len(), y))
}

fn lse(exec: Exec, x: &[f32]) -> f32 {
    result::<1>(|y| exec.logsumexp(x, x.len(), y))[0]
}

/// The loss of a row and its gradient.
fn cross_entropy(exec: Exec, x: &[f32], target: usize) -> (f32, Vec<f32>) {
    let mut loss = 0.0;
    let grad = results(x.len(), |grad| {
        let options = CrossEntropy::new().exec(exec);
        loss = options.loss_and_grad(x, x.len(), &[target], grad)?;
        Ok(())
    });
    (loss, grad)
}

/// The loss of a logit and its gradient.
fn binary(exec: Exec, x: f32, label: f32) -> (f32, f32) {
    let mut loss = 0.0;
    let [grad] = result(|grad| {
        let options = BinaryCrossEntropy::new().exec(exec);
        loss = options.loss_and_grad(&[x], 1, &[label], grad)?;
        Ok(())
    });
    (loss, grad)
}

fn sum(x: impl IntoIterator<Item = f32>) -> f64 {
    x.into_iter().map(f64::from).sum()
}

/// The derivative of a function of a row in one direction, by differences: in error by a third
/// derivative times `h^2 / 6`, and by rounding, `2^-52 / h` times the size of the function.
fn derivative(f: impl Fn(&[f64]) -> f64, x: &[f32], i: usize) -> f64 {
    let at = |step: f64| {
        let mut x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        x[i] += step;
        f(&x)
    };
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

const STEP: f64 = 1e-4;

/// The error of [`derivative`] for functions whose size and third derivative are below `size`.
fn error_of_differences(size: f64) -> f64 {
    size * (STEP * STEP / 6.0 + 16.0 * f64::EPSILON / STEP)
}

fn exact_lse(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::MIN, f64::max);
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

proptest! {
    // The same rows every time: a run is to judge the code, not to be lucky.
    #![proptest_config(ProptestConfig {
        cases: 1000,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn probabilities_are_from_0_to_1_and_add_up_to_1(x in logits()) {
        for bounds in Bounds::each(&x) {
            let p = probs(bounds.exec, &x);
            prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{bounds:?}: {p:?}");
            let error: f64 = p.iter().map(|&p| bounds.of_probability(p)).sum();
            let total = sum(p);
            prop_assert!((total - 1.0).abs() <= error, "{bounds:?}: {total}, not within {error:e}");
        }
    }

    #[test]
    fn equal_classes_share_equally(x in any::<f32>().prop_filter("finite", |x| x.is_finite()), n in 1..400_usize) {
        for (exec, fused) in vector_backends() {
            for p in probs(exec, &vec![x; n]) {
                // Their weights are rounded alike, and the sum is not; that is made up for where the share is a
                // power of two.
                let ulp = if n.is_power_of_two() && fused { 0.0 } else { 1.2 };
                let error = (f64::from(p) - 1.0 / n as f64).abs();
                prop_assert!(error <= ulp * ulp_near(p.into()), "{exec:?}: {p:e}");
            }
        }
    }

    /// Whatever the others are, if they are too low to count: less than a third of half of what a number
    /// below 1 can miss.
    #[test]
    fn a_class_without_rivals_has_probability_1(top in -1e5_f32..1e5, below in vec(18.0_f32..200.0, 0..3)) {
        let mut x: Vec<f32> = below.iter().map(|d| top - d).collect();
        let others: f64 = x.iter().map(|&x| (f64::from(x) - f64::from(top)).exp()).sum();
        prop_assume!(others < 0.15 / f64::from(1 << 24));
        x.push(top);
        for (exec, _) in vector_backends().filter(|&(_, fused)| fused) {
            let p = probs(exec, &x);
            prop_assert_eq!(p.last(), Some(&1.0), "{:?}", exec);
        }
    }

    #[test]
    fn probabilities_are_monotone(x in logits(), twin in any::<prop::sample::Index>()) {
        // Equal logits have equal probabilities, wherever they are.
        let mut x = x;
        let twin = twin.index(x.len());
        x.push(x[twin]);
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
        for bounds in Bounds::each(&x) {
            let (p, y) = (probs(bounds.exec, &x), log_probs(bounds.exec, &x));
            let (mut top_p, mut top_y) = (0.0_f32, f32::NEG_INFINITY);
            for pair in order.windows(2) {
                let (i, j) = (pair[0], pair[1]);
                if x[i].to_bits() == x[j].to_bits() {
                    prop_assert_eq!(p[i].to_bits(), p[j].to_bits());
                }
                top_p = top_p.max(p[i]);
                top_y = top_y.max(y[i]);
                let error = bounds.of_probability(top_p) + bounds.of_probability(p[j]);
                prop_assert!(
                    p[j] >= top_p || within(p[j], top_p, error),
                    "{bounds:?}: {:e} of the logit {}, {top_p:e} of a smaller one", p[j], x[j]
                );
                prop_assert!(
                    y[j] >= top_y
                        || within(y[j], top_y, 2.0 * bounds.of_log_probability(top_y)),
                    "{bounds:?}: {:e} of the logit {}, {top_y:e} of a smaller one", y[j], x[j]
                );
            }
        }
    }

    #[test]
    fn a_constant_added_to_all_logits_changes_nothing((x, shift, target) in shifted()) {
        let moved: Vec<f32> = x.iter().map(|x| x + shift).collect();
        let back: Vec<f32> = moved.iter().map(|x| x - shift).collect();
        prop_assert_eq!(&back, &x, "not exact");
        for bounds in Bounds::each(&x) {
            let exec = bounds.exec;
            let log_probs = [log_probs(exec, &x), log_probs(exec, &moved)];
            let probs = [probs(exec, &x), probs(exec, &moved)];
            let [(loss, grad), (moved_loss, moved_grad)] =
                [&x, &moved].map(|x| cross_entropy(exec, x, target));
            for i in 0..x.len() {
                let (a, b) = (probs[0][i], probs[1][i]);
                let error = bounds.of_probability(a) + bounds.of_probability(b);
                prop_assert!(within(a, b, error), "{bounds:?}: probability {a:e}, {b:e}");
                let (a, b) = (log_probs[0][i], log_probs[1][i]);
                let error = bounds.of_log_probability(a) + bounds.of_log_probability(b);
                prop_assert!(within(a, b, error), "{bounds:?}: log-probability {a:e}, {b:e}");
                let (a, b) = (grad[i], moved_grad[i]);
                let error = bounds.of_gradient(a) + bounds.of_gradient(b);
                prop_assert!(within(a, b, error), "{bounds:?}: gradient {a:e}, {b:e}");
            }
            let error = bounds.of_loss(loss) + bounds.of_loss(moved_loss);
            prop_assert!(within(loss, moved_loss, error), "{bounds:?}: {loss:e}, {moved_loss:e}");
            let (a, b) = (lse(exec, &x), lse(exec, &moved));
            let difference = f64::from(b) - f64::from(a) - f64::from(shift);
            let error = bounds.of_lse(a) + bounds.of_lse(b);
            prop_assert!(difference.abs() <= error, "{bounds:?}: log-sum-exp {a} + {shift}, {b}");
        }
    }

    #[test]
    fn gradients_add_up_to_0((x, dy, target) in logits_and_more()) {
        for bounds in Bounds::each(&x) {
            let (loss, grad) = cross_entropy(bounds.exec, &x, target);
            prop_assert!(loss >= 0.0);
            let error: f64 = grad.iter().map(|&g| bounds.of_gradient(g)).sum();
            let total = sum(grad);
            prop_assert!(total.abs() <= error, "{bounds:?}: cross-entropy {total:e}, {error:e}");

            // sum y (dy - dot) = dot (1 - sum y), with dot = sum y dy.
            let y = probs(bounds.exec, &x);
            let dx = results(x.len(), |dx| {
                bounds.exec.softmax_backward(&y, &dy, x.len(), dx)
            });
            let products = || y.iter().zip(&dy).map(|(y, dy)| f64::from(*y) * f64::from(*dy));
            let dot: f64 = products().sum();
            let magnitude: f64 = products().map(f64::abs).sum();
            let error: f64 = y
                .iter()
                .zip(&dy)
                .map(|(y, dy)| {
                    bounds.of(bounds::SOFTMAX_BACKWARD.derived, f64::from(*y) * f64::from(dy.abs()).max(magnitude))
                })
                .sum();
            let rest = sum(dx) - dot * (1.0 - sum(y));
            prop_assert!(rest.abs() <= error, "{bounds:?}: backward {rest:e}, {error:e}");
        }
    }

    #[test]
    fn log_probabilities_are_logarithms_of_probabilities(x in logits()) {
        for bounds in Bounds::each(&x) {
            let (p, y) = (probs(bounds.exec, &x), log_probs(bounds.exec, &x));
            for (p, y) in p.into_iter().zip(y) {
                // Of a probability that is 0 or nearly so, the logarithm says little.
                let relative = bounds.of_probability(p) / f64::from(p);
                if p > 0.0 && relative < 0.1 {
                    // |ln(1 + e)| <= |e| / (1 - |e|)
                    let error = relative / (1.0 - relative) + bounds.of_log_probability(y);
                    let difference = f64::from(p).ln() - f64::from(y);
                    prop_assert!(difference.abs() <= error, "{bounds:?}: ln {p:e} is not {y:e}");
                } else {
                    prop_assert!(y < -80.0, "{bounds:?}: ln {p:e} is not {y:e}");
                }
            }
        }
    }

    #[test]
    fn log_sum_exp_is_between_the_maximum_and_ln_n_more(x in logits()) {
        for bounds in Bounds::each(&x) {
            let max = f64::from(bounds.exec.max(&x).unwrap());
            let lse = lse(bounds.exec, &x);
            let (above, error) = (f64::from(lse) - max, bounds.of_lse(lse));
            let most = (x.len() as f64).ln() + error;
            prop_assert!(-error <= above && above <= most, "{bounds:?}: {lse}, maximum {max}");
        }
    }

    #[test]
    fn two_classes_are_one_yes_or_no(a in -16_384..=16_384_i16, b in -16_384..=16_384_i16) {
        // The difference is exact.
        let (a, b) = (f32::from(a) / 128.0, f32::from(b) / 128.0);
        for bounds in Bounds::each(&[a, b]) {
            let exec = bounds.exec;
            let (loss, grad) = cross_entropy(exec, &[a, b], 0);
            let (yes_loss, yes_grad) = binary(exec, a - b, 1.0);
            let (no_loss, no_grad) = binary(exec, b - a, 0.0);
            for (got, expected) in [(yes_loss, loss), (no_loss, loss)] {
                let error = bounds.of_difference(bounds::HARD_BINARY_LOSS, got.into()) + bounds.of_loss(expected);
                prop_assert!(within(got, expected, error), "{bounds:?}: loss {got}, {expected}");
            }
            for (got, expected) in [(yes_grad, grad[0]), (no_grad, grad[1])] {
                let error = bounds.of_difference(bounds::HARD_BINARY_GRADIENT, got.into()) + bounds.of_gradient(expected);
                prop_assert!(within(got, expected, error), "{bounds:?}: slope {got}, {expected}");
            }
            let p = probs(exec, &[a, b])[0];
            let [s] = result(|y| exec.sigmoid(&[a - b], y));
            let error = bounds.of_difference(bounds::SIGMOID.derived, s.into()) + bounds.of_probability(p);
            prop_assert!(within(s, p, error), "{bounds:?}: sigmoid {s:e}, softmax {p:e}");
        }
    }

    #[test]
    fn the_order_of_classes_does_not_matter((x, order, target) in logits_and_more()) {
        let mut permutation: Vec<usize> = (0..x.len()).collect();
        permutation.sort_by(|&i, &j| order[i].total_cmp(&order[j]));
        let permuted: Vec<f32> = permutation.iter().map(|&i| x[i]).collect();
        for bounds in Bounds::each(&x) {
            let exec = bounds.exec;
            let pairs = [probs(exec, &x), probs(exec, &permuted)];
            let logs = [log_probs(exec, &x), log_probs(exec, &permuted)];
            for (to, &from) in permutation.iter().enumerate() {
                let (a, b) = (pairs[0][from], pairs[1][to]);
                let error = bounds.of_probability(a) + bounds.of_probability(b);
                prop_assert!(within(a, b, error), "{bounds:?}: probability {a:e}, {b:e}");
                let (a, b) = (logs[0][from], logs[1][to]);
                let error = bounds.of_log_probability(a) + bounds.of_log_probability(b);
                prop_assert!(within(a, b, error), "{bounds:?}: log-probability {a:e}, {b:e}");
            }
            let (a, _) = cross_entropy(exec, &x, target);
            let target = permutation.iter().position(|&i| i == target).unwrap();
            let (b, _) = cross_entropy(exec, &permuted, target);
            let error = bounds.of_loss(a) + bounds.of_loss(b);
            prop_assert!(within(a, b, error), "{bounds:?}: loss {a:e}, {b:e}");
        }
    }

    #[test]
    fn masked_classes_might_as_well_not_be_there(x in logits()) {
        let kept: Vec<f32> = x.iter().copied().filter(|x| x.is_finite()).collect();
        for bounds in Bounds::each(&x) {
            let exec = bounds.exec;
            let mut without = probs(exec, &kept).into_iter();
            for (x, p) in x.iter().zip(probs(exec, &x)) {
                let expected = if x.is_finite() { without.next().unwrap() } else { 0.0 };
                let error = 2.0 * bounds.of_probability(expected);
                prop_assert!(
                    within(p, expected, error) && (x.is_finite() || p == 0.0),
                    "{bounds:?}: {p:e}, {expected:e} without the masked"
                );
            }
            let (a, b) = (lse(exec, &x), lse(exec, &kept));
            prop_assert!(within(a, b, 2.0 * bounds.of_lse(a)), "{bounds:?}: log-sum-exp {a}, {b}");
        }
    }

    /// `1 - t` is exact, and so is every step but the last ones.
    #[test]
    fn no_is_yes_to_the_opposite(x in -200.0_f32..200.0, t in 0..=256_u16) {
        let t = f32::from(t) / 256.0;
        for bounds in Bounds::each(&[x]) {
            let (loss, grad) = binary(bounds.exec, x, 1.0 - t);
            let (mirrored_loss, mirrored_grad) = binary(bounds.exec, -x, t);
            prop_assert_eq!(loss.to_bits(), mirrored_loss.to_bits(), "{:?}", bounds);
            // t s(x) - (1 - t) s(-x), in ULP of the larger term.
            let s = |x: f32| 1.0 / (1.0 + f64::from(-x).exp());
            let larger = (f64::from(t) * s(x)).max(f64::from(1.0 - t) * s(-x));
            let error = 2.0 * bounds.of_difference(bounds::BINARY_GRADIENT.derived, larger);
            prop_assert!(
                within(grad, -mirrored_grad, error),
                "{bounds:?}: slopes {grad:e}, {mirrored_grad:e}"
            );
        }
    }

    #[test]
    fn the_whole_is_the_sum_of_its_parts(
        x in vec(-20.0_f32..20.0, 1..400),
        classes in 1..9_usize,
        ignored in 1..9_usize,
    ) {
        let rows = x.len() / classes;
        let x = &x[..rows * classes];
        let target = |row| if row % ignored == 1 { -100 } else { (row % classes) as i64 };
        let targets: Vec<i64> = (0..rows).map(target).collect();
        let count = targets.iter().filter(|&&t| t >= 0).count();
        for bounds in Bounds::each(x) {
            let options = CrossEntropy::new().exec(bounds.exec);
            let parts = results(rows, |losses| options.loss_per_row(x, classes, &targets, losses));
            let total: f64 = sum(parts.iter().copied());
            // The parts are rounded, the whole once more. (The sum is not: it has 53 bits.)
            let error: f64 = parts.iter().map(|&l| 0.51 * ulp_near(l.into())).sum();
            let whole = options.reduction(Reduction::Sum).loss(x, classes, &targets).unwrap();
            let off = (f64::from(whole) - total).abs();
            prop_assert!(off <= error + 0.51 * ulp_near(total), "{bounds:?}: {whole}, {total}");
            let mean = options.loss(x, classes, &targets).unwrap();
            if count == 0 {
                prop_assert!(mean.is_nan());
                continue;
            }
            let (total, error) = (total / count as f64, error / count as f64);
            let off = (f64::from(mean) - total).abs();
            prop_assert!(off <= error + 0.51 * ulp_near(total), "{bounds:?}: {mean}, {total}");
        }
    }

    /// By differences of the exact functions.
    #[test]
    fn gradients_are_derivatives(
        row in vec((-10.0_f32..10.0, -1.0_f32..1.0), 1..12),
        target in any::<prop::sample::Index>(),
    ) {
        let (x, c): (Vec<f32>, Vec<f32>) = row.into_iter().unzip();
        let (n, target) = (x.len(), target.index(x.len()));
        // Third derivatives: below 1 for a loss, 6 for a sum of probabilities with weights up to
        // 1, n for one of log-probabilities. Values: below 40 n.
        let differences = error_of_differences(40.0 * n as f64);
        let weighted = |p: &dyn Fn(f64) -> f64, x: &[f64]| -> f64 {
            let lse = exact_lse(x);
            x.iter().zip(&c).map(|(x, &c)| f64::from(c) * p(x - lse)).sum()
        };
        for bounds in Bounds::each(&x) {
            let exec = bounds.exec;
            let (_, grad) = cross_entropy(exec, &x, target);
            let y = probs(exec, &x);
            let dx = results(n, |dx| exec.softmax_backward(&y, &c, n, dx));
            let log_y = log_probs(exec, &x);
            let log_dx = results(n, |dx| exec.log_softmax_backward(&log_y, &c, n, dx));
            for i in 0..n {
                let slope = derivative(|x| exact_lse(x) - x[target], &x, i);
                let off = (f64::from(grad[i]) - slope).abs();
                let error = differences + bounds.of_gradient(grad[i]);
                prop_assert!(off <= error, "{bounds:?}: loss {} for {slope}", grad[i]);

                let slope = derivative(|x| weighted(&f64::exp, x), &x, i);
                let off = (f64::from(dx[i]) - slope).abs();
                // The probabilities are rounded too: y_i, times at most 2, and those in the sum.
                let error = differences
                    + 2.0 * bounds.of_probability(y[i])
                    + f64::from(y[i]) * y.iter().map(|&p| bounds.of_probability(p)).sum::<f64>()
                    + bounds.of(bounds::SOFTMAX_BACKWARD.derived, y[i].into());
                prop_assert!(off <= error, "{bounds:?}: softmax {} for {slope}", dx[i]);

                let slope = derivative(|x| weighted(&|y| y, x), &x, i);
                let off = (f64::from(log_dx[i]) - slope).abs();
                // An error of y is one of e^y, relatively; the sum is at most n.
                let operand = f64::from(y[i]) * n as f64;
                let error = differences
                    + 1.01 * operand * bounds.of_log_probability(log_y[i])
                    + bounds.of(bounds::LOG_SOFTMAX_BACKWARD.derived, operand.max(1.0));
                prop_assert!(off <= error, "{bounds:?}: log-softmax {} for {slope}", log_dx[i]);
            }
        }
    }

    #[test]
    fn the_slope_of_a_logistic_loss_is_its_derivative(x in -30.0_f32..30.0, label in 0.0_f32..1.0) {
        let differences = error_of_differences(60.0);
        let softplus = |x: f64| exact_lse(&[x, 0.0]);
        for bounds in Bounds::each(&[x]) {
            let (_, grad) = binary(bounds.exec, x, label);
            let slope = derivative(|x| softplus(x[0]) - f64::from(label) * x[0], &[x], 0);
            let off = (f64::from(grad) - slope).abs();
            let error = differences + bounds.of(bounds::BINARY_GRADIENT.derived, 1.0);
            prop_assert!(off <= error, "{bounds:?}: {grad} for {slope}");
        }
    }

    /// The loss is minus one log-probability, so its gradient comes back through log-softmax.
    #[test]
    fn cross_entropy_is_log_softmax_and_a_choice((x, _, target) in logits_and_more()) {
        let mut dy = vec![0.0; x.len()];
        dy[target] = -1.0;
        for bounds in Bounds::each(&x) {
            let exec = bounds.exec;
            let (loss, grad) = cross_entropy(exec, &x, target);
            let y = log_probs(exec, &x);
            let error = bounds.of_loss(loss) + bounds.of_log_probability(loss);
            prop_assert!(within(loss, -y[target], error), "{bounds:?}: {loss:e}, {:e}", y[target]);
            let dx = results(x.len(), |dx| exec.log_softmax_backward(&y, &dy, x.len(), dx));
            for i in 0..x.len() {
                let p = f64::from(y[i]).exp();
                let error = bounds.of_gradient(grad[i])
                    + bounds.of(bounds::LOG_SOFTMAX_BACKWARD.derived, p.max(f64::from(dy[i]).abs()))
                    // An error of y is one of e^y, relatively; none if e^y is 0.
                    + if p > 0.0 { 1.01 * p * bounds.of_log_probability(y[i]) } else { 0.0 };
                prop_assert!(within(dx[i], grad[i], error), "{bounds:?}: {}, {}", dx[i], grad[i]);
            }
        }
    }

    #[test]
    fn any_row_has_an_answer(x in any_row(), target in any::<prop::sample::Index>()) {
        let n = x.len();
        let infinite = x.contains(&f32::INFINITY);
        let nan = x.iter().any(|x| x.is_nan());
        let masked = x.iter().all(|&x| x == f32::NEG_INFINITY);
        let target = target.index(n);
        for bounds in Bounds::each(&[0.0]) {
            let exec = bounds.exec;
            let (p, y, lse) = (probs(exec, &x), log_probs(exec, &x), lse(exec, &x));
            let (loss, grad) = cross_entropy(exec, &x, target);
            let all_nan = |x: &[f32]| x.iter().all(|x| x.to_bits() == NAN_BITS);
            if nan || infinite || masked {
                prop_assert!(all_nan(&p) && all_nan(&y) && all_nan(&grad) && all_nan(&[loss]));
                let expected = match (nan, infinite) {
                    (true, _) => f32::from_bits(NAN_BITS),
                    (_, true) => f32::INFINITY,
                    _ => f32::NEG_INFINITY,
                };
                prop_assert_eq!(lse.to_bits(), expected.to_bits());
                continue;
            }
            prop_assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{bounds:?}: {p:?}");
            prop_assert!(y.iter().all(|&y| y <= 0.0), "{bounds:?}: {y:?}");
            prop_assert!(lse.is_finite() && loss >= 0.0, "{bounds:?}: {lse}, {loss}");
            for i in 0..n {
                if x[i] == f32::NEG_INFINITY {
                    prop_assert_eq!((p[i].to_bits(), y[i]), (0, f32::NEG_INFINITY));
                    prop_assert!(i != target || (loss, grad[i]) == (f32::INFINITY, -1.0));
                }
                let range = if i == target { -1.0..=0.0 } else { 0.0..=1.0 };
                prop_assert!(range.contains(&grad[i]), "{bounds:?}: {grad:?}");
            }
        }
    }

    #[test]
    fn any_elements_have_an_answer(pairs in vec((any_bits(), any_bits()), 1..80)) {
        let (x, other): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let n = x.len();
        let canonical = |x: &[f32]| x.iter().all(|x| !x.is_nan() || x.to_bits() == NAN_BITS);
        for bounds in Bounds::each(&[0.0]) {
            let exec = bounds.exec;
            let exp = results(n, |y| exec.exp(&x, y));
            let sigmoid = results(n, |y| exec.sigmoid(&x, y));
            for i in 0..n {
                prop_assert_eq!(exp[i].is_nan(), x[i].is_nan());
                prop_assert_eq!(sigmoid[i].is_nan(), x[i].is_nan());
                prop_assert!(x[i].is_nan() || (exp[i] >= 0.0 && (0.0..=1.0).contains(&sigmoid[i])));
            }
            let max = exec.max(&x).unwrap();
            let sum = exec.sum(&x).unwrap();
            prop_assert_eq!(max.is_nan(), x.iter().any(|x| x.is_nan()));
            prop_assert!(max.is_nan() || x.iter().all(|&x| x <= max) && x.contains(&max));
            let backward = results(n, |dx| exec.softmax_backward(&x, &other, n, dx));
            let log_backward = results(n, |dx| exec.log_softmax_backward(&x, &other, n, dx));
            let options = BinaryCrossEntropy::new().exec(exec);
            let losses = results(n, |losses| options.loss_per_element(&x, n, &other, losses));
            let mut loss = 0.0;
            let grad = results(n, |grad| {
                loss = options.loss_and_grad(&x, n, &other, grad)?;
                Ok(())
            });
            let all = [&exp, &sigmoid, &backward, &log_backward, &losses, &grad];
            prop_assert!(all.into_iter().all(|x| canonical(x)) && canonical(&[max, sum, loss]));
            for i in 0..n {
                if (0.0..=1.0).contains(&other[i]) && !x[i].is_nan() {
                    prop_assert!(losses[i] >= 0.0 && (-1.0..=1.0).contains(&grad[i]));
                } else if other[i].is_nan() || x[i].is_nan() {
                    prop_assert!(losses[i].is_nan() && grad[i].is_nan());
                }
            }
        }
    }
}
