//! The one way into every function that returns a status, and what it says of the last one that failed.

use core::cell::RefCell;
use core::ffi::c_char;
use core::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::failure::Failure;
use super::status::{SOFTLANE_OK, softlane_status};

/// Runs the body of a function. No panic leaves it.
pub fn run(body: impl FnOnce() -> Result<(), Failure>) -> softlane_status {
    // What a panic leaves half done is in outputs, of which the status then says nothing.
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return SOFTLANE_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            // To drop it might panic again.
            core::mem::forget(payload);
            Failure::Panic
        }
    };
    let mut text = Text::EMPTY;
    // What does not fit is cut, which is no error.
    let _ = write!(text, "{failure}");
    LAST.with(|last| *last.borrow_mut() = text);
    failure.status()
}

/// The message of the last call of this thread that failed.
pub fn last_error() -> *const c_char {
    LAST.with(|last| last.as_ptr().cast())
}

thread_local! {
    // Nothing is dropped with it, so that it is there as long as the thread.
    static LAST: RefCell<Text> = const { RefCell::new(Text::EMPTY) };
}

/// As much of a message as there is room for. It begins with the bytes, and a zero ends them.
#[repr(C)]
struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Text {
    const EMPTY: Self = Self {
        bytes: [0; 512],
        len: 0,
    };
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let end = self.len + c.len_utf8();
            if end >= self.bytes.len() {
                return Err(fmt::Error);
            }
            c.encode_utf8(&mut self.bytes[self.len..end]);
            self.len = end;
        }
        Ok(())
    }
}
