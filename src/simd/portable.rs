//! The portable backend: sixteen lanes of the crate `wide`, which is SSE2, NEON, wasm `simd128` or
//! plain arrays, as the compiler's target has it.

use wide::{f32x4, f32x16, f64x8, u32x16};

use super::{Kernel, Simd, conversions, impl_vector};

/// The token of a backend that every processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable;

impl Portable {
    /// Runs a kernel. Out of line, as those of the other instruction sets are: so nobody else has room for it on the stack.
    #[inline(never)]
    pub(crate) fn run<D, K: Kernel<D>>(self, kernel: &K, data: D) -> K::Output {
        kernel.simd(self, data)
    }
}

#[cfg(feature = "f64")]
mod double;

impl Simd for Portable {
    type F32 = F32x16;
    #[cfg(feature = "f64")]
    type F64 = double::F64x16;

    #[inline(never)]
    fn out_of_line<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    conversions!(F32x16);
}

/// Whether `wide` fuses its multiply-add on the compiler's target.
pub(crate) const FUSED: bool = cfg!(any(
    all(
        any(target_arch = "x86_64", target_arch = "x86"),
        target_feature = "fma"
    ),
    all(target_arch = "aarch64", target_feature = "neon"),
));

/// Which operand `fast_max` returns for a NaN is the target's choice: the second on x86, any
/// NaN on 64-bit NEON, the first elsewhere (there it is `a < b ? b : a`).
const SECOND_WINS: bool = cfg!(any(
    target_feature = "sse",
    all(target_feature = "neon", target_arch = "aarch64"),
));

/// Lanes 0 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F32x16(f32x16);

/// All bits of a lane set, or none.
#[derive(Clone, Copy, Debug)]
pub struct Mask(f32x16);

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct Sum(f64x8, f64x8);

/// The bits of eight numbers, number `j` less `j` eighths of a step of the exponent.
#[derive(Clone, Copy, Debug)]
pub struct Table([u32; 8]);

// Four registers: the fewest, of SSE2.
impl_vector!(F32x16 of 16 f32 and f64, Portable, Mask, Sum, Table, registers: 4, by columns: true, fused: FUSED);

mod op {
    use super::{F32x16, Mask, Portable, SECOND_WINS, Sum, Table, f32x4, f32x16, f64x8, u32x16};
    use crate::simd::{deinterleaved, interleaved};

    #[inline(always)]
    pub(super) fn splat(_: Portable, x: f32) -> F32x16 {
        F32x16(f32x16::splat(x))
    }

    #[inline(always)]
    pub(super) fn load(_: Portable, src: &[f32; 16]) -> F32x16 {
        F32x16(f32x16::new(*src))
    }

    #[inline(always)]
    pub(super) fn load_or(_: Portable, src: &[f32], fill: f32) -> F32x16 {
        let mut lanes = [fill; 16];
        for (lane, &x) in lanes.iter_mut().zip(src) {
            *lane = x;
        }
        F32x16(f32x16::new(lanes))
    }

    #[inline(always)]
    pub(super) fn store(x: F32x16, dst: &mut [f32; 16]) {
        *dst = x.0.to_array();
    }

    #[inline(always)]
    pub(super) fn store_prefix(x: F32x16, dst: &mut [f32]) {
        for (y, lane) in dst.iter_mut().zip(x.0.to_array()) {
            *y = lane;
        }
    }

    #[inline(always)]
    pub(super) fn add(a: F32x16, b: F32x16) -> F32x16 {
        F32x16(a.0 + b.0)
    }

    #[inline(always)]
    pub(super) fn sub(a: F32x16, b: F32x16) -> F32x16 {
        F32x16(a.0 - b.0)
    }

    #[inline(always)]
    pub(super) fn mul(a: F32x16, b: F32x16) -> F32x16 {
        F32x16(a.0 * b.0)
    }

    #[inline(always)]
    pub(super) fn div(a: F32x16, b: F32x16) -> F32x16 {
        F32x16(a.0 / b.0)
    }

    #[inline(always)]
    pub(super) fn mul_add(x: F32x16, a: F32x16, b: F32x16) -> F32x16 {
        F32x16(x.0.mul_add(a.0, b.0))
    }

    #[inline(always)]
    pub(super) fn neg_mul_add(x: F32x16, a: F32x16, b: F32x16) -> F32x16 {
        F32x16(x.0.mul_neg_add(a.0, b.0))
    }

