//! The filters of sampling: which candidates may be picked at all.
//!
//! What acts on a pick, in this order:
//!
//! 1. the repetition penalty and the bias of single ids change the logits;
//! 2. the temperature divides them, before any filter sees them;
//! 3. [`top_k`] counts candidates;
//! 4. [`top_p`] takes its share of what top-k left;
//! 5. [`min_p`] drops what is far less likely than the likeliest.

use crate::generate::config::SamplingConfig;

/// An id that may be picked, and its weight: its probability up to a common factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub id: u32,
    pub weight: f32,
}

/// Removes the candidates that the settings exclude. Where one of them acts, what remains stands in
/// falling order of weight; where none does, `candidates` stay as they are.
pub(super) fn apply(config: &SamplingConfig, candidates: &mut Vec<Candidate>) {
    let k = config.top_k.unwrap_or(usize::MAX);
    if k >= candidates.len() && config.top_p >= 1.0 && config.min_p <= 0.0 {
        return;
    }
    sort(candidates);
    top_k(k, candidates);
    // Also with p = 1: it then drops candidates so light that the sum does not change by them.
    top_p(config.top_p, candidates);
    min_p(config.min_p, candidates);
}

/// Falling by weight; of equal weights, the lower id first.
fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.id.cmp(&b.id)));
}

/// Keeps the first `k` of sorted candidates.
fn top_k(k: usize, candidates: &mut Vec<Candidate>) {
    candidates.truncate(k);
}

/// Keeps the fewest sorted candidates whose weights sum to the share `p` of all weights, in (0, 1]:
/// nucleus sampling (Holtzman et al. 2020).
fn top_p(p: f32, candidates: &mut Vec<Candidate>) {
    let total: f32 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut sum = 0.0;
    let enough = candidates.iter().position(|candidate| {
        sum += candidate.weight;
        sum >= p * total
    });
    if let Some(last) = enough {
        candidates.truncate(last + 1);
    }
}

/// Keeps the sorted candidates that weigh at least the share `p` of the heaviest.
fn min_p(p: f32, candidates: &mut Vec<Candidate>) {
    let least = p * candidates.first().map_or(0.0, |heaviest| heaviest.weight);
    candidates.truncate(candidates.partition_point(|candidate| candidate.weight >= least));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(config: SamplingConfig, weights: &[f32]) -> Vec<u32> {
        let mut candidates: Vec<Candidate> =
            (0u32..).zip(weights).map(|(id, &weight)| Candidate { id, weight }).collect();
        apply(&config, &mut candidates);
        candidates.iter().map(|candidate| candidate.id).collect()
    }

    fn kept(weights: &[f32], top_k: Option<usize>, top_p: f32) -> Vec<u32> {
        filtered(SamplingConfig { top_k, top_p, ..SamplingConfig::default() }, weights)
    }

    #[test]
    fn min_p_keeps_what_is_near_the_heaviest() {
        let kept = |min_p| {
            let config = SamplingConfig { min_p, ..SamplingConfig::default() };
            filtered(config, &[1.0, 5.0, 2.5, 0.0])
        };
        assert_eq!(kept(0.0), [0, 1, 2, 3]);
        assert_eq!(kept(0.1), [1, 2, 0]);
        assert_eq!(kept(0.5), [1, 2]);
        assert_eq!(kept(1.0), [1]);
        let all = SamplingConfig { top_p: 0.9, min_p: 0.3, ..SamplingConfig::default() };
        assert_eq!(filtered(all, &[1.0, 5.0, 2.0]), [1, 2]);
    }

    #[test]
    fn without_a_filter_all_stay_in_their_order() {
        assert_eq!(kept(&[0.1, 0.6, 0.3], None, 1.0), [0, 1, 2]);
        assert_eq!(kept(&[0.1, 0.6, 0.3], Some(3), 1.0), [0, 1, 2]);
        assert!(kept(&[], Some(1), 0.5).is_empty());
    }

    #[test]
    fn top_k_keeps_the_heaviest_and_of_equals_the_lower_id() {
        assert_eq!(kept(&[0.1, 0.6, 0.3], Some(2), 1.0), [1, 2]);
        assert_eq!(kept(&[0.25, 0.25, 0.25, 0.25], Some(3), 1.0), [0, 1, 2]);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_its_share() {
        assert_eq!(kept(&[1.0, 5.0, 2.0], None, 0.625), [1]);
        assert_eq!(kept(&[1.0, 5.0, 2.0], None, 0.63), [1, 2]);
        assert_eq!(kept(&[1.0, 5.0, 2.0], None, 1e-6), [1]);
        assert_eq!(kept(&[1.0, 5.0, 2.0], None, 0.9), [1, 2, 0]);
    }

    /// Of all weights, 0.7 is reached by 5 + 2 of 10; of what top-k leaves, by 5 of 7.
    #[test]
    fn top_p_takes_its_share_of_what_top_k_left() {
        assert_eq!(kept(&[1.0, 5.0, 2.0, 2.0], None, 0.7), [1, 2]);
        assert_eq!(kept(&[1.0, 5.0, 2.0, 2.0], Some(2), 0.7), [1]);
    }
}
