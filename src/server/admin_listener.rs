//! The admin listener: `/metrics`, `/healthz` and `/readyz` in plain HTTP on a loopback address.
//!
//! # Invariants
//!
//! - It serves all brands, so no response contains data of a shop.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::collector;
use crate::telemetry::metrics::{self, ExpositionFormat};
use crate::tenant::brands::{Brands, SharedBrands};

/// From the accept to the end of the request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves until the process exits.
pub async fn serve(listener: TcpListener, brands: SharedBrands) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin listener failed to accept a connection; retrying");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let brands = brands.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let brands = brands.clone();
                async move {
                    let mut response = handle(&request, &brands.load_full()).await;
                    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                    Ok::<_, Infallible>(response)
                }
            });
            let result = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = result {
                tracing::debug!(%error, "admin connection failed");
            }
        });
    }
}

async fn handle(request: &Request<Incoming>, brands: &Brands) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let body = json!({ "error": "This path answers only to GET, HEAD." });
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, &body);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => respond(StatusCode::OK, &json!({ "alive": true })),
        "/readyz" => ready(brands).await,
        "/metrics" => metrics(brands, request.headers()).await,
        _ => respond(StatusCode::NOT_FOUND, &json!({ "error": "There is no such path." })),
    }
}

/// 200 when every brand can serve its catalogue, else 503; both list the unavailable dependencies of each brand. A shop
/// without Redis can still sell, so Redis alone does not take the instance out of service. `serving` lists the brands that
/// are served; `failed` says why a brand cannot be.
async fn ready(brands: &Brands) -> Response<Full<Bytes>> {
    let checks =
        brands.running.iter().map(|brand| async move { (brand.name(), brand.unavailable_dependencies().await) });
    let results = futures_util::future::join_all(checks).await;
    let has_failed = |name: &str| brands.failures.iter().any(|failure| failure.name == name);
    let is_served = |name: &str, lacks: &[&str]| !has_failed(name) && !lacks.contains(&"postgresql");
    let serving: Vec<_> =
        results.iter().filter(|(name, lacks)| is_served(name, lacks)).map(|(name, _)| (*name).to_owned()).collect();
    // At start the brands are not known yet.
    let ready = brands.failures.is_empty() && !serving.is_empty() && serving.len() == results.len();
    let mut by_name: serde_json::Map<_, _> =
        results.into_iter().map(|(name, lacks)| (name.to_owned(), json!({ "lacks": lacks }))).collect();
    for failure in &brands.failures {
        by_name.entry(&failure.name).or_insert_with(|| json!({ "lacks": [] }))["failed"] = json!(failure.reason);
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(status, &json!({ "ready": ready, "serving": serving, "brands": by_name }))
}

/// The metrics in the format that the scraper accepts.
async fn metrics(brands: &Brands, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let accepted: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = ExpositionFormat::from_accept(&accepted.join(","));
    collector::collect(&brands.running).await;
    match metrics::render(format) {
        Ok(text) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "failed to render the metrics");
            respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "The metrics could not be written." }))
        }
    }
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
