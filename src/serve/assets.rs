//! The playground's files, compiled in.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::serve::problem::Problem;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const INDEX: &str = include_str!("page/index.html");

/// Name, type and content of the files beside the page.
macro_rules! files {
    ($($name:literal $kind:expr),* $(,)?) => {
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("page/", $name)))),*];
    };
}

files! {
    "alternatives.js" JAVASCRIPT,
    "api.js" JAVASCRIPT,
    "colour.js" JAVASCRIPT,
    "coloured_text.js" JAVASCRIPT,
    "connection.js" JAVASCRIPT,
    "dom.js" JAVASCRIPT,
    "favicon.svg" SVG,
    "fill.js" JAVASCRIPT,
    "gates.css" CSS,
    "gates.js" JAVASCRIPT,
    "gates_panel.js" JAVASCRIPT,
    "items.js" JAVASCRIPT,
    "key.js" JAVASCRIPT,
    "link.js" JAVASCRIPT,
    "main.js" JAVASCRIPT,
    "models.js" JAVASCRIPT,
    "panel.js" JAVASCRIPT,
    "proofread.js" JAVASCRIPT,
    "read.js" JAVASCRIPT,
    "sampling.js" JAVASCRIPT,
    "state.js" JAVASCRIPT,
    "style.css" CSS,
    "tabs.js" JAVASCRIPT,
    "text.css" CSS,
    "theme.js" JAVASCRIPT,
    "write.js" JAVASCRIPT,
}

pub(super) async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HTML)], INDEX)
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, "the page has no such file").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A file that is not in the list would be missing from the page.
    #[test]
    fn every_file_of_the_page_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/serve/page");
        let names = std::fs::read_dir(folder).unwrap();
        let mut there: BTreeSet<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(there.remove("index.html"));
        assert_eq!(there, FILES.iter().map(|(name, ..)| name.to_string()).collect());
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        let texts = FILES.iter().map(|(_, _, content)| *content).chain([INDEX]);
        for text in texts {
            let links = text.match_indices("://").map(|(at, _)| &text[at.saturating_sub(5)..]);
            // The name of a format is no address.
            let others = links.filter(|link| !link.contains("://www.w3.org/2000/svg"));
            assert_eq!(others.count(), 0);
        }
    }
}
