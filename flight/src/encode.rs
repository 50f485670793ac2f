//! Batches to Flight messages of bounded size.
//!
//! Grafana refuses a message above 4 MiB and cannot be told otherwise, so a batch is encoded, measured, and encoded
//! again in smaller parts if it is too large. (The stock encoder splits by the average size of a row, which lets one
//! large row among small ones through.) A row that is too large by itself is sent alone.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::{FlightData, SchemaAsIpc};

/// The largest message, header and body; below what a client with gRPC's default limit of 4 MiB takes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 3_584 << 10;

/// Turns wire batches into messages. The first message of a stream is [`Self::schema_message`].
pub(crate) struct Encoder {
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    /// How many rows fitted lately, so that wide rows are not encoded twice each time.
    rows_per_message: usize,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            options: IpcWriteOptions::default(),
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(true),
            context: IpcWriteContext::default(),
            rows_per_message: usize::MAX,
        }
    }

    pub(crate) fn schema_message(&self, schema: &SchemaRef) -> FlightData {
        SchemaAsIpc::new(schema, &self.options).into()
    }

    /// The messages of one batch, in order. An empty batch is one message: clients read a first batch of metadata.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, ArrowError> {
        let mut messages = Vec::new();
        let mut start = 0;
        loop {
            let rows = self.rows_per_message.min(batch.num_rows() - start);
            let (_, encoded) = self.generator.encode(
                &batch.slice(start, rows),
                &mut self.dictionaries,
                &self.options,
                &mut self.context,
            )?;
            let message = FlightData::from(encoded);
            let bytes = message.data_header.len() + message.data_body.len();
            if bytes > MAX_MESSAGE_BYTES && rows > 1 {
                // Aim a little lower than the average says, and always at fewer rows than this time.
                let target = (MAX_MESSAGE_BYTES / 4 * 3).saturating_mul(rows) / bytes;
                self.rows_per_message = target.clamp(1, rows - 1);
                continue;
            }
            messages.push(message);
            start += rows;
            if bytes < MAX_MESSAGE_BYTES / 2 && rows == self.rows_per_message {
                self.rows_per_message = rows.saturating_mul(2);
            }
            if start == batch.num_rows() {
                return Ok(messages);
            }
        }
    }
}

#[cfg(test)]
mod tests;
