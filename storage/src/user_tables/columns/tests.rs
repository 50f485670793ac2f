use arrow::array::{
    AsArray, DictionaryArray, Int8Array, Int32Array, Int64Array, NullArray, RecordBatchOptions, StringArray,
};
use arrow::datatypes::DataType::{
    Binary, Boolean, Date32, Date64, Decimal128, Decimal256, Dictionary, FixedSizeBinary, Float32, Float64,
    Int8, Int16, Int32, Int64, LargeUtf8, List, Null, Struct, Time32, Time64, Timestamp, UInt16, UInt32,
    UInt64, Utf8, Utf8View,
};
use arrow::datatypes::TimeUnit::{Microsecond, Nanosecond, Second};
use arrow::datatypes::{Field, Int8Type, Int64Type};

use super::*;

fn field(name: &str, data_type: DataType, is_nullable: bool) -> Field {
    Field::new(name, data_type, is_nullable)
}

fn list(item: DataType, is_nullable: bool) -> DataType {
    List(Arc::new(field("item", item, is_nullable)))
}

fn text_dictionary() -> DataType {
    Dictionary(Box::new(Int32), Box::new(Utf8))
}

#[test]
fn what_loses_nothing_is_cast_and_nothing_else() {
    let utc = || Some("UTC".into());
    let item = |name: &str| List(Arc::new(field(name, Int32, true)));
    let lossless = [
        (Int8, Int64),
        (UInt32, Int64),
        (Int32, Float64),
        (UInt16, Float32),
        (Float32, Float64),
        (Utf8View, Utf8),
        (text_dictionary(), LargeUtf8),
        (Utf8, text_dictionary()),
        (FixedSizeBinary(4), Binary),
        (Int64, Decimal128(19, 0)),
        (Int64, Decimal128(21, 2)),
        (Decimal128(10, 2), Decimal256(12, 3)),
        (Timestamp(Second, None), Timestamp(Nanosecond, None)),
        (Timestamp(Microsecond, Some("+00:00".into())), Timestamp(Nanosecond, utc())),
        (Time32(Second), Time64(Nanosecond)),
        (Date32, Date64),
        (Null, Utf8),
        (item("element"), item("item")),
        (list(Int32, false), list(Int64, true)),
        (Struct(vec![field("a", Int8, false)].into()), Struct(vec![field("a", Int16, true)].into())),
    ];
    for (from, to) in lossless {
        assert!(is_lossless(&from, &to), "{from} to {to}");
    }
    let lossy = [
        (Int64, Int32),
        (Int64, UInt64),
        (UInt64, Int64),
        (Int64, Float64),
        (Int32, Float32),
        (Float64, Float32),
        (Float64, Int64),
        (Int64, Utf8),
        (Utf8, Int64),
        (Utf8, Binary),
        (Int64, Decimal128(18, 0)),
        (Decimal128(10, 2), Decimal128(10, 1)),
        (Decimal128(10, 2), Decimal128(11, 4)),
        (Timestamp(Nanosecond, None), Timestamp(Microsecond, None)),
        (Timestamp(Nanosecond, None), Timestamp(Nanosecond, utc())),
        (Date64, Date32),
        (list(Int32, true), list(Int32, false)),
        (Struct(vec![field("a", Int8, true)].into()), Struct(vec![field("b", Int8, true)].into())),
        (Boolean, Int8),
    ];
    for (from, to) in lossy {
        assert!(!is_lossless(&from, &to), "{from} to {to}");
    }
}

fn table() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("id", Int64, false),
        field("name", Utf8, true),
        field("at", Timestamp(Nanosecond, None), true),
    ]))
}

