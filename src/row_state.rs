//! A row in parts: what is known of some of its classes, as plain data that can be merged and sent.

use crate::batch::{Batch, BatchMut};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::partial::{
    Arithmetic, MAX_CHUNKS, MAX_NODES, Node, Nodes, PartGrad, PartProbs, PartSums, Whole, count,
};
use crate::kernel::weights::{Extent, NONE};
use crate::output::Output;
use crate::rows::CHUNK;
use crate::targets::Flat;

/// The most classes that a row in parts has: 2^36, or fewer where `usize` is shorter.
const MOST: usize = MAX_CHUNKS.saturating_mul(CHUNK);

/// What is known of a part of a row of `f32`, so that a row can arrive in pieces, or its classes lie on several machines (a vocabulary-parallel
/// loss). Plain data: [`to_bytes`](Self::to_bytes) makes it fit for any transport.
///
/// Parts that begin at multiples of [`CHUNK`](Self::CHUNK) classes merge with their neighbours, in any grouping and from any side.
/// The state of all classes of the row then gives its log-sum-exp and loss, and, where a part of the logits is, the probabilities
/// and the gradient of that part:
///
/// ```text
/// lse = ln sum_j e^x_j    L = lse - x_t    p_i = e^(x_i - lse)    dL/dx_i = p_i - [i = t]
/// ```
///
/// ```
/// use softlane::{CrossEntropy, RowState};
///
/// let logits: Vec<f32> = (0..10_000).map(|i| (i % 89) as f32 / 8.0).collect();
/// let (left, right) = logits.split_at(RowState::<f32>::CHUNK);
/// let target = Some(9_999);
///
/// // On one machine, and on another, which has heard nothing of the first.
/// let mut head = RowState::new(0, target)?;
/// head.update(left)?;
/// let mut tail = RowState::new(left.len(), target)?;
/// tail.update(right)?;
///
/// // Each sends its state to all. Then, on the second one:
/// let row = tail.merge(RowState::from_bytes(&head.to_bytes())?)?;
/// let mut grad = vec![0.0; right.len()];
/// row.grad(left.len(), right, 1.0, &mut grad)?;
///
/// let mut whole = vec![0.0; 10_000];
/// let loss = CrossEntropy::new().loss_and_grad(&logits, 10_000, &[9_999], &mut whole)?;
/// assert_eq!(row.loss()?, loss);
/// assert_eq!(grad, whole[left.len()..]);
/// # Ok::<(), softlane::Error>(())
/// ```
///
/// # The same bits
///
/// Any grouping gives the same bits, and on backends with fused multiply-add ([`Backend::is_fused`](crate::Backend::is_fused)) they
/// are those of the whole row: of [`logsumexp`](crate::logsumexp()), [`softmax`](crate::softmax()), and of
/// [`CrossEntropy`](crate::CrossEntropy) with losses per row. With three exceptions, in which results are within the same bounds, but may
/// have other bits:
///
/// - Rows of more than one chunk whose maximum is beyond 65 536 in magnitude, or so little above -65 536 that logits below that count.
/// - Rows in which logits without any weight, such as `-inf`, stand before one whose rounding is a tie (two such logits are known): a probability may have another last
///   bit.
/// - Rows where the target is the maximum and all others together have less than 2^-120 of the probability for each chunk, so that the loss is
///   less than that: what classes without probability add may show (see the head of `kernel/partial.rs`).
///
/// If all parts are given the maximum of the row beforehand ([`with_max`](Self::with_max)), there is none. It costs machines one more
/// exchange, of one number.
///
/// Without fused multiply-add, a row in parts may have other bits than a whole one, unless the maximum is given: if that is beyond 512 in magnitude, and seldom otherwise, where
/// a product that happens to end in one half may be rounded either way. The scalar path has no bits in common with whole rows of more than one chunk; its
/// parts have their textbook form, maximum and sum, and merge in the same order.
///
/// What is merged has to be of one arithmetic, so parts from a machine with fused multiply-add and one without are an error.
///
/// # Errors and special rows
///
/// That a state is of all classes is for the caller to see ([`end`](Self::end)); a row whose last part is left out is a shorter row. Logits that are asked for
/// probabilities or gradients have to be those of the state: of others, the results mean nothing. Masked rows are NaN.
///
/// Errors leave the state and the outputs as they were. Special rows are as elsewhere: a row with NaN or `+inf` has loss and
/// probabilities NaN (log-sum-exp of `+inf`: `+inf`), a row of `-inf` alone NaN (log-sum-exp `-inf`), wherever its parts are.
///
/// Bounds of errors are those of the whole row: 0.8 ULP of `max(|lse|, 1)`, 1.1 of a loss, 2.9 of probabilities and gradients (3.4 below
/// 2^-122).
///
/// `PyTorch` has no such function; `Megatron-LM` calls what it is for `vocab_parallel_cross_entropy`. Sources: Milakov and Gimelshein, "Online normalizer calculation for
/// softmax", 2018 (sums beside different maxima merge); Shoeybi et al., "Megatron-LM", 2019, section 3 (the classes of a loss on several
/// devices).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RowState<T: Real = f32> {
    exec: Exec,
    start: usize,
    end: usize,
    target: Option<usize>,
    /// That of the target, if it is here; 0 otherwise.
    logit: T,
    given: Option<T>,
    nodes: Nodes<T>,
}

