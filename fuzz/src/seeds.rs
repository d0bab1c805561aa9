//! The inputs that fuzzing begins with: cases that users of other libraries have stumbled over, and the
//! edges of every operation.

use crate::attention::{self, Causal, Flags, Mask, Period, Sinks};
use crate::backend;
use crate::binary_cross_entropy as labels;
use crate::cross_entropy::{
    self as classes, Choice, Classes, Ignore, Integer, Options, Probs, Targets,
};
use crate::input::{Floats, Lengths, Offsets, Shape};
use crate::linear;
use crate::options::{Data, Number, Weights};
use crate::reducing::Reducing;
use crate::slices;
use crate::softmax as rows;
use crate::{Forward, Loss, Spread};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// A batch: its shape and its logits.
type Batch = (Shape, Floats);

fn batch(rows: usize, classes: usize, x: Floats) -> Batch {
    (Shape::new(rows, classes), x)
}

fn row(x: &[f32]) -> Batch {
    batch(1, x.len(), Floats::repeated(x))
}

/// Batches that others got wrong, and edges.
fn batches() -> Vec<Batch> {
    let mut batches = Vec::new();
    // Fully masked, where lengths meet the ends of vectors.
    for n in [1, 7, 8, 15, 16, 17, 127, 128] {
        batches.push(batch(1, n, Floats::repeated(&[-INF])));
    }
    let lone: [&[f32]; 20] = [
        &[0.0, INF],
        &[INF, INF],
        &[-INF, 0.0, INF],
        &[-INF, INF, NAN],
        // Far from 0, where a difference or a sum rounds or overflows.
        &[1e8, 1e8],
        &[1e20, 1e20],
        &[-1e10; 11],
        &[f32::MAX; 4],
        &[f32::MIN; 4],
        &[f32::MAX, f32::MIN],
        &[890.25, -2174.7, 0.0],
        &[90.0, 2.0, -2.0],
        &[-2e4, -2e4, -2e4 - 30.0],
        // Sure of a class.
        &[0.0, -17.0],
        &[0.0, -88.0],
        &[0.0, -103.0],
        &[20.0, 0.0, 1.0, 2.0],
        // Too low to have a probability, beside one that has.
        &[0.0, -104.0, -200.0, -1e30, -INF],
        &[1e-45, -1e-45, 0.0, -0.0],
        // A certain row.
        &[5.0],
    ];
    batches.extend(lone.map(row));
    // Equal throughout.
    batches.push(batch(1, 4096, Floats::repeated(&[1.0])));
    batches.push(batch(1, 512, Floats::repeated(&[-3.0])));
    // NaN and +inf in each lane and in the tail; beside rows that are not to notice.
    let ordinary = Floats::repeated(&[0.5, -1.25, 2.0, 0.0, -0.75]);
    for at in 21..42 {
        batches.push(batch(3, 21, ordinary.clone().with(at, NAN)));
        batches.push(batch(3, 21, ordinary.clone().with(at, INF)));
    }
    for at in [0, 4095, 4096, 4105] {
        batches.push(batch(1, 4106, ordinary.clone().with(at, NAN)));
        batches.push(batch(1, 4106, ordinary.clone().with(at, 15.0)));
    }
    // Few or none.
    for (rows, classes) in [
        (0, 3),
        (0, 0),
        (5, 0),
        (1, 1),
        (20, 1),
        (255, 2),
        (200, 8),
        (2, 1100),
    ] {
        batches.push(batch(rows, classes, ordinary.clone()));
    }
    batches
}

/// Where slices begin: read and written anywhere.
fn offsets(i: usize) -> Offsets {
    Offsets::new(i % 4, i / 4 % 4)
}

/// Lengths that do not fit together in one way or another.
fn misfits() -> Vec<Lengths> {
    let few = [
        (3, [7, 7, 7]),
        (3, [6, 7, 6]),
        (3, [6, 6, 7]),
        (3, [6, 2, 3]),
        (0, [0, 4, 4]),
        (0, [1, 1, 1]),
        (7, [0, 0, 0]),
        (u64::MAX, [8, 8, 8]),
    ];
    few.map(|(classes, slices)| Lengths::new(classes, slices))
        .into()
}

