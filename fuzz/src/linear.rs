//! The loss of a linear layer: the bits of the loss of its logits, whatever the budget; and gradients that are products of those of the logits.

use softlane::{CrossEntropy, Error, LinearCrossEntropy, LinearGrads, Reduction, RowOutputs};

use crate::code::{arbitrary, coded};
use crate::guard::UNTOUCHED;
use crate::input::Floats;
use crate::options::{self, Number};

coded! {
    /// A layer, its rows and their targets.
    pub struct Input {
        pub x: Floats,
        pub w: Floats,
        pub b: Option<Floats>,
        pub rows: u8,
        pub classes: u8,
        pub features: u8,
        /// Over and over; see [`Input::targets`].
        pub targets: Vec<u8>,
        pub smoothing: Option<Number>,
        pub scale: Option<Number>,
        /// Beyond the least budget, in KiB.
        pub budget: u16,
    }
}
arbitrary! { Input }

/// The unit of rounding of `f32`.
const U: f64 = 1.0 / (1 << 24) as f64;

/// All that a call gives.
#[derive(Clone, Debug)]
struct Results {
    loss: Result<f32, Error>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    losses: Vec<f32>,
    log_sum_exps: Vec<f32>,
}

impl Results {
    fn all(&self) -> impl Iterator<Item = u32> {
        let slices = [
            &self.dx,
            &self.dw,
            &self.db,
            &self.losses,
            &self.log_sum_exps,
        ];
        slices.into_iter().flatten().map(|x| x.to_bits())
    }

    /// The same, but for which NaN it is: that is not promised.
    fn promised(&self) -> impl Iterator<Item = u32> {
        let canonical = |bits| {
            if f32::from_bits(bits).is_nan() {
                f32::NAN.to_bits()
            } else {
                bits
            }
        };
        self.all().map(canonical)
    }
}

/// A layer of which everything is known.
struct Layer {
    size: [usize; 2],
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    targets: Vec<i64>,
}

impl Input {
    /// Classes, now and then an ignored row, and seldom one that is wrong.
    fn targets(&self, rows: usize, classes: usize) -> Vec<i64> {
        let target = |byte: u8| match usize::from(byte) {
            255 => i64::MIN,
            // Of which there may be none.
            248.. => -100,
            byte if classes > 0 => (byte % classes) as i64,
            _ => -100,
        };
        let bytes: &[u8] = if self.targets.is_empty() {
            &[0]
        } else {
            &self.targets
        };
        bytes
            .iter()
            .cycle()
            .take(rows)
            .map(|&byte| target(byte))
            .collect()
    }

    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        let rows = usize::from(self.rows) % 140;
        let [classes, features] = [self.classes, self.features].map(usize::from);
        let [classes, features] = [classes % 40, features % 12];
        let b = self
            .b
            .as_ref()
            .map_or_else(|| vec![0.0; classes], |b| b.take(classes));
        let layer = Layer {
            size: [classes, features],
            x: self.x.take(rows * features),
            w: self.w.take(classes * features),
            b,
            targets: self.targets(rows, classes),
        };
        let smoothing = self.smoothing.as_ref().map_or(0.0, Number::get);
        let scale = self.scale.as_ref().map_or(1.0, Number::get);
        let loss = CrossEntropy::new()
            .label_smoothing(smoothing)
            .logit_scale(scale)
            .reduction(Reduction::Sum);
        let all = layer.run(loss, 1 << 30);
        let least = LinearCrossEntropy::<f32>::least_budget::<i64>(layer.size);
        let few = layer.run(loss, least + 1024 * usize::from(self.budget));
        // As text, since an error may name NaN.
        let bits = |results: &Results| format!("{:?}", results.loss.map(f32::to_bits));
        assert_eq!(bits(&few), bits(&all));
        assert!(
            few.promised().eq(all.promised()),
            "another budget, other bits"
        );

        let wrong = layer.targets.contains(&i64::MIN);
        let option = options::share_error("label_smoothing", smoothing)
            .or_else(|| options::factor_error("logit_scale", scale));
        match all.loss {
            Ok(_) => {
                assert!(option.is_none() && !wrong);
                layer.check(&all, loss);
            }
            Err(error) => {
                match error {
                    Error::Option { .. } => assert!(option.is_some(), "{error}"),
                    Error::Target { row, .. } => assert_eq!(layer.targets[row], i64::MIN),
                    _ => panic!("unexpected: {error}"),
                }
                assert!(all.all().all(|bits| bits == UNTOUCHED.to_bits()));
            }
        }
    }
}

