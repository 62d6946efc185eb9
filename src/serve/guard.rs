//! Who may ask, the headers of every answer, and one line a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::serve::app::App;
use crate::serve::problem::Problem;

/// What a page of ours may do: nothing but load its own files and ask its own server.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Writes one line, and counts, when the last part of the server is done with a request.
#[derive(Clone)]
pub(super) struct RequestLog(Arc<Entry>);

struct Entry {
    app: Arc<App>,
    path: &'static str,
    start: Instant,
    status: OnceLock<u16>,
    model: OnceLock<String>,
    prompt: OnceLock<String>,
    first: OnceLock<Instant>,
    characters: AtomicUsize,
}

impl RequestLog {
    /// `prompt` only where the log is to show it.
    pub fn begin(&self, model: &str, prompt: Option<String>) {
        let _ = self.0.model.set(model.into());
        if let Some(prompt) = prompt {
            let _ = self.0.prompt.set(prompt);
        }
    }

    /// So many ids were given, all at once.
    pub fn ended(&self, characters: usize) {
        self.0.characters.store(characters, Ordering::Relaxed);
    }

    /// So many ids of a stream were given by now.
    pub fn wrote(&self, characters: usize) {
        if characters > 0 {
            self.0.first.get_or_init(Instant::now);
        }
        self.0.characters.store(characters, Ordering::Relaxed);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        // Without one the client went away before it was answered.
        let status = self.status.get().copied().unwrap_or(499);
        self.app.metrics.answered(self.path, status, duration);
        let characters = self.characters.load(Ordering::Relaxed);
        let first = self.first.get().map(|first| first.duration_since(self.start));
        if let Some(model) = self.model.get() {
            self.app.metrics.wrote(model, characters, first);
        }
        let milliseconds =
            |duration: std::time::Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
        let per_second = characters as f64 / duration.as_secs_f64().max(1e-6);
        tracing::info!(
            path = self.path,
            status,
            model = self.model.get().map(String::as_str),
            characters = (characters > 0).then_some(characters),
            first_ms = first.map(milliseconds),
            ms = milliseconds(duration),
            per_second = (characters > 0).then(|| per_second.round()),
            prompt = self.prompt.get().map(String::as_str),
            "request"
        );
    }
}

/// Around everything else.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = path_name(request.uri().path());
    let log = RequestLog(Arc::new(Entry {
        app: Arc::clone(&app),
        path,
        start: Instant::now(),
        status: OnceLock::new(),
        model: OnceLock::new(),
        prompt: OnceLock::new(),
        first: OnceLock::new(),
        characters: AtomicUsize::new(0),
    }));
    request.extensions_mut().insert(log.clone());
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let _ = log.0.status.set(response.status().as_u16());
    let is_page = path == "/" || path == "/page";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, if is_page { "no-cache" } else { "no-store" }),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The paths, as the log and the metrics name them.
fn path_name(path: &str) -> &'static str {
    const PATHS: [&str; 10] = [
        "/",
        "/health",
        "/metrics",
        "/v1/models",
        "/v1/completions",
        "/v1/score",
        "/v1/inspect",
        "/v1/fill",
        "/v1/proofread",
        "/favicon.ico",
    ];
    match PATHS.into_iter().find(|known| *known == path) {
        Some(known) => known,
        None if path.starts_with("/page/") => "/page",
        None if path.starts_with("/v1/models/") => "/v1/models",
        None => "other",
    }
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    if app.config.host.is_loopback() && !is_local(request) {
        // A page of another name that resolves to this machine: DNS rebinding.
        let message =
            "this server answers to localhost, 127.0.0.1 and [::1] only: ask by one of these names";
        return Err(Problem::new(StatusCode::FORBIDDEN, message).with_code("wrong_host"));
    }
    let path = request.uri().path();
    let needs_key = path.starts_with("/v1/") || path == "/metrics";
    if let Some(key) = app.config.api_key.as_deref().filter(|_| needs_key)
        && !knows(request, key)
    {
        let message = "this server needs a key: send the header `authorization: Bearer KEY`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"));
    }
    if app.is_stopping() {
        return Err(Problem::stopping());
    }
    Ok(())
}

/// Whether its Host is a name of this machine, whatever the port.
fn is_local(request: &Request) -> bool {
    let uri_host = request.uri().authority().map(|authority| authority.as_str());
    let header_host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // Exactly one, as two could be read differently by two readers.
    let one = request.headers().get_all(header::HOST).iter().count() <= 1;
    let Some(host) = uri_host.or(header_host).filter(|_| one) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// Whether it sends the key. Compared by their hashes, in a time that depends on neither.
fn knows(request: &Request, key: &str) -> bool {
    let sent = request.headers().get(header::AUTHORIZATION);
    let Some(sent) = sent.and_then(|sent| sent.as_bytes().strip_prefix(b"Bearer ")) else {
        return false;
    };
    Sha256::digest(sent).ct_eq(&Sha256::digest(key.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(header: HeaderName, value: &str) -> Request {
        Request::builder().uri("/").header(header, value).body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("127.0.0.2", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_local(&request(header::HOST, host)), local, "{host}");
        }
        let none = Request::builder().uri("/").body(Body::empty()).unwrap();
        assert!(!is_local(&none));
    }

    #[test]
    fn only_the_key_is_the_key() {
        let knows = |value: &str| knows(&request(header::AUTHORIZATION, value), "correct-horse");
        assert!(knows("Bearer correct-horse"));
        for wrong in ["Bearer correct-hors", "Bearer ", "correct-horse", "bearer correct-horse", ""]
        {
            assert!(!knows(wrong), "{wrong}");
        }
    }
}
