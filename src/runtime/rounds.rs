//! Whether to use the pool: on a busy machine one thread may be faster than several.

use crate::runtime::threads::{threads, with_threads};
use std::time::{Duration, Instant};

/// Pieces of work of about the same length, such as the steps of a training run. Runs each on all
/// threads, or on one where that was seen to be faster, for as long as it is.
///
/// Where other programs want the processors too, a section may have to wait for a worker that the system
/// has stopped in the middle of a task, for milliseconds each time. Whether that happens shows in the
/// time that rounds take and nowhere else. So a few rounds run alone, on this thread, now and then. What
/// the rounds on all threads gain against those or lose is added up. When they have lost too much, the
/// next rounds run alone for a pause that is many times as long as what was lost.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Whether the first round has run.
    begun: bool,
    /// Seconds that a round takes alone, once one was measured.
    alone: Option<f64>,
    /// Seconds that the rounds on all threads have gained, those lost taken off.
    balance: f64,
    /// The rounds alone that have run since they became due, and their seconds.
    sample: (u32, f64),
    /// When rounds alone are due again.
    sample_due: Option<Instant>,
    paused_until: Option<Instant>,
    /// Seconds of the last pause, if nothing was gained since.
    last_pause: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    AllThreads,
    /// This thread, as in a process that has only one.
    One,
}

/// Shorter rounds run alone: their sections take about a microsecond, as long as to share one takes. A
/// process that has no second thread also allocates faster.
const SHORT: f64 = 60e-6;
/// The rounds alone are measured as many at a time as take this long, or three.
const SAMPLE: f64 = 5e-3;
/// Rounds alone are measured for this part of the time, at most.
const SAMPLED: f64 = 1.0 / 200.0;
/// The least number of seconds that may be lost before a pause. For long rounds it is half a round.
const ALLOWANCE: f64 = 1e-3;
/// A pause is so many times as long as what was lost,
const PAUSE: f64 = 20.0;
/// and twice as long as the last pause, as far as this.
const LONG_PAUSE: f64 = 1.0;

impl Rounds {
    /// Runs one round.
    pub fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        if threads() == 1 {
            return work();
        }
        let start = Instant::now();
        let on = self.choose(start);
        let result = run_on(on, work);
        let end = Instant::now();
        self.note(on, end - start, end);
        result
    }

    /// Runs work of another length as a round would run now.
    pub fn run_other<R>(&self, work: impl FnOnce() -> R) -> R {
        run_on(if self.paused(Instant::now()) { On::One } else { On::AllThreads }, work)
    }

    fn paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    fn choose(&mut self, now: Instant) -> On {
        let is_short = self.alone.is_some_and(|alone| alone < SHORT);
        if is_short || self.paused(now) {
            return On::One;
        }
        self.paused_until = None;
        // None is due before the first, either.
        if self.sample_due.is_none_or(|due| now >= due) { On::One } else { On::AllThreads }
    }

    fn note(&mut self, on: On, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        match on {
            // The first round allocates memory: it is not compared.
            On::One if !self.begun => self.begun = true,
            On::One => self.note_alone(took, now),
            On::AllThreads => self.note_shared(took, now),
        }
    }

    fn note_alone(&mut self, took: f64, now: Instant) {
        // Rather too low than too high: a time too high would hide what is lost.
        self.alone = Some(match self.alone {
            None => took,
            Some(alone) if took < alone => alone + (took - alone) / 4.0,
            Some(alone) => alone + (took.min(2.0 * alone) - alone) / 8.0,
        });
        let (rounds, seconds) = &mut self.sample;
        *rounds += 1;
        *seconds += took;
        if *rounds == 3 || *seconds > SAMPLE {
            self.sample_due = Some(now + Duration::from_secs_f64(*seconds / SAMPLED));
            self.sample = (0, 0.0);
        }
    }

    fn note_shared(&mut self, took: f64, now: Instant) {
        let Some(alone) = self.alone else { return };
        let allowance = ALLOWANCE.max(alone / 2.0);
        // What was gained long ago counts no more. One round alone never uses all of it up: any thread
        // may be stopped once on a machine that is quiet otherwise.
        let gain = (alone - took).max(-2.0 * allowance);
        self.balance = (self.balance + gain).min(2.0 * allowance);
        if self.balance == 2.0 * allowance {
            self.last_pause = 0.0;
        }
        if self.balance < -allowance {
            let lost = (took - alone).max(-self.balance);
            self.last_pause = (PAUSE * lost).max(LONG_PAUSE.min(2.0 * self.last_pause));
            self.paused_until = Some(now + Duration::from_secs_f64(self.last_pause));
            self.balance = 0.0;
        }
    }
}

