//! HTTP/2 write coalescing: responses that are ready together share TLS records.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::harness::{Site, trusting_client_config};

/// A socket that counts the TLS records that it receives (RFC 8446, 5.1: one byte of type, two of version, two of
/// length).
struct RecordCounter {
    socket: TcpStream,
    header: Vec<u8>,
    remaining_bytes: usize,
    records: Arc<AtomicUsize>,
}

impl AsyncRead for RecordCounter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        for byte in &buf.filled()[before..] {
            if self.remaining_bytes > 0 {
                self.remaining_bytes -= 1;
                continue;
            }
            self.header.push(*byte);
            if let [_, _, _, high, low] = *self.header {
                self.remaining_bytes = usize::from(u16::from_be_bytes([high, low]));
                self.records.fetch_add(1, Ordering::Relaxed);
                self.header.clear();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RecordCounter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The type of a GOAWAY (RFC 9113, 6.8).
pub(crate) const GOAWAY: u8 = 7;

/// The types of the frames, of which the last one may be incomplete.
pub(crate) fn frame_types(mut frames: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, frame_type, ..] = *frames {
        types.push(frame_type);
        let frame_bytes = 9 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
        frames = frames.get(frame_bytes..).unwrap_or_default();
    }
    types
}

/// A frame (RFC 9113, 4.1).
pub(crate) fn frame(frame_type: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[frame_type, flags], &stream.to_be_bytes(), payload].concat()
}

/// The bytes of a client that requests a path so many times, with windows large enough for every response.
pub(crate) fn request_bytes(path: &str, requests: u32) -> Vec<u8> {
    // :method GET and :scheme https are in HPACK's static table (RFC 7541, A), :path and :authority are literals.
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let head = [vec![0x82, 0x87], literal(0x04, path), literal(0x01, "localhost")].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // RFC 9113, 6.5.2: setting 4 is the initial window of a stream; 6.9: stream 0 is the connection.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    bytes.extend(frame(8, 0, 0, &[0x7f, 0, 0, 0]));
    for number in 0..requests {
        // END_STREAM and END_HEADERS.
        bytes.extend(frame(1, 0x5, 2 * number + 1, &head));
    }
    bytes
}

#[tokio::test]
async fn responses_that_are_ready_together_share_tls_records() {
    const REQUESTS: u32 = 40;
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let gateway = site.start();
    let path = "/item/item_teapot";
    let body = gateway.client("dexar").get(path).await.body;

    let records = Arc::new(AtomicUsize::new(0));
    let socket = TcpStream::connect(gateway.address("dexar")).await.expect("listening");
    let counter = RecordCounter { socket, header: Vec::new(), remaining_bytes: 0, records: records.clone() };
    let connector = tokio_rustls::TlsConnector::from(trusting_client_config(&["h2"]));
    let mut stream = connector.connect("localhost".try_into().expect("a name"), counter).await.expect("a handshake");
    let requests = request_bytes(path, REQUESTS);
    assert!(requests.len() < 16_384, "one record");
    let before = records.load(Ordering::Relaxed);
    stream.write_all(&requests).await.expect("open");
    stream.flush().await.expect("open");

    let (mut received, mut finished, mut body_bytes) = (Vec::new(), 0, 0);
    while finished < REQUESTS {
        assert!(stream.read_buf(&mut received).await.expect("open") > 0);
        while let [a, b, c, frame_type, flags, ..] = *received {
            let frame_bytes = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if received.len() < frame_bytes {
                break;
            }
            if frame_type == 0 {
                body_bytes += frame_bytes - 9;
                finished += u32::from(flags & 1);
            }
            received.drain(..frame_bytes);
        }
    }
    assert_eq!(body_bytes, REQUESTS as usize * body.len(), "every response is complete");
    // SETTINGS and its acknowledgement may have records of their own; requests may have arrived in several reads.
    let (count, minimum) = (records.load(Ordering::Relaxed) - before, body_bytes.div_ceil(16_384));
    assert!(count <= minimum + 10, "{count} records for {body_bytes} bytes");
}
