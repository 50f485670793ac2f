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
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use alula_catalog::{SequenceNumber, now_ns};
use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::format::{Frame, NOT_ABANDONED, SegmentHeader, roll};
use super::segment::Segment;
use crate::buffer::{Buffer, Chunk, TableKey};
use crate::layout::Layout;
use crate::retry_window::{Claim, Stored};
use crate::{Error, Result};

/// Entries that may wait for the writer, whatever their size.
const QUEUE_ENTRIES: usize = 4096;
/// A group takes no further entry once it has this many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// A staging buffer that grew past this is given back after its group.
const KEPT_STAGING_BYTES: usize = 16 * 1024 * 1024;

/// What the writer is asked to do, in order.
#[derive(Debug)]
pub(crate) enum Command {
    Append(Box<Append>),
    /// Set the buffer aside for a flush, and end the segment.
    Freeze(oneshot::Sender<Cut>),
    /// Acknowledge nothing any more.
    Close,
}

/// One entry on its way into the log. Its sequence number is still 0.
#[derive(Debug)]
pub(crate) struct Append {
    pub frame: Frame,
    pub batch: RecordBatch,
    pub reply: oneshot::Sender<Result<Stored>>,
    /// Of an entry with a batch id.
    pub claim: Option<Claim>,
    /// The entry's share of the queue's bytes, given back when it is answered.
    pub queued: OwnedSemaphorePermit,
}

impl Append {
    fn table(&self) -> TableKey {
        TableKey { tenant: self.frame.tenant, signal: self.frame.signal }
    }

    /// Answers the one who appended, if still there.
    ///
    /// The queue's share and the claim are given back first: who has an answer can count on the room, and on a batch that
    /// is known if it was stored and free if not.
    fn answer(self, answer: Result<Stored>) {
        drop(self.queued);
        match (self.claim, &answer) {
            (Some(claim), Ok(stored)) => claim.stored(*stored),
            (claim, _) => drop(claim),
        }
        let _ = self.reply.send(answer);
    }
}

/// Everything up to a sequence number, set aside for a flush.
#[derive(Debug)]
pub(crate) struct Cut {
    pub last_seq: SequenceNumber,
    /// Segments that hold nothing later; they go once the flush is committed.
    pub segments: Vec<PathBuf>,
}

/// The sending side of the queue.
#[derive(Clone, Debug)]
pub(crate) struct WriterHandle {
    queue: SyncSender<Command>,
}

impl WriterHandle {
    /// Hands a command over without waiting.
    pub(crate) fn try_send(&self, command: Command) -> Result<()> {
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded {
                what: "the queue of the write-ahead log",
                limit: QUEUE_ENTRIES,
                unit: "entries",
            },
            TrySendError::Disconnected(_) => Error::Closed,
        })
    }

    /// Hands a command over; blocks while the queue is full.
    pub(crate) fn send(&self, command: Command) -> Result<()> {
        self.queue.send(command).map_err(|_| Error::Closed)
    }
}

/// The state of the writer thread.
#[derive(Debug)]
pub(crate) struct WalWriter {
    layout: Layout,
    buffer: Arc<Buffer>,
    store_uuid: [u8; 16],
    segment_bytes: u64,
    queue: Receiver<Command>,
    segment: Option<Segment>,
    /// Ended segments that hold entries which are not flushed yet.
    ended: Vec<PathBuf>,
    last_seq: SequenceNumber,
    /// What the next segment says about the one before it.
    previous: Previous,
    staging: Vec<u8>,
    /// Set for good once a sync failed: pages that the kernel dropped may look clean, so no later sync proves anything.
    failed_sync: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Previous {
    last_seq: SequenceNumber,
    rolling_hash: u64,
    abandoned_at: u64,
}

impl WalWriter {
    pub(crate) fn new(
        layout: Layout,
        buffer: Arc<Buffer>,
        store_uuid: [u8; 16],
        segment_bytes: u64,
        last_seq: SequenceNumber,
    ) -> (Self, WriterHandle) {
        let (sender, queue) = sync_channel(QUEUE_ENTRIES);
        let writer = Self {
            layout,
            buffer,
            store_uuid,
            segment_bytes,
            queue,
            segment: None,
            ended: Vec::new(),
            last_seq,
            previous: Previous { last_seq, rolling_hash: 0, abandoned_at: NOT_ABANDONED },
            staging: Vec::new(),
            failed_sync: None,
        };
        (writer, WriterHandle { queue: sender })
    }

    /// Works until [`Command::Close`], or until every handle is gone.
    pub(crate) fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
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
                    self.end_segment();
                    return;
                }
                Some(Command::Append(_)) | None => {}
            }
        }
    }

    /// Writes a group, syncs it, publishes its rows and acknowledges it; or refuses all of it.
    fn commit(&mut self, appends: Vec<Append>) {
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
        self.buffer.append(chunks);
        for append in group {
            let stored = Stored { seq: append.frame.seq, num_rejected: append.frame.rejected.len() as u32 };
            append.answer(Ok(stored));
        }
    }

    fn write_and_sync(&mut self, group: &[Append]) -> Result<(), Refusal> {
        if let Some(reason) = &self.failed_sync {
            return Err(Refusal::ReadOnly(reason.clone()));
        }
        if self.segment.as_ref().is_some_and(|segment| segment.len() >= self.segment_bytes) {
            self.end_segment();
        }
        let durable_seq = self.last_seq;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.open_segment().map_err(Refusal::Write)?,
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
        if let Err(source) = written {
            tracing::error!(segment = %segment.path().display(), error = %source, "cannot write to the log");
            self.abandon(&segment);
            return Err(Refusal::Write(source));
        }
        if let Err(source) = segment.sync() {
            let reason = format!("cannot sync {}: {source}", segment.path().display());
            tracing::error!(%reason, "storage is read-only from here on");
            self.abandon(&segment);
            self.failed_sync = Some(reason.clone());
            return Err(Refusal::ReadOnly(reason));
        }
        segment.rolling_hash = rolling_hash;
        segment.num_frames += group.len() as u64;
        self.segment = Some(segment);
        Ok(())
    }

    fn open_segment(&self) -> std::io::Result<Segment> {
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
            Err(error) => {
                tracing::warn!(%error, "cannot go on in a new log segment; the next append tries again");
            }
        }
    }

    /// Seals the segment, unless it is empty: then the next entry goes there.
    fn end_segment(&mut self) {
        let Some(segment) = self.segment.take_if(|segment| segment.num_frames > 0) else { return };
        let path = segment.path().to_owned();
        self.previous = Previous {
            last_seq: self.last_seq,
            rolling_hash: segment.rolling_hash,
            abandoned_at: NOT_ABANDONED,
        };
        if let Err(error) = segment.seal(self.last_seq) {
            // All its frames are on disk; the next header tells recovery where it ends.
            tracing::warn!(segment = %path.display(), %error, "cannot seal a log segment");
        }
        self.ended.push(path);
    }

    fn freeze(&mut self) -> Cut {
        self.end_segment();
        self.buffer.freeze();
        Cut { last_seq: self.last_seq, segments: std::mem::take(&mut self.ended) }
    }
}

/// Why a whole group was refused.
#[derive(Debug)]
enum Refusal {
    Write(std::io::Error),
    ReadOnly(String),
}

impl Refusal {
    fn to_error(&self) -> Error {
        match self {
            Self::Write(source) => Error::WalWrite(std::io::Error::new(source.kind(), source.to_string())),
            Self::ReadOnly(reason) => Error::ReadOnly { reason: reason.clone() },
        }
    }
}

#[cfg(test)]
mod tests;
