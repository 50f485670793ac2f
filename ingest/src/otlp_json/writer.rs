//! Protobuf bytes, written from front to back although each message is preceded by its length.
//!
//! A length is not known before its message is, so its place is noted and left out; when all is written, the bytes move
//! apart from the back, once, and the lengths go in between.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Everything but the lengths in `gaps`.
    bytes: Vec<u8>,
    /// In ascending order of offset.
    gaps: Vec<Gap>,
    /// What the lengths of the gaps that are closed will take.
    length_bytes: usize,
}

/// Where a length goes.
///
/// Small, as a list of `{}` has one for each three bytes of text. No message is as long as 32 bits can say.
#[derive(Debug)]
struct Gap {
    /// Counted without any length.
    offset: u32,
    length: u32,
}

/// A gap whose length is not known.
#[must_use]
#[derive(Debug)]
pub(super) struct Open {
    gap: usize,
    length_bytes_before: usize,
}

/// A single value on the wire.
#[derive(Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Cow<'a, [u8]>),
}

impl From<Vec<u8>> for Wire<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl Wire<'_> {
    /// Whether an absent field has the same value.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            Self::Fixed32(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    fn wire_type(&self) -> WireType {
        match self {
            Self::Varint(_) => WireType::Varint,
            Self::Fixed32(_) => WireType::ThirtyTwoBit,
            Self::Fixed64(_) => WireType::SixtyFourBit,
            Self::Bytes(_) => WireType::LengthDelimited,
        }
    }
}

impl Writer {
    /// Writes a field.
    pub(super) fn field(&mut self, number: u32, value: &Wire<'_>) {
        encode_key(number, value.wire_type(), &mut self.bytes);
        self.value(value);
    }

    /// Writes a value alone, as a packed list has it.
    pub(super) fn value(&mut self, value: &Wire<'_>) {
        match value {
            Wire::Varint(value) => encode_varint(*value, &mut self.bytes),
            Wire::Fixed32(value) => self.bytes.extend_from_slice(&value.to_le_bytes()),
            Wire::Fixed64(value) => self.bytes.extend_from_slice(&value.to_le_bytes()),
            Wire::Bytes(bytes) => {
                encode_varint(bytes.len() as u64, &mut self.bytes);
                self.bytes.extend_from_slice(bytes);
            }
        }
    }

    /// Begins a field that is a message or a packed list.
    pub(super) fn open(&mut self, number: u32) -> Open {
        encode_key(number, WireType::LengthDelimited, &mut self.bytes);
        self.gaps.push(Gap { offset: self.bytes.len() as u32, length: 0 });
        Open { gap: self.gaps.len() - 1, length_bytes_before: self.length_bytes }
    }

    /// Ends the field that was begun last.
    pub(super) fn close(&mut self, Open { gap, length_bytes_before }: Open) {
        let gap = &mut self.gaps[gap];
        let length = self.bytes.len() - gap.offset as usize + self.length_bytes - length_bytes_before;
        gap.length = length as u32;
        self.length_bytes += encoded_len_varint(length as u64);
    }

    /// Bytes of all that is written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.length_bytes
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let Self { mut bytes, gaps, length_bytes } = self;
        let mut from_end = bytes.len();
        let mut to_end = from_end + length_bytes;
        bytes.resize(to_end, 0);
        for Gap { offset, length } in gaps.into_iter().rev() {
            let (offset, length) = (offset as usize, u64::from(length));
            let to = to_end - (from_end - offset);
            bytes.copy_within(offset..from_end, to);
            to_end = to - encoded_len_varint(length);
            encode_varint(length, &mut &mut bytes[to_end..to]);
            from_end = offset;
        }
        bytes
    }
}
