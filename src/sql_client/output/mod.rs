//! Record batches to bytes: one encoder a format, none of which does I/O.
//!
//! | file | purpose |
//! |---|---|
//! | `values.rs` | how a value reads as text; shared by all text formats |
//! | `table.rs`, `vertical.rs` | for people: box and Markdown tables, one line a value |
//! | `delimited.rs` | CSV, JSON and JSON lines, for programs that read text |
//! | `columnar.rs` | Arrow IPC and Parquet |
//!
//! Timestamps read as RFC 3339 with nine digits in every text format, lists and structs as JSON.

mod columnar;
mod delimited;
mod table;
mod values;
mod vertical;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A box table, for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Jsonl,
    /// Arrow IPC: a stream on standard output, a file with -o
    Arrow,
    /// Parquet, compressed with zstd
    Parquet,
    /// A Markdown table
    Markdown,
    /// One line a value, for wide rows
    Vertical,
}

impl Format {
    /// Whether the bytes would garble a terminal.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }
}

/// What fits on the reader's screen. None of it limits formats for programs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// Rows shown; the rest are counted.
    pub(crate) max_rows: Option<usize>,
    /// Columns of characters in a line of a box table.
    pub(crate) max_width: Option<usize>,
    /// Whether the reader can seek: Arrow IPC then has a footer.
    pub(crate) seekable: bool,
}

/// What was not shown because of the [`Layout`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Turns batches of one schema into bytes, appended to `out`. `finish` is called once, last.
pub(crate) trait Encoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError>;

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError>;

    fn left_out(&self) -> LeftOut {
        LeftOut::default()
    }
}

pub(crate) fn encoder(
    format: Format,
    schema: &SchemaRef,
    layout: Layout,
) -> Result<Box<dyn Encoder>, ArrowError> {
    Ok(match format {
        Format::Table => Box::new(table::BoxTable::new(schema, layout)),
        Format::Markdown => Box::new(table::Markdown::new(schema, layout)),
        Format::Vertical => Box::new(vertical::Vertical::new(schema, layout)),
        Format::Csv => Box::new(delimited::Csv::new(schema)),
        Format::Json => Box::new(delimited::JsonArray::new(schema)),
        Format::Jsonl => Box::new(delimited::JsonLines::new(schema)),
        Format::Arrow if layout.seekable => Box::new(columnar::ArrowFile::try_new(schema)?),
        Format::Arrow => Box::new(columnar::ArrowStream::try_new(schema)?),
        Format::Parquet => Box::new(columnar::Parquet::try_new(schema)?),
    })
}

/// Splits a batch at the row limit: what is still shown, and how many rows are not.
fn within_limit(batch: &RecordBatch, shown: usize, max_rows: Option<usize>) -> (RecordBatch, usize) {
    let room = max_rows.map_or(usize::MAX, |max| max.saturating_sub(shown));
    let kept = batch.num_rows().min(room);
    (batch.slice(0, kept), batch.num_rows() - kept)
}
