//! Tails: queries that go on with the rows that come.
//!
//! ```text
//! storage tells of an entry -> rows of the entries since the last look -> messages -> again, after a pause
//! ```
//!
//! **Invariants**
//! - Rows come in the order in which their entries were acknowledged, each once.
//! - The `cursor` in a message says: every row up to this entry, and with it, has been sent. It never goes back. A tail that
//!   begins there goes on where this one ended; rows of messages that came after the one with the last new cursor come again.
//! - Between two looks a tail holds no rows, no files and no snapshot, however slow its reader is. One that is too far behind
//!   goes on at the end, and is told how many rows it missed.
//!
//! What a message carries besides rows is JSON in its `app_metadata`: `{"cursor":7}`, or `{"cursor":7,"missed":3}`.
//!
//! | file | purpose |
//! |---|---|
//! | `plan.rs` | a query that can be asked for its rows entry by entry |
//! | `slots.rs` | how many tails there may be, and when they end |

mod plan;
mod slots;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use alula_catalog::SequenceNumber;
use alula_storage::table::SequenceRange;
use alula_storage::{Snapshot, Storage};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::{Future, StreamExt};
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::context::QueryContext;
use crate::encode::Encoder;
use crate::queries::State;
use crate::runtime::{Produced, QueryRuntime, Sender};
use crate::statement::planned;
use crate::status::status;
use crate::stop::Stop;
use crate::ticket::SignedStatement;
use crate::{Error, Result};

pub(crate) use plan::{Followed, has_query, not_followable};
pub use slots::TailConfig;
pub(crate) use slots::{Slot, Tails, Until};

/// From one look to the next at least.
const PAUSE: Duration = Duration::from_millis(100);

/// Rows that are in memory at one time, unless one entry has more; fewer, down to one, where they are wide.
const ROWS_PER_LOOK: usize = 16 * 1024;

/// Bytes of rows in memory after which the next look is for half as many rows.
const BYTES_PER_LOOK: usize = 32 << 20;

/// Rows of a message, unless one entry has more.
const ROWS_PER_MESSAGE: usize = 4 * 1024;

/// What a client learns of a tail before it begins.
pub(crate) struct Promised {
    pub(crate) schema: SchemaRef,
    /// The entry after which it begins.
    pub(crate) from: SequenceNumber,
}

/// Plans a tail. Nothing runs.
pub(crate) async fn promise(
    runtime: &QueryRuntime,
    context: QueryContext,
    statement: SignedStatement,
) -> Result<Promised> {
    runtime
        .run(async move {
            let snapshot = context.storage.snapshot();
            let followed = follow(context, &statement).await?;
            let from = beginning(&statement, &followed, &snapshot);
            Ok(Promised { schema: followed.schema, from })
        })
        .await
}

/// Streams the rows that there are after the beginning, and then those that come: the schema first and at once, then an empty
/// batch that says where it begins, then batches. It ends only with an error.
///
/// Cancel: dropping the stream ends the tail.
pub(crate) fn stream(
    runtime: &QueryRuntime,
    stop: &Stop,
    context: QueryContext,
    statement: SignedStatement,
    slot: Slot,
    until: Until,
) -> Produced<FlightData> {
    runtime.produce(stop, |sender| async move {
        let storage = context.storage.clone();
        let followed = Arc::new(follow(context, &statement).await?);
        let cursor = beginning(&statement, &followed, &storage.snapshot());
        let tail = Tail {
            storage,
            followed,
            encoder: Encoder::new(statement.settings.wire_profile()),
            sender,
            cursor,
            counted: cursor,
            rows_per_look: ROWS_PER_LOOK,
            sent_at: Instant::now(),
            config: slot.config(),
        };
        tokio::select! {
            ended = tail.run() => ended,
            error = until.ended() => Err(error),
        }
    })
}

async fn follow(context: QueryContext, statement: &SignedStatement) -> Result<Followed> {
    planned(context, statement).await?.follow()
}

/// Where the client wants it to begin, or else at the end.
fn beginning(statement: &SignedStatement, followed: &Followed, snapshot: &Snapshot) -> SequenceNumber {
    let from = statement.settings.tail_from.map(SequenceNumber);
    from.unwrap_or_else(|| snapshot.last_seq(&followed.tenant, followed.signal))
}

