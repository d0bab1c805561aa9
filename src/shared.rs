//! Few long rows on many threads: each row is cut into parts, which go through its steps together.

use core::marker::PhantomData;
use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::backend::{Backend, Isa, Operation};
use crate::element::Element;
use crate::helpers;
use crate::kernel::row::RowWork;
use crate::kernel::step::{Close, Found, OfPart, Open, Shared, Step};
use crate::kernel::tree::{Merge, split_point};
use crate::parallel::{self, SERIAL_BELOW, lock, merged};
use crate::rows::{CHUNK, Split};

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
/// long and too few to keep all threads busy.
pub(crate) fn spread<D: Split, K>(backend: Backend, kernel: &K, data: D) -> K::Output
where
    K: Operation<D, Output: Merge + Send> + Shared<D> + Sync,
{
    let (elements, rows) = (data.elements(), data.rows());
    if let Some(isa) = backend.isa()
        && rows > 0
        && elements / rows >= LONG
    {
        let threads = helpers::threads(elements);
        if threads < 2 {
            return backend.run(kernel, data);
        }
        if rows < 2 * threads {
            return few(isa, kernel, data, threads);
        }
    }
    parallel::spread(backend, kernel, data)
}

/// Runs a kernel over a few rows, one after the other.
fn few<D: Split, K>(isa: Isa, kernel: &K, data: D, threads: usize) -> K::Output
where
    K: Shared<D, Output: Merge>,
{
    let rows = data.rows();
    if rows == 1 {
        return one(isa, kernel, data, threads);
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
    // A power of two: so parts are nodes of the tree over the chunks.
    let most = (8 * threads).min(MAX_PARTS);
    let count = chunks.rows();
    let chunks_of_a_part = count.div_ceil(most).next_power_of_two();
    let parts = count.div_ceil(chunks_of_a_part);
    let team = Mutex::new(Team::new(chunks, chunks_of_a_part));
    // Steps that have begun, for those who wait for the next: they leave the lock to those who work.
    let begun = AtomicUsize::new(0);
    let run = || {
        let from_back = lock(&team).join();
        let mut done = None;
        loop {
            let mut held = lock(&team);
            if let Some((i, part, found)) = done.take() {
                held.give(i, part, found, &work);
                begun.store(held.begun, Relaxed);
            }
            let (task, step) = (held.take(from_back), held.begun);
            drop(held);
            match task {
                Task::Part(i, mut part, step) => {
                    let in_hand = InHand(&team, &begun);
                    let of_part = OfPart {
                        work: &work,
                        step,
                        start: i * chunks_of_a_part * CHUNK,
                    };
                    let found = isa.run(&of_part, &mut part);
                    core::mem::forget(in_hand);
                    done = Some((i, part, found));
                }
                Task::Wait => wait_until(|| begun.load(Relaxed) != step),
                Task::Done => break,
            }
        }
    };
    helpers::share(threads.min(parts) - 1, &run);
    let team = team.into_inner().unwrap_or_else(PoisonError::into_inner);
    let close = Close {
        kernel,
        last: team.step,
    };
    isa.run(&close, (PhantomData, rest))
}

/// Waits for parts of other threads, which are soon done; unless the system has stopped one of these.
fn wait_until(done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        core::hint::spin_loop();
    }
    while !done() {
        thread::yield_now();
    }
}

/// The parts of a row, and the step that they are at.
struct Team<R, T> {
    parts: [Option<R>; MAX_PARTS],
    /// How many there are.
    count: usize,
    step: Step<T>,
    /// Steps that have begun, and the end.
    begun: usize,
    /// Those that have not begun the step.
    left: Range<usize>,
    /// How many have not done it.
    undone: usize,
    /// Of those that have.
    found: [Option<Found<T>>; MAX_PARTS],
    is_over: bool,
    /// Threads that have joined.
    threads: usize,
}

/// What a thread does next.
enum Task<R, T> {
    /// A step of a part.
    Part(usize, R, Step<T>),
    /// Wait for the parts of others.
    Wait,
    Done,
}

impl<R: Split, T: Element> Team<R, T> {
    /// Cuts a row.
    fn new(row: R, chunks_of_a_part: usize) -> Self {
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
            step: Step::Extent,
            begun: 0,
            left: 0..count,
            undone: count,
            found: [const { None }; MAX_PARTS],
            is_over: false,
            threads: 0,
        }
    }

    /// One more thread. Whether it takes the last parts first: so each of two threads has, in each step, parts that
    /// it had before, and its caches hold.
    fn join(&mut self) -> bool {
        self.threads += 1;
        self.threads.is_multiple_of(2)
    }

    fn take(&mut self, from_back: bool) -> Task<R, T> {
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

    /// Takes a part back, and what it has found. The last one begins the next step.
    fn give<W: RowWork<T>>(&mut self, i: usize, part: R, found: Found<T>, work: &W) {
        self.parts[i] = Some(part);
        self.found[i] = Some(found);
        self.undone -= 1;
        if self.undone > 0 {
            return;
        }
        self.begun += 1;
        let found = merged(&mut self.found[..self.count]);
        match found.and_then(|found| self.step.next(work, found)) {
            Some(next) => {
                self.step = next;
                self.is_over = next.is_idle::<W>();
                (self.left, self.undone) = (0..self.count, self.count);
            }
            None => self.is_over = true,
        }
    }
}

/// A part in the hands of a thread. If this is dropped, that thread panicked, and the others need not wait for it.
struct InHand<'a, R, T>(&'a Mutex<Team<R, T>>, &'a AtomicUsize);

impl<R, T> Drop for InHand<'_, R, T> {
    fn drop(&mut self) {
        let mut team = lock(self.0);
        team.is_over = true;
        team.begun += 1;
        self.1.store(team.begun, Relaxed);
    }
}
