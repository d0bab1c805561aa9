//! Every function, called from Rust by its symbol: the bits of the Rust functions, and a status for whatever may be wrong, with
//! nothing written.

#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(
    clippy::unwrap_used,
    clippy::undocumented_unsafe_blocks,
    clippy::borrow_as_ptr,
    reason = "a test fails by panicking; it calls what C calls"
)]

#[path = "../../src/lib.rs"]
#[expect(clippy::unused_self, reason = "what is public there is not here")]
mod library;

mod options;
mod table;

use core::ffi::CStr;
use core::ptr;
use std::panic::resume_unwind;
use std::thread;

use library::general::{
    SOFTLANE_VERSION_MAJOR, SOFTLANE_VERSION_MINOR, SOFTLANE_VERSION_PATCH, softlane_backend,
    softlane_last_error, softlane_status_message, softlane_version,
};
use library::status::*;
use table::{Arena, Case, Data, Number, SLOTS, Slot, bytes, cases};

/// Of nothing, one, a few; a row beyond a chunk; and what threads share.
const SHAPES: [[usize; 2]; 9] = [
    [0, 0],
    [0, 5],
    [3, 0],
    [1, 1],
    [7, 10],
    [20, 100],
    [2, 4099],
    [1301, 100],
    [1, 262_147],
];

fn last_error() -> &'static str {
    unsafe { CStr::from_ptr(softlane_last_error()) }
        .to_str()
        .unwrap()
}

/// The bits of each output that a case writes, from Rust.
fn expected<T: Number>(case: &Case<T>, data: &Data<T>, arena: &mut Arena) -> Vec<Vec<u8>> {
    let mut out = vec![T::of(9.0); data.x.len()];
    let count = arena.content(Slot::Loss).len() / size_of::<T::Real>();
    let mut losses = vec![T::real(9.0); count];
    (case.rust)(data, &mut out, &mut losses);
    let both = [(Slot::Out, bytes(&out)), (Slot::Loss, bytes(&losses))];
    let written = |slot: &Slot| {
        let (_, bytes) = both.iter().find(|(other, _)| other == slot).unwrap();
        bytes.clone()
    };
    case.writes.iter().map(written).collect()
}

fn results<T: Number>() {
    for shape in SHAPES {
        let data = Data::<T>::new(shape);
        for case in cases::<T>() {
            let name = format!("{} of {}, {shape:?}", case.name, T::NAME);
            let mut arena = Arena::new(&case, &data);
            let expected = expected(&case, &data, &mut arena);
            let before = arena.but(case.writes);
            let pointers = arena.pointers(&case);
            assert_eq!((case.call)(&pointers, shape), SOFTLANE_OK, "{name}");
            let found: Vec<_> = case
                .writes
                .iter()
                .map(|&slot| arena.content(slot))
                .collect();
            assert!(found == expected, "{name}: other bits");
            assert!(arena.but(case.writes) == before, "{name}: more is written");

            // In place.
            for &source in case
                .over
                .iter()
                .filter(|_| case.writes.contains(&Slot::Out))
            {
                let mut arena = Arena::new(&case, &data);
                let written: Vec<Slot> = case
                    .writes
                    .iter()
                    .map(|&slot| if slot == Slot::Out { source } else { slot })
                    .collect();
                let before = arena.but(&written);
                let mut pointers = arena.pointers(&case);
                pointers.0[Slot::Out as usize] = pointers.0[source as usize];
                assert_eq!(
                    (case.call)(&pointers, shape),
                    SOFTLANE_OK,
                    "{name} over {source:?}"
                );
                let found: Vec<_> = written.iter().map(|&slot| arena.content(slot)).collect();
                assert!(found == expected, "{name} over {source:?}: other bits");
                assert!(
                    arena.but(&written) == before,
                    "{name} over {source:?}: more is written"
                );
            }
        }
    }
}

#[test]
fn results_are_those_of_rust() {
    results::<f32>();
    results::<f64>();
    results::<half::f16>();
    results::<half::bf16>();
}

/// All three arrays of a backward pass may be one.
#[test]
fn backward_passes_over_themselves() {
    let numbers = [0.5_f32, 0.25, 0.25, 0.125, 0.75, 0.125];
    for call in [
        library::f32::softlane_softmax_backward_f32,
        library::f32::softlane_log_softmax_backward_f32,
    ] {
        let (mut apart, mut all) = ([9.0_f32; 6], numbers);
        let y = numbers.as_ptr();
        assert_eq!(unsafe { call(y, y, apart.as_mut_ptr(), 2, 3) }, SOFTLANE_OK);
        let all = all.as_mut_ptr();
        assert_eq!(unsafe { call(all, all, all, 2, 3) }, SOFTLANE_OK);
        let all = unsafe { all.cast::<[f32; 6]>().read() };
        assert_eq!(bytes(&all), bytes(&apart));
        assert_ne!(bytes(&all), bytes(&numbers));
    }
}

