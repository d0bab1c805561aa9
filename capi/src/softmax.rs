//! Softmax and log-softmax, forward and backward.

use std::borrow::Cow;

use softlane::{Error, Softmax};

use super::call::run;
use super::failure::Failure;
use super::memory::{Memory, Pair, elements, is_same};
use super::options::softlane_softmax_options;
use super::status::softlane_status;
use super::threads::on_threads;
use super::{Element, Real};

/// A function of Rust, from `x` to `y`.
type Apart<'a, T> = fn(Softmax<'a, Real<T>>, &[T], usize, &mut [T]) -> Result<(), Error>;
/// The same, over `x`.
type InPlace<'a, T> = fn(Softmax<'a, Real<T>>, &mut [T], usize) -> Result<(), Error>;
/// A function of Rust, from `y` and `dy` to `dx`.
type Backward<'a, T> = fn(Softmax<'a, Real<T>>, &[T], &[T], usize, &mut [T]) -> Result<(), Error>;
/// The same, over `dy`.
type OverDy<'a, T> = fn(Softmax<'a, Real<T>>, &[T], &mut [T], usize) -> Result<(), Error>;

/// Probabilities.
///
/// # Safety
/// What the header asks for.
pub unsafe fn softmax<T: Element>(
    x: *const T,
    y: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    let (apart, in_place) = (Softmax::probs, Softmax::probs_in_place);
    // SAFETY: the same.
    unsafe { forward(x, y, rows, classes, options, apart, in_place) }
}

/// Log-probabilities.
///
/// # Safety
/// What the header asks for.
pub unsafe fn log_softmax<T: Element>(
    x: *const T,
    y: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    let (apart, in_place) = (Softmax::log_probs, Softmax::log_probs_in_place);
    // SAFETY: the same.
    unsafe { forward(x, y, rows, classes, options, apart, in_place) }
}

/// The gradient, from that with respect to probabilities.
///
/// # Safety
/// What the header asks for.
pub unsafe fn softmax_backward<T: Element>(
    y: *const T,
    dy: *const T,
    dx: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    let (apart, over_dy) = (Softmax::probs_backward, Softmax::probs_backward_in_place);
    // SAFETY: the same.
    unsafe { backward(y, dy, dx, rows, classes, options, apart, over_dy) }
}

/// The gradient, from that with respect to log-probabilities.
///
/// # Safety
/// What the header asks for.
pub unsafe fn log_softmax_backward<T: Element>(
    y: *const T,
    dy: *const T,
    dx: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
) -> softlane_status {
    let apart = Softmax::log_probs_backward;
    let over_dy = Softmax::log_probs_backward_in_place;
    // SAFETY: the same.
    unsafe { backward(y, dy, dx, rows, classes, options, apart, over_dy) }
}

/// # Safety
/// What the header asks for.
unsafe fn forward<'a, T: Element>(
    x: *const T,
    y: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
    apart: Apart<'a, T>,
    in_place: InPlace<'a, T>,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory: Memory<'a> = unsafe { Memory::new() };
    run(|| {
        let n = elements::<T>(rows, classes)?;
        let softmax = memory
            .options(options)?
            .softmax::<T>(&mut memory, classes)?;
        let pair = memory.pair(("x", x), ("y", y), n)?;
        on_threads(n, |exec| match pair {
            Pair::Apart(x, y) => apart(softmax.exec(exec), x, classes, y),
            Pair::Same(x) => in_place(softmax.exec(exec), x, classes),
        })
    })
}

/// # Safety
/// What the header asks for.
#[expect(clippy::too_many_arguments, reason = "those of C, and two functions")]
unsafe fn backward<'a, T: Element>(
    y: *const T,
    dy: *const T,
    dx: *mut T,
    rows: usize,
    classes: usize,
    options: *const softlane_softmax_options,
    apart: Backward<'a, T>,
    over_dy: OverDy<'a, T>,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory: Memory<'a> = unsafe { Memory::new() };
    run(|| {
        let n = elements::<T>(rows, classes)?;
        let softmax = memory
            .options(options)?
            .softmax::<T>(&mut memory, classes)?;
        let y = source(&mut memory, ("y", y), dx, n)?;
        let pair = memory.pair(("dy", dy), ("dx", dx), n)?;
        on_threads(n, |exec| match pair {
            Pair::Apart(dy, dx) => apart(softmax.exec(exec), &y, dy, classes, dx),
            Pair::Same(dy) => over_dy(softmax.exec(exec), &y, dy, classes),
        })
    })
}

/// A source, which is copied if the result takes its place: the Rust functions write over the gradient only.
fn source<'a, T: Element>(
    memory: &mut Memory<'a>,
    (name, source): (&'static str, *const T),
    destination: *const T,
    n: usize,
) -> Result<Cow<'a, [T]>, Failure> {
    if is_same(source, destination) {
        return memory.copy(name, source, n).map(Cow::Owned);
    }
    memory.read(name, source, n).map(Cow::Borrowed)
}
