//! Decides which characters get an id. Knows nothing of the order of ids, nor of files.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ensure, readable};
use crate::text::units::{Documents, Units};

/// How a vocabulary is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VocabularyOptions {
    /// What one id stands for.
    pub units: Units,
    /// Most ids of a vocabulary of characters, the ids for unknown characters and for the end of a
    /// document included. A vocabulary of bytes always has 256, and one for the end of a document.
    pub max_vocab: usize,
    /// How the corpus is divided into documents. Anything but [`Documents::Off`] adds an end-of-document
    /// id; with [`Documents::Lines`] the newline gets no id.
    pub documents: Documents,
}

impl Default for VocabularyOptions {
    fn default() -> Self {
        Self {
            units: Units::Chars,
            // Covers the common Chinese characters; a larger readout is slow on a CPU.
            max_vocab: 8192,
            documents: Documents::Off,
        }
    }
}

/// What building a vocabulary found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VocabularyReport {
    /// Distinct characters of the text.
    pub distinct: usize,
    /// How many of them are too rare for `max_vocab` and share the unknown id.
    pub dropped_kinds: usize,
    /// How often those occur in the text.
    pub dropped_occurrences: u64,
}

/// How often each character occurs, indexed by code point.
struct Counts(Vec<u64>);

impl Counts {
    fn of(text: &str, documents: Documents) -> Self {
        let mut counts = vec![0u64; 128];
        for character in text.chars() {
            let code_point = character as usize;
            if code_point >= counts.len() {
                counts.resize((code_point + 1).next_power_of_two(), 0);
            }
            counts[code_point] += 1;
        }
        if documents == Documents::Lines {
            counts['\n' as usize] = 0;
        }
        Self(counts)
    }

    /// The characters that occur, by code point, each with its count.
    fn occurring(&self) -> Vec<(char, u64)> {
        let counted = (0u32..).zip(&self.0).filter(|&(_, &count)| count > 0);
        counted.filter_map(|(code, &count)| Some((char::from_u32(code)?, count))).collect()
    }
}

/// The distinct characters of `text` in code-point order.
pub(super) fn distinct(text: &str, documents: Documents) -> Vec<char> {
    let occurring = Counts::of(text, documents).occurring();
    occurring.into_iter().map(|(character, _)| character).collect()
}

/// The characters that get an id of their own, by code point: all, or if `max_vocab` has no room for
/// all, the most frequent. Of equally frequent ones the lower code point comes first.
///
/// # Errors
/// [`Error::Text`] for fewer than two distinct characters; [`Error::Setting`] for a `max_vocab` without
/// room for two.
pub(super) fn choose(
    text: &str,
    options: &VocabularyOptions,
) -> Result<(Vec<char>, VocabularyReport)> {
    let mut counted = Counts::of(text, options.documents).occurring();
    let mut report = VocabularyReport { distinct: counted.len(), ..Default::default() };
    ensure!(
        !counted.is_empty(), Error::Text("the corpus has 0 characters to learn from: give a text with at least two distinct ones".into()));
    if let [(only, count)] = counted[..] {
        return Err(Error::Text(format!(
            "the corpus has one distinct character ({}, {count} times), so there is nothing to \
             learn: give a text with at least two",
            readable(only)
        )));
    }
    let ends = usize::from(options.documents != Documents::Off);
    if options.units == Units::Chars && counted.len() + ends > options.max_vocab {
        let own = options.max_vocab.saturating_sub(ends + 1);
        ensure!(
            own >= 2,
            Error::setting(
                "max_vocab",
                format!(
                    "`max_vocab` {} leaves {own} characters beside the special ids, but two are the \
             fewest: use at least `max_vocab` {}",
                    options.max_vocab,
                    ends + 3
                )
            )
        );
        counted.sort_by_key(|&(character, count)| (std::cmp::Reverse(count), character));
        let dropped = counted.split_off(own);
        report.dropped_kinds = dropped.len();
        report.dropped_occurrences = dropped.iter().map(|&(_, count)| count).sum();
        counted.sort_unstable();
    }
    Ok((counted.into_iter().map(|(character, _)| character).collect(), report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(max_vocab: usize, documents: Documents) -> VocabularyOptions {
        VocabularyOptions { units: Units::Chars, max_vocab, documents }
    }

    fn chosen(text: &str, options: &VocabularyOptions) -> (String, VocabularyReport) {
        let (characters, report) = choose(text, options).unwrap();
        (characters.into_iter().collect(), report)
    }

    #[test]
    fn order_is_by_code_point_not_by_first_appearance() {
        let (characters, report) = chosen("zé\na😀bz", &VocabularyOptions::default());
        assert_eq!(characters, "\nabzé😀");
        assert_eq!(report, VocabularyReport { distinct: 6, ..Default::default() });
    }

    #[test]
    fn the_rarest_are_dropped_and_ties_keep_the_lower_code_point() {
        // c: 3, d: 2, a, b, e: 1 each. Room for four ids: three characters and the unknown id.
        let (characters, report) = chosen("cdaecdbc", &options(4, Documents::Off));
        assert_eq!(characters, "acd");
        assert_eq!((report.dropped_kinds, report.dropped_occurrences), (2, 2));
        assert_eq!(chosen("cdaecdbc", &options(5, Documents::Off)).0, "abcde");
        assert_eq!(chosen("cdaecdbc", &options(5, Documents::Files)).0, "acd");
    }

    #[test]
    fn lines_have_no_newline_in_their_vocabulary() {
        assert_eq!(chosen("b\na\n", &options(9, Documents::Lines)).0, "ab");
        assert_eq!(chosen("b\na\n", &options(9, Documents::Files)).0, "\nab");
    }

    #[test]
    fn too_little_to_learn_from_is_an_error_with_a_remedy() {
        let error = |text, options| choose(text, &options).unwrap_err().to_string();
        assert!(error("", VocabularyOptions::default()).contains("0 characters"));
        assert!(error("\n\n", options(9, Documents::Lines)).contains("0 characters"));
        let one = error("aaa", VocabularyOptions::default());
        assert!(one.contains("one distinct character ('a' U+0061, 3 times)"), "{one}");
        let bytes = VocabularyOptions { units: Units::Bytes, ..Default::default() };
        assert!(error("aaa", bytes).contains("one distinct character"));
        assert!(error("abc", options(2, Documents::Off)).contains("at least `max_vocab` 3"));
        assert_eq!(chosen("abc", &options(3, Documents::Off)).0, "abc");
    }
}
