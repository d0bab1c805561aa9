//! What can be wrong with a call, as a value.

use core::fmt;

use crate::backend::Backend;

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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
        }
    }
}

impl core::error::Error for Error {}
