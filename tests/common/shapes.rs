//! Batches that take every way through the kernels.

#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

use super::calls::Tested;
use super::inputs::{self, Rng};

/// Kinds of rows that take different ways through the kernels: the usual one, that of logits whose
/// reference is subtracted first, masked lanes, one probability near 1, and no answer.
pub const KINDS: [&str; 5] = [
    "normal 3",
    "offset 1e5",
    "masked half",
    "confident",
    "all -inf",
];

/// The contents of a batch.
#[derive(Debug)]
pub struct Contents<E> {
    pub x: Vec<E>,
    pub y: Vec<E>,
    pub targets: Vec<i64>,
}

impl<E: Tested> Contents<E> {
    pub fn new(rows: usize, classes: usize, kind: &str) -> Self {
        let seed = (rows * 1_000_003 + classes) as u64;
        let mut rng = Rng::new(seed);
        let row = |i: usize| match kind {
            "all -inf" => vec![E::rounded(f64::NEG_INFINITY); classes],
            name => inputs::named(name)
                .unwrap()
                .row_of(seed + i as u64, classes, E::rounded),
        };
        Self {
            x: (0..rows).flat_map(row).collect(),
            y: (0..rows * classes)
                .map(|_| E::rounded(rng.uniform()))
                .collect(),
            // Some rows are ignored; the others have any class, above all the last.
            targets: (0..rows)
                .map(|_| match rng.below(8) {
                    0 => -100,
                    _ if classes == 0 => -100,
                    1..4 => classes as i64 - 1,
                    _ => rng.below(classes) as i64,
                })
                .collect(),
        }
    }
}

/// Rows and classes to try on one thread: every length around every seam of vectors, groups of
/// vectors and chunks; then batches of few classes and of more.
///
/// `SOFTLANE_TEST_SHAPES=few` leaves out most of them, for tools under which a program takes some
/// hundred times as long. Says how many there are.
pub fn all() -> Vec<(usize, usize)> {
    let few = match std::env::var("SOFTLANE_TEST_SHAPES").as_deref() {
        Err(_) => false,
        Ok(value) => {
            assert_eq!(value, "few", "SOFTLANE_TEST_SHAPES");
            true
        }
    };
    let mut shapes = vec![(0, 0), (0, 5), (3, 0)];
    if few {
        let lengths = [0, 1, 15, 16, 17, 37, 64, 81];
        shapes.extend(lengths.map(|classes| (1, classes)));
        shapes.extend([(5, 3), (2, 17), (3, 70)]);
        // Sixteen rows at once.
        shapes.extend([(17, 1), (17, 3), (17, 4), (33, 5), (33, 32), (33, 70)]);
        // Nearly so.
        shapes.extend([(13, 2), (28, 5)]);
    } else {
        let seams = [4095, 4096, 4097, 4112, 4113, 8191, 8193];
        let lengths = (0..=300).chain(seams);
        shapes.extend(lengths.map(|classes| (1, classes)));
        for rows in [2, 3, 9, 15, 16, 17, 29, 33] {
            shapes.extend((1..=33).map(|classes| (rows, classes)));
        }
        for classes in [48, 63, 64, 65, 100, 255, 256, 257, 1000] {
            shapes.extend([(2, classes), (7, classes)]);
            if classes <= 65 {
                // Around the longest rows that go sixteen at a time by columns.
                shapes.push((17, classes));
            }
        }
        // As they lie.
        shapes.extend([44, 48, 60, 64, 80, 189, 192].map(|classes| (33, classes)));
        shapes.extend([(17, 256), (17, 257)]);
        shapes.push((2, 4097));
    }
    println!(
        "{} shapes{}",
        shapes.len(),
        if few {
            ", SOFTLANE_TEST_SHAPES=few"
        } else {
            ""
        }
    );
    shapes
}
