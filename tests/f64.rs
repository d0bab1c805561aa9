//! Rows of `f64` on every backend, against arithmetic of 192 bits, in units of the last place of `f64`. Prints the worst errors (`--
//! --nocapture`).
#![cfg(feature = "f64")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "these are exact")]
#![expect(
    clippy::needless_range_loop,
    reason = "sums over classes, as the formulas have them"
)]

mod common;

use std::collections::BTreeMap;

use common::inputs::Rng;
use dashu_float::FBig;
use dashu_float::ops::Abs;
use dashu_float::round::mode::HalfEven;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Exec, Reduction, RowOutputs, Softmax};

type Big = FBig<HalfEven>;

/// Of sums; differences of elements need fewer.
const BITS: usize = 192;

fn big(x: f64) -> Big {
    Big::try_from(x).unwrap().with_precision(BITS).value()
}

fn ulp(x: f64) -> f64 {
    let biased = (x.to_bits() >> 52) & 0x7ff;
    // Of subnormal numbers, that of the least normal one.
    let exponent = biased.max(1) as i32 - 1023 - 52;
    exponent_of_two(exponent)
}

/// `2^n`, subnormal ones included.
fn exponent_of_two(n: i32) -> f64 {
    (f64::from(n) / 2.0).floor().exp2() * (f64::from(n) / 2.0).ceil().exp2()
}

