//! Values, gradients, layouts and errors. What is exact is candle's own operation in `f64`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::optim::{Optimizer, SGD};
use candle_nn::{Module, VarBuilder, VarMap, loss, ops};
use softlane::Backend;
use softlane_candle::{cross_entropy, log_softmax, softmax};

const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Numbers from `-scale` to `scale`, which differ with the seed.
fn numbers(shape: &[usize], seed: u32, scale: f64, dtype: DType) -> Tensor {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        scale * (f64::from(state >> 8) / f64::from(1 << 23) - 1.0)
    };
    let numbers = std::iter::repeat_with(next).take(shape.iter().product());
    let numbers = Tensor::from_iter(numbers, &Device::Cpu).unwrap();
    numbers.to_dtype(dtype).unwrap().reshape(shape).unwrap()
}

/// Classes of so many.
fn classes(shape: &[usize], classes: usize, dtype: DType) -> Tensor {
    let targets = (0..shape.iter().product::<usize>()).map(|row| (row * 7 % classes) as u32);
    let targets = Tensor::from_iter(targets, &Device::Cpu).unwrap();
    targets.to_dtype(dtype).unwrap().reshape(shape).unwrap()
}

fn exactly(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F64).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    exactly(x).flatten_all().unwrap().to_vec1().unwrap()
}

fn grad(x: &Var, loss: &Tensor) -> Tensor {
    loss.backward().unwrap().remove(x).unwrap()
}

/// An element type: its binary digits, and the exponent of its least normal number.
fn digits(dtype: DType) -> (i32, i32) {
    match dtype {
        DType::F32 => (24, -126),
        DType::F16 => (11, -14),
        DType::BF16 => (8, -126),
        _ => unreachable!(),
    }
}

/// The most that an ULP can be of a number.
fn unit(dtype: DType) -> f64 {
    2_f64.powi(1 - digits(dtype).0)
}

/// The spacing of numbers.
fn ulp(x: f64, dtype: DType) -> f64 {
    let (digits, least) = digits(dtype);
    let exponent = x.abs().max(2_f64.powi(least)).log2().floor();
    2_f64.powi(exponent as i32 + 1 - digits)
}

/// The worst error of softlane in ULP: what is derived where multiply-add is fused, and where it is not. (The scalar path has no such bound, and so is not tested
/// here.) Of results that are rounded to 16 bits, 0.501.
fn bound(dtype: DType, fused: f64, otherwise: f64) -> f64 {
    let backend = Backend::active().unwrap();
    assert_ne!(backend.name(), "scalar");
    match (dtype, backend.is_fused()) {
        (DType::F32, true) => fused,
        (DType::F32, false) => otherwise,
        _ => 0.501,
    }
}

#[test]
fn probabilities_are_those_of_the_formula() {
    for dtype in TYPES {
        let x = numbers(&[3, 5, 7], 1, 8.0, dtype);
        for dim in 0..3 {
            let probs = [
                softmax(&x, dim).unwrap(),
                ops::softmax(&exactly(&x), dim).unwrap(),
            ];
            let log_probs = [
                log_softmax(&x, dim).unwrap(),
                ops::log_softmax(&exactly(&x), dim).unwrap(),
            ];
            let bounds = [bound(dtype, 2.9, 4.6), bound(dtype, 1.6, 2.8)];
            for ([got, exact], bound) in [probs, log_probs].into_iter().zip(bounds) {
                assert_eq!((got.dtype(), got.dims()), (dtype, x.dims()));
                for (got, exact) in values(&got).into_iter().zip(values(&exact)) {
                    let error = (got - exact).abs() / ulp(exact, dtype);
                    assert!(
                        error <= bound,
                        "{got}, not {exact}: {error} ULP of {dtype:?}"
                    );
                }
            }
        }
    }
}

