//! Reads and writes a tokenizer as tokenizer.json, the format of Hugging Face's `tokenizers`. There it is
//! a BPE model without merges, so that every character is a token, and gives the same ids.
//!
//! `<unk>` and `<eod>` are entries of the vocabulary, not added tokens. `tokenizers` would find an added
//! token in a text that contains its name, but the five characters `<eod>` in a text must stay five ids.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokenizers::Tokenizer as HuggingFace;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::error::{Cause, Error, Result, ensure};
use crate::text::file::read_regular_file;
use crate::text::tokenizer::Tokenizer;
use crate::text::units::Units;

const UNKNOWN: &str = "<unk>";
/// The name of the end-of-document id.
pub(crate) const END_OF_DOCUMENT: &str = "<eod>";
/// A tokenizer of every Unicode character takes about 30 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;

pub(super) fn check_size(bytes: u64) -> Result<()> {
    ensure!(
        bytes <= MAX_JSON_BYTES,
        Error::vocabulary(format!(
            "tokenizer.json has {bytes} bytes but at most {MAX_JSON_BYTES} are read: \
         is it the file chargru wrote?"
        ))
    );
    Ok(())
}

/// The name of each id, in order.
fn names(tokenizer: &Tokenizer) -> Vec<String> {
    let mut names: Vec<String> = match tokenizer.units() {
        Units::Chars => tokenizer.characters().map(String::from).collect(),
        Units::Bytes => byte_names().map(String::from).to_vec(),
    };
    names.extend(tokenizer.unknown().map(|_| UNKNOWN.to_owned()));
    names.extend(tokenizer.end_of_document().map(|_| END_OF_DOCUMENT.to_owned()));
    names
}

/// GPT-2's visible stand-in for each byte: itself where Latin-1 prints it, else U+0100 onwards.
fn byte_names() -> [char; 256] {
    let mut next = 0x100u32;
    std::array::from_fn(|byte| match byte as u8 {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte as u8),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    })
}

/// The same tokenizer as the `tokenizers` crate's.
pub(super) fn hugging_face(tokenizer: &Tokenizer) -> Result<HuggingFace> {
    let vocabulary =
        names(tokenizer).into_iter().zip(0u32..).collect::<tokenizers::models::bpe::Vocab>();
    let mut model = BPE::builder().vocab_and_merges(vocabulary, Vec::new());
    if tokenizer.unknown().is_some() {
        model = model.unk_token(UNKNOWN.to_owned());
    }
    let model = model
        .build()
        .map_err(|error| Error::vocabulary(format!("cannot build the tokenizer: {error}")))?;
    let mut built = HuggingFace::new(model);
    match tokenizer.units() {
        Units::Chars => {
            built.with_decoder(Some(Fuse::new()));
        }
        Units::Bytes => {
            built.with_pre_tokenizer(Some(ByteLevel::new(false, true, false)));
            built.with_decoder(Some(ByteLevel::new(false, true, false)));
        }
    }
    Ok(built)
}

impl Tokenizer {
    /// The bytes of tokenizer.json, in the format of Hugging Face's `tokenizers`.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if `tokenizers` refuses the vocabulary.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let json = hugging_face(self)?.to_string(true);
        Ok(json
            .map_err(|error| Error::vocabulary(format!("cannot write tokenizer.json: {error}")))?
            .into_bytes())
    }

    /// Reads the bytes of tokenizer.json. Every field that could change an id is checked.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for anything that [`Tokenizer::to_json`] would not have written.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        check_size(json.len() as u64)?;
        let file: File = serde_json::from_slice(json).map_err(|error| Error::Vocabulary {
            message: "tokenizer.json is broken or of another kind: use the file chargru wrote"
                .into(),
            source: Some(error.into()),
        })?;
        let Model { kind, vocab, merges, unk_token, .. } = &file.model;
        ensure!(
            kind == "BPE" && merges.is_empty() && file.added_tokens.is_empty(),
            Error::vocabulary(format!(
                "tokenizer.json has a {kind} model with {} merges and {} added tokens, but chargru's has \
             one id a character: use the file chargru wrote",
                merges.len(),
                file.added_tokens.len()
            ))
        );
        file.check_nothing_else()?;

        let unknown = vocab.contains_key(UNKNOWN);
        let ends_documents = vocab.contains_key(END_OF_DOCUMENT);
        ensure!(
            unk_token.as_deref() == unknown.then_some(UNKNOWN),
            Error::vocabulary(format!(
                "tokenizer.json names {unk_token:?} as its unknown token, which is not what its vocabulary \
             has: use the file chargru wrote"
            ))
        );
        let tokenizer = if file.is_byte_level()? {
            ensure!(
                !unknown,
                Error::vocabulary(format!(
                    "tokenizer.json has bytes and {UNKNOWN}: use the file chargru wrote"
                ))
            );
            Tokenizer::of_bytes(ends_documents)
        } else {
            // Code-point order is the byte order of UTF-8, which is the order of a BTreeMap.
            let characters: Vec<char> = vocab
                .keys()
                .filter(|name| ![UNKNOWN, END_OF_DOCUMENT].contains(&name.as_str()))
                .map(|name| single_character(name))
                .collect::<Result<_>>()?;
            ensure!(
                !characters.is_empty(),
                Error::vocabulary("tokenizer.json has no characters: it is not chargru's")
            );
            Tokenizer::of_chars(&characters, unknown, ends_documents)
        };
        check_ids(&tokenizer, vocab)?;
        Ok(tokenizer)
    }

    /// Reads a tokenizer.json file, which must be a regular one.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for a file that cannot be read, and those of [`Tokenizer::from_json`].
    pub fn load(path: &Path) -> Result<Self> {
        let read = || -> Result<Self, Cause> {
            Ok(Self::from_json(&read_regular_file(path, MAX_JSON_BYTES)?)?)
        };
        read().map_err(|cause| Error::Vocabulary {
            message: format!("cannot load the tokenizer {}", path.display()),
            source: Some(cause),
        })
    }
}

