//! What hyper reads from and writes to on HTTP/2: a TLS connection that gathers what is written at once. h2 flushes after every
//! body, which would be a TLS record and a call of the kernel for each of many small answers that are ready together.
//!
//! Made by `connection`; `streams` sends what was gathered whenever the connection has nothing more to write for now, which is
//! the one flush that counts. What must never happen: bytes lie here while the connection's task waits for something else.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::server::connection_state::{ConnectionState, WriteTracker};
use crate::server::h1_io::TlsTcpStream;

/// What fits into one TLS record (RFC 8446, 5.1).
const MOST_BYTES: usize = 16_384;

/// Clones are the same connection; its own task alone uses them.
#[derive(Clone)]
pub(super) struct CoalescingStream(Arc<Mutex<Inner>>);

struct Inner {
    stream: TlsTcpStream,
    /// Nothing, and no memory, while there is nothing to send.
    gathered: Vec<u8>,
    /// How much of it is gone.
    sent_bytes: usize,
    writing: WriteTracker,
}

impl CoalescingStream {
    pub fn new(stream: TlsTcpStream, activity: Arc<ConnectionState>) -> CoalescingStream {
        let writing = WriteTracker::new(activity);
        CoalescingStream(Arc::new(Mutex::new(Inner { stream, gathered: Vec::new(), sent_bytes: 0, writing })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was gathered; when the socket takes no more, the task is woken to go on.
    pub fn send(&self, cx: &mut Context<'_>) {
        // An error is met again by whoever reads or writes next.
        let _ = self.lock().poll_send(cx);
    }

    /// Closes, and waits until the client has closed too or says nothing for that long. A client that still reads opens windows for it, and
    /// a socket that is gone answers them by throwing away what was not read yet.
    pub async fn linger(&self, silent_for: Duration) {
        // Not in the connection's own memory, which it has all its life.
        let mut nobody_reads = vec![0; 1_024];
        let mut closing = self.clone();
        let closed = tokio::time::timeout(silent_for, closing.shutdown()).await;
        while closed.is_ok()
            && let Ok(Ok(1..)) = tokio::time::timeout(silent_for, closing.read(&mut nobody_reads)).await
        {}
    }
}

impl Inner {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent_bytes < self.gathered.len() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.gathered[self.sent_bytes..]);
            let written = ready!(self.writing.wrote(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent_bytes += written;
        }
        self.gathered = Vec::new();
        self.sent_bytes = 0;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.writing.flushed(flushed)
    }
}

impl AsyncRead for CoalescingStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for CoalescingStream {
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
        if inner.gathered.len() + bytes > MOST_BYTES {
            ready!(inner.poll_send(cx))?;
        }
        if bytes >= MOST_BYTES {
            let written = Pin::new(&mut inner.stream).poll_write_vectored(cx, slices);
            return inner.writing.wrote(written);
        }
        inner.writing.activity().wrote(false);
        if inner.gathered.capacity() == 0 {
            inner.gathered.reserve_exact(MOST_BYTES);
        }
        slices.iter().for_each(|slice| inner.gathered.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// [`CoalescingStream::send`] does it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}
