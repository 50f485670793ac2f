//! Rows and a decoder for the tests of this crate: an entry's payload is the text form of its log records.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alula_catalog::schema::{
    ATTRIBUTES, BODY, INGESTED_AT, SERVICE_NAME, SEVERITY_NUMBER, TENANT_ID, TIMESTAMP, entry_schema,
};
use alula_catalog::{Catalog, Signal, TenantId, now_ns};
use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::buffer::{Buffer, Snapshot};
use crate::data_files::DataFiles;
use crate::disk::{Disk, RealDisk};
use crate::health::Condition;
use crate::layout::Layout;
use crate::losses::Losses;
use crate::retry_window::{Bounds, RetryWindow};
use crate::store::Store;
use crate::{BatchId, Config, Entry, EntryDecoder, LoggedEntry, Storage};

/// `count` log records, one second apart from `first_s`, with the bodies `<label>-0`, `<label>-1`, ... Received at this
/// moment, so that a restart finds its id in the window.
pub(crate) fn entry(tenant: &str, label: &str, first_s: i64, count: usize) -> Entry {
    let payload = format!("{label} {first_s} {count}");
    let tenant: TenantId = tenant.parse().unwrap();
    Entry {
        signal: Signal::Logs,
        received_ns: now_ns(),
        batch_id: Some(BatchId::of(&tenant, Signal::Logs, payload.as_bytes())),
        batch: rows(&tenant, label, first_s, count),
        tenant,
        payload: Bytes::from(payload),
        rejected: Vec::new(),
    }
}

fn rows(tenant: &TenantId, label: &str, first_s: i64, count: usize) -> RecordBatch {
    let schema = entry_schema(Signal::Logs);
    let times = || (0..count as i64).map(|i| (first_s + i) * 1_000_000_000);
    let repeated = |text: &str| -> ArrayRef {
        Arc::new(vec![text; count].into_iter().collect::<DictionaryArray<Int32Type>>())
    };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            TIMESTAMP | INGESTED_AT => {
                Arc::new(TimestampNanosecondArray::from_iter_values(times()).with_timezone("UTC"))
            }
            BODY => Arc::new((0..count).map(|i| Some(format!("{label}-{i}"))).collect::<StringArray>()),
            SERVICE_NAME => repeated(if count.is_multiple_of(2) { "even" } else { "odd" }),
            TENANT_ID => repeated(tenant.as_str()),
            ATTRIBUTES => repeated("{}"),
            SEVERITY_NUMBER => Arc::new(Int32Array::from(vec![9; count])),
            _ if field.is_nullable() => new_null_array(field.data_type(), count),
            _ => match field.data_type() {
                DataType::Dictionary(..) => repeated(""),
                other => unreachable!("the log schema has an unforeseen column type {other}"),
            },
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// Decodes the payloads of [`entry`].
#[derive(Debug)]
pub(crate) struct TextDecoder;

impl EntryDecoder for TextDecoder {
    fn decode(&self, entry: &LoggedEntry) -> Result<RecordBatch, Box<dyn StdError + Send + Sync>> {
        let text = std::str::from_utf8(&entry.payload)?;
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or("a word is missing");
        let (label, first_s, count) = (word()?.to_owned(), word()?.parse()?, word()?.parse()?);
        Ok(rows(&entry.tenant, &label, first_s, count))
    }
}

pub(crate) fn config(dir: &Path) -> Config {
    Config {
        flush_interval: Duration::from_hours(1),
        wal_queue_bytes: 8 << 20,
        // Tests take the steps themselves.
        maintenance_interval: Duration::from_hours(1),
        maintenance_cpu_share: 1.0,
        // However full the disk is that the tests run on.
        min_free_bytes: Some(0),
        ..Config::new(dir.to_owned())
    }
}

/// The paths of a data directory on the machine's own disk.
pub(crate) fn layout(dir: &Path) -> Layout {
    Layout::new(dir.to_owned(), Arc::new(RealDisk))
}

/// The parts of an empty data directory, without threads.
pub(crate) fn store(dir: &Path, store_uuid: [u8; 16]) -> Store {
    store_on(Arc::new(RealDisk), dir, store_uuid)
}

/// [`store`] on any disk.
pub(crate) fn store_on(disk: Arc<dyn Disk>, dir: &Path, store_uuid: [u8; 16]) -> Store {
    let layout = Layout::new(dir.to_owned(), disk);
    let catalog = Arc::new(Catalog::open(&dir.join("catalog.db")).unwrap());
    let data_files = Arc::new(DataFiles::new(layout.clone()));
    let snapshot = Snapshot::new(Arc::clone(&data_files), HashMap::new(), Vec::new());
    let losses = Arc::new(Losses::load(&catalog, &Arc::new(Condition::new())).unwrap());
    data_files.report_to(&losses);
    Store::new(
        layout,
        catalog,
        Arc::new(Buffer::new(snapshot)),
        store_uuid,
        Arc::new(RetryWindow::new(Bounds::default())),
        data_files,
        losses,
    )
}

pub(crate) fn open(config: Config) -> crate::Result<Storage> {
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let catalog = Arc::new(Catalog::open(&config.data_dir.join("catalog.db")).unwrap());
    Storage::open(&config, catalog, &TextDecoder)
}

/// Bodies of a tenant's log records and how often each is there, in buffer and files.
pub(crate) async fn bodies(storage: &Storage, tenant: &str) -> BTreeMap<String, usize> {
    let snapshot = storage.snapshot();
    let table = snapshot.table(&tenant.parse().unwrap(), Signal::Logs);
    let chunks = table.hot.iter().chain(&table.frozen);
    let mut batches: Vec<_> = chunks.map(|chunk| chunk.batch.clone()).collect();
    for file in table.files.iter() {
        let reader = snapshot.data_files().open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    let mut counts = BTreeMap::new();
    for batch in batches {
        for body in batch.column_by_name(BODY).unwrap().as_string::<i32>().iter().flatten() {
            *counts.entry(body.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// [`bodies`] of entries with these labels and counts, each there once.
pub(crate) fn expected(labels: &[(&str, usize)]) -> BTreeMap<String, usize> {
    labels.iter().flat_map(|(label, count)| (0..*count).map(move |i| (format!("{label}-{i}"), 1))).collect()
}

/// Copies a data directory as a crash would leave it: what is on disk now, without the lock.
pub(crate) fn crash_image(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            crash_image(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
