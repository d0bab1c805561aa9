//! Every form of every operation on slices with an allocation of their own, on every backend: for
//! `AddressSanitizer`, `ThreadSanitizer`, valgrind and Miri, which see a step beyond one, a race, and
//! what is read before it is written. Without such a tool this test notices little: see
//! `tests/sanitizers.sh`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

#[path = "common/calls.rs"]
mod calls;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "common/inputs.rs"]
mod inputs;

use calls::{CALLS, Contents, KINDS, OVER, Slices};
use rayon::ThreadPoolBuilder;
use softlane::{Backend, Exec};

/// Calls everything. Outputs are allocated anew for each call.
fn every_call(rows: usize, classes: usize, kind: &str, exec: Exec) {
    let Contents { x, y, targets } = Contents::new(rows, classes, kind);
    for call in CALLS {
        let mut out: Box<[f32]> = if call.uses & OVER == 0 {
            vec![0.0; x.len()].into()
        } else {
            x.as_slice().into()
        };
        let mut per_row: Box<[f32]> = vec![0.0; rows].into();
        let slices = Slices {
            classes,
            x: &Box::<[f32]>::from(x.as_slice()),
            y: &Box::<[f32]>::from(y.as_slice()),
            targets: &Box::<[i64]>::from(targets.as_slice()),
            out: &mut out,
            per_row: &mut per_row,
        };
        let result = (call.run)(exec, slices);
        assert_eq!(result, Ok(()), "{}", call.name);
        // A decision, of which valgrind says whether it depends on what was never written.
        let sum = |slice: &[f32]| slice.iter().copied().filter(|x| *x > 0.5).sum::<f32>();
        std::hint::black_box(sum(&out) + sum(&per_row));
    }
}

#[test]
fn every_call_on_allocations_of_its_own() {
    let shapes = calls::shapes();
    for backend in Backend::available() {
        println!("on {}", backend.name());
        for &(rows, classes) in &shapes {
            for kind in KINDS {
                every_call(rows, classes, kind, Exec::new().backend(backend).serial());
            }
        }
    }
}

/// A batch that is just long enough for threads. Under Miri, short ones are split.
#[test]
fn every_call_on_threads() {
    let rows = if cfg!(miri) { 13 } else { 26_300 };
    println!("{rows} rows");
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for backend in Backend::available() {
        println!("on {}", backend.name());
        let exec = Exec::new().backend(backend);
        pool.install(|| every_call(rows, 10, "normal 3", exec));
    }
}
