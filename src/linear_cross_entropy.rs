//! The cross-entropy of a linear layer, and the gradients of what the layer is made of, in a budget of memory: the logits are never all there.

use crate::cross_entropy::CrossEntropy;
use crate::element::Element;
use crate::error::Error;
use crate::linear::pass::{self, Goal, Grads, Layer, Means};
use crate::linear::plan::Need;
use crate::options;
use crate::output::Output;
use crate::outputs::RowOutputs;
use crate::rows::same_length;
use crate::shape::Shape;
use crate::targets::{Given, Target};

/// Softmax regression: the [`CrossEntropy`] of the layer `x = X W^T + b`, and its gradients with respect to `X`, `W` and `b`, in a budget of memory. (Feature `linear`.)
///
/// With many classes it is the logits that take the memory: 4096 rows of 128 256 classes are 2.1 GB, and their gradient as much again. Here they are there for some rows at a time, as many as
/// the budget has room for, and turn into their gradient in place. It takes the three products that a layer takes anyway.
///
/// `X` has a row of `features` numbers for each row, `W` one for each of `classes` classes, `b`, if there is any, a number for each class. With the gradient `G` of the loss with respect to the logits, which
/// [`CrossEntropy`] defines with all its options,
///
/// ```text
/// dX = G W    dW = G^T X    db_k = sum_i G_ik
/// ```
///
/// Rows that do not count (an ignored target, or a distribution that is 0 throughout) are left out of the products, whatever they hold; their `dX` is 0.
///
/// Elements are `f32`, `f16` or `bf16`. The 16-bit floats are widened as they are read, and all that is computed, gradients included, is `f32`: the result is that of `f32` numbers of
/// the same values, bit for bit.
///
/// # Errors of the result
///
/// Products are rounded, in an order that is fixed: sums of 256 products, added up one after the other (for `dW`, of 64 rows). So, with `u = 2^-24`, for `F` features, `C` classes and `N` rows, to first order in `u`,
///
/// ```text
/// |error of x_k| <= (min(F, 256) + F/256 + 2) u (|b_k| + sum_j |X_j W_kj|)
/// |error of L|   <= 2 max_k |error of x_k|                          (of a row, without options, besides that of CrossEntropy)
/// |error of G_k| <= 2 max_i |error of x_i| p_k                      (as much besides)
/// |error of dW|  <= |errors of G|^T |X| + (64 + N/64 + 2) u |G|^T |X|
/// |error of dX|  <= |errors of G| |W| + (min(C, 256) + C/256 + 2) u |G| |W|
/// |error of db|  <= sum_i |errors of G_i|, and one rounding
/// ```
///
/// where `N` rows count, `G` is that of the sum, and nothing is so small that it is rounded as a subnormal number. They add up one rounding for each addition of that order, the bias first; errors of this size are seldom seen: `tests/linear.rs`, which
/// asserts them, prints at most a seventh. (Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1.)
///
/// A class without any probability takes part in the products all the same: a weight that is NaN or infinite makes NaN of the logits of its class, and of every `dX`.
///
/// # The same bits
///
/// The result has the same bits for any number of threads and any budget (but for which NaN it is, in gradients that are NaN); and those of [`RowOutputs`] for any rows beside theirs. Products are those of the crate `matrixmultiply`, with the instruction set that it
/// finds, whatever [`Exec`](crate::Exec) says, so what is promised for the backends of this crate holds for the sweep over the logits alone: by its source, products with AVX2 and with AVX-512 are fused and in the same order, but that
/// crate does not promise it, nor that its next version rounds alike. Its environment variables at compile time (`MATMUL_SGEMM_KC` and others) change the order, and what it allocates.
///
/// # Memory and threads
///
/// All that is allocated, copies that the product makes included, is within the [`budget`](Self::budget), but for what a thread pool allocates when it starts. Threads, those of the caller's rayon pool, share the products and the sweep, one after
/// the other; a small budget may have room for the copies of fewer. The crate `matrixmultiply` has a feature `threading` of its own: a program that turns it on has more threads than it wants, and more
/// copies than are counted here.
///
/// In `PyTorch`: `linear`, then `cross_entropy`, or `linear_cross_entropy`, whose chunks depend on an option. Sources: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024; Hsu et al.,
/// "Liger Kernel", 2024, section 3.2.
///
/// ```
/// use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads};
///
/// // Two rows of three features, and four classes, which begin with no weight at all.
/// let x = [1.0_f32, 0.0, 2.0, 0.0, 1.0, -1.0];
/// let (w, b) = ([0.0; 12], [0.0; 4]);
/// let layer = LinearCrossEntropy::new(CrossEntropy::new()).bias(&b);
///
/// let (mut dw, mut db) = ([0.0; 12], [0.0; 4]);
/// let grads = LinearGrads::new().weights(&mut dw).bias(&mut db);
/// let loss = layer.loss_and_grads(&x, &w, [4, 3], &[0, 3], grads)?;
/// assert_eq!(loss, 1.3862944); // ln 4
/// assert_eq!(dw[..3], [-0.375, 0.125, -0.875]);
/// assert_eq!(db, [-0.25, 0.25, 0.25, -0.25]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct LinearCrossEntropy<'a, E = f32> {
    loss: CrossEntropy<'a>,
    bias: Option<&'a [E]>,
    budget: Option<usize>,
}

