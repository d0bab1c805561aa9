//! The speed of a kernel against the scalar path.

use std::hint::black_box;
use std::time::Instant;

use softlane::{Backend, Exec};

/// Rounds of a comparison.
const ROUNDS: usize = 101;

/// Median times, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub scalar: f64,
    pub active: f64,
}

/// Times a call on the scalar path and on the active backend, one thread each, in turn, so that
/// what slows the machine for a while slows both.
pub fn compare<T>(
    mut call: impl FnMut(Exec) -> Result<T, softlane::Error>,
) -> Result<Times, softlane::Error> {
    let mut time = |backend| {
        let start = Instant::now();
        black_box(call(Exec::new().serial().backend(backend))?);
        Ok(start.elapsed().as_nanos() as f64)
    };
    let (scalar, active) = (Backend::named("scalar")?, Backend::active()?);
    let (mut scalar_times, mut active_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        scalar_times.push(time(scalar)?);
        active_times.push(time(active)?);
    }
    Ok(Times {
        scalar: median(scalar_times),
        active: median(active_times),
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
