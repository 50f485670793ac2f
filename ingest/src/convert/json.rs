//! Canonical JSON text of attributes and other OTLP values.
//!
//! | OTLP value | text |
//! |---|---|
//! | string, bool | as JSON has them |
//! | 64-bit integer | a number without point or exponent |
//! | double | the shortest digits that read back as the same double, always with a point or an exponent |
//! | NaN, infinities | `{"$double":"NaN"}`, `{"$double":"Infinity"}`, `{"$double":"-Infinity"}` |
//! | bytes | `{"$bytes":"<base64 with padding>"}` |
//! | array, map | arrays and objects |
//! | a map whose keys are all one of `$bytes`, `$double`, `$map` | wrapped: `{"$map":{…}}` |
//! | no value | `null` |
//!
//! Keys are sorted by their bytes; equal keys keep their order and are all kept. There is no white space.
//! So equal attribute sets give equal text, and the text gives back every value with its type.
//! A reference into a profile's string table (`string_value_strindex`) is no value here: only profiles carry the table.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};

/// How deep arrays and maps may nest below an attribute or a log body.
///
/// Maps meet protobuf's own limit of 100 nested messages a little earlier; a request beyond that one is malformed as
/// a whole.
pub(crate) const MAX_DEPTH: usize = 32;

/// A reusable buffer that JSON text is written to.
#[derive(Debug, Default)]
pub(crate) struct JsonText(Vec<u8>);

impl JsonText {
    pub(crate) fn attributes(&mut self, attributes: &[KeyValue]) -> &str {
        self.0.clear();
        write_object(&mut self.0, attributes);
        self.text()
    }

    pub(crate) fn value(&mut self, value: &AnyValue) -> &str {
        self.0.clear();
        write_value(&mut self.0, value.value.as_ref());
        self.text()
    }

    pub(crate) fn entity_refs(&mut self, refs: &[EntityRef]) -> &str {
        self.0.clear();
        let out = &mut self.0;
        write_list(out, *b"[]", refs, |out, entity| {
            out.extend_from_slice(b"{\"schema_url\":");
            write_string(out, &entity.schema_url);
            out.extend_from_slice(b",\"type\":");
            write_string(out, &entity.r#type);
            out.extend_from_slice(b",\"id_keys\":");
            write_list(out, *b"[]", &entity.id_keys, |out, key| write_string(out, key));
            out.extend_from_slice(b",\"description_keys\":");
            write_list(out, *b"[]", &entity.description_keys, |out, key| write_string(out, key));
            out.push(b'}');
        });
        self.text()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("strings are written whole, all else is ASCII")
    }
}

/// Whether no value nests deeper than [`MAX_DEPTH`].
pub(crate) fn depth_is_bounded(attributes: &[KeyValue]) -> bool {
    attributes.iter().all(|attribute| attribute.value.as_ref().is_none_or(value_depth_is_bounded))
}

/// The same for a single value.
pub(crate) fn value_depth_is_bounded(value: &AnyValue) -> bool {
    fits(value, MAX_DEPTH)
}

fn fits(value: &AnyValue, levels: usize) -> bool {
    match &value.value {
        Some(Value::ArrayValue(array)) => {
            levels > 0 && array.values.iter().all(|item| fits(item, levels - 1))
        }
        Some(Value::KvlistValue(map)) => {
            levels > 0
                && map
                    .values
                    .iter()
                    .filter_map(|entry| entry.value.as_ref())
                    .all(|item| fits(item, levels - 1))
        }
        _ => true,
    }
}

fn write_value(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None | Some(Value::StringValueStrindex(_)) => out.extend_from_slice(b"null"),
        Some(Value::StringValue(text)) => write_string(out, text),
        Some(Value::BoolValue(value)) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Some(Value::IntValue(value)) => write!(out, "{value}").expect("writing to memory does not fail"),
        Some(Value::DoubleValue(value)) => write_double(out, *value),
        Some(Value::BytesValue(bytes)) => {
            out.extend_from_slice(b"{\"$bytes\":\"");
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Some(Value::ArrayValue(array)) => {
            write_list(out, *b"[]", &array.values, |out, item| write_value(out, item.value.as_ref()));
        }
        Some(Value::KvlistValue(map)) if reads_as_marker(&map.values) => {
            out.extend_from_slice(b"{\"$map\":");
            write_object(out, &map.values);
            out.push(b'}');
        }
        Some(Value::KvlistValue(map)) => write_object(out, &map.values),
    }
}

fn write_object(out: &mut Vec<u8>, entries: &[KeyValue]) {
    fn write_entry(out: &mut Vec<u8>, entry: &KeyValue) {
        write_string(out, &entry.key);
        out.push(b':');
        write_value(out, entry.value.as_ref().and_then(|value| value.value.as_ref()));
    }
    if entries.is_sorted_by(|a, b| a.key <= b.key) {
        write_list(out, *b"{}", entries, write_entry);
    } else {
        let mut sorted: Vec<&KeyValue> = entries.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        write_list(out, *b"{}", sorted, write_entry);
    }
}

fn write_list<T>(
    out: &mut Vec<u8>,
    brackets: [u8; 2],
    items: impl IntoIterator<Item = T>,
    write_item: impl Fn(&mut Vec<u8>, T),
) {
    out.push(brackets[0]);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_item(out, item);
    }
    out.push(brackets[1]);
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory does not fail");
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        let name: &[u8] = match (value.is_nan(), value > 0.0) {
            (true, _) => b"NaN",
            (false, true) => b"Infinity",
            (false, false) => b"-Infinity",
        };
        out.extend_from_slice(b"{\"$double\":\"");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\"}");
    }
}

/// Whether a map, written plainly, could be taken for one of the markers in the module's table.
fn reads_as_marker(entries: &[KeyValue]) -> bool {
    entries.first().is_some_and(|first| {
        matches!(first.key.as_str(), "$bytes" | "$double" | "$map")
            && entries.iter().all(|entry| entry.key == first.key)
    })
}
