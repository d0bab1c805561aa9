//! What holds for every operation: the same on every backend, exact enough, nothing written beside the
//! outputs, and nothing at all when there is an error.

use softlane::{Backend, Error, Exec};

use crate::bounds::{self, Bound, Bounds};
use crate::guard::{UNTOUCHED, guarded};
use crate::input::Batch;
use crate::ulp::{Want, ulp};

impl Bound {
    /// A result that may have this error, which counts in units of `want`.
    pub fn around(self, want: Want) -> Expected {
        Expected::new(want.value, self.map(|ulps| ulps * want.unit))
    }
}

impl Bounds {
    /// The same, of any input.
    pub fn around(self, want: Want) -> Expected {
        self.derived.around(want)
    }
}

/// An exact result, and how far off one may be that is not exact.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The result, in more precision than the library has.
    pub value: f64,
    error: Bound,
    /// Whether the scalar path has to give it too: only if it has no error at all (NaN, infinities, exact
    /// zeros) and no sum on the way overflows.
    scalar: bool,
    /// Whether the others have to.
    vectors: bool,
}

impl Expected {
    fn new(value: f64, error: Bound) -> Self {
        Self {
            value,
            error,
            scalar: !value.is_finite() || (error.fused == 0.0 && error.unfused == 0.0),
            vectors: true,
        }
    }

    /// Nothing else will do.
    pub fn exactly(value: f64) -> Self {
        bounds::EXACT.around(Want::exactly(value))
    }

    /// Anything will do, the same everywhere.
    pub fn unknown() -> Self {
        Self {
            scalar: false,
            vectors: false,
            ..Self::exactly(0.0)
        }
    }

    /// Of the scalar path, anything will do.
    pub fn on_vectors(self) -> Self {
        Self {
            scalar: false,
            ..self
        }
    }

    /// A probability, or a multiple of one.
    pub fn probability(p: f64) -> Self {
        bounds::probability(p).around(Want::ulp(p))
    }

    /// May be off by this much more.
    pub fn or(self, more: f64) -> Self {
        Self {
            error: self.error.map(|error| error + more),
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
        let error = Bound {
            fused: sum(|x| x.error.fused),
            unfused: sum(|x| x.error.unfused),
        };
        Self::new(value, error).or(ulp(value) / 2.0)
    }

    /// Whether a backend may give this.
    fn allows(self, got: f32, backend: Backend) -> bool {
        let known = if backend.name() == "scalar" {
            self.scalar
        } else {
            self.vectors
        };
        let (value, unit) = (self.value, self.error.on(backend));
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
    assert_eq!(comparable(result.err()), comparable(expected));
    if let Some(error) = expected {
        assert_same(&output, content, "the output", "its content before");
        assert_names_numbers(error);
    }
}

/// An error by its numbers, where NaN is the same as NaN. What an option has to be is left to the message.
fn comparable(error: Option<Error>) -> String {
    let error = error.map(|error| match error {
        Error::Option { name, value, .. } => Error::Option {
            name,
            value,
            expected: "",
        },
        other => other,
    });
    format!("{error:?}")
}

fn assert_names_numbers(error: Error) {
    let message = error.to_string();
    let text = |numbers: &[i128]| -> Vec<String> { numbers.iter().map(i128::to_string).collect() };
    let names = match error {
        Error::Shape { len, classes } => text(&[len as i128, classes as i128]),
        Error::Length { expected, found } => text(&[expected as i128, found as i128]),
        Error::Target {
            row,
            target,
            classes,
        } => text(&[row as i128, target, classes as i128]),
        Error::Option { name, value, .. } => vec![format!("{name} is {value}, ")],
        Error::OptionLength {
            name,
            expected,
            found,
        } => [vec![name.into()], text(&[expected as i128, found as i128])].concat(),
        Error::OptionShape { name, len, classes } => {
            [vec![name.into()], text(&[len as i128, classes as i128])].concat()
        }
        Error::OptionRows { name, period, rows } => {
            [vec![name.into()], text(&[period as i128, rows as i128])].concat()
        }
        Error::Weight { name, index, value } => vec![format!("{name}[{index}] is {value}, ")],
        other => panic!("unexpected: {other}"),
    };
    for name in names {
        let named = message.contains(&name);
        assert!(named, "{message:?} does not name {name}");
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
