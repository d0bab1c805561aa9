//! Cross-entropy with the probabilities of all classes as targets, with the cross product of its options, on every backend: losses and
//! gradients against the plain formula in `f64`, the formula's gradient against central differences of its loss, one-hot targets against
//! indices, and the bits of rows alone, in batches and on threads. Prints the worst errors (`-- --nocapture`).
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and some results are exact"
)]

mod common;

use std::fmt::Arguments;
use std::ops::Range;

use common::bounds::{self, Bound};
use common::guard::guarded;
use common::inputs::{self, Rng};
use common::options::{Options, SCALED, products, textbook};
use common::oracle::sum;
use common::ulp::{NAN_BITS, Want};
use softlane::{Backend, CrossEntropy, EmptyMean, Error, Exec, MaskedRows, Reduction};

/// A row as the formula has it, and what errors count by.
struct Exact {
    loss: f64,
    /// The largest term, if there is a z-loss.
    loss_operand: f64,
    gradient: Vec<f64>,
    operands: Vec<f64>,
    /// What probabilities are multiplied by.
    factor: f64,
}

/// `L` and `dL/dx` of the documentation, for logits that are finite or `-inf`; nothing for a row without target mass.
fn formula(options: &Options, x: &[f64], target: &[f64]) -> Option<Exact> {
    if target.iter().all(|&t| t == 0.0) {
        return None;
    }
    let classes = x.len();
    let keep = 1.0 - options.smoothing;
    let q = |k: usize| options.weight(k) * (keep * target[k] + options.smoothing / classes as f64);
    let q: Vec<f64> = (0..classes).map(q).collect();
    let top = (0..classes)
        .max_by(|&a, &b| x[a].total_cmp(&x[b]).then(b.cmp(&a)))
        .unwrap();
    let z: Vec<f64> = x.iter().map(|&z| options.scale * (z - x[top])).collect();
    let weights: Vec<f64> = z.iter().map(|z| z.exp()).collect();
    let all_but = |k: usize, of: &[f64]| sum((0..classes).filter(|&j| j != k).map(|j| of[j]));
    let log = all_but(top, &weights).ln_1p();
    let total = 1.0 + all_but(top, &weights);
    let lse = options.scale * x[top] + log;
    let nll = |k: usize| {
        if q[k] == 0.0 {
            0.0
        } else {
            q[k] * (log - z[k])
        }
    };
    let (loss, mass) = (sum((0..classes).map(nll)), sum(q.iter().copied()));
    let z_loss = options.z_loss * lse * lse;
    let at_least_one = lse.abs().max(1.0);
    let pull = 2.0 * options.z_loss * lse;
    // At the largest logit, q_k (p_k - 1) is told from what is missing to 1.
    let (others, rest) = (all_but(top, &weights) / total, all_but(top, &q));
    let gradient = |k: usize| {
        let p = weights[k] / total;
        let difference = if k == top {
            rest * p - q[k] * others
        } else {
            mass * p - q[k]
        };
        options.scale * (difference + pull * p)
    };
    let operand = |k: usize| {
        let p = weights[k] / total;
        let pull = 2.0 * options.z_loss * at_least_one;
        options.scale * ((mass + pull) * p).max(q[k])
    };
    Some(Exact {
        loss: loss + z_loss,
        loss_operand: loss.max(options.z_loss * at_least_one * at_least_one),
        gradient: (0..classes).map(gradient).collect(),
        operands: (0..classes).map(operand).collect(),
        factor: options.scale * (mass + 2.0 * options.z_loss * at_least_one),
    })
}

/// Kinds of targets.
const KINDS: [&str; 5] = [
    "dense",
    "one-hot",
    "two classes",
    "unnormalised",
    "confident",
];

/// Targets of rows, some of which have none.
fn targets(kind: &str, rows: usize, classes: usize, rng: &mut Rng) -> Vec<f32> {
    let mut targets = vec![0.0; rows * classes];
    for row in targets.chunks_exact_mut(classes) {
        if rng.below(8) == 0 {
            continue;
        }
        match kind {
            "one-hot" => row[rng.below(classes)] = 1.0,
            "two classes" => {
                let share = rng.uniform() as f32;
                row[rng.below(classes)] += share;
                row[rng.below(classes)] += 1.0 - share;
            }
            "unnormalised" => {
                for t in row {
                    *t = if rng.coin() {
                        0.0
                    } else {
                        (3.0 * rng.uniform()) as f32
                    };
                }
            }
            _ => {
                let spread = if kind == "dense" { 1.0 } else { 30.0 };
                let x: Vec<f64> = (0..classes)
                    .map(|_| (spread * rng.normal()).exp())
                    .collect();
                let total: f64 = x.iter().sum();
                for (t, x) in row.iter_mut().zip(x) {
                    *t = (x / total) as f32;
                }
            }
        }
    }
    targets
}

