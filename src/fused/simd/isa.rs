//! What an instruction set is to the kernels: its vectors, the size of the product's tile, and the
//! way operands are stored. Knows nothing of cells or tensors.

#![allow(unsafe_code)]

use crate::fused::simd::memory::{Buffer, MatRef};
use crate::fused::simd::tile::{self, Tile};
use pulp::{Scalar, Simd};

#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

/// Code that is compiled once for each instruction set and run by
/// [`Level::run`](crate::fused::simd::level::Level::run). Implementations of `run`, and what they
/// call, are `#[inline(always)]`: only inlined code is compiled for the instruction set.
pub trait Task {
    type Output;
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// An instruction set. A value of the type proves that the processor has it.
///
/// Operands of a product consist of 32-bit words: one float32 each, or two bfloat16 that follow each
/// other along k.
pub trait Isa: Copy + Send + Sync {
    type S: Simd;
    /// Rows of the product's tile.
    const MR: usize;
    /// Columns of the product's tile, some whole vectors.
    const NR: usize;
    /// Elements along k in one word.
    const WORD: usize = 1;

    fn simd(self) -> Self::S;

    /// The first `rows` rows of A `[rows, k]` in words, as the tile reads them; they may be stored in
    /// `scratch`.
    #[inline(always)]
    fn operand<'a>(
        self,
        a: MatRef<'a>,
        _rows: usize,
        _k: usize,
        _scratch: &'a mut Buffer,
    ) -> MatRef<'a> {
        a
    }

    /// Fills `out` with the words of one or two rows that follow each other along k: word j holds
    /// element j of `row(0)`, and of `row(1)` where WORD is 2.
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

/// Implements [`Isa`] by a function of `tile.rs`, for tiles of the first of `rows` by `vectors`. The
/// rows that are left at the end of a matrix are computed by tiles of fewer rows, and a last panel of
/// one or two vectors by tiles of so many.
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
                // SAFETY: the caller's promise, for the first of the rows that are left; a value of
                // this type proves that the processor has the instructions.
                unsafe {
                    match tile.columns.div_ceil(lanes($self.simd())) {
                        1 => tile::$tile::<$rows, 1>($self.simd(), tile),
                        2 => tile::$tile::<$rows, 2>($self.simd(), tile),
                        _ => tile::$tile::<$rows, $vectors>($self.simd(), tile),
                    }
                };
                tile = tile.below($rows);
                rows -= $rows;
            })+
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use isa;

isa!(Scalar, portable, rows: [4, 3, 2, 1], vectors: 8);
// Of 32 registers 24 hold sums, 4 the panel's row and 1 the element of A.
#[cfg(target_arch = "aarch64")]
isa!(Neon, neon, rows: [6, 5, 4, 3, 2, 1], vectors: 4);
#[cfg(target_arch = "x86_64")]
isa!(V3, avx2, rows: [6, 5, 4, 3, 2, 1], vectors: 2);
#[cfg(target_arch = "x86_64")]
isa!(V4, avx512, rows: [8, 7, 6, 5, 4, 3, 2, 1], vectors: 3);

/// Runs a block for `0..len` in steps of one vector. `$first` is the first element of the step and
/// `$count` how many it has: those of a vector, a constant, or fewer in the last step. A macro, because
/// the compiler need not inline a closure, and only inlined code is compiled for the instruction set.
macro_rules! for_vectors {
    ($simd:expr, $len:expr, |$first:ident, $count:ident| $body:block) => {{
        let (len, lanes) = ($len, $crate::fused::simd::isa::lanes($simd));
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
pub(crate) use for_vectors;

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
