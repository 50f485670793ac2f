//! The token inside the HTTP headers of a request.
//!
//! | header | who sends it |
//! |---|---|
//! | `authorization: Bearer <token>` | most clients |
//! | `authorization: Basic <base64 of user:token>` | clients that know user and password alone |
//! | `authorization: ApiKey <token>`, `x-api-key: <token>` | exporters and tools with a field for a key |
//! | `authorization: Token <token>` | clients of `InfluxDB` |
//! | `auth-token-bin: <base64 of the token>` | Flight clients that authenticated the old way |
//!
//! The first of the three headers that is there counts.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::verifier::MAX_TOKEN_BYTES;
use crate::{Error, Result};

/// A header whose whole value is the token.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a Flight client sends after the handshake that has its credential in the body.
///
/// Source: <https://github.com/apache/arrow/blob/main/cpp/src/arrow/flight/transport/grpc/util_internal.h>
pub(crate) const FLIGHT_TOKEN: HeaderName = HeaderName::from_static("auth-token-bin");

/// Ends the token in a bearer credential; what a service has the client keep for it stands behind. It is in no token.
const END_OF_TOKEN: char = '~';

/// Base64 of a user name and a token that are both as long as they may be.
const MAX_BASIC_BYTES: usize = 2 * MAX_TOKEN_BYTES;

/// Some clients pad the value and some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token in the headers of a request.
///
/// The user name of `Basic` is ignored, as the token names its subject; so is what stands behind a `~` in `Bearer`.
///
/// # Errors
/// `NoCredential` — there is none; `MalformedCredential` — it holds no token, or there is more than one.
pub fn token_of(headers: &HeaderMap) -> Result<Cow<'_, str>> {
    let token = if let Some(value) = only(headers, &AUTHORIZATION, "more than one authorization header")? {
        let value = text(value, "the authorization header is not ASCII")?;
        authorized(value)?
    } else if let Some(value) = only(headers, &API_KEY, "more than one x-api-key header")? {
        Cow::Borrowed(text(value, "the x-api-key header is not ASCII")?)
    } else if let Some(value) = only(headers, &FLIGHT_TOKEN, "more than one auth-token-bin header")? {
        let token = decoded(value.as_bytes());
        Cow::Owned(token.ok_or(malformed("auth-token-bin needs base64 of a token"))?)
    } else {
        return Err(Error::NoCredential);
    };
    if token.is_empty() {
        return Err(malformed("the header of the credential holds no token"));
    }
    Ok(token)
}

/// What a service had the client keep for it behind the bearer token. Proves nothing.
pub fn behind_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = value.split_once(' ')?;
    let (_, behind) = rest.split_once(END_OF_TOKEN)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(behind)
}

/// The token in the value of `authorization`; it may be empty.
fn authorized(value: &str) -> Result<Cow<'_, str>> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim_start();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Cow::Borrowed(rest.split_once(END_OF_TOKEN).map_or(rest, |(token, _)| token)));
    }
    if ["apikey", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Ok(Cow::Borrowed(rest));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let needed = malformed("Basic needs base64 of \"user:token\", with a token as the password");
        return basic_password(rest).map(Cow::Owned).ok_or(needed);
    }
    Err(malformed("the authorization scheme must be Bearer, Basic, ApiKey or Token"))
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    if_several: &'static str,
) -> Result<Option<&'a HeaderValue>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(malformed(if_several)) } else { Ok(value) }
}

fn text<'a>(value: &'a HeaderValue, if_not_ascii: &'static str) -> Result<&'a str> {
    value.to_str().map(str::trim).map_err(|_| malformed(if_not_ascii))
}

fn malformed(reason: &'static str) -> Error {
    Error::MalformedCredential { reason }
}

fn basic_password(encoded: &str) -> Option<String> {
    let mut user_and_token = decoded(encoded.as_bytes())?;
    let colon = user_and_token.find(':')?;
    Some(user_and_token.split_off(colon + 1))
}

fn decoded(encoded: &[u8]) -> Option<String> {
    if encoded.len() > MAX_BASIC_BYTES {
        return None;
    }
    String::from_utf8(BASE64.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests;