impl Layer {
    fn run(&self, loss: CrossEntropy<'_>, budget: usize) -> Results {
        let mut results = Results {
            loss: Ok(0.0),
            dx: vec![UNTOUCHED; self.x.len()],
            dw: vec![UNTOUCHED; self.w.len()],
            db: vec![UNTOUCHED; self.b.len()],
            losses: vec![UNTOUCHED; self.targets.len()],
            log_sum_exps: vec![UNTOUCHED; self.targets.len()],
        };
        let grads = LinearGrads::new()
            .inputs(&mut results.dx)
            .weights(&mut results.dw)
            .bias(&mut results.db);
        let outputs = RowOutputs::new()
            .losses(&mut results.losses)
            .log_sum_exps(&mut results.log_sum_exps);
        let layer = LinearCrossEntropy::new(loss).bias(&self.b).budget(budget);
        results.loss =
            layer.loss_and_grads_with(&self.x, &self.w, self.size, &self.targets, grads, outputs);
        results
    }

    /// The logits, in the order of the products, if they are fused here.
    fn logits(&self) -> Option<Vec<f32>> {
        #[cfg(target_arch = "x86_64")]
        if !std::arch::is_x86_feature_detected!("fma") {
            return None;
        }
        let [classes, features] = self.size;
        let logit = |i: usize| {
            let (row, class) = (i / classes, i % classes);
            let x = &self.x[row * features..][..features];
            let w = &self.w[class * features..][..features];
            let sum = x
                .iter()
                .zip(w)
                .fold(0.0, |sum: f32, (x, w)| x.mul_add(*w, sum));
            self.b[class] + sum
        };
        Some((0..self.targets.len() * classes).map(logit).collect())
    }

    fn check(&self, found: &Results, loss: CrossEntropy<'_>) {
        let Some(logits) = self.logits() else {
            return;
        };
        let (rows, [classes, features]) = (self.targets.len(), self.size);
        let mut grad = vec![0.0; logits.len()];
        let (mut losses, mut log_sum_exps) = (vec![0.0; rows], vec![0.0; rows]);
        let outputs = RowOutputs::new()
            .losses(&mut losses)
            .log_sum_exps(&mut log_sum_exps);
        loss.loss_and_grad_with(&logits, classes, &self.targets, &mut grad, outputs)
            .expect("the same options and targets");
        let same = |a: &[f32], b: &[f32]| {
            a.iter()
                .map(|x| x.to_bits())
                .eq(b.iter().map(|x| x.to_bits()))
        };
        assert!(same(&found.losses, &losses), "losses");
        assert!(same(&found.log_sum_exps, &log_sum_exps), "log-sum-exps");

        // Products of gradients, as far as they are finite: NaN and infinities go where they do.
        let close = |what: &str, found: f32, terms: &mut dyn Iterator<Item = (f32, f32)>| {
            let (mut sum, mut all, mut count) = (0.0, 0.0, 0.0);
            for (a, b) in terms {
                let term = f64::from(a) * f64::from(b);
                (sum, all, count) = (sum + term, all + term.abs(), count + 1.0);
            }
            // No partial sum overflows either.
            if all < f64::from(f32::MAX) / 2.0 {
                let bound = (count + 2.0) * (U * all + (-150_f64).exp2());
                assert!(
                    (f64::from(found) - sum).abs() <= bound,
                    "{what}: {found}, not {sum}"
                );
            }
        };
        // Ignored rows are no rows, whatever they hold.
        let counted: Vec<usize> = (0..rows).filter(|&row| self.targets[row] >= 0).collect();
        for (i, &dw) in found.dw.iter().enumerate() {
            let (k, j) = (i / features, i % features);
            let terms = counted.iter();
            close(
                "dW",
                dw,
                &mut terms.map(|row| (grad[row * classes + k], self.x[row * features + j])),
            );
        }
        for (i, &dx) in found.dx.iter().enumerate() {
            let (row, j) = (i / features, i % features);
            if self.targets[row] < 0 {
                assert!(dx.to_bits() == 0, "dX of a row that is ignored");
            } else {
                close(
                    "dX",
                    dx,
                    &mut (0..classes).map(|k| (grad[row * classes + k], self.w[k * features + j])),
                );
            }
        }
        for (k, &db) in found.db.iter().enumerate() {
            close(
                "db",
                db,
                &mut counted.iter().map(|row| (grad[row * classes + k], 1.0)),
            );
        }
    }
}
