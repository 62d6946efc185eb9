//! AdamW with decoupled weight decay (Loshchilov & Hutter 2019), computed as in `torch.optim.AdamW`. Its
//! moments can be saved by the names of the parameters, which those of candle's AdamW cannot.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;
use serde::{Deserialize, Serialize};

use crate::error::{self, Error};
use crate::fused;
use crate::model::EMBEDDING;

/// The settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Share of a weight, times the learning rate, that each step subtracts.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            lr: 6e-3,
            beta1: 0.9,
            // Not 0.999: a run has a few thousand steps, and early gradients should not count to its end.
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.01,
        }
    }
}

/// First and second moment of one parameter.
enum Moments {
    /// In plain memory, for the one-pass CPU kernel.
    Host { first: Vec<f32>, second: Vec<f32> },
    /// Beside the parameter on its device.
    Device { first: Tensor, second: Tensor },
}

struct Parameter {
    name: String,
    var: Var,
    decays: bool,
    moments: Moments,
}

/// The optimizer of a fixed, named set of parameters.
pub struct AdamW {
    parameters: Vec<Parameter>,
    config: AdamWConfig,
    steps: u64,
}

impl AdamW {
    /// An optimizer of `vars`. Weight decay acts on matrices only, not on biases or the embedding table.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn named(vars: Vec<(String, Var)>, config: AdamWConfig) -> Result<Self> {
        let parameters = vars
            .into_iter()
            .map(|(name, var)| {
                let count = var.elem_count();
                let moments = if fused::supported(var.device(), var.dtype()) {
                    Moments::Host { first: vec![0.0; count], second: vec![0.0; count] }
                } else {
                    Moments::Device { first: var.zeros_like()?, second: var.zeros_like()? }
                };
                Ok(Parameter { decays: var.rank() >= 2 && name != EMBEDDING, name, var, moments })
            })
            .collect::<Result<_>>()?;
        Ok(Self { parameters, config, steps: 0 })
    }

    /// The same optimizer with its moments beside the parameters, stepped by tensor operations: how it
    /// runs on any device but a CPU.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn with_tensor_operations(mut self) -> Result<Self> {
        for Parameter { var, moments, .. } in &mut self.parameters {
            if let Moments::Host { first, second } = moments {
                let tensor = |values: &[f32]| Tensor::from_slice(values, var.shape(), var.device());
                *moments = Moments::Device { first: tensor(first)?, second: tensor(second)? };
            }
        }
        Ok(self)
    }

    /// Global 2-norm of the gradients of all parameters.
    ///
    /// # Errors
    /// A gradient that is not a contiguous float32 tensor of its parameter's shape.
    pub fn gradient_norm(&self, grads: &GradStore) -> Result<f64> {
        let mut sum = 0.0;
        for parameter in &self.parameters {
            let Some(grad) = grads.get(&parameter.var) else {
                continue;
            };
            sum += match parameter.moments {
                Moments::Host { .. } => fused::squared_norm(grad)?,
                Moments::Device { .. } => f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?),
            };
        }
        Ok(sum.sqrt())
    }

    /// One step, every gradient multiplied by `scale` (the clipping factor). A parameter without a gradient
    /// stays as it is.
    ///
    /// # Errors
    /// A gradient that is not a contiguous float32 tensor of its parameter's shape.
    pub fn step_scaled(&mut self, grads: &GradStore, scale: f64) -> Result<()> {
        self.steps += 1;
        let t = self.steps as f64;
        let AdamWConfig { lr, beta1, beta2, eps, .. } = self.config;
        let bias_correction1 = 1.0 - beta1.powf(t);
        let bias_correction2 = 1.0 - beta2.powf(t);
        for parameter in &mut self.parameters {
            let Some(grad) = grads.get(&parameter.var) else {
                continue;
            };
            let weight_decay = if parameter.decays { self.config.weight_decay } else { 0.0 };
            match &mut parameter.moments {
                Moments::Host { first, second } => {
                    let step = fused::AdamWStep {
                        lr,
                        beta1,
                        beta2,
                        eps,
                        weight_decay,
                        bias_correction1,
                        bias_correction2,
                        grad_scale: scale,
                    };
                    fused::adamw(parameter.var.as_tensor(), grad, first, second, &step)?;
                }
                Moments::Device { first, second } => {
                    let grad = (grad * scale)?;
                    *first = ((&*first * beta1)? + (&grad * (1.0 - beta1))?)?;
                    *second = ((&*second * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
                    let denominator = ((&*second / bias_correction2)?.sqrt()? + eps)?;
                    let update = ((&*first / bias_correction1)? / denominator)?;
                    let decayed = (parameter.var.as_tensor() * (1.0 - lr * weight_decay))?;
                    parameter.var.set(&(decayed - (update * lr)?)?)?;
                }
            }
        }
        Ok(())
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments as `first.<parameter>` and `second.<parameter>`.
    ///
    /// # Errors
    /// No memory on the device.
    pub fn export(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::with_capacity(2 * self.parameters.len());
        for parameter in &self.parameters {
            let shape = parameter.var.shape();
            let device = parameter.var.device();
            let (first, second) = match &parameter.moments {
                Moments::Host { first, second } => (
                    Tensor::from_slice(first, shape, device)?,
                    Tensor::from_slice(second, shape, device)?,
                ),
                Moments::Device { first, second } => (first.clone(), second.clone()),
            };
            all.push((format!("first.{}", parameter.name), first));
            all.push((format!("second.{}", parameter.name), second));
        }
        Ok(all)
    }

    /// Continues from the moments that [`AdamW::export`] returned after `steps` steps.
    ///
    /// # Errors
    /// [`Error::TrainingState`] for a moment that is missing or has another shape than its parameter.
    pub fn restore(&mut self, tensors: &HashMap<String, Tensor>, steps: u64) -> error::Result<()> {
        for parameter in &mut self.parameters {
            let find = |moment: &str| -> error::Result<&Tensor> {
                let name = format!("{moment}.{}", parameter.name);
                match tensors.get(&name) {
                    Some(tensor) if tensor.shape() == parameter.var.shape() => Ok(tensor),
                    Some(tensor) => Err(Error::TrainingState(format!(
                        "the optimizer's {name} has shape {:?} but its parameter {:?}",
                        tensor.shape(),
                        parameter.var.shape()
                    ))),
                    None => Err(Error::TrainingState(format!("the saved optimizer has no {name}"))),
                }
            };
            match &mut parameter.moments {
                Moments::Host { first, second } => {
                    *first = find("first")?.flatten_all()?.to_vec1()?;
                    *second = find("second")?.flatten_all()?.to_vec1()?;
                }
                Moments::Device { first, second } => {
                    *first = find("first")?.to_device(parameter.var.device())?;
                    *second = find("second")?.to_device(parameter.var.device())?;
                }
            }
        }
        self.steps = steps;
        Ok(())
    }
}

impl Optimizer for AdamW {
    type Config = AdamWConfig;

    /// Unnamed variables: weight decay acts on those of rank two and more.
    fn new(vars: Vec<Var>, config: Self::Config) -> Result<Self> {
        let named = vars
            .into_iter()
            .enumerate()
            .map(|(index, var)| (format!("parameter.{index}"), var))
            .collect();
        Self::named(named, config)
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.step_scaled(grads, 1.0)
    }

    fn learning_rate(&self) -> f64 {
        self.config.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.config.lr = lr;
    }
}
