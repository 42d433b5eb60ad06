//! The section `[limits]`: what clients may hold.

use super::toml_reader::Section;

/// What clients may hold. An address is an IPv4 address or an IPv6 /64 network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Open connections over all addresses of the brand.
    pub connections: usize,
    pub connections_per_address: usize,
    /// Requests in progress, from the arrival of the whole request until its response was written.
    pub requests: usize,
    pub requests_per_address: usize,
    /// The shares of `requests` and `uploads` that reads, and reads and writes together, may take.
    pub reads_percent: u64,
    pub writes_percent: u64,
    /// Requests whose body has not arrived.
    pub uploads: usize,
    pub uploads_per_address: usize,
    /// Bytes of bodies that were received and not processed, and of responses that wait to be sent.
    pub buffered_bytes: u64,
    pub buffered_bytes_per_address: u64,
    pub buffered_bytes_per_connection: u64,
    /// A client that takes less of its responses, averaged over [`Timeouts::slow_read`](super::Timeouts::slow_read), is disconnected.
    pub min_send_bytes_per_s: u32,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Request line and headers.
    pub head_bytes: u32,
    pub body_bytes: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub h2_streams: u32,
}

pub(super) fn read_limits(root: &Section<'_, '_>) -> Limits {
    let help = "Limits of connections and requests. An address is an IPv4 address or an IPv6 /64 network; whole offices and mobile networks \
                may share one. A client that exceeds a limit is refused or disconnected; others are not affected.";
    let section = root.section("limits", help);
    let count = |key, help, default| section.key(key, help).number(1..=1_000_000, default);
    let tenth =
        |key, help, of: u32| section.key(key, help).default("a tenth of all").number(1..=1_000_000, of.div_ceil(10));
    let bytes = |key, help, default| u64::from(section.key(key, help).number(65_536..=u32::MAX, default));
    let connections =
        count("connections", "Open connections over all addresses; to admit more, idle ones are closed.", 10_000);
    let requests = count("requests", "Requests in progress; more are answered with 503 and `Retry-After`.", 2_000);
    let uploads = count("uploads", "Requests whose body has not arrived; more are answered with 503.", 1_000);
    let limits = Limits {
        connections: connections as usize,
        connections_per_address: tenth("connections_per_address", "Open connections of an address; more are closed.", connections)
            as usize,
        requests: requests as usize,
        requests_per_address: tenth("requests_per_address", "Requests in progress of an address.", requests) as usize,
        reads_percent: u64::from(
            section
                .key("reads_percent", "Share of `requests` and `uploads` that reads may take; the rest is for writes.")
                .number(1..=100, 80),
        ),
        writes_percent: u64::from(
            section
                .key(
                    "writes_percent",
                    "Share that reads and writes together may take; the rest is for `/ping`, the bank's notifications and the status of payments.",
                )
                .number(1..=100, 95),
        ),
        uploads: uploads as usize,
        uploads_per_address: tenth("uploads_per_address", "Requests of an address whose body has not arrived.", uploads)
            as usize,
        buffered_bytes: bytes("buffered_bytes", "Bytes of requests, and of responses that are not shared, in memory.", 256 << 20),
        buffered_bytes_per_address: bytes("buffered_bytes_per_address", "The same of one address.", 32 << 20),
        buffered_bytes_per_connection: bytes(
            "buffered_bytes_per_connection",
            "The same of one connection. A single response may be larger.",
            2 << 20,
        ),
        min_send_bytes_per_s: section
            .key(
                "min_send_bytes_per_s",
                "A client that takes less of its responses, averaged over `timeouts.slow_read_ms`, is disconnected; 0: never.",
            )
            .number(0..=1_000_000, 1_000),
        header_fields: section
            .key("header_fields", "Header fields of a request; more are answered with 431.")
            .number(16..=1_000, 100) as usize,
        head_bytes: section
            .key("head_bytes", "Size of a request line with its headers; more is answered with 431.")
            .number(8_192..=1_048_576, 65_536),
        body_bytes: section
            .key("body_bytes", "Size of a request body; more is answered with 413.")
            .number(1_024..=16_777_216, 262_144) as usize,
        h2_streams: section.key("h2_streams", "Concurrent streams of an HTTP/2 connection.").number(1..=1_000, 100),
    };
    section.finish();
    limits
}
