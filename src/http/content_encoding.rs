//! Content codings and entity tags: which bytes leave for one and the same answer.
//!
//! Called by `answer`. The tag is computed before compressing (a hash of the plain bytes, and the coding's name), so that a
//! 304 costs no compression; the codecs are deterministic, so it still names the bytes sent. Answers that mix a secret with
//! what a visitor chose never come here (BREACH): only answers of the catalogue are compressed.

use std::io::Write as _;

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH};
use sha2::{Digest, Sha256};

use crate::foundation::hex;

/// Below this many bytes a compressed answer saves no packet.
const WORTH_COMPRESSING_BYTES: usize = 1_000;

/// A content coding that we speak, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Zstd,
    Gzip,
    Identity,
}

impl Coding {
    /// In the order of their numbers.
    pub const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// Whether compressing so many bytes saves anything.
    pub fn is_worth_it(body_bytes: usize) -> bool {
        body_bytes >= WORTH_COMPRESSING_BYTES
    }

    /// The best coding for a body of this size that the client accepts (RFC 9110, 12.5.3).
    pub fn negotiate(headers: &HeaderMap, body_bytes: usize) -> Coding {
        if !Coding::is_worth_it(body_bytes) {
            return Coding::Identity;
        }
        let wanted = Wanted::read(headers);
        // Plain bytes that nobody asked for are what is left when nothing else is wanted.
        let mut best = (Coding::Identity, wanted.named[Coding::Identity as usize].unwrap_or(0));
        for coding in [Coding::Brotli, Coding::Zstd, Coding::Gzip] {
            let weight = wanted.named[coding as usize].or(wanted.any).unwrap_or(0);
            if weight > best.1 || (weight == best.1 && weight > 0 && best.0 == Coding::Identity) {
                best = (coding, weight);
            }
        }
        best.0
    }

    fn token(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
            Coding::Identity => "identity",
        }
    }

    fn is_called(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.token()) || (self == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }

    /// The value of `Content-Encoding`; plain bytes have none.
    pub fn header(self) -> Option<HeaderValue> {
        (self != Coding::Identity).then(|| HeaderValue::from_static(self.token()))
    }

    /// A strong entity tag of the plain bytes with this [`hash`], in this coding.
    pub fn etag(self, hash: &str) -> HeaderValue {
        let mut tag = String::with_capacity(40);
        tag.push('"');
        tag.push_str(hash);
        if self != Coding::Identity {
            tag.push('-');
            tag.push_str(self.token());
        }
        tag.push('"');
        HeaderValue::try_from(tag).expect("hexadecimal and a token are ASCII")
    }

    /// The bytes to send, in memory of their own length: they may be kept.
    pub fn apply(self, plain: Bytes) -> Bytes {
        const INTO_MEMORY: &str = "compressing from memory into memory cannot fail";
        let coded = match self {
            Coding::Identity => return plain,
            Coding::Brotli => {
                let mut out = Vec::with_capacity(plain.len() / 4);
                let parameters = brotli::enc::BrotliEncoderParams { quality: 5, lgwin: 19, ..Default::default() };
                brotli::BrotliCompress(&mut &plain[..], &mut out, &parameters).expect(INTO_MEMORY);
                out
            }
            Coding::Zstd => zstd::bulk::compress(&plain, 3).expect(INTO_MEMORY),
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&plain).expect(INTO_MEMORY);
                encoder.finish().expect(INTO_MEMORY)
            }
        };
        coded.into_boxed_slice().into()
    }
}

/// What tells these bytes from all others.
pub fn hash(plain: &[u8]) -> String {
    hex::encode(&Sha256::digest(plain)[..16])
}

/// How much a client wants each coding, in thousandths; 0 is not at all, `None` not mentioned.
#[derive(Default)]
struct Wanted {
    named: [Option<u16>; 4],
    /// Whatever is not named.
    any: Option<u16>,
}

impl Wanted {
    /// The first word about a coding counts.
    fn read(headers: &HeaderMap) -> Wanted {
        let mut wanted = Wanted::default();
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for entry in values.flat_map(|value| value.split(',')) {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
            let place = match name {
                "*" => &mut wanted.any,
                name => match Coding::ALL.into_iter().find(|coding| coding.is_called(name)) {
                    Some(coding) => &mut wanted.named[coding as usize],
                    None => continue,
                },
            };
            place.get_or_insert((weight * 1_000.0) as u16);
        }
        wanted
    }
}

/// Whether the client has these bytes already (RFC 9110, 13.1.2: compared weakly).
pub fn has_already(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accepted: &str) -> Coding {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accepted).expect("ASCII"));
        Coding::negotiate(&headers, 10_000)
    }

    #[test]
    fn the_clients_weights_come_first_then_our_order() {
        assert_eq!(negotiate("gzip, deflate, br, zstd"), Coding::Brotli);
        assert_eq!(negotiate("gzip, zstd"), Coding::Zstd);
        assert_eq!(negotiate("br;q=0.5, gzip;q=0.9"), Coding::Gzip);
        assert_eq!(negotiate("br;q=0, *"), Coding::Zstd);
        assert_eq!(negotiate("*;q=0"), Coding::Identity);
        assert_eq!(negotiate("gzip;q=0.5, identity;q=1"), Coding::Identity);
        assert_eq!(negotiate("gzip, identity"), Coding::Gzip);
        assert_eq!(negotiate("deflate"), Coding::Identity);
        assert_eq!(Coding::negotiate(&HeaderMap::new(), 10_000), Coding::Identity);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(Coding::negotiate(&headers, 100), Coding::Identity, "a small answer stays plain");
    }

    #[test]
    fn what_is_compressed_can_be_read_again() {
        let plain = Bytes::from("чайник ".repeat(2_000));
        let gzip = Coding::Gzip.apply(plain.clone());
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut read).expect("gzip");
        assert_eq!(read, plain);
        let zstd = Coding::Zstd.apply(plain.clone());
        assert_eq!(zstd::bulk::decompress(&zstd, plain.len()).expect("zstd"), plain);
        let mut read = Vec::new();
        brotli::BrotliDecompress(&mut &Coding::Brotli.apply(plain.clone())[..], &mut read).expect("brotli");
        assert_eq!(read, plain);
    }

    #[test]
    fn each_coding_has_its_own_tag() {
        let tags = [Coding::Brotli, Coding::Gzip, Coding::Identity].map(|coding| coding.etag(&hash(b"[]")));
        assert_eq!(tags[2], "\"4f53cda18c2baa0c0354bb5f9a3ecbe5\"", "the first half of SHA-256 of []");
        assert_eq!(tags[0], "\"4f53cda18c2baa0c0354bb5f9a3ecbe5-br\"");
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"x\", W/\"4f53cda18c2baa0c0354bb5f9a3ecbe5-br\""));
        assert!(has_already(&headers, &tags[0]) && !has_already(&headers, &tags[1]));
    }
}
