//! The checksum that a file has of itself, in its footer: whoever has the file and no catalog can tell whether it is whole.
//!
//! It is that of the file with the 32 digits of the checksum as zeros, and they are put in place of the zeros afterwards. So the end of
//! the file, from the page indexes on, waits in memory until all of it is there.

/// The footer's key. It is written last of ours, so that its last occurrence in a file is this one, whatever the rows are.
pub(super) const KEY: &str = "alula.checksum";
/// The value until it is known.
pub(super) const UNKNOWN: &str = "00000000000000000000000000000000";

/// Between a key and a value of 32 bytes, in the encoding of Parquet's footer: the next field is text, and so long.
const BETWEEN: [u8; 2] = [0x18, 32];

/// Where the value of the key stands in `bytes`, which end where the file does.
pub(super) fn place_of(bytes: &[u8]) -> Option<usize> {
    let pattern = [KEY.as_bytes(), &BETWEEN].concat();
    let at = bytes.windows(pattern.len()).rposition(|window| window == pattern)?;
    let place = at + pattern.len();
    (place + UNKNOWN.len() <= bytes.len()).then_some(place)
}
