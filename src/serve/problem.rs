//! Errors, in the shape of OpenAI's.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::Error;

/// Why a request is not answered.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub status: StatusCode,
    pub message: String,
    /// The field of the request that it is about.
    pub param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
}

/// Most characters of a message: it may quote what was sent.
const MAX_MESSAGE: usize = 400;

impl Problem {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { status, message, param: None, code: None }
    }

    /// A field with a value that cannot be.
    pub fn field(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// An error of the library about the text in this field.
    pub fn of(error: Error, param: &'static str) -> Self {
        match error {
            Error::Setting { name, .. } => Self::field(name, error.to_string()),
            Error::Text(_) | Error::UnknownCharacters(_) => Self::field(param, error.to_string()),
            error => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// More is asked than is served at once.
    pub fn busy() -> Self {
        let message = "as many requests as are served at once are being served, and as many as may are \
                       waiting: ask again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).with_code("rate_limit_exceeded")
    }

    /// The server is about to stop.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping: ask again later")
            .with_code("server_stopping")
    }

    /// A thread of the server is gone.
    pub fn broken() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the work on this request ended unexpectedly")
    }

    pub fn to_json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {
            "message": self.message, "type": kind, "param": self.param, "code": self.code,
        }})
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_library_names_the_field() {
        let json = |error, param| Problem::of(error, param).to_json()["error"].clone();
        let setting = json(Error::out_of_range("top_p", 2.0, "give at most 1"), "prompt");
        assert_eq!(setting["param"], "top_p");
        assert_eq!(setting["message"], "`top_p` is 2: give at most 1");
        assert_eq!(setting["type"], "invalid_request_error");
        assert_eq!(json(Error::Text("too long".into()), "prompt")["param"], "prompt");
        let logits = Problem::of(Error::Logits("NaN".into()), "prompt");
        assert_eq!(logits.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(logits.to_json()["error"]["type"], "server_error");
    }

    #[test]
    fn what_was_sent_is_not_quoted_at_length() {
        let problem = Problem::field("stop", "é".repeat(10_000));
        assert_eq!(problem.message.chars().count(), MAX_MESSAGE + 1);
    }
}
