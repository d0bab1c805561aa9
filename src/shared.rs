//! Few long rows on many threads: each row is cut into parts, which go through its steps together.

use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::backend::{Backend, Isa, Operation};
use crate::element::Real;
use crate::helpers;
use crate::kernel::step::{Close, InSteps, OfPart, Open, Shared};
use crate::kernel::tree::{Merge, split_point};
use crate::parallel::{self, SERIAL_BELOW, helpers_for, lock, merged};
use crate::rows::{CHUNK, Columns, Split};
use crate::tile::Tiled;

/// Elements below which a row stays on one thread.
const LONG: usize = if SERIAL_BELOW > CHUNK {
    SERIAL_BELOW
} else {
    // Miri's.
    CHUNK + 1
};

/// More parts than this a row is not cut into.
const MAX_PARTS: usize = 64;

/// Runs a kernel over a batch on the calling thread and the others of the caller's rayon pool: row by row, if they are
/// long and fewer than the threads. (Rows that have to be copied stay on one thread each.)
#[inline]
pub(crate) fn spread<T: Real, D: Tiled<T>, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D::Dense, Output: Merge + Send> + Shared<D::Dense> + Sync,
{
    let (elements, rows) = (data.elements(), data.rows());
    match backend.isa() {
        Some(isa)
            // Without a division for a call that is small.
            if rows > 0
                && elements >= LONG
                && elements / rows >= LONG
                && data.has_dense_rows() =>
        {
            let threads = helpers::threads(elements);
            if rows < threads {
                few(isa, kernel, data, threads)
            } else {
                parallel::spread_over(threads, backend, kernel, data)
            }
        }
        _ => parallel::spread(backend, kernel, data),
    }
}

/// Runs a kernel over a few rows, one after the other.
fn few<T: Real, D: Tiled<T>, K>(isa: Isa, kernel: &K, data: D, threads: usize) -> K::Output
where
    K: Shared<D::Dense, Output: Merge>,
{
    let rows = data.rows();
    if rows == 1 {
        return one(isa, kernel, data.into_dense(), threads);
    }
    let (head, tail) = data.split_at(split_point(rows));
    let head = few(isa, kernel, head, threads);
    head.merge(few(isa, kernel, tail, threads))
}

/// Runs a kernel over one row.
fn one<D, K: Shared<D>>(isa: Isa, kernel: &K, data: D, threads: usize) -> K::Output {
    let Open { work, chunks, rest } = match kernel.open(data) {
        Ok(open) => open,
        Err(output) => return output,
    };
    let count = chunks.rows();
    let chunks_of_a_part = chunks_of_a_part(count, threads);
    let parts = count.div_ceil(chunks_of_a_part);
    let team = Mutex::new(Team::new(chunks, chunks_of_a_part, &work));
    let progress = Progress::default();
    let run = || {
        let from_back = lock(&team).join();
        let (mut done, mut steps) = (None, 0);
        loop {
            let mut held = lock(&team);
            if let Some((i, part, found)) = done.take() {
                steps += 1;
                if held.give(i, part, found, &work) {
                    progress.begin(held.begun);
                }
            }
            let (task, begun) = (held.take(from_back), held.begun);
            drop(held);
            match task {
                Task::Part(i, mut part, step) => {
                    let in_hand = InHand(&team, &progress);
                    let of_part = OfPart {
                        work: &work,
                        step,
                        start: i * chunks_of_a_part * CHUNK,
                    };
                    let found = isa.run(&of_part, &mut part);
                    core::mem::forget(in_hand);
                    done = Some((i, part, found));
                }
                Task::Wait => progress.wait(&team, begun),
                Task::Done => break,
            }
        }
        steps * chunks_of_a_part * CHUNK / STEPS
    };
    helpers::share(helpers_for(count * CHUNK, threads.min(parts)), &run);
    let team = team.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Not silently, where a pool goes on after that.
    assert!(!team.has_failed, "a thread that shared a row panicked");
    let close = Close::<D, K> {
        kernel,
        work: &work,
        last: team.step,
    };
    isa.run(&close, rest)
}

