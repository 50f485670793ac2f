//! `system.deletions`: what was deleted by predicate. A row is one deletion.

use std::sync::{Arc, LazyLock};

use alula_catalog::schema::{
    COMPLETED, CREATED, ID, NUM_ROWS, PREDICATE, REQUESTED_BY, SIGNAL, TENANT_ID, UTC,
};
use alula_catalog::{Signal, TenantId};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;

use crate::deletion::Deletion;

pub(super) const NAME: &str = "deletions";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()));
    Arc::new(Schema::new(vec![
        Field::new(ID, DataType::UInt64, false),
        Field::new(CREATED, timestamp.clone(), false),
        Field::new(TENANT_ID, DataType::Utf8, false),
        Field::new(SIGNAL, DataType::Utf8, false),
        Field::new(PREDICATE, DataType::Utf8, false),
        Field::new(NUM_ROWS, DataType::UInt64, false),
        Field::new(REQUESTED_BY, DataType::Utf8, false),
        Field::new(COMPLETED, timestamp, true),
    ]))
});

/// Shape: oldest deletion first. `deletions` are those of `tenant`.
pub(super) fn rows(tenant: &TenantId, deletions: &[Arc<Deletion>]) -> Result<RecordBatch> {
    let records = || deletions.iter().map(|deletion| &deletion.record);
    let times = |values: TimestampNanosecondArray| -> ArrayRef { Arc::new(values.with_timezone(UTC)) };
    let completed: TimestampNanosecondArray = records().map(|record| record.completed_ns).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(records().map(|record| record.id))),
        times(TimestampNanosecondArray::from_iter_values(records().map(|record| record.created_ns))),
        Arc::new(StringArray::from_iter_values(records().map(|_| tenant.as_str()))),
        Arc::new(StringArray::from_iter_values(records().map(|r| Signal::table_name(r.request.signal)))),
        Arc::new(StringArray::from_iter_values(records().map(|record| &record.request.predicate))),
        Arc::new(UInt64Array::from_iter_values(records().map(|record| record.request.num_rows))),
        Arc::new(StringArray::from_iter_values(records().map(|record| &record.request.requested_by))),
        times(completed),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
