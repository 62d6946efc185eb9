//! Which vector instructions run, chosen once, and the two things written per instruction set:
//! how wide a vector is and how many accumulators the product kernel keeps in registers.
//! Knows nothing of cells or tensors.

#[cfg(target_arch = "x86_64")]
use super::bf16::Bf16;
use super::{
    Precision,
    kernel::{self, Tile},
    matmul::Rows,
    memory::Buffer,
};
use candle_core::{Result, bail};
use pulp::{NullaryFnOnce, Scalar, Simd};
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// Environment variable that overrides the detection: `avx512`, `avx2` or `portable`.
pub const OVERRIDE: &str = "CHARGRU_SIMD";

/// An instruction set this processor was seen to have.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Plain Rust, vectorised by the compiler for the baseline of the target.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
    /// AVX-512 whose products take bfloat16 operands and accumulate in float32.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Bf16),
}

impl Level {
    /// The best level for `precision`, or the one that `CHARGRU_SIMD` names.
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
        let wanted = match name {
            "portable" => 0,
            "avx2" => 1,
            "avx512" => 2,
            _ => {
                return Err(format!("{OVERRIDE}={name} is none of avx512, avx2, portable"));
            }
        };
        Self::all()
            .get(wanted)
            .copied()
            .ok_or_else(|| format!("{OVERRIDE}={name}, but this processor does not have it"))
    }

    /// The float32 levels this processor has, slowest first: portable, AVX2, AVX-512.
    pub fn all() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Portable];
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
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(v3) => v3.vectorize(Bound(v3, task)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(v4) => v4.vectorize(Bound(v4, task)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(bf16) => bf16.simd().vectorize(Bound(bf16, task)),
        }
    }

    /// Columns in one packed panel of weights.
    pub fn panel_width(self) -> usize {
        self.run(PanelWidth)
    }

    /// Rows the product kernel takes at a time: batches split at multiples of it.
    pub fn tile_rows(self) -> usize {
        self.run(TileRows)
    }

    /// Elements that share one 32-bit word of a product's operands: 2 in bfloat16.
    pub fn word(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => 2,
            _ => 1,
        }
    }
}

/// Code that [`Level::run`] compiles once for each instruction set.
/// Implementations are `#[inline(always)]`: only inlined code gets the instructions.
pub trait Task {
    type Output;
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

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

/// An instruction set as the kernels see it.
pub trait Isa: Copy + Send + Sync {
    type S: Simd;
    /// Rows and columns of the product kernel's tile.
    const MR: usize;
    const NR: usize;
    /// Elements along k in one 32-bit word.
    const WORD: usize = 1;

    fn simd(self) -> Self::S;

    /// The first `rows` rows of A as the words the tile reads; `scratch` may hold them.
    #[inline(always)]
    fn operand<'a>(
        self,
        a: Rows<'a>,
        _rows: usize,
        _k: usize,
        _scratch: &'a mut Buffer,
    ) -> Rows<'a> {
        a
    }

    /// Words of `out` from WORD neighbours along k: `row(0)`, or also `row(1)`, element by element.
    #[inline(always)]
    fn pack_row<'a>(self, row: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
        out.copy_from_slice(row(0));
    }

    /// One tile of a product.
    ///
    /// # Safety
    /// [`Tile`]'s promise, with `rows <= MR`.
    unsafe fn tile(self, rows: usize, tile: Tile);
}

/// An instruction set from its tile function. A ragged last block of rows goes by the smaller
/// tiles, and a last panel that needs fewer vectors than its width is not computed whole.
macro_rules! isa {
    ($isa:ty, $tile:ident, rows: [$most:literal $(, $rows:literal)*], vectors: $vectors:literal) => {
        impl Isa for $isa {
            type S = Self;
            const MR: usize = $most;
            const NR: usize = $vectors * <Self as Simd>::F32_LANES;

            #[inline(always)]
            fn simd(self) -> Self {
                self
            }

            isa!(tile $tile, $vectors, self, [$most $(, $rows)*]);
        }
    };
    (tile $tile:ident, $vectors:literal, $self:ident, [$($rows:literal),+]) => {
        #[inline(always)]
        unsafe fn tile($self, mut rows: usize, mut tile: Tile) {
            debug_assert!(rows <= Self::MR);
            $(while rows >= $rows {
                // SAFETY: the caller's, for the first of the rows that are left; a value of this
                // type proves that the processor has the instructions.
                unsafe {
                    match tile.columns.div_ceil(lanes($self.simd())) {
                        1 => kernel::$tile::<$rows, 1>($self.simd(), tile),
                        2 => kernel::$tile::<$rows, 2>($self.simd(), tile),
                        _ => kernel::$tile::<$rows, $vectors>($self.simd(), tile),
                    }
                };
                tile = tile.below($rows);
                rows -= $rows;
            })+
        }
    };
}
pub(super) use isa;

isa!(Scalar, portable, rows: [4, 2, 1], vectors: 8);
#[cfg(target_arch = "x86_64")]
isa!(V3, avx2, rows: [6, 4, 2, 1], vectors: 2);
#[cfg(target_arch = "x86_64")]
isa!(V4, avx512, rows: [8, 4, 2, 1], vectors: 3);

/// Runs a block for `0..len` in steps of one vector: `$first` is the step's first element, `$count`
/// the lane count, a constant, except in a shorter last step. A macro, because the compiler does
/// not promise to inline a closure, and what is not inlined does not get the instructions.
macro_rules! for_vectors {
    ($simd:expr, $len:expr, |$first:ident, $count:ident| $body:block) => {{
        let (len, lanes) = ($len, $crate::fused::simd::lanes($simd));
        let whole = len - len % lanes;
        let mut $first = 0;
        while $first < whole {
            let $count = lanes;
            $body
            $first += lanes;
        }
        if whole < len {
            let $count = len - whole;
            $body
        }
    }};
}
pub(super) use for_vectors;

/// Floats in one vector.
#[inline(always)]
pub fn lanes<S: Simd>(_: S) -> usize {
    S::F32_LANES
}

/// `row[first..first + count]` as a vector, zero beyond.
#[inline(always)]
pub fn load<S: Simd>(simd: S, row: &[f32], first: usize, count: usize) -> S::f32s {
    let lanes = &row[first..first + count];
    if count == S::F32_LANES { S::as_simd_f32s(lanes).0[0] } else { simd.partial_load_f32s(lanes) }
}

/// Writes the first `count` lanes to `row[first..first + count]`.
#[inline(always)]
pub fn store<S: Simd>(simd: S, row: &mut [f32], first: usize, count: usize, value: S::f32s) {
    let lanes = &mut row[first..first + count];
    if count == S::F32_LANES {
        S::as_mut_simd_f32s(lanes).0[0] = value;
    } else {
        simd.partial_store_f32s(lanes, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_by_name_and_a_missing_one_is_an_error() {
        assert!(matches!(Level::named("portable"), Ok(Level::Portable)));
        for (name, position) in [("avx2", 1), ("avx512", 2)] {
            assert_eq!(Level::named(name).is_ok(), Level::all().len() > position, "{name}");
        }
        let error = Level::named("sse").unwrap_err();
        assert!(error.contains("avx512, avx2, portable"), "{error}");
    }
}
