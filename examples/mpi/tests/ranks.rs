//! The example on 1, 2 and 4 ranks of this machine: the same bits, and what becomes of errors and of ranks that die.
//!
//! Without `mpirun` nothing is tested, and that is an error where `SOFTLANE_REQUIRE_MPI` is set.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::env;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const EXAMPLE: &str = env!("CARGO_BIN_EXE_softlane-mpi");

/// After which a job hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// For one job at a time: ranks that wait keep a core busy.
static CORES: Mutex<()> = Mutex::new(());

/// What a job of `mpirun` says, if there is `mpirun`.
fn mpirun(arguments: &[&str]) -> Option<Output> {
    let _cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    let job = Command::new("mpirun")
        .args(arguments)
        // What Open MPI asks for in containers, and where there are fewer cores than ranks: up to version 4, and later.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut job = match job {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(
                env::var_os("SOFTLANE_REQUIRE_MPI").is_none(),
                "there is no mpirun"
            );
            eprintln!("skipped: there is no mpirun");
            return None;
        }
        job => job.expect("mpirun begins"),
    };
    let start = Instant::now();
    while job.try_wait().expect("mpirun is asked").is_none() {
        if start.elapsed() > LIMIT {
            job.kill().expect("mpirun is ended");
            panic!("mpirun {arguments:?}: no end");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Some(job.wait_with_output().expect("mpirun says something"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A job that ends well, and says this.
#[track_caller]
fn says(arguments: &[&str], expected: &str) {
    if let Some(output) = mpirun(arguments) {
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{errors}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// A job that ends with an error, after which it has not said that anything is right. What it has said.
#[track_caller]
fn fails(arguments: &[&str]) -> Option<String> {
    let output = mpirun(arguments)?;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("same bits"), "{arguments:?}: {said}");
    Some(said)
}

/// Five chunks, the last of them short; and so few that there are ranks without any.
#[test]
fn any_number_of_ranks_gives_the_same_bits() {
    for ranks in ["1", "2", "4"] {
        for classes in ["20000", "5000", "3"] {
            says(&["-n", ranks, EXAMPLE, "16", classes], "same bits");
        }
    }
    // Of so many rows, messages go another way.
    says(&["-n", "3", EXAMPLE, "256", "20000"], "same bits");
}

/// Without fused multiply-add too, as the maximum is known.
#[test]
fn the_portable_backend_gives_the_same_bits() {
    let portable = "SOFTLANE_BACKEND=portable";
    let job = ["-n", "4", "env", portable, EXAMPLE, "16", "20000"];
    says(&job, "same bits");
}

#[test]
fn no_rows_are_no_losses() {
    says(&["-n", "2", EXAMPLE, "0", "20000"], "rank 1: no rows");
}

#[test]
fn a_rank_that_dies_ends_the_job() {
    for rank in ["0", "1", "3"] {
        if let Some(said) = fails(&["-n", "4", EXAMPLE, "--die", rank, "16", "20000"]) {
            assert!(
                said.contains(&format!("rank {rank}: breaks down")),
                "{said}"
            );
        }
    }
}

#[test]
fn an_error_of_one_rank_is_one_of_all() {
    for rank in ["0", "2"] {
        if let Some(said) = fails(&["-n", "4", EXAMPLE, "--err", rank, "16", "20000"]) {
            assert!(said.contains("ranks with an error: 4 of 4"), "{said}");
        }
    }
}

#[test]
fn ranks_of_different_arithmetic_are_an_error() {
    let scalar = ["-n", "1", "env", "SOFTLANE_BACKEND=scalar", EXAMPLE];
    let other = [":", "-n", "1", EXAMPLE];
    if let Some(said) = fails(&[&scalar[..], &other].concat()) {
        assert!(said.contains("there is no state of row 0"), "{said}");
    }
}
