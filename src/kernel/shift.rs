//! How the elements of a row become weights: the exponential, shifted in the exponent.
//!
//! Where multiply-add is fused, an octave is cut into eight: `e^x = 2^k 2^(j/8) (1 + g)` with `8 k + j
//! = rint(8 x log2 e)`, `r = x - (8 k + j) ln 2 / 8`, `|r| <= 0.0434` and `g = e^r - 1`. With the weight
//! `T + T g`, where `T` comes from a table of eight, only that last step rounds noticeably.
//!
//! A factor that all weights of a row share cancels. So the table holds `c 2^(j/8)`, rounded, for a `c`
//! (the *unit*) with which that rounding is small: of those that are floats near 1, it is the one
//! for which the largest error of an entry plus the largest of a weight is least.
//!
//! Relative errors of a weight, in `u = 2^-24`: -1.055 to 1.099; of `T + T g` before it is rounded: -0.121
//! to 0.179 (all of them: `all_weights_are_accurate` below). (A float cannot do better than 1.0 just above a
//! power of two.)
//!
//! Where multiply-add is not fused, the table would not help, and SSE2 has no lookup: weights come
//! from the polynomial of `exp.rs`, within 1.8 u.

use super::exp::reduce;
use super::scale::Scale;
use super::wide::{Wide, WideFloat};
use super::{polynomial, polynomials, side_by_side};
use crate::element::Real;
use crate::element::sealed::Float;
use crate::simd::{Simd as _, Vector};

/// How the elements of a row become weights: `c 2^(lift - N) e^(s (x - offset))`, with one integer `N`
/// for the row and the factor `s` of the logits. The scaling is exact, so no rounding depends on `N`, and none on the maximum of the
/// row.
#[derive(Clone, Copy, Debug)]
pub struct Shift<T: Float> {
    /// Subtracted from the elements of rows beyond the reach of the reduction: their maximum. The
    /// difference is exact wherever it matters: by Sterbenz's lemma down to half of the maximum,
    /// and whatever lies lower has no weight.
    offset: T,
    /// `N`.
    reference: T,
    /// The largest element.
    max: T,
    /// Its [octaves](Self::octaves).
    highest: T,
    /// Whether elements must be changed first.
    is_far: bool,
    scale: Scale<T>,
}

impl<T: Real> Shift<T> {
    /// The shift of a row with this maximum, which is finite.
    #[inline(always)]
    pub fn new<V: Vector<Elem = T>>(max: T, scale: &Scale<T>) -> Self {
        Self::of(max, scale, V::FUSED)
    }

    /// The same where multiply-add is fused, or is not.
    #[inline(always)]
    pub fn of(max: T, scale: &Scale<T>, fused: bool) -> Self {
        let reach = scale.reach[usize::from(!fused)].to_f64();
        let max64 = max.to_f64();
        let is_within = -reach <= max64 && max64 <= reach;
        // Any integer near it will do.
        let reference = reference(max, scale);
        Self {
            offset: if is_within { T::ZERO } else { max },
            reference: if is_within { reference } else { T::ZERO },
            max,
            highest: T::ZERO,
            is_far: !is_within || scale.first != T::ONE,
            scale: *scale,
        }
    }

    /// The same where something beside the row has a scaled logit, less the offset, that no element can have: weights are measured from there.
    /// (Where that is a little more octaves above than those of the lightest weight, no element has a probability.)
    #[inline(always)]
    pub fn raised(self, logit: Wide<T>) -> Self {
        let octaves = logit.nearest() * core::f64::consts::LOG2_E - self.reference.to_f64();
        let most = 11.0 - T::EXP.lightest.to_f64();
        let octaves = if octaves > most { most } else { octaves };
        let round = T::EXP.round;
        let octaves = (T::from_f64(octaves) + round) - round;
        Self {
            reference: self.reference + octaves,
            highest: self.highest - octaves,
            ..self
        }
    }

    /// Octaves from the weight of the reference to that of an element, rounded.
    #[inline(always)]
    pub fn octaves(&self, x: T) -> T {
        if x == self.max {
            // At once.
            return self.highest;
        }
        reference(x - self.offset, &self.scale) - self.reference
    }

