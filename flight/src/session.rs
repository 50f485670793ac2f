//! Sessions: settings that a client keeps for its later calls.
//!
//! The server keeps nothing: a session is its settings, sealed, and any server with the same key reads it. It comes in two
//! carriers, as not every client has both:
//! - the cookie `alula_session`;
//! - the bearer token: the answer that makes or changes a session has the header `authorization: Bearer <token>~<session>`,
//!   which ADBC sends from then on. The gate looks at the token alone.
//!
//! A client with neither has no session: nothing is shared between calls that the client did not bring along.
//! A session adds no right. One that is forged, altered, expired or another caller's is refused and not ignored, as
//! statements would mean something else without it; closing it works in any case.
//!
//! | file | purpose |
//! |---|---|
//! | `options.rs` | the options of a session by name |
//! | `messages.rs` | the messages about sessions, which arrow-flight lacks |

pub(crate) mod messages;
pub(crate) mod options;

use std::time::Duration;

use alula_auth::{Principal, behind_token, token_of};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use prost::Message;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::seal::{Owner, Seal};
use crate::settings::Settings;
use crate::{Error, Result};

const COOKIE: &str = "alula_session";

/// How long a session is good for after it was changed last.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

/// The longest session that is looked at.
const MAX_BYTES: usize = 4 << 10;

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(message, required, tag = "1")]
    owner: Owner,
    #[prost(message, required, tag = "2")]
    settings: Settings,
}

/// Reads sessions, and makes them.
pub(crate) struct Sessions {
    seal: Seal,
}

impl Sessions {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { seal: Seal::new("alula flight 2026 sessions", secret) }
    }

    /// The settings of the session that a call belongs to; none if it belongs to no session.
    ///
    /// # Errors
    /// `UnknownSession` — see the module.
    pub(crate) fn of(&self, headers: &MetadataMap, principal: &Principal) -> Result<Option<Settings>> {
        let behind_token = behind_token(headers.as_ref()).filter(|session| !session.is_empty());
        let Some(session) = cookie(headers).or(behind_token) else { return Ok(None) };
        let sealed = Some(session).filter(|session| session.len() <= MAX_BYTES);
        let sealed = sealed.and_then(|session| BASE64_URL_SAFE_NO_PAD.decode(session).ok());
        let body = sealed.and_then(|sealed| self.seal.open::<Body>(&sealed));
        let body = body.filter(|body| body.owner.is(principal) && !body.owner.is_expired());
        body.map(|body| Some(body.settings)).ok_or(Error::UnknownSession)
    }

    /// What has the client keep `settings`: headers for the answer to a call with `headers`.
    pub(crate) fn keep(
        &self,
        headers: &MetadataMap,
        principal: &Principal,
        settings: Settings,
    ) -> MetadataMap {
        let sealed = self.seal.seal(&Body { owner: Owner::new(principal, LIFETIME), settings });
        carriers(headers, &BASE64_URL_SAFE_NO_PAD.encode(sealed), LIFETIME)
    }
}

/// What has the client forget its session.
pub(crate) fn forget(headers: &MetadataMap) -> MetadataMap {
    // A token that has no session need not be given back.
    if behind_token(headers.as_ref()).is_none() && cookie(headers).is_none() {
        return MetadataMap::new();
    }
    carriers(headers, "", Duration::ZERO)
}

/// Both carriers of a session, or of its end.
fn carriers(headers: &MetadataMap, session: &str, lifetime: Duration) -> MetadataMap {
    let mut carriers = MetadataMap::new();
    let cookie = format!("{COOKIE}={session}; Path=/; Max-Age={}; HttpOnly", lifetime.as_secs());
    let token = token_of(headers.as_ref()).unwrap_or_default();
    let separator = if session.is_empty() && !token.is_empty() { "" } else { "~" };
    for (name, value) in
        [("set-cookie", cookie), ("authorization", format!("Bearer {token}{separator}{session}"))]
    {
        // A server without authentication takes any token, also one that fits no header.
        if let Some(value) = secret(&value) {
            carriers.insert(name, value);
        }
    }
    carriers
}

/// A header whose value stays out of what prints headers.
pub(crate) fn secret(value: &str) -> Option<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = value.parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The session in the cookies of a call. Java writes the value in quotes.
fn cookie(headers: &MetadataMap) -> Option<&str> {
    let cookies = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let value = cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then(|| value.trim_matches('"'))
    });
    value.filter(|session| !session.is_empty())
}

#[cfg(test)]
mod tests;
