//! The listener of a brand that cannot be served: clients are answered with 503, or disconnected at once if no certificate can be loaded.
//!
//! # Invariants
//!
//! No client waits for the brand's recovery.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::UnavailableConfig;
use crate::foundation::clock::Clock;
use crate::foundation::error::{Error, Kind};
use crate::http::cors::{self, Origin};
use crate::http::request_id;
use crate::http::response::ApiResponse;
use crate::http::response_headers::ResponseHeaders;
use crate::server::shutdown::Shutdown;
use crate::server::{proxy_protocol, tls};

/// From the accept to the end of the connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// More connections than this are closed at once.
const MAX_CONNECTIONS: usize = 256;

/// What is read of a request's body, so that the client reads the response before it learns that its body was not wanted.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Concurrent streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 8;

/// The pause after a failed accept, such as `EMFILE`.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

const RETRY_AFTER_S: u32 = 5;

/// Answers the clients of a brand until it is stopped.
pub struct UnavailableListener {
    brand: Arc<str>,
    endpoint: Arc<ArcSwapOption<Endpoint>>,
    stop: CancellationToken,
    /// One accept loop per socket, which returns its socket.
    loops: Vec<JoinHandle<TcpListener>>,
}

struct Endpoint {
    tls: TlsAcceptor,
    trusted_proxies: Vec<IpNet>,
    origins: Vec<String>,
    hsts: bool,
}

impl UnavailableListener {
    /// Accepts on these sockets from now on; without a certificate that loads, connections are closed at once.
    pub fn start(
        brand: &str,
        sockets: Vec<TcpListener>,
        config: Option<&UnavailableConfig>,
        shutdown: &Shutdown,
    ) -> UnavailableListener {
        let listener = UnavailableListener {
            brand: brand.into(),
            endpoint: Arc::default(),
            stop: CancellationToken::new(),
            loops: Vec::new(),
        };
        listener.configure(config);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let loops = sockets.into_iter().map(|socket| {
            let (endpoint, permits) = (listener.endpoint.clone(), permits.clone());
            let (stop, shutdown, brand) = (listener.stop.clone(), shutdown.clone(), listener.brand.clone());
            tokio::spawn(async move {
                tokio::select! {
                    // A client that connects after the stop is the next listener's.
                    biased;
                    () = stop.cancelled() => {}
                    () = shutdown.refusing_new() => {}
                    () = accept(&brand, &socket, &endpoint, &permits) => {}
                }
                socket
            })
        });
        UnavailableListener { loops: loops.collect(), ..listener }
    }

    /// Loads the certificate again.
    pub fn configure(&self, config: Option<&UnavailableConfig>) {
        let endpoint = config.and_then(|config| {
            let identity = tls::load(&config.tls, &self.brand, &Clock::default()).ok()?;
            Some(Arc::new(Endpoint {
                tls: TlsAcceptor::from(identity.config),
                trusted_proxies: config.proxy_protocol.trusted.clone(),
                origins: config.origins.clone(),
                hsts: !config.is_local,
            }))
        });
        self.endpoint.store(endpoint);
    }

    /// Stops accepting at once; the future returns the sockets, whose queued clients are still there. Connections in progress
    /// are answered.
    pub fn stop(self) -> impl Future<Output = Vec<TcpListener>> {
        self.stop.cancel();
        async {
            let ended = futures_util::future::join_all(self.loops).await;
            ended.into_iter().filter_map(Result::ok).collect()
        }
    }
}

async fn accept(brand: &str, socket: &TcpListener, endpoint: &ArcSwapOption<Endpoint>, permits: &Arc<Semaphore>) {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(brand, %error, "failed to accept a connection; retrying");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // Otherwise the connection is closed here.
        if let (Some(endpoint), Ok(permit)) = (endpoint.load_full(), permits.clone().try_acquire_owned()) {
            tokio::spawn(async move {
                // On timeout the client has had its response, or did not want it.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, peer, endpoint)).await;
                drop(permit);
            });
        }
    }
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, endpoint: Arc<Endpoint>) {
    if proxy_protocol::client_address(&mut stream, peer, &endpoint.trusted_proxies).await.is_err() {
        return;
    }
    let Ok(stream) = endpoint.tls.accept(stream).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let endpoint = endpoint.clone();
        async move { Ok::<_, Infallible>(refuse(request, &endpoint).await) }
    });
    let io = TokioIo::new(stream);
    let ended = match is_http2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(MAX_STREAMS)
                .serve_connection(io, service)
                .await
        }
        false => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).keep_alive(false);
            builder.serve_connection(io, service).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection to an unavailable brand failed");
    }
}

/// Reads a body without keeping it. One that is larger or breaks off changes nothing about the response.
async fn discard(mut body: Incoming) {
    let mut left = MAX_BODY_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.into_data().map_or(0, |data| data.len());
        match left.checked_sub(bytes) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// 503 to every request but a preflight, so that a page of the storefront can read the response.
async fn refuse(request: Request<Incoming>, endpoint: &Endpoint) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    discard(body).await;
    let origin = Origin::from_headers(&parts.headers, &endpoint.origins, "");
    let headers = ResponseHeaders {
        method: &parts.method,
        headers: &parts.headers,
        origin: &origin,
        request_id: &request_id::from_headers(&parts.headers),
        hsts: endpoint.hsts,
    };
    if cors::is_preflight(&parts) {
        let mut response = ApiResponse::no_content().finish(&headers);
        origin.allow_preflight(response.headers_mut());
        return response;
    }
    let unavailable = Kind::Unavailable { retry_after_s: RETRY_AFTER_S };
    let error =
        Error::new(unavailable, "unavailable", "The shop is unavailable right now; please try again in a moment.");
    ApiResponse::from(error).finish(&headers)
}
