//! The sections of the output: each does its part of the work and prints what comes of it.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Instant;

use softlane::{Backend, BinaryCrossEntropy, CrossEntropy};

use crate::data::{DIGITS, Data};
use crate::labels::{self, LABELS, NAMES};
use crate::linear::{Linear, STEPS};
use crate::progress::Progress;
use crate::speed::compare;
use crate::{confident, exclusive};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What runs, and on what.
pub fn opening(data: &Data) -> Outcome<()> {
    writeln!(
        stdout(),
        "softlane, backend {}: {} digit images to train on, {} held out (every fifth)",
        Backend::active()?.name(),
        data.train.digits.len(),
        data.held_out.digits.len(),
    )?;
    Ok(())
}

/// Ten digits, of which an image shows exactly one.
pub fn digits(data: &Data) -> Outcome<Linear> {
    writeln!(
        stdout(),
        "\n1. Which digit? Softmax regression (CrossEntropy), {STEPS} steps; the loss includes the penalty\n"
    )?;
    let (start, progress) = (Instant::now(), Progress::new()?);
    let images = data.train.digits.len() as f32;
    let model = exclusive::train(&data.train, |step, loss, model| {
        progress.step(step, || {
            let accuracy = exclusive::accuracy(model, &data.held_out);
            Ok(format!(
                "loss {:.4}   held-out accuracy {accuracy:.3}",
                loss / images
            ))
        })
    })?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        stdout(),
        "\n   held out: accuracy {:.3}, log-loss {:.3}, after {seconds:.2} s",
        exclusive::accuracy(&model, &data.held_out),
        exclusive::log_loss(&model, &data.held_out)?,
    )?;
    if data.bundled {
        writeln!(stdout(), "   scikit-learn (C = 1): 0.967, 0.150")?;
    }
    Ok(model)
}

/// Four labels, of which an image has any number.
pub fn labels(data: &Data) -> Outcome<Linear> {
    let (train, held_out) = (&data.train, &data.held_out);
    let state = |loss: f32, probs: &[f32]| {
        let all = labels::accuracy(probs, held_out, 0.5).all;
        let loss = loss / train.digits.len() as f32;
        format!("loss {loss:.4}   held-out accuracy, all four labels {all:.3}")
    };

    writeln!(
        stdout(),
        "\n2. Which labels? Four logistic classifiers (BinaryCrossEntropy)\n"
    )?;
    let progress = Progress::new()?;
    let logistic = labels::train_logistic(train, |step, loss, model| {
        let probs = || labels::logistic_probs(model, held_out);
        progress.step(step, || Ok(state(loss, &probs()?)))
    })?;

    writeln!(
        stdout(),
        "\n   The same by one softmax over the four labels (CrossEntropy)\n"
    )?;
    let progress = Progress::new()?;
    let softmax = labels::train_softmax(train, |step, loss, model| {
        let probs = || labels::softmax_probs(model, held_out);
        progress.step(step, || Ok(state(loss, &probs()?)))
    })?;

    let cut = labels::best_cut(&labels::softmax_probs(&softmax, train)?, train);
    label_tables(
        data,
        &labels::logistic_probs(&logistic, held_out)?,
        &labels::softmax_probs(&softmax, held_out)?,
        cut,
    )?;
    Ok(logistic)
}

/// What sigmoids and a softmax make of the same labels.
fn label_tables(data: &Data, sigmoids: &[f32], softmax: &[f32], cut: f32) -> Outcome<()> {
    let held_out = &data.held_out;
    let heads = NAMES.map(|(name, _)| format!("{name:>12}")).concat();
    let row = |name: &str, labels: [f32; LABELS], last: f32| {
        let labels = labels.map(|number| format!("{number:12.3}")).concat();
        writeln!(stdout(), "   {name:34}{labels}{last:10.3}")
    };

    writeln!(stdout(), "\n   {:34}{heads}  all four", "held-out accuracy")?;
    let tuned = format!("softmax, yes if p >= {cut:.2} *");
    for (name, probs, cut) in [
        ("four sigmoids, yes if p >= 0.50", sigmoids, 0.5),
        ("softmax, yes if p >= 0.50", softmax, 0.5),
        (&tuned, softmax, cut),
    ] {
        let accuracy = labels::accuracy(probs, held_out, cut);
        row(name, accuracy.labels, accuracy.all)?;
    }
    if data.bundled {
        row(
            "scikit-learn (C = 1), logistic",
            [0.919, 0.875, 0.950, 0.919],
            0.760,
        )?;
    }
    writeln!(stdout(), "   * the best on the training images")?;

    writeln!(
        stdout(),
        "\n   {:34}{heads}       sum",
        "mean probability p, held-out"
    )?;
    for (digit, has) in [(8, "an 8 (three labels)"), (1, "a 1 (no label)")] {
        for (name, probs) in [("four sigmoids", sigmoids), ("softmax", softmax)] {
            if let Some(p) = labels::mean_probs(probs, held_out, digit) {
                row(&format!("{has}, {name}"), p, p.iter().sum())?;
            }
        }
    }
    writeln!(
        stdout(),
        "
   Exactly one answer is right, as with the ten digits: CrossEntropy. Its softmax shares out one
   yes, so its probabilities add up to 1.
   Any number of answers is right, as with these labels: BinaryCrossEntropy. Each label has a yes
   and a no of its own; a softmax cannot give an 8 all three of its labels, nor a 1 none."
    )?;
    Ok(())
}

