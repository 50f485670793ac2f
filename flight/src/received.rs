//! Arrow data that clients send, read with distrust.
//!
//! A length in it may lie: what is read is bounded before it is decoded, and what would make Arrow's reader allocate more than
//! came, or copy the same again and again, is refused. Arrow checks the rest, and may panic where it does not: who decodes has
//! to catch that.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::ipc::{FieldNode, RecordBatch as BatchHeader, root_as_message};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::{Error, Result};

/// The most that may be bound, as Arrow data.
pub(crate) const MAX_PARAMETER_BYTES: usize = 4 << 20;

/// A truth value is a bit, and every other one has more, but for what takes no room at all: nulls without a type, structs
/// without fields, texts of no width, repetitions in a run.
const VALUES_PER_BYTE: i64 = 8;

/// Values that may come without a byte.
const FREE_VALUES: i64 = 64 << 10;

/// The messages with data, of which there is a bounded amount.
pub(crate) async fn read_bounded(
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<Vec<FlightData>> {
    let mut read = Vec::new();
    let mut bytes = 0;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|status| Error::MalformedParameters(Box::new(status)))?;
        // A message counts for more than its data, so that empty ones are bounded too.
        bytes += message.data_header.len() + message.data_body.len() + 64;
        if bytes > MAX_PARAMETER_BYTES {
            return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
        }
        // A bind without parameters may come as a descriptor alone.
        if !message.data_header.is_empty() {
            refuse_costly(&message, "bound parameters")?;
            read.push(message);
        }
    }
    Ok(read)
}

/// The batches in messages. Panics where Arrow does.
pub(crate) async fn decode(messages: Vec<FlightData>) -> Result<Vec<RecordBatch>> {
    let messages = futures::stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
    let malformed = |error: FlightError| Error::MalformedParameters(Box::new(error));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(malformed)? {
        batches.push(batch);
    }
    // A client without rows may send their columns alone.
    if let (Some(schema), true) = (stream.schema(), batches.is_empty()) {
        batches.push(RecordBatch::new_empty(Arc::clone(schema)));
    }
    // The decoder looks at the values of a column, and not at what its type says of the types within.
    let mut columns = batches.iter().flat_map(RecordBatch::columns);
    let checked = columns.try_for_each(|column| column.to_data().validate_full());
    checked.map_err(|error| malformed(error.into()))?;
    Ok(batches)
}

/// A compressed buffer says how large it becomes, and Arrow's reader allocates that much before it looks further: eight
/// bytes of a client's would end the process. A dictionary that grows is copied as a whole each time it does. Nulls without
/// a type have a number and no bytes, and as soon as they get a type, or are sent on, each of them has some.
pub(crate) fn refuse_costly(data: &FlightData, what: &str) -> Result<()> {
    // What is no message is left to the decoder, which says so.
    let Ok(message) = root_as_message(&data.data_header) else { return Ok(()) };
    let dictionary = message.header_as_dictionary_batch();
    if dictionary.is_some_and(|dictionary| dictionary.isDelta()) {
        return Err(Error::Unsupported { what: format!("a dictionary of {what} that grows") });
    }
    let batch = message.header_as_record_batch().or_else(|| dictionary?.data());
    if batch.is_some_and(|batch| batch.compression().is_some()) {
        return Err(Error::Unsupported { what: format!("compression of {what}") });
    }
    let body_bytes = data.data_body.len();
    if batch.is_some_and(|batch| !is_plausible(batch, body_bytes)) {
        let reason =
            format!("the {what} claim more values than {body_bytes} bytes have: send fewer at a time");
        return Err(Error::MalformedMessage { reason });
    }
    Ok(())
}

/// Whether so many values may be in so many bytes. Those inside of others count together, as there may be any number of
/// columns; a column has as many as the batch has rows.
fn is_plausible(batch: BatchHeader<'_>, body_bytes: usize) -> bool {
    let limit = (body_bytes as i64).saturating_mul(VALUES_PER_BYTE).saturating_add(FREE_VALUES);
    let is_below = |length: i64| (0..=limit).contains(&length);
    let mut lengths = batch.nodes().into_iter().flatten().map(FieldNode::length);
    let mut inside: i64 = 0;
    is_below(batch.length())
        && lengths.all(|length| {
            inside = inside.saturating_add(if length == batch.length() { 0 } else { length });
            is_below(length) && is_below(inside)
        })
}

#[cfg(test)]
mod tests;
