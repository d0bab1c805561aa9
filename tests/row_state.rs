//! Rows in parts: the bits of whole rows under every grouping, special rows, rows that are excluded from equal bits against the plain
//! formula in `f64`, errors that change nothing, and bytes.
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and some results are exact"
)]

mod common;

use common::bounds;
use common::guard::guarded;
use common::inputs::{CLASSES, Rng};
use common::oracle;
use common::ulp::{Want, ulp};
use softlane::{Backend, CrossEntropy, Error, Exec, RowState};

const CHUNK: usize = RowState::<f32>::CHUNK;
const INF: f32 = f32::INFINITY;

/// Lengths around chunks, and a vocabulary.
const LENGTHS: [usize; 7] = [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17, 128_256];

fn vector_backends() -> impl Iterator<Item = Backend> {
    Backend::available().filter(|backend| backend.name() != "scalar")
}

/// What a row has, as bits.
#[derive(Debug, PartialEq)]
struct Results {
    log_sum_exp: u32,
    loss: u32,
    probs: Vec<u32>,
    grad: Vec<u32>,
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The results of the whole row, without parts; the gradient times `scale`.
fn of_the_row(exec: Exec, x: &[f32], target: usize, scale: f32) -> Results {
    let (mut lse, mut loss) = ([0.0], [0.0]);
    let (mut probs, mut grad) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    exec.logsumexp(x, x.len(), &mut lse).unwrap();
    exec.softmax(x, x.len(), &mut probs).unwrap();
    let upstream = [scale];
    let cross_entropy = CrossEntropy::new().exec(exec).upstream_grad(&upstream);
    cross_entropy
        .loss_per_row_and_grad(x, x.len(), &[target], &mut loss, &mut grad)
        .unwrap();
    Results {
        log_sum_exp: lse[0].to_bits(),
        loss: loss[0].to_bits(),
        probs: bits(&probs),
        grad: bits(&grad),
    }
}

/// The results that the state of the row gives to each of its parts, each of which has its logits alone.
fn of_parts(row: &RowState, x: &[f32], cuts: &[usize], scale: f32) -> Results {
    let (mut probs, mut grad) = (vec![], vec![]);
    for ends in cuts.windows(2) {
        let part = &x[ends[0]..ends[1]];
        let mut y = vec![0.0; part.len()];
        row.probs(part, &mut y).unwrap();
        let mut over = part.to_vec();
        row.probs_in_place(&mut over).unwrap();
        assert_eq!(bits(&y), bits(&over), "in place");
        probs.extend(bits(&y));
        row.grad(ends[0], part, scale.into(), &mut y).unwrap();
        over.copy_from_slice(part);
        row.grad_in_place(ends[0], &mut over, scale.into()).unwrap();
        assert_eq!(bits(&y), bits(&over), "in place");
        grad.extend(bits(&y));
    }
    Results {
        log_sum_exp: row.log_sum_exp().unwrap().to_bits(),
        loss: row.loss().unwrap().to_bits(),
        probs,
        grad,
    }
}

fn assert_same(found: &Results, expected: &Results, what: &str) {
    let numbers = |r: &Results| [r.log_sum_exp, r.loss].map(f32::from_bits);
    assert!(
        (found.log_sum_exp, found.loss) == (expected.log_sum_exp, expected.loss),
        "{what}: log-sum-exp and loss are {:?}, not {:?}",
        numbers(found),
        numbers(expected)
    );
    for (name, found, expected) in [
        ("probability", &found.probs, &expected.probs),
        ("gradient", &found.grad, &expected.grad),
    ] {
        let wrong = found.iter().zip(expected).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "{what}: the {name} of that class");
        assert_eq!(found.len(), expected.len(), "{what}");
    }
}

/// What all parts of a row are made with.
#[derive(Clone, Copy)]
struct Row<'a> {
    exec: Exec,
    x: &'a [f32],
    target: usize,
    /// Whether they are given the maximum.
    with_max: bool,
}

impl Row<'_> {
    /// The state of a part.
    fn part(&self, start: usize, end: usize) -> RowState {
        let target = Some(self.target);
        let part = if self.with_max {
            let max = self.exec.max(self.x).unwrap();
            RowState::with_max(start, target, max)
        } else {
            RowState::new(start, target)
        };
        let mut part = part.unwrap().exec(self.exec);
        part.update(&self.x[start..end]).unwrap();
        part
    }

    fn parts(&self, cuts: &[usize]) -> Vec<RowState> {
        cuts.windows(2).map(|w| self.part(w[0], w[1])).collect()
    }
}

