//! Who calls and how: what the headers of a call say, read once.

use std::sync::Arc;

use alula_auth::Principal;
use tonic::Request as Call;
use tonic::metadata::MetadataMap;

use crate::settings::Settings;
use crate::wire::Profile;
use crate::{Error, Result};

/// Names a profile of the wire for one call, before the session and the user agent.
const PROFILE_HEADER: &str = "x-arrow-profile";

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
    /// `Auth` — it is not known, or may not read. `UnknownProfile` — its header names none.
    pub(crate) fn reader<T>(call: &Call<T>) -> Result<Self> {
        let principal = alula_auth::principal_of(call.extensions())?;
        principal.require_read()?;
        let mut settings = Settings::default();
        if let Some(name) = header(call.metadata(), PROFILE_HEADER) {
            settings.set_wire_profile(
                Profile::named(name).ok_or_else(|| Error::UnknownProfile { given: cut(name) })?,
            );
        } else if settings.wire_profile.is_none() {
            let agent = header(call.metadata(), "user-agent").unwrap_or_default();
            settings.set_wire_profile(Profile::of_user_agent(agent));
        }
        Ok(Self { principal, settings })
    }
}

fn header<'a>(headers: &'a MetadataMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
