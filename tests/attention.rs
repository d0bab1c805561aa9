//! The options of softmax, over their cross product, on every backend: (log-)probabilities and backward passes against the plain
//! formula in `f64`, the formula's gradient against central differences, and bits: of rows alone, in batches and on threads, and
//! of the same rows with `-inf` where a class takes no part. Prints the worst errors (`-- --nocapture`).
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and some results are exact"
)]

mod common;

use std::fmt::Arguments;

use common::bounds::{self, Bound};
use common::guard::guarded;
use common::inputs::{self, Rng};
use common::oracle::sum;
use common::ulp::{Want, ulp};
use softlane::{Backend, Error, Exec, MaskedRows, Softmax};

const NEG: f32 = f32::NEG_INFINITY;

/// What is on.
#[derive(Clone, Debug, Default)]
struct Options {
    scale: Option<f64>,
    mask: Option<Vec<f32>>,
    flags: Option<Vec<bool>>,
    causal: Option<(usize, usize)>,
    sinks: Option<(Vec<f32>, usize)>,
    masked_rows: MaskedRows,
}

impl Options {
    fn builder(&self, exec: Exec) -> Softmax<'_> {
        let mut builder = Softmax::new().exec(exec).masked_rows(self.masked_rows);
        if let Some(scale) = self.scale {
            builder = builder.logit_scale(scale);
        }
        if let Some(mask) = &self.mask {
            builder = builder.mask(mask);
        }
        if let Some(flags) = &self.flags {
            builder = builder.bool_mask(flags);
        }
        if let Some((queries, offset)) = self.causal {
            builder = builder.causal(queries, offset);
        }
        if let Some((sinks, rows_each)) = &self.sinks {
            builder = builder.sinks(sinks, *rows_each);
        }
        builder
    }

    /// Whether a class takes part, by the boolean and causal masks.
    fn takes_part(&self, row: usize, class: usize, classes: usize) -> bool {
        let flag = |flags: &Vec<bool>| flags[(row * classes + class) % flags.len()];
        let is_seen = |(queries, offset): (usize, usize)| class <= row % queries + offset;
        self.flags.as_ref().is_none_or(flag) && self.causal.is_none_or(is_seen)
    }

    fn added(&self, row: usize, class: usize, classes: usize) -> Option<f32> {
        let mask = self.mask.as_ref()?;
        Some(mask[(row * classes + class) % mask.len()])
    }

    fn sink(&self, row: usize) -> f64 {
        let sink =
            |(sinks, rows_each): &(Vec<f32>, usize)| sinks[row / rows_each % sinks.len()].into();
        self.sinks.as_ref().map_or(f64::NEG_INFINITY, sink)
    }

    /// The factor of a gradient.
    fn factor(&self) -> f64 {
        let scale = self.scale.unwrap_or(1.0);
        if self.mask.is_some() {
            f64::from(scale as f32)
        } else {
            scale
        }
    }

    /// Whether backward passes have the arithmetic of the functions.
    fn has_plain_gradient(&self) -> bool {
        self.scale.is_none_or(|scale| scale == 1.0)
    }

    /// The options of a row, for it alone.
    fn of_row(&self, row: usize, classes: usize) -> Self {
        let at = |len: usize| row * classes % len..row * classes % len + classes;
        Self {
            mask: self.mask.as_ref().map(|mask| mask[at(mask.len())].to_vec()),
            flags: self
                .flags
                .as_ref()
                .map(|flags| flags[at(flags.len())].to_vec()),
            causal: self
                .causal
                .map(|(queries, offset)| (1, row % queries + offset)),
            sinks: self
                .sinks
                .as_ref()
                .map(|_| (vec![self.sink(row) as f32], 1)),
            ..self.clone()
        }
    }
}

/// A row as the formula has it.
struct Exact {
    p: Vec<f64>,
    log_p: Vec<f64>,
    /// The probability of the sink.
    sink: f64,
    /// The largest magnitude of a finite logit, sink included.
    magnitude: f64,
}

/// Of logits `z`, given less the largest, which is `max`, beside a sink. NaN for a row without any probability.
fn formula(d: &[f64], max: f64, sink: f64) -> Exact {
    // -inf - -inf is that.
    let sink_d = if sink == f64::NEG_INFINITY {
        sink
    } else {
        sink - max
    };
    let top = sink_d.max(0.0);
    let place = if sink_d > 0.0 {
        None
    } else {
        d.iter().position(|&d| d == 0.0)
    };
    let weights: Vec<f64> = d.iter().map(|d| (d - top).exp()).collect();
    let other_weights = (0..d.len())
        .filter(|&i| Some(i) != place)
        .map(|i| weights[i]);
    let sink_weight = (sink_d - top).exp();
    let others = sum(other_weights.chain(place.map(|_| sink_weight)));
    let magnitude = |d: f64| if d.is_finite() { (d + max).abs() } else { 0.0 };
    let magnitude = d.iter().map(|&d| magnitude(d)).fold(0.0, f64::max);
    Exact {
        p: weights.iter().map(|w| w / (1.0 + others)).collect(),
        log_p: d.iter().map(|d| (d - top) - others.ln_1p()).collect(),
        sink: sink_weight / (1.0 + others),
        magnitude: if sink.is_finite() {
            magnitude.max(sink.abs())
        } else {
            magnitude
        },
    }
}

/// A row of a batch, by its options; none if no class has a probability.
fn exact(options: &Options, x: &[f32], row: usize) -> Option<Exact> {
    let classes = x.len();
    let takes_part = |class| options.takes_part(row, class, classes);
    let sink = options.sink(row);
    // What z is a multiple of, and the multiple: the difference of two elements is exact.
    let (z, factor): (Vec<f64>, f64) = if options.mask.is_some() {
        let scale = options.scale.unwrap_or(1.0) as f32;
        let z = (0..classes).map(|i| {
            let added = options.added(row, i, classes).unwrap();
            x[i].mul_add(scale, added).into()
        });
        (z.collect(), 1.0)
    } else {
        let z = x.iter().map(|&x| x.into());
        (z.collect(), options.scale.unwrap_or(1.0))
    };
    let z: Vec<f64> = (0..classes)
        .map(|i| {
            if takes_part(i) {
                z[i]
            } else {
                f64::NEG_INFINITY
            }
        })
        .collect();
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        // All of it is the sink's.
        return (sink > max).then(|| Exact {
            p: vec![0.0; classes],
            log_p: vec![f64::NEG_INFINITY; classes],
            sink: 1.0,
            magnitude: 0.0,
        });
    }
    let d: Vec<f64> = z.iter().map(|z| factor * (z - max)).collect();
    Some(formula(&d, factor * max, sink))
}

/// What a logit scale adds to the errors of a weight and of the sum: derived in `src/kernel/scale.rs`.
const SCALED: Bound = Bound {
    fused: 0.1,
    unfused: 0.4,
};

