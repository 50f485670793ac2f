//! The checksum of everything that storage keeps: BLAKE3, cut to 128 bits.
//!
//! The catalog, footers, backups and the log have it as these 16 bytes, or as 32 digits of text.

/// Computes the checksum of bytes that come in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(blake3::Hasher);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all bytes so far.
    pub(crate) fn checksum(&self) -> [u8; 16] {
        cut(&self.0.finalize())
    }
}

pub(crate) fn checksum_of(bytes: &[u8]) -> [u8; 16] {
    cut(&blake3::hash(bytes))
}

/// A checksum as text.
pub(crate) fn digits(checksum: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(checksum))
}

fn cut(hash: &blake3::Hash) -> [u8; 16] {
    let mut checksum = [0; 16];
    checksum.copy_from_slice(&hash.as_bytes()[..16]);
    checksum
}
