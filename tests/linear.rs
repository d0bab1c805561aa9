//! The loss of a linear layer: within the bounds of its products, with the bits of `CrossEntropy` where logits are exact, and the same
//! ones for any budget and number of threads.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::float_cmp,
    reason = "a test fails by panicking, there are few classes, and some results are exact"
)]

mod common;

use common::inputs::Rng;
use common::options::products;
use rayon::ThreadPoolBuilder;
use softlane::{
    Backend, CrossEntropy, EmptyMean, Error, Exec, LinearCrossEntropy, LinearGrads, MaskedRows,
    Reduction, RowOutputs, Target,
};

const IGNORED: i64 = -100;
/// The unit of rounding.
const U: f64 = 1.0 / (1 << 24) as f64;

/// A layer, and its targets.
#[derive(Clone, Debug)]
struct Layer {
    size: [usize; 2],
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    targets: Vec<i64>,
}

/// All that a call gives.
#[derive(Clone, Debug, PartialEq)]
struct Results {
    loss: f32,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    losses: Vec<f32>,
    log_sum_exps: Vec<f32>,
    log_probs: Vec<f32>,
    entropies: Vec<f32>,
    argmax: Vec<usize>,
}

impl Results {
    fn bits(&self) -> Vec<u32> {
        let numbers = [
            &self.dx,
            &self.dw,
            &self.db,
            &self.losses,
            &self.log_sum_exps,
            &self.log_probs,
            &self.entropies,
        ];
        let numbers = numbers.into_iter().flatten().chain([&self.loss]);
        let argmax = self.argmax.iter().map(|&i| u32::try_from(i).unwrap());
        numbers.map(|x| x.to_bits()).chain(argmax).collect()
    }
}

impl Layer {
    /// Any numbers, and one row in eight that is ignored, if there are any such.
    fn new(rows: usize, size: [usize; 2], ignores: bool, mut number: impl FnMut() -> f32) -> Self {
        let [classes, features] = size;
        let mut some = |count: usize| (0..count).map(|_| number()).collect();
        let target = |row: usize| {
            if ignores && row % 8 == 3 {
                IGNORED
            } else {
                ((row * 7919) % classes) as i64
            }
        };
        Self {
            size,
            x: some(rows * features),
            w: some(classes * features),
            b: some(classes),
            targets: (0..rows).map(target).collect(),
        }
    }

    /// Normal features, and weights that give logits of this spread.
    fn normal(rows: usize, size: [usize; 2], spread: f64, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let scale = (spread / (size[1] as f64).sqrt()).sqrt();
        Self::new(rows, size, true, || (scale * rng.normal()) as f32)
    }

    fn rows(&self) -> usize {
        self.targets.len()
    }

    fn run<I: Target<f32>>(
        &self,
        layer: LinearCrossEntropy<'_>,
        targets: &[I],
    ) -> Result<Results, Error> {
        // What must not be seen.
        let (rows, [classes, _]) = (self.rows(), self.size);
        let mut results = Results {
            loss: 0.0,
            dx: vec![7.0; self.x.len()],
            dw: vec![7.0; self.w.len()],
            db: vec![7.0; classes],
            losses: vec![7.0; rows],
            log_sum_exps: vec![7.0; rows],
            log_probs: vec![7.0; rows],
            entropies: vec![7.0; rows],
            argmax: vec![7; rows],
        };
        let grads = LinearGrads::new()
            .inputs(&mut results.dx)
            .weights(&mut results.dw)
            .bias(&mut results.db);
        let outputs = RowOutputs::new()
            .losses(&mut results.losses)
            .log_sum_exps(&mut results.log_sum_exps)
            .log_probs(&mut results.log_probs)
            .entropies(&mut results.entropies)
            .argmax(&mut results.argmax);
        results.loss =
            layer.loss_and_grads_with(&self.x, &self.w, self.size, targets, grads, outputs)?;
        Ok(results)
    }

