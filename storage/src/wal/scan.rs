//! From the bytes of a segment to its frames, and to the numbers that are missing among them.
//!
//! A valid frame is one that was written to this segment under this number, wherever it stands now: pages that changed places
//! cost only the frames that they tear.
//!
//! The scan only describes what is there. Whether what is missing is a torn tail or a loss depends on what the whole log knows
//! to have been durable, and is decided in [`super::recovery`].

use std::collections::HashMap;

use alula_catalog::SequenceNumber;

use super::format::{FRAME_MAGIC, Head, Kind, SEGMENT_HEADER_BYTES, Seal, decode_head, decode_payload, roll};
use super::salt::Salt;

/// Where a valid frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameAt {
    pub seq: SequenceNumber,
    pub offset: usize,
    end: usize,
}

/// Entries of which there is no valid frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Both ends are included.
    pub first: SequenceNumber,
    pub last: SequenceNumber,
    /// Where they should have been.
    pub offset: usize,
    /// Of a single frame whose header is whole, and whose payload is not.
    pub head: Option<Head>,
}

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentScan {
    /// In the order of their numbers.
    pub frames: Vec<FrameAt>,
    /// Before the last number that the segment knows of, in order.
    pub missing: Vec<Missing>,
    /// Where the last frame ends.
    pub end: usize,
    /// The number after the last one that the segment knows of.
    pub next_seq: SequenceNumber,
    /// There are bytes other than zero after `end`.
    pub torn_tail: bool,
    /// There is a seal, and it agrees with the frames or not.
    pub seal: Option<bool>,
    /// The highest sequence number that any frame knew to be durable.
    pub durable_seq: SequenceNumber,
}

/// Reads the frames of a segment's `bytes` up to `limit` (its length, or where it was abandoned).
pub(super) fn scan_segment(bytes: &[u8], limit: usize, salt: Salt, first_seq: SequenceNumber) -> SegmentScan {
    let bytes = &bytes[..limit.min(bytes.len())];
    let mut scan = SegmentScan { end: SEGMENT_HEADER_BYTES, ..SegmentScan::default() };
    let mut damaged = HashMap::new();
    let mut sealed_seq = None;
    let mut rolling_hash = 0;
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some((offset, head, header_crc)) = next_head(bytes, at, salt) {
        scan.durable_seq = scan.durable_seq.max(head.durable_seq);
        let payload = decode_payload(&bytes[offset..], &head, salt);
        let end = offset + payload.map_or(head.encoded_bytes(), |(_, encoded_bytes)| encoded_bytes);
        // What a damaged frame covers may be frames that belong there.
        at = if payload.is_some() { end } else { offset + 8 };
        scan.end = scan.end.max(end.min(bytes.len()));
        match (head.kind, payload) {
            (Kind::Batch, payload) => {
                scan.frames.push(FrameAt { seq: head.seq, offset, end });
                match payload {
                    Some((payload_crc, _)) => rolling_hash = roll(rolling_hash, (header_crc, payload_crc)),
                    None => drop(damaged.insert(offset, head)),
                }
            }
            (Kind::Seal, payload) => {
                let seal = payload.and_then(|_| Seal::of_valid(&bytes[offset..]));
                let frames = (scan.frames.len() as u64, rolling_hash);
                scan.seal = Some(seal.is_some_and(|seal| (seal.num_frames, seal.rolling_hash) == frames));
                sealed_seq = sealed_seq.max(Some(head.seq));
            }
        }
    }
    scan.torn_tail = bytes[scan.end.min(bytes.len())..].iter().any(|b| *b != 0);
    scan.find_missing(first_seq, &damaged, sealed_seq);
    scan.frames.retain(|frame| !damaged.contains_key(&frame.offset));
    scan
}

impl SegmentScan {
    /// Goes through the frames in the order of their numbers; `damaged` are those that are not whole.
    fn find_missing(
        &mut self,
        first_seq: SequenceNumber,
        damaged: &HashMap<usize, Head>,
        sealed_seq: Option<SequenceNumber>,
    ) {
        // Sorted already, unless pages changed places. Of two copies the whole one counts.
        self.frames.sort_by_key(|frame| (frame.seq, damaged.contains_key(&frame.offset)));
        self.frames.dedup_by_key(|frame| frame.seq);
        let mut expected = first_seq;
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut skip = |first: SequenceNumber, next: SequenceNumber, offset, head| {
            if first < next {
                self.missing.push(Missing { first, last: SequenceNumber(next.0 - 1), offset, head });
            }
        };
        for frame in &self.frames {
            skip(expected, frame.seq, offset, None);
            if let Some(head) = damaged.get(&frame.offset) {
                skip(frame.seq, frame.seq.next(), frame.offset, Some(head.clone()));
            }
            (expected, offset) = (expected.max(frame.seq.next()), frame.end);
        }
        let after_seal = sealed_seq.map_or(expected, |sealed| sealed.next().max(expected));
        skip(expected, after_seal, offset, None);
        self.next_seq = after_seal;
    }
}

/// The first undamaged frame header at or after `from`, with its checksum.
fn next_head(bytes: &[u8], from: usize, salt: Salt) -> Option<(usize, Head, u32)> {
    // Frames start on multiples of 8, so that is where a scan for the next one looks.
    (from..bytes.len()).step_by(8).find_map(|offset| {
        // The magic is compared first: the scan then costs one comparison for each 8 bytes.
        if bytes.get(offset..offset + 4)? != FRAME_MAGIC {
            return None;
        }
        decode_head(&bytes[offset..], salt).map(|(head, crc)| (offset, head, crc))
    })
}
