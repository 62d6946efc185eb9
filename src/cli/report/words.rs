//! What the losses of a run say, in words. Plain text; `page` makes it HTML.

use crate::checkpoint::Metrics;
use crate::cli::html::{count, nats};
use crate::cli::report::runs::Run;

/// A change of less than this share of the loss is none: evaluations differ by as much from one to the next.
const SLIGHT: f64 = 0.005;
/// A fall of at least this share over the last quarter of the steps is learning.
const FALL: f64 = 0.01;
/// A learning rate below this share of its peak has come to its end.
const END_OF_SCHEDULE: f64 = 0.05;
/// A rise of at least this share above the lowest loss is overfitting.
const RISE: f64 = 0.01;

/// Sentences on the losses of a run.
pub(super) fn verdict(run: &Run) -> Vec<String> {
    let mut says = match run.metrics() {
        [] => vec!["It has not been evaluated yet: there are no curves to read.".to_string()],
        metrics => losses(metrics, run),
    };
    if let Some(total) = steps_planned(run).filter(|&total| run.steps() < total) {
        says.push(format!("It has taken {} of {} steps.", count(run.steps()), count(total)));
    }
    let skipped = run.metrics().last().map_or(0, |metrics| metrics.skipped_steps);
    if skipped > 0 {
        let steps =
            if skipped == 1 { "One step".into() } else { format!("{} steps", count(skipped)) };
        says.push(format!(
            "{steps} changed no weight, because the gradient was far larger than usual."
        ));
    }
    says
}

/// The end of the run, where it is a number of steps and nothing else has ended the run.
fn steps_planned(run: &Run) -> Option<u64> {
    let training = &run.record.config.training;
    let ended_otherwise =
        ["epochs", "time_limit", "patience"].iter().any(|n| !training[n].is_null());
    training["steps"].as_u64().filter(|_| !ended_otherwise)
}

fn losses(metrics: &[Metrics], run: &Run) -> Vec<String> {
    let (loss, unit) = (run.kind().loss(), run.kind().unit());
    let validation = run.validation();
    let (Some(&(last_step, last)), Some((best_step, best))) = (validation.last(), run.best())
    else {
        return without_validation(metrics, loss);
    };
    let train = metrics.iter().rev().find(|m| m.val_loss.is_some()).map_or(last, |m| m.train_loss);
    if validation.len() < 3 {
        return vec![format!(
            "The validation {loss} is {} nats per {unit} at step {}. Fewer than three evaluations say \
             nothing about its course.",
            nats(last),
            count(last_step)
        )];
    }
    let mut says = vec![course(metrics, &validation, (best_step, best), loss, unit)];
    says.push(gap(last_step, train, last, run));
    says
}

/// Whether the loss still falls, has levelled off, or rises.
fn course(
    metrics: &[Metrics],
    validation: &[(u64, f64)],
    (best_step, best): (u64, f64),
    loss: &str,
    unit: &str,
) -> String {
    let (last_step, last) = validation[validation.len() - 1];
    let rise = last - best;
    if rise > RISE * best.abs() {
        let train_at = |step: u64| metrics.iter().find(|m| m.step == step).map(|m| m.train_loss);
        let fell = train_at(best_step).zip(train_at(last_step)).map(|(then, now)| then - now);
        let while_training = match fell {
            Some(fell) if fell > 0.0 => {
                format!(", while the training {loss} fell by {}", nats(fell))
            }
            _ => String::new(),
        };
        return format!(
            "The validation {loss} was lowest at step {}, with {} nats per {unit}, and has risen by {} \
             since{while_training}: the network learns the text by heart. More text, more dropout or a \
             smaller network would help, more steps would not; best/ keeps the weights of step {}.",
            count(best_step),
            nats(best),
            nats(rise),
            count(best_step)
        );
    }
    // Against the lowest loss of the first three quarters.
    let early = |&&(step, _): &&(u64, f64)| step as f64 <= 0.75 * last_step as f64;
    let before =
        validation.iter().filter(early).map(|&(_, loss)| loss).fold(f64::INFINITY, f64::min);
    let fall = before - best;
    if before.is_finite() && fall > FALL * best.abs() {
        let peak = metrics.iter().map(|m| m.lr).fold(0.0, f64::max);
        let is_over = metrics.last().is_some_and(|m| m.lr < END_OF_SCHEDULE * peak);
        let how = if is_over { ", with a learning rate that falls as much later," } else { "" };
        return format!(
            "The network was still learning: over the last quarter of its steps the validation {loss} fell \
             by {} to {} nats per {unit}. A longer training{how} would probably go lower.",
            nats(fall),
            nats(best)
        );
    }
    format!(
        "The validation {loss} has levelled off: it was lowest at step {}, with {} nats per {unit}, and \
         fell by only {} over the last quarter of the steps. A longer training of the same network would \
         bring little.",
        count(best_step),
        nats(best),
        nats(if before.is_finite() { fall.max(0.0) } else { 0.0 })
    )
}

