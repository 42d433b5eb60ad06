//! One connection from its first byte to its last: handshake, HTTP by ALPN, and a watchdog for those that stay silent.
//!
//! Called by `listen` in a task of its own. hyper's automatic builder never gives up on a silent connection, so the
//! protocol is chosen by ALPN; and hyper has no idle timeout on HTTP/2, so requests are counted here. What must never
//! happen: a connection without a deadline, whatever its client does or does not send.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

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

use crate::config::{Limits, Timeouts};
pub use crate::server::connection_state::SILENT_FOR;
use crate::server::connection_state::{ConnectionState, InFlight};
use crate::server::h1_io::{RewindableStream, TlsTcpStream};
use crate::server::h2_body::TrackedBody;
use crate::server::h2_executor::InlineExecutor;
use crate::server::h2_io::CoalescingStream;
use crate::server::proxy_protocol as proxy;
use crate::server::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

/// After so long without a request, a connection gives its buffers back until the next one.
const REST_AFTER: Duration = Duration::from_millis(100);

/// What a connection must know beside its socket. Cheap to clone.
#[derive(Clone)]
pub struct Settings {
    pub tls: TlsAcceptor,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Whose PROXY protocol headers are believed.
    pub trusted: Arc<[IpNet]>,
    pub metrics: Metrics,
    pub ending: Shutdown,
}

/// What answers the requests of a connection; it is told the client's address.
pub trait ConnectionHandler: Clone + Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<Self>;
}

/// Serves one accepted socket until either side ends it.
///
/// Each part is a future in a box of its own, so that an idle connection takes what its protocol needs and no more.
pub async fn serve<S: ConnectionHandler>(stream: TcpStream, peer: SocketAddr, settings: Settings, service: S) {
    let _open = settings.metrics.connection_opened();
    let Some((client, stream)) = Box::pin(shake_hands(stream, peer, &settings)).await else { return };
    match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        true => Box::pin(serve_h2(stream, client, settings, service)).await,
        false => Box::pin(serve_h1(stream, client, settings, service)).await,
    }
}

/// Who is there, and the connection; `None` when it came to nothing.
async fn shake_hands(mut stream: TcpStream, peer: SocketAddr, settings: &Settings) -> Option<(IpAddr, TlsTcpStream)> {
    let handshake = async {
        let client = proxy::client_address(&mut stream, peer, &settings.trusted).await.map_err(|refused| {
            refused.warn_now_and_then(settings.metrics.brand());
            refused.sentence
        })?;
        let stream = settings.tls.accept(stream).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((client, Box::new(stream)))
    };
    let closed = async {
        settings.ending.closing().await;
        tokio::time::sleep(SILENT_FOR).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(settings.timeouts.handshake, handshake) => shaken,
        () = closed => {
            tracing::debug!("a handshake was not waited for");
            return None;
        }
    };
    match shaken.unwrap_or_else(|_| Err("it took too long".to_owned())) {
        Ok((client, stream)) => {
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            settings.metrics.handshake_finished(Some(resumed));
            Some((client, stream))
        }
        Err(error) => {
            settings.metrics.handshake_finished(None);
            tracing::debug!(error, "a handshake failed");
            None
        }
    }
}

async fn serve_h2<S: ConnectionHandler>(stream: TlsTcpStream, client: IpAddr, settings: Settings, service: S) {
    let activity = Arc::new(ConnectionState::new());
    let gathering = CoalescingStream::new(stream, activity.clone());
    let streams = InlineExecutor::of(gathering.clone());
    // No PINGs: a client with large windows that reads slowly sees one only behind all that it has not read yet.
    let connection = hyper::server::conn::http2::Builder::new(streams.clone())
        .max_concurrent_streams(settings.limits.h2_streams)
        .max_header_list_size(settings.limits.head_bytes)
        .serve_connection(
            TokioIo::new(gathering.clone()),
            answering(service, client, &activity, &settings, |body, running| {
                TrackedBody::new(body, running.answered())
            }),
        );
    let until = match drive(pin!(connection), &streams, &activity, &settings, None).await {
        Left::Over { until } => until,
        Left::Silent => return,
    };
    let _ = tokio::time::timeout_at(until, gathering.linger(SILENT_FOR)).await;
}

/// hyper keeps two buffers as long as its connection lives. A client that asks nothing needs none, so its connection is taken
/// apart, and put together again when it says something; never while a body may still come, which would then be read as requests.
async fn serve_h1<S: ConnectionHandler>(stream: TlsTcpStream, client: IpAddr, settings: Settings, service: S) {
    let activity = Arc::new(ConnectionState::new());
    let mut builder = hyper::server::conn::http1::Builder::new();
    // A timer of hyper's costs every request; the head's time is the watchdog's to know too.
    builder.header_read_timeout(None).max_buf_size(settings.limits.head_bytes as usize);
    let mut wire = RewindableStream::new(stream, activity.clone());
    // What leaves is the wire's to know.
    let mut service = answering(service, client, &activity, &settings, |body, _| body);
    let mut may_rest_from = Instant::now();
    loop {
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(wire), service));
        let pinned = Pin::new(&mut *connection);
        let parts = match drive(pinned, &InlineExecutor::default(), &activity, &settings, Some(may_rest_from)).await {
            Left::Silent => connection.into_parts(),
            Left::Over { .. } => return,
        };
        let has_part_of_a_head = !parts.read_buf.is_empty();
        wire = parts.io.into_inner().with_unread(parts.read_buf);
        service = parts.service;
        if has_part_of_a_head {
            activity.head_begins();
            may_rest_from = Instant::now();
            continue;
        }
        activity.no_head();
        if !rest(&wire, &activity, &settings).await {
            let _ = tokio::time::timeout(SILENT_FOR, wire.shutdown()).await;
            return;
        }
        activity.head_may_begin();
        may_rest_from = Instant::now();
    }
}

