//! What a sweep finds of each row beside its loss (`RowOutputs`), with classes and distributions as targets, on every backend: against `f64`, against the
//! functions that give the same, and the bits of rows alone, in batches and on threads. Prints the worst errors (`-- --nocapture`).
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and some results are exact"
)]

mod common;

use std::ops::Range;

use common::bounds::{self, Bound};
use common::inputs::{self, Rng};
use common::options::{Options, SCALED, textbook};
use common::oracle::sum;
use common::ulp::{NAN_BITS, Want};
use softlane::{Backend, CrossEntropy, Error, Exec, MaskedRows, Reduction, RowOutputs};

/// All that is found of rows.
#[derive(Clone, Debug)]
struct Found {
    loss: f32,
    losses: Vec<f32>,
    log_sum_exps: Vec<f32>,
    log_probs: Vec<f32>,
    entropies: Vec<f32>,
    argmax: Vec<usize>,
    grad: Vec<f32>,
    without_argmax: bool,
}

impl Found {
    fn new(rows: usize) -> Self {
        Self {
            without_argmax: false,
            loss: -7.25,
            losses: vec![-7.25; rows],
            log_sum_exps: vec![-7.25; rows],
            log_probs: vec![-7.25; rows],
            entropies: vec![-7.25; rows],
            argmax: vec![77; rows],
            grad: vec![],
        }
    }

    fn outputs(&mut self) -> RowOutputs<'_> {
        let outputs = RowOutputs::new()
            .losses(&mut self.losses)
            .log_sum_exps(&mut self.log_sum_exps)
            .log_probs(&mut self.log_probs)
            .entropies(&mut self.entropies);
        // Threads that share a row find it in a step of its own.
        if self.without_argmax {
            outputs
        } else {
            outputs.argmax(&mut self.argmax)
        }
    }

    /// Bits of everything that rows have by themselves.
    fn bits(&self) -> (Vec<Vec<u32>>, &[usize]) {
        let slices = [
            &self.losses,
            &self.log_sum_exps,
            &self.log_probs,
            &self.entropies,
            &self.grad,
        ];
        let bits = |x: &&Vec<f32>| x.iter().map(|x| x.to_bits()).collect();
        (slices.iter().map(bits).collect(), &self.argmax)
    }
}

/// Targets of either kind.
#[derive(Clone, Debug)]
enum Targets {
    Classes(Vec<i64>),
    Probs(Vec<f32>),
}

impl Targets {
    fn new(is_soft: bool, rows: usize, classes: usize, rng: &mut Rng) -> Self {
        if !is_soft {
            let target = |_| {
                if rng.below(9) == 0 {
                    -100
                } else {
                    i64::try_from(rng.below(classes)).unwrap()
                }
            };
            return Self::Classes((0..rows).map(target).collect());
        }
        let mut probs = vec![0.0; rows * classes];
        for row in probs.chunks_exact_mut(classes) {
            match rng.below(9) {
                0 => {}
                1..=3 => row[rng.below(classes)] = 1.0,
                _ => row.fill_with(|| rng.uniform() as f32),
            }
        }
        Self::Probs(probs)
    }

    fn of(&self, rows: Range<usize>, classes: usize) -> Self {
        match self {
            Self::Classes(targets) => Self::Classes(targets[rows].to_vec()),
            Self::Probs(probs) => {
                Self::Probs(probs[rows.start * classes..rows.end * classes].to_vec())
            }
        }
    }

    /// The probability of a class in a row; none in a row that does not count.
    fn row(&self, row: usize, classes: usize) -> Option<Vec<f64>> {
        match self {
            Self::Classes(targets) => {
                let target = usize::try_from(targets[row]).ok()?;
                Some(
                    (0..classes)
                        .map(|k| f64::from(u8::from(k == target)))
                        .collect(),
                )
            }
            Self::Probs(probs) => {
                let row = &probs[row * classes..][..classes];
                row.iter()
                    .any(|&t| t != 0.0)
                    .then(|| row.iter().map(|&t| t.into()).collect())
            }
        }
    }

    /// Every form gives the same; with the gradient of one of them.
    fn run(&self, builder: CrossEntropy<'_>, x: &[f32], classes: usize, rows: usize) -> Found {
        self.run_with(builder, x, classes, Found::new(rows))
    }

