//! The targets of what is done with a bidirectional network: to fill gaps and to proofread.

use std::cell::RefCell;

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use chargru::data::EncodedText;
use chargru::fill::{FillOptions, Filler};
use chargru::model::{BidirectionalNetwork, Cell, ModelConfig};
use chargru::proofread::{Checked, Finding, Proofreader};
use chargru::text::{Corpus, Documents, Tokenizer, Units, VocabularyOptions};
use chargru::{Device, Error};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::targets::{Outcome, Stage, TEXT};

/// A small network that nothing was taught: its weights are drawn, and so large that it is sure of what
/// it says.
struct Model {
    network: BidirectionalNetwork,
    tokenizer: Tokenizer,
    options: VocabularyOptions,
    filler: Filler,
}

impl Model {
    /// Of characters, of few characters and one for the others, of bytes, of lines, of bytes in files.
    const KINDS: u8 = 5;

    fn new(kind: u8) -> Self {
        let options = VocabularyOptions {
            units: if matches!(kind, 2 | 4) { Units::Bytes } else { Units::Chars },
            documents: [Documents::Off, Documents::Lines, Documents::Files]
                [usize::from(kind.saturating_sub(2))],
            max_vocab: if kind == 1 { 9 } else { 100 },
        };
        let (tokenizer, _) = Tokenizer::build(TEXT, &options).expect("a tokenizer");
        let config = ModelConfig {
            cell: [Cell::GruResetAfter, Cell::Lstm, Cell::MinGru][usize::from(kind % 3)],
            vocab: tokenizer.vocab_size(),
            embedding: 3,
            hidden: 4,
            layers: 1 + usize::from(kind % 2),
            bidirectional: true,
            residual: kind > 2,
            ..ModelConfig::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(kind.into());
        let tensors = config.parameters().into_iter().map(|(name, shape)| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"))
        });
        let weights = VarBuilder::from_tensors(tensors.collect(), DType::F32, &Device::Cpu);
        let network = BidirectionalNetwork::new(&config, weights).expect("a network");
        let filler = Filler::new(&network, tokenizer.clone()).expect("a filler");
        Self { network, tokenizer, options, filler }
    }

    /// Does `work` with the network of a kind, which is made once.
    fn with<T>(kind: u8, work: impl FnOnce(&Self) -> T) -> T {
        thread_local! {
            static MODELS: RefCell<Vec<Model>> = const { RefCell::new(Vec::new()) };
        }
        MODELS.with_borrow_mut(|models| {
            if models.is_empty() {
                models.extend((0..Self::KINDS).map(Self::new));
            }
            work(&models[usize::from(kind % Self::KINDS)])
        })
    }

    /// Units of the vocabulary in a text; None for one that holds others.
    fn units(&self, text: &str) -> Option<usize> {
        let ids = self.tokenizer.encode_skipping_unknown(text);
        (self.tokenizer.decode(&ids).expect("its own ids") == text).then_some(ids.len())
    }
}

/// Most gap characters of a text in [`fill`], and most characters of a text in [`proofread`]: a network that
/// was not taught finds an error at each.
const GAPS: usize = 12;
const READ: usize = 1200;

/// What may be asked of a filler, from three bytes.
fn fill_options([gap, max_gap, draws]: [u8; 3]) -> FillOptions {
    FillOptions {
        gap: if gap < 128 { '_' } else { char::from(gap - 128) },
        max_gap: usize::from(max_gap % 72),
        num: [None, Some(0), Some(1), Some(3), Some(65), Some(200), Some(1000), Some(1001)]
            [usize::from(draws % 8)],
        temperature: [0.0, 1.0, 0.01, 100.0, f64::MIN_POSITIVE, 101.0, f64::NAN, -1.0]
            [usize::from(draws / 8 % 8)],
        seed: draws.into(),
    }
}

pub fn fills() -> Vec<Vec<u8>> {
    let texts =
        ["The t___ comes in, the * goes out.", "_", "*t_*", "_h__tide", "the *__", "in*_*_t"];
    let kinds = (0..Model::KINDS).flat_map(|kind| texts.map(|text| (kind, text)));
    kinds
        .zip((0..8).cycle())
        .map(|((kind, text), draws)| {
            // The few characters of kind 1 stand for all others too.
            let draws = [0, 2, 3, 4, 5, 6, 10, 27][draws];
            [&[kind, 0, 5, draws], text.as_bytes()].concat()
        })
        .collect()
}

