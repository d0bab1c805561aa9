//! Rows of `f32`: the tests of each type, and those that have bounds or numbers of this one.

#[path = "of_type.rs"]
mod of_type;

use of_type::{
    INF, NAN, Results, assert_bits, execs, exp, lengths, log_softmax_backward, ordinary, places,
};
use softlane::{Backend, CrossEntropy, Exec, MaskedRows};

use crate::guard::UNTOUCHED;

type R = f32;

/// NaN as it may come in: canonical, with a payload, negative, signalling.
const NANS: [R; 4] = [
    R::from_bits(0x7FC0_0000),
    R::from_bits(0x7FC0_1234),
    R::from_bits(0xFFC0_0000),
    R::from_bits(0x7F80_0001),
];

/// What the rounding of the sum leaves out, added to the largest gradient, must not make infinity of it.
#[test]
fn log_softmax_backward_where_only_the_sum_is_as_large_as_the_largest_gradient() {
    let (half, step) = (127_f32.exp2(), 103_f32.exp2());
    // The sum is 2^127 + 2^105 - 2^103, half-way between two numbers.
    let dy = [f32::MAX, 4.0 * step - half, step];
    for exec in execs() {
        let dx = log_softmax_backward(exec, &[0.0, -INF, -INF], &dy, 3);
        assert_bits(&dx[1..], &dy[1..], format_args!("{exec:?}"));
        assert!((dx[0] / half - 1.0).abs() < 1e-6, "{exec:?}: {}", dx[0]);
    }
}

/// In `f64`, whose range they cannot leave. The scalar path adds in `f32`, as textbooks do.
#[test]
fn partial_sums_do_not_overflow() {
    for exec in Backend::available()
        .filter(|backend| backend.name() != "scalar")
        .map(|backend| Exec::new().backend(backend))
    {
        let x: Vec<f32> = [f32::MAX, f32::MAX, -f32::MAX].repeat(5000);
        let context = format_args!("{exec:?}");
        let sum = exec.sum(&x[..3]).unwrap();
        assert_bits(&[sum], &[f32::MAX], context);
        assert_bits(&[exec.sum(&x).unwrap()], &[INF], context);
        let cancelled = [
            &x[..9000],
            &x[..9000].iter().map(|x| -x).collect::<Vec<_>>(),
        ]
        .concat();
        assert_bits(&[exec.sum(&cancelled).unwrap()], &[0.0], context);
        // y = ln(1/2): dx = dy - (dy + dy) / 2, where dy + dy is beyond the range of `f32`.
        let y = [-core::f32::consts::LN_2; 2];
        let dx = log_softmax_backward(exec, &y, &[f32::MAX; 2], 2);
        let one_ulp = f32::MAX / (1 << 23) as f32;
        assert!(
            dx.iter().all(|dx| dx.abs() <= 3.0 * one_ulp),
            "{context}: {dx:?} is not within 3 ULP of the larger operand"
        );
    }
}

/// Found by fuzzing: the scalar path, whose partial sum is `+inf` already, makes NaN of it.
#[test]
fn huge_elements_before_minus_inf_do_not_make_nan_of_the_sum() {
    for backend in Backend::available() {
        let exec = Exec::new().backend(backend);
        let expected = if backend.name() == "scalar" {
            NAN
        } else {
            -INF
        };
        for n in lengths().filter(|&n| n > 1) {
            let mut x = vec![f32::MAX; n + 1];
            x[n] = -INF;
            let context = format_args!("{exec:?}, {n} huge elements");
            assert_bits(&[exec.sum(&x).unwrap()], &[expected], context);
        }
    }
}

