//! A corpus as separate documents (its lines, or its files), each ended by an end-of-document id. Knows
//! nothing of batches: see `packed_documents.rs`.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::data::random;
use crate::error::{Error, Result, ensure};
use crate::text::{Corpus, Documents, Ids, Tokenizer, Units};

/// The documents of a corpus, or of its training or validation part. Cloning copies no ids.
///
/// A document of the ids c1 … cn gives n + 1 predictions: the inputs eod, c1 … cn have the targets
/// c1 … cn, eod, where eod is the end-of-document id.
#[derive(Clone, Debug)]
pub struct DocumentSet {
    ids: Arc<Ids>,
    /// Where each document ends in `ids`; it begins where the one before ends.
    ends: Arc<[usize]>,
    /// The documents that belong to this part.
    members: Arc<[u32]>,
    end_of_document: u32,
}

/// One prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prediction {
    /// The id that is read.
    pub input: u32,
    /// The id that is to be predicted.
    pub target: u32,
    /// It is the document's first: the state that enters must be zero.
    pub begins: bool,
    /// It is the document's last: the target is the end of the document.
    pub ends: bool,
}

impl DocumentSet {
    /// The documents of `corpus`, divided as `documents` says; empty ones are left out.
    ///
    /// # Errors
    /// [`Error::Text`] for no document or more than 2^32 - 1; [`Error::Vocabulary`] for a tokenizer
    /// without an end-of-document id; [`Error::UnknownCharacters`].
    pub fn new(corpus: Corpus, tokenizer: &Tokenizer, documents: Documents) -> Result<Self> {
        let end_of_document = tokenizer.end_of_document().ok_or_else(|| {
            Error::vocabulary(
                "this vocabulary has no end-of-document id, because it was built without \
                 `documents`: leave `documents` off, or train anew with it",
            )
        })?;
        let units = |text: &str| match tokenizer.units() {
            Units::Bytes => text.len(),
            Units::Chars => text.chars().count(),
        };
        let mut ends = Vec::new();
        let mut end = 0;
        for document in corpus.documents(documents) {
            end += units(document);
            ends.push(end);
        }
        let mut text = corpus.into_text();
        if documents == Documents::Lines {
            text.retain(|character| character != '\n');
        }
        let count = u32::try_from(ends.len()).map_err(|_| {
            Error::Text(format!(
                "the corpus has {} documents, but at most 2^32 - 1 can be read",
                ends.len()
            ))
        })?;
        ensure!(
            count > 0,
            Error::Text("the corpus has 0 documents: give text with something on its lines".into())
        );
        let ids = tokenizer.encode_corpus(text)?;
        Ok(Self {
            ids: Arc::new(ids),
            ends: ends.into(),
            members: (0..count).collect(),
            end_of_document,
        })
    }

    /// How many documents.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Predictions of all documents: one for each id, and one for each document's end.
    pub fn predictions(&self) -> usize {
        self.members.iter().map(|&document| self.length(document) + 1).sum()
    }

    /// The training and the validation part. The documents are shuffled by `seed`; the last `fraction` of
    /// them, and at least one, validate.
    ///
    /// # Errors
    /// [`Error::Text`] for only one document.
    pub(super) fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        ensure!(
            self.len() >= 2,
            Error::Text(format!(
                "the corpus has one document, so that `val_fraction` {fraction} leaves none to \
             train on or none to validate on: give more documents, or `val_fraction` 0"
            ))
        );
        let mut members = self.members.to_vec();
        random::shuffle(&mut members, &mut random::generator(seed, random::SPLIT));
        let validating = (self.len() as f64 * fraction).round() as usize;
        let validation = members.split_off(self.len() - validating.clamp(1, self.len() - 1));
        let part = |members: Vec<u32>| Self { members: members.into(), ..self.clone() };
        Ok((part(members), part(validation)))
    }

    pub(super) fn members(&self) -> &[u32] {
        &self.members
    }

    fn range(&self, document: u32) -> std::ops::Range<usize> {
        let end_of = |document: usize| self.ends.get(document).copied().unwrap_or_default();
        let document = document as usize;
        document.checked_sub(1).map_or(0, end_of)..end_of(document)
    }

    /// Ids of a document, without its end.
    pub(super) fn length(&self, document: u32) -> usize {
        self.range(document).len()
    }

    /// The prediction at `position`, from 0 to the document's length.
    pub(super) fn prediction(&self, document: u32, position: usize) -> Prediction {
        let range = self.range(document);
        let id = |at: usize| self.ids.get(range.start + at).unwrap_or(self.end_of_document);
        let ends = position >= range.len();
        Prediction {
            input: position.checked_sub(1).map_or(self.end_of_document, id),
            target: if ends { self.end_of_document } else { id(position) },
            begins: position == 0,
            ends,
        }
    }

    pub(super) fn end_of_document(&self) -> u32 {
        self.end_of_document
    }
}

