//! What holds for every operation: the same on every backend, exact enough, nothing written beside the
//! outputs, and nothing at all when there is an error.

use softlane::{Backend, Error, Exec};

use crate::guard::{UNTOUCHED, guarded};
use crate::input::Batch;
use crate::ulp::{Want, ulp};

/// The largest error that an operation may have, in ULP: where multiply-add is fused, and where it is
/// not. The scalar path has the errors of its formulas, so it has no bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    fused: f64,
    unfused: f64,
}

/// The bounds of all operations. Fused: what the documentation states. Not fused: what is derived here, in
/// `u = 2^-24`, which is an ULP where a mantissa is near 2. An exponential is off by up to 1.7 u there, a
/// weight and a sum of weights by 1.8, and each rounding by 0.5 ULP, or, if a factor follows, which may move the
/// mantissa from 1 to 2, by 1.
pub mod bounds {
    use super::Bound;

    /// In ULP of the result; not fused: of all arguments, 1.18.
    pub const EXP: Bound = bound(0.9, 1.2);
    /// In ULP of the sum of the magnitudes. It is taken in `f64` everywhere.
    pub const SUM: Bound = bound(0.51, 0.51);
    /// In ULP of the result; not fused: `e` 1.7, the quotient 0.5, what is added to it 0.5.
    pub const SIGMOID: Bound = bound(2.5, 2.7);
    /// A probability, or a multiple of one, in ULP of the result; not fused: two weights of 1.8, and each of
    /// two products with the factor 0.5.
    pub const PROBABILITY: Bound = bound(2.9, 4.6);
    /// The same below 2^-122, where the low part of the factor gives a subnormal number.
    pub const SMALL_PROBABILITY: Bound = bound(3.4, 5.1);
    /// In ULP of the result; not fused: the sum 1.8 (the result is at least ln 2, or `ln(1 + others)`), two
    /// subtractions 1.
    pub const LOG_SOFTMAX: Bound = bound(1.6, 2.8);
    /// In ULP of the larger of the result and 1; not fused: the sum 0.9, the result 0.5.
    pub const LOG_SUM_EXP: Bound = bound(0.8, 1.4);
    /// In ULP of the larger operand; not fused: the operands 0.5 and 1, their difference, which may be
    /// twice as large, 1; and 0.5 since the product may be just above a power of two.
    pub const SOFTMAX_BACKWARD: Bound = bound(2.0, 3.0);
    /// In ULP of the larger operand; not fused: the exponential 1.7, its product with the sum 0.5, the two
    /// differences 0.5 and 1.
    pub const LOG_SOFTMAX_BACKWARD: Bound = bound(3.0, 3.7);
    /// In ULP of the result; not fused: the sum 1.8, the result 0.5.
    pub const CROSS_ENTROPY: Bound = bound(1.1, 2.3);
    /// With labels 0 and 1, in ULP of the result; not fused: `e` 1.7, `2 + e` 1, the quotient 0.5, the
    /// polynomial 0.1, the result 0.5.
    pub const BINARY: Bound = bound(3.0, 3.8);
    /// With soft labels, in ULP of the larger term, of which `ln(1 + e)` may be twice; not fused: `e` 1.4
    /// where that is so, `2 + e` 0.8, the quotient, the polynomial and their sum 1.1, all of it twice; the
    /// product 0.5, the result, twice as large too, 1.
    pub const SOFT_BINARY: Bound = bound(3.5, 8.1);
    /// With labels 0 and 1, in ULP of the result; not fused: `e` 1.7, the quotient 1, two products with the
    /// factor 0.5 each.
    pub const BINARY_GRADIENT: Bound = bound(3.0, 3.7);
    /// With soft labels, in ULP of the larger term; not fused: `e` 1.7 in both terms together, two
    /// quotients, two products and the difference 1 each, two products with the factor 0.5 each.
    pub const SOFT_BINARY_GRADIENT: Bound = bound(3.5, 7.7);

    const fn bound(fused: f64, unfused: f64) -> Bound {
        Bound { fused, unfused }
    }
}

impl Bound {
    /// A result that may have this error, which counts in units of `want`.
    pub fn around(self, want: Want) -> Expected {
        Expected::new(want.value, self.fused * want.unit, self.unfused * want.unit)
    }
}

/// An exact result, and how far off one may be that is not exact.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The result, in more precision than the library has.
    pub value: f64,
    fused: f64,
    unfused: f64,
    /// Whether the scalar path has to give it too: only if it has no error at all (NaN, infinities, exact
    /// zeros) and no sum on the way overflows.
    scalar: bool,
}

impl Expected {
    fn new(value: f64, fused: f64, unfused: f64) -> Self {
        Self {
            value,
            fused,
            unfused,
            scalar: !value.is_finite() || (fused == 0.0 && unfused == 0.0),
        }
    }

    /// Nothing else will do.
    pub fn exactly(value: f64) -> Self {
        Self::new(value, 0.0, 0.0)
    }

    /// A probability, or a multiple of one.
    pub fn probability(p: f64) -> Self {
        const SMALL: f64 = 16.0 * f32::MIN_POSITIVE as f64;
        let bound = if p.abs() < SMALL {
            bounds::SMALL_PROBABILITY
        } else {
            bounds::PROBABILITY
        };
        bound.around(Want::ulp(p))
    }

    /// May be off by this much more.
    pub fn or(self, more: f64) -> Self {
        Self {
            fused: self.fused + more,
            unfused: self.unfused + more,
            ..self
        }
    }

    /// Comes of a sum that the scalar path cannot take if it does not fit: see [`fits_f32`].
    pub fn of_sum(self, fits: bool) -> Self {
        Self {
            scalar: self.scalar && fits,
            ..self
        }
    }

