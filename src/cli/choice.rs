//! The settings that a text decides, and what the log says of them.

use anyhow::Result;

use crate::cli::device::Target;
use crate::cli::output::{grouped, layers_of, log};
use crate::cli::settings::Settings;
use crate::error::Error;
use crate::model::Precision;
use crate::text::{Corpus, Documents};
use crate::train::{Choice, Fixed, TextFacts, choose, choose_within, training_speed};

/// What fits `corpus` where `settings` leave a choice. With a time limit, the speed of this machine is measured.
pub(crate) fn choose_for(corpus: &Corpus, settings: &Settings, target: &Target) -> Result<Choice> {
    let text = TextFacts::of(corpus, settings.units);
    let fixed = Fixed { fastest: target.fastest(), ..settings.fixed() };
    let choice = match settings.time_limit {
        Some(limit) => choose_within(text, fixed, limit.0, |choice| {
            let mut job = settings.job(choice);
            // Of most alphabets.
            job.model.vocab = 80;
            let speed = training_speed(&job.model, &job.train, &target.device)?;
            // The steps of both directions take as long as two.
            Ok::<_, Error>(if job.model.bidirectional { speed / 2.0 } else { speed })
        })?,
        None => choose(text, fixed),
    };
    Ok(choice)
}

/// Says what was chosen and why, in three lines at most.
pub(crate) fn describe(choice: &Choice, corpus: &Corpus, settings: &Settings) {
    let Fixed { hidden, layers, .. } = settings.fixed();
    let list = settings.documents.is_none() && choice.documents == Documents::Lines;
    if hidden.is_none() || layers.is_none() || list {
        let time = settings.time_limit.map_or_else(String::new, |limit| {
            format!(" and {}, at the speed measured here", humantime::format_duration(limit.0))
        });
        let entries = if list { ", a list whose lines are learnt each on its own" } else { "" };
        log!(
            "chosen  {} for {} characters{entries}{time}",
            layers_of(choice.layers, choice.hidden),
            grouped(corpus.characters() as u64),
        );
    }
    let regularised = [settings.dropout, settings.weight_drop, settings.weight_decay];
    if regularised.iter().any(Option::is_none) {
        log!(
            "chosen  dropout {}, weight drop {}, weight decay {} for {:.1} parameters a character and {:.1} readings",
            settings.dropout.unwrap_or(choice.dropout),
            settings.weight_drop.unwrap_or(choice.weight_drop),
            settings.weight_decay.unwrap_or(choice.weight_decay),
            choice.parameters_per_id,
            choice.readings(),
        );
    }
    if settings.precision.is_none() && choice.precision != Precision::F32 {
        log!(
            "chosen  --precision {}, with which this processor takes more steps in that time",
            choice.precision
        );
    }
    if !settings.has_end() {
        log!(
            "chosen  {} steps: {:.1} readings of the text; or until {} evaluations in a row are no better",
            grouped(choice.steps),
            choice.readings(),
            settings.patience.unwrap_or(choice.patience),
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::train::Job;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    /// The two fill in what was chosen field by field.
    #[test]
    fn without_flags_the_program_trains_as_the_library_does_for_the_text() -> Result<()> {
        let Flags { settings } = Flags::try_parse_from(["train"])?;
        let target = Target::open(&settings.device)?;
        let names = include_str!("../../corpus/place-names.txt");
        for corpus in [
            Corpus::from_text("short", "The tide comes in.\n".repeat(9)),
            Corpus::from_text("names", names),
            Corpus::shipped(),
            Corpus::from_text("long", "The tide comes in.\n".repeat(2_000_000)),
        ] {
            let choice = choose_for(&corpus, &settings, &target)?;
            assert_eq!(settings.job(&choice), Job::for_text(&corpus), "{}", corpus.name());
        }
        Ok(())
    }
}
