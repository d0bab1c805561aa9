//! Options of C, and what they are in Rust.
#![allow(
    clippy::missing_safety_doc,
    reason = "the header says what it asks for"
)]

use core::ffi::c_void;
use core::ptr;

use softlane::{
    BinaryCrossEntropy, CrossEntropy, EmptyMean, Error, MaskedRows, Reduction, Softmax,
};

use super::Element;
use super::call::run;
use super::failure::Failure;
use super::memory::{Memory, Options, write_default};
use super::status::softlane_status;

/// The mean of the losses.
pub const SOFTLANE_MEAN: i32 = 0;
/// Their sum.
pub const SOFTLANE_SUM: i32 = 1;
/// Each loss by itself.
pub const SOFTLANE_NONE: i32 = 2;

/// What a fully masked row, or a mean of nothing, is: NaN, as in PyTorch.
pub const SOFTLANE_NAN: i32 = 0;
/// 0 (log-probabilities -inf).
pub const SOFTLANE_ZERO: i32 = 1;

/// Options of the cross-entropy functions. Begin with softlane_cross_entropy_default() and change what is to differ. The formulas say what each
/// letter does.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct softlane_cross_entropy {
    /// sizeof(softlane_cross_entropy). An earlier version of the struct is smaller: what it lacks has its default.
    pub struct_size: usize,
    /// w: as many numbers as there are classes, of the type of losses; finite, and not negative. NULL: all 1.
    pub class_weights: *const c_void,
    /// e: the share of the target that is spread over all classes, from 0 to 1. Default 0.
    pub label_smoothing: f64,
    /// c: the weight of the square of the log-sum-exp, finite, and not negative. Default 0.
    pub z_loss: f64,
    /// Rows with this target have loss 0 and gradient 0, whatever they hold, and do not count in the mean. Default -100.
    pub ignore_index: i64,
    /// SOFTLANE_MEAN (default), SOFTLANE_SUM or SOFTLANE_NONE.
    pub reduction: i32,
    /// 0.
    pub reserved: i32,
    /// s: what every logit is multiplied by, exactly; the inverse of a temperature. Above 0. Default 1.
    pub logit_scale: f64,
    /// The divisor of the mean, above 0, in place of the sum of the weights of the targets. Default 0: that sum.
    pub normaliser: f64,
    /// What the gradient of each row is multiplied by besides: as many numbers as there are rows, of the type of losses. NULL: all 1.
    pub upstream_grad: *const c_void,
    /// What a row of -inf alone gives: SOFTLANE_NAN (default), or SOFTLANE_ZERO: loss +inf, gradient -1 at the target and 0
    /// elsewhere.
    pub masked_rows: i32,
    /// What the mean is when its divisor is 0: SOFTLANE_NAN (default) or SOFTLANE_ZERO. The gradient is 0 either way.
    pub empty_mean: i32,
}

/// Options of the binary cross-entropy functions. Begin with softlane_binary_cross_entropy_default().
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct softlane_binary_cross_entropy {
    /// sizeof(softlane_binary_cross_entropy). An earlier version of the struct is smaller: what it lacks has its default.
    pub struct_size: usize,
    /// q: what the loss of a yes is multiplied by, a number for each label of a row, of the type of losses; finite, and not negative. NULL: all 1.
    pub pos_weights: *const c_void,
    /// w: what the loss is multiplied by, as pos_weights. NULL: all 1.
    pub label_weights: *const c_void,
    /// Elements, rows * labels of them, that are 1 here have loss 0 and gradient 0, whatever they hold, and do not count in the mean. The others are 0. NULL:
    /// all 0.
    pub ignore_mask: *const u8,
    /// e: the share of a label that is spread over yes and no, from 0 to 1. Default 0.
    pub label_smoothing: f64,
    /// The divisor of the mean, above 0, in place of the number of elements that count. Default 0: that number.
    pub normaliser: f64,
    /// SOFTLANE_MEAN (default), SOFTLANE_SUM or SOFTLANE_NONE.
    pub reduction: i32,
    /// What the mean is when nothing counts: SOFTLANE_NAN (default) or SOFTLANE_ZERO.
    pub empty_mean: i32,
}

