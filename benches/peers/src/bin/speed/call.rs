//! What is timed: a call of one library's operation, with its inputs made ready before.

use std::hint::black_box;

use crate::common::batch::Batch;
use crate::{burn, candle, rten, tract};

/// Another library.
#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    /// Of its packages the one whose version says it all.
    pub package: &'static str,
    /// What a call includes.
    pub note: &'static str,
    /// Its call of an operation over a batch, if it has that.
    pub call: for<'a> fn(&str, &'a Batch) -> Option<Box<dyn Call + 'a>>,
}

/// Every other library.
pub const PEERS: [Peer; 4] = [rten::PEER, candle::PEER, tract::PEER, burn::PEER];

/// One call. `y` is as long as the logits, for a library that writes where it is told.
pub trait Call {
    /// Runs it; frees what it allocates.
    fn run(&self, y: &mut [f32]);

    /// Runs it and says what it computes.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test asks for them"))]
    fn results(&self, y: &mut [f32]) -> Vec<f32>;
}

/// Results in whatever form a library gives them.
pub trait Values {
    /// The results themselves; `y` is what was written.
    fn values(self, y: &[f32]) -> Vec<f32>;
}

impl<T: Values, F: Fn(&mut [f32]) -> T> Call for F {
    fn run(&self, y: &mut [f32]) {
        black_box(self(black_box(y)));
    }

    fn results(&self, y: &mut [f32]) -> Vec<f32> {
        self(y).values(y)
    }
}

impl Values for () {
    fn values(self, y: &[f32]) -> Vec<f32> {
        y.to_vec()
    }
}

impl Values for f32 {
    fn values(self, _: &[f32]) -> Vec<f32> {
        vec![self]
    }
}

pub fn boxed<'a, T: Values>(call: impl Fn(&mut [f32]) -> T + 'a) -> Box<dyn Call + 'a> {
    Box::new(call)
}
