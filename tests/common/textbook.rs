//! How large the error of each textbook formula can get in f32, evaluated from left to right.
//!
//! With `u = 2^-24`, every operation has a relative error of at most `u` (and half of `2^-149`
//! where the result is subnormal); `exp`, `ln` and `ln_1p` of the standard library are taken to be
//! within 1 ULP, `2u`. Errors of first order are added up; those of second order are left to a
//! factor of 1.07: the longest sum here has `10^6 u < 0.06`.

use super::corpus::Batch;
use super::oracle::{self, Row};

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

/// `sum t (ln sum - (x - max))`: the products with `x - max`, whose sum is taken one by one, and what is multiplied by the sum of `t`.
pub fn soft_losses(b: &Batch) -> Vec<f64> {
    b.rows(|row| {
        let (x, t, n) = (Row::new(row.x), row.labels, row.x.len() as f64);
        if !oracle::has_mass(t) {
            return vec![0.0];
        }
        let away = |i: usize| {
            if t[i] == 0.0 {
                0.0
            } else {
                f64::from(t[i]) * x.d[i].abs()
            }
        };
        let distances = oracle::sum((0..t.len()).map(away));
        let mass = oracle::sum(t.iter().map(|&t| t.into()));
        let errors = (n + 3.0) * (rounding(distances) + rounding(mass * x.log_sum()));
        let exact = oracle::soft_cross_entropy(row.x, t);
        let error = total(mass * log_sum(&x) + errors + rounding(exact));
        // A distance may overflow of which the target has little.
        let farthest = |far: f64, i: usize| {
            if t[i] == 0.0 {
                far
            } else {
                far.max(x.d[i].abs())
            }
        };
        let largest = (0..t.len()).fold(distances, farthest);
        vec![unless_overflow(largest, error)]
    })
}

/// `(p sum t - t) g`, where `g` is rounded too, and may be of a sum of all `t`.
pub fn soft_gradient(b: &Batch, g: f64) -> Vec<f64> {
    let sum_of_all = if b.mass() == 0.0 {
        0.0
    } else {
        (b.x.len() as f64).min(4096.0)
    };
    b.rows(|row| {
        let (x, t, n) = (Row::new(row.x), row.labels, row.x.len() as f64);
        let sum_error = sum_error(&x);
        let mass = oracle::sum(t.iter().map(|&t| t.into()));
        let error = |i: usize| {
            let (p, of_p) = (x.probability(i), probability(&x, i, sum_error));
            let larger = (mass * p).max(t[i].into());
            let difference =
                mass * of_p + n * rounding(mass * p) + (5.0 + sum_of_all) * rounding(larger);
            g * difference + TINY
        };
        (0..t.len()).map(|i| total(error(i))).collect()
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
