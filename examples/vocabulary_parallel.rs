//! The loss of a classifier whose classes lie on several machines: each has the logits of some of the classes, none has all. Threads
//! stand for the machines, which send each other nothing but bytes, as over MPI: one state a row.
//!
//! ```text
//! cargo run --release --example vocabulary_parallel
//! ```

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use softlane::{Backend, CrossEntropy, Exec, RowState};

const ROWS: usize = 6;
/// That of a large language model. The last chunk is a short one.
const CLASSES: usize = 128_256;
/// No multiple of a chunk goes into it evenly: parts differ in size.
const MACHINES: usize = 5;
const CHUNK: usize = RowState::<f32>::CHUNK;

/// A message: the states of all rows, as one machine knows them.
type Message = Vec<[u8; RowState::<f32>::BYTES]>;
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What one machine has in the end.
struct Outcome {
    losses: Vec<f32>,
    /// Of its own classes, row by row.
    grad: Vec<f32>,
}

/// The logit of a class: any numbers will do.
fn logit(row: usize, class: usize) -> f32 {
    // Multiples of the golden section, stirred.
    let x = ((row * CLASSES + class) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (x ^ x >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    hash as f32 / 838_860.8 - 10.0
}

fn target(row: usize) -> usize {
    // One in each machine's part, and one more.
    (row * 25_600 + 2_077) % CLASSES
}

/// The first class of each machine, and the number of classes.
fn boundaries() -> Vec<usize> {
    let chunks = CLASSES.div_ceil(CHUNK);
    (0..=MACHINES)
        .map(|i| (i * chunks / MACHINES * CHUNK).min(CLASSES))
        .collect()
}

/// The state of a row, from those of its parts in any order: neighbours merge, and the others wait until they are.
fn merged(mut row: RowState, mut parts: Vec<RowState>) -> Fallible<RowState> {
    let is_neighbour =
        |row: &RowState, part: &RowState| part.end() == row.start() || part.start() == row.end();
    while let Some(i) = parts.iter().position(|part| is_neighbour(&row, part)) {
        row = row.merge(parts.swap_remove(i))?;
    }
    Ok(row)
}

/// The work of a machine, which has the classes from `start` to before `end`.
fn machine(
    start: usize,
    end: usize,
    others: &[Sender<Message>],
    inbox: &Receiver<Message>,
) -> Fallible<Outcome> {
    // Each thread is a machine, so none helps another.
    let exec = Exec::new().serial();
    let classes = end - start;
    let logits: Vec<f32> = (0..ROWS)
        .flat_map(|row| (start..end).map(move |class| logit(row, class)))
        .collect();

    // What this machine knows of each row, sent to all others; and what they know, in the order of arrival.
    let mut own = vec![];
    for (row, part) in logits.chunks(classes).enumerate() {
        let mut state = RowState::new(start, Some(target(row)))?.exec(exec);
        state.update(part)?;
        own.push(state);
    }
    for other in others {
        other.send(own.iter().map(RowState::to_bytes).collect())?;
    }
    let received: Vec<Message> = others
        .iter()
        .map(|_| inbox.recv())
        .collect::<Result<_, _>>()?;

    let mut outcome = Outcome {
        losses: vec![],
        grad: vec![0.0; logits.len()],
    };
    let parts = logits.chunks(classes).zip(outcome.grad.chunks_mut(classes));
    for (row, (part, grad)) in parts.enumerate() {
        let states = received
            .iter()
            .map(|message| RowState::from_bytes(&message[row]));
        let whole = merged(own[row], states.collect::<Result<_, _>>()?)?;
        outcome.losses.push(whole.loss()?);
        // Of the mean over the rows.
        whole.grad(start, part, 1.0 / ROWS as f64, grad)?;
    }
    Ok(outcome)
}

fn main() -> Fallible<()> {
    let boundaries = boundaries();
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..MACHINES).map(|_| channel()).unzip();
    let work = |(i, inbox): (usize, Receiver<Message>)| {
        let (start, end) = (boundaries[i], boundaries[i + 1]);
        let senders = senders.iter().enumerate();
        let others = senders.filter(|&(other, _)| other != i);
        let others: Vec<_> = others.map(|(_, sender)| sender.clone()).collect();
        move || machine(start, end, &others, &inbox)
    };
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let machines: Vec<_> = inboxes.into_iter().enumerate().map(work).collect();
        let machines: Vec<_> = machines.into_iter().map(|m| scope.spawn(m)).collect();
        let join = |machine: thread::ScopedJoinHandle<'_, _>| match machine.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("a machine broke down".into()),
        };
        machines.into_iter().map(join).collect::<Fallible<_>>()
    })?;

    // One machine that has all of it.
    let logits: Vec<f32> = (0..ROWS * CLASSES)
        .map(|i| logit(i / CLASSES, i % CLASSES))
        .collect();
    let targets: Vec<usize> = (0..ROWS).map(target).collect();
    let (mut losses, mut grad) = (vec![0.0; ROWS], vec![0.0; logits.len()]);
    let whole = CrossEntropy::new();
    whole.loss_per_row(&logits, CLASSES, &targets, &mut losses)?;
    whole.loss_and_grad(&logits, CLASSES, &targets, &mut grad)?;

    println!("{ROWS} rows of {CLASSES} classes on {MACHINES} machines");
    // Other backends promise no bits of a whole row.
    let is_promised = Backend::active()?.is_fused();
    for (i, outcome) in outcomes.iter().enumerate() {
        let (start, end) = (boundaries[i], boundaries[i + 1]);
        if !is_promised {
            println!(
                "machine {i}: classes {start:6}..{end:6}, losses {:?}",
                outcome.losses
            );
            continue;
        }
        assert_eq!(outcome.losses, losses, "the losses of machine {i}");
        for (row, part) in outcome.grad.chunks(end - start).enumerate() {
            let expected = &grad[row * CLASSES..][start..end];
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert!(bits(part) == bits(expected), "machine {i}, row {row}");
        }
        println!(
            "machine {i}: classes {start:6}..{end:6}, all losses and its gradient as in the whole rows, bit for bit"
        );
    }
    let sent = MACHINES * (MACHINES - 1) * ROWS * RowState::<f32>::BYTES;
    let all = logits.len() * size_of::<f32>();
    println!("losses: {losses:?}");
    println!("sent, all machines together: {sent} bytes; the logits are {all} bytes");
    Ok(())
}
