//! The same bits: whichever fused backend computes, on however many threads, in place or apart, in
//! whatever batch and at whatever address. Every operation, over one fixed corpus.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::cast_possible_wrap,
    reason = "numbers of classes are positive and small"
)]

#[macro_use]
mod common;

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt::Arguments;
use std::io::{self, Write as _};

use common::calls::{Computed, Results, Sources, all_calls};
use common::inputs::{self, CLASSES, Rng};
use rayon::ThreadPoolBuilder;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Exec, Reduction};

/// A batch with its memory.
struct Owned<E> {
    name: String,
    classes: usize,
    x: Vec<E>,
    y: Vec<E>,
    targets: Vec<i64>,
}

impl<E: Computed> Owned<E> {
    /// Rows of the kind of that name, or of each kind in turn.
    fn new(rows: usize, classes: usize, kind: Option<&str>) -> Self {
        let seed = (rows * 1_000_003 + classes) as u64;
        let mut rng = Rng::new(seed);
        let only = kind.map(|name| inputs::named(name).unwrap());
        let row = |i: usize| {
            let kind = only.unwrap_or(CLASSES[i % CLASSES.len()]);
            kind.row_of(seed + i as u64, classes, E::rounded)
        };
        let kind = kind.unwrap_or("every kind");
        let x = (0..rows).flat_map(row).collect();
        Self::of(x, rows, classes, kind, &mut rng)
    }

    /// These logits, with labels and targets to go with them.
    fn of(x: Vec<E>, rows: usize, classes: usize, kind: &str, rng: &mut Rng) -> Self {
        Self {
            name: format!(
                "{rows} rows of {classes} classes of {}, {kind}",
                type_name::<E>()
            ),
            classes,
            x,
            y: (0..rows * classes)
                .map(|_| E::rounded(rng.between(-0.2, 1.2).clamp(0.0, 1.0)))
                .collect(),
            // Some rows are ignored.
            targets: (0..rows)
                .map(|_| match rng.below(8) {
                    0 => -100,
                    _ => rng.below(classes) as i64,
                })
                .collect(),
        }
    }

    fn batch(&self) -> Sources<'_, E> {
        Sources {
            shape: None,
            classes: self.classes,
            x: &self.x,
            y: &self.y,
            targets: &self.targets,
        }
    }

    fn row(&self, i: usize) -> Sources<'_, E> {
        let elements = i * self.classes..(i + 1) * self.classes;
        Sources {
            shape: None,
            classes: self.classes,
            x: &self.x[elements.clone()],
            y: &self.y[elements],
            targets: &self.targets[i..=i],
        }
    }
}

const MEAN: Reduction = Reduction::Mean;
const SUM: Reduction = Reduction::Sum;

fn index<E: Computed>(exec: Exec, reduction: Reduction) -> CrossEntropy<'static, E> {
    CrossEntropy::new().exec(exec).reduction(reduction)
}

fn binary<E: Computed>(exec: Exec, reduction: Reduction) -> BinaryCrossEntropy<'static, E> {
    BinaryCrossEntropy::new().exec(exec).reduction(reduction)
}

/// Every result of a batch, from every call that gives it: they must agree. Outputs are moved by
/// `offset` elements.
#[track_caller]
fn every_result<E: Computed>(
    exec: Exec,
    batch: Sources<'_, E>,
    offset: usize,
    context: Arguments<'_>,
) -> Results<E> {
    let mut results: Results<E> = vec![];
    for call in all_calls() {
        let (x, y) = call.reads.of(batch.x, batch.y);
        let (given, result) = call.guarded(exec, Sources { x, y, ..batch }, offset);
        assert_eq!(result, Ok(()), "{call}, {context}");
        for (output, got) in given {
            if let Some((_, expected)) = results.iter().find(|(known, _)| *known == output) {
                assert_bits(
                    &got,
                    expected,
                    format_args!("{call}, {context}, another form"),
                );
            } else {
                results.push((output, got));
            }
        }
    }
    results
}

#[track_caller]
fn assert_same<E: Computed>(got: &Results<E>, expected: &Results<E>, context: Arguments<'_>) {
    assert_eq!(got.len(), expected.len(), "{context}: results");
    for ((output, got), (_, expected)) in got.iter().zip(expected) {
        assert_bits(got, expected, format_args!("{}, {context}", output.name));
    }
}

#[track_caller]
fn assert_bits<E: Computed>(got: &[E], expected: &[E], context: Arguments<'_>) {
    assert_eq!(got.len(), expected.len(), "{context}: length");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(
            got.bits(),
            expected.bits(),
            "{context}: element {i} is {got:?}, elsewhere {expected:?}",
        );
    }
}

/// On the calling thread, whatever the size.
fn serial(backend: Backend) -> Exec {
    Exec::new().backend(backend).serial()
}

/// Lengths around every seam of vectors, groups of vectors and chunks; every kind of row.
fn corpus<E: Computed>() -> impl Iterator<Item = Owned<E>> {
    // One to three vectors after one group and after two, with a tail and without. The last chunk of 4130 is a short one.
    let groups = [80, 81, 96, 100, 112, 127, 128, 129, 144, 160, 189];
    let long = [1000, 1008, 4096, 4097, 4130, 10_000];
    let batches = (1..=70)
        .chain(groups)
        .chain(long)
        .map(|classes| Owned::new(CLASSES.len(), classes, None));
    let kinds = [
        "normal 3",
        "normal 40",
        "offset 1e5",
        "masked half",
        "dominated",
    ];
    batches.chain(kinds.map(|kind| Owned::new(1, 128_256, Some(kind))))
}

