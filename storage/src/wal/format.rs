//! Bytes of a segment header and of a frame. All integers are little endian.
//!
//! ```text
//! segment header, 96 bytes               frame, 64 bytes + payload + 4, padded to a multiple of 8
//!   0  magic "ALULAWAL"                    0  magic "ALF1"
//!   8  u32 format version                  4  u32 payload length
//!  12  u32 header length (96)              8  u64 sequence number
//!  16  16 bytes store uuid                16  u64 highest sequence number known durable when this was written
//!  32  u64 salt                           24  u8 kind, u8 signal, u16 flags
//!  40  u64 first sequence number          28  u32 tenant number
//!  48  u64 created, ns since the epoch    32  16 bytes batch id, or zeros
//!  56  u64 last sequence of previous      48  i64 received, ns since the epoch
//!  64  u64 rolling hash of previous       56  u32 rows
//!  72  u64 previous abandoned at byte     60  u32 CRC32(salt, bytes 0..60)
//!  80  12 bytes zero                      64  payload
//!  92  u32 CRC32(bytes 0..92)              .  u32 CRC32(salt, sequence number, payload)
//! ```

use alula_catalog::{SequenceNumber, Signal, TenantNumber};
use bytes::Bytes;

use super::salt::Salt;
use crate::BatchId;

pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"ALULAWAL";
pub(super) const FORMAT_VERSION: u32 = 1;
pub(super) const SEGMENT_HEADER_BYTES: usize = 96;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"ALF1";
pub(super) const FRAME_HEADER_BYTES: usize = 64;
/// The previous segment was written to its end.
pub(super) const NOT_ABANDONED: u64 = u64::MAX;

/// The largest payload of a frame. Checked before anything is allocated for it.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 96 * 1024 * 1024;

/// The batch id of a frame that has none.
const NO_BATCH_ID: [u8; 16] = [0; 16];
/// The payload starts with a list of refused records: a u32 count, then a u32 for each.
const FLAG_REJECTED: u16 = 1;
const KNOWN_FLAGS: u16 = FLAG_REJECTED;

/// What a segment says about itself and the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub store_uuid: [u8; 16],
    pub salt: u64,
    pub first_seq: SequenceNumber,
    pub created_ns: u64,
    pub previous_last_seq: SequenceNumber,
    pub previous_rolling_hash: u64,
    /// Bytes of the previous segment from here on are void: a write or sync there failed and was never acknowledged.
    pub previous_abandoned_at: u64,
}

/// Why the bytes are not a segment header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    TooShort,
    Magic,
    Version(u32),
    Checksum,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(SEGMENT_HEADER_BYTES as u32).to_le_bytes());
        out[16..32].copy_from_slice(&self.store_uuid);
        out[32..40].copy_from_slice(&self.salt.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_seq.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.created_ns.to_le_bytes());
        out[56..64].copy_from_slice(&self.previous_last_seq.0.to_le_bytes());
        out[64..72].copy_from_slice(&self.previous_rolling_hash.to_le_bytes());
        out[72..80].copy_from_slice(&self.previous_abandoned_at.to_le_bytes());
        let crc = crc32fast::hash(&out[..92]);
        out[92..96].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::TooShort)?;
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Magic);
        }
        // The checksum comes before the version, so every later version must have it in the same place: a flipped bit is
        // damage and no newer format.
        if crc32fast::hash(&bytes[..92]) != u32_at(bytes, 92) {
            return Err(HeaderError::Checksum);
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        Ok(Self {
            store_uuid: array_at(bytes, 16),
            salt: u64_at(bytes, 32),
            first_seq: SequenceNumber(u64_at(bytes, 40)),
            created_ns: u64_at(bytes, 48),
            previous_last_seq: SequenceNumber(u64_at(bytes, 56)),
            previous_rolling_hash: u64_at(bytes, 64),
            previous_abandoned_at: u64_at(bytes, 72),
        })
    }
}

/// One entry of the log, before it has a place in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub seq: SequenceNumber,
    pub signal: Signal,
    pub tenant: TenantNumber,
    pub batch_id: Option<BatchId>,
    pub received_ns: i64,
    pub num_rows: u32,
    pub rejected: Vec<u32>,
    pub payload: Bytes,
}

