//! Lines of SMTP on a connection, and the text of a mail as it is transferred (RFC 5321, 2.3.8 and 4.5.2).
//!
//! Called by `session`. What must never happen: a bare LF that ends a line, or a dot of a mail's own that is lost.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// RFC 5321, 4.5.3.2.7.
const NEXT_LINE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// RFC 5321, 4.5.3.1.6, without the CRLF.
const TEXT_LINE_BYTES: usize = 998;

/// A line without its CRLF.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// At most as much as was allowed.
    pub bytes: Vec<u8>,
    pub too_long: bool,
    /// It holds a CR or an LF that belongs to no CRLF.
    pub bare: bool,
}

pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        Wire { stream: BufReader::new(stream) }
    }

    /// The next line, or `None` when the client has gone.
    ///
    /// # Errors
    /// The connection broke, or the client says nothing.
    pub async fn line(&mut self, allowed: usize) -> io::Result<Option<Line>> {
        let silent = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(NEXT_LINE_WITHIN, self.next_line(allowed)).await.map_err(silent)?
    }

    async fn next_line(&mut self, allowed: usize) -> io::Result<Option<Line>> {
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
                    // A CR is kept back until it is known what follows.
                    (_, true) => {
                        line.bare = true;
                        line.push(b'\r', allowed);
                    }
                    _ => {}
                }
                after_cr = *byte == b'\r';
                if !after_cr {
                    line.push(*byte, allowed);
                }
            }
            self.stream.consume(used);
        }
    }

    /// The text of a mail, up to the line with the one dot.
    ///
    /// # Errors
    /// The connection broke, or the client says nothing.
    pub async fn text(&mut self, allowed: usize) -> io::Result<Option<Text>> {
        let mut text = Text::default();
        // The dot that was put before a line's own may make it one longer.
        while let Some(line) = self.line(TEXT_LINE_BYTES + 1).await? {
            if text.take(line, allowed) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// # Errors
    /// The connection broke.
    pub async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

impl Line {
    fn push(&mut self, byte: u8, allowed: usize) {
        match self.bytes.len() < allowed {
            true => self.bytes.push(byte),
            false => self.too_long = true,
        }
    }
}

/// A mail as it was meant, and what is wrong with how it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub bytes: Vec<u8>,
    pub line_too_long: bool,
    pub too_big: bool,
    pub bare: bool,
}

impl Text {
    /// Adds a line; `true` when it was the last.
    fn take(&mut self, line: Line, allowed: usize) -> bool {
        if line.bytes == b"." && !line.bare {
            return true;
        }
        let own = line.bytes.strip_prefix(b".").unwrap_or(&line.bytes);
        self.line_too_long |= line.too_long || own.len() > TEXT_LINE_BYTES;
        self.bare |= line.bare;
        self.too_big |= self.bytes.len() + own.len() + 2 > allowed;
        if !self.too_big {
            self.bytes.extend_from_slice(own);
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
    fn one_dot_is_taken_from_every_line_that_begins_with_one() {
        let text = text(&["a", "..", "...b", ".c", "d.", "", ".", "lost"]);
        assert_eq!(String::from_utf8_lossy(&text.bytes), "a\r\n.\r\n..b\r\nc\r\nd.\r\n\r\n");
    }

    #[test]
    fn what_is_too_long_or_too_big_is_noticed() {
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
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"one\r\ntwo\nhalf\rand\r\r\nlonger\r\n").await.expect("it is open");
        drop(client);
        let mut wire = Wire::new(listener.accept().await.expect("a client").0);
        let mut next = async || wire.line(5).await.expect("it is open");
        let line = |bytes: &[u8], too_long, bare| Some(Line { bytes: bytes.to_vec(), too_long, bare });
        assert_eq!(next().await, line(b"one", false, false));
        assert_eq!(next().await, line(b"two\nh", true, true));
        assert_eq!(next().await, line(b"longe", true, false));
        assert_eq!(next().await, None);
    }
}
