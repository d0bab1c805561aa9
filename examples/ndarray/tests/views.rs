//! Arrays and views of every layout and element type: the bits of dense rows, values against the plain formula in `f64`, what is around a view, and errors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use half::{bf16, f16};
use ndarray::{
    Array, Array2, Array3, ArrayD, ArrayRef, Axis, Dimension, Ix3, IxDyn, ShapeBuilder, array, s,
};
use softlane::{Backend, CrossEntropy, Element, Error, Reduction};
use softlane_ndarray::{
    cross_entropy, log_softmax, log_softmax_in_place, softmax, softmax_columns_in_place,
    softmax_in_place,
};

/// An element type, and what these tests need of it.
trait Number: Element<Real = f32> {
    fn from_f32(x: f32) -> Self;
    fn to_f64(self) -> f64;
    fn bits(self) -> u32;
    /// The spacing of its numbers.
    fn ulp(x: f64) -> f64;
}

/// Of a type with so many binary digits, whose least normal number is 2 to the power of `least`.
fn spacing(x: f64, digits: i32, least: i32) -> f64 {
    let exponent = x.abs().max(2_f64.powi(least)).log2().floor();
    2_f64.powi(exponent as i32 + 1 - digits)
}

impl Number for f32 {
    fn from_f32(x: f32) -> Self {
        x
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn bits(self) -> u32 {
        self.to_bits()
    }
    fn ulp(x: f64) -> f64 {
        spacing(x, 24, -126)
    }
}

impl Number for f16 {
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn ulp(x: f64) -> f64 {
        spacing(x, 11, -14)
    }
}

impl Number for bf16 {
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
    fn ulp(x: f64) -> f64 {
        spacing(x, 8, -126)
    }
}

/// Numbers from -8 to 8, that are the same in every run.
fn logits<T: Number, S: ShapeBuilder>(shape: S) -> Array<T, S::Dim> {
    let mut state = 1_u32;
    Array::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        T::from_f32((state >> 8) as f32 / (1 << 20) as f32 - 8.0)
    })
}

/// The worst error of softlane in ULP: what is derived where multiply-add is fused, and where it is not. (The scalar path has no such bound, and so is not tested here.) Of results
/// that are rounded to 16 bits, 0.501.
fn bound<T: Number>(fused: f64, otherwise: f64) -> f64 {
    let backend = Backend::active().unwrap();
    assert_ne!(backend.name(), "scalar");
    match (size_of::<T>(), backend.is_fused()) {
        (2, _) => 0.501,
        (_, true) => fused,
        (_, false) => otherwise,
    }
}

fn assert_close<T: Number>(got: T, exact: f64, bound: f64) {
    let error = (got.to_f64() - exact).abs() / T::ulp(exact);
    assert!(error <= bound, "{got:?}, not {exact:e}: {error} ULP");
}

/// Logits, how many classes a row has, and where the results go.
type Dense<T> = fn(&[T], usize, &mut [T]) -> Result<(), Error>;
type OutOfPlace<T> = fn(&ArrayRef<T, Ix3>, Axis) -> Result<Array3<T>, Error>;
type InPlace<T> = fn(&mut ArrayRef<T, Ix3>, Axis) -> Result<(), Error>;

/// Goes through views of an array of three axes, in any order: whole, and with what is not contiguous in some way.
fn for_each_view<T: Number>(mut f: impl FnMut(&str, &mut ArrayRef<T, Ix3>)) {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let array = || logits::<T, _>((4, 5, 7)).permuted_axes(order);
        let name = |view: &str| format!("{view} of axes {order:?}");
        f(&name("all"), &mut array());
        for axis in 0..3 {
            let axis = Axis(axis);
            let mut whole = array();
            f(
                &name("a part"),
                &mut whole.slice_axis_mut(axis, (1..3).into()),
            );
            let every_second = ndarray::Slice::new(0, None, 2);
            f(
                &name("every second"),
                &mut array().slice_axis_mut(axis, every_second),
            );
            let mut array = array();
            array.invert_axis(axis);
            f(&name("backward"), &mut array);
            f(
                &name("one, backward"),
                &mut array.slice_axis_mut(axis, (1..2).into()),
            );
            f(
                &name("none"),
                &mut array.slice_axis_mut(axis, (2..2).into()),
            );
        }
    }
}

