//! Prepared statements without server state: the handle is the statement, signed.
//!
//! JDBC prepares every query, so preparing only plans. Binding answers with a new handle that holds the values. Because
//! some clients go on with the old one, `bindings.rs` remembers for a while what was bound to it.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::Stream;
use tonic::Status;

use crate::command::JsonQuery;
use crate::context::QueryContext;
use crate::panics::Distrusted;
use crate::parameters::Bound;
use crate::parse::parse;
use crate::plan::Planned;
use crate::received::{self, MAX_PARAMETER_BYTES, read_bounded};
use crate::runtime::QueryRuntime;
use crate::ticket::SignedStatement;
use crate::{Error, Result};

/// What a client learns of a statement when it prepares it.
pub(crate) struct Prepared {
    /// The rows, as far as known before values are bound.
    pub(crate) dataset: SchemaRef,
    pub(crate) parameters: SchemaRef,
    /// Whether it changes something.
    pub(crate) is_update: bool,
}

/// Plans a statement. Nothing runs.
pub(crate) async fn prepare(runtime: &QueryRuntime, context: QueryContext, sql: String) -> Result<Prepared> {
    runtime
        .run(async move {
            let planned = Planned::try_new(context, &sql).await?;
            Ok(Prepared {
                dataset: planned.dataset_schema(),
                parameters: planned.parameter_schema(),
                is_update: planned.is_update(),
            })
        })
        .await
}

/// Reads the rows of values from `messages` and gives the statement with these values.
pub(crate) async fn bind(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<SignedStatement> {
    let batches = decode(runtime, messages).await?;
    bind_values(runtime, context, statement, batches).await
}

/// The same where the statement may have its values already: some clients bind when they run it.
pub(crate) async fn rebind(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<SignedStatement> {
    let batches = decode(runtime, messages).await?;
    // No columns are no values; columns without rows are values for no run at all.
    if batches.iter().all(|batch| batch.num_columns() == 0) {
        return Ok(statement);
    }
    bind_values(runtime, context, statement, batches).await
}

/// Plans a statement that came with the values of its parameters.
pub(crate) async fn bind_json(
    runtime: &QueryRuntime,
    context: QueryContext,
    query: JsonQuery,
) -> Result<SignedStatement> {
    let statement = SignedStatement::unbound(query.sql.clone(), context.settings.clone());
    if !query.has_params() {
        return Ok(statement);
    }
    let limit = context.max_sql_bytes;
    let row = runtime.run(async move { query.row(&parse(&query.sql, limit)?.parameters) }).await?;
    bind_values(runtime, context, statement, vec![row]).await
}

async fn bind_values(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    batches: Vec<RecordBatch>,
) -> Result<SignedStatement> {
    runtime
        .run(async move {
            let planned = Planned::try_new(context, &statement.sql).await?;
            let bound = Bound::from_batches(&planned.parameters, &batches)?;
            let parameters = bound.to_bytes()?;
            // A value may be longer in the type that the statement expects.
            if parameters.len() > MAX_PARAMETER_BYTES {
                return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
            }
            // Fails here, and not when rows are fetched, if the values do not suit the statement.
            planned.bind(bound)?;
            Ok(SignedStatement { parameters, ..statement })
        })
        .await
}

/// Decodes what a client sent. Arrow checks it; where it panics instead, that is the client's mistake too.
async fn decode(
    runtime: &QueryRuntime,
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<Vec<RecordBatch>> {
    let messages = read_bounded(messages).await?;
    runtime.run(Distrusted(Box::pin(received::decode(messages)))).await.map_err(|error| match error {
        Error::Panicked(panic) => Error::MalformedParameters(Box::new(panic)),
        other => other,
    })
}
