//! What may stand in a gap: the likeliest beginnings as the forward half writes them on, the likeliest ends
//! as the backward half does, and the pairs of the two with one id between them.

use candle_core::{D, DType, Tensor};

use crate::error::Result;
use crate::fill::alphabet::{Alphabet, Side};
use crate::fill::context::Slot;
use crate::model::{BidirectionalNetwork, PackedNetwork, State};

/// Parts of a gap of one length, the likeliest first.
pub(super) struct Level {
    /// In the order of the text.
    pub ids: Vec<Vec<u32>>,
    /// Log-likelihood of each, by the half that wrote it.
    pub likely: Vec<f32>,
    /// What the half's readout reads after each, `[rows, H]`.
    hidden: Tensor,
}

/// The likeliest `width` parts of every length from 0 to that of `slots`, which are in the order of the text
/// as they are read from `side`.
pub(super) fn beam(
    half: &PackedNetwork,
    (entering, last): (&State, u32),
    slots: &[Slot],
    side: Side,
    width: usize,
    alphabet: &Alphabet,
) -> Result<Vec<Level>> {
    let mut session = half.session(1)?;
    session.set_state(entering)?;
    let mut logits = session.step(&[last])?.to_vec();
    let mut levels = vec![Level {
        ids: vec![Vec::new()],
        likely: vec![0.0],
        hidden: half.output(&session.state()?)?,
    }];
    for step in 0..slots.len() {
        let before = &levels[step];
        let at = |step: usize| match side {
            Side::Left => slots[step],
            Side::Right => slots[slots.len() - 1 - step],
        };
        let gap = |step: &usize| at(*step) == Slot::Gap;
        let room = (step + 1..slots.len()).take_while(gap).count();
        let run = (0..step).rev().take_while(gap).count();
        let mut found: Vec<(f32, usize, u32)> = Vec::new();
        for (row, (ids, likely)) in before.ids.iter().zip(&before.likely).enumerate() {
            let logits = &logits[row * half.vocab()..][..half.vocab()];
            let normaliser = log_sum_exp(logits);
            match at(step) {
                Slot::Fixed(id) => found.push((likely + logits[id as usize] - normaliser, row, id)),
                Slot::Gap => {
                    let written = match side {
                        Side::Left => &ids[ids.len() - run..],
                        Side::Right => &ids[..run],
                    };
                    found.extend((0u32..).zip(logits).filter_map(|(id, logit)| {
                        let may = alphabet.may_extend(written, id, side, room);
                        may.then_some((likely + logit - normaliser, row, id))
                    }));
                }
            }
        }
        keep(&mut found, width);
        let (mut rows, mut read) = (Vec::new(), Vec::new());
        let (mut all, mut likely) = (Vec::new(), Vec::new());
        for (nats, row, id) in found {
            let mut ids = before.ids[row].clone();
            match side {
                Side::Left => ids.push(id),
                Side::Right => ids.insert(0, id),
            }
            rows.push(row);
            read.push(id);
            all.push(ids);
            likely.push(nats);
        }
        session.select(&rows)?;
        logits = session.step(&read)?.to_vec();
        levels.push(Level { ids: all, likely, hidden: half.output(&session.state()?)? });
    }
    Ok(levels)
}

/// Most pairs of a beginning and an end between which an id is looked for.
const PAIRS: usize = 1024;
/// Logits that are computed at once.
const LOGITS: usize = 1 << 20;

/// Fillings of a beginning, one id in a gap, and an end: the likeliest `count` by the beginning's and the
/// end's likelihood and that of the id between them given both sides.
pub(super) fn meet(
    network: &BidirectionalNetwork,
    (begin, end): (&Level, &Level),
    count: usize,
    alphabet: &Alphabet,
) -> Result<Vec<Vec<u32>>> {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (a, left) in begin.likely.iter().enumerate() {
        pairs.extend(end.likely.iter().enumerate().map(|(b, right)| (left + right, a, b)));
    }
    pairs.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    pairs.truncate(PAIRS);
    let vocab = network.config().vocab;
    let mut found: Vec<(f32, usize, u32)> = Vec::new();
    let rows = (LOGITS / vocab).max(1);
    for (first, block) in (0..).step_by(rows).zip(pairs.chunks(rows)) {
        let hidden = |level: &Level, of: fn(&(f32, usize, usize)) -> usize| {
            let index: Vec<u32> = block.iter().map(|pair| of(pair) as u32).collect();
            level.hidden.index_select(&Tensor::new(index, level.hidden.device())?, 0)
        };
        let hidden = Tensor::cat(&[hidden(begin, |pair| pair.1)?, hidden(end, |pair| pair.2)?], 1)?;
        let logits = log_softmax(&network.logits(&hidden)?)?;
        for (row, (logits, pair)) in logits.chunks_exact(vocab).zip(block).enumerate() {
            let (left, right) = (&begin.ids[pair.1], &end.ids[pair.2]);
            let may = alphabet.between(left, right);
            found.extend(
                (0u32..).zip(logits).filter_map(|(id, likely)| {
                    may(id).then_some((pair.0 + likely, first + row, id))
                }),
            );
        }
        keep(&mut found, count);
    }
    let filling = |(_, pair, id): (f32, usize, u32)| {
        let (_, left, right) = pairs[pair];
        [&begin.ids[left], &[id][..], &end.ids[right]].concat()
    };
    Ok(found.into_iter().map(filling).collect())
}

/// Keeps the likeliest `count`, in falling order; of equals the one of the lower row and id.
fn keep(found: &mut Vec<(f32, usize, u32)>, count: usize) {
    let order = |a: &(f32, usize, u32), b: &(f32, usize, u32)| {
        b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
    };
    if found.len() > count {
        found.select_nth_unstable_by(count, order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
}

/// The log-softmax of the rows of `logits` `[.., V]`, one after another.
fn log_softmax(logits: &Tensor) -> Result<Vec<f32>> {
    let likely = candle_nn::ops::log_softmax(&logits.detach(), D::Minus1)?;
    Ok(likely.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f32>().ln()
}
