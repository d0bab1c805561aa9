//! The options of cross-entropy, over their cross product, on every backend: losses and gradients against the plain formula in
//! `f64`, the formula's gradient against central differences of its loss, and the gradients of rows alone and in batches.
//! Prints the worst errors (`-- --nocapture`).
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::float_cmp,
    reason = "a test fails by panicking, there are few classes, and some results are exact"
)]

mod common;

use std::fmt::{Arguments, Debug};

use common::bounds::{self, Bound};
use common::guard::guarded;
use common::inputs::{self, Rng};
use common::options::{Options, SCALED, products, textbook};
use common::oracle::sum;
use common::ulp::Want;
use softlane::{Backend, CrossEntropy, EmptyMean, Error, Exec, MaskedRows, Reduction};

/// A row as the formula has it, and what errors count by.
struct Exact {
    loss: f64,
    loss_operand: f64,
    gradient: Vec<f64>,
    operands: Vec<f64>,
    /// What probabilities are multiplied by.
    factor: f64,
}

/// `L` and `dL/dx` of the documentation, for logits that are finite or `-inf`.
fn formula(options: &Options, x: &[f64], target: usize) -> Exact {
    let classes = x.len() as f64;
    let top = (0..x.len())
        .max_by(|&a, &b| x[a].total_cmp(&x[b]).then(b.cmp(&a)))
        .unwrap();
    let z: Vec<f64> = x.iter().map(|&z| options.scale * (z - x[top])).collect();
    let weights: Vec<f64> = z.iter().map(|z| z.exp()).collect();
    let others = sum((0..x.len()).filter(|&k| k != top).map(|k| weights[k]));
    let total = 1.0 + others;
    let log = others.ln_1p();
    let lse = options.scale * x[top] + log;
    let hard = (1.0 - options.smoothing) * options.weight(target);
    let soft = |k: usize| options.smoothing / classes * options.weight(k);
    let product = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * b };
    let nll = |k: usize| log - z[k];
    let z_loss = options.z_loss * lse * lse;
    let smooth = sum((0..x.len()).map(|k| product(soft(k), nll(k))));
    let spread = sum((0..x.len()).map(soft));
    let certain = product(hard, nll(target));
    let at_least_one = lse.abs().max(1.0);
    let terms = [
        certain,
        smooth.max(spread),
        options.z_loss * at_least_one * at_least_one,
    ];
    let mass = hard + spread;
    let pull = 2.0 * options.z_loss * lse;
    let gradient = |k: usize| {
        let p = weights[k] / total;
        let complement = if k == top {
            others / total
        } else {
            (total - weights[k]) / total
        };
        // hard (p - 1) is told from the others' probabilities.
        let own = if k == target {
            -hard * complement
        } else {
            hard * p
        };
        options.scale * (own + spread * p + pull * p - soft(k))
    };
    let operand = |k: usize| {
        let p = weights[k] / total;
        let share = soft(k) + if k == target { hard } else { 0.0 };
        let pull = 2.0 * options.z_loss * at_least_one;
        options.scale * ((mass + pull) * p).max(share)
    };
    Exact {
        loss: certain + smooth + z_loss,
        loss_operand: terms.into_iter().fold(0.0, f64::max),
        gradient: (0..x.len()).map(gradient).collect(),
        operands: (0..x.len()).map(operand).collect(),
        factor: options.scale * (mass + 2.0 * options.z_loss * at_least_one),
    }
}

/// The larger of two errors.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    loss: f64,
    gradient: f64,
}

/// Of terms that differ: derived at the head of `src/kernel/cross_entropy.rs`. Without fused multiply-add a weight is off by 1.8
/// and a sum by 2.0, of which the loss has two, and products are rounded.
const MIXED_LOSS: Bound = Bound {
    fused: 1.8,
    unfused: 4.9,
};
const MIXED_GRADIENT: Bound = Bound {
    fused: 3.8,
    unfused: 7.9,
};

/// What is compared.
struct Case<'a> {
    backend: Backend,
    options: &'a Options,
    x: &'a [f32],
    classes: usize,
    targets: &'a [i64],
}

