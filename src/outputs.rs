//! What a sweep over the rows may find of each beside its loss, and where it goes.

use crate::element::Real;
use crate::element::sealed::Float;
use crate::error::Error;
use crate::kernel::rounded;
use crate::kernel::wide::{Wide, WideFloat as _};
use crate::options;
use crate::output::Output;

/// Where to put what a sweep over rows finds of each, if it is asked for: see
/// [`CrossEntropy::loss_with`](crate::CrossEntropy::loss_with). Each [`Output`] has one element per row; 0 for a row that does not count.
///
/// ```
/// use softlane::{CrossEntropy, RowOutputs};
///
/// let (mut log_probs, mut best) = ([0.0_f32; 2], [0; 2]);
/// let outputs = RowOutputs::new().log_probs(&mut log_probs).argmax(&mut best);
/// let loss = CrossEntropy::new().loss_with(&[0.0_f32, 20.0, 20.0, 0.0], 2, &[1, 1], outputs)?;
/// assert_eq!((log_probs, best), ([-2.0611537e-9, -20.0], [1, 0]));
/// let perplexity = loss.exp();
/// # assert_eq!(perplexity, 10.0_f32.exp());
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct RowOutputs<'a, T = f32> {
    pub(crate) losses: Option<&'a mut [T]>,
    pub(crate) log_sum_exps: Option<&'a mut [T]>,
    pub(crate) log_probs: Option<&'a mut [T]>,
    pub(crate) entropies: Option<&'a mut [T]>,
    pub(crate) argmax: Option<&'a mut [usize]>,
}

impl<T> Default for RowOutputs<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> RowOutputs<'_, T> {
    /// Nothing is asked for.
    pub const fn new() -> Self {
        Self {
            losses: None,
            log_sum_exps: None,
            log_probs: None,
            entropies: None,
            argmax: None,
        }
    }
}

impl<'a, T: Float> RowOutputs<'a, T> {
    /// The loss, unreduced: what [`CrossEntropy::loss_per_row`](crate::CrossEntropy::loss_per_row) gives.
    ///
    /// ```
    /// use softlane::{CrossEntropy, Reduction, RowOutputs};
    ///
    /// let (mut losses, sum) = ([0.0_f32; 2], CrossEntropy::new().reduction(Reduction::Sum));
    /// let loss = sum.loss_with(&[0.0_f32; 4], 2, &[0, 1], RowOutputs::new().losses(&mut losses))?;
    /// assert_eq!(loss, losses[0] + losses[1]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn losses(mut self, losses: &'a mut (impl Output<T> + ?Sized)) -> Self {
        self.losses = Some(losses.or(T::ZERO));
        self
    }

    /// `lse = ln sum_k e^z_k` of the scaled logits `z`, within 0.8 ULP of `max(|result|, 1)`. It is that of [`logsumexp`](crate::logsumexp), of special rows too, but
    /// another class is left out of the sum, so now and then the last bit differs, and from one target to another.
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let mut lse = [0.0_f32];
    /// CrossEntropy::new().loss_with(&[0.0_f32; 2], 2, &[0], RowOutputs::new().log_sum_exps(&mut lse))?;
    /// assert_eq!(lse, [core::f32::consts::LN_2]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn log_sum_exps(mut self, log_sum_exps: &'a mut (impl Output<T> + ?Sized)) -> Self {
        self.log_sum_exps = Some(log_sum_exps.or(T::ZERO));
        self
    }

    /// The log-probability `z_t - lse` of the target class, whatever the options, within 1.1 ULP: to score rows, without a matrix of log-probabilities. For
    /// a distribution `t`, `sum_k t_k (z_k - lse)` (2.1 ULP if the largest scaled logit is beyond 65 536). Special rows have NaN, or `-inf` where masked rows are
    /// zeros. (With class weights and distributions, rows of few classes go one by one, and take longer.)
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let (mut log_probs, smooth) = ([0.0_f32], CrossEntropy::new().label_smoothing(0.1));
    /// smooth.loss_with(&[20.0_f32, 0.0], 2, &[0], RowOutputs::new().log_probs(&mut log_probs))?;
    /// assert_eq!(log_probs, [-2.0611537e-9]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn log_probs(mut self, log_probs: &'a mut (impl Output<T> + ?Sized)) -> Self {
        self.log_probs = Some(log_probs.or(T::ZERO));
        self
    }

    /// The entropy `-sum_k p_k ln p_k` of the probabilities, in nats: as `ln(1 + others / w) + sum_k p_k (max - z_k)`, where `w` is the largest weight and `others` the sum of the
    /// others, so that no term is negative.
    ///
    /// Within 3.7 ULP (0.1 more with a logit scale), near 0 too. A special row has NaN, or 0 where masked rows are zeros. It costs another exponential for each logit, and takes up to 3
    /// times the time of the losses alone.
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let mut entropies = [0.0_f32];
    /// CrossEntropy::new().loss_with(&[0.0_f32; 2], 2, &[0], RowOutputs::new().entropies(&mut entropies))?;
    /// assert_eq!(entropies, [core::f32::consts::LN_2]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn entropies(mut self, entropies: &'a mut (impl Output<T> + ?Sized)) -> Self {
        self.entropies = Some(entropies.or(T::ZERO));
        self
    }

    /// The class with the largest logit: the first of equals, where NaN counts as largest. 0 for a row of no classes, and for one that
    /// is ignored. Threads share no row then, however long; of a batch they still do.
    ///
    /// ```
    /// use softlane::{CrossEntropy, RowOutputs};
    ///
    /// let mut best = [9];
    /// CrossEntropy::new().loss_with(&[0.0_f32, 7.0, 7.0], 3, &[0], RowOutputs::new().argmax(&mut best))?;
    /// assert_eq!(best, [1]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn argmax(mut self, argmax: &'a mut (impl Output<usize> + ?Sized)) -> Self {
        self.argmax = Some(argmax.or(0));
        self
    }
}

