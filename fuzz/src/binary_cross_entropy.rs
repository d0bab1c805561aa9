//! Binary cross-entropy: every form, every option, hard and soft labels and others.

use softlane::BinaryCrossEntropy;

use crate::bounds::{
    BINARY_GRADIENT, BINARY_LOSS, Bound, HARD_BINARY_LOSS, HARD_MEAN_BINARY_GRADIENT,
};
use crate::check::{Expected, blank, check, joined, length_error, outcome, output, shape_error};
use crate::code::coded;
use crate::input::{Floats, Lengths, Offsets, Placed, Shape};
use crate::oracle;
use crate::reducing::Reducing;
use crate::ulp::Want;

coded! {
    /// A call.
    pub struct Input {
        pub reducing: Reducing,
        /// Labels beyond 0 and 1 are allowed, but what they give is not known.
        pub any_label: bool,
        /// Lengths that may not fit: then only that is looked at.
        pub misfit: Option<Lengths>,
        pub shape: Shape,
        pub offsets: Offsets,
        pub labels: Floats,
        pub x: Floats,
    }
}

impl Input {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match &self.misfit {
            Some(misfit) => self.misfit(misfit),
            None => self.fit(),
        }
    }

    fn fit(&self) {
        let (batch, offset) = (self.shape.batch(), self.offsets.output());
        let classes = batch.classes;
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let labels = if self.any_label {
            self.labels.take(batch.len())
        } else {
            self.labels.take_labels(batch.len())
        };
        let loss = BinaryCrossEntropy::new()
            .reduction(self.reducing.reduction())
            .empty_mean(self.reducing.empty_mean());

        let scale = self.reducing.scale(x.len() as f64);
        let losses: Vec<_> = (x.iter().zip(&labels))
            .map(|(&x, &label)| {
                let (exact, _) = oracle::binary_cross_entropy(x, label);
                hard_or_soft(label, (exact, exact), HARD_BINARY_LOSS, BINARY_LOSS.derived)
            })
            .collect();
        let grads = x.iter().zip(&labels).map(|(&x, &label)| {
            let exact = oracle::binary_cross_entropy_gradient(x, label, scale);
            let (hard, soft) = (HARD_MEAN_BINARY_GRADIENT, BINARY_GRADIENT.derived);
            hard_or_soft(label, exact, hard, soft)
        });
        let sum = oracle::sum(losses.iter().map(|loss| loss.value));
        let value = self.reducing.reduced(sum, x.len() as f64);
        let mut reduced = vec![match x.len() {
            0 => Expected::exactly(value),
            // The losses are rounded before they are summed, and the sum once more.
            _ => Expected::scaled_sum(&losses, value, scale),
        }];
        reduced.extend(grads);

        let known = !self.any_label;
        check(batch, known.then_some(&reduced[..]), |exec| {
            let loss = loss.exec(exec);
            let (grad, value) = output(&blank(x.len()), offset, |grad| {
                loss.loss_and_grad(&x, classes, &labels, grad)
            });
            let (over_x, in_place) = output(&x, offset, |x| {
                loss.loss_and_grad_in_place(x, classes, &labels)
            });
            let alone = loss.loss(&x, classes, &labels);
            vec![
                joined(&[value], &grad),
                joined(&[in_place], &over_x),
                joined(&[alone.expect("a loss")], &grad),
            ]
        });
        check(batch, known.then_some(&losses[..]), |exec| {
            let loss = loss.exec(exec);
            let (all, ()) = output(&blank(x.len()), offset, |losses| {
                loss.loss_per_element(&x, classes, &labels, losses)
            });
            let mut forms = vec![all];
            if batch.has_few_rows() {
                let (each, ()) = output(&blank(x.len()), offset, |losses| {
                    let rows = batch.rows_of(&x).zip(batch.rows_of(&labels));
                    (rows.zip(losses.chunks_exact_mut(classes))).try_for_each(
                        |((x, labels), losses)| loss.loss_per_element(x, classes, labels, losses),
                    )
                });
                forms.push(each);
            }
            forms
        });
    }

    fn misfit(&self, misfit: &Lengths) {
        let (classes, [len, labels, out]) = (misfit.classes(), misfit.slices());
        let (x, labels) = (self.x.take(len), self.x.take(labels));
        let loss = BinaryCrossEntropy::new();
        let alone = length_error(len, labels.len()).or(shape_error(len, classes));
        let with_output = alone.or(length_error(len, out));
        outcome(alone, &[], |_| loss.loss(&x, classes, &labels));
        outcome(with_output, &blank(out), |grad| {
            loss.loss_and_grad(&x, classes, &labels, grad)
        });
        outcome(alone, &x, |x| {
            loss.loss_and_grad_in_place(x, classes, &labels)
        });
        outcome(with_output, &blank(out), |losses| {
            loss.loss_per_element(&x, classes, &labels, losses)
        });
    }
}

/// With labels 0 and 1 there is but one term, which is the result.
fn hard_or_soft(label: f32, (value, term): (f64, f64), hard: Bound, soft: Bound) -> Expected {
    if label == 0.0 || label == 1.0 {
        hard.around(Want::ulp_of(value, term))
    } else {
        soft.around(Want::ulp_of(value, term))
    }
}
