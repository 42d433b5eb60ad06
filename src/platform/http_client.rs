//! Outgoing HTTP: one client for each place outside (Telegram, the bank), with its own way there, trust and deadlines.
//!
//! Used by the domains that speak to somebody. What must never happen: a URL in an error (Telegram's carry the bot's token),
//! a call without a deadline, or an answer of any size taken into memory.

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
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;

use crate::foundation::secret::Secret;

/// The largest answer that is read; Telegram cuts its own at about 4 MiB.
const LARGEST_ANSWER_BYTES: usize = 8 << 20;

/// An idle connection is closed after this long, before the other side does.
const IDLE: Duration = Duration::from_secs(50);

/// What was answered, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    pub body: Bytes,
}

/// Why there is no answer. Names no URL.
#[derive(Debug)]
pub enum HttpError {
    /// The deadline passed; the other side may have done what it was asked.
    TooLate,
    /// No connection, no TLS, or the conversation broke.
    Broken(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::TooLate => f.write_str("no answer in time"),
            HttpError::Broken(chain) => f.write_str(chain),
        }
    }
}

impl std::error::Error for HttpError {}

/// Cheap to clone; keeps connections alive between calls.
#[derive(Clone)]
pub struct HttpClient(Way);

#[derive(Clone)]
enum Way {
    Direct(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Tunnel(Client<HttpsConnector<Tunnel<HttpConnector>>, Full<Bytes>>),
    Socks(Client<HttpsConnector<SocksV5<HttpConnector>>, Full<Bytes>>),
}

impl HttpClient {
    /// `proxy` is `http://host:port` or `socks5://host:port`; `authority` a PEM file that is trusted beside the system's own.
    ///
    /// # Errors
    /// A sentence: a proxy that is no URL, an authority that cannot be read.
    pub fn new(proxy: Option<&str>, authority: Option<&Path>, connect_timeout: Duration) -> Result<HttpClient, String> {
        let tls = tls_config(authority)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let Some(proxy) = proxy else { return Ok(HttpClient(Way::Direct(client(tls, tcp)))) };
        // It may hold a password.
        let address: Uri = proxy.parse().map_err(|error| format!("the proxy's URL cannot be used: {error}"))?;
        Ok(HttpClient(match address.scheme_str() {
            Some("socks5") => Way::Socks(client(tls, SocksV5::new(address, tcp))),
            _ => Way::Tunnel(client(tls, Tunnel::new(address, tcp))),
        }))
    }

    /// Sends one request and reads the whole answer, at most `timeout` long.
    ///
    /// # Errors
    /// [`HttpError`] when there is none; a status of 500 is an answer.
    pub async fn send(&self, asking: HttpRequest, timeout: Duration) -> Result<HttpResponse, HttpError> {
        let exchange = async {
            let request = asking.request()?;
            let response = match &self.0 {
                Way::Direct(client) => client.request(request).await,
                Way::Tunnel(client) => client.request(request).await,
                Way::Socks(client) => client.request(request).await,
            };
            read(response.map_err(|error| broken(&error))?).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(HttpError::TooLate))
    }
}

/// A request on its way out.
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
        let body = serde_json::to_vec(value).expect("what is sent outside has text keys and finite numbers");
        HttpRequest { body: body.into(), ..self }
    }

    /// `Authorization: Bearer …`, which no log shows.
    pub fn bearer(mut self, token: &Secret) -> HttpRequest {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    fn request(self) -> Result<Request<Full<Bytes>>, HttpError> {
        let uri: Uri = self.url.parse().map_err(|_| HttpError::Broken("the URL cannot be parsed".to_owned()))?;
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
    let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| broken(&*error))?.to_bytes();
    Ok(HttpResponse { status, body })
}

/// The whole chain of causes; none of them knows the URL.
fn broken(error: &(dyn std::error::Error + 'static)) -> HttpError {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    HttpError::Broken(chain)
}

fn client<C>(tls: ClientConfig, connector: C) -> Client<HttpsConnector<C>, Full<Bytes>>
where
    HttpsConnector<C>: hyper_util::client::legacy::connect::Connect + Clone,
{
    let connector = HttpsConnector::from((connector, Arc::new(tls)));
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector)
}

fn tls_config(authority: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system's that cannot be used is not ours to mend.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authority {
        let of = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| of(&e))? {
            roots.add(certificate.map_err(|e| of(&e))?).map_err(|e| of(&e))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
