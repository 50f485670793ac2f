//! Files with rows of all kinds, and a way to compare rows that shares nothing with what is tested.

use std::path::Path;
use std::sync::Arc;

use alula_catalog::schema::{TIMESTAMP, table_schema};
use alula_catalog::{DataFile, Hour, Signal, TenantId, TenantNumber};
use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::buffer::{Chunk, sequences_of, timestamps_of};
use crate::layout::Layout;
use crate::parquet::{FileIdentity, Partition, partition_rows, write_data_file};
use crate::testing::layout;

pub(super) const HOUR: Hour = Hour(440_000);
const HOUR_NS: i64 = 3_600_000_000_000;

/// Numbers that look random and are the same each time.
#[derive(Debug)]
pub(super) struct Numbers(pub u64);

impl Numbers {
    /// Below `bound`.
    pub(super) fn next(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Rows of a table within [`HOUR`], with few distinct values in every column, so that keys are often equal.
pub(super) fn rows(signal: Signal, count: usize, numbers: &mut Numbers) -> RecordBatch {
    let schema = table_schema(signal);
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        TIMESTAMP => times(count, numbers),
        _ => column(field, count, numbers),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn times(count: usize, numbers: &mut Numbers) -> ArrayRef {
    let start_ns = HOUR.0 * HOUR_NS;
    let times = (0..count).map(|_| start_ns + numbers.next(60) as i64 * 1_000_000_000);
    Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"))
}

fn column(field: &Field, count: usize, numbers: &mut Numbers) -> ArrayRef {
    // Some columns have no value at all, as most columns of metrics.
    let nulls_of_four = if field.is_nullable() { [0, 1, 4][numbers.next(3) as usize] } else { 0 };
    let is_valid: Vec<bool> = (0..count).map(|_| numbers.next(4) >= nulls_of_four).collect();
    let mut pick = |bound: u64| -> Vec<u64> { (0..count).map(|_| numbers.next(bound)).collect() };
    let optional = |values: Vec<u64>| {
        values.into_iter().zip(&is_valid).map(|(v, ok)| ok.then_some(v)).collect::<Vec<_>>()
    };
    match field.data_type() {
        DataType::Timestamp(..) => {
            let values = optional(pick(50)).into_iter().map(|v| v.map(|v| v as i64 - 25));
            Arc::new(values.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
        }
        DataType::UInt64 => {
            Arc::new(optional(pick(9)).into_iter().map(|v| v.map(|v| u64::MAX - v)).collect::<UInt64Array>())
        }
        DataType::UInt32 => {
            Arc::new(optional(pick(9)).into_iter().map(|v| v.map(|v| v as u32)).collect::<UInt32Array>())
        }
        DataType::Int64 => {
            Arc::new(optional(pick(9)).into_iter().map(|v| v.map(|v| v as i64 - 4)).collect::<Int64Array>())
        }
        DataType::Int32 => {
            Arc::new(optional(pick(9)).into_iter().map(|v| v.map(|v| v as i32 - 4)).collect::<Int32Array>())
        }
        DataType::Float64 => {
            let floats = [0.0, -0.0, f64::NAN, f64::INFINITY, 1.5, -1e300];
            Arc::new(
                optional(pick(6))
                    .into_iter()
                    .map(|v| v.map(|v| floats[v as usize]))
                    .collect::<Float64Array>(),
            )
        }
        DataType::Boolean => {
            Arc::new(optional(pick(2)).into_iter().map(|v| v.map(|v| v == 1)).collect::<BooleanArray>())
        }
        DataType::Utf8 => {
            Arc::new(optional(pick(20)).into_iter().map(|v| v.map(text)).collect::<StringArray>())
        }
        DataType::Dictionary(..) => {
            let texts = optional(pick(6)).into_iter().map(|v| v.map(text)).collect::<Vec<_>>();
            Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
        }
        DataType::List(item) => {
            let lengths: Vec<usize> = pick(3).into_iter().map(|length| length as usize).collect();
            let items = column(item, lengths.iter().sum(), numbers);
            let offsets = OffsetBuffer::from_lengths(lengths);
            let nulls = NullBuffer::from(is_valid);
            Arc::new(ListArray::new(Arc::clone(item), offsets, items, Some(nulls)))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| column(field, count, numbers)).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, count).unwrap())
        }
        other => unreachable!("no table has a column of type {other}"),
    }
}

fn text(number: u64) -> String {
    ["", "a", "b", "äöü", "a longer text, of more than a dozen bytes"]
        .get(number as usize)
        .map_or_else(|| format!("text {number}"), |text| (*text).to_owned())
}

/// A table's directory to write files in.
pub(super) struct Files {
    pub layout: Layout,
    tenant_id: TenantId,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self { layout: layout(dir), tenant_id: "a".parse().unwrap() }
    }

    /// Writes rows as a flush does.
    pub(super) fn write(&self, signal: Signal, rows: RecordBatch) -> Arc<DataFile> {
        let (first_seq, last_seq) = sequences_of(&rows).unwrap();
        let timestamps = timestamps_of(&rows).unwrap();
        let chunk = Chunk { batch: rows, bytes: 0, timestamps, first_seq, last_seq };
        let partitions = partition_rows(signal, &[Arc::new(chunk)]).unwrap();
        assert_eq!(partitions.len(), 1, "all rows are of one hour");
        self.write_as_it_is(signal, &partitions[0].rows)
    }

    /// Writes rows in the order that they have.
    pub(super) fn write_as_it_is(&self, signal: Signal, rows: &RecordBatch) -> Arc<DataFile> {
        let (tenant, tenant_id) = (TenantNumber(1), &self.tenant_id);
        let identity = FileIdentity { store_uuid: [7; 16], tenant, tenant_id, signal };
        let partition = Partition { hour: HOUR, rows: rows.clone() };
        Arc::new(write_data_file(&self.layout, &identity, &partition).unwrap())
    }
}

/// All cells of each row.
pub(super) fn whole_rows(batches: &[RecordBatch]) -> Vec<OwnedRow> {
    let Some(first) = batches.first() else { return Vec::new() };
    let fields = first.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields).unwrap();
    let rows_of = |batch: &RecordBatch| {
        let rows = converter.convert_columns(batch.columns()).unwrap();
        rows.iter().map(|row| row.owned()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(rows_of).collect()
}
