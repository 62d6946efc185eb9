//! Text to ids and back by a direct map. Knows nothing of files.

use std::collections::BTreeSet;

use crate::error::{Error, Result, UnknownCharacters, ensure};
use crate::text::ids::Ids;
use crate::text::units::{Documents, Units};
use crate::text::vocabulary::{VocabularyOptions, VocabularyReport, choose, distinct};

/// Marks, in the map from code point to id, a character without an id of its own.
const NO_ID: u32 = u32::MAX;

/// Ids of characters (by code point) or of bytes (by value), then the special ids: unknown
/// character, end of document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    units: Units,
    /// The id of each code point (of each byte: itself); [`NO_ID`] where there is none.
    id_of: Vec<u32>,
    /// The bytes that each id stands for, one id after another; those of `id` end at `ends[id]`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    unknown: Option<u32>,
    end_of_document: Option<u32>,
}

impl Tokenizer {
    /// A tokenizer with the vocabulary of `text`, and what building it found.
    ///
    /// # Errors
    /// [`Error::Text`] for fewer than two distinct characters; [`Error::Setting`] for a `max_vocab`
    /// without room for two.
    pub fn build(text: &str, options: &VocabularyOptions) -> Result<(Self, VocabularyReport)> {
        let (characters, report) = choose(text, options)?;
        let ends_documents = options.documents != Documents::Off;
        let tokenizer = match options.units {
            Units::Bytes => Self::of_bytes(ends_documents),
            Units::Chars => Self::of_chars(&characters, report.dropped_kinds > 0, ends_documents),
        };
        Ok((tokenizer, report))
    }

    /// `characters` are distinct and in code-point order.
    pub(super) fn of_chars(characters: &[char], unknown: bool, ends_documents: bool) -> Self {
        let table = characters.last().map_or(0, |&last| last as usize + 1);
        let (mut id_of, mut ends) = (vec![NO_ID; table], Vec::with_capacity(characters.len() + 2));
        let mut bytes = Vec::new();
        for (id, &character) in (0u32..).zip(characters) {
            id_of[character as usize] = id;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            ends.push(bytes.len() as u32);
        }
        Self { units: Units::Chars, id_of, bytes, ends, unknown: None, end_of_document: None }
            .with_specials(unknown, ends_documents)
    }

    pub(super) fn of_bytes(ends_documents: bool) -> Self {
        Self {
            units: Units::Bytes,
            id_of: (0..256).collect(),
            bytes: (0..=255).collect(),
            ends: (1..=256).collect(),
            unknown: None,
            end_of_document: None,
        }
        .with_specials(false, ends_documents)
    }

    fn with_specials(mut self, unknown: bool, ends_documents: bool) -> Self {
        let mut add = |wanted: bool| {
            let id = self.ends.len() as u32;
            wanted.then(|| self.ends.push(self.bytes.len() as u32)).map(|()| id)
        };
        (self.unknown, self.end_of_document) = (add(unknown), add(ends_documents));
        self
    }

    /// This vocabulary and the characters of `text` that it lacks, with an end-of-document id if
    /// `options.documents` asks for one; `options.units` is ignored. Also returns, for each id of the
    /// new vocabulary, its id in this one.
    ///
    /// # Errors
    /// [`Error::Setting`] if that is more than `options.max_vocab`.
    pub fn extended(
        &self,
        text: &str,
        options: &VocabularyOptions,
    ) -> Result<(Self, Vec<Option<u32>>)> {
        let ends_documents = self.end_of_document.is_some() || options.documents != Documents::Off;
        let new = match self.units {
            Units::Bytes => Self::of_bytes(ends_documents),
            Units::Chars => {
                let mut all: BTreeSet<char> = self.characters().collect();
                all.extend(distinct(text, options.documents));
                let all: Vec<char> = all.into_iter().collect();
                Self::of_chars(&all, self.unknown.is_some(), ends_documents)
            }
        };
        ensure!(
            self.units == Units::Bytes || new.vocab_size() <= options.max_vocab,
            Error::vocabulary(format!(
                "the vocabulary would grow from {} to {} ids, above `max_vocab` {}: raise it, or leave \
             the rare characters out of the corpus",
                self.vocab_size(),
                new.vocab_size(),
                options.max_vocab
            ))
        );
        let mut old_ids: Vec<Option<u32>> = match self.units {
            Units::Bytes => (0..256).map(Some).collect(),
            Units::Chars => new.characters().map(|character| self.own_id(character)).collect(),
        };
        old_ids.extend(new.unknown.map(|_| self.unknown));
        old_ids.extend(new.end_of_document.map(|_| self.end_of_document));
        Ok((new, old_ids))
    }

    /// V: how many ids there are, special ids included.
    pub fn vocab_size(&self) -> usize {
        self.ends.len()
    }

    /// What one id stands for.
    pub fn units(&self) -> Units {
        self.units
    }

    /// The id before a document's first character and after its last.
    pub fn end_of_document(&self) -> Option<u32> {
        self.end_of_document
    }

    /// The id shared by the characters that were too rare for one of their own.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// How many ids a text can be encoded to: all but the end of document.
    fn text_ids(&self) -> usize {
        self.vocab_size() - usize::from(self.end_of_document.is_some())
    }

    /// The characters with an id of their own, by id. (For bytes: those of ASCII.)
    pub(super) fn characters(&self) -> impl Iterator<Item = char> {
        let valid = if self.units == Units::Chars { &self.bytes[..] } else { &self.bytes[..128] };
        std::str::from_utf8(valid).unwrap_or_default().chars()
    }

