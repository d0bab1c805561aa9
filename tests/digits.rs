//! The parts of the example `digits`: what it says of a file that is not right, and that its models
//! are as good as they should be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/digits/confident.rs"]
mod confident;
#[path = "../examples/digits/data.rs"]
mod data;
#[path = "../examples/digits/exclusive.rs"]
mod exclusive;
#[path = "../examples/digits/labels.rs"]
mod labels;
#[path = "../examples/digits/linear.rs"]
mod linear;

use std::path::Path;

use approx::{assert_abs_diff_eq, assert_relative_eq};
use data::{Data, PIXELS};
use labels::{LABELS, NAMES};
use linear::STEPS;
use softlane::Backend;

/// The file of the example.
const CSV: &str = include_str!("../examples/data/digits.csv");

fn bundled() -> Data {
    data::read(None).unwrap()
}

/// What is wrong with the first ten lines of the file after a change to them.
fn error(change: impl Fn(&mut Vec<String>)) -> String {
    let mut lines: Vec<String> = CSV.lines().take(10).map(str::to_owned).collect();
    change(&mut lines);
    data::parse("digits.csv", &lines.join("\n")).unwrap_err()
}

/// The line with the value at a position, which counts from 1, replaced.
fn replaced(line: &str, position: usize, value: &str) -> String {
    let mut values: Vec<&str> = line.split(',').collect();
    values[position - 1] = value;
    values.join(",")
}

#[test]
fn every_fifth_image_is_held_out() {
    let data = bundled();
    assert!(data.bundled);
    assert_eq!(data.train.features.dim(), (1438, PIXELS + 1));
    assert_eq!(data.held_out.features.dim(), (359, PIXELS + 1));

    let digits: Vec<u8> = CSV
        .lines()
        .map(|line| line.as_bytes()[line.len() - 1] - b'0')
        .collect();
    let held_out: Vec<u8> = digits.iter().skip(4).step_by(5).copied().collect();
    assert_eq!(data.held_out.digits, held_out);
}

#[test]
fn features_are_pixels_from_their_mean_and_a_one() {
    let data = bundled();
    let features = &data.train.features;
    // The pixel at (0, 4) is 9 in the first image, 13 in the second. Each difference from the mean
    // is below 1, and rounded by 2^-25 at most.
    let difference = features[(1, 4)] - features[(0, 4)];
    assert_abs_diff_eq!(difference, 4.0 / 16.0, epsilon = f32::EPSILON);
    for (feature, column) in features.columns().into_iter().enumerate() {
        let mean = column.iter().map(|&x| f64::from(x)).sum::<f64>() / 1438.0;
        let expected = if feature == PIXELS { 1.0 } else { 0.0 };
        // Sixteenths add up exactly, so a mean was rounded once and each difference once.
        assert_abs_diff_eq!(mean, expected, epsilon = f64::from(f32::EPSILON));
    }
}

#[test]
fn line_ends_blank_lines_and_spaces_do_not_matter() {
    let loose = CSV.replace(',', " ,\t").replace('\n', " \r\n\r\n") + "  \n";
    let (loose, data) = (data::parse("loose.csv", &loose).unwrap(), bundled());
    assert!(!loose.bundled);
    for (loose, data) in [(loose.train, data.train), (loose.held_out, data.held_out)] {
        assert_eq!(loose.features, data.features);
        assert_eq!(loose.digits, data.digits);
    }
}

#[test]
fn a_line_too_short_or_too_long_is_named() {
    let short = error(|lines| lines[6] = ["7"; 12].join(","));
    assert_eq!(short, "digits.csv, line 7: expected 65 numbers, found 12");
    let long = error(|lines| lines[9] += ",0");
    assert_eq!(long, "digits.csv, line 10: expected 65 numbers, found 66");
    let after_blank_lines = error(|lines| {
        lines[1].clear();
        lines[2] = "5".to_owned();
    });
    assert_eq!(
        after_blank_lines,
        "digits.csv, line 3: expected 65 numbers, found 1"
    );
}

