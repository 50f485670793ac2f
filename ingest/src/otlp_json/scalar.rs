//! Single values: from JSON to what stands on the wire.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_types::field_descriptor_proto::Type;

use super::fault::Result;
use super::number::Decimal;
use super::reader::{Kind, Reader};
use super::writer::Wire;

const BASE64: &str = "base64 text";
const HEX: &str = "hex digits, two for each byte (OTLP/JSON takes no ids in base64)";

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Text,
    /// Bytes, in base64.
    Base64,
    /// Bytes, in hex.
    Hex,
    Double,
    Float,
    Enum,
    Integer {
        form: Form,
        is_signed: bool,
        is_long: bool,
    },
}

/// How an integer stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Varint,
    ZigZag,
    Fixed,
}

impl Scalar {
    /// # Panics
    /// If the type is not that of a single value of proto3.
    pub(super) fn of(r#type: Type) -> Self {
        let integer = |form, is_signed, is_long| Self::Integer { form, is_signed, is_long };
        match r#type {
            Type::Bool => Self::Bool,
            Type::String => Self::Text,
            Type::Bytes => Self::Base64,
            Type::Double => Self::Double,
            Type::Float => Self::Float,
            Type::Enum => Self::Enum,
            Type::Int32 => integer(Form::Varint, true, false),
            Type::Int64 => integer(Form::Varint, true, true),
            Type::Uint32 => integer(Form::Varint, false, false),
            Type::Uint64 => integer(Form::Varint, false, true),
            Type::Sint32 => integer(Form::ZigZag, true, false),
            Type::Sint64 => integer(Form::ZigZag, true, true),
            Type::Fixed32 => integer(Form::Fixed, false, false),
            Type::Fixed64 => integer(Form::Fixed, false, true),
            Type::Sfixed32 => integer(Form::Fixed, true, false),
            Type::Sfixed64 => integer(Form::Fixed, true, true),
            Type::Group | Type::Message => panic!("{} is no single value", r#type.as_str_name()),
        }
    }

    /// Whether a list of them is one length and the values one after the other.
    pub(super) fn is_packed(self) -> bool {
        !matches!(self, Self::Text | Self::Base64 | Self::Hex)
    }

    /// Reads the value that [`Reader::peek`] has seen.
    pub(super) fn read<'a>(self, kind: Kind, reader: &mut Reader<'a>) -> Result<Wire<'a>> {
        match self {
            Self::Bool => match kind {
                Kind::True => reader.literal("true").map(|()| Wire::Varint(1)),
                Kind::False => reader.literal("false").map(|()| Wire::Varint(0)),
                _ => Err(reader.wrong_value("`true` or `false`")),
            },
            Self::Text => {
                let text = text(kind, reader, "a string", Some)?;
                Ok(Wire::Bytes(match text {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                }))
            }
            Self::Base64 => text(kind, reader, BASE64, |text| base64(&text).map(Wire::from)),
            Self::Hex => text(kind, reader, HEX, |text| hex(&text).map(Wire::from)),
            Self::Double => {
                Ok(Wire::Fixed64(float(kind, reader, f64::is_finite, "a 64-bit float")?.to_bits()))
            }
            Self::Float => {
                let value = float(kind, reader, |value| (value as f32).is_finite(), "a 32-bit float")?;
                Ok(Wire::Fixed32((value as f32).to_bits()))
            }
            Self::Enum if kind == Kind::Number => {
                let value =
                    integer(kind, reader, i32::MIN.into()..=i32::MAX.into(), "a 32-bit signed integer")?;
                Ok(Wire::Varint(value as u64))
            }
            Self::Enum => Err(reader.wrong_value("the number of an enum value (OTLP/JSON takes no names)")),
            Self::Integer { form, is_signed, is_long } => {
                let (range, name) = match (is_signed, is_long) {
                    (true, true) => (i64::MIN.into()..=i64::MAX.into(), "a 64-bit signed integer"),
                    (true, false) => (i32::MIN.into()..=i32::MAX.into(), "a 32-bit signed integer"),
                    (false, true) => (0..=u64::MAX.into(), "a 64-bit unsigned integer"),
                    (false, false) => (0..=u32::MAX.into(), "a 32-bit unsigned integer"),
                };
                let value = integer(kind, reader, range, name)?;
                Ok(match (form, is_long) {
                    (Form::Varint, _) => Wire::Varint(value as u64),
                    (Form::ZigZag, _) => Wire::Varint(((value << 1) ^ (value >> 127)) as u64),
                    (Form::Fixed, true) => Wire::Fixed64(value as u64),
                    (Form::Fixed, false) => Wire::Fixed32(value as u32),
                })
            }
        }
    }
}

fn integer(
    kind: Kind,
    reader: &mut Reader<'_>,
    range: RangeInclusive<i128>,
    name: &'static str,
) -> Result<i128> {
    let start = reader.clone();
    let value = match kind {
        Kind::Number => reader.number()?.to_integer(),
        Kind::String => Decimal::parse(&reader.string()?).and_then(Decimal::to_integer),
        _ => None,
    };
    let value = value.ok_or_else(|| start.no_number(name))?;
    if range.contains(&value) { Ok(value) } else { Err(start.out_of_range(name)) }
}

/// Reads a number that is whole and beyond 64 bits, if that is what comes, as a double.
pub(super) fn large_number(kind: Kind, reader: &mut Reader<'_>) -> Result<Option<Wire<'static>>> {
    if kind != Kind::Number {
        return Ok(None);
    }
    let mut ahead = reader.clone();
    let number = ahead.number()?;
    let is_large = number.to_integer().is_some_and(|value| i64::try_from(value).is_err());
    let double = number.to_double();
    if !is_large || double.is_infinite() {
        return Ok(None);
    }
    *reader = ahead;
    Ok(Some(Wire::Fixed64(double.to_bits())))
}

/// Reads a float that fits, or one that has no digits.
fn float(
    kind: Kind,
    reader: &mut Reader<'_>,
    fits: impl FnOnce(f64) -> bool,
    name: &'static str,
) -> Result<f64> {
    let start = reader.clone();
    let value = match kind {
        Kind::Number => Some(reader.number()?.to_double()),
        Kind::String => match &*reader.string()? {
            "NaN" => return Ok(f64::NAN),
            "Infinity" => return Ok(f64::INFINITY),
            "-Infinity" => return Ok(f64::NEG_INFINITY),
            text => Decimal::parse(text).map(Decimal::to_double),
        },
        _ => None,
    };
    let value = value.ok_or_else(|| start.no_number(name))?;
    if fits(value) { Ok(value) } else { Err(start.out_of_range(name)) }
}

/// Reads a string and makes something of it.
fn text<'a, T>(
    kind: Kind,
    reader: &mut Reader<'a>,
    expected: &'static str,
    make: impl FnOnce(Cow<'a, str>) -> Option<T>,
) -> Result<T> {
    let start = reader.clone();
    let made = if kind == Kind::String { make(reader.string()?) } else { None };
    made.ok_or_else(|| start.wrong_value(expected))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4) | digit(low)?)).collect()
}
