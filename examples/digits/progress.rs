//! How a training run gets on: a line that rewrites itself on a terminal, plain lines elsewhere.

use std::error::Error;
use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::linear::STEPS;

/// Steps from one plain line to the next.
const PLAIN_EVERY: usize = 100;
/// Steps from one state of the line that rewrites itself to the next.
const TERMINAL_EVERY: usize = 5;

/// The progress of one training run.
#[derive(Debug)]
pub struct Progress {
    line: ProgressBar,
}

impl Progress {
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let stdout = ProgressDrawTarget::stdout();
        let line = ProgressBar::with_draw_target(Some(STEPS as u64), stdout);
        line.set_style(ProgressStyle::with_template("   {bar:20} {msg}")?);
        Ok(Self { line })
    }

    /// Shows a step, if it is time to. `state` says where training stands, and is asked only then.
    pub fn step(
        &self,
        step: usize,
        state: impl FnOnce() -> Result<String, softlane::Error>,
    ) -> Result<(), Box<dyn Error>> {
        // The line draws nothing unless on a terminal.
        let plain = self.line.is_hidden();
        let every = if plain { PLAIN_EVERY } else { TERMINAL_EVERY };
        if step == 1 || step.is_multiple_of(every) {
            let state = format!("step {step:3}   {}", state()?);
            if plain {
                writeln!(io::stdout(), "   {state}")?;
            } else {
                self.line.set_message(state);
                self.line.set_position(step as u64);
            }
        }
        if step == STEPS {
            self.line.abandon(); // leaves the line as it is
        }
        Ok(())
    }
}
