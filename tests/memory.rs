//! Every form of every operation on slices with an allocation of their own, on every backend: for
//! `AddressSanitizer`, `ThreadSanitizer`, valgrind and Miri, which see a step beyond one, a race, and
//! what is read before it is written. Without such a tool this test notices little: see
//! `tests/sanitizers.sh`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod common;

use common::calls::{Destinations, Sources, Tested, all_calls};
use common::places::{Place, takes_shape};
use common::shapes::{self, Contents, KINDS};
use rayon::ThreadPoolBuilder;
use softlane::{Backend, Exec};

/// A decision on each result, of which valgrind says whether it depends on what was never written.
fn decide<E: Tested>(results: &[E]) {
    let large = results.iter().filter(|x| x.as_f64() > 0.5).count();
    std::hint::black_box(large);
}

/// Calls everything. Outputs are allocated anew for each call.
fn every_call<E: Tested>(rows: usize, classes: usize, kind: &str, exec: Exec) {
    let Contents { x, y, targets } = Contents::<E>::new(rows, classes, kind);
    let zero = E::Real::rounded(0.0);
    for call in all_calls::<E>() {
        let (x, y) = call.reads.of(&x, &y);
        let mut number = Box::new(zero);
        let mut per_row: Box<[E::Real]> = vec![zero; rows].into();
        let mut out: Box<[E]> = call.out_before(x).into();
        let sources = Sources {
            shape: None,
            classes,
            x: &Box::<[E]>::from(x.as_slice()),
            y: &Box::<[E]>::from(y.as_slice()),
            targets: &Box::<[i64]>::from(targets.as_slice()),
        };
        let destinations = Destinations {
            number: &mut *number,
            per_row: &mut per_row,
            out: &mut out,
        };
        let result = call.run(exec, sources, destinations);
        assert_eq!(result, Ok(()), "{call}");
        decide(&[*number]);
        decide(&out);
        decide(&per_row);
    }
}

#[test]
fn every_call_on_allocations_of_its_own() {
    let shapes = shapes::all();
    for backend in Backend::available() {
        println!("on {}", backend.name());
        for &(rows, classes) in &shapes {
            for kind in KINDS {
                let exec = Exec::new().backend(backend).serial();
                each_computed!(every_call(rows, classes, kind, exec));
            }
        }
    }
}

/// Calls everything on rows that are copied, because of their type or of where they lie: without what may follow the last row.
fn every_call_elsewhere<E: Tested>(rows: usize, place: Place, exec: Exec) {
    let classes = place.classes;
    let contents = Contents::<E>::new(rows, classes, "normal 3");
    let zero = E::Real::rounded(0.0);
    let put = |numbers: &[E], gap: usize| -> Box<[E]> {
        let mut there = place.put(numbers, gap);
        there.truncate(there.len().saturating_sub(gap));
        there.into()
    };
    for call in all_calls::<E>().filter(|call| takes_shape(call)) {
        let [read, mut written] = place.gaps;
        if call.is_in_place() {
            written = read;
        }
        let (x, y) = call.reads.of(&contents.x, &contents.y);
        let mut number = Box::new(zero);
        let mut per_row: Box<[E::Real]> = vec![zero; rows].into();
        let mut out = put(x, written);
        let sources = Sources {
            shape: Some(place.shape()),
            classes,
            x: &put(x, read),
            y: &put(y, read),
            targets: &Box::<[i64]>::from(contents.targets.as_slice()),
        };
        let destinations = Destinations {
            number: &mut *number,
            per_row: &mut per_row,
            out: &mut out,
        };
        let result = call.run(exec, sources, destinations);
        assert_eq!(result, Ok(()), "{call}");
        decide(&[*number]);
        decide(&out);
        decide(&per_row);
    }
}

#[test]
fn every_call_on_rows_that_are_copied() {
    // A tile and more; a part of a block; rows beside each other, more than are copied together, and of which lines of the cache are half a page apart.
    let sizes: &[(usize, usize)] = if cfg!(miri) {
        &[(6, 3), (3, 20)]
    } else {
        &[(6, 3), (3, 20), (450, 10), (12, 300), (16, 512), (2, 9000)]
    };
    for backend in Backend::available() {
        println!("on {}", backend.name());
        let exec = Exec::new().backend(backend).serial();
        for &(rows, classes) in sizes {
            for (inner, gaps) in [(1, [0, 0]), (1, [3, 1]), (rows, [0, 0]), (rows / 2, [1, 2])] {
                let place = Place {
                    classes,
                    inner: inner.max(1),
                    gaps,
                };
                if rows.is_multiple_of(place.inner) {
                    each_tested!(every_call_elsewhere(rows, place, exec));
                }
            }
        }
    }
}

/// Batches that are just long enough for threads: of short rows, which go sixteen at a time, and of longer ones, which look
/// ahead; and a row that threads share. Under Miri, short batches are split.
#[test]
fn every_call_on_threads() {
    let shapes = if cfg!(miri) {
        [(70, 10), (9, 70), (1, 8193)]
    } else {
        [(26_300, 10), (270, 1000), (1, 125_001)]
    };
    println!("{shapes:?}");
    let calls = |rows, classes, exec| {
        each_computed!(every_call(rows, classes, "normal 3", exec));
    };
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for backend in Backend::available() {
        println!("on {}", backend.name());
        let exec = Exec::new().backend(backend);
        for (rows, classes) in shapes {
            pool.install(|| calls(rows, classes, exec));
        }
    }
}
