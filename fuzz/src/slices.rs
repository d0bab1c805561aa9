//! The operations on the elements of a slice: exponential, sigmoid, maximum and sum.

use softlane::{Error, Exec};

use crate::bounds;
use crate::check::{
    Expected, blank, check, fits_f32, length_error, outcome, output, summation_error,
};
use crate::code::coded;
use crate::input::{Floats, Lengths, Offsets, Placed, Shape};
use crate::oracle;
use crate::ulp::Want;

coded! {
    /// A call.
    pub struct Input {
        pub operation: Operation,
        /// Lengths that may not fit: then only that is looked at.
        pub misfit: Option<Lengths>,
        pub shape: Shape,
        pub offsets: Offsets,
        pub x: Floats,
    }
}

coded! {
    pub enum Operation {
        1 => Exp,
        1 => Sigmoid,
        1 => Max,
        1 => Sum,
    }
}

type Map = fn(Exec, &[f32], &mut [f32]) -> Result<(), Error>;
type MapInPlace = fn(Exec, &mut [f32]) -> Result<(), Error>;
type Reduce = fn(Exec, &[f32]) -> Result<f32, Error>;

impl Input {
    /// Runs it and checks what comes of it.
    pub fn run(&self) {
        match self.operation {
            Operation::Exp => self.map(
                |x| bounds::EXP.around(Want::ulp(oracle::exp(x))),
                Exec::exp,
                Exec::exp_in_place,
            ),
            Operation::Sigmoid => self.map(
                |x| bounds::SIGMOID.around(Want::ulp(oracle::sigmoid(x))),
                Exec::sigmoid,
                Exec::sigmoid_in_place,
            ),
            Operation::Max => self.reduce(|x| Expected::exactly(oracle::max(x)), max),
            Operation::Sum => self.reduce(sum, Exec::sum),
        }
    }

    fn map(&self, expected: fn(f32) -> Expected, call: Map, in_place: MapInPlace) {
        if let Some(misfit) = &self.misfit {
            let [len, out, _] = misfit.slices();
            let x = self.x.take(len);
            outcome(length_error(len, out), &blank(out), |y| {
                call(Exec::new(), &x, y)
            });
            return;
        }
        let batch = self.shape.batch();
        let x = Placed::new(&self.x.take(batch.len()), self.offsets.source());
        let expected: Vec<_> = x.iter().map(|&x| expected(x)).collect();
        let offset = self.offsets.output();
        check(batch, Some(&expected), |exec| {
            let (y, ()) = output(&blank(x.len()), offset, |y| call(exec, &x, y));
            let (over_x, ()) = output(&x, offset, |x| in_place(exec, x));
            vec![y, over_x]
        });
    }

    fn reduce(&self, expected: fn(&[f32]) -> Expected, call: Reduce) {
        let batch = self.shape.batch();
        // It takes more elements to be worth several threads: `LIGHTNESS` in `src/kernel/reduce.rs`.
        let len = batch.len() * if batch.is_spread() { 8 } else { 1 };
        let x = Placed::new(&self.x.take(len), self.offsets.source());
        check(batch, Some(&[expected(&x)]), |exec| {
            vec![vec![call(exec, &x).expect("no lengths to misfit")]]
        });
    }
}

/// The maximum, whose sign is looked at where it is 0.
fn max(exec: Exec, x: &[f32]) -> Result<f32, Error> {
    let max = exec.max(x)?;
    if max == 0.0 {
        let positive = x.iter().any(|x| x.to_bits() == 0);
        assert_eq!(max.is_sign_positive(), positive, "the sign of the maximum");
    }
    Ok(max)
}

fn sum(x: &[f32]) -> Expected {
    let terms = || x.iter().map(|&x| f64::from(x));
    let sum = Want::ulp_of(oracle::sum(terms()), oracle::sum_of_magnitudes(terms()));
    let expected = bounds::SUM.around(sum).or(summation_error(terms()));
    expected.of_sum(fits_f32(terms()))
}
