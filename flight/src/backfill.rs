//! Backfill: rows that an Arrow client ingests into `metrics`, `logs` and `traces`.
//!
//! What the log holds of these tables are requests of a protocol that this crate does not know, so the server brings what makes
//! such requests of rows: [`Backfill`].
//!
//! Outside of a transaction each request is stored as soon as it is full: a stream that fails in the middle leaves the rows that
//! came before, and its error says how many. Those of a transaction are checked when they come and kept, in memory and
//! bounded, until it is committed.

use std::fmt;
use std::sync::Arc;

use alula_catalog::{Signal, TenantId};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Result};

/// What one transaction may keep.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The same of all transactions.
const MAX_KEPT_BYTES_IN_ALL: usize = 256 << 20;

/// Makes requests of rows, and rows of requests.
pub trait Backfill: fmt::Debug + Send + Sync {
    /// Makes requests of the rows of a stream, whose columns are `schema`, in their order. Stores nothing.
    ///
    /// # Errors
    /// `RefusedRows` — what is wrong with the rows.
    fn requests(
        &self,
        signal: Signal,
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RowsRequest>>;

    /// Whether a request can be stored as a whole.
    ///
    /// # Errors
    /// `RefusedRows`.
    fn check<'a>(
        &'a self,
        tenant: &'a TenantId,
        signal: Signal,
        request: RowsRequest,
    ) -> BoxFuture<'a, Result<()>>;

    /// Stores a request as a whole, unless the same part of the same rows was stored a short time ago.
    ///
    /// Durable: when this returns.
    ///
    /// # Errors
    /// `RefusedRows`; `NoRoomForRows`, `TooManyRowsAtOnce`, `Storage` — nothing of it was stored.
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        signal: Signal,
        request: RowsRequest,
    ) -> BoxFuture<'a, Result<()>>;
}

/// A part of the rows that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsRequest {
    pub payload: Bytes,
    /// How many rows came before the first of these.
    pub first_row: u64,
    pub num_rows: u64,
}

/// What the server brings, and how much of what it makes is kept.
#[derive(Clone, Debug)]
pub(crate) struct Backfiller {
    backfill: Arc<dyn Backfill>,
    /// A permit is a byte that some transaction may keep.
    room: Arc<Semaphore>,
}

impl Backfiller {
    pub(crate) fn new(backfill: Arc<dyn Backfill>) -> Self {
        Self { backfill, room: Arc::new(Semaphore::new(MAX_KEPT_BYTES_IN_ALL)) }
    }

    /// Stores rows as they come. Returns how many there were.
    pub(crate) async fn store(
        &self,
        tenant: &TenantId,
        signal: Signal,
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<u64> {
        let mut num_stored = 0;
        let mut requests = self.backfill.requests(signal, schema, rows);
        loop {
            let request = match requests.try_next().await {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(num_stored),
                Err(error) => return Err(after(num_stored, error)),
            };
            let num_rows = request.num_rows;
            let stored = self.backfill.append(tenant, signal, request).await;
            stored.map_err(|error| after(num_stored, error))?;
            num_stored += num_rows;
        }
    }

    /// Checks rows and adds them to what a transaction keeps: all of them, or none. Returns how many there were.
    pub(crate) async fn keep(
        &self,
        tenant: &TenantId,
        signal: Signal,
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
        kept: &mut KeptRows,
    ) -> Result<u64> {
        // Two statements with the same rows are no repetition of one.
        let rows_before = kept.num_rows();
        let mut bytes = kept.num_bytes();
        // Kept only at the end: a client that goes away in the middle leaves nothing.
        let mut added = Vec::new();
        let mut requests = self.backfill.requests(signal, schema, rows);
        while let Some(mut request) = requests.try_next().await? {
            bytes += request.payload.len();
            if bytes > MAX_KEPT_BYTES {
                return Err(Error::TooManyKeptRows { limit: MAX_KEPT_BYTES });
            }
            let room = self.room(request.payload.len())?;
            self.backfill.check(tenant, signal, request.clone()).await?;
            request.first_row += rows_before;
            added.push(Kept { signal, request, _room: room });
        }
        kept.0.extend(added);
        Ok(kept.num_rows() - rows_before)
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        room.map_err(|_| Error::TooManyKeptRows { limit: MAX_KEPT_BYTES_IN_ALL })
    }

    /// Stores what a transaction has kept.
    pub(crate) async fn commit(&self, tenant: &TenantId, kept: KeptRows) -> Result<()> {
        let mut num_stored = 0;
        for Kept { signal, request, .. } in kept.0 {
            let num_rows = request.num_rows;
            let stored = self.backfill.append(tenant, signal, request).await;
            stored.map_err(|error| after(num_stored, error))?;
            num_stored += num_rows;
        }
        Ok(())
    }
}

/// The rows of a transaction that is not committed, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct KeptRows(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    signal: Signal,
    request: RowsRequest,
    _room: OwnedSemaphorePermit,
}

impl KeptRows {
    fn num_rows(&self) -> u64 {
        self.0.iter().map(|kept| kept.request.num_rows).sum()
    }

    fn num_bytes(&self) -> usize {
        self.0.iter().map(|kept| kept.request.payload.len()).sum()
    }
}

fn after(num_stored: u64, error: Error) -> Error {
    if num_stored == 0 { error } else { Error::StoredInPart { num_stored, source: Box::new(error) } }
}

#[cfg(test)]
mod tests;
