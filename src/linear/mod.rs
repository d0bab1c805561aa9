//! The last layer of a classifier, `x = X W^T + b`, and its loss, without ever holding all logits: some rows at a time.

#[expect(unsafe_code, reason = "the product takes pointers")]
pub mod matrix;
pub mod pass;
pub mod plan;
