//! The body of a response, tracked until its last byte is handed to the connection's stream.
//!
//! A body may wait long after its request ended: in h2's queue, because of flow control, or in hyper's buffer for
//! HTTP/1.1. Both hold the buffer of a body until its last byte was written; therefore the buffer owns what is reserved
//! for the response, and over HTTP/2 the [`BodyInFlight`].

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::connection_state::BodyInFlight;
use crate::tenant::account::Reservation;

/// What is held for a response until it was written or dropped.
#[expect(dead_code, reason = "dropping them releases what they hold")]
pub(super) struct HeldForResponse {
    pub permit: Option<Reservation>,
    pub bytes: Reservation,
}

/// The body of a response with what is reserved for it; nothing for a response that the cache shares.
pub struct ResponseBody {
    body: Full<Bytes>,
    held: Option<Box<HeldForResponse>>,
}

impl ResponseBody {
    pub(super) fn shared(body: Full<Bytes>) -> ResponseBody {
        ResponseBody { body, held: None }
    }

    pub(super) fn holding(body: Full<Bytes>, held: HeldForResponse) -> ResponseBody {
        ResponseBody { body, held: Some(Box::new(held)) }
    }
}

pub(super) struct TrackedBody {
    body: Full<Bytes>,
    held: Option<Box<HeldForResponse>>,
    in_flight: Option<BodyInFlight>,
}

impl TrackedBody {
    /// `in_flight` is `None` for HTTP/1.1, whose stream tracks itself what is written.
    pub(super) fn new(body: ResponseBody, in_flight: Option<BodyInFlight>) -> TrackedBody {
        TrackedBody { body: body.body, held: body.held, in_flight }
    }
}

impl Body for TrackedBody {
    type Data = TrackedBuf;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<TrackedBuf>, Infallible>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        polled.map_ok(|frame| {
            frame.map_data(|bytes| TrackedBuf { bytes, _held: this.held.take(), in_flight: this.in_flight.take() })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of a body that are not yet written.
pub(super) struct TrackedBuf {
    bytes: Bytes,
    _held: Option<Box<HeldForResponse>>,
    in_flight: Option<BodyInFlight>,
}
impl Buf for TrackedBuf {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(in_flight) = self.in_flight.as_ref().filter(|_| self.bytes.has_remaining()) {
            in_flight.progressed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;
    use crate::server::connection_state::ConnectionState;
    use crate::tenant::account::{Account, Bounds, Level, Resource};

    fn tracked(bytes: &'static [u8]) -> (Arc<ConnectionState>, TrackedBody) {
        let state = Arc::new(ConnectionState::new());
        let body = TrackedBody::new(ResponseBody::shared(Full::from(bytes)), Some(state.start_request().into_body()));
        (state, body)
    }

    #[tokio::test]
    async fn body_is_in_flight_until_its_buffer_is_dropped() {
        let (state, mut body) = tracked(b"response");
        let mut buffer = body.frame().await.expect("a frame").expect("infallible").into_data().ok().expect("data");
        assert!(body.is_end_stream());
        drop(body);
        assert!(state.snapshot().bodies.any(), "h2 still holds the bytes");
        buffer.advance(8);
        assert_eq!(buffer.remaining(), 0);
        drop(buffer);
        assert!(!state.snapshot().bodies.any());
    }

    #[tokio::test]
    async fn reset_stream_and_empty_body_end_at_once() {
        let (state, body) = tracked(b"never polled: the client reset the stream");
        drop(body);
        assert!(!state.snapshot().bodies.any());
        let (state, mut body) = tracked(b"");
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop(body);
        assert!(!state.snapshot().bodies.any());
    }

    #[tokio::test]
    async fn partial_writes_are_activity() {
        let (state, mut body) = tracked(b"response");
        let mut buffer = body.frame().await.expect("a frame").expect("infallible").into_data().ok().expect("data");
        let before = state.snapshot().last_activity;
        std::thread::sleep(Duration::from_millis(5));
        buffer.advance(3);
        assert_eq!(buffer.chunk(), b"ponse");
        assert!(state.snapshot().last_activity > before, "the client is reading");
    }

    #[tokio::test]
    async fn what_is_reserved_is_released_when_the_bytes_were_written() {
        let bounds = Bounds { connections: 1, uploads: 1, requests: 1, bytes: 100 };
        let account = Account::new(Level::Brand, &bounds, None);
        let held = HeldForResponse {
            permit: account.reserve(Resource::Requests, 1, 100).ok(),
            bytes: account.reserve(Resource::Bytes, 8, 100).expect("within the bounds"),
        };
        let mut body = TrackedBody::new(ResponseBody::holding(Full::from("response"), held), None);
        let mut buffer = body.frame().await.expect("a frame").expect("infallible").into_data().ok().expect("data");
        drop(body);
        buffer.advance(7);
        assert_eq!([Resource::Requests, Resource::Bytes].map(|it| account.held(it)), [1, 8]);
        drop(buffer);
        assert_eq!([Resource::Requests, Resource::Bytes].map(|it| account.held(it)), [0, 0]);
    }
}
