//! How a batch is split over threads: a queue of parts.

#[cfg(feature = "linear")]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, Operation};
use crate::element::Real;
use crate::helpers;
use crate::kernel::tree::{Merge, split_point};
use crate::rows::Split;
use crate::tile::{self, Tiled};

/// Elements below which a batch stays on the calling thread: some 40 microseconds of softmax.
///
/// Measured with this at 1024, on two cores with AVX-512, softmax of rows of 1000, two threads beside one: calls one
/// after the other gain from 128 000 elements on (1.7 times the speed; 64 000: 0.7). `cargo bench --bench threads` shows what
/// comes of it.
///
/// Miri, which takes minutes for as many elements, sees the same code split less.
pub(crate) const SERIAL_BELOW: usize = if cfg!(miri) { 64 } else { 120_000 };

/// Runs a kernel over a batch on the calling thread and the others of the caller's rayon pool.
#[inline]
pub(crate) fn spread<R: Real, D: Tiled<R>, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D::Dense, Output: Merge + Send> + Sync,
{
    // As many of softmax take that time.
    let elements = data.elements() / K::LIGHTNESS;
    if elements < SERIAL_BELOW || data.rows() < 2 {
        return tile::run(backend, kernel, data);
    }
    spread_over(helpers::threads(elements), backend, kernel, data)
}

/// The same with so many threads.
pub(crate) fn spread_over<R: Real, D: Tiled<R>, K>(
    threads: usize,
    backend: Backend,
    kernel: &K,
    data: D,
) -> K::Output
where
    K: Operation<D::Dense, Output: Merge + Send> + Sync,
{
    let (elements, rows) = (data.elements() / K::LIGHTNESS, data.rows());
    let mut part = rows_of_a_part(rows, elements, threads);
    let together = tile::together(&data);
    if rows / together >= threads {
        // Both are powers of two.
        part = part.max(together);
    }
    let parts = rows.div_ceil(part);
    if threads < 2 || parts < 2 {
        return tile::run(backend, kernel, data);
    }
    let queue = Mutex::new(Queue {
        rest: Some(data),
        part,
        taken: 0,
        results: [const { None }; MAX_PARTS],
    });
    let work = || {
        let mut elements = 0;
        let mut next = lock(&queue).take();
        while let Some((i, part)) = next {
            elements += part.elements() / K::LIGHTNESS;
            let result = tile::run(backend, kernel, part);
            let mut queue = lock(&queue);
            queue.results[i] = Some(result);
            next = queue.take();
        }
        elements
    };
    helpers::share(helpers_for(elements, threads.min(parts)), &work);
    let mut queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    merged(&mut queue.results[..parts])
        .unwrap_or_else(|| unreachable!("every part that was taken has been run"))
}

/// Does work for each of these, which takes as long as so many elements of softmax, on so many threads at most.
#[cfg(feature = "linear")]
pub(crate) fn each<I: Iterator<Item: Send> + Send>(
    threads: usize,
    elements: usize,
    items: I,
    work: impl Fn(I::Item) + Sync,
) {
    let is_small = threads < 2 || elements < SERIAL_BELOW;
    let threads = if is_small {
        1
    } else {
        threads.min(helpers::threads(elements))
    };
    if threads < 2 {
        return items.for_each(work);
    }
    let (queue, workers) = (Mutex::new(items.fuse()), AtomicUsize::new(0));
    let each = || {
        // Jobs that wait since an earlier call come as well.
        if workers.fetch_add(1, Relaxed) >= threads {
            return 0;
        }
        let mut share = 0;
        let mut next = lock(&queue).next();
        while let Some(item) = next {
            work(item);
            // As if all had the same; what counts is whether it was worth the call.
            share = elements / threads;
            next = lock(&queue).next();
        }
        share
    };
    helpers::share(helpers_for(elements, threads), &each);
}

/// How many threads to ask for help, of so many: each has half as much to do as makes a batch worth it.
pub(crate) fn helpers_for(elements: usize, threads: usize) -> usize {
    threads.min((2 * elements / SERIAL_BELOW).max(2)) - 1
}

/// More parts than this a batch is not cut into, so that there is room for their results.
const MAX_PARTS: usize = 512;

/// Rows of a part, a power of two: so parts are nodes of the tree over the rows.
fn rows_of_a_part(rows: usize, elements: usize, threads: usize) -> usize {
    // More parts than threads, since parts are uneven and cores are busy unevenly.
    let elements_of_a_part = (elements / (8 * threads)).max(SERIAL_BELOW / 16);
    let fit = elements_of_a_part / elements.div_ceil(rows);
    let least = rows.div_ceil(MAX_PARTS).next_power_of_two();
    least.max(1 << fit.max(1).ilog2())
}

/// A batch that threads take parts of.
struct Queue<D, R> {
    /// The rows that no thread has taken.
    rest: Option<D>,
    /// Rows of a part; the last one may be shorter.
    part: usize,
    /// Parts that were taken.
    taken: usize,
    /// Of each part that has been run.
    results: [Option<R>; MAX_PARTS],
}

impl<D: Split, R> Queue<D, R> {
    /// The next part and its index.
    fn take(&mut self) -> Option<(usize, D)> {
        let mut part = self.rest.take()?;
        if part.rows() > self.part {
            let (head, tail) = part.split_at(self.part);
            self.rest = Some(tail);
            part = head;
        }
        self.taken += 1;
        Some((self.taken - 1, part))
    }
}

