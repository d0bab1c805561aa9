//! Every operation on every backend, over every class of row, against exact results, in ULP, with
//! guard values around every output. Prints the worst case of each (`-- --nocapture`).
//! `SOFTLANE_SAMPLE=15` tries every fifteenth batch only, for emulators.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::calls::{Call, Output, Tested};
use common::corpus::{Batch, Case, all_cases, cases};
use common::operations::TABLE;
use common::textbook;
use common::threads::on_all_cores;
use common::ulp::Want;
use softlane::{Backend, Exec};

/// The worst results of one operation on one backend: by ULP, and by share of the textbook bound.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    ulp: Option<Finding>,
    textbook: Option<Finding>,
}

#[derive(Clone, Copy, Debug)]
struct Finding {
    error: f64,
    case: Case,
    form: &'static str,
    index: usize,
    got: f32,
    want: Want,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, want, .. } = *self;
        // The index is that of an element, or of a row.
        write!(
            f,
            "{} of {} x {} {:?}, seed {:#x}, offset {}: [{}] is {:e}, not {:e}: {} ULP",
            self.form,
            case.rows,
            case.classes,
            case.name(),
            case.seed,
            case.offset,
            self.index,
            self.got,
            want.value,
            figure(want.error(self.got))
        )
    }
}

impl Worst {
    fn merge(&mut self, other: Self) {
        for (mine, other) in [
            (&mut self.ulp, other.ulp),
            (&mut self.textbook, other.textbook),
        ] {
            if other.is_some_and(|other| mine.is_none_or(|mine| other.error > mine.error)) {
                *mine = other;
            }
        }
    }
}

/// Every operation on every backend on one batch.
fn run(batch: &Batch, backends: &[Backend], worst: &mut [Vec<Worst>]) {
    for (operation, worst) in TABLE.iter().zip(worst) {
        let wants = (operation.exact)(batch);
        for (&backend, worst) in backends.iter().zip(worst) {
            let textbook = is_textbook(backend).then(|| (operation.textbook)(batch));
            let exec = Exec::new().backend(backend);
            let forms = operation
                .forms(exec, batch)
                .unwrap_or_else(|error| panic!("{} of {:?}: {error}", operation.name, batch.case));
            for (form, results) in forms {
                assert_eq!(wants.len(), results.len(), "{form}");
                let ulp = |i: usize| wants[i].error(results[i]);
                let finding = |(error, index)| Finding {
                    error,
                    case: batch.case,
                    form,
                    index,
                    got: results[index],
                    want: wants[index],
                };
                worst.merge(Worst {
                    ulp: largest(results.len(), ulp).map(finding),
                    textbook: textbook.as_ref().and_then(|bounds| {
                        assert_eq!(wants.len(), bounds.len(), "{form}");
                        let share = |i| textbook::share(ulp(i), wants[i].unit, bounds[i]);
                        largest(results.len(), share).map(finding)
                    }),
                });
            }
        }
    }
}

/// The largest of `n` errors, and where it is.
fn largest(n: usize, error: impl Fn(usize) -> f64) -> Option<(f64, usize)> {
    let mut largest = None;
    for i in 0..n {
        let error = error(i);
        if largest.is_none_or(|(most, _)| error > most) {
            largest = Some((error, i));
        }
    }
    largest
}

/// A number to read in a column.
fn figure(x: f64) -> String {
    if x < 1e3 {
        format!("{x:.3}")
    } else {
        format!("{x:.1e}")
    }
}

/// Whether a backend's bounds are those of the textbook formulas.
fn is_textbook(backend: Backend) -> bool {
    backend.name() == "scalar"
}

