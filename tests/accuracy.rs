//! Every operation on every backend, over every class of row, against exact results, in ULP, with
//! guard values around every output. Prints the worst case of each (`-- --nocapture`).
//! `SOFTLANE_SAMPLE=15` tries every fifteenth batch only, for emulators.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::env;
use std::fmt;
use std::io::{self, Write as _};
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::guard::{UNTOUCHED, guarded};
use common::inputs::{self, CLASSES, Rng};
use common::oracle::{self, Row};
use common::threads::on_all_cores;
use common::ulp::Want;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Error, Exec, Reduction};

/// What is promised of an operation, and how to see whether it is kept.
struct Operation {
    name: &'static str,
    /// What an ULP is one of.
    measure: &'static str,
    /// The error stays below this many ULP where multiply-add is fused.
    fused: f64,
    /// And where it is not: `portable` on SSE2 or wasm.
    unfused: f64,
    exact: fn(&Batch) -> Vec<Want>,
    /// The largest error that the textbook formula has: the bound of `scalar`.
    textbook: fn(&Batch) -> Vec<f64>,
    /// The ways to call it.
    forms: &'static [Form],
}

type Form = (&'static str, fn(Exec, &Batch) -> Result<Vec<f32>, Error>);

/// Fused: what is promised over the corpus. Not fused: the worst that this test or a longer search
/// found, rounded up to a quarter. There, every product that enters a sum is rounded first, in the
/// polynomial of the exponential above all: a weight is off by up to 1.8 u, and so is the sum of the
/// others, the other way.
const TABLE: &[Operation] = &[
    Operation {
        name: "exp",
        measure: "result",
        fused: 0.9,
        // Of all arguments: 1.176.
        unfused: 1.2,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::exp(x))).collect(),
        textbook: textbook::exp,
        forms: &[
            ("exp", |exec, b| b.output(b.x.len(), |y| exec.exp(&b.x, y))),
            ("exp_in_place", |exec, b| {
                b.over(&b.x, |x| exec.exp_in_place(x))
            }),
        ],
    },
    Operation {
        name: "max",
        // The error is 0 or infinite.
        measure: "exact",
        fused: 1.0,
        unfused: 1.0,
        exact: |b| vec![Want::exactly(oracle::max(&b.x))],
        textbook: |_| vec![0.0],
        forms: &[("max", |exec, b| Ok(vec![exec.max(&b.x)?]))],
    },
    Operation {
        name: "sum",
        measure: "sum of magnitudes",
        fused: 0.51,
        unfused: 0.51,
        exact: |b| {
            let terms = || b.x.iter().map(|&x| f64::from(x));
            let magnitudes = oracle::sum_of_magnitudes(terms());
            vec![Want::ulp_of(oracle::sum(terms()), magnitudes)]
        },
        textbook: textbook::sum,
        forms: &[("sum", |exec, b| Ok(vec![exec.sum(&b.x)?]))],
    },
    Operation {
        name: "softmax",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| {
            b.rows(|row| {
                let p = oracle::softmax(row.x);
                p.into_iter()
                    .zip(row.x)
                    .map(|(p, &x)| masked_or(x, Want::ulp(p)))
                    .collect()
            })
        },
        textbook: textbook::softmax,
        forms: &[
            ("softmax", |exec, b| {
                b.output(b.x.len(), |y| exec.softmax(&b.x, b.classes, y))
            }),
            ("softmax_in_place", |exec, b| {
                b.over(&b.x, |x| exec.softmax_in_place(x, b.classes))
            }),
        ],
    },
    Operation {
        name: "log_softmax",
        measure: "result",
        fused: 1.6,
        unfused: 1.75,
        exact: |b| b.rows(|row| ulps(oracle::log_softmax(row.x))),
        textbook: textbook::log_softmax,
        forms: &[
            ("log_softmax", |exec, b| {
                b.output(b.x.len(), |y| exec.log_softmax(&b.x, b.classes, y))
            }),
            ("log_softmax_in_place", |exec, b| {
                b.over(&b.x, |x| exec.log_softmax_in_place(x, b.classes))
            }),
        ],
    },
    Operation {
        name: "logsumexp",
        measure: "max(|result|, 1)",
        fused: 0.8,
        unfused: 1.25,
        exact: |b| {
            b.rows(|row| {
                let lse = oracle::logsumexp(row.x);
                vec![Want::ulp_of(lse, lse.abs().max(1.0))]
            })
        },
        textbook: textbook::logsumexp,
        forms: &[("logsumexp", |exec, b| {
            b.output(b.rows, |y| exec.logsumexp(&b.x, b.classes, y))
        })],
    },
    Operation {
        name: "softmax_backward",
        measure: "larger operand",
        fused: 2.0,
        unfused: 3.0,
        exact: |b| b.rows(|row| ulps_of(oracle::softmax_backward(row.y, row.dy))),
        textbook: textbook::softmax_backward,
        forms: &[
            ("softmax_backward", |exec, b| {
                b.output(b.x.len(), |dx| {
                    exec.softmax_backward(&b.y, &b.dy, b.classes, dx)
                })
            }),
            ("softmax_backward_in_place", |exec, b| {
                b.over(&b.dy, |dy| {
                    exec.softmax_backward_in_place(&b.y, dy, b.classes)
                })
            }),
        ],
    },
    Operation {
        name: "log_softmax_backward",
        measure: "larger operand",
        fused: 2.5,
        unfused: 3.25,
        exact: |b| b.rows(|row| ulps_of(oracle::log_softmax_backward(row.log_y, row.dy))),
        textbook: textbook::log_softmax_backward,
        forms: &[
            ("log_softmax_backward", |exec, b| {
                b.output(b.x.len(), |dx| {
                    exec.log_softmax_backward(&b.log_y, &b.dy, b.classes, dx)
                })
            }),
            ("log_softmax_backward_in_place", |exec, b| {
                b.over(&b.dy, |dy| {
                    exec.log_softmax_backward_in_place(&b.log_y, dy, b.classes)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy, a row",
        measure: "result",
        fused: 1.1,
        unfused: 1.5,
        exact: |b| ulps(b.losses()),
        textbook: textbook::losses,
        forms: &[
            ("loss_per_row", |exec, b| {
                b.output(b.rows, |losses| {
                    cross_entropy(exec).loss_per_row(&b.x, b.classes, &b.targets, losses)
                })
            }),
            ("loss_per_row_and_grad", |exec, b| {
                b.output(b.rows, |losses| {
                    b.output(b.x.len(), |grad| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad(&b.x, b.classes, &b.targets, losses, grad)
                    })
                    .map(drop)
                })
            }),
            ("loss_per_row_and_grad_in_place", |exec, b| {
                b.output(b.rows, |losses| {
                    b.over(&b.x, |x| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad_in_place(x, b.classes, &b.targets, losses)
                    })
                    .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy, sum and mean",
        measure: "result",
        fused: 1.1,
        unfused: 1.25,
        exact: |b| {
            let sum = oracle::sum(b.losses());
            ulps([sum, sum / b.count()])
        },
        textbook: |b| {
            let sum = oracle::sum(b.losses());
            textbook::sum_and_mean(&textbook::losses(b), sum, b.count())
        },
        forms: &[
            ("loss", |exec, b| {
                reduced(|reduction| {
                    cross_entropy(exec)
                        .reduction(reduction)
                        .loss(&b.x, b.classes, &b.targets)
                })
            }),
            ("loss_and_grad", |exec, b| {
                reduced(|reduction| {
                    b.beside(|grad| {
                        cross_entropy(exec)
                            .reduction(reduction)
                            .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                    })
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                reduced(|reduction| {
                    b.beside(|x| {
                        x.copy_from_slice(&b.x);
                        cross_entropy(exec)
                            .reduction(reduction)
                            .loss_and_grad_in_place(x, b.classes, &b.targets)
                    })
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy gradient, sum",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| b.gradient(1.0),
        textbook: |b| textbook::gradient(b, 1.0),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    cross_entropy(exec)
                        .reduction(Reduction::Sum)
                        .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                        .map(drop)
                })
            }),
            ("loss_per_row_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    b.output(b.rows, |losses| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad(&b.x, b.classes, &b.targets, losses, grad)
                    })
                    .map(drop)
                })
            }),
            ("loss_per_row_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    b.output(b.rows, |losses| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad_in_place(x, b.classes, &b.targets, losses)
                    })
                    .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy gradient, mean",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| b.gradient(1.0 / b.count()),
        textbook: |b| textbook::gradient(b, 1.0 / b.count()),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    cross_entropy(exec)
                        .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                        .map(drop)
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    cross_entropy(exec)
                        .loss_and_grad_in_place(x, b.classes, &b.targets)
                        .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "sigmoid",
        measure: "result",
        fused: 2.0,
        unfused: 2.25,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::sigmoid(x))).collect(),
        textbook: textbook::sigmoid,
        forms: &[
            ("sigmoid", |exec, b| {
                b.output(b.x.len(), |y| exec.sigmoid(&b.x, y))
            }),
            ("sigmoid_in_place", |exec, b| {
                b.over(&b.x, |x| exec.sigmoid_in_place(x))
            }),
        ],
    },
    Operation {
        name: "binary cross-entropy",
        measure: "result",
        fused: 2.5,
        unfused: 3.25,
        exact: |b| ulps(b.binary_losses()),
        textbook: textbook::binary_losses,
        forms: &[("loss_per_element", |exec, b| {
            b.output(b.x.len(), |losses| {
                binary(exec).loss_per_element(&b.x, b.classes, &b.labels, losses)
            })
        })],
    },
    Operation {
        name: "binary cross-entropy, sum and mean",
        measure: "result",
        fused: 2.0,
        unfused: 2.0,
        exact: |b| {
            let sum = oracle::sum(b.binary_losses());
            ulps([sum, sum / b.x.len() as f64])
        },
        textbook: |b| {
            let sum = oracle::sum(b.binary_losses());
            textbook::sum_and_mean(&textbook::binary_losses(b), sum, b.x.len() as f64)
        },
        forms: &[
            ("loss", |exec, b| {
                reduced(|reduction| {
                    binary(exec)
                        .reduction(reduction)
                        .loss(&b.x, b.classes, &b.labels)
                })
            }),
            ("loss_and_grad", |exec, b| {
                reduced(|reduction| {
                    b.beside(|grad| {
                        binary(exec)
                            .reduction(reduction)
                            .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                    })
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                reduced(|reduction| {
                    b.beside(|x| {
                        x.copy_from_slice(&b.x);
                        binary(exec)
                            .reduction(reduction)
                            .loss_and_grad_in_place(x, b.classes, &b.labels)
                    })
                })
            }),
        ],
    },
    Operation {
        name: "binary gradient, sum",
        measure: "larger term",
        fused: 2.5,
        unfused: 3.25,
        exact: |b| b.binary_gradient(1.0),
        textbook: |b| textbook::binary_gradient(b, 1.0),
        forms: &[("loss_and_grad", |exec, b| {
            b.output(b.x.len(), |grad| {
                binary(exec)
                    .reduction(Reduction::Sum)
                    .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                    .map(drop)
            })
        })],
    },
    Operation {
        name: "binary gradient, mean",
        measure: "larger term",
        fused: 2.5,
        unfused: 4.0,
        exact: |b| b.binary_gradient(1.0 / b.x.len() as f64),
        textbook: |b| textbook::binary_gradient(b, 1.0 / b.x.len() as f64),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    binary(exec)
                        .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                        .map(drop)
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    binary(exec)
                        .loss_and_grad_in_place(x, b.classes, &b.labels)
                        .map(drop)
                })
            }),
        ],
    },
];

