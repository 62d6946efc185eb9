//! Texts read side by side, by both implementations: rows join, branch and leave.

use candle_core::{DType, Device, Result};
use candle_nn::VarBuilder;
use chargru::model::{Cell, ModelConfig, Network, PackedNetwork, Session, init};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const VOCAB: usize = 7;

/// A network of random weights.
pub fn network(cell: Cell, vocab: usize, seed: u64) -> Network {
    network_with(cell, vocab, seed, false)
}

/// The same, residual or not.
fn network_with(cell: Cell, vocab: usize, seed: u64, residual: bool) -> Network {
    let config = ModelConfig {
        cell,
        vocab,
        embedding: 5,
        hidden: 17,
        layers: 2,
        dropout: 0.0,
        tie_weights: false,
        bidirectional: false,
        residual,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let weights = init(&config, &mut rng, &Device::Cpu).expect("weights");
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    Network::new(&config, vb).expect("a network")
}

/// The logits after `ids`, read in a session of their own.
fn alone(packed: &PackedNetwork, ids: &[u32]) -> Result<Vec<f32>> {
    let mut session = packed.session(1)?;
    let mut logits = vec![];
    for id in ids {
        logits = session.step(&[*id])?.to_vec();
    }
    Ok(logits)
}

/// Steps `session` and compares each row with the same text read alone: to the bit by the kernels,
/// within 1e-6 (logits are about 1) by tensor operations, which may sum in another order.
fn expect(session: &mut Session, packed: &PackedNetwork, texts: &[&[u32]], tolerance: f32) {
    let last: Vec<u32> = texts.iter().map(|text| text[text.len() - 1]).collect();
    let got = session.step(&last).expect("logits");
    assert_eq!(got.len(), texts.len() * VOCAB);
    for (got, text) in got.chunks(VOCAB).zip(texts) {
        let want = alone(packed, text).expect("logits");
        let close = got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= tolerance);
        assert!(close, "{text:?}: {got:?} against {want:?}");
    }
}

#[test]
fn rows_join_branch_and_leave_without_touching_each_other() -> Result<()> {
    for (cell, residual) in Cell::ALL.into_iter().flat_map(|cell| [(cell, false), (cell, true)]) {
        let fastest = network_with(cell, VOCAB, 3, residual);
        // Of a residual network logits are larger, about 3.
        let rounding = if residual { 5e-6 } else { 1e-6 };
        for (network, tolerance) in [(fastest.reference(), rounding), (fastest.clone(), 0.0)] {
            let packed = network.pack()?;
            let mut session = packed.session(0)?;
            assert!(session.step(&[])?.is_empty());
            session.push()?;
            expect(&mut session, &packed, &[&[1]], tolerance);
            session.push()?;
            expect(&mut session, &packed, &[&[1, 2], &[3]], tolerance);
            session.select(&[1, 0, 1])?;
            expect(&mut session, &packed, &[&[3, 4], &[1, 2, 5], &[3, 6]], tolerance);

            let mut other = packed.session(2)?;
            expect(&mut other, &packed, &[&[6], &[5]], tolerance);
            session.select(&[1])?;
            session.append(&other)?;
            session.append(&packed.session(0)?)?;
            expect(&mut session, &packed, &[&[1, 2, 5, 0], &[6, 4], &[5, 3]], tolerance);
            // The session that was copied from goes on by itself.
            expect(&mut other, &packed, &[&[6, 0], &[5, 0]], tolerance);

            session.select(&[])?;
            session.append(&other)?;
            expect(&mut session, &packed, &[&[6, 0, 1], &[5, 0, 2]], tolerance);
            let mut state = packed.session(2)?;
            state.set_state(&session.state()?)?;
            expect(&mut state, &packed, &[&[6, 0, 1, 3], &[5, 0, 2, 4]], tolerance);
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_session_as_it_was() -> Result<()> {
    for cell in Cell::ALL {
        let (ours, theirs) = (network(cell, VOCAB, 3), network(cell, VOCAB, 4));
        for (network, foreign) in [
            (ours.clone(), theirs.clone()),
            (ours.reference(), theirs.reference()),
            (ours.clone(), ours.reference()),
            (ours.reference(), ours.clone()),
        ] {
            let packed = network.pack()?;
            let mut session = packed.session(1)?;
            session.step(&[1])?;
            assert!(session.step(&[1, 2]).is_err());
            assert!(session.step(&[VOCAB as u32]).is_err());
            assert!(session.select(&[1]).is_err());
            assert!(session.append(&foreign.pack()?.session(1)?).is_err());
            assert!(session.set_state(&packed.session(2)?.state()?).is_err());
            expect(&mut session, &packed, &[&[1, 2]], 1e-6);
        }
    }
    Ok(())
}
