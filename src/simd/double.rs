//! What the vectors of `f64` share: sums of two numbers a lane, conversions, and columns, whose elements are moved one by one. Safe code over the
//! vector's own functions.

use super::Vector;
use crate::kernel::pair::Pair;
use crate::kernel::wide::WideFloat as _;

/// A vector of `f64`.
pub trait Double: Vector<Elem = f64, Array = [f64; 16]> {}

impl<V: Vector<Elem = f64, Array = [f64; 16]>> Double for V {}

/// A wide number in each lane: a sum, and what its additions have left out, which is not a number where the sum is not finite.
#[derive(Clone, Copy, Debug)]
pub struct Sum<V: Vector> {
    hi: V,
    lo: V,
    simd: V::Simd,
}

/// `a + b` and what its rounding leaves out.
#[inline(always)]
fn two_sum<V: Double>(a: V, b: V) -> (V, V) {
    let sum = a + b;
    let taken = sum - a;
    (sum, (a - (sum - taken)) + (b - taken))
}

/// `a b` and what its rounding leaves out, negated.
#[inline(always)]
fn two_product<V: Double>(simd: V::Simd, a: V, b: V) -> (V, V) {
    let product = a * b;
    if V::FUSED {
        return (product, a.neg_mul_add(b, product));
    }
    let ((a_hi, a_lo), (b_hi, b_lo)) = (halves(simd, a), halves(simd, b));
    let less = ((product - a_hi * b_hi) - a_hi * b_lo - a_lo * b_hi) - a_lo * b_lo;
    // Beyond 2^996, a half is NaN or a product of halves infinite.
    let zero = V::splat(simd, 0.0);
    (product, V::select((less * zero).eq(zero), less, zero))
}

/// A number as the sum of two of 26 bits (Dekker).
#[inline(always)]
fn halves<V: Double>(simd: V::Simd, x: V) -> (V, V) {
    let product = x * V::splat(simd, 134_217_729.0); // 2^27 + 1
    let hi = product - (product - x);
    (hi, x - hi)
}

#[inline(always)]
pub fn sum_zero<V: Double>(simd: V::Simd) -> Sum<V> {
    let zero = V::splat(simd, 0.0);
    Sum {
        hi: zero,
        lo: zero,
        simd,
    }
}

#[inline(always)]
pub fn sum_of<V: Double>(simd: V::Simd, x: V) -> Sum<V> {
    let lo = V::splat(simd, 0.0);
    Sum { hi: x, lo, simd }
}

#[inline(always)]
pub fn lanes<V: Double>(x: V) -> [f64; 16] {
    let mut lanes = [0.0; 16];
    x.store(&mut lanes);
    lanes
}

// Of each vector by itself: of rows of `f64`, nothing is done for sixteen vectors at a time.

#[inline(always)]
pub fn max_of_each<V: Double>(simd: V::Simd, vectors: &[V; 16]) -> V {
    V::load(simd, &vectors.map(V::reduce_max))
}

#[inline(always)]
pub fn sum_of_each<V: Double>(simd: V::Simd, vectors: &[V; 16]) -> V {
    V::load(simd, &vectors.map(V::reduce_sum))
}

#[inline(always)]
pub fn deinterleave<V: Double, const C: usize>(simd: V::Simd, vectors: [V; C]) -> [V; C] {
    super::deinterleaved(&vectors.map(V::lanes)).map(
        #[inline(always)]
        |x| V::load(simd, &x),
    )
}
pub use deinterleave as deinterleave_3;

#[inline(always)]
pub fn interleave<V: Double, const C: usize>(simd: V::Simd, columns: [V; C]) -> [V; C] {
    super::interleaved(&columns.map(V::lanes)).map(
        #[inline(always)]
        |x| V::load(simd, &x),
    )
}
pub use interleave as interleave_3;

#[inline(always)]
pub fn totals<V: Double>(sums: &[Sum<V>; 16]) -> [Pair; 16] {
    sums.map(sum_total)
}

