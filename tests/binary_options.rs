//! The options of binary cross-entropy, over their cross product, on every backend: losses and gradients against the plain formula
//! in `f64`, that formula's gradient against differences of its loss, and the identity that ties the two heads.
//! Prints the worst errors (`-- --nocapture`).
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and some results are exact"
)]

mod common;

use std::fmt::Arguments;

use common::bounds::Bound;
use common::guard::guarded;
use common::inputs::Rng;
use common::ulp::Want;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, EmptyMean, Error, Exec, Reduction};

/// What is on.
#[derive(Clone, Debug)]
struct Options {
    smoothing: f64,
    normaliser: Option<f64>,
    pos_weights: Option<Vec<f32>>,
    label_weights: Option<Vec<f32>>,
    ignored: Option<Vec<bool>>,
}

impl Options {
    fn builder(&self, exec: Exec) -> BinaryCrossEntropy<'_> {
        let mut builder = BinaryCrossEntropy::new()
            .exec(exec)
            .label_smoothing(self.smoothing);
        if let Some(divisor) = self.normaliser {
            builder = builder.normaliser(divisor);
        }
        if let Some(weights) = &self.pos_weights {
            builder = builder.pos_weights(weights);
        }
        if let Some(weights) = &self.label_weights {
            builder = builder.label_weights(weights);
        }
        if let Some(ignored) = &self.ignored {
            builder = builder.ignore_mask(ignored);
        }
        builder
    }

    /// What is on for rows of so many labels: every combination.
    fn all(labels: usize, elements: usize, rng: &mut Rng) -> Vec<Self> {
        let mut all = vec![];
        for has in 0..16 {
            for smoothing in [0.0, 0.1, 1.0] {
                // Weights of 0 among them.
                let weight = |rng: &mut Rng| {
                    if rng.below(6) == 0 {
                        0.0
                    } else {
                        rng.between(0.1, 8.0) as f32
                    }
                };
                let mut weights =
                    |has: bool| has.then(|| (0..labels).map(|_| weight(rng)).collect());
                let (pos_weights, label_weights) = (weights(has & 1 != 0), weights(has & 2 != 0));
                let ignored =
                    (has & 4 != 0).then(|| (0..elements).map(|_| rng.below(4) == 0).collect());
                let normaliser = (has & 8 != 0).then(|| rng.between(0.5, 100.0));
                all.push(Self {
                    smoothing,
                    normaliser,
                    pos_weights,
                    label_weights,
                    ignored,
                });
            }
        }
        all
    }
}

/// `L` and `dL/dx` of the documentation, the larger term of the latter, and what the least normal number becomes by the weights.
fn formula(options: &Options, element: usize, labels: usize, x: f64, t: f64) -> [f64; 4] {
    let weight = |weights: &Option<Vec<f32>>| {
        weights
            .as_ref()
            .map_or(1.0, |w| f64::from(w[element % labels]))
    };
    let (q, w) = (weight(&options.pos_weights), weight(&options.label_weights));
    let t = (1.0 - options.smoothing) * t + options.smoothing / 2.0;
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| {
        let e = (-x.abs()).exp();
        (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
    };
    let product = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * b };
    let loss = product(q * t, softplus(-x)) + product(1.0 - t, softplus(x));
    let (no, yes) = ((1.0 - t) * sigmoid(x), q * t * sigmoid(-x));
    let least = w * q.max(1.0) * f64::from(f32::MIN_POSITIVE);
    [product(w, loss), w * (no - yes), w * no.max(yes), least]
}

/// Derived at the head of `src/kernel/weighted_binary.rs`.
const LOSS: Bound = Bound {
    fused: 8.1,
    unfused: 11.0,
};
const GRADIENT: Bound = Bound {
    fused: 6.3,
    unfused: 10.0,
};

/// The textbook sigmoid is off by as many halves of an ULP as the logit has, and `1 - t` by what 1 is.
const TEXTBOOK: f64 = 120.0;

/// What is compared.
struct Case<'a> {
    backend: Backend,
    options: &'a Options,
    labels: usize,
    x: &'a [f32],
    t: &'a [f32],
}

