//! The element types, and the table of what the kernels need to know of each.

use core::fmt::Debug;

#[cfg(feature = "half")]
use half::slice::HalfFloatSliceExt as _;
#[cfg(feature = "half")]
use half::{bf16, f16};

#[cfg(feature = "linear")]
use crate::backend::Isa;
use crate::kernel::exp::ExpConstants;
#[cfg(all(feature = "linear", feature = "half"))]
use crate::kernel::widen::Widen;
use crate::operations::Operations;
use crate::simd::{Simd, Vector};
use sealed::Float;

/// A type of float that rows are made of: [`f32`], with the feature `f64` [`f64`], and with the feature `half` the 16-bit floats `f16` and `bf16` of the
/// crate `half`. Sealed.
///
/// Rows of 16-bit floats are computed in `f32`, as [`f32`] rows of the same numbers would be, and results that replace elements are
/// rounded once more, subnormal numbers included: where an error in `f32` is counted in ULP of the result, of which a 16-bit ULP is 8192 or more, to within
/// 0.501 ULP of the exact value.
pub trait Element: Copy + PartialEq + Debug + Send + Sync + 'static + Operations {
    /// The type that they are computed in: that of losses, log-sum-exps and class weights.
    type Real: Real;

    #[doc(hidden)]
    const EMPTY: Self;
    /// Whether it is the type that it is computed in.
    #[doc(hidden)]
    const IS_REAL: bool;
    #[doc(hidden)]
    fn load<S: Simd>(simd: S, src: &[Self; 16]) -> <Self::Real as Float>::Vector<S>;
    /// Rounds.
    #[doc(hidden)]
    fn store<S: Simd>(simd: S, x: <Self::Real as Float>::Vector<S>, dst: &mut [Self; 16]);
    #[doc(hidden)]
    fn to_real(self) -> Self::Real;
    /// The same elements, if that is their own type.
    #[cfg(feature = "linear")]
    #[doc(hidden)]
    fn reals(x: &[Self]) -> Option<&[Self::Real]>;
    /// Copies elements of as many.
    #[cfg(feature = "linear")]
    #[doc(hidden)]
    fn widen(isa: Isa, src: &[Self], dst: &mut [Self::Real]);
}

/// A type of float that results are computed in. Sealed.
pub trait Real: Float + Element<Real = Self> {}

/// A type that is computed in itself, of which an instruction set has vectors.
macro_rules! real {
    ($real:ident, $vector:ident) => {
        impl Element for $real {
            type Real = Self;

            const EMPTY: Self = 0.0;
            const IS_REAL: bool = true;

            #[inline(always)]
            fn load<S: Simd>(simd: S, src: &[Self; 16]) -> S::$vector {
                S::$vector::load(simd, src)
            }
            #[inline(always)]
            fn store<S: Simd>(_: S, x: S::$vector, dst: &mut [Self; 16]) {
                x.store(dst);
            }
            #[inline(always)]
            fn to_real(self) -> Self {
                self
            }
            #[cfg(feature = "linear")]
            fn reals(x: &[Self]) -> Option<&[Self]> {
                Some(x)
            }
            #[cfg(feature = "linear")]
            fn widen(_: Isa, src: &[Self], dst: &mut [Self]) {
                dst.copy_from_slice(src);
            }
        }
        impl Real for $real {}
    };
}
real!(f32, F32);
#[cfg(feature = "f64")]
real!(f64, F64);

/// A type of 16 bits, whose conversions an instruction set has.
#[cfg(feature = "half")]
macro_rules! half {
    ($half:ident, $widen:ident, $narrow:ident) => {
        impl Element for $half {
            type Real = f32;

            const EMPTY: Self = Self::ZERO;
            const IS_REAL: bool = false;

            #[inline(always)]
            fn load<S: Simd>(simd: S, src: &[Self; 16]) -> S::F32 {
                simd.$widen(&src.reinterpret_cast().as_chunks().0[0])
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, x: S::F32, dst: &mut [Self; 16]) {
                simd.$narrow(x, &mut dst.reinterpret_cast_mut().as_chunks_mut().0[0]);
            }
            #[inline]
            fn to_real(self) -> f32 {
                self.to_f32()
            }
            #[cfg(feature = "linear")]
            fn reals(_: &[Self]) -> Option<&[f32]> {
                None
            }
            #[cfg(feature = "linear")]
            fn widen(isa: Isa, src: &[Self], dst: &mut [f32]) {
                isa.run(&Widen, (src, dst));
            }
        }
    };
}
#[cfg(feature = "half")]
half!(f16, widen_f16, narrow_f16);
#[cfg(feature = "half")]
half!(bf16, widen_bf16, narrow_bf16);

pub(crate) mod sealed {
    use core::fmt::Debug;
    use core::ops::{Add, Div, Mul, Neg, Sub};

    use super::{ExpConstants, Simd, Vector};
    use crate::kernel::wide::WideFloat;
    use crate::kernel::{binary_cross_entropy, exp};
    #[cfg(feature = "f64")]
    use crate::kernel::{double, pair::Pair};