/// The distance in ULP of an operand.
fn error(ours: f64, exact: &Big, operand: &Big) -> f64 {
    let nearest = exact.to_f64().value();
    if nearest.is_infinite() || !ours.is_finite() {
        return if ours.total_cmp(&nearest).is_eq() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    let unit = big(ulp(operand.to_f64().value()));
    let units = (big(ours) - exact).abs() / unit;
    units.to_f64().value()
}

/// The exact weights of a row beside its maximum, and what goes with them.
struct Row {
    z: Vec<Big>,
    max: Big,
    weights: Vec<Big>,
    /// Of the weights, and its logarithm.
    sum: Big,
    log: Big,
}

impl Row {
    /// Of elements, some of which may be `-inf`.
    fn new(x: &[f64]) -> Self {
        Self::of(x.iter().map(|&x| big(x.max(f64::MIN))).collect())
    }

    fn of(z: Vec<Big>) -> Self {
        let max = z.iter().fold(z[0].clone(), |max, z| max.max(z.clone()));
        // Less has no probability.
        let least = &max - big(1200.0);
        let weight = |z: &Big| {
            if *z < least {
                Big::ZERO
            } else {
                (z - &max).exp()
            }
        };
        let weights: Vec<Big> = z.iter().map(weight).collect();
        let sum = weights.iter().fold(big(0.0), |sum, weight| sum + weight);
        let log = sum.ln();
        Self {
            z,
            max,
            weights,
            sum,
            log,
        }
    }

    /// The sum of all weights but one.
    fn others(&self, left_out: usize) -> Big {
        let others = self
            .weights
            .iter()
            .enumerate()
            .filter(|&(i, _)| i != left_out);
        others.fold(big(0.0), |sum, (_, weight)| sum + weight)
    }

    fn probs(&self) -> Vec<Big> {
        self.weights
            .iter()
            .map(|weight| weight / &self.sum)
            .collect()
    }

    /// `-ln p` of a class.
    fn loss(&self, class: usize) -> Big {
        let z = &self.z[class];
        if *z == self.max {
            self.others(class).ln_1p()
        } else {
            &self.max - z + &self.log
        }
    }

    fn lse(&self) -> Big {
        &self.max + &self.log
    }

    /// `p - 1`
    fn grad_at(&self, target: usize) -> Big {
        -(self.others(target) / &self.sum)
    }
}

/// The worst error of each operation.
#[derive(Debug, Default)]
struct Report(BTreeMap<&'static str, (f64, String)>);

impl Report {
    fn check(&mut self, name: &'static str, ours: f64, exact: &Big, operand: &Big, case: &str) {
        let error = error(ours, exact, operand);
        let worst = self.0.entry(name).or_insert((-1.0, String::new()));
        if error > worst.0 {
            let exact = exact.to_f64().value();
            *worst = (error, format!("{ours:e}, not {exact:e}: {case}"));
        }
    }

    fn check_all(&mut self, name: &'static str, ours: &[f64], exact: &[Big], case: &str) {
        assert_eq!(ours.len(), exact.len());
        for (&ours, exact) in ours.iter().zip(exact) {
            self.check(name, ours, exact, exact, case);
        }
    }

    fn finish(self, backend: Backend, bounds: &[(&str, f64)]) {
        for (name, (error, case)) in &self.0 {
            println!("{:8} {name:22} {error:.3} ULP: {case}", backend.name());
        }
        let tried: Vec<_> = self.0.keys().copied().collect();
        let bounded: Vec<_> = bounds.iter().map(|&(name, _)| name).collect();
        assert_eq!(tried, bounded);
        for ((name, (error, case)), (_, bound)) in self.0.into_iter().zip(bounds) {
            assert!(error <= *bound, "{backend:?}: {name}: {error} ULP, {case}");
        }
    }
}

fn normal(rng: &mut Rng, n: usize, mean: f64, spread: f64) -> Vec<f64> {
    (0..n).map(|_| mean + spread * rng.normal()).collect()
}

/// Rows of finite logits and `-inf`, with a name.
fn rows() -> Vec<(String, Vec<f64>)> {
    let mut rng = Rng::new(64);
    let mut rows = Vec::new();
    let mut add = |name: String, row: Vec<f64>| rows.push((name, row));
    for spread in [1.0, 3.0, 20.0, 40.0, 200.0] {
        for _ in 0..20 {
            add(
                format!("10, normal {spread}"),
                normal(&mut rng, 10, 0.0, spread),
            );
        }
        for _ in 0..3 {
            add(
                format!("1000, normal {spread}"),
                normal(&mut rng, 1000, 0.0, spread),
            );
        }
    }
    for n in (1..48).chain([63, 64, 65, 127, 300]) {
        add(format!("{n}, normal 3"), normal(&mut rng, n, 0.0, 3.0));
    }
    for (n, spread) in [(4095, 1.0), (4096, 3.0), (4097, 3.0), (20_000, 3.0)] {
        add(
            format!("{n}, normal {spread}"),
            normal(&mut rng, n, 0.0, spread),
        );
    }
    for offset in [100.0, -1000.0, 65_000.0, -70_000.0, 1e6, -1e9, 1e15, 1e300] {
        add(
            format!("100, about {offset:e}"),
            normal(&mut rng, 100, offset, 5.0),
        );
    }
    // One class that is nearly certain.
    for margin in 0..120 {
        let margin = f64::from(margin) * 6.1;
        let n = 1 + rng.below(40);
        let mut row = normal(&mut rng, n, 0.0, 1.0);
        let at = rng.below(row.len() + 1);
        row.insert(at, 3.0 + margin);
        add(format!("margin {margin}"), row);
    }
    for i in 0..10 {
        let mut row = normal(&mut rng, 5 + 20 * i, 0.0, 10.0);
        for x in &mut row {
            if rng.coin() {
                *x = f64::NEG_INFINITY;
            }
        }
        row[i] = 1.0;
        add("masked".into(), row);
    }
    add("equal".into(), vec![0.7; 33]);
    add("two equal".into(), vec![-5.0, -5.0]);
    let tiny = |_| f64::from_bits(rng.bits() >> 13);
    add("subnormal".into(), (0..40).map(tiny).collect());
    add("wide".into(), (0..800).map(|i| -f64::from(i)).collect());
    add(
        "wider".into(),
        (0..300).map(|i| f64::from(i) * 1e3).collect(),
    );
    add("far apart".into(), vec![1e308, -1e308, 0.0]);
    rows
}

fn vector_backends() -> impl Iterator<Item = Backend> {
    Backend::available().filter(|backend| backend.name() != "scalar")
}

#[test]
fn softmax_and_losses() {
    let rows: Vec<_> = rows()
        .into_iter()
        .map(|(name, x)| {
            let row = Row::new(&x);
            (name, row.probs(), row, x)
        })
        .collect();
    let mut rng = Rng::new(7);
    let targets: Vec<usize> = rows.iter().map(|row| rng.below(row.3.len())).collect();
    let one = big(1.0);
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend);
        let mut report = Report::default();
        for ((name, probs, row, x), &target) in rows.iter().zip(&targets) {
            let (n, mut y) = (x.len(), vec![f64::NAN; x.len()]);
            exec.softmax(x, n, &mut y).unwrap();
            report.check_all("softmax", &y, probs, name);
            exec.log_softmax(x, n, &mut y).unwrap();
            for (i, &y) in y.iter().enumerate() {
                if x[i] == f64::NEG_INFINITY {
                    assert_eq!(y, f64::NEG_INFINITY);
                } else {
                    let exact = -row.loss(i);
                    report.check("log_softmax", y, &exact, &exact, name);
                }
            }
            let mut lse = [0.0];
            exec.logsumexp(x, n, &mut lse).unwrap();
            let exact = row.lse();
            report.check(
                "logsumexp",
                lse[0],
                &exact,
                &exact.clone().abs().max(one.clone()),
                name,
            );
            let best = row.z.iter().position(|z| *z == row.max).unwrap();
            for target in [target, best] {
                if x[target] == f64::NEG_INFINITY {
                    continue;
                }
                let ce = CrossEntropy::new().exec(exec);
                let loss = ce.loss_and_grad(x, n, &[target], &mut y).unwrap();
                let exact = row.loss(target);
                report.check("loss", loss, &exact, &exact, name);
                let mut grad = probs.clone();
                grad[target] = row.grad_at(target);
                report.check_all("loss: gradient", &y, &grad, name);
            }
        }
        let bounds = [
            ("log_softmax", 2.5),
            ("logsumexp", 1.5),
            ("loss", 2.5),
            ("loss: gradient", 2.5),
            ("softmax", 2.5),
        ];
        report.finish(backend, &bounds);
    }
}

