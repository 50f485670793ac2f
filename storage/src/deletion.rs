//! Deletions: rows that are stored and must not be shown.
//!
//! A deletion is a row of the catalog: a predicate, and the entry up to which it holds. Its COMMIT is the deletion. From then on
//! every scan leaves those rows out, and compaction leaves them out of what it writes. Once no file has such a row any more the
//! deletion is completed, and scans need not look at it.
//!
//! | file | purpose |
//! |---|---|
//! | `filter.rs` | [`RowFilter`]: which rows of a batch stay |
//!
//! What a predicate means is SQL, which is not known here: a [`PredicateCompiler`] is given to the engine.
//!
//! **Invariants**
//! - A deletion that was acknowledged is in every snapshot that is taken later, until it is completed.
//! - It is completed only when its rows are in no file and can come out of no log: a flush or a replay that comes after it
//!   brings none of them back.
//! - A predicate was evaluated on every row that it will ever be evaluated on before it was recorded, and did not fail on one.

mod filter;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock};

use alula_catalog::{DataFile, NewDeletion, SequenceNumber, Signal, TenantId, TimeRange, now_ns};
use arrow::array::{BooleanArray, RecordBatch};

use crate::buffer::{Chunk, TableKey, TableSnapshot};
use crate::store::{Store, lock};
use crate::{Error, Result, Snapshot};

pub(crate) use filter::RowFilter;

/// Deletions of one table that may be pending. A scan evaluates each of them on every row.
const MAX_PENDING: usize = 1_000;
/// The longest predicate, as text.
const MAX_PREDICATE_BYTES: usize = 64 << 10;

/// What is wrong with a predicate, or with a row that it was evaluated on.
pub type PredicateError = Box<dyn StdError + Send + Sync>;

/// Makes an evaluator of a predicate's text.
pub trait PredicateCompiler: fmt::Debug + Send + Sync {
    /// A text that was compiled once compiles for ever, and means the same.
    fn compile(&self, signal: Signal, predicate: &str) -> Result<Arc<dyn RowPredicate>, PredicateError>;
}

/// A predicate over the rows of a signal's table. What it says of a row depends on that row alone.
pub trait RowPredicate: fmt::Debug + Send + Sync {
    /// The columns that it reads, by their places in the table's schema, ascending.
    fn columns(&self) -> &[usize];

    /// It is true of no row with a `timestamp` outside of this.
    fn timestamps(&self) -> TimeRange;

    /// Shape: a value for each row of `rows`, which has [`Self::columns`] in the types of the table's schema.
    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray, PredicateError>;
}

/// The compiler of a data directory's predicates, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Compiler(OnceLock<Arc<dyn PredicateCompiler>>);

impl Compiler {
    /// The first one that is set is the one.
    pub(crate) fn set(&self, compiler: Arc<dyn PredicateCompiler>) {
        let _ = self.0.set(compiler);
    }

    fn is_set(&self) -> bool {
        self.0.get().is_some()
    }
}

/// A deletion on record, ready to be applied.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub record: alula_catalog::Deletion,
    compiler: Arc<Compiler>,
    /// Compiled by the first who needs it.
    predicate: OnceLock<Arc<dyn RowPredicate>>,
}

impl Deletion {
    fn new(record: alula_catalog::Deletion, compiler: &Arc<Compiler>) -> Self {
        Self { record, compiler: Arc::clone(compiler), predicate: OnceLock::new() }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.record.completed_ns.is_none()
    }

    /// # Errors
    /// `Predicate` — the text cannot be compiled. Nothing may be read past such a deletion.
    fn predicate(&self) -> Result<&Arc<dyn RowPredicate>> {
        if let Some(predicate) = self.predicate.get() {
            return Ok(predicate);
        }
        let failed = |source| Error::Predicate { deletion: self.record.id, source };
        let compiler = self.compiler.0.get().ok_or_else(|| failed("there is no SQL here".into()))?;
        let request = &self.record.request;
        let predicate = compiler.compile(request.signal, &request.predicate).map_err(failed)?;
        Ok(self.predicate.get_or_init(|| predicate))
    }

    /// Whether `part` may have rows of it.
    fn concerns(&self, part: &Part) -> Result<bool> {
        if part.deletions_applied >= self.record.id || part.first_seq > self.record.request.last_seq {
            return Ok(false);
        }
        let timestamps = self.predicate()?.timestamps();
        Ok(timestamps.min_ns <= part.timestamps.max_ns && part.timestamps.min_ns <= timestamps.max_ns)
    }
}

/// What is known of the rows of a file or chunk without reading them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    first_seq: SequenceNumber,
    last_seq: SequenceNumber,
    timestamps: TimeRange,
    deletions_applied: u64,
}

impl From<&Chunk> for Part {
    fn from(chunk: &Chunk) -> Self {
        let Chunk { first_seq, last_seq, timestamps, .. } = *chunk;
        Self { first_seq, last_seq, timestamps, deletions_applied: 0 }
    }
}

