//! Counters for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::serve::models::Models;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    characters: Family<OfModel, Counter>,
    rows: Family<OfModel, Gauge>,
    waiting: Family<OfModel, Gauge>,
    /// Connections that are open.
    pub connections: Gauge,
    first: Histogram,
    duration: Histogram,
}

impl Metrics {
    pub fn new() -> Self {
        // From 1 ms to about 16 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let mut metrics = Self {
            registry: Registry::with_prefix("chargru"),
            requests: Family::default(),
            characters: Family::default(),
            rows: Family::default(),
            waiting: Family::default(),
            connections: Gauge::default(),
            first: seconds(),
            duration: seconds(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests that were answered", metrics.requests.clone());
        registry.register("characters", "Ids that were written", metrics.characters.clone());
        registry.register("rows", "Texts that are being written", metrics.rows.clone());
        registry.register("waiting", "Requests that wait for a row", metrics.waiting.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        let first = "Seconds from a request to its first character, of streams";
        registry.register("first_character_seconds", first, metrics.first.clone());
        let duration = "Seconds from a request to the end of its answer";
        registry.register("request_seconds", duration, metrics.duration.clone());
        metrics
    }

    pub fn answered(&self, path: &'static str, status: u16, duration: Duration) {
        self.requests.get_or_create(&Answered { path, status }).inc();
        self.duration.observe(duration.as_secs_f64());
    }

    pub fn wrote(&self, model: &str, characters: usize, first: Option<Duration>) {
        let of = OfModel { model: model.into() };
        self.characters.get_or_create(&of).inc_by(characters as u64);
        if let Some(first) = first {
            self.first.observe(first.as_secs_f64());
        }
    }

    /// `GET /metrics`
    pub fn text(&self, models: &Models) -> String {
        for loaded in models.all() {
            let of = OfModel { model: loaded.model.id.clone() };
            self.rows.get_or_create(&of).set(loaded.rows.taken() as i64);
            self.waiting.get_or_create(&of).set(loaded.rows.waiting() as i64);
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
