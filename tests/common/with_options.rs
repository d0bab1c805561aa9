//! Calls with options, beside those of `calls.rs`: for tests of bits and of memory, which ask no exact results. What the options of a
//! row are depends on the row alone, unless the name says so.

use softlane::{BinaryCrossEntropy, CrossEntropy, Exec, Reduction, RowOutputs, Softmax};

use super::calls::Gives::{Number, Out, Over, PerRow};
use super::calls::Reads::{Labels, LogProbabilities, Logits, Probabilities, Targets};
use super::calls::{Call, Form, Gives, Method, Reads, Tested, call, keep, of_batch, of_rows};

/// All of them.
pub fn with_options<E: Tested>() -> Vec<Call<E>> {
    let calls = [
        attention(),
        attention_backward(),
        classes(),
        of_the_row(),
        distributions(),
        binary(),
    ];
    calls.into_iter().flatten().collect()
}

/// Where each call makes its options, from the classes and the targets that it is given.
fn on_exec<E: Tested>(
    name: &str,
    reads: Reads,
    gives: &[Gives],
    method: Method<Exec, E>,
) -> Call<E> {
    call(name, reads, gives, Form::Exec(method))
}

/// Numbers that are few, and exact in every type.
fn cycled<E: Tested, const N: usize>(numbers: [f64; N], len: usize) -> Vec<E::Real> {
    let numbers = numbers.map(<E::Number as Tested>::rounded);
    numbers.into_iter().cycle().take(len).collect()
}

/// Weights of classes or labels: one of them is 0.
fn weights<E: Tested>(classes: usize) -> Vec<E::Real> {
    cycled::<E, 5>([0.5, 2.0, 1.25, 0.0, 3.0], classes)
}

/// What the rows' losses are multiplied by, told by their targets.
fn upstream<E: Tested>(targets: &[i64]) -> Vec<E::Real> {
    let of = |&target: &i64| if target % 2 == 0 { 0.5 } else { -2.0 };
    let of = |target| <E::Number as Tested>::rounded(of(target));
    targets.iter().map(of).collect()
}

/// A row of what is added to logits; some classes take no part.
fn mask<E: Tested>(classes: usize) -> Vec<E::Real> {
    cycled::<E, 7>(
        [0.0, -1.5, 2.25, f64::NEG_INFINITY, 0.125, -0.75, 1.0],
        classes,
    )
}

/// A row of which classes take part.
fn bool_mask(classes: usize) -> Vec<bool> {
    (0..classes).map(|i| i % 3 != 1).collect()
}

/// Masks that have a row for each of the batch: an additive one, and a boolean one, which shows something of every row.
fn masks_of_rows<E: Tested>(rows: usize, classes: usize) -> (Vec<E::Real>, Vec<bool>) {
    let mask = cycled::<E, 5>([0.0, -1.5, 2.25, 0.125, -0.75], rows * classes);
    let shown = |i: usize| i.is_multiple_of(classes) || i % 7 < 5;
    (mask, (0..rows * classes).map(shown).collect())
}

/// Elements that do not count: the same of each row.
fn ignored(rows: usize, labels: usize) -> Vec<bool> {
    let row = || (0..labels).map(|i| i % 5 == 2);
    (0..rows).flat_map(|_| row()).collect()
}

fn scaled<E: Tested>(exec: Exec) -> Softmax<'static, E::Real> {
    Softmax::new().exec(exec).logit_scale(0.37)
}

