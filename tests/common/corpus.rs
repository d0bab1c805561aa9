//! The batches that accuracy is measured on: which there are, and all that the operations need with
//! their rows.

use std::env;
use std::io::{self, Write as _};
use std::ops::{Deref, Range};

use super::inputs::{self, CLASSES, Rng};
use super::oracle;
use super::ulp::Want;

/// Rows, and all that the operations need with them.
pub struct Batch {
    pub case: Case,
    pub rows: usize,
    pub classes: usize,
    pub x: Source,
    pub targets: Vec<i64>,
    /// Probabilities and log-probabilities of `x`, and a gradient with respect to either.
    pub y: Source,
    pub log_y: Source,
    pub dy: Source,
    /// Of each element: 0, 1 or, in every other row, anything between.
    pub labels: Source,
}

/// Which batch.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The class of every row, or of none in particular.
    pub class: Option<usize>,
    pub rows: usize,
    pub classes: usize,
    /// Elements by which the slices miss a multiple of 64 bytes.
    pub offset: usize,
    /// The first row's seed; the others follow.
    pub seed: u64,
}

/// The sources of one row.
pub struct Sources<'a> {
    pub x: &'a [f32],
    pub y: &'a [f32],
    pub log_y: &'a [f32],
    pub dy: &'a [f32],
    pub labels: &'a [f32],
    pub target: Option<usize>,
}

impl Case {
    /// The class of row `r`.
    fn class(&self, r: usize) -> inputs::Class {
        CLASSES[self.class.unwrap_or(r % CLASSES.len())]
    }

    /// What the class of its rows is called.
    pub fn name(&self) -> &'static str {
        self.class.map_or("mixed", |class| CLASSES[class].name)
    }
}

impl Batch {
    pub fn new(case: Case) -> Self {
        Self::with_rows(case, |r, seed| case.class(r).row(seed, case.classes))
    }

    /// Rows of any kind, from their index and seed; no class is looked up.
    pub fn with_rows(case: Case, make: impl Fn(usize, u64) -> Vec<f32>) -> Self {
        let Case {
            rows,
            classes,
            offset,
            seed,
            ..
        } = case;
        let [mut x, mut y, mut log_y, mut dy, mut labels] = [const { Vec::new() }; 5];
        let mut targets = Vec::new();
        for (r, seed) in (0..rows).zip(seed..) {
            let row = make(r, seed);
            y.extend(oracle::softmax(&row).into_iter().map(|p| p as f32));
            log_y.extend(oracle::log_softmax(&row).into_iter().map(|p| p as f32));
            let rng = &mut Rng::new(!seed);
            targets.push(target(rng, &row));
            dy.extend(inputs::upstream(rng, classes));
            let soft = rng.coin();
            labels.extend((0..classes).map(|_| inputs::label(rng, soft)));
            x.extend(row);
        }
        // Each misses alignment by another number of elements, and so does what is written.
        let place = |content: Vec<f32>, more| Source::new(&content, (offset + more) % 4);
        Self {
            case,
            rows,
            classes,
            x: place(x, 1),
            targets,
            y: place(y, 2),
            log_y: place(log_y, 2),
            dy: place(dy, 3),
            labels: place(labels, 3),
        }
    }

    /// The results of all rows, one after the other.
    pub fn rows<T>(&self, f: impl Fn(Sources<'_>) -> Vec<T>) -> Vec<T> {
        let row = |r| -> Range<usize> { r * self.classes..(r + 1) * self.classes };
        (0..self.rows)
            .flat_map(|r| {
                f(Sources {
                    x: &self.x[row(r)],
                    y: &self.y[row(r)],
                    log_y: &self.log_y[row(r)],
                    dy: &self.dy[row(r)],
                    labels: &self.labels[row(r)],
                    target: usize::try_from(self.targets[r]).ok(),
                })
            })
            .collect()
    }

    /// Rows that are not ignored.
    pub fn count(&self) -> f64 {
        self.targets.iter().filter(|&&target| target >= 0).count() as f64
    }

    pub fn losses(&self) -> Vec<f64> {
        self.rows(|row| {
            vec![
                row.target
                    .map_or(0.0, |target| oracle::cross_entropy(row.x, target)),
            ]
        })
    }

    pub fn gradient(&self, g: f64) -> Vec<Want> {
        self.rows(|row| {
            let Some(target) = row.target else {
                return vec![Want::exactly(0.0); row.x.len()];
            };
            let gradient = oracle::cross_entropy_gradient(row.x, target, g);
            let gradient = gradient.into_iter().zip(row.x).enumerate();
            gradient
                .map(|(i, (want, &x))| {
                    let want = Want::ulp(want);
                    if i == target {
                        want
                    } else {
                        masked_or(x, want)
                    }
                })
                .collect()
        })
    }

    /// With the labels as distributions.
    pub fn soft_losses(&self) -> Vec<f64> {
        self.rows(|row| vec![oracle::soft_cross_entropy(row.x, row.labels)])
    }

    pub fn soft_gradient(&self, g: f64) -> Vec<Want> {
        self.rows(|row| ulps_of(oracle::soft_cross_entropy_gradient(row.x, row.labels, g)))
    }

    /// All that the labels add up to.
    pub fn mass(&self) -> f64 {
        oracle::sum(self.labels.iter().map(|&t| t.into()))
    }

    pub fn binary_losses(&self) -> Vec<f64> {
        let pairs = self.x.iter().zip(self.labels.iter());
        pairs
            .map(|(&x, &t)| oracle::binary_cross_entropy(x, t).0)
            .collect()
    }

    pub fn binary_gradient(&self, g: f64) -> Vec<Want> {
        let pairs = self.x.iter().zip(self.labels.iter());
        ulps_of(
            pairs
                .map(|(&x, &t)| oracle::binary_cross_entropy_gradient(x, t, g))
                .collect(),
        )
    }
}

/// The likeliest class, the first, the last, any; now and then none: an ignored row.
fn target(rng: &mut Rng, row: &[f32]) -> i64 {
    let last = row.len().checked_sub(1);
    let top = (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j]));
    let target = match rng.below(8) {
        0 => last.map(|_| 0),
        1 => last,
        2 | 3 => last.map(|last| rng.below(last + 1)),
        4 => None,
        _ => top,
    };
    target.map_or(-100, |target| i64::try_from(target).unwrap())
}