    /// With classes as targets.
    fn results(&self, loss: CrossEntropy<'_>) -> Results {
        let layer = LinearCrossEntropy::new(loss).bias(&self.b);
        self.run(layer, &self.targets).unwrap()
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.size[1]..][..self.size[1]]
    }

    fn class(&self, class: usize) -> &[f32] {
        &self.w[class * self.size[1]..][..self.size[1]]
    }

    /// A logit, and what its error counts by.
    fn logit(&self, row: usize, class: usize) -> [f64; 2] {
        let terms = self.row(row).iter().zip(self.class(class));
        let terms = terms.map(|(&x, &w)| f64::from(x) * f64::from(w));
        let b = f64::from(self.b[class]);
        terms.fold([b, b.abs()], |[sum, all], x| [sum + x, all + x.abs()])
    }
}

/// The additions of so many terms, as the documentation counts them.
fn additions(terms: usize) -> f64 {
    (terms.min(256) + terms / 256 + 2) as f64
}

/// The largest of some errors, as shares of their bounds.
fn worst(what: &str, errors: impl IntoIterator<Item = (f64, f64, f64)>) -> f64 {
    let mut worst = 0.0_f64;
    for (i, (found, exact, bound)) in errors.into_iter().enumerate() {
        let error = (found - exact).abs();
        assert!(
            error <= bound,
            "{what}, {i}: {found}, not {exact} within {bound}"
        );
        if bound > 0.0 {
            worst = worst.max(error / bound);
        }
    }
    println!("{what}: at most {worst:.3} of the bound");
    worst
}

/// Against arithmetic in `f64`, by the error bounds of the documentation. (The scalar path has the errors of the usual formula in its losses.)
#[test]
fn errors_are_within_the_bounds() {
    for (rows, size, spread) in [
        (100, [300, 40], 3.0),
        (70, [600, 700], 3.0),
        (7, [5, 1], 1.0),
        (64, [3, 300], 8.0),
        (300, [90, 30], 2.0),
    ] {
        let layer = Layer::normal(rows, size, spread, 1);
        for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
            println!("{rows} rows, {size:?}, {}", backend.name());
            errors_of(&layer, Exec::new().backend(backend));
        }
    }
}

fn errors_of(layer: &Layer, exec: Exec) {
    let (rows, [classes, features]) = (layer.rows(), layer.size);
    let counted: Vec<usize> = (0..rows)
        .filter(|&row| layer.targets[row] != IGNORED)
        .collect();
    let results = layer.results(CrossEntropy::new().exec(exec));
    // What the sweep adds, without fused multiply-add: lib.rs.
    let own = 5.2 * U;

    // Of each row: losses and gradients, and their bounds.
    let (mut losses, mut gradients) = (vec![(0.0, 0.0, 0.0); rows], vec![[0.0; 2]; rows * classes]);
    for &row in &counted {
        let logits: Vec<[f64; 2]> = (0..classes).map(|k| layer.logit(row, k)).collect();
        let largest = logits.iter().fold(f64::MIN, |max, z| max.max(z[0]));
        let sum: f64 = logits.iter().map(|z| (z[0] - largest).exp()).sum();
        let off = logits.iter().fold(0.0_f64, |max, z| max.max(z[1]));
        let off = additions(features) * U * off;
        let target = usize::try_from(layer.targets[row]).unwrap();
        let exact = largest - logits[target][0] + sum.ln();
        let bound = 2.0 * off * 1.01 + own * exact.max(1e-30);
        losses[row] = (f64::from(results.losses[row]), exact, bound);
        for k in 0..classes {
            let p = (logits[k][0] - largest).exp() / sum;
            let scale = 1.0 / counted.len() as f64;
            let g = if k == target { p - 1.0 } else { p };
            let bound = 2.0 * off * 1.01 * p + own * p.max(g.abs());
            gradients[row * classes + k] = [scale * g, scale * bound];
        }
    }
    worst("losses", losses.iter().copied());
    let mean =
        |of: fn(&(f64, f64, f64)) -> f64| losses.iter().map(of).sum::<f64>() / counted.len() as f64;
    let (exact, bound) = (mean(|loss| loss.1), mean(|loss| loss.2));
    worst(
        "loss",
        [(f64::from(results.loss), exact, bound + U * exact)],
    );

    // A gradient, and its bound: products of gradients of logits with numbers, in some order of additions.
    let product = |terms: &mut dyn Iterator<Item = ([f64; 2], f32)>, additions: f64| {
        let (mut exact, mut bound) = (0.0, 0.0);
        for ([g, error], x) in terms {
            let x = f64::from(x);
            exact += g * x;
            bound += error * x.abs() + additions * U * (g * x).abs();
        }
        // Subnormal products lose a little.
        (exact, 1.01 * bound + 1e-43)
    };
    let dw = (0..classes * features).map(|i| {
        let (k, j) = (i / features, i % features);
        let terms = counted.iter();
        let mut terms = terms.map(|&row| (gradients[row * classes + k], layer.row(row)[j]));
        let (exact, bound) = product(&mut terms, (64 + counted.len() / 64 + 2) as f64);
        (f64::from(results.dw[i]), exact, bound)
    });
    worst("dW", dw);
    let dx = (0..rows * features).map(|i| {
        let (row, j) = (i / features, i % features);
        let mut terms = (0..classes).map(|k| (gradients[row * classes + k], layer.class(k)[j]));
        let (exact, bound) = product(&mut terms, additions(classes));
        (f64::from(results.dx[i]), exact, bound)
    });
    worst("dX", dx);
    let db = (0..classes).map(|k| {
        let mut terms = counted
            .iter()
            .map(|&row| (gradients[row * classes + k], 1.0));
        let (exact, bound) = product(&mut terms, 0.0);
        (f64::from(results.db[k]), exact, bound + U * exact.abs())
    });
    worst("db", db);
}