/// Calls with pointers that are changed, and checks that nothing is written.
#[track_caller]
fn refused<T: Number>(
    case: &Case<T>,
    data: &Data<T>,
    shape: [usize; 2],
    change: impl FnOnce(&mut [*mut u8; 5]),
) -> (softlane_status, &'static str) {
    let mut arena = Arena::new(case, data);
    let before = arena.all();
    let mut pointers = arena.pointers(case);
    let mut changed = pointers.0.map(<*mut _>::cast::<u8>);
    change(&mut changed);
    pointers.0 = changed.map(<*mut _>::cast);
    let status = (case.call)(&pointers, shape);
    assert!(arena.all() == before, "{}: something is written", case.name);
    (status, last_error())
}

/// Whether a null pointer means that an output is not wanted.
fn is_optional<T: Number>(case: &Case<T>, slot: Slot) -> bool {
    case.name.contains("cross_entropy") && case.writes.contains(&slot)
}

fn pointers<T: Number>() {
    let data = Data::<T>::new([7, 10]);
    for case in cases::<T>() {
        let name = case.name;
        let used = SLOTS
            .into_iter()
            .filter(|slot| case.reads.contains(slot) || case.writes.contains(slot));
        let used: Vec<Slot> = used.collect();
        for &slot in &used {
            let at = slot as usize;
            if !is_optional(&case, slot) {
                let (status, text) = refused(&case, &data, data.shape, |p| p[at] = ptr::null_mut());
                assert_eq!(status, SOFTLANE_ERROR_NULL, "{name}: {slot:?} is null");
                assert!(text.contains(" is NULL"), "{text}");
            }
            let (status, text) =
                refused(&case, &data, data.shape, |p| p[at] = p[at].wrapping_add(1));
            assert_eq!(
                status, SOFTLANE_ERROR_ALIGNMENT,
                "{name}: {slot:?} is unaligned"
            );
            assert!(text.contains(" is no multiple of "), "{text}");
            if !case.writes.contains(&slot) {
                continue;
            }
            for &other in used.iter().filter(|&&other| other != slot) {
                // One array of 8 bytes further; the very same array, if the result may not be in its place.
                let same = slot == Slot::Out && case.over.contains(&other);
                for by in [0, 8, -8_isize].into_iter().skip(same.into()) {
                    // One number is no longer than that.
                    let is_one = |slot| slot == Slot::Loss && case.loss_len == table::Len::One;
                    if is_one(slot) && by < 0 || is_one(other) && by > 0 {
                        continue;
                    }
                    let overlap =
                        |p: &mut [*mut u8; 5]| p[at] = p[other as usize].wrapping_offset(by);
                    let (status, text) = refused(&case, &data, data.shape, overlap);
                    assert_eq!(
                        status, SOFTLANE_ERROR_OVERLAP,
                        "{name}: {slot:?} is {by} bytes from {other:?}"
                    );
                    assert!(text.ends_with(" overlap"), "{text}");
                }
            }
        }
        // More elements than there is memory, and more than there are numbers.
        if ["exp", "sigmoid", "max", "sum"].contains(&name) {
            continue;
        }
        for shape in [
            [usize::MAX, 2],
            [2, usize::MAX],
            [1 << 32, 1 << 32],
            [1 << 62, 1],
            [1, 1 << 62],
        ] {
            let (status, text) = refused(&case, &data, shape, |_| ());
            assert_eq!(status, SOFTLANE_ERROR_SIZE, "{name}: {shape:?}");
            assert!(text.ends_with("than an address space has"), "{text}");
        }
    }
}

#[test]
fn pointers_that_cannot_be() {
    pointers::<f32>();
    pointers::<f64>();
    pointers::<half::f16>();
    pointers::<half::bf16>();
}

/// The functions that have lengths instead of shapes.
#[test]
fn lengths_that_cannot_be() {
    let (x, y) = ([1.0_f32; 4], &mut [9.0_f32; 4]);
    let n = 1 << 62;
    let statuses = unsafe {
        [
            library::f32::softlane_exp_f32(x.as_ptr(), y.as_mut_ptr(), n),
            library::f32::softlane_sigmoid_f32(x.as_ptr(), y.as_mut_ptr(), n),
            library::f32::softlane_max_f32(x.as_ptr(), n, y.as_mut_ptr()),
            library::f32::softlane_sum_f32(x.as_ptr(), n, y.as_mut_ptr()),
        ]
    };
    assert_eq!((statuses, *y), ([SOFTLANE_ERROR_SIZE; 4], [9.0; 4]));
}

