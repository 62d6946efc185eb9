//! Random numbers that depend on a seed and an epoch alone. Bounded numbers and the shuffle are written
//! here, so that a new version of the `rand` crate cannot change which text a resumed run reads.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The stream for dividing documents into training and validation. Epochs use the streams 0, 1, 2, …
pub(super) const SPLIT: u64 = u64::MAX;

/// The generator of one epoch.
pub(super) fn generator(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(epoch);
    generator
}

/// A number in `0..bound`, or 0 if `bound` is 0. No number is more likely than another by more than
/// `bound / 2^64`.
pub(super) fn below(generator: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(generator.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// Shuffles by the algorithm of Fisher and Yates.
pub(super) fn shuffle(items: &mut [u32], generator: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(generator, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_that_seed_and_epoch_decide() {
        let order = |seed, epoch| {
            let mut items: Vec<u32> = (0..100).collect();
            shuffle(&mut items, &mut generator(seed, epoch));
            items
        };
        let mut sorted = order(7, 3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order(7, 3), order(7, 3));
        assert_ne!(order(7, 3), order(7, 4));
        assert_ne!(order(7, 3), order(8, 3));
    }

    #[test]
    fn every_number_below_the_bound_comes_up_about_as_often() {
        let mut generator = generator(1, 0);
        let mut counts = [0u32; 5];
        for _ in 0..5000 {
            counts[below(&mut generator, 5) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (880..1120).contains(count)), "{counts:?}");
        assert_eq!(below(&mut generator, 0), 0);
    }
}
