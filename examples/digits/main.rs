//! softlane's main example: real digit images, classified with its own kernels.
//!
//! ```text
//! cargo run --release --example digits [-- path.csv]
//! ```
//!
//! It trains softmax regression to tell ten digits apart, and independent logistic classifiers to
//! tell labels that do not exclude each other; then it shows the accuracy and the speed of the
//! kernels that did it. Without a path it takes the 1797 images in `examples/data`.

mod confident;
mod data;
mod exclusive;
mod labels;
mod linear;
mod progress;
mod report;
mod speed;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

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
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let path = match arguments.as_slice() {
        [] => None,
        [path] => Some(path.as_path()),
        more => {
            let found = more.len();
            return Err(format!("expected one file or none as argument, found {found}").into());
        }
    };
    let data = data::read(path)?;
    report::opening(&data)?;
    let digits = report::digits(&data)?;
    let labels = report::labels(&data)?;
    report::confident_rows()?;
    report::speed(&data, &digits, &labels)
}