/// Up to so many parts that end at multiples of a chunk, but for the last: where they begin and end.
fn cuts(rng: &mut Rng, len: usize, parts: usize) -> Vec<usize> {
    let chunks = len.div_ceil(CHUNK);
    let mut cuts: Vec<usize> = (1..parts).map(|_| rng.below(chunks) * CHUNK).collect();
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// What neighbours become, in every order in which they can merge: all binary trees over them. Which of two is asked alternates.
fn groupings(parts: &[RowState]) -> Vec<RowState> {
    if let [part] = parts {
        return vec![*part];
    }
    let mut merged = vec![];
    for cut in 1..parts.len() {
        let (left, right) = parts.split_at(cut);
        let right = groupings(right);
        for left in groupings(left) {
            for right in &right {
                merged.push(if merged.len() % 2 == 0 {
                    left.merge(*right).unwrap()
                } else {
                    right.merge(left).unwrap()
                });
            }
        }
    }
    merged
}

/// One state, from parts in every grouping.
fn grouped(parts: &[RowState], what: &str) -> RowState {
    let merged = groupings(parts);
    let catalan = [1, 1, 2, 5, 14, 42];
    assert_eq!(merged.len(), catalan[parts.len() - 1]);
    let expected = merged[0].to_bytes();
    for (i, state) in merged.iter().enumerate() {
        assert!(state.to_bytes() == expected, "{what}: grouping {i}");
    }
    merged[0]
}

/// Whether a row in parts that know nothing of each other has the bits of the whole one, as the documentation says.
fn is_within_reach(backend: Backend, x: &[f32]) -> bool {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Of `portable` on SSE2, what is known of these rows.
    let reach = if backend.is_fused() { 65_536.0 } else { 512.0 };
    x.len() <= CHUNK || max.abs() <= reach
}

#[test]
fn any_grouping_gives_the_bits_of_the_row() {
    let mut compared = [0; 2];
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        for (seed, class) in (0..).zip(CLASSES) {
            for len in LENGTHS {
                let x = class.row(seed, len);
                let rng = &mut Rng::new(!seed);
                let cuts = cuts(rng, len, 6);
                let (first, last) = (cuts[1], cuts[cuts.len() - 2]);
                let targets = [
                    rng.below(first),
                    rng.below(len),
                    last + rng.below(len - last),
                ];
                for (i, target) in targets.into_iter().enumerate() {
                    let scale = [1.0, -0.37, 3e-30][i];
                    let whole = of_the_row(exec, &x, target, scale);
                    for with_max in [false, true] {
                        let row = Row {
                            exec,
                            x: &x,
                            target,
                            with_max,
                        };
                        let what = format!(
                            "{backend:?}, {}: {len} in {cuts:?}, target {target}, {with_max}",
                            class.name
                        );
                        let state = grouped(&row.parts(&cuts), &what);
                        assert!(row.part(0, len).to_bytes() == state.to_bytes(), "{what}");
                        if with_max || is_within_reach(backend, &x) {
                            assert_same(&of_parts(&state, &x, &cuts, scale), &whole, &what);
                            compared[usize::from(with_max)] += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{compared:?} rows compared");
    assert!(compared[0] > compared[1] / 2);
}

/// Many cuts of one long row, merged from both ends and at random.
#[test]
fn random_groupings_give_the_bits_of_the_row() {
    let rng = &mut Rng::new(7);
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        for _ in 0..10 {
            let len = 1 + rng.below(64 * CHUNK);
            let x = CLASSES[rng.below(5)].row(rng.bits(), len);
            let parts = 1 + rng.below(40);
            let cuts = cuts(rng, len, parts);
            let target = rng.below(len);
            let row = Row {
                exec,
                x: &x,
                target,
                with_max: rng.coin(),
            };
            let mut parts = row.parts(&cuts);
            while parts.len() > 1 {
                let i = rng.below(parts.len() - 1);
                let right = parts.remove(i + 1);
                parts[i] = parts[i].merge(right).unwrap();
            }
            let what = format!("{backend:?}: {len} in {cuts:?}");
            assert!(parts[0].to_bytes() == row.part(0, len).to_bytes(), "{what}");
            let whole = of_the_row(exec, &x, target, 1.0);
            assert_same(&of_parts(&parts[0], &x, &cuts, 1.0), &whole, &what);
        }
    }
}

/// One after the other, in pieces of any number of chunks.
#[test]
fn pieces_that_arrive_are_the_row() {
    let rng = &mut Rng::new(8);
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let len = 29 * CHUNK + 1;
        let x = CLASSES[2].row(5, len);
        let row = Row {
            exec,
            x: &x,
            target: 5 * CHUNK,
            with_max: false,
        };
        let mut state = RowState::new(0, Some(row.target)).unwrap().exec(exec);
        while state.end() < len {
            let end = (state.end() + CHUNK * rng.below(4)).min(len);
            // Now and then there are none.
            state.update(&x[state.end()..end]).unwrap();
            assert_eq!((state.start(), state.end()), (0, end));
        }
        assert!(state.to_bytes() == row.part(0, len).to_bytes());
        // And from the back: each before what has come so far.
        let mut state = row.part(len - 1, len);
        for chunk in (0..29).rev() {
            let part = row.part(chunk * CHUNK, (chunk + 1) * CHUNK);
            state = state.merge(part).unwrap();
        }
        assert!(state.to_bytes() == row.part(0, len).to_bytes());
    }
}

/// Every backend that fuses multiply-add makes the same states, so they merge.
#[test]
fn fused_backends_are_one() {
    let len = 5 * CHUNK + 9;
    let fused: Vec<Backend> = Backend::available().filter(|b| b.is_fused()).collect();
    for class in CLASSES {
        let x = class.row(3, len);
        let row = |backend| Row {
            exec: Exec::new().backend(backend),
            x: &x,
            target: len - 1,
            with_max: false,
        };
        for &backend in &fused {
            let (a, b) = (row(fused[0]), row(backend));
            let mixed = a.part(0, CHUNK).merge(b.part(CHUNK, len)).unwrap();
            assert!(a.part(0, len).to_bytes() == b.part(0, len).to_bytes());
            assert!(a.part(0, len).to_bytes() == mixed.to_bytes());
        }
    }
}

/// The probabilities and gradients of a long part, which threads share.
#[cfg(not(target_family = "wasm"))]
#[test]
fn threads_leave_the_bits() {
    let len = 300_001;
    let x = CLASSES[2].row(3, len);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let pool = pool.unwrap();
    for backend in Backend::available() {
        let row = |exec: Exec| Row {
            exec: exec.backend(backend),
            x: &x,
            target: len / 2,
            with_max: false,
        };
        let results = |exec: Exec| of_parts(&row(exec).part(0, len), &x, &[0, len], 1.0);
        let serial = results(Exec::new().serial());
        let shared = pool.install(|| results(Exec::new()));
        assert_same(&shared, &serial, &format!("{backend:?}"));
        if backend.name() != "scalar" {
            let whole = of_the_row(Exec::new().backend(backend), &x, len / 2, 1.0);
            assert_same(&shared, &whole, &format!("{backend:?}"));
        }
    }
}

/// Special values in each part, or in two of them, and parts and rows that are masked throughout; at the target and elsewhere.
#[test]
fn special_rows_are_as_elsewhere() {
    let cuts = [0, CHUNK, 3 * CHUNK, 3 * CHUNK + 5];
    let len = cuts[3];
    let specials = [f32::NEG_INFINITY, INF, f32::NAN, -f32::NAN];
    let places = [0, CHUNK, 2 * CHUNK + 77, len - 1];
    let ordinary = CLASSES[2].row(1, len);
    let mut rows: Vec<(String, Vec<f32>)> = vec![];
    for a in specials {
        for b in specials {
            for i in places {
                for j in places {
                    let mut x = ordinary.clone();
                    (x[i], x[j]) = (a, b);
                    rows.push((format!("{a} at {i}, {b} at {j}"), x));
                }
            }
        }
        for part in 0..3 {
            let mut x = ordinary.clone();
            x[cuts[part]..cuts[part + 1]].fill(a);
            rows.push((format!("{a} in part {part}"), x.clone()));
            // With a finite one, and with what makes it special.
            x[cuts[part]] = 1.0;
            rows.push((format!("{a} in part {part} but for one"), x.clone()));
            x.fill(a);
            rows.push((format!("{a} throughout"), x.clone()));
            x[cuts[part]] = -3.0;
            rows.push((format!("{a} but for one in part {part}"), x));
        }
    }
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        for (name, x) in &rows {
            for target in [0, 77, CHUNK, 2 * CHUNK + 77, len - 1] {
                let whole = of_the_row(exec, x, target, 1.0);
                for with_max in [false, true] {
                    let what = format!("{backend:?}, {name}, target {target}, {with_max}");
                    let row = Row {
                        exec,
                        x,
                        target,
                        with_max,
                    };
                    let state = grouped(&row.parts(&cuts), &what);
                    assert_same(&of_parts(&state, x, &cuts, 1.0), &whole, &what);
                }
            }
        }
    }
}

/// Parts whose logits have nothing to do with each other.
#[test]
fn parts_may_differ_by_any_amount() {
    let rng = &mut Rng::new(9);
    let cuts = [0, CHUNK, 2 * CHUNK, 4 * CHUNK, 4 * CHUNK + 100];
    let len = cuts[4];
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        let mut margins = vec![];
        for distance in [1.0, 30.0, 85.0, 100.0, 130.0, 170.0, 460.0, 9e3, 6e4] {
            let mut x = vec![];
            for ends in cuts.windows(2) {
                let offset = (-rng.between(0.0, distance)) as f32;
                x.extend((ends[0]..ends[1]).map(|_| offset - rng.uniform() as f32));
            }
            margins.push(x);
        }
        for x in margins {
            let top = (0..len).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap();
            for target in [0, CHUNK, len - 1, top] {
                let whole = of_the_row(exec, &x, target, 1.0);
                for with_max in [false, true] {
                    let what = format!("{backend:?}, target {target}, {with_max}: {}", x[0]);
                    let row = Row {
                        exec,
                        x: &x,
                        target,
                        with_max,
                    };
                    let state = grouped(&row.parts(&cuts), &what);
                    if with_max || is_within_reach(backend, &x) {
                        assert_same(&of_parts(&state, &x, &cuts, 1.0), &whole, &what);
                    }
                }
            }
        }
    }
}

/// The largest errors of log-sum-exp, loss, probabilities and gradients, as shares of what they may be.
fn shares(backend: Backend, x: &[f32], target: usize, found: &Results) -> [f64; 4] {
    let error = |want: Want, bits: u32| want.error(f32::from_bits(bits));
    let lse = oracle::logsumexp(x);
    let loss = oracle::cross_entropy(x, target);
    let mut shares = [
        error(Want::ulp_of(lse, lse.abs().max(1.0)), found.log_sum_exp)
            / bounds::LOG_SUM_EXP.derived.on(backend),
        error(Want::ulp(loss), found.loss) / bounds::LOSS.derived.on(backend),
        0.0,
        0.0,
    ];
    let p = oracle::softmax(x);
    for (want, &found) in p.iter().zip(&found.probs) {
        let share = error(Want::ulp(*want), found) / bounds::probability(*want).on(backend);
        shares[2] = shares[2].max(share);
    }
    let gradient = oracle::cross_entropy_gradient(x, target, 1.0);
    for (want, &found) in gradient.iter().zip(&found.grad) {
        let share = error(Want::ulp(*want), found) / bounds::probability(*want).on(backend);
        shares[3] = shares[3].max(share);
    }
    shares
}

/// Of two logits between -28 and 28, the product that is added to a sum ends in one half, so what stands before it in the same lane decides,
/// however little that is: `-inf` beside one maximum or another. With the maximum given, nothing differs.
#[test]
fn a_tie_beside_nothing() {
    let mut x = vec![1.917_68_f32];
    x.resize(CHUNK + 16, -INF);
    x.push(1.586_557_7);
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        let whole = softlane_lse(exec, &x);
        let lse = |new: fn(usize) -> RowState| {
            let part = |start: usize, end: usize| {
                let mut part = new(start).exec(exec);
                part.update(&x[start..end]).unwrap();
                part
            };
            let row = part(0, CHUNK).merge(part(CHUNK, x.len())).unwrap();
            row.log_sum_exp().unwrap()
        };
        let given = lse(|start| RowState::with_max(start, None, 1.917_68).unwrap());
        assert_eq!(given.to_bits(), whole.to_bits(), "{backend:?}");
        let found = lse(|start| RowState::new(start, None).unwrap());
        let error = (f64::from(found) - f64::from(whole)).abs() / ulp(whole.into());
        println!("{backend:?}: {error} ULP");
        assert!(
            error <= 2.0 * bounds::LOG_SUM_EXP.derived.on(backend),
            "{backend:?}"
        );
    }
}

/// Rows beyond the reach have bits of their own, and the bounds of all.
#[test]
fn far_rows_are_within_the_bounds() {
    let rng = &mut Rng::new(10);
    let cuts = [0, CHUNK, 2 * CHUNK, 3 * CHUNK + 17];
    let len = cuts[3];
    for backend in vector_backends() {
        let exec = Exec::new().backend(backend).serial();
        let (mut worst, mut differ, mut rows) = ([0.0_f64; 4], 0, 0);
        for center in [
            600.0, -600.0, 65_530.0, 65_536.0, 65_545.0, -65_530.0, -65_545.0, 1e5, -1e5, 3e6,
            1e30, -1e30, 3.4e38,
        ] {
            for spread in [1.0, 10.0, 60.0, 1e4] {
                let mut x = vec![];
                for ends in cuts.windows(2) {
                    let offset = center - rng.between(0.0, spread);
                    x.extend((ends[0]..ends[1]).map(|_| {
                        let y = offset - rng.between(0.0, spread);
                        y.clamp(f32::MIN.into(), f32::MAX.into()) as f32
                    }));
                }
                let top = (0..len).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap();
                for target in [rng.below(len), top] {
                    let row = Row {
                        exec,
                        x: &x,
                        target,
                        with_max: false,
                    };
                    let what = format!("{backend:?}, {center} and {spread}");
                    let state = grouped(&row.parts(&cuts), &what);
                    let found = of_parts(&state, &x, &cuts, 1.0);
                    let shares = shares(backend, &x, target, &found);
                    for (worst, share) in worst.iter_mut().zip(shares) {
                        *worst = worst.max(share);
                    }
                    assert!(shares.iter().all(|&s| s <= 1.0), "{what}: {shares:?}");
                    rows += 1;
                    differ += usize::from(found != of_the_row(exec, &x, target, 1.0));
                }
            }
        }
        println!("{backend:?}: {worst:.3?} of the bounds; {differ} of {rows} rows have other bits");
        assert!(differ > 0, "{backend:?}: no row was weighed apart");
    }
}

/// The textbook form: the same whatever the grouping, and within the errors of its formula, in `u = 2^-24` of first order. A weight has
/// that of its difference to the maximum of its chunk, `|d|` at most, and of the exponential, 2; adding those of a chunk 4096; the
/// rest is done in `f64`. Those of second order are left to a factor of 1.07.
#[test]
fn scalar_is_within_the_error_of_its_formula() {
    const U: f64 = 1.0 / 16_777_216.0;
    const TINY: f64 = 1.5e-45;
    // Without `std`, there is none.
    let Some(backend) = Backend::available().find(|b| b.name() == "scalar") else {
        return;
    };
    let exec = Exec::new().backend(backend);
    let mut worst = [0.0_f64; 4];
    for (seed, class) in (0..).zip(CLASSES) {
        for len in [1, 100, CHUNK + 1, 3 * CHUNK + 17] {
            let x = class.row(seed, len);
            let rng = &mut Rng::new(!seed);
            let cuts = cuts(rng, len, 6);
            let target = rng.below(len);
            for with_max in [false, true] {
                let row = Row {
                    exec,
                    x: &x,
                    target,
                    with_max,
                };
                let what = format!("{}, {len}, {with_max}", class.name);
                let state = grouped(&row.parts(&cuts), &what);
                let found = of_parts(&state, &x, &cuts, 1.0);
                let exact = oracle::Row::new(&x);
                let d = |i: usize| exact.d[i].abs();
                let weighted = (0..len).map(|i| {
                    if exact.weights[i] == 0.0 {
                        0.0
                    } else {
                        exact.weights[i] * d(i)
                    }
                });
                let sum = U * (oracle::sum(weighted) / exact.sum + 2.0 + 4096.0 + 1.0);
                let mut share = |what: usize, found: u32, value: f64, bound: f64| {
                    let error = (f64::from(f32::from_bits(found)) - value).abs();
                    if error > 0.0 {
                        worst[what] = worst[what].max(error / (1.07 * bound + TINY));
                    }
                };
                let lse = oracle::logsumexp(&x);
                let log_sum = sum + 2.0 * U * exact.log_sum();
                share(0, found.log_sum_exp, lse, log_sum + U * lse.abs());
                let loss = oracle::cross_entropy(&x, target);
                let difference = if d(target).is_finite() {
                    U * d(target)
                } else {
                    0.0
                };
                // Beyond that, it overflows.
                if loss < f64::from(f32::MAX) {
                    share(1, found.loss, loss, log_sum + difference + U * loss);
                }
                for i in 0..len {
                    let p = exact.probability(i);
                    let bound = if p == 0.0 {
                        0.0
                    } else {
                        p * (U * (d(i) + 3.0) + sum)
                    };
                    share(2, found.probs[i], p, bound);
                    let t = f64::from(u8::from(i == target));
                    share(3, found.grad[i], p - t, bound + 2.0 * U * (p - t).abs());
                }
                assert!(worst.iter().all(|&share| share <= 1.0), "{what}: {worst:?}");
            }
        }
    }
    println!("scalar: {worst:.3?} of the bounds");
}

#[test]
fn rows_of_nothing() {
    for exec in Backend::available().map(|backend| Exec::new().backend(backend)) {
        let mut row = RowState::<f32>::new(0, Some(0)).unwrap().exec(exec);
        row.update::<f32>(&[]).unwrap();
        assert_eq!(row.log_sum_exp(), Ok(f32::NEG_INFINITY));
        assert_eq!(row.probs(&[], &mut [0.0_f32; 0]), Ok(()));
        let (target, classes) = (0, 0);
        let error = Error::Target {
            row: 0,
            target,
            classes,
        };
        assert_eq!(row.loss(), Err(error));
        // Nothing on either side of something.
        let mut part = RowState::new(CHUNK, Some(0)).unwrap().exec(exec);
        part.update(&[1.0_f32]).unwrap();
        let mut chunk = RowState::new(0, Some(0)).unwrap().exec(exec);
        chunk.update(&[2.0_f32; CHUNK]).unwrap();
        let between = RowState::new(CHUNK, Some(0)).unwrap();
        let whole = chunk.merge(part).unwrap().to_bytes();
        for state in [
            chunk.merge(between).unwrap().merge(part),
            chunk.merge(between.merge(part).unwrap()),
            row.merge(chunk).unwrap().merge(part),
            part.merge(between).unwrap().merge(chunk),
        ] {
            assert!(state.unwrap().to_bytes() == whole);
        }
        assert_eq!(
            chunk.merge(part).unwrap().log_sum_exp(),
            chunk.merge(part).unwrap().log_sum_exp()
        );
    }
}

/// Where parts may begin, and how far they may go.
#[test]
fn parts_begin_at_chunks_below_the_limit() {
    for exec in Backend::available().map(|backend| Exec::new().backend(backend)) {
        assert_eq!(
            RowState::<f32>::new(17, None).unwrap_err(),
            Error::Boundary { class: 17 }
        );
        // Where `usize` is long enough.
        if let Ok(large) = usize::try_from(1_u64 << 37) {
            let start = RowState::<f32>::new(large, None).unwrap_err();
            let target = RowState::<f32>::new(0, Some(large / 2)).unwrap_err();
            let message = format!("start is {large}, which is not at most 2^36");
            assert_eq!(start.to_string(), message);
            let message = format!("target is {}, which is not less than 2^36", large / 2);
            assert_eq!(target.to_string(), message);
            assert!(RowState::<f32>::new(0, Some(large / 2 - 1)).is_ok());
            let mut last = RowState::new(large / 2 - CHUNK, None).unwrap().exec(exec);
            last.update(&[0.0_f32; CHUNK]).unwrap();
            let before = last.to_bytes();
            let error = last.update(&[0.0_f32]).unwrap_err();
            assert_eq!(
                error.to_string(),
                "classes 68719476736..68719476737 are no part of a row of 68719476736 classes"
            );
            assert!(last.to_bytes() == before);
        }
    }
}

/// An error leaves the state, and what would be written, as they were.
#[test]
fn errors_change_nothing() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let part = |start, len, target| {
            let mut part = RowState::new(start, target).unwrap().exec(exec);
            part.update(&vec![0.5_f32; len]).unwrap();
            part
        };
        let mut short = part(0, 10, Some(3));
        let before = short.to_bytes();
        assert_eq!(short.update(&[0.0_f32]), Err(Error::Boundary { class: 10 }));
        assert!(short.to_bytes() == before);

        let neighbours = [
            (
                part(0, 10, None),
                part(CHUNK, 10, None),
                [0, 10],
                [CHUNK, CHUNK + 10],
            ),
            (
                part(0, CHUNK, None),
                part(0, CHUNK, None),
                [0, CHUNK],
                [0, CHUNK],
            ),
            (
                part(2 * CHUNK, 1, None),
                part(0, CHUNK, None),
                [2 * CHUNK, 2 * CHUNK + 1],
                [0, CHUNK],
            ),
        ];
        for (a, b, left, right) in neighbours {
            assert_eq!(a.merge(b).unwrap_err(), Error::Apart { left, right });
        }
        let targets = part(0, CHUNK, Some(1))
            .merge(part(CHUNK, 1, None))
            .unwrap_err();
        let (left, right) = (Some(1), None);
        assert_eq!(targets, Error::Targets { left, right });
        assert_eq!(
            targets.to_string(),
            "the targets of the parts of a row are 1 and none"
        );

        let tail = part(CHUNK, 5, Some(3));
        let untouched = |state: &RowState, start, len, expected: Error| {
            let x = vec![0.25_f32; len];
            let mut wrong = vec![0.0_f32; len + 1];
            let length = Error::Length {
                expected: len,
                found: len + 1,
            };
            assert_eq!(state.probs(&x, &mut wrong), Err(length));
            assert_eq!(state.grad(start, &x, 1.0, &mut wrong), Err(length));
            let mut results = [Ok(()), Ok(())];
            let (kept, ()) = guarded(&x, 1, |y| results[0] = state.grad_in_place(start, y, 1.0));
            assert_eq!((kept, results[0]), (x.clone(), Err(expected)));
            if start == 0
                && expected != Error::NoTarget
                && !matches!(expected, Error::Target { .. })
            {
                let (kept, ()) = guarded(&x, 1, |y| results[1] = state.probs_in_place(y));
                assert_eq!((kept, results[1]), (x, Err(expected)));
            }
        };
        let incomplete = Error::Incomplete { start: CHUNK };
        assert_eq!(tail.log_sum_exp(), Err(incomplete));
        assert_eq!(tail.loss(), Err(incomplete));
        untouched(&tail, 0, 5, incomplete);
        untouched(&part(0, 7, None), 0, 7, Error::NoTarget);
        assert_eq!(part(0, 7, None).loss(), Err(Error::NoTarget));
        let (target, classes) = (7, 7);
        let error = Error::Target {
            row: 0,
            target,
            classes,
        };
        untouched(&part(0, 7, Some(7)), 0, 7, error);
        assert_eq!(part(0, 7, Some(7)).loss(), Err(error));
        for (start, len) in [(0, 8), (3, 5), (usize::MAX, 1)] {
            let part_of = [start, start.saturating_add(len)];
            let error = Error::Part {
                part: part_of,
                classes: 7,
            };
            untouched(&part(0, 7, Some(2)), start, len, error);
        }
    }
}

