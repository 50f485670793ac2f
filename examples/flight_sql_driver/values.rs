//! Values in the form of `tests/interop/drivers/README.md`, from Arrow arrays and to them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, NullArray, PrimitiveArray,
    RecordBatch, StringArray, UnionArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    Schema, TimeUnit, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use serde_json::{Map, Value, json};

use crate::Result;

/// `{columns, rows}`, one batch after the other.
pub(crate) struct Rows {
    columns: Vec<Value>,
    rows: Vec<Value>,
}

impl Rows {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self { columns: schema.fields().iter().map(|field| json!(field.name())).collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| value(column, row));
            self.rows.push(values.collect::<Result<_>>()?);
        }
        Ok(())
    }

    pub(crate) fn into_value(self) -> Value {
        json!({ "columns": self.columns, "rows": self.rows })
    }
}

fn value(array: &ArrayRef, row: usize) -> Result<Value> {
    use DataType as T;

    if array.is_null(row) || array.data_type() == &T::Null {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        T::Boolean => json!(array.as_boolean().value(row)),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => json!(as_number::<Int64Type>(array, row, &T::Int64)?),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            json!(as_number::<UInt64Type>(array, row, &T::UInt64)?)
        }
        T::Float16 | T::Float32 | T::Float64 => json!(as_number::<Float64Type>(array, row, &T::Float64)?),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => json!(array_value_to_string(array, row)?),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            json!({ "$bytes": array_value_to_string(array, row)? })
        }
        T::Timestamp(unit, _) => json!({ "$timestamp": moment(count(array, row)? * ns_per(*unit))? }),
        T::Date32 | T::Date64 => {
            json!({ "$date": array_value_to_string(&cast(array, &T::Date32)?, row)? })
        }
        T::Time32(unit) | T::Time64(unit) => {
            json!({ "$time": moment(count(array, row)? * ns_per(*unit))?[11..] })
        }
        T::Duration(unit) => json!({ "$duration": count(array, row)? * ns_per(*unit) }),
        T::Interval(_) => {
            let interval = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            json!({ "$interval": [interval.months, interval.days, interval.nanoseconds] })
        }
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => {
            json!({ "$decimal": array_value_to_string(array, row)? })
        }
        T::Dictionary(_, values) => value(&cast(array, values)?, row)?,
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) => {
            list(&cast(array, &T::List(Arc::clone(item)))?.as_list::<i32>().value(row))?
        }
        T::Struct(fields) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            let named = columns.map(|(column, field)| Ok((field.name().clone(), value(column, row)?)));
            Value::Object(named.collect::<Result<Map<_, _>>>()?)
        }
        T::Map(..) => map(array, row)?,
        T::Union(..) => {
            let union = array.as_any().downcast_ref::<UnionArray>().ok_or("not a union")?;
            value(&union.value(row), 0)?
        }
        other => return Err(format!("values of type {other} are not read here").into()),
    })
}

fn list(items: &ArrayRef) -> Result<Value> {
    (0..items.len()).map(|item| value(items, item)).collect()
}

fn map(array: &ArrayRef, row: usize) -> Result<Value> {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let named =
        (0..entries.len()).map(|entry| Ok((array_value_to_string(keys, entry)?, value(values, entry)?)));
    Ok(Value::Object(named.collect::<Result<Map<_, _>>>()?))
}

fn as_number<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize, wide: &DataType) -> Result<T::Native> {
    Ok(cast(array, wide)?.as_primitive::<T>().value(row))
}

/// How many units a time has.
fn count(array: &ArrayRef, row: usize) -> Result<i64> {
    // There is no cast from 32 bits to the units of 64.
    let narrow = matches!(array.data_type(), DataType::Time32(_));
    let array = if narrow { cast(array, &DataType::Int32)? } else { Arc::clone(array) };
    as_number::<Int64Type>(&array, row, &DataType::Int64)
}

fn ns_per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// `2026-01-02T03:04:05.000000006`, without zeros at the end.
fn moment(ns: i64) -> Result<String> {
    let text = jiff::Timestamp::from_nanosecond(i128::from(ns))?.to_string();
    Ok(text.trim_end_matches('Z').to_owned())
}

/// Rows of `[kind, value]` as a batch; the kind of the first row goes for all.
pub(crate) fn parameter_batch(rows: &[Value]) -> Result<RecordBatch> {
    let first = rows.first().and_then(Value::as_array).ok_or("no row of parameters")?;
    let columns = first.iter().enumerate().map(|(number, parameter)| {
        let values: Vec<&Value> = rows.iter().map(|row| &row[number][1]).collect();
        let kind = parameter[0].as_str().unwrap_or_default();
        Ok((number.to_string(), parameter_column(kind, &values)?, true))
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns.collect::<Result<Vec<_>>>()?)?)
}

fn parameter_column(kind: &str, values: &[&Value]) -> Result<ArrayRef> {
    let tagged = |tag: &'static str| values.iter().map(move |value| value[tag].as_str().unwrap_or_default());
    Ok(match kind {
        "int8" => integers::<Int8Type>(values)?,
        "int16" => integers::<Int16Type>(values)?,
        "int32" => integers::<Int32Type>(values)?,
        "int64" => integers::<Int64Type>(values)?,
        "float32" => cast(&doubles(values), &Float32Type::DATA_TYPE)?,
        "float64" => doubles(values),
        "text" => Arc::new(values.iter().map(|value| value.as_str()).collect::<StringArray>()),
        "bool" => Arc::new(values.iter().map(|value| value.as_bool()).collect::<BooleanArray>()),
        "bytes" => {
            let data = tagged("$bytes").map(bytes).collect::<Result<Vec<_>>>()?;
            Arc::new(BinaryArray::from_iter_values(data))
        }
        "decimal" => parsed(tagged("$decimal"), &DataType::Decimal128(10, 2))?,
        "date" => parsed(tagged("$date"), &DataType::Date32)?,
        "time" => parsed(tagged("$time"), &DataType::Time64(TimeUnit::Microsecond))?,
        "timestamp" => parsed(tagged("$timestamp"), &DataType::Timestamp(TimeUnit::Microsecond, None))?,
        _ => Arc::new(NullArray::new(values.len())),
    })
}

fn integers<T: ArrowPrimitiveType>(values: &[&Value]) -> Result<ArrayRef> {
    let wide: PrimitiveArray<Int64Type> = values.iter().map(|value| value.as_i64()).collect();
    Ok(cast(&wide, &T::DATA_TYPE)?)
}

fn doubles(values: &[&Value]) -> ArrayRef {
    Arc::new(values.iter().map(|value| value.as_f64()).collect::<PrimitiveArray<Float64Type>>())
}

fn parsed<'a>(texts: impl Iterator<Item = &'a str>, kind: &DataType) -> Result<ArrayRef> {
    Ok(cast(&StringArray::from_iter_values(texts), kind)?)
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?)).collect()
}
