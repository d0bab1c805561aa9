//! Outputs between guard values: shows a write beyond an output, and any write where none belongs.

/// What outputs hold.
pub trait Guarded: Copy {
    /// Before a call: a NaN with a payload, which no result is.
    const UNTOUCHED: Self;
    fn bits(self) -> u64;
}

impl Guarded for f32 {
    const UNTOUCHED: Self = UNTOUCHED;
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}

impl Guarded for f64 {
    const UNTOUCHED: Self = Self::from_bits(0x7FFA_B400_1234_5678);
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// That of `f32`.
pub const UNTOUCHED: f32 = f32::from_bits(0x7FC5_A5A5);

/// Guard values on either side: four vectors.
const WIDTH: usize = 64;

/// Calls `f` with a slice that holds `content`, in the midst of guard values and `offset` elements
/// off the place where it would begin otherwise. Returns what the slice holds afterwards and what
/// `f` returned.
///
/// Panics if a guard value has changed, and says how far off it is.
pub fn guarded<E: Guarded, R>(
    content: &[E],
    offset: usize,
    f: impl FnOnce(&mut [E]) -> R,
) -> (Vec<E>, R) {
    let (start, end) = (WIDTH + offset, WIDTH + offset + content.len());
    let mut memory = vec![E::UNTOUCHED; end + WIDTH];
    memory[start..end].copy_from_slice(content);
    let result = f(&mut memory[start..end]);
    let written = |x: &E| x.bits() != E::UNTOUCHED.bits();
    let before = memory[..start].iter().rposition(written);
    let beyond = memory[end..].iter().position(written);
    assert_eq!(before.map(|i| start - i), None, "elements before the slice");
    assert_eq!(beyond.map(|i| i + 1), None, "elements beyond the slice");
    (memory[start..end].to_vec(), result)
}
