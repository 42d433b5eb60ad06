//! An HTTPS client that trusts the test CA only, and exposes responses byte by byte.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::services::certificates;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a test waits for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let authority = CertificateDer::from_pem_file(certificates().join("ca.pem")).expect("certs.sh created it");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("a valid certificate");
    Arc::new(roots)
});

/// The TLS configuration of a client that trusts the test CA.
pub(crate) fn trusting_client_config(alpn: &[&str]) -> Arc<ClientConfig> {
    client_config(alpn, rustls::ALL_VERSIONS)
}

fn client_config(alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("known versions");
    let mut config = builder.with_root_certificates(ROOTS.clone()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A TLS connection to the gateway.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    alpn: &[&str],
    server_name: &'static str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_tls_from(None, address, alpn, server_name, versions).await
}

/// As [`connect_tls`], from this address of the host.
pub(crate) async fn connect_tls_from(
    source: Option<IpAddr>,
    address: SocketAddr,
    alpn: &[&str],
    server_name: &'static str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(server_name).expect("a host name");
    TlsConnector::from(client_config(alpn, versions)).connect(name, stream).await
}

/// Sends raw bytes over TLS with ALPN `http/1.1` and returns everything up to the end of the stream.
pub(crate) async fn send_raw(address: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream =
        connect_tls(address, &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await.expect("a TLS handshake");
    let mut received = Vec::new();
    let exchange = async {
        // The gateway may respond and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut received).await;
    };
    tokio::time::timeout(RESPONSE_TIMEOUT, exchange).await.expect("the gateway closes the connection");
    String::from_utf8_lossy(&received).into_owned()
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A client with one connection, opened on demand and again after it was closed.
pub(crate) struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    version: Version,
    server_name: &'static str,
    sender: tokio::sync::Mutex<Option<Sender>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        let (source, sender) = (None, tokio::sync::Mutex::default());
        Client { address, source, version: Version::HTTP_2, server_name: "localhost", sender }
    }

    pub(crate) fn http1(self) -> Client {
        Client { version: Version::HTTP_11, ..self }
    }

    /// The client's own address; 127.0.0.1 unless set.
    pub(crate) fn from(self, source: IpAddr) -> Client {
        Client { source: Some(source), ..self }
    }

    /// The host name in SNI, for which the certificate must be valid.
    pub(crate) fn sni(self, server_name: &'static str) -> Client {
        Client { server_name, ..self }
    }

    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        self.send(request(path)).await
    }

    /// The JSON of a 200 response.
    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.ok_json()
    }

    pub(crate) async fn send(&self, request: TestRequest) -> TestResponse {
        self.try_send(request.clone())
            .await
            .unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.path))
    }

    /// # Errors
    /// The connection failed before the response was complete.
    pub(crate) async fn try_send(&self, request: TestRequest) -> Result<TestResponse, BoxError> {
        let with_timeout = async |request| {
            tokio::time::timeout(RESPONSE_TIMEOUT, self.exchange(request))
                .await
                .unwrap_or_else(|_| Err("response timeout".into()))
        };
        match with_timeout(request.clone()).await {
            // The gateway closed the idle connection before the request was sent.
            Err(error) if error.downcast_ref().is_some_and(|e: &hyper::Error| e.is_canceled() || e.is_closed()) => {
                with_timeout(request).await
            }
            other => other,
        }
    }

    async fn exchange(&self, request: TestRequest) -> Result<TestResponse, BoxError> {
        let response = {
            let mut sender = self.sender.lock().await;
            let closed = match &*sender {
                None => true,
                Some(Sender::Http1(http1)) => http1.is_closed(),
                Some(Sender::Http2(two)) => two.is_closed(),
            };
            if closed {
                *sender = Some(self.connect().await?);
            }
            let request = request.request(self.version, self.address)?;
            match sender.as_mut().expect("just connected") {
                Sender::Http2(http2) => http2.send_request(request),
                // HTTP/1.1 has one request at a time: the lock is held until the response is complete.
                Sender::Http1(http1) => {
                    http1.ready().await?;
                    return TestResponse::read(http1.send_request(request).await?).await;
                }
            }
        };
        TestResponse::read(response.await?).await
    }

    async fn connect(&self) -> Result<Sender, BoxError> {
        let alpn = if self.version == Version::HTTP_2 { "h2" } else { "http/1.1" };
        let stream =
            connect_tls_from(self.source, self.address, &[alpn], self.server_name, rustls::ALL_VERSIONS).await?;
        let stream = TokioIo::new(stream);
        // The next request notices a closed connection.
        if self.version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(async move { drop(connection.await) });
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Sender::Http1(sender))
    }
}

