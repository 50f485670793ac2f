//! Files of user tables: each against its footer and the catalog, and the tables that they make without one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use alula_catalog::{FileId, TenantId, TenantNumber, UserFile, UserTableId, UserTableRecord};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Report;
use super::data_file::{FileFault, differs};
use crate::Result;
use crate::data_files::{DataFileReader, StoredFile};
use crate::layout::Layout;
use crate::parquet::{UserFooter, checksums, read_user_footer};
use crate::user_tables::{decode_schema, encode_schema};

/// Rows in memory at a time.
const BATCH_ROWS: usize = 4096;

/// A file that is what its own footer says.
#[derive(Debug)]
pub(super) struct SoundUserFile {
    pub path: PathBuf,
    /// With size and checksum.
    pub footer: UserFooter,
    schema: SchemaRef,
}

/// The tables of a lost catalog.
#[derive(Debug, Default)]
pub(super) struct RebuiltTables {
    pub tables: Vec<UserTableRecord>,
    pub files: Vec<UserFile>,
}

/// Compares a file with its rows in the catalog: bytes, footer, columns, and how many rows there are.
pub(super) fn check_user_file(
    reader: &DataFileReader,
    row: &UserFile,
    table: &UserTableRecord,
    tenant_id: Option<&TenantId>,
) -> Result<(), FileFault> {
    if reader.size_bytes() != row.size_bytes {
        return Err(FileFault::Size { found: reader.size_bytes(), expected: row.size_bytes });
    }
    if checksums(reader)?.whole != row.checksum {
        return Err(FileFault::Checksum);
    }
    let footer = read_user_footer(reader)?;
    differs("footer keys", &footer.file, &UserFile { size_bytes: 0, checksum: [0; 16], ..row.clone() })?;
    differs("table names", &footer.identity.table_name, &table.name)?;
    if let Some(tenant_id) = tenant_id {
        differs("tenants", &footer.identity.tenant_id, tenant_id)?;
    }
    let expected = decode_schema(&table.schema)?;
    if read_rows(reader, &footer)?.fields() == expected.fields() { Ok(()) } else { Err(FileFault::Schema) }
}

/// Reads all of a file whose catalog is lost.
pub(super) fn read_whole_user_file(layout: &Layout, path: &Path) -> Result<SoundUserFile, FileFault> {
    let reader = DataFileReader::open(layout.disk(), path)?;
    let checksums = checksums(&reader)?;
    let mut footer = read_user_footer(&reader)?;
    if checksums.is_own != Some(true) {
        return Err(FileFault::Checksum);
    }
    footer.file.size_bytes = reader.size_bytes();
    footer.file.checksum = checksums.whole;
    let expected = layout.data_file(&footer.file);
    if expected != path {
        let (found, expected) = (path.display().to_string(), expected.display().to_string());
        return Err(FileFault::Differs { what: "places", found, expected });
    }
    let schema = read_rows(&reader, &footer)?;
    Ok(SoundUserFile { path: path.to_owned(), footer, schema })
}

/// The columns of a file, all of whose rows can be read.
fn read_rows(reader: &DataFileReader, footer: &UserFooter) -> Result<SchemaRef, FileFault> {
    let read = || -> Result<SchemaRef, FileFault> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(reader.clone())?;
        let schema = Schema::new(builder.schema().fields().clone());
        let mut num_rows = 0;
        for batch in builder.with_batch_size(BATCH_ROWS).build()? {
            num_rows += batch?.num_rows() as u64;
        }
        differs("numbers of rows", &num_rows, &footer.file.num_rows)?;
        Ok(schema.into())
    };
    // The reader panics on some damages.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(FileFault::Panicked))
}

/// The tables that these files are of.
///
/// A file that another one replaces is left out. Of two tables with one name the later one is taken: the earlier one was
/// dropped, and the server ended before its files were removed.
pub(super) fn rebuild(sound: &[SoundUserFile], report: &mut Report) -> Result<RebuiltTables> {
    let replaced: HashSet<FileId> =
        sound.iter().flat_map(|file| file.footer.replaces.iter().copied()).collect();
    let mut by_table: BTreeMap<UserTableId, Vec<&SoundUserFile>> = BTreeMap::new();
    for file in sound {
        by_table.entry(file.footer.file.table).or_default().push(file);
    }
    let mut latest: HashMap<(TenantNumber, &str), UserTableId> = HashMap::new();
    for (id, files) in &by_table {
        let identity = &files[0].footer.identity;
        latest.insert((identity.tenant, &identity.table_name), *id);
    }
    let mut rebuilt = RebuiltTables::default();
    let mut num_dropped = 0_u64;
    for (id, files) in &by_table {
        let newest = files.iter().max_by_key(|file| file.footer.identity.table_version);
        let Some(SoundUserFile { footer: UserFooter { identity, .. }, schema, .. }) = newest else {
            continue;
        };
        if latest.get(&(identity.tenant, identity.table_name.as_str())) != Some(id) {
            num_dropped += 1;
            continue;
        }
        rebuilt.tables.push(UserTableRecord {
            id: *id,
            tenant: identity.tenant,
            name: identity.table_name.clone(),
            schema: encode_schema(schema)?,
            version: identity.table_version,
            created_ns: 0,
        });
        for file in files.iter().filter(|file| !replaced.contains(&file.footer.file.id)) {
            if file.schema == *schema {
                rebuilt.files.push(file.footer.file.clone());
            } else {
                let name = format!("data/{}", file.footer.file.name());
                report.blame(name, "it has other columns than its table", "it is left out");
            }
        }
    }
    let num_rows: u64 = rebuilt.files.iter().map(|file| file.num_rows).sum();
    let (num_tables, num_files) = (rebuilt.tables.len(), rebuilt.files.len());
    if num_tables + sound.len() > 0 {
        let text = format!("{num_tables} taken in, with {num_files} files and {num_rows} rows");
        report.find("user tables", text);
    }
    if num_dropped > 0 {
        report.find("user tables", format!("{num_dropped} left out: others have their names"));
    }
    Ok(rebuilt)
}