    #[inline(always)]
    pub(super) fn max(x: F32x16, other: F32x16) -> F32x16 {
        F32x16(if SECOND_WINS {
            x.0.fast_max(other.0)
        } else {
            other.0.fast_max(x.0)
        })
    }

    #[inline(always)]
    pub(super) fn min(x: F32x16, other: F32x16) -> F32x16 {
        F32x16(if SECOND_WINS {
            x.0.fast_min(other.0)
        } else {
            other.0.fast_min(x.0)
        })
    }

    #[inline(always)]
    pub(super) fn abs(x: F32x16) -> F32x16 {
        F32x16(x.0.abs())
    }

    #[inline(always)]
    pub(super) fn exponent(x: F32x16) -> F32x16 {
        F32x16(f32x16::from_bits(x.0.to_bits() << 23_u32))
    }

    #[inline(always)]
    pub(super) fn table(_: Portable, entries: &[f32; 8]) -> Table {
        let mut table = entries.map(f32::to_bits);
        for (j, entry) in (0..).zip(&mut table) {
            *entry -= j << 20_u32;
        }
        Table(table)
    }

    /// `wide` has no lookup: one lane at a time.
    #[inline(always)]
    pub(super) fn power(z: F32x16, table: Table) -> F32x16 {
        let mut lanes = z.0.to_bits().to_array();
        for lane in &mut lanes {
            *lane = table.0[(*lane % 8) as usize].wrapping_add(*lane << 20_u32);
        }
        F32x16(f32x16::from_bits(u32x16::new(lanes)))
    }

    #[inline(always)]
    pub(super) fn lt(a: F32x16, b: F32x16) -> Mask {
        Mask(a.0.simd_lt(b.0))
    }

    #[inline(always)]
    pub(super) fn eq(a: F32x16, b: F32x16) -> Mask {
        Mask(a.0.simd_eq(b.0))
    }

    #[inline(always)]
    pub(super) fn is_nan(x: F32x16) -> Mask {
        Mask(x.0.is_nan())
    }

