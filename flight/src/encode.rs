//! Batches to Flight messages of bounded size.
//!
//! Grafana refuses a message above 4 MiB and cannot be told otherwise, so a batch is encoded, measured, and encoded
//! again in smaller parts if it is too large. (The stock encoder splits by the average size of a row, which lets one
//! large row among small ones through.) A row that is too large by itself is sent alone; for clients of Arrow, which
//! stop at 16 MiB, it is compressed.
//!
//! **Invariants**
//! - Before the first batch of a stream there is one dictionary for each column that has one, and nothing else: Go's
//!   reader counts them. That holds for an empty batch too.

mod dictionary;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{ByteViewType, DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::FlightData;

use crate::wire::Profile;
use crate::{Error, Result};
use dictionary::ColumnDictionary;

/// The largest message, header and body; below what a client with gRPC's default limit of 4 MiB takes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 3_584 << 10;

/// What a message has besides the values of a dictionary.
const HEADER_BYTES: usize = 4 << 10;

/// A row above this is compressed where the client can read it.
const MAX_PLAIN_ROW_BYTES: usize = 12 << 20;

/// The largest row: clients hold a message, and count its bytes, in 31 bits.
const MAX_ROW_BYTES: usize = (i32::MAX as usize) - (1 << 20);

/// Turns wire batches into messages. The first message of a stream is [`Self::schema_message`].
pub(crate) struct Encoder {
    plain: IpcWriteOptions,
    /// For a row that is too large; nothing where the client may not be able to read it.
    compressed: Option<IpcWriteOptions>,
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    context: IpcWriteContext,
    /// By column; made when a column with a dictionary is first seen.
    dictionaries: Vec<Option<ColumnDictionary>>,
    /// How many rows fitted lately, so that wide rows are not encoded twice each time.
    rows_per_message: usize,
}

impl Encoder {
    pub(crate) fn new(profile: Profile) -> Self {
        let plain = IpcWriteOptions::default();
        let compressed = match profile {
            Profile::Native => plain.clone().try_with_compression(Some(CompressionType::ZSTD)).ok(),
            Profile::Safe | Profile::Bi | Profile::Jdbc | Profile::JdbcUnzoned => None,
        };
        Self {
            plain,
            compressed,
            generator: IpcDataGenerator::default(),
            tracker: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            dictionaries: Vec::new(),
            rows_per_message: usize::MAX,
        }
    }

    /// The message that comes first, once.
    pub(crate) fn schema_message(&mut self, schema: &SchemaRef) -> FlightData {
        let encoded =
            self.generator.schema_to_bytes_with_dictionary_tracker(schema, &mut self.tracker, &self.plain);
        FlightData::from(encoded)
    }

    /// The messages of one batch, in order. An empty batch is one message: clients read a first batch of metadata.
    ///
    /// # Errors
    /// `RowTooLarge` — no client can be sent this row.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>> {
        let mut messages = Vec::new();
        let mut start = 0;
        loop {
            let rows = self.rows_per_message.min(batch.num_rows() - start);
            let Some(part) = self.compact(&batch.slice(start, rows))? else {
                self.rows_per_message = rows / 2;
                continue;
            };
            let options = match (is_too_large(&part)?, &self.compressed) {
                (true, Some(compressed)) => compressed,
                _ => &self.plain,
            };
            let (dictionaries, encoded) =
                self.generator.encode(&part, &mut self.tracker, options, &mut self.context)?;
            // What a client has of them it keeps, also if this part turns out to be too large.
            messages.extend(dictionaries.into_iter().map(FlightData::from));
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

    /// The rows without what other rows of their batch leave in dictionaries and behind views; nothing if a dictionary of
    /// theirs is too large for a message, and fewer rows have to be taken.
    fn compact(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        self.dictionaries.resize_with(rows.num_columns(), || None);
        let limit = if rows.num_rows() > 1 { MAX_MESSAGE_BYTES - HEADER_BYTES } else { usize::MAX };
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (column, dictionary) in rows.columns().iter().zip(&mut self.dictionaries) {
            let column: ArrayRef = match column.data_type() {
                DataType::Dictionary(..) => {
                    let dictionary = dictionary.get_or_insert_with(ColumnDictionary::new);
                    let Some(adopted) = dictionary.adopt(column.as_dictionary(), limit)? else {
                        return Ok(None);
                    };
                    Arc::new(adopted)
                }
                DataType::Utf8View => Arc::new(compact_views(column.as_string_view())),
                DataType::BinaryView => Arc::new(compact_views(column.as_binary_view())),
                _ => Arc::clone(column),
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(Some(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?))
    }
}

/// Whether these are one row that is too large to be sent as it is.
fn is_too_large(rows: &RecordBatch) -> Result<bool> {
    if rows.num_rows() != 1 {
        return Ok(false);
    }
    let bytes = rows.columns().iter().map(size).sum::<Result<usize, ArrowError>>()?;
    check_row(bytes)?;
    Ok(bytes > MAX_PLAIN_ROW_BYTES)
}

/// # Errors
/// `RowTooLarge` — no client can be sent this row.
fn check_row(bytes: usize) -> Result<()> {
    if bytes > MAX_ROW_BYTES { Err(Error::RowTooLarge { found: bytes }) } else { Ok(()) }
}

/// Bytes of the values of a column, as they are sent.
fn size(column: &ArrayRef) -> Result<usize, ArrowError> {
    let data = column.to_data();
    let views = match data.data_type() {
        DataType::Utf8View | DataType::BinaryView => data.buffers()[1..].iter().map(Buffer::len).sum(),
        _ => 0,
    };
    Ok(data.get_slice_memory_size()? + views)
}

/// The same without the texts that none of these views shows: the format sends whole buffers.
fn compact_views<T: ByteViewType>(views: &GenericByteViewArray<T>) -> GenericByteViewArray<T> {
    let held: usize = views.data_buffers().iter().map(Buffer::len).sum();
    if held / 2 > views.total_buffer_bytes_used() { views.gc() } else { views.clone() }
}

#[cfg(test)]
mod tests;
