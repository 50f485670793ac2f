//! Flight SQL over the tenant's tables.
//!
//! | file | purpose |
//! |---|---|
//! | `service.rs` | the Flight service: a switchboard without logic |
//! | `service/` | what each call does |
//! | `caller.rs`, `settings.rs` | who calls, and what that client has chosen |
//! | `command.rs`, `action.rs`, `handshake.rs` | what a message asks for |
//! | `statement.rs`, `prepared.rs` | running statements; preparing and binding them |
//! | `update.rs`, `update/` | the statements that change something: `DELETE`, `VACUUM` |
//! | `ticket.rs` | signed tickets and handles, which carry no authority |
//! | `metadata.rs`, `sql_info.rs`, `xdbc_type_info.rs` | what the server says of itself and its tables |
//! | `context.rs` | from a principal to a session: the only way to rows |
//! | `information_schema.rs`, `views.rs` | what is in a session: tables about tables, views |
//! | `functions.rs`, `aggregates.rs`, `metric_functions/` | the functions and operators of a session |
//! | `dialect.rs`, `parse.rs`, `inlining.rs`, `parameters.rs`, `plan.rs` | from SQL text to a stream of batches |
//! | `runtime.rs` | the threads that all of it runs on |
//! | `wire.rs`, `wire/`, `encode.rs` | from batches to messages that every client reads |
//! | `status.rs`, `error.rs` | what goes wrong, and what a client is told |
//!
//! **Invariants**
//! - A session is made from a principal and holds the tables of its tenant alone.
//! - SQL only reads, but for what `update.rs` lets an administrator do to the own tenant.
//! - The schema promised for a statement is the schema of its stream, field by field, also without rows.
//! - A stream ends cleanly only when all of its rows were sent.

mod action;
mod aggregates;
mod caller;
mod command;
mod context;
mod dialect;
mod encode;
mod error;
mod functions;
mod handshake;
mod information_schema;
mod inlining;
mod metadata;
mod metric_functions;
mod parameters;
mod parse;
mod plan;
mod prepared;
mod runtime;
mod service;
mod settings;
mod sql_info;
mod statement;
mod status;
mod ticket;
mod update;
mod views;
mod wire;
mod xdbc_type_info;

use std::fmt;
use std::sync::Arc;

use alula_storage::Storage;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};

pub use context::Config;
pub use error::{Error, Result};

use context::QueryEngine;
use runtime::QueryRuntime;
use service::Service;
use sql_info::SqlInfos;
use ticket::Signer;

/// The largest message taken: bound parameters, and tickets with long statements.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// The Flight SQL side of a server. Clones share it.
#[derive(Clone)]
pub struct FlightSql {
    service: Arc<Service>,
}

impl fmt::Debug for FlightSql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightSql").finish_non_exhaustive()
    }
}

impl FlightSql {
    /// Starts the query threads.
    ///
    /// # Errors
    /// `Engine` — the spill directory cannot be made. `Threads` — the system gives no threads.
    pub fn new(storage: Storage, config: &Config) -> Result<Self> {
        let engine = QueryEngine::try_new(storage, config)?;
        let sql_infos = SqlInfos::try_new(&engine, config)?;
        let runtime = QueryRuntime::try_new(config.target_partitions, config.statement_timeout)?;
        let signer = Signer::new(&config.signing_key);
        Ok(Self { service: Arc::new(Service { runtime, engine, signer, sql_infos }) })
    }

    /// The gRPC service. It expects a principal in the extensions of every request.
    pub fn into_server(self) -> FlightServiceServer<impl FlightService> {
        FlightServiceServer::from_arc(self.service).max_decoding_message_size(MAX_DECODED_BYTES)
    }

    /// Ends every running query with an error and refuses new ones. Does not wait.
    pub fn shutdown(&self) {
        self.service.runtime.shutdown();
    }
}

#[cfg(test)]
mod tests;
