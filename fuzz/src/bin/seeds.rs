//! Writes the seeds to files, for fuzzing to begin with: to `corpus/<target>` beside this package's
//! manifest, or in the directory that the argument names instead of `corpus`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use softlane_fuzz::code::Code;
use softlane_fuzz::seeds;

fn main() -> io::Result<()> {
    let corpus = env::args_os().nth(1).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"),
        PathBuf::from,
    );
    write(&corpus.join("softmax"), &seeds::forward())?;
    write(&corpus.join("cross_entropy"), &seeds::loss())?;
    write(&corpus.join("linear"), &seeds::linear())?;
    write(&corpus.join("threads"), &seeds::spread())
}

fn write(directory: &Path, seeds: &[impl Code]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (i, seed) in seeds.iter().enumerate() {
        let mut bytes = Vec::new();
        seed.encode(&mut bytes);
        fs::write(directory.join(format!("seed-{i:04}")), bytes)?;
    }
    println!("{}: {} seeds", directory.display(), seeds.len());
    Ok(())
}
