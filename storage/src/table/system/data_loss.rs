//! `system.data_loss`: acknowledged rows that cannot be read back. A row is one stretch of the log, or one file.
//!
//! A tenant sees what was lost of it, and what was lost of nobody knows whom: `owner_known` tells the two apart.

use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    DETAIL, FIRST_SEQ, LAST_SEQ, MAX_TIMESTAMP, MIN_TIMESTAMP, NUM_ROWS, OWNER_KNOWN, SIGNAL, SOURCE,
    TENANT_ID, TIMESTAMP, UTC,
};
use alula_catalog::{DataLoss, Signal, TenantId};
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
        Field::new(MAX_TIMESTAMP, timestamp, true),
        Field::new(SOURCE, DataType::Utf8, false),
        Field::new(DETAIL, DataType::Utf8, false),
    ]))
});

/// Shape: oldest row first; `tenant_id` is the tenant that asks, also where the owner is not known.
pub(super) fn rows(tenant: &TenantId, losses: &[DataLoss]) -> Result<RecordBatch> {
    let times = |value: fn(&DataLoss) -> Option<i64>| -> ArrayRef {
        let values: TimestampNanosecondArray = losses.iter().map(value).collect();
        Arc::new(values.with_timezone(UTC))
    };
    let numbers = |value: fn(&DataLoss) -> Option<u64>| -> ArrayRef {
        Arc::new(losses.iter().map(value).collect::<UInt64Array>())
    };
    let texts = |value: fn(&DataLoss) -> Option<&str>| -> ArrayRef {
        Arc::new(losses.iter().map(value).collect::<StringArray>())
    };
    let owners = StringArray::from_iter_values(losses.iter().map(|_| tenant.as_str()));
    let known: BooleanArray = losses.iter().map(|loss| Some(loss.tenant.is_some())).collect();
    let columns = vec![
        times(|loss| Some(loss.found_ns)),
        Arc::new(owners),
        Arc::new(known),
        texts(|loss| loss.signal.map(Signal::table_name)),
        numbers(|loss| Some(loss.first_seq.0)),
        numbers(|loss| Some(loss.last_seq.0)),
        numbers(|loss| loss.num_rows),
        times(|loss| loss.timestamps.map(|times| times.min_ns)),
        times(|loss| loss.timestamps.map(|times| times.max_ns)),
        texts(|loss| Some(&loss.source)),
        texts(|loss| Some(&loss.detail)),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
