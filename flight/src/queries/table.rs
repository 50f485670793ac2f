//! `system.queries`: what runs and what ran lately. A row is one run of a query.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use alula_auth::Principal;
use alula_catalog::TenantId;
use alula_catalog::schema::{TENANT_ID, UTC};
use alula_storage::table::SystemTable;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::Queries;
use super::query::{Figures, Named, Record};

const NAME: &str = "queries";

/// Columns that are figures.
const FIGURES: [Named; 10] = [
    ("elapsed_ms", Figures::elapsed_ms),
    ("rows", |figures| figures.rows),
    ("bytes", |figures| figures.bytes),
    ("rows_scanned", |figures| figures.scans.rows),
    ("bytes_scanned", |figures| figures.scans.bytes),
    ("files_read", |figures| figures.scans.files_read),
    ("files_pruned", |figures| figures.scans.files_pruned),
    ("row_groups_read", |figures| figures.scans.row_groups_read),
    ("row_groups_pruned", |figures| figures.scans.row_groups_pruned),
    ("memory_peak_bytes", |figures| figures.memory_peak_bytes),
];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    let mut fields = vec![
        text("query_id", false),
        Field::new("started", DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), false),
        text(TENANT_ID, false),
        text("subject", false),
        text("state", false),
        text("error", true),
        text("sql", false),
        Field::new("progress", DataType::Float64, false),
    ];
    fields.extend(FIGURES.map(|(name, _)| Field::new(name, DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
});

/// The schema `system` with the table of what `principal` may see.
pub(crate) fn with_queries(
    system: Arc<dyn SchemaProvider>,
    queries: &Arc<Queries>,
    principal: &Principal,
) -> Arc<dyn SchemaProvider> {
    Arc::new(WithQueries {
        system,
        queries: Arc::clone(queries),
        tenant: principal.tenant().clone(),
        subject: (!principal.is_admin()).then(|| principal.subject().to_owned()),
        rows: OnceLock::new(),
    })
}

struct WithQueries {
    system: Arc<dyn SchemaProvider>,
    queries: Arc<Queries>,
    tenant: TenantId,
    /// The only one whose queries show; none for all of the tenant.
    subject: Option<String>,
    /// All mentions in a statement have the same rows.
    rows: OnceLock<RecordBatch>,
}

impl std::fmt::Debug for WithQueries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithQueries").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for WithQueries {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.system.table_names();
        names.push(NAME.to_owned());
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name != NAME {
            return self.system.table(name).await;
        }
        if self.rows.get().is_none() {
            let records = self.queries.visible(&self.tenant, self.subject.as_deref());
            // Another mention may have been faster.
            let _ = self.rows.set(rows(&records)?);
        }
        let rows = self.rows.get().cloned().unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&SCHEMA)));
        Ok(Some(Arc::new(SystemTable::try_new(&self.tenant, NAME, rows)?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        name == NAME || self.system.table_exist(name)
    }
}

/// Shape: oldest first, those that run last.
fn rows(records: &[Record]) -> Result<RecordBatch> {
    let texts = |text: fn(&Record) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(text)))
    };
    let started = TimestampNanosecondArray::from_iter_values(records.iter().map(|r| unix_ns(r.started)));
    let mut columns: Vec<ArrayRef> = vec![
        texts(|record| &record.id),
        Arc::new(started.with_timezone(UTC)),
        texts(|record| record.tenant.as_str()),
        texts(|record| &record.subject),
        texts(|record| record.state.as_str()),
        Arc::new(records.iter().map(|record| record.error.as_deref()).collect::<StringArray>()),
        texts(|record| &record.sql),
        Arc::new(Float64Array::from_iter_values(records.iter().map(|record| record.progress))),
    ];
    for (_, figure) in FIGURES {
        columns.push(Arc::new(UInt64Array::from_iter_values(records.iter().map(|r| figure(&r.figures)))));
    }
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

fn unix_ns(time: SystemTime) -> i64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}