/// Fills the gaps of any text with any options.
pub fn fill(_: &Stage, input: &[u8]) -> Outcome {
    let Some((&[kind, options @ ..], text)) = input.split_first_chunk::<4>() else {
        return Outcome::Refused;
    };
    Model::with(kind, |model| {
        let mut options = fill_options(options);
        // Long gaps take long; few inputs have them.
        if options.max_gap <= 64
            && (!options.seed.is_multiple_of(64) || model.options.units == Units::Bytes)
        {
            options.max_gap %= 6;
        }
        let is_open = |c: char| options.max_gap > 0 && c == '*';
        let is_gap = |c: char| c == options.gap || is_open(c);
        let (mut text, mut gaps) = (String::from_utf8_lossy(text).into_owned(), 0);
        text.retain(|c| {
            gaps += usize::from(is_gap(c));
            !is_gap(c) || gaps <= GAPS
        });
        assert_eq!(options.has_gap(&text), text.chars().any(is_gap));
        let fillings = match model.filler.fill(&text, &options) {
            Ok(fillings) => fillings,
            Err(error) => {
                match &error {
                    Error::Setting { .. } => assert!(options.validate().is_err(), "{error}"),
                    Error::UnknownCharacters(unknown) => {
                        assert!(unknown.characters.iter().all(|&c| text.contains(c)));
                        assert!(model.tokenizer.unknown().is_none());
                    }
                    Error::Text(_) => {}
                    error => panic!("{error}"),
                }
                return Outcome::Refused;
            }
        };
        // The text as it is written, part by part: what is known, or the least and the most of a gap.
        let mut parts: Vec<Result<char, (usize, usize)>> = Vec::new();
        let mut open = false;
        for c in text.chars() {
            if !is_gap(c) {
                parts.push(Ok(c));
                continue;
            }
            if !matches!(parts.last(), Some(Err(_))) {
                parts.push(Err((0, 0)));
                open = false;
            }
            let Some(Err((least, most))) = parts.last_mut() else { unreachable!() };
            match is_open(c) {
                true if open => {}
                true => (open, *most) = (true, *most + options.max_gap),
                false => (*least, *most) = (*least + 1, *most + 1),
            }
        }
        let most = options.num.unwrap_or(1);
        assert!((1..=most).contains(&fillings.len()), "{} of {most}", fillings.len());
        for filling in &fillings {
            let p = filling.probability;
            assert!(p > 0.0 && p <= 1.0, "a probability of {p}");
            assert!(filling.forward.is_finite() && filling.backward.is_finite(), "{filling:?}");
            let (mut gaps, mut whole) = (filling.gaps.iter(), String::new());
            for part in &parts {
                match part {
                    Ok(known) => whole.push(*known),
                    Err((least, most)) => {
                        let gap = gaps.next().expect("as many as were left");
                        let units = model.units(gap).expect("text of the vocabulary");
                        assert!((*least..=*most).contains(&units), "{gap:?}: {least}..={most}");
                        whole.push_str(gap);
                    }
                }
            }
            assert!(gaps.next().is_none() && whole == filling.text, "{filling:?} of {text:?}");
        }
        let total: f64 = fillings.iter().map(|filling| filling.probability).sum();
        assert!(total < 1.0 + 1e-9, "probabilities that sum to {total}");
        let falling = fillings.windows(2).all(|two| {
            two[0].probability >= two[1].probability * (1.0 - 1e-9) && two[0].gaps != two[1].gaps
        });
        assert!(falling, "{fillings:?}");
        if options.num.is_none_or(|num| num <= 3) {
            let again = model.filler.fill(&text, &options).expect("as just now");
            assert_eq!(again, fillings, "the same seed draws the same");
        }
        Outcome::Used
    })
}

pub fn proofs() -> Vec<Vec<u8>> {
    let typos = "Teh tide comes in, the tyde goes out.\nÑobbody aks it why 😀e\u{301}.\n\n\r";
    let long = TEXT.repeat(20);
    let of = |kind| {
        let texts = [(typos, 7), (typos, 0), ("", 3), ("\n", 1), ("é", 1), (&long, 99)];
        texts.map(|(text, block): (&str, u8)| [&[kind, 8, block], text.as_bytes()].concat())
    };
    (0..Model::KINDS).flat_map(of).collect()
}

