//! What the writer does about a disk that fails.
//!
//! | what fails | what becomes of the group | what becomes of the segment | and then |
//! |---|---|---|---|
//! | opening a segment | refused | there is none | another attempt a second later |
//! | a write, also one cut short | refused | ends before the group | the next group goes to a new segment |
//! | a sync | refused | ends before the group, never touched again | the buffer goes into data files, then on in a new segment |
//!
//! After a failed sync the kernel may have marked pages clean that never reached the disk. Those of the group do not matter,
//! for it is refused. But the last page that was good may have been written anew with them, and rows in it were
//! acknowledged: they are in memory, and the flush that follows moves them to a file of their own. Until it has succeeded,
//! nothing is acknowledged.
//!
//! A refused group must not come back after a crash: the header of the next segment says where this one ends. Where no next
//! one can be made, the start of the group is overwritten.

use std::io;
use std::time::{Duration, Instant};

use super::segment::Segment;
use super::writer::{Previous, WalWriter};
use crate::{Error, OnSyncError};

/// The pause between attempts while the disk takes nothing.
const PAUSE: Duration = Duration::from_secs(1);

const UNSYNCED: &str = "a file of the write-ahead log could not be synced; its rows are being written to data files, and \
                        ingest goes on once they are";
const UNSYNCED_EXIT: &str =
    "a file of the write-ahead log could not be synced, and storage.wal_on_sync_error is \"exit\"";

/// What went wrong lately.
#[derive(Debug)]
pub(super) struct Faults {
    on_sync_error: OnSyncError,
    /// Failures since the last group that was stored.
    pub(super) in_a_row: u32,
    /// Until then nothing is tried.
    pub(super) paused_until: Option<Instant>,
}

impl Faults {
    pub(super) fn new(on_sync_error: OnSyncError) -> Self {
        Self { on_sync_error, in_a_row: 0, paused_until: None }
    }
}

/// Why a whole group was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Write(io::Error),
    ReadOnly(&'static str),
}

impl Refusal {
    pub(super) fn to_error(&self) -> Error {
        match self {
            Self::Write(source) => Error::WalWrite(io::Error::new(source.kind(), source.to_string())),
            Self::ReadOnly(reason) => Error::ReadOnly { reason },
        }
    }
}

impl WalWriter {
    /// Refuses what was in the queue already when appends began to be refused.
    pub(super) fn check_writable(&self) -> Result<(), Refusal> {
        if let Some(reason) = self.condition.read_only() {
            return Err(Refusal::ReadOnly(reason));
        }
        match self.faults.paused_until {
            Some(_) => Err(Refusal::Write(io::Error::other("the disk took nothing a moment ago"))),
            None => Ok(()),
        }
    }

    pub(super) fn cannot_open(&mut self, error: io::Error) -> Refusal {
        self.faults.in_a_row += 1;
        self.pause(&error);
        Refusal::Write(error)
    }

    pub(super) fn cannot_write(&mut self, mut segment: Segment, error: io::Error) -> Refusal {
        tracing::error!(segment = %segment.path().display(), %error, "cannot write to the log");
        self.faults.in_a_row += 1;
        self.abandon(&segment);
        if self.segment.is_none()
            && segment.void_failed_write().is_ok()
            && let Err(error) = segment.sync()
        {
            self.sync_failed(&segment, &error);
        }
        if self.segment.is_none() || self.faults.in_a_row > 1 {
            self.pause(&error);
        }
        Refusal::Write(error)
    }

    pub(super) fn cannot_sync(&mut self, segment: &Segment, error: io::Error) -> Refusal {
        self.faults.in_a_row += 1;
        self.abandon(segment);
        self.sync_failed(segment, &error);
        if self.segment.is_none() || self.faults.in_a_row > 1 {
            self.pause(&error);
        }
        Refusal::Write(error)
    }

    /// Stops until what the segment holds is safe elsewhere.
    pub(super) fn sync_failed(&self, segment: &Segment, error: &io::Error) {
        tracing::error!(segment = %segment.path().display(), %error, "cannot sync the log");
        match self.faults.on_sync_error {
            OnSyncError::Exit => self.condition.fail(UNSYNCED_EXIT),
            OnSyncError::Recover if segment.num_frames > 0 => {
                self.condition.hold_until_flushed(self.last_seq, UNSYNCED);
            }
            // Nothing in it was acknowledged.
            OnSyncError::Recover => {}
        }
    }

    /// Leaves a segment at its last durable byte. What follows there is void, and the next header says so.
    ///
    /// The next segment is created at once: until it is there, a crash would bring the refused group back.
    fn abandon(&mut self, segment: &Segment) {
        // A segment in which nothing was acknowledged is replaced: the next one has the same first number.
        if segment.num_frames > 0 {
            self.ended.push(segment.path().to_owned());
            self.previous = Previous {
                last_seq: self.last_seq,
                rolling_hash: segment.rolling_hash,
                abandoned_at: segment.durable_offset(),
            };
        }
        match self.open_segment() {
            Ok(next) => self.segment = Some(next),
            Err(error) => tracing::warn!(%error, "cannot go on in a new log segment"),
        }
    }

    /// Appends are refused at the door, until the pause has ended and there is a segment.
    fn pause(&mut self, error: &io::Error) {
        self.faults.paused_until = Some(Instant::now() + PAUSE);
        self.condition.log_writable(Err(error));
    }

    /// If the pause is over by `now`, ends it, or begins another one.
    pub(super) fn end_pause(&mut self, now: Instant) {
        if self.faults.paused_until.is_none_or(|until| now < until) {
            return;
        }
        if self.segment.is_none() {
            match self.open_segment() {
                Ok(segment) => self.segment = Some(segment),
                Err(error) => return self.pause(&error),
            }
        }
        self.faults.paused_until = None;
        self.condition.log_writable(Ok(()));
    }
}
