//! `Handshake`: the credential that was checked already, given back as a bearer token.
//!
//! JDBC and ODBC call it even when they hold a token, and take the token from the answer's headers. The layer in front
//! has verified the token, so it is good; a server without authentication gives back whatever came.

use alula_auth::token_of;
use arrow_flight::HandshakeResponse;
use futures::StreamExt;
use tonic::Response;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::service::Messages;

/// The answer to a call with these headers.
pub(crate) fn answer(headers: &MetadataMap) -> Response<Messages<HandshakeResponse>> {
    let token = token_of(headers.as_ref()).unwrap_or_default();
    let greeting = HandshakeResponse { protocol_version: 0, payload: token.as_bytes().to_vec().into() };
    let mut answer = Response::new(futures::stream::iter([Ok(greeting)]).boxed());
    if let Some(header) = bearer(&token) {
        answer.metadata_mut().insert("authorization", header);
    }
    answer
}

/// The header that carries `token`, if there is one and a header can hold its characters.
fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    if token.is_empty() {
        return None;
    }
    let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: Option<&'static str>, expected: Option<&str>) {
        let mut headers = MetadataMap::new();
        if let Some(header) = header {
            headers.insert("authorization", MetadataValue::from_static(header));
        }
        let answer = answer(&headers);
        let given = answer.metadata().get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(given, expected, "{header:?}");
    }

    #[test]
    fn the_token_comes_back_as_a_bearer_token_however_it_was_sent() {
        check(Some("Bearer abc.def"), Some("Bearer abc.def"));
        check(Some("Basic dTp0b2tlbg"), Some("Bearer token"));
    }

    #[test]
    fn what_is_no_token_or_fits_no_header_is_not_sent_in_one() {
        check(None, None);
        check(Some("Digest abc"), None);
        assert!(bearer("a\nb").is_none());
    }
}