fn attention<E: Tested>() -> Vec<Call<E>> {
    let probs = of_rows("softmax with a scale");
    let log_probs = of_rows("log-softmax with a scale");
    let masked = of_rows("softmax with a scale, a mask and a sink");
    let log_masked = of_rows("log-softmax with a scale, a mask and a sink");
    let shown = of_rows("softmax with a boolean mask");
    let by_row = of_batch("softmax with masks of each row");
    let log_by_row = of_batch("log-softmax with masks of each row");
    let causal = of_batch("softmax, causal, with a scale");
    vec![
        on_exec("Softmax::probs", Logits, &[Out(probs)], |e, s, d| {
            scaled::<E>(e).probs(s.x, s.shape(), d.out)
        }),
        on_exec(
            "Softmax::log_probs",
            Logits,
            &[Out(log_probs)],
            |e, s, d| scaled::<E>(e).log_probs(s.x, s.shape(), d.out),
        ),
        on_exec("Softmax::probs", Logits, &[Out(masked)], |e, s, d| {
            let (mask, sinks) = (mask::<E>(s.classes), cycled::<E, 1>([0.5], 1));
            let options = scaled::<E>(e).mask(&mask).sinks(&sinks, 1);
            options.probs(s.x, s.shape(), d.out)
        }),
        on_exec(
            "Softmax::probs_in_place",
            Logits,
            &[Over(masked)],
            |e, s, d| {
                let (mask, sinks) = (mask::<E>(s.classes), cycled::<E, 1>([0.5], 1));
                let options = scaled::<E>(e).mask(&mask).sinks(&sinks, 1);
                options.probs_in_place(d.out, s.shape())
            },
        ),
        on_exec(
            "Softmax::log_probs",
            Logits,
            &[Out(log_masked)],
            |e, s, d| {
                let (mask, sinks) = (mask::<E>(s.classes), cycled::<E, 1>([0.5], 1));
                let options = scaled::<E>(e).mask(&mask).sinks(&sinks, 1);
                options.log_probs(s.x, s.shape(), d.out)
            },
        ),
        on_exec("Softmax::probs", Logits, &[Out(shown)], |e, s, d| {
            let mask = bool_mask(s.classes);
            let options = Softmax::new().exec(e).bool_mask(&mask);
            options.probs(s.x, s.shape(), d.out)
        }),
        on_exec("Softmax::probs", Logits, &[Out(by_row)], |e, s, d| {
            let (mask, flags) = masks_of_rows::<E>(s.targets.len(), s.classes);
            let options = scaled::<E>(e).mask(&mask).bool_mask(&flags);
            options.probs(s.x, s.shape(), d.out)
        }),
        on_exec(
            "Softmax::probs_in_place",
            Logits,
            &[Over(by_row)],
            |e, s, d| {
                let (mask, flags) = masks_of_rows::<E>(s.targets.len(), s.classes);
                let options = scaled::<E>(e).mask(&mask).bool_mask(&flags);
                options.probs_in_place(d.out, s.shape())
            },
        ),
        on_exec(
            "Softmax::log_probs",
            Logits,
            &[Out(log_by_row)],
            |e, s, d| {
                let (mask, flags) = masks_of_rows::<E>(s.targets.len(), s.classes);
                let options = scaled::<E>(e).mask(&mask).bool_mask(&flags);
                options.log_probs(s.x, s.shape(), d.out)
            },
        ),
        on_exec("Softmax::probs", Logits, &[Out(causal)], |e, s, d| {
            let rows = s.targets.len();
            let options = scaled::<E>(e).causal(rows, s.classes / 2);
            options.probs(s.x, s.shape(), d.out)
        }),
    ]
}

fn attention_backward<E: Tested>() -> Vec<Call<E>> {
    let backward = of_rows("softmax backward with a scale and a boolean mask");
    let log_backward = of_rows("log-softmax backward with a scale and a mask");
    vec![
        on_exec(
            "Softmax::probs_backward",
            Probabilities,
            &[Out(backward)],
            |e, s, d| {
                let mask = bool_mask(s.classes);
                let options = scaled::<E>(e).bool_mask(&mask);
                options.probs_backward(s.y, s.x, s.shape(), d.out)
            },
        ),
        on_exec(
            "Softmax::log_probs_backward",
            LogProbabilities,
            &[Out(log_backward)],
            |e, s, d| {
                let mask = mask::<E>(s.classes);
                let options = scaled::<E>(e).mask(&mask);
                options.log_probs_backward(s.y, s.x, s.shape(), d.out)
            },
        ),
    ]
}