impl<T> RowOutputs<'_, T> {
    /// How many rows one of them is for, if there is one.
    pub(crate) fn rows(&self) -> Option<usize> {
        let numbers = [
            &self.losses,
            &self.log_sum_exps,
            &self.log_probs,
            &self.entropies,
        ];
        let first = numbers.into_iter().flatten().next();
        let argmax = self.argmax.as_ref().map(|slice| slice.len());
        first.map(|slice| slice.len()).or(argmax)
    }

    /// Sets all to 0.
    #[cfg(feature = "linear")]
    pub(crate) fn clear(&mut self)
    where
        T: Float,
    {
        let numbers = [
            &mut self.losses,
            &mut self.log_sum_exps,
            &mut self.log_probs,
            &mut self.entropies,
        ];
        for slice in numbers.into_iter().flatten() {
            slice.fill(T::ZERO);
        }
        if let Some(slice) = &mut self.argmax {
            slice.fill(0);
        }
    }

    /// Checks that each has an element for each row.
    pub(crate) fn check(&self, rows: usize) -> Result<(), Error> {
        let named = [
            ("losses", &self.losses),
            ("log_sum_exps", &self.log_sum_exps),
            ("log_probs", &self.log_probs),
            ("entropies", &self.entropies),
        ];
        for (name, slice) in named {
            if let Some(slice) = slice {
                options::length(name, rows, slice.len())?;
            }
        }
        match &self.argmax {
            Some(slice) => options::length("argmax", rows, slice.len()),
            None => Ok(()),
        }
    }
}

/// Where what is found of rows goes: their losses alone, or [`RowOutputs`].
pub trait Outputs<T: Real> {
    /// The losses, if they are wanted.
    fn losses_mut(&mut self) -> Option<&mut [T]>;
    /// Which of the others are.
    fn wanted(&self) -> Wanted;
    /// Takes what is found of a row.
    fn put(&mut self, row: usize, found: &Found<T>);
}

/// What is wanted of rows beside their losses.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each output")]
pub struct Wanted {
    /// Anything at all.
    pub any: bool,
    pub log_probs: bool,
    pub argmax: bool,
    pub entropies: bool,
}

/// What is found of a row beside its loss.
#[derive(Clone, Copy, Debug)]
pub struct Found<T: Float> {
    pub log_sum_exp: Wide<T>,
    pub log_prob: Wide<T>,
    pub entropy: Wide<T>,
    pub argmax: usize,
}

impl<T: Real> Default for Found<T> {
    fn default() -> Self {
        Self {
            log_sum_exp: Wide::<T>::ZERO,
            log_prob: Wide::<T>::ZERO,
            entropy: Wide::<T>::ZERO,
            argmax: 0,
        }
    }
}

impl<T: Real> Outputs<T> for Option<&mut [T]> {
    #[inline(always)]
    fn losses_mut(&mut self) -> Option<&mut [T]> {
        self.as_deref_mut()
    }

    #[inline(always)]
    fn wanted(&self) -> Wanted {
        Wanted::default()
    }

    #[inline(always)]
    fn put(&mut self, _: usize, _: &Found<T>) {}
}

impl<T: Real> Outputs<T> for RowOutputs<'_, T> {
    #[inline(always)]
    fn losses_mut(&mut self) -> Option<&mut [T]> {
        self.losses.as_deref_mut()
    }

    #[inline(always)]
    fn wanted(&self) -> Wanted {
        let (argmax, entropies) = (self.argmax.is_some(), self.entropies.is_some());
        let log_probs = self.log_probs.is_some();
        Wanted {
            any: argmax | entropies | log_probs | self.log_sum_exps.is_some(),
            log_probs,
            argmax,
            entropies,
        }
    }

    #[inline(never)]
    fn put(&mut self, row: usize, found: &Found<T>) {
        let numbers = [
            (&mut self.log_sum_exps, found.log_sum_exp),
            (&mut self.log_probs, found.log_prob),
            (&mut self.entropies, found.entropy),
        ];
        for (slice, number) in numbers {
            if let Some(slice) = slice {
                slice[row] = rounded(number);
            }
        }
        if let Some(slice) = &mut self.argmax {
            slice[row] = found.argmax;
        }
    }
}
