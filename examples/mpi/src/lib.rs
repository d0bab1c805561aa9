//! The loss of a classifier whose classes lie on the ranks of MPI, and its gradient, by softlane. This file is all that it takes.
//!
//! Each rank has some classes of all rows ([`share`]), and two reductions are all that ranks send each other:
//!
//! | reduction | bytes a row | what for |
//! | --- | --- | --- |
//! | [`maxima`] | 4 | with the row's maximum beforehand, parts have the bits of the whole row |
//! | [`merged`] | 792, [`RowState::BYTES`] | the state of the row, from those of its parts |
//!
//! So every rank has the same losses, and a gradient of its own classes, and both have the bits that one process gives to the whole rows, on any
//! number of ranks (but not those of the scalar backend, which promises none). `docs/distributed.md` of softlane has what it costs.
//!
//! # When a rank dies
//!
//! Then the step is lost, and with Open MPI the job: `mpirun` notices that a rank has ended without taking leave, ends all the others, which wait
//! in a reduction, and reports failure. Nothing here recovers from that. Nothing that a step needs is kept from one to the next either: a job that begins again from
//! the same weights, with as many ranks or fewer, gets the same bits.
//!
//! An [`Error`] is no such case. Whichever rank has one still takes part in both reductions, so that all ranks return, and all with an error.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use mpi::collective::{SystemOperation, UserOperation};
use mpi::datatype::{DynBuffer, DynBufferMut};
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};
use softlane::RowState;

/// The classes of a rank, if all ranks have as many whole chunks as the others, or one more. Some have none, if there are more ranks
/// than chunks.
///
/// ```
/// let ranks = (0..3).map(|rank| softlane_mpi::share(10_000, 3, rank));
/// assert!(ranks.eq([0..4096, 4096..8192, 8192..10_000]));
/// ```
#[must_use]
pub fn share(classes: usize, ranks: usize, rank: usize) -> Range<usize> {
    let chunks = classes.div_ceil(RowState::<f32>::CHUNK);
    let first = |rank: usize| (rank * chunks / ranks * RowState::<f32>::CHUNK).min(classes);
    first(rank)..first(rank + 1)
}

/// [`share`] of this rank.
pub fn own_share(world: &impl Communicator, classes: usize) -> Range<usize> {
    let [ranks, rank] = [world.size(), world.rank()].map(|i| i.unsigned_abs() as usize);
    share(classes, ranks, rank)
}

/// The loss of each row, and the gradient of each, times `scale`, with respect to this rank's classes ([`own_share`]), of which `logits` has the logits row after row.
///
/// All ranks call it, with the same `classes`, `targets` and `scale`. For the mean over the rows, `scale` is the inverse of their number.
///
/// # Errors
/// [`Error::Here`] if the slices do not fit together, a target is no class, or the backend is none; [`Error::Elsewhere`] if that is so on another rank, or ranks disagree
/// on the targets or the arithmetic of the backend. Then all ranks have an error, and `grad` is untouched.
///
/// Of ranks that disagree on `classes`, all have [`Error::Elsewhere`] but those that have, by chance, the number that the parts make up. Ranks that disagree on the number of rows are an error of MPI, which by default ends the job.
pub fn loss_and_grad(
    world: &impl Communicator,
    classes: usize,
    logits: &[f32],
    targets: &[usize],
    scale: f64,
    grad: &mut [f32],
) -> Result<Vec<f32>, Error> {
    let rows = targets.len();
    let part = own_share(world, classes);
    let row = |row: usize| row * part.len()..(row + 1) * part.len();

    let check = || {
        for len in [logits.len(), grad.len()] {
            if len != rows * part.len() {
                let expected = rows * part.len();
                return Err(softlane::Error::Length {
                    expected,
                    found: len,
                });
            }
        }
        match targets.iter().position(|&target| target >= classes) {
            Some(row) => Err(softlane::Error::Target {
                row,
                target: targets[row] as i128,
                classes,
            }),
            None => Ok(()),
        }
    };
    // The others wait for something: what is an error here is sent as NaN, and as no state.
    let own = check().and_then(|()| {
        (0..rows)
            .map(|i| softlane::max(&logits[row(i)]))
            .collect::<Result<Vec<_>, _>>()
    });
    let maxima = match &own {
        Ok(own) => maxima(world, own),
        Err(_) => maxima(world, &vec![f32::NAN; rows]),
    };

    let state = |i: usize| {
        let mut state = RowState::with_max(part.start, Some(targets[i]), maxima[i])?;
        state.update(&logits[row(i)])?;
        Ok(State::new(Some(&state)))
    };
    let own = own.and_then(|_| (0..rows).map(state).collect::<Result<Vec<_>, _>>());
    let all = match &own {
        Ok(own) => merged(world, own),
        Err(_) => merged(world, &vec![State::new(None); rows]),
    };
    own?;

    let whole = |row: usize| {
        let state = all[row].get();
        let state = state.filter(|state| (state.start()..state.end()) == (0..classes));
        state.ok_or(Error::Elsewhere { row })
    };
    // So there is a state of all rows before anything is written.
    let losses = (0..rows).map(|i| Ok(whole(i)?.loss()?));
    let losses = losses.collect::<Result<_, Error>>()?;
    if !part.is_empty() {
        for i in 0..rows {
            whole(i)?.grad(part.start, &logits[row(i)], scale, &mut grad[row(i)])?;
        }
    }
    Ok(losses)
}

