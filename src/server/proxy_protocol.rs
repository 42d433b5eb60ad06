//! PROXY protocol, versions 1 and 2: the client's address, as a load balancer states it.
//!
//! Source: HAProxy's doc/proxy-protocol.txt.
//!
//! # Invariants
//!
//! - Only the header of a trusted peer is used.
//! - No byte behind the header is read here: TLS follows.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2 (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, CRLF included (section 2.1).
const V1_MAX_BYTES: usize = 107;

/// The longest header of version 2 that is accepted; its extensions are ignored.
const V2_MAX_BYTES: usize = 4_096;

/// At most one warning per brand is logged in this time: all connections of a misconfigured balancer fail alike.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection of a trusted peer is not served.
#[derive(Debug)]
pub(crate) struct ProxyHeaderError {
    pub message: String,
    /// The peer sent something else, so the configuration needs a change; a peer that only disconnected is a health
    /// check.
    is_misconfigured: bool,
}

impl ProxyHeaderError {
    /// Logs a warning about a misconfigured balancer, at most once in [`WARN_INTERVAL`] for each brand.
    pub(crate) fn warn(&self, brand: &'static str) {
        static WARNED_AT: Mutex<BTreeMap<&str, Instant>> = Mutex::new(BTreeMap::new());
        let mut warned_at = WARNED_AT.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = warned_at.get(brand).is_none_or(|warned_at| warned_at.elapsed() >= WARN_INTERVAL);
        if self.is_misconfigured && is_due {
            warned_at.insert(brand, Instant::now());
            tracing::warn!(brand, "{}; connection closed, because [proxy_protocol] trusts this address", self.message);
        }
    }
}

/// Whether a connection of this peer begins with a header.
pub(super) fn is_trusted(peer: SocketAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.ip().to_canonical();
    trusted.iter().any(|network| network.contains(&peer))
}

/// The client's address: from the header of a trusted balancer, otherwise the socket's peer.
///
/// # Errors
/// A trusted peer did not send a valid header.
pub(crate) async fn client_address<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    trusted: &[IpNet],
) -> Result<IpAddr, ProxyHeaderError> {
    let is_trusted = is_trusted(peer, trusted);
    let peer = peer.ip().to_canonical();
    if !is_trusted {
        return Ok(peer);
    }
    let header = read_header(stream).await.map_err(|error| ProxyHeaderError {
        message: format!("{peer} sent no PROXY header: {error}"),
        is_misconfigured: error.kind() == ErrorKind::InvalidData,
    })?;
    let (header, _) = ProxyHeader::parse(&header, ParseConfig::default()).map_err(|error| ProxyHeaderError {
        message: format!("{peer} sent an invalid PROXY header: {error:?}"),
        is_misconfigured: true,
    })?;
    // LOCAL and UNKNOWN carry no address: the request is the balancer's own health check.
    Ok(header.proxied_address().map_or(peer, |address| address.source.ip().to_canonical()))
}

