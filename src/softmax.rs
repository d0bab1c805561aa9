//! Softmax and log-softmax of a batch of rows, and their options: those of attention.

use crate::batch::BatchMut;
use crate::element::{Element, Real};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::backward::Backward;
use crate::kernel::masked::Masked;
use crate::kernel::masked_backward::MaskedBackward;
use crate::kernel::masks::{Causal, Masks};
use crate::kernel::scale::{One, Scale};
use crate::kernel::{self, MaskedRows};
use crate::options;
use crate::output::Output;
use crate::rows::{FirstRow, Split as _};
use crate::shape::Shape;

/// Softmax and log-softmax with options, forward and backward: what attention does with its scores. The functions [`softmax`],
/// [`log_softmax`], their in-place forms and backward passes are the same without.
///
/// With all options, each of which is off unless it is called, row `r` of logits `x` has
///
/// ```text
/// z_i = s x_i + m_i, or -inf where class i takes no part
/// p_i = e^z_i / (e^b + sum_j e^z_j)                ln p_i = z_i - ln(e^b + sum_j e^z_j)
/// dL/dx_i = s p_i (g_i - sum_j p_j g_j)            for g = dL/dp
/// dL/dx_i = s (g_i - p_i sum_j g_j)                for g = dL/d ln p, sums over the classes that take part
/// ```
///
/// | | option | in `PyTorch`'s `scaled_dot_product_attention` |
/// | --- | --- | --- |
/// | `s` | [`logit_scale`](Self::logit_scale) | `scale` |
/// | `m` | [`mask`](Self::mask) | `attn_mask` of floats |
/// | takes part | [`bool_mask`](Self::bool_mask) | `attn_mask` of `bool` |
/// | takes part | [`causal`](Self::causal) | `is_causal` |
/// | `b` | [`sinks`](Self::sinks) | none |
/// | | [`masked_rows`](Self::masked_rows) | 0 where every class is masked (`softmax`: NaN) |
///
/// They combine freely: a class takes part if every mask says so. With masks, causal rows or sinks, rows go one by one, each on one thread.
///
/// Each probability is within 2.9 ULP of the exact one for every finite row (those below 2^-122 within 0.5 more; 0.1 more with a
/// logit scale), each log-probability within 1.6, as without options. With an additive mask, the scale is rounded to the element type and `z_i` once, to the nearest; errors count from there. Without, no product
/// is rounded. Errors of gradients are stated [there](Self::probs_backward).
///
/// Special rows: where a class takes no part by a boolean or causal mask, its logit is not looked at, its probability is exactly 0, its
/// log-probability `-inf` and its gradient 0 (unless the row is NaN for another reason, which its results are throughout; gradients are 0 then too). An additive mask is data: `-inf` there does the same to a logit that is finite or `-inf`, but NaN
/// stays NaN, and the gradient of a log-probability is passed on, as without options. A row with a `z_i` of `+inf` or NaN is NaN throughout, and so is one whose sink is. A row without any class that has a
/// probability is NaN ([`masked_rows`](Self::masked_rows)), but with a sink, which then has all of it, it is 0.
///
/// ```
/// use softlane::Softmax;
///
/// // Two queries of one head, four keys, of which two are in the cache.
/// let scores = [1.0_f32, 1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 2.0];
/// let mut p = [9.0; 8];
/// Softmax::new().logit_scale(0.5).causal(2, 2).probs(&scores, 4, &mut p)?;
/// let third = 0.33333334;
/// assert_eq!(p, [third, third, third, 0.0, 0.25, 0.25, 0.25, 0.25]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Softmax<'a, T = f32> {
    exec: Exec,
    masked_rows: MaskedRows,
    logit_scale: Option<f64>,
    mask: Option<&'a [T]>,
    bool_mask: Option<&'a [bool]>,
    causal: Option<(usize, usize)>,
    sinks: Option<(&'a [T], usize)>,
}