fn cross_entropy(exec: Exec) -> CrossEntropy {
    CrossEntropy::new().exec(exec)
}

fn binary(exec: Exec) -> BinaryCrossEntropy {
    BinaryCrossEntropy::new().exec(exec)
}

/// The sum and the mean.
fn reduced(loss: impl Fn(Reduction) -> Result<f32, Error>) -> Result<Vec<f32>, Error> {
    Ok(vec![loss(Reduction::Sum)?, loss(Reduction::Mean)?])
}

fn ulps(exact: impl IntoIterator<Item = f64>) -> Vec<Want> {
    exact.into_iter().map(Want::ulp).collect()
}

/// Of pairs of a result and the operand whose ULP counts.
fn ulps_of(exact: Vec<(f64, f64)>) -> Vec<Want> {
    let wants = exact.into_iter();
    wants.map(|(x, operand)| Want::ulp_of(x, operand)).collect()
}

/// Exactly 0 where the logit is `-inf`.
fn masked_or(x: f32, want: Want) -> Want {
    if x == f32::NEG_INFINITY && !want.value.is_nan() {
        Want::exactly(0.0)
    } else {
        want
    }
}

/// Rows, and all that the operations need with them.
struct Batch {
    case: Case,
    rows: usize,
    classes: usize,
    x: Source,
    targets: Vec<i64>,
    /// Probabilities and log-probabilities of `x`, and a gradient with respect to either.
    y: Source,
    log_y: Source,
    dy: Source,
    /// Of each element: 0, 1 or, in every other row, anything between.
    labels: Source,
}

