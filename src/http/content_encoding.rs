//! Content codings (RFC 9110, 8.4) and entity tags of cached responses.
//!
//! An entity tag is the hash of the uncompressed bytes and the name of the coding. It is known before compression, so a
//! 304 costs none; the encoders are deterministic, so it is a strong validator.
//!
//! # Invariants
//!
//! - Only responses of the catalogue are compressed. One that combined a secret with input of the client would be open
//!   to BREACH.

use std::io::Write as _;

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH};
use sha2::{Digest, Sha256};

use crate::foundation::hex;

/// The smallest body that is compressed; below, compression saves no packet.
const MIN_COMPRESSED_BYTES: usize = 1_000;

/// The supported content codings, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    Brotli,
    Zstd,
    Gzip,
    Identity,
}

impl ContentCoding {
    /// All variants, in the order of their discriminants.
    pub(crate) const ALL: [ContentCoding; 4] =
        [ContentCoding::Brotli, ContentCoding::Zstd, ContentCoding::Gzip, ContentCoding::Identity];

    /// Whether a body of this size is compressed.
    pub(crate) fn is_compressible(body_bytes: usize) -> bool {
        body_bytes >= MIN_COMPRESSED_BYTES
    }

    /// The client's preferred coding for a body of this size (RFC 9110, 12.5.3).
    pub(crate) fn negotiate(headers: &HeaderMap, body_bytes: usize) -> ContentCoding {
        if !ContentCoding::is_compressible(body_bytes) {
            return ContentCoding::Identity;
        }
        let accepted = AcceptEncoding::from_headers(headers);
        // Without a weight of its own `identity` is the last resort.
        let mut best = (ContentCoding::Identity, accepted.named[ContentCoding::Identity as usize].unwrap_or(0));
        for coding in [ContentCoding::Brotli, ContentCoding::Zstd, ContentCoding::Gzip] {
            let weight = accepted.named[coding as usize].or(accepted.any).unwrap_or(0);
            if weight > best.1 || (weight == best.1 && weight > 0 && best.0 == ContentCoding::Identity) {
                best = (coding, weight);
            }
        }
        best.0
    }

    fn token(self) -> &'static str {
        match self {
            ContentCoding::Brotli => "br",
            ContentCoding::Zstd => "zstd",
            ContentCoding::Gzip => "gzip",
            ContentCoding::Identity => "identity",
        }
    }

    fn matches(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.token()) || (self == ContentCoding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }

    /// The value of `Content-Encoding`; `None` for identity.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        (self != ContentCoding::Identity).then(|| HeaderValue::from_static(self.token()))
    }

    /// The strong entity tag of the content with this [`hash`] in this coding.
    pub(crate) fn etag(self, hash: &str) -> HeaderValue {
        let mut tag = String::with_capacity(40);
        tag.push('"');
        tag.push_str(hash);
        if self != ContentCoding::Identity {
            tag.push('-');
            tag.push_str(self.token());
        }
        tag.push('"');
        HeaderValue::try_from(tag).expect("hexadecimal and a token are ASCII")
    }

    /// Encodes a body into an allocation of exactly its length, because the result is cached.
    pub(crate) fn encode(self, plain: Bytes) -> Bytes {
        const IN_MEMORY: &str = "compression in memory does not fail";
        let encoded = match self {
            ContentCoding::Identity => return plain,
            ContentCoding::Brotli => {
                let mut out = Vec::with_capacity(plain.len() / 4);
                let parameters = brotli::enc::BrotliEncoderParams { quality: 5, lgwin: 19, ..Default::default() };
                brotli::BrotliCompress(&mut &plain[..], &mut out, &parameters).expect(IN_MEMORY);
                out
            }
            ContentCoding::Zstd => zstd::bulk::compress(&plain, 3).expect(IN_MEMORY),
            ContentCoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(&plain).expect(IN_MEMORY);
                encoder.finish().expect(IN_MEMORY)
            }
        };
        encoded.into_boxed_slice().into()
    }
}

/// The first half of SHA-256 in hexadecimal.
pub(crate) fn hash(plain: &[u8]) -> String {
    hex::encode(&Sha256::digest(plain)[..16])
}

/// The weights of `Accept-Encoding` in thousandths; `None` for codings that it does not name.
#[derive(Default)]
struct AcceptEncoding {
    named: [Option<u16>; 4],
    /// The weight of `*`.
    any: Option<u16>,
}

impl AcceptEncoding {
    /// The first weight of a coding counts.
    fn from_headers(headers: &HeaderMap) -> AcceptEncoding {
        let mut accepted = AcceptEncoding::default();
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for entry in values.flat_map(|value| value.split(',')) {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
            let slot = match name {
                "*" => &mut accepted.any,
                name => match ContentCoding::ALL.into_iter().find(|coding| coding.matches(name)) {
                    Some(coding) => &mut accepted.named[coding as usize],
                    None => continue,
                },
            };
            slot.get_or_insert((weight * 1_000.0) as u16);
        }
        accepted
    }
}

