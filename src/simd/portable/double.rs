//! The portable backend: sixteen lanes of `f64`.

use wide::f64x8;

use super::{FUSED, Portable};
use crate::kernel::pair::Pair;
use crate::simd::{double, impl_vector};

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F64x16(f64x8, f64x8);

/// All bits of a lane set, or none.
#[derive(Clone, Copy, Debug)]
pub struct Mask(f64x8, f64x8);

/// The bits of eight numbers, number `j` less `j` eighths of a step of the exponent.
#[derive(Clone, Copy, Debug)]
pub struct Table([u64; 8]);

type Sum = double::Sum<F64x16>;

// Two vectors: the fewest, of SSE2.
impl_vector!(F64x16 of 16 f64 and Pair, Portable, Mask, Sum, Table, registers: 2, by columns: false, fused: FUSED);

mod op {
    use super::super::SECOND_WINS;
    use super::{F64x16, Mask, Portable, Sum, Table, f64x8};
    use crate::kernel::pair::Pair;
    use crate::simd::double;
    pub(super) use double::{
        deinterleave, deinterleave_3, interleave, interleave_3, max_of_each, narrow, reduce_sum,
        sum_lanes, sum_narrow, sum_of, sum_of_each, sum_scale, sum_zero, totals, widen,
    };

    // Additions to sums, the total, tails and columns are out of line: a vector is eight registers of SSE2, half of all, so what
    // they work on is in memory anyway, and the code of each is long. (Targets with more registers pay too; they were not measured.)

    #[inline(always)]
    pub(super) fn sum_add(mut sum: Sum, x: F64x16) -> Sum {
        #[inline(never)]
        fn add(sum: &mut Sum, x: &F64x16) {
            *sum = double::sum_add(*sum, *x);
        }
        add(&mut sum, &x);
        sum
    }

    #[inline(always)]
    pub(super) fn sum_add_product(mut sum: Sum, a: F64x16, b: F64x16) -> Sum {
        #[inline(never)]
        fn add(sum: &mut Sum, a: &F64x16, b: &F64x16) {
            *sum = double::sum_add_product(*sum, *a, *b);
        }
        add(&mut sum, &a, &b);
        sum
    }

    #[inline(always)]
    pub(super) fn sum_merge(mut a: Sum, b: Sum) -> Sum {
        #[inline(never)]
        fn merge(a: &mut Sum, b: &Sum) {
            *a = double::sum_merge(*a, *b);
        }
        merge(&mut a, &b);
        a
    }

    #[inline(never)]
    pub(super) fn sum_total(sum: Sum) -> Pair {
        double::sum_total(sum)
    }

    #[inline(never)]
    pub(super) fn load_columns(
        simd: Portable,
        src: &[f64],
        stride: u16,
        columns: &mut [F64x16; 4],
    ) {
        double::load_columns(simd, src, stride, columns);
    }

    #[inline(never)]
    pub(super) fn store_columns(columns: &[F64x16; 4], dst: &mut [f64], stride: u16) {
        double::store_columns(columns, dst, stride);
    }

    #[inline(always)]
    fn new(lanes: &[f64; 16]) -> (f64x8, f64x8) {
        let [lo, hi] = lanes.as_chunks().0 else {
            unreachable!("sixteen are two times eight")
        };
        (f64x8::new(*lo), f64x8::new(*hi))
    }

    #[inline(always)]
    pub(super) fn lanes(x: F64x16) -> [f64; 16] {
        let (lo, hi) = (x.0.to_array(), x.1.to_array());
        core::array::from_fn(
            #[inline(always)]
            |i| if i < 8 { lo[i] } else { hi[i - 8] },
        )
    }

    #[inline(always)]
    pub(super) fn splat(_: Portable, x: f64) -> F64x16 {
        F64x16(f64x8::splat(x), f64x8::splat(x))
    }

    #[inline(always)]
    pub(super) fn load(_: Portable, src: &[f64; 16]) -> F64x16 {
        let (lo, hi) = new(src);
        F64x16(lo, hi)
    }

    #[inline(never)]
    pub(super) fn load_or(simd: Portable, src: &[f64], fill: f64) -> F64x16 {
        let mut lanes = [fill; 16];
        for (lane, &x) in lanes.iter_mut().zip(src) {
            *lane = x;
        }
        load(simd, &lanes)
    }

    #[inline(always)]
    pub(super) fn store(x: F64x16, dst: &mut [f64; 16]) {
        let [lo, hi] = dst.as_chunks_mut().0 else {
            unreachable!("sixteen are two times eight")
        };
        (*lo, *hi) = (x.0.to_array(), x.1.to_array());
    }

    #[inline(never)]
    pub(super) fn store_prefix(x: F64x16, dst: &mut [f64]) {
        for (y, lane) in dst.iter_mut().zip(lanes(x)) {
            *y = lane;
        }
    }

    #[inline(always)]
    pub(super) fn add(a: F64x16, b: F64x16) -> F64x16 {
        F64x16(a.0 + b.0, a.1 + b.1)
    }

    #[inline(always)]
    pub(super) fn sub(a: F64x16, b: F64x16) -> F64x16 {
        F64x16(a.0 - b.0, a.1 - b.1)
    }

    #[inline(always)]
    pub(super) fn mul(a: F64x16, b: F64x16) -> F64x16 {
        F64x16(a.0 * b.0, a.1 * b.1)
    }

