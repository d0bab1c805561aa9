//! The vector kernels of `rten-vecmath`, with the widest instruction set that it finds.

use rten_simd::{SimdOp, SimdUnaryOp};
use rten_vecmath::{Exp, LogSoftmax, MaxNum, Sigmoid, Softmax, Sum};

/// Of every element.
#[must_use]
pub fn exp(x: &[f32]) -> Vec<f32> {
    over(x, |x| Exp {}.map_mut(x))
}

/// Of every element.
#[must_use]
pub fn sigmoid(x: &[f32]) -> Vec<f32> {
    over(x, |x| Sigmoid {}.map_mut(x))
}

/// Of a slice.
#[must_use]
pub fn max(x: &[f32]) -> f32 {
    MaxNum::new(x).dispatch()
}

/// Of a slice.
#[must_use]
pub fn sum(x: &[f32]) -> f32 {
    Sum::new(x).dispatch()
}

/// Of every row.
#[must_use]
pub fn softmax(x: &[f32], classes: usize) -> Vec<f32> {
    over_rows(x, classes, |row| {
        Softmax::new_mut(row).dispatch();
    })
}

/// Of every row.
#[must_use]
pub fn log_softmax(x: &[f32], classes: usize) -> Vec<f32> {
    over_rows(x, classes, |row| {
        LogSoftmax::new_mut(row).dispatch();
    })
}

/// What a call writes over a copy.
fn over(x: &[f32], call: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut y = x.to_vec();
    call(&mut y);
    y
}

fn over_rows(x: &[f32], classes: usize, call: impl FnMut(&mut [f32])) -> Vec<f32> {
    over(x, |x| x.chunks_mut(classes).for_each(call))
}
