//! The body of an HTTP/2 response, tracked until its last byte is handed to the connection's stream.
//!
//! With HTTP/2 flow control a body may wait in h2's queue long after its request ended. h2 holds the buffer of a body
//! until its last byte was written to [`CoalescingStream`](super::h2_io::CoalescingStream); therefore the buffer owns
//! the [`BodyInFlight`].

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::connection_state::BodyInFlight;

pub(super) struct TrackedBody {
    body: Full<Bytes>,
    in_flight: Option<BodyInFlight>,
}

impl TrackedBody {
    pub(super) fn new(body: Full<Bytes>, in_flight: BodyInFlight) -> TrackedBody {
        TrackedBody { body, in_flight: Some(in_flight) }
    }
}

impl Body for TrackedBody {
    type Data = TrackedBuf;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<TrackedBuf>, Infallible>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|bytes| TrackedBuf { bytes, in_flight: this.in_flight.take() }))
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

    fn tracked(bytes: &'static [u8]) -> (Arc<ConnectionState>, TrackedBody) {
        let state = Arc::new(ConnectionState::new());
        let body = TrackedBody::new(Full::from(bytes), state.start_request().into_body());
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
}
