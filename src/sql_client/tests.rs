//! Output formats as exact text for one batch with all kinds of columns; addresses and credentials.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, ListBuilder,
    RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use arrow::ipc::reader::{FileReader, StreamReader};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::output::LeftOut;
use super::*;

/// Two rows, one full and one as null as its columns allow.
fn batch() -> RecordBatch {
    let mut counts = ListBuilder::new(UInt64Builder::new());
    counts.append_value([Some(1), Some(2)]);
    counts.append_null();
    let event = StructArray::try_new(
        vec![
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), true),
            Field::new("name", DataType::Utf8, false),
        ]
        .into(),
        vec![
            Arc::new(TimestampNanosecondArray::from(vec![Some(5), None]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec!["start", "stop"])),
        ],
        None,
    )
    .unwrap();
    let service: DictionaryArray<Int32Type> = vec![Some("pay|ments"), None].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "timestamp",
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_000_000_001, 0]).with_timezone("UTC")),
        ),
        ("local", Arc::new(TimestampNanosecondArray::from(vec![Some(1_500_000_000), None]))),
        ("service", Arc::new(service)),
        ("body", Arc::new(StringArray::from(vec![Some("two\nlines, \"quoted\"\u{1b}[31m"), Some("")]))),
        ("value", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN)]))),
        ("big", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("raw", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), None]))),
        ("counts", Arc::new(counts.finish())),
        ("event", Arc::new(event)),
    ];
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn encode_with(format: Format, layout: Layout, batches: &[RecordBatch]) -> (Vec<u8>, LeftOut) {
    let schema = batch().schema();
    let mut encoder = encoder(format, &schema, layout).unwrap();
    let mut out = Vec::new();
    for batch in batches {
        encoder.encode(batch, &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    (out, encoder.left_out())
}

fn text(format: Format, batches: &[RecordBatch]) -> String {
    String::from_utf8(encode_with(format, Layout::default(), batches).0).unwrap()
}

#[test]
fn csv_has_a_header_and_quotes_only_what_needs_it() {
    insta::assert_snapshot!(text(Format::Csv, &[batch()]));
}

#[test]
fn json_is_one_array_with_every_key_in_every_object() {
    let json = text(Format::Json, &[batch(), batch()]);
    insta::assert_snapshot!(json);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed.as_array().map(Vec::len), Some(4));
    assert_eq!(parsed[0]["big"].as_i64(), Some(9_007_199_254_740_993));
}

#[test]
fn json_lines_hold_one_object_each() {
    let lines = text(Format::Jsonl, &[batch()]);
    insta::assert_snapshot!(lines);
    for line in lines.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }
}

#[test]
fn a_box_table_keeps_each_row_on_one_line() {
    insta::assert_snapshot!(text(Format::Table, &[batch()]));
}

#[test]
fn a_markdown_table_escapes_bars() {
    insta::assert_snapshot!(text(Format::Markdown, &[batch()]));
}

#[test]
fn vertical_output_lines_up_the_names() {
    insta::assert_snapshot!(text(Format::Vertical, &[batch()]));
}

#[test]
fn an_answer_without_rows_still_has_its_header() {
    let names = "timestamp,local,service,body,value,big,ok,raw,counts,event\n";
    assert_eq!(text(Format::Csv, &[]), names);
    assert_eq!(text(Format::Json, &[]), "[]\n");
    assert_eq!(text(Format::Jsonl, &[]), "");
    assert_eq!(text(Format::Vertical, &[]), "");
    assert!(text(Format::Table, &[]).contains("timestamp"));
    assert!(text(Format::Markdown, &[]).starts_with("| timestamp |"));
}

#[test]
fn timestamps_of_other_zones_keep_their_offset() {
    let array: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![0]).with_timezone("+02:00"));
    let batch = RecordBatch::try_from_iter([("t", array)]).unwrap();
    for (format, expected) in [
        (Format::Csv, "t\n1970-01-01T02:00:00.000000000+02:00\n"),
        (Format::Jsonl, "{\"t\":\"1970-01-01T02:00:00.000000000+02:00\"}\n"),
    ] {
        let mut encoder = encoder(format, &batch.schema(), Layout::default()).unwrap();
        let mut out = Vec::new();
        encoder.encode(&batch, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn a_terminal_is_told_how_much_does_not_fit() {
    let layout = Layout { max_rows: Some(3), max_width: Some(80), seekable: false };
    for format in [Format::Table, Format::Markdown, Format::Vertical] {
        let (_, left_out) = encode_with(format, layout, &[batch(), batch(), batch()]);
        assert_eq!(left_out.rows, 3, "{format:?}");
    }
    let (table, left_out) = encode_with(Format::Table, layout, &[batch()]);
    let table = String::from_utf8(table).unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert_eq!(left_out, LeftOut { rows: 0, columns: 8 });
}

#[test]
fn a_long_answer_comes_as_several_tables_with_all_rows() {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..25_000));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let mut encoder = encoder(Format::Table, &batch.schema(), Layout::default()).unwrap();
    let mut out = Vec::new();
    encoder.encode(&batch, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().filter(|line| line.starts_with('│') && !line.contains(" n ")).count(), 25_000);
    assert_eq!(out.matches('┌').count(), 3);
}

