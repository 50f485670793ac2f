//! Entries whose rows are told apart: row `i` of an entry carries its label and `i` in the attributes. A predicate of a
//! deletion is a label.

use std::error::Error as StdError;
use std::sync::Arc;

use alula_catalog::schema::{
    ATTRIBUTES, INGEST_SEQ, INGESTED_AT, TENANT_ID, TIMESTAMP, entry_schema, table_schema,
};
use alula_catalog::{Signal, TenantId, TimeRange, now_ns};
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, RecordBatch, TimestampNanosecondArray,
    UInt64Array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, UInt64Type};
use bytes::Bytes;

use crate::{BatchId, Entry, EntryDecoder, LoggedEntry, PredicateCompiler, PredicateError, RowPredicate};

/// The time between a recording and the crash at its last moment may be longer than the retry window.
const AHEAD_NS: i64 = 24 * 3_600 * 1_000_000_000;

const HOUR_S: i64 = 3_600;

/// What is to be appended. The label is unique in a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub label: String,
    pub tenant: &'static str,
    pub signal: Signal,
    /// Rows go to this hour of the epoch, and each row of odd number to the next one if `spans_hours`.
    pub hour: i64,
    pub spans_hours: bool,
    pub num_rows: usize,
}

impl Spec {
    pub(super) fn tenant_id(&self) -> TenantId {
        self.tenant.parse().unwrap()
    }

    /// The identity of each row.
    pub(super) fn row_ids(&self) -> impl Iterator<Item = String> {
        (0..self.num_rows).map(|i| format!("{}-{i}", self.label))
    }

    pub(super) fn entry(&self) -> Entry {
        let tenant = self.tenant_id();
        let payload =
            format!("{} {} {} {}", self.label, self.hour, u8::from(self.spans_hours), self.num_rows);
        Entry {
            signal: self.signal,
            received_ns: now_ns() + AHEAD_NS,
            batch_id: Some(BatchId::of(&tenant, self.signal, payload.as_bytes())),
            batch: self.rows(),
            tenant,
            payload: Bytes::from(payload),
            rejected: Vec::new(),
        }
    }

    fn rows(&self) -> RecordBatch {
        let schema = entry_schema(self.signal);
        let count = self.num_rows;
        let repeated = |text: &str| -> ArrayRef {
            Arc::new(vec![text; count].into_iter().collect::<DictionaryArray<Int32Type>>())
        };
        let times = (0..count as i64).map(|i| {
            let hour = self.hour + if self.spans_hours { i % 2 } else { 0 };
            (hour * HOUR_S + i) * 1_000_000_000
        });
        let times: ArrayRef =
            Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC"));
        let ids: Vec<String> = self.row_ids().map(|id| format!("{{\"row\":\"{id}\"}}")).collect();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                TIMESTAMP | INGESTED_AT => Arc::clone(&times),
                ATTRIBUTES => {
                    Arc::new(ids.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
                }
                TENANT_ID => repeated(self.tenant),
                _ if field.is_nullable() => new_null_array(field.data_type(), count),
                _ => match field.data_type() {
                    DataType::Dictionary(..) => repeated(""),
                    DataType::UInt64 => Arc::new(UInt64Array::from_value(0, count)),
                    DataType::Int32 => Arc::new(Int32Array::from_value(9, count)),
                    other => unreachable!("a schema has an unforeseen column type {other}"),
                },
            }
        });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    }
}

/// Decodes the payloads of [`Spec::entry`].
#[derive(Debug)]
pub(super) struct SpecDecoder;

impl EntryDecoder for SpecDecoder {
    fn decode(&self, entry: &LoggedEntry) -> Result<RecordBatch, Box<dyn StdError + Send + Sync>> {
        let text = std::str::from_utf8(&entry.payload)?;
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or("a word is missing");
        let spec = Spec {
            label: word()?.to_owned(),
            tenant: super::tenant_name(entry.tenant.as_str()).ok_or("a tenant that there is not")?,
            signal: entry.signal,
            hour: word()?.parse()?,
            spans_hours: word()? == "1",
            num_rows: word()?.parse()?,
        };
        Ok(spec.rows())
    }
}

/// The rows of the entry with this label.
#[derive(Debug)]
struct OfLabel {
    label: String,
    columns: [usize; 1],
}

impl RowPredicate for OfLabel {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn timestamps(&self) -> TimeRange {
        TimeRange { min_ns: i64::MIN, max_ns: i64::MAX }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray, PredicateError> {
        let is_of_label = |id: &String| id.rsplit_once('-').is_some_and(|(label, _)| label == self.label);
        Ok(row_ids(rows).iter().map(|id| Some(is_of_label(id))).collect())
    }
}

/// Compiles the predicates of deletions.
#[derive(Debug)]
pub(super) struct LabelCompiler;

impl PredicateCompiler for LabelCompiler {
    fn compile(&self, signal: Signal, predicate: &str) -> Result<Arc<dyn RowPredicate>, PredicateError> {
        let columns = [table_schema(signal).index_of(ATTRIBUTES)?];
        Ok(Arc::new(OfLabel { label: predicate.to_owned(), columns }))
    }
}

/// A row that was found, and the sequence number that it has.
pub(super) type FoundRow = (String, u64);

/// The rows of a batch, which has at least the columns `attributes` and `ingest_seq`.
pub(super) fn found_rows(batch: &RecordBatch) -> Vec<FoundRow> {
    let seqs = batch.column_by_name(INGEST_SEQ).unwrap().as_primitive::<UInt64Type>();
    row_ids(batch).into_iter().zip(seqs.values().iter().copied()).collect()
}

fn row_ids(batch: &RecordBatch) -> Vec<String> {
    let attributes = cast(batch.column_by_name(ATTRIBUTES).unwrap(), &DataType::Utf8).unwrap();
    let id = |text: &str| {
        text.strip_prefix("{\"row\":\"").and_then(|text| text.strip_suffix("\"}")).unwrap_or(text).to_owned()
    };
    attributes.as_string::<i32>().iter().flatten().map(id).collect()
}
