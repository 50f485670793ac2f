//! [`Ledger`]: in the place of what the server brings for backfill, it writes down what it is given.

use std::sync::{Mutex, PoisonError};

use alula_catalog::{Signal, TenantId};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use crate::{Backfill, Error, Result, RowsRequest};

/// A row with this number is refused when requests are made.
pub(crate) const MALFORMED: i64 = -1;
/// Its request is refused when it is checked or stored.
pub(crate) const UNFIT: i64 = -2;
/// Its request finds no room.
pub(crate) const UNLUCKY: i64 = -3;

/// Each batch of numbers becomes a request, which consists of these. A number from `1 << 20` on stands for so many bytes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Held for a moment.
    stored: Mutex<Vec<(TenantId, Signal, RowsRequest)>>,
}

impl Ledger {
    pub(crate) fn stored(&self) -> Vec<(TenantId, Signal, RowsRequest)> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers that are stored, and how many rows came before them in their stream.
    pub(crate) fn numbers(&self) -> Vec<(u64, Vec<i64>)> {
        self.stored().iter().map(|(_, _, request)| (request.first_row, numbers(request))).collect()
    }
}

fn numbers(request: &RowsRequest) -> Vec<i64> {
    let (numbers, _) = request.payload.as_chunks();
    numbers.iter().map(|number| i64::from_le_bytes(*number)).collect()
}

fn request(first_row: u64, batch: &RecordBatch) -> Result<RowsRequest> {
    let numbers = batch.column(0).as_primitive::<Int64Type>().values();
    if numbers.contains(&MALFORMED) {
        return Err(Error::RefusedRows { reason: "a row is malformed".to_owned() });
    }
    let payload = match numbers.first() {
        Some(&bytes) if bytes >= 1 << 20 => vec![0; bytes as usize],
        _ => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
    };
    Ok(RowsRequest { payload: payload.into(), first_row, num_rows: numbers.len() as u64 })
}

fn check(request: &RowsRequest) -> Result<()> {
    if numbers(request).contains(&UNFIT) {
        return Err(Error::RefusedRows { reason: "a row is unfit".to_owned() });
    }
    Ok(())
}

impl Backfill for Ledger {
    fn requests(
        &self,
        _: Signal,
        _: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> BoxStream<'static, Result<RowsRequest>> {
        let requests = rows.scan(0, |first_row, batch| {
            let request = batch.and_then(|batch| request(*first_row, &batch));
            *first_row += request.as_ref().map_or(0, |request| request.num_rows);
            ready(Some(request))
        });
        requests.boxed()
    }

    fn check<'a>(&'a self, _: &'a TenantId, _: Signal, request: RowsRequest) -> BoxFuture<'a, Result<()>> {
        ready(check(&request)).boxed()
    }

    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        signal: Signal,
        request: RowsRequest,
    ) -> BoxFuture<'a, Result<()>> {
        let outcome = check(&request).and_then(|()| {
            if numbers(&request).contains(&UNLUCKY) {
                return Err(Error::NoRoomForRows { reason: "there is no room".to_owned() });
            }
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.push((tenant.clone(), signal, request));
            Ok(())
        });
        ready(outcome).boxed()
    }
}
