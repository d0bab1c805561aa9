//! The functions that have no element type.

use core::ffi::{CStr, c_char};
use core::ptr;
use std::ffi::CString;
use std::sync::OnceLock;

use softlane::Backend;

use super::call;
use super::status::{MESSAGES, softlane_status};
use super::threads;

/// The version of this header, as in 0.1.0: MAJOR.MINOR.PATCH. softlane_version() tells that of the library.
pub const SOFTLANE_VERSION_MAJOR: i32 = 0;
/// Before 1.0, another one may break callers.
pub const SOFTLANE_VERSION_MINOR: i32 = 1;
/// The last number.
pub const SOFTLANE_VERSION_PATCH: i32 = 0;

/// The version of this library, as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn softlane_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// What a status means, in a few words. Any number may be asked for.
#[unsafe(no_mangle)]
pub extern "C" fn softlane_status_message(status: softlane_status) -> *const c_char {
    let known = usize::try_from(status).ok().and_then(|i| MESSAGES.get(i));
    known.copied().unwrap_or(c"unknown status").as_ptr()
}

/// What was wrong with the last call of this thread that failed, with names and numbers; "" if none has. The text is overwritten by the next call of
/// this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn softlane_last_error() -> *const c_char {
    call::last_error()
}

/// The name of the instruction set that all calls use: "avx512", "avx2", "portable" or "scalar". It is the fastest of the processor, or
/// what the environment variable SOFTLANE_BACKEND named when first asked; NULL if that names none that is supported
/// here, which softlane_last_error() then lists.
#[unsafe(no_mangle)]
pub extern "C" fn softlane_backend() -> *const c_char {
    static NAME: OnceLock<CString> = OnceLock::new();
    let mut name = ptr::null();
    call::run(|| {
        let backend = Backend::active()?;
        let known = NAME.get_or_init(|| CString::new(backend.name()).unwrap_or_default());
        name = CStr::as_ptr(known);
        Ok(())
    });
    name
}

/// On how many threads large batches and long rows are worked on; small ones (less than 120 000 elements) never leave the thread of the caller. Results have the
/// same bits whatever the number.
///
/// 1: on the thread of the caller. More: on a pool of so many threads, which is made here, at once; the one before ends. 0, as at
/// the beginning: on the thread of the caller and a pool of as many threads as there are processors (or as the
/// environment variable RAYON_NUM_THREADS says), which the first large batch starts and nothing ends.
///
/// It holds for all threads of the process, for calls that begin afterwards.
///
/// After a fork, the threads of the parent are gone in the child. If there may have been any, the child works on the thread of the
/// caller, as if 1 (0 is the same there), until it asks for more than one, which makes new threads. Calls of other threads may be under way when
/// a thread forks, but the first call of a process, its first large one, and this function should have returned.
///
/// SOFTLANE_ERROR_THREADS if the system refuses, or the library was built without threads; nothing is changed then.
#[unsafe(no_mangle)]
pub extern "C" fn softlane_set_num_threads(n: usize) -> softlane_status {
    call::run(|| threads::set(n))
}
