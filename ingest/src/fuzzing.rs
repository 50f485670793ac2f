//! What the targets in `fuzz/` call: the steps that bytes of strangers pass, as the transports take them.
//!
//! Behind a cargo feature that no build of the server turns on.

use std::error::Error as StdError;

use arrow::array::RecordBatch;
use bytes::Bytes;
use http_body::Body;

use alula_catalog::{Signal, TenantId};
use alula_storage::RejectionGroup;

use crate::body::{Encoding, Payload, Receiver};
use crate::convert::{Context, Limits, Policy, convert, restorer};
use crate::grpc::message;
use crate::partial_success::{PartialSuccess, encode_response};
use crate::room::Room;
use crate::{Error, Result, SizeLimit, otlp_json, rejections};

/// 2026-11-21T08:00:00Z.
pub const RECEIVED_NS: i64 = 1_795_248_000_000_000_000;

/// What becomes of a request that comes in.
#[derive(Debug)]
pub struct Taken {
    pub batch: RecordBatch,
    /// The ordinals that the log keeps.
    pub rejected: Vec<u32>,
    /// What goes on record about them.
    pub groups: Vec<RejectionGroup>,
    /// The response, as a protobuf message.
    pub answer: Bytes,
}

/// Converts the protobuf bytes of a request, whose records may lie `max_future_ns` after the time of receipt.
pub fn take(signal: Signal, payload: &[u8], max_future_ns: i64) -> Result<Taken> {
    let converted = convert(signal, payload, &context(Policy::Check(Limits { max_future_ns })))?;
    Ok(Taken {
        rejected: converted.rejected.iter().map(|rejection| rejection.ordinal).collect(),
        groups: rejections::groups(&converted.rejected),
        answer: encode_response(signal, PartialSuccess::of(signal, &converted.rejected)),
        batch: converted.batch,
    })
}

/// What the elements of the request's lists take in memory, as told from its bytes.
pub fn footprint(signal: Signal, payload: &[u8]) -> usize {
    crate::convert::footprint(signal, payload, usize::MAX)
}

/// Makes the rows of a logged request again.
pub fn replay(signal: Signal, payload: &[u8], rejected: &[u32]) -> Result<RecordBatch> {
    Ok(convert(signal, payload, &context(Policy::Replay(rejected)))?.batch)
}

/// The protobuf bytes of the request that a batch is the rows of.
pub fn restore(signal: Signal, batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut restorer = restorer(signal, usize::MAX);
    restorer.begin(batch)?;
    let mut payload = Vec::new();
    // Several messages, one after the other, are one.
    while let Some(request) = restorer.next()? {
        payload.extend_from_slice(&request.payload);
    }
    payload.extend(restorer.finish().into_iter().flat_map(|request| request.payload));
    Ok(payload)
}

/// The protobuf bytes of the request that `text` is in JSON, of which there may be `limit_bytes`.
pub fn json_to_protobuf(signal: Signal, text: &[u8], limit_bytes: usize) -> Result<Vec<u8>> {
    let limit = SizeLimit { bytes: limit_bytes, setting: "ingest.max_http_message_bytes" };
    otlp_json::to_protobuf(signal, text, limit)
}

fn context(policy: Policy<'_>) -> Context<'_> {
    Context { tenant: TenantId::unauthenticated(), received_ns: RECEIVED_NS, policy }
}

/// The bounds that bodies are received within.
#[derive(Debug)]
pub struct Bounds {
    limit: SizeLimit,
    room: Room,
    room_bytes: usize,
}

impl Bounds {
    /// A body may have `limit_bytes`, and all of them together `room_bytes`.
    pub fn new(limit_bytes: usize, room_bytes: usize) -> Self {
        let limit = SizeLimit { bytes: limit_bytes, setting: "ingest.max_message_bytes" };
        Self { limit, room: Room::new(room_bytes), room_bytes }
    }

    /// Receives a body as the HTTP service does.
    pub fn receive_body(
        &self,
        encoding: &str,
        announced_bytes: Option<usize>,
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> Result<Bytes> {
        let mut receiver = self.receiver(encoding_named(encoding)?, announced_bytes)?;
        for mut piece in pieces {
            receiver.push(&mut piece)?;
        }
        self.open(receiver.finish()?)
    }

    /// Receives the body of a gRPC call.
    pub async fn receive_message<B>(&self, encoding: &str, body: B) -> Result<Bytes>
    where
        B: Body + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let receiver = |encoding, bytes| self.receiver(encoding, Some(bytes));
        self.open(message::receive(receiver, encoding_named(encoding)?, body).await?)
    }

    /// Whether what bodies took of the room has been given back.
    pub fn are_free(&self) -> bool {
        self.room.take(self.room_bytes).is_ok()
    }

    fn receiver(&self, encoding: Encoding, announced_bytes: Option<usize>) -> Result<Receiver> {
        Receiver::new(encoding, announced_bytes, self.limit, &self.room)
    }

    /// A payload's bytes, after a look at its share of the room.
    fn open(&self, Payload { bytes, share }: Payload) -> Result<Bytes> {
        let held_bytes = share.map_or(0, |share| share.num_bytes());
        assert!(
            bytes.len() <= held_bytes && held_bytes <= self.limit.bytes,
            "{} of {held_bytes}",
            bytes.len()
        );
        Ok(bytes)
    }
}

fn encoding_named(name: &str) -> Result<Encoding> {
    Encoding::of(name).ok_or_else(|| Error::UnknownEncoding { name: name.to_owned() })
}