/// Numbers whose products have exact sums.
fn exact(rows: usize, size: [usize; 2], ignores: bool, seed: u64) -> Layer {
    let mut rng = Rng::new(seed);
    Layer::new(rows, size, ignores, || rng.below(9) as f32 / 2.0 - 2.0)
}

/// All options: what is known of the rows has the bits of `CrossEntropy` on these logits, and so have gradients, as far as identities tell.
#[test]
fn all_options_are_those_of_cross_entropy() {
    for (rows, classes) in [(9, 7), (70, 33)] {
        // As many features as rows: unit vectors, so that `dW` is the gradient with respect to the logits.
        let mut layer = exact(rows, [classes, rows], true, 5);
        for (i, x) in layer.x.iter_mut().enumerate() {
            *x = f32::from(u8::from(i / rows == i % rows));
        }
        let logits: Vec<f32> = (0..rows * classes)
            .map(|i| layer.logit(i / classes, i % classes)[0] as f32)
            .collect();
        for options in products(classes, rows, &mut Rng::new(rows as u64)) {
            for reduction in [Reduction::Mean, Reduction::Sum] {
                let loss = options.builder(Exec::new()).reduction(reduction);
                let found = layer.results(loss);
                check(
                    &found,
                    loss,
                    &logits,
                    &layer,
                    &layer.targets,
                    &format!("{options:?}"),
                );
            }
        }
    }
}

/// The same toward distributions, some of which have no mass.
#[test]
fn distributions_are_targets() {
    let (rows, classes) = (70, 12);
    let mut layer = exact(rows, [classes, rows], false, 5);
    for (i, x) in layer.x.iter_mut().enumerate() {
        *x = f32::from(u8::from(i / rows == i % rows));
    }
    let logits: Vec<f32> = (0..rows * classes)
        .map(|i| layer.logit(i / classes, i % classes)[0] as f32)
        .collect();
    let mut rng = Rng::new(2);
    let probs: Vec<f32> = (0..rows * classes)
        .map(|i| {
            if (i / classes) % 5 == 2 {
                0.0
            } else {
                rng.uniform() as f32
            }
        })
        .collect();
    for options in products(classes, rows, &mut Rng::new(3)) {
        let reduction = if rng.coin() {
            Reduction::Sum
        } else {
            Reduction::Mean
        };
        let loss = options.builder(Exec::new()).reduction(reduction);
        let bias = LinearCrossEntropy::new(loss).bias(&layer.b);
        let found = layer.run(bias, &probs).unwrap();
        check(
            &found,
            loss,
            &logits,
            &layer,
            &probs,
            &format!("{options:?}"),
        );
    }
}

