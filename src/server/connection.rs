//! One accepted connection: PROXY header, TLS handshake, then HTTP/2 or HTTP/1.1 by ALPN until it closes.
//!
//! # Invariants
//!
//! - A connection always has a deadline. hyper has no idle timeout on HTTP/2, and its automatic builder waits without
//!   limit for the first byte; therefore the protocol is chosen by ALPN and [`Policy`] sets the deadlines.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use ipnet::IpNet;
use rustls::HandshakeKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::{Limits, Timeouts};
pub(crate) use crate::server::connection_phase::CLOSE_GRACE;
use crate::server::connection_phase::{Action, Phase, Policy, Protocol};
use crate::server::connection_state::{ConnectionState, InFlight};
use crate::server::h1_io::{RewindableStream, TlsTcpStream};
use crate::server::h2_body::TrackedBody;
use crate::server::h2_executor::InlineExecutor;
use crate::server::h2_io::CoalescingStream;
use crate::server::proxy_protocol;
use crate::server::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

/// How a listener serves its connections. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionSettings {
    pub tls: TlsAcceptor,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Peers that must send a PROXY protocol header.
    pub trusted_proxies: Arc<[IpNet]>,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

/// The service behind a connection.
pub trait ConnectionHandler: Clone + Send + Sync + 'static {
    fn handle(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<Self>;
}

/// Serves an accepted socket until it is closed.
///
/// Each stage is a boxed future of its own, so that an idle connection takes the memory of its protocol and no more.
pub(crate) async fn serve<S: ConnectionHandler>(
    stream: TcpStream,
    peer: SocketAddr,
    settings: ConnectionSettings,
    service: S,
) {
    let _open = settings.metrics.connection_opened();
    let Some((client, stream)) = Box::pin(handshake(stream, peer, &settings)).await else { return };
    match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        true => Box::pin(serve_h2(stream, client, settings, service)).await,
        false => Box::pin(serve_h1(stream, client, settings, service)).await,
    }
}

/// The client's address and the TLS connection; `None` when the handshake failed.
async fn handshake(
    mut stream: TcpStream,
    peer: SocketAddr,
    settings: &ConnectionSettings,
) -> Option<(IpAddr, TlsTcpStream)> {
    let handshake = async {
        let client =
            proxy_protocol::client_address(&mut stream, peer, &settings.trusted_proxies).await.map_err(|error| {
                error.warn(settings.metrics.brand());
                error.message
            })?;
        let stream = settings.tls.accept(stream).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((client, Box::new(stream)))
    };
    let closed = async {
        settings.shutdown.closing().await;
        tokio::time::sleep(CLOSE_GRACE).await;
    };
    let result = tokio::select! {
        result = tokio::time::timeout(settings.timeouts.handshake, handshake) => result,
        () = closed => {
            tracing::debug!("TLS handshake aborted by shutdown");
            return None;
        }
    };
    match result.unwrap_or_else(|_| Err("timed out".to_owned())) {
        Ok((client, stream)) => {
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            settings.metrics.handshake_finished(Some(resumed));
            Some((client, stream))
        }
        Err(error) => {
            settings.metrics.handshake_finished(None);
            tracing::debug!(error, "TLS handshake failed");
            None
        }
    }
}

async fn serve_h2<S: ConnectionHandler>(
    stream: TlsTcpStream,
    client: IpAddr,
    settings: ConnectionSettings,
    service: S,
) {
    let state = Arc::new(ConnectionState::new());
    let stream = CoalescingStream::new(stream, state.clone());
    let executor = InlineExecutor::new(stream.clone());
    // No keep-alive PINGs: a slow reader with large windows receives one only behind all that it has not read yet.
    let connection = hyper::server::conn::http2::Builder::new(executor.clone())
        .max_concurrent_streams(settings.limits.h2_streams)
        .max_header_list_size(settings.limits.head_bytes)
        .serve_connection(
            TokioIo::new(stream.clone()),
            hyper_service(service, client, &state, &settings, |body, request| {
                TrackedBody::new(body, request.into_body())
            }),
        );
    let policy = Policy { timeouts: settings.timeouts, protocol: Protocol::Http2 };
    if let Exit::Closed { linger_until } = drive(pin!(connection), &executor, &state, &settings.shutdown, policy).await
    {
        let _ = tokio::time::timeout_at(linger_until, stream.linger(CLOSE_GRACE)).await;
    }
}

