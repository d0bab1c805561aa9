//! Binary cross-entropy of a logit `x` and its label `t`, `L = -t ln s(x) - (1 - t) ln s(-x)`, and
//! its gradient `s(x) - t`, with the sigmoid `s`.
//!
//! With `e = e^-|x|`: `L = ln(1 + e) + |x| m`, where `m` is the share of the label that the logit
//! speaks against, `1 - t` for positive `x` and `t` for negative. The gradient is `(1 - t) s(x) - t
//! s(-x)`. For labels 0 and 1 one term of each vanishes, and full relative accuracy is left at both
//! ends.
//!
//! Errors with soft labels, in `u = 2^-24`, of which an ULP is at least one. Loss: of `|x| m`, two roundings, of the
//! other part 2.1 (that of label 0 and negative `x`: `tests/elements.rs`), and the addition 0.5 ULP: 2.6 ULP of the
//! result. Gradient: `e` is off by 1.3 u, which moves both terms the same way, by at most 1.3 u of the larger; the
//! difference is rounded (1 once it is scaled), and the result (0.5): 2.8 of the larger term.
//!
//! Without fused multiply-add: that part of the loss is off by 3.9 u: 4.4. Of the gradient, `e` is off by 1.7 u,
//! each term by two roundings, and their difference by three, in `u` of itself: it has nothing of the larger
//! term where the other is as large, so 1.7 + 2 + 3 = 6.7.

use super::backward::canonical;
use super::elementwise::Logistic;
use super::weights::Factor;
use super::wide::{Wide, WideFloat as _};
use super::{polynomial, tree};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{Map, Pass, Places, Rows, RowsMut, Split, of_first};
use crate::simd::{Kernel, Simd, Vector};

/// The sum of the losses of all elements, and the gradient, where the rows have a destination.
#[derive(Clone, Copy, Debug)]
pub struct BinaryCrossEntropy<T: Float> {
    /// What every gradient is multiplied by.
    pub grad_scale: Wide<T>,
}

/// The loss of each element.
#[derive(Clone, Copy, Debug)]
pub struct ElementLosses;

impl<T: Real> Kernel<Rows<'_, T, 2>> for BinaryCrossEntropy<T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, T, 2>) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, rows)
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 2>> for BinaryCrossEntropy<T> {
    type Output = Wide<T>;

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) -> Wide<T> {
        self.batch::<T::Vector<S>, _>(simd, rows)
    }
}

impl<T: Real> Kernel<RowsMut<'_, T, 2>> for ElementLosses {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, rows: RowsMut<'_, T, 2>) {
        for mut row in rows {
            let places = row.source().places();
            row.map_several::<T::Vector<S>>(simd, [T::ZERO; 2], Losses { simd, places });
        }
    }
}

impl<T: Real> BinaryCrossEntropy<T> {
    #[inline(always)]
    fn batch<V: Vector<Elem = T>, P: Pass<V::Elem, 2>>(
        self,
        simd: V::Simd,
        mut rows: impl Split + Iterator<Item = P>,
    ) -> Wide<V::Elem> {
        let scale = Factor::new(simd, self.grad_scale);
        tree::sum(
            rows.rows(),
            #[inline(always)]
            |_| {
                let mut sum = V::sum_zero(simd);
                let Some(mut row) = rows.next() else {
                    return Wide::<V::Elem>::ZERO;
                };
                // A logit of -inf with the label 0 has no loss: nothing to add where the row ends.
                let fill = [V::Elem::NEG_INFINITY, V::Elem::ZERO];
                let work = LossesAndGradients {
                    simd,
                    places: row.source().places(),
                    scale: &scale,
                    sum: &mut sum,
                };
                row.map_several::<V>(simd, fill, work);
                V::sum_total(sum)
            },
        )
    }
}

/// The loss of each.
struct Losses<V: Vector> {
    simd: V::Simd,
    places: Places<V::Elem, 2>,
}

impl<V: Vector> Map<V, 2> for Losses<V> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 2]; G]) -> [V; G] {
        let simd = self.simd;
        self.places.ask_ahead_of::<V, G>(simd, first);
        let mut y = of_first(x);
        let logistics = Logistic::several(simd, y);
        for (i, logistic) in logistics.iter().enumerate() {
            let [x, label] = x[i];
            y[i] = canonical(simd, loss(simd, x, label, logistic));
        }
        y
    }
}

