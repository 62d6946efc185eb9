//! Where a server listens, who may ask, and what is refused as too much.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::{Error, Result, ensure};

/// Settings of a [`Server`](crate::serve::Server).
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Address to listen at.
    pub host: IpAddr,
    /// 0 for any that is free.
    pub port: u16,
    /// Who asks must know it. Without one, only programs of this machine are served, unless `insecure`.
    pub api_key: Option<String>,
    /// Serves whoever reaches the address, without a key.
    pub insecure: bool,
    /// Origins whose pages may ask, such as `https://example.org`.
    pub cors: Vec<String>,
    /// Threads that write; None for one a processor.
    pub threads: Option<usize>,
    /// What running texts may still take when the server is told to stop.
    pub drain: Duration,
    /// Writes prompts to the log.
    pub log_prompts: bool,
    /// What is refused as too much.
    pub limits: Limits,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            api_key: None,
            insecure: false,
            cors: Vec::new(),
            threads: None,
            drain: Duration::from_secs(10),
            log_prompts: false,
            limits: Limits::default(),
        }
    }
}

/// Bounds of what is asked. Texts are counted in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Texts of one model that are written side by side.
    pub rows: usize,
    /// Requests of one kind that wait for their turn.
    pub queue: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// A prompt.
    pub prompt: usize,
    /// `max_tokens`
    pub max_tokens: usize,
    /// `n`, and the number of prompts of one request.
    pub n: usize,
    /// Alternatives of each character.
    pub logprobs: usize,
    /// Ids of one answer that is not streamed, where each comes with its log-probability.
    pub whole_logprobs: usize,
    /// A text that is scored.
    pub score: usize,
    /// A text whose gates are shown.
    pub inspect: usize,
    /// A text whose gaps are filled.
    pub fill: usize,
    /// Its gaps, as [`FillOptions::work`](crate::fill::FillOptions::work) measures them.
    pub gaps: usize,
    /// A text that is proofread.
    pub proofread: usize,
    /// How long a request may take to arrive: its head, and then its body.
    pub arrival: Duration,
    /// How long a reader may take nothing of its answer.
    pub reader: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 256,
            queue: 256,
            body: 1 << 20,
            prompt: 8_192,
            max_tokens: 16_384,
            n: 16,
            logprobs: 5,
            whole_logprobs: 16_384,
            score: 32_768,
            inspect: 4_096,
            fill: 4_096,
            gaps: 360,
            proofread: 8_192,
            arrival: Duration::from_secs(10),
            reader: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Connections that are kept open: one for each text and each that waits, and some for pages.
    pub(super) fn connections(&self) -> usize {
        self.rows + self.queue + 64
    }
}

impl ServeConfig {
    /// Stop texts of one request, and characters of each.
    pub(super) const MAX_STOPS: usize = 16;
    pub(super) const MAX_STOP_LENGTH: usize = 256;

    /// # Errors
    /// [`Error::Setting`] for one outside its range, and for an address that other machines reach without a key
    /// and without `insecure`.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.host.is_loopback() || self.api_key.is_some() || self.insecure,
            Error::setting(
                "host",
                format!(
                    "`host` is {}, which other machines may reach: give an `api_key` that they must know, or \
                     `insecure` to serve everybody",
                    self.host
                )
            )
        );
        if let Some(key) = &self.api_key {
            let is_fit = key.len() >= 8 && key.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(
                is_fit,
                Error::setting(
                    "api_key",
                    "`api_key` must be at least 8 letters, digits or signs of ASCII, without spaces"
                )
            );
        }
        for origin in &self.cors {
            ensure!(
                is_origin(origin),
                Error::setting(
                    "cors",
                    format!(
                        "`cors` is {origin:?}: give an origin as browsers send it, such as https://example.org \
                         or http://localhost:3000"
                    )
                )
            );
        }
        ensure!(
            (1..=4096).contains(&self.limits.rows),
            Error::out_of_range("rows", self.limits.rows, "give a number from 1 to 4096")
        );
        ensure!(
            self.limits.queue <= 65_536,
            Error::out_of_range("queue", self.limits.queue, "give a number up to 65536")
        );
        Ok(())
    }
}

/// `scheme://host` or `scheme://host:port`, and nothing behind.
fn is_origin(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !rest.is_empty() && rest.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_a_key_or_an_explicit_word() {
        let everywhere = ServeConfig { host: [0, 0, 0, 0].into(), ..ServeConfig::default() };
        let refused = everywhere.validate().unwrap_err().to_string();
        assert!(refused.contains("0.0.0.0") && refused.contains("`api_key`"), "{refused}");
        let key = Some("correct-horse".to_string());
        assert!(ServeConfig { api_key: key, ..everywhere.clone() }.validate().is_ok());
        assert!(ServeConfig { insecure: true, ..everywhere }.validate().is_ok());
        assert!(ServeConfig::default().validate().is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |change: &dyn Fn(&mut ServeConfig)| {
            let mut config = ServeConfig::default();
            change(&mut config);
            config.validate().is_err()
        };
        assert!(with(&|config| config.api_key = Some(String::new())));
        assert!(with(&|config| config.api_key = Some("short".into())));
        assert!(with(&|config| config.api_key = Some("has a space in it".into())));
        assert!(with(&|config| config.limits.rows = 0));
        for origin in ["*", "example.org", "https://", "https://a.org/path", "file:///x"] {
            assert!(with(&|config| config.cors = vec![origin.into()]), "{origin}");
        }
        assert!(!with(&|config| config.cors = vec!["http://localhost:3000".into()]));
    }
}