fn check<I: Target<f32>>(
    found: &Results,
    loss: CrossEntropy<'_>,
    logits: &[f32],
    layer: &Layer,
    targets: &[I],
    what: &str,
) {
    let (rows, [classes, features]) = (layer.rows(), layer.size);
    let mut expected = found.clone();
    for numbers in [
        &mut expected.losses,
        &mut expected.log_sum_exps,
        &mut expected.log_probs,
        &mut expected.entropies,
    ] {
        numbers.fill(7.0);
    }
    expected.argmax.fill(7);
    let mut grad = vec![7.0; logits.len()];
    let outputs = RowOutputs::new()
        .losses(&mut expected.losses)
        .log_sum_exps(&mut expected.log_sum_exps)
        .log_probs(&mut expected.log_probs)
        .entropies(&mut expected.entropies)
        .argmax(&mut expected.argmax);
    expected.loss = loss
        .loss_and_grad_with(logits, classes, targets, &mut grad, outputs)
        .unwrap();
    // The sum of the losses is another one: of 64 rows at a time.
    let error = (f64::from(found.loss) - f64::from(expected.loss)).abs();
    assert!(
        error <= 2.0 * U * f64::from(expected.loss).abs(),
        "{what}: loss"
    );
    expected.loss = found.loss;
    for (row, g) in grad.chunks(classes).enumerate() {
        for (k, &g) in g.iter().enumerate() {
            expected.dw[k * features + row] = g;
        }
    }
    for k in 0..classes {
        let column = || (0..rows).map(|row| f64::from(grad[row * classes + k]));
        let (sum, all) = (column().sum::<f64>(), column().map(f64::abs).sum::<f64>());
        // Added up in `f64`, in any order, and rounded once.
        let bound = U * sum.abs() + rows as f64 * f64::EPSILON * all;
        assert!((f64::from(found.db[k]) - sum).abs() <= bound, "{what}: db");
        expected.db[k] = found.db[k];
    }
    for row in 0..rows {
        for j in 0..features {
            let term = |k: usize| f64::from(grad[row * classes + k]) * f64::from(layer.class(k)[j]);
            let sum: f64 = (0..classes).map(term).sum();
            let all: f64 = (0..classes).map(|k| term(k).abs()).sum();
            let dx = f64::from(found.dx[row * features + j]);
            // Products may be subnormal, each rounded by as much as 2^-150.
            let bound = additions(classes) * U * all + classes as f64 * (-150_f64).exp2();
            assert!((dx - sum).abs() <= bound, "{what}: dX");
        }
    }
    expected.dx.clone_from(&found.dx);
    // Zeros have no sign that counts: products add them up.
    let bits = |results: &Results| {
        results
            .bits()
            .iter()
            .map(|&bits| bits << u32::from(bits == 1 << 31))
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(found), bits(&expected), "{what}");
}

/// The sum of products in runs that are added up one after the other.
fn in_runs(first: f32, terms: &[(f32, f32)], run: usize) -> f32 {
    let sum = |run: &[(f32, f32)]| {
        run.iter()
            .fold(0.0, |sum, (a, b): &(f32, f32)| a.mul_add(*b, sum))
    };
    terms.chunks(run).map(sum).fold(first, |all, sum| all + sum)
}

/// The order of additions is that of the documentation, bit for bit, where products are fused.
#[test]
#[cfg_attr(target_family = "wasm", ignore = "products are not fused there")]
fn products_are_added_up_in_their_order() {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("fma") {
        println!("skipped: this processor does not fuse");
        return;
    }
    let (rows, size) = (150, [1100, 600]);
    let [classes, features] = size;
    let layer = Layer::normal(rows, size, 3.0, 23);
    let found = layer.results(CrossEntropy::new());
    let zip = |a: &[f32], b: &[f32]| a.iter().copied().zip(b.iter().copied()).collect::<Vec<_>>();
    let logits: Vec<f32> = (0..rows * classes)
        .map(|i| {
            let (row, class) = (i / classes, i % classes);
            in_runs(
                layer.b[class],
                &zip(layer.row(row), layer.class(class)),
                256,
            )
        })
        .collect();
    let (mut grad, mut losses) = (vec![7.0; logits.len()], vec![7.0; rows]);
    let outputs = RowOutputs::new().losses(&mut losses);
    CrossEntropy::new()
        .loss_and_grad_with(&logits, classes, &layer.targets, &mut grad, outputs)
        .unwrap();
    assert_eq!(found.losses, losses);
    let counted: Vec<usize> = (0..rows)
        .filter(|&row| layer.targets[row] != IGNORED)
        .collect();
    // Some of them: this is slow.
    for i in (0..classes * features).step_by(61) {
        let (k, j) = (i / features, i % features);
        let terms = counted
            .iter()
            .map(|&row| (grad[row * classes + k], layer.row(row)[j]));
        assert_eq!(
            found.dw[i],
            in_runs(0.0, &terms.collect::<Vec<_>>(), 64),
            "dW {k}, {j}"
        );
    }
    for i in (0..rows * features).step_by(61) {
        let (row, j) = (i / features, i % features);
        let terms = (0..classes).map(|k| (grad[row * classes + k], layer.class(k)[j]));
        assert_eq!(
            found.dx[i],
            in_runs(0.0, &terms.collect::<Vec<_>>(), 256),
            "dX {row}, {j}"
        );
    }
}

