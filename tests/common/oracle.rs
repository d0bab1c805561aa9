//! Every operation in `f64`, by formulas that lose nothing: within `2^-50` of the definitions, of the
//! result or of what errors count by (of `2^-1022` if that is less). `tests/oracle.rs` proves it.
//! Shares no code with the library.
//!
//! A sum carries its rounding errors along, and counts by the magnitudes of its terms. In a backward
//! pass it counts by itself, which takes terms that do not cancel to less than `2^-40` or so of
//! their magnitudes.
//!
//! With the largest logit subtracted, the sum of the weights is `1 + others`, where `others` leaves
//! that logit out. So `ln p_i = (x_i - max) - ln(1 + others)` is a difference of a negative and a
//! positive number, and `1 - p` of the largest is `others / (1 + others)`: nothing cancels.

/// The sum of the terms, with the rounding error of each addition carried along (Neumaier).
pub fn sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut carried) = (0.0_f64, 0.0);
    for term in terms {
        let next = sum + term;
        carried += if sum.abs() >= term.abs() {
            (sum - next) + term
        } else {
            (term - next) + sum
        };
        sum = next;
    }
    // Of infinities, the error is NaN.
    if sum.is_finite() { sum + carried } else { sum }
}

/// The sum of the magnitudes of the terms.
pub fn sum_of_magnitudes(terms: impl IntoIterator<Item = f64>) -> f64 {
    sum(terms.into_iter().map(f64::abs))
}

/// The largest element, `-inf` for none, NaN if there is one.
pub fn max(x: &[f32]) -> f64 {
    x.iter().fold(f64::NEG_INFINITY, |max, &x| {
        if x.is_nan() || f64::from(x) > max {
            f64::from(x)
        } else {
            max
        }
    })
}

/// What the softmax-like operations share of a row of logits. NaN throughout for a row that has no
/// probabilities: with NaN or `+inf`, or with `-inf` alone.
#[derive(Clone, Debug)]
pub struct Row {
    /// The largest logit, and where the first of its kind is.
    pub max: f64,
    top: usize,
    /// The logits less the largest.
    pub d: Vec<f64>,
    /// `e^d`
    pub weights: Vec<f64>,
    others: f64,
    /// The sum of the weights.
    pub sum: f64,
}

impl Row {
    /// Of these logits.
    pub fn new(x: &[f32]) -> Self {
        let max = max(x);
        let top = x.iter().position(|&x| f64::from(x) >= max).unwrap_or(0);
        let d: Vec<f64> = x.iter().map(|&x| f64::from(x) - max).collect();
        let weights: Vec<f64> = x.iter().map(|&x| weight(f64::from(x), max)).collect();
        let terms = weights.iter().enumerate();
        let mut others = sum(terms.map(|(i, &w)| if i == top { 0.0 } else { w }));
        if !max.is_finite() {
            others = f64::NAN;
        }
        Self {
            max,
            top,
            d,
            weights,
            others,
            sum: 1.0 + others,
        }
    }

    /// `p_i`
    pub fn probability(&self, i: usize) -> f64 {
        self.weights[i] / self.sum
    }

    /// `1 - p_i`
    pub fn complement(&self, i: usize) -> f64 {
        if i == self.top {
            self.others / self.sum
        } else {
            // At most half of the sum is taken away.
            (self.sum - self.weights[i]) / self.sum
        }
    }

    /// `ln p_i`
    pub fn log_probability(&self, i: usize) -> f64 {
        self.d[i] - self.log_sum()
    }

    /// `ln` of the sum of the weights.
    pub fn log_sum(&self) -> f64 {
        self.others.ln_1p()
    }
}

/// `e^(x - max)`. What the difference loses to rounding, up to `2^-44` where that shows, is given back.
fn weight(x: f64, max: f64) -> f64 {
    let d = x - max;
    let weight = d.exp();
    if weight == 0.0 {
        return weight;
    }
    // Exact (Knuth).
    let taken = x - d;
    let lost = (x - (d + taken)) + (taken - max);
    weight + weight * lost
}

/// `e^x_i / sum e^x_j`
pub fn softmax(x: &[f32]) -> Vec<f64> {
    let row = Row::new(x);
    (0..x.len()).map(|i| row.probability(i)).collect()
}

/// `ln(e^x_i / sum e^x_j)`
pub fn log_softmax(x: &[f32]) -> Vec<f64> {
    let row = Row::new(x);
    (0..x.len()).map(|i| row.log_probability(i)).collect()
}

/// `ln sum e^x_j`: `-inf` for no elements or `-inf` alone, `+inf` if there is one and no NaN.
pub fn logsumexp(x: &[f32]) -> f64 {
    let row = Row::new(x);
    if row.max.is_infinite() {
        row.max
    } else {
        row.max + row.log_sum()
    }
}

/// The loss `-ln p_t` of a row and its target.
pub fn cross_entropy(x: &[f32], target: usize) -> f64 {
    // 0 - x: the loss of a certain row is 0, not -0.
    0.0 - Row::new(x).log_probability(target)
}

