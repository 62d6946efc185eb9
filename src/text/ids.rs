//! Ids of a whole text in the smallest integer that holds them. Knows nothing of what they mean.

/// Ids in 1, 2 or 4 bytes each: the fewest that hold every id of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Ids {
    /// How many ids.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(ids) => ids.len(),
            Self::U16(ids) => ids.len(),
            Self::U32(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at `index`; None past the end.
    pub fn get(&self, index: usize) -> Option<u32> {
        match self {
            Self::U8(ids) => ids.get(index).map(|&id| id.into()),
            Self::U16(ids) => ids.get(index).map(|&id| id.into()),
            Self::U32(ids) => ids.get(index).copied(),
        }
    }

    /// Copies the ids from `start` on into `out` and returns how many it copied: at the end of the text
    /// fewer than `out` has room for.
    pub fn copy_to(&self, start: usize, out: &mut [u32]) -> usize {
        fn copy<I: Copy + Into<u32>>(ids: &[I], start: usize, out: &mut [u32]) -> usize {
            let ids = ids.get(start..).unwrap_or_default();
            for (out, &id) in out.iter_mut().zip(ids) {
                *out = id.into();
            }
            out.len().min(ids.len())
        }
        match self {
            Self::U8(ids) => copy(ids, start, out),
            Self::U16(ids) => copy(ids, start, out),
            Self::U32(ids) => copy(ids, start, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_reads_alike() {
        let all: Vec<u32> = (0..9).collect();
        let widths = [Ids::U8((0..9).collect()), Ids::U16((0..9).collect()), Ids::U32(all.clone())];
        for ids in widths {
            let read: Vec<u32> = (0..ids.len()).filter_map(|index| ids.get(index)).collect();
            assert_eq!(read, all);
            let mut out = [99; 4];
            assert_eq!(ids.copy_to(7, &mut out), 2);
            assert_eq!(out, [7, 8, 99, 99]);
            assert_eq!(ids.get(9), None);
        }
    }
}
