//! What the tests share: rows to try, exact results, how far off a result is, guard values,
//! and threads.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part")]

pub mod guard;
pub mod inputs;
pub mod oracle;
pub mod threads;
pub mod ulp;