/// Which batch.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// The class of every row, or of none in particular.
    class: Option<usize>,
    rows: usize,
    classes: usize,
    /// Elements by which the slices miss a multiple of 64 bytes.
    offset: usize,
    /// The first row's seed; the others follow.
    seed: u64,
}

/// The sources of one row.
struct Sources<'a> {
    x: &'a [f32],
    y: &'a [f32],
    log_y: &'a [f32],
    dy: &'a [f32],
    target: Option<usize>,
}

impl Case {
    /// The class of row `r`.
    fn class(&self, r: usize) -> inputs::Class {
        CLASSES[self.class.unwrap_or(r % CLASSES.len())]
    }
}

impl Batch {
    fn new(case: Case) -> Self {
        let Case {
            rows,
            classes,
            offset,
            seed,
            ..
        } = case;
        let [mut x, mut y, mut log_y, mut dy, mut labels] = [const { Vec::new() }; 5];
        let mut targets = Vec::new();
        for (r, seed) in (0..rows).zip(seed..) {
            let row = case.class(r).row(seed, classes);
            y.extend(oracle::softmax(&row).into_iter().map(|p| p as f32));
            log_y.extend(oracle::log_softmax(&row).into_iter().map(|p| p as f32));
            let rng = &mut Rng::new(!seed);
            targets.push(target(rng, &row));
            dy.extend(inputs::upstream(rng, classes));
            let soft = rng.coin();
            labels.extend((0..classes).map(|_| inputs::label(rng, soft)));
            x.extend(row);
        }
        // Each misses alignment by another number of elements, and so does what is written.
        let place = |content: Vec<f32>, more| Source::new(&content, (offset + more) % 4);
        Self {
            case,
            rows,
            classes,
            x: place(x, 1),
            targets,
            y: place(y, 2),
            log_y: place(log_y, 2),
            dy: place(dy, 3),
            labels: place(labels, 3),
        }
    }