/// The larger magnitude.
fn larger(a: &Big, b: &Big) -> Big {
    a.clone().abs().max(b.clone().abs())
}

fn dot(a: impl IntoIterator<Item = Big>, b: &[f64]) -> Big {
    let terms = a.into_iter().zip(b).map(|(a, &b)| a * big(b));
    terms.fold(big(0.0), |sum, term| sum + term)
}

#[test]
fn losses_with_options() {
    let mut rng = Rng::new(8);
    let cases: Vec<_> = rows()
        .into_iter()
        .filter(|(_, x)| x.len() <= 4097 && x.iter().all(|x| x.abs() < 1e5))
        .map(|(name, x)| {
            let n = x.len();
            let weights: Vec<f64> = (0..n).map(|_| rng.between(0.2, 3.0)).collect();
            let mut soft: Vec<f64> = (0..n).map(|_| rng.uniform()).collect();
            if n > 1 {
                soft[rng.below(n)] = 0.0;
            }
            let (scale, target) = ([1.0, 0.37][rng.below(2)], rng.below(n));
            (name, x, weights, soft, scale, target)
        })
        .collect();
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend);
        let mut report = Report::default();
        for (name, x, weights, soft, scale, target) in &cases {
            let (n, classes) = (x.len(), big(x.len() as f64));
            let (smoothing, z_loss, upstream) = (0.1, 0.01, [1.7]);
            let z: Vec<Big> = x.iter().map(|&x| big(x) * big(*scale)).collect();
            let row = Row::of(z);
            let (lse, probs) = (row.lse(), row.probs());
            let losses_of: Vec<Big> = (0..n).map(|k| row.loss(k)).collect();
            let ce = CrossEntropy::new()
                .exec(exec)
                .logit_scale(*scale)
                .label_smoothing(smoothing)
                .class_weights(weights)
                .z_loss(z_loss)
                .upstream_grad(&upstream);
            let one_hot = |k: usize| if k == *target { 1.0 } else { 0.0 };
            let mut check = |ours: f64,
                             grad: &[f64],
                             [loss, gradient]: [&'static str; 2],
                             t: &dyn Fn(usize) -> f64| {
                let share = |k: usize| {
                    let hard = (big(1.0) - big(smoothing)) * big(t(k));
                    (hard + big(smoothing) / &classes) * big(weights[k])
                };
                let square = big(z_loss) * &lse * &lse;
                let (mut exact, mut largest) = (square.clone(), square.max(big(1.0)));
                let mut mass = big(0.0);
                for k in 0..n {
                    mass += share(k);
                    exact += share(k) * &losses_of[k];
                }
                largest = larger(&largest, &exact);
                report.check(loss, ours, &exact, &largest, name);
                let pull = mass + big(2.0 * z_loss) * &lse;
                let factor = big(*scale) * big(upstream[0]);
                for k in 0..n {
                    let (a, b) = (&pull * &probs[k] * &factor, share(k) * &factor);
                    report.check(gradient, grad[k], &(&a - &b), &larger(&a, &b), name);
                }
            };
            let (mut grad, mut losses) = (vec![0.0; n], [0.0]);
            ce.loss_per_row_and_grad(x, n, &[*target], &mut losses, &mut grad)
                .unwrap();
            check(
                losses[0],
                &grad,
                ["class: loss", "class: gradient"],
                &one_hot,
            );
            ce.loss_per_row_and_grad(x, n, soft, &mut losses, &mut grad)
                .unwrap();
            check(losses[0], &grad, ["soft: loss", "soft: gradient"], &|k| {
                soft[k]
            });

            let (mut log_probs, mut entropies, mut best) = ([0.0], [0.0], [0]);
            let outputs = RowOutputs::new()
                .log_probs(&mut log_probs)
                .entropies(&mut entropies)
                .argmax(&mut best);
            CrossEntropy::new()
                .exec(exec)
                .logit_scale(*scale)
                .loss_with(x, n, &[*target], outputs)
                .unwrap();
            let exact = -row.loss(*target);
            report.check("log_prob", log_probs[0], &exact, &exact, name);
            let entropy = (0..n).map(|k| &probs[k] * &losses_of[k]);
            let exact = entropy.fold(big(0.0), |sum, term| sum + term);
            report.check("entropy", entropies[0], &exact, &exact, name);
            assert_eq!(best[0], row.z.iter().position(|z| *z == row.max).unwrap());
        }
        // The bounds of `f32`, as the kernels derive them: of the largest term, or the larger operand.
        let bounds = [
            ("class: gradient", 3.8),
            ("class: loss", 1.8),
            ("entropy", 3.8),
            ("log_prob", 1.1),
            ("soft: gradient", 6.8),
            ("soft: loss", 3.8),
        ];
        report.finish(backend, &bounds);
    }
}

