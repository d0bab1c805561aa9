//! The exponential over the bit patterns of `f32`: a dense sample and every pattern near a
//! threshold in an ordinary run, all 2^32 on request
//! (`cargo test --release --test exp -- --ignored --nocapture`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use core::f64::consts::LN_2;
use std::sync::atomic::{AtomicU32, Ordering};

use common::oracle;
use common::threads::on_all_cores;
use common::ulp::Want;
use softlane::{Backend, Exec};

/// What the error stays below over all arguments: in ULP, and relative to a normal result, in
/// units of `u = 2^-24`.
///
/// Fused, 0.9 is the promise; 1.3 u is what the bounds of the sigmoid and of the backward passes count
/// on. Not fused, the worst of all arguments is 1.1764 ULP and
/// 1.660 u: every step of the polynomial rounds twice. `scalar` is the standard library's
/// exponential, which has no stated bound: 1 ULP is usual, and the bounds of the textbook formulas
/// in `accuracy.rs` build on it.
fn bounds(backend: Backend) -> (f64, f64) {
    match backend.name() {
        "scalar" => (1.0, 2.0),
        _ if backend.is_fused() => (0.9, 1.3),
        _ => (1.2, 1.7),
    }
}

/// The worst argument in ULP, and the range of the relative errors.
#[derive(Clone, Copy, Debug)]
struct Worst {
    ulp: f64,
    x: f32,
    got: f32,
    above: f64,
    below: f64,
}

impl Worst {
    const NONE: Self = Self {
        ulp: -1.0,
        x: 0.0,
        got: 0.0,
        above: 0.0,
        below: 0.0,
    };

    fn merge(self, other: Self) -> Self {
        let worse = if other.ulp > self.ulp { other } else { self };
        Self {
            above: self.above.max(other.above),
            below: self.below.min(other.below),
            ..worse
        }
    }
}

/// The exact exponential. Of 0 and of infinities, nothing else will do.
fn want(x: f32) -> Want {
    let exp = oracle::exp(x);
    if x == 0.0 || x.is_infinite() {
        Want::exactly(exp)
    } else {
        Want::ulp(exp)
    }
}

fn worst_of(exec: Exec, x: &[f32]) -> Worst {
    let mut y = vec![0.0; x.len()];
    exec.exp(x, &mut y).unwrap();
    let mut worst = Worst::NONE;
    for (&x, &got) in x.iter().zip(&y) {
        let want = want(x);
        let ulp = want.error(got);
        if ulp > worst.ulp {
            worst = Worst {
                ulp,
                x,
                got,
                ..worst
            };
        }
        if want.value >= f64::from(f32::MIN_POSITIVE) && got.is_finite() {
            let relative = (f64::from(got) / want.value - 1.0) * 24_f64.exp2();
            worst.above = worst.above.max(relative);
            worst.below = worst.below.min(relative);
        }
    }
    worst
}

/// Tries each of the blocks on every backend, on all cores, and compares with the bound.
fn try_blocks(blocks: u32, block: impl Fn(u32) -> Vec<f32> + Sync) {
    for backend in Backend::available() {
        let (exec, next) = (Exec::new().backend(backend).serial(), AtomicU32::new(0));
        let work = || {
            let mut worst = Worst::NONE;
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= blocks {
                    return worst;
                }
                worst = worst.merge(worst_of(exec, &block(i)));
            }
        };
        let worst = on_all_cores(work)
            .into_iter()
            .fold(Worst::NONE, Worst::merge);
        let Worst {
            ulp,
            x,
            got,
            above,
            below,
        } = worst;
        let line = format!(
            "{:8} {ulp:.4} ULP at {x:e} ({:#010x}), {got:e}, not {:e}; {below:.3} to {above:.3} u",
            backend.name(),
            x.to_bits(),
            oracle::exp(x),
        );
        println!("{line}");
        let (most, relative) = bounds(backend);
        assert!(ulp < most, "not below {most} ULP: {line}");
        assert!(
            above.max(-below) < relative,
            "not below {relative} u: {line}"
        );
    }
}

/// Where the exponential changes its behaviour.
fn thresholds() -> Vec<f32> {
    let special = [
        0.0,
        -0.0,
        // Overflow; the smallest normal result; the smallest at all.
        128.0 * LN_2,
        -126.0 * LN_2,
        -149.0 * LN_2,
        // Beyond these, arguments are clamped.
        89.0,
        -104.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    // Where the integer power of two changes to the next.
    let steps = (-152..130).map(|n| (f64::from(n) + 0.5) * LN_2);
    let all = special.into_iter().chain(steps);
    all.map(|x| x as f32).collect()
}

#[test]
fn a_dense_sample() {
    const STEP: u32 = 251;
    const BLOCK: u32 = 4096;
    let blocks = u32::MAX / (STEP * BLOCK) + 1;
    try_blocks(blocks, |i| {
        let patterns = (i * BLOCK..).map(|k| u64::from(k) * u64::from(STEP));
        let patterns = patterns.take(BLOCK as usize);
        patterns
            .map_while(|bits| u32::try_from(bits).ok())
            .map(f32::from_bits)
            .collect()
    });
}

#[test]
fn near_thresholds() {
    let thresholds = thresholds();
    try_blocks(u32::try_from(thresholds.len()).unwrap(), |i| {
        let bits = thresholds[i as usize].to_bits();
        // Past infinity there are NaNs, past zero those with the other sign.
        (0..=2000)
            .map(|k| f32::from_bits(bits.wrapping_add(k).wrapping_sub(1000)))
            .collect()
    });
}

#[test]
fn in_place_is_out_of_place() {
    let x: Vec<f32> = (0..1 << 16).map(|k| f32::from_bits(k << 16)).collect();
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let (mut y, mut in_place) = (vec![0.0; x.len()], x.clone());
        exec.exp(&x, &mut y).unwrap();
        exec.exp_in_place(&mut in_place).unwrap();
        let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert!(bits(y) == bits(in_place), "{}", backend.name());
    }
}

#[test]
#[ignore = "all 2^32 arguments take a minute per backend"]
fn all_arguments() {
    try_blocks(1 << 16, |i| {
        (0..1 << 16).map(|k| f32::from_bits(i << 16 | k)).collect()
    });
}
