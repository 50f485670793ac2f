//! What a client has chosen for its statements: the profile of the wire, the default schema and more.
//!
//! A session carries them from call to call, and a handle or ticket keeps those it was made under, so that a statement
//! means the same wherever and by whomever of the caller's programs it is run.

use std::time::Duration;

use alula_catalog::SequenceNumber;
use alula_storage::table::{SCHEMA_NAME, SYSTEM_SCHEMA_NAME};
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use prost::Message;

use crate::parts::Part;
use crate::transaction::Transaction;
use crate::wire::Profile;

/// The schemas that a table without one may be looked for in.
pub(crate) const SCHEMAS: [&str; 3] = [SCHEMA_NAME, SYSTEM_SCHEMA_NAME, INFORMATION_SCHEMA];

/// Choices that hold for a statement.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct Settings {
    /// Set by hand; otherwise the user agent decides.
    #[prost(enumeration = "Profile", optional, tag = "1")]
    pub(crate) wire_profile: Option<i32>,
    /// Where a table without a schema is looked for; empty for `public`.
    #[prost(string, tag = "2")]
    pub(crate) schema: String,
    /// Whether a query goes on with the rows that come after it.
    #[prost(bool, tag = "3")]
    pub(crate) tail: bool,
    /// The entry of the log after which a tail begins; none for the last one when it is asked for.
    #[prost(uint64, optional, tag = "4")]
    pub(crate) tail_from: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) statement_timeout_ms: Option<u64>,
    /// Of a statement; a session has none.
    #[prost(message, optional, tag = "6")]
    pub(crate) transaction: Option<Transaction>,
    /// How many endpoints an answer may have at most; 0 for the one that most clients expect.
    #[prost(uint32, tag = "7")]
    pub(crate) endpoints: u32,
    /// Of a ticket that is one of several; a session has none.
    #[prost(message, optional, tag = "8")]
    pub(crate) part: Option<Part>,
}

impl Settings {
    pub(crate) fn schema(&self) -> &str {
        if self.schema.is_empty() { SCHEMA_NAME } else { &self.schema }
    }

    /// The longest that a statement may run, if the server lets it run for `limit`.
    pub(crate) fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        self.statement_timeout_ms.map(Duration::from_millis).into_iter().chain(limit).min()
    }

    /// The last entry whose rows a statement sees; none for all that there are.
    pub(crate) fn as_of(&self) -> Option<SequenceNumber> {
        let of_transaction =
            || self.transaction.as_ref().map(|transaction| SequenceNumber(transaction.as_of));
        self.part.as_ref().map(Part::as_of).or_else(of_transaction)
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints.max(1) as usize
    }
}