#[test]
fn columns_are_matched_by_name_and_absent_ones_are_null() {
    let given = Schema::new(vec![field("name", Utf8, true), field("id", Int32, true)]);
    let columns = Columns::try_new("t", &table(), &given).unwrap();
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let batch = |ids| RecordBatch::try_new(Arc::new(given.clone()), vec![Arc::clone(&names), ids]).unwrap();
    let rows = columns.apply(&batch(Arc::new(Int32Array::from(vec![7, 8])))).unwrap();
    assert_eq!(rows.schema(), table());
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[7, 8]);
    assert_eq!(rows.column(1), &names);
    assert_eq!(rows.column(2).null_count(), 2);

    let error = columns.apply(&batch(Arc::new(Int32Array::from(vec![Some(7), None])))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the column \"id\" of the table \"t\" may not be null, and a row has no value for it"
    );
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let refused =
        |fields: Vec<Field>| Columns::try_new("t", &table(), &Schema::new(fields)).unwrap_err().to_string();
    let id = || field("id", Int64, false);
    assert_eq!(refused(vec![id(), field("nmae", Utf8, true)]), "the table \"t\" has no column \"nmae\"");
    assert_eq!(
        refused(vec![field("name", Utf8, true)]),
        "the column \"id\" of the table \"t\" may not be null and is missing"
    );
    assert_eq!(refused(vec![id(), id()]), "there are two columns or fields with the name \"id\"");
    assert_eq!(
        refused(vec![id(), field("name", Int64, true)]),
        "the column \"name\" of the table \"t\" has the type Utf8, and Int64 cannot be cast to it without loss; \
         cast it in the statement"
    );
}

#[test]
fn a_time_that_is_out_of_the_range_of_a_finer_unit_is_refused() {
    let given = Schema::new(vec![field("id", Int64, false), field("at", Timestamp(Second, None), true)]);
    let columns = Columns::try_new("t", &table(), &given).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = |seconds: i64| {
        let times = arrow::array::TimestampSecondArray::from(vec![seconds]);
        RecordBatch::try_new(Arc::new(given.clone()), vec![Arc::clone(&ids), Arc::new(times)]).unwrap()
    };
    columns.apply(&batch(9_223_372_036)).unwrap();
    let error = columns.apply(&batch(9_223_372_037)).unwrap_err();
    assert!(
        error.to_string().contains("the column \"at\" of the table \"t\" does not fit its type"),
        "{error}"
    );
}

fn batch(columns: Vec<(&str, ArrayRef)>, num_rows: usize) -> RecordBatch {
    let fields = columns.iter().map(|(name, column)| field(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
    RecordBatch::try_new_with_options(schema, columns, &options).unwrap()
}

/// The parts of a batch, or why it has none.
fn parts(table: &Schema, batch: &RecordBatch) -> Result<Vec<Part>> {
    Columns::try_new("t", &Arc::new(table.clone()), &batch.schema()).unwrap().parts(batch)
}

/// A long text, once, for every row.
fn repeated(len: usize, num_rows: usize) -> ArrayRef {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(len)]));
    Arc::new(DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0; num_rows]), text))
}

/// Scenario: a few bytes of a client's that would become terabytes.
#[test]
fn a_batch_that_would_become_too_large_is_refused_before_anything_of_it_is_made() {
    let nullable = Schema::new(vec![field("a", Utf8, true), field("b", Int64, true)]);
    let nulls: ArrayRef = Arc::new(NullArray::new(1 << 40));
    for batch in [
        batch(vec![("a", nulls)], 1 << 40),
        batch(vec![], 1 << 40),
        batch(vec![("a", repeated(1 << 20, 5_000))], 5_000),
        batch(vec![("b", Arc::new(NullArray::new(MAX_BATCH_ROWS + 1)))], MAX_BATCH_ROWS + 1),
    ] {
        let error = parts(&nullable, &batch).unwrap_err();
        assert!(matches!(error, Error::UserTable(UserTableError::BatchTooLarge { .. })), "{error}");
    }
    let one = batch(vec![("a", repeated((64 << 20) + 1, 1))], 1);
    let error = parts(&nullable, &one).unwrap_err();
    assert!(matches!(error, Error::UserTable(UserTableError::RowTooLarge { .. })), "{error}");
}

#[test]
fn a_batch_is_divided_into_parts_of_a_bounded_size_which_are_all_of_it() {
    let table = Schema::new(vec![field("a", Utf8, true), field("wide", FixedSizeBinary(64 << 10), true)]);
    let batch = batch(vec![("a", repeated(1 << 20, 100))], 100);
    let parts = parts(&table, &batch).unwrap();
    assert!(parts.len() > 1 && parts.iter().all(|part| part.bytes <= PART_BYTES), "{parts:?}");
    let mut next = 0;
    for part in &parts {
        assert_eq!(part.start, next);
        next += part.num_rows;
    }
    assert_eq!(next, 100);
    let given = Columns::try_new("t", &Arc::new(table), &batch.schema()).unwrap();
    let rows = given.apply(&batch.slice(parts[0].start, parts[0].num_rows)).unwrap();
    assert_eq!(rows.column(0).as_string::<i32>().value(0).len(), 1 << 20);
}