/// States of different arithmetics do not mix, in any call.
#[test]
fn arithmetics_do_not_mix() {
    let part = |backend, start| {
        let mut part = RowState::new(start, Some(0)).unwrap();
        part = part.exec(Exec::new().backend(backend));
        part.update(&[1.0_f32; CHUNK]).unwrap();
        part
    };
    let kind = |backend: Backend| (backend.name() == "scalar", backend.is_fused());
    let mut mixed = 0;
    for a in Backend::available() {
        for b in Backend::available() {
            let merged = part(a, 0).merge(part(b, CHUNK));
            let exec = Exec::new().backend(b);
            let mut other = part(a, 0).exec(exec);
            let before = other.to_bytes();
            let mut y = [9.0; 2];
            let results = [
                merged.map(|_| ()),
                other.probs(&[1.0_f32; 2], &mut y),
                other.grad(0, &[1.0; 2], 1.0, &mut y),
                other.update(&[1.0_f32; CHUNK]),
            ];
            // What is taken in `f64` needs no backend, so a state can be asked anywhere.
            assert_eq!(part(a, 0).exec(exec).loss(), part(a, 0).loss());
            if kind(a) == kind(b) {
                assert_eq!(results, [Ok(()); 4]);
                continue;
            }
            mixed += 1;
            for result in results {
                assert!(
                    matches!(result, Err(Error::Arithmetic { .. })),
                    "{result:?}"
                );
            }
            assert!(y == [9.0; 2] && other.to_bytes() == before);
        }
    }
    // Without `std`, there is one backend.
    assert!(mixed > 0 || Backend::available().count() == 1);
}