/// All options that a sum and a mean have.
fn all_options<E: Tested>(
    exec: Exec,
    reduction: Reduction,
    weights: &[E::Real],
) -> CrossEntropy<'_, E::Real> {
    let options = CrossEntropy::new().exec(exec).reduction(reduction);
    let options = options.class_weights(weights).label_smoothing(0.1);
    options.z_loss(0.01).logit_scale(1.7)
}

fn classes<E: Tested>() -> Vec<Call<E>> {
    let mean = of_batch("cross-entropy with options, mean");
    let mean_gradient = of_batch("cross-entropy with options, gradient of the mean");
    let loss = of_rows("cross-entropy with options, loss of each row");
    let gradient = of_rows("cross-entropy with options, gradient of each row");
    let weighted = of_rows("cross-entropy with class weights, loss of each row");
    vec![
        on_exec(
            "CrossEntropy::loss_and_grad",
            Targets,
            &[Number(mean), Out(mean_gradient)],
            |e, s, d| {
                let weights = weights::<E>(s.classes);
                let options = all_options::<E>(e, Reduction::Mean, &weights);
                let returned = options.loss_and_grad(s.x, s.shape(), s.targets, d.out);
                keep(d.number, returned)
            },
        ),
        on_exec(
            "CrossEntropy::loss_per_row_and_grad",
            Targets,
            &[PerRow(loss), Out(gradient)],
            |e, s, d| {
                let (weights, upstream) = (weights::<E>(s.classes), upstream::<E>(s.targets));
                let options = all_options::<E>(e, Reduction::Sum, &weights);
                let options = options.upstream_grad(&upstream);
                options.loss_per_row_and_grad(s.x, s.shape(), s.targets, d.per_row, d.out)
            },
        ),
        on_exec(
            "CrossEntropy::loss_per_row_and_grad_in_place",
            Targets,
            &[PerRow(loss), Over(gradient)],
            |e, s, d| {
                let (weights, upstream) = (weights::<E>(s.classes), upstream::<E>(s.targets));
                let options = all_options::<E>(e, Reduction::Sum, &weights);
                let options = options.upstream_grad(&upstream);
                options.loss_per_row_and_grad_in_place(d.out, s.shape(), s.targets, d.per_row)
            },
        ),
        on_exec(
            "CrossEntropy::loss_per_row",
            Targets,
            &[PerRow(weighted)],
            |e, s, d| {
                let weights = weights::<E>(s.classes);
                let options = CrossEntropy::new().exec(e).class_weights(&weights);
                options.loss_per_row(s.x, s.shape(), s.targets, d.per_row)
            },
        ),
    ]
}

/// What else the sweep of a loss knows of each row.
fn of_the_row<E: Tested>() -> Vec<Call<E>> {
    let log_sum_exp = of_rows("log-sum-exp of the scaled row");
    let log_prob = of_rows("log-probability of the target");
    let entropy = of_rows("entropy");
    let argmax = of_rows("index of the largest");
    let call = |name, gives, method| on_exec(name, Targets, &[gives], method);
    vec![
        call("CrossEntropy::loss_with", PerRow(log_sum_exp), |e, s, d| {
            let outputs = RowOutputs::new().log_sum_exps(d.per_row);
            let options = CrossEntropy::new().exec(e).logit_scale(1.7);
            let returned = options.loss_with(s.x, s.shape(), s.targets, outputs);
            returned.map(|_| ())
        }),
        call("CrossEntropy::loss_with", PerRow(log_prob), |e, s, d| {
            let outputs = RowOutputs::new().log_probs(d.per_row);
            let options = CrossEntropy::new().exec(e);
            let returned = options.loss_with(s.x, s.shape(), s.targets, outputs);
            returned.map(|_| ())
        }),
        call("CrossEntropy::loss_with", PerRow(entropy), |e, s, d| {
            let outputs = RowOutputs::new().entropies(d.per_row);
            let options = CrossEntropy::new().exec(e);
            let returned = options.loss_with(s.x, s.shape(), s.targets, outputs);
            returned.map(|_| ())
        }),
        call("CrossEntropy::loss_with", PerRow(argmax), |e, s, d| {
            let mut found = vec![0; s.targets.len()];
            let outputs = RowOutputs::new().argmax(&mut found);
            let options = CrossEntropy::new().exec(e);
            let returned = options.loss_with(s.x, s.shape(), s.targets, outputs);
            // After an error, nothing is.
            if returned.is_ok() {
                for (to, i) in d.per_row.iter_mut().zip(found) {
                    *to = <E::Number as Tested>::rounded(i as f64);
                }
            }
            returned.map(|_| ())
        }),
    ]
}