/// What a loss may be off, and a gradient: derived at the head of `src/kernel/soft_cross_entropy.rs`.
fn allowed(options: &Options, backend: Backend) -> [f64; 2] {
    let (mut loss, mut gradient) = (
        bounds::LOSS.derived.on(backend),
        bounds::SOFT_GRADIENT.derived.on(backend),
    );
    if options.weights.is_some() {
        (loss, gradient) = (loss + 1.0, gradient + 1.0);
    }
    if options.smoothing != 0.0 {
        gradient += SMOOTHED.on(backend);
        // The product with `e / K` has one more.
        gradient += if options.weights.is_some() { 1.0 } else { 0.0 };
    }
    if options.z_loss != 0.0 {
        (loss, gradient) = (loss + 0.7, gradient + 0.6);
    }
    let scaled = SCALED.on(backend);
    [loss + scaled, gradient + scaled]
}
/// What smoothing adds.
const SMOOTHED: Bound = Bound {
    fused: 1.0,
    unfused: 1.5,
};

/// What is compared.
struct Case<'a> {
    backend: Backend,
    options: &'a Options,
    x: &'a [f32],
    classes: usize,
    targets: &'a [f32],
}

/// The worst errors of losses and gradients: in ULP, and as a share of what they may be.
type Worst = [[f64; 2]; 2];

fn merge(a: &mut Worst, b: Worst) {
    for (a, b) in a.iter_mut().flatten().zip(b.into_iter().flatten()) {
        *a = a.max(b);
    }
}

