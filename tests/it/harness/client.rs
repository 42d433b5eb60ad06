//! An HTTPS client that trusts the tests' authority and nobody else, and says what it got byte by byte.

use std::io::Read;
use std::net::SocketAddr;
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
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::services::certificates;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// No test waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let authority = CertificateDer::from_pem_file(certificates().join("ca.pem")).expect("certs.sh made it");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("it is a certificate");
    Arc::new(roots)
});

/// What a client that trusts the tests' authority shakes hands with.
pub fn trusting_client_config(alpn: &[&str]) -> Arc<ClientConfig> {
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

/// A TLS connection to the gateway: these ALPN names, this SNI, these versions.
pub async fn connect_tls(
    address: SocketAddr,
    alpn: &[&str],
    server_name: &'static str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(server_name).expect("a host name");
    TlsConnector::from(client_config(alpn, versions)).connect(name, stream).await
}

/// Sends bytes as they are over HTTP/1.1's TLS and returns what comes back until the gateway closes.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = connect_tls(address, &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    let mut got = Vec::new();
    let conversation = async {
        // The gateway may close before it has read everything; what it said until then counts.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut got).await;
    };
    tokio::time::timeout(PATIENCE, conversation).await.expect("the gateway closes");
    String::from_utf8_lossy(&got).into_owned()
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// One connection, made when it is first needed and made again when it was closed.
pub struct Client {
    address: SocketAddr,
    version: Version,
    server_name: &'static str,
    sender: tokio::sync::Mutex<Option<Sender>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, version: Version::HTTP_2, server_name: "localhost", sender: tokio::sync::Mutex::default() }
    }

    pub fn http1(self) -> Client {
        Client { version: Version::HTTP_11, ..self }
    }

    /// What the client names in SNI (and checks the certificate against).
    pub fn sni(self, server_name: &'static str) -> Client {
        Client { server_name, ..self }
    }

    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(request(path)).await
    }

    /// JSON of a 200.
    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.ok_json()
    }

    pub async fn send(&self, request: TestRequest) -> TestResponse {
        self.try_send(request.clone())
            .await
            .unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.path))
    }

    /// # Errors
    /// A connection that could not be made, or broke before the answer was whole.
    pub async fn try_send(&self, request: TestRequest) -> Result<TestResponse, Failure> {
        let patient = async |request| {
            tokio::time::timeout(PATIENCE, self.exchange(request))
                .await
                .unwrap_or_else(|_| Err("no answer in time".into()))
        };
        match patient(request.clone()).await {
            // The gateway closed the connection before any of this request was sent on it.
            Err(error) if error.downcast_ref().is_some_and(|e: &hyper::Error| e.is_canceled() || e.is_closed()) => {
                patient(request).await
            }
            other => other,
        }
    }

    async fn exchange(&self, request: TestRequest) -> Result<TestResponse, Failure> {
        let answering = {
            let mut sender = self.sender.lock().await;
            let closed = match &*sender {
                None => true,
                Some(Sender::One(one)) => one.is_closed(),
                Some(Sender::Two(two)) => two.is_closed(),
            };
            if closed {
                *sender = Some(self.connect().await?);
            }
            let request = request.request(self.version, self.address)?;
            match sender.as_mut().expect("just connected") {
                Sender::Two(two) => two.send_request(request),
                // HTTP/1.1 carries one request at a time, so the lock is held until its answer is whole.
                Sender::One(one) => {
                    one.ready().await?;
                    return TestResponse::read(one.send_request(request).await?).await;
                }
            }
        };
        TestResponse::read(answering.await?).await
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let alpn = if self.version == Version::HTTP_2 { "h2" } else { "http/1.1" };
        let stream = TokioIo::new(connect_tls(self.address, &[alpn], self.server_name, rustls::ALL_VERSIONS).await?);
        // The end of a connection is seen by whoever sends on it next.
        if self.version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(async move { drop(connection.await) });
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Sender::One(sender))
    }
}

/// A request under construction.
#[derive(Clone)]
pub struct TestRequest {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    host: Option<String>,
}

pub fn request(path: &str) -> TestRequest {
    let (method, headers) = (Method::GET, HeaderMap::new());
    TestRequest { method, path: path.to_owned(), headers, body: Bytes::new(), host: None }
}

impl TestRequest {
    pub fn method(self, method: &str) -> TestRequest {
        TestRequest { method: method.parse().expect("a method"), ..self }
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> TestRequest {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header's value"));
        self
    }

    pub fn region(self, region: &str) -> TestRequest {
        self.header("x-region", region)
    }

    pub fn language(self, language: &str) -> TestRequest {
        self.header("x-language", language)
    }

    pub fn origin(self, origin: &str) -> TestRequest {
        self.header("origin", origin)
    }

    pub fn body(self, body: impl Into<Bytes>) -> TestRequest {
        TestRequest { body: body.into(), ..self }
    }

    /// `Host`, or `:authority` on HTTP/2.
    pub fn host(self, host: &str) -> TestRequest {
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
pub struct TestResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl TestResponse {
    async fn read(response: Response<Incoming>) -> Result<TestResponse, Failure> {
        let (parts, body) = response.into_parts();
        Ok(TestResponse {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// A header that stands once or not at all.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} stands twice: {:#?}", self.headers);
        Some(value.to_str().expect("ASCII"))
    }

    /// The body without its content coding.
    pub fn decoded(&self) -> Vec<u8> {
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
    pub fn ok_json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 200, "{text}");
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        serde_json::from_slice(&self.decoded()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Checks that this is an error of ours with this status, and returns its `code`.
    #[track_caller]
    pub fn error_code(&self, status: u16) -> String {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text} {:#?}", StatusCode::from_u16(self.status));
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"));
        let sentence = json["error"].as_str().unwrap_or_else(|| panic!("no error in {json}"));
        assert!(sentence.len() > 10 && sentence.contains(' '), "{sentence:?} is no sentence");
        for inside in ["src/", ".rs", "select ", "postgres", "relation", "panicked", "redis", "tokio"] {
            assert!(!text.to_lowercase().contains(inside), "{text} shows {inside:?}");
        }
        json["code"].as_str().unwrap_or_else(|| panic!("no code in {json}")).to_owned()
    }
}
