//! How far a measurement is: a bar on a terminal, a line for every tenth elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one measurement.
#[derive(Debug)]
pub struct Progress {
    title: &'static str,
    elements: u64,
    done: AtomicU64,
    bar: ProgressBar,
}

impl Progress {
    /// Of so many elements.
    pub fn new(title: &'static str, elements: u64) -> Self {
        let bar = ProgressBar::new(elements).with_message(title);
        let style = ProgressStyle::with_template("{msg:15} {bar:40} {percent:3} %  {eta} left");
        Self {
            title,
            elements,
            done: AtomicU64::new(0),
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        }
    }

    /// So many more are done.
    pub fn advance(&self, elements: u64) {
        self.bar.inc(elements);
        let before = self.done.fetch_add(elements, Ordering::Relaxed);
        let tenths = |done| done * 10 / self.elements;
        let now = tenths(before + elements);
        // The bar draws nothing unless on a terminal.
        if self.bar.is_hidden() && now > tenths(before) {
            eprintln!("{}: {now}0 %", self.title);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.abandon(); // leaves the bar as it is
    }
}
