//! Identifiers that can only be made by a checking constructor.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A tenant's name, as a credential carries it: `[a-z0-9][a-z0-9_-]{0,62}`.
///
/// The character set leaves no room for path separators, dots, upper case twins or control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Box<str>);

impl TenantId {
    /// The longest accepted id, in bytes.
    pub const MAX_BYTES: usize = 63;

    /// The tenant of a server that runs without authentication.
    pub fn unauthenticated() -> Self {
        Self("default".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let bytes = given.as_bytes();
        let valid = (1..=Self::MAX_BYTES).contains(&bytes.len())
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            && bytes[0].is_ascii_alphanumeric();
        if valid {
            Ok(Self(given.into()))
        } else {
            // The error repeats what was given; a hostile id must not fill a log line.
            let given = given.chars().take(80).collect();
            Err(Error::InvalidTenantId { given })
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The catalog's integer for a tenant, used in WAL frames and directory names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantNumber(pub u32);

impl fmt::Display for TenantNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of an entry in the write-ahead log. The first entry has number 1; 0 means "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a data file: 128 bits, unique for ever, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u128);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The identity of a user table: 128 bits, unique for ever, written as 32 hexadecimal digits. Later tables have larger ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserTableId(pub u128);

impl fmt::Display for UserTableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_that_could_name_a_path_are_refused() {
        let long = "a".repeat(64);
        for bad in ["", ".", "..", "../a", "a/b", "a.b", "%2e%2e", "A", "a b", "a\0", "-a", "_a", "ä", &long]
        {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn plain_tenant_ids_are_accepted_as_given() {
        let longest = "z".repeat(63);
        for good in ["a", "0", "team-a", "team_7", &longest] {
            assert_eq!(good.parse::<TenantId>().map(|t| t.to_string()).ok().as_deref(), Some(good));
        }
    }
}