    fn run_with(
        &self,
        builder: CrossEntropy<'_>,
        x: &[f32],
        classes: usize,
        blank: Found,
    ) -> Found {
        let (mut alone, mut found, mut over) = (blank.clone(), blank.clone(), blank);
        let (mut grad, mut in_place) = (vec![-7.25; x.len()], x.to_vec());
        match self {
            Self::Classes(t) => {
                alone.loss = builder.loss_with(x, classes, t, alone.outputs()).unwrap();
                found.loss = builder
                    .loss_and_grad_with(x, classes, t, &mut grad, found.outputs())
                    .unwrap();
                over.loss = builder
                    .loss_and_grad_in_place_with(&mut in_place, classes, t, over.outputs())
                    .unwrap();
            }
            Self::Probs(t) => {
                alone.loss = builder.loss_with(x, classes, t, alone.outputs()).unwrap();
                found.loss = builder
                    .loss_and_grad_with(x, classes, t, &mut grad, found.outputs())
                    .unwrap();
                over.loss = builder
                    .loss_and_grad_in_place_with(&mut in_place, classes, t, over.outputs())
                    .unwrap();
            }
        }
        assert_eq!(alone.bits(), found.bits(), "without the gradient");
        assert_eq!(over.bits(), found.bits(), "in place");
        (found.grad, over.grad) = (grad, in_place);
        assert_eq!(over.bits(), found.bits(), "in place");
        assert_eq!(alone.loss.to_bits(), found.loss.to_bits());
        found
    }

