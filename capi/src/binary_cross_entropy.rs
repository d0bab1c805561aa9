//! Binary cross-entropy.

use super::Element;
use super::call::run;
use super::cross_entropy::{Batch, Form};
use super::memory::{Memory, elements};
use super::options::softlane_binary_cross_entropy;
use super::status::softlane_status;
use super::threads::on_threads;

/// With a label for each logit.
///
/// # Safety
/// What the header asks for.
pub unsafe fn labels<T: Element>(
    batch: Batch<T, softlane_binary_cross_entropy>,
    targets: *const T,
) -> softlane_status {
    // SAFETY: the header asks for as much.
    let mut memory = unsafe { Memory::new() };
    run(|| {
        let [rows, labels] = batch.shape;
        let n = elements::<T>(rows, labels)?;
        let targets = memory.read("targets", targets, n)?;
        let options = memory.options(batch.options)?;
        let (function, is_per_element) = options.loss::<T>(&mut memory, labels, n)?;
        let len = if is_per_element { n } else { 1 };
        let mut loss = memory.write_if_any("loss", batch.loss, len)?;
        let form = batch.form(&mut memory)?;
        if is_per_element && let Some(losses) = loss.take() {
            // Before the gradient takes the place of the logits.
            let logits = form.logits();
            on_threads(n, |exec| {
                let function = function.exec(exec);
                function.loss_per_element(logits, labels, targets, losses)
            })?;
            if let Form::Loss(_) = form {
                return Ok(());
            }
        }
        let reduced = on_threads(n, |exec| {
            let function = function.exec(exec);
            match form {
                Form::Loss(logits) => function.loss(logits, labels, targets),
                Form::Apart(logits, grad) => function.loss_and_grad(logits, labels, targets, grad),
                Form::InPlace(logits) => function.loss_and_grad_in_place(logits, labels, targets),
            }
        })?;
        if let Some(loss) = loss {
            loss[0] = reduced;
        }
        Ok(())
    })
}
