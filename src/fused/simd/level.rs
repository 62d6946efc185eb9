//! Which instruction set the kernels use. It is chosen once in a process.

use crate::fused::simd::isa::{Isa, Task};
use candle_core::{Result, bail};
use pulp::{NullaryFnOnce, Scalar, Simd};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::fused::simd::bf16::Bf16;
#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// What the operands of the matrix products are rounded to. Weights, sums and all else are float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32 throughout
    #[default]
    F32,
    /// operands rounded to bfloat16, sums in float32
    Bf16,
}

impl Precision {
    /// As the command line and the checkpoint write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// # Errors
    /// bf16 on a processor without AVX512_BF16.
    pub fn ensure_supported(self) -> Result<()> {
        if self == Self::Bf16 && !Self::bf16_supported() {
            bail!("bf16 needs a processor with AVX512_BF16, and this one has none: use f32");
        }
        Ok(())
    }

    /// The instruction set that the kernels use for it on this processor: `avx512`, `avx2`, `neon` or
    /// `portable`, or `bf16`; None if the processor lacks what is asked for.
    pub fn instructions(self) -> Option<&'static str> {
        Level::choose(self).ok().map(Level::name)
    }

    /// Whether this processor multiplies bfloat16 (AVX512_BF16).
    pub fn bf16_supported() -> bool {
        Level::choose(Self::Bf16).is_ok()
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Environment variable that names the level to use for float32, one of [`NAMES`].
pub const OVERRIDE: &str = "CHARGRU_SIMD";

/// The float32 levels of all processors.
const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "portable"];

/// An instruction set this processor was seen to have.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Plain Rust, vectorised by the compiler for the baseline of the target.
    Portable,
    /// The 128-bit vectors of 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
    /// AVX-512, with products of bfloat16 operands and float32 sums.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Bf16),
}

impl Level {
    /// The best level for `precision`; for float32 the one that `CHARGRU_SIMD` names, if it is set.
    ///
    /// # Errors
    /// If this processor does not have what the precision or the variable asks for, or the variable
    /// names no level.
    pub fn choose(precision: Precision) -> Result<Self> {
        static FLOAT32: OnceLock<std::result::Result<Level, String>> = OnceLock::new();
        match precision {
            Precision::F32 => FLOAT32
                .get_or_init(|| match std::env::var(OVERRIDE) {
                    Ok(name) => Self::named(&name),
                    Err(_) => Ok(Self::all().pop().unwrap_or(Self::Portable)),
                })
                .clone()
                .map_err(candle_core::Error::Msg),
            #[cfg(target_arch = "x86_64")]
            Precision::Bf16 => match Bf16::try_new() {
                Some(bf16) => Ok(Self::Avx512Bf16(bf16)),
                None => bail!(
                    "this processor has no AVX512_BF16, which --precision bf16 needs: use f32"
                ),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Precision::Bf16 => {
                bail!("--precision bf16 needs an x86-64 processor with AVX512_BF16: use f32")
            }
        }
    }

    fn named(name: &str) -> std::result::Result<Self, String> {
        if !NAMES.contains(&name) {
            return Err(format!("{OVERRIDE}={name} is none of {}", NAMES.join(", ")));
        }
        Self::all()
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or_else(|| format!("{OVERRIDE}={name}, but this processor does not have it"))
    }

    /// The name that `CHARGRU_SIMD` takes; `bf16` for the level that only [`Precision::Bf16`] chooses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => "bf16",
        }
    }

    /// The float32 levels this processor has, slowest first: portable, then NEON, or AVX2 and AVX-512.
    pub fn all() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "aarch64")]
        levels.extend(Neon::try_new().map(Self::Neon));
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = V3::try_new() {
            levels.push(Self::Avx2(v3));
            levels.extend(V4::try_new().map(Self::Avx512));
        }
        levels
    }

    /// Runs `task` compiled for this level.
    pub fn run<K: Task>(self, task: K) -> K::Output {
        match self {
            Self::Portable => Scalar.vectorize(Bound(Scalar, task)),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(neon) => neon.vectorize(Bound(neon, task)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(v3) => v3.vectorize(Bound(v3, task)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(v4) => v4.vectorize(Bound(v4, task)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(bf16) => bf16.simd().vectorize(Bound(bf16, task)),
        }
    }

    /// Columns of the product's tile and of one panel: [`Isa::NR`].
    pub fn panel_width(self) -> usize {
        self.run(PanelWidth)
    }

    /// Rows of C that one tile has, at most.
    pub fn tile_rows(self) -> usize {
        self.run(TileRows)
    }

    /// Elements along k in one word of a product's operands: [`Isa::WORD`], 2 in bfloat16.
    pub fn word(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => 2,
            _ => 1,
        }
    }
}

/// A task together with the instruction set it is to be compiled for.
struct Bound<I, K>(I, K);

impl<I: Isa, K: Task> NullaryFnOnce for Bound<I, K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.1.run(self.0)
    }
}

struct PanelWidth;
impl Task for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self, _: I) -> usize {
        I::NR
    }
}

struct TileRows;
impl Task for TileRows {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self, _: I) -> usize {
        I::MR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_by_name_and_a_missing_one_is_an_error() {
        for level in Level::all() {
            assert_eq!(Level::named(level.name()).map(Level::name), Ok(level.name()));
        }
        let present: Vec<&str> = Level::all().into_iter().map(Level::name).collect();
        for name in NAMES.into_iter().filter(|name| !present.contains(name)) {
            let error = Level::named(name).unwrap_err();
            assert!(error.contains("does not have it"), "{error}");
        }
        // bfloat16 is not chosen by this variable, but by the precision.
        for name in ["sse", "", "AVX2", "bf16"] {
            let error = Level::named(name).unwrap_err();
            assert!(error.contains("avx512, avx2, neon, portable"), "{error}");
        }
    }
}
