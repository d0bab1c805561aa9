//! The pass over the rows of a layer: some of them at a time, a chunk, and of these `PIECE` by `PIECE` where sums are taken.

use alloc::vec::Vec;
use core::ops::Range;

use super::matrix::{Matrix, MatrixMut};
use super::plan::{PANEL, PIECE, Plan};
use crate::backend::Isa;
use crate::batch::{Batch, BatchMut};
use crate::cross_entropy::{CrossEntropy, Form};
use crate::element::Element;
use crate::error::Error;
use crate::outputs::RowOutputs;
use crate::shape::Shape;
use crate::targets::{Answers, Distributions, Targets};

/// Multiplications of a product that take as long as an element of softmax: some 40 in a nanosecond, and three elements in a nanosecond (AVX2).
const MULTIPLICATIONS: usize = 16;

/// Tiles for each thread, where there may be many: while the last ones are done, others wait.
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
    let most = means.plan.rows.min(layer.rows);
    let soft = match layer.goal {
        Goal::Classes(_) => 0,
        Goal::Probs(_) => PIECE.min(most),
    };
    let mut chunk = Chunk {
        rows: room(most, 1)?,
        inputs: room(most, layer.features)?,
        logits: room(most, layer.classes)?,
        probs: room(soft, layer.classes)?,
    };
    let sums = if grads.bias.is_some() {
        layer.classes
    } else {
        0
    };
    let mut bias_grad = room(sums, 1)?;
    bias_grad.resize(sums, 0.0);
    let with_grad = grads.any();
    // What rows that do not count leave as it is.
    outputs.clear();
    for grad in [&mut grads.inputs, &mut grads.weights]
        .into_iter()
        .flatten()
    {
        grad.fill(0.0);
    }
    let (mut sum, mut next) = (0.0, 0);
    while layer.take(&mut chunk, &mut next, means) {
        layer.logits(&mut chunk, means);
        sum += layer.losses(&mut chunk, means, with_grad, &mut outputs)?;
        if let Some(weights) = grads.weights.as_deref_mut() {
            layer.weight_grads(&chunk, means, weights);
        }
        layer.bias_grads(&chunk, means, &mut bias_grad);
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

/// Room for so many rows of so many.
fn room<T>(rows: usize, columns: usize) -> Result<Vec<T>, Error> {
    let (mut room, len) = (Vec::new(), rows.saturating_mul(columns));
    let bytes = len.saturating_mul(size_of::<T>());
    room.try_reserve_exact(len)
        .map_err(|_| Error::Memory { bytes })?;
    Ok(room)
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
        // Few classes leave rows to share.
        let rows = means.share(size[0], self.classes.div_ceil(PANEL), PIECE);
        let tiles = MatrixMut::new(&mut chunk.logits, size).tiles([rows, PANEL]);
        means.each([size[0], self.classes, self.features], tiles, |mut tile| {
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
        let (mut sum, shape) = (0.0, Shape::rows(self.classes));
        let pieces = chunk
            .logits
            .chunks_mut(PIECE.saturating_mul(self.classes.max(1)));
        for (rows, logits) in chunk.rows.chunks(PIECE).zip(pieces) {
            self.probs_of(rows, &mut chunk.probs, means);
            let mut found = Found::default();
            let wanted = found.outputs(outputs, rows.len());
            sum += if with_grad {
                self.piece(
                    BatchMut::in_place(logits, shape)?,
                    rows,
                    &chunk.probs,
                    wanted,
                    means,
                )
            } else {
                self.piece(
                    Batch::new([&*logits], shape)?,
                    rows,
                    &chunk.probs,
                    wanted,
                    means,
                )
            }?;
            found.bring(rows, outputs);
        }
        Ok(sum)
    }

    /// Copies the distributions of a piece, if that is what its targets are.
    fn probs_of(&self, rows: &[usize], probs: &mut Vec<f32>, means: Means<'_>) {
        if let Goal::Probs(_) = self.goal {
            probs.resize(rows.len() * self.classes, 0.0);
            for (&row, to) in rows.iter().zip(probs.chunks_mut(self.classes)) {
                E::widen(means.isa, self.probs(row), to);
            }
        }
    }

    /// The sum of the losses of a piece.
    fn piece<B: Form<f32>>(
        &self,
        logits: B,
        rows: &[usize],
        probs: &[f32],
        wanted: RowOutputs<'_>,
        means: Means<'_>,
    ) -> Result<f64, Error> {
        let (mut classes, mut grads) = ([0; PIECE], [0.0; PIECE]);
        let upstream = means.loss.upstream_grad.map(|all| {
            rows.iter()
                .zip(&mut grads)
                .for_each(|(&row, to)| *to = all[row]);
            &grads[..rows.len()]
        });
        match self.goal {
            Goal::Classes(targets) => {
                for (&row, to) in rows.iter().zip(&mut classes) {
                    *to = targets.get(row).unwrap_or_default();
                }
                let classes = &classes[..rows.len()];
                let targets = Targets::new::<_, f32>(classes, self.classes, None, None)?.0;
                let answers = Answers { targets, upstream };
                means
                    .loss
                    .class_losses(logits, answers, wanted, means.scale)
            }
            Goal::Probs(_) => {
                let shape = Shape::rows(self.classes);
                let targets = Distributions(Batch::new([probs], shape)?);
                let answers = Answers { targets, upstream };
                means.loss.soft_losses(logits, answers, wanted, means.scale)
            }
        }
    }

    /// Adds the gradient of the weights, where the logits are theirs.
    fn weight_grads(&self, chunk: &Chunk, means: Means<'_>, grads: &mut [f32]) {
        let (rows, size) = (chunk.rows.len(), [self.classes, self.features]);
        let inputs = Matrix::new(&chunk.inputs, [rows, size[1]]);
        let logits = Matrix::new(&chunk.logits, [rows, size[0]]);
        // Few classes leave features to share.
        let columns = means.share(size[1], size[0].div_ceil(PANEL), PIECE);
        let tiles = MatrixMut::new(grads, size).tiles([PANEL, columns]);
        means.each([rows, size[0], size[1]], tiles, |mut tile| {
            for start in (0..rows).step_by(PIECE) {
                let piece = start..rows.min(start + PIECE);
                let logits = logits.rows(piece.clone()).columns(tile.rows.clone());
                let inputs = inputs.rows(piece).columns(tile.columns.clone());
                tile.matrix.add_product(logits.transposed(), inputs);
            }
        });
    }

    /// Adds that of the bias.
    fn bias_grads(&self, chunk: &Chunk, means: Means<'_>, sums: &mut [f64]) {
        let panels = (0..).step_by(PANEL).zip(sums.chunks_mut(PANEL));
        means.each(
            [chunk.rows.len(), self.classes, 1],
            panels,
            |(start, sums)| {
                for row in chunk.logits.chunks(self.classes) {
                    for (sum, &grad) in sums.iter_mut().zip(&row[start..]) {
                        *sum += f64::from(grad);
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
        // One for each thread, since for each all gradients of the logits are copied; and wide ones.
        let columns = size[1]
            .div_ceil(means.plan.threads)
            .next_multiple_of(PIECE)
            .max(2 * PIECE);
        let rows = size[0].div_ceil(
            means
                .plan
                .threads
                .div_ceil(size[1].div_ceil(columns).max(1)),
        );
        let rows = rows.next_multiple_of(PIECE).max(PIECE);
        let tiles = MatrixMut::new(&mut chunk.inputs, size).tiles([rows, columns]);
        means.each([size[0], self.classes, size[1]], tiles, |mut tile| {
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
    /// How long a part of `count` is, of which there are as many as give each thread some tiles, where there are `others` of each part;
    /// a multiple of `unit`.
    fn share(&self, count: usize, others: usize, unit: usize) -> usize {
        let parts = if self.plan.threads == 1 {
            1
        } else {
            (TILES * self.plan.threads).div_ceil(others.max(1))
        };
        count.div_ceil(parts).next_multiple_of(unit).max(unit)
    }

    /// Does all of these on the threads that there are; together they are a product of these sizes.
    fn each<I: Iterator<Item: Send> + Send>(
        self,
        sizes: [usize; 3],
        items: I,
        work: impl Fn(I::Item) + Sync,
    ) {
        let exec = self.loss.exec;
        exec.each(self.plan.threads, elements(sizes), items, work);
    }
}

/// How many elements of softmax take as long as a product of these sizes.
pub fn elements(sizes: [usize; 3]) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul) / MULTIPLICATIONS
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
