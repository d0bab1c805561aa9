//! Cross-entropy and binary cross-entropy.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softlane_fuzz::Loss;

fuzz_target!(|input: Loss| input.run());
