//! The stream under HTTP/2: TLS that coalesces writes.
//!
//! h2 flushes after every body: one TLS record and one system call for each of many small responses that are ready
//! together. Here a flush does nothing, and [`InlineExecutor`](super::h2_executor::InlineExecutor) calls
//! [`CoalescingStream::send`] when the connection has nothing more to write.
//!
//! # Invariants
//!
//! - The task of a connection does not wait for anything while unsent bytes lie here without `send` having been called.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::server::connection_state::{ConnectionState, WriteTracker};
use crate::server::h1_io::TlsTcpStream;

/// The most plaintext that one TLS record holds (RFC 8446, 5.1).
const MAX_BUFFERED_BYTES: usize = 16_384;

/// Clones are the same connection; only its own task uses them, so the lock is never contended.
pub(super) struct CoalescingStream<S = TlsTcpStream>(Arc<Mutex<Inner<S>>>);

impl<S> Clone for CoalescingStream<S> {
    fn clone(&self) -> CoalescingStream<S> {
        CoalescingStream(self.0.clone())
    }
}

struct Inner<S> {
    stream: S,
    /// Without capacity while there is nothing to send.
    buffer: Vec<u8>,
    /// How much of the buffer is sent.
    sent_bytes: usize,
    writes: WriteTracker,
}

