//! A thread that writes the texts of a model, row beside row.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::generate::{FinishReason, Generator, Request, RowId};
use crate::model::PackedNetwork;
use crate::serve::sink::{Event, Reader, Sink};
use crate::text::Tokenizer;

/// Texts of one prompt.
pub(super) struct Order {
    pub request: Request,
    /// How many texts; the first is the request's choice `first_choice`.
    pub count: usize,
    pub first_choice: usize,
    /// Each text in one piece.
    pub whole: bool,
    pub reader: mpsc::Sender<Event>,
    /// One place for each text.
    pub places: OwnedSemaphorePermit,
}

enum Command {
    Write(Box<Order>),
    /// Ends all texts where they are.
    Cut,
}

/// Threads that write with one model.
pub(super) struct Engines(Vec<Engine>);

struct Engine {
    commands: Sender<Command>,
    /// Texts that it was given and that have not ended.
    rows: Arc<AtomicUsize>,
}

/// How long a thread sleeps whose rows all wait for their readers.
const READERS: Duration = Duration::from_millis(5);

impl Engines {
    /// Starts `threads` of them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        network: &PackedNetwork,
        tokenizer: &Arc<Tokenizer>,
        threads: usize,
    ) -> io::Result<Self> {
        let start = |_| {
            let (commands, receiver) = channel();
            let rows = Arc::new(AtomicUsize::new(0));
            let mut work = Work {
                network: network.clone(),
                tokenizer: Arc::clone(tokenizer),
                commands: receiver,
                sinks: HashMap::new(),
                rows: Arc::clone(&rows),
            };
            thread::Builder::new().name("chargru-write".into()).spawn(move || work.run())?;
            Ok(Engine { commands, rows })
        };
        Ok(Self((0..threads).map(start).collect::<io::Result<_>>()?))
    }

    /// Has the thread with the fewest rows write. Its reader's channel ends at once if that thread is gone.
    pub fn write(&self, order: Order) {
        let rows = |engine: &&Engine| engine.rows.load(Ordering::Relaxed);
        if let Some(engine) = self.0.iter().min_by_key(rows) {
            engine.rows.fetch_add(order.count, Ordering::Relaxed);
            let _ = engine.commands.send(Command::Write(Box::new(order)));
        }
    }

    /// Ends all texts where they are.
    pub fn cut(&self) {
        for engine in &self.0 {
            let _ = engine.commands.send(Command::Cut);
        }
    }
}

/// What a thread works on.
struct Work {
    network: PackedNetwork,
    tokenizer: Arc<Tokenizer>,
    commands: Receiver<Command>,
    sinks: HashMap<RowId, Sink>,
    rows: Arc<AtomicUsize>,
}

impl Work {
    /// Works until nobody can give it anything to do.
    fn run(&mut self) {
        loop {
            let why = match self.write() {
                Ok(()) => return,
                Err(error) => error.to_string(),
            };
            // The generator is in no defined state: its rows end, and a new one begins.
            for (_, sink) in self.sinks.drain() {
                sink.fail(&why);
            }
            self.rows.store(0, Ordering::Relaxed);
        }
    }

    fn write(&mut self) -> Result<()> {
        let mut generator = Generator::new(self.network.clone(), Arc::clone(&self.tokenizer))?;
        loop {
            let command = if self.sinks.is_empty() {
                self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else if generator.is_empty() {
                self.commands.recv_timeout(READERS)
            } else {
                self.commands.try_recv().map_err(|error| match error {
                    std::sync::mpsc::TryRecvError::Empty => RecvTimeoutError::Timeout,
                    std::sync::mpsc::TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match command {
                Ok(Command::Write(order)) => {
                    self.join(&mut generator, *order);
                    continue;
                }
                Ok(Command::Cut) => self.cut(&mut generator),
                Err(RecvTimeoutError::Disconnected) if self.sinks.is_empty() => return Ok(()),
                Err(_) => {}
            }
            if !generator.is_empty() {
                for chunk in generator.advance()? {
                    if let Some(sink) = self.sinks.get_mut(&chunk.row) {
                        sink.push(&chunk);
                    }
                }
            }
            self.send(&mut generator)?;
        }
    }

    fn join(&mut self, generator: &mut Generator, order: Order) {
        let Order { request, count, first_choice, whole, reader, mut places } = order;
        match generator.join_many(&request, count) {
            Ok(rows) => {
                for (choice, row) in (first_choice..).zip(rows) {
                    let sink = Sink::new(choice, whole, reader.clone(), places.split(1));
                    self.sinks.insert(row, sink);
                }
            }
            Err(error) => {
                self.rows.fetch_sub(count, Ordering::Relaxed);
                let _ = reader.try_send(Err(error.to_string()));
            }
        }
    }

    /// Gives readers what there is for them; lets rows wait for those that take nothing, and ends those of readers
    /// that have gone.
    fn send(&mut self, generator: &mut Generator) -> Result<()> {
        let now = Instant::now();
        let mut done = Vec::new();
        for (&row, sink) in &mut self.sinks {
            match sink.send(now) {
                Reader::Done => done.push(row),
                Reader::Behind if !sink.paused => {
                    generator.pause(row)?;
                    sink.paused = true;
                }
                Reader::Ready if sink.paused => {
                    generator.resume(row)?;
                    sink.paused = false;
                }
                Reader::Behind | Reader::Ready => {}
            }
        }
        for row in done {
            generator.leave(row);
            self.sinks.remove(&row);
            self.rows.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn cut(&mut self, generator: &mut Generator) {
        generator.clear();
        for sink in self.sinks.values_mut() {
            sink.finish(FinishReason::Length);
        }
    }
}
