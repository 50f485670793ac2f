//! What a log directory holds after a crash: which entries are whole, what was torn, what was lost.
//!
//! A bad frame is not by itself a loss. The last group of a crashed process may be written in part; nobody was told that
//! it was stored. What tells the two apart is that every frame carries the highest sequence number that was durable when
//! it was written: if any frame after the damage, or the name of a later segment, or the mark, or the catalog knew the
//! missing entries to be durable, they had been acknowledged, and their loss is reported. The one blind spot is the last
//! group before a crash, if nothing marked it and the disk damages it afterwards.
//!
//! Segments are read one at a time, each once: a later segment exists only if everything before it was durable, so what is
//! missing of an earlier one can be told without reading on.

use std::path::{Path, PathBuf};

use alula_catalog::{SequenceNumber, Signal, TenantNumber};
use bytes::Bytes;

use super::format::{
    FORMAT_VERSION, FRAME_HEADER_BYTES, Frame, Head, HeaderError, NOT_ABANDONED, SEGMENT_HEADER_BYTES,
    SegmentHeader,
};
use super::mark::read_mark;
use super::salt::Salt;
use super::scan::{FrameAt, Missing, scan_segment};
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::layout::Layout;
use crate::{Error, Result};

/// Read at a time where a segment cannot be read as a whole; what cannot be read even so counts as zeros.
const BLOCK_BYTES: usize = 4096;

/// A log that is to be read.
#[derive(Debug)]
pub(crate) struct RecoveredLog {
    layout: Layout,
    flushed: SequenceNumber,
    /// The highest entry that the catalog or the mark knows to have been acknowledged.
    durable: SequenceNumber,
    /// Oldest first.
    segments: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    path: PathBuf,
    first_seq: SequenceNumber,
    /// None if it is damaged.
    header: Option<SegmentHeader>,
}

/// What is in one segment.
#[derive(Debug)]
pub(crate) struct RecoveredSegment {
    path: PathBuf,
    bytes: Bytes,
    frames: Vec<FrameAt>,
    /// Acknowledged entries that cannot be read, and are in no file.
    pub losses: Vec<Loss>,
    /// It ends in a write that was cut off and never acknowledged.
    pub is_torn: bool,
    /// The highest sequence number that was ever given out, as far as this segment tells.
    pub last_seq: SequenceNumber,
}

/// A range of lost entries, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub segment: PathBuf,
    pub first: SequenceNumber,
    pub last: SequenceNumber,
    pub offset: u64,
    /// Of a single entry of which only the rows are gone.
    pub entry: Option<LostEntry>,
}

/// What the frame header of a lost entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LostEntry {
    pub tenant: TenantNumber,
    pub signal: Option<Signal>,
    pub num_rows: u32,
}

impl LostEntry {
    fn new(head: &Head) -> Self {
        let signal = Signal::from_code(head.signal);
        Self { tenant: TenantNumber(head.tenant), signal, num_rows: head.num_rows }
    }
}

/// Finds the segments of a log, and whether it is one to start from.
///
/// Changes nothing on disk, and nor does reading it, so it gives the same answer however often a start is interrupted.
///
/// # Errors
/// `NewerFormat`, `CorruptSegment` (a segment of another store) — this is not a log to start from.
pub(crate) fn recover(
    layout: &Layout,
    store_uuid: [u8; 16],
    flushed: SequenceNumber,
) -> Result<RecoveredLog> {
    let disk = layout.disk();
    let mut segments = Vec::new();
    for path in list_segments(disk, &layout.wal_dir())? {
        let Some(first_seq) = first_seq_of(&path) else { continue };
        let header = read_header(disk, &path)?;
        if header.as_ref().is_some_and(|header| header.store_uuid != store_uuid) {
            let reason = "the segment is of another catalog than the one in this data directory; move it away, or, if \
                          the catalog was lost, run `alula verify --repair`";
            return Err(Error::CorruptSegment { path, offset: 16, reason });
        }
        segments.push(Planned { path, first_seq, header });
    }
    let durable = read_mark(layout, store_uuid).max(flushed);
    Ok(RecoveredLog { layout: layout.clone(), flushed, durable, segments })
}

