//! What is handed to the writer thread, and how.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use alula_catalog::SequenceNumber;
use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::format::Frame;
use crate::buffer::TableKey;
use crate::retry_window::{Claim, Stored};
use crate::{Error, Result};

/// Entries that may wait for the writer, whatever their size.
const QUEUE_ENTRIES: usize = 4096;

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
    pub(super) fn table(&self) -> TableKey {
        TableKey { tenant: self.frame.tenant, signal: self.frame.signal }
    }

    /// Answers the one who appended, if still there.
    ///
    /// The queue's share and the claim are given back first: who has an answer can count on the room, and on a batch that
    /// is known if it was stored and free if not.
    pub(super) fn answer(self, answer: Result<Stored>) {
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
    pub(super) fn channel() -> (Self, Receiver<Command>) {
        let (queue, receiver) = sync_channel(QUEUE_ENTRIES);
        (Self { queue }, receiver)
    }

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
