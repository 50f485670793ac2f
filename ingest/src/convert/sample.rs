//! A rejected record as text, by which a person finds it where it was made.

use std::fmt::{Display, Write as _};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::json::JsonText;

/// A sample is cut here: the parts that tell a record from others come first.
const MAX_BYTES: usize = 1024;

/// Compact JSON, unless it is cut.
#[derive(Debug)]
pub(super) struct Sample {
    text: String,
    json: JsonText,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned(), json: JsonText::default() }
    }

    /// A text, unless it is empty.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.name(name);
            let quoted = serde_json::to_string(cut(text)).expect("writing a string to memory does not fail");
            self.text.push_str(&quoted);
        }
    }

    pub(super) fn number(&mut self, name: &str, number: impl Display) {
        self.name(name);
        write!(self.text, "{number}").expect("writing to memory does not fail");
    }

    /// An id of whatever length it has, in hexadecimal digits.
    pub(super) fn id(&mut self, name: &str, id: &[u8]) {
        self.name(name);
        self.text.push('"');
        for byte in id.iter().take(MAX_BYTES) {
            write!(self.text, "{byte:02x}").expect("writing to memory does not fail");
        }
        self.text.push('"');
    }

    pub(super) fn value(&mut self, name: &str, value: &AnyValue) {
        self.name(name);
        self.text.push_str(cut(self.json.value(value)));
    }

    pub(super) fn attributes(&mut self, name: &str, attributes: &[KeyValue]) {
        self.name(name);
        self.text.push_str(cut(self.json.attributes(attributes)));
    }

    pub(super) fn finish(mut self) -> Box<str> {
        self.text.push('}');
        cut(&self.text).into()
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
    }
}

/// As much of a text as a sample can show.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BYTES)]
}
