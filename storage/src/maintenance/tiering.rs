//! Moves files that are old enough to the remote tier.
//!
//! ```text
//! upload -> COMMIT (the file is remote) -> swap the snapshot -> remove the local copy once no scan reads it
//! ```
//!
//! A crash before the COMMIT leaves an object that the next attempt finds under the same name, and that is removed as an
//! orphan if there is none; a crash after it leaves a local copy, which the next start sweeps.
//!
//! Uploads run on the tier's own thread while this task goes on with others. So a file may be replaced while it is on its way;
//! then the COMMIT is refused and the object removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use alula_catalog::{BlockHashes, DataFile, FileId, Tier, now_ns};
use tokio::task::AbortHandle;

use super::{Pace, Step, Task};
use crate::config::RemoteConfig;
use crate::remote::RemoteTier;
use crate::store::Store;
use crate::{CompactionConfig, Error, Result};

/// Files on their way at the same time.
const UPLOADS: usize = 4;
/// How long a step waits for an upload to end before it leaves the thread to other tasks.
const WAIT: Duration = Duration::from_secs(1);
/// The longest wait in one piece, so that the end of the engine is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// How long the object store is left alone after a failure: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How long a file that the local disk cannot read is left alone.
const SET_ASIDE: Duration = Duration::from_mins(5);

/// Which files move.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// The age of a file's newest row.
    after: Duration,
    compaction: CompactionConfig,
}

impl Rule {
    /// Files that move, oldest rows first.
    fn due<'a>(&self, files: impl Iterator<Item = &'a Arc<DataFile>>, now_ns: i64) -> Vec<Arc<DataFile>> {
        let mut due: Vec<_> = files.filter(|file| self.is_due(file, now_ns)).map(Arc::clone).collect();
        due.sort_by_key(|file| (file.timestamps.max_ns, file.id));
        due
    }

    fn is_due(&self, file: &DataFile, now_ns: i64) -> bool {
        file.tier == Tier::Local
            && age(file.timestamps.max_ns, now_ns) >= self.after
            && self.is_settled(file, now_ns)
    }

    /// Compaction is done with the file, or had its time: it merges local files only.
    fn is_settled(&self, file: &DataFile, now_ns: i64) -> bool {
        let patience = self.after.min(self.compaction.day_after.saturating_mul(2));
        file.num_hours > 1
            || file.size_bytes > self.compaction.target_bytes / 2
            || age(written_ns(file), now_ns) >= patience
    }
}

/// An end that was sent by an upload, or by the removal of orphans.
#[derive(Debug)]
enum Ended {
    Upload(FileId, Result<BlockHashes>),
    Cleaning(Result<usize>),
}

/// The task.
#[derive(Debug)]
pub(crate) struct Tiering {
    remote: Arc<RemoteTier>,
    rule: Rule,
    orphan_age: Duration,
    /// On their way. The [`Arc`] keeps the local file.
    ///
    /// [`Arc`]: std::sync::Arc
    uploads: HashMap<FileId, (Arc<DataFile>, AbortHandle)>,
    cleaning: Option<AbortHandle>,
    last_cleaning: Option<Instant>,
    ends: SyncSender<Ended>,
    ended: Receiver<Ended>,
    /// Files that cannot be read here, until when they are left alone; none: until the next start.
    set_aside: HashMap<FileId, Option<Instant>>,
    /// After a failure: how long the object store is left alone, and until when.
    pause: Option<(Duration, Instant)>,
}

impl Drop for Tiering {
    /// What is cut off is begun again by the next process.
    fn drop(&mut self) {
        self.uploads.values().for_each(|(_, upload)| upload.abort());
        if let Some(cleaning) = &self.cleaning {
            cleaning.abort();
        }
    }
}

impl Tiering {
    pub(crate) fn new(remote: Arc<RemoteTier>, config: &RemoteConfig, compaction: CompactionConfig) -> Self {
        let (ends, ended) = sync_channel(UPLOADS + 1);
        Self {
            remote,
            rule: Rule { after: config.after, compaction },
            orphan_age: config.orphan_age,
            uploads: HashMap::new(),
            cleaning: None,
            last_cleaning: None,
            ends,
            ended,
            set_aside: HashMap::new(),
            pause: None,
        }
    }

    /// Starts uploads of what is due, or, when nothing is, the removal of orphans.
    fn begin(&mut self, store: &Store, now: Instant) {
        // Never both: an object that is about to become a file's is an orphan until then.
        if self.cleaning.is_some() || self.pause.is_some_and(|(_, until)| now < until) {
            return;
        }
        self.set_aside.retain(|_, until| until.is_none_or(|until| until > now));
        let due = self.rule.due(store.buffer.snapshot().files(), now_ns());
        let due = due
            .into_iter()
            .filter(|file| !self.uploads.contains_key(&file.id) && !self.set_aside.contains_key(&file.id));
        let due: Vec<_> = due.take(UPLOADS - self.uploads.len().min(UPLOADS)).collect();
        for file in due {
            let (remote, ends) = (Arc::clone(&self.remote), self.ends.clone());
            let uploaded = Arc::clone(&file);
            let upload = self.remote.handle().spawn(async move {
                let result = remote.upload(Arc::clone(&uploaded)).await;
                let _ = ends.try_send(Ended::Upload(uploaded.id, result));
            });
            self.uploads.insert(file.id, (file, upload.abort_handle()));
        }
        let is_due = self.last_cleaning.is_none_or(|at| now - at >= self.orphan_age);
        if self.uploads.is_empty() && is_due {
            let (remote, ends, age) = (Arc::clone(&self.remote), self.ends.clone(), self.orphan_age);
            let cleaning = self.remote.handle().spawn(async move {
                let result = clean(remote, age).await;
                let _ = ends.try_send(Ended::Cleaning(result));
            });
            self.cleaning = Some(cleaning.abort_handle());
        }
    }

