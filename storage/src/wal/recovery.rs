//! What a log directory holds after a crash: which entries are whole, what was torn, what was lost.
//!
//! A bad frame is not by itself a loss. The last group of a crashed process may be written in part; nobody was told that
//! it was stored. What tells the two apart is that every frame carries the highest sequence number that was durable when
//! it was written: if any frame after the damage, or the header of the next segment, or the catalog knew the missing
//! entries to be durable, they had been acknowledged, and their loss is reported. The one blind spot is the last group
//! before a crash, if the disk damages it afterwards.

use std::path::{Path, PathBuf};

use alula_catalog::SequenceNumber;

use super::format::{
    FORMAT_VERSION, FRAME_HEADER_BYTES, Frame, HeaderError, NOT_ABANDONED, SEGMENT_HEADER_BYTES,
    SegmentHeader, decode_frame,
};
use super::scan::{FrameAt, SegmentScan, scan_segment};
use crate::disk::{Disk, read_exact_at};
use crate::layout::Layout;
use crate::{Error, Result};

/// What recovery found in the log.
#[derive(Debug, Default)]
pub(crate) struct RecoveredLog {
    /// Oldest first.
    pub segments: Vec<RecoveredSegment>,
    /// The highest sequence number that was ever given out, as far as can be told.
    pub last_seq: SequenceNumber,
    /// Acknowledged entries that cannot be read, and are in no file.
    pub losses: Vec<Loss>,
}

/// One segment and the frames in it that are to be replayed.
#[derive(Debug)]
pub(crate) struct RecoveredSegment {
    pub path: PathBuf,
    salt: u64,
    frames: Vec<FrameAt>,
}

/// A range of lost entries, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub segment: PathBuf,
    pub first: SequenceNumber,
    pub last: SequenceNumber,
    pub offset: u64,
}

impl RecoveredSegment {
    /// Reads the frames to replay, in order.
    ///
    /// Bounds: holds one segment in memory.
    pub(crate) fn frames(&self, disk: &dyn Disk) -> Result<Vec<Frame>> {
        let bytes = read(disk, &self.path)?;
        let damaged = |at: &FrameAt, reason| Error::CorruptSegment {
            path: self.path.clone(),
            offset: at.offset as u64,
            reason,
        };
        self.frames
            .iter()
            .map(|at| {
                let frame = bytes
                    .get(at.offset..)
                    .and_then(|bytes| decode_frame(bytes, self.salt))
                    .ok_or_else(|| damaged(at, "the frame changed while it was being read"))?;
                Frame::from_parts(&frame.head, frame.payload)
                    .ok_or_else(|| damaged(at, "the frame needs a newer version of alula"))
            })
            .collect()
    }
}

struct Scanned {
    path: PathBuf,
    header: SegmentHeader,
    scan: SegmentScan,
    /// The last entry that this segment must hold, if a later one exists: that one was created only once this was on disk.
    last_expected: Option<SequenceNumber>,
}

/// The last sequence number before the segment `paths[index]`, if there is one.
fn last_before(paths: &[PathBuf], index: usize) -> Option<SequenceNumber> {
    let first = first_seq_of(paths.get(index)?)?;
    Some(SequenceNumber(first.0.saturating_sub(1)))
}

/// Reads every segment of the log and decides what is to be replayed.
///
/// Changes nothing on disk, so it gives the same answer however often a start is interrupted.
///
/// # Errors
/// `NewerFormat`, `CorruptSegment` (a segment of another store) — this is not a log to start from.
pub(crate) fn recover(
    layout: &Layout,
    store_uuid: [u8; 16],
    flushed: SequenceNumber,
) -> Result<RecoveredLog> {
    let disk = layout.disk();
    let mut log = RecoveredLog { last_seq: flushed, ..RecoveredLog::default() };
    let mut unreadable = Vec::new();
    let mut segments: Vec<Scanned> = Vec::new();
    let paths = list_segments(disk, &layout.wal_dir())?;
    let headers = paths.iter().map(|path| read_header(disk, path)).collect::<Result<Vec<_>>>()?;
    for (index, path) in paths.iter().enumerate() {
        let Some(header) = headers[index].clone() else {
            unreadable.push(index);
            continue;
        };
        if header.store_uuid != store_uuid {
            let reason = "the segment belongs to another data directory";
            return Err(Error::CorruptSegment { path: path.clone(), offset: 16, reason });
        }
        let next = headers.get(index + 1).and_then(Option::as_ref);
        let limit = match next.map(|next| next.previous_abandoned_at) {
            None | Some(NOT_ABANDONED) => usize::MAX,
            Some(abandoned_at) => abandoned_at as usize,
        };
        let bytes = read(disk, path)?;
        let scan = scan_segment(&bytes, limit, header.salt, header.first_seq);
        segments.push(Scanned {
            path: path.clone(),
            header,
            scan,
            last_expected: last_before(&paths, index + 1),
        });
    }

    let durable = highest_durable(&segments, flushed);
    for segment in &segments {
        collect_segment(segment, durable, flushed, &mut log);
    }
    if let Some(path) = paths.first() {
        report_missing_start(path, flushed, &mut log);
    }
    for index in unreadable {
        report_unreadable(disk, paths[index].clone(), last_before(&paths, index + 1), flushed, &mut log)?;
    }
    Ok(log)
}

