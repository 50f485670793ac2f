//! [`Backfiller`]: what Flight SQL takes for the tables of telemetry goes the way of OTLP.

use alula_catalog::{Signal, TenantId, error_chain};
use alula_flight::{Backfill, Error, Result, RowsRequest};
use alula_ingest::{Error as IngestError, Ingest, Restored};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

#[derive(Debug)]
pub(super) struct Backfiller(pub(super) Ingest);

/// An error of either side, on its way through the other.
struct Either(Error);

impl From<IngestError> for Either {
    fn from(error: IngestError) -> Self {
        Self(told(error))
    }
}

impl Backfill for Backfiller {
    fn requests(
        &self,
        signal: Signal,
        schema: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RowsRequest>> {
        let restored = self.0.restore(signal, schema, rows.map_err(Either).boxed());
        let requests = restored.map_ok(|Restored { payload, first_row, num_rows }| RowsRequest {
            payload,
            first_row,
            num_rows,
        });
        requests.map_err(|Either(error)| error).boxed()
    }

    fn check<'a>(
        &'a self,
        tenant: &'a TenantId,
        signal: Signal,
        request: RowsRequest,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.0.check(tenant, signal, &restored(request)).await.map_err(told) }.boxed()
    }

    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        signal: Signal,
        request: RowsRequest,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.0.append(tenant, signal, &restored(request)).await.map_err(told) }.boxed()
    }
}

fn restored(RowsRequest { payload, first_row, num_rows }: RowsRequest) -> Restored {
    Restored { payload, first_row, num_rows }
}

/// What the client of Flight SQL can do about it.
fn told(error: IngestError) -> Error {
    match error {
        IngestError::BadColumn { .. }
        | IngestError::BadValue { .. }
        | IngestError::RefusedRow { .. }
        | IngestError::RefusedRows { .. } => Error::RefusedRows { reason: error_chain(&error) },
        IngestError::Overloaded { .. } => Error::NoRoomForRows { reason: error.to_string() },
        IngestError::QuotaExceeded { .. } => Error::TooManyRowsAtOnce { reason: error.to_string() },
        IngestError::Storage(storage) => Error::Storage(storage),
        other => Error::Backfill(Box::new(other)),
    }
}
