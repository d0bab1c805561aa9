//! How fast every operation is on every backend, beside what memory allows: charts against the
//! number of classes.
//!
//! ```text
//! cargo run --release --example roofline [-- [--thorough] [--out DIR]]
//! ```
//!
//! On one thread. Takes a minute; with `--thorough`, 1.5 seconds for each of nineteen works at each of
//! 27 class counts, a quarter of an hour. Writes two charts of each operation, `throughput-<operation>.svg` and
//! `speedup-<operation>.svg`, into `target/roofline` or another directory, and prints a part of the figures. `exp`, `sigmoid`,
//! `max` and `sum` are of one slice of as many elements. `--check` only sees that all this works.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

mod chart;
#[path = "../../benches/common/mod.rs"]
mod common;
mod limits;
mod measure;
#[path = "../../benches/common/processor.rs"]
mod processor;
mod progress;
mod table;
#[path = "../../benches/common/turns.rs"]
mod turns;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use measure::{Measured, Mode};
use processor::processor;

const QUICK: Mode = Mode {
    classes: &[2, 3, 5, 10, 32, 64, 100, 256, 1000, 4096, 32768, 262_144],
    time: Duration::from_millis(200),
};

const THOROUGH: Mode = Mode {
    classes: &[
        2, 3, 4, 5, 7, 8, 10, 16, 17, 32, 33, 64, 65, 100, 128, 256, 512, 1000, 1024, 2048, 4096,
        8192, 16384, 32768, 65536, 131_072, 262_144,
    ],
    time: Duration::from_millis(1500),
};

/// Everybody has one turn.
const CHECK: Mode = Mode {
    classes: &[10, 1000],
    time: Duration::ZERO,
};

/// What is to be done.
#[derive(Debug)]
struct Options {
    mode: Mode,
    out: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Options { mode, out } = options(env::args_os().skip(1))?;
    // Rather now than after the measurement.
    fs::create_dir_all(&out)?;
    let processor = processor();
    let measured = Measured::new(&mode);
    table::print(&measured, &processor);
    for operation in &measured.operations {
        let path = out.join(format!("throughput-{}.svg", operation.name));
        chart::throughput(&path, &measured, operation, &processor)?;
        println!("{}", path.display());
        let path = out.join(format!("speedup-{}.svg", operation.name));
        chart::speedup(&path, &measured, operation, &processor)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut options = Options {
        mode: QUICK,
        out: PathBuf::from("target/roofline"),
    };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--thorough") => options.mode = THOROUGH,
            Some("--check") => options.mode = CHECK,
            Some("--out") => {
                let out = arguments.next().ok_or("--out: which directory?")?;
                options.out = PathBuf::from(out);
            }
            _ => {
                let argument = argument.display();
                return Err(format!(
                    "{argument}: the options are --thorough, --check and --out DIR"
                ));
            }
        }
    }
    Ok(options)
}