/// The highest entry that some part of the log, or the catalog, knows to have been acknowledged.
fn highest_durable(segments: &[Scanned], flushed: SequenceNumber) -> SequenceNumber {
    let of_segment = |s: &Scanned| s.scan.durable_seq.max(s.header.previous_last_seq);
    segments.iter().map(of_segment).max().unwrap_or_default().max(flushed)
}

fn collect_segment(
    segment: &Scanned,
    durable: SequenceNumber,
    flushed: SequenceNumber,
    log: &mut RecoveredLog,
) {
    let Scanned { path, header, scan, last_expected } = segment;
    // Whatever follows the last entry that a later segment builds on was refused, whether or not it is whole.
    let last_valid = last_expected.unwrap_or(SequenceNumber(u64::MAX));
    let last_expected = last_expected.unwrap_or(durable);
    let mut report = |first: SequenceNumber, last: SequenceNumber, offset: usize| {
        let first = first.max(flushed.next());
        if first <= last {
            log.losses.push(Loss { segment: path.clone(), first, last, offset: offset as u64 });
            log.last_seq = log.last_seq.max(last);
        }
    };
    let mut end = usize::MAX;
    for damage in &scan.damages {
        let (first, last) = damage.missing;
        if first <= last && first > last_expected {
            // Written after the last sync that anybody was told of: a torn group, and the segment ends here.
            end = damage.bytes.start;
            break;
        }
        report(first, last.min(last_expected), damage.bytes.start);
    }
    let whole = scan.frames.iter().filter(|frame| frame.offset < end && frame.seq <= last_valid);
    let last_seen = whole.clone().map(|frame| frame.seq).max();
    if end == usize::MAX {
        report(last_seen.map_or(header.first_seq, SequenceNumber::next), last_expected, scan.end);
        if scan.seal.is_some() && !scan.seal_holds && scan.damages.is_empty() {
            tracing::warn!(segment = %path.display(), "the seal of a log segment disagrees with its frames");
        }
    }
    if scan.torn_tail || end != usize::MAX {
        tracing::info!(
            segment = %path.display(),
            offset = end.min(scan.end),
            "the log ends in a write that was cut off and never acknowledged"
        );
    }
    log.last_seq = log.last_seq.max(last_seen.unwrap_or_default());
    let frames = whole.filter(|frame| frame.seq > flushed).cloned().collect();
    log.segments.push(RecoveredSegment { path: path.clone(), salt: header.salt, frames });
}

/// Entries between the flushed ones and the first segment: their segments are gone.
fn report_missing_start(first_segment: &Path, flushed: SequenceNumber, log: &mut RecoveredLog) {
    let first = flushed.next();
    if let Some(start) = first_seq_of(first_segment).filter(|start| *start > first) {
        let last = SequenceNumber(start.0 - 1);
        log.losses.push(Loss { segment: first_segment.to_owned(), first, last, offset: 0 });
        log.last_seq = log.last_seq.max(last);
    }
}

/// A segment whose header is damaged: without its salt no frame of it can be told from noise.
fn report_unreadable(
    disk: &dyn Disk,
    path: PathBuf,
    last_expected: Option<SequenceNumber>,
    flushed: SequenceNumber,
    log: &mut RecoveredLog,
) -> Result<()> {
    let first = first_seq_of(&path).unwrap_or_else(|| log.last_seq.next());
    let bytes = disk.file_len(&path).map_err(Error::io(&path, "cannot read the segment's size"))?;
    // Without a later segment: no more entries than this can have been in it, so numbers above are certainly unused.
    let most = SequenceNumber(first.0.saturating_add(bytes / FRAME_HEADER_BYTES as u64));
    let last = last_expected.unwrap_or(most);
    let first = first.max(flushed.next());
    if first <= last {
        log.losses.push(Loss { segment: path.clone(), first, last, offset: 0 });
        log.last_seq = log.last_seq.max(last);
    }
    log.segments.push(RecoveredSegment { path, salt: 0, frames: Vec::new() });
    Ok(())
}

/// None if the header is damaged.
fn read_header(disk: &dyn Disk, path: &Path) -> Result<Option<SegmentHeader>> {
    let file = disk.open(path).map_err(Error::io(path, "cannot open the log segment"))?;
    let bytes = match read_exact_at(file.as_ref(), SEGMENT_HEADER_BYTES, 0) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(source) => return Err(Error::io(path, "cannot read the log segment")(source)),
    };
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

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let file = disk.open(path).map_err(Error::io(path, "cannot open the log segment"))?;
    let length = file.len().map_err(Error::io(path, "cannot read the log segment"))?;
    read_exact_at(file.as_ref(), length as usize, 0).map_err(Error::io(path, "cannot read the log segment"))
}

#[cfg(test)]
mod tests;
