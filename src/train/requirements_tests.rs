//! What a training is said to need, and which setting is refused.

use super::*;

fn model(change: impl FnOnce(&mut ModelConfig)) -> ModelConfig {
    let mut model = ModelConfig { vocab: 80, ..ModelConfig::default() };
    change(&mut model);
    model
}

/// Which setting is refused, with so many bytes free.
fn refused(model: &ModelConfig, train: &TrainConfig, free: u64) -> &'static str {
    let data = DataSizes { text: 1000, evaluation: 8192, evaluation_margin: 0 };
    let needs = Requirements::new(model, train, data);
    match needs.ensure_memory(Some(free), model, train).unwrap_err() {
        Error::Setting { name, message } => {
            assert!(message.contains(&format!("lower `{name}`, which is ")), "{message}");
            name
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn what_does_not_fit_names_the_setting_to_lower() {
    let usual = TrainConfig::default();
    let with = |batch, seq_len| TrainConfig { batch, seq_len, ..TrainConfig::default() };
    for (name, model, train) in [
        ("hidden", model(|m| m.hidden = 65536), &usual),
        ("layers", model(|m| (m.hidden, m.layers) = (1024, 64)), &usual),
        ("embedding", model(|m| (m.embedding, m.vocab) = (65536, 60_000)), &usual),
        ("max_vocab", model(|m| (m.vocab, m.embedding) = (1_000_000, 1024)), &usual),
        ("batch", model(|_| ()), &with(65536, 4096)),
        ("seq_len", model(|_| ()), &with(64, 1 << 20)),
    ] {
        assert_eq!(refused(&model, train, 1 << 30), name);
    }
}

#[test]
fn both_sides_and_the_margin_count() {
    let one = model(|_| ());
    let both = model(|m| m.bidirectional = true);
    let margin = |margin| TrainConfig { margin, ..TrainConfig::default() };
    let windows = |model, train: TrainConfig, evaluation_margin| {
        let data = DataSizes { text: 0, evaluation: 8192, evaluation_margin };
        Requirements::new(model, &train, data).windows
    };
    let of_one = windows(&one, margin(32), 0);
    assert_eq!(windows(&one, margin(65536), 0), of_one);
    let of_both = windows(&both, margin(32), 4096);
    assert!(of_both > 2 * of_one);
    assert!(windows(&both, margin(32), 16384) > of_both);
    // Gates, saved values and hidden sequences of two layers: 10 H float32 numbers a position.
    let more = windows(&both, margin(4096), 4096) - of_both;
    assert!(more > 32 * (4096 - 256) * 10 * 256 * 4, "{more}");
    assert_eq!(refused(&both, &margin(65536), 1 << 30), "margin");
    let wide = TrainConfig { batch: 4096, ..margin(65536) };
    assert_eq!(refused(&one, &wide, 1 << 30), "batch");
}

/// What a layer gives is kept beside its hidden sequence: of a window once, as with dropout, and of two
/// windows of an evaluation.
#[test]
fn what_the_layers_of_a_residual_network_give_counts() {
    let of = |residual, dropout, evaluation| {
        let model = model(|m| (m.residual, m.dropout) = (residual, dropout));
        let data = DataSizes { evaluation, ..DataSizes::default() };
        Requirements::new(&model, &TrainConfig::default(), data).windows
    };
    let train = TrainConfig::default();
    let (window, layers) = ((train.batch * train.seq_len) as u64, 2);
    assert!(of(true, 0.0, 0) >= of(false, 0.0, 0) + layers * 4 * 256 * window);
    assert_eq!(of(true, 0.25, 0), of(true, 0.0, 0));
    assert!(of(true, 0.25, 8192) >= of(false, 0.25, 8192) + layers * 2 * 4 * 256 * 8192);
}

#[test]
fn the_largest_settings_give_a_number_and_no_overflow() {
    let largest = model(|m| {
        (m.hidden, m.embedding, m.layers, m.vocab) = (65536, 65536, 64, 0x11_0002);
    });
    let train = TrainConfig { batch: 65536, seq_len: 1 << 20, ..TrainConfig::default() };
    let data = DataSizes { text: 1000, evaluation: 8192, evaluation_margin: 0 };
    let needs = Requirements::new(&largest, &train, data);
    assert!(needs.windows > 1 << 50 && needs.memory() >= needs.windows);
    assert!(needs.ensure_memory(Some(1 << 40), &largest, &train).is_err());
    // Nobody knows what is free: nothing is refused.
    needs.ensure_memory(None, &largest, &train).unwrap();
}

#[test]
fn the_text_that_is_there_already_counts_neither_way() {
    let (model, train) = (model(|_| ()), TrainConfig::default());
    let needs =
        |text| Requirements::new(&model, &train, DataSizes { text, ..DataSizes::default() });
    let without = needs(0).memory();
    assert_eq!(needs(1 << 30).memory(), without + (1 << 30));
    needs(1 << 30).ensure_memory(Some(without), &model, &train).unwrap();
    assert!(needs(1 << 30).ensure_memory(Some(without - 1), &model, &train).is_err());
}

#[test]
fn this_system_says_what_is_free() {
    if cfg!(any(target_os = "linux", windows, target_os = "macos")) {
        // Under Wine it may say nothing.
        assert!(available_memory().is_none_or(|free| free < 1 << 50));
        assert!(cfg!(windows) || available_memory().is_some());
    }
}
