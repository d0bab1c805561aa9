//! Softmax, log-softmax and cross-entropy of candle tensors on the processor, by softlane, forward and backward. This file is all that it takes.
//!
//! | in place of | | elements |
//! | --- | --- | --- |
//! | `candle_nn::ops::softmax`, `softmax_last_dim` (which has no gradient) | [`softmax`] | `f32`, `f64`, `f16`, `bf16` |
//! | `candle_nn::ops::log_softmax` | [`log_softmax`] | |
//! | `candle_nn::loss::cross_entropy` | [`cross_entropy`] | |
//!
//! Each allocates its result. Tensors that are not contiguous are copied first, by candle. Other elements and devices are errors.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use candle_core::backend::BackendStorage as _;
use candle_core::shape::Dim;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, Error, Layout, Result, Shape, Tensor,
    WithDType, bail,
};
use softlane::Element;

/// The probabilities along a dimension.
///
/// # Errors
/// If there is no such dimension, the tensor is on another device than the processor, or its elements are none of `f32`, `f64`, `f16` and `bf16`.
///
/// ```
/// use candle_core::{D, Device, Tensor};
///
/// let x = Tensor::new(&[[0.0_f32, 0.0], [200.0, 0.0]], &Device::Cpu)?;
/// let p = softlane_candle::softmax(&x, D::Minus1)?;
/// assert_eq!(p.to_vec2::<f32>()?, [[0.5, 0.5], [1.0, 0.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    apply(x, dim, false)
}

/// The log-probabilities along a dimension.
///
/// # Errors
/// As [`softmax`].
pub fn log_softmax(x: &Tensor, dim: impl Dim) -> Result<Tensor> {
    apply(x, dim, true)
}

/// The mean cross-entropy of logits `(n, c)` or `(n, c, d1, ...)` with integer classes `(n)` or `(n, d1, ...)`: a scalar of the type of the logits. Rows of class -100
/// do not count.
///
/// If the logits are part of a graph, one sweep over them gives the gradient as well, which the graph keeps until it is dropped (as many elements as there are logits); the
/// backward pass only multiplies it, if by other than 1.
///
/// # Errors
/// As [`softmax`], if the shapes do not fit, or if a target is no class.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
///
/// let x = Var::new(&[[0.0_f32, 0.0]], &Device::Cpu)?;
/// let loss = softlane_candle::cross_entropy(&x, &Tensor::new(&[1_u32], &Device::Cpu)?)?;
/// assert_eq!(loss.to_scalar::<f32>()?, core::f32::consts::LN_2);
/// let grad = loss.backward()?.remove(&x).unwrap();
/// assert_eq!(grad.to_vec2::<f32>()?, [[0.5, -0.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let expected: Vec<usize> = match logits.dims() {
        [n, _, pixels @ ..] => [n].into_iter().chain(pixels).copied().collect(),
        dims => bail!("cross-entropy of logits of shape {dims:?}, which have no classes"),
    };
    if targets.dims() != expected {
        bail!("targets of shape {:?}, not {expected:?}", targets.dims());
    }
    if !targets.dtype().is_int() {
        bail!("targets of {:?}, which is no integer", targets.dtype());
    }
    let targets = targets.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?;
    let logits = logits.contiguous()?;
    let grad = logits.track_op().then(OnceLock::new);
    logits.apply_op1(CrossEntropy { targets, grad })
}

#[expect(clippy::needless_pass_by_value, reason = "candle's own take it so")]
fn apply(x: &Tensor, dim: impl Dim, is_log: bool) -> Result<Tensor> {
    let dim = dim.to_index(x.shape(), "softmax")?;
    x.contiguous()?.apply_op1(Softmax { dim, is_log })
}

/// Softmax or log-softmax.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    dim: usize,
    is_log: bool,
}