/// With a scale that is not 1: derived in `src/kernel/backward.rs`; the room above that is for totals of cancelling terms.
const BACKWARD: Bound = Bound {
    fused: 1.6,
    unfused: 1.1,
};
/// Of products below this, 2^-118.
const SMALL_BACKWARD: Bound = Bound {
    fused: 3.6,
    unfused: 1.1,
};
const SMALL: f64 = 256.0 * f32::MIN_POSITIVE as f64;
/// With a scale that is above 1, or below 2^-100.
const WIDE_BACKWARD: f64 = 1.1;
const LOG_BACKWARD: Bound = Bound {
    fused: 2.3,
    unfused: 2.7,
};
const SUBNORMAL_LOG_BACKWARD: Bound = Bound {
    fused: 2.8,
    unfused: 3.4,
};

/// A batch, and how it is run.
struct Case<'a> {
    backend: Backend,
    options: &'a Options,
    x: &'a [f32],
    classes: usize,
}

/// Worst errors, as shares of what they may be.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    p: f64,
    log_p: f64,
    backward: f64,
    log_backward: f64,
}

type Method<'a> = fn(Softmax<'a>, &[f32], usize, &mut [f32]) -> Result<(), Error>;
type InPlace<'a> = fn(Softmax<'a>, &mut [f32], usize) -> Result<(), Error>;
type Backward<'a> = fn(Softmax<'a>, &[f32], &[f32], usize, &mut [f32]) -> Result<(), Error>;
type BackwardInPlace<'a> = fn(Softmax<'a>, &[f32], &mut [f32], usize) -> Result<(), Error>;

/// Of softmax, and of log-softmax.
fn backward_calls<'a>() -> [(Backward<'a>, BackwardInPlace<'a>); 2] {
    [
        (Softmax::probs_backward, Softmax::probs_backward_in_place),
        (
            Softmax::log_probs_backward,
            Softmax::log_probs_backward_in_place,
        ),
    ]
}

