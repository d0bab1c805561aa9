//! AVX-512F: sixteen lanes in one register. Nothing beyond the foundation set is used, so every
//! AVX-512 processor qualifies, the first ones included.

use core::arch::x86_64::{__m512, __m512d, __m512i, __mmask16};

use super::{Kernel, Simd, conversions, impl_vector};

/// Proof that this processor has AVX-512F. The private field keeps others from making one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The token, where the processor has the feature.
    #[cfg(feature = "std")]
    pub(crate) fn detect() -> Option<Self> {
        // The compiler takes the last three for granted where there is AVX-512F.
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        // SAFETY: the features were just detected.
        found.then(|| unsafe { Self::new() })
    }

    /// The token, where the target has the feature.
    #[cfg(not(feature = "std"))]
    pub(crate) fn detect() -> Option<Self> {
        let found = cfg!(target_feature = "avx512f");
        // SAFETY: the whole program is compiled for the feature.
        found.then(|| unsafe { Self::new() })
    }

    /// Safe to call where the feature is enabled, which the compiler checks.
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self(())
    }

    /// Runs a kernel compiled for AVX-512F.
    #[inline]
    pub(crate) fn run<D, K: Kernel<D>>(self, kernel: &K, data: D) -> K::Output {
        #[target_feature(enable = "avx512f")]
        fn entry<D, K: Kernel<D>>(simd: Avx512, kernel: &K, data: D) -> K::Output {
            kernel.simd(simd, data)
        }
        // SAFETY: `self` proves what `entry` enables.
        unsafe { entry(self, kernel, data) }
    }
}

#[cfg(feature = "f64")]
mod double;

impl Simd for Avx512 {
    type F32 = F32x16;
    #[cfg(feature = "f64")]
    type F64 = double::F64x16;

