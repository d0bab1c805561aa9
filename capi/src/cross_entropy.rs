//! Softmax cross-entropy.

use softlane::{RowOutputs, Target};

use super::Element;
use super::call::run;
use super::failure::Failure;
use super::memory::{Memory, Pair, elements};
use super::options::softlane_cross_entropy;
use super::status::softlane_status;
use super::threads::on_threads;

/// A batch of rows, and where what is found of them goes.
#[derive(Clone, Copy, Debug)]
pub struct Batch<T: Element, O> {
    /// The logits.
    pub logits: *const T,
    /// Of each row.
    pub shape: [usize; 2],
    /// Options, or null.
    pub options: *const O,
    /// The loss, or the losses, or null.
    pub loss: *mut T::Real,
    /// The gradient, or null.
    pub grad: *mut T,
}

/// Which of the three forms of a loss is asked for.
#[derive(Debug)]
pub enum Form<'a, T> {
    /// Of these logits, the loss alone.
    Loss(&'a [T]),
    /// And the gradient.
    Apart(&'a [T], &'a mut [T]),
    /// And the gradient, in the place of the logits.
    InPlace(&'a mut [T]),
}

impl<T: Element, O> Batch<T, O> {
    /// The form of the call.
    ///
    /// # Errors
    /// As [`Memory::pair`].
    pub fn form<'a>(&self, memory: &mut Memory<'a>) -> Result<Form<'a, T>, Failure> {
        let [rows, classes] = self.shape;
        let n = elements::<T>(rows, classes)?;
        let (logits, grad) = (("logits", self.logits), ("grad", self.grad));
        if grad.1.is_null() {
            return memory.read(logits.0, logits.1, n).map(Form::Loss);
        }
        Ok(match memory.pair(logits, grad, n)? {
            Pair::Apart(logits, grad) => Form::Apart(logits, grad),
            Pair::Same(logits) => Form::InPlace(logits),
        })
    }
}

impl<T> Form<'_, T> {
    /// The logits.
    #[must_use]
    pub fn logits(&self) -> &[T] {
        match self {
            Self::Loss(logits) | Self::Apart(logits, _) => logits,
            Self::InPlace(logits) => logits,
        }
    }
}

/// With a class for each row.
///
/// # Safety
/// What the header asks for.
pub unsafe fn classes<T: Element>(
    batch: Batch<T, softlane_cross_entropy>,
    targets: *const i64,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let targets = memory.read("targets", targets, batch.shape[0])?;
        losses(memory, &batch, targets)
    })
}

/// With a distribution for each row.
///
/// # Safety
/// What the header asks for.
pub unsafe fn distributions<T: Element>(
    batch: Batch<T, softlane_cross_entropy>,
    target_probs: *const T,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let [rows, classes] = batch.shape;
        let n = elements::<T>(rows, classes)?;
        let targets = memory.read("target_probs", target_probs, n)?;
        losses(memory, &batch, targets)
    })
}

fn losses<T: Element>(
    mut memory: Memory<'_>,
    batch: &Batch<T, softlane_cross_entropy>,
    targets: &[impl Target<T>],
) -> Result<(), Failure> {
    let [rows, classes] = batch.shape;
    let n = elements::<T>(rows, classes)?;
    let options = memory.options(batch.options)?;
    let (function, is_per_row) = options.loss::<T>(&mut memory, rows, classes)?;
    let len = if is_per_row { rows } else { 1 };
    let mut loss = memory.write_if_any("loss", batch.loss, len)?;
    let mut outputs = RowOutputs::new();
    if is_per_row && let Some(losses) = loss.take() {
        outputs = outputs.losses(losses);
    }
    let form = batch.form(&mut memory)?;
    let reduced = on_threads(n, |exec| {
        let function = function.exec(exec);
        match form {
            Form::Loss(logits) => function.loss_with(logits, classes, targets, outputs),
            Form::Apart(logits, grad) => {
                function.loss_and_grad_with(logits, classes, targets, grad, outputs)
            }
            Form::InPlace(logits) => {
                function.loss_and_grad_in_place_with(logits, classes, targets, outputs)
            }
        }
    })?;
    if let Some(loss) = loss {
        loss[0] = reduced;
    }
    Ok(())
}
