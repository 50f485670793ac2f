//! The writer thread: it alone writes the log, numbers the entries and makes their rows visible.
//!
//! ```text
//! append() --bounded queue--> [ take all that waits | one write | one fdatasync | publish rows | acknowledge ] --> again
//! ```
//!
//! There is no timer: while one group syncs, the next one gathers in the queue. The writer owns a commit from hand-over to
//! acknowledgement, and with it the claim on its batch, so a client that goes away changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use alula_catalog::{SequenceNumber, now_ns};

use super::fault::{Faults, Refusal};
use super::format::{NOT_ABANDONED, SegmentHeader, roll};
use super::mark::Mark;
use super::queue::{Append, Command, Cut, WriterHandle};
use super::segment::Segment;
use crate::Config;
use crate::buffer::{Buffer, Chunk};
use crate::health::Condition;
use crate::layout::Layout;
use crate::retry_window::Stored;
use crate::store::Store;

/// A group takes no further entry once it has this many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// A staging buffer that grew past this is given back after its group.
const KEPT_STAGING_BYTES: usize = 16 * 1024 * 1024;
/// How long after a group nobody writes before it is marked.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// Where the writer goes on after a replay.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub last_seq: SequenceNumber,
    /// Segments of earlier processes that hold entries which are in no file yet.
    pub segments: Vec<PathBuf>,
}

/// The state of the writer thread.
#[derive(Debug)]
pub(crate) struct WalWriter {
    pub(super) layout: Layout,
    buffer: Arc<Buffer>,
    pub(super) condition: Arc<Condition>,
    store_uuid: [u8; 16],
    segment_bytes: u64,
    queue: Receiver<Command>,
    pub(super) segment: Option<Segment>,
    /// Ended segments that hold entries which are not flushed yet.
    pub(super) ended: Vec<PathBuf>,
    pub(super) last_seq: SequenceNumber,
    /// What the next segment says about the one before it.
    pub(super) previous: Previous,
    pub(super) faults: Faults,
    pub(super) staging: Vec<u8>,
    mark: Option<Mark>,
    marked: SequenceNumber,
    /// When what was written last is to be marked, if nothing comes before.
    mark_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Previous {
    pub last_seq: SequenceNumber,
    pub rolling_hash: u64,
    pub abandoned_at: u64,
}

impl WalWriter {
    pub(crate) fn new(store: &Store, config: &Config, replayed: Replayed) -> (Self, WriterHandle) {
        let (handle, queue) = WriterHandle::channel();
        let Replayed { last_seq, segments } = replayed;
        let writer = Self {
            layout: store.layout.clone(),
            buffer: Arc::clone(&store.buffer),
            condition: Arc::clone(&store.condition),
            store_uuid: store.store_uuid,
            segment_bytes: config.wal_segment_bytes,
            queue,
            segment: None,
            ended: segments,
            last_seq,
            previous: Previous { last_seq, rolling_hash: 0, abandoned_at: NOT_ABANDONED },
            faults: Faults::new(config.on_sync_error),
            staging: Vec::new(),
            mark: None,
            marked: last_seq,
            mark_at: None,
        };
        (writer, handle)
    }