/// Budgets that leave room for 64, for more, and for all rows, on one thread and on several.
#[test]
fn bits_depend_on_neither_budget_nor_threads() {
    for (rows, size) in [(200, [1100, 300]), (321, [40, 700]), (3, [2000, 520])] {
        let layer = Layer::normal(rows, size, 3.0, 7);
        let probs: Vec<f32> = (0..rows * size[0])
            .map(|i| {
                if (i / size[0]) % 4 == 1 {
                    0.0
                } else {
                    (i % 11) as f32 / 11.0
                }
            })
            .collect();
        let weights: Vec<f32> = (0..size[0]).map(|i| (i % 5) as f32 / 2.0).collect();
        let upstream: Vec<f32> = (0..rows).map(|i| (i % 3) as f32 - 0.75).collect();
        let on = |threads: usize, budget: usize, soft: bool| {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let call = || {
                let loss = CrossEntropy::new()
                    .class_weights(&weights)
                    .upstream_grad(&upstream);
                let call = LinearCrossEntropy::new(loss).bias(&layer.b);
                if soft {
                    layer.run(
                        call.budget(budget + LinearCrossEntropy::<f32>::least_budget::<f32>(size)),
                        &probs,
                    )
                } else {
                    let least = LinearCrossEntropy::<f32>::least_budget::<i64>(size);
                    layer.run(call.budget(budget + least), &layer.targets)
                }
            };
            pool.install(call).unwrap()
        };
        for soft in [false, true] {
            let expected = on(1, usize::MAX / 4, soft).bits();
            for threads in [1, 2, 3] {
                for budget in [0, 1 << 20, 5 << 20, usize::MAX / 4] {
                    let found = on(threads, budget, soft).bits();
                    assert!(
                        found == expected,
                        "{size:?}, {threads} threads, {budget} bytes"
                    );
                }
            }
        }
        let loss = CrossEntropy::new()
            .class_weights(&weights)
            .upstream_grad(&upstream);
        let serial = layer.results(loss.exec(Exec::new().serial()));
        assert!(serial.bits() == on(2, usize::MAX / 4, false).bits());
    }
}

/// What is asked for does not change with what else is.
#[test]
fn each_gradient_by_itself() {
    let layer = Layer::normal(150, [90, 33], 3.0, 11);
    let call = LinearCrossEntropy::new(CrossEntropy::new()).bias(&layer.b);
    let all = layer.results(CrossEntropy::new());
    let run = |grads: LinearGrads<'_>| {
        let loss = call.loss_and_grads(&layer.x, &layer.w, layer.size, &layer.targets, grads);
        assert_eq!(loss, Ok(all.loss));
    };
    let (mut dx, mut dw, mut db) = (all.dx.clone(), all.dw.clone(), all.db.clone());
    dx.fill(7.0);
    dw.fill(7.0);
    db.fill(7.0);
    run(LinearGrads::new());
    run(LinearGrads::new().inputs(&mut dx));
    run(LinearGrads::new().weights(&mut dw));
    run(LinearGrads::new().bias(&mut db));
    assert_eq!((&dx, &dw, &db), (&all.dx, &all.dw, &all.db));
    assert_eq!(
        call.loss(&layer.x, &layer.w, layer.size, &layer.targets),
        Ok(all.loss)
    );
    // Memory that nobody has written.
    let mut room = Vec::with_capacity(dw.len());
    let room = &mut room.spare_capacity_mut()[..dw.len()];
    run(LinearGrads::new().weights(room));
    // SAFETY: it has been written.
    let written = unsafe { &*(std::ptr::from_ref(room) as *const [f32]) };
    assert_eq!(written, dw);
}