#[test]
fn backward_passes() {
    let mut rng = Rng::new(9);
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend);
        let mut report = Report::default();
        for n in (1..40).chain([64, 100, 1000, 4097]) {
            let (x, dy) = (normal(&mut rng, n, 0.0, 5.0), normal(&mut rng, n, 0.0, 1.0));
            let (mut y, mut dx) = (vec![0.0; n], vec![0.0; n]);
            let name = format!("{n} classes");
            exec.softmax(&x, n, &mut y).unwrap();
            let total = dot(y.iter().map(|&y| big(y)), &dy);
            exec.softmax_backward(&y, &dy, n, &mut dx).unwrap();
            for i in 0..n {
                let (a, b) = (big(y[i]) * big(dy[i]), big(y[i]) * &total);
                report.check("softmax", dx[i], &(&a - &b), &larger(&a, &b), &name);
            }
            Softmax::new()
                .exec(exec)
                .logit_scale(0.37)
                .probs_backward(&y, &dy, n, &mut dx)
                .unwrap();
            for i in 0..n {
                let s = big(0.37);
                let (a, b) = (big(y[i]) * big(dy[i]) * &s, big(y[i]) * &total * &s);
                report.check("softmax, scaled", dx[i], &(&a - &b), &larger(&a, &b), &name);
            }
            exec.log_softmax(&x, n, &mut y).unwrap();
            exec.log_softmax_backward(&y, &dy, n, &mut dx).unwrap();
            let total = dot(dy.iter().map(|_| big(1.0)), &dy);
            for i in 0..n {
                let (a, b) = (big(dy[i]), big(y[i]).exp() * &total);
                report.check("log_softmax", dx[i], &(&a - &b), &larger(&a, &b), &name);
            }
        }
        let (exp, scaled) = if backend.is_fused() {
            (0.0, 1.5)
        } else {
            (0.9, 1.0)
        };
        let bounds = [
            ("log_softmax", 2.8 + exp),
            ("softmax", 1.5 + exp),
            ("softmax, scaled", scaled + 1e-6),
        ];
        report.finish(backend, &bounds);
    }
}

