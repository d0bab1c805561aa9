//! Where a call runs: the one home of the choices that do not change its meaning.

use crate::backend::{Backend, Operation};
use crate::element::Real;
use crate::error::Error;
use crate::kernel::partial::Arithmetic;
use crate::kernel::step::Shared;
use crate::kernel::tree::Merge;
use crate::tile::{self, Tiled};
#[cfg(feature = "rayon")]
use crate::{parallel, shared};

/// Where a call runs: on which backend, on one thread or on the caller's rayon pool. Every
/// function of this crate can be called on it, and the builders take it; both use [`Exec::new`]
/// otherwise.
///
/// The result has the same bits on any number of threads.
///
/// The calling thread takes a share of a large batch, or of a long row, and threads of the pool that it is in take the others; a
/// thread that is in none shares with rayon's global pool, which the first large batch starts (if the system
/// refuses its threads, batches stay on the calling thread). A call never waits for threads that have not begun to help, seldom
/// wakes them where that has not paid, and does no other work of the pool while it waits for those that help: so it may be made from within such work, and
/// while holding a lock.
///
/// ```
/// use softlane::Exec;
///
/// let mut p = [0.0_f32; 3];
/// Exec::new().serial().softmax(&[0.0, 0.0, f32::NEG_INFINITY], 3, &mut p)?;
/// assert_eq!(p, [0.5, 0.5, 0.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    backend: Option<Backend>,
    serial: bool,
}

impl Exec {
    /// The active backend ([`Backend::active`]), and the threads of the rayon pool that the caller
    /// is in, for batches large enough to gain by it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            backend: None,
            serial: false,
        }
    }

    /// On this backend.
    #[must_use]
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// On the calling thread only: rayon is never touched.
    #[must_use]
    pub const fn serial(mut self) -> Self {
        self.serial = true;
        self
    }

    /// Runs a kernel over a batch.
    pub(crate) fn run<R: Real, D: Tiled<R>, K>(
        self,
        kernel: &K,
        data: D,
    ) -> Result<K::Output, Error>
    where
        K: Operation<D::Dense> + Sync,
        K::Output: Merge + Send,
    {
        let backend = self.ready_for(&data)?;
        #[cfg(feature = "rayon")]
        if !self.serial {
            return Ok(parallel::spread(backend, kernel, data));
        }
        Ok(tile::run(backend, kernel, data))
    }

    /// Runs a kernel on the calling thread.
    pub(crate) fn run_here<R: Real, D: Tiled<R>, K>(
        self,
        kernel: &K,
        data: D,
    ) -> Result<K::Output, Error>
    where
        K: Operation<D::Dense>,
        K::Output: Merge,
    {
        Ok(tile::run(self.ready_for(&data)?, kernel, data))
    }

    /// Runs a kernel over a batch; if its rows are few and long, threads share each.
    #[inline]
    pub(crate) fn run_rows<R: Real, D: Tiled<R>, K>(
        self,
        kernel: &K,
        data: D,
    ) -> Result<K::Output, Error>
    where
        K: Operation<D::Dense> + Shared<D::Dense> + Sync,
        K::Output: Merge + Send,
    {
        #[cfg(feature = "rayon")]
        if !self.serial {
            return Ok(shared::spread(self.ready_for(&data)?, kernel, data));
        }
        self.run(kernel, data)
    }

    /// How many threads there are at most for work that takes as long as so many elements of softmax.
    #[cfg(feature = "linear")]
    pub(crate) fn threads(self, elements: usize) -> usize {
        if self.serial {
            return 1;
        }
        #[cfg(feature = "rayon")]
        let threads = if elements < parallel::SERIAL_BELOW {
            1
        } else {
            crate::helpers::all_threads()
        };
        #[cfg(not(feature = "rayon"))]
        let (threads, _) = (1, elements);
        threads
    }

    /// Does work for each of these on so many threads at most, if it takes as long as enough elements of softmax.
    #[cfg(feature = "linear")]
    pub(crate) fn each<I: Iterator<Item: Send> + Send>(
        self,
        threads: usize,
        elements: usize,
        items: I,
        work: impl Fn(I::Item) + Sync,
    ) {
        let threads = if self.serial { 1 } else { threads };
        #[cfg(feature = "rayon")]
        parallel::each(threads, elements, items, work);
        #[cfg(not(feature = "rayon"))]
        {
            let _ = (threads, elements);
            items.for_each(work);
        }
    }

    /// The instruction set that copies are made with.
    #[cfg(feature = "linear")]
    pub(crate) fn copies_with(self) -> Result<crate::backend::Isa, Error> {
        Ok(self.chosen()?.copies_with())
    }

    /// The backend that it runs on.
    fn ready_for<R: Real>(self, data: &impl Tiled<R>) -> Result<Backend, Error> {
        tile::check(data)?;
        self.chosen()
    }

    /// What decides the bits of its results.
    pub(crate) fn arithmetic(self) -> Result<Arithmetic, Error> {
        Ok(self.chosen()?.arithmetic())
    }

    fn chosen(self) -> Result<Backend, Error> {
        self.backend.map_or_else(Backend::active, Ok)
    }
}