/// Gradients of a weighted sum, whose weights `g` they are of.
///
/// For probabilities `p` with a relative error of `a`, that of `p (g - sum p g)` is at most `a p (|g| + 2 sum p |g|)`, and what the backward pass adds is counted in ULP of
/// the larger operand. For log-probabilities `y` with a relative error of `a`, that of `g - e^y sum g` is `a |y| e^y |sum g|`, and the same.
#[test]
fn gradients_are_those_of_the_formula() {
    for dtype in TYPES {
        let x = Var::from_tensor(&numbers(&[3, 5, 7], 1, 2.0, dtype)).unwrap();
        let weights = numbers(&[3, 5, 7], 2, 2.0, dtype);
        let exact_x = Var::from_tensor(&exactly(&x)).unwrap();
        let weighted_sum = |y: Result<Tensor>, weights: &Tensor| {
            (y.unwrap() * weights).unwrap().sum_all().unwrap()
        };
        let exact_weights = exactly(&weights);
        let total = |x: &Tensor, dim| x.sum_keepdim(dim).unwrap().broadcast_as(x.shape()).unwrap();
        for dim in 0..3 {
            let y = ops::log_softmax(&exact_x, dim).unwrap();
            let (p, g) = (y.exp().unwrap(), exact_weights.abs().unwrap());
            let means = values(&total(&(&p * &g).unwrap(), dim));
            let sums = values(&total(&exact_weights, dim));
            let (y, p, g) = (values(&y), values(&p), values(&g));

            let got = grad(&x, &weighted_sum(softmax(&x, dim), &weights));
            let exact = grad(
                &exact_x,
                &weighted_sum(ops::softmax(&exact_x, dim), &exact_weights),
            );
            assert_eq!((got.dtype(), got.dims()), (dtype, x.dims()));
            let errors = bound(dtype, 2.9, 4.6) + bound(dtype, 2.0, 2.75);
            for (i, (got, exact)) in values(&got).into_iter().zip(values(&exact)).enumerate() {
                let bound = 1.01 * errors * unit(dtype) * p[i] * (g[i] + 2.0 * means[i]);
                assert!(
                    (got - exact).abs() <= bound,
                    "{got}, not {exact}, of {dtype:?}"
                );
            }

            let got = grad(&x, &weighted_sum(log_softmax(&x, dim), &weights));
            let exact = grad(
                &exact_x,
                &weighted_sum(ops::log_softmax(&exact_x, dim), &exact_weights),
            );
            assert_eq!((got.dtype(), got.dims()), (dtype, x.dims()));
            let (of_y, of_grad) = (bound(dtype, 1.6, 2.8), bound(dtype, 2.8, 4.4));
            for (i, (got, exact)) in values(&got).into_iter().zip(values(&exact)).enumerate() {
                let other = p[i] * sums[i].abs();
                let bound = of_y * y[i].abs() * other + of_grad * (g[i] + other);
                let bound = 1.01 * unit(dtype) * bound;
                assert!(
                    (got - exact).abs() <= bound,
                    "{got}, not {exact}, of {dtype:?}"
                );
            }
        }
    }
}

/// With a gradient of the loss of 1, and of 3, which costs one more rounding.
#[test]
fn losses_and_their_gradients_are_those_of_the_formula() {
    for dtype in TYPES {
        for target_type in [DType::U8, DType::U32, DType::I64] {
            let x = Var::from_tensor(&numbers(&[9, 13], 1, 8.0, dtype)).unwrap();
            let targets = classes(&[9], 13, target_type);
            let exact_x = Var::from_tensor(&exactly(&x)).unwrap();
            let exact_targets = targets.to_dtype(DType::U32).unwrap();

            let got = cross_entropy(&x, &targets).unwrap();
            let exact = loss::cross_entropy(&exact_x, &exact_targets).unwrap();
            assert_eq!((got.dtype(), got.rank()), (dtype, 0));
            let detached = cross_entropy(&x.as_detached_tensor(), &targets).unwrap();
            assert_eq!(values(&got), values(&detached));
            let (loss, exact_loss) = (values(&got)[0], values(&exact)[0]);
            let error = (loss - exact_loss).abs() / ulp(exact_loss, dtype);
            assert!(error <= bound(dtype, 1.1, 2.3), "{error} ULP of {dtype:?}");

            let gradients = grad(&x, &got);
            assert_eq!((gradients.dtype(), gradients.dims()), (dtype, x.dims()));
            let tripled = values(&grad(&x, &got.affine(3.0, 0.0).unwrap()));
            let exact = values(&grad(&exact_x, &exact));
            let bound = bound(dtype, 2.9, 4.6);
            for (i, got) in values(&gradients).into_iter().enumerate() {
                let error = (got - exact[i]).abs() / ulp(exact[i], dtype);
                assert!(
                    error <= bound,
                    "{got}, not {}: {error} ULP of {dtype:?}",
                    exact[i]
                );
                let error = (tripled[i] - 3.0 * exact[i]).abs() - ulp(tripled[i], dtype) / 2.0;
                assert!(
                    error <= 3.01 * bound * ulp(exact[i], dtype),
                    "{}",
                    tripled[i]
                );
            }
        }
    }
}