#[test]
fn elements() {
    let mut rng = Rng::new(10);
    let mut x: Vec<f64> = (0..20_000).map(|_| rng.between(-745.0, 709.7)).collect();
    x.extend((0..20_000).map(|_| rng.between(-3.0, 3.0)));
    x.extend(
        (0..1000)
            .map(|i| (f64::from(i) - 990.0).exp2().copysign(rng.normal()))
            .filter(|x| x.abs() < 700.0),
    );
    x.extend([0.0, -0.0, 709.78, -745.13, -708.4, -720.0]);
    let exps: Vec<Big> = x.iter().map(|&x| big(x).exp()).collect();
    let labels: Vec<f64> = x
        .iter()
        .map(|_| [0.0, 1.0, 0.3, 0.999][rng.below(4)])
        .collect();
    let (n, one) = (x.len(), big(1.0));
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend);
        let mut report = Report::default();
        let mut y = vec![0.0; n];
        exec.exp(&x, &mut y).unwrap();
        report.check_all("exp", &y, &exps, "");
        exec.sigmoid(&x, &mut y).unwrap();
        let yes: Vec<Big> = exps.iter().map(|e| e / (e + &one)).collect();
        let no: Vec<Big> = exps.iter().map(|e| &one / (e + &one)).collect();
        report.check_all("sigmoid", &y, &yes, "");
        let binary = BinaryCrossEntropy::new()
            .exec(exec)
            .reduction(Reduction::Sum);
        binary.loss_per_element(&x, n, &labels, &mut y).unwrap();
        let mut total = big(0.0);
        for i in 0..n {
            // -ln s(x) and -ln s(-x), from what is small.
            let (e, magnitude) = (larger(&big(x[i]), &big(0.0)), big(x[i]).abs());
            let log = (&one / e.exp()).ln_1p();
            let [of_yes, of_no] = if x[i] > 0.0 {
                [log.clone(), &log + &magnitude]
            } else {
                [&log + &magnitude, log.clone()]
            };
            let exact = big(labels[i]) * of_yes + (&one - big(labels[i])) * of_no;
            report.check(
                "binary: loss",
                y[i],
                &exact,
                &exact,
                &format!("{:e}, {}", x[i], labels[i]),
            );
            total += exact;
        }
        let loss = binary.loss_and_grad(&x, n, &labels, &mut y).unwrap();
        report.check("binary: sum", loss, &total, &total, "");
        for i in 0..n {
            let (a, b) = ((&one - big(labels[i])) * &yes[i], big(labels[i]) * &no[i]);
            let case = format!("{:e}, {}", x[i], labels[i]);
            report.check("binary: gradient", y[i], &(&a - &b), &larger(&a, &b), &case);
        }
        let exact = dot(x.iter().map(|_| big(1.0)), &x);
        let magnitudes = x.iter().fold(big(0.0), |sum, &x| sum + big(x.abs()));
        report.check("sum", exec.sum(&x).unwrap(), &exact, &magnitudes, "");
        assert_eq!(exec.max(&x).unwrap(), x.iter().copied().fold(0.0, f64::max));
        let bounds = if backend.is_fused() {
            [2.8, 2.6, 2.6, 0.9, 2.5, 0.51]
        } else {
            [6.7, 4.4, 4.4, 1.3, 2.8, 0.51]
        };
        let names = [
            "binary: gradient",
            "binary: loss",
            "binary: sum",
            "exp",
            "sigmoid",
            "sum",
        ];
        let bounds: Vec<_> = names.into_iter().zip(bounds).collect();
        report.finish(backend, &bounds);
    }
}

