//! What every softmax-like kernel begins with: the extent of a row, its weights and their sum.

use super::chunks::Chunks;
use super::running::RunningTotal;
use super::shift::{Shift, Shifts, Weigh, Weights, two_to};
use super::total::{FEW_VECTORS, Total};
use super::tree::{self, Merge};
use super::wide::{Wide, WideFloat};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::rows::{CHUNK, Map, Pass, Places, Row, of_first};
use crate::simd::Vector;

/// What the largest element of a row says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent<T> {
    /// A finite maximum. There may be NaN elements besides: the sum of the weights is NaN then.
    Finite(T),
    /// Every element is `-inf`, or there is none.
    Masked,
    /// There is a `+inf` and no NaN.
    Infinite,
    /// The maximum is not finite, and there is a NaN.
    Nan,
}

impl<T: Real> Extent<T> {
    /// Of what has this largest element, NaN if there is one.
    pub fn of(largest: T) -> Self {
        if largest.is_nan() {
            Self::Nan
        } else if largest == T::INFINITY {
            Self::Infinite
        } else if largest == T::NEG_INFINITY {
            Self::Masked
        } else {
            Self::Finite(largest)
        }
    }
}

impl<T: Real> Merge for Extent<T> {
    /// Of two parts of a row. A NaN may still hide beside a finite maximum.
    fn merge(self, right: Self) -> Self {
        match (self, right) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Infinite, _) | (_, Self::Infinite) => Self::Infinite,
            (Self::Masked, other) | (other, Self::Masked) => other,
            (Self::Finite(a), Self::Finite(b)) => Self::Finite(if a < b { b } else { a }),
        }
    }
}

/// Finds the extent of a row, of which `max` may be the maximum of each lane.
#[inline(always)]
pub fn extent<V: Vector>(
    simd: V::Simd,
    row: Row<'_, V::Elem, 1>,
    max: Option<V>,
) -> Extent<V::Elem> {
    // `max` may drop a NaN in its first operand, but then it shows in the sum, or below.
    let lowest = V::Elem::NEG_INFINITY;
    let max = match max {
        Some(max) => {
            // Each lane's: see `ceiling`.
            debug_assert!(
                lane_maxima(row).is_none_or(|found| found == max.lanes()),
                "the maxima of another row"
            );
            max
        }
        None => row.max::<V>(simd),
    };
    let max = max.reduce_max();
    if lowest < max && max < V::Elem::INFINITY {
        Extent::Finite(max)
    } else if has_nan::<V>(simd, row) {
        Extent::Nan
    } else if max == lowest {
        Extent::Masked
    } else {
        Extent::Infinite
    }
}

/// The maximum of each lane of a row, unless there is a NaN: for debug assertions. (One number at a time: a program that is not optimised has
/// room on its stack for each vector.)
fn lane_maxima<T: Real>(row: Row<'_, T, 1>) -> Option<[T; 16]> {
    let mut maxima = [T::NEG_INFINITY; 16];
    for i in 0..row.len() {
        let x = row.get(0, i);
        if x.is_nan() {
            return None;
        }
        if maxima[i % 16] < x {
            maxima[i % 16] = x;
        }
    }
    Some(maxima)
}

/// Whether there is a NaN in a row.
#[inline(always)]
pub fn has_nan<V: Vector>(simd: V::Simd, row: Row<'_, V::Elem, 1>) -> bool {
    let mut nan = V::splat(simd, V::Elem::NEG_INFINITY).is_nan();
    row.visit(
        simd,
        [V::Elem::NEG_INFINITY],
        #[inline(always)]
        |[x]: [V; 1]| nan = V::or(nan, x.is_nan()),
    );
    V::bits(nan) != 0
}

/// No element: see [`weigh`].
pub const NONE: usize = usize::MAX;

