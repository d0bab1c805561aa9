//! The backends by name, and two environment variables: `SOFTLANE_BACKEND`, which every call obeys
//! that names no backend, and `SOFTLANE_REQUIRE`, which makes a missing backend a failure here.
//!
//! A process reads `SOFTLANE_BACKEND` once. So this program runs one of its own tests again, in
//! a child process for each value; in an emulator, if `SOFTLANE_RUNNER` is its command line.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::process::Output;

use common::calls::{self, Call, Gives, Sources, Tested};
use common::child;
use common::guard::{UNTOUCHED, guarded};
use softlane::{Backend, Error, Exec};

/// Every name that means a backend on some processor, slowest first.
const KNOWN: [&str; 4] = ["scalar", "portable", "avx2", "avx512"];

fn names() -> Vec<&'static str> {
    Backend::available().map(Backend::name).collect()
}

#[test]
fn available_in_order_and_by_name() {
    let names = names();
    let in_order: Vec<&str> = KNOWN.into_iter().filter(|k| names.contains(k)).collect();
    assert_eq!(names, in_order);
    assert!(names.starts_with(&["scalar", "portable"]));
    for backend in Backend::available() {
        assert_eq!(Backend::named(backend.name()), Ok(backend));
        assert_eq!(
            format!("{backend:?}"),
            format!("Backend({})", backend.name())
        );
    }
    let fused = |name| Backend::named(name).map(Backend::is_fused);
    assert_eq!(fused("scalar"), Ok(false));
    for vector in ["avx2", "avx512"].into_iter().filter(|v| names.contains(v)) {
        assert_eq!(fused(vector), Ok(true));
    }
}

#[test]
fn available_is_what_the_processor_has() {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        assert_eq!(names().contains(&"avx2"), avx2);
        let avx512 = is_x86_feature_detected!("avx512f");
        assert_eq!(names().contains(&"avx512"), avx512);
    }
    #[cfg(not(target_arch = "x86_64"))]
    assert_eq!(names(), ["scalar", "portable"]);
}

#[test]
fn other_names_are_errors_that_list_the_supported_ones() {
    let missing = KNOWN.into_iter().filter(|known| !names().contains(known));
    for name in ["", "AVX2", "avx2 ", " avx2", "sse2", "neon", "\0"]
        .into_iter()
        .chain(missing)
    {
        let error = Backend::named(name).unwrap_err();
        let Error::Backend { name: given } = error else {
            unreachable!("{error}");
        };
        assert_eq!(given.as_str(), name);
        let supported = names().join(", ");
        let text = format!("backend {name:?} is not supported here; supported: {supported}");
        assert_eq!(error.to_string(), text);
    }
}

/// Runs a call on two rows of two classes. Returns whether it left each of its outputs as it was.
fn run(call: &Call, exec: Exec) -> (Vec<bool>, Result<(), Error>) {
    let (x, y) = call
        .reads
        .of(&[1.0, -1.0, 0.5, 0.0], &[1.0, 0.0, 0.5, 0.25]);
    let sources = Sources {
        shape: None,
        classes: 2,
        x,
        y,
        targets: &[1, 0],
    };
    let (after, result) = call.guarded(exec, sources, 0);
    let untouched = call.gives.iter().zip(after).map(|(gives, (_, after))| {
        let blank = [UNTOUCHED; 4];
        let before = if matches!(gives, Gives::Over(_)) {
            x
        } else {
            &blank
        };
        after
            .iter()
            .zip(before)
            .all(|(a, b)| a.to_bits() == b.to_bits())
    });
    (untouched.collect(), result)
}