impl Case<'_> {
    /// Returns the worst errors of losses and gradients, as shares of what they may be.
    fn check(&self, context: Arguments<'_>) -> [f64; 2] {
        let &Self {
            backend,
            options,
            labels,
            x,
            t,
        } = self;
        let is_scalar = backend.name() == "scalar";
        let bound = |bound: Bound| {
            if is_scalar {
                TEXTBOOK
            } else {
                bound.on(backend)
            }
        };
        let builder = options.builder(Exec::new().serial().backend(backend));
        let blank = vec![-7.25_f32; x.len()];
        let (losses, result) = guarded(&blank, 0, |losses| {
            builder.loss_per_element(x, labels, t, losses)
        });
        result.unwrap();
        let is_ignored = |i: usize| options.ignored.as_ref().is_some_and(|ignored| ignored[i]);
        let exact: Vec<_> = (0..x.len())
            .map(|i| formula(options, i, labels, x[i].into(), t[i].into()))
            .collect();
        let (mut worst, mut total, mut counted) = ([0.0_f64; 2], 0.0, 0);
        for (i, [loss, _, _, least]) in exact.iter().enumerate() {
            if is_ignored(i) {
                assert_eq!(losses[i].to_bits(), 0, "{context}: {i} is ignored");
                continue;
            }
            (total, counted) = (total + loss, counted + 1);
            let error = Want::ulp_of(*loss, loss.max(*least)).error(losses[i]);
            worst[0] = worst[0].max(error / bound(LOSS));
            assert!(
                error <= bound(LOSS),
                "{context}: loss {i} is {:e}, not {loss:e}: {error} ULP, x {:e}, t {}",
                losses[i],
                x[i],
                t[i]
            );
        }
        let divisor = options.normaliser.unwrap_or(f64::from(counted));
        for (reduction, divisor) in [(Reduction::Sum, 1.0), (Reduction::Mean, divisor)] {
            let builder = builder.reduction(reduction);
            let (grad, loss) = guarded(&blank, 0, |grad| builder.loss_and_grad(x, labels, t, grad));
            let loss = loss.unwrap();
            let alone = builder.loss(x, labels, t).unwrap();
            let (over, in_place) = guarded(x, 0, |x| builder.loss_and_grad_in_place(x, labels, t));
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&[alone, in_place.unwrap()]),
                bits(&[loss; 2]),
                "{context}"
            );
            assert_eq!(bits(&over), bits(&grad), "{context}: in place");
            if divisor == 0.0 {
                assert!(loss.is_nan() && grad.iter().all(|&g| g == 0.0), "{context}");
                continue;
            }
            let error = Want::ulp(total / divisor).error(loss);
            assert!(
                error <= bound(LOSS),
                "{context}: {reduction:?} {loss:e} of {total:e}"
            );
            for (i, &[_, value, operand, least]) in exact.iter().enumerate() {
                let (value, operand) = (value / divisor, operand.max(least) / divisor);
                if is_ignored(i) {
                    assert_eq!(grad[i].to_bits(), 0, "{context}: {i} is ignored");
                    continue;
                }
                // The textbook's `s(x) - t` is off by what 1 is.
                let one = if is_scalar { 1.0 / divisor } else { 0.0 };
                let want = Want::ulp_of(value, operand.max(one));
                let error = want.error(grad[i]);
                worst[1] = worst[1].max(error / bound(GRADIENT));
                assert!(
                    error <= bound(GRADIENT),
                    "{context}: {reduction:?}, gradient {i} is {:e}, not {value:e}: {error} ULP of {operand:e}",
                    grad[i]
                );
            }
        }
        worst
    }
}

/// Logits of every size, and labels: 0, 1, and what is between.
fn batch(elements: usize, rng: &mut Rng) -> (Vec<f32>, Vec<f32>) {
    let spreads = [0.1, 3.0, 30.0];
    let x = |i: usize| (spreads[i % 3] * rng.normal()) as f32;
    let x: Vec<f32> = (0..elements).map(x).collect();
    let label = |_| match rng.below(3) {
        0 => 0.0,
        1 => 1.0,
        _ => rng.uniform() as f32,
    };
    (x, (0..elements).map(label).collect())
}

#[test]
fn every_combination_follows_the_formula() {
    let mut rng = Rng::new(1);
    let mut worst: Vec<_> = Backend::available()
        .map(|backend| (backend, [0.0_f64; 2]))
        .collect();
    // Labels that divide sixteen or not, more than there is room for, and several chunks.
    for (rows, labels) in [
        (1, 1),
        (7, 3),
        (40, 1),
        (9, 16),
        (3, 17),
        (5, 100),
        (3, 241),
        (4, 1000),
        (2, 4099),
        (2000, 5),
    ] {
        for (i, options) in Options::all(labels, rows * labels, &mut rng)
            .iter()
            .enumerate()
        {
            let (x, t) = batch(rows * labels, &mut rng);
            for (backend, worst) in &mut worst {
                let case = Case {
                    backend: *backend,
                    options,
                    labels,
                    x: &x,
                    t: &t,
                };
                let found = case.check(format_args!("{backend:?}, {rows} x {labels}, {i}"));
                *worst = [worst[0].max(found[0]), worst[1].max(found[1])];
            }
        }
    }
    for (backend, worst) in worst {
        println!("{backend:?}: of what losses and gradients may be off, {worst:.3?}");
    }
}

