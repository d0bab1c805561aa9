//! AVX2 with FMA: sixteen lanes in two registers.

use core::arch::x86_64::{__m256, __m256d, __m256i};

use super::{Kernel, Simd, conversions, impl_vector};

/// Proof that this processor has AVX2, FMA and F16C. The private field keeps others from making one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The token, where the processor has the features.
    #[cfg(feature = "std")]
    pub(crate) fn detect() -> Option<Self> {
        // The last one every processor with the first has.
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        // SAFETY: the features were just detected.
        found.then(|| unsafe { Self::new() })
    }

    /// The token, where the target has the features.
    #[cfg(not(feature = "std"))]
    pub(crate) fn detect() -> Option<Self> {
        let found = cfg!(all(
            target_feature = "avx2",
            target_feature = "fma",
            target_feature = "f16c"
        ));
        // SAFETY: the whole program is compiled for these features.
        found.then(|| unsafe { Self::new() })
    }

    /// Safe to call where the features are enabled, which the compiler checks.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn new() -> Self {
        Self(())
    }

    /// Runs a kernel compiled for these.
    #[inline]
    pub(crate) fn run<D, K: Kernel<D>>(self, kernel: &K, data: D) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn entry<D, K: Kernel<D>>(simd: Avx2, kernel: &K, data: D) -> K::Output {
            kernel.simd(simd, data)
        }
        // SAFETY: `self` proves what `entry` enables.
        unsafe { entry(self, kernel, data) }
    }
}

#[cfg(feature = "f64")]
mod double;

impl Simd for Avx2 {
    type F32 = F32x16;
    #[cfg(feature = "f64")]
    type F64 = double::F64x16;

    #[inline(always)]
    fn out_of_line<R>(self, f: impl FnOnce() -> R) -> R {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn call<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `self` proves what `call` enables.
        unsafe { call(f) }
    }

    conversions!(F32x16);
}

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F32x16(__m256, __m256);

/// All bits of a lane set, or none.
#[derive(Clone, Copy, Debug)]
pub struct Mask(__m256, __m256);

/// Lanes 0 to 3, 4 to 7, 8 to 11, 12 to 15.
#[derive(Clone, Copy, Debug)]
pub struct Sum([__m256d; 4]);

/// The bits of eight numbers, number `j` less `j` eighths of a step of the exponent.
#[derive(Clone, Copy, Debug)]
pub struct Table(__m256i);

// Miri, which knows no AVX-512, sees here what is done with many registers.
const REGISTERS: usize = if cfg!(miri) { 32 } else { 8 };

impl_vector!(F32x16 of 16 f32 and f64, Avx2, Mask, Sum, Table, registers: REGISTERS, by columns: true, fused: true);

mod op {
    #[cfg(feature = "half")]
    use core::arch::x86_64::{
        __m128i, __m256i, _MM_FROUND_TO_NEAREST_INT, _mm256_and_si256, _mm256_cvtepu16_epi32,
        _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_packus_epi32, _mm256_permute4x64_epi64,
        _mm256_set_m128i, _mm256_srli_epi32, _mm256_storeu_si256,
    };
    use core::arch::x86_64::{
        __m256, __m256d, _CMP_EQ_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _MM_HINT_T0, _mm_add_pd, _mm_add_ps,
        _mm_add_sd, _mm_add_ss, _mm_castps_si128, _mm_cvtsd_f64, _mm_cvtss_f32, _mm_loadu_ps,
        _mm_loadu_si128, _mm_max_ps, _mm_max_ss, _mm_movehl_ps, _mm_prefetch, _mm_shuffle_ps,
        _mm_store_ss, _mm_storel_epi64, _mm_storeu_ps, _mm_unpackhi_epi64, _mm_unpackhi_pd,
        _mm256_add_epi32, _mm256_add_pd, _mm256_add_ps, _mm256_andnot_ps, _mm256_blend_ps,
        _mm256_blendv_ps, _mm256_castpd_ps, _mm256_castpd256_pd128, _mm256_castps_pd,
        _mm256_castps_si256, _mm256_castps128_ps256, _mm256_castps256_ps128, _mm256_castsi256_ps,
        _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cmpgt_epi32, _mm256_cvtepu8_epi32,
        _mm256_cvtpd_ps, _mm256_cvtps_pd, _mm256_cvtss_f32, _mm256_div_ps, _mm256_extractf128_pd,
        _mm256_extractf128_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_fnmadd_ps,
        _mm256_insertf128_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_max_ps,
        _mm256_min_ps, _mm256_movemask_ps, _mm256_mul_pd, _mm256_mul_ps, _mm256_or_ps,
        _mm256_permute2f128_pd, _mm256_permute2f128_ps, _mm256_permute4x64_pd,
        _mm256_permutevar8x32_epi32, _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_pd,
        _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_pd, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_pd,
        _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
        _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };

