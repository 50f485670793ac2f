//! The buffer side of a scan: streams chunks as they are, without copying a row.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source::DataSource;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::projection::ProjectionExprs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, Partitioning};
use futures::stream;

use crate::buffer::Chunk;

/// Buffered chunks, projected and dealt out to partitions.
#[derive(Clone, Debug)]
pub(super) struct BufferSource {
    schema: SchemaRef,
    /// At least one, possibly empty.
    partitions: Vec<Vec<RecordBatch>>,
    statistics: Arc<Statistics>,
    fetch: Option<usize>,
}

impl BufferSource {
    pub(super) fn try_new(
        schema: &SchemaRef,
        chunks: &[Arc<Chunk>],
        statistics: Statistics,
        projection: Option<&Vec<usize>>,
        target_partitions: usize,
        fetch: Option<usize>,
    ) -> Result<Self> {
        let projected = match projection {
            Some(projection) => Arc::new(schema.project(projection)?),
            None => Arc::clone(schema),
        };
        let count = target_partitions.clamp(1, chunks.len().max(1));
        let mut partitions = vec![Vec::new(); count];
        for (index, chunk) in chunks.iter().enumerate() {
            let batch = match projection {
                Some(projection) => chunk.batch.project(projection)?,
                None => chunk.batch.clone(),
            };
            partitions[index % count].push(batch);
        }
        let statistics = Arc::new(statistics.project(projection));
        Ok(Self { schema: projected, partitions, statistics, fetch })
    }
}

impl DataSource for BufferSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.partitions.get(partition).cloned().ok_or_else(|| {
            DataFusionError::Internal(format!("the buffer scan has no partition {partition}"))
        })?;
        let size = context.session_config().batch_size();
        let mut left = self.fetch.unwrap_or(usize::MAX);
        let slices = batches.into_iter().flat_map(move |batch| {
            (0..batch.num_rows())
                .step_by(size.max(1))
                .map(move |start| batch.slice(start, size.min(batch.num_rows() - start)))
        });
        let limited = slices.map_while(move |slice| {
            let slice = slice.slice(0, slice.num_rows().min(left));
            left -= slice.num_rows();
            (slice.num_rows() > 0).then_some(Ok(slice))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(limited))))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks: usize = self.partitions.iter().map(Vec::len).sum();
        write!(f, "buffer, chunks={chunks}")
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.partitions.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.schema))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        Ok(match partition {
            None => Arc::clone(&self.statistics),
            Some(_) => Arc::new(Statistics::new_unknown(&self.schema)),
        })
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(Self { fetch, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn try_swapping_with_projection(&self, _: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
