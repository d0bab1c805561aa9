//! The oracle of the other tests against the definitions, in arithmetic with 192 bits more than
//! what cancels. Prints the worst error of each function (`-- --nocapture`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use core::f64::consts::LN_2;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use common::inputs::{self, CLASSES, Rng};
use common::oracle::{self, Row};
use dashu_float::FBig;
use dashu_float::ops::Abs;
use dashu_float::round::mode::HalfEven;

type Big = FBig<HalfEven>;

/// What is left where nothing cancels.
const BITS: usize = 192;
/// Room for every digit of a sum of products of `f32`: from `2^-298` to `2^(256 + 20)`.
const EXACT: usize = 640;
/// The exponential of more is infinite, of less is 0: far beyond `f64`, and the claim.
const FAR: f64 = 1000.0;

/// With room for `bits` bits.
fn big(x: impl Into<f64>, bits: usize) -> Big {
    Big::try_from(x.into())
        .unwrap()
        .with_precision(bits)
        .value()
}

/// Enough bits for `1 + e^-|x|`, and for what it is above 1.
#[expect(clippy::cast_sign_loss, reason = "a magnitude")]
fn bits(x: f64) -> usize {
    BITS + (x.abs().min(FAR) / LN_2) as usize
}

/// `e^x`, never infinite.
fn exp(x: &Big) -> Big {
    let far = big(FAR, BITS);
    if *x < -far.clone() {
        Big::ZERO
    } else {
        x.clone().min(far).exp()
    }
}

/// `e^x` of an argument that counts for itself.
fn exp_of(x: f32, bits: usize) -> Big {
    if x == f32::NEG_INFINITY {
        Big::ZERO
    } else {
        exp(&big(x, bits))
    }
}

/// From left to right. As precise as `zero` or the terms.
fn sum(terms: impl IntoIterator<Item = Big>, zero: Big) -> Big {
    terms.into_iter().fold(zero, |sum, term| sum + term)
}

/// The worst error of each function, in units of what the oracle claims.
#[derive(Debug, Default)]
struct Report(BTreeMap<&'static str, (f64, String)>);

impl Report {
    /// A result whose error counts by its own size.
    fn check(&mut self, function: &'static str, ours: f64, exact: &Big, case: &dyn Display) {
        self.check_by(function, ours, exact, exact, case);
    }

    /// A result whose error counts by the size of `operand`.
    fn check_by(
        &mut self,
        function: &'static str,
        ours: f64,
        exact: &Big,
        operand: &Big,
        case: &dyn Display,
    ) {
        let error = error(ours, exact, operand);
        let worst = self.0.entry(function).or_insert((-1.0, String::new()));
        if error > worst.0 {
            let nearest = exact.to_f64().value();
            *worst = (error, format!("{ours:e}, not {nearest:e}: {case}"));
        }
    }

    /// Compares with the claim. Every function must have been tried.
    fn finish(self, functions: &[&str]) {
        let tried: Vec<_> = self.0.keys().copied().collect();
        assert_eq!(tried, functions);
        for (function, (error, case)) in &self.0 {
            println!("{function:29} {error:.4} * 2^-50: {case}");
        }
        for (function, (error, case)) in self.0 {
            assert!(error < 1.0, "{function}: {error} * 2^-50 off: {case}");
        }
    }
}

/// The distance in units of `2^-50` of the operand, or of the least normal number if that is more.
/// Infinite if only one of the two is NaN or infinite, as `f64` sees it.
fn error(ours: f64, exact: &Big, operand: &Big) -> f64 {
    let nearest = exact.to_f64().value();
    if nearest.is_infinite() || !ours.is_finite() {
        return if ours.total_cmp(&nearest).is_eq() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let unit = operand.clone().abs().max(big(f64::MIN_POSITIVE, BITS));
    let units = (big(ours, BITS) - exact).abs() / unit;
    units.to_f64().value() * 50_f64.exp2()
}

/// A row, which its class, seed and length give again.
struct Case {
    class: &'static str,
    seed: u64,
    x: Vec<f32>,
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, seed, x } = self;
        write!(f, "{} elements, {class:?}, seed {seed:#x}", x.len())
    }
}

