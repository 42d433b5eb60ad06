//! One accepted connection: PROXY header, TLS handshake, then HTTP/2 or HTTP/1.1 by ALPN until it closes.
//!
//! # Invariants
//!
//! - A connection always has a deadline. hyper has no idle timeout on HTTP/2, and its automatic builder waits without
//!   limit for the first byte; therefore the protocol is chosen by ALPN and [`Policy`] sets the deadlines.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

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
use crate::server::clients::{Clients, ConnectionClient, ConnectionSlot};
use crate::server::connection_handle::ConnectionHandle;
use crate::server::connection_state::{ConnectionState, InFlight};
pub(crate) use crate::server::connection_timeouts::CLOSE_GRACE;
use crate::server::connection_timeouts::{Action, Phase, Policy, Protocol};
use crate::server::h1_io::{RewindableStream, TlsTcpStream};
use crate::server::h2_executor::InlineExecutor;
use crate::server::h2_io::CoalescingStream;
use crate::server::proxy_protocol;
use crate::server::response_body::{ResponseBody, TrackedBody};
use crate::server::send_window::SendRate;
use crate::server::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::tenant::account::Resource;

/// The header fields of a request that hyper accepts unless told otherwise.
const HYPER_MAX_HEADERS: usize = 100;

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
    pub(super) clients: Arc<Clients>,
}

impl ConnectionSettings {
    fn policy(&self, protocol: Protocol) -> Policy {
        let send_rate =
            SendRate { min_bytes_per_s: self.limits.min_send_bytes_per_s, slow_read: self.timeouts.slow_read };
        Policy { timeouts: self.timeouts, send_rate, protocol }
    }
}

/// The service behind a connection.
pub trait ConnectionHandler: Clone + Send + Sync + 'static {
    /// For the log.
    fn brand_name(&self) -> String;

    fn handle(
        &self,
        request: Request<Incoming>,
        client: &Arc<ConnectionClient>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + use<Self>;
}

/// Serves an accepted socket until it is closed.
///
/// Each stage is a boxed future of its own, so that an idle connection takes the memory of its protocol and no more.
pub(crate) async fn serve<S: ConnectionHandler>(
    stream: TcpStream,
    peer: SocketAddr,
    slot: ConnectionSlot,
    settings: ConnectionSettings,
    service: S,
) {
    let _open = settings.metrics.connection_opened();
    let Some((slot, stream)) = Box::pin(handshake(stream, peer, slot, &settings)).await else { return };
    let state = Arc::new(ConnectionState::new());
    slot.client.handle.set_state(&state);
    match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        true => Box::pin(serve_h2(stream, slot, state, settings, service)).await,
        false => Box::pin(serve_h1(stream, slot, state, settings, service)).await,
    }
}

