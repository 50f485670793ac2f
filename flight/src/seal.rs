//! Sealed messages: what a client keeps for the server and brings back unaltered.
//!
//! A seal shows that a server with the same key made the message, for the same purpose. It hides nothing. It covers every
//! byte: a field that is unknown to the reader is an alteration too.
//!
//! ```text
//! sealed message = BLAKE3 keyed hash of the message, 32 bytes | message
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alula_auth::Principal;
use bytes::Bytes;
use prost::Message;

/// Seals messages for one purpose.
pub(crate) struct Seal {
    key: [u8; 32],
}

impl Seal {
    /// What is sealed for one purpose does not pass for another.
    pub(crate) fn new(purpose: &str, secret: &[u8; 32]) -> Self {
        Self { key: blake3::derive_key(purpose, secret) }
    }

    pub(crate) fn seal(&self, message: &impl Message) -> Bytes {
        let body = message.encode_to_vec();
        [blake3::keyed_hash(&self.key, &body).as_bytes(), &body[..]].concat().into()
    }

    /// None if it was forged or altered, or sealed for another purpose.
    pub(crate) fn open<M: Message + Default>(&self, sealed: &[u8]) -> Option<M> {
        let (mac, body) = sealed.split_first_chunk()?;
        // `blake3::Hash` compares in constant time.
        let genuine = blake3::keyed_hash(&self.key, body) == blake3::Hash::from_bytes(*mac);
        genuine.then(|| M::decode(body).ok()).flatten()
    }
}

/// Whose a sealed message is, and how long it is good for.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Owner {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    #[prost(string, tag = "2")]
    pub(crate) subject: String,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "3")]
    pub(crate) expires: u64,
}

impl Owner {
    pub(crate) fn new(principal: &Principal, lifetime: Duration) -> Self {
        Self {
            tenant: principal.tenant().to_string(),
            subject: principal.subject().to_owned(),
            expires: unix_seconds(SystemTime::now() + lifetime),
        }
    }

    pub(crate) fn is(&self, principal: &Principal) -> bool {
        self.is_of_tenant_of(principal) && self.subject == principal.subject()
    }

    /// Whatever its subject may be.
    pub(crate) fn is_of_tenant_of(&self, principal: &Principal) -> bool {
        self.tenant == principal.tenant().as_str()
    }

    pub(crate) fn is_expired(&self) -> bool {
        unix_seconds(SystemTime::now()) >= self.expires
    }
}

/// Since the epoch.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
