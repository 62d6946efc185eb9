//! Turns logits into one id. Knows nothing of models or text.

use anyhow::{Result, ensure};

/// How freely to choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingConfig {
    /// Divides the logits; 0 takes the likeliest id.
    pub temperature: f32,
    /// Only the k likeliest ids; None for all.
    pub top_k: Option<usize>,
    /// Only the likeliest ids that together reach this probability; 1 for all.
    pub top_p: f32,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            // A little below 1: a small model's rare characters are mostly its mistakes.
            temperature: 0.8,
            top_k: None,
            top_p: 1.0,
        }
    }
}

impl SamplingConfig {
    /// # Errors
    /// A setting outside its range, each with the range.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature),
            "--temperature is {}: give a number from 0 (always the likeliest) to 100; 0.8 is usual",
            self.temperature
        );
        ensure!(
            self.top_k != Some(0),
            "--top-k is 0: give a number from 1, or leave it out for no limit"
        );
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "--top-p is {}: give a number above 0 and at most 1 (1 is no limit)",
            self.top_p
        );
        Ok(())
    }
}

/// Picks ids; keeps its buffers between picks.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplingConfig,
    /// Ids with their probability, in falling order where a limit asks for order.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// # Errors
    /// See [`SamplingConfig::validate`].
    pub fn new(config: SamplingConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config, candidates: Vec::new() })
    }

    /// The id that `coin`, uniform in [0, 1), picks from `logits` [V].
    ///
    /// A logit of -∞ is never picked. Among equal logits the lower id counts as the likelier.
    ///
    /// # Errors
    /// A NaN among the logits, or none that can be picked.
    pub fn pick(&mut self, logits: &[f32], coin: f32) -> Result<u32> {
        let mut likeliest: Option<(u32, f32)> = None;
        for (id, &logit) in (0u32..).zip(logits) {
            ensure!(
                !logit.is_nan() && logit != f32::INFINITY,
                "the model's score of id {id} is {logit}: its weights are unusable, train it again"
            );
            if logit > likeliest.map_or(f32::NEG_INFINITY, |(_, best)| best) {
                likeliest = Some((id, logit));
            }
        }
        let Some((likeliest, largest)) = likeliest else {
            anyhow::bail!("every id is excluded: there is nothing to pick");
        };
        if self.config.temperature == 0.0 {
            return Ok(likeliest);
        }
        self.candidates.clear();
        // The shift by the largest logit keeps exp within (0, 1].
        self.candidates.extend(
            (0u32..)
                .zip(logits)
                .map(|(id, &logit)| (id, ((logit - largest) / self.config.temperature).exp())),
        );
        self.limit();
        let total: f32 = self.candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = coin * total;
        for &(id, weight) in &self.candidates {
            if left < weight {
                return Ok(id);
            }
            left -= weight;
        }
        // Rounding may leave a little of the coin: the last id that has any weight gets it.
        Ok(self
            .candidates
            .iter()
            .rev()
            .find(|(_, weight)| *weight > 0.0)
            .map_or(likeliest, |(id, _)| *id))
    }

    fn limit(&mut self) {
        let Self { config, candidates } = self;
        let k = config.top_k.unwrap_or(usize::MAX).min(candidates.len());
        if k == candidates.len() && config.top_p >= 1.0 {
            return;
        }
        candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        candidates.truncate(k);
        let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let enough = candidates.iter().position(|(_, weight)| {
            sum += weight;
            sum >= config.top_p * total
        });
        if let Some(last) = enough {
            candidates.truncate(last + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_k: Option<usize>, top_p: f32) -> Sampler {
        Sampler::new(SamplingConfig { temperature, top_k, top_p }).unwrap()
    }

    /// How often each id comes up over evenly spaced coins.
    fn shares(sampler: &mut Sampler, logits: &[f32]) -> Vec<f32> {
        let n = 10_000;
        let mut counts = vec![0.0; logits.len()];
        for i in 0..n {
            let id = sampler.pick(logits, i as f32 / n as f32).unwrap();
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
        assert_close(&shares(&mut sampler(1.0, None, 1.0), &logits), &[0.125, 0.25, 0.625]);
        // At temperature 1/2 the odds are squared.
        let squared = [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0];
        assert_close(&shares(&mut sampler(0.5, None, 1.0), &logits), &squared);
    }

    #[test]
    fn limits_cut_the_tail_and_renormalise() {
        let logits = [1.0f32.ln(), 2.0f32.ln(), 5.0f32.ln(), f32::NEG_INFINITY];
        let two = [0.0, 2.0 / 7.0, 5.0 / 7.0, 0.0];
        assert_close(&shares(&mut sampler(1.0, Some(2), 1.0), &logits), &two);
        assert_close(&shares(&mut sampler(1.0, None, 0.7), &logits), &two);
        assert_close(&shares(&mut sampler(1.0, None, 0.5), &logits), &[0.0, 0.0, 1.0, 0.0]);
        assert_close(
            &shares(&mut sampler(1.0, Some(99), 1.0), &logits),
            &[0.125, 0.25, 0.625, 0.0],
        );
    }

    #[test]
    fn greedy_takes_the_likeliest_and_the_lower_of_equals() {
        let mut greedy = sampler(0.0, None, 1.0);
        assert_eq!(greedy.pick(&[0.0, 3.0, 3.0, -1.0], 0.99).unwrap(), 1);
        let mut one = sampler(1.0, Some(1), 1.0);
        assert_eq!(one.pick(&[3.0, 3.0], 0.99).unwrap(), 0);
    }

    #[test]
    fn extreme_logits_and_coins_stay_in_range() {
        let mut s = sampler(1e-3, None, 1.0);
        assert_eq!(s.pick(&[-3e38, 3e38, 0.0], 0.999_999_94).unwrap(), 1);
        assert!(s.pick(&[0.0, f32::NAN], 0.0).is_err());
        assert!(s.pick(&[f32::NEG_INFINITY], 0.0).is_err());
        assert!(s.pick(&[], 0.0).is_err());
    }

    #[test]
    fn nonsense_settings_are_refused() {
        for (temperature, top_k, top_p) in [
            (-1.0, None, 1.0),
            (f32::NAN, None, 1.0),
            (1.0, Some(0), 1.0),
            (1.0, None, 0.0),
            (1.0, None, 1.5),
            (1.0, None, f32::NAN),
        ] {
            let config = SamplingConfig { temperature, top_k, top_p };
            assert!(Sampler::new(config).is_err(), "{config:?}");
        }
    }
}