/// Logits with a factor, a mask that is added, one that leaves out, causal rows, and a sink.
#[test]
fn attention() {
    let mut rng = Rng::new(11);
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend);
        let mut report = Report::default();
        for n in (1..35).chain([100, 1000, 4097]) {
            let (x, bias) = (normal(&mut rng, n, 0.0, 9.0), normal(&mut rng, n, 0.0, 4.0));
            let mut flags: Vec<bool> = (0..n).map(|_| rng.below(3) > 0).collect();
            flags[rng.below(n)] = true;
            let sink = [[0.5, 30.0, -40.0, 800.0][n % 4]];
            let seen = rng.below(n) + 1;
            let softmax = Softmax::new().exec(exec).logit_scale(0.37);
            let scaled = |x: &f64| big(*x) * big(0.37);
            let sink_of = big(sink[0]);
            let left_out = big(f64::MIN);
            // Rounded once, as the destination holds them.
            let added: Vec<Big> = x
                .iter()
                .zip(&bias)
                .map(|(x, m)| big(x.mul_add(0.37, *m)))
                .collect();
            let plain: Vec<Big> = x.iter().map(scaled).collect();
            let flagged: Vec<Big> = plain
                .iter()
                .zip(&flags)
                .map(|(z, &f)| if f { z.clone() } else { left_out.clone() })
                .collect();
            let causal: Vec<Big> = plain
                .iter()
                .enumerate()
                .map(|(i, z)| {
                    if i < seen {
                        z.clone()
                    } else {
                        left_out.clone()
                    }
                })
                .collect();
            let cases = [
                ("scale", softmax, plain.clone(), None),
                (
                    "sink",
                    softmax.sinks(&sink, 1),
                    plain,
                    Some(sink_of.clone()),
                ),
                ("mask", softmax.mask(&bias), added.clone(), None),
                (
                    "mask, sink",
                    softmax.mask(&bias).sinks(&sink, 1),
                    added,
                    Some(sink_of),
                ),
                ("bool mask", softmax.bool_mask(&flags), flagged, None),
                ("causal", softmax.causal(1, seen - 1), causal, None),
            ];
            for (name, softmax, mut z, sink) in cases {
                z.extend(sink);
                let row = Row::of(z);
                let (mut p, mut log_p) = (vec![0.0; n], vec![0.0; n]);
                softmax.probs(&x, n, &mut p).unwrap();
                softmax.log_probs(&x, n, &mut log_p).unwrap();
                let case = format!("{n} classes");
                report.check_all(name, &p, &row.probs()[..n], &case);
                for (i, &log_p) in log_p.iter().enumerate() {
                    if row.z[i] == left_out {
                        assert_eq!(log_p, f64::NEG_INFINITY);
                    } else {
                        let exact = -row.loss(i);
                        report.check(
                            "log_probs",
                            log_p,
                            &exact,
                            &exact,
                            &format!("{name}, {case}"),
                        );
                    }
                }
            }
        }
        // A bool mask is applied to logits that are rounded once.
        let names = [
            "bool mask",
            "causal",
            "log_probs",
            "mask",
            "mask, sink",
            "scale",
            "sink",
        ];
        let bounds: Vec<_> = names.into_iter().map(|name| (name, 2.9)).collect();
        report.finish(backend, &bounds);
    }
}

