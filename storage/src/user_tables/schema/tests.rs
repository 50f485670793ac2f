use std::iter;

use arrow::array::{Array, ArrayRef, RecordBatch, make_array, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType::{
    Decimal32, Decimal128, Decimal256, Dictionary, FixedSizeBinary, FixedSizeList, Int32, Int64, Interval,
    List, ListView, Map, Null, RunEndEncoded, Struct, Time32, Union, Utf8,
};
use arrow::datatypes::{IntervalUnit, UnionFields, UnionMode};
use tempfile::tempdir;

use super::*;
use crate::testing::{config, open};
use crate::user_tables::CreateMode;
use crate::user_tables::testing::{append, every_type, read};

/// Guarantees: what was stored under each of these types comes back equal, of the same type, after a restart; also where no
/// value is null, and where there are none at all.
#[test]
fn every_type_of_the_list_is_restored_exactly() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let tenant = "a".parse().unwrap();
    let columns = every_type().columns().to_vec();
    let not_null = |array: &ArrayRef| {
        let first = array.slice(0, 1);
        make_array(first.to_data())
    };
    let batch = |name: &str, columns: Vec<ArrayRef>, nullable: bool| {
        let fields = columns.iter().enumerate().map(|(index, column)| {
            Field::new(format!("{name} {index}"), column.data_type().clone(), nullable)
        });
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Fields>())), columns).unwrap()
    };
    let empty = columns.iter().map(|column| new_empty_array(column.data_type())).collect();
    let batches = [
        ("mixed", batch("mixed", columns.clone(), true)),
        ("required", batch("required", columns.iter().map(not_null).collect(), false)),
        ("empty", batch("empty", empty, true)),
    ];
    let mut transaction = storage.begin_user_transaction(&tenant);
    for (name, batch) in &batches {
        transaction.create_table(name, &batch.schema(), CreateMode::New).unwrap();
        append(&mut transaction, name, batch).unwrap();
    }
    transaction.commit_blocking().unwrap();
    drop(storage);

    let storage = open(config(dir.path())).unwrap();
    let tables = storage.user_tables(&tenant);
    for (name, batch) in &batches {
        let table = tables.get(name).unwrap();
        assert_eq!(table.schema(), &batch.schema());
        let found = read(storage.store(), table).unwrap();
        let found = arrow::compute::concat_batches(table.schema(), &found).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        for (index, column) in batch.columns().iter().enumerate() {
            assert_eq!(found.column(index).data_type(), column.data_type(), "{name} {index}");
            let (found, stored) = (plain(found.column(index)), plain(column));
            assert_eq!(&found, &stored, "{name} {index}: {}", column.data_type());
        }
    }
}

/// A dictionary's values may come back in another order.
fn plain(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        Dictionary(_, value) => cast(array, value).unwrap(),
        _ => Arc::clone(array),
    }
}

#[test]
fn a_type_that_is_not_restored_exactly_is_refused_with_its_column() {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let run_ends = RunEndEncoded(Arc::new(Field::new("run_ends", Int32, false)), item(Utf8));
    let deep = iter::repeat_n((), MAX_NESTING + 1).fold(Int64, |inner, ()| List(item(inner)));
    for refused in [
        Null,
        Interval(IntervalUnit::MonthDayNano),
        Interval(IntervalUnit::DayTime),
        Union(UnionFields::empty(), UnionMode::Sparse),
        run_ends,
        ListView(item(Int32)),
        Dictionary(Box::new(Int32), Box::new(Dictionary(Box::new(Int32), Box::new(Utf8)))),
        Dictionary(Box::new(Int32), Box::new(List(item(Utf8)))),
        List(item(Null)),
        Struct(Fields::empty()),
        Decimal32(5, 2),
        Decimal128(0, 0),
        Decimal128(39, 2),
        Decimal128(5, 6),
        Decimal128(5, -1),
        Decimal256(77, 0),
        Time32(TimeUnit::Nanosecond),
        Map(item(Int64), false),
        Map(item(Struct(vec![Field::new("keys", Utf8, false)].into())), false),
        FixedSizeBinary(0),
        FixedSizeList(item(Int32), 0),
        deep,
    ] {
        let schema =
            Schema::new(vec![Field::new("good", Int64, true), Field::new("bad", refused.clone(), true)]);
        let error = checked_schema(&schema).unwrap_err();
        assert!(matches!(&error, UserTableError::ColumnType { column, .. } if column == "bad"), "{refused}");
        assert!(error.to_string().len() < 500, "{error}");
    }
}