/// A tail that runs.
struct Tail {
    storage: Storage,
    followed: Arc<Followed>,
    encoder: Encoder,
    sender: Sender<FlightData>,
    /// Every row up to this entry has been sent.
    cursor: SequenceNumber,
    /// Up to this entry the backlog was counted and found small enough.
    counted: SequenceNumber,
    /// As many as there is memory for, by the looks before.
    rows_per_look: usize,
    sent_at: Instant,
    config: TailConfig,
}

/// Why a tail ends.
enum End {
    /// Nobody reads it any more.
    Gone,
    Failed(Error),
}

impl<E> From<E> for End
where
    Error: From<E>,
{
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Tail {
    async fn run(mut self) -> Result<()> {
        match self.follow_to_the_end().await {
            Ok(()) | Err(End::Gone) => Ok(()),
            Err(End::Failed(error)) => Err(error),
        }
    }

    async fn follow_to_the_end(&mut self) -> Result<(), End> {
        if let Some(query) = &self.followed.query {
            query.enter(State::Streaming);
        }
        let mut arrivals = self.storage.follow(&self.followed.tenant, self.followed.signal).await?;
        let schema = self.encoder.schema_message(&self.followed.schema);
        self.send(schema).await?;
        self.send_cursor(None).await?;
        loop {
            let looked_at = Instant::now();
            // Before the look: what comes after it is told of.
            arrivals.mark_unchanged();
            self.catch_up().await?;
            sleep_until(looked_at + PAUSE).await;
            let arrived = async { arrivals.changed().await.map_err(|_| Error::ShuttingDown) };
            self.keep_alive_during(arrived).await?;
        }
    }

    /// Sends every row that is there.
    async fn catch_up(&mut self) -> Result<(), End> {
        loop {
            // A new one each time: none is held while the reader is waited for.
            let snapshot = self.storage.snapshot();
            let up_to = snapshot.last_seq(&self.followed.tenant, self.followed.signal);
            if up_to <= self.cursor {
                return Ok(());
            }
            match self.missed(&snapshot, up_to).await? {
                Some(missed) => {
                    drop(snapshot);
                    self.cursor = up_to;
                    self.send_cursor(Some(missed)).await?;
                }
                None => self.send_next_rows(snapshot, up_to).await?,
            }
        }
    }

    /// How many rows are left out because they are too many; none if they are not.
    async fn missed(&mut self, snapshot: &Arc<Snapshot>, up_to: SequenceNumber) -> Result<Option<u64>, End> {
        let (tenant, signal) = (&self.followed.tenant, self.followed.signal);
        let uncounted = SequenceRange { after: self.cursor.max(self.counted), up_to };
        if snapshot.max_rows_between(tenant, signal, uncounted) <= self.config.max_backlog_rows {
            return Ok(None);
        }
        let backlog = SequenceRange { after: self.cursor, up_to };
        let (followed, snapshot) = (Arc::clone(&self.followed), Arc::clone(snapshot));
        let count = async move { followed.count(snapshot, backlog).await };
        let count = self.keep_alive_during(count).await?;
        self.counted = up_to;
        Ok((count > self.config.max_backlog_rows).then_some(count))
    }

    async fn send_next_rows(&mut self, snapshot: Arc<Snapshot>, up_to: SequenceNumber) -> Result<(), End> {
        let range = SequenceRange { after: self.cursor, up_to };
        let limit = self.rows_per_look;
        let first_rows = {
            let (followed, snapshot) = (Arc::clone(&self.followed), Arc::clone(&snapshot));
            // A refusal is not the end of the tail, and so no error yet.
            async move { Ok(followed.first_rows(snapshot, range, limit).await) }
        };
        let ordered = match self.keep_alive_during(first_rows).await? {
            Ok(ordered) => ordered,
            Err(error) if !is_too_much(&error) => return Err(error.into()),
            // Again, from where it is.
            Err(_) if limit > 1 => {
                self.rows_per_look = limit / 2;
                return Ok(());
            }
            Err(_) => return self.send_entry(snapshot, SequenceNumber(range.after.0 + 1)).await,
        };
        self.rows_per_look = next_limit(limit, ordered.rows.get_array_memory_size());
        let (complete, covered) = complete_part(&ordered.entries, up_to.0, limit);
        if complete == 0 && !ordered.entries.is_empty() {
            drop(ordered);
            return self.send_entry(snapshot, SequenceNumber(covered + 1)).await;
        }
        drop(snapshot);
        for (rows, cursor) in pieces(&ordered.entries[..complete], covered, ROWS_PER_MESSAGE) {
            let rows = ordered.rows.slice(rows.start, rows.len());
            self.send_rows(&rows, SequenceNumber(cursor)).await?;
        }
        self.cursor = SequenceNumber(covered);
        Ok(())
    }

    /// Sends an entry that is larger than what is held in memory. Its rows have the cursor before it, and only what comes
    /// after all of them has the next one.
    async fn send_entry(&mut self, snapshot: Arc<Snapshot>, entry: SequenceNumber) -> Result<(), End> {
        let range = SequenceRange { after: SequenceNumber(entry.0 - 1), up_to: entry };
        let mut rows = self.followed.all_rows(&snapshot, range).await?;
        drop(snapshot);
        while let Some(rows) = rows.next().await.transpose()? {
            self.send_rows(&rows, self.cursor).await?;
        }
        self.cursor = entry;
        self.send_cursor(None).await
    }

    /// Sends rows after which the cursor is `cursor`.
    async fn send_rows(&mut self, rows: &RecordBatch, cursor: SequenceNumber) -> Result<(), End> {
        let mut last = None;
        for part in self.followed.on_the_wire(rows)? {
            let part = part?;
            if let Some(query) = &self.followed.query {
                query.sends_rows(part.num_rows());
            }
            for message in self.encoder.encode(&part)? {
                if let Some(earlier) = last.replace(message) {
                    self.send(self.with_cursor(earlier, None)).await?;
                }
            }
        }
        self.cursor = cursor;
        match last {
            Some(message) => self.send(self.with_cursor(message, None)).await,
            None => Ok(()),
        }
    }

    /// Sends the cursor without rows.
    async fn send_cursor(&mut self, missed: Option<u64>) -> Result<(), End> {
        let nothing = RecordBatch::new_empty(Arc::clone(&self.followed.schema));
        for message in self.encoder.encode(&nothing)? {
            self.send(self.with_cursor(message, missed)).await?;
        }
        Ok(())
    }

    fn with_cursor(&self, message: FlightData, missed: Option<u64>) -> FlightData {
        let cursor = self.cursor;
        message.with_app_metadata(match missed {
            None => format!(r#"{{"cursor":{cursor}}}"#),
            Some(missed) => format!(r#"{{"cursor":{cursor},"missed":{missed}}}"#),
        })
    }

    async fn send(&mut self, message: FlightData) -> Result<(), End> {
        let sent = self.sender.send(message).await;
        self.sent_at = Instant::now();
        if sent { Ok(()) } else { Err(End::Gone) }
    }

    /// Waits for `work`, and meanwhile shows that the tail is alive.
    async fn keep_alive_during<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                // First, as work may always be done at once.
                biased;
                () = sleep_until(self.sent_at + self.config.keep_alive) => {
                    self.send_cursor(None).await?;
                }
                done = &mut work => return Ok(done?),
            }
        }
    }
}