#[test]
fn a_pixel_that_is_none_is_named() {
    for value in [
        "abc", "", "-1", "16.5", "NaN", "inf", "1 2", "0x1", "\u{fffd}",
    ] {
        assert_eq!(
            error(|lines| lines[2] = replaced(&lines[2], 64, value)),
            format!(
                "digits.csv, line 3: expected a number from 0 to 16 as value 64, found {value:?}"
            )
        );
    }
    let long = error(|lines| lines[0] = replaced(&lines[0], 1, &"9".repeat(1000)));
    assert_eq!(
        long,
        "digits.csv, line 1: expected a number from 0 to 16 as value 1, found \"99999999999999999999\""
    );
}

#[test]
fn a_digit_that_is_none_is_named() {
    for value in ["10", "-1", "3.5", "", "seven", "NaN"] {
        assert_eq!(
            error(|lines| lines[4] = replaced(&lines[4], 65, value)),
            format!(
                "digits.csv, line 5: expected a digit from 0 to 9 as value 65, found {value:?}"
            )
        );
    }
}

#[test]
fn too_few_images_are_an_error() {
    let expected = "expected at least 5 images, one of them to hold out, found";
    assert_eq!(
        error(Vec::clear),
        format!("digits.csv, line 1: {expected} 0")
    );
    assert_eq!(
        error(|lines| lines.truncate(4)),
        format!("digits.csv, line 5: {expected} 4")
    );
    let five: Vec<&str> = CSV.lines().take(5).collect();
    assert_eq!(
        data::parse("five.csv", &five.join("\n"))
            .unwrap()
            .held_out
            .digits,
        [4]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = data::read(Some(Path::new("no/such.csv"))).unwrap_err();
    let expected = "no/such.csv: expected a file of 65 numbers a line, but cannot read it: ";
    assert!(error.starts_with(expected), "{error}");
}

/// Checks that the losses of a training run fall, and end at the minimum, which is that of the same
/// function by 20000 steps in `f64`.
///
/// A loss with its penalty is a sum of terms of one sign, rounded to `f32` less than 2^7 times on
/// its way (the 640 squares of the penalty are summed in eight parts), so two compare to within
/// 2^-16.
fn assert_settles(losses: &[f32], minimum: f32) {
    const ROUNDING: f32 = 1.0 / 65536.0;
    assert_eq!(losses.len(), STEPS);
    assert!(losses.iter().all(|loss| loss.is_finite()));
    for (step, pair) in losses.windows(2).enumerate() {
        assert!(
            pair[1] <= pair[0] * (1.0 + ROUNDING),
            "step {step}: {pair:?}"
        );
    }
    assert_relative_eq!(losses[STEPS - 1], minimum, max_relative = ROUNDING);
}

#[test]
fn softmax_regression_is_as_good_as_scikit_learn() {
    let data = bundled();
    let mut losses = Vec::new();
    let model = exclusive::train(&data.train, |_, loss, _| {
        losses.push(loss);
        Ok(())
    })
    .unwrap();
    assert_settles(&losses, 314.793_27);

    let accuracy = exclusive::accuracy(&model, &data.held_out);
    let log_loss = exclusive::log_loss(&model, &data.held_out).unwrap();
    println!("accuracy {accuracy:.4}, log-loss {log_loss:.4}");
    // scikit-learn (C = 1) on the same split, to three decimals: 0.967 and 0.150.
    assert!(accuracy >= 0.965, "{accuracy}");
    assert_abs_diff_eq!(log_loss, 0.150, epsilon = 0.001);

    losses.clear();
    let fused = exclusive::train_fused(&data.train, |_, loss, _| {
        losses.push(loss);
        Ok(())
    })
    .unwrap();
    assert_settles(&losses, 314.793_27);
    let same = exclusive::accuracy(&fused, &data.held_out);
    assert_eq!(same.to_bits(), accuracy.to_bits());
    let same = exclusive::log_loss(&fused, &data.held_out).unwrap();
    assert_relative_eq!(same, log_loss, max_relative = 1e-4);
}

#[test]
fn logistic_classifiers_are_as_good_as_scikit_learn() {
    let data = bundled();
    let mut losses = Vec::new();
    let model = labels::train_logistic(&data.train, |_, loss, _| {
        losses.push(loss);
        Ok(())
    })
    .unwrap();
    assert_settles(&losses, 1193.1031);

    let probs = labels::logistic_probs(&model, &data.held_out).unwrap();
    let accuracy = labels::accuracy(&probs, &data.held_out, 0.5);
    println!("{accuracy:?}");
    // scikit-learn (C = 1) on the same split, less 0.01.
    let anchors = [0.919, 0.875, 0.950, 0.919].map(|anchor: f32| anchor - 0.01);
    for ((name, accuracy), anchor) in NAMES.iter().zip(accuracy.labels).zip(anchors) {
        assert!(accuracy >= anchor, "{name}: {accuracy}");
    }
    assert!(accuracy.all >= 0.760 - 0.01, "{}", accuracy.all);
}

#[test]
fn softmax_is_the_wrong_choice_for_labels_that_do_not_exclude_each_other() {
    let Data {
        train, held_out, ..
    } = bundled();
    let mut losses = Vec::new();
    let softmax = labels::train_softmax(&train, |_, loss, _| {
        losses.push(loss);
        Ok(())
    })
    .unwrap();
    assert_settles(&losses, 2422.724);
    let logistic = labels::train_logistic(&train, |_, _, _| Ok(())).unwrap();
    let by_softmax = labels::softmax_probs(&softmax, &held_out).unwrap();
    let by_sigmoid = labels::logistic_probs(&logistic, &held_out).unwrap();

    // Each of the four is rounded to f32, and so is their sum.
    for probs in by_softmax.chunks(LABELS) {
        assert_abs_diff_eq!(probs.iter().sum::<f32>(), 1.0, epsilon = 4.0 * f32::EPSILON);
    }
    // It cannot say yes to the three labels of an 8.
    let yes = |probs: &[f32], digit| {
        let mean = labels::mean_probs(probs, &held_out, digit).unwrap();
        mean.map(|p| p > 0.5)
    };
    assert_eq!(yes(&by_sigmoid, 8), labels::labels_of(8));
    assert_eq!(yes(&by_softmax, 8), [false; LABELS]);

    let best = labels::best_cut(&labels::softmax_probs(&softmax, &train).unwrap(), &train);
    let all = |probs, cut| labels::accuracy(probs, &held_out, cut).all;
    assert!(all(&by_softmax, 0.5) < all(&by_softmax, best));
    assert!(all(&by_softmax, best) < all(&by_sigmoid, 0.5));
}

#[test]
fn labels_are_those_of_the_digits() {
    let having = |label: usize| {
        (0..10)
            .filter(|&digit| labels::labels_of(digit)[label])
            .collect()
    };
    let digits: [Vec<u8>; LABELS] = std::array::from_fn(having);
    let expected = [
        vec![0, 2, 4, 6, 8],
        vec![5, 6, 7, 8, 9],
        vec![2, 3, 5, 7],
        vec![0, 6, 8, 9],
    ];
    assert_eq!(digits, expected);
}

#[test]
fn softlane_keeps_what_plain_f32_loses() {
    let row = [20.0, 0.0, 1.0, 2.0];
    assert_eq!(confident::plain(&row, 0), (0.0, 0.0));
    if Backend::active().unwrap().name() == "scalar" {
        // The scalar path is the plain formula.
        assert_eq!(confident::softlane(&row, 0).unwrap(), (0.0, 0.0));
        return;
    }
    for margin in 1..=80 {
        let row = [0.0, margin as f32, 1.0, -2.0];
        let (loss, grad) = confident::softlane(&row, 1).unwrap();
        let exact = confident::exact(&row, 1);
        for (ours, exact) in [(loss, exact.0), (grad, exact.1)] {
            // `CrossEntropy` promises 3 ULP; an ULP is at most `f32::EPSILON` times the number.
            let bound = 3.0 * f64::from(f32::EPSILON) * exact.abs();
            assert_abs_diff_eq!(f64::from(ours), exact, epsilon = bound);
        }
    }
}