/// A slice to read that misses a multiple of 64 bytes by a number of elements. What is computed
/// from beyond it is NaN.
pub struct Source {
    buffer: Vec<f32>,
    slice: Range<usize>,
}

impl Source {
    fn new(content: &[f32], offset: usize) -> Self {
        let mut buffer = vec![f32::NAN; content.len() + 64];
        let start = 16 + buffer.as_ptr().align_offset(64) + offset;
        let slice = start..start + content.len();
        buffer[slice.clone()].copy_from_slice(content);
        Self { buffer, slice }
    }
}

impl Deref for Source {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[self.slice.clone()]
    }
}

/// The rows for which other libraries' errors are published: how many, classes, and the class.
pub const PUBLISHED: [(usize, usize, &str); 6] = [
    (2000, 10, "normal 1"),
    (2000, 10, "normal 10"),
    (2000, 10, "normal 40"),
    (500, 1000, "normal 3"),
    (500, 1000, "normal 20"),
    (20, 128_256, "normal 3"),
];

/// Those of the corpus, in this order.
pub fn published() -> Vec<Case> {
    let cases = all_cases();
    let set = |set| {
        let is = |case: &&Case| (case.rows, case.classes, case.name()) == set;
        cases.iter().find(is).copied()
    };
    PUBLISHED.into_iter().filter_map(set).collect()
}

/// Every class at every length up to 300, around the chunk of 4096, and at two vocabularies; from
/// every offset. Then batches.
pub fn all_cases() -> Vec<Case> {
    let named = |name| Some(CLASSES.iter().position(|class| class.name == name).unwrap());
    let mut cases = Vec::new();
    let mut add = |class, rows, classes, offset| {
        // Room for the seeds of the rows.
        let seed = (cases.len() as u64) << 16;
        cases.push(Case {
            class,
            rows,
            classes,
            offset,
            seed,
        });
    };
    for class in 0..CLASSES.len() {
        for classes in (0..=300).chain([1000, 4096, 4097, 8193]) {
            for offset in 0..4 {
                add(Some(class), 1, classes, offset);
            }
        }
        add(Some(class), 1, 50_257, class % 4);
        add(Some(class), 1, 128_256, (class + 1) % 4);
    }
    for classes in (1..=40).chain([64, 65, 100, 256, 1000]) {
        for rows in [2, 3, 16, 17, 53] {
            add(None, rows, classes, rows % 4);
        }
    }
    add(None, 5, 4097, 1);
    for class in ["normal 3", "dominated", "masked but one", "descending"] {
        add(named(class), 1, 1_000_003, 0);
    }
    // Margins from 0 to 120 in steps of 0.1, and targets as likely as 1 to 1e-300.
    for class in ["confident", "unlikely"] {
        add(named(class), 2500, 8, 3);
    }
    for (rows, classes, class) in PUBLISHED {
        add(named(class), rows, classes, 0);
    }
    cases
}

/// Those to try.
pub fn cases() -> Vec<Case> {
    let mut cases = all_cases();
    sample(&mut cases);
    // Longest first, so that no thread is left with one at the end.
    cases.sort_by_key(|case| core::cmp::Reverse(case.rows * case.classes));
    cases
}

/// Keeps every nth case, if `SOFTLANE_SAMPLE` is n, and some of each class.
fn sample(cases: &mut Vec<Case>) {
    let Some(n) = env::var_os("SOFTLANE_SAMPLE") else {
        return;
    };
    let n: usize = n.to_str().unwrap().parse().unwrap();
    let all = cases.len();
    let mut number = 0..all;
    cases.retain(|_| number.next().unwrap() % n == 0);
    for class in (0..CLASSES.len()).map(Some).chain([None]) {
        let kept = |case: &Case| case.class == class;
        assert!(cases.iter().any(kept), "SOFTLANE_SAMPLE={n}: too few");
    }
    let kept = cases.len();
    let line = format!("SOFTLANE_SAMPLE={n}: {kept} batches of {all}, some of each class\n");
    // Not captured by the harness: also seen when the test passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
}

pub fn ulps(exact: impl IntoIterator<Item = f64>) -> Vec<Want> {
    exact.into_iter().map(Want::ulp).collect()
}

/// Of pairs of a result and the operand whose ULP counts.
pub fn ulps_of(exact: Vec<(f64, f64)>) -> Vec<Want> {
    let wants = exact.into_iter();
    wants.map(|(x, operand)| Want::ulp_of(x, operand)).collect()
}

/// Exactly 0 where the logit is `-inf`.
pub fn masked_or(x: f32, want: Want) -> Want {
    if x == f32::NEG_INFINITY && !want.value.is_nan() {
        Want::exactly(0.0)
    } else {
        want
    }
}
