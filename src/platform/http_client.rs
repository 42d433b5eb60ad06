//! The HTTP client for external services, with an optional proxy and certificate authority.
//!
//! # Invariants
//!
//! - An error contains no URL: those of Telegram contain the bot's token.
//! - Every request has a timeout, and the size of a response is limited.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use serde::Serialize;

use crate::foundation::secret::Secret;
use crate::platform::authorities;

/// Telegram limits its responses to about 4 MiB.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// Shorter than the idle timeouts of the servers, so that a request is not sent on a connection that the server just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// A response of any status.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Debug)]
pub enum HttpError {
    /// The request timed out; the server may have processed it.
    Timeout,
    /// The connection could not be established or was lost.
    Connection(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Timeout => f.write_str("timed out"),
            HttpError::Connection(chain) => f.write_str(chain),
        }
    }
}

impl std::error::Error for HttpError {}

/// Cheap to clone. Keeps idle connections open for later requests.
#[derive(Clone)]
pub struct HttpClient(Transport);

#[derive(Clone)]
enum Transport {
    Direct(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Tunnel(Client<HttpsConnector<Tunnel<HttpsConnector<HttpConnector>>>, Full<Bytes>>),
    Socks(Client<HttpsConnector<SocksV5<HttpConnector>>, Full<Bytes>>),
}

impl HttpClient {
    /// `proxy` is `https://host:port`, `http://host:port` or `socks5://host:port`. `authority` is a PEM file with certificate authorities to trust in
    /// addition to those of the system.
    ///
    /// # Errors
    /// A message when the proxy is not a URL or the authorities cannot be read.
    pub fn new(proxy: Option<&str>, authority: Option<&Path>, connect_timeout: Duration) -> Result<HttpClient, String> {
        let tls = tls_config(authority)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let Some(proxy) = proxy else { return Ok(HttpClient(Transport::Direct(client(tls, tcp)))) };
        // The message does not contain the URL, which may contain a password.
        let address: Uri = proxy.parse().map_err(|error| format!("invalid URL of the proxy: {error}"))?;
        Ok(HttpClient(match address.scheme_str() {
            Some("socks5") => Transport::Socks(client(tls, SocksV5::new(address, tcp))),
            _ => {
                let to_proxy = HttpsConnector::from((tcp, Arc::new(tls.clone())));
                Transport::Tunnel(client(tls, Tunnel::new(address, to_proxy)))
            }
        }))
    }

    /// Sends a request and reads the whole response within `timeout`.
    ///
    /// # Errors
    /// When there is no response; a response with status 500 is not an error.
    pub async fn send(&self, request: HttpRequest, timeout: Duration) -> Result<HttpResponse, HttpError> {
        let exchange = async {
            let request = request.into_hyper()?;
            let response = match &self.0 {
                Transport::Direct(client) => client.request(request).await,
                Transport::Tunnel(client) => client.request(request).await,
                Transport::Socks(client) => client.request(request).await,
            };
            read(response.map_err(|error| connection_error(&error))?).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(HttpError::Timeout))
    }
}

/// A request to an external service.
pub struct HttpRequest {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl HttpRequest {
    pub fn get(url: String) -> HttpRequest {
        HttpRequest { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub fn post(url: String) -> HttpRequest {
        HttpRequest { method: Method::POST, ..HttpRequest::get(url) }
    }

    pub fn put(url: String) -> HttpRequest {
        HttpRequest { method: Method::PUT, ..HttpRequest::get(url) }
    }

    pub fn delete(url: String) -> HttpRequest {
        HttpRequest { method: Method::DELETE, ..HttpRequest::get(url) }
    }

    pub fn json(mut self, value: &impl Serialize) -> HttpRequest {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(value).expect("request bodies have text keys and finite numbers");
        HttpRequest { body: body.into(), ..self }
    }

    /// Sets `Authorization: Bearer …`, marked as sensitive.
    pub fn bearer(mut self, token: &Secret) -> HttpRequest {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    fn into_hyper(self) -> Result<Request<Full<Bytes>>, HttpError> {
        let uri: Uri = self.url.parse().map_err(|_| HttpError::Connection("invalid URL".to_owned()))?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        let agent = HeaderValue::from_static(concat!("brandgate/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        Ok(request)
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<HttpResponse, HttpError> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
    let body = body.map_err(|error| connection_error(&*error))?.to_bytes();
    Ok(HttpResponse { status, body })
}

/// The chain of causes, none of which contains the URL.
fn connection_error(error: &(dyn std::error::Error + 'static)) -> HttpError {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    HttpError::Connection(chain)
}

fn client<C>(tls: ClientConfig, connector: C) -> Client<HttpsConnector<C>, Full<Bytes>>
where
    HttpsConnector<C>: hyper_util::client::legacy::connect::Connect + Clone,
{
    let connector = HttpsConnector::from((connector, Arc::new(tls)));
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_timer(TokioTimer::new()).build(connector)
}

fn tls_config(authority: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = authorities::of_system();
    if let Some(path) = authority {
        authorities::add_file(&mut roots, path)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
