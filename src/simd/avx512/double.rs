//! AVX-512F: sixteen lanes of `f64` in two registers.

use core::arch::x86_64::{__m512d, __m512i, __mmask8};

use super::Avx512;
use crate::kernel::pair::Pair;
use crate::simd::{double, impl_vector};

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F64x16(__m512d, __m512d);

/// A bit per lane, by halves.
#[derive(Clone, Copy, Debug)]
pub struct Mask(__mmask8, __mmask8);

/// The bits of eight numbers, number `j` less `j` eighths of a step of the exponent.
#[derive(Clone, Copy, Debug)]
pub struct Table(__m512i);

type Sum = double::Sum<F64x16>;

impl_vector!(F64x16 of 16 f64 and Pair, Avx512, Mask, Sum, Table, registers: 32, by columns: false, fused: true);

mod op {
    use core::arch::x86_64::{
        _CMP_EQ_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch,
        _mm512_abs_pd, _mm512_add_epi64, _mm512_add_pd, _mm512_castpd_si512, _mm512_castsi512_pd,
        _mm512_cmp_pd_mask, _mm512_cvtepu8_epi32, _mm512_cvtsd_f64, _mm512_div_pd, _mm512_fmadd_pd,
        _mm512_fnmadd_pd, _mm512_loadu_pd, _mm512_mask_blend_pd, _mm512_mask_loadu_pd,
        _mm512_mask_storeu_pd, _mm512_max_pd, _mm512_min_pd, _mm512_mul_pd,
        _mm512_permutexvar_epi64, _mm512_reduce_max_pd, _mm512_set1_pd, _mm512_setr_epi64,
        _mm512_slli_epi64, _mm512_storeu_pd, _mm512_sub_epi64, _mm512_sub_pd,
        _mm512_test_epi32_mask,
    };

    use super::{__m512d, __mmask8};
    use super::{Avx512, F64x16, Mask, Table};
    pub(super) use crate::simd::double::{
        deinterleave, deinterleave_3, interleave, interleave_3, lanes, load_columns, max_of_each,
        narrow, reduce_sum, store_columns, sum_add, sum_add_product, sum_lanes, sum_merge,
        sum_narrow, sum_of, sum_of_each, sum_scale, sum_total, sum_zero, totals, widen,
    };

