//! The colours, light and dark.
//!
//! plotters writes colours into the elements. They stay there, for readers that know no style sheets, and each
//! coloured element gets a class, whose colour is another where the reader's system is dark. A dashed line is
//! drawn in a colour that differs by one, since plotters has no dashes but as many short lines.

use plotters::style::RGBColor;

/// Light and dark colour of each series: those of Okabe and Ito, which readers tell apart who see few colours,
/// darker on white and lighter on black where the contrast needs it.
const SERIES: [(u32, u32); 8] = [
    (0x00_66A8, 0x5A_B4F0),
    (0xD0_5300, 0xFF_8A4C),
    (0x00_8A63, 0x2F_C79A),
    (0xB8_5C92, 0xE8_9CC6),
    (0xB0_7A00, 0xF0_B840),
    (0x2A_94CC, 0x9A_D4F8),
    (0x6B_4FA0, 0xB7_A0F0),
    (0x60_6060, 0xB8_B8B8),
];

/// How many colours there are for series; they are told apart also by readers who see few colours.
pub const COLORS: usize = SERIES.len();

/// Everything else, by class: letter, light, dark.
const INK: (&str, u32, u32) = ("i", 0x1F_2328, 0xE4_E6EA);
const MUTED: (&str, u32, u32) = ("m", 0x5A_616B, 0xA4_ABB6);
const GRID: (&str, u32, u32) = ("g", 0xE3_E6EA, 0x33_383F);
const PAPER: (&str, u32, u32) = ("p", 0xFF_FFFE, 0x15_181C);

pub(super) const CLASS: &str = "chargru-plot";

fn rgb(color: u32) -> RGBColor {
    let [_, r, g, b] = color.to_be_bytes();
    RGBColor(r, g, b)
}

pub(super) fn series(number: usize, is_dashed: bool) -> RGBColor {
    rgb(SERIES[number % SERIES.len()].0 + u32::from(is_dashed))
}

/// The text that matters most.
pub(super) fn ink() -> RGBColor {
    rgb(INK.1)
}

/// Labels and axes.
pub(super) fn muted() -> RGBColor {
    rgb(MUTED.1)
}

pub(super) fn grid() -> RGBColor {
    rgb(GRID.1)
}

/// The ground. Not quite white, so that no other element has it.
pub(super) fn paper() -> RGBColor {
    rgb(PAPER.1)
}

/// Light colour, class, dark colour, and whether it marks a dashed line.
fn classes() -> impl Iterator<Item = (u32, String, u32, bool)> {
    let named =
        [INK, MUTED, GRID, PAPER].map(|(name, light, dark)| (light, name.into(), dark, false));
    let series = SERIES.into_iter().enumerate().flat_map(|(number, (light, dark))| {
        [false, true]
            .map(|is_dashed| (light + u32::from(is_dashed), format!("s{number}"), dark, is_dashed))
    });
    named.into_iter().chain(series)
}

fn style_sheet() -> String {
    let mut sheet = String::from("<style>@media screen and (prefers-color-scheme:dark){");
    for (_, class, dark, is_dashed) in classes() {
        if !is_dashed {
            for (prefix, property) in [("l", "stroke"), ("f", "fill")] {
                sheet += &format!(".{CLASS} .{prefix}{class}{{{property}:#{dark:06x}}}");
            }
        }
    }
    sheet + "}</style>\n"
}

/// What plotters drew at `scale` times the size, as a chart of this size with classes and a style sheet.
pub(super) fn finished(drawn: &str, title: &str, size: (u32, u32), scale: u32) -> String {
    let (width, height) = size;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{CLASS}\" role=\"img\" \
         aria-label=\"{}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\">\n{}",
        escaped(title),
        width * scale,
        height * scale,
        style_sheet()
    );
    let body = drawn.split_once('>').map_or("", |(_, body)| body);
    // Text holds no `<` and no `>`: plotters escapes them.
    for part in body.trim_start().split_inclusive('>') {
        let (text, tag) = part.split_at(part.find('<').unwrap_or(part.len()));
        out += text;
        out += &with_class(tag, scale);
    }
    out
}

/// A tag, with a class for its colour.
fn with_class(tag: &str, scale: u32) -> String {
    for (light, class, _, is_dashed) in classes() {
        for (prefix, property) in [("l", "stroke"), ("f", "fill")] {
            let color = format!("{property}=\"#{light:06X}\"");
            if tag.contains(&color) {
                let mut with = format!("class=\"{prefix}{class}\" {color}");
                if is_dashed {
                    let (dash, gap) = (5 * scale, 4 * scale);
                    with += &format!(" stroke-dasharray=\"{dash} {gap}\"");
                }
                if tag.starts_with("<polyline") {
                    with += " stroke-linejoin=\"round\"";
                }
                return tag.replacen(&color, &with, 1);
            }
        }
    }
    tag.to_string()
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// `text` as XML may hold it and a line can show it: control characters, and those that reorder the text, are
/// replaced; what is longer than `most` characters is cut.
pub(super) fn plain(text: &str, most: usize) -> String {
    let is_wrong = |c: char| {
        c.is_control() || crate::error::reorders(c) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let shown = |c| if is_wrong(c) { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(most).map(shown).collect();
    if text.chars().nth(most).is_some() {
        out.pop();
        out.push('…');
    }
    out
}