/// The rows one after the other, and what softlane makes of each.
fn expected<T: Number, D: Dimension>(x: &ArrayRef<T, D>, axis: Axis, f: Dense<T>) -> Array<T, D> {
    let mut y = x.to_owned();
    for mut row in y.lanes_mut(axis) {
        let x = row.to_vec();
        let mut y = x.clone();
        f(&x, x.len(), &mut y).unwrap();
        row.iter_mut().zip(y).for_each(|(to, y)| *to = y);
    }
    y
}

fn assert_same<T: Number, D: Dimension>(name: &str, got: &Array<T, D>, expected: &Array<T, D>) {
    assert_eq!(got.shape(), expected.shape(), "{name}");
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.bits(), expected.bits(), "{name}");
    }
}

/// Of every view along every axis: the bits of its rows one after the other, the values of the formula, out of place and in place.
fn has_the_bits_of_dense_rows<T: Number>() {
    let dense: [Dense<T>; 2] = [
        |x, classes, y| softlane::softmax(x, classes, y),
        |x, classes, y| softlane::log_softmax(x, classes, y),
    ];
    let out_of_place: [OutOfPlace<T>; 2] = [softmax, log_softmax];
    let in_place: [InPlace<T>; 2] = [softmax_in_place, log_softmax_in_place];
    let bounds = [bound::<T>(2.9, 4.6), bound::<T>(1.6, 2.8)];
    let mut views = 0;
    for_each_view::<T>(|name, x| {
        for axis in (0..3).map(Axis) {
            for (i, dense) in dense.into_iter().enumerate() {
                let before = x.to_owned();
                let expected = expected(x, axis, dense);
                let y = out_of_place[i](x, axis).unwrap();
                assert_same(name, &y, &expected);
                for (x, y) in x.lanes(axis).into_iter().zip(y.lanes(axis)) {
                    let x = x.mapv(Number::to_f64);
                    for (class, &y) in y.iter().enumerate() {
                        // To those of this class.
                        let mut others = x.mapv(|other| (other - x[class]).exp());
                        others[class] = 0.0;
                        let others = others.sum();
                        let exact = [1.0 / (1.0 + others), -others.ln_1p()][i];
                        assert_close(y, exact, bounds[i]);
                    }
                }
                in_place[i](x, axis).unwrap();
                assert_same(name, &x.to_owned(), &expected);
                x.assign(&before);
            }
        }
        views += 1;
    });
    assert_eq!(views, 6 * (1 + 3 * 5));
}

#[test]
fn every_view_has_the_bits_of_dense_rows() {
    has_the_bits_of_dense_rows::<f32>();
    has_the_bits_of_dense_rows::<f16>();
    has_the_bits_of_dense_rows::<bf16>();
}

/// What is around a view stays as it is, whether the view is given or its columns.
#[test]
fn what_is_around_a_view_is_not_written() {
    for (rows, width) in [(0, 5), (1, 5), (7, 5), (9, 300), (33, 11)] {
        for columns in [
            0..0,
            0..1,
            1..4,
            0..5,
            4..5,
            2..width,
            width..width,
            0..width,
        ] {
            let wide = logits::<f32, _>((rows, width));
            let part = wide.slice(s![.., columns.clone()]);
            let probs = expected(&part, Axis(1), softlane::softmax);
            let mut expected = wide.clone();
            expected.slice_mut(s![.., columns.clone()]).assign(&probs);

            let mut x = wide.clone();
            softmax_in_place(&mut x.slice_mut(s![.., columns.clone()]), Axis(1)).unwrap();
            assert_same("a view", &x, &expected);
            let mut x = wide.clone();
            softmax_columns_in_place(&mut x, columns.clone()).unwrap();
            assert_same("columns", &x, &expected);
            // Columns of what is not in standard layout.
            let mut x = Array2::from_elem((rows, width).f(), 0.0);
            x.assign(&wide);
            softmax_columns_in_place(&mut x, columns.clone()).unwrap();
            assert_same("columns of another layout", &x, &expected);
        }
    }
}

