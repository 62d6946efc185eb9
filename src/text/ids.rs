//! Ids of a whole text in the smallest integer that holds them. Knows nothing of what they mean.

use std::ops::Range;
use std::sync::Arc;

/// Ids in 1, 2 or 4 bytes each, as the vocabulary needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Ids {
    pub fn len(&self) -> usize {
        match self {
            Self::U8(ids) => ids.len(),
            Self::U16(ids) => ids.len(),
            Self::U32(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<u32> {
        match self {
            Self::U8(ids) => ids.get(index).map(|&id| id.into()),
            Self::U16(ids) => ids.get(index).map(|&id| id.into()),
            Self::U32(ids) => ids.get(index).copied(),
        }
    }

    /// Copies the ids from `start` on into `out` and returns how many there were: fewer than
    /// `out` holds at the end of the text.
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

/// A contiguous part of a text's ids; cloning it copies no ids.
#[derive(Clone, Debug)]
pub struct IdSlice {
    ids: Arc<Ids>,
    range: Range<usize>,
}

impl IdSlice {
    pub fn new(ids: Ids) -> Self {
        let range = 0..ids.len();
        Self { ids: Arc::new(ids), range }
    }

    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<u32> {
        if index < self.len() { self.ids.get(self.range.start + index) } else { None }
    }

    /// As [`Ids::copy_to`], within this part.
    pub fn copy_to(&self, start: usize, out: &mut [u32]) -> usize {
        let count = out.len().min(self.len().saturating_sub(start));
        self.ids.copy_to(self.range.start.saturating_add(start), &mut out[..count])
    }

    /// The first `at` ids and the rest.
    pub fn split_at(&self, at: usize) -> (Self, Self) {
        let at = self.range.start + at.min(self.len());
        let part = |range| Self { ids: Arc::clone(&self.ids), range };
        (part(self.range.start..at), part(at..self.range.end))
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.range.clone().filter_map(|index| self.ids.get(index))
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
            let slice = IdSlice::new(ids);
            assert_eq!(slice.iter().collect::<Vec<_>>(), all);
            let mut out = [99; 4];
            assert_eq!(slice.copy_to(7, &mut out), 2);
            assert_eq!(out, [7, 8, 99, 99]);
            assert_eq!(slice.get(9), None);
        }
    }

    #[test]
    fn a_part_sees_nothing_of_its_neighbour() {
        let (left, right) = IdSlice::new(Ids::U8((0..9).collect())).split_at(6);
        assert_eq!((left.len(), right.len()), (6, 3));
        assert_eq!(left.get(5), Some(5));
        assert_eq!(left.get(6), None);
        assert_eq!(right.get(0), Some(6));
        let mut out = [99; 4];
        assert_eq!(left.copy_to(4, &mut out), 2);
        assert_eq!(out, [4, 5, 99, 99]);
        assert_eq!(right.copy_to(usize::MAX, &mut out), 0);
        let (all, none) = right.split_at(50);
        assert_eq!((all.len(), none.len()), (3, 0));
    }
}
