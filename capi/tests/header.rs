//! The header is what cbindgen makes of the sources, and declares the same functions for every element type, whose files are
//! derived from that of `f32`. `SOFTLANE_WRITE=1 cargo test -p softlane-capi --test header` writes what is missing.

#![cfg(all(feature = "std", target_pointer_width = "64"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// An element type beside `f32`.
struct Type {
    name: &'static str,
    /// That of its results.
    real: &'static str,
    /// What its documentation says to readers of C: `double`, or `bits of f16`.
    in_c: &'static str,
    /// What its file has to `use`, if anything.
    import: &'static str,
}

/// All of them. What joins here gets its functions from `f32.rs`; in `lib.rs`, it is a module.
const TYPES: [Type; 3] = [
    Type {
        name: "f64",
        real: "f64",
        in_c: "double",
        import: "",
    },
    Type {
        name: "f16",
        real: "f32",
        in_c: "bits of f16 (IEEE 754 binary16)",
        import: "half::f16",
    },
    Type {
        name: "bf16",
        real: "f32",
        in_c: "bits of bf16",
        import: "half::bf16",
    },
];

/// Sources in the order of the header. Those of the types come last.
const SOURCES: [&str; 3] = ["status", "general", "options"];

/// What each type has, so that a function which is lost is missed.
const FUNCTIONS: [&str; 16] = [
    "binary_cross_entropy",
    "cross_entropy",
    "cross_entropy_soft",
    "exp",
    "log_softmax",
    "log_softmax_backward",
    "log_softmax_backward_with",
    "log_softmax_with",
    "logsumexp",
    "max",
    "sigmoid",
    "softmax",
    "softmax_backward",
    "softmax_backward_with",
    "softmax_with",
    "sum",
];

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap()
}

/// Without what `cargo fmt` may change.
fn packed(text: &str) -> String {
    let text: String = text.split_whitespace().collect();
    text.replace(",)", ")")
}

/// Checks that a file is this text, in any format, or makes it so.
fn expect(relative: &str, text: &str) {
    let is_current =
        || fs::read_to_string(path(relative)).is_ok_and(|found| packed(&found) == packed(text));
    if env::var_os("SOFTLANE_WRITE").is_some() && !is_current() {
        fs::write(path(relative), text).unwrap();
    }
    assert!(
        is_current(),
        "{relative} is not current: see the first lines of this test"
    );
}

/// The functions of another type, from those of `f32`: each with a line of documentation.
fn derived(source: &str, to: &Type) -> String {
    let (name, real) = (to.name, to.real);
    let mut blocks = vec![format!(
        "//! The functions of rows of `{name}`, derived from `f32.rs` by the test `header`."
    )];
    for block in source.trim_end().split("\n\n") {
        let function = block.split_once("fn softlane_");
        let function = function.and_then(|(_, rest)| rest.split_once("_f32("));
        let mut lines = Vec::new();
        if let Some((function, _)) = function {
            lines.push(format!("/// As softlane_{function}_f32, for {}.", to.in_c));
        }
        let code = block.lines().filter(|line| !line.starts_with("//"));
        lines.extend(code.map(|line| {
            let is_result = ["loss: ", "lse: ", "max: ", "sum: "];
            let is_result = is_result.map(|result| format!("{result}*mut f32"));
            let reals = is_result.iter().fold(line.to_owned(), |line, result| {
                line.replace(result, &result.replace("f32", "REAL"))
            });
            reals.replace("f32", name).replace("REAL", real)
        }));
        if lines.iter().any(|line| line.starts_with("use core::")) && !to.import.is_empty() {
            lines.push(format!("\nuse {};", to.import));
        }
        blocks.push(lines.join("\n"));
    }
    blocks.join("\n\n").replacen("\n\n", "\n", 1) + "\n"
}

#[test]
fn other_types_have_the_functions_of_f32() {
    let source = read("src/f32.rs");
    for to in &TYPES {
        expect(&format!("src/{}.rs", to.name), &derived(&source, to));
    }
}

#[test]
fn what_is_derived() {
    let source = "//! One.\n//! Two.\n#![a]\n\nuse core::b;\n\nuse super::c;\n\n/// Doc.\n///\n/// More.\n#[d]\n\
        fn softlane_e_f32(\n    x: *const f32,\n    y: *mut f32,\n    loss: *mut f32,\n) {\n    // SAFETY: f.\n    e::<f32>(x)\n}\n";
    let to = Type {
        name: "bf16",
        real: "f32",
        in_c: "bits of bf16",
        import: "half::bf16",
    };
    let expected = "//! The functions of rows of `bf16`, derived from `f32.rs` by the test `header`.\n#![a]\n\nuse core::b;\n\n\
        use half::bf16;\n\nuse super::c;\n\n/// As softlane_e_f32, for bits of bf16.\n#[d]\nfn softlane_e_bf16(\n    x: *const bf16,\n    \
        y: *mut bf16,\n    loss: *mut f32,\n) {\n    // SAFETY: f.\n    e::<bf16>(x)\n}\n";
    assert_eq!(derived(source, &to), expected);
    let functions = |text: &str| text.matches("pub unsafe extern \"C\" fn softlane_").count();
    let source = read("src/f32.rs");
    let text = derived(&source, &TYPES[0]);
    assert_eq!(functions(&source), functions(&text));
    // In the documentation alone.
    assert_eq!(text.matches("f32").count(), functions(&text) + 1);
}

/// The header of the sources.
fn header() -> String {
    let config = cbindgen::Config::from_file(path("cbindgen.toml")).unwrap();
    let types = TYPES.iter().map(|to| to.name);
    let modules = SOURCES.into_iter().chain(["f32"]).chain(types);
    let builder = modules.fold(
        cbindgen::Builder::new().with_config(config),
        |builder, module| builder.with_src(path(&format!("src/{module}.rs"))),
    );
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_header_is_current() {
    expect("include/softlane.h", &header());
}

#[test]
fn the_header_declares_every_function_of_every_type() {
    let header = header();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in header.lines() {
        let name = line.split_once("softlane_status softlane_");
        let name = name.and_then(|(_, rest)| rest.split_once('('));
        if let Some((function, of)) = name.and_then(|(name, _)| name.rsplit_once('_'))
            && ["f32", "f64", "f16", "bf16"].contains(&of)
        {
            found.entry(of).or_default().insert(function);
        }
    }
    let types = TYPES.iter().map(|to| to.name).chain(["f32"]);
    assert_eq!(
        found.keys().copied().collect::<BTreeSet<_>>(),
        types.collect()
    );
    for (of, functions) in found {
        assert_eq!(functions, FUNCTIONS.into(), "{of}");
    }
}

/// The version of the library is that of the crate.
#[test]
fn versions() {
    let version = |manifest: &str| {
        let manifest = read(manifest);
        let line = manifest.lines().find(|line| line.starts_with("version = "));
        line.unwrap().to_owned()
    };
    assert_eq!(version("Cargo.toml"), version("../Cargo.toml"));
}
