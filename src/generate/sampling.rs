//! Turns logits into one id: the pick. Knows nothing of models or text; which
//! candidates may be picked is decided in `filters`.

use crate::error::{Error, Result, ensure};
use crate::generate::config::SamplingConfig;
use crate::generate::filters::{self, Candidate};

/// Picks ids; keeps its buffer between picks.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// The id that `uniform`, drawn uniformly from [0, 1), picks from `logits` `[V]`.
    ///
    /// A logit of -∞ is never picked. Among equal logits the lower id counts as the likelier.
    /// `config` is taken as valid, see [`SamplingConfig::validate`].
    ///
    /// # Errors
    /// [`Error::Logits`] for a NaN or +∞ among the logits, or none that can be picked.
    pub fn pick(&mut self, config: &SamplingConfig, logits: &[f32], uniform: f32) -> Result<u32> {
        let mut likeliest: Option<(u32, f32)> = None;
        for (id, &logit) in (0u32..).zip(logits) {
            ensure!(
                !logit.is_nan() && logit != f32::INFINITY,
                Error::Logits(format!(
                    "the model's score of id {id} is {logit}: its weights are unusable, train it again"
                ))
            );
            if logit > likeliest.map_or(f32::NEG_INFINITY, |(_, best)| best) {
                likeliest = Some((id, logit));
            }
        }
        let Some((likeliest, largest)) = likeliest else {
            return Err(Error::Logits("every id is excluded: there is nothing to pick".into()));
        };
        if config.temperature == 0.0 {
            return Ok(likeliest);
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        // The shift by the largest logit keeps exp within (0, 1].
        let weight = |logit: f32| ((logit - largest) / config.temperature).exp();
        candidates.extend(
            (0u32..).zip(logits).map(|(id, &logit)| Candidate { id, weight: weight(logit) }),
        );
        filters::apply(config, candidates);
        let total: f32 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = uniform * total;
        for candidate in &*candidates {
            if left < candidate.weight {
                return Ok(candidate.id);
            }
            left -= candidate.weight;
        }
        // Rounding may leave a remainder: the last candidate that has any weight takes it.
        let last = candidates.iter().rev().find(|candidate| candidate.weight > 0.0);
        Ok(last.map_or(likeliest, |candidate| candidate.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(temperature: f32, top_k: Option<usize>, top_p: f32) -> SamplingConfig {
        SamplingConfig { temperature, top_k, top_p, min_p: 0.0 }
    }

    fn pick(config: SamplingConfig, logits: &[f32], uniform: f32) -> Result<u32> {
        Sampler::default().pick(&config, logits, uniform)
    }

    /// How often each id is picked, for numbers spaced evenly over [0, 1).
    fn shares(config: SamplingConfig, logits: &[f32]) -> Vec<f32> {
        let n = 10_000;
        let mut sampler = Sampler::default();
        let mut counts = vec![0.0; logits.len()];
        for i in 0..n {
            let id = sampler.pick(&config, logits, i as f32 / n as f32).unwrap();
            counts[id as usize] += 1.0 / n as f32;
        }
        counts
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
    }

    #[test]
    fn the_shares_are_the_softmax() {
        let logits = [1.0f32.ln(), 2.0f32.ln(), 5.0f32.ln()];
        assert_close(&shares(config(1.0, None, 1.0), &logits), &[0.125, 0.25, 0.625]);
        // At temperature 1/2 the odds are squared.
        let squared = [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0];
        assert_close(&shares(config(0.5, None, 1.0), &logits), &squared);
    }

    #[test]
    fn limits_cut_the_tail_and_renormalise() {
        let logits = [1.0f32.ln(), 2.0f32.ln(), 5.0f32.ln(), f32::NEG_INFINITY];
        let two = [0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0];
        assert_close(&shares(config(1.0, Some(2), 1.0), &logits), &two);
        assert_close(&shares(config(1.0, None, 0.7), &logits), &two);
        assert_close(&shares(config(1.0, None, 0.5), &logits), &[0.0, 0.0, 1.0, 0.0]);
        assert_close(&shares(config(1.0, Some(99), 1.0), &logits), &[0.125, 0.25, 0.625, 0.0]);
    }

    #[test]
    fn greedy_takes_the_likeliest_and_the_lower_of_equals() {
        assert_eq!(pick(config(0.0, None, 1.0), &[0.0, 3.0, 3.0, -1.0], 0.99).unwrap(), 1);
        assert_eq!(pick(config(1.0, Some(1), 1.0), &[3.0, 3.0], 0.99).unwrap(), 0);
    }

    #[test]
    fn extreme_logits_and_numbers_stay_in_range() {
        let cold = config(1e-3, None, 1.0);
        assert_eq!(pick(cold, &[-3e38, 3e38, 0.0], 0.999_999_94).unwrap(), 1);
        assert!(pick(cold, &[0.0, f32::NAN], 0.0).is_err());
        assert!(pick(cold, &[f32::NEG_INFINITY], 0.0).is_err());
        assert!(pick(cold, &[], 0.0).is_err());
    }
}
