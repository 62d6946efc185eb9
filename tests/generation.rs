//! Rows of a generator: what they write, alone and in company.

use std::collections::BTreeMap;
use std::sync::Arc;

use chargru::Result;
use chargru::generate::{
    FinishReason, Generator, Request, RowId, Sample, Sampler, SamplingConfig, samples, stream,
};
use chargru::model::{Cell, PackedNetwork};
use chargru::text::{Documents, Tokenizer, Units, VocabularyOptions};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::session::network;

const TEXT: &str = "abcdefgh \n";

fn tokenizer(options: VocabularyOptions) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::build(TEXT, &options).expect("a vocabulary").0)
}

/// A network of random weights for `tokenizer`, by tensor operations and by the kernels.
fn networks(cell: Cell, tokenizer: &Tokenizer) -> [PackedNetwork; 2] {
    let network = network(cell, tokenizer.vocab_size(), 5);
    [network.reference(), network].map(|network| network.pack().expect("weights"))
}

fn sampling(temperature: f32, top_k: Option<usize>, top_p: f32) -> SamplingConfig {
    SamplingConfig { temperature, top_k, top_p, min_p: 0.0 }
}

/// Requests that differ in everything that a request can differ in.
fn requests() -> Vec<Request> {
    let of = |prompt: &[u32], length, sampling, seed, stream| Request {
        prompt: prompt.to_vec(),
        length,
        sampling,
        seed,
        stream,
        ..Request::default()
    };
    vec![
        of(&[], 30, sampling(1.0, None, 1.0), 1, 0),
        of(&[3], 12, sampling(1.0, None, 1.0), 1, 1),
        of(&[1, 2, 3, 4, 5], 40, sampling(2.0, Some(3), 1.0), 7, 0),
        of(&[4, 4], 25, sampling(0.5, None, 0.7), 8, 3),
        of(&[2; 20], 1, sampling(1.0, None, 1.0), 9, 0),
        of(&[0, 1], 33, sampling(0.0, None, 1.0), 2, 0),
    ]
}

/// One request by the parts that the generator is made of, with nothing beside it.
fn by_hand(packed: &PackedNetwork, tokenizer: &Tokenizer, request: &Request) -> Result<String> {
    let mut session = packed.session(1)?;
    let start = match (tokenizer.end_of_document(), &request.prompt[..]) {
        (Some(end), _) => vec![end],
        (None, []) => tokenizer.encode("\n")?,
        (None, _) => vec![],
    };
    let mut read = [start, request.prompt.clone()].concat();
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    rng.set_stream(request.stream);
    let (mut sampler, mut written) = (Sampler::default(), vec![]);
    for _ in 0..request.length {
        let mut logits = vec![];
        for id in read.drain(..) {
            logits = session.step(&[id])?.to_vec();
        }
        if let Some(unknown) = tokenizer.unknown() {
            logits[unknown as usize] = f32::NEG_INFINITY;
        }
        let id = sampler.pick(&request.sampling, &logits, rng.random::<f32>())?;
        if Some(id) == tokenizer.end_of_document() {
            break;
        }
        written.push(id);
        read.push(id);
    }
    let bytes: Vec<u8> = written.iter().flat_map(|&id| tokenizer.bytes_of(id)).copied().collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts of rows as they grow.
#[derive(Default)]
struct Texts(BTreeMap<RowId, (String, Option<FinishReason>)>);

impl Texts {
    fn advance(&mut self, generator: &mut Generator) -> Result<()> {
        for chunk in generator.advance()? {
            let (text, finish) = self.0.entry(chunk.row).or_default();
            assert_eq!(*finish, None, "a row that has finished goes on");
            text.push_str(chunk.text);
            *finish = chunk.finish;
        }
        Ok(())
    }
}

/// Rows join one after another, most while others are in the middle of their text, and one leaves.
#[test]
fn a_row_writes_the_same_alone_and_in_company() -> Result<()> {
    for documents in [Documents::Off, Documents::Lines] {
        let tokenizer = tokenizer(VocabularyOptions { documents, ..Default::default() });
        for (cell, packed) in
            Cell::ALL.into_iter().flat_map(|cell| networks(cell, &tokenizer).map(|n| (cell, n)))
        {
            let requests = requests();
            let mut generator = Generator::new(packed.clone(), Arc::clone(&tokenizer))?;
            let (mut texts, mut rows) = (Texts::default(), vec![]);
            for (index, request) in requests.iter().enumerate() {
                rows.push(generator.join(request)?);
                for _ in 0..=index {
                    texts.advance(&mut generator)?;
                }
            }
            // Leaves before anything reads what it picked last, and while its neighbours go on.
            let left = rows.remove(2);
            let over = texts.0[&left].1.is_some();
            assert!(generator.leave(left) != over && !generator.leave(left));
            let late = Request { seed: 99, ..requests[2].clone() };
            rows.push(generator.join(&late)?);
            while !generator.is_empty() {
                texts.advance(&mut generator)?;
            }
            assert_eq!(generator.advance()?.len(), 0);
            let mut others = requests.clone();
            let partial = others.remove(2);
            others.push(late);
            for (row, request) in rows.iter().zip(&others) {
                let what = format!("{cell} {documents:?} {request:?}");
                let (text, finish) = &texts.0[row];
                assert_eq!(*text, by_hand(&packed, &tokenizer, request)?, "{what}");
                let alone = samples(&packed, Arc::clone(&tokenizer), request, 1)?;
                assert_eq!(*text, alone[0].text, "{what}");
                assert_eq!(*finish, Some(alone[0].finish), "{what}");
            }
            let whole = by_hand(&packed, &tokenizer, &partial)?;
            let (text, finish) = &texts.0[&left];
            assert!(whole.starts_with(text), "{text:?} is no beginning of {whole:?}");
            // Of 18 steps, four read the prompt and no more.
            assert!(documents != Documents::Off || finish.is_none() && text.len() == 14);
        }
    }
    Ok(())
}

#[test]
fn samples_of_one_prompt_draw_from_streams_of_one_seed() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions::default());
    for packed in networks(Cell::Gru, &tokenizer) {
        let request = Request { prompt: vec![1, 2], length: 30, seed: 4, ..Request::default() };
        let texts = samples(&packed, Arc::clone(&tokenizer), &request, 4)?;
        for (index, Sample { text, .. }) in texts.iter().enumerate() {
            let alone = Request { stream: index as u64, ..request.clone() };
            assert_eq!(*text, by_hand(&packed, &tokenizer, &alone)?);
            let chunks: Vec<String> =
                stream(&packed, Arc::clone(&tokenizer), &alone)?.collect::<Result<_>>()?;
            assert_eq!(chunks.len(), 30);
            assert_eq!(*text, chunks.concat());
        }
        assert_ne!(texts[0], texts[1]);
    }
    Ok(())
}

