//! How fast softlane is on tensors of candle, beside candle's own operations, forward and backward, and how exact both are.
//!
//! `cargo run --release --manifest-path examples/candle/Cargo.toml`: eight seconds. Both sides have one thread, unless `CANDLE_NUM_THREADS` says how many candle has. With
//! `MALLOC_TOP_PAD_=67108864`, glibc keeps the memory that a backward pass frees, for the next one.

#[path = "../../ndarray/src/turns.rs"]
mod turns;

use std::env;
use std::process::{Command, ExitCode};

use candle_core::{D, DType, Device, Error, Result, Tensor, Var};
use candle_nn::{loss, ops};
use softlane::Backend;
use softlane_candle::{cross_entropy, log_softmax, softmax};
use turns::compare;

fn main() -> Result<ExitCode> {
    // candle reads it once. It has threads of its own besides rayon's.
    const THREADS: &str = "CANDLE_NUM_THREADS";
    if env::var_os(THREADS).is_none() {
        let status = Command::new(env::current_exe()?)
            .env(THREADS, "1")
            .status()?;
        return Ok(ExitCode::from(u8::from(!status.success())));
    }
    // From inside its only thread, rayon calls without waking another.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(Error::wrap)?.install(report)?;
    Ok(ExitCode::SUCCESS)
}

fn report() -> Result<()> {
    println!(
        "nanoseconds per element with softlane (backend {}), with candle's own operation, and the second divided by the first:\n",
        Backend::active().map_err(Error::wrap)?.name()
    );
    let works = [
        ((6553, 10), DType::F32),
        ((65, 1000), DType::F32),
        ((65, 1000), DType::BF16),
    ];
    for (shape, dtype) in works {
        let x = logits(shape)?.to_dtype(dtype)?;
        let targets = targets(shape)?;
        let elements = x.elem_count() as f64;
        let line = |what: &str, [softlane, candle, ratio]: [f64; 3]| {
            let [softlane, candle] = [softlane, candle].map(|time| time / elements);
            let what = format!("{what}, {shape:?} of {}", dtype.as_str());
            println!("{what:44} {softlane:6.2} {candle:6.2} {ratio:6.1}");
        };
        let times = compare(|| softmax(&x, D::Minus1), || ops::softmax_last_dim(&x));
        line("softmax", times);
        let times = compare(
            || log_softmax(&x, D::Minus1),
            || ops::log_softmax(&x, D::Minus1),
        );
        line("log-softmax", times);
        let times = compare(
            || cross_entropy(&x, &targets),
            || loss::cross_entropy(&x, &targets),
        );
        line("loss", times);

        let x = Var::from_tensor(&x)?;
        let times = compare(
            || grad(&x, &cross_entropy(&x, &targets)?),
            || grad(&x, &loss::cross_entropy(&x, &targets)?),
        );
        line("loss, backward", times);
        // candle's `softmax_last_dim` has no backward pass.
        let times = compare(
            || grad(&x, &softmax(&x, D::Minus1)?),
            || grad(&x, &ops::softmax(&x, D::Minus1)?),
        );
        line("softmax, backward", times);
    }

    let x = logits((65, 1000))?;
    let exact = ops::softmax(&x.to_dtype(DType::F64)?, D::Minus1)?;
    println!(
        "\nlargest error of a probability, relative to it, in 2^-24: {:.1} with softlane, {:.1} with candle's own",
        largest_error(&softmax(&x, D::Minus1)?, &exact)?,
        largest_error(&ops::softmax_last_dim(&x)?, &exact)?,
    );
    Ok(())
}

/// Forward was before; backward is here.
fn grad(x: &Var, y: &Tensor) -> Result<Option<Tensor>> {
    Ok(y.backward()?.remove(x))
}

/// Numbers from -8 to 8, the same in every run.
fn logits(shape: (usize, usize)) -> Result<Tensor> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 20) as f32 - 8.0
    };
    let x = std::iter::repeat_with(next).take(shape.0 * shape.1);
    Tensor::from_iter(x, &Device::Cpu)?.reshape(shape)
}

fn targets((rows, classes): (usize, usize)) -> Result<Tensor> {
    Tensor::from_iter((0..rows).map(|row| (row % classes) as u32), &Device::Cpu)
}

fn largest_error(p: &Tensor, exact: &Tensor) -> Result<f64> {
    let ratio = (p.to_dtype(DType::F64)? / exact)?;
    let largest: f64 = (ratio - 1.0)?.abs()?.max_all()?.to_scalar()?;
    Ok(largest * f64::from(1 << 24))
}
