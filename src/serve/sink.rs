//! What a row has written and its reader has not taken yet.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::generate::{Chunk, FinishReason, Token};

/// A piece of one of a request's texts.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Which of the request's texts.
    pub choice: usize,
    pub text: String,
    /// The ids of the text, where their log-probabilities were asked for.
    pub tokens: Vec<Token>,
    /// Set on the last piece.
    pub finish: Option<FinishReason>,
}

/// What a request's reader gets: pieces, or why there are none.
pub(super) type Event = Result<Piece, String>;

/// Time between two pieces of a text: as often as a screen shows something new.
const INTERVAL: Duration = Duration::from_millis(10);
/// Bytes and tokens that wait for a reader before its row does.
const MAX_WAITING: (usize, usize) = (1 << 14, 1 << 10);

/// Collects what a row writes, and sends it in pieces.
pub(super) struct Sink {
    waiting: Piece,
    /// Everything in one piece, at the end.
    whole: bool,
    reader: Sender<Event>,
    last: Option<Instant>,
    /// Its row waits for the reader.
    pub paused: bool,
    /// Kept while its row writes.
    place: Option<OwnedSemaphorePermit>,
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// It takes what there is.
    Ready,
    /// It does not, and more should not be written.
    Behind,
    /// It has everything, or has gone.
    Done,
}

impl Sink {
    pub fn new(
        choice: usize,
        whole: bool,
        reader: Sender<Event>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let waiting = Piece { choice, ..Piece::default() };
        Self { waiting, whole, reader, last: None, paused: false, place }
    }

    pub fn push(&mut self, chunk: &Chunk) {
        self.waiting.text.push_str(chunk.text);
        self.waiting.tokens.extend_from_slice(chunk.tokens);
        self.waiting.finish = chunk.finish;
    }

    /// The text ends with what was written.
    pub fn finish(&mut self, reason: FinishReason) {
        self.waiting.finish.get_or_insert(reason);
    }

    /// Sends what should be sent at this time.
    pub fn send(&mut self, now: Instant) -> Reader {
        if self.reader.is_closed() {
            return Reader::Done;
        }
        let (text, tokens) = (self.waiting.text.len(), self.waiting.tokens.len());
        let finishes = self.waiting.finish.is_some();
        let is_much = text > MAX_WAITING.0 || tokens > MAX_WAITING.1;
        let is_time = self.last.is_none_or(|last| now - last >= INTERVAL);
        let is_due = finishes || !self.whole && text > 0 && (is_time || is_much || self.paused);
        if is_due {
            match self.reader.try_reserve() {
                Ok(room) => {
                    if finishes {
                        // Before the reader knows: it may ask again at once.
                        self.place = None;
                    }
                    let next = Piece { choice: self.waiting.choice, ..Piece::default() };
                    room.send(Ok(std::mem::replace(&mut self.waiting, next)));
                    self.last = Some(now);
                    return if finishes { Reader::Done } else { Reader::Ready };
                }
                Err(TrySendError::Closed(())) => return Reader::Done,
                Err(TrySendError::Full(())) => {}
            }
        }
        if is_due && (is_much || finishes || self.paused) { Reader::Behind } else { Reader::Ready }
    }

    /// Says that the row cannot go on.
    pub fn fail(self, why: &str) {
        // A reader that takes nothing is told by the end of its channel.
        let _ = self.reader.try_send(Err(why.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sink: &mut Sink, text: &str, finish: Option<FinishReason>) -> Reader {
        sink.waiting.text.push_str(text);
        sink.waiting.finish = finish;
        sink.send(Instant::now() + INTERVAL * 1000)
    }

    #[test]
    fn the_first_character_comes_at_once_and_then_what_has_come_together() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(9);
        let mut sink = Sink::new(2, false, sender, None);
        let start = Instant::now();
        for text in ["a", "b", "c"] {
            sink.waiting.text.push_str(text);
            assert_eq!(sink.send(start), Reader::Ready);
        }
        sink.waiting.text.push('d');
        assert_eq!(sink.send(start + INTERVAL), Reader::Ready);
        let mut next = || receiver.try_recv().unwrap().unwrap();
        assert_eq!((next().text, next().text), ("a".into(), "bcd".into()));
        let last = write(&mut sink, "e", Some(FinishReason::Stop));
        assert_eq!(last, Reader::Done);
        let piece = next();
        assert_eq!((piece.choice, piece.finish), (2, Some(FinishReason::Stop)));
    }

    #[test]
    fn a_reader_that_takes_nothing_is_waited_for_with_a_bound_and_loses_nothing() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut sink = Sink::new(0, false, sender, None);
        let (mut written, mut reader) = (0, Reader::Ready);
        while reader == Reader::Ready {
            reader = write(&mut sink, "12345678", None);
            written += 8;
        }
        assert_eq!(reader, Reader::Behind);
        assert!(written <= MAX_WAITING.0 + 16, "{written}");
        sink.paused = true;
        assert_eq!(sink.send(Instant::now()), Reader::Behind);
        let first = receiver.try_recv().unwrap().unwrap();
        assert_eq!(sink.send(Instant::now()), Reader::Ready);
        let second = receiver.try_recv().unwrap().unwrap();
        assert_eq!(first.text.len() + second.text.len(), written);
        drop(receiver);
        assert_eq!(sink.send(Instant::now()), Reader::Done);
    }

    #[test]
    fn a_whole_text_comes_in_one_piece() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut sink = Sink::new(0, true, sender, None);
        for _ in 0..10_000 {
            assert_eq!(write(&mut sink, "12345678", None), Reader::Ready);
        }
        assert_eq!(write(&mut sink, "", Some(FinishReason::Length)), Reader::Done);
        assert_eq!(receiver.try_recv().unwrap().unwrap().text.len(), 80_000);
    }
}
