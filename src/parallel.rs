//! How a batch is split over threads. The only file that names rayon.

use crate::backend::{Backend, Operation};
use crate::kernel::tree::{Merge, split_point};
use crate::rows::Split;

#[cfg(feature = "rayon")]
use rayon::join;

/// Threads of the pool that the caller is in, or else of the global one; 1 if the system refuses to make it.
#[cfg(feature = "rayon")]
fn current_num_threads() -> usize {
    if rayon::current_thread_index().is_some() || has_global_pool() {
        rayon::current_num_threads()
    } else {
        1
    }
}

/// Whether there is a global pool. It is made here, if by nobody before: where rayon makes it by itself, it
/// panics if the system refuses its threads. (Not so on wasm, where it goes without threads.)
#[cfg(feature = "rayon")]
fn has_global_pool() -> bool {
    use std::error::Error as _;
    use std::sync::OnceLock;

    static MADE: OnceLock<bool> = OnceLock::new();
    cfg!(target_family = "wasm")
        || *MADE.get_or_init(|| {
            let made = rayon::ThreadPoolBuilder::new().build_global();
            // The system's errors have a source; the other is that there is a pool.
            made.map_or_else(|error| error.source().is_none(), |()| true)
        })
}

/// One thread.
#[cfg(not(feature = "rayon"))]
fn current_num_threads() -> usize {
    1
}

/// Both, one after the other.
#[cfg(not(feature = "rayon"))]
fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
    (a(), b())
}

/// Elements below which a batch stays on the calling thread: some 100 microseconds of softmax.
///
/// Measured with this at 1024, on two cores with AVX-512, one call after the other in turn with a serial
/// one: two threads do 65 536 elements (rows of 1000) at 0.66 of the speed of one, 131 072 at 0.94 and
/// 262 144 at 1.33. Waking threads is what it costs; where they have slept for a millisecond, they win
/// from 1 000 000 elements on.
///
/// Miri, which takes minutes for as many elements, sees the same code split less.
const SERIAL_BELOW: usize = if cfg!(miri) { 64 } else { 256 * 1024 };

/// Runs a kernel over a batch on the calling thread.
pub(crate) fn serial<D: Split, K: Operation<D>>(
    backend: Backend,
    kernel: &K,
    data: D,
) -> K::Output {
    backend.run(kernel, data)
}

/// Runs a kernel over a batch on the threads of the caller's rayon pool.
pub(crate) fn spread<D: Split, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D, Output: Merge + Send> + Sync,
{
    let elements = data.elements();
    if elements < SERIAL_BELOW || current_num_threads() < 2 {
        return serial(backend, kernel, data);
    }
    // More parts than threads, since parts are uneven and cores are busy unevenly.
    let part = (elements / (4 * current_num_threads())).max(SERIAL_BELOW / 2);
    let classes = elements.div_ceil(data.rows().max(1));
    cut(backend, kernel, data, (part / classes).max(1))
}

/// Cuts the batch down to parts of at most `rows` rows.
///
/// It is cut where the tree over its rows is ([`split_point`]), so the merged results have the same
/// bits as those of one run over the whole batch.
fn cut<D: Split, K>(backend: Backend, kernel: &K, data: D, rows: usize) -> K::Output
where
    K: Operation<D, Output: Merge + Send> + Sync,
{
    if data.rows() <= rows {
        return serial(backend, kernel, data);
    }
    let at = split_point(data.rows());
    let (head, tail) = data.split_at(at);
    let (head, tail) = join(
        || cut(backend, kernel, head, rows),
        || cut(backend, kernel, tail, rows),
    );
    head.merge(tail)
}

#[cfg(all(test, feature = "rayon"))]
mod tests {
    use super::{SERIAL_BELOW, serial, spread};
    use crate::backend::Backend;
    use crate::kernel::tree::Merge;
    use crate::rows::{Rows, Split as _};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd};

    /// Notes how many rows each part has, and whether a thread of the pool runs it.
    struct Note;

    #[derive(Debug, PartialEq)]
    struct Parts(Vec<(usize, bool)>);

    impl Merge for Parts {
        fn merge(mut self, right: Self) -> Self {
            self.0.extend(right.0);
            self
        }
    }

    impl Kernel<Rows<'_, f32, 1>> for Note {
        type Output = Parts;
        fn simd<S: Simd>(&self, _: S, rows: Rows<'_, f32, 1>) -> Parts {
            Parts(vec![(rows.rows(), rayon::current_thread_index().is_some())])
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Note {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> Parts {
            unreachable!("the backend is another")
        }
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn large_batches_are_spread_and_no_others() {
        const CLASSES: usize = 32;
        let x = vec![0.0; 3 * SERIAL_BELOW];
        let backend = Backend::named("portable").unwrap();
        let on = |threads: usize, elements: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let rows = Rows::new([&x[..elements]], CLASSES).unwrap();
            let parts = pool
                .build()
                .unwrap()
                .install(|| spread(backend, &Note, rows));
            assert!(parts.0.iter().all(|&(_, pooled)| pooled));
            parts
                .0
                .into_iter()
                .map(|(rows, _)| rows)
                .collect::<Vec<_>>()
        };
        let rows = |elements: usize| elements / CLASSES;
        assert_eq!(on(1, x.len()), [rows(x.len())], "one thread");
        let below = SERIAL_BELOW - CLASSES;
        assert_eq!(on(2, below), [rows(below)], "a small batch");
        let parts = on(2, x.len());
        assert!(parts.len() > 2, "{parts:?}");
        assert_eq!(parts.iter().sum::<usize>(), rows(x.len()), "{parts:?}");
        assert!(
            parts.iter().all(|&part| part >= rows(SERIAL_BELOW / 4)),
            "{parts:?}"
        );
        // The caller's thread alone, which belongs to no pool.
        let all = Rows::new([&x[..]], CLASSES).unwrap();
        let parts = serial(backend, &Note, all);
        assert_eq!(parts, Parts(vec![(rows(x.len()), false)]));
    }
}