/// The queue: a thread that panicked has left it whole.
pub(crate) fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The results of all parts, merged along the tree: the bits are those of one run over the whole batch.
pub(crate) fn merged<R: Merge>(results: &mut [Option<R>]) -> Option<R> {
    if let [result] = results {
        return result.take();
    }
    let (head, tail) = results.split_at_mut(split_point(results.len()));
    Some(merged(head)?.merge(merged(tail)?))
}

#[cfg(test)]
mod tests {
    use super::{MAX_PARTS, SERIAL_BELOW, rows_of_a_part, spread};
    use crate::backend::Backend;
    use crate::batch::Batch;
    use crate::helpers::tests::wait_until;
    use crate::kernel::tree::Merge;
    use crate::rows::{Pass as _, Rows, Split as _};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Notes what is in each part: its first element, and how many rows.
    struct Note;

    #[derive(Debug, PartialEq)]
    struct Parts(Vec<(f32, usize)>);

    impl Merge for Parts {
        fn merge(mut self, right: Self) -> Self {
            self.0.extend(right.0);
            self
        }
    }

    impl Kernel<Rows<'_, f32, 1>> for Note {
        type Output = Parts;
        fn simd<S: Simd>(&self, _: S, mut rows: Rows<'_, f32, 1>) -> Parts {
            let count = rows.rows();
            let first = rows.next().map_or(f32::NAN, |row| row.get(0, 0));
            Parts(vec![(first, count)])
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Note {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> Parts {
            unreachable!("the backend is another")
        }
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    #[expect(clippy::float_cmp, reason = "these are integers")]
    fn large_batches_are_spread_and_no_others() {
        const CLASSES: usize = 32;
        // A multiple of no part.
        let rows = 3 * SERIAL_BELOW / CLASSES + 1;
        let x: Vec<f32> = (0..rows * CLASSES).map(|i| (i / CLASSES) as f32).collect();
        let spread = |rows: usize| {
            let x = &x[..rows * CLASSES];
            let rows = Batch::new([x], CLASSES.into()).unwrap();
            spread(Backend::named("portable").unwrap(), &Note, rows).0
        };
        let on = |threads: usize, rows: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| spread(rows))
        };
        let small = SERIAL_BELOW / CLASSES - 1;
        assert_eq!(on(1, rows), [(0.0, rows)], "one thread");
        assert_eq!(on(2, small), [(0.0, small)], "a small batch");
        assert_eq!(spread(small), [(0.0, small)], "a small batch, and no pool");

        let parts = on(2, rows);
        let part = rows_of_a_part(rows, x.len(), 2);
        assert!(part.is_power_of_two() && (8..=64).contains(&(rows / part)));
        assert_eq!(parts.len(), rows.div_ceil(part));
        for (i, &(first, count)) in parts.iter().enumerate() {
            assert_eq!(first, (i * part) as f32, "in order");
            assert_eq!(count, part.min(rows - i * part), "all of them");
        }
        // The caller's thread belongs to no pool, and shares the work with the global one.
        let parts = spread(rows);
        assert_eq!(parts.iter().map(|&(_, rows)| rows).sum::<usize>(), rows);
        assert!(parts.is_sorted(), "{parts:?}");
    }

    /// A thread that has begun a part waits until another one has.
    struct Meet(AtomicUsize);

    impl Kernel<Rows<'_, f32, 1>> for Meet {
        type Output = ();
        fn simd<S: Simd>(&self, _: S, _: Rows<'_, f32, 1>) {
            self.0.fetch_add(1, SeqCst);
            wait_until("a second thread", || self.0.load(SeqCst) > 1);
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Meet {
        fn scalar(&self, _: Rows<'_, f32, 1>) {
            unreachable!("the backend is another")
        }
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn more_than_one_thread_works() {
        let x = vec![0.0_f32; 2 * SERIAL_BELOW];
        let run = || {
            let rows = Batch::new([&x[..]], 16.into()).unwrap();
            let backend = Backend::named("portable").unwrap();
            spread(backend, &Meet(AtomicUsize::new(0)), rows);
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let pool = pool.unwrap();
        pool.install(run);
        // By a thread of no pool, if the global one has threads.
        if super::helpers::threads(usize::MAX) > 1 {
            run();
        }
    }

    /// Jobs that wait in the pool since an earlier call do not make it more threads than were asked for.
    #[cfg(feature = "linear")]
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn no_more_threads_than_asked_for() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build();
        pool.unwrap().install(|| {
            for round in 0..50 {
                // Leaves jobs behind.
                crate::helpers::share(3, &|| 1);
                let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
                super::each(2, 2 * SERIAL_BELOW, 0..20, |_| {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::sleep(std::time::Duration::from_micros(200));
                    now.fetch_sub(1, SeqCst);
                });
                let most = most.into_inner();
                assert!((1..=2).contains(&most), "{most} threads in round {round}");
            }
        });
    }

    #[test]
    fn there_is_room_for_all_parts() {
        let large = 1 << 40;
        for threads in [2, 3, 64, 1000] {
            for (rows, elements) in [(2, large), (1000, large), (large / 2, large)] {
                let part = rows_of_a_part(rows, elements, threads);
                let parts = rows.div_ceil(part);
                assert!(part.is_power_of_two() && parts <= MAX_PARTS);
                assert!(parts >= rows.min(8 * threads).min(MAX_PARTS / 2));
            }
        }
    }
}
