//! Work on all cores, or on the one thread that there is.

use std::panic;
use std::thread;

/// What `work` returns on each core. Where there are no threads, as on wasm, it is called once.
pub fn on_all_cores<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores == 1 {
        return vec![work()];
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(&work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, T>| {
            worker.join().unwrap_or_else(|p| panic::resume_unwind(p))
        };
        workers.into_iter().map(join).collect()
    })
}