/// Reads exactly the bytes of the header.
async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let invalid = |message: &str| std::io::Error::new(ErrorKind::InvalidData, message);
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > V2_MAX_BYTES {
            return Err(invalid("it is too long"));
        }
        header.extend(rest);
        let start = header.len();
        header.resize(start + length, 0);
        stream.read_exact(&mut header[start..]).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(invalid("the first bytes are of another protocol"));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_MAX_BYTES {
            return Err(invalid("the line is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::foundation::fuzz::fuzz;

    async fn address_of(bytes: &[u8], trusted: &str) -> (Result<IpAddr, ProxyHeaderError>, Vec<u8>) {
        let mut stream = bytes;
        let peer = "10.0.0.5:1234".parse().expect("an address");
        let trusted = [trusted.parse().expect("a network")];
        let address = client_address(&mut stream, peer, &trusted).await;
        (address, stream.to_vec())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = (addresses.len() as u16).to_be_bytes();
        [&V2_SIGNATURE[..], &[0x20 | command, family], &length, addresses].concat()
    }

    #[tokio::test]
    async fn trusted_balancer_states_the_client_address_and_tls_stays_unread() {
        let v1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n\x16\x03".to_vec();
        let v1_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 445\r\n\x16\x03".to_vec();
        let v2_4 = [v2(1, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 19, 136, 1, 189]), b"\x16\x03".to_vec()].concat();
        for (bytes, client) in [(v1, "203.0.113.7"), (v1_6, "2001:db8::7"), (v2_4, "203.0.113.7")] {
            let (address, rest) = address_of(&bytes, "10.0.0.0/8").await;
            assert_eq!(address.expect("a header").to_string(), client);
            assert_eq!(rest, b"\x16\x03");
        }
    }

    #[tokio::test]
    async fn health_check_of_a_balancer_has_the_balancers_address() {
        for bytes in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0, 0, &[])] {
            assert_eq!(address_of(&bytes, "10.0.0.0/8").await.0.expect("a header").to_string(), "10.0.0.5");
        }
    }

    #[tokio::test]
    async fn untrusted_header_is_not_read_and_trusted_peer_must_send_one() {
        let (address, rest) = address_of(b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n", "10.1.0.0/16").await;
        assert_eq!(address.expect("the socket's peer").to_string(), "10.0.0.5");
        assert!(rest.starts_with(b"PROXY"), "nothing was read");
        let long = [b"PROXY ".to_vec(), vec![b'x'; 200]].concat();
        for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"[..], b"PROXY TCP4 x\r\n", b"PROX", &long] {
            assert!(address_of(bytes, "10.0.0.0/8").await.0.is_err());
        }
    }

    #[test]
    fn fuzz_proxy_header() {
        let tls = b"\x16\x03\x01";
        let seeds = [
            [b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n", &tls[..]].concat(),
            [b"PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 5000 445\r\n", &tls[..]].concat(),
            [b"PROXY UNKNOWN\r\n", &tls[..]].concat(),
            [&v2(1, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 19, 136, 1, 189, 4, 0, 1, 0]), &tls[..]].concat(),
            [&v2(1, 0x21, &[7; 36]), &tls[..]].concat(),
            [&v2(0, 0, &[]), &tls[..]].concat(),
        ];
        let words = ["PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "\r\n", "::ffff:", "65536", "\r\n\r\n\0\r\nQUIT\n"];
        let peer: SocketAddr = "10.0.0.5:1234".parse().expect("an address");
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        let read = |bytes: &[u8]| {
            let mut stream = bytes;
            let address = client_address(&mut stream, peer, &trusted).now_or_never().expect("a slice never waits");
            (address, bytes.len() - stream.len())
        };
        let outcomes = fuzz(&seeds, &words, |input| {
            let (address, length) = read(input);
            assert!(length <= 16 + V2_MAX_BYTES, "read {length} bytes");
            match address {
                Ok(address) => {
                    // The header ends where it says, whatever follows, and not a byte earlier.
                    let header = &input[..length];
                    assert!(header.ends_with(b"\r\n") || header.starts_with(V2_SIGNATURE));
                    let (again, again_length) = read(&[header, b"\r\nPROXY "].concat());
                    assert_eq!((again.expect("the same header"), again_length), (address, length));
                    assert!(read(&header[..length - 1]).0.is_err(), "a header that broke off");
                    assert!(header.len() <= V1_MAX_BYTES || header.starts_with(V2_SIGNATURE));
                    if address == peer.ip() { "health check" } else { "accepted" }.to_owned()
                }
                Err(error) => {
                    assert!(!error.message.contains(char::is_control), "{:?}", error.message);
                    if error.is_misconfigured { "invalid" } else { "broke off" }.to_owned()
                }
            }
        });
        outcomes.assert_seen(&["accepted", "health check", "invalid", "broke off"]);
    }
}
