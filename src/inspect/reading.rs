//! A text in ids, with its documents, and its windows as a network reads them.

use std::ops::Range;

use candle_core::{IndexOp, Tensor};

use crate::data::READING_WINDOW;
use crate::error::{Error, Result, ensure};
use crate::model::{Gate, Network, State, Trace};
use crate::text::{Tokenizer, Units, name_of_byte};

/// A text that is read from its beginning, one token for each id: a character, or a byte.
///
/// If the vocabulary has an end-of-document id, the network reads one before each document, from a zero
/// state. Between two documents that id is a token too, shown as a newline.
pub struct Reading {
    text: String,
    units: Units,
    /// What the network reads: `lead` ids before the first token, then one for each token.
    ids: Vec<u32>,
    /// 1 where the state that enters is zero.
    resets: Vec<u8>,
    lead: usize,
}

impl Reading {
    /// One text, or one document.
    ///
    /// # Errors
    /// [`Error::Text`] for an empty text; [`Error::UnknownCharacters`] for characters outside the vocabulary.
    pub fn of_text(tokenizer: &Tokenizer, text: &str) -> Result<Self> {
        Self::of_documents(tokenizer, &[text])
    }

    /// Documents, one after another. A vocabulary without an end-of-document id takes one alone.
    ///
    /// # Errors
    /// [`Error::Text`] for no text; [`Error::UnknownCharacters`] for characters outside the vocabulary;
    /// [`Error::Vocabulary`] for documents that the vocabulary cannot divide.
    pub fn of_documents(tokenizer: &Tokenizer, documents: &[&str]) -> Result<Self> {
        ensure!(
            documents.iter().any(|document| !document.is_empty()),
            Error::Text("the text is empty: there is nothing to look at".into())
        );
        // All at once, so that an error names all unknown characters.
        tokenizer.encode(&documents.concat())?;
        let end = tokenizer.end_of_document();
        ensure!(
            end.is_some() || documents.len() == 1,
            Error::vocabulary("this vocabulary has no end-of-document id: give the text as one")
        );
        let (mut ids, mut resets) = (Vec::new(), Vec::new());
        for document in documents {
            if let Some(end) = end {
                ids.push(end);
                resets.push(1);
            }
            ids.extend(tokenizer.encode(document)?);
            resets.resize(ids.len(), 0);
        }
        let (text, units) = (documents.join("\n"), tokenizer.units());
        Ok(Self { text, units, ids, resets, lead: usize::from(end.is_some()) })
    }

    /// T: how many tokens it has.
    pub fn len(&self) -> usize {
        self.ids.len() - self.lead
    }

    /// Never: an empty text is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a token is, in the plural.
    pub fn unit(&self) -> &'static str {
        match self.units {
            Units::Chars => "characters",
            Units::Bytes => "bytes",
        }
    }

    /// The text, documents joined by newlines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first `most` tokens alone. Of bytes, a character that would be cut is left out.
    #[must_use]
    pub fn beginning(&self, most: usize) -> Self {
        let bytes = match self.units {
            Units::Bytes => {
                let mut at = most.min(self.text.len());
                while !self.text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            }
            Units::Chars => {
                self.text.char_indices().nth(most).map_or(self.text.len(), |(at, _)| at)
            }
        };
        let text = self.text[..bytes].to_string();
        let ids = self.lead + tokens_of(&text, self.units);
        Self {
            text,
            units: self.units,
            ids: self.ids[..ids].to_vec(),
            resets: self.resets[..ids].to_vec(),
            lead: self.lead,
        }
    }

    /// Each token as text, `[T]`. A byte that is no character of its own is written `bytes:\xe2`.
    pub fn tokens(&self) -> Vec<String> {
        match self.units {
            Units::Chars => self.text.chars().map(String::from).collect(),
            Units::Bytes => self.text.bytes().map(name_of_byte).collect(),
        }
    }

    /// For each token its character's place among the characters of the text.
    pub(super) fn characters(&self) -> Vec<usize> {
        let width = |c: char| if self.units == Units::Bytes { c.len_utf8() } else { 1 };
        let places = self.text.chars().enumerate();
        places.flat_map(|(place, c)| std::iter::repeat_n(place, width(c))).collect()
    }

    /// Its windows, from the first on.
    pub(super) fn windows<'a>(&'a self, network: &'a Network) -> Result<Windows<'a>> {
        let state = State::zeros(network.config(), 1, network.device())?;
        Ok(Windows { reading: self, network, state, next: 0 })
    }
}

fn tokens_of(text: &str, units: Units) -> usize {
    match units {
        Units::Chars => text.chars().count(),
        Units::Bytes => text.len(),
    }
}

/// Reads a text window by window; the state is carried.
pub(super) struct Windows<'a> {
    reading: &'a Reading,
    network: &'a Network,
    state: State,
    /// The next id.
    next: usize,
}

