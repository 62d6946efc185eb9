//! `--device` and `--threads`: where the arithmetic runs.

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Args;

use crate::cli::args::wrong;

/// Where a command that reads a model computes.
#[derive(Args)]
pub(crate) struct Machine {
    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl Machine {
    /// Sets the size of the thread pool and opens the device.
    pub(crate) fn open(&self) -> Result<Device> {
        super::checkpoint::threads(self.threads)?;
        open(&self.device)
    }
}

/// `cpu`, `cuda`, `cuda:1`, `metal`, `metal:0`.
pub(crate) fn open(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        None => (name, 0),
        Some((kind, index)) => match index.parse() {
            Ok(index) => (kind, index),
            Err(_) => return Err(unknown(name)),
        },
    };
    match kind {
        "cpu" if name == "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(index).with_context(|| {
            format!("--device {name} cannot be used: build with `--features cuda` on a machine with one, or use --device cpu")
        }),
        "metal" => Device::new_metal(index).with_context(|| {
            format!("--device {name} cannot be used: build with `--features metal` on a Mac, or use --device cpu")
        }),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> anyhow::Error {
    wrong(format!("--device is '{name}': give cpu, cuda, cuda:N or metal"))
}