impl<T: Real> Default for Softmax<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Real> Softmax<'a, T> {
    /// Default options.
    pub const fn new() -> Self {
        Self {
            exec: Exec::new(),
            masked_rows: MaskedRows::Nan,
            logit_scale: None,
            mask: None,
            bool_mask: None,
            causal: None,
            sinks: None,
        }
    }

    /// Where it runs.
    pub const fn exec(mut self, exec: Exec) -> Self {
        self.exec = exec;
        self
    }

    /// What a row gets whose logits are all `-inf`, or none of whose classes takes part, and which has no sink: NaN, as in `PyTorch`'s `softmax` (the
    /// default), or probabilities 0 and log-probabilities `-inf`.
    ///
    /// ```
    /// use softlane::{MaskedRows, Softmax};
    ///
    /// let masked = [f32::NEG_INFINITY; 3];
    /// let mut p = [9.0; 3];
    /// Softmax::new().probs(&masked, 3, &mut p)?;
    /// assert!(p.iter().all(|p| p.is_nan()));
    /// Softmax::new().masked_rows(MaskedRows::Zero).probs(&masked, 3, &mut p)?;
    /// assert_eq!(p, [0.0; 3]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn masked_rows(mut self, masked_rows: MaskedRows) -> Self {
        self.masked_rows = masked_rows;
        self
    }

    /// What every logit is multiplied by: 1 over the temperature, or 1 over the root of the dimension of a head. A positive number that
    /// the element type has, if rounded. No product is rounded, and none costs an instruction, unless there is a [`mask`](Self::mask), for
    /// which the scale is rounded to the element type.
    ///
    /// ```
    /// let (mut p, mut q) = ([0.0_f32; 2], [0.0; 2]);
    /// softlane::Softmax::new().logit_scale(2.0).probs(&[0.5, 0.0], 2, &mut p)?;
    /// softlane::softmax(&[1.0, 0.0], 2, &mut q)?;
    /// assert_eq!(p, q);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn logit_scale(mut self, scale: f64) -> Self {
        self.logit_scale = Some(scale);
        self
    }

    /// What is added to the logits, after they are multiplied: rows of as many numbers as there are classes, of which row `r` of the
    /// batch has number `r` modulo theirs. One row of them is for every row of the batch; a square of queries and keys, for instance, for every
    /// head. It is data, such as `-inf` for a class that takes no part, or a bias that depends on distance.
    ///
    /// ```
    /// let mut p = [9.0_f32; 4];
    /// let mask = [0.0, f32::NEG_INFINITY];
    /// softlane::Softmax::new().mask(&mask).probs(&[1.0; 4], 2, &mut p)?;
    /// assert_eq!(p, [1.0, 0.0, 1.0, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    ///
    /// Source of such a bias: Press et al., "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation", 2022.
    pub const fn mask(mut self, mask: &'a [T]) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Whether each class takes part, in rows that are to the batch as those of [`mask`](Self::mask) are: true, and it does (as in `PyTorch`'s
    /// `scaled_dot_product_attention`; in its `MultiheadAttention`, true is what takes none).
    ///
    /// ```
    /// let mut p = [9.0_f32; 3];
    /// let mask = [true, true, false];
    /// softlane::Softmax::new().bool_mask(&mask).probs(&[1.0, 1.0, f32::NAN], 3, &mut p)?;
    /// assert_eq!(p, [0.5, 0.5, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn bool_mask(mut self, mask: &'a [bool]) -> Self {
        self.bool_mask = Some(mask);
        self
    }

    /// Of every `queries` rows, row `i`, counted from 0, sees the classes `0..=i + offset`; the others take no part, and are not read. An offset of 0 is
    /// `PyTorch`'s `is_causal`; `classes - queries` aligns the last query with the last key, for keys that were there before the first
    /// query.
    ///
    /// ```
    /// let mut p = [9.0_f32; 4];
    /// softlane::Softmax::new().causal(2, 0).probs(&[1.0, 7.0, 1.0, 1.0], 2, &mut p)?;
    /// assert_eq!(p, [1.0, 0.0, 0.5, 0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub const fn causal(mut self, queries: usize, offset: usize) -> Self {
        self.causal = Some((queries, offset));
        self
    }

    /// Logits of a class that is in no row and gets no result, but takes its share of the probability: one for `rows_each` rows after
    /// the other (the queries of a head), and from the first again after the last. They are neither multiplied nor masked; `-inf` is no sink. So
    /// probabilities add up to less than 1, and to 0 in a row whose classes take no part.
    ///
    /// ```
    /// let mut p = [9.0_f32; 4];
    /// // Two rows, of which each has its own.
    /// softlane::Softmax::new().sinks(&[0.0, f32::NEG_INFINITY], 1).probs(&[0.0; 4], 2, &mut p)?;
    /// assert_eq!(p, [0.33333334, 0.33333334, 0.5, 0.5]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    ///
    /// The gradient with respect to a sink is the sum over its rows of `-q sum_j p_j g_j`, for `g = dL/dp`, or of `-q sum_j g_j`, for `g = dL/d
    /// ln p`, where `q` is what the probabilities of the row leave of 1: `e^(b - z_i + ln p_i)`, of any class `i` of the row that takes part.
    ///
    /// Where logits times a scale that is not 1 are beyond 2^25, the share of the sink is off by 2^-53 of them.
    ///
    /// Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2024; as a learned logit of each head in gpt-oss
    /// (`ggml`: `ggml_soft_max_add_sinks`).
    pub const fn sinks(mut self, sinks: &'a [T], rows_each: usize) -> Self {
        self.sinks = Some((sinks, rows_each));
        self
    }

    /// The probabilities of each row of logits `x`, which fill `y`: [`softmax`] with these options.
    ///
    /// # Errors
    /// As there, and [`Error::Option`], [`Error::OptionShape`] or [`Error::OptionRows`] if an option is out of its range or does not fit the
    /// batch: masks are whole rows, and they, the queries of [`causal`](Self::causal) and the rows of all [`sinks`](Self::sinks) come out even in it.
    pub fn probs<E: Element<Real = T>>(
        self,
        x: &[E],
        shape: impl Into<Shape>,
        y: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.probs_of(BatchMut::new([x], shape.into(), y)?)
    }

    /// The same, written over the logits: [`softmax_in_place`] with these options.
    ///
    /// # Errors
    /// As [`probs`](Self::probs). `x` is untouched then.
    pub fn probs_in_place<E: Element<Real = T>>(
        self,
        x: &mut [E],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        self.probs_of(BatchMut::in_place(x, shape.into())?)
    }

    /// The log-probabilities of each row of logits `x`, which fill `y`: [`log_softmax`] with these options.
    ///
    /// # Errors
    /// As [`probs`](Self::probs).
    pub fn log_probs<E: Element<Real = T>>(
        self,
        x: &[E],
        shape: impl Into<Shape>,
        y: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.log_probs_of(BatchMut::new([x], shape.into(), y)?)
    }

    /// The same, written over the logits: [`log_softmax_in_place`] with these options.
    ///
    /// # Errors
    /// As [`probs`](Self::probs). `x` is untouched then.
    pub fn log_probs_in_place<E: Element<Real = T>>(
        self,
        x: &mut [E],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        self.log_probs_of(BatchMut::in_place(x, shape.into())?)
    }

    /// The gradient with respect to the logits, from the probabilities `y` that [`probs`](Self::probs) gave with the same options and the
    /// gradient `dy` with respect to them: `dx_i = s y_i (dy_i - sum_j y_j dy_j)`, and 0 where class `i` takes no part, whatever `dy` holds
    /// there. (A sink changes nothing in that formula: it is in `y`.)
    ///
    /// Without a scale, errors are those of [`softmax_backward`](crate::softmax_backward), of the classes that take part. With one from 2^-100 (2^-960 of `f64`) to 1, where
    /// multiply-add is fused, the error is at most 1.5 ULP of the larger of `s y_i dy_i` and `s y_i sum_j y_j dy_j` (3.5 below 2^-118);
    /// in all other cases, and where that sum is 2^100 (2^960) or more, it is 1 ULP, since all is taken in `f64` and rounded once. Where the terms of the sum cancel, it has an error of
    /// `2^-29` of an ULP of their magnitudes for every 16 classes. Special values are as there, but that a class which takes no part has gradient 0 in rows of NaN too.
    ///
    /// # Errors
    /// As [`probs`](Self::probs), and [`Error::Length`] if the lengths differ. `dx` is untouched then.
    ///
    /// ```
    /// let mut dx = [9.0_f32; 3];
    /// let two = softlane::Softmax::new().logit_scale(2.0).bool_mask(&[true, true, false]);
    /// two.probs_backward(&[0.5, 0.5, 0.0], &[1.0, 0.0, f32::NAN], 3, &mut dx)?;
    /// assert_eq!(dx, [0.5, -0.5, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn probs_backward<E: Element<Real = T>>(
        self,
        y: &[E],
        dy: &[E],
        shape: impl Into<Shape>,
        dx: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.probs_backward_of(BatchMut::new([y, dy], shape.into(), dx)?)
    }

    /// The same, written over the gradient `dy`.
    ///
    /// # Errors
    /// As [`probs_backward`](Self::probs_backward). `dy` is untouched then.
    pub fn probs_backward_in_place<E: Element<Real = T>>(
        self,
        y: &[E],
        dy: &mut [E],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        self.probs_backward_of(BatchMut::over_second(y, dy, shape.into())?)
    }

    /// The gradient with respect to the logits, from the log-probabilities `y` that [`log_probs`](Self::log_probs) gave with the same options
    /// and the gradient `dy` with respect to them: `dx_i = s (dy_i - e^y_i sum_j dy_j)`, the sum over the classes that take part, and 0 where class
    /// `i` takes no part, whatever `dy` holds there. (A sink changes nothing in that formula: it is in `y`.)
    ///
    /// Without a scale, errors are those of [`log_softmax_backward`](crate::log_softmax_backward), of the classes that take part. With one, the error is at most 2.3 ULP of the larger of `s dy_i` and
    /// `s e^y_i sum_j dy_j` (2.8 where `e^y_i` is subnormal, and counts as the least normal number; and what a sum has whose terms
    /// cancel, as there). Special values are as there, but that a class
    /// which takes no part has gradient 0 in rows of NaN too.
    ///
    /// # Errors
    /// As [`probs_backward`](Self::probs_backward).
    ///
    /// ```
    /// let mut dx = [9.0_f32; 2];
    /// let causal = softlane::Softmax::new().causal(1, 0);
    /// causal.log_probs_backward(&[0.0, f32::NEG_INFINITY], &[1.0, 2.0], 2, &mut dx)?;
    /// assert_eq!(dx, [0.0, 0.0]);
    /// # Ok::<(), softlane::Error>(())
    /// ```
    pub fn log_probs_backward<E: Element<Real = T>>(
        self,
        y: &[E],
        dy: &[E],
        shape: impl Into<Shape>,
        dx: &mut (impl Output<E> + ?Sized),
    ) -> Result<(), Error> {
        self.log_probs_backward_of(BatchMut::new([y, dy], shape.into(), dx)?)
    }

    /// The same, written over the gradient `dy`.
    ///
    /// # Errors
    /// As [`probs_backward`](Self::probs_backward). `dy` is untouched then.
    pub fn log_probs_backward_in_place<E: Element<Real = T>>(
        self,
        y: &[E],
        dy: &mut [E],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        self.log_probs_backward_of(BatchMut::over_second(y, dy, shape.into())?)
    }

    // The kernels are in the table in `operations.rs`, which hands on to `Exec`. Options that are off cost nothing: kernels without
    // them are others, and what prepares those with options is out of the way of a short call.

    #[inline]
    fn probs_of<E: Element<Real = T>>(self, rows: BatchMut<'_, E, 1>) -> Result<(), Error> {
        if self.has_options() {
            return self.probs_with_options(rows);
        }
        self.plain_probs(rows)
    }

    #[inline]
    fn plain_probs<E: Element<Real = T>>(self, rows: BatchMut<'_, E, 1>) -> Result<(), Error> {
        let (masked_rows, scale) = (self.masked_rows, One);
        let kernel = kernel::softmax::Softmax { masked_rows, scale };
        E::softmax(self.exec, kernel, rows)
    }

    #[inline(never)]
    fn probs_with_options<E: Element<Real = T>>(
        self,
        rows: BatchMut<'_, E, 1>,
    ) -> Result<(), Error> {
        self.check(&rows)?;
        let (masked_rows, scale) = (self.masked_rows, self.folded_scale());
        let kernel = kernel::softmax::Softmax { masked_rows, scale };
        if self.is_by_row() || self.sinks.is_some() || self.mask.is_some() {
            let kernel = self.masked(kernel);
            return E::masked_softmax(self.exec, kernel, (rows, FirstRow(0)));
        }
        if self.is_scaled() {
            return E::scaled_softmax(self.exec, kernel, rows);
        }
        self.plain_probs(rows)
    }

    #[inline]
    fn log_probs_of<E: Element<Real = T>>(self, rows: BatchMut<'_, E, 1>) -> Result<(), Error> {
        if self.has_options() {
            return self.log_probs_with_options(rows);
        }
        self.plain_log_probs(rows)
    }

    #[inline]
    fn plain_log_probs<E: Element<Real = T>>(self, rows: BatchMut<'_, E, 1>) -> Result<(), Error> {
        let (masked_rows, scale) = (self.masked_rows, One);
        let kernel = kernel::log_softmax::LogSoftmax { masked_rows, scale };
        E::log_softmax(self.exec, kernel, rows)
    }

    #[inline(never)]
    fn log_probs_with_options<E: Element<Real = T>>(
        self,
        rows: BatchMut<'_, E, 1>,
    ) -> Result<(), Error> {
        self.check(&rows)?;
        let (masked_rows, scale) = (self.masked_rows, self.folded_scale());
        let kernel = kernel::log_softmax::LogSoftmax { masked_rows, scale };
        if self.is_by_row() || self.sinks.is_some() || self.mask.is_some() {
            let kernel = self.masked(kernel);
            return E::masked_log_softmax(self.exec, kernel, (rows, FirstRow(0)));
        }
        if self.is_scaled() {
            return E::scaled_log_softmax(self.exec, kernel, rows);
        }
        self.plain_log_probs(rows)
    }

    fn probs_backward_of<E: Element<Real = T>>(
        self,
        rows: BatchMut<'_, E, 2>,
    ) -> Result<(), Error> {
        self.check(&rows)?;
        let (masks, scale) = (self.masks(), self.grad_scale());
        if self.is_by_row() || scale.is_some() {
            let kernel = MaskedBackward { masks, scale };
            return E::masked_softmax_backward(self.exec, kernel, (rows, FirstRow(0)));
        }
        E::softmax_backward(self.exec, Backward, rows)
    }

    fn log_probs_backward_of<E: Element<Real = T>>(
        self,
        rows: BatchMut<'_, E, 2>,
    ) -> Result<(), Error> {
        self.check(&rows)?;
        let (masks, scale) = (self.masks(), self.grad_scale());
        if self.is_by_row() || scale.is_some() {
            let kernel = MaskedBackward { masks, scale };
            return E::masked_log_softmax_backward(self.exec, kernel, (rows, FirstRow(0)));
        }
        E::log_softmax_backward(self.exec, Backward, rows)
    }

    /// Checks the options.
    fn check<E: Element, const N: usize>(&self, batch: &BatchMut<'_, E, N>) -> Result<(), Error> {
        let (rows, classes) = (batch.rows(), batch.classes());
        if let Some(scale) = self.logit_scale {
            options::scale::<T>("logit_scale", scale)?;
        }
        if let Some(mask) = self.mask {
            options::rows("mask", mask.len(), classes, rows)?;
        }
        if let Some(mask) = self.bool_mask {
            options::rows("bool_mask", mask.len(), classes, rows)?;
        }
        if let Some((queries, _)) = self.causal {
            options::period("causal", queries, rows)?;
        }
        if let Some((sinks, rows_each)) = self.sinks {
            options::period("sinks", sinks.len().saturating_mul(rows_each), rows)?;
        }
        Ok(())
    }

    /// Whether there are any but that of masked rows, which take no preparation. (A call for one short row has no time to check them.)
    #[inline]
    fn has_options(&self) -> bool {
        let Self {
            logit_scale,
            mask,
            bool_mask,
            causal,
            sinks,
            exec: _,
            masked_rows: _,
        } = self;
        logit_scale.is_some()
            || mask.is_some()
            || bool_mask.is_some()
            || causal.is_some()
            || sinks.is_some()
    }

    /// Whether classes take part in some rows and not in others.
    fn is_by_row(&self) -> bool {
        self.bool_mask.is_some() || self.causal.is_some()
    }

    #[expect(clippy::float_cmp, reason = "any other scale is one")]
    fn is_scaled(&self) -> bool {
        self.logit_scale.is_some_and(|scale| scale != 1.0)
    }

    /// The scale where it is in the constants of the exponential, which it is unless something is added to the logits.
    fn folded_scale(&self) -> Scale<T> {
        match (self.logit_scale, self.mask) {
            (Some(scale), None) => Scale::new(scale),
            _ => Scale::one(),
        }
    }

    /// The scale where something is added to the logits.
    fn rounded_scale(&self) -> T {
        self.logit_scale.map_or(T::ONE, T::from_f64)
    }

    /// What the logits were multiplied by, if that is not 1.
    #[expect(clippy::float_cmp, reason = "any other scale is one")]
    fn grad_scale(&self) -> Option<f64> {
        let rounded = self.mask.map(|_| self.rounded_scale().to_f64());
        rounded.or(self.logit_scale).filter(|&scale| scale != 1.0)
    }

    fn masks(&self) -> Masks<'a> {
        Masks {
            flags: self.bool_mask,
            causal: self
                .causal
                .map(|(queries, offset)| Causal { queries, offset }),
        }
    }

    fn masked<W>(&self, work: W) -> Masked<'a, T, W> {
        Masked {
            work,
            masks: self.masks(),
            mask: self.mask.map(|mask| (mask, self.rounded_scale())),
            sinks: self.sinks,
        }
    }
}

