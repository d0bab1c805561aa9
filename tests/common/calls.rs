//! Every public operation of the crate, each form of it as one call over slices that the test has put
//! where it wants them. What is added here, every test tries that goes through all calls. (With options: `with_options.rs`.)

use std::fmt;
use std::sync::LazyLock;

use Gives::{Number, Out, Over, PerRow};
use Reads::{Labels, LogProbabilities, Logits, Probabilities, Targets};
use softlane::{
    BinaryCrossEntropy, CrossEntropy, Element, Error, Exec, MaskedRows, Real, Reduction,
    RowOutputs, Shape, Softmax,
};

use super::guard::{Guarded, guarded};
use super::with_options::with_options;

/// A result, which all calls that give it give with the same bits (of rows that are not masked
/// throughout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: &'static str,
    /// Whether that of a batch is that of its rows, one after the other.
    pub by_row: bool,
}

pub(super) const fn of_batch(name: &'static str) -> Output {
    Output {
        name,
        by_row: false,
    }
}

pub(super) const fn of_rows(name: &'static str) -> Output {
    Output { name, by_row: true }
}

pub const MAX: Output = of_batch("max");
pub const SUM: Output = of_batch("sum");
pub const EXP: Output = of_rows("exp");
pub const SIGMOID: Output = of_rows("sigmoid");
pub const SOFTMAX: Output = of_rows("softmax");
pub const LOG_SOFTMAX: Output = of_rows("log-softmax");
pub const LOG_SUM_EXP: Output = of_rows("log-sum-exp");
pub const SOFTMAX_BACKWARD: Output = of_rows("softmax backward");
pub const LOG_SOFTMAX_BACKWARD: Output = of_rows("log-softmax backward");
pub const MEAN_LOSS: Output = of_batch("cross-entropy, mean");
pub const MEAN_GRADIENT: Output = of_batch("cross-entropy, gradient of the mean");
pub const SUM_LOSS: Output = of_batch("cross-entropy, sum");
pub const ROW_LOSS: Output = of_rows("cross-entropy, loss of each row");
/// Also that of the sum.
pub const ROW_GRADIENT: Output = of_rows("cross-entropy, gradient of each row");
pub const SOFT_MEAN_LOSS: Output = of_batch("cross-entropy with distributions, mean");
pub const SOFT_MEAN_GRADIENT: Output =
    of_batch("cross-entropy with distributions, gradient of the mean");
pub const SOFT_SUM_LOSS: Output = of_batch("cross-entropy with distributions, sum");
pub const SOFT_ROW_LOSS: Output = of_rows("cross-entropy with distributions, loss of each row");
/// Also that of the sum.
pub const SOFT_ROW_GRADIENT: Output =
    of_rows("cross-entropy with distributions, gradient of each row");
pub const MEAN_BINARY_LOSS: Output = of_batch("binary cross-entropy, mean");
pub const MEAN_BINARY_GRADIENT: Output = of_batch("binary cross-entropy, gradient of the mean");
pub const SUM_BINARY_LOSS: Output = of_batch("binary cross-entropy, sum");
pub const SUM_BINARY_GRADIENT: Output = of_rows("binary cross-entropy, gradient of the sum");
pub const BINARY_LOSS: Output = of_rows("binary cross-entropy, each loss");

/// What a call reads: `x`, which is what it is written over in place, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Logits alone, or with one of these.
    Logits,
    Targets,
    Labels,
    /// And the gradient with respect to them, which is `x`.
    Probabilities,
    LogProbabilities,
}

impl Reads {
    /// `x` and `y` of a test that has but any numbers, and numbers from 0 to 1. The backward passes
    /// take any numbers for (log-)probabilities.
    pub fn of<T>(self, any: T, unit: T) -> (T, T) {
        if self == Self::LogProbabilities {
            (unit, any)
        } else {
            (any, unit)
        }
    }
}

/// What a call is given to read. What it does not use may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a, E = f32> {
    pub classes: usize,
    /// Where the rows are, if not one after the other.
    pub shape: Option<Shape>,
    pub x: &'a [E],
    pub y: &'a [E],
    /// One a row.
    pub targets: &'a [i64],
}

