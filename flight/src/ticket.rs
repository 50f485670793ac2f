//! Tickets and prepared statement handles: what a client brings back later, signed.
//!
//! The server keeps nothing: a handle holds the statement and its bound parameters, so any server with the same key
//! can answer it. It carries no authority either. The request's own principal decides what is read, and a handle of
//! another tenant or another caller is as unknown as a forged one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alula_auth::Principal;
use bytes::Bytes;
use prost::Message;

use crate::settings::Settings;
use crate::{Error, Result};

/// How long a ticket or handle is good for.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);

const VERSION: u32 = 1;

/// What a signed statement may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Unspecified = 0,
    /// Fetching rows.
    Ticket = 1,
    /// Binding parameters and asking for a ticket; fetching rows too, as C++ and Java clients do.
    Prepared = 2,
}

/// A statement with its bound parameters, and how it is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedStatement {
    pub(crate) sql: String,
    /// An Arrow IPC stream of one row, or empty if nothing is bound.
    pub(crate) parameters: Bytes,
    pub(crate) settings: Settings,
}

impl SignedStatement {
    /// A statement as it was written: no values yet.
    pub(crate) fn unbound(sql: String, settings: Settings) -> Self {
        Self { sql, parameters: Bytes::new(), settings }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(enumeration = "Kind", tag = "2")]
    kind: i32,
    #[prost(string, tag = "3")]
    tenant: String,
    #[prost(string, tag = "4")]
    subject: String,
    #[prost(string, tag = "5")]
    sql: String,
    #[prost(bytes = "bytes", tag = "6")]
    parameters: Bytes,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "7")]
    expires: u64,
    #[prost(message, required, tag = "8")]
    settings: Settings,
}

#[derive(Clone, PartialEq, Message)]
struct Signed {
    #[prost(bytes = "bytes", tag = "1")]
    body: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    mac: Bytes,
}

/// Signs and checks handles.
pub(crate) struct Signer {
    key: [u8; 32],
}

impl Signer {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { key: blake3::derive_key("alula flight 2026 tickets and prepared statement handles", secret) }
    }

    pub(crate) fn sign(&self, kind: Kind, principal: &Principal, statement: SignedStatement) -> Bytes {
        let body = Body {
            version: VERSION,
            kind: kind.into(),
            tenant: principal.tenant().to_string(),
            subject: principal.subject().to_owned(),
            sql: statement.sql,
            parameters: statement.parameters,
            expires: unix_seconds(SystemTime::now() + LIFETIME),
            settings: statement.settings,
        };
        self.seal(&body)
    }

    /// # Errors
    /// `UnknownHandle` — forged, altered, expired, of another kind, or not this caller's: all the same to a client.
    pub(crate) fn verify(
        &self,
        kinds: &[Kind],
        principal: &Principal,
        handle: &[u8],
    ) -> Result<SignedStatement> {
        self.open(handle)
            .filter(|body| {
                body.version == VERSION
                    && kinds.contains(&body.kind())
                    && body.tenant == principal.tenant().as_str()
                    && body.subject == principal.subject()
                    && unix_seconds(SystemTime::now()) < body.expires
            })
            .map(|body| SignedStatement {
                sql: body.sql,
                parameters: body.parameters,
                settings: body.settings,
            })
            .ok_or(Error::UnknownHandle)
    }

    fn seal(&self, body: &Body) -> Bytes {
        let body = Bytes::from(body.encode_to_vec());
        let mac = Bytes::copy_from_slice(blake3::keyed_hash(&self.key, &body).as_bytes());
        Signed { body, mac }.encode_to_vec().into()
    }

    fn open(&self, handle: &[u8]) -> Option<Body> {
        let Signed { body, mac } = Signed::decode(handle).ok()?;
        let mac: [u8; 32] = mac.as_ref().try_into().ok()?;
        // `blake3::Hash` compares in constant time.
        let genuine = blake3::keyed_hash(&self.key, &body) == blake3::Hash::from_bytes(mac);
        genuine.then(|| Body::decode(body).ok()).flatten()
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests;