impl Case<'_> {
    fn is_scalar(&self) -> bool {
        self.backend.name() == "scalar"
    }

    fn rows(&self) -> usize {
        self.x.len() / self.classes
    }

    fn builder(&self) -> CrossEntropy<'_> {
        let exec = Exec::new().serial().backend(self.backend);
        self.options.builder(exec)
    }

    fn exact(&self) -> Vec<Option<Exact>> {
        let wide = |x: &[f32]| x.iter().map(|&x| x.into()).collect::<Vec<f64>>();
        let rows = self.x.chunks_exact(self.classes);
        let rows = rows.zip(self.targets.chunks_exact(self.classes));
        rows.map(|(x, t)| formula(self.options, &wide(x), &wide(t)))
            .collect()
    }

    /// What losses and gradients may be off.
    fn allowed(&self, x: &[f32]) -> [f64; 2] {
        if self.is_scalar() {
            return [2.0 * textbook(self.options, x); 2];
        }
        let [loss, gradient] = allowed(self.options, self.backend);
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let is_far = self.options.scale * f64::from(max.abs()) > 65_536.0;
        [if is_far { loss + 1.0 } else { loss }, gradient]
    }

    /// Compares the gradients of a row, all of which are multiplied by `g`.
    fn compare(
        &self,
        got: &[f32],
        exact: &Exact,
        x: &[f32],
        g: f64,
        context: Arguments<'_>,
    ) -> [f64; 2] {
        let [_, bound] = self.allowed(x);
        let mut worst = [0.0_f64; 2];
        // What has less than 2^-188 of the weight counts as that, or as nothing. The textbook's probabilities and shares are floats.
        let (lightest, factor) = if self.is_scalar() {
            (-148_f64, exact.factor.max(self.options.scale))
        } else {
            (-188.0, exact.factor)
        };
        let mut least = lightest.exp2() * x.len() as f64 * (g * factor).abs();
        if self.options.weights.is_some() {
            // The product of a weight and a probability may be a subnormal number, which is multiplied then.
            least = least.max((-149_f64).exp2() * (g * self.options.scale).abs());
        }
        for (k, &got) in got.iter().enumerate() {
            let value = g * exact.gradient[k];
            let operand = (g * exact.operands[k]).abs();
            let mut want = Want::ulp_of(value, operand);
            want.unit = want.unit.max(least);
            // Beyond the range too.
            if operand > f32::MAX.into() {
                want.unit = want.unit.max(operand * (-24_f64).exp2());
            }
            let error = want.error(got);
            worst = [worst[0].max(error), worst[1].max(error / bound)];
            assert!(
                error <= bound,
                "{context}: gradient {k} is {got:e}, not {value:e}: {error} ULP of {operand:e}"
            );
        }
        worst
    }

    fn check(&self, context: Arguments<'_>) -> Worst {
        let &Self {
            options,
            x,
            classes,
            targets,
            ..
        } = self;
        let builder = self.builder();
        let (blank, empty) = (vec![-7.25_f32; x.len()], vec![-7.25_f32; self.rows()]);
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
        let upstream = |row: usize| options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
        let mut worst = Worst::default();
        let (mut total, mut operand) = (0.0, 0.0);
        for (row, exact) in exact.iter().enumerate() {
            let got = &grad[row * classes..][..classes];
            let x = &x[row * classes..][..classes];
            let Some(exact) = exact else {
                let all_zero = got.iter().all(|g| g.to_bits() == 0);
                assert!(
                    all_zero && losses[row] == 0.0,
                    "{context}: row {row} counts"
                );
                continue;
            };
            // Of the textbook, what 1 is.
            let mass = if self.is_scalar() {
                exact.factor / options.scale
            } else {
                0.0
            };
            let row_operand = exact.loss.max(exact.loss_operand).max(mass);
            (total, operand) = (total + exact.loss, operand + row_operand);
            let mut want = Want::ulp_of(exact.loss, row_operand);
            let least = (-188_f64).exp2() * classes as f64 * exact.factor / options.scale;
            want.unit = want.unit.max(least);
            let (error, [bound, _]) = (want.error(losses[row]), self.allowed(x));
            assert!(
                error <= bound,
                "{context}: loss of row {row} is {:e}, not {:e}: {error} ULP",
                losses[row],
                want.value
            );
            let context = format_args!("{context}, row {row}");
            let gradient = self.compare(got, exact, x, upstream(row), context);
            merge(&mut worst, [[error, error / bound], gradient]);
        }
        self.check_reduced(&exact, total, operand, context);
        worst
    }

    /// The sum and the mean of losses that add up to `total`, of terms of the size of `operand`.
    fn check_reduced(
        &self,
        exact: &[Option<Exact>],
        total: f64,
        operand: f64,
        context: Arguments<'_>,
    ) {
        let &Self {
            options,
            x,
            classes,
            targets,
            ..
        } = self;
        let (builder, blank) = (self.builder(), vec![-7.25_f32; x.len()]);
        let upstream = |row: usize| options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
        let classes_of = |(i, &t): (usize, &f32)| options.weight(i % classes) * f64::from(t);
        let counted = sum(targets.iter().enumerate().map(classes_of));
        let divisor = options.normaliser.unwrap_or(counted);
        for (reduction, divisor) in [(Reduction::Sum, 1.0), (Reduction::Mean, divisor)] {
            let builder = builder.reduction(reduction);
            let (reduced, loss) = guarded(&blank, 0, |grad| {
                builder.loss_and_grad(x, classes, targets, grad)
            });
            let loss = loss.unwrap();
            let alone = builder.loss(x, classes, targets).unwrap();
            assert_eq!(alone.to_bits(), loss.to_bits(), "{context}: {reduction:?}");
            if divisor == 0.0 {
                let all_zero = reduced.iter().all(|&g| g == 0.0);
                assert!(loss.is_nan() && all_zero, "{context}: {reduction:?}");
                continue;
            }
            // The textbook's divisor is a sum of floats.
            let [mut bound, _] = self.allowed(x);
            if self.is_scalar() {
                bound += x.len() as f64;
            }
            let want = Want::ulp_of(total / divisor, operand / divisor);
            assert!(
                want.error(loss) <= bound,
                "{context}: {reduction:?} is {loss:e}, not {:e}",
                want.value
            );
            for (row, exact) in exact.iter().enumerate() {
                let (x, got) = (
                    &x[row * classes..][..classes],
                    &reduced[row * classes..][..classes],
                );
                if let Some(exact) = exact.as_ref().filter(|_| !self.is_scalar()) {
                    let context = format_args!("{context}: {reduction:?}, row {row}");
                    self.compare(got, exact, x, upstream(row) / divisor, context);
                }
            }
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Rows of logits of a kind, so that a factor of them leaves something to tell.
fn logits(kind: &str, rows: usize, classes: usize, options: &Options, rng: &mut Rng) -> Vec<f32> {
    let class = inputs::named(kind).unwrap();
    let x = (0..rows).flat_map(|_| class.row(rng.bits(), classes));
    if options.scale < 0.01 {
        x.collect()
    } else {
        x.map(|x| x / options.scale as f32).collect()
    }
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
        (2, 8200),
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
        "wide",
    ];
    for (rows, classes) in shapes {
        let combinations = products(classes, rows, &mut rng);
        // Long rows have fewer of them, but every option.
        let step = if classes > 1000 { 7 } else { 1 };
        for (i, options) in combinations.iter().enumerate().step_by(step) {
            let kind = kinds[rng.below(kinds.len())];
            let x = logits(kind, rows, classes, options, &mut rng);
            let of = KINDS[rng.below(KINDS.len())];
            let targets = targets(of, rows, classes, &mut rng);
            for (backend, worst) in &mut worst {
                // The textbook's floats overflow.
                if kind == "wide" && backend.name() == "scalar" {
                    continue;
                }
                let case = Case {
                    backend: *backend,
                    options,
                    x: &x,
                    classes,
                    targets: &targets,
                };
                let found = case.check(format_args!(
                    "{backend:?}, {rows} x {classes} {kind}, {of}, {i}: {options:?}"
                ));
                let is_plain =
                    options.smoothing == 0.0 && options.z_loss == 0.0 && options.weights.is_none();
                merge(&mut worst[usize::from(!is_plain)], found);
            }
        }
    }
    for (backend, [plain, mixed]) in worst {
        println!(
            "{backend:?}: ULP, and of what they may be, of losses and gradients: {plain:.3?}; with options {mixed:.3?}"
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
            let target = targets(KINDS[rng.below(KINDS.len())], 1, classes, &mut rng);
            let target: Vec<f64> = target.into_iter().map(f64::from).collect();
            let Some(exact) = formula(&options, &x, &target) else {
                continue;
            };
            for k in 0..classes {
                let h = 1e-5 / options.scale;
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[k] += d;
                    formula(&options, &x, &target).unwrap().loss
                };
                let difference = (at(h) - at(-h)) / (2.0 * h);
                let room = 1e-7 * options.scale * (1.0 + exact.loss_operand);
                let error = (difference - exact.gradient[k]).abs();
                assert!(
                    error < room,
                    "{options:?}, {classes} classes, {k}: {error:e}"
                );
            }
        }
    }
}

