//! The pass over the rows of a layer: some of them at a time, a chunk, and of these `PIECE` by `PIECE` where sums are taken.

use alloc::vec::Vec;
use core::ops::Range;

use super::matrix::{Matrix, MatrixMut, Tiles};
use super::plan::{PANEL, PIECE, Plan};
use crate::backend::Isa;
use crate::batch::{Batch, BatchMut};
use crate::cross_entropy::CrossEntropy;
use crate::element::Element;
use crate::error::Error;
use crate::exec::Exec;
use crate::outputs::RowOutputs;
use crate::shape::Shape;
use crate::targets::{Answers, Distributions, Targets};

/// Operations of a product that take as long as an element of softmax.
const OPERATIONS: usize = 32;

/// Tiles for each thread, where there may be many: the last ones are done while others wait.
const TILES: usize = 4;

/// A layer `x = X W^T + b`, and what its rows should be.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a, E> {
    /// `X`: a row of features for each row.
    pub inputs: &'a [E],
    /// `W`: a row of features for each class.
    pub weights: &'a [E],
    pub bias: Option<&'a [E]>,
    pub classes: usize,
    pub features: usize,
    pub rows: usize,
    pub goal: Goal<'a, E>,
}

/// What the rows of a layer should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal<'a, E> {
    Classes(Targets<'a>),
    /// A probability for each class of each row.
    Probs(&'a [E]),
}

/// Where the gradients go, each of them dense.
#[derive(Debug, Default)]
pub struct Grads<'a> {
    pub inputs: Option<&'a mut [f32]>,
    pub weights: Option<&'a mut [f32]>,
    pub bias: Option<&'a mut [f32]>,
}

impl Grads<'_> {
    fn any(&self) -> bool {
        self.inputs.is_some() || self.weights.is_some() || self.bias.is_some()
    }
}

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    pub loss: CrossEntropy<'a>,
    /// What every gradient is multiplied by.
    pub scale: f64,
    /// What weights are copied with.
    pub isa: Isa,
    pub plan: Plan,
}

/// What is held of a chunk.
struct Chunk {
    /// Which rows these are: those that count.
    rows: Vec<usize>,
    /// Their features, later the gradient of these.
    inputs: Vec<f32>,
    /// Their logits, later the gradient of these.
    logits: Vec<f32>,
    /// The distributions of a piece.
    probs: Vec<f32>,
}

/// The sum of the losses; and the gradients, and what else is wanted of each row.
pub fn run<E: Element<Real = f32>>(
    layer: &Layer<'_, E>,
    means: Means<'_>,
    mut grads: Grads<'_>,
    mut outputs: RowOutputs<'_>,
) -> Result<f64, Error> {
    let room = means.plan.rows.min(layer.rows);
    let soft = match layer.goal {
        Goal::Classes(_) => 0,
        Goal::Probs(_) => PIECE.min(room),
    };
    let mut chunk = Chunk {
        rows: Vec::with_capacity(room),
        inputs: Vec::with_capacity(room * layer.features),
        logits: Vec::with_capacity(room * layer.classes),
        probs: Vec::with_capacity(soft * layer.classes),
    };
    let with_grad = grads.any();
    // What rows that do not count leave as it is.
    outputs.clear();
    for grad in [&mut grads.inputs, &mut grads.weights]
        .into_iter()
        .flatten()
    {
        grad.fill(0.0);
    }
    let mut bias_grad = Vec::new();
    if grads.bias.is_some() {
        bias_grad.resize(layer.classes, 0.0);
    }
    let (mut sum, mut next) = (0.0, 0);
    while layer.take(&mut chunk, &mut next, means) {
        layer.logits(&mut chunk, means);
        sum += layer.losses(&mut chunk, means, with_grad, &mut outputs)?;
        layer.weight_grads(&chunk, means, grads.weights.as_deref_mut(), &mut bias_grad);
        if let Some(inputs) = grads.inputs.as_deref_mut() {
            layer.input_grads(&mut chunk, means, inputs);
        }
    }
    if let Some(bias) = grads.bias {
        for (to, &from) in bias.iter_mut().zip(&bias_grad) {
            *to = from as f32;
        }
    }
    Ok(sum)
}