    /// The same without outputs.
    fn plain(&self, builder: CrossEntropy<'_>, x: &[f32], classes: usize, rows: usize) -> Found {
        let mut found = Found::new(rows);
        found.grad = x.to_vec();
        match self {
            Self::Classes(t) => {
                builder
                    .loss_per_row(x, classes, t, &mut found.losses)
                    .unwrap();
                found.loss = builder
                    .loss_and_grad_in_place(&mut found.grad, classes, t)
                    .unwrap();
            }
            Self::Probs(t) => {
                builder
                    .loss_per_row(x, classes, t, &mut found.losses)
                    .unwrap();
                found.loss = builder
                    .loss_and_grad_in_place(&mut found.grad, classes, t)
                    .unwrap();
            }
        }
        found
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// What is exact of a row: log-sum-exp, log-probability, entropy; and where the largest logit is first.
fn exact(x: &[f32], target: &[f64], scale: f64) -> ([f64; 3], usize) {
    let x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let top = x.iter().position(|&x| x >= max).unwrap();
    let z: Vec<f64> = x.iter().map(|x| scale * (x - max)).collect();
    let but_top = |of: &dyn Fn(usize) -> f64| sum((0..x.len()).filter(|&k| k != top).map(of));
    let others = but_top(&|k| z[k].exp());
    let log = others.ln_1p();
    let product = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a * b };
    let log_prob = sum((0..x.len()).map(|k| product(target[k], z[k] - log)));
    let away = but_top(&|k| product(z[k].exp(), -z[k]));
    (
        [scale * max + log, log_prob, log + away / (1.0 + others)],
        top,
    )
}

/// Without fused multiply-add, a weight and the sum are off by 1.8 each.
const ENTROPY: Bound = Bound {
    fused: 3.7,
    unfused: 5.1,
};

/// Compares what is found of each row; `worst` are the largest errors so far.
fn check_rows(
    backend: Backend,
    options: &Options,
    found: &Found,
    (x, classes, targets): (&[f32], usize, &Targets),
    worst: &mut [f64; 3],
    context: &str,
) {
    for (row, x) in x.chunks_exact(classes).enumerate() {
        let got = [
            found.log_sum_exps[row],
            found.log_probs[row],
            found.entropies[row],
        ];
        let Some(target) = targets.row(row, classes) else {
            assert_eq!(
                (got, found.argmax[row]),
                ([0.0; 3], 0),
                "{context}, row {row}"
            );
            continue;
        };
        let (want, top) = exact(x, &target, options.scale);
        assert_eq!(found.argmax[row], top, "{context}, row {row}");
        // What has less than 2^-188 of the weight counts as that, or as nothing.
        let least = (-188_f64).exp2() * classes as f64;
        let mass = sum(target.iter().copied());
        let mut bounds = [bounds::LOG_SUM_EXP.derived, bounds::LOSS.derived, ENTROPY]
            .map(|bound| bound.on(backend) + SCALED.on(backend));
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if options.scale * f64::from(max.abs()) > 65_536.0 && matches!(targets, Targets::Probs(_)) {
            bounds[1] += 1.0;
        }
        let mut operands = [want[0].abs().max(1.0), want[1], want[2]];
        if backend.name() == "scalar" {
            bounds = [textbook(options, x); 3];
            // The textbook has the errors of what 1 is, and of the largest logit.
            operands = [operands[0], want[1].abs().max(mass), want[2].max(1.0)];
        }
        for k in 0..3 {
            let mut wanted = Want::ulp_of(want[k], operands[k]);
            wanted.unit = wanted.unit.max(least * mass.max(1.0));
            let error = wanted.error(got[k]);
            worst[k] = worst[k].max(error);
            assert!(
                error <= bounds[k],
                "{context}, row {row}, {k}: {:e}, not {:e}: {error}",
                got[k],
                want[k]
            );
        }
    }
}

#[test]
fn every_output_of_every_backend() {
    let mut rng = Rng::new(1);
    let shapes = [
        (1, 1),
        (3, 1),
        (40, 2),
        (37, 3),
        (33, 10),
        (20, 33),
        (17, 64),
        (3, 65),
        (2, 300),
        (2, 9000),
    ];
    let kinds = [
        "normal 3",
        "normal 20",
        "confident",
        "masked half",
        "offset 1e3",
        "offset 1e5",
        "equal",
        "near ties",
        "wide",
    ];
    let mut worst: Vec<_> = Backend::available()
        .map(|backend| (backend, [0.0_f64; 3]))
        .collect();
    for (rows, classes) in shapes {
        for i in 0..60 {
            let mut options = Options::none();
            // Neither shows in what is found beside the losses.
            options.smoothing = [0.0, 0.2][i % 2];
            options.z_loss = [0.0, 0.0, 0.1][i % 3];
            if i % 5 == 0 {
                options.weights = Some((0..classes).map(|_| rng.uniform() as f32).collect());
            }
            options.scale = [1.0, 1.0, 0.37, 40_000.0, 1e-38][rng.below(5)];
            let kind = kinds[rng.below(kinds.len())];
            let class = inputs::named(kind).unwrap();
            let x: Vec<f32> = (0..rows)
                .flat_map(|_| class.row(rng.bits(), classes))
                // Distances beyond the range among them.
                .map(|x| match x {
                    _ if options.scale > 1e-9 => x / options.scale as f32,
                    f32::NEG_INFINITY => x,
                    _ => (x * 1e37).clamp(f32::MIN, f32::MAX),
                })
                .collect();
            let targets = Targets::new(rng.coin(), rows, classes, &mut rng);
            for (backend, worst) in &mut worst {
                // Of the textbook, that factor is a subnormal number.
                if options.scale < 1e-30 && backend.name() == "scalar" {
                    continue;
                }
                let builder = options
                    .builder(Exec::new().serial().backend(*backend))
                    .reduction(Reduction::Sum);
                let context = format!("{backend:?}, {rows} x {classes} {kind}, {i}: {options:?}");
                let (found, plain) = (
                    targets.run(builder, &x, classes, rows),
                    targets.plain(builder, &x, classes, rows),
                );
                let same = [&found.losses, &found.grad].map(|x| bits(x))
                    == [&plain.losses, &plain.grad].map(|x| bits(x));
                assert!(
                    same && found.loss.to_bits() == plain.loss.to_bits(),
                    "{context}"
                );
                check_rows(
                    *backend,
                    &options,
                    &found,
                    (&x, classes, &targets),
                    worst,
                    &context,
                );
            }
        }
    }
    for (backend, worst) in worst {
        println!("{backend:?}: ULP of log-sum-exps, log-probabilities and entropies: {worst:.3?}");
    }
}

/// What other functions give has their bits.
#[test]
fn what_others_give() {
    let mut rng = Rng::new(2);
    for (rows, classes) in [(40, 5), (3, 200), (1, 200_003)] {
        let class = inputs::named("normal 3").unwrap();
        let x: Vec<f32> = (0..rows)
            .flat_map(|_| class.row(rng.bits(), classes))
            .collect();
        let targets: Vec<usize> = (0..rows).map(|_| rng.below(classes)).collect();
        for backend in Backend::available() {
            let exec = Exec::new().backend(backend);
            let (mut losses, mut lse) = (vec![0.0; rows], vec![0.0; rows]);
            exec.logsumexp(&x, classes, &mut lse).unwrap();
            let builder = CrossEntropy::new().exec(exec);
            builder
                .loss_per_row(&x, classes, &targets, &mut losses)
                .unwrap();
            let (mut found, mut probs) = (Found::new(rows), vec![0.0; rows]);
            builder
                .loss_with(&x, classes, &targets, found.outputs())
                .unwrap();
            // Alone too: without the largest class, threads share a row.
            builder
                .loss_with(
                    &x,
                    classes,
                    &targets,
                    RowOutputs::new().log_probs(&mut probs),
                )
                .unwrap();
            // Another class is left out of the sum.
            for (&got, &lse) in found.log_sum_exps.iter().zip(&lse) {
                let want = Want::ulp_of(lse.into(), f64::from(lse).abs().max(1.0));
                let bound = if backend.name() == "scalar" {
                    0.0
                } else {
                    2.0 * bounds::LOG_SUM_EXP.derived.on(backend)
                };
                assert!(want.error(got) <= bound, "{backend:?}: {got}, not {lse}");
            }
            assert_eq!(found.losses, losses, "{backend:?}");
            assert_eq!(probs, found.log_probs, "{backend:?}");
            if backend.name() != "scalar" {
                let negative: Vec<f32> = losses.iter().map(|loss| -loss).collect();
                assert_eq!(probs, negative, "{backend:?}");
            }
        }
    }
}

/// The same bits in a batch as alone, on every backend that fuses, and whatever the number of threads.
#[test]
fn the_bits_do_not_depend_on_where_rows_are() {
    let mut rng = Rng::new(3);
    let fused: Vec<_> = Backend::available().filter(|b| b.is_fused()).collect();
    for (rows, classes) in [
        (47, 1),
        (47, 2),
        (31, 10),
        (17, 64),
        (3, 100),
        (1, 250_007),
        (300, 1000),
    ] {
        for i in 0..4 {
            let class =
                inputs::named(["normal 3", "masked half", "confident"][rng.below(3)]).unwrap();
            let x: Vec<f32> = (0..rows)
                .flat_map(|_| class.row(rng.bits(), classes))
                .collect();
            let targets = Targets::new(i % 2 == 0, rows, classes, &mut rng);
            // With argmax and without, threads that share a row take other steps.
            let run = |exec: Exec, rows: Range<usize>, without_argmax: bool| {
                let x = &x[rows.start * classes..rows.end * classes];
                let builder = CrossEntropy::new().exec(exec).reduction(Reduction::Sum);
                let mut blank = Found::new(rows.len());
                blank.without_argmax = without_argmax;
                targets
                    .of(rows, classes)
                    .run_with(builder, x, classes, blank)
            };
            for backend in Backend::available() {
                let exec = Exec::new().serial().backend(backend);
                let batch = run(exec, 0..rows, false);
                let mut alone = Found::new(0);
                for i in 0..rows {
                    let row = run(exec, i..i + 1, false);
                    alone.losses.extend(row.losses);
                    alone.log_sum_exps.extend(row.log_sum_exps);
                    alone.log_probs.extend(row.log_probs);
                    alone.entropies.extend(row.entropies);
                    alone.argmax.extend(row.argmax);
                    alone.grad.extend(row.grad);
                }
                assert!(
                    batch.bits() == alone.bits(),
                    "{backend:?}, {rows} x {classes}: alone"
                );
                for without_argmax in [false, true] {
                    let mut threads = run(Exec::new().backend(backend), 0..rows, without_argmax);
                    if without_argmax {
                        threads.argmax.clone_from(&batch.argmax);
                    }
                    assert!(
                        batch.bits() == threads.bits(),
                        "{backend:?}, {rows} x {classes}: threads"
                    );
                }
                if fused.contains(&backend) {
                    let other = run(Exec::new().serial().backend(fused[0]), 0..rows, false);
                    assert!(
                        batch.bits() == other.bits(),
                        "{backend:?}, {rows} x {classes}"
                    );
                }
            }
        }
    }
}

/// Special rows, alone and in the midst of enough others for a block.
#[test]
fn special_rows() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    // Logits; log-sum-exp, log-probability, entropy, and the largest class, where masked rows are NaN and where they are zeros.
    let cases = [
        ([nan, inf, nan], [nan, nan, nan], 0, [nan, nan, nan]),
        ([0.0, inf, nan], [nan, nan, nan], 2, [nan, nan, nan]),
        ([0.0, 1.0, nan], [nan, nan, nan], 2, [nan, nan, nan]),
        ([-inf, inf, inf], [inf, nan, nan], 1, [inf, nan, nan]),
        ([-inf; 3], [-inf, nan, nan], 0, [-inf, -inf, 0.0]),
        ([-inf, -inf, 5.0], [5.0, -inf, 0.0], 2, [5.0, -inf, 0.0]),
        (
            [0.0, 0.0, -inf],
            [
                core::f32::consts::LN_2,
                -core::f32::consts::LN_2,
                core::f32::consts::LN_2,
            ],
            0,
            [
                core::f32::consts::LN_2,
                -core::f32::consts::LN_2,
                core::f32::consts::LN_2,
            ],
        ),
    ];
    for backend in Backend::available() {
        for (x, by_default, top, of_zeros) in cases {
            for (masked_rows, want) in [(MaskedRows::Nan, by_default), (MaskedRows::Zero, of_zeros)]
            {
                let builder = CrossEntropy::new()
                    .exec(Exec::new().backend(backend))
                    .masked_rows(masked_rows);
                for rows in [1, 20] {
                    let mut around = vec![0.5_f32; 3 * rows];
                    let at = rows / 2;
                    around[3 * at..][..3].copy_from_slice(&x);
                    let mut one_hot = [1.0, 0.0, 0.0].repeat(rows);
                    for targets in [
                        Targets::Classes(vec![0; rows]),
                        Targets::Probs(one_hot.clone()),
                    ] {
                        let found = targets.run(builder, &around, 3, rows);
                        let got = [
                            found.log_sum_exps[at],
                            found.log_probs[at],
                            found.entropies[at],
                        ];
                        for (got, want) in got.into_iter().zip(want) {
                            let same = if want.is_nan() {
                                got.to_bits() == NAN_BITS
                            } else {
                                (got - want).abs() < 1e-6 || got == want
                            };
                            assert!(
                                same,
                                "{backend:?}, {x:?} in {rows}, {targets:?}: {got}, not {want}"
                            );
                        }
                        assert_eq!(
                            found.argmax[at], top,
                            "{backend:?}, {x:?} in {rows}, {targets:?}"
                        );
                    }
                    // Whatever it holds, it does not count.
                    one_hot[3 * at] = 0.0;
                    let mut classes = vec![0; rows];
                    classes[at] = -100;
                    for targets in [
                        Targets::Classes(classes.clone()),
                        Targets::Probs(one_hot.clone()),
                    ] {
                        let found = targets.run(builder, &around, 3, rows);
                        let got = [
                            found.log_sum_exps[at],
                            found.log_probs[at],
                            found.entropies[at],
                            found.losses[at],
                        ];
                        assert_eq!(
                            (got, found.argmax[at]),
                            ([0.0; 4], 0),
                            "{backend:?}, {x:?} in {rows}, {targets:?}"
                        );
                    }
                }
            }
        }
    }
}