/// What rows hold that do not count is of no account, NaN included; and the others have the bits that they have without them.
#[test]
fn ignored_rows_are_left_out() {
    let mut layer = Layer::normal(100, [50, 20], 3.0, 13);
    for row in (0..100).filter(|row| row % 8 == 3) {
        layer.x[row * 20..][..20].fill(f32::NAN);
    }
    let found = layer.results(CrossEntropy::new());
    let kept: Vec<usize> = (0..100).filter(|row| row % 8 != 3).collect();
    let mut alone = layer.clone();
    alone.targets = kept.iter().map(|&row| layer.targets[row]).collect();
    alone.x = kept
        .iter()
        .flat_map(|&row| layer.row(row))
        .copied()
        .collect();
    let expected = alone.results(CrossEntropy::new());
    assert_eq!(
        (found.loss, &found.dw, &found.db),
        (expected.loss, &expected.dw, &expected.db)
    );
    for (i, &row) in kept.iter().enumerate() {
        assert_eq!(found.dx[row * 20..][..20], expected.dx[i * 20..][..20]);
        assert_eq!(found.losses[row], expected.losses[i]);
        assert_eq!(found.argmax[row], expected.argmax[i]);
    }
    for row in (0..100).filter(|row| row % 8 == 3) {
        assert!(found.dx[row * 20..][..20].iter().all(|&dx| dx == 0.0));
        assert_eq!((found.losses[row], found.argmax[row]), (0.0, 0));
    }

    // Nor does a class that is ignored.
    let class = layer.targets[0];
    let ignored = CrossEntropy::new().ignore_index(Some(class));
    let mut none = layer.clone();
    none.x.fill(1.0);
    for target in &mut none.targets {
        *target = if *target == IGNORED { class } else { *target };
    }
    let found = none.results(ignored);
    for target in &mut none.targets {
        *target = if *target == class { IGNORED } else { *target };
    }
    assert_eq!(found, none.results(CrossEntropy::new()));

    // None counts.
    layer.targets.fill(IGNORED);
    let none = layer.results(CrossEntropy::new());
    assert!(none.loss.is_nan());
    assert!(
        none.dx
            .iter()
            .chain(&none.dw)
            .chain(&none.db)
            .all(|&x| x == 0.0)
    );
    assert_eq!(
        layer
            .results(CrossEntropy::new().empty_mean(EmptyMean::Zero))
            .loss,
        0.0
    );
}

/// The 16-bit floats: as `f32` numbers of the same values.
#[cfg(feature = "half")]
#[test]
fn half_precision_is_widened() {
    fn of<E: softlane::Element<Real = f32> + Target<E>>(
        round: impl Fn(f32) -> E,
        widen: impl Fn(E) -> f32,
    ) {
        let mut layer = Layer::normal(131, [1030, 67], 3.0, 17);
        let narrow = |x: &[f32]| x.iter().map(|&x| round(x)).collect::<Vec<E>>();
        let (x, w, b) = (narrow(&layer.x), narrow(&layer.w), narrow(&layer.b));
        let wide = |x: &[E]| x.iter().map(|&x| widen(x)).collect::<Vec<f32>>();
        (layer.x, layer.w, layer.b) = (wide(&x), wide(&w), wide(&b));
        let expected = layer.results(CrossEntropy::new());
        let (mut dx, mut dw, mut db) = (layer.x.clone(), layer.w.clone(), layer.b.clone());
        for threads in [1, 2] {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let grads = LinearGrads::new()
                    .inputs(&mut dx)
                    .weights(&mut dw)
                    .bias(&mut db);
                let call = LinearCrossEntropy::new(CrossEntropy::new()).bias(&b);
                let call =
                    call.budget(LinearCrossEntropy::<E>::least_budget::<i64>(layer.size) * threads);
                let loss = call.loss_and_grads(&x, &w, layer.size, &layer.targets, grads);
                assert_eq!(loss, Ok(expected.loss));
            });
            assert_eq!((&dx, &dw, &db), (&expected.dx, &expected.dw, &expected.db));
        }
        let probs: Vec<E> = (0..131 * 1030)
            .map(|i| round((i % 7) as f32 / 8.0))
            .collect();
        let call = LinearCrossEntropy::new(CrossEntropy::new()).bias(&b);
        let found = call.loss(&x, &w, layer.size, &probs);
        let call = LinearCrossEntropy::new(CrossEntropy::new()).bias(&layer.b);
        assert_eq!(
            found,
            call.loss(&layer.x, &layer.w, layer.size, &wide(&probs))
        );
    }
    of(half::f16::from_f32, half::f16::to_f32);
    of(half::bf16::from_f32, half::bf16::to_f32);
}

