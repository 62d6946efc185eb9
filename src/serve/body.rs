//! JSON of a request, read within bounds.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

use crate::serve::config::Limits;
use crate::serve::problem::Problem;

/// Reads the body as `T`.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
) -> Result<T, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    // A page of another origin can send everything but this without asking first.
    if !kind.and_then(|kind| kind.to_str().ok()).is_some_and(is_json) {
        let message = "send JSON, with the header `content-type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let too_large = || {
        let message = format!("the body has more than {} bytes: send less", limits.body);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits.body) {
        return Err(too_large());
    }
    let body = tokio::time::timeout(limits.arrival, to_bytes(request.into_body(), limits.body));
    let bytes = match body.await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_length_error(&error) => return Err(too_large()),
        Ok(Err(_)) => return Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => {
            let seconds = limits.arrival.as_secs();
            let message = format!("the body did not arrive within {seconds} s");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    parse(&bytes)
}

/// Whether a media type is JSON's, whatever its parameters.
fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn is_length_error(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.to_string().contains("length limit"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // From a list the fields would be read by their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the body is no JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        if !inner.is_data() {
            return Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {inner}"));
        }
        let message = inner.to_string();
        // `unknown field `x`, expected …` and `missing field `x``.
        let named = message.contains("field `").then(|| message.split('`').nth(1)).flatten();
        match named {
            Some(name) => Problem::field(name.to_owned(), message.clone()),
            None if path == "." => Problem::new(StatusCode::BAD_REQUEST, message),
            None => Problem::field(path.clone(), format!("`{path}`: {message}")),
        }
    })?;
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")))
        }
    }
}

/// A text or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;

        impl<'de> Visitor<'de> for Reads {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default)]
        stop: Texts,
        #[allow(dead_code)]
        number: Option<u32>,
    }

    fn problem(body: &str) -> (Option<String>, String) {
        let problem = parse::<Asked>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        (problem.param.map(|param| param.into_owned()), problem.message)
    }

    #[test]
    fn one_text_is_as_a_list_of_one() {
        let stop = |body: &str| parse::<Asked>(body.as_bytes()).unwrap().stop.0;
        assert_eq!(stop(r#"{"stop":"a"}"#), ["a"]);
        assert_eq!(stop(r#"{"stop":["a","b"]}"#), ["a", "b"]);
        assert!(stop("{}").is_empty());
    }

    #[test]
    fn a_problem_names_the_field() {
        let (param, message) = problem(r#"{"stop":["a",1]}"#);
        assert_eq!(param.as_deref(), Some("stop[1]"));
        assert!(message.contains("expected a string"), "{message}");
        assert_eq!(problem(r#"{"best_of":1}"#).0.as_deref(), Some("best_of"));
        assert_eq!(problem(r#"{"number":-1}"#).0.as_deref(), Some("number"));
        assert_eq!(problem(r#"{"number":1e999}"#).0, None);
        assert_eq!(problem("[]").0, None);
        assert_eq!(problem(r#"["a",1]"#).0, None);
        assert_eq!(problem(r#"{"number":1} x"#).0, None);
        assert_eq!(problem(&"[".repeat(100_000)).0, None);
        assert_eq!(problem("").0, None);
    }

    #[test]
    fn a_media_type_is_compared_as_one() {
        assert!(is_json("application/json") && is_json("Application/JSON ; charset=utf-8"));
        assert!(!is_json("application/jsonx") && !is_json("text/plain") && !is_json(""));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_an_error() {
        assert!(parse::<Asked>(b"{\"stop\":\"\xff\"}").is_err());
        assert!(parse::<Asked>(br#"{"stop":"\ud800"}"#).is_err());
    }
}
