//! Where title, axes, curves and legend of a chart stand. Numbers are pixels of the finished chart, drawn at
//! [`SCALE`] times the size: plotters rounds to whole pixels.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Cause, Error, Result, ensure};
use crate::plot::chart::{Axis, Chart, Series, Style};
use crate::plot::points::{is_drawable, lines, thinned};
use crate::plot::scale::{Layout, Scale};
use crate::plot::theme;

/// Width and height of a chart in pixels, where none are given.
pub const SIZE: (u32, u32) = (760, 400);

const SCALE: u32 = 10;

/// Sizes of the letters: title, axes and legend.
const TITLE: u32 = 16;
const LABEL: u32 = 13;
/// Width of a letter as a share of its size: that of a wide font, as nobody knows which one will be there.
const LETTER: f64 = 0.6;
/// Of the line of a curve beside its name.
const KEY: u32 = 22;
const MARGIN: u32 = 12;
const ROW: u32 = 20;
/// Between the axes and the legend, and below it.
const BELOW_AXES: u32 = 12;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

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
        svg(self, (width, height))
            .map_err(|error| Error::setting("chart", format!("the chart cannot be drawn: {error}")))
    }

    /// Whether no series has a point that can be drawn.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| {
            !series.points.iter().any(|&point| is_drawable(point, (self.x.log, self.y.log)))
        })
    }
}

fn svg(chart: &Chart, size: (u32, u32)) -> Result<String, Cause> {
    let (width, height) = size;
    let letters =
        |pixels: u32, size: u32| (f64::from(pixels) / (f64::from(size) * LETTER)) as usize;
    let title = theme::plain(&chart.title, letters(width - 2 * MARGIN, TITLE));
    let mut drawn = String::new();
    {
        let root = SVGBackend::with_string(&mut drawn, (width * SCALE, height * SCALE));
        let root = root.into_drawing_area();
        root.fill(&theme::paper())?;
        let mut top = MARGIN;
        if !title.is_empty() {
            write(&root, &title, (MARGIN, top + TITLE / 2), TITLE, FontStyle::Bold, &theme::ink())?;
            top += TITLE + 10;
        }
        let label = theme::plain(&chart.y.label, letters(width - 2 * MARGIN, LABEL));
        if !label.is_empty() {
            let place = (MARGIN, top + LABEL / 2);
            write(&root, &label, place, LABEL, FontStyle::Normal, &theme::muted())?;
            top += LABEL + 14;
        }
        let entries = legend(chart, width);
        let rows = entries.iter().map(|entry| entry.row + 1).max().unwrap_or(0);
        // However many there are, half of the chart is left.
        let below = (rows * ROW).min(height / 3);
        curves(&root, chart, (top, height - below - if below > 0 { BELOW_AXES } else { 4 }))?;
        for entry in entries.iter().filter(|entry| (entry.row + 1) * ROW <= below) {
            let y = height - below - 6 + entry.row * ROW + ROW / 2;
            let key = [(entry.x, y), (entry.x + KEY, y)].map(scaled);
            root.draw(&PathElement::new(key, line_style(entry.series, entry.number)))?;
            let place = (entry.x + KEY + 6, y);
            write(&root, &entry.name, place, LABEL, FontStyle::Normal, &theme::ink())?;
        }
        root.present()?;
    }
    Ok(theme::finished(&drawn, &title, size, SCALE))
}

fn scaled((x, y): (u32, u32)) -> (i32, i32) {
    ((x * SCALE) as i32, (y * SCALE) as i32)
}

fn font(size: u32, style: FontStyle) -> FontDesc<'static> {
    // plotters makes the letters smaller than the size by this.
    let size = f64::from(size * SCALE) * 1.24;
    FontDesc::new(FontFamily::Name("system-ui, sans-serif"), size, style)
}

/// Text whose left end and middle are at `place`.
fn write(
    area: &Area,
    text: &str,
    place: (u32, u32),
    size: u32,
    style: FontStyle,
    color: &RGBColor,
) -> Result<(), Cause> {
    let style = TextStyle::from(font(size, style)).color(color);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(text.to_string(), scaled(place), style))?;
    Ok(())
}

/// A name of the legend and its place.
struct Entry<'a> {
    series: &'a Series,
    number: usize,
    name: String,
    x: u32,
    row: u32,
}

