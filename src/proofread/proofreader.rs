//! Texts in, findings out.

use std::collections::VecDeque;

use crate::data::EncodedText;
use crate::error::{Error, Result, ensure};
use crate::model::BidirectionalNetwork;
use crate::proofread::chunks::{Chunk, Chunker};
use crate::proofread::edit::Kind;
use crate::proofread::finding::{Checked, Finding};
use crate::proofread::judge::{Judge, Winner};
use crate::proofread::place::Place;
use crate::proofread::segments::Text;
use crate::proofread::thresholds::Thresholds;
use crate::text::{Documents, Tokenizer, Units};

/// Bytes of text that are judged at once, in chunks.
const AT_ONCE: usize = 1 << 14;
/// Characters of clean text that thresholds are measured on, at most.
const MEASURED: usize = 100_000;

/// Finds the characters of a text that both of their sides find unlikely.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use chargru::proofread::Proofreader;
/// use chargru::text::{Corpus, Documents};
/// use chargru::train::Job;
///
/// # fn main() -> chargru::Result<()> {
/// let corpus = Corpus::from_text("tide", "The tide comes in, the tide goes out.\n".repeat(60));
/// let mut job = Job::small();
/// job.model.bidirectional = true;
/// job.train.steps = Some(250);
/// let mut trainer = job.start(corpus, &chargru::Device::Cpu)?;
/// trainer.run(|_event| ControlFlow::Continue(()))?;
///
/// # let network = trainer.bidirectional().expect("it is bidirectional");
/// let tokenizer = &trainer.data().tokenizer;
/// let proofreader = Proofreader::new(network, tokenizer, Documents::Off, 3.0)?;
/// let findings = proofreader.check("The tide comes in, the tine goes out.\n")?;
/// let shown: Vec<_> = findings.iter().map(|f| (f.column, &f.found, &f.suggestion)).collect();
/// println!("{shown:?}"); // [(26, "n", Some("d"))]
/// # assert_eq!(format!("{shown:?}"), r#"[(26, "n", Some("d"))]"#);
/// # Ok(())
/// # }
/// ```
///
/// The threshold for a stated rate of false alarms is a matter of [`Proofreader::measure`]; the checkpoint of
/// a bidirectional run with a validation text has it in its configuration.
pub struct Proofreader {
    judge: Judge,
    tokenizer: Tokenizer,
    documents: Documents,
    threshold_nats: f64,
}

impl Proofreader {
    /// Reports what makes a text likelier by more than `threshold_nats`. Texts are divided into `documents`,
    /// each of which is read alone; with [`Documents::Files`] and [`Documents::Off`] a text is one document.
    ///
    /// # Errors
    /// [`Error::Setting`] for a threshold that is not a number from 0; [`Error::Vocabulary`] for a vocabulary
    /// of another size than the network's; [`Error::Tensor`] if the device has no memory.
    pub fn new(
        network: &BidirectionalNetwork,
        tokenizer: &Tokenizer,
        documents: Documents,
        threshold_nats: f64,
    ) -> Result<Self> {
        ensure!(
            (0.0..f64::INFINITY).contains(&threshold_nats),
            Error::out_of_range("threshold", threshold_nats, "give a number of nats from 0")
        );
        let judge = judge(network, tokenizer)?;
        Ok(Self { judge, tokenizer: tokenizer.clone(), documents, threshold_nats })
    }

    /// The thresholds of a network, from the first 100,000 ids of a `text` without errors that it was not
    /// trained on: its validation text.
    ///
    /// # Errors
    /// [`Error::Text`] for a text without ids; [`Error::Logits`] for weights so large that no number comes
    /// out; and those of [`Proofreader::new`].
    pub fn measure(
        network: &BidirectionalNetwork,
        tokenizer: &Tokenizer,
        text: &EncodedText,
    ) -> Result<Thresholds> {
        let end = tokenizer.end_of_document();
        let texts: Vec<Text> =
            text.first_texts(MEASURED).into_iter().map(|ids| whole(ids, end)).collect();
        let is_character = |id: &&u32| {
            let first = tokenizer.bytes_of(**id).first();
            first.is_some_and(|byte| byte & 0xC0 != 0x80)
        };
        let characters = texts.iter().map(|text| text.ids.iter().filter(is_character).count());
        let characters: usize = characters.sum();
        ensure!(characters > 0, Error::Text("the text to measure on is empty".into()));
        let winners = judge(network, tokenizer)?.winners(&texts)?;
        let gains = winners.iter().flatten().map(|winner| winner.gain).collect();
        Ok(Thresholds::measured(gains, characters as u64))
    }