/// Whether fewer rows might do.
fn is_too_much(error: &Error) -> bool {
    status(error).code() == Code::ResourceExhausted
}

/// How many rows the next look is for after one for `limit` rows, which had so many bytes.
fn next_limit(limit: usize, bytes: usize) -> usize {
    match bytes {
        bytes if bytes > BYTES_PER_LOOK => (limit / 2).max(1),
        bytes if bytes < BYTES_PER_LOOK / 4 => (limit * 2).min(ROWS_PER_LOOK),
        _ => limit,
    }
}

/// How many of the first rows are of entries that are whole, and up to which entry everything is among them. `entries` are
/// those of the rows, in order; if there are `limit`, more may follow.
fn complete_part(entries: &[u64], up_to: u64, limit: usize) -> (usize, u64) {
    match entries.last() {
        Some(&last) if entries.len() >= limit => (entries.partition_point(|entry| *entry < last), last - 1),
        _ => (entries.len(), up_to),
    }
}

/// Cuts rows between entries into pieces of about `num_rows`, each with the cursor after it; `covered` is the last one.
fn pieces(entries: &[u64], covered: u64, num_rows: usize) -> Vec<(Range<usize>, u64)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < entries.len() {
        let end = (start + num_rows).min(entries.len());
        let last = entries[end - 1];
        let before_last = start + entries[start..].partition_point(|entry| *entry < last);
        let after_last = start + entries[start..].partition_point(|entry| *entry <= last);
        // The last entry whole, or else not at all, unless nothing else is there.
        let end = if after_last == end || before_last == start { after_last } else { before_last };
        pieces.push((start..end, if end == entries.len() { covered } else { entries[end - 1] }));
        start = end;
    }
    pieces
}

#[cfg(test)]
mod tests;