#[test]
fn losses_of_images_go_by_pixel() {
    let x = Var::from_tensor(&numbers(&[2, 3, 4, 5], 1, 8.0, DType::F32)).unwrap();
    let targets = classes(&[2, 4, 5], 3, DType::U32);
    let pixels = x.permute((0, 2, 3, 1)).unwrap().reshape((40, 3)).unwrap();
    let losses = [
        cross_entropy(&x, &targets).unwrap(),
        cross_entropy(&pixels, &targets.flatten_all().unwrap()).unwrap(),
    ];
    assert_eq!(values(&losses[0]), values(&losses[1]));
    let [a, b] = losses.map(|loss| values(&grad(&x, &loss)));
    assert_eq!(a, b);
}

#[test]
fn ignored_rows_do_not_count() {
    let x = numbers(&[3, 4], 1, 8.0, DType::F32);
    let targets = Tensor::new(&[1_i64, -100, 3], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x).unwrap();
    let loss = cross_entropy(&x, &targets).unwrap();
    let counted = Tensor::new(&[0_u32, 2], &Device::Cpu).unwrap();
    let counted = x.index_select(&counted, 0).unwrap();
    let rest = cross_entropy(&counted, &Tensor::new(&[1_i64, 3], &Device::Cpu).unwrap()).unwrap();
    assert_eq!(values(&loss), values(&rest));
    let [a, b] = [loss, rest].map(|loss| values(&grad(&x, &loss)));
    assert_eq!(a, b);
    assert_eq!(a[4..8], [0.0; 4]);
}

/// Tensors that are transposed, have an offset, gaps, or one element for many, have the results of their copies; and their gradients go to where they come from.
#[test]
fn tensors_of_any_layout_are_taken() {
    let base = Var::from_tensor(&numbers(&[6, 8], 1, 2.0, DType::F32)).unwrap();
    let views: [fn(&Tensor) -> Result<Tensor>; 6] = [
        |x| x.t(),
        |x| x.narrow(0, 2, 3),
        |x| x.narrow(1, 2, 5),
        |x| x.t()?.narrow(0, 3, 4),
        |x| x.narrow(0, 1, 1)?.broadcast_as((4, 8)),
        |x| x.narrow(0, 1, 0),
    ];
    for view in views {
        let x = view(&base).unwrap();
        let copy = x.force_contiguous().unwrap();
        let targets = classes(&[x.dim(0).unwrap()], x.dim(1).unwrap(), DType::U32);
        let weights = numbers(x.dims(), 2, 2.0, DType::F32);
        // Gradients that are not contiguous.
        let weighted = |y: Tensor| (y.t()? * weights.t()?)?.sum_all();
        let results = |x: &Tensor| -> [Tensor; 5] {
            [
                softmax(x, 0).and_then(weighted).unwrap(),
                softmax(x, 1).and_then(weighted).unwrap(),
                log_softmax(x, 0).and_then(weighted).unwrap(),
                log_softmax(x, D::Minus1).and_then(weighted).unwrap(),
                cross_entropy(x, &targets).unwrap(),
            ]
        };
        for (of_view, of_copy) in results(&x).iter().zip(results(&copy)) {
            let bits = |x: &Tensor| values(x).into_iter().map(f64::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(of_view), bits(&of_copy));
            assert_eq!(bits(&grad(&base, of_view)), bits(&grad(&base, &of_copy)));
        }
    }
}

#[test]
fn tensors_of_nothing_are_taken() {
    for shape in [[0, 3], [3, 0], [0, 0]] {
        let x = Var::from_tensor(&numbers(&shape, 1, 2.0, DType::F32)).unwrap();
        for dim in 0..2 {
            for y in [softmax(&x, dim), log_softmax(&x, dim)] {
                let y = y.unwrap();
                assert_eq!(y.dims(), shape);
                let grad = grad(&x, &y.sum_all().unwrap());
                assert_eq!(grad.dims(), shape);
            }
        }
    }
}

