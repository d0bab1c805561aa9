//! Compiles the crate and looks at the assembly of every kernel for every instruction set: no call
//! in an inner loop, no operator left out of line, registers as wide as the instruction set has.
//!
//! It compiles without `std`, for then there is no scalar path, whose loops do call the standard
//! library; the kernels are all there. `cargo test --test inlining -- --nocapture` shows what their
//! inner loops hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "inlining/assembly.rs"]
mod assembly;

use std::fs;
use std::path::Path;
use std::process::Command;

use assembly::{Function, Instruction, functions};

/// What a kernel may call, by a part of its mangled name, and what for.
const CALLED: [(&str, &str); 6] = [
    ("9panicking", "an index out of bounds: the end"),
    ("memset", "a row without probabilities is filled"),
    ("memcpy", "portable moves the tail of a row by an array"),
    ("5Slice5value", "the target of a row"),
    ("8softlane7backend", "which instruction set, and its kernel"),
    ("3run5entry", "the kernel of an instruction set"),
];

/// The functions that kernels are compiled into, by a part of their mangled names: those of an
/// instruction set, with its registers, and the portable ones.
const ENTRIES: [(&str, &str); 2] = [("4Avx23run5entry", "%ymm"), ("6Avx5123run5entry", "%zmm")];
const PORTABLE: [&str; 2] = ["7Backend3run", "10Operations"];

/// Kernels that have no product of vectors to fuse.
const NO_PRODUCT: [&str; 2] = ["6reduce3Max", "6reduce3Sum"];

#[test]
fn kernels_are_inlined() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("nothing checked: this test reads the assembly of x86-64 on Linux only");
        return;
    }
    let text = compile();
    let functions = functions(&text);
    let problems: Vec<_> = functions.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // All of them were there: each kernel for each instruction set.
    let kernels = kernels_in_source();
    for (entry, _) in ENTRIES {
        let found = functions.iter().filter(|f| f.name.contains(entry)).count();
        assert_eq!(found, kernels, "{entry}");
    }
    let portable = functions.iter().filter(|f| registers(f).is_none());
    let loops = portable.map(|f| vector_loops(f).len()).sum::<usize>();
    assert!(
        loops >= kernels,
        "{loops} portable loops for {kernels} kernels"
    );
}

fn problems(function: &Function<'_>) -> Vec<String> {
    let name = function.name;
    let mut problems = Vec::new();
    let is_portable = PORTABLE.iter().any(|part| name.contains(part));
    let mut instructions = function.instructions();
    if registers(function).is_none()
        && !is_portable
        && !instructions.any(Instruction::is_vector_arithmetic)
    {
        return problems;
    }
    for callee in function.calls() {
        if !CALLED.iter().any(|(part, _)| callee.contains(part)) {
            problems.push(format!("{name} calls {callee}"));
        }
    }
    let loops = vector_loops(function);
    for body in &loops {
        show(function, body);
        for callee in body.iter().filter_map(|i| i.callee()) {
            problems.push(format!("a loop of {name} calls {callee}"));
        }
    }
    if let Some(registers) = registers(function) {
        if loops.is_empty() {
            problems.push(format!("{name} has no loop over vectors"));
        }
        for instruction in loops.iter().flatten() {
            if instruction.is_vector_arithmetic() && !instruction.operands.contains(registers) {
                problems.push(format!("a loop of {name} has {instruction:?}"));
            }
        }
        let fused = loops.iter().flatten().any(|i| i.is_fused());
        if !fused && !NO_PRODUCT.iter().any(|kernel| name.contains(kernel)) {
            problems.push(format!("no loop of {name} fuses a multiply-add"));
        }
    }
    problems
}

/// The registers that the loops of a function must be in, if it is the entry of an instruction set.
fn registers(function: &Function<'_>) -> Option<&'static str> {
    let entry = ENTRIES
        .iter()
        .find(|(part, _)| function.name.contains(part));
    entry.map(|&(_, registers)| registers)
}

fn vector_loops<'a>(function: &Function<'a>) -> Vec<Vec<Instruction<'a>>> {
    let mut loops = function.innermost_loops();
    loops.retain(|body| body.iter().any(|i| i.is_vector_arithmetic()));
    loops
}

/// One line about a loop, with the end of the function's mangled name, which tells the kernel.
fn show<'a>(function: &Function<'a>, body: &[Instruction<'a>]) {
    let count = |is: fn(Instruction<'a>) -> bool| body.iter().filter(|i| is(**i)).count();
    println!(
        "{:8} {:4} instructions, {:3} of them vector arithmetic, {:3} with the stack: {}",
        registers(function).unwrap_or("portable"),
        body.len(),
        count(Instruction::is_vector_arithmetic),
        count(Instruction::uses_stack),
        function.name.rsplit("NtB").next().unwrap_or_default(),
    );
}

/// The assembly of this crate.
fn compile() -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inlining");
    let assembly = directory.join("softlane.s");
    let status = Command::new(env!("CARGO"))
        .args(["rustc", "--lib", "--release", "--no-default-features"])
        // What it depends on is here already.
        .arg("--offline")
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(&directory)
        .args(["--", "-Csymbol-mangling-version=v0", "-Ccodegen-units=1"])
        .arg(format!("--emit=asm={}", assembly.display()))
        .status()
        .unwrap();
    assert!(status.success(), "`cargo rustc`: {status}");
    fs::read_to_string(assembly).unwrap()
}

/// How many kernels there are: implementations of the trait `Kernel`.
fn kernels_in_source() -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel");
    let sources = fs::read_dir(directory).unwrap();
    sources
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .flat_map(|source| source.lines().map(String::from).collect::<Vec<_>>())
        .filter(|line| line.starts_with("impl") && line.contains(" Kernel<"))
        .count()
}