/// Which gradients of a [`LinearCrossEntropy`] are asked for, and where they go, as dense `f32` numbers; those that are not cost nothing.
///
/// ```
/// use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads};
///
/// let (mut dx, layer) = ([0.0; 2], LinearCrossEntropy::new(CrossEntropy::new()));
/// let grads = LinearGrads::new().inputs(&mut dx);
/// layer.loss_and_grads(&[0.0_f32, 0.0], &[1.0, 2.0, 3.0, 4.0], [2, 2], &[0], grads)?;
/// assert_eq!(dx, [1.0, 1.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct LinearGrads<'a>(Grads<'a>);

impl<'a> LinearGrads<'a> {
    /// None is asked for.
    pub const fn new() -> Self {
        Self(Grads {
            inputs: None,
            weights: None,
            bias: None,
        })
    }

    /// That of the features, `dX`: a row for each row.
    ///
    /// ```
    /// let mut dx = [0.0; 2];
    /// let grads = softlane::LinearGrads::new().inputs(&mut dx);
    /// # let _ = grads;
    /// ```
    pub fn inputs(mut self, grad: &'a mut (impl Output<f32> + ?Sized)) -> Self {
        self.0.inputs = Some(grad.or(0.0));
        self
    }

    /// That of the weights, `dW`: a row for each class.
    ///
    /// ```
    /// let mut dw = [0.0; 4];
    /// let grads = softlane::LinearGrads::new().weights(&mut dw);
    /// # let _ = grads;
    /// ```
    pub fn weights(mut self, grad: &'a mut (impl Output<f32> + ?Sized)) -> Self {
        self.0.weights = Some(grad.or(0.0));
        self
    }

    /// That of the bias, `db`: a number for each class. It is the sum over the rows whether there is a bias or not.
    ///
    /// ```
    /// let mut db = [0.0; 2];
    /// let grads = softlane::LinearGrads::new().bias(&mut db);
    /// # let _ = grads;
    /// ```
    pub fn bias(mut self, grad: &'a mut (impl Output<f32> + ?Sized)) -> Self {
        self.0.bias = Some(grad.or(0.0));
        self
    }
}

impl<'a, E: Element<Real = f32>> LinearCrossEntropy<'a, E> {
    /// This loss, of a layer without bias. Where it runs is [`CrossEntropy::exec`].
    pub const fn new(loss: CrossEntropy<'a>) -> Self {
        Self {
            loss,
            bias: None,
            budget: None,
        }
    }

