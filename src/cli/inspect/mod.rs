//! `chargru inspect`: what the gates and units of a network do over a text.
//!
//! | file | what it owns |
//! |---|---|
//! | `selection` | which layers and gates, and how much of the text |
//! | `table` | the units that were found, as a table |
//! | `page` | one HTML page, which needs nothing beside it |
//! | `tensors` | a safetensors file |

mod page;
mod selection;
mod table;
mod tensors;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::checkpoint::Checkpoint;
use crate::cli::args::wrong;
use crate::cli::device::Machine;
use crate::cli::inspect::selection::Selection;
use crate::cli::output::{emit, grouped, log};
use crate::cli::text_input::read_one;
use crate::cli::{atomic_file, checkpoint, escape};
use crate::inspect::{Found, Inspection, Reading, find, inspect};
use crate::model::Network;

const RULES: &str = "\
Without --out and --find, the values are printed as JSON. A file that --out names is replaced if it is one of \
chargru's own, else it is not.

--find looks for units that alone tell what a reader sees: quotation marks, brackets, capitals, a speaker's \
name, the place in the line. Of all layers and gates it takes the unit that does it best on the first half \
of the text, and says how well it does on the second. For yes or no the score is the area under the ROC curve, \
0.5 by chance, 1 if the unit never errs (and F1 is how well one threshold does); for a count it is the rank \
correlation, 0 by chance. An end of `low` says that the unit is low where the thing holds.

Layers count from 1, units from 0. The update gate z takes the candidate where it is 1 (in gru-reset-after it \
keeps the state). A text is read as that of the training was. Of a bidirectional model the half that reads \
forward is shown.";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct InspectArgs {
    /// Run, or a checkpoint in it [default: the newest run in ./checkpoints]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Text to read: a file, or - for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Layer, counted from 1 [default: the last; in a page or in safetensors all]
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// z, r, n or h; of an LSTM i, f, g, o, c or h [default: h; in a page or in safetensors all]
    #[arg(long, value_name = "GATE")]
    gate: Option<String>,
    /// Unit, counted from 0: the one that a page begins with, in JSON and safetensors the only one
    #[arg(long, value_name = "K")]
    unit: Option<usize>,
    /// Find the units that follow what a reader sees in the text, and print them as a table
    #[arg(long)]
    find: bool,
    /// How many units to find for each thing
    #[arg(long, value_name = "N", default_value_t = 1, requires = "find",
        value_parser = clap::value_parser!(u8).range(1..=50))]
    top: u8,
    /// Where to write: a page (.html), JSON (.json) or safetensors (.safetensors); - for stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What to write [default: by the ending of --out, else JSON]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A web page that needs nothing beside it
    Html,
    /// One object: tokens, values, memory, what was found
    Json,
    /// Tensors such as `layer1.z` [T, H], for Python
    Safetensors,
}

/// How files of JSON begin.
const JSON_MARK: &str = r#"{"object":"inspection","#;

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let format = format(args)?;
    let target = args.machine.open()?;
    let checkpoint = checkpoint::checkpoint(args.checkpoint.as_deref(), &target.device)?;
    let network = target.network(&checkpoint)?;
    let selection = Selection::new(network.config(), args.layer, args.gate.as_deref(), args.unit)?;
    if checkpoint.config.model.bidirectional {
        log!("note    a bidirectional model: this is its half that reads forward");
    }
    let record = &checkpoint.config.corpus;
    let waiting = "waiting for the text on standard input; name a FILE to look at that";
    let text = read_one(&args.file, &record.read, waiting)?;
    let documents: Vec<&str> = text.documents(record.documents).collect();
    let reading = Reading::of_documents(&checkpoint.tokenizer, &documents)?;

    let found = match args.find {
        true => Some(search(&network, &reading, usize::from(args.top))?),
        false => None,
    };
    let to_stdout = args.out.as_deref().is_none_or(|out| out == Path::new("-"));
    if let Some(found) = &found
        && !(to_stdout && format.is_some())
    {
        emit(&table::table(found))?;
    }
    match format {
        None => Ok(()),
        Some(Format::Json) => {
            let shown = selection.shorten_to_json(&reading);
            let (layer, gate) = selection.one();
            let inspection = inspect(&network, &shown, layer, gate)?;
            let json = json(&inspection, args.unit, found.as_ref())?;
            write(args, format!("{json}\n").as_bytes(), (0, JSON_MARK), "inspection")
        }
        Some(Format::Html) => {
            let page = page(args, &checkpoint, &network, &selection, &reading, found.as_ref())?;
            write(args, page.as_bytes(), (0, page::MARK), "inspection")
        }
        Some(Format::Safetensors) => {
            let shown = selection.shorten_to_values(&reading);
            let bytes = tensors::bytes(&network, &shown, &selection.places(), args.unit)?;
            write(args, &bytes, (8, tensors::MARK), "inspection")
        }
    }
}

