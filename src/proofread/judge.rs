//! The best edits of texts. Texts are read in segments, side by side; of edits that are near each other the
//! one with the largest gain wins, because an error makes its neighbours look wrong too.

use crate::error::{Error, Result, ensure};
use crate::model::{BidirectionalNetwork, SidesReader};
use crate::proofread::edit::Edit;
use crate::proofread::propose::{Stretch, propose};
use crate::proofread::score::score;
use crate::proofread::segments::{CONTEXT, NEIGHBOURS, SEGMENT, Segment, Text, segments};

/// Ids that are read at once, with their context, or fewer where their states, two of each layer, would take
/// more than [`STATES`]. More is no faster, and a training that measures its thresholds would need more memory
/// than it says.
const AT_ONCE: usize = 24 * (SEGMENT + 2 * CONTEXT);
/// Bytes of states.
const STATES: usize = 64 << 20;

/// Reads texts from both sides and scores edits of them.
pub(super) struct Judge {
    reader: SidesReader,
    /// For each id whether it may stand in a text.
    is_text: Vec<bool>,
}

/// An edit of a text, in the places of that text.
#[derive(Clone, Debug)]
pub(super) struct Winner {
    pub edit: Edit,
    pub gain: f32,
}

impl Judge {
    /// `is_text` says for each id of the vocabulary whether an edit may put it in.
    pub fn new(network: &BidirectionalNetwork, is_text: Vec<bool>) -> Result<Self> {
        Ok(Self { reader: SidesReader::new(network)?, is_text })
    }

    /// For each text the edits of its own ids that make it likelier, in the order of their places. One that is
    /// next to a better edit of what stands around them does not win; so one error where two parts of a text
    /// meet has no other edit in each of them.
    pub fn winners(&self, texts: &[Text]) -> Result<Vec<Vec<Winner>>> {
        let mut scored: Vec<Vec<Winner>> = texts.iter().map(|_| Vec::new()).collect();
        let segments = segments(texts);
        let config = self.reader.network().config();
        let bytes_of_id = 8 * config.cell.states() * config.layers * config.hidden;
        let at_once = (STATES / bytes_of_id.max(1)).clamp(AT_ONCE / 16, AT_ONCE);
        let mut rest = &segments[..];
        while !rest.is_empty() {
            let mut ids = 0;
            let count = rest.iter().take_while(|segment| {
                ids += segment.read.len();
                ids <= at_once
            });
            let (now, later) = rest.split_at(count.count().max(1));
            self.score(texts, now, &mut scored)?;
            rest = later;
        }
        let own = |(edits, text): (Vec<Winner>, &Text)| {
            let mut winners = strongest(edits);
            winners.retain(|winner| text.owns(&winner.edit));
            winners
        };
        Ok(scored.into_iter().zip(texts).map(own).collect())
    }

    fn score(
        &self,
        texts: &[Text],
        segments: &[Segment],
        scored: &mut [Vec<Winner>],
    ) -> Result<()> {
        let stretches: Vec<Stretch> = segments
            .iter()
            .map(|segment| {
                let (ids, fixed) = texts[segment.text].of(segment);
                let start = segment.own.start - segment.read.start;
                Stretch { ids, fixed, own: start..start + segment.own.len() }
            })
            .collect();
        let ids: Vec<&[u32]> = stretches.iter().map(|stretch| stretch.ids).collect();
        let sides = self.reader.read(&ids)?;
        let is_text = |id: u32| self.is_text.get(id as usize) == Some(&true);
        let edits = propose(&self.reader, &sides, &stretches, is_text)?;
        let gains = score(&self.reader, &sides, &stretches, &edits)?;
        ensure!(
            gains.iter().all(|(_, gain)| gain.is_finite()),
            Error::Logits(
                "a suggestion's gain is no number: the weights are unusable, train it again".into()
            )
        );
        for (mut edit, gain) in gains {
            let segment = &segments[edit.segment];
            edit.start += segment.read.start;
            edit.end += segment.read.start;
            if gain > 0.0 {
                edit.segment = segment.text;
                scored[segment.text].push(Winner { edit, gain });
            }
        }
        Ok(())
    }
}

/// The edits that win in their neighbourhood, by place.
fn strongest(mut edits: Vec<Winner>) -> Vec<Winner> {
    // Of equal gain the first, so that the order is that of the text alone.
    edits.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.edit.cmp(&b.edit)));
    let mut winners: std::collections::BTreeMap<usize, Winner> = Default::default();
    for candidate in edits {
        let place = candidate.edit.start;
        let near = place.saturating_sub(NEIGHBOURS)..=place + NEIGHBOURS;
        if winners.range(near).next().is_none() {
            winners.insert(place, candidate);
        }
    }
    winners.into_values().collect()
}
