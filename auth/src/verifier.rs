//! [`Verifier`]: token to principal, or the reason why not.
//!
//! The claims are checked here and not by jsonwebtoken's `Validation`, because its errors say neither when a token
//! expired nor what a claim should have been, and because its defaults leave `nbf`, `iss` and `sub` unchecked.
//!
//! **Order**: shape and size, the key by `kid`, the signature, then the claims. Nothing of the payload is looked at
//! before the signature is known to be right.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use alula_catalog::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, crypto};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::error::excerpt;
use crate::keys::{VerifyingKey, VerifyingKeys};
use crate::token::{AUDIENCE, ISSUER, TOKEN_TYPE, is_valid_subject, now_s};
use crate::{Error, KeyStore, Principal, Result, Roles};

/// The longest token that is looked at.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the clocks of issuer and server may differ.
pub(crate) const LEEWAY_S: u64 = 30;

/// Tokens with made-up key ids must not turn into a stream of database reads.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Checks tokens against keys held in memory.
#[derive(Debug)]
pub struct Verifier {
    keys: Arc<Keys>,
    /// When the keys were last read again. Held while they are read, so that all who wait share one read, whoever of
    /// them goes away meanwhile.
    last_reload: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Keys {
    store: KeyStore,
    /// Guards the current keys; held to copy or replace the pointer, never across an await.
    loaded: RwLock<Arc<VerifyingKeys>>,
}

/// The moment a token is judged at.
#[derive(Clone, Copy)]
struct Now {
    /// For the claims: seconds since the epoch.
    unix_s: u64,
    /// For the reload interval.
    instant: Instant,
}

impl Verifier {
    /// Reads the keys of `store`. Blocks on SQLite.
    pub fn new(store: KeyStore) -> Result<Self> {
        let loaded = RwLock::new(Arc::new(store.verifying_keys()?));
        Ok(Self { keys: Arc::new(Keys { store, loaded }), last_reload: Arc::default() })
    }

    /// The caller that `token` proves.
    ///
    /// An unknown key makes the store be read again, at most once a second, so a key made by another process is
    /// found without a restart.
    ///
    /// # Errors
    /// Kind `Unauthenticated` — the token proves nothing, and the message says why; `Internal` — the key store cannot
    /// be read.
    pub async fn verify(&self, token: &str) -> Result<Principal> {
        self.verify_at(token, Now { unix_s: now_s(), instant: Instant::now() }).await
    }

    async fn verify_at(&self, token: &str, now: Now) -> Result<Principal> {
        let token = Jws::parse(token)?;
        let mut keys = self.keys.loaded();
        if !keys.contains_key(&token.header.kid) {
            keys = self.reload_for(&token.header.kid, now.instant).await?;
        }
        let key = keys
            .get(&token.header.kid)
            .ok_or_else(|| Error::UnknownKey { kid: excerpt(&token.header.kid) })?;
        token.verify_signature(key)?;
        principal(parse_part(token.payload, "the token's claims are not a JSON object")?, now.unix_s)
    }

    /// The keys after a reload, or as they are if the last reload is too recent.
    ///
    /// Cancel: the reload itself goes on and its result is kept.
    async fn reload_for(&self, kid: &str, now: Instant) -> Result<Arc<VerifyingKeys>> {
        let mut last_reload = Arc::clone(&self.last_reload).lock_owned().await;
        let keys = self.keys.loaded();
        let too_recent =
            last_reload.is_some_and(|last| now.saturating_duration_since(last) < MIN_RELOAD_INTERVAL);
        if too_recent || keys.contains_key(kid) {
            return Ok(keys);
        }
        *last_reload = Some(now);
        let keys = Arc::clone(&self.keys);
        let reload = move || {
            let _last_reload = last_reload;
            keys.reload()
        };
        spawn_blocking(reload).await.map_err(Error::Interrupted)?
    }
}

impl Keys {
    fn loaded(&self) -> Arc<VerifyingKeys> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reload(&self) -> Result<Arc<VerifyingKeys>> {
        let keys = Arc::new(self.store.verifying_keys()?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }
}

/// A token taken apart; nothing in it is proven.
struct Jws<'a> {
    header: Header,
    /// What the signature is over: the encoded header and payload with the dot between.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The parts of a token's header that are read. Keys that a token brings along (`jku`, `jwk`, `x5u`, `x5c`) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

impl<'a> Jws<'a> {
    fn parse(token: &'a str) -> Result<Self> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed("the token is longer than 8 KiB"));
        }
        let shape = || malformed("the token is not a JWT: three base64url parts with dots between");
        let (message, signature) = token.rsplit_once('.').ok_or_else(shape)?;
        let (header, payload) = message.split_once('.').ok_or_else(shape)?;
        if payload.contains('.') {
            return Err(shape());
        }
        let header: Header =
            parse_part(header, "the token's header is not a JSON object with \"alg\", \"kid\" and \"typ\"")?;
        if header.crit {
            return Err(malformed("the token's header has \"crit\", and no extension is supported"));
        }
        if !header.typ.eq_ignore_ascii_case(TOKEN_TYPE) {
            return Err(malformed("the token is not an access token: \"typ\" must be \"at+jwt\""));
        }
        Ok(Self { header, message, payload, signature })
    }

