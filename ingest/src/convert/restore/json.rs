//! A reader of canonical JSON text.
//!
//! It keeps what a general parser would lose: equal keys, and doubles to the last bit.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList};

pub(crate) fn parse(text: &str) -> AnyValue {
    let mut reader = Reader { rest: text };
    let value = reader.value();
    assert_eq!(reader.rest, "", "text after the end of {text}");
    unmark(AnyValue { value })
}

/// Attributes at the top are always a plain object.
pub(super) fn attributes(text: &str) -> Vec<KeyValue> {
    let mut reader = Reader { rest: text };
    let entries = reader.object();
    assert_eq!(reader.rest, "", "text after the end of {text}");
    unmark_entries(entries)
}

pub(super) fn entity_refs(text: &str) -> Vec<EntityRef> {
    fn strings(value: &serde_json::Value) -> Vec<String> {
        value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }
    let refs: serde_json::Value = serde_json::from_str(text).unwrap();
    let refs = refs.as_array().unwrap().iter().map(|entity| EntityRef {
        schema_url: entity["schema_url"].as_str().unwrap().to_owned(),
        r#type: entity["type"].as_str().unwrap().to_owned(),
        id_keys: strings(&entity["id_keys"]),
        description_keys: strings(&entity["description_keys"]),
    });
    refs.collect()
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        match self.rest.as_bytes()[0] {
            b'n' => {
                self.expect("null");
                None
            }
            b't' => {
                self.expect("true");
                Some(Value::BoolValue(true))
            }
            b'f' => {
                self.expect("false");
                Some(Value::BoolValue(false))
            }
            b'"' => Some(Value::StringValue(self.string())),
            b'[' => Some(Value::ArrayValue(ArrayValue { values: self.array() })),
            b'{' => Some(Value::KvlistValue(KeyValueList { values: self.object() })),
            _ => Some(self.number()),
        }
    }

    fn number(&mut self) -> Value {
        let end = self.rest.find([',', ']', '}']).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.contains(['.', 'e']) {
            Value::DoubleValue(digits.parse().unwrap())
        } else {
            Value::IntValue(digits.parse().unwrap())
        }
    }

    fn string(&mut self) -> String {
        let mut parsed = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = parsed.next().unwrap().unwrap();
        self.rest = &self.rest[parsed.byte_offset()..];
        text
    }

    fn array(&mut self) -> Vec<AnyValue> {
        self.list("[", "]", |reader| AnyValue { value: reader.value() })
    }

    fn object(&mut self) -> Vec<KeyValue> {
        self.list("{", "}", |reader| {
            let key = reader.string();
            reader.expect(":");
            let value = reader.value().map(|value| AnyValue { value: Some(value) });
            KeyValue { key, value, key_strindex: 0 }
        })
    }

    fn list<T>(&mut self, open: &str, close: &str, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        self.expect(open);
        let mut items = Vec::new();
        while !self.rest.starts_with(close) {
            if !items.is_empty() {
                self.expect(",");
            }
            items.push(item(self));
        }
        self.expect(close);
        items
    }

    fn expect(&mut self, token: &str) {
        self.rest =
            self.rest.strip_prefix(token).unwrap_or_else(|| panic!("no {token} before {}", self.rest));
    }
}

/// What an object stands for, from the outside in: what `$map` wraps is a map whatever its keys are.
fn unmark(value: AnyValue) -> AnyValue {
    let value = value.value.map(|value| match value {
        Value::ArrayValue(array) => {
            Value::ArrayValue(ArrayValue { values: array.values.into_iter().map(unmark).collect() })
        }
        Value::KvlistValue(map) => unmark_object(map.values),
        scalar => scalar,
    });
    AnyValue { value }
}

fn unmark_object(mut entries: Vec<KeyValue>) -> Value {
    if let [KeyValue { key, value: Some(AnyValue { value: Some(value) }), .. }] = entries.as_mut_slice() {
        match (key.as_str(), value) {
            ("$bytes", Value::StringValue(text)) => {
                return Value::BytesValue(BASE64_STANDARD.decode(text).unwrap());
            }
            ("$double", Value::StringValue(text)) => {
                return Value::DoubleValue(match text.as_str() {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    other => panic!("unknown double {other}"),
                });
            }
            ("$map", Value::KvlistValue(map)) => entries = std::mem::take(&mut map.values),
            _ => {}
        }
    }
    Value::KvlistValue(KeyValueList { values: unmark_entries(entries) })
}

fn unmark_entries(entries: Vec<KeyValue>) -> Vec<KeyValue> {
    let unmark_entry = |entry: KeyValue| KeyValue { value: entry.value.map(unmark), ..entry };
    entries.into_iter().map(unmark_entry).collect()
}
