//! The options of softmax: what they are made of, what is wrong with them, and the formula of a row with them in `f64`.

use softlane::{Error, MaskedRows, Softmax};

use crate::bounds::{self, Bound};
use crate::check::{Expected, summation_error};
use crate::code::coded;
use crate::combined::SCALED;
use crate::input::Floats;
use crate::options::{Number, factor_error};
use crate::oracle::{self, sum};
use crate::ulp::Want;

coded! {
    /// Those that are on.
    pub struct Options {
        pub logit_scale: Option<Number>,
        pub mask: Option<Mask>,
        pub bool_mask: Option<Flags>,
        pub causal: Option<Causal>,
        pub sinks: Option<Sinks>,
    }
}

coded! {
    pub struct Mask {
        pub rows: Period,
        pub added: Floats,
    }
}

coded! {
    pub struct Flags {
        pub rows: Period,
        /// Over and over.
        pub take_part: Vec<bool>,
    }
}

coded! {
    pub struct Causal {
        pub queries: Period,
        pub offset: u16,
    }
}

coded! {
    pub struct Sinks {
        pub sinks: Floats,
        pub count: Period,
        pub rows_each: Period,
    }
}

coded! {
    /// How many rows there are before something comes again.
    pub enum Period {
        /// One of the numbers that divide those of a batch.
        15 => Fit(which: u8),
        1 => Any(period: u8),
    }
}

impl Period {
    /// Of so many rows.
    fn of(&self, rows: usize) -> usize {
        match *self {
            Self::Any(period) => period.into(),
            Self::Fit(which) => {
                let divisors = (1..=rows).filter(|&n| rows.is_multiple_of(n));
                let divisors: Vec<_> = divisors.collect();
                let which = usize::from(which).checked_rem(divisors.len());
                which.map_or(1, |which| divisors[which])
            }
        }
    }
}

impl Options {
    /// None.
    pub fn none() -> Self {
        Self {
            logit_scale: None,
            mask: None,
            bool_mask: None,
            causal: None,
            sinks: None,
        }
    }

    /// Their values, for so many rows and classes.
    pub fn values(&self, rows: usize, classes: usize) -> Values {
        let flags = |flags: &Flags| {
            let one = flags.take_part.iter().copied().chain([true]).cycle();
            one.take(flags.rows.of(rows) * classes).collect()
        };
        let sinks = |sinks: &Sinks| {
            let each = sinks.rows_each.of(rows);
            let count = sinks.count.of(rows.checked_div(each).unwrap_or(rows));
            (sinks.sinks.take(count), each)
        };
        let mask = |mask: &Mask| mask.added.take(mask.rows.of(rows) * classes);
        let causal = |causal: &Causal| (causal.queries.of(rows), causal.offset.into());
        Values {
            scale: self.logit_scale.as_ref().map(Number::get),
            mask: self.mask.as_ref().map(mask),
            flags: self.bool_mask.as_ref().map(flags),
            causal: self.causal.as_ref().map(causal),
            sinks: self.sinks.as_ref().map(sinks),
        }
    }
}

/// The options of a batch.
#[derive(Clone, Debug)]
pub struct Values {
    scale: Option<f64>,
    mask: Option<Vec<f32>>,
    flags: Option<Vec<bool>>,
    causal: Option<(usize, usize)>,
    sinks: Option<(Vec<f32>, usize)>,
}

/// The error for something that comes again after so many rows.
fn period_error(name: &'static str, period: usize, rows: usize) -> Option<Error> {
    let fits = rows == 0 || rows.checked_rem(period) == Some(0);
    (!fits).then_some(Error::OptionRows { name, period, rows })
}

