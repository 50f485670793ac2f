//! From the columns of what is appended to those of its table.
//!
//! Columns are matched by name. A type is taken for another if every value of it is one of the other; what may lose something,
//! if only for some values, is for the statement to say.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use super::UserTableError;
use super::schema::shown;
use crate::parquet::{expanded_bytes, value_bytes};
use crate::{Error, Result};

/// Bytes that a row may have, as one of the table and without encodings.
pub const MAX_USER_TABLE_ROW_BYTES: u64 = 64 << 20;

/// The same of rows that are taken at a time, and of a batch. A batch may have few bytes and say that it has a trillion rows,
/// or the same long value in each.
pub(super) const PART_BYTES: u64 = 16 << 20;
const MAX_BATCH_BYTES: u64 = 4 << 30;
const MAX_BATCH_ROWS: usize = 16 << 20;

/// Some rows of a batch, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub start: usize,
    pub num_rows: usize,
    /// As rows of the table, without encodings.
    pub bytes: u64,
}

/// Where each column of a table comes from.
#[derive(Debug)]
pub(super) struct Columns {
    table: String,
    schema: SchemaRef,
    num_given: usize,
    /// None for a column that was not given, which is null in every row.
    given: Vec<Option<usize>>,
}

impl Columns {
    /// # Errors
    /// `DuplicateColumn`, `UnknownColumn`, `MissingColumn`, `TypeMismatch`.
    pub(super) fn try_new(table: &str, schema: &SchemaRef, given: &Schema) -> Result<Self, UserTableError> {
        let named = |column: &str| (table.to_owned(), column.to_owned());
        for (index, field) in given.fields().iter().enumerate() {
            if given.fields()[..index].iter().any(|before| before.name() == field.name()) {
                return Err(UserTableError::DuplicateColumn { column: field.name().clone() });
            }
            let Ok(target) = schema.field_with_name(field.name()) else {
                let (table, column) = named(field.name());
                return Err(UserTableError::UnknownColumn { table, column });
            };
            if !is_lossless(field.data_type(), target.data_type()) {
                return Err(mismatch(table, target.name(), target.data_type(), field.data_type()));
            }
        }
        let sources = schema.fields().iter().map(|field| match given.index_of(field.name()) {
            Ok(index) => Ok(Some(index)),
            Err(_) if field.is_nullable() => Ok(None),
            Err(_) => {
                let (table, column) = named(field.name());
                Err(UserTableError::MissingColumn { table, column })
            }
        });
        let sources = sources.collect::<Result<_, _>>()?;
        let (table, schema) = (table.to_owned(), Arc::clone(schema));
        Ok(Self { table, schema, num_given: given.fields().len(), given: sources })
    }