/// One-hot targets give the numbers of indices, the weighted mean included, and as sure rows are too. At the largest logit, of rows whose
/// target it is, the very same.
#[test]
fn one_hot_targets_are_indices() {
    let mut rng = Rng::new(4);
    for (rows, classes) in [(40, 2), (40, 7), (20, 64), (8, 300), (2, 5000)] {
        for mut options in products(classes, rows, &mut rng).into_iter().step_by(3) {
            options.scale = 1.0;
            let kind = ["normal 3", "confident", "dominated"][rng.below(3)];
            let x = logits(kind, rows, classes, &options, &mut rng);
            let indices: Vec<i64> = (0..rows)
                .map(|row| {
                    let x = &x[row * classes..][..classes];
                    let top = (0..classes).rev().max_by(|&a, &b| x[a].total_cmp(&x[b]));
                    let other = rng.below(classes);
                    let class = if rng.coin() { top.unwrap() } else { other };
                    i64::try_from(class).unwrap()
                })
                .collect();
            let mut one_hot = vec![0.0_f32; x.len()];
            for (row, &class) in indices.iter().enumerate() {
                one_hot[row * classes + usize::try_from(class).unwrap()] = 1.0;
            }
            // (The scalar path has the textbook's errors in both.)
            for backend in Backend::available().filter(|b| b.name() != "scalar") {
                compare_with_indices(backend, &options, &x, classes, (&indices, &one_hot));
            }
        }
    }
}

