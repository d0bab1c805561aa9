//! Rows of `f64`: the tests of each type.

#[path = "of_type.rs"]
mod of_type;

type R = f64;

/// NaN as it may come in: canonical, with a payload, negative, signalling.
const NANS: [R; 4] = [
    R::from_bits(0x7FF8_0000_0000_0000),
    R::from_bits(0x7FF8_0000_0000_1234),
    R::from_bits(0xFFF8_0000_0000_0000),
    R::from_bits(0x7FF0_0000_0000_0001),
];
