//! A span a request, sent to a collector over OTLP (HTTP, protobuf), when the environment names one.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`), `OTEL_TRACES_SAMPLER` and their like are OpenTelemetry's own
//! (opentelemetry.io/docs/specs/otel/protocol/exporter). Begun by `bin/brandgate serve`, told by `serve`. What must never happen: a request
//! waits for a collector, or a span holds what a visitor wrote.

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
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last spans to leave.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// One request that was answered.
pub struct RequestRecord<'a> {
    pub brand: &'a str,
    pub method: &'static str,
    /// A pattern of `routes`, or empty.
    pub route: &'static str,
    pub status: u16,
    pub request_id: &'a HeaderValue,
    pub took: Duration,
}

/// Sends spans from here on if the environment names a collector; to be called on the runtime.
///
/// # Errors
/// A sentence: the address, or another of OpenTelemetry's variables, cannot be understood.
pub fn begin() -> Result<(), String> {
    let named = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    if !named.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        return Ok(());
    }
    let outgoing = http_client::HttpClient::new(None, None, CONNECT_TIMEOUT)?;
    let client = Exporting { outgoing, runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let exporter = exporter.map_err(|e| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {e}"))?;
    let resource = Resource::builder().with_service_name("brandgate").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("brandgate");
    TRACING.get_or_init(|| Tracing { provider, tracer, propagator: TraceContextPropagator::new() });
    tracing::info!("traces are sent over OTLP");
    Ok(())
}

/// A span for a request that ends now; `headers` may name the span that it belongs to (W3C `traceparent`).
pub fn request(headers: &HeaderMap, answered: &RequestRecord<'_>) {
    let Some(tracing) = TRACING.get() else { return };
    let parent = tracing.propagator.extract_with_context(&Context::new(), &Headers(headers));
    let now = SystemTime::now();
    let route = if answered.route.is_empty() { "none" } else { answered.route };
    let mut span = tracing
        .tracer
        .span_builder(format!("{} {route}", answered.method))
        .with_kind(SpanKind::Server)
        .with_start_time(now.checked_sub(answered.took).unwrap_or(now))
        .with_attributes([
            KeyValue::new("brandgate.brand", answered.brand.to_owned()),
            KeyValue::new("http.request.method", answered.method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(answered.status)),
            KeyValue::new("brandgate.request_id", answered.request_id.to_str().unwrap_or_default().to_owned()),
        ])
        .start_with_context(&tracing.tracer, &parent);
    if answered.status >= 500 {
        span.set_status(Status::error(""));
    }
    span.end_with_timestamp(now);
}

/// Sends what is left, for as long as that may take; blocks.
pub fn end() {
    if let Some(tracing) = TRACING.get()
        && let Err(error) = tracing.provider.shutdown_with_timeout(LAST_TIMEOUT)
    {
        tracing::warn!(%error, "the last traces could not be sent");
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

/// Our own client, on our own runtime: the exporter calls from a thread of its own.
struct Exporting {
    outgoing: http_client::HttpClient,
    runtime: Handle,
}

impl std::fmt::Debug for Exporting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporting")
    }
}

#[async_trait::async_trait]
impl HttpClient for Exporting {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let asking = HttpRequest { method: parts.method, url: parts.uri.to_string(), headers: parts.headers, body };
        let outgoing = self.outgoing.clone();
        let sent = self.runtime.spawn(async move { outgoing.send(asking, TIMEOUT).await }).await?;
        let answered = sent.map_err(|error| format!("{error:?}"))?;
        Ok(Response::builder().status(answered.status).body(answered.body)?)
    }
}