/// A linear layer, whose gradients are compared with those of candle in `f64`, and which learns.
#[test]
fn a_layer_learns() {
    let parameters = VarMap::new();
    let builder = VarBuilder::from_varmap(&parameters, DType::F32, &Device::Cpu);
    let layer = candle_nn::linear(6, 4, builder).unwrap();
    let mut vars = parameters.all_vars();
    vars.sort_by_key(|var| var.rank());
    let [bias, weight] = &vars[..] else {
        unreachable!()
    };
    // The same in every run.
    bias.set(&numbers(&[4], 3, 0.5, DType::F32)).unwrap();
    weight.set(&numbers(&[4, 6], 4, 0.5, DType::F32)).unwrap();
    let features = numbers(&[20, 6], 1, 1.0, DType::F32);
    let targets = classes(&[20], 4, DType::U32);

    let [exact_bias, exact_weight] = [bias, weight].map(|x| Var::from_tensor(&exactly(x)).unwrap());
    let logits = exactly(&features)
        .matmul(&exact_weight.t().unwrap())
        .unwrap();
    let logits = logits.broadcast_add(&exact_bias).unwrap();
    let exact = loss::cross_entropy(&logits, &targets).unwrap();
    let got = cross_entropy(&layer.forward(&features).unwrap(), &targets).unwrap();
    for (var, exact_var) in [(bias, &exact_bias), (weight, &exact_weight)] {
        let exact = values(&grad(exact_var, &exact));
        let largest = exact.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        for (got, exact) in values(&grad(var, &got)).into_iter().zip(exact) {
            // Measured: 2.2e-7. The products are candle's, in `f32`.
            let error = (got - exact).abs() / largest;
            assert!(error <= 1e-6);
        }
    }

    let mut optimizer = SGD::new(vars.clone(), 0.5).unwrap();
    let mut before = f64::INFINITY;
    for _ in 0..20 {
        let loss = cross_entropy(&layer.forward(&features).unwrap(), &targets).unwrap();
        optimizer.backward_step(&loss).unwrap();
        let loss = values(&loss)[0];
        assert!(loss < before, "{loss} after {before}");
        before = loss;
    }
    assert!(before < 0.9 * values(&got)[0]);
}

/// What is exact to the other types, is but another way here: to the last bits of the larger logit.
#[test]
fn doubles() {
    let x = Var::from_tensor(&numbers(&[5, 7], 1, 8.0, DType::F64)).unwrap();
    let y = Var::from_tensor(&x).unwrap();
    let targets = classes(&[5], 7, DType::U32);
    let (found, expected) = (
        cross_entropy(&x, &targets).unwrap(),
        loss::cross_entropy(&y, &targets).unwrap(),
    );
    let pairs = [
        (softmax(&x, 1).unwrap(), ops::softmax(&y, 1).unwrap()),
        (grad(&x, &found), grad(&y, &expected)),
        (found, expected),
    ];
    for (found, expected) in pairs {
        assert_eq!(found.dtype(), DType::F64);
        for (found, expected) in values(&found).into_iter().zip(values(&expected)) {
            assert!((found - expected).abs() < 1e-14, "{found}, not {expected}");
        }
    }
}

#[test]
fn what_is_not_supported_is_an_error() {
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    let contains = |result, part: &str| {
        let message = message(result);
        assert!(message.contains(part), "{message}");
    };
    let x = numbers(&[2, 3], 1, 8.0, DType::F32);
    let targets = classes(&[2], 3, DType::U32);
    for dtype in [DType::U32, DType::I64] {
        let x = x.abs().unwrap().to_dtype(dtype).unwrap();
        let part = format!("elements of {dtype:?}");
        contains(softmax(&x, 1), &part);
        contains(log_softmax(&x, 1), &part);
        contains(cross_entropy(&x, &targets), &part);
    }
    contains(softmax(&x, 2), "out of range");
    contains(log_softmax(&x, 2), "out of range");
    contains(
        softmax(&Tensor::new(1.0_f32, &Device::Cpu).unwrap(), D::Minus1),
        "out of range",
    );
    contains(cross_entropy(&x, &exactly(&targets)), "targets of F64");
    contains(
        cross_entropy(&x, &classes(&[3], 3, DType::U32)),
        "targets of shape [3], not [2]",
    );
    contains(cross_entropy(&x, &x), "targets of shape [2, 3], not [2]");
    contains(
        cross_entropy(&x.get(0).unwrap(), &targets),
        "which have no classes",
    );
    let targets = Tensor::new(&[0_u32, 3], &Device::Cpu).unwrap();
    contains(cross_entropy(&x, &targets), "target 3 of row 1");
}
