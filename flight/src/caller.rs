//! Who calls and how: what the headers of a call say, read once.

use std::sync::Arc;

use alula_auth::Principal;
use tonic::Request as Call;
use tonic::metadata::MetadataMap;

use crate::command::cut;
use crate::parts::number_of_parts;
use crate::session::Sessions;
use crate::session::options::{NOW, boolean_text};
use crate::settings::{SCHEMAS, Settings};
use crate::wire::Profile;
use crate::{Error, Result};

/// Names a profile of the wire for one call, before the session and the user agent.
const PROFILE_HEADER: &str = "x-arrow-profile";

/// Make a tail of the queries of one call, and say where it begins; before the session. The second of each is what an unknown
/// property in the URL of a driver becomes.
const TAIL_HEADERS: [&str; 2] = ["x-alula-tail", "tail"];
const TAIL_FROM_HEADERS: [&str; 2] = ["x-alula-tail-from", "tail_from"];

/// How many endpoints the answer to one call may have; before the session. By two names for the same reason.
const ENDPOINTS_HEADERS: [&str; 2] = ["x-alula-endpoints", "endpoints"];

/// The default schema of a client whose session has none. Other such headers (`catalog`, `database`, `bucket`,
/// `bucket-name`, `iox-namespace-name`) can say nothing here: there is one catalog, and the tenant comes from the credential.
const SCHEMA_HEADER: &str = "schema";

/// The maker of a call.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Arc<Principal>,
    /// With the profile filled in.
    pub(crate) settings: Settings,
}

impl Caller {
    /// The caller, who may read.
    ///
    /// # Errors
    /// `Auth` — it is not known, or may not read. `UnknownSession` — it brings one that is not its own. `UnknownProfile`,
    /// `InvalidHeader` — a header has no value that it may have.
    pub(crate) fn reader<T>(call: &Call<T>, sessions: &Sessions) -> Result<Self> {
        let principal = reading_principal(call)?;
        let session = sessions.of(call.metadata(), &principal)?;
        let settings = settings(call.metadata(), session.unwrap_or_default())?;
        Ok(Self { principal, settings })
    }
}

/// Who calls, if that may read.
pub(crate) fn reading_principal<T>(call: &Call<T>) -> Result<Arc<Principal>> {
    let principal = alula_auth::principal_of(call.extensions())?;
    principal.require_read()?;
    Ok(principal)
}

fn settings(headers: &MetadataMap, mut settings: Settings) -> Result<Settings> {
    if let Some(name) = header(headers, PROFILE_HEADER) {
        settings.set_wire_profile(
            Profile::named(name).ok_or_else(|| Error::UnknownProfile { given: cut(name).to_owned() })?,
        );
    } else if settings.wire_profile.is_none() {
        let agent = header(headers, "user-agent").unwrap_or_default();
        settings.set_wire_profile(Profile::of_user_agent(agent));
    }
    if settings.schema.is_empty()
        && let Some(schema) = SCHEMAS.into_iter().find(|name| header(headers, SCHEMA_HEADER) == Some(name))
    {
        schema.clone_into(&mut settings.schema);
    }
    if let Some((name, value)) = first(headers, TAIL_HEADERS) {
        let expected = "true or false";
        settings.tail = boolean_text(value).ok_or_else(|| Error::InvalidHeader {
            name,
            given: cut(value).to_owned(),
            expected,
        })?;
    }
    if let Some((name, value)) = first(headers, TAIL_FROM_HEADERS) {
        let expected = "now or a value of ingest_seq";
        let invalid = |_| Error::InvalidHeader { name, given: cut(value).to_owned(), expected };
        let is_now = value.eq_ignore_ascii_case(NOW);
        settings.tail_from = if is_now { None } else { Some(value.parse().map_err(invalid)?) };
    }
    if let Some((name, value)) = first(headers, ENDPOINTS_HEADERS) {
        let expected = "a number from 1 to 64";
        let invalid = || Error::InvalidHeader { name, given: cut(value).to_owned(), expected };
        settings.endpoints = value.parse().ok().and_then(number_of_parts).ok_or_else(invalid)?;
    }
    Ok(settings)
}

fn first<'a>(headers: &'a MetadataMap, names: [&'static str; 2]) -> Option<(&'static str, &'a str)> {
    names.into_iter().find_map(|name| Some((name, header(headers, name)?)))
}

fn header<'a>(headers: &'a MetadataMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