impl Case<'_> {
    fn is_scalar(&self) -> bool {
        self.backend.name() == "scalar"
    }

    /// The target of each row that counts, and the formula.
    fn exact(&self) -> Vec<Option<(usize, Exact)>> {
        let rows = self.x.chunks_exact(self.classes).zip(self.targets);
        let exact = |(x, &target): (&[f32], &i64)| {
            let target = usize::try_from(target).ok()?;
            let x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
            Some((target, formula(self.options, &x, target)))
        };
        rows.map(exact).collect()
    }

    /// What a loss is to be, and how many ULP it may be off.
    fn loss(&self, exact: &Exact, x: &[f32]) -> (Want, f64) {
        let operand = exact.loss.max(exact.loss_operand);
        if self.is_scalar() {
            // That of a certain row is off by what 1 is.
            let mass = self.options.weights.as_ref().map_or(1.0, |_| 8.0);
            (
                Want::ulp_of(exact.loss, operand.max(mass)),
                textbook(self.options, x),
            )
        } else if self.options.mixes() {
            (
                Want::ulp_of(exact.loss, operand),
                MIXED_LOSS.on(self.backend),
            )
        } else {
            (Want::ulp(exact.loss), bounds::LOSS.derived.on(self.backend))
        }
    }

    /// Compares gradients, all of which are multiplied by `g`. Returns the worst error, as a share of what it may be.
    fn assert_gradient(
        &self,
        got: &[f32],
        exact: &Exact,
        x: &[f32],
        g: f64,
        context: Arguments<'_>,
    ) -> f64 {
        let mut worst = 0.0_f64;
        // What has less than 2^-188 of the weight counts as that, or as nothing. The textbook probability is a float.
        let lightest = if self.is_scalar() { -148_f64 } else { -188.0 }.exp2();
        let least = lightest * x.len() as f64 * (g * exact.factor).abs();
        for (k, &got) in got.iter().enumerate() {
            let value = g * exact.gradient[k];
            let (operand, bound) = if self.is_scalar() {
                ((g * exact.operands[k]).abs(), textbook(self.options, x))
            } else if self.options.mixes() {
                (
                    (g * exact.operands[k]).abs(),
                    MIXED_GRADIENT.on(self.backend),
                )
            } else {
                (
                    value,
                    bounds::probability(value).on(self.backend) + SCALED.on(self.backend),
                )
            };
            // Beyond the range too.
            let ulp = Want::ulp_of(value, operand).unit;
            let ulp = if operand.abs() > f32::MAX.into() {
                ulp.max(operand.abs() * (-24_f64).exp2())
            } else {
                ulp
            };
            let unit = ulp.max(least);
            let want = Want { value, unit };
            let error = want.error(got);
            worst = worst.max(error / bound);
            assert!(
                error <= bound,
                "{context}: gradient {k} is {got:e}, not {value:e}: {error} ULP of {operand:e}"
            );
        }
        worst
    }

    /// Everything that there is of the batch.
    fn check(&self, context: Arguments<'_>) -> Worst {
        let exact = self.exact();
        let (worst, sums) = self.check_rows(context);
        self.check_reduced(&exact, sums, context);
        worst
    }

    /// The losses of the rows and their gradients; also returns what [`Self::check_reduced`] takes.
    fn check_rows(&self, context: Arguments<'_>) -> (Worst, [f64; 3]) {
        let &Self {
            backend,
            options,
            x,
            classes,
            targets,
        } = self;
        let builder = options.builder(Exec::new().serial().backend(backend));
        let (blank, empty) = (vec![-7.25_f32; x.len()], vec![-7.25_f32; targets.len()]);
        let (grad, (losses, result)) = guarded(&blank, 0, |grad| {
            guarded(&empty, 0, |losses| {
                builder.loss_per_row_and_grad(x, classes, targets, losses, grad)
            })
        });
        result.unwrap();
        let (alone, result) = guarded(&empty, 0, |losses| {
            builder.loss_per_row(x, classes, targets, losses)
        });
        result.unwrap();
        assert_eq!(bits(&alone), bits(&losses), "{context}: losses alone");
        let (over, (losses_over, result)) = guarded(x, 0, |x| {
            guarded(&empty, 0, |losses| {
                builder.loss_per_row_and_grad_in_place(x, classes, targets, losses)
            })
        });
        result.unwrap();
        assert_eq!(
            (bits(&over), bits(&losses_over)),
            (bits(&grad), bits(&losses)),
            "{context}: in place"
        );

        let exact = self.exact();
        let mut worst = Worst::default();
        let (mut total, mut operand, mut counted) = (0.0, 0.0_f64, 0.0);
        let rows = || x.chunks_exact(classes).zip(&exact).enumerate();
        let upstream = |row: usize| options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
        for (row, (x, exact)) in rows() {
            let got = &grad[row * classes..][..classes];
            let Some((target, exact)) = exact else {
                let all_zero = got.iter().all(|&g| g == 0.0);
                assert!(
                    all_zero && losses[row] == 0.0,
                    "{context}: row {row} is ignored"
                );
                continue;
            };
            (total, operand) = (
                total + exact.loss,
                operand + exact.loss.max(exact.loss_operand),
            );
            counted += options.weight(*target);
            let (mut want, bound) = self.loss(exact, x);
            // What has less than 2^-188 of the weight counts as that, or as nothing.
            let least = (-188_f64).exp2() * x.len() as f64 * exact.factor / options.scale;
            want.unit = want.unit.max(least);
            let error = want.error(losses[row]);
            worst.loss = worst.loss.max(error / bound);
            assert!(
                error <= bound,
                "{context}: loss of row {row} is {:e}, not {:e}: {error} ULP",
                losses[row],
                want.value
            );
            let context = format_args!("{context}, row {row} (target {target})");
            worst.gradient =
                worst
                    .gradient
                    .max(self.assert_gradient(got, exact, x, upstream(row), context));
        }
        (worst, [total, operand, counted])
    }

    /// The sum and the mean of losses that add up to `total`, of terms of the size of `operand`, and of weights that add up to
    /// `counted`.
    fn check_reduced(
        &self,
        exact: &[Option<(usize, Exact)>],
        [total, operand, counted]: [f64; 3],
        context: Arguments<'_>,
    ) {
        let &Self {
            backend,
            options,
            x,
            classes,
            targets,
        } = self;
        let builder = options.builder(Exec::new().serial().backend(backend));
        let blank = vec![-7.25_f32; x.len()];
        let rows = || x.chunks_exact(classes).zip(exact).enumerate();
        let upstream = |row: usize| options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
        let divisor = options.normaliser.unwrap_or(counted);
        for (reduction, divisor) in [(Reduction::Sum, 1.0), (Reduction::Mean, divisor)] {
            let builder = builder.reduction(reduction);
            let (reduced, loss) = guarded(&blank, 0, |grad| {
                builder.loss_and_grad(x, classes, targets, grad)
            });
            let loss = loss.unwrap();
            let alone = builder.loss(x, classes, targets).unwrap();
            assert_eq!(
                alone.to_bits(),
                loss.to_bits(),
                "{context}: {reduction:?} alone"
            );
            if divisor == 0.0 {
                let all_zero = reduced.iter().all(|&g| g == 0.0);
                assert!(
                    loss.is_nan() && all_zero,
                    "{context}: {reduction:?} of nothing"
                );
                continue;
            }
            // As in `loss`, what 1 is for each row, times the largest weight.
            let certain = if self.is_scalar() {
                8.0 * targets.len() as f64
            } else {
                0.0
            };
            let want = Want::ulp_of(total / divisor, (operand + certain) / divisor);
            let bound = if self.is_scalar() {
                textbook(options, x)
            } else {
                MIXED_LOSS.on(backend)
            };
            assert!(
                want.error(loss) <= bound,
                "{context}: {reduction:?} is {loss:e}, not {:e}",
                want.value
            );
            for (row, (x, exact)) in rows() {
                if let Some((_, exact)) = exact {
                    let context = format_args!("{context}: {reduction:?}, row {row}");
                    self.assert_gradient(
                        &reduced[row * classes..][..classes],
                        exact,
                        x,
                        upstream(row) / divisor,
                        context,
                    );
                }
            }
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Targets of any class, some ignored.
fn targets(rows: usize, classes: usize, rng: &mut Rng) -> Vec<i64> {
    let target = |_| {
        if rng.below(8) == 0 {
            -100
        } else {
            rng.below(classes) as i64
        }
    };
    (0..rows).map(target).collect()
}

#[test]
fn every_combination_follows_the_formula() {
    let mut rng = Rng::new(1);
    let mut worst: Vec<_> = Backend::available()
        .map(|backend| (backend, [Worst::default(); 2]))
        .collect();
    // One row after the other, blocks of rows that are full or not, and several chunks.
    let shapes = [
        (1, 1),
        (3, 1),
        (16, 2),
        (29, 3),
        (33, 5),
        (47, 10),
        (17, 33),
        (9, 64),
        (3, 65),
        (2, 300),
        (2, 4099),
    ];
    let kinds = [
        "normal 3",
        "normal 20",
        "confident",
        "masked half",
        "offset 1e3",
        "offset 1e5",
        "unlikely",
        "equal",
    ];
    for (rows, classes) in shapes {
        let combinations = products(classes, rows, &mut rng);
        // Long rows have fewer of them, but every option.
        let step = if classes > 1000 { 7 } else { 1 };
        for (i, options) in combinations.iter().enumerate().step_by(step) {
            let kind = kinds[rng.below(kinds.len())];
            let class = inputs::named(kind).unwrap();
            let x: Vec<f32> = (0..rows)
                .flat_map(|_| class.row(rng.bits(), classes))
                .collect();
            // So that the factor leaves something to tell.
            let x: Vec<f32> = if options.scale < 0.01 {
                x
            } else {
                x.iter().map(|x| x / options.scale as f32).collect()
            };
            let targets = targets(rows, classes, &mut rng);
            for (backend, worst) in &mut worst {
                let case = Case {
                    backend: *backend,
                    options,
                    x: &x,
                    classes,
                    targets: &targets,
                };
                let found = case.check(format_args!(
                    "{backend:?}, {rows} x {classes} {kind}, {i}: {options:?}"
                ));
                let worst = &mut worst[usize::from(options.mixes())];
                *worst = Worst {
                    loss: worst.loss.max(found.loss),
                    gradient: worst.gradient.max(found.gradient),
                };
            }
        }
    }
    for (backend, [plain, mixed]) in worst {
        println!(
            "{backend:?}: of what errors may be, {plain:.3?}, where terms are mixed {mixed:.3?}"
        );
    }
}

/// The formula that the other tests compare with.
#[test]
fn gradients_of_the_formula_are_those_of_its_loss() {
    let mut rng = Rng::new(2);
    for classes in [1, 2, 5, 33] {
        for options in products(classes, 1, &mut rng) {
            let x: Vec<f64> = (0..classes)
                .map(|_| rng.normal() / options.scale.max(1e-3))
                .collect();
            let target = rng.below(classes);
            let exact = formula(&options, &x, target);
            for k in 0..classes {
                let h = 1e-5 / options.scale;
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[k] += d;
                    formula(&options, &x, target).loss
                };
                let difference = (at(h) - at(-h)) / (2.0 * h);
                let room = 1e-7 * options.scale * (1.0 + exact.loss_operand);
                let error = (difference - exact.gradient[k]).abs();
                assert!(
                    error < room,
                    "{options:?}, {classes} classes, {k}: {difference} of {}",
                    exact.gradient[k]
                );
            }
        }
    }
}

/// The same bits in a batch as alone, on every backend that fuses, and whatever the number of threads.
#[test]
fn options_leave_the_bits_alone() {
    let mut rng = Rng::new(3);
    let fused: Vec<_> = Backend::available()
        .filter(|backend| backend.is_fused())
        .collect();
    for (rows, classes) in [
        (47, 2),
        (31, 10),
        (29, 33),
        (17, 64),
        (3, 100),
        (1, 250_007),
    ] {
        let combinations = products(classes, rows, &mut rng);
        for options in combinations
            .iter()
            .step_by(if classes > 1000 { 41 } else { 5 })
        {
            let class =
                inputs::named(["normal 3", "masked half", "confident"][rng.below(3)]).unwrap();
            let x: Vec<f32> = (0..rows)
                .flat_map(|_| class.row(rng.bits(), classes))
                .collect();
            let targets = targets(rows, classes, &mut rng);
            let run = |exec: Exec, rows: std::ops::Range<usize>| {
                let upstream = options.upstream.as_ref().map(|u| u[rows.clone()].to_vec());
                let options = Options {
                    upstream,
                    ..options.clone()
                };
                let x = &x[rows.start * classes..rows.end * classes];
                let (mut losses, mut grad) = (vec![0.0; rows.len()], vec![0.0; x.len()]);
                let builder = options.builder(exec);
                builder
                    .loss_per_row_and_grad(x, classes, &targets[rows], &mut losses, &mut grad)
                    .unwrap();
                (bits(&losses), bits(&grad))
            };
            for backend in Backend::available() {
                let exec = Exec::new().serial().backend(backend);
                let batch = run(exec, 0..rows);
                let alone: (Vec<_>, Vec<_>) = (0..rows).map(|i| run(exec, i..i + 1)).unzip();
                assert_eq!(
                    batch,
                    (alone.0.concat(), alone.1.concat()),
                    "{backend:?}, {classes} classes: {options:?}"
                );
                assert_eq!(
                    batch,
                    run(Exec::new().backend(backend), 0..rows),
                    "{backend:?}: threads, {options:?}"
                );
                if fused.contains(&backend) {
                    let other = Exec::new().serial().backend(fused[0]);
                    assert_eq!(batch, run(other, 0..rows), "{backend:?}: {options:?}");
                }
            }
        }
    }
}

/// What a call with wrong options says; nothing is written.
#[track_caller]
fn refusal(builder: CrossEntropy<'_>, classes: usize) -> Error {
    let mut grad = vec![3.5_f32; 2 * classes];
    let mut losses = [3.5_f32; 2];
    let x = vec![0.0; 2 * classes];
    let error = builder.loss(&x, classes, &[0, 0]).unwrap_err();
    let others = [
        builder
            .loss_and_grad(&x, classes, &[0, 0], &mut grad)
            .unwrap_err(),
        builder
            .loss_and_grad_in_place(&mut grad, classes, &[0, 0])
            .unwrap_err(),
        builder
            .loss_per_row(&x, classes, &[0, 0], &mut losses)
            .unwrap_err(),
        builder
            .loss_per_row_and_grad(&x, classes, &[0, 0], &mut losses, &mut grad)
            .unwrap_err(),
        builder
            .loss_per_row_and_grad_in_place(&mut grad, classes, &[0, 0], &mut losses)
            .unwrap_err(),
    ];
    for other in others {
        assert_eq!(other.to_string(), error.to_string());
    }
    assert!(
        grad.iter().chain(&losses).all(|&y| y == 3.5),
        "something was written"
    );
    error
}

#[test]
fn options_out_of_range_are_errors_that_name_them() {
    let new = CrossEntropy::<f32>::new;
    let wrong = |values: &[f64], set: &dyn Fn(f64) -> CrossEntropy<'static>, name: &str| {
        for &value in values {
            let error = refusal(set(value), 3);
            assert!(matches!(error, Error::Option { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name} is {value}, ")), "{text}");
        }
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    wrong(
        &[-0.1, 1.000_001, nan, inf],
        &|x| new().label_smoothing(x),
        "label_smoothing",
    );
    wrong(&[-1e-9, nan, inf, -inf], &|x| new().z_loss(x), "z_loss");
    wrong(
        &[0.0, -1.0, nan, inf, 1e39, 1e-60],
        &|x| new().logit_scale(x),
        "logit_scale",
    );
    wrong(
        &[0.0, -1.0, nan, inf],
        &|x| new().normaliser(x),
        "normaliser",
    );
    for (weight, class) in [(-1.0, 0), (f32::NAN, 1), (f32::INFINITY, 2)] {
        let mut weights = [1.0; 3];
        weights[class] = weight;
        let error = refusal(CrossEntropy::new().class_weights(&weights), 3);
        assert!(
            matches!(error, Error::Weight { index, .. } if index == class),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("class_weights[{class}] is {weight},")),
            "{error}"
        );
    }
    let error = refusal(CrossEntropy::new().class_weights(&[1.0; 2]), 3);
    assert_eq!(
        error,
        Error::OptionLength {
            name: "class_weights",
            expected: 3,
            found: 2
        }
    );
    let error = refusal(CrossEntropy::new().upstream_grad(&[1.0; 3]), 3);
    assert_eq!(
        error,
        Error::OptionLength {
            name: "upstream_grad",
            expected: 2,
            found: 3
        }
    );
}

/// `PyTorch`'s numbers, from its definitions: `F.cross_entropy(x, t, weight, label_smoothing=0.2)` in `f64`.
#[test]
fn rows_that_are_special() {
    const NEG: f32 = f32::NEG_INFINITY;
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let run = |builder: CrossEntropy<'_>, x: &[f32], target: i64| {
            // Alone, and in a block.
            let (mut losses, mut grad) = ([9.0], vec![9.0; x.len()]);
            let builder = builder.exec(exec);
            builder
                .loss_per_row_and_grad(x, x.len(), &[target], &mut losses, &mut grad)
                .unwrap();
            let (mut many, mut grads) = ([9.0; 20], vec![9.0; 20 * x.len()]);
            let batch = x.repeat(20);
            builder
                .loss_per_row_and_grad(&batch, x.len(), &[target; 20], &mut many, &mut grads)
                .unwrap();
            assert!(
                many.iter().all(|l| l.to_bits() == losses[0].to_bits()),
                "{backend:?}: {many:?}, {losses:?}"
            );
            assert_eq!(bits(&grads), bits(&grad).repeat(20), "{backend:?}");
            (losses[0], grad)
        };
        let smooth = CrossEntropy::new().label_smoothing(0.25);
        // A class without probability has a share: the loss is infinite, the gradient the share.
        let (loss, grad) = run(smooth, &[0.0, NEG], 0);
        assert_eq!((loss, grad), (f32::INFINITY, vec![0.125, -0.125]));
        // Unless its weight is 0.
        let weights = [1.0, 0.0];
        let (loss, grad) = run(smooth.class_weights(&weights), &[0.0, NEG], 0);
        assert_eq!((loss, grad), (0.0, vec![0.0, 0.0]));
        // A target of weight 0 has no loss, though it is an infinite one.
        let (loss, grad) = run(CrossEntropy::new().class_weights(&weights), &[0.0, NEG], 1);
        assert_eq!((loss, grad), (0.0, vec![0.0, 0.0]));
        // But a row with NaN or +inf is NaN, whatever the weight.
        for wrong in [f32::NAN, f32::INFINITY] {
            for builder in [
                smooth,
                smooth.z_loss(1.0),
                CrossEntropy::new().class_weights(&weights),
                CrossEntropy::new().logit_scale(2.0),
            ] {
                let (loss, grad) = run(builder, &[0.0, wrong], 1);
                assert!(
                    loss.is_nan() && grad.iter().all(|g| g.to_bits() == f32::NAN.to_bits()),
                    "{backend:?}: {builder:?}"
                );
            }
        }
        // No probability for any class.
        let masked = smooth.masked_rows(MaskedRows::Zero);
        let (loss, grad) = run(masked, &[NEG, NEG], 0);
        assert_eq!((loss, grad), (f32::INFINITY, vec![-0.875, -0.125]));
        let (loss, grad) = run(
            masked.logit_scale(2.0).class_weights(&[0.0, 0.0]),
            &[NEG, NEG],
            0,
        );
        assert_eq!((loss, grad), (0.0, vec![0.0, 0.0]));
        assert!(run(smooth, &[NEG, NEG], 0).0.is_nan());
        // Upstream gradients are data.
        for upstream in [f32::NAN, f32::INFINITY] {
            let all = [upstream; 20];
            let (mut loss, mut grad) = ([9.0], [9.0; 2]);
            let builder = CrossEntropy::new().exec(exec).upstream_grad(&all[..1]);
            builder
                .loss_per_row_and_grad(&[0.0, 0.0], 2, &[0], &mut loss, &mut grad)
                .unwrap();
            assert_eq!(loss, [core::f32::consts::LN_2], "{backend:?}");
            assert!(
                grad.iter().all(|g| !f32::is_finite(*g)),
                "{backend:?}: {grad:?}"
            );
        }
        // A mean of weights that are all 0, and one whose divisor is given.
        let nothing = CrossEntropy::new()
            .exec(exec)
            .class_weights(&[0.0_f32, 0.0]);
        let mut grad = [9.0; 2];
        assert!(
            nothing
                .loss_and_grad(&[1.0_f32, 0.0], 2, &[1], &mut grad)
                .unwrap()
                .is_nan()
        );
        assert_eq!(grad, [0.0; 2]);
        assert_eq!(
            nothing
                .empty_mean(EmptyMean::Zero)
                .loss(&[1.0_f32, 0.0], 2, &[1])
                .unwrap(),
            0.0
        );
        assert_eq!(
            nothing
                .normaliser(3.0)
                .loss(&[1.0_f32, 0.0], 2, &[1])
                .unwrap(),
            0.0
        );
        let ignored = CrossEntropy::new().exec(exec).normaliser(3.0);
        assert_eq!(ignored.loss(&[1.0, 0.0], 2, &[-100]).unwrap(), 0.0);
    }
}