    /// A power of two above the weights of elements up to `largest`, by about half an octave to one and a half. (By more above the lightest weight, which is that of elements without one.)
    ///
    /// It is the same multiple of these weights whatever `N` is, if the offset is the same, so that what is [summed](super::running::RunningTotal) below it does not depend on `N`.
    #[inline(always)]
    pub fn ceiling(&self, largest: T) -> T {
        let octaves = self.octaves(largest).to_f64();
        let lightest = T::EXP.lightest.to_f64();
        // Of `-inf` and NaN too.
        let octaves = if octaves > lightest {
            octaves
        } else {
            lightest + ABOVE_LIGHTEST
        };
        Self::ceiling_above(octaves)
    }

    /// The same where `largest` is the largest of all, and nothing beside the row is larger.
    #[inline(always)]
    pub fn highest_ceiling() -> T {
        Self::ceiling_above(0.0)
    }

    #[inline(always)]
    fn ceiling_above(octaves: f64) -> T {
        T::from_f64(two_to(T::EXP.lift.to_f64() + octaves + 1.0))
    }

    /// The largest element.
    #[inline(always)]
    pub fn max(&self) -> T {
        self.max
    }

    /// Whether elements must have the offset subtracted, or be multiplied by a power of two.
    #[inline(always)]
    pub fn is_far(&self) -> bool {
        self.is_far
    }

    /// The factor of the logits.
    #[inline(always)]
    pub fn factor(&self) -> Wide<T> {
        self.scale.wide_factor()
    }

    /// An element less the offset, times the factor.
    #[inline(always)]
    pub fn logit(&self, x: T) -> Wide<T> {
        self.factor() * (x.to_wide() - self.offset.to_wide())
    }

    /// What is subtracted from elements beyond the reach of the reduction.
    #[inline(always)]
    pub fn offset(&self) -> T {
        self.offset
    }

    /// `N`.
    #[inline(always)]
    pub fn reference(&self) -> T {
        self.reference
    }

    /// The offset times the factor.
    #[inline(always)]
    pub fn scaled_offset(&self) -> Wide<T> {
        self.factor() * self.offset.to_wide()
    }

    /// `ln` of the weight of 1 unit, negated: `ln(sum of e^(s x)) = ln(sum of weights) + this +
    /// s offset`.
    #[inline(always)]
    pub fn ln_unit<V: Vector<Elem = T>>(&self) -> Wide<T> {
        self.ln_unit_of(V::FUSED)
    }

    /// The same where multiply-add is fused, or is not.
    #[inline(always)]
    pub fn ln_unit_of(&self, fused: bool) -> Wide<T> {
        ln_unit::<T>((self.reference - T::EXP.lift).to_wide(), fused)
    }

    /// The weight of one element, in more precision than [`Weigh::weights`] have.
    #[inline(always)]
    pub fn accurate_weight<V: Vector<Elem = T>>(&self, x: T) -> Wide<T> {
        self.accurate_weight_of(x, V::FUSED)
    }

    /// The same where multiply-add is fused, or is not.
    #[inline(always)]
    pub fn accurate_weight_of(&self, x: T, fused: bool) -> Wide<T> {
        (self.logit(x) - self.ln_unit_of(fused)).exp()
    }
}

/// An integer near `s x log2 e`.
#[inline(always)]
fn reference<T: Real>(x: T, scale: &Scale<T>) -> T {
    let round = T::EXP.round;
    (x * scale.first * scale.log2_e + round) - round
}

/// The same of an element of each row, with a factor that needs no power of two apart.
#[inline(always)]
fn references<V: Vector>(simd: V::Simd, x: V, scale: &Scale<V::Elem>) -> V {
    let round = V::splat(simd, V::Elem::EXP.round);
    (x * V::splat(simd, scale.log2_e) + round) - round
}

/// Octaves between the lightest weight and the ceiling of a sum that has no other: so many that, of `f32`, all of it is rounded off there, and no difference is subnormal, which would be slow.
const ABOVE_LIGHTEST: f64 = 25.0;

/// `2^exponent`, of an integer that is the exponent of a normal number.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "a biased exponent is positive")]
pub fn two_to(exponent: f64) -> f64 {
    f64::from_bits(((exponent + 1023.0) as u64) << 52)
}

/// [`Shift::ln_unit`] of a row with this `N`, less `lift`.
#[inline(always)]
fn ln_unit<T: Real>(octaves: Wide<T>, fused: bool) -> Wide<T> {
    let [_, ln_unit] = T::EXP.unit;
    let rest = if fused { -ln_unit } else { Wide::<T>::ZERO };
    octaves.times_ln_2_plus(rest)
}