impl From<&DataFile> for Part {
    fn from(file: &DataFile) -> Self {
        let DataFile { first_seq, last_seq, timestamps, deletions_applied, .. } = *file;
        Self { first_seq, last_seq, timestamps, deletions_applied }
    }
}

/// Parts of a table, told apart by whether deleted rows may be among theirs.
#[derive(Debug)]
pub(crate) struct Divided<T> {
    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan reads them"))]
    pub untouched: Vec<Arc<T>>,
    /// What they need to be read through, if there are any.
    pub touched: Option<(Vec<Arc<T>>, RowFilter)>,
}

impl TableSnapshot {
    /// Deletions that are not completed, oldest first.
    pub(crate) fn pending_deletions(&self) -> impl Iterator<Item = &Arc<Deletion>> {
        self.deletions.iter().filter(|deletion| deletion.is_pending())
    }

    /// The number up to which a file that is written from this snapshot's rows through [`Self::divide`] has deletions applied.
    pub(crate) fn newest_pending_deletion(&self) -> u64 {
        self.pending_deletions().last().map_or(0, |deletion| deletion.record.id)
    }

    /// # Errors
    /// `Predicate` — a pending deletion cannot be compiled.
    pub(crate) fn divide<T>(&self, signal: Signal, parts: &[Arc<T>]) -> Result<Divided<T>>
    where
        for<'a> Part: From<&'a T>,
    {
        let pending: Vec<_> = self.pending_deletions().collect();
        let mut applied = vec![false; pending.len()];
        let (mut untouched, mut touched, mut newest_seq) = (Vec::new(), Vec::new(), SequenceNumber(0));
        for item in parts {
            let part = Part::from(item.as_ref());
            let mut is_touched = false;
            for (deletion, applied) in pending.iter().zip(&mut applied) {
                if deletion.concerns(&part)? {
                    is_touched = true;
                    *applied = true;
                }
            }
            if is_touched {
                newest_seq = newest_seq.max(part.last_seq);
                touched.push(Arc::clone(item));
            } else {
                untouched.push(Arc::clone(item));
            }
        }
        if touched.is_empty() {
            return Ok(Divided { untouched, touched: None });
        }
        // A deletion that does not concern one of them is true of none of its rows.
        let deletions = pending.into_iter().zip(applied).filter(|(_, applied)| *applied).map(|(one, _)| one);
        let filter = RowFilter::try_new(signal, deletions, newest_seq)?;
        Ok(Divided { untouched, touched: Some((touched, filter)) })
    }