/// Holds under any value of the variable; the next test tries them.
#[test]
fn every_call_obeys_softlane_backend() {
    let expected = match env::var_os("SOFTLANE_BACKEND") {
        None => Ok(Backend::available().last().unwrap()),
        Some(name) => Backend::named(&name.to_string_lossy()),
    };
    let active = Backend::active();
    match (active, expected) {
        (Err(active), Err(named)) => {
            assert_eq!(active.to_string(), format!("SOFTLANE_BACKEND: {named}"));
        }
        _ => assert_eq!(active, expected),
    }
    let functions = calls::functions::<f32>();
    for call in f32::calls().iter().chain(&functions) {
        for exec in [Exec::new(), Exec::new().serial()] {
            let (untouched, result) = run(call, exec);
            assert_eq!(result, active.map(drop), "{call}, {exec:?}");
            let all = vec![active.is_err(); untouched.len()];
            assert_eq!(untouched, all, "{call}, {exec:?}: outputs left alone");
        }
    }
    // Naming a backend in the call overrides the variable.
    for backend in Backend::available() {
        let (y, result) = guarded(&[UNTOUCHED; 2], 0, |y| {
            Exec::new().backend(backend).softmax(&[3.0, 3.0], 2, y)
        });
        assert_eq!((y, result), (vec![0.5; 2], Ok(())), "{backend:?}");
    }
    match active {
        Ok(backend) => println!("active: {}", backend.name()),
        Err(error) => println!("error: {error}"),
    }
}

/// Runs one test of this program in a child process.
fn child(test: &str, variable: &str, value: Option<&OsStr>) -> Output {
    let mut command = child::child(test);
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    command.output().unwrap()
}

#[track_caller]
fn assert_backend(value: Option<&OsStr>, line: &str) {
    let output = child(
        "every_call_obeys_softlane_backend",
        "SOFTLANE_BACKEND",
        value,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{value:?}: {text}");
    assert!(text.contains("1 passed"), "{value:?}: {text}");
    assert!(
        text.lines().any(|l| l.ends_with(line)),
        "{value:?}: no {line:?} in {text}"
    );
}

#[test]
fn softlane_backend_forces_each_backend() {
    assert_backend(None, &format!("active: {}", names().last().unwrap()));
    for name in names() {
        assert_backend(Some(name.as_ref()), &format!("active: {name}"));
    }
}

#[test]
fn softlane_backend_refuses_other_names() {
    let supported = names().join(", ");
    let missing: Vec<&str> = KNOWN.into_iter().filter(|k| !names().contains(k)).collect();
    for name in ["nonsense", "AVX2", "sse2", ""].into_iter().chain(missing) {
        let line = format!(
            "error: SOFTLANE_BACKEND: backend {name:?} is not supported here; supported: {supported}"
        );
        assert_backend(Some(name.as_ref()), &line);
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let line =
            "error: SOFTLANE_BACKEND: backend \"avx2\u{fffd}\" is not supported here; supported: ";
        assert_backend(
            Some(OsStr::from_bytes(b"avx2\xFF")),
            &format!("{line}{supported}"),
        );
    }
}

/// Holds if `SOFTLANE_REQUIRE`, a list like `avx2,avx512`, names available backends only.
#[test]
fn required_backends_are_available() {
    for vector in KNOWN.into_iter().filter(|known| !names().contains(known)) {
        // Not captured by the harness: also seen when the test passes.
        writeln!(
            io::stderr(),
            "{vector} is not available here: no test runs on it"
        )
        .unwrap();
    }
    let required = env::var("SOFTLANE_REQUIRE").unwrap_or_default();
    for name in required
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        assert!(
            names().contains(&name),
            "SOFTLANE_REQUIRE asks for {name}; available: {}",
            names().join(", ")
        );
    }
}

#[test]
fn softlane_require_can_fail() {
    let require = |list: &str| {
        let test = "required_backends_are_available";
        let output = child(test, "SOFTLANE_REQUIRE", Some(list.as_ref()));
        // Where the harness prints a panic depends on its version.
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    for list in [names().join(","), names().join(", "), String::new()] {
        let (success, text) = require(&list);
        assert!(success && text.contains("1 passed"), "{list:?}: {text}");
    }
    let missing = KNOWN.into_iter().filter(|known| !names().contains(known));
    for name in ["nonsense"].into_iter().chain(missing) {
        for list in [
            name.to_owned(),
            format!("portable,{name}"),
            format!("{name}, scalar"),
        ] {
            let (success, text) = require(&list);
            assert!(!success && text.contains("1 failed"), "{list:?}: {text}");
            let reason = format!("SOFTLANE_REQUIRE asks for {name}; available: ");
            assert!(text.contains(&reason), "{list:?}: {text}");
        }
    }
}