fn compare_with_indices(
    backend: Backend,
    options: &Options,
    x: &[f32],
    classes: usize,
    (indices, one_hot): (&[i64], &[f32]),
) {
    let context = format_args!("{backend:?}, {classes} classes: {options:?}");
    let builder = options.builder(Exec::new().serial().backend(backend));
    let case = Case {
        backend,
        options,
        x,
        classes,
        targets: one_hot,
    };
    // Each may be as far from the exact result as it may be.
    let [loss, gradient] = allowed(options, backend).map(|bound| 2.0 * bound);
    let (mut a, mut b) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mean = builder.loss_and_grad(x, classes, indices, &mut a).unwrap();
    let soft = builder.loss_and_grad(x, classes, one_hot, &mut b).unwrap();
    let counted: f64 = indices
        .iter()
        .map(|&i| options.weight(usize::try_from(i).unwrap()))
        .sum();
    let divisor = options.normaliser.unwrap_or(counted);
    if divisor == 0.0 {
        assert!(mean.is_nan() && soft.is_nan(), "{context}: weights of 0");
        return;
    }
    let (mut c, mut d) = (vec![0.0; indices.len()], vec![0.0; indices.len()]);
    builder.loss_per_row(x, classes, indices, &mut c).unwrap();
    builder.loss_per_row(x, classes, one_hot, &mut d).unwrap();
    let (mut operand, is_plain) = (0.0, !options.mixes());
    for (row, exact) in case.exact().iter().enumerate() {
        let exact = exact.as_ref().unwrap();
        // Where indices have terms that differ, they count by what 1 is (`options.rs`).
        let mass = if is_plain { 0.0 } else { exact.factor };
        let of_row = exact.loss.max(exact.loss_operand).max(mass);
        operand += of_row;
        let (index, soft) = (c[row], d[row]);
        let error = Want::ulp_of(index.into(), of_row).error(soft);
        assert!(
            error <= loss,
            "{context}, row {row}: {soft:e}, not {index:e}"
        );
        let upstream = options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
        let range = row * classes..(row + 1) * classes;
        for (k, (&a, &b)) in a[range.clone()].iter().zip(&b[range.clone()]).enumerate() {
            let want = Want::ulp_of(a.into(), exact.operands[k] * upstream / divisor);
            assert!(
                want.error(b) <= gradient,
                "{context}, row {row}, {k}: {b:e}, not {a:e}"
            );
        }
        // A row that is sure of its target has the bits of an index, and at the target its gradient.
        let (class, x) = (usize::try_from(indices[row]).unwrap(), &x[range.clone()]);
        let is_first = x[..class].iter().all(|&y| y < x[class]);
        if is_plain && is_first && x.iter().all(|&y| y <= x[class]) {
            assert_eq!(index.to_bits(), soft.to_bits(), "{context}, row {row}");
            let (a, b) = (a[range.start + class], b[range.start + class]);
            let error = Want::ulp(a.into()).error(b);
            assert!(error <= 1.0, "{context}, row {row}: {b:e}, not {a:e}");
        }
    }
    let error = Want::ulp_of(mean.into(), operand / divisor).error(soft);
    assert!(error <= loss, "{context}: {soft:e}, not {mean:e}");
}