/// Waits for a client that says nothing; `false` when nothing is to be expected any more.
async fn rest(wire: &RewindableStream, activity: &ConnectionState, settings: &Settings) -> bool {
    tokio::select! {
        biased;
        () = wire.readable() => true,
        () = settings.ending.closing() => false,
        () = tokio::time::sleep_until(activity.deadline(&settings.timeouts)) => {
            tracing::debug!("a connection was closed for its silence");
            false
        }
    }
}

/// What hyper calls with each request; `leave` makes of an answer's body what leaves, when the request ends.
fn answering<S: ConnectionHandler, B: Body + 'static>(
    service: S,
    client: IpAddr,
    activity: &Arc<ConnectionState>,
    settings: &Settings,
    leave: fn(Full<Bytes>, InFlight) -> B,
) -> impl Service<
    Request<Incoming>,
    Response = Response<B>,
    Error = Infallible,
    Future: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
> + use<S, B> {
    let (activity, ending) = (activity.clone(), settings.ending.clone());
    service_fn(move |request: Request<Incoming>| {
        let running = activity.begin();
        let h1 = request.version() < Version::HTTP_2;
        let answer = service.answer(request, client);
        let (ending, of_connection) = (ending.clone(), activity.clone());
        async move {
            let mut response = answer.await;
            if h1 && ending.is_refusing_new() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // Nothing else is ever said in that header.
            if h1 && response.headers().contains_key(CONNECTION) {
                of_connection.answers_last();
            }
            Ok::<_, Infallible>(response.map(|body| leave(body, running)))
        }
    })
}

/// How often it is looked, while the process ends, whether what had been begun is done.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How a connection was left.
enum Left {
    /// It is over. Its client may read on until then.
    Over { until: Instant },
    /// Nothing is asked and nothing is leaving.
    Silent,
}

async fn drive<C>(
    mut connection: Pin<&mut C>,
    streams: &InlineExecutor,
    activity: &ConnectionState,
    settings: &Settings,
    may_rest_from: Option<Instant>,
) -> Left
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut closing_since: Option<Instant> = None;
    // An HTTP/2 client is told before its connection is closed, so that it knows which requests were not seen.
    let mut goodbye_until: Option<Instant> = None;
    let last_moment = |closing_since: Option<Instant>| match closing_since {
        Some(_) => settings.ending.last_moment(settings.timeouts.drain),
        None => Instant::now() + settings.timeouts.idle,
    };
    let (mut was_told, mut begun_before) = (settings.ending.is_draining(), None);
    loop {
        if !activity.is_busy_since_before() {
            begun_before = None;
        }
        let deadline = match closing_since {
            Some(since) => activity.last_deadline(since, settings.ending.last_moment(settings.timeouts.drain)),
            None => goodbye_until.into_iter().fold(activity.deadline(&settings.timeouts), Instant::max),
        };
        let now = Instant::now();
        if deadline <= now && (may_rest_from.is_some() || closing_since.or(goodbye_until).is_some()) {
            tracing::debug!("a connection was closed for its silence");
            return Left::Over { until: last_moment(closing_since) };
        }
        if deadline <= now {
            connection.as_mut().graceful_shutdown();
            goodbye_until = Some(now + SILENT_FOR);
            continue;
        }
        let rest = match may_rest_from.filter(|_| closing_since.is_none()) {
            Some(from) => match activity.silent_since() {
                Some(since) if since.max(from) + REST_AFTER <= now => return Left::Silent,
                Some(since) => since.max(from) + REST_AFTER,
                None => now + REST_AFTER,
            },
            None => deadline,
        };
        // Nobody tells when what was waited for has ended.
        let next = match begun_before.is_some() || closing_since.is_some() {
            true => deadline.min(rest).min(now + LOOK_EVERY),
            false => deadline.min(rest),
        };
        tokio::select! {
            // What has come is read before the connection is told to end.
            biased;
            ended = std::future::poll_fn(|cx| streams.poll(connection.as_mut(), cx)) => {
                let until = match ended {
                    Ok(()) => last_moment(closing_since),
                    Err(error) => {
                        tracing::debug!(%error, "a connection broke");
                        Instant::now() + SILENT_FOR
                    }
                };
                return Left::Over { until };
            }
            () = settings.ending.closing(), if closing_since.is_none() => {
                connection.as_mut().graceful_shutdown();
                closing_since = Some(Instant::now());
            }
            () = settings.ending.draining(), if !was_told => {
                was_told = true;
                activity.shutdown_began();
                begun_before = Some(settings.ending.delay_token());
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
}
