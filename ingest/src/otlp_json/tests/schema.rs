//! Types and labels that OTLP does not use, or may use one day, in a schema made up for it.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::super::schema::Schema;
use super::super::transcode::transcode;
use super::*;

fn field(name: &str, number: i32, r#type: Type, label: Label) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.to_owned()),
        json_name: Some(name.to_owned()),
        number: Some(number),
        ..FieldDescriptorProto::default()
    };
    field.set_type(r#type);
    field.set_label(label);
    field
}

/// Numbers 1 to 13 are single numbers, 21 to 33 the lists of them.
fn schema() -> Schema {
    let types = [
        Type::Double,
        Type::Float,
        Type::Int32,
        Type::Int64,
        Type::Uint32,
        Type::Uint64,
        Type::Sint32,
        Type::Sint64,
        Type::Fixed32,
        Type::Fixed64,
        Type::Sfixed32,
        Type::Sfixed64,
        Type::Bool,
    ];
    let fields = types.into_iter().zip(1..).flat_map(|(r#type, number)| {
        let name = r#type.as_str_name().strip_prefix("TYPE_").unwrap().to_lowercase();
        [
            field(&name, number, r#type, Label::Optional),
            field(&format!("{name}s"), number + 20, r#type, Label::Repeated),
        ]
    });
    let message = DescriptorProto {
        name: Some("Numbers".to_owned()),
        field: fields.collect(),
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        package: Some("test".to_owned()),
        message_type: vec![message],
        ..FileDescriptorProto::default()
    };
    Schema::new(&FileDescriptorSet { file: vec![file] })
}

/// The same numbers for prost.
#[derive(Clone, PartialEq, Message)]
struct Numbers {
    #[prost(double, tag = "1")]
    double: f64,
    #[prost(float, tag = "2")]
    float: f32,
    #[prost(int32, tag = "3")]
    int32: i32,
    #[prost(int64, tag = "4")]
    int64: i64,
    #[prost(uint32, tag = "5")]
    uint32: u32,
    #[prost(uint64, tag = "6")]
    uint64: u64,
    #[prost(sint32, tag = "7")]
    sint32: i32,
    #[prost(sint64, tag = "8")]
    sint64: i64,
    #[prost(fixed32, tag = "9")]
    fixed32: u32,
    #[prost(fixed64, tag = "10")]
    fixed64: u64,
    #[prost(sfixed32, tag = "11")]
    sfixed32: i32,
    #[prost(sfixed64, tag = "12")]
    sfixed64: i64,
    #[prost(bool, tag = "13")]
    bool: bool,
    #[prost(float, repeated, tag = "22")]
    floats: Vec<f32>,
    #[prost(int32, repeated, tag = "23")]
    int32s: Vec<i32>,
    #[prost(sint64, repeated, tag = "28")]
    sint64s: Vec<i64>,
    #[prost(sfixed32, repeated, tag = "31")]
    sfixed32s: Vec<i32>,
    #[prost(bool, repeated, tag = "33")]
    bools: Vec<bool>,
}

fn numbers(text: &str) -> Result<Numbers, String> {
    let schema = schema();
    let bytes = transcode(&schema, schema.named(".test.Numbers"), text.as_bytes(), usize::MAX)
        .map_err(|fault| fault.at(text.as_bytes()).to_string())?;
    Ok(Numbers::decode(bytes.as_slice()).unwrap())
}

#[test]
fn every_type_of_number_is_written_as_prost_reads_it() {
    let json = r#"{"double":-1.5,"float":3.4028235e38,"int32":-1,"int64":"-9223372036854775808","uint32":4294967295,
        "uint64":18446744073709551615,"sint32":-2147483648,"sint64":-9223372036854775808,"fixed32":4294967295,
        "fixed64":"18446744073709551615","sfixed32":-2147483648,"sfixed64":-9223372036854775808,"bool":true,
        "floats":[0,"-Infinity",0.1],"int32s":[-1,0,1],"sint64s":["9223372036854775807",-9223372036854775808],
        "sfixed32s":[-1,2147483647],"bools":[true,false]}"#;
    let expected = Numbers {
        double: -1.5,
        float: f32::MAX,
        int32: -1,
        int64: i64::MIN,
        uint32: u32::MAX,
        uint64: u64::MAX,
        sint32: i32::MIN,
        sint64: i64::MIN,
        fixed32: u32::MAX,
        fixed64: u64::MAX,
        sfixed32: i32::MIN,
        sfixed64: i64::MIN,
        bool: true,
        floats: vec![0.0, f32::NEG_INFINITY, 0.1],
        int32s: vec![-1, 0, 1],
        sint64s: vec![i64::MAX, i64::MIN],
        sfixed32s: vec![-1, i32::MAX],
        bools: vec![true, false],
    };
    assert_eq!(numbers(json).unwrap(), expected);
}

#[test]
fn every_type_of_number_has_its_range() {
    for (json, expected) in [
        (r#"{"float":3.5e38}"#, "float: 3.5e38 is out of the range of a 32-bit float (line 1, column 10)"),
        (
            r#"{"sint32":2147483648}"#,
            "sint32: 2147483648 is out of the range of a 32-bit signed integer (line 1, column 11)",
        ),
        (
            r#"{"fixed32":"-1"}"#,
            "fixed32: \"-1\" is out of the range of a 32-bit unsigned integer (line 1, column 12)",
        ),
        (r#"{"bools":[true,0]}"#, "bools[1]: expected `true` or `false`, found 0 (line 1, column 16)"),
    ] {
        assert_eq!(numbers(json).unwrap_err(), expected);
    }
}

#[test]
fn a_field_of_a_later_version_is_taken_by_its_descriptor() {
    let mut files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap();
    let logs = files.file.iter_mut().find(|file| file.package() == "opentelemetry.proto.logs.v1").unwrap();
    let record = logs.message_type.iter_mut().find(|message| message.name() == "LogRecord").unwrap();
    let mut later = field("later_field", 999, Type::Sfixed64, Label::Repeated);
    later.json_name = Some("laterField".to_owned());
    record.field.push(later);

    let schema = Schema::new(&files);
    let json = br#"{"laterField":["-1",2],"flags":1}"#;
    let bytes =
        transcode(&schema, schema.named(".opentelemetry.proto.logs.v1.LogRecord"), json, usize::MAX).unwrap();
    let mut expected = vec![0xba, 0x3e, 16];
    expected.extend([(-1_i64).to_le_bytes(), 2_i64.to_le_bytes()].concat());
    expected.extend([0x45, 1, 0, 0, 0]);
    assert_eq!(bytes, expected);
}