    /// The id of a character; None for one without an id of its own. (For bytes: of one of ASCII.)
    pub(crate) fn own_id(&self, character: char) -> Option<u32> {
        self.id_of.get(character as usize).copied().filter(|&id| id != NO_ID)
    }

    fn id_or_unknown(&self, character: char) -> Option<u32> {
        self.own_id(character).or(self.unknown)
    }

    fn check(&self, text: &str) -> Result<(), UnknownCharacters> {
        if self.units == Units::Bytes || self.unknown.is_some() {
            return Ok(());
        }
        let missing = text.chars().filter(|&character| self.own_id(character).is_none());
        let characters: BTreeSet<char> = missing.collect();
        if characters.is_empty() {
            return Ok(());
        }
        Err(UnknownCharacters { characters: characters.into_iter().collect() })
    }

    /// The ids of `text`, one for each character or each byte.
    ///
    /// # Errors
    /// Characters outside the vocabulary, if it has no unknown id.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownCharacters> {
        self.check(text)?;
        Ok(match self.units {
            Units::Bytes => text.bytes().map(u32::from).collect(),
            Units::Chars => text.chars().filter_map(|c| self.id_or_unknown(c)).collect(),
        })
    }

    /// As [`Tokenizer::encode`], but a character that only the unknown id could stand for is an error too.
    ///
    /// # Errors
    /// Characters without an id of their own.
    pub fn encode_known(&self, text: &str) -> Result<Vec<u32>, UnknownCharacters> {
        let ids = self.encode(text)?;
        match self.unknown {
            Some(unknown) if ids.contains(&unknown) => {
                let missing = text.chars().filter(|&character| self.own_id(character).is_none());
                let characters: BTreeSet<char> = missing.collect();
                Err(UnknownCharacters { characters: characters.into_iter().collect() })
            }
            _ => Ok(ids),
        }
    }

    /// The ids of `text` without the characters that have no id of their own.
    pub fn encode_skipping_unknown(&self, text: &str) -> Vec<u32> {
        match self.units {
            Units::Bytes => text.bytes().map(u32::from).collect(),
            Units::Chars => text.chars().filter_map(|c| self.own_id(c)).collect(),
        }
    }

    /// Encodes a large text, which it consumes. If every id fits in one byte, the ids are written over
    /// the text's own memory.
    ///
    /// # Errors
    /// Characters outside the vocabulary, if it has no unknown id.
    pub fn encode_corpus(&self, text: String) -> Result<Ids, UnknownCharacters> {
        self.check(&text)?;
        if self.units == Units::Bytes {
            return Ok(Ids::U8(text.into_bytes()));
        }
        if self.text_ids() <= 1 << 8 {
            return Ok(Ids::U8(self.encode_in_place(text)));
        }
        let count = text.chars().count();
        let ids = text.chars().filter_map(|character| self.id_or_unknown(character));
        Ok(if self.text_ids() <= 1 << 16 {
            let mut narrow = Vec::with_capacity(count);
            narrow.extend(ids.map(|id| id as u16));
            Ids::U16(narrow)
        } else {
            let mut all = Vec::with_capacity(count);
            all.extend(ids);
            Ids::U32(all)
        })
    }

    /// The ids, one byte each, over the text's memory. Every character takes at least one byte, so that
    /// no byte is written before it is read.
    fn encode_in_place(&self, text: String) -> Vec<u8> {
        let unknown = self.unknown.unwrap_or_default();
        let mut bytes = text.into_bytes();
        let (mut read, mut write) = (0, 0);
        while read < bytes.len() {
            let (code_point, width) = code_point(&bytes[read..]);
            let id = self.id_of.get(code_point).copied().filter(|&id| id != NO_ID);
            bytes[write] = id.unwrap_or(unknown) as u8;
            read += width;
            write += 1;
        }
        bytes.truncate(write);
        bytes.shrink_to_fit();
        bytes
    }

    /// The text of `ids`. Special ids stand for no text; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for an id of V or more.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::with_capacity(ids.len());
        for &id in ids {
            ensure!(
                (id as usize) < self.vocab_size(),
                Error::vocabulary(format!(
                    "id {id} is outside the vocabulary of {}: is this the tokenizer that made it?",
                    self.vocab_size()
                ))
            );
            bytes.extend_from_slice(self.bytes_of(id));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// The bytes that one id stands for: a character in UTF-8, or one byte. Empty for a special id and for
    /// one outside the vocabulary.
    pub fn bytes_of(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(id).copied().unwrap_or_default();
        self.bytes.get(start.unwrap_or_default() as usize..end as usize).unwrap_or_default()
    }
}

/// The code point that valid, non-empty UTF-8 starts with, and how many bytes it takes.
fn code_point(utf8: &[u8]) -> (usize, usize) {
    let tail = |at: usize| usize::from(utf8.get(at).copied().unwrap_or_default() & 0x3F);
    match usize::from(utf8.first().copied().unwrap_or_default()) {
        lead @ 0..0x80 => (lead, 1),
        lead @ 0x80..0xE0 => ((lead & 0x1F) << 6 | tail(1), 2),
        lead @ 0xE0..0xF0 => ((lead & 0x0F) << 12 | tail(1) << 6 | tail(2), 3),
        lead => ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
    }
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