/// What a backend makes of a corpus.
fn results<E: Computed>(
    backend: Backend,
    corpus: impl Iterator<Item = Owned<E>>,
) -> Vec<Results<E>> {
    let each = corpus.map(|owned| {
        let context = format_args!("{backend:?}, {}", owned.name);
        every_result(serial(backend), owned.batch(), 0, context)
    });
    each.collect()
}

#[test]
fn forms_and_fused_backends_agree() {
    fn of<E: Computed>() {
        let results: Vec<_> = Backend::available()
            .map(|backend| (backend, results::<E>(backend, corpus())))
            .filter(|(backend, _)| backend.is_fused())
            .collect();
        for pair in results.windows(2) {
            let ((a, expected), (b, got)) = (&pair[0], &pair[1]);
            for (owned, (got, expected)) in corpus::<E>().zip(got.iter().zip(expected)) {
                let context = format_args!("{b:?} against {a:?}, {}", owned.name);
                assert_same(got, expected, context);
            }
            let count: usize = got.iter().flatten().map(|(_, results)| results.len()).sum();
            report(format_args!(
                "{a:?} and {b:?}: the same bits in {count} results of {}",
                type_name::<E>()
            ));
        }
        if results.len() < 2 {
            // With `SOFTLANE_REQUIRE`, a missing backend is a failure: see tests/backends.rs.
            let fused: Vec<Backend> = results.iter().map(|(backend, _)| *backend).collect();
            report(format_args!("fused here: {fused:?}; no two to compare"));
        }
    }
    each_computed!(of());
}

/// A large pair in any lane and two small terms anywhere in three vectors: as with
/// [`sums_of_large_and_small`], the sum tells whether the small ones meet first. It has no products, so it
/// is the same where multiply-add is not fused.
#[test]
fn vector_backends_add_in_the_same_order() {
    const TERMS: usize = 48;
    let sums = |backend: Backend| {
        let mut sums = vec![];
        for lane in 0..16 {
            for i in 0..TERMS {
                for j in 0..i {
                    let mut terms = [0.0; TERMS];
                    (terms[i], terms[j]) = ((SMALL / 2.0) as f32, (SMALL / 2.0) as f32);
                    (terms[lane], terms[lane + 16]) = (16_777_216.0, 1.0);
                    sums.push(serial(backend).sum(&terms).unwrap().to_bits());
                }
            }
        }
        sums
    };
    let vector: Vec<_> = Backend::available()
        .filter(|backend| backend.name() != "scalar")
        .collect();
    for &backend in &vector {
        let (got, expected) = (sums(backend), sums(vector[0]));
        assert_eq!(got, expected, "{backend:?} against {:?}", vector[0]);
        let [low, high] = [16_777_216.0_f32, 16_777_218.0].map(f32::to_bits);
        assert!(
            got.contains(&low) && got.contains(&high),
            "{backend:?}: the order does not show"
        );
    }
}

/// Rows that are the same on every machine: made by arithmetic that is rounded alike everywhere, without
/// a library's functions. (Those of [`corpus`] need logarithms and cosines.)
fn portable_corpus<E: Computed>() -> impl Iterator<Item = Owned<E>> {
    let rows_of = |classes: usize, spreads: &[f64], offsets: &[f64], may_be_masked: bool| {
        let rows = spreads.len() * offsets.len();
        let mut rng = Rng::new(classes as u64);
        let mut x = vec![];
        for (spread, offset) in spreads
            .iter()
            .flat_map(|s| offsets.iter().map(move |o| (s, o)))
        {
            let masked = may_be_masked && rng.coin();
            let kept = rng.below(classes);
            x.extend((0..classes).map(|i| {
                let sum: f64 = (0..4).map(|_| rng.between(-1.0, 1.0)).sum();
                if masked && i != kept && rng.below(3) == 0 {
                    E::rounded(f64::NEG_INFINITY)
                } else {
                    E::rounded(offset + spread * sum)
                }
            }));
        }
        Owned::of(x, rows, classes, "portable", &mut rng)
    };
    let sizes = || (1..=70).chain([1000, 4096, 4097, 10_000]);
    let offsets = [0.0, 1e3, -3e4, 1e5, -E::HUGE];
    let any = move |classes| rows_of(classes, &[0.1, 1.0, 8.0, 80.0, E::HUGE], &offsets, true);
    // Those have infinite losses, which hide all others in a sum and in a mean, and rows that blocks leave alone.
    let finite = move |classes| {
        let (spreads, offsets) = (
            [0.01, 0.1, 1.0, 3.0, 8.0, 20.0],
            [0.0, 7.0, -5.0, 100.0, 50.0, -100.0],
        );
        rows_of(classes, &spreads, &offsets, false)
    };
    sizes().map(any).chain(sizes().map(finite))
}

