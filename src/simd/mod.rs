//! The vector trait that every kernel is written over, and the macro that implements it for an
//! instruction set. Holds no loops and no mathematics.
//!
//! How safety works here: a vector is only ever made from a token ([`Simd`]), and a token only by
//! detection, so whoever holds either may run that instruction set. Hence the methods of
//! [`Vector`] are safe, and the kernels are safe code. For that reason neither tokens nor vectors
//! derive `Default` or anything else that could make one out of nothing.
//!
//! How speed works here: the functions of an instruction set carry `#[target_feature]`, and such a
//! function is inlined only into a caller with the same features. So everything between the entry
//! (`run` of a token) and those functions is `#[inline(always)]`; `tests/inlining.rs` notices when
//! a link of that chain breaks. Closures have to say so too, or the compiler leaves the larger ones
//! out of line. What is to be out of line goes through [`Simd::out_of_line`], which keeps the features.
//!
//! Every backend has sixteen lanes of `f32` and of `f64`, in as many registers as it takes. So loops, tails and
//! the order of additions are the same everywhere, and so are the bits (where multiply-add is
//! fused).

use core::ops::{Add, Div, Mul, Sub};

use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::kernel::wide::Wide;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(feature = "f64")]
pub(crate) mod double;
pub(crate) mod portable;

/// An instruction set that this processor was found to support: holding one is the proof.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen lanes of `f32`.
    type F32: Vector<Elem = f32, Array = [f32; 16], Simd = Self>;
    /// Sixteen lanes of `f64`.
    #[cfg(feature = "f64")]
    type F64: Vector<Elem = f64, Array = [f64; 16], Simd = Self>;

    /// Calls `f` out of line: for what is much work, seldom of use, or both, and would otherwise be compiled again wherever it stands.
    /// Calls from one place share their code, if they have the types in common. `f` must be `#[inline(always)]`, or its body is not
    /// compiled for this instruction set: slow, not unsound.
    ///
    /// What loops in `f` use is best copied in `f`, number by number: through a reference, the compiler reads it again after every store. (And moved
    /// into `f` it is copied by vectors, which wait for the numbers that were written just before, one by one, to be in the cache.)
    fn out_of_line<R>(self, f: impl FnOnce() -> R) -> R;

    /// The bits of sixteen `f16` as `f32`, exactly.
    #[cfg(feature = "half")]
    fn widen_f16(self, src: &[u16; 16]) -> Self::F32;
    /// Rounds to the nearest `f16`, subnormal numbers included; NaN is the canonical one, if it was that of `f32`.
    #[cfg(feature = "half")]
    fn narrow_f16(self, x: Self::F32, dst: &mut [u16; 16]);
    /// As [`widen_f16`](Self::widen_f16), of `bf16`.
    #[cfg(feature = "half")]
    fn widen_bf16(self, src: &[u16; 16]) -> Self::F32;
    /// As [`narrow_f16`](Self::narrow_f16), of `bf16`. (Not by the BF16 instructions, which flush subnormal numbers.)
    #[cfg(feature = "half")]
    fn narrow_bf16(self, x: Self::F32, dst: &mut [u16; 16]);
}

/// Work on data `D`, written once over any instruction set.
pub trait Kernel<D> {
    /// What it finds.
    type Output;
    /// How many of its elements take about the time of one of softmax: so much more of them are worth a thread.
    #[cfg_attr(not(feature = "rayon"), allow(dead_code, reason = "of use to threads"))]
    const LIGHTNESS: usize = 1;
    /// Does the work. Always `#[inline(always)]`, so that it is compiled for the instruction set
    /// whose token it is given.
    fn simd<S: Simd>(&self, simd: S, data: D) -> Self::Output;
}

