//! The largest elements of the chunks of a row.

use crate::element::Real;
use crate::partly::Partly;
use crate::rows::{CHUNK, Pass as _, Row};
use crate::simd::{Simd as _, Vector};

/// So many are kept: those of a row of 262 144 elements. In further chunks of longer rows they are looked for once more.
const CHUNKS: usize = 64;

/// The largest element of each of the first chunks of a row that has several. Whoever passes over the row for its maximum, or looks at it while the row before is
/// weighed, meets them all, so that a chunk need not be passed over again for [where its sum begins](super::weights::ceiling), unless its largest element is left out of it.
///
/// All rows are of one length: where they are not (masked rows), and of parts of rows, nothing is known. They stay in one place while rows come and go: moved with each of them, all would be copied.
#[derive(Debug)]
pub struct Chunks<T: Real>(Partly<T, CHUNKS>);

impl<T: Real> Chunks<T> {
    /// Nothing is known.
    #[inline(always)]
    pub fn unknown() -> Self {
        Self(Partly::none())
    }

    /// The largest element of a chunk, if it is known.
    #[inline(always)]
    pub fn get(&self, chunk: usize) -> Option<T> {
        self.0.get(chunk).copied()
    }

    /// Passes over a row. Returns the largest element in each lane.
    #[inline(always)]
    pub fn find<V: Vector<Elem = T>>(&mut self, simd: V::Simd, row: Row<'_, T, 1>) -> V {
        if row.len() <= CHUNK {
            debug_assert!(self.get(0).is_none(), "of a longer row");
            return row.max::<V>(simd);
        }
        // Moved: what is referred to would not be in registers, for shorter rows either.
        simd.out_of_line(
            #[inline(always)]
            move || self.find_each(simd, row),
        )
    }

    /// The same of a row of several.
    #[inline(always)]
    fn find_each<V: Vector<Elem = T>>(&mut self, simd: V::Simd, row: Row<'_, T, 1>) -> V {
        let chunks = row.len().div_ceil(CHUNK);
        let mut maxima = V::splat(simd, T::NEG_INFINITY);
        self.0.refill(T::NEG_INFINITY, chunks.min(CHUNKS));
        for chunk in 0..chunks {
            let lanes = row.chunk(chunk).max::<V>(simd);
            self.put(chunk, lanes);
            maxima = lanes.max(maxima);
        }
        maxima
    }

    /// Keeps what is the largest element in each lane of a chunk: in the place of that of the row before, which has as many.
    #[inline(always)]
    pub fn put<V: Vector<Elem = T>>(&mut self, chunk: usize, lanes: V) {
        if let Some(max) = self.0.get_mut(chunk) {
            *max = lanes.reduce_max();
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{CHUNKS, Chunks};
    use crate::backend::Backend;
    use crate::kernel::row::tests::Summing;
    use crate::kernel::row::{LeftOut, weighed_row};
    use crate::rows::{CHUNK, Pass as _, Peek as _, Rows};
    use crate::scalar::Scalar;
    use crate::simd::{Kernel, Simd, Vector};

    /// What is known of the second of two rows after a pass, and after the first was weighed beside it.
    struct Both;

    impl Kernel<Rows<'_, f32, 1>> for Both {
        type Output = ();

        fn simd<S: Simd>(&self, simd: S, mut rows: Rows<'_, f32, 1>) {
            let (mut passed, mut looked_at) = (Chunks::unknown(), Chunks::unknown());
            let Some(mut row) = rows.next() else {
                unreachable!("there are two rows")
            };
            let next = rows.peek();
            let want = passed.find::<S::F32>(simd, next);
            let work = Summing(LeftOut::Nothing);
            let (outcome, max) =
                weighed_row::<S::F32, _>(simd, &mut row, &work, None, &mut looked_at, next);
            assert!(outcome.ordinary().is_some());
            let all = |a: S::F32, b: S::F32| S::F32::bits(a.eq(b)) == (1 << S::F32::LANES) - 1;
            assert!(max.is_none_or(|max| all(max, want)), "maxima of lanes");
            // With few registers, the next row is not looked at.
            let looks = <S::F32 as Vector>::REGISTERS >= 32;
            assert_eq!(max.is_some(), looks);
            let is_known = next.len() > CHUNK;
            for i in 0..next.len().div_ceil(CHUNK) {
                let max = next.chunk(i).max::<S::F32>(simd).reduce_max();
                let max = (is_known && i < CHUNKS).then_some(max);
                assert_eq!(passed.get(i), max, "chunk {i} of {}", next.len());
                if looks {
                    assert_eq!(looked_at.get(i), max, "chunk {i} of {}", next.len());
                }
            }
        }
    }

    impl Scalar<Rows<'_, f32, 1>> for Both {
        fn scalar(&self, _: Rows<'_, f32, 1>) {
            unreachable!("the scalar path has no chunks")
        }
    }

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    fn a_pass_and_a_look_find_the_same() {
        let lens = [1, 100, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17];
        for len in lens.into_iter().chain([(CHUNKS + 1) * CHUNK + 5]) {
            // The largest of each chunk anywhere in it, in the tail of the last one too.
            for step in [7_919, 104_729] {
                let x = (0..2 * len).map(|i| ((i * step) % 100_003) as u16);
                let x: Vec<f32> = x.map(|x| f32::from(x) * 1e-3).collect();
                for backend in Backend::available().filter(|b| b.name() != "scalar") {
                    backend.run(&Both, Rows::new([&x], len).unwrap());
                }
            }
        }
    }

    #[test]
    fn nothing_is_known_at_first() {
        assert_eq!(Chunks::<f32>::unknown().get(0), None);
    }
}
