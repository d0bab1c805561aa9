//! Every operation on batches large enough for several threads: the bits must be those of one thread.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softlane_fuzz::Spread;

fuzz_target!(|input: Spread| input.run());