impl<'a> Case<'a> {
    fn builder(&self) -> Softmax<'a> {
        let exec = Exec::new().serial().backend(self.backend);
        self.options.builder(exec)
    }

    fn is_scalar(&self) -> bool {
        self.backend.name() == "scalar"
    }

    /// In both forms, between guard values.
    fn run(&self, call: Method<'a>, in_place: InPlace<'a>) -> Vec<f32> {
        let (builder, classes) = (self.builder(), self.classes);
        let blank = vec![-7.25_f32; self.x.len()];
        let (y, result) = guarded(&blank, 1, |y| call(builder, self.x, classes, y));
        result.unwrap();
        let (over, result) = guarded(self.x, 3, |x| in_place(builder, x, classes));
        result.unwrap();
        assert_eq!(bits(&over), bits(&y), "{}: in place", self.backend.name());
        y
    }

    fn run_backward(
        &self,
        (y, dy): (&[f32], &[f32]),
        call: Backward<'a>,
        in_place: BackwardInPlace<'a>,
    ) -> Vec<f32> {
        let (builder, classes) = (self.builder(), self.classes);
        let blank = vec![-7.25_f32; self.x.len()];
        let (dx, result) = guarded(&blank, 1, |dx| call(builder, y, dy, classes, dx));
        result.unwrap();
        let (over, result) = guarded(dy, 3, |dy| in_place(builder, y, dy, classes));
        result.unwrap();
        assert_eq!(bits(&over), bits(&dx), "{}: in place", self.backend.name());
        dx
    }

    fn check(&self, rng: &mut Rng, context: Arguments<'_>) -> Worst {
        let mut worst = Worst::default();
        let p = self.run(Softmax::probs, Softmax::probs_in_place);
        let log_p = self.run(Softmax::log_probs, Softmax::log_probs_in_place);
        let scaled = if self.options.scale.is_some() {
            SCALED.on(self.backend)
        } else {
            0.0
        };
        for (row, x) in self.x.chunks(self.classes).enumerate() {
            let at = row * self.classes..(row + 1) * self.classes;
            let (p, log_p) = (&p[at.clone()], &log_p[at]);
            let Some(exact) = exact(self.options, x, row) else {
                let (want, want_log) = match self.options.masked_rows {
                    MaskedRows::Nan => (f32::NAN, f32::NAN),
                    MaskedRows::Zero => (0.0, NEG),
                };
                let is = |y: &[f32], want: f32| y.iter().all(|y| y.to_bits() == want.to_bits());
                assert!(is(p, want) && is(log_p, want_log), "{context}, row {row}");
                continue;
            };
            // That of the textbook formula: each logit is off by some ULP of itself, a sum by one for each term.
            let textbook = 3.0 * exact.magnitude + 2.0 * x.len() as f64 + 16.0;
            for i in 0..x.len() {
                let (want, want_log) = (exact.p[i], exact.log_p[i]);
                if !self.options.takes_part(row, i, x.len()) {
                    assert_eq!((p[i], log_p[i]), (0.0, NEG), "{context}, row {row}, {i}");
                }
                let (bound, log_bound, log_operand) = if self.is_scalar() {
                    let operand = want_log.abs().max(1.0);
                    (textbook, textbook, operand)
                } else {
                    (
                        bounds::probability(want).on(self.backend) + scaled,
                        bounds::LOG_PROBABILITY.derived.on(self.backend),
                        want_log,
                    )
                };
                let error = Want::ulp(want).error(p[i]) / bound;
                assert!(
                    error <= 1.0,
                    "{context}, row {row}: probability {i} is {:e}, not {want:e}: {error} of {bound} ULP",
                    p[i]
                );
                let log_want = if want_log.is_finite() {
                    Want::ulp_of(want_log, log_operand)
                } else {
                    Want::exactly(want_log)
                };
                let log_error = log_want.error(log_p[i]) / log_bound;
                assert!(
                    log_error <= 1.0,
                    "{context}, row {row}: log-probability {i} is {:e}, not {want_log:e}: {log_error} of {log_bound} ULP",
                    log_p[i]
                );
                worst.p = worst.p.max(error);
                worst.log_p = worst.log_p.max(log_error);
            }
        }
        self.check_backward(&p, &log_p, rng, &mut worst, context);
        worst
    }

    fn check_backward(
        &self,
        p: &[f32],
        log_p: &[f32],
        rng: &mut Rng,
        worst: &mut Worst,
        context: Arguments<'_>,
    ) {
        let classes = self.classes;
        let hidden = |i: usize| !self.options.takes_part(i / classes, i % classes, classes);
        // Whatever there is where a class takes no part.
        let dy: Vec<f32> = (0..self.x.len())
            .map(|i| {
                if hidden(i) {
                    [f32::NAN, f32::INFINITY, 1e38][i % 3]
                } else {
                    rng.normal() as f32
                }
            })
            .collect();
        let poisoned = |y: &[f32]| -> Vec<f32> {
            let y = y.iter().enumerate();
            y.map(|(i, &y)| if hidden(i) { f32::NAN } else { y })
                .collect()
        };
        let (p, log_p) = (poisoned(p), poisoned(log_p));
        let calls = backward_calls();
        for (is_log, y) in [(false, &p), (true, &log_p)] {
            let (call, in_place) = calls[usize::from(is_log)];
            let dx = self.run_backward((y, &dy), call, in_place);
            for row in 0..self.x.len() / classes {
                let at = row * classes..(row + 1) * classes;
                let (y, dy, dx) = (&y[at.clone()], &dy[at.clone()], &dx[at]);
                let error = self.backward_error(is_log, row, y, dy, dx, context);
                if is_log {
                    worst.log_backward = worst.log_backward.max(error);
                } else {
                    worst.backward = worst.backward.max(error);
                }
            }
        }
    }

    /// The worst error of the gradients `dx` of a row, as a share of what it may be.
    fn backward_error(
        &self,
        is_log: bool,
        row: usize,
        y: &[f32],
        dy: &[f32],
        dx: &[f32],
        context: Arguments<'_>,
    ) -> f64 {
        let takes_part = |i: &usize| self.options.takes_part(row, *i, y.len());
        let part: Vec<usize> = (0..y.len()).filter(takes_part).collect();
        let term = |&i: &usize| {
            let (y, dy) = (f64::from(y[i]), f64::from(dy[i]));
            if is_log { dy } else { y * dy }
        };
        let total = sum(part.iter().map(term));
        let magnitudes = sum(part.iter().map(|i| term(i).abs()));
        let s = self.options.factor();
        let mut worst = 0.0_f64;
        for i in 0..y.len() {
            if !takes_part(&i) {
                assert_eq!(dx[i].to_bits(), 0, "{context}, row {row}, {i}: {:e}", dx[i]);
                continue;
            }
            let y = f64::from(y[i]);
            let p = if is_log { y.exp() } else { y };
            let (own, others) = (term(&i), p * total);
            let is_subnormal = is_log && p < f32::MIN_POSITIVE.into();
            let least = if is_subnormal {
                f64::from(f32::MIN_POSITIVE) * total.abs()
            } else {
                0.0
            };
            let mut operand = own.abs().max(others.abs()).max(least);
            let bound = if self.is_scalar() {
                operand += p * magnitudes;
                2.0 * self.classes as f64 + 16.0
            } else if self.options.has_plain_gradient() && is_log {
                bounds::LOG_SOFTMAX_BACKWARD.derived.on(self.backend)
            } else if self.options.has_plain_gradient() {
                bounds::SOFTMAX_BACKWARD.derived.on(self.backend)
            } else if is_subnormal {
                SUBNORMAL_LOG_BACKWARD.on(self.backend)
            } else if is_log {
                LOG_BACKWARD.on(self.backend)
            } else if !((-100_f64).exp2()..=1.0).contains(&s) {
                WIDE_BACKWARD
            } else if s * operand < SMALL {
                SMALL_BACKWARD.on(self.backend)
            } else {
                BACKWARD.on(self.backend)
            };
            let mut want = Want::ulp_of(s * (own - others), s * operand);
            if self.is_scalar() {
                // Its products are rounded before they are scaled.
                want.unit = want.unit.max(s * f64::from(f32::from_bits(1)));
            }
            let error = want.error(dx[i]) / bound;
            assert!(
                error <= 1.0,
                "{context}, row {row}: gradient {i} (log: {is_log}) is {:e}, not {:e}: {error} of {bound} ULP of {operand:e}",
                dx[i],
                want.value
            );
            worst = worst.max(error);
        }
        worst
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Numbers that divide another.
fn divisor(of: usize, rng: &mut Rng) -> usize {
    loop {
        let divisor = 1 + rng.below(of);
        if of.is_multiple_of(divisor) {
            return divisor;
        }
    }
}

/// The options that are combined, for so many classes and rows.
fn products(rows: usize, classes: usize, rng: &mut Rng) -> Vec<Options> {
    let mut products = vec![];
    let scales = [
        None,
        Some(1.0),
        Some(0.37),
        Some(3.5),
        Some(1.0 / 1024.0),
        Some(40_000.0),
        Some(1e-9),
        Some(1e15),
    ];
    for scale in scales {
        for has in 0..8 {
            for sink in 0..4 {
                let added = |rng: &mut Rng| match rng.below(5) {
                    0 => NEG,
                    _ => (4.0 * rng.normal()) as f32,
                };
                let mask_rows = divisor(rows, rng);
                let mask =
                    (has & 1 != 0).then(|| (0..mask_rows * classes).map(|_| added(rng)).collect());
                let flag_rows = divisor(rows, rng);
                // Some rows have no class that takes part.
                let flags = (has & 2 != 0).then(|| {
                    (0..flag_rows)
                        .flat_map(|_| {
                            let share = [0, 1, 2, 6][rng.below(4)];
                            (0..classes)
                                .map(|_| rng.below(6) < share)
                                .collect::<Vec<_>>()
                        })
                        .collect()
                });
                let causal = (has & 4 != 0).then(|| {
                    let offset = [0, 1, classes / 2, classes, rng.below(classes)][rng.below(5)];
                    (divisor(rows, rng), offset)
                });
                // Among the logits, high above, and far from all of them.
                let spread = [0.0, 3.0, 60.0, 3000.0][sink];
                let sinks = (sink > 0).then(|| {
                    let rows_each = divisor(rows, rng);
                    let count = divisor(rows / rows_each, rng);
                    let one = |rng: &mut Rng| match rng.below(6) {
                        0 => NEG,
                        _ => (spread * rng.normal()) as f32,
                    };
                    ((0..count).map(|_| one(rng)).collect(), rows_each)
                });
                products.push(Options {
                    scale,
                    mask,
                    flags,
                    causal,
                    sinks,
                    masked_rows: if rng.coin() {
                        MaskedRows::Nan
                    } else {
                        MaskedRows::Zero
                    },
                });
            }
        }
    }
    products
}

/// Rows of a kind, so large that the scale leaves something to tell.
fn logits(kind: &str, rows: usize, classes: usize, scale: f64, rng: &mut Rng) -> Vec<f32> {
    let class = inputs::named(kind).unwrap();
    let x = (0..rows).flat_map(|_| class.row(rng.bits(), classes));
    // So that a small factor leaves something to tell, where there is room.
    let scaled = |x: f32| {
        let larger = x / scale as f32;
        if larger.is_finite() { larger } else { x }
    };
    x.map(scaled).collect()
}

/// However far a sink is above the scaled logits, or between two floats that would weigh as much.
#[test]
fn sinks_that_no_logit_weighs_as_much_as() {
    for backend in Backend::available().filter(|b| b.name() != "scalar") {
        let exec = Exec::new().backend(backend);
        for scale in [0.1, 0.3, 0.37, 0.7, 0.9, 3.0] {
            for sink in [-4e8_f32, 50.0, 1e5, 4e8, 1e9, 2e9, 5e9, 1e10, 3e38] {
                let near = (f64::from(sink) / scale) as f32;
                if !near.is_finite() {
                    continue;
                }
                let x = [0.0, near, near.next_down(), near.next_up(), -1e30, 7.0];
                let hidden = [true, true, true, true, true, false];
                let mut p = [9.0; 6];
                Softmax::new()
                    .exec(exec)
                    .logit_scale(scale)
                    .bool_mask(&hidden)
                    .sinks(&[sink], 1)
                    .probs(&x, 6, &mut p)
                    .unwrap();
                // The product with the factor is not rounded.
                let distance = |x: f32| scale.mul_add(f64::from(x), -f64::from(sink));
                let top = x[..5].iter().map(|&x| distance(x)).fold(0.0, f64::max);
                let weight = |x: f32| (distance(x) - top).exp();
                let total = (-top).exp() + x[..5].iter().map(|&x| weight(x)).sum::<f64>();
                for (k, (&x, &p)) in x[..5].iter().zip(&p).enumerate() {
                    let exact = weight(x) / total;
                    // What the documentation says of large products.
                    let share = scale * f64::from(near.abs()) * (-52_f64).exp2();
                    let bound = bounds::probability(exact).on(backend) + SCALED.on(backend);
                    let room = exact * share + bound * ulp(exact);
                    assert!(
                        (f64::from(p) - exact).abs() <= room,
                        "{backend:?}, {scale} and {sink:e}, {k}: {p:e}, not {exact:e}"
                    );
                }
                assert_eq!(p[5], 0.0, "{backend:?}, {scale} and {sink:e}: hidden");
            }
        }
    }
}

/// A product and a sum that `f64` would round to half way between two floats.
#[test]
fn masked_logits_are_rounded_once() {
    let x = [9_839_293.0 * (-32_f32).exp2(), 0.0];
    let (scale, mask) = (14_303_618.0 * (-23_f32).exp2(), [65_536.0; 2]);
    assert_eq!(scale.mul_add(x[0], mask[0]), 65_536_f32.next_up());
    for backend in Backend::available() {
        let softmax = Softmax::new().exec(Exec::new().backend(backend));
        let softmax = softmax.logit_scale(scale.into()).mask(&mask);
        let mut p = [9.0; 2];
        softmax.probs(&x, 2, &mut p).unwrap();
        assert!((p[0] - 0.501_953_1).abs() < 1e-6, "{backend:?}: {p:?}");
    }
}

#[test]
fn every_combination_follows_the_formula() {
    let mut rng = Rng::new(1);
    let mut worst: Vec<_> = Backend::available()
        .map(|backend| (backend, Worst::default()))
        .collect();
    // With a scale alone: blocks of rows that are full or not. With masks: vectors that are full or not, and several chunks.
    let shapes = [
        (1, 1),
        (4, 1),
        (16, 2),
        (30, 3),
        (36, 5),
        (48, 10),
        (24, 16),
        (18, 33),
        (12, 64),
        (4, 65),
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
        let combinations = products(rows, classes, &mut rng);
        // Long rows have fewer of them, but every option.
        let step = if classes > 1000 { 7 } else { 1 };
        for (i, options) in combinations.iter().enumerate().step_by(step) {
            let kind = kinds[rng.below(kinds.len())];
            let scale = options.scale.unwrap_or(1.0);
            let x = logits(kind, rows, classes, scale, &mut rng);
            for (backend, worst) in &mut worst {
                let case = Case {
                    backend: *backend,
                    options,
                    x: &x,
                    classes,
                };
                let found = case.check(
                    &mut rng.clone(),
                    format_args!("{backend:?}, {rows} x {classes} {kind}, {i}: {options:?}"),
                );
                *worst = Worst {
                    p: worst.p.max(found.p),
                    log_p: worst.log_p.max(found.log_p),
                    backward: worst.backward.max(found.backward),
                    log_backward: worst.log_backward.max(found.log_backward),
                };
            }
        }
    }
    for (backend, worst) in worst {
        println!("{backend:?}: of what errors may be, {worst:.3?}");
    }
}

/// The formulas of the documentation, those of sinks included: the other tests compare with them.
#[test]
fn gradients_of_the_formula_are_its_differences() {
    let mut rng = Rng::new(2);
    for i in 0..400 {
        let (classes, is_log) = (1 + rng.below(6), i % 2 == 1);
        let (s, sink) = (rng.between(0.3, 2.0), 2.0 * rng.normal());
        let x: Vec<f64> = (0..classes).map(|_| rng.normal()).collect();
        let mask: Vec<f64> = (0..classes).map(|_| rng.normal()).collect();
        let g: Vec<f64> = (0..classes).map(|_| rng.normal()).collect();
        let takes_part: Vec<bool> = (0..classes).map(|i| i == 0 || rng.coin()).collect();
        let run = |x: &[f64], sink: f64| {
            let z: Vec<f64> = (0..classes)
                .map(|i| {
                    if takes_part[i] {
                        s * x[i] + mask[i]
                    } else {
                        f64::NEG_INFINITY
                    }
                })
                .collect();
            let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let d: Vec<f64> = z.iter().map(|z| z - max).collect();
            (formula(&d, max, sink), z)
        };
        let part = || (0..classes).filter(|&i| takes_part[i]);
        let loss = |x: &[f64], sink: f64| {
            let row = run(x, sink).0;
            let y = if is_log { &row.log_p } else { &row.p };
            sum(part().map(|i| g[i] * y[i]))
        };
        let (row, z) = run(&x, sink);
        let total = sum(part().map(|i| if is_log { g[i] } else { row.p[i] * g[i] }));
        let h = 1e-5;
        for k in 0..classes {
            let at = |d: f64| {
                let mut x = x.clone();
                x[k] += d;
                loss(&x, sink)
            };
            let difference = (at(h) - at(-h)) / (2.0 * h);
            let gradient = if !takes_part[k] {
                0.0
            } else if is_log {
                s * (g[k] - row.p[k] * total)
            } else {
                s * row.p[k] * (g[k] - total)
            };
            assert!(
                (difference - gradient).abs() < 1e-8,
                "{i}, {k}: {difference} of {gradient}"
            );
        }
        let difference = (loss(&x, sink + h) - loss(&x, sink - h)) / (2.0 * h);
        assert!((difference + row.sink * total).abs() < 1e-8, "{i}: sink");
        for k in part() {
            let share = (sink - z[k] + row.log_p[k]).exp();
            assert!((share - row.sink).abs() < 1e-12, "{i}: share of the sink");
        }
    }
}

/// All that a batch has.
fn everything(options: &Options, exec: Exec, x: &[f32], classes: usize) -> [Vec<u32>; 4] {
    let builder = options.builder(exec);
    let mut results = [(); 4].map(|()| vec![-7.25_f32; x.len()]);
    let [p, log_p, dx, log_dx] = &mut results;
    builder.probs(x, classes, p).unwrap();
    builder.log_probs(x, classes, log_p).unwrap();
    // Any numbers will do for a gradient.
    builder.probs_backward(p, x, classes, dx).unwrap();
    builder
        .log_probs_backward(log_p, x, classes, log_dx)
        .unwrap();
    results.map(|y| bits(&y))
}

/// The same bits in a batch as alone, on every backend that fuses, and whatever the number of threads.
#[test]
fn options_leave_the_bits_alone() {
    let mut rng = Rng::new(3);
    let fused: Vec<_> = Backend::available()
        .filter(|backend| backend.is_fused())
        .collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let pool = pool.unwrap();
    for (rows, classes) in [
        (48, 2),
        (30, 10),
        (30, 33),
        (18, 64),
        (4, 100),
        (144, 1000),
        (2, 70_001),
    ] {
        let combinations = products(rows, classes, &mut rng);
        let step = if classes >= 1000 { 29 } else { 3 };
        for options in combinations.iter().step_by(step) {
            let kind = ["normal 3", "masked half", "confident"][rng.below(3)];
            let scale = options.scale.unwrap_or(1.0);
            let x = logits(kind, rows, classes, scale, &mut rng);
            for backend in Backend::available() {
                let exec = Exec::new().serial().backend(backend);
                let batch = everything(options, exec, &x, classes);
                for (row, x) in x.chunks(classes).enumerate() {
                    let alone = everything(&options.of_row(row, classes), exec, x, classes);
                    for (batch, alone) in batch.iter().zip(alone) {
                        assert_eq!(
                            batch[row * classes..][..classes],
                            alone,
                            "{backend:?}, {classes} classes, row {row}: {options:?}"
                        );
                    }
                }
                let spread =
                    pool.install(|| everything(options, Exec::new().backend(backend), &x, classes));
                assert_eq!(batch, spread, "{backend:?}: threads, {options:?}");
                if fused.contains(&backend) {
                    let other = Exec::new().serial().backend(fused[0]);
                    let other = everything(options, other, &x, classes);
                    assert_eq!(batch, other, "{backend:?}: {options:?}");
                }
            }
        }
    }
}

/// Short rows go sixteen at a time, but for those with sinks: with one that is none, the bits are the same.
#[test]
fn rows_in_blocks_and_one_by_one() {
    let mut rng = Rng::new(5);
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let exec = Exec::new().serial().backend(backend);
        for (rows, classes) in (1..=66)
            .chain([100, 128, 129])
            .flat_map(|classes| [13, 16, 33, 47, 48].map(|rows| (rows, classes)))
        {
            let kind = ["normal 3", "masked half", "confident"][rng.below(3)];
            for has in 1..8 {
                let scale = rng.coin().then_some(0.37);
                let mut x = logits(kind, rows, classes, 1.0, &mut rng);
                // In some batches, a row that blocks leave alone.
                if rng.below(3) == 0 {
                    x[rng.below(rows * classes)] = [f32::NAN, f32::INFINITY, 1e9][rng.below(3)];
                }
                let added = |rng: &mut Rng| match rng.below(9) {
                    0 => NEG,
                    _ => rng.normal() as f32,
                };
                let len = divisor(rows, &mut rng) * classes;
                let mask = (has & 1 != 0).then(|| (0..len).map(|_| added(&mut rng)).collect());
                // Some rows show nothing.
                let flag_rows = divisor(rows, &mut rng);
                let shown: Vec<bool> = (0..flag_rows).map(|_| rng.below(9) > 0).collect();
                let flag = |i: usize| shown[i / classes] && rng.below(8) > 0;
                let flags = (has & 2 != 0).then(|| (0..flag_rows * classes).map(flag).collect());
                let causal =
                    (has & 4 != 0).then(|| (divisor(rows, &mut rng), rng.below(classes + 2)));
                let masked_rows = [MaskedRows::Nan, MaskedRows::Zero][rng.below(2)];
                let options = Options {
                    scale,
                    mask,
                    flags,
                    causal,
                    masked_rows,
                    ..Options::default()
                };
                let in_blocks = both(options.builder(exec), &x, classes);
                let mut in_place = x.clone();
                let builder = options.builder(exec);
                builder.probs_in_place(&mut in_place, classes).unwrap();
                assert_eq!(
                    bits(&in_place),
                    bits(&in_blocks[0]),
                    "{backend:?}: {options:?}"
                );
                let one_by_one = both(options.builder(exec).sinks(&[NEG], 1), &x, classes);
                for (in_blocks, one_by_one) in in_blocks.iter().zip(&one_by_one) {
                    assert_eq!(
                        bits(in_blocks),
                        bits(one_by_one),
                        "{backend:?}, {rows} rows of {classes}: {options:?}"
                    );
                }
            }
        }
    }
}

