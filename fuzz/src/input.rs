//! What inputs are made of: batches of rows of every shape and every kind of float.

use std::ops::Deref;

use crate::code::coded;

/// Elements of a row that are summed before their sum joins the others.
const CHUNK: usize = 4096;

/// Elements that are spread over several threads: `SERIAL_BELOW` in `src/parallel.rs` and some more, so
/// that the last part is a short one.
const MANY: usize = 121_000;

coded! {
    /// Any bit pattern. Ordinary numbers, and those with rules of their own, come up more often than
    /// their share of bit patterns.
    pub enum Float {
        /// From -128 to 128.
        7 => Medium(units: i16),
        /// From -2 to 2.
        3 => Small(units: i16),
        /// From -0.5 to 0.5.
        1 => Tiny(units: i8),
        /// From -2^19 to 2^19.
        1 => Large(units: i16),
        2 => Bits(bits: u32),
        1 => Special(choice: u8),
        1 => Masked,
    }
}

const SPECIAL: [f32; 10] = [
    f32::INFINITY,
    f32::NAN,
    // With a payload and a sign that no result has.
    f32::from_bits(0xFFC1_2345),
    0.0,
    -0.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    f32::EPSILON,
    f32::from_bits(1),
];

impl Float {
    /// It.
    pub fn get(&self) -> f32 {
        match *self {
            Self::Medium(units) => f32::from(units) / 256.0,
            Self::Small(units) => f32::from(units) / 16_384.0,
            Self::Tiny(units) => f32::from(units) / 256.0,
            Self::Large(units) => f32::from(units) * 16.0,
            Self::Bits(bits) => f32::from_bits(bits),
            Self::Special(choice) => SPECIAL[usize::from(choice) % SPECIAL.len()],
            Self::Masked => f32::NEG_INFINITY,
        }
    }
}

impl From<f32> for Float {
    fn from(x: f32) -> Self {
        if x == f32::NEG_INFINITY {
            Self::Masked
        } else {
            Self::Bits(x.to_bits())
        }
    }
}

coded! {
    /// A slice of any length, described by a few floats, so that long ones need few bytes.
    pub struct Floats {
        /// Repeated over the slice.
        pub pattern: Vec<Float>,
        /// Added once more, in units of 1/256, with each repetition, so that no two need be alike.
        pub drift: i16,
        /// One element that is like no other.
        pub spike: Option<Spike>,
    }
}

coded! {
    /// An element, and where it is.
    pub struct Spike {
        pub at: u16,
        pub value: Float,
    }
}

impl Floats {
    /// These floats, over and over.
    pub fn repeated(pattern: &[f32]) -> Self {
        Self {
            pattern: pattern.iter().map(|&x| x.into()).collect(),
            drift: 0,
            spike: None,
        }
    }

    /// With this element instead.
    pub fn with(self, at: u16, value: f32) -> Self {
        let value = value.into();
        Self {
            spike: Some(Spike { at, value }),
            ..self
        }
    }

    /// As many elements.
    pub fn take(&self, len: usize) -> Vec<f32> {
        let mut pattern: Vec<f32> = self.pattern.iter().map(Float::get).collect();
        if pattern.is_empty() {
            pattern.push(0.0);
        }
        let drift = f32::from(self.drift) / 256.0;
        let mut x = Vec::with_capacity(len);
        for repetition in 0..len.div_ceil(pattern.len()) {
            // A signalling NaN would lose its payload to this addition.
            let added = |&x: &f32| {
                if drift == 0.0 {
                    x
                } else {
                    x + repetition as f32 * drift
                }
            };
            x.extend(pattern.iter().take(len - x.len()).map(added));
        }
        if let Some(Spike { at, value }) = &self.spike
            && len > 0
        {
            x[usize::from(*at) % len] = value.get();
        }
        x
    }

    /// As many numbers from 0 to 1 (or NaN), often at either end.
    pub fn take_labels(&self, len: usize) -> Vec<f32> {
        let mut labels = self.take(len);
        for x in &mut labels {
            *x = x.clamp(0.0, 1.0);
        }
        labels
    }
}

/// A slice that begins somewhere in its memory and ends where that ends, so that a sanitizer sees
/// whoever reads on.
pub struct Placed {
    memory: Vec<f32>,
    start: usize,
}

impl Placed {
    /// These elements, `offset` elements off the place where they would begin otherwise.
    pub fn new(content: &[f32], offset: usize) -> Self {
        let mut memory = Vec::with_capacity(offset + content.len());
        memory.resize(offset, 0.0);
        memory.extend(content);
        Self {
            memory,
            start: offset,
        }
    }
}

impl Deref for Placed {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..]
    }
}

coded! {
    /// Where slices begin, in elements off the place where memory begins.
    pub struct Offsets {
        offsets: u8,
    }
}

