//! [`FileReaders`]: readers of Parquet files that fail with storage's own errors.
//!
//! On its way through DataFusion the error of an object store may become a text. What a client is told depends on which error
//! it was, so each reader has a [`FileSet`] to itself, which keeps the error for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use super::figures::FILES_READ;
use super::file_set::FileSet;

/// Makes the readers of one scan.
#[derive(Debug)]
pub(super) struct FileReaders {
    files: FileSet,
    metadata_cache: Arc<FileMetadataCache>,
}

impl FileReaders {
    pub(super) fn new(files: FileSet, metadata_cache: Arc<FileMetadataCache>) -> Self {
        Self { files, metadata_cache }
    }
}

impl ParquetFileReaderFactory for FileReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        if self.files.opens_first(&file.object_meta.location) {
            MetricBuilder::new(metrics).counter(FILES_READ, partition_index).add(1);
        }
        let files = Arc::new(self.files.for_reader());
        let readers =
            CachedParquetFileReaderFactory::new(Arc::clone(&files) as _, Arc::clone(&self.metadata_cache));
        let reader = readers.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        Ok(Box::new(FileReader { reader, files }))
    }
}

/// Reads one file for one partition of the plan.
struct FileReader {
    reader: Box<dyn AsyncFileReader + Send>,
    files: Arc<FileSet>,
}

/// The error that storage gave, in the place of what became of it.
fn own_error<T>(result: ParquetResult<T>, files: &FileSet) -> ParquetResult<T> {
    result.map_err(|error| match files.take_failure() {
        Some(failure) => ParquetError::External(Box::new(failure)),
        None => error,
    })
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let Self { reader, files } = self;
        reader.get_bytes(range).map(|result| own_error(result, files)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let Self { reader, files } = self;
        reader.get_byte_ranges(ranges).map(|result| own_error(result, files)).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let Self { reader, files } = self;
        reader.get_metadata(options).map(|result| own_error(result, files)).boxed()
    }
}
