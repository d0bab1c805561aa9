//! How far the measurement is: a bar on a terminal, a line for every tenth elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of the whole measurement.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template("{msg:35} {bar:40} {percent:3} %  {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(steps).with_style(style);
        Self { bar }
    }

    /// A step begins.
    pub fn next(&self, operation: &str, classes: usize) {
        let at = format!("{operation}/{classes}");
        // The bar draws nothing unless on a terminal.
        if self.bar.is_hidden() {
            let tenths = |step| step * 10 / self.bar.length().unwrap_or(1);
            let step = self.bar.position();
            if step == 0 || tenths(step) > tenths(step - 1) {
                eprintln!("{:2} %: {at}", 10 * tenths(step));
            }
        }
        self.bar.set_message(at);
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