#[test]
fn a_wrong_maximum_is_an_error() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let row = |max, x: &[f32]| {
            let mut row = RowState::with_max(0, Some(0), max).unwrap().exec(exec);
            row.update(x).map(|()| row)
        };
        for (max, x) in [
            (1.0, [2.0_f32, 0.0]),
            (-INF, [0.0, -INF]),
            (1e30, [INF, 0.0]),
            (3.0, [1.0, f32::NAN]),
            (INF, [f32::NAN, INF]),
            (INF, [f32::NAN, 1.0]),
            (INF, [1.0, f32::NAN]),
        ] {
            let error = row(max, &x).unwrap_err();
            assert!(matches!(error, Error::Maximum { .. }), "{max}: {error:?}");
        }
        // One that no part has.
        for (max, x) in [
            (3.0, [2.0_f32, 0.0]),
            (INF, [0.0, 1.0]),
            (0.0, [-INF, -INF]),
        ] {
            let row = row(max, &x).unwrap();
            assert!(matches!(row.loss(), Err(Error::Maximum { .. })), "{max}");
            assert!(
                matches!(row.log_sum_exp(), Err(Error::Maximum { .. })),
                "{max}"
            );
            let mut y = [9.0; 2];
            assert!(row.probs(&x, &mut y).is_err() && row.grad(0, &x, 1.0, &mut y).is_err());
            assert_eq!(y, [9.0; 2]);
        }
        // What the maximum is of rows without probabilities.
        for (max, x) in [
            (-INF, [-INF; 2]),
            (INF, [INF, 0.0]),
            (f32::NAN, [f32::NAN, 1.0]),
        ] {
            assert!(row(max, &x).unwrap().loss().unwrap().is_nan());
            assert_eq!(
                row(max, &x).unwrap().log_sum_exp().unwrap().to_bits(),
                softlane_lse(exec, &x).to_bits()
            );
        }
        // Zeros are one number.
        assert_eq!(
            row(-0.0, &[0.0; 2]).unwrap().loss(),
            row(0.0, &[-0.0; 2]).unwrap().loss()
        );
        let other = RowState::with_max(CHUNK, Some(0), 2.0).unwrap();
        let mut chunk = RowState::with_max(0, Some(0), 1.0).unwrap();
        chunk.update(&[1.0_f32; CHUNK]).unwrap();
        let error = chunk.merge(other).unwrap_err();
        let message = "the given maximum of a row and what is found are 1 and 2";
        assert_eq!(error.to_string(), message);
    }
}

