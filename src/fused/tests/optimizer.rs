//! AdamW against its equations.

use crate::fused::tests::random;
use crate::fused::*;
use candle_core::{DType, Result, Var};

#[test]
fn adamw_follows_its_equations_and_norms_add_up() -> Result<()> {
    for count in [1, 7, 40_000] {
        let param = Var::from_tensor(&random(&[count], 1))?;
        let mut want: Vec<f64> = param.to_dtype(DType::F64)?.to_vec1()?;
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        let (mut m, mut v) = (vec![0.0; count], vec![0.0; count]);
        for t in 1..4 {
            let grad = random(&[count], 10 + t);
            let g: Vec<f64> = grad.to_dtype(DType::F64)?.to_vec1()?;
            let norm: f64 = g.iter().map(|x| x * x).sum();
            assert!((squared_norm(&grad)? - norm).abs() <= 1e-12 * norm);
            let (bias_correction1, bias_correction2) =
                (1.0 - 0.9f64.powi(t as i32), 1.0 - 0.999f64.powi(t as i32));
            let step = AdamWStep {
                lr: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.1,
                bias_correction1,
                bias_correction2,
                grad_scale: 0.5,
            };
            adamw(param.as_tensor(), &grad, &mut first, &mut second, &step)?;
            for i in 0..count {
                let g = g[i] * 0.5;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                want[i] -= 1e-2 * 0.1 * want[i];
                want[i] -=
                    1e-2 * (m[i] / bias_correction1) / ((v[i] / bias_correction2).sqrt() + 1e-8);
            }
        }
        let got: Vec<f64> = param.to_dtype(DType::F64)?.to_vec1()?;
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-6));
    }
    Ok(())
}