/// Everything that an execution makes of rows of one length.
fn results(exec: Exec, x: &[f64], n: usize) -> Vec<f64> {
    let rows = x.len() / n;
    let targets: Vec<usize> = (0..rows).map(|r| r * 7919 % n).collect();
    let weights: Vec<f64> = (0..n).map(|k| 0.5 + (k % 7) as f64 / 3.0).collect();
    let mut soft = vec![0.0; x.len()];
    exec.softmax(x, n, &mut soft).unwrap();
    let mut all = soft.clone();
    let mut y = vec![0.0; x.len()];
    let mut per_row = vec![0.0; rows];
    exec.log_softmax(x, n, &mut y).unwrap();
    all.extend(&y);
    exec.softmax_backward(&soft, x, n, &mut y).unwrap();
    all.extend(&y);
    exec.log_softmax_backward(x, &soft, n, &mut y).unwrap();
    all.extend(&y);
    exec.logsumexp(x, n, &mut per_row).unwrap();
    all.extend(&per_row);
    let plain = CrossEntropy::new().exec(exec);
    all.push(plain.loss_and_grad(x, n, &targets, &mut y).unwrap());
    all.extend(&y);
    let options = plain
        .label_smoothing(0.1)
        .class_weights(&weights)
        .z_loss(0.01);
    all.push(options.loss_and_grad(x, n, &targets, &mut y).unwrap());
    all.extend(&y);
    all.push(options.loss_and_grad(x, n, &soft, &mut y).unwrap());
    all.extend(&y);
    let (mut entropies, mut log_probs) = (vec![0.0; rows], vec![0.0; rows]);
    let outputs = RowOutputs::new()
        .entropies(&mut entropies)
        .log_probs(&mut log_probs);
    plain.loss_with(x, n, &targets, outputs).unwrap();
    all.extend(&entropies);
    all.extend(&log_probs);
    let softmax = Softmax::new().exec(exec).logit_scale(0.37);
    softmax
        .mask(&weights)
        .sinks(&weights[..1], 1)
        .probs(x, n, &mut y)
        .unwrap();
    all.extend(&y);
    softmax.causal(rows, 2).log_probs(x, n, &mut y).unwrap();
    all.extend(&y);
    softmax.log_probs(x, n, &mut y).unwrap();
    all.extend(&y);
    softmax.log_probs_backward(x, &soft, n, &mut y).unwrap();
    all.extend(&y);
    let binary = BinaryCrossEntropy::new().exec(exec);
    all.push(binary.loss_and_grad(x, n, &soft, &mut y).unwrap());
    all.extend(&y);
    let binary = binary.pos_weights(&weights).label_smoothing(0.1);
    all.push(binary.loss_and_grad(x, n, &soft, &mut y).unwrap());
    all.extend(&y);
    exec.exp(x, &mut y).unwrap();
    all.extend(&y);
    exec.sigmoid(x, &mut y).unwrap();
    all.extend(&y);
    all.extend([exec.sum(x).unwrap(), exec.max(x).unwrap()]);
    all
}

fn same(a: &[f64], b: &[f64], what: &str) {
    let differ = a
        .iter()
        .zip(b)
        .position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differ, None, "{what}: {:?}", differ.map(|i| (a[i], b[i])));
}

/// On every fused backend, and on any number of threads.
#[test]
fn the_same_bits() {
    let mut rng = Rng::new(12);
    for (rows, n) in [
        (3, 1),
        (40, 10),
        (20, 17),
        (3, 1000),
        (2, 4097),
        (1500, 100),
        (1, 300_000),
    ] {
        let mut x = Vec::new();
        for spread in (0..rows).map(|r| [1.0, 5.0, 30.0, 200.0][r % 4]) {
            x.extend(normal(&mut rng, n, spread, spread));
        }
        let mut fused: Option<Vec<f64>> = None;
        for backend in vector_backends() {
            let exec = Exec::new().backend(backend);
            let serial = results(exec.serial(), &x, n);
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let spread = pool.build().unwrap().install(|| results(exec, &x, n));
                same(
                    &serial,
                    &spread,
                    &format!("{backend:?}, {rows} x {n}, {threads} threads"),
                );
            }
            if backend.is_fused() {
                if let Some(fused) = &fused {
                    same(fused, &serial, &format!("{backend:?}, {rows} x {n}"));
                }
                fused = Some(serial);
            }
        }
    }
}

