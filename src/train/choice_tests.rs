//! What is chosen for texts, times and sizes.

use super::*;

fn text(length: usize) -> TextFacts {
    TextFacts { length, list: false }
}

#[test]
fn longer_texts_get_larger_networks_and_less_regularisation() {
    let lengths = [0, 1, 2_000, 20_000, 300_000, 1_100_000, 10_000_000, 50_000_000];
    let choices = lengths.map(|length| choose(text(length), Fixed::default()));
    let ids = |choice: &Choice| choice.steps * (choice.batch * choice.seq_len) as u64;
    for two in choices.windows(2) {
        assert!(two[0].hidden * two[0].layers <= two[1].hidden * two[1].layers, "{two:?}");
        assert!(two[0].weight_drop >= two[1].weight_drop, "{two:?}");
        assert!(ids(&two[0]) <= ids(&two[1]), "{two:?}");
    }
    let [.., large] = choices;
    // A reading of 45 million characters by 1.4 million parameters.
    assert!((0.5..2.0).contains(&large.readings()), "{large:?}");
    assert!(large.eval_every.is_some(), "{large:?}");
    assert_eq!(choices[5].eval_every, None);
}

#[test]
fn what_is_fixed_stays_and_the_rest_follows_from_it() {
    let fixed = Fixed { hidden: Some(1024), batch: Some(64), ..Fixed::default() };
    let choice = choose(text(1_000_000), fixed);
    assert_eq!((choice.hidden, choice.layers, choice.batch), (1024, 2, 64));
    assert_eq!(choice.lr, 0.003);
    let usual = choose(text(1_000_000), Fixed::default());
    assert!(choice.weight_drop > usual.weight_drop && choice.dropout > usual.dropout);
    // No size is too large to choose by: `validate` tells the user.
    let huge = Some(usize::MAX);
    for fixed in [
        Fixed { hidden: huge, layers: huge, batch: huge, seq_len: huge, ..Fixed::default() },
        Fixed { batch: Some(0), seq_len: Some(0), hidden: Some(0), ..Fixed::default() },
    ] {
        choose(text(usize::MAX), fixed);
    }
}

#[test]
fn a_list_is_divided_into_its_lines() {
    let list = TextFacts { length: 30_000, list: true };
    assert_eq!(choose(list, Fixed::default()).documents, Documents::Lines);
    assert_eq!(choose(text(30_000), Fixed::default()).documents, Documents::Off);
}

/// As fast as if only the parameters counted.
fn within(seconds: u64, flops: f64, length: usize) -> (usize, usize) {
    let speed = |choice: &Choice| Ok::<_, ()>(flops / parameters(Cell::Gru, choice));
    let limit = Duration::from_secs(seconds);
    let choice = choose_within(text(length), Fixed::default(), limit, speed).unwrap();
    (choice.hidden, choice.layers)
}

#[test]
fn more_time_and_a_faster_machine_allow_larger_networks() {
    let sizes = [1, 10, 60, 300, 3_000, 30_000].map(|s| within(s, 7e10, 1_000_000));
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert!(sizes[0] < (128, 2) && sizes[5] > (384, 2), "{sizes:?}");
    assert!(within(60, 7e10, 1_000_000) < within(60, 7e12, 1_000_000));
    // However long, a short text is learnt by heart by a large network.
    assert_eq!(within(1_000_000, 7e10, 2_000), (64, 1));
    assert_eq!(within(0, 7e10, 1_000_000), (64, 1));
}

/// A short run of a network needs less of it than a long one.
#[test]
fn regularisation_follows_from_the_end_that_is_given() {
    let weight_drop = |fixed| choose(text(1_000_000), fixed).weight_drop;
    let usual = weight_drop(Fixed::default());
    assert!(usual > weight_drop(Fixed { steps: Some(1_000), ..Fixed::default() }));
    assert!(usual < weight_drop(Fixed { epochs: Some(100), ..Fixed::default() }));
    let both = Fixed { steps: Some(u64::MAX), epochs: Some(1), ..Fixed::default() };
    assert!(usual > weight_drop(both));
    let few = choose(text(2_000), Fixed { steps: Some(10), ..Fixed::default() });
    assert_eq!(few.steps, 10);
    let sized = Fixed { hidden: Some(256), layers: Some(2), ..Fixed::default() };
    let within = |seconds| {
        let limit = Duration::from_secs(seconds);
        choose_within(text(1_000_000), sized, limit, |_| Ok::<_, ()>(1e5)).unwrap()
    };
    let (short, long) = (within(60), within(3_000));
    assert!(short.weight_drop < usual && long.weight_drop > usual);
    assert!((5.0..8.0).contains(&short.readings()), "{short:?}");
}

/// A short run of a long text has shorter windows, and more steps.
#[test]
fn windows_follow_from_the_end_that_is_given() {
    let seq_len = |length, fixed| choose(text(length), fixed).seq_len;
    assert_eq!(seq_len(1_000_000, Fixed::default()), 128);
    let few = Fixed { epochs: Some(10), ..Fixed::default() };
    assert_eq!(seq_len(1_000_000, few), 64);
    assert_eq!(seq_len(1_000_000, Fixed { seq_len: Some(100), ..few }), 100);
    assert_eq!(seq_len(10_000_000, few), 128);
    // So many steps are asked for: their number says nothing of the windows.
    assert_eq!(seq_len(1_000_000, Fixed { steps: Some(10), ..Fixed::default() }), 128);
    let within = |seconds| {
        let limit = Duration::from_secs(seconds);
        let speed = |_: &Choice| Ok::<_, ()>(1e5);
        choose_within(text(10_000_000), Fixed::default(), limit, speed).unwrap()
    };
    let (short, long) = (within(100), within(1_000));
    assert_eq!((short.batch, short.seq_len, short.dropout), (32, 64, 0.0));
    assert_eq!((long.batch, long.seq_len), (32, 128));
    assert_eq!(short.steps, 4_882);
}

#[test]
fn a_time_is_used_in_the_fastest_precision() {
    let fixed = Fixed { fastest: Precision::Bf16, ..Fixed::default() };
    assert_eq!(choose(text(1_000_000), fixed).precision, Precision::F32);
    let speed = |choice: &Choice| {
        assert_eq!(choice.precision, Precision::Bf16);
        Ok::<_, ()>(1e5)
    };
    let choice = choose_within(text(1_000_000), fixed, Duration::from_secs(60), speed).unwrap();
    assert_eq!(choice.precision, Precision::Bf16);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let limit = Duration::from_secs(1);
    let failed = choose_within(text(1_000_000), Fixed::default(), limit, |_| Err("measured"));
    assert_eq!(failed.unwrap_err(), "measured");
}
