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
    let backend = Backend::active()?.name();
    let (train, held_out) = (data.train.digits.len(), data.held_out.digits.len());
    writeln!(
        stdout(),
        "softlane, backend {backend}: {train} digit images to train on, {held_out} held out (every fifth)"
    )?;
    Ok(())
}

/// Ten digits, of which an image shows exactly one.
pub fn digits(data: &Data) -> Outcome<Linear> {
    let mut out = stdout();
    writeln!(
        out,
        "\n1. Which digit? Softmax regression (CrossEntropy), {STEPS} steps"
    )?;
    writeln!(
        out,
        "   loss: mean over the images, with the penalty on the weights\n"
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
    let accuracy = exclusive::accuracy(&model, &data.held_out);
    let log_loss = exclusive::log_loss(&model, &data.held_out)?;
    writeln!(
        out,
        "\n   held out: accuracy {accuracy:.3}, log-loss {log_loss:.3}, after {seconds:.2} s"
    )?;
    let start = Instant::now();
    let fused = exclusive::train_fused(&data.train, |_, _, _| Ok(()))?;
    let seconds = start.elapsed().as_secs_f64();
    let accuracy = exclusive::accuracy(&fused, &data.held_out);
    let log_loss = exclusive::log_loss(&fused, &data.held_out)?;
    writeln!(
        out,
        "   the same by LinearCrossEntropy: {accuracy:.3}, {log_loss:.3}, after {seconds:.2} s"
    )?;
    if data.bundled {
        writeln!(out, "   scikit-learn (C = 1): 0.967, 0.150")?;
    }
    Ok(model)
}

/// Four labels, of which an image has any number.
pub fn labels(data: &Data) -> Outcome<Linear> {
    let mut out = stdout();
    let (train, held_out) = (&data.train, &data.held_out);
    let state = |loss: f32, probs: &[f32]| {
        let loss = loss / train.digits.len() as f32;
        let all = labels::accuracy(probs, held_out, 0.5).all;
        format!("loss {loss:.4}   held-out accuracy, all four labels {all:.3}")
    };

    writeln!(
        out,
        "\n2. Which labels? Four logistic classifiers (BinaryCrossEntropy)\n"
    )?;
    let progress = Progress::new()?;
    let logistic = labels::train_logistic(train, |step, loss, model| {
        progress.step(step, || {
            Ok(state(loss, &labels::logistic_probs(model, held_out)?))
        })
    })?;

    writeln!(
        out,
        "\n   The same by one softmax over the four labels (CrossEntropy)\n"
    )?;
    let progress = Progress::new()?;
    let softmax = labels::train_softmax(train, |step, loss, model| {
        progress.step(step, || {
            Ok(state(loss, &labels::softmax_probs(model, held_out)?))
        })
    })?;

    let cut = labels::best_cut(&labels::softmax_probs(&softmax, train)?, train);
    let sigmoids = labels::logistic_probs(&logistic, held_out)?;
    let softmax = labels::softmax_probs(&softmax, held_out)?;
    compare_labels(data, &sigmoids, &softmax, cut)?;
    Ok(logistic)
}

/// What four sigmoids and one softmax make of the same labels.
fn compare_labels(data: &Data, sigmoids: &[f32], softmax: &[f32], cut: f32) -> Outcome<()> {
    let mut out = stdout();
    let names = NAMES.map(|name| format!("{name:>12}")).concat();
    let row = |name: &str, labels: [f32; LABELS], last: f32| {
        let labels = labels.map(|number| format!("{number:12.3}")).concat();
        format!("   {name:34}{labels}{last:10.3}")
    };

    writeln!(out, "\n   {:34}{names}  all four", "held-out accuracy")?;
    for (name, probs, cut) in [
        ("four sigmoids, yes if p >= 0.50", sigmoids, 0.5),
        ("softmax, yes if p >= 0.50", softmax, 0.5),
        (&format!("softmax, yes if p >= {cut:.2} *"), softmax, cut),
    ] {
        let accuracy = labels::accuracy(probs, &data.held_out, cut);
        writeln!(out, "{}", row(name, accuracy.labels, accuracy.all))?;
    }
    if data.bundled {
        let anchors = [0.919, 0.875, 0.950, 0.919];
        writeln!(
            out,
            "{}",
            row("scikit-learn (C = 1), logistic", anchors, 0.760)
        )?;
    }
    writeln!(out, "   * what is best on the training images")?;

    writeln!(out, "\n   {:34}{names}       sum", "mean held-out p of")?;
    for (digit, name) in [(8, "an 8 (three labels)"), (1, "a 1 (no label)")] {
        for (model, probs) in [("four sigmoids", sigmoids), ("softmax", softmax)] {
            if let Some(p) = labels::mean_probs(probs, &data.held_out, digit) {
                writeln!(
                    out,
                    "{}",
                    row(&format!("{name}, {model}"), p, p.iter().sum())
                )?;
            } else {
                writeln!(out, "   {name}: none is held out")?;
                break;
            }
        }
    }
    writeln!(
        out,
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
    let mut out = stdout();
    writeln!(
        out,
        "\n3. Confident rows: the loss, and its gradient at the target, class 0\n"
    )?;
    let heads = ["plain f32", "softlane", "exact (f64)"].map(|head| format!("{head:>16}"));
    writeln!(out, "   {:26}{}", "logits", heads.concat())?;
    for margin in [10.0, 20.0, 50.0] {
        let logits = [margin, 0.0, 1.0, 2.0];
        let plain = confident::plain(&logits, 0);
        let ours = confident::softlane(&logits, 0)?;
        let exact = confident::exact(&logits, 0);
        let name = format!("{logits:.0?}");
        writeln!(
            out,
            "   {name:16}loss      {:16.6e}{:16.6e}{:16.6e}",
            plain.0, ours.0, exact.0
        )?;
        writeln!(
            out,
            "   {:16}gradient  {:16.6e}{:16.6e}{:16.6e}",
            "", plain.1, ours.1, exact.1
        )?;
    }
    writeln!(
        out,
        "
   Beside the target's 1 the other weights vanish from a sum in f32: the loss becomes 0, and the
   row teaches nothing more. softlane keeps the sum of the others apart."
    )?;
    Ok(())
}

/// The kernels that did the work, and softmax of wide rows, against the scalar path.
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
    let (mut digit_grad, mut label_grad) = (by_digit.clone(), by_label.clone());
    let mut probs = wide.clone();

    let cross_entropy = compare(|exec| {
        let loss = CrossEntropy::new().exec(exec);
        loss.loss_and_grad(&by_digit, DIGITS, &images.digits, &mut digit_grad)
    })?;
    let binary_cross_entropy = compare(|exec| {
        let loss = BinaryCrossEntropy::new().exec(exec);
        loss.loss_and_grad(&by_label, LABELS, &targets, &mut label_grad)
    })?;
    let softmax = compare(|exec| exec.softmax(&wide, WIDE[1], &mut probs))?;

    let mut out = stdout();
    let backend = Backend::active()?.name();
    writeln!(
        out,
        "\n4. Speed on one thread: ns per element, medians of runs in turn\n"
    )?;
    writeln!(
        out,
        "   {:38}{:>14}{:>10}{backend:>10}{:>10}",
        "", "rows x classes", "scalar", "ratio"
    )?;
    for (name, [rows, classes], times) in [
        (
            "CrossEntropy, loss and gradient",
            [rows, DIGITS],
            cross_entropy,
        ),
        (
            "BinaryCrossEntropy, loss and gradient",
            [rows, LABELS],
            binary_cross_entropy,
        ),
        ("softmax", WIDE, softmax),
    ] {
        let elements = (rows * classes) as f64;
        let shape = format!("{rows} x {classes}");
        let (scalar, active) = (times.scalar / elements, times.active / elements);
        let ratio = scalar / active;
        writeln!(
            out,
            "   {name:38}{shape:>14}{scalar:10.2}{active:10.2}{ratio:10.1}"
        )?;
    }
    Ok(())
}
