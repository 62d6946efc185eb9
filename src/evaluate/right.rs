//! What stands to the right of a window, as tensors for a bidirectional network.

use candle_core::{Device, Result, Tensor};

use crate::data::RightContext;
use crate::model::Right;

/// The right context of a window of `shape` [T, B].
pub(crate) fn right_of(
    context: RightContext,
    shape: (usize, usize),
    device: &Device,
) -> Result<Right> {
    let RightContext { ids, resets, margin, margin_resets, m, scored } = context;
    let flags = |flags: Option<Vec<u8>>, shape: (usize, usize)| {
        flags.map(|flags| Tensor::from_vec(flags, shape, device)).transpose()
    };
    let of_margin = (m, shape.1);
    Ok(Right {
        ids: Tensor::from_vec(ids, shape, device)?,
        resets: flags(resets, shape)?,
        margin: if m == 0 { None } else { Some(Tensor::from_vec(margin, of_margin, device)?) },
        margin_resets: if m == 0 { None } else { flags(margin_resets, of_margin)? },
        scored: flags(scored, shape)?,
    })
}
