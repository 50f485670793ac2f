//! Running statements: what `GetFlightInfo` promises and what `DoGet` then streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::vec::IntoIter;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::FlightData;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

use crate::context::QueryContext;
use crate::encode::Encoder;
use crate::parameters::Bound;
use crate::parts::Part;
use crate::plan::Planned;
use crate::queries::{Query, Running, State};
use crate::runtime::{Produced, QueryRuntime};
use crate::ticket::{Promise, SignedStatement};
use crate::update::is_vacuum;
use crate::wire::{Profile, to_wire_parts};
use crate::{Error, Result};

/// Plans a statement with its parameters. Nothing runs. It belongs on the query threads.
///
/// # Errors
/// `OtherColumns` — its rows have not the columns that the client was told of.
pub(crate) async fn planned(context: QueryContext, statement: &SignedStatement) -> Result<Planned> {
    let planned = Planned::try_new(context, &statement.sql).await?;
    let promise = statement.promise;
    if matches!(promise, Some(Promise::Unbound(_)))
        && promise != Some(Promise::unbound(&planned.dataset_schema())?)
    {
        return Err(Error::OtherColumns);
    }
    let planned = planned.bind(Bound::from_bytes(&statement.parameters)?)?;
    if matches!(promise, Some(Promise::Bound(_))) && promise != Some(Promise::bound(&planned.wire_schema())?)
    {
        return Err(Error::OtherColumns);
    }
    Ok(planned)
}

/// Plans a statement with its parameters and gives the schema of its rows. Nothing runs.
pub(crate) async fn promise(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
) -> Result<SchemaRef> {
    runtime.run(async move { Ok(planned(context, &statement).await?.wire_schema()) }).await
}

/// The same, and the parts that the rows can be fetched in, `most` at most; none if they are fetched as a whole.
pub(crate) async fn promise_parts(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    most: usize,
) -> Result<(SchemaRef, Vec<Part>)> {
    runtime
        .run(async move {
            let planned = planned(context, &statement).await?;
            Ok((planned.wire_schema(), planned.parts(most)?))
        })
        .await
}

/// The rows of a statement that runs, as messages. It belongs on the query threads.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    batches: SendableRecordBatchStream,
    /// What is left of the last batch.
    parts: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    encoder: Encoder,
    query: Arc<Query>,
}

impl Rows {
    /// Plans a statement and starts it.
    ///
    /// # Errors
    /// `AlreadyRun` — it changes something, and this query has been run.
    pub(crate) async fn open(
        context: QueryContext,
        statement: &SignedStatement,
        query: Arc<Query>,
    ) -> Result<Self> {
        let queries = Arc::clone(&context.queries);
        let planned = planned(context, statement).await?;
        if planned.is_update() {
            queries.run_once(&query)?;
        }
        Box::pin(Self::of(planned, statement, query)).await
    }

    /// Starts a statement.
    pub(crate) async fn of(planned: Planned, statement: &SignedStatement, query: Arc<Query>) -> Result<Self> {
        let schema = planned.wire_schema();
        let batches = planned.execute().await?;
        let encoder = Encoder::new(statement.settings.wire_profile());
        Ok(Self { schema, batches, parts: Box::new(std::iter::empty()), encoder, query })
    }

    pub(crate) fn schema_message(&mut self) -> FlightData {
        self.encoder.schema_message(&self.schema)
    }

