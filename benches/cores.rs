//! What a training step would take on more processors than this machine has, from the times of its
//! parts on one: `peer cores`. What the model does not know is in benches/README.md.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use chargru::fused::{Precision, Section, record};
use chargru::model::Cell;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::work::{TrainStep, model, random_ids};

/// (H, L, B, T)
const SHAPES: [(usize, usize, usize, usize); 3] =
    [(256, 2, 32, 128), (512, 2, 64, 128), (1024, 2, 64, 64)];
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
/// What a section of several tasks costs beyond them on two threads, and again for each doubling of the
/// threads. rayon's pool, which the kernels used until November 2026, was seen to take 0.8 to 1.4 µs on two
/// threads that were awake.
const SECTION_START: Duration = Duration::from_micros(2);
/// Sections that are listed as those that lose most.
const LISTED: usize = 5;

/// A step cut for some number of threads. Each task has its shortest time of the counted steps.
struct Step {
    threads: usize,
    sections: Vec<Section>,
    serial: Duration,
}

impl Step {
    /// Runs `steps` steps on this thread, of which the first is not counted.
    fn measure(
        step: &mut TrainStep,
        shape: (usize, usize),
        threads: usize,
        steps: usize,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut runs, mut serial) = (Vec::new(), Vec::new());
        for counted in (0..steps).map(|step| step > 0) {
            let ids = random_ids(shape.1, shape.0, &mut rng)?;
            let targets = random_ids(shape.1, shape.0, &mut rng)?;
            let (result, sections, outside) =
                record(threads, processor_time, || step.run_here(&ids, &targets));
            result?;
            if counted {
                runs.push(sections);
                serial.push(outside);
            }
        }
        let mut sections = runs[0].clone();
        for (s, section) in sections.iter_mut().enumerate() {
            for (i, task) in section.tasks.iter_mut().enumerate() {
                *task = shortest(runs.iter().map(|run| run[s].tasks[i]).collect());
            }
        }
        Ok(Self { threads, sections, serial: shortest(serial) })
    }

    fn tasks(&self) -> Duration {
        self.sections.iter().flat_map(|section| &section.tasks).sum()
    }

    fn starts(&self) -> Duration {
        let sections = self.sections.iter().filter(|section| section.tasks.len() > 1).count();
        SECTION_START * sections as u32 * self.threads.ilog2()
    }

    /// What its threads lose in a section by waiting for the longest of them.
    fn imbalance(&self, section: &Section) -> Duration {
        let even = section.tasks.iter().sum::<Duration>() / self.threads as u32;
        section.makespan(self.threads).saturating_sub(even)
    }

    fn total(&self) -> Duration {
        let sections: Duration = self.sections.iter().map(|s| s.makespan(self.threads)).sum();
        self.serial + sections + self.starts()
    }
}

/// A step is often interrupted on a busy machine, a task seldom in all steps.
fn shortest(times: Vec<Duration>) -> Duration {
    times.into_iter().min().unwrap_or_default()
}

/// Processor time of this thread: what other programs take meanwhile does not count.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which outlives it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Time since the first call.
#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Prints the table, and the sections that lose most on the most threads.
pub fn print(cell: Cell, precision: Precision, steps: usize) -> Result<()> {
    println!(
        "| {cell} {precision:?} | threads | ms | speed-up | serial | waiting | smaller parts | starts |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for (hidden, layers, batch, seq_len) in SHAPES {
        let mut step = TrainStep::new(&model(cell, hidden, layers), batch, precision)?;
        let mut measured = Vec::new();
        for threads in THREADS {
            measured.push(Step::measure(&mut step, (batch, seq_len), threads, steps)?);
        }
        let one = &measured[0];
        for step in &measured {
            let waiting: Duration = step.sections.iter().map(|s| step.imbalance(s)).sum();
            let smaller = ms(step.tasks()) - ms(one.tasks());
            println!(
                "| ({hidden},{layers},{batch},{seq_len}) | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                step.threads,
                ms(step.total()),
                ms(one.total()) / ms(step.total()),
                ms(step.serial),
                ms(waiting),
                smaller / step.threads as f64,
                ms(step.starts()),
            );
        }
        for step in &measured[3..] {
            list(step, one);
        }
    }
    Ok(())
}

/// The lines of the program whose sections are furthest from one thread's time divided by the threads.
fn list(step: &Step, one: &Step) {
    let at = |step: &Step| {
        let mut places = BTreeMap::<_, (Duration, Duration)>::new();
        for section in &step.sections {
            let (tasks, makespan) =
                places.entry((section.place.file(), section.place.line())).or_default();
            *tasks += section.tasks.iter().sum::<Duration>();
            *makespan += section.makespan(step.threads);
        }
        places
    };
    let ideal = at(one);
    let mut losses: Vec<_> = at(step)
        .into_iter()
        .map(|(place, (tasks, makespan))| {
            let ideal =
                ms(ideal.get(&place).map_or(Duration::ZERO, |of| of.0)) / step.threads as f64;
            (ms(makespan) - ideal, ms(tasks) / step.threads as f64, ideal, place)
        })
        .collect();
    losses.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (loss, tasks, ideal, (file, line)) in losses.into_iter().take(LISTED) {
        eprintln!(
            "{} threads: {loss:.2} ms lost in {file}:{line}: {ideal:.2} of one thread, {tasks:.2} of the parts, {:.2} with waiting",
            step.threads,
            ideal + loss
        );
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
