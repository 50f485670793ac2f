//! OTLP in: the three export services, and the conversion of their requests to Arrow.
//!
//! ```text
//! gRPC --> grpc/ (raw message bytes) --> export.rs --> convert/ (rows, rejections) --> storage append --> answer
//!                                           |
//!                          bounds on size, memory and concurrency
//! ```
//!
//! | file | purpose |
//! |---|---|
//! | `grpc/` | the services: a codec that leaves messages as bytes, and the paths |
//! | `export.rs` | [`Ingest`]: the one path that every request of every signal takes |
//! | `convert/` | request bytes to a batch, pure and synchronous |
//! | `decode.rs` | [`OtlpDecoder`]: the same conversion for the replay of the log |
//! | `partial_success.rs` | what a sender is told about rejected records |
//! | `status.rs` | errors as gRPC statuses with OTLP's rules on retries: the only such function |
//!
//! **Invariants**
//! - Success is answered only after storage has made the rows durable and visible.
//! - Records sent = rows stored + records reported as rejected, always.
//! - A client that hangs up does not undo what it handed over.

mod config;
mod convert;
mod decode;
mod error;
mod export;
mod grpc;
mod partial_success;
mod status;
#[cfg(test)]
mod testing;

pub use config::Config;
pub use convert::MAX_PAYLOAD_BYTES;
pub use decode::OtlpDecoder;
pub use error::{Error, Result};
pub use export::Ingest;
pub use grpc::{LogsService, MetricsService, TraceService};