impl<T: Real<Wide = f64>> RowState<T> {
    /// Parts begin at multiples of as many classes.
    pub const CHUNK: usize = CHUNK;

    /// The bytes that a state takes.
    pub const BYTES: usize = BYTES;

    /// A part of a row without classes yet, which begins at class `start`. `target` is the target's class in the whole row, for a
    /// loss; all parts are given the same.
    ///
    /// # Errors
    /// [`Error::Boundary`] if `start` is no multiple of [`CHUNK`](Self::CHUNK), [`Error::Option`] if it is
    /// beyond 2^36, or the target is no class below that.
    ///
    /// ```
    /// use softlane::{Error, RowState};
    ///
    /// let error = RowState::<f32>::new(1000, None).unwrap_err();
    /// assert_eq!(error, Error::Boundary { class: 1000 });
    /// ```
    pub fn new(start: usize, target: Option<usize>) -> Result<Self, Error> {
        Self::of(start, target, None)
    }

    /// [`new`](Self::new), where the largest logit of the whole row is known to be `max`, as [`max`](crate::max()) has it: then every
    /// row has the bits of the whole one. All parts are given the same.
    ///
    /// # Errors
    /// As there. If `max` is not what is said, [`Error::Maximum`] will follow; but if it is NaN, the row is taken for one with NaN.
    ///
    /// ```
    /// use softlane::RowState;
    ///
    /// let logits = [1e6_f32, 999_990.0];
    /// let mut row = RowState::with_max(0, Some(1), softlane::max(&logits)?)?;
    /// row.update(&logits)?;
    /// assert_eq!(row.loss()?, 10.000046);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn with_max(start: usize, target: Option<usize>, max: T) -> Result<Self, Error> {
        // Of which there is one.
        // And a zero is positive.
        Self::of(start, target, Some(canonical(max) + T::ZERO))
    }

    fn of(start: usize, target: Option<usize>, given: Option<T>) -> Result<Self, Error> {
        if !start.is_multiple_of(CHUNK) {
            return Err(Error::Boundary { class: start });
        }
        // A target is a class.
        let options = [
            ("start", start, MOST, "at most 2^36"),
            ("target", target.unwrap_or(0), MOST - 1, "less than 2^36"),
        ];
        for (name, value, most, expected) in options {
            if value > most {
                return Err(Error::Option {
                    name,
                    value: value as f64,
                    expected,
                });
            }
        }
        Ok(Self {
            exec: Exec::new(),
            start,
            end: start,
            target,
            logit: T::ZERO,
            given,
            // Of any arithmetic, until there is something.
            nodes: Nodes::new(start / CHUNK, Arithmetic::Fused, given),
        })
    }

    /// Where it runs. This is not among the bytes; a merged state has that of the one which merges. The sums of a part are taken on the
    /// calling thread; probabilities and gradients may be spread over threads.
    pub const fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// The first class of the part.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// The class after the last one.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// Adds the classes from [`end`](Self::end) on, of which these are the logits.
    ///
    /// # Errors
    /// [`Error::Boundary`] if the part does not end at a multiple of [`CHUNK`](Self::CHUNK) so far, [`Error::Part`] if there would be more
    /// than 2^36 classes, [`Error::Maximum`] if a logit is larger than the given maximum, or NaN beside a finite one, [`Error::Arithmetic`] if the backend has another than the part so far, [`Error::Backend`] if
    /// `SOFTLANE_BACKEND` names none. The state is as it was then.
    ///
    /// ```
    /// let mut row = softlane::RowState::new(0, None)?;
    /// row.update(&[0.0_f32; 4096])?;
    /// row.update(&[0.0_f32; 4])?;
    /// assert_eq!((row.start(), row.end()), (0, 4100));
    /// assert!(row.update(&[0.0_f32]).is_err());
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn update<E: Element<Real = T>>(&mut self, logits: &[E]) -> Result<(), Error> {
        if logits.is_empty() {
            return Ok(());
        }
        if !self.end.is_multiple_of(CHUNK) {
            return Err(Error::Boundary { class: self.end });
        }
        let end = self.end.saturating_add(logits.len());
        if end > MOST {
            return Err(Error::Part {
                part: [self.end, end],
                classes: MOST,
            });
        }
        if self.end > self.start {
            self.same_arithmetic(self.exec.arithmetic()?)?;
        }
        let sums = PartSums {
            target: self.target.unwrap_or(NONE),
            given: self.given,
        };
        let flat = flat(self.end, logits.len());
        let nodes = E::part_sums(self.exec, sums, (Batch::flat(logits), flat))?;
        if let Some(given) = self.given {
            for node in nodes.nodes() {
                let found = largest(node.extent);
                if !(given.is_nan() || found <= given) {
                    return Err(not_the_maximum(given, found));
                }
            }
        }
        self.append(&nodes);
        if let Some(target) = self.target
            && (self.end..end).contains(&target)
        {
            self.logit = canonical(logits[target - self.end].to_real());
        }
        self.end = end;
        Ok(())
    }

    /// The part that this one and a neighbour are together, whichever is first.
    ///
    /// # Errors
    /// [`Error::Apart`] if neither begins where the other ends, [`Error::Targets`], [`Error::Maximum`] or [`Error::Arithmetic`]
    /// if their targets, given maxima or arithmetics differ.
    ///
    /// ```
    /// use softlane::{Error, RowState};
    ///
    /// let mut head = RowState::new(0, None)?;
    /// head.update(&[1.0_f32; 4096])?;
    /// let mut tail = RowState::new(4096, None)?;
    /// tail.update(&[1.0_f32; 4096])?;
    /// // 1 + ln 8192
    /// assert_eq!(tail.merge(head)?.log_sum_exp()?, 10.0109129);
    ///
    /// let far = RowState::new(12_288, None)?;
    /// let (left, right) = ([0, 4096], [12_288, 12_288]);
    /// assert_eq!(head.merge(far).unwrap_err(), Error::Apart { left, right });
    /// # Ok::<(), Error>(())
    /// ```
    pub fn merge(self, other: Self) -> Result<Self, Error> {
        let (mut left, right) = if self.end == other.start {
            (self, other)
        } else if other.end == self.start {
            (other, self)
        } else {
            return Err(Error::Apart {
                left: [self.start, self.end],
                right: [other.start, other.end],
            });
        };
        if self.target != other.target {
            return Err(Error::Targets {
                left: self.target,
                right: other.target,
            });
        }
        let [a, b] = [self.given, other.given].map(|max| max.map(T::to_f64));
        // A zero is one, whatever its sign; the only NaN is itself.
        if a != b && !(a.is_some_and(f64::is_nan) && b.is_some_and(f64::is_nan)) {
            return Err(Error::Maximum { given: a, found: b });
        }
        if left.end > left.start && right.end > right.start {
            left.same_arithmetic(right.nodes.arithmetic())?;
        }
        left.append(&right.nodes);
        if let Some(target) = right.target
            && (right.start..right.end).contains(&target)
        {
            left.logit = right.logit;
        }
        left.end = right.end;
        left.exec = self.exec;
        Ok(left)
    }

    /// The log-sum-exp of the row, of which this is the state.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if it is the state of a part that does not begin at class 0, [`Error::Maximum`] if it has not the maximum that was
    /// given.
    ///
    /// ```
    /// let mut row = softlane::RowState::new(0, None)?;
    /// row.update(&[0.0_f32, 0.0])?;
    /// assert_eq!(row.log_sum_exp()?, core::f32::consts::LN_2);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn log_sum_exp(&self) -> Result<T, Error> {
        let whole = self.whole()?;
        #[cfg(feature = "std")]
        if whole.arithmetic == Arithmetic::Scalar {
            return Ok(whole.textbook_log_sum_exp());
        }
        Ok(whole.log_sum_exp())
    }

    /// The loss of the row, of which this is the state: `-ln p_t`.
    ///
    /// # Errors
    /// As [`log_sum_exp`](Self::log_sum_exp), and [`Error::NoTarget`] if there is none, [`Error::Target`] if it is none of the
    /// classes.
    ///
    /// ```
    /// let mut row = softlane::RowState::new(0, Some(0))?;
    /// row.update(&[20.0_f32, 0.0, 1.0, 2.0])?;
    /// assert_eq!(row.loss()?, 2.289393e-8);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn loss(&self) -> Result<T, Error> {
        let whole = self.whole()?;
        self.checked_target()?;
        #[cfg(feature = "std")]
        if whole.arithmetic == Arithmetic::Scalar {
            return Ok(whole.textbook_loss(self.logit));
        }
        Ok(whole.loss(self.logit))
    }

    /// The probabilities of some of the classes, of which `logits` are the logits, in the row of which this is the state.
    ///
    /// # Errors
    /// As [`log_sum_exp`](Self::log_sum_exp), and [`Error::Length`] if `probs` is not as long as `logits`, [`Error::Part`] if they are more than the classes,
    /// [`Error::Arithmetic`] if the backend has another than the state, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `probs` is untouched then.
    ///
    /// ```
    /// let mut row = softlane::RowState::new(0, None)?;
    /// row.update(&[0.0_f32; 4])?;
    /// let mut probs = [0.0; 2];
    /// row.probs(&[0.0_f32; 2], &mut probs)?;
    /// assert_eq!(probs, [0.25; 2]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn probs<E: Element<Real = T>>(
        &self,
        logits: &[E],
        probs: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.write_probs(logits.len(), BatchMut::flat(logits, probs)?)
    }

    /// [`probs`](Self::probs) that takes the place of the logits.
    ///
    /// # Errors
    /// As there. The logits are untouched then.
    ///
    /// ```
    /// let mut x = [7.0_f32; 4];
    /// let mut row = softlane::RowState::new(0, None)?;
    /// row.update(&x)?;
    /// row.probs_in_place(&mut x)?;
    /// assert_eq!(x, [0.25; 4]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn probs_in_place<E: Element<Real = T>>(&self, logits: &mut [E]) -> Result<(), Error> {
        self.write_probs(logits.len(), BatchMut::flat_in_place(logits))
    }

    /// The gradient of the loss, times `scale`, with respect to the classes from `start` on, of which `logits` are the logits: `p_i`, less 1 at the target, in
    /// the row of which this is the state.
    ///
    /// `scale` is the gradient of what follows with respect to the loss of this row: 1, or for the mean over some rows the inverse of
    /// their number. A `scale` that is not finite makes all gradients NaN.
    ///
    /// # Errors
    /// As [`loss`](Self::loss) and [`probs`](Self::probs); [`Error::Part`] if these classes are not all in the row. `grad` is untouched then.
    ///
    /// ```
    /// let mut row = softlane::RowState::new(0, Some(1))?;
    /// row.update(&[0.0_f32; 4])?;
    /// let mut grad = [0.0; 4];
    /// row.grad(0, &[0.0_f32; 4], 2.0, &mut grad)?;
    /// assert_eq!(grad, [0.5, -1.5, 0.5, 0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn grad<E: Element<Real = T>>(
        &self,
        start: usize,
        logits: &[E],
        scale: f64,
        grad: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.write_grad(start, logits.len(), scale, BatchMut::flat(logits, grad)?)
    }

    /// [`grad`](Self::grad) that takes the place of the logits.
    ///
    /// # Errors
    /// As there. The logits are untouched then.
    ///
    /// ```
    /// let mut x = [0.0_f32; 2];
    /// let mut row = softlane::RowState::new(0, Some(1))?;
    /// row.update(&x)?;
    /// row.grad_in_place(0, &mut x, 1.0)?;
    /// assert_eq!(x, [0.5, -0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn grad_in_place<E: Element<Real = T>>(
        &self,
        start: usize,
        logits: &mut [E],
        scale: f64,
    ) -> Result<(), Error> {
        self.write_grad(start, logits.len(), scale, BatchMut::flat_in_place(logits))
    }

    fn write_probs<E: Element<Real = T>>(
        &self,
        len: usize,
        rows: BatchMut<'_, E, 1>,
    ) -> Result<(), Error> {
        let whole = self.whole()?;
        self.check_part(0, len)?;
        if len == 0 {
            return Ok(());
        }
        E::part_probs(self.exec, PartProbs(whole), (rows, flat(0, len)))
    }

    fn write_grad<E: Element<Real = T>>(
        &self,
        start: usize,
        len: usize,
        scale: f64,
        rows: BatchMut<'_, E, 1>,
    ) -> Result<(), Error> {
        let whole = self.whole()?;
        let target = (self.checked_target()?, self.logit);
        self.check_part(start, len)?;
        if len == 0 {
            return Ok(());
        }
        let grad = PartGrad {
            whole,
            target,
            scale,
        };
        E::part_grad(self.exec, grad, (rows, flat(start, len)))
    }

    /// The nodes behind those that are here.
    fn append(&mut self, nodes: &Nodes<T>) {
        if self.end == self.start {
            self.nodes = *nodes;
        } else {
            self.nodes.append(nodes);
        }
    }

    /// The row, if this is its state.
    fn whole(&self) -> Result<Whole<T>, Error> {
        if self.start != 0 {
            return Err(Error::Incomplete { start: self.start });
        }
        let mut node = self.nodes.total();
        if let Some(given) = self.given {
            let found = largest(node.extent);
            if given.is_nan() {
                // One beside finite logits has not been looked for.
                node = Node::special(Extent::Nan);
            } else if found != given {
                return Err(not_the_maximum(given, found));
            }
        }
        Ok(Whole {
            node,
            arithmetic: self.nodes.arithmetic(),
        })
    }

    fn checked_target(&self) -> Result<usize, Error> {
        let target = self.target.ok_or(Error::NoTarget)?;
        if target < self.end {
            return Ok(target);
        }
        Err(Error::Target {
            row: 0,
            target: target as i128,
            classes: self.end,
        })
    }

    /// Checks that there are these classes, and that the backend is one that has weighed them.
    fn check_part(&self, start: usize, len: usize) -> Result<(), Error> {
        let end = start.saturating_add(len);
        if end > self.end {
            return Err(Error::Part {
                part: [start, end],
                classes: self.end,
            });
        }
        let arithmetic = self.exec.arithmetic()?;
        if self.end == self.start {
            return Ok(());
        }
        self.same_arithmetic(arithmetic)
    }

    fn same_arithmetic(&self, other: Arithmetic) -> Result<(), Error> {
        let own = self.nodes.arithmetic();
        if own == other {
            return Ok(());
        }
        Err(Error::Arithmetic {
            left: own.name(),
            right: other.name(),
        })
    }
}

