//! The loss of a linear layer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softlane_fuzz::linear::Input;

fuzz_target!(|input: Input| input.run());
