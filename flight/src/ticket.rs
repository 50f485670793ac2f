//! Tickets and prepared statement handles: what a client brings back later, signed.
//!
//! The server keeps nothing: a handle holds the statement and its bound parameters, so any server with the same key
//! can answer it. It carries no authority either. The request's own principal decides what is read, and a handle of
//! another tenant or another caller is as unknown as a forged one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alula_auth::Principal;
use bytes::Bytes;
use prost::Message;

use crate::seal::Seal;
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
    /// Asking how far a query is.
    Poll = 3,
}

/// A statement with its bound parameters, and how it is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedStatement {
    pub(crate) sql: String,
    /// An Arrow IPC stream of one row, or empty if nothing is bound.
    pub(crate) parameters: Bytes,
    pub(crate) settings: Settings,
    /// The query that it is for; empty in a prepared statement, which is for many.
    pub(crate) query_id: String,
}

impl SignedStatement {
    /// A statement as it was written: no values yet.
    pub(crate) fn unbound(sql: String, settings: Settings) -> Self {
        Self { sql, parameters: Bytes::new(), settings, query_id: String::new() }
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
    /// Different in every handle, whichever server made it: two clients that prepare the same do not bind each other's.
    #[prost(uint64, tag = "9")]
    nonce: u64,
    #[prost(string, tag = "10")]
    query_id: String,
}

/// Signs and checks handles.
pub(crate) struct Signer {
    seal: Seal,
    signed: AtomicU64,
}

impl Signer {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let seal = Seal::new("alula flight 2026 tickets and prepared statement handles", secret);
        // Keys of the standard library's hash are random.
        let first = RandomState::new().hash_one(std::process::id());
        Self { seal, signed: AtomicU64::new(first) }
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
            nonce: self.signed.fetch_add(1, Ordering::Relaxed),
            query_id: statement.query_id,
        };
        self.seal.seal(&body)
    }

    /// # Errors
    /// `UnknownHandle` — forged, altered, expired, of another kind, or not this caller's: all the same to a client.
    pub(crate) fn verify(
        &self,
        kinds: &[Kind],
        principal: &Principal,
        handle: &[u8],
    ) -> Result<SignedStatement> {
        let body = self.genuine(kinds, principal, handle)?;
        if body.subject != principal.subject() {
            return Err(Error::UnknownHandle);
        }
        Ok(SignedStatement {
            sql: body.sql,
            parameters: body.parameters,
            settings: body.settings,
            query_id: body.query_id,
        })
    }

    /// The query that a ticket is for. An administrator may hold that of another caller of the tenant.
    ///
    /// # Errors
    /// `UnknownHandle` — as for [`Self::verify`].
    pub(crate) fn query_of(&self, principal: &Principal, ticket: &[u8]) -> Result<String> {
        let body = self.genuine(&[Kind::Ticket, Kind::Poll], principal, ticket)?;
        if body.subject == principal.subject() || principal.is_admin() {
            Ok(body.query_id)
        } else {
            Err(Error::UnknownHandle)
        }
    }

    /// Whatever its subject may be.
    fn genuine(&self, kinds: &[Kind], principal: &Principal, handle: &[u8]) -> Result<Body> {
        let is_good = |body: &Body| {
            body.version == VERSION
                && kinds.contains(&body.kind())
                && body.tenant == principal.tenant().as_str()
                && unix_seconds(SystemTime::now()) < body.expires
        };
        self.seal.open::<Body>(handle).filter(is_good).ok_or(Error::UnknownHandle)
    }
}

/// Since the epoch.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests;
