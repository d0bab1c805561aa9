//! Guard pages: every form of every operation on slices that end where memory ends, or begin where it
//! begins, on every backend. A vector that is loaded or stored beyond a slice faults.
//!
//! A fault ends the process. So the calls are made in a child process, which says before each one
//! what it is about to do; the test shows the last of these lines. Tried on Linux only.

#![cfg(any(unix, windows))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod common;
#[path = "guard_pages/fence.rs"]
mod fence;

use std::any::type_name;
use std::env;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{ExitStatus, Stdio};

use common::calls::{Call, Computed, Destinations, Gives, Reads, Sources, all_calls};
use common::child;
use common::shapes::{self, Contents, KINDS};
use fence::{Fenced, Place, Plain};
use rayon::ThreadPoolBuilder;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Exec, Softmax};

/// Tells a child process what to do.
const VARIABLE: &str = "SOFTLANE_GUARD_PAGES";

/// Begins a line that says what comes next.
const NEXT: &str = "next: ";

/// The slices that a call uses, as bits.
const X: u8 = 1;
const Y: u8 = 2;
const TARGETS: u8 = 4;
const PER_ROW: u8 = 8;
/// The output, when it is written only.
const OUT: u8 = 16;
/// The output, when it holds the first source before.
const OVER: u8 = 32;

fn uses<E: Computed>(call: &Call<E>) -> u8 {
    let reads = match call.reads {
        Reads::Logits => X,
        Reads::Targets => X | TARGETS,
        Reads::Labels | Reads::Probabilities | Reads::LogProbabilities => X | Y,
    };
    let uses = call.gives.iter().fold(reads, |uses, gives| match gives {
        Gives::Number(_) => uses,
        Gives::PerRow(_) => uses | PER_ROW,
        Gives::Out(_) => uses | OUT,
        Gives::Over(_) => uses | OVER,
    });
    if uses & OVER == 0 { uses } else { uses & !X }
}

/// What is placed together. In place, the source goes with the output.
const SOURCES: u8 = X | Y | TARGETS;
const DESTINATIONS: u8 = PER_ROW | OUT | OVER;

/// A batch that is spread over threads, of each of whose slices a part ends or begins at the page.
const SPREAD: (usize, usize) = (26_301, 10);

/// Memory at either place.
struct Pair<T> {
    starts: Fenced<T>,
    ends: Fenced<T>,
}

impl<T: Plain> Pair<T> {
    fn new(elements: usize) -> Self {
        Self {
            starts: Fenced::new(elements),
            ends: Fenced::new(elements),
        }
    }

    /// The slice at the place that `placement` has for the slices `bits`: a bit is set for the end.
    fn slice(&mut self, len: usize, placement: u8, bits: u8) -> &mut [T] {
        if placement & bits == 0 {
            self.starts.slice(len, Place::Start)
        } else {
            self.ends.slice(len, Place::End)
        }
    }

    fn fill(&mut self, content: &[T]) {
        for placement in [0, u8::MAX] {
            self.slice(content.len(), placement, u8::MAX)
                .copy_from_slice(content);
        }
    }
}

/// The memory of all slices of a call.
struct Memory<E> {
    x: Pair<E>,
    y: Pair<E>,
    targets: Pair<i64>,
    out: Pair<E>,
    per_row: Pair<E>,
    /// What comes next.
    line: String,
    calls: usize,
}

impl<E: Computed + Plain> Memory<E> {
    fn new(rows: usize, elements: usize) -> Self {
        Self {
            x: Pair::new(elements),
            y: Pair::new(elements),
            targets: Pair::new(rows),
            out: Pair::new(elements),
            per_row: Pair::new(rows),
            line: String::new(),
            calls: 0,
        }
    }

    /// Every call on every backend, with sources and destinations at either end.
    fn all(&mut self, rows: usize, classes: usize, kind: &str, exec: impl Fn(Backend) -> Exec) {
        let contents = Contents::<E>::new(rows, classes, kind);
        self.x.fill(&contents.x);
        self.y.fill(&contents.y);
        self.targets.fill(&contents.targets);
        for backend in Backend::available() {
            for call in all_calls::<E>() {
                // Sources and destinations, each at either end.
                let mut placements = [0, SOURCES, DESTINATIONS, u8::MAX].map(|p| p & uses(call));
                placements.sort_unstable();
                for (i, &placement) in placements.iter().enumerate() {
                    if i == 0 || placement != placements[i - 1] {
                        let name = backend.name();
                        self.announce(
                            format_args!(
                                "{call} of {} on {name}, {rows} x {classes}, {kind}",
                                type_name::<E>()
                            ),
                            uses(call),
                            placement,
                        );
                        self.one(call, exec(backend), classes, placement, &contents);
                    }
                }
            }
        }
    }