fn softlane_lse(exec: Exec, x: &[f32]) -> f32 {
    let mut lse = [0.0];
    exec.logsumexp(x, x.len(), &mut lse).unwrap();
    lse[0]
}

/// States of all kinds.
fn states() -> Vec<RowState> {
    let mut states = vec![
        RowState::new(0, None).unwrap(),
        RowState::new(CHUNK, Some(0)).unwrap(),
    ];
    let len = 7 * CHUNK + 5;
    for backend in Backend::available() {
        for class in ["normal 3", "offset 1e5", "masked causally", "unlikely"] {
            let class = CLASSES.iter().find(|c| c.name == class).unwrap();
            for special in [0.0, f32::NEG_INFINITY, f32::NAN, INF] {
                let mut x = class.row(1, len);
                x[2 * CHUNK..3 * CHUNK].fill(special);
                for with_max in [false, true] {
                    for target in [0, 2 * CHUNK, 5 * CHUNK, len - 1] {
                        let row = Row {
                            exec: Exec::new().backend(backend),
                            x: &x,
                            target,
                            with_max,
                        };
                        for (start, end) in [(0, len), (CHUNK, 6 * CHUNK), (3 * CHUNK, len)] {
                            states.push(row.part(start, end));
                        }
                    }
                }
            }
        }
    }
    states
}

