//! What changes the logits before they are sampled from, and what is reported of them.

use std::collections::VecDeque;

use crate::error::{Error, Result, ensure};
use crate::generate::request::{Repetition, Token};

/// The ids that a row read or wrote last, as far as the repetition penalty looks.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    repetition: Repetition,
    ids: VecDeque<u32>,
    /// How often each id is among them, `[V]`.
    counts: Vec<u32>,
}

impl Recent {
    pub fn new(repetition: Repetition, vocab: usize) -> Self {
        Self { repetition, ids: VecDeque::new(), counts: vec![0; vocab] }
    }

    pub fn push(&mut self, id: u32) {
        self.ids.push_back(id);
        self.counts[id as usize] += 1;
        if self.ids.len() > self.repetition.window
            && let Some(oldest) = self.ids.pop_front()
        {
            self.counts[oldest as usize] -= 1;
        }
    }

    /// Makes each of them less likely, once, however often it is there: a logit above 0 is divided by the penalty,
    /// one below is multiplied by it (Keskar et al. 2019).
    pub fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.repetition.penalty;
        for (logit, _) in logits.iter_mut().zip(&self.counts).filter(|(_, count)| **count > 0) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

impl Token {
    /// `id` with its log-probability by `logits` `[V]`, and the `count` likeliest ids but `hidden`.
    ///
    /// # Errors
    /// [`Error::Logits`] for a logit that is NaN or +∞, or none that is finite.
    pub fn new(id: u32, logits: &[f32], count: usize, hidden: Option<u32>) -> Result<Self> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
        ensure!(
        sum.is_finite() && sum > 0.0,
        Error::Logits(
            "the model's scores are no finite numbers: its weights are unusable, train it again"
                .into()
        )
    );
        let log_probability = |logit: f32| (f64::from(logit - largest) - sum.ln()) as f32;
        let mut top: Vec<(u32, f32)> = Vec::new();
        for (other, &logit) in (0u32..).zip(logits) {
            // Of equal ones the lower id first.
            let place = top.partition_point(|&(_, better)| better >= logit);
            if place < count && logit > f32::NEG_INFINITY && Some(other) != hidden {
                top.insert(place, (other, logit));
                top.truncate(count);
            }
        }
        top.iter_mut().for_each(|(_, logit)| *logit = log_probability(*logit));
        Ok(Self { id, log_probability: Some(log_probability(logits[id as usize])), top })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_lately_is_less_likely() {
        let mut recent = Recent::new(Repetition { penalty: 2.0, window: 2 }, 4);
        [3, 1, 1].into_iter().for_each(|id| recent.push(id));
        let mut logits = [1.0, 3.0, -1.0, -4.0];
        recent.penalise(&mut logits);
        assert_eq!(logits, [1.0, 1.5, -1.0, -4.0]);
        recent.push(2);
        recent.penalise(&mut logits);
        assert_eq!(logits, [1.0, 0.75, -2.0, -4.0]);
    }

    #[test]
    fn log_probabilities_are_those_of_the_softmax_and_the_likeliest_come_first() {
        let logits = [1.0f32.ln(), 2.0f32.ln(), f32::NEG_INFINITY, 5.0f32.ln(), 2.0f32.ln()];
        let token = Token::new(0, &logits, 3, None).unwrap();
        let exp = |x: f32| (x.exp() * 1e4).round() / 1e4;
        assert_eq!(token.log_probability.map(exp), Some(0.1));
        let top: Vec<_> = token.top.iter().map(|&(id, x)| (id, exp(x))).collect();
        assert_eq!(top, [(3, 0.5), (1, 0.2), (4, 0.2)]);
        let shown = Token::new(3, &logits, 1, Some(3)).unwrap();
        assert_eq!((shown.id, shown.top[0].0), (3, 1));
        assert_eq!(Token::new(0, &logits, usize::MAX, None).unwrap().top.len(), 4);
        assert!(Token::new(0, &logits, 0, None).unwrap().top.is_empty());
    }

    #[test]
    fn logits_that_are_no_numbers_are_an_error() {
        for logits in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert!(Token::new(1, &logits, 1, None).is_err(), "{logits:?}");
        }
    }
}
