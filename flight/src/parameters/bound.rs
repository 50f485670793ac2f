//! Rows of values, one per run of the statement.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::common::ParamValues;
use datafusion::error::Result as DataFusionResult;
use datafusion::scalar::ScalarValue;

use super::Parameter;
use super::column::values_for;
use crate::{Error, Result};

/// The most rows that may be bound at once.
const MAX_ROWS: usize = 10_000;

/// The values of every parameter, by row; a parameter has one type in all rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    columns: Vec<(String, ArrayRef)>,
    num_rows: usize,
}

/// One value per parameter, by name without `$`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row(Vec<(String, ScalarValue)>);

impl Row {
    pub(crate) fn get(&self, name: &str) -> Option<&ScalarValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(crate) fn into_param_values(self) -> ParamValues {
        ParamValues::from(self.0)
    }
}

impl Bound {
    /// No values, for one run.
    pub(crate) fn nothing() -> Self {
        Self { columns: Vec::new(), num_rows: 1 }
    }

    /// A null for each parameter: what can be known before values are.
    pub(crate) fn nulls(parameters: &[Parameter]) -> Self {
        let text = arrow::datatypes::DataType::Utf8;
        let null = |p: &Parameter| (p.name.clone(), new_null_array(p.data_type.as_ref().unwrap_or(&text), 1));
        Self { columns: parameters.iter().map(null).collect(), num_rows: 1 }
    }

    /// Takes the rows that a client bound.
    ///
    /// Values go to parameters by column name if all names match (for `$name`), else by position.
    ///
    /// # Errors
    /// `ParameterRows`, `ParametersTooLarge` — send them in several parts. Others say which value does not suit.
    pub(crate) fn from_batches(parameters: &[Parameter], batches: &[RecordBatch]) -> Result<Self> {
        // A batch without buffers may claim any number of rows.
        let num_rows = batches.iter().map(RecordBatch::num_rows).fold(0, usize::saturating_add);
        if num_rows > MAX_ROWS {
            return Err(Error::ParameterRows { found: num_rows, limit: MAX_ROWS });
        }
        let found = batches.first().map_or(0, RecordBatch::num_columns);
        if found != parameters.len() {
            return Err(Error::ParameterCount { expected: parameters.len(), found });
        }
        let Some(first) = batches.first().filter(|_| found > 0) else { return Ok(Self::nothing()) };
        let rows = match batches {
            [only] => only.clone(),
            several => concat_batches(&first.schema(), several)?,
        };
        let by_name = parameters.iter().all(|parameter| rows.column_by_name(&parameter.name).is_some());
        let columns = parameters.iter().enumerate().map(|(position, parameter)| {
            let named = rows.column_by_name(&parameter.name).filter(|_| by_name);
            let column = named.unwrap_or_else(|| rows.column(position));
            Ok((parameter.name.clone(), values_for(parameter, column)?))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, num_rows })
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.num_rows
    }

    pub(crate) fn row(&self, index: usize) -> DataFusionResult<Row> {
        let value = |(name, column): &(String, ArrayRef)| {
            Ok((name.clone(), ScalarValue::try_from_array(column, index)?))
        };
        Ok(Row(self.columns.iter().map(value).collect::<DataFusionResult<_>>()?))
    }

    /// Nulls of the types that the values have.
    pub(crate) fn null_row(&self) -> DataFusionResult<Row> {
        let null = |(name, column): &(String, ArrayRef)| {
            Ok((name.clone(), ScalarValue::try_from(column.data_type())?))
        };
        Ok(Row(self.columns.iter().map(null).collect::<DataFusionResult<_>>()?))
    }

    /// The parameter that has no value, if there is one.
    pub(crate) fn missing<'a>(&self, parameters: &'a [Parameter]) -> Option<&'a Parameter> {
        parameters.iter().find(|parameter| self.columns.iter().all(|(name, _)| *name != parameter.name))
    }

    /// As an Arrow IPC stream; without values no bytes.
    pub(crate) fn to_bytes(&self) -> Result<Bytes> {
        if self.columns.is_empty() {
            return Ok(Bytes::new());
        }
        let field = |(name, column): &(String, ArrayRef)| Field::new(name, column.data_type().clone(), true);
        let schema: SchemaRef = Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()));
        let columns = self.columns.iter().map(|(_, column)| Arc::clone(column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.num_rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&rows)?;
        Ok(writer.into_inner()?.into())
    }

    /// What [`Self::to_bytes`] wrote and the server signed.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::nothing());
        }
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let rows = reader.next().unwrap_or_else(|| Ok(RecordBatch::new_empty(reader.schema())))?;
        let schema = rows.schema();
        let named = schema.fields().iter().zip(rows.columns());
        let columns = named.map(|(field, column)| (field.name().clone(), Arc::clone(column))).collect();
        Ok(Self { columns, num_rows: rows.num_rows() })
    }
}
