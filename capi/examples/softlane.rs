//! The library again, for `cargo test`: see `Cargo.toml`.

#[path = "../src/lib.rs"]
pub mod library;
