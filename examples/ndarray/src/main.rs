//! How fast softlane is on arrays of `ndarray`, beside what one writes with `ndarray` alone, and how exact both are.
//!
//! `cargo run --release --manifest-path examples/ndarray/Cargo.toml`: five seconds. Both sides have one thread, as no batch here is large enough for more.

mod turns;

use std::error::Error;

use ndarray::{
    Array, Array1, Array2, ArrayView, ArrayView2, Axis, Dimension, RemoveAxis, ShapeBuilder, s,
};
use softlane::{Backend, CrossEntropy};
use softlane_ndarray::{cross_entropy, softmax, softmax_in_place};
use turns::compare;

/// What one writes with `ndarray` alone.
fn plain_softmax<D>(x: &ArrayView<'_, f32, D>, axis: Axis) -> Array<f32, D>
where
    D: RemoveAxis,
    D::Smaller: Dimension<Larger = D>,
{
    let max = x.map_axis(axis, |row| row.fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    let e = (x - &max.insert_axis(axis)).mapv_into(f32::exp);
    let sum = e.sum_axis(axis).insert_axis(axis);
    e / sum
}

/// The same for the mean loss of rows and its gradient.
fn plain_cross_entropy(x: &ArrayView2<'_, f32>, targets: &Array1<usize>) -> (f32, Array2<f32>) {
    let mut grad = plain_softmax(x, Axis(1));
    let mut loss = 0.0;
    for (mut row, &target) in grad.rows_mut().into_iter().zip(targets) {
        loss -= row[target].ln();
        row[target] -= 1.0;
    }
    let rows = targets.len() as f32;
    grad /= rows;
    (loss / rows, grad)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "nanoseconds per element with softlane (backend {}), with ndarray alone, and the second divided by the first:\n",
        Backend::active()?.name()
    );
    for shape in [(6553, 10), (1024, 64), (65, 1000)] {
        let x = logits(shape);
        let times = compare(
            || softmax(&x, Axis(1)),
            || plain_softmax(&x.view(), Axis(1)),
        );
        line(&format!("softmax, {shape:?}"), x.len(), times);
    }

    let x = logits((8, 64, 8, 16));
    let times = compare(
        || softmax(&x, Axis(1)),
        || plain_softmax(&x.view(), Axis(1)),
    );
    line("softmax, axis 1 of (8, 64, 8, 16)", x.len(), times);

    let x = logits((64, 1024).f());
    let times = compare(
        || softmax(&x, Axis(1)),
        || plain_softmax(&x.view(), Axis(1)),
    );
    line("softmax, (64, 1024), columns first", x.len(), times);

    let wide = logits((1024, 80));
    let x = wide.slice(s![.., 8..72]);
    let times = compare(
        || softmax(&x, Axis(1)),
        || plain_softmax(&x.view(), Axis(1)),
    );
    line("softmax, 64 columns of (1024, 80)", x.len(), times);

    let mut wide = logits((1024, 80));
    let mut other = wide.clone();
    let (mut x, mut y) = (
        wide.slice_mut(s![.., 8..72]),
        other.slice_mut(s![.., 8..72]),
    );
    let times = compare(
        || softmax_in_place(&mut x, Axis(1)),
        || {
            let p = plain_softmax(&y.view(), Axis(1));
            y.assign(&p);
        },
    );
    line("... in place", x.len(), times);

    for shape in [(6553, 10), (65, 1000)] {
        let x = logits(shape);
        let targets = Array::from_shape_fn(shape.0, |row| row % shape.1);
        let times = compare(
            || cross_entropy(CrossEntropy::new(), &x, Axis(1), &targets),
            || plain_cross_entropy(&x.view(), &targets),
        );
        line(&format!("loss and gradient, {shape:?}"), x.len(), times);
    }

    let x = logits((65, 1000));
    println!(
        "\nlargest error of a probability, relative to it, in 2^-24: {:.1} with softlane, {:.1} with ndarray alone",
        largest_error(&x, &softmax(&x, Axis(1))?),
        largest_error(&x, &plain_softmax(&x.view(), Axis(1))),
    );
    Ok(())
}

/// Numbers from -8 to 8, the same in every run.
fn logits<S: ShapeBuilder>(shape: S) -> Array<f32, S::Dim> {
    let mut state = 1_u32;
    Array::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 20) as f32 - 8.0
    })
}

fn line(what: &str, elements: usize, [softlane, plain, ratio]: [f64; 3]) {
    let [softlane, plain] = [softlane, plain].map(|time| time / elements as f64);
    println!("{what:36} {softlane:6.2} {plain:6.2} {ratio:6.1}");
}

/// Of rows of probabilities, against `f64`.
fn largest_error(x: &Array2<f32>, p: &Array2<f32>) -> f64 {
    let mut largest = 0.0_f64;
    for (x, p) in x.rows().into_iter().zip(p.rows()) {
        let e = x.mapv(|x| f64::from(x).exp());
        let exact = &e / e.sum();
        for (&p, exact) in p.iter().zip(exact) {
            largest = largest.max((f64::from(p) / exact - 1.0).abs());
        }
    }
    largest * f64::from(1 << 24)
}