#[test]
fn columns_that_are_not_there_are_an_error() {
    let x = logits::<f32, _>((2, 5));
    for (start, end) in [(3, 6), (6, 6), (4, 2), (usize::MAX, usize::MAX)] {
        let mut y = x.clone();
        let error = softmax_columns_in_place(&mut y, start..end);
        let (part, classes) = ([start, end], 5);
        assert_eq!(error, Err(Error::Part { part, classes }));
        assert_eq!(x, y);
    }
}

#[test]
fn axes_that_are_not_there_are_an_error() {
    let mut x = logits::<f32, _>((2, 5));
    let errors = [
        softmax(&x, Axis(2)).unwrap_err(),
        log_softmax(&x.t(), Axis(2)).unwrap_err(),
        softmax_in_place(&mut x, Axis(2)).unwrap_err(),
        log_softmax_in_place(&mut x.slice_mut(s![.., ..2]), Axis(2)).unwrap_err(),
        cross_entropy(CrossEntropy::new(), &x, Axis(2), &array![0, 1]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.to_string(),
            "axis is 2, which is not one of the array"
        );
    }
    assert_eq!(x, logits((2, 5)));
    assert!(softmax(&ndarray::arr0(1.0_f32), Axis(0)).is_err());
}

/// An array that repeats one element can be read as well.
#[test]
fn broadcasts_are_arrays_too() {
    let x = array![1.0_f32, 2.0, 3.0];
    let x = x.broadcast((2, 3)).unwrap();
    let p = softmax(&x, Axis(1)).unwrap();
    assert_same("", &p, &expected(&x, Axis(1), softlane::softmax));
    assert_eq!(softmax(&x, Axis(0)).unwrap(), Array::from_elem((2, 3), 0.5));
}

/// Loss and gradient of every view along every axis, with classes in every layout: the bits of rows one after the other, and the values of the formula.
fn has_the_loss_of_dense_rows<T: Number>() {
    let loss = CrossEntropy::new();
    for_each_view::<T>(|name, x| {
        for axis in (0..3).map(Axis) {
            let classes = x.len_of(axis);
            let mut lengths = x.shape().to_vec();
            lengths.remove(axis.index());
            if classes == 0 {
                continue;
            }
            let mut row = 0;
            let targets = Array::from_shape_simple_fn(IxDyn(&lengths), || {
                row += 7;
                row % classes
            });
            let rows = targets.len();
            let dense: Vec<T> = x.lanes(axis).into_iter().flatten().copied().collect();
            let flat: Vec<usize> = targets.iter().copied().collect();
            let mut dense_grad = dense.clone();
            let dense_loss = loss.loss_and_grad(&dense, classes, &flat, &mut dense_grad);
            let dense_loss = dense_loss.unwrap();

            let mut grad = Array::from_elem(x.raw_dim(), T::from_f32(0.0));
            for (mut lane, row) in grad
                .lanes_mut(axis)
                .into_iter()
                .zip(dense_grad.chunks(classes))
            {
                lane.iter_mut().zip(row).for_each(|(to, &g)| *to = g);
            }
            let mut backward = targets.clone();
            for axis in 0..backward.ndim() {
                backward.invert_axis(Axis(axis));
                backward = backward.as_standard_layout().into_owned();
                backward.invert_axis(Axis(axis));
            }
            assert_eq!(targets, backward);
            let results = [
                cross_entropy(loss, x, axis, &targets).unwrap(),
                cross_entropy(loss, x, axis, &backward).unwrap(),
            ];
            for (got_loss, got_grad) in results {
                assert_eq!(got_loss.to_bits(), dense_loss.to_bits(), "{name}");
                assert_same(name, &got_grad, &grad);
            }
            if rows == 0 {
                assert!(dense_loss.is_nan());
                continue;
            }
            let mut sum = 0.0;
            for (row, (x, g)) in dense
                .chunks(classes)
                .zip(dense_grad.chunks(classes))
                .enumerate()
            {
                for class in 0..classes {
                    let others = |without: usize| -> f64 {
                        let others = (0..classes).filter(|&other| other != without);
                        others
                            .map(|other| (x[other].to_f64() - x[class].to_f64()).exp())
                            .sum()
                    };
                    let exact = if class == flat[row] {
                        let others = others(class);
                        sum += others.ln_1p();
                        -others / (1.0 + others)
                    } else {
                        1.0 / (1.0 + others(class))
                    };
                    // Of the mean, one more product is rounded than of a probability.
                    assert_close(g[class], exact / rows as f64, bound::<T>(2.9, 4.6));
                }
            }
            assert_close(dense_loss, sum / rows as f64, bound::<f32>(1.1, 2.3));
        }
    });
}

