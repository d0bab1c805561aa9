//! Compiles the crate and looks at the assembly of every kernel for every instruction set: no call
//! in an inner loop, no operator left out of line, no store by a mask (AVX2), registers as wide as the instruction set has.
//!
//! Twice: without `std`, all in one unit, and as a user's release build has it: with the scalar path,
//! which may call the standard library, and in several units. `cargo test --test inlining --
//! --nocapture` shows what the inner loops hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "inlining/assembly.rs"]
mod assembly;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assembly::{Function, Instruction, aliases, functions};

/// What a kernel, or what leads to it, may call, by a part of its mangled name, and what for.
const CALLED: &[(&str, &str)] = &[
    ("9panicking", "an index out of bounds: the end"),
    (
        "30panic_for_nonpositive_argument",
        "a tree of nothing: the end",
    ),
    ("16slice_index_fail", "a range out of bounds: the end"),
    ("_Unwind_Resume", "a lock released after a panic: the end"),
    ("memset", "a row without probabilities is filled"),
    ("memcpy", "portable moves the tail of a row by an array"),
    (
        "4rows10write_some",
        "the last rows of a batch, if fewer than sixteen",
    ),
    ("4rows10with_zeros", "the same rows, read"),
    ("16write_one_by_one", "gradients that vectors do not hold"),
    ("5NodesfE4push", "the sum of a chunk, for the tree"),
    ("5NodesdE4push", "the sum of a chunk, for the tree"),
    ("13push_to_trees", "sums beside the weights, once a chunk"),
    (
        "8has_mass",
        "whether a soft target has any, where that is asked",
    ),
    ("12special_loss", "a row without probabilities"),
    (
        "16first_of_special",
        "the largest class of a row without probabilities",
    ),
    ("6kernel4pair", "wide numbers, once a row"),
    (
        "4avx26double2op5power",
        "the heaviest weight, once a part of a row",
    ),
    ("4avx26double2op12store_prefix", "the end of a row of `f64`"),
    (
        "2op11max_of_each",
        "the maxima of sixteen rows, once a block",
    ),
    (
        "18soft_cross_entropyINtB5_6TowarddE5share",
        "gradients that vectors do not hold",
    ),
    (
        "7OutputsdE3put",
        "what else is found of a row, if it is wanted",
    ),
    (
        "7OutputsfE3put",
        "what else is found of a row, if it is wanted",
    ),
    (
        OUT_OF_LINE,
        "what a kernel has once, or several share: once a batch, a row, a part of it, or a block",
    ),
    ("5Slice5value", "the target of a row"),
    ("8softlane7backend", "which instruction set, and its kernel"),
    ("3run5entry", "the kernel of an instruction set"),
    (PORTABLE[0], "the portable kernel"),
    ("8softlane4tile", "rows that are copied"),
    ("8softlane4exec", "on how many threads"),
    ("8softlane8parallel", "threads"),
    ("8softlane6shared", "threads that share a row"),
    ("8softlane7helpers", "threads that help"),
    ("5mutex5futex", "the lock of a queue"),
    ("4sync4once", "the environment, read once"),
    (SCALAR, "the scalar path"),
];

/// The functions of the scalar path, of which nothing is asked.
const SCALAR: &str = "8softlane6scalar";

/// What they call, and so does a function that one of them is inlined into.
const STANDARD: [&str; 6] = ["expf", "logf", "log1pf", "exp", "log", "log1p"];

/// The functions that kernels are compiled into, by a part of their mangled names: those of an
/// instruction set, with its registers, and the portable ones.
const ENTRIES: [(&str, &str); 2] = [("4Avx23run5entry", "%ymm"), ("6Avx5123run5entry", "%zmm")];
const ISAS: [&str; 2] = ["4Avx2", "6Avx512"];
const PORTABLE: [&str; 1] = ["8Portable3run"];