/// What is to be written; None for the table alone.
fn format(args: &InspectArgs) -> Result<Option<Format>> {
    let ending = |out: &Path| match out.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => Some(Format::Html),
        Some("json") => Some(Format::Json),
        Some("safetensors") => Some(Format::Safetensors),
        _ => None,
    };
    let format = match (args.format, args.out.as_deref()) {
        (Some(format), _) => Some(format),
        (None, None) => (!args.find).then_some(Format::Json),
        (None, Some(out)) if out == Path::new("-") => Some(Format::Json),
        (None, Some(out)) => Some(ending(out).ok_or_else(|| {
            wrong(format!(
                "--out {} does not say what to write: let it end in .html, .json or .safetensors, or \
                 give --format",
                escape::field(&out.to_string_lossy())
            ))
        })?),
    };
    let no_file = args.out.as_deref().is_none_or(|out| out == Path::new("-"));
    if format == Some(Format::Safetensors) && no_file {
        return Err(wrong("--format safetensors needs a file: name one with --out"));
    }
    Ok(format)
}

/// Finds units and says in the log what was left out.
fn search(network: &Network, reading: &Reading, top: usize) -> Result<Found> {
    let found = find(network, reading, top)?;
    let (read, all) = (found.read as u64, reading.len() as u64);
    if read < all {
        log!(
            "note    the first {} of {} {} are searched",
            grouped(read),
            grouped(all),
            reading.unit()
        );
    }
    for left_out in &found.left_out {
        log!("note    left out: {}: {}", left_out.label, left_out.why);
    }
    if found.units.is_empty() {
        log!("note    nothing was found: give a longer text");
    }
    Ok(found)
}

/// The object, `object` first.
fn json(inspection: &Inspection, unit: Option<usize>, found: Option<&Found>) -> Result<String> {
    let mut object = inspection.to_json(found);
    if let (Some(unit), Some(fields)) = (unit, object.as_object_mut()) {
        let column = inspection.column(unit)?;
        fields.insert("unit".into(), unit.into());
        fields.insert("values".into(), column.into());
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("object");
    }
    let rest = object.to_string();
    let rest = escape::json(rest.strip_prefix('{').unwrap_or(&rest));
    Ok(format!("{JSON_MARK}{rest}"))
}

fn page(
    args: &InspectArgs,
    checkpoint: &Checkpoint,
    network: &Network,
    selection: &Selection,
    reading: &Reading,
    found: Option<&Found>,
) -> Result<String> {
    let shown = selection.shorten_to_page(reading);
    let text = match args.file.as_os_str() == "-" {
        true => "standard input".to_string(),
        false => args.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let page = page::Page { checkpoint, network, text, whole: reading.len(), shown: &shown };
    page.html(selection, args.unit, found)
}

/// Writes to stdout or to the file of --out, which is replaced if it has `mark` at its place.
fn write(args: &InspectArgs, bytes: &[u8], (at, mark): (u64, &str), what: &str) -> Result<()> {
    match args.out.as_deref() {
        Some(out) if out != Path::new("-") => {
            atomic_file::ensure_replaceable(out, at, mark, what)?;
            atomic_file::write(out, bytes)?;
            log!("written to {}", escape::field(&out.to_string_lossy()));
            Ok(())
        }
        _ => emit(&String::from_utf8_lossy(bytes)),
    }
}
