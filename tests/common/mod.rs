//! What the tests share: every call, batches to try, exact results, how far off a result is and may be, guard
//! values, processes and threads.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test uses a part, and fails by panicking"
)]

pub mod bounds;
pub mod calls;
pub mod child;
pub mod corpus;
pub mod guard;
pub mod inputs;
pub mod operations;
pub mod options;
pub mod oracle;
pub mod places;
pub mod shapes;
pub mod textbook;
pub mod threads;
pub mod ulp;