impl Frame {
    /// Bytes that this frame takes in a segment.
    pub(crate) fn encoded_bytes(&self) -> usize {
        padded(payload_bytes(&self.rejected, &self.payload))
    }

    /// Appends the frame to `out`. Returns its two checksums, for the rolling hash.
    pub(super) fn encode_into(
        &self,
        out: &mut Vec<u8>,
        salt: Salt,
        durable_seq: SequenceNumber,
    ) -> (u32, u32) {
        let head = Head {
            payload_bytes: payload_bytes(&self.rejected, &self.payload) as u32,
            seq: self.seq,
            durable_seq,
            kind: Kind::Batch,
            signal: self.signal.code(),
            flags: if self.rejected.is_empty() { 0 } else { FLAG_REJECTED },
            tenant: self.tenant.0,
            batch_id: self.batch_id.map_or(NO_BATCH_ID, BatchId::to_bytes),
            received_ns: self.received_ns,
            num_rows: self.num_rows,
        };
        encode_frame(out, salt, &head, |out| {
            if !self.rejected.is_empty() {
                out.extend_from_slice(&(self.rejected.len() as u32).to_le_bytes());
                for ordinal in &self.rejected {
                    out.extend_from_slice(&ordinal.to_le_bytes());
                }
            }
            out.extend_from_slice(&self.payload);
        })
    }

    /// Rebuilds the frame at the start of `bytes`, which was found to be whole. Its payload shares their memory.
    ///
    /// None if the payload does not fit its flags: written by a version that this one does not know.
    pub(super) fn of_valid(bytes: &Bytes) -> Option<Self> {
        let head = parse_head(bytes.first_chunk()?)?;
        let payload = bytes.get(FRAME_HEADER_BYTES..)?.get(..head.payload_bytes as usize)?;
        if head.flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let (rejected, request) = if head.flags & FLAG_REJECTED == 0 {
            (Vec::new(), payload)
        } else {
            let (count, rest) = payload.split_first_chunk::<4>()?;
            let list_bytes = (u32::from_le_bytes(*count) as usize).checked_mul(4)?;
            let (list, request) = rest.split_at_checked(list_bytes)?;
            (list.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(), request)
        };
        Some(Self {
            seq: head.seq,
            signal: Signal::from_code(head.signal)?,
            tenant: TenantNumber(head.tenant),
            batch_id: BatchId::from_bytes(head.batch_id),
            received_ns: head.received_ns,
            num_rows: head.num_rows,
            rejected,
            payload: bytes.slice_ref(request),
        })
    }
}

/// Bytes of a frame's payload: the request, after the list of refused records if there are any.
pub(crate) fn payload_bytes(rejected: &[u32], request: &[u8]) -> usize {
    let list = if rejected.is_empty() { 0 } else { 4 + 4 * rejected.len() };
    list + request.len()
}

/// What the last frame of a finished segment says: how many frames came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub last_seq: SequenceNumber,
    pub num_frames: u64,
    pub rolling_hash: u64,
}

impl Seal {
    pub(super) fn encode_into(&self, out: &mut Vec<u8>, salt: Salt, durable_seq: SequenceNumber) {
        let head = Head {
            payload_bytes: 16,
            seq: self.last_seq,
            durable_seq,
            kind: Kind::Seal,
            signal: 0,
            flags: 0,
            tenant: 0,
            batch_id: NO_BATCH_ID,
            received_ns: 0,
            num_rows: 0,
        };
        encode_frame(out, salt, &head, |out| {
            out.extend_from_slice(&self.num_frames.to_le_bytes());
            out.extend_from_slice(&self.rolling_hash.to_le_bytes());
        });
    }

    /// Reads the seal at the start of `bytes`, which was found to be whole.
    pub(super) fn of_valid(bytes: &[u8]) -> Option<Self> {
        let head = parse_head(bytes.first_chunk()?)?;
        let payload = bytes.get(FRAME_HEADER_BYTES..)?.get(..head.payload_bytes as usize)?;
        let payload: &[u8; 16] = payload.try_into().ok()?;
        Some(Self { last_seq: head.seq, num_frames: u64_at(payload, 0), rolling_hash: u64_at(payload, 8) })
    }
}

/// Chains the checksums of a segment's frames.
pub(super) fn roll(hash: u64, (header_crc, payload_crc): (u32, u32)) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..12].copy_from_slice(&header_crc.to_le_bytes());
    bytes[12..].copy_from_slice(&payload_crc.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Batch,
    Seal,
}