/// SHA-256, in hexadecimal, of how a corpus is cut into files that are not empty: of each one's number of
/// bytes, as 8 bytes, the lowest first. ([`Corpus::fingerprint`] tells nothing of it.)
pub(super) fn files_fingerprint(corpus: &Corpus) -> String {
    let mut sha256 = Sha256::new();
    for file in corpus.files().filter(|file| !file.is_empty()) {
        sha256.update((file.len() as u64).to_le_bytes());
    }
    sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::text::VocabularyOptions;

    pub(in crate::data) fn set_of(
        text: &str,
        documents: Documents,
        units: Units,
    ) -> (DocumentSet, Tokenizer) {
        let options = VocabularyOptions { documents, units, ..Default::default() };
        let (tokenizer, _) = Tokenizer::build(text, &options).unwrap();
        (DocumentSet::new(Corpus::from_text("x", text), &tokenizer, documents).unwrap(), tokenizer)
    }

    fn document(set: &DocumentSet, tokenizer: &Tokenizer, document: u32) -> String {
        let ids: Vec<u32> =
            (1..=set.length(document)).map(|p| set.prediction(document, p).input).collect();
        tokenizer.decode(&ids).unwrap()
    }

    #[test]
    fn lines_are_documents_without_newlines_and_empty_ones_are_none() {
        for units in [Units::Chars, Units::Bytes] {
            let (set, tokenizer) = set_of("né\n\n\nab\n x", Documents::Lines, units);
            let all: Vec<_> = (0..3).map(|index| document(&set, &tokenizer, index)).collect();
            assert_eq!(all, ["né", "ab", " x"]);
            assert_eq!(set.len(), 3);
            let extra = usize::from(units == Units::Bytes); // é is two bytes
            assert_eq!(set.predictions(), 6 + 3 + extra);
        }
    }

    #[test]
    fn a_file_is_a_document_with_its_newlines() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.txt", "one\ntwo\n"), ("b.txt", ""), ("c.txt", "three")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let corpus = Corpus::read(&[folder.path().into()], &Default::default()).unwrap();
        let options = VocabularyOptions { documents: Documents::Files, ..Default::default() };
        let (tokenizer, _) = Tokenizer::build(corpus.text(), &options).unwrap();
        let set = DocumentSet::new(corpus, &tokenizer, Documents::Files).unwrap();
        assert_eq!(set.len(), 2);
        assert_eq!(document(&set, &tokenizer, 0), "one\ntwo\n");
        assert_eq!(document(&set, &tokenizer, 1), "three");
    }

    #[test]
    fn the_fingerprint_of_files_tells_how_one_text_is_cut() {
        let of = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let corpus = Corpus::read(&[folder.path().into()], &Default::default()).unwrap();
            (corpus.fingerprint(), files_fingerprint(&corpus))
        };
        let one = of(&[("a.txt", "one\n"), ("b.txt", "two\nthree\n")]);
        let other = of(&[("a.txt", "one\ntwo\n"), ("b.txt", "three\n")]);
        assert!(one.0 == other.0 && one.1 != other.1);
        assert_eq!(one, of(&[("a.txt", "one\n"), ("c.txt", ""), ("d.txt", "two\nthree\n")]));
    }

    #[test]
    fn a_document_is_predicted_from_its_begin_to_its_end() {
        let (set, _) = set_of("ab\nb", Documents::Lines, Units::Chars);
        let step = |position| set.prediction(0, position);
        let (a, b, end) = (0, 1, 2);
        assert_eq!(step(0), Prediction { input: end, target: a, begins: true, ends: false });
        assert_eq!(step(1), Prediction { input: a, target: b, begins: false, ends: false });
        assert_eq!(step(2), Prediction { input: b, target: end, begins: false, ends: true });
    }

    #[test]
    fn a_vocabulary_without_an_end_of_document_is_refused() {
        let (tokenizer, _) = Tokenizer::build("ab\n", &VocabularyOptions::default()).unwrap();
        let error = DocumentSet::new(Corpus::from_text("x", "ab"), &tokenizer, Documents::Lines);
        assert!(error.unwrap_err().to_string().contains("no end-of-document id"));
    }

    #[test]
    fn the_split_shuffles_by_seed_and_loses_no_document() {
        let text: String = (0..50).map(|n| format!("{n}\n")).collect();
        let (set, _) = set_of(&text, Documents::Lines, Units::Chars);
        let (train, validation) = set.split(0.1, 7).unwrap();
        assert_eq!((train.len(), validation.len()), (45, 5));
        let mut all = [train.members(), validation.members()].concat();
        assert_eq!(set.split(0.1, 7).unwrap().1.members(), validation.members());
        assert_ne!(set.split(0.1, 8).unwrap().1.members(), validation.members());
        all.sort_unstable();
        assert_eq!(all, set.members());
        assert_eq!(set.split(0.001, 7).unwrap().1.len(), 1);
        assert_eq!(set.split(0.999, 7).unwrap().0.len(), 1);
        let (one, _) = set_of("only", Documents::Lines, Units::Chars);
        assert!(one.split(0.1, 7).unwrap_err().to_string().contains("`val_fraction` 0"));
    }
}
