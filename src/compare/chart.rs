//! The curves as SVG: validation loss over time, and over characters.

use crate::compare::results::{Point, Results};
use crate::error::Result;
use crate::model::Cell;
use crate::plot::{Axis, Chart, SIZE, Series};

/// Both charts, one below the other, as one file.
///
/// # Errors
/// Those of [`Chart::to_svg`].
pub(super) fn svg(results: &Results) -> Result<String> {
    let (width, height) = SIZE;
    let (unit, seconds) = time_unit(results);
    let over_time = chart(
        results,
        "Validation loss over training time",
        &format!("{unit} of training steps"),
        |point| point.seconds / seconds,
    );
    let over_text =
        chart(results, "Validation loss over characters read", "million characters", |point| {
            point.characters as f64 / 1e6
        });
    // Below each other: an SVG within an SVG stands at the origin of its group.
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" viewBox=\"0 0 {width} {}\">\n\
         {}\n<g transform=\"translate(0 {height})\">\n{}\n</g>\n</svg>\n",
        2 * height,
        2 * height,
        over_time.to_svg()?,
        over_text.to_svg()?,
    ))
}

fn chart(results: &Results, title: &str, label: &str, x: impl Fn(&Point) -> f64) -> Chart {
    let series = results.cells.iter().map(|cell| {
        let points = cell.curve.iter().map(|point| (x(point), point.val_loss)).collect();
        // A cell has one colour, whichever others it is compared with.
        let color = Cell::ALL.iter().position(|&other| other == cell.cell).unwrap_or(0);
        Series::new(cell.cell.name(), points).colored(color)
    });
    Chart {
        title: title.into(),
        x: Axis::new(label).from_zero(),
        y: Axis::new(format!("nats per {}", results.unit())),
        series: series.collect(),
    }
}

/// Seconds for a comparison of a few minutes, minutes for a longer one; and how many seconds that are.
fn time_unit(results: &Results) -> (&'static str, f64) {
    let longest = results.cells.iter().map(|cell| cell.seconds).fold(0.0, f64::max);
    if longest > 300.0 { ("minutes", 60.0) } else { ("seconds", 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::results::tests::{cell, results};

    #[test]
    fn every_cell_is_named_in_both_charts_also_before_anything_was_measured() {
        for points in [&[][..], &[(10.0, 3.0), (400.0, 1.5)]] {
            let svg =
                svg(&results(vec![cell(Cell::Gru, 1, points), cell(Cell::MinGru, 1, points)]));
            let svg = svg.unwrap();
            assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
            assert_eq!(svg.matches("<svg").count(), 3);
            assert_eq!(svg.matches("</svg>").count(), 3);
            if !points.is_empty() {
                assert_eq!(
                    svg.matches(">mingru<").count() + svg.matches("\nmingru\n").count(),
                    2,
                    "{svg}"
                );
                assert!(svg.contains("minutes of training steps"), "{svg}");
            }
        }
    }
}
