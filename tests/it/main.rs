//! Integration tests: the whole server, from an OTLP request to the Arrow batches that come back.
//!
//! | file | what it shows |
//! |---|---|
//! | `fixture/` | a server in this process or in its own, and clients of both sides |
//! | `auth.rs` | who gets in, and what each role may do |
//! | `tenancy.rs`, `tenancy/` | no answer depends on what another tenant stored |
//! | `ingest.rs` | every field and metric type as SQL sees it; what is rejected is counted |
//! | `otlp_http.rs` | the HTTP port: formats, compressions, connections, refusals |
//! | `otlp_contract.rs`, `otlp_contract/` | overload, sizes, times and retries, on both transports alike |
//! | `rejections.rs` | what was refused, as `system.ingest_rejections` lists it |
//! | `deletion.rs` | `DELETE` and `VACUUM`: who may, what goes, and that nothing of others does |
//! | `query.rs` | the queries of the README; the same rows from the buffer and from files; streaming |
//! | `metric_functions.rs` | functions over data points, views, and every statement of `docs/sql.md` |
//! | `long_queries.rs` | who sees, cancels and polls the queries of whom |
//! | `endpoints.rs` | a big result by several clients at once |
//! | `prepared.rs`, `metadata.rs` | the parts of Flight SQL that drivers use |
//! | `exporter.rs` | what the official Rust exporter sends comes back, by every protocol |
//! | `bad_input.rs` | each mistake gets its own error, and the server stays up |
//! | `backfill.rs` | rows of Arrow clients in the tables of telemetry |
//! | `backup.rs` | a running server backed up and restored, and what goes wrong there |
//! | `verify.rs` | damaged files and catalogs: what queries, the start and `alula verify` say |
//! | `loss.rs` | a loss degrades health until an operator acknowledges it |
//! | `compat.rs` | data directories of earlier versions, as they were written |
//! | `shutdown.rs` | what a drain finishes and leaves behind |
//! | `retention.rs` | what is past its retention goes, of one tenant and not of another |
//! | `cli.rs` | the command line as scripts use it |
//!
//! One binary, as each more would link DataFusion again. Every test has a server and a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod auth;
mod backfill;
mod backup;
mod bad_input;
mod cli;
mod compat;
mod deletion;
mod endpoints;
mod exporter;
mod fixture;
mod ingest;
mod long_queries;
mod loss;
mod metadata;
mod metric_functions;
mod otlp_contract;
mod otlp_http;
mod prepared;
mod query;
mod rejections;
mod retention;
mod shutdown;
mod tenancy;
mod verify;