/// What several kernels call, of each instruction set; and what of that has the loops which the kernels then have not.
const OUT_OF_LINE: &str = "4Simd11out_of_line";
const SWEEPS: [&str; 8] = [
    ALONE,
    BLOCKS,
    RANKS,
    NARROW,
    "E8weigh_as",
    "15prepare_columns",
    "7entropy5parts",
    "E4dots",
];

/// What portable loops over `f64` call, whose vectors are eight registers of SSE2 (`src/simd/portable/double.rs`): by name, or by a
/// register, if their address is read before. They copy sums, too.
const DOUBLE: &str = "8portable6double2op";
const OF_DOUBLE: [&str; 8] = [
    "7sum_add3add",
    "15sum_add_product3add",
    "9sum_merge5merge",
    "9sum_total",
    "7load_or",
    "12store_prefix",
    "12load_columns",
    "13store_columns",
];

/// The rows of a batch one by one, in blocks, and in blocks as they lie.
const ALONE: &str = "5alone";
const BLOCKS: &str = "5block4each";
const RANKS: &str = "7abreast5ranks";

/// Those of two to eight classes, sixteen at a time: as columns are in registers, the loop is over the batch, with all that is done once a block; of some kernels,
/// that has loops, and so the one over the batch is none of the innermost ones, at which this looks.
const NARROW: &str = "6narrow4each";

/// What these call.
const NARROW_CALLED: [&str; 5] = [
    ALONE,
    "10look_ahead",
    "E3end0E",
    "9panicking",
    "16slice_index_fail",
];

/// Portable functions that work on `f64`, by their types: its vectors, rows of it with a number of sources, lines, masks.
const OF_F64: [&str; 5] = ["F64x16", "dKj", "5LinesdE", "8LinesMutdE", "6MaskeddI"];

/// What works on single pairs of `f64`, once a chunk: of its loops nothing is asked.
const SINGLE: &str = "5NodesdE4push";

/// The steps of rows that threads share: kernels that are compiled once for each operation, and its end, which has no loop.
const STEPS: &str = "6kernel4step";
const CLOSE: &str = "4step5Close";

/// What copies rows from and to where they lie: compiled for each type of elements, without arithmetic.
const COPIES: [&str; 2] = ["5lines5Lines", "5lines8LinesMut"];

/// Kernels that have no product of vectors to fuse.
const NO_PRODUCT: [&str; 2] = ["6reduce3Max", "6reduce3Sum"];

#[test]
fn inlined_without_std() {
    check("without std", &["--no-default-features"], 1, [1, 1], false);
}

#[test]
fn inlined_with_all_types() {
    check("with all types", &["--features=f64"], 16, [4, 2], true);
}

/// Checks a build with these options for cargo, in so many units, of so many types of elements, of which so many are computed in.
fn check(
    build: &str,
    options: &[&str],
    units: usize,
    [types, computed]: [usize; 2],
    has_threads: bool,
) {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        // Not captured by the harness: also seen when the test passes.
        let mut stderr = io::stderr();
        let what = "the assembly of x86-64 on Linux";
        writeln!(
            stderr,
            "inlining {build} is not checked here: it takes {what}"
        )
        .unwrap();
        return;
    }
    let texts = compile(options, units);
    let functions: Vec<_> = texts.iter().flat_map(|text| functions(text)).collect();
    let problems: Vec<_> = functions.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{build}: {}", problems.join("\n"));

    // All of them were there: each kernel for each instruction set.
    let [kernels, shared] = kernels_in_source().map(|kernels| computed * kernels);
    // Their steps and ends.
    let shared = if has_threads { 2 * shared } else { 0 };
    for (entry, _) in ENTRIES {
        let aliases = texts.iter().flat_map(|text| aliases(text));
        let names = functions.iter().map(|f| f.name).chain(aliases);
        let found: BTreeSet<_> = names.filter(|name| name.contains(entry)).collect();
        let steps = found.iter().filter(|name| name.contains(STEPS)).count();
        let copies = found.iter().filter(|name| is_copy(name)).count();
        let all = steps + copies + kernels;
        assert_eq!(found.len(), all, "{build}: {entry}");
        assert_eq!(copies, 2 * types, "{build}: {entry}, copies");
        assert_eq!(steps, shared, "{build}: {entry}, steps");
    }
    // What kernels share is the same for each instruction set.
    let [avx2, avx512] = ISAS.map(|isa| {
        let called = functions.iter().filter(|f| f.name.contains(OUT_OF_LINE));
        called.filter(|f| f.name.contains(isa)).count()
    });
    assert_eq!(avx2, avx512, "{build}: out of line");
    assert!(avx2 > 0, "{build}: nothing is out of line");
    let is_portable = |f: &&Function<'_>| registers(f).is_none() && !f.name.contains(SCALAR);
    let portable = functions.iter().filter(is_portable);
    let loops = portable.map(|f| vector_loops(f).len()).sum::<usize>();
    assert!(
        loops >= kernels,
        "{build}: {loops} portable loops for {kernels} kernels"
    );
}

