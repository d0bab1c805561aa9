//! The report, in Markdown.

use softlane::Backend;
use softlane_peers::about::{processor, version};

use crate::common::operations::TABLE;
use crate::implementation::Implementation;
use crate::measure::{CLASSES, Errors, Published, ROWS, Spread};

const COMMAND: &str = "cargo run --release --manifest-path benches/peers/Cargo.toml --bin accuracy";

pub fn markdown(
    implementations: &[Implementation],
    published: &[Published],
    spreads: &[Spread],
    corpus: &[Errors],
) -> String {
    format!(
        "\
# Accuracy

The largest errors found, in units in the last place (ULP), rounded up; inf where a finite result
came out as NaN or infinite. Measured on {processor} with `rten-vecmath` {rten}, `candle-core` and
`candle-nn` {candle}. This file and the picture are made by

```text
{COMMAND}
```

The rows, the exact results (`f64` with compensated sums) and the measure are those of
`tests/accuracy.rs`, which asserts the bounds.

- Columns named after a backend are softlane. Multiply-add is fused in {fused}. `scalar` is the usual formula, `x - max` rounded first, over the standard
  library's exponential.
- `rten-vecmath` and `candle` run what they have, each with the instruction set that it chooses;
  an operation that one lacks is left blank. Losses and gradients of a row are candle's mean over
  that row; its gradients are those of its backward pass.

## Probabilities against the spread of the logits

![Largest error of a probability against the spread of the logits](accuracy.svg)

Normally distributed logits, {ROWS} rows of {CLASSES} classes for each spread (standard deviation).
Beyond a spread of about 50, whatever has a probability is within a factor of two of the maximum, and
`x - max` is exact. Errors of millions are probabilities below 2^-126 that came out as 0.

{spreads}

## Published rows

Normally distributed logits; of these rows, errors of other libraries have been published.

{published}

## Every operation over the corpus

Rows of 0 to 1 000 003 classes, of every class in `tests/common/inputs.rs`: ordinary, wide, huge,
shifted, confident, nearly tied, masked, subnormal. An ULP is one of what the second column names.
The third is the bound that is asserted for backends whose multiply-add is fused.

{corpus}
",
        processor = processor(),
        rten = version("rten-vecmath"),
        candle = version("candle-core"),
        fused = fused(),
        spreads = spread_table(implementations, spreads),
        published = published_table(implementations, published),
        corpus = corpus_table(implementations, corpus),
    )
}

fn spread_table(implementations: &[Implementation], spreads: &[Spread]) -> String {
    // Every third point; the picture has them all.
    let rows = spreads.iter().step_by(3).map(|spread| {
        let first = [format!("{:.3}", spread.spread)];
        row(first, &spread.errors)
    });
    table(&["spread"], implementations, rows)
}

fn published_table(implementations: &[Implementation], published: &[Published]) -> String {
    let rows = published.iter().map(|set| {
        let case = set.case;
        let first = [
            format!("`{}`", set.operation),
            format!("{} x {}, {}", case.rows, case.classes, case.name()),
        ];
        row(first, &set.errors)
    });
    let first = ["operation", "rows x classes, spread"];
    table(&first, implementations, rows)
}

fn corpus_table(implementations: &[Implementation], corpus: &[Errors]) -> String {
    let rows = TABLE.iter().zip(corpus).map(|(operation, errors)| {
        let first = [
            operation.name.to_owned(),
            // A bar would end the cell.
            operation.measure.replace('|', "\\|"),
            operation.bound.fused.to_string(),
        ];
        row(first, errors)
    });
    let first = ["operation", "ULP of", "bound"];
    table(&first, implementations, rows)
}

/// The cells before those of the implementations, and theirs.
fn row<const N: usize>(first: [String; N], errors: &Errors) -> Vec<String> {
    let errors = errors
        .iter()
        .map(|error| error.map_or_else(String::new, figure));
    first.into_iter().chain(errors).collect()
}

fn table(
    first: &[&str],
    implementations: &[Implementation],
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let names = implementations.iter().map(|x| format!("`{}`", x.name()));
    let header: Vec<String> = first.iter().map(|&x| x.to_owned()).chain(names).collect();
    let line = vec!["---".to_owned(); header.len()];
    let lines = [header, line].into_iter().chain(rows);
    let lines = lines.map(|cells| format!("| {} |", cells.join(" | ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Rounded up: the error is no larger.
pub fn figure(error: f64) -> String {
    let up = |digits: i32| {
        let scale = 10_f64.powi(digits);
        (error * scale).ceil() / scale
    };
    match error {
        0.0 => "0".to_owned(),
        _ if error < 10.0 => format!("{:.2}", up(2)),
        _ if error < 1e4 => format!("{:.0}", up(0)),
        _ => format!("{error:.1e}"),
    }
}

/// The backends whose multiply-add is fused.
fn fused() -> String {
    let fused = Backend::available().filter(|backend| backend.is_fused());
    let names: Vec<_> = fused
        .map(|backend| format!("`{}`", backend.name()))
        .collect();
    names.join(" and ")
}
