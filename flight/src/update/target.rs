//! Which tables a statement may write, and how it fills one that it makes.

use std::sync::Arc;

use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME};
use alula_storage::{
    CreateMode, Error as StorageError, UserTableError, UserTransaction, is_reserved_table_name,
};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::TableReference;
use futures::stream::BoxStream;

use super::writes::Writes;
use crate::command::cut;
use crate::context::QueryContext;
use crate::{Error, Result};

/// How often a statement of its own is tried that others get in the way of. Each time at least one of them gets through.
pub(super) const MAX_ATTEMPTS: u32 = 32;

/// A statement that failed.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether the transaction is as it was before.
    pub(crate) is_undone: bool,
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), is_undone: true }
    }
}

/// The name of a table that a statement makes.
///
/// # Errors
/// `ForeignSchema` — it would be in another schema than that of the tenant's tables.
pub(crate) fn new_table(context: &QueryContext, reference: TableReference) -> Result<String> {
    let written = reference.to_string();
    own(context, reference).ok_or_else(|| Error::ForeignSchema { name: cut(&written).to_owned() })
}

/// The name of a table that a statement changes. Whether there is one is another question.
///
/// # Errors
/// `NotWritable` — it is not one of the tenant's own.
pub(crate) fn changed_table(context: &QueryContext, reference: TableReference) -> Result<String> {
    let written = reference.to_string();
    let name = own(context, reference).filter(|name| !is_reserved_table_name(name));
    name.ok_or_else(|| Error::NotWritable { name: cut(&written).to_owned() })
}

fn own(context: &QueryContext, reference: TableReference) -> Option<String> {
    let resolved = reference.resolve(CATALOG_NAME, context.settings.schema());
    let is_own = (&*resolved.catalog, &*resolved.schema) == (CATALOG_NAME, SCHEMA_NAME);
    is_own.then(|| resolved.table.to_string())
}

/// # Errors
/// `NeedsWrite`.
pub(crate) fn check_role(context: &QueryContext, what: &'static str) -> Result<()> {
    if context.can_write { Ok(()) } else { Err(Error::NeedsWrite { what }) }
}

/// The columns of a table for rows of `schema`: encodings that save room on the way are none of the table's.
pub(crate) fn table_schema(schema: &Schema) -> SchemaRef {
    let field =
        |field: &FieldRef| Field::new(field.name(), table_type(field.data_type()), field.is_nullable());
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// A column of nulls alone may get any values later; as text it can take them. What no file has a type for becomes what has
/// room for its values.
fn table_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::ListView(item) => DataType::List(Arc::clone(item)),
        DataType::LargeListView(item) => DataType::LargeList(Arc::clone(item)),
        DataType::Dictionary(_, values) => table_type(values),
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

/// Appends rows with the columns `given` to a table; one that was `made` for them by the same statement goes if that fails.
pub(crate) async fn fill(
    transaction: &mut UserTransaction,
    name: &str,
    made: Option<CreateMode>,
    given: &Schema,
    rows: BoxStream<'static, Result<RecordBatch>>,
) -> Result<u64, Failed> {
    let error = match transaction.append(name, given, rows).await {
        Ok(num_rows) => return Ok(num_rows),
        Err(error) => error,
    };
    let is_undone = match made {
        None => true,
        // What it replaced is gone from the transaction.
        Some(CreateMode::Replace) => false,
        Some(CreateMode::New | CreateMode::IfNotExists) => transaction.drop_table(name).is_ok(),
    };
    Err(Failed { error, is_undone })
}

/// What the transaction of a statement has written, if it is in one.
///
/// # Errors
/// As of [`Transactions::write`](crate::transaction::Transactions::write). `Storage` — `Outdated`.
pub(crate) fn writes_of(context: &QueryContext) -> Result<Option<Arc<Writes>>> {
    let Some(transaction) = &context.settings.transaction else { return Ok(None) };
    let begin = || {
        let writes = Writes::begin(&context.storage, &context.tenant);
        if transaction.sees(&writes.tables()) {
            return Ok(writes);
        }
        Err(StorageError::from(UserTableError::Outdated).into())
    };
    context.transactions.write(&context.tenant, transaction, begin).map(Some)
}

/// Whether another transaction was first.
pub(super) fn is_conflict(error: &StorageError) -> bool {
    matches!(error, StorageError::UserTable(UserTableError::Conflict { .. }))
}