/// The formula that the other test compares with.
#[test]
fn gradients_of_the_formula_are_those_of_its_loss() {
    let mut rng = Rng::new(2);
    for options in Options::all(3, 3, &mut rng) {
        let options = Options {
            ignored: None,
            ..options
        };
        for element in 0..3 {
            let (x, t) = (3.0 * rng.normal(), rng.uniform());
            let at = |x: f64| formula(&options, element, 3, x, t)[0];
            let difference = (at(x + 1e-5) - at(x - 1e-5)) / 2e-5;
            let [_, gradient, ..] = formula(&options, element, 3, x, t);
            assert!(
                (difference - gradient).abs() < 1e-7,
                "{options:?}: {difference}, {gradient}"
            );
        }
    }
}

/// The same bits on every backend that fuses, and on any number of threads: a part may begin at any label.
#[test]
fn options_leave_the_bits_alone() {
    let mut rng = Rng::new(3);
    for (rows, labels) in [(200, 3), (60_001, 7), (301, 1000)] {
        let (x, t) = batch(rows * labels, &mut rng);
        let all = Options::all(labels, rows * labels, &mut rng);
        for options in all
            .iter()
            .step_by(if rows * labels > 1000 { 11 } else { 1 })
        {
            let run = |exec: Exec| {
                let mut grad = vec![0.0; x.len()];
                let builder = options.builder(exec);
                let loss = builder.loss_and_grad(&x, labels, &t, &mut grad).unwrap();
                let mut losses = vec![0.0; x.len()];
                builder
                    .loss_per_element(&x, labels, &t, &mut losses)
                    .unwrap();
                let all = grad.iter().chain(&losses).chain([&loss]);
                all.map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            let mut fused = None;
            for backend in Backend::available() {
                let serial = run(Exec::new().serial().backend(backend));
                assert!(
                    serial == run(Exec::new().backend(backend)),
                    "{backend:?}: threads"
                );
                if backend.is_fused() {
                    let first = fused.get_or_insert_with(|| serial.clone());
                    assert!(*first == serial, "{backend:?}");
                }
            }
        }
    }
}

#[test]
fn options_out_of_range_are_errors_that_name_them() {
    let new = BinaryCrossEntropy::<f32>::new;
    let refusal = |builder: BinaryCrossEntropy<'_>| {
        let (x, mut grad) = ([0.5_f32; 6], [3.5_f32; 6]);
        let error = builder.loss(&x, 3, &x).unwrap_err();
        let others = [
            builder.loss_and_grad(&x, 3, &x, &mut grad).unwrap_err(),
            builder
                .loss_and_grad_in_place(&mut grad, 3, &x)
                .unwrap_err(),
            builder.loss_per_element(&x, 3, &x, &mut grad).unwrap_err(),
        ];
        assert!(
            others
                .iter()
                .all(|other| other.to_string() == error.to_string())
        );
        assert_eq!(grad, [3.5; 6], "something was written");
        error
    };
    for value in [-0.1, 1.1, f64::NAN] {
        let text = refusal(new().label_smoothing(value)).to_string();
        assert!(
            text.starts_with(&format!("label_smoothing is {value}, ")),
            "{text}"
        );
    }
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-39, 1e47] {
        let text = refusal(new().normaliser(value)).to_string();
        assert!(
            text.starts_with(&format!("normaliser is {value}, ")),
            "{text}"
        );
    }
    for weights in [
        [1.0, -1.0, 1.0],
        [1.0, f32::NAN, 1.0],
        [1.0, f32::INFINITY, 1.0],
    ] {
        let text = refusal(new().pos_weights(&weights)).to_string();
        assert!(
            text.starts_with(&format!("pos_weights[1] is {}, ", weights[1])),
            "{text}"
        );
        let text = refusal(new().label_weights(&weights)).to_string();
        assert!(
            text.starts_with(&format!("label_weights[1] is {}, ", weights[1])),
            "{text}"
        );
    }
    let length = |name, expected, found| Error::OptionLength {
        name,
        expected,
        found,
    };
    let error = refusal(new().pos_weights(&[1.0; 2]));
    assert_eq!(error, length("pos_weights", 3, 2));
    let error = refusal(new().label_weights(&[1.0; 6]));
    assert_eq!(error, length("label_weights", 3, 6));
    let error = refusal(new().ignore_mask(&[true; 3]));
    assert_eq!(error, length("ignore_mask", 6, 3));
}

