//! The calls of `rten-vecmath`.

use std::mem::MaybeUninit;
use std::ptr;

use rten_simd::{SimdOp, SimdUnaryOp};
use rten_vecmath::{Exp, LogSoftmax, MaxNum, Sigmoid, Softmax, Sum};

use crate::call::{Call, Peer, boxed};
use crate::common::batch::Batch;

/// The form in which room for results is asked for.
type Unwritten = [MaybeUninit<f32>];

pub const PEER: Peer = Peer {
    name: "rten-vecmath",
    package: "rten-vecmath",
    note: "one call for each row; writes into memory of the caller.",
    call,
};

fn call<'a>(operation: &str, b: &'a Batch) -> Option<Box<dyn Call + 'a>> {
    Some(match operation {
        "exp" => over(b, |x, y| _ = Exp {}.map(x, y)),
        "sigmoid" => over(b, |x, y| _ = Sigmoid {}.map(x, y)),
        "max" => boxed(|_| MaxNum::new(&b.x).dispatch()),
        "sum" => boxed(|_| Sum::new(&b.x).dispatch()),
        "softmax" => over_rows(b, |x, y| _ = Softmax::new(x, y).dispatch()),
        "log-softmax" => over_rows(b, |x, y| _ = LogSoftmax::new(x, y).dispatch()),
        _ => return None,
    })
}

fn over<'a>(b: &'a Batch, call: impl Fn(&[f32], &mut Unwritten) + 'a) -> Box<dyn Call + 'a> {
    boxed(move |y| call(&b.x, unwritten(y)))
}

fn over_rows<'a>(b: &'a Batch, call: impl Fn(&[f32], &mut Unwritten) + 'a) -> Box<dyn Call + 'a> {
    boxed(move |y| {
        let rows = unwritten(y).chunks_mut(b.classes);
        b.rows().zip(rows).for_each(|(x, y)| call(x, y));
    })
}

fn unwritten(y: &mut [f32]) -> &mut Unwritten {
    // SAFETY: the layout is the same, and the kernels write nothing but floats.
    unsafe { &mut *(ptr::from_mut(y) as *mut Unwritten) }
}