    /// What is added to the logits: a number for each class.
    ///
    /// ```
    /// use softlane::{CrossEntropy, LinearCrossEntropy};
    ///
    /// let layer = LinearCrossEntropy::new(CrossEntropy::new()).bias(&[0.0_f32, f32::NEG_INFINITY]);
    /// assert_eq!(layer.loss(&[3.0], &[1.0, 1.0], [2, 1], &[0])?, 0.0);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn bias(mut self, bias: &'a [E]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// How many bytes a call may allocate, [`least_budget`](Self::least_budget) or more. Otherwise 128 MiB and what is the least for all threads. More of them take fewer passes over the weights.
    ///
    /// ```
    /// use softlane::{CrossEntropy, Error, LinearCrossEntropy};
    ///
    /// let layer = LinearCrossEntropy::new(CrossEntropy::new()).budget(1000);
    /// let error = layer.loss(&[0.0_f32; 2], &[0.0; 4], [2, 2], &[0]).unwrap_err();
    /// assert!(matches!(error, Error::Budget { budget: 1000, .. }));
    /// ```
    pub const fn budget(mut self, bytes: usize) -> Self {
        self.budget = Some(bytes);
        self
    }

    /// The smallest [`budget`](Self::budget) in bytes, for so many classes and features and targets of this kind: the logits and the features of 64 rows, 8 bytes for each class, and some 1.1 MiB for the product; with distributions as targets, those of 64
    /// rows; of 16-bit floats, the features of 512 classes.
    ///
    /// ```
    /// use softlane::LinearCrossEntropy;
    ///
    /// let bytes = LinearCrossEntropy::<f32>::least_budget::<u32>([128_256, 4096]);
    /// assert_eq!(bytes / 1_000_000, 36);
    /// ```
    #[must_use]
    pub fn least_budget<I: Target<E>>([classes, features]: [usize; 2]) -> usize {
        Self::need::<I>([classes, features]).least()
    }

    fn need<I: Target<E>>(size: [usize; 2]) -> Need {
        let is_soft = matches!(I::given(&[]), Given::Probs(_));
        Need::new(size, !E::IS_REAL, is_soft)
    }

