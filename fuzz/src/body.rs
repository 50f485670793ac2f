//! Bodies in pieces.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::mem::discriminant;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use alula_ingest::fuzzing::Bounds;
use alula_ingest::{Error, Result};
use bytes::Bytes;
use flate2::Compression;
use http_body::{Body, Frame};

use crate::memory::measured;

const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

/// The largest window of a zstd frame that is taken.
const LARGEST_WINDOW_LOG: u32 = 24;

/// What an input begins with.
struct Setting {
    encoding: &'static str,
    /// Whether the input is to be compressed, rather than taken as compressed.
    is_content: bool,
    /// The pieces have these lengths in turn.
    piece_bytes: [usize; 2],
    limit_bytes: usize,
    /// Whether the length is announced.
    is_announced: bool,
}

impl Setting {
    fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[how, first, second, limit], rest) = input.split_first_chunk()?;
        let setting = Self {
            encoding: ENCODINGS[usize::from(how % 3)],
            is_content: how & 0x80 != 0,
            piece_bytes: [usize::from(first), usize::from(second).max(1)],
            limit_bytes: 1 << (limit % 16),
            is_announced: how & 0x40 != 0,
        };
        Some((setting, rest))
    }

    fn bounds(&self) -> Bounds {
        Bounds::new(self.limit_bytes, self.limit_bytes)
    }

    fn pieces(&self, body: &[u8]) -> VecDeque<Bytes> {
        let mut pieces = VecDeque::new();
        let (mut rest, mut lengths) = (body, self.piece_bytes.iter().cycle());
        while !rest.is_empty() {
            let length = lengths.next().map_or(1, |&bytes| bytes.min(rest.len()));
            pieces.push_back(Bytes::copy_from_slice(&rest[..length]));
            rest = &rest[length..];
        }
        pieces
    }
}

/// A [`Setting`], and then a body or what is compressed to one.
pub fn http_body(input: &[u8]) {
    let Some((setting, rest)) = Setting::split(input) else { return };
    let body = if setting.is_content { compressed(setting.encoding, rest) } else { rest.to_vec() };
    let received = receive_body(&setting, setting.pieces(&body), body.len());
    let whole = receive_body(&setting, VecDeque::from([Bytes::copy_from_slice(&body)]), body.len());
    assert_same(&received, &whole);

    let length_is_known = setting.encoding == "identity" || setting.is_announced;
    match inflated(setting.encoding, &body, setting.limit_bytes) {
        _ if length_is_known && body.len() > setting.limit_bytes => {
            assert!(matches!(received, Err(Error::TooLarge { .. })), "{received:?}");
        }
        Some(expected) => {
            assert!(!setting.is_content || expected == rest);
            assert_eq!(received.unwrap(), expected);
        }
        None => assert!(is_refused(&received), "{received:?}"),
    }
}

/// Where both are true, the decoder decides which is seen first: it may look ahead of what it has given.
fn is_refused(received: &Result<Bytes>) -> bool {
    matches!(received, Err(Error::TooLarge { .. } | Error::Undecodable { .. }))
}

fn receive_body(setting: &Setting, pieces: VecDeque<Bytes>, body_bytes: usize) -> Result<Bytes> {
    let bounds = setting.bounds();
    let announced_bytes = setting.is_announced.then_some(body_bytes);
    let receive = || bounds.receive_body(setting.encoding, announced_bytes, pieces);
    let (received, most_bytes) = measured(receive);
    // gzip has a window and buffers, twice where one member follows another; zstd's are memory of C's.
    assert!(most_bytes <= 256 * 1024 + 2 * setting.limit_bytes, "{most_bytes} bytes of memory");
    assert!(bounds.are_free());
    received
}

/// A [`Setting`], and then what comes in the body of a call.
pub fn grpc_message(input: &[u8]) {
    let Some((setting, body)) = Setting::split(input) else { return };
    let body = if setting.is_content { framed(&setting, body) } else { body.to_vec() };
    let bounds = setting.bounds();
    let received = ready(bounds.receive_message(setting.encoding, Pieces(setting.pieces(&body))));
    assert!(bounds.are_free());

    match message_of(&body) {
        None => assert!(
            matches!(
                received,
                Err(Error::BrokenFraming { .. } | Error::TooLarge { .. } | Error::Undecodable { .. })
            ),
            "{received:?}"
        ),
        Some((true, _)) if setting.encoding == "identity" => {
            assert!(matches!(received, Err(Error::BrokenFraming { .. })), "{received:?}");
        }
        Some((is_compressed, message)) => {
            let encoding = if is_compressed { setting.encoding } else { "identity" };
            let alone = bounds.receive_body(encoding, Some(message.len()), [Bytes::copy_from_slice(message)]);
            assert_same(&received, &alone);
        }
    }
}

/// The one message of a body and whether it is flagged as compressed.
fn message_of(body: &[u8]) -> Option<(bool, &[u8])> {
    let (&[flag, a, b, c, d], message) = body.split_first_chunk()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    (flag <= 1 && message.len() == length).then_some((flag == 1, message))
}

fn framed(setting: &Setting, content: &[u8]) -> Vec<u8> {
    let message = compressed(setting.encoding, content);
    let flag = u8::from(setting.encoding != "identity");
    [&[flag][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

fn assert_same(received: &Result<Bytes>, expected: &Result<Bytes>) {
    let are_same = match (received, expected) {
        (Ok(a), Ok(b)) => a == b,
        (Err(a), Err(b)) => {
            discriminant(a) == discriminant(b) || is_refused(received) && is_refused(expected)
        }
        _ => false,
    };
    assert!(are_same, "{received:?}\nis not\n{expected:?}");
}

fn compressed(encoding: &str, content: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(content, 1).unwrap(),
        _ => content.to_vec(),
    }
}

/// What readers, which have the whole body at once, make of it, if it is whole and within the limit.
fn inflated(encoding: &str, body: &[u8], limit_bytes: usize) -> Option<Vec<u8>> {
    let mut reader: Box<dyn Read + '_> = match encoding {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "zstd" if !has_standard_frames(body) => return None,
        "zstd" => {
            let mut decoder = zstd::Decoder::new(body).unwrap();
            decoder.window_log_max(LARGEST_WINDOW_LOG).unwrap();
            Box::new(decoder)
        }
        _ => Box::new(body),
    };
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer).ok()? {
            0 => return Some(content),
            bytes => content.extend_from_slice(&buffer[..bytes]),
        }
        if content.len() > limit_bytes {
            return None;
        }
    }
}

/// Whether zstd's frames are all as the standard has them; the library knows older ones.
fn has_standard_frames(mut body: &[u8]) -> bool {
    while let Some(first) = body.first() {
        if !matches!(first, 0x28 | 0x50..=0x5f) {
            return false;
        }
        // A broken frame is for the decoder to find.
        let Ok(bytes) = zstd::zstd_safe::find_frame_compressed_size(body) else { return true };
        body = &body[bytes..];
    }
    true
}

/// What a future gives that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

/// A body that is all there.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}
