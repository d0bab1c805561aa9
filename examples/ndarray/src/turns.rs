//! Two calls that take turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The median times of two calls in nanoseconds, and the median of the second one's, divided by the first one's beside it. For half a second they take turns
/// in one process, so that what slows the machine for a while slows both.
pub fn compare<A, B>(mut a: impl FnMut() -> A, mut b: impl FnMut() -> B) -> [f64; 3] {
    let mut rounds = [const { Vec::new() }; 3];
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) || rounds[0].len() < 11 {
        let (a, b) = (nanoseconds(&mut a), nanoseconds(&mut b));
        for (times, time) in rounds.iter_mut().zip([a, b, b / a]) {
            times.push(time);
        }
    }
    rounds.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Of one call, of as many as take a tenth of a millisecond, after one that brings its data into the caches.
fn nanoseconds<R>(call: &mut impl FnMut() -> R) -> f64 {
    black_box(call());
    let start = Instant::now();
    let mut calls = 0.0;
    while calls == 0.0 || start.elapsed() < Duration::from_micros(100) {
        black_box(call());
        calls += 1.0;
    }
    start.elapsed().as_nanos() as f64 / calls
}
