//! Operations on single elements over the bit patterns of `f32`: the exponential, the sigmoid, and binary
//! cross-entropy with its gradient. A dense sample and every pattern near a threshold in an ordinary run, all 2^32 on
//! request (`cargo test --release --test elements -- --ignored --nocapture`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use core::f64::consts::LN_2;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use common::bounds::{self, Bound};
use common::oracle;
use common::threads::on_all_cores;
use common::ulp::{NAN_BITS, Want};
use softlane::{Backend, BinaryCrossEntropy, Exec, Reduction};

/// Arguments that are tried at a time.
const BLOCK: u32 = 4096;

/// An operation on each element by itself.
struct Function {
    name: &'static str,
    exact: fn(f32) -> f64,
    run: fn(Exec, &[f32], &mut [f32]),
    /// What the error stays below over all arguments: in ULP, and relative to a normal result, in
    /// units of `u = 2^-24`.
    ulp: Bound,
    relative: [f64; 2],
    /// The same of the textbook formula, unless it loses everything where results are small: `accuracy.rs`
    /// has the bounds of those.
    scalar: Option<(f64, f64)>,
}

/// The bounds of other operations count on the relative errors, where multiply-add is fused and where it is
/// not.
///
/// Losses and gradients with the label 0: with the label 1, they are those of `-x`, the gradient negated.
const FUNCTIONS: [Function; 4] = [
    Function {
        name: "exp",
        exact: oracle::exp,
        run: |exec, x, y| exec.exp(x, y).unwrap(),
        ulp: bounds::EXP.derived,
        relative: [1.3, 1.7],
        scalar: Some((1.0, 2.0)),
    },
    Function {
        name: "sigmoid",
        exact: oracle::sigmoid,
        run: |exec, x, y| exec.sigmoid(x, y).unwrap(),
        ulp: bounds::SIGMOID.derived,
        relative: [2.0, 3.0],
        scalar: None,
    },
    Function {
        name: "loss",
        exact: |x| oracle::binary_cross_entropy(x, 0.0).0,
        run: |exec, x, y| {
            let labels = vec![0.0; x.len()];
            BinaryCrossEntropy::new()
                .exec(exec)
                .loss_per_element(x, 1, &labels, y)
                .unwrap();
        },
        ulp: bounds::HARD_BINARY_LOSS,
        relative: [2.1, 3.9],
        scalar: None,
    },
    Function {
        name: "gradient",
        exact: |x| oracle::binary_cross_entropy_gradient(x, 0.0, 1.0).0,
        run: |exec, x, y| {
            let labels = vec![0.0; x.len()];
            BinaryCrossEntropy::new()
                .exec(exec)
                .reduction(Reduction::Sum)
                .loss_and_grad(x, 1, &labels, y)
                .unwrap();
        },
        ulp: bounds::HARD_BINARY_GRADIENT,
        relative: [2.0, 3.0],
        scalar: None,
    },
];

impl Function {
    fn bounds(&self, backend: Backend) -> Option<(f64, f64)> {
        if backend.name() == "scalar" {
            return self.scalar;
        }
        let relative = self.relative[usize::from(!backend.is_fused())];
        Some((self.ulp.on(backend), relative))
    }

    fn of(&self, backend: Backend, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        (self.run)(Exec::new().backend(backend).serial(), x, &mut y);
        y
    }

    /// Of infinities, and where the exact result is 1, nothing else will do.
    fn want(&self, x: f32) -> Want {
        let exact = (self.exact)(x);
        if x.is_infinite() || exact.total_cmp(&1.0).is_eq() {
            Want::exactly(exact)
        } else {
            Want::ulp(exact)
        }
    }
}

const EXP: &Function = &FUNCTIONS[0];

/// The steps of a histogram, in ULP.
const STEPS: [f64; 9] = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0];

/// Errors of one backend.
#[derive(Clone, Debug)]
struct Tally {
    /// The worst argument in ULP.
    ulp: f64,
    x: f32,
    got: f32,
    /// The range of the relative errors, in `u`.
    above: f64,
    below: f64,
    /// How many are between two steps: of results that, rounded, are not 0, 1 or infinite, which
    /// all arguments beyond some have and which would hide the others.
    histogram: [u64; STEPS.len() + 1],
    /// The sum of those errors.
    total: f64,
}

impl Tally {
    const NONE: Self = Self {
        ulp: -1.0,
        x: 0.0,
        got: 0.0,
        above: 0.0,
        below: 0.0,
        histogram: [0; STEPS.len() + 1],
        total: 0.0,
    };

