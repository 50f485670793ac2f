//! What must be in a store, by what the one who appended was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use alula_catalog::schema::{ATTRIBUTES, INGEST_SEQ};
use alula_catalog::{DataFile, Signal};
use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TENANTS;
use super::rows::{FoundRow, Spec, found_rows};
use crate::deletion::{Divided, RowFilter};
use crate::{Error, Snapshot, Storage};

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It must be there, each row once.
    Acknowledged,
    /// It must not be there.
    Refused,
    /// It must not be there, and never again, whoever sends it.
    Deleted,
    /// It is there, each row once, or it is not there at all: nobody was told whether it was deleted.
    MaybeDeleted,
    /// It is there, each row once, or it is not there at all: nobody was told, or it was refused before a power cut.
    Unknown,
}

/// Every entry that was appended. What was not appended must not be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    entries: Vec<(Spec, Fate)>,
}

impl Oracle {
    pub(super) fn note(&mut self, spec: Spec, fate: Fate) {
        match self.entries.iter_mut().find(|(known, _)| known.label == spec.label) {
            None => self.entries.push((spec, fate)),
            Some((_, known)) => *known = fate,
        }
    }

    /// After a power cut it is not promised that what was refused is not there.
    pub(super) fn forget_refusals(&mut self) {
        for (_, fate) in self.entries.iter_mut().filter(|(_, fate)| *fate == Fate::Refused) {
            *fate = Fate::Unknown;
        }
    }

    pub(super) fn unknown(&self) -> Vec<Spec> {
        let unknown = self.entries.iter().filter(|(_, fate)| *fate == Fate::Unknown);
        unknown.map(|(spec, _)| spec.clone()).collect()
    }

    /// Compares a store with what is known.
    ///
    /// # Errors
    /// What is wrong with it. Otherwise the labels of the entries that are there.
    pub(super) fn check(&self, storage: &Storage, files: &FileRows) -> Result<BTreeSet<String>, String> {
        let mut present = BTreeSet::new();
        let mut label_of_seq: HashMap<u64, String> = HashMap::new();
        for (tenant, signal) in TENANTS.iter().flat_map(|tenant| Signal::ALL.map(|signal| (*tenant, signal)))
        {
            let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let rows = table_rows(storage, tenant, signal, files)
                .map_err(|error| format!("{tenant}.{signal} cannot be read: {error:?}"))?;
            for (id, seq) in rows {
                found.entry(id).or_default().push(seq);
            }
            let expected =
                self.entries.iter().filter(|(spec, _)| spec.tenant == tenant && spec.signal == signal);
            for (spec, fate) in expected {
                let rows: Vec<_> = spec.row_ids().map(|id| found.remove(&id).unwrap_or_default()).collect();
                let label = &spec.label;
                let place = format!("{label} ({fate:?}, {} rows) of {tenant}.{signal}", spec.num_rows);
                if rows.iter().any(|seqs| seqs.len() > 1) {
                    return Err(format!("{place} has rows more than once: {rows:?}"));
                }
                let seqs: BTreeSet<u64> = rows.iter().flatten().copied().collect();
                match rows.iter().filter(|seqs| !seqs.is_empty()).count() {
                    0 if *fate == Fate::Acknowledged => return Err(format!("{place} is lost")),
                    0 => continue,
                    _ if matches!(fate, Fate::Refused | Fate::Deleted) => {
                        return Err(format!("{place} is there"));
                    }
                    some if some < rows.len() => return Err(format!("{place} is there in part: {rows:?}")),
                    _ if seqs.len() != 1 => return Err(format!("{place} has several numbers: {rows:?}")),
                    _ => present.insert(label.clone()),
                };
                for seq in seqs {
                    if let Some(other) = label_of_seq.insert(seq, label.clone()) {
                        return Err(format!("{place} and {other} have the same number {seq}"));
                    }
                }
            }
            if let Some((id, _)) = found.first_key_value() {
                return Err(format!("{tenant}.{signal} has the row {id}, which was not appended"));
            }
        }
        Ok(present)
    }
}

/// Rows of data files by checksum: the same bytes need not be decoded again, only compared with it.
#[derive(Debug, Default)]
pub(super) struct FileRows {
    decoded: Mutex<HashMap<[u8; 16], Arc<Vec<RecordBatch>>>>,
}

impl FileRows {
    /// The columns that matter of a file's rows.
    fn of(&self, snapshot: &Snapshot, file: &DataFile) -> Result<Arc<Vec<RecordBatch>>, Error> {
        let reader = snapshot.data_files().open(file)?;
        // Also of a file that this process wrote: what it had in memory says nothing about the disk.
        snapshot.data_files().verify(file, &reader)?;
        let known = self.decoded.lock().unwrap().get(&file.checksum).map(Arc::clone);
        Ok(known.unwrap_or_else(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap();
            let columns = ProjectionMask::columns(builder.parquet_schema(), [ATTRIBUTES, INGEST_SEQ]);
            let batches = builder.with_projection(columns).build().unwrap();
            let batches = Arc::new(batches.map(Result::unwrap).collect::<Vec<_>>());
            self.decoded.lock().unwrap().insert(file.checksum, Arc::clone(&batches));
            batches
        }))
    }
}

fn table_rows(
    storage: &Storage,
    tenant: &str,
    signal: Signal,
    files: &FileRows,
) -> Result<Vec<FoundRow>, Error> {
    let snapshot = storage.snapshot();
    let table = snapshot.table(&tenant.parse().unwrap(), signal);
    let mut rows: Vec<FoundRow> = Vec::new();
    let mut add = |batch: &RecordBatch, filter: Option<&RowFilter>| -> Result<(), Error> {
        rows.extend(match filter {
            None => found_rows(batch),
            Some(filter) => found_rows(&filter_record_batch(batch, &filter.keep(batch)?)?),
        });
        Ok(())
    };
    let chunks: Vec<_> = table.hot.iter().chain(&table.frozen).map(Arc::clone).collect();
    for (chunks, filter) in parts(table.divide(signal, &chunks)?) {
        for chunk in chunks {
            add(&chunk.batch, filter.as_ref())?;
        }
    }
    for (data_files, filter) in parts(table.divide(signal, &table.files)?) {
        for file in data_files {
            let batches = files.of(&snapshot, &file)?;
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.num_rows);
            for batch in batches.iter() {
                add(batch, filter.as_ref())?;
            }
        }
    }
    Ok(rows)
}

/// What is read as it is, and what is read through a filter.
fn parts<T>(divided: Divided<T>) -> impl Iterator<Item = (Vec<Arc<T>>, Option<RowFilter>)> {
    let touched = divided.touched.map(|(parts, filter)| (parts, Some(filter)));
    [(divided.untouched, None)].into_iter().chain(touched)
}
