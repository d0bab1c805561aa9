//! The edge contract, line by line: infinities, NaN, nothing at all, and calls that make no sense.
//! Every backend, every form of every operation (apart, in place, per row), with guard values
//! around every output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]
#![cfg_attr(
    feature = "f64",
    expect(clippy::duplicate_mod, reason = "the same tests of each type")
)]

#[path = "common/guard.rs"]
mod guard;
#[path = "edges/of_f32.rs"]
mod of_f32;
#[cfg(feature = "f64")]
#[path = "edges/of_f64.rs"]
mod of_f64;

use softlane::{Backend, Error};

#[test]
fn messages() {
    let backend = |name| Backend::named(name).unwrap_err();
    let names: Vec<&str> = Backend::available().map(Backend::name).collect();
    let supported = names.join(", ");
    let cases = [
        (
            Error::Shape {
                len: 10,
                classes: 3,
            },
            "10 elements are no whole number of rows of 3 classes".to_owned(),
        ),
        (
            Error::Length {
                expected: 6,
                found: 5,
            },
            "expected a length of 6, found 5".to_owned(),
        ),
        (
            Error::Target {
                row: 7,
                target: -3,
                classes: 10,
            },
            "target -3 of row 7 is none of 10 classes, which count from 0".to_owned(),
        ),
        (
            backend("mmx"),
            format!("backend \"mmx\" is not supported here; supported: {supported}"),
        ),
        (
            backend(""),
            format!("backend \"\" is not supported here; supported: {supported}"),
        ),
        (
            // Cut between characters, of two bytes each.
            backend(&"\u{e4}".repeat(40)),
            format!(
                "backend \"{}…\" is not supported here; supported: {supported}",
                "\u{e4}".repeat(14)
            ),
        ),
        (
            backend(&format!("a{}", "\u{e4}".repeat(40))),
            format!(
                "backend \"a{}…\" is not supported here; supported: {supported}",
                "\u{e4}".repeat(14)
            ),
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        // As a program passes it on.
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        assert_eq!(boxed.to_string(), text);
    }
}
