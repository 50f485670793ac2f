//! Limits that both ports have on connections.

use std::time::Duration;

/// Connections open at one time on one port; more are closed as they come.
pub(super) const MAX_CONNECTIONS: usize = 2_000;
/// Calls on one connection at a time. More wait in the client.
pub(super) const MAX_CONCURRENT_STREAMS: u32 = 200;
/// JDBC and ODBC send each URL property as a header; hyper's default of 16 KiB turns long URLs away.
pub(super) const MAX_HEADER_LIST_BYTES: u32 = 64 << 10;
/// Bytes on their way that the sender need not wait for. A whole OTLP request of the default limit fits.
pub(super) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
pub(super) const MAX_FRAME_BYTES: u32 = 1 << 20;
/// A peer that is gone is noticed after the sum of both.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that a client opened and reset before they were looked at ("rapid reset").
///
/// Source: CVE-2023-44487.
pub(super) const MAX_PENDING_RESETS: usize = 20;
pub(super) const MAX_LOCAL_ERROR_RESETS: usize = 1024;
