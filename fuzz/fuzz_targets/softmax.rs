//! Softmax, log-softmax, log-sum-exp and the backward passes; exponential, sigmoid, maximum and sum; the
//! names of backends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softlane_fuzz::Forward;

fuzz_target!(|input: Forward| input.run());
