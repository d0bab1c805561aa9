//! The workloads that the benchmarks have in common: every operation, how to run it over a batch,
//! and its exact results.

pub mod batch;
#[path = "../../tests/common/mod.rs"]
pub mod shared;

use batch::Batch;
use shared::oracle::{self, Row};
use shared::ulp::Want;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Error, Exec};

/// Elements of a batch that a second-level cache holds, with its results.
pub const IN_CACHE: usize = 64 * 1024;

/// ULP that a vector backend may be off: the most that `tests/accuracy.rs` allows any of them in any
/// operation. There, each has a bound of its own, and rows that come close to it.
const VECTOR: f64 = 4.0;

/// ULP that the scalar path may be off, beside one for each class, as a sum of n terms in `f32` is
/// wrong by at most n: 64 for rounding `x - max`, and below 36 for the rest of any formula.
const SCALAR: f64 = 100.0;

/// Runs an operation over a batch. Writes results in front of a slice that is as long as the logits,
/// or over the logits there, and returns what the operation returns, if anything.
type Run = fn(Exec, &Batch, &mut [f32]) -> Result<Option<f32>, Error>;

/// What an operation should write, and after that what it should return, if anything.
type Results = fn(&Batch) -> Vec<Exact>;

/// An operation to time.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub run: Run,
    exact: Results,
}

/// An exact result: in the unit that is promised of the vector backends, and in ULP of what the
/// textbook formula adds or subtracts.
struct Exact {
    vector: Want,
    scalar: Want,
}

impl Workload {
    /// Rows of a batch with about so many elements, at least one; one slice counts as a row.
    pub fn rows(&self, elements: usize, classes: usize) -> usize {
        match self.name {
            "exp" | "max" | "sum" | "sigmoid" => 1,
            _ => (elements / classes).max(1),
        }
    }

    /// Runs it once, with each result compared to the exact one.
    pub fn check(&self, backend: Backend, exec: Exec, batch: &Batch, y: &mut [f32]) {
        y.copy_from_slice(&batch.x);
        let returned = (self.run)(exec, batch, y).unwrap();
        let exact = (self.exact)(batch);
        let written = &y[..exact.len() - usize::from(returned.is_some())];
        for (i, (got, exact)) in written.iter().chain(&returned).zip(exact).enumerate() {
            let (want, bound) = match backend.name() {
                "scalar" => (exact.scalar, SCALAR + batch.classes as f64),
                _ => (exact.vector, VECTOR),
            };
            let error = want.error(*got);
            assert!(
                error <= bound,
                "{} over {} classes, {exec:?}: result {i} is {got:e}, not {:e}: {error} ULP",
                self.name,
                batch.classes,
                want.value,
            );
        }
    }
}