impl Values {
    /// Softmax with them.
    pub fn builder(&self, masked_rows: MaskedRows) -> Softmax<'_> {
        let mut softmax = Softmax::new().masked_rows(masked_rows);
        if let Some(scale) = self.scale {
            softmax = softmax.logit_scale(scale);
        }
        if let Some(mask) = &self.mask {
            softmax = softmax.mask(mask);
        }
        if let Some(flags) = &self.flags {
            softmax = softmax.bool_mask(flags);
        }
        if let Some((queries, offset)) = self.causal {
            softmax = softmax.causal(queries, offset);
        }
        if let Some((sinks, rows_each)) = &self.sinks {
            softmax = softmax.sinks(sinks, *rows_each);
        }
        softmax
    }

    /// What is wrong with them, if anything is.
    pub fn error(&self, rows: usize, classes: usize) -> Option<Error> {
        let of_rows = |name, len: usize| match len.checked_div(classes) {
            Some(period) => period_error(name, period, rows),
            None => None,
        };
        let scale = self.scale.and_then(|s| factor_error("logit_scale", s));
        scale
            .or_else(|| of_rows("mask", self.mask.as_ref()?.len()))
            .or_else(|| of_rows("bool_mask", self.flags.as_ref()?.len()))
            .or_else(|| period_error("causal", self.causal?.0, rows))
            .or_else(|| {
                let (sinks, each) = self.sinks.as_ref()?;
                period_error("sinks", sinks.len() * each, rows)
            })
    }

    /// The same for one row of the batch.
    pub fn of_row(&self, row: usize, classes: usize) -> Self {
        let at = |len: usize| {
            let start = row * classes % len;
            start..start + classes
        };
        let sink = |(sinks, each): &(Vec<f32>, usize)| (vec![sinks[row / each % sinks.len()]], 1);
        Self {
            scale: self.scale,
            mask: self.mask.as_ref().map(|m| m[at(m.len())].to_vec()),
            flags: self.flags.as_ref().map(|f| f[at(f.len())].to_vec()),
            causal: self
                .causal
                .map(|(queries, offset)| (1, row % queries + offset)),
            sinks: self.sinks.as_ref().map(sink),
        }
    }

    /// Whether none is on.
    pub fn are_off(&self) -> bool {
        let is_masked = self.mask.is_some() || self.flags.is_some() || self.causal.is_some();
        self.scale.is_none() && !is_masked && self.sinks.is_none()
    }

    /// Whether backward passes are those of the functions without options.
    pub fn have_plain_gradient(&self) -> bool {
        let is_masked = self.flags.is_some() || self.causal.is_some();
        self.scale.is_none_or(|scale| scale == 1.0) && !is_masked
    }

    // The following is of the only row.

    fn takes_part(&self, class: usize) -> bool {
        self.flags.as_ref().is_none_or(|flags| flags[class])
            && self.causal.is_none_or(|(_, offset)| class <= offset)
    }

    /// What backward passes multiply by.
    fn factor(&self) -> f64 {
        let scale = self.scale.unwrap_or(1.0);
        if self.mask.is_some() {
            f64::from(scale as f32)
        } else {
            scale
        }
    }

    /// The exact probability and log-probability of each class.
    fn exact(&self, x: &[f32], masked_rows: MaskedRows) -> Option<Vec<(f64, f64)>> {
        let rounded = self.scale.unwrap_or(1.0) as f32;
        // The logits, and what they are multiplied by.
        let logit = |(i, &x): (usize, &f32)| match &self.mask {
            _ if !self.takes_part(i) => f64::NEG_INFINITY,
            Some(mask) => x.mul_add(rounded, mask[i]).into(),
            None => x.into(),
        };
        let z: Vec<f64> = x.iter().enumerate().map(logit).collect();
        let factor = match self.mask {
            Some(_) => 1.0,
            None => self.scale.unwrap_or(1.0),
        };
        let max = z.iter().fold(f64::NEG_INFINITY, |max, &z| {
            if z.is_nan() || z > max { z } else { max }
        });
        let sink = self.sinks.as_ref().map(|sinks| sinks.0[0].into());
        let sink: f64 = sink.unwrap_or(f64::NEG_INFINITY);
        let throughout = |p: f64, log_p: f64| Some(vec![(p, log_p); x.len()]);
        if max.is_nan() || max == f64::INFINITY || sink.is_nan() || sink == f64::INFINITY {
            return throughout(f64::NAN, f64::NAN);
        }
        if max == f64::NEG_INFINITY {
            let is_nan = sink == max && masked_rows == MaskedRows::Nan;
            return if is_nan {
                throughout(f64::NAN, f64::NAN)
            } else {
                throughout(0.0, f64::NEG_INFINITY)
            };
        }
        // Beyond, the documentation has a share of a sink be off.
        if sink.is_finite() && factor != 1.0 && factor * max.abs() > 25_f64.exp2() {
            return None;
        }
        let sink = sink - factor * max;
        let above = sink.max(0.0);
        let d: Vec<f64> = z.iter().map(|z| factor * (z - max)).collect();
        let top = if sink > 0.0 {
            None
        } else {
            z.iter().position(|&z| z == max)
        };
        let others = d.iter().enumerate().filter(|&(i, _)| Some(i) != top);
        let others = others.map(|(_, d)| (d - above).exp());
        let others = sum(others.chain(top.map(|_| sink.exp())));
        let of_class = |d: f64| {
            let p = (d - above).exp() / (1.0 + others);
            (p, (d - above) - others.ln_1p())
        };
        Some(d.into_iter().map(of_class).collect())
    }

    /// The probabilities, or log-probabilities if `is_log`, and how far off they may be.
    pub fn expected(&self, x: &[f32], masked_rows: MaskedRows, is_log: bool) -> Vec<Expected> {
        let Some(exact) = self.exact(x, masked_rows) else {
            return vec![Expected::unknown(); x.len()];
        };
        let scaled = if self.scale.is_none_or(|scale| scale == 1.0) {
            0.0
        } else {
            1.0
        };
        let expected = |(p, log_p): (f64, f64)| {
            let expected = if log_p.is_infinite() || log_p.is_nan() {
                Expected::exactly(if is_log { log_p } else { p })
            } else if is_log {
                bounds::LOG_PROBABILITY.around(Want::ulp(log_p))
            } else {
                let bound = bounds::probability(p);
                let more = SCALED.map(|ulps| ulps * scaled);
                let bound = Bound {
                    fused: bound.fused + more.fused,
                    unfused: bound.unfused + more.unfused,
                };
                bound.around(Want::ulp(p))
            };
            if self.are_off() {
                expected
            } else {
                expected.on_vectors()
            }
        };
        exact.into_iter().map(expected).collect()
    }

    /// The gradients from results `y` and `dy`, where a scale or masks play a part. If `y` is not that of any logits, all that is known is where they are 0.
    pub fn expected_gradients(
        &self,
        y: &[f32],
        dy: &[f32],
        is_log: bool,
        is_known: bool,
    ) -> Vec<Expected> {
        let part = || (0..y.len()).filter(|&i| self.takes_part(i));
        let weight = |i: usize| {
            if is_log {
                oracle::exp(y[i])
            } else {
                y[i].into()
            }
        };
        let term = |i: usize| if is_log { 1.0 } else { weight(i) } * f64::from(dy[i]);
        let (total, slack) = (sum(part().map(term)), summation_error(part().map(term)));
        let is_known = is_known && part().all(|i| dy[i].is_finite() && !y[i].is_nan());
        let scale = self.factor();
        let expected = |i: usize| {
            if !self.takes_part(i) {
                return Expected::exactly(0.0);
            }
            if !is_known {
                return Expected::unknown();
            }
            let p = weight(i);
            let (own, others) = (term(i), p * total);
            let is_subnormal = is_log && p < f32::MIN_POSITIVE.into();
            let (bound, least) = match (is_log, is_subnormal) {
                (true, true) => (SUBNORMAL_LOG_BACKWARD, f64::from(f32::MIN_POSITIVE)),
                (true, false) => (LOG_BACKWARD, 0.0),
                (false, _) => (BACKWARD, 0.0),
            };
            let operand = own.abs().max(others.abs()).max(least * total.abs());
            let mut want = Want::ulp_of(scale * (own - others), scale * operand);
            // Beyond the range too.
            if scale * operand > f32::MAX.into() {
                want.unit = want.unit.max(scale * operand * (-24_f64).exp2());
            }
            bound.around(want).or(scale * p * slack).on_vectors()
        };
        (0..y.len()).map(expected).collect()
    }
}

/// Derived in `src/kernel/masked_backward.rs`, and as in `tests/attention.rs`.
const BACKWARD: Bound = Bound {
    fused: 1.1,
    unfused: 1.1,
};
const LOG_BACKWARD: Bound = Bound {
    fused: 2.3,
    unfused: 2.7,
};
const SUBNORMAL_LOG_BACKWARD: Bound = Bound {
    fused: 2.8,
    unfused: 3.4,
};
