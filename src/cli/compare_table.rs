//! The table of `chargru compare`.

use crate::cli::output::{bits, grouped};
use crate::compare::{CellResult, Results, State};

/// What stands where nothing was measured.
const NOTHING: &str = "-";

/// A row a cell, a legend, and what the figures say.
pub(crate) fn table(results: &Results) -> String {
    let mut rows = vec![header(&results.losses)];
    rows.extend(results.cells.iter().map(row));
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    let notes = std::iter::once(String::new()).chain(results.cells.iter().map(note));
    for (row, note) in rows.iter().zip(notes) {
        // Names to the left, numbers to the right.
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (value, width) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {value:>width$}"));
        }
        line.push_str(&note);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(&format!(
        "\nbest: lowest validation loss, nats per {}. char/s and times: of the training steps.\n",
        results.unit()
    ));
    for sentence in &results.conclusion {
        out.push_str(sentence);
        out.push('\n');
    }
    out
}

fn header(losses: &[f64]) -> Vec<String> {
    let names = ["cell", "H", "parameters", "steps", "char/s", "best", "bits"];
    let names = names.map(ToString::to_string).into_iter();
    names.chain(losses.iter().map(|loss| format!("to {loss:.2}"))).collect()
}

fn row(cell: &CellResult) -> Vec<String> {
    let or_nothing = |value: Option<String>| value.unwrap_or_else(|| NOTHING.into());
    let best = cell.best.map(|best| best.val_loss);
    let values = [
        cell.cell.to_string(),
        cell.hidden.to_string(),
        grouped(cell.parameters),
        grouped(cell.step),
        or_nothing(cell.chars_per_second.map(|speed| grouped(speed.round() as u64))),
        or_nothing(best.map(|loss| format!("{loss:.4}"))),
        or_nothing(best.map(|loss| format!("{:.4}", bits(loss)))),
    ];
    let times = cell.reached.iter().map(|reached| or_nothing(reached.seconds.map(time)));
    values.into_iter().chain(times).collect()
}

fn note(cell: &CellResult) -> String {
    match cell.state {
        State::Unfinished => "  not finished".into(),
        State::Patience => "  ended by --patience".into(),
        State::Diverged => "  diverged".into(),
        _ => String::new(),
    }
}

/// 12.3 s, or from 100 seconds on 2:05.
fn time(seconds: f64) -> String {
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (99.94, "99.9 s"),
            (99.96, "1:40"),
            (125.4, "2:05"),
            (7384.0, "2:03:04"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
