//! A text cut into segments that are read side by side, each with what stands around it.

use std::ops::Range;

use crate::proofread::edit::Edit;

/// Ids of a segment.
pub(super) const SEGMENT: usize = 256;
/// Ids that are read on either side of a segment before its own.
pub(super) const CONTEXT: usize = 64;
/// Of two edits whose places are no further apart only one can win.
pub(super) const NEIGHBOURS: usize = 4;

/// A text in ids, or a part of one with what stands around it.
pub(super) struct Text {
    pub ids: Vec<u32>,
    /// Those that may be changed. Their neighbours are looked at too.
    pub own: Range<usize>,
    /// 1 for an id that must stay as it is.
    pub fixed: Vec<u8>,
}

impl Text {
    /// Whether it changes only own ids. What is put in between two parts belongs to the later one, and so
    /// does a run that begins in the earlier one to that.
    pub fn owns(&self, edit: &Edit) -> bool {
        let Range { start, end } = self.own;
        start <= edit.start && edit.end <= end && (edit.start < end || end == self.ids.len())
    }

    /// The ids and the `fixed` flags of a segment's stretch.
    pub fn of<'a>(&'a self, segment: &Segment) -> (&'a [u32], &'a [u8]) {
        (&self.ids[segment.read.clone()], &self.fixed[segment.read.clone()])
    }
}

/// A part of a text that is read alone, in the places of the text.
pub(super) struct Segment {
    pub text: usize,
    /// All that is read.
    pub read: Range<usize>,
    /// Those whose neighbourhood is looked at.
    pub own: Range<usize>,
}

/// The segments of `texts`.
pub(super) fn segments(texts: &[Text]) -> Vec<Segment> {
    let of_text = |(number, text): (usize, &Text)| {
        let (first, end, length) = (text.own.start, text.own.end, text.ids.len());
        (first..end).step_by(SEGMENT).map(move |start| {
            let own = start..end.min(start + SEGMENT);
            let read = own.start.saturating_sub(CONTEXT)..length.min(own.end + CONTEXT);
            let before = if own.start == first { NEIGHBOURS } else { 0 };
            let after = if own.end == end { NEIGHBOURS } else { 0 };
            let own = own.start.saturating_sub(before)..length.min(own.end + after);
            Segment { text: number, read, own }
        })
    };
    texts.iter().enumerate().flat_map(of_text).collect()
}