/// Arrays of no elements may be null.
#[test]
fn nothing_may_be_null() {
    for case in cases::<f32>() {
        for shape in [[0, 0], [0, 5], [5, 0]] {
            let data = Data::<f32>::new(shape);
            let mut arena = Arena::new(&case, &data);
            let expected = expected(&case, &data, &mut arena);
            let mut pointers = arena.pointers(&case);
            for slot in SLOTS {
                let is_empty = arena.content(slot).is_empty();
                if is_empty {
                    pointers.0[slot as usize] = ptr::null_mut();
                }
            }
            assert_eq!(
                (case.call)(&pointers, shape),
                SOFTLANE_OK,
                "{}, {shape:?}: {}",
                case.name,
                last_error()
            );
            let found: Vec<_> = case
                .writes
                .iter()
                .map(|&slot| arena.content(slot))
                .collect();
            assert!(found == expected, "{}, {shape:?}", case.name);
        }
    }
}

#[test]
fn targets_that_are_no_class() {
    let data = Data::<f32>::new([7, 10]);
    for case in cases::<f32>() {
        if !case.reads.contains(&Slot::Targets) {
            continue;
        }
        for target in [10, -1, i64::MAX, i64::MIN] {
            let mut data = data.clone();
            data.targets[3] = target;
            let (status, text) = refused(&case, &data, data.shape, |_| ());
            assert_eq!(status, SOFTLANE_ERROR_TARGET);
            assert_eq!(
                text,
                format!("target {target} of row 3 is none of 10 classes, which count from 0")
            );
        }
    }
}

#[test]
fn messages() {
    let text = |status| {
        unsafe { CStr::from_ptr(softlane_status_message(status)) }
            .to_str()
            .unwrap()
    };
    let all: Vec<&str> = (SOFTLANE_OK..=SOFTLANE_ERROR_INTERNAL).map(text).collect();
    assert_eq!(all.len(), MESSAGES.len());
    assert_eq!((all[0], all[10]), ("success", "the system refuses memory"));
    let mut distinct = all.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), all.len());
    for other in [-1, SOFTLANE_ERROR_INTERNAL + 1, i32::MAX, i32::MIN] {
        assert_eq!(text(other), "unknown status");
    }
    let version = unsafe { CStr::from_ptr(softlane_version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    let numbers = [
        SOFTLANE_VERSION_MAJOR,
        SOFTLANE_VERSION_MINOR,
        SOFTLANE_VERSION_PATCH,
    ];
    let of_the_header = numbers.map(|number| number.to_string()).join(".");
    assert_eq!(version.to_str().unwrap(), of_the_header);
}

#[test]
fn the_last_error_is_that_of_the_thread() {
    let fail = |n| unsafe { library::f32::softlane_exp_f32(ptr::null(), ptr::null_mut(), n) };
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(last_error(), "", "a thread of no failure");
            assert_eq!(fail(3), SOFTLANE_ERROR_NULL);
            let here = last_error();
            let there = scope.spawn(|| {
                assert_eq!(last_error(), "");
                assert_eq!(fail(5), SOFTLANE_ERROR_NULL);
                assert_eq!(last_error(), "y is NULL, and has 5 elements");
            });
            there.join().unwrap();
            assert_eq!(here, "y is NULL, and has 3 elements");
            // A success leaves it.
            assert_eq!(fail(0), SOFTLANE_OK);
            assert_eq!(last_error(), "y is NULL, and has 3 elements");
        });
    });
}

/// Panics when it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        unreachable!("on purpose")
    }
}

#[test]
fn panics_and_long_messages() {
    let status = library::call::run(|| unreachable!("on purpose"));
    assert_eq!(status, SOFTLANE_ERROR_INTERNAL);
    assert_eq!(last_error(), "softlane has panicked: this is a defect");
    // One whose payload panics, too.
    let status = library::call::run(|| resume_unwind(Box::new(Payload)));
    assert_eq!(status, SOFTLANE_ERROR_INTERNAL);
    let reason = "\u{20AC}".repeat(1000);
    let count = 2;
    library::call::run(|| Err(library::failure::Failure::Threads { count, reason }));
    let text = last_error();
    assert!(
        text.len() > 500 && text.len() < 512 && text.ends_with('\u{20AC}'),
        "{text}"
    );
}

#[test]
fn the_backend() {
    let name = softlane_backend();
    match softlane::Backend::active() {
        Ok(backend) => {
            assert_eq!(
                unsafe { CStr::from_ptr(name) }.to_str().unwrap(),
                backend.name()
            );
        }
        Err(_) => assert!(name.is_null()),
    }
}
