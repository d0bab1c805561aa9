//! Every operation once on every backend, without the standard library. The exit code is 0 if all
//! results are right, else the number of the first wrong one (255 for an unexpected error, 254 if
//! calls use another backend than the one that the variable `EXPECTED_BACKEND` named when this was
//! compiled).
//!
//! The panic handler is this program's own: it would not compile if anything brought `std` in.

#![no_std]
#![no_main]

use core::f32::consts::{E, LN_2};
use core::mem::MaybeUninit;

use half::f16;
use softlane::{Backend, BinaryCrossEntropy, CrossEntropy, Error, Exec, RowState, Shape};

/// `e^-100`, rounded to one of the last subnormal numbers: 27 times the smallest.
const EXP_MINUS_100: f32 = f32::from_bits(27);

// All that is linked besides `core` and softlane.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}

// SAFETY: the unwind tables of the precompiled `core` name it; nothing unwinds, so it is never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {
    abort()
}

// SAFETY: the one `main` of this program, of the type that the C runtime calls.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    if let (Some(expected), Ok(active)) = (option_env!("EXPECTED_BACKEND"), Backend::active())
        && active.name() != expected
    {
        return 254;
    }
    for backend in Backend::available() {
        let Ok(results) = results(Exec::new().backend(backend)) else {
            return 255;
        };
        for (right, number) in results.into_iter().zip(1..) {
            if !right {
                return number;
            }
        }
    }
    0
}

/// Whether the result of each operation is right.
fn results(exec: Exec) -> Result<[bool; 18], Error> {
    // One whole vector and a tail.
    let logits = [3.0; 20];
    let mut p = [9.0; 20];
    exec.softmax(&logits, 20, &mut p)?;
    let softmax = p.iter().all(|&p| near(p, 0.05));

    let mut row = [200.0, 100.0, f32::NEG_INFINITY];
    exec.softmax_in_place(&mut row, 3)?;
    let extremes = row == [1.0, EXP_MINUS_100, 0.0];

    let mut row = [20.0, 0.0];
    exec.log_softmax_in_place(&mut row, 2)?;
    let log_softmax = near(row[0], -2.061_153_7e-9) && near(row[1], -20.0);

    let mut lse = [9.0; 2];
    exec.logsumexp(&[0.0_f32, 0.0, 1000.0, 1000.0], 2, &mut lse)?;
    let logsumexp = near(lse[0], LN_2) && near(lse[1], 1_000.693_1);

    let mut dx = [9.0; 2];
    exec.softmax_backward(&[0.5, 0.5], &[1.0, 0.0], 2, &mut dx)?;
    let softmax_backward = dx == [0.25, -0.25];
    exec.log_softmax_backward(&[0.0, f32::NEG_INFINITY], &[1.0, 2.0], 2, &mut dx)?;
    let log_softmax_backward = dx == [-2.0, 2.0];

    let mut y = [0.0, 1.0, -200.0];
    exec.exp_in_place(&mut y)?;
    let exp = near(y[0], 1.0) && near(y[1], E) && y[2] == 0.0;
    let mut y = [0.0, 100.0];
    exec.sigmoid_in_place(&mut y)?;
    let sigmoid = y == [0.5, 1.0];
    let max = exec.max(&[3.0_f32, -1.0])? == 3.0;
    let sum = exec.sum(&[1e8_f32, 1.0, -1e8])? == 1.0;

    let mut grad = [9.0; 8];
    let confident = [20.0, 0.0, 1.0, 2.0, 9.0, 9.0, 9.0, 9.0];
    let loss =
        CrossEntropy::new()
            .exec(exec)
            .loss_and_grad(&confident, 4, &[0, -100], &mut grad)?;
    let cross_entropy = near(loss, 2.289_393e-8);
    let gradient = near(grad[0], -2.289_393e-8) && grad[4..] == [0.0; 4];

    let mut losses = [9.0; 2];
    BinaryCrossEntropy::new().exec(exec).loss_per_element(
        &[0.0_f32, -100.0],
        2,
        &[1.0, 0.0],
        &mut losses,
    )?;
    let binary_cross_entropy = near(losses[0], LN_2) && losses[1] == EXP_MINUS_100;

    let mut state = RowState::new(0, Some(0))?.exec(exec);
    state.update(&confident[..4])?;
    let state = RowState::from_bytes(&state.to_bytes())?.exec(exec);
    state.grad(1, &confident[1..4], 1.0, &mut grad[4..7])?;
    let parts = state.loss()? == loss && grad[4..7] == grad[1..4];

    // Two rows beside each other.
    let halves = [0.0, 7.0, 0.0, f32::NEG_INFINITY].map(f16::from_f32);
    let mut beside = [MaybeUninit::uninit(); 4];
    exec.softmax(&halves, Shape::axis(2, 2), &mut beside)?;
    // SAFETY: all of them have been written.
    let beside = beside.map(|p| unsafe { p.assume_init() }.to_f32());
    let copied = beside == [0.5, 1.0, 0.5, 0.0];
    let mut doubles = [9.0_f64; 4];
    exec.softmax(&[0.0_f64, 30.0, 0.0, 0.0], Shape::axis(2, 2), &mut doubles)?;
    let doubles = doubles[0] == 0.5 && (doubles[3] / 9.357_622_968_839_299e-14 - 1.0).abs() < 1e-15;
    // There is no memory for copies but the stack.
    let long_rows = exec.max(&[f16::ONE; 20_000])? == 1.0
        && exec
            .logsumexp(&[f16::ONE; 20_000], 20_000, &mut [0.0])
            .is_err();

    let mut untouched = [9.0; 4];
    let error = exec.softmax(&[0.0_f32; 4], 3, &mut untouched);
    let (len, classes) = (4, 3);
    let errors = error == Err(Error::Shape { len, classes }) && untouched == [9.0; 4];

    Ok([
        softmax,
        extremes,
        log_softmax,
        logsumexp,
        softmax_backward,
        log_softmax_backward,
        exp,
        sigmoid,
        max,
        sum,
        cross_entropy,
        gradient,
        binary_cross_entropy,
        parts,
        copied,
        doubles,
        long_rows,
        errors,
    ])
}

/// Equal to 6 ULP, which every backend keeps: the exact bounds are tested elsewhere.
fn near(x: f32, expected: f32) -> bool {
    (x - expected).abs() <= 6.0 * f32::EPSILON * expected.abs()
}