/// Rows of every class, and rows whose differences are no `f64`: a large logit, and small ones.
fn cases() -> impl Iterator<Item = Case> {
    let lengths = (1..=40).chain([257, 257, 1000]);
    let seeded = (0..).zip(lengths);
    let of_classes = CLASSES.iter().flat_map(move |class| {
        seeded.clone().map(|(seed, len)| Case {
            class: class.name,
            seed,
            x: class.row(seed, len),
        })
    });
    let mixed = (0..40).map(|seed| {
        let rng = &mut Rng::new(seed);
        let mut x: Vec<f32> = (0..4)
            .map(|_| rng.between(-60.0, -4.0).exp2() as f32)
            .collect();
        x[rng.below(4)] = rng.between(1.0, 700.0) as f32;
        Case {
            class: "one large",
            seed,
            x,
        }
    });
    of_classes.chain(mixed)
}

/// What the definitions say about a row.
struct Exact {
    bits: usize,
    max: Big,
    /// The logits less the largest; none where they are `-inf`.
    d: Vec<Option<Big>>,
    weights: Vec<Big>,
    sum: Big,
    log_sum: Big,
}

impl Exact {
    fn new(x: &[f32]) -> Self {
        let mut descending = x.to_vec();
        descending.sort_by(|a, b| b.total_cmp(a));
        let largest = descending[0];
        let margin = |second: &f32| f64::from(largest) - f64::from(*second);
        let bits = bits(descending.get(1).map_or(0.0, margin));
        let max = big(largest, bits);
        let d: Vec<_> = x
            .iter()
            .map(|&x| (x > f32::NEG_INFINITY).then(|| big(x, bits) - &max))
            .collect();
        let weights: Vec<_> = d
            .iter()
            .map(|d| d.as_ref().map_or(Big::ZERO, exp))
            .collect();
        let sum = sum(weights.iter().cloned(), big(0.0, bits));
        // That of 1 would have no digits to be rounded to.
        let sum = sum.with_precision(bits).value();
        Self {
            bits,
            max,
            d,
            weights,
            log_sum: sum.ln(),
            sum,
        }
    }

    fn probability(&self, i: usize) -> Big {
        &self.weights[i] / &self.sum
    }

    fn log_probability(&self, i: usize) -> Big {
        match &self.d[i] {
            Some(d) => d - &self.log_sum,
            None => Big::NEG_INFINITY,
        }
    }
}

#[test]
fn rows() {
    let mut report = Report::default();
    for case in &cases().collect::<Vec<_>>() {
        let (x, exact) = (&case.x, Exact::new(&case.x));
        let one = big(1.0, exact.bits);
        let row = Row::new(x);
        report.check("max", oracle::max(x), &exact.max, case);
        report.check("Row::sum", row.sum, &exact.sum, case);
        report.check("Row::log_sum", row.log_sum(), &exact.log_sum, case);
        let lse = &exact.max + &exact.log_sum;
        let operand = lse.clone().abs().max(one.clone());
        report.check_by("logsumexp", oracle::logsumexp(x), &lse, &operand, case);

        let (p, log_p) = (oracle::softmax(x), oracle::log_softmax(x));
        for i in 0..x.len() {
            let probability = exact.probability(i);
            report.check("Row::weights", row.weights[i], &exact.weights[i], case);
            report.check("softmax", p[i], &probability, case);
            let complement = &one - probability;
            report.check("Row::complement", row.complement(i), &complement, case);
            let log_probability = exact.log_probability(i);
            report.check("log_softmax", log_p[i], &log_probability, case);
            if let Some(d) = &exact.d[i] {
                report.check("Row::d", row.d[i], d, case);
            }
        }
        of_targets(&mut report, case, &exact);
    }
    report.finish(&[
        "Row::complement",
        "Row::d",
        "Row::log_sum",
        "Row::sum",
        "Row::weights",
        "cross_entropy",
        "cross_entropy_gradient",
        "log_softmax",
        "logsumexp",
        "max",
        "softmax",
    ]);
}