/// As [`problems`], of a function whose loop holds all that it does.
fn problems_of_narrow(function: &Function<'_>) -> Vec<String> {
    let name = function.name;
    let mut problems = Vec::new();
    for callee in function.calls() {
        if !NARROW_CALLED.iter().any(|part| callee.contains(part)) {
            problems.push(format!("{name} calls {callee}"));
        }
    }
    let Some(registers) = registers(function) else {
        return problems;
    };
    for instruction in function.instructions() {
        // Some of what is done in `f64` once a row, and what is asked of it, is done for fewer rows at a time.
        let is_once_a_row =
            instruction.name.ends_with("pd") || instruction.name.starts_with("vcmp");
        let is_whole = instruction.operands.contains(registers) || is_once_a_row;
        if instruction.is_vector_arithmetic() && !is_whole || instruction.is_masked_store() {
            problems.push(format!("{name} has {instruction:?}"));
        }
    }
    if !function.instructions().any(Instruction::is_fused) {
        problems.push(format!("{name} fuses no multiply-add"));
    }
    problems
}

fn problems(function: &Function<'_>) -> Vec<String> {
    let name = function.name;
    let mut problems = Vec::new();
    if name.contains(SCALAR) {
        return problems;
    }
    let is_called = name.contains(OUT_OF_LINE) && name.contains("8Portable");
    let is_portable = is_called || PORTABLE.iter().any(|part| name.contains(part));
    let mut instructions = function.instructions();
    if registers(function).is_none()
        && !is_portable
        && !instructions.any(Instruction::is_vector_arithmetic)
    {
        return problems;
    }
    let calls = function.calls();
    // With the scalar path inlined. What its loops call by a register is among these calls.
    let is_mixed = registers(function).is_none() && STANDARD.iter().any(|f| calls.contains(f));
    let is_standard = |callee: &str| STANDARD.contains(&callee) || callee.starts_with("*%");
    for callee in calls {
        let is_allowed = CALLED.iter().any(|(part, _)| callee.contains(part))
            || (is_portable && is_of_double(callee))
            || (is_mixed && is_standard(callee));
        if !is_allowed {
            problems.push(format!("{name} calls {callee}"));
        }
    }
    if name.contains(SINGLE) {
        return problems;
    }
    if name.contains(NARROW) {
        problems.extend(problems_of_narrow(function));
        return problems;
    }
    let loops = vector_loops(function);
    let is_f64 = is_portable && OF_F64.iter().any(|part| name.contains(part));
    let is_of_f64 = |callee: &str| {
        let others = [OUT_OF_LINE, "memcpy", "*%r"];
        is_f64 && (is_of_double(callee) || others.iter().any(|part| callee.contains(part)))
    };
    for body in &loops {
        show(function, body);
        for callee in body.iter().filter_map(|i| i.callee()) {
            if !(is_mixed && is_standard(callee) || is_of_f64(callee)) {
                problems.push(format!("a loop of {name} calls {callee}"));
            }
        }
    }
    let is_sweep = SWEEPS.iter().any(|part| name.contains(part));
    let has_loops = !name.contains(CLOSE) && !is_copy(name);
    let has_loops = has_loops && (is_sweep || !name.contains(OUT_OF_LINE));
    if let Some(registers) = registers(function) {
        // The loops may be in what it calls.
        let calls_sweep = function.calls().iter().any(|callee| {
            let is_sweep = SWEEPS.iter().any(|part| callee.contains(part));
            // Blocks have loops of their own, beside those of the rows that are done one by one.
            let has_blocks = [RANKS, NARROW].iter().any(|part| name.contains(part));
            let is_other = !(has_blocks && callee.contains(ALONE));
            callee.contains(OUT_OF_LINE) && is_sweep && is_other
        });
        if loops.is_empty() && has_loops && !calls_sweep {
            problems.push(format!("{name} has no loop over vectors"));
        }
        for instruction in loops.iter().flatten() {
            if instruction.is_vector_arithmetic() && !instruction.operands.contains(registers) {
                problems.push(format!("a loop of {name} has {instruction:?}"));
            }
        }
        if loops.iter().flatten().any(|i| i.is_masked_store()) {
            problems.push(format!("a loop of {name} has a masked store"));
        }
        let fused = loops.iter().flatten().any(|i| i.is_fused());
        let has_product = has_loops && !NO_PRODUCT.iter().any(|kernel| name.contains(kernel));
        if has_product && !fused && !calls_sweep {
            problems.push(format!("no loop of {name} fuses a multiply-add"));
        }
    }
    problems
}

