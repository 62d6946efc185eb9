//! Shows text that comes from a file, so that it cannot command the terminal it is shown on.

use std::borrow::Cow;

use crate::error::reorders;

/// For a part of a line: control characters, and those that reorder the text around them, are written
/// as `\u{1b}`.
pub(crate) fn field(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() || reorders(c))
}

/// For lines: as [`field`], but newlines and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !is_layout(c) && (c.is_control() || reorders(c)))
}

/// For a text that a model wrote: only control characters are escaped, because marks of direction
/// belong to some scripts. Newlines and tabs stay.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !is_layout(c) && c.is_control())
}

/// For JSON, of which only strings hold such characters. Those above U+007E serde leaves as they are.
pub(crate) fn json(json: &str) -> Cow<'_, str> {
    let wanted = |c: char| c.is_control() && c > '\u{7e}';
    if !json.contains(wanted) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if wanted(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out.into()
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

fn escaped(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wanted(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        let nasty = "a\u{1b}[31m\r\n\t\u{7f}\u{9b}\u{202e}é\u{200f}";
        let shown = r"a\u{1b}[31m\r\n\t\u{7f}\u{9b}\u{202e}é\u{200f}";
        assert_eq!(field(nasty), shown);
        assert_eq!(lines(nasty), shown.replace(r"\n\t", "\n\t"));
        assert_eq!(text(nasty), "a\\u{1b}[31m\\r\n\t\\u{7f}\\u{9b}\u{202e}é\u{200f}");
        assert!(matches!(field("plain é"), Cow::Borrowed("plain é")));
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"name": "a\u{1b}\u{7f}\u{9b}é\"\n"});
        let shown = value.to_string();
        let shown = json(&shown);
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
