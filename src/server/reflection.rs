//! `grpc.reflection`: what grpcurl and its like are told about the services on the port.
//!
//! opentelemetry-proto and tonic-health bring their descriptors. arrow-flight brings none, so the part of
//! `Flight.proto` that the calls reach is written here as a table.
//!
//! Source: <https://github.com/apache/arrow/blob/main/format/Flight.proto>

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, OneofDescriptorProto,
    ServiceDescriptorProto,
};
use tonic_reflection::server::Builder;

use super::grpc::{FLIGHT_SERVICE, OTLP_SERVICES};

/// The descriptors of everything on the port.
///
/// The names are listed one by one: opentelemetry-proto describes more services than are served.
pub(super) fn builder() -> Builder<'static> {
    let names = OTLP_SERVICES.into_iter().chain([
        FLIGHT_SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]);
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(opentelemetry_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Each version of the reflection service registers its own, and each lists both.
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .register_file_descriptor_set(flight_descriptors());
    names.fold(builder, Builder::with_service_name)
}

#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    Text,
    Bool,
    Int32,
    Int64,
    Uint64,
    /// With presence (`optional`).
    OptionalDouble,
    Texts,
    Message(&'static str),
    Messages(&'static str),
    Enum(&'static str),
}

/// A message's name, and its fields as (name, number, kind).
type Message = (&'static str, &'static [(&'static str, i32, Kind)]);

const PACKAGE: &str = "arrow.flight.protocol";
const TIMESTAMP: &str = ".google.protobuf.Timestamp";
const DESCRIPTOR: &str = ".arrow.flight.protocol.FlightDescriptor";

const FLIGHT_MESSAGES: [Message; 16] = [
    ("HandshakeRequest", &[("protocol_version", 1, Kind::Uint64), ("payload", 2, Kind::Bytes)]),
    ("HandshakeResponse", &[("protocol_version", 1, Kind::Uint64), ("payload", 2, Kind::Bytes)]),
    ("Empty", &[]),
    ("ActionType", &[("type", 1, Kind::Text), ("description", 2, Kind::Text)]),
    ("Criteria", &[("expression", 1, Kind::Bytes)]),
    ("Action", &[("type", 1, Kind::Text), ("body", 2, Kind::Bytes)]),
    ("Result", &[("body", 1, Kind::Bytes)]),
    ("SchemaResult", &[("schema", 1, Kind::Bytes)]),
    (
        "FlightDescriptor",
        &[
            ("type", 1, Kind::Enum(".arrow.flight.protocol.FlightDescriptor.DescriptorType")),
            ("cmd", 2, Kind::Bytes),
            ("path", 3, Kind::Texts),
        ],
    ),
    (
        "FlightInfo",
        &[
            ("schema", 1, Kind::Bytes),
            ("flight_descriptor", 2, Kind::Message(DESCRIPTOR)),
            ("endpoint", 3, Kind::Messages(".arrow.flight.protocol.FlightEndpoint")),
            ("total_records", 4, Kind::Int64),
            ("total_bytes", 5, Kind::Int64),
            ("ordered", 6, Kind::Bool),
            ("app_metadata", 7, Kind::Bytes),
        ],
    ),
    (
        "PollInfo",
        &[
            ("info", 1, Kind::Message(".arrow.flight.protocol.FlightInfo")),
            ("flight_descriptor", 2, Kind::Message(DESCRIPTOR)),
            ("progress", 3, Kind::OptionalDouble),
            ("expiration_time", 4, Kind::Message(TIMESTAMP)),
        ],
    ),
    (
        "FlightEndpoint",
        &[
            ("ticket", 1, Kind::Message(".arrow.flight.protocol.Ticket")),
            ("location", 2, Kind::Messages(".arrow.flight.protocol.Location")),
            ("expiration_time", 3, Kind::Message(TIMESTAMP)),
            ("app_metadata", 4, Kind::Bytes),
        ],
    ),
    ("Location", &[("uri", 1, Kind::Text)]),
    ("Ticket", &[("ticket", 1, Kind::Bytes)]),
    (
        "FlightData",
        &[
            ("flight_descriptor", 1, Kind::Message(DESCRIPTOR)),
            ("data_header", 2, Kind::Bytes),
            ("app_metadata", 3, Kind::Bytes),
            ("data_body", 1000, Kind::Bytes),
        ],
    ),
    ("PutResult", &[("app_metadata", 1, Kind::Bytes)]),
];

/// A call's name, what it takes and gives, and whether each is a stream.
const FLIGHT_METHODS: [(&str, &str, bool, &str, bool); 10] = [
    ("Handshake", "HandshakeRequest", true, "HandshakeResponse", true),
    ("ListFlights", "Criteria", false, "FlightInfo", true),
    ("GetFlightInfo", "FlightDescriptor", false, "FlightInfo", false),
    ("PollFlightInfo", "FlightDescriptor", false, "PollInfo", false),
    ("GetSchema", "FlightDescriptor", false, "SchemaResult", false),
    ("DoGet", "Ticket", false, "FlightData", true),
    ("DoPut", "FlightData", true, "PutResult", true),
    ("DoExchange", "FlightData", true, "FlightData", true),
    ("DoAction", "Action", false, "Result", true),
    ("ListActions", "Empty", false, "ActionType", true),
];

fn flight_descriptors() -> FileDescriptorSet {
    let timestamp: Message = ("Timestamp", &[("seconds", 1, Kind::Int64), ("nanos", 2, Kind::Int32)]);
    let timestamp_file = FileDescriptorProto {
        name: Some("google/protobuf/timestamp.proto".to_owned()),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![message(&timestamp)],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    let flight_file = FileDescriptorProto {
        name: Some("Flight.proto".to_owned()),
        package: Some(PACKAGE.to_owned()),
        dependency: vec!["google/protobuf/timestamp.proto".to_owned()],
        message_type: FLIGHT_MESSAGES.iter().map(message).collect(),
        service: vec![ServiceDescriptorProto {
            name: Some("FlightService".to_owned()),
            method: FLIGHT_METHODS.iter().map(method).collect(),
            options: None,
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![timestamp_file, flight_file] }
}

fn message((name, fields): &Message) -> DescriptorProto {
    let mut message = DescriptorProto { name: Some((*name).to_owned()), ..DescriptorProto::default() };
    for (field, number, kind) in *fields {
        let mut descriptor = FieldDescriptorProto {
            name: Some((*field).to_owned()),
            number: Some(*number),
            ..FieldDescriptorProto::default()
        };
        descriptor.set_label(match kind {
            Kind::Texts | Kind::Messages(_) => Label::Repeated,
            _ => Label::Optional,
        });
        descriptor.set_type(match kind {
            Kind::Bytes => Type::Bytes,
            Kind::Text | Kind::Texts => Type::String,
            Kind::Bool => Type::Bool,
            Kind::Int32 => Type::Int32,
            Kind::Int64 => Type::Int64,
            Kind::Uint64 => Type::Uint64,
            Kind::OptionalDouble => Type::Double,
            Kind::Message(_) | Kind::Messages(_) => Type::Message,
            Kind::Enum(_) => Type::Enum,
        });
        match kind {
            Kind::Message(name) | Kind::Messages(name) | Kind::Enum(name) => {
                descriptor.type_name = Some((*name).to_owned());
            }
            // Presence of a proto3 scalar is a oneof of its own.
            Kind::OptionalDouble => {
                descriptor.proto3_optional = Some(true);
                descriptor.oneof_index = Some(message.oneof_decl.len() as i32);
                message
                    .oneof_decl
                    .push(OneofDescriptorProto { name: Some(format!("_{field}")), options: None });
            }
            _ => {}
        }
        message.field.push(descriptor);
    }
    if *name == "FlightDescriptor" {
        message.enum_type.push(descriptor_type());
    }
    message
}

fn descriptor_type() -> EnumDescriptorProto {
    let value = |(number, name): (i32, &str)| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        options: None,
    };
    EnumDescriptorProto {
        name: Some("DescriptorType".to_owned()),
        value: [(0, "UNKNOWN"), (1, "PATH"), (2, "CMD")].map(value).to_vec(),
        ..EnumDescriptorProto::default()
    }
}

fn method(
    (name, input, input_streams, output, output_streams): &(&str, &str, bool, &str, bool),
) -> MethodDescriptorProto {
    MethodDescriptorProto {
        name: Some((*name).to_owned()),
        input_type: Some(format!(".{PACKAGE}.{input}")),
        output_type: Some(format!(".{PACKAGE}.{output}")),
        client_streaming: Some(*input_streams),
        server_streaming: Some(*output_streams),
        options: None,
    }
}

#[cfg(test)]
mod tests;