/// The factors that the weights of sixteen rows are multiplied by, a row in a lane: see
/// [`Heaviest::corrected`].
#[inline(always)]
pub fn scales<V: Vector>(
    simd: V::Simd,
    shifts: &Shifts<V>,
    mut factors: [Wide<V::Elem>; 16],
) -> Factor<V> {
    let factor = Factor::of_rows(simd, &factors);
    let weigh = Weigh::<V, false>::of_rows(simd, shifts);
    let rounded = if let Some(heaviest) = shifts.heaviest {
        heaviest
    } else {
        weigh.weights(simd, shifts.max).rounded
    };
    // Off by `u` for the factor and `u` for the product: less than what is looked for beyond two ULP.
    let mut near = false;
    for product in (rounded * factor.hi).lanes() {
        near |= product.may_be_near_power_of_two();
    }
    if !near {
        return factor;
    }
    let weights = weigh.weights(simd, shifts.max);
    debug_assert!(
        V::bits(rounded.eq(weights.rounded)) == (1 << V::LANES) - 1,
        "the weight of another element"
    );
    let (rounded, base, growth) = (
        weights.rounded.widen(),
        weights.base.widen(),
        weights.growth.widen(),
    );
    for i in 0..16 {
        let heaviest = Heaviest::<V::Elem> {
            rounded: rounded[i],
            exact: base[i] + base[i] * growth[i],
        };
        factors[i] = heaviest.corrected(factors[i]);
    }
    Factor::of_rows(simd, &factors)
}

/// The mantissa's bits in an `f64`.
const MANTISSA: u64 = (1 << 52) - 1;

/// Whether a number is within two ULP of a power of two, or 0. (Without a branch, which would keep the compiler from
/// doing many at once.)
#[inline(always)]
fn near_power_of_two<T: Real>(x: f64) -> bool {
    // From 1 to 2.
    let m = f64::from_bits(x.to_bits() & MANTISSA | 1_f64.to_bits());
    !(1.0 + 4.0 * T::UNIT..=2.0 - 4.0 * T::UNIT).contains(&m)
}

/// A little more than the lightest weight: the next one is an eighth of an octave above.
#[inline(always)]
pub fn lightest<T: Real>() -> f64 {
    1.04 * two_to(T::EXP.lift.to_f64() + T::EXP.lightest.to_f64())
}

/// The largest weight of a row.
#[derive(Clone, Copy, Debug)]
pub struct Heaviest<T: Float> {
    /// As it is written.
    rounded: Wide<T>,
    /// Before it is rounded.
    exact: Wide<T>,
}

/// What of a row, or of a part of it, is summed.
#[derive(Debug)]
pub struct Counted<'c, V: Vector> {
    /// The element that is not, or [`NONE`].
    pub left_out: usize,
    /// The maximum of each lane, that element included, if it is known and all is one chunk.
    pub maxima: Option<V>,
    /// Those of its chunks, as far as they are known; they become those of the next row if that is looked at.
    pub chunks: &'c mut Chunks<V::Elem>,
}

impl<V: Vector> Counted<'_, V> {
    /// The [`ceiling`] of a chunk, of which something may be known.
    #[inline(always)]
    fn ceiling(
        &self,
        simd: V::Simd,
        part: Row<'_, V::Elem, 1>,
        chunk: usize,
        left_out: usize,
        shift: &Shift<V::Elem>,
    ) -> V::Elem {
        let maxima = if let Some(maxima) = self.maxima {
            maxima
        } else {
            if let Some(max) = self.chunks.get(chunk) {
                debug_assert!(
                    lane_maxima(part).is_none_or(|found| found.contains(&max) && found.iter().all(|&x| x <= max)),
                    "the maximum of another chunk"
                );
                if is_less(part, left_out, max) {
                    return shift.ceiling(max);
                }
            }
            part.max::<V>(simd)
        };
        ceiling::<V>(simd, part, maxima, left_out, shift)
    }
}

/// What [`weigh`] finds of a row.
#[derive(Clone, Copy, Debug)]
pub struct Weighed<V: Vector> {
    /// The sum of the weights, but for the one left out.
    pub sum: Wide<V::Elem>,
    pub heaviest: Heaviest<V::Elem>,
    /// The largest element in each lane of the next row, if one that is not shorter is ahead.
    pub next_max: Option<V>,
}

