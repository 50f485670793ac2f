//! Tickets and prepared statement handles: what a client brings back later, signed.
//!
//! The server keeps nothing: a handle holds the statement and its bound parameters, so any server with the same key
//! can answer it. It carries no authority either. The request's own principal decides what is read, and a handle of
//! another tenant or another caller is as unknown as a forged one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alula_auth::Principal;
use arrow::datatypes::Schema;
use bytes::Bytes;
use prost::Message;

use crate::seal::{Owner, Seal};
use crate::settings::Settings;
use crate::wire::schema_bytes;
use crate::{Error, Result};

/// How long a ticket or handle is good for.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);

const VERSION: u32 = 2;

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
    /// None of a statement whose client knows no columns yet.
    pub(crate) promise: Option<Promise>,
}

impl SignedStatement {
    /// A statement as it was written: no values yet.
    pub(crate) fn unbound(sql: String, settings: Settings) -> Self {
        Self { sql, parameters: Bytes::new(), settings, query_id: String::new(), promise: None }
    }

    /// The same for an answer that tells the columns anew.
    pub(crate) fn without_promise(self) -> Self {
        Self { promise: None, ..self }
    }
}

/// Which columns a client was told of, as a hash of their schema on the wire: until it fetches rows, a table of the tenant's
/// own may be dropped and made anew.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub(crate) enum Promise {
    /// As far as they are known before values are bound.
    #[prost(fixed64, tag = "8")]
    Unbound(u64),
    #[prost(fixed64, tag = "9")]
    Bound(u64),
}

impl Promise {
    pub(crate) fn unbound(schema: &Schema) -> Result<Self> {
        Ok(Self::Unbound(fingerprint(schema)?))
    }

    pub(crate) fn bound(schema: &Schema) -> Result<Self> {
        Ok(Self::Bound(fingerprint(schema)?))
    }
}

fn fingerprint(schema: &Schema) -> Result<u64> {
    let hash = blake3::hash(&schema_bytes(schema)?);
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    Ok(u64::from_le_bytes(*first))
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(enumeration = "Kind", tag = "2")]
    kind: i32,
    #[prost(message, required, tag = "3")]
    owner: Owner,
    #[prost(string, tag = "4")]
    sql: String,
    #[prost(bytes = "bytes", tag = "5")]
    parameters: Bytes,
    #[prost(message, required, tag = "6")]
    settings: Settings,
    #[prost(string, tag = "7")]
    query_id: String,
    #[prost(oneof = "Promise", tags = "8, 9")]
    promise: Option<Promise>,
    /// Different in every handle, whichever server made it: two clients that prepare the same do not bind each other's.
    #[prost(uint64, tag = "10")]
    nonce: u64,
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
            owner: Owner::new(principal, LIFETIME),
            sql: statement.sql,
            parameters: statement.parameters,
            settings: statement.settings,
            query_id: statement.query_id,
            promise: statement.promise,
            nonce: self.signed.fetch_add(1, Ordering::Relaxed),
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
        if !body.owner.is(principal) {
            return Err(Error::UnknownHandle);
        }
        Ok(SignedStatement {
            sql: body.sql,
            parameters: body.parameters,
            settings: body.settings,
            query_id: body.query_id,
            promise: body.promise,
        })
    }

    /// The query that a ticket is for. An administrator may hold that of another caller of the tenant.
    ///
    /// # Errors
    /// `UnknownHandle` — as for [`Self::verify`].
    pub(crate) fn query_of(&self, principal: &Principal, ticket: &[u8]) -> Result<String> {
        let body = self.genuine(&[Kind::Ticket, Kind::Poll], principal, ticket)?;
        if body.owner.is(principal) || principal.is_admin() {
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
                && body.owner.is_of_tenant_of(principal)
                && !body.owner.is_expired()
        };
        self.seal.open::<Body>(handle).filter(is_good).ok_or(Error::UnknownHandle)
    }
}

#[cfg(test)]
mod tests;
