//! A text with gaps in ids: what is known, what fills the gaps so far, and which gaps are filled together.

use std::ops::Range;

use crate::fill::context::Slot;

/// Gaps of known length with at most so many ids between them are filled together: one says much of what
/// the other holds.
const TOGETHER: usize = 8;
/// Most ids that are filled together, those between the gaps included.
const LONGEST_STRETCH: usize = 64;
/// Ids of the text that are read on each side of a stretch. 256 restore no more.
const CONTEXT: usize = 128;

/// A part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Known(Vec<u32>),
    Gap {
        least: usize,
        most: usize,
        /// None until it is filled.
        ids: Option<Vec<u32>>,
    },
}

/// Parts that are filled together, from a gap to a gap.
pub(super) type Stretch = Range<usize>;

/// The parts of a text, and what stands at its ends.
pub(super) struct Draft {
    pub parts: Vec<Part>,
    /// Read before the first id and after the last; None for nothing.
    edges: [Option<u32>; 2],
}

/// What is read on both sides of a stretch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub left: Vec<u32>,
    pub right: Vec<u32>,
    /// Whether a gap on the right, not yet filled, ends what is read there.
    pub cut: bool,
}

impl Draft {
    /// `end` stands before and after each text, as the end of a document does. Without one, `edge` stands
    /// where the text begins or ends with a gap, of which nothing could be said otherwise.
    pub(super) fn new(parts: Vec<Part>, end: Option<u32>, edge: u32) -> Self {
        let of =
            |part: Option<&Part>| end.or(matches!(part, Some(Part::Gap { .. })).then_some(edge));
        Self { edges: [of(parts.first()), of(parts.last())], parts }
    }

    /// The stretches in the order of the text.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let mut all: Vec<(Stretch, usize)> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let Part::Gap { least, most, .. } = part else { continue };
            // Between two gaps stands one part.
            if let Some((stretch, length)) = all.last_mut()
                && least == most
                && stretch.end + 1 == index
                && matches!(&self.parts[stretch.start], Part::Gap { least, most, .. } if least == most)
                && let Part::Known(between) = &self.parts[index - 1]
                && between.len() <= TOGETHER
                && *length + between.len() + most <= LONGEST_STRETCH
            {
                *length += between.len() + most;
                stretch.end = index + 1;
            } else {
                all.push((index..index + 1, *most));
            }
        }
        all.into_iter().map(|(stretch, _)| stretch).collect()
    }

    /// The places of a stretch, its gap at the longest.
    pub(super) fn slots(&self, stretch: &Stretch) -> Vec<Slot> {
        let of = |part: &Part| match part {
            Part::Known(ids) => ids.iter().map(|&id| Slot::Fixed(id)).collect(),
            Part::Gap { most, .. } => vec![Slot::Gap; *most],
        };
        self.parts[stretch.clone()].iter().flat_map(of).collect()
    }

    /// The lengths that a stretch may have.
    pub(super) fn lengths(&self, stretch: &Stretch) -> Range<usize> {
        match &self.parts[stretch.clone()] {
            [Part::Gap { least, most, .. }] => *least..most + 1,
            _ => {
                let length = self.slots(stretch).len();
                length..length + 1
            }
        }
    }

    /// Fills the gaps of a stretch with their part of `ids`.
    pub(super) fn fill(&mut self, stretch: &Stretch, ids: &[u32]) {
        let alone = stretch.len() == 1;
        let mut rest = ids;
        for part in &mut self.parts[stretch.clone()] {
            match part {
                Part::Known(ids) => rest = &rest[ids.len()..],
                Part::Gap { most, ids, .. } => {
                    let (own, others) = rest.split_at(if alone { rest.len() } else { *most });
                    *ids = Some(own.to_vec());
                    rest = others;
                }
            }
        }
    }

    pub(super) fn around(&self, stretch: &Stretch) -> Around {
        let mut left: Vec<u32> = Vec::new();
        // From the right to the left.
        for part in self.parts[..stretch.start].iter().rev() {
            if left.len() >= CONTEXT {
                break;
            }
            left.extend(ids(part).unwrap_or_default().iter().rev().take(CONTEXT));
        }
        if left.len() < CONTEXT {
            left.extend(self.edges[0]);
        }
        left.truncate(CONTEXT);
        left.reverse();
        let (mut right, mut cut) = (Vec::new(), false);
        for part in &self.parts[stretch.end..] {
            if right.len() >= CONTEXT {
                break;
            }
            match ids(part) {
                Some(ids) => right.extend(ids.iter().take(CONTEXT)),
                None => {
                    cut = true;
                    break;
                }
            }
        }
        if !cut && right.len() < CONTEXT {
            right.extend(self.edges[1]);
        }
        right.truncate(CONTEXT);
        Around { left, right, cut }
    }
}

