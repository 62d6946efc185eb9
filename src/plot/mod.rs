//! Line charts as SVG. Knows curves and axes, nothing of what they measure.
//!
//! A chart is light, and dark where the reader's system is (`prefers-color-scheme`), as a file of its own and
//! within a page; printed it is light. A program that knows no style sheets sees the light colours. Several
//! charts in one page do not disturb each other: they have no ids, and the same style sheet.
//!
//! | file | what it owns |
//! |---|---|
//! | `draw` | where title, axes, curves and legend stand |
//! | `scale` | the range of an axis, its ticks and their labels |
//! | `points` | the points that can be drawn, and how many of them are |
//! | `theme` | the colours, light and dark |

mod draw;
mod points;
mod scale;
mod theme;

use crate::error::{Error, Result, ensure};

/// Width and height of a chart in pixels, where none are given.
pub const SIZE: (u32, u32) = (760, 400);

/// Curves over one pair of axes.
///
/// ```
/// use chargru::plot::{Axis, Chart, Series};
///
/// # fn main() -> chargru::Result<()> {
/// let chart = Chart {
///     title: "Loss".into(),
///     x: Axis::new("steps"),
///     y: Axis::new("nats per character"),
///     series: vec![
///         Series::new("validation", vec![(100.0, 2.1), (200.0, 1.8)]),
///         Series::new("training", vec![(100.0, 2.4), (200.0, 1.7)]).dashed(),
///     ],
/// };
/// assert!(chart.to_svg()?.starts_with("<svg"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// Stands above the chart; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves, drawn in this order.
    pub series: Vec<Series>,
}

/// One axis of a [`Chart`].
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What it measures, and in which unit.
    pub label: String,
    /// Logarithmic: points that are not above zero are left out.
    pub log: bool,
    /// A linear axis begins at zero, or includes it.
    pub zero: bool,
}

impl Axis {
    /// A linear axis over the range of the points.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The axis with a logarithmic scale.
    #[must_use]
    pub fn log(self) -> Self {
        Self { log: true, ..self }
    }

    /// The axis with zero in its range.
    #[must_use]
    pub fn from_zero(self) -> Self {
        Self { zero: true, ..self }
    }
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// A continuous line.
    #[default]
    Solid,
    /// A line of dashes.
    Dashed,
}

/// One curve of a [`Chart`].
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend. A curve with an empty name has no entry there.
    pub name: String,
    /// (x, y), joined in this order. A point that is infinite or NaN interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// Solid or dashed.
    pub style: Style,
    /// Number of its colour, from 0; after [`COLORS`] they begin again. None: its place among the series.
    pub color: Option<usize>,
}

/// How many colours there are; they are told apart also by readers who see few colours.
pub const COLORS: usize = theme::SERIES.len();

impl Series {
    /// A solid curve in the colour of its place.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, ..Self::default() }
    }

    /// The curve as a line of dashes.
    #[must_use]
    pub fn dashed(self) -> Self {
        Self { style: Style::Dashed, ..self }
    }

    /// The curve in the colour of this number.
    #[must_use]
    pub fn colored(self, color: usize) -> Self {
        Self { color: Some(color), ..self }
    }
}

impl Chart {
    /// The chart as an SVG element of [`SIZE`]: a file of its own, or a part of an HTML page.
    ///
    /// # Errors
    /// [`Error::Setting`] if it cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        self.to_svg_sized(SIZE)
    }

    /// The chart as an SVG element of so many pixels.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width below 240 or above 4,000, a height below 160 or above 4,000, and if the
    /// chart cannot be drawn.
    pub fn to_svg_sized(&self, (width, height): (u32, u32)) -> Result<String> {
        for (name, value, least) in [("width", width, 240), ("height", height, 160)] {
            ensure!(
                (least..=4000).contains(&value),
                Error::out_of_range(name, value, format!("give {least} to 4,000 pixels"))
            );
        }
        draw::svg(self, (width, height))
            .map_err(|error| Error::setting("chart", format!("the chart cannot be drawn: {error}")))
    }

    /// Whether no series has a point that can be drawn.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| {
            !series.points.iter().any(|&point| points::is_drawable(point, (self.x.log, self.y.log)))
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
