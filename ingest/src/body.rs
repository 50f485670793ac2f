//! The body of a request: received and inflated within bounds.
//!
//! Bytes are inflated as they come, so what is compressed is never held as a whole, and a body that would inflate past
//! the limit is refused where it passes it. Memory is taken from the common room as the body grows, not as its sender
//! announces it.

mod zstd_frames;

use std::io::{self, Write};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use zstd::stream::zio;

use crate::room::{Room, Share};
use crate::{Error, Result};
use zstd_frames::ZstdFrames;

/// The first piece of memory that a body gets; each further one is twice as large as the one before.
const FIRST_BYTES: usize = 16 * 1024;

/// The largest piece.
const LARGEST_BYTES: usize = 1024 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// What clients are told that they may use.
pub(crate) const ACCEPTED_ENCODINGS: &str = "gzip,zstd,identity";

impl Encoding {
    /// The encoding with this name, as gRPC and HTTP both have it.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// How large a request may be after decompression, and the setting that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimit {
    pub bytes: usize,
    pub setting: &'static str,
}

/// A request's bytes, inflated, and their share of the room.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) share: Option<Share>,
}

/// Takes the pieces of a body.
///
/// Bounds: never holds more than the limit plus the decoder's window. The window is not counted in the room, as no more of
/// it is ever written than has been inflated, which is: with it, zstd at most doubles what the room lets through.
pub(crate) struct Receiver(Decoder);

enum Decoder {
    Identity(Box<Sink>),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zstd(Box<zio::Writer<Sink, ZstdFrames>>),
}

impl Receiver {
    /// `announced_bytes` is the length that the sender announced, if it did; it bounds how far memory is taken ahead.
    ///
    /// # Errors
    /// `TooLarge` — the announcement says so. `Undecodable` — the decoder cannot be made.
    pub(crate) fn new(
        encoding: Encoding,
        announced_bytes: Option<usize>,
        limit: SizeLimit,
        room: &Room,
    ) -> Result<Self> {
        if announced_bytes.is_some_and(|announced| announced > limit.bytes) {
            return Err(Error::TooLarge { limit });
        }
        let expected_bytes = match encoding {
            Encoding::Identity => announced_bytes.unwrap_or(limit.bytes),
            Encoding::Gzip | Encoding::Zstd => limit.bytes,
        };
        let sink = Sink {
            full: Vec::new(),
            full_bytes: 0,
            last: Vec::new(),
            expected_bytes,
            limit,
            room: room.clone(),
            share: None,
            refusal: None,
        };
        Ok(Self(match encoding {
            Encoding::Identity => Decoder::Identity(Box::new(sink)),
            Encoding::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Encoding::Zstd => {
                let undecodable = |source| Error::Undecodable { encoding: "zstd", source };
                let frames = ZstdFrames::new().map_err(undecodable)?;
                Decoder::Zstd(Box::new(zio::Writer::new(sink, frames)))
            }
        }))
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// `TooLarge`, `Overloaded`, `Undecodable`; nothing more may be given then.
    pub(crate) fn push(&mut self, piece: &mut impl Buf) -> Result<()> {
        while piece.has_remaining() {
            let chunk = piece.chunk();
            let bytes = chunk.len();
            let written = match &mut self.0 {
                Decoder::Identity(sink) => sink.write_all(chunk),
                Decoder::Gzip(decoder) => decoder.write_all(chunk),
                Decoder::Zstd(decoder) => decoder.write_all(chunk),
            };
            written.map_err(|error| self.why(error))?;
            piece.advance(bytes);
        }
        Ok(())
    }

    /// The whole payload, if the body is complete.
    pub(crate) fn finish(mut self) -> Result<Payload> {
        let finished = match &mut self.0 {
            Decoder::Identity(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zstd(decoder) => decoder.finish(),
        };
        finished.map_err(|error| self.why(error))?;
        let sink = self.sink();
        Ok(Payload { bytes: sink.join().into(), share: sink.share.take() })
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.0 {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.writer_mut(),
        }
    }

    /// What the sink refused, or else what is wrong with the compressed bytes.
    fn why(&mut self, source: io::Error) -> Error {
        let encoding = match &self.0 {
            Decoder::Identity(_) => "identity",
            Decoder::Gzip(_) => "gzip",
            Decoder::Zstd(_) => "zstd",
        };
        self.sink().refusal.take().unwrap_or(Error::Undecodable { encoding, source })
    }
}

/// Where the inflated bytes go: pieces that are joined at the end. One vector that grows would hold its old and its new
/// memory whenever it does.
struct Sink {
    full: Vec<Vec<u8>>,
    full_bytes: usize,
    last: Vec<u8>,
    /// Memory is not taken past this before it is needed.
    expected_bytes: usize,
    limit: SizeLimit,
    room: Room,
    share: Option<Share>,
    /// Why no more is taken; `io::Error` cannot carry it through the decoders.
    refusal: Option<Error>,
}

impl Sink {
    fn extend(&mut self, mut more: &[u8]) -> Result<()> {
        if self.full_bytes + self.last.len() + more.len() > self.limit.bytes {
            return Err(Error::TooLarge { limit: self.limit });
        }
        loop {
            let fitting = more.len().min(self.last.capacity() - self.last.len());
            let (now, later) = more.split_at(fitting);
            self.last.extend_from_slice(now);
            if later.is_empty() {
                return Ok(());
            }
            more = later;
            self.add_piece(later.len())?;
        }
    }

    /// Memory for `wanted_bytes` more, or for some of them.
    fn add_piece(&mut self, wanted_bytes: usize) -> Result<()> {
        let received_bytes = self.full_bytes + self.last.len();
        let expected_bytes = self.expected_bytes.saturating_sub(received_bytes).max(wanted_bytes);
        let bytes = (2 * self.last.capacity()).clamp(FIRST_BYTES, LARGEST_BYTES).min(expected_bytes);
        let share = self.room.take(bytes)?;
        match &mut self.share {
            Some(mine) => mine.merge(share),
            None => self.share = Some(share),
        }
        let full = std::mem::replace(&mut self.last, Vec::with_capacity(bytes));
        if !full.is_empty() {
            self.full_bytes = received_bytes;
            self.full.push(full);
        }
        Ok(())
    }

    /// All pieces as one. Each is freed as soon as it is copied, so both forms are never there whole.
    fn join(&mut self) -> Vec<u8> {
        let last = std::mem::take(&mut self.last);
        if self.full.is_empty() {
            return last;
        }
        let mut joined = Vec::with_capacity(self.full_bytes + last.len());
        for piece in self.full.drain(..).chain([last]) {
            joined.extend_from_slice(&piece);
        }
        joined
    }
}

impl Write for Sink {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        match self.extend(more) {
            Ok(()) => Ok(more.len()),
            Err(refusal) => {
                self.refusal = Some(refusal);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
