//! Our AdamW against PyTorch's: tests/reference/adamw.py (torch 2.15, seed 7).

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use candle_nn::Optimizer;
use chargru::train::{AdamW, AdamWConfig};
use chargru::{Error, Result};

use crate::support::reference;

const CONFIG: AdamWConfig =
    AdamWConfig { lr: 0.0, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 };

struct Fixture {
    tensors: HashMap<String, Tensor>,
    vars: Vec<(String, Var)>,
}

impl Fixture {
    fn load() -> Result<Self> {
        let tensors = candle_core::safetensors::load(reference("adamw.safetensors"), &Device::Cpu)?;
        let vars = ["bias", "weight"]
            .iter()
            .map(|name| {
                let start = &tensors[&format!("step0.{name}")];
                Ok((name.to_string(), Var::from_tensor(start)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { tensors, vars })
    }

    /// Takes steps `range` of the fixture.
    fn steps(&self, optimizer: &mut AdamW, range: std::ops::Range<usize>) -> Result<()> {
        let lr = self.tensors["lr"].to_vec1::<f32>()?;
        for step in range {
            optimizer.set_learning_rate(f64::from(lr[step]));
            // The gradient of sum(x g) is g.
            let mut sum = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
            for (name, var) in &self.vars {
                let grad = self.tensors[&format!("grad.{name}")].get(step)?;
                sum = (sum + (var.as_tensor() * grad)?.sum_all()?)?;
            }
            optimizer.step(&sum.backward()?)?;
            let done = step + 1;
            if [1, 10, 100].contains(&done) {
                for (name, var) in &self.vars {
                    self.close(&format!("step{done}.{name}"), var.as_tensor())?;
                }
            }
        }
        Ok(())
    }

    fn close(&self, name: &str, got: &Tensor) -> Result<()> {
        let difference = (got - &self.tensors[name])?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 2e-6, "{name} differs by {difference}");
        Ok(())
    }
}

#[test]
fn agrees_with_pytorch_over_a_hundred_steps() -> Result<()> {
    let fixture = Fixture::load()?;
    let mut optimizer = AdamW::named(fixture.vars.clone(), CONFIG)?;
    fixture.steps(&mut optimizer, 0..100)?;
    for (name, moment) in optimizer.export()? {
        let name = name.replace("first.", "exp_avg.").replace("second.", "exp_avg_sq.");
        fixture.close(&name, &moment)?;
    }
    Ok(())
}

#[test]
fn a_restored_optimizer_goes_on_to_the_bit() -> Result<()> {
    let whole = Fixture::load()?;
    let mut optimizer = AdamW::named(whole.vars.clone(), CONFIG)?;
    whole.steps(&mut optimizer, 0..100)?;

    let parts = Fixture::load()?;
    let mut first = AdamW::named(parts.vars.clone(), CONFIG)?;
    parts.steps(&mut first, 0..37)?;
    let saved: HashMap<String, Tensor> = first.export()?.into_iter().collect();
    let mut second = AdamW::named(parts.vars.clone(), CONFIG)?;
    second.restore(&saved, first.steps())?;
    parts.steps(&mut second, 37..100)?;

    for ((name, a), (_, b)) in whole.vars.iter().zip(&parts.vars) {
        let bits = |v: &Var| v.flatten_all()?.to_vec1::<f32>();
        assert_eq!(bits(a)?, bits(b)?, "{name}");
    }
    Ok(())
}

#[test]
fn a_foreign_state_is_refused() -> Result<()> {
    let fixture = Fixture::load()?;
    let mut optimizer = AdamW::named(fixture.vars.clone(), CONFIG)?;
    let mut saved: HashMap<String, Tensor> = optimizer.export()?.into_iter().collect();
    saved.insert("first.bias".to_string(), Tensor::new(&[1f32], &Device::Cpu)?);
    let mut refused = |saved: &HashMap<String, Tensor>| {
        let error = optimizer.restore(saved, 3).unwrap_err();
        assert!(matches!(error, Error::TrainingState(_)), "{error:?}");
        error.to_string()
    };
    let error = refused(&saved);
    assert!(error.contains("first.bias has shape [1]"), "{error}");
    saved.remove("first.bias");
    assert_eq!(refused(&saved), "the saved optimizer has no first.bias");
    Ok(())
}