/// Whatever says that a class takes no part, the bits are those of the row with `-inf` there, or, of causal rows, of the row that ends there; and a sum with a mask is a logit.
#[test]
fn masks_are_rows_with_their_logits() {
    let mut rng = Rng::new(4);
    let mut prefixes = 0;
    for (rows, classes) in [(6, 1), (12, 5), (6, 40), (4, 64), (4, 200), (4, 9000)] {
        for options in products(rows, classes, &mut rng).into_iter().step_by(3) {
            let kind = ["normal 3", "normal 40", "confident", "offset -1e5"][rng.below(4)];
            let scale = options.scale.unwrap_or(1.0);
            let x = logits(kind, rows, classes, scale, &mut rng);
            for backend in Backend::available() {
                let z: Vec<f32> = (0..x.len())
                    .map(|i| {
                        let (row, class) = (i / classes, i % classes);
                        if !options.takes_part(row, class, classes) {
                            NEG
                        } else if let Some(added) = options.added(row, class, classes) {
                            x[i].mul_add(scale as f32, added)
                        } else {
                            x[i]
                        }
                    })
                    .collect();
                let plain = Options {
                    scale: if options.mask.is_some() {
                        None
                    } else {
                        options.scale
                    },
                    sinks: options.sinks.clone(),
                    masked_rows: options.masked_rows,
                    ..Options::default()
                };
                let exec = Exec::new().backend(backend);
                let [p, log_p, ..] = everything(&options, exec, &x, classes);
                let [want_p, want_log_p, ..] = everything(&plain, exec, &z, classes);
                // How the sum of a row is taken depends on how many it sees: sums may be 0.55 u apart, and logarithms are rounded twice.
                let same = |a: &[u32], b: &[u32]| {
                    let apart = 2 * u32::from(options.causal.is_some());
                    a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= apart)
                };
                assert!(
                    same(&p, &want_p) && same(&log_p, &want_log_p),
                    "{backend:?}, {classes} classes of {kind}: {options:?}"
                );
                let is_prefix = options.causal.is_some() && options.flags.is_none();
                if !is_prefix || options.mask.is_some() || options.sinks.is_some() {
                    continue;
                }
                for row in 0..rows {
                    let seen = (0..classes)
                        .filter(|&k| options.takes_part(row, k, classes))
                        .count();
                    if seen == 0 {
                        continue;
                    }
                    let at = row * classes..row * classes + seen;
                    let [alone, log_alone, ..] = everything(&plain, exec, &x[at.clone()], seen);
                    assert_eq!(alone, p[at.clone()], "{backend:?}, {seen} of {classes}");
                    assert_eq!(log_alone, log_p[at], "{backend:?}, {seen} of {classes}");
                    prefixes += 1;
                }
            }
        }
    }
    assert!(prefixes > 0);
}

