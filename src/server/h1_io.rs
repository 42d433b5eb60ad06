//! What hyper reads from and writes to on HTTP/1.1: a TLS connection that knows whether everything written has left, and that can
//! be given back what was read too much.
//!
//! Made by `connection`. What must never happen: a connection is thought silent while part of an answer is still here,
//! or when it is closing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::server::connection_state::{ConnectionState, WriteTracker};

/// A connection whose handshake is done.
pub(super) type TlsTcpStream = Box<TlsStream<TcpStream>>;

pub(super) struct RewindableStream {
    stream: TlsTcpStream,
    /// Read before, and to be read first.
    unread: Bytes,
    writing: WriteTracker,
}

impl RewindableStream {
    pub fn new(stream: TlsTcpStream, activity: Arc<ConnectionState>) -> RewindableStream {
        RewindableStream { stream, unread: Bytes::new(), writing: WriteTracker::new(activity) }
    }

    /// Gives back what was read and is nobody's yet.
    pub fn with_unread(self, unread: Bytes) -> RewindableStream {
        RewindableStream { unread, ..self }
    }

    /// Until there is something to read, or the connection has ended; nothing is read.
    pub async fn readable(&self) {
        // An error is met again by whoever reads.
        let _ = self.stream.get_ref().0.peek(&mut [0]).await;
    }
}

impl AsyncRead for RewindableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.has_remaining() {
            let bytes = self.unread.len().min(into.remaining());
            into.put_slice(&self.unread.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for RewindableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writing.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.writing.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.writing.flushed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever asked for it (the client's own `Connection: close`, HTTP/1.0), no request is read any more, even when this takes long.
        self.writing.activity().answers_last();
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        match closed.is_pending() {
            true => self.writing.activity().wrote(false),
            false => self.writing.activity().flushed(false),
        }
        closed
    }
}