/// For the target `softmax`.
pub fn forward() -> Vec<Forward> {
    let mut seeds = Vec::new();
    use rows::Operation::{LogSoftmax, LogSoftmaxBackward, LogSumExp, Softmax, SoftmaxBackward};
    for operation in [
        Softmax,
        LogSoftmax,
        LogSumExp,
        SoftmaxBackward,
        LogSoftmaxBackward,
    ] {
        let call = |i, (shape, x), misfit| {
            Forward::Rows(rows::Input {
                operation: operation.clone(),
                misfit,
                shape,
                offsets: offsets(i),
                masked_rows_are_zero: i % 2 == 1,
                x,
                dy: Floats::repeated(&[1.0, -2.0, 0.25]),
                y: None,
                options: attention::Options::none(),
            })
        };
        // Twice, so that each comes with both options.
        let twice = batches()
            .into_iter()
            .flat_map(|batch| [batch.clone(), batch]);
        let all = twice.enumerate();
        seeds.extend(all.map(|(i, batch)| call(i, batch, None)));
        let misfits = misfits().into_iter();
        seeds.extend(misfits.map(|misfit| call(0, row(&[1.0, NAN]), Some(misfit))));
    }
    seeds.extend(gradients());
    seeds.extend(attention());
    seeds.extend(slices());
    seeds.extend(backends());
    seeds
}

/// Backward passes of what no softmax gives, and of gradients that are no numbers.
fn gradients() -> Vec<Forward> {
    let mut seeds = Vec::new();
    let gradients: [&[f32]; 6] = [
        &[NAN, 1.0, 1.0],
        &[INF, 1.0, 1.0],
        &[1.0, INF, -INF],
        &[f32::MAX, f32::MIN, f32::MAX],
        &[1e38, 1e38, 1e38],
        &[1.0, -1.0, 0.0],
    ];
    let results: [Option<&[f32]>; 4] = [
        None,
        Some(&[0.0, 0.5, 0.5]),
        Some(&[-INF, 0.0, -120.0]),
        Some(&[NAN, 1e38, -1e38]),
    ];
    for operation in [
        rows::Operation::SoftmaxBackward,
        rows::Operation::LogSoftmaxBackward,
    ] {
        for (i, dy) in gradients.iter().enumerate() {
            seeds.extend(results.map(|y| {
                Forward::Rows(rows::Input {
                    operation: operation.clone(),
                    misfit: None,
                    shape: Shape::new(1, 3),
                    offsets: offsets(i),
                    masked_rows_are_zero: false,
                    x: Floats::repeated(&[-INF, 2.0, 1.0]),
                    dy: Floats::repeated(dy),
                    y: y.map(Floats::repeated),
                    options: attention::Options::none(),
                })
            }));
        }
    }
    seeds
}

