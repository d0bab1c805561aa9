//! The operations as accuracy is measured: the exact results, and the bounds that errors stay within.

use softlane::{Error, Exec};

use super::bounds::{self, Bound};
use super::calls::{self, Call, Output, Reads, Sources};
use super::corpus::{Batch, masked_or, ulps, ulps_of};
use super::oracle;
use super::textbook;
use super::ulp::Want;

/// What is promised of an operation, and how to see whether it is kept.
pub struct Operation {
    pub name: &'static str,
    /// What the calls give, one after the other.
    pub outputs: &'static [Output],
    /// What an ULP is one of.
    pub measure: &'static str,
    /// The error over the corpus stays below.
    pub bound: Bound,
    pub exact: fn(&Batch) -> Vec<Want>,
    /// The largest error that the textbook formula has: the bound of `scalar`.
    pub textbook: fn(&Batch) -> Vec<f64>,
}

impl Operation {
    /// The results of each form, with its name.
    pub fn forms(&self, exec: Exec, b: &Batch) -> Result<Vec<(&'static str, Vec<f32>)>, Error> {
        let calls: Vec<Vec<&Call>> = (self.outputs.iter())
            .map(|&output| calls::giving(output).collect())
            .collect();
        // A sum and a mean have the same ones.
        assert!(calls.iter().all(|same| same.len() == calls[0].len()));
        let form = |i: usize| {
            let mut results = vec![];
            for (calls, output) in calls.iter().zip(self.outputs) {
                let sources = sources(b, calls[i].reads);
                let (given, result) = calls[i].guarded(exec, sources, b.case.offset);
                result?;
                let given = given.into_iter().find(|(given, _)| given == output);
                results.extend(given.unwrap().1);
            }
            Ok((&*calls[0][i].name, results))
        };
        (0..calls[0].len()).map(form).collect()
    }
}

fn sources(b: &Batch, reads: Reads) -> Sources<'_> {
    let (x, y) = match reads {
        Reads::Logits | Reads::Targets => (&b.x, &b.x),
        Reads::Labels => (&b.x, &b.labels),
        Reads::Probabilities => (&b.dy, &b.y),
        Reads::LogProbabilities => (&b.dy, &b.log_y),
    };
    Sources {
        shape: None,
        classes: b.classes,
        x,
        y,
        targets: &b.targets,
    }
}

