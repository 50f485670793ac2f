//! The text of every kind of value.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

use super::super::json::{JsonText, depth_is_bounded};
use super::*;

fn map(entries: Vec<KeyValue>) -> AnyValue {
    value(Value::KvlistValue(KeyValueList { values: entries }))
}

fn array(values: Vec<AnyValue>) -> AnyValue {
    value(Value::ArrayValue(ArrayValue { values }))
}

fn int(number: i64) -> AnyValue {
    value(Value::IntValue(number))
}

fn check(value: AnyValue, expected: &str) {
    assert_eq!(JsonText::default().value(&value), expected);
    assert_eq!(restore::parse(expected).unwrap().encode_to_vec(), value.encode_to_vec());
}

#[test]
fn each_kind_of_value_has_its_text_and_reads_back() {
    check(AnyValue { value: None }, "null");
    check(text(""), r#""""#);
    check(text("a\"b\\c\n\u{1f}\u{7f}ä😀"), "\"a\\\"b\\\\c\\n\\u001f\u{7f}ä😀\"");
    check(value(Value::BoolValue(true)), "true");
    check(int(i64::MIN), "-9223372036854775808");
    check(int((1 << 53) + 1), "9007199254740993");
    for (double, expected) in [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e300, "1e300"),
        (0.1 + 0.2, "0.30000000000000004"),
        (5e-324, "5e-324"),
        (1e16, "1e16"),
        (f64::NAN, r#"{"$double":"NaN"}"#),
        (f64::INFINITY, r#"{"$double":"Infinity"}"#),
        (f64::NEG_INFINITY, r#"{"$double":"-Infinity"}"#),
    ] {
        check(value(Value::DoubleValue(double)), expected);
    }
    check(value(Value::BytesValue(vec![])), r#"{"$bytes":""}"#);
    check(value(Value::BytesValue(vec![0, 255])), r#"{"$bytes":"AP8="}"#);
    check(array(vec![]), "[]");
    check(array(vec![int(1), text("x"), AnyValue { value: None }, array(vec![])]), r#"[1,"x",null,[]]"#);
    check(map(vec![]), "{}");
    check(map(vec![attribute("a.b", map(vec![attribute("c", int(1))]))]), r#"{"a.b":{"c":1}}"#);
}

#[test]
fn a_map_that_looks_like_a_marker_is_wrapped() {
    check(map(vec![attribute("$bytes", text("AP8="))]), r#"{"$map":{"$bytes":"AP8="}}"#);
    check(map(vec![attribute("$double", int(1))]), r#"{"$map":{"$double":1}}"#);
    check(map(vec![attribute("$map", map(vec![]))]), r#"{"$map":{"$map":{}}}"#);
    check(
        map(vec![attribute("$bytes", int(1)), attribute("$bytes", int(2))]),
        r#"{"$map":{"$bytes":1,"$bytes":2}}"#,
    );
    check(map(vec![attribute("$bytes", int(1)), attribute("a", int(2))]), r#"{"$bytes":1,"a":2}"#);
    check(map(vec![attribute("$map", map(vec![])), attribute("a", int(2))]), r#"{"$map":{},"a":2}"#);
}

#[test]
fn keys_are_sorted_by_bytes_and_equal_keys_keep_their_order() {
    let attributes = ["b", "ä", "a", "B", "", "b"].iter().zip(0..).map(|(key, n)| attribute(key, int(n)));
    let attributes: Vec<KeyValue> = attributes.collect();
    assert_eq!(JsonText::default().attributes(&attributes), r#"{"":4,"B":3,"a":2,"b":0,"b":5,"ä":1}"#);
}

#[test]
fn attributes_themselves_are_never_wrapped() {
    assert_eq!(JsonText::default().attributes(&[attribute("$map", int(1))]), r#"{"$map":1}"#);
}

#[test]
fn a_reference_into_a_string_table_has_no_text() {
    let reference = value(Value::StringValueStrindex(7));
    assert_eq!(JsonText::default().attributes(&[attribute("a", reference)]), r#"{"a":null}"#);
}

#[test]
fn thirty_two_levels_are_within_the_bound_and_one_more_is_not() {
    let nested = |levels| (0..levels).fold(int(1), |inner, _| array(vec![inner]));
    assert!(depth_is_bounded(&[attribute("a", nested(32))]));
    assert!(!depth_is_bounded(&[attribute("a", nested(33))]));
}

/// The reader must not take the map inside `$map` for a marker, nor one beside it.
#[test]
fn wrapped_maps_read_back_beside_and_inside_each_other() {
    let marker = |key: &str| map(vec![attribute(key, text("x"))]);
    check(
        map(vec![attribute("$map", marker("$double")), attribute("a", marker("$bytes"))]),
        r#"{"$map":{"$map":{"$double":"x"}},"a":{"$map":{"$bytes":"x"}}}"#,
    );
    check(map(vec![attribute("$map", marker("$map"))]), r#"{"$map":{"$map":{"$map":{"$map":"x"}}}}"#);
}
