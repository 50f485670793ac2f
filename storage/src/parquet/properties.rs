//! How each column is encoded, and what the footer says about the file.

use alula_catalog::schema::{
    END_TIMESTAMP, INGEST_SEQ, INGESTED_AT, OBSERVED_TIMESTAMP, PARENT_SPAN_ID, SPAN_ID, START_TIMESTAMP,
    TIMESTAMP, TRACE_ID, sort_columns, table_schema,
};
use alula_catalog::{DataFile, FileId, Signal};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::own_checksum;

/// Rows of a row group: fine enough to prune by, coarse enough to compress.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Encoded bytes of a row group, which the writer keeps in memory until it is complete: few rows of a megabyte each fill one.
pub(super) const ROW_GROUP_BYTES: usize = 64 << 20;

/// The version of the file layout and of the footer keys.
pub(crate) const FILE_FORMAT_VERSION: u32 = 1;

/// What identifies a file's rows, repeated in its footer so that a lost catalog can be rebuilt.
///
/// `replaces` are files whose rows are in this one, or were in files that it replaces. Whoever finds one of them beside this
/// file, without a catalog, knows that it is not part of the store.
pub(super) fn footer(
    file: &DataFile,
    tenant_id: &str,
    store_uuid: [u8; 16],
    replaces: &[FileId],
) -> Vec<KeyValue> {
    let uuid = uuid::Uuid::from_bytes(store_uuid).to_string();
    let replaces: Vec<String> = replaces.iter().map(FileId::to_string).collect();
    [
        ("alula.format_version", FILE_FORMAT_VERSION.to_string()),
        ("alula.schema_version", file.schema_version.to_string()),
        ("alula.store_uuid", uuid),
        ("alula.file_id", file.id.to_string()),
        ("alula.signal", file.signal.to_string()),
        ("alula.tenant_number", file.tenant.to_string()),
        ("alula.tenant_id", tenant_id.to_owned()),
        ("alula.hour", file.hour.0.to_string()),
        ("alula.num_hours", file.num_hours.to_string()),
        ("alula.num_rows", file.num_rows.to_string()),
        ("alula.min_timestamp_ns", file.timestamps.min_ns.to_string()),
        ("alula.max_timestamp_ns", file.timestamps.max_ns.to_string()),
        ("alula.first_seq", file.first_seq.to_string()),
        ("alula.last_seq", file.last_seq.to_string()),
        ("alula.deletions_applied", file.deletions_applied.to_string()),
    ]
    .into_iter()
    .chain((!replaces.is_empty()).then(|| ("alula.replaces", replaces.join(","))))
    // Must be the last: see there.
    .chain([(own_checksum::KEY, own_checksum::UNKNOWN.to_owned())])
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
    .collect()
}

/// Writer settings of a signal's files.
///
/// Times and sequence numbers rise by small steps within a sorted file, which delta encoding stores in a fraction of what
/// a dictionary takes. Ids repeat too seldom for a dictionary; `trace_id` has a bloom filter instead.
///
/// `max_rows` bounds the rows of the file; the writer adds the [`footer`] once it knows them.
pub(super) fn writer_properties(signal: Signal, max_rows: usize) -> WriterProperties {
    let mut properties = common_properties().set_sorting_columns(Some(sorting_columns(signal)));
    let schema = table_schema(signal);
    let present = |name: &&str| schema.index_of(name).is_ok();
    for name in [TIMESTAMP, START_TIMESTAMP, END_TIMESTAMP, OBSERVED_TIMESTAMP, INGESTED_AT, INGEST_SEQ]
        .iter()
        .filter(|name| present(name))
    {
        let column = ColumnPath::from(*name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in [TRACE_ID, SPAN_ID, PARENT_SPAN_ID].iter().filter(|name| present(name)) {
        let column = ColumnPath::from(*name);
        properties = properties.set_column_dictionary_enabled(column.clone(), false);
        properties = if *name == TRACE_ID {
            properties
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_fpp(column.clone(), 0.01)
                .set_column_bloom_filter_max_ndv(column, max_rows.min(ROW_GROUP_ROWS) as u64)
        } else {
            // Random ids: their smallest and largest say nothing.
            properties.set_column_statistics_enabled(column, EnabledStatistics::None)
        };
    }
    properties.build()
}

/// What the files of telemetry and of user tables have in common.
pub(super) fn common_properties() -> WriterPropertiesBuilder {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).expect("3 is a level of zstd"));
    WriterProperties::builder()
        .set_compression(zstd)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by(concat!("alula ", env!("CARGO_PKG_VERSION")).to_owned())
}

/// The declared order: leaf column numbers of the sort columns, all of which come before any nested column.
fn sorting_columns(signal: Signal) -> Vec<SortingColumn> {
    let schema = table_schema(signal);
    let types = parquet::arrow::ArrowSchemaConverter::new()
        .convert(&schema)
        .expect("the table schemas have Parquet types");
    sort_columns(signal)
        .iter()
        .filter_map(|name| {
            types.columns().iter().position(|leaf| leaf.path().parts() == [(*name).to_owned()])
        })
        .map(|leaf| SortingColumn { column_idx: leaf as i32, descending: false, nulls_first: true })
        .collect()
}