/// FNV-1a of the bits of some numbers.
fn hash<'a, E: Computed>(results: impl Iterator<Item = &'a E>) -> u64 {
    let bytes = results.flat_map(|x| x.bits().to_le_bytes().into_iter().take(size_of::<E>()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The bits of every operation are those that are committed: the same on every processor, and the same as
/// before. Only vector backends: the scalar path has those of the standard library.
#[test]
fn bits_are_as_committed() {
    let committed = include_str!("same_bits/hashes.txt");
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let kind = if backend.is_fused() {
            "fused"
        } else {
            "unfused"
        };
        let results = results::<f32>(backend, portable_corpus());
        let lines = results[0].iter().enumerate().map(|(i, (output, _))| {
            let each = results.iter().flat_map(|results| &results[i].1);
            format!("{kind}, {}: {:016x}", output.name, hash(each))
        });
        let lines: Vec<_> = lines.collect();
        // What is the same everywhere, or not finite, would have the same hash wherever it comes from.
        for (i, (output, _)) in results[0].iter().enumerate() {
            let numbers = results.iter().flat_map(|results| &results[i].1);
            let finite = numbers.filter(|x| x.is_finite());
            let different: BTreeSet<u32> = finite.map(|x| x.to_bits()).collect();
            assert!(different.len() > 50, "{}: {}", output.name, different.len());
        }
        let committed = || committed.lines().filter(|line| line.starts_with(kind));
        let same = committed().count() == lines.len()
            && committed().all(|line| lines.iter().any(|l| l == line));
        assert!(
            same,
            "{backend:?} has other bits than tests/same_bits/hashes.txt. If that is meant, put these lines \
             there, and a line into the changelog:\n{}",
            lines.join("\n")
        );
        report(format_args!("{backend:?}: the bits that are committed"));
    }
}

/// Prints a line that is seen when the test passes, too: the harness does not capture it.
fn report(line: Arguments<'_>) {
    let mut terminal = io::stderr();
    writeln!(terminal, "{line}").unwrap();
}

/// The other tests keep to one thread; these batches are split, most of them unevenly. (Those of `f64` are in tests/f64.rs.)
#[test]
fn any_number_of_threads() {
    let normal = Some("normal 3");
    let batches = [
        // Enough for the maximum and the sum of a slice, too, which take less time.
        (1_000_003, 1, normal),
        (90_001, 3, normal),
        (27_345, 10, normal),
        (270, 1000, normal),
        (65, 4097, normal),
        // Sixteen rows at a time as they lie.
        (4300, 64, normal),
        (2701, 100, normal),
        // Where there are more threads than rows, they share each.
        (3, 125_001, normal),
        // Their infinite losses would hide the others in a sum.
        (27_003, 10, None),
        (2701, 100, None),
        (271, 1000, None),
    ];
    let pools = [1, 2, 3, 8].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        (threads, pool.unwrap())
    });
    for (rows, classes, kind) in batches {
        let owned = Owned::<f32>::new(rows, classes, kind);
        for backend in Backend::available() {
            let run = |exec, threads: usize| {
                let context = format_args!("{exec:?}, {}, {threads} threads", owned.name);
                every_result(exec, owned.batch(), 0, context)
            };
            let expected = run(serial(backend), 1);
            for (threads, pool) in &pools {
                let got = pool.install(|| run(Exec::new().backend(backend), *threads));
                let context = format_args!("{backend:?}, {}, {threads} threads", owned.name);
                assert_same(&got, &expected, context);
            }
        }
    }
}

/// Backward passes of long rows, whose parts find a total that is not finite at first, or not at all.
#[test]
fn a_gradient_that_threads_share() {
    /// Of a class, and its result.
    type IsRight<'a> = &'a dyn Fn(usize, f32) -> bool;
    const CLASSES: usize = 125_001;
    const LAST: usize = CLASSES - 1;
    const MIDDLE: usize = 100_000;
    let pools = [2, 5].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
    });
    let owned = Owned::<f32>::new(1, CLASSES, Some("normal 3"));
    let mut y = vec![1.0 / CLASSES as f32; CLASSES];
    // These take no part in the backward pass of softmax.
    for i in [0, MIDDLE, LAST] {
        y[i] = 0.0;
    }
    let with = |elements: &[(usize, f32)]| {
        let mut dy = owned.x.clone();
        for &(i, element) in elements {
            dy[i] = element;
        }
        dy
    };
    let (most, nan) = (f32::INFINITY, f32::NAN);
    let finite = |_, dx: f32| dx.is_finite();
    let none = |_, dx: f32| dx.is_nan();
    let infinite = |i, dx: f32| dx == f32::NEG_INFINITY || (i == MIDDLE + 1 && dx.is_nan());
    // And what the results are of classes with a probability.
    let gradients: [(&str, Vec<f32>, IsRight<'_>); 7] = [
        ("ordinary", with(&[]), &finite),
        ("infinite first", with(&[(0, most)]), &finite),
        (
            "infinite at both ends",
            with(&[(0, most), (LAST, -most)]),
            &finite,
        ),
        (
            "large",
            with(&[(1, f32::MAX), (LAST - 1, f32::MAX)]),
            &finite,
        ),
        (
            "infinite of a likely class",
            with(&[(MIDDLE + 1, most)]),
            &infinite,
        ),
        ("NaN", with(&[(MIDDLE, nan)]), &none),
        ("infinite, and NaN", with(&[(0, most), (LAST, nan)]), &none),
    ];
    for (kind, dy, is_right) in gradients {
        for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
            let backward = |log: bool, exec: Exec| {
                let mut dx = vec![0.0; CLASSES];
                if log {
                    exec.log_softmax_backward(&y, &dy, CLASSES, &mut dx)
                        .unwrap();
                } else {
                    exec.softmax_backward(&y, &dy, CLASSES, &mut dx).unwrap();
                }
                dx
            };
            for log in [false, true] {
                let alone = backward(log, serial(backend));
                let is_nan = dy.iter().any(|dy| dy.is_nan());
                for (i, &dx) in alone.iter().enumerate() {
                    let is_right = match (log, is_nan) {
                        (_, true) => none(i, dx),
                        (true, _) => true,
                        _ if y[i] == 0.0 => dx == 0.0,
                        _ => is_right(i, dx),
                    };
                    assert!(is_right, "{backend:?}, {kind}, {log}: {dx} of class {i}");
                }
                for pool in &pools {
                    let exec = Exec::new().backend(backend);
                    let shared = pool.install(|| backward(log, exec));
                    let bits = |dx: &[f32]| dx.iter().map(|dx| dx.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&shared) == bits(&alone), "{backend:?}, {kind}, {log}");
                }
            }
        }
    }
}

