//! How a segment ended, for whoever reads the log of a running server.

use std::io;

use super::format::SegmentHeader;
use super::salt::Salt;
use super::scan::scan_segment;
use crate::disk::{DiskFile, read_exact_at};

/// Whether a segment was ended in order: all that is in it was acknowledged, and nothing follows.
///
/// Bounds: holds the segment in memory.
pub(crate) fn is_sealed(segment: &dyn DiskFile) -> io::Result<bool> {
    let bytes = read_exact_at(segment, segment.len()? as usize, 0)?;
    let Ok(header) = SegmentHeader::decode(&bytes) else { return Ok(false) };
    Ok(scan_segment(&bytes, usize::MAX, Salt::new(header.salt), header.first_seq).seal.is_some())
}