/// Chunks of a part, a power of two: so parts are nodes of the tree over the chunks.
fn chunks_of_a_part(chunks: usize, threads: usize) -> usize {
    let most = threads.saturating_mul(8).min(MAX_PARTS);
    chunks.div_ceil(most).next_power_of_two()
}

/// Steps of a row, about.
const STEPS: usize = 3;

/// The steps of a team that have begun, for those who wait for the next.
#[derive(Default)]
struct Progress {
    /// They look here first, and leave the lock to those who work.
    begun: AtomicUsize,
    changed: Condvar,
}

impl Progress {
    /// So many have begun. The team is locked.
    fn begin(&self, steps: usize) {
        self.begun.store(steps, Relaxed);
        self.changed.notify_all();
    }

    /// Waits until another step begins: soon, unless the system has stopped a thread that works.
    fn wait<T: Real, R, W: InSteps<T, R>>(&self, team: &Mutex<Team<T, R, W>>, step: usize) {
        for _ in 0..TRIES {
            if self.begun.load(Relaxed) != step {
                return;
            }
            core::hint::spin_loop();
        }
        let mut held = lock(team);
        while held.begun == step {
            held = self
                .changed
                .wait(held)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// How often to look before sleeping on it: some 50 microseconds.
const TRIES: usize = if cfg!(miri) { 2 } else { 2000 };

/// The parts of a row, and the step that they are at.
struct Team<T: Real, R, W: InSteps<T, R>> {
    parts: [Option<R>; MAX_PARTS],
    /// How many there are.
    count: usize,
    step: W::Step,
    /// Steps that have begun, and the end.
    begun: usize,
    /// Those that have not begun the step.
    left: Range<usize>,
    /// How many have not done it.
    undone: usize,
    /// Of those that have.
    found: [Option<W::Found>; MAX_PARTS],
    is_over: bool,
    /// Whether a thread panicked.
    has_failed: bool,
    /// Threads that have joined.
    threads: usize,
}

/// What a thread does next.
enum Task<R, S> {
    /// A step of a part.
    Part(usize, R, S),
    /// Wait for the parts of others.
    Wait,
    Done,
}

impl<T: Real, R: Columns<T>, W: InSteps<T, R>> Team<T, R, W> {
    /// Cuts a row.
    fn new(row: R, chunks_of_a_part: usize, work: &W) -> Self {
        let mut parts = [const { None }; MAX_PARTS];
        let (mut rest, mut count) = (row, 0);
        while rest.rows() > 0 {
            let (part, others) = rest.split_at(chunks_of_a_part);
            parts[count] = Some(part);
            (rest, count) = (others, count + 1);
        }
        Self {
            parts,
            count,
            step: work.first(),
            begun: 0,
            left: 0..count,
            undone: count,
            found: [const { None }; MAX_PARTS],
            is_over: false,
            has_failed: false,
            threads: 0,
        }
    }

    /// One more thread. Whether it takes the last parts first: so each of two threads has, in each step, parts that
    /// it had before, and its caches hold.
    fn join(&mut self) -> bool {
        self.threads += 1;
        self.threads.is_multiple_of(2)
    }

    fn take(&mut self, from_back: bool) -> Task<R, W::Step> {
        if self.is_over {
            return Task::Done;
        }
        let next = if from_back {
            self.left.next_back()
        } else {
            self.left.next()
        };
        let part = next.and_then(|i| Some((i, self.parts[i].take()?)));
        part.map_or(Task::Wait, |(i, part)| Task::Part(i, part, self.step))
    }

    /// Takes a part back, and what it has found. The last one begins the next step: then it returns true.
    fn give(&mut self, i: usize, part: R, found: W::Found, work: &W) -> bool {
        self.parts[i] = Some(part);
        self.found[i] = Some(found);
        self.undone -= 1;
        if self.undone > 0 {
            return false;
        }
        self.begun += 1;
        let found = merged(&mut self.found[..self.count]);
        match found.and_then(|found| work.next(self.step, found)) {
            Some(next) => {
                self.step = next;
                // Nothing is left to do where nothing is written.
                self.is_over = !R::WRITES && W::is_last(&next);
                (self.left, self.undone) = (0..self.count, self.count);
            }
            None => self.is_over = true,
        }
        true
    }
}

/// A part in the hands of a thread. If this is dropped, that thread panicked, and the others need not wait for it.
struct InHand<'a, T: Real, R, W: InSteps<T, R>>(&'a Mutex<Team<T, R, W>>, &'a Progress);

impl<T: Real, R, W: InSteps<T, R>> Drop for InHand<'_, T, R, W> {
    fn drop(&mut self) {
        let mut team = lock(self.0);
        (team.is_over, team.has_failed) = (true, true);
        team.begun += 1;
        self.1.begin(team.begun);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::{LONG, MAX_PARTS, Task, Team, chunks_of_a_part, spread};
    use crate::backend::{Backend, Isa};
    use crate::batch::BatchMut;
    use crate::helpers::tests::wait_until;
    use crate::kernel::backward::{self, Backward};
    use crate::kernel::logsumexp::LogSumExp;
    use crate::kernel::row::{LeftOut, Ordinary, RowWork};
    use crate::kernel::step::{InSteps, OfPart, Step, Weighing};
    use crate::kernel::weights::Extent;
    use crate::rows::{CHUNK, Columns, Pass, Recut as _, Rows, RowsMut};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    fn portable() -> Isa {
        Backend::named("portable").unwrap().isa().unwrap()
    }

    /// The last step of a row, by parts of so many chunks.
    fn last_step<R: Columns<f32>, W: InSteps<f32, R>>(row: R, chunks: usize, work: &W) -> W::Step {
        let mut team = Team::new(row, chunks, work);
        let mut from_back = false;
        loop {
            // From both ends, as two threads take them.
            from_back = !from_back;
            match team.take(from_back) {
                Task::Part(i, mut part, step) => {
                    let start = i * chunks * CHUNK;
                    let of_part = OfPart { work, step, start };
                    let found = portable().run(&of_part, &mut part);
                    team.give(i, part, found, work);
                }
                Task::Wait => unreachable!("nobody else has a part"),
                Task::Done => return team.step,
            }
        }
    }

    /// The sum of the weights of a row, by parts of so many chunks.
    fn weights_by_parts(x: &[f32], chunks: usize) -> f64 {
        let step = last_step(Rows::flat(x), chunks, &Weighing(LogSumExp));
        let Step::Results(_, _, _, (sum, ..)) = step else {
            unreachable!("the row is an ordinary one");
        };
        sum
    }

    /// What a backward pass sums where `y` and `dy` are the same, by parts.
    fn total_by_parts<const LOG: bool>(x: &[f32], chunks: usize) -> f64 {
        let row = Rows::new([x, x], x.len()).unwrap().in_chunks();
        let backward::Step::Results(total) = last_step(row, chunks, &Backward::<LOG>) else {
            unreachable!("the sum is finite");
        };
        total
    }

    /// Of a row, by parts of so many chunks.
    type Sum = fn(&[f32], usize) -> f64;

    /// Before they are rounded to `f32`, where the order of additions hardly shows.
    #[test]
    fn sums_of_parts_are_those_of_the_row() {
        let x: Vec<f32> = (0..70 * CHUNK)
            .map(|i| (i * 7919 % 10_007) as f32 / 500.0)
            .collect();
        let weights: Vec<f32> = x.iter().map(|x| x.exp()).collect();
        let sums: [(Sum, &[f32]); 3] = [
            (weights_by_parts, &x),
            (total_by_parts::<false>, &weights),
            (total_by_parts::<true>, &weights),
        ];
        for (sum_by_parts, x) in sums {
            let mut shows = false;
            for chunks in [2, 3, 29, 31, 32, 33, 45, 64] {
                // The last chunk is a short one.
                let x = &x[..chunks * CHUNK - 17];
                let whole = sum_by_parts(x, chunks.next_power_of_two());
                for part in [1, 2, 4, 8, 16, 32] {
                    if chunks.div_ceil(part) <= MAX_PARTS {
                        let sum = sum_by_parts(x, part);
                        assert_eq!(sum.to_bits(), whole.to_bits(), "{chunks} by {part}");
                    }
                }
                // Parts that are no nodes of the tree.
                shows |= sum_by_parts(x, 3).to_bits() != whole.to_bits();
            }
            assert!(shows, "the order of additions does not show");
        }
    }

    #[test]
    fn parts_are_nodes_and_there_is_room_for_them() {
        for threads in [2, 3, 5, 8, 64, usize::MAX] {
            for chunks in (2..200).chain([245, 1 << 20, 1 << 40]) {
                let part = chunks_of_a_part(chunks, threads);
                assert!(part.is_power_of_two() && chunks.div_ceil(part) <= MAX_PARTS);
                assert!(chunks.div_ceil(part) >= chunks.min(8));
            }
        }
    }

    /// What a thread does with a part, in a row that is masked throughout.
    #[derive(Clone, Copy)]
    struct Act<F>(F);

    impl<F: Fn() + Sync> Kernel<RowsMut<'_, f32, 1>> for Act<F> {
        type Output = ();
        fn simd<S: Simd>(&self, _: S, _: RowsMut<'_, f32, 1>) {
            unreachable!("threads share the row")
        }
    }

    impl<F: Fn() + Sync> Scalar<RowsMut<'_, f32, 1>> for Act<F> {
        fn scalar(&self, _: RowsMut<'_, f32, 1>) {
            unreachable!("the backend is another")
        }
    }

    impl<F: Fn() + Sync> RowWork<f32> for Act<F> {
        const KEEPS_WEIGHTS: bool = false;
        fn left_out(&self) -> LeftOut<f32> {
            LeftOut::Nothing
        }
        fn results<V: Vector<Elem = f32>, P: Pass<f32, 1>>(
            &self,
            _: V::Simd,
            _: &mut P,
            _: usize,
            _: &Ordinary<f32>,
        ) {
            unreachable!("the row has no weights")
        }
        fn special<P: Pass<f32, 1>>(&self, part: &mut P, start: usize, extent: Extent<f32>) {
            assert_eq!(extent, Extent::Masked);
            part.fill(start as f32);
            self.0();
        }
    }

    /// Just enough.
    const LEN: usize = LONG.next_multiple_of(CHUNK) + 1;

    /// Shares a row in a pool of two; what comes of it.
    fn share_a_row(act: impl Fn(ThreadId) + Sync + Copy) -> Vec<f32> {
        let mut y = vec![f32::NEG_INFINITY; LEN];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        pool.unwrap().install(|| {
            let caller = thread::current().id();
            let row = BatchMut::in_place(&mut y, LEN.into()).unwrap();
            let backend = Backend::named("portable").unwrap();
            spread(backend, &Act(|| act(caller)), row);
        });
        y
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these are integers")]
    fn more_than_one_thread_shares_a_row() {
        let (callers, helpers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let y = share_a_row(|caller| {
            let is_caller = thread::current().id() == caller;
            let (mine, others) = if is_caller {
                (&callers, &helpers)
            } else {
                (&helpers, &callers)
            };
            mine.fetch_add(1, SeqCst);
            wait_until("the other thread has a part", || others.load(SeqCst) > 0);
        });
        let part = chunks_of_a_part(LEN.div_ceil(CHUNK), 2) * CHUNK;
        assert_eq!(
            callers.into_inner() + helpers.into_inner(),
            y.len().div_ceil(part)
        );
        for (i, y) in y.into_iter().enumerate() {
            assert_eq!(y, (i / part * part) as f32, "element {i}");
        }
    }

    /// The other thread, which waits for the part of the one that panics, is not left behind.
    #[test]
    fn a_panic_ends_the_row() {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let helped = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                share_a_row(|caller| {
                    if thread::current().id() == caller {
                        wait_until("a helper has a part", || helped.load(SeqCst) > 0);
                        // By now it may be out of parts.
                        thread::sleep(Duration::from_millis(20));
                        panic_on_purpose();
                    }
                    helped.fetch_add(1, SeqCst);
                })
            }));
            done.send(result.is_err()).unwrap();
        });
        let panicked = is_done.recv_timeout(Duration::from_secs(60));
        assert_eq!(panicked, Ok(true), "it hangs, or it did not panic");
    }

    fn panic_on_purpose() {
        assert!(thread::panicking(), "on purpose");
    }
}
