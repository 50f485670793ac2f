//! The identity of a series: a hash that is stored and must not change.
//!
//! `series_id` is XXH3-64 with seed 0 over these parts in this order: resource attributes, scope name, scope version,
//! scope attributes, metric name, unit, type, temporality, `true` or `false` for monotonic, point attributes.
//! Attributes are their canonical JSON text. A part is written as the byte 1, its length as 64-bit little endian and
//! its bytes; a part that is absent as the byte 0. So no two lists of parts have the same bytes.

use xxhash_rust::xxh3::Xxh3Default;

/// The hash of the parts given so far. What points share is hashed once: a resource may be nearly as long as its
/// request and have a million points, or a million scopes.
#[derive(Clone)]
pub(super) struct SeriesHasher(Xxh3Default);

impl SeriesHasher {
    pub(super) fn new() -> Self {
        Self(Xxh3Default::new())
    }

    /// The hash that goes on with these parts.
    pub(super) fn with(&self, parts: &[Option<&str>]) -> Self {
        let mut hasher = self.0.clone();
        for part in parts {
            match part {
                None => hasher.update(&[0]),
                Some(part) => {
                    let mut head = [1; 9];
                    head[1..].copy_from_slice(&(part.len() as u64).to_le_bytes());
                    hasher.update(&head);
                    hasher.update(part.as_bytes());
                }
            }
        }
        Self(hasher)
    }

    pub(super) fn id(&self, point_attributes: &str) -> u64 {
        self.with(&[Some(point_attributes)]).0.digest()
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn hashing_in_steps_gives_the_hash_of_the_whole() {
        for length in [0, 1, 100, 239, 240, 241, 1023, 1024, 1025, 100_000] {
            let text = "x".repeat(length);
            // As docs/formats.md states it, over one buffer.
            let part = [&[1], &(length as u64).to_le_bytes()[..], text.as_bytes()].concat();
            let whole = xxh3_64(&[&part[..], &[0], &part, &part].concat());
            let hasher = SeriesHasher::new().with(&[Some(&text)]).with(&[None, Some(&text)]);
            assert_eq!(hasher.id(&text), whole, "{length}");
            assert_eq!(hasher.id(&text), whole, "{length}: the shared parts stay as they were");
        }
    }
}
