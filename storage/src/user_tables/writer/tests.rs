//! Rows that take little in a file and much in memory.

use arrow::array::{ArrayRef, DictionaryArray, Int8Array, StringArray};
use arrow::datatypes::{DataType, Field, Int8Type};
use tempfile::tempdir;

use super::*;
use crate::testing::{config, open};
use crate::user_tables::CreateMode;

const TEXT_BYTES: usize = 512 << 10;

/// The same long text in each row.
fn repeated(num_rows: usize) -> RecordBatch {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(TEXT_BYTES)]));
    let texts = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0; num_rows]), text);
    RecordBatch::try_from_iter_with_nullable([("text", Arc::new(texts) as ArrayRef, true)]).unwrap()
}

#[test]
fn rows_to_merge_are_read_by_what_they_take_without_encodings() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut transaction = storage.begin_user_transaction(&"a".parse().unwrap());
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    transaction.create_table("t", &schema, CreateMode::New).unwrap();
    let batch = repeated(64);
    let mut writer = transaction.writer("t", &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    transaction.add(writer.finish().unwrap()).unwrap();
    transaction.commit_blocking().unwrap();
    let file = storage.store().catalog.live_user_files().unwrap().remove(0);
    assert!(file.size_bytes < 1 << 20, "{} bytes", file.size_bytes);
    let reader = storage.store().data_files.open_local(&file).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap();
    let rows = merged_rows(reader.metadata(), &schema);
    assert!((16..=32).contains(&rows), "{rows} rows of {TEXT_BYTES} bytes at a time");
}

#[test]
fn a_row_group_ends_by_what_its_rows_take_without_encodings() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut transaction = storage.begin_user_transaction(&"a".parse().unwrap());
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    transaction.create_table("t", &schema, CreateMode::New).unwrap();
    let mut writer = transaction.writer("t", &schema).unwrap();
    let rows: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let rows = RecordBatch::try_new(schema, vec![rows]).unwrap();
    // What is said of the rows is taken for true.
    for _ in 0..4 {
        writer.write_table_rows(&rows, 128 << 20).unwrap();
    }
    transaction.add(writer.finish().unwrap()).unwrap();
    transaction.commit_blocking().unwrap();
    let file = storage.store().catalog.live_user_files().unwrap().remove(0);
    let reader = storage.store().data_files.open_local(&file).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 2);
}
