//! Settings of ingest.

use std::num::NonZeroU64;
use std::time::Duration;

/// What one request may be, and how much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest request over gRPC, after decompression. At most [`crate::MAX_PAYLOAD_BYTES`] take effect.
    pub max_message_bytes: usize,
    /// The same over HTTP.
    pub max_http_message_bytes: usize,
    /// The bytes of all requests that are coming in, being converted or waiting for the disk; past that, requests are
    /// refused at once. Must not be less than the two above.
    pub max_in_flight_bytes: usize,
    /// What a tenant may send a second, after decompression; none for any amount.
    pub tenant_bytes_per_second: Option<NonZeroU64>,
    /// How far a record's timestamp may lie after the time of receipt.
    pub max_future: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // OTLP names 4 MiB as the typical limit for gRPC, and clients are tuned to it.
            max_message_bytes: 4 * 1024 * 1024,
            // What OTLP recommends for HTTP.
            max_http_message_bytes: 20 * 1024 * 1024,
            max_in_flight_bytes: 64 * 1024 * 1024,
            tenant_bytes_per_second: None,
            max_future: Duration::from_hours(1),
        }
    }
}
