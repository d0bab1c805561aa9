//! The exact results of every operation, or as good as: textbook formulas in `f64`.

use super::Batch;

/// A result, and the magnitude that its error is measured by: its own, or of what it is a sum of.
pub struct Exact {
    pub value: f64,
    pub magnitude: f64,
}

/// A result without cancellation.
fn plain(value: f64) -> Exact {
    Exact {
        value,
        magnitude: value.abs(),
    }
}

/// A sum of terms.
fn sum_of(terms: impl IntoIterator<Item = f64>) -> Exact {
    let mut sum = plain(0.0);
    for term in terms {
        sum.value += term;
        sum.magnitude += term.abs();
    }
    sum
}

/// Results that are written, of an operation that returns nothing.
fn written(results: impl Iterator<Item = Exact>) -> Vec<Exact> {
    results.chain([plain(0.0)]).collect()
}

fn f64s(x: &[f32]) -> impl Iterator<Item = f64> + Clone {
    x.iter().copied().map(f64::from)
}

/// The logarithm of a sum, whose relative error becomes absolute, beside a maximum.
fn log_sum_exp(row: &[f32]) -> Exact {
    let max = f64s(row).fold(f64::NEG_INFINITY, f64::max);
    let value = max + f64s(row).map(|x| (x - max).exp()).sum::<f64>().ln();
    Exact {
        value,
        magnitude: value.abs() + 1.0,
    }
}

/// `ln p` of a logit.
fn log_prob(x: f64, lse: &Exact) -> Exact {
    Exact {
        value: x - lse.value,
        magnitude: x.abs() + lse.magnitude,
    }
}

pub fn exp(batch: &Batch) -> Vec<Exact> {
    written(f64s(&batch.x).map(|x| plain(x.exp())))
}

pub fn max(batch: &Batch) -> Vec<Exact> {
    vec![plain(f64s(&batch.x).fold(f64::NEG_INFINITY, f64::max))]
}

pub fn sum(batch: &Batch) -> Vec<Exact> {
    vec![sum_of(f64s(&batch.x))]
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn sigmoid(batch: &Batch) -> Vec<Exact> {
    written(f64s(&batch.x).map(|x| plain(logistic(x))))
}

pub fn softmax(batch: &Batch) -> Vec<Exact> {
    written(batch.rows().flat_map(|row| {
        let lse = log_sum_exp(row);
        f64s(row).map(move |x| plain(log_prob(x, &lse).value.exp()))
    }))
}

pub fn log_softmax(batch: &Batch) -> Vec<Exact> {
    written(batch.rows().flat_map(|row| {
        let lse = log_sum_exp(row);
        f64s(row).map(move |x| log_prob(x, &lse))
    }))
}

pub fn logsumexp(batch: &Batch) -> Vec<Exact> {
    written(batch.rows().map(log_sum_exp))
}

pub fn softmax_backward(batch: &Batch) -> Vec<Exact> {
    let rows = batch.probs.chunks(batch.classes).zip(batch.rows());
    written(rows.flat_map(|(y, dy)| {
        let dot = sum_of(f64s(y).zip(f64s(dy)).map(|(y, dy)| y * dy));
        f64s(y).zip(f64s(dy)).map(move |(y, dy)| Exact {
            value: y * (dy - dot.value),
            magnitude: y * (dy.abs() + dot.magnitude),
        })
    }))
}

pub fn log_softmax_backward(batch: &Batch) -> Vec<Exact> {
    let rows = batch.log_probs.chunks(batch.classes).zip(batch.rows());
    written(rows.flat_map(|(y, dy)| {
        let sum = sum_of(f64s(dy));
        f64s(y).zip(f64s(dy)).map(move |(y, dy)| Exact {
            value: dy - y.exp() * sum.value,
            magnitude: dy.abs() + y.exp() * sum.magnitude,
        })
    }))
}

pub fn cross_entropy(batch: &Batch) -> Vec<Exact> {
    let rows = batch.targets.len() as f64;
    let mut mean = plain(0.0);
    for (row, &t) in batch.rows().zip(&batch.targets) {
        let loss = log_prob(f64::from(row[t]), &log_sum_exp(row));
        mean.value -= loss.value / rows;
        mean.magnitude += loss.magnitude / rows;
    }
    vec![mean]
}

pub fn cross_entropy_grad(batch: &Batch) -> Vec<Exact> {
    let rows = batch.targets.len() as f64;
    let grads = batch.rows().zip(&batch.targets).flat_map(|(row, &t)| {
        let lse = log_sum_exp(row);
        f64s(row).enumerate().map(move |(i, x)| {
            let one_hot = f64::from(u8::from(i == t));
            sum_of([log_prob(x, &lse).value.exp() / rows, -one_hot / rows])
        })
    });
    grads.chain(cross_entropy(batch)).collect()
}

pub fn binary_cross_entropy_grad(batch: &Batch) -> Vec<Exact> {
    let count = batch.x.len() as f64;
    let elements = || f64s(&batch.x).zip(f64s(&batch.labels));
    let losses = elements().map(|(x, t)| {
        // What speaks against the label.
        let against = if t > 0.5 { -x } else { x };
        against.exp().ln_1p() / count
    });
    elements()
        .map(|(x, t)| sum_of([logistic(x) / count, -t / count]))
        .chain([sum_of(losses)])
        .collect()
}
