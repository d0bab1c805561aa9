//! What holds for every operation: the same on every backend, exact enough, nothing written beside the
//! outputs, and nothing at all when there is an error.

use softlane::{Backend, Error, Exec};

use crate::guard::{UNTOUCHED, guarded};
use crate::ulp::Want;

/// What is wanted, where the error may be that many of its units.
pub fn within(units: f64, want: Want) -> Want {
    Want {
        value: want.value,
        unit: units * want.unit,
    }
}

/// What is wanted of a probability, or of a multiple of one: it is within 3.1 ULP, and below 2^-122
/// within 3.6.
pub fn probability(p: f64) -> Want {
    const SMALL: f64 = 16.0 * f32::MIN_POSITIVE as f64;
    within(if p.abs() < SMALL { 3.6 } else { 3.1 }, Want::ulp(p))
}

/// Runs an operation on every backend, on one thread and on the pool, and checks every result
/// against what is wanted, if that is known: to one unit where multiply-add is fused, and to two
/// where it is not, since it rounds twice there.
///
/// `forms` calls the operation in every form there is (in place or not), which must give the same
/// bits; so must all backends that fuse multiply-add. The scalar path has the errors of its
/// formulas, so only what has no error at all is checked of it: NaN, infinities, exact zeros.
pub fn check(want: Option<&[Want]>, forms: impl Fn(Exec) -> Vec<Vec<f32>>) {
    let mut fused: Option<(Backend, Vec<f32>)> = None;
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let results = forms(exec.serial());
        let got = &results[0];
        for other in results.iter().chain(&forms(exec)) {
            assert_same(other, got, "another form", backend.name());
        }
        if let Some(want) = want {
            assert_near(got, want, backend);
        }
        if backend.is_fused() {
            let (first, expected) = fused.get_or_insert_with(|| (backend, got.clone()));
            assert_same(got, expected, backend.name(), first.name());
        }
    }
}

fn assert_near(got: &[f32], want: &[Want], backend: Backend) {
    assert_eq!(got.len(), want.len());
    let bound = if backend.is_fused() { 1.0 } else { 2.0 };
    for (i, (&got, want)) in got.iter().zip(want).enumerate() {
        let inexact = want.value.is_finite() && want.unit > 0.0;
        assert!(
            want.error(got) <= bound || (backend.name() == "scalar" && inexact),
            "{}: [{i}] is {got:e}, not {:e}; allowed: {:e}",
            backend.name(),
            want.value,
            bound * want.unit,
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

/// Checks that a call returns this error and then leaves its output alone, or that it succeeds.
pub fn outcome<T>(
    expected: Option<Error>,
    content: &[f32],
    call: impl FnOnce(&mut [f32]) -> Result<T, Error>,
) {
    let (output, result) = guarded(content, 0, call);
    assert_eq!(result.err(), expected);
    if expected.is_some() {
        assert_same(&output, content, "the output", "its content before");
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
