//! Contestants that take turns, so that whatever else the machine does meets all of them.

use std::time::{Duration, Instant};

use crate::common::shared::inputs::Rng;

/// The median time in seconds of each of some contestants, who take turns in random order until
/// the time is over.
pub fn medians(contestants: usize, time: Duration, mut run: impl FnMut(usize)) -> Vec<f64> {
    /// How long a turn should be, at least: well above what reading the clock takes.
    const TURN: Duration = Duration::from_micros(300);
    let mut turn = |who, runs: u32| {
        // The one before has left its own data in the caches.
        run(who);
        let start = Instant::now();
        (0..runs).for_each(|_| run(who));
        start.elapsed()
    };
    let runs: Vec<_> = (0..contestants)
        .map(|who| TURN.as_nanos() / turn(who, 1).as_nanos().max(1) + 1)
        .map(|runs| runs.min(1_000_000) as u32)
        .collect();
    let mut times = vec![Vec::new(); contestants];
    let mut order: Vec<usize> = (0..contestants).collect();
    let mut random = Rng::new(0);
    let start = Instant::now();
    while times[0].is_empty() || start.elapsed() < time {
        for i in 1..contestants {
            order.swap(i, random.below(i + 1));
        }
        for &who in &order {
            let seconds = turn(who, runs[who]).as_secs_f64();
            times[who].push(seconds / f64::from(runs[who]));
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}