/// Classes from `start` on, as kernels count them.
fn flat(start: usize, len: usize) -> Flat<'static> {
    Flat {
        start,
        len,
        ignored: None,
    }
}

/// The largest element of what has this extent; NaN if there is one.
fn largest<T: Real>(extent: Extent<T>) -> T {
    match extent {
        Extent::Finite(max) => max,
        Extent::Masked => T::NEG_INFINITY,
        Extent::Infinite => T::INFINITY,
        Extent::Nan => T::NAN,
    }
}

fn not_the_maximum<T: Real>(given: T, found: T) -> Error {
    Error::Maximum {
        given: Some(given.to_f64()),
        found: Some(found.to_f64()),
    }
}

/// With the canonical NaN in place of any other.
fn canonical<T: Real>(x: T) -> T {
    if x.is_nan() { T::NAN } else { x }
}

/// What the bytes of a state begin with, its version included.
const MAGIC: [u8; 4] = *b"SLR1";
// Where each thing begins.
const ELEMENT_AT: usize = 4;
const ARITHMETIC_AT: usize = 5;
const HAS_TARGET_AT: usize = 6;
const HAS_MAX_AT: usize = 7;
const START_AT: usize = 8;
const END_AT: usize = 16;
const TARGET_AT: usize = 24;
const LOGIT_AT: usize = 32;
const MAX_AT: usize = 40;
const OTHERS_AT: usize = 48;
const NODES_AT: usize = 56;
const NODE_BYTES: usize = 16;

