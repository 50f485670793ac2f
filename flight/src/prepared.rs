//! Prepared statements without server state: the handle is the statement, signed.
//!
//! JDBC prepares every query, so preparing only plans. Binding answers with a new handle that holds the values; the
//! old one stays what it was, and closing either has nothing to release.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::context::QueryContext;
use crate::parameters::{Bound, parameter_schema};
use crate::plan::Planned;
use crate::runtime::QueryRuntime;
use crate::ticket::SignedStatement;
use crate::{Error, Result};

/// The most that may be bound, as Arrow data.
const MAX_PARAMETER_BYTES: usize = 4 << 20;

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
                dataset: planned.wire_schema(),
                parameters: parameter_schema(&planned.parameters).into(),
                is_update: planned.is_update(),
            })
        })
        .await
}

/// Reads the row of values from `messages` and gives the statement with these values.
pub(crate) async fn bind(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<SignedStatement> {
    let messages = read_bounded(messages).await?;
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
    let messages = read_bounded(messages).await?;
    let batches = decode(runtime, messages).await?;
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(statement);
    }
    bind_values(runtime, context, statement, batches).await
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
            // Fails here, and not when rows are fetched, if the values do not suit the statement.
            planned.bind(bound)?;
            Ok(SignedStatement { parameters, ..statement })
        })
        .await
}

/// Decodes what a client sent. Arrow checks it; where it panics instead, that is the client's mistake too.
async fn decode(runtime: &QueryRuntime, messages: Vec<FlightData>) -> Result<Vec<RecordBatch>> {
    let decoded = runtime.run(async move {
        let messages = futures::stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
        let batches = FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await;
        batches.map_err(|error| Error::MalformedParameters(Box::new(error)))
    });
    decoded.await.map_err(|error| match error {
        Error::Panicked(panic) => Error::MalformedParameters(Box::new(panic)),
        other => other,
    })
}

async fn read_bounded(
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<Vec<FlightData>> {
    let mut read = Vec::new();
    let mut bytes = 0;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|status| Error::MalformedParameters(Box::new(status)))?;
        // A message counts for more than its data, so that empty ones are bounded too.
        bytes += message.data_header.len() + message.data_body.len() + 64;
        if bytes > MAX_PARAMETER_BYTES {
            return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
        }
        // A bind without parameters may come as a descriptor alone.
        if !message.data_header.is_empty() {
            refuse_compressed(&message.data_header)?;
            read.push(message);
        }
    }
    Ok(read)
}

/// A compressed buffer says how large it becomes, and Arrow's reader allocates that much before it looks further: eight
/// bytes of a client's would end the process.
fn refuse_compressed(header: &[u8]) -> Result<()> {
    // What is no message is left to the decoder, which says so.
    let Ok(message) = root_as_message(header) else { return Ok(()) };
    let dictionary = || message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or_else(dictionary);
    if batch.is_some_and(|batch| batch.compression().is_some()) {
        return Err(Error::Unsupported { what: "compression of bound parameters".to_owned() });
    }
    Ok(())
}