/// The probabilities `y_i = exp(x_i) / sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of logits, as `shape` says: a number of classes, if they lie one after the other, or a [`Shape`]. `y` is as long.
///
/// Each probability is within 2.9 ULP of the exact one for every finite row (2.2 unless the largest is a
/// power of two), those below 2^-122 within 0.5 more: see the crate's documentation for the method. Two
/// equal logits have probability 1/2 each, and a class without rivals 1. A row with `+inf` or NaN becomes NaN;
/// `-inf` becomes exactly 0; a row of `-inf` alone becomes NaN ([`Softmax::masked_rows`]). Its
/// neighbours are not touched by it.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Length`] if `y` is not as long as
/// `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `y` is untouched then.
///
/// ```
/// let x = [1.0_f32, 1.0, f32::NEG_INFINITY, 200.0, 100.0, 0.0];
/// let mut y = [0.0; 6];
/// softlane::softmax(&x, 3, &mut y)?;
/// assert_eq!(y[..4], [0.5, 0.5, 0.0, 1.0]);
/// assert_eq!(y[4], 3.783506e-44); // e^-100: a subnormal number
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax<T: Element>(
    x: &[T],
    shape: impl Into<Shape>,
    y: &mut (impl Output<T> + ?Sized),
) -> Result<(), Error> {
    Softmax::new().probs(x, shape, y)
}