    /// The results of all rows, one after the other.
    fn rows<T>(&self, f: impl Fn(Sources<'_>) -> Vec<T>) -> Vec<T> {
        let row = |r| -> Range<usize> { r * self.classes..(r + 1) * self.classes };
        (0..self.rows)
            .flat_map(|r| {
                f(Sources {
                    x: &self.x[row(r)],
                    y: &self.y[row(r)],
                    log_y: &self.log_y[row(r)],
                    dy: &self.dy[row(r)],
                    target: usize::try_from(self.targets[r]).ok(),
                })
            })
            .collect()
    }

    /// What a call wrote that was given a new slice.
    fn output(
        &self,
        len: usize,
        call: impl FnOnce(&mut [f32]) -> Result<(), Error>,
    ) -> Result<Vec<f32>, Error> {
        self.over(&vec![UNTOUCHED; len], call)
    }

    /// What a call wrote over its argument.
    fn over(
        &self,
        x: &[f32],
        call: impl FnOnce(&mut [f32]) -> Result<(), Error>,
    ) -> Result<Vec<f32>, Error> {
        let (written, result) = guarded(x, self.case.offset, call);
        result.map(|()| written)
    }

    /// What a call returned that was given a new slice, as long as the logits.
    fn beside(&self, call: impl FnOnce(&mut [f32]) -> Result<f32, Error>) -> Result<f32, Error> {
        guarded(&vec![UNTOUCHED; self.x.len()], self.case.offset, call).1
    }

    /// Rows that are not ignored.
    fn count(&self) -> f64 {
        self.targets.iter().filter(|&&target| target >= 0).count() as f64
    }

    fn losses(&self) -> Vec<f64> {
        self.rows(|row| {
            vec![
                row.target
                    .map_or(0.0, |target| oracle::cross_entropy(row.x, target)),
            ]
        })
    }

    fn gradient(&self, g: f64) -> Vec<Want> {
        self.rows(|row| {
            let Some(target) = row.target else {
                return vec![Want::exactly(0.0); row.x.len()];
            };
            let gradient = oracle::cross_entropy_gradient(row.x, target, g);
            let gradient = gradient.into_iter().zip(row.x).enumerate();
            gradient
                .map(|(i, (want, &x))| {
                    let want = Want::ulp(want);
                    if i == target {
                        want
                    } else {
                        masked_or(x, want)
                    }
                })
                .collect()
        })
    }

    fn binary_losses(&self) -> Vec<f64> {
        let pairs = self.x.iter().zip(self.labels.iter());
        pairs
            .map(|(&x, &t)| oracle::binary_cross_entropy(x, t).0)
            .collect()
    }

    fn binary_gradient(&self, g: f64) -> Vec<Want> {
        let pairs = self.x.iter().zip(self.labels.iter());
        ulps_of(
            pairs
                .map(|(&x, &t)| oracle::binary_cross_entropy_gradient(x, t, g))
                .collect(),
        )
    }
}

/// The likeliest class, the first, the last, any; now and then none: an ignored row.
fn target(rng: &mut Rng, row: &[f32]) -> i64 {
    let last = row.len().checked_sub(1);
    let top = (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j]));
    let target = match rng.below(8) {
        0 => last.map(|_| 0),
        1 => last,
        2 | 3 => last.map(|last| rng.below(last + 1)),
        4 => None,
        _ => top,
    };
    target.map_or(-100, |target| i64::try_from(target).unwrap())
}

/// A slice to read that misses a multiple of 64 bytes by a number of elements. What is computed
/// from beyond it is NaN.
struct Source {
    buffer: Vec<f32>,
    slice: Range<usize>,
}