/// Turns the elements of a row into their weights, and returns the sum of those that are `counted`. Only where the row has a destination are the weights written.
///
/// Meanwhile it asks for what is `ahead`, or [looks at it](looks_ahead) and finds the maxima of the next row, and of its chunks: the exponentials leave
/// room for that beside them.
///
/// Before the weights of each chunk, `before` sees its elements and where they begin.
///
/// Leaving an element out, instead of subtracting it afterwards, is what keeps the relative
/// accuracy of `1 - p` when `p` is near 1.
///
/// `FAR`: whether the shift [is](Shift::is_far).
#[inline(always)]
pub fn weigh<V: Vector, P: Pass<V::Elem, 1>, const FAR: bool>(
    simd: V::Simd,
    row: &mut P,
    shift: &Shift<V::Elem>,
    counted: &mut Counted<'_, V>,
    ahead: Row<'_, V::Elem, 1>,
    mut before: impl FnMut(Row<'_, V::Elem, 1>, usize),
) -> Weighed<V> {
    let weigh = Weigh::<V, FAR>::new(simd, shift);
    let len = row.len();
    debug_assert!(counted.maxima.is_none() || len <= CHUNK, "of one chunk");
    let mut ahead = Ahead::<V>::new(simd, ahead, row.source());
    let sum = tree::sum(
        len.div_ceil(CHUNK),
        #[inline(always)]
        |chunk| {
            let start = chunk * CHUNK;
            let mut part = row.part(start, len.min(start + CHUNK));
            let left_out = counted.left_out.wrapping_sub(start);
            before(part.source(), start);
            let sum = if part.len() <= FEW_VECTORS * V::LANES {
                let mut total = Total::<V>::new(simd);
                weigh_chunk(
                    simd,
                    &mut part,
                    &weigh,
                    left_out,
                    (start, &mut ahead),
                    #[inline(always)]
                    |weights| total.add(weights),
                );
                total.finish()
            } else {
                let ceiling = counted.ceiling(simd, part.source(), chunk, left_out, shift);
                let mut total = RunningTotal::<V>::new(simd, ceiling);
                weigh_chunk(
                    simd,
                    &mut part,
                    &weigh,
                    left_out,
                    (start, &mut ahead),
                    #[inline(always)]
                    |weights| total.add(weights),
                );
                total.finish(simd)
            };
            if len > CHUNK {
                ahead.end_chunk(simd, chunk, counted.chunks);
            }
            sum
        },
    );
    Weighed {
        sum,
        heaviest: heaviest(simd, &weigh, shift),
        next_max: ahead.next_max(simd),
    }
}

/// What is ahead of a row, looked at while that is weighed.
struct Ahead<'a, V: Vector> {
    /// Where it begins, or where the row does if nothing is ahead: without a branch, memory is always asked for.
    places: Places<V::Elem, 1>,
    /// As much of the next row as this has, if that is not shorter and is [looked at](looks_ahead): or nothing.
    next: Row<'a, V::Elem, 1>,
    /// The largest in each lane of the vectors of that, of this chunk if there are several.
    max: V,
    /// The same of the chunks before.
    before: V,
}

impl<'a, V: Vector> Ahead<'a, V> {
    #[inline(always)]
    fn new(simd: V::Simd, ahead: Row<'a, V::Elem, 1>, row: Row<'_, V::Elem, 1>) -> Self {
        let places = if ahead.len() > 0 {
            ahead.places()
        } else {
            row.places()
        };
        // As long as the row, so that a look at several vectors finds all or none: a shorter one has a pass of its own.
        let looks = looks_ahead::<V>() && ahead.len() >= row.len();
        let looked_at = if looks { row.len() } else { 0 };
        Self {
            places,
            next: ahead.first(looked_at),
            max: V::splat(simd, V::Elem::NEG_INFINITY),
            before: V::splat(simd, V::Elem::NEG_INFINITY),
        }
    }

    /// Looks at what lies ahead of some vectors of the row, of which element `at` is the first.
    #[inline(always)]
    fn look<const G: usize>(&mut self, simd: V::Simd, at: usize) {
        let block = at / V::LANES;
        self.places.ask_ahead_of::<V, G>(simd, block);
        if const { looks_ahead::<V>() }
            && let Some(next) = self.next.vectors::<V, G>(simd, block)
        {
            for [x] in next {
                self.max = x.max(self.max);
            }
        }
    }

    /// After a look from every vector of a chunk of several, tells what was found of the next row there.
    #[inline(always)]
    fn end_chunk(&mut self, simd: V::Simd, chunk: usize, chunks: &mut Chunks<V::Elem>) {
        if self.next.len() == 0 {
            return;
        }
        if (chunk + 1) * CHUNK >= self.next.len() {
            self.look_at_tail(simd);
        }
        chunks.put(chunk, self.max);
        self.before = self.max.max(self.before);
        self.max = V::splat(simd, V::Elem::NEG_INFINITY);
    }

