//! Operations on slices.

use softlane::{Error, Exec};

use super::Element;
use super::call::run;
use super::memory::{Memory, Pair, elements};
use super::status::softlane_status;
use super::threads::on_threads;

/// A function of Rust.
type Apart<T> = fn(Exec, &[T], &mut [T]) -> Result<(), Error>;
/// The same, in place.
type InPlace<T> = fn(Exec, &mut [T]) -> Result<(), Error>;

/// The exponential of each element.
///
/// # Safety
/// What the header asks for.
pub unsafe fn exp<T: Element>(x: *const T, y: *mut T, n: usize) -> softlane_status {
    // SAFETY: the same.
    unsafe { each(x, y, n, Exec::exp, Exec::exp_in_place) }
}

/// The sigmoid of each element.
///
/// # Safety
/// What the header asks for.
pub unsafe fn sigmoid<T: Element>(x: *const T, y: *mut T, n: usize) -> softlane_status {
    // SAFETY: the same.
    unsafe { each(x, y, n, Exec::sigmoid, Exec::sigmoid_in_place) }
}

/// What is done with each element, written elsewhere or in place.
///
/// # Safety
/// What the header asks for.
unsafe fn each<T: Element>(
    x: *const T,
    y: *mut T,
    n: usize,
    apart: Apart<T>,
    in_place: InPlace<T>,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let pair = memory.pair(("x", x), ("y", y), n)?;
        on_threads(n, |exec| match pair {
            Pair::Apart(x, y) => apart(exec, x, y),
            Pair::Same(x) => in_place(exec, x),
        })
    })
}

/// The largest element.
///
/// # Safety
/// What the header asks for.
pub unsafe fn max<T: Element>(x: *const T, n: usize, max: *mut T::Real) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let (x, max) = (memory.read("x", x, n)?, memory.write("max", max, 1)?);
        max[0] = on_threads(n, |exec| exec.max(x))?;
        Ok(())
    })
}

/// The sum of all elements.
///
/// # Safety
/// What the header asks for.
pub unsafe fn sum<T: Element>(x: *const T, n: usize, sum: *mut T::Real) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let (x, sum) = (memory.read("x", x, n)?, memory.write("sum", sum, 1)?);
        sum[0] = on_threads(n, |exec| exec.sum(x))?;
        Ok(())
    })
}

/// The log-sum-exp of each row.
///
/// # Safety
/// What the header asks for.
pub unsafe fn logsumexp<T: Element>(
    x: *const T,
    lse: *mut T::Real,
    rows: usize,
    classes: usize,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let n = elements::<T>(rows, classes)?;
        let x = memory.read("x", x, n)?;
        let lse = memory.write("lse", lse, rows)?;
        on_threads(n, |exec| exec.logsumexp(x, classes, lse))
    })
}
