//! Dropout's masks, applied in parallel.

use crate::fused::parallel;

/// Values that one task masks.
const CHUNK: usize = 1 << 14;

/// Which values are kept, and by what they are multiplied. Longer values are masked piece by piece: those of
/// a window `[T, B, H]` by a mask of B·H at every time step.
#[derive(Clone, Debug)]
pub struct Mask {
    /// 1 where a value is kept, 0 where it is dropped.
    pub kept: Vec<u8>,
    pub scale: f32,
}

impl Mask {
    /// By what each value is multiplied.
    pub fn factors(&self) -> Vec<f32> {
        self.kept.iter().map(|kept| self.factor(*kept)).collect()
    }

    fn factor(&self, kept: u8) -> f32 {
        f32::from(kept) * self.scale
    }

    /// `out = values ∘ mask`, of one length.
    pub fn write(&self, values: &[f32], out: &mut [f32]) {
        let length = self.kept.len().max(1);
        let pieces = out.chunks_mut(length).zip(values.chunks(length));
        let chunks = pieces.flat_map(|(out, values)| {
            out.chunks_mut(CHUNK).zip(values.chunks(CHUNK)).zip(self.kept.chunks(CHUNK))
        });
        parallel::for_items(chunks, |((out, values), kept)| {
            for ((out, value), kept) in out.iter_mut().zip(values).zip(kept) {
                *out = value * self.factor(*kept);
            }
        });
    }

    /// `values = values ∘ mask`
    pub fn apply(&self, values: &mut [f32]) {
        let pieces = values.chunks_mut(self.kept.len().max(1));
        let chunks = pieces.flat_map(|piece| piece.chunks_mut(CHUNK).zip(self.kept.chunks(CHUNK)));
        parallel::for_items(chunks, |(values, kept)| {
            for (value, kept) in values.iter_mut().zip(kept) {
                *value *= self.factor(*kept);
            }
        });
    }
}
