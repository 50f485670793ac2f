//! The one message of a unary call.
//!
//! ```text
//! u8 compressed (0 or 1) | u32 big endian length | message | end of the body
//! ```
//!
//! Read by our own code so that the message is inflated within the same bounds as over HTTP, and so that what is not
//! exactly one message is refused: a second one would otherwise be acknowledged and lost.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::error::Error as StdError;

use bytes::Buf;
use http_body::Body;
use http_body_util::BodyExt;

use crate::body::{Encoding, Payload, Receiver};
use crate::{Error, Result};

const PREFIX_BYTES: usize = 5;

/// Receives the message of a call whose headers name `encoding`.
///
/// `receiver` makes what takes in a message of so many bytes.
pub(crate) async fn receive<B>(
    receiver: impl Fn(Encoding, usize) -> Result<Receiver>,
    encoding: Encoding,
    mut body: B,
) -> Result<Payload>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut prefix = Prefix::default();
    let mut message: Option<Message> = None;
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(|error| Error::BodyLost(error.into()))?.into_data() else {
            continue;
        };
        while data.has_remaining() {
            match &mut message {
                Some(message) => message.take(&mut data)?,
                None => {
                    if let Some((is_compressed, bytes)) = prefix.take(&mut data)? {
                        let encoding = match (is_compressed, encoding) {
                            (false, _) => Encoding::Identity,
                            (true, Encoding::Identity) => {
                                return Err(broken(
                                    "it is flagged as compressed, but grpc-encoding names none",
                                ));
                            }
                            (true, encoding) => encoding,
                        };
                        message =
                            Some(Message { receiver: receiver(encoding, bytes)?, missing_bytes: bytes });
                    }
                }
            }
        }
    }
    match message {
        None => Err(broken("it ends before the length of the message")),
        Some(Message { missing_bytes: 0, receiver }) => receiver.finish(),
        Some(Message { missing_bytes, .. }) => Err(broken(format!("{missing_bytes} bytes are missing"))),
    }
}

fn broken(found: impl Into<String>) -> Error {
    Error::BrokenFraming { found: found.into() }
}

#[derive(Default)]
struct Prefix {
    bytes: [u8; PREFIX_BYTES],
    seen: usize,
}

impl Prefix {
    /// Whether the message is compressed, and its length, once the prefix is whole.
    fn take(&mut self, data: &mut impl Buf) -> Result<Option<(bool, usize)>> {
        let count = data.remaining().min(PREFIX_BYTES - self.seen);
        data.copy_to_slice(&mut self.bytes[self.seen..self.seen + count]);
        self.seen += count;
        if self.seen < PREFIX_BYTES {
            return Ok(None);
        }
        let [flag, length @ ..] = self.bytes;
        if flag > 1 {
            return Err(broken(format!("the compression flag is {flag}, neither 0 nor 1")));
        }
        Ok(Some((flag == 1, u32::from_be_bytes(length) as usize)))
    }
}

struct Message {
    receiver: Receiver,
    missing_bytes: usize,
}

impl Message {
    fn take(&mut self, data: &mut impl Buf) -> Result<()> {
        if self.missing_bytes == 0 {
            return Err(broken("there is more after the message, and Export takes one"));
        }
        let count = data.remaining().min(self.missing_bytes);
        self.receiver.push(&mut data.take(count))?;
        self.missing_bytes -= count;
        Ok(())
    }
}
