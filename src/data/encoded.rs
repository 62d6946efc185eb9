//! A corpus in ids, and its split into training and validation.

use crate::data::documents::DocumentSet;
use crate::data::ids::IdSlice;
use crate::error::{Error, Result, ensure};
use crate::text::{Corpus, Documents, Tokenizer};

/// A corpus in ids: one long text, or documents. Cloning copies no ids.
#[derive(Clone, Debug)]
pub enum EncodedText {
    Stream(IdSlice),
    Documents(DocumentSet),
}

impl EncodedText {
    /// Encodes `corpus`. It is consumed, so that its text and its ids need not both be in memory.
    ///
    /// # Errors
    /// [`Error::UnknownCharacters`]; with documents also those of [`DocumentSet::new`].
    pub fn new(corpus: Corpus, tokenizer: &Tokenizer, documents: Documents) -> Result<Self> {
        Ok(match documents {
            Documents::Off => {
                Self::Stream(IdSlice::new(tokenizer.encode_corpus(corpus.into_text())?))
            }
            _ => Self::Documents(DocumentSet::new(corpus, tokenizer, documents)?),
        })
    }

    /// How many ids, ends of documents not counted.
    pub fn len(&self) -> usize {
        match self {
            Self::Stream(ids) => ids.len(),
            Self::Documents(set) => set.predictions() - set.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first texts in ids, `most` ids in all: of one long text its beginning, of documents each framed by
    /// the end-of-document id.
    pub fn first_texts(&self, most: usize) -> Vec<Vec<u32>> {
        match self {
            Self::Stream(ids) => {
                let mut text = vec![0; most.min(ids.len())];
                ids.copy_to(0, &mut text);
                vec![text]
            }
            Self::Documents(set) => {
                let (mut texts, mut count) = (Vec::new(), 0);
                for &document in set.members() {
                    let length = set.length(document);
                    if count + length > most {
                        break;
                    }
                    count += length;
                    let inputs = (0..=length).map(|at| set.prediction(document, at).input);
                    texts.push(inputs.chain([set.end_of_document()]).collect());
                }
                texts
            }
        }
    }

    /// Targets that an evaluation predicts: all ids but the first, or all ids and ends.
    pub fn predictions(&self) -> usize {
        match self {
            Self::Stream(ids) => ids.len().saturating_sub(1),
            Self::Documents(set) => set.predictions(),
        }
    }

    /// The training and the validation part. The last `fraction` of one text validates; documents are
    /// shuffled by `seed` first. With a fraction of 0 there is no validation part.
    ///
    /// # Errors
    /// [`Error::Setting`] for a fraction that is not at least 0 and below 1; [`Error::Text`] for a text
    /// that is too short for a validation part.
    pub fn split(self, fraction: f64, seed: u64) -> Result<(Self, Option<Self>)> {
        ensure!(
            (0.0..1.0).contains(&fraction),
            Error::setting(
                "val_fraction",
                format!("`val_fraction` is {fraction} but must be at least 0 and below 1")
            )
        );
        if fraction == 0.0 {
            return Ok((self, None));
        }
        match self {
            Self::Documents(set) => {
                let (train, validation) = set.split(fraction, seed)?;
                Ok((Self::Documents(train), Some(Self::Documents(validation))))
            }
            Self::Stream(ids) => {
                let validating = (ids.len() as f64 * fraction) as usize;
                ensure!(
                    validating >= 2,
                    Error::Text(format!(
                        "`val_fraction` {fraction} of {} characters leaves {validating} to validate \
                     on but two are the fewest: raise it, give more text, or use `val_fraction` 0",
                        ids.len()
                    ))
                );
                let (train, validation) = ids.split_at(ids.len() - validating);
                Ok((Self::Stream(train), Some(Self::Stream(validation))))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::text::VocabularyOptions;

    pub(in crate::data) fn encoded(text: &str, documents: Documents) -> (EncodedText, Tokenizer) {
        let options = VocabularyOptions { documents, ..Default::default() };
        let (tokenizer, _) = Tokenizer::build(text, &options).unwrap();
        let corpus = Corpus::from_text("x", text);
        (EncodedText::new(corpus, &tokenizer, documents).unwrap(), tokenizer)
    }

    fn text_of(text: &EncodedText, tokenizer: &Tokenizer) -> String {
        let EncodedText::Stream(ids) = text else { panic!("documents") };
        tokenizer.decode(&ids.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_last_part_of_a_text_validates() {
        let (text, tokenizer) = encoded("The quick brown fox", Documents::Off);
        let (train, validation) = text.clone().split(0.25, 1).unwrap();
        assert_eq!(text_of(&train, &tokenizer), "The quick brown");
        assert_eq!(text_of(validation.as_ref().unwrap(), &tokenizer), " fox");
        assert!(text.split(0.0, 1).unwrap().1.is_none());
    }

    #[test]
    fn a_validation_part_that_cannot_be_is_an_error() {
        let (text, _) = encoded("0123456789", Documents::Off);
        let error = |fraction| text.clone().split(fraction, 1).unwrap_err().to_string();
        let short = error(0.1);
        assert!(short.contains("`val_fraction` 0.1 of 10 characters leaves 1"), "{short}");
        for fraction in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(error(fraction).contains("at least 0 and below 1"));
        }
    }

    #[test]
    fn characters_and_predictions_are_counted() {
        let (text, _) = encoded("été!", Documents::Off);
        assert_eq!((text.len(), text.predictions()), (4, 3));
        let (names, _) = encoded("été\nab\n", Documents::Lines);
        assert_eq!((names.len(), names.predictions()), (5, 7));
    }

    #[test]
    fn a_caller_can_tell_unknown_characters_apart() {
        let (_, tokenizer) = encoded("abc", Documents::Off);
        let corpus = Corpus::from_text("x", "abcd");
        let error = EncodedText::new(corpus, &tokenizer, Documents::Off).unwrap_err();
        let Error::UnknownCharacters(unknown) = error else { panic!("{error}") };
        assert_eq!(unknown.characters, ['d']);
    }
}
