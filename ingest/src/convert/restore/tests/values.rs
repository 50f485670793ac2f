//! What rows with few columns say, and what a column says in place of another.

use arrow::array::{Array, AsArray, TimestampSecondArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;

/// `column = value` of a row, for the columns that are named.
fn shown(batch: &RecordBatch, row: usize, columns: &[&str]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let value = |name: &&str| {
        let column = batch.column_by_name(name).unwrap();
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        format!("{name} = {}", formatter.value(row)).trim_end().to_owned()
    };
    columns.iter().map(value).collect()
}

#[test]
fn a_metric_needs_a_time_and_a_name() {
    let batch = stored(Signal::Metrics, &rows(least(Signal::Metrics)));
    let columns =
        ["timestamp", "timestamp_source", "name", "type", "value", "value_int", "unit", "attributes"];
    let expected = [
        "timestamp = 2026-11-21T07:59:59Z",
        "timestamp_source = record",
        "name = m",
        "type = gauge",
        "value = 1.5",
        "value_int = null",
        "unit =",
        "attributes = {}",
    ];
    assert_eq!(shown(&batch, 0, &columns), expected);
    assert_eq!(
        shown(&batch, 0, &["resource_attributes", "scope_name"]),
        ["resource_attributes = null", "scope_name = null"]
    );
}

#[test]
fn integers_as_values_stay_exact() {
    let exact = i64::MAX - 1;
    let batch = stored(Signal::Metrics, &least_with(Signal::Metrics, "value", ints(&[exact])));
    assert_eq!(shown(&batch, 0, &["value_int"]), [format!("value_int = {exact}")]);
}

#[test]
fn a_log_record_needs_a_time_of_either_kind() {
    let batch = stored(Signal::Logs, &rows(least(Signal::Logs)));
    assert_eq!(
        shown(&batch, 0, &["timestamp", "body", "body_type", "severity_number", "observed_timestamp"]),
        [
            "timestamp = 2026-11-21T07:59:59Z",
            "body = b",
            "body_type = string",
            "severity_number = 0",
            "observed_timestamp = null"
        ]
    );
    let time = rows([("time", times(1)), ("body", texts(&["b"]))]);
    assert_eq!(stored(Signal::Logs, &time), batch);
    let observed = stored(Signal::Logs, &rows([("observed_timestamp", times(1))]));
    assert_eq!(
        shown(&observed, 0, &["timestamp", "timestamp_source", "body", "body_type"]),
        [
            "timestamp = 2026-11-21T07:59:59Z",
            "timestamp_source = observed",
            "body = null",
            "body_type = null"
        ]
    );
}

#[test]
fn a_row_without_a_time_has_that_of_its_receipt_and_keeps_it() {
    let none: ArrayRef = Arc::new(TimestampSecondArray::from(vec![None::<i64>]));
    let first = stored(Signal::Logs, &least_with(Signal::Logs, "timestamp", none));
    let columns = ["timestamp", "timestamp_source"];
    let received = "timestamp = 2026-11-21T08:00:00Z";
    assert_eq!(shown(&first, 0, &columns), [received, "timestamp_source = received"]);
    let again = stored(Signal::Logs, &first);
    assert_eq!(shown(&again, 0, &columns), [received, "timestamp_source = record"]);
}

#[test]
fn a_span_ends_when_it_says_or_after_its_duration() {
    let batch = stored(Signal::Traces, &rows(least(Signal::Traces)));
    let columns = ["end_timestamp", "duration_ns", "kind", "status_code", "trace_id", "parent_span_id"];
    let expected = [
        "end_timestamp = 2026-11-21T07:59:59.000000007Z",
        "duration_ns = 7",
        "kind = unspecified",
        "status_code = null",
        "trace_id = 0102030405060708090a0b0c0d0e0f10",
        "parent_span_id = null",
    ];
    assert_eq!(shown(&batch, 0, &columns), expected);
    let end: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![TIME_US + 1]));
    let both = stored(Signal::Traces, &least_with(Signal::Traces, "end_timestamp", end));
    assert_eq!(shown(&both, 0, &["duration_ns"]), ["duration_ns = 1000"]);
    let refusal = refused(Signal::Traces, &least_with(Signal::Traces, "duration_ns", ints(&[-7])));
    assert_eq!(refusal, "row 1: duration_ns is -7, with which the span has no end");
}

