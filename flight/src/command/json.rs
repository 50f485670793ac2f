//! The ticket of InfluxDB's clients: `{"database": "...", "sql_query": "...", "query_type": "sql", "params": {...}}`.
//!
//! `database` names nothing here: the tenant comes from the credential.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value};

use super::cut;
use crate::{Error, Result};

/// A statement with the values of its parameters by name.
#[derive(Debug)]
pub(crate) struct JsonQuery {
    pub(crate) sql: String,
    params: Map<String, Value>,
}

impl JsonQuery {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| malformed(format!("the ticket is not a JSON object: {error}")))?;
        match object.get("query_type") {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("sql") => {}
            Some(_) => {
                return Err(Error::Unsupported { what: "another query_type than \"sql\"".to_owned() });
            }
        }
        let Some(Value::String(sql)) = object.remove("sql_query") else {
            return Err(malformed("the JSON ticket has no text in sql_query".to_owned()));
        };
        let params = match object.remove("params") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(malformed("params in the JSON ticket is not an object".to_owned())),
        };
        Ok(Self { sql, params })
    }

    pub(crate) fn has_params(&self) -> bool {
        !self.params.is_empty()
    }

    /// A row with a value for each of the parameters `names`, in their order.
    ///
    /// # Errors
    /// `UnboundParameter` — one has no value. `MalformedMessage` — a value is nested, or is for no parameter.
    pub(crate) fn row(&self, names: &[String]) -> Result<RecordBatch> {
        if let Some(stray) = self.params.keys().find(|name| !names.contains(name)) {
            let stray = cut(stray);
            return Err(malformed(format!("params has {stray}, which is no parameter of the statement")));
        }
        let mut fields = Vec::with_capacity(names.len());
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let value = self.params.get(name);
            let column =
                column(name, value.ok_or_else(|| Error::UnboundParameter { name: format!("${name}") })?)?;
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

fn column(name: &str, value: &Value) -> Result<ArrayRef> {
    Ok(match value {
        Value::Null => Arc::new(NullArray::new(1)),
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::String(value) => Arc::new(StringArray::from(vec![value.as_str()])),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => Arc::new(Int64Array::from(vec![value])),
            (_, Some(value), _) => Arc::new(UInt64Array::from(vec![value])),
            (_, _, Some(value)) => Arc::new(Float64Array::from(vec![value])),
            (None, None, None) => {
                return Err(malformed(format!("the value of {name} in params is no number")));
            }
        },
        Value::Array(_) | Value::Object(_) => {
            let name = cut(name);
            let reason = format!("the value of {name} in params is not a text, number, boolean or null");
            return Err(malformed(reason));
        }
    })
}

fn malformed(reason: String) -> Error {
    Error::MalformedMessage { reason }
}