impl<E> Sources<'_, E> {
    /// Where the rows are.
    pub(super) fn shape(&self) -> Shape {
        self.shape.unwrap_or(self.classes.into())
    }
}

/// A type of elements, as the tests see it.
pub trait Tested: Guarded + Element<Real = <Self as Tested>::Number> {
    /// That of results.
    type Number: Computed;

    /// All calls, but for the functions.
    fn calls() -> &'static [Call<Self>];
    /// Some of them with options: `with_options.rs`.
    fn calls_with_options() -> &'static [Call<Self>];
    /// The nearest one.
    fn rounded(x: f64) -> Self;
    fn as_f64(self) -> f64;
    /// The nearest one to a result.
    fn of_real(x: Self::Real) -> Self;
    fn real(self) -> Self::Real;
    /// Calls `f` with a slice for losses, of which `out` has the nearest elements then.
    fn with_losses<R>(out: &mut [Self], f: impl FnOnce(&mut [Self::Real]) -> R) -> R;
}

/// One that is computed in itself.
pub trait Computed: Real + Tested<Number = Self> {
    /// The least that is not subnormal.
    const LEAST: f64;
    /// The largest that is finite.
    const LARGEST: f64;
    /// So large that the kernels see to sums of numbers that are 1.3 times that, but not of these.
    const HUGE: f64;
}

macro_rules! computed {
    ($number:ident, huge: $huge:literal) => {
        impl Computed for $number {
            const LEAST: f64 = $number::MIN_POSITIVE as f64;
            const LARGEST: f64 = $number::MAX as f64;
            const HUGE: f64 = $huge;
        }

        impl Tested for $number {
            type Number = Self;

            fn calls() -> &'static [Call<Self>] {
                static CALLS: LazyLock<Vec<Call<$number>>> = LazyLock::new(all);
                &CALLS
            }
            fn calls_with_options() -> &'static [Call<Self>] {
                static CALLS: LazyLock<Vec<Call<$number>>> = LazyLock::new(with_options);
                &CALLS
            }
            fn rounded(x: f64) -> Self {
                x as Self
            }
            fn as_f64(self) -> f64 {
                self.into()
            }
            fn of_real(x: Self) -> Self {
                x
            }
            fn real(self) -> Self {
                self
            }
            fn with_losses<R>(out: &mut [Self], f: impl FnOnce(&mut [Self]) -> R) -> R {
                f(out)
            }
        }
    };
}
computed!(f32, huge: 1e30);
#[cfg(feature = "f64")]
computed!(f64, huge: 8e288);

/// A type of the crate `half`.
#[cfg(feature = "half")]
macro_rules! half {
    ($half:ident, untouched: $bits:literal) => {
        impl Guarded for half::$half {
            const UNTOUCHED: Self = Self::from_bits($bits);
            fn bits(self) -> u64 {
                self.to_bits().into()
            }
        }

        impl Tested for half::$half {
            type Number = f32;

            fn calls() -> &'static [Call<Self>] {
                static CALLS: LazyLock<Vec<Call<half::$half>>> = LazyLock::new(all);
                &CALLS
            }
            fn calls_with_options() -> &'static [Call<Self>] {
                static CALLS: LazyLock<Vec<Call<half::$half>>> = LazyLock::new(with_options);
                &CALLS
            }
            fn rounded(x: f64) -> Self {
                Self::from_f64(x)
            }
            fn of_real(x: f32) -> Self {
                Self::from_f32(x)
            }
            fn real(self) -> f32 {
                self.to_f32()
            }
            fn as_f64(self) -> f64 {
                self.to_f64()
            }
            fn with_losses<R>(out: &mut [Self], f: impl FnOnce(&mut [f32]) -> R) -> R {
                let mut losses = vec![f32::UNTOUCHED; out.len()];
                let returned = f(&mut losses);
                for (out, &loss) in out.iter_mut().zip(&losses) {
                    if loss.bits() != f32::UNTOUCHED.bits() {
                        *out = Self::from_f32(loss);
                    }
                }
                returned
            }
        }
    };
}
#[cfg(feature = "half")]
half!(f16, untouched: 0x7EAD);
#[cfg(feature = "half")]
half!(bf16, untouched: 0x7FD5);

