//! Threads that help with the work of a call. The only file that names rayon.

use std::error::Error as _;
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
        || *MADE.get_or_init(|| {
            let made = rayon::ThreadPoolBuilder::new().build_global();
            // The system's errors have a source; the other is that there is a pool.
            made.map_or_else(|error| error.source().is_none(), |()| true)
        })
}

/// Runs `work` here and, at the same time, on up to `helpers` threads of that pool; returns when it has returned
/// everywhere.
///
/// A thread that has not begun by the time `work` returns here stays out of it. So a call does not wait for
/// threads that sleep or are busy; nor does it do other work of the pool meanwhile, which might want a lock
/// that the caller holds. Rayon's scopes do both.
pub fn share(helpers: usize, work: &(dyn Fn() + Sync)) {
    // SAFETY: only the lifetime changes. What is offered is called by nobody after `offer` is closed, which it is,
    // with all calls over, before this function returns or unwinds.
    let work =
        unsafe { core::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
    let offer = Arc::new(Offer {
        state: Mutex::new(State {
            work: Some(work),
            helpers: 0,
        }),
        left: Condvar::new(),
    });
    let open = Open(&offer);
    for _ in 0..helpers {
        let offer = Arc::clone(&offer);
        rayon::spawn(move || offer.help());
    }
    work();
    drop(open);
}

/// How often the caller looks whether its helpers are done before it sleeps: some 200 microseconds of waiting.
const TRIES: usize = if cfg!(miri) { 2 } else { 400 };

/// Work that is offered to other threads.
struct Offer {
    state: Mutex<State>,
    /// A helper has left.
    left: Condvar,
}

struct State {
    /// `None`: closed.
    work: Option<&'static (dyn Fn() + Sync)>,
    /// Threads that are at work.
    helpers: usize,
}

impl Offer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work, unless that is closed.
    fn help(&self) {
        let mut state = self.lock();
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
mod tests {
    use super::{share, threads};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// On a thread of a pool of two.
    fn in_a_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            assert_eq!(threads(), 2);
            f()
        })
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
            share(1, &|| {
                runs.fetch_add(1, SeqCst);
            });
            free.send(()).unwrap();
            // The helper that comes now finds it closed.
            rayon::join(rayon::yield_now, rayon::yield_now);
        });
        // The pool has ended, and all its jobs with it.
        assert_eq!(runs.into_inner(), 1);
    }

    #[test]
    fn helpers_that_have_begun_are_waited_for() {
        for panics in [false, true] {
            let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let result = in_a_pool(|| {
                let caller = thread::current().id();
                let work = || {
                    if thread::current().id() == caller {
                        while begun.load(SeqCst) == 0 {
                            thread::yield_now();
                        }
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
