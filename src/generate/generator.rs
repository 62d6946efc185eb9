//! Rows of text that are written side by side, each by its own request. A row joins and leaves at any
//! character, and what it writes does not depend on the rows beside it or on when it joined.

use std::sync::Arc;

use crate::error::{Error, Result, ensure};
use crate::generate::request::{Chunk, Request, RowId};
use crate::generate::row::Row;
use crate::generate::sampling::Sampler;
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
    /// The id that each row reads next, `[rows]`.
    ids: Vec<u32>,
    /// Scores of what follows on what each row has read, `[rows, V]`; kept for its memory.
    logits: Vec<f32>,
    /// Rows that wait, each with its state and the id that it reads next.
    paused: Vec<(Row, Session, u32)>,
    sampler: Sampler,
    joined: u64,
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
            ids: Vec::new(),
            logits: Vec::new(),
            paused: Vec::new(),
            sampler: Sampler::default(),
            joined: 0,
        })
    }

    /// Whether no row is left that goes on, paused ones aside.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Row::is_over)
    }

    /// Rows that go on, paused ones aside.
    pub fn rows(&self) -> usize {
        self.rows.iter().map(Row::count).sum()
    }

    /// Adds a row. It reads an id of its prompt in every step, and then writes one in each.
    ///
    /// # Errors
    /// Those of [`Request::validate`]; [`Error::Tensor`] without memory on the device. No row then is added.
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
        let (tokenizer, vocab) = (&*self.tokenizer, self.tokenizer.vocab_size());
        request.validate(vocab)?;
        let start = tokenizer
            .end_of_document()
            .or_else(|| request.prompt.is_empty().then(|| beginning(tokenizer)));
        let ids: Vec<RowId> = (self.joined..).take(count).map(RowId).collect();
        if let Some(row) = Row::new(ids.clone(), Arc::new(request.clone()), start, vocab) {
            self.session.push()?;
            self.ids.push(row.first_id());
            self.rows.push(row);
        }
        self.joined += count as u64;
        Ok(ids)
    }

    /// Takes a row away; says whether it was still there.
    pub fn leave(&mut self, row: RowId) -> bool {
        let paused = self.paused.len();
        self.paused.retain(|(there, ..)| there.id != row);
        self.paused.len() < paused || self.rows.iter_mut().any(|there| there.leave(row))
    }

    /// Takes all rows away.
    pub fn clear(&mut self) {
        self.paused.clear();
        self.rows.iter_mut().for_each(Row::clear);
    }

    /// Lets a row wait, while the others go on, until [`Generator::resume`]. What it writes does not change by it.
    /// Does nothing for a row that is over, waits already or reads its prompt for others too.
    ///
    /// # Errors
    /// [`Error::Tensor`] without memory on the device.
    pub fn pause(&mut self, row: RowId) -> Result<()> {
        let waits = |there: &Row| there.id == row && there.count() == 1 && !there.is_over();
        let Some(index) = self.rows.iter().position(waits) else { return Ok(()) };
        let mut session = self.network.session(0)?;
        session.append(&self.session)?;
        session.select(&[index])?;
        let others: Vec<usize> = (0..self.rows.len()).filter(|&other| other != index).collect();
        self.session.select(&others)?;
        self.paused.push((self.rows.remove(index), session, self.ids.remove(index)));
        Ok(())
    }

    /// Lets a row that waits go on.
    ///
    /// # Errors
    /// [`Error::Tensor`] without memory on the device.
    pub fn resume(&mut self, row: RowId) -> Result<()> {
        let Some(index) = self.paused.iter().position(|(there, ..)| there.id == row) else {
            return Ok(());
        };
        let (row, session, id) = self.paused.remove(index);
        self.session.append(&session)?;
        self.rows.push(row);
        self.ids.push(id);
        Ok(())
    }

    /// Every row reads an id: of its prompt, or what it wrote last; and if its prompt ends there, it writes one.
    /// Gives what each wrote, row by row, those that joined or went on first before the others.
    ///
    /// # Errors
    /// [`Error::Logits`] from weights that are unusable, [`Error::Tensor`] without memory on the device.
    /// The rows then are in no defined state: drop the generator.
    pub fn advance(&mut self) -> Result<impl ExactSizeIterator<Item = Chunk<'_>>> {
        let keep = |index: &usize| !self.rows[*index].is_over();
        let kept: Vec<usize> = (0..self.rows.len()).filter(keep).collect();
        if kept.len() < self.rows.len() {
            self.session.select(&kept)?;
            self.ids = kept.iter().map(|&index| self.ids[index]).collect();
            self.rows.retain(|row| !row.is_over());
        }
        self.logits.clear();
        self.logits.extend_from_slice(self.session.step(&self.ids)?);
        self.copy_rows()?;
        let vocab = self.tokenizer.vocab_size();
        let rows = self.rows.iter_mut().zip(&mut self.ids);
        for ((row, id), logits) in rows.zip(self.logits.chunks_exact_mut(vocab)) {
            if let Some(next) = row.advance(&self.tokenizer, &mut self.sampler, logits)? {
                *id = next;
            }
        }
        Ok(self.rows.iter().map(Row::chunk))
    }

    /// Puts the copies of rows that have read their prompt behind them.
    fn copy_rows(&mut self) -> Result<()> {
        let mut copies: Vec<Vec<Row>> = self.rows.iter_mut().map(Row::copied).collect();
        if copies.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let vocab = self.tokenizer.vocab_size();
        let (rows, ids) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.ids));
        let (mut sources, mut logits) = (Vec::new(), Vec::new());
        for (index, row) in rows.into_iter().enumerate() {
            // One that has left was only there to read for its copies.
            let all = (!row.is_over()).then_some(row).into_iter().chain(copies[index].drain(..));
            for row in all {
                self.rows.push(row);
                self.ids.push(ids[index]);
                sources.push(index);
                logits.extend_from_slice(&self.logits[index * vocab..][..vocab]);
            }
        }
        self.session.select(&sources)?;
        self.logits = logits;
        Ok(())
    }
}

/// What stands before the first character where no prompt does: a line's end, if the text has lines.
pub(crate) fn beginning(tokenizer: &Tokenizer) -> u32 {
    ["\n", " "].iter().find_map(|text| tokenizer.encode(text).ok()?.first().copied()).unwrap_or(0)
}