impl<E: Element<Real = f32>> Layer<'_, E> {
    /// Whether a row counts.
    fn counts(&self, row: usize) -> bool {
        match self.goal {
            Goal::Classes(targets) => targets.get(row).is_some(),
            Goal::Probs(_) => self.probs(row).iter().any(|p| p.to_real() != 0.0),
        }
    }

    /// The distribution of a row.
    fn probs(&self, row: usize) -> &[E] {
        match self.goal {
            Goal::Classes(_) => &[],
            Goal::Probs(probs) => &probs[row * self.classes..][..self.classes],
        }
    }

    /// Takes the next rows that count. Whether there are any.
    fn take(&self, chunk: &mut Chunk, next: &mut usize, means: Means<'_>) -> bool {
        chunk.rows.clear();
        while *next < self.rows && chunk.rows.len() < means.plan.rows {
            if self.counts(*next) {
                chunk.rows.push(*next);
            }
            *next += 1;
        }
        chunk.inputs.resize(chunk.rows.len() * self.features, 0.0);
        chunk.logits.resize(chunk.rows.len() * self.classes, 0.0);
        let rows = chunk.rows.iter().map(|row| row * self.features);
        for (row, to) in rows.zip(chunk.inputs.chunks_mut(self.features.max(1))) {
            E::widen(means.isa, &self.inputs[row..][..to.len()], to);
        }
        !chunk.rows.is_empty()
    }

    /// Computes their logits.
    fn logits(&self, chunk: &mut Chunk, means: Means<'_>) {
        let size = [chunk.rows.len(), self.classes];
        let inputs = Matrix::new(&chunk.inputs, [size[0], self.features]);
        let tiles = TILES * means.plan.threads;
        let panels = self.classes.div_ceil(PANEL).max(1);
        // Few classes leave rows to share.
        let rows = (size[0] * panels).div_ceil(tiles).max(PIECE);
        let tiles = MatrixMut::new(&mut chunk.logits, size).tiles([rows, PANEL]);
        means.each(size[0] * self.classes * self.features, tiles, |mut tile| {
            let mut bias = [0.0; PANEL];
            let bias = &mut bias[..tile.columns.len()];
            if let Some(numbers) = self.bias {
                E::widen(means.isa, &numbers[tile.columns.clone()], bias);
            }
            tile.matrix.fill(bias);
            let mut room = Vec::new();
            let weights = self.weights(tile.columns, 0..self.features, means.isa, &mut room);
            tile.matrix
                .add_product(inputs.rows(tile.rows), weights.transposed());
        });
    }

    /// Some of the weights, in `room` if they are not numbers as products take them.
    fn weights<'r>(
        &'r self,
        classes: Range<usize>,
        features: Range<usize>,
        isa: Isa,
        room: &'r mut Vec<f32>,
    ) -> Matrix<'r> {
        if let Some(weights) = E::reals(self.weights) {
            let weights = Matrix::new(weights, [self.classes, self.features]);
            return weights.rows(classes).columns(features);
        }
        let size = [classes.len(), features.len()];
        room.resize(size[0] * size[1], 0.0);
        for (class, to) in classes.zip(room.chunks_mut(size[1].max(1))) {
            E::widen(
                isa,
                &self.weights[class * self.features..][features.clone()],
                to,
            );
        }
        Matrix::new(room, size)
    }

    /// The sum of their losses; and, if they are asked for, the gradients with respect to the logits, in place of these.
    fn losses(
        &self,
        chunk: &mut Chunk,
        means: Means<'_>,
        with_grad: bool,
        outputs: &mut RowOutputs<'_>,
    ) -> Result<f64, Error> {
        let mut sum = 0.0;
        let shape = Shape::rows(self.classes);
        let pieces = chunk.logits.chunks_mut(PIECE * self.classes.max(1));
        for (rows, logits) in chunk.rows.chunks(PIECE).zip(pieces) {
            let count = rows.len();
            let mut upstream = [0.0; PIECE];
            let upstream = means.loss.upstream_grad.map(|upstream_grad| {
                rows.iter()
                    .zip(&mut upstream)
                    .for_each(|(&row, to)| *to = upstream_grad[row]);
                &upstream[..count]
            });
            let mut found = Found::default();
            let wanted = found.outputs(outputs, count);
            let Means { loss, scale, .. } = means;
            sum += match self.goal {
                Goal::Classes(targets) => {
                    let mut classes = [0; PIECE];
                    for (&row, to) in rows.iter().zip(&mut classes) {
                        *to = targets.get(row).unwrap_or_default();
                    }
                    let targets =
                        Targets::new::<_, f32>(&classes[..count], self.classes, None, None)?.0;
                    let answers = Answers { targets, upstream };
                    if with_grad {
                        loss.class_losses(
                            BatchMut::in_place(logits, shape)?,
                            answers,
                            wanted,
                            scale,
                        )
                    } else {
                        loss.class_losses(Batch::new([&*logits], shape)?, answers, wanted, scale)
                    }
                }
                Goal::Probs(_) => {
                    chunk.probs.resize(logits.len(), 0.0);
                    for (&row, to) in rows.iter().zip(chunk.probs.chunks_mut(self.classes)) {
                        E::widen(means.isa, self.probs(row), to);
                    }
                    let targets = Distributions(Batch::new([&chunk.probs[..]], shape)?);
                    let answers = Answers { targets, upstream };
                    if with_grad {
                        loss.soft_losses(BatchMut::in_place(logits, shape)?, answers, wanted, scale)
                    } else {
                        loss.soft_losses(Batch::new([&*logits], shape)?, answers, wanted, scale)
                    }
                }
            }?;
            found.bring(rows, outputs);
        }
        Ok(sum)
    }

    /// Adds the gradients of weights and bias, where the logits are theirs.
    fn weight_grads(
        &self,
        chunk: &Chunk,
        means: Means<'_>,
        weights: Option<&mut [f32]>,
        bias: &mut [f64],
    ) {
        if weights.is_none() && bias.is_empty() {
            return;
        }
        let (rows, classes, features) = (chunk.rows.len(), self.classes, self.features);
        let inputs = Matrix::new(&chunk.inputs, [rows, features]);
        let logits = Matrix::new(&chunk.logits, [rows, classes]);
        // Few classes are shared too.
        let panel = classes.div_ceil(TILES * means.plan.threads).clamp(1, PANEL);
        let mut weights = weights.map(|weights| {
            MatrixMut::new(weights, [classes, features]).tiles([panel, features.max(1)])
        });
        let mut biases = bias.chunks_mut(panel);
        let panels = (0..classes.div_ceil(panel)).map(move |i| {
            let columns = i * panel..classes.min((i + 1) * panel);
            (
                columns,
                weights.as_mut().and_then(Tiles::next),
                biases.next(),
            )
        });
        means.each(
            rows * classes * features,
            panels,
            |(columns, weights, bias)| {
                if let Some(mut tile) = weights {
                    for start in (0..rows).step_by(PIECE) {
                        let piece = start..rows.min(start + PIECE);
                        let grads = logits.rows(piece.clone()).columns(columns.clone());
                        tile.matrix
                            .add_product(grads.transposed(), inputs.rows(piece));
                    }
                }
                if let Some(bias) = bias {
                    for row in chunk.logits.chunks(classes) {
                        for (sum, &grad) in bias.iter_mut().zip(&row[columns.clone()]) {
                            *sum += f64::from(grad);
                        }
                    }
                }
            },
        );
    }

    /// The gradients of the features, in place of these and then where they belong.
    fn input_grads(&self, chunk: &mut Chunk, means: Means<'_>, grads: &mut [f32]) {
        let size = [chunk.rows.len(), self.features];
        let logits = Matrix::new(&chunk.logits, [size[0], self.classes]);
        chunk.inputs.fill(0.0);
        // Tiles are wide: for each, all gradients of the logits are copied.
        let threads = means.plan.threads;
        let columns = size[1]
            .div_ceil(threads)
            .next_multiple_of(PIECE)
            .max(2 * PIECE);
        let rows = (size[0] * size[1].div_ceil(columns))
            .div_ceil(threads)
            .max(PIECE);
        let tiles = MatrixMut::new(&mut chunk.inputs, size).tiles([rows, columns]);
        means.each(size[0] * self.classes * size[1], tiles, |mut tile| {
            let logits = logits.rows(tile.rows);
            let mut room = Vec::new();
            for start in (0..self.classes).step_by(PANEL) {
                let panel = start..self.classes.min(start + PANEL);
                let weights =
                    self.weights(panel.clone(), tile.columns.clone(), means.isa, &mut room);
                tile.matrix.add_product(logits.columns(panel), weights);
            }
        });
        let features = self.features.max(1);
        for (row, from) in chunk.rows.iter().zip(chunk.inputs.chunks(features)) {
            grads[row * features..][..features].copy_from_slice(from);
        }
    }
}

