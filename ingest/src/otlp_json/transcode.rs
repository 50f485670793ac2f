//! Walks the text and the schema together.

use super::fault::{Fault, Problem, Result, Step};
use super::reader::{Kind, Reader};
use super::scalar::large_number;
use super::schema::{Content, Field, FieldSet, Message, Schema};
use super::writer::{Open, Writer};

/// A result longer than `limit_bytes` is given up when it gets there.
pub(super) fn transcode(
    schema: &Schema,
    request: &Message,
    text: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>> {
    let mut reader = Reader::new(text)?;
    let mut transcoder = Transcoder { schema, writer: Writer::default(), limit_bytes };
    transcoder.message(&mut reader, request)?;
    reader.finish()?;
    // What came last has had nothing behind it to be refused at.
    transcoder.check_length(&reader)?;
    Ok(transcoder.writer.finish())
}

struct Transcoder<'s> {
    schema: &'s Schema,
    writer: Writer,
    limit_bytes: usize,
}

impl Transcoder<'_> {
    fn message(&mut self, reader: &mut Reader<'_>, message: &Message) -> Result<()> {
        let (mut given, mut set) = (0, 0);
        reader.object(|reader, name| {
            let Some((place, field)) = message.field(&name) else { return reader.skip() };
            self.check_length(reader)?;
            let within_field = |fault: Fault| fault.within(Step::Field(field.name.clone()));
            let kind = reader.peek().map_err(within_field)?;
            let bit: FieldSet = 1 << place;
            if given & bit != 0 {
                return Err(within_field(reader.fault(Problem::GivenTwice)));
            }
            given |= bit;
            if kind == Kind::Null {
                return reader.literal("null").map_err(within_field);
            }
            if set & field.rivals != 0 {
                let first = message.first_of(set & field.rivals).name.clone();
                return Err(reader.fault(Problem::BothGiven { first, second: field.name.clone() }));
            }
            set |= bit;
            if field.is_list { self.list(reader, field) } else { self.single(kind, reader, field) }
                .map_err(within_field)
        })
    }

    fn check_length(&self, reader: &Reader<'_>) -> Result<()> {
        let limit_bytes = self.limit_bytes;
        if self.writer.len() > limit_bytes {
            Err(reader.fault(Problem::TooLong { limit_bytes }))
        } else {
            Ok(())
        }
    }

    fn single(&mut self, kind: Kind, reader: &mut Reader<'_>, field: &Field) -> Result<()> {
        match field.content {
            Content::Message(place) => {
                let open = self.writer.open(field.number);
                self.message(reader, self.schema.message(place))?;
                self.writer.close(open);
            }
            Content::Scalar(scalar) => {
                if let Some(number) = field.for_large
                    && let Some(value) = large_number(kind, reader)?
                {
                    self.writer.field(number, &value);
                    return Ok(());
                }
                let value = scalar.read(kind, reader)?;
                if field.has_presence || !value.is_default() {
                    self.writer.field(field.number, &value);
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, reader: &mut Reader<'_>, field: &Field) -> Result<()> {
        let mut packed = None;
        reader.list(|reader, index| {
            self.check_length(reader)?;
            self.element(reader, field, &mut packed).map_err(|fault| fault.within(Step::Element(index)))
        })?;
        if let Some(open) = packed {
            self.writer.close(open);
        }
        Ok(())
    }

    /// An element of a list; `packed` is the list itself if it is written as one field.
    fn element(&mut self, reader: &mut Reader<'_>, field: &Field, packed: &mut Option<Open>) -> Result<()> {
        let kind = reader.peek()?;
        match field.content {
            Content::Message(place) => {
                let open = self.writer.open(field.number);
                match kind {
                    Kind::Null => reader.literal("null")?,
                    _ => self.message(reader, self.schema.message(place))?,
                }
                self.writer.close(open);
            }
            Content::Scalar(scalar) => {
                let value = scalar.read(kind, reader)?;
                if scalar.is_packed() {
                    packed.get_or_insert_with(|| self.writer.open(field.number));
                    self.writer.value(&value);
                } else {
                    self.writer.field(field.number, &value);
                }
            }
        }
        Ok(())
    }
}
