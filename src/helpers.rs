//! Threads that help with the work of a call. The only file that names rayon.

use std::error::Error as _;
use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Threads of the pool that the caller is in, or else of the global one; 1 if the system refuses to make it.
///
/// It is also 1 if they seem to sleep, and to wake them for work on so many elements does not pay: see [`SHARE`]. (Not
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

/// The same, whether or not it pays: threads that there are.
#[cfg(feature = "linear")]
pub fn all_threads() -> usize {
    if rayon::current_thread_index().is_none() && !has_global_pool() {
        return 1;
    }
    rayon::current_num_threads()
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

/// Work that threads share: it returns how many elements it did.
type Work<'a> = dyn Fn() -> usize + Sync + 'a;

/// The time, where there is a clock.
fn now() -> Option<Instant> {
    (!cfg!(target_family = "wasm")).then(Instant::now)
}

/// How long ago that was.
fn since(time: Option<Instant>) -> Option<Duration> {
    time.map(|time| time.elapsed())
}

thread_local! {
    /// What this thread offers, one call after the other.
    static OFFER: Arc<Offer> = Arc::default();
}

/// Runs `work` here and, at the same time, on up to `helpers` threads of that pool; returns when it has returned
/// everywhere. It returns how many elements it did. (If it panics on one of those, rayon ends the process, unless the pool
/// has a handler.)
///
/// A thread that has not begun by the time `work` returns here stays out of it. So a call does not wait for
/// threads that sleep or are busy; nor does it do other work of the pool meanwhile, which might want a lock
/// that the caller holds. Rayon's scopes do both.
pub fn share(helpers: usize, work: &Work<'_>) {
    // A thread that is about to end has none any more.
    let offer = OFFER.try_with(Arc::clone).unwrap_or_default();
    // SAFETY: only the lifetime changes. A helper takes `work` from an open offer, and is counted, under one lock; `open`,
    // which is there before any helper is, closes the offer and waits until none is counted before this function
    // returns or unwinds.
    let work = unsafe { core::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
    let open = offer.open(work);
    let missing = offer.missing(helpers);
    if missing > 0 {
        let begin = now();
        for _ in 0..missing {
            let offer = Arc::clone(&offer);
            rayon::spawn(move || offer.help());
        }
        offer.lock().cost = since(begin).unwrap_or_default();
    }
    work();
    drop(open);
}

/// How often the caller looks whether its helpers are done before it sleeps: some 200 microseconds of waiting.
const TRIES: usize = if cfg!(miri) { 2 } else { 400 };

/// After so long without a job, a thread of a pool sleeps.
const AWAKE: Duration = Duration::from_micros(50);

/// Elements of softmax that a thread does in a nanosecond on the fastest processor that was measured. Where one does fewer, or other work, threads are woken more
/// seldom than would pay: a call that is a little slower is better than one that has waited.
const SPEED: usize = 6;

/// Of the time that is worked alone, so much may be lost by waking threads in vain: one part in thirty-two. After that, they
/// are not woken again before so many elements are done alone.
const SHARE: usize = 32;

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
    work: Option<&'static Work<'static>>,
    /// Threads that are at work.
    helpers: usize,
    /// Jobs of the pool that no thread has taken yet. They stay there when the call is over, and help with the next.
    jobs: usize,
    /// When one was last taken, or done.
    seen: Option<Instant>,
    /// Elements that will be worked on alone before threads that sleep are woken.
    alone: usize,
    /// How long it took to ask for help with this work, and how many elements helpers did.
    cost: Duration,
    help: usize,
}

impl Offer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers work until the result is dropped.
    fn open(&self, work: &'static Work<'static>) -> Open<'_> {
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
        state.seen = now();
        if let Some(work) = state.work {
            state.helpers += 1;
            drop(state);
            let mut at_work = AtWork(self, 0);
            at_work.1 = work();
        }
    }
}

impl State {
    /// Whether to ask for help with so many elements: if threads are on their way, or seem to be awake, or it is time to
    /// wake them.
    fn asks(&mut self, elements: usize) -> bool {
        let is_awake = since(self.seen).is_some_and(|time| time < AWAKE);
        let pays = self.alone <= elements;
        if self.jobs > 0 || is_awake {
            return true;
        }
        self.alone = self.alone.saturating_sub(elements);
        pays
    }

    /// Whether the helpers have left. If so, learns whether it was worth to ask them.
    fn has_ended(&mut self) -> bool {
        if self.helpers > 0 {
            return false;
        }
        let nanoseconds = usize::try_from(self.cost.as_nanos()).unwrap_or(usize::MAX);
        if self.help < nanoseconds.saturating_mul(SPEED) {
            self.alone = nanoseconds.saturating_mul(SPEED * SHARE);
        }
        (self.cost, self.help) = (Duration::ZERO, 0);
        true
    }
}

/// A helper, who leaves when this is dropped, be it by unwinding; and what it has done.
struct AtWork<'a>(&'a Offer, usize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.helpers -= 1;
        state.seen = now();
        state.help += self.1;
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
            if self.0.lock().has_ended() {
                return;
            }
            (0..32).for_each(|_| core::hint::spin_loop());
        }
        let mut state = self.0.lock();
        while !state.has_ended() {
            let waited = self.0.left.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub mod tests {
    use super::{AWAKE, OFFER, SHARE, SPEED, State, share, threads};
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
                share(1, &|| runs.fetch_add(1, SeqCst));
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
        let mut state = State::default();
        for (micros, help, in_vain) in [(30, 0, true), (2, 11_999, true), (30, 180_000, false)] {
            assert!(state.asks(1), "at first");
            (state.cost, state.help) = (Duration::from_micros(micros), help);
            state.helpers = 1;
            assert!(!state.has_ended());
            state.helpers = 0;
            assert!(state.has_ended());
            if in_vain {
                let alone = SPEED * SHARE * micros as usize * 1000;
                assert_eq!(state.alone, alone);
                assert!(!state.asks(alone / 2), "all of it is left");
                assert!(!state.asks(alone / 2 - 1), "half of it is left");
            }
            // A call that asks nobody changes nothing.
            let alone = state.alone;
            assert!(state.has_ended());
            assert_eq!(state.alone, alone);
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
                    1
                };
                let result = catch_unwind(AssertUnwindSafe(|| share(1, &work)));
                assert_eq!(ended.load(SeqCst), 1);
                result
            });
            assert_eq!(result.is_err(), panics);
        }
    }
}