impl Means<'_> {
    /// Does all of these on the threads that there are; together they are so many multiplications.
    fn each<I: Iterator<Item: Send> + Send>(
        self,
        multiplications: usize,
        items: I,
        work: impl Fn(I::Item) + Sync,
    ) {
        let elements = multiplications / OPERATIONS * 2;
        let exec: Exec = self.loss.exec;
        exec.each(self.plan.threads, elements, items, work);
    }
}

/// What is found of the rows of a piece.
struct Found {
    numbers: [[f32; PIECE]; 4],
    argmax: [usize; PIECE],
}

impl Default for Found {
    fn default() -> Self {
        Self {
            numbers: [[0.0; PIECE]; 4],
            argmax: [0; PIECE],
        }
    }
}

impl Found {
    /// Room for what is wanted of so many rows.
    fn outputs(&mut self, wanted: &RowOutputs<'_>, rows: usize) -> RowOutputs<'_> {
        let [losses, log_sum_exps, log_probs, entropies] = &mut self.numbers;
        RowOutputs {
            losses: wanted.losses.is_some().then_some(&mut losses[..rows]),
            log_sum_exps: wanted
                .log_sum_exps
                .is_some()
                .then_some(&mut log_sum_exps[..rows]),
            log_probs: wanted.log_probs.is_some().then_some(&mut log_probs[..rows]),
            entropies: wanted.entropies.is_some().then_some(&mut entropies[..rows]),
            argmax: wanted.argmax.is_some().then_some(&mut self.argmax[..rows]),
        }
    }

    /// Brings it to where it belongs.
    fn bring(&self, rows: &[usize], outputs: &mut RowOutputs<'_>) {
        let wanted = [
            &mut outputs.losses,
            &mut outputs.log_sum_exps,
            &mut outputs.log_probs,
            &mut outputs.entropies,
        ];
        for (to, from) in wanted.into_iter().zip(&self.numbers) {
            if let Some(to) = to {
                rows.iter().zip(from).for_each(|(&row, &x)| to[row] = x);
            }
        }
        if let Some(to) = &mut outputs.argmax {
            rows.iter()
                .zip(&self.argmax)
                .for_each(|(&row, &i)| to[row] = i);
        }
    }
}
