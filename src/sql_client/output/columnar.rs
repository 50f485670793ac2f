//! Arrow IPC and Parquet: the answer with its types.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Encoder;

/// Rows a Parquet row group: what the encoder holds in memory at a time.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Arrow IPC as a stream, for a pipe.
pub(super) struct ArrowStream(StreamWriter<Vec<u8>>);

impl ArrowStream {
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self(StreamWriter::try_new(Vec::new(), schema)?))
    }
}

impl Encoder for ArrowStream {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        out.append(self.0.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.append(self.0.get_mut());
        Ok(())
    }
}

/// Arrow IPC as a file, with a footer for random access.
pub(super) struct ArrowFile(FileWriter<Vec<u8>>);

impl ArrowFile {
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self(FileWriter::try_new(Vec::new(), schema)?))
    }
}

impl Encoder for ArrowFile {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        // The writer counts the bytes it has written itself, so they may be taken from under it.
        out.append(self.0.get_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.append(self.0.get_mut());
        Ok(())
    }
}

/// Parquet with zstd.
pub(super) struct Parquet(ArrowWriter<Vec<u8>>);

impl Parquet {
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        Ok(Self(ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties))?))
    }
}

impl Encoder for Parquet {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        out.append(self.0.inner_mut());
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.finish()?;
        out.append(self.0.inner_mut());
        Ok(())
    }
}
