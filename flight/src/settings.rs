//! What a client has chosen for its statements: the profile of the wire, the default schema and more.
//!
//! A session carries them from call to call, and a handle or ticket keeps those it was made under, so that a statement
//! means the same wherever and by whomever of the caller's programs it is run.

use alula_storage::table::SCHEMA_NAME;
use prost::Message;

use crate::wire::Profile;

/// Choices that hold for a statement.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct Settings {
    /// Set by hand; otherwise the user agent decides.
    #[prost(enumeration = "Profile", optional, tag = "1")]
    pub(crate) wire_profile: Option<i32>,
    /// Where a table without a schema is looked for; empty for `public`.
    #[prost(string, tag = "2")]
    schema: String,
}

impl Settings {
    pub(crate) fn schema(&self) -> &str {
        if self.schema.is_empty() { SCHEMA_NAME } else { &self.schema }
    }
}
