//! Reads all of one data file, and compares its rows with what is said of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use alula_catalog::schema::{INGEST_SEQ, TENANT_ID, TIMESTAMP, sort_columns, table_schema};
use alula_catalog::{DataFile, Hour, SequenceNumber, Signal, TenantId, TimeRange};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, TimestampNanosecondType, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::data_files::DataFileReader;
use crate::parquet::{Footer, FooterError, checksums, read_footer};
use crate::remote::ObjectFault;

/// Rows in memory at a time.
const BATCH_ROWS: usize = 8192;

/// Why a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error("it is missing")]
    Missing,
    #[error("it cannot be read ({0})")]
    Read(#[from] std::io::Error),
    #[error("it has {found} bytes of {expected}")]
    Size { found: u64, expected: u64 },
    #[error("its checksum is not the one it was written with")]
    Checksum,
    #[error("{}", alula_catalog::error_chain(.0))]
    Footer(#[from] FooterError),
    #[error("its rows cannot be decoded ({0})")]
    Parquet(#[from] ParquetError),
    #[error("its rows cannot be decoded ({0})")]
    Arrow(#[from] ArrowError),
    #[error("its rows cannot be decoded")]
    Panicked,
    #[error("it has other columns than its table")]
    Schema,
    #[error("its {what} are {found}, and should be {expected}")]
    Differs { what: &'static str, found: String, expected: String },
    #[error("row {row} is not in the order of its table")]
    Unsorted { row: u64 },
    #[error("row {row} belongs to another tenant")]
    Tenant { row: u64 },
    #[error("it was kept aside")]
    SetAside,
    #[error("row {row} belongs to another hour")]
    Partition { row: u64 },
    #[error("it belongs to another store")]
    Foreign,
    #[error("its tenant has another number, or another name, in other files")]
    SeveralTenants,
    #[error(transparent)]
    Object(Box<ObjectFault>),
}

type Result<T> = std::result::Result<T, FileFault>;

/// Compares a file with its row in the catalog: bytes, footer, and every row in it.
pub(super) fn check_against(
    reader: &DataFileReader,
    row: &DataFile,
    tenant_id: Option<&TenantId>,
) -> Result<()> {
    if reader.size_bytes() != row.size_bytes {
        return Err(FileFault::Size { found: reader.size_bytes(), expected: row.size_bytes });
    }
    if checksums(reader)?.whole != row.checksum {
        return Err(FileFault::Checksum);
    }
    let footer = read_footer(reader)?;
    let expected = DataFile {
        size_bytes: 0,
        checksum: [0; 16],
        tier: footer.file.tier,
        // A deletion may have been applied to it without a change, since it was written.
        deletions_applied: footer.file.deletions_applied,
        ..row.clone()
    };
    differs("footer keys", &footer.file, &expected)?;
    if let Some(tenant_id) = tenant_id {
        differs("tenants", &footer.tenant_id, tenant_id)?;
    }
    check_rows(reader, &footer)
}

/// Reads all of a file: its footer, complete, if everything in the file agrees with it.
pub(super) fn check_whole(reader: &DataFileReader) -> Result<Footer> {
    let checksums = checksums(reader)?;
    if checksums.is_own == Some(false) {
        return Err(FileFault::Checksum);
    }
    let mut footer = read_footer(reader)?;
    footer.file.size_bytes = reader.size_bytes();
    footer.file.checksum = checksums.whole;
    if checksums.is_own.is_none() && footer.has_checksum {
        return Err(FileFault::Checksum);
    }
    check_rows(reader, &footer)?;
    Ok(footer)
}

/// Compares every row of a file with its footer: how many there are, their order, and the range of their times and numbers.
fn check_rows(reader: &DataFileReader, footer: &Footer) -> Result<()> {
    // The reader panics on some damages.
    catch_unwind(AssertUnwindSafe(|| check_all_rows(reader, footer))).unwrap_or(Err(FileFault::Panicked))
}

fn check_all_rows(reader: &DataFileReader, footer: &Footer) -> Result<()> {
    let file = &footer.file;
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader.clone())?;
    if builder.schema().fields() != table_schema(file.signal).fields() {
        return Err(FileFault::Schema);
    }
    let mut order = Order::new(file.signal)?;
    let mut seen: Option<Seen> = None;
    let mut num_rows = 0;
    for batch in builder.with_batch_size(BATCH_ROWS).build()? {
        let batch = batch?;
        check_tenant(&batch, &footer.tenant_id, num_rows)?;
        order.check(&batch, num_rows)?;
        let times = column(&batch, TIMESTAMP)?.as_primitive_opt::<TimestampNanosecondType>();
        let sequences = column(&batch, INGEST_SEQ)?.as_primitive_opt::<UInt64Type>();
        let (Some(times), Some(sequences)) = (times, sequences) else { return Err(FileFault::Schema) };
        for (time, seq) in times.values().iter().zip(sequences.values()) {
            let hour = Hour::of(*time).0 - file.hour.0;
            if !(0..i64::from(file.num_hours)).contains(&hour) {
                return Err(FileFault::Partition { row: num_rows });
            }
            seen = Some(Seen::with(seen, *time, SequenceNumber(*seq)));
            num_rows += 1;
        }
    }
    differs("numbers of rows", &num_rows, &file.num_rows)?;
    let Some(seen) = seen else { return Ok(()) };
    differs("times", &seen.timestamps, &file.timestamps)?;
    differs("sequence numbers", &seen.sequences, &(file.first_seq, file.last_seq))
}

/// How many rows of each entry a file has.
pub(super) fn rows_by_entry(reader: &DataFileReader) -> Result<BTreeMap<SequenceNumber, u64>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(reader.clone())?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [INGEST_SEQ]);
    let mut rows = BTreeMap::new();
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = batch?;
        let sequences = column(&batch, INGEST_SEQ)?.as_primitive_opt::<UInt64Type>();
        for seq in sequences.ok_or(FileFault::Schema)?.values() {
            *rows.entry(SequenceNumber(*seq)).or_default() += 1;
        }
    }
    Ok(rows)
}

