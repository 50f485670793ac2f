//! The mark: the highest sequence number known durable, on record beside the log while nobody writes to it.
//!
//! ```text
//! wal/mark     at 0 and at 4096, a slot of 16 bytes:  u64 sequence number | u32 CRC32(store uuid, number) | u32 zero
//! ```
//!
//! Every frame says what was durable before it, but nothing says so of the last one. The mark does, a second after it was
//! written: a last frame that is damaged later is then known to be a loss and not taken for a torn write.
//!
//! The two slots are written in turn, and are a page apart: a write that is cut off spoils one and leaves the other.

use std::io;

use alula_catalog::SequenceNumber;

use crate::disk::{DiskFile, create_durably, read_exact_at};
use crate::layout::Layout;

const SLOT_BYTES: usize = 16;
const SLOTS_AT: [u64; 2] = [0, 4096];

/// The mark of this process. Like a segment, it is written by one process only, and given up after any failure.
#[derive(Debug)]
pub(super) struct Mark {
    file: Box<dyn DiskFile>,
    store_uuid: [u8; 16],
    next_slot: usize,
}

impl Mark {
    /// Replaces the mark of an earlier process.
    ///
    /// Durable: when this returns; before it, the old mark stands.
    pub(super) fn create(
        layout: &Layout,
        store_uuid: [u8; 16],
        durable_seq: SequenceNumber,
    ) -> io::Result<Self> {
        let slot = encode(store_uuid, durable_seq);
        let file = create_durably(layout.disk(), &layout.mark(), |file| {
            SLOTS_AT.into_iter().try_for_each(|at| file.write_all_at(&slot, at))
        })?;
        Ok(Self { file, store_uuid, next_slot: 0 })
    }

    /// Durable: when this returns.
    pub(super) fn set(&mut self, durable_seq: SequenceNumber) -> io::Result<()> {
        self.file.write_all_at(&encode(self.store_uuid, durable_seq), SLOTS_AT[self.next_slot])?;
        self.next_slot = 1 - self.next_slot;
        self.file.sync_data()
    }
}

/// What is marked as durable; 0 where nothing is, or nothing that can be read.
pub(super) fn read_mark(layout: &Layout, store_uuid: [u8; 16]) -> SequenceNumber {
    let Ok(file) = layout.disk().open(&layout.mark()) else { return SequenceNumber(0) };
    let slot = |at| {
        let bytes = read_exact_at(file.as_ref(), SLOT_BYTES, at).ok()?;
        decode(store_uuid, bytes.first_chunk()?)
    };
    SLOTS_AT.into_iter().filter_map(slot).max().unwrap_or_default()
}

fn encode(store_uuid: [u8; 16], seq: SequenceNumber) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&seq.0.to_le_bytes());
    slot[8..12].copy_from_slice(&checksum(store_uuid, seq).to_le_bytes());
    slot
}

fn decode(store_uuid: [u8; 16], slot: &[u8; SLOT_BYTES]) -> Option<SequenceNumber> {
    let (seq, rest) = slot.split_first_chunk::<8>()?;
    let seq = SequenceNumber(u64::from_le_bytes(*seq));
    (rest[..4] == checksum(store_uuid, seq).to_le_bytes()).then_some(seq)
}

fn checksum(store_uuid: [u8; 16], seq: SequenceNumber) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&store_uuid);
    hasher.update(&seq.0.to_le_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests;