/// What may be where in a long row, whose parts know it one step after the other.
#[test]
fn a_row_that_threads_share() {
    fn of<E: Computed>() {
        const CLASSES: usize = 125_001;
        const LAST: usize = CLASSES - 1;
        const MIDDLE: usize = 100_000;
        let [none, most, nan] = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN];
        let normal = Owned::<E>::new(1, CLASSES, Some("normal 3")).x;
        let with = |elements: &[(usize, f64)]| {
            let mut x = normal.clone();
            for &(i, element) in elements {
                x[i] = E::rounded(element);
            }
            x
        };
        let pools = [2, 5].map(|threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            (threads, pool.unwrap())
        });
        let alone = |i| {
            (0..CLASSES)
                .map(|k| E::rounded(if k == i { 1.0 } else { none }))
                .collect()
        };
        let masked_but = |x| {
            (0..CLASSES)
                .map(|k| E::rounded(if k == MIDDLE { x } else { none }))
                .collect()
        };
        let zeros = (0..CLASSES)
            .map(|k| E::rounded(if k < MIDDLE { -0.0 } else { 0.0 }))
            .collect();
        let rows: [(&str, Vec<E>); 18] = [
            ("ordinary", normal.clone()),
            ("equal maxima", with(&[(MIDDLE, 50.0), (LAST, 50.0)])),
            ("equal", vec![E::rounded(1.5); CLASSES]),
            (
                "far",
                normal
                    .iter()
                    .map(|x| E::rounded(E::HUGE * x.as_f64()))
                    .collect(),
            ),
            ("masked", vec![E::rounded(none); CLASSES]),
            ("the first alone", alone(0)),
            ("one in the middle alone", alone(MIDDLE)),
            ("the last alone", alone(LAST)),
            ("NaN first", with(&[(0, nan)])),
            ("NaN in the middle", with(&[(MIDDLE, nan)])),
            ("NaN beside masks", masked_but(nan)),
            ("infinite beside masks", masked_but(most)),
            ("zeros of both signs", zeros),
            ("NaN last", with(&[(LAST, nan)])),
            ("infinite", with(&[(MIDDLE, most)])),
            ("infinite, and NaN before", with(&[(0, nan), (LAST, most)])),
            ("infinite, and NaN after", with(&[(0, most), (LAST, nan)])),
            ("infinite, and masked", with(&[(0, none), (MIDDLE, most)])),
        ];
        for (kind, x) in rows {
            let mut owned = Owned::of(x, 1, CLASSES, kind, &mut Rng::new(1));
            for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
                for target in [0, MIDDLE, LAST, usize::MAX] {
                    owned.targets = vec![i64::try_from(target).unwrap_or(-100)];
                    for call in all_calls() {
                        let run = |exec| {
                            let batch = owned.batch();
                            let (x, y) = call.reads.of(batch.x, batch.y);
                            let (given, result) = call.guarded(exec, Sources { x, y, ..batch }, 0);
                            assert_eq!(result, Ok(()), "{call}, {kind}");
                            given
                        };
                        let expected = run(serial(backend));
                        for (threads, pool) in &pools {
                            let got = pool.install(|| run(Exec::new().backend(backend)));
                            for ((_, got), (_, expected)) in got.iter().zip(&expected) {
                                let context = format_args!(
                                    "{call}, {backend:?}, {kind}, {target}, {threads} threads"
                                );
                                assert_bits(got, expected, context);
                            }
                        }
                    }
                }
            }
        }
    }
    each_computed!(of());
}

/// What small terms add up to that turn a tie of `f32` between 2^24 and 2^24 + 2, or beside it, if
/// they come together, but vanish one by one: 1.25 times half of what `f64` resolves there.
const SMALL: f64 = 1.25 / (1_u64 << 29) as f64;

