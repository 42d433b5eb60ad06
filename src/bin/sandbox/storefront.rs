//! The demonstration storefronts: the pages of `shop/` over TLS, one set of listeners per brand.
//!
//! The pages use the public API of their brand only. Plain HTTP on the same port is redirected to HTTPS: a page over plain
//! HTTP is cross-site to its HTTPS API and would lose its cookies.

mod files;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::ShopSettings;

/// The first byte of a TLS connection: a handshake record (RFC 8446, 5.1). No HTTP method starts with it.
const TLS_HANDSHAKE: u8 = 0x16;
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// State that the connections of a shop share.
struct Storefront {
    tls: TlsAcceptor,
    /// The body of `GET /config.json`: the settings of the pages.
    config: String,
    policy: HeaderValue,
}

type FileResponse = Response<Full<Bytes>>;

/// Serves a shop on all its addresses until the process exits.
///
/// # Errors
/// A message that names the shop, the file or the address.
pub async fn open(shop: &ShopSettings) -> Result<(), String> {
    let storefront = Arc::new(Storefront::new(shop).map_err(|error| format!("shop {}: {error}", shop.brand))?);
    for address in &shop.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        tokio::spawn(serve(listener, *address, storefront.clone()));
    }
    Ok(())
}

impl Storefront {
    fn new(shop: &ShopSettings) -> Result<Storefront, String> {
        let config = json!({
            "brand": shop.brand,
            "title": shop.title,
            "api": shop.api,
            "accent": shop.accent,
            "bot": shop.bot,
            "pollMs": shop.poll_ms,
        });
        let policy = HeaderValue::from_str(&policy(&shop.api)).map_err(|_| format!("{:?} is not a URL", shop.api))?;
        Ok(Storefront { tls: tls(shop)?, config: config.to_string(), policy })
    }

    fn respond(&self, request: &Request<Incoming>) -> FileResponse {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let rejected = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed");
            return with_header(rejected, ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let found = match request.uri().path() {
            "/config.json" => response(StatusCode::OK, "application/json", self.config.clone()),
            path => match files::find(path) {
                Some(file) => response(StatusCode::OK, file.content_type, file.bytes),
                None => response(StatusCode::NOT_FOUND, TEXT, "not found"),
            },
        };
        with_header(found, CONTENT_SECURITY_POLICY, self.policy.clone())
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The Content-Security-Policy: the shop's own files and its API; images from any host that a catalogue or the bank names, in
/// development also from this machine.
fn policy(api: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {api}; \
         img-src 'self' data: https: http://localhost:* http://127.0.0.1:*; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

fn tls(shop: &ShopSettings) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_file_iter(&shop.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", shop.certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&shop.key).map_err(|error| format!("{}: {error}", shop.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("{} with {}: {error}", shop.certificate.display(), shop.key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, address: SocketAddr, storefront: Arc<Storefront>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        tokio::spawn(connection(stream, address, storefront.clone()));
    }
}

/// Connections that fail, time out or speak neither protocol are dropped silently.
async fn connection(stream: TcpStream, address: SocketAddr, storefront: Arc<Storefront>) {
    let mut first = [0];
    let Ok(Ok(1)) = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first)).await else { return };
    if first != [TLS_HANDSHAKE] {
        return http(stream, move |request| to_https(&request, address)).await;
    }
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, storefront.tls.accept(stream)).await {
        http(stream, move |request| storefront.respond(&request)).await;
    }
}

async fn http<S, H>(stream: S, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> FileResponse,
{
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(handle(request))));
    let builder = hyper::server::conn::http1::Builder::new();
    drop({ builder }.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await);
}

/// Redirects to the same URL over HTTPS, with the host name that the browser used.
fn to_https(request: &Request<Incoming>, address: SocketAddr) -> FileResponse {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| format!("localhost:{}", address.port()));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::try_from(format!("https://{host}{path}")) {
        Ok(location) => {
            let redirect = response(StatusCode::PERMANENT_REDIRECT, TEXT, "use https");
            with_header(redirect, LOCATION, location)
        }
        Err(_) => response(StatusCode::BAD_REQUEST, TEXT, "use https"),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> FileResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn with_header(mut response: FileResponse, name: HeaderName, value: HeaderValue) -> FileResponse {
    response.headers_mut().insert(name, value);
    response
}