/// What is wrong is an error that names the numbers, and writes nothing.
#[test]
fn errors_name_the_numbers_and_write_nothing() {
    let layer = exact(4, [3, 2], false, 1);
    let (x, w, size, t) = (&layer.x[..], &layer.w[..], layer.size, &layer.targets[..]);
    let ok = LinearCrossEntropy::new(CrossEntropy::new());
    let call = |call: LinearCrossEntropy<'_>,
                x: &[f32],
                w: &[f32],
                size: [usize; 2],
                t: &[i64],
                lens: [usize; 4]| {
        let [mut dx, mut dw, mut db, mut losses] = lens.map(|len| vec![7.0_f32; len]);
        let grads = LinearGrads::new()
            .inputs(&mut dx)
            .weights(&mut dw)
            .bias(&mut db);
        let outputs = RowOutputs::new().losses(&mut losses);
        let error = call
            .loss_and_grads_with(x, w, size, t, grads, outputs)
            .unwrap_err();
        let all = [dx, dw, db, losses].concat();
        assert!(all.iter().all(|&x| x == 7.0), "{error} wrote");
        error.to_string()
    };
    let lens = [8, 6, 3, 4];
    let length =
        |expected: usize, found: usize| format!("expected a length of {expected}, found {found}");
    assert_eq!(call(ok, &x[1..], w, size, t, lens), length(8, 7));
    assert_eq!(call(ok, x, &w[1..], size, t, lens), length(6, 5));
    assert_eq!(
        call(ok, x, w, [3, usize::MAX], t, lens),
        length(usize::MAX, 8)
    );
    assert_eq!(
        call(ok, x, w, [usize::MAX, 2], t, lens),
        length(usize::MAX, 6)
    );
    for (i, expected) in [(0, 8), (1, 6), (2, 3)] {
        let mut lens = lens;
        lens[i] += 1;
        assert_eq!(
            call(ok, x, w, size, t, lens),
            length(expected, expected + 1)
        );
    }
    let error = call(ok, x, w, size, t, [8, 6, 3, 5]);
    assert_eq!(error, "losses: expected a length of 4, found 5");
    let error = call(ok.bias(&[0.0; 2]), x, w, size, t, lens);
    assert_eq!(error, "bias: expected a length of 3, found 2");
    let error = call(ok, x, w, size, &[0, 1, 3, 0], lens);
    assert_eq!(
        error,
        "target 3 of row 2 is none of 3 classes, which count from 0"
    );
    let least = LinearCrossEntropy::<f32>::least_budget::<i64>(size);
    let error = call(ok.budget(least - 1), x, w, size, t, lens);
    assert_eq!(
        error,
        format!("a budget of {} bytes, where it takes {least}", least - 1)
    );
    let nan = CrossEntropy::new().class_weights(&[1.0, f32::NAN, 1.0]);
    let error = call(LinearCrossEntropy::new(nan), x, w, size, t, lens);
    assert_eq!(
        error,
        "class_weights[1] is NaN, which is not a finite number from 0 on"
    );
    let smooth = CrossEntropy::new().label_smoothing(1.5);
    let error = call(LinearCrossEntropy::new(smooth), x, w, size, t, lens);
    assert_eq!(error, "label_smoothing is 1.5, which is not from 0 to 1");
    let upstream = CrossEntropy::new().upstream_grad(&[1.0; 3]);
    let error = call(LinearCrossEntropy::new(upstream), x, w, size, t, lens);
    assert_eq!(error, "upstream_grad: expected a length of 4, found 3");
    assert_eq!(
        ok.loss(x, w, size, &[0.0_f32; 13]),
        Err(Error::Shape {
            len: 13,
            classes: 3
        })
    );
    assert_eq!(
        ok.loss(x, w, size, &[0.0_f32; 9]),
        Err(Error::Length {
            expected: 6,
            found: 8
        })
    );
    // And what is right is none.
    assert!(ok.budget(least).loss(x, w, size, t).is_ok());
}