impl Softmax {
    fn forward<T: WithDType + Element>(self, x: &[T], layout: &Layout) -> Result<CpuStorage> {
        let (x, shape) = (contiguous(x, layout)?, rows(layout, self.dim)?);
        let mut y = vec![T::zero(); x.len()];
        let result = if self.is_log {
            softlane::log_softmax(x, shape, &mut y)
        } else {
            softlane::softmax(x, shape, &mut y)
        };
        result.map_err(Error::wrap)?;
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: WithDType + Element>(
        self,
        (y, y_layout): (&[T], &Layout),
        (dy, dy_layout): (&[T], &Layout),
    ) -> Result<CpuStorage> {
        let (y, dy) = (contiguous(y, y_layout)?, contiguous(dy, dy_layout)?);
        let shape = rows(y_layout, self.dim)?;
        let mut dx = vec![T::zero(); y.len()];
        let result = if self.is_log {
            softlane::log_softmax_backward(y, dy, shape, &mut dx)
        } else {
            softlane::softmax_backward(y, dy, shape, &mut dx)
        };
        result.map_err(Error::wrap)?;
        Ok(T::to_cpu_storage_owned(dx))
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softlane-softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F32(x) => self.forward(x, layout)?,
            CpuStorage::F64(x) => self.forward(x, layout)?,
            CpuStorage::F16(x) => self.forward(x, layout)?,
            CpuStorage::BF16(x) => self.forward(x, layout)?,
            x => return Err(other_elements(x)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = y.apply_op2_no_bwd(&dy.contiguous()?, &SoftmaxBackward(*self));
        dx.map(Some)
    }
}

/// Of the results and the gradient with respect to them.
struct SoftmaxBackward(Softmax);

impl CustomOp2 for SoftmaxBackward {
    fn name(&self) -> &'static str {
        "softlane-softmax-backward"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dx = match (y, dy) {
            (CpuStorage::F32(y), CpuStorage::F32(dy)) => {
                self.0.backward((y, y_layout), (dy, dy_layout))?
            }
            (CpuStorage::F64(y), CpuStorage::F64(dy)) => {
                self.0.backward((y, y_layout), (dy, dy_layout))?
            }
            (CpuStorage::F16(y), CpuStorage::F16(dy)) => {
                self.0.backward((y, y_layout), (dy, dy_layout))?
            }
            (CpuStorage::BF16(y), CpuStorage::BF16(dy)) => {
                self.0.backward((y, y_layout), (dy, dy_layout))?
            }
            (_, dy) => return Err(other_elements(dy)),
        };
        Ok((dx, y_layout.shape().clone()))
    }
}

/// The loss, and the gradient if there is somebody to ask for it.
#[derive(Debug)]
struct CrossEntropy {
    targets: Vec<i64>,
    grad: Option<OnceLock<Tensor>>,
}

impl CrossEntropy {
    fn forward<T>(&self, x: &[T], layout: &Layout) -> Result<CpuStorage>
    where
        T: WithDType + Element,
        T::Real: Into<f64>,
    {
        let (x, shape) = (contiguous(x, layout)?, rows(layout, 1)?);
        let mean = softlane::CrossEntropy::new();
        let loss = if let Some(kept) = &self.grad {
            let mut grad = vec![T::zero(); x.len()];
            let loss = mean.loss_and_grad(x, shape, &self.targets, &mut grad);
            let loss = loss.map_err(Error::wrap)?;
            let grad = Tensor::from_vec(grad, layout.shape(), &Device::Cpu)?;
            kept.get_or_init(|| grad);
            loss
        } else {
            mean.loss(x, shape, &self.targets).map_err(Error::wrap)?
        };
        Ok(T::to_cpu_storage_owned(vec![T::from_f64(loss.into())]))
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "softlane-cross-entropy"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let loss = match x {
            CpuStorage::F32(x) => self.forward(x, layout)?,
            CpuStorage::F64(x) => self.forward(x, layout)?,
            CpuStorage::F16(x) => self.forward(x, layout)?,
            CpuStorage::BF16(x) => self.forward(x, layout)?,
            x => return Err(other_elements(x)),
        };
        Ok((loss, ().into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        let Some(grad) = self.grad.as_ref().and_then(OnceLock::get) else {
            return Ok(None);
        };
        let factor: f64 = upstream.to_dtype(DType::F64)?.to_scalar()?;
        let is_one = factor.to_bits() == 1_f64.to_bits();
        let grad = if is_one {
            Ok(grad.clone())
        } else {
            grad.affine(factor, 0.0)
        };
        grad.map(Some)
    }
}

/// The elements of a tensor.
fn contiguous<'a, T>(x: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&x[start..end]),
        None => bail!("softlane: a tensor that is not contiguous"),
    }
}

/// The rows along a dimension of a contiguous tensor.
fn rows(layout: &Layout, dim: usize) -> Result<softlane::Shape> {
    let inner = layout.dims().iter().skip(dim + 1).product();
    Ok(softlane::Shape::axis(layout.dim(dim)?, inner))
}

fn other_elements(x: &CpuStorage) -> Error {
    Error::Msg(format!(
        "softlane: elements of {:?}, which are none of f32, f64, f16 and bf16",
        x.dtype()
    ))
}
