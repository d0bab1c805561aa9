//! The loss of a classifier whose classes lie on several ranks, compared with that of one process bit for bit, and what its reductions cost.
//!
//! ```text
//! cargo build --release
//! mpirun -n 4 target/release/softlane-mpi [rows] [classes]
//! ```
//!
//! As root, `mpirun` asks for `--allow-run-as-root`, and on fewer cores than ranks for `--oversubscribe`. With `--die <rank>` in front, that rank breaks down
//! before its step; with `--err <rank>`, it has an error in it.

use std::error::Error;
use std::hint::black_box;
use std::process::{self, ExitCode};
use std::time::Instant;

use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use softlane::{Backend, CrossEntropy, RowState};
use softlane_mpi::{State, loss_and_grad, maxima, merged, own_share, share};

/// Steps, and reductions, of which the fastest counts: others may be at work on the machine.
const STEPS: usize = 15;

type Fallible<T> = Result<T, Box<dyn Error>>;

struct Arguments {
    rows: usize,
    classes: usize,
    /// The rank that breaks down, if any.
    dies: Option<i32>,
    /// The rank that has an error, if any.
    errs: Option<i32>,
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Fallible<Arguments> {
    // The classes are those of a large language model. The last chunk is a short one.
    let (mut sizes, mut dies, mut errs) = ([16, 128_256], None, None);
    let mut next = sizes.iter_mut();
    while let Some(argument) = arguments.next() {
        let mut rank = || Fallible::Ok(Some(arguments.next().ok_or("which rank?")?.parse()?));
        match argument.as_str() {
            "--die" => dies = rank()?,
            "--err" => errs = rank()?,
            size => *next.next().ok_or("no more than rows and classes")? = size.parse()?,
        }
    }
    let [rows, classes] = sizes;
    if classes == 0 {
        return Err("no classes".into());
    }
    Ok(Arguments {
        rows,
        classes,
        dies,
        errs,
    })
}

/// The logit of a class: any numbers will do, but for the last of eight rows, which are special.
fn logit(row: usize, class: usize, classes: usize) -> f32 {
    // Multiples of the golden section, stirred.
    let x = ((row * classes + class) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (x ^ x >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    let x = hash as f32 / 838_860.8 - 10.0;
    let is_special = class == (row * 9973 + 5000) % classes;
    match row % 8 {
        // Without its maximum beforehand, it would have other bits in parts than whole.
        4 => 1e5 + x,
        5 if is_special => f32::NAN,
        6 => f32::NEG_INFINITY,
        7 if is_special => f32::INFINITY,
        _ => x,
    }
}

fn target(row: usize, classes: usize) -> usize {
    (row * 25_600 + 2_077) % classes
}

/// The fewest seconds that this takes, on this rank.
fn fastest(world: &SimpleCommunicator, mut step: impl FnMut() -> Fallible<()>) -> Fallible<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..STEPS {
        // All begin at once.
        world.barrier();
        let start = Instant::now();
        step()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

/// The bits of a number; of NaN, that it is one.
fn bits(x: f32) -> u32 {
    if x.is_nan() { u32::MAX } else { x.to_bits() }
}

fn run(world: &SimpleCommunicator) -> Fallible<()> {
    let Arguments {
        rows,
        classes,
        dies,
        errs,
    } = arguments(std::env::args().skip(1))?;
    let part = own_share(world, classes);
    let targets: Vec<usize> = (0..rows).map(|row| target(row, classes)).collect();
    let logits: Vec<f32> = (0..rows)
        .flat_map(|row| part.clone().map(move |class| logit(row, class, classes)))
        .collect();
    let mut grad = vec![0.0; logits.len()];
    let scale = 1.0 / rows as f64;

    if dies == Some(world.rank()) {
        eprintln!("rank {}: breaks down", world.rank());
        process::abort();
    }
    if errs.is_some() {
        // One number is missing there.
        let end = logits.len() - usize::from(errs == Some(world.rank()));
        let result = loss_and_grad(world, classes, &logits[..end], &targets, scale, &mut grad);
        let mut count = 0;
        let is_err = i32::from(result.is_err());
        world.all_reduce_into(&is_err, &mut count, SystemOperation::sum());
        if world.rank() == 0 {
            println!("ranks with an error: {count} of {}", world.size());
        }
        result?;
    }
    let losses = loss_and_grad(world, classes, &logits, &targets, scale, &mut grad)?;
    if rows == 0 {
        println!("rank {}: no rows, no losses", world.rank());
        return Ok(());
    }
    compare(world, classes, &targets, &losses, &grad)?;

    let step = fastest(world, || {
        loss_and_grad(world, classes, &logits, &targets, scale, &mut grad)?;
        Ok(())
    })?;

    // The same in its parts, as `loss_and_grad` has them.
    let row = |i: usize| i * part.len()..(i + 1) * part.len();
    let own_max = |i: usize| softlane::max(&logits[row(i)]);
    let own_maxima: Vec<f32> = (0..rows).map(own_max).collect::<Result<_, _>>()?;
    let all_maxima = maxima(world, &own_maxima);
    let own_state = |i: usize| -> Fallible<State> {
        let mut state = RowState::with_max(part.start, Some(targets[i]), all_maxima[i])?;
        state.update(&logits[row(i)])?;
        Ok(State::new(Some(&state)))
    };
    let own_states: Vec<State> = (0..rows).map(own_state).collect::<Result<_, _>>()?;
    let all_states = merged(world, &own_states);

    let of_maxima = fastest(world, || {
        black_box(maxima(world, &own_maxima));
        Ok(())
    })?;
    let of_states = fastest(world, || {
        black_box(merged(world, &own_states));
        Ok(())
    })?;
    let of_kernels = fastest(world, || {
        for i in 0..rows {
            black_box(own_max(i)?);
        }
        for i in 0..rows {
            black_box(own_state(i)?);
        }
        for (i, state) in all_states.iter().enumerate() {
            let state = state.get().ok_or("a row without state")?;
            state.grad(part.start, &logits[row(i)], scale, &mut grad[row(i)])?;
        }
        Ok(())
    })?;
    if world.rank() == 0 {
        let bytes = [size_of::<f32>(), RowState::<f32>::BYTES].map(|bytes| bytes * rows);
        let [step, kernels] = [step, of_kernels].map(|seconds| 1e6 * seconds);
        let [maxima, states] = [of_maxima, of_states].map(|seconds| 1e6 * seconds);
        println!("maxima:  {maxima:10.1} us, {} bytes", bytes[0]);
        println!("states:  {states:10.1} us, {} bytes", bytes[1]);
        println!("kernels: {kernels:10.1} us");
        println!("step:    {step:10.1} us");
    }
    Ok(())
}

/// Compares the losses and the gradient of all ranks with those of one process.
fn compare(
    world: &SimpleCommunicator,
    classes: usize,
    targets: &[usize],
    losses: &[f32],
    grad: &[f32],
) -> Fallible<()> {
    let first = world.process_at_rank(0);
    if world.rank() != 0 {
        first.gather_into(losses);
        first.gather_varcount_into(grad);
        return Ok(());
    }
    let rows = targets.len();
    let ranks = world.size().unsigned_abs() as usize;
    let parts: Vec<_> = (0..ranks).map(|rank| share(classes, ranks, rank)).collect();

    let mut all_losses = vec![0.0; ranks * rows];
    first.gather_into_root(losses, &mut all_losses);
    let mut all_grads = vec![0.0; rows * classes];
    let counts = parts.iter().map(|part| i32::try_from(rows * part.len()));
    let counts: Vec<i32> = counts.collect::<Result<_, _>>()?;
    let begins = parts.iter().map(|part| i32::try_from(rows * part.start));
    let begins: Vec<i32> = begins.collect::<Result<_, _>>()?;
    let mut partition = PartitionMut::new(&mut all_grads[..], counts, begins);
    first.gather_varcount_into_root(grad, &mut partition);

    let logits: Vec<f32> = (0..rows)
        .flat_map(|row| (0..classes).map(move |class| logit(row, class, classes)))
        .collect();
    let (mut whole_losses, mut whole_grad) = (vec![0.0; rows], vec![0.0; logits.len()]);
    let whole = CrossEntropy::new();
    whole.loss_per_row(&logits, classes, targets, &mut whole_losses)?;
    whole.loss_and_grad(&logits, classes, targets, &mut whole_grad)?;

    // The scalar backend promises no bits of a whole row.
    let backend = Backend::active()?.name();
    let is_promised = backend != "scalar";
    println!("{rows} rows of {classes} classes on {ranks} ranks, backend {backend}");
    for (rank, part) in parts.iter().enumerate() {
        let own_losses = &all_losses[rank * rows..][..rows];
        let own_grad = &all_grads[rows * part.start..][..rows * part.len()];
        for row in 0..rows {
            let expected = whole_grad[row * classes..][part.clone()].iter();
            let found = own_grad[row * part.len()..][..part.len()].iter();
            let is_same = bits(own_losses[row]) == bits(whole_losses[row])
                && expected.map(|&x| bits(x)).eq(found.map(|&x| bits(x)));
            if is_promised && !is_same {
                return Err(
                    format!("rank {rank}, row {row}: other bits than in the whole row").into(),
                );
            }
        }
        println!("rank {rank}: classes {:7}..{:7}", part.start, part.end);
    }
    if is_promised {
        println!("same bits: all losses and gradients as in one process");
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(universe) = mpi::initialize() else {
        eprintln!("MPI does not begin");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    if let Err(error) = run(&world) {
        // At once: lines of several ranks would mix.
        let message = format!("rank {}: {error}\n", world.rank());
        eprint!("{message}");
        // Others may wait for this one.
        world.abort(1);
    }
    ExitCode::SUCCESS
}