/// Causal rows whose maxima are found while the row before is weighed, from a class on that begins no vector: what is left out is in a lane of
/// its own beside the next largest, or before it. (Bits show next to nothing of that; with debug assertions, the kernel compares the maxima of lanes.)
#[test]
fn causal_rows_are_rows_that_end_there() {
    let (rows, classes) = (4, 300);
    for offset in 66..140 {
        let last = offset + rows - 1;
        for (top, second) in [
            (last, 0),
            (last, 16),
            (last - 1, last),
            (last - 1, last % 16),
        ] {
            let row = |_| {
                (0..classes).map(move |k| match k {
                    _ if k == top => 0.0,
                    _ if k == second => -3.0,
                    _ => -30.0 + (k % 7) as f32,
                })
            };
            let x: Vec<f32> = (0..rows).flat_map(row).collect();
            for backend in Backend::available() {
                let exec = Exec::new().backend(backend).serial();
                let causal = Softmax::new().causal(rows, offset).exec(exec);
                let (mut p, mut log_p) = (x.clone(), x.clone());
                causal.probs(&x, classes, &mut p).unwrap();
                causal.log_probs(&x, classes, &mut log_p).unwrap();
                for i in 0..rows {
                    let seen = i * classes..i * classes + offset + i + 1;
                    let (mut alone, mut log_alone) =
                        (x[seen.clone()].to_vec(), vec![0.0; seen.len()]);
                    exec.log_softmax(&alone, seen.len(), &mut log_alone)
                        .unwrap();
                    exec.softmax_in_place(&mut alone, seen.len()).unwrap();
                    assert_eq!(
                        bits(&p[seen.clone()]),
                        bits(&alone),
                        "{backend:?}, {offset}"
                    );
                    assert_eq!(
                        bits(&log_p[seen]),
                        bits(&log_alone),
                        "{backend:?}, {offset}"
                    );
                }
            }
        }
    }
}