/// Whether `If-None-Match` names this entity tag, by weak comparison (RFC 9110, 13.1.2).
pub(crate) fn if_none_match(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accepted: &str) -> ContentCoding {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(accepted).expect("ASCII"));
        ContentCoding::negotiate(&headers, 10_000)
    }

    #[test]
    fn weights_of_the_client_come_before_the_servers_preference() {
        assert_eq!(negotiate("gzip, deflate, br, zstd"), ContentCoding::Brotli);
        assert_eq!(negotiate("gzip, zstd"), ContentCoding::Zstd);
        assert_eq!(negotiate("br;q=0.5, gzip;q=0.9"), ContentCoding::Gzip);
        assert_eq!(negotiate("br;q=0, *"), ContentCoding::Zstd);
        assert_eq!(negotiate("*;q=0"), ContentCoding::Identity);
        assert_eq!(negotiate("gzip;q=0.5, identity;q=1"), ContentCoding::Identity);
        assert_eq!(negotiate("gzip, identity"), ContentCoding::Gzip);
        assert_eq!(negotiate("deflate"), ContentCoding::Identity);
        assert_eq!(ContentCoding::negotiate(&HeaderMap::new(), 10_000), ContentCoding::Identity);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        assert_eq!(ContentCoding::negotiate(&headers, 100), ContentCoding::Identity, "a small body is not compressed");
    }

    #[test]
    fn encoded_bodies_can_be_decoded() {
        let plain = Bytes::from("чайник ".repeat(2_000));
        let gzip = ContentCoding::Gzip.encode(plain.clone());
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut read).expect("gzip");
        assert_eq!(read, plain);
        let zstd = ContentCoding::Zstd.encode(plain.clone());
        assert_eq!(zstd::bulk::decompress(&zstd, plain.len()).expect("zstd"), plain);
        let mut read = Vec::new();
        brotli::BrotliDecompress(&mut &ContentCoding::Brotli.encode(plain.clone())[..], &mut read).expect("brotli");
        assert_eq!(read, plain);
    }

    #[test]
    fn each_coding_has_its_own_entity_tag() {
        let tags = [ContentCoding::Brotli, ContentCoding::Gzip, ContentCoding::Identity]
            .map(|coding| coding.etag(&hash(b"[]")));
        assert_eq!(tags[2], "\"4f53cda18c2baa0c0354bb5f9a3ecbe5\"", "the first half of SHA-256 of []");
        assert_eq!(tags[0], "\"4f53cda18c2baa0c0354bb5f9a3ecbe5-br\"");
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"x\", W/\"4f53cda18c2baa0c0354bb5f9a3ecbe5-br\""));
        assert!(if_none_match(&headers, &tags[0]) && !if_none_match(&headers, &tags[1]));
    }

    #[test]
    fn fuzz_accept_encoding() {
        let seeds = [
            "gzip, deflate, br, zstd",
            "br;q=0.5, gzip;q=0.9, *;q=0.1",
            "identity;q=0, *;q=0",
            "x-gzip;level=5;Q=1.000, ZSTD ; q=0.001",
        ];
        let words =
            ["gzip", "br", "zstd", "identity", "*", ";q=", "q=0", "q=1.0", "q=NaN", "q=inf", "q=-1", ", ", "\t"];
        let outcomes = crate::foundation::fuzz::fuzz(&seeds, &words, |input| {
            let Ok(value) = HeaderValue::from_bytes(input) else { return "not a header".to_owned() };
            let text = value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value);
            let coding = ContentCoding::negotiate(&headers, 10_000);
            assert_eq!(ContentCoding::negotiate(&headers, 10), ContentCoding::Identity);
            let is_named = coding == ContentCoding::Identity || text.contains('*') || text.contains(coding.token());
            assert!(is_named, "{coding:?} was not offered by {text:?}");
            // A coding whose own first weight is 0 is never used.
            let refuses = |entry: &str| {
                let weight = entry.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
                matches!(weight, Some("0" | "0.0"))
            };
            let mut own = text.split(',').filter(|entry| coding.matches(entry.split(';').next().unwrap_or("").trim()));
            assert!(coding == ContentCoding::Identity || !own.next().is_some_and(refuses), "{coding:?} in {text:?}");
            // Adding spaces around the separators changes nothing.
            let spaced = text.replace(',', " , ").replace(';', " ; ");
            if let Ok(spaced) = HeaderValue::from_str(&spaced) {
                headers.insert(ACCEPT_ENCODING, spaced);
                assert_eq!(ContentCoding::negotiate(&headers, 10_000), coding, "{text:?}");
            }
            coding.token().to_owned()
        });
        outcomes.assert_seen(&["br", "zstd", "gzip", "identity", "not a header"]);
    }

    #[test]
    fn fuzz_if_none_match() {
        let etag = ContentCoding::Brotli.etag("4f53cda18c2baa0c0354bb5f9a3ecbe5");
        let tag = etag.to_str().expect("ASCII");
        let seeds = [tag.to_owned(), format!("W/{tag}, \"x\""), "*".to_owned(), "\"a,b\", \"\"".to_owned()];
        let outcomes = crate::foundation::fuzz::fuzz(&seeds, &[tag, "W/", "\"", ", ", "*", "-br"], |input| {
            let Ok(value) = HeaderValue::from_bytes(input) else { return "not a header".to_owned() };
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, value);
            if !if_none_match(&headers, &etag) {
                return "changed".to_owned();
            }
            let text = String::from_utf8_lossy(input);
            assert!(text.contains(tag) || text.contains('*'), "304 for {text:?}");
            "not modified".to_owned()
        });
        outcomes.assert_seen(&["changed", "not modified"]);
    }
}