impl Head {
    /// Bytes from the frame's start to the next one's.
    pub(super) fn encoded_bytes(&self) -> usize {
        padded(self.payload_bytes as usize)
    }
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Seal => 2,
        }
    }
}

/// A frame header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub payload_bytes: u32,
    pub seq: SequenceNumber,
    pub durable_seq: SequenceNumber,
    pub kind: Kind,
    pub signal: u8,
    pub flags: u16,
    pub tenant: u32,
    pub batch_id: [u8; 16],
    pub received_ns: i64,
    pub num_rows: u32,
}

/// Reads the frame header at the start of `bytes`, if an undamaged one is there. Returns its checksum, too.
pub(super) fn decode_head(bytes: &[u8], salt: Salt) -> Option<(Head, u32)> {
    let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
    if header[0..4] != FRAME_MAGIC {
        return None;
    }
    let crc = stored_header_crc(header);
    (salt.checksum(&[], &header[..60]) == crc).then_some(())?;
    Some((parse_head(header)?, crc))
}

/// Checks the payload of the frame at the start of `bytes`. Returns its checksum, and the bytes of the whole frame.
pub(super) fn decode_payload(bytes: &[u8], head: &Head, salt: Salt) -> Option<(u32, usize)> {
    let length = head.payload_bytes as usize;
    let rest = &bytes[FRAME_HEADER_BYTES..];
    let payload = rest.get(..length)?;
    let crc = u32::from_le_bytes(*rest[length..].first_chunk()?);
    (salt.checksum(&head.seq.0.to_le_bytes(), payload) == crc).then_some(())?;
    // The padding may be cut off: it carries nothing.
    Some((crc, padded(length).min(bytes.len())))
}

/// What a frame header says, whether or not its checksum holds. None if it is of no kind that this version knows.
pub(super) fn parse_head(header: &[u8; FRAME_HEADER_BYTES]) -> Option<Head> {
    let kind = match header[24] {
        1 => Kind::Batch,
        2 => Kind::Seal,
        _ => return None,
    };
    Some(Head {
        payload_bytes: u32_at(header, 4),
        seq: SequenceNumber(u64_at(header, 8)),
        durable_seq: SequenceNumber(u64_at(header, 16)),
        kind,
        signal: header[25],
        flags: u16::from_le_bytes([header[26], header[27]]),
        tenant: u32_at(header, 28),
        batch_id: array_at(header, 32),
        received_ns: u64_at(header, 48) as i64,
        num_rows: u32_at(header, 56),
    })
}

pub(super) fn stored_header_crc(header: &[u8; FRAME_HEADER_BYTES]) -> u32 {
    u32_at(header, 60)
}

fn encode_frame(
    out: &mut Vec<u8>,
    salt: Salt,
    head: &Head,
    write_payload: impl FnOnce(&mut Vec<u8>),
) -> (u32, u32) {
    let start = out.len();
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&head.payload_bytes.to_le_bytes());
    out.extend_from_slice(&head.seq.0.to_le_bytes());
    out.extend_from_slice(&head.durable_seq.0.to_le_bytes());
    out.extend_from_slice(&[head.kind.code(), head.signal]);
    out.extend_from_slice(&head.flags.to_le_bytes());
    out.extend_from_slice(&head.tenant.to_le_bytes());
    out.extend_from_slice(&head.batch_id);
    out.extend_from_slice(&head.received_ns.to_le_bytes());
    out.extend_from_slice(&head.num_rows.to_le_bytes());
    let header_crc = salt.checksum(&[], &out[start..]);
    out.extend_from_slice(&header_crc.to_le_bytes());
    let payload_start = out.len();
    write_payload(out);
    debug_assert_eq!(out.len() - payload_start, head.payload_bytes as usize);
    let payload_crc = salt.checksum(&head.seq.0.to_le_bytes(), &out[payload_start..]);
    out.extend_from_slice(&payload_crc.to_le_bytes());
    out.resize(start + padded(head.payload_bytes as usize), 0);
    (header_crc, payload_crc)
}

/// Bytes of a frame with a payload of this length.
fn padded(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes + 4).next_multiple_of(8)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the offset is inside a fixed-size header")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests;
