//! The salt of a segment, as the checksums of its frames see it.
//!
//! Every checksum starts with the 8 bytes of the salt, so all that matters of them is the CRC that they leave behind: 32 bits,
//! which any frame header gives away, because a CRC can be run backwards over bytes that are known. So the frames of a
//! segment can be told from noise even where its header is gone.

use std::collections::HashMap;

use super::format::{FRAME_HEADER_BYTES, FRAME_MAGIC, decode_payload, parse_head, stored_header_crc};

/// The CRC of a salt's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn new(salt: u64) -> Self {
        Self(crc32fast::hash(&salt.to_le_bytes()))
    }

    /// The checksum of `prefix` and `bytes` in a segment with this salt.
    pub(super) fn checksum(self, prefix: &[u8], bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(prefix);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// The salt with which `bytes` have this checksum: there is exactly one.
    fn of_checksum(bytes: &[u8], checksum: u32) -> Self {
        let start = bytes.iter().rev().fold(!checksum, |state, byte| {
            // The top bytes of the table's entries are all different, so the entry that was used can be told.
            let index = (0..=u8::MAX).find(|i| CRC_TABLE[usize::from(*i)] >> 24 == state >> 24);
            let index = index.expect("each byte is the top byte of one entry");
            ((state ^ CRC_TABLE[usize::from(index)]) << 8) | u32::from(index ^ byte)
        });
        Self(!start)
    }

    /// The salt of the frames in `bytes`: the one with which most of them are whole.
    pub(super) fn of_frames(bytes: &[u8]) -> Option<Self> {
        let mut votes: HashMap<Self, usize> = HashMap::new();
        let mut at = 0;
        while let Some(header) = bytes.get(at..).and_then(<[u8]>::first_chunk::<FRAME_HEADER_BYTES>) {
            let mut next = at + 8;
            if header[..4] == FRAME_MAGIC
                && let Some(head) = parse_head(header)
            {
                let salt = Self::of_checksum(&header[..60], stored_header_crc(header));
                if let Some((_, encoded_bytes)) = decode_payload(&bytes[at..], &head, salt) {
                    *votes.entry(salt).or_default() += 1;
                    next = at + encoded_bytes.next_multiple_of(8);
                }
            }
            at = next;
        }
        votes.into_iter().max_by_key(|(salt, votes)| (*votes, salt.0)).map(|(salt, _)| salt)
    }
}

/// CRC-32 as of IEEE 802.3, reflected: what a byte does to the state.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut entry = index as u32;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { (entry >> 1) ^ 0xedb8_8320 } else { entry >> 1 };
            bit += 1;
        }
        table[index] = entry;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests;