/// hyper holds two buffers as long as its connection lives. An idle client needs none, so its connection is taken apart
/// (parked), and rebuilt when the client sends something; never while the rest of a request body may arrive, which
/// would be read as a request.
async fn serve_h1<S: ConnectionHandler>(
    stream: TlsTcpStream,
    client: IpAddr,
    settings: ConnectionSettings,
    service: S,
) {
    let state = Arc::new(ConnectionState::new());
    let mut builder = hyper::server::conn::http1::Builder::new();
    // hyper's timer would be armed with every request; the policy enforces this timeout too.
    // A client that shuts down its side behind a complete request still gets the response.
    builder.header_read_timeout(None).half_close(true).max_buf_size(settings.limits.head_bytes as usize);
    let mut stream = RewindableStream::new(stream, state.clone());
    // The stream itself tracks what is written.
    let mut service = hyper_service(service, client, &state, &settings, |body, _| body);
    loop {
        let protocol = Protocol::Http1 { parkable_from: Instant::now() };
        let policy = Policy { timeouts: settings.timeouts, protocol };
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(stream), service));
        let pinned = Pin::new(&mut *connection);
        let parts = match drive(pinned, &InlineExecutor::default(), &state, &settings.shutdown, policy).await {
            Exit::Parked => connection.into_parts(),
            Exit::Closed { .. } => return,
        };
        let has_partial_head = !parts.read_buf.is_empty();
        stream = parts.io.into_inner().with_unread(parts.read_buf);
        service = parts.service;
        if has_partial_head {
            state.head_partial();
            continue;
        }
        state.head_complete();
        if !park(&stream, &state, &settings.shutdown, policy).await {
            let _ = tokio::time::timeout(CLOSE_GRACE, stream.shutdown()).await;
            return;
        }
        state.head_possible();
    }
}

/// Waits until a parked connection is readable; `false` when it is to be closed.
async fn park(stream: &RewindableStream, state: &ConnectionState, shutdown: &Shutdown, policy: Policy) -> bool {
    tokio::select! {
        biased;
        () = stream.readable() => true,
        () = shutdown.closing() => false,
        () = tokio::time::sleep_until(policy.idle_deadline(&state.snapshot(), Instant::now())) => {
            tracing::debug!("connection closed: idle timeout");
            false
        }
    }
}

/// The service that hyper calls with each request. `wrap` makes the body that hyper writes.
fn hyper_service<S: ConnectionHandler, B: Body + 'static>(
    service: S,
    client: IpAddr,
    state: &Arc<ConnectionState>,
    settings: &ConnectionSettings,
    wrap: fn(Full<Bytes>, InFlight) -> B,
) -> impl Service<
    Request<Incoming>,
    Response = Response<B>,
    Error = Infallible,
    Future: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
> + use<S, B> {
    let (state, shutdown) = (state.clone(), settings.shutdown.clone());
    service_fn(move |request: Request<Incoming>| {
        let in_flight = state.start_request();
        let is_h1 = request.version() < Version::HTTP_2;
        let response = service.handle(request, client);
        let (shutdown, state) = (shutdown.clone(), state.clone());
        async move {
            let mut response = response.await;
            if is_h1 && shutdown.is_refusing_new() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // `close` is the only value that this header is given.
            if is_h1 && response.headers().contains_key(CONNECTION) {
                state.set_last_response();
            }
            Ok::<_, Infallible>(response.map(|body| wrap(body, in_flight)))
        }
    })
}

/// How [`drive`] left a connection.
enum Exit {
    /// Closed by either side. The client may read the last bytes until `linger_until`.
    Closed { linger_until: Instant },
    /// HTTP/1.1: idle, and to be parked.
    Parked,
}

/// Polls a connection until it closes or is to be parked, and carries out what the [`Policy`] decides.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    executor: &InlineExecutor,
    state: &ConnectionState,
    shutdown: &Shutdown,
    policy: Policy,
) -> Exit
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut phase = Phase::Serving;
    let linger_until = |phase: Phase| match phase {
        Phase::Closing { deadline, .. } => deadline,
        Phase::Serving | Phase::GoingAway { .. } => Instant::now() + policy.timeouts.idle,
    };
    let mut sees_drain = shutdown.is_draining();
    let mut delay_token: Option<TaskTrackerToken> = None;
    loop {
        let snapshot = state.snapshot();
        if !snapshot.delays_shutdown() {
            drop(delay_token.take());
        }
        let until = match policy.next(phase, &snapshot, Instant::now()) {
            Action::Wait { until } => until,
            Action::Park => return Exit::Parked,
            Action::GoAway { close_at } => {
                connection.as_mut().graceful_shutdown();
                phase = Phase::GoingAway { close_at };
                continue;
            }
            Action::Close => {
                tracing::debug!("connection closed: deadline passed");
                return Exit::Closed { linger_until: linger_until(phase) };
            }
        };
        tokio::select! {
            // Requests that have arrived are read before the connection is closed.
            biased;
            result = std::future::poll_fn(|cx| executor.poll(connection.as_mut(), cx)) => {
                let linger_until = match result {
                    Ok(()) => linger_until(phase),
                    Err(error) => {
                        tracing::debug!(%error, "connection failed");
                        Instant::now() + CLOSE_GRACE
                    }
                };
                return Exit::Closed { linger_until };
            }
            () = shutdown.closing(), if !matches!(phase, Phase::Closing { .. }) => {
                connection.as_mut().graceful_shutdown();
                phase = Phase::Closing { since: Instant::now(), deadline: shutdown.close_deadline(policy.timeouts.drain) };
            }
            () = shutdown.draining(), if !sees_drain => {
                sees_drain = true;
                state.drain_started();
                delay_token = Some(shutdown.delay_token());
            }
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
