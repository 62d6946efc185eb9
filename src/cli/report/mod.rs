//! `chargru report`: one HTML page of one run or of several, which needs nothing beside it.
//!
//! | file | what it owns |
//! |---|---|
//! | `runs` | the runs, their names and figures |
//! | `page` | the page: which part comes after which |
//! | `curves` | the charts |
//! | `words` | what the losses say, in words |
//! | `tables` | runs, settings, split and parameters as tables |

mod curves;
mod page;
mod runs;
mod tables;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::checkpoint::newest_run;
use crate::cli::checkpoint::CHECKPOINTS;
use crate::cli::output::{emit, log};
use crate::cli::report::runs::read_runs;
use crate::cli::{atomic_file, escape};

const RULES: &str = "\
The page has the curves of loss, learning rate, gradient norm and speed, what the losses say in words, the samples that \
the training kept, the settings, the split of the text and the parameters. Several runs are drawn over each other. A run \
that is still training is shown as far as it has come. A report that is there is replaced; another file is not.";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct ReportArgs {
    /// Folders of runs [default: the newest run in ./checkpoints]
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the page; - for stdout [default: report.html in the folder of the first run]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// So many runs are shown at most: more curves in one chart say nothing.
const MOST_RUNS: usize = 100;

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let mut roots = args.runs.clone();
    if roots.is_empty() {
        let Some(newest) = newest_run(Path::new(CHECKPOINTS)) else {
            bail!(
                "there is no run in ./checkpoints yet: train one with `chargru train`, or name the \
                 folder of one"
            );
        };
        roots.push(newest);
    }
    if roots.len() > MOST_RUNS {
        bail!("{} runs are too many for one report: name at most {MOST_RUNS}", roots.len());
    }
    let runs = read_runs(&roots)?;
    for run in runs.iter().filter(|run| run.record.broken_lines > 0) {
        log!(
            "note    {}: {} lines of its metrics cannot be read and are left out",
            escape::field(&run.record.root.to_string_lossy()),
            run.record.broken_lines
        );
    }
    let page = page::page(&runs)?;
    let out = args.out.clone().unwrap_or_else(|| roots[0].join("report.html"));
    if out.as_os_str() == "-" {
        return emit(&page);
    }
    atomic_file::ensure_replaceable(&out, 0, page::MARK, "report")?;
    atomic_file::write(&out, page.as_bytes())?;
    log!("the report is {}", escape::field(&out.to_string_lossy()));
    Ok(())
}
