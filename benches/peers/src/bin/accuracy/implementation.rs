//! What is measured: softlane's backends, and the operations of other libraries that are the same.

use softlane::{Backend, Exec};
use softlane_peers::{candle, rten};

use crate::common::corpus::Batch;
use crate::common::operations::Operation;
use crate::measure::Failure;

/// One way to compute the operations.
#[derive(Clone, Copy, Debug)]
pub enum Implementation {
    Softlane(Backend),
    Rten,
    Candle,
}

/// The results that an operation should have, without those that an implementation does not give.
pub type Results = Vec<Option<f32>>;

impl Implementation {
    /// Every backend that the processor has, and every peer.
    pub fn all() -> Vec<Self> {
        let backends = Backend::available().map(Self::Softlane);
        backends.chain([Self::Rten, Self::Candle]).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Softlane(backend) => backend.name(),
            Self::Rten => "rten-vecmath",
            Self::Candle => "candle",
        }
    }

    /// The results of an operation, in each of its forms.
    pub fn run(self, operation: &Operation, batch: &Batch) -> Result<Vec<Results>, Failure> {
        match self {
            Self::Softlane(backend) => {
                let exec = Exec::new().backend(backend);
                let forms = operation.forms(exec, batch)?.into_iter();
                Ok(forms.map(|(_, results)| all(results)).collect())
            }
            // Some of what they call does not take an empty row.
            Self::Rten | Self::Candle if batch.x.is_empty() => Ok(Vec::new()),
            Self::Rten => Ok(of_rten(operation, batch).into_iter().map(all).collect()),
            Self::Candle => Ok(of_candle(operation, batch)?.into_iter().collect()),
        }
    }
}

fn all(results: Vec<f32>) -> Results {
    results.into_iter().map(Some).collect()
}

fn of_rten(operation: &Operation, b: &Batch) -> Option<Vec<f32>> {
    Some(match operation.name {
        "exp" => rten::exp(&b.x),
        "max" => vec![rten::max(&b.x)],
        "sum" => vec![rten::sum(&b.x)],
        "softmax" => rten::softmax(&b.x, b.classes),
        "log_softmax" => rten::log_softmax(&b.x, b.classes),
        "sigmoid" => rten::sigmoid(&b.x),
        _ => return None,
    })
}

fn of_candle(operation: &Operation, b: &Batch) -> Result<Option<Results>, Failure> {
    let results = match operation.name {
        "exp" => all(candle::exp(&b.x)?),
        "max" => vec![Some(candle::max(&b.x)?)],
        "sum" => vec![Some(candle::sum(&b.x)?)],
        "softmax" => all(candle::softmax(&b.x, b.classes)?),
        "log_softmax" => all(candle::log_softmax(&b.x, b.classes)?),
        "logsumexp" => all(candle::logsumexp(&b.x, b.classes)?),
        "sigmoid" => all(candle::sigmoid(&b.x)?),
        "cross-entropy, a row" => by_row(b, 1, |x, target| {
            Ok(vec![candle::cross_entropy(x, b.classes, &[target])?])
        })?,
        "cross-entropy gradient, sum" => by_row(b, b.classes, |x, target| {
            candle::cross_entropy_gradient(x, b.classes, &[target])
        })?,
        "cross-entropy, sum and mean" => match targets(b) {
            Some(targets) => mean(candle::cross_entropy(&b.x, b.classes, &targets)?),
            None => return Ok(None),
        },
        "cross-entropy gradient, mean" => match targets(b) {
            Some(targets) => all(candle::cross_entropy_gradient(&b.x, b.classes, &targets)?),
            None => return Ok(None),
        },
        "binary cross-entropy, sum and mean" => {
            mean(candle::binary_cross_entropy(&b.x, b.classes, &b.labels)?)
        }
        "binary gradient, mean" => all(candle::binary_cross_entropy_gradient(
            &b.x, b.classes, &b.labels,
        )?),
        _ => return Ok(None),
    };
    Ok(Some(results))
}

/// The target of every row, if none is ignored: candle ignores none.
fn targets(b: &Batch) -> Option<Vec<u32>> {
    let targets = b.targets.iter();
    targets.map(|&target| u32::try_from(target).ok()).collect()
}

/// So many results of a call for each row and its target, as candle has only the mean over rows; none
/// for a row whose target is ignored.
fn by_row(
    b: &Batch,
    results: usize,
    call: impl Fn(&[f32], u32) -> candle_core::Result<Vec<f32>>,
) -> candle_core::Result<Results> {
    let rows = b.x.chunks(b.classes).zip(&b.targets);
    let rows = rows.map(|(x, &target)| match u32::try_from(target) {
        Ok(target) => call(x, target).map(all),
        Err(_) => Ok(vec![None; results]),
    });
    Ok(rows.collect::<candle_core::Result<Vec<_>>>()?.concat())
}

/// The second of a sum and a mean.
fn mean(mean: f32) -> Results {
    vec![None, Some(mean)]
}
