//! Plain HTTP for the sandbox: what was asked, what is answered, and live events for its pages.

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

/// An answer; its body is whole or a stream of events.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A request with its whole body.
pub struct Asked {
    pub method: Method,
    /// With its leading slash, not decoded.
    pub path: String,
    /// Decoded pairs.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// The parts of the path between slashes: `["bank", "qrs", "AD10…", "pay"]`.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Serves a listener for as long as the program lives.
pub async fn serve<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(Asked) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
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
                    // Whoever breaks off in the middle of a body gets no answer.
                    let body = body.collect().await?.to_bytes();
                    let query = pairs(parts.uri.query().unwrap_or_default());
                    let path = parts.uri.path().to_owned();
                    let asked = Asked { method: parts.method, path, query, headers: parts.headers, body };
                    Ok::<_, hyper::Error>(handle(asked).await)
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            let connection = { http }.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // A client that goes away is no event here.
            drop(connection.await);
        });
    }
}

/// `a=1&b=2`, decoded; also a form's body.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// An answer with this type and body.
pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("values of the sandbox serialise");
    bytes(status, "application/json; charset=utf-8", body)
}

pub fn html(page: impl Into<Bytes>) -> Answer {
    bytes(StatusCode::OK, "text/html; charset=utf-8", page)
}

pub fn text(status: StatusCode, sentence: &'static str) -> Answer {
    bytes(status, "text/plain; charset=utf-8", sentence)
}

/// Server-sent events (`text/event-stream`), one for each JSON text that the stream yields.
pub fn events<S>(stream: S) -> Answer
where
    S: futures_util::Stream<Item = String> + Send + 'static,
{
    let frames = stream.map(|json| Ok(Frame::data(Bytes::from(format!("data: {json}\n\n")))));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
