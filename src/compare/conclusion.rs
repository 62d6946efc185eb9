//! What the figures say, in sentences: which cell learnt fastest, and whether GRUs train faster than LSTMs and
//! do as well.

use crate::compare::reach::{reached_after, rounded_up, worth_a_column};
use crate::compare::results::{CellResult, Reached, Results, State};
use crate::model::Cell;

/// Nats: the best losses of two seeds of one cell differ by as much.
const NOISE: f64 = 0.01;
/// Times that differ by less are no difference.
const SAME_TIME: f64 = 0.05;
/// Nats above the best loss of the worse of two cells: there the curves are still steep, so that the time to it
/// depends little on the noise.
const ABOVE: f64 = 0.1;

/// Draws what follows from the curves: the losses, unless they were given, the times to them, the sentences.
pub(super) fn update(results: &mut Results) {
    if !results.losses_given {
        results.losses = worth_a_column(&results.cells);
    }
    for cell in &mut results.cells {
        let reached = |&loss: &f64| Reached { loss, seconds: reached_after(&cell.curve, loss) };
        cell.reached = results.losses.iter().map(reached).collect();
    }
    results.conclusion = conclude(results);
}

/// The sentences; none before a cell was evaluated.
fn conclude(results: &Results) -> Vec<String> {
    let cells = &results.cells;
    let mut sentences: Vec<String> =
        [fastest(cells), lowest(cells)].into_iter().flatten().collect();
    let of = |wanted| cells.iter().find(|cell| cell.cell == wanted);
    if let Some(lstm) = of(Cell::Lstm) {
        let grus = [Cell::Gru, Cell::GruResetAfter].into_iter().filter_map(of);
        sentences.extend(grus.filter_map(|gru| claim(gru, lstm)));
    }
    if cells.iter().any(|cell| cell.state == State::Unfinished) && !sentences.is_empty() {
        sentences.push("The comparison is not finished: not every cell has had its budget.".into());
    }
    if cells.iter().filter(|cell| cell.best.is_some()).count() > 1 {
        sentences.push(format!(
            "This is one seed: differences of the best losses below about {NOISE} nats mean nothing."
        ));
    }
    sentences
}

/// Which cell reached first the lowest loss that all have reached.
fn fastest(cells: &[CellResult]) -> Option<String> {
    let measured: Vec<&CellResult> = cells.iter().filter(|cell| cell.best.is_some()).collect();
    let (column, loss) = measured
        .first()?
        .reached
        .iter()
        .enumerate()
        .rfind(|(column, _)| {
            let has = |cell: &&CellResult| cell.reached.get(*column)?.seconds;
            measured.iter().all(|cell| has(cell).is_some())
        })
        .map(|(column, reached)| (column, reached.loss))?;
    let mut times: Vec<(f64, Cell)> = measured
        .iter()
        .filter_map(|cell| Some((cell.reached[column].seconds?, cell.cell)))
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((first, cell), others) = times.split_first()?;
    if others.is_empty() {
        return None;
    }
    let others: Vec<String> = others
        .iter()
        .map(|(time, cell)| format!("{cell} took {:.2} times as long", time / first.max(1e-9)))
        .collect();
    Some(format!(
        "{cell} learnt fastest per second: it reached {loss:.2} nats after {}; {}.",
        seconds(*first),
        others.join(", ")
    ))
}

/// Which cell has the lowest loss.
fn lowest(cells: &[CellResult]) -> Option<String> {
    let mut best: Vec<(f64, Cell)> =
        cells.iter().filter_map(|cell| Some((cell.best?.val_loss, cell.cell))).collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [(first, cell), (second, runner_up), ..] = best[..] else { return None };
    Some(format!(
        "{cell} came lowest: {first:.4} nats ({:.4} bits), {:.4} below {runner_up}.",
        bits(first),
        second - first
    ))
}

