//! One test of this program, to run again in a process of its own.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// The command that runs one test of this program again; in an emulator, if `SOFTLANE_RUNNER` is its
/// command line.
pub fn child(test: &str) -> Command {
    let runner = env::var("SOFTLANE_RUNNER").unwrap_or_default();
    let program = env::current_exe().unwrap();
    let mut words = runner.split_whitespace().map(OsStr::new);
    let mut command = Command::new(words.next().unwrap_or(program.as_os_str()));
    command.args(words);
    if !runner.trim().is_empty() {
        command.arg(&program);
    }
    command.args(["--exact", test, "--nocapture"]);
    command
}
