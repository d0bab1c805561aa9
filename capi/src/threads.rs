//! Which threads a call may use.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire};
use std::process;
use std::sync::{PoisonError, RwLock};

use softlane::{Error, Exec};

use super::failure::Failure;

/// Elements below which the Rust functions stay on the calling thread, whatever threads there are. So there is
/// nothing to choose.
const SERIAL_BELOW: usize = 120_000;

/// What the caller has chosen.
#[derive(Clone, Debug)]
enum Choice {
    /// Rayon's global pool.
    Default,
    /// The calling thread.
    Serial,
    /// A pool of our own.
    #[cfg(feature = "rayon")]
    Pool(std::sync::Arc<rayon::ThreadPool>),
}

/// The choice in one process.
struct Process {
    id: u32,
    /// Whether this process was forked from one that had made a choice: then rayon's global pool may have lost its threads.
    is_child: bool,
    choice: RwLock<Choice>,
    /// Whether there is a global pool, all of whose threads have begun.
    #[cfg(feature = "rayon")]
    has_global_pool: std::sync::OnceLock<bool>,
}

/// That in the process which asked last. What belongs to an earlier one is never looked at again, nor dropped: threads that
/// are no more may have left its locks held, and those of its pool are gone.
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// The choice in this process, which begins here if need be: before the first threads do.
fn here() -> &'static Process {
    let id = process::id();
    let mut current = PROCESS.load(Acquire);
    loop {
        // SAFETY: null, or one that was leaked below, whole before it was stored.
        let known = unsafe { current.as_ref() };
        if let Some(known) = known.filter(|known| known.id == id) {
            return known;
        }
        let is_child = known.is_some();
        let new = Box::into_raw(Box::new(Process {
            id,
            is_child,
            choice: RwLock::new(default(is_child)),
            #[cfg(feature = "rayon")]
            has_global_pool: std::sync::OnceLock::new(),
        }));
        match PROCESS.compare_exchange(current, new, AcqRel, Acquire) {
            Ok(_) => current = new,
            Err(other) => {
                current = other;
                // SAFETY: made above, and given to nobody.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }
}

fn default(is_child: bool) -> Choice {
    if is_child {
        Choice::Serial
    } else {
        Choice::Default
    }
}

/// Runs work on so many elements.
///
/// # Errors
/// Those of the work.
pub fn on_threads<R: Send>(
    elements: usize,
    work: impl FnOnce(Exec) -> Result<R, Error> + Send,
) -> Result<R, Failure> {
    if elements < SERIAL_BELOW {
        return Ok(work(Exec::new().serial())?);
    }
    let here = here();
    let choice = here.choice.read();
    let choice = choice.unwrap_or_else(PoisonError::into_inner).clone();
    let result = match choice {
        #[cfg(feature = "rayon")]
        Choice::Default if *here.has_global_pool.get_or_init(begin) => work(Exec::new()),
        Choice::Default | Choice::Serial => work(Exec::new().serial()),
        #[cfg(feature = "rayon")]
        Choice::Pool(pool) => pool.install(|| work(Exec::new())),
    };
    Ok(result?)
}

/// Makes the choice.
///
/// # Errors
/// [`Failure::Threads`] if there are not so many. Then the choice is what it was.
pub fn set(count: usize) -> Result<(), Failure> {
    let here = here();
    let choice = match count {
        0 => default(here.is_child),
        1 => Choice::Serial,
        _ => pool(count)?,
    };
    let mut chosen = here.choice.write().unwrap_or_else(PoisonError::into_inner);
    // A pool ends when the calls that are in it have returned.
    let _before = core::mem::replace(&mut *chosen, choice);
    drop(chosen);
    Ok(())
}

/// Begins the threads of the global pool, if the system has any. A fork while they begin might leave locks of the C library or of rayon held in the child, for ever; so
/// this returns when all have begun, and so does [`pool`].
#[cfg(feature = "rayon")]
fn begin() -> bool {
    match builder().build_global() {
        Ok(()) => {
            rayon::broadcast(|_| ());
            true
        }
        // The system's errors have a source. The other is that somebody tried before.
        Err(error) => std::error::Error::source(&error).is_none(),
    }
}

/// A pool that goes on after a panic: the call that it belongs to notices, and fails.
#[cfg(feature = "rayon")]
fn builder() -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().panic_handler(|_| ())
}

#[cfg(feature = "rayon")]
fn pool(count: usize) -> Result<Choice, Failure> {
    let most = rayon::max_num_threads();
    if count > most {
        return Err(Failure::Threads {
            count,
            reason: format!("a pool has {most} at most"),
        });
    }
    builder()
        .num_threads(count)
        .thread_name(|i| format!("softlane-{i}"))
        .build()
        .map(|pool| {
            pool.broadcast(|_| ());
            Choice::Pool(pool.into())
        })
        .map_err(|error| Failure::Threads {
            count,
            reason: error.to_string(),
        })
}

#[cfg(not(feature = "rayon"))]
fn pool(count: usize) -> Result<Choice, Failure> {
    Err(Failure::Threads {
        count,
        reason: "softlane was built without the feature rayon".to_owned(),
    })
}
