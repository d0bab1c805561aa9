//! Threads that help with the work of a call. The only file that names rayon.

use std::error::Error as _;
use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Threads of the pool that the caller is in, or else of the global one; 1 if the system refuses to make it.
pub fn threads() -> usize {
    if rayon::current_thread_index().is_some() || has_global_pool() {
        rayon::current_num_threads()
    } else {
        1
    }
}

/// Whether there is a global pool. It is made here, if by nobody before: where rayon makes it by itself, it
/// panics if the system refuses its threads. (Not so on wasm, where it goes without threads.)
fn has_global_pool() -> bool {
    static MADE: OnceLock<bool> = OnceLock::new();
    cfg!(target_family = "wasm")
        || *MADE.get_or_init(|| match rayon::ThreadPoolBuilder::new().build_global() {
            Ok(()) => true,
            // The system's errors have a source. The other is that somebody tried before; whether there is a pool
            // since, only a panic tells.
            Err(error) => {
                error.source().is_none() && catch_unwind(rayon::current_num_threads).is_ok()
            }
        })
}

thread_local! {
    /// What this thread offers, one call after the other.
    static OFFER: Arc<Offer> = Arc::default();
}

/// Runs `work` here and, at the same time, on up to `helpers` threads of that pool; returns when it has returned
/// everywhere. (If it panics on one of those, rayon ends the process.)
///
/// A thread that has not begun by the time `work` returns here stays out of it. So a call does not wait for
/// threads that sleep or are busy; nor does it do other work of the pool meanwhile, which might want a lock
/// that the caller holds. Rayon's scopes do both.
pub fn share(helpers: usize, work: &(dyn Fn() + Sync)) {
    // A thread that is about to end has none any more.
    let offer = OFFER.try_with(Arc::clone).unwrap_or_default();
    // SAFETY: only the lifetime changes. A helper takes `work` from an open offer, and is counted, under one lock; `open`,
    // which is there before any helper is, closes the offer and waits until none is counted before this function
    // returns or unwinds.
    let work =
        unsafe { core::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
    let open = offer.open(work);
    for _ in 0..offer.missing(helpers) {
        let offer = Arc::clone(&offer);
        rayon::spawn(move || offer.help());
    }
    work();
    drop(open);
}

/// How often the caller looks whether its helpers are done before it sleeps: some 200 microseconds of waiting.
const TRIES: usize = if cfg!(miri) { 2 } else { 400 };

/// Work that is offered to other threads.
#[derive(Default)]
struct Offer {
    state: Mutex<State>,
    /// A helper has left.
    left: Condvar,
}

#[derive(Default)]
struct State {
    /// `None`: closed.
    work: Option<&'static (dyn Fn() + Sync)>,
    /// Threads that are at work.
    helpers: usize,
    /// Jobs of the pool that no thread has taken yet. They stay there when the call is over, and help with the next.
    jobs: usize,
}

impl Offer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers work until the result is dropped.
    fn open(&self, work: &'static (dyn Fn() + Sync)) -> Open<'_> {
        self.lock().work = Some(work);
        Open(self)
    }

    /// How many jobs are missing for so many helpers; from now on they count as there.
    fn missing(&self, helpers: usize) -> usize {
        let mut state = self.lock();
        let missing = helpers.saturating_sub(state.jobs);
        state.jobs += missing;
        missing
    }

    /// A job: does the work, unless that is closed.
    fn help(&self) {
        let mut state = self.lock();
        state.jobs -= 1;
        if let Some(work) = state.work {
            state.helpers += 1;
            drop(state);
            let _at_work = AtWork(self);
            work();
        }
    }
}

/// A helper, who leaves when this is dropped, be it by unwinding.
struct AtWork<'a>(&'a Offer);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.lock().helpers -= 1;
        self.0.left.notify_one();
    }
}

/// An open offer, which is closed when this is dropped, be it by unwinding.
struct Open<'a>(&'a Offer);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().work = None;
        // Helpers are soon done: with the part of a batch that they are at. To sleep until then takes longer.
        for _ in 0..TRIES {
            if self.0.lock().helpers == 0 {
                return;
            }
            (0..32).for_each(|_| core::hint::spin_loop());
        }
        let mut state = self.0.lock();
        while state.helpers > 0 {
            let waited = self.0.left.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub mod tests {
    use super::{OFFER, share, threads};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// On a thread of a pool of two.
    fn in_a_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            assert_eq!(threads(), 2);
            f()
        })
    }

    /// Waits for what other threads do; not for ever.
    pub fn wait_until(what: &str, done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
            thread::yield_now();
        }
    }

    /// Jobs that this thread has in its pool.
    fn jobs() -> usize {
        OFFER.with(|offer| offer.lock().jobs)
    }

    #[test]
    fn threads_that_are_busy_are_not_waited_for() {
        let runs = AtomicUsize::new(0);
        in_a_pool(|| {
            let (begun, has_begun) = mpsc::channel();
            let (free, is_free) = mpsc::channel::<()>();
            rayon::spawn(move || {
                begun.send(()).unwrap();
                is_free.recv().unwrap();
            });
            has_begun.recv().unwrap();
            for _ in 0..100 {
                share(1, &|| {
                    runs.fetch_add(1, SeqCst);
                });
                assert_eq!(jobs(), 1, "one job, and no more of them");
            }
            free.send(()).unwrap();
            // The helper that comes now finds it closed.
            wait_until("the other thread takes the job", || jobs() == 0);
        });
        assert_eq!(runs.into_inner(), 100);
    }

    #[test]
    fn helpers_that_have_begun_are_waited_for() {
        for panics in [false, true] {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let result = in_a_pool(|| {
                let caller = thread::current().id();
                let work = || {
                    if thread::current().id() == caller {
                        wait_until("a helper begins", || begun.load(SeqCst) > 0);
                        assert!(!panics, "on purpose");
                    } else {
                        begun.fetch_add(1, SeqCst);
                        // Long enough for the caller to fall asleep.
                        thread::sleep(Duration::from_millis(50));
                        ended.fetch_add(1, SeqCst);
                    }
                };
                let result = catch_unwind(AssertUnwindSafe(|| share(1, &work)));
                assert_eq!(ended.load(SeqCst), 1);
                result
            });
            assert_eq!(result.is_err(), panics);
        }
    }
}
