//! Line charts as SVG. Knows curves and axes, nothing of what they measure.
//!
//! A chart is light, and dark where the reader's system is (`prefers-color-scheme`), as a file of its own and
//! within a page; printed it is light. A program that knows no style sheets sees the light colours. Several
//! charts in one page do not disturb each other: they have no ids, and the same style sheet.
//!
//! | file | what it owns |
//! |---|---|
//! | `chart` | what a chart shows |
//! | `draw` | where title, axes, curves and legend stand |
//! | `scale` | the range of an axis, its ticks and their labels |
//! | `points` | the points that can be drawn, and how many of them are |
//! | `theme` | the colours, light and dark |

mod chart;
mod draw;
mod points;
mod scale;
mod theme;

pub use chart::{Axis, Chart, Series, Style};
pub use draw::SIZE;
pub use theme::COLORS;

#[cfg(test)]
mod tests;