/// Sizes that no memory holds, of rows that need none to be described.
#[test]
fn sizes_without_end_are_errors() {
    let none = LinearCrossEntropy::<f32>::new(CrossEntropy::new());
    for (size, targets) in [
        ([usize::MAX, 0], 1),
        ([usize::MAX / 8, 0], 3),
        ([1 << (usize::BITS - 5), 0], 100),
    ] {
        for budget in [None, Some(usize::MAX), Some(usize::MAX / 2)] {
            let call = budget.map_or(none, |budget| none.budget(budget));
            let error = call
                .loss(&[], &[], size, &vec![0_i64; targets])
                .unwrap_err();
            assert!(
                matches!(error, Error::Budget { .. } | Error::Memory { .. }),
                "{error}"
            );
        }
    }
}

/// Nothing of anything, and rows that are special.
#[test]
fn edges() {
    let ok = LinearCrossEntropy::new(CrossEntropy::new().reduction(Reduction::Sum));
    let none: [i64; 0] = [];
    assert_eq!(ok.loss(&[], &[1.0, 2.0], [2, 1], &none), Ok(0.0));
    assert_eq!(ok.loss(&[], &[], [0, 0], &none), Ok(0.0));
    assert_eq!(ok.loss(&[1.0, 2.0], &[], [0, 1], &[IGNORED; 2]), Ok(0.0));
    assert_eq!(ok.loss(&[1.0, 2.0], &[], [0, 1], &[0.0_f32; 0]), Ok(0.0));
    assert!(ok.loss(&[1.0], &[], [0, 1], &[0_i64]).is_err());
    // Without features, the bias is all there is.
    let (mut dx, mut dw, mut db) = ([0.0; 0], [0.0; 0], [7.0; 2]);
    let grads = LinearGrads::new()
        .inputs(&mut dx)
        .weights(&mut dw)
        .bias(&mut db);
    let bias = ok.bias(&[0.0, f32::NEG_INFINITY]);
    assert_eq!(
        bias.loss_and_grads(&[], &[], [2, 0], &[0_i64, 1], grads),
        Ok(f32::INFINITY)
    );
    assert_eq!(db, [1.0, -1.0]);

    // A row with NaN has NaN, and its neighbour is left alone.
    let (mut dx, mut losses) = ([7.0; 2], [7.0; 2]);
    let outputs = RowOutputs::new().losses(&mut losses);
    let grads = LinearGrads::new().inputs(&mut dx);
    let x = [f32::NAN, 0.0];
    let loss = ok.loss_and_grads_with(&x, &[1.0, 1.0], [2, 1], &[0_i64, 1], grads, outputs);
    assert!(loss.unwrap().is_nan() && losses[0].is_nan() && dx[0].is_nan());
    assert_eq!((losses[1], dx[1]), (core::f32::consts::LN_2, 0.0));
    // A masked row, as the loss has it.
    let bias = [f32::NEG_INFINITY; 2];
    assert!(
        ok.bias(&bias)
            .loss(&[1.0], &[1.0, 1.0], [2, 1], &[0_i64])
            .unwrap()
            .is_nan()
    );
    let zero = LinearCrossEntropy::new(CrossEntropy::new().masked_rows(MaskedRows::Zero));
    assert_eq!(
        zero.bias(&bias).loss(&[1.0], &[1.0, 1.0], [2, 1], &[0_i64]),
        Ok(f32::INFINITY)
    );
}