/// Options that are on and do nothing.
#[test]
fn neutral_options_change_nothing() {
    let x: Vec<f32> = (0..12 * 70).map(|i| (i * 37 % 101) as f32 / 9.0).collect();
    let neutral = Options {
        scale: Some(1.0),
        mask: Some(vec![0.0; 70]),
        flags: Some(vec![true; 140]),
        causal: Some((4, 69)),
        sinks: Some((vec![NEG], 3)),
        masked_rows: MaskedRows::Nan,
    };
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let [p, log_p, ..] = everything(&neutral, exec, &x, 70);
        let mut y = vec![0.0; x.len()];
        exec.softmax(&x, 70, &mut y).unwrap();
        assert_eq!(p, bits(&y), "{backend:?}");
        exec.log_softmax(&x, 70, &mut y).unwrap();
        assert_eq!(log_p, bits(&y), "{backend:?}");
    }
}

/// Probabilities and log-probabilities of a batch.
#[track_caller]
fn both(softmax: Softmax<'_>, x: &[f32], classes: usize) -> [Vec<f32>; 2] {
    let mut results = [(); 2].map(|()| vec![9.0; x.len()]);
    softmax.probs(x, classes, &mut results[0]).unwrap();
    softmax.log_probs(x, classes, &mut results[1]).unwrap();
    results
}

fn is_nan(y: &[f32]) -> bool {
    y.iter().all(|y| y.to_bits() == f32::NAN.to_bits())
}

#[test]
fn rows_that_are_special() {
    let inf = f32::INFINITY;
    for backend in Backend::available() {
        let softmax = Softmax::new().exec(Exec::new().backend(backend));
        let zero = softmax.masked_rows(MaskedRows::Zero);
        // What takes no part may be anything.
        for wrong in [f32::NAN, inf, NEG, f32::MAX] {
            let x = [0.0, wrong, 0.0];
            let [p, log_p] = both(softmax.bool_mask(&[true, false, true]), &x, 3);
            assert_eq!(p, [0.5, 0.0, 0.5], "{backend:?}");
            let ln_2 = -core::f32::consts::LN_2;
            assert_eq!(log_p, [ln_2, NEG, ln_2], "{backend:?}");
            let [p, log_p] = both(softmax.causal(1, 0), &x, 3);
            assert_eq!((p, log_p), (vec![1.0, 0.0, 0.0], vec![0.0, NEG, NEG]));
        }
        // What takes part makes the row NaN, and no other one.
        for wrong in [f32::NAN, inf] {
            let x = [wrong, 0.0, 0.0, 0.0];
            for builder in [
                softmax.causal(2, 0),
                softmax.bool_mask(&[true, false]),
                softmax.mask(&[0.0, NEG]),
                softmax.sinks(&[0.0], 1),
                softmax.logit_scale(2.0),
                zero.causal(2, 0).sinks(&[9.0], 2),
            ] {
                for y in both(builder, &x, 2) {
                    assert!(is_nan(&y[..2]), "{backend:?}: {builder:?}: {y:?}");
                    assert!(y[2..].iter().all(|y| !y.is_nan()), "{backend:?}: {y:?}");
                }
            }
        }
        // A mask is data.
        for y in both(softmax.mask(&[0.0, f32::NAN]), &[0.0; 2], 2) {
            assert!(is_nan(&y), "{backend:?}");
        }
        for (x, m) in [(inf, NEG), (NEG, inf), (0.0, inf), (f32::MAX, f32::MAX)] {
            for y in both(softmax.mask(&[m, 0.0]), &[x, 0.0], 2) {
                assert!(is_nan(&y), "{backend:?}: {x} + {m}");
            }
        }
        // Masked throughout.
        let none = [false; 3];
        for (builder, x) in [
            (softmax.bool_mask(&none), [1.0; 3]),
            (softmax.mask(&[NEG; 3]), [1.0; 3]),
            (softmax.causal(1, 0), [NEG, 1.0, 2.0]),
            (softmax.sinks(&[NEG], 1), [NEG; 3]),
            (softmax.logit_scale(0.5), [NEG; 3]),
        ] {
            for y in both(builder, &x, 3) {
                assert!(is_nan(&y), "{backend:?}: {builder:?}: {y:?}");
            }
            let zeros = [vec![0.0; 3], vec![NEG; 3]];
            let y = both(builder.masked_rows(MaskedRows::Zero), &x, 3);
            assert_eq!(y, zeros, "{backend:?}: {builder:?}");
            // But beside a sink.
            let y = both(builder.sinks(&[-1e30], 1), &x, 3);
            assert_eq!(y, zeros, "{backend:?}: {builder:?}");
        }
        // Sinks are data.
        for wrong in [f32::NAN, inf] {
            for x in [[0.0, 1.0], [NEG, NEG]] {
                for y in both(zero.sinks(&[wrong], 1), &x, 2) {
                    assert!(is_nan(&y), "{backend:?}: {wrong}");
                }
            }
        }
        // A class that is nearly sure of it, beside a sink that is not.
        let [p, log_p] = both(softmax.sinks(&[0.0], 1), &[20.0], 1);
        assert_eq!(p, [1.0], "{backend:?}");
        if backend.name() != "scalar" {
            let want = Want::ulp(-(-20_f64).exp().ln_1p());
            let error = want.error(log_p[0]);
            assert!(error < 1.6, "{backend:?}: {log_p:?}: {error}");
        }
        // Nothing at all.
        let builder = softmax.mask(&[]).bool_mask(&[]).sinks(&[], 1).causal(3, 0);
        for classes in [0, 5] {
            assert_eq!(both(builder, &[], classes), [[]; 2]);
        }
    }
}

