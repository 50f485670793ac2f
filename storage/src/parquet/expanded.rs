//! How many bytes rows have once nothing of them is encoded: what a cast of them takes, and a reader of their file.
//!
//! A dictionary, a view or nothing but nulls may say in a few bytes what becomes terabytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, downcast_dictionary_array};
use arrow::datatypes::{ArrowNativeType, DataType};

/// Of a value whose bytes are elsewhere: an offset, or a view.
const REFERENCE_BYTES: u64 = 16;

/// What every value of a type takes, null or not.
pub(crate) fn value_bytes(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(size) => u64::try_from(*size).unwrap_or(0),
        DataType::FixedSizeList(item, size) => {
            value_bytes(item.data_type()).saturating_mul(u64::try_from(*size).unwrap_or(0))
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| value_bytes(field.data_type())).fold(0, u64::saturating_add)
        }
        DataType::Dictionary(_, value) => value_bytes(value),
        other => other.primitive_width().map_or(REFERENCE_BYTES, |width| width as u64),
    }
}

/// What the values of an array take, without encodings, as those of `target`.
pub(crate) fn expanded_bytes(array: &dyn Array, target: &DataType) -> u64 {
    let each = value_bytes(target).max(value_bytes(array.data_type()));
    let fixed = each.saturating_mul(array.len() as u64);
    let elsewhere = match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => between(array.as_string::<i64>().value_offsets()),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => between(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            of_items(list.values(), list.value_offsets(), target)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            of_items(list.values(), list.value_offsets(), target)
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            of_items(&entries, map.value_offsets(), target)
        }
        DataType::FixedSizeList(..) => expanded_bytes(array.as_fixed_size_list().values(), nested(target, 0)),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter().enumerate();
            let each = columns.map(|(index, column)| expanded_bytes(column, nested(target, index)));
            each.fold(0, u64::saturating_add)
        }
        DataType::Dictionary(..) => of_dictionary(array, target),
        _ => 0,
    };
    fixed.saturating_add(elsewhere)
}

/// The items of lists between the first offset and the last.
fn of_items<O: ArrowNativeType>(items: &ArrayRef, offsets: &[O], target: &DataType) -> u64 {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0 };
    let items = items.slice(first.as_usize(), last.as_usize() - first.as_usize());
    expanded_bytes(&items, nested(target, 0))
}

/// What the keys of a dictionary stand for.
fn of_dictionary(array: &dyn Array, target: &DataType) -> u64 {
    downcast_dictionary_array!(
        array => {
            let values = array.values();
            let of_value = bytes_of(values, target);
            let keys = array.keys().iter().flatten().map(ArrowNativeType::as_usize);
            keys.filter(|key| *key < values.len()).map(of_value).fold(0, u64::saturating_add)
        },
        _ => 0
    )
}

/// What single values of an array have elsewhere.
fn bytes_of<'a>(values: &'a ArrayRef, target: &'a DataType) -> Box<dyn Fn(usize) -> u64 + 'a> {
    match values.data_type() {
        DataType::Utf8 => {
            let offsets = values.as_string::<i32>().value_offsets();
            Box::new(|index| between(&offsets[index..index + 2]))
        }
        DataType::LargeUtf8 => {
            let offsets = values.as_string::<i64>().value_offsets();
            Box::new(|index| between(&offsets[index..index + 2]))
        }
        other if other.primitive_width().is_some() => Box::new(|_| 0),
        _ => Box::new(|index| expanded_bytes(&values.slice(index, 1), target)),
    }
}

fn between<O: ArrowNativeType>(offsets: &[O]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (last.as_usize() - first.as_usize()) as u64,
        _ => 0,
    }
}

/// The type of a nested part, if there is such a part.
fn nested(data_type: &DataType, index: usize) -> &DataType {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => item.data_type(),
        DataType::Struct(fields) => fields.get(index).map_or(&DataType::Null, |field| field.data_type()),
        _ => &DataType::Null,
    }
}

#[cfg(test)]
mod tests;
