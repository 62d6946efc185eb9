//! `--device` and `--threads`: where the arithmetic runs.

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Args;

use crate::checkpoint::Checkpoint;
use crate::cli::args::wrong;
use crate::cli::checkpoint::threads;
use crate::compare::Comparison;
use crate::model::{AnyNetwork, BidirectionalNetwork, Network, Precision};
use crate::train::Trainer;

/// Where a command that reads a model computes.
#[derive(Args)]
pub(crate) struct Machine {
    /// Threads to compute with, one a processor at most [default: as many]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl Machine {
    /// Sets the number of threads and opens the device.
    pub(crate) fn open(&self) -> Result<Target> {
        threads(self.threads)?;
        Target::open(&self.device)
    }
}

/// Where a command computes, and by which implementation.
pub(crate) struct Target {
    pub device: Device,
    /// By tensor operations also where the kernels could run.
    reference: bool,
}

impl Target {
    /// `cpu`, `cuda`, `cuda:1`, `metal`, `metal:0`; and `cpu-reference`, a name for tests that the help
    /// leaves out: a CPU, and on it what runs on every other device, tensor operations in place of the
    /// kernels.
    pub(crate) fn open(name: &str) -> Result<Self> {
        if name == "cpu-reference" {
            return Ok(Self { device: Device::Cpu, reference: true });
        }
        Ok(Self { device: open(name)?, reference: false })
    }

    /// The precision in which training is fastest.
    pub(crate) fn fastest(&self) -> Precision {
        if self.has_kernels() && Precision::bf16_supported() {
            Precision::Bf16
        } else {
            Precision::F32
        }
    }

    fn has_kernels(&self) -> bool {
        self.device.is_cpu() && !self.reference
    }

    /// Refuses bf16 where the kernels do not run.
    pub(crate) fn ensure_precision(&self, precision: Precision) -> Result<()> {
        if precision != Precision::F32 && !self.has_kernels() {
            return Err(wrong(
                "--precision bf16 is for the kernels of --device cpu: use that device, or f32 on \
                 cuda, metal and cpu-reference",
            ));
        }
        Ok(())
    }

    /// The network of `checkpoint`, its weights fixed; of a bidirectional one the forward half.
    pub(crate) fn network(&self, checkpoint: &Checkpoint) -> Result<Network> {
        let network = checkpoint.network(&self.device)?;
        Ok(if self.reference { network.reference() } else { network })
    }

    /// The network of `checkpoint`, of one direction or of both, its weights fixed.
    pub(crate) fn any_network(&self, checkpoint: &Checkpoint) -> Result<AnyNetwork> {
        let network = checkpoint.any_network(&self.device)?;
        Ok(if self.reference { network.reference() } else { network })
    }

    /// The network of `checkpoint`, which must be bidirectional, its weights fixed.
    pub(crate) fn bidirectional(&self, checkpoint: &Checkpoint) -> Result<BidirectionalNetwork> {
        let network = checkpoint.bidirectional(&self.device)?;
        Ok(if self.reference { network.reference() } else { network })
    }

    /// The same comparison on this target.
    pub(crate) fn comparison(&self, comparison: Comparison) -> Result<Comparison> {
        Ok(if self.reference { comparison.with_reference()? } else { comparison })
    }

    /// The same run on this target.
    pub(crate) fn trainer(&self, trainer: Trainer) -> Result<Trainer> {
        Ok(if self.reference { trainer.with_reference()? } else { trainer })
    }
}

fn open(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        None => (name, 0),
        Some((kind, index)) => match index.parse() {
            Ok(index) => (kind, index),
            Err(_) => return Err(unknown(name)),
        },
    };
    match kind {
        "cpu" if name == "cpu" => Ok(Device::Cpu),
        "cuda" => {
            let remedy = remedy(cfg!(feature = "cuda"), kind, NVIDIA);
            Device::new_cuda(index).with_context(|| unusable(name, &remedy))
        }
        "metal" => {
            let remedy = remedy(cfg!(feature = "metal"), kind, "a Mac");
            Device::new_metal(index).with_context(|| unusable(name, &remedy))
        }
        _ => Err(unknown(name)),
    }
}

/// Where `cuda` runs.
const NVIDIA: &str = "a machine with an NVIDIA GPU and its driver";

fn unusable(name: &str, remedy: &str) -> String {
    format!("--device {name} cannot be used: {remedy}, or use --device cpu")
}

/// What makes a device of this `kind` usable, by whether the program was `built` for it.
fn remedy(built: bool, kind: &str, machine: &str) -> String {
    if built {
        format!("run on {machine}, give the number of a device that it has")
    } else {
        format!("build with `--features {kind}` on {machine}")
    }
}

fn unknown(name: &str) -> anyhow::Error {
    wrong(format!("--device is '{name}': give cpu, cuda, cuda:N or metal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_built_for_a_device_does_not_ask_to_be_built_for_it() {
        let of = |built| unusable("cuda:7", &remedy(built, "cuda", NVIDIA));
        assert_eq!(
            of(false),
            "--device cuda:7 cannot be used: build with `--features cuda` on a machine with an NVIDIA GPU \
             and its driver, or use --device cpu"
        );
        assert_eq!(
            of(true),
            "--device cuda:7 cannot be used: run on a machine with an NVIDIA GPU and its driver, give the \
             number of a device that it has, or use --device cpu"
        );
    }
}