    /// The messages of the next rows.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<FlightData>>> {
        loop {
            if let Some(part) = self.parts.next() {
                let part = part?;
                self.query.sends_rows(part.num_rows());
                return Ok(Some(self.encoder.encode(&part)?));
            }
            let Some(batch) = self.batches.next().await else { return Ok(None) };
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.parts = Box::new(to_wire_parts(&batch, &self.schema));
            }
        }
    }
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
    mut running: Running,
    keep_alive: Duration,
) -> Result<Answer<Produced<FlightData>>> {
    let query = Arc::clone(running.query());
    let context = context.of_query(&query);
    let mut messages: Produced<FlightData> = runtime.produce(&running.query().stop, |sender| async move {
        let mut rows = Box::pin(Rows::open(context, &statement, Arc::clone(&query))).await?;
        if !sender.send(rows.schema_message()).await {
            return Ok(());
        }
        while let Some(messages) = rows.next().await? {
            query.enter(State::Streaming);
            for message in messages {
                if !sender.send(message).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    // Waiting for the schema turns a statement that cannot be planned into a status without a stream.
    match messages.next().await.ok_or(Error::ShuttingDown).flatten() {
        Ok(schema) => Ok(Answer::new(schema, messages, running, Some(keep_alive))),
        Err(error) => {
            running.fail(&error);
            Err(error)
        }
    }
}

/// Messages on their way to the client: the schema, then `messages`. Where these are silent for long, an empty batch shows
/// that the stream lives; a message without a batch would end some clients.
pub(crate) struct Answer<S: Stream<Item = Result<FlightData>> + Unpin> {
    schema: FlightData,
    is_begun: bool,
    messages: S,
    running: Running,
    silence: Option<Silence>,
}

struct Silence {
    limit: Duration,
    elapsed: Pin<Box<Sleep>>,
    /// Whether `elapsed` counts from the last message.
    is_counted: bool,
    /// Whether the client has a batch already, and with it dictionaries.
    has_batch: bool,
    /// What is still to be sent of an empty batch: the batch itself comes behind its dictionaries.
    messages: IntoIter<FlightData>,
}

impl<S: Stream<Item = Result<FlightData>> + Unpin> Answer<S> {
    pub(crate) fn new(
        schema: FlightData,
        messages: S,
        running: Running,
        keep_alive: Option<Duration>,
    ) -> Self {
        let silence = keep_alive.map(|limit| {
            let elapsed = Box::pin(sleep(limit));
            Silence { limit, elapsed, is_counted: false, has_batch: false, messages: Vec::new().into_iter() }
        });
        Self { schema, is_begun: false, messages, running, silence }
    }
}

impl Silence {
    /// Ready when there has been nothing to send for long.
    fn poll(&mut self, schema: &FlightData, cx: &mut Context<'_>) -> Poll<FlightData> {
        if !self.is_counted {
            self.elapsed.as_mut().reset(Instant::now() + self.limit);
            self.is_counted = true;
        }
        ready!(self.elapsed.poll_unpin(cx));
        self.messages = empty_batch(schema, !self.has_batch).into_iter();
        self.has_batch = true;
        self.is_counted = false;
        self.messages.next().map_or(Poll::Pending, Poll::Ready)
    }

    /// Something else is sent.
    fn ends(&mut self) {
        self.is_counted = false;
        self.has_batch = true;
    }
}

impl<S: Stream<Item = Result<FlightData>> + Unpin> Stream for Answer<S> {
    type Item = Result<FlightData>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let message = if this.is_begun {
            if let Some(message) = this.silence.as_mut().and_then(|silence| silence.messages.next()) {
                return Poll::Ready(Some(Ok(message)));
            }
            match (this.messages.poll_next_unpin(cx), &mut this.silence) {
                (Poll::Ready(next), silence) => {
                    if let Some(silence) = silence {
                        silence.ends();
                    }
                    next
                }
                (Poll::Pending, Some(silence)) => {
                    return silence.poll(&this.schema, cx).map(|message| Some(Ok(message)));
                }
                (Poll::Pending, None) => return Poll::Pending,
            }
        } else {
            this.is_begun = true;
            Some(Ok(this.schema.clone()))
        };
        match &message {
            Some(Ok(message)) => {
                let bytes = message.data_header.len() + message.data_body.len();
                this.running.query().sent_bytes(bytes);
            }
            Some(Err(error)) => this.running.fail(error),
            None => this.running.finish(),
        }
        Poll::Ready(message)
    }
}

impl<S: Stream<Item = Result<FlightData>> + Unpin> Drop for Answer<S> {
    /// Who hangs up behind the last message has cancelled nothing: some drivers do not wait for the end.
    fn drop(&mut self) {
        // A runtime that is gone has nothing to tell.
        if !self.is_begun || Handle::try_current().is_err() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        if matches!(self.messages.poll_next_unpin(&mut cx), Poll::Ready(None)) {
            self.running.finish_unless_ended();
        }
    }
}

/// A batch without rows. The first of a stream has to have dictionaries, which a later one would replace.
fn empty_batch(schema: &FlightData, is_first: bool) -> Vec<FlightData> {
    let Ok(schema) = Schema::try_from(schema) else { return Vec::new() };
    let schema = Arc::new(schema);
    let mut encoder = Encoder::new(Profile::Safe);
    // Gives the dictionaries the numbers that the stream has for them.
    encoder.schema_message(&schema);
    let mut messages = encoder.encode(&RecordBatch::new_empty(schema)).unwrap_or_default();
    if !is_first {
        messages.drain(..messages.len().saturating_sub(1));
    }
    messages
}

/// Runs a statement that changes something. Returns how many rows it concerned.
///
/// # Errors
/// `NotAnUpdate` — it is a query.
pub(crate) async fn update(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
    running: Running,
) -> Result<i64> {
    let context = context.of_query(running.query());
    let work = async move { planned(context, &statement).await?.update().await };
    let result = runtime.run_until(&running.query().stop, work).await;
    running.end(&result);
    result
}

/// The longest that a statement may run. One that waits for work in the background takes no query thread.
pub(crate) fn timeout(runtime: &QueryRuntime, statement: &SignedStatement) -> Option<Duration> {
    let limit = statement.settings.timeout(runtime.timeout());
    limit.filter(|_| !is_vacuum(&statement.sql) && !statement.settings.tail)
}
