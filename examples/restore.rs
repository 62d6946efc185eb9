//! Measures how well a bidirectional model fills gaps in the part of a text that it was not trained on, beside
//! a model of the same size that reads forward only.
//!
//!     chargru train corpus/lantern-coast.txt --bidirectional --out checkpoints/both
//!     chargru train corpus/lantern-coast.txt --out checkpoints/forward
//!     cargo run --release --example restore -- corpus/lantern-coast.txt checkpoints/both checkpoints/forward

use std::path::Path;
use std::time::Instant;

use chargru::Device;
use chargru::checkpoint::Checkpoint;
use chargru::fill::{FillOptions, Filler};
use chargru::model::PackedNetwork;
use chargru::text::Corpus;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Characters that are shown on each side of a gap.
const CONTEXT: usize = 256;
/// Texts that the forward model's beam keeps: as many as a filler takes from each half.
const WIDTH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    chargru::runtime::prepare_process();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, both, forward] = &arguments[..] else {
        return Err("name a text, a bidirectional checkpoint and one that reads forward".into());
    };
    let checkpoint = Checkpoint::open(Path::new(both), &Device::Cpu)?;
    let record = &checkpoint.config.corpus;
    let text: Vec<char> = Corpus::read(&[text.into()], &record.read)?.into_text().chars().collect();
    let held_out = &text[text.len() - (text.len() as f64 * record.val_fraction) as usize..];
    let filler = Filler::new(&checkpoint.bidirectional(&Device::Cpu)?, checkpoint.tokenizer)?;
    let forward = Checkpoint::open(Path::new(forward), &Device::Cpu)?;
    let network = forward.network(&Device::Cpu)?.pack()?;

    println!("gap               restored  probability  forward alone  seconds a gap");
    for (count, lengths, open) in
        [(500, 1..=1, false), (300, 5..=5, false), (300, 10..=10, false), (300, 1..=8, true)]
    {
        let gap = if open { '*' } else { '_' };
        let options =
            FillOptions { gap: '_', max_gap: if open { 12 } else { 0 }, ..Default::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut measured, mut restored, mut alone) = (0, 0, 0);
        let (mut probability, mut seconds) = (0.0, 0.0);
        while measured < count {
            let length = rng.random_range(*lengths.start() as u32..=*lengths.end() as u32) as usize;
            let room = (held_out.len() - 2 * CONTEXT - length) as u32;
            let at = CONTEXT + rng.random_range(0..room) as usize;
            let shown = &held_out[at - CONTEXT..at + length + CONTEXT];
            if shown.contains(&options.gap) || open && shown.contains(&gap) {
                continue;
            }
            let left: String = shown[..CONTEXT].iter().collect();
            let missing: String = shown[CONTEXT..CONTEXT + length].iter().collect();
            let right: String = shown[CONTEXT + length..].iter().collect();
            let gaps = gap.to_string().repeat(if open { 1 } else { length });
            let begin = Instant::now();
            let filled = filler.fill(&format!("{left}{gaps}{right}"), &options)?;
            seconds += begin.elapsed().as_secs_f64();
            probability += filled[0].probability;
            restored += u32::from(filled[0].gaps[0] == missing);
            if !open {
                let best = beam(&network, &forward.tokenizer.encode(&left)?, length)?;
                alone += u32::from(forward.tokenizer.decode(&best)? == missing);
            }
            measured += 1;
        }
        let percent = |part: f64| 100.0 * part / f64::from(count);
        let name = match (open, lengths.start()) {
            (true, _) => format!("{lengths:?}, unknown"),
            (false, length) => length.to_string(),
        };
        let alone = if open { "-".into() } else { format!("{:.1} %", percent(f64::from(alone))) };
        println!(
            "{name:16}  {:6.1} %  {:9.1} %  {alone:>13}  {:13.3}",
            percent(f64::from(restored)),
            percent(probability),
            seconds / f64::from(count)
        );
    }
    Ok(())
}

/// The likeliest `length` ids after `prompt` that a beam finds.
fn beam(
    network: &PackedNetwork,
    prompt: &[u32],
    length: usize,
) -> Result<Vec<u32>, Box<dyn std::error::Error>> {
    let mut session = network.session(1)?;
    let mut logits = Vec::new();
    for id in prompt {
        logits = session.step(&[*id])?.to_vec();
    }
    let mut texts: Vec<(f32, Vec<u32>)> = vec![(0.0, Vec::new())];
    for _ in 0..length {
        // By the row that they go on from.
        let mut longer: Vec<(f32, usize, u32)> = Vec::new();
        for (row, logits) in logits.chunks_exact(network.vocab()).enumerate() {
            let total: f32 = logits.iter().map(|logit| logit.exp()).sum();
            let likely = |logit: &f32| texts[row].0 + logit - total.ln();
            longer.extend((0..).zip(logits).map(|(id, logit)| (likely(logit), row, id)));
        }
        longer.sort_by(|a, b| b.0.total_cmp(&a.0));
        longer.truncate(WIDTH);
        session.select(&longer.iter().map(|text| text.1).collect::<Vec<_>>())?;
        logits = session.step(&longer.iter().map(|text| text.2).collect::<Vec<_>>())?.to_vec();
        let grown =
            |&(likely, row, id): &(f32, usize, u32)| (likely, [&texts[row].1[..], &[id]].concat());
        texts = longer.iter().map(grown).collect();
    }
    Ok(texts.swap_remove(0).1)
}
