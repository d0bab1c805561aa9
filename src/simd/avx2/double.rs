//! AVX2 with FMA: sixteen lanes of `f64` in four registers.

use core::arch::x86_64::{__m256d, __m256i};

use super::{Avx2, REGISTERS};
use crate::kernel::pair::Pair;
use crate::simd::{double, impl_vector};

/// Lanes 0 to 3, 4 to 7, 8 to 11, 12 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F64x16([__m256d; 4]);

/// All bits of a lane set, or none.
#[derive(Clone, Copy, Debug)]
pub struct Mask([__m256d; 4]);

/// The bits of eight numbers, number `j` less `j` eighths of a step of the exponent: their lower halves, and the upper ones.
#[derive(Clone, Copy, Debug)]
pub struct Table(__m256i, __m256i);

type Sum = double::Sum<F64x16>;

impl_vector!(F64x16 of 16 f64 and Pair, Avx2, Mask, Sum, Table, registers: REGISTERS, by columns: false, fused: true);

mod op {
    use core::arch::x86_64::{
        _CMP_EQ_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_cvtsd_f64, _mm_loadu_si32,
        _mm_max_pd, _mm_max_sd, _mm_prefetch, _mm_storel_pd, _mm_storeu_pd, _mm_unpackhi_pd,
        _mm256_add_epi64, _mm256_add_pd, _mm256_andnot_pd, _mm256_blend_epi32, _mm256_blendv_pd,
        _mm256_castpd_si256, _mm256_castpd256_pd128, _mm256_castsi256_pd, _mm256_cmp_pd,
        _mm256_cmpeq_epi64, _mm256_cmpgt_epi64, _mm256_cvtepu8_epi64, _mm256_cvtsd_f64,
        _mm256_div_pd, _mm256_extractf128_pd, _mm256_fmadd_pd, _mm256_fnmadd_pd, _mm256_loadu_pd,
        _mm256_loadu_si256, _mm256_maskload_pd, _mm256_max_pd, _mm256_min_pd, _mm256_movemask_pd,
        _mm256_mul_pd, _mm256_or_pd, _mm256_permutevar8x32_epi32, _mm256_set1_epi64x,
        _mm256_set1_pd, _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi32,
        _mm256_slli_epi64, _mm256_storeu_pd, _mm256_sub_pd,
    };

    use super::{__m256d, Avx2, F64x16, Mask, Table};
    pub(super) use crate::simd::double::{
        deinterleave, deinterleave_3, interleave, interleave_3, lanes, load_columns, max_of_each,
        narrow, reduce_sum, store_columns, sum_add, sum_add_product, sum_lanes, sum_merge,
        sum_narrow, sum_of, sum_of_each, sum_scale, sum_total, sum_zero, totals, widen,
    };

    /// The quarters, through one intrinsic.
    macro_rules! lanewise {
        ($($name:ident = $intrinsic:ident($($arg:ident),+);)*) => {$(
            #[inline]
            #[target_feature(enable = "avx2,fma")]
            pub(super) fn $name($($arg: F64x16),+) -> F64x16 {
                F64x16([
                    $intrinsic($($arg.0[0]),+),
                    $intrinsic($($arg.0[1]),+),
                    $intrinsic($($arg.0[2]),+),
                    $intrinsic($($arg.0[3]),+),
                ])
            }
        )*};
    }
    lanewise! {
        add = _mm256_add_pd(a, b);
        sub = _mm256_sub_pd(a, b);
        mul = _mm256_mul_pd(a, b);
        div = _mm256_div_pd(a, b);
        // MAXPD and MINPD return the second operand when either is NaN.
        max = _mm256_max_pd(a, b);
        min = _mm256_min_pd(a, b);
        mul_add = _mm256_fmadd_pd(a, b, c);
        neg_mul_add = _mm256_fnmadd_pd(a, b, c);
        abs = abs_of(x);
        exponent = exponent_of(x);
    }

