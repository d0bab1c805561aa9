//! The backward passes of softmax and log-softmax with masks, causal rows and a factor `s` of the logits: `dx = s y (dy - sum y dy)` and `dx = s
//! (dy - e^y sum dy)`, sums over the classes that take part, and 0 for the others.

use super::backward::{all, results, settled_total};
use super::masked::fill;
use super::masks::{Flags, Masks};
use crate::element::Real;
use crate::element::sealed::Float as _;
use crate::rows::{FirstRow, Pass, RowMut, RowsMut};
use crate::simd::{Kernel, Simd, Vector};

/// Of the sources `y` and `dy`. `LOG`: of log-softmax.
#[derive(Clone, Copy, Debug)]
pub struct MaskedBackward<'a, const LOG: bool> {
    pub masks: Masks<'a>,
    /// `s`, if it is not 1.
    pub scale: Option<f64>,
}

impl<T: Real, const LOG: bool> Kernel<(RowsMut<'_, T, 2>, FirstRow)> for MaskedBackward<'_, LOG> {
    type Output = ();

    #[inline(always)]
    fn simd<S: Simd>(&self, simd: S, (rows, first): (RowsMut<'_, T, 2>, FirstRow)) {
        let classes = rows.classes();
        let FirstRow(mut index) = first;
        for row in rows {
            self.row::<T::Vector<S>>(simd, row, index, classes);
            index += 1;
        }
    }
}

impl<const LOG: bool> MaskedBackward<'_, LOG> {
    #[inline(always)]
    fn row<V: Vector>(
        &self,
        simd: V::Simd,
        mut row: RowMut<'_, V::Elem, 2>,
        index: usize,
        classes: usize,
    ) {
        let seen = self.masks.seen(index, classes);
        let mut part = row.part(0, seen);
        match self.masks.flags(index, classes) {
            None => self.seen::<V, _>(simd, &mut part, all::<V>),
            Some(flags) => {
                let flags = Flags::new(flags, seen);
                self.seen::<V, _>(
                    simd,
                    &mut part,
                    #[inline(always)]
                    |i| Some(flags.lanes::<V>(simd, i)),
                );
            }
        }
        drop(part);
        if seen < classes {
            fill::<V, _, 2>(simd, &mut row.part(seen, classes), V::Elem::ZERO);
        }
    }

    /// The gradients of the classes that a row sees. `lanes` are those of a vector that take part, if not all do.
    #[inline(always)]
    fn seen<V: Vector, P: Pass<V::Elem, 2>>(
        &self,
        simd: V::Simd,
        row: &mut P,
        lanes: impl Fn(usize) -> Option<V::Mask> + Copy,
    ) {
        let total = settled_total::<V, LOG>(simd, row.source(), lanes);
        results::<V, P, LOG>(simd, row, total, self.scale, lanes);
    }
}
