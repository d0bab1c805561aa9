//! What the tests share: every call, batches to try, exact results, how far off a result is and may be, guard
//! values, processes and threads.
#![allow(
    dead_code,
    unused_macros,
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
pub mod with_options;

/// Calls a function of every type that is computed in itself, the types of `calls.rs`.
macro_rules! each_computed {
    ($function:ident $arguments:tt) => {
        $function::<f32> $arguments;
        #[cfg(feature = "f64")]
        $function::<f64> $arguments;
    };
}

/// And one of every type of elements.
macro_rules! each_tested {
    ($function:ident $arguments:tt) => {
        each_computed!($function $arguments);
        #[cfg(feature = "half")]
        $function::<half::f16> $arguments;
        #[cfg(feature = "half")]
        $function::<half::bf16> $arguments;
    };
}