/// Of which store the log is, for whoever has no catalog to say so. None if no segment says.
///
/// # Errors
/// `NewerFormat`, `Io`
pub(crate) fn store_of_log(layout: &Layout) -> Result<Option<(PathBuf, [u8; 16])>> {
    let disk = layout.disk();
    if !disk.is_dir(&layout.wal_dir()) {
        return Ok(None);
    }
    for path in list_segments(disk, &layout.wal_dir())? {
        if let Some(header) = read_header(disk, &path)? {
            return Ok(Some((path, header.store_uuid)));
        }
    }
    Ok(None)
}

impl RecoveredLog {
    pub(crate) fn num_segments(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.segments.iter().map(|segment| segment.path.clone()).collect()
    }

    /// Entries that are in no file, and whose segments are gone.
    pub(crate) fn missing_segments(&self) -> Option<Loss> {
        let first = self.flushed.next();
        let (segment, last) = match self.segments.first() {
            Some(segment) => (segment.path.clone(), before(segment.first_seq)),
            None => (self.layout.mark(), self.durable),
        };
        (first <= last).then_some(Loss { segment, first, last, offset: 0, entry: None })
    }

    /// Reads a segment, and decides what of it is to be replayed and what was lost.
    ///
    /// Bounds: holds the whole segment in memory until the result is dropped.
    pub(crate) fn read(&self, index: usize) -> Result<RecoveredSegment> {
        let Planned { path, first_seq, header } = &self.segments[index];
        let next = self.segments.get(index + 1);
        let bytes = Bytes::from(read(self.layout.disk(), path)?);
        let abandoned_at = next.and_then(|next| next.header.as_ref()).map(|next| next.previous_abandoned_at);
        let limit = match abandoned_at {
            None | Some(NOT_ABANDONED) => usize::MAX,
            Some(abandoned_at) => abandoned_at as usize,
        };
        let salt = match header {
            Some(header) => Some(Salt::new(header.salt)),
            None => Salt::of_frames(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default()),
        };
        let mut segment = RecoveredSegment {
            path: path.clone(),
            bytes,
            frames: Vec::new(),
            losses: Vec::new(),
            is_torn: false,
            last_seq: SequenceNumber(0),
        };
        let last_before_next = next.map(|next| before(next.first_seq));
        match salt {
            Some(salt) => self.collect(&mut segment, *first_seq, limit, salt, last_before_next),
            None => self.collect_unreadable(&mut segment, *first_seq, last_before_next),
        }
        if header.is_none() {
            tracing::warn!(segment = %path.display(), "the header of a log segment is damaged");
        }
        Ok(segment)
    }

    fn collect(
        &self,
        segment: &mut RecoveredSegment,
        first_seq: SequenceNumber,
        limit: usize,
        salt: Salt,
        last_before_next: Option<SequenceNumber>,
    ) {
        let scan = scan_segment(&segment.bytes, limit, salt, first_seq);
        // Whatever follows the last entry that a later segment builds on was refused, whether or not it is whole.
        let last_valid = last_before_next.unwrap_or(SequenceNumber(u64::MAX));
        let last_expected = last_before_next.unwrap_or(self.durable.max(scan.durable_seq));
        let mut torn_at = None;
        for Missing { first, last, offset, head } in &scan.missing {
            if *first > last_expected {
                // Written after the last sync that anybody was told of: a torn group, and the log ends before it.
                torn_at = Some((*first, *offset));
                break;
            }
            let entry = head.as_ref().map(LostEntry::new);
            self.report(segment, *first, (*last).min(last_expected), *offset, entry);
        }
        let end_seq = torn_at.map_or(SequenceNumber(u64::MAX), |(seq, _)| seq);
        segment.frames = scan.frames;
        segment.frames.retain(|frame| frame.seq < end_seq && frame.seq <= last_valid);
        if torn_at.is_none() {
            self.report(segment, scan.next_seq, last_expected, scan.end, None);
            if scan.seal == Some(false) && scan.missing.is_empty() {
                tracing::warn!(segment = %segment.path.display(), "the seal of a log segment disagrees with its frames");
            }
        }
        segment.is_torn = scan.torn_tail || torn_at.is_some();
        if segment.is_torn {
            tracing::info!(
                segment = %segment.path.display(),
                offset = torn_at.map_or(scan.end, |(_, offset)| offset),
                "a log segment ends in a write that was cut off and never acknowledged"
            );
        }
        let last_seen = segment.frames.last().map(|frame| frame.seq);
        segment.last_seq = segment.last_seq.max(last_seen.unwrap_or_default());
        segment.frames.retain(|frame| frame.seq > self.flushed);
    }

