//! How many times the speed of one thread all of them reach, as a Markdown table: softmax of batches and of single long rows, and its
//! backward pass, by how the calls come. Of the times of all calls the longest twentieth is left out, and the mean taken: it shows what one call in
//! some pays for waking threads. Everything is measured twice, in about two minutes.

#![expect(clippy::unwrap_used, reason = "an operation that fails is not timed")]

#[path = "common/processor.rs"]
mod processor;

use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, thread};

use processor::processor;
use softlane::Exec;

/// Operation, rows and classes.
const WORK: [(&str, Call, usize, usize); 12] = [
    ("softmax", softmax, 64, 1000),
    ("softmax", softmax, 128, 1000),
    ("softmax", softmax, 256, 1000),
    ("softmax", softmax, 1024, 1000),
    ("softmax", softmax, 4096, 1000),
    ("softmax", softmax, 100_000, 10),
    ("softmax", softmax, 1, 128_256),
    ("softmax", softmax, 1, 262_144),
    ("softmax", softmax, 1, 1_000_003),
    ("softmax", softmax, 3, 1_000_003),
    ("softmax backward", backward, 1, 262_144),
    ("softmax backward", backward, 1, 1_000_003),
];

/// A call with its source, the number of classes, and where to write.
type Call = fn(Exec, &[f32], usize, &mut [f32]);

fn softmax(exec: Exec, x: &[f32], classes: usize, y: &mut [f32]) {
    exec.softmax(x, classes, y).unwrap();
}

/// Of the source as probabilities and as gradients: any numbers do.
fn backward(exec: Exec, x: &[f32], classes: usize, dx: &mut [f32]) {
    exec.softmax_backward(x, x, classes, dx).unwrap();
}

/// How the calls come, and what is done before each that is timed.
const HABITS: [(&str, Habit); 3] = [
    ("one after the other", Habit::Row),
    ("in turn with work on one thread", Habit::Turn),
    ("after 2 ms of sleep", Habit::Sleep),
];

#[derive(Clone, Copy)]
enum Habit {
    Row,
    Turn,
    Sleep,
}

fn main() {
    // As criterion has it: with `--test`, or without `--bench` (`cargo test`), see that it runs.
    let has = |name| env::args().any(|option| option == name);
    let time = if has("--bench") && !has("--test") {
        Duration::from_secs(1)
    } else {
        Duration::ZERO
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {threads} threads beside 1\n", processor());
    let names = HABITS.map(|(name, _)| name).join(" | ");
    println!("| operation | rows x classes | microseconds on 1 thread | {names} |");
    println!("| --- | --- | --- |{}", " --- |".repeat(HABITS.len()));
    for (name, make, rows, classes) in WORK {
        // The speed does not depend on what they are.
        let logit = |i| (i * 7919 % 97) as f32 / 10.0;
        let x: Vec<f32> = (0..rows * classes).map(logit).collect();
        let mut y = vec![0.0; rows * classes];
        let measured = HABITS
            .map(|(_, habit)| [(); 2].map(|()| means(time, habit, make, (&x, classes), &mut y)));
        let [[[alone, _], _], ..] = measured;
        let cells = measured.map(|times| {
            let [a, b] = times.map(|[one, all]| one / all);
            format!("{a:.2}, {b:.2}")
        });
        let cells = cells.join(" | ");
        println!(
            "| {name} | {rows} x {classes} | {:.0} | {cells} |",
            1e6 * alone
        );
    }
}

/// The mean times in seconds of a call on one thread and of one on all.
fn means(
    time: Duration,
    habit: Habit,
    make: Call,
    (x, classes): (&[f32], usize),
    y: &mut [f32],
) -> [f64; 2] {
    let mut call = |exec: Exec| {
        let x = black_box(x);
        let start = Instant::now();
        make(exec, x, classes, black_box(&mut *y));
        start.elapsed().as_secs_f64()
    };
    let mut times = [const { Vec::new() }; 2];
    let start = Instant::now();
    while times[1].is_empty() || start.elapsed() < time {
        for (times, exec) in times.iter_mut().zip([Exec::new().serial(), Exec::new()]) {
            match habit {
                Habit::Row => times.extend((0..50).map(|_| call(exec))),
                Habit::Turn => {
                    call(Exec::new().serial());
                    times.push(call(exec));
                }
                Habit::Sleep => {
                    thread::sleep(Duration::from_millis(2));
                    // So that the caches hold the batch again.
                    call(Exec::new().serial());
                    times.push(call(exec));
                }
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        let most = times.len() - times.len() / 20;
        times[..most].iter().sum::<f64>() / most as f64
    })
}
