//! A text with gaps as it is written: which of its characters are gaps. Knows nothing of ids.

use crate::error::{Error, Result, ensure};
use crate::fill::options::{FillOptions, LONGEST_GAP, OPEN};

/// A part of a text with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// What is known; not empty.
    Text(String),
    /// So many characters are missing.
    Gap { least: usize, most: usize },
}

/// The parts of `text` in their order; no two gaps touch.
///
/// # Errors
/// [`Error::Text`] for an empty text, one without a gap, or with a gap above the longest.
pub(super) fn parse(text: &str, options: &FillOptions) -> Result<Vec<Piece>> {
    ensure!(!text.is_empty(), Error::Text("the text is empty: there is nothing to fill".into()));
    let mut pieces: Vec<Piece> = Vec::new();
    for (at, character) in text.chars().enumerate() {
        let open = options.max_gap > 0 && character == OPEN;
        if !open && character != options.gap {
            match pieces.last_mut() {
                Some(Piece::Text(known)) => known.push(character),
                _ => pieces.push(Piece::Text(character.into())),
            }
            continue;
        }
        if !matches!(pieces.last(), Some(Piece::Gap { .. })) {
            pieces.push(Piece::Gap { least: 0, most: 0 });
        }
        if let Some(Piece::Gap { least, most }) = pieces.last_mut() {
            let is_open = *most > *least;
            if !open {
                (*least, *most) = (*least + 1, *most + 1);
            } else if !is_open {
                *most += options.max_gap;
            }
            ensure!(*most <= LONGEST_GAP, too_long(at, *least, *most, options));
        }
    }
    ensure!(pieces.iter().any(|piece| matches!(piece, Piece::Gap { .. })), no_gap(options));
    Ok(pieces)
}

fn too_long(at: usize, least: usize, most: usize, options: &FillOptions) -> Error {
    let remedy = if most > least { "lower `max_gap`, or leave less out" } else { "leave less out" };
    Error::Text(format!(
        "the gap that goes on at character {} of the text has {most} or more '{}', but at most \
         {LONGEST_GAP} characters can be filled at once: {remedy}",
        at + 1,
        options.gap
    ))
}

fn no_gap(options: &FillOptions) -> Error {
    let open = match options.max_gap {
        0 => String::new(),
        most => format!(", or '{OPEN}' for up to {most}"),
    };
    Error::Text(format!(
        "the text has no gap: write '{}' for each missing character{open} (`gap` chooses another \
         character)",
        options.gap
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Piece> {
        parse(text, &FillOptions { max_gap: 9, ..FillOptions::default() }).unwrap()
    }

    fn known(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn gap(least: usize, most: usize) -> Piece {
        Piece::Gap { least, most }
    }

    #[test]
    fn gaps_are_told_from_text() {
        assert_eq!(parsed("a__b\n_"), [known("a"), gap(2, 2), known("b\n"), gap(1, 1)]);
        assert_eq!(parsed("*é*"), [gap(0, 9), known("é"), gap(0, 9)]);
        assert_eq!(parsed("_"), [gap(1, 1)]);
    }

    #[test]
    fn gap_characters_that_touch_are_one_gap() {
        assert_eq!(parsed("_*"), [gap(1, 10)]);
        assert_eq!(parsed("*__"), [gap(2, 11)]);
        assert_eq!(parsed("**a"), [gap(0, 9), known("a")]);
    }

    #[test]
    fn another_gap_character_makes_the_usual_one_text() {
        let options = FillOptions { gap: '#', max_gap: 0, ..FillOptions::default() };
        assert_eq!(parse("_#*", &options).unwrap(), [known("_"), gap(1, 1), known("*")]);
    }

    #[test]
    fn what_cannot_be_filled_is_an_error_with_a_remedy() {
        let error = |text: &str, max_gap| {
            let options = FillOptions { max_gap, ..FillOptions::default() };
            parse(text, &options).unwrap_err().to_string()
        };
        assert!(error("", 9).contains("empty"));
        assert!(
            error("a", 9)
                .contains("has no gap: write '_' for each missing character, or '*' for up to 9")
        );
        assert!(error("a*", 0).contains("character (`gap`"));
        let long = format!("ab{}", "_".repeat(LONGEST_GAP + 1));
        assert!(
            error(&long, 9).contains(&format!("character {} of the text has 65", LONGEST_GAP + 3))
        );
        assert!(error(&format!("{}*", "_".repeat(60)), 9).contains("lower `max_gap`"));
    }
}
