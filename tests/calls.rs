//! The list of calls that the other tests go through (`common/calls.rs`): no public function is missing.

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::calls::{self, Call, Gives, Sources, Tested};
use softlane::Exec;

/// The functions in the source between these marks: `CrossEntropy::loss`, or `softlane::max`.
fn in_the_source(before: &str, behind: &[&str]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let file = file.unwrap().path();
        if !file.is_file() {
            continue;
        }
        let mut owner = "softlane";
        // Whatever numbers they sum in.
        let source = fs::read_to_string(file).unwrap();
        for line in source.replace("Real<Wide = f64>", "Real").lines() {
            let function = line.trim_start().strip_prefix(before);
            let generic = line.strip_prefix("impl<'a, T: Real> ");
            let generic = generic.and_then(|name| name.split_once("<'a, T> {"));
            let simple = line.strip_prefix("impl<T: Real> ");
            let simple = simple.and_then(|name| name.split_once("<T> {"));
            let linear = line.strip_prefix("impl<'a, E: Element<Real = f32>> ");
            let linear = linear.and_then(|name| name.split_once("<'a, E> {"));
            let generic = generic.or(linear);
            if let Some(name) = line.strip_prefix("impl ") {
                owner = name.trim_end_matches(" {");
            } else if let Some((name, _)) = generic.or(simple) {
                owner = name;
            } else if line == "}" {
                owner = "softlane";
            } else if let Some(function) = function
                && let Some((name, _)) = behind.iter().find_map(|mark| function.split_once(mark))
            {
                paths.insert(format!("{owner}::{name}"));
            }
        }
    }
    paths
}

#[test]
fn every_public_function_is_in_the_list() {
    let functions = calls::functions::<f32>();
    let listed = f32::calls().iter().chain(&functions);
    let listed: BTreeSet<String> = listed.map(|call| call.name.clone()).collect();
    // All that take numbers are generic.
    let mut functions = in_the_source("pub fn ", &["<T: Element", "<E: Element"]);
    functions.retain(|name| !name.starts_with("RowState::"));
    assert_eq!(listed, functions);
}

/// Rows in parts are no batches, so they have tests of their own: `row_state.rs` calls each of these.
#[test]
fn every_function_of_a_row_state_is_known() {
    let known = [
        "new",
        "with_max",
        "exec",
        "start",
        "end",
        "update",
        "merge",
        "log_sum_exp",
        "loss",
        "probs",
        "probs_in_place",
        "grad",
        "grad_in_place",
        "to_bytes",
        "from_bytes",
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(directory.join("src/row_state.rs")).unwrap();
    let tests = fs::read_to_string(directory.join("tests/row_state.rs")).unwrap();
    let public = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let function = line.strip_prefix("pub fn ");
        let function = function.or_else(|| line.strip_prefix("pub const fn "))?;
        function.split_once(['(', '<']).map(|(name, _)| name)
    });
    assert_eq!(BTreeSet::from(known), public.collect());
    for name in known {
        let calls = [format!(".{name}("), format!("::{name}(")];
        assert!(calls.iter().any(|call| tests.contains(call)), "{name}");
    }
}

/// What is reduced is reduced to the mean and to the sum.
#[test]
fn every_reduction_is_in_the_list() {
    let returned = |call: &&Call| matches!(call.gives[..], [Gives::Number(_), ..]);
    let listed: BTreeSet<String> = f32::calls()
        .iter()
        .filter(returned)
        .map(Call::to_string)
        .collect();
    let (mean, sum) = ("reduction: Mean", "reduction: Sum");
    for call in &listed {
        assert!(listed.contains(&call.replace(mean, sum)), "{call}: no sum");
        assert!(listed.contains(&call.replace(sum, mean)), "{call}: no mean");
    }
    assert!(listed.iter().any(|call| call.contains(sum)));
}

/// A new option changes what calls compute, so it belongs in the list, or here.
#[test]
fn every_option_is_known() {
    let listed = [
        "Softmax::exec",
        "Softmax::masked_rows",
        "CrossEntropy::exec",
        "CrossEntropy::reduction",
        "CrossEntropy::masked_rows",
        "BinaryCrossEntropy::exec",
        "BinaryCrossEntropy::reduction",
        // What they change is looked at in `edges.rs`.
        "CrossEntropy::ignore_index",
        "CrossEntropy::empty_mean",
        "BinaryCrossEntropy::empty_mean",
        // And in `options.rs`.
        "CrossEntropy::logit_scale",
        "CrossEntropy::class_weights",
        "CrossEntropy::label_smoothing",
        "CrossEntropy::z_loss",
        "CrossEntropy::normaliser",
        "CrossEntropy::upstream_grad",
        // And in `attention.rs`.
        "Softmax::logit_scale",
        "Softmax::mask",
        "Softmax::bool_mask",
        "Softmax::causal",
        "Softmax::sinks",
        // And in `binary_options.rs`.
        "BinaryCrossEntropy::pos_weights",
        "BinaryCrossEntropy::label_weights",
        "BinaryCrossEntropy::label_smoothing",
        "BinaryCrossEntropy::ignore_mask",
        "BinaryCrossEntropy::normaliser",
        // And in `row_state.rs`.
        "RowState::exec",
        // And in `linear.rs`.
        "LinearCrossEntropy::bias",
        "LinearCrossEntropy::budget",
        // Where rows lie: `layouts.rs`.
        "Shape::strides",
        // Where a call runs: every test.
        "Exec::backend",
        "Exec::serial",
    ];
    let listed: BTreeSet<String> = listed.map(str::to_owned).into();
    assert_eq!(listed, in_the_source("pub const fn ", &["(mut self"]));
}

#[test]
fn functions_are_methods_of_exec() {
    for function in calls::functions::<f32>() {
        let name = function.name.replace("softlane", "Exec");
        let method = f32::calls().iter().find(|call| call.name == name).unwrap();
        let bits = |call: &Call| {
            let sources = Sources {
                shape: None,
                classes: 3,
                x: &[1.0, -1.0, 0.5, 0.0, 3.0, 20.0],
                y: &[0.5, 0.25, 0.25, -2.0, 1.0, -1.0],
                targets: &[1, 0],
            };
            let (results, outcome) = call.guarded(Exec::new(), sources, 0);
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect();
            let bits: Vec<Vec<u32>> = results.into_iter().map(|(_, x)| bits(x)).collect();
            (bits, outcome)
        };
        assert_eq!(bits(&function), bits(method), "{}", function.name);
    }
}