/// Some lanes of one element type.
pub trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The instruction set that these vectors belong to.
    type Simd: Simd;
    /// The type of a lane.
    type Elem: Real;
    /// `[Self::Elem; Self::LANES]`: memory that one whole vector fills.
    type Array;
    /// One bit of decision per lane.
    type Mask: Copy;
    /// One wide number per lane: what rows are summed in.
    type Sum: Copy;
    /// Eight numbers to look up.
    type Table: Copy;

    /// Lanes in a vector.
    const LANES: usize;
    /// How many vectors the registers hold.
    const REGISTERS: usize;
    /// Whether four vectors of a row go side by side: one is a register, of which there are many. (With Miri, which has no registers, AVX2 does so too.)
    const SIDE_BY_SIDE: bool = Self::REGISTERS >= 32 && size_of::<Self>() <= 64;
    /// Whether all work on short rows is done sixteen at a time, by columns, where that is faster, or only what gains by it in `f64` too.
    const BY_COLUMNS: bool;
    /// Whether such rows are done as they lie, or in registers, where that is faster. (Not of `f64`, nor with few registers: there [`max_of_each`](Self::max_of_each), [`deinterleave`](Self::deinterleave) and the like take vectors, or elements, one by one.)
    const ABREAST: bool = Self::REGISTERS >= 8 && size_of::<Self::Elem>() == size_of::<f32>();
    /// Whether `mul_add` and `neg_mul_add` round once. All such backends give the same bits.
    const FUSED: bool;

    /// `x`, rounded, in every lane.
    #[inline(always)]
    fn constant(simd: Self::Simd, x: f64) -> Self {
        Self::splat(simd, Self::Elem::from_f64(x))
    }
    /// `x` in every lane.
    fn splat(simd: Self::Simd, x: Self::Elem) -> Self;
    /// The lanes of `src`.
    fn load(simd: Self::Simd, src: &Self::Array) -> Self;
    /// The lanes of `src`, which is shorter than a vector, then `fill`.
    fn load_or(simd: Self::Simd, src: &[Self::Elem], fill: Self::Elem) -> Self;
    /// Writes all lanes.
    fn store(self, dst: &mut Self::Array);
    /// Writes the first lanes to `dst`, which is shorter than a vector.
    fn store_prefix(self, dst: &mut [Self::Elem]);
    /// Four columns of sixteen rows, a column in a vector: lane `r` of vector `k` becomes `src[r * stride + k]`. Panics
    /// if `src` is shorter than `15 * stride + 4`. (In place: where a vector is several registers, the compiler would copy
    /// the four of them once more.)
    fn load_columns(simd: Self::Simd, src: &[Self::Elem], stride: u16, columns: &mut [Self; 4]);
    /// Writes four columns of sixteen rows, row after row: lane `r` of vector `k` to `dst[r * stride + k]`. So
    /// where the stride is less than 4, what is written beyond a row is overwritten by the next one; not so beyond the last.
    /// Panics if `dst` is shorter than `15 * stride + 4`.
    fn store_columns(columns: &[Self; 4], dst: &mut [Self::Elem], stride: u16);
    /// The even elements of two vectors, one after the other, and the odd ones: of sixteen rows of two, the columns.
    fn deinterleave(simd: Self::Simd, vectors: [Self; 2]) -> [Self; 2];
    /// What [`deinterleave`](Self::deinterleave) took apart.
    fn interleave(simd: Self::Simd, columns: [Self; 2]) -> [Self; 2];
    /// Every third element of three vectors, from the first, the second and the third on.
    fn deinterleave_3(simd: Self::Simd, vectors: [Self; 3]) -> [Self; 3];
    /// What [`deinterleave_3`](Self::deinterleave_3) took apart.
    fn interleave_3(simd: Self::Simd, columns: [Self; 3]) -> [Self; 3];
    /// Every lane as a wide number.
    fn widen(self) -> [Wide<Self::Elem>; 16];
    /// Every lane rounded from a wide number.
    fn narrow(simd: Self::Simd, x: &[Wide<Self::Elem>; 16]) -> Self;

    /// Asks for the memory at `p`, which need not be any, for it will soon be read or written. Does nothing where there is no such
    /// instruction.
    fn prefetch(simd: Self::Simd, p: *const Self::Elem);

    /// `self * other`, of what may be too small for a number that is not subnormal: a multiplication waits then on some processors (AMD Zen 5), and multiply-add
    /// does not. Where a factor is 0 it may be +0 in place of -0.
    #[inline(always)]
    fn small_product(self, simd: Self::Simd, other: Self) -> Self {
        if Self::FUSED {
            self.mul_add(other, Self::splat(simd, Self::Elem::ZERO))
        } else {
            self * other
        }
    }

    /// Itself. Where vectors go [side by side](Self::SIDE_BY_SIDE) the compiler has it ready before that of which this is asked next, as far as it can be told to: nothing but
    /// speed may depend on it.
    fn in_order(self) -> Self;

    /// `self * a + b`, rounded once where [`FUSED`](Self::FUSED).
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `b - self * a`, rounded once where [`FUSED`](Self::FUSED).
    fn neg_mul_add(self, a: Self, b: Self) -> Self;
    /// The larger of the two. A NaN in `other` is kept; one in `self` may be dropped.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two. A NaN in `other` is kept; one in `self` may be dropped.
    fn min(self, other: Self) -> Self;
    /// Without the sign.
    fn abs(self) -> Self;
    /// The low bits of the mantissa moved to where the exponent stands: makes `2^k` of
    /// `1.5 * 2^(mantissa bits) + bias + k`.
    fn exponent(self) -> Self;
    /// Prepares eight numbers for [`power`](Self::power).
    fn table(simd: Self::Simd, entries: &[Self::Elem; 8]) -> Self::Table;
    /// `2^k table[j]` of `1.5 * 2^(mantissa bits) + 8 k + j`, for `j` from 0 to 7. `2^k table[j]` must be
    /// a normal number.
    fn power(self, table: Self::Table) -> Self;

    /// Lanes where `self < other`.
    fn lt(self, other: Self) -> Self::Mask;
    /// Lanes where `self == other`.
    fn eq(self, other: Self) -> Self::Mask;
    /// Lanes that are NaN.
    fn is_nan(self) -> Self::Mask;
    /// Lanes set in either.
    fn or(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Lane `i` alone.
    fn lane(simd: Self::Simd, i: usize) -> Self::Mask;
    /// The lanes from `i` on.
    fn lanes_from(simd: Self::Simd, i: usize) -> Self::Mask;
    /// Lanes whose flag is set.
    fn lanes_of(simd: Self::Simd, flags: &[bool; 16]) -> Self::Mask;
    /// `yes` where the mask is set, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// The mask as bits, lane 0 lowest.
    fn bits(mask: Self::Mask) -> u32;

    /// The first lane.
    fn first(self) -> Self::Elem;
    /// The largest lane, if none is NaN.
    fn reduce_max(self) -> Self::Elem;

    /// The sum of the lanes, rounded at each addition, halves first, as in [`sum_total`](Self::sum_total).
    fn reduce_sum(self) -> Self::Elem;

    /// All lanes.
    fn lanes(self) -> [Self::Elem; 16];
    /// [`reduce_max`](Self::reduce_max) of each: that of vector `r` in lane `r`.
    fn max_of_each(simd: Self::Simd, vectors: &[Self; 16]) -> Self;
    /// [`reduce_sum`](Self::reduce_sum) of each.
    fn sum_of_each(simd: Self::Simd, vectors: &[Self; 16]) -> Self;

    /// A sum of nothing.
    fn sum_zero(simd: Self::Simd) -> Self::Sum;
    /// A sum of `x` alone, lane by lane: nothing is added.
    fn sum_of(simd: Self::Simd, x: Self) -> Self::Sum;
    /// Adds every lane of `x`, widened, to its lane of `sum`.
    fn sum_add(sum: Self::Sum, x: Self) -> Self::Sum;
    /// Adds `a * b`, taken in wide numbers where it is exact, lane by lane.
    fn sum_add_product(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;
    /// The sums of both, lane by lane.
    fn sum_merge(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The sum times a number, lane by lane.
    fn sum_scale(sum: Self::Sum, factor: Wide<Self::Elem>) -> Self::Sum;
    /// The lanes, each rounded.
    fn sum_narrow(simd: Self::Simd, sum: Self::Sum) -> Self;
    /// The lanes.
    fn sum_lanes(sum: Self::Sum) -> [Wide<Self::Elem>; 16];
    /// The sum of the lanes, halves first: lane `i` plus lane `i + 8`, then `i + 4`, `i + 2`,
    /// `i + 1`. The same order on every backend.
    fn sum_total(sum: Self::Sum) -> Wide<Self::Elem>;
    /// That of each.
    fn totals(sums: &[Self::Sum; 16]) -> [Wide<Self::Elem>; 16];
}

/// Implements [`Vector`] and its operators for `$vector` by forwarding to the functions of the
/// same names in the module `op` beside the invocation.
macro_rules! impl_vector {
    ($vector:ident of $lanes:literal $elem:ident and $wide:ident, $simd:ident, $mask:ty, $sum:ty, $table:ty, registers: $registers:expr, by columns: $by_columns:expr, fused: $fused:expr) => {
        impl $crate::simd::Vector for $vector {
            type Simd = $simd;
            type Elem = $elem;
            type Array = [$elem; $lanes];
            type Mask = $mask;
            type Sum = $sum;
            type Table = $table;
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;
            const BY_COLUMNS: bool = $by_columns;
            const FUSED: bool = $fused;

            $crate::simd::forward! {
                fn splat(simd: $simd, x: $elem) -> Self;
                fn load(simd: $simd, src: &[$elem; $lanes]) -> Self;
                fn load_or(simd: $simd, src: &[$elem], fill: $elem) -> Self;
                fn store(self: Self, dst: &mut [$elem; $lanes]) -> ();
                fn store_prefix(self: Self, dst: &mut [$elem]) -> ();
                fn load_columns(simd: $simd, src: &[$elem], stride: u16, columns: &mut [Self; 4]) -> ();
                fn store_columns(columns: &[Self; 4], dst: &mut [$elem], stride: u16) -> ();
                fn deinterleave(simd: $simd, vectors: [Self; 2]) -> [Self; 2];
                fn interleave(simd: $simd, columns: [Self; 2]) -> [Self; 2];
                fn deinterleave_3(simd: $simd, vectors: [Self; 3]) -> [Self; 3];
                fn interleave_3(simd: $simd, columns: [Self; 3]) -> [Self; 3];
                fn widen(self: Self) -> [$wide; 16];
                fn narrow(simd: $simd, x: &[$wide; 16]) -> Self;
                fn prefetch(simd: $simd, p: *const $elem) -> ();
                fn in_order(self: Self) -> Self;
                fn mul_add(self: Self, a: Self, b: Self) -> Self;
                fn neg_mul_add(self: Self, a: Self, b: Self) -> Self;
                fn max(self: Self, other: Self) -> Self;
                fn min(self: Self, other: Self) -> Self;
                fn abs(self: Self) -> Self;
                fn exponent(self: Self) -> Self;
                fn table(simd: $simd, entries: &[$elem; 8]) -> $table;
                fn power(self: Self, table: $table) -> Self;
                fn lt(self: Self, other: Self) -> $mask;
                fn eq(self: Self, other: Self) -> $mask;
                fn is_nan(self: Self) -> $mask;
                fn or(a: $mask, b: $mask) -> $mask;
                fn lane(simd: $simd, i: usize) -> $mask;
                fn lanes_from(simd: $simd, i: usize) -> $mask;
                fn lanes_of(simd: $simd, flags: &[bool; 16]) -> $mask;
                fn select(mask: $mask, yes: Self, no: Self) -> Self;
                fn bits(mask: $mask) -> u32;
                fn first(self: Self) -> $elem;
                fn reduce_max(self: Self) -> $elem;
                fn reduce_sum(self: Self) -> $elem;
                fn lanes(self: Self) -> [$elem; 16];
                fn max_of_each(simd: $simd, vectors: &[Self; 16]) -> Self;
                fn sum_of_each(simd: $simd, vectors: &[Self; 16]) -> Self;
                fn sum_zero(simd: $simd) -> $sum;
                fn sum_of(simd: $simd, x: Self) -> $sum;
                fn sum_add(sum: $sum, x: Self) -> $sum;
                fn sum_add_product(sum: $sum, a: Self, b: Self) -> $sum;
                fn sum_merge(a: $sum, b: $sum) -> $sum;
                fn sum_scale(sum: $sum, factor: $wide) -> $sum;
                fn sum_narrow(simd: $simd, sum: $sum) -> Self;
                fn sum_lanes(sum: $sum) -> [$wide; 16];
                fn sum_total(sum: $sum) -> $wide;
                fn totals(sums: &[$sum; 16]) -> [$wide; 16];
            }
        }
        $crate::simd::forward! { operator Add add $vector }
        $crate::simd::forward! { operator Sub sub $vector }
        $crate::simd::forward! { operator Mul mul $vector }
        $crate::simd::forward! { operator Div div $vector }
    };
}
pub(crate) use impl_vector;

/// The conversions of [`Simd`], which call the functions of their names in `op`.
#[cfg(feature = "half")]
macro_rules! conversions {
    ($f32:ident) => {
        #[inline(always)]
        fn widen_f16(self, src: &[u16; 16]) -> $f32 {
            $crate::simd::forward!(op::widen_f16(self, src))
        }
        #[inline(always)]
        fn narrow_f16(self, x: $f32, dst: &mut [u16; 16]) {
            $crate::simd::forward!(op::narrow_f16(x, dst));
        }
        #[inline(always)]
        fn widen_bf16(self, src: &[u16; 16]) -> $f32 {
            $crate::simd::forward!(op::widen_bf16(self, src))
        }
        #[inline(always)]
        fn narrow_bf16(self, x: $f32, dst: &mut [u16; 16]) {
            $crate::simd::forward!(op::narrow_bf16(x, dst));
        }
    };
}
/// Nothing to convert.
#[cfg(not(feature = "half"))]
macro_rules! conversions {
    ($f32:ident) => {};
}
pub(crate) use conversions;

/// Every `C`th element of `C` arrays, one after the other, from each of the first `C` on.
#[inline(always)]
fn deinterleaved<T: Copy, const C: usize>(vectors: &[[T; 16]; C]) -> [[T; 16]; C] {
    let all = vectors.as_flattened();
    let mut columns = *vectors;
    for (k, column) in columns.iter_mut().enumerate() {
        for (r, x) in column.iter_mut().enumerate() {
            *x = all[C * r + k];
        }
    }
    columns
}

/// What [`deinterleaved`] took apart.
#[inline(always)]
fn interleaved<T: Copy, const C: usize>(columns: &[[T; 16]; C]) -> [[T; 16]; C] {
    let mut vectors = *columns;
    for (i, x) in vectors.as_flattened_mut().iter_mut().enumerate() {
        *x = columns[i % C][i / C];
    }
    vectors
}

/// Has the function that this is inlined into keep what registers do not hold where lines of the cache begin. Where a function has no arrays that are aligned, the compiler takes the stack as it comes, a multiple of
/// sixteen bytes, and what is kept lies across the ends of lines, or of two pages, which takes longer: a loop had two speeds, 1.2 to 1.4 apart, by where the stack was.
/// (It takes 2 to 3 ns a call, so a row alone goes without.)
#[inline(always)]
pub fn align_stack() {
    #[repr(align(64))]
    struct Line(#[expect(dead_code, reason = "something to align")] u8);
    // What may be changed there is on the stack; a constant would not be.
    core::hint::black_box(&mut Line(0));
}

/// Methods that call the function of their name in `op`.
macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {$(
        #[inline(always)]
        fn $name($($arg: $ty),*) -> $out {
            $crate::simd::forward!(op::$name($($arg),*))
        }
    )*};
    (operator $trait:ident $name:ident $vector:ident) => {
        impl ::core::ops::$trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                $crate::simd::forward!(op::$name(self, other))
            }
        }
    };
    (op::$name:ident($($arg:expr),*)) => {{
        #[allow(unused_unsafe, reason = "the portable functions need no features")]
        // SAFETY: a token or a vector of this instruction set is among the arguments, and both
        // exist only where detection found the features that the function enables. (A mask, a sum
        // or a table is only ever made from a vector or a token.)
        unsafe {
            op::$name($($arg),*)
        }
    }};
}
pub(crate) use forward;

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Kernel, Simd, Vector};
    use crate::backend::Backend;
    use crate::rows::Rows;
    use crate::scalar::Scalar;

    /// Checks what an instruction set does with columns, sums and conversions.
    struct Check;

    impl Kernel<Rows<'_, f32, 1>> for Check {
        type Output = ();

        fn simd<S: Simd>(&self, simd: S, _: Rows<'_, f32, 1>) {
            for stride in [1, 2, 3, 4, 5, 10, 64] {
                columns::<S::F32>(simd, stride);
            }
            sums::<S::F32>(simd);
            small_products::<S::F32>(simd);
            conversions::<S::F32>(simd);
            masks::<S::F32>(simd);
            #[cfg(feature = "half")]
            halves(simd);
            #[cfg(feature = "f64")]
            {
                masks::<S::F64>(simd);
                double::vectors::<S::F64>(simd);
                double::sums::<S::F64>(simd);
            }
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Check {
        fn scalar(&self, _: Rows<'_, f32, 1>) {}
    }

    fn lanes<V: Vector<Elem = f32>>(x: V) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        x.store_prefix(&mut lanes[..15]);
        lanes[15] = x.widen()[15] as f32;
        lanes
    }

    /// They have the bits of products, around the least numbers too; where a factor is 0, but for the sign.
    fn small_products<V: Vector<Elem = f32>>(simd: V::Simd) {
        let mut bits = 1_u32;
        let mut random = || {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bits
        };
        for step in 0..100_000 {
            // Of every size, and those whose product is near the least number: the exponent of one, of both, is given.
            let mut a = f32::from_bits(random());
            let mut b = f32::from_bits(random());
            if step < 100 {
                // Each of these with each.
                let least = [0.0, -0.0, f32::MIN_POSITIVE, f32::from_bits(1), -1.0];
                let signs = [1.0, -1.0][step / 25 % 2];
                (a, b) = (signs * least[step % 5], least[step / 5 % 5]);
            } else if step % 2 == 0 && a.is_normal() {
                let exponent = (a.to_bits() >> 23 & 0xFF).cast_signed();
                let other = (random() % 32).cast_signed() + 99 - exponent;
                let other = other.clamp(0, 254).cast_unsigned();
                b = f32::from_bits(b.to_bits() & 0x807F_FFFF | other << 23);
            }
            let product = V::splat(simd, a).small_product(simd, V::splat(simd, b));
            let (found, expected) = (lanes(product)[0], a * b);
            assert!(
                found.to_bits() == expected.to_bits()
                    || (found.is_nan() && expected.is_nan())
                    || (found == 0.0 && expected == 0.0 && (a == 0.0 || b == 0.0)),
                "{a:e} times {b:e}: {found:e}"
            );
        }
    }

    #[expect(clippy::float_cmp, reason = "these are moved")]
    fn columns<V: Vector<Elem = f32>>(simd: V::Simd, rows: u16) {
        let stride = usize::from(rows);
        let src: Vec<f32> = (0..15 * stride + 4).map(|i| i as f32).collect();
        let mut columns = [V::splat(simd, -1.0); 4];
        V::load_columns(simd, &src, rows, &mut columns);
        for (k, &column) in columns.iter().enumerate() {
            for (row, x) in lanes(column).into_iter().enumerate() {
                assert_eq!(
                    x,
                    src[row * stride + k],
                    "row {row}, column {k} of {stride}"
                );
            }
        }
        let mut dst = vec![-1.0; src.len()];
        V::store_columns(&columns, &mut dst, rows);
        for (i, (&y, &x)) in dst.iter().zip(&src).enumerate() {
            let written = i % stride < 4 || i >= 15 * stride;
            assert_eq!(
                y,
                if written { x } else { -1.0 },
                "element {i}, stride {stride}"
            );
        }
    }

    #[expect(clippy::float_cmp, reason = "these are rounded alike")]
    fn sums<V: Vector<Elem = f32>>(simd: V::Simd) {
        let x: [f32; 16] = core::array::from_fn(|i| 0.1 + i as f32);
        let x = V::load_or(simd, &x[..15], 0.3);
        let zero = V::sum_zero(simd);
        let (once, twice) = (V::sum_add(zero, x), V::sum_add(V::sum_add(zero, x), x));
        let mut tree = V::sum_lanes(V::sum_merge(once, twice));
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                tree[i] += tree[i + half];
            }
        }
        let thrice = V::sum_total(V::sum_add(twice, x));
        assert_eq!(tree[0].to_bits(), thrice.to_bits());
        assert_eq!(V::sum_lanes(V::sum_of(simd, x)), V::sum_lanes(once));
        let mut tree = lanes(x);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                tree[i] += tree[i + half];
            }
        }
        assert_eq!(x.reduce_sum().to_bits(), tree[0].to_bits());
        each_by_itself(simd, x);

        let scaled = V::sum_scale(twice, 0.7);
        let want = V::sum_lanes(twice).map(|x| x * 0.7);
        assert_eq!(V::sum_lanes(scaled), want);
        assert_eq!(lanes(V::sum_narrow(simd, scaled)), want.map(|x| x as f32));
    }

    /// What is done with sixteen vectors is what is done with each.
    pub fn each_by_itself<V: Vector>(simd: V::Simd, x: V) {
        let mut all = [x; 16];
        for i in 1..16 {
            // Each lane is the largest of some vector.
            let mut lanes = all[i - 1].lanes();
            lanes.rotate_right(1);
            all[i] = V::load_or(simd, &lanes[..15], lanes[15]) * V::constant(simd, 1.07);
        }
        let is = |got: V, want: [V::Elem; 16]| assert_eq!(got.lanes(), want);
        is(V::max_of_each(simd, &all), all.map(V::reduce_max));
        is(V::sum_of_each(simd, &all), all.map(V::reduce_sum));
        let sums = all.map(|x| V::sum_add_product(V::sum_of(simd, x), x, all[3]));
        assert_eq!(V::totals(&sums), sums.map(V::sum_total));
        taken_apart::<V, 2>(&all, V::deinterleave, V::interleave, simd);
        taken_apart::<V, 3>(&all, V::deinterleave_3, V::interleave_3, simd);
    }

    /// Every `C`th element of `C` vectors, and these again.
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn taken_apart<V: Vector, const C: usize>(
        vectors: &[V],
        apart: fn(V::Simd, [V; C]) -> [V; C],
        together: fn(V::Simd, [V; C]) -> [V; C],
        simd: V::Simd,
    ) {
        let vectors: [V; C] = *vectors.first_chunk().unwrap();
        let all: Vec<V::Elem> = vectors.iter().flat_map(|x| x.lanes()).collect();
        let columns = apart(simd, vectors);
        for (k, column) in columns.iter().enumerate() {
            let want: Vec<_> = all.iter().skip(k).step_by(C).copied().collect();
            assert_eq!(column.lanes()[..], want, "column {k} of {C}");
        }
        let again = together(simd, columns);
        assert!(again.iter().flat_map(|x| x.lanes()).eq(all), "{C}");
    }

    fn conversions<V: Vector<Elem = f32>>(simd: V::Simd) {
        // Ordinary, a tie, subnormal, too small, too large, special.
        let x = [
            0.0,
            -0.0,
            0.1,
            -1e10,
            1.0 + f64::from(f32::EPSILON) / 2.0,
            1e-40,
            -1e-46,
            1e-45,
            1e39,
            -1e39,
            3.402_823_5e38,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            1e-300,
            2.5,
        ];
        let narrow = V::narrow(simd, &x);
        for ((wide, x), lane) in narrow.widen().into_iter().zip(x).zip(lanes(narrow)) {
            assert_eq!(lane.to_bits(), (x as f32).to_bits(), "{x:e}");
            assert_eq!(wide.to_bits(), f64::from(lane).to_bits(), "{x:e}");
        }
    }

    /// All 16-bit floats, and the numbers next to each, and to what lies half way to the following one.
    #[cfg(feature = "half")]
    fn halves<S: Simd>(simd: S) {
        use half::{bf16, f16};

        let quiet = |x: f32| if x.is_nan() { f32::NAN } else { x };
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for bits in all.as_chunks::<16>().0 {
            let (wide_f16, wide_bf16) = (lanes(simd.widen_f16(bits)), lanes(simd.widen_bf16(bits)));
            for (i, &bits) in bits.iter().enumerate() {
                let (f16, bf16) = (f16::from_bits(bits), bf16::from_bits(bits));
                for (found, want) in [(wide_f16[i], f16.to_f32()), (wide_bf16[i], bf16.to_f32())] {
                    assert_eq!(quiet(found).to_bits(), quiet(want).to_bits(), "{bits:x}");
                }
            }
        }
        let near = |x: u32| [x.wrapping_sub(1), x, x.wrapping_add(1)];
        let mut x: Vec<f32> = Vec::new();
        for bits in 0..=u16::MAX {
            let from_f16 = f16::from_bits(bits).to_f32();
            // Half of its last bit more: of a subnormal one, too.
            let next = f16::from_bits(bits.wrapping_add(1)).to_f32();
            let half_way = f32::midpoint(from_f16, next);
            let from_bf16 = u32::from(bits) << 16;
            for bits in [
                from_f16.to_bits(),
                half_way.to_bits(),
                from_bf16,
                from_bf16 | 0x8000,
            ] {
                x.extend(near(bits).map(|bits| quiet(f32::from_bits(bits))));
            }
        }
        for x in x.as_chunks().0 {
            let (mut to_f16, mut to_bf16) = ([0; 16], [0; 16]);
            simd.narrow_f16(S::F32::load(simd, x), &mut to_f16);
            simd.narrow_bf16(S::F32::load(simd, x), &mut to_bf16);
            for ((&x, to_f16), to_bf16) in x.iter().zip(to_f16).zip(to_bf16) {
                assert_eq!(to_f16, f16::from_f32(x).to_bits(), "{x:e}");
                assert_eq!(to_bf16, bf16::from_f32(x).to_bits(), "{x:e}");
            }
        }
    }

    fn masks<V: Vector>(simd: V::Simd) {
        for i in 0..16 {
            assert_eq!(V::bits(V::lane(simd, i)), 1 << i);
            assert_eq!(V::bits(V::lanes_from(simd, i)), 0xffff & (0xffff << i));
        }
        for bits in [0, 0xffff, 0b1010_0111_0000_1101, 0x8001] {
            let flags = core::array::from_fn(|i| bits >> i & 1 == 1);
            assert_eq!(V::bits(V::lanes_of(simd, &flags)), bits);
        }
    }

    #[test]
    fn every_instruction_set_does_the_same() {
        for backend in Backend::available() {
            println!("{backend:?}");
            backend.run(&Check, Rows::flat(&[]));
        }
    }

    #[cfg(feature = "f64")]
    mod double {
        use super::Vector;
        use crate::kernel::double::EXP;
        use crate::kernel::pair::Pair;
        use crate::kernel::wide::WideFloat as _;

        fn lanes_of<V: Vector<Elem = f64>>(x: V) -> [f64; 16] {
            x.widen().map(Pair::nearest)
        }

        /// Columns, tails and powers of two of `f64`.
        #[expect(clippy::float_cmp, reason = "these are moved")]
        pub fn vectors<V: Vector<Elem = f64>>(simd: V::Simd) {
            for rows in [1, 3, 4, 10_u16] {
                let stride = usize::from(rows);
                let src: Vec<f64> = (0..15 * stride + 4).map(|i| i as f64 + 0.1).collect();
                let mut columns = [V::splat(simd, -1.0); 4];
                V::load_columns(simd, &src, rows, &mut columns);
                for (k, &column) in columns.iter().enumerate() {
                    for (row, x) in lanes_of(column).into_iter().enumerate() {
                        assert_eq!(x, src[row * stride + k], "{row}, {k} of {stride}");
                    }
                }
                let mut dst = src.clone();
                V::store_columns(&columns, &mut dst, rows);
                assert_eq!(dst, src);
            }
            let x: [f64; 16] = core::array::from_fn(|i| i as f64 - 7.5);
            for len in 0..16 {
                let vector = V::load_or(simd, &x[..len], 99.0);
                let mut dst = [-1.0; 16];
                vector.store_prefix(&mut dst[..len]);
                for (i, lane) in lanes_of(vector).into_iter().enumerate() {
                    assert_eq!(lane, if i < len { x[i] } else { 99.0 });
                    assert_eq!(dst[i], if i < len { x[i] } else { -1.0 });
                }
                assert_eq!(lanes_of(vector.abs())[0], if len > 0 { 7.5 } else { 99.0 });
                assert_eq!(
                    (vector.reduce_max(), vector.first()),
                    (99.0, lanes_of(vector)[0])
                );
            }
            let table = V::table(simd, &EXP.table);
            for k in [-900, -1, 0, 1, 250] {
                for (j, entry) in (0..).zip(EXP.table) {
                    let z = V::splat(simd, EXP.round + f64::from(8 * k + j));
                    assert_eq!(z.power(table).first(), entry * f64::from(k).exp2());
                }
                let z = V::splat(simd, EXP.round + EXP.bias + f64::from(k));
                assert_eq!(z.exponent().first(), f64::from(k).exp2());
            }
        }

        /// As pairs add: to the last bits.
        #[expect(clippy::float_cmp, reason = "nothing is rounded")]
        pub fn sums<V: Vector<Elem = f64>>(simd: V::Simd) {
            let x: [f64; 16] = core::array::from_fn(|i| 0.1 + i as f64);
            let (x, y) = (V::load_or(simd, &x[..15], 1e-20), V::splat(simd, 1.0 / 3.0));
            let mut sum = V::sum_zero(simd);
            let mut want = [Pair::ZERO; 16];
            for _ in 0..300 {
                sum = V::sum_add_product(V::sum_add(sum, x), x, y);
                for (want, x) in want.iter_mut().zip(lanes_of(x)) {
                    *want += Pair::of(x) + Pair::of(x) * Pair::of(1.0 / 3.0);
                }
            }
            let close = |a: Pair, b: Pair| (a - b).abs().nearest() <= 1e-28 * b.abs().nearest();
            let lanes = V::sum_lanes(sum);
            assert!(
                lanes.iter().zip(want).all(|(&a, b)| close(a, b)),
                "{lanes:?} {want:?}"
            );
            let total = want.into_iter().fold(Pair::ZERO, |a, b| a + b);
            assert!(close(V::sum_total(sum), total));
            let once = V::sum_add(V::sum_zero(simd), x);
            assert_eq!(
                V::sum_lanes(V::sum_of(simd, x)).map(Pair::nearest),
                V::sum_lanes(once).map(Pair::nearest)
            );
            let mut tree = lanes_of(x);
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    tree[i] += tree[i + half];
                }
            }
            assert_eq!(x.reduce_sum().to_bits(), tree[0].to_bits());
            super::each_by_itself(simd, x);
            let factor = Pair::ONE / Pair::of(-7.0);
            let scaled = V::sum_scale(V::sum_merge(sum, sum), factor);
            let twice = want.map(|x| x * Pair::of(2.0) * factor);
            assert!(
                V::sum_lanes(scaled)
                    .iter()
                    .zip(twice)
                    .all(|(&a, b)| close(a, b))
            );
            let narrow = V::sum_narrow(simd, scaled);
            for (narrow, twice) in lanes_of(narrow).into_iter().zip(twice) {
                assert_eq!(narrow.to_bits(), twice.nearest().to_bits());
            }
        }
    }
}