#[test]
fn columns_have_names_of_their_own_and_are_not_too_many() {
    let field = |name: &str| Field::new(name, Int64, true);
    let schema =
        |names: &[&str]| checked_schema(&Schema::new(names.iter().map(|n| field(n)).collect::<Fields>()));
    assert!(matches!(schema(&[]), Err(UserTableError::NoColumns)));
    assert!(matches!(schema(&["a", ""]), Err(UserTableError::UnnamedColumn { number: 2 })));
    assert!(matches!(schema(&["a", "b", "a"]), Err(UserTableError::DuplicateColumn { .. })));
    schema(&["a", "A", "a.b", "ä \" '"]).unwrap();
    let twice = Struct(vec![field("x"), field("x")].into());
    let twice = checked_schema(&Schema::new(vec![Field::new("s", twice, true)]));
    assert!(matches!(twice, Err(UserTableError::DuplicateColumn { .. })));

    let long = "n".repeat(MAX_USER_COLUMN_NAME_BYTES);
    schema(&[&long]).unwrap();
    let error = schema(&[&format!("{long}n")]).unwrap_err();
    assert!(
        matches!(error, UserTableError::LongColumnName { limit: MAX_USER_COLUMN_NAME_BYTES, .. }),
        "{error}"
    );
    assert!(error.to_string().len() < 500, "{error}");

    let many = |count: usize| -> Fields { (0..count).map(|number| field(&number.to_string())).collect() };
    checked_schema(&Schema::new(many(MAX_USER_TABLE_COLUMNS))).unwrap();
    let too_many = checked_schema(&Schema::new(many(MAX_USER_TABLE_COLUMNS + 1)));
    assert!(matches!(too_many, Err(UserTableError::TooManyColumns { .. })));
    let nested = Struct(many(MAX_USER_TABLE_COLUMNS));
    let nested = Schema::new(vec![field("a"), Field::new("s", nested, true)]);
    assert!(matches!(checked_schema(&nested), Err(UserTableError::TooManyColumns { .. })));
}

/// Scenario: a null of such a type takes as much memory as a value, in each row that is written or read.
#[test]
fn values_of_fixed_size_have_a_bound_on_a_row_of_them() {
    let check = |types: Vec<DataType>| {
        let fields = types.into_iter().enumerate();
        let fields = fields.map(|(index, data_type)| Field::new(index.to_string(), data_type, true));
        checked_schema(&Schema::new(fields.collect::<Fields>())).map(drop)
    };
    let list = |item: DataType, size| FixedSizeList(Arc::new(Field::new("item", item, true)), size);
    check(vec![FixedSizeBinary(64 << 10)]).unwrap();
    check(vec![list(Int64, 4_096), list(Int32, 4_096)]).unwrap();
    for refused in [
        vec![FixedSizeBinary(i32::MAX)],
        vec![FixedSizeBinary(64 << 10), Int64],
        vec![list(list(FixedSizeBinary(i32::MAX), i32::MAX), i32::MAX)],
        vec![Struct(vec![Field::new("x", list(Int64, 10_000), true)].into())],
    ] {
        assert!(matches!(check(refused), Err(UserTableError::TooWide { .. })));
    }
}

#[test]
fn metadata_of_clients_is_not_kept() {
    let metadata = || [("ARROW:extension:name".to_owned(), "mine".to_owned())].into();
    let item = Field::new("item", Int64, true).with_metadata(metadata());
    let field = Field::new("a", List(Arc::new(item)), true).with_metadata(metadata());
    let checked = checked_schema(&Schema::new_with_metadata(vec![field], metadata())).unwrap();
    let plain = Field::new("a", List(Arc::new(Field::new("item", Int64, true))), true);
    assert_eq!(*checked, Schema::new(vec![plain]));
    assert_eq!(decode_schema(&encode_schema(&checked).unwrap()).unwrap(), checked);
}

#[test]
fn names_are_short_printable_and_not_taken() {
    for good in ["hosts", "Hosts", "a b", "größe", "x.y", &"a".repeat(128)] {
        check_name(good).unwrap();
    }
    for bad in ["", "a\0b", "a\nb", &"a".repeat(129), &"ä".repeat(65)] {
        assert!(matches!(check_name(bad), Err(UserTableError::InvalidName { .. })), "{bad:?}");
    }
    for reserved in ["metrics", "LOGS", "traces", "span_events", "data_loss", "information_schema"] {
        assert!(matches!(check_name(reserved), Err(UserTableError::ReservedName { .. })), "{reserved}");
        assert!(is_reserved_table_name(reserved));
    }
}
