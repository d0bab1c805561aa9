//! Named classes of rows. A class, a seed and a length say all that is needed to see a row again.

use core::f64::consts::{LN_2, TAU};

/// A small generator (splitmix64): the same numbers everywhere and for ever.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Seeds that differ give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, never 0.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) * (-53_f64).exp2()
    }

    /// From `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// An integer below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Whether, with probability 1/2.
    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// Normally distributed, mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }
}

/// A kind of row.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// What it is called.
    pub name: &'static str,
    make: fn(&mut Rng, usize) -> Vec<f32>,
}

impl Class {
    /// A row of this class.
    pub fn row(&self, seed: u64, len: usize) -> Vec<f32> {
        (self.make)(&mut Rng::new(seed), len)
    }

    /// The same of another type, rounded to it; with digits that `f32` has no room for, if that has.
    pub fn row_of<E>(&self, seed: u64, len: usize, rounded: impl Fn(f64) -> E) -> Vec<E> {
        const MORE: f64 = 1.0 + 1e-10;
        let of = |x: f32| rounded(MORE * f64::from(x));
        self.row(seed, len).into_iter().map(of).collect()
    }
}

const fn class(name: &'static str, make: fn(&mut Rng, usize) -> Vec<f32>) -> Class {
    Class { name, make }
}

/// Every class. No row of them is NaN or `+inf`, or `-inf` throughout (unless it is empty).
pub const CLASSES: &[Class] = &[
    class("normal 0.1", |rng, n| normal(rng, n, 0.0, 0.1)),
    class("normal 1", |rng, n| normal(rng, n, 0.0, 1.0)),
    class("normal 3", |rng, n| normal(rng, n, 0.0, 3.0)),
    class("normal 10", |rng, n| normal(rng, n, 0.0, 10.0)),
    class("normal 20", |rng, n| normal(rng, n, 0.0, 20.0)),
    class("normal 40", |rng, n| normal(rng, n, 0.0, 40.0)),
    class("wide", wide),
    class("huge", huge),
    class("offset 1e3", |rng, n| normal(rng, n, 1e3, 3.0)),
    class("offset -1e3", |rng, n| normal(rng, n, -1e3, 3.0)),
    class("offset 1e5", |rng, n| normal(rng, n, 1e5, 3.0)),
    class("offset -1e5", |rng, n| normal(rng, n, -1e5, 3.0)),
    class("offset 1e30", |rng, n| normal(rng, n, 1e30, 1e23)),
    class("offset -1e30", |rng, n| normal(rng, n, -1e30, 1e23)),
    class("confident", confident),
    class("dominated", dominated),
    class("unlikely", unlikely),
    class("near ties", near_ties),
    class("equal", |rng, n| vec![(10.0 * rng.normal()) as f32; n]),
    class("subnormal", subnormal),
    class("boundaries of n", boundaries),
    class("masked half", |rng, n| masked(rng, n, |rng, _| rng.coin())),
    class("masked causally", masked_causally),
    class("masked but one", |rng, n| masked(rng, n, |_, _| true)),
    class("ascending", |rng, n| sorted(rng, n, f32::total_cmp)),
    class("descending", |rng, n| sorted(rng, n, |a, b| b.total_cmp(a))),
    class("maximum first", |rng, n| maximum_at(rng, n, 0)),
    class("maximum last", |rng, n| {
        maximum_at(rng, n, n.saturating_sub(1))
    }),
];

/// The class of that name.
pub fn named(name: &str) -> Option<Class> {
    CLASSES.iter().find(|class| class.name == name).copied()
}

/// Normally distributed elements.
pub fn normal(rng: &mut Rng, n: usize, mean: f64, spread: f64) -> Vec<f32> {
    (0..n)
        .map(|_| (mean + spread * rng.normal()) as f32)
        .collect()
}

/// Magnitudes from 1e-37 to 1e37, of either sign.
pub fn wide(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let magnitude = 10_f64.powf(rng.between(-37.0, 37.0));
            (if rng.coin() { magnitude } else { -magnitude }) as f32
        })
        .collect()
}

/// Anything finite, evenly: differences and sums overflow.
pub fn huge(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| (rng.between(-1.0, 1.0) * f64::from(f32::MAX)) as f32)
        .collect()
}

