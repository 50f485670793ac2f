//! Reads every local file again, now and then, and compares it with its checksum: a bit that rots in a file that nobody asks
//! for is found while there still is a backup to restore it from.
//!
//! A pass takes the files in order of their ids, and spreads them over the interval by their bytes. Where it is, is kept in
//! the catalog, so that restarts do not begin it anew; a pass that fell behind, because the server was off, goes on without a
//! pause until it has caught up.

use std::sync::Arc;
use std::time::Duration;

use alula_catalog::{ScrubPass, Tier, error_chain, now_ns};

use super::{Pace, Step, Task};
use crate::data_files::StoredFile;
use crate::store::Store;
use crate::{Error, Result};

/// After about this many bytes the other tasks have their turn.
const STEP_BYTES: u64 = 64 << 20;
/// After this many files too, however small they are.
const STEP_FILES: usize = 256;

/// The task.
#[derive(Debug)]
pub(crate) struct Scrub {
    interval: Duration,
    /// Read from the catalog at the first step.
    pass: Option<ScrubPass>,
    /// Damaged files that this process found in the pass.
    num_damaged: usize,
}

impl Scrub {
    /// `interval` is how long a pass over all files may take.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, pass: None, num_damaged: 0 }
    }

    fn step_at(&mut self, store: &Store, pace: &mut Pace, now_ns: i64) -> Result<Step> {
        let before = match self.pass {
            Some(pass) => pass,
            None => store.catalog.scrub_pass()?,
        };
        let mut pass = begun(before, now_ns);
        let mut files = local_files(store);
        files.sort_by_key(StoredFile::id);
        let mut bytes = 0;
        let mut ended = Ok(());
        for _ in 0..STEP_FILES {
            let next = match next_step(&files, &pass, now_ns, self.interval) {
                Next::Scrub(next) if bytes < STEP_BYTES => next,
                Next::NewPass => {
                    self.tell_end(&files);
                    pass = ScrubPass { started_ns: now_ns, upto: None };
                    break;
                }
                Next::Scrub(_) | Next::Wait => break,
            };
            let file = &files[next];
            match store.data_files.scrub(file, || pace.breathe(store)) {
                Ok(()) => {}
                Err(Error::Closed) => {
                    ended = Err(Error::Closed);
                    break;
                }
                Err(error) => {
                    self.num_damaged += 1;
                    // A damage is on record and in the log already; this names what else can be wrong.
                    tracing::debug!(error = error_chain(&error), "the scrub found a file that is not sound");
                }
            }
            pass.upto = Some(file.id());
            bytes += file.size_bytes();
        }
        let worked = pass != before;
        if worked {
            store.catalog.save_scrub_pass(&pass)?;
        }
        self.pass = Some(pass);
        ended?;
        Ok(if bytes > 0 { Step::Worked } else { Step::Idle })
    }

    fn tell_end(&mut self, files: &[Arc<dyn StoredFile>]) {
        let bytes: u64 = files.iter().map(StoredFile::size_bytes).sum();
        tracing::info!(
            files = files.len(),
            bytes,
            damaged = self.num_damaged,
            "compared all data files with their checksums"
        );
        self.num_damaged = 0;
    }
}

impl Task for Scrub {
    fn name(&self) -> &'static str {
        "compare data files with their checksums"
    }

    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step> {
        self.step_at(store, pace, now_ns())
    }
}

/// Files of this directory that queries read. Whoever has one here keeps it on disk.
fn local_files(store: &Store) -> Vec<Arc<dyn StoredFile>> {
    let snapshot = store.buffer.snapshot();
    let files = snapshot.files().filter(|file| file.tier == Tier::Local);
    let files = files.map(|file| Arc::clone(file) as Arc<dyn StoredFile>);
    files.chain(snapshot.user_files().map(|file| Arc::clone(file) as Arc<dyn StoredFile>)).collect()
}

/// The pass that is under way: one begins if there is none, and one that began in the future, because the clock was set
/// back, goes on as if it had begun at this moment.
fn begun(pass: ScrubPass, now_ns: i64) -> ScrubPass {
    if pass.started_ns == 0 || pass.started_ns > now_ns {
        ScrubPass { started_ns: now_ns, ..pass }
    } else {
        pass
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The file at this place is due.
    Scrub(usize),
    /// Everything that is due is done.
    Wait,
    /// The pass is over, and so is its time.
    NewPass,
}

/// What is due of `files`, which are in order of their ids.
fn next_step<F: StoredFile>(files: &[F], pass: &ScrubPass, now_ns: i64, interval: Duration) -> Next {
    let elapsed = Duration::from_nanos(now_ns.saturating_sub(pass.started_ns).max(0).cast_unsigned());
    let next = pass.upto.map_or(0, |upto| files.partition_point(|file| file.id() <= upto));
    let is_over = elapsed >= interval;
    if next == files.len() {
        return if is_over { Next::NewPass } else { Next::Wait };
    }
    let size = |files: &[F]| files.iter().map(|file| u128::from(file.size_bytes())).sum::<u128>();
    // In proportion: as much of the bytes as of the time.
    let is_due = size(&files[..next]) * interval.as_nanos() < size(files) * elapsed.as_nanos();
    if is_over || is_due { Next::Scrub(next) } else { Next::Wait }
}

#[cfg(test)]
mod tests;