/// What plain `f32` loses.
pub fn confident_rows() -> Outcome<()> {
    writeln!(
        stdout(),
        "\n3. Confident rows: the loss, and its gradient at the target, class 0\n"
    )?;
    writeln!(
        stdout(),
        "   {:16}{:10}{:>16}{:>16}{:>16}",
        "logits",
        "",
        "plain f32",
        "softlane",
        "exact (f64)"
    )?;
    for margin in [10.0, 20.0, 50.0] {
        let logits = [margin, 0.0, 1.0, 2.0];
        let plain = confident::plain(&logits, 0);
        let softlane = confident::softlane(&logits, 0)?;
        let exact = confident::exact(&logits, 0);
        let name = format!("{logits:.0?}");
        for (name, what, plain, softlane, exact) in [
            (name.as_str(), "loss", plain.0, softlane.0, exact.0),
            ("", "gradient", plain.1, softlane.1, exact.1),
        ] {
            writeln!(
                stdout(),
                "   {name:16}{what:10}{plain:16.6e}{softlane:16.6e}{exact:16.6e}"
            )?;
        }
    }
    Ok(())
}

/// The kernels that did the work, against the scalar path.
pub fn speed(data: &Data, digits: &Linear, labels: &Linear) -> Outcome<()> {
    const WIDE: [usize; 2] = [64, 1000];
    let images = &data.train;
    let rows = images.digits.len();
    let (by_digit, by_label) = (digits.logits(images), labels.logits(images));
    let targets = labels::targets(images);
    let wide: Vec<_> = by_digit
        .iter()
        .copied()
        .cycle()
        .take(WIDE[0] * WIDE[1])
        .collect();
    let mut digit_grad = vec![0.0; by_digit.len()];
    let mut label_grad = vec![0.0; by_label.len()];
    let mut probs = vec![0.0; wide.len()];

    let timings = [
        (
            "CrossEntropy, loss and gradient",
            [rows, DIGITS],
            compare(|exec| {
                let loss = CrossEntropy::new().exec(exec);
                loss.loss_and_grad(&by_digit, DIGITS, &images.digits, &mut digit_grad)
            })?,
        ),
        (
            "BinaryCrossEntropy, loss and gradient",
            [rows, LABELS],
            compare(|exec| {
                let loss = BinaryCrossEntropy::new().exec(exec);
                loss.loss_and_grad(&by_label, LABELS, &targets, &mut label_grad)
            })?,
        ),
        (
            "softmax",
            WIDE,
            compare(|exec| exec.softmax(&wide, WIDE[1], &mut probs))?,
        ),
    ];

    writeln!(
        stdout(),
        "\n4. Speed on one thread: ns per element, medians of runs in turn\n\n   {:38}{:>14}{:>10}{:>10}{:>10}",
        "",
        "rows x classes",
        "scalar",
        Backend::active()?.name(),
        "ratio"
    )?;
    for (name, [rows, classes], times) in timings {
        let per_element = |time: f64| time / (rows * classes) as f64;
        writeln!(
            stdout(),
            "   {name:38}{:>14}{:10.2}{:10.2}{:10.1}",
            format!("{rows} x {classes}"),
            per_element(times.scalar),
            per_element(times.active),
            times.scalar / times.active,
        )?;
    }
    Ok(())
}