/// The arithmetics, as bytes have them; 0 is none.
const ARITHMETICS: [Arithmetic; 3] = [Arithmetic::Scalar, Arithmetic::Unfused, Arithmetic::Fused];

impl<T: Real<Wide = f64>> RowState<T> {
    /// The state as bytes, the same on every platform; where it runs is not among them.
    ///
    /// Numbers are little-endian:
    ///
    /// | bytes | what |
    /// | --- | --- |
    /// | 0..4 | `SLR1` |
    /// | 4 | the element type: 4 is `f32` |
    /// | 5 | what has weighed it: 1 scalar, 2 without fused multiply-add, 3 with; 0 if there is nothing yet |
    /// | 6 | 1 if there is a target, else 0 |
    /// | 7 | 1 if the maximum is given, else 0 |
    /// | 8..16 | the first class |
    /// | 16..24 | the class after the last |
    /// | 24..32 | the target, or 0 |
    /// | 32..40 | its logit (`f64`), 0 if it is not among the classes |
    /// | 40..48 | the given maximum (`f64`), or 0 |
    /// | 48..56 | the sum of the target's node without the target (`f64`), 0 if it is not among the classes |
    /// | 56.. | nodes, from left to right: the maximum (`f64`; `-inf`: masked, `+inf` or NaN: no weights), the sum of the weights (`f64`); then 0 |
    ///
    /// Nodes are the complete nodes of the binary tree over the chunks that make up the part, as few as there can be.
    ///
    /// ```
    /// use softlane::RowState;
    ///
    /// let mut row = RowState::new(0, Some(1))?;
    /// row.update(&[0.0_f32, 1.0])?;
    /// let copy = RowState::<f32>::from_bytes(&row.to_bytes())?;
    /// assert_eq!(copy.loss(), row.loss());
    /// # Ok::<(), softlane::Error>(())
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        let is_empty = self.end == self.start;
        let arithmetic = ARITHMETICS
            .iter()
            .position(|&a| !is_empty && a == self.nodes.arithmetic())
            .map_or(0, |i| i as u8 + 1);
        put(0, &MAGIC);
        put(
            ELEMENT_AT,
            &[
                size_of::<T>() as u8,
                arithmetic,
                u8::from(self.target.is_some()),
                u8::from(self.given.is_some()),
            ],
        );
        put(START_AT, &(self.start as u64).to_le_bytes());
        put(END_AT, &(self.end as u64).to_le_bytes());
        put(TARGET_AT, &(self.target.unwrap_or(0) as u64).to_le_bytes());
        put(LOGIT_AT, &self.logit.to_f64().to_le_bytes());
        let given = self.given.map_or(0.0, T::to_f64);
        put(MAX_AT, &given.to_le_bytes());
        let nodes = self.nodes.nodes();
        if let Some(i) = self.node_of_target() {
            put(OTHERS_AT, &nodes[i].sums[1].to_le_bytes());
        }
        for (i, node) in nodes.iter().enumerate() {
            let at = NODES_AT + i * NODE_BYTES;
            put(at, &largest(node.extent).to_f64().to_le_bytes());
            put(at + 8, &node.sums[0].to_le_bytes());
        }
        bytes
    }

    /// The state that these are the bytes of.
    ///
    /// # Errors
    /// [`Error::Bytes`] if they are not those of a state of this element type. Whatever is accepted can be merged and asked
    /// without harm.
    ///
    /// ```
    /// use softlane::{Error, RowState};
    ///
    /// let mut bytes = RowState::<f32>::new(4096, None)?.to_bytes();
    /// bytes[8] = 1;
    /// assert_eq!(RowState::<f32>::from_bytes(&bytes).unwrap_err(), Error::Bytes { at: 8 });
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Result<Self, Error> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let number = |at: usize| f64::from_bits(word(at));
        // One that the type has, and the canonical NaN.
        let element = |at: usize| {
            let x = T::from_f64(number(at));
            check(canonical(x).to_f64().to_bits() == word(at), at).map(|()| x)
        };
        let class = |at: usize| {
            let class = usize::try_from(word(at)).ok();
            class
                .filter(|&class| class <= MOST)
                .ok_or(Error::Bytes { at })
        };
        check(bytes[..ELEMENT_AT] == MAGIC, 0)?;
        check(usize::from(bytes[ELEMENT_AT]) == size_of::<T>(), ELEMENT_AT)?;
        for at in [HAS_TARGET_AT, HAS_MAX_AT] {
            check(bytes[at] <= 1, at)?;
        }
        let (start, end) = (class(START_AT)?, class(END_AT)?);
        check(start.is_multiple_of(CHUNK), START_AT)?;
        check(start <= end, END_AT)?;
        let target = (bytes[HAS_TARGET_AT] == 1)
            .then(|| class(TARGET_AT))
            .transpose()?;
        check(target.map_or(word(TARGET_AT) == 0, |t| t < MOST), TARGET_AT)?;
        let given = (bytes[HAS_MAX_AT] == 1)
            .then(|| element(MAX_AT))
            .transpose()?;
        check(given.is_some() || word(MAX_AT) == 0, MAX_AT)?;
        let index = usize::from(bytes[ARITHMETIC_AT]);
        check((index == 0) == (start == end), ARITHMETIC_AT)?;
        // None of nothing.
        let arithmetic = match index {
            0 => Some(Arithmetic::Fused),
            _ => ARITHMETICS.get(index - 1).copied(),
        };
        let known = arithmetic.filter(|&a| cfg!(feature = "std") || a != Arithmetic::Scalar);
        let arithmetic = known.ok_or(Error::Bytes { at: ARITHMETIC_AT })?;

        let mut state = Self {
            end,
            given,
            ..Self::new(start, target)?
        };
        let (first, last) = (start / CHUNK, end.div_ceil(CHUNK));
        let mut nodes = [Node::special(Extent::Masked); MAX_NODES];
        let count = count(first, last);
        for (i, node) in nodes.iter_mut().enumerate() {
            let at = NODES_AT + i * NODE_BYTES;
            if i >= count {
                check(word(at) == 0, at)?;
                check(word(at + 8) == 0, at + 8)?;
                continue;
            }
            node.extent = Extent::of(element(at)?);
            let sum = number(at + 8);
            check(is_sum(node.extent, given, arithmetic, sum), at + 8)?;
            node.sums = [sum; 2];
        }
        state.nodes = Nodes::from_parts(first, last, arithmetic, given, nodes);
        let others = number(OTHERS_AT);
        if let Some(i) = state.node_of_target() {
            state.logit = element(LOGIT_AT)?;
            let [all, _] = nodes[i].sums;
            // Without a weight that was not there, or one that a sum shows or does not.
            let is_part = others.is_sign_positive() && others <= 2.0 * all;
            check(is_part, OTHERS_AT)?;
            nodes[i].sums[1] = others;
            state.nodes = Nodes::from_parts(first, last, arithmetic, given, nodes);
        } else {
            check(word(LOGIT_AT) == 0, LOGIT_AT)?;
            check(word(OTHERS_AT) == 0, OTHERS_AT)?;
        }
        Ok(state)
    }

    /// Which node has the target, if any.
    fn node_of_target(&self) -> Option<usize> {
        let target = self.target.filter(|t| (self.start..self.end).contains(t))?;
        let mut end = self.start / CHUNK;
        self.nodes.levels().position(|level| {
            end += 1 << level;
            target / CHUNK < end
        })
    }
}

