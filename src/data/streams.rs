//! Windows for truncated backpropagation through time: B contiguous parts of one text, read T ids at a
//! time. Knows nothing of documents.

use serde::{Deserialize, Serialize};

use crate::data::batch::Batch;
use crate::data::ids::{IdSlice, Place};
use crate::data::random;
use crate::data::right_context::{RightContext, ensure_margin};
use crate::error::{Error, Result, ensure};

/// B streams of a text. An epoch has as many windows `[T, B]` as the text fills. The ids left over are
/// divided at random between the beginning and the end, so that each epoch cuts the text elsewhere.
#[derive(Clone, Debug)]
pub struct Streams {
    ids: IdSlice,
    batch: usize,
    seq_len: usize,
    /// M of a network that reads from both sides. None for one direction.
    margin: Option<usize>,
    seed: u64,
    windows: usize,
    cursor: StreamCursor,
}

/// Which window comes next. With the seed, it decides all further windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCursor {
    /// Epochs completed.
    pub epoch: u64,
    /// The window of the epoch, from 0.
    pub window: usize,
}

/// The largest B up to `batch` for which `ids` ids fill one window `[T, B]` and its last target.
///
/// # Errors
/// [`Error::Text`] for fewer than T + 1 ids; [`Error::Setting`] for a batch or a window of 0.
pub fn fitting_batch(ids: usize, batch: usize, seq_len: usize) -> Result<usize> {
    fitting(ids, batch, seq_len, None)
}

/// How many ids of a text are no targets: the first, and the last if both sides of a target are read.
fn ends(margin: Option<usize>) -> usize {
    1 + usize::from(margin.is_some())
}

/// As [`fitting_batch`]; with a margin also an id after the last target must fit.
pub(super) fn fitting(
    ids: usize,
    batch: usize,
    seq_len: usize,
    margin: Option<usize>,
) -> Result<usize> {
    let ends = ends(margin);
    ensure!(batch > 0, Error::setting("batch", "`batch` is 0 but must be at least 1"));
    ensure!(seq_len > 0, Error::setting("seq_len", "`seq_len` is 0 but must be at least 1"));
    ensure!(
        ids.saturating_sub(ends) >= seq_len,
        Error::Text(format!(
            "the corpus has {ids} characters to train on but one window needs {}: lower `seq_len` or \
         give more text",
            seq_len.saturating_add(ends)
        ))
    );
    Ok(batch.min((ids - ends) / seq_len))
}

impl Streams {
    /// # Errors
    /// Those of [`fitting_batch`], and [`Error::Setting`] for a batch above the one that it returns.
    pub fn new(ids: IdSlice, batch: usize, seq_len: usize, seed: u64) -> Result<Self> {
        Self::build(ids, batch, seq_len, None, seed)
    }

    /// For a network that reads from both sides: each window has a [`RightContext`] of `margin` ids more
    /// than it predicts. The last id is no target, because nothing follows it.
    ///
    /// # Errors
    /// Those of [`Streams::new`] with one id more in a window; [`Error::Setting`] for too large a margin.
    pub fn bidirectional(
        ids: IdSlice,
        batch: usize,
        seq_len: usize,
        margin: usize,
        seed: u64,
    ) -> Result<Self> {
        Self::build(ids, batch, seq_len, Some(margin), seed)
    }

    fn build(
        ids: IdSlice,
        batch: usize,
        seq_len: usize,
        margin: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        let fitting = fitting(ids.len(), batch, seq_len, margin)?;
        ensure!(
            batch == fitting,
            Error::setting(
                "batch",
                format!(
                    "`batch` is {batch} but {} characters fill at most {fitting} windows of {seq_len}: \
             lower it, or give more text",
                    ids.len()
                )
            )
        );
        if let Some(margin) = margin {
            ensure_margin(batch, seq_len, margin)?;
        }
        let windows = (ids.len() - ends(margin)) / batch / seq_len;
        Ok(Self { ids, batch, seq_len, margin, seed, windows, cursor: StreamCursor::default() })
    }