/// Batches of short rows that threads share: each knows the number of its first row, and of those that blocks leave alone.
#[test]
fn places_of_short_rows_on_many_threads() {
    const CLASSES: usize = 10;
    // Whose periods meet blocks anywhere.
    const ROWS: usize = 7 * 25 * 250;
    let mut rng = Rng::new(6);
    let mut x = logits("normal 3", ROWS, CLASSES, 1.0, &mut rng);
    for row in (0..ROWS).step_by(333) {
        x[row * CLASSES + row % CLASSES] = f32::NAN;
    }
    let mask = (0..25 * CLASSES).map(|_| rng.normal() as f32).collect();
    let flags = (0..7 * CLASSES)
        .map(|i| i % CLASSES == 0 || rng.coin())
        .collect();
    let all = Options {
        mask: Some(mask),
        flags: Some(flags),
        causal: Some((35, 1)),
        ..Options::default()
    };
    let one = |options: &Options| options.clone();
    let each = [
        Options {
            flags: None,
            causal: None,
            ..one(&all)
        },
        Options {
            mask: None,
            causal: None,
            ..one(&all)
        },
        Options {
            mask: None,
            flags: None,
            ..one(&all)
        },
        all,
    ];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let pool = pool.unwrap();
    for backend in Backend::available() {
        for options in &each {
            let exec = Exec::new().backend(backend);
            let serial = both(options.builder(exec.serial()), &x, CLASSES);
            let spread = pool.install(|| both(options.builder(exec), &x, CLASSES));
            let row_by_row = both(options.builder(exec.serial()).sinks(&[NEG], 1), &x, CLASSES);
            for i in 0..2 {
                let [serial, spread, row_by_row] =
                    [&serial, &spread, &row_by_row].map(|y| bits(&y[i]));
                assert!(serial == spread, "{backend:?}: threads");
                assert!(serial == row_by_row, "{backend:?}: blocks");
            }
        }
    }
}

/// Where a gradient `dy` is infinite or not a number, a mask that hides nothing leaves the kind of each result as the function has it; and what a mask
/// hides has gradient 0 beside anything (softmax).
#[test]
fn gradients_that_are_special() {
    fn kind(x: f32) -> (bool, bool, bool) {
        (
            x.is_nan(),
            x.is_infinite(),
            x.is_sign_negative() && x != 0.0,
        )
    }
    let y = [0.5, 0.25, 0.0, 0.25];
    let log_y = y.map(f32::ln);
    let kinds = [1.0, -2.0, 0.0, f32::INFINITY, NEG, f32::NAN];
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let shown = Softmax::new().exec(exec).bool_mask(&[true; 4]);
        let hidden = Softmax::new()
            .exec(exec)
            .bool_mask(&[true, false, true, true]);
        for turn in 0..kinds.len().pow(4) {
            let digit = |i: u32| kinds[turn / kinds.len().pow(i) % kinds.len()];
            let dy = [digit(0), digit(1), digit(2), digit(3)];
            let (mut plain, mut masked) = ([9.0; 4], [9.0; 4]);
            let compare = |plain: &[f32; 4], masked: &[f32; 4], what: &str| {
                let kinds = [plain, masked].map(|dx| dx.map(kind));
                assert_eq!(
                    kinds[0], kinds[1],
                    "{backend:?}, {what}, {dy:?}: {plain:?}, {masked:?}"
                );
            };
            exec.softmax_backward(&y, &dy, 4, &mut plain).unwrap();
            shown.probs_backward(&y, &dy, 4, &mut masked).unwrap();
            compare(&plain, &masked, "softmax");
            exec.log_softmax_backward(&log_y, &dy, 4, &mut plain)
                .unwrap();
            shown
                .log_probs_backward(&log_y, &dy, 4, &mut masked)
                .unwrap();
            compare(&plain, &masked, "log-softmax");
            // As if the class were not there.
            let (y, without) = ([0.5, 0.0, 0.25], [dy[0], dy[2], dy[3]]);
            let mut three = [9.0; 3];
            exec.softmax_backward(&y, &without, 3, &mut three).unwrap();
            hidden
                .probs_backward(&[0.5, 7.0, 0.0, 0.25], &dy, 4, &mut masked)
                .unwrap();
            let [a, b, c] = three;
            compare(&[a, 0.0, b, c], &masked, "a hidden class");
        }
    }
}

/// Totals that are large or hardly there, gradients from subnormal to the largest, and scales on both sides of 1 and of 2^-100 and near the ends: every
/// way that results are written.
#[test]
fn gradients_at_the_ends_of_the_range() {
    const ROWS: usize = 8;
    let magnitudes = [
        1e-44, 1e-38, 3e-37, 1e-20, 1.0, 1e20, 1e29, 2e30, 1e37, 3.4e38,
    ];
    let least = (-100_f64).exp2();
    let scales = [
        1e-45,
        1e-44,
        1e-40,
        1.5e-38,
        1e-32,
        least.next_down(),
        least,
        1.3 * least,
        1e-9,
        0.125,
        0.37,
        1.0_f64.next_down(),
        1.0_f64.next_up(),
        100.0,
        3e38,
    ];
    let scales = [None].into_iter().chain(scales.map(Some));
    let mut rng = Rng::new(17);
    // The textbook multiplies large numbers.
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let (mut worst, mut large) = (Worst::default(), 0);
        let cases = scales.clone().flat_map(|scale| {
            let cases = magnitudes.into_iter().flat_map(|m| [(m, false), (m, true)]);
            cases.map(move |(magnitude, hides)| (scale, magnitude, hides))
        });
        for (scale, magnitude, hides) in cases {
            for classes in [3, 16, 40] {
                let flags = (0..classes).map(|i| i % 3 != 1).collect();
                let options = Options {
                    scale,
                    flags: hides.then_some(flags),
                    ..Options::default()
                };
                // Every other row has a class without probability.
                let mut x: Vec<f32> = (0..ROWS * classes)
                    .map(|_| (30.0 * rng.normal()) as f32)
                    .collect();
                for row in x.chunks_mut(classes).step_by(2) {
                    row[0] = NEG;
                }
                let mut p = vec![0.0; x.len()];
                softlane::softmax(&x, classes, &mut p).unwrap();
                let log_p: Vec<f32> = p.iter().map(|p| p.ln()).collect();
                let dy: Vec<f32> = (0..x.len())
                    .map(|_| magnitude * rng.uniform().mul_add(2.0, -1.0) as f32)
                    .collect();
                let case = Case {
                    backend,
                    options: &options,
                    x: &x,
                    classes,
                };
                let calls = backward_calls();
                for (is_log, y) in [(false, &p), (true, &log_p)] {
                    let (call, in_place) = calls[usize::from(is_log)];
                    let dx = case.run_backward((y, &dy), call, in_place);
                    for row in 0..ROWS {
                        let at = row * classes..(row + 1) * classes;
                        let (y, dy, dx) = (&y[at.clone()], &dy[at.clone()], &dx[at]);
                        let context = format_args!("{backend:?}, {scale:?}, {magnitude:e}");
                        let error = case.backward_error(is_log, row, y, dy, dx, context);
                        let worst = if is_log {
                            &mut worst.log_backward
                        } else {
                            &mut worst.backward
                        };
                        *worst = worst.max(error);
                        let total: f64 = y
                            .iter()
                            .zip(dy)
                            .map(|(&y, &dy)| f64::from(y) * f64::from(dy))
                            .sum();
                        large += usize::from(!is_log && total.abs() >= 100_f64.exp2());
                    }
                }
            }
        }
        println!(
            "{backend:?}: of the bounds, {:.3} and {:.3}",
            worst.backward, worst.log_backward
        );
        assert!(large > 100, "{large} totals are large");
    }
}

