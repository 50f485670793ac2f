//! [`Requests`]: rows to requests of bounded size.
//!
//! Rows that follow each other with the same resource, scope and metric share these in a request, so that it is about as large
//! as the one that the rows once came in. Where a request ends depends on the rows alone and not on how they were cut into
//! batches, so that rows which are sent again make the same requests.

use arrow::array::RecordBatch;
use bytes::Bytes;
use prost::Message;

use alula_catalog::Signal;
use alula_catalog::schema::{INGEST_SEQ, INGESTED_AT, TENANT_ID, TIMESTAMP};

use super::given::Given;
use super::key::Key;
use super::shared::{ResourcePart, ScopePart, SharedColumns};
use super::{Fault, Read, Restore, Restored};
use crate::{Error, Result};

/// What the tags and lengths around a message take at most.
const FRAME_BYTES: usize = 8;

/// How much goes into a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of a request with more than one row.
    pub(super) bytes: usize,
    /// As many as a request of any size may make.
    pub(super) rows: u64,
    /// Texts of resource, scope and metric, which each row has again.
    pub(super) repeated_bytes: usize,
}

impl Default for Bounds {
    /// As large as OTLP's own requests are, and within what the conversion takes.
    fn default() -> Self {
        Self { bytes: 4 << 20, rows: 10_000, repeated_bytes: 64 << 20 }
    }
}

/// One signal's rows, a batch of them.
pub(super) trait Rows: Sized + Send {
    const SIGNAL: Signal;
    type Record: Message;
    type Request: Message + Default;

    fn try_new(given: &mut Given) -> Read<Self>;

    /// What rows of one metric have in common, besides resource and scope.
    fn metric_key(&self, _row: usize, _key: &mut Key) {}

    fn record(&mut self, row: usize) -> Read<Self::Record>;

    fn add(request: &mut Self::Request, entered: Entered, record: Self::Record);
}

/// What begins with a record.
pub(super) enum Entered {
    Resource(ResourcePart, ScopePart),
    Scope(ScopePart),
    Metric,
    Nothing,
}

/// What a record has in common with the one before it, if that is equal.
#[derive(Default)]
struct Keys {
    resource: Key,
    scope: Key,
    metric: Key,
}

/// See the head of this file.
pub(super) struct Requests<R: Rows> {
    bounds: Bounds,
    open: R::Request,
    /// Rows of the open request.
    num_rows: u64,
    /// At least what it takes once it is encoded.
    num_bytes: usize,
    repeated_bytes: usize,
    /// Rows in earlier requests.
    rows_before: u64,
    /// Of the last row of the open request.
    last: Keys,
    /// Of the row that is being looked at.
    current: Keys,
    batch: Option<Batch<R>>,
}

/// The batch that rows are being taken from.
struct Batch<R> {
    shared: SharedColumns,
    rows: R,
    next: usize,
    end: usize,
}