    /// The reduced loss of rows with the features `inputs`, in a layer with these weights, which has so many classes and features.
    ///
    /// # Errors
    /// As [`CrossEntropy::loss`], and [`Error::Length`] if `inputs` has not as many numbers for each target as there are features, or `weights` not as many as the layer has; [`Error::OptionLength`] if the bias has another number than there
    /// are classes; [`Error::Budget`] if that is too small, [`Error::Memory`] if the system refuses it.
    ///
    /// ```
    /// use softlane::{CrossEntropy, LinearCrossEntropy};
    ///
    /// let layer = LinearCrossEntropy::new(CrossEntropy::new());
    /// let loss = layer.loss(&[1.0_f32, 1.0], &[1.0, -1.0, 2.0, -2.0], [2, 2], &[0])?;
    /// assert_eq!(loss, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss<I: Target<E>>(
        self,
        inputs: &[E],
        weights: &[E],
        size: [usize; 2],
        targets: &[I],
    ) -> Result<f32, Error> {
        self.loss_with(inputs, weights, size, targets, RowOutputs::new())
    }

    /// [`loss`](Self::loss), and what else is found of each row: see [`RowOutputs`]. So rows are scored from their features.
    ///
    /// # Errors
    /// As there, and [`Error::OptionLength`] if an output has another number of rows. Outputs are untouched then.
    ///
    /// ```
    /// use softlane::{CrossEntropy, LinearCrossEntropy, RowOutputs};
    ///
    /// let (mut best, layer) = ([0; 2], LinearCrossEntropy::new(CrossEntropy::new()));
    /// let outputs = RowOutputs::new().argmax(&mut best);
    /// layer.loss_with(&[1.0_f32, -1.0], &[1.0, 2.0], [2, 1], &[0, 0], outputs)?;
    /// assert_eq!(best, [1, 0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_with<I: Target<E>>(
        self,
        inputs: &[E],
        weights: &[E],
        size: [usize; 2],
        targets: &[I],
        outputs: RowOutputs<'_>,
    ) -> Result<f32, Error> {
        let none = LinearGrads::new();
        self.loss_and_grads_with(inputs, weights, size, targets, none, outputs)
    }

    /// The reduced loss, and the gradients that are asked for.
    ///
    /// # Errors
    /// As [`loss`](Self::loss), and [`Error::Length`] if a gradient is not as long as what it is of. Gradients are untouched then (those that were not initialised are 0).
    ///
    /// ```
    /// use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads, Reduction};
    ///
    /// let layer = LinearCrossEntropy::new(CrossEntropy::new().reduction(Reduction::Sum));
    /// let mut dw = [0.0; 2];
    /// let grads = LinearGrads::new().weights(&mut dw);
    /// layer.loss_and_grads(&[1.0_f32, 2.0], &[0.0, 0.0], [2, 1], &[0, 0], grads)?;
    /// assert_eq!(dw, [-1.5, 1.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grads<I: Target<E>>(
        self,
        inputs: &[E],
        weights: &[E],
        size: [usize; 2],
        targets: &[I],
        grads: LinearGrads<'_>,
    ) -> Result<f32, Error> {
        self.loss_and_grads_with(inputs, weights, size, targets, grads, RowOutputs::new())
    }

    /// [`loss_and_grads`](Self::loss_and_grads), and what else is found of each row, as [`loss_with`](Self::loss_with).
    ///
    /// # Errors
    /// As these.
    ///
    /// ```
    /// use softlane::{CrossEntropy, LinearCrossEntropy, LinearGrads, RowOutputs};
    ///
    /// let (mut db, mut losses) = ([0.0; 2], [0.0_f32; 1]);
    /// let layer = LinearCrossEntropy::new(CrossEntropy::new());
    /// let (grads, outputs) = (LinearGrads::new().bias(&mut db), RowOutputs::new().losses(&mut losses));
    /// layer.loss_and_grads_with(&[5.0_f32], &[0.0, 0.0], [2, 1], &[1], grads, outputs)?;
    /// assert_eq!((db, losses), ([0.5, -0.5], [core::f32::consts::LN_2]));
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss_and_grads_with<I: Target<E>>(
        self,
        inputs: &[E],
        weights: &[E],
        size: [usize; 2],
        targets: &[I],
        grads: LinearGrads<'_>,
        outputs: RowOutputs<'_>,
    ) -> Result<f32, Error> {
        let ([classes, features], LinearGrads(grads), loss) = (size, grads, self.loss);
        let targets = I::given(targets);
        let rows = match targets {
            Given::Classes(targets) => targets.len(),
            Given::Probs(probs) if classes > 0 => {
                let (len, rows) = (probs.len(), probs.len() / classes);
                if !len.is_multiple_of(classes) {
                    return Err(Error::Shape { len, classes });
                }
                rows
            }
            Given::Probs(probs) => {
                same_length(0, probs.len())?;
                inputs
                    .len()
                    .checked_div(features)
                    .or(outputs.rows())
                    .unwrap_or(0)
            }
        };
        let [of_inputs, of_weights] = [rows, classes].map(|rows| rows.saturating_mul(features));
        same_length(of_inputs, inputs.len())?;
        same_length(of_weights, weights.len())?;
        if let Some(bias) = self.bias {
            options::length("bias", classes, bias.len())?;
        }
        for (grad, len) in [
            (&grads.inputs, of_inputs),
            (&grads.weights, of_weights),
            (&grads.bias, classes),
        ] {
            if let Some(grad) = grad {
                same_length(len, grad.len())?;
            }
        }
        outputs.check(rows)?;
        loss.check(classes, rows)?;
        let (goal, divisor) = match targets {
            Given::Classes(targets) => {
                let (targets, divisor) = loss.counted(targets, classes)?;
                (Goal::Classes(targets), divisor)
            }
            Given::Probs(probs) => {
                let divisor = loss.soft_divisor(probs, Shape::rows(classes), false)?;
                (Goal::Probs(probs), divisor)
            }
        };
        let need = Self::need::<I>(size);
        let threads = loss.exec.threads(pass::elements([rows, classes, features]));
        let Some(plan) = need.plan(self.budget, rows, threads) else {
            let (budget, least) = (self.budget.unwrap_or(usize::MAX / 2), need.least());
            return Err(Error::Budget { budget, least });
        };
        let isa = loss.exec.copies_with()?;
        let scale = loss.grad_scale(divisor, false);
        let layer = Layer {
            inputs,
            weights,
            bias: self.bias,
            classes,
            features,
            rows,
            goal,
        };
        let means = Means {
            loss,
            scale,
            isa,
            plan,
        };
        let sum = pass::run(&layer, means, grads, outputs)?;
        Ok(loss.reduction.reduce(sum, divisor, loss.empty_mean))
    }
}