/// Every operation; the usual ones in place too.
///
/// In place, the first run is over the logits, each other over the results of the one before: the
/// time does not depend on the values.
pub const WORKLOADS: [Workload; 18] = [
    workload(
        "exp",
        |exec, b, y| exec.exp(&b.x, y).map(|()| None),
        |b| b.x.iter().map(|&x| plain(oracle::exp(x))).collect(),
    ),
    workload(
        "max",
        |exec, b, _| exec.max(&b.x).map(Some),
        |b| {
            let vector = Want::exactly(oracle::max(&b.x));
            let scalar = vector;
            vec![Exact { vector, scalar }]
        },
    ),
    workload(
        "sum",
        |exec, b, _| exec.sum(&b.x).map(Some),
        |b| {
            let magnitudes = oracle::sum_of_magnitudes(f64s(&b.x));
            let sum = Want::ulp_of(oracle::sum(f64s(&b.x)), magnitudes);
            vec![exact(sum, magnitudes)]
        },
    ),
    workload(
        "sigmoid",
        |exec, b, y| exec.sigmoid(&b.x, y).map(|()| None),
        |b| b.x.iter().map(|&x| plain(oracle::sigmoid(x))).collect(),
    ),
    workload(
        "softmax",
        |exec, b, y| exec.softmax(&b.x, b.classes, y).map(|()| None),
        softmax,
    ),
    workload(
        "softmax-in-place",
        |exec, b, y| exec.softmax_in_place(y, b.classes).map(|()| None),
        softmax,
    ),
    workload(
        "log-softmax",
        |exec, b, y| exec.log_softmax(&b.x, b.classes, y).map(|()| None),
        log_softmax,
    ),
    workload(
        "log-softmax-in-place",
        |exec, b, y| exec.log_softmax_in_place(y, b.classes).map(|()| None),
        log_softmax,
    ),
    workload(
        "logsumexp",
        |exec, b, y| {
            let lse = &mut y[..b.targets.len()];
            exec.logsumexp(&b.x, b.classes, lse).map(|()| None)
        },
        |b| {
            let lse = |x| {
                let (row, lse) = (Row::new(x), oracle::logsumexp(x));
                let magnitudes = row.max.abs() + row.log_sum() + 1.0;
                exact(Want::ulp_of(lse, lse.abs().max(1.0)), magnitudes)
            };
            b.rows().map(lse).collect()
        },
    ),
    workload(
        "softmax-backward",
        |exec, b, y| {
            let dx = exec.softmax_backward(&b.probs, &b.x, b.classes, y);
            dx.map(|()| None)
        },
        |b| {
            let rows = b.probs.chunks(b.classes).zip(b.rows());
            rows.flat_map(|(y, dy)| {
                let dot = oracle::sum_of_magnitudes(oracle::products(y, dy));
                let dx = oracle::softmax_backward(y, dy).into_iter();
                dx.zip(f64s(y))
                    .map(move |((dx, larger), y)| exact(Want::ulp_of(dx, larger), larger + y * dot))
            })
            .collect()
        },
    ),
    workload(
        "log-softmax-backward",
        |exec, b, y| {
            let dx = exec.log_softmax_backward(&b.log_probs, &b.x, b.classes, y);
            dx.map(|()| None)
        },
        |b| {
            let rows = b.log_probs.chunks(b.classes).zip(b.rows());
            rows.flat_map(|(y, dy)| {
                let sum = oracle::sum_of_magnitudes(f64s(dy));
                let dx = oracle::log_softmax_backward(y, dy).into_iter();
                dx.zip(f64s(y)).map(move |((dx, larger), y)| {
                    exact(Want::ulp_of(dx, larger), larger + y.exp() * sum)
                })
            })
            .collect()
        },
    ),
    workload(
        "cross-entropy",
        |exec, b, _| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss(&b.x, b.classes, &b.targets).map(Some)
        },
        |b| vec![mean(&losses(b))],
    ),
    workload(
        "cross-entropy-per-row",
        |exec, b, y| {
            let loss = CrossEntropy::new().exec(exec);
            let losses = &mut y[..b.targets.len()];
            loss.loss_per_row(&b.x, b.classes, &b.targets, losses)
                .map(|()| None)
        },
        losses,
    ),
    workload(
        "cross-entropy-grad",
        |exec, b, y| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.targets, y).map(Some)
        },
        gradient,
    ),
    workload(
        "cross-entropy-grad-in-place",
        |exec, b, y| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad_in_place(y, b.classes, &b.targets)
                .map(Some)
        },
        gradient,
    ),
    workload(
        "binary-cross-entropy",
        |exec, b, _| {
            let loss = BinaryCrossEntropy::new().exec(exec);
            loss.loss(&b.x, b.classes, &b.labels).map(Some)
        },
        |b| vec![mean(&binary_losses(b))],
    ),
    workload(
        "binary-cross-entropy-per-element",
        |exec, b, y| {
            let loss = BinaryCrossEntropy::new().exec(exec);
            loss.loss_per_element(&b.x, b.classes, &b.labels, y)
                .map(|()| None)
        },
        binary_losses,
    ),
    workload(
        "binary-cross-entropy-grad",
        |exec, b, y| {
            let loss = BinaryCrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.labels, y).map(Some)
        },
        |b| {
            let g = 1.0 / b.x.len() as f64;
            let grads = b.x.iter().zip(&b.labels).map(|(&x, &t)| {
                let (grad, larger) = oracle::binary_cross_entropy_gradient(x, t, g);
                exact(Want::ulp_of(grad, larger), g)
            });
            grads.chain([mean(&binary_losses(b))]).collect()
        },
    ),
];

const fn workload(name: &'static str, run: Run, exact: Results) -> Workload {
    Workload { name, run, exact }
}

fn exact(vector: Want, magnitudes: f64) -> Exact {
    let scalar = Want::ulp_of(vector.value, magnitudes);
    Exact { vector, scalar }
}

/// A result of which no formula subtracts anything.
fn plain(value: f64) -> Exact {
    exact(Want::ulp(value), value)
}

/// The mean of results whose errors add up.
fn mean(results: &[Exact]) -> Exact {
    let count = results.len() as f64;
    let value = oracle::sum(results.iter().map(|x| x.scalar.value)) / count;
    let unit = oracle::sum(results.iter().map(|x| x.scalar.unit)) / count;
    Exact {
        vector: Want::ulp(value),
        scalar: Want { value, unit },
    }
}

fn f64s(x: &[f32]) -> impl Iterator<Item = f64> {
    x.iter().copied().map(f64::from)
}

fn softmax(b: &Batch) -> Vec<Exact> {
    b.rows().flat_map(oracle::softmax).map(plain).collect()
}

/// `sign ln p_i`. Textbook: `x_i - max - ln sum`, where a relative error of the sum is an absolute
/// one.
fn log_probability(row: &Row, i: usize, sign: f64) -> Exact {
    let magnitudes = row.d[i].abs() + row.log_sum() + 1.0;
    exact(Want::ulp(sign * row.log_probability(i)), magnitudes)
}

fn log_softmax(b: &Batch) -> Vec<Exact> {
    b.rows()
        .flat_map(|x| {
            let row = Row::new(x);
            (0..x.len()).map(move |i| log_probability(&row, i, 1.0))
        })
        .collect()
}

fn losses(b: &Batch) -> Vec<Exact> {
    let rows = b.rows().zip(&b.targets);
    rows.map(|(x, &t)| log_probability(&Row::new(x), t, -1.0))
        .collect()
}

/// The gradient of the mean, and the mean.
fn gradient(b: &Batch) -> Vec<Exact> {
    let g = 1.0 / b.targets.len() as f64;
    let rows = b.rows().zip(&b.targets).flat_map(|(x, &t)| {
        let grads = oracle::cross_entropy_gradient(x, t, g).into_iter();
        grads
            .enumerate()
            .map(move |(i, grad)| exact(Want::ulp(grad), if i == t { g } else { grad }))
    });
    rows.chain([mean(&losses(b))]).collect()
}

fn binary_losses(b: &Batch) -> Vec<Exact> {
    let pairs = b.x.iter().zip(&b.labels);
    pairs
        .map(|(&x, &t)| plain(oracle::binary_cross_entropy(x, t).0))
        .collect()
}