/// Numbers of any size, in blocks of rows and alone: results that are near the formula, and the same.
#[test]
fn options_of_any_size() {
    const ROWS: usize = 19;
    let mut rng = Rng::new(5);
    for i in 0..3000 {
        let classes = 1 + rng.below(12);
        // Most are moderate: few times all numbers would be.
        let size = |rng: &mut Rng| {
            let exponent = [4.0, 30.0, 60.0, 120.0][rng.below(4)];
            rng.between(-exponent, exponent).exp2()
        };
        let float = |rng: &mut Rng| {
            if rng.below(6) == 0 {
                0.0
            } else {
                size(rng) as f32
            }
        };
        let weights = rng
            .coin()
            .then(|| (0..classes).map(|_| float(&mut rng)).collect());
        let sign = |rng: &mut Rng| if rng.coin() { 1.0 } else { -1.0 };
        let upstream = rng.coin().then(|| {
            (0..ROWS)
                .map(|_| sign(&mut rng) * float(&mut rng))
                .collect()
        });
        let options = Options {
            scale: if rng.coin() {
                1.0
            } else {
                rng.between(-20.0, 20.0).exp2()
            },
            smoothing: if rng.coin() {
                0.0
            } else {
                size(&mut rng).min(1.0)
            },
            z_loss: if rng.coin() { 0.0 } else { size(&mut rng) },
            normaliser: None,
            weights,
            upstream,
        };
        let kind = inputs::named(["normal 3", "masked half", "confident"][rng.below(3)]).unwrap();
        let x = (0..ROWS).flat_map(|_| kind.row(rng.bits(), classes));
        let x: Vec<f32> = x.map(|x| x / options.scale as f32).collect();
        let targets = targets(ROWS, classes, &mut rng);
        for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
            let context = format_args!("{backend:?}, {i}: {options:?}");
            let case = Case {
                backend,
                options: &options,
                x: &x,
                classes,
                targets: &targets,
            };
            case.check_rows(context);
            let run = |rows: std::ops::Range<usize>| {
                let upstream = options.upstream.as_ref().map(|u| u[rows.clone()].to_vec());
                let options = Options {
                    upstream,
                    ..options.clone()
                };
                let x = &x[rows.start * classes..rows.end * classes];
                let (mut losses, mut grad) = (vec![0.0; rows.len()], vec![0.0; x.len()]);
                let builder = options.builder(Exec::new().serial().backend(backend));
                builder
                    .loss_per_row_and_grad(x, classes, &targets[rows], &mut losses, &mut grad)
                    .unwrap();
                (bits(&losses), bits(&grad))
            };
            let alone: (Vec<_>, Vec<_>) = (0..ROWS).map(|i| run(i..i + 1)).unzip();
            let all = (alone.0.concat(), alone.1.concat());
            assert_eq!(run(0..ROWS), all, "{context}, {x:?}");
        }
    }
}

