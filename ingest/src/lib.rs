//! OTLP in: the gRPC services, the HTTP service, and the conversion of their requests to Arrow.
//!
//! ```text
//! gRPC --> grpc/ --+                                  JSON --> otlp_json/ --+
//!                  +--> body.rs (bounded bytes) --> export.rs --> protobuf -+-> convert/ --> storage append --> answer
//! HTTP --> http/ --+
//! ```
//!
//! | file | purpose |
//! |---|---|
//! | `grpc/` | the three services and their framing |
//! | `http/` | the three paths, content types, answers |
//! | `body.rs` | receives and inflates a body within bounds |
//! | `room.rs` | the memory that requests under way share |
//! | `quota.rs` | what a tenant may send in a second |
//! | `export.rs` | [`Ingest`]: the one path that every request of every signal takes |
//! | `export/backfill.rs` | rows that an Arrow client sends, as requests on that path |
//! | `otlp_json/` | OTLP's JSON to its protobuf bytes |
//! | `convert/` | request bytes to a batch, pure and synchronous |
//! | `decode.rs` | [`OtlpDecoder`]: the same conversion for the replay of the log |
//! | `fuzzing.rs` | what the targets in `fuzz/` call |
//! | `partial_success.rs` | what a sender is told about rejected records |
//! | `rejections.rs` | what goes on record about them |
//! | `status.rs` | errors as codes with OTLP's rules on retries: the only such function |
//!
//! **Invariants**
//! - Success is answered only after storage has made the rows durable and visible.
//! - Records sent = rows stored + records reported as rejected, always.
//! - A client that hangs up does not undo what it handed over.

mod body;
mod config;
mod convert;
mod decode;
mod error;
mod export;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod http;
mod otlp_json;
mod partial_success;
mod quota;
mod rejections;
mod room;
mod status;
#[cfg(test)]
mod testing;

pub use self::http::HttpService;
pub use body::SizeLimit;
pub use config::Config;
pub use convert::{MAX_PAYLOAD_BYTES, Restored};
pub use decode::OtlpDecoder;
pub use error::{Error, Result};
pub use export::Ingest;
pub use grpc::{LogsService, MetricsService, TraceService};
pub use otlp_json::JsonError;
