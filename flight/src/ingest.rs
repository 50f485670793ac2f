//! Bulk ingest: `CommandStatementIngest`, which streams the rows of an Arrow client into a table.
//!
//! Into one of the tenant's own, rows go to disk as they come; a few batches are in memory. The table, and all of the rows, are
//! there when the answer is, or none of it: a client that goes away in the middle leaves nothing.
//!
//! Rows for `metrics`, `logs` and `traces` are only ever appended: `backfill.rs`.

use std::time::Duration;

use alula_catalog::Signal;
use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME};
use alula_storage::{CreateMode, UserTableError, UserTransaction, is_reserved_table_name};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use tonic::Status;

use crate::backfill::Backfiller;
use crate::command::cut;
use crate::context::QueryContext;
use crate::panics::Distrusted;
use crate::received::refuse_costly;
use crate::runtime::QueryRuntime;
use crate::stop::Stop;
use crate::update::target::{Failed, check_role, fill, table_schema, writes_of};
use crate::{Error, Result};

/// The longest that a client may be silent: what it has sent meanwhile counts against the tenant's quota.
const SILENCE: Duration = Duration::from_mins(1);

/// What is asked for.
#[derive(Debug)]
enum Target {
    Telemetry(Signal),
    Own(OwnTable),
}

/// A table of the tenant's own.
#[derive(Debug)]
struct OwnTable {
    table: String,
    if_missing: IfMissing,
    if_there: IfThere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfMissing {
    Create,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfThere {
    Fail,
    Append,
    Replace,
}

impl Target {
    /// # Errors
    /// `Unsupported`, `ForeignSchema`, `NotWritable`, `NotReplaceable` — no such table can be written so. `MalformedMessage`.
    /// `TableExists`, of telemetry.
    fn try_new(command: CommandStatementIngest) -> Result<Self> {
        let CommandStatementIngest { table_definition_options, table, schema, catalog, temporary, .. } =
            command;
        if temporary {
            let what = "a temporary table (ingest into one with a name of your own, and drop it)".to_owned();
            return Err(Error::Unsupported { what });
        }
        let is_other = |given: &Option<String>, own| {
            given.as_ref().is_some_and(|given| !given.is_empty() && given != own)
        };
        if is_other(&catalog, CATALOG_NAME) || is_other(&schema, SCHEMA_NAME) {
            let parts = [catalog, schema, Some(table)].into_iter().flatten().filter(|part| !part.is_empty());
            let name = parts.collect::<Vec<_>>().join(".");
            return Err(Error::ForeignSchema { name: cut(&name).to_owned() });
        }
        let signal = Signal::ALL.into_iter().find(|signal| signal.table_name() == table);
        if signal.is_none() && is_reserved_table_name(&table) {
            return Err(Error::NotWritable { name: table });
        }
        let malformed = |what: &str| {
            let reason = format!("the ingest does not say what to do if the table {what}");
            Error::MalformedMessage { reason }
        };
        let options = table_definition_options.ok_or_else(|| malformed("is there or missing"))?;
        let if_missing = match options.if_not_exist() {
            TableNotExistOption::Create => IfMissing::Create,
            TableNotExistOption::Fail => IfMissing::Fail,
            TableNotExistOption::Unspecified => return Err(malformed("is missing")),
        };
        let if_there = match options.if_exists() {
            TableExistsOption::Fail => IfThere::Fail,
            TableExistsOption::Append => IfThere::Append,
            TableExistsOption::Replace => IfThere::Replace,
            TableExistsOption::Unspecified => return Err(malformed("is there")),
        };
        match (signal, if_there) {
            (None, _) => Ok(Self::Own(OwnTable { table, if_missing, if_there })),
            (Some(signal), IfThere::Append) => Ok(Self::Telemetry(signal)),
            (Some(_), IfThere::Fail) => {
                Err(alula_storage::Error::from(UserTableError::TableExists { table }).into())
            }
            (Some(signal), IfThere::Replace) => Err(Error::NotReplaceable { name: signal.table_name() }),
        }
    }
}

impl OwnTable {
    async fn store(
        &self,
        context: &QueryContext,
        given: &Schema,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<u64> {
        if let Some(writes) = writes_of(context)? {
            let mut turn = writes.turn().await;
            let outcome = self.fill(turn.transaction()?, given, rows).await;
            return turn.settle(outcome);
        }
        let mut transaction = context.storage.begin_user_transaction(&context.tenant);
        let num_rows = self.fill(&mut transaction, given, rows).await.map_err(|failed| failed.error)?;
        transaction.commit().await?;
        Ok(num_rows)
    }

    /// Sees to it that there is a table to append to. Says how it was made, if it was.
    fn prepare(&self, transaction: &mut UserTransaction, given: &Schema) -> Result<Option<CreateMode>> {
        let table = || self.table.clone();
        let is_there = transaction.tables().get(&self.table).is_some();
        let mode = match (is_there, self.if_there, self.if_missing) {
            (true, IfThere::Append, _) => return Ok(None),
            (true, IfThere::Fail, _) => {
                return Err(alula_storage::Error::from(UserTableError::TableExists { table: table() }).into());
            }
            (false, _, IfMissing::Fail) => {
                return Err(alula_storage::Error::from(UserTableError::NoTable { table: table() }).into());
            }
            (true, IfThere::Replace, _) => CreateMode::Replace,
            (false, _, IfMissing::Create) => CreateMode::New,
        };
        transaction.create_table(&self.table, &table_schema(given), mode)?;
        Ok(Some(mode))
    }

    async fn fill(
        &self,
        transaction: &mut UserTransaction,
        given: &Schema,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<u64, Failed> {
        let made = self.prepare(transaction, given)?;
        fill(transaction, &self.table, made, given, rows).await
    }
}

/// Takes the rows in. Returns how many there are.
///
/// Durable: when this returns, unless it belongs to a transaction.
/// Cancel: dropped before it is ready, nothing is stored, or of telemetry a part.
///
/// # Errors
/// `NeedsWrite`; what is wrong with the command or the rows. `SilentIngest` — the client sends nothing. `Storage` — `Conflict`
/// among them: another transaction changed the table; send the rows again. Nothing is stored. `StoredInPart` — of telemetry.
pub(crate) async fn run(
    runtime: &QueryRuntime,
    context: QueryContext,
    backfiller: &Backfiller,
    command: CommandStatementIngest,
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
) -> Result<i64> {
    check_role(&context, "bulk ingest")?;
    let target = Target::try_new(command)?;
    let backfiller = backfiller.clone();
    let taken = runtime.run_until(&Stop::after(None), async move {
        let mut payloads = Distrusted(FlightDataDecoder::new(
            checked(messages, SILENCE).map_err(|error| FlightError::from_external_error(Box::new(error))),
        ));
        let given = schema(&mut payloads).await?;
        let rows = rows(payloads);
        match target {
            Target::Own(table) => table.store(&context, &given, rows).await,
            Target::Telemetry(signal) => match writes_of(&context)? {
                None => backfiller.store(&context.tenant, signal, given, rows).await,
                Some(writes) => {
                    let mut turn = writes.turn().await;
                    backfiller.keep(&context.tenant, signal, given, rows, turn.rows()?).await
                }
            },
        }
    });
    let num_rows = taken.await.map_err(|error| match error {
        // Arrow checks what it decodes; where it panics instead, that is the client's mistake too.
        Error::Panicked(panic) => Error::MalformedRows(Box::new(panic)),
        other => other,
    })?;
    Ok(i64::try_from(num_rows).unwrap_or(i64::MAX))
}

/// Messages with data that may be decoded, as long as rows keep coming: `silence` is how long there may be none.
fn checked(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + Unpin + 'static,
    silence: Duration,
) -> impl Stream<Item = Result<FlightData>> + Send {
    futures::stream::try_unfold((messages, silence), move |(mut messages, mut patience)| async move {
        loop {
            if patience.is_zero() {
                return Err(Error::SilentIngest { limit: silence });
            }
            // What the server takes to write rows does not count.
            let waiting = Instant::now();
            let next = tokio::time::timeout(patience, messages.next()).await;
            patience = patience.saturating_sub(waiting.elapsed());
            let Some(message) = next.map_err(|_| Error::SilentIngest { limit: silence })? else {
                return Ok(None);
            };
            let message = message.map_err(|status| Error::MalformedRows(Box::new(status)))?;
            // A message may be a descriptor alone.
            if !message.data_header.is_empty() {
                refuse_costly(&message, "ingested rows")?;
                if has_rows(&message) {
                    patience = silence;
                }
                return Ok(Some((message, (messages, patience))));
            }
        }
    })
}

fn has_rows(message: &FlightData) -> bool {
    let header = root_as_message(&message.data_header);
    header.is_ok_and(|header| header.header_as_record_batch().is_some_and(|rows| rows.length() > 0))
}

/// The columns, which come before the rows.
async fn schema(payloads: &mut Distrusted<FlightDataDecoder>) -> Result<SchemaRef> {
    match payloads.next().await.transpose().map_err(malformed)? {
        Some(data) => match data.payload {
            DecodedPayload::Schema(schema) => Ok(schema),
            DecodedPayload::RecordBatch(_) | DecodedPayload::None => Err(no_schema()),
        },
        None => Err(no_schema()),
    }
}

fn no_schema() -> Error {
    Error::MalformedMessage { reason: "the rows to ingest begin without a schema".to_owned() }
}

fn rows(payloads: Distrusted<FlightDataDecoder>) -> BoxStream<'static, Result<RecordBatch>> {
    let batches = payloads.map_err(malformed).try_filter_map(|data| async move {
        match data.payload {
            DecodedPayload::RecordBatch(batch) => Ok(Some(batch)),
            DecodedPayload::None => Ok(None),
            DecodedPayload::Schema(_) => {
                Err(Error::MalformedMessage { reason: "the rows to ingest have a second schema".to_owned() })
            }
        }
    });
    batches.boxed()
}

/// An error of our own on its way through the decoder, or one of the decoder's.
fn malformed(error: FlightError) -> Error {
    match error {
        FlightError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::MalformedRows(other),
        },
        other => Error::MalformedRows(Box::new(other)),
    }
}

#[cfg(test)]
mod tests;
