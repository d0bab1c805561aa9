//! What the tests share: rows to try, operations, exact results, how far off a result is, guard values,
//! and threads.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test uses a part, and fails by panicking"
)]

pub mod corpus;
pub mod guard;
pub mod inputs;
pub mod operations;
pub mod oracle;
pub mod textbook;
pub mod threads;
pub mod ulp;