impl Offsets {
    /// From 0 to 3 each.
    pub fn new(source: usize, output: usize) -> Self {
        let offsets = (source * 4 + output) as u8;
        Self { offsets }
    }

    /// For what is read.
    pub fn source(&self) -> usize {
        usize::from(self.offsets / 4 % 4)
    }

    /// For what is written.
    pub fn output(&self) -> usize {
        usize::from(self.offsets % 4)
    }
}

coded! {
    /// The shape of a batch.
    pub struct Shape {
        size: Size,
        classes: u16,
        rows: u8,
    }
}

coded! {
    /// Long rows take long, so they are few.
    pub enum Size {
        195 => Small,
        16 => FewClasses,
        /// As they lie, and by columns.
        10 => SixteenAtOnce,
        24 => Medium,
        6 => Long,
        3 => Empty,
        /// No byte chooses it: see [`Shape::spread`].
        0 => Spread,
    }
}

/// What a [`Shape`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub rows: usize,
    pub classes: usize,
}

impl Shape {
    /// The batch that has it.
    pub fn batch(&self) -> Batch {
        let (classes, rows) = (usize::from(self.classes), usize::from(self.rows));
        let (rows, classes) = match self.size {
            Size::Small => (rows % 9, 1 + classes % 70),
            Size::FewClasses => (rows, 1 + classes % 8),
            Size::SixteenAtOnce => (16 + rows % 25, 9 + classes % 250),
            Size::Medium => (1 + rows % 2, 70 + classes % 1031),
            // About one chunk, or two.
            Size::Long => (1, (1 + rows % 2) * CHUNK - 5 + classes % 24),
            Size::Empty => (rows % 21, 0),
            // One row that threads share.
            Size::Spread if rows % 4 == 0 => (1, MANY + classes),
            Size::Spread => {
                let classes = 16 + classes % 3000;
                (MANY.div_ceil(classes), classes)
            }
        };
        Batch { rows, classes }
    }

    /// The shape of that batch: the other way around.
    ///
    /// # Panics
    /// If no shape is that of the batch.
    pub fn new(rows: usize, classes: usize) -> Self {
        let (size, c, r) = match (rows, classes) {
            (_, 0) => (Size::Empty, 0, rows),
            (0..=8, 1..=70) => (Size::Small, classes - 1, rows),
            (_, 1..=8) => (Size::FewClasses, classes - 1, rows),
            (16..=40, 9..=258) => (Size::SixteenAtOnce, classes - 9, rows - 16),
            (1 | 2, 71..=1100) => (Size::Medium, classes - 70, rows - 1),
            (1, _) => (Size::Long, (classes + 5) % CHUNK, (classes + 5) / CHUNK - 1),
            _ => panic!("no shape has {rows} rows of {classes} classes"),
        };
        let shape = Self {
            size,
            classes: c as u16,
            rows: r as u8,
        };
        assert_eq!(shape.batch(), Batch { rows, classes });
        shape
    }

    /// Makes it that of a batch, or of a row, that is large enough for several threads. A hundred small ones take less
    /// time, so a target of its own does this.
    pub fn spread(&mut self) {
        self.size = Size::Spread;
    }
}

impl Batch {
    /// Elements in the batch.
    pub fn len(self) -> usize {
        self.rows * self.classes
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is large enough for several threads.
    pub fn is_spread(self) -> bool {
        self.len() >= MANY
    }

    /// What results are compared with. Nothing where the batch is spread: that takes too long, and all that
    /// threads can change is bits.
    pub fn exact<T>(self, expected: impl FnOnce() -> T) -> Option<T> {
        (!self.is_spread()).then(expected)
    }

    /// Whether rows are worth a call each, beside one for all.
    pub fn has_few_rows(self) -> bool {
        self.classes > 0 && self.rows <= 20
    }

    /// The rows of its elements; none if they are empty.
    pub fn rows_of(self, x: &[f32]) -> impl Iterator<Item = &[f32]> {
        x.chunks_exact(self.classes.max(1))
    }
}

coded! {
    /// Lengths that rarely fit together.
    pub struct Lengths {
        classes: Classes,
        first: u8,
        second: u8,
        third: u8,
    }
}

coded! {
    pub enum Classes {
        1 => Few(classes: u8),
        1 => Any(classes: u64),
    }
}

impl Lengths {
    /// These lengths; those of slices are below 32.
    pub fn new(classes: u64, [first, second, third]: [u8; 3]) -> Self {
        Self {
            classes: Classes::Any(classes),
            first,
            second,
            third,
        }
    }

    /// The classes of a row.
    pub fn classes(&self) -> usize {
        match self.classes {
            Classes::Few(classes) => usize::from(classes % 8),
            Classes::Any(classes) => classes as usize,
        }
    }

    /// Three small lengths.
    pub fn slices(&self) -> [usize; 3] {
        [self.first, self.second, self.third].map(|len| usize::from(len % 32))
    }
}