/// Sums in which the order of additions shows: a large pair that adds up to such a tie, and many
/// small terms before it.
fn sums_of_large_and_small(exec: Exec, reversed: bool) -> [f32; 3] {
    // Enough for a sum of a slice, which takes less time than others, to be spread.
    const CHUNKS: usize = 256 * 4096;
    const ROWS: usize = 1 << 17;
    let logit = |loss: f64| loss.ln() as f32; // of a small loss ln(1 + e^x)
    let ordered = |small: Vec<f32>, large: [f32; 2]| {
        let mut terms = [&small[..], &large].concat();
        if reversed {
            terms.reverse();
        }
        terms
    };

    let small = vec![(SMALL / CHUNKS as f64) as f32; CHUNKS];
    let terms = ordered(small, [16_777_216.0, 1.0]);

    // The loss of a large logit with label 0 is that logit.
    let small = vec![logit(SMALL / CHUNKS as f64); CHUNKS];
    let elements = ordered(small, [16_777_216.0, 33.0]);
    let labels = vec![0.0; elements.len()];

    // The loss of a row is how far its target is below the other class: in the last, by 2^24 + 1.
    let small = [0.0, logit(SMALL / ROWS as f64)].repeat(ROWS);
    let rows = ordered(small, [-16_711_680.0, 65_537.0]);
    let targets = vec![i64::from(reversed); ROWS + 1];

    [
        exec.sum(&terms).unwrap(),
        binary(exec, SUM).loss(&elements, 1, &labels).unwrap(),
        index(exec, SUM).loss(&rows, 2, &targets).unwrap(),
    ]
}

#[test]
fn any_number_of_threads_where_the_order_shows() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let expected = sums_of_large_and_small(exec.serial(), false);
        for threads in 1..=8 {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            let got = pool
                .unwrap()
                .install(|| sums_of_large_and_small(exec, false));
            assert_eq!(
                got.map(f32::to_bits),
                expected.map(f32::to_bits),
                "{backend:?}, {threads} threads"
            );
        }
        // The scalar path has rounded to `f32` before.
        if backend.name() != "scalar" {
            let reversed = sums_of_large_and_small(exec.serial(), true);
            for (sum, reversed) in expected.into_iter().zip(reversed) {
                assert!(sum > reversed, "{backend:?}: the order does not show");
            }
        }
    }
}

/// Alone, and at each place of a batch that is long enough for any blocks of rows, the last of which lacks one.
#[test]
fn a_row_alone_and_in_a_batch() {
    fn of<E: Computed>() {
        const ROWS: usize = 47;
        for backend in Backend::available() {
            // Rows of every kind, few of which are short work; and kinds that are.
            let kinds = [
                None,
                Some("normal 40"),
                Some("masked half"),
                Some("near ties"),
                Some("equal"),
            ];
            let classes = (1..=20).chain([
                31, 32, 33, 44, 48, 63, 64, 65, 128, 189, 192, 193, 256, 257, 4196,
            ]);
            for (classes, kind) in classes.flat_map(|classes| kinds.map(|kind| (classes, kind))) {
                let owned = Owned::new(ROWS, classes, kind);
                let context = format_args!("{backend:?}, {}", owned.name);
                let alone: Vec<Results<E>> = (0..ROWS)
                    .map(|i| every_result(serial(backend), owned.row(i), 0, context))
                    .collect();
                // Few classes are what blocks of rows are for. (Every turn of one type is enough: the blocks are the same code.)
                let is_short = classes <= 33 && kind.is_none() && size_of::<E>() == 4;
                for turn in (0..ROWS).step_by(if is_short { 1 } else { 17 }) {
                    let mut turned = Owned::<E>::new(0, classes, None);
                    for i in 0..ROWS {
                        let row = owned.row((i + turn) % ROWS);
                        turned.x.extend(row.x);
                        turned.y.extend(row.y);
                        turned.targets.extend(row.targets);
                    }
                    let context = format_args!("{context}, turned by {turn}");
                    let got = every_result(serial(backend), turned.batch(), 0, context);
                    for (i, (output, got)) in got.iter().enumerate().filter(|(_, r)| r.0.by_row) {
                        let rows = alone[turn..].iter().chain(&alone[..turn]);
                        let expected: Vec<E> = rows.flat_map(|row| row[i].1.clone()).collect();
                        assert_bits(got, &expected, format_args!("{}, {context}", output.name));
                    }
                }
            }
        }
    }
    each_computed!(of());
}