    /// Says what comes next, past any buffer.
    fn announce(&mut self, what: std::fmt::Arguments<'_>, uses: u8, placement: u8) {
        let line = &mut self.line;
        line.clear();
        write!(line, "{NEXT}{what}").unwrap();
        let names = [
            (X, "first source"),
            (Y, "second source"),
            (TARGETS, "targets"),
            (PER_ROW, "results per row"),
            (OUT, "output"),
            (OVER, "source and output"),
        ];
        for (bit, name) in names {
            if uses & bit != 0 {
                let place = if placement & bit == 0 {
                    "begins"
                } else {
                    "ends"
                };
                write!(line, ", {name} {place}").unwrap();
            }
        }
        line.push_str(" at a guard page\n");
        let mut stdout = io::stdout();
        stdout.write_all(line.as_bytes()).unwrap();
        stdout.flush().unwrap();
    }

    fn one(
        &mut self,
        call: &Call<E>,
        exec: Exec,
        classes: usize,
        placement: u8,
        contents: &Contents<E>,
    ) {
        let (len, rows) = (contents.x.len(), contents.targets.len());
        let (content, _) = call.reads.of(&contents.x, &contents.y);
        let (x, y) = call.reads.of(&mut self.x, &mut self.y);
        let out = self.out.slice(len, placement, OUT | OVER);
        out.copy_from_slice(&call.out_before(content));
        let per_row = self.per_row.slice(rows, placement, PER_ROW);
        per_row.fill(E::UNTOUCHED);
        let sources = Sources {
            shape: None,
            classes,
            x: x.slice(len, placement, X),
            y: y.slice(len, placement, Y),
            targets: self.targets.slice(rows, placement, TARGETS),
        };
        let destinations = Destinations {
            number: &mut { E::UNTOUCHED },
            per_row: &mut *per_row,
            out: &mut *out,
        };
        call.run(exec, sources, destinations).unwrap();
        let written = |slice: &[E]| slice.iter().all(|x| x.bits() != E::UNTOUCHED.bits());
        let uses = uses(call);
        assert!(uses & OUT == 0 || written(out), "elements left out");
        assert!(uses & PER_ROW == 0 || written(per_row), "rows left out");
        self.calls += 1;
    }
}

/// Runs this test again in a child process. Returns the last line that says what comes next, the
/// other lines, and how it ended. What the child says of a panic or a fault is seen as it comes.
fn child(test: &str, what: &str) -> (String, Vec<String>, ExitStatus) {
    let mut child = child::child(test)
        .env(VARIABLE, what)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut next, mut others) = (String::new(), vec![]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if line.contains(NEXT) {
            std::mem::swap(&mut next, &mut line);
        } else {
            others.push(line.clone());
        }
        line.clear();
    }
    (next, others, child.wait().unwrap())
}

/// Runs this test again in a child process, which calls `every_call`.
fn run(test: &str, every_call: fn() -> usize) {
    if env::var_os(VARIABLE).is_some() {
        println!("{} calls between guard pages", every_call());
        return;
    }
    let (next, others, status) = child(test, "every call");
    assert!(status.success(), "{status}; {next}");
    let summary = others.iter().find(|line| line.contains(" calls "));
    println!("{}", summary.unwrap().trim());
}

#[test]
fn no_access_beyond_a_slice() {
    run("no_access_beyond_a_slice", every_call::<f32>);
}

#[cfg(feature = "f64")]
#[test]
fn no_access_beyond_a_slice_of_f64() {
    run("no_access_beyond_a_slice_of_f64", every_call::<f64>);
}

fn every_call<E: Computed + Plain>() -> usize {
    let shapes = shapes::all();
    let largest = |size: fn(&(usize, usize)) -> usize| shapes.iter().map(size).max().unwrap();
    let mut memory = Memory::<E>::new(largest(|s| s.0), largest(|s| s.0 * s.1));
    for (rows, classes) in shapes {
        for kind in KINDS {
            memory.all(rows, classes, kind, |backend| {
                Exec::new().backend(backend).serial()
            });
        }
    }
    let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let spread = pool.install(|| {
        let (rows, classes) = SPREAD;
        let mut memory = Memory::<E>::new(rows, rows * classes);
        memory.all(rows, classes, "normal 3", |backend| {
            Exec::new().backend(backend)
        });
        memory.calls
    });
    memory.calls + spread
}

#[test]
fn no_access_beyond_the_slices_of_options() {
    run("no_access_beyond_the_slices_of_options", || {
        let mut calls = 0;
        each_computed!(options(&mut calls));
        calls
    });
}

