//! The exponential moving average of the weights over the steps. It predicts better than the weights
//! themselves, above all while the learning rate is high (docs/results.md).

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};

use crate::error::{Error, Result, ensure};
use crate::fused;
use crate::model::var_map;
use crate::train::config::TrainConfig;

/// The average of named weights.
pub(super) struct Average {
    /// In the order of the weights. Empty where nothing is averaged.
    vars: Vec<(String, Var)>,
    map: VarMap,
}

impl Average {
    /// Begins at the weights as they are.
    pub(super) fn new(weights: &[(String, Var)], config: &TrainConfig) -> Result<Self> {
        if config.average == 0.0 {
            return Ok(Self { vars: Vec::new(), map: VarMap::new() });
        }
        let copies = weights.iter().map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?)));
        let map = var_map(copies.collect::<Result<Vec<_>>>()?)?;
        Ok(Self { vars: crate::model::named_vars(&map)?, map })
    }

    /// Whether anything is averaged.
    pub(super) fn is_on(&self) -> bool {
        !self.vars.is_empty()
    }

    /// The averages by name, as a network takes them: they follow every update.
    pub(super) fn var_builder(&self, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_varmap(&self.map, DType::F32, device)
    }

    /// Takes in the weights after a step, of which `decay` is not taken.
    pub(super) fn update(&self, weights: &[(String, Var)], decay: f64) -> Result<()> {
        for ((_, average), (_, weight)) in self.vars.iter().zip(weights) {
            if fused::supported(average.device(), average.dtype()) {
                fused::average(average.as_tensor(), weight.as_tensor(), 1.0 - decay)?;
            } else {
                let difference = (weight.as_tensor() - average.as_tensor())?;
                average.set(&(average.as_tensor() + (difference * (1.0 - decay))?)?)?;
            }
        }
        Ok(())
    }

    /// By name, as a checkpoint of them has them.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        self.vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }
}

/// The weights themselves as `weights.<parameter>` of the training state, since a checkpoint's
/// `model.safetensors` has the average.
pub(super) fn export_weights(weights: &[(String, Var)]) -> Vec<(String, Tensor)> {
    let named = |(name, var): &(String, Var)| (format!("weights.{name}"), var.as_tensor().clone());
    weights.iter().map(named).collect()
}

/// Sets the weights to what [`export_weights`] returned.
///
/// # Errors
/// [`Error::TrainingState`] for a tensor that is missing or has another shape.
pub(super) fn restore_weights(
    weights: &[(String, Var)],
    tensors: &HashMap<String, Tensor>,
) -> Result<()> {
    for (name, var) in weights {
        let saved = tensors.get(&format!("weights.{name}")).ok_or_else(|| {
            Error::TrainingState(format!("the training state lacks weights.{name}"))
        })?;
        ensure!(
            saved.shape() == var.shape(),
            Error::TrainingState(format!(
                "the training state's weights.{name} has shape {:?} but the model's {:?}",
                saved.shape(),
                var.shape()
            ))
        );
        var.set(&saved.to_device(var.device())?)?;
    }
    Ok(())
}
