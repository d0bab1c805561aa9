//! Where rows lie, as the tests put them there.

use softlane::Shape;

use super::calls::{Call, Tested};
use super::guard::Guarded;

/// Ways for rows to lie in what is read and in what is written.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub classes: usize,
    pub inner: usize,
    /// Between the last element of a row, or of `inner` of them, and the first of the next.
    pub gaps: [usize; 2],
}

impl Place {
    pub fn shape(self) -> Shape {
        let slab = self.classes * self.inner;
        let shape = Shape::axis(self.classes, self.inner);
        if self.gaps == [0, 0] {
            shape
        } else {
            shape.strides(slab + self.gaps[0], slab + self.gaps[1])
        }
    }

    /// Elements of a slice of so many rows.
    pub fn len(self, rows: usize, gap: usize) -> usize {
        (rows / self.inner) * (self.classes * self.inner + gap)
    }

    /// Where an element of a row is.
    fn index(self, row: usize, class: usize, gap: usize) -> usize {
        let (outer, inner) = (row / self.inner, row % self.inner);
        outer * (self.classes * self.inner + gap) + class * self.inner + inner
    }

    /// Rows that lie one after the other, put there, and in all other places something that no result is.
    pub fn put<E: Guarded>(self, rows: &[E], gap: usize) -> Vec<E> {
        let count = rows.len().checked_div(self.classes).unwrap_or(0);
        let mut there = vec![E::UNTOUCHED; self.len(count, gap)];
        for (i, &x) in rows.iter().enumerate() {
            there[self.index(i / self.classes, i % self.classes, gap)] = x;
        }
        there
    }

    /// And taken from there, what is in other places as it was.
    pub fn take<E: Guarded>(
        self,
        mut there: Vec<E>,
        rows: usize,
        gap: usize,
        context: &str,
    ) -> Vec<E> {
        let mut taken = Vec::new();
        for i in 0..rows * self.classes {
            let at = self.index(i / self.classes, i % self.classes, gap);
            taken.push(there[at]);
            there[at] = E::UNTOUCHED;
        }
        let changed = there.iter().position(|x| x.bits() != E::UNTOUCHED.bits());
        assert_eq!(changed, None, "between rows: {context}");
        taken
    }
}

/// Ways for so many rows.
pub fn places(rows: usize, classes: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for inner in [1, 2, 3, 4, 6, 20] {
        if rows.is_multiple_of(inner) {
            for gaps in [[0, 0], [1, 0], [0, 5], [3, 2]] {
                places.push(Place {
                    classes,
                    inner,
                    gaps,
                });
            }
        }
    }
    places
}

/// Whether a call takes a shape, and not a number of labels.
pub fn takes_shape<E: Tested>(call: &Call<E>) -> bool {
    let of_slices = [
        "max",
        "sum",
        "exp",
        "exp_in_place",
        "sigmoid",
        "sigmoid_in_place",
    ];
    let is_of_slice = of_slices
        .iter()
        .any(|name| call.name == format!("Exec::{name}"));
    !is_of_slice && !call.name.starts_with("Binary")
}
