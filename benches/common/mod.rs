//! The workloads that the benchmarks have in common: every operation, how to run it over a batch,
//! and its exact results.

pub mod batch;
mod oracle;

use batch::Batch;
use oracle::Exact;

use softlane::{BinaryCrossEntropy, CrossEntropy, Error, Exec};

/// An operation to time.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    /// Whether it takes rows, or one slice.
    has_rows: bool,
    /// Runs it over a batch. Writes results in front of a slice that is as long as the logits, and
    /// returns what the operation returns, if anything.
    pub run: fn(Exec, &Batch, &mut [f32]) -> Result<f32, Error>,
    /// What it should write, and after that what it should return.
    exact: fn(&Batch) -> Vec<Exact>,
}

impl Workload {
    /// Rows of a batch with about so many elements, at least one; one slice counts as a row.
    pub fn rows(&self, elements: usize, classes: usize) -> usize {
        let rows = if self.has_rows { elements / classes } else { 1 };
        rows.max(1)
    }

    /// Runs it once, with each result compared to the exact one.
    ///
    /// In units of 2^-24, a sum of n terms in `f32` is wrong by at most n, rounding `x - max` is
    /// worth up to 64 in the exponential of the scalar path, and the rest of any formula below 36.
    pub fn check(&self, exec: Exec, batch: &Batch, y: &mut [f32]) {
        y.copy_from_slice(&batch.x);
        let returned = (self.run)(exec, batch, y).unwrap();
        let exact = (self.exact)(batch);
        let tolerance = (batch.classes as f64 + 100.0) * f64::from(f32::EPSILON) / 2.0;
        let written = &y[..exact.len() - 1];
        for (i, (got, exact)) in written.iter().chain([&returned]).zip(exact).enumerate() {
            let error = (f64::from(*got) - exact.value).abs();
            assert!(
                error <= tolerance * exact.magnitude,
                "{} over {} classes, {exec:?}: result {i} is {got}, not {}",
                self.name,
                batch.classes,
                exact.value,
            );
        }
    }
}

/// Elements of a batch that a second-level cache holds, with its results.
pub const IN_CACHE: usize = 64 * 1024;

/// Every operation.
pub const WORKLOADS: [Workload; 13] = [
    Workload {
        name: "exp",
        has_rows: false,
        run: |exec, b, y| exec.exp(&b.x, y).map(|()| 0.0),
        exact: oracle::exp,
    },
    Workload {
        name: "max",
        has_rows: false,
        run: |exec, b, _| exec.max(&b.x),
        exact: oracle::max,
    },
    Workload {
        name: "sum",
        has_rows: false,
        run: |exec, b, _| exec.sum(&b.x),
        exact: oracle::sum,
    },
    Workload {
        name: "sigmoid",
        has_rows: false,
        run: |exec, b, y| exec.sigmoid(&b.x, y).map(|()| 0.0),
        exact: oracle::sigmoid,
    },
    Workload {
        name: "softmax",
        has_rows: true,
        run: |exec, b, y| exec.softmax(&b.x, b.classes, y).map(|()| 0.0),
        exact: oracle::softmax,
    },
    Workload {
        name: "log-softmax",
        has_rows: true,
        run: |exec, b, y| exec.log_softmax(&b.x, b.classes, y).map(|()| 0.0),
        exact: oracle::log_softmax,
    },
    Workload {
        name: "logsumexp",
        has_rows: true,
        run: |exec, b, y| {
            let rows = b.targets.len();
            exec.logsumexp(&b.x, b.classes, &mut y[..rows])
                .map(|()| 0.0)
        },
        exact: oracle::logsumexp,
    },
    Workload {
        name: "softmax-backward",
        has_rows: true,
        run: |exec, b, y| {
            exec.softmax_backward(&b.probs, &b.x, b.classes, y)
                .map(|()| 0.0)
        },
        exact: oracle::softmax_backward,
    },
    Workload {
        name: "log-softmax-backward",
        has_rows: true,
        run: |exec, b, y| {
            exec.log_softmax_backward(&b.log_probs, &b.x, b.classes, y)
                .map(|()| 0.0)
        },
        exact: oracle::log_softmax_backward,
    },
    Workload {
        name: "cross-entropy",
        has_rows: true,
        run: |exec, b, _| {
            CrossEntropy::new()
                .exec(exec)
                .loss(&b.x, b.classes, &b.targets)
        },
        exact: oracle::cross_entropy,
    },
    Workload {
        name: "cross-entropy-grad",
        has_rows: true,
        run: |exec, b, y| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.targets, y)
        },
        exact: oracle::cross_entropy_grad,
    },
    // The first run is over the logits, each other over the gradients of the one before: the time
    // does not depend on the values.
    Workload {
        name: "cross-entropy-grad-in-place",
        has_rows: true,
        run: |exec, b, y| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad_in_place(y, b.classes, &b.targets)
        },
        exact: oracle::cross_entropy_grad,
    },
    Workload {
        name: "binary-cross-entropy-grad",
        has_rows: true,
        run: |exec, b, y| {
            let loss = BinaryCrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.labels, y)
        },
        exact: oracle::binary_cross_entropy_grad,
    },
];
