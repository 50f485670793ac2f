//! `system.ingest_rejections`: what ingest refused. A row is one reason, of one signal, in one minute.

use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    COUNT, LAST_TIMESTAMP, REASON, REQUESTS, SAMPLE, SIGNAL, TENANT_ID, TIMESTAMP, UTC,
};
use alula_catalog::{IngestRejection, Signal};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;

use crate::rejections::TenantRejections;

pub(super) const NAME: &str = "ingest_rejections";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
    Arc::new(Schema::new(vec![
        Field::new(TIMESTAMP, timestamp.clone(), false),
        Field::new(LAST_TIMESTAMP, timestamp, false),
        Field::new(TENANT_ID, DataType::Utf8, false),
        Field::new(SIGNAL, DataType::Utf8, false),
        Field::new(REASON, DataType::Utf8, false),
        Field::new(COUNT, DataType::UInt64, false),
        Field::new(REQUESTS, DataType::UInt64, false),
        Field::new(SAMPLE, DataType::Utf8, true),
    ]))
});

/// Shape: oldest row first.
pub(super) fn rows(rejections: &TenantRejections) -> Result<RecordBatch> {
    let times = |value: fn(&IngestRejection) -> i64| -> ArrayRef {
        let values = TimestampNanosecondArray::from_iter_values(rejections.iter().map(value));
        Arc::new(values.with_timezone(UTC))
    };
    let texts = |value: fn(&IngestRejection) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rejections.iter().map(value)))
    };
    let numbers = |value: fn(&IngestRejection) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rejections.iter().map(value)))
    };
    let samples: StringArray = rejections.iter().map(|row| row.sample.as_deref()).collect();
    let columns = vec![
        times(|row| row.first_ns),
        times(|row| row.last_ns),
        texts(|row| row.tenant.as_str()),
        texts(|row| Signal::table_name(row.signal)),
        texts(|row| &row.reason),
        numbers(|row| row.count),
        numbers(|row| row.requests),
        Arc::new(samples),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
