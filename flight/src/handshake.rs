//! `Handshake`: the credential that was checked already, given back as a bearer token.
//!
//! JDBC and ODBC call it even when they hold a token, and take the token from the answer's headers. The layer in front
//! has verified the `authorization` header, so what it carries is good: a bearer token, or as the password of `Basic`.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// ADBC sends `Basic` without padding, others with.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token in the `authorization` header, if there is one.
pub(crate) fn token(headers: &MetadataMap) -> Option<String> {
    let header = headers.get("authorization")?.to_str().ok()?;
    let (scheme, credential) = header.split_once(' ')?;
    let credential = credential.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credential.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(credential).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned()).filter(|password| !password.is_empty())
}

/// The header that carries `token`, unless it has characters that a header cannot hold.
pub(crate) fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    format!("Bearer {token}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &'static str, expected: Option<&str>) {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", MetadataValue::from_static(header));
        assert_eq!(token(&headers).as_deref(), expected, "{header}");
    }

    #[test]
    fn the_token_is_found_in_bearer_and_basic_with_and_without_padding() {
        check("Bearer abc.def", Some("abc.def"));
        check("bearer  abc", Some("abc"));
        check("Basic dTp0b2tlbg==", Some("token"));
        check("Basic dTp0b2tlbg", Some("token"));
        check("Basic OnRva2Vu", Some("token"));
    }

    #[test]
    fn other_headers_have_no_token() {
        for header in ["", "Bearer", "Digest abc", "Basic ???", "Basic dTo=", "Basic bm9jb2xvbg=="] {
            check(header, None);
        }
        assert_eq!(token(&MetadataMap::new()), None);
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_not_sent_in_one() {
        assert!(bearer("abc").is_some_and(|value| value == "Bearer abc"));
        assert!(bearer("a\nb").is_none());
    }
}
