//! The loopback listener for machines that watch: `/metrics`, `/healthz`, `/readyz`.
//!
//! Plain HTTP, called by systemd's and the balancer's checks; never bound to a public address. It knows all brands, so
//! nothing of a shop's data may ever be answered here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use crate::collector as figures;
use crate::telemetry::metrics;
use crate::tenant::brand::Brand;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From connecting to the end of the request's headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves for as long as the process lives; `brands` are the present ones, which a reload exchanges.
pub async fn serve(listener: TcpListener, brands: Arc<ArcSwap<Vec<Arc<Brand>>>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let brands = brands.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let brands = brands.clone();
                async move { Ok::<_, Infallible>(answer(&request, &brands.load_full()).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection broke");
            }
        });
    }
}

async fn answer(request: &Request<Incoming>, brands: &[Arc<Brand>]) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "This path answers only to GET, HEAD." }));
    }
    match request.uri().path() {
        "/healthz" => respond(StatusCode::OK, &json!({ "alive": true })),
        "/readyz" => ready(brands).await,
        "/metrics" => metrics(brands).await,
        _ => respond(StatusCode::NOT_FOUND, &json!({ "error": "There is no such path." })),
    }
}

/// 200 when every brand can serve its catalogue, else 503; either way what each brand lacks. Without Redis a shop still
/// sells, so that alone does not take an instance out.
async fn ready(brands: &[Arc<Brand>]) -> Response<Full<Bytes>> {
    let asked = brands.iter().map(|brand| async move { (brand.name(), brand.unavailable_dependencies().await) });
    let found = futures_util::future::join_all(asked).await;
    let ready = found.iter().all(|(_, lacks)| !lacks.iter().any(|lack| lack == "postgresql"));
    let brands: serde_json::Map<_, _> =
        found.into_iter().map(|(name, lacks)| (name.to_owned(), json!({ "lacks": lacks }))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(status, &json!({ "ready": ready, "brands": brands }))
}

/// OpenMetrics text, version 1.0.0.
async fn metrics(brands: &[Arc<Brand>]) -> Response<Full<Bytes>> {
    figures::collect(brands).await;
    match metrics::render() {
        Ok(text) => {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            response
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
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