    /// A segment with no header and no frame that could stand for it.
    fn collect_unreadable(
        &self,
        segment: &mut RecoveredSegment,
        first_seq: SequenceNumber,
        last_before_next: Option<SequenceNumber>,
    ) {
        let bytes = segment.bytes.len().saturating_sub(SEGMENT_HEADER_BYTES);
        // Without a later segment: no more entries than this can have been in it, so numbers above are certainly unused.
        let most = first_seq.0.saturating_add((bytes / FRAME_HEADER_BYTES) as u64).saturating_sub(1);
        let last = last_before_next.unwrap_or(SequenceNumber(most).max(self.durable));
        self.report(segment, first_seq, last, 0, None);
    }

    fn report(
        &self,
        segment: &mut RecoveredSegment,
        first: SequenceNumber,
        last: SequenceNumber,
        offset: usize,
        entry: Option<LostEntry>,
    ) {
        let first = first.max(self.flushed.next());
        if first <= last {
            let path = segment.path.clone();
            segment.losses.push(Loss { segment: path, first, last, offset: offset as u64, entry });
            segment.last_seq = segment.last_seq.max(last);
        }
    }
}

impl RecoveredSegment {
    /// The frames to replay, in order. They share the segment's memory.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Result<Frame>> {
        self.frames.iter().map(|at| {
            Frame::of_valid(&self.bytes.slice(at.offset..)).ok_or_else(|| Error::CorruptSegment {
                path: self.path.clone(),
                offset: at.offset as u64,
                reason: "the frame needs a newer version of alula",
            })
        })
    }
}

fn before(seq: SequenceNumber) -> SequenceNumber {
    SequenceNumber(seq.0.saturating_sub(1))
}

/// None if the header is damaged.
fn read_header(disk: &dyn Disk, path: &Path) -> Result<Option<SegmentHeader>> {
    let file = disk.open(path).map_err(Error::io(path, "cannot open the log segment"))?;
    let Ok(bytes) = read_exact_at(file.as_ref(), SEGMENT_HEADER_BYTES, 0) else { return Ok(None) };
    match SegmentHeader::decode(&bytes) {
        Ok(header) => Ok(Some(header)),
        Err(HeaderError::Version(found)) if found > FORMAT_VERSION => {
            Err(Error::NewerFormat { path: path.to_owned(), found, known: FORMAT_VERSION })
        }
        Err(_) => Ok(None),
    }
}

/// Segments of the directory, oldest first. Other files are not ours to judge.
fn list_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = disk.list(dir).map_err(Error::io(dir, "cannot list the log directory"))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| dir.join(entry.name)).collect();
    paths.retain(|path| first_seq_of(path).is_some());
    paths.sort();
    Ok(paths)
}

fn first_seq_of(path: &Path) -> Option<SequenceNumber> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".wal")?;
    (stem.len() == 20).then(|| stem.parse().ok().map(SequenceNumber))?
}

/// All bytes of a segment; zeros where the disk cannot read them.
fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let file = disk.open(path).map_err(Error::io(path, "cannot open the log segment"))?;
    let length = file.len().map_err(Error::io(path, "cannot read the log segment"))? as usize;
    Ok(read_exact_at(file.as_ref(), length, 0).unwrap_or_else(|error| {
        tracing::error!(segment = %path.display(), %error, "cannot read a log segment; reading it in small parts");
        read_what_can_be_read(file.as_ref(), length)
    }))
}

fn read_what_can_be_read(file: &dyn DiskFile, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (index, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        if let Ok(read) = read_exact_at(file, block.len(), (index * BLOCK_BYTES) as u64) {
            block.copy_from_slice(&read);
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
