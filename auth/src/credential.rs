//! The token inside the HTTP headers of a request.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::verifier::MAX_TOKEN_BYTES;
use crate::{Error, Result};

/// Base64 of a user name and a token that are both as long as they may be.
const MAX_BASIC_BYTES: usize = 2 * MAX_TOKEN_BYTES;

/// Some clients pad the value and some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token in the headers of a request: `authorization: Bearer <token>`, or `Basic` with the token as the password.
///
/// `Basic` is for clients that know user and password alone; the user name is ignored, as the token names its
/// subject.
///
/// # Errors
/// `NoCredential` — the header is absent; `MalformedCredential` — it holds no token, or there is more than one.
pub fn token_of(headers: &HeaderMap) -> Result<Cow<'_, str>> {
    let malformed = |reason| Error::MalformedCredential { reason };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Error::NoCredential)?;
    if values.next().is_some() {
        return Err(malformed("more than one authorization header"));
    }
    let value = value.to_str().map_err(|_| malformed("the authorization header is not ASCII"))?.trim();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim_start();
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        Cow::Borrowed(rest)
    } else if scheme.eq_ignore_ascii_case("basic") {
        Cow::Owned(
            basic_password(rest)
                .ok_or(malformed("Basic needs base64 of \"user:token\", with a token as the password"))?,
        )
    } else {
        return Err(malformed("the authorization scheme must be Bearer or Basic"));
    };
    if token.is_empty() {
        return Err(malformed("the authorization header holds no token"));
    }
    Ok(token)
}

fn basic_password(encoded: &str) -> Option<String> {
    if encoded.len() > MAX_BASIC_BYTES {
        return None;
    }
    let mut decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let colon = decoded.find(':')?;
    Some(decoded.split_off(colon + 1))
}

#[cfg(test)]
mod tests;
