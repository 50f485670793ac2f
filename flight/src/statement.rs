//! Running statements: what `GetFlightInfo` promises and what `DoGet` then streams.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::{Stream, StreamExt};

use crate::context::QueryContext;
use crate::encode::Encoder;
use crate::parameters::Bound;
use crate::plan::Planned;
use crate::runtime::{Produced, QueryRuntime};
use crate::ticket::SignedStatement;
use crate::update::is_vacuum;
use crate::wire::to_wire;
use crate::{Error, Result};

/// Plans a statement with its parameters and gives the schema of its rows. Nothing runs.
pub(crate) async fn promise(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
) -> Result<SchemaRef> {
    runtime
        .run(async move {
            let planned = Planned::try_new(context, &statement.sql).await?;
            Ok(planned.bind(Bound::from_bytes(&statement.parameters)?)?.wire_schema())
        })
        .await
}

/// Plans a statement and streams its rows while it runs: the schema first and at once, then batches.
///
/// Cancel: dropping the stream ends the query.
///
/// # Errors
/// What is wrong with the statement is an error of this call; what happens while rows flow is an error item.
pub(crate) async fn stream(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
) -> Result<impl Stream<Item = Result<FlightData>> + Send + use<>> {
    let timeout = timeout(runtime, &statement.sql);
    let mut messages: Produced<FlightData> = runtime.produce(timeout, |sender| async move {
        let planned = Planned::try_new(context, &statement.sql).await?;
        let planned = planned.bind(Bound::from_bytes(&statement.parameters)?)?;
        let promised = planned.wire_schema();
        let mut rows = planned.execute().await?;
        let mut encoder = Encoder::new();
        if !sender.send(encoder.schema_message(&promised)).await {
            return Ok(());
        }
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            for message in encoder.encode(&to_wire(&batch, &promised)?)? {
                if !sender.send(message).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    // Waiting for the schema turns a statement that cannot be planned into a status without a stream.
    let schema = messages.next().await.ok_or(Error::ShuttingDown)??;
    Ok(futures::stream::iter([Ok(schema)]).chain(messages))
}

/// Runs a statement that changes something. Returns how many rows it concerned.
///
/// # Errors
/// `NotAnUpdate` — it is a query.
pub(crate) async fn update(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
) -> Result<i64> {
    let timeout = timeout(runtime, &statement.sql);
    let work = async move {
        let planned = Planned::try_new(context, &statement.sql).await?;
        planned.bind(Bound::from_bytes(&statement.parameters)?)?.update().await
    };
    runtime.run_within(timeout, work).await
}

/// The longest that a statement may run. One that waits for work in the background takes no query thread.
fn timeout(runtime: &QueryRuntime, sql: &str) -> Option<Duration> {
    runtime.timeout().filter(|_| !is_vacuum(sql))
}
