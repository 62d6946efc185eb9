//! What a reader sees at each character of a text, computed from the text alone. Knows nothing of networks.

/// One thing that can be said of every character: whether it holds, or a count.
pub struct Feature {
    /// One lower-case word, as JSON has it.
    pub name: &'static str,
    /// In words.
    pub label: &'static str,
    /// Whether `values` are 0 and 1.
    pub is_binary: bool,
    /// One for each character.
    pub values: Vec<f32>,
}

impl Feature {
    fn binary(name: &'static str, label: &'static str, holds: Vec<bool>) -> Self {
        let values = holds.into_iter().map(|holds| f32::from(u8::from(holds))).collect();
        Self { name, label, is_binary: true, values }
    }

    fn count(name: &'static str, label: &'static str, values: Vec<f32>) -> Self {
        Self { name, label, is_binary: false, values }
    }

    fn of_chars(
        name: &'static str,
        label: &'static str,
        text: &[char],
        holds: impl Fn(char) -> bool,
    ) -> Self {
        Self::binary(name, label, text.iter().map(|&c| holds(c)).collect())
    }
}

/// Every feature of a text, one value for each of its characters.
///
/// Quotation marks, brackets and speakers are found by rules that fit most texts: straight quotation marks
/// open and close in turns; all that is open closes at an empty line.
pub fn features(text: &str) -> Vec<Feature> {
    let text: Vec<char> = text.chars().collect();
    let lines = Lines::new(&text);
    let is_vowel = |c: char| "aeiouyáàâäãåéèêëíìîïóòôöõúùûüýæœø".contains(lower(c));
    let ends_sentence = |c: char| matches!(c, '.' | '!' | '?' | '…');
    let starts_word = (0..text.len())
        .map(|at| text[at].is_alphabetic() && !(at > 0 && is_of_word(text[at - 1])))
        .collect();
    let since = |begins: &dyn Fn(usize) -> bool| -> Vec<f32> {
        let mut count = 0;
        let next = |at| {
            count = if begins(at) { 0 } else { count + 1 };
            count as f32
        };
        (0..text.len()).map(next).collect()
    };
    vec![
        Feature::binary("quotes", "inside quotation marks", inside_quotes(&text)),
        Feature::binary("brackets", "inside brackets", inside_brackets(&text)),
        Feature::binary("speaker", "in a speaker's name", lines.speakers(&text)),
        Feature::binary("comment", "in a comment", lines.comments(&text)),
        Feature::of_chars("capital", "a capital letter", &text, char::is_uppercase),
        Feature::binary("word_start", "first letter of a word", starts_word),
        Feature::of_chars("vowel", "a vowel", &text, is_vowel),
        Feature::of_chars("digit", "a digit", &text, char::is_numeric),
        Feature::of_chars("space", "a space", &text, |c| c == ' '),
        Feature::of_chars("line_end", "end of the line", &text, |c| c == '\n'),
        Feature::of_chars("sentence_end", "end of a sentence (. ! ?)", &text, ends_sentence),
        Feature::of_chars("comma", "a comma", &text, |c| c == ','),
        Feature::count(
            "line_place",
            "characters since the line began",
            since(&|at| text[at] == '\n'),
        ),
        Feature::count(
            "word_place",
            "letters since the word began",
            since(&|at| !is_of_word(text[at])),
        ),
        Feature::count(
            "sentence_place",
            "characters since the sentence ended",
            since(&|at| ends_sentence(text[at]) || lines.is_empty_line(at)),
        ),
        Feature::count("paragraph_line", "lines since an empty one", lines.since_empty()),
        Feature::count("indentation", "indentation of the line", lines.indentation(&text)),
    ]
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\'' | '’')
}

/// From an opening mark to the character before the closing one.
fn inside_quotes(text: &[char]) -> Vec<bool> {
    let mut closes = None;
    let mut all = Vec::with_capacity(text.len());
    for (at, &c) in text.iter().enumerate() {
        match (c, closes) {
            (c, Some(end)) if c == end => closes = None,
            ('"', None) => closes = Some('"'),
            ('“' | '„', None) => closes = Some('”'),
            ('«', None) => closes = Some('»'),
            ('“', Some('”')) if at > 0 && !text[at - 1].is_whitespace() => closes = None,
            ('\n', _) if at > 0 && text[at - 1] == '\n' => closes = None,
            _ => {}
        }
        all.push(closes.is_some());
    }
    all
}

/// From an opening bracket, round or square, to the character before the closing one.
fn inside_brackets(text: &[char]) -> Vec<bool> {
    let mut depth = 0usize;
    let mut all = Vec::with_capacity(text.len());
    for (at, &c) in text.iter().enumerate() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '\n' if at > 0 && text[at - 1] == '\n' => depth = 0,
            _ => {}
        }
        all.push(depth > 0);
    }
    all
}

/// Where the lines of a text begin and end.
struct Lines {
    /// From its first character to its newline, which is of the line; together all characters.
    lines: Vec<std::ops::Range<usize>>,
    /// Whether the line of a character has nothing but its newline.
    is_empty: Vec<bool>,
}