/// The names of the series in rows, from left to right.
fn legend(chart: &Chart, width: u32) -> Vec<Entry<'_>> {
    let (mut x, mut row) = (MARGIN, 0);
    let mut entries = Vec::new();
    for (number, series) in chart.series.iter().enumerate().filter(|(_, s)| !s.name.is_empty()) {
        let letter = f64::from(LABEL) * LETTER;
        let most = (f64::from(width - 2 * MARGIN - KEY - 6) / letter) as usize;
        let name = theme::plain(&series.name, most.min(60));
        let wide = KEY + 6 + (name.chars().count() as f64 * letter).ceil() as u32;
        if x > MARGIN && x + wide > width - MARGIN {
            (x, row) = (MARGIN, row + 1);
        }
        entries.push(Entry { series, number, name, x, row });
        x += wide + 14;
    }
    entries
}

fn color(series: &Series, number: usize) -> usize {
    series.color.unwrap_or(number)
}

fn line_style(series: &Series, number: usize) -> ShapeStyle {
    let color = theme::series(color(series, number), series.style == Style::Dashed);
    color.stroke_width(2 * SCALE)
}

/// The axis over the points of all series; `of` takes one coordinate of a point.
fn scale(chart: &Chart, axis: &Axis, layout: Layout, of: fn((f64, f64)) -> f64) -> Scale {
    let log = (chart.x.log, chart.y.log);
    let all = chart.series.iter().flat_map(|series| series.points.iter().copied());
    let layout = Layout { log: axis.log, zero: axis.zero, ..layout };
    Scale::new(all.filter(|&point| is_drawable(point, log)).map(of), layout)
}

/// Axes, grid and curves between two heights.
fn curves(root: &Area, chart: &Chart, (top, bottom): (u32, u32)) -> Result<(), Cause> {
    let width = root.dim_in_pixel().0 / SCALE;
    let height = bottom.saturating_sub(top);
    let layout = |rounded, ticks| Layout { log: false, zero: false, rounded, ticks };
    let y = scale(chart, &chart.y, layout(true, (height / 40).clamp(2, 10) as usize), |p| p.1);
    let x_ticks = (width / 100).clamp(2, 10) as usize;
    let x = scale(chart, &chart.x, layout(false, x_ticks), |point| point.0);

    let letter = f64::from(LABEL) * LETTER;
    let beside = (y.label_length() as f64 * letter).ceil() as u32 + 8;
    // Half of the last label stands beyond the end of its axis.
    let right = ((x.label_length() as f64 * letter / 2.0).ceil() as u32).max(MARGIN);
    let most = ((f64::from(width - 2 * MARGIN)) / letter) as usize;
    let label = theme::plain(&chart.x.label, most);
    let below = LABEL + 9 + if label.is_empty() { 0 } else { LABEL + 7 };
    let (area, _) = root.split_vertically(bottom * SCALE);
    let mut context = ChartBuilder::on(&area)
        .margin_top(top * SCALE)
        .margin_left((MARGIN - 4) * SCALE)
        .margin_right(right * SCALE)
        .set_label_area_size(LabelAreaPosition::Left, beside * SCALE)
        .set_label_area_size(LabelAreaPosition::Bottom, below * SCALE)
        .build_cartesian_2d(x.clone(), y)?;
    let muted = theme::muted();
    let labels = TextStyle::from(font(LABEL, FontStyle::Normal)).color(&muted);
    context
        .configure_mesh()
        .bold_line_style(theme::grid().stroke_width(SCALE))
        .light_line_style(TRANSPARENT)
        .axis_style(theme::muted().stroke_width(SCALE))
        .set_all_tick_mark_size(4 * SCALE)
        .x_desc(label)
        .x_label_style(labels.clone())
        .y_label_style(labels.clone())
        .axis_desc_style(labels.clone())
        .draw()?;

    let log = (chart.x.log, chart.y.log);
    let columns = context.plotting_area().dim_in_pixel().0 / SCALE;
    for (number, series) in chart.series.iter().enumerate() {
        let style = line_style(series, number);
        for line in lines(&series.points, log) {
            match line {
                &[point] => {
                    let dot = theme::series(color(series, number), false).filled();
                    context.draw_series([Circle::new(point, 3 * SCALE, dot)])?;
                }
                line => {
                    let place = |x_value| x.share(x_value) * f64::from(columns);
                    let line = thinned(line, columns as usize, place);
                    context.draw_series([PathElement::new(line, style)])?;
                }
            }
        }
    }
    if chart.is_empty() {
        let (left, high) = context.plotting_area().get_base_pixel();
        let (wide, tall) = context.plotting_area().dim_in_pixel();
        let middle = (left + wide as i32 / 2, high + tall as i32 / 2);
        let style = labels.pos(Pos::new(HPos::Center, VPos::Center));
        root.draw(&Text::new("no points to draw", middle, style))?;
    }
    Ok(())
}
