//! The demonstration storefronts: the pages under `shop/`, served to browsers over TLS, one listener set a brand.
//!
//! Started by `main` for each shop of the settings. The pages use the brand's public API alone and know nothing of the
//! sandbox. Plain http on the same port is sent on to https, because a page over plain http is another site than its API
//! and would lose its cookies. What must never happen: a file from disk, or anything of a visitor's, in an answer.

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

use crate::settings::Shop;

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1). No HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection of a shop shares.
struct Storefront {
    tls: TlsAcceptor,
    /// What `GET /config.json` answers: all that the pages are told about their brand.
    config: String,
    policy: HeaderValue,
}

type Answer = Response<Full<Bytes>>;

/// Opens a shop on all its addresses; it is served for as long as the program lives.
///
/// # Errors
/// A sentence that names the shop, the file or the address.
pub async fn open(shop: &Shop) -> Result<(), String> {
    let storefront = Arc::new(Storefront::new(shop).map_err(|error| format!("shop {}: {error}", shop.brand))?);
    for address in &shop.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        tokio::spawn(serve(listener, *address, storefront.clone()));
    }
    Ok(())
}

impl Storefront {
    fn new(shop: &Shop) -> Result<Storefront, String> {
        let config = json!({
            "brand": shop.brand,
            "title": shop.title,
            "api": shop.api,
            "accent": shop.accent,
            "bot": shop.bot,
            "pollMs": shop.poll_ms,
        });
        let policy = HeaderValue::from_str(&policy(&shop.api)).map_err(|_| format!("{:?} is no URL", shop.api))?;
        Ok(Storefront { tls: tls(shop)?, config: config.to_string(), policy })
    }

    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "The shop's pages can only be read.");
            return with(refused, ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let found = match request.uri().path() {
            "/config.json" => answer(StatusCode::OK, "application/json", self.config.clone()),
            path => match files::find(path) {
                Some(file) => answer(StatusCode::OK, file.content_type, file.bytes),
                None => answer(StatusCode::NOT_FOUND, TEXT, "The shop has no such file."),
            },
        };
        with(found, CONTENT_SECURITY_POLICY, self.policy.clone())
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing but the shop's own files and its API; pictures may come from anywhere that a catalogue or a bank names, in
/// development from this machine too.
fn policy(api: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {api}; \
         img-src 'self' data: https: http://localhost:* http://127.0.0.1:*; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

fn tls(shop: &Shop) -> Result<TlsAcceptor, String> {
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
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(connection(stream, address, storefront.clone()));
    }
}

/// Whoever goes away, says nothing or speaks neither of the two protocols is no event here.
async fn connection(stream: TcpStream, address: SocketAddr, storefront: Arc<Storefront>) {
    let mut first = [0];
    let Ok(Ok(1)) = tokio::time::timeout(FIRST_BYTE_DEADLINE, stream.peek(&mut first)).await else { return };
    if first != [TLS_HANDSHAKE] {
        return http(stream, move |request| to_https(&request, address)).await;
    }
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, storefront.tls.accept(stream)).await {
        http(stream, move |request| storefront.answer(&request)).await;
    }
}

async fn http<S, H>(stream: S, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> Answer,
{
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(handle(request))));
    let builder = hyper::server::conn::http1::Builder::new();
    drop({ builder }.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await);
}

/// The same address over https, under the name that the browser used.
fn to_https(request: &Request<Incoming>, address: SocketAddr) -> Answer {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| format!("localhost:{}", address.port()));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::try_from(format!("https://{host}{path}")) {
        Ok(location) => {
            let sent_on = answer(StatusCode::PERMANENT_REDIRECT, TEXT, "The shop is served over https.");
            with(sent_on, LOCATION, location)
        }
        Err(_) => answer(StatusCode::BAD_REQUEST, TEXT, "The shop is served over https."),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}
