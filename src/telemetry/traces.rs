//! Traces: one span per request, exported over OTLP (HTTP, protobuf).
//!
//! Configured by OpenTelemetry's environment variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_TRACES_SAMPLER`
//! (opentelemetry.io/docs/specs/otel/protocol/exporter). Without an endpoint nothing is exported.
//!
//! # Invariants
//!
//! A request never waits for the collector, and a span contains no input of a visitor.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::{Request, Response};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::platform::http_client::{self, HttpRequest};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the shutdown of the process waits for the export of the remaining spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// A request and its response.
pub struct RequestRecord<'a> {
    pub brand: &'a str,
    pub method: &'static str,
    /// A pattern of the router, or empty when no route matched.
    pub route: &'static str,
    pub status: u16,
    pub request_id: &'a HeaderValue,
    pub duration: Duration,
}

/// Starts the export if the environment names a collector. Must be called on the Tokio runtime.
///
/// # Errors
/// A message when the endpoint, or another variable of OpenTelemetry, is invalid.
pub fn start() -> Result<(), String> {
    let variables = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    if !variables.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        return Ok(());
    }
    let client = http_client::HttpClient::new(None, None, CONNECT_TIMEOUT)?;
    let client = ExportClient { client, runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let exporter = exporter.map_err(|e| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {e}"))?;
    let resource = Resource::builder().with_service_name("brandgate").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("brandgate");
    EXPORTER.get_or_init(|| Exporter { provider, tracer, propagator: TraceContextPropagator::new() });
    tracing::info!("exporting traces over OTLP");
    Ok(())
}

/// Records the span of a request that ends now, as a child of the span in the request's `traceparent` header (W3C Trace Context).
pub fn record(headers: &HeaderMap, request: &RequestRecord<'_>) {
    let Some(exporter) = EXPORTER.get() else { return };
    let parent = exporter.propagator.extract_with_context(&Context::new(), &Headers(headers));
    let now = SystemTime::now();
    let route = if request.route.is_empty() { "none" } else { request.route };
    let mut span = exporter
        .tracer
        .span_builder(format!("{} {route}", request.method))
        .with_kind(SpanKind::Server)
        .with_start_time(now.checked_sub(request.duration).unwrap_or(now))
        .with_attributes([
            KeyValue::new("brandgate.brand", request.brand.to_owned()),
            KeyValue::new("http.request.method", request.method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(request.status)),
            KeyValue::new("brandgate.request_id", request.request_id.to_str().unwrap_or_default().to_owned()),
        ])
        .start_with_context(&exporter.tracer, &parent);
    if request.status >= 500 {
        span.set_status(Status::error(""));
    }
    span.end_with_timestamp(now);
}

/// Exports the remaining spans. Blocks for at most two seconds.
pub fn flush() {
    if let Some(exporter) = EXPORTER.get()
        && let Err(error) = exporter.provider.shutdown_with_timeout(FLUSH_TIMEOUT)
    {
        tracing::warn!(%error, "failed to export the last traces; they are lost");
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// Sends requests on the Tokio runtime: the exporter calls it from a thread of its own.
struct ExportClient {
    client: http_client::HttpClient,
    runtime: Handle,
}

impl std::fmt::Debug for ExportClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExportClient")
    }
}

#[async_trait::async_trait]
impl HttpClient for ExportClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = HttpRequest { method: parts.method, url: parts.uri.to_string(), headers: parts.headers, body };
        let client = self.client.clone();
        let response = self.runtime.spawn(async move { client.send(request, EXPORT_TIMEOUT).await }).await?;
        let response = response.map_err(|error| format!("{error:?}"))?;
        Ok(Response::builder().status(response.status).body(response.body)?)
    }
}