#[test]
fn within_the_bounds() {
    let backends: Vec<Backend> = Backend::available().collect();
    let nothing = vec![vec![Worst::default(); backends.len()]; TABLE.len()];
    let (cases, next) = (cases(), AtomicUsize::new(0));
    let found = on_all_cores(|| {
        let mut worst = nothing.clone();
        while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(&Batch::new(case), &backends, &mut worst);
        }
        worst
    });
    let mut worst = nothing.clone();
    for found in found {
        for (mine, found) in worst.iter_mut().flatten().zip(found.into_iter().flatten()) {
            mine.merge(found);
        }
    }

    let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
    println!("{} batches on {}", cases.len(), names.join(", "));
    for name in ["avx2", "avx512"] {
        if !names.contains(&name) {
            println!("{name} did not run: it is not supported here");
        }
    }
    let mut failures = Vec::new();
    for (operation, worst) in TABLE.iter().zip(&worst) {
        for (&backend, worst) in backends.iter().zip(worst) {
            let ulp = worst
                .ulp
                .unwrap_or_else(|| panic!("{} was not tried", operation.name));
            let (finding, bound, of) = match worst.textbook {
                Some(textbook) => (textbook, 1.0, "textbook bound"),
                None => (ulp, operation.bound.on(backend), "ULP"),
            };
            let line = format!(
                "{:34} {:8} {:>7} ULP of {:17} | {} of {bound} {of}: {finding}",
                operation.name,
                backend.name(),
                figure(ulp.error),
                operation.measure,
                figure(finding.error),
            );
            println!("{line}");
            if finding.error >= bound {
                failures.push(line);
            }
        }
    }
    assert!(
        failures.is_empty(),
        "beyond the bound:\n{}",
        failures.join("\n")
    );
}

#[test]
fn every_result_has_a_bound() {
    let bounds = |output: Output| {
        let outputs = TABLE.iter().flat_map(|operation| operation.outputs);
        outputs.filter(|&&bounded| bounded == output).count()
    };
    for output in f32::calls().iter().flat_map(Call::outputs) {
        assert_eq!(bounds(output), 1, "bounds of {}", output.name);
    }
}

#[test]
fn errors_count_in_ulp() {
    let (tiny, epsilon) = (f32::from_bits(1), f64::from(f32::EPSILON));
    let checks = [
        (1.0, Want::ulp(1.0), 0.0),
        // A power of two begins a binade.
        (1.0, Want::ulp(1.0 + epsilon), 1.0),
        (1.0, Want::ulp(1.0 - epsilon), 2.0),
        (0.0, Want::ulp(f64::from(tiny) / 2.0), 0.5),
        (3.0 * tiny, Want::ulp(0.0), 3.0),
        (3.0, Want::ulp_of(4.0, 8.0), 20_f64.exp2()),
        // Infinity is where the next number would be.
        (f32::INFINITY, Want::ulp(f64::from(f32::MAX)), 1.0),
        (f32::INFINITY, Want::ulp(1e39), 0.0),
        (f32::NEG_INFINITY, Want::ulp(f64::NEG_INFINITY), 0.0),
        (f32::MAX, Want::ulp(f64::INFINITY), f64::INFINITY),
        (f32::NAN, Want::ulp(f64::NAN), 0.0),
        (-f32::NAN, Want::ulp(f64::NAN), f64::INFINITY),
        (f32::NAN, Want::ulp(1.0), f64::INFINITY),
        (1.0, Want::ulp(f64::NAN), f64::INFINITY),
        (0.0, Want::exactly(0.0), 0.0),
        (tiny, Want::exactly(0.0), f64::INFINITY),
    ];
    for (got, want, error) in checks {
        let counted = want.error(got);
        assert!(
            counted.total_cmp(&error).is_eq(),
            "{got:e} is {counted} off {want:?}"
        );
    }
}

/// The corpus has a confident class at every margin, and targets of every probability.
#[test]
fn the_corpus_has_every_margin_and_probability() {
    let batch = |name: &str| {
        let is = |case: &&Case| case.rows == 2500 && case.name() == name;
        all_cases().iter().find(is).map(|&case| Batch::new(case))
    };
    let largest_step = |mut x: Vec<f64>, from: f64, to: f64| {
        x.extend([from, to]);
        x.sort_by(f64::total_cmp);
        x.windows(2).fold(0.0, |step: f64, x| step.max(x[1] - x[0]))
    };
    let Some(confident) = batch("confident") else {
        panic!("no batch of margins");
    };
    let margins = confident.rows(|row| {
        let mut x = row.x.to_vec();
        x.sort_by(|a, b| b.total_cmp(a));
        vec![f64::from(x[0]) - f64::from(x[1])]
    });
    let step = largest_step(margins, 0.0, 119.0);
    assert!(step < 0.5, "{step}");
    let Some(unlikely) = batch("unlikely") else {
        panic!("no batch of unlikely targets");
    };
    let losses = unlikely.losses();
    let step = largest_step(losses, 0.0, 690.0);
    assert!(step < 10.0, "{step}");
}
