//! The stream under HTTP/1.1: TLS that tracks its writes and can be given bytes to read again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::server::connection_state::{ConnectionState, WriteTracker};

/// A connection after its TLS handshake.
pub(super) type TlsTcpStream = Box<TlsStream<TcpStream>>;

pub(super) struct RewindableStream<S = TlsTcpStream> {
    stream: S,
    /// Bytes that are read before those of `stream`.
    unread: Bytes,
    writes: WriteTracker,
}

impl<S> RewindableStream<S> {
    pub(super) fn new(stream: S, state: Arc<ConnectionState>) -> RewindableStream<S> {
        RewindableStream { stream, unread: Bytes::new(), writes: WriteTracker::new(state) }
    }

    /// Puts back bytes that were read and not used.
    pub(super) fn with_unread(self, unread: Bytes) -> RewindableStream<S> {
        RewindableStream { unread, ..self }
    }
}

impl RewindableStream {
    /// Waits until the socket is readable or closed, without reading.
    pub(super) async fn readable(&self) {
        // The next read reports the same error.
        let _ = self.stream.get_ref().0.peek(&mut [0]).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RewindableStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.has_remaining() {
            let bytes = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            // The client shut down its side without close_notify. The framing of HTTP/1.1 tells whether its request is
            // complete.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RewindableStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writes.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.writes.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.writes.flushed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Also when the client caused it (its `Connection: close`, HTTP/1.0): no further request is read, however long
        // this takes.
        self.writes.state().set_last_response();
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        match closed.is_pending() {
            true => self.writes.state().wrote(false),
            false => self.writes.state().flushed(false),
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::server::connection_snapshot::{Lifecycle, WriteState};

    #[tokio::test]
    async fn rewound_bytes_are_read_before_those_of_the_stream() {
        let (server, mut client) = tokio::io::duplex(64);
        client.write_all(b" /ping").await.expect("open");
        client.shutdown().await.expect("open");
        let mut stream = RewindableStream::new(server, Arc::new(ConnectionState::new()));
        stream = stream.with_unread(Bytes::from_static(b"GET"));
        let mut first = [0; 2];
        stream.read_exact(&mut first).await.expect("rewound");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("rewound, then received");
        assert_eq!((&first, &*rest), (b"GE", "T /ping"));
    }

    #[tokio::test]
    async fn shutdown_of_the_stream_makes_the_response_the_last_one() {
        let (server, client) = tokio::io::duplex(64);
        let state = Arc::new(ConnectionState::new());
        let mut stream = RewindableStream::new(server, state.clone());
        drop(state.start_request());
        stream.write_all(b"response").await.expect("open");
        assert_eq!(state.snapshot().write, WriteState::Pending);
        stream.flush().await.expect("open");
        assert_eq!(state.snapshot().write, WriteState::Flushed);
        stream.shutdown().await.expect("open");
        assert_eq!(state.snapshot().lifecycle, Lifecycle::LastResponse);
        assert_eq!(state.snapshot().write, WriteState::Flushed);
        drop(client);
    }
}
