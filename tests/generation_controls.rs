//! What a request can ask for besides a prompt and a length: stops, penalties, biases, log-probabilities; and rows
//! that wait.

use std::sync::Arc;

use chargru::Result;
use chargru::evaluate::score_text;
use chargru::generate::{
    FinishReason, Generator, Repetition, Request, Sample, SamplingConfig, Token, samples,
};
use chargru::model::{Cell, Network, PackedNetwork};
use chargru::text::{Documents, Tokenizer, Units, VocabularyOptions};

use crate::session::network;

fn tokenizer(options: VocabularyOptions) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::build("abcdefgh \n", &options).expect("a vocabulary").0)
}

fn gru(tokenizer: &Tokenizer) -> (Network, PackedNetwork) {
    let network = network(Cell::Gru, tokenizer.vocab_size(), 5);
    let packed = network.pack().expect("weights");
    (network, packed)
}

fn one(packed: &PackedNetwork, tokenizer: &Arc<Tokenizer>, request: &Request) -> Result<Sample> {
    Ok(samples(packed, Arc::clone(tokenizer), request, 1)?.remove(0))
}

/// About equally likely ids.
fn request() -> Request {
    let sampling = SamplingConfig { temperature: 3.0, ..SamplingConfig::default() };
    Request { prompt: vec![1, 2, 3], length: 200, sampling, seed: 5, ..Request::default() }
}

#[test]
fn a_stop_text_ends_the_row_before_it_and_changes_nothing_else() -> Result<()> {
    for units in [Units::Chars, Units::Bytes] {
        let tokenizer = tokenizer(VocabularyOptions { units, ..Default::default() });
        let (_, packed) = gru(&tokenizer);
        let whole = one(&packed, &tokenizer, &request())?;
        assert_eq!(whole.finish, FinishReason::Length);
        let characters: Vec<char> = whole.text.chars().collect();
        let last = characters.len();
        for (from, to) in [(40, 43), (17, 18), (0, 3), (last - 2, last)] {
            let stop: String = characters[from..to].iter().collect();
            let others = ["never written".to_string(), stop.clone()];
            let stopped = Request { stop: others.to_vec(), ..request() };
            let sample = one(&packed, &tokenizer, &stopped)?;
            let at = whole.text.find(&stop).expect("it stands there");
            assert_eq!(sample.text, whole.text[..at], "{stop:?}");
            assert_eq!(sample.finish, FinishReason::Stop);
        }
        let unmet = Request { stop: vec![format!("{}!", whole.text)], ..request() };
        assert_eq!(one(&packed, &tokenizer, &unmet)?, whole);
    }
    let empty = Request { stop: vec![String::new()], ..request() };
    assert!(empty.validate(10).is_err());
    Ok(())
}

/// The log-probabilities of a prompt and of what was written are those that scoring the whole text gives.
#[test]
fn echoed_log_probabilities_are_those_of_the_score() -> Result<()> {
    for documents in [Documents::Off, Documents::Lines] {
        let tokenizer = tokenizer(VocabularyOptions { documents, ..Default::default() });
        let (network, packed) = gru(&tokenizer);
        let asked = Request { echo: true, log_probabilities: Some(2), length: 30, ..request() };
        for sample in samples(&packed, Arc::clone(&tokenizer), &asked, 3)? {
            let tokens = sample.tokens.expect("they were asked for");
            let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
            assert_eq!(ids[..3], [1, 2, 3]);
            assert_eq!(tokenizer.decode(&ids)?, sample.text);
            let score = score_text(&network, &tokenizer, &ids, false)?;
            for (token, nats) in tokens.iter().zip(score.nats) {
                match (token.log_probability, nats) {
                    (Some(log), Some(nats)) => assert!((log + nats).abs() < 1e-4, "{log} {nats}"),
                    (log, nats) => assert_eq!((log, nats), (None, None)),
                }
            }
            let sorted = |Token { top, .. }: &Token| top.len() == 2 && top[0].1 >= top[1].1;
            assert!(tokens[1..].iter().all(sorted));
        }
    }
    Ok(())
}

#[test]
fn asking_for_log_probabilities_changes_no_text() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions { max_vocab: 8, ..Default::default() });
    assert!(tokenizer.unknown().is_some());
    let (_, packed) = gru(&tokenizer);
    let plain = one(&packed, &tokenizer, &request())?;
    let asked = Request { log_probabilities: Some(3), ..request() };
    let sample = one(&packed, &tokenizer, &asked)?;
    assert_eq!(sample.text, plain.text);
    let tokens = sample.tokens.expect("they were asked for");
    assert_eq!(tokens.len(), 200);
    // What stands for no text is no alternative.
    assert!(
        tokens.iter().flat_map(|token| &token.top).all(|(id, _)| Some(*id) != tokenizer.unknown())
    );
    Ok(())
}

