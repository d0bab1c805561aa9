//! No operation takes more of the stack than threads have, with room for the caller: in a program that is not optimised as well, where every value of a kernel has a place of
//! its own there (`cargo test --profile dev --features f64 --test stack`).

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_wrap, reason = "there are few classes")]

#[macro_use]
mod common;

use std::thread;

use common::calls::{Destinations, Sources, Tested};
use softlane::{Backend, Exec};

/// Threads have 2 MiB, of which a quarter is left to the caller.
const MOST: usize = 3 << 19;

/// Rows one by one, in blocks, and in chunks.
const SHAPES: [(usize, usize); 4] = [(1, 10), (20, 10), (20, 40), (1, 5000)];

/// Added to the logits: with the latter, blocks of rows are begun, and then done one by one.
const LEVELS: [f64; 2] = [0.0, 50_000.0];

fn each<E: Tested>() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend).serial();
        for call in E::calls().iter().chain(E::calls_with_options()) {
            for ((rows, classes), level) in SHAPES.iter().flat_map(|&s| LEVELS.map(|l| (s, l))) {
                let n = rows * classes;
                let logit = |i: usize| E::rounded(level + (i % 97) as f64 * 0.1);
                let x: Vec<E> = (0..n).map(logit).collect();
                let y: Vec<E> = (0..n).map(|i| E::rounded((i % 2) as f64)).collect();
                let targets: Vec<i64> = (0..rows).map(|i| (i % classes) as i64).collect();
                let sources = Sources {
                    shape: None,
                    classes,
                    x: &x,
                    y: &y,
                    targets: &targets,
                };
                let zero = E::Real::rounded(0.0);
                let mut per_row = vec![zero; rows];
                let mut out = x.clone();
                let destinations = Destinations {
                    number: &mut { zero },
                    per_row: &mut per_row,
                    out: &mut out,
                };
                // With `--nocapture`, the last line tells what overflows.
                println!("{call}, {backend:?}, {rows} x {classes}, {level}");
                call.run(exec, sources, destinations).unwrap();
            }
        }
    }
}

#[test]
fn three_quarters_of_a_stack_are_enough() {
    fn of<E: Tested>() {
        let small = thread::Builder::new().stack_size(MOST);
        small.spawn(each::<E>).unwrap().join().unwrap();
    }
    each_computed!(of());
}
