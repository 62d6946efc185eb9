//! Losses worth a column of the table, and when a curve reached them.

use crate::compare::results::{CellResult, Point};

/// The seconds after which a curve first reached `loss`. Between two evaluations the loss is taken to fall along
/// a straight line; one that the first evaluation has reached counts as reached then, as nothing is known from
/// before it.
pub(super) fn reached_after(curve: &[Point], loss: f64) -> Option<f64> {
    let index = curve.iter().position(|point| point.val_loss <= loss)?;
    let at = curve[index];
    let Some(before) = index.checked_sub(1).and_then(|index| curve.get(index)) else {
        return Some(at.seconds);
    };
    let share = (before.val_loss - loss) / (before.val_loss - at.val_loss);
    Some(before.seconds + share.clamp(0.0, 1.0) * (at.seconds - before.seconds))
}

/// Losses to tell the times of, falling, from the best losses of the cells: one that all have reached, an
/// earlier one, the lowest that two have reached, and one between. None before every cell was evaluated; a cell
/// that never was, because it diverged, does not count.
pub(super) fn worth_a_column(cells: &[CellResult]) -> Vec<f64> {
    /// How much earlier the early one is.
    const EARLIER: f64 = 0.2;
    let mut best: Vec<f64> =
        cells.iter().filter_map(|cell| cell.best.map(|best| best.val_loss)).collect();
    best.sort_by(f64::total_cmp);
    let (Some(&worst), Some(&second)) = (best.last(), best.get(1).or(best.first())) else {
        return Vec::new();
    };
    let (all, two) = (rounded_up(worst), rounded_up(second));
    let mut losses = vec![rounded_up(all + EARLIER), all, rounded_up(f64::midpoint(all, two)), two];
    losses.dedup();
    losses
}

/// The next hundredth that is at least so much.
pub(super) fn rounded_up(loss: f64) -> f64 {
    // A loss that is a hundredth already stays.
    (loss * 100.0 - 1e-6).ceil() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::results::tests::{cell, curve};
    use crate::model::Cell;

    #[test]
    fn a_loss_is_reached_between_two_evaluations() {
        let curve = curve(&[(10.0, 3.0), (20.0, 2.0), (30.0, 2.5), (40.0, 1.0)]);
        for (loss, seconds) in [
            (4.0, Some(10.0)),
            (3.0, Some(10.0)),
            (2.25, Some(17.5)),
            (2.0, Some(20.0)),
            // It had risen in between.
            (1.75, Some(35.0)),
            (1.0, Some(40.0)),
            (0.99, None),
        ] {
            assert_eq!(reached_after(&curve, loss), seconds, "{loss}");
        }
        assert_eq!(reached_after(&[], 9.0), None);
    }

    #[test]
    fn the_losses_of_the_table_are_such_that_cells_have_reached_them() {
        let cells = [
            cell(Cell::Gru, 100, &[(1.0, 3.0), (2.0, 1.402)]),
            cell(Cell::Rnn, 100, &[(1.0, 3.0), (2.0, 1.8)]),
            cell(Cell::Lstm, 100, &[(1.0, 3.0), (2.0, 1.381), (3.0, 1.5)]),
            cell(Cell::MinGru, 100, &[]),
        ];
        assert_eq!(worth_a_column(&cells), [2.0, 1.8, 1.61, 1.41]);
        assert_eq!(worth_a_column(&cells[..1]), [1.61, 1.41]);
        assert_eq!(worth_a_column(&cells[3..]), [0.0; 0]);
    }
}