/// The [`Shift`]s of sixteen rows, a row in a lane. None has an offset.
#[derive(Clone, Copy, Debug)]
pub struct Shifts<V: Vector> {
    /// `N` of each.
    reference: V,
    /// The largest element of each.
    pub max: V,
    /// The weight of the largest element of each, rounded, if it has been seen; otherwise it can be computed once more.
    pub heaviest: Option<V>,
    scale: Scale<V::Elem>,
}

impl<V: Vector> Shifts<V> {
    /// The shifts of rows with these maxima; `None`, unless all are finite and within the reach of the
    /// reduction.
    #[inline(always)]
    pub fn new(simd: V::Simd, max: V, scale: &Scale<V::Elem>) -> Option<Self> {
        let reach = V::splat(simd, scale.reach[usize::from(!V::FUSED)]);
        let beyond = V::or(reach.lt(max.abs()), max.is_nan());
        if scale.first != V::Elem::ONE || V::bits(beyond) != 0 {
            return None;
        }
        Some(Self {
            reference: references(simd, max, scale),
            max,
            heaviest: None,
            scale: *scale,
        })
    }

    /// [`Shift::factor`]
    #[inline(always)]
    pub fn factor(&self) -> Wide<V::Elem> {
        self.scale.wide_factor()
    }

    /// What that is made of.
    #[inline(always)]
    pub fn scale(&self) -> &Scale<V::Elem> {
        &self.scale
    }

    /// [`Shift::octaves`] of an element of each row, negated.
    #[inline(always)]
    pub fn octaves_below(&self, simd: V::Simd, x: V) -> V {
        self.reference - references(simd, x, &self.scale)
    }

    /// [`Shift::logit`] of an element of each row.
    #[inline(always)]
    pub fn logits(&self, simd: V::Simd, x: V) -> [Wide<V::Elem>; 16] {
        WideFloat::products_of_rows(simd, &x.widen(), &[self.factor(); 16])
    }

    /// [`Shift::accurate_weight`] of an element of each row, given its logit and [`ln_unit`](Self::ln_unit).
    #[inline(always)]
    pub fn accurate_weights(
        simd: V::Simd,
        logits: &[Wide<V::Elem>; 16],
        ln_units: &[Wide<V::Elem>; 16],
    ) -> [Wide<V::Elem>; 16] {
        let mut weights = Wide::<V::Elem>::differences_of_rows(simd, logits, ln_units);
        WideFloat::exp_of_rows(simd, &mut weights);
        weights
    }

    /// [`Shift::ln_unit`] of each.
    #[inline(always)]
    pub fn ln_unit(&self, simd: V::Simd) -> [Wide<V::Elem>; 16] {
        let mut x = (self.reference - V::splat(simd, V::Elem::EXP.lift)).widen();
        for x in &mut x {
            *x = ln_unit::<V::Elem>(*x, V::FUSED);
        }
        x
    }
}

/// Weights `T + T g`: rounded, and in two parts.
#[derive(Clone, Copy, Debug)]
pub struct Weights<V> {
    /// `T + T g`, rounded once.
    pub rounded: V,
    /// `T`.
    pub base: V,
    /// `g`.
    pub growth: V,
}

impl<V: Vector> Weights<V> {
    /// The same with 0 in some lanes; it may or may not hide a NaN there.
    #[inline(always)]
    pub fn without(mut self, simd: V::Simd, lanes: V::Mask) -> Self {
        self.leave_out(simd, lanes);
        self
    }

    /// Makes 0 of some lanes; it may or may not hide a NaN there.
    #[inline(always)]
    pub fn leave_out(&mut self, simd: V::Simd, lanes: V::Mask) {
        let zero = V::splat(simd, V::Elem::ZERO);
        self.rounded = V::select(lanes, zero, self.rounded);
        self.base = V::select(lanes, zero, self.base);
    }
}

/// A [`Shift`] in vectors. `FAR`: the offset is subtracted, and the power of two multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Weigh<V: Vector, const FAR: bool> {
    offset: V,
    lowest: V,
    magic: V,
    table: V::Table,
    scale: Scale<V::Elem>,
}

impl<V: Vector, const FAR: bool> Weigh<V, FAR> {
    #[inline(always)]
    pub fn new(simd: V::Simd, shift: &Shift<V::Elem>) -> Self {
        let shifts = Shifts {
            reference: V::splat(simd, shift.reference),
            max: V::splat(simd, shift.max),
            heaviest: None,
            scale: shift.scale,
        };
        Self {
            offset: V::splat(simd, shift.offset),
            ..Self::of_rows(simd, &shifts)
        }
    }

