//! What is counted, and that nothing is forgotten.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::ArrayValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::*;
use crate::convert::{Context, Limits, Policy, convert};

fn traces(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn of_traces(payload: &[u8]) -> usize {
    footprint(Signal::Traces, payload, usize::MAX)
}

#[test]
fn elements_of_lists_are_counted_at_every_depth() {
    let outside = size_of::<ResourceSpans>() + size_of::<ScopeSpans>();
    assert_eq!(of_traces(&traces(vec![])), outside);
    assert_eq!(of_traces(&traces(vec![Span::default(); 3])), outside + 3 * size_of::<Span>());

    let array = ArrayValue { values: vec![AnyValue::default(); 100] };
    let value = Some(AnyValue { value: Some(Value::ArrayValue(array)) });
    let attributes = vec![KeyValue { key: "k".to_owned(), value, key_strindex: 0 }];
    let links = vec![Link { attributes, ..Link::default() }];
    let span = Span { links, events: vec![Event::default(); 2], ..Span::default() };
    let inside =
        size_of::<Link>() + size_of::<KeyValue>() + 100 * size_of::<AnyValue>() + 2 * size_of::<Event>();
    assert_eq!(of_traces(&traces(vec![span])), outside + size_of::<Span>() + inside);
}

#[test]
fn a_message_that_breaks_off_is_counted_up_to_the_break() {
    let whole = traces(vec![Span { name: "x".repeat(100), ..Span::default() }; 10]);
    let counts: Vec<usize> = (0..whole.len()).map(|end| of_traces(&whole[..end])).collect();
    assert!(counts.iter().all(|&count| count <= of_traces(&whole)));
    // The lengths of the two outer messages say that bytes are missing, and the decoder stops there too.
    assert_eq!(counts.last(), Some(&0));
    assert_eq!(of_traces(&[&whole[..], &[0xff]].concat()), of_traces(&whole));
}

fn head(number: u8, length: usize) -> Vec<u8> {
    let mut head = vec![number << 3 | 2];
    prost::encoding::encode_varint(length as u64, &mut head);
    head
}

/// The fuzzer's: the decoder builds all that a message holds before it sees that this goes on behind the message's end.
#[test]
fn what_goes_on_behind_the_end_of_its_message_is_counted() {
    // Fields on the way to a list of a thousand empty elements; each but the last is said to end with the next one's head.
    let check = |fields: &[u8], list: u8, element: usize, outside: usize| {
        let mut payload = head(list, 0).repeat(1000);
        let mut length = payload.len();
        for &field in fields.iter().rev() {
            let head = head(field, length);
            length = head.len();
            payload = [head, payload].concat();
        }
        ExportTraceServiceRequest::decode(payload.as_slice()).unwrap_err();
        assert_eq!(of_traces(&payload), outside + 1000 * element, "{fields:?}");
    };
    let outside = size_of::<ResourceSpans>() + size_of::<ScopeSpans>();
    check(&[1, 2], 2, size_of::<Span>(), outside);
    let attribute = size_of::<Span>() + size_of::<KeyValue>();
    check(&[1, 2, 2, 9, 2, 5], 1, size_of::<AnyValue>(), outside + attribute);
}

/// 3 MB of bytes that would be a gigabyte.
#[test]
fn a_request_of_empty_messages_is_refused_before_it_is_decoded() {
    let policy = Policy::Check(Limits { max_future_ns: i64::MAX });
    let context = Context { tenant: "acme".parse().unwrap(), received_ns: 1, policy };
    let spans = [18, 0].repeat(1_500_000);
    let scope = [head(2, spans.len()), spans].concat();
    let payload = [head(1, scope.len()), scope].concat();
    let refused = convert(Signal::Traces, &payload, &context).unwrap_err();
    assert!(matches!(refused, Error::TooDense { .. }), "{refused}");
    // What is in the log was within the limit of its day.
    assert_eq!(footprint(Signal::Traces, &payload, 1 << 20).div_ceil(1 << 20), 2, "it counts no further");
}

#[test]
fn requests_as_senders_make_them_are_far_from_the_limit() {
    let attribute = |key: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::IntValue(200)) }),
        key_strindex: 0,
    };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "GET".to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes: vec![attribute("a"), attribute("b"), attribute("c")],
        ..Span::default()
    };
    let payload = traces(vec![span; 100_000]);
    assert!(of_traces(&payload) < PER_BYTE * payload.len(), "{} of {}", of_traces(&payload), payload.len());
}