/// What a network computed over some tokens of a text.
pub(super) struct Window {
    /// Which tokens.
    pub tokens: Range<usize>,
    trace: Trace,
}

impl Windows<'_> {
    /// Reads on, up to token `end` at most; None once it is there.
    ///
    /// # Errors
    /// [`Error::Tensor`] for an id outside V, or no memory.
    pub(super) fn read(&mut self, end: usize) -> Result<Option<Window>> {
        let lead = self.reading.lead;
        let end = (lead + end).min(self.reading.ids.len());
        if self.next < lead {
            self.trace(0..lead)?;
        }
        let ids = self.next..end.min(self.next + READING_WINDOW);
        if ids.is_empty() {
            return Ok(None);
        }
        let trace = self.trace(ids.clone())?;
        Ok(Some(Window { tokens: ids.start - lead..ids.end - lead, trace }))
    }

    fn trace(&mut self, ids: Range<usize>) -> Result<Trace> {
        let device = self.network.device();
        let shape = (ids.len(), 1);
        let window = Tensor::from_slice(&self.reading.ids[ids.clone()], shape, device)?;
        let resets = Tensor::from_slice(&self.reading.resets[ids.clone()], shape, device)?;
        let trace = self.network.trace(&window, &self.state, Some(&resets))?;
        self.state = trace.state();
        self.next = ids.end;
        Ok(trace)
    }
}

impl Window {
    /// A gate or state of layer `layer`, counted from 0: `[T, H]` of this window.
    ///
    /// # Errors
    /// [`Error::Logits`] for weights so large that no number comes out; [`Error::Tensor`] for a layer or gate
    /// that the network does not have.
    pub(super) fn values(&self, layer: usize, gate: Gate) -> Result<Vec<f32>> {
        let values: Vec<f32> = self.trace.get(layer, gate)?.i((.., 0))?.flatten_all()?.to_vec1()?;
        match values.iter().find(|value| !value.is_finite()) {
            Some(wrong) => Err(Error::Logits(format!(
                "a unit of the model is {wrong}: its weights are unusable, train it again"
            ))),
            None => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Documents, VocabularyOptions};

    fn tokenizer(text: &str, units: Units, documents: Documents) -> Tokenizer {
        let options = VocabularyOptions { units, documents, ..VocabularyOptions::default() };
        Tokenizer::build(text, &options).unwrap().0
    }

    #[test]
    fn tokens_are_characters_or_bytes() {
        let of_chars = tokenizer("aé\nb", Units::Chars, Documents::Off);
        let reading = Reading::of_text(&of_chars, "bé\na").unwrap();
        assert_eq!(reading.tokens(), ["b", "é", "\n", "a"]);
        assert_eq!((reading.len(), reading.lead), (4, 0));
        assert_eq!(reading.characters(), [0, 1, 2, 3]);
        assert_eq!(reading.beginning(2).tokens(), ["b", "é"]);
        let of_bytes = tokenizer("ab", Units::Bytes, Documents::Off);
        let reading = Reading::of_text(&of_bytes, "bé\n").unwrap();
        assert_eq!(reading.tokens(), ["b", "bytes:\\xc3", "bytes:\\xa9", "\n"]);
        assert_eq!(reading.characters(), [0, 1, 1, 2]);
        assert_eq!(reading.beginning(2).tokens(), ["b"]);
        assert_eq!(reading.beginning(9).len(), 4);
    }

    #[test]
    fn a_document_begins_with_the_end_id_from_a_zero_state() {
        let of_lines = tokenizer("ab\nba", Units::Chars, Documents::Lines);
        let end = of_lines.end_of_document().unwrap();
        let reading = Reading::of_documents(&of_lines, &["ab", "b"]).unwrap();
        assert_eq!(reading.ids, [end, 0, 1, end, 1]);
        assert_eq!(reading.resets, [1, 0, 0, 1, 0]);
        assert_eq!(reading.tokens(), ["a", "b", "\n", "b"]);
        assert_eq!(reading.len(), 4);
        let cut = reading.beginning(3);
        assert_eq!((cut.ids.len(), cut.tokens().len()), (4, 3));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let of_chars = tokenizer("ab", Units::Chars, Documents::Off);
        assert!(matches!(Reading::of_text(&of_chars, ""), Err(Error::Text(_))));
        assert!(matches!(Reading::of_documents(&of_chars, &[]), Err(Error::Text(_))));
        assert!(matches!(Reading::of_text(&of_chars, "ac"), Err(Error::UnknownCharacters(_))));
        let two = Reading::of_documents(&of_chars, &["a", "b"]);
        assert!(matches!(two, Err(Error::Vocabulary { .. })));
    }
}
