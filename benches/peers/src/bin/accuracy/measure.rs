//! The largest errors: of published rows, over the spread of logits, and over the whole corpus.

use std::error::Error;

use rayon::prelude::*;

use crate::common::corpus::{self, Batch, Case};
use crate::common::inputs::{self, Rng};
use crate::common::operations::{Operation, TABLE};
use crate::implementation::Implementation;
use crate::progress::Progress;

/// Anything that goes wrong, on any thread.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The largest errors in ULP, one for each implementation: none where it lacks the operation.
pub type Errors = Vec<Option<f64>>;

/// The errors of an operation on one set of published rows.
#[derive(Debug)]
pub struct Published {
    pub operation: &'static str,
    pub case: Case,
    pub errors: Errors,
}

/// The errors of a probability where logits have this spread.
#[derive(Debug)]
pub struct Spread {
    pub spread: f64,
    pub errors: Errors,
}

/// Rows and classes of each spread.
pub const ROWS: usize = 300;
pub const CLASSES: usize = 1000;

/// Of softmax and log-softmax.
pub fn published(implementations: &[Implementation]) -> Result<Vec<Published>, Failure> {
    let cases = corpus::published();
    let operations = ["softmax", "log_softmax"].into_iter().filter_map(named);
    let pairs: Vec<_> = operations
        .flat_map(|operation| cases.iter().map(move |&case| (operation, case)))
        .collect();
    let elements = pairs.iter().map(|(_, case)| size(case)).sum();
    let progress = Progress::new("published rows", elements);
    let errors = pairs.into_par_iter().map(|(operation, case)| {
        let errors = largest(operation, &Batch::new(case), implementations)?;
        progress.advance(size(&case));
        Ok(Published {
            operation: operation.name,
            case,
            errors,
        })
    });
    errors.collect()
}

/// Of softmax, from a spread of 0.1 to one of 1000.
pub fn spreads(implementations: &[Implementation]) -> Result<Vec<Spread>, Failure> {
    const STEPS: i32 = 24;
    let case = Case {
        class: None,
        rows: ROWS,
        classes: CLASSES,
        offset: 0,
        seed: 0,
    };
    let softmax = named("softmax").ok_or("softmax is not in the table")?;
    let progress = Progress::new("spreads", (STEPS as u64 + 1) * size(&case));
    let errors = (0..=STEPS).into_par_iter().map(|step| {
        let spread = 10_f64.powf(f64::from(step) / 6.0 - 1.0);
        let rows = Batch::with_rows(case, |_, seed| {
            inputs::normal(&mut Rng::new(seed), CLASSES, 0.0, spread)
        });
        let errors = largest(softmax, &rows, implementations)?;
        progress.advance(size(&case));
        Ok(Spread { spread, errors })
    });
    errors.collect()
}

/// Of every operation, over all of these.
pub fn corpus(cases: &[Case], implementations: &[Implementation]) -> Result<Vec<Errors>, Failure> {
    let progress = Progress::new("corpus", cases.iter().map(size).sum());
    let nothing = || vec![vec![None; implementations.len()]; TABLE.len()];
    let errors = cases.par_iter().map(|case| {
        let batch = Batch::new(*case);
        let errors = TABLE
            .iter()
            .map(|operation| largest(operation, &batch, implementations))
            .collect::<Result<Vec<Errors>, Failure>>();
        progress.advance(size(case));
        errors
    });
    errors.try_reduce(nothing, |a, b| {
        let operations = a.into_iter().zip(b);
        Ok(operations.map(|(a, b)| larger(&a, &b)).collect())
    })
}

fn named(name: &str) -> Option<&'static Operation> {
    TABLE.iter().find(|operation| operation.name == name)
}

/// Elements of a batch.
fn size(case: &Case) -> u64 {
    (case.rows * case.classes) as u64
}

/// The errors of one operation on one batch.
fn largest(
    operation: &Operation,
    batch: &Batch,
    implementations: &[Implementation],
) -> Result<Errors, Failure> {
    let wants = (operation.exact)(batch);
    let error = |implementation: &Implementation| {
        let forms = implementation.run(operation, batch)?.into_iter();
        let pairs = forms.flat_map(|results| wants.iter().zip(results));
        let errors = pairs.filter_map(|(want, got)| got.map(|got| want.error(got)));
        Ok(errors.reduce(f64::max))
    };
    implementations.iter().map(error).collect()
}

/// The larger of each two.
fn larger(a: &Errors, b: &Errors) -> Errors {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| a.iter().chain(b).copied().reduce(f64::max))
        .collect()
}