/// [`RowState::BYTES`]
const BYTES: usize = NODES_AT + MAX_NODES * NODE_BYTES;

fn check(is_so: bool, at: usize) -> Result<(), Error> {
    if is_so {
        Ok(())
    } else {
        Err(Error::Bytes { at })
    }
}

/// Whether a node may have this sum.
fn is_sum<T: Real>(extent: Extent<T>, given: Option<T>, arithmetic: Arithmetic, sum: f64) -> bool {
    // The weight of the maximum is at least half of this, and there are at most 2^36, of which each is at most twice as much.
    let one = if arithmetic == Arithmetic::Scalar {
        1.0
    } else {
        unit_weight::<T>()
    };
    let least = match (given, extent) {
        (Some(given), Extent::Finite(max)) if max == given => 0.5 * one,
        // Next to nothing, if the maximum is elsewhere.
        (Some(given), Extent::Finite(max)) if max <= given && given < T::INFINITY => 0.0,
        (Some(given), Extent::Masked) if T::NEG_INFINITY < given && given < T::INFINITY => 0.0,
        (None, Extent::Finite(_)) => 0.5 * one,
        // No weights.
        _ => return sum.to_bits() == 0,
    };
    sum.is_sign_positive() && least <= sum && sum <= one * (1_u64 << 38) as f64
}

/// `2^lift`
#[expect(clippy::cast_sign_loss, reason = "a biased exponent is positive")]
fn unit_weight<T: Real>() -> f64 {
    let exponent = 1023.0 + T::EXP.lift.to_f64();
    f64::from_bits((exponent as u64) << 52)
}
