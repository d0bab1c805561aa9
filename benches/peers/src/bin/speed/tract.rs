//! The calls of `tract-linalg`.

use tract_linalg::Func;
use tract_linalg::routines::softmax_rows_f32;

use crate::call::{Call, Peer, boxed};
use crate::common::batch::Batch;

pub const PEER: Peer = Peer {
    name: "tract-linalg",
    package: "tract-linalg",
    note: "overwrites its input, so that a call includes a copy of the logits, but for `max` and
  `sum`. Softmax is what its operator calls: one kernel for all rows where there is one, which x86 has
  not, or three for each row.",
    call,
};

fn call<'a>(operation: &str, b: &'a Batch) -> Option<Box<dyn Call + 'a>> {
    Some(match operation {
        "exp" => over_copy(b, elementwise(Func::Exp)),
        "sigmoid" => over_copy(b, elementwise(Func::Sigmoid)),
        "max" => reduction(b, Func::ReduceMax),
        "sum" => reduction(b, Func::ReduceSum),
        "softmax" => match softmax_rows_f32() {
            Some(kernel) if b.classes.is_multiple_of(4) => {
                over_copy(b, move |y| kernel(y, b.classes))
            }
            _ => over_copy(b, softmax(b.classes)),
        },
        _ => return None,
    })
}

fn elementwise(function: Func) -> impl Fn(&mut [f32]) {
    let kernel = function.ew_f32().unwrap();
    move |y| kernel.run(y).unwrap()
}

fn reduction(b: &Batch, function: Func) -> Box<dyn Call + '_> {
    let kernel = function.reduce_f32().unwrap();
    boxed(move |_| kernel.run(&b.x).unwrap())
}

fn softmax(classes: usize) -> impl Fn(&mut [f32]) {
    let max = Func::ReduceMax.reduce_f32().unwrap();
    let weigh = Func::Softmax2.map_reduce_f32().unwrap();
    let scale = Func::MulByScalar.ew_f32_param().unwrap();
    move |y| {
        for row in y.chunks_mut(classes) {
            let max = max.run(row).unwrap();
            let sum = weigh.run_with_params(row, max).unwrap();
            scale.run_with_params(row, sum.recip()).unwrap();
        }
    }
}

fn over_copy<'a>(b: &'a Batch, call: impl Fn(&mut [f32]) + 'a) -> Box<dyn Call + 'a> {
    boxed(move |y| {
        y.copy_from_slice(&b.x);
        call(y);
    })
}
