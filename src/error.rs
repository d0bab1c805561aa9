//! What can be wrong with a call, as a value.

use core::fmt;

use crate::backend::Backend;
use crate::rows::CHUNK;

/// What is wrong with a call. Its message names the numbers involved; when it is returned, no
/// output has been written.
///
/// ```
/// let error = softlane::softmax(&[0.0_f32; 10], 3, &mut [0.0; 10]).unwrap_err();
/// assert_eq!(error.to_string(), "10 elements are no whole number of rows of 3 classes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The elements do not divide into rows.
    Shape {
        /// Elements given.
        len: usize,
        /// Classes in a row.
        classes: usize,
    },
    /// The elements do not divide into rows that lie like that.
    Layout {
        /// Elements given.
        len: usize,
        /// Classes in a row.
        classes: usize,
        /// Rows that lie beside each other.
        inner: usize,
        /// How far apart rows begin, or `inner` of them.
        stride: usize,
    },
    /// There are more or fewer rows where results go.
    Rows {
        /// Rows that are read.
        read: usize,
        /// Rows that are written.
        written: usize,
    },
    /// Rows would begin closer together than they are long.
    Stride {
        /// How far apart they would.
        stride: usize,
        /// And have to, at least.
        least: usize,
    },
    /// A row that has to be copied is longer than the room for it, which without the feature `alloc` is some of the stack.
    Room {
        /// Elements that are copied.
        elements: usize,
        /// Elements that there is room for.
        room: usize,
    },
    /// Two slices that belong together differ in length.
    Length {
        /// What the first slice asks for.
        expected: usize,
        /// The length of the other.
        found: usize,
    },
    /// A target is neither a class nor the ignored index.
    Target {
        /// The row that it belongs to.
        row: usize,
        /// Its value.
        target: i128,
        /// Classes in a row.
        classes: usize,
    },
    /// An option is out of its range.
    Option {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// An option has another number of numbers than it has to have.
    OptionLength {
        /// Its name.
        name: &'static str,
        /// How many it has to have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// An option of rows has elements that do not divide into rows.
    OptionShape {
        /// Its name.
        name: &'static str,
        /// Elements given.
        len: usize,
        /// Classes in a row.
        classes: usize,
    },
    /// An option that comes again after so many rows does not come out even in a batch.
    OptionRows {
        /// Its name.
        name: &'static str,
        /// After so many rows.
        period: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// A weight of a class or a label is negative or not finite.
    Weight {
        /// The name of the option.
        name: &'static str,
        /// The class or label.
        index: usize,
        /// Its weight.
        value: f64,
    },
    /// No such backend, or not on this processor.
    Backend {
        /// The name asked for.
        name: BackendName,
    },
    /// A part of a row would begin, or go on, at a class that is no multiple of [`RowState::CHUNK`](crate::RowState::CHUNK).
    Boundary {
        /// The class.
        class: usize,
    },
    /// Two parts of a row are no neighbours.
    Apart {
        /// The classes of the one.
        left: [usize; 2],
        /// And of the other, each from the first to the one after the last.
        right: [usize; 2],
    },
    /// A part is asked for what only a row has, which begins at class 0.
    Incomplete {
        /// The first class of the part.
        start: usize,
    },
    /// A part is not within the row.
    Part {
        /// The classes of the part: the first, and the one after the last.
        part: [usize; 2],
        /// How many the row has, or may have.
        classes: usize,
    },
    /// A loss is asked for, of a row that has no target.
    NoTarget,
    /// Two parts of a row have different targets.
    Targets {
        /// That of the one.
        left: Option<usize>,
        /// And of the other.
        right: Option<usize>,
    },
    /// What was given as the maximum of a row is not that of a part or of the row; or two parts disagree.
    Maximum {
        /// What was given, if anything was.
        given: Option<f64>,
        /// What was found, or given to the other part.
        found: Option<f64>,
    },
    /// Weights of different arithmetic are no parts of one sum.
    Arithmetic {
        /// What the one was made with: `scalar`, or whether its multiply-add is fused.
        left: &'static str,
        /// And the other.
        right: &'static str,
    },
    /// A budget of memory is too small for any rows.
    Budget {
        /// Bytes that were given.
        budget: usize,
        /// Bytes that it takes.
        least: usize,
    },
    /// The system refused memory.
    Memory {
        /// Bytes that were asked for.
        bytes: usize,
    },
    /// Bytes that no row state has.
    Bytes {
        /// Where what is wrong begins.
        at: usize,
    },
}

/// A backend name that was asked for; one of more than 32 bytes is cut, and ends in `…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendName {
    bytes: [u8; 32],
    len: usize,
    /// Whether it is from `SOFTLANE_BACKEND`.
    from_environment: bool,
}

impl BackendName {
    pub(crate) fn new(name: &str) -> Self {
        const CUT: &[u8] = "…".as_bytes();
        let mut bytes = [0; 32];
        if name.len() <= bytes.len() {
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            return Self {
                bytes,
                len: name.len(),
                from_environment: false,
            };
        }
        let mut len = bytes.len() - CUT.len();
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        bytes[len..len + CUT.len()].copy_from_slice(CUT);
        Self {
            bytes,
            len: len + CUT.len(),
            from_environment: false,
        }
    }

    /// The same, as the value of `SOFTLANE_BACKEND`: the message will say so.
    #[cfg(feature = "std")]
    pub(crate) fn of_environment(self) -> Self {
        Self {
            from_environment: true,
            ..self
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Debug for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Error {
    #[expect(clippy::too_many_lines, reason = "a few for each error")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout {
                len,
                classes,
                inner,
                stride,
            } => write!(
                f,
                "{len} elements are no whole number of groups of {inner} rows of {classes} classes that begin {stride} elements apart"
            ),
            Self::Rows { read, written } => {
                write!(f, "{read} rows are read, and {written} written")
            }
            Self::Stride { stride, least } => write!(
                f,
                "rows that begin {stride} elements apart, where they take {least}"
            ),
            Self::Room { elements, room } => write!(
                f,
                "a row that takes {elements} elements of room, where there is room for {room}"
            ),
            Self::Shape { len, classes } => write!(
                f,
                "{len} elements are no whole number of rows of {classes} classes"
            ),
            Self::Length { expected, found } => {
                write!(f, "expected a length of {expected}, found {found}")
            }
            Self::Target {
                row,
                target,
                classes,
            } => write!(
                f,
                "target {target} of row {row} is none of {classes} classes, which count from 0"
            ),
            Self::Option {
                name,
                value,
                expected,
            } => write!(f, "{name} is {value}, which is not {expected}"),
            Self::OptionLength {
                name,
                expected,
                found,
            } => write!(f, "{name}: expected a length of {expected}, found {found}"),
            Self::OptionShape { name, len, classes } => write!(
                f,
                "{name}: {len} elements are no whole number of rows of {classes} classes"
            ),
            Self::OptionRows { name, period, rows } => write!(
                f,
                "{name} comes again after {period} rows, of which {rows} rows are no whole number"
            ),
            Self::Weight { name, index, value } => write!(
                f,
                "{name}[{index}] is {value}, which is not a finite number from 0 on"
            ),
            Self::Backend { name } => {
                let variable = if name.from_environment {
                    "SOFTLANE_BACKEND: "
                } else {
                    ""
                };
                let name = name.as_str();
                write!(
                    f,
                    "{variable}backend {name:?} is not supported here; supported:"
                )?;
                for (i, backend) in Backend::available().enumerate() {
                    write!(f, "{} {}", if i == 0 { "" } else { "," }, backend.name())?;
                }
                Ok(())
            }
            Self::Boundary { class } => write!(
                f,
                "a part of a row cannot begin or go on at class {class}, which is no multiple of {CHUNK}"
            ),
            Self::Apart {
                left: [a, b],
                right: [c, d],
            } => write!(
                f,
                "classes {a}..{b} and {c}..{d} of a row are no neighbours"
            ),
            Self::Incomplete { start } => write!(
                f,
                "a row begins at class 0, and this part of one at class {start}"
            ),
            Self::Part {
                part: [a, b],
                classes,
            } => write!(
                f,
                "classes {a}..{b} are no part of a row of {classes} classes"
            ),
            Self::NoTarget => f.write_str("a loss takes a target, and the row has none"),
            Self::Targets { left, right } => {
                f.write_str("the targets of the parts of a row are ")?;
                either(f, *left, *right)
            }
            Self::Maximum { given, found } => {
                f.write_str("the given maximum of a row and what is found are ")?;
                either(f, *given, *found)
            }
            Self::Arithmetic { left, right } => {
                write!(
                    f,
                    "weights that were made {left} do not go with ones made {right}"
                )
            }
            Self::Budget { budget, least } => {
                write!(f, "a budget of {budget} bytes, where it takes {least}")
            }
            Self::Memory { bytes } => write!(f, "no memory for {bytes} bytes"),
            Self::Bytes { at } => write!(f, "no row state has what stands at byte {at}"),
        }
    }
}

/// Writes two values, each of which may be missing.
fn either<T: fmt::Display>(f: &mut fmt::Formatter<'_>, a: Option<T>, b: Option<T>) -> fmt::Result {
    for (between, value) in [("", a), (" and ", b)] {
        match value {
            Some(value) => write!(f, "{between}{value}")?,
            None => write!(f, "{between}none")?,
        }
    }
    Ok(())
}

impl core::error::Error for Error {}