/// Gradients so small or large that factors of weights leave the range of an element.
#[test]
fn gradients_of_any_size() {
    let x: Vec<f32> = (0..20 * 7).map(|i| (i * 37 % 11) as f32 / 3.0).collect();
    let targets = [3_i64; 20];
    for backend in Backend::available() {
        for normaliser in [1e-36, 1e-20, 1e12, 1e20, 1e30, 1e36, 1e42] {
            for smoothing in [0.0, 0.3] {
                let options = Options {
                    normaliser: Some(normaliser),
                    smoothing,
                    ..Options::none()
                };
                for rows in [1, 20] {
                    let case = Case {
                        backend,
                        options: &options,
                        x: &x[..rows * 7],
                        classes: 7,
                        targets: &targets[..rows],
                    };
                    case.check(format_args!(
                        "{backend:?}, {normaliser:e}, {smoothing}, {rows} rows"
                    ));
                }
            }
        }
    }
}

/// A log-sum-exp so large that its square moves every gradient, but not those of classes without probability.
#[test]
fn z_loss_of_large_logits() {
    // The textbook multiplies infinity and 0.
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let loss = CrossEntropy::new()
            .exec(Exec::new().backend(backend))
            .z_loss(1e-3);
        for max in [1e25_f32, -1e25, 3e38] {
            let (mut losses, mut grad) = ([0.0], [9.0; 3]);
            let x = [max, max - 1e20 * max.abs(), f32::NEG_INFINITY];
            loss.loss_per_row_and_grad(&x, 3, &[0], &mut losses, &mut grad)
                .unwrap();
            // 2 c lse, and nothing.
            let want = 2e-3 * f64::from(max);
            let error = Want::ulp(want).error(grad[0]);
            let is_infinite = grad[0].is_infinite() && want.abs() > f32::MAX.into();
            assert!(
                error < 4.0 || is_infinite && grad[0].signum() == max.signum(),
                "{backend:?}: {grad:?}"
            );
            assert_eq!(
                grad[1..].iter().map(|g| g.abs()).collect::<Vec<_>>(),
                [0.0; 2],
                "{backend:?}, {max}"
            );
            assert_eq!(losses, [f32::INFINITY], "{backend:?}, {max}");
        }
    }
}

