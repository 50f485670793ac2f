//! The types in which a table is sent, and in which its rows can be sent back.

use arrow::array::{Array, AsArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimestampNanosecondType};
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::*;
use crate::convert::tests::draw::Draw;

/// Rows of each table with all that there is in them.
fn full(signal: Signal) -> RecordBatch {
    let draw = |seed: u32| -> Vec<u8> {
        let bytes = (0..3000_u32).map(|index| (index * 7 + seed * 131).wrapping_mul(2_654_435_761) >> 16);
        let bytes: Vec<u8> = bytes.map(|drawn| drawn as u8).collect();
        match signal {
            Signal::Metrics => Draw(&bytes).metrics().encode_to_vec(),
            Signal::Logs => Draw(&bytes).logs().encode_to_vec(),
            Signal::Traces => Draw(&bytes).traces().encode_to_vec(),
        }
    };
    // Requests one after the other are one.
    let payload: Vec<u8> = (0..50).flat_map(draw).collect();
    let policy = Policy::Check(Limits { max_future_ns: i64::MAX });
    let context = Context { tenant: TenantId::unauthenticated(), received_ns: RECEIVED_NS, policy };
    let batch = convert(signal, &payload, &context).unwrap().batch;
    assert!(batch.num_rows() > 50, "{signal}: {}", batch.num_rows());
    batch
}

/// The batch with other columns.
fn with_columns(batch: &RecordBatch, change: impl Fn(&ArrayRef) -> ArrayRef) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(change).collect();
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

fn check(change: impl Fn(&ArrayRef) -> ArrayRef) {
    for signal in Signal::ALL {
        check_table(signal, &change);
    }
}

fn check_table(signal: Signal, change: impl Fn(&ArrayRef) -> ArrayRef) {
    let batch = full(signal);
    let changed = with_columns(&batch, &change);
    assert_eq!(restore(signal, &changed).unwrap(), restore(signal, &batch).unwrap(), "{signal}");
    assert_eq!(restore(signal, &changed.slice(0, 0)).unwrap(), [], "columns without rows are as good");
}

fn recast(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    cast_with_options(column, data_type, &CastOptions { safe: false, ..CastOptions::default() }).unwrap()
}

#[test]
fn plain_text_and_text_in_runs_are_as_good_as_a_dictionary() {
    let text_as = |wanted: DataType| {
        move |column: &ArrayRef| match column.data_type() {
            DataType::Dictionary(..) | DataType::Utf8 => recast(&recast(column, &DataType::Utf8), &wanted),
            _ => Arc::clone(column),
        }
    };
    check(text_as(DataType::Utf8));
    check(text_as(DataType::LargeUtf8));
    check(text_as(DataType::Utf8View));
    check(text_as(DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::LargeUtf8))));
    let run_ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    check(text_as(DataType::RunEndEncoded(run_ends, Arc::new(Field::new("values", DataType::Utf8, true)))));
}

/// As JDBC and Polars have them.
#[test]
fn wider_numbers_and_larger_lists_are_as_good() {
    fn wide(data_type: &DataType) -> DataType {
        let item = |field: &FieldRef| Arc::new(Field::new(field.name(), wide(field.data_type()), true));
        match data_type {
            DataType::UInt32 | DataType::Int32 => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Utf8 => DataType::LargeUtf8,
            DataType::List(field) => DataType::LargeList(item(field)),
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect()),
            other => other.clone(),
        }
    }
    check(|column| recast(column, &wide(column.data_type())));
}

#[test]
fn a_time_without_a_zone_is_in_utc_and_one_with_another_is_the_same_instant() {
    let zoned = |zone: Option<&str>| {
        let zone: Option<Arc<str>> = zone.map(Into::into);
        move |column: &ArrayRef| -> ArrayRef {
            match column.as_primitive_opt::<TimestampNanosecondType>() {
                Some(times) => Arc::new(times.clone().with_timezone_opt(zone.clone())),
                None => Arc::clone(column),
            }
        }
    };
    check(zoned(None));
    check(zoned(Some("+02:00")));
    check(zoned(Some("no zone at all")));
}

/// As Grafana and ODBC have them. Those of metrics may hold numbers that JSON has not.
#[test]
fn lists_as_json_text_are_as_good() {
    check_table(Signal::Traces, |column| {
        if !matches!(column.data_type(), DataType::List(_)) {
            return Arc::clone(column);
        }
        let field: FieldRef = Arc::new(Field::new("value", column.data_type().clone(), true));
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let mut encoder = make_encoder(&field, column.as_ref(), &options).unwrap();
        let text = |row: usize| {
            let mut text = Vec::new();
            encoder.encode(row, &mut text);
            column.is_valid(row).then(|| String::from_utf8(text).unwrap())
        };
        Arc::new((0..column.len()).map(text).collect::<StringArray>())
    });
}

#[test]
fn ids_are_hexadecimal_text_or_bytes() {
    let as_text = restore(Signal::Traces, &rows(least(Signal::Traces))).unwrap();
    let bytes: Vec<u8> = (1..=16).collect();
    let bytes: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![&bytes]));
    for data_type in [DataType::Binary, DataType::FixedSizeBinary(16), DataType::BinaryView] {
        let ids = cast(&bytes, &data_type).unwrap();
        assert_eq!(restore(Signal::Traces, &least_with(Signal::Traces, "trace_id", ids)).unwrap(), as_text);
    }
}

#[test]
fn what_the_server_makes_itself_is_ignored() {
    let columns = [
        ("tenant_id", texts(&["another"])),
        ("ingested_at", times(1)),
        ("ingest_seq", ints(&[7])),
        ("series_id", texts(&["of any type"])),
    ];
    let with = rows(least(Signal::Metrics).into_iter().chain(columns));
    assert_eq!(stored(Signal::Metrics, &with), stored(Signal::Metrics, &rows(least(Signal::Metrics))));
}
