//! Rows that an Arrow client sends for a table: they become OTLP requests, which is what the log holds, and go the way of these.
//!
//! ```text
//! batches --restore--> requests of bounded size --[ quota, room --> convert --> append ]--> stored, one after the other
//! ```
//!
//! A stream cannot be refused in the middle as lightly as a request: its sender would have to begin again. So a part that finds
//! no room waits for it, which slows the sender down, and is refused only where that takes too long.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use alula_catalog::{Signal, TenantId, now_ns};
use alula_storage::Entry;

use super::{Format, Ingest, Request};
use crate::convert::{Converted, Restore, Restored, restorer};
use crate::room::Share;
use crate::{Error, Result, SizeLimit};

/// The longest that a part of a stream waits for room or quota.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks whether there is room. Flushes and group commits make it.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Rows that are on their way to become requests.
struct Rows<E> {
    restorer: Box<dyn Restore>,
    /// None once it has ended.
    batches: Option<BoxStream<'static, Result<RecordBatch, E>>>,
    /// A batch that is not used up.
    is_open: bool,
}

impl Ingest {
    /// Makes requests of the rows of a stream, whose columns are `schema`, in their order. Nothing is stored by that.
    ///
    /// Bounds: holds one batch and one request.
    ///
    /// # Errors
    /// [`Error::BadColumn`], [`Error::BadValue`] — what is wrong with the rows.
    pub fn restore<E>(
        &self,
        signal: Signal,
        schema: SchemaRef,
        batches: BoxStream<'static, Result<RecordBatch, E>>,
    ) -> BoxStream<'static, Result<Restored, E>>
    where
        E: From<Error> + Send + 'static,
    {
        // Columns are looked at also if no row comes.
        let none = futures::stream::once(async { Ok(RecordBatch::new_empty(schema)) });
        let batches = Some(none.chain(batches).boxed());
        let restorer = restorer(signal, self.0.largest().bytes);
        let rows = Rows { restorer, batches, is_open: false };
        let ingest = self.clone();
        try_unfold(rows, move |rows| next(ingest.clone(), rows)).boxed()
    }

    /// Whether a request of [`Self::restore`] can be stored as a whole.
    ///
    /// # Errors
    /// [`Error::RefusedRow`], [`Error::RefusedRows`] — sending the same rows again is pointless.
    pub async fn check(&self, tenant: &TenantId, signal: Signal, restored: &Restored) -> Result<()> {
        self.converted(tenant, signal, restored).await.map(|_| ())
    }

    /// Stores a request of [`Self::restore`] as a whole, unless it was stored before as this part of the same rows.
    ///
    /// Durable: the rows are on disk and visible to the next query.
    /// Bounds:  waits until there is room, and not for ever.
    ///
    /// # Errors
    /// As [`Self::check`]; [`Error::Overloaded`], [`Error::QuotaExceeded`], most of [`Error::Storage`] — nothing of it was stored;
    /// send it again later.
    pub async fn append(&self, tenant: &TenantId, signal: Signal, restored: &Restored) -> Result<()> {
        let started = Instant::now();
        let _share = self.admit(tenant, restored.payload.len(), started).await?;
        let (request, Converted { batch, .. }) = self.converted(tenant, signal, restored).await?;
        let entry = Entry {
            tenant: request.tenant,
            signal,
            received_ns: request.received_ns,
            batch_id: request.batch_id,
            payload: request.payload,
            rejected: Vec::new(),
            batch,
        };
        loop {
            match self.0.storage.append(entry.clone()).await {
                Ok(_) => return Ok(()),
                Err(alula_storage::Error::Overloaded { .. }) if started.elapsed() < PATIENCE => {
                    sleep(LOOK_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the tenant may send so much and there is room for it.
    async fn admit(&self, tenant: &TenantId, bytes: usize, started: Instant) -> Result<Share> {
        let inner = &self.0;
        loop {
            let share = match &inner.quota {
                Some(quota) => quota.check(tenant, Instant::now()),
                None => Ok(()),
            };
            let share = share.and_then(|()| inner.rooms.of(tenant).take(bytes));
            let wait = match &share {
                Ok(_) => Duration::ZERO,
                Err(Error::QuotaExceeded { retry_after, .. }) => *retry_after,
                Err(_) => LOOK_INTERVAL,
            };
            match share {
                Ok(share) => {
                    if let Some(quota) = &inner.quota {
                        quota.charge(tenant, bytes, Instant::now());
                    }
                    return Ok(share);
                }
                Err(error) if started.elapsed() + wait > PATIENCE => return Err(error),
                Err(_) => sleep(wait).await,
            }
        }
    }

    /// The rows of a request, all of them.
    async fn converted(
        &self,
        tenant: &TenantId,
        signal: Signal,
        restored: &Restored,
    ) -> Result<(Request, Converted)> {
        let Restored { payload, first_row, num_rows } = restored;
        let SizeLimit { bytes, setting } = self.0.largest();
        if payload.len() > bytes {
            // One row alone: several are parted.
            let reason = format!("as a request of its own it has more than {bytes} bytes ({setting})");
            return Err(Error::RefusedRow { row: first_row + 1, reason });
        }
        let request = Request {
            tenant: tenant.clone(),
            signal,
            format: Format::Protobuf,
            received_ns: now_ns(),
            payload: payload.clone(),
            first_row: Some(*first_row),
            batch_id: None,
        };
        let converted = self.0.convert(request).await;
        let (request, converted) = converted.map_err(|error| match error {
            Error::Malformed { .. } | Error::TooDense { .. } => Error::RefusedRows {
                first_row: first_row + 1,
                last_row: first_row + num_rows,
                source: Box::new(error),
            },
            other => other,
        })?;
        match converted.rejected.first() {
            None => Ok((request, converted)),
            Some(rejection) => {
                let row = first_row + u64::from(rejection.ordinal) + 1;
                Err(Error::RefusedRow { row, reason: rejection.reason.to_string() })
            }
        }
    }
}

/// The next request, and the rows that are left.
async fn next<E: From<Error> + Send + 'static>(
    ingest: Ingest,
    mut rows: Rows<E>,
) -> Result<Option<(Restored, Rows<E>)>, E> {
    loop {
        let batch = match &mut rows.batches {
            _ if rows.is_open => None,
            None => return Ok(None),
            Some(batches) => match batches.next().await.transpose()? {
                Some(batch) => Some(batch),
                None => {
                    rows.batches = None;
                    return Ok(rows.restorer.finish().map(|request| (request, rows)));
                }
            },
        };
        let restorer = rows.restorer;
        let (restorer, request) = step(&ingest, restorer, batch).await?;
        rows.restorer = restorer;
        rows.is_open = request.is_some();
        if let Some(request) = request {
            return Ok(Some((request, rows)));
        }
    }
}

/// Takes rows up to the end of a request or of the batch, which is a new one or the last.
async fn step(
    ingest: &Ingest,
    mut restorer: Box<dyn Restore>,
    batch: Option<RecordBatch>,
) -> Result<(Box<dyn Restore>, Option<Restored>)> {
    let slot = ingest.0.converter().await;
    let task = spawn_blocking(move || {
        let _slot = slot;
        if let Some(batch) = batch {
            restorer.begin(&batch)?;
        }
        let request = restorer.next()?;
        Ok((restorer, request))
    });
    task.await.map_err(Error::Interrupted)?
}

#[cfg(test)]
mod tests;
