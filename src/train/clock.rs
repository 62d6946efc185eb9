//! The time that a run has taken, over all the processes and calls that it was trained in.

use std::time::{Duration, Instant};

/// What a run's time is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counts {
    /// All that a call does: steps, evaluations, saves, samples.
    #[default]
    Everything,
    /// The steps.
    Steps,
}

/// A clock that stands still between the calls that train the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    counts: Counts,
    /// Time before it was last started.
    before: Duration,
    /// When it was started, if it runs.
    started: Option<Instant>,
}

impl Clock {
    /// A clock that stands at `before`.
    pub(super) fn at(self, before: Duration) -> Self {
        Self { before, started: None, ..self }
    }

    /// The same clock for another part of the time.
    pub(super) fn counting(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    /// Whether evaluations and saves take none of it.
    pub(super) fn counts_only_steps(&self) -> bool {
        self.counts == Counts::Steps
    }

    /// The time that it shows.
    pub(super) fn elapsed(&self) -> Duration {
        self.before + self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Starts it where `part` of the time begins, if it counts that part.
    pub(super) fn start(&mut self, part: Counts) {
        if self.counts == part && self.started.is_none() {
            self.started = Some(Instant::now());
        }
    }

    /// Stops it where `part` of the time ends, if it counts that part.
    pub(super) fn stop(&mut self, part: Counts) {
        if self.counts == part {
            *self = self.at(self.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_only_while_what_it_counts_goes_on() {
        let nap = Duration::from_millis(2);
        let sleep = || std::thread::sleep(nap);
        let hour = Duration::from_secs(3600);
        let mut clock = Clock::default().at(hour);
        sleep();
        assert_eq!(clock.elapsed(), hour);
        clock.start(Counts::Everything);
        clock.start(Counts::Steps);
        sleep();
        clock.stop(Counts::Steps);
        let shown = clock.elapsed();
        assert!(shown >= hour + nap);
        sleep();
        clock.stop(Counts::Everything);
        assert!(clock.elapsed() >= shown + nap, "the end of a step stopped it");

        let mut clock = Clock::default().at(hour).counting(Counts::Steps);
        clock.start(Counts::Everything);
        sleep();
        assert_eq!(clock.elapsed(), hour);
        clock.start(Counts::Steps);
        sleep();
        clock.stop(Counts::Steps);
        let shown = clock.elapsed();
        assert!(shown >= hour + nap);
        sleep();
        clock.stop(Counts::Everything);
        assert_eq!(clock.elapsed(), shown);
    }
}