/// A row that blocks of rows cannot do as they do others, among those that they can.
#[test]
fn a_special_row_in_a_batch() {
    fn of<E: Computed>() {
        // What is special: an element, at the target of the row or before it (if there is one), or every element.
        type Make<E> = fn(&mut [E], usize);
        let kinds: [(&str, Make<E>); 13] = [
            ("NaN at the target", |x, t| x[t] = E::rounded(f64::NAN)),
            ("NaN elsewhere", |x, t| {
                x[t.saturating_sub(1)] = E::rounded(f64::NAN);
            }),
            ("+inf at the target", |x, t| {
                x[t] = E::rounded(f64::INFINITY);
            }),
            ("+inf elsewhere", |x, t| {
                x[t.saturating_sub(1)] = E::rounded(f64::INFINITY);
            }),
            ("-inf at the target", |x, t| {
                x[t] = E::rounded(f64::NEG_INFINITY);
            }),
            ("-inf elsewhere", |x, t| {
                x[t.saturating_sub(1)] = E::rounded(f64::NEG_INFINITY);
            }),
            ("-inf alone", |x, _| x.fill(E::rounded(f64::NEG_INFINITY))),
            ("large at the target", |x, t| x[t] = E::rounded(E::HUGE)),
            ("-large alone", |x, _| x.fill(E::rounded(-E::HUGE))),
            // Gradients whose sum leaves the range of an element, or comes near to where that begins, or is 0.
            ("nearly the largest alone", |x, _| {
                x.fill(E::rounded(0.9 * E::LARGEST));
            }),
            ("larger at the target", |x, t| {
                x[t] = E::rounded(1.3 * E::HUGE);
            }),
            ("-0 alone", |x, _| x.fill(E::rounded(-0.0))),
            ("1 and -1", |x, _| {
                for (i, x) in x.iter_mut().enumerate() {
                    *x = E::rounded([1.0, -1.0][i % 2]);
                }
            }),
        ];
        for backend in Backend::available() {
            for classes in [
                1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 17, 32, 33, 44, 48, 64, 65, 160, 4130,
            ] {
                // In the first block of rows, in one after another and after two, and in one that is not full; of longer rows, which are done one by one, among others and the last.
                let (rows, specials) = match classes {
                    ..=192 => (53, &[7, 20, 40, 50][..]),
                    _ => (5, &[2, 4][..]),
                };
                for ((name, make), &special) in kinds
                    .iter()
                    .flat_map(|kind| specials.iter().map(move |special| (kind, special)))
                {
                    let mut owned = Owned::<E>::new(rows, classes, Some("normal 3"));
                    let target = classes - 1;
                    owned.targets[special] = target as i64;
                    make(
                        &mut owned.x[special * classes..(special + 1) * classes],
                        target,
                    );
                    // What the backward passes multiply with: zeros beside numbers, and where the row is special.
                    for row in [1, 2, special] {
                        owned.y[row * classes + target] = E::rounded([0.0, -0.0][row % 2]);
                    }
                    let context =
                        format_args!("{backend:?}, {}, {name} in row {special}", owned.name);
                    assert_rows_as_alone(backend, &owned, context);
                }
            }
        }
    }
    each_computed!(of());
}

/// Rows of a block that cannot be done at once are done one by one: what is left of the blocks before, which are done at once, must be summed before. (A row beyond the reach is one.)
#[test]
fn losses_are_summed_in_order_around_rows_that_are_done_one_by_one() {
    // Less than half of the last place of 2^24 in `f64`, two of which are more: ln(1 + e^x) of this.
    let small = -20.390_625;
    for classes in [2, 3, 5, 10, 32, 100] {
        // A block of rows in each; where none is said, no loss.
        let blocks = [
            [0.0, -16_777_216.0],
            [0.0, -33.0],
            [100_000.0 + small, 100_000.0],
            [small, 0.0],
            [-300.0, 1e5],
            [-300.0, 1e5],
            [-300.0, 0.0],
        ];
        let mut x: Vec<f32> = vec![];
        for (i, [other, target]) in blocks.into_iter().enumerate() {
            for row in 0..16 {
                let start = x.len();
                x.resize(start + classes, -300.0);
                let [other, target] = if row == i {
                    [other, target]
                } else {
                    [-300.0, 0.0]
                };
                (x[start], x[start + classes - 1]) = (other, target);
            }
        }
        let targets = vec![classes as i64 - 1; x.len() / classes];
        // (The small ones are 0 on the scalar path, which takes logarithms of sums that are rounded.)
        for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
            let sum: f32 = CrossEntropy::new()
                .exec(serial(backend))
                .reduction(Reduction::Sum)
                .loss(&x, classes, &targets)
                .unwrap();
            // In any other order, the small ones are lost, and then the tie goes to the even one, 32.
            assert_eq!(
                sum.to_bits(),
                16_777_250_f32.to_bits(),
                "{backend:?}, {classes}: {sum}"
            );
        }
    }
}

/// Rows of several chunks whose largest elements are many octaves apart, and not those of the row before: what is known of chunks must be of the right row, whatever came before it.
#[test]
fn rows_of_several_chunks_in_a_batch() {
    fn of<E: Computed>() {
        // The last chunk is too short for a ceiling; long; one of more than is known.
        for (rows, classes) in [(5, 8210), (5, 12_000), (3, 64 * 4096 + 300)] {
            let specials = ["none", "NaN", "+inf", "-inf", "largest of the second"];
            let kinds = if classes < 20_000 { 5 } else { 1 };
            for special in &specials[..kinds] {
                let mut owned = Owned::<E>::new(rows, classes, None);
                for (i, x) in owned.x.iter_mut().enumerate() {
                    let (row, chunk) = (i / classes, i % classes / 4096);
                    let noise = (i * 7919 % 1009) as f64 * 2e-3;
                    *x = E::rounded(noise - 25.0 * ((chunk + row) % 3) as f64);
                }
                let (row, last) = (rows / 2, classes - 1);
                let x = &mut owned.x[row * classes..(row + 1) * classes];
                match *special {
                    "NaN" => x[last] = E::rounded(f64::NAN),
                    "+inf" => x[last] = E::rounded(f64::INFINITY),
                    "-inf" => x.fill(E::rounded(f64::NEG_INFINITY)),
                    "none" => (),
                    _ => {
                        x[5000] = E::rounded(2.5);
                        owned.targets[row] = 5000;
                    }
                }
                for backend in Backend::available() {
                    let context = format_args!("{backend:?}, {rows} x {classes}, {special}");
                    assert_rows_as_alone(backend, &owned, context);
                }
            }
        }
    }
    each_computed!(of());
}