/// The gradient `g (p_i - t_i)` of a row and its target.
pub fn cross_entropy_gradient(x: &[f32], target: usize, g: f64) -> Vec<f64> {
    let row = Row::new(x);
    let mut gradient: Vec<f64> = (0..x.len()).map(|i| g * row.probability(i)).collect();
    gradient[target] = -g * row.complement(target);
    gradient
}

/// Whether a distribution has any mass: a row without counts for nothing.
pub fn has_mass(t: &[f32]) -> bool {
    t.iter().any(|&t| t != 0.0)
}

/// The loss `-sum t_i ln p_i` of a row and a distribution.
pub fn soft_cross_entropy(x: &[f32], t: &[f32]) -> f64 {
    if !has_mass(t) {
        return 0.0;
    }
    let row = Row::new(x);
    let counted = (0..x.len()).filter(|&i| t[i] != 0.0 || row.sum.is_nan());
    0.0 - sum(counted.map(|i| f64::from(t[i]) * row.log_probability(i)))
}

/// The gradient `g (M p_i - t_i)` of a row and a distribution that adds up to `M`, and the larger of the two.
pub fn soft_cross_entropy_gradient(x: &[f32], t: &[f32], g: f64) -> Vec<(f64, f64)> {
    let row = Row::new(x);
    if !has_mass(t) {
        return vec![(0.0, 0.0); x.len()];
    }
    let but = |left_out: usize| {
        let terms = t.iter().enumerate().filter(move |&(i, _)| i != left_out);
        sum(terms.map(|(_, &t)| t.into()))
    };
    let (mass, rest) = (but(usize::MAX), but(row.top));
    let gradient = |i: usize| {
        let (p, t) = (row.probability(i), f64::from(t[i]));
        let difference = if i == row.top {
            rest * p - t * row.complement(i)
        } else {
            mass * p - t
        };
        (g * difference, g * (mass * p).max(t))
    };
    (0..x.len()).map(gradient).collect()
}

/// `sum_j y_j dy_j`. Classes without probability take no part, unless their gradient is NaN.
pub fn dot(y: &[f32], dy: &[f32]) -> f64 {
    sum(products(y, dy))
}

/// The terms of [`dot`]: a product of two `f32` is exact.
pub fn products<'a>(y: &'a [f32], dy: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    y.iter().zip(dy).map(|(&y, &dy)| {
        if y == 0.0 && !dy.is_nan() {
            0.0
        } else {
            f64::from(y) * f64::from(dy)
        }
    })
}

/// `y_i (dy_i - sum_j y_j dy_j)` of probabilities `y`, and the larger of the two products.
pub fn softmax_backward(y: &[f32], dy: &[f32]) -> Vec<(f64, f64)> {
    let dot = dot(y, dy);
    y.iter()
        .zip(dy)
        .map(|(&y, &dy)| {
            let (y, dy) = (f64::from(y), f64::from(dy));
            if y == 0.0 && !dot.is_nan() {
                (0.0, 0.0)
            } else {
                (y * (dy - dot), y.abs() * dy.abs().max(dot.abs()))
            }
        })
        .collect()
}

/// `dy_i - e^y_i sum_j dy_j` of log-probabilities `y`, and the larger of the two operands, where a
/// probability below the normal numbers of `f32` counts as the least of them: as an `f32` it is
/// good to half an ULP of that.
pub fn log_softmax_backward(y: &[f32], dy: &[f32]) -> Vec<(f64, f64)> {
    let sum = sum(dy.iter().map(|&dy| f64::from(dy)));
    y.iter()
        .zip(dy)
        .map(|(&y, &dy)| {
            let (p, dy) = (exp(y), f64::from(dy));
            let share = if p == 0.0 && !sum.is_nan() {
                0.0
            } else {
                p * sum
            };
            let least = f64::from(f32::MIN_POSITIVE) * sum.abs();
            (dy - share, dy.abs().max(share.abs()).max(least))
        })
        .collect()
}

/// `e^x`
pub fn exp(x: f32) -> f64 {
    f64::from(x).exp()
}

/// `1 / (1 + e^-x)`
pub fn sigmoid(x: f32) -> f64 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// `-t ln s(x) - (1 - t) ln s(-x)` with the sigmoid `s`, and the larger of the two terms. A share
/// of 0 of an infinite term is 0.
pub fn binary_cross_entropy(x: f32, label: f32) -> (f64, f64) {
    let yes = share(f64::from(label), softplus(-x));
    let no = share(1.0 - f64::from(label), softplus(x));
    (yes + no, yes.abs().max(no.abs()))
}

/// The gradient `s(x) - t = (1 - t) s(x) - t s(-x)`, times `g`, and the larger of the two terms.
pub fn binary_cross_entropy_gradient(x: f32, label: f32, g: f64) -> (f64, f64) {
    let t = f64::from(label);
    let (yes, no) = ((1.0 - t) * sigmoid(x), t * sigmoid(-x));
    (g * (yes - no), (g * yes).abs().max((g * no).abs()))
}

/// `ln(1 + e^x)`
fn softplus(x: f32) -> f64 {
    f64::from(x).max(if x.is_nan() { f64::NAN } else { 0.0 }) + exp(-x.abs()).ln_1p()
}

fn share(t: f64, term: f64) -> f64 {
    if t == 0.0 && !term.is_nan() {
        0.0
    } else {
        t * term
    }
}
