use std::collections::HashSet;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, Ticket};

use super::*;

fn flight_file() -> FileDescriptorProto {
    flight_descriptors().file.into_iter().find(|file| file.name() == "Flight.proto").unwrap()
}

#[test]
fn every_type_that_flight_names_is_described() {
    let set = flight_descriptors();
    let mut known: HashSet<String> = HashSet::new();
    for file in &set.file {
        for message in &file.message_type {
            let name = format!(".{}.{}", file.package(), message.name());
            known.extend(message.enum_type.iter().map(|inner| format!("{name}.{}", inner.name())));
            known.insert(name);
        }
    }
    let fields = set.file.iter().flat_map(|file| &file.message_type).flat_map(|message| &message.field);
    for name in fields.filter_map(|field| field.type_name.as_ref()) {
        assert!(known.contains(name), "{name}");
    }
    for method in &flight_file().service[0].method {
        assert!(
            known.contains(method.input_type()) && known.contains(method.output_type()),
            "{}",
            method.name()
        );
    }
}

/// The field numbers that prost writes for a message with every field set.
fn numbers_on_the_wire(message: &impl prost::Message) -> HashSet<i32> {
    let bytes = message.encode_to_vec();
    let mut rest = bytes.as_slice();
    let mut numbers = HashSet::new();
    while !rest.is_empty() {
        let (number, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
        let context = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire_type, number, &mut rest, context).unwrap();
        numbers.insert(number as i32);
    }
    numbers
}

fn numbers_described(name: &str) -> HashSet<i32> {
    let file = flight_file();
    let message = file.message_type.iter().find(|message| message.name() == name).unwrap();
    message.field.iter().map(FieldDescriptorProto::number).collect()
}

#[test]
fn the_described_fields_are_those_that_arrow_flight_writes() {
    let descriptor =
        FlightDescriptor { r#type: DescriptorType::Cmd as i32, cmd: "c".into(), path: vec!["p".to_owned()] };
    assert_eq!(numbers_on_the_wire(&descriptor), numbers_described("FlightDescriptor"));
    let endpoint = FlightEndpoint {
        ticket: Some(Ticket { ticket: "t".into() }),
        location: vec![arrow_flight::Location { uri: "u".to_owned() }],
        expiration_time: Some(prost_types::Timestamp::default()),
        app_metadata: "m".into(),
    };
    assert_eq!(numbers_on_the_wire(&endpoint), numbers_described("FlightEndpoint"));
    let info = FlightInfo {
        schema: "s".into(),
        flight_descriptor: Some(descriptor.clone()),
        endpoint: vec![endpoint],
        total_records: 1,
        total_bytes: 1,
        ordered: true,
        app_metadata: "m".into(),
    };
    assert_eq!(numbers_on_the_wire(&info), numbers_described("FlightInfo"));
    let poll = PollInfo {
        info: Some(info),
        flight_descriptor: Some(descriptor),
        progress: Some(0.5),
        expiration_time: Some(prost_types::Timestamp::default()),
    };
    assert_eq!(numbers_on_the_wire(&poll), numbers_described("PollInfo"));
}