    /// The quarters of two vectors, through a function to masks.
    macro_rules! comparisons {
        ($($name:ident = $comparison:ident($($arg:ident),+);)*) => {$(
            #[inline]
            #[target_feature(enable = "avx2,fma")]
            pub(super) fn $name(a: F64x16, b: F64x16) -> Mask {
                Mask([
                    _mm256_cmp_pd::<$comparison>(a.0[0], b.0[0]),
                    _mm256_cmp_pd::<$comparison>(a.0[1], b.0[1]),
                    _mm256_cmp_pd::<$comparison>(a.0[2], b.0[2]),
                    _mm256_cmp_pd::<$comparison>(a.0[3], b.0[3]),
                ])
            }
        )*};
    }
    comparisons! {
        lt = _CMP_LT_OQ(a, b);
        eq = _CMP_EQ_OQ(a, b);
        unordered = _CMP_UNORD_Q(a, b);
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn is_nan(x: F64x16) -> Mask {
        unordered(x, x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn splat(_: Avx2, x: f64) -> F64x16 {
        F64x16([_mm256_set1_pd(x); 4])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn load(_: Avx2, src: &[f64; 16]) -> F64x16 {
        // SAFETY: `src` has sixteen elements; the loads ask for no alignment.
        let four = |i: usize| unsafe { _mm256_loadu_pd(src.as_ptr().wrapping_add(i)) };
        F64x16([four(0), four(4), four(8), four(12)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn load_or(_: Avx2, src: &[f64], fill: f64) -> F64x16 {
        let (mask, p) = (prefix(src.len()), src.as_ptr());
        let fill = _mm256_set1_pd(fill);
        let four = |i: usize| {
            let mask = mask.0[i];
            // SAFETY: a masked load touches the lanes that are set, which are the elements of `src`; the address is not
            // formed beyond it by more than wrapping.
            let four =
                unsafe { _mm256_maskload_pd(p.wrapping_add(4 * i), _mm256_castpd_si256(mask)) };
            _mm256_blendv_pd(fill, four, mask)
        };
        F64x16([four(0), four(1), four(2), four(3)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn store(x: F64x16, dst: &mut [f64; 16]) {
        let p = dst.as_mut_ptr();
        // SAFETY: `dst` has sixteen elements; the stores ask for no alignment.
        unsafe {
            _mm256_storeu_pd(p, x.0[0]);
            _mm256_storeu_pd(p.wrapping_add(4), x.0[1]);
            _mm256_storeu_pd(p.wrapping_add(8), x.0[2]);
            _mm256_storeu_pd(p.wrapping_add(12), x.0[3]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn store_prefix(x: F64x16, dst: &mut [f64]) {
        let ([a, b, c, d], count) = (x.0, dst.len().min(16));
        let mut p = dst.as_mut_ptr();
        // By parts that get smaller, as masked stores take AMD's processors dozens of operations.
        // SAFETY: each store is of lanes that the count has, and those are elements of `dst`; none asks for more alignment
        // than an element has.
        unsafe {
            if count >= 16 {
                _mm256_storeu_pd(p.add(12), d);
            }
            if count >= 12 {
                _mm256_storeu_pd(p.add(8), c);
            }
            if count >= 8 {
                _mm256_storeu_pd(p.add(4), b);
            }
            if count >= 4 {
                _mm256_storeu_pd(p, a);
            }
            let four = match count / 4 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            };
            p = p.add(count / 4 * 4);
            let mut two = _mm256_castpd256_pd128(four);
            if count & 2 != 0 {
                _mm_storeu_pd(p, two);
                (p, two) = (p.add(2), _mm256_extractf128_pd::<1>(four));
            }
            if count & 1 != 0 {
                _mm_storel_pd(p, two);
            }
        }
    }

    /// Numbers of lanes that a comparison finds.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn found_lanes(found: impl Fn([i64; 4]) -> __m256d) -> Mask {
        Mask([
            found([0, 1, 2, 3]),
            found([4, 5, 6, 7]),
            found([8, 9, 10, 11]),
            found([12, 13, 14, 15]),
        ])
    }

    /// The first `count` lanes (all sixteen, if there are more).
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn prefix(count: usize) -> Mask {
        let count = _mm256_set1_epi64x(i64::from(count.min(16) as u8));
        found_lanes(|[a, b, c, d]| {
            let four = _mm256_setr_epi64x(a, b, c, d);
            _mm256_castsi256_pd(_mm256_cmpgt_epi64(count, four))
        })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn lane(_: Avx2, i: usize) -> Mask {
        let i = _mm256_set1_epi64x(i64::from(i as u8));
        found_lanes(|[a, b, c, d]| {
            let four = _mm256_setr_epi64x(a, b, c, d);
            _mm256_castsi256_pd(_mm256_cmpeq_epi64(i, four))
        })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn lanes_from(_: Avx2, i: usize) -> Mask {
        let all = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
        let [a, b, c, d] = prefix(i).0;
        Mask([
            _mm256_andnot_pd(a, all),
            _mm256_andnot_pd(b, all),
            _mm256_andnot_pd(c, all),
            _mm256_andnot_pd(d, all),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn lanes_of(_: Avx2, flags: &[bool; 16]) -> Mask {
        let four = |i: usize| {
            // SAFETY: `flags` has sixteen bytes; the load of four asks for no alignment.
            let flags = unsafe { _mm_loadu_si32(flags.as_ptr().add(4 * i).cast()) };
            let none = _mm256_setzero_si256();
            _mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_cvtepu8_epi64(flags), none))
        };
        Mask([four(0), four(1), four(2), four(3)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn abs_of(x: __m256d) -> __m256d {
        _mm256_andnot_pd(_mm256_set1_pd(-0.0), x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn exponent_of(x: __m256d) -> __m256d {
        _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(x)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn table(_: Avx2, entries: &[f64; 8]) -> Table {
        let (mut lower, mut upper) = ([0_u32; 8], [0_u32; 8]);
        for (j, entry) in entries.iter().enumerate() {
            let bits = entry.to_bits() - ((j as u64) << 49);
            (lower[j], upper[j]) = (bits as u32, (bits >> 32) as u32);
        }
        // SAFETY: there are eight of each; the loads ask for no alignment.
        unsafe {
            Table(
                _mm256_loadu_si256(lower.as_ptr().cast()),
                _mm256_loadu_si256(upper.as_ptr().cast()),
            )
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn power(z: F64x16, table: Table) -> F64x16 {
        let [a, b, c, d] = z.0;
        F64x16([
            power_of(a, table),
            power_of(b, table),
            power_of(c, table),
            power_of(d, table),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn power_of(z: __m256d, table: Table) -> __m256d {
        let z = _mm256_castpd_si256(z);
        // The lookup takes the three lowest bits of an index, and looks up halves.
        let j = _mm256_shuffle_epi32::<0b10_10_00_00>(z);
        let lower = _mm256_permutevar8x32_epi32(table.0, j);
        let upper = _mm256_permutevar8x32_epi32(table.1, j);
        let entry = _mm256_blend_epi32::<0b1010_1010>(lower, upper);
        _mm256_castsi256_pd(_mm256_add_epi64(entry, _mm256_slli_epi64::<49>(z)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        let four = |i: usize| _mm256_or_pd(a.0[i], b.0[i]);
        Mask([four(0), four(1), four(2), four(3)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn select(mask: Mask, yes: F64x16, no: F64x16) -> F64x16 {
        let four = |i: usize| _mm256_blendv_pd(no.0[i], yes.0[i], mask.0[i]);
        F64x16([four(0), four(1), four(2), four(3)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn bits(mask: Mask) -> u32 {
        let four = |i: usize| _mm256_movemask_pd(mask.0[i]) << (4 * i);
        (four(0) | four(1) | four(2) | four(3)).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn first(x: F64x16) -> f64 {
        _mm256_cvtsd_f64(x.0[0])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn reduce_max(x: F64x16) -> f64 {
        let [a, b, c, d] = x.0;
        let x = _mm256_max_pd(_mm256_max_pd(a, b), _mm256_max_pd(c, d));
        let x = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)))
    }

    #[inline(always)]
    pub(super) fn in_order(x: F64x16) -> F64x16 {
        x
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn prefetch(_: Avx2, p: *const f64) {
        #[allow(unused_unsafe, reason = "older compilers want it")]
        // SAFETY: a prefetch of any address is allowed.
        unsafe {
            // A vector is two lines.
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
            _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(8).cast());
        }
    }
}
