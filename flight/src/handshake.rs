//! `Handshake`: the credential that was checked, given back as a bearer token.
//!
//! JDBC and ODBC call it even when they hold a token, and take the token from the answer's headers; others look in its one
//! message. It is not in the trailers too: ADBC puts headers and trailers together and sends all that it finds there.
//! A credential in the headers was checked by the layer in front, and then what the client sends as a message does not
//! matter, nor whether it sends one. Only old clients have their credential in that message.
//! A server without authentication gives back whatever came.

use std::time::Duration;

use alula_auth::{Error as AuthError, LateCredential, principal_of, token_of};
use arrow_flight::{BasicAuth, HandshakeRequest, HandshakeResponse};
use futures::StreamExt;
use prost::Message;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Extensions, Request as Call, Response, Streaming};

use crate::Result;
use crate::service::Messages;
use crate::session::secret;

/// How long a client may take to send its credential.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a call whose credential is good.
///
/// # Errors
/// `Auth` — it has none, or none that is.
pub(crate) async fn shake(
    call: Call<Streaming<HandshakeRequest>>,
) -> Result<Response<Messages<HandshakeResponse>>> {
    let (headers, extensions, messages) = call.into_parts();
    if principal_of(&extensions).is_ok() {
        return Ok(answer(&token_of(headers.as_ref()).unwrap_or_default()));
    }
    let token = token_within(messages, &extensions).await?;
    Ok(answer(&token))
}

/// The token in the first message, checked.
async fn token_within(mut messages: Streaming<HandshakeRequest>, extensions: &Extensions) -> Result<String> {
    let message = tokio::time::timeout(PATIENCE, messages.message()).await;
    // Whatever else came is no credential.
    let payload = message.ok().and_then(Result::ok).flatten().unwrap_or_default().payload;
    let token = BasicAuth::decode(payload).map_err(|_| AuthError::NoCredential)?.password;
    LateCredential::verify(extensions, &token).await?;
    Ok(token)
}

fn answer(token: &str) -> Response<Messages<HandshakeResponse>> {
    let greeting = HandshakeResponse { protocol_version: 0, payload: token.as_bytes().to_vec().into() };
    let mut answer = Response::new(futures::stream::iter([Ok(greeting)]).boxed());
    if let Some(header) = bearer(token) {
        answer.metadata_mut().insert("authorization", header);
    }
    answer
}

/// The header that carries `token`, if there is one and a header can hold its characters.
fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    // What stands behind a `~` would be taken for a session.
    if token.is_empty() || token.contains('~') { None } else { secret(&format!("Bearer {token}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(token: &str, expected: Option<&str>) {
        let answer = answer(token);
        let given = answer.metadata().get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(given, expected, "{token:?}");
        let messages: Vec<_> = answer.into_inner().collect().await;
        assert_eq!(messages.len(), 1, "and no trailers");
        assert_eq!(messages[0].as_ref().unwrap().payload, token);
    }

    #[tokio::test]
    async fn the_token_comes_back_in_the_headers_and_in_the_message() {
        check("abc.def", Some("Bearer abc.def")).await;
    }

    #[tokio::test]
    async fn what_is_no_token_or_fits_no_header_is_not_sent_in_one() {
        for token in ["", "a\nb", "a~b"] {
            check(token, None).await;
        }
    }
}