    #[inline(always)]
    fn out_of_line<R>(self, f: impl FnOnce() -> R) -> R {
        #[inline(never)]
        #[target_feature(enable = "avx512f")]
        fn call<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` proves what `call` enables.
        unsafe { call(f) }
    }

    conversions!(F32x16);
}

/// Lanes 0 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F32x16(__m512);

/// A bit per lane.
#[derive(Clone, Copy, Debug)]
pub struct Mask(__mmask16);

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct Sum(__m512d, __m512d);

/// The bits of eight numbers, twice, number `j` less `j` eighths of a step of the exponent.
#[derive(Clone, Copy, Debug)]
pub struct Table(__m512i);

impl_vector!(F32x16 of 16 f32 and f64, Avx512, Mask, Sum, Table, registers: 32, by columns: true, fused: true);

mod op {
    use core::arch::asm;
    #[cfg(feature = "half")]
    use core::arch::x86_64::{
        __m256i, _MM_FROUND_TO_NEAREST_INT, _mm256_loadu_si256, _mm256_storeu_si256,
        _mm512_and_si512, _mm512_cvtepi32_epi16, _mm512_cvtepu16_epi32, _mm512_cvtph_ps,
        _mm512_cvtps_ph, _mm512_mask_mov_epi32, _mm512_set1_epi32, _mm512_srli_epi32,
    };
    use core::arch::x86_64::{
        __m512, __m512d, __mmask16, _CMP_EQ_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_add_pd,
        _mm_add_ps, _mm_add_sd, _mm_add_ss, _mm_cvtsd_f64, _mm_cvtss_f32, _mm_loadu_ps,
        _mm_loadu_si128, _mm_movehl_ps, _mm_prefetch, _mm_shuffle_ps, _mm_storeu_ps,
        _mm_unpackhi_pd, _mm256_add_pd, _mm256_add_ps, _mm256_castpd_ps, _mm256_castpd256_pd128,
        _mm256_castps_pd, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_extractf128_pd,
        _mm256_extractf128_ps, _mm256_loadu_ps, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_pd,
        _mm512_add_ps, _mm512_broadcast_i64x4, _mm512_castpd_ps, _mm512_castpd256_pd512,
        _mm512_castpd512_pd256, _mm512_castps_pd, _mm512_castps_si512, _mm512_castps128_ps512,
        _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepu8_epi32,
        _mm512_cvtpd_ps, _mm512_cvtps_pd, _mm512_cvtss_f32, _mm512_div_ps, _mm512_extractf32x4_ps,
        _mm512_extractf64x4_pd, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_fnmadd_ps,
        _mm512_insertf32x4, _mm512_insertf64x4, _mm512_loadu_pd, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_mask_blend_ps, _mm512_mask_loadu_ps, _mm512_mask_storeu_ps,
        _mm512_max_ps, _mm512_min_ps, _mm512_mul_pd, _mm512_mul_ps, _mm512_permutex2var_ps,
        _mm512_permutexvar_epi32, _mm512_reduce_max_ps, _mm512_set1_pd, _mm512_set1_ps,
        _mm512_setr_epi32, _mm512_setzero_pd, _mm512_setzero_ps, _mm512_shuffle_f32x4,
        _mm512_shuffle_f64x2, _mm512_shuffle_ps, _mm512_slli_epi32, _mm512_storeu_pd,
        _mm512_storeu_ps, _mm512_sub_epi32, _mm512_sub_ps, _mm512_test_epi32_mask,
        _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    use super::{Avx512, F32x16, Mask, Sum, Table};

    /// One intrinsic each.
    macro_rules! lanewise {
        ($($name:ident = $intrinsic:ident($($arg:ident),+);)*) => {$(
            #[inline]
            #[target_feature(enable = "avx512f")]
            pub(super) fn $name($($arg: F32x16),+) -> F32x16 {
                F32x16($intrinsic($($arg.0),+))
            }
        )*};
    }
    lanewise! {
        add = _mm512_add_ps(a, b);
        sub = _mm512_sub_ps(a, b);
        mul = _mm512_mul_ps(a, b);
        div = _mm512_div_ps(a, b);
        // VMAXPS and VMINPS return the second operand when either is NaN.
        max = _mm512_max_ps(a, b);
        min = _mm512_min_ps(a, b);
        mul_add = _mm512_fmadd_ps(a, b, c);
        neg_mul_add = _mm512_fnmadd_ps(a, b, c);
        abs = _mm512_abs_ps(x);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(_: Avx512, x: f32) -> F32x16 {
        F32x16(_mm512_set1_ps(x))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load(_: Avx512, src: &[f32; 16]) -> F32x16 {
        // SAFETY: `src` has sixteen elements; the load asks for no alignment.
        F32x16(unsafe { _mm512_loadu_ps(src.as_ptr()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load_or(_: Avx512, src: &[f32], fill: f32) -> F32x16 {
        let fill = _mm512_set1_ps(fill);
        // SAFETY: a masked load touches the lanes that are set, which are the elements of `src`.
        F32x16(unsafe { _mm512_mask_loadu_ps(fill, prefix(src.len()), src.as_ptr()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store(x: F32x16, dst: &mut [f32; 16]) {
        // SAFETY: `dst` has sixteen elements; the store asks for no alignment.
        unsafe { _mm512_storeu_ps(dst.as_mut_ptr(), x.0) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store_prefix(x: F32x16, dst: &mut [f32]) {
        // SAFETY: a masked store touches the lanes that are set, which are the elements of `dst`.
        unsafe { _mm512_mask_storeu_ps(dst.as_mut_ptr(), prefix(dst.len()), x.0) }
    }

    /// The first `count` lanes (all sixteen, if there are more).
    #[inline]
    fn prefix(count: usize) -> __mmask16 {
        ((1_u32 << count.min(16)) - 1) as __mmask16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn exponent(x: F32x16) -> F32x16 {
        F32x16(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(
            _mm512_castps_si512(x.0),
        )))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn table(_: Avx512, entries: &[f32; 8]) -> Table {
        // SAFETY: there are eight entries; the load asks for no alignment.
        let entries = _mm256_castps_si256(unsafe { _mm256_loadu_ps(entries.as_ptr()) });
        let twice = _mm512_broadcast_i64x4(entries);
        let j = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
        Table(_mm512_sub_epi32(twice, _mm512_slli_epi32::<20>(j)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn power(z: F32x16, table: Table) -> F32x16 {
        let z = _mm512_castps_si512(z.0);
        // The lookup takes the four lowest bits of an index, of which the highest makes no difference.
        let entry = _mm512_permutexvar_epi32(z, table.0);
        F32x16(_mm512_castsi512_ps(_mm512_add_epi32(
            entry,
            _mm512_slli_epi32::<20>(z),
        )))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn lt(a: F32x16, b: F32x16) -> Mask {
        Mask(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn eq(a: F32x16, b: F32x16) -> Mask {
        Mask(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn is_nan(x: F32x16) -> Mask {
        Mask(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x.0, x.0))
    }

    #[inline]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        Mask(a.0 | b.0)
    }

    #[inline]
    pub(super) fn lane(_: Avx512, i: usize) -> Mask {
        Mask(1 << i)
    }

    #[inline]
    pub(super) fn lanes_from(_: Avx512, i: usize) -> Mask {
        Mask(!prefix(i))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn lanes_of(_: Avx512, flags: &[bool; 16]) -> Mask {
        // SAFETY: `flags` has sixteen bytes; the load asks for no alignment.
        let flags = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(flags.as_ptr().cast()) });
        Mask(_mm512_test_epi32_mask(flags, flags))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn select(mask: Mask, yes: F32x16, no: F32x16) -> F32x16 {
        F32x16(_mm512_mask_blend_ps(mask.0, no.0, yes.0))
    }

    #[inline]
    pub(super) fn bits(mask: Mask) -> u32 {
        u32::from(mask.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn first(x: F32x16) -> f32 {
        _mm512_cvtss_f32(x.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn reduce_max(x: F32x16) -> f32 {
        _mm512_reduce_max_ps(x.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn reduce_sum(x: F32x16) -> f32 {
        let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x.0));
        let x = _mm256_add_ps(_mm512_castps512_ps256(x.0), _mm256_castpd_ps(upper));
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn lanes(x: F32x16) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        store(x, &mut lanes);
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn max_of_each(_: Avx512, vectors: &[F32x16; 16]) -> F32x16 {
        reduce_each(vectors, |a, b| _mm512_max_ps(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_of_each(_: Avx512, vectors: &[F32x16; 16]) -> F32x16 {
        reduce_each(vectors, |a, b| _mm512_add_ps(a, b))
    }

    /// Combines the lanes of each vector, halves first. What is left of two of them shares a vector: halves, then quarters, pairs and lanes. In the end, that
    /// of the vector taken at `j` is where `ORDER` takes it from.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn reduce_each(vectors: &[F32x16; 16], f: impl Fn(__m512, __m512) -> __m512) -> F32x16 {
        const ORDER: [usize; 16] = [0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15];
        let zero = _mm512_setzero_ps();
        let (mut halves, mut quarters, mut pairs) = ([zero; 8], [zero; 4], [zero; 2]);
        for i in 0..8 {
            let (a, b) = (vectors[ORDER[i]].0, vectors[ORDER[i + 8]].0);
            let lower = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
            halves[i] = f(lower, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
        }
        for i in 0..4 {
            let (a, b) = (halves[i], halves[i + 4]);
            let lower = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            quarters[i] = f(lower, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
        }
        for i in 0..2 {
            let (a, b) = (
                _mm512_castps_pd(quarters[i]),
                _mm512_castps_pd(quarters[i + 2]),
            );
            let lower = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            pairs[i] = f(lower, _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
        }
        let [a, b] = pairs;
        let lower = _mm512_shuffle_ps::<0b10_00_10_00>(a, b);
        F32x16(f(lower, _mm512_shuffle_ps::<0b11_01_11_01>(a, b)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn totals(sums: &[Sum; 16]) -> [f64; 16] {
        let zero = _mm512_setzero_pd();
        let (mut halves, mut totals) = ([zero; 16], [zero; 2]);
        for (half, sum) in halves.iter_mut().zip(sums) {
            *half = _mm512_add_pd(sum.0, sum.1);
        }
        for (total, halves) in totals.iter_mut().zip(halves.as_chunks::<8>().0) {
            *total = eight_totals(halves);
        }
        sum_lanes(Sum(totals[0], totals[1]))
    }

    /// As [`reduce_each`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn eight_totals(halves: &[__m512d; 8]) -> __m512d {
        const ORDER: [usize; 8] = [0, 1, 4, 5, 2, 3, 6, 7];
        let zero = _mm512_setzero_pd();
        let (mut quarters, mut pairs) = ([zero; 4], [zero; 2]);
        for i in 0..4 {
            let (a, b) = (halves[ORDER[i]], halves[ORDER[i + 4]]);
            let lower = _mm512_shuffle_f64x2::<0b01_00_01_00>(a, b);
            quarters[i] = _mm512_add_pd(lower, _mm512_shuffle_f64x2::<0b11_10_11_10>(a, b));
        }
        for i in 0..2 {
            let (a, b) = (quarters[i], quarters[i + 2]);
            let lower = _mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
            pairs[i] = _mm512_add_pd(lower, _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b));
        }
        let [a, b] = pairs;
        _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_zero(_: Avx512) -> Sum {
        Sum(_mm512_setzero_pd(), _mm512_setzero_pd())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_of(_: Avx512, x: F32x16) -> Sum {
        let (lo, hi) = halves(x);
        Sum(lo, hi)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn halves(x: F32x16) -> (__m512d, __m512d) {
        let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x.0));
        (
            _mm512_cvtps_pd(_mm512_castps512_ps256(x.0)),
            _mm512_cvtps_pd(_mm256_castpd_ps(upper)),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prefetch(_: Avx512, p: *const f32) {
        #[allow(unused_unsafe, reason = "older compilers want it")]
        // SAFETY: a prefetch of any address is allowed.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn in_order(mut x: F32x16) -> F32x16 {
        // SAFETY: a comment, which does nothing. (Not `pure`: as it may do something, it stays where it is among others.)
        unsafe {
            asm!("/* {} */", inout(zmm_reg) x.0, options(nomem, nostack, preserves_flags));
        }
        x
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load_columns(_: Avx512, src: &[f32], stride: u16, columns: &mut [F32x16; 4]) {
        let stride = usize::from(stride);
        assert!(15 * stride + 4 <= src.len(), "columns beyond the rows");
        // SAFETY: four elements of each of sixteen rows, the last of which ends within `src`; the loads ask
        // for no alignment.
        let four = |row: usize| unsafe { _mm_loadu_ps(src.as_ptr().add(row * stride)) };
        // Rows j, j + 4, j + 8 and j + 12.
        let rows = |j: usize| {
            let x = _mm512_castps128_ps512(four(j));
            let x = _mm512_insertf32x4::<1>(x, four(j + 4));
            let x = _mm512_insertf32x4::<2>(x, four(j + 8));
            _mm512_insertf32x4::<3>(x, four(j + 12))
        };
        *columns = transpose([rows(0), rows(1), rows(2), rows(3)]).map(F32x16);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store_columns(columns: &[F32x16; 4], dst: &mut [f32], stride: u16) {
        let stride = usize::from(stride);
        assert!(15 * stride + 4 <= dst.len(), "columns beyond the rows");
        let dst = dst.as_mut_ptr();
        // SAFETY: four elements of each of sixteen rows, the last of which ends within `dst`; the stores ask
        // for no alignment.
        let store = |row: usize, four| unsafe { _mm_storeu_ps(dst.add(row * stride), four) };
        let rows = transpose(columns.map(|column| column.0));
        for (j, &rows) in rows.iter().enumerate() {
            store(j, _mm512_extractf32x4_ps::<0>(rows));
        }
        for (j, &rows) in rows.iter().enumerate() {
            store(j + 4, _mm512_extractf32x4_ps::<1>(rows));
        }
        for (j, &rows) in rows.iter().enumerate() {
            store(j + 8, _mm512_extractf32x4_ps::<2>(rows));
        }
        for (j, &rows) in rows.iter().enumerate() {
            store(j + 12, _mm512_extractf32x4_ps::<3>(rows));
        }
    }

    /// Transposes each quarter of four registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        let [ab, cd] = [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)];
        let [ab, cd] = [ab, cd].map(|x| _mm512_castps_pd(x));
        let [ab_hi, cd_hi] = [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)];
        let [ab_hi, cd_hi] = [ab_hi, cd_hi].map(|x| _mm512_castps_pd(x));
        [
            _mm512_unpacklo_pd(ab, cd),
            _mm512_unpackhi_pd(ab, cd),
            _mm512_unpacklo_pd(ab_hi, cd_hi),
            _mm512_unpackhi_pd(ab_hi, cd_hi),
        ]
        .map(|x| _mm512_castpd_ps(x))
    }

    /// The lanes of two registers, those of the second from 16 on, in this order.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn permuted(a: __m512, b: __m512, order: &[i32; 16]) -> __m512 {
        // SAFETY: `order` has sixteen elements; the load asks for no alignment.
        let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
        _mm512_permutex2var_ps(a, order, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn deinterleave(_: Avx512, [a, b]: [F32x16; 2]) -> [F32x16; 2] {
        const EVEN: [i32; 16] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
        const ODD: [i32; 16] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];
        [&EVEN, &ODD].map(|order| F32x16(permuted(a.0, b.0, order)))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn interleave(_: Avx512, [a, b]: [F32x16; 2]) -> [F32x16; 2] {
        const LOWER: [i32; 16] = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
        const UPPER: [i32; 16] = [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];
        [&LOWER, &UPPER].map(|order| F32x16(permuted(a.0, b.0, order)))
    }

    /// Of three registers, those of the first two by the first order, and with them those of the third by the second.
    type OrderOfThree = [[i32; 16]; 2];

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn permuted_3([a, b, c]: [F32x16; 3], [two, three]: &OrderOfThree) -> F32x16 {
        F32x16(permuted(permuted(a.0, b.0, two), c.0, three))
    }

    /// Lane `lane` is to be lane `from` of three registers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "lanes are few"
    )]
    const fn set_order(order: &mut OrderOfThree, lane: usize, from: usize) {
        let [two, three] = order;
        if from < 32 {
            two[lane] = from as i32;
            three[lane] = lane as i32;
        } else {
            three[lane] = from as i32 - 16;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn deinterleave_3(_: Avx512, vectors: [F32x16; 3]) -> [F32x16; 3] {
        const ORDERS: [OrderOfThree; 3] = {
            let mut orders = [[[0; 16]; 2]; 3];
            let mut i = 0;
            while i < 48 {
                set_order(&mut orders[i % 3], i / 3, i);
                i += 1;
            }
            orders
        };
        [&ORDERS[0], &ORDERS[1], &ORDERS[2]].map(|order| permuted_3(vectors, order))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn interleave_3(_: Avx512, columns: [F32x16; 3]) -> [F32x16; 3] {
        const ORDERS: [OrderOfThree; 3] = {
            let mut orders = [[[0; 16]; 2]; 3];
            let mut i = 0;
            while i < 48 {
                set_order(&mut orders[i / 16], i % 16, i % 3 * 16 + i / 3);
                i += 1;
            }
            orders
        };
        [&ORDERS[0], &ORDERS[1], &ORDERS[2]].map(|order| permuted_3(columns, order))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow(simd: Avx512, x: &[f64; 16]) -> F32x16 {
        // SAFETY: `x` has sixteen elements; the loads ask for no alignment.
        let (lo, hi) = unsafe {
            (
                _mm512_loadu_pd(x.as_ptr()),
                _mm512_loadu_pd(x.as_ptr().add(8)),
            )
        };
        sum_narrow(simd, Sum(lo, hi))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_narrow(_: Avx512, sum: Sum) -> F32x16 {
        let half = |x| _mm256_castps_pd(_mm512_cvtpd_ps(x));
        let (lo, hi) = (half(sum.0), half(sum.1));
        let x = _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(lo), hi);
        F32x16(_mm512_castpd_ps(x))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn widen(x: F32x16) -> [f64; 16] {
        let (lo, hi) = halves(x);
        sum_lanes(Sum(lo, hi))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_lanes(sum: Sum) -> [f64; 16] {
        let mut lanes = [0.0; 16];
        // SAFETY: `lanes` has sixteen elements; the stores ask for no alignment.
        unsafe {
            _mm512_storeu_pd(lanes.as_mut_ptr(), sum.0);
            _mm512_storeu_pd(lanes.as_mut_ptr().add(8), sum.1);
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_scale(sum: Sum, factor: f64) -> Sum {
        let factor = _mm512_set1_pd(factor);
        Sum(_mm512_mul_pd(sum.0, factor), _mm512_mul_pd(sum.1, factor))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_merge(a: Sum, b: Sum) -> Sum {
        Sum(_mm512_add_pd(a.0, b.0), _mm512_add_pd(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_add(sum: Sum, x: F32x16) -> Sum {
        let (lo, hi) = halves(x);
        Sum(_mm512_add_pd(sum.0, lo), _mm512_add_pd(sum.1, hi))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_add_product(sum: Sum, a: F32x16, b: F32x16) -> Sum {
        let ((a_lo, a_hi), (b_lo, b_hi)) = (halves(a), halves(b));
        Sum(
            _mm512_fmadd_pd(a_lo, b_lo, sum.0),
            _mm512_fmadd_pd(a_hi, b_hi, sum.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_total(sum: Sum) -> f64 {
        let s = _mm512_add_pd(sum.0, sum.1);
        let s = _mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd::<1>(s));
        let s = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd::<1>(s));
        _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn widen_f16(_: Avx512, src: &[u16; 16]) -> F32x16 {
        F32x16(_mm512_cvtph_ps(sixteen(src)))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow_f16(x: F32x16, dst: &mut [u16; 16]) {
        put(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x.0), dst);
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn widen_bf16(_: Avx512, src: &[u16; 16]) -> F32x16 {
        let bits = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(sixteen(src)));
        F32x16(_mm512_castsi512_ps(bits))
    }

    /// Half of what is cut off is added, and a tie goes to the even one.
    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow_bf16(x: F32x16, dst: &mut [u16; 16]) {
        let bits = _mm512_castps_si512(x.0);
        let last = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let half = _mm512_add_epi32(last, _mm512_set1_epi32(0x7FFF));
        let rounded = _mm512_add_epi32(bits, half);
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x.0, x.0);
        let rounded = _mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7FC0_0000));
        put(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded)), dst);
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sixteen(src: &[u16; 16]) -> __m256i {
        // SAFETY: there are sixteen numbers.
        unsafe { _mm256_loadu_si256(src.as_ptr().cast()) }
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn put(x: __m256i, dst: &mut [u16; 16]) {
        // SAFETY: there are sixteen numbers.
        unsafe { _mm256_storeu_si256(dst.as_mut_ptr().cast(), x) }
    }
}