/// Asks everything of a state that may be anything.
fn ask(state: &RowState) {
    let x = [1.0, f32::NEG_INFINITY, 3e38];
    let mut y = [0.0; 3];
    for backend in Backend::available() {
        let mut state = state.exec(Exec::new().backend(backend));
        let _ = (state.log_sum_exp(), state.loss());
        let _ = (state.probs(&x, &mut y), state.grad(0, &x, 1e30, &mut y));
        let _ = (state.merge(state), state.update(&x));
        let mut next = RowState::new(state.end().next_multiple_of(CHUNK), None).unwrap();
        let _ = next.update(&x);
        let _ = state.merge(next);
    }
}

#[test]
fn bytes_are_the_state() {
    for state in states() {
        let bytes = state.to_bytes();
        let copy = RowState::<f32>::from_bytes(&bytes).unwrap();
        assert!(copy.to_bytes() == bytes);
        // NaN is one as well.
        let text = |state: &RowState| format!("{:?}", (state.log_sum_exp(), state.loss()));
        assert_eq!(text(&copy), text(&state));
        assert_eq!((copy.start(), copy.end()), (state.start(), state.end()));
        ask(&copy);
    }
}

/// The layout that is documented.
#[test]
fn bytes_are_where_they_are_said_to_be() {
    let exec = Exec::new().backend(Backend::named("portable").unwrap());
    let mut state = RowState::with_max(CHUNK, Some(CHUNK + 1), 3.0)
        .unwrap()
        .exec(exec);
    state.update(&[2.0_f32, -1.5, 3.0]).unwrap();
    let bytes = state.to_bytes();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let number = |at| f64::from_bits(word(at));
    let portable = if Backend::named("portable").unwrap().is_fused() {
        3
    } else {
        2
    };
    assert_eq!(bytes[..8], [b'S', b'L', b'R', b'1', 4, portable, 1, 1]);
    let (start, end) = (CHUNK as u64, CHUNK as u64 + 3);
    assert_eq!([word(8), word(16), word(24)], [start, end, start + 1]);
    assert_eq!([number(32), number(40), number(56)], [-1.5, 3.0, 3.0]);
    let target = number(64) - number(48);
    let [a, b, c] = [2.0_f64, -1.5, 3.0].map(f64::exp);
    assert!((target / number(64) - b / (a + b + c)).abs() < 1e-9);
    assert!(bytes[72..].iter().all(|&byte| byte == 0));
    assert_eq!(bytes.len(), RowState::<f32>::BYTES);
    assert_eq!(bytes.len(), 792);
}

