//! Where an operation writes what it does not read.

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};
use core::mem::MaybeUninit;

/// What an operation can write its results to: a slice, array or vector of elements, or of [`MaybeUninit`] elements, every one
/// of which (but for what lies between rows: [`Shape::stride`](crate::Shape::stride)) has been written when the call has returned `Ok`. Sealed.
///
/// Numbers of rows that are not initialised (losses, log-sum-exps, [`RowOutputs`](crate::RowOutputs), the gradients of a linear layer) are set to 0 first, even if the call fails then.
///
/// What a smart pointer stands for is given as `&mut y[..]`.
///
/// ```
/// let x = [0.0_f32, 0.0];
/// let mut y = Vec::with_capacity(2);
/// softlane::softmax(&x, 2, &mut y.spare_capacity_mut()[..2])?;
/// // SAFETY: both elements have been written.
/// unsafe { y.set_len(2) };
/// assert_eq!(y, [0.5, 0.5]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub trait Output<T>: sealed::Output<T> {}

impl<T, O: sealed::Output<T> + ?Sized> Output<T> for O {}

pub(crate) mod sealed {
    pub trait Output<T> {
        /// Where they are. Only elements may be written there, none that is not initialised.
        fn elements(&mut self) -> *mut [T];
        /// The elements, `x` where they are not initialised.
        fn or(&mut self, x: T) -> &mut [T];
    }
}

impl<T: Copy> sealed::Output<T> for [T] {
    fn elements(&mut self) -> *mut [T] {
        self
    }
    fn or(&mut self, _: T) -> &mut [T] {
        self
    }
}

impl<T: Copy> sealed::Output<T> for [MaybeUninit<T>] {
    fn elements(&mut self) -> *mut [T] {
        core::ptr::from_mut(self) as *mut [T]
    }
    fn or(&mut self, x: T) -> &mut [T] {
        for to in &mut *self {
            to.write(x);
        }
        // SAFETY: all of them have just been written.
        unsafe { &mut *self.elements() }
    }
}

/// What stands for such a slice.
macro_rules! as_slice {
    ($([$($generics:tt)*] $output:ty;)*) => {$(
        impl<T: Copy, $($generics)*> sealed::Output<T> for $output {
            fn elements(&mut self) -> *mut [T] {
                self[..].elements()
            }
            fn or(&mut self, x: T) -> &mut [T] {
                self[..].or(x)
            }
        }
    )*};
}
as_slice! {
    [const N: usize] [T; N];
    [const N: usize] [MaybeUninit<T>; N];
}
#[cfg(feature = "alloc")]
as_slice! {
    [] Vec<T>;
    [] Box<[T]>;
    [] Box<[MaybeUninit<T>]>;
}