    /// What is found in a text.
    ///
    /// # Errors
    /// Those of [`Proofreader::read`].
    pub fn check(&self, text: &str) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for checked in self.read([Ok(text.to_string())]) {
            findings.extend(checked?.findings);
        }
        Ok(findings)
    }

    /// Reads a text of any length, which comes in blocks, as of [`TextBlocks`](crate::text::TextBlocks). What
    /// is found does not depend on where the blocks end. Memory does not grow with the text.
    ///
    /// # Errors
    /// The iterator's items: [`Error::Logits`] for weights so large that no
    /// number comes out; [`Error::Tensor`]; and the errors of `blocks`. It ends with the first.
    pub fn read<I: IntoIterator<Item = Result<String>>>(
        &self,
        blocks: I,
    ) -> impl Iterator<Item = Result<Checked>> + use<'_, I> {
        Reading {
            proofreader: self,
            blocks: blocks.into_iter(),
            chunker: Chunker::new(self.documents, self.tokenizer.units()),
            waiting: Vec::new(),
            ready: VecDeque::new(),
            place: Place::default(),
            ended: false,
        }
    }

    fn judge(&self, chunks: &[Chunk], place: &mut Place) -> Result<Vec<Checked>> {
        let encoded: Vec<Encoded> = chunks.iter().map(|chunk| self.encode(chunk)).collect();
        let (texts, offsets): (Vec<_>, Vec<_>) = encoded
            .into_iter()
            .map(|encoded| (encoded.text, (encoded.offsets, encoded.unknown)))
            .unzip();
        let winners = self.judge.winners(&texts)?;
        let mut all = Vec::with_capacity(chunks.len());
        let winners = texts.iter().zip(winners);
        for ((chunk, (offsets, unknown)), (text, mut winners)) in
            chunks.iter().zip(&offsets).zip(winners)
        {
            place.leave_out_neighbours(&text.own, chunk.begins, &mut winners);
            let mut findings: Vec<Finding> = winners
                .iter()
                .filter(|winner| f64::from(winner.gain) > self.threshold_nats)
                .filter_map(|winner| self.finding(chunk, offsets, winner))
                .collect();
            let width = |at: usize| chunk.text[at..].chars().next().map_or(0, char::len_utf8);
            findings.extend(unknown.iter().map(|&at| {
                Finding::new(Kind::Unknown, &chunk.text, at..at + width(at), None, None)
            }));
            findings.sort_by_key(|finding| (finding.bytes.start, finding.bytes.end));
            all.push(place.checked(chunk, findings));
        }
        Ok(all)
    }

    /// The ids of a chunk, framed by the end of the document where the vocabulary has one.
    fn encode(&self, chunk: &Chunk) -> Encoded {
        let tokenizer = &self.tokenizer;
        let end = tokenizer.end_of_document();
        let placeholder = tokenizer.unknown().or(tokenizer.own_id(' ')).unwrap_or_default();
        let (mut ids, mut offsets, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        let mut foreign = Vec::new();
        if let (true, Some(end)) = (chunk.begins, end) {
            ids.push(end);
            offsets.push(0);
        }
        for (at, character) in chunk.text.char_indices() {
            if tokenizer.units() == Units::Bytes {
                let bytes = &chunk.text.as_bytes()[at..at + character.len_utf8()];
                ids.extend(bytes.iter().map(|&byte| u32::from(byte)));
                offsets.extend(at..at + bytes.len());
                continue;
            }
            let id = tokenizer.own_id(character);
            if id.is_none() {
                foreign.push(ids.len());
                if tokenizer.unknown().is_none() && chunk.own.contains(&at) {
                    unknown.push(at);
                }
            }
            ids.push(id.unwrap_or(placeholder));
            offsets.push(at);
        }
        if let (true, Some(end)) = (chunk.ends, end) {
            ids.push(end);
            offsets.push(chunk.text.len());
        }
        let mut fixed = vec![0; ids.len()];
        if let Some(first) = fixed.first_mut().filter(|_| chunk.begins) {
            *first = 1;
        }
        if let Some(last) = fixed.last_mut().filter(|_| chunk.ends) {
            *last = 1;
        }
        // Nor can the neighbours be judged of a character that the model does not know.
        for at in foreign {
            let end = fixed.len().min(at + 2);
            fixed[at.saturating_sub(1)..end].fill(1);
        }
        let place = |at: usize| offsets.partition_point(|&offset| offset < at);
        let first = if chunk.begins { 0 } else { place(chunk.own.start) };
        let end = if chunk.ends { ids.len() } else { place(chunk.own.end) };
        offsets.push(chunk.text.len());
        Encoded { text: Text { own: first..end.max(first), ids, fixed }, offsets, unknown }
    }

    /// None for an edit after which the text is no UTF-8.
    fn finding(&self, chunk: &Chunk, offsets: &[usize], winner: &Winner) -> Option<Finding> {
        let (edit, text) = (&winner.edit, &chunk.text);
        let (start, end) = (offsets[edit.start], offsets[edit.end]);
        // Of bytes, to whole characters.
        let from = (0..=start).rev().find(|&at| text.is_char_boundary(at))?;
        let to = (end..=text.len()).find(|&at| text.is_char_boundary(at))?;
        let mut bytes = text.as_bytes()[from..start].to_vec();
        edit.ids.iter().for_each(|&id| bytes.extend_from_slice(self.tokenizer.bytes_of(id)));
        bytes.extend_from_slice(&text.as_bytes()[end..to]);
        let suggestion = String::from_utf8(bytes).ok()?;
        let kind = match edit.kind() {
            Kind::Deletion | Kind::Insertion if from < to && !suggestion.is_empty() => {
                Kind::Replacement
            }
            kind => kind,
        };
        Some(Finding::new(kind, text, from..to, Some(suggestion), Some(winner.gain.into())))
    }
}

