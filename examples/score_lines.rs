//! Tells for each line of a file how well a checkpoint's network predicts it: nats per character.
//!
//!     head -n 100 corpus/lantern-coast.txt > lines.txt
//!     cargo run --release --example score_lines -- lines.txt
//!     cargo run --release --example score_lines -- poem.txt checkpoints/poems
//!
//! The file is read as one text, so that each line is predicted after those before it. For a model of
//! documents there is `chargru::evaluate::score_documents`.

use std::io::Write;
use std::path::Path;

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::evaluate::score_text;
use chargru::text::Corpus;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    chargru::runtime::prepare_process();
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("name a text file")?;
    let folder = arguments.next().unwrap_or_else(|| "checkpoints/demo".into());

    let checkpoint = Checkpoint::open(Path::new(&folder), &Device::Cpu)?;
    let network = checkpoint.network(&Device::Cpu)?;
    let tokenizer = &checkpoint.tokenizer;
    // Encoding and line ends as in the text of the training.
    let text = Corpus::read(&[file.into()], &checkpoint.config.corpus.read)?.into_text();
    let ids = tokenizer.encode(&text)?;
    let score = score_text(&network, tokenizer, &ids, false)?;

    let mut out = std::io::stdout().lock();
    let (mut line, mut nats, mut predicted) = (Vec::new(), 0.0, 0);
    for (index, (&id, cost)) in ids.iter().zip(&score.nats).enumerate() {
        line.extend_from_slice(tokenizer.bytes_of(id));
        // Nothing precedes the first character of a text: it is not predicted.
        if let Some(cost) = cost {
            nats += f64::from(*cost);
            predicted += 1;
        }
        if line.ends_with(b"\n") || index + 1 == ids.len() {
            let text = String::from_utf8_lossy(&line);
            writeln!(out, "{:.3}  {}", nats / f64::from(predicted.max(1)), text.trim_end())?;
            line.clear();
            (nats, predicted) = (0.0, 0);
        }
    }
    Ok(())
}