/// A request under construction.
#[derive(Clone)]
pub(crate) struct TestRequest {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    host: Option<String>,
}

pub(crate) fn request(path: &str) -> TestRequest {
    let (method, headers) = (Method::GET, HeaderMap::new());
    TestRequest { method, path: path.to_owned(), headers, body: Bytes::new(), host: None }
}

impl TestRequest {
    pub(crate) fn method(self, method: &str) -> TestRequest {
        TestRequest { method: method.parse().expect("a method"), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> TestRequest {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header's value"));
        self
    }

    pub(crate) fn region(self, region: &str) -> TestRequest {
        self.header("x-region", region)
    }

    pub(crate) fn language(self, language: &str) -> TestRequest {
        self.header("x-language", language)
    }

    pub(crate) fn origin(self, origin: &str) -> TestRequest {
        self.header("origin", origin)
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> TestRequest {
        TestRequest { body: body.into(), ..self }
    }

    /// `Host`, or `:authority` on HTTP/2.
    pub(crate) fn host(self, host: &str) -> TestRequest {
        TestRequest { host: Some(host.to_owned()), ..self }
    }

    fn request(self, version: Version, address: SocketAddr) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let host = self.host.unwrap_or_else(|| format!("localhost:{}", address.port()));
        let mut request = Request::builder().method(self.method).version(version);
        request = match version {
            Version::HTTP_2 => request.uri(format!("https://{host}{}", self.path)),
            _ => request.uri(self.path).header("host", host),
        };
        request.headers_mut().into_iter().for_each(|headers| headers.extend(self.headers.clone()));
        request.body(Full::new(self.body))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TestResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl TestResponse {
    async fn read(response: Response<Incoming>) -> Result<TestResponse, BoxError> {
        let (parts, body) = response.into_parts();
        Ok(TestResponse {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// The value of a header that occurs at most once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} occurs twice: {:#?}", self.headers);
        Some(value.to_str().expect("ASCII"))
    }

    /// The body without its content encoding.
    pub(crate) fn decoded(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        match self.header("content-encoding") {
            None => plain.extend(&self.body),
            Some("gzip") => {
                flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut plain).expect("gzip");
            }
            Some("zstd") => zstd::stream::copy_decode(&self.body[..], &mut plain).expect("zstd"),
            Some("br") => brotli::BrotliDecompress(&mut &self.body[..], &mut plain).expect("brotli"),
            Some(other) => panic!("content-encoding: {other}"),
        }
        plain
    }

    #[track_caller]
    pub(crate) fn ok_json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 200, "{text}");
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        serde_json::from_slice(&self.decoded()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Checks that this is a JSON error with this status, and returns its `code`.
    #[track_caller]
    pub(crate) fn error_code(&self, status: u16) -> String {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text} {:#?}", StatusCode::from_u16(self.status));
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"));
        let message = json["error"].as_str().unwrap_or_else(|| panic!("{json} has no error"));
        assert!(message.len() > 10 && message.contains(' '), "{message:?} is not a message");
        for internal in ["src/", ".rs", "select ", "postgres", "relation", "panicked", "redis", "tokio"] {
            assert!(!text.to_lowercase().contains(internal), "{text} contains {internal:?}");
        }
        json["code"].as_str().unwrap_or_else(|| panic!("{json} has no code")).to_owned()
    }
}
