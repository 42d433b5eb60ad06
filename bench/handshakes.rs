//! A load generator for TLS handshakes and idle connections.
//!
//! `handshakes ADDRESS CA_FILE PATH full|resumed SECONDS` prints connections per second, the 99th percentile in milliseconds, and how
//! many were resumed. `handshakes ADDRESS CA_FILE PATH idle COUNT` opens COUNT connections, sends one request on each, prints `open` and
//! holds them until end of input. TLS 1.3 with X25519, so that every server does the same work. The certificate is verified once before
//! the measurement and, as in wrk and h2load, not during it: on cores that client and server share, the client's verification of two
//! signatures would weigh more than the server's signing of one.

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

const AT_ONCE: usize = 32;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(run());
}

async fn run() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, authority, path, how, amount] = arguments.as_slice() else {
        return eprintln!("handshakes: ADDRESS CA_FILE PATH full|resumed|idle SECONDS|COUNT");
    };
    let address: SocketAddr = address.parse().expect("an address");
    let amount: u64 = amount.parse().expect("a number");
    let verifier = verifier(authority);
    let verifying = TlsConnector::from(config(verifier.clone(), false));
    connect(address, &verifying).await.expect("a certificate of this authority");
    let trusting = |resumes| config(Arc::new(Verified(verifier.clone())), resumes);
    match how.as_str() {
        "idle" => hold(address, trusting(false), path, amount).await,
        how => shake(address, trusting(how == "resumed"), path, Duration::from_secs(amount)).await,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() })
}

fn verifier(authority: &str) -> Arc<WebPkiServerVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().expect("there is a root")
}

/// Accepts any certificate: the server's has been verified before the measurement.
#[derive(Debug)]
struct Verified(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verified {
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
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("the provider has it");
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

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, closes: bool) -> std::io::Result<usize> {
    let connection = if closes { "close" } else { "keep-alive" };
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 16_384];
    let mut bytes = 0;
    loop {
        let read = match stream.read(&mut buffer).await {
            // A server may close the socket without a close_notify alert.
            Err(error) if closes && bytes > 0 && error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        bytes += read;
        if read == 0 || !closes {
            return Ok(bytes);
        }
    }
}

async fn shake(address: SocketAddr, config: Arc<ClientConfig>, path: &str, lasting: Duration) {
    let end = Instant::now() + lasting;
    let tasks = (0..AT_ONCE).map(|_| {
        let (connector, path) = (TlsConnector::from(config.clone()), path.to_owned());
        tokio::spawn(async move {
            let (mut took, mut resumed, mut failed) = (Vec::new(), 0_u64, 0_u64);
            while Instant::now() < end {
                let begun = Instant::now();
                let exchange = async {
                    let mut stream = connect(address, &connector).await?;
                    let kind = stream.get_ref().1.handshake_kind();
                    let bytes = ask(&mut stream, &path, true).await?;
                    Ok::<_, std::io::Error>((kind == Some(HandshakeKind::Resumed), bytes))
                };
                match exchange.await {
                    Ok((was_resumed, bytes)) if bytes > 0 => {
                        took.push(begun.elapsed());
                        resumed += u64::from(was_resumed);
                    }
                    _ => failed += 1,
                }
            }
            (took, resumed, failed)
        })
    });
    let (mut took, mut resumed, mut failed) = (Vec::new(), 0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let (more, more_resumed, more_failed) = task.await.expect("no task panics");
        took.extend(more);
        resumed += more_resumed;
        failed += more_failed;
    }
    took.sort_unstable();
    let p99_ms = took.get(took.len() * 99 / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    println!("{:.0} {p99_ms:.2} {resumed} {failed}", took.len() as f64 / lasting.as_secs_f64());
}

async fn hold(address: SocketAddr, config: Arc<ClientConfig>, path: &str, count: u64) {
    let connector = TlsConnector::from(config);
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = connect(address, &connector).await.expect("it accepts");
        ask(&mut stream, path, false).await.expect("it answers");
        held.push(stream);
    }
    println!("open");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
        .await
        .expect("it ends")
        .expect("it is read");
    drop(held);
}
