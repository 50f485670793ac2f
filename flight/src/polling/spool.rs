//! [`Spool`]: the messages of a result in a file of the spill directory.
//!
//! ```text
//! file    = message*
//! message = header length: u32 | body length: u32 | header | body      little-endian
//! ```
//!
//! The file is one of DataFusion's: it has a random name, counts against the limit of spill space, goes when nobody holds it
//! any more, and what a process that was killed left behind goes at the next start. Its [`Share`] of the room goes with it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use bytes::Bytes;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter};
use futures::{Stream, TryStreamExt, stream};
use tokio::task::spawn_blocking;

use super::room::Share;
use crate::{Error, Result};

const LENGTHS_BYTES: usize = 2 * size_of::<u32>();

/// A result that is complete.
pub(crate) struct Spool {
    file: Arc<dyn SpillFile>,
    bytes: u64,
    /// Behind the file, which is gone when others get its room.
    _share: Share,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A result that is being written.
pub(super) struct SpoolWriter {
    /// Before the file: it writes when it is dropped, and what it writes after the end of the file counts for ever.
    writer: BufWriter<Box<dyn SpillWriter>>,
    file: Arc<dyn SpillFile>,
    bytes: u64,
}

/// Bytes of a message in a file.
pub(super) fn size(message: &FlightData) -> u64 {
    (LENGTHS_BYTES + message.data_header.len() + message.data_body.len()) as u64
}

/// Rows in a message.
pub(super) fn num_rows(message: &FlightData) -> usize {
    let header = root_as_message(&message.data_header).ok();
    let batch = header.and_then(|header| header.header_as_record_batch());
    batch.and_then(|batch| usize::try_from(batch.length()).ok()).unwrap_or(0)
}

impl SpoolWriter {
    pub(super) fn create(disk: &Arc<DiskManager>) -> Result<Self> {
        let file = disk.create_tmp_file("keeping the result of a polled statement")?;
        let writer = BufWriter::new(file.open_writer()?);
        Ok(Self { file, writer, bytes: 0 })
    }

    /// # Errors
    /// `Spool` — the spill space is full, or the disk fails.
    pub(super) async fn write(mut self, messages: Vec<FlightData>) -> Result<Self> {
        in_background(move || {
            for message in messages {
                let (header, body) = (&message.data_header, &message.data_body);
                self.bytes += size(&message);
                for part in [header, body] {
                    let length = u32::try_from(part.len()).map_err(io::Error::other).map_err(Error::Spool)?;
                    self.writer.write_all(&length.to_le_bytes()).map_err(Error::Spool)?;
                }
                self.writer.write_all(header).map_err(Error::Spool)?;
                self.writer.write_all(body).map_err(Error::Spool)?;
            }
            Ok(self)
        })
        .await
    }

    pub(super) async fn finish(mut self, share: Share) -> Result<Spool> {
        in_background(move || {
            self.writer.flush().map_err(Error::Spool)?;
            self.writer.get_mut().finish()?;
            Ok(Spool { file: self.file, bytes: self.bytes, _share: share })
        })
        .await
    }
}

/// The messages of a result, the schema first.
pub(super) async fn messages(
    spool: Arc<Spool>,
) -> Result<impl Stream<Item = Result<FlightData>> + Send + Unpin> {
    let reader = in_background(move || {
        let path = spool.file.path().ok_or_else(|| Error::Spool(io::ErrorKind::NotFound.into()))?;
        let file = File::open(path).map_err(Error::Spool)?;
        Ok(Reader { file: BufReader::new(file), left: spool.bytes, _spool: spool })
    })
    .await?;
    let messages = stream::try_unfold(reader, |mut reader| {
        in_background(move || Ok(reader.next().map_err(Error::Spool)?.map(|message| (message, reader))))
    });
    Ok(Box::pin(messages.into_stream()))
}

struct Reader {
    file: BufReader<File>,
    /// Bytes to come: a file that ends sooner is not a result that ends.
    left: u64,
    /// The file goes with it.
    _spool: Arc<Spool>,
}

impl Reader {
    fn next(&mut self) -> io::Result<Option<FlightData>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (header, body) = (self.length()?, self.length()?);
        let (data_header, data_body) = (self.bytes(header)?, self.bytes(body)?);
        Ok(Some(FlightData { data_header, data_body, ..FlightData::default() }))
    }

    fn length(&mut self) -> io::Result<u32> {
        let mut length = [0; size_of::<u32>()];
        self.file.read_exact(&mut length)?;
        self.left = self.left.saturating_sub(length.len() as u64);
        Ok(u32::from_le_bytes(length))
    }

    /// The lengths are those that this process wrote.
    fn bytes(&mut self, length: u32) -> io::Result<Bytes> {
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes)?;
        self.left = self.left.saturating_sub(u64::from(length));
        Ok(bytes.into())
    }
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(Error::Panicked)?
}