    fn add(&mut self, x: f32, got: f32, want: Want) {
        const ONE: u32 = 1_f32.to_bits();
        let ulp = want.error(got);
        if ulp > self.ulp {
            (self.ulp, self.x, self.got) = (ulp, x, got);
        }
        let rounded = want.value as f32;
        if rounded > 0.0 && rounded.is_finite() && rounded.to_bits() != ONE {
            let step = STEPS.iter().filter(|&&step| ulp >= step).count();
            self.histogram[step] += 1;
            self.total += ulp;
        }
        if want.value >= f64::from(f32::MIN_POSITIVE) && got.is_finite() {
            let relative = (f64::from(got) / want.value - 1.0) * 24_f64.exp2();
            self.above = self.above.max(relative);
            self.below = self.below.min(relative);
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.ulp > self.ulp {
            (self.ulp, self.x, self.got) = (other.ulp, other.x, other.got);
        }
        self.above = self.above.max(other.above);
        self.below = self.below.min(other.below);
        for (mine, other) in self.histogram.iter_mut().zip(other.histogram) {
            *mine += other;
        }
        self.total += other.total;
    }

    /// Prints the findings, and compares them with the bounds.
    fn finish(&self, function: &Function, backend: Backend, (most, relative): (f64, f64)) {
        let Self { ulp, x, got, .. } = *self;
        let line = format!(
            "{:8} {:8} {ulp:.4} ULP at {x:e} ({:#010x}), {got:e}, not {:e}; {:.3} to {:.3} u",
            function.name,
            backend.name(),
            x.to_bits(),
            (function.exact)(x),
            self.below,
            self.above,
        );
        println!("{line}");
        let count = self.histogram.iter().sum::<u64>();
        if count > 0 {
            let mean = self.total / count as f64;
            println!(
                "         {count} results that are not 0, 1 or infinite, {mean:.4} ULP off on average"
            );
            let from = [0.0].into_iter().chain(STEPS);
            let to = STEPS.into_iter().chain([f64::INFINITY]);
            for ((from, to), n) in from.zip(to).zip(self.histogram) {
                let share = 100.0 * n as f64 / count as f64;
                println!("         {from:.2} to {to:.2} ULP {share:11.7} % {n:>10}");
            }
        }
        assert!(ulp < most, "not below {most} ULP: {line}");
        assert!(
            self.above.max(-self.below) < relative,
            "not below {relative} u: {line}"
        );
    }
}

/// How many of the blocks are done: a line every 5 %.
struct Progress {
    blocks: u32,
    start: Instant,
}

impl Progress {
    fn of(blocks: u32) -> Self {
        let start = Instant::now();
        Self { blocks, start }
    }

    /// The block of that number is begun, counted from 1.
    fn step(&self, number: u32) {
        let steps = |number: u32| u64::from(number) * 20 / u64::from(self.blocks);
        if steps(number) > steps(number - 1) {
            let seconds = self.start.elapsed().as_secs();
            eprintln!("{:3} % after {seconds} s", 5 * steps(number));
        }
    }
}

/// Tries each of the blocks on every backend, on all cores, and compares with the bounds.
fn try_blocks(
    functions: &[Function],
    blocks: u32,
    progress: Option<&Progress>,
    block: impl Fn(u32) -> Vec<f32> + Sync,
) {
    let backends: Vec<_> = Backend::available().collect();
    let nothing = vec![vec![Tally::NONE; backends.len()]; functions.len()];
    let next = AtomicU32::new(0);
    let work = || {
        let mut tallies = nothing.clone();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= blocks {
                return tallies;
            }
            let x = block(i);
            for (function, tallies) in functions.iter().zip(&mut tallies) {
                let wants: Vec<_> = x.iter().map(|&x| function.want(x)).collect();
                for (&backend, tally) in backends.iter().zip(tallies) {
                    if function.bounds(backend).is_none() {
                        continue;
                    }
                    let y = function.of(backend, &x);
                    for ((&x, y), &want) in x.iter().zip(y).zip(&wants) {
                        tally.add(x, y, want);
                    }
                }
            }
            if let Some(progress) = progress {
                progress.step(i + 1);
            }
        }
    };
    let mut tallies = nothing.clone();
    for found in on_all_cores(work) {
        for (tally, found) in tallies.iter_mut().flatten().zip(found.iter().flatten()) {
            tally.merge(found);
        }
    }
    for (function, tallies) in functions.iter().zip(&tallies) {
        for (&backend, tally) in backends.iter().zip(tallies) {
            if let Some(bounds) = function.bounds(backend) {
                tally.finish(function, backend, bounds);
            }
        }
    }
}