pub(super) fn differs<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    found: &T,
    expected: &T,
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(FileFault::Differs { what, found: format!("{found:?}"), expected: format!("{expected:?}") })
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or(FileFault::Schema)
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    timestamps: TimeRange,
    sequences: (SequenceNumber, SequenceNumber),
}

impl Seen {
    fn with(before: Option<Self>, time: i64, seq: SequenceNumber) -> Self {
        let Some(Self { timestamps, sequences: (first, last) }) = before else {
            return Self { timestamps: TimeRange { min_ns: time, max_ns: time }, sequences: (seq, seq) };
        };
        let timestamps =
            TimeRange { min_ns: timestamps.min_ns.min(time), max_ns: timestamps.max_ns.max(time) };
        Self { timestamps, sequences: (first.min(seq), last.max(seq)) }
    }
}

fn check_tenant(batch: &RecordBatch, tenant: &TenantId, first_row: u64) -> Result<()> {
    let ids = arrow::compute::cast(column(batch, TENANT_ID)?, &DataType::Utf8)?;
    let foreign = ids.as_string::<i32>().iter().position(|id| id != Some(tenant.as_str()));
    match foreign {
        Some(row) => Err(FileFault::Tenant { row: first_row + row as u64 }),
        None => Ok(()),
    }
}

/// The declared order of a table, from batch to batch.
struct Order {
    columns: &'static [&'static str],
    converter: RowConverter,
    last: Option<OwnedRow>,
}

impl Order {
    fn new(signal: Signal) -> Result<Self> {
        let columns = sort_columns(signal);
        let schema = table_schema(signal);
        let options = SortOptions { descending: false, nulls_first: true };
        let fields = columns.iter().map(|name| {
            let field = schema.field_with_name(name)?;
            Ok(SortField::new_with_options(field.data_type().clone(), options))
        });
        let converter = RowConverter::new(fields.collect::<std::result::Result<_, ArrowError>>()?)?;
        Ok(Self { columns, converter, last: None })
    }

    fn check(&mut self, batch: &RecordBatch, first_row: u64) -> Result<()> {
        let keys = self.columns.iter().map(|name| batch.column_by_name(name).map(std::sync::Arc::clone));
        let keys: Vec<_> = keys.collect::<Option<_>>().ok_or(FileFault::Schema)?;
        let rows = self.converter.convert_columns(&keys)?;
        for row in 0..rows.num_rows() {
            let is_sorted = match &self.last {
                Some(last) if row == 0 => last.row() <= rows.row(0),
                _ => row == 0 || rows.row(row - 1) <= rows.row(row),
            };
            if !is_sorted {
                return Err(FileFault::Unsorted { row: first_row + row as u64 });
            }
        }
        if rows.num_rows() > 0 {
            self.last = Some(rows.row(rows.num_rows() - 1).owned());
        }
        Ok(())
    }
}
