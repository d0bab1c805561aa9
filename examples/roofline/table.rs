//! Some of the figures, as a Markdown table.

use crate::common::IN_CACHE;
use crate::limits::LIMITS;
use crate::measure::Measured;

/// The class counts that are shown.
const SHOWN: [usize; 2] = [10, 1000];

pub fn print(measured: &Measured, processor: &str) {
    println!("{processor}, 1 thread\n");
    let mut before = 0;
    for (i, &classes) in measured.classes.iter().enumerate() {
        // Smaller rows make a batch of the same size.
        let elements = classes.max(IN_CACHE);
        if elements != before {
            let limits = LIMITS.iter().zip(&measured.limits);
            let limits = limits.map(|(limit, speeds)| format!("{} {:.1}", limit.name, speeds[i]));
            let limits = limits.collect::<Vec<_>>().join(", ");
            println!("limits, {elements} elements: {limits} elements per nanosecond");
        }
        before = elements;
    }
    let first = measured.backends[0];
    println!("\nelements per nanosecond (times {first}):\n");
    let names = measured.backends.join(" | ");
    println!("| operation | classes | {names} |");
    println!("| --- | --- |{}", " --- |".repeat(measured.backends.len()));
    for operation in &measured.operations {
        for shown in SHOWN {
            if let Some(i) = measured.classes.iter().position(|&x| x == shown) {
                let speeds: Vec<_> = operation.speeds.iter().map(|line| line[i]).collect();
                println!("| {} | {shown} | {} |", operation.name, cells(&speeds));
            }
        }
    }
    println!();
}

fn cells(speeds: &[f64]) -> String {
    let cells = speeds.iter().enumerate().map(|(i, speed)| match i {
        0 => format!("{speed:.2}"),
        _ => format!("{speed:.2} ({:.1})", speed / speeds[0]),
    });
    cells.collect::<Vec<_>>().join(" | ")
}