    #[inline(always)]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        Mask(a.0 | b.0)
    }

    #[inline(always)]
    pub(super) fn lane(_: Portable, i: usize) -> Mask {
        let lanes = f32x16::new(core::array::from_fn(|lane| lane as f32));
        Mask(lanes.simd_eq(f32x16::splat(i as f32)))
    }

    #[inline(always)]
    pub(super) fn lanes_from(_: Portable, i: usize) -> Mask {
        let lanes = f32x16::new(core::array::from_fn(|lane| lane as f32));
        Mask(f32x16::splat(i as f32 - 0.5).simd_lt(lanes))
    }

    #[inline(always)]
    pub(super) fn lanes_of(_: Portable, flags: &[bool; 16]) -> Mask {
        let mut lanes = [0.0; 16];
        for (lane, &flag) in lanes.iter_mut().zip(flags) {
            // All bits of a lane, or none.
            *lane = f32::from_bits(u32::from(flag).wrapping_neg());
        }
        Mask(f32x16::new(lanes))
    }

    #[inline(always)]
    pub(super) fn select(mask: Mask, yes: F32x16, no: F32x16) -> F32x16 {
        F32x16(mask.0.bitselect(yes.0, no.0))
    }

    #[inline(always)]
    pub(super) fn bits(mask: Mask) -> u32 {
        mask.0.to_bitmask()
    }

    #[inline(always)]
    pub(super) fn first(x: F32x16) -> f32 {
        x.0.to_array()[0]
    }

    #[inline(always)]
    pub(super) fn reduce_max(x: F32x16) -> f32 {
        let mut lanes = x.0.to_array();
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                // Whichever is NaN is kept.
                if lanes[i] < lanes[i + half] || lanes[i + half].is_nan() {
                    lanes[i] = lanes[i + half];
                }
            }
        }
        lanes[0]
    }

    #[inline(always)]
    pub(super) fn reduce_sum(x: F32x16) -> f32 {
        let mut lanes = x.0.to_array();
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }

    #[inline(always)]
    pub(super) fn lanes(x: F32x16) -> [f32; 16] {
        x.0.to_array()
    }

    #[inline(always)]
    pub(super) fn max_of_each(_: Portable, vectors: &[F32x16; 16]) -> F32x16 {
        F32x16(f32x16::new(vectors.map(reduce_max)))
    }

    #[inline(always)]
    pub(super) fn sum_of_each(_: Portable, vectors: &[F32x16; 16]) -> F32x16 {
        F32x16(f32x16::new(vectors.map(reduce_sum)))
    }

    #[inline(always)]
    pub(super) fn deinterleave<const C: usize>(_: Portable, vectors: [F32x16; C]) -> [F32x16; C] {
        deinterleaved(&vectors.map(lanes)).map(|x| F32x16(f32x16::new(x)))
    }
    pub(super) use deinterleave as deinterleave_3;

    #[inline(always)]
    pub(super) fn interleave<const C: usize>(_: Portable, columns: [F32x16; C]) -> [F32x16; C] {
        interleaved(&columns.map(lanes)).map(|x| F32x16(f32x16::new(x)))
    }
    pub(super) use interleave as interleave_3;

    #[inline(always)]
    pub(super) fn totals(sums: &[Sum; 16]) -> [f64; 16] {
        sums.map(sum_total)
    }

    #[inline(always)]
    pub(super) fn sum_zero(_: Portable) -> Sum {
        Sum(f64x8::splat(0.0), f64x8::splat(0.0))
    }

    #[inline(always)]
    pub(super) fn sum_of(_: Portable, x: F32x16) -> Sum {
        let (lo, hi) = halves(x);
        Sum(lo, hi)
    }

    /// `wide` has no conversion from `f32` to `f64`; of this the compiler makes vector code.
    #[inline(always)]
    fn halves(x: F32x16) -> (f64x8, f64x8) {
        let x = x.0.to_array();
        (
            f64x8::new(core::array::from_fn(|i| f64::from(x[i]))),
            f64x8::new(core::array::from_fn(|i| f64::from(x[i + 8]))),
        )
    }

    #[inline(always)]
    pub(super) fn in_order(x: F32x16) -> F32x16 {
        x
    }

    #[inline(always)]
    pub(super) fn prefetch(_: Portable, _: *const f32) {}

    #[inline(always)]
    pub(super) fn load_columns(_: Portable, src: &[f32], stride: u16, columns: &mut [F32x16; 4]) {
        let stride = usize::from(stride);
        for (i, first) in [0, 4, 8, 12].into_iter().enumerate() {
            let four = |row: usize| f32x4::new(src[(first + row) * stride..].as_chunks().0[0]);
            let four = f32x4::transpose([four(0), four(1), four(2), four(3)]);
            for (column, rows) in columns.iter_mut().zip(&four) {
                column.0.as_mut_array().as_chunks_mut().0[i] = rows.to_array();
            }
        }
    }

    #[inline(always)]
    pub(super) fn store_columns(columns: &[F32x16; 4], dst: &mut [f32], stride: u16) {
        let stride = usize::from(stride);
        let [a, b, c, d] = columns.each_ref().map(
            #[inline(always)]
            |column| column.0.as_array().as_chunks().0,
        );
        for (i, first) in [0, 4, 8, 12].into_iter().enumerate() {
            let four = [a[i], b[i], c[i], d[i]].map(f32x4::new);
            let rows = f32x4::transpose(four);
            for (row, four) in rows.iter().enumerate() {
                dst[(first + row) * stride..].as_chunks_mut().0[0] = four.to_array();
            }
        }
    }

    #[inline(always)]
    pub(super) fn narrow(_: Portable, x: &[f64; 16]) -> F32x16 {
        let mut lanes = [0.0; 16];
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = x as f32;
        }
        F32x16(f32x16::new(lanes))
    }

    #[inline(always)]
    pub(super) fn widen(x: F32x16) -> [f64; 16] {
        x.0.to_array().map(f64::from)
    }

    #[inline(always)]
    pub(super) fn sum_lanes(sum: Sum) -> [f64; 16] {
        let (lo, hi) = (sum.0.to_array(), sum.1.to_array());
        core::array::from_fn(|i| if i < 8 { lo[i] } else { hi[i - 8] })
    }

    #[inline(always)]
    pub(super) fn sum_scale(sum: Sum, factor: f64) -> Sum {
        let factor = f64x8::splat(factor);
        Sum(sum.0 * factor, sum.1 * factor)
    }

    #[inline(always)]
    pub(super) fn sum_narrow(simd: Portable, sum: Sum) -> F32x16 {
        narrow(simd, &sum_lanes(sum))
    }

    #[inline(always)]
    pub(super) fn sum_merge(a: Sum, b: Sum) -> Sum {
        Sum(a.0 + b.0, a.1 + b.1)
    }

    #[inline(always)]
    pub(super) fn sum_add(sum: Sum, x: F32x16) -> Sum {
        let (lo, hi) = halves(x);
        Sum(sum.0 + lo, sum.1 + hi)
    }

    #[inline(always)]
    pub(super) fn sum_add_product(sum: Sum, a: F32x16, b: F32x16) -> Sum {
        let ((a_lo, a_hi), (b_lo, b_hi)) = (halves(a), halves(b));
        Sum(sum.0 + a_lo * b_lo, sum.1 + a_hi * b_hi)
    }

    #[inline(always)]
    pub(super) fn sum_total(sum: Sum) -> f64 {
        let s = (sum.0 + sum.1).to_array();
        let s: [f64; 4] = core::array::from_fn(|i| s[i] + s[i + 4]);
        (s[0] + s[2]) + (s[1] + s[3])
    }

    /// The exponent of an `f16`, moved to where that of an `f32` is, is too small by this factor; so are subnormal numbers.
    #[cfg(feature = "half")]
    const F16_BIAS: f32 = 5_192_296_858_534_827_628_530_496_329_220_096.0; // 2^112

    #[cfg(feature = "half")]
    #[inline(always)]
    pub(super) fn widen_f16(_: Portable, src: &[u16; 16]) -> F32x16 {
        let mut lanes = [0.0; 16];
        for (lane, &bits) in lanes.iter_mut().zip(src) {
            let bits = u32::from(bits);
            let magnitude = (bits & 0x7FFF) << 13_u32;
            let finite = f32::from_bits(magnitude) * F16_BIAS;
            // Infinity and NaN, which is quiet then.
            let quiet = if magnitude > 0x0F80_0000 {
                0x0040_0000
            } else {
                0
            };
            let is_special = magnitude >= 0x0F80_0000;
            let special = magnitude | 0x7F80_0000 | quiet;
            let magnitude = if is_special {
                special
            } else {
                finite.to_bits()
            };
            *lane = f32::from_bits(magnitude | (bits & 0x8000) << 16_u32);
        }
        F32x16(f32x16::new(lanes))
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    pub(super) fn narrow_f16(x: F32x16, dst: &mut [u16; 16]) {
        // The numbers from which on the result is infinite, and is normal.
        const LARGE: u32 = 0x4780_0000; // 2^16
        const NORMAL: u32 = 0x3880_0000; // 2^-14
        for (half, x) in dst.iter_mut().zip(x.0.to_array()) {
            let sign = x.to_bits() >> 16_u32 & 0x8000;
            let magnitude = x.to_bits() & 0x7FFF_FFFF;
            // Half of what is cut off is added, and a tie goes to the even one.
            let last = magnitude >> 13_u32 & 1;
            let normal = magnitude
                .wrapping_sub(112 << 23_u32)
                .wrapping_add(0xFFF + last)
                >> 13_u32;
            // 0.5 has the last bit of the subnormal numbers of `f16`: this sum rounds to a multiple of it.
            let small = (f32::from_bits(magnitude) + 0.5)
                .to_bits()
                .wrapping_sub(0.5_f32.to_bits());
            let special = if magnitude > 0x7F80_0000 {
                0x7E00
            } else {
                0x7C00
            };
            let finite = if magnitude < NORMAL { small } else { normal };
            let bits = if magnitude < LARGE { finite } else { special };
            *half = (sign | bits) as u16;
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    pub(super) fn widen_bf16(_: Portable, src: &[u16; 16]) -> F32x16 {
        let mut lanes = [0.0; 16];
        for (lane, &bits) in lanes.iter_mut().zip(src) {
            *lane = f32::from_bits(u32::from(bits) << 16_u32);
        }
        F32x16(f32x16::new(lanes))
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    pub(super) fn narrow_bf16(x: F32x16, dst: &mut [u16; 16]) {
        for (half, x) in dst.iter_mut().zip(x.0.to_array()) {
            // Half of what is cut off is added, and a tie goes to the even one.
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7FFF + (bits >> 16_u32 & 1)) >> 16_u32;
            *half = if x.is_nan() { 0x7FC0 } else { rounded as u16 };
        }
    }
}
