//! HTTP/2: answers that are ready together leave together.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::harness::{Site, trusting_client_config};

/// A socket that counts the TLS records that come (RFC 8446, 5.1: a type, two bytes of version, two of length).
struct Counting {
    socket: TcpStream,
    head: Vec<u8>,
    rest_bytes: usize,
    records: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        for byte in &into.filled()[before..] {
            if self.rest_bytes > 0 {
                self.rest_bytes -= 1;
                continue;
            }
            self.head.push(*byte);
            if let [_, _, _, high, low] = *self.head {
                self.rest_bytes = usize::from(u16::from_be_bytes([high, low]));
                self.records.fetch_add(1, Ordering::Relaxed);
                self.head.clear();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
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
pub const GOAWAY: u8 = 7;

/// The types of whole frames.
pub fn kinds(mut frames: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *frames {
        kinds.push(kind);
        frames = &frames[9 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c)..];
    }
    kinds
}

/// A frame (RFC 9113, 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// All that a client says who asks for a path so many times, with windows that hold every answer.
pub fn asking(path: &str, requests: u32) -> Vec<u8> {
    // :method GET and :scheme https are in HPACK's table (RFC 7541, A), :path and :authority are written out.
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let head = [vec![0x82, 0x87], literal(0x04, path), literal(0x01, "localhost")].concat();
    let mut asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // 6.5.2: 4 is the initial window of a stream; 6.9: stream 0 is the connection.
    asked.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    asked.extend(frame(8, 0, 0, &[0x7f, 0, 0, 0]));
    for number in 0..requests {
        // END_STREAM and END_HEADERS.
        asked.extend(frame(1, 0x5, 2 * number + 1, &head));
    }
    asked
}

#[tokio::test]
async fn answers_that_are_ready_together_share_tls_records() {
    const REQUESTS: u32 = 40;
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let gateway = site.start();
    let path = "/item/item_teapot";
    let body = gateway.client("dexar").get(path).await.body;

    let records = Arc::new(AtomicUsize::new(0));
    let socket = TcpStream::connect(gateway.address("dexar")).await.expect("it listens");
    let counting = Counting { socket, head: Vec::new(), rest_bytes: 0, records: records.clone() };
    let connector = tokio_rustls::TlsConnector::from(trusting_client_config(&["h2"]));
    let mut stream = connector.connect("localhost".try_into().expect("a name"), counting).await.expect("a handshake");
    let asked = asking(path, REQUESTS);
    assert!(asked.len() < 16_384, "one record");
    let before = records.load(Ordering::Relaxed);
    stream.write_all(&asked).await.expect("it is open");
    stream.flush().await.expect("it is open");

    let (mut got, mut ended, mut bytes) = (Vec::new(), 0, 0);
    while ended < REQUESTS {
        assert!(stream.read_buf(&mut got).await.expect("it is open") > 0);
        while let [a, b, c, kind, flags, ..] = *got {
            let whole = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if got.len() < whole {
                break;
            }
            if kind == 0 {
                bytes += whole - 9;
                ended += u32::from(flags & 1);
            }
            got.drain(..whole);
        }
    }
    assert_eq!(bytes, REQUESTS as usize * body.len(), "every answer is whole");
    // The settings and their acknowledgement may come by themselves; a part of the requests may have been read before the rest.
    let (came, fewest) = (records.load(Ordering::Relaxed) - before, bytes.div_ceil(16_384));
    assert!(came <= fewest + 10, "{came} records for {bytes} bytes");
}