impl Source {
    fn new(content: &[f32], offset: usize) -> Self {
        let mut buffer = vec![f32::NAN; content.len() + 64];
        let start = 16 + buffer.as_ptr().align_offset(64) + offset;
        let slice = start..start + content.len();
        buffer[slice.clone()].copy_from_slice(content);
        Self { buffer, slice }
    }
}

impl Deref for Source {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[self.slice.clone()]
    }
}

/// Every class at every length up to 300, around the chunk of 4096, and at two vocabularies; from
/// every offset. Then batches.
fn cases() -> Vec<Case> {
    let named = |name| Some(CLASSES.iter().position(|class| class.name == name).unwrap());
    let mut cases = Vec::new();
    let mut add = |class, rows, classes, offset| {
        // Room for the seeds of the rows.
        let seed = (cases.len() as u64) << 16;
        cases.push(Case {
            class,
            rows,
            classes,
            offset,
            seed,
        });
    };
    for class in 0..CLASSES.len() {
        for classes in (0..=300).chain([1000, 4096, 4097, 8193]) {
            for offset in 0..4 {
                add(Some(class), 1, classes, offset);
            }
        }
        add(Some(class), 1, 50_257, class % 4);
        add(Some(class), 1, 128_256, (class + 1) % 4);
    }
    for classes in (1..=40).chain([64, 65, 100, 256, 1000]) {
        for rows in [2, 3, 16, 17, 53] {
            add(None, rows, classes, rows % 4);
        }
    }
    add(None, 5, 4097, 1);
    for class in ["normal 3", "masked but one"] {
        add(named(class), 1, 1_000_000, 0);
    }
    // The rows for which other libraries' errors are published.
    for (rows, classes, class) in [
        (2000, 10, "normal 1"),
        (2000, 10, "normal 10"),
        (2000, 10, "normal 40"),
        (500, 1000, "normal 3"),
        (500, 1000, "normal 20"),
        (20, 128_256, "normal 3"),
    ] {
        add(named(class), rows, classes, 0);
    }
    sample(&mut cases);
    // Longest first, so that no thread is left with one at the end.
    cases.sort_by_key(|case| core::cmp::Reverse(case.rows * case.classes));
    cases
}

/// Keeps every nth case, if `SOFTLANE_SAMPLE` is n, and some of each class.
fn sample(cases: &mut Vec<Case>) {
    let Some(n) = env::var_os("SOFTLANE_SAMPLE") else {
        return;
    };
    let n: usize = n.to_str().unwrap().parse().unwrap();
    let all = cases.len();
    let mut number = 0..all;
    cases.retain(|_| number.next().unwrap() % n == 0);
    for class in (0..CLASSES.len()).map(Some).chain([None]) {
        let kept = |case: &Case| case.class == class;
        assert!(cases.iter().any(kept), "SOFTLANE_SAMPLE={n}: too few");
    }
    let kept = cases.len();
    let line = format!("SOFTLANE_SAMPLE={n}: {kept} batches of {all}, some of each class\n");
    // Not captured by the harness: also seen when the test passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The worst results of one operation on one backend: by ULP, and by share of the textbook bound.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    ulp: Option<Finding>,
    textbook: Option<Finding>,
}

#[derive(Clone, Copy, Debug)]
struct Finding {
    error: f64,
    case: Case,
    form: &'static str,
    index: usize,
    got: f32,
    want: Want,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, want, .. } = *self;
        // The index is that of an element, or of a row.
        let class = case.class.map_or("mixed", |class| CLASSES[class].name);
        write!(
            f,
            "{} of {} x {} {:?}, seed {:#x}, offset {}: [{}] is {:e}, not {:e}: {} ULP",
            self.form,
            case.rows,
            case.classes,
            class,
            case.seed,
            case.offset,
            self.index,
            self.got,
            want.value,
            figure(want.error(self.got))
        )
    }
}

impl Worst {
    fn merge(&mut self, other: Self) {
        for (mine, other) in [
            (&mut self.ulp, other.ulp),
            (&mut self.textbook, other.textbook),
        ] {
            if other.is_some_and(|other| mine.is_none_or(|mine| other.error > mine.error)) {
                *mine = other;
            }
        }
    }
}

