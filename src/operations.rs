//! The table of operations: each kernel with the data that it works on, compiled once for every
//! element type.
//!
//! The public functions are generic, so they are compiled where they are called, with whatever
//! optimisation the caller's crate has. The methods made here are not: the kernels are compiled
//! with this crate alone.

use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::backward::{LogSoftmaxBackward, SoftmaxBackward};
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
use crate::kernel::soft_cross_entropy::{Mass, SoftCrossEntropy, SoftData};
use crate::kernel::softmax::Softmax;
use crate::kernel::weighted_binary::{WeightedBinary, WeightedElementLosses};
use crate::outputs::RowOutputs;
use crate::rows::{FirstRow, Rows, RowsMut};
use crate::targets::Flat;

/// The table, handed to a macro that makes something of it: how each runs ([`Exec`]), its name, kernel, data and output.
macro_rules! table {
    ($make:ident $($element:ty)?) => {
        $make! {
            $($element;)?
            run exponential: Exp, RowsMut<'_, Self, 1> => ();
            run sigmoid: Sigmoid, RowsMut<'_, Self, 1> => ();
            run max: Max, Rows<'_, Self, 1> => Largest<Self>;
            run sum: Sum, Rows<'_, Self, 1> => f64;
            run_rows softmax: Softmax<One>, RowsMut<'_, Self, 1> => ();
            run_rows scaled_softmax: Softmax<Scale<Self>>, RowsMut<'_, Self, 1> => ();
            run masked_softmax: Masked<'_, Self, Softmax<Scale<Self>>>, (RowsMut<'_, Self, 1>, FirstRow) => ();
            run softmax_backward: SoftmaxBackward, RowsMut<'_, Self, 2> => ();
            run masked_softmax_backward: MaskedBackward<'_, false>, (RowsMut<'_, Self, 2>, FirstRow) => ();
            run_rows log_softmax: LogSoftmax<One>, RowsMut<'_, Self, 1> => ();
            run_rows scaled_log_softmax: LogSoftmax<Scale<Self>>, RowsMut<'_, Self, 1> => ();
            run masked_log_softmax: Masked<'_, Self, LogSoftmax<Scale<Self>>>, (RowsMut<'_, Self, 1>, FirstRow) => ();
            run log_softmax_backward: LogSoftmaxBackward, RowsMut<'_, Self, 2> => ();
            run masked_log_softmax_backward: MaskedBackward<'_, true>, (RowsMut<'_, Self, 2>, FirstRow) => ();
            run_rows logsumexp: LogSumExp, (Rows<'_, Self, 1>, &mut [Self]) => ();
            run_rows losses: CrossEntropy<'_, Self, true>, Data<'_, Rows<'_, Self, 1>, Self> => f64;
            run_rows losses_and_grad: CrossEntropy<'_, Self, true>, Data<'_, RowsMut<'_, Self, 1>, Self> => f64;
            run_rows modified_losses: CrossEntropy<'_, Self, false>, Data<'_, Rows<'_, Self, 1>, Self, RowOutputs<'_, Self>> => f64;
            run_rows modified_losses_and_grad: CrossEntropy<'_, Self, false>, Data<'_, RowsMut<'_, Self, 1>, Self, RowOutputs<'_, Self>> => f64;
            run_rows soft_losses: SoftCrossEntropy<'_, Self>, SoftData<'_, Rows<'_, Self, 1>, Self> => f64;
            run_rows soft_losses_and_grad: SoftCrossEntropy<'_, Self>, SoftData<'_, RowsMut<'_, Self, 1>, Self> => f64;
            run mass: Mass<'_, Self>, Rows<'_, Self, 1> => f64;
            run_here part_sums: PartSums<Self>, (Rows<'_, Self, 1>, Flat<'_>) => Nodes<Self>;
            run part_probs: PartProbs<Self>, (RowsMut<'_, Self, 1>, Flat<'_>) => ();
            run part_grad: PartGrad<Self>, (RowsMut<'_, Self, 1>, Flat<'_>) => ();
            run binary_loss: BinaryCrossEntropy, Rows<'_, Self, 2> => f64;
            run binary_loss_and_grad: BinaryCrossEntropy, RowsMut<'_, Self, 2> => f64;
            run binary_losses: ElementLosses, RowsMut<'_, Self, 2> => ();
            run weighted_binary_loss: WeightedBinary<'_, Self>, (Rows<'_, Self, 2>, Flat<'_>) => f64;
            run weighted_binary_loss_and_grad: WeightedBinary<'_, Self>, (RowsMut<'_, Self, 2>, Flat<'_>) => f64;
            run weighted_binary_losses: WeightedElementLosses<'_, Self>, (RowsMut<'_, Self, 2>, Flat<'_>) => ();
        }
    };
}

/// The operations as methods.
macro_rules! declare {
    ($($run:ident $name:ident: $kernel:ty, $data:ty => $output:ty;)*) => {
        /// Every operation on rows of an element type, run where `exec` says.
        pub trait Operations: Sized {
            $(fn $name(exec: Exec, kernel: $kernel, data: $data) -> Result<$output, Error>;)*
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
