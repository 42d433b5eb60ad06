//! The body of an answer over HTTP/2 that knows whether the client has taken it. HTTP/2 has windows: what is written to a
//! connection at once may wait for its reader in h2's own queue, long after the request is done.
//!
//! Made by `connection`. h2 keeps the buffer of a body until its last byte was handed to `gathering`, so the buffer is what
//! holds the [`BodyInFlight`]; from there on `gathering` knows. What must never happen: a reader who takes his time is taken for one who is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::server::connection_state::BodyInFlight;

pub(super) struct TrackedBody {
    body: Full<Bytes>,
    sending: Option<BodyInFlight>,
}

impl TrackedBody {
    pub fn new(body: Full<Bytes>, sending: BodyInFlight) -> TrackedBody {
        TrackedBody { body, sending: Some(sending) }
    }
}

impl Body for TrackedBody {
    type Data = TrackedBuf;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<TrackedBuf>, Infallible>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|bytes| TrackedBuf { bytes, sending: this.sending.take() }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of a body that have not been handed to the socket.
pub(super) struct TrackedBuf {
    bytes: Bytes,
    sending: Option<BodyInFlight>,
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
        if let Some(sending) = self.sending.as_ref().filter(|_| self.bytes.has_remaining()) {
            sending.moved();
        }
    }
}