    /// The weights of rows with these shifts, a row in a lane.
    #[inline(always)]
    pub fn of_rows(simd: V::Simd, shifts: &Shifts<V>) -> Self {
        let constants = V::Elem::EXP;
        let lightest = shifts.reference + V::splat(simd, constants.lightest);
        // Integers of few bits: exact, in one step, as the first exponential waits for it.
        let (lift, round) = (constants.lift.to_f64(), constants.round.to_f64());
        let magic = if V::FUSED {
            let most = V::constant(simd, round + 8.0 * lift);
            shifts.reference.neg_mul_add(V::constant(simd, 8.0), most)
        } else {
            V::constant(simd, round + lift + constants.bias.to_f64()) - shifts.reference
        };
        Self {
            offset: V::splat(simd, V::Elem::ZERO),
            lowest: lightest * V::splat(simd, shifts.scale.ln2),
            magic,
            table: V::table(simd, &constants.table),
            scale: shifts.scale,
        }
    }

    /// What differs between rows.
    #[inline(always)]
    pub fn of_each(&self) -> [V; 2] {
        [self.lowest, self.magic]
    }

    /// The weights of one row, of which this is what differs.
    #[inline(always)]
    pub fn of_row(&self, [lowest, magic]: [V; 2]) -> Self {
        Self {
            lowest,
            magic,
            ..*self
        }
    }

    /// The weights of a vector of elements, `-inf` and what lies too low included, which get the
    /// lightest. NaN for NaN.
    #[inline(always)]
    pub fn weights(&self, simd: V::Simd, x: V) -> Weights<V> {
        let [weights] = self.weights_of(simd, [x]);
        weights
    }

    /// Those of several, [side by side](side_by_side).
    #[inline(always)]
    pub fn weights_of<const G: usize>(&self, simd: V::Simd, x: [V; G]) -> [Weights<V>; G] {
        let scale = &self.scale;
        let x = if FAR {
            let first = V::splat(simd, scale.first);
            side_by_side(
                x,
                #[inline(always)]
                |_, x| (x - self.offset) * first,
            )
        } else {
            x
        };
        let x = side_by_side(
            x,
            #[inline(always)]
            |_, x| self.lowest.max(x),
        );
        let zero = V::splat(simd, V::Elem::ZERO);
        let mut weights = [Weights {
            rounded: zero,
            base: zero,
            growth: zero,
        }; G];
        if V::FUSED {
            let (z, r) = reduce(simd, x, self.magic, scale.table_log2_e, scale.table_ln2);
            let base = side_by_side(
                z,
                #[inline(always)]
                |_, z| z.power(self.table),
            );
            let p = polynomials(simd, scale.table_poly(), r);
            let growth = side_by_side(
                p,
                #[inline(always)]
                |i, p| p * r[i],
            );
            let rounded = side_by_side(
                base,
                #[inline(always)]
                |i, base| base.mul_add(growth[i], base),
            );
            for (i, weights) in weights.iter_mut().enumerate() {
                *weights = Weights {
                    rounded: rounded[i],
                    base: base[i],
                    growth: growth[i],
                };
            }
        } else {
            let (magic, scale) = (self.magic, &self.scale);
            for (weights, x) in weights.iter_mut().zip(x) {
                // Where constants and a vector are more than the registers hold, they are in memory anyway.
                weights.rounded = if const { V::REGISTERS < 4 } {
                    simd.out_of_line(
                        #[inline(always)]
                        move || unfused(simd, x, magic, scale),
                    )
                } else {
                    unfused(simd, x, magic, scale)
                };
                weights.base = weights.rounded;
            }
        }
        weights
    }
}

