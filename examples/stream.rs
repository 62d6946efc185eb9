//! Loads a checkpoint and streams text to stdout as it is written.
//!
//!     cargo run --release --example stream
//!     cargo run --release --example stream -- checkpoints/demo "MAREN:"

use std::io::Write;
use std::path::PathBuf;

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::generate::{Request, stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    chargru::runtime::prepare_process();
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments.next().unwrap_or_else(|| "checkpoints/demo".into()).into();
    let prompt = arguments.next().unwrap_or_default();

    let checkpoint = Checkpoint::open(&folder, &Device::Cpu)?;
    // Packed once; cheap to clone and to share between threads.
    let network = checkpoint.network(&Device::Cpu)?.pack()?;
    let request = Request {
        // An error names the characters that the model does not know.
        prompt: checkpoint.tokenizer.encode(&prompt)?,
        length: 400,
        ..Request::default()
    };

    let mut out = std::io::stdout().lock();
    write!(out, "{prompt}")?;
    for text in stream(&network, checkpoint.tokenizer, &request)? {
        out.write_all(text?.as_bytes())?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}
