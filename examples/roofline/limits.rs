//! What memory allows: loops that do next to nothing with each element.

use std::hint::black_box;

/// A loop over a source and a destination of the same length.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub name: &'static str,
    pub run: fn(&[f32], &mut [f32]),
}

/// A copy, the source read, the destination scaled in place.
pub const LIMITS: [Limit; 3] = [
    Limit {
        name: "copy",
        run: |x, y| y.copy_from_slice(x),
    },
    Limit {
        name: "read",
        run: |x, _| {
            black_box(in_wide_registers(|| sum_of_bits(x)));
        },
    },
    Limit {
        name: "scale",
        run: |_, y| in_wide_registers(|| scale(y)),
    },
];

/// Integers may be added in any order, so the compiler does it with several vectors at a time.
#[inline(always)]
fn sum_of_bits(x: &[f32]) -> u32 {
    let bits = x.iter().map(|x| x.to_bits());
    bits.fold(0, u32::wrapping_add)
}

#[inline(always)]
fn scale(y: &mut [f32]) {
    // Leaves the values as they are, however often it is run, but the compiler must not know.
    let factor = black_box(1.0);
    for y in y {
        *y *= factor;
    }
}

/// Runs a loop that is compiled for AVX2, where the processor has it, as the kernels are. SSE2, which
/// the compiler takes by itself, would be the limit instead of memory: it scales at half the speed
/// on Zen 4. AVX-512 is hardly faster there.
fn in_wide_registers<T>(run: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn avx2<T>(run: impl FnOnce() -> T) -> T {
            run()
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { avx2(run) };
        }
    }
    run()
}