#[test]
fn a_service_name_stands_for_the_attribute_and_does_not_contradict_it() {
    let named = |attributes: Option<&str>| {
        let mut columns = least(Signal::Logs);
        columns.push(("service_name", texts(&["shop"])));
        columns.extend(attributes.map(|attributes| ("resource_attributes", texts(&[attributes]))));
        rows(columns)
    };
    for (attributes, expected) in [
        (None, r#"resource_attributes = {"service.name":"shop"}"#),
        (Some(r#"{"host":"h"}"#), r#"resource_attributes = {"host":"h","service.name":"shop"}"#),
        (Some(r#"{"service.name":"shop"}"#), r#"resource_attributes = {"service.name":"shop"}"#),
    ] {
        let batch = stored(Signal::Logs, &named(attributes));
        assert_eq!(
            shown(&batch, 0, &["service_name", "resource_attributes"]),
            ["service_name = shop", expected]
        );
    }
    assert_eq!(
        refused(Signal::Logs, &named(Some(r#"{"service.name":"cart"}"#))),
        "row 1: service_name is \"shop\", and service.name in resource_attributes is something else: leave one of them out"
    );
}

#[test]
fn a_body_is_what_its_type_says() {
    let body = |body: &str, body_type: &str| {
        rows(
            least(Signal::Logs)
                .into_iter()
                .filter(|(name, _)| *name != "body")
                .chain([("body", texts(&[body])), ("body_type", texts(&[body_type]))]),
        )
    };
    for (text, body_type) in [
        ("1", "int"),
        ("1.0", "double"),
        ("{\"a\":1}", "map"),
        ("[1]", "array"),
        ("true", "bool"),
        ("1", "string"),
    ] {
        let batch = stored(Signal::Logs, &body(text, body_type));
        let expected = [format!("body = {text}"), format!("body_type = {body_type}")];
        assert_eq!(shown(&batch, 0, &["body", "body_type"]), expected);
    }
    assert_eq!(
        refused(Signal::Logs, &body("1", "double")),
        "row 1: body is \"1\", and body_type is \"double\": give the type that the JSON of the body has, or string"
    );
}

#[test]
fn attributes_may_be_any_json_object_and_are_stored_in_canonical_form() {
    for (given, expected) in [
        (" {\"b\" : [ 1 , 2.50 ] ,\n\"a\":null} ", r#"{"a":null,"b":[1,2.5]}"#),
        (r#"{"a":"\u00e4","a":2}"#, r#"{"a":"ä","a":2}"#),
        (r#"{"a":{"$double":"NaN"},"b":1E3}"#, r#"{"a":{"$double":"NaN"},"b":1000.0}"#),
        (r#"{"a":{"$map":{"$bytes":"x"}}}"#, r#"{"a":{"$map":{"$bytes":"x"}}}"#),
    ] {
        let batch = stored(Signal::Logs, &least_with(Signal::Logs, "attributes", texts(&[given])));
        let attributes = cast(batch.column_by_name("attributes").unwrap(), &DataType::Utf8).unwrap();
        assert_eq!(attributes.as_string::<i32>().value(0), expected);
        assert_eq!(attributes.len(), 1);
    }
    for (given, expected) in [
        ("", "row 1: attributes is empty and must be JSON"),
        ("[]", "row 1: attributes is not the JSON that belongs there, from \"[]\" on"),
        (
            r#"{"a":18446744073709551615}"#,
            "row 1: attributes has an integer past 64 bits: write it as text, or with a point as a double",
        ),
        (r#"{"a":{"$bytes":"?"}}"#, "row 1: attributes has $bytes that are not base64 with padding: \"?\""),
    ] {
        let row = least_with(Signal::Logs, "attributes", texts(&[given]));
        assert_eq!(refused(Signal::Logs, &row), expected);
    }
}
