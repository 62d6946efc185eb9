//! Text as HTML, numbers as text, for the pages that commands write.

use crate::cli::escape;
use crate::cli::output::grouped;

/// One line of text from anywhere. Control characters, and those that reorder text, are written out.
pub(crate) fn text(text: &str) -> String {
    escaped(&escape::field(text))
}

/// Text of several lines that a model wrote.
pub(crate) fn lines(text: &str) -> String {
    escaped(&escape::text(text))
}

/// `template` after `mark`, its places filled; what is put in is not looked at again.
pub(crate) fn filled(mark: &str, template: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::from(mark);
    let mut rest = template;
    while let Some((at, place, text)) = parts
        .iter()
        .filter_map(|(place, text)| Some((rest.find(place)?, place, text)))
        .min_by_key(|(at, ..)| *at)
    {
        out += &rest[..at];
        out += text;
        rest = &rest[at + place.len()..];
    }
    out + rest
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Nats with four decimals; numbers that no loss has are written short.
pub(crate) fn nats(value: f64) -> String {
    if value.abs() < 1e6 { format!("{value:.4}") } else { format!("{value:.3e}") }
}

pub(crate) fn count(value: u64) -> String {
    grouped(value)
}

/// 45 s, 3 min 5 s, 2 h 10 min.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0 if seconds > 0.0 => format!("{seconds:.2} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", grouped(whole / 3600), whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        let nasty = "<b a='1' c=\"2\">&amp;\u{1b}\n\u{202e}";
        assert_eq!(
            text(nasty),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;\\u{1b}\\n\\u{202e}"
        );
        assert_eq!(lines("a\n\tb\u{0}<"), "a\n\tb\\u{0}&lt;");
    }

    #[test]
    fn times_are_written_in_two_units_at_most() {
        for (seconds, says) in
            [(0.25, "0.25 s"), (44.4, "44 s"), (185.0, "3 min 5 s"), (7800.0, "2 h 10 min")]
        {
            assert_eq!(time(seconds), says);
        }
        assert!(time(f64::INFINITY).ends_with("min") && time(-1.0) == "0 s");
    }
}
