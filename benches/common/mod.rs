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
    /// Runs it over a batch: what it writes is in `y`, what it returns (if anything) here.
    pub run: fn(Exec, &mut Batch) -> Result<f32, Error>,
    /// What should then be in `y`, in front, and after that what should be returned.
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
    /// A sum of n terms in `f32` is wrong by at most n units in the last place, rounding `x - max` is
    /// worth 64 in the exponential of the scalar path, and the rest of any formula is below 36.
    pub fn check(&self, exec: Exec, batch: &mut Batch) {
        batch.y.copy_from_slice(&batch.x);
        let returned = (self.run)(exec, batch).unwrap();
        let exact = (self.exact)(batch);
        let tolerance = (batch.classes as f64 + 100.0) * f64::from(f32::EPSILON) / 2.0;
        let written = &batch.y[..exact.len() - 1];
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
        run: |exec, b| exec.exp(&b.x, &mut b.y).map(|()| 0.0),
        exact: oracle::exp,
    },
    Workload {
        name: "max",
        has_rows: false,
        run: |exec, b| exec.max(&b.x),
        exact: oracle::max,
    },
    Workload {
        name: "sum",
        has_rows: false,
        run: |exec, b| exec.sum(&b.x),
        exact: oracle::sum,
    },
    Workload {
        name: "sigmoid",
        has_rows: false,
        run: |exec, b| exec.sigmoid(&b.x, &mut b.y).map(|()| 0.0),
        exact: oracle::sigmoid,
    },
    Workload {
        name: "softmax",
        has_rows: true,
        run: |exec, b| exec.softmax(&b.x, b.classes, &mut b.y).map(|()| 0.0),
        exact: oracle::softmax,
    },
    Workload {
        name: "log-softmax",
        has_rows: true,
        run: |exec, b| exec.log_softmax(&b.x, b.classes, &mut b.y).map(|()| 0.0),
        exact: oracle::log_softmax,
    },
    Workload {
        name: "logsumexp",
        has_rows: true,
        run: |exec, b| {
            let rows = b.targets.len();
            exec.logsumexp(&b.x, b.classes, &mut b.y[..rows])
                .map(|()| 0.0)
        },
        exact: oracle::logsumexp,
    },
    Workload {
        name: "softmax-backward",
        has_rows: true,
        run: |exec, b| {
            exec.softmax_backward(&b.probs, &b.x, b.classes, &mut b.y)
                .map(|()| 0.0)
        },
        exact: oracle::softmax_backward,
    },
    Workload {
        name: "log-softmax-backward",
        has_rows: true,
        run: |exec, b| {
            exec.log_softmax_backward(&b.log_probs, &b.x, b.classes, &mut b.y)
                .map(|()| 0.0)
        },
        exact: oracle::log_softmax_backward,
    },
    Workload {
        name: "cross-entropy",
        has_rows: true,
        run: |exec, b| {
            CrossEntropy::new()
                .exec(exec)
                .loss(&b.x, b.classes, &b.targets)
        },
        exact: oracle::cross_entropy,
    },
    Workload {
        name: "cross-entropy-grad",
        has_rows: true,
        run: |exec, b| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.targets, &mut b.y)
        },
        exact: oracle::cross_entropy_grad,
    },
    // Over the logits of the first time, and then over the gradients of the time before, which cost
    // the same: no way through the kernels depends on finite logits.
    Workload {
        name: "cross-entropy-grad-in-place",
        has_rows: true,
        run: |exec, b| {
            let loss = CrossEntropy::new().exec(exec);
            loss.loss_and_grad_in_place(&mut b.y, b.classes, &b.targets)
        },
        exact: oracle::cross_entropy_grad,
    },
    Workload {
        name: "binary-cross-entropy-grad",
        has_rows: true,
        run: |exec, b| {
            let loss = BinaryCrossEntropy::new().exec(exec);
            loss.loss_and_grad(&b.x, b.classes, &b.labels, &mut b.y)
        },
        exact: oracle::binary_cross_entropy_grad,
    },
];