    /// Whether a row of `deletion` may still be here.
    fn may_have_rows_of(&self, deletion: &Deletion) -> Result<bool> {
        let last_seq = deletion.record.request.last_seq;
        if self.hot.iter().chain(&self.frozen).any(|chunk| chunk.first_seq <= last_seq) {
            return Ok(true);
        }
        for file in self.files.iter() {
            if deletion.concerns(&Part::from(file.as_ref()))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The highest sequence number of its rows; 0 if it has none.
    pub(crate) fn last_seq(&self) -> SequenceNumber {
        let chunks = self.hot.iter().chain(&self.frozen).map(|chunk| chunk.last_seq);
        chunks.chain(self.files.iter().map(|file| file.last_seq)).max().unwrap_or_default()
    }
}

/// A deletion that has not happened: what would be deleted can be counted first.
#[derive(Debug)]
pub struct ProposedDeletion {
    request: NewDeletion,
    /// The last deletion of the table that the count will know of.
    seen: u64,
    snapshot: Arc<Snapshot>,
}

impl ProposedDeletion {
    /// What queries would see if it had happened.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

impl Snapshot {
    /// The highest sequence number of a table's rows; 0 if it has none.
    pub fn last_seq(&self, tenant: &TenantId, signal: Signal) -> SequenceNumber {
        self.table(tenant, signal).last_seq()
    }

    /// Proposes to delete the rows of one table, up to entry `last_seq`, that `predicate` is true of. None if the table is
    /// empty.
    ///
    /// # Errors
    /// `Predicate` — it cannot be compiled. `PredicateTooLong`, `TooManyDeletions` — a bound is reached.
    pub fn propose_deletion(
        &self,
        tenant: &TenantId,
        signal: Signal,
        predicate: &str,
        last_seq: SequenceNumber,
        requested_by: &str,
    ) -> Result<Option<ProposedDeletion>> {
        if predicate.len() > MAX_PREDICATE_BYTES {
            return Err(Error::PredicateTooLong { bytes: predicate.len(), limit_bytes: MAX_PREDICATE_BYTES });
        }
        let Some(number) = self.tenant_number(tenant) else { return Ok(None) };
        let table = self.table(tenant, signal);
        check_room(&table)?;
        let request = NewDeletion {
            tenant: number,
            signal,
            predicate: predicate.to_owned(),
            last_seq,
            num_rows: 0,
            requested_by: requested_by.to_owned(),
        };
        // Later than any that a file may have been filtered by.
        let record = alula_catalog::Deletion {
            id: u64::MAX,
            request: request.clone(),
            created_ns: 0,
            completed_ns: None,
        };
        let deletion = Deletion::new(record, self.compiler());
        deletion.predicate()?;
        let mut snapshot = self.clone();
        snapshot.update_table(TableKey { tenant: number, signal }, |table| {
            Arc::make_mut(&mut table.deletions).push(Arc::new(deletion));
        });
        let seen = newest(&table);
        Ok(Some(ProposedDeletion { request, seen, snapshot: Arc::new(snapshot) }))
    }
}

/// The last deletion of a table, pending or not.
fn newest(table: &TableSnapshot) -> u64 {
    table.deletions.last().map_or(0, |deletion| deletion.record.id)
}

fn check_room(table: &TableSnapshot) -> Result<()> {
    if table.pending_deletions().count() >= MAX_PENDING {
        return Err(Error::TooManyDeletions { limit: MAX_PENDING });
    }
    Ok(())
}

impl Store {
    /// Takes all deletions from the catalog into the snapshot.
    pub(crate) fn load_deletions(&self) -> Result<()> {
        let mut is_current = lock(&self.deletions_current);
        self.reload(&mut is_current)
    }

    fn reload(&self, is_current: &mut bool) -> Result<()> {
        *is_current = false;
        let snapshot = self.buffer.snapshot();
        let mut by_table: HashMap<TableKey, Vec<Arc<Deletion>>> = HashMap::new();
        for record in self.catalog.deletions()? {
            let key = TableKey { tenant: record.request.tenant, signal: record.request.signal };
            let known = snapshot.table_by_key(key);
            let is_record = |known: &&Arc<Deletion>| {
                known.record.id == record.id && known.record.completed_ns == record.completed_ns
            };
            let known = known.and_then(|table| table.deletions.iter().find(is_record));
            let deletion = known.map_or_else(
                || Arc::new(Deletion::new(record, snapshot.compiler())),
                // It need not be compiled again.
                Arc::clone,
            );
            by_table.entry(key).or_default().push(deletion);
        }
        self.buffer.set_deletions(by_table);
        *is_current = true;
        Ok(())
    }

    /// Makes a proposed deletion happen. Blocks.
    ///
    /// Durable: when this returns, the rows are in no later snapshot, also after a power loss.
    ///
    /// # Errors
    /// `DeletedMeanwhile` — the count is out of date: propose it again. `TooManyDeletions` — see there. `Catalog` — nothing
    /// was deleted, or it is not known yet: then the deletion may show later.
    pub(crate) fn delete(&self, proposed: &ProposedDeletion, num_rows: u64) -> Result<()> {
        let mut is_current = lock(&self.deletions_current);
        if !*is_current {
            self.reload(&mut is_current)?;
        }
        let request = NewDeletion { num_rows, ..proposed.request.clone() };
        let key = TableKey { tenant: request.tenant, signal: request.signal };
        let snapshot = self.buffer.snapshot();
        let table = snapshot.table_by_key(key).map(Arc::clone).unwrap_or_default();
        if newest(&table) != proposed.seen {
            return Err(Error::DeletedMeanwhile);
        }
        check_room(&table)?;
        match self.catalog.add_deletion(&request) {
            Ok(id) => {
                let record =
                    alula_catalog::Deletion { id, request, created_ns: now_ns(), completed_ns: None };
                self.buffer.add_deletion(key, Arc::new(Deletion::new(record, snapshot.compiler())));
                Ok(())
            }
            // A COMMIT that failed may be on disk all the same.
            Err(error) => {
                self.reload(&mut is_current)?;
                let snapshot = self.buffer.snapshot();
                let happened = snapshot.table_by_key(key).is_some_and(|table| newest(table) != proposed.seen);
                if happened { Ok(()) } else { Err(error.into()) }
            }
        }
    }

    /// Completes the deletions that no row is left of. Returns how many.
    pub(crate) fn complete_deletions(&self) -> Result<usize> {
        let mut is_current = lock(&self.deletions_current);
        if !*is_current {
            self.reload(&mut is_current)?;
        }
        let snapshot = self.buffer.snapshot();
        if !snapshot.compiler().is_set() {
            return Ok(0);
        }
        let mut complete = Vec::new();
        for (_, table) in snapshot.tables() {
            for deletion in table.pending_deletions() {
                match table.may_have_rows_of(deletion) {
                    Ok(false) => complete.push(deletion.record.id),
                    Ok(true) => {}
                    // Queries of its table fail; the deletions of other tables are complete all the same.
                    Err(error) => tracing::error!(
                        error = alula_catalog::error_chain(&error),
                        "cannot complete a deletion"
                    ),
                }
            }
        }
        if complete.is_empty() {
            return Ok(0);
        }
        let completed = self.catalog.complete_deletions(&complete)?;
        self.reload(&mut is_current)?;
        Ok(completed)
    }
}

#[cfg(test)]
#[cfg(feature = "datafusion")]
mod tests;
