//! What all requests share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::serve::admission::Admission;
use crate::serve::config::ServeConfig;
use crate::serve::metrics::Metrics;
use crate::serve::models::Models;

/// The models, the counters, and whether the server stops.
pub(super) struct App {
    pub config: ServeConfig,
    pub models: Models,
    pub metrics: Metrics,
    /// Readings of whole texts, which take a processor each.
    pub readings: Admission,
    stopping: AtomicBool,
    /// Tells requests and starts of the server apart.
    requests: AtomicU64,
    start: u64,
}

impl App {
    pub fn new(config: ServeConfig, models: Models, threads: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            readings: Admission::new(threads, config.limits.queue),
            config,
            models,
            metrics: Metrics::new(),
            stopping: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            start: now.map_or(0, |time| time.as_nanos() as u64),
        }
    }

    /// Names a completion.
    pub fn next_id(&self) -> String {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("cmpl-{:x}-{request:x}", self.start)
    }

    /// A seed for a request without one.
    pub fn next_seed(&self) -> u64 {
        // An odd factor spreads the numbers of requests over all seeds.
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.start ^ request.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Nothing new begins from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.readings.close();
        self.models.all().for_each(|loaded| loaded.rows.close());
    }
}
