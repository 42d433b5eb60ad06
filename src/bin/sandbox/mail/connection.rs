//! SMTP lines on a connection, and the transfer of message text (RFC 5321, 2.3.8 and 4.5.2).
//!
//! # Invariants
//! - Only CRLF ends a line.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsAcceptor;

/// RFC 5321, 4.5.3.2.7.
const READ_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// RFC 5321, 4.5.3.1.6, without the CRLF.
const MAX_TEXT_LINE_BYTES: usize = 998;

/// A line without its CRLF.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Truncated to the maximum length.
    pub bytes: Vec<u8>,
    pub too_long: bool,
    /// Whether it contains a CR or an LF outside of a CRLF.
    pub bare: bool,
}

/// TCP or TLS over TCP.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub struct SmtpConnection {
    stream: BufReader<Box<dyn Stream>>,
}

impl SmtpConnection {
    pub fn new(stream: impl Stream + 'static) -> SmtpConnection {
        SmtpConnection { stream: BufReader::new(Box::new(stream)) }
    }

    /// Upgrades to TLS. Plaintext that the client sent before the handshake is discarded (RFC 3207, 4.2).
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn encrypt(self, tls: &TlsAcceptor) -> io::Result<SmtpConnection> {
        let handshake = tls.accept(self.stream.into_inner());
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        Ok(SmtpConnection::new(tokio::time::timeout(READ_TIMEOUT, handshake).await.map_err(timed_out)??))
    }

    /// The next line, or `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection failed or timed out.
    pub async fn line(&mut self, max_bytes: usize) -> io::Result<Option<Line>> {
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(READ_TIMEOUT, self.next_line(max_bytes)).await.map_err(timed_out)?
    }

    async fn next_line(&mut self, max_bytes: usize) -> io::Result<Option<Line>> {
        let mut line = Line { bytes: Vec::new(), too_long: false, bare: false };
        let mut after_cr = false;
        loop {
            let buffer = self.stream.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let mut used = 0;
            for byte in buffer {
                used += 1;
                match (*byte, after_cr) {
                    (b'\n', true) => {
                        self.stream.consume(used);
                        return Ok(Some(line));
                    }
                    (b'\n', false) => line.bare = true,
                    // A CR is pending until the next byte is known.
                    (_, true) => {
                        line.bare = true;
                        line.push(b'\r', max_bytes);
                    }
                    _ => {}
                }
                after_cr = *byte == b'\r';
                if !after_cr {
                    line.push(*byte, max_bytes);
                }
            }
            self.stream.consume(used);
        }
    }

    /// The text of a message, up to the line with a single dot.
    ///
    /// # Errors
    /// The connection failed or timed out.
    pub async fn text(&mut self, max_bytes: usize) -> io::Result<Option<Text>> {
        let mut text = Text::default();
        // Dot stuffing may make a line one byte longer.
        while let Some(line) = self.line(MAX_TEXT_LINE_BYTES + 1).await? {
            if text.take(line, max_bytes) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Sends a reply.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn send(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

impl Line {
    fn push(&mut self, byte: u8, max_bytes: usize) {
        match self.bytes.len() < max_bytes {
            true => self.bytes.push(byte),
            false => self.too_long = true,
        }
    }
}

/// The text of a message, without dot stuffing, and errors of its transfer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub bytes: Vec<u8>,
    pub line_too_long: bool,
    pub too_big: bool,
    pub bare: bool,
}

impl Text {
    /// Adds a line; `true` for the final dot.
    fn take(&mut self, line: Line, max_bytes: usize) -> bool {
        if line.bytes == b"." && !line.bare {
            return true;
        }
        let unstuffed = line.bytes.strip_prefix(b".").unwrap_or(&line.bytes);
        self.line_too_long |= line.too_long || unstuffed.len() > MAX_TEXT_LINE_BYTES;
        self.bare |= line.bare;
        self.too_big |= self.bytes.len() + unstuffed.len() + 2 > max_bytes;
        if !self.too_big {
            self.bytes.extend_from_slice(unstuffed);
            self.bytes.extend_from_slice(b"\r\n");
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[&str]) -> Text {
        let mut text = Text::default();
        for line in lines {
            let line = Line { bytes: line.as_bytes().to_vec(), too_long: false, bare: false };
            if text.take(line, 5_000) {
                break;
            }
        }
        text
    }

    #[test]
    fn dot_stuffing_is_removed() {
        let text = text(&["a", "..", "...b", ".c", "d.", "", ".", "lost"]);
        assert_eq!(String::from_utf8_lossy(&text.bytes), "a\r\n.\r\n..b\r\nc\r\nd.\r\n\r\n");
    }

    #[test]
    fn size_limits_are_checked() {
        let line = "x".repeat(998);
        assert!(!text(&[&line]).line_too_long);
        assert!(!text(&[&format!(".{line}")]).line_too_long);
        assert!(text(&[&format!("{line}x")]).line_too_long);
        assert!(!text(&[&line, &line, &line, &line, &line]).too_big);
        assert!(text(&[&line, &line, &line, &line, &line, &line]).too_big);
    }

    #[tokio::test]
    async fn only_crlf_ends_a_line() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mut client = tokio::net::TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"one\r\ntwo\nhalf\rand\r\r\nlonger\r\n").await.expect("it is open");
        drop(client);
        let mut connection = SmtpConnection::new(listener.accept().await.expect("a client").0);
        let mut next = async || connection.line(5).await.expect("it is open");
        let line = |bytes: &[u8], too_long, bare| Some(Line { bytes: bytes.to_vec(), too_long, bare });
        assert_eq!(next().await, line(b"one", false, false));
        assert_eq!(next().await, line(b"two\nh", true, true));
        assert_eq!(next().await, line(b"longe", true, false));
        assert_eq!(next().await, None);
    }
}