/// [`softmax`] that writes the probabilities over the logits.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Backend`] if `SOFTLANE_BACKEND`
/// names none. `x` is untouched then.
///
/// ```
/// let mut x = [0.0_f32, 0.0, 7.0, 7.0];
/// softlane::softmax_in_place(&mut x, 2)?;
/// assert_eq!(x, [0.5; 4]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn softmax_in_place<T: Element>(x: &mut [T], shape: impl Into<Shape>) -> Result<(), Error> {
    Softmax::new().probs_in_place(x, shape)
}

/// The log-probabilities `y_i = x_i - ln sum_j exp(x_j)` of each row of logits.
///
/// `x` holds rows of logits, as `shape` says: a number of classes, if they lie one after the other, or a [`Shape`]. `y` is as long.
///
/// Each is within 1.6 ULP of the exact one, near 0 too: where a probability is above 1/2, its
/// logarithm is `-ln(1 + (sum of the other weights) / (its own))`, and the others are summed
/// without it. A row with `+inf` or NaN becomes NaN; `-inf` stays `-inf`; a row of `-inf` alone
/// becomes NaN ([`Softmax::masked_rows`]).
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Length`] if `y` is not as long as
/// `x`, [`Error::Backend`] if `SOFTLANE_BACKEND` names none. `y` is untouched then.
///
/// ```
/// let mut y = [0.0_f32; 2];
/// softlane::log_softmax(&[20.0, 0.0], 2, &mut y)?;
/// assert_eq!(y, [-2.0611537e-9, -20.0]); // `x - ln sum` gives 0 and -20
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax<T: Element>(
    x: &[T],
    shape: impl Into<Shape>,
    y: &mut (impl Output<T> + ?Sized),
) -> Result<(), Error> {
    Softmax::new().log_probs(x, shape, y)
}