fn distributions<E: Tested>() -> Vec<Call<E>> {
    let mean = of_batch("cross-entropy with distributions and options, mean");
    let mean_gradient =
        of_batch("cross-entropy with distributions and options, gradient of the mean");
    let loss = of_rows("cross-entropy with distributions and options, loss of each row");
    let gradient = of_rows("cross-entropy with distributions and options, gradient of each row");
    vec![
        on_exec(
            "CrossEntropy::loss_and_grad",
            Labels,
            &[Number(mean), Out(mean_gradient)],
            |e, s, d| {
                let weights = weights::<E>(s.classes);
                let options = all_options::<E>(e, Reduction::Mean, &weights);
                keep(d.number, options.loss_and_grad(s.x, s.shape(), s.y, d.out))
            },
        ),
        on_exec(
            "CrossEntropy::loss_per_row_and_grad",
            Labels,
            &[PerRow(loss), Out(gradient)],
            |e, s, d| {
                let (weights, upstream) = (weights::<E>(s.classes), upstream::<E>(s.targets));
                let options = all_options::<E>(e, Reduction::Sum, &weights);
                let options = options.upstream_grad(&upstream);
                options.loss_per_row_and_grad(s.x, s.shape(), s.y, d.per_row, d.out)
            },
        ),
    ]
}

/// Weights of labels, none of which is 0.
fn label_weights<E: Tested>(labels: usize) -> Vec<E::Real> {
    cycled::<E, 3>([1.5, 0.25, 1.0], labels)
}

fn binary_options<'a, E: Tested>(
    exec: Exec,
    ignored: &'a [bool],
    yes: &'a [E::Real],
    each: &'a [E::Real],
) -> BinaryCrossEntropy<'a, E::Real> {
    let options = BinaryCrossEntropy::new().exec(exec).label_smoothing(0.1);
    options
        .pos_weights(yes)
        .label_weights(each)
        .ignore_mask(ignored)
}

fn binary<E: Tested>() -> Vec<Call<E>> {
    let mean = of_batch("binary cross-entropy with options, mean");
    let mean_gradient = of_batch("binary cross-entropy with options, gradient of the mean");
    let loss = of_rows("binary cross-entropy with options, each loss");
    vec![
        on_exec(
            "BinaryCrossEntropy::loss_and_grad",
            Labels,
            &[Number(mean), Out(mean_gradient)],
            |e, s, d| {
                let ignored = ignored(s.targets.len(), s.classes);
                let (yes, each) = (weights::<E>(s.classes), label_weights::<E>(s.classes));
                let options = binary_options::<E>(e, &ignored, &yes, &each);
                keep(d.number, options.loss_and_grad(s.x, s.classes, s.y, d.out))
            },
        ),
        on_exec(
            "BinaryCrossEntropy::loss_per_element",
            Labels,
            &[Out(loss)],
            |e, s, d| {
                let ignored = ignored(s.targets.len(), s.classes);
                let (yes, each) = (weights::<E>(s.classes), label_weights::<E>(s.classes));
                let options = binary_options::<E>(e, &ignored, &yes, &each);
                E::with_losses(d.out, |losses| {
                    options.loss_per_element(s.x, s.classes, s.y, losses)
                })
            },
        ),
    ]
}