pub const TABLE: &[Operation] = &[
    Operation {
        name: "exp",
        outputs: &[calls::EXP],
        measure: "result",
        bound: bounds::EXP.corpus,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::exp(x))).collect(),
        textbook: textbook::exp,
    },
    Operation {
        name: "max",
        outputs: &[calls::MAX],
        measure: "exact",
        bound: bounds::EXACT,
        exact: |b| vec![Want::exactly(oracle::max(&b.x))],
        textbook: |_| vec![0.0],
    },
    Operation {
        name: "sum",
        outputs: &[calls::SUM],
        measure: "sum of magnitudes",
        bound: bounds::SUM.corpus,
        exact: |b| {
            let terms = || b.x.iter().map(|&x| f64::from(x));
            let magnitudes = oracle::sum_of_magnitudes(terms());
            vec![Want::ulp_of(oracle::sum(terms()), magnitudes)]
        },
        textbook: textbook::sum,
    },
    Operation {
        name: "softmax",
        outputs: &[calls::SOFTMAX],
        measure: "result",
        bound: bounds::PROBABILITY.corpus,
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
    },
    Operation {
        name: "log_softmax",
        outputs: &[calls::LOG_SOFTMAX],
        measure: "result",
        bound: bounds::LOG_PROBABILITY.corpus,
        exact: |b| b.rows(|row| ulps(oracle::log_softmax(row.x))),
        textbook: textbook::log_softmax,
    },
    Operation {
        name: "logsumexp",
        outputs: &[calls::LOG_SUM_EXP],
        measure: "max(|result|, 1)",
        bound: bounds::LOG_SUM_EXP.corpus,
        exact: |b| {
            b.rows(|row| {
                let lse = oracle::logsumexp(row.x);
                vec![Want::ulp_of(lse, lse.abs().max(1.0))]
            })
        },
        textbook: textbook::logsumexp,
    },
    Operation {
        name: "softmax_backward",
        outputs: &[calls::SOFTMAX_BACKWARD],
        measure: "larger operand",
        bound: bounds::SOFTMAX_BACKWARD.corpus,
        exact: |b| b.rows(|row| ulps_of(oracle::softmax_backward(row.y, row.dy))),
        textbook: textbook::softmax_backward,
    },
    Operation {
        name: "log_softmax_backward",
        outputs: &[calls::LOG_SOFTMAX_BACKWARD],
        measure: "larger operand",
        bound: bounds::LOG_SOFTMAX_BACKWARD.corpus,
        exact: |b| b.rows(|row| ulps_of(oracle::log_softmax_backward(row.log_y, row.dy))),
        textbook: textbook::log_softmax_backward,
    },
    Operation {
        name: "cross-entropy, a row",
        outputs: &[calls::ROW_LOSS],
        measure: "result",
        bound: bounds::LOSS.corpus,
        exact: |b| ulps(b.losses()),
        textbook: textbook::losses,
    },
    Operation {
        name: "cross-entropy, sum and mean",
        outputs: &[calls::SUM_LOSS, calls::MEAN_LOSS],
        measure: "result",
        bound: bounds::REDUCED_LOSS.corpus,
        exact: |b| {
            let sum = oracle::sum(b.losses());
            ulps([sum, sum / b.count()])
        },
        textbook: |b| {
            let sum = oracle::sum(b.losses());
            textbook::sum_and_mean(&textbook::losses(b), sum, b.count())
        },
    },
    Operation {
        name: "cross-entropy gradient, sum",
        outputs: &[calls::ROW_GRADIENT],
        measure: "result",
        bound: bounds::PROBABILITY.corpus,
        exact: |b| b.gradient(1.0),
        textbook: |b| textbook::gradient(b, 1.0),
    },
    Operation {
        name: "cross-entropy gradient, mean",
        outputs: &[calls::MEAN_GRADIENT],
        measure: "result",
        bound: bounds::PROBABILITY.corpus,
        exact: |b| b.gradient(1.0 / b.count()),
        textbook: |b| textbook::gradient(b, 1.0 / b.count()),
    },
    Operation {
        name: "cross-entropy with distributions, a row",
        outputs: &[calls::SOFT_ROW_LOSS],
        measure: "result",
        bound: bounds::SOFT_LOSS.corpus,
        exact: |b| ulps(b.soft_losses()),
        textbook: textbook::soft_losses,
    },
    Operation {
        name: "cross-entropy with distributions, sum and mean",
        outputs: &[calls::SOFT_SUM_LOSS, calls::SOFT_MEAN_LOSS],
        measure: "result",
        bound: bounds::SOFT_LOSS.corpus,
        exact: |b| {
            let sum = oracle::sum(b.soft_losses());
            ulps([sum, sum / b.mass()])
        },
        textbook: |b| {
            let (sum, errors) = (oracle::sum(b.soft_losses()), textbook::soft_losses(b));
            if errors.contains(&f64::INFINITY) {
                return vec![f64::INFINITY; 2];
            }
            let errors = textbook::sum_and_mean(&errors, sum, b.mass());
            // The divisor is a sum of floats, 4096 at a time.
            let divisor = (b.x.len() as f64).min(4096.0) * textbook::rounding(sum / b.mass());
            vec![errors[0], errors[1] + divisor]
        },
    },
    Operation {
        name: "gradient with distributions, sum",
        outputs: &[calls::SOFT_ROW_GRADIENT],
        measure: "larger operand",
        bound: bounds::SOFT_GRADIENT.corpus,
        exact: |b| b.soft_gradient(1.0),
        textbook: |b| textbook::soft_gradient(b, 1.0),
    },
    Operation {
        name: "gradient with distributions, mean",
        outputs: &[calls::SOFT_MEAN_GRADIENT],
        measure: "larger operand",
        bound: bounds::SOFT_GRADIENT.corpus,
        exact: |b| b.soft_gradient(if b.mass() == 0.0 { 0.0 } else { 1.0 / b.mass() }),
        textbook: |b| textbook::soft_gradient(b, 1.0 / b.mass()),
    },
    Operation {
        name: "sigmoid",
        outputs: &[calls::SIGMOID],
        measure: "result",
        bound: bounds::SIGMOID.corpus,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::sigmoid(x))).collect(),
        textbook: textbook::sigmoid,
    },
    Operation {
        name: "binary cross-entropy",
        outputs: &[calls::BINARY_LOSS],
        measure: "result",
        bound: bounds::BINARY_LOSS.corpus,
        exact: |b| ulps(b.binary_losses()),
        textbook: textbook::binary_losses,
    },
    Operation {
        name: "binary cross-entropy, sum and mean",
        outputs: &[calls::SUM_BINARY_LOSS, calls::MEAN_BINARY_LOSS],
        measure: "result",
        bound: bounds::REDUCED_BINARY_LOSS,
        exact: |b| {
            let sum = oracle::sum(b.binary_losses());
            ulps([sum, sum / b.x.len() as f64])
        },
        textbook: |b| {
            let sum = oracle::sum(b.binary_losses());
            textbook::sum_and_mean(&textbook::binary_losses(b), sum, b.x.len() as f64)
        },
    },
    Operation {
        name: "binary gradient, sum",
        outputs: &[calls::SUM_BINARY_GRADIENT],
        measure: "larger term",
        bound: bounds::BINARY_GRADIENT.corpus,
        exact: |b| b.binary_gradient(1.0),
        textbook: |b| textbook::binary_gradient(b, 1.0),
    },
    Operation {
        name: "binary gradient, mean",
        outputs: &[calls::MEAN_BINARY_GRADIENT],
        measure: "larger term",
        bound: bounds::MEAN_BINARY_GRADIENT.corpus,
        exact: |b| b.binary_gradient(1.0 / b.x.len() as f64),
        textbook: |b| textbook::binary_gradient(b, 1.0 / b.x.len() as f64),
    },
];