    /// B.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Windows in an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.windows
    }

    /// Epochs completed.
    pub fn epoch(&self) -> u64 {
        self.cursor.epoch
    }

    /// Which window comes next.
    pub fn cursor(&self) -> StreamCursor {
        self.cursor
    }

    /// Continues at `cursor`.
    ///
    /// # Errors
    /// [`Error::TrainingState`] for a cursor beyond the windows of an epoch.
    pub fn restore(&mut self, cursor: StreamCursor) -> Result<()> {
        ensure!(
            cursor.window < self.windows,
            Error::TrainingState(format!(
                "the training state is at window {} but this text has {} in an epoch: resume with the \
             corpus, `batch` and `seq_len` it was saved with",
                cursor.window, self.windows
            ))
        );
        self.cursor = cursor;
        Ok(())
    }

    /// The id at which the epoch begins: 0 up to the number of ids that its windows leave over.
    fn offset(&self, epoch: u64) -> usize {
        let targets = self.ids.len() - ends(self.margin);
        let slack = targets - self.batch * self.seq_len * self.windows;
        random::below(&mut random::generator(self.seed, epoch), slack as u64 + 1) as usize
    }

    /// The next window.
    pub fn next_batch(&mut self) -> Batch {
        let StreamCursor { epoch, window } = self.cursor;
        let stretch = self.seq_len * self.windows;
        let start = self.offset(epoch) + window * self.seq_len;
        let places = (0..self.batch).map(|stream| Place::at(start + stream * stretch));
        let (inputs, targets) = self.ids.gather(places.clone(), self.batch, self.seq_len);
        let right = self.margin.map(|margin| {
            RightContext::of_text(&self.ids, places, self.batch, self.seq_len, margin)
        });
        self.cursor = match window + 1 {
            next if next < self.windows => StreamCursor { epoch, window: next },
            _ => StreamCursor { epoch: epoch + 1, window: 0 },
        };
        Batch {
            inputs,
            targets,
            resets: None,
            t: self.seq_len,
            b: self.batch,
            fresh_state: window == 0,
            right,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Ids;

    /// A text whose every id is its own position.
    fn streams(length: u32, batch: usize, seq_len: usize, seed: u64) -> Streams {
        let ids = IdSlice::new(Ids::U32((0..length).collect()));
        Streams::new(ids, batch, seq_len, seed).unwrap()
    }

    #[test]
    fn windows_are_time_major_and_continue_where_the_last_one_ended() {
        // 2 streams of 2 windows of 3, and nothing left over.
        let mut streams = streams(13, 2, 3, 1);
        assert_eq!(streams.steps_per_epoch(), 2);
        let first = streams.next_batch();
        assert_eq!(first.inputs, [0, 6, 1, 7, 2, 8]);
        assert_eq!(first.targets, [1, 7, 2, 8, 3, 9]);
        assert!(first.fresh_state && first.resets.is_none());
        let second = streams.next_batch();
        assert_eq!(second.inputs, [3, 9, 4, 10, 5, 11]);
        assert!(!second.fresh_state);
        assert_eq!(streams.epoch(), 1);
        let third = streams.next_batch();
        assert_eq!(third, first);
    }

    #[test]
    fn epochs_begin_all_over_the_slack() {
        let mut streams = streams(100, 4, 20, 9); // slack 99 - 80 = 19
        let starts: Vec<u32> = (0..400).map(|_| streams.next_batch().inputs[0]).collect();
        assert_eq!(starts.iter().min(), Some(&0));
        assert_eq!(starts.iter().max(), Some(&19));
    }

    #[test]
    fn too_short_a_text_says_by_how_much() {
        let error = fitting_batch(80, 64, 128).unwrap_err().to_string();
        assert_eq!(
            error,
            "the corpus has 80 characters to train on but one window needs 129: lower `seq_len` \
             or give more text"
        );
        assert_eq!(fitting_batch(129, 64, 128).unwrap(), 1);
        assert_eq!(fitting_batch(256, 64, 128).unwrap(), 1);
        assert_eq!(fitting_batch(257, 64, 128).unwrap(), 2);
        assert_eq!(fitting_batch(1 << 20, 64, 128).unwrap(), 64);
        let setting = |batch, seq_len| match fitting_batch(9, batch, seq_len).unwrap_err() {
            Error::Setting { name, .. } => name,
            error => panic!("{error:?}"),
        };
        assert_eq!((setting(0, 1), setting(1, 0)), ("batch", "seq_len"));
        let huge = fitting_batch(9, 1, usize::MAX).unwrap_err();
        assert!(matches!(huge, Error::Text(_)), "{huge:?}");
        let ids = IdSlice::new(Ids::U8(vec![0; 256]));
        let error = Streams::new(ids, 2, 128, 0).unwrap_err().to_string();
        assert!(
            error.starts_with("`batch` is 2 but 256 characters fill at most 1 windows"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn an_epoch_predicts_each_character_of_one_contiguous_part_once(
            length in 2u32..400, batch in 1usize..9, seq_len in 1usize..40, seed: u64,
        ) {
            prop_assume!(length as usize > seq_len);
            let batch = fitting_batch(length as usize, batch, seq_len).unwrap();
            let mut streams = streams(length, batch, seq_len, seed);
            for _ in 0..3 {
                let mut targets = Vec::new();
                for _ in 0..streams.steps_per_epoch() {
                    let batch = streams.next_batch();
                    prop_assert!(batch.inputs.iter().zip(&batch.targets).all(|(i, t)| i + 1 == *t));
                    targets.extend(batch.targets);
                }
                targets.sort_unstable();
                prop_assert!(targets.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                prop_assert!(*targets.last().unwrap() < length);
                // Less than one more window a stream was left over.
                prop_assert!(length as usize - 1 - targets.len() < batch * seq_len);
            }
        }

        #[test]
        fn a_restored_cursor_continues_to_the_bit(steps in 0usize..30, seed: u64) {
            let mut through = streams(200, 3, 11, seed);
            (0..steps).for_each(|_| drop(through.next_batch()));
            let saved = serde_json::to_string(&through.cursor()).unwrap();
            let mut resumed = streams(200, 3, 11, seed);
            resumed.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            for _ in 0..15 {
                prop_assert_eq!(resumed.next_batch(), through.next_batch());
            }
        }
    }

    #[test]
    fn a_cursor_of_another_text_is_refused() {
        let mut streams = streams(200, 3, 11, 0);
        let windows = streams.steps_per_epoch();
        let error = streams.restore(StreamCursor { epoch: 0, window: windows }).unwrap_err();
        assert!(matches!(error, Error::TrainingState(_)), "{error:?}");
        assert!(error.to_string().contains(&format!("has {windows} in an epoch")), "{error}");
        assert_eq!(streams.cursor(), StreamCursor::default());
        streams.restore(StreamCursor { epoch: 9, window: windows - 1 }).unwrap();
        assert_eq!(streams.epoch(), 9);
    }
}