#[test]
fn every_view_has_the_loss_of_dense_rows() {
    has_the_loss_of_dense_rows::<f32>();
    has_the_loss_of_dense_rows::<f16>();
    has_the_loss_of_dense_rows::<bf16>();
}

#[test]
fn losses_of_images_go_by_pixel() {
    let x = logits::<f32, _>((2, 3, 4, 5));
    let targets = Array::from_shape_fn((2, 4, 5), |(n, i, j)| (n + i + j) % 3);
    let (loss, grad) = cross_entropy(CrossEntropy::new(), &x, Axis(1), &targets).unwrap();
    let classes_last = x.view().permuted_axes([0, 2, 3, 1]);
    let last = cross_entropy(CrossEntropy::new(), &classes_last, Axis(3), &targets).unwrap();
    assert_eq!((loss, grad.permuted_axes([0, 2, 3, 1])), last);
}

#[test]
fn losses_have_options_and_distributions() {
    let x = array![[1.0_f32, 2.0, 3.0], [3.0, 0.0, -3.0]];
    let sum = CrossEntropy::new().reduction(Reduction::Sum);
    let (loss, grad) = cross_entropy(sum, &x, Axis(1), &array![0_i64, -100]).unwrap();
    let (first, _) = cross_entropy(sum, &x.slice(s![..1, ..]), Axis(1), &array![0_u8]).unwrap();
    assert_eq!(loss.to_bits(), first.to_bits());
    assert_eq!(grad.row(1), array![0.0, 0.0, 0.0]);

    // Each column is a row of two classes; the distributions are sure of the first one.
    let sure = array![[1.0_f32, 1.0, 1.0], [0.0, 0.0, 0.0]];
    let soft = cross_entropy(sum, &x, Axis(0), &sure).unwrap();
    let hard = cross_entropy(sum, &x, Axis(0), &array![0, 0, 0]).unwrap();
    assert_eq!(soft.0.to_bits(), hard.0.to_bits());
    let backward = cross_entropy(sum, &x, Axis(0), &sure.slice(s![.., ..;-1])).unwrap();
    assert_eq!(soft, backward);
}

#[test]
fn targets_that_do_not_fit_are_an_error() {
    let (loss, x) = (CrossEntropy::new(), logits::<f32, _>((2, 3, 4)));
    let length = |expected, found| Err(Error::Length { expected, found });
    let shapes: [(&[usize], _); 5] = [
        (&[4, 2], length(2, 4)),
        (&[2, 5], length(4, 5)),
        (&[8], length(2, 8)),
        (&[2], length(2, 1)),
        (&[2, 4, 1], length(2, 3)),
    ];
    for (shape, error) in shapes {
        let targets = ArrayD::<u8>::zeros(shape);
        assert_eq!(
            cross_entropy(loss, &x, Axis(1), &targets),
            error,
            "{shape:?}"
        );
    }
    // As many classes as there are logits.
    let targets = Array::<u8, _>::zeros(x.raw_dim());
    assert_eq!(cross_entropy(loss, &x, Axis(1), &targets), length(8, 24));
    let targets = array![[0, 1, 2, 0], [0, 3, 2, 0]];
    let (row, target, classes) = (5, 3, 3);
    let error = Error::Target {
        row,
        target,
        classes,
    };
    assert_eq!(cross_entropy(loss, &x, Axis(1), &targets), Err(error));
    let reversed = x.slice(s![.., ..;-1, ..]);
    assert_eq!(
        cross_entropy(loss, &reversed, Axis(1), &targets),
        Err(error)
    );
}