impl Lines {
    fn new(text: &[char]) -> Self {
        let mut lines = Vec::new();
        let mut is_empty = vec![false; text.len()];
        let mut start = 0;
        for line in text.split_inclusive(|&c| c == '\n') {
            let range = start..start + line.len();
            is_empty[range.clone()].fill(line == ['\n']);
            start = range.end;
            lines.push(range);
        }
        Self { lines, is_empty }
    }

    fn is_empty_line(&self, at: usize) -> bool {
        self.is_empty[at]
    }

    /// For each line how many of its characters, from where, have the feature.
    fn parts(
        &self,
        text: &[char],
        part: impl Fn(&[char]) -> Option<std::ops::Range<usize>>,
    ) -> Vec<bool> {
        let mut all = vec![false; text.len()];
        for line in &self.lines {
            if let Some(part) = part(&text[line.clone()]) {
                all[line.start + part.start..line.start + part.end].fill(true);
            }
        }
        all
    }

    /// `MAREN:`, `Old Tobit:` at the begin of a line: up to three words with capitals, to the colon.
    fn speakers(&self, text: &[char]) -> Vec<bool> {
        self.parts(text, |line| {
            let colon = line.iter().take(40).position(|&c| c == ':')?;
            let name: String = line[..colon].iter().collect();
            let words: Vec<&str> = name.split(' ').collect();
            let is_name = |word: &&str| {
                word.starts_with(char::is_uppercase)
                    && word.chars().all(|c| c.is_alphabetic() || "'’-.".contains(c))
            };
            let follows = line.get(colon + 1).is_none_or(|c| c.is_whitespace());
            (words.len() <= 4 && follows && words.iter().all(is_name)).then_some(0..colon + 1)
        })
    }

    /// From `//` that begins the line or follows a space, or `#` that begins it, to its end.
    fn comments(&self, text: &[char]) -> Vec<bool> {
        self.parts(text, |line| {
            let slashes = (0..line.len().saturating_sub(1)).find(|&at| {
                line[at..].starts_with(&['/', '/']) && (at == 0 || line[at - 1].is_whitespace())
            });
            let first = line.iter().position(|c| !c.is_whitespace());
            let hash = first.filter(|&at| line[at] == '#');
            Some(slashes.or(hash)?..line.iter().position(|&c| c == '\n').unwrap_or(line.len()))
        })
    }

    fn since_empty(&self) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.is_empty.len());
        let mut count = 0;
        for line in &self.lines {
            count = if self.is_empty[line.start] { 0 } else { count + 1 };
            all.extend(line.clone().map(|_| count as f32));
        }
        all
    }

    /// Spaces, and tabs as four, before the first other character of the line.
    fn indentation(&self, text: &[char]) -> Vec<f32> {
        let mut all = Vec::with_capacity(text.len());
        for line in &self.lines {
            let blank = text[line.clone()].iter().take_while(|&&c| matches!(c, ' ' | '\t'));
            let width: usize = blank.map(|&c| if c == '\t' { 4 } else { 1 }).sum();
            all.extend(line.clone().map(|_| width as f32));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The feature's values as digits.
    fn digits(text: &str, name: &str) -> String {
        let all = features(text);
        let feature = all.iter().find(|feature| feature.name == name).expect("a feature");
        feature.values.iter().map(|value| value.to_string()).collect()
    }

    #[test]
    fn what_holds_is_marked_and_nothing_else() {
        for (name, text, marks) in [
            ("quotes", r#"a "bc" d"#, "00111000"),
            ("quotes", "“ab” «c» „d“", "111001100110"),
            ("quotes", "\"a\n\nb", "11100"),
            ("brackets", "a (b [c] d) e", "0011111111000"),
            ("brackets", ")a(\n\nb", "001100"),
            ("speaker", "MAREN:\nNow: go", "11111101111000"),
            ("speaker", "OLD TOBIT:\nas: b", "1111111111000000"),
            ("speaker", "It was so: then", "000000000000000"),
            ("speaker", "A:b", "000"),
            ("comment", "x // y\n# z\n", "00111101110"),
            ("comment", "a://b", "00000"),
            ("capital", "aBÉ1", "0110"),
            ("word_start", "it's a 2b", "100001000"),
            ("vowel", "Abe é", "10101"),
            ("digit", "a1٣", "011"),
            ("space", "a b\n", "0100"),
            ("line_end", "a\n", "01"),
            ("sentence_end", "a. b?!", "010011"),
            ("comma", "a,", "01"),
            ("line_place", "abc\nd\n\ne", "12301001"),
            ("word_place", "ab cd'e", "1201234"),
            ("sentence_place", "a. bc\n\nd", "10123401"),
            ("paragraph_line", "a\nb\n\nc", "112201"),
            ("indentation", "a\n  b\n\tc", "00222244"),
        ] {
            let found = digits(text, name);
            assert_eq!(found, marks, "{name} of {text:?}");
        }
    }

    #[test]
    fn any_text_has_a_value_for_each_character() {
        for text in ["", "\n", "\n\n", ":", "\"", "a", "//", "((((", "é\u{301}\r\n\t"] {
            for feature in features(text) {
                assert_eq!(feature.values.len(), text.chars().count(), "{} {text:?}", feature.name);
                assert!(feature.values.iter().all(|value| *value >= 0.0));
            }
        }
    }
}
