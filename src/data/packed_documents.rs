//! Training on documents: B rows, each with one document after another. Knows nothing of the
//! streams of one long text.

use serde::{Deserialize, Serialize};

use crate::data::batch::Batch;
use crate::data::documents::DocumentSet;
use crate::data::random;
use crate::data::right_context::{Unfinished, ensure_margin};
use crate::error::{Error, Result, ensure};

/// Most predictions in one window. A few documents fill a window of any size, so that a mistyped
/// size would otherwise be found only when memory runs out.
const MAX_WINDOW: usize = 1 << 28;

/// B rows of documents. When a row's document ends, the row takes the next one from a queue, which
/// is shuffled anew each epoch and never ends: windows `[T, B]` are always full.
#[derive(Clone, Debug)]
pub struct PackedDocuments {
    set: DocumentSet,
    batch: usize,
    seq_len: usize,
    /// M of a network that reads from both sides. None for one direction.
    margin: Option<usize>,
    seed: u64,
    /// Predictions of all documents once.
    predictions: u64,
    queue: Vec<u32>,
    cursor: DocumentCursor,
}

/// Which window comes next. With the seed, it decides all further windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCursor {
    /// Windows given so far.
    pub windows: u64,
    /// The epoch whose shuffle the queue has.
    pub queue_epoch: u64,
    /// How many documents were taken from the queue.
    pub queue_position: usize,
    /// One for each of the B rows. (Files call them lanes, their first name.)
    #[serde(rename = "lanes")]
    pub rows: Vec<PackedRow>,
}

/// The next prediction of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRow {
    /// The document.
    pub document: u32,
    /// The prediction in it, from 0 to the document's length.
    pub position: usize,
}

impl PackedDocuments {
    /// # Errors
    /// [`Error::Setting`] for a batch or a window of 0, or a product of the two that is too large;
    /// [`Error::Text`] for no document.
    pub fn new(set: DocumentSet, batch: usize, seq_len: usize, seed: u64) -> Result<Self> {
        Self::build(set, batch, seq_len, None, seed)
    }

    /// For a network that reads from both sides: each window has a
    /// [`RightContext`](crate::data::RightContext) of up to `margin` ids more of the documents that go on
    /// after it. The ends of documents are targets, but not scored from both sides.
    ///
    /// # Errors
    /// Those of [`PackedDocuments::new`]; [`Error::Setting`] for too large a margin.
    pub fn bidirectional(
        set: DocumentSet,
        batch: usize,
        seq_len: usize,
        margin: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::build(set, batch, seq_len, Some(margin), seed)
    }

    fn build(
        set: DocumentSet,
        batch: usize,
        seq_len: usize,
        margin: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        ensure!(batch > 0, Error::setting("batch", "`batch` is 0 but must be at least 1"));
        ensure!(seq_len > 0, Error::setting("seq_len", "`seq_len` is 0 but must be at least 1"));
        ensure!(
            batch.checked_mul(seq_len).is_some_and(|window| window <= MAX_WINDOW),
            Error::setting(
                "batch",
                format!(
                    "`batch` {batch} by `seq_len` {seq_len} is above the {MAX_WINDOW} predictions of the \
             largest window: lower one of them"
                )
            )
        );
        if let Some(margin) = margin {
            ensure_margin(batch, seq_len, margin)?;
        }
        ensure!(
            !set.is_empty(),
            Error::Text("there are 0 documents to train on: give more text".into())
        );
        let mut packed = Self {
            predictions: set.predictions() as u64,
            set,
            batch,
            seq_len,
            margin,
            seed,
            queue: Vec::new(),
            cursor: DocumentCursor {
                windows: 0,
                queue_epoch: 0,
                queue_position: 0,
                rows: Vec::new(),
            },
        };
        packed.fill_queue();
        packed.cursor.rows = (0..batch).map(|_| packed.next_document()).collect();
        Ok(packed)
    }

