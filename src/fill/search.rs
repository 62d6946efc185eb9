//! What may fill a stretch, proposed and weighed.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::fill::alphabet::{Alphabet, Side};
use crate::fill::context::{Context, Slot};
use crate::fill::propose::{Level, beam, meet};
use crate::fill::weigh::{Weighed, sort, weigh};
use crate::model::{BidirectionalNetwork, PackedNetwork};

/// Proposals of each kind for one length: what the forward half writes on, what the backward half does, and
/// what is put together of both. More restore few more gaps (see examples/restore.rs).
const WIDTH: usize = 64;
/// The same where many lengths compete.
const WIDTH_OF_MANY: usize = 16;
/// Rounds of the weighing: ids of the text on each side that are predicted, and how many proposals go on. To
/// predict 16 ids restores no more, and neither does it to add what the joint readout says of the filling, or
/// to try other ids at single places of the best fillings.
const ROUNDS: [(usize, usize); 2] = [(2, 64), (8, 64)];

/// A network as the search uses it.
pub(super) struct Search {
    pub network: BidirectionalNetwork,
    pub forward: PackedNetwork,
    pub backward: PackedNetwork,
    pub alphabet: Alphabet,
}

impl Search {
    /// The best fillings of `slots` at one of `lengths`, the likeliest first; at least one. Where there are
    /// several lengths, every slot is a gap's.
    pub(super) fn fillings(
        &self,
        context: &Context,
        slots: &[Slot],
        lengths: std::ops::Range<usize>,
    ) -> Result<Vec<Weighed>> {
        let width = if lengths.len() == 1 { WIDTH } else { WIDTH_OF_MANY };
        let (entering, last) = context.enter_left(1)?;
        let begins =
            beam(&self.forward, (&entering, last), slots, Side::Left, WIDTH, &self.alphabet)?;
        let (entering, first) = context.enter_right(1)?;
        let ends =
            beam(&self.backward, (&entering, first), slots, Side::Right, WIDTH, &self.alphabet)?;
        let mut proposals: Vec<Vec<Vec<u32>>> = Vec::new();
        for length in lengths {
            proposals.push(self.of_length(&begins, &ends, slots, length, width)?);
        }
        let mut weighed = Vec::new();
        for (near, keep) in ROUNDS {
            weighed = Vec::new();
            for fillings in proposals.iter().filter(|fillings| !fillings.is_empty()) {
                weighed.extend(weigh(&self.network, context, fillings, near)?);
            }
            sort(&mut weighed);
            weighed.truncate(keep);
            for fillings in &mut proposals {
                let length = fillings.first().map_or(0, Vec::len);
                let going = weighed.iter().filter(|one| one.ids.len() == length);
                *fillings = going.map(|one| one.ids.clone()).collect();
            }
        }
        Ok(weighed)
    }

    /// Different proposals of one length, in a fixed order.
    fn of_length(
        &self,
        begins: &[Level],
        ends: &[Level],
        slots: &[Slot],
        length: usize,
        width: usize,
    ) -> Result<Vec<Vec<u32>>> {
        let mut all: BTreeSet<Vec<u32>> = BTreeSet::new();
        for level in [&begins[length], &ends[length]] {
            all.extend(level.ids.iter().take(width).cloned());
        }
        // The gap's place next to the middle.
        let places = (0..length).filter(|&place| slots[place] == Slot::Gap);
        if let Some(place) = places.min_by_key(|place| (2 * place + 1).abs_diff(length)) {
            let parts = (&begins[place], &ends[length - 1 - place]);
            all.extend(meet(&self.network, parts, width, &self.alphabet)?);
        }
        let many = length < slots.len();
        all.retain(|ids| !many || self.alphabet.may_hold(ids));
        Ok(all.into_iter().collect())
    }
}