/// The loss and the gradient of the likeliest class, the least likely one, and any.
fn of_targets(report: &mut Report, case: &Case, exact: &Exact) {
    let x = &case.x;
    let order = |&i: &usize, &j: &usize| x[i].total_cmp(&x[j]);
    let likely = (0..x.len()).max_by(order).unwrap();
    let unlikely = (0..x.len()).min_by(order).unwrap();
    let any = Rng::new(!case.seed).below(x.len());
    for target in [likely, unlikely, any] {
        let loss = oracle::cross_entropy(x, target);
        report.check("cross_entropy", loss, &-exact.log_probability(target), case);
        for g in [1.0, 1.0 / 3.0] {
            let gradient = oracle::cross_entropy_gradient(x, target, g);
            for (i, ours) in gradient.into_iter().enumerate() {
                let certain = big(u8::from(i == target), exact.bits);
                let want = big(g, exact.bits) * (exact.probability(i) - certain);
                report.check("cross_entropy_gradient", ours, &want, case);
            }
        }
    }
}

#[test]
fn sums_and_gradients() {
    let mut report = Report::default();
    let exactly = |x: f32| big(x, EXACT);
    let total = |terms: Vec<Big>| sum(terms, big(0.0, EXACT));
    for case in &cases().collect::<Vec<_>>() {
        let rng = &mut Rng::new(!case.seed);
        let dy = inputs::upstream(rng, case.x.len());
        let rounded = |y: Vec<f64>| -> Vec<f32> { y.into_iter().map(|y| y as f32).collect() };
        let y = rounded(oracle::softmax(&case.x));
        let log_y = rounded(oracle::log_softmax(&case.x));

        let terms: Vec<_> = dy.iter().map(|&dy| exactly(dy)).collect();
        let magnitudes = total(terms.iter().cloned().map(Abs::abs).collect());
        let sum_dy = total(terms.clone());
        let ours = || dy.iter().map(|&dy| f64::from(dy));
        report.check_by("sum", oracle::sum(ours()), &sum_dy, &magnitudes, case);
        let ours = oracle::sum_of_magnitudes(ours());
        report.check("sum_of_magnitudes", ours, &magnitudes, case);

        let pairs = y.iter().zip(&terms);
        let products: Vec<_> = pairs.map(|(&y, dy)| exactly(y) * dy).collect();
        let magnitudes = total(products.iter().cloned().map(Abs::abs).collect());
        let dot = total(products.clone());
        report.check_by("dot", oracle::dot(&y, &dy), &dot, &magnitudes, case);
        for (ours, product) in oracle::products(&y, &dy).zip(&products) {
            report.check("products", ours, product, case);
        }

        let backward = oracle::softmax_backward(&y, &dy);
        for ((ours, operand), (&y, dy)) in backward.into_iter().zip(y.iter().zip(&terms)) {
            let y = exactly(y);
            let larger = &y * dy.clone().abs().max(dot.clone().abs());
            let want = y * (dy - &dot);
            report.check_by("softmax_backward", ours, &want, &larger, case);
            report.check("softmax_backward, operand", operand, &larger, case);
        }

        let backward = oracle::log_softmax_backward(&log_y, &dy);
        for ((ours, operand), (&y, dy)) in backward.into_iter().zip(log_y.iter().zip(&terms)) {
            let share = exp_of(y, BITS) * &sum_dy;
            let least = exactly(f32::MIN_POSITIVE) * sum_dy.clone().abs();
            let larger = dy.clone().abs().max(share.clone().abs()).max(least);
            let want = dy - share;
            report.check_by("log_softmax_backward", ours, &want, &larger, case);
            report.check("log_softmax_backward, operand", operand, &larger, case);
        }
    }
    report.finish(&[
        "dot",
        "log_softmax_backward",
        "log_softmax_backward, operand",
        "products",
        "softmax_backward",
        "softmax_backward, operand",
        "sum",
        "sum_of_magnitudes",
    ]);
}

/// An argument and a label.
struct Element {
    x: f32,
    t: f32,
}