/// Whether a GRU trained faster than the LSTM and did as well. Faster is what came sooner to a loss that both
/// reached: more characters a second are worth nothing to a cell that learns less from them.
fn claim(gru: &CellResult, lstm: &CellResult) -> Option<String> {
    let (gru_best, lstm_best) = (gru.best?.val_loss, lstm.best?.val_loss);
    let loss = rounded_up(gru_best.max(lstm_best) + ABOVE);
    let after = |cell: &CellResult| reached_after(&cell.curve, loss);
    let (gru_time, lstm_time) = (after(gru)?, after(lstm)?);
    let speed = gru.chars_per_second? / lstm.chars_per_second?;
    let higher = gru_best - lstm_best;
    let verdict = match (gru_time * (1.0 + SAME_TIME) <= lstm_time, higher <= NOISE) {
        (true, true) => "holds here",
        (true, false) => "holds here for the time and not for the loss",
        (false, true) => "holds here for the loss and not for the time",
        (false, false) => "does not hold here",
    };
    Some(format!(
        "{} against lstm: {speed:.2} times the characters a second, {loss:.2} nats after {} against {}, best loss \
         {:.4} nats ({:.4} bits) {}. That GRUs train faster than LSTMs and do as well {verdict}.",
        gru.cell,
        seconds(gru_time),
        seconds(lstm_time),
        higher.abs(),
        bits(higher.abs()),
        if higher > 0.0 { "higher" } else { "lower" }
    ))
}

fn bits(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}

/// 7.3 s, or from a minute on 2 min 5 s.
fn seconds(time: f64) -> String {
    if time < 59.95 {
        format!("{time:.1} s")
    } else {
        let whole = time.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use crate::compare::results::tests::{cell, results};

    use super::*;

    fn says(cells: Vec<CellResult>) -> Vec<String> {
        results(cells).conclusion
    }

    #[test]
    fn the_sentences_follow_from_the_figures() {
        let said = says(vec![
            cell(Cell::Gru, 1_200, &[(10.0, 3.0), (80.0, 1.5)]),
            cell(Cell::Lstm, 1_000, &[(10.0, 3.0), (100.0, 1.52)]),
            cell(Cell::Rnn, 1_500, &[(10.0, 3.0), (40.0, 1.9)]),
        ]);
        assert_eq!(
            said,
            [
                "rnn learnt fastest per second: it reached 1.90 nats after 40.0 s; gru took 1.53 times as \
                 long, lstm took 1.92 times as long.",
                "gru came lowest: 1.5000 nats (2.1640 bits), 0.0200 below lstm.",
                "gru against lstm: 1.20 times the characters a second, 1.62 nats after 1 min 14 s against 1 min 34 s, \
                 best loss 0.0200 nats (0.0289 bits) lower. That GRUs train faster than LSTMs and do as \
                 well holds here.",
                "This is one seed: differences of the best losses below about 0.01 nats mean nothing.",
            ]
        );
    }

    #[test]
    fn each_half_of_the_claim_can_fail() {
        // The lstm passes 1.70 nats after 28 s or a little earlier.
        for (seconds, loss, verdict) in [
            (20.0, 1.609, "holds here."),
            (20.0, 1.611, "holds here for the time and not for the loss."),
            (32.0, 1.5, "holds here for the loss and not for the time."),
            (30.0, 1.7, "does not hold here."),
        ] {
            let said = says(vec![
                cell(Cell::Lstm, 1_000, &[(10.0, 2.5), (30.0, 1.6)]),
                cell(Cell::GruResetAfter, 900, &[(10.0, 2.5), (seconds, loss)]),
            ]);
            assert!(said.iter().any(|said| said.ends_with(verdict)), "{verdict}: {said:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        assert_eq!(says(vec![cell(Cell::Gru, 1, &[]), cell(Cell::Lstm, 1, &[])]), [""; 0]);
        let said = says(vec![cell(Cell::Gru, 1, &[(1.0, 2.0)]), cell(Cell::Lstm, 1, &[])]);
        assert_eq!(said, [""; 0]);
        let mut unfinished = cell(Cell::Gru, 1, &[(1.0, 2.0)]);
        unfinished.state = State::Unfinished;
        let said = says(vec![unfinished, cell(Cell::Rnn, 1, &[(1.0, 2.0)])]);
        assert!(said.iter().any(|said| said.contains("is not finished")), "{said:?}");
    }
}
