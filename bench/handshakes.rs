//! Load generator for TLS handshakes: new connections in parallel tasks, or many idle connections.
//!
//! `handshakes ADDRESS CA_FILE PATH full|resumed SECONDS` prints connections per second, the 99th percentile in milliseconds, and the
//! numbers of resumed and of failed connections. `handshakes ADDRESS CA_FILE PATH idle COUNT` opens connections, sends a request
//! on each, prints `open` and keeps them open until the end of its input.
//!
//! TLS 1.3 with X25519, so that every server does the same work. The certificate is verified once before the measurement and not
//! during it, as with wrk and h2load: the client shares its cores with the server, and verification costs more than signing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TASKS: usize = 32;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("the runtime starts").block_on(run());
}

async fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ca_file, path, mode, amount] = arguments.as_slice() else {
        return eprintln!("handshakes: ADDRESS CA_FILE PATH full|resumed|idle SECONDS|COUNT");
    };
    let address: SocketAddr = address.parse().expect("an address");
    let amount: u64 = amount.parse().expect("a number");
    let verifier = verifier(ca_file);
    let verified = TlsConnector::from(config(verifier.clone(), false));
    connect(address, &verified).await.expect("a certificate signed by the CA");
    let unverified = |resumes| config(Arc::new(AcceptAny(verifier.clone())), resumes);
    match mode.as_str() {
        "idle" => hold_idle(address, unverified(false), path, amount).await,
        mode => measure(address, unverified(mode == "resumed"), path, Duration::from_secs(amount)).await,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() })
}

fn verifier(ca_file: &str) -> Arc<WebPkiServerVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).expect("a certificate")).expect("a CA certificate");
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().expect("a root certificate")
}

/// Accepts any certificate: that of the server was verified before.
#[derive(Debug)]
struct AcceptAny(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn config(verifier: Arc<dyn ServerCertVerifier>, resumes: bool) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("the provider supports TLS 1.3");
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = if resumes { Resumption::in_memory_sessions(1_024) } else { Resumption::disabled() };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn connect(address: SocketAddr, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a host name");
    connector.connect(name, stream).await
}

async fn send_request(stream: &mut TlsStream<TcpStream>, path: &str, close: bool) -> std::io::Result<usize> {
    let connection = if close { "close" } else { "keep-alive" };
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 16_384];
    let mut bytes = 0;
    loop {
        let read = match stream.read(&mut buffer).await {
            // A server may close the socket without a close_notify alert.
            Err(error) if close && bytes > 0 && error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        bytes += read;
        if read == 0 || !close {
            return Ok(bytes);
        }
    }
}

async fn measure(address: SocketAddr, config: Arc<ClientConfig>, path: &str, duration: Duration) {
    let end = Instant::now() + duration;
    let tasks = (0..TASKS).map(|_| {
        let (connector, path) = (TlsConnector::from(config.clone()), path.to_owned());
        tokio::spawn(async move {
            let (mut durations, mut resumed, mut failed) = (Vec::new(), 0_u64, 0_u64);
            while Instant::now() < end {
                let started_at = Instant::now();
                let exchange = async {
                    let mut stream = connect(address, &connector).await?;
                    let kind = stream.get_ref().1.handshake_kind();
                    let bytes = send_request(&mut stream, &path, true).await?;
                    Ok::<_, std::io::Error>((kind == Some(HandshakeKind::Resumed), bytes))
                };
                match exchange.await {
                    Ok((was_resumed, bytes)) if bytes > 0 => {
                        durations.push(started_at.elapsed());
                        resumed += u64::from(was_resumed);
                    }
                    _ => failed += 1,
                }
            }
            (durations, resumed, failed)
        })
    });
    let (mut durations, mut resumed, mut failed) = (Vec::new(), 0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let (more, more_resumed, more_failed) = task.await.expect("no task panics");
        durations.extend(more);
        resumed += more_resumed;
        failed += more_failed;
    }
    durations.sort_unstable();
    let p99_ms = durations.get(durations.len() * 99 / 100).map_or(0.0, |p99| p99.as_secs_f64() * 1e3);
    println!("{:.0} {p99_ms:.2} {resumed} {failed}", durations.len() as f64 / duration.as_secs_f64());
}

async fn hold_idle(address: SocketAddr, config: Arc<ClientConfig>, path: &str, count: u64) {
    let connector = TlsConnector::from(config);
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address, &connector).await.expect("a connection");
        send_request(&mut stream, path, false).await.expect("a response");
        held.push(stream);
    }
    println!("open");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
        .await
        .expect("the task completes")
        .expect("standard input is readable");
    drop(held);
}
