//! `chargru info`.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use clap::Args;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use crate::cli::checkpoint;
use crate::cli::escape;
use crate::cli::output::{PSEUDO_LIKELIHOOD, bits, emit, grouped, layers_of};
use crate::data::paths::JsonPath;
use crate::proofread::FALSE_ALARMS;

#[derive(Args)]
pub(crate) struct InfoArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InfoArgs) -> Result<()> {
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &Device::Cpu)?;
    emit(&if args.json { as_json(&checkpoint) } else { as_text(&checkpoint) })
}

fn as_json(checkpoint: &Checkpoint) -> String {
    let config = &checkpoint.config;
    let parameters: serde_json::Map<_, _> =
        config.model.parameters().into_iter().map(|(name, shape)| (name, json!(shape))).collect();
    let mut object = json!({
        "folder": JsonPath::from(checkpoint.folder.as_path()),
        "chargru": config.chargru,
        "model": config.model,
        "parameters": parameters,
        "parameter_count": config.model.parameter_count(),
        "corpus": config.corpus,
        "training": config.training,
        "progress": config.progress,
    });
    if let Some(thresholds) = &config.proofread {
        object["proofread"] = json!(thresholds);
    }
    format!("{}\n", escape::json(&format!("{object:#}")))
}

fn as_text(checkpoint: &Checkpoint) -> String {
    let config = &checkpoint.config;
    let (model, corpus, progress) = (&config.model, &config.corpus, &config.progress);
    let mut out = String::new();
    let mut line =
        |name: &str, value: String| out.push_str(&format!("{name:<12}{}\n", escape::field(&value)));
    line("checkpoint", checkpoint.folder.display().to_string());
    line("written by", format!("chargru {}", config.chargru));
    line(
        "model",
        format!(
            "{}{}, {}{}, embedding {}, vocabulary {} {}{}{}",
            if model.bidirectional { "bidirectional " } else { "" },
            model.cell,
            layers_of(model.layers, model.hidden),
            if model.bidirectional { " in each direction" } else { "" },
            model.embedding,
            model.vocab,
            corpus.units,
            if model.tie_weights { ", tied weights" } else { "" },
            if model.residual { ", residual" } else { "" }
        ),
    );
    line("corpus", {
        let paths: Vec<String> = corpus.paths.iter().map(|p| p.display().to_string()).collect();
        let from =
            if paths.is_empty() { "shipped with the program".to_string() } else { paths.join(" ") };
        format!(
            "{} ({from}), {} characters, documents: {}",
            corpus.name,
            grouped(corpus.characters as u64),
            corpus.documents
        )
    });
    line("", format!("sha256 {}", corpus.sha256));
    line("split", format!("the last {} validates", corpus.val_fraction));
    line("trained", format!("{} steps, {} epochs", progress.step, progress.epoch));
    if model.bidirectional {
        line("measure", PSEUDO_LIKELIHOOD.into());
    }
    for (name, loss) in [
        ("train loss", progress.train_loss),
        ("val loss", progress.val_loss),
        ("best loss", progress.best_val_loss),
    ] {
        if let Some(nats) = loss {
            line(name, format!("{nats:.4} nats ({:.4} bits)", bits(nats)));
        }
    }
    if let Some(nats) = config.proofread.as_ref().and_then(|t| t.threshold(FALSE_ALARMS).ok()) {
        line(
            "proofread",
            format!(
                "threshold {nats:.2} nats for {FALSE_ALARMS} false alarms in 10,000 characters"
            ),
        );
    }
    line("settings", config.training.to_string());
    line("parameters", format!("{} in all, float32", grouped(model.parameter_count() as u64)));
    let width = if model.bidirectional { 28 } else { 22 };
    for (name, shape) in model.parameters() {
        let count: usize = shape.iter().product();
        out.push_str(&format!(
            "  {name:<width$}{:<14}{:>12}\n",
            format!("{shape:?}"),
            grouped(count as u64)
        ));
    }
    out
}
