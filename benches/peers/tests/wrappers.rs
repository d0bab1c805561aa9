//! The wrappers over slices compute what softlane does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use softlane::{BinaryCrossEntropy, CrossEntropy};
use softlane_peers::{candle, rten};

const ROWS: usize = 7;
const CLASSES: usize = 33;

fn logits() -> Vec<f32> {
    (0..ROWS * CLASSES)
        .map(|i| 5.0 * (i as f32).sin())
        .collect()
}

fn near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        let near = (got - want).abs() <= 1e-4 * want.abs().max(1.0);
        assert!(near, "{got} instead of {want}");
    }
}

#[test]
fn elements() {
    let x = logits();
    let mut want = vec![0.0; x.len()];
    softlane::exp(&x, &mut want).unwrap();
    near(&rten::exp(&x), &want);
    near(&candle::exp(&x).unwrap(), &want);
    softlane::sigmoid(&x, &mut want).unwrap();
    near(&rten::sigmoid(&x), &want);
    near(&candle::sigmoid(&x).unwrap(), &want);
}

#[test]
fn slices() {
    let x = logits();
    let max = softlane::max(&x).unwrap();
    near(&[rten::max(&x), candle::max(&x).unwrap()], &[max; 2]);
    let sum = softlane::sum(&x).unwrap();
    near(&[rten::sum(&x), candle::sum(&x).unwrap()], &[sum; 2]);
}

#[test]
fn rows() {
    let x = logits();
    let mut want = vec![0.0; x.len()];
    softlane::softmax(&x, CLASSES, &mut want).unwrap();
    near(&rten::softmax(&x, CLASSES), &want);
    near(&candle::softmax(&x, CLASSES).unwrap(), &want);
    softlane::log_softmax(&x, CLASSES, &mut want).unwrap();
    near(&rten::log_softmax(&x, CLASSES), &want);
    near(&candle::log_softmax(&x, CLASSES).unwrap(), &want);
    softlane::logsumexp(&x, CLASSES, &mut want[..ROWS]).unwrap();
    near(&candle::logsumexp(&x, CLASSES).unwrap(), &want[..ROWS]);
}

#[test]
fn losses_and_gradients() {
    let x = logits();
    let mut want = vec![0.0; x.len()];
    let targets: Vec<u32> = (0..ROWS as u32).map(|row| 4 * row).collect();
    let loss = CrossEntropy::new()
        .loss_and_grad(&x, CLASSES, &targets, &mut want)
        .unwrap();
    near(
        &[candle::cross_entropy(&x, CLASSES, &targets).unwrap()],
        &[loss],
    );
    near(
        &candle::cross_entropy_gradient(&x, CLASSES, &targets).unwrap(),
        &want,
    );

    let labels: Vec<f32> = (0..x.len()).map(|i| (i % 2) as f32).collect();
    let loss = BinaryCrossEntropy::new()
        .loss_and_grad(&x, CLASSES, &labels, &mut want)
        .unwrap();
    near(
        &[candle::binary_cross_entropy(&x, CLASSES, &labels).unwrap()],
        &[loss],
    );
    near(
        &candle::binary_cross_entropy_gradient(&x, CLASSES, &labels).unwrap(),
        &want,
    );
}
