//! CSV, JSON and JSON lines.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray as ArrayOfObjects, JsonFormat, LineDelimited};
use arrow::json::{Writer, WriterBuilder};

use super::Encoder;
use super::values::{LOCAL_TIMESTAMP, text_column, zoned_timestamp_pattern};

/// CSV with a header, which an answer without rows has too. Nulls are empty.
pub(super) struct Csv {
    header: Option<SchemaRef>,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { header: Some(SchemaRef::clone(schema)) }
    }

    fn write_header(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let Some(schema) = self.header.take() else { return Ok(()) };
        let names: Vec<_> =
            schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
        let nothing = RecordBatch::new_empty(Arc::new(Schema::new(names)));
        csv::WriterBuilder::new().with_header(true).build(out).write(&nothing)
    }
}

impl Encoder for Csv {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.write_header(out)?;
        let plain = with_text_columns(batch)?;
        csv::WriterBuilder::new().with_header(false).build(out).write(&plain)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.write_header(out)
    }
}

/// The batch with columns that CSV cannot hold, or writes otherwise than we promise, as text.
fn with_text_columns(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Timestamp(..)) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(Arc::new(text_column(field, column)?));
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// One array of objects, written as the rows come. Nulls are explicit: every object has every key.
pub(super) struct JsonArray(Writer<Vec<u8>, ArrayOfObjects>);

impl JsonArray {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self(writer(schema))
    }
}

impl Encoder for JsonArray {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        out.append(self.0.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.append(self.0.get_mut());
        out.push(b'\n');
        Ok(())
    }
}

/// One object a line, with the same values as [`JsonArray`].
pub(super) struct JsonLines(Writer<Vec<u8>, LineDelimited>);

impl JsonLines {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self(writer(schema))
    }
}

impl Encoder for JsonLines {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        out.append(self.0.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.append(self.0.get_mut());
        Ok(())
    }
}

fn writer<F: JsonFormat>(schema: &SchemaRef) -> Writer<Vec<u8>, F> {
    WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(LOCAL_TIMESTAMP.to_owned())
        .with_timestamp_tz_format(zoned_timestamp_pattern(schema.fields()).to_owned())
        .build(Vec::new())
}