impl Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { x, t } = self;
        write!(f, "of {x:e} ({:#010x}), label {t:e}", x.to_bits())
    }
}

/// Arguments of every class, of any finite bit pattern, and around those where results matter.
fn elements() -> impl Iterator<Item = Element> {
    let rng = &mut Rng::new(0);
    let mut x: Vec<f32> = CLASSES.iter().flat_map(|class| class.row(0, 40)).collect();
    x.retain(|x| x.is_finite());
    x.extend((0..1500).map(|_| f32::from_bits(rng.bits() as u32)));
    x.retain(|x| x.is_finite());
    x.extend((0..1500).map(|_| rng.between(-110.0, 110.0) as f32));
    let mut soft = false;
    let element = |x| {
        soft = !soft;
        let t = inputs::label(rng, soft);
        Element { x, t }
    };
    x.into_iter().map(element).collect::<Vec<_>>().into_iter()
}

/// `1 / (1 + e^-x)`
fn sigmoid(x: f32) -> Big {
    let one = big(1.0, BITS);
    &one / (&one + exp_of(-x, BITS))
}

/// `ln(1 + e^x)`, which is `x` from somewhere on.
fn softplus(x: f32) -> Big {
    if f64::from(x) > FAR {
        return big(x, BITS);
    }
    let bits = bits(x.into());
    (big(1.0, bits) + exp_of(x, bits))
        .with_precision(bits)
        .value()
        .ln()
}

#[test]
fn elementwise() {
    let mut report = Report::default();
    for element in &elements().collect::<Vec<_>>() {
        let &Element { x, t } = element;
        report.check("exp", oracle::exp(x), &exp_of(x, BITS), element);
        report.check("sigmoid", oracle::sigmoid(x), &sigmoid(x), element);

        let label = big(t, EXACT);
        let against = big(1.0, EXACT) - &label;
        let (yes, no) = (&label * softplus(-x), &against * softplus(x));
        let (ours, operand) = oracle::binary_cross_entropy(x, t);
        let larger = yes.clone().max(no.clone());
        report.check("binary_cross_entropy", ours, &(yes + no), element);
        report.check("binary_cross_entropy, operand", operand, &larger, element);

        let (yes, no) = (against * sigmoid(x), label * sigmoid(-x));
        let larger = yes.clone().max(no.clone());
        let difference = yes - no;
        for g in [1.0, 1.0 / 3.0] {
            let (ours, operand) = oracle::binary_cross_entropy_gradient(x, t, g);
            let (want, larger) = (big(g, BITS) * &difference, big(g, BITS) * &larger);
            report.check_by("binary gradient", ours, &want, &larger, element);
            report.check("binary gradient, operand", operand, &larger, element);
        }
    }
    report.finish(&[
        "binary gradient",
        "binary gradient, operand",
        "binary_cross_entropy",
        "binary_cross_entropy, operand",
        "exp",
        "sigmoid",
    ]);
}

/// The measure itself.
#[test]
fn errors_count() {
    let (one, zero, ulp) = (big(1.0, BITS), big(0.0, BITS), (-52_f64).exp2());
    let checks = [
        (1.0, &one, &one, 0.0),
        (1.0 + ulp, &one, &one, 0.25),
        (1.0 - 4.0 * ulp, &one, &one, 1.0),
        (1.0 + 8.0 * ulp, &one, &big(8.0, BITS), 0.25),
        (f64::MIN_POSITIVE * 4.0 * ulp, &zero, &zero, 1.0),
        (f64::NAN, &one, &one, f64::INFINITY),
        (f64::INFINITY, &one, &one, f64::INFINITY),
        (f64::INFINITY, &Big::INFINITY, &one, 0.0),
        (f64::MAX, &Big::INFINITY, &one, f64::INFINITY),
        (f64::NEG_INFINITY, &Big::INFINITY, &one, f64::INFINITY),
    ];
    for (ours, exact, operand, want) in checks {
        let got = error(ours, exact, operand);
        assert!(got.total_cmp(&want).is_eq(), "{ours:e}, {exact}: {got}");
    }
}