/// Where a probability is near a power of two, some weights are rounded by more than others: a class without rivals has
/// probability 1 all the same, in blocks and alone.
#[test]
fn a_class_alone_whatever_its_weight() {
    fn of<E: Computed>() {
        const CLASSES: usize = 4_000_000;
        let one = E::rounded(1.0);
        let mut rng = Rng::new(1);
        let x: Vec<E> = (0..CLASSES)
            .map(|_| E::rounded(rng.between(-40.0, 40.0)))
            .collect();
        for backend in Backend::available().filter(|backend| backend.is_fused()) {
            let mut p = vec![E::UNTOUCHED; CLASSES];
            serial(backend).softmax(&x, 1, &mut p).unwrap();
            let all = p.iter().all(|p| *p == one);
            assert!(all, "{backend:?}: in blocks");
            // In blocks that are not full, and alone.
            for rows in [15, 1] {
                for (x, p) in x.chunks(rows).zip(p.chunks_mut(rows)) {
                    p.fill(E::UNTOUCHED);
                    serial(backend).softmax(x, 1, p).unwrap();
                }
                let all = p.iter().all(|p| *p == one);
                assert!(all, "{backend:?}: {rows} at a time");
            }
        }
    }
    each_computed!(of());
}

/// Rows of which one element is all, in each column: what corrects their factor is the weight of that element, which short rows have seen before.
#[test]
fn a_certain_class_in_a_batch() {
    fn of<E: Computed>() {
        const ROWS: usize = 613;
        for backend in Backend::available() {
            for classes in (2..=9).chain([16, 32]) {
                let mut owned = Owned::<E>::new(ROWS, classes, Some("equal"));
                for (r, row) in owned.x.chunks_exact_mut(classes).enumerate() {
                    let x = r as f64 * 0.37 - 100.0;
                    let other = [f64::NEG_INFINITY, x - 14.0, x - 17.3][r % 3];
                    row.fill(E::rounded(other));
                    row[r % classes] = E::rounded(x);
                    owned.targets[r] = (r / classes % classes) as i64;
                }
                let context = format_args!("{backend:?}, {classes} classes");
                assert_rows_as_alone(backend, &owned, context);
            }
        }
    }
    each_computed!(of());
}

/// Rows whose second weight is among the lightest: what else counts shows beside it.
#[test]
fn rows_of_light_others_in_a_batch() {
    const ROWS: usize = 31;
    for backend in Backend::available() {
        for max in [0xb774_cb02, 0xb775_0068].map(f32::from_bits) {
            for classes in [2, 3, 4, 5, 6, 7, 8, 16, 17, 33] {
                let mut owned = Owned::new(ROWS, classes, Some("equal"));
                for (row, target) in owned.x.chunks_exact_mut(classes).zip(&mut owned.targets) {
                    row.fill(-140.0);
                    (row[0], row[1]) = (max, -103.972_09);
                    *target = 0;
                }
                let context = format_args!("{backend:?}, {classes} classes");
                assert_rows_as_alone(backend, &owned, context);
            }
        }
    }
}

/// Rows whose target is the largest element, by more and more, above one in the same lane of vectors, or another: what is summed without it is summed below a power of two that
/// the others give.
#[test]
fn rows_whose_largest_is_left_out() {
    fn of<E: Computed>() {
        const ROWS: usize = 37;
        let octave = core::f64::consts::LN_2;
        for backend in Backend::available() {
            for (classes, distance) in [48, 65, 100, 128, 189, 250]
                .into_iter()
                .flat_map(|classes| [16, 1].map(|distance| (classes, distance)))
            {
                let mut owned = Owned::<E>::new(ROWS, classes, Some("equal"));
                for (r, row) in owned.x.chunks_exact_mut(classes).enumerate() {
                    let top = r * 29 % classes;
                    for (i, x) in row.iter_mut().enumerate() {
                        *x = E::rounded(-(40.0 + (i % 7) as f64) * octave);
                    }
                    row[(top + distance) % classes] = E::rounded(-(r as f64) * octave);
                    row[top] = E::rounded(0.0);
                    owned.targets[r] = top as i64;
                }
                let context = format_args!("{backend:?}, {classes} classes, {distance} apart");
                assert_rows_as_alone(backend, &owned, context);
            }
        }
    }
    each_computed!(of());
}

/// Copies of a row of equal elements, whose probabilities are powers of two: all of a block need the same correction.
#[test]
fn copies_of_a_row_of_ties() {
    fn of<E: Computed>() {
        const ROWS: usize = 29;
        for backend in Backend::available() {
            for classes in [1, 2, 4, 8] {
                for i in 0..100 {
                    let mut owned = Owned::<E>::new(ROWS, classes, Some("equal"));
                    owned.x.fill(E::rounded(f64::from(i) * 0.37 - 20.0));
                    let context = format_args!("{backend:?}, {classes} classes, {i}");
                    assert_rows_as_alone(backend, &owned, context);
                }
            }
        }
    }
    each_computed!(of());
}

