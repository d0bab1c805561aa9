//! The C library of softlane. Its interface is `include/softlane.h`, which is generated from these files; how to
//! build, link and install it is in the README beside them.
//!
//! A C function is a line in the file of its element type (`f32.rs`), which hands on to a body that is written once, for
//! all types. A body asks [`memory::Memory`] for the slices of its pointers, and hands them to the Rust
//! function on the threads that [`threads`] gives. [`call::run`] turns what may go wrong into a status.
//!
//! Without the feature `std`, and where pointers do not have 64 bits, there is no library: the crate is empty, so that commands for the whole
//! workspace go through.
#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(
    non_camel_case_types,
    reason = "names of C: the header is made from them"
)]

pub mod bf16;
pub mod binary_cross_entropy;
pub mod call;
pub mod cross_entropy;
pub mod f16;
pub mod f32;
pub mod f64;
pub mod failure;
pub mod general;
pub mod memory;
pub mod options;
pub mod slices;
pub mod softmax;
pub mod status;
pub mod threads;

/// What rows are made of, in every body.
pub use softlane::Element;

/// What losses, other results of rows, weights and masks are made of.
pub type Real<T> = <T as Element>::Real;