/// The weights of elements none of which is too low, where multiply-add is not fused.
#[inline(always)]
fn unfused<V: Vector>(simd: V::Simd, x: V, magic: V, scale: &Scale<V::Elem>) -> V {
    let ([z], [r]) = reduce(simd, [x], magic, scale.log2_e, scale.ln2_short);
    polynomial(simd, scale.poly(), r) * z.exponent()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::{Scale, Shift, Weigh};
    use crate::backend::Backend;
    use crate::kernel::exp;
    use crate::rows::{Pass as _, Rows};
    use crate::scalar::Scalar;
    #[cfg(target_arch = "x86_64")]
    use crate::simd::avx2::Avx2;
    use crate::simd::portable::Portable;
    use crate::simd::{Kernel, Simd, Vector};

    /// One unit of the errors.
    const U: f64 = 1.0 / (1 << 24) as f64;

    #[test]
    #[expect(clippy::float_cmp, reason = "rounding is exact")]
    fn the_table_is_rounded_once() {
        let [unit, ln_unit] = exp::F32.unit;
        assert_eq!(unit, 1.0 - 42_967.0 * U);
        assert!((unit.ln() - ln_unit).abs() < 1e-17);
        for (j, entry) in (0..).zip(exp::F32.table) {
            assert_eq!(entry, (unit * (f64::from(j) / 8.0).exp2()) as f32, "{j}");
        }
    }

    fn is_far<S: Simd>(max: f32) -> bool {
        Shift::new::<S::F32>(max, &Scale::one()).is_far()
    }

    #[test]
    fn rows_within_the_reach_need_no_offset() {
        let [fused, unfused] = exp::F32.reach;
        for sign in [1.0, -1.0] {
            assert!(!is_far::<Portable>(sign * unfused));
            assert!(is_far::<Portable>(sign * fused.next_up()));
            #[cfg(target_arch = "x86_64")]
            {
                assert!(!is_far::<Avx2>(sign * fused));
                assert!(is_far::<Avx2>(sign * fused.next_up()));
            }
        }
    }

    /// The weight of the logit of each row, beside a maximum of 0.
    struct Weight;

    impl Kernel<Rows<'_, f32, 1>> for Weight {
        type Output = f32;

        #[inline(always)]
        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> f32 {
            let weigh =
                Weigh::<S::F32, false>::new(simd, &Shift::new::<S::F32>(0.0, &Scale::one()));
            let weight = |x| weigh.weights(simd, S::F32::splat(simd, x)).rounded.first();
            rows.map(|row| weight(row.get(0, 0))).sum()
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Weight {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> f32 {
            unreachable!("the scalar path has no weights")
        }
    }

    /// A masked class costs no subnormal numbers, and many of them have no probability.
    #[test]
    fn the_lightest_weight_is_normal_and_counts_nothing() {
        for backend in vector_backends() {
            let [lightest, heaviest] =
                [f32::NEG_INFINITY, 0.0].map(|x| backend.run(&Weight, Rows::flat(&[x])));
            // The heaviest weight of a row can be half an octave below that of 0 beside 0.
            let share = 38.5_f64.exp2() * f64::from(lightest) / f64::from(heaviest);
            assert!(lightest.is_normal(), "{backend:?}: {lightest:e}");
            assert!(share < (-150_f64).exp2(), "{backend:?}: {share:e}");
        }
    }

    /// The least and largest ratios of the ceiling of an element to its weight, beside this maximum.
    struct Ceilings(f32, Scale<f32>);

    impl Kernel<Rows<'_, f32, 1>> for Ceilings {
        type Output = [f32; 2];

        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> [f32; 2] {
            let shift = Shift::new::<S::F32>(self.0, &self.1);
            let near = Weigh::<S::F32, false>::new(simd, &shift);
            let far = Weigh::<S::F32, true>::new(simd, &shift);
            let mut range = [f32::INFINITY, 0.0_f32];
            for row in rows {
                for i in 0..row.len() {
                    let x = S::F32::splat(simd, row.get(0, i));
                    let weights = if shift.is_far() {
                        far.weights(simd, x)
                    } else {
                        near.weights(simd, x)
                    };
                    let ceiling = shift.ceiling(row.get(0, i));
                    assert_eq!(ceiling.to_bits() & 0x007f_ffff, 0, "no power of two");
                    let ratio = ceiling / weights.rounded.first();
                    range = [range[0].min(ratio), range[1].max(ratio)];
                }
            }
            range
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Ceilings {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> [f32; 2] {
            unreachable!("the scalar path has no weights")
        }
    }

    #[test]
    fn ceilings_are_above_their_weights() {
        for backend in vector_backends() {
            for factor in [1.0, 0.37, 1e-9, 3e7, 1e38] {
                let scale = Scale::new(factor);
                for max in [0.0, 30.1, -700.7, 4000.0, -65_000.0, 1e5, -3e7] {
                    let max = (max / factor) as f32;
                    let below = (0..20_000).map(|i| max - (f64::from(i) / 155.0 / factor) as f32);
                    let x: Vec<f32> = below.filter(|x| x.is_finite()).collect();
                    let [least, most] = backend.run(&Ceilings(max, scale), Rows::flat(&x));
                    assert!(
                        1.4 < least && most < 2.9,
                        "{backend:?}, {factor:e} times what is below {max:e}: {least} to {most}"
                    );
                    // Of what has no weight.
                    for x in [f32::NEG_INFINITY, f32::MIN] {
                        let [least, _] = backend.run(&Ceilings(max, scale), Rows::flat(&[x]));
                        assert!(least > 1e7, "{backend:?}, {factor:e}, {max:e}: {least}");
                    }
                }
            }
        }
    }

    /// The ranges of the relative errors of the weights of a row whose maximum is `max`, rounded and
    /// not, in units of `U`.
    struct Errors {
        max: f32,
        scale: Scale<f32>,
    }

    impl Kernel<Rows<'_, f32, 1>> for Errors {
        type Output = [f64; 4];

        #[inline(always)]
        fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f32, 1>) -> [f64; 4] {
            let shift = Shift::new::<S::F32>(self.max, &self.scale);
            if shift.is_far() {
                errors(simd, rows, shift, &Weigh::<S::F32, true>::new(simd, &shift))
            } else {
                errors(
                    simd,
                    rows,
                    shift,
                    &Weigh::<S::F32, false>::new(simd, &shift),
                )
            }
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Errors {
        fn scalar(&self, _: Rows<'_, f32, 1>) -> [f64; 4] {
            unreachable!("the scalar path has no weights")
        }
    }

    fn errors<V: Vector<Elem = f32>, const FAR: bool>(
        simd: V::Simd,
        rows: Rows<'_, f32, 1>,
        shift: Shift<f32>,
        weigh: &Weigh<V, FAR>,
    ) -> [f64; 4] {
        let mut range = [0.0_f64; 4];
        for row in rows {
            let mut i = 0;
            row.visit(simd, [0.0], |[x]: [V; 1]| {
                let weights = weigh.weights(simd, x);
                let mut lanes = [[0.0; 16]; 3];
                for (lanes, parts) in
                    lanes
                        .iter_mut()
                        .zip([weights.rounded, weights.base, weights.growth])
                {
                    parts.store_prefix(lanes);
                }
                for lane in 0..V::LANES.min(row.len() - i) {
                    let [rounded, base, growth] = lanes.map(|lanes| f64::from(lanes[lane]));
                    // Exact to 2^-44, as are the standard library's functions.
                    let logit = shift.logit(row.get(0, i + lane));
                    let exact = (logit - shift.ln_unit::<V>()).exp();
                    for (k, weight) in [rounded, base + base * growth].into_iter().enumerate() {
                        let error = (weight / exact - 1.0) / U;
                        range[2 * k] = range[2 * k].min(error);
                        range[2 * k + 1] = range[2 * k + 1].max(error);
                    }
                }
                i += V::LANES;
            });
        }
        range
    }

    /// What the bound of a probability builds on.
    #[test]
    fn weights_are_accurate() {
        let normal = |steps: u32, from: f32, to: f32| {
            (0..steps).map(move |i| from + (to - from) * (i as f32 / steps as f32))
        };
        // The exponents down to 2^-13 and every 41st mantissa, up to the cut-off and both sides of 0.
        let dense: Vec<f32> = (0x3900_0000..130_f32.to_bits())
            .step_by(41)
            .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
            .collect();
        let near = |max: f32| -> Vec<f32> {
            dense
                .iter()
                .filter(|x| x.abs() >= f32::EPSILON * max.abs())
                .map(|x| max + x)
                .filter(|&x| x <= max && x > max - 130.0)
                .collect()
        };
        let cases = [
            (0.0, near(0.0)),
            (40.0, near(40.0)),
            (-300.0, near(-300.0)),
            (500.5, normal(1 << 20, 370.5, 500.5).collect()),
            (30_000.0, normal(1 << 16, 29_871.0, 30_000.0).collect()),
            (-65_536.0, normal(1 << 15, -65_660.0, -65_536.0).collect()),
            (1e5, normal(1 << 15, 99_871.0, 1e5).collect()),
            (-3e7, normal(1 << 6, -30_000_128.0, -3e7).collect()),
        ];
        for backend in vector_backends() {
            let mut range = [0.0; 4];
            for (max, x) in &cases {
                let scale = Scale::one();
                let found = backend.run(&Errors { max: *max, scale }, Rows::flat(x));
                println!("{backend:?}: {} below {max}: {found:.3?} u", x.len());
                range = merge(range, found);
            }
            assert_within_bounds(backend, range);
        }
    }

    /// The same with a factor, near 1 and far from it.
    #[test]
    fn weights_of_scaled_logits_are_accurate() {
        let mut bits = 1_u32;
        let mut uniform = || {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(bits) / f64::from(u32::MAX)
        };
        for backend in vector_backends() {
            let mut range = [0.0; 4];
            for factor in [
                0.1, 0.37, 0.999, 1.001, 3.5, 1e-3, 60_000.0, 1e-9, 3e7, 1e15, 1e-20, 1e38, 1e-40,
            ] {
                for max in [0.0, 30.0, -700.0, 4000.0, -9000.0] {
                    let max = (max / factor) as f32;
                    if !max.is_finite() {
                        continue;
                    }
                    // Down to the cut-off, and near the maximum.
                    let depths = [100.0, 1.0];
                    let below = |depth: f64| max - (depth * uniform() / factor) as f32;
                    let x = (0..20_000).map(|i| depths[i % 2]).map(below);
                    let x: Vec<f32> = x.filter(|x| x.is_finite()).collect();
                    let scale = Scale::new(factor);
                    let found = backend.run(&Errors { max, scale }, Rows::flat(&x));
                    println!("{backend:?}: {factor:e} times what is below {max:e}: {found:.3?} u");
                    range = merge(range, found);
                }
            }
            println!("{backend:?}: {range:.3?} u");
            let rounded = if backend.is_fused() { 0.05 } else { 0.2 };
            assert_within_bounds(backend, range.map(|error| error - rounded * error.signum()));
        }
    }

    /// The weight of every argument that is weighed without an offset, beside a maximum that is near it.
    #[test]
    #[ignore = "half a minute per backend"]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn all_weights_are_accurate() {
        const BLOCK: u32 = 1 << 16;
        // What is smaller in magnitude than u / 4 has the weight of 0.
        // And beside a maximum of -65 536, what is a little lower is weighed.
        let [first, end] = [U as f32 / 4.0, 65_700.0].map(|x| x.to_bits() / BLOCK);
        for backend in vector_backends() {
            let next = AtomicU32::new(first);
            let work = || {
                let mut range = [0.0; 4];
                loop {
                    let block = next.fetch_add(1, Ordering::Relaxed);
                    if block > end {
                        return range;
                    }
                    let bits = block * BLOCK..(block + 1) * BLOCK;
                    for sign in [1.0, -1.0] {
                        let x: Vec<f32> = bits.clone().map(|x| sign * f32::from_bits(x)).collect();
                        // Beside a maximum so near, no weight is cut off.
                        let hundred = |x: &f32| (x / 100.0) as i32;
                        for part in x.chunk_by(|a, b| hundred(a) == hundred(b)) {
                            let max = part[0].max(part[part.len() - 1]);
                            let scale = Scale::one();
                            let found = backend.run(&Errors { max, scale }, Rows::flat(part));
                            range = merge(range, found);
                        }
                    }
                }
            };
            let range = thread::scope(|scope| {
                let threads = thread::available_parallelism().map_or(1, usize::from);
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let found = workers.into_iter().map(|worker| worker.join().unwrap());
                found.fold([0.0; 4], merge)
            });
            println!("{backend:?}: {range:.4?} u");
            assert_within_bounds(backend, range);
        }
    }

    fn vector_backends() -> impl Iterator<Item = Backend> {
        Backend::available().filter(|backend| backend.name() != "scalar")
    }

    /// Of ranges: lowest and highest, twice.
    fn merge(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        [
            a[0].min(b[0]),
            a[1].max(b[1]),
            a[2].min(b[2]),
            a[3].max(b[3]),
        ]
    }

    /// The bounds that the head of this file states.
    fn assert_within_bounds(backend: Backend, range: [f64; 4]) {
        let bounds: [f64; 4] = if backend.is_fused() {
            [1.055, 1.099, 0.121, 0.179]
        } else {
            [1.8; 4]
        };
        for (error, bound) in range.into_iter().zip(bounds) {
            assert!(
                error.abs() <= bound,
                "{backend:?}: {range:?} beyond {bounds:?}"
            );
        }
    }

    #[cfg(feature = "f64")]
    mod double {
        use super::{
            Kernel, Rows, Scalar, Scale, Shift, Simd, Vector as _, Weigh, merge, vector_backends,
        };
        use crate::kernel::double;
        use crate::kernel::pair::Pair;
        use crate::kernel::wide::WideFloat as _;
        use crate::rows::Pass as _;

        #[test]
        #[expect(clippy::float_cmp, reason = "rounding is exact")]
        fn the_table_is_rounded_once() {
            let [unit, ln_unit] = double::EXP.unit;
            let step = 1.0 / (1_u64 << 53) as f64;
            assert_eq!(unit.nearest(), 1.0 - 64_008_694.0 * step);
            // That is what the logarithm gives, so that both cancel, and is right beyond what shows.
            assert_eq!(unit.ln(), ln_unit);
            let exact = Pair::of(-7.106_392_610_749_019e-9) + Pair::of(-6.392_693_327_061_017e-26);
            assert!((exact - ln_unit).abs().nearest() < 1e-33);
            for (j, entry) in (0..).zip(double::EXP.table) {
                let exact = unit * (Pair::LN_2 * Pair::of(f64::from(j) / 8.0)).exp();
                assert_eq!(entry, exact.nearest(), "{j}");
                // Which is small, in all of them.
                let error = (Pair::of(entry) - exact).abs().nearest() / entry / step;
                assert!(error < 0.06, "{j}: {error} u");
            }
        }

        /// The ranges of the relative errors of weights of `f64`, rounded and not, in units of `2^-53`.
        struct Errors {
            max: f64,
            scale: Scale<f64>,
        }

        impl Kernel<Rows<'_, f64, 1>> for Errors {
            type Output = [f64; 4];

            fn simd<S: Simd>(&self, simd: S, rows: Rows<'_, f64, 1>) -> [f64; 4] {
                let shift = Shift::new::<S::F64>(self.max, &self.scale);
                let near = Weigh::<S::F64, false>::new(simd, &shift);
                let far = Weigh::<S::F64, true>::new(simd, &shift);
                let mut range = [0.0_f64; 4];
                for row in rows {
                    for i in 0..row.len() {
                        let x = S::F64::splat(simd, row.get(0, i));
                        let weights = if shift.is_far() {
                            far.weights(simd, x)
                        } else {
                            near.weights(simd, x)
                        };
                        let [rounded, base, growth] =
                            [weights.rounded, weights.base, weights.growth]
                                .map(|x| Pair::of(x.first()));
                        let logit = shift.logit(row.get(0, i));
                        let exact = (logit - shift.ln_unit::<S::F64>()).exp();
                        for (k, weight) in [rounded, base + base * growth].into_iter().enumerate() {
                            let error = ((weight - exact) / exact).nearest() * (1_u64 << 53) as f64;
                            range[2 * k] = range[2 * k].min(error);
                            range[2 * k + 1] = range[2 * k + 1].max(error);
                        }
                    }
                }
                range
            }
        }

        impl Scalar<Rows<'_, f64, 1>> for Errors {
            fn scalar(&self, _: Rows<'_, f64, 1>) -> [f64; 4] {
                unreachable!("the scalar path has no weights")
            }
        }

        /// Down to the cut-off and near the maximum, with factors and without.
        #[test]
        fn weights_are_accurate() {
            let mut bits = 1_u64;
            let mut uniform = || {
                bits = bits
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (bits >> 11) as f64 / (1_u64 << 53) as f64
            };
            for backend in vector_backends() {
                let mut ranges = [[0.0; 4]; 2];
                let factors = [1.0, 0.1, 0.999, 3.5, 1e-3, 1e-9, 1e15, 1e300];
                for (i, factor) in factors.into_iter().enumerate() {
                    for max in [0.0, 40.0, -700.0, 4000.0, -65_000.0, 1e6, -1e12] {
                        let max = max / factor;
                        let depths = [750.0, 1.0, 1e-5];
                        let below = |depth: f64| max - depth * uniform() / factor;
                        let x: Vec<f64> = (0..3000).map(|i| depths[i % 3]).map(below).collect();
                        let scale = Scale::new(factor);
                        let found = backend.run(&Errors { max, scale }, Rows::flat(&x));
                        let has_factor = usize::from(i > 0);
                        ranges[has_factor] = merge(ranges[has_factor], found);
                    }
                }
                println!(
                    "{backend:?}: {:.3?} u, {:.3?} u with factors",
                    ranges[0], ranges[1]
                );
                // The wider of each pair of bounds of `f32`: the table is rounded to other sides.
                let bounds: [f64; 4] = if backend.is_fused() {
                    [1.099, 1.099, 0.179, 0.179]
                } else {
                    [1.8; 4]
                };
                let rounded = if backend.is_fused() { 0.05 } else { 0.2 };
                for (range, more) in ranges.into_iter().zip([0.0, rounded]) {
                    for (error, bound) in range.into_iter().zip(bounds) {
                        assert!(error.abs() <= bound + more, "{backend:?}: {range:?}");
                    }
                }
            }
        }
    }
}