/// The options of attention one by one, at their edges and beyond, and all at once.
fn attention() -> Vec<Forward> {
    let none = attention::Options::none;
    let number = |x: f64| Some(Number::from(x));
    let mask = |rows: Period, x: &[f32]| {
        let added = Floats::repeated(x);
        Some(Mask { rows, added })
    };
    let flags = |rows: Period, take_part: &[bool]| {
        let take_part = take_part.to_vec();
        Some(Flags { rows, take_part })
    };
    let causal = |queries: Period, offset| Some(Causal { queries, offset });
    let sinks = |x: &[f32], which: u8| {
        Some(Sinks {
            sinks: Floats::repeated(x),
            count: Period::Fit(which / 2),
            rows_each: Period::Fit(which % 2),
        })
    };
    let mut sets = Vec::new();
    for scale in [
        0.125,
        3.5,
        4e4,
        1e-9,
        1e15,
        1e38,
        1e-44,
        0.0,
        -1.0,
        f64::NAN,
        1e39,
    ] {
        let logit_scale = number(scale);
        sets.push(attention::Options {
            logit_scale: logit_scale.clone(),
            ..none()
        });
        sets.push(attention::Options {
            logit_scale,
            sinks: sinks(&[0.5, 90.0, -INF], 3),
            mask: mask(Period::Fit(1), &[0.0, -0.5, -INF]),
            ..none()
        });
    }
    let masks: [&[f32]; 6] = [
        &[0.0],
        &[-INF],
        &[1.0, -INF, 0.25],
        &[f32::MAX, f32::MIN],
        &[INF, 0.0, 0.0],
        &[NAN, 0.0, 0.0, 0.0, 0.0],
    ];
    for (which, added) in (0..).zip(masks) {
        sets.push(attention::Options {
            mask: mask(Period::Fit(which), added),
            ..none()
        });
        sets.push(attention::Options {
            sinks: sinks(added, which),
            ..none()
        });
    }
    let parts: [&[bool]; 4] = [&[true], &[false], &[true, false], &[false, true, true]];
    for (which, take_part) in (0..).zip(parts) {
        sets.push(attention::Options {
            bool_mask: flags(Period::Fit(which), take_part),
            ..none()
        });
        sets.push(attention::Options {
            causal: causal(Period::Fit(which), which.into()),
            sinks: sinks(&[-1.0], which),
            bool_mask: flags(Period::Fit(which), take_part),
            mask: mask(Period::Fit(which), &[0.5, -0.5]),
            logit_scale: number(0.5),
        });
    }
    for period in [0, 1, 3, 7, 255] {
        let any = || Period::Any(period);
        let all = attention::Options {
            mask: mask(any(), &[0.0, 1.0]),
            bool_mask: flags(any(), &[true, false]),
            causal: causal(any(), 2),
            sinks: sinks(&[0.0], 0).map(|sinks| Sinks {
                count: any(),
                ..sinks
            }),
            ..none()
        };
        sets.push(attention::Options {
            causal: None,
            sinks: None,
            ..all.clone()
        });
        sets.push(attention::Options {
            causal: all.causal.clone(),
            ..none()
        });
        sets.push(attention::Options {
            sinks: all.sinks.clone(),
            ..none()
        });
        sets.push(all);
    }
    let usual = Floats::repeated(&[0.5, -1.25, 2.0, 0.0, -0.75, 30.0]);
    let batches = [
        batch(1, 3, Floats::repeated(&[1.0, -2.0, 0.25])),
        batch(8, 5, usual.clone().with(7, -INF)),
        batch(6, 5, usual.clone().with(7, NAN)),
        batch(6, 5, usual.clone().with(7, f32::MAX)),
        batch(20, 3, Floats::repeated(&[-INF, 0.0, 1.0, -INF, -INF, -INF])),
        batch(2, 70, Floats::repeated(&[1e-45, -7.0, 0.0])),
        batch(1, 4106, usual),
    ];
    use rows::Operation::{LogSoftmax, LogSoftmaxBackward, Softmax, SoftmaxBackward};
    let mut seeds = Vec::new();
    for options in sets {
        for (i, (shape, x)) in batches.iter().enumerate() {
            for operation in [Softmax, LogSoftmax, SoftmaxBackward, LogSoftmaxBackward] {
                let i = i + seeds.len();
                let dy: &[f32] = if i % 3 == 0 {
                    &[1.0, NAN, INF]
                } else {
                    &[1.0, -2.0, 0.25]
                };
                seeds.push(Forward::Rows(rows::Input {
                    operation,
                    misfit: None,
                    shape: shape.clone(),
                    offsets: offsets(i),
                    masked_rows_are_zero: i % 5 == 1,
                    x: x.clone(),
                    dy: Floats::repeated(dy),
                    y: None,
                    options: options.clone(),
                }));
            }
        }
    }
    seeds
}

fn slices() -> Vec<Forward> {
    let edges: [&[f32]; 9] = [
        // Where the exponential overflows, and where it becomes subnormal and 0.
        &[88.722_83, 88.722_84, 89.0, INF],
        &[
            -87.336_54,
            -87.336_55,
            -103.278_9,
            -103.972_08,
            -103.972_09,
            -104.0,
            -INF,
        ],
        &[0.0, -0.0, 1e-45, -1e-45, NAN],
        // Zeros of both signs: which one is the maximum?
        &[-0.0, 0.0, -1.0],
        &[-0.0, -0.0, -INF],
        // Sums that cancel, and partial sums that overflow.
        &[1e8, 1.0, -1e8],
        &[f32::MAX, f32::MAX, f32::MIN, f32::MIN],
        &[f32::MAX, f32::MAX, -INF],
        &[INF, -INF],
    ];
    let mut seeds = Vec::new();
    use slices::Operation::{Exp, Max, Sigmoid, Sum};
    for operation in [Exp, Sigmoid, Max, Sum] {
        let call = |i, (shape, x), misfit| {
            Forward::Slice(slices::Input {
                operation: operation.clone(),
                misfit,
                shape,
                offsets: offsets(i),
                x,
            })
        };
        let all = edges.map(row).into_iter().chain(batches());
        seeds.extend(all.enumerate().map(|(i, batch)| call(i, batch, None)));
        let misfits = misfits().into_iter();
        seeds.extend(misfits.map(|misfit| call(0, row(&[1.0]), Some(misfit))));
    }
    seeds
}

