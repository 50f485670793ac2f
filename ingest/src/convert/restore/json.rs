//! A reader of JSON text as `convert/json.rs` writes it, with white space between.
//!
//! It keeps what a general parser would lose: equal keys, and doubles to the last bit. What it gives for text that nobody has
//! checked is a value or what is wrong with the text, as words for the client.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList};

use super::super::json::MAX_DEPTH;
use super::columns::shortened;

/// How deep text may nest before the depth of its values is known: a map that is wrapped takes two levels.
const MAX_TEXT_DEPTH: usize = 2 * MAX_DEPTH + 2;

type Result<T> = std::result::Result<T, String>;

pub(in crate::convert) fn parse(text: &str) -> Result<AnyValue> {
    unmark(whole(text, |reader| reader.value(0))?)
}

/// Attributes at the top are always a plain object.
pub(super) fn attributes(text: &str) -> Result<Vec<KeyValue>> {
    let entries = whole(text, |reader| reader.object(0))?;
    unmark_entries(entries)
}

pub(super) fn entity_refs(text: &str) -> Result<Vec<EntityRef>> {
    let refs = whole(text, |reader| reader.array(0))?;
    refs.into_iter().map(|entity| entity_ref(entity).ok_or_else(|| broken_entity(text))).collect()
}

fn entity_ref(entity: AnyValue) -> Option<EntityRef> {
    let text = |value: Value| match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    };
    let texts = |value: Value| match value {
        Value::ArrayValue(array) => array.values.into_iter().map(|item| text(item.value?)).collect(),
        _ => None,
    };
    let Some(Value::KvlistValue(fields)) = entity.value else { return None };
    let mut entity = EntityRef::default();
    for KeyValue { key, value, .. } in fields.values {
        let value = value?.value?;
        match key.as_str() {
            "schema_url" => entity.schema_url = text(value)?,
            "type" => entity.r#type = text(value)?,
            "id_keys" => entity.id_keys = texts(value)?,
            "description_keys" => entity.description_keys = texts(value)?,
            _ => return None,
        }
    }
    Some(entity)
}

fn broken_entity(text: &str) -> String {
    format!(
        "is {:?} and must be a list of entities as JSON: schema_url, type, id_keys, description_keys",
        shortened(text)
    )
}

/// Reads all of a text.
fn whole<T>(text: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T> {
    let mut reader = Reader { rest: text, fault: None };
    reader.skip_space();
    let value = read(&mut reader);
    reader.skip_space();
    match value {
        Some(value) if reader.rest.is_empty() => Ok(value),
        _ => Err(match reader.fault {
            Some(fault) => fault.to_owned(),
            None if text.trim_start().is_empty() => "is empty and must be JSON".to_owned(),
            None => format!("is not the JSON that belongs there, from {:?} on", shortened(reader.rest)),
        }),
    }
}

/// Stops, with `None`, at what it cannot read.
struct Reader<'a> {
    rest: &'a str,
    /// If it is not that there is something else than expected.
    fault: Option<&'static str>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<AnyValue> {
        let value = match self.rest.as_bytes().first()? {
            b'n' => {
                self.expect("null")?;
                None
            }
            b't' => {
                self.expect("true")?;
                Some(Value::BoolValue(true))
            }
            b'f' => {
                self.expect("false")?;
                Some(Value::BoolValue(false))
            }
            b'"' => Some(Value::StringValue(self.string()?)),
            b'[' => Some(Value::ArrayValue(ArrayValue { values: self.array(depth)? })),
            b'{' => Some(Value::KvlistValue(KeyValueList { values: self.object(depth)? })),
            _ => Some(self.number()?),
        };
        Some(AnyValue { value })
    }

    fn number(&mut self) -> Option<Value> {
        let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !is_of_number(c)).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let is_number = digits.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        if !is_number {
            return None;
        }
        let value = if digits.contains(['.', 'e', 'E']) {
            Value::DoubleValue(digits.parse().ok().filter(|double: &f64| double.is_finite())?)
        } else if let Ok(int) = digits.parse() {
            Value::IntValue(int)
        } else {
            self.fault = Some("has an integer past 64 bits: write it as text, or with a point as a double");
            return None;
        };
        self.rest = rest;
        Some(value)
    }

    fn string(&mut self) -> Option<String> {
        let mut parsed = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = parsed.next()?.ok()?;
        self.rest = &self.rest[parsed.byte_offset()..];
        Some(text)
    }

    fn array(&mut self, depth: usize) -> Option<Vec<AnyValue>> {
        self.list("[", "]", depth, |reader| reader.value(depth + 1))
    }

    fn object(&mut self, depth: usize) -> Option<Vec<KeyValue>> {
        self.list("{", "}", depth, |reader| {
            let key = reader.string()?;
            reader.expect(":")?;
            let value = reader.value(depth + 1)?;
            Some(KeyValue { key, value: Some(value).filter(|value| value.value.is_some()), key_strindex: 0 })
        })
    }

    fn list<T>(
        &mut self,
        open: &str,
        close: &str,
        depth: usize,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        if depth > MAX_TEXT_DEPTH {
            self.fault = Some("nests too deep");
            return None;
        }
        self.expect(open)?;
        let mut items = Vec::new();
        while !self.rest.starts_with(close) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
            self.skip_space();
        }
        self.expect(close)?;
        Some(items)
    }

    /// Reads a token, and the space around it.
    fn expect(&mut self, token: &str) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(token)?;
        self.skip_space();
        Some(())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

/// What an object stands for, from the outside in: what `$map` wraps is a map whatever its keys are.
fn unmark(value: AnyValue) -> Result<AnyValue> {
    let value = match value.value {
        Some(Value::ArrayValue(array)) => {
            let values = array.values.into_iter().map(unmark).collect::<Result<_>>()?;
            Some(Value::ArrayValue(ArrayValue { values }))
        }
        Some(Value::KvlistValue(map)) => Some(unmark_object(map.values)?),
        scalar => scalar,
    };
    Ok(AnyValue { value })
}

fn unmark_object(mut entries: Vec<KeyValue>) -> Result<Value> {
    if let [KeyValue { key, value: Some(AnyValue { value: Some(value) }), .. }] = entries.as_mut_slice() {
        match (key.as_str(), value) {
            ("$bytes", Value::StringValue(text)) => {
                let bytes = BASE64_STANDARD.decode(&*text);
                return bytes.map(Value::BytesValue).map_err(|_| {
                    format!("has $bytes that are not base64 with padding: {:?}", shortened(text))
                });
            }
            ("$double", Value::StringValue(text)) => {
                return Ok(Value::DoubleValue(match text.as_str() {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    other => {
                        return Err(format!(
                            "has {:?} as $double, which is for NaN, Infinity and -Infinity",
                            shortened(other)
                        ));
                    }
                }));
            }
            ("$map", Value::KvlistValue(map)) => entries = std::mem::take(&mut map.values),
            _ => {}
        }
    }
    Ok(Value::KvlistValue(KeyValueList { values: unmark_entries(entries)? }))
}

fn unmark_entries(entries: Vec<KeyValue>) -> Result<Vec<KeyValue>> {
    let unmark_entry =
        |entry: KeyValue| Ok(KeyValue { value: entry.value.map(unmark).transpose()?, ..entry });
    entries.into_iter().map(unmark_entry).collect()
}
