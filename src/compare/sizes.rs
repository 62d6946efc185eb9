//! The hidden size that gives a network so many parameters.

use crate::error::{Error, Result, ensure};
use crate::model::{ModelConfig, count_of_layers};

/// The largest hidden size; [`ModelConfig::validate`] refuses a larger one.
const LARGEST: usize = 1 << 16;
/// Steps of the hidden size, the first choice first: whole vectors make the kernels faster.
const MULTIPLES: [usize; 5] = [16, 8, 4, 2, 1];
/// A count so close to the one that was asked for is close enough to choose a rounder size.
const CLOSE: f64 = 0.01;

/// `model` with the hidden size that gives it about `parameters` trained numbers: the multiple of 16 that
/// comes closest, if it comes within 1 percent, or else of 8, of 4, of 2, or any number. With tied weights
/// the embedding is as large as the hidden vector.
///
/// # Errors
/// [`Error::Setting`] if the smallest such network has more than `parameters`, or the largest fewer.
pub fn hidden_for(model: &ModelConfig, parameters: u64) -> Result<ModelConfig> {
    let sized = |hidden: usize| ModelConfig {
        hidden,
        embedding: if model.tie_weights { hidden } else { model.embedding },
        ..model.clone()
    };
    // Of the largest sizes more than 64 bits may be needed.
    let count = |hidden: usize| -> u128 {
        let shapes = sized(hidden).parameters();
        shapes.iter().map(|(_, shape)| shape.iter().map(|&n| n as u128).product::<u128>()).sum()
    };
    let wanted = u128::from(parameters);
    let smallest = count(1);
    ensure!(
        smallest <= wanted,
        Error::out_of_range(
            "parameters",
            parameters,
            format!(
                "the smallest network of {} of {} has {smallest}: give at least that, or lower \
                 `embedding` or `layers`",
                count_of_layers(model.layers),
                model.cell
            )
        )
    );
    ensure!(
        count(LARGEST) >= wanted,
        Error::out_of_range(
            "parameters",
            parameters,
            format!(
                "the largest network of {} of {}, with a hidden vector of {LARGEST}, has fewer: \
                 give less, or more `layers`",
                count_of_layers(model.layers),
                model.cell
            )
        )
    );
    // The last size that has at most as many; the count grows with the size.
    let (mut below, mut above) = (1, LARGEST + 1);
    while above - below > 1 {
        let middle = usize::midpoint(below, above);
        if count(middle) <= wanted { below = middle } else { above = middle }
    }
    let off = |hidden: usize| count(hidden).abs_diff(wanted) as f64 / parameters as f64;
    let closest = |multiple: usize| {
        let lower = below / multiple * multiple;
        [lower, lower + multiple]
            .into_iter()
            .filter(|size| (1..=LARGEST).contains(size))
            .min_by(|&a, &b| off(a).total_cmp(&off(b)))
    };
    let sizes = MULTIPLES.iter().filter_map(|&multiple| closest(multiple));
    let hidden = sizes.into_iter().find(|&size| off(size) <= CLOSE).or(closest(1));
    Ok(sized(hidden.unwrap_or(below)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cell;

    fn model(cell: Cell) -> ModelConfig {
        ModelConfig { cell, vocab: 65, ..ModelConfig::default() }
    }

    #[test]
    fn every_cell_has_the_parameters_within_a_percent_and_round_sizes_where_they_fit() {
        for parameters in [50_000, 500_000, 1_000_000, 20_000_000] {
            for cell in Cell::ALL {
                let sized = hidden_for(&model(cell), parameters).unwrap();
                let has = sized.parameter_count() as f64;
                let off = (has - parameters as f64).abs() / parameters as f64;
                assert!(off <= 0.01, "{cell} {parameters}: {has}");
                // No rounder size comes as close.
                let multiple = 1 << sized.hidden.trailing_zeros().min(4);
                for rounder in [16, 8, 4, 2].into_iter().filter(|&m| m > multiple) {
                    for hidden in [
                        sized.hidden / rounder * rounder,
                        sized.hidden / rounder * rounder + rounder,
                    ] {
                        let other = ModelConfig { hidden, ..sized.clone() }.parameter_count();
                        let off = (other as f64 - parameters as f64).abs() / parameters as f64;
                        assert!(off > 0.01, "{cell} {parameters}: {hidden} has {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_size_of_a_network_is_found_again() {
        for cell in Cell::ALL {
            for tie_weights in [false, true] {
                for hidden in [1, 7, 250, 1000] {
                    let embedding = if tie_weights { hidden } else { 64 };
                    let known = ModelConfig { hidden, embedding, tie_weights, ..model(cell) };
                    let parameters = known.parameter_count() as u64;
                    let found = hidden_for(&known, parameters).unwrap();
                    assert!(found.hidden.abs_diff(hidden) <= 4, "{cell} {hidden}: {found:?}");
                    assert!(!tie_weights || found.embedding == found.hidden);
                    if hidden < 100 {
                        assert_eq!(found, known);
                    }
                }
            }
        }
    }

    #[test]
    fn counts_that_no_size_has_are_refused() {
        for cell in Cell::ALL {
            let few = hidden_for(&model(cell), 100).unwrap_err().to_string();
            assert!(
                few.starts_with("`parameters` is 100: the smallest network of 2 layers"),
                "{few}"
            );
            let least: u64 =
                few.split(" has ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
            assert_eq!(hidden_for(&model(cell), least).unwrap().hidden, 1);
            let many = hidden_for(&model(cell), u64::MAX).unwrap_err().to_string();
            assert!(many.contains("with a hidden vector of 65536, has fewer: give less"), "{many}");
        }
    }
}