/// At temperature 100 all ids are about equally likely: 400 picks without one of eleven are no chance.
#[test]
fn the_unknown_id_is_never_picked() -> Result<()> {
    let options = VocabularyOptions { max_vocab: 8, ..VocabularyOptions::default() };
    let tokenizer = tokenizer(options);
    assert!(tokenizer.unknown().is_some());
    let [_, packed] = networks(Cell::Lstm, &tokenizer);
    let flat = sampling(100.0, None, 1.0);
    let request = Request { length: 400, sampling: flat, ..Request::default() };
    // The unknown id stands for no text.
    assert_eq!(samples(&packed, tokenizer, &request, 1)?[0].text.len(), 400);
    Ok(())
}

#[test]
fn the_end_of_a_document_ends_its_row_alone() -> Result<()> {
    let options = VocabularyOptions { documents: Documents::Lines, ..Default::default() };
    let tokenizer = tokenizer(options);
    let [_, packed] = networks(Cell::Rnn, &tokenizer);
    let flat = sampling(100.0, None, 1.0);
    let request = Request { length: 5, sampling: flat, ..Request::default() };
    let texts = samples(&packed, tokenizer, &request, 40)?;
    let ended = |sample: &&Sample| sample.finish == FinishReason::EndOfDocument;
    // The first of nine or ten ids ends a document with probability 0.1, one of five with 0.4.
    assert!((5..35).contains(&texts.iter().filter(ended).count()), "{texts:?}");
    for sample in &texts {
        let full = sample.text.len() == 5;
        assert_eq!(full, sample.finish == FinishReason::Length, "{sample:?}");
    }
    Ok(())
}

#[test]
fn bytes_come_as_whole_characters() -> Result<()> {
    let options = VocabularyOptions { units: Units::Bytes, ..VocabularyOptions::default() };
    let tokenizer = tokenizer(options);
    let [_, packed] = networks(Cell::Gru, &tokenizer);
    let request = Request { length: 300, seed: 3, ..Request::default() };
    let whole = by_hand(&packed, &tokenizer, &request)?;
    let chunks: Vec<String> = stream(&packed, tokenizer, &request)?.collect::<Result<_>>()?;
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
    assert_eq!(chunks.concat(), whole);
    Ok(())
}

#[test]
fn a_refused_request_changes_nothing_and_no_length_writes_nothing() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions::default());
    let [_, packed] = networks(Cell::Gru, &tokenizer);
    let good = Request { length: 20, ..Request::default() };
    let mut generator = Generator::new(packed.clone(), Arc::clone(&tokenizer))?;
    let row = generator.join(&good)?;
    let mut texts = Texts::default();
    texts.advance(&mut generator)?;
    let outside = tokenizer.vocab_size() as u32;
    assert!(generator.join(&Request { prompt: vec![0, outside], ..good.clone() }).is_err());
    let never = sampling(1.0, Some(0), 1.0);
    assert!(generator.join(&Request { sampling: never, ..good.clone() }).is_err());
    let nothing = generator.join(&Request { length: 0, ..good.clone() })?;
    assert_eq!(generator.rows(), 2);
    while !generator.is_empty() {
        texts.advance(&mut generator)?;
    }
    assert_eq!(texts.0[&row].0, by_hand(&packed, &tokenizer, &good)?);
    assert_eq!(texts.0[&nothing], (String::new(), Some(FinishReason::Length)));
    assert!(samples(&packed, Arc::clone(&tokenizer), &good, 0).is_err());
    let other = Tokenizer::build("xyz", &VocabularyOptions::default())?.0;
    assert!(Generator::new(packed, other).is_err());
    Ok(())
}

/// A server moves a generator to its thread.
#[test]
fn a_generator_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Generator>();
    is_send::<chargru::generate::TextStream>();
    fn is_shared<T: Clone + Send + Sync>() {}
    is_shared::<PackedNetwork>();
}
