//! What a chart shows. Knows not how it is drawn.

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
    /// Number of its colour, from 0; after [`COLORS`](crate::plot::COLORS) they begin again. None: its place among the series.
    pub color: Option<usize>,
}

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
