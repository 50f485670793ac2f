//! Puts rows of several batches together into one.
//!
//! Not Arrow's `interleave` for dictionaries: that looks at all rows once for every batch, and hashes their values. Here a value
//! gets its key in the output when the first row that has it comes by.

use std::collections::HashMap;
use std::sync::Arc;

use alula_catalog::Signal;
use alula_catalog::schema::table_schema;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, DictionaryArray, PrimitiveBuilder, RecordBatch, StringBuilder,
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
        let columns: Result<Vec<_>> =
            (0..self.schema.fields().len()).map(|index| self.column(index)).collect();
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

/// Which value of which dictionary has which key in the output. Kept from one output to the next, so that a large dictionary
/// costs only what is used of it.
#[derive(Debug, Default)]
struct KeyMaps {
    /// By the place in memory of a dictionary's values, which batches of one row group share. No two values that are in use
    /// have the same place; what a map says of values that were there before is of an earlier generation.
    maps: HashMap<Place, KeyMap>,
    generation: u32,
}

/// Address and length.
type Place = (usize, usize);
/// By key of the dictionary: a generation, and the key in its output.
type KeyMap = Vec<(u32, i32)>;

impl KeyMaps {
    fn gather(&mut self, arrays: &[&ArrayRef], rows: &[(usize, usize)]) -> Result<ArrayRef> {
        self.generation += 1;
        let mut used: Vec<(Place, KeyMap)> = Vec::new();
        let mut sources = Vec::with_capacity(arrays.len());
        for array in arrays {
            let dictionary = array.as_dictionary_opt::<Int32Type>().ok_or(Error::WrongSchema)?;
            let values = dictionary.values().as_string_opt::<i32>().ok_or(Error::WrongSchema)?;
            let place = (values.value_offsets().as_ptr().addr(), values.len());
            let map = used.iter().position(|(known, _)| *known == place).unwrap_or_else(|| {
                let map = self.maps.remove(&place).unwrap_or_else(|| vec![(0, 0); values.len()]);
                used.push((place, map));
                used.len() - 1
            });
            sources.push((dictionary.keys(), values, map));
        }
        let mut keys = PrimitiveBuilder::<Int32Type>::with_capacity(rows.len());
        let mut gathered = StringBuilder::new();
        for (source, row) in rows {
            let (own_keys, values, map) = sources[*source];
            let own_key = own_keys.is_valid(*row).then(|| own_keys.value(*row) as usize);
            let Some(own_key) = own_key.filter(|key| values.is_valid(*key)) else {
                keys.append_null();
                continue;
            };
            let entry = &mut used[map].1[own_key];
            if entry.0 != self.generation {
                *entry = (self.generation, gathered.len() as i32);
                gathered.append_value(values.value(own_key));
            }
            keys.append_value(entry.1);
        }
        self.maps = used.into_iter().collect();
        Ok(Arc::new(DictionaryArray::try_new(keys.finish(), Arc::new(gathered.finish()))?))
    }
}