/// [`log_softmax`] that writes the log-probabilities over the logits.
///
/// # Errors
/// [`Error::Shape`] if `x` is no whole number of rows, [`Error::Backend`] if `SOFTLANE_BACKEND`
/// names none. `x` is untouched then.
///
/// ```
/// let mut x = [5.0_f32];
/// softlane::log_softmax_in_place(&mut x, 1)?;
/// assert_eq!(x, [0.0]);
/// # Ok::<(), softlane::Error>(())
/// ```
pub fn log_softmax_in_place<T: Element>(x: &mut [T], shape: impl Into<Shape>) -> Result<(), Error> {
    Softmax::new().log_probs_in_place(x, shape)
}

impl Exec {
    /// [`softmax`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax<T: Element>(
        self,
        x: &[T],
        shape: impl Into<Shape>,
        y: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        Softmax::new().exec(self).probs(x, shape, y)
    }

    /// [`softmax_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn softmax_in_place<T: Element>(
        self,
        x: &mut [T],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        Softmax::new().exec(self).probs_in_place(x, shape)
    }

    /// [`log_softmax`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax<T: Element>(
        self,
        x: &[T],
        shape: impl Into<Shape>,
        y: &mut (impl Output<T> + ?Sized),
    ) -> Result<(), Error> {
        Softmax::new().exec(self).log_probs(x, shape, y)
    }

    /// [`log_softmax_in_place`] here.
    ///
    /// # Errors
    /// As there.
    pub fn log_softmax_in_place<T: Element>(
        self,
        x: &mut [T],
        shape: impl Into<Shape>,
    ) -> Result<(), Error> {
        Softmax::new().exec(self).log_probs_in_place(x, shape)
    }
}
