//! The largest errors of softlane and of other libraries, on the rows of `tests/accuracy.rs`: writes
//! `docs/accuracy.md` and its picture.

#[path = "../../../../../tests/common/mod.rs"]
mod common;
mod implementation;
mod measure;
mod picture;
mod progress;
mod report;

use std::fs;
use std::path::Path;

use common::corpus;
use implementation::Implementation;
use measure::Failure;

fn main() -> Result<(), Failure> {
    let implementations = Implementation::all();
    let published = measure::published(&implementations)?;
    let spreads = measure::spreads(&implementations)?;
    let corpus = measure::corpus(&corpus::cases(), &implementations)?;

    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::create_dir_all(&docs)?;
    picture::draw(&docs.join("accuracy.svg"), &implementations, &spreads)?;
    let report = report::markdown(&implementations, &published, &spreads, &corpus);
    fs::write(docs.join("accuracy.md"), report)?;
    Ok(())
}