/// The bits of all of it, so that a change of them is a decision: with fused multiply-add, and without.
#[test]
fn committed_bits() {
    const HASHES: [(bool, u64); 2] = [
        (true, 0xdd5b_22de_7454_bfbe),
        (false, 0x96ce_dd64_6448_fd6f),
    ];
    for backend in vector_backends() {
        let mut rng = Rng::new(16);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (rows, n) in [
            (3, 1),
            (40, 10),
            (20, 17),
            (20, 33),
            (20, 64),
            (3, 65),
            (3, 1000),
            (2, 4097),
            (2, 4130),
        ] {
            let x: Vec<f64> = (0..rows * n).map(|_| rng.between(-20.0, 20.0)).collect();
            for result in results(Exec::new().backend(backend).serial(), &x, n) {
                for byte in result.to_bits().to_le_bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        let found = (backend.is_fused(), hash);
        assert!(HASHES.contains(&found), "{backend:?}: {found:x?}");
    }
}

#[test]
fn special_rows() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let of = |x: &[f64]| {
            let (mut y, mut lse) = (x.to_vec(), [0.0]);
            exec.softmax_in_place(&mut y, x.len()).unwrap();
            exec.logsumexp(x, x.len(), &mut lse).unwrap();
            let loss = CrossEntropy::new()
                .exec(exec)
                .loss(x, x.len(), &[0])
                .unwrap();
            (y, lse[0], loss)
        };
        for n in [1, 2, 15, 16, 17, 40] {
            for at in [0, n - 1] {
                for special in [nan, inf] {
                    let mut x = vec![1.0; n];
                    x[at] = special;
                    let (y, lse, loss) = of(&x);
                    assert!(
                        y.iter().all(|y| y.to_bits() == nan.to_bits()),
                        "{backend:?}, {n}"
                    );
                    assert!(loss.is_nan() && (lse == special || lse.is_nan() && special.is_nan()));
                }
            }
            let (y, lse, loss) = of(&vec![-inf; n]);
            assert!(y.iter().all(|y| y.is_nan()) && lse == -inf && loss.is_nan());
        }
        let mut y = [0.0; 0];
        exec.softmax(&[], 7, &mut y).unwrap();
        exec.softmax(&[], 0, &mut y).unwrap();
        assert!(exec.softmax(&[1.0], 2, &mut [0.0]).is_err());
        assert_eq!(
            (exec.sum::<f64>(&[]).unwrap(), exec.max::<f64>(&[]).unwrap()),
            (0.0, -inf)
        );
        assert_eq!(exec.sum(&[1e308, 1e308]).unwrap(), inf);
        let mean = CrossEntropy::new().exec(exec);
        let x = [f64::MAX, 0.0, 0.0, -1000.0, 0.0, -1000.0];
        let mean = mean.loss(&x, 2, &[1, 0, 0]).unwrap();
        assert_eq!(mean, f64::MAX / 3.0, "{backend:?}");
        assert!(exec.sum(&[inf, -inf]).unwrap().is_nan());
    }
}

/// The losses and gradients of rows of few classes, against central differences.
#[test]
fn gradients_are_those_of_losses() {
    let mut rng = Rng::new(13);
    let step = (-17_f64).exp2();
    for backend in Backend::available() {
        let ce = CrossEntropy::new()
            .exec(Exec::new().backend(backend))
            .label_smoothing(0.2)
            .z_loss(0.1);
        for n in [1, 3, 17, 50] {
            let x = normal(&mut rng, n, 0.0, 1.0);
            let mut grad = vec![0.0; n];
            ce.loss_and_grad(&x, n, &[n / 2], &mut grad).unwrap();
            for i in 0..n {
                let at = |step: f64| {
                    let mut x = x.clone();
                    x[i] += step;
                    ce.loss(&x, n, &[n / 2]).unwrap()
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                // The third derivative is at most 1 and a little; losses have some units of 2^-52.
                let bound = step * step + 40.0 * f64::EPSILON / step;
                assert!(
                    (slope - grad[i]).abs() < bound,
                    "{backend:?}, {n}: {slope} {}",
                    grad[i]
                );
            }
        }
    }
}
