//! The readout's loss and gradients against tensor ops.

use crate::fused::tests::case::{Outcome, assert_close, outcome};
use crate::fused::tests::random;
use crate::fused::*;
use candle_core::{DType, Device, Result, Tensor, Var};

#[test]
fn readout_loss_agrees_with_tensor_ops() -> Result<()> {
    for (t, b, h, v) in [(1, 1, 1, 1), (2, 3, 17, 5), (9, 16, 33, 65)] {
        let numbers = (0..(t * b) as u32).map(|n| (n * 7 + 3) % v as u32);
        let targets = Tensor::from_iter(numbers, &Device::Cpu)?.reshape((t, b))?;
        let vars = [(random(&[t, b, h], 1) * 4.0)?, random(&[v, h], 2), random(&[v], 3)];
        let run = |dtype: DType, loss: &dyn Fn(&[Var]) -> Result<Tensor>| -> Result<Outcome> {
            let vars: Vec<Var> = vars
                .iter()
                .map(|x| Var::from_tensor(&x.to_dtype(dtype)?))
                .collect::<Result<_>>()?;
            outcome(&(loss(&vars)? * 3.0)?, &vars)
        };
        let want = run(DType::F64, &|x| {
            let logits = x[0].flatten(0, 1)?.matmul(&x[1].t()?)?.broadcast_add(&x[2])?;
            candle_nn::loss::cross_entropy(&logits, &targets.flatten_all()?)
        })?;
        let got = run(DType::F32, &|x| {
            readout_loss(&x[0], &x[1], &x[2], &targets, Precision::F32, &Workspace::default())
        })?;
        assert_close(&format!("{t} {b} {h} {v}"), &got, &want, 1e-5);
        let beyond = (&targets + v as f64)?;
        assert!(
            readout_loss(
                &vars[0],
                &vars[1],
                &vars[2],
                &beyond,
                Precision::F32,
                &Workspace::default()
            )
            .is_err()
        );
    }
    Ok(())
}

#[test]
fn nan_in_the_hidden_sequence_reaches_the_loss() -> Result<()> {
    let hidden = (random(&[1, 2, 4], 1) * f64::NAN)?;
    let targets = Tensor::zeros((1, 2), DType::U32, &Device::Cpu)?;
    let workspace = Workspace::default();
    let loss = readout_loss(
        &hidden,
        &random(&[3, 4], 2),
        &random(&[3], 3),
        &targets,
        Precision::F32,
        &workspace,
    )?;
    assert!(loss.to_scalar::<f32>()?.is_nan());
    Ok(())
}