/// A chunk in ids.
struct Encoded {
    text: Text,
    /// Where each id begins in the chunk, in bytes, and where the last ends.
    offsets: Vec<usize>,
    /// Where the characters stand that the vocabulary lacks, in bytes.
    unknown: Vec<usize>,
}

fn judge(network: &BidirectionalNetwork, tokenizer: &Tokenizer) -> Result<Judge> {
    let vocab = network.config().vocab;
    ensure!(
        vocab == tokenizer.vocab_size(),
        Error::vocabulary(format!(
            "the network has {vocab} ids but the vocabulary {}: take both from one checkpoint",
            tokenizer.vocab_size()
        ))
    );
    let is_text = (0..vocab as u32).map(|id| !tokenizer.bytes_of(id).is_empty()).collect();
    Judge::new(network, is_text)
}

/// A text all of which is looked at, but its ends, which have context on one side only or are its frame.
fn whole(ids: Vec<u32>, end: Option<u32>) -> Text {
    let mut fixed = vec![0; ids.len()];
    for (fixed, id) in fixed.iter_mut().zip(&ids) {
        *fixed = u8::from(Some(*id) == end);
    }
    if let ([first, .., last], None) = (&mut fixed[..], end) {
        (*first, *last) = (1, 1);
    }
    Text { own: 0..ids.len(), ids, fixed }
}

/// A text that is being read.
struct Reading<'a, I> {
    proofreader: &'a Proofreader,
    blocks: I,
    chunker: Chunker,
    waiting: Vec<Chunk>,
    ready: VecDeque<Checked>,
    place: Place,
    ended: bool,
}

impl<I: Iterator<Item = Result<String>>> Reading<'_, I> {
    fn refill(&mut self) -> Result<()> {
        let size = |chunks: &[Chunk]| chunks.iter().map(|chunk| chunk.own.len()).sum::<usize>();
        while !self.ended && size(&self.waiting) < AT_ONCE {
            match self.blocks.next().transpose()? {
                Some(block) => {
                    self.chunker.push(&block, &mut self.waiting);
                }
                None => {
                    self.chunker.finish(&mut self.waiting);
                    self.ended = true;
                }
            }
        }
        let chunks = std::mem::take(&mut self.waiting);
        self.ready.extend(self.proofreader.judge(&chunks, &mut self.place)?);
        Ok(())
    }
}

impl<I: Iterator<Item = Result<String>>> Iterator for Reading<'_, I> {
    type Item = Result<Checked>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            if let Err(error) = self.refill() {
                self.ended = true;
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
