//! What can be wrong with a call from C, with a status and a message.

use core::fmt;

use softlane::Error;

use super::status::{
    SOFTLANE_ERROR_ALIGNMENT, SOFTLANE_ERROR_BACKEND, SOFTLANE_ERROR_INTERNAL,
    SOFTLANE_ERROR_MEMORY, SOFTLANE_ERROR_NULL, SOFTLANE_ERROR_OPTION, SOFTLANE_ERROR_OVERLAP,
    SOFTLANE_ERROR_SIZE, SOFTLANE_ERROR_STRUCT_SIZE, SOFTLANE_ERROR_TARGET, SOFTLANE_ERROR_THREADS,
    softlane_status,
};

/// What is wrong with a call.
#[derive(Debug)]
pub enum Failure {
    /// A pointer is NULL.
    Null {
        /// What it is called in the header.
        name: &'static str,
        /// Elements that it has to have.
        len: usize,
    },
    /// A pointer is no multiple of the alignment of its type.
    Alignment {
        /// What it is called in the header.
        name: &'static str,
        /// That alignment.
        align: usize,
    },
    /// There are too many elements.
    Size {
        /// Rows of the batch.
        rows: usize,
        /// Elements of each.
        classes: usize,
    },
    /// Two arrays overlap, one of which would be written.
    Overlap {
        /// What they are called in the header.
        names: [&'static str; 2],
    },
    /// Options have a size that this version does not know.
    StructSize {
        /// What their type is called.
        name: &'static str,
        /// Their size.
        size: usize,
        /// That in this version.
        known: usize,
    },
    /// A byte of a mask is neither 0 nor 1.
    Flag {
        /// The name of the mask.
        name: &'static str,
        /// Which byte.
        index: usize,
        /// Its value.
        value: u8,
    },
    /// There is no memory for so many bytes.
    Memory {
        /// How many.
        bytes: usize,
    },
    /// So many threads cannot be had.
    Threads {
        /// How many.
        count: usize,
        /// Why.
        reason: String,
    },
    /// A panic.
    Panic,
    /// What the Rust function says.
    Call(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl Failure {
    /// The status that stands for it.
    #[must_use]
    pub fn status(&self) -> softlane_status {
        match self {
            Self::Null { .. } => SOFTLANE_ERROR_NULL,
            Self::Alignment { .. } => SOFTLANE_ERROR_ALIGNMENT,
            Self::Size { .. } => SOFTLANE_ERROR_SIZE,
            Self::Overlap { .. } => SOFTLANE_ERROR_OVERLAP,
            Self::StructSize { .. } => SOFTLANE_ERROR_STRUCT_SIZE,
            Self::Memory { .. } => SOFTLANE_ERROR_MEMORY,
            Self::Threads { .. } => SOFTLANE_ERROR_THREADS,
            Self::Flag { .. }
            | Self::Call(
                Error::Option { .. }
                | Error::OptionLength { .. }
                | Error::OptionShape { .. }
                | Error::OptionRows { .. }
                | Error::Weight { .. },
            ) => SOFTLANE_ERROR_OPTION,
            Self::Call(Error::Target { .. }) => SOFTLANE_ERROR_TARGET,
            Self::Call(Error::Backend { .. }) => SOFTLANE_ERROR_BACKEND,
            // Lengths are made to fit here, so what else the Rust functions say is a defect, as a panic is.
            Self::Panic | Self::Call(_) => SOFTLANE_ERROR_INTERNAL,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null { name, len: 1 } => write!(f, "{name} is NULL"),
            Self::Null { name, len } => write!(f, "{name} is NULL, and has {len} elements"),
            Self::Alignment { name, align } => write!(f, "{name} is no multiple of {align}"),
            Self::Size { rows, classes } => write!(
                f,
                "{rows} rows of {classes} elements are more than an address space has"
            ),
            Self::Overlap { names: [a, b] } => write!(f, "{a} and {b} overlap"),
            Self::StructSize { name, size, known } => write!(
                f,
                "{name}: struct_size is {size}, which is no multiple of 8 from 8 to {known}"
            ),
            Self::Flag { name, index, value } => {
                write!(f, "{name}[{index}] is {value}, which is not 0 or 1")
            }
            Self::Memory { bytes } => write!(f, "there is no memory for {bytes} bytes"),
            Self::Threads { count, reason } => write!(f, "{count} threads: {reason}"),
            Self::Panic => f.write_str("softlane has panicked: this is a defect"),
            Self::Call(error) => error.fmt(f),
        }
    }
}
