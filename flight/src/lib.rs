//! Flight SQL over the tenant's tables.
//!
//! | file | purpose |
//! |---|---|
//! | `service.rs` | the Flight service: a switchboard without logic |
//! | `service/` | what each call does |
//! | `caller.rs`, `settings.rs` | who calls, and what that client has chosen |
//! | `command.rs`, `command/`, `action.rs`, `handshake.rs` | what a message asks for |
//! | `session.rs`, `session/` | settings that a client keeps for its later calls |
//! | `transaction.rs`, `transaction/` | statements that see the rows of one instant |
//! | `tail.rs`, `tail/` | queries that go on with the rows that come |
//! | `parts.rs`, `parts/` | one query as several tickets |
//! | `statement.rs`, `prepared.rs`, `bindings.rs` | running statements; preparing and binding them |
//! | `received.rs` | Arrow data that clients send |
//! | `panics.rs` | panics of Arrow's that are the doing of a client |
//! | `update.rs`, `update/` | the statements that change something |
//! | `ingest.rs` | bulk ingest into tables of the tenant's own |
//! | `backfill.rs` | the same into `metrics`, `logs` and `traces` |
//! | `seal.rs` | what a client keeps for the server, and cannot alter |
//! | `ticket.rs` | signed tickets and handles, which carry no authority |
//! | `describe.rs`, `metadata.rs`, `metadata/`, `sql_info.rs`, `xdbc_type_info.rs` | what the server says of itself and its tables |
//! | `origins.rs` | which columns of a result are columns of a table |
//! | `context.rs` | from a principal to a session: the only way to rows |
//! | `information_schema.rs`, `views.rs` | what is in a session: tables about tables, views |
//! | `functions.rs`, `aggregates.rs`, `metric_functions/` | the functions and operators of a session |
//! | `dialect.rs`, `parse.rs`, `parse/`, `like_escape.rs`, `time_column.rs`, `inlining.rs`, `parameters.rs`, `parameters/`, `plan.rs` | from SQL text to a stream of batches |
//! | `runtime.rs`, `stop.rs`, `watch/` | the threads that all of it runs on, and how what runs there is ended |
//! | `queries.rs`, `queries/` | what runs and what ran: `system.queries`, cancelling, figures |
//! | `polling.rs`, `polling/` | statements whose client asks from time to time how far they are |
//! | `transport.rs` | deadlines and trailers of calls |
//! | `wire.rs`, `wire/`, `encode.rs`, `encode/` | from batches to messages that every client reads |
//! | `status.rs`, `error.rs` | what goes wrong, and what a client is told |
//!
//! **Invariants**
//! - A session is made from a principal and holds the tables of its tenant alone.
//! - SQL only reads, but for what `update.rs` lets an administrator do to the own tenant, and a writer to its own tables.
//! - Rows of telemetry are stored by what the server brings for it ([`Backfill`]) and by nothing else.
//! - The schema promised for a statement is the schema of its stream, field by field, also without rows.
//! - A stream ends cleanly only when all of its rows were sent.

mod action;
mod aggregates;
mod backfill;
mod bindings;
mod caller;
mod command;
mod context;
mod describe;
mod dialect;
mod encode;
mod error;
mod functions;
mod handshake;
mod information_schema;
mod ingest;
mod inlining;
mod like_escape;
mod metadata;
mod metric_functions;
mod origins;
mod panics;
mod parameters;
mod parse;
mod parts;
mod plan;
mod polling;
mod prepared;
mod queries;
mod received;
mod runtime;
mod seal;
mod service;
mod session;
mod settings;
mod sql_info;
mod statement;
mod status;
mod stop;
mod tail;
mod ticket;
mod time_column;
mod transaction;
mod transport;
mod update;
mod views;
mod watch;
mod wire;
mod xdbc_type_info;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use alula_storage::Storage;

pub use backfill::{Backfill, RowsRequest};
pub use context::Config;
pub use error::{Error, Result};
pub use panics::is_expected_panic;
pub use service::FlightServer;
pub use tail::TailConfig;

use backfill::Backfiller;
use bindings::Bindings;
use context::QueryEngine;
use polling::Polls;
use runtime::QueryRuntime;
use service::Service;
use session::Sessions;
use sql_info::SqlInfos;
use tail::Tails;
use ticket::Signer;
use transaction::Transactions;
use update::writes::Writes;

/// How often it is looked for transactions that nobody uses.
const REAP_INTERVAL: Duration = Duration::from_mins(1);

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
    /// Starts the query threads. Rows that clients ingest into the tables of telemetry go to `backfill`.
    ///
    /// # Errors
    /// `Engine` — the spill directory cannot be made. `Threads` — the system gives no threads.
    pub fn new(storage: Storage, backfill: Arc<dyn Backfill>, config: &Config) -> Result<Self> {
        let engine = QueryEngine::try_new(storage, config)?;
        let sql_infos = Arc::new(SqlInfos::try_new(&engine, config)?);
        let runtime = QueryRuntime::try_new(config.target_partitions, config.statement_timeout)?;
        let polls = Polls::new(engine.disk());
        let service = Service {
            engine,
            backfiller: Backfiller::new(backfill),
            signer: Signer::new(&config.signing_key),
            bindings: Bindings::new(),
            sessions: Sessions::new(&config.signing_key),
            transactions: Arc::new(Transactions::new(&config.signing_key)),
            tails: Arc::new(Tails::new(config.tail)),
            sql_infos,
            polls,
            keep_alive_interval: config.keep_alive_interval,
            runtime,
        };
        service.runtime.spawn(reap(Arc::downgrade(&service.transactions)));
        Ok(Self { service: Arc::new(service) })
    }

    /// The gRPC service. It expects a principal in the extensions of every request.
    pub fn into_server(self) -> FlightServer {
        FlightServer::new(&self.service)
    }

    /// Ends every tail, which would not end by itself, and refuses new ones.
    pub fn end_tails(&self) {
        self.service.tails.end();
    }

    /// Ends every running query with an error and refuses new ones. Does not wait.
    pub fn shutdown(&self) {
        self.service.runtime.shutdown();
    }
}

/// Lets go of what transactions have written that nobody uses.
async fn reap(transactions: Weak<Transactions<Writes>>) {
    let mut ticks = tokio::time::interval(REAP_INTERVAL);
    while let Some(transactions) = transactions.upgrade() {
        transactions.reap();
        drop(transactions);
        ticks.tick().await;
    }
}

#[cfg(test)]
mod tests;