/// The bits of `e^x`, the same on every backend. `scalar`, the standard library, is held to them too:
/// the special values are those of the C standard (Annex F), but for the one NaN, which is ours; and
/// the exact results at the thresholds are so far from where rounding turns that only an error
/// beyond its bound would show.
fn assert_exp(x: f32, want: f32) {
    for backend in Backend::available() {
        let got = EXP.of(backend, &[x])[0];
        assert!(
            got.to_bits() == want.to_bits(),
            "{}: e^{x:e} is {got:e}, not {want:e}",
            backend.name()
        );
    }
}

#[test]
fn of_zero_is_one() {
    assert_exp(0.0, 1.0);
    assert_exp(-0.0, 1.0);
}

#[test]
fn of_infinities() {
    assert_exp(f32::INFINITY, f32::INFINITY);
    assert_exp(f32::NEG_INFINITY, 0.0);
}

/// Quiet and signalling, of either sign, with a payload or not.
#[test]
fn of_nan_is_the_canonical_one() {
    for bits in [0x7fc0_0000, 0x7f80_0001, 0x7fff_ffff, 0x7fa5_a5a5] {
        for sign in [0, 1 << 31] {
            assert_exp(f32::from_bits(bits | sign), f32::from_bits(NAN_BITS));
        }
    }
}

/// The largest argument with a finite result: the next is beyond `2^128`.
const LARGEST: f32 = f32::from_bits(0x42b1_7217);
/// The least argument with a result other than 0: the next is below `2^-150`.
const LEAST: f32 = f32::from_bits(0xc2cf_f1b4);
/// The largest argument with a subnormal result: the next is above `2^-126`.
const SUBNORMAL: f32 = f32::from_bits(0xc2ae_ac50);

#[test]
fn overflow() {
    let beyond = LARGEST.next_up();
    assert!(oracle::exp(LARGEST) < 128_f64.exp2() && oracle::exp(beyond) > 128_f64.exp2());
    for backend in Backend::available() {
        let largest = EXP.of(backend, &[LARGEST])[0];
        let error = EXP.want(LARGEST).error(largest);
        assert!(
            largest.is_finite() && error < EXP.bounds(backend).unwrap().0,
            "{}: {largest:e}",
            backend.name()
        );
    }
    for x in [beyond, 89.0, 89.0_f32.next_up(), 128.0, 1e30, f32::MAX] {
        assert_exp(x, f32::INFINITY);
    }
}

#[test]
fn underflow() {
    let beyond = LEAST.next_down();
    assert!(oracle::exp(LEAST) > (-150_f64).exp2() && oracle::exp(beyond) < (-150_f64).exp2());
    assert_exp(LEAST, f32::from_bits(1));
    for x in [
        beyond,
        -104.0,
        (-104.0_f32).next_down(),
        -128.0,
        -1e30,
        f32::MIN,
    ] {
        assert_exp(x, 0.0);
    }
}

/// All of them, and their bounds: rounded once, none is 0, and none beyond the least normal number.
#[test]
fn subnormal_results() {
    let (normal, least) = (SUBNORMAL.next_up(), f64::from(f32::MIN_POSITIVE));
    assert!(oracle::exp(SUBNORMAL) < least && oracle::exp(normal) > least);
    // Negative: the patterns go up as the arguments go down.
    let patterns = SUBNORMAL.to_bits()..=LEAST.to_bits();
    let x: Vec<_> = patterns.map(f32::from_bits).collect();
    let blocks: Vec<_> = x.chunks(BLOCK as usize).collect();
    let number = u32::try_from(blocks.len()).unwrap();
    try_blocks(&FUNCTIONS[..1], number, None, |i| {
        blocks[i as usize].to_vec()
    });
    for backend in Backend::available() {
        for (x, y) in x.iter().zip(EXP.of(backend, &x)) {
            assert!(
                y > 0.0 && y <= f32::MIN_POSITIVE,
                "{}: e^{x:e} is {y:e}",
                backend.name()
            );
        }
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
    let blocks = u32::MAX / (STEP * BLOCK) + 1;
    try_blocks(&FUNCTIONS, blocks, None, |i| {
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
    let blocks = u32::try_from(thresholds.len()).unwrap();
    try_blocks(&FUNCTIONS, blocks, None, |i| {
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
#[ignore = "all 2^32 arguments: a quarter of an hour of CPU time for the four backends, on all cores; cargo test --release --test elements -- --ignored --nocapture"]
fn all_arguments() {
    const BLOCKS: u32 = 1 << 20;
    try_blocks(&FUNCTIONS, BLOCKS, Some(&Progress::of(BLOCKS)), |i| {
        (0..BLOCK).map(|k| f32::from_bits(i * BLOCK + k)).collect()
    });
}
