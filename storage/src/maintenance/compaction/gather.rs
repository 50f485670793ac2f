//! Puts rows of several batches together into one.
//!
//! Not Arrow's `interleave` for dictionaries: that looks at all rows once for every batch, and hashes their values. Here a value
//! gets its key in the output when the first row that has it comes by.

use std::collections::HashMap;
use std::sync::Arc;

use alula_catalog::Signal;
use alula_catalog::schema::table_schema;
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, PrimitiveBuilder, RecordBatch, StringArray, StringBuilder,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};

use crate::{Error, Result};

/// Collects rows of the batches that it has been given, in any order.
#[derive(Debug)]
pub(super) struct Gatherer {
    schema: SchemaRef,
    sources: Vec<RecordBatch>,
    /// Number of the batch, and of the row in it.
    rows: Vec<(usize, usize)>,
    /// By column.
    dictionaries: Vec<KeyMaps>,
}

impl Gatherer {
    pub(super) fn new(signal: Signal) -> Self {
        let schema = table_schema(signal);
        let dictionaries = schema.fields().iter().map(|_| KeyMaps::default()).collect();
        Self { schema, sources: Vec::new(), rows: Vec::new(), dictionaries }
    }

    /// The number of the batch, until the next [`Self::gather`].
    pub(super) fn add_source(&mut self, batch: RecordBatch) -> usize {
        self.sources.push(batch);
        self.sources.len() - 1
    }

    pub(super) fn push(&mut self, source: usize, row: usize) {
        self.rows.push((source, row));
    }

    pub(super) fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// One batch of all rows that were pushed. Gives up all sources but those `current` whose input is `open`, and their new
    /// numbers in `current`.
    pub(super) fn gather(&mut self, current: &mut [usize], open: &[bool]) -> Result<RecordBatch> {
        let columns: Result<Vec<_>> = (0..self.schema.fields().len()).map(|index| self.column(index)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns?)?;
        self.rows.clear();
        let sources = std::mem::take(&mut self.sources);
        for (current, _) in current.iter_mut().zip(open).filter(|(_, open)| **open) {
            let source = sources[*current].clone();
            *current = self.add_source(source);
        }
        Ok(batch)
    }

    fn column(&mut self, index: usize) -> Result<ArrayRef> {
        let field: &Field = self.schema.field(index);
        let arrays: Vec<&ArrayRef> = self.sources.iter().map(|batch| batch.column(index)).collect();
        if field.is_nullable() && arrays.iter().all(|array| array.null_count() == array.len()) {
            return Ok(new_null_array(field.data_type(), self.rows.len()));
        }
        if let DataType::Dictionary(..) = field.data_type() {
            return self.dictionaries[index].gather(&arrays, &self.rows);
        }
        let arrays: Vec<&dyn Array> = arrays.into_iter().map(AsRef::as_ref).collect();
        Ok(compute::interleave(&arrays, &self.rows)?)
    }
}

/// Which value of which dictionary has which key in the output.
#[derive(Debug, Default)]
struct KeyMaps {
    /// By the place in memory of a dictionary's values, which batches of one row group share.
    maps: HashMap<(usize, usize), Vec<Option<i32>>>,
}

impl KeyMaps {
    fn gather(&mut self, arrays: &[&ArrayRef], rows: &[(usize, usize)]) -> Result<ArrayRef> {
        let sources: Result<Vec<_>> = arrays.iter().map(|array| DictionarySource::new(array)).collect();
        let sources = sources?;
        let mut keys = PrimitiveBuilder::<Int32Type>::with_capacity(rows.len());
        let mut values = StringBuilder::new();
        let mut num_values = 0;
        Ok(Arc::new(DictionaryArray::try_new(keys.finish(), Arc::new(values.finish()))?))
    }
}