fn backends() -> Vec<Forward> {
    let known = (0..4).flat_map(|which| ["", " ", "x"].map(|more| (which, more.into())));
    let known = known.map(|(which, more)| backend::Input::Known(which, more));
    let others = ["", "AVX2", "sse2", "neon", "\0", "auto"];
    let others = others.map(|name| backend::Input::Any(name.into()));
    // On either side of the length at which names are cut, within a character too.
    let long = [
        (32, "a"),
        (33, "a"),
        (10, "äß"),
        (11, "…"),
        (12, "…"),
        (9, "🙂"),
    ];
    let long = long.map(|(times, name)| backend::Input::Repeated(times, name.into()));
    known
        .chain(others)
        .chain(long)
        .map(Forward::Backend)
        .collect()
}

fn reducing() -> [Reducing; 4] {
    [(false, false), (false, true), (true, false), (true, true)].map(|(sum, zero)| Reducing {
        sum,
        empty_mean_is_zero: zero,
    })
}

/// For the target `cross_entropy`.
pub fn loss() -> Vec<Loss> {
    let mut seeds = target_classes();
    seeds.extend(loss_options());
    seeds.extend(labels());
    seeds
}

fn target_classes() -> Vec<Loss> {
    use Integer::{I32, I64, U8, U16, U32, U64, Usize};
    let integers = [U8, U16, U32, U64, Usize, I32, I64];
    let mut seeds = Vec::new();
    let mut call = |(shape, x), targets: &[Choice], ignore_index: &Ignore, misfit| {
        let i = seeds.len();
        let targets = Targets::Classes(Classes {
            integer: integers[i % integers.len()].clone(),
            ignore_index: ignore_index.clone(),
            choices: targets.to_vec(),
        });
        seeds.push(Loss::Classes(classes::Input {
            targets,
            masked_rows_are_zero: i % 2 == 1,
            reducing: reducing()[i % 4].clone(),
            misfit,
            shape,
            offsets: offsets(i),
            x,
            options: Options::none(),
        }));
    };
    let targets = [Choice::First, Choice::Last, Choice::Class(1)];
    for batch in batches() {
        for target in &targets {
            call(
                batch.clone(),
                std::slice::from_ref(target),
                &Ignore::Default,
                None,
            );
        }
        call(batch, &targets, &Ignore::None, None);
    }
    // Every row ignored; a class that is the ignored one.
    let few = || batch(4, 5, Floats::repeated(&[0.0, 1.0, -2.0, INF, NAN]));
    for ignored in [
        Ignore::Default,
        Ignore::None,
        Ignore::Some(0),
        Ignore::Some(255),
        Ignore::Any(-1),
    ] {
        // As often as there are types and reductions.
        for _ in 0..integers.len() * 4 {
            call(few(), &[Choice::Ignored], &ignored, None);
            call(
                few(),
                &[Choice::Ignored, Choice::Class(2), Choice::First],
                &ignored,
                None,
            );
        }
    }
    // Targets that are none.
    for target in [
        -1,
        -99,
        -100,
        -101,
        5,
        255,
        256,
        1 << 32,
        i64::MAX,
        i64::MIN,
    ] {
        for ignored in [Ignore::Default, Ignore::None, Ignore::Any(target)] {
            for _ in &integers {
                call(few(), &[Choice::Last, Choice::Any(target)], &ignored, None);
            }
        }
    }
    for misfit in misfits() {
        call(few(), &targets, &Ignore::Default, Some(misfit));
    }
    seeds
}