/// A gradient with respect to probabilities.
pub fn upstream(rng: &mut Rng, n: usize) -> Vec<f32> {
    match rng.below(8) {
        0 => normal(rng, n, 1e3, 1.0),
        1 => wide(rng, n),
        2 => huge(rng, n),
        3 => vec![rng.normal() as f32; n],
        4 => {
            let mut one_hot = vec![0.0; n];
            let at = rng.below(n.max(1));
            one_hot
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|dy| *dy = -1.0);
            one_hot
        }
        _ => normal(rng, n, 0.0, 1.0),
    }
}

/// A label of a binary classifier: 0 or 1, or anything between.
pub fn label(rng: &mut Rng, soft: bool) -> f32 {
    match (soft, rng.below(4)) {
        (false, _) => f32::from(u8::from(rng.coin())),
        // Near 0, and near 1.
        (true, 0) => rng.between(-40.0, 0.0).exp2() as f32,
        (true, 1) => 1.0 - rng.between(-40.0, 0.0).exp2() as f32,
        (true, _) => rng.uniform() as f32,
    }
}

/// One element above all others by 0 to 120: over rows with consecutive seeds, evenly.
fn confident(rng: &mut Rng, n: usize) -> Vec<f32> {
    // Multiples of the golden section, modulo 1 (Weyl).
    let share = rng.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 * (-64_f64).exp2();
    let (margin, at) = (120.0 * share, rng.below(n.max(1)));
    let mut x = normal(rng, n, 0.0, 0.5);
    if let Some(top) = x.get_mut(at) {
        *top = margin as f32;
    }
    x
}

/// One element, and many small ones that weigh about as much together.
fn dominated(rng: &mut Rng, n: usize) -> Vec<f32> {
    let (margin, at) = (
        (n.max(1) as f64).ln() + 2.0 * rng.normal(),
        rng.below(n.max(1)),
    );
    let mut x = normal(rng, n, 0.0, 0.01);
    if let Some(top) = x.get_mut(at) {
        *top = margin as f32;
    }
    x
}

/// One element, and others with probabilities down to 1e-300.
fn unlikely(rng: &mut Rng, n: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..n).map(|_| rng.between(-690.0, 0.0) as f32).collect();
    x.iter_mut().take(1).for_each(|x| *x = 0.0);
    x
}

/// Elements that differ by a few ULP.
fn near_ties(rng: &mut Rng, n: usize) -> Vec<f32> {
    let base = (10.0 * rng.normal()) as f32;
    (0..n)
        .map(|_| f32::from_bits(base.to_bits() + (rng.bits() % 8) as u32))
        .collect()
}

/// Elements below `2^-126`, of either sign.
fn subnormal(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| f32::from_bits(rng.bits() as u32 & 0x807f_ffff))
        .collect()
}

/// Elements where the rounding of `x log2 e`, or of eight times that, turns from one integer to the next.
fn boundaries(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let steps = if rng.coin() { 8 } else { 1 };
            let half = (rng.below(120 * steps) as f64 + 0.5) / steps as f64 - 100.0;
            let x = (half * LN_2) as f32;
            f32::from_bits(x.to_bits() + (rng.bits() % 7) as u32 - 3)
        })
        .collect()
}

/// `-inf` where `mask` says so, but for one element.
fn masked(rng: &mut Rng, n: usize, mask: impl Fn(&mut Rng, usize) -> bool) -> Vec<f32> {
    let kept = rng.below(n.max(1));
    let mut x = normal(rng, n, 0.0, 3.0);
    for (i, x) in x.iter_mut().enumerate() {
        if mask(rng, i) && i != kept {
            *x = f32::NEG_INFINITY;
        }
    }
    x
}

/// `-inf` from somewhere on.
fn masked_causally(rng: &mut Rng, n: usize) -> Vec<f32> {
    let end = 1 + rng.below(n.max(1));
    let mut x = normal(rng, n, 0.0, 3.0);
    x.iter_mut().skip(end).for_each(|x| *x = f32::NEG_INFINITY);
    x
}

fn sorted(rng: &mut Rng, n: usize, order: fn(&f32, &f32) -> core::cmp::Ordering) -> Vec<f32> {
    let mut x = normal(rng, n, 0.0, 10.0);
    x.sort_by(order);
    x
}

fn maximum_at(rng: &mut Rng, n: usize, at: usize) -> Vec<f32> {
    let mut x = normal(rng, n, 0.0, 3.0);
    if let Some(top) = x.get_mut(at) {
        *top = 15.0;
    }
    x
}
