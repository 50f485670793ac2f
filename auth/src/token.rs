//! [`Issuer`]: makes tokens, signed by this server's own key.

use std::fmt;
use std::time::Duration;

use alula_catalog::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use crate::keys::random;
use crate::{Error, KeyStore, Result, Role, Roles};

/// `iss` of every token made here.
pub(crate) const ISSUER: &str = "alula";
/// `aud` of every token meant for this service.
pub(crate) const AUDIENCE: &str = "alula";
/// `typ` of an access token, so that nothing else signed by the same key passes for one.
///
/// Source: RFC 9068 section 2.1.
pub(crate) const TOKEN_TYPE: &str = "at+jwt";

const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_TTL: Duration = Duration::from_hours(10 * 365 * 24);
const MAX_SUBJECT_BYTES: usize = 255;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    tenant: &'a str,
    roles: Vec<&'static str>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// Makes tokens with the key that was newest when it was built.
pub struct Issuer {
    header: Header,
    key: EncodingKey,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("kid", &self.header.kid).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Takes the store's signing key, which is made on first use. Blocks on SQLite.
    pub fn new(store: &KeyStore) -> Result<Self> {
        let signing = store.signing_key()?;
        let mut header = Header::new(signing.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(signing.kid);
        Ok(Self { header, key: signing.key })
    }

    /// Makes a token with which `subject` acts on `tenant` for `ttl` from this second on.
    ///
    /// Bounds: `ttl` from 1 second to 10 years; `subject` up to 255 bytes, without control characters.
    ///
    /// # Errors
    /// `InvalidTtl`, `InvalidSubject`, `NoRoles` — ask for something else.
    pub fn issue(&self, tenant: &TenantId, subject: &str, roles: Roles, ttl: Duration) -> Result<String> {
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Err(Error::InvalidTtl { given: ttl, min: MIN_TTL, max: MAX_TTL });
        }
        if !is_valid_subject(subject) {
            return Err(Error::InvalidSubject { max_bytes: MAX_SUBJECT_BYTES });
        }
        if roles.is_empty() {
            return Err(Error::NoRoles);
        }
        let now = now_s();
        let claims = Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: subject,
            tenant: tenant.as_str(),
            roles: roles.iter().map(Role::as_str).collect(),
            iat: now,
            nbf: now,
            exp: now + ttl.as_secs(),
            jti: URL_SAFE_NO_PAD.encode(random::<16>()?),
        };
        encode(&self.header, &claims, &self.key).map_err(Error::Signing)
    }
}

/// Whether a subject can be shown in logs and errors as it is.
pub(crate) fn is_valid_subject(subject: &str) -> bool {
    (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.chars().any(char::is_control)
}

/// Seconds since the epoch, as the time claims of a token count them.
pub(crate) fn now_s() -> u64 {
    // A clock before 1970 counts as 1970: every token is then refused as not yet valid.
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
