//! Rows of text that are written side by side, each by its own request. A row joins and leaves at any
//! character, and what it writes does not depend on the rows beside it or on when it joined.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::{Error, Result, ensure};
use crate::generate::request::{Chunk, FinishReason, Request, RowId};
use crate::generate::sampling::{Sampler, SamplingConfig};
use crate::generate::utf8::Utf8Stream;
use crate::model::{PackedNetwork, Session};
use crate::text::Tokenizer;

/// Writes the texts of any number of requests with one network.
///
/// All rows take a step together, so that the weights are read once for all of them. The texts do not
/// depend on the company: with the CPU kernels a row computes the same bits alone and beside others.
/// (Tensor operations may round a sum differently with another number of rows. That changes a pick
/// only where two ids are equally likely to about the seventh digit.)
///
/// ```no_run
/// # use std::sync::Arc;
/// use chargru::generate::{Generator, Request};
/// # fn f(packed: chargru::model::PackedNetwork, tokenizer: Arc<chargru::text::Tokenizer>) -> chargru::Result<()> {
/// let mut generator = Generator::new(packed, tokenizer)?;
/// generator.join(&Request { seed: 1, ..Request::default() })?;
/// generator.join(&Request { seed: 2, ..Request::default() })?;
/// while !generator.is_empty() {
///     for chunk in generator.advance()? {
///         println!("{:?} writes {:?}", chunk.row, chunk.text);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Generator {
    network: PackedNetwork,
    tokenizer: Arc<Tokenizer>,
    /// Row i is that of `rows[i]`.
    session: Session,
    rows: Vec<Row>,
    /// Scores of each row's next id, [rows, V]; those of the ids before while `unread`.
    logits: Vec<f32>,
    /// The id that each row picked last, [rows].
    ids: Vec<u32>,
    /// Whether the session has yet to read `ids`.
    unread: bool,
    sampler: Sampler,
    joined: u64,
}

struct Row {
    id: RowId,
    sampling: SamplingConfig,
    rng: ChaCha8Rng,
    utf8: Utf8Stream,
    /// Ids that it may still write.
    left: usize,
    /// What it wrote in the last step.
    text: String,
    finish: Option<FinishReason>,
    /// Its owner has taken it away.
    gone: bool,
}

impl Generator {
    /// Without rows yet. `tokenizer` is that of the network's training.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] for a tokenizer with another number of ids than the network has;
    /// [`Error::Tensor`] without memory on the device.
    pub fn new(network: PackedNetwork, tokenizer: impl Into<Arc<Tokenizer>>) -> Result<Self> {
        let tokenizer = tokenizer.into();
        ensure!(
            tokenizer.vocab_size() == network.vocab(),
            Error::vocabulary(format!(
                "the network has {} ids but the tokenizer {}",
                network.vocab(),
                tokenizer.vocab_size()
            ))
        );
        Ok(Self {
            session: network.session(0)?,
            network,
            tokenizer,
            rows: Vec::new(),
            logits: Vec::new(),
            ids: Vec::new(),
            unread: false,
            sampler: Sampler::default(),
            joined: 0,
        })
    }