/// The maxima of rows, from those of their parts on all ranks; NaN where one is.
pub fn maxima(world: &impl Communicator, own: &[f32]) -> Vec<f32> {
    if own.is_empty() {
        return vec![];
    }
    // What MPI makes of NaN is not said.
    let own: Vec<i32> = own.iter().map(|&max| key(max)).collect();
    let mut all = vec![0; own.len()];
    world.all_reduce_into(&own, &mut all, SystemOperation::max());
    all.into_iter().map(of_key).collect()
}

/// An integer as large beside others as the number is, and the largest for NaN.
fn key(x: f32) -> i32 {
    if x.is_nan() {
        return i32::MAX;
    }
    ordered(x.to_bits().cast_signed())
}

/// The number of a key.
fn of_key(key: i32) -> f32 {
    f32::from_bits(ordered(key).cast_unsigned())
}

/// What is larger in magnitude is the smaller one, if negative. Its own inverse.
fn ordered(bits: i32) -> i32 {
    if bits < 0 { bits ^ i32::MAX } else { bits }
}

/// The states of rows, from those of their parts on all ranks in the order of the classes; none where a rank has none, or states do not merge.
pub fn merged(world: &impl Communicator, own: &[State]) -> Vec<State> {
    if own.is_empty() {
        return vec![];
    }
    let mut all = vec![State::new(None); own.len()];
    // Only neighbours merge, so it does not commute, and MPI keeps the order of the ranks.
    world.all_reduce_into(own, &mut all, &UserOperation::associative(merge));
    all
}

/// The states on the left merged into those on the right.
fn merge(left: DynBuffer<'_>, right: DynBufferMut<'_>) {
    // There is nothing else in this reduction. If there were, states that lack classes would be found out.
    let (Some(left), Some(right)) = (left.downcast::<State>(), right.downcast::<State>()) else {
        return;
    };
    for (left, right) in left.iter().zip(right) {
        let states = left.get().zip(right.get());
        let whole = states.and_then(|(left, right)| left.merge(right).ok());
        *right = State::new(whole.as_ref());
    }
}

/// The state of a row on its way, one element for MPI: its bytes, or zeros for none.
#[derive(Clone, Debug, Equivalence)]
pub struct State {
    bytes: [u8; RowState::<f32>::BYTES],
}

impl State {
    /// That of a row, or none.
    #[must_use]
    pub fn new(state: Option<&RowState>) -> Self {
        let bytes = state.map_or([0; RowState::<f32>::BYTES], RowState::to_bytes);
        Self { bytes }
    }

    /// The state, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<RowState> {
        RowState::from_bytes(&self.bytes).ok()
    }
}

/// Why a rank has no loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// What softlane says on this rank.
    Here(softlane::Error),
    /// Another rank has an error, or the parts of a row do not make up the row.
    Elsewhere {
        /// The first row of which there is no state.
        row: usize,
    },
}

impl From<softlane::Error> for Error {
    fn from(error: softlane::Error) -> Self {
        Self::Here(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(error) => error.fmt(f),
            Self::Elsewhere { row } => write!(
                f,
                "there is no state of row {row}: another rank has an error, or other classes, targets or another arithmetic"
            ),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::{key, of_key, share};

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        let numbers = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::from_bits(1),
            -0.0,
            0.0,
            f32::from_bits(1),
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        let keys = numbers.map(key);
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!(
            keys.map(|key| of_key(key).to_bits()),
            numbers.map(f32::to_bits)
        );
        for nan in [f32::NAN, -f32::NAN] {
            assert!(key(nan) > key(f32::INFINITY));
            assert!(of_key(key(nan)).is_nan());
        }
    }

    #[test]
    fn shares_are_chunks_that_make_up_the_row() {
        for classes in [0, 1, 4096, 4097, 128_256] {
            for ranks in [1, 2, 4, 5, 40] {
                let mut at = 0;
                for rank in 0..ranks {
                    let share = share(classes, ranks, rank);
                    assert_eq!(share.start, at);
                    assert!(share.start.is_multiple_of(4096), "{share:?}");
                    at = share.end;
                }
                assert_eq!(at, classes);
            }
        }
    }
}