/// Every list of messages or strings that the protocol has is in the shapes, and so is every message on the way to it.
#[test]
fn the_shapes_have_every_list_of_the_protocol() {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let mut messages = HashMap::new();
    for file in &files.file {
        collect(&format!(".{}", file.package()), &file.message_type, &mut messages);
    }
    for (signal, shape) in [("metrics", &METRICS), ("logs", &LOGS), ("trace", &TRACES)] {
        let prefix = format!(".opentelemetry.proto.collector.{signal}.v1.Export");
        let request =
            messages.keys().find(|name| name.starts_with(&prefix) && name.ends_with("Request")).unwrap();
        let mut seen = Vec::new();
        compare(request, shape, &messages, &mut seen);
        assert!(seen.len() > 8, "{signal}: {seen:?}");
    }
}

fn collect<'d>(
    scope: &str,
    found: &'d [DescriptorProto],
    messages: &mut HashMap<String, &'d DescriptorProto>,
) {
    for message in found {
        let name = format!("{scope}.{}", message.name());
        collect(&name, &message.nested_type, messages);
        messages.insert(name, message);
    }
}

fn has_lists(name: &str, messages: &HashMap<String, &DescriptorProto>, above: &mut Vec<String>) -> bool {
    if above.iter().any(|known| known == name) {
        return false;
    }
    above.push(name.to_owned());
    messages[name].field.iter().any(|field| {
        let is_list =
            field.label() == Label::Repeated && matches!(field.r#type(), Type::Message | Type::String);
        is_list || (field.r#type() == Type::Message && has_lists(field.type_name(), messages, above))
    })
}

fn compare(name: &str, shape: &Shape, messages: &HashMap<String, &DescriptorProto>, seen: &mut Vec<String>) {
    if seen.iter().any(|known| known == name) {
        return;
    }
    seen.push(name.to_owned());
    for field in &messages[name].field {
        let is_message = field.r#type() == Type::Message;
        let is_list = field.label() == Label::Repeated && (is_message || field.r#type() == Type::String);
        let nested = shape.fields.iter().find(|nested| nested.number == field.number().cast_unsigned());
        let inner = is_message && has_lists(field.type_name(), messages, &mut Vec::new());
        assert_eq!(nested.is_some(), is_list || inner, "{name}.{}", field.name());
        let Some(nested) = nested else { continue };
        assert_eq!(nested.bytes > 0, is_list, "{name}.{}", field.name());
        if inner {
            compare(field.type_name(), nested.shape, messages, seen);
        }
    }
}

/// The shortcut for attributes is taken by every plain one and by none that a list may hide in.
#[test]
fn an_attribute_is_plain_if_it_is_a_key_and_a_single_value() {
    let attribute = |value: Option<Value>| {
        KeyValue { key: "http.route".to_owned(), value: Some(AnyValue { value }), key_strindex: 0 }
            .encode_to_vec()
    };
    for value in [
        Value::StringValue("/cart".to_owned()),
        Value::StringValue(String::new()),
        Value::BytesValue(vec![1, 2, 3]),
        Value::BoolValue(true),
        Value::IntValue(-1),
        Value::IntValue(200),
        Value::DoubleValue(0.5),
    ] {
        let whole = attribute(Some(value));
        assert!(is_plain(&whole), "{whole:?}");
        assert!((0..whole.len()).all(|end| !is_plain(&whole[..end])), "{whole:?}");
        // A field behind the value, inside it or outside.
        assert!(!is_plain(&[&whole[..], &[0x2a, 0]].concat()), "{whole:?}");
    }
    let list = ArrayValue { values: vec![AnyValue::default()] };
    for value in [None, Some(Value::ArrayValue(list))] {
        assert!(!is_plain(&attribute(value)));
    }
    // Two values: of the second, the first says nothing.
    for first in [&[0x10, 1][..], &[0x18, 1], &[0x18, 0x80, 1], &[0x0a, 1, b'x']] {
        let value = [first, &[0x2a, 2, 0x0a, 0]].concat();
        let whole = [&[0x0a, 1, b'k', 0x12, value.len() as u8], &value[..]].concat();
        assert!(!is_plain(&whole), "{whole:?}");
    }
}
