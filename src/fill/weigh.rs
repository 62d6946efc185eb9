//! How likely fillings of a stretch are, by both halves.

use candle_core::Tensor;

use crate::error::{Error, Result, ensure};
use crate::fill::context::Context;
use crate::model::{BidirectionalNetwork, Network, State};

/// A filling and how likely it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weighed {
    /// Of the whole stretch.
    pub ids: Vec<u32>,
    /// Log-likelihood, in nats, of the stretch and the ids that follow it given what is before them, by the
    /// forward half.
    pub forward: f64,
    /// The same from the right to the left, by the backward half.
    pub backward: f64,
}

impl Weighed {
    /// The mean of both. Each is, up to what all fillings have in common, the logarithm of the filling's
    /// probability given both sides, whatever its length: the mean is that of the geometric mean of the two.
    pub(super) fn score(&self) -> f64 {
        (self.forward + self.backward) / 2.0
    }
}

/// The best first; of equals the shorter, then the one of the lower ids.
pub(super) fn sort(weighed: &mut [Weighed]) {
    weighed.sort_by(|a, b| {
        let length = |one: &Weighed| one.ids.len();
        b.score().total_cmp(&a.score()).then_with(|| (length(a), &a.ids).cmp(&(length(b), &b.ids)))
    });
}

/// Weighs `fillings`, all of one length, side by side; up to `near` ids of the text on each side are
/// predicted with them.
pub(super) fn weigh(
    network: &BidirectionalNetwork,
    context: &Context,
    fillings: &[Vec<u32>],
    near: usize,
) -> Result<Vec<Weighed>> {
    let (left, right) = (context.left(), context.right());
    let left = &left[left.len() - near.min(left.len())..];
    let right = &right[..near.min(right.len())];
    let rows = fillings.len();
    let forward = network.forward_half();
    let (entering, last) = context.enter_left(rows)?;
    let forward =
        predict(forward, fillings, (&[last], &right[..right.len() - 1]), (&[], right), &entering)?;
    let (entering, first) = context.enter_right(rows)?;
    let backward = network.backward_half();
    let backward = predict(backward, fillings, (&left[1..], &[first]), (left, &[]), &entering)?;
    let both = fillings.iter().zip(forward.into_iter().zip(backward));
    both.map(|(ids, (forward, backward))| {
        ensure!(
            (forward + backward).is_finite(),
            Error::Logits(format!(
                "the model's score of a filling is {}: its weights are unusable, train it again",
                forward + backward
            ))
        );
        Ok(Weighed { ids: ids.clone(), forward, backward })
    })
    .collect()
}

/// Log-likelihood of the targets of each row. A row reads a filling between the two parts of `around`, and
/// its targets are the filling between the parts of `predicted`.
fn predict(
    half: &Network,
    fillings: &[Vec<u32>],
    around: (&[u32], &[u32]),
    predicted: (&[u32], &[u32]),
    entering: &State,
) -> Result<Vec<f64>> {
    let (rows, length) = (fillings.len(), fillings.first().map_or(0, Vec::len));
    // Time-major, [T, R].
    let window = |(before, after): (&[u32], &[u32])| {
        let mut ids = Vec::new();
        before.iter().for_each(|&id| ids.resize(ids.len() + rows, id));
        (0..length).for_each(|place| ids.extend(fillings.iter().map(|filling| filling[place])));
        after.iter().for_each(|&id| ids.resize(ids.len() + rows, id));
        Tensor::from_slice(&ids, (ids.len() / rows, rows), half.device())
    };
    let (hidden, _) = half.forward(&window(around)?, entering, None, None)?;
    let nats = half.token_nll(&hidden, &window(predicted)?)?.flatten_all()?.to_vec1::<f32>()?;
    let of = |row: usize| nats.iter().skip(row).step_by(rows).map(|&nats| -f64::from(nats)).sum();
    Ok((0..rows).map(of).collect())
}