    /// The next end, if there is one within [`WAIT`].
    fn next_end(&self, store: &Store) -> Option<Ended> {
        let until = Instant::now() + WAIT;
        loop {
            if let Ok(ended) = self.ended.recv_timeout(LONGEST_WAIT) {
                return Some(ended);
            }
            if store.is_stopping() || Instant::now() >= until {
                return None;
            }
        }
    }

    fn finish(&mut self, store: &Store, ended: Ended) -> Result<()> {
        let result = match ended {
            Ended::Upload(id, result) => match (self.uploads.remove(&id), result) {
                (Some((file, _)), Ok(hashes)) => self.commit(store, file, &hashes),
                (_, Err(error)) => {
                    if !is_of_store(&error) {
                        let is_damaged = matches!(error, Error::CorruptFile { .. });
                        self.set_aside.insert(id, (!is_damaged).then(|| Instant::now() + SET_ASIDE));
                    }
                    Err(error)
                }
                (None, Ok(_)) => Ok(()),
            },
            Ended::Cleaning(result) => {
                self.cleaning = None;
                result.map(|removed| {
                    self.last_cleaning = Some(Instant::now());
                    if removed > 0 {
                        tracing::info!(removed, "removed objects of the remote tier that belong to no file");
                    }
                })
            }
        };
        match result {
            Ok(()) => {
                self.pause = None;
                self.remote.note_success();
                Ok(())
            }
            Err(error) if is_of_store(&error) => {
                let pause = self.pause.map_or(FIRST_PAUSE, |(last, _)| (last * 2).min(LONGEST_PAUSE));
                self.pause = Some((pause, Instant::now() + pause));
                // The log has it once, not at every attempt.
                self.remote.note_failure(&error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes an uploaded file remote: in the catalog, then for queries.
    fn commit(&self, store: &Store, file: Arc<DataFile>, hashes: &BlockHashes) -> Result<()> {
        if let Err(error) = store.catalog.move_to_remote(file.id, hashes) {
            // A COMMIT that failed may be on disk all the same.
            match store.catalog.tier_of(file.id)? {
                Some(Tier::Remote) => {}
                Some(Tier::Local) => return Err(error.into()),
                None => {
                    // It was replaced meanwhile. An object that stays is an orphan and found later.
                    let _ = self.remote.delete(std::slice::from_ref(&file));
                    return Ok(());
                }
            }
        }
        let remote = DataFile { tier: Tier::Remote, ..DataFile::clone(&file) };
        tracing::debug!(file = %file.id, bytes = file.size_bytes, "moved a data file to the remote tier");
        drop(file);
        let moved = store.buffer.replace_files(&[remote.id], vec![remote]);
        store.add_garbage(moved);
        Ok(())
    }
}

impl Task for Tiering {
    fn name(&self) -> &'static str {
        "move a file to the remote tier"
    }

    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step> {
        self.begin(store, Instant::now());
        if self.uploads.is_empty() && self.cleaning.is_none() {
            return Ok(Step::Idle);
        }
        let ended = self.next_end(store);
        // Waiting is no work.
        pace.begin();
        let Some(ended) = ended else {
            // One that panicked has said nothing.
            self.uploads.retain(|_, (_, upload)| !upload.is_finished());
            self.cleaning = self.cleaning.take().filter(|cleaning| !cleaning.is_finished());
            return Ok(Step::Idle);
        };
        self.finish(store, ended)?;
        Ok(Step::Worked)
    }
}

/// Whether it is the object store that failed, and not the file.
fn is_of_store(error: &Error) -> bool {
    matches!(error, Error::RemoteUnavailable { .. } | Error::RemoteOwned)
}

async fn clean(remote: Arc<RemoteTier>, age: Duration) -> Result<usize> {
    let aborted = Arc::clone(&remote).abort_uploads().await;
    let removed = remote.remove_orphans(age).await?;
    aborted.map(|()| removed)
}

/// Zero for what is in the future.
fn age(since_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(since_ns)).unwrap_or_default())
}

/// When a file was written: its id says so.
fn written_ns(file: &DataFile) -> i64 {
    let written = uuid::Uuid::from_u128(file.id.0).get_timestamp();
    written.map_or(i64::MIN, |at| {
        let (seconds, nanos) = at.to_unix();
        i64::try_from(u128::from(seconds) * 1_000_000_000 + u128::from(nanos)).unwrap_or(i64::MAX)
    })
}

/// Moves what is due, and removes orphans, until there is nothing to do or the object store fails.
#[cfg(test)]
pub(crate) fn tier_all(storage: &crate::Storage) {
    let store = storage.store();
    let Some(remote) = store.data_files.remote() else { return };
    let settings = remote.settings().clone();
    let mut task = Tiering::new(Arc::clone(remote), &settings, CompactionConfig::default());
    let mut pace = Pace::new(1.0);
    loop {
        let _ = task.step(store, &mut pace);
        let is_idle = task.uploads.is_empty() && task.cleaning.is_none();
        if is_idle && (task.pause.is_some() || task.last_cleaning.is_some()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