/// Micro-batches with the normaliser of the whole add up to it.
#[test]
fn gradients_of_parts_are_those_of_the_whole() {
    let x: Vec<f32> = (0..12 * 5).map(|i| (i * 29 % 17) as f32 / 4.0).collect();
    let targets: Vec<i64> = (0..12)
        .map(|i| if i % 5 == 0 { -100 } else { i % 5 })
        .collect();
    let weights = [0.5, 1.0, 2.0, 0.25, 4.0];
    let counted: f64 = targets
        .iter()
        .filter_map(|&t| usize::try_from(t).ok())
        .map(|t| f64::from(weights[t]))
        .sum();
    let mean = CrossEntropy::new()
        .class_weights(&weights)
        .label_smoothing(0.1);
    let mut whole = vec![0.0; x.len()];
    let loss = mean.loss_and_grad(&x, 5, &targets, &mut whole).unwrap();
    let (mut parts, mut sum) = (vec![0.0; x.len()], 0.0);
    for i in 0..4 {
        let (x, grad) = (&x[i * 15..][..15], &mut parts[i * 15..][..15]);
        sum += mean
            .normaliser(counted)
            .loss_and_grad(x, 5, &targets[i * 3..][..3], grad)
            .unwrap();
    }
    assert!((loss - sum).abs() < 1e-6, "{loss}, {sum}");
    assert_eq!(bits(&parts), bits(&whole));
}