/// Proofreads any text, which comes in blocks that end anywhere.
pub fn proofread(_: &Stage, input: &[u8]) -> Outcome {
    let Some((&[kind, threshold, block], text)) = input.split_first_chunk::<3>() else {
        return Outcome::Refused;
    };
    Model::with(kind, |model| {
        let most = if model.options.units == Units::Bytes { READ / 16 } else { READ };
        let text: String = String::from_utf8_lossy(text).chars().take(most).collect();
        let threshold = f64::from(threshold) / 8.0;
        let (documents, tokenizer) = (model.options.documents, &model.tokenizer);
        let proofreader = Proofreader::new(&model.network, tokenizer, documents, threshold)
            .expect("a proofreader");
        let read = |blocks: Vec<&str>| -> Vec<Checked> {
            let blocks = blocks.into_iter().map(|block| Ok(block.to_string()));
            let read: chargru::Result<_> = proofreader.read(blocks).collect();
            read.expect("any text is read")
        };
        let whole = read(vec![&text]);
        let mut rng = ChaCha8Rng::seed_from_u64(block.into());
        let (mut blocks, mut rest) = (Vec::new(), &text[..]);
        while !rest.is_empty() {
            let length = rng.random_range(0..=2 * usize::from(block) + 1).min(rest.len());
            let end = (length..).find(|&at| rest.is_char_boundary(at)).expect("its end");
            blocks.push(&rest[..end]);
            rest = &rest[end..];
        }
        let in_blocks = read(blocks);
        let findings = |all: &[Checked]| -> Vec<Finding> {
            all.iter().flat_map(|part| part.findings.clone()).collect()
        };
        assert_eq!(findings(&in_blocks), findings(&whole));
        assert!(
            in_blocks.iter().map(|part| &part.text[..]).eq(whole.iter().map(|part| &part.text[..]))
        );
        assert_eq!(whole.iter().map(|part| &part.text[..]).collect::<String>(), text);
        places(model, &text, &whole, threshold);
        let corrected: String = whole.iter().map(Checked::corrected).collect();
        if tokenizer.unknown().is_none() {
            let unknown = |text: &str| {
                text.chars()
                    .filter(|&c| {
                        let c = c.to_string();
                        model.units(&c).is_none() && !(documents == Documents::Lines && c == "\n")
                    })
                    .count()
            };
            assert_eq!(unknown(&corrected), unknown(&text), "{corrected:?} of {text:?}");
        }
        let corpus = Corpus::from_text("text", &text[..]);
        if let Ok(encoded) = EncodedText::new(corpus, tokenizer, documents) {
            match Proofreader::measure(&model.network, tokenizer, &encoded) {
                Ok(thresholds) => thresholds.validate().expect("thresholds"),
                Err(error) => assert!(matches!(error, Error::Text(_)), "{error}"),
            }
        }
        Outcome::Used
    })
}

/// Every finding stands where it says.
fn places(model: &Model, text: &str, whole: &[Checked], threshold: f64) {
    let (mut before, mut free) = (0, 0);
    let mut last: Option<Finding> = None;
    for part in whole {
        for finding in &part.findings {
            let (start, end) = (before + finding.bytes.start, before + finding.bytes.end);
            assert_eq!(&text[start..end], finding.found, "{finding:?}");
            assert!(end <= before + part.text.len() && start >= free, "{finding:?} after {last:?}");
            let insertion = finding.found.is_empty();
            let twice = insertion
                && last.as_ref().is_some_and(|last| last.found.is_empty() && free == start);
            assert!(!twice, "{finding:?} after {last:?}");
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let line = 1 + text[..start].matches('\n').count();
            let column = 1 + text[line_start..start].chars().count();
            assert_eq!((finding.line, finding.column), (line as u64, column as u64), "{finding:?}");
            assert!(text[..start].ends_with(&finding.before), "{finding:?}");
            assert!(text[end..].starts_with(&finding.after), "{finding:?}");
            match (&finding.suggestion, finding.gain_nats) {
                (Some(suggestion), Some(gain)) => {
                    assert!(gain > threshold && *suggestion != finding.found, "{finding:?}");
                    let own = model.options.documents == Documents::Lines;
                    assert!(!own || !suggestion.contains('\n'), "{finding:?}");
                    let known = model.tokenizer.units() == Units::Bytes
                        || model.units(suggestion).is_some();
                    assert!(known, "{finding:?}");
                }
                (None, None) => assert!(model.units(&finding.found).is_none(), "{finding:?}"),
                _ => panic!("a gain without a suggestion: {finding:?}"),
            }
            free = end;
            last = Some(finding.clone());
        }
        before += part.text.len();
    }
}