/// The fields of tokenizer.json that are read. Lists are counted but not kept, so that a file made to
/// do harm takes little memory.
#[derive(Deserialize)]
struct File {
    truncation: Option<IgnoredAny>,
    padding: Option<IgnoredAny>,
    #[serde(default)]
    added_tokens: Vec<IgnoredAny>,
    normalizer: Option<IgnoredAny>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: Option<IgnoredAny>,
    model: Model,
}

#[derive(Deserialize)]
struct PreTokenizer {
    #[serde(rename = "type")]
    kind: String,
    add_prefix_space: Option<bool>,
    use_regex: Option<bool>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: BTreeMap<String, u32>,
    merges: Vec<IgnoredAny>,
    unk_token: Option<String>,
    dropout: Option<IgnoredAny>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

impl File {
    fn is_byte_level(&self) -> Result<bool> {
        let Some(cut) = &self.pre_tokenizer else {
            return Ok(false);
        };
        ensure!(
            cut.kind == "ByteLevel"
                && cut.add_prefix_space == Some(false)
                && cut.use_regex == Some(false),
            Error::vocabulary(
                "tokenizer.json cuts text by a pre-tokenizer that is not chargru's: use the file \
             chargru wrote"
            )
        );
        Ok(true)
    }

    fn check_nothing_else(&self) -> Result<()> {
        let model = &self.model;
        let empty = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
        let parts = [
            ("truncation", self.truncation.is_none()),
            ("padding", self.padding.is_none()),
            ("normalizer", self.normalizer.is_none()),
            ("post_processor", self.post_processor.is_none()),
            ("dropout", model.dropout.is_none()),
            ("continuing_subword_prefix", empty(&model.continuing_subword_prefix)),
            ("end_of_word_suffix", empty(&model.end_of_word_suffix)),
            ("fuse_unk", !model.fuse_unk),
            ("byte_fallback", !model.byte_fallback),
            ("ignore_merges", !model.ignore_merges),
        ];
        if let Some((name, _)) = parts.iter().find(|(_, unset)| !unset) {
            return Err(Error::vocabulary(format!(
                "tokenizer.json sets {name}, which chargru never does: use the file it wrote"
            )));
        }
        Ok(())
    }
}

fn single_character(name: &str) -> Result<char> {
    let mut characters = name.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => {
            let shown: String = name.chars().take(20).collect();
            Err(Error::vocabulary(format!(
                "tokenizer.json has the token {shown:?}, which is not one character: use the file \
                 chargru wrote"
            )))
        }
    }
}

/// The ids must be those this vocabulary gets: 0 to V - 1 by code point, specials last.
fn check_ids(tokenizer: &Tokenizer, vocab: &BTreeMap<String, u32>) -> Result<()> {
    let expected = names(tokenizer);
    ensure!(
        vocab.len() == expected.len(),
        Error::vocabulary(format!(
            "tokenizer.json has {} tokens where its kind has {}: use the file chargru wrote",
            vocab.len(),
            expected.len()
        ))
    );
    for (id, name) in (0u32..).zip(&expected) {
        match vocab.get(name) {
            Some(&given) if given == id => {}
            Some(given) => {
                return Err(Error::vocabulary(format!(
                    "tokenizer.json gives {name:?} the id {given} where code-point order gives {id}: \
                 use the file chargru wrote"
                )));
            }
            None => {
                return Err(Error::vocabulary(format!(
                    "tokenizer.json lacks {name:?}: use the file chargru wrote"
                )));
            }
        }
    }
    Ok(())
}