#[test]
fn arrow_and_parquet_read_back_as_they_were() {
    let rows = [batch(), batch()];
    let (stream, _) = encode_with(Format::Arrow, Layout::default(), &rows);
    let read: Vec<_> = StreamReader::try_new(stream.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 2);
    assert_same_rows(&read[1]);

    let seekable = Layout { seekable: true, ..Layout::default() };
    let (file, _) = encode_with(Format::Arrow, seekable, &rows);
    let read: Vec<_> =
        FileReader::try_new(std::io::Cursor::new(file), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 2);
    assert_same_rows(&read[1]);

    let (parquet, _) = encode_with(Format::Parquet, Layout::default(), &rows);
    let mut reader = ParquetRecordBatchReader::try_new(Bytes::from(parquet), 1024).unwrap();
    let read = reader.next().unwrap().unwrap();
    assert_eq!(read.num_rows(), 4);
    assert_same_rows(&read.slice(2, 2));
}

/// Compared as text: NaN is not equal to itself.
fn assert_same_rows(read: &RecordBatch) {
    assert_eq!(text(Format::Csv, std::slice::from_ref(read)), text(Format::Csv, &[batch()]));
}

#[test]
fn addresses_without_tls_are_accepted_in_every_common_spelling() {
    for (given, shown) in [
        ("grpc://127.0.0.1:4317", "grpc://127.0.0.1:4317"),
        ("grpc+tcp://db:1", "grpc://db:1"),
        ("http://localhost:5000/", "grpc://localhost:5000"),
        ("localhost:4317", "grpc://localhost:4317"),
        ("localhost", "grpc://localhost:4317"),
        ("[::1]:9", "grpc://[::1]:9"),
        (" grpc://h:2 ", "grpc://h:2"),
    ] {
        assert_eq!(given.parse::<ServerUrl>().map(|url| url.to_string()), Ok(shown.to_owned()), "{given}");
    }
}

#[test]
fn addresses_that_cannot_be_served_say_why() {
    for (given, reason) in [
        ("https://h:1", "TLS is not supported yet"),
        ("grpcs://h:1", "TLS is not supported yet"),
        ("grpc+tls://h:1", "TLS is not supported yet"),
        ("ftp://h:1", "the scheme must be"),
        ("grpc://u:p@h:1", "--token"),
        ("grpc://h:1/path", "no path"),
        ("grpc://h:0", "port"),
        ("grpc://h:99999", "port"),
        ("grpc://h:", "port"),
        ("grpc://:4317", "host"),
        ("", "grpc://HOST:PORT"),
        ("a b", "grpc://HOST:PORT"),
    ] {
        let error = given.parse::<ServerUrl>().expect_err(given);
        assert!(error.contains(reason), "{given}: {error}");
    }
}

#[test]
fn a_token_is_trimmed_and_never_shown() {
    let credentials = Credentials::bearer(" abc.def \n").unwrap();
    let mut request = tonic::Request::new(());
    credentials.apply(&mut request);
    assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer abc.def");
    assert_eq!(format!("{credentials:?}"), "Credentials(bearer)");
    assert!(!format!("{request:?}").contains("abc.def"));
    assert!(matches!(Credentials::bearer("a\u{7f}b"), Err(Error::MalformedToken)));
}

#[test]
fn a_file_appears_only_when_the_answer_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("answer.csv");
    std::fs::write(&path, "old").unwrap();
    let mut unfinished = Destination::new(Some(path.clone())).open().unwrap();
    unfinished.write(b"half").unwrap();
    drop(unfinished);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    let mut finished = Destination::new(Some(path.clone())).open().unwrap();
    finished.write(b"new").unwrap();
    finished.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