/// The same bits in a batch as alone, on every backend that fuses, and whatever the number of threads.
#[test]
fn the_bits_do_not_depend_on_where_rows_are() {
    let mut rng = Rng::new(3);
    let fused: Vec<_> = Backend::available()
        .filter(|backend| backend.is_fused())
        .collect();
    for (rows, classes) in [
        (47, 1),
        (47, 2),
        (31, 10),
        (29, 33),
        (17, 64),
        (3, 100),
        (1, 250_007),
        (300, 1000),
    ] {
        let combinations = products(classes, rows, &mut rng);
        let step = if classes > 900 { 41 } else { 5 };
        for options in combinations.iter().step_by(step) {
            let kind = ["normal 3", "masked half", "confident"][rng.below(3)];
            let x = logits(kind, rows, classes, options, &mut rng);
            let targets = targets(KINDS[rng.below(KINDS.len())], rows, classes, &mut rng);
            let run = |exec: Exec, rows: Range<usize>| {
                let upstream = options.upstream.as_ref().map(|u| u[rows.clone()].to_vec());
                let options = Options {
                    upstream,
                    ..options.clone()
                };
                let elements = rows.start * classes..rows.end * classes;
                let (x, targets) = (&x[elements.clone()], &targets[elements]);
                let (mut losses, mut grad) = (vec![0.0; rows.len()], vec![0.0; x.len()]);
                let builder = options.builder(exec);
                builder
                    .loss_per_row_and_grad(x, classes, targets, &mut losses, &mut grad)
                    .unwrap();
                let mean = builder.loss(x, classes, targets).unwrap();
                (bits(&losses), bits(&grad), mean.to_bits())
            };
            for backend in Backend::available() {
                let exec = Exec::new().serial().backend(backend);
                let batch = run(exec, 0..rows);
                let (mut losses, mut grads) = (vec![], vec![]);
                for i in 0..rows {
                    let (loss, grad, _) = run(exec, i..i + 1);
                    losses.extend(loss);
                    grads.extend(grad);
                }
                assert_eq!(
                    (&batch.0, &batch.1),
                    (&losses, &grads),
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

/// Numbers of any size follow the formula: weights, targets and upstream gradients.
#[test]
fn numbers_of_any_size() {
    let mut rng = Rng::new(5);
    for round in 0..600 {
        let (rows, classes) = [(20, 3), (17, 20), (3, 100)][round % 3];
        let size = |rng: &mut Rng| rng.between(-100.0, 100.0).exp2();
        // Of one size a batch, since a share of an element type holds 24 bits of the largest, not of all.
        let (weight, target, up) = (size(&mut rng), size(&mut rng), size(&mut rng));
        let scaled = |by: f64, rng: &mut Rng| (by * rng.between(0.5, 2.0)) as f32;
        let mut options = Options::none();
        if rng.coin() {
            options.weights = Some((0..classes).map(|_| scaled(weight, &mut rng)).collect());
        }
        if rng.coin() {
            options.upstream = Some((0..rows).map(|_| scaled(up, &mut rng)).collect());
        }
        options.smoothing = [0.0, 0.3][rng.below(2)];
        // Shares are numbers of the element type.
        let share = target * options.weights.as_ref().map_or(1.0, |_| weight);
        if !((-100_f64).exp2()..100_f64.exp2()).contains(&share) {
            continue;
        }
        let x = logits("normal 3", rows, classes, &options, &mut rng);
        let targets: Vec<f32> = (0..x.len()).map(|_| scaled(target, &mut rng)).collect();
        for backend in Backend::available().filter(|b| b.name() != "scalar") {
            let case = Case {
                backend,
                options: &options,
                x: &x,
                classes,
                targets: &targets,
            };
            let upstream =
                |row: usize| options.upstream.as_ref().map_or(1.0, |u| f64::from(u[row]));
            let mut grad = vec![0.0; x.len()];
            let mut losses = vec![0.0; rows];
            case.builder()
                .loss_per_row_and_grad(&x, classes, &targets, &mut losses, &mut grad)
                .unwrap();
            for (row, exact) in case.exact().iter().enumerate() {
                let (x, got) = (
                    &x[row * classes..][..classes],
                    &grad[row * classes..][..classes],
                );
                let context =
                    format_args!("{backend:?}, {round}, row {row}: {options:?}, {target:e}");
                let (loss, [bound, _]) = (exact.as_ref().unwrap().loss, case.allowed(x));
                let error = Want::ulp(loss).error(losses[row]);
                assert!(error <= bound, "{context}: {:e}, not {loss:e}", losses[row]);
                case.compare(got, exact.as_ref().unwrap(), x, upstream(row), context);
            }
        }
    }
}

/// A class that weighs nearly everything takes nothing from what the others have, and a share that is next to nothing counts.
#[test]
fn weights_that_are_far_apart() {
    let cases: [([f32; 2], [f32; 2], f64); 6] = [
        ([1e6, 1e-4], [60.0, 0.0], 0.1),
        ([1e10, 0.3], [30.0, -70.0], 0.1),
        ([1e10, 0.3], [1000.0, 900.0], 0.1),
        ([1e9, 0.7], [30_000.0, 29_940.0], 0.1),
        ([1e17, 1.0], [50.0, -50.0], 0.1),
        ([1_048_576.0, 1e30], [0.0, -80.0], 1e-25),
    ];
    for backend in Backend::available().filter(|b| b.name() != "scalar") {
        for (weights, x, smoothing) in cases {
            let mut options = Options::none();
            options.smoothing = smoothing;
            options.weights = Some(weights.to_vec());
            options.upstream = Some(vec![(-60_f32).exp2(); 20]);
            // Alone, and in a block.
            for rows in [1, 20] {
                let case = Case {
                    backend,
                    options: &options,
                    x: &x.repeat(rows),
                    classes: 2,
                    targets: &[1.0, 0.0].repeat(rows),
                };
                compare_first(&case, rows);
            }
        }
    }
}

/// Compares the first row.
fn compare_first(case: &Case<'_>, rows: usize) {
    let upstream = case.options.upstream.as_ref().map(|u| &u[..rows]);
    let builder = case.builder().upstream_grad(upstream.unwrap());
    let (losses, grad) = both(builder, case.x, 2, case.targets);
    let exact = case.exact().swap_remove(0).unwrap();
    let context = format_args!(
        "{:?}, {rows} rows of {:?}: {:?}",
        case.backend,
        &case.x[..2],
        case.options
    );
    let (error, [bound, _]) = (
        Want::ulp(exact.loss).error(losses[0]),
        case.allowed(&case.x[..2]),
    );
    assert!(
        error <= bound,
        "{context}: {:e}, not {:e}",
        losses[0],
        exact.loss
    );
    case.compare(&grad[..2], &exact, &case.x[..2], (-60_f64).exp2(), context);
}

/// A call with both results.
fn both(
    builder: CrossEntropy<'_>,
    x: &[f32],
    classes: usize,
    targets: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let rows = x.len() / classes;
    let (mut losses, mut grad) = (vec![-7.25; rows], vec![-7.25; x.len()]);
    builder
        .loss_per_row_and_grad(x, classes, targets, &mut losses, &mut grad)
        .unwrap();
    (losses, grad)
}

const INF: f32 = f32::INFINITY;

/// What it is, logits and targets, loss and gradient.
type Special = (&'static str, [[f32; 3]; 2], f32, [f32; 3]);

/// Special rows, alone and in the midst of enough others for a block; which they leave alone.
#[test]
fn special_rows() {
    let nan = f32::NAN;
    let halves = [0.5, 0.5, 0.0];
    let cases: [Special; 8] = [
        (
            "0 times -inf",
            [[0.0, 0.0, -INF], halves],
            core::f32::consts::LN_2,
            [0.0; 3],
        ),
        (
            "a target with -inf",
            [[0.0, 0.0, -INF], [0.0, 0.5, 0.5]],
            INF,
            [0.5, 0.0, -0.5],
        ),
        ("NaN", [[nan, 0.0, 0.0], halves], nan, [nan; 3]),
        ("inf", [[INF, 0.0, 0.0], halves], nan, [nan; 3]),
        ("masked", [[-INF; 3], halves], nan, [nan; 3]),
        (
            "nothing, of NaN",
            [[nan, INF, 0.0], [0.0; 3]],
            0.0,
            [0.0; 3],
        ),
        ("nothing, of masked", [[-INF; 3], [0.0; 3]], 0.0, [0.0; 3]),
        (
            "a target of NaN",
            [[0.0, 1.0, 2.0], [0.5, nan, 0.5]],
            nan,
            [nan; 3],
        ),
    ];
    for backend in Backend::available() {
        let builder = CrossEntropy::new().exec(Exec::new().backend(backend));
        for (name, [x, targets], loss, grad) in cases {
            let (mut around, mut other) = ([0.5_f32; 60], [0.25_f32; 60]);
            let (plain, _) = both(builder, &around, 3, &other);
            for row in [0, 7, 19] {
                around[3 * row..][..3].copy_from_slice(&x);
                other[3 * row..][..3].copy_from_slice(&targets);
            }
            let (losses, grads) = both(builder, &around, 3, &other);
            for (row, (got, plain)) in losses.iter().zip(plain).enumerate() {
                let is_special = [0, 7, 19].contains(&row);
                let want = if is_special { loss } else { plain };
                let same = if want.is_nan() {
                    got.to_bits() == NAN_BITS
                } else {
                    (got - want).abs() < 1e-6 || *got == want
                };
                assert!(
                    same,
                    "{backend:?}, {name}: loss of row {row} is {got}, not {want}"
                );
                let grad = grad.into_iter().filter(|_| is_special);
                for (got, want) in grads[3 * row..][..3].iter().zip(grad) {
                    let same = if want.is_nan() {
                        got.to_bits() == NAN_BITS
                    } else {
                        (got - want).abs() < 1e-6
                    };
                    assert!(same, "{backend:?}, {name}: a gradient is {got}, not {want}");
                }
            }
            let alone = both(builder, &x, 3, &targets);
            let of_row = (losses[7..8].to_vec(), grads[21..24].to_vec());
            assert_eq!(
                (bits(&alone.0), bits(&alone.1)),
                (bits(&of_row.0), bits(&of_row.1)),
                "{backend:?}, {name}"
            );
        }
    }
}

#[test]
fn rows_without_probabilities() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let builder = CrossEntropy::new().exec(exec).masked_rows(MaskedRows::Zero);
        let (losses, grad) = both(builder, &[-INF; 3], 3, &[0.5, 0.25, 0.0]);
        assert_eq!(
            (losses[0], &grad[..]),
            (INF, &[-0.5, -0.25, 0.0][..]),
            "{backend:?}"
        );
        // Smoothed too; and a row of no target mass counts for nothing.
        let (losses, grad) = both(
            builder.label_smoothing(0.5).z_loss(1.0),
            &[-INF; 4],
            2,
            &[1.0, 0.0, 0.0, 0.0],
        );
        assert_eq!(
            (&losses[..], &grad[..]),
            (&[INF, 0.0][..], &[-0.75, -0.25, 0.0, 0.0][..]),
            "{backend:?}"
        );
        // An upstream gradient that is not finite.
        let (_, grad) = both(
            builder.upstream_grad(&[INF, INF]),
            &[0.0; 4],
            2,
            &[1.0, 0.0, 0.0, 0.0],
        );
        assert!(
            grad[0].is_nan() && grad[1].is_nan() && grad[2..] == [0.0, 0.0],
            "{backend:?}: {grad:?}"
        );
    }
}

/// No rows, no classes, and the mean of nothing.
#[test]
fn nothing() {
    for backend in Backend::available() {
        let builder = CrossEntropy::new().exec(Exec::new().backend(backend));
        let none: [f32; 0] = [];
        assert!(builder.loss(&none, 3, &none).unwrap().is_nan());
        assert_eq!(
            builder
                .reduction(Reduction::Sum)
                .loss(&none, 3, &none)
                .unwrap(),
            0.0
        );
        assert_eq!(
            builder
                .empty_mean(EmptyMean::Zero)
                .loss(&[1.0, 2.0], 2, &[0.0_f32; 2])
                .unwrap(),
            0.0
        );
        let mut losses = [3.0; 2];
        builder.loss_per_row(&none, 0, &none, &mut losses).unwrap();
        assert_eq!(losses, [0.0; 2], "{backend:?}: rows of no classes");
    }
}

/// Errors name the numbers, and nothing is written.
#[test]
fn lengths_that_do_not_fit() {
    let new = CrossEntropy::<f32>::new;
    let (x, t) = ([0.0_f32; 6], [0.5_f32; 6]);
    let length = |expected, found| Err(Error::Length { expected, found });
    assert_eq!(new().loss(&x, 3, &t[..5]).map(|_| ()), length(6, 5));
    let (mut grad, mut losses) = ([3.5_f32; 6], [3.5_f32; 3]);
    assert_eq!(
        new().loss_and_grad(&x, 3, &t[..3], &mut grad).map(|_| ()),
        length(6, 3)
    );
    assert_eq!(
        new().loss_and_grad(&x, 3, &t, &mut grad[..3]).map(|_| ()),
        length(6, 3)
    );
    assert_eq!(new().loss_per_row(&x, 3, &t, &mut losses), length(2, 3));
    assert_eq!(
        new().loss_per_row_and_grad(&x, 3, &t, &mut losses, &mut grad),
        length(2, 3)
    );
    assert_eq!(
        new().loss(&x, 4, &t).map(|_| ()),
        Err(Error::Shape { len: 6, classes: 4 })
    );
    let error = new()
        .upstream_grad(&[1.0])
        .loss_and_grad(&x, 3, &t, &mut grad)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "upstream_grad: expected a length of 2, found 1"
    );
    let error = new()
        .class_weights(&[1.0, -2.0, 1.0])
        .loss_and_grad(&x, 3, &t, &mut grad)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("class_weights[1] is -2"),
        "{error}"
    );
    let error = new()
        .label_smoothing(1.5)
        .loss_and_grad_in_place(&mut grad, 3, &t)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("label_smoothing is 1.5"),
        "{error}"
    );
    assert!(
        grad.iter().chain(&losses).all(|&y| y == 3.5),
        "something was written"
    );
}
