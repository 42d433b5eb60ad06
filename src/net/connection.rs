//! One connection from its first byte to its last: handshake, HTTP by ALPN, and a watchdog for those that stay silent.
//!
//! Called by `listen` in a task of its own. hyper's automatic builder never gives up on a silent connection, so the
//! protocol is chosen by ALPN; and hyper has no idle timeout on HTTP/2, so requests are counted here. What must never
//! happen: a connection without a deadline, whatever its client does or does not send.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use ipnet::IpNet;
use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::proxy;
use super::streams::Streams;
use crate::config::{Limits, Timeouts};
use crate::metrics::Metrics;

/// How long a connection on which nothing is asked may hold up the end of the process: whoever waits for the next one waits
/// for it too.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// What a connection must know beside its socket. Cheap to clone.
#[derive(Clone)]
pub struct Settings {
    pub tls: TlsAcceptor,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Whose PROXY protocol headers are believed.
    pub trusted: Arc<[IpNet]>,
    pub metrics: Metrics,
    /// Cancelled first: answers over HTTP/1.1 say `Connection: close` from here on.
    pub leaving: CancellationToken,
    /// Cancelled a moment later: running requests end, new ones are not begun.
    pub closing: CancellationToken,
}

/// What answers the requests of a connection; it is told the client's address.
pub trait Answer: Clone + Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<Self>;
}

/// Serves one accepted socket until either side ends it.
///
/// Each part is a future in a box of its own, so that an idle connection takes what its protocol needs and no more.
pub async fn serve<S: Answer>(stream: TcpStream, peer: SocketAddr, settings: Settings, service: S) {
    let _open = settings.metrics.connection_opened();
    let Some((client, stream)) = Box::pin(shake_hands(stream, peer, &settings)).await else { return };
    match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        true => Box::pin(serve_h2(stream, client, settings, service)).await,
        false => Box::pin(serve_h1(stream, client, settings, service)).await,
    }
}

/// A connection whose handshake is done.
type Stream = Box<TlsStream<TcpStream>>;

/// Who is there, and the connection; `None` when it came to nothing.
async fn shake_hands(mut stream: TcpStream, peer: SocketAddr, settings: &Settings) -> Option<(IpAddr, Stream)> {
    let handshake = async {
        let client = proxy::client_address(&mut stream, peer, &settings.trusted).await?;
        let stream = settings.tls.accept(stream).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((client, Box::new(stream)))
    };
    let closed = async {
        settings.closing.cancelled().await;
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
            settings.metrics.shook_hands(Some(resumed));
            Some((client, stream))
        }
        Err(error) => {
            settings.metrics.shook_hands(None);
            tracing::debug!(error, "a handshake failed");
            None
        }
    }
}

async fn serve_h2<S: Answer>(stream: Stream, client: IpAddr, settings: Settings, service: S) {
    let streams = Streams::default();
    let activity = Arc::new(Activity::new());
    let connection = hyper::server::conn::http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.limits.h2_streams)
        .max_header_list_size(settings.limits.head_bytes)
        .keep_alive_interval(Some(settings.timeouts.head / 2))
        .keep_alive_timeout(settings.timeouts.head / 2)
        .serve_connection(TokioIo::new(stream), answering(service, client, &activity, &settings));
    drive(connection, &streams, &activity, &settings).await;
}

async fn serve_h1<S: Answer>(stream: Stream, client: IpAddr, settings: Settings, service: S) {
    let activity = Arc::new(Activity::new());
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.timeouts.head)
        .max_buf_size(settings.limits.head_bytes as usize)
        .serve_connection(TokioIo::new(stream), answering(service, client, &activity, &settings));
    drive(connection, &Streams::default(), &activity, &settings).await;
}

/// What hyper calls with each request.
fn answering<S: Answer>(
    service: S,
    client: IpAddr,
    activity: &Arc<Activity>,
    settings: &Settings,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
> + use<S> {
    let (activity, leaving) = (activity.clone(), settings.leaving.clone());
    service_fn(move |request: Request<Incoming>| {
        let running = activity.begin();
        let h1 = request.version() < Version::HTTP_2;
        let answer = service.answer(request, client);
        let leaving = leaving.clone();
        async move {
            let mut response = answer.await;
            if h1 && leaving.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(running);
            Ok::<_, Infallible>(response)
        }
    })
}

async fn drive<C>(connection: C, streams: &Streams, activity: &Activity, settings: &Settings)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let mut closing_since: Option<Instant> = None;
    loop {
        let deadline = match closing_since {
            Some(since) => activity.last_deadline(since, settings.timeouts.drain),
            None => activity.deadline(&settings.timeouts),
        };
        tokio::select! {
            ended = std::future::poll_fn(|cx| streams.poll(connection.as_mut(), cx)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = settings.closing.cancelled(), if closing_since.is_none() => {
                connection.as_mut().graceful_shutdown();
                closing_since = Some(Instant::now());
            }
            () = tokio::time::sleep_until(deadline) => {
                let deadline = match closing_since {
                    Some(since) => activity.last_deadline(since, settings.timeouts.drain),
                    None => activity.deadline(&settings.timeouts),
                };
                if deadline <= Instant::now() {
                    return tracing::debug!("a connection was closed for its silence");
                }
            }
        }
    }
}

/// What the watchdog knows of a connection.
struct Activity {
    born: Instant,
    running: AtomicUsize,
    asked: AtomicBool,
    /// Milliseconds from `born` to the end of the last request.
    last_end_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            born: Instant::now(),
            running: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            last_end_ms: AtomicU64::new(0),
        }
    }

    fn begin(self: &Arc<Activity>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        Running(self.clone())
    }

    /// When the connection must be closed if nothing else happens until then.
    fn deadline(&self, timeouts: &Timeouts) -> Instant {
        if self.running.load(Ordering::Relaxed) > 0 {
            // A request has a deadline of its own, which is enforced where it runs; look again afterwards.
            return Instant::now() + timeouts.request;
        }
        let since = self.born + Duration::from_millis(self.last_end_ms.load(Ordering::Relaxed));
        since + if self.asked.load(Ordering::Relaxed) { timeouts.idle } else { timeouts.head }
    }

    /// When the connection must be closed after the process began to end: a running request has `drain`, silence little.
    fn last_deadline(&self, closing_since: Instant, drain: Duration) -> Instant {
        if self.running.load(Ordering::Relaxed) > 0 {
            return closing_since + drain;
        }
        let last_end = self.born + Duration::from_millis(self.last_end_ms.load(Ordering::Relaxed));
        (last_end.max(closing_since) + SILENT_FOR.min(drain)).min(closing_since + drain)
    }
}

/// A request in progress; also when the client goes away, its end is counted.
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        let end_ms = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_end_ms.store(end_ms, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
