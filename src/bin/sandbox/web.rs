//! HTTP/1.1 server of the sandbox: requests, responses and server-sent events.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::net::TcpListener;

/// A response; its body is a buffer or a stream of events.
pub type WebResponse = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request with its complete body.
pub struct WebRequest {
    pub method: Method,
    /// With the leading slash, not percent-decoded.
    pub path: String,
    /// Percent-decoded pairs.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl WebRequest {
    /// The non-empty segments of the path: `["bank", "qrs", "AD10…", "pay"]`.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Serves a listener until the process exits.
pub async fn serve<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(WebRequest) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = WebResponse> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let handle = handle.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    // An incomplete body gets no response.
                    let body = body.collect().await?.to_bytes();
                    let query = parse_pairs(parts.uri.query().unwrap_or_default());
                    let path = parts.uri.path().to_owned();
                    let request = WebRequest { method: parts.method, path, query, headers: parts.headers, body };
                    Ok::<_, hyper::Error>(handle(request).await)
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let connection = { http }.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // A broken connection needs no action.
            drop(connection.await);
        });
    }
}

/// Parses `a=1&b=2`: a query or a form body.
pub fn parse_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// A response with this content type and body.
pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> WebResponse {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub fn json(status: StatusCode, value: &impl Serialize) -> WebResponse {
    let body = serde_json::to_vec(value).expect("the value serialises");
    bytes(status, "application/json; charset=utf-8", body)
}

pub fn html(page: impl Into<Bytes>) -> WebResponse {
    bytes(StatusCode::OK, "text/html; charset=utf-8", page)
}

pub fn text(status: StatusCode, message: &'static str) -> WebResponse {
    bytes(status, "text/plain; charset=utf-8", message)
}

/// Server-sent events (`text/event-stream`), one for each JSON text of the stream.
pub fn events<S>(stream: S) -> WebResponse
where
    S: futures_util::Stream<Item = String> + Send + 'static,
{
    let frames = stream.map(|json| Ok(Frame::data(Bytes::from(format!("data: {json}\n\n")))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