/// What is known of a part.
fn ids(part: &Part) -> Option<&[u32]> {
    match part {
        Part::Known(ids) => Some(ids),
        Part::Gap { ids, .. } => ids.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(ids: &[u32]) -> Part {
        Part::Known(ids.to_vec())
    }

    fn gap(least: usize, most: usize) -> Part {
        Part::Gap { least, most, ids: None }
    }

    #[test]
    fn near_gaps_of_known_length_are_filled_together() {
        let far = vec![7; TOGETHER + 1];
        let parts = vec![
            gap(2, 2),
            known(&[1, 2]),
            gap(1, 1),
            known(&far),
            gap(1, 1),
            known(&[3]),
            gap(0, 4),
            known(&[4]),
            gap(1, 1),
        ];
        let mut draft = Draft::new(parts, None, 9);
        assert_eq!(draft.stretches(), [0..3, 4..5, 6..7, 8..9]);
        let (any, fixed) = (Slot::Gap, Slot::Fixed);
        assert_eq!(draft.slots(&(0..3)), [any, any, fixed(1), fixed(2), any]);
        assert_eq!(draft.lengths(&(0..3)), 5..6);
        assert_eq!(draft.lengths(&(6..7)), 0..5);
        draft.fill(&(0..3), &[5, 6, 1, 2, 8]);
        assert_eq!(draft.parts[0], Part::Gap { least: 2, most: 2, ids: Some(vec![5, 6]) });
        assert_eq!(draft.parts[2], Part::Gap { least: 1, most: 1, ids: Some(vec![8]) });
        draft.fill(&(6..7), &[]);
        assert_eq!(draft.parts[6], Part::Gap { least: 0, most: 4, ids: Some(vec![]) });
    }

    #[test]
    fn what_is_read_ends_at_an_empty_gap_on_the_right_and_at_the_bound() {
        let parts = vec![known(&[1]), gap(1, 1), known(&[2, 3]), gap(0, 2), known(&[4])];
        let mut draft = Draft::new(parts, None, 9);
        let around = |left: &[u32], right: &[u32], cut| Around {
            left: left.to_vec(),
            right: right.to_vec(),
            cut,
        };
        assert_eq!(draft.around(&(1..2)), around(&[1], &[2, 3], true));
        draft.fill(&(3..4), &[5, 6]);
        assert_eq!(draft.around(&(1..2)), around(&[1], &[2, 3, 5, 6, 4], false));
        draft.fill(&(1..2), &[8]);
        assert_eq!(draft.around(&(3..4)), around(&[1, 8, 2, 3], &[4], false));

        let long: Vec<u32> = (0..CONTEXT as u32 + 5).collect();
        let draft = Draft::new(vec![known(&long), gap(1, 1), known(&long)], Some(999), 9);
        assert_eq!(draft.around(&(1..2)), around(&long[5..], &long[..CONTEXT], false));
    }

    #[test]
    fn a_document_s_end_stands_at_both_ends_and_an_edge_beside_a_gap_only() {
        let parts = || vec![gap(1, 1), known(&[1])];
        let sides = |draft: Draft| {
            let Around { left, right, .. } = draft.around(&(0..1));
            (left, right)
        };
        assert_eq!(sides(Draft::new(parts(), Some(7), 9)), (vec![7], vec![1, 7]));
        assert_eq!(sides(Draft::new(parts(), None, 9)), (vec![9], vec![1]));
    }
}