impl<R: Rows> Requests<R> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: R::Request::default(),
            num_rows: 0,
            num_bytes: 0,
            repeated_bytes: 0,
            rows_before: 0,
            last: Keys::default(),
            current: Keys::default(),
            batch: None,
        }
    }

    /// Takes one row in. Gives the request before it, if the row begins another.
    fn row(&mut self, batch: &mut Batch<R>) -> Read<Option<Restored>> {
        let row = batch.next;
        let record = batch.rows.record(row)?;
        self.look_at(batch, row);
        let mut entered = self.enter(batch, row)?;
        let mut closed = None;
        if self.num_rows > 0 && !self.fits(record.encoded_len() + entered.num_bytes()) {
            closed = self.close();
            entered = self.enter(batch, row)?;
        }
        self.num_rows += 1;
        self.num_bytes += record.encoded_len() + entered.num_bytes();
        self.repeated_bytes += self.current.len();
        std::mem::swap(&mut self.last, &mut self.current);
        R::add(&mut self.open, entered, record);
        batch.next += 1;
        Ok(closed)
    }

    fn look_at(&mut self, batch: &Batch<R>, row: usize) {
        let Keys { resource, scope, metric } = &mut self.current;
        for key in [&mut *resource, &mut *scope, &mut *metric] {
            key.clear();
        }
        batch.shared.resource_key(row, resource);
        batch.shared.scope_key(row, scope);
        batch.rows.metric_key(row, metric);
    }

    /// What begins with the row that is looked at.
    fn enter(&self, batch: &mut Batch<R>, row: usize) -> Read<Entered> {
        let Self { last, current, .. } = self;
        Ok(if self.num_rows == 0 || current.resource != last.resource {
            Entered::Resource(batch.shared.resource(row)?, batch.shared.scope(row)?)
        } else if current.scope != last.scope {
            Entered::Scope(batch.shared.scope(row)?)
        } else if current.metric != last.metric {
            Entered::Metric
        } else {
            Entered::Nothing
        })
    }

    fn fits(&self, more_bytes: usize) -> bool {
        self.num_rows < self.bounds.rows
            && self.num_bytes + more_bytes <= self.bounds.bytes
            && self.repeated_bytes + self.current.len() <= self.bounds.repeated_bytes
    }

    fn close(&mut self) -> Option<Restored> {
        if self.num_rows == 0 {
            return None;
        }
        let request = std::mem::take(&mut self.open);
        let first_row = self.rows_before;
        let num_rows = std::mem::take(&mut self.num_rows);
        self.rows_before += num_rows;
        self.num_bytes = 0;
        self.repeated_bytes = 0;
        Some(Restored { payload: Bytes::from(request.encode_to_vec()), first_row, num_rows })
    }

    /// Rows that came before the batch.
    fn start(&self, batch: &Batch<R>) -> u64 {
        self.rows_before + self.num_rows - batch.next as u64
    }
}

impl<R: Rows> Restore for Requests<R> {
    fn begin(&mut self, batch: &RecordBatch) -> Result<()> {
        let start = self.rows_before + self.num_rows;
        let columns = || -> Read<_> {
            let mut given = Given::of_batch(R::SIGNAL, batch)?;
            // What the query builder of Grafana, and InfluxDB, call it.
            if !given.has(TIMESTAMP) {
                given.rename("time", TIMESTAMP);
            }
            given.ignore(&[TENANT_ID, INGESTED_AT, INGEST_SEQ]);
            let shared = SharedColumns::try_new(&mut given)?;
            let rows = R::try_new(&mut given)?;
            given.finish()?;
            Ok((shared, rows))
        };
        let (shared, rows) = columns().map_err(|fault| bad_row(fault, start))?;
        self.batch = Some(Batch { shared, rows, next: 0, end: batch.num_rows() });
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Restored>> {
        let Some(mut batch) = self.batch.take() else { return Ok(None) };
        let start = self.start(&batch);
        while batch.next < batch.end {
            let closed = self.row(&mut batch).map_err(|fault| bad_row(fault, start))?;
            if closed.is_some() {
                self.batch = Some(batch);
                return Ok(closed);
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Option<Restored> {
        self.close()
    }
}

/// With the number of the row in all that came.
fn bad_row(fault: Fault, start: u64) -> Error {
    let Fault { row, column, what } = fault;
    match row {
        None => Error::BadColumn { column, what },
        Some(row) => Error::BadValue { row: start + row as u64 + 1, column, what },
    }
}

impl Keys {
    fn len(&self) -> usize {
        self.resource.len() + self.scope.len() + self.metric.len()
    }
}

impl Entered {
    /// At least what it takes in a request.
    fn num_bytes(&self) -> usize {
        let own = match self {
            Self::Resource(resource, scope) => resource.num_bytes() + scope.num_bytes(),
            Self::Scope(scope) => scope.num_bytes(),
            Self::Metric | Self::Nothing => 0,
        };
        own + FRAME_BYTES
    }
}

impl ResourcePart {
    fn num_bytes(&self) -> usize {
        self.resource.as_ref().map_or(0, Message::encoded_len) + self.schema_url.len() + 3 * FRAME_BYTES
    }
}

impl ScopePart {
    fn num_bytes(&self) -> usize {
        self.scope.as_ref().map_or(0, Message::encoded_len) + self.schema_url.len() + 3 * FRAME_BYTES
    }
}