/// Where it puts its results.
#[derive(Debug)]
pub struct Destinations<'a, E: Tested = f32> {
    /// What is returned.
    pub number: &'a mut E::Real,
    /// One a row.
    pub per_row: &'a mut [E::Real],
    /// As long as `x`, whose elements it holds if they are written over.
    pub out: &'a mut [E],
}

/// A result, and where it is to be found.
#[derive(Clone, Copy, Debug)]
pub enum Gives {
    /// It is returned.
    Number(Output),
    PerRow(Output),
    Out(Output),
    /// In the place of `x`.
    Over(Output),
}

/// Results, and which.
pub type Results<E = f32> = Vec<(Output, Vec<E>)>;

/// Calls a method of `T`.
pub(super) type Method<T, E> = fn(T, Sources<'_, E>, Destinations<'_, E>) -> Result<(), Error>;

/// What is called, with which options.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<E: Tested> {
    Exec(Method<Exec, E>),
    Softmax(OfSoftmax<E>, Method<OfSoftmax<E>, E>),
    CrossEntropy(OfCrossEntropy<E>, Method<OfCrossEntropy<E>, E>),
    Binary(OfBinary<E>, Method<OfBinary<E>, E>),
}

/// Options, none of which is a slice.
pub(super) type OfSoftmax<E> = Softmax<'static, <E as Element>::Real>;
pub(super) type OfCrossEntropy<E> = CrossEntropy<'static, <E as Element>::Real>;
pub(super) type OfBinary<E> = BinaryCrossEntropy<'static, <E as Element>::Real>;

/// One form of an operation.
#[derive(Clone, Debug)]
pub struct Call<E: Tested = f32> {
    /// The path of what is called.
    pub name: String,
    pub reads: Reads,
    pub gives: Vec<Gives>,
    form: Form<E>,
}

pub(super) fn call<E: Tested>(name: &str, reads: Reads, gives: &[Gives], form: Form<E>) -> Call<E> {
    Call {
        name: name.to_owned(),
        reads,
        gives: gives.to_vec(),
        form,
    }
}

impl<E: Tested> Call<E> {
    /// Calls it.
    pub fn run(&self, exec: Exec, s: Sources<'_, E>, d: Destinations<'_, E>) -> Result<(), Error> {
        match self.form {
            Form::Exec(method) => method(exec, s, d),
            Form::Softmax(options, method) => method(options.exec(exec), s, d),
            Form::CrossEntropy(options, method) => method(options.exec(exec), s, d),
            Form::Binary(options, method) => method(options.exec(exec), s, d),
        }
    }

    /// The results that it gives.
    pub fn outputs(&self) -> impl Iterator<Item = Output> {
        self.gives.iter().map(|gives| match *gives {
            Number(output) | PerRow(output) | Out(output) | Over(output) => output,
        })
    }

    /// Whether it writes over `x`.
    pub fn is_in_place(&self) -> bool {
        self.gives.iter().any(|gives| matches!(gives, Over(_)))
    }

    /// What [`Destinations::out`] is to hold before.
    pub fn out_before(&self, x: &[E]) -> Vec<E> {
        if self.is_in_place() {
            x.to_vec()
        } else {
            vec![E::UNTOUCHED; x.len()]
        }
    }
}

impl<E: Computed> Call<E> {
    /// Calls it with outputs in the midst of guard values, `offset` elements off the place where they
    /// would begin otherwise. Returns what each holds afterwards, and how the call ended.
    pub fn guarded(
        &self,
        exec: Exec,
        s: Sources<'_, E>,
        offset: usize,
    ) -> (Results<E>, Result<(), Error>) {
        let mut number = E::UNTOUCHED;
        let blank = vec![E::UNTOUCHED; s.targets.len()];
        let (per_row, (out, result)) = guarded(&blank, offset, |per_row| {
            guarded(&self.out_before(s.x), offset, |out| {
                let number = &mut number;
                self.run(
                    exec,
                    s,
                    Destinations {
                        number,
                        per_row,
                        out,
                    },
                )
            })
        });
        let after = |gives: &Gives| match *gives {
            Number(output) => (output, vec![number]),
            PerRow(output) => (output, per_row.clone()),
            Out(output) | Over(output) => (output, out.clone()),
        };
        (self.gives.iter().map(after).collect(), result)
    }
}