/// What options read beside the rows: one number a class, one a row, one flag an element.
fn options<E: Computed + Plain>(calls: &mut usize) {
    const MOST: usize = 20 * 300;
    let [mut x, mut y, mut out, mut each, mut per_row] = [(); 5].map(|()| Pair::<E>::new(MOST));
    let mut flags = Pair::<bool>::new(MOST);
    let lengths = (1..70).chain([255, 256, 300, 4097]);
    for (classes, placement) in lengths.flat_map(|n| [(n, 0), (n, u8::MAX)]) {
        for rows in [1, 20] {
            let n = rows * classes;
            if n > MOST {
                continue;
            }
            let [x, y] = [&mut x, &mut y].map(|pair| pair.slice(n, placement, X));
            let flags = flags.slice(n, placement, X);
            for (i, (x, y)) in x.iter_mut().zip(&mut *y).enumerate() {
                *x = E::rounded((i * 31 % 97) as f64 / 8.0);
                *y = E::rounded((i * 17 % 13) as f64 / 12.0);
            }
            for (i, flag) in flags.iter_mut().enumerate() {
                *flag = i % 3 == 0;
            }
            let each = each.slice(classes, placement, X);
            each.copy_from_slice(&y[..classes]);
            let per_row = per_row.slice(rows, placement, X);
            per_row.fill(E::rounded(0.5));
            let (x, y, flags, each, per_row) = (&*x, &*y, &*flags, &*each, &*per_row);
            let targets: Vec<u32> = (0..rows).map(|r| (r * 7 % classes) as u32).collect();
            let out = out.slice(n, placement, OUT);
            for backend in Backend::available() {
                println!(
                    "\n{NEXT}options of {} on {backend:?}, {rows} x {classes}, {placement}",
                    type_name::<E>()
                );
                let exec = Exec::new().backend(backend).serial();
                let softmax = Softmax::new().exec(exec).sinks(per_row, 1);
                let masked = softmax.mask(each).causal(rows, 0);
                masked.probs(x, classes, out).unwrap();
                let flagged = softmax.bool_mask(flags);
                flagged.log_probs(x, classes, out).unwrap();
                let ce = CrossEntropy::new().exec(exec).label_smoothing(0.1);
                let ce = ce.class_weights(each).upstream_grad(per_row);
                ce.loss_and_grad(x, classes, &targets, out).unwrap();
                ce.loss_and_grad(x, classes, y, out).unwrap();
                let bce = BinaryCrossEntropy::new().exec(exec).pos_weights(each);
                bce.loss_and_grad(x, classes, y, out).unwrap();
                let bce = bce.label_weights(each).ignore_mask(flags);
                bce.loss_per_element(x, classes, y, out).unwrap();
                *calls += 6;
            }
        }
    }
}

/// A step of one element over either fence faults, reading and writing; a step up to it does not.
#[test]
fn a_step_beyond_faults() {
    const STEPS: [(&str, Place, bool, isize); 8] = [
        ("read the first element", Place::Start, false, 0),
        ("write the first element", Place::Start, true, 0),
        ("read the last element", Place::End, false, -1),
        ("write the last element", Place::End, true, -1),
        ("read before the first element", Place::Start, false, -1),
        ("write before the first element", Place::Start, true, -1),
        ("read beyond the last element", Place::End, false, 0),
        ("write beyond the last element", Place::End, true, 0),
    ];
    if let Some(what) = env::var_os(VARIABLE) {
        let (name, place, write, step) = STEPS.into_iter().find(|step| what == step.0).unwrap();
        let mut fenced = Fenced::<f32>::new(1);
        let slice = fenced.slice(37, place);
        let end = if place == Place::Start {
            0
        } else {
            slice.len()
        };
        let element = slice.as_mut_ptr().wrapping_add(end).wrapping_offset(step);
        println!("\n{NEXT}{name}");
        // SAFETY: none, where the element is no part of the slice: that the access faults is what is
        // tried here. The others are in it.
        unsafe {
            if write {
                element.write_volatile(1.0);
            } else {
                element.read_volatile();
            }
        }
        println!("survived");
        return;
    }
    for (name, place, _, step) in STEPS {
        let (next, others, status) = child("a_step_beyond_faults", name);
        assert_eq!(next.trim(), format!("{NEXT}{name}"), "{others:?}");
        let survived = others.iter().any(|line| line.contains("survived"));
        let within = (place == Place::Start) == (step == 0);
        assert_eq!(
            (survived, status.success()),
            (within, within),
            "{name}: {status}"
        );
    }
}
