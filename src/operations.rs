//! The table of operations: each kernel with the data that it works on, compiled once for every
//! element type.
//!
//! The public functions are generic, so they are compiled where they are called, with whatever
//! optimisation the caller's crate has. The methods made here are not: the kernels are compiled
//! with this crate alone.

use crate::batch::{Batch, BatchMut};
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::backward::Backward;
use crate::kernel::binary_cross_entropy::{BinaryCrossEntropy, ElementLosses};
use crate::kernel::cross_entropy::{CrossEntropy, Data};
use crate::kernel::elementwise::{Exp, Sigmoid};
use crate::kernel::log_softmax::LogSoftmax;
use crate::kernel::logsumexp::LogSumExp;
use crate::kernel::masked::Masked;
use crate::kernel::masked_backward::MaskedBackward;
use crate::kernel::partial::{Nodes, PartGrad, PartProbs, PartSums};
use crate::kernel::reduce::{Largest, Max, Sum};
use crate::kernel::scale::{One, Scale};
use crate::kernel::soft_cross_entropy::{Mass, SoftCrossEntropy};
use crate::kernel::softmax::Softmax;
use crate::kernel::weighted_binary::{WeightedBinary, WeightedElementLosses};
use crate::kernel::wide::Wide;
use crate::outputs::RowOutputs;
use crate::rows::FirstRow;
use crate::targets::{Answers, Distributions, Flat};

/// What an element is computed in.
pub type Of<E> = <E as Element>::Real;

/// What is done with a batch, for distributions as targets.
pub type SoftBatch<'a, B, E> = (
    B,
    Answers<'a, Of<E>, Distributions<'a, E>>,
    RowOutputs<'a, Of<E>>,
);

/// The table, handed to a macro that makes something of it: how each runs ([`Exec`]), its name, kernel, data and output.
macro_rules! table {
    ($make:ident $($element:ty)?) => {
        $make! {
            $($element;)?
            run exponential: Exp, BatchMut<'_, Self, 1> => ();
            run sigmoid: Sigmoid, BatchMut<'_, Self, 1> => ();
            run max: Max, Batch<'_, Self, 1> => Largest<Of<Self>>;
            run sum: Sum, Batch<'_, Self, 1> => Wide<Of<Self>>;
            run_rows softmax: Softmax<One>, BatchMut<'_, Self, 1> => ();
            run_rows scaled_softmax: Softmax<Scale<Of<Self>>>, BatchMut<'_, Self, 1> => ();
            run masked_softmax: Masked<'_, Of<Self>, Softmax<Scale<Of<Self>>>>, (BatchMut<'_, Self, 1>, FirstRow) => ();
            run_rows softmax_backward: Backward<false>, BatchMut<'_, Self, 2> => ();
            run masked_softmax_backward: MaskedBackward<'_, false>, (BatchMut<'_, Self, 2>, FirstRow) => ();
            run_rows log_softmax: LogSoftmax<One>, BatchMut<'_, Self, 1> => ();
            run_rows scaled_log_softmax: LogSoftmax<Scale<Of<Self>>>, BatchMut<'_, Self, 1> => ();
            run masked_log_softmax: Masked<'_, Of<Self>, LogSoftmax<Scale<Of<Self>>>>, (BatchMut<'_, Self, 1>, FirstRow) => ();
            run_rows log_softmax_backward: Backward<true>, BatchMut<'_, Self, 2> => ();
            run masked_log_softmax_backward: MaskedBackward<'_, true>, (BatchMut<'_, Self, 2>, FirstRow) => ();
            run_rows logsumexp: LogSumExp, (Batch<'_, Self, 1>, &mut [Of<Self>]) => ();
            run_rows losses: CrossEntropy<'_, Of<Self>, true>, Data<'_, Batch<'_, Self, 1>, Of<Self>> => Wide<Of<Self>>;
            run_rows losses_and_grad: CrossEntropy<'_, Of<Self>, true>, Data<'_, BatchMut<'_, Self, 1>, Of<Self>> => Wide<Of<Self>>;
            run_rows modified_losses: CrossEntropy<'_, Of<Self>, false>, Data<'_, Batch<'_, Self, 1>, Of<Self>, RowOutputs<'_, Of<Self>>> => Wide<Of<Self>>;
            run_rows modified_losses_and_grad: CrossEntropy<'_, Of<Self>, false>, Data<'_, BatchMut<'_, Self, 1>, Of<Self>, RowOutputs<'_, Of<Self>>> => Wide<Of<Self>>;
            run_rows soft_losses: SoftCrossEntropy<'_, Of<Self>>, SoftBatch<'_, Batch<'_, Self, 1>, Self> => Wide<Of<Self>>;
            run_rows soft_losses_and_grad: SoftCrossEntropy<'_, Of<Self>>, SoftBatch<'_, BatchMut<'_, Self, 1>, Self> => Wide<Of<Self>>;
            run mass: Mass<'_, Of<Self>>, Batch<'_, Self, 1> => Wide<Of<Self>>;
            run_here part_sums: PartSums<Of<Self>>, (Batch<'_, Self, 1>, Flat<'_>) => Nodes<Of<Self>>;
            run part_probs: PartProbs<Of<Self>>, (BatchMut<'_, Self, 1>, Flat<'_>) => ();
            run part_grad: PartGrad<Of<Self>>, (BatchMut<'_, Self, 1>, Flat<'_>) => ();
            run binary_loss: BinaryCrossEntropy<Of<Self>>, Batch<'_, Self, 2> => Wide<Of<Self>>;
            run binary_loss_and_grad: BinaryCrossEntropy<Of<Self>>, BatchMut<'_, Self, 2> => Wide<Of<Self>>;
            run binary_losses: ElementLosses, BatchMut<'_, Self, 2, Of<Self>> => ();
            run weighted_binary_loss: WeightedBinary<'_, Of<Self>>, (Batch<'_, Self, 2>, Flat<'_>) => Wide<Of<Self>>;
            run weighted_binary_loss_and_grad: WeightedBinary<'_, Of<Self>>, (BatchMut<'_, Self, 2>, Flat<'_>) => Wide<Of<Self>>;
            run weighted_binary_losses: WeightedElementLosses<'_, Of<Self>>, (BatchMut<'_, Self, 2, Of<Self>>, Flat<'_>) => ();
        }
    };
}

/// The operations as methods.
macro_rules! declare {
    ($($run:ident $name:ident: $kernel:ty, $data:ty => $output:ty;)*) => {
        /// Every operation on rows of an element type, run where `exec` says.
        pub trait Operations: Sized {
            $(
                fn $name(exec: Exec, kernel: $kernel, data: $data) -> Result<$output, Error>
                where
                    Self: Element;
            )*
        }
    };
}

/// The operations, compiled for one element type.
macro_rules! implement {
    ($element:ty; $($run:ident $name:ident: $kernel:ty, $data:ty => $output:ty;)*) => {
        impl Operations for $element {
            $(fn $name(exec: Exec, kernel: $kernel, data: $data) -> Result<$output, Error> {
                exec.$run(&kernel, data)
            })*
        }
    };
}

table! { declare }
table! { implement f32 }
#[cfg(feature = "f64")]
table! { implement f64 }
#[cfg(feature = "half")]
table! { implement half::f16 }
#[cfg(feature = "half")]
table! { implement half::bf16 }
