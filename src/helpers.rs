//! Threads that help with the work of a call. The only file that names rayon.

use std::error::Error as _;
use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Threads of the pool that the caller is in, or else of the global one; 1 if the system refuses to make it.
///
/// It is also 1 if they seem to sleep, and to wake them for work on so many elements does not pay: see [`PRICE`]. (Not
/// in tests, which debug assertions tell.)
pub fn threads(elements: usize) -> usize {
    if rayon::current_thread_index().is_none() && !has_global_pool() {
        return 1;
    }
    let asks = OFFER.try_with(|offer| offer.lock().asks(elements));
    if asks.unwrap_or_default() || cfg!(debug_assertions) {
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
    let missing = offer.missing(helpers);
    if missing > 0 {
        let begin = Instant::now();
        for _ in 0..missing {
            let offer = Arc::clone(&offer);
            rayon::spawn(move || offer.help());
        }
        offer.lock().cost = begin.elapsed();
    }
    work();
    drop(open);
}

/// How often the caller looks whether its helpers are done before it sleeps: some 200 microseconds of waiting.
const TRIES: usize = if cfg!(miri) { 2 } else { 400 };

/// After so long without a job, a thread of a pool sleeps.
const AWAKE: Duration = Duration::from_micros(50);

/// Elements that are worked on alone, for each nanosecond that it took to wake threads in vain, before they are woken again: so
/// a sixteenth of the time may be lost. They take some 0.3 nanoseconds each.
const PRICE: usize = 16 * 3;

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
    /// When one was last taken, or done.
    seen: Option<Instant>,
    /// Elements that will be worked on alone before threads that sleep are woken.
    alone: usize,
    /// Whether they were woken for this work, how long that took, and how long helpers were at it.
    has_woken: bool,
    cost: Duration,
    help: Duration,
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
        state.seen = Some(Instant::now());
        if let Some(work) = state.work {
            state.helpers += 1;
            drop(state);
            let _at_work = AtWork(self, Instant::now());
            work();
        }
    }
}

impl State {
    /// Whether to ask for help with so many elements: if threads are on their way, or seem to be awake, or it is time to
    /// wake them.
    fn asks(&mut self, elements: usize) -> bool {
        if self.jobs > 0 || self.seen.is_some_and(|seen| seen.elapsed() < AWAKE) {
            return true;
        }
        self.has_woken = self.alone <= elements;
        self.alone = self.alone.saturating_sub(elements);
        self.has_woken
    }

    /// Whether the helpers have left. If so, learns whether it was worth to wake them.
    fn is_over(&mut self) -> bool {
        if self.helpers > 0 {
            return false;
        }
        if self.has_woken && self.help < self.cost {
            self.alone = PRICE * self.cost.as_nanos() as usize;
        }
        self.has_woken = false;
        (self.cost, self.help) = (Duration::ZERO, Duration::ZERO);
        true
    }
}

/// A helper since then, who leaves when this is dropped, be it by unwinding.
struct AtWork<'a>(&'a Offer, Instant);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.helpers -= 1;
        let now = Instant::now();
        state.seen = Some(now);
        state.help += now - self.1;
        drop(state);
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
            if self.0.lock().is_over() {
                return;
            }
            (0..32).for_each(|_| core::hint::spin_loop());
        }
        let mut state = self.0.lock();
        while !state.is_over() {
            let waited = self.0.left.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub mod tests {
    use super::{AWAKE, OFFER, PRICE, State, share, threads};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// On a thread of a pool of two.
    fn in_a_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            assert_eq!(threads(usize::MAX), 2);
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

    /// As many elements are done alone as the waking has cost.
    #[test]
    fn threads_that_sleep_are_seldom_woken() {
        let micros = Duration::from_micros;
        let mut state = State::default();
        for (cost, help, alone) in [(30, 0, true), (2, 0, true), (30, 31, false)] {
            assert!(state.asks(1), "at first");
            (state.cost, state.help) = (micros(cost), micros(help));
            state.helpers = 1;
            assert!(!state.is_over());
            state.helpers = 0;
            assert!(state.is_over());
            let price = if alone {
                PRICE * cost as usize * 1000
            } else {
                0
            };
            assert_eq!(state.alone, price);
            if alone {
                assert!(!state.asks(price / 2), "all of it is left");
                assert!(!state.asks(price / 2 - 1), "half of it is left");
            }
        }
        // Those that are on their way, or have just been here, need not be woken.
        state.alone = usize::MAX;
        state.jobs = 1;
        assert!(state.asks(1));
        (state.jobs, state.seen) = (0, Some(Instant::now()));
        assert!(state.asks(1));
        state.seen = Instant::now().checked_sub(10 * AWAKE);
        assert!(!state.asks(1));
        assert!(state.asks(usize::MAX), "much work");
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
