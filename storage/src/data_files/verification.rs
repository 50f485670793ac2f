//! Which data files were found to be what was written, and what becomes of one that is not.
//!
//! A file is compared with its checksum once in a process, by whoever needs it first; others that need it meanwhile wait for
//! that and do not read it again. One that is damaged is put on record and is not read again for a minute, after which it
//! may have been put back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use alula_catalog::{FileId, error_chain};

use super::StoredFile;
use crate::layout::Layout;
use crate::losses::Losses;
use crate::store::lock;
use crate::{Error, Result};

/// How long a file that was found damaged is taken to be so without another look.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileDamage {
    #[error("it is missing")]
    Missing,
    #[error("it has {found} bytes of {expected}")]
    Size { found: u64, expected: u64 },
    #[error("its checksum is not the one it was written with")]
    Checksum,
    #[error("the disk cannot read it")]
    Unreadable,
}

/// The state of files, and where damages are told.
#[derive(Debug, Default)]
pub(super) struct Verification {
    states: Mutex<HashMap<FileId, State>>,
    /// Files whose damage was told by this process.
    reported: Mutex<HashSet<FileId>>,
    losses: OnceLock<Arc<Losses>>,
}

#[derive(Clone, Debug)]
enum State {
    Verified,
    /// The mutex is held by the one that reads the file.
    Verifying(Arc<Mutex<()>>),
    Damaged {
        until: Instant,
    },
}

impl Verification {
    /// Damages go on record from here on, and not only to the server's log.
    pub(super) fn report_to(&self, losses: &Arc<Losses>) {
        let _ = self.losses.set(Arc::clone(losses));
    }

    pub(super) fn note_verified(&self, file: FileId) {
        lock(&self.states).insert(file, State::Verified);
    }

    pub(super) fn forget(&self, file: FileId) {
        lock(&self.states).remove(&file);
        lock(&self.reported).remove(&file);
    }

    /// Calls `verify` unless the file was verified before; waits if another thread is at it.
    ///
    /// # Errors
    /// `CorruptFile` — it was found damaged a short while ago; otherwise what `verify` found.
    pub(super) fn ensure(
        &self,
        file: &(impl StoredFile + ?Sized),
        verify: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let turn = {
            let mut states = lock(&self.states);
            match states.get(&file.id()) {
                Some(State::Verified) => return Ok(()),
                Some(State::Damaged { until }) if Instant::now() < *until => return Err(corrupt(file)),
                Some(State::Verifying(turn)) => Arc::clone(turn),
                Some(State::Damaged { .. }) | None => {
                    let turn = Arc::default();
                    states.insert(file.id(), State::Verifying(Arc::clone(&turn)));
                    turn
                }
            }
        };
        let _turn = lock(&turn);
        match lock(&self.states).get(&file.id()) {
            Some(State::Verified) => return Ok(()),
            Some(State::Damaged { .. }) => return Err(corrupt(file)),
            Some(State::Verifying(_)) | None => {}
        }
        let verified = verify();
        let mut states = lock(&self.states);
        if verified.is_ok() {
            states.insert(file.id(), State::Verified);
        } else if matches!(states.get(&file.id()), Some(State::Verifying(_))) {
            // Not a damage, or it would be noted: the next one tries again.
            states.remove(&file.id());
        }
        verified
    }

    /// Puts the damage of a file on record, once, and sees to it that nothing is read from the file for a while.
    pub(super) fn report(&self, file: &(impl StoredFile + ?Sized), damage: FileDamage) {
        self.report_all(&[(file, damage)]);
    }

    /// [`Self::report`] for files that are found together: one COMMIT for all of them.
    pub(super) fn report_all(&self, damaged: &[(&(impl StoredFile + ?Sized), FileDamage)]) {
        let until = Instant::now() + LOOK_AGAIN;
        lock(&self.states).extend(damaged.iter().map(|(file, _)| (file.id(), State::Damaged { until })));
        let found: Vec<_> = {
            let mut reported = lock(&self.reported);
            damaged.iter().filter(|(file, _)| reported.insert(file.id())).collect()
        };
        let losses = self.losses.get();
        let listed = losses.map(|losses| losses.listed()).unwrap_or_default();
        let on_record: HashSet<&str> = listed.iter().map(|recorded| recorded.loss.source.as_str()).collect();
        let mut to_record = Vec::new();
        for (file, damage) in found {
            let loss = file.loss(damage.to_string());
            if losses.is_some() && !on_record.contains(loss.source.as_str()) {
                to_record.push((file.id(), loss));
            } else {
                let name = Layout::data_file_name(*file);
                tracing::error!(file = name, %damage, "a data file is damaged; queries that need it fail");
            }
        }
        let (ids, to_record): (Vec<_>, Vec<_>) = to_record.into_iter().unzip();
        let Some(losses) = losses.filter(|_| !to_record.is_empty()) else { return };
        if let Err(error) = losses.record(&to_record) {
            tracing::error!(
                error = error_chain(&error),
                losses = to_record.len(),
                "cannot put losses on record; they are found again"
            );
            let mut reported = lock(&self.reported);
            for id in &ids {
                reported.remove(id);
            }
        }
    }
}

pub(super) fn corrupt(file: &(impl StoredFile + ?Sized)) -> Error {
    Error::CorruptFile { file: Layout::data_file_name(file) }
}