/// Sinks that weigh more than any logit: near them, beyond the range of weights, and beyond what a logit can be.
#[test]
fn sinks_above_all_logits() {
    // The textbook multiplies large numbers.
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let softmax = Softmax::new().exec(Exec::new().backend(backend));
        for max in [0.0, 300.0, -5000.0, 1e5, -1e7] {
            for above in [
                1.0, 17.3, 30.0, 45.0, 60.0, 80.0, 88.0, 95.0, 103.0, 110.0, 1e3, 1e6,
            ] {
                let x = [max, max - 2.0, NEG, max - 20.0];
                let sink = max + above;
                let [p, log_p] = both(softmax.sinks(&[sink], 1), &x, 4);
                let d = [
                    0.0,
                    -2.0,
                    f64::NEG_INFINITY,
                    f64::from(x[3]) - f64::from(max),
                ];
                let exact = formula(&d, max.into(), sink.into());
                for i in 0..4 {
                    let bound = bounds::probability(exact.p[i]).on(backend);
                    let error = Want::ulp(exact.p[i]).error(p[i]);
                    assert!(
                        error <= bound,
                        "{backend:?}: {max}, {above}: {p:?}: {error}"
                    );
                    let want = exact.log_p[i];
                    let want = if want.is_finite() {
                        Want::ulp(want)
                    } else {
                        Want::exactly(want)
                    };
                    let error = want.error(log_p[i]);
                    let bound = bounds::LOG_PROBABILITY.derived.on(backend);
                    assert!(
                        error <= bound,
                        "{backend:?}: {max}, {above}: {log_p:?}: {error}"
                    );
                }
            }
        }
        // Scales so small that no element times them reaches the sink.
        for (scale, sink) in [(1e-36, 400.0), (1e-36, 2000.0), (1e-30, 1e9), (1e-38, 90.0)] {
            let x = [3e38_f32, 1e38, -3e38];
            let options = Options {
                scale: Some(scale),
                sinks: Some((vec![sink], 1)),
                ..Options::default()
            };
            let case = Case {
                backend,
                options: &options,
                x: &x,
                classes: 3,
            };
            case.check(&mut Rng::new(7), format_args!("{backend:?}: {options:?}"));
        }
    }
}

/// What a call with wrong options says; nothing is written.
#[track_caller]
fn refusal(builder: Softmax<'_>, rows: usize, classes: usize) -> Error {
    let x = vec![0.0; rows * classes];
    let mut y = vec![3.5_f32; rows * classes];
    let error = builder.probs(&x, classes, &mut y).unwrap_err();
    let others = [
        builder.probs_in_place(&mut y, classes),
        builder.log_probs(&x, classes, &mut y),
        builder.log_probs_in_place(&mut y, classes),
        builder.probs_backward(&x, &x, classes, &mut y),
        builder.probs_backward_in_place(&x, &mut y, classes),
        builder.log_probs_backward(&x, &x, classes, &mut y),
        builder.log_probs_backward_in_place(&x, &mut y, classes),
    ];
    for other in others {
        assert_eq!(other.unwrap_err().to_string(), error.to_string());
    }
    assert!(y.iter().all(|&y| y == 3.5), "something was written");
    error
}

#[test]
fn options_out_of_range_are_errors_that_name_them() {
    let new = Softmax::<f32>::new;
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e39, 1e-60] {
        let error = refusal(new().logit_scale(scale), 2, 3);
        assert!(matches!(error, Error::Option { .. }), "{error:?}");
        let start = format!("logit_scale is {scale}, ");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
    for (len, rows) in [(4, 6), (1, 6), (7, 6)] {
        let name = ["mask", "bool_mask"];
        let (mask, flags) = (vec![0.0; len], vec![true; len]);
        for (name, builder) in name
            .into_iter()
            .zip([new().mask(&mask), new().bool_mask(&flags)])
        {
            let classes = 3;
            let error = refusal(builder, rows, classes);
            assert_eq!(error, Error::OptionShape { name, len, classes });
            let text = format!("{name}: {len} elements are no whole number of rows of 3 classes");
            assert_eq!(error.to_string(), text);
        }
    }
    let named = |builder: Softmax<'_>, name, period| {
        let rows = 6;
        let error = refusal(builder, rows, 3);
        assert_eq!(error, Error::OptionRows { name, period, rows });
        let text =
            format!("{name} comes again after {period} rows, of which 6 rows are no whole number");
        assert_eq!(error.to_string(), text);
    };
    for period in [0, 4, 12] {
        named(new().mask(&vec![0.0; 3 * period]), "mask", period);
        named(
            new().bool_mask(&vec![true; 3 * period]),
            "bool_mask",
            period,
        );
        named(new().causal(period, 0), "causal", period);
        named(new().sinks(&vec![0.0; period], 1), "sinks", period);
        named(new().sinks(&[0.0], period), "sinks", period);
    }
    named(new().sinks(&[0.0; 2], usize::MAX), "sinks", usize::MAX);
    // Rows of nothing have masks of nothing.
    let mut y = [0.0_f32; 0];
    let error = new().mask(&[0.0]).probs::<f32>(&[], 0, &mut y).unwrap_err();
    assert!(
        matches!(error, Error::OptionShape { len: 1, .. }),
        "{error:?}"
    );
}

/// Scores of more rows than a thread does alone: the place of a row in the batch tells its masks and its sink.
#[test]
fn places_in_a_batch_of_many_threads() {
    const KEYS: usize = 100;
    let x = vec![0.0_f32; 4000 * KEYS];
    let sinks: Vec<f32> = (0..4).map(|head| (1.0 + head as f32).ln()).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let mut p = vec![9.0; x.len()];
    let softmax = Softmax::new().causal(100, 0).sinks(&sinks, 100);
    pool.unwrap()
        .install(|| softmax.probs(&x, KEYS, &mut p))
        .unwrap();
    // The textbook's sum of up to 104 terms is off by as many roundings, and its sink by that of the logarithm. A row in
    // another place would be off by a hundredth.
    let bound = 106.0 * (-24_f32).exp2();
    for (row, p) in p.chunks(KEYS).enumerate() {
        let (seen, sink) = (row % 100 + 1, 1 + row / 100 % 4);
        let share = 1.0 / (seen + sink) as f32;
        for (i, &p) in p.iter().enumerate() {
            let want = if i < seen { share } else { 0.0 };
            assert!(
                (p - want).abs() <= bound * want,
                "row {row}, {i}: {p} of {want}"
            );
        }
    }
}
