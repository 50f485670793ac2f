//! What the targets do with the bytes that they are given: one function for each, and it panics when something is wrong.
//!
//! | file | purpose |
//! |---|---|
//! | `conversion.rs` | `protobuf`, `json`, `round_trip`: requests and what becomes of them |
//! | `request.rs` | what the three signals have in common |
//! | `json_text.rs` | requests as JSON text |
//! | `body.rs` | `http_body`, `grpc_message`: bodies in pieces |
//! | `flight.rs` | `flight_command`, `flight_put`: what clients of Flight SQL send |
//! | `memory.rs` | how much memory a step takes |
//!
//! The generator of requests, what brings them into a form that can be compared and the JSON encoder are those of the unit tests of
//! `alula-ingest`, included by their paths. So are two modules of `alula-flight`: the crate needs DataFusion, and they do not.

#![forbid(unsafe_code)]

mod body;
mod conversion;
#[path = "../../ingest/src/convert/tests/draw.rs"]
mod draw;
mod flight;
mod json_text;
mod memory;
mod request;
#[path = "../../ingest/src/convert/restore/split.rs"]
mod split;

pub use body::{grpc_message, http_body};
pub use conversion::{json, protobuf, round_trip};
pub use flight::{flight_command, flight_put};

// What the modules of alula-flight take from their crate.
use flight::{Error, Result};