impl<S: AsyncRead + AsyncWrite + Unpin> CoalescingStream<S> {
    pub(super) fn new(stream: S, state: Arc<ConnectionState>) -> CoalescingStream<S> {
        let writes = WriteTracker::new(state);
        CoalescingStream(Arc::new(Mutex::new(Inner { stream, buffer: Vec::new(), sent_bytes: 0, writes })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the buffered bytes; when the socket is full, the task is woken to continue.
    pub(super) fn send(&self, cx: &mut Context<'_>) {
        // The next read or write reports the same error.
        let _ = self.lock().poll_send(cx);
    }

    /// Closes the sending side, and reads until the client has closed too or has sent nothing for `timeout`. A client
    /// that is still reading sends WINDOW_UPDATEs; a closed socket would answer them with a reset, which discards what
    /// the client has not read.
    pub(super) async fn linger(&self, timeout: Duration) {
        // On the heap, because the connection's future would hold it all its life.
        let mut discarded = vec![0; 1_024];
        let mut stream = self.clone();
        let closed = tokio::time::timeout(timeout, stream.shutdown()).await;
        while closed.is_ok()
            && let Ok(Ok(1..)) = tokio::time::timeout(timeout, stream.read(&mut discarded)).await
        {}
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent_bytes < self.buffer.len() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.buffer[self.sent_bytes..]);
            let written = ready!(self.writes.wrote(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent_bytes += written;
        }
        self.buffer = Vec::new();
        self.sent_bytes = 0;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.writes.flushed(flushed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CoalescingStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CoalescingStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if inner.buffer.len() + bytes > MAX_BUFFERED_BYTES {
            ready!(inner.poll_send(cx))?;
        }
        if bytes >= MAX_BUFFERED_BYTES {
            let written = Pin::new(&mut inner.stream).poll_write_vectored(cx, slices);
            return inner.writes.wrote(written);
        }
        inner.writes.state().wrote(false);
        if inner.buffer.capacity() == 0 {
            inner.buffer.reserve_exact(MAX_BUFFERED_BYTES);
        }
        slices.iter().for_each(|slice| inner.buffer.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: [`CoalescingStream::send`] flushes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::server::connection_snapshot::WriteState;

    /// A socket that accepts `room` bytes before it is full, and records each write.
    #[derive(Default)]
    struct Socket {
        room: usize,
        writes: Vec<Vec<u8>>,
        flushes: usize,
    }

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = self.room.min(bytes.len());
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.writes.push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn stream(room: usize) -> (CoalescingStream<Socket>, Arc<ConnectionState>) {
        let state = Arc::new(ConnectionState::new());
        (CoalescingStream::new(Socket { room, ..Socket::default() }, state.clone()), state)
    }

    fn noop() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn write(stream: &mut CoalescingStream<Socket>, bytes: &[u8]) -> Poll<usize> {
        Pin::new(stream).poll_write(&mut noop(), bytes).map(|written| written.expect("the socket does not fail"))
    }

    #[test]
    fn small_writes_leave_in_one() {
        let (mut stream, state) = stream(usize::MAX);
        for part in ["one ", "two ", "three"] {
            assert_eq!(write(&mut stream, part.as_bytes()), Poll::Ready(part.len()));
            assert!(Pin::new(&mut stream).poll_flush(&mut noop()).is_ready());
        }
        assert!(stream.lock().stream.writes.is_empty(), "a flush sends nothing");
        assert_eq!(state.snapshot().write, WriteState::Pending);
        stream.send(&mut noop());
        let inner = stream.lock();
        assert_eq!(inner.stream.writes, [b"one two three"]);
        assert_eq!((inner.stream.flushes, inner.buffer.capacity()), (1, 0), "an idle connection holds no buffer");
        assert_eq!(state.snapshot().write, WriteState::Flushed);
    }

    #[test]
    fn no_more_than_one_record_is_buffered_and_large_writes_are_not_copied() {
        let (mut stream, _) = stream(usize::MAX);
        let (half, large) = (vec![b'h'; 10_000], vec![b'l'; 20_000]);
        assert_eq!(write(&mut stream, &half), Poll::Ready(10_000));
        assert_eq!(write(&mut stream, &half), Poll::Ready(10_000));
        assert_eq!(stream.lock().stream.writes, std::slice::from_ref(&half), "the second did not fit beside the first");
        assert_eq!(write(&mut stream, &large), Poll::Ready(20_000));
        assert_eq!(stream.lock().stream.writes, [half.clone(), half, large], "in their order");
    }

    #[test]
    fn full_socket_blocks_writes_and_sending_continues_where_it_stopped() {
        let (mut stream, state) = stream(4);
        assert_eq!(write(&mut stream, b"response"), Poll::Ready(8));
        stream.send(&mut noop());
        assert_eq!(state.snapshot().write, WriteState::Pending);
        assert_eq!(write(&mut stream, &[b'x'; MAX_BUFFERED_BYTES]), Poll::Pending, "the buffer is bounded");
        let before = state.snapshot().last_activity;
        std::thread::sleep(Duration::from_millis(5));
        stream.lock().stream.room = 4;
        stream.send(&mut noop());
        assert_eq!(stream.lock().stream.writes.concat(), b"response");
        assert_eq!(state.snapshot().write, WriteState::Flushed);
        assert!(state.snapshot().last_activity > before, "the client is reading");
    }

    #[tokio::test]
    async fn shutdown_sends_what_is_buffered() {
        let (server, mut client) = tokio::io::duplex(64);
        let mut stream = CoalescingStream::new(server, Arc::new(ConnectionState::new()));
        stream.write_all(b"goodbye").await.expect("buffered");
        stream.shutdown().await.expect("sent and closed");
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect("closed");
        assert_eq!(received, b"goodbye");
    }

    #[tokio::test]
    async fn lingering_ends_when_the_client_closes() {
        let (server, client) = tokio::io::duplex(64);
        let stream = CoalescingStream::new(server, Arc::new(ConnectionState::new()));
        let (mut received, mut sender) = tokio::io::split(client);
        let client = async {
            assert_eq!(received.read(&mut [0; 8]).await.expect("the server closes its side"), 0);
            sender.write_all(&[0; 100]).await.expect("the server still reads");
            sender.shutdown().await.expect("open");
        };
        // Longer than any test: only the client's close ends it.
        tokio::join!(stream.linger(Duration::from_secs(3_600)), client);
    }
}