    /// Divides a batch into parts that can be taken at a time, in order.
    ///
    /// Bounds: [`PART_BYTES`] each, unless it is one row.
    ///
    /// # Errors
    /// `RowTooLarge`, `BatchTooLarge`; `WrongSchema`.
    pub(super) fn parts(&self, batch: &RecordBatch) -> Result<Vec<Part>> {
        if batch.num_columns() != self.num_given {
            return Err(Error::WrongSchema);
        }
        let whole = self.part(batch, 0, batch.num_rows());
        if whole.num_rows > MAX_BATCH_ROWS || whole.bytes > MAX_BATCH_BYTES {
            let (limit_rows, limit_bytes) = (MAX_BATCH_ROWS, MAX_BATCH_BYTES);
            return Err(UserTableError::BatchTooLarge { limit_rows, limit_bytes }.into());
        }
        let (mut parts, mut waiting) = (Vec::new(), vec![whole]);
        while let Some(part) = waiting.pop() {
            let Part { start, num_rows, bytes } = part;
            if bytes > PART_BYTES && num_rows > 1 {
                let half = num_rows / 2;
                waiting.push(self.part(batch, start + half, num_rows - half));
                waiting.push(self.part(batch, start, half));
            } else if bytes > MAX_USER_TABLE_ROW_BYTES {
                return Err(UserTableError::RowTooLarge { limit_bytes: MAX_USER_TABLE_ROW_BYTES }.into());
            } else {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn part(&self, batch: &RecordBatch, start: usize, num_rows: usize) -> Part {
        let bytes = self.schema.fields().iter().zip(&self.given).map(|(field, given)| match given {
            None => value_bytes(field.data_type()).saturating_mul(num_rows as u64),
            Some(index) => expanded_bytes(&batch.column(*index).slice(start, num_rows), field.data_type()),
        });
        Part { start, num_rows, bytes: bytes.fold(0, u64::saturating_add) }
    }

    /// Rows of the table, from rows that are no more than a [`Part`].
    ///
    /// # Errors
    /// `NullValue`, `ValueOutOfRange`, `TypeMismatch` — the batch is of other types than were said before.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.num_columns() != self.num_given {
            return Err(Error::WrongSchema);
        }
        let columns = self.schema.fields().iter().zip(&self.given).map(|(field, given)| match given {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(index) => self.column(field, batch.column(*index)),
        });
        let columns = columns.collect::<Result<_, UserTableError>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn column(&self, field: &FieldRef, given: &ArrayRef) -> Result<ArrayRef, UserTableError> {
        let named = || (self.table.clone(), field.name().clone());
        if !field.is_nullable() && given.logical_null_count() > 0 {
            let (table, column) = named();
            return Err(UserTableError::NullValue { table, column });
        }
        let target = field.data_type();
        if given.data_type() == target {
            return Ok(Arc::clone(given));
        }
        if !is_lossless(given.data_type(), target) {
            return Err(mismatch(&self.table, field.name(), target, given.data_type()));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(given, target, &options).map_err(|source| {
            let (table, column) = named();
            UserTableError::ValueOutOfRange {
                table,
                column,
                expected: shown(target),
                source: Box::new(source),
            }
        })
    }
}

fn mismatch(table: &str, column: &str, expected: &DataType, found: &DataType) -> UserTableError {
    UserTableError::TypeMismatch {
        table: table.to_owned(),
        column: column.to_owned(),
        expected: shown(expected),
        found: shown(found),
    }
}

/// Whether every value of a type is one of another.
///
/// Times of a coarser unit may be out of the range of a finer one, and a dictionary may be too small: then the cast fails.
fn is_lossless(from: &DataType, to: &DataType) -> bool {
    from == to || (widens(from, to) && can_cast_types(from, to))
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Dictionary, Duration, FixedSizeBinary, FixedSizeList, Float16,
        Float32, Float64, LargeBinary, LargeList, LargeListView, LargeUtf8, List, ListView, Map, Null,
        Struct, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    if from == to || *from == Null {
        return true;
    }
    match (from, to) {
        (Dictionary(_, value), Dictionary(_, target)) => widens(value, target),
        (Dictionary(_, value), _) => widens(value, to),
        (_, Dictionary(_, target)) => widens(from, target),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView | FixedSizeBinary(_), Binary | LargeBinary | BinaryView)
        | (Float16, Float32 | Float64)
        | (Float32, Float64)
        | (Date32, Date64) => true,
        (Timestamp(unit, zone), Timestamp(target, target_zone)) => {
            unit <= target && zone.is_some() == target_zone.is_some()
        }
        (Duration(unit), Duration(target))
        | (Time32(unit) | Time64(unit), Time32(target) | Time64(target)) => unit <= target,
        (List(item) | ListView(item), List(target) | LargeList(target))
        | (LargeList(item) | LargeListView(item), LargeList(target)) => field_widens(item, target),
        (FixedSizeList(item, size), FixedSizeList(target, target_size)) => {
            size == target_size && field_widens(item, target)
        }
        (Map(entries, _), Map(target, _)) => match (entries.data_type(), target.data_type()) {
            // The names of keys and values differ from client to client.
            (Struct(fields), Struct(targets)) => {
                fields.len() == targets.len() && fields.iter().zip(targets).all(|(f, t)| field_widens(f, t))
            }
            _ => false,
        },
        (Struct(fields), Struct(targets)) => {
            fields.len() == targets.len()
                && fields.iter().zip(targets).all(|(f, t)| f.name() == t.name() && field_widens(f, t))
        }
        _ => number_widens(from, to),
    }
}

fn field_widens(from: &FieldRef, to: &FieldRef) -> bool {
    (to.is_nullable() || !from.is_nullable()) && widens(from.data_type(), to.data_type())
}

/// Integers and decimals, each with the digits that it needs.
fn number_widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Decimal32, Decimal64, Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64, UInt8,
        UInt16, UInt32, UInt64,
    };
    match (from, to) {
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
        | (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float64)
        | (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64)
        | (UInt16, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64)
        | (UInt32, UInt64 | Int64 | Float64) => true,
        (_, Decimal128(precision, scale) | Decimal256(precision, scale)) => {
            let digits = match from {
                Int8 | UInt8 => (3, 0),
                Int16 | UInt16 => (5, 0),
                Int32 | UInt32 => (10, 0),
                Int64 => (19, 0),
                UInt64 => (20, 0),
                Decimal32(precision, scale)
                | Decimal64(precision, scale)
                | Decimal128(precision, scale)
                | Decimal256(precision, scale) => (*precision, *scale),
                _ => return false,
            };
            let whole = |(precision, scale): (u8, i8)| i16::from(precision) - i16::from(scale);
            *scale >= digits.1 && *scale >= 0 && whole((*precision, *scale)) >= whole(digits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