/// Options one by one, at their edges and beyond, and all at once.
fn option_sets() -> Vec<Options> {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let number = |x: f64| Some(Number::from(x));
    let weights = |x: &[f32]| Some(Weights::Any(Floats::repeated(x)));
    let data = |x: &[f32]| Some(Data::Fit(Floats::repeated(x)));
    let mut sets = vec![Options::none()];
    for scale in [
        0.125, 3.5, 4e4, 1e-9, 1e15, 1e38, 1e-44, 0.0, -1.0, nan, inf, 1e39,
    ] {
        sets.push(Options {
            logit_scale: number(scale),
            ..Options::none()
        });
    }
    for smoothing in [0.1, 1.0, 1e-30, 1e-320, -0.1, 1.000_001, nan] {
        sets.push(Options {
            label_smoothing: number(smoothing),
            ..Options::none()
        });
    }
    for z_loss in [1e-4, 0.7, 1e30, 1e-45, -1e-9, nan, inf] {
        sets.push(Options {
            z_loss: number(z_loss),
            ..Options::none()
        });
    }
    for divisor in [3.0, 1e-30, 1e30, 1e300, 1e-310, 0.0, -1.0, nan] {
        sets.push(Options {
            normaliser: number(divisor),
            ..Options::none()
        });
    }
    let all: [&[f32]; 8] = [
        &[0.0],
        &[1.0, 0.0, 2.5],
        &[1e-45, 1.0],
        &[1e30, 1e-30, 1.0],
        &[f32::MAX],
        &[1.0, 2.0, -1.0],
        &[NAN],
        &[1.0, INF],
    ];
    for of_classes in all {
        for smoothing in [None, number(0.25)] {
            sets.push(Options {
                class_weights: weights(of_classes),
                label_smoothing: smoothing,
                ..Options::none()
            });
        }
        sets.push(Options {
            upstream_grad: data(of_classes),
            ..Options::none()
        });
    }
    let floats = || Floats::repeated(&[1.0, 0.5]);
    for count in [0, 1, 2, 3, 5] {
        sets.push(Options {
            class_weights: Some(Weights::Count(floats(), count)),
            ..Options::none()
        });
        sets.push(Options {
            upstream_grad: Some(Data::Count(floats(), count)),
            ..Options::none()
        });
    }
    for (scale, of_classes) in [(0.5, [2.0, 0.25, 0.0]), (20.0, [1e-3, 1e3, 1.0])] {
        sets.push(Options {
            logit_scale: number(scale),
            class_weights: weights(&of_classes),
            label_smoothing: number(0.1),
            z_loss: number(1e-4),
            normaliser: number(17.0),
            upstream_grad: data(&[1.0, -0.5, 0.0]),
        });
    }
    sets
}

/// Every option, with classes and with distributions as targets.
fn loss_options() -> Vec<Loss> {
    let usual = Floats::repeated(&[0.5, -1.25, 2.0, 0.0, -0.75, 30.0]);
    let rows = [
        batch(1, 3, Floats::repeated(&[1.0, -2.0, 0.25])),
        batch(8, 5, usual.clone()),
        batch(8, 5, usual.clone().with(7, -INF)),
        batch(8, 5, usual.clone().with(7, NAN)),
        batch(8, 5, usual.clone().with(7, f32::MAX)),
        batch(20, 3, Floats::repeated(&[-INF, 0.0, 1.0, -INF, -INF, -INF])),
        batch(2, 70, Floats::repeated(&[1e-45, -7.0, 0.0])),
        batch(1, 4106, usual),
    ];
    let distributions: [&[f32]; 6] = [
        &[0.25, 0.5, 0.125, 0.125, 0.0],
        &[0.0, 1.0, 0.0],
        &[1e-45, 1e30, 1e-30],
        &[-1.0, 2.0],
        &[INF, 0.5],
        &[NAN, 0.0],
    ];
    let mut seeds = Vec::new();
    let mut call = |(shape, x): Batch, targets: Targets, options: &Options, misfit| {
        let i = seeds.len();
        seeds.push(Loss::Classes(classes::Input {
            targets,
            masked_rows_are_zero: i % 3 == 1,
            reducing: reducing()[i % 4].clone(),
            misfit,
            shape,
            offsets: offsets(i),
            x,
            options: options.clone(),
        }));
    };
    let classes = Classes {
        integer: Integer::I64,
        ignore_index: Ignore::Default,
        choices: vec![
            Choice::First,
            Choice::Class(1),
            Choice::Ignored,
            Choice::Last,
        ],
    };
    let probs = |probs: &[f32]| {
        Targets::Probs(Probs {
            any: true,
            probs: Floats::repeated(probs),
            gap: 3,
        })
    };
    for (i, options) in option_sets().iter().enumerate() {
        for (k, batch) in rows.iter().enumerate() {
            call(
                batch.clone(),
                Targets::Classes(classes.clone()),
                options,
                None,
            );
            let of = distributions[if k % 2 == 0 { 0 } else { (i + k) % 6 }];
            call(batch.clone(), probs(of), options, None);
        }
    }
    for of in distributions {
        for batch in batches().into_iter().step_by(3) {
            call(batch, probs(of), &Options::none(), None);
        }
    }
    // Three rows of no class.
    let nothing = batch(3, 0, Floats::repeated(&[0.5]));
    call(nothing, probs(&[0.5]), &Options::none(), None);
    for misfit in misfits() {
        call(row(&[1.0]), probs(&[0.5]), &Options::none(), Some(misfit));
    }
    seeds
}