#[test]
fn a_bias_and_a_penalty_shift_what_is_written() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions::default());
    let (_, packed) = gru(&tokenizer);
    let count = |sample: &Sample, c| sample.text.chars().filter(|&other| other == c).count();
    let plain = one(&packed, &tokenizer, &request())?;
    assert!(count(&plain, 'c') > 2);
    let id = tokenizer.encode("c")?[0];
    let never = Request { logit_bias: vec![(id, -100.0)], ..request() };
    assert_eq!(count(&one(&packed, &tokenizer, &never)?, 'c'), 0);
    let only = Request { logit_bias: vec![(id, 500.0)], ..request() };
    assert_eq!(count(&one(&packed, &tokenizer, &only)?, 'c'), 200);
    let none = Repetition { penalty: 5.0, window: 0 };
    assert_eq!(one(&packed, &tokenizer, &Request { repetition: none, ..request() })?, plain);

    // A character that stands twice in a row: rarer with a penalty that looks one id back.
    let doubles = |sample: &Sample| {
        let bytes = sample.text.as_bytes();
        bytes.windows(2).filter(|pair| pair[0] == pair[1]).count()
    };
    let cold = SamplingConfig { temperature: 0.2, ..SamplingConfig::default() };
    let last = Repetition { penalty: 10.0, window: 1 };
    let without = Request { sampling: cold, length: 1000, ..request() };
    let with = Request { repetition: last, ..without.clone() };
    let [without, with] = [one(&packed, &tokenizer, &without)?, one(&packed, &tokenizer, &with)?];
    assert!(doubles(&with) < doubles(&without), "{} {}", doubles(&with), doubles(&without));
    assert!(Request { logit_bias: vec![(99, 1.0)], ..request() }.validate(10).is_err());
    Ok(())
}

/// Rows wait and go on, also while they read, in the middle of others that do neither.
#[test]
fn a_row_that_waits_writes_what_it_would_have_written() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions::default());
    let (_, packed) = gru(&tokenizer);
    let requests: Vec<Request> = (0..4)
        .map(|seed| Request { seed, prompt: vec![seed as u32; 12], length: 40, ..request() })
        .collect();
    let mut generator = Generator::new(packed.clone(), Arc::clone(&tokenizer))?;
    let mut rows = Vec::new();
    for request in &requests {
        rows.push(generator.join(request)?);
    }
    let mut texts = vec![String::new(); 4];
    for step in 0..250 {
        match step {
            5 => generator.pause(rows[1])?,
            20 => generator.pause(rows[2])?,
            30 => {
                generator.pause(rows[2])?;
                generator.resume(rows[2])?;
                generator.resume(rows[2])?;
            }
            31 => generator.pause(rows[2])?,
            90 => generator.resume(rows[1])?,
            // The others are over.
            150 => {
                assert!(generator.is_empty());
                generator.resume(rows[2])?;
            }
            _ => {}
        }
        for chunk in generator.advance()? {
            let row = rows.iter().position(|&row| row == chunk.row).expect("a row");
            texts[row].push_str(chunk.text);
        }
    }
    for (request, text) in requests.iter().zip(texts) {
        assert_eq!(text, one(&packed, &tokenizer, request)?.text);
    }
    generator.join(&requests[0])?;
    let paused = generator.join(&requests[1])?;
    generator.pause(paused)?;
    assert!(generator.leave(paused) && !generator.leave(paused));
    Ok(())
}

/// Of rows that share a prompt, those that leave while it is read are not missed.
#[test]
fn rows_leave_while_their_prompt_is_read() -> Result<()> {
    let tokenizer = tokenizer(VocabularyOptions::default());
    let (_, packed) = gru(&tokenizer);
    let all = samples(&packed, Arc::clone(&tokenizer), &request(), 4)?;
    for left in [vec![0], vec![2], vec![0, 3], vec![0, 1, 2, 3]] {
        let mut generator = Generator::new(packed.clone(), Arc::clone(&tokenizer))?;
        let rows = generator.join_many(&request(), 4)?;
        assert_eq!(generator.advance()?.map(|chunk| chunk.text.len()).sum::<usize>(), 0);
        for &row in &left {
            assert!(generator.leave(rows[row]) && !generator.leave(rows[row]));
        }
        assert_eq!(generator.rows(), 4 - left.len());
        let mut texts = vec![String::new(); 4];
        while !generator.is_empty() {
            for chunk in generator.advance()? {
                let row = rows.iter().position(|&row| row == chunk.row).expect("a row");
                texts[row].push_str(chunk.text);
            }
        }
        for (row, text) in texts.iter().enumerate() {
            let expected = if left.contains(&row) { "" } else { &all[row].text };
            assert_eq!(text, expected, "{left:?}");
        }
    }
    Ok(())
}
