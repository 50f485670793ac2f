//! `system.data_loss`: acknowledged rows that cannot be read back. A row is one stretch of the log, or one file.
//!
//! A tenant sees what was lost of it, and what was lost of nobody knows whom: `owner_known` tells the two apart. What an operator
//! noted about a loss may speak of others, so it is not here.

use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    ACKNOWLEDGED_AT, DETAIL, FIRST_SEQ, LAST_SEQ, MAX_TIMESTAMP, MIN_TIMESTAMP, NUM_ROWS, OWNER_KNOWN,
    SIGNAL, SOURCE, TENANT_ID, TIMESTAMP, UTC,
};
use alula_catalog::{DataLoss, RecordedLoss, Signal, TenantId};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;

pub(super) const NAME: &str = "data_loss";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
    Arc::new(Schema::new(vec![
        Field::new(TIMESTAMP, timestamp.clone(), false),
        Field::new(TENANT_ID, DataType::Utf8, false),
        Field::new(OWNER_KNOWN, DataType::Boolean, false),
        Field::new(SIGNAL, DataType::Utf8, true),
        Field::new(FIRST_SEQ, DataType::UInt64, false),
        Field::new(LAST_SEQ, DataType::UInt64, false),
        Field::new(NUM_ROWS, DataType::UInt64, true),
        Field::new(MIN_TIMESTAMP, timestamp.clone(), true),
        Field::new(MAX_TIMESTAMP, timestamp.clone(), true),
        Field::new(SOURCE, DataType::Utf8, false),
        Field::new(DETAIL, DataType::Utf8, false),
        Field::new(ACKNOWLEDGED_AT, timestamp, true),
    ]))
});

/// Shape: oldest row first; `tenant_id` is the tenant that asks, also where the owner is not known.
pub(super) fn rows(tenant: &TenantId, recorded: &[RecordedLoss]) -> Result<RecordBatch> {
    let losses = || recorded.iter().map(|recorded| &recorded.loss);
    let times = |values: TimestampNanosecondArray| -> ArrayRef { Arc::new(values.with_timezone(UTC)) };
    let times_of = |value: fn(&DataLoss) -> Option<i64>| times(losses().map(value).collect());
    let numbers = |value: fn(&DataLoss) -> Option<u64>| -> ArrayRef {
        Arc::new(losses().map(value).collect::<UInt64Array>())
    };
    let texts = |value: fn(&DataLoss) -> Option<&str>| -> ArrayRef {
        Arc::new(losses().map(value).collect::<StringArray>())
    };
    let owners = StringArray::from_iter_values(losses().map(|_| tenant.as_str()));
    let known: BooleanArray = losses().map(|loss| Some(loss.tenant.is_some())).collect();
    let acknowledged =
        recorded.iter().map(|recorded| recorded.acknowledgement.as_ref().map(|said| said.at_ns));
    let columns = vec![
        times_of(|loss| Some(loss.found_ns)),
        Arc::new(owners),
        Arc::new(known),
        texts(|loss| loss.signal.map(Signal::table_name)),
        numbers(|loss| Some(loss.first_seq.0)),
        numbers(|loss| Some(loss.last_seq.0)),
        numbers(|loss| loss.num_rows),
        times_of(|loss| loss.timestamps.map(|times| times.min_ns)),
        times_of(|loss| loss.timestamps.map(|times| times.max_ns)),
        texts(|loss| Some(&loss.source)),
        texts(|loss| Some(&loss.detail)),
        times(acknowledged.collect()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