    /// Works until [`Command::Close`], or until every handle is gone.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.next_command() {
            let mut group = Vec::new();
            let mut group_bytes = 0;
            let mut next = Some(first);
            let mut other = None;
            while let Some(command) = next {
                match command {
                    Command::Append(append) => {
                        group_bytes += append.frame.encoded_bytes();
                        group.push(*append);
                    }
                    command => {
                        other = Some(command);
                        break;
                    }
                }
                next = if group_bytes < GROUP_BYTES { self.queue.try_recv().ok() } else { None };
            }
            if !group.is_empty() {
                let tables = group.iter().map(Append::table).collect();
                self.commit(group);
                self.buffer.merge_small_chunks(&tables);
            }
            match other {
                Some(Command::Freeze(reply)) => {
                    let cut = self.freeze();
                    // A flush that went away will ask again and get the same rows.
                    let _ = reply.send(cut);
                }
                Some(Command::Close) => {
                    self.close();
                    return;
                }
                Some(Command::Append(_)) | None => {}
            }
        }
    }

    /// Waits for a command. Meanwhile does what falls due: another attempt to open a segment, the mark.
    fn next_command(&mut self) -> Option<Command> {
        loop {
            let due = self.faults.paused_until.into_iter().chain(self.mark_at).min();
            let Some(due) = due else { return self.queue.recv().ok() };
            match self.queue.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    self.end_pause(now);
                    if self.mark_at.is_some_and(|at| at <= now) {
                        self.write_mark();
                    }
                }
            }
        }
    }

    /// Writes a group, syncs it, publishes its rows and acknowledges it; or refuses all of it.
    pub(super) fn commit(&mut self, appends: Vec<Append>) {
        let mut seq = self.last_seq;
        let mut group = Vec::with_capacity(appends.len());
        let mut chunks = Vec::with_capacity(appends.len());
        for mut append in appends {
            match Chunk::from_entry(append.frame.signal, &append.batch, seq.next()) {
                Ok(chunk) => {
                    seq = seq.next();
                    append.frame.seq = seq;
                    chunks.push((append.table(), chunk));
                    group.push(append);
                }
                Err(error) => append.answer(Err(error)),
            }
        }
        if group.is_empty() {
            return;
        }
        if let Err(refusal) = self.write_and_sync(&group) {
            for append in group {
                append.answer(Err(refusal.to_error()));
            }
            return;
        }
        self.last_seq = seq;
        self.mark_at = Some(Instant::now() + MARK_AFTER);
        self.buffer.append(chunks);
        for append in group {
            let stored = Stored { seq: append.frame.seq, num_rejected: append.frame.rejected.len() as u32 };
            append.answer(Ok(stored));
        }
    }

    fn write_and_sync(&mut self, group: &[Append]) -> Result<(), Refusal> {
        self.end_pause(Instant::now());
        if self.segment.as_ref().is_some_and(|segment| segment.len() >= self.segment_bytes) {
            self.end_segment();
        }
        self.check_writable()?;
        let durable_seq = self.last_seq;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.open_segment().map_err(|error| self.cannot_open(error))?,
        };
        self.staging.clear();
        let mut rolling_hash = segment.rolling_hash;
        for append in group {
            let checksums = append.frame.encode_into(&mut self.staging, segment.salt, durable_seq);
            rolling_hash = roll(rolling_hash, checksums);
        }
        let written = segment.write(&self.staging);
        if self.staging.capacity() > KEPT_STAGING_BYTES {
            self.staging = Vec::new();
        }
        if let Err(error) = written {
            return Err(self.cannot_write(segment, error));
        }
        if let Err(error) = segment.sync() {
            return Err(self.cannot_sync(&segment, error));
        }
        segment.rolling_hash = rolling_hash;
        segment.num_frames += group.len() as u64;
        self.segment = Some(segment);
        self.faults.in_a_row = 0;
        Ok(())
    }

    pub(super) fn open_segment(&self) -> std::io::Result<Segment> {
        let first_seq = self.last_seq.next();
        let header = SegmentHeader {
            store_uuid: self.store_uuid,
            salt: uuid::Uuid::now_v7().as_u64_pair().1,
            first_seq,
            created_ns: now_ns() as u64,
            previous_last_seq: self.previous.last_seq,
            previous_rolling_hash: self.previous.rolling_hash,
            previous_abandoned_at: self.previous.abandoned_at,
        };
        Segment::create(self.layout.disk(), &self.layout.segment(first_seq), &header)
    }

    /// Seals the segment, unless it is empty: then the next entry goes there.
    fn end_segment(&mut self) {
        let Some(mut segment) = self.segment.take_if(|segment| segment.num_frames > 0) else { return };
        self.previous = Previous {
            last_seq: self.last_seq,
            rolling_hash: segment.rolling_hash,
            abandoned_at: NOT_ABANDONED,
        };
        if let Err(error) = segment.write_seal(self.last_seq) {
            // All its frames are on disk; the next header tells recovery where it ends.
            tracing::warn!(segment = %segment.path().display(), %error, "cannot seal a log segment");
            self.previous.abandoned_at = segment.durable_offset();
        } else if let Err(error) = segment.sync() {
            self.previous.abandoned_at = segment.durable_offset();
            self.sync_failed(&segment, &error);
        }
        self.ended.push(segment.path().to_owned());
    }

    pub(super) fn freeze(&mut self) -> Cut {
        self.end_segment();
        self.buffer.freeze();
        Cut { last_seq: self.last_seq, segments: std::mem::take(&mut self.ended) }
    }

    /// Leaves a log whose end is known, whether or not the flush before this succeeded.
    fn close(&mut self) {
        self.end_segment();
        self.write_mark();
    }

    /// Marks what is durable, unless it is in files anyway. A failure costs nothing but the mark.
    fn write_mark(&mut self) {
        self.mark_at = None;
        let unflushed = !self.ended.is_empty() || self.segment.as_ref().is_some_and(|s| s.num_frames > 0);
        if self.marked >= self.last_seq || !unflushed {
            return;
        }
        let marked = match self.mark.take() {
            Some(mut mark) => mark.set(self.last_seq).map(|()| mark),
            None => Mark::create(&self.layout, self.store_uuid, self.last_seq),
        };
        match marked {
            Ok(mark) => {
                self.mark = Some(mark);
                self.marked = self.last_seq;
            }
            Err(error) => tracing::warn!(%error, "cannot mark what is durable in the log"),
        }
    }
}

/// A panic of the writer leaves nobody to store anything: that must show.
impl Drop for WalWriter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.condition
                .fail("the writer of the write-ahead log ended by a bug; the server's log says where");
        }
    }
}

#[cfg(test)]
mod tests;