/// Every operation on every backend on one batch.
fn run(batch: &Batch, backends: &[Backend], worst: &mut [Vec<Worst>]) {
    for (operation, worst) in TABLE.iter().zip(worst) {
        let wants = (operation.exact)(batch);
        for (&backend, worst) in backends.iter().zip(worst) {
            let textbook = is_textbook(backend).then(|| (operation.textbook)(batch));
            let exec = Exec::new().backend(backend);
            for &(form, call) in operation.forms {
                let results = call(exec, batch)
                    .unwrap_or_else(|error| panic!("{form} of {:?}: {error}", batch.case));
                assert_eq!(wants.len(), results.len(), "{form}");
                let ulp = |i: usize| wants[i].error(results[i]);
                let finding = |(error, index)| Finding {
                    error,
                    case: batch.case,
                    form,
                    index,
                    got: results[index],
                    want: wants[index],
                };
                worst.merge(Worst {
                    ulp: largest(results.len(), ulp).map(finding),
                    textbook: textbook.as_ref().and_then(|bounds| {
                        assert_eq!(wants.len(), bounds.len(), "{form}");
                        let share = |i| textbook::share(ulp(i), wants[i].unit, bounds[i]);
                        largest(results.len(), share).map(finding)
                    }),
                });
            }
        }
    }
}

/// The largest of `n` errors, and where it is.
fn largest(n: usize, error: impl Fn(usize) -> f64) -> Option<(f64, usize)> {
    let mut largest = None;
    for i in 0..n {
        let error = error(i);
        if largest.is_none_or(|(most, _)| error > most) {
            largest = Some((error, i));
        }
    }
    largest
}

/// A number to read in a column.
fn figure(x: f64) -> String {
    if x < 1e3 {
        format!("{x:.3}")
    } else {
        format!("{x:.1e}")
    }
}

/// Whether a backend's bounds are those of the textbook formulas.
fn is_textbook(backend: Backend) -> bool {
    backend.name() == "scalar"
}

#[test]
fn within_the_bounds() {
    let backends: Vec<Backend> = Backend::available().collect();
    let nothing = vec![vec![Worst::default(); backends.len()]; TABLE.len()];
    let (cases, next) = (cases(), AtomicUsize::new(0));
    let found = on_all_cores(|| {
        let mut worst = nothing.clone();
        while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(&Batch::new(case), &backends, &mut worst);
        }
        worst
    });
    let mut worst = nothing.clone();
    for found in found {
        for (mine, found) in worst.iter_mut().flatten().zip(found.into_iter().flatten()) {
            mine.merge(found);
        }
    }

    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    println!("{} batches on {}", cases.len(), names.join(", "));
    for name in ["avx2", "avx512"] {
        if !names.contains(&name) {
            println!("{name} did not run: it is not supported here");
        }
    }
    let mut failures = Vec::new();
    for (operation, worst) in TABLE.iter().zip(&worst) {
        for (&backend, worst) in backends.iter().zip(worst) {
            let ulp = worst
                .ulp
                .unwrap_or_else(|| panic!("{} was not tried", operation.name));
            let (finding, bound, of) = match worst.textbook {
                Some(textbook) => (textbook, 1.0, "textbook bound"),
                None if backend.is_fused() => (ulp, operation.fused, "ULP"),
                None => (ulp, operation.unfused, "ULP"),
            };
            let line = format!(
                "{:34} {:8} {:>7} ULP of {:17} | {} of {bound} {of}: {finding}",
                operation.name,
                backend.name(),
                figure(ulp.error),
                operation.measure,
                figure(finding.error),
            );
            println!("{line}");
            if finding.error >= bound {
                failures.push(line);
            }
        }
    }
    assert!(
        failures.is_empty(),
        "beyond the bound:\n{}",
        failures.join("\n")
    );
}

#[test]
fn errors_count_in_ulp() {
    let (tiny, epsilon) = (f32::from_bits(1), f64::from(f32::EPSILON));
    let checks = [
        (1.0, Want::ulp(1.0), 0.0),
        // A power of two begins a binade.
        (1.0, Want::ulp(1.0 + epsilon), 1.0),
        (1.0, Want::ulp(1.0 - epsilon), 2.0),
        (0.0, Want::ulp(f64::from(tiny) / 2.0), 0.5),
        (3.0 * tiny, Want::ulp(0.0), 3.0),
        (3.0, Want::ulp_of(4.0, 8.0), 20_f64.exp2()),
        // Infinity is where the next number would be.
        (f32::INFINITY, Want::ulp(f64::from(f32::MAX)), 1.0),
        (f32::INFINITY, Want::ulp(1e39), 0.0),
        (f32::NEG_INFINITY, Want::ulp(f64::NEG_INFINITY), 0.0),
        (f32::MAX, Want::ulp(f64::INFINITY), f64::INFINITY),
        (f32::NAN, Want::ulp(f64::NAN), 0.0),
        (-f32::NAN, Want::ulp(f64::NAN), f64::INFINITY),
        (f32::NAN, Want::ulp(1.0), f64::INFINITY),
        (1.0, Want::ulp(f64::NAN), f64::INFINITY),
        (0.0, Want::exactly(0.0), 0.0),
        (tiny, Want::exactly(0.0), f64::INFINITY),
    ];
    for (got, want, error) in checks {
        let counted = want.error(got);
        assert!(
            counted.total_cmp(&error).is_eq(),
            "{got:e} is {counted} off {want:?}"
        );
    }
}