impl<E: Tested> fmt::Display for Call<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.form {
            Form::Exec(_) => write!(f, "{name}"),
            Form::Softmax(options, _) => write!(f, "{name} of {options:?}"),
            Form::CrossEntropy(options, _) => write!(f, "{name} of {options:?}"),
            Form::Binary(options, _) => write!(f, "{name} of {options:?}"),
        }
    }
}

/// All of them, but for the functions: see [`Tested::calls`].
fn all<E: Tested>() -> Vec<Call<E>> {
    let mut calls = methods();
    for masked_rows in [MaskedRows::Nan, MaskedRows::Zero] {
        let mean = CrossEntropy::new().masked_rows(masked_rows);
        let sum = mean.reduction(Reduction::Sum);
        calls.extend(softmax(Softmax::new().masked_rows(masked_rows)));
        calls.extend(cross_entropy(mean, MEAN_LOSS, MEAN_GRADIENT));
        calls.extend(cross_entropy(sum, SUM_LOSS, ROW_GRADIENT));
        calls.extend(row_losses(mean));
        calls.extend(soft_cross_entropy(mean, SOFT_MEAN_LOSS, SOFT_MEAN_GRADIENT));
        calls.extend(soft_cross_entropy(sum, SOFT_SUM_LOSS, SOFT_ROW_GRADIENT));
        calls.extend(soft_row_losses(mean));
    }
    let mean = BinaryCrossEntropy::new();
    let sum = mean.reduction(Reduction::Sum);
    calls.extend(binary(mean, MEAN_BINARY_LOSS, MEAN_BINARY_GRADIENT));
    calls.extend(binary(sum, SUM_BINARY_LOSS, SUM_BINARY_GRADIENT));
    calls.push(element_losses());
    calls
}

/// Every call, and some with options.
pub fn all_calls<E: Tested>() -> impl Iterator<Item = &'static Call<E>> {
    E::calls().iter().chain(E::calls_with_options())
}

/// Those that give a result.
pub fn giving(output: Output) -> impl Iterator<Item = &'static Call> {
    let gives = move |call: &&Call| call.outputs().any(|given| given == output);
    f32::calls().iter().filter(gives)
}

/// Puts what is returned where the tests look for it.
pub(super) fn keep<R>(number: &mut R, returned: Result<R, Error>) -> Result<(), Error> {
    *number = returned?;
    Ok(())
}

fn methods<E: Tested>() -> Vec<Call<E>> {
    let call = |name, reads, gives, method| call(name, reads, &[gives], Form::Exec(method));
    vec![
        call("Exec::max", Logits, Number(MAX), |e, s, d| {
            keep(d.number, e.max(s.x))
        }),
        call("Exec::sum", Logits, Number(SUM), |e, s, d| {
            keep(d.number, e.sum(s.x))
        }),
        call("Exec::exp", Logits, Out(EXP), |e, s, d| e.exp(s.x, d.out)),
        call("Exec::exp_in_place", Logits, Over(EXP), |e, _, d| {
            e.exp_in_place(d.out)
        }),
        call("Exec::sigmoid", Logits, Out(SIGMOID), |e, s, d| {
            e.sigmoid(s.x, d.out)
        }),
        call(
            "Exec::sigmoid_in_place",
            Logits,
            Over(SIGMOID),
            |e, _, d| e.sigmoid_in_place(d.out),
        ),
        call("Exec::softmax", Logits, Out(SOFTMAX), |e, s, d| {
            e.softmax(s.x, s.shape(), d.out)
        }),
        call(
            "Exec::softmax_in_place",
            Logits,
            Over(SOFTMAX),
            |e, s, d| e.softmax_in_place(d.out, s.shape()),
        ),
        call("Exec::log_softmax", Logits, Out(LOG_SOFTMAX), |e, s, d| {
            e.log_softmax(s.x, s.shape(), d.out)
        }),
        call(
            "Exec::log_softmax_in_place",
            Logits,
            Over(LOG_SOFTMAX),
            |e, s, d| e.log_softmax_in_place(d.out, s.shape()),
        ),
        call("Exec::logsumexp", Logits, PerRow(LOG_SUM_EXP), |e, s, d| {
            e.logsumexp(s.x, s.shape(), d.per_row)
        }),
        call(
            "Exec::softmax_backward",
            Probabilities,
            Out(SOFTMAX_BACKWARD),
            |e, s, d| e.softmax_backward(s.y, s.x, s.shape(), d.out),
        ),
        call(
            "Exec::softmax_backward_in_place",
            Probabilities,
            Over(SOFTMAX_BACKWARD),
            |e, s, d| e.softmax_backward_in_place(s.y, d.out, s.shape()),
        ),
        call(
            "Exec::log_softmax_backward",
            LogProbabilities,
            Out(LOG_SOFTMAX_BACKWARD),
            |e, s, d| e.log_softmax_backward(s.y, s.x, s.shape(), d.out),
        ),
        call(
            "Exec::log_softmax_backward_in_place",
            LogProbabilities,
            Over(LOG_SOFTMAX_BACKWARD),
            |e, s, d| e.log_softmax_backward_in_place(s.y, d.out, s.shape()),
        ),
    ]
}