    #[inline(always)]
    pub(super) fn div(a: F64x16, b: F64x16) -> F64x16 {
        F64x16(a.0 / b.0, a.1 / b.1)
    }

    #[inline(always)]
    pub(super) fn mul_add(x: F64x16, a: F64x16, b: F64x16) -> F64x16 {
        F64x16(x.0.mul_add(a.0, b.0), x.1.mul_add(a.1, b.1))
    }

    #[inline(always)]
    pub(super) fn neg_mul_add(x: F64x16, a: F64x16, b: F64x16) -> F64x16 {
        F64x16(x.0.mul_neg_add(a.0, b.0), x.1.mul_neg_add(a.1, b.1))
    }

    #[inline(always)]
    pub(super) fn max(x: F64x16, other: F64x16) -> F64x16 {
        if SECOND_WINS {
            F64x16(x.0.fast_max(other.0), x.1.fast_max(other.1))
        } else {
            F64x16(other.0.fast_max(x.0), other.1.fast_max(x.1))
        }
    }

    #[inline(always)]
    pub(super) fn min(x: F64x16, other: F64x16) -> F64x16 {
        if SECOND_WINS {
            F64x16(x.0.fast_min(other.0), x.1.fast_min(other.1))
        } else {
            F64x16(other.0.fast_min(x.0), other.1.fast_min(x.1))
        }
    }

    #[inline(always)]
    pub(super) fn abs(x: F64x16) -> F64x16 {
        F64x16(x.0.abs(), x.1.abs())
    }

    #[inline(always)]
    pub(super) fn exponent(x: F64x16) -> F64x16 {
        F64x16(
            f64x8::from_bits(x.0.to_bits() << 52_u64),
            f64x8::from_bits(x.1.to_bits() << 52_u64),
        )
    }

    #[inline(always)]
    pub(super) fn table(_: Portable, entries: &[f64; 8]) -> Table {
        let mut table = [0; 8];
        for (j, entry) in table.iter_mut().enumerate() {
            *entry = entries[j].to_bits() - ((j as u64) << 49);
        }
        Table(table)
    }

    /// `wide` has no lookup: one lane at a time.
    #[inline(always)]
    pub(super) fn power(z: F64x16, table: Table) -> F64x16 {
        let mut lanes = lanes(z);
        for lane in &mut lanes {
            let z = lane.to_bits();
            *lane = f64::from_bits(table.0[(z % 8) as usize].wrapping_add(z << 49));
        }
        let (lo, hi) = new(&lanes);
        F64x16(lo, hi)
    }

    #[inline(always)]
    pub(super) fn lt(a: F64x16, b: F64x16) -> Mask {
        Mask(a.0.simd_lt(b.0), a.1.simd_lt(b.1))
    }

    #[inline(always)]
    pub(super) fn eq(a: F64x16, b: F64x16) -> Mask {
        Mask(a.0.simd_eq(b.0), a.1.simd_eq(b.1))
    }

    #[inline(always)]
    pub(super) fn is_nan(x: F64x16) -> Mask {
        Mask(x.0.is_nan(), x.1.is_nan())
    }

    #[inline(always)]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        Mask(a.0 | b.0, a.1 | b.1)
    }

    #[inline(always)]
    fn numbers() -> (f64x8, f64x8) {
        let lanes = core::array::from_fn(
            #[inline(always)]
            |lane| lane as f64,
        );
        new(&lanes)
    }

    #[inline(always)]
    pub(super) fn lane(_: Portable, i: usize) -> Mask {
        let ((lo, hi), i) = (numbers(), f64x8::splat(i as f64));
        Mask(lo.simd_eq(i), hi.simd_eq(i))
    }

    #[inline(always)]
    pub(super) fn lanes_from(_: Portable, i: usize) -> Mask {
        let ((lo, hi), before) = (numbers(), f64x8::splat(i as f64 - 0.5));
        Mask(before.simd_lt(lo), before.simd_lt(hi))
    }

    #[inline(always)]
    pub(super) fn lanes_of(_: Portable, flags: &[bool; 16]) -> Mask {
        let mut lanes = [0.0; 16];
        for (lane, &flag) in lanes.iter_mut().zip(flags) {
            // All bits of a lane, or none.
            *lane = f64::from_bits(u64::from(flag).wrapping_neg());
        }
        let (lo, hi) = new(&lanes);
        Mask(lo, hi)
    }

    #[inline(always)]
    pub(super) fn select(mask: Mask, yes: F64x16, no: F64x16) -> F64x16 {
        F64x16(mask.0.bitselect(yes.0, no.0), mask.1.bitselect(yes.1, no.1))
    }

    #[inline(always)]
    pub(super) fn bits(mask: Mask) -> u32 {
        mask.0.to_bitmask() | mask.1.to_bitmask() << 8
    }

    #[inline(always)]
    pub(super) fn first(x: F64x16) -> f64 {
        x.0.to_array()[0]
    }

    #[inline(always)]
    pub(super) fn reduce_max(x: F64x16) -> f64 {
        let mut lanes = lanes(x);
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
    pub(super) fn in_order(x: F64x16) -> F64x16 {
        x
    }

    #[inline(always)]
    pub(super) fn prefetch(_: Portable, _: *const f64) {}
}
