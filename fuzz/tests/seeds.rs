//! Every seed means what it was made from, and passes; without nightly or a fuzzer.

use std::fmt::Debug;

use arbitrary::Unstructured;
use softlane_fuzz::code::Code;
use softlane_fuzz::{Forward, Loss, Spread, linear, seeds};

fn pass<T: Code + Debug + PartialEq>(seeds: Vec<T>, run: fn(&T)) {
    for seed in seeds {
        let mut bytes = Vec::new();
        seed.encode(&mut bytes);
        let meant = T::decode(&mut Unstructured::new(&bytes)).expect("bytes mean something");
        assert_eq!(meant, seed);
        // Shown if it fails.
        println!("{seed:?}");
        run(&seed);
    }
}

#[test]
fn softmax() {
    pass(seeds::forward(), Forward::run);
}

#[test]
fn cross_entropy() {
    pass(seeds::loss(), Loss::run);
}

#[test]
fn layers() {
    pass(seeds::linear(), linear::Input::run);
}

#[test]
fn threads() {
    pass(seeds::spread(), Spread::run);
}