/// The functions of the crate: each is the method of [`Exec`] of its name, on the active backend.
pub fn functions<E: Tested>() -> Vec<Call<E>> {
    let function = |name: &str| -> Method<Exec, E> {
        match name {
            "max" => |_, s, d| keep(d.number, softlane::max(s.x)),
            "sum" => |_, s, d| keep(d.number, softlane::sum(s.x)),
            "exp" => |_, s, d| softlane::exp(s.x, d.out),
            "exp_in_place" => |_, _, d| softlane::exp_in_place(d.out),
            "sigmoid" => |_, s, d| softlane::sigmoid(s.x, d.out),
            "sigmoid_in_place" => |_, _, d| softlane::sigmoid_in_place(d.out),
            "softmax" => |_, s, d| softlane::softmax(s.x, s.shape(), d.out),
            "softmax_in_place" => |_, s, d| softlane::softmax_in_place(d.out, s.shape()),
            "log_softmax" => |_, s, d| softlane::log_softmax(s.x, s.shape(), d.out),
            "log_softmax_in_place" => |_, s, d| softlane::log_softmax_in_place(d.out, s.shape()),
            "logsumexp" => |_, s, d| softlane::logsumexp(s.x, s.shape(), d.per_row),
            "softmax_backward" => |_, s, d| softlane::softmax_backward(s.y, s.x, s.shape(), d.out),
            "softmax_backward_in_place" => {
                |_, s, d| softlane::softmax_backward_in_place(s.y, d.out, s.shape())
            }
            "log_softmax_backward" => {
                |_, s, d| softlane::log_softmax_backward(s.y, s.x, s.shape(), d.out)
            }
            "log_softmax_backward_in_place" => {
                |_, s, d| softlane::log_softmax_backward_in_place(s.y, d.out, s.shape())
            }
            _ => unreachable!("no function softlane::{name}"),
        }
    };
    let functions = methods().into_iter().map(|method| {
        let name = method.name.trim_start_matches("Exec::");
        Call {
            name: format!("softlane::{name}"),
            form: Form::Exec(function(name)),
            ..method
        }
    });
    functions.collect()
}

