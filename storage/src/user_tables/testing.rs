//! Small tables, and what is in them.

mod every_type;

use std::sync::Arc;

#[cfg(feature = "datafusion")]
use alula_catalog::TenantId;
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub(crate) use every_type::every_type;

use super::{CreateMode, UserTable, UserTables, UserTransaction};
use crate::store::Store;
use crate::{Result, Storage};

/// A number that may not be null, and a text.
pub(crate) fn schema() -> SchemaRef {
    let number = Field::new("number", DataType::Int64, false);
    Arc::new(Schema::new(vec![number, Field::new("text", DataType::Utf8, true)]))
}

/// A row for each number, with the text `row <number>`.
pub(crate) fn rows(numbers: &[i64]) -> RecordBatch {
    let texts: StringArray = numbers.iter().map(|number| Some(format!("row {number}"))).collect();
    let numbers = Int64Array::from(numbers.to_vec());
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
}

pub(crate) fn create(transaction: &mut UserTransaction, name: &str) -> Result<()> {
    transaction.create_table(name, &schema(), CreateMode::New).map(drop)
}

/// One statement.
pub(crate) fn append(transaction: &mut UserTransaction, name: &str, batch: &RecordBatch) -> Result<u64> {
    let mut writer = transaction.writer(name, &batch.schema())?;
    writer.write(batch)?;
    transaction.add(writer.finish()?)
}

/// A statement that is a transaction of its own.
pub(crate) fn append_and_commit(storage: &Storage, tenant: &str, name: &str, numbers: &[i64]) -> Result<()> {
    let mut transaction = storage.begin_user_transaction(&tenant.parse().unwrap());
    append(&mut transaction, name, &rows(numbers))?;
    transaction.commit_blocking()
}

/// A table with rows of these numbers.
pub(crate) fn create_and_commit(storage: &Storage, tenant: &str, name: &str, numbers: &[i64]) -> Result<()> {
    let mut transaction = storage.begin_user_transaction(&tenant.parse().unwrap());
    create(&mut transaction, name)?;
    append(&mut transaction, name, &rows(numbers))?;
    transaction.commit_blocking()
}

/// All batches of a table, file by file.
pub(crate) fn read(store: &Store, table: &UserTable) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    for file in table.files() {
        let reader = store.data_files.open_local(file)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().build().unwrap();
        batches.extend(reader.map(std::result::Result::unwrap));
    }
    Ok(batches)
}

/// The rows of a table, printed and sorted.
pub(crate) fn contents_of(store: &Store, table: &UserTable) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut lines = Vec::new();
    for batch in read(store, table)? {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        lines.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")
        }));
    }
    lines.sort();
    Ok(lines)
}

/// What [`contents_of`] gives for [`rows`].
pub(crate) fn expected(numbers: impl IntoIterator<Item = i64>) -> Vec<String> {
    let mut lines: Vec<_> = numbers.into_iter().map(|number| format!("{number} row {number}")).collect();
    lines.sort();
    lines
}

/// The names of all tables with their rows.
pub(crate) fn all_contents(store: &Store, tables: &UserTables) -> Result<Vec<(String, Vec<String>)>> {
    tables.iter().map(|table| Ok((table.name().to_owned(), contents_of(store, table)?))).collect()
}

/// [`contents_of`] a committed table.
pub(crate) fn contents(storage: &Storage, tenant: &str, name: &str) -> Vec<String> {
    let tables = storage.user_tables(&tenant.parse().unwrap());
    contents_of(storage.store(), tables.get(name).expect("the table is there")).unwrap()
}

/// The one table `table`, of another owner or with the files of another table, as no catalog may have it.
#[cfg(feature = "datafusion")]
pub(crate) fn foreign_tables(owner: &TenantId, table: &UserTable, files: &UserTable) -> UserTables {
    let mut tables = UserTables::new(owner.clone());
    tables.insert(UserTable { files: Arc::clone(&files.files), ..table.clone() });
    tables
}

/// Names of files below the directory of user tables, sorted.
pub(crate) fn files_on_disk(store: &Store) -> Vec<String> {
    let tree = crate::reconcile::Tree::read(&store.layout);
    let ours = tree.files.into_iter().filter(|path| path.starts_with(store.layout.user_tables_dir()));
    let mut names: Vec<_> = ours.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
