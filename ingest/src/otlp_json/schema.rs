//! What the messages look like: a table made once of the descriptors that opentelemetry-proto carries.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions};

use alula_catalog::Signal;

use super::scalar::Scalar;

/// The bytes that are hex instead of base64, in every message.
///
/// Source: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
const HEX_FIELDS: [&str; 3] = ["trace_id", "span_id", "parent_span_id"];

/// How many fields a message may have, which is the bits of a [`FieldSet`].
const MAX_FIELDS: usize = 64;

pub(super) static OTLP: LazyLock<Schema> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS)
        .expect("the descriptors are part of this program");
    Schema::new(&files)
});

/// Fields of one message, as a bit for each of [`Message::fields`].
pub(super) type FieldSet = u64;

/// Messages refer to each other by their place in `messages`.
#[derive(Debug)]
pub(super) struct Schema {
    messages: Vec<Message>,
    /// By their full names, which begin with a dot.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
pub(super) struct Message {
    /// Sorted by name.
    fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    /// In lowerCamelCase.
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) content: Content,
    pub(super) is_list: bool,
    /// Whether a default value differs from an absent one.
    pub(super) has_presence: bool,
    /// The fields that may not be set beside it.
    pub(super) rivals: FieldSet,
    /// The number of the field that takes a number too large for this one.
    pub(super) for_large: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Scalar(Scalar),
    Message(usize),
}

/// The name of the request message, as errors have it.
pub(super) fn request_name(signal: Signal) -> &'static str {
    let full = request_type(signal);
    full.rsplit('.').next().unwrap_or(full)
}

fn request_type(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => ".opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
        Signal::Logs => ".opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
        Signal::Traces => ".opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    }
}

impl Schema {
    /// # Panics
    /// If a message has what OTLP does not use and JSON writes in another way: a group, a map, too many fields. The
    /// descriptors are part of the program, and the tests read them.
    pub(super) fn new(files: &FileDescriptorSet) -> Self {
        let mut descriptors = Vec::new();
        for file in &files.file {
            collect(&format!(".{}", file.package()), &file.message_type, &mut descriptors);
        }
        let names = descriptors.iter().map(|(name, _)| name.clone());
        let places: HashMap<String, usize> = names.zip(0..).collect();
        let messages = descriptors.iter().map(|(_, descriptor)| Message::new(descriptor, &places)).collect();
        Self { messages, places }
    }

    pub(super) fn request(&self, signal: Signal) -> &Message {
        self.named(request_type(signal))
    }

    pub(super) fn named(&self, name: &str) -> &Message {
        self.message(self.places[name])
    }

    pub(super) fn message(&self, place: usize) -> &Message {
        &self.messages[place]
    }
}

impl Message {
    fn new(descriptor: &DescriptorProto, places: &HashMap<String, usize>) -> Self {
        let mut descriptors: Vec<&FieldDescriptorProto> = descriptor.field.iter().collect();
        descriptors.sort_by_key(|field| field.json_name());
        assert!(descriptors.len() <= MAX_FIELDS, "{} has too many fields", descriptor.name());
        let rivals = |place: usize| -> FieldSet {
            let oneof = descriptors[place].oneof_index;
            let is_rival = |other: &usize| {
                *other != place && oneof.is_some() && descriptors[*other].oneof_index == oneof
            };
            (0..descriptors.len()).filter(is_rival).map(|other| 1 << other).sum()
        };
        let double_value = descriptors.iter().find(|field| field.name() == "double_value");
        let fields = descriptors.iter().enumerate().map(|(place, field)| Field {
            name: field.json_name().to_owned(),
            number: field.number().cast_unsigned(),
            content: match field.r#type() {
                Type::Message => Content::Message(places[field.type_name()]),
                Type::Bytes if HEX_FIELDS.contains(&field.name()) => Content::Scalar(Scalar::Hex),
                other => Content::Scalar(Scalar::of(other)),
            },
            is_list: field.label() == Label::Repeated,
            has_presence: field.oneof_index.is_some(),
            rivals: rivals(place),
            for_large: double_value
                .filter(|_| field.name() == "int_value")
                .map(|double| double.number().cast_unsigned()),
        });
        Self { fields: fields.collect() }
    }

    pub(super) fn field(&self, name: &str) -> Option<(usize, &Field)> {
        let place = self.fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok()?;
        Some((place, &self.fields[place]))
    }

    /// The first field of a set that is not empty.
    pub(super) fn first_of(&self, set: FieldSet) -> &Field {
        &self.fields[set.trailing_zeros() as usize]
    }
}

/// Gives every message its full name.
fn collect<'d>(
    scope: &str,
    messages: &'d [DescriptorProto],
    descriptors: &mut Vec<(String, &'d DescriptorProto)>,
) {
    for message in messages {
        let name = format!("{scope}.{}", message.name());
        let is_map = message.options.as_ref().is_some_and(MessageOptions::map_entry);
        assert!(!is_map, "{name} is a map");
        collect(&name, &message.nested_type, descriptors);
        descriptors.push((name, message));
    }
}
