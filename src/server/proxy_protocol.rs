//! PROXY protocol, versions 1 and 2: who a connection's client is, as the balancer in front says.
//!
//! Called by `connection` for sockets whose peer the brand's file trusts, before TLS. What must never happen: anybody else's
//! header is believed, or a byte of the TLS behind it is read here.
//! Source: HAProxy's doc/proxy-protocol.txt.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How version 2 begins (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included (section 2.1).
const V1_LONGEST_BYTES: usize = 107;

/// The longest header of version 2 that is read; its extensions are of no use here.
const V2_LONGEST_BYTES: usize = 4_096;

/// How often it is told that a balancer does not speak the protocol: every connection of it fails alike.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A connection that is not served, and why.
#[derive(Debug)]
pub struct Refused {
    pub sentence: String,
    /// Whether the peer speaks something else, which somebody has to mend; one that just left is a health check, or gone.
    speaks_otherwise: bool,
}

impl Refused {
    /// A warning of the log, one a minute for each brand.
    pub fn warn_now_and_then(&self, brand: &'static str) {
        static TOLD_AT: Mutex<BTreeMap<&str, Instant>> = Mutex::new(BTreeMap::new());
        let mut told_at = TOLD_AT.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told_at.get(brand).is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY);
        if self.speaks_otherwise && is_new {
            told_at.insert(brand, Instant::now());
            tracing::warn!(brand, "{}; [proxy_protocol] trusted says that it does", self.sentence);
        }
    }
}

/// The client's address: what a trusted balancer says, or the socket's own peer.
///
/// # Errors
/// A trusted peer must begin with a header, or nobody could tell a client from the balancer.
pub async fn client_address<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    trusted: &[IpNet],
) -> Result<IpAddr, Refused> {
    let peer = peer.ip().to_canonical();
    if !trusted.iter().any(|network| network.contains(&peer)) {
        return Ok(peer);
    }
    let header = read_header(stream).await.map_err(|error| Refused {
        sentence: format!("{peer} sent no PROXY header: {error}"),
        speaks_otherwise: error.kind() == ErrorKind::InvalidData,
    })?;
    let (header, _) = ProxyHeader::parse(&header, ParseConfig::default()).map_err(|error| Refused {
        sentence: format!("{peer} sent a PROXY header that cannot be read: {error:?}"),
        speaks_otherwise: true,
    })?;
    // LOCAL and UNKNOWN name nobody: the balancer itself asks, for its health check.
    Ok(header.proxied_address().map_or(peer, |address| address.source.ip().to_canonical()))
}

/// Exactly the bytes of the header.
async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let invalid = |sentence: &str| std::io::Error::new(ErrorKind::InvalidData, sentence);
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > V2_LONGEST_BYTES {
            return Err(invalid("it is too long"));
        }
        header.extend(rest);
        let begin = header.len();
        header.resize(begin + length, 0);
        stream.read_exact(&mut header[begin..]).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(invalid("it begins with something else"));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= V1_LONGEST_BYTES {
            return Err(invalid("the line has no end"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn address_of(bytes: &[u8], trusted: &str) -> (Result<IpAddr, Refused>, Vec<u8>) {
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
    async fn a_trusted_balancer_names_the_client_and_tls_follows_untouched() {
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
    async fn a_balancer_that_asks_for_itself_is_its_own_client() {
        for bytes in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0, 0, &[])] {
            assert_eq!(address_of(&bytes, "10.0.0.0/8").await.0.expect("a header").to_string(), "10.0.0.5");
        }
    }

    #[tokio::test]
    async fn nobody_else_is_believed_and_a_trusted_peer_must_speak_it() {
        let (address, rest) = address_of(b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n", "10.1.0.0/16").await;
        assert_eq!(address.expect("the socket's own").to_string(), "10.0.0.5");
        assert!(rest.starts_with(b"PROXY"), "nothing was read");
        let long = [b"PROXY ".to_vec(), vec![b'x'; 200]].concat();
        for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"[..], b"PROXY TCP4 x\r\n", b"PROX", &long] {
            assert!(address_of(bytes, "10.0.0.0/8").await.0.is_err());
        }
    }
}
