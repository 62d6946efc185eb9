//! Trains a small network on a text from memory, in a few seconds, and writes with it.
//!
//!     cargo run --release --example train_and_sample
//!
//! Nothing is saved: `Trainer::save_in` keeps checkpoints, as `chargru train` does.

use std::ops::ControlFlow;

use chargru::Device;
use chargru::generate::{Request, samples};
use chargru::text::Corpus;
use chargru::train::{Event, Job};

const VERSE: &str = "\
The tide comes in, the tide goes out,\n\
and nobody asks it why.\n\
The lamp is lit, the lamp burns down,\n\
and morning is in the sky.\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Makes training faster on Linux; changes no result.
    chargru::runtime::prepare_process();

    let corpus = Corpus::from_text("verse", VERSE.repeat(20));
    let mut job = Job::small();
    job.train.steps = Some(200);
    job.train.lr = 0.01;
    let mut trainer = job.start(corpus, &Device::Cpu)?;
    trainer.run(|event| {
        if let Event::Step(report) = event
            && report.step.is_multiple_of(50)
        {
            println!("step {:3}: {:.3} nats per character", report.step, report.loss);
        }
        ControlFlow::Continue(())
    })?;

    let tokenizer = &trainer.data().tokenizer;
    let request = Request { prompt: tokenizer.encode("The ")?, length: 120, ..Request::default() };
    let texts = samples(&trainer.network().pack()?, tokenizer.clone(), &request, 1)?;
    println!("----\nThe {}", texts[0].text);
    Ok(())
}