    fn verify_signature(&self, key: &VerifyingKey) -> Result<()> {
        let expected = match key.algorithm {
            Algorithm::HS256 => "HS256",
            _ => "EdDSA",
        };
        if self.header.alg != expected {
            return Err(Error::WrongAlgorithm { given: excerpt(&self.header.alg), expected });
        }
        match crypto::verify(self.signature, self.message.as_bytes(), &key.key, key.algorithm) {
            Ok(true) => Ok(()),
            // The only error left is a signature that is not base64url.
            Ok(false) | Err(_) => Err(Error::WrongSignature),
        }
    }
}

/// The claims that are read. A claim that occurs twice fails the parse.
#[derive(Deserialize)]
struct Claims {
    iss: Option<Value>,
    aud: Option<Value>,
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    tenant: Option<Value>,
    roles: Option<Value>,
}

/// Judges the claims of a token whose signature is right.
fn principal(claims: Claims, now_s: u64) -> Result<Principal> {
    let issuer = string("iss", claims.iss)?;
    let audience = required("aud", claims.aud)?;
    let subject = string("sub", claims.sub)?;
    let expires_s = seconds("exp", claims.exp)?;
    let not_before_s = seconds("nbf", claims.nbf)?;
    let tenant = string("tenant", claims.tenant)?;
    let roles = required("roles", claims.roles)?;
    if issuer != ISSUER {
        return Err(Error::WrongIssuer { expected: ISSUER });
    }
    let is_for_us = match &audience {
        Value::Array(audiences) => audiences.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    if !is_for_us {
        return Err(Error::WrongAudience { expected: AUDIENCE });
    }
    if now_s >= expires_s.saturating_add(LEEWAY_S) {
        return Err(Error::Expired { at: timestamp(expires_s) });
    }
    if not_before_s > now_s.saturating_add(LEEWAY_S) {
        return Err(Error::NotYetValid { from: timestamp(not_before_s) });
    }
    if !is_valid_subject(&subject) {
        return Err(Error::InvalidClaim {
            claim: "sub",
            expected: "a text of 1 to 255 bytes without control characters",
        });
    }
    let tenant: TenantId = tenant.parse().map_err(|source| Error::InvalidTenant { source })?;
    Ok(Principal::new(tenant, subject, parse_roles(&roles)?).until(expires_s))
}

fn required(claim: &'static str, value: Option<Value>) -> Result<Value> {
    value.ok_or(Error::MissingClaim { claim })
}

fn string(claim: &'static str, value: Option<Value>) -> Result<String> {
    match required(claim, value)? {
        Value::String(text) => Ok(text),
        _ => Err(Error::InvalidClaim { claim, expected: "a text" }),
    }
}

fn seconds(claim: &'static str, value: Option<Value>) -> Result<u64> {
    required(claim, value)?
        .as_u64()
        .ok_or(Error::InvalidClaim { claim, expected: "a whole number of seconds since 1970" })
}

fn parse_roles(value: &Value) -> Result<Roles> {
    let invalid = || Error::InvalidClaim { claim: "roles", expected: "an array of role names" };
    let names = value.as_array().ok_or_else(invalid)?;
    names.iter().map(|name| name.as_str().ok_or_else(invalid)?.parse()).collect()
}

fn parse_part<T: DeserializeOwned>(encoded: &str, reason: &'static str) -> Result<T> {
    let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed(reason))?;
    serde_json::from_slice(&decoded).map_err(|_| malformed(reason))
}

fn malformed(reason: &'static str) -> Error {
    Error::MalformedCredential { reason }
}

/// A time to show; one past the year 9999 is shown as the last that can be written.
pub(crate) fn timestamp(unix_s: u64) -> Timestamp {
    i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX)
}

/// True whatever the value is: even `"crit": null` is a header that asks for something.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests;