/// The TLS connection, and its slot in the network of its client; `None` when the handshake failed or the client has too
/// many connections.
async fn handshake(
    mut stream: TcpStream,
    peer: SocketAddr,
    slot: ConnectionSlot,
    settings: &ConnectionSettings,
) -> Option<(ConnectionSlot, TlsTcpStream)> {
    let handle = slot.client.handle.clone();
    let handshake = async {
        let client =
            proxy_protocol::client_address(&mut stream, peer, &settings.trusted_proxies).await.map_err(|error| {
                error.warn(settings.metrics.brand());
                error.message
            })?;
        let slot = slot.move_to(client).map_err(|level| {
            settings.clients.refusals().record(Resource::Connections, level);
            format!("{client} has too many connections")
        })?;
        let stream = settings.tls.accept(stream).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((slot, Box::new(stream)))
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
        () = handle.evicted() => {
            tracing::debug!("TLS handshake aborted: others need the connection");
            return None;
        }
    };
    match result.unwrap_or_else(|_| Err("timed out".to_owned())) {
        Ok((slot, stream)) => {
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            settings.metrics.handshake_finished(Some(resumed));
            Some((slot, stream))
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
    slot: ConnectionSlot,
    state: Arc<ConnectionState>,
    settings: ConnectionSettings,
    service: S,
) {
    let stream = CoalescingStream::new(stream, state.clone());
    let executor = InlineExecutor::new(stream.clone());
    // No keep-alive PINGs: a slow reader with large windows receives one only behind all that it has not read yet.
    let handle = slot.client.handle.clone();
    let connection = hyper::server::conn::http2::Builder::new(executor.queue())
        .max_concurrent_streams(settings.limits.h2_streams)
        .max_header_list_size(settings.limits.head_bytes)
        .serve_connection(
            TokioIo::new(stream.clone()),
            hyper_service(service, slot.client.clone(), &state, &settings, |body, request| {
                TrackedBody::new(body, Some(request.into_body()))
            }),
        );
    let control = Control { state: &state, handle: &handle, shutdown: &settings.shutdown };
    // Dropped before the client may linger, with all that waits to be sent.
    let exit = {
        let executor = executor;
        drive(pin!(connection), &executor, control, settings.policy(Protocol::Http2)).await
    };
    if let Exit::Closed { linger_until } = exit {
        linger(&stream, slot, linger_until, &settings).await;
    }
}

/// Gives the client of a closed connection until `until` to read the last bytes; when others need the connection, or during
/// shutdown, no longer than others have to close.
async fn linger(stream: &CoalescingStream, slot: ConnectionSlot, until: Instant, settings: &ConnectionSettings) {
    let (handle, mut slot, mut until) = (slot.client.handle.clone(), Some(slot), until);
    let mut lingering = pin!(stream.linger(CLOSE_GRACE));
    let mut is_closing = false;
    loop {
        tokio::select! {
            () = &mut lingering => return,
            () = tokio::time::sleep_until(until) => return,
            () = handle.evicted(), if slot.is_some() => {
                // Others need not wait for this client.
                slot = None;
                until = until.min(Instant::now() + CLOSE_GRACE);
            }
            () = settings.shutdown.closing(), if !is_closing => {
                is_closing = true;
                until = until.min(settings.shutdown.close_deadline(settings.timeouts.drain));
            }
        }
    }
}

/// hyper holds two buffers as long as its connection lives. An idle client needs none, so its connection is taken apart
/// (parked), and rebuilt when the client sends something; never while the rest of a request body may arrive, which
/// would be read as a request.
async fn serve_h1<S: ConnectionHandler>(
    stream: TlsTcpStream,
    slot: ConnectionSlot,
    state: Arc<ConnectionState>,
    settings: ConnectionSettings,
    service: S,
) {
    let handle = slot.client.handle.clone();
    let mut builder = hyper::server::conn::http1::Builder::new();
    // hyper's timer would be armed with every request; the policy enforces this timeout too.
    // A client that shuts down its side behind a complete request still gets the response.
    builder.header_read_timeout(None).half_close(true).max_buf_size(settings.limits.head_bytes as usize);
    // hyper's own limit needs no allocation for each request.
    if settings.limits.header_fields != HYPER_MAX_HEADERS {
        builder.max_headers(settings.limits.header_fields);
    }
    let mut stream = RewindableStream::new(stream, state.clone());
    // The stream itself tracks what is written.
    let mut service =
        hyper_service(service, slot.client.clone(), &state, &settings, |body, _| TrackedBody::new(body, None));
    let control = Control { state: &state, handle: &handle, shutdown: &settings.shutdown };
    loop {
        let policy = settings.policy(Protocol::Http1 { parkable_from: Instant::now() });
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(stream), service));
        let pinned = Pin::new(&mut *connection);
        let parts = match drive(pinned, &InlineExecutor::default(), control, policy).await {
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
        if !park(&stream, control, policy).await {
            let _ = tokio::time::timeout(CLOSE_GRACE, stream.shutdown()).await;
            return;
        }
        state.head_possible();
    }
}

/// Waits until a parked connection is readable; `false` when it is to be closed.
async fn park(stream: &RewindableStream, control: Control<'_>, policy: Policy) -> bool {
    let Control { state, handle, shutdown } = control;
    tokio::select! {
        biased;
        () = stream.readable() => true,
        () = handle.evicted() => false,
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
    client: Arc<ConnectionClient>,
    state: &Arc<ConnectionState>,
    settings: &ConnectionSettings,
    wrap: fn(ResponseBody, InFlight) -> B,
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
        let response = service.handle(request, &client);
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

/// What others use to learn about a connection and to close it.
#[derive(Clone, Copy)]
struct Control<'a> {
    state: &'a ConnectionState,
    handle: &'a ConnectionHandle,
    shutdown: &'a Shutdown,
}

/// How [`drive`] left a connection.
enum Exit {
    /// Closed by either side. The client may read the last bytes until `linger_until`.
    Closed { linger_until: Instant },
    /// HTTP/1.1: idle, and to be parked.
    Parked,
}

/// Polls a connection until it closes or is to be parked, and carries out what the [`Policy`] decides.
async fn drive<C>(mut connection: Pin<&mut C>, executor: &InlineExecutor, control: Control<'_>, policy: Policy) -> Exit
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let Control { state, handle, shutdown } = control;
    let (mut phase, mut window) = (Phase::Serving, None);
    let linger_until = |phase: Phase| match phase {
        Phase::Closing { deadline, .. } => deadline,
        Phase::Serving | Phase::GoingAway { .. } => Instant::now() + policy.timeouts.idle,
    };
    let mut sees_drain = shutdown.is_draining();
    let mut delay_token: Option<TaskTrackerToken> = None;
    loop {
        if handle.is_aborted() {
            tracing::debug!("connection closed: its client leaves too much unread");
            return Exit::Closed { linger_until: Instant::now() };
        }
        let snapshot = state.snapshot();
        if !snapshot.delays_shutdown() {
            drop(delay_token.take());
        }
        let now = Instant::now();
        window = policy.send_rate.window(window, &snapshot, now);
        let until = match policy.next(phase, &snapshot, window, now) {
            Action::Wait { until } => until,
            Action::Park => return Exit::Parked,
            Action::GoAway { close_at } => {
                connection.as_mut().graceful_shutdown();
                phase = Phase::GoingAway { close_at };
                continue;
            }
            Action::Close => {
                let is_stalled = window.is_some_and(|window| policy.send_rate.is_stalled(&window, &snapshot, now));
                tracing::debug!(is_stalled, "connection closed: deadline passed");
                return Exit::Closed { linger_until: if is_stalled { now } else { linger_until(phase) } };
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
            () = handle.evicted(), if phase == Phase::Serving => {
                connection.as_mut().graceful_shutdown();
                phase = Phase::GoingAway { close_at: now + CLOSE_GRACE };
            }
            // The decision is made above.
            () = handle.aborted(), if phase != Phase::Serving => {}
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
