//! The values of one parameter: out of the encoding they came in, and into the type that the statement expects.

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, UnionArray, downcast_run_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;

use super::Parameter;
use crate::received::MAX_PARAMETER_BYTES;
use crate::wire::value_length;
use crate::{Error, Result};

/// So much more than the bound may an estimate be.
const CAST_SLACK: usize = 4;

/// The values of a column as the statement takes them.
///
/// # Errors
/// `ParameterType` — they are of another type. `ParametersTooLarge` — a dictionary of theirs stands for too much.
pub(super) fn values_for(parameter: &Parameter, column: &ArrayRef) -> Result<ArrayRef> {
    let given = decoded(parameter, column)?;
    let Some(expected) = &parameter.data_type else { return Ok(given) };
    let (from, to) = (given.data_type(), expected);
    // `moment - ?` means an interval unless it is bound to another moment.
    if from == to || matches!((from, to), (DataType::Timestamp(..), DataType::Interval(_))) {
        return Ok(given);
    }
    check_cast(&given, to)?;
    match strict_cast(&given, to) {
        // `int_column = 5.7` must not become `int_column = 6`; comparing widens the column instead.
        Ok(cast) if loses(&given, &cast) => Ok(given),
        Ok(cast) => Ok(cast),
        // Nor is a number out of range an error: no row has it.
        Err(_) if from.is_numeric() && to.is_numeric() => Ok(given),
        Err(source) => Err(wrong_type(parameter, to, source)),
    }
}

/// Without unions, dictionaries and runs, however they are nested in each other.
fn decoded(parameter: &Parameter, column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        // flightsql-dbapi sends each value in a dense union.
        DataType::Union(..) => from_union(parameter, column.as_union()),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            if dictionary.values().is_empty() {
                let values = decoded(parameter, dictionary.values())?;
                return Ok(arrow::array::new_null_array(values.data_type(), column.len()));
            }
            check_size(dictionary.values(), &dictionary.normalized_keys())?;
            decoded(parameter, &take(dictionary.values(), dictionary.keys(), None)?)
        }
        DataType::RunEndEncoded(..) => {
            let rows: Vec<u64> = (0..column.len() as u64).collect();
            let run_values: (ArrayRef, Vec<usize>) = downcast_run_array!(
                column => (ArrayRef::clone(column.values()), column.get_physical_indices(&rows)?),
                _ => unreachable!("it is run-end encoded")
            );
            let (values, indices) = run_values;
            check_size(&values, &indices)?;
            let indices = arrow::array::UInt64Array::from_iter_values(indices.iter().map(|at| *at as u64));
            decoded(parameter, &take(&values, &indices, None)?)
        }
        _ => Ok(ArrayRef::clone(column)),
    }
}

/// Bounds what a few bytes of keys may unfold to.
fn check_size(values: &ArrayRef, keys: &[usize]) -> Result<()> {
    let bytes = match (value_length(values), values.data_type()) {
        (Some(length), _) => keys.iter().map(|key| length(*key)).fold(0, usize::saturating_add),
        (None, DataType::FixedSizeBinary(width)) => keys.len().saturating_mul(*width as usize),
        (None, nested) if nested.is_nested() => keys.len().saturating_mul(values.get_array_memory_size()),
        // No number or time has more.
        (None, _) => keys.len().saturating_mul(size_of::<arrow::datatypes::i256>()),
    };
    if bytes > MAX_PARAMETER_BYTES {
        return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
    }
    Ok(())
}

/// Bounds what values inside of others may become: nulls without a type take no room until they are cast.
fn check_cast(given: &ArrayRef, to: &DataType) -> Result<()> {
    if !given.data_type().is_nested() {
        return Ok(());
    }
    let bytes = num_inside(&given.to_data()).saturating_mul(width_inside(to));
    // A sum over fields times the widest of them is more than there will be; what there is, is looked at again.
    if bytes > CAST_SLACK * MAX_PARAMETER_BYTES {
        return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
    }
    Ok(())
}

fn num_inside(data: &ArrayData) -> usize {
    let inside = data.child_data().iter().map(|child| child.len().saturating_add(num_inside(child)));
    inside.fold(0, usize::saturating_add)
}

/// Bytes of the widest value, without those of texts.
fn width_inside(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            width_inside(item.data_type())
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| width_inside(field.data_type())).max().unwrap_or(1)
        }
        DataType::Map(entries, _) => width_inside(entries.data_type()),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(1),
        other => other.primitive_width().unwrap_or(size_of::<i64>()),
    }
}

/// A union may have a value of another type in each row.
fn from_union(parameter: &Parameter, union: &UnionArray) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(union.len());
    let mut bytes = 0;
    for row in 0..union.len() {
        let value = decoded(parameter, &union.value(row))?;
        bytes += value.to_data().get_slice_memory_size()?;
        if bytes > MAX_PARAMETER_BYTES {
            return Err(Error::ParametersTooLarge { limit: MAX_PARAMETER_BYTES });
        }
        values.push(value);
    }
    let mut types: Vec<DataType> = values.iter().map(|value| value.data_type().clone()).collect();
    types.retain(|data_type| !data_type.is_null());
    types.dedup();
    let common = match (&types[..], &parameter.data_type) {
        ([], expected) => Some(expected.clone().unwrap_or(DataType::Null)),
        ([only], _) => Some(only.clone()),
        (_, Some(expected)) => Some(expected.clone()),
        (several, None) => type_union_resolution(several),
    };
    let Some(common) = common else {
        let mixed = ArrowError::CastError("the rows have values of different types".to_owned());
        return Err(wrong_type(parameter, &types[0], mixed));
    };
    let cast = values
        .iter()
        .map(|value| strict_cast(value, &common).map_err(|source| wrong_type(parameter, &common, source)));
    let values = cast.collect::<Result<Vec<_>>>()?;
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(&common));
    }
    Ok(arrow::compute::concat(&values)?)
}

fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Whether the cast dropped decimals, or a part of a time.
fn loses(given: &ArrayRef, cast: &ArrayRef) -> bool {
    let (from, to) = (given.data_type(), cast.data_type());
    let is_rounded = (from.is_floating() || from.is_decimal()) && to.is_numeric() && !to.is_floating()
        || from.is_temporal() && to.is_temporal();
    is_rounded && strict_cast(cast, from).is_ok_and(|back| back.as_ref() != given.as_ref())
}

fn wrong_type(parameter: &Parameter, expected: &DataType, source: ArrowError) -> Error {
    Error::ParameterType {
        name: parameter.name.clone(),
        expected: expected.to_string(),
        source: Box::new(source.into()),
    }
}
