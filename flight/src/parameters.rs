//! Parameters of a prepared statement: their types, and the values bound to them.
//!
//! DataFusion's own inference gives a hash map, forgets a type when a parameter appears a second time without one, and
//! fails on conflicts; so the plan is walked here.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UnionArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use crate::wire::{Profile, plain_field, wire_type};
use crate::{Error, Result};

/// A parameter in the order in which values are bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    /// Without `$`.
    pub(crate) name: String,
    /// What the statement compares it with; `None` where any type will do.
    pub(crate) data_type: Option<DataType>,
}

/// The parameters of `plan` under the names the parser found.
pub(crate) fn infer(plan: &LogicalPlan, names: Vec<String>) -> DataFusionResult<Vec<Parameter>> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        // The expressions of a limit are counts of rows and nothing else says so.
        let default = matches!(node, LogicalPlan::Limit(_)).then_some(DataType::Int64);
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                note_type(expr, default.as_ref(), &mut types);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let parameter = |name: String| Parameter { data_type: types.remove(&format!("${name}")), name };
    Ok(names.into_iter().map(parameter).collect())
}

/// The parameters of an expression, the same way.
pub(crate) fn infer_in(expr: &Expr, names: Vec<String>) -> DataFusionResult<Vec<Parameter>> {
    let mut types = HashMap::new();
    expr.apply(|expr| {
        note_type(expr, None, &mut types);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let parameter = |name: String| Parameter { data_type: types.remove(&format!("${name}")), name };
    Ok(names.into_iter().map(parameter).collect())
}

/// Keeps the first type that a parameter is seen with.
fn note_type(expr: &Expr, default: Option<&DataType>, types: &mut HashMap<String, DataType>) {
    let (id, data_type) = match expr {
        Expr::Placeholder(Placeholder { id, field }) => {
            (id, field.as_ref().map(|field| field.data_type()).or(default))
        }
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Placeholder(Placeholder { id, .. }) => (id, Some(cast.field.data_type())),
            _ => return,
        },
        _ => return,
    };
    if let Some(data_type) = data_type.filter(|data_type| !data_type.is_null()) {
        types.entry(id.clone()).or_insert_with(|| data_type.clone());
    }
}

/// What a client is told to bind: nullable fields without metadata, never of type Null (JDBC cannot bind that).
pub(crate) fn parameter_schema(parameters: &[Parameter]) -> Schema {
    let text = DataType::Utf8;
    let field = |p: &Parameter| plain_field(&p.name, p.data_type.as_ref().unwrap_or(&text));
    Schema::new(parameters.iter().map(field).collect::<Vec<Field>>())
}

/// One value per parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound(Vec<(String, ScalarValue)>);

impl Bound {
    /// Takes the values of the one row that was bound.
    ///
    /// Values go to parameters by column name if all names match (for `$name`), else by position.
    pub(crate) fn from_batches(parameters: &[Parameter], batches: &[RecordBatch]) -> Result<Self> {
        // A batch without buffers may claim any number of rows.
        let found = batches.iter().map(RecordBatch::num_rows).fold(0, usize::saturating_add);
        if found > 1 {
            return Err(Error::ParameterRows { found });
        }
        let Some(row) = batches.iter().find(|batch| batch.num_rows() == 1) else {
            return if parameters.is_empty() {
                Ok(Self(Vec::new()))
            } else {
                Err(Error::ParameterCount { expected: parameters.len(), found: 0 })
            };
        };
        if row.num_columns() != parameters.len() {
            return Err(Error::ParameterCount { expected: parameters.len(), found: row.num_columns() });
        }
        let by_name = parameters.iter().all(|parameter| row.column_by_name(&parameter.name).is_some());
        let values = parameters.iter().enumerate().map(|(position, parameter)| {
            let named = row.column_by_name(&parameter.name).filter(|_| by_name);
            let column = named.unwrap_or_else(|| row.column(position));
            Ok((parameter.name.clone(), value(parameter, column)?))
        });
        Ok(Self(values.collect::<Result<_>>()?))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&ScalarValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(crate) fn into_param_values(self) -> ParamValues {
        ParamValues::from(self.0)
    }

    /// The parameter that has no value, if there is one.
    pub(crate) fn missing<'a>(&self, parameters: &'a [Parameter]) -> Option<&'a Parameter> {
        parameters.iter().find(|parameter| self.0.iter().all(|(name, _)| *name != parameter.name))
    }

    /// As an Arrow IPC stream of one row.
    pub(crate) fn to_bytes(&self) -> Result<Bytes> {
        let mut fields = Vec::with_capacity(self.0.len());
        let mut columns = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            fields.push(Field::new(name, value.data_type(), true));
            columns.push(value.to_array()?);
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&row)?;
        Ok(writer.into_inner()?.into())
    }

    /// What [`Self::to_bytes`] wrote and the server signed; no bytes are no values.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self> {
        let mut values = Vec::new();
        if bytes.is_empty() {
            return Ok(Self(values));
        }
        for batch in StreamReader::try_new(Cursor::new(bytes), None)? {
            let batch = batch?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                values.push((field.name().clone(), ScalarValue::try_from_array(column, 0)?));
            }
        }
        Ok(Self(values))
    }
}

/// The first value of a column, cast to what the statement expects.
fn value(parameter: &Parameter, column: &ArrayRef) -> Result<ScalarValue> {
    // flightsql-dbapi sends each value in a dense union.
    let column = match column.as_any().downcast_ref::<UnionArray>() {
        Some(union) => union.value(0),
        None => Arc::clone(column),
    };
    let plain = match column.data_type() {
        DataType::Dictionary(_, values) => arrow::compute::cast(&column, values)?,
        _ => column,
    };
    let given = ScalarValue::try_from_array(&plain, 0)?;
    let Some(expected) = parameter.data_type.as_ref().map(|known| wire_type(known, Profile::Safe)) else {
        return Ok(given);
    };
    if given.data_type() == expected {
        return Ok(given);
    }
    match given.cast_to(&expected) {
        // `int_column = 5.7` must not become `int_column = 6`; comparing widens the column instead.
        Ok(cast) if loses(&given, &cast) => Ok(given),
        Ok(cast) => Ok(cast),
        // Nor is a number out of range an error: no row has it.
        Err(_) if given.data_type().is_numeric() && expected.is_numeric() => Ok(given),
        Err(source) => {
            Err(Error::ParameterType { name: parameter.name.clone(), expected: expected.to_string(), source })
        }
    }
}

/// Whether the cast dropped decimals.
fn loses(given: &ScalarValue, cast: &ScalarValue) -> bool {
    (given.data_type().is_floating() || given.data_type().is_decimal())
        && !cast.data_type().is_floating()
        && cast.cast_to(&given.data_type()).is_ok_and(|back| back != *given)
}

#[cfg(test)]
mod tests;
