//! The blocks that remote files are read in: which ones a range needs, and how its bytes are cut from them. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Size of the blocks of files that are uploaded from here on; a file keeps those that it was uploaded with.
pub(super) const BLOCK_BYTES: u32 = 1 << 20;

/// The blocks that hold `ranges`, each once, in order.
pub(super) fn blocks_of(ranges: &[Range<u64>], block_bytes: u64) -> Vec<u64> {
    let mut blocks: Vec<u64> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .flat_map(|range| range.start / block_bytes..=(range.end - 1) / block_bytes)
        .collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// Where in a file of `size_bytes` a block is.
pub(super) fn range_of(block: u64, block_bytes: u64, size_bytes: u64) -> Range<u64> {
    block * block_bytes..((block + 1) * block_bytes).min(size_bytes)
}

/// The bytes of a range. A range inside one block is not copied.
///
/// # Panics
/// If `blocks` lacks one of [`blocks_of`] the range.
pub(super) fn cut(range: &Range<u64>, blocks: &BTreeMap<u64, Bytes>, block_bytes: u64) -> Bytes {
    let needed = blocks_of(std::slice::from_ref(range), block_bytes);
    let part = |block: u64| {
        let at = block * block_bytes;
        let bytes = &blocks[&block];
        let start = range.start.saturating_sub(at) as usize;
        let end = ((range.end - at) as usize).min(bytes.len());
        bytes.slice(start..end)
    };
    if let [block] = needed[..] {
        return part(block);
    }
    let mut bytes = BytesMut::with_capacity((range.end.saturating_sub(range.start)) as usize);
    for block in needed {
        bytes.extend_from_slice(&part(block));
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests;