/// The distance of the two losses where the metrics end.
fn gap(step: u64, train: f64, validation: f64, run: &Run) -> String {
    let gap = validation - train;
    let dropout = run.record.config.model.dropout > 0.0;
    let with_dropout = if dropout { " (measured with dropout, which makes it higher)" } else { "" };
    let says = format!(
        "At step {} the training {} is {} nats{with_dropout} and the validation {} {} nats",
        count(step),
        run.kind().loss(),
        nats(train),
        run.kind().loss(),
        nats(validation)
    );
    if gap <= SLIGHT * validation.abs() {
        return format!(
            "{says}: no gap, so the network does not learn the text by heart, and a larger one{} may go \
             lower.",
            if dropout { " or one with less dropout" } else { "" }
        );
    }
    if gap < 0.1 * validation.abs() {
        return format!("{says}: a gap of {}, which is small.", nats(gap));
    }
    format!(
        "{says}: a gap of {}; so much better does it know the text that it has read than one that it has not.",
        nats(gap)
    )
}

fn without_validation(metrics: &[Metrics], loss: &str) -> Vec<String> {
    let (first, last) = (&metrics[0], &metrics[metrics.len() - 1]);
    vec![format!(
        "The run has no validation text, so nothing tells whether the network learns the language or the text by \
         heart. The training {loss} went from {} nats at step {} to {} at step {}.",
        nats(first.train_loss),
        count(first.step),
        nats(last.train_loss),
        count(last.step)
    )]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checkpoint::{Config, FORMAT, Progress, RunRecord};
    use crate::data::DataConfig;
    use crate::model::ModelConfig;
    use crate::text::{Corpus, Units};

    /// What the report says of these training and validation losses, evaluated every hundred steps.
    fn says(losses: &[(f64, Option<f64>)], change: impl FnOnce(&mut Run)) -> String {
        let metrics = losses.iter().enumerate().map(|(index, &(train_loss, val_loss))| Metrics {
            step: 100 * (index as u64 + 1),
            epoch: 0,
            train_loss,
            val_loss,
            lr: 0.002,
            chars_per_second: 1.0,
            elapsed_seconds: index as f64,
            gradient_norm: None,
            gradient_norm_max: None,
            skipped_steps: 0,
        });
        let corpus = DataConfig::default().record(&Corpus::from_text("t", "abc"), Units::Chars);
        let config = Config {
            format: FORMAT,
            chargru: String::new(),
            model: ModelConfig { dropout: 0.0, ..ModelConfig::default() },
            corpus: corpus.unwrap(),
            training: serde_json::json!({}),
            progress: Progress::default(),
            proofread: None,
        };
        let (root, samples) = (PathBuf::from("run"), Vec::new());
        let record =
            RunRecord { root, config, metrics: metrics.collect(), broken_lines: 0, samples };
        let mut run = Run { name: "run".into(), record };
        change(&mut run);
        verdict(&run).join(" ")
    }

    fn contains(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn a_rising_validation_loss_is_overfitting() {
        let losses = [(2.0, 2.0), (1.5, 1.6), (1.2, 1.5), (1.0, 1.52), (0.8, 1.54)];
        let text = says(&losses.map(|(train, val)| (train, Some(val))), |_| {});
        contains(
            &text,
            &[
                "was lowest at step 300, with 1.5000 nats per character, and has risen by 0.0400 since, \
                 while the training loss fell by 0.4000: the network learns the text by heart",
                "a gap of 0.7400",
            ],
        );
    }

    #[test]
    fn a_falling_validation_loss_is_learning_and_one_that_stays_has_levelled_off() {
        let falling = [2.0, 1.8, 1.6, 1.5, 1.4].map(|loss| (loss, Some(loss)));
        contains(
            &says(&falling, |_| {}),
            &["still learning: over the last quarter", "fell by 0.2000 to 1.4000", "no gap"],
        );
        let level = [2.0, 1.6, 1.501, 1.5, 1.503].map(|loss| (loss - 0.05, Some(loss)));
        contains(
            &says(&level, |_| {}),
            &["levelled off: it was lowest at step 400", "a gap of 0.0500, which is small"],
        );
    }

    #[test]
    fn runs_with_little_to_say_are_told_so() {
        contains(&says(&[], |_| {}), &["has not been evaluated yet"]);
        contains(&says(&[(1.0, Some(1.0)); 2], |_| {}), &["1.0000 nats", "Fewer than three"]);
        let text = says(&[(2.0, None), (1.0, None)], |_| {});
        contains(&text, &["no validation text", "went from 2.0000 nats at step 100 to 1.0000"]);
        let text = says(&[(1.0, Some(1.0)); 4], |run| {
            run.record.config.training = serde_json::json!({"steps": 2000});
            run.record.metrics[3].skipped_steps = 3;
            run.record.config.model.bidirectional = true;
        });
        contains(&text, &["400 of 2,000 steps", "3 steps changed no weight", "pseudo-likelihood"]);
    }

    #[test]
    fn losses_of_any_size_are_written() {
        for loss in [0.0, -1.0, 1e-300, 1e300, f64::MAX] {
            for other in [0.0, 1.0, f64::MAX] {
                let text = says(&[loss, other, loss, other].map(|l| (l, Some(l))), |_| {});
                assert!(!text.contains("NaN") && text.len() < 2000, "{text}");
            }
        }
    }
}