    /// Whether no row is left that goes on.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Row::is_over)
    }

    /// Rows that go on.
    pub fn rows(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_over()).count()
    }

    /// Adds a row. Its prompt is read at once, while the other rows stay where they are.
    ///
    /// # Errors
    /// [`Error::Setting`] for one outside its range, [`Error::Vocabulary`] for a prompt id outside the
    /// vocabulary, [`Error::Tensor`] without memory on the device. No row then is added.
    pub fn join(&mut self, request: &Request) -> Result<RowId> {
        let ids = self.join_many(request, 1)?;
        Ok(ids[0])
    }

    /// Adds `count` rows that write by the same request; its prompt is read once. Row i draws from
    /// stream `request.stream + i`.
    ///
    /// # Errors
    /// As [`Generator::join`].
    pub fn join_many(&mut self, request: &Request, count: usize) -> Result<Vec<RowId>> {
        request.sampling.validate()?;
        let vocab = self.tokenizer.vocab_size();
        if let Some(id) = request.prompt.iter().find(|id| **id as usize >= vocab) {
            let message = format!("the prompt's id {id} is outside the vocabulary of {vocab} ids");
            return Err(Error::vocabulary(message));
        }
        self.read()?;
        let (mut session, logits) = self.read_prompt(&request.prompt)?;
        session.select(&vec![0; count])?;
        self.session.append(&session)?;
        for index in 0..count as u64 {
            self.logits.extend_from_slice(&logits);
            self.ids.push(0);
            let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
            rng.set_stream(request.stream.wrapping_add(index));
            self.rows.push(Row {
                id: RowId(self.joined + index),
                sampling: request.sampling,
                rng,
                utf8: Utf8Stream::default(),
                left: request.length,
                text: String::new(),
                finish: None,
                gone: false,
            });
        }
        self.joined += count as u64;
        Ok(self.rows[self.rows.len() - count..].iter().map(|row| row.id).collect())
    }

    /// Takes a row away; says whether it was still there.
    pub fn leave(&mut self, row: RowId) -> bool {
        let found = self.rows.iter_mut().find(|there| there.id == row && !there.is_over());
        found.map(|row| row.gone = true).is_some()
    }

    /// Takes all rows away.
    pub fn clear(&mut self) {
        self.rows.iter_mut().for_each(|row| row.gone = true);
    }

    /// Every row picks its next id; gives what each wrote by it, in the order in which they joined.
    ///
    /// # Errors
    /// [`Error::Logits`] from weights that are unusable, [`Error::Tensor`] without memory on the device.
    /// The rows then are in no defined state: drop the generator.
    pub fn advance(&mut self) -> Result<impl ExactSizeIterator<Item = Chunk<'_>>> {
        self.read()?;
        let vocab = self.tokenizer.vocab_size();
        let rows = self.rows.iter_mut().zip(&mut self.ids);
        for ((row, id), logits) in rows.zip(self.logits.chunks_exact(vocab)) {
            if let Some(picked) = row.advance(&self.tokenizer, &mut self.sampler, logits)? {
                *id = picked;
            }
        }
        self.unread = true;
        Ok(self.rows.iter().map(Row::chunk))
    }

    /// Drops the rows that are over and has the others read what they picked.
    fn read(&mut self) -> Result<()> {
        let vocab = self.tokenizer.vocab_size();
        if self.rows.iter().any(Row::is_over) {
            let keep: Vec<usize> =
                (0..self.rows.len()).filter(|&index| !self.rows[index].is_over()).collect();
            self.session.select(&keep)?;
            self.ids = keep.iter().map(|&index| self.ids[index]).collect();
            let logits = keep.iter().flat_map(|&index| &self.logits[index * vocab..][..vocab]);
            self.logits = logits.copied().collect();
            self.rows.retain(|row| !row.is_over());
        }
        if self.unread {
            let logits = self.session.step(&self.ids)?;
            self.logits.copy_from_slice(logits);
            exclude_unknown(&self.tokenizer, &mut self.logits);
            self.unread = false;
        }
        Ok(())
    }

    /// A session of one row that has read `prompt` and what stands before it, and its scores [V].
    fn read_prompt(&self, prompt: &[u32]) -> Result<(Session, Vec<f32>)> {
        let mut session = self.network.session(1)?;
        let mut logits = Vec::new();
        let tokenizer = &*self.tokenizer;
        let start =
            tokenizer.end_of_document().or_else(|| prompt.is_empty().then(|| beginning(tokenizer)));
        for id in start.iter().chain(prompt) {
            logits.clear();
            logits.extend_from_slice(session.step(&[*id])?);
        }
        exclude_unknown(tokenizer, &mut logits);
        Ok((session, logits))
    }
}

impl Row {
    fn is_over(&self) -> bool {
        self.gone || self.finish.is_some()
    }

    /// Picks an id by `logits` [V] and writes what it stands for; None where nothing may be written.
    fn advance(
        &mut self,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
        logits: &[f32],
    ) -> Result<Option<u32>> {
        self.text.clear();
        if self.left == 0 {
            self.finish = Some(FinishReason::Length);
            return Ok(None);
        }
        let id = sampler.pick(&self.sampling, logits, self.rng.random::<f32>())?;
        self.left -= 1;
        if Some(id) == tokenizer.end_of_document() {
            self.finish = Some(FinishReason::EndOfDocument);
        } else {
            self.utf8.push(tokenizer.bytes_of(id), &mut self.text);
            self.finish = (self.left == 0).then_some(FinishReason::Length);
        }
        if self.finish.is_some() {
            self.utf8.finish(&mut self.text);
        }
        Ok(Some(id))
    }

    fn chunk(&self) -> Chunk<'_> {
        Chunk { row: self.id, text: &self.text, finish: self.finish }
    }
}

/// What cannot be written is never picked.
fn exclude_unknown(tokenizer: &Tokenizer, logits: &mut [f32]) {
    if let Some(unknown) = tokenizer.unknown() {
        for row in logits.chunks_exact_mut(tokenizer.vocab_size()) {
            row[unknown as usize] = f32::NEG_INFINITY;
        }
    }
}

/// What stands before the first character where no prompt does: a line's end, if the text has lines.
pub(crate) fn beginning(tokenizer: &Tokenizer) -> u32 {
    ["\n", " "].iter().find_map(|text| tokenizer.encode(text).ok()?.first().copied()).unwrap_or(0)
}
