//! Integration tests: the whole server, from an OTLP request to the Arrow batches that come back.
//!
//! | file | what it shows |
//! |---|---|
//! | `fixture/` | a server in this process or in its own, and clients of both sides |
//! | `auth.rs` | who gets in, and what each role may do |
//! | `tenancy.rs`, `tenancy/` | no answer depends on what another tenant stored |
//! | `ingest.rs` | every field and metric type as SQL sees it; what is rejected is counted |
//! | `query.rs` | the queries of the README; the same rows from the buffer and from files; streaming |
//! | `prepared.rs`, `metadata.rs` | the parts of Flight SQL that drivers use |
//! | `bad_input.rs` | each mistake gets its own error, and the server stays up |
//! | `shutdown.rs` | what a drain finishes and leaves behind |
//! | `cli.rs` | the command line as scripts use it |
//!
//! One binary, as each more would link DataFusion again. Every test has a server and a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod auth;
mod bad_input;
mod cli;
mod fixture;
mod ingest;
mod metadata;
mod prepared;
mod query;
mod shutdown;
mod tenancy;
