//! What a fuzzer's bytes mean: batches of rows of every shape and every kind of float.

use arbitrary::{Arbitrary, Result, Unstructured};

/// Elements of a row that are summed before their sum joins the others.
const CHUNK: usize = 4096;

/// Elements that are spread over several threads.
const MANY: usize = 40_000;

/// Any bit pattern. Ordinary numbers, and those with rules of their own, come up more often than
/// their share of bit patterns.
#[derive(Clone, Copy, Debug)]
struct Float(f32);

impl<'a> Arbitrary<'a> for Float {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? % 16 {
            0 => f32::NEG_INFINITY,
            1 => special(u8::arbitrary(u)?),
            2 | 3 => f32::from_bits(u32::arbitrary(u)?),
            // From -0.5 to 0.5, and from -2 to 2, 128 and 2^19.
            4 => f32::from(i8::arbitrary(u)?) / 256.0,
            5..=7 => f32::from(i16::arbitrary(u)?) / 16_384.0,
            8..=14 => f32::from(i16::arbitrary(u)?) / 256.0,
            _ => f32::from(i16::arbitrary(u)?) * 16.0,
        }))
    }
}

fn special(choice: u8) -> f32 {
    const SPECIAL: [f32; 8] = [
        f32::INFINITY,
        f32::NAN,
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        f32::EPSILON,
    ];
    SPECIAL[usize::from(choice) % SPECIAL.len()]
}

/// A slice of any length, described by a few floats, so that long ones need few bytes.
#[derive(Arbitrary, Clone, Debug)]
pub struct Floats {
    /// Repeated over the slice.
    pattern: Vec<Float>,
    /// Added once more, in units of 1/256, with each repetition, so that no two need be alike.
    drift: i16,
}

impl Floats {
    /// As many elements.
    pub fn take(&self, len: usize) -> Vec<f32> {
        let pattern: &[_] = match &self.pattern[..] {
            [] => &[Float(0.0)],
            pattern => pattern,
        };
        let drift = f32::from(self.drift) / 256.0;
        let repeated = pattern.iter().cycle().take(len).enumerate();
        repeated
            .map(|(i, x)| x.0 + (i / pattern.len()) as f32 * drift)
            .collect()
    }

    /// As many numbers from 0 to 1 (or NaN), often at either end.
    pub fn take_labels(&self, len: usize) -> Vec<f32> {
        self.take(len)
            .into_iter()
            .map(|x| x.clamp(0.0, 1.0))
            .collect()
    }
}

/// The shape of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub classes: usize,
}

impl<'a> Arbitrary<'a> for Shape {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Large batches take long, so they are few.
        let (classes, rows) = match u8::arbitrary(u)? {
            0 => (0..=0, 0..=20),
            1 => (1..=70, MANY..=MANY),
            2..=7 => (CHUNK - 5..=CHUNK + 18, 1..=1),
            8 | 9 => (2 * CHUNK - 5..=2 * CHUNK + 18, 1..=1),
            10..=31 => (70..=1100, 1..=2),
            _ => (1..=70, 0..=8),
        };
        let classes = u.int_in_range(classes)?;
        let rows = u.int_in_range(rows)?.min(MANY / classes.max(1));
        Ok(Self { rows, classes })
    }
}

impl Shape {
    /// Elements in the batch.
    pub fn len(self) -> usize {
        self.rows * self.classes
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Lengths that rarely fit together.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Lengths {
    classes: Classes,
    first: u8,
    second: u8,
    third: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Classes {
    Few(u8),
    Any(usize),
}

impl Lengths {
    /// The classes of a row.
    pub fn classes(self) -> usize {
        match self.classes {
            Classes::Few(classes) => usize::from(classes % 8),
            Classes::Any(classes) => classes,
        }
    }

    /// Three small lengths.
    pub fn slices(self) -> [usize; 3] {
        [self.first, self.second, self.third].map(|len| usize::from(len % 32))
    }
}