/// How large the error of each textbook formula can get in f32, evaluated from left to right.
///
/// With `u = 2^-24`, every operation has a relative error of at most `u` (and half of `2^-149`
/// where the result is subnormal); `exp`, `ln` and `ln_1p` of the standard library are taken to be
/// within 1 ULP, `2u`. Errors of first order are added up; those of second order are left to a
/// factor of 1.07: the longest sum here has `10^6 u < 0.06`.
mod textbook {
    use super::{Batch, Row, oracle};

    const U: f64 = 1.0 / 16_777_216.0;
    const SECOND_ORDER: f64 = 1.07;
    /// The smallest positive `f32`.
    const TINY: f64 = 1.0 / (1_u128 << 100) as f64 / (1_u64 << 49) as f64;

    /// The error as a share of the bound; infinite where two do not agree at all.
    pub fn share(error: f64, unit: f64, bound: f64) -> f64 {
        if error == 0.0 || bound == f64::INFINITY {
            0.0
        } else if error == f64::INFINITY {
            error
        } else {
            error * unit / (SECOND_ORDER * bound)
        }
    }

    /// The error of a result that is right but for its rounding.
    pub fn rounding(result: f64) -> f64 {
        result.abs() * U + TINY
    }

    /// The errors of an operation, or nothing for an infinite result, of which there is no error.
    fn total(errors: f64) -> f64 {
        if errors.is_finite() { errors } else { 0.0 }
    }

    /// The errors of the sum of some results, which is taken in f64, and of their mean.
    pub fn sum_and_mean(errors: &[f64], sum: f64, count: f64) -> Vec<f64> {
        let error = errors.iter().sum::<f64>();
        let of_sum = error + rounding(sum);
        let of_mean = error / count + rounding(sum / count);
        [of_sum, of_mean]
            .map(|error| unless_overflow(sum, total(error)))
            .to_vec()
    }

    /// Anything can come out where finite terms of these magnitudes may overflow on the way.
    fn unless_overflow(magnitudes: f64, error: f64) -> f64 {
        if magnitudes.is_finite() && SECOND_ORDER * magnitudes > f64::from(f32::MAX) {
            f64::INFINITY
        } else {
            error
        }
    }

    /// The relative error, in `u`, of `sum_j e^(x_j - max)`. Each weight has that of its argument,
    /// `|d|`, and of the exponential, 2: over the sum, that is `sum w |d| / sum w + 2`. Each
    /// addition has 1.
    fn sum_error(row: &Row) -> f64 {
        let weighted = row.weights.iter().zip(&row.d);
        let weighted = weighted.map(|(w, d)| if *w == 0.0 { 0.0 } else { w * d.abs() });
        oracle::sum(weighted) / row.sum + 2.0 + row.d.len() as f64
    }

    /// The error of `e^d / sum`: that of `d`, the exponential, the sum and the division.
    fn probability(row: &Row, i: usize, sum_error: f64) -> f64 {
        let (p, d) = (row.probability(i), row.d[i].abs());
        let relative = if p == 0.0 {
            0.0
        } else {
            d + 2.0 + sum_error + 1.0
        };
        p * U * relative + 2.0 * TINY
    }