    use super::{Avx2, F32x16, Mask, Sum, Table};

    /// The half registers of the two operands, through one intrinsic.
    macro_rules! lanewise {
        ($($(#[$doc:meta])* $name:ident = $intrinsic:ident($($arg:ident),+);)*) => {$(
            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            pub(super) fn $name($($arg: F32x16),+) -> F32x16 {
                F32x16($intrinsic($($arg.0),+), $intrinsic($($arg.1),+))
            }
        )*};
    }
    lanewise! {
        add = _mm256_add_ps(a, b);
        sub = _mm256_sub_ps(a, b);
        mul = _mm256_mul_ps(a, b);
        div = _mm256_div_ps(a, b);
        // MAXPS and MINPS return the second operand when either is NaN.
        max = _mm256_max_ps(a, b);
        min = _mm256_min_ps(a, b);
        mul_add = _mm256_fmadd_ps(a, b, c);
        neg_mul_add = _mm256_fnmadd_ps(a, b, c);
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn splat(_: Avx2, x: f32) -> F32x16 {
        let x = _mm256_set1_ps(x);
        F32x16(x, x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn load(_: Avx2, src: &[f32; 16]) -> F32x16 {
        let p = src.as_ptr();
        // SAFETY: `src` has sixteen elements; the loads ask for no alignment.
        unsafe { F32x16(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn load_or(_: Avx2, src: &[f32], fill: f32) -> F32x16 {
        let Mask(lo, hi) = prefix(src.len());
        let p = src.as_ptr();
        // SAFETY: a masked load touches the lanes that are set, which are the elements of `src`;
        // the address of the upper half is not formed beyond it by more than wrapping.
        let (a, b) = unsafe {
            (
                _mm256_maskload_ps(p, _mm256_castps_si256(lo)),
                _mm256_maskload_ps(p.wrapping_add(8), _mm256_castps_si256(hi)),
            )
        };
        let fill = _mm256_set1_ps(fill);
        F32x16(_mm256_blendv_ps(fill, a, lo), _mm256_blendv_ps(fill, b, hi))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn store(x: F32x16, dst: &mut [f32; 16]) {
        let p = dst.as_mut_ptr();
        // SAFETY: `dst` has sixteen elements; the stores ask for no alignment.
        unsafe {
            _mm256_storeu_ps(p, x.0);
            _mm256_storeu_ps(p.add(8), x.1);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn store_prefix(x: F32x16, dst: &mut [f32]) {
        let (mut p, count) = (dst.as_mut_ptr(), dst.len().min(16));
        // By parts that get smaller, as masked stores take AMD's processors dozens of operations.
        // SAFETY: each store is of lanes that the count has, and those are elements of `dst`; none asks for more alignment
        // than an element has.
        unsafe {
            if count >= 16 {
                _mm256_storeu_ps(p, x.0);
                return _mm256_storeu_ps(p.add(8), x.1);
            }
            let mut eight = x.0;
            if count & 8 != 0 {
                _mm256_storeu_ps(p, eight);
                (p, eight) = (p.add(8), x.1);
            }
            let mut four = _mm256_castps256_ps128(eight);
            if count & 4 != 0 {
                _mm_storeu_ps(p, four);
                (p, four) = (p.add(4), _mm256_extractf128_ps::<1>(eight));
            }
            if count & 2 != 0 {
                _mm_storel_epi64(p.cast(), _mm_castps_si128(four));
                (p, four) = (p.add(2), _mm_movehl_ps(four, four));
            }
            if count & 1 != 0 {
                _mm_store_ss(p, four);
            }
        }
    }

    /// The first `count` lanes (all sixteen, if there are more).
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn prefix(count: usize) -> Mask {
        let count = _mm256_set1_epi32(i32::from(count.min(16) as u8));
        let lo = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let hi = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
        Mask(
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, lo)),
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, hi)),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn abs(x: F32x16) -> F32x16 {
        let sign = _mm256_set1_ps(-0.0);
        F32x16(_mm256_andnot_ps(sign, x.0), _mm256_andnot_ps(sign, x.1))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn exponent(x: F32x16) -> F32x16 {
        F32x16(
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x.0))),
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x.1))),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn table(_: Avx2, entries: &[f32; 8]) -> Table {
        // SAFETY: there are eight entries; the load asks for no alignment.
        let entries = _mm256_castps_si256(unsafe { _mm256_loadu_ps(entries.as_ptr()) });
        let j = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        Table(_mm256_sub_epi32(entries, _mm256_slli_epi32::<20>(j)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn power(z: F32x16, table: Table) -> F32x16 {
        F32x16(power_of(z.0, table), power_of(z.1, table))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn power_of(z: __m256, table: Table) -> __m256 {
        let z = _mm256_castps_si256(z);
        // The lookup takes the three lowest bits of an index.
        let entry = _mm256_permutevar8x32_epi32(table.0, z);
        _mm256_castsi256_ps(_mm256_add_epi32(entry, _mm256_slli_epi32::<20>(z)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn lt(a: F32x16, b: F32x16) -> Mask {
        Mask(
            _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0),
            _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn eq(a: F32x16, b: F32x16) -> Mask {
        Mask(
            _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0),
            _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn is_nan(x: F32x16) -> Mask {
        Mask(
            _mm256_cmp_ps::<_CMP_UNORD_Q>(x.0, x.0),
            _mm256_cmp_ps::<_CMP_UNORD_Q>(x.1, x.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn or(a: Mask, b: Mask) -> Mask {
        Mask(_mm256_or_ps(a.0, b.0), _mm256_or_ps(a.1, b.1))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn lane(_: Avx2, i: usize) -> Mask {
        let i = _mm256_set1_epi32(i32::from(i as u8));
        let lo = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let hi = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
        Mask(
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(i, lo)),
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(i, hi)),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn lanes_from(_: Avx2, i: usize) -> Mask {
        let all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        let Mask(lo, hi) = prefix(i);
        Mask(_mm256_andnot_ps(lo, all), _mm256_andnot_ps(hi, all))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn lanes_of(_: Avx2, flags: &[bool; 16]) -> Mask {
        // SAFETY: `flags` has sixteen bytes; the load asks for no alignment.
        let flags = unsafe { _mm_loadu_si128(flags.as_ptr().cast()) };
        let eight = |flags| {
            let none = _mm256_setzero_si256();
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(flags), none))
        };
        Mask(eight(flags), eight(_mm_unpackhi_epi64(flags, flags)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn select(mask: Mask, yes: F32x16, no: F32x16) -> F32x16 {
        F32x16(
            _mm256_blendv_ps(no.0, yes.0, mask.0),
            _mm256_blendv_ps(no.1, yes.1, mask.1),
        )
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn bits(mask: Mask) -> u32 {
        (_mm256_movemask_ps(mask.0) | _mm256_movemask_ps(mask.1) << 8).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn first(x: F32x16) -> f32 {
        _mm256_cvtss_f32(x.0)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn reduce_max(x: F32x16) -> f32 {
        let x = _mm256_max_ps(x.0, x.1);
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn reduce_sum(x: F32x16) -> f32 {
        let x = _mm256_add_ps(x.0, x.1);
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn lanes(x: F32x16) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        store(x, &mut lanes);
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn max_of_each(_: Avx2, vectors: &[F32x16; 16]) -> F32x16 {
        reduce_each(vectors, |a, b| _mm256_max_ps(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_of_each(_: Avx2, vectors: &[F32x16; 16]) -> F32x16 {
        reduce_each(vectors, |a, b| _mm256_add_ps(a, b))
    }

    /// Combines the lanes of each vector, halves first, of eight vectors at a time.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn reduce_each(vectors: &[F32x16; 16], f: impl Fn(__m256, __m256) -> __m256) -> F32x16 {
        let zero = _mm256_setzero_ps();
        let (mut halves, mut eights) = ([zero; 16], [zero; 2]);
        for (half, x) in halves.iter_mut().zip(vectors) {
            *half = f(x.0, x.1);
        }
        for (eight, halves) in eights.iter_mut().zip(halves.as_chunks::<8>().0) {
            *eight = reduce_eight(halves, &f);
        }
        F32x16(eights[0], eights[1])
    }

    /// What is left of two shares a register: quarters, then pairs and lanes. In the end, that of the one taken at `j` is where `ORDER` takes it from.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn reduce_eight(halves: &[__m256; 8], f: impl Fn(__m256, __m256) -> __m256) -> __m256 {
        const ORDER: [usize; 8] = [0, 2, 1, 3, 4, 6, 5, 7];
        let zero = _mm256_setzero_ps();
        let (mut quarters, mut pairs) = ([zero; 4], [zero; 2]);
        for i in 0..4 {
            let (a, b) = (halves[ORDER[i]], halves[ORDER[i + 4]]);
            let lower = _mm256_permute2f128_ps::<0x20>(a, b);
            quarters[i] = f(lower, _mm256_permute2f128_ps::<0x31>(a, b));
        }
        for i in 0..2 {
            let (a, b) = (
                _mm256_castps_pd(quarters[i]),
                _mm256_castps_pd(quarters[i + 2]),
            );
            let lower = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            pairs[i] = f(lower, _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
        }
        let [a, b] = pairs;
        let lower = _mm256_shuffle_ps::<0b10_00_10_00>(a, b);
        f(lower, _mm256_shuffle_ps::<0b11_01_11_01>(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn totals(sums: &[Sum; 16]) -> [f64; 16] {
        let mut totals = [_mm256_setzero_pd(); 4];
        for (total, sums) in totals.iter_mut().zip(sums.as_chunks::<4>().0) {
            let mut quarters = [_mm256_setzero_pd(); 4];
            for (quarter, Sum(s)) in quarters.iter_mut().zip(sums) {
                let (even, odd) = (_mm256_add_pd(s[0], s[2]), _mm256_add_pd(s[1], s[3]));
                *quarter = _mm256_add_pd(even, odd);
            }
            let [a, b, c, d] = quarters;
            // Two lanes of the first and the third, and of the others.
            let pair = |a, b| {
                let lower = _mm256_permute2f128_pd::<0x20>(a, b);
                _mm256_add_pd(lower, _mm256_permute2f128_pd::<0x31>(a, b))
            };
            let (ac, bd) = (pair(a, c), pair(b, d));
            *total = _mm256_add_pd(_mm256_unpacklo_pd(ac, bd), _mm256_unpackhi_pd(ac, bd));
        }
        sum_lanes(Sum(totals))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_zero(_: Avx2) -> Sum {
        Sum([_mm256_setzero_pd(); 4])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_of(_: Avx2, x: F32x16) -> Sum {
        Sum(quarters(x))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn quarters(x: F32x16) -> [__m256d; 4] {
        [
            _mm256_cvtps_pd(_mm256_castps256_ps128(x.0)),
            _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x.0)),
            _mm256_cvtps_pd(_mm256_castps256_ps128(x.1)),
            _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x.1)),
        ]
    }

    #[inline(always)]
    pub(super) fn in_order(x: F32x16) -> F32x16 {
        x
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn prefetch(_: Avx2, p: *const f32) {
        #[allow(unused_unsafe, reason = "older compilers want it")]
        // SAFETY: a prefetch of any address is allowed.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn load_columns(_: Avx2, src: &[f32], stride: u16, columns: &mut [F32x16; 4]) {
        let stride = usize::from(stride);
        assert!(15 * stride + 4 <= src.len(), "columns beyond the rows");
        // SAFETY: four elements of each of sixteen rows, the last of which ends within `src`; the loads ask
        // for no alignment.
        let four = |row: usize| unsafe { _mm_loadu_ps(src.as_ptr().add(row * stride)) };
        // Rows j and j + 4.
        let rows =
            |j: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four(j)), four(j + 4));
        let lo = transpose([rows(0), rows(1), rows(2), rows(3)]);
        let hi = transpose([rows(8), rows(9), rows(10), rows(11)]);
        for (i, column) in columns.iter_mut().enumerate() {
            *column = F32x16(lo[i], hi[i]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn store_columns(columns: &[F32x16; 4], dst: &mut [f32], stride: u16) {
        let stride = usize::from(stride);
        assert!(15 * stride + 4 <= dst.len(), "columns beyond the rows");
        let dst = dst.as_mut_ptr();
        // SAFETY: four elements of each of sixteen rows, the last of which ends within `dst`; the stores ask
        // for no alignment.
        let store = |row: usize, four| unsafe { _mm_storeu_ps(dst.add(row * stride), four) };
        let [a, b, c, d] = columns;
        for (i, half) in [[a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]]
            .into_iter()
            .enumerate()
        {
            let rows = transpose(half);
            for (j, &rows) in rows.iter().enumerate() {
                store(8 * i + j, _mm256_castps256_ps128(rows));
            }
            for (j, &rows) in rows.iter().enumerate() {
                store(8 * i + 4 + j, _mm256_extractf128_ps::<1>(rows));
            }
        }
    }

    /// Transposes each half of four registers.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn transpose([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        let [ab, cd] = [_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d)];
        let [ab, cd] = [ab, cd].map(|x| _mm256_castps_pd(x));
        let [ab_hi, cd_hi] = [_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d)];
        let [ab_hi, cd_hi] = [ab_hi, cd_hi].map(|x| _mm256_castps_pd(x));
        [
            _mm256_unpacklo_pd(ab, cd),
            _mm256_unpackhi_pd(ab, cd),
            _mm256_unpacklo_pd(ab_hi, cd_hi),
            _mm256_unpackhi_pd(ab_hi, cd_hi),
        ]
        .map(|x| _mm256_castpd_ps(x))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn deinterleave(_: Avx2, [a, b]: [F32x16; 2]) -> [F32x16; 2] {
        // What is taken of a half of each register stands beside that of the other: quarters 0 and 2 are of the first.
        let halves = |x: F32x16| {
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(x.0, x.1);
            let odd = _mm256_shuffle_ps::<0b11_01_11_01>(x.0, x.1);
            [even, odd].map(|x| {
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(x)))
            })
        };
        let ([even_a, odd_a], [even_b, odd_b]) = (halves(a), halves(b));
        [F32x16(even_a, even_b), F32x16(odd_a, odd_b)]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn interleave(_: Avx2, [a, b]: [F32x16; 2]) -> [F32x16; 2] {
        let halves = |a, b| {
            let (lo, hi) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            F32x16(
                _mm256_permute2f128_ps::<0x20>(lo, hi),
                _mm256_permute2f128_ps::<0x31>(lo, hi),
            )
        };
        [halves(a.0, b.0), halves(a.1, b.1)]
    }

    /// Every third lane of three registers: of the first from lane 0 on, of the second from 1, of the third from 2.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn third_of_each([a, b, c]: [__m256; 3]) -> __m256 {
        _mm256_blend_ps::<0b0010_0100>(_mm256_blend_ps::<0b1001_0010>(a, b), c)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn permuted(x: __m256, order: [i32; 8]) -> __m256 {
        let [a, b, c, d, e, f, g, h] = order;
        _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(a, b, c, d, e, f, g, h))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn deinterleave_3(_: Avx2, [a, b, c]: [F32x16; 3]) -> [F32x16; 3] {
        // Element `3 r + k` of 24 is lane `(3 r + k) % 8`, another one for each row: what belongs to a column fills a register.
        let eight = |[p, q, r]: [__m256; 3]| {
            [
                permuted(third_of_each([p, q, r]), [0, 3, 6, 1, 4, 7, 2, 5]),
                permuted(third_of_each([r, p, q]), [1, 4, 7, 2, 5, 0, 3, 6]),
                permuted(third_of_each([q, r, p]), [2, 5, 0, 3, 6, 1, 4, 7]),
            ]
        };
        let (lo, hi) = (eight([a.0, a.1, b.0]), eight([b.1, c.0, c.1]));
        [
            F32x16(lo[0], hi[0]),
            F32x16(lo[1], hi[1]),
            F32x16(lo[2], hi[2]),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn interleave_3(_: Avx2, [a, b, c]: [F32x16; 3]) -> [F32x16; 3] {
        let eight = |[a, b, c]: [__m256; 3]| {
            let a = permuted(a, [0, 3, 6, 1, 4, 7, 2, 5]);
            let b = permuted(b, [5, 0, 3, 6, 1, 4, 7, 2]);
            let c = permuted(c, [2, 5, 0, 3, 6, 1, 4, 7]);
            [[a, b, c], [c, a, b], [b, c, a]].map(|x| third_of_each(x))
        };
        let (lo, hi) = (eight([a.0, b.0, c.0]), eight([a.1, b.1, c.1]));
        [
            F32x16(lo[0], lo[1]),
            F32x16(lo[2], hi[0]),
            F32x16(hi[1], hi[2]),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn narrow(simd: Avx2, x: &[f64; 16]) -> F32x16 {
        // SAFETY: `x` has sixteen elements; the loads ask for no alignment.
        let four = |i: usize| unsafe { _mm256_loadu_pd(x.as_ptr().add(i)) };
        sum_narrow(simd, Sum([four(0), four(4), four(8), four(12)]))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_narrow(_: Avx2, sum: Sum) -> F32x16 {
        let four = |i: usize| _mm256_cvtpd_ps(sum.0[i]);
        let eight =
            |i: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four(i)), four(i + 1));
        F32x16(eight(0), eight(2))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_scale(sum: Sum, factor: f64) -> Sum {
        let factor = _mm256_set1_pd(factor);
        let quarter = |i: usize| _mm256_mul_pd(sum.0[i], factor);
        Sum([quarter(0), quarter(1), quarter(2), quarter(3)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn widen(x: F32x16) -> [f64; 16] {
        sum_lanes(Sum(quarters(x)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_lanes(sum: Sum) -> [f64; 16] {
        let mut lanes = [0.0; 16];
        for (i, quarter) in sum.0.into_iter().enumerate() {
            // SAFETY: `lanes` has sixteen elements; the stores ask for no alignment.
            unsafe { _mm256_storeu_pd(lanes.as_mut_ptr().add(4 * i), quarter) }
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_merge(a: Sum, b: Sum) -> Sum {
        let (a, b) = (a.0, b.0);
        Sum([
            _mm256_add_pd(a[0], b[0]),
            _mm256_add_pd(a[1], b[1]),
            _mm256_add_pd(a[2], b[2]),
            _mm256_add_pd(a[3], b[3]),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_add(sum: Sum, x: F32x16) -> Sum {
        let (s, x) = (sum.0, quarters(x));
        Sum([
            _mm256_add_pd(s[0], x[0]),
            _mm256_add_pd(s[1], x[1]),
            _mm256_add_pd(s[2], x[2]),
            _mm256_add_pd(s[3], x[3]),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_add_product(sum: Sum, a: F32x16, b: F32x16) -> Sum {
        let (s, a, b) = (sum.0, quarters(a), quarters(b));
        Sum([
            _mm256_fmadd_pd(a[0], b[0], s[0]),
            _mm256_fmadd_pd(a[1], b[1], s[1]),
            _mm256_fmadd_pd(a[2], b[2], s[2]),
            _mm256_fmadd_pd(a[3], b[3], s[3]),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn sum_total(sum: Sum) -> f64 {
        let s = sum.0;
        let s = _mm256_add_pd(_mm256_add_pd(s[0], s[2]), _mm256_add_pd(s[1], s[3]));
        let s = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd::<1>(s));
        _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn widen_f16(_: Avx2, src: &[u16; 16]) -> F32x16 {
        let [lo, hi] = halves(src);
        F32x16(_mm256_cvtph_ps(lo), _mm256_cvtph_ps(hi))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn narrow_f16(x: F32x16, dst: &mut [u16; 16]) {
        let lo = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x.0);
        let hi = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x.1);
        put(_mm256_set_m128i(hi, lo), dst);
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn widen_bf16(_: Avx2, src: &[u16; 16]) -> F32x16 {
        let [lo, hi] = halves(src);
        let lo = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(lo));
        let hi = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(hi));
        F32x16(_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn narrow_bf16(x: F32x16, dst: &mut [u16; 16]) {
        let (lo, hi) = (nearest_bf16(x.0), nearest_bf16(x.1));
        // In each half of the register, four of the one and four of the other.
        let packed = _mm256_packus_epi32(lo, hi);
        put(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed), dst);
    }

    /// The bits of the nearest `bf16`: half of what is cut off is added, and a tie goes to the even one.
    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn nearest_bf16(x: __m256) -> __m256i {
        let bits = _mm256_castps_si256(x);
        let last = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let half = _mm256_add_epi32(last, _mm256_set1_epi32(0x7FFF));
        let rounded = _mm256_castsi256_ps(_mm256_add_epi32(bits, half));
        let nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC0_0000));
        let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x);
        let rounded = _mm256_blendv_ps(rounded, nan, is_nan);
        _mm256_srli_epi32::<16>(_mm256_castps_si256(rounded))
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn halves(src: &[u16; 16]) -> [__m128i; 2] {
        let (lo, hi) = src.split_at(8);
        // SAFETY: each half has eight numbers.
        unsafe {
            [
                _mm_loadu_si128(lo.as_ptr().cast()),
                _mm_loadu_si128(hi.as_ptr().cast()),
            ]
        }
    }

    #[cfg(feature = "half")]
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn put(x: __m256i, dst: &mut [u16; 16]) {
        // SAFETY: there are sixteen numbers.
        unsafe { _mm256_storeu_si256(dst.as_mut_ptr().cast(), x) }
    }
}
