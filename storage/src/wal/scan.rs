//! From the bytes of a segment to its frames and its damages.
//!
//! The scan only describes what is there. Whether a damage is a torn tail or a loss depends on what the whole log knows
//! to have been durable, and is decided in [`super::recovery`].

use std::ops::Range;

use alula_catalog::SequenceNumber;

use super::format::{FRAME_MAGIC, Kind, SEGMENT_HEADER_BYTES, Seal, ValidFrame, decode_frame, roll};

/// Where a valid frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameAt {
    pub seq: SequenceNumber,
    pub offset: usize,
}

/// Bytes that should have been the frames `missing`, and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub bytes: Range<usize>,
    /// First and last sequence number that should have stood here, both included.
    pub missing: (SequenceNumber, SequenceNumber),
}

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentScan {
    pub frames: Vec<FrameAt>,
    /// Damages that have a valid frame after them, in order.
    pub damages: Vec<Damage>,
    /// Where the last valid frame ends.
    pub end: usize,
    /// There are bytes other than zero after `end`.
    pub torn_tail: bool,
    pub seal: Option<Seal>,
    /// The seal agrees with the frames before it.
    pub seal_holds: bool,
    /// The highest sequence number that any frame knew to be durable.
    pub durable_seq: SequenceNumber,
}

/// Reads the frames of a segment's `bytes` up to `limit` (its length, or where it was abandoned).
pub(super) fn scan_segment(bytes: &[u8], limit: usize, salt: u64, first_seq: SequenceNumber) -> SegmentScan {
    let bytes = &bytes[..limit.min(bytes.len())];
    let mut scan = SegmentScan { end: SEGMENT_HEADER_BYTES, ..SegmentScan::default() };
    let mut expected = first_seq;
    let mut rolling_hash = 0;
    let mut at = SEGMENT_HEADER_BYTES;
    while at < bytes.len() && scan.seal.is_none() {
        let (offset, frame) = match fitting_frame(bytes, at, salt, expected) {
            Some(frame) => (at, frame),
            // Frames start on multiples of 8, so that is where a scan for the next one looks.
            None => match find_frame(bytes, at + 8, salt, expected) {
                Some(found) => found,
                None => break,
            },
        };
        if offset > at {
            let last = match frame.head.kind {
                Kind::Batch => SequenceNumber(frame.head.seq.0.saturating_sub(1)),
                Kind::Seal => frame.head.seq,
            };
            scan.damages.push(Damage { bytes: at..offset, missing: (expected, last) });
        }
        scan.durable_seq = scan.durable_seq.max(frame.head.durable_seq);
        match frame.head.kind {
            Kind::Batch => {
                scan.frames.push(FrameAt { seq: frame.head.seq, offset });
                rolling_hash = roll(rolling_hash, frame.checksums);
                expected = frame.head.seq.next();
            }
            Kind::Seal => {
                scan.seal = Seal::from_parts(&frame.head, frame.payload);
                scan.seal_holds = scan.seal.is_some_and(|seal| {
                    seal.num_frames == scan.frames.len() as u64 && seal.rolling_hash == rolling_hash
                });
            }
        }
        at = offset + frame.encoded_bytes;
        scan.end = at;
    }
    scan.torn_tail = bytes[scan.end.min(bytes.len())..].iter().any(|b| *b != 0);
    scan
}

/// The frame at `at`, if it is valid and is the next one of the log.
fn fitting_frame(bytes: &[u8], at: usize, salt: u64, expected: SequenceNumber) -> Option<ValidFrame<'_>> {
    let frame = decode_frame(bytes.get(at..)?, salt)?;
    let fits = match frame.head.kind {
        Kind::Batch => frame.head.seq == expected,
        Kind::Seal => frame.head.seq.next() == expected,
    };
    fits.then_some(frame)
}

/// The first valid frame at or after `from` that can follow a damage.
fn find_frame(
    bytes: &[u8],
    from: usize,
    salt: u64,
    expected: SequenceNumber,
) -> Option<(usize, ValidFrame<'_>)> {
    (from..bytes.len()).step_by(8).find_map(|offset| {
        // The magic is compared first: the scan then costs one comparison for each 8 bytes.
        if bytes.get(offset..offset + 4)? != FRAME_MAGIC {
            return None;
        }
        let frame = decode_frame(&bytes[offset..], salt)?;
        let later = match frame.head.kind {
            Kind::Batch => frame.head.seq >= expected,
            Kind::Seal => frame.head.seq.next() >= expected,
        };
        later.then_some((offset, frame))
    })
}
