//! Tells a list of short entries, such as names, from a text whose lines follow each other.

use std::collections::HashSet;

/// Lines that are looked at: the first so many.
const LINES: usize = 10_000;
/// Fewer lines are no list that anything could be learnt from.
const AT_LEAST: usize = 50;
/// Characters of a long line.
const LONG: usize = 32;

/// Whether `text` is a list: at least 50 lines, none empty, one in 50 at most longer than 32 characters or
/// indented, one in ten at most a repetition, and one in 20 at most with punctuation of a sentence or of code at
/// its end.
///
/// Verse has empty lines and commas at the ends of lines, code is indented, tables and sequences of letters have
/// longer lines.
pub fn is_list(text: &str) -> bool {
    let (mut count, mut long, mut ended) = (0, 0, 0);
    let mut distinct = HashSet::new();
    for line in text.lines().take(LINES) {
        let Some(last) = line.trim_end().chars().next_back() else {
            return false;
        };
        count += 1;
        let is_long = line.chars().nth(LONG).is_some();
        long += usize::from(is_long || line.starts_with([' ', '\t']));
        ended += usize::from(matches!(last, ',' | ';' | ':' | '!' | '?' | '{' | '}' | '(' | ')'));
        // "St." and "Jr." end names too.
        ended += usize::from(last == '.' && line.len() > 5);
        distinct.insert(line);
    }
    count >= AT_LEAST
        && 50 * long <= count
        && 20 * ended <= count
        && 10 * distinct.len() >= 9 * count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(line: impl Fn(usize) -> String) -> String {
        (0..200).map(|i| line(i) + "\n").collect()
    }

    #[test]
    fn names_are_a_list_and_prose_verse_and_code_are_not() {
        assert!(is_list(include_str!("../../corpus/place-names.txt")));
        assert!(is_list(&lines(|i| format!("Ada{i}"))));
        assert!(is_list(&lines(|i| format!("C{i}=O"))));
        assert!(!is_list(include_str!("../../corpus/lantern-coast.txt")));
        assert!(!is_list(include_str!("list.rs")));
        let verse = |i| format!("the tide {i} is out{}", if i % 3 == 0 { "," } else { "" });
        assert!(!is_list(&lines(verse)));
        assert!(!is_list(&lines(|i| format!("    let x{i} = y"))));
        assert!(!is_list(&lines(|i| format!("{i} {}", "ACGT".repeat(15)))));
        assert!(!is_list(&lines(|i| format!("word {}", i % 20))));
        assert!(!is_list(&"Ada\nBo\n".repeat(20)));
        assert!(!is_list(""));
        assert!(!is_list("\n\n\n"));
    }
}