/// Whether it is one of the functions that portable kernels call for vectors of `f64`.
fn is_of_double(callee: &str) -> bool {
    callee.contains(DOUBLE) && OF_DOUBLE.iter().any(|part| callee.contains(part))
}

/// Whether a function copies rows.
fn is_copy(name: &str) -> bool {
    COPIES.iter().any(|part| name.contains(part))
}

/// The registers that the loops of a function must be in, if it is the entry of an instruction set.
fn registers(function: &Function<'_>) -> Option<&'static str> {
    let apart = function.name.contains(OUT_OF_LINE);
    let entry = ENTRIES.iter().zip(ISAS).find(|((part, _), isa)| {
        function.name.contains(part) || apart && function.name.contains(isa)
    });
    entry.map(|(&(_, registers), _)| registers)
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

/// The assembly of this crate, a text for each unit.
fn compile(options: &[&str], units: usize) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["rustc", "--lib", "--release", "--message-format=json"])
        // What it depends on is here already.
        .arg("--offline")
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("inlining"))
        .args(options)
        .args(["--", "-Csymbol-mangling-version=v0", "--emit=asm"])
        // Sixteen are the default, but not where assembly is asked for.
        .arg(format!("-Ccodegen-units={units}"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "`cargo rustc`: {}", output.status);
    // Cargo names `DIRECTORY/libsoftlane-HASH.rmeta`; beside it is `softlane-HASH*.s`.
    let messages = String::from_utf8(output.stdout).unwrap();
    let (before, after) = messages.split_once("/libsoftlane-").unwrap();
    let (_, directory) = before.rsplit_once('"').unwrap();
    let (hash, _) = after.split_once('.').unwrap();
    let is_assembly = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&format!("softlane-{hash}")) && name.ends_with(".s")
    };
    let files = fs::read_dir(directory).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(is_assembly)
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// How many kernels there are of a type that is computed in, and of how many of them threads share rows: the lines of the table of
/// operations.
fn kernels_in_source() -> [usize; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operations.rs");
    let table = fs::read_to_string(path).unwrap();
    let starting = |start: &str| {
        let lines = table.lines().map(str::trim_start);
        lines.filter(|line| line.starts_with(start)).count()
    };
    let shared = starting("run_rows ");
    let here = starting("run_here ");
    [starting("run ") + here + shared, shared]
}
