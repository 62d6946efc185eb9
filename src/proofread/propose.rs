//! The edits that are worth scoring. Each id is judged by the readout of both sides; where another one is
//! much likelier, something is wrong there or beside it.

use candle_core::Tensor;

use crate::error::{Error, Result, ensure};
use crate::model::{Sides, SidesReader};
use crate::proofread::edit::Edit;

/// An id is suspicious where another one is likelier by so many nats.
const SUSPICIOUS: f32 = 1.5;
/// Replacements of a suspicious id.
const REPLACEMENTS: usize = 2;
/// Ids that may be missing at one place.
const INSERTIONS: usize = 2;
/// Logits in one block of rows: 1 MB.
const LOGITS_BLOCK: usize = 1 << 18;

/// A stretch of ids that was read from both sides.
pub(super) struct Stretch<'a> {
    pub ids: &'a [u32],
    /// 1 for an id that must stay as it is.
    pub fixed: &'a [u8],
    /// The places that are looked at.
    pub own: std::ops::Range<usize>,
}

impl Stretch<'_> {
    fn is_free(&self, at: usize) -> bool {
        self.fixed.get(at) == Some(&0)
    }
}

/// The edits to score, without repetition. No edit puts in an id for which `is_text` does not hold.
pub(super) fn propose(
    reader: &SidesReader,
    sides: &Sides,
    stretches: &[Stretch],
    is_text: impl Fn(u32) -> bool,
) -> Result<Vec<Edit>> {
    let vocab = reader.network().config().vocab;
    let rows = (LOGITS_BLOCK / vocab).max(1);
    let places: Vec<(usize, usize)> = stretches
        .iter()
        .enumerate()
        .flat_map(|(number, stretch)| stretch.own.clone().map(move |at| (number, at)))
        .filter(|&(number, at)| stretches[number].is_free(at))
        .collect();
    let mut edits = Vec::new();
    let mut gaps = Vec::new();
    for block in places.chunks(rows) {
        let logits = sides.logits(block)?.flatten_all()?.to_vec1::<f32>()?;
        for (row, &(number, at)) in logits.chunks_exact(vocab).zip(block) {
            let stretch = &stretches[number];
            let own = stretch.ids[at];
            ensure!(
                row.iter().all(|logit| logit.is_finite()),
                Error::Logits(
                    "the model's logits are no numbers: its weights are unusable, train it again"
                        .into()
                )
            );
            let likely = likeliest(row, REPLACEMENTS, |id| id != own && is_text(id));
            // Of a doubled id each one may look right beside the other.
            if at > 0 && stretch.is_free(at - 1) && stretch.ids[at - 1] == own {
                edits.push(deletion(stretch, number, at));
            }
            let Some(&first) = likely.first() else { continue };
            if row[first as usize] - row[own as usize] > SUSPICIOUS {
                gaps.extend([(number, at), (number, at + 1)]);
                let replacement =
                    |id| Edit { segment: number, start: at, end: at + 1, ids: vec![id] };
                edits.extend(likely.into_iter().map(replacement));
                edits.push(deletion(stretch, number, at));
                let pairs = [at.checked_sub(1), Some(at)].into_iter().flatten();
                edits.extend(pairs.filter_map(|start| transposition(stretch, number, start)));
            }
        }
    }
    gaps.dedup();
    for block in gaps.chunks(rows) {
        let of_block: Vec<usize> =
            block.iter().map(|&(number, at)| sides.row(number, at)).collect();
        let (left, right) = sides.hidden(&of_block, &of_block)?;
        let logits = reader.network().logits(&Tensor::cat(&[left, right], 1)?)?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        for (row, &(number, at)) in logits.chunks_exact(vocab).zip(block) {
            let missing = likeliest(row, INSERTIONS, &is_text);
            edits.extend(
                missing.into_iter().map(|id| insertion(&stretches[number], number, at, id)),
            );
        }
    }
    edits.sort_unstable();
    edits.dedup();
    Ok(edits)
}

/// The `count` largest of `row` among those that `allowed` holds for, the largest first.
fn likeliest(row: &[f32], count: usize, allowed: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(count + 1);
    for (id, value) in (0u32..).zip(row) {
        let rank = found.partition_point(|&other| row[other as usize] >= *value);
        if rank < count && allowed(id) {
            found.insert(rank, id);
            found.truncate(count);
        }
    }
    found
}

/// Of a run of one id it is the first that is deleted.
fn deletion(stretch: &Stretch, segment: usize, mut at: usize) -> Edit {
    while at > 0 && stretch.is_free(at - 1) && stretch.ids[at - 1] == stretch.ids[at] {
        at -= 1;
    }
    Edit { segment, start: at, end: at + 1, ids: Vec::new() }
}

/// Before a run of the same id.
fn insertion(stretch: &Stretch, segment: usize, mut at: usize, id: u32) -> Edit {
    while at > 0 && stretch.is_free(at - 1) && stretch.ids[at - 1] == id {
        at -= 1;
    }
    Edit { segment, start: at, end: at, ids: vec![id] }
}

fn transposition(stretch: &Stretch, segment: usize, start: usize) -> Option<Edit> {
    let free = stretch.is_free(start) && stretch.is_free(start + 1);
    match stretch.ids.get(start..start + 2) {
        Some(&[a, b]) if free && a != b => {
            Some(Edit { segment, start, end: start + 2, ids: vec![b, a] })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_in_their_order_and_ties_by_id() {
        let row = [0.5, 2.0, -1.0, 2.0, 1.0];
        assert_eq!(likeliest(&row, 3, |_| true), [1, 3, 4]);
        assert_eq!(likeliest(&row, 2, |id| id != 1), [3, 4]);
        assert_eq!(likeliest(&row, 9, |id| id < 2), [1, 0]);
    }

    #[test]
    fn an_edit_of_a_run_is_that_of_its_first_id() {
        let stretch = Stretch { ids: &[7, 5, 5, 5, 6], fixed: &[1, 0, 0, 0, 0], own: 0..5 };
        for at in 1..4 {
            assert_eq!(deletion(&stretch, 0, at).start, 1);
            assert_eq!(insertion(&stretch, 0, at, 5).start, 1);
        }
        assert_eq!(insertion(&stretch, 0, 4, 5).start, 1);
        assert_eq!(insertion(&stretch, 0, 1, 7).start, 1, "a fixed id is not passed");
        assert_eq!(transposition(&stretch, 0, 1), None);
        assert_eq!(transposition(&stretch, 0, 0), None);
        assert_eq!(transposition(&stretch, 0, 4), None);
        let swapped = Edit { segment: 0, start: 3, end: 5, ids: vec![6, 5] };
        assert_eq!(transposition(&stretch, 0, 3), Some(swapped));
    }
}