#[test]
fn exp_of_a_slice() {
    let largest = f32::from_bits(0x42B1_7217); // the last below ln(2^128)
    let smallest = f32::from_bits(0xC2CF_F1B4); // the last above ln(2^-150)
    let special = [
        (0.0, 1.0),
        (-0.0, 1.0),
        (1e-45, 1.0),
        (-1e-45, 1.0),
        (f32::MIN_POSITIVE, 1.0),
        (INF, INF),
        (-INF, 0.0),
        (f32::MAX, INF),
        (f32::MIN, 0.0),
        (largest.next_up(), INF),
        (89.0, INF),
        (1e4, INF),
        (smallest, 1e-45),
        (smallest.next_down(), 0.0),
        (-104.0, 0.0),
        (-1e4, 0.0),
    ];
    for exec in execs() {
        for n in lengths() {
            for lane in places(n) {
                for (x_lane, y_lane) in special.into_iter().chain(NANS.map(|nan| (nan, NAN))) {
                    let context = format_args!("{exec:?}, {n} elements, {x_lane} at {lane}");
                    let mut x = ordinary(n);
                    let mut y = exp(exec, &x);
                    (x[lane], y[lane]) = (x_lane, y_lane);
                    assert_bits(&exp(exec, &x), &y, context);
                }
            }
        }
        assert!(exp(exec, &[largest])[0].is_finite(), "{exec:?}");
    }
}

/// Rows of which only little is left besides the target: `L = ln(1 + r)`, `dL/dx_t = -r / (1 + r)`
/// with the others' share `r`. The scalar path gives 0, as its textbook formula does.
#[test]
fn confident_rows() {
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        let exec = Exec::new().backend(backend);
        for x in [
            vec![0.0, -17.0],
            vec![0.0, -88.0],
            vec![0.0, -103.0],
            vec![90.0, 2.0, -2.0],
            vec![20.0, 0.0, 1.0, 2.0],
            vec![-2e4, -2e4 - 30.0],
        ] {
            let others: f64 = x[1..]
                .iter()
                .map(|&other| (f64::from(other) - f64::from(x[0])).exp())
                .sum();
            let got = Results::new(exec, MaskedRows::Nan, &x, x.len(), &[0]);
            let near = |got: f32, exact: f64, what: &str| {
                // 3 ULP: 6 units of 2^-24, or 3 of the smallest numbers.
                let bound = (exact.abs() * 6.0 * (-24_f64).exp2()).max(3.0 * (-149_f64).exp2());
                assert!(
                    (f64::from(got) - exact).abs() <= bound,
                    "{exec:?}, {x:?}: {what} is {got:e}, expected {exact:e}"
                );
            };
            near(got.losses[0], others.ln_1p(), "loss");
            near(got.grad[0], -others / (1.0 + others), "gradient");
            near(got.log_probs[0], -others.ln_1p(), "log-probability");
            let p_1 = (f64::from(x[1]) - f64::from(x[0])).exp() / (1.0 + others);
            near(got.probs[1], p_1, "probability");
        }
    }
}

/// The pages are never written, so they take no memory where the system maps zeros on demand.
#[test]
#[ignore = "reads 8 GiB of zeros several times"]
#[cfg(target_pointer_width = "64")]
fn more_than_2_to_the_31_elements() {
    let n = (1 << 31) + 21;
    let mut x = vec![0.0_f32; n];
    x[n - 1] = 3.0;
    let lse = ((n - 1) as f64 + 3_f64.exp()).ln();
    for backend in Backend::available().filter(|backend| backend.name() != "scalar") {
        for exec in [
            Exec::new().backend(backend),
            Exec::new().backend(backend).serial(),
        ] {
            let context = format_args!("{exec:?}");
            let both = [exec.max(&x).unwrap(), exec.sum(&x).unwrap()];
            assert_bits(&both, &[3.0; 2], context);
            let mut got = [UNTOUCHED];
            exec.logsumexp(&x, n, &mut got).unwrap();
            assert_bits(&got, &[lse as f32], context);
            let loss = CrossEntropy::new().exec(exec).loss(&x, n, &[n - 1]);
            assert_bits(&[loss.unwrap()], &[(lse - 3.0) as f32], context);
        }
    }
}