/// Changed in any byte, they are an error or another state, of which nothing is asked that panics.
#[test]
fn malformed_bytes_do_no_harm() {
    let (mut accepted, mut refused) = (0, 0);
    let mut attempt =
        |bytes: &[u8; RowState::<f32>::BYTES]| match RowState::<f32>::from_bytes(bytes) {
            Ok(state) => {
                let wrong = state.to_bytes().iter().zip(bytes).position(|(a, b)| a != b);
                assert_eq!(wrong, None, "another state");
                ask(&state);
                accepted += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::Bytes { .. }), "{error:?}");
                refused += 1;
            }
        };
    let rng = &mut Rng::new(11);
    for state in states().iter().step_by(7) {
        let bytes = state.to_bytes();
        for at in 0..160 {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes;
                bytes[at] ^= change;
                attempt(&bytes);
            }
        }
        for _ in 0..100 {
            let mut bytes = bytes;
            for _ in 0..=rng.below(6) {
                bytes[rng.below(bytes.len())] = rng.bits() as u8;
            }
            attempt(&bytes);
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 100 && refused > 1000);
    let nothing = RowState::<f32>::from_bytes(&[0; RowState::<f32>::BYTES]);
    assert_eq!(nothing.unwrap_err(), Error::Bytes { at: 0 });
}