    pub fn softmax(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let row = Row::new(row.x);
            let sum_error = sum_error(&row);
            (0..row.d.len())
                .map(|i| probability(&row, i, sum_error))
                .collect()
        })
    }

    /// The error of `ln sum`: that of the sum, and of the logarithm.
    fn log_sum(row: &Row) -> f64 {
        U * (sum_error(row) + 2.0 * row.log_sum())
    }

    /// `x - max - ln sum`
    pub fn log_softmax(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let row = Row::new(row.x);
            let log_sum = log_sum(&row);
            let error = |i: usize| log_sum + rounding(row.d[i]) + rounding(row.log_probability(i));
            (0..row.d.len()).map(|i| total(error(i))).collect()
        })
    }

    /// `max + ln sum`
    pub fn logsumexp(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let exact = oracle::logsumexp(row.x);
            vec![total(log_sum(&Row::new(row.x)) + rounding(exact))]
        })
    }

    /// `ln sum - (x - max)`
    pub fn losses(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let Some(target) = row.target else {
                return vec![0.0];
            };
            let row = Row::new(row.x);
            let errors = rounding(row.d[target]) + rounding(row.log_probability(target));
            vec![total(log_sum(&row) + errors)]
        })
    }

    /// `(p - t) g`, where `g` is rounded too.
    pub fn gradient(b: &Batch, g: f64) -> Vec<f64> {
        b.rows(|row| {
            let Some(target) = row.target else {
                return vec![0.0; row.x.len()];
            };
            let row = Row::new(row.x);
            let sum_error = sum_error(&row);
            let error = |i| {
                let p = probability(&row, i, sum_error);
                let difference = if i == target {
                    row.complement(i)
                } else {
                    row.probability(i)
                };
                g * (p + 3.0 * rounding(difference)) + TINY
            };
            (0..row.d.len()).map(error).collect()
        })
    }

    /// `y (dy - sum y dy)`: each product and each addition of the sum has an error of `u`, of the
    /// products' magnitudes.
    pub fn softmax_backward(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let dot = oracle::dot(row.y, row.dy);
            let n = row.y.len() as f64;
            let magnitudes = oracle::sum_of_magnitudes(oracle::products(row.y, row.dy));
            let sum = (n + 1.0) * U * magnitudes + n * TINY;
            let pairs = row.y.iter().zip(row.dy);
            pairs
                .map(|(&y, &dy)| {
                    let (y, dy) = (f64::from(y), f64::from(dy));
                    let difference = dy - dot;
                    let error = y * (sum + rounding(difference)) + rounding(y * difference);
                    unless_overflow(magnitudes + dy.abs(), error)
                })
                .collect()
        })
    }

    /// `dy - e^y sum dy`
    pub fn log_softmax_backward(b: &Batch) -> Vec<f64> {
        b.rows(|row| {
            let terms = || row.dy.iter().map(|&dy| f64::from(dy));
            let sum = oracle::sum(terms());
            let magnitudes = oracle::sum_of_magnitudes(terms());
            let sum_error = row.dy.len() as f64 * U * magnitudes;
            let pairs = row.log_y.iter().zip(row.dy);
            pairs
                .map(|(&y, &dy)| {
                    let p = oracle::exp(y);
                    let product = p * sum;
                    let error = p * sum_error
                        + (2.0 * U * p + TINY) * sum.abs()
                        + rounding(product)
                        + rounding(f64::from(dy) - product);
                    unless_overflow(magnitudes, error)
                })
                .collect()
        })
    }

    /// The exponential of the standard library.
    pub fn exp(b: &Batch) -> Vec<f64> {
        b.x.iter()
            .map(|&x| total(2.0 * rounding(oracle::exp(x))))
            .collect()
    }

    /// From left to right, within chunks of 4096 elements whose sums are added in f64.
    pub fn sum(b: &Batch) -> Vec<f64> {
        let terms = || b.x.iter().map(|&x| f64::from(x));
        let magnitudes = oracle::sum_of_magnitudes(terms().filter(|x| x.is_finite()));
        let additions = b.x.len().min(4096) as f64;
        let error = additions * U * magnitudes + rounding(oracle::sum(terms()));
        vec![unless_overflow(magnitudes, total(error))]
    }

    /// `1 / (1 + e^-x)`: the exponential's error counts by its share of the sum; the addition and
    /// the division have one each. Where `e^-x` overflows, nothing is left of the result.
    fn logistic(x: f32) -> f64 {
        let s = oracle::sigmoid(x);
        if -x > 88.7 {
            s + TINY
        } else {
            s * (2.0 * U * (1.0 - s) + 2.0 * U) + TINY
        }
    }

    pub fn sigmoid(b: &Batch) -> Vec<f64> {
        b.x.iter().map(|&x| logistic(x)).collect()
    }

    /// `m |x| + ln(1 + e^-|x|)`, where `m` is the label or 1 less the label, rounded.
    pub fn binary_losses(b: &Batch) -> Vec<f64> {
        let pairs = b.x.iter().zip(b.labels.iter());
        pairs
            .map(|(&x, &t)| {
                let t = f64::from(t);
                let against = if x < 0.0 { t } else { 1.0 - t };
                let product = if against == 0.0 {
                    0.0
                } else {
                    against * f64::from(x).abs()
                };
                let logarithm = oracle::exp(-x.abs()).ln_1p();
                let errors = 2.0 * rounding(product) + 4.0 * rounding(logarithm);
                total(errors + rounding(product + logarithm))
            })
            .collect()
    }

    /// `(s(x) - t) g`, where `g` is rounded too.
    pub fn binary_gradient(b: &Batch, g: f64) -> Vec<f64> {
        let pairs = b.x.iter().zip(b.labels.iter());
        pairs
            .map(|(&x, &t)| {
                let difference = oracle::sigmoid(x) - f64::from(t);
                g * (logistic(x) + 3.0 * rounding(difference)) + TINY
            })
            .collect()
    }
}