    fn fill_queue(&mut self) {
        self.queue.clear();
        self.queue.extend_from_slice(self.set.members());
        let epoch = self.cursor.queue_epoch;
        random::shuffle(&mut self.queue, &mut random::generator(self.seed, epoch));
    }

    fn next_document(&mut self) -> PackedRow {
        if self.cursor.queue_position >= self.queue.len() {
            self.cursor.queue_epoch += 1;
            self.cursor.queue_position = 0;
            self.fill_queue();
        }
        let document = self.queue.get(self.cursor.queue_position).copied().unwrap_or_default();
        self.cursor.queue_position += 1;
        PackedRow { document, position: 0 }
    }

    /// B.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Windows in an epoch: those that hold as many predictions as the documents have, rounded up.
    pub fn steps_per_epoch(&self) -> usize {
        self.predictions.div_ceil(self.window_size()) as usize
    }

    /// Epochs completed: the predictions so far over those of all documents, rounded down.
    pub fn epoch(&self) -> u64 {
        self.cursor.windows.saturating_mul(self.window_size()) / self.predictions.max(1)
    }

    fn window_size(&self) -> u64 {
        (self.batch as u64).saturating_mul(self.seq_len as u64)
    }

    /// Which window comes next.
    pub fn cursor(&self) -> DocumentCursor {
        self.cursor.clone()
    }

    /// Continues at `cursor`.
    ///
    /// # Errors
    /// [`Error::TrainingState`] for a cursor with documents, positions or rows that are not here.
    pub fn restore(&mut self, cursor: DocumentCursor) -> Result<()> {
        let is_here = |row: &PackedRow| {
            self.set.members().contains(&row.document)
                && row.position <= self.set.length(row.document)
        };
        ensure!(
            cursor.rows.len() == self.batch
                && cursor.queue_position <= self.set.len()
                && cursor.rows.iter().all(is_here),
            Error::TrainingState(format!(
                "the training state has {} rows and document {} of its epoch, which do not fit `batch` \
             {} and the {} documents here: resume with the corpus, `batch` and `val_fraction` it \
             was saved with",
                cursor.rows.len(),
                cursor.queue_position,
                self.batch,
                self.set.len()
            ))
        );
        self.cursor = cursor;
        self.fill_queue();
        Ok(())
    }

    /// The next window.
    pub fn next_batch(&mut self) -> Batch {
        let (t, b) = (self.seq_len, self.batch);
        let mut inputs = vec![0; t * b];
        let mut targets = vec![0; t * b];
        let mut resets = vec![0; t * b];
        let mut right = self
            .margin
            .map(|m| (Unfinished::new(self.set.end_of_document(), t, m, b), vec![1; t * b]));
        let mut at = 0;
        for _ in 0..t {
            for row in 0..b {
                let PackedRow { document, position } = self.cursor.rows[row];
                let step = self.set.prediction(document, position);
                inputs[at] = step.input;
                targets[at] = step.target;
                resets[at] = u8::from(step.begins);
                if let Some((context, scored)) = &mut right {
                    context.read(at, &self.set, document, position);
                    scored[at] = u8::from(!step.ends);
                }
                self.cursor.rows[row] = if step.ends {
                    self.next_document()
                } else {
                    PackedRow { document, position: position + 1 }
                };
                at += 1;
            }
        }
        let right = right.map(|(mut context, scored)| {
            for (row, &PackedRow { document, position }) in self.cursor.rows.iter().enumerate() {
                context.read_margin(row, &self.set, document, position);
            }
            context.finish(scored.contains(&0).then_some(scored))
        });
        let windows = self.cursor.windows;
        self.cursor.windows += 1;
        Batch { inputs, targets, resets: Some(resets), t, b, fresh_state: windows == 0, right }
    }
}

#[cfg(test)]
#[path = "packed_documents_tests.rs"]
mod tests;
