//! What a call returns.

/// What a call returns: SOFTLANE_OK, or what was wrong. Then no output has been written, and
/// softlane_last_error() says more.
pub type softlane_status = i32;

/// Success.
pub const SOFTLANE_OK: softlane_status = 0;
/// A pointer is NULL that may not be.
pub const SOFTLANE_ERROR_NULL: softlane_status = 1;
/// A pointer is no multiple of the alignment of what it points to.
pub const SOFTLANE_ERROR_ALIGNMENT: softlane_status = 2;
/// There are more elements than an address space has.
pub const SOFTLANE_ERROR_SIZE: softlane_status = 3;
/// An output and another array overlap, and are not one and the same where that is allowed.
pub const SOFTLANE_ERROR_OVERLAP: softlane_status = 4;
/// An option is out of its range, or does not fit the batch.
pub const SOFTLANE_ERROR_OPTION: softlane_status = 5;
/// The struct_size of options is none that this version knows.
pub const SOFTLANE_ERROR_STRUCT_SIZE: softlane_status = 6;
/// A target is neither a class nor the ignored index.
pub const SOFTLANE_ERROR_TARGET: softlane_status = 7;
/// The environment variable SOFTLANE_BACKEND names no backend that is supported here.
pub const SOFTLANE_ERROR_BACKEND: softlane_status = 8;
/// The system refuses threads.
pub const SOFTLANE_ERROR_THREADS: softlane_status = 9;
/// The system refuses memory.
pub const SOFTLANE_ERROR_MEMORY: softlane_status = 10;
/// A defect of this library. Outputs may have been written.
pub const SOFTLANE_ERROR_INTERNAL: softlane_status = 11;

/// Every status in turn, and what it means.
pub const MESSAGES: [&core::ffi::CStr; 12] = [
    c"success",
    c"a pointer is NULL that may not be",
    c"a pointer is not aligned",
    c"there are more elements than an address space has",
    c"an output overlaps another array",
    c"an option is out of its range, or does not fit the batch",
    c"the struct_size of options is unknown",
    c"a target is neither a class nor the ignored index",
    c"SOFTLANE_BACKEND names no backend that is supported here",
    c"the system refuses threads",
    c"the system refuses memory",
    c"a defect of softlane",
];