fn labels() -> Vec<Loss> {
    let mut seeds = Vec::new();
    let mut call = |(shape, x), labels: &[f32], any_label, misfit| {
        let i = seeds.len();
        seeds.push(Loss::Labels(labels::Input {
            reducing: reducing()[i % 4].clone(),
            any_label,
            misfit,
            shape,
            offsets: offsets(i),
            labels: Floats::repeated(labels),
            x,
        }));
    };
    let usual: [&[f32]; 5] = [
        &[0.0],
        &[1.0],
        &[0.5],
        &[0.0, 1.0, 1e-7, 0.999_999_9, 0.3],
        &[NAN],
    ];
    let odd: [&[f32]; 2] = [&[-1.0, 2.0, 1e38], &[INF, -INF, -0.0]];
    let edges: [&[f32]; 3] = [
        &[1e4, -1e4, 100.0, -100.0, 17.0, -17.0],
        &[INF, -INF, f32::MAX, f32::MIN],
        &[0.0, -0.0, 1e-45, 0.34, -0.34],
    ];
    for batch in edges.map(row).into_iter().chain(batches()) {
        for labels in usual {
            call(batch.clone(), labels, false, None);
        }
        for labels in odd {
            call(batch.clone(), labels, true, None);
        }
    }
    for misfit in misfits() {
        call(row(&[1.0]), &[1.0], false, Some(misfit));
    }
    seeds
}

/// Of the target `linear`: chunks and pieces that end where rows do and do not, special numbers, and what is wrong.
pub fn linear() -> Vec<linear::Input> {
    let some = |numbers: &[f32]| Floats::repeated(numbers);
    let layer = |[rows, classes, features]: [u8; 3], targets: &[u8]| linear::Input {
        x: some(&[0.5, -1.0, 0.25, 2.0, -0.125]),
        w: some(&[1.0, 0.75, -0.5]),
        b: Some(some(&[0.0, 1.0, -1.0, 0.5])),
        rows,
        classes,
        features,
        targets: targets.to_vec(),
        smoothing: None,
        scale: None,
        budget: 0,
    };
    let mut inputs = Vec::new();
    for rows in [0, 1, 63, 64, 65, 128, 139] {
        inputs.push(layer([rows, 7, 3], &[0, 1, 2, 250, 4]));
        inputs.push(layer([rows, 39, 11], &[250]));
    }
    for size in [[3, 0, 2], [3, 2, 0], [0, 0, 0], [2, 1, 1]] {
        inputs.push(layer(size, &[0]));
    }
    let plain = layer([70, 10, 4], &[1, 2, 3]);
    for special in [INF, -INF, NAN, f32::MAX, f32::MIN_POSITIVE, -0.0] {
        for which in 0..3 {
            let mut input = plain.clone();
            let b = input.b.get_or_insert_with(|| some(&[0.0]));
            let floats = [&mut input.x, &mut input.w, b];
            if let Some(floats) = floats.into_iter().nth(which) {
                *floats = floats.clone().with(5, special);
            }
            inputs.push(input);
        }
    }
    let wrong = layer([70, 10, 4], &[1, 255, 3]);
    let smooth = |share: f64| linear::Input {
        smoothing: Some(share.into()),
        budget: 100,
        ..plain.clone()
    };
    let scaled = |scale: f64| linear::Input {
        scale: Some(scale.into()),
        b: None,
        ..plain.clone()
    };
    inputs.extend([
        wrong,
        smooth(0.25),
        smooth(1.0),
        smooth(2.0),
        smooth(f64::NAN),
        scaled(0.5),
        scaled(1e6),
        scaled(-1.0),
    ]);
    inputs
}

/// For the target `threads`: every hundredth of all the others, and a sum that depends on the order of
/// additions. The batches become large ones.
pub fn spread() -> Vec<Spread> {
    let forward = forward().into_iter().map(Spread::Forward);
    let others = forward.chain(loss().into_iter().map(Spread::Loss));
    let sum = Forward::Slice(slices::Input {
        operation: slices::Operation::Sum,
        misfit: None,
        shape: Shape::new(1, 1),
        offsets: offsets(0),
        // Exactly 0; what comes of it tells the tree of the chunks from one that is cut in halves.
        x: Floats::repeated(&[0.0, 1e20, 1e10, 1.0, -1e20, -1e10, -1.0]),
    });
    others.step_by(100).chain([Spread::Forward(sum)]).collect()
}