    #[inline(always)]
    fn look_at_tail(&mut self, simd: V::Simd) {
        let [tail] = self.next.load_tail::<V>(simd, [V::Elem::NEG_INFINITY]);
        self.max = tail.max(self.max);
    }

    /// The maximum of each lane of the next row, after a look from every vector of the row.
    #[inline(always)]
    fn next_max(&mut self, simd: V::Simd) -> Option<V> {
        self.look_at_tail(simd);
        (self.next.len() > 0).then_some(self.max.max(self.before))
    }
}

/// Whether the maximum of a row is found while the row before is weighed.
///
/// With 32 registers that takes 0.87 to 0.96 of the time of a pass of its own, for rows of 1000 classes on. With fewer the loop spills, and
/// it takes 0.98 to 1.04: there the next row is only asked for.
#[inline(always)]
const fn looks_ahead<V: Vector>() -> bool {
    V::REGISTERS >= 32
}

/// Turns the elements of a chunk into their weights, which `add` is given, with 0 for the element that is left out. Looks `ahead` of where the chunk
/// begins.
#[inline(always)]
fn weigh_chunk<V: Vector, const FAR: bool>(
    simd: V::Simd,
    chunk: &mut impl Pass<V::Elem, 1>,
    weigh: &Weigh<V, FAR>,
    left_out: usize,
    (start, ahead): (usize, &mut Ahead<'_, V>),
    add: impl FnMut(Weights<V>),
) {
    let weighing = Weighing {
        simd,
        weigh,
        left_out,
        len: chunk.len(),
        start,
        ahead,
        add,
    };
    chunk.map_several::<V>(simd, [V::Elem::NEG_INFINITY], weighing);
}

/// What [`weigh_chunk`] does with each vector.
struct Weighing<'w, 'a, V: Vector, A, const FAR: bool> {
    simd: V::Simd,
    weigh: &'w Weigh<V, FAR>,
    left_out: usize,
    /// That of the chunk.
    len: usize,
    start: usize,
    ahead: &'w mut Ahead<'a, V>,
    add: A,
}

impl<V: Vector, A: FnMut(Weights<V>), const FAR: bool> Map<V, 1> for Weighing<'_, '_, V, A, FAR> {
    #[inline(always)]
    fn vectors<const G: usize>(&mut self, first: usize, x: [[V; 1]; G]) -> [V; G] {
        let simd = self.simd;
        self.ahead.look::<G>(simd, self.start + first * V::LANES);
        let mut y = of_first(x);
        let weights = self.weigh.weights_of(simd, y);
        for i in 0..G {
            let mut counted = weights[i];
            if first + i == self.left_out / V::LANES {
                counted.leave_out(simd, V::lane(simd, self.left_out % V::LANES));
            }
            // The lightest weight is little, but not nothing beside others that are as light. (A tail comes by itself.)
            if const { G == 1 } && first == self.len / V::LANES {
                counted.leave_out(simd, V::lanes_from(simd, self.len % V::LANES));
            }
            (self.add)(counted);
            y[i] = weights[i].rounded;
        }
        y
    }
}

/// Whether the element of a chunk that is left out, if there is one, is less than the largest.
#[inline(always)]
fn is_less<T: Real>(chunk: Row<'_, T, 1>, left_out: usize, max: T) -> bool {
    left_out >= chunk.len() || chunk.get(0, left_out) < max
}

/// What the weights of a chunk are [summed](RunningTotal) below, given the maxima of its lanes and the element that is left out. It depends on the elements of the chunk alone,
/// not on `N`, nor on what the chunk is a part of.
#[inline(always)]
pub fn ceiling<V: Vector>(
    simd: V::Simd,
    chunk: Row<'_, V::Elem, 1>,
    maxima: V,
    left_out: usize,
    shift: &Shift<V::Elem>,
) -> V::Elem {
    let max = maxima.reduce_max();
    if is_less(chunk, left_out, max) {
        return shift.ceiling(max);
    }
    // It is the largest. Of the others, those of other lanes are known.
    let lowest = V::splat(simd, V::Elem::NEG_INFINITY);
    let lane = V::lane(simd, left_out % V::LANES);
    let other = V::select(lane, lowest, maxima).reduce_max();
    let room = RunningTotal::<V>::room(chunk.len().div_ceil(V::LANES));
    if (shift.octaves(max) - shift.octaves(other)).to_f64() <= f64::from(room) {
        return shift.ceiling(max);
    }
    let others = [
        chunk.range(0, left_out),
        chunk.range(left_out + 1, chunk.len()),
    ];
    // One place where a maximum is found.
    let mut max = lowest;
    for others in others {
        max = others.max::<V>(simd).max(max);
    }
    let other = max.reduce_max();
    shift.ceiling(other)
}

#[inline(always)]
fn heaviest<V: Vector, const FAR: bool>(
    simd: V::Simd,
    weigh: &Weigh<V, FAR>,
    shift: &Shift<V::Elem>,
) -> Heaviest<V::Elem> {
    let weights = weigh.weights(simd, V::splat(simd, shift.max()));
    let (base, growth) = (
        weights.base.first().to_wide(),
        weights.growth.first().to_wide(),
    );
    Heaviest {
        rounded: weights.rounded.first().to_wide(),
        exact: base + base * growth,
    }
}

impl<T: Real> Heaviest<T> {
    /// The factor that the weights of a row are multiplied by, [corrected](Self::corrected) if need be.
    #[inline(always)]
    pub fn factor<V: Vector<Elem = T>>(self, simd: V::Simd, factor: Wide<T>) -> Factor<V> {
        let is_near = near_power_of_two::<T>((self.rounded * factor).nearest());
        let corrected = if is_near {
            self.corrected(factor)
        } else {
            factor
        };
        Factor::new(simd, corrected)
    }

    /// The factor that weights are multiplied by, corrected a little where that makes the largest product
    /// right and it is a power of two: a class without rivals has probability 1, two equal ones 1/2 each.
    ///
    /// For the factor stands for a sum of weights before they were rounded; the largest, rounded,
    /// is off by up to `u`, its product then by one ULP, and that shows in a power of two. Numbers below one that
    /// round to it begin `u / 2` below, so the correction is at most 0.71 u.
    #[inline(always)]
    fn corrected(self, factor: Wide<T>) -> Wide<T> {
        const NEAR: f64 = 0.2;
        // Room for what the product rounds.
        const INSIDE: f64 = 0.01;
        let exact = self.exact * factor;
        let nearest = T::from_wide(exact);
        let (top, ulp) = (nearest.to_wide(), nearest.to_f64() * T::UNIT);
        // That of numbers just below the power of two. (A factor of 0 is near nothing.)
        let is_near = (exact - top).abs() < Wide::<T>::of(NEAR * ulp);
        let is_power = nearest.to_f64().to_bits() & MANTISSA == 0;
        let product = self.rounded * factor;
        let lowest = top - Wide::<T>::of(ulp * (0.5 - INSIDE));
        let highest = top + Wide::<T>::of(ulp * (1.0 - INSIDE));
        // No `clamp`: it may panic, so it is a call.
        let corrected = factor * (product.max(lowest).min(highest) / product);
        if is_near & is_power {
            corrected
        } else {
            factor
        }
    }
}

/// Multiplies the weights of a row by a factor.
#[inline(always)]
pub fn scale<V: Vector, P: Pass<V::Elem, 1>>(
    simd: V::Simd,
    row: &mut P,
    heaviest: Heaviest<V::Elem>,
    factor: Wide<V::Elem>,
) {
    let factor = heaviest.factor(simd, factor);
    row.update(
        simd,
        #[inline(always)]
        |_, weights: V| factor.times(simd, weights),
    );
}

/// A factor in more precision than one element has.
#[derive(Clone, Copy, Debug)]
pub struct Factor<V> {
    hi: V,
    lo: V,
}

impl<V: Vector> Factor<V> {
    #[inline(always)]
    pub fn new(simd: V::Simd, factor: Wide<V::Elem>) -> Self {
        let hi = V::Elem::from_wide(factor);
        let wide = hi.to_wide();
        // Nothing is left of an infinite factor.
        let rest = if wide.is_finite() {
            factor - wide
        } else {
            Wide::<V::Elem>::ZERO
        };
        let lo = V::Elem::from_wide(rest);
        Self {
            hi: V::splat(simd, hi),
            lo: V::splat(simd, lo),
        }
    }

    /// The finite factors of sixteen rows, a row in a lane.
    #[inline(always)]
    pub fn of_rows(simd: V::Simd, factors: &[Wide<V::Elem>; 16]) -> Self {
        let hi = V::narrow(simd, factors);
        let rest = Wide::<V::Elem>::differences_of_rows(simd, factors, &hi.widen());
        Self {
            hi,
            lo: V::narrow(simd, &rest),
        }
    }

    /// Rounded, and the rest.
    #[inline(always)]
    pub fn parts(&self) -> [V; 2] {
        [self.hi, self.lo]
    }

    /// Of its [`parts`](Self::parts).
    #[inline(always)]
    pub fn of_parts([hi, lo]: [V; 2]) -> Self {
        Self { hi, lo }
    }

    /// The product, as if the factor had not been rounded. It may be subnormal, or less: see [`small_product`](Vector::small_product), which may change the sign of a 0 that
    /// is multiplied by a negative factor.
    #[inline(always)]
    pub fn times(&self, simd: V::Simd, x: V) -> V {
        x.mul_add(self.hi, x.small_product(simd, self.lo))
    }

    /// The same, of what is seldom subnormal, and may be 0, whose sign is that of the product then.
    #[inline(always)]
    pub fn times_ordinary(&self, x: V) -> V {
        x.mul_add(self.hi, x * self.lo)
    }

    /// The product in two parts: rounded, and what is to be subtracted from that. Where multiply-add is fused and nothing is subnormal, no more than
    /// `2^-48` of it is lost.
    #[inline(always)]
    pub fn times_in_parts(&self, x: V) -> [V; 2] {
        let product = x * self.hi;
        let more = x.neg_mul_add(self.lo, x.neg_mul_add(self.hi, product));
        [product, more]
    }

    /// This less something that is small beside it: of the order of its second part.
    #[inline(always)]
    pub fn less(&self, small: V) -> Self {
        Self {
            lo: self.lo - small,
            ..*self
        }
    }

    /// The product with `x + small`.
    #[inline(always)]
    pub fn times_sum(&self, simd: V::Simd, x: V, small: V) -> V {
        let rest = x.small_product(simd, self.lo);
        x.mul_add(self.hi, small.mul_add(self.hi, rest))
    }

    /// `x` minus this, as if it had not been rounded.
    #[inline(always)]
    pub fn subtracted_from(&self, x: V) -> V {
        (x - self.hi) - self.lo
    }

    /// `y` plus the product of `x` and this.
    #[inline(always)]
    pub fn product_added_to(&self, x: V, y: V) -> V {
        x.mul_add(self.hi, x.mul_add(self.lo, y))
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{NONE, ceiling, lane_maxima, near_power_of_two};
    use crate::backend::Backend;
    use crate::element::Real;
    use crate::element::sealed::Float as _;
    use crate::kernel::running::RunningTotal;
    use crate::kernel::scale::Scale;
    use crate::kernel::shift::{Shift, two_to};
    use crate::kernel::wide::{Wide, WideFloat as _};
    use crate::rows::{CHUNK, Row, Rows};
    use crate::scalar::Scalar;
    use crate::simd::portable::Portable;
    use crate::simd::{Kernel, Simd};

    /// Octaves that the ceiling of the sum of a chunk is above that of the largest element that is counted, which is given.
    struct Above {
        left_out: usize,
        largest: f32,
        /// Beside which the chunk is weighed.
        max: f32,
    }

    impl Kernel<Row<'_, f32, 1>> for Above {
        type Output = i32;

        fn simd<S: Simd>(&self, simd: S, row: Row<'_, f32, 1>) -> i32 {
            let shift = Shift::new::<S::F32>(self.max, &Scale::one());
            let maxima = row.max::<S::F32>(simd);
            let found = ceiling::<S::F32>(simd, row, maxima, self.left_out, &shift);
            let exponent = |x: f32| x.to_bits().cast_signed() >> 23;
            exponent(found) - exponent(shift.ceiling(self.largest))
        }
    }

    impl Scalar<Row<'_, f32, 1>> for Above {
        fn scalar(&self, _: Row<'_, f32, 1>) -> i32 {
            unreachable!("the scalar path has no weights")
        }
    }

    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn above(x: &[f32], left_out: usize, max: f32) -> i32 {
        let others = (0..x.len()).filter(|&i| i != left_out).map(|i| x[i]);
        let largest = others.fold(f32::NEG_INFINITY, f32::max);
        let all = Backend::available().filter(|backend| backend.name() != "scalar");
        let mut all = all.map(|backend| {
            let row = Rows::new([x], x.len()).unwrap().next().unwrap();
            let work = Above {
                left_out,
                largest,
                max,
            };
            backend.run(&work, row)
        });
        let first = all.next().unwrap();
        assert!(all.all(|other| other == first), "backends differ");
        first
    }

    /// Of products around every power of two, from less than which a factor is not a normal number: how many are not near one by rounded numbers, and how many are by both.
    fn near_powers_of_two<T: Real>() -> [usize; 2] {
        let (mut far, mut near) = (0, 0);
        let weight = two_to(T::EXP.lift.to_f64() - 1.0);
        for exponent in (T::EXP.lift.to_f64() as i32 * -7 / 2)..60 {
            for mantissa in [1.0, 1.03, 1.49, 1.77, 3.999] {
                for ulps in -40..40 {
                    let weight = T::from_f64(weight * mantissa).to_wide();
                    let product = 1.0 + f64::from(ulps) * 0.6 * T::UNIT;
                    let product = Wide::<T>::of(product * two_to(f64::from(exponent)));
                    let factor = product / weight;
                    let rounded = T::from_wide(weight) * T::from_wide(factor);
                    let may_be = rounded.may_be_near_power_of_two();
                    let is = near_power_of_two::<T>((weight * factor).nearest());
                    assert!(
                        may_be || !is,
                        "{mantissa}, 2^{exponent}, {ulps}: {rounded:?}"
                    );
                    far += usize::from(!may_be);
                    near += usize::from(is);
                }
            }
        }
        [far, near]
    }

    /// What is asked of rounded products tells all that are near a power of two, and not many more.
    #[test]
    fn nothing_near_a_power_of_two_is_missed() {
        assert!(near_powers_of_two::<f32>().into_iter().all(|n| n > 5_000));
        #[cfg(feature = "f64")]
        assert!(near_powers_of_two::<f64>().into_iter().all(|n| n > 5_000));
        let few = (0..1000).filter(|&i| (1.0 + i as f32 / 1000.0).may_be_near_power_of_two());
        assert_eq!(few.count(), 1);
    }

    #[test]
    fn debug_assertions_know_the_maxima() {
        let mut x: Vec<f32> = (0..40_u16).map(|i| f32::from(i * 7 % 40) - 20.0).collect();
        assert_eq!(lane_maxima(Row::of(&x[..0])), Some([f32::NEG_INFINITY; 16]));
        let lane = |lane| x.iter().skip(lane).step_by(16).copied();
        let expected = core::array::from_fn(|k| lane(k).fold(f32::NEG_INFINITY, f32::max));
        assert_eq!(lane_maxima(Row::of(&x)), Some(expected));
        x[33] = f32::NAN;
        assert_eq!(lane_maxima(Row::of(&x)), None);
    }

    #[test]
    fn the_ceiling_is_near_what_is_counted() {
        const INF: f32 = f32::INFINITY;
        let octave = std::f32::consts::LN_2;
        for len in [65, 100, 128, 1000, CHUNK - 3, CHUNK] {
            let room =
                RunningTotal::<<Portable as Simd>::F32>::room(len.div_ceil(16)).cast_signed();
            for top in [0, 17, 63, len - 1] {
                // In another lane, and in the same.
                for second in [(top + 1) % len, (top + 16) % len] {
                    let same_lane = top % 16 == second % 16;
                    for gap in 0..20_i16 {
                        let mut x = vec![-40.0 * octave; len];
                        x[top] = 0.0;
                        x[second] = f32::from(gap) * -octave;
                        let (gap, far) = (i32::from(gap), 40);
                        for max in [0.0, 3.0, 70.0] {
                            assert_eq!(above(&x, NONE, max), 0);
                            // The largest in plain sight: of all but one that is not the largest.
                            assert_eq!(above(&x, (top + 2) % len, max), 0);
                            let bound = if same_lane { far } else { gap };
                            let want = if bound <= room { gap } else { 0 };
                            assert_eq!(above(&x, top, max), want, "{len}, {top}, {second}, {gap}");
                        }
                    }
                }
                // Two of the largest; nothing else that is finite; nothing at all.
                let mut x = vec![-INF; len];
                assert_eq!(above(&x, top, 0.0), 0);
                x[top] = 0.0;
                assert_eq!(above(&x, top, 0.0), 0);
                assert_eq!(above(&x, NONE, 0.0), 0);
                x[(top + 5) % len] = 0.0;
                assert_eq!(above(&x, top, 0.0), 0);
            }
        }
    }
}