fn softmax<E: Tested>(options: OfSoftmax<E>) -> Vec<Call<E>> {
    let form = |method| Form::Softmax(options, method);
    let call_on = |name, reads, gives, method| call(name, reads, &[gives], form(method));
    let call = |name, gives, method| call_on(name, Logits, gives, method);
    vec![
        call("Softmax::probs", Out(SOFTMAX), |o, s, d| {
            o.probs(s.x, s.shape(), d.out)
        }),
        call("Softmax::probs_in_place", Over(SOFTMAX), |o, s, d| {
            o.probs_in_place(d.out, s.shape())
        }),
        call("Softmax::log_probs", Out(LOG_SOFTMAX), |o, s, d| {
            o.log_probs(s.x, s.shape(), d.out)
        }),
        call(
            "Softmax::log_probs_in_place",
            Over(LOG_SOFTMAX),
            |o, s, d| o.log_probs_in_place(d.out, s.shape()),
        ),
        call_on(
            "Softmax::probs_backward",
            Probabilities,
            Out(SOFTMAX_BACKWARD),
            |o, s, d| o.probs_backward(s.y, s.x, s.shape(), d.out),
        ),
        call_on(
            "Softmax::probs_backward_in_place",
            Probabilities,
            Over(SOFTMAX_BACKWARD),
            |o, s, d| o.probs_backward_in_place(s.y, d.out, s.shape()),
        ),
        call_on(
            "Softmax::log_probs_backward",
            LogProbabilities,
            Out(LOG_SOFTMAX_BACKWARD),
            |o, s, d| o.log_probs_backward(s.y, s.x, s.shape(), d.out),
        ),
        call_on(
            "Softmax::log_probs_backward_in_place",
            LogProbabilities,
            Over(LOG_SOFTMAX_BACKWARD),
            |o, s, d| o.log_probs_backward_in_place(s.y, d.out, s.shape()),
        ),
    ]
}

/// The reduced loss of rows, and its gradient.
fn cross_entropy<E: Tested>(
    options: OfCrossEntropy<E>,
    loss: Output,
    gradient: Output,
) -> Vec<Call<E>> {
    let call = |name, gives: &[Gives], method| {
        call(name, Targets, gives, Form::CrossEntropy(options, method))
    };
    vec![
        call("CrossEntropy::loss", &[Number(loss)], |o, s, d| {
            keep(d.number, o.loss(s.x, s.shape(), s.targets))
        }),
        call(
            "CrossEntropy::loss_and_grad",
            &[Number(loss), Out(gradient)],
            |o, s, d| keep(d.number, o.loss_and_grad(s.x, s.shape(), s.targets, d.out)),
        ),
        call(
            "CrossEntropy::loss_and_grad_in_place",
            &[Number(loss), Over(gradient)],
            |o, s, d| {
                keep(
                    d.number,
                    o.loss_and_grad_in_place(d.out, s.shape(), s.targets),
                )
            },
        ),
        call(
            "CrossEntropy::loss_with",
            &[Number(loss), PerRow(ROW_LOSS)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                keep(d.number, o.loss_with(s.x, s.shape(), s.targets, outputs))
            },
        ),
        call(
            "CrossEntropy::loss_and_grad_with",
            &[Number(loss), PerRow(ROW_LOSS), Out(gradient)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                let returned = o.loss_and_grad_with(s.x, s.shape(), s.targets, d.out, outputs);
                keep(d.number, returned)
            },
        ),
        call(
            "CrossEntropy::loss_and_grad_in_place_with",
            &[Number(loss), PerRow(ROW_LOSS), Over(gradient)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                let returned = o.loss_and_grad_in_place_with(d.out, s.shape(), s.targets, outputs);
                keep(d.number, returned)
            },
        ),
    ]
}

/// The same with distributions.
fn soft_cross_entropy<E: Tested>(
    options: OfCrossEntropy<E>,
    loss: Output,
    gradient: Output,
) -> Vec<Call<E>> {
    let call = |name, gives: &[Gives], method| {
        call(name, Labels, gives, Form::CrossEntropy(options, method))
    };
    vec![
        call("CrossEntropy::loss", &[Number(loss)], |o, s, d| {
            keep(d.number, o.loss(s.x, s.shape(), s.y))
        }),
        call(
            "CrossEntropy::loss_and_grad",
            &[Number(loss), Out(gradient)],
            |o, s, d| keep(d.number, o.loss_and_grad(s.x, s.shape(), s.y, d.out)),
        ),
        call(
            "CrossEntropy::loss_and_grad_in_place",
            &[Number(loss), Over(gradient)],
            |o, s, d| keep(d.number, o.loss_and_grad_in_place(d.out, s.shape(), s.y)),
        ),
        call(
            "CrossEntropy::loss_with",
            &[Number(loss), PerRow(SOFT_ROW_LOSS)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                keep(d.number, o.loss_with(s.x, s.shape(), s.y, outputs))
            },
        ),
        call(
            "CrossEntropy::loss_and_grad_with",
            &[Number(loss), PerRow(SOFT_ROW_LOSS), Out(gradient)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                let returned = o.loss_and_grad_with(s.x, s.shape(), s.y, d.out, outputs);
                keep(d.number, returned)
            },
        ),
        call(
            "CrossEntropy::loss_and_grad_in_place_with",
            &[Number(loss), PerRow(SOFT_ROW_LOSS), Over(gradient)],
            |o, s, d| {
                let outputs = RowOutputs::new().losses(d.per_row);
                let returned = o.loss_and_grad_in_place_with(d.out, s.shape(), s.y, outputs);
                keep(d.number, returned)
            },
        ),
    ]
}