type Make = fn(&mut [f32]) -> RowOutputs<'_>;

/// Errors name the output, and nothing is written.
#[test]
fn outputs_of_another_length() {
    let x = [0.0_f32; 6];
    let mut grad = [3.5_f32; 6];
    let mut short = [3.5_f32; 1];
    let mut argmax = [7; 3];
    let makes: [(&str, Make); 4] = [
        ("losses", |slice| RowOutputs::new().losses(slice)),
        ("log_sum_exps", |slice| {
            RowOutputs::new().log_sum_exps(slice)
        }),
        ("log_probs", |slice| RowOutputs::new().log_probs(slice)),
        ("entropies", |slice| RowOutputs::new().entropies(slice)),
    ];
    let new = CrossEntropy::<f32>::new;
    for (name, make) in makes {
        let expected = Error::OptionLength {
            name,
            expected: 2,
            found: 1,
        };
        assert_eq!(
            new().loss_with(&x, 3, &[0, 1], make(&mut short)),
            Err(expected)
        );
        assert_eq!(
            new().loss_and_grad_with(&x, 3, &[0, 1], &mut grad, make(&mut short)),
            Err(expected)
        );
        assert_eq!(
            new().loss_and_grad_in_place_with(&mut grad, 3, &[0.5; 6], make(&mut short)),
            Err(expected)
        );
    }
    let expected = Error::OptionLength {
        name: "argmax",
        expected: 2,
        found: 3,
    };
    assert_eq!(
        new().loss_with(&x, 3, &[0, 1], RowOutputs::new().argmax(&mut argmax)),
        Err(expected)
    );
    // And where something else is wrong.
    let outputs = RowOutputs::new()
        .argmax(&mut argmax[..2])
        .entropies(&mut grad[..2]);
    assert!(new().loss_with(&x, 3, &[0, 5], outputs).is_err());
    assert!(
        grad.iter()
            .chain(&short)
            .all(|&y| y.to_bits() == 3.5_f32.to_bits())
            && argmax == [7; 3],
        "something was written"
    );
}