    /// What the kernels and the scalar path need of an element type.
    pub trait Float:
        Copy
        + PartialOrd
        + Add<Output = Self>
        + Sub<Output = Self>
        + Mul<Output = Self>
        + Div<Output = Self>
        + Neg<Output = Self>
        + Debug
        + Send
        + Sync
        + 'static
    {
        /// The vector of this type in an instruction set.
        type Vector<S: Simd>: Vector<Elem = Self, Simd = S>;
        /// The numbers that sums over a row, and what is done once a row, are taken in.
        type Wide: WideFloat;

        const ZERO: Self;
        const ONE: Self;
        const INFINITY: Self;
        const NEG_INFINITY: Self;
        /// The one NaN that results have, so that bits agree: quiet, positive, no payload.
        const NAN: Self;
        /// Half of the spacing of the numbers above 1: the largest relative error of rounding.
        const UNIT: f64;
        const EXP: ExpConstants<Self>;
        /// The coefficients of a polynomial: as many numbers as the longest of [`EXP`](Self::EXP) has, and these as zeros.
        type Coefficients: Copy + Debug + Send + Sync + AsRef<[Self]> + AsMut<[Self]>;
        const NO_COEFFICIENTS: Self::Coefficients;
        /// Coefficients of `(atanh(s) / s - 1) / s^2` in `s^2` up to 1/9, highest power first.
        const ATANH: &'static [Self];
        /// Less than this, subtracted from the largest number, leaves that number. (The backward passes take its inverse as the smallest factor of which
        /// two elements hold enough.)
        const LARGE: f64;

        fn to_f64(self) -> f64;
        /// Rounds to nearest.
        fn from_f64(x: f64) -> Self;
        fn to_wide(self) -> Self::Wide;
        /// Rounds to nearest.
        fn from_wide(x: Self::Wide) -> Self;
        fn is_nan(self) -> bool {
            self.partial_cmp(&self).is_none()
        }

        /// Whether a product of the weight of the largest element of a row, and of a factor that is rounded, is within seven ULP of a power of two, or so small that the factor may not
        /// have been a normal number. (Without a branch, which would keep the compiler from doing many at once.)
        fn may_be_near_power_of_two(self) -> bool;

        /// The standard library's exponential, for the scalar path.
        #[cfg(feature = "std")]
        fn exp(self) -> Self;
        /// The standard library's natural logarithm, for the scalar path.
        #[cfg(feature = "std")]
        fn ln(self) -> Self;
        /// The standard library's `ln(1 + x)`, for the scalar path.
        #[cfg(feature = "std")]
        fn ln_1p(self) -> Self;
    }

    /// One element type: its vectors and its constants.
    macro_rules! float {
        ($float:ident, $vector:ident, $wide:ident, $nan:expr, $exp:expr, coefficients: $coefficients:literal, $atanh:expr, large: $large:expr) => {
            impl Float for $float {
                type Vector<S: Simd> = S::$vector;
                type Wide = $wide;

                const ZERO: Self = 0.0;
                const ONE: Self = 1.0;
                const INFINITY: Self = $float::INFINITY;
                const NEG_INFINITY: Self = $float::NEG_INFINITY;
                const NAN: Self = $float::from_bits($nan);
                const UNIT: f64 = $float::EPSILON as f64 / 2.0;
                const EXP: ExpConstants<Self> = $exp;
                type Coefficients = [$float; $coefficients];
                const NO_COEFFICIENTS: Self::Coefficients = [0.0; $coefficients];
                const ATANH: &'static [Self] = $atanh;
                const LARGE: f64 = $large;

                #[inline(always)]
                fn to_f64(self) -> f64 {
                    self.into()
                }
                #[inline(always)]
                fn from_f64(x: f64) -> Self {
                    x as Self
                }
                #[inline(always)]
                fn to_wide(self) -> $wide {
                    self.into()
                }
                #[inline(always)]
                fn from_wide(x: $wide) -> Self {
                    x.nearest() as Self
                }

                #[inline(always)]
                fn may_be_near_power_of_two(self) -> bool {
                    const EXPONENT: u32 = $float::MANTISSA_DIGITS - 1;
                    // Such weights are below `2^(lift + 2)`.
                    const SMALL: $float = {
                        let (mut small, mut power) = ($float::MIN_POSITIVE, -2);
                        while power < $exp.lift as i32 {
                            small *= 2.0;
                            power += 1;
                        }
                        small
                    };
                    let mantissa = (1 << EXPONENT) - 1;
                    (self.abs() < SMALL) | (((self.to_bits() + 8) & mantissa) < 16)
                }

                #[cfg(feature = "std")]
                #[inline]
                fn exp(self) -> Self {
                    $float::exp(self)
                }
                #[cfg(feature = "std")]
                #[inline]
                fn ln(self) -> Self {
                    $float::ln(self)
                }
                #[cfg(feature = "std")]
                #[inline]
                fn ln_1p(self) -> Self {
                    $float::ln_1p(self)
                }
            }
        };
    }

    float!(
        f32, F32, f64, 0x7FC0_0000, exp::F32, coefficients: 7, &binary_cross_entropy::ATANH_F32,
        large: 1.267_650_600_228_229_4e30 // 2^100
    );
    #[cfg(feature = "f64")]
    float!(
        f64, F64, Pair, 0x7FF8_0000_0000_0000, double::EXP, coefficients: 13, &double::ATANH,
        large: 9.745_314_011_4e288 // 2^960
    );
}