/// Options of softmax and log-softmax: those of attention. Begin with softlane_softmax_options_default().
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct softlane_softmax_options {
    /// sizeof(softlane_softmax_options). An earlier version of the struct is smaller: what it lacks has its default.
    pub struct_size: usize,
    /// s: what every logit is multiplied by. Above 0. Default 1.
    pub logit_scale: f64,
    /// m: what is added to the logits then, mask_rows * classes numbers of the type of losses, such as -inf for a class that takes no part. NULL: nothing.
    pub mask: *const c_void,
    /// Row r of the batch has row r modulo mask_rows of mask; they come out even in the batch.
    pub mask_rows: usize,
    /// Whether a class takes part, 1 or 0, bool_mask_rows * classes of them. NULL: all do.
    pub bool_mask: *const u8,
    /// As mask_rows.
    pub bool_mask_rows: usize,
    /// Of every so many rows, row i sees the classes 0 to i + causal_offset; the others take no part. Default 0: every row sees all.
    pub causal_queries: usize,
    /// 0 is is_causal of PyTorch; classes - causal_queries lets the last query see the last class. Default 0.
    pub causal_offset: usize,
    /// b: logits of a class that is in no row but takes its share of the probability, sinks_len numbers of the type of losses. NULL: none.
    pub sinks: *const c_void,
    /// How many there are.
    pub sinks_len: usize,
    /// Each is for so many rows, one after the other; after the last, the first comes again.
    pub sinks_rows_each: usize,
    /// What a row is in which no class takes part and which has no sink: SOFTLANE_NAN (default) or SOFTLANE_ZERO.
    pub masked_rows: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, the size first; numbers and pointers of 8 bytes, and of 4 by twos (where pointers have 4, the assertions below fail).
unsafe impl Options for softlane_cross_entropy {
    const NAME: &'static str = "softlane_cross_entropy";
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        class_weights: ptr::null(),
        label_smoothing: 0.0,
        z_loss: 0.0,
        ignore_index: -100,
        reduction: SOFTLANE_MEAN,
        reserved: 0,
        logit_scale: 1.0,
        normaliser: 0.0,
        upstream_grad: ptr::null(),
        masked_rows: SOFTLANE_NAN,
        empty_mean: SOFTLANE_NAN,
    };
}

// SAFETY: as above.
unsafe impl Options for softlane_binary_cross_entropy {
    const NAME: &'static str = "softlane_binary_cross_entropy";
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        pos_weights: ptr::null(),
        label_weights: ptr::null(),
        ignore_mask: ptr::null(),
        label_smoothing: 0.0,
        normaliser: 0.0,
        reduction: SOFTLANE_MEAN,
        empty_mean: SOFTLANE_NAN,
    };
}

// SAFETY: as above.
unsafe impl Options for softlane_softmax_options {
    const NAME: &'static str = "softlane_softmax_options";
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        logit_scale: 1.0,
        mask: ptr::null(),
        mask_rows: 0,
        bool_mask: ptr::null(),
        bool_mask_rows: 0,
        causal_queries: 0,
        causal_offset: 0,
        sinks: ptr::null(),
        sinks_len: 0,
        sinks_rows_each: 0,
        masked_rows: SOFTLANE_NAN,
        reserved: 0,
    };
}

// Any size between two versions that is a multiple of 8 is a number of whole fields.
const _: () = {
    assert!(size_of::<usize>() == 8 && size_of::<*const c_void>() == 8);
    assert!(size_of::<softlane_cross_entropy>() == 80);
    assert!(size_of::<softlane_binary_cross_entropy>() == 56);
    assert!(size_of::<softlane_softmax_options>() == 96);
};

/// Makes *options the default ones: the mean; no weights, no smoothing; targets of -100 are ignored. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
/// softlane_cross_entropy_default() is that, with the size that this header knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_cross_entropy_init(
    options: *mut softlane_cross_entropy,
    struct_size: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { init(options, struct_size) }
}

/// The default options, of this version: in the header a function of its own, which calls the one above, since what it returns has the size that the caller knows.
#[must_use]
pub fn softlane_cross_entropy_default() -> softlane_cross_entropy {
    Options::DEFAULT
}

/// Makes *options the default ones: the mean; no weights, no smoothing, nothing ignored. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
/// softlane_binary_cross_entropy_default() is that, with the size that this header knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_binary_cross_entropy_init(
    options: *mut softlane_binary_cross_entropy,
    struct_size: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { init(options, struct_size) }
}

/// The default options, of this version: in the header a function of its own, which calls the one above, since what it returns has the size that the caller knows.
#[must_use]
pub fn softlane_binary_cross_entropy_default() -> softlane_binary_cross_entropy {
    Options::DEFAULT
}

/// Makes *options the default ones: no scale, no masks, no sinks. struct_size is the size of the struct that the caller was compiled with: nothing is written beyond it.
/// softlane_softmax_options_default() is that, with the size that this header knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn softlane_softmax_options_init(
    options: *mut softlane_softmax_options,
    struct_size: usize,
) -> softlane_status {
    // SAFETY: the caller keeps to what the header asks for.
    unsafe { init(options, struct_size) }
}

/// The default options, of this version: in the header a function of its own, which calls the one above, since what it returns has the size that the caller knows.
#[must_use]
pub fn softlane_softmax_options_default() -> softlane_softmax_options {
    Options::DEFAULT
}

/// # Safety
/// What the header asks for.
unsafe fn init<O: Options>(options: *mut O, struct_size: usize) -> softlane_status {
    // SAFETY: the caller has room for a struct of that size, which nobody else uses.
    run(|| unsafe { write_default(options, struct_size) })
}

/// One of the first numbers, each of which means something.
fn one_of<R: Copy>(
    name: &'static str,
    value: i32,
    expected: &'static str,
    meanings: &[R],
) -> Result<R, Failure> {
    let meaning = usize::try_from(value).ok().and_then(|i| meanings.get(i));
    meaning.copied().ok_or(Failure::Call(Error::Option {
        name,
        value: value.into(),
        expected,
    }))
}

