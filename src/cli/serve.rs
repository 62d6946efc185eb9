//! `chargru serve`.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::checkpoint::{Checkpoint, newest_bidirectional_run};
use crate::cli::args::wrong;
use crate::cli::checkpoint::{self, CHECKPOINTS};
use crate::cli::device::{Machine, Target};
use crate::cli::output::log;
use crate::cli::signals::Signals;
use crate::cli::time::Time;
use crate::error::Error;
use crate::serve::{Limits, LogFormat, Model, ServeConfig, Server, log_to_stderr};

/// A paragraph is one line, which is wrapped as wide as the terminal is.
const RULES: &str = "\
The page is at /. Programs ask as they ask OpenAI's completions: POST /v1/completions, GET /v1/models; and POST \
/v1/score, /v1/inspect and, of a bidirectional model, /v1/fill and /v1/proofread. GET /health says whether the server \
runs, GET /metrics what it has done.

Only programs of this machine are served, unless --host says otherwise: then who asks must send the key of --api-key, \
or of the environment's CHARGRU_API_KEY, which other users of this machine do not see.

Ctrl-C or SIGTERM: nothing new is begun, running texts may end for --drain, and the program ends with 0. A second \
one ends it at once.

Examples:
  chargru serve
  chargru serve --checkpoint checkpoints/poems --checkpoint checkpoints/songs --port 9000";

#[derive(Args)]
#[command(after_help = RULES)]
pub(crate) struct ServeArgs {
    /// Run, or a checkpoint in it; may be given several times [default: the newest run in ./checkpoints, and the
    /// newest bidirectional one]
    #[arg(long, value_name = "DIR")]
    checkpoint: Vec<PathBuf>,
    /// Address or name to listen at
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    host: String,
    /// Port to listen at; 0 for any that is free, which the log names
    #[arg(long, default_value_t = ServeConfig::default().port, value_name = "N")]
    port: u16,
    /// Key that who asks must send as `authorization: Bearer KEY`
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Serve everybody who reaches --host, without a key
    #[arg(long)]
    insecure: bool,
    /// Origin whose pages may ask, such as https://example.org; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Texts of one model that are written side by side
    #[arg(long, default_value_t = Limits::default().rows, value_name = "N")]
    rows: usize,
    /// Requests that may wait for their turn; beyond, the answer is 429
    #[arg(long, default_value_t = Limits::default().queue, value_name = "N")]
    queue: usize,
    /// What running texts may take when the server is told to stop, such as 10s or 2m
    #[arg(long, default_value = "10s", value_name = "TIME")]
    drain: Time,
    /// How the log is written
    #[arg(long, value_enum, default_value_t = Log::Text)]
    log: Log,
    /// Write prompts and texts that are asked about to the log
    #[arg(long)]
    log_prompts: bool,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Log {
    /// A line a request
    Text,
    /// A JSON object a request
    Json,
}

/// Between two looks at whether a signal has come.
const SIGNALS: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &ServeArgs) -> Result<()> {
    let config = ServeConfig {
        host: address_of(&args.host)?,
        port: args.port,
        api_key: args.api_key.clone().or_else(|| std::env::var("CHARGRU_API_KEY").ok()),
        insecure: args.insecure,
        cors: args.cors.clone(),
        threads: None,
        drain: args.drain.0,
        log_prompts: args.log_prompts,
        limits: Limits { rows: args.rows, queue: args.queue, ..Limits::default() },
    };
    config.validate()?;
    log_to_stderr(match args.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    });
    let target = args.machine.open()?;
    let models = models(args, &target)?;
    let signals = Signals::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads to serve with")?;
    runtime.block_on(async {
        let server = Server::bind(models, config).await.map_err(with_remedy)?;
        args.say(&format!("listening on http://{} (Ctrl-C stops)", server.address()));
        let stop = async {
            while signals.received().is_none() {
                tokio::time::sleep(SIGNALS).await;
            }
        };
        Ok::<_, anyhow::Error>(server.run(stop).await?)
    })?;
    // A reading of a long text is not waited for.
    runtime.shutdown_background();
    args.say("stopped");
    Ok(())
}

impl ServeArgs {
    /// A line of the log, in its format.
    fn say(&self, line: &str) {
        match self.log {
            Log::Text => {
                log!("{line}");
            }
            Log::Json => tracing::info!("{line}"),
        }
    }
}

/// What to do where the address cannot be listened at.
fn with_remedy(error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "another program listens there already: give another --port, or 0 for any that is free"
        }
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for the system's administrator: give another --port"
        }
        Error::Io { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: give another --host"
        }
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(remedy)
}

/// An address, or the first that a name has.
fn address_of(host: &str) -> Result<IpAddr> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let found = (host, 0u16).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.map(|address| address.ip()).ok_or_else(|| {
        wrong(format!(
            "--host is '{host}': give an address or a name of this machine, such as 127.0.0.1"
        ))
    })
}

/// The models that were given; else the newest, and the newest that reads both sides.
fn models(args: &ServeArgs, target: &Target) -> Result<Vec<Model>> {
    let open = |path: &Path| -> Result<Checkpoint> {
        let checkpoint = Checkpoint::open(path, &target.device)?;
        args.say(&checkpoint::summary(&checkpoint));
        Ok(checkpoint)
    };
    let mut checkpoints: Vec<Checkpoint> =
        args.checkpoint.iter().map(|path| open(path)).collect::<Result<_>>()?;
    if checkpoints.is_empty() {
        checkpoints.push(open(&checkpoint::newest_path()?)?);
        let both = newest_bidirectional_run(Path::new(CHECKPOINTS));
        if let Some(both) = both.filter(|_| !checkpoints[0].config.model.bidirectional) {
            checkpoints.push(open(&both)?);
        }
    }
    checkpoints
        .into_iter()
        .map(|checkpoint| {
            let folder = checkpoint.folder.canonicalize().unwrap_or(checkpoint.folder.clone());
            let id = Model::id_of(&folder);
            let network = target.network(&checkpoint)?;
            let both = match checkpoint.config.model.bidirectional {
                true => Some(target.bidirectional(&checkpoint)?),
                false => None,
            };
            Ok(Model::new(id, checkpoint, network, both)?)
        })
        .collect()
}
