//! Single steps against whole sequences.

use super::{CELLS, case::Case, random};
use crate::fused::*;
use candle_core::{Device, Result, Tensor};

#[test]
fn stepping_equals_the_sequence() -> Result<()> {
    for (cell, vocab) in CELLS.into_iter().flat_map(|cell| [(cell, 6), (cell, 2000)]) {
        let (t, b, h, e) = (5, 9, 17, 4);
        let layers = [
            Case::new(cell, [t, b, h, e], true, false),
            Case::new(cell, [t, b, h, h], false, false),
        ];
        let weights: Vec<Weights> =
            layers.iter().map(|case| Case::weights(cell, &case.vars)).collect();
        let (table, readout, bias) =
            (random(&[vocab, e], 20), random(&[vocab, h], 21), random(&[vocab], 22));
        let ids: Vec<u32> = (0..(t * b) as u32).map(|n| n * 7 % vocab as u32).collect();
        let id_tensor = Tensor::from_slice(&ids, (t, b), &Device::Cpu)?;
        let start = random(&[cell.states(), b, h], 23);
        let run = |input, weights| {
            sequence(cell, input, weights, &start, None, Precision::F32, &Workspace::default())
        };
        let (first, _) = run(Input::Embedded { ids: &id_tensor, table: &table }, &weights[0])?;
        let (second, last) = run(Input::Sequence(&first), &weights[1])?;
        let want: Vec<f32> = second
            .flatten(0, 1)?
            .matmul(&readout.t()?)?
            .broadcast_add(&bias)?
            .flatten_all()?
            .to_vec1()?;

        let mut stepper = Stepper::new(cell, &table, &weights, &readout, &bias, b)?;
        stepper.set_state(&[start.clone(), start.clone()])?;
        for (ids, want) in ids.chunks(b).zip(want.chunks(b * vocab)) {
            let got = stepper.step(ids)?;
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{cell:?} {vocab}");
        }
        let difference = (&stepper.state()?[1] - &last)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-6, "{cell:?}: the state is off by {difference}");
        stepper.reset();
        assert_eq!(stepper.state()?[0].abs()?.max_all()?.to_scalar::<f32>()?, 0.0);
        assert!(stepper.step(&ids[1..b]).is_err() && stepper.step(&vec![vocab as u32; b]).is_err());
    }
    Ok(())
}