fn run_on<R>(on: On, work: impl FnOnce() -> R) -> R {
    match on {
        On::AllThreads => work(),
        On::One => with_threads(1, work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs rounds for so many seconds of a clock of its own; `length` says how long the next round takes,
    /// given when it begins. Returns the rounds on all threads, and those alone.
    fn simulate(
        rounds: &mut Rounds,
        clock: &mut Instant,
        seconds: f64,
        mut length: impl FnMut(On) -> f64,
    ) -> [u32; 2] {
        let end = *clock + Duration::from_secs_f64(seconds);
        let mut counts = [0; 2];
        while *clock < end {
            let on = rounds.choose(*clock);
            let took = Duration::from_secs_f64(length(on));
            *clock += took;
            rounds.note(on, took, *clock);
            counts[usize::from(on == On::One)] += 1;
        }
        counts
    }

    /// Lengths of a round, from the shortest that is shared to that of large networks.
    const LENGTHS: [f64; 4] = [80e-6, 2e-3, 0.1, 1.0];

    #[test]
    fn a_quiet_machine_runs_nearly_all_rounds_on_all_threads() {
        for alone in LENGTHS {
            let (mut rounds, mut clock) = (Rounds::default(), Instant::now());
            let mut count = 0;
            let [shared, one] = simulate(&mut rounds, &mut clock, 1000.0 * alone, |on| {
                count += 1;
                match on {
                    // The system has other things to do once in a while.
                    On::AllThreads if count % 400 == 0 => 0.6 * alone + 4e-3,
                    On::AllThreads => 0.6 * alone,
                    On::One => alone,
                }
            });
            assert!(one * 40 < shared, "{alone}: {shared} and {one}");
        }
    }

    #[test]
    fn a_busy_machine_costs_a_tenth_at_most() {
        for alone in LENGTHS {
            // A neighbour stops a worker in one round of `every`, for 4 ms.
            for every in [1, 3, 10] {
                let (mut rounds, mut clock) = (Rounds::default(), Instant::now());
                let (mut count, start) = (0, clock);
                let [shared, one] = simulate(&mut rounds, &mut clock, 3000.0 * alone, |on| {
                    count += 1;
                    match on {
                        On::AllThreads if count % every == 0 => alone.max(4e-3) + 0.3 * alone,
                        On::AllThreads => alone,
                        On::One => alone,
                    }
                });
                let took = (clock - start).as_secs_f64();
                let want = f64::from(shared + one) * alone;
                assert!(took < 1.1 * want, "{alone} {every}: {took} for {want}");
            }
        }
    }

    #[test]
    fn the_threads_come_back_when_the_machine_is_quiet_again() {
        for alone in LENGTHS {
            let (mut rounds, mut clock) = (Rounds::default(), Instant::now());
            let busy = |on| if on == On::One { alone } else { 2.0 * alone + 4e-3 };
            let [shared, one] = simulate(&mut rounds, &mut clock, 300.0 * alone + 5.0, busy);
            assert!(shared * 10 < one, "{alone}: {shared} and {one}");
            let quiet = |on| if on == On::One { alone } else { 0.6 * alone };
            simulate(&mut rounds, &mut clock, 45.0 * alone + 1.1, quiet);
            let [shared, one] = simulate(&mut rounds, &mut clock, 400.0 * alone, quiet);
            assert!(one * 40 < shared, "{alone}: {shared} and {one}");
        }
    }

    #[test]
    fn rounds_are_shared_from_when_they_are_long_enough() {
        let (mut rounds, mut clock) = (Rounds::default(), Instant::now());
        let [shared, one] = simulate(&mut rounds, &mut clock, 0.1, |_| 30e-6);
        assert!(shared == 0 && one > 3000, "{shared} and {one}");
        let long = |on| if on == On::One { 1e-3 } else { 0.6e-3 };
        simulate(&mut rounds, &mut clock, 0.1, long);
        let [shared, one] = simulate(&mut rounds, &mut clock, 1.0, long);
        assert!(one * 10 < shared, "{shared} and {one}");
    }

    #[test]
    fn a_round_alone_keeps_to_its_thread_and_a_panic_does_no_harm() {
        with_threads(3, || {
            let mut rounds = Rounds::default();
            let long = || {
                std::thread::sleep(Duration::from_secs_f64(2.0 * SHORT));
                threads()
            };
            // One to begin with, three that are measured.
            let first: Vec<usize> = (0..5).map(|_| rounds.run(long)).collect();
            assert_eq!(first, [1, 1, 1, 1, 3]);
            assert_eq!(rounds.run_other(threads), 3);
            let work = std::panic::AssertUnwindSafe(|| rounds.run(|| panic!("on purpose")));
            assert!(std::panic::catch_unwind(work).is_err());
            assert_eq!(threads(), 3);
            rounds.paused_until = Some(Instant::now() + Duration::from_secs(60));
            assert_eq!((rounds.run(threads), rounds.run_other(threads)), (1, 1));
        });
    }
}