/// Adds up the losses of a slice, and makes their gradients.
struct LossesAndGradients<'a, V: Vector> {
    simd: V::Simd,
    places: Places<V::Elem, 2>,
    scale: &'a Factor<V>,
    sum: &'a mut V::Sum,
}

impl<V: Vector> Map<V, 2> for LossesAndGradients<'_, V> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 2]; G]) -> [V; G] {
        let simd = self.simd;
        let one = V::splat(simd, V::Elem::ONE);
        self.places.ask_ahead_of::<V, G>(simd, first);
        let mut y = of_first(x);
        let logistics = Logistic::several(simd, y);
        for (i, logistic) in logistics.iter().enumerate() {
            let [x, label] = x[i];
            *self.sum = V::sum_add(*self.sum, loss(simd, x, label, logistic));
            let no = one - label;
            // What the rounding of a soft label's complement leaves out.
            let rest = (one - no) - label;
            y[i] = canonical(
                simd,
                gradient(simd, label, [no, rest], logistic, self.scale),
            );
        }
        y
    }
}

#[inline(always)]
fn loss<V: Vector>(simd: V::Simd, x: V, label: V, logistic: &Logistic<V>) -> V {
    let zero = V::splat(simd, V::Elem::ZERO);
    let against = V::select(x.lt(zero), label, V::splat(simd, V::Elem::ONE) - label);
    // A share of 0 is 0, of an infinite logit too.
    let against = V::select(against.eq(zero), zero, against * x.abs());
    against + ln_1p(simd, logistic.e)
}

/// The shares `yes` and `no` of the label are what the probabilities of no and yes are multiplied by; the second is a sum.
#[inline(always)]
pub fn gradient<V: Vector>(
    simd: V::Simd,
    yes: V,
    [no, rest]: [V; 2],
    logistic: &Logistic<V>,
    scale: &Factor<V>,
) -> V {
    let (of_yes, of_no) = (logistic.yes(simd), logistic.no(simd));
    // What the roundings of a soft label's terms leave out is added to their low parts.
    let product = no * of_yes.0;
    let mut rest = rest * of_yes.0;
    if V::FUSED {
        rest = rest + no.mul_add(of_yes.0, V::splat(simd, V::Elem::ZERO) - product);
    }
    scale.times_sum(
        simd,
        yes.neg_mul_add(of_no.0, product),
        yes.neg_mul_add(of_no.1, no.mul_add(of_yes.1, rest)),
    )
}

/// `Float::ATANH` of `f32`: a minimax fit, whose error is 2^-30 of the result once the coefficients
/// are rounded.
pub const ATANH_F32: [f32; 5] = [
    0.116_121_65,
    0.108_532_876,
    0.142_961_8,
    0.199_998_53,
    0.333_333_34,
];

/// `ln(1 + e)` for `e` from 0 to 1: `2 atanh(s)` with `s = e / (2 + e)`.
///
/// `2 s` is kept as a sum `hi + lo`, so that only the last addition rounds noticeably: 0.6 ULP
/// beyond the error of `e`, where multiply-add is fused.
#[inline(always)]
pub fn ln_1p<V: Vector>(simd: V::Simd, e: V) -> V {
    let two = V::constant(simd, 2.0);
    let sum = two + e;
    let rest = e - (sum - two);
    let twice = e + e;
    let hi = twice / sum;
    let lo = if V::FUSED {
        // The remainder over a line that is within 4 % of 1 / sum: it is but a correction.
        let remainder = hi.neg_mul_add(sum, twice) - hi * rest;
        remainder * sum.neg_mul_add(V::constant(simd, 1.0 / 6.0), V::constant(simd, 5.0 / 6.0))
    } else {
        V::constant(simd, 0.0)
    };
    let q = hi * hi * V::constant(simd, 0.25);
    let p = polynomial(simd, V::Elem::ATANH, q);
    hi + (p * q).mul_add(hi, lo)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::ATANH_F32;

    /// No coefficient can be changed noticeably without a worse fit, or one that is not this one.
    #[test]
    fn the_polynomial_fits_as_well_as_is_said() {
        let steps = (1..=10_000).map(|i| (f64::from(i) / 10_000.0).sqrt() / 3.0);
        let errors = steps.map(|s| {
            let q = s * s;
            let p = ATANH_F32.iter().fold(0.0, |p, &c| p * q + f64::from(c));
            (s * (1.0 + q * p) / s.atanh() - 1.0).abs()
        });
        let error = errors.fold(0.0, f64::max).log2();
        assert!((-29.941..-29.938).contains(&error), "2^{error}");
    }
}
