//! What is taken, and as what. The module's table, and each thing that opentelemetry-proto 0.33's own reader of JSON
//! drops or refuses.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, EntityRef, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Histogram, HistogramDataPoint, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use super::*;

const TRACE_ID: [u8; 16] =
    [0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];
const SPAN_ID: [u8; 8] = [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74];

#[test]
fn ids_are_hex_of_either_case_in_records_spans_links_and_exemplars() {
    let ids = r#""traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174""#;
    let (trace_id, span_id) = (TRACE_ID.to_vec(), SPAN_ID.to_vec());
    let (trace_id, span_id) = (|| trace_id.clone(), || span_id.clone());
    check_record(ids, LogRecord { trace_id: trace_id(), span_id: span_id(), ..LogRecord::default() });
    check_span(
        &format!(r#"{ids},"parentSpanId":"EEE19B7EC3C1B174","links":[{{{ids}}}]"#),
        Span {
            trace_id: trace_id(),
            span_id: span_id(),
            parent_span_id: span_id(),
            links: vec![Link { trace_id: trace_id(), span_id: span_id(), ..Link::default() }],
            ..Span::default()
        },
    );
    let exemplar = Exemplar { trace_id: trace_id(), span_id: span_id(), ..Exemplar::default() };
    let point = NumberDataPoint { exemplars: vec![exemplar], ..NumberDataPoint::default() };
    check_point(&format!(r#""exemplars":[{{{ids}}}]"#), point);
}

#[test]
fn an_empty_id_is_absent_and_the_length_of_others_is_not_checked_here() {
    check_span(r#""traceId":"","spanId":"","parentSpanId":"""#, Span::default());
    check_span(r#""traceId":"0Aff""#, Span { trace_id: vec![0x0a, 0xff], ..Span::default() });
}

#[test]
fn other_bytes_are_base64_of_either_alphabet_padded_or_not() {
    for (json, expected) in [
        (r#""""#, &[][..]),
        (r#""AAEC/w==""#, &[0, 1, 2, 255]),
        (r#""AAEC/w""#, &[0, 1, 2, 255]),
        (r#""AAEC_w==""#, &[0, 1, 2, 255]),
        (r#""AAEC_w""#, &[0, 1, 2, 255]),
        (r#""-_-_""#, &[0xfb, 0xff, 0xbf]),
        (r#""+/+/""#, &[0xfb, 0xff, 0xbf]),
        (r#""\u0041AEC\/w==""#, &[0, 1, 2, 255]),
    ] {
        check_value(&format!(r#"{{"bytesValue":{json}}}"#), Some(Value::BytesValue(expected.to_vec())));
    }
}

#[test]
fn null_leaves_any_field_unset() {
    check(Signal::Logs, r#"{"resourceLogs":null}"#, &ExportLogsServiceRequest::default());
    check_record(
        r#""timeUnixNano":null,"severityNumber":null,"severityText":null,"body":null,"attributes":null,
           "droppedAttributesCount":null,"flags":null,"traceId":null,"eventName":null"#,
        LogRecord::default(),
    );
    check_metric(
        r#""name":null,"metadata":null,"gauge":null,"sum":null,"histogram":{"dataPoints":[{"sum":null,"min":null,
           "count":null,"bucketCounts":null,"explicitBounds":null,"exemplars":null}]}"#,
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint::default()],
            ..Histogram::default()
        }),
    );
    check_value(r#"{"stringValue":null,"intValue":null}"#, None);
    check_value(r#"{"stringValue":null,"intValue":"7","arrayValue":null}"#, Some(Value::IntValue(7)));
}

/// Each of these loses the value of the point, or the whole data of the metric, in opentelemetry-proto's own reader, and
/// no error says so.
#[test]
fn a_metric_keeps_its_data_however_it_is_written() {
    let point = |value| NumberDataPoint { value: Some(value), ..NumberDataPoint::default() };
    let (int, double) = (number_data_point::Value::AsInt, number_data_point::Value::AsDouble);
    check_point(r#""asDouble":"1.5""#, point(double(1.5)));
    check_point(r#""asInt":"1e3""#, point(int(1000)));
    check_point(r#""asInt":null,"asDouble":1"#, point(double(1.0)));
    check_point(r#""flags":"1""#, NumberDataPoint { flags: 1, ..NumberDataPoint::default() });
    check_metric(r#""gauge":{"dataPoints":null}"#, Data::Gauge(Gauge::default()));
    check_metric(r#""gauge":null,"sum":{}"#, Data::Sum(Sum::default()));
    check_metric(r#""sum":{},"summary":null"#, Data::Sum(Sum::default()));
    let data_points = vec![HistogramDataPoint { bucket_counts: vec![1, 2], ..HistogramDataPoint::default() }];
    check_metric(
        r#""histogram":{"dataPoints":[{"bucketCounts":["1",2.0]}],"aggregationTemporality":null}"#,
        Data::Histogram(Histogram { data_points, ..Histogram::default() }),
    );
}

#[test]
fn null_in_a_list_of_messages_is_an_empty_message() {
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default(); 2], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }, ResourceLogs::default()];
    check(
        Signal::Logs,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[null,{}]}]},null]}"#,
        &ExportLogsServiceRequest { resource_logs },
    );
    let values = vec![AnyValue::default(), text("a"), AnyValue::default()];
    check_value(
        r#"{"arrayValue":{"values":[null,{"stringValue":"a"},{}]}}"#,
        Some(Value::ArrayValue(ArrayValue { values })),
    );
}

/// opentelemetry-proto refuses most of these.
#[test]
fn absent_members_of_values_and_attributes_are_absent() {
    check_value(r#"{"arrayValue":{}}"#, Some(Value::ArrayValue(ArrayValue::default())));
    check_value(r#"{"kvlistValue":{}}"#, Some(Value::KvlistValue(KeyValueList::default())));
    let key_value = |key: &str, value| KeyValue { key: key.to_owned(), value, key_strindex: 0 };
    check_record(
        r#""attributes":[{"value":{"boolValue":false}},{},{"key":"a"},{"key":"b","value":null},{"key":"c","value":{}}]"#,
        LogRecord {
            attributes: vec![
                key_value("", Some(value(Value::BoolValue(false)))),
                key_value("", None),
                key_value("a", None),
                key_value("b", None),
                key_value("c", Some(AnyValue::default())),
            ],
            ..LogRecord::default()
        },
    );
}

#[test]
fn values_of_every_kind_keep_it_also_when_empty() {
    check_value("{}", None);
    check_value(r#"{"stringValue":""}"#, Some(Value::StringValue(String::new())));
    check_value(r#"{"boolValue":true}"#, Some(Value::BoolValue(true)));
    check_value(r#"{"boolValue":false}"#, Some(Value::BoolValue(false)));
    check_value(r#"{"intValue":"0"}"#, Some(Value::IntValue(0)));
    check_value(r#"{"doubleValue":0}"#, Some(Value::DoubleValue(0.0)));
    check_value(r#"{"bytesValue":""}"#, Some(Value::BytesValue(vec![])));
    check_value(r#"{"stringValueStrindex":3}"#, Some(Value::StringValueStrindex(3)));
    let inner = KeyValueList { values: vec![attribute("b", value(Value::DoubleValue(-0.0)))] };
    let outer = ArrayValue { values: vec![value(Value::KvlistValue(inner))] };
    check_value(
        r#"{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[
           {"kvlistValue":{"values":[{"key":"b","value":{"doubleValue":-0.0}}]}}]}}}]}}"#,
        Some(Value::KvlistValue(KeyValueList {
            values: vec![attribute("a", value(Value::ArrayValue(outer)))],
        })),
    );
}

#[test]
fn optional_fields_differ_from_absent_ones_when_zero() {
    let point = |sum, min, max| HistogramDataPoint { sum, min, max, ..HistogramDataPoint::default() };
    check_metric(
        r#""histogram":{"dataPoints":[{"sum":0,"min":-0.0,"max":0.0},{}]}"#,
        Data::Histogram(Histogram {
            data_points: vec![point(Some(0.0), Some(-0.0), Some(0.0)), point(None, None, None)],
            ..Histogram::default()
        }),
    );
    check_span(r#""status":{}"#, Span { status: Some(Status::default()), ..Span::default() });
    check_span(r#""status":null"#, Span::default());
}

#[test]
fn unknown_and_snake_case_names_are_ignored_with_their_values() {
    check(
        Signal::Logs,
        r#"{"resource_logs":[1],"resourceSpans":"x","":{"":[]},"resourceLogs":[{"schemaUrl":"a","schema_url":"b",
           "SchemaUrl":7,"future":{"a":[null,true,false,-1.5e+3,"\ud800\n",{"b":{}}]},"future":2}]}"#,
        &ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { schema_url: "a".to_owned(), ..ResourceLogs::default() }],
        },
    );
    let deep = format!("{}{}", r#"{"a":["#.repeat(5000), "]}".repeat(5000));
    check_record(
        &format!(r#""future":{deep},"eventName":"e""#),
        LogRecord { event_name: "e".to_owned(), ..LogRecord::default() },
    );
}

#[test]
fn names_may_be_escaped_and_text_may_be_spread_out() {
    check(
        Signal::Logs,
        "\u{feff} \r\n\t{ \"resource\\u004Cogs\" : [ { \"schemaUrl\"\n:\"a\" } ,\t{ } ] } \n",
        &ExportLogsServiceRequest {
            resource_logs: vec![
                ResourceLogs { schema_url: "a".to_owned(), ..ResourceLogs::default() },
                ResourceLogs::default(),
            ],
        },
    );
}

#[test]
fn strings_are_unescaped() {
    for (json, expected) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0000a\u00e4\u20AC""#, "\0aä€"),
        (r#""x\ud83d\ude00y""#, "x😀y"),
        ("\"ä€😀\u{7f}\"", "ä€😀\u{7f}"),
        // Half a pair, at the end, before another escape, and the wrong way round.
        (r#""cut \ud83d""#, "cut \u{fffd}"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
        (r#""\ud83d\u0041""#, "\u{fffd}A"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
    ] {
        check_value(&format!(r#"{{"stringValue":{json}}}"#), Some(Value::StringValue(expected.to_owned())));
    }
}

#[test]
fn what_surrounds_the_records_is_kept() {
    let json = r#"{"resourceSpans":[{
        "resource":{"attributes":[{"key":"a","value":{"stringValue":"b"}}],"droppedAttributesCount":1,
          "entityRefs":[{"schemaUrl":"s","type":"t","idKeys":["a","","b"],"descriptionKeys":[]},{}]},
        "scopeSpans":[{"scope":{"name":"n","version":"v","attributes":[],"droppedAttributesCount":2},
          "schemaUrl":"u","spans":[]},{"scope":{}}],
        "schemaUrl":"r"}]}"#;
    let entity_refs = vec![
        EntityRef {
            schema_url: "s".to_owned(),
            r#type: "t".to_owned(),
            id_keys: vec!["a".to_owned(), String::new(), "b".to_owned()],
            description_keys: vec![],
        },
        EntityRef::default(),
    ];
    let scope = InstrumentationScope {
        name: "n".to_owned(),
        version: "v".to_owned(),
        attributes: vec![],
        dropped_attributes_count: 2,
    };
    let expected = ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("a", text("b"))],
            dropped_attributes_count: 1,
            entity_refs,
        }),
        scope_spans: vec![
            ScopeSpans { scope: Some(scope), spans: vec![], schema_url: "u".to_owned() },
            ScopeSpans { scope: Some(InstrumentationScope::default()), ..ScopeSpans::default() },
        ],
        schema_url: "r".to_owned(),
    };
    check(Signal::Traces, json, &ExportTraceServiceRequest { resource_spans: vec![expected] });
}

#[test]
fn events_and_links_are_kept() {
    check_span(
        r#""traceState":"a=b","flags":257,"events":[{"timeUnixNano":"1","name":"e","droppedAttributesCount":"2",
           "attributes":[{"key":"k","value":{"intValue":3}}]}],"droppedEventsCount":4,
           "links":[{"traceState":"c=d","flags":"4294967295","droppedAttributesCount":5}],"droppedLinksCount":6"#,
        Span {
            trace_state: "a=b".to_owned(),
            flags: 257,
            events: vec![Event {
                time_unix_nano: 1,
                name: "e".to_owned(),
                attributes: vec![attribute("k", value(Value::IntValue(3)))],
                dropped_attributes_count: 2,
            }],
            dropped_events_count: 4,
            links: vec![Link {
                trace_state: "c=d".to_owned(),
                flags: u32::MAX,
                dropped_attributes_count: 5,
                ..Link::default()
            }],
            dropped_links_count: 6,
            ..Span::default()
        },
    );
}

#[test]
fn an_empty_object_is_an_empty_request() {
    for signal in Signal::ALL {
        assert_eq!(to_protobuf(signal, b"{}").unwrap(), b"");
        assert_eq!(to_protobuf(signal, b" { \"unknown\" : 1 } ").unwrap(), b"");
    }
}

/// Lengths of one, two and three bytes, within each other.
#[test]
fn long_messages_have_long_lengths() {
    for length in [0, 1, 120, 127, 128, 129, 5_000, 16_383, 16_384, 70_000] {
        let body = "ä".repeat(length);
        check_value(&format!(r#"{{"stringValue":"{body}"}}"#), Some(Value::StringValue(body)));
    }
    let log_records = vec![LogRecord { flags: 1, ..LogRecord::default() }; 20_000];
    let records = vec![r#"{"flags":1}"#; log_records.len()].join(",");
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    check(
        Signal::Logs,
        &format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#),
        &ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        },
    );
}

/// Both bounds on nesting at once: the deepest text that is taken is a message that protobuf takes.
#[test]
fn the_deepest_text_decodes() {
    let with_lists = |levels: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
        with_record(&format!(r#""body":{open}{close}"#))
    };
    let with_maps = |levels: usize| {
        let open = r#"{"kvlistValue":{"values":[{"value":"#.repeat(levels);
        with_record(&format!(r#""body":{open}{{}}{}"#, "}]}}".repeat(levels)))
    };
    for text in [with_lists(40), with_maps(30)] {
        decode::<ExportLogsServiceRequest>(Signal::Logs, &text);
    }
    for text in [with_lists(41), with_maps(31)] {
        let reason = refusal(&text);
        assert!(reason.contains(": nested deeper than 128 levels (line 1, column "), "{reason}");
    }
}