/// Call by call: where no class is left, they differ in what they are asked for.
#[track_caller]
fn assert_rows_as_alone<E: Computed>(backend: Backend, owned: &Owned<E>, context: Arguments<'_>) {
    for call in all_calls() {
        let run = |batch: Sources<'_, E>| {
            let (x, y) = call.reads.of(batch.x, batch.y);
            call.guarded(serial(backend), Sources { x, y, ..batch }, 0)
                .0
        };
        let rows = 0..owned.targets.len();
        let alone: Vec<_> = rows.map(|i| run(owned.row(i))).collect();
        for (i, (output, got)) in run(owned.batch()).into_iter().enumerate() {
            if output.by_row {
                let rows = alone.iter().flat_map(|row| row[i].1.clone());
                let expected: Vec<E> = rows.collect();
                assert_bits(&got, &expected, format_args!("{call}, {context}"));
            }
        }
    }
}

#[test]
fn at_any_address() {
    fn of<E: Computed>() {
        for backend in Backend::available() {
            for classes in (1..=70).step_by(3).chain([1000, 4097]) {
                let owned = Owned::<E>::new(3, classes, None);
                let context = format_args!("{backend:?}, {}", owned.name);
                let expected = every_result(serial(backend), owned.batch(), 0, context);
                for offset in 0..16 {
                    // Inputs and outputs differ in their distance from a whole vector.
                    for (input, output) in [(offset, 0), (0, offset), (offset, offset)] {
                        let moved = |from: &[E]| [&vec![E::UNTOUCHED; input][..], from].concat();
                        let (x, y) = (moved(&owned.x), moved(&owned.y));
                        let batch = Sources {
                            shape: None,
                            x: &x[input..],
                            y: &y[input..],
                            ..owned.batch()
                        };
                        let context =
                            format_args!("{context}, inputs moved by {input}, outputs by {output}");
                        let got = every_result(serial(backend), batch, output, context);
                        assert_same(&got, &expected, context);
                    }
                }
            }
        }
    }
    each_computed!(of());
}

/// Of a loss, which is not negative.
fn is_subnormal<E: Computed>(loss: E) -> bool {
    loss.as_f64() > 0.0 && loss.as_f64() < E::LEAST
}

/// How many copies of a row, reduced how, have how many times its loss: partial sums are exact
/// where all terms are equal and their number is a power of two. (So is the product, if the loss is
/// no subnormal number.)
const COPIES: [(usize, Reduction, f64); 4] =
    [(1, SUM, 1.0), (1, MEAN, 1.0), (8, SUM, 8.0), (8, MEAN, 1.0)];

#[test]
fn losses_of_rows_alone_and_repeated() {
    fn of<E: Computed>() {
        for backend in Backend::available() {
            for owned in corpus::<E>().filter(|owned| owned.classes <= 4097) {
                let batch = owned.batch();
                let mut losses = vec![E::UNTOUCHED; batch.targets.len()];
                index(serial(backend), SUM)
                    .loss_per_row(batch.x, batch.classes, batch.targets, &mut losses)
                    .unwrap();
                // The mean of ignored rows is another matter.
                for i in (0..losses.len()).filter(|&i| batch.targets[i] >= 0) {
                    let row = owned.row(i);
                    for (count, reduction, factor) in COPIES {
                        if factor > 1.0 && is_subnormal(losses[i]) {
                            continue;
                        }
                        let (x, targets) = (row.x.repeat(count), row.targets.repeat(count));
                        let loss =
                            index(serial(backend), reduction).loss(&x, row.classes, &targets);
                        assert_eq!(
                            loss.unwrap().bits(),
                            E::rounded(factor * losses[i].as_f64()).bits(),
                            "{backend:?}, {}: row {i}, {count} times, {reduction:?}",
                            owned.name
                        );
                    }
                }
            }
        }
    }
    each_computed!(of());
}

#[test]
fn losses_of_elements_alone_and_repeated() {
    fn of<E: Computed>() {
        for backend in Backend::available() {
            for owned in corpus::<E>().filter(|owned| owned.classes <= 70) {
                let batch = owned.batch();
                let mut losses = vec![E::UNTOUCHED; batch.x.len()];
                binary(serial(backend), SUM)
                    .loss_per_element(batch.x, batch.classes, batch.y, &mut losses)
                    .unwrap();
                for (i, loss) in losses.iter().enumerate() {
                    for (count, reduction, factor) in COPIES {
                        let (x, label) = (vec![batch.x[i]; count], vec![batch.y[i]; count]);
                        let got = binary(serial(backend), reduction).loss(&x, 1, &label);
                        assert_eq!(
                            got.unwrap().bits(),
                            E::rounded(factor * loss.as_f64()).bits(),
                            "{backend:?}, {}: element {i}, {count} times, {reduction:?}",
                            owned.name
                        );
                    }
                }
            }
        }
    }
    each_computed!(of());
}
