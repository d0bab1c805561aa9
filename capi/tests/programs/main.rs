//! Programs in C, C++ and Python that use the library, static and shared. They are compiled with `cc` and `c++` (or what `CC` and `CXX` name), and run
//! under valgrind too; what is not installed is left out, and said. With `SOFTLANE_REQUIRE_CC=1`, compilers must be there.

#![cfg(all(feature = "std", target_pointer_width = "64", unix))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

const DIRECTORY: &str = env!("CARGO_MANIFEST_DIR");

/// Where programs are written to.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// Where the static and the shared library are: those that `cargo test` makes as an example of this package. If it was told to make less, and they are
/// missing or older than their sources, cargo makes others, for which it may compile everything once more.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = env::current_exe().unwrap();
    let examples = program.ancestors().nth(2).unwrap().join("examples");
    let made = [examples.join("libsoftlane.a"), examples.join(shared_name())];
    let sources = [
        "../src",
        "src",
        "../Cargo.toml",
        "../Cargo.lock",
        "Cargo.toml",
    ];
    let sources = sources.map(|path| newest(&Path::new(DIRECTORY).join(path)));
    let is_current = |library: &PathBuf| {
        let time = fs::metadata(library).and_then(|data| data.modified());
        time.is_ok_and(|time| sources.iter().all(|&source| source <= time))
    };
    if made.iter().all(is_current) {
        return examples;
    }
    let profile = if cfg!(debug_assertions) {
        "test"
    } else {
        "release"
    };
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--example", "softlane", "--offline"])
        .args(["--profile", profile, "--message-format=json"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(Path::new(SCRATCH).parent().unwrap());
    if !HAS_THREADS {
        command.args(["--no-default-features", "--features", "std"]);
    }
    let output = command.output().unwrap();
    let (text, errors) = (
        String::from_utf8(output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{errors}");
    let text = text.unwrap();
    let library = text
        .split('"')
        .find(|word| word.ends_with("/libsoftlane.a"));
    Path::new(library.unwrap()).parent().unwrap().to_owned()
});

/// When a file was last changed, or any in a directory.
fn newest(path: &Path) -> SystemTime {
    let own = fs::metadata(path).unwrap().modified().unwrap();
    let files = fs::read_dir(path).into_iter().flatten();
    files
        .map(|file| newest(&file.unwrap().path()))
        .fold(own, SystemTime::max)
}

/// The file name of the shared library.
fn shared_name() -> String {
    format!(
        "{}softlane{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    )
}

/// Says what is not tested here. Not captured by the harness.
fn skip(what: &str) {
    let mut stderr = io::stderr();
    writeln!(stderr, "not tested here: {what}").unwrap();
}

/// Whether programs of this machine can use the library: not if it is made for another, or with a sanitizer.
fn is_usual() -> bool {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let usual = env::var_os("SOFTLANE_RUNNER").is_none() && !flags.contains("sanitizer");
    if !usual {
        skip("programs in C, which neither emulators nor sanitizers have a library for");
    }
    usual
}

/// Whether a program can be run.
fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    C,
    Cpp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Static,
    Shared,
}

/// The compiler, if there is one.
fn compiler(language: Language) -> Option<String> {
    let (variable, default) = match language {
        Language::C => ("CC", "cc"),
        Language::Cpp => ("CXX", "c++"),
    };
    let name = env::var(variable).unwrap_or_else(|_| default.to_owned());
    if is_there(&name) {
        return Some(name);
    }
    assert!(
        !env::var("SOFTLANE_REQUIRE_CC").is_ok_and(|value| value == "1"),
        "SOFTLANE_REQUIRE_CC=1, and there is no {name}"
    );
    skip(&format!("{language:?}, as there is no {name}"));
    None
}

/// Programs compiled so far.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Compiles a program; `None` if there is no compiler.
fn compile(source: &str, language: Language, link: Link) -> Option<PathBuf> {
    if !is_usual() {
        return None;
    }
    let compiler = compiler(language)?;
    let library = &*LIBRARY;
    let source = Path::new(DIRECTORY).join(source);
    let name = source.file_stem().unwrap().to_string_lossy();
    // Tests run at the same time, and none may write what another runs.
    let count = COUNT.fetch_add(1, Relaxed);
    let program = Path::new(SCRATCH).join(format!("capi-{name}-{count}"));
    let mut command = Command::new(compiler);
    let language = match language {
        Language::C => ["-std=c99", "-xc"],
        Language::Cpp => ["-std=c++11", "-xc++"],
    };
    command
        .args(language)
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .arg("-I")
        .arg(Path::new(DIRECTORY).join("include"))
        .arg(source)
        .arg("-xnone")
        .arg("-o")
        .arg(&program);
    if !HAS_THREADS {
        command.arg("-DWITHOUT_THREADS");
    }
    match link {
        Link::Static => command.arg(library.join("libsoftlane.a")),
        Link::Shared => {
            let mut path = OsString::from("-Wl,-rpath,");
            path.push(library);
            command.arg("-L").arg(library).arg("-lsoftlane").arg(path)
        }
    };
    // What the standard library of Rust needs; the first line of `rustc --print native-static-libs`.
    if cfg!(target_os = "linux") {
        command.args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-ldl"]);
    }
    let output = command.arg("-lm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    Some(program)
}

/// Runs a command that is to succeed, and returns what it prints.
#[track_caller]
fn run(command: &mut Command) -> String {
    // Where cargo has put directories, in which a library of an earlier time may be.
    command
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("DYLD_FALLBACK_LIBRARY_PATH");
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}: {status}\n{out}{err}");
    out.into_owned()
}

/// Whether the library was built with threads.
const HAS_THREADS: bool = cfg!(feature = "rayon");

const PROGRAM: &str = "tests/programs/check.c";

#[test]
fn programs_in_c_and_cpp() {
    for language in [Language::C, Language::Cpp] {
        for link in [Link::Static, Link::Shared] {
            if let Some(program) = compile(PROGRAM, language, link) {
                let backend = softlane::Backend::active().unwrap();
                assert_eq!(run(&mut Command::new(program)).trim(), backend.name());
            }
        }
    }
}

/// Each function is one that the programs call, and the tests from Rust.
#[test]
fn programs_call_every_function() {
    let read = |path: &str| fs::read_to_string(Path::new(DIRECTORY).join(path)).unwrap();
    let header = read("include/softlane.h");
    let rust =
        ["main.rs", "table.rs", "options.rs"].map(|file| read(&format!("tests/calls/{file}")));
    let (rust, c) = (rust.concat(), read(PROGRAM));
    let mut count = 0;
    for line in header
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        let Some((before, _)) = line.split_once('(') else {
            continue;
        };
        let name = before.rsplit([' ', '*']).next().unwrap();
        if name.ends_with("_f32") || !name.ends_with(['2', '4', '6']) {
            assert!(
                c.contains(&format!("{name}(")),
                "{PROGRAM} does not call {name}"
            );
        }
        assert!(
            rust.contains(name) || name == "softlane_set_num_threads",
            "tests/calls: {name}"
        );
        count += 1;
    }
    assert!(count >= 24, "{count} functions in the header");
}

#[test]
fn a_backend_that_is_none() {
    if let Some(program) = compile(PROGRAM, Language::C, Link::Shared) {
        run(Command::new(program)
            .arg("no backend")
            .env("SOFTLANE_BACKEND", "nonsense"));
    }
}

#[test]
fn valgrind_finds_nothing() {
    let Some(program) = compile(PROGRAM, Language::Cpp, Link::Static) else {
        return;
    };
    if !is_there("valgrind") {
        return skip("memory, as there is no valgrind");
    }
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full"])
        .arg("--errors-for-leak-kinds=definite")
        .arg(program);
    // Valgrind does not know AVX-512.
    if env::var("SOFTLANE_BACKEND").is_ok_and(|name| name == "avx512") {
        command.env("SOFTLANE_BACKEND", "avx2");
    }
    run(&mut command);
}

#[test]
fn the_example() {
    let Some(program) = compile("examples/softmax.c", Language::C, Link::Shared) else {
        return;
    };
    let text = run(Command::new(program).env("SOFTLANE_BACKEND", "portable"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "probabilities: 0.0900306 0.2447285 0.6652409");
    assert_eq!(lines[1], "losses: 0.407606 7.664e-09");
    assert_eq!(lines[2], "gradient: 0.0900306 0.2447285 -0.3347591");
    let error = "a target is neither a class nor the ignored index: target 3 of row 1 is none of 3 classes, which count from 0";
    assert_eq!(lines[3], error);
}

#[test]
fn children_of_processes_with_threads() {
    if !HAS_THREADS {
        return;
    }
    for link in [Link::Static, Link::Shared] {
        if let Some(program) = compile("tests/programs/threads.c", Language::C, link) {
            let mut command = Command::new(program);
            // As many as the program counts.
            command.arg("fork").env("RAYON_NUM_THREADS", "3");
            assert_eq!(run(&mut command), "passed\n");
        }
    }
}

#[test]
fn threads_that_are_refused() {
    let Some(program) = compile("tests/programs/threads.c", Language::C, Link::Static) else {
        return;
    };
    let mut command = Command::new("sh");
    // Stacks of 64 MiB each, in 1 GiB; of glibc, no address space for each thread to allocate in.
    command
        .args(["-c", r#"ulimit -v 1048576 && exec "$0" refused"#])
        .arg(program)
        .env("RUST_MIN_STACK", "67108864")
        .env("MALLOC_ARENA_MAX", "1");
    assert_eq!(run(&mut command), "passed\n");
}

/// The interpreter, if there is one that can import a module.
fn python(module: &str) -> Option<String> {
    if !is_usual() {
        return None;
    }
    let python = env::var("SOFTLANE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {module}");
    let output = Command::new(&python).args(["-c", &import]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!("{module} in Python, as {python} does not have it"));
    None
}

fn shared_library() -> PathBuf {
    LIBRARY.join(shared_name())
}

#[test]
fn workers_of_multiprocessing() {
    let Some(python) = python("multiprocessing") else {
        return;
    };
    let counts = if HAS_THREADS {
        vec!["0", "1", "2"]
    } else {
        vec!["0"]
    };
    for count in counts {
        let mut command = Command::new(&python);
        command
            .arg(Path::new(DIRECTORY).join("tests/programs/fork.py"))
            .arg(shared_library())
            .arg(count)
            .env("RAYON_NUM_THREADS", "3");
        assert_eq!(run(&mut command), "passed\n");
    }
}

#[test]
fn numpy() {
    let Some(python) = python("numpy") else {
        return;
    };
    let mut command = Command::new(python);
    command
        .arg(Path::new(DIRECTORY).join("examples/numpy_ctypes.py"))
        .arg(shared_library());
    let text = run(&mut command);
    let lines: Vec<&str> = text.lines().collect();
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let backend = softlane::Backend::active().unwrap();
    // Derived for probabilities and for gradients with smoothing, in ULP, each of which is a share of 2^-23 at most. The textbook formulas of scalar
    // have half an ULP of the largest difference of logits, some 70 here.
    let [probs, grads] = match backend.name() {
        "scalar" => [64.0; 2],
        _ if backend.is_fused() => [2.9, 3.8],
        _ => [4.6, 6.0],
    };
    let ulp = 2.0_f64.powi(-23);
    assert!(number(lines[0]) < probs * ulp, "{text}");
    let (loss, exact) = lines[1].split_once(" against ").unwrap();
    let (loss, exact) = (number(loss), number(exact));
    assert!((loss - exact).abs() < 2.0 * ulp * exact, "{text}");
    // Terms of less than 1, divided by as many rows.
    assert!(number(lines[2]) < grads * ulp / 1000.0, "{text}");
    assert_eq!(
        lines[3],
        "target 10 of row 0 is none of 10 classes, which count from 0"
    );
}
