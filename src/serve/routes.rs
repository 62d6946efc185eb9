//! Which path is answered by what.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_http::cors::CorsLayer;

use crate::serve::app::App;
use crate::serve::config::Limits;
use crate::serve::problem::Problem;
use crate::serve::{analysis, assets, both_sides, completions, guard};

pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/", get(assets::index))
        .route("/page/{name}", get(assets::file))
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/score", post(analysis::score))
        .route("/v1/inspect", post(analysis::inspect))
        .route("/v1/fill", post(both_sides::fill))
        .route("/v1/proofread", post(both_sides::proofread))
        .fallback(|| async {
            let message = "there is nothing at this path: the server answers at /v1/completions, /v1/models, \
                           /v1/score, /v1/inspect, /v1/fill, /v1/proofread, /health, /metrics and /";
            Problem::new(StatusCode::NOT_FOUND, message)
        })
        .method_not_allowed_fallback(|| async {
            let message = "this path is asked with another method: /v1/models, /health, /metrics and / with GET, \
                           the others with POST";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .with_state(Arc::clone(&app))
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard));
    if !app.config.cors.is_empty() {
        let origins =
            app.config.cors.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        let cors = CorsLayer::new()
            .allow_origin(origins.collect::<Vec<_>>())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
        router = router.layer(cors);
    }
    router
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text(&app.models))
}

async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let Limits { prompt, max_tokens, n, logprobs, score, inspect, fill, gaps, proofread, .. } =
        app.config.limits;
    Json(json!({
        "object": "list",
        "data": app.models.to_json(),
        "limits": {
            "prompt": prompt, "max_tokens": max_tokens, "n": n, "logprobs": logprobs, "score": score,
            "inspect": inspect, "fill": fill, "gaps": gaps, "proofread": proofread,
        },
    }))
}

async fn model(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    app.models.one(&id).map(Json)
}