/// As [`sum_total`] adds.
#[inline(always)]
pub fn reduce_sum<V: Double>(x: V) -> f64 {
    let mut lanes = [0.0; 16];
    x.store(&mut lanes);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

#[inline(always)]
pub fn sum_add<V: Double>(sum: Sum<V>, x: V) -> Sum<V> {
    let (hi, rest) = two_sum(sum.hi, x);
    let lo = sum.lo + rest;
    Sum { hi, lo, ..sum }
}

#[inline(always)]
pub fn sum_add_product<V: Double>(sum: Sum<V>, a: V, b: V) -> Sum<V> {
    let (product, less) = two_product(sum.simd, a, b);
    let (hi, rest) = two_sum(sum.hi, product);
    let lo = sum.lo + (rest - less);
    Sum { hi, lo, ..sum }
}

#[inline(always)]
pub fn sum_merge<V: Double>(a: Sum<V>, b: Sum<V>) -> Sum<V> {
    let (hi, rest) = two_sum(a.hi, b.hi);
    let lo = (a.lo + b.lo) + rest;
    Sum { hi, lo, ..a }
}

#[inline(always)]
pub fn sum_scale<V: Double>(sum: Sum<V>, factor: Pair) -> Sum<V> {
    let [factor, rest] = factor.parts();
    let (factor, rest) = (V::splat(sum.simd, factor), V::splat(sum.simd, rest));
    let (hi, less) = two_product(sum.simd, sum.hi, factor);
    let lo = (sum.hi * rest + sum.lo * factor) - less;
    Sum { hi, lo, ..sum }
}

#[inline(always)]
pub fn sum_narrow<V: Double>(_: V::Simd, sum: Sum<V>) -> V {
    let zero = V::splat(sum.simd, 0.0);
    let is_finite = (sum.hi * zero).eq(zero);
    V::select(is_finite, sum.hi + sum.lo, sum.hi)
}

#[inline(always)]
pub fn sum_lanes<V: Double>(sum: Sum<V>) -> [Pair; 16] {
    let (mut hi, mut lo, mut lanes) = ([0.0; 16], [0.0; 16], [Pair::ZERO; 16]);
    sum.hi.store(&mut hi);
    sum.lo.store(&mut lo);
    for i in 0..16 {
        lanes[i] = Pair::of_sum(hi[i], lo[i]);
    }
    lanes
}

/// As [`sum_merge`] adds.
#[inline(always)]
pub fn sum_total<V: Double>(sum: Sum<V>) -> Pair {
    let (mut hi, mut lo) = ([0.0; 16], [0.0; 16]);
    sum.hi.store(&mut hi);
    sum.lo.store(&mut lo);
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let (a, b) = (hi[i], hi[i + half]);
            let sum = a + b;
            let taken = sum - a;
            hi[i] = sum;
            lo[i] = (lo[i] + lo[i + half]) + ((a - (sum - taken)) + (b - taken));
        }
    }
    Pair::of_sum(hi[0], lo[0])
}

#[inline(always)]
pub fn widen<V: Double>(x: V) -> [Pair; 16] {
    let (mut lanes, mut wide) = ([0.0; 16], [Pair::ZERO; 16]);
    x.store(&mut lanes);
    for i in 0..16 {
        wide[i] = Pair::of(lanes[i]);
    }
    wide
}

#[inline(always)]
pub fn narrow<V: Double>(simd: V::Simd, x: &[Pair; 16]) -> V {
    let mut lanes = [0.0; 16];
    for i in 0..16 {
        lanes[i] = x[i].nearest();
    }
    V::load(simd, &lanes)
}

#[inline(always)]
pub fn load_columns<V: Double>(simd: V::Simd, src: &[f64], stride: u16, columns: &mut [V; 4]) {
    for (k, column) in columns.iter_mut().enumerate() {
        let mut lanes = [0.0; 16];
        for (row, lane) in lanes.iter_mut().enumerate() {
            *lane = src[row * usize::from(stride) + k];
        }
        *column = V::load(simd, &lanes);
    }
}

#[inline(always)]
pub fn store_columns<V: Double>(columns: &[V; 4], dst: &mut [f64], stride: u16) {
    let mut lanes = [[0.0; 16]; 4];
    for (column, lanes) in columns.iter().zip(&mut lanes) {
        column.store(lanes);
    }
    for row in 0..16 {
        for (k, column) in lanes.iter().enumerate() {
            dst[row * usize::from(stride) + k] = column[row];
        }
    }
}