    /// The halves, through one intrinsic.
    macro_rules! lanewise {
        ($($name:ident = $intrinsic:ident($($arg:ident),+);)*) => {$(
            #[inline]
            #[target_feature(enable = "avx512f")]
            pub(super) fn $name($($arg: F64x16),+) -> F64x16 {
                F64x16($intrinsic($($arg.0),+), $intrinsic($($arg.1),+))
            }
        )*};
    }
    lanewise! {
        add = _mm512_add_pd(a, b);
        sub = _mm512_sub_pd(a, b);
        mul = _mm512_mul_pd(a, b);
        div = _mm512_div_pd(a, b);
        // VMAXPD and VMINPD return the second operand when either is NaN.
        max = _mm512_max_pd(a, b);
        min = _mm512_min_pd(a, b);
        mul_add = _mm512_fmadd_pd(a, b, c);
        neg_mul_add = _mm512_fnmadd_pd(a, b, c);
        abs = _mm512_abs_pd(x);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(_: Avx512, x: f64) -> F64x16 {
        let x = _mm512_set1_pd(x);
        F64x16(x, x)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load(_: Avx512, src: &[f64; 16]) -> F64x16 {
        let p = src.as_ptr();
        // SAFETY: `src` has sixteen elements; the loads ask for no alignment.
        unsafe { F64x16(_mm512_loadu_pd(p), _mm512_loadu_pd(p.wrapping_add(8))) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load_or(_: Avx512, src: &[f64], fill: f64) -> F64x16 {
        let fill = _mm512_set1_pd(fill);
        let (Mask(lo, hi), p) = (prefix(src.len()), src.as_ptr());
        // SAFETY: a masked load touches the lanes that are set, which are the elements of `src`; the address of the upper
        // half is not formed beyond it by more than wrapping.
        unsafe {
            F64x16(
                _mm512_mask_loadu_pd(fill, lo, p),
                _mm512_mask_loadu_pd(fill, hi, p.wrapping_add(8)),
            )
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store(x: F64x16, dst: &mut [f64; 16]) {
        let p = dst.as_mut_ptr();
        // SAFETY: `dst` has sixteen elements; the stores ask for no alignment.
        unsafe {
            _mm512_storeu_pd(p, x.0);
            _mm512_storeu_pd(p.wrapping_add(8), x.1);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store_prefix(x: F64x16, dst: &mut [f64]) {
        let (Mask(lo, hi), p) = (prefix(dst.len()), dst.as_mut_ptr());
        // SAFETY: a masked store touches the lanes that are set, which are the elements of `dst`; the address of the
        // upper half is not formed beyond it by more than wrapping.
        unsafe {
            _mm512_mask_storeu_pd(p, lo, x.0);
            _mm512_mask_storeu_pd(p.wrapping_add(8), hi, x.1);
        }
    }

    /// The first `count` lanes (all sixteen, if there are more).
    #[inline]
    fn prefix(count: usize) -> Mask {
        halves((1_u32 << count.min(16)) - 1)
    }

    /// The lanes whose bits are set.
    #[inline]
    fn halves(bits: u32) -> Mask {
        Mask(bits as __mmask8, (bits >> 8) as __mmask8)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn exponent(x: F64x16) -> F64x16 {
        F64x16(exponent_of(x.0), exponent_of(x.1))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn exponent_of(x: __m512d) -> __m512d {
        _mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(x)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn table(_: Avx512, entries: &[f64; 8]) -> Table {
        // SAFETY: there are eight entries; the load asks for no alignment.
        let entries = _mm512_castpd_si512(unsafe { _mm512_loadu_pd(entries.as_ptr()) });
        let j = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        Table(_mm512_sub_epi64(entries, _mm512_slli_epi64::<49>(j)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn power(z: F64x16, table: Table) -> F64x16 {
        F64x16(power_of(z.0, table), power_of(z.1, table))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn power_of(z: __m512d, table: Table) -> __m512d {
        let z = _mm512_castpd_si512(z);
        // The lookup takes the three lowest bits of an index.
        let entry = _mm512_permutexvar_epi64(z, table.0);
        _mm512_castsi512_pd(_mm512_add_epi64(entry, _mm512_slli_epi64::<49>(z)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn lt(a: F64x16, b: F64x16) -> Mask {
        Mask(
            _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a.0, b.0),
            _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn eq(a: F64x16, b: F64x16) -> Mask {
        Mask(
            _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a.0, b.0),
            _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn is_nan(x: F64x16) -> Mask {
        Mask(
            _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(x.0, x.0),
            _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(x.1, x.1),
        )
    }

    #[inline]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        Mask(a.0 | b.0, a.1 | b.1)
    }

    #[inline]
    pub(super) fn lane(_: Avx512, i: usize) -> Mask {
        halves(1 << i)
    }

    #[inline]
    pub(super) fn lanes_from(_: Avx512, i: usize) -> Mask {
        let Mask(lo, hi) = prefix(i);
        Mask(!lo, !hi)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn lanes_of(_: Avx512, flags: &[bool; 16]) -> Mask {
        // SAFETY: `flags` has sixteen bytes; the load asks for no alignment.
        let flags = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(flags.as_ptr().cast()) });
        halves(u32::from(_mm512_test_epi32_mask(flags, flags)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn select(mask: Mask, yes: F64x16, no: F64x16) -> F64x16 {
        F64x16(
            _mm512_mask_blend_pd(mask.0, no.0, yes.0),
            _mm512_mask_blend_pd(mask.1, no.1, yes.1),
        )
    }

    #[inline]
    pub(super) fn bits(mask: Mask) -> u32 {
        u32::from(mask.0) | u32::from(mask.1) << 8
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn first(x: F64x16) -> f64 {
        _mm512_cvtsd_f64(x.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn reduce_max(x: F64x16) -> f64 {
        _mm512_reduce_max_pd(_mm512_max_pd(x.0, x.1))
    }

    #[inline(always)]
    pub(super) fn in_order(x: F64x16) -> F64x16 {
        x
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prefetch(_: Avx512, p: *const f64) {
        #[allow(unused_unsafe, reason = "older compilers want it")]
        // SAFETY: a prefetch of any address is allowed.
        unsafe {
            // A vector is two lines.
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
            _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(8).cast());
        }
    }
}
