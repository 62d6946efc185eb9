//! A part of a text's ids, shared without a copy. Knows nothing of what the ids mean.

use std::ops::Range;
use std::sync::Arc;

use crate::text::Ids;

/// A contiguous part of a text's ids; cloning it copies no ids.
#[derive(Clone, Debug)]
pub struct IdSlice {
    ids: Arc<Ids>,
    range: Range<usize>,
}

/// Where a row of a window begins in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Time steps of the row before the text begins.
    pub lead: usize,
    /// The index of the input that is read after those.
    pub start: usize,
}

impl Place {
    /// At the index `start`.
    pub fn at(start: usize) -> Self {
        Self { lead: 0, start }
    }

    /// `steps` time steps before the index `start`, which may be before the text begins.
    pub fn before(start: usize, steps: usize) -> Self {
        Self { lead: steps.saturating_sub(start), start: start.saturating_sub(steps) }
    }
}

impl IdSlice {
    /// All of `ids`.
    pub fn new(ids: Ids) -> Self {
        let range = 0..ids.len();
        Self { ids: Arc::new(ids), range }
    }

    /// How many ids.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The id at `index` of this part; None past its end.
    pub fn get(&self, index: usize) -> Option<u32> {
        if index < self.len() { self.ids.get(self.range.start + index) } else { None }
    }

    /// Copies the ids from `start` on into `out` and returns how many it copied: at the end of this part
    /// fewer than `out` has room for.
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

    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.range.clone().filter_map(|index| self.ids.get(index))
    }

    /// Inputs and targets `[T, B]` of `batch` windows; the window of stream b begins at the b-th of
    /// `places`. Both are 0 before the text begins.
    pub(super) fn gather(
        &self,
        places: impl Iterator<Item = Place>,
        batch: usize,
        seq_len: usize,
    ) -> (Vec<u32>, Vec<u32>) {
        let mut inputs = vec![0; seq_len * batch];
        let mut targets = vec![0; seq_len * batch];
        let mut window = vec![0; seq_len + 1];
        for (stream, Place { lead, start }) in places.enumerate() {
            let read = &mut window[lead.min(seq_len)..];
            self.copy_to(start, read);
            for (t, pair) in (lead..).zip(read.windows(2)) {
                inputs[t * batch + stream] = pair[0];
                targets[t * batch + stream] = pair[1];
            }
        }
        (inputs, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterates_over_every_id() {
        let all: Vec<u32> = (0..9).collect();
        assert_eq!(IdSlice::new(Ids::U16((0..9).collect())).iter().collect::<Vec<_>>(), all);
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
