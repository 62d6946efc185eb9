//! Single steps against whole sequences.

use crate::fused::tests::case::Case;
use crate::fused::tests::random;
use crate::fused::*;
use candle_core::{Device, Result, Tensor};
use std::sync::Arc;

#[test]
fn stepping_equals_the_sequence() -> Result<()> {
    for (cell, vocab) in Cell::ALL.into_iter().flat_map(|cell| [(cell, 6), (cell, 2000)]) {
        let (t, b, h, e) = (5, 9, 17, 4);
        let layers = [
            Case::new(cell, [t, b, h, e], true, false),
            Case::new(cell, [t, b, h, h], false, false),
        ];
        let weights: Vec<LayerWeights> =
            layers.iter().map(|case| Case::weights(cell, &case.vars)).collect();
        let (table, readout, bias) =
            (random(&[vocab, e], 20), random(&[vocab, h], 21), random(&[vocab], 22));
        let ids: Vec<u32> = (0..(t * b) as u32).map(|n| n * 7 % vocab as u32).collect();
        let id_tensor = Tensor::from_slice(&ids, (t, b), &Device::Cpu)?;
        let start = random(&[cell.states(), b, h], 23);
        let run = |input, weights: &LayerWeights| {
            RecurrentLayer::new(cell, weights.clone()).forward(input, &start, None)
        };
        let (first, _) = run(Input::Embedded { ids: &id_tensor, table: &table }, &weights[0])?;
        let (second, last) = run(Input::Sequence(&first), &weights[1])?;
        let want: Vec<f32> = second
            .flatten(0, 1)?
            .matmul(&readout.t()?)?
            .broadcast_add(&bias)?
            .flatten_all()?
            .to_vec1()?;

        let layers: Vec<&LayerWeights> = weights.iter().collect();
        let packed = Arc::new(PackedNetwork::new(cell, &table, &layers, &[], &readout, &bias)?);
        let mut session = Session::new(packed, b);
        session.set_state(&[start.clone(), start.clone()])?;
        for (ids, want) in ids.chunks(b).zip(want.chunks(b * vocab)) {
            let got = session.step(ids)?;
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{cell:?} {vocab}");
        }
        let difference = (&session.state()?[1] - &last)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-6, "{cell:?}: the state is off by {difference}");
        assert!(session.step(&ids[1..b]).is_err() && session.step(&vec![vocab as u32; b]).is_err());
    }
    Ok(())
}

#[test]
fn rows_join_branch_and_leave_without_touching_each_other() -> Result<()> {
    for cell in Cell::ALL {
        let (h, e, vocab) = (17, 5, 7);
        let case = Case::new(cell, [2, 1, h, e], true, false);
        let weights = Case::weights(cell, &case.vars);
        let (table, readout, bias) =
            (random(&[vocab, e], 20), random(&[vocab, h], 21), random(&[vocab], 22));
        let packed = Arc::new(PackedNetwork::new(cell, &table, &[&weights], &[], &readout, &bias)?);
        let alone = |ids: &[u32]| -> Result<Vec<f32>> {
            let mut session = Session::new(packed.clone(), 1);
            let mut logits = vec![];
            for id in ids {
                logits = session.step(&[*id])?.to_vec();
            }
            Ok(logits)
        };
        let mut session = Session::new(packed.clone(), 0);
        assert!(session.step(&[])?.is_empty());
        session.push();
        session.step(&[1])?;
        session.push();
        session.step(&[2, 3])?;
        session.select(&[1, 0, 1])?;
        let got = session.step(&[4, 5, 6])?.to_vec();
        assert_eq!(got, [alone(&[3, 4])?, alone(&[1, 2, 5])?, alone(&[3, 6])?].concat(), "{cell}");
        assert!(session.select(&[3]).is_err());
        session.select(&[1])?;
        assert_eq!(session.step(&[0])?, alone(&[1, 2, 5, 0])?, "{cell}");

        let mut other = Session::new(packed.clone(), 2);
        other.step(&[6, 5])?;
        session.append(&other)?;
        let got = session.step(&[3, 2, 1])?.to_vec();
        let want = [alone(&[1, 2, 5, 0, 3])?, alone(&[6, 2])?, alone(&[5, 1])?].concat();
        assert_eq!(got, want, "{cell}");
        assert_eq!(other.step(&[2, 1])?, &want[vocab..], "{cell}: what was copied from goes on");
        let foreign =
            Arc::new(PackedNetwork::new(cell, &table, &[&weights], &[], &readout, &bias)?);
        assert!(session.append(&Session::new(foreign, 1)).is_err());
        assert_eq!(session.rows(), 3);
    }
    Ok(())
}
