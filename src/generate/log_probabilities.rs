//! Log-probabilities of a text's ids as programs exchange them.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::generate::request::Token;
use crate::generate::utf8::Utf8Stream;
use crate::text::{END_OF_DOCUMENT, Tokenizer, name_of_byte};

/// The ids of a text and their log-probabilities, in the columns of OpenAI's completions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogProbabilities {
    /// What each id stands for: a character, `bytes:\xe2` for a byte that is none alone, `<eod>` for the end of a
    /// document.
    pub tokens: Vec<String>,
    /// In nats, in JSON with five decimals; None where nothing precedes.
    #[serde(serialize_with = "rounded_all")]
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest in the place of each, and itself. None where no alternatives were asked for.
    pub top_logprobs: Option<Vec<Option<Alternatives>>>,
    /// Where the character of each begins, in characters.
    pub text_offset: Vec<usize>,
    /// Where the text after the last goes on.
    #[serde(skip)]
    pub end: usize,
}

/// Ids that were possible, the likeliest first, and their log-probabilities. In JSON an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternatives(pub Vec<(String, f32)>);

impl Serialize for Alternatives {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (text, log_probability) in &self.0 {
            map.serialize_entry(text, &rounded(*log_probability))?;
        }
        map.end()
    }
}

fn rounded_all<S: Serializer>(all: &[Option<f32>], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(all.len()))?;
    for log_probability in all {
        list.serialize_element(&log_probability.map(rounded))?;
    }
    list.end()
}

/// With five decimals: more are rounding of the network's sums.
fn rounded(log_probability: f32) -> f64 {
    (f64::from(log_probability) * 1e5).round() / 1e5
}

impl LogProbabilities {
    /// Those of `tokens`, the first of which begins after `offset` characters. `alternatives` says whether
    /// more than 0 were asked for.
    pub fn new(tokens: &[Token], tokenizer: &Tokenizer, offset: usize, alternatives: bool) -> Self {
        let mut columns = Self { top_logprobs: alternatives.then(Vec::new), ..Self::default() };
        let (mut utf8, mut text) = (Utf8Stream::default(), String::new());
        columns.end = offset;
        for token in tokens {
            columns.tokens.push(text_of(token.id, tokenizer));
            columns.token_logprobs.push(token.log_probability);
            utf8.push(tokenizer.bytes_of(token.id), &mut text);
            columns.end += text.chars().count();
            // Its character is the one that it begins or goes on with, else the last that is complete.
            let begins = utf8.is_incomplete() || text.is_empty();
            columns.text_offset.push(columns.end - usize::from(!begins));
            text.clear();
            if let Some(top) = &mut columns.top_logprobs {
                top.push(alternatives_of(token, tokenizer));
            }
        }
        utf8.finish(&mut text);
        columns.end += text.chars().count();
        columns
    }

    /// Adds the columns of what follows.
    pub fn append(&mut self, mut other: Self) {
        self.tokens.append(&mut other.tokens);
        self.token_logprobs.append(&mut other.token_logprobs);
        if let (Some(top), Some(others)) = (&mut self.top_logprobs, &mut other.top_logprobs) {
            top.append(others);
        }
        self.text_offset.append(&mut other.text_offset);
        self.end = other.end;
    }
}

fn alternatives_of(token: &Token, tokenizer: &Tokenizer) -> Option<Alternatives> {
    let own = token.log_probability?;
    let mut all = token.top.clone();
    if all.iter().all(|&(id, _)| id != token.id) {
        all.push((token.id, own));
    }
    Some(Alternatives(all.into_iter().map(|(id, log)| (text_of(id, tokenizer), log)).collect()))
}

fn text_of(id: u32, tokenizer: &Tokenizer) -> String {
    if Some(id) == tokenizer.end_of_document() {
        return END_OF_DOCUMENT.into();
    }
    let bytes = tokenizer.bytes_of(id);
    match std::str::from_utf8(bytes) {
        // An id of characters that were too rare for one of their own.
        Ok("") => char::REPLACEMENT_CHARACTER.into(),
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(name_of_byte).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Documents, Units, VocabularyOptions};

    fn token(id: u32, top: &[(u32, f32)]) -> Token {
        Token { id, log_probability: Some(-2.5), top: top.to_vec() }
    }

    #[test]
    fn the_columns_are_those_of_openai() {
        let options = VocabularyOptions { documents: Documents::Lines, ..Default::default() };
        let tokenizer = Tokenizer::build("abé\n", &options).unwrap().0;
        let end = tokenizer.end_of_document().unwrap();
        let first = Token { id: 1, log_probability: None, top: vec![] };
        let columns = LogProbabilities::new(
            &[first, token(2, &[(end, -0.5), (0, -1.25)]), token(0, &[(0, -2.5)])],
            &tokenizer,
            7,
            true,
        );
        assert_eq!(
            serde_json::to_string(&columns).unwrap(),
            r#"{"tokens":["b","é","a"],"token_logprobs":[null,-2.5,-2.5],"top_logprobs":[null,{"<eod>":-0.5,"a":-1.25,"é":-2.5},{"a":-2.5}],"text_offset":[7,8,9]}"#
        );
        let columns = LogProbabilities::new(&[token(2, &[])], &tokenizer, 0, false);
        assert_eq!(columns.top_logprobs, None);
    }

    #[test]
    fn a_byte_that_is_no_character_is_written_out() {
        let options = VocabularyOptions { units: Units::Bytes, ..Default::default() };
        let tokenizer = Tokenizer::build("aé", &options).unwrap().0;
        // Of é, of nothing, a, half of é, and a.
        let ids = [0xC3, 0xA9, 0xA9, 97, 0xC3, 97, 0xC3];
        let tokens = ids.map(|id| token(id, &[]));
        let columns = LogProbabilities::new(&tokens, &tokenizer, 0, false);
        assert_eq!(columns.tokens[1..4], [r"bytes:\xa9", r"bytes:\xa9", "a"]);
        assert_eq!((&columns.text_offset[..], columns.end), (&[0, 0, 1, 2, 3, 4, 5][..], 6));
    }
}