fn soft_row_losses<E: Tested>(options: OfCrossEntropy<E>) -> Vec<Call<E>> {
    let call = |name, gives: &[Gives], method| {
        call(name, Labels, gives, Form::CrossEntropy(options, method))
    };
    vec![
        call(
            "CrossEntropy::loss_per_row",
            &[PerRow(SOFT_ROW_LOSS)],
            |o, s, d| o.loss_per_row(s.x, s.shape(), s.y, d.per_row),
        ),
        call(
            "CrossEntropy::loss_per_row_and_grad",
            &[PerRow(SOFT_ROW_LOSS), Out(SOFT_ROW_GRADIENT)],
            |o, s, d| o.loss_per_row_and_grad(s.x, s.shape(), s.y, d.per_row, d.out),
        ),
        call(
            "CrossEntropy::loss_per_row_and_grad_in_place",
            &[PerRow(SOFT_ROW_LOSS), Over(SOFT_ROW_GRADIENT)],
            |o, s, d| o.loss_per_row_and_grad_in_place(d.out, s.shape(), s.y, d.per_row),
        ),
    ]
}

/// The loss of each row, and its gradient.
fn row_losses<E: Tested>(options: OfCrossEntropy<E>) -> Vec<Call<E>> {
    let call = |name, gives: &[Gives], method| {
        call(name, Targets, gives, Form::CrossEntropy(options, method))
    };
    vec![
        call(
            "CrossEntropy::loss_per_row",
            &[PerRow(ROW_LOSS)],
            |o, s, d| o.loss_per_row(s.x, s.shape(), s.targets, d.per_row),
        ),
        call(
            "CrossEntropy::loss_per_row_and_grad",
            &[PerRow(ROW_LOSS), Out(ROW_GRADIENT)],
            |o, s, d| o.loss_per_row_and_grad(s.x, s.shape(), s.targets, d.per_row, d.out),
        ),
        call(
            "CrossEntropy::loss_per_row_and_grad_in_place",
            &[PerRow(ROW_LOSS), Over(ROW_GRADIENT)],
            |o, s, d| o.loss_per_row_and_grad_in_place(d.out, s.shape(), s.targets, d.per_row),
        ),
    ]
}

/// The reduced loss of elements, and its gradient.
fn binary<E: Tested>(options: OfBinary<E>, loss: Output, gradient: Output) -> Vec<Call<E>> {
    let call =
        |name, gives: &[Gives], method| call(name, Labels, gives, Form::Binary(options, method));
    vec![
        call("BinaryCrossEntropy::loss", &[Number(loss)], |o, s, d| {
            keep(d.number, o.loss(s.x, s.classes, s.y))
        }),
        call(
            "BinaryCrossEntropy::loss_and_grad",
            &[Number(loss), Out(gradient)],
            |o, s, d| keep(d.number, o.loss_and_grad(s.x, s.classes, s.y, d.out)),
        ),
        call(
            "BinaryCrossEntropy::loss_and_grad_in_place",
            &[Number(loss), Over(gradient)],
            |o, s, d| keep(d.number, o.loss_and_grad_in_place(d.out, s.classes, s.y)),
        ),
    ]
}

fn element_losses<E: Tested>() -> Call<E> {
    let method: Method<OfBinary<E>, E> = |o, s, d| {
        E::with_losses(d.out, |losses| {
            o.loss_per_element(s.x, s.classes, s.y, losses)
        })
    };
    let form = Form::Binary(BinaryCrossEntropy::new(), method);
    let gives = [Out(BINARY_LOSS)];
    call("BinaryCrossEntropy::loss_per_element", Labels, &gives, form)
}