/// What is left for later versions.
fn zero(reserved: i32) -> Result<(), Failure> {
    one_of("reserved", reserved, "0", &[()])
}

/// The reduction; `None`: each loss by itself.
fn reduction(reduction: i32) -> Result<Option<Reduction>, Failure> {
    let meanings = [Some(Reduction::Mean), Some(Reduction::Sum), None];
    one_of("reduction", reduction, "0, 1 or 2", &meanings)
}

fn masked_rows(masked_rows: i32) -> Result<MaskedRows, Failure> {
    let meanings = [MaskedRows::Nan, MaskedRows::Zero];
    one_of("masked_rows", masked_rows, "0 or 1", &meanings)
}

fn empty_mean(empty_mean: i32) -> Result<EmptyMean, Failure> {
    let meanings = [EmptyMean::Nan, EmptyMean::Zero];
    one_of("empty_mean", empty_mean, "0 or 1", &meanings)
}

impl softlane_cross_entropy {
    /// The loss that these are the options of, for so many rows, and whether it is asked for row by row; as a sum then, which has the gradients of its
    /// rows.
    pub(super) fn loss<'a, T: Element>(
        &self,
        memory: &mut Memory<'a>,
        rows: usize,
        classes: usize,
    ) -> Result<(CrossEntropy<'a, T::Real>, bool), Failure> {
        zero(self.reserved)?;
        let reduction = reduction(self.reduction)?;
        let mut loss = CrossEntropy::new()
            .reduction(reduction.unwrap_or(Reduction::Sum))
            .ignore_index(Some(self.ignore_index))
            .masked_rows(masked_rows(self.masked_rows)?)
            .empty_mean(empty_mean(self.empty_mean)?)
            .label_smoothing(self.label_smoothing)
            .z_loss(self.z_loss);
        if is_not(self.logit_scale, 1.0) {
            loss = loss.logit_scale(self.logit_scale);
        }
        if is_not(self.normaliser, 0.0) {
            loss = loss.normaliser(self.normaliser);
        }
        if let Some(weights) = memory.option("class_weights", self.class_weights, classes)? {
            loss = loss.class_weights(weights);
        }
        if let Some(upstream) = memory.option("upstream_grad", self.upstream_grad, rows)? {
            loss = loss.upstream_grad(upstream);
        }
        Ok((loss, reduction.is_none()))
    }
}

impl softlane_binary_cross_entropy {
    /// As that of softmax, for so many elements.
    pub(super) fn loss<'a, T: Element>(
        &self,
        memory: &mut Memory<'a>,
        labels: usize,
        elements: usize,
    ) -> Result<(BinaryCrossEntropy<'a, T::Real>, bool), Failure> {
        let reduction = reduction(self.reduction)?;
        let mut loss = BinaryCrossEntropy::new()
            .reduction(reduction.unwrap_or(Reduction::Sum))
            .empty_mean(empty_mean(self.empty_mean)?)
            .label_smoothing(self.label_smoothing);
        if is_not(self.normaliser, 0.0) {
            loss = loss.normaliser(self.normaliser);
        }
        if let Some(weights) = memory.option("pos_weights", self.pos_weights, labels)? {
            loss = loss.pos_weights(weights);
        }
        if let Some(weights) = memory.option("label_weights", self.label_weights, labels)? {
            loss = loss.label_weights(weights);
        }
        if let Some(ignored) = memory.flags("ignore_mask", self.ignore_mask, elements)? {
            loss = loss.ignore_mask(ignored);
        }
        Ok((loss, reduction.is_none()))
    }
}

impl softlane_softmax_options {
    /// The softmax that these are the options of.
    pub(super) fn softmax<'a, T: Element>(
        &self,
        memory: &mut Memory<'a>,
        classes: usize,
    ) -> Result<Softmax<'a, T::Real>, Failure> {
        zero(self.reserved)?;
        let mut softmax = Softmax::new().masked_rows(masked_rows(self.masked_rows)?);
        if is_not(self.logit_scale, 1.0) {
            softmax = softmax.logit_scale(self.logit_scale);
        }
        let len = super::memory::elements::<T::Real>(self.mask_rows, classes)?;
        if let Some(mask) = memory.option("mask", self.mask, len)? {
            softmax = softmax.mask(mask);
        }
        let len = super::memory::elements::<bool>(self.bool_mask_rows, classes)?;
        if let Some(mask) = memory.flags("bool_mask", self.bool_mask, len)? {
            softmax = softmax.bool_mask(mask);
        }
        if self.causal_queries > 0 {
            softmax = softmax.causal(self.causal_queries, self.causal_offset);
        }
        if let Some(sinks) = memory.option("sinks", self.sinks, self.sinks_len)? {
            softmax = softmax.sinks(sinks, self.sinks_rows_each);
        }
        Ok(softmax)
    }
}

/// Whether an option is not at the value that means none. NaN is not, and the Rust function refuses it.
#[expect(clippy::float_cmp, reason = "the very number")]
fn is_not(value: f64, off: f64) -> bool {
    value != off
}
