//! What clients may send, what becomes of it, and what they are told where it cannot be.

mod forms;
mod garbage;
mod requests;
mod values;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use prost::Message;

use super::*;
use crate::Error;
use crate::convert::{Context, Limits, Policy, convert};
use alula_catalog::TenantId;

/// 2026-11-21T08:00:00Z.
const RECEIVED_NS: i64 = 1_795_248_000_000_000_000;

/// In microseconds: 2026-11-21T07:59:59Z.
const TIME_US: i64 = 1_795_247_999_000_000;

fn times(count: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..count as i64).map(|row| TIME_US + row)))
}

fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn ints(ints: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(ints.to_vec()))
}

fn doubles(doubles: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(doubles.to_vec()))
}

fn rows<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// A row of each table with the columns that it cannot do without.
fn least(signal: Signal) -> Vec<(&'static str, ArrayRef)> {
    match signal {
        Signal::Metrics => vec![("timestamp", times(1)), ("name", texts(&["m"])), ("value", doubles(&[1.5]))],
        Signal::Logs => vec![("timestamp", times(1)), ("body", texts(&["b"]))],
        Signal::Traces => vec![
            ("timestamp", times(1)),
            ("trace_id", texts(&["0102030405060708090A0b0c0d0e0f10"])),
            ("span_id", texts(&["0102030405060708"])),
            ("name", texts(&["s"])),
            ("duration_ns", ints(&[7])),
        ],
    }
}

/// The same with one more column, or another in its place.
fn least_with(signal: Signal, name: &'static str, column: ArrayRef) -> RecordBatch {
    let mut columns = least(signal);
    columns.retain(|(known, _)| *known != name);
    columns.push((name, column));
    rows(columns)
}

fn restore_within(signal: Signal, batches: &[RecordBatch], bounds: Bounds) -> Result<Vec<Restored>> {
    let mut restorer = bounded(signal, bounds);
    let mut requests = Vec::new();
    for batch in batches {
        restorer.begin(batch)?;
        while let Some(request) = restorer.next()? {
            requests.push(request);
        }
    }
    requests.extend(restorer.finish());
    Ok(requests)
}

fn restore(signal: Signal, batch: &RecordBatch) -> Result<Vec<Restored>> {
    restore_within(signal, std::slice::from_ref(batch), Bounds::default())
}

/// The rows that come of rows.
fn stored(signal: Signal, batch: &RecordBatch) -> RecordBatch {
    let payload: Vec<u8> =
        restore(signal, batch).unwrap().into_iter().flat_map(|part| part.payload).collect();
    rows_of(signal, &payload)
}

fn rows_of(signal: Signal, payload: &[u8]) -> RecordBatch {
    let policy = Policy::Check(Limits { max_future_ns: i64::MAX });
    let context = Context { tenant: TenantId::unauthenticated(), received_ns: RECEIVED_NS, policy };
    let converted = convert(signal, payload, &context).unwrap();
    assert_eq!(converted.rejected, []);
    converted.batch
}

/// What a client is told.
fn refused(signal: Signal, batch: &RecordBatch) -> String {
    match restore(signal, batch) {
        Ok(requests) => panic!("{requests:?}"),
        Err(error @ (Error::BadColumn { .. } | Error::BadValue { .. })) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

fn decoded<M: Message + Default>(requests: &[Restored]) -> Vec<M> {
    requests.iter().map(|request| M::decode(&request.payload[..]).unwrap()).collect()
}