    /// The rounded sum of results with errors of their own, times `scale`, where the sum is that.
    pub fn scaled_sum(of: &[Self], value: f64, scale: f64) -> Self {
        let sum = |error: fn(&Self) -> f64| of.iter().map(error).sum::<f64>() * scale;
        Self::new(value, sum(|x| x.fused), sum(|x| x.unfused)).or(ulp(value) / 2.0)
    }

    /// Whether a backend may give this.
    fn allows(self, got: f32, backend: Backend) -> bool {
        let unit = if backend.is_fused() {
            self.fused
        } else {
            self.unfused
        };
        let known = self.scalar || backend.name() != "scalar";
        let value = self.value;
        !known || Want { value, unit }.error(got) <= 1.0
    }
}

/// How far off a sum in `f64` may be: terms that cancel leave the rounding of the partial sums. 0 where
/// the sum is no number.
pub fn summation_error(terms: impl Iterator<Item = f64>) -> f64 {
    let (count, magnitudes) = terms.fold((0.0, 0.0), |(n, sum), x| (n + 1.0, sum + x.abs()));
    let error = count * magnitudes * f64::EPSILON / 2.0;
    if error.is_finite() { error } else { 0.0 }
}

/// Whether `f32` holds the sum of those terms that are finite, in any order. If not, the scalar path may have
/// an infinity in its place, and NaN once that meets an infinite term.
pub fn fits_f32(terms: impl Iterator<Item = f64>) -> bool {
    let magnitudes: f64 = terms.map(f64::abs).filter(|x| x.is_finite()).sum();
    magnitudes < f64::from(f32::MAX) / 2.0
}

/// Runs an operation on every backend, and checks every result against what is expected, if that is known.
///
/// `forms` calls the operation in every form there is (in place or not), which must give the same
/// bits; so must all backends that fuse multiply-add, one thread and several, and the backend that is
/// chosen where none is named.
pub fn check(batch: Batch, expected: Option<&[Expected]>, forms: impl Fn(Exec) -> Vec<Vec<f32>>) {
    let active = Backend::active().expect("a supported backend");
    let mut fused: Option<(Backend, Vec<f32>)> = None;
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let mut results = forms(exec);
        if batch.is_spread() {
            results.extend(forms(exec.serial()));
        }
        if backend == active {
            results.extend(forms(Exec::new()));
        }
        let got = &results[0];
        for other in &results {
            assert_same(other, got, "another form", backend.name());
        }
        if let Some(expected) = expected {
            assert_near(got, expected, backend);
        }
        if backend.is_fused() {
            let (first, expected) = fused.get_or_insert_with(|| (backend, got.clone()));
            assert_same(got, expected, backend.name(), first.name());
        }
    }
}

fn assert_near(got: &[f32], expected: &[Expected], backend: Backend) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            expected.allows(got, backend),
            "{}: [{i}] is {got:e}, not {expected:?}",
            backend.name(),
        );
    }
}

fn assert_same(a: &[f32], b: &[f32], name_a: &str, name_b: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let same = a.to_bits() == b.to_bits();
        assert!(same, "[{i}] is {a:e} on {name_a}, {b:e} on {name_b}");
    }
}

/// What a call writes that succeeds, over `content`, in a slice at that offset.
pub fn output<T>(
    content: &[f32],
    offset: usize,
    call: impl FnOnce(&mut [f32]) -> Result<T, Error>,
) -> (Vec<f32>, T) {
    let (output, result) = guarded(content, offset, call);
    match result {
        Ok(result) => (output, result),
        Err(error) => panic!("unexpected: {error}"),
    }
}

/// A slice as outputs are before a call.
pub fn blank(len: usize) -> Vec<f32> {
    vec![UNTOUCHED; len]
}

/// One slice after the other.
pub fn joined(a: &[f32], b: &[f32]) -> Vec<f32> {
    [a, b].concat()
}

/// Checks that a call returns this error, which says what is wrong, and then leaves its output alone; or
/// that it succeeds.
pub fn outcome<T>(
    expected: Option<Error>,
    content: &[f32],
    call: impl FnOnce(&mut [f32]) -> Result<T, Error>,
) {
    let (output, result) = guarded(content, 0, call);
    assert_eq!(result.err(), expected);
    if let Some(error) = expected {
        assert_same(&output, content, "the output", "its content before");
        assert_names_numbers(error);
    }
}

fn assert_names_numbers(error: Error) {
    let message = error.to_string();
    let numbers = match error {
        Error::Shape { len, classes } => vec![len as i128, classes as i128],
        Error::Length { expected, found } => vec![expected as i128, found as i128],
        Error::Target {
            row,
            target,
            classes,
        } => vec![row as i128, target, classes as i128],
        other => panic!("unexpected: {other}"),
    };
    for number in numbers {
        let named = message.contains(&number.to_string());
        assert!(named, "{message:?} does not name {number}");
    }
}

/// The error for that many elements in rows of `classes`, if they do not fit.
pub fn shape_error(len: usize, classes: usize) -> Option<Error> {
    let fits = len.checked_rem(classes).map_or(len == 0, |rest| rest == 0);
    (!fits).then_some(Error::Shape { len, classes })
}

/// The error for another length than expected.
pub fn length_error(expected: usize, found: usize) -> Option<Error> {
    (expected != found).then_some(Error::Length { expected, found })
}

/// The error for another number of rows than the `len` elements make. Any number of empty rows
/// will do.
pub fn rows_error(len: usize, classes: usize, found: usize) -> Option<Error> {
    length_error(len.checked_div(classes).unwrap_or(found), found)
}
