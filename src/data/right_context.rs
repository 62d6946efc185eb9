//! What stands on the right of a window, for a network that reads from both sides. Knows nothing of
//! which windows a run or an evaluation reads.

use crate::data::documents::DocumentSet;
use crate::data::ids::{IdSlice, Place};
use crate::error::{Error, Result, ensure};

/// Most ids in one window and its margin, so that a mistyped size is found before memory runs out.
const MAX_IDS: usize = 1 << 28;

/// What a bidirectional network reads from right to left, and which targets it is scored on.
///
/// It reads `margin` and then `ids`, each from the last time step to the first, from a zero state. The
/// state after `ids[t]` has seen what follows the target of t, and not the target. Where the text or a
/// document ends, the last id there has a reset: what stands behind it only fills the arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightContext {
    /// The id after each target, `[T, B]`.
    pub ids: Vec<u32>,
    /// 1 where the state that enters the time step (from the right) must be zero. None: nowhere.
    pub resets: Option<Vec<u8>>,
    /// The ids after those, `[M, B]`: read before them, and not scored.
    pub margin: Vec<u32>,
    /// As `resets`, `[M, B]`.
    pub margin_resets: Option<Vec<u8>>,
    /// M, which may be 0.
    pub m: usize,
    /// 0 where a target is not scored from both sides: at the end of a document. None if all are, and
    /// in an [`EvaluationWindow`](crate::data::EvaluationWindow), whose `weights` say it.
    pub scored: Option<Vec<u8>>,
}

/// Refuses a margin that makes a window too large.
///
/// # Errors
/// [`Error::Setting`] for more than 2^28 ids in `batch` rows of `seq_len` and `margin` time steps.
pub(super) fn ensure_margin(batch: usize, seq_len: usize, margin: usize) -> Result<()> {
    let ids = seq_len.checked_add(margin).and_then(|steps| steps.checked_mul(batch));
    ensure!(
        ids.is_some_and(|ids| ids <= MAX_IDS),
        Error::setting(
            "margin",
            format!(
                "`margin` is {margin}, which with {seq_len} time steps in {batch} rows is above the \
                 {MAX_IDS} ids of the largest window: lower it"
            )
        )
    );
    Ok(())
}

impl RightContext {
    /// What follows the targets of a window of one text: T is `t`, M is `m`, and the rows begin at
    /// `places`, of which there are `b`.
    pub(super) fn of_text(
        ids: &IdSlice,
        places: impl Iterator<Item = Place>,
        b: usize,
        t: usize,
        m: usize,
    ) -> Self {
        let mut context = Unfinished::new(0, t, m, b);
        let mut read = vec![0; t + m];
        for (row, Place { lead, start }) in places.enumerate() {
            let lead = lead.min(read.len());
            let count = ids.copy_to(start.saturating_add(2), &mut read[lead..]);
            for (step, &id) in (lead..).zip(&read[lead..lead + count]) {
                context.ids[step * b + row] = id;
            }
            if count > 0 && lead + count < read.len() {
                context.resets[(lead + count - 1) * b + row] = 1;
            }
        }
        context.finish(None)
    }
}

/// The ids and resets of `[T + M, B]` while they are collected.
pub(super) struct Unfinished {
    ids: Vec<u32>,
    resets: Vec<u8>,
    t: usize,
    m: usize,
    b: usize,
}

impl Unfinished {
    /// All of them `filler`.
    pub fn new(filler: u32, t: usize, m: usize, b: usize) -> Self {
        Self { ids: vec![filler; (t + m) * b], resets: vec![0; (t + m) * b], t, m, b }
    }

    /// Puts what follows the target of `position` in `document` at the index `at` of `[T + M, B]`. After
    /// its last character that is the end of the document, which nothing follows.
    pub fn read(&mut self, at: usize, set: &DocumentSet, document: u32, position: usize) {
        let next = set.prediction(document, position + 1);
        self.ids[at] = next.target;
        self.resets[at] = u8::from(next.ends);
    }

    /// Fills the margin of `row` with what is left of `document` from `position` on, the first prediction
    /// that the window has no room for.
    pub fn read_margin(&mut self, row: usize, set: &DocumentSet, document: u32, position: usize) {
        if position == 0 {
            return; // The window has all of the document before, and nothing of this one.
        }
        let left = set.length(document).saturating_sub(position);
        let room = (row + self.t * self.b..self.ids.len()).step_by(self.b);
        for (at, position) in room.zip((position..).take(left)) {
            self.read(at, set, document, position);
        }
    }

    /// Divides them into the window's and the margin's.
    pub fn finish(mut self, scored: Option<Vec<u8>>) -> RightContext {
        let margin = self.ids.split_off(self.t * self.b);
        let margin_resets = self.resets.split_off(self.t * self.b);
        let any = |flags: Vec<u8>| flags.contains(&1).then_some(flags);
        RightContext {
            ids: self.ids,
            resets: any(self.resets),
            margin,
            margin_resets: any(margin_resets),
            m: self.m,
            scored,
        }
    }
}

#[cfg(test)]
#[path = "right_context_tests.rs"]
mod tests;
