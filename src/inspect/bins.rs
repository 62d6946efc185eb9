//! Many units at once: the values of each fall into bins, and each bin sums the features of its positions.
//! From that come the scores of all features at once, exact but for values of the same bin, which are taken
//! as equal.

/// Bins of a unit. Their edges are quantiles of its first values.
const BINS: usize = 256;

/// What is summed of a position: up to 23 features and, last, 1.
pub(super) const WIDTH: usize = 24;
pub(super) type Row = [f32; WIDTH];

/// The place of the count in a [`Row`].
pub(super) const COUNT: usize = WIDTH - 1;

/// The bins of one unit.
pub(super) struct UnitBins {
    /// Rising; a value is in the bin whose number is that of the edges not above it.
    edges: Vec<f32>,
    sums: Vec<Row>,
}

impl UnitBins {
    /// Empty bins for a unit of which these are some values.
    pub(super) fn new(mut sample: Vec<f32>) -> Self {
        sample.sort_unstable_by(f32::total_cmp);
        let edge = |bin: usize| sample.get(bin * sample.len() / BINS).copied().unwrap_or_default();
        Self { edges: (1..BINS).map(edge).collect(), sums: vec![[0.0; WIDTH]; BINS] }
    }

    /// Adds positions: the unit's values and the features there.
    pub(super) fn add(&mut self, values: &[f32], rows: &[Row]) {
        // In a loop of their own, as the searches then overlap.
        let bin = |value: &f32| self.edges.partition_point(|edge| edge <= value);
        let bins: Vec<usize> = values.iter().map(bin).collect();
        for (bin, &row) in bins.into_iter().zip(rows) {
            let mut sum = self.sums[bin];
            for (sum, feature) in sum.iter_mut().zip(row) {
                *sum += feature;
            }
            self.sums[bin] = sum;
        }
    }

    /// Of each bin: how many of its positions have feature `index`, and how many have it not.
    fn counts(&self, index: usize) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        let of = move |row: &Row| (f64::from(row[index]), f64::from(row[COUNT] - row[index]));
        self.sums.iter().map(of)
    }

    /// Twice the area under the ROC curve, less 1, for a feature of 0 and 1: from -1 to 1.
    pub(super) fn separation(&self, index: usize) -> f64 {
        let (mut area, mut below, mut positives) = (0.0, 0.0, 0.0);
        for (has, has_not) in self.counts(index) {
            area += has * (below + has_not / 2.0);
            below += has_not;
            positives += has;
        }
        if positives * below > 0.0 { 2.0 * area / (positives * below) - 1.0 } else { 0.0 }
    }

    /// Spearman's correlation with a feature that is given as centred ranks whose squares sum to `squares`.
    pub(super) fn correlation(&self, index: usize, squares: f64) -> f64 {
        let total: f64 = self.sums.iter().map(|row| f64::from(row[COUNT])).sum();
        let (mut below, mut product, mut own) = (0.0, 0.0, 0.0);
        for row in &self.sums {
            let count = f64::from(row[COUNT]);
            let rank = below + (count - total) / 2.0;
            product += rank * f64::from(row[index]);
            own += count * rank * rank;
            below += count;
        }
        if own * squares > 0.0 { product / (own * squares).sqrt() } else { 0.0 }
    }

    /// The edge at which "not below it" (or "below it" if not `above`) has the best F1 for a feature of 0 and 1.
    pub(super) fn threshold(&self, index: usize, above: bool) -> f32 {
        let positives: f64 = self.counts(index).map(|(has, _)| has).sum();
        let (mut hits, mut said, mut best) = (0.0, 0.0, (-1.0, 0.0));
        let mut consider = |edge: Option<&f32>, (has, has_not): (f64, f64)| {
            (hits, said) = (hits + has, said + has + has_not);
            if let Some(&edge) = edge {
                let f1 = 2.0 * hits / (said + positives).max(1.0);
                if f1 > best.0 {
                    best = (f1, edge);
                }
            }
        };
        if above {
            // Bin b begins at edge b - 1.
            let edges = self.edges.iter().rev().map(Some).chain([None]);
            edges.zip(self.counts(index).rev()).for_each(|(edge, counts)| consider(edge, counts));
        } else {
            let edges = self.edges.iter().map(Some).chain([None]);
            edges.zip(self.counts(index)).for_each(|(edge, counts)| consider(edge, counts));
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::inspect::scores::{area_under_roc, f1, ranks, spearman};

    struct Case {
        values: Vec<f32>,
        holds: Vec<bool>,
        count: Vec<f32>,
        bins: UnitBins,
        squares: f64,
    }

    /// A unit that partly follows both features, and its bins. Its first values are the sample.
    fn case(sign: f32) -> Case {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut uniform = || (rng.next_u32() >> 8) as f32 / (1 << 24) as f32;
        let holds: Vec<bool> = (0..5000).map(|_| uniform() < 0.1).collect();
        let count: Vec<f32> = (0..5000).map(|_| (uniform() * 40.0).floor()).collect();
        let values: Vec<f32> = (0..5000)
            .map(|at| sign * (uniform() + 0.4 * f32::from(holds[at]) + count[at] / 60.0))
            .collect();
        let ranks: Vec<f32> =
            ranks(&count).iter().map(|rank| ((rank - 2500.5) / 5000.0) as f32).collect();
        let rows: Vec<Row> = (0..5000)
            .map(|at| {
                let mut row = [0.0; WIDTH];
                (row[0], row[1], row[COUNT]) = (f32::from(holds[at]), ranks[at], 1.0);
                row
            })
            .collect();
        let mut bins = UnitBins::new(values[..2000].to_vec());
        bins.add(&values, &rows);
        let squares = ranks.iter().map(|&rank| f64::from(rank).powi(2)).sum();
        Case { values, holds, count, bins, squares }
    }

    #[test]
    fn rough_scores_are_near_the_exact_ones() {
        for sign in [1.0, -1.0] {
            let Case { values, holds, count, bins, squares } = case(sign);
            let exact = 2.0 * area_under_roc(&values, &holds) - 1.0;
            assert!((bins.separation(0) - exact).abs() < 2e-3, "{} {exact}", bins.separation(0));
            let (rough, exact) = (bins.correlation(1, squares), spearman(&values, &count));
            assert!((rough - exact).abs() < 2e-3, "{rough} {exact}");
            assert!(rough.abs() > 0.3 && (rough > 0.0) == (sign > 0.0), "{rough}");
        }
    }

    #[test]
    fn the_threshold_is_about_the_best_of_all() {
        for sign in [1.0, -1.0] {
            let Case { values, holds, bins, .. } = case(sign);
            let above = sign > 0.0;
            let found = f1(&values, &holds, bins.threshold(0, above), above);
            let best =
                values.iter().map(|&edge| f1(&values, &holds, edge, above)).fold(0.0, f64::max);
            assert!(found > best - 0.01 && best > 0.2, "{found} of {best}");
        }
    }

    #[test]
    fn a_unit_that_never_changes_follows_nothing() {
        let mut bins = UnitBins::new(vec![0.5; 10]);
        let mut row = [0.0; WIDTH];
        (row[0], row[COUNT]) = (1.0, 1.0);
        let mut other = row;
        other[0] = 0.0;
        bins.add(&[0.5; 3], &[row, other, other]);
        assert_eq!(bins.separation(0), 0.0);
        assert_eq!(UnitBins::new(Vec::new()).correlation(0, 1.0), 0.0);
    }
}