#[test]
fn elements_that_are_special() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let run = |builder: BinaryCrossEntropy<'_>, x: f32, t: f32| {
            let builder = builder.exec(exec).reduction(Reduction::Sum);
            let (mut loss, mut grad) = ([9.0], [9.0]);
            builder.loss_per_element(&[x], 1, &[t], &mut loss).unwrap();
            let sum = builder.loss_and_grad(&[x], 1, &[t], &mut grad).unwrap();
            assert!(
                sum == loss[0] || sum.is_nan() && loss[0].is_nan(),
                "{backend:?}"
            );
            (loss[0], grad[0])
        };
        let new = BinaryCrossEntropy::new;
        // Limits, and shares of 0 of them.
        let one = [1.0_f32];
        assert_eq!(run(new().pos_weights(&one), f32::INFINITY, 1.0), (0.0, 0.0));
        assert_eq!(
            run(new().pos_weights(&one), f32::NEG_INFINITY, 1.0),
            (f32::INFINITY, -1.0)
        );
        assert_eq!(
            run(new().pos_weights(&[0.0]), f32::NEG_INFINITY, 1.0),
            (0.0, 0.0)
        );
        assert_eq!(
            run(new().label_weights(&[0.0]), f32::NEG_INFINITY, 1.0),
            (0.0, 0.0)
        );
        assert_eq!(
            run(new().label_smoothing(0.5), f32::INFINITY, 1.0),
            (f32::INFINITY, 0.25)
        );
        // NaN is not hidden by a weight of 0, but by being ignored.
        let (loss, grad) = run(new().label_weights(&[0.0]), f32::NAN, 1.0);
        assert!(
            loss.is_nan() && grad.to_bits() == f32::NAN.to_bits(),
            "{backend:?}"
        );
        assert_eq!(
            run(new().ignore_mask(&[true]), f32::NAN, f32::NAN),
            (0.0, 0.0)
        );
        // Nothing counts.
        let nothing = new().exec(exec).ignore_mask(&[true; 2]);
        assert!(nothing.loss(&[1.0_f32; 2], 2, &[1.0; 2]).unwrap().is_nan());
        assert_eq!(
            nothing
                .empty_mean(EmptyMean::Zero)
                .loss(&[1.0_f32; 2], 2, &[1.0; 2])
                .unwrap(),
            0.0
        );
        assert_eq!(
            nothing
                .normaliser(2.0)
                .loss(&[1.0_f32; 2], 2, &[1.0; 2])
                .unwrap(),
            0.0
        );
        let none: [f32; 0] = [];
        let empty = new().exec(exec).pos_weights(&none).label_weights(&none);
        assert_eq!(
            empty
                .reduction(Reduction::Sum)
                .loss(&none, 0, &none)
                .unwrap(),
            0.0
        );
    }
}

/// Two classes that exclude each other are one logistic classifier of the difference of their logits: the same loss, and the same gradient,
/// up to the sign. Weights of classes are those of yes and no.
#[test]
fn two_classes_are_one_logistic_classifier() {
    let mut rng = Rng::new(4);
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let exec = Exec::new().backend(backend);
        for i in 0..2000 {
            // Differences that are exact.
            let (a, b) = (
                (rng.between(-40.0, 40.0) as f32).round() / 8.0,
                (rng.between(-400.0, 400.0) as f32).round() / 8.0,
            );
            let target = rng.below(2);
            let (yes, no) = if i % 2 == 0 { (1.0, 1.0) } else { (3.0, 0.5) };
            let weights = [no, yes];
            let (mut loss, mut grad) = ([0.0], [0.0; 2]);
            let softmax = CrossEntropy::new().exec(exec).class_weights(&weights);
            softmax
                .loss_per_row_and_grad(&[a, b], 2, &[target], &mut loss, &mut grad)
                .unwrap();
            // The weight of no is that of all, and that of yes relative to it.
            let (pos, all) = ([yes / no], [no]);
            let logistic = BinaryCrossEntropy::new()
                .exec(exec)
                .reduction(Reduction::Sum)
                .pos_weights(&pos)
                .label_weights(&all);
            let mut one = [0.0];
            let label = target as f32;
            let other = logistic
                .loss_and_grad(&[b - a], 1, &[label], &mut one)
                .unwrap();
            let close = |got: f32, want: f32, what: &str| {
                let error = Want::ulp(got.into()).error(want);
                assert!(
                    error <= 12.0,
                    "{backend:?}: {what} of ({a}, {b}), target {target}: {got:e}, {want:e}"
                );
            };
            close(loss[0], other, "loss");
            close(grad[1], one[0], "gradient");
            close(grad[0], -one[0], "gradient of the other");
        }
    }
}
